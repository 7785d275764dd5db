//! The functions of `dialog`.

use crate::effect::Level;
use crate::effect::peer::{Bits, Command, Order, Which};
use crate::modules::entry::{NO, YES, function, planned_function, renamed, text_of, truth};
use crate::modules::work::{Ask, Bytes};
use crate::modules::{Call, Env, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKind, RouteKinds, Value};
use crate::sip::Method;
use crate::slab::Key;
use crate::steer;

use super::identity::DialogId;
use super::leg::Direction;
use super::strings::Field;
use super::table::iflag;
use super::transfer::Bridge;
use super::{bye, elsewhere, keepalive, life, matching, peers, timeout, transfer};

const TEXT: ParamKind = ParamKind::Text;
const CONST: ParamKind = ParamKind::Const;
const NUM: ParamKind = ParamKind::Int;
const OUT: ParamKind = ParamKind::Output;
const ANY: RouteKinds = RouteKinds::ANY;

const SET_PROFILE: Function = optional_value(function(
    "set_dlg_profile",
    &[CONST, TEXT],
    ANY,
    (set_profile, "Puts the dialog into a profile, with a value."),
));
const UNSET_PROFILE: Function = optional_value(function(
    "unset_dlg_profile",
    &[CONST, TEXT],
    RouteKinds::NOT_ONSEND,
    (unset_profile, "Takes it out."),
));
const IS_IN_PROFILE: Function = optional_value(function(
    "is_in_profile",
    &[CONST, TEXT],
    ANY,
    (is_in_profile, "Whether it is in, with the value."),
));
const RESET_FLAG: Function = function(
    "dlg_resetflag",
    &[NUM],
    ANY,
    (reset_flag, "Clears a flag of the dialog."),
);

const fn optional_value(function: Function) -> Function {
    crate::modules::entry::optional(function, 1)
}

pub(super) const FUNCTIONS: [Function; 25] = [
    function(
        "dlg_manage",
        &[],
        RouteKinds::REQUEST,
        (
            manage,
            "Makes the dialog of an INVITE, or has it follow a request.",
        ),
    ),
    SET_PROFILE,
    UNSET_PROFILE,
    IS_IN_PROFILE,
    function(
        "get_profile_size",
        &[CONST, OUT],
        ANY,
        (profile_size, "How many dialogs are in a profile."),
    ),
    function(
        "get_profile_size",
        &[CONST, TEXT, OUT],
        ANY,
        (profile_size_of_value, "How many are in with the value."),
    ),
    function(
        "dlg_isflagset",
        &[NUM],
        ANY,
        (is_flag_set, "Whether a flag of the dialog is set."),
    ),
    function(
        "dlg_setflag",
        &[NUM],
        ANY,
        (set_flag, "Sets a flag of the dialog."),
    ),
    RESET_FLAG,
    // As an example of the manual spells it.
    renamed(RESET_FLAG, "redlg_setflag"),
    function(
        "dlg_bye",
        &[CONST],
        ANY,
        (hang_up, "Hangs up: caller, callee or all."),
    ),
    function(
        "dlg_refer",
        &[CONST, TEXT],
        ANY,
        (
            refer,
            "Refers caller or callee to an address, and hangs up on them.",
        ),
    ),
    function(
        "dlg_bridge",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            bridge,
            "Calls the first, by a proxy, and refers them to the second.",
        ),
    ),
    function(
        "dlg_get",
        &[TEXT, TEXT, TEXT],
        ANY,
        (get, "Makes the dialog of Call-ID and tags the current one."),
    ),
    function(
        "is_known_dlg",
        &[],
        ANY,
        (is_known, "Whether the message is of a dialog."),
    ),
    function(
        "dlg_set_timeout",
        &[NUM],
        ANY,
        (set_timeout, "Sets the dialog's lifetime."),
    ),
    function(
        "dlg_set_timeout",
        &[NUM, NUM, NUM],
        ANY,
        (set_timeout_by_id, "The same by h_entry and h_id."),
    ),
    function(
        "dlg_set_timeout_by_profile",
        &[CONST, NUM],
        ANY,
        (
            |c, h, s| set_timeout_by_profile(c, h, s, 1),
            "The same for a profile.",
        ),
    ),
    function(
        "dlg_set_timeout_by_profile",
        &[CONST, TEXT, NUM],
        ANY,
        (
            |c, h, s| set_timeout_by_profile(c, h, s, 2),
            "The same for a value.",
        ),
    ),
    function(
        "dlg_set_property",
        &[TEXT],
        ANY,
        (
            |c, h, s| property(c, h, s, true),
            "Sets ka-src, ka-dst or timeout-noreset.",
        ),
    ),
    function(
        "dlg_reset_property",
        &[TEXT],
        ANY,
        (|c, h, s| property(c, h, s, false), "Takes it back."),
    ),
    function(
        "dlg_remote_profile",
        &[TEXT, TEXT, TEXT, TEXT, NUM],
        ANY,
        (remote_profile, "Adds or removes an item of another server."),
    ),
    function(
        "dlg_set_ruri",
        &[],
        ANY,
        (set_ruri, "Makes the other side's Contact the Request-URI."),
    ),
    planned_function(
        "dlg_db_load_callid",
        &[TEXT],
        1,
        (ANY, "Loads a dialog from the database."),
    ),
    planned_function(
        "dlg_db_load_extra",
        &[],
        0,
        (ANY, "Loads dialogs that are not in memory."),
    ),
];

fn manage(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if call.work.message.to_tag().is_some() {
        matching::follow(&mut call.env, call.work, matching::Mode::Sip);
        return YES;
    }
    let is_invite = call.work.message.method() == Method::Invite;
    if !is_invite || call.work.dialog.is_set() {
        return NO;
    }
    truth(life::create(&mut call.env, call.work, call.program))
}

/// The dialog of the message.
fn current(call: &Call<'_>) -> Option<(Key, Option<Direction>)> {
    matching::of_message(&call.env, call.work)
}

/// Which profile a call is about, and the value; the outer `None`: neither will do.
fn profile_of<'h>(
    call: &mut Call<'_>,
    heap: &'h mut Heap,
    site: &CallSite,
    value_index: Option<usize>,
) -> Option<(u16, Option<&'h [u8]>)> {
    let name = site.text(0, call, heap);
    let profile = call.env.state.dialogs.profiles.find(heap.str(name)?)?;
    let Some(index) = value_index.filter(|index| site.arg(*index).is_some()) else {
        return Some((profile, None));
    };
    let value = site.text(index, call, heap);
    let value = heap.str(value).filter(|v| !v.is_empty())?;
    Some((profile, Some(value)))
}

fn set_profile(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((profile, value)) = profile_of(call, heap, site, Some(1)) else {
        return NO;
    };
    if value.is_none() && call.env.state.dialogs.profiles.has_value(profile) {
        return NO;
    }
    let value = value.unwrap_or_default();
    if let Some(waits) = elsewhere::order(call, || Order::Join(profile, value.into())) {
        return waits;
    }
    if let Some((key, _)) = current(call) {
        return truth(life::join(&mut call.env, key, profile, value));
    }
    // The dialog that this request will make takes it over.
    let pending = &mut call.work.dialog.profiles;
    let has_room = pending.len() < crate::limits::DIALOG_PROFILE_COUNT_MAX;
    let is_early = call.work.kind == RouteKind::Request && has_room;
    if is_early {
        pending.push((profile, value.into()));
    }
    truth(is_early)
}

fn unset_profile(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((profile, value)) = profile_of(call, heap, site, Some(1)) else {
        return NO;
    };
    if value.is_none() && call.env.state.dialogs.profiles.has_value(profile) {
        return NO;
    }
    let text = || value.map(Box::from);
    if let Some(waits) = elsewhere::order(call, || Order::Leave(profile, text())) {
        return waits;
    }
    let found = current(call);
    truth(found.is_some_and(|(key, _)| life::leave(&mut call.env, key, profile, value)))
}

fn is_in_profile(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((profile, value)) = profile_of(call, heap, site, Some(1)) else {
        return NO;
    };
    let dialogs = &call.env.state.dialogs;
    let value = value.filter(|_| dialogs.profiles.has_value(profile));
    if let Some(elsewhere) = &call.work.dialog.elsewhere {
        return truth(elsewhere.is_member(profile, value));
    }
    let is_in = |(key, _)| life::membership(dialogs, key, profile, value).is_some();
    truth(current(call).is_some_and(is_in))
}

fn profile_size(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let found = profile_of(call, heap, site, None);
    let size = found.map(|of| size_of(call, of));
    write_size(call, heap, site, (size, 1))
}

fn profile_size_of_value(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let found = profile_of(call, heap, site, Some(1));
    let size = found.map(|of| size_of(call, of));
    write_size(call, heap, site, (size, 2))
}

fn size_of(call: &Call<'_>, (profile, value): (u16, Option<&[u8]>)) -> usize {
    call.env.state.dialogs.profiles.size(profile, value)
}

fn write_size(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    (size, out): (Option<usize>, usize),
) -> Outcome {
    let Some(size) = size else {
        return NO;
    };
    let written = site
        .arg(out)
        .map(|arg| arg.write(call, heap, Value::Int(size as i64)));
    truth(written.is_some_and(|result| result.is_ok()))
}

fn flag_of(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<u32> {
    let n = site.int(0, call, heap)?;
    (0..32).contains(&n).then(|| 1 << n)
}

/// The flags of the current dialog, and those that a new one would get.
fn change_flags(call: &mut Call<'_>, bits: Bits) -> Outcome {
    let context = &mut call.work.dialog;
    context.sflags = bits.of(context.sflags);
    if let Some(waits) = elsewhere::order(call, || Order::ScriptFlags(bits)) {
        return waits;
    }
    let key = call.work.dialog.current;
    if let Some(dialog) = key.and_then(|key| call.env.state.dialogs.table.get_mut(key)) {
        dialog.sflags = bits.of(dialog.sflags);
    }
    YES
}

fn set_flag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(set) = flag_of(call, heap, site) else {
        return NO;
    };
    change_flags(call, Bits { set, clear: 0 })
}

fn reset_flag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(clear) = flag_of(call, heap, site) else {
        return NO;
    };
    change_flags(call, Bits { set: 0, clear })
}

fn is_flag_set(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(flag) = flag_of(call, heap, site) else {
        return NO;
    };
    let context = &call.work.dialog;
    let flags = match (&context.elsewhere, context.current) {
        (Some(elsewhere), _) => elsewhere.sflags(),
        (None, Some(key)) => call.env.state.dialogs.table.get(key).map(|d| d.sflags),
        (None, None) => None,
    };
    truth(flags.unwrap_or(context.sflags) & flag != 0)
}

fn get(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let mut part = |index| text_of(call, heap, site, index).filter(|text| !text.is_empty());
    let (Some(call_id), Some(from), Some(to)) = (part(0), part(1), part(2)) else {
        return NO;
    };
    if let Some((key, direction)) = call.env.state.dialogs.table.find(&call_id, &from, &to) {
        let context = &mut call.work.dialog;
        (context.current, context.role) = (Some(key), None);
        (context.direction, context.elsewhere) = (Some(direction), None);
        return YES;
    }
    let owner = steer::owner(&call_id, call.env.state.setup.shard_count);
    if owner == call.env.state.id {
        return NO;
    }
    let which = Which::Tags {
        call_id: (&*call_id).into(),
        from_tag: (&*from).into(),
        to_tag: (&*to).into(),
    };
    call.ask(Ask::Elsewhere(owner, which, Order::Look))
}

/// Which ways lead to the sides that a script names.
fn ways_of(side: &[u8]) -> Option<&'static [Direction]> {
    match side {
        b"caller" => Some(&[Direction::Upstream]),
        b"callee" => Some(&[Direction::Downstream]),
        b"all" => Some(&bye::ALL),
        _ => None,
    }
}

fn hang_up(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let side = text_of(call, heap, site, 0);
    let ways = side.as_deref().and_then(ways_of);
    let Some(ways) = ways else {
        return NO;
    };
    let order = || Order::HangUp {
        caller: ways.contains(&Direction::Upstream),
        callee: ways.contains(&Direction::Downstream),
    };
    if let Some(waits) = elsewhere::order(call, order) {
        return waits;
    }
    let found = current(call);
    truth(found.is_some_and(|(key, _)| bye::hang_up(&mut call.env, key, ways, b"")))
}

fn refer(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let way = match text_of(call, heap, site, 0).as_deref() {
        Some(b"caller") => Direction::Upstream,
        Some(b"callee") => Direction::Downstream,
        _ => return NO,
    };
    let Some(to) = text_of(call, heap, site, 1) else {
        return NO;
    };
    let order = || Order::Refer {
        is_caller: way == Direction::Upstream,
        to: (*to).into(),
    };
    if let Some(waits) = elsewhere::order(call, order) {
        return waits;
    }
    let found = current(call);
    truth(found.is_some_and(|(key, _)| transfer::refer(&mut call.env, key, way, &to)))
}

fn bridge(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let mut text = |index| text_of(call, heap, site, index);
    let (Some(from), Some(to), proxy) = (text(0), text(1), text(2)) else {
        return NO;
    };
    let wanted = Bridge {
        from: &from,
        to: &to,
        proxy: proxy.as_deref().unwrap_or_default(),
        body: None,
    };
    match transfer::bridge(&mut call.env, wanted) {
        Ok(()) => YES,
        Err(refused) => {
            let text = format!("dlg_bridge: {}", refused.text());
            call.env.log(Level::Err, text);
            NO
        }
    }
}

fn is_known(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    truth(call.work.dialog.elsewhere.is_some() || current(call).is_some())
}

fn lifetime_of(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, index: usize) -> Option<u32> {
    let seconds = site.int(index, call, heap)?;
    u32::try_from(seconds).ok()
}

fn set_timeout(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(lifetime_s) = lifetime_of(call, heap, site, 0).filter(|s| *s > 0) else {
        return NO;
    };
    if let Some(waits) = elsewhere::order(call, || Order::SetLifetime(lifetime_s)) {
        return waits;
    }
    let found = current(call);
    truth(found.is_some_and(|(key, _)| timeout::set(&mut call.env, key, lifetime_s)))
}

/// The identifier says which shard has the dialog; if it is another, the script waits for it.
fn set_timeout_by_id(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let lifetime = lifetime_of(call, heap, site, 0).filter(|s| *s > 0);
    let (h_entry, h_id) = (
        lifetime_of(call, heap, site, 1),
        lifetime_of(call, heap, site, 2),
    );
    let (Some(lifetime_s), Some(h_entry), Some(h_id)) = (lifetime, h_entry, h_id) else {
        return NO;
    };
    let id = DialogId { h_entry, h_id };
    if let Some(key) = call.env.state.dialogs.table.find_id(id) {
        return truth(timeout::set(&mut call.env, key, lifetime_s));
    }
    let shard = life::numbering(&call.env).giver(h_id);
    if shard == call.env.state.id {
        return NO;
    }
    let which = Which::Id { h_entry, h_id };
    call.ask(Ask::Elsewhere(shard, which, Order::SetLifetime(lifetime_s)))
}

fn set_timeout_by_profile(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    index: usize,
) -> Outcome {
    let value_index = (index > 1).then_some(1);
    let Some((profile, value)) = profile_of(call, heap, site, value_index) else {
        return NO;
    };
    let value: Option<Box<[u8]>> = value.map(Box::from);
    let Some(lifetime_s) = lifetime_of(call, heap, site, index) else {
        return NO;
    };
    timeout::set_by_profile(&mut call.env, profile, value.as_deref(), lifetime_s);
    peers::command(
        &mut call.env,
        Command::SetLifetime {
            profile,
            value,
            lifetime_s,
        },
    );
    YES
}

fn property(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, is_on: bool) -> Outcome {
    let name = text_of(call, heap, site, 0);
    let flag = match name.as_deref() {
        Some(b"ka-src") => iflag::KA_SRC,
        Some(b"ka-dst") => iflag::KA_DST,
        Some(b"timeout-noreset") => iflag::TIMER_NORESET,
        _ => return NO,
    };
    let (set, clear) = if is_on { (flag, 0) } else { (0, flag) };
    let bits = Bits { set, clear };
    let context = &mut call.work.dialog;
    context.iflags = bits.of(context.iflags);
    if let Some(waits) = elsewhere::order(call, || Order::Properties(bits)) {
        return waits;
    }
    if let Some(key) = call.work.dialog.current {
        set_properties(&mut call.env, key, bits);
    }
    YES
}

/// False: the dialog is gone.
pub(super) fn set_properties(env: &mut Env<'_>, key: Key, bits: Bits) -> bool {
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return false;
    };
    dialog.iflags = bits.of(dialog.iflags);
    keepalive::begin(env, key);
    timeout::arm(env, key);
    true
}

fn remote_profile(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let texts = [0, 1, 2, 3].map(|index| text_of(call, heap, site, index));
    let [Some(command), Some(profile), value, Some(uid)] = texts else {
        return NO;
    };
    let value = value.unwrap_or_else(|| Bytes::from(&[][..]));
    let expires_s = site.int(4, call, heap).unwrap_or(0).max(0) as u64;
    let Some(profile) = call.env.state.dialogs.profiles.find(&profile) else {
        return NO;
    };
    let has_value = call.env.state.dialogs.profiles.has_value(profile);
    if uid.is_empty() || (has_value && value.is_empty()) {
        return NO;
    }
    match &*command {
        b"add" => {
            let profiles = &mut call.env.state.dialogs.profiles;
            let is_added = profiles.add_remote(profile, &value, &uid, expires_s);
            peers::tell_soon(&mut call.env);
            peers::watch_remotes(&mut call.env);
            truth(is_added)
        }
        b"rm" => {
            remove_remote(call, profile, &value, &uid);
            YES
        }
        _ => NO,
    }
}

/// The item may be in any shard: the one whose script added it. One is removed, here if possible.
fn remove_remote(call: &mut Call<'_>, profile: u16, value: &[u8], uid: &[u8]) {
    if call
        .env
        .state
        .dialogs
        .profiles
        .remove_remote(profile, value, uid)
    {
        peers::tell_soon(&mut call.env);
    } else {
        let (value, uid) = (value.into(), uid.into());
        peers::command(
            &mut call.env,
            Command::RemoveRemote {
                profile,
                value,
                uid,
            },
        );
    }
}

fn set_ruri(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let contact = match (&call.work.dialog.elsewhere, current(call)) {
        (Some(elsewhere), _) => elsewhere.target(call.work.dialog.direction),
        (None, Some((key, Some(direction)))) => {
            let field = match direction {
                Direction::Downstream => Field::CalleeContact,
                Direction::Upstream => Field::CallerContact,
            };
            let dialog = call.env.state.dialogs.table.get(key);
            dialog.map(|d| d.strings.get(field))
        }
        (None, _) => None,
    };
    let Some(contact) = contact.filter(|c| !c.is_empty()).map(Bytes::from) else {
        return NO;
    };
    call.work.target.uri = Some(contact);
    YES
}
