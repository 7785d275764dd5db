//! Flags, and the targets of the request: `$mf`, `$bf`, `$sf`, `$branch(..)`.

use crate::modules::entry::{formatted, keyed, some, variable, word, writable};
use crate::modules::work::{Bytes, Target};
use crate::modules::{Call, Variable};
use crate::script::{Access, Heap, Index, InnerKind, Value, WriteError};
use crate::sip::Uri;

/// The flags that a variable shows.
type Flags = for<'a> fn(&'a mut Call<'_>) -> &'a mut u32;

macro_rules! flags {
    ($number:literal, $hex:literal, $flags:expr, $doc:literal) => {
        [
            writable(
                variable($number, |c, _, _| Value::Int(i64::from(*$flags(c))), $doc),
                |c, _, _, v| set(c, v, $flags),
            ),
            writable(
                variable(
                    $hex,
                    |c, h, _| formatted(h, format_args!("{:08x}", *$flags(c))),
                    $doc,
                ),
                |c, _, _, v| set(c, v, $flags),
            ),
        ]
    };
}

fn message_flags<'a>(call: &'a mut Call<'_>) -> &'a mut u32 {
    &mut call.work.flags
}

fn branch_flags<'a>(call: &'a mut Call<'_>) -> &'a mut u32 {
    &mut call.work.target.flags
}

fn script_flags<'a>(call: &'a mut Call<'_>) -> &'a mut u32 {
    &mut call.work.script_flags
}

const MESSAGE: [Variable; 2] = flags!("mf", "mF", message_flags, "Message flags.");
const BRANCH: [Variable; 2] = flags!("bf", "bF", branch_flags, "Flags of the first branch.");
const SCRIPT: [Variable; 2] = flags!("sf", "sF", script_flags, "Script flags.");

pub(super) const VARIABLES: [Variable; 8] = [
    MESSAGE[0],
    MESSAGE[1],
    BRANCH[0],
    BRANCH[1],
    SCRIPT[0],
    SCRIPT[1],
    writable(
        keyed(
            "branch",
            InnerKind::OneOf(&ATTRIBUTES),
            attribute,
            "An appended branch: uri, q ...",
        ),
        set_attribute,
    ),
    writable(
        keyed(
            "sbranch",
            InnerKind::OneOf(&ATTRIBUTES),
            |c, h, a| {
                let target = c.env.state.variables.branch.clone();
                match (&target.uri, word(a)) {
                    (None, _) => Value::Null,
                    (Some(_), COUNT) => Value::Int(0),
                    (Some(_), Q) if target.q.is_none() => Value::Int(0),
                    (Some(_), which) => shown(c, h, &target, which),
                }
            },
            "The static branch of this core, kept from message to message.",
        ),
        |c, h, a, v| {
            let mut target = c.env.state.variables.branch.clone();
            if target.uri.is_none() && word(a) != 0 {
                return Err(WriteError::NotHere);
            }
            change(c, h, &mut target, (word(a), v))?;
            c.env.state.variables.branch = target;
            Ok(())
        },
    ),
];

const ATTRIBUTES: [&str; 11] = [
    "uri",
    "dst_uri",
    "path",
    "q",
    "send_socket",
    "count",
    "flags",
    "ruid",
    "location_ua",
    "otcpid",
    "instance",
];

/// Places in that list.
const Q: usize = 3;
const COUNT: usize = 5;
/// Of a connection; branches of a script have none.
const OTCPID: usize = 9;

fn set(call: &mut Call<'_>, value: Value, flags: Flags) -> Result<(), WriteError> {
    match value {
        Value::Null => *flags(call) = 0,
        // The lower 32 bits.
        Value::Int(n) => *flags(call) = n as u32,
        Value::Str(_) => return Err(WriteError::Invalid),
    }
    Ok(())
}

fn place(call: &Call<'_>, index: Index) -> Option<usize> {
    let count = call.work.appended.len();
    let at = match index {
        Index::None | Index::All => 0,
        Index::At(n) if n >= 0 => usize::try_from(n).ok()?,
        Index::At(n) => count.checked_sub(usize::try_from(n.unsigned_abs()).ok()?)?,
    };
    (at < count).then_some(at)
}

fn attribute(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let which = word(access);
    if which == COUNT {
        return match call.work.appended.len() {
            0 => Value::Null,
            n => Value::Int(n as i64),
        };
    }
    let Some(at) = place(call, access.index) else {
        return Value::Null;
    };
    let target = call.work.appended[at].clone();
    shown(call, heap, &target, which)
}

/// An attribute of a target.
fn shown(call: &Call<'_>, heap: &mut Heap, target: &Target, which: usize) -> Value {
    match which {
        0 => some(heap, target.uri.as_deref()),
        1 => some(heap, target.next_hop.as_deref()),
        3 => target.q.map_or(Value::Null, |q| Value::Int(q.into())),
        4 => match target.socket {
            Some(socket) => {
                let address = call.env.state.setup.address(socket);
                formatted(heap, format_args!("{address}"))
            }
            None => Value::Null,
        },
        6 => Value::Int(target.flags.into()),
        OTCPID => Value::Int(0),
        _ => Value::Null,
    }
}

fn set_attribute(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let at = place(call, access.index).ok_or(WriteError::NotHere)?;
    let which = word(access);
    if which == 0 && value.is_null() {
        call.work.appended.remove(at);
        return Ok(());
    }
    let mut target = call.work.appended[at].clone();
    change(call, heap, &mut target, (which, value))?;
    call.work.appended[at] = target;
    Ok(())
}

/// Assigns an attribute of a target.
fn change(
    call: &Call<'_>,
    heap: &Heap,
    target: &mut Target,
    (which, value): (usize, Value),
) -> Result<(), WriteError> {
    let text = heap.str(value).map(Bytes::from);
    let setup = &call.env.state.setup;
    match which {
        0 if value.is_null() => target.uri = None,
        0 => {
            let uri = text.filter(|t| Uri::parse(t).is_ok());
            target.uri = Some(uri.ok_or(WriteError::Invalid)?);
        }
        1 => target.next_hop = text,
        3 => target.q = thousandths(heap, value)?,
        4 => target.socket = text.and_then(|t| setup.socket_written(&t)),
        6 => {
            let flags = heap.number(value).and_then(|n| u32::try_from(n).ok());
            target.flags = flags.ok_or(WriteError::Invalid)?;
        }
        _ => return Err(WriteError::NotHere),
    }
    Ok(())
}

fn thousandths(heap: &Heap, value: Value) -> Result<Option<u16>, WriteError> {
    match heap.number(value) {
        _ if value.is_null() => Ok(None),
        Some(q @ 0..=1000) => Ok(Some(q as u16)),
        _ => Err(WriteError::Invalid),
    }
}
