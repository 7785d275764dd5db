//! Ending a call from here: both sides are told, each in a transaction of its own.
//!
//! An answered call gets a BYE to the caller and one to the callee (RFC 3261 §15.1.1); neither
//! waits for the other, and nobody's silence keeps the call: it is over for profiles, events and
//! counts when they leave, and its record goes when both have been answered or given up. A call
//! that rings gets its INVITE answered, and its branches cancelled (§9.1, §16.10).

use crate::effect::Level;
use crate::modules::state::Env;
use crate::modules::tm::{self, branch, local, upstream};
use crate::slab::Key;

use super::event::Kind;
use super::leg::Direction;
use super::life::{self, Cause};
use super::request::{self, Purpose, Sent};
use super::state::Event;
use super::table::{Dialog, dflag};
use super::transfer;

/// To both sides, the caller first.
pub const ALL: [Direction; 2] = [Direction::Upstream, Direction::Downstream];

/// What a caller is told whose call is ended before it was answered.
const EARLY_STATUS: (u16, &[u8]) = (480, b"Temporarily Unavailable");

/// Complete header lines from what somebody gave as such: the last line end is added when it is
/// missing. `None`: it is not header fields.
pub fn header_lines(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut lines = text.to_vec();
    if !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    let is_field = |line: &[u8]| {
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        let has_name = name.len() < line.len() && !name.trim_ascii().is_empty();
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~ \t".contains(b);
        is_folded || (has_name && name.iter().all(is_token))
    };
    let body = &lines[..lines.len() - 2];
    let has_bare_end =
        memchr::memmem::find_iter(body, b"\n").any(|at| !body[..at].ends_with(b"\r"));
    let are_fields = String::from_utf8_lossy(body)
        .split("\r\n")
        .all(|line| is_field(line.as_bytes()));
    (are_fields && !has_bare_end).then_some(lines)
}

/// Ends the call for these sides; `headers` are further header lines for their BYEs. False:
/// nothing was sent, because the call is over or the side cannot be reached.
pub fn hang_up(env: &mut Env<'_>, key: Key, ways: &[Direction], headers: &[u8]) -> bool {
    let Some(dialog) = env.state.dialogs.table.get(key) else {
        return false;
    };
    if dialog.state().is_setup() {
        return give_up(env, key);
    }
    let was_active = dialog.state().is_active();
    let mut has_sent = false;
    for way in ways {
        has_sent |= send(env, key, *way, headers);
    }
    if has_sent && was_active {
        life::happen(env, key, Event::HangUp, Cause::default());
    }
    has_sent
}

/// The flag that remembers the BYE that went this way.
const fn flag(way: Direction) -> u32 {
    match way {
        Direction::Upstream => dflag::BYE_CALLER,
        Direction::Downstream => dflag::BYE_CALLEE,
    }
}

/// Whether the side has had a BYE of ours.
pub(super) fn is_told(dialog: &Dialog, way: Direction) -> bool {
    dialog.dflags & flag(way) != 0
}

/// The same, because the call was to end.
fn is_hung_up(dialog: &Dialog, way: Direction) -> bool {
    is_told(dialog, way) && !dialog.is_referred[way as usize]
}

/// One BYE to one side: while the call lives, or while only the other side has been told that it
/// is over.
fn may_send(dialog: &Dialog, way: Direction) -> bool {
    let is_half_over = is_hung_up(dialog, way.reversed());
    !is_told(dialog, way) && (dialog.state().is_active() || is_half_over)
}

/// Whether a side of a call that is up can be told to leave it.
pub(super) fn may_leave(dialog: &Dialog, way: Direction) -> bool {
    dialog.state().is_active() && may_send(dialog, way)
}

/// A BYE to a side that has been referred elsewhere. The dialog stays as it is, with the other
/// side in it; if that has left as well, nobody is in it any more, and it ends.
pub(super) fn leave(env: &mut Env<'_>, key: Key, way: Direction, transfer: Key) {
    let dialog = env.state.dialogs.table.get(key);
    let Some(dialog) = dialog.filter(|dialog| may_send(dialog, way)) else {
        return;
    };
    if is_told(dialog, way.reversed()) {
        hang_up(env, key, &[way], b"");
        return;
    }
    let sent = Sent {
        dialog: key,
        way,
        purpose: Purpose::Leave(transfer),
    };
    if deliver(env, sent, b"")
        && let Some(dialog) = env.state.dialogs.table.get_mut(key)
    {
        dialog.dflags |= flag(way);
        dialog.is_referred[way as usize] = true;
    }
}

fn send(env: &mut Env<'_>, key: Key, way: Direction, headers: &[u8]) -> bool {
    let dialog = env.state.dialogs.table.get(key);
    if !dialog.is_some_and(|dialog| may_send(dialog, way)) {
        return false;
    }
    let sent = Sent {
        dialog: key,
        way,
        purpose: Purpose::Bye,
    };
    if !deliver(env, sent, headers) {
        return false;
    }
    transfer::party_left(env, key, way);
    if let Some(dialog) = env.state.dialogs.table.get_mut(key) {
        dialog.dflags |= flag(way);
        dialog.pending_byes += 1;
    }
    true
}

fn deliver(env: &mut Env<'_>, sent: Sent, headers: &[u8]) -> bool {
    let Some(mut bye) = request::within(env, sent) else {
        return false;
    };
    let extra = &*env.state.setup.config.dialog.dlg_extra_hdrs;
    bye.headers = [extra, headers, &*bye.headers].concat().into();
    local::send(env.state, bye)
}

/// A BYE has been answered, or nobody has: the first ends it for observers, the last takes the
/// record away.
pub(super) fn answered(env: &mut Env<'_>, key: Key) {
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    let sent = ALL.iter().filter(|way| is_hung_up(dialog, **way)).count();
    let is_first = usize::from(dialog.pending_byes) == sent;
    dialog.pending_byes = dialog.pending_byes.saturating_sub(1);
    let is_last = dialog.pending_byes == 0;
    if is_first {
        life::tell(env, key, Kind::TerminatedConfirmed, Cause::default());
    }
    if is_last {
        life::happen(env, key, Event::Rest, Cause::default());
    }
}

/// Ends a call that nobody has answered. False: its INVITE has no transaction, or has its final
/// response.
fn give_up(env: &mut Env<'_>, key: Key) -> bool {
    let dialog = env.state.dialogs.table.get(key);
    let invite = dialog.and_then(|d| d.invite);
    let transaction = invite.and_then(|invite| Some((invite, env.state.tm.get_mut(invite)?)));
    let Some((invite, t)) = transaction.filter(|(_, t)| !t.server.is_final()) else {
        let text = "a call that has not been relayed yet cannot be ended";
        env.log(Level::Err, text);
        return false;
    };
    t.is_cancelled = true;
    let answered = branch::cancel(env, invite, branch::Which::All);
    upstream::mark_cancelled(env, invite, &answered);
    let (status, reason) = EARLY_STATUS;
    tm::serve::reply(env, invite, status, reason, &[]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_end_as_they_must_and_are_nothing_else() {
        let table = [
            ("", Some("")),
            ("Hint: credit expired\r\n", Some("Hint: credit expired\r\n")),
            ("X-A: 1", Some("X-A: 1\r\n")),
            ("X-A: 1\r\nX-B: 2", Some("X-A: 1\r\nX-B: 2\r\n")),
            ("X-A: 1\r\n folded\r\n", Some("X-A: 1\r\n folded\r\n")),
            ("no field", None),
            (": no name", None),
            ("X-A: 1\r\n\r\nbody", None),
            ("X-A: 1\nX-B: 2", None),
            ("X(A): 1", None),
        ];
        for (text, want) in table {
            let found = header_lines(text.as_bytes());
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text:?}");
        }
    }
}
