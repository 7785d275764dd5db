//! The variables of `dialog`.

use crate::effect::{Address, rpc};
use crate::modules::entry::{filled, formatted, keyed, some, variable, word, writable};
use crate::modules::{Call, Setup, Variable};
use crate::script::{Access, Heap, InnerKind, RouteKind, Value, WriteError};
use crate::slab::Key;

use super::leg::Leg;
use super::strings::Field;
use super::table::{Dialog, dflag};
use super::{elsewhere, matching, stats};

pub(super) const VARIABLES: [Variable; 6] = [
    variable(
        "DLG_count",
        count,
        "How many dialogs are answered and not over.",
    ),
    variable(
        "DLG_lifetime",
        |c, _, _| {
            c.work
                .dialog
                .followed
                .map_or(Value::Null, |(_, age)| Value::Int(age))
        },
        "Seconds since the answer, in a request that was followed.",
    ),
    variable(
        "DLG_status",
        |c, _, _| {
            c.work
                .dialog
                .followed
                .map_or(Value::Null, |(s, _)| Value::Int(s.number()))
        },
        "The state of the dialog, in a request that was followed.",
    ),
    keyed(
        "dlg",
        InnerKind::OneOf(&ATTRIBUTES),
        attribute,
        "An attribute of the dialog.",
    ),
    writable(
        keyed(
            "dlg_ctx",
            InnerKind::OneOf(&CONTEXT),
            context,
            "What a dialog is to become.",
        ),
        set_context,
    ),
    writable(
        keyed(
            "dlg_var",
            InnerKind::Name,
            read_var,
            "A variable of the dialog.",
        ),
        write_var,
    ),
];

const ATTRIBUTES: [&str; 23] = [
    "h_id",
    "h_entry",
    "ref",
    "state",
    "to_rs",
    "from_rs",
    "dflags",
    "iflags",
    "sflags",
    "callid",
    "to_uri",
    "to_tag",
    "from_uri",
    "from_tag",
    "toroute",
    "lifetime",
    "start_ts",
    "to_cseq",
    "from_cseq",
    "to_contact",
    "from_contact",
    "to_bindaddr",
    "from_bindaddr",
];

const CONTEXT: [&str; 8] = [
    "on",
    "flags",
    "timeout",
    "timeout_bye",
    "timeout_route",
    "timeout_route_id",
    "set",
    "dir",
];

fn count(call: &mut Call<'_>, _: &mut Heap, _: &Access<'_>) -> Value {
    let is_on = call.env.state.setup.config.dialog.enable_stats;
    let active = if is_on {
        stats::active(call.env.state) + stats::elsewhere(call.env.state, stats::ACTIVE)
    } else {
        0
    };
    Value::Int(active as i64)
}

fn current(call: &Call<'_>) -> Option<Key> {
    matching::of_message(&call.env, call.work).map(|(key, _)| key)
}

/// Places among the attributes that functions read, too.
pub(super) const SFLAGS: usize = 8;
/// See [`SFLAGS`].
pub(super) const TO_CONTACT: usize = 19;
/// See [`SFLAGS`].
pub(super) const FROM_CONTACT: usize = 20;

/// What `$dlg` shows of one attribute.
enum Shown<'a> {
    Int(i64),
    /// NULL when it is empty.
    Text(&'a [u8]),
    /// NULL before it is known.
    CSeq(Option<u32>),
    /// The same.
    Socket(Option<&'a Address>),
}

fn attribute(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    if let Some(elsewhere) = &call.work.dialog.elsewhere {
        return match elsewhere.attribute(word(access)) {
            rpc::Value::Int(n) => Value::Int(*n),
            rpc::Value::Text(text) => heap.string(text),
            _ => Value::Null,
        };
    }
    let Some(key) = current(call) else {
        return Value::Null;
    };
    let Some(dialog) = call.env.state.dialogs.table.get(key) else {
        return Value::Null;
    };
    match shown(&call.env.state.setup, dialog, word(access)) {
        Shown::Int(n) => Value::Int(n),
        Shown::Text(text) => filled(heap, text),
        Shown::CSeq(Some(n)) => formatted(heap, format_args!("{n}")),
        Shown::Socket(Some(address)) => formatted(heap, format_args!("{address}")),
        Shown::CSeq(None) | Shown::Socket(None) => Value::Null,
    }
}

/// All of them, for the script of another shard.
pub(super) fn attributes(setup: &Setup, dialog: &Dialog) -> Box<[rpc::Value]> {
    let value = |index| match shown(setup, dialog, index) {
        Shown::Int(n) => rpc::Value::Int(n),
        Shown::Text(text) => rpc::Value::text_or_null(Some(text).filter(|t| !t.is_empty())),
        Shown::CSeq(Some(n)) => rpc::Value::text(n.to_string()),
        Shown::Socket(Some(address)) => rpc::Value::text(address.to_string()),
        Shown::CSeq(None) | Shown::Socket(None) => rpc::Value::Null,
    };
    (0..ATTRIBUTES.len()).map(value).collect()
}

fn shown<'a>(setup: &'a Setup, d: &'a Dialog, index: usize) -> Shown<'a> {
    let text = |field| Shown::Text(d.strings.get(field));
    let socket = |leg: &Leg| Shown::Socket(leg.flow.map(|flow| setup.address(flow.socket)));
    match index {
        0 => Shown::Int(d.id.h_id.into()),
        1 => Shown::Int(d.id.h_entry.into()),
        // Nothing is counted by references here: what the original shows while it looks.
        2 => Shown::Int(super::listing::reference_count(d) + 1),
        3 => Shown::Int(d.state().number()),
        4 => text(Field::CalleeRoutes),
        5 => text(Field::CallerRoutes),
        6 => Shown::Int(d.dflags.into()),
        7 => Shown::Int(d.iflags.into()),
        SFLAGS => Shown::Int(d.sflags.into()),
        9 => text(Field::CallId),
        10 => text(Field::ToUri),
        11 => text(Field::CalleeTag),
        12 => text(Field::FromUri),
        13 => text(Field::CallerTag),
        14 => Shown::Int(timeout_route(d)),
        15 => Shown::Int(d.lifetime_s.into()),
        16 => Shown::Int(d.start_s as i64),
        17 => Shown::CSeq(d.callee.cseq),
        18 => Shown::CSeq(d.caller.cseq),
        TO_CONTACT => text(Field::CalleeContact),
        FROM_CONTACT => text(Field::CallerContact),
        21 => socket(&d.callee),
        _ => socket(&d.caller),
    }
}

/// 0: none was asked for; -1: there is none of the name that was asked for.
fn timeout_route(dialog: &Dialog) -> i64 {
    match dialog.timeout_route {
        Some(route) => i64::from(route.index()),
        None if dialog.strings.get(Field::TimeoutRoute).is_empty() => 0,
        None => -1,
    }
}

fn context(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let context = &call.work.dialog;
    match word(access) {
        0 => Value::Int(context.on),
        1 => Value::Int(context.sflags.into()),
        2 => Value::Int(context.timeout),
        3 => Value::Int(context.timeout_bye),
        4 => {
            let known = context
                .timeout_route
                .as_ref()
                .filter(|(_, route)| route.is_some());
            some(heap, known.map(|(name, _)| &**name))
        }
        5 => {
            let route = context.timeout_route.as_ref().and_then(|(_, route)| *route);
            Value::Int(route.map_or(0, |route| route.index().into()))
        }
        6 => {
            let table = &call.env.state.dialogs.table;
            let is_here = context.current.is_some_and(|key| table.get(key).is_some());
            let is_set = is_here || context.elsewhere.is_some();
            Value::Int(is_set.into())
        }
        _ => Value::Int(context.direction.map_or(0, |d| d.number())),
    }
}

fn set_context(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    const NAME_SIZE_MAX: usize = 31;
    let number = match value {
        Value::Int(n) => Some(n),
        Value::Null | Value::Str(_) => None,
    };
    match word(access) {
        0 => call.work.dialog.on = number.ok_or(WriteError::Invalid)?,
        1 => call.work.dialog.sflags = number.ok_or(WriteError::Invalid)? as u32,
        2 => call.work.dialog.timeout = number.ok_or(WriteError::Invalid)?,
        3 => call.work.dialog.timeout_bye = number.unwrap_or(0),
        4 => {
            let name = heap.as_text(value);
            let name = heap.bytes(name);
            if name.len() > NAME_SIZE_MAX {
                return Err(WriteError::Invalid);
            }
            let route = call.program.route(RouteKind::Request, name);
            let is_named = !name.is_empty();
            call.work.dialog.timeout_route = is_named.then(|| (name.into(), route));
        }
        // The rest is what the program knows, not what the script wants.
        _ => return Err(WriteError::NotHere),
    }
    Ok(())
}

/// A variable of the current dialog, or of the one that the message may begin.
pub(crate) fn var<'a>(call: &'a Call<'_>, name: &[u8]) -> Option<&'a [u8]> {
    let key = current(call);
    match key.and_then(|key| call.env.state.dialogs.table.get(key)) {
        Some(dialog) => dialog.vars.get(name),
        None => call.work.dialog.vars.get(name),
    }
}

/// Sets one; false: there is no room.
pub(crate) fn set_var(call: &mut Call<'_>, name: &[u8], value: &[u8]) -> bool {
    let key = current(call);
    match key.and_then(|key| call.env.state.dialogs.table.get_mut(key)) {
        Some(dialog) => {
            dialog.dflags |= dflag::CHANGED_VARS;
            dialog.vars.set(name, value)
        }
        None => call.work.dialog.vars.set(name, value),
    }
}

fn read_var(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let name = heap.bytes(access.key.text()).to_vec();
    if let Some(elsewhere) = &call.work.dialog.elsewhere {
        return some(heap, elsewhere.vars.get(&name));
    }
    let key = current(call);
    let vars = match key.and_then(|key| call.env.state.dialogs.table.get(key)) {
        Some(dialog) => &dialog.vars,
        None => &call.work.dialog.vars,
    };
    some(heap, vars.get(&name))
}

fn write_var(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let name = heap.bytes(access.key.text());
    if call.work.dialog.elsewhere.is_some() {
        let value = match value {
            Value::Null => None,
            Value::Str(text) => Some(heap.bytes(text)),
            Value::Int(_) => return Err(WriteError::Invalid),
        };
        return match elsewhere::set_var(call, name, value) {
            true => Ok(()),
            false => Err(WriteError::Full),
        };
    }
    let key = current(call);
    let vars = match key.and_then(|key| call.env.state.dialogs.table.get_mut(key)) {
        Some(dialog) => {
            dialog.dflags |= dflag::CHANGED_VARS;
            &mut dialog.vars
        }
        None => &mut call.work.dialog.vars,
    };
    match value {
        Value::Null => {
            vars.remove(name);
            Ok(())
        }
        Value::Str(text) => {
            let is_stored = vars.set(name, heap.bytes(text));
            if is_stored {
                Ok(())
            } else {
                Err(WriteError::Full)
            }
        }
        Value::Int(_) => Err(WriteError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_attributes() {
        let named = [SFLAGS, TO_CONTACT, FROM_CONTACT].map(|place| ATTRIBUTES[place]);
        assert_eq!(named, ["sflags", "to_contact", "from_contact"]);
    }
}
