//! Keep-alives: OPTIONS in a dialog, to find calls whose party has gone without a word.
//!
//! A confirmed dialog with the property `ka-src` or `ka-dst` pings that side every `ka_interval`.
//! Calls that were answered together do not ping together: the first ping comes somewhere within
//! `ka_timer` behind the interval, and every further one up to an eighth of the interval early.
//!
//! A side that does not answer, that cannot be reached, or that knows no such dialog (481) has
//! failed; every other answer is a sign of life. After `ka_failed_limit` failures in a row the
//! dialog has ten seconds left to live, unless the side shows up with a request of its own.

use crate::modules::state::Env;
use crate::modules::tm::local::{self, Answer};
use crate::slab::Key;
use crate::time::{Duration, Instant};

use super::bye;
use super::leg::Direction;
use super::request::{self, Purpose, Sent};
use super::state::State;
use super::table::{Dialog, iflag};
use super::timeout;

/// How long a ping waits when too many requests of ours do already.
const POSTPONED: Duration = Duration::from_secs(1);

/// How much earlier than `ka_interval` a ping may come: one part in so many.
const EARLY_PART: u32 = 8;

/// What a dialog knows of its keep-alives.
#[derive(Clone, Default, Debug)]
pub struct KeepAlive {
    /// When the next pings leave.
    pub at: Option<Instant>,
    /// Failures in a row, by the way of the pings.
    failures: [u32; 2],
    /// The lifetime before failures shortened it.
    lifetime_s: Option<u32>,
}

/// The ways to the sides that are to be pinged: those that nobody has told to leave.
fn ways(dialog: &Dialog) -> impl Iterator<Item = Direction> {
    let iflags = dialog.iflags;
    let flags = [
        (iflag::KA_SRC, Direction::Upstream),
        (iflag::KA_DST, Direction::Downstream),
    ];
    let wanted = flags
        .into_iter()
        .filter(move |(flag, way)| iflags & flag != 0 && !bye::is_told(dialog, *way));
    wanted.map(|(_, way)| way)
}

/// The dialog is confirmed, or its properties have changed: keep-alives begin or end. The caller
/// arms the dialog's timer.
pub(super) fn begin(env: &mut Env<'_>, key: Key) {
    let config = &env.state.setup.config.dialog;
    let (interval_s, step_s) = (config.ka_interval_s, config.ka_timer_s);
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    let is_on = interval_s > 0 && step_s > 0 && dialog.state() == State::Confirmed;
    if !is_on || ways(dialog).next().is_none() {
        if let Some(known) = &mut dialog.keepalive {
            known.at = None;
        }
        return;
    }
    let known = dialog.keepalive.get_or_insert_default();
    if known.at.is_none() {
        let spread_ms = env.state.rng.below(step_s.min(interval_s) * 1_000);
        known.at = Some(env.now.mono + millis(interval_s * 1_000 + spread_ms));
    }
}

fn millis(n: u32) -> Duration {
    Duration::from_millis(n.into())
}

/// The time has come: pings leave, and the next ones get their time.
pub(super) fn fired(env: &mut Env<'_>, key: Key) {
    let has_room = local::has_room(env.state);
    let interval_s = env.state.setup.config.dialog.ka_interval_s.max(1);
    let early_ms = env
        .state
        .rng
        .below((interval_s * 1_000 / EARLY_PART).max(1));
    let after = if has_room {
        millis(interval_s * 1_000 - early_ms)
    } else {
        POSTPONED
    };
    let at = env.now.mono + after;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    let is_live = dialog.state() == State::Confirmed;
    let wanted: Vec<Direction> = ways(dialog).filter(|_| is_live).collect();
    if let Some(known) = &mut dialog.keepalive {
        known.at = (!wanted.is_empty()).then_some(at);
    }
    for way in wanted.into_iter().filter(|_| has_room) {
        let sent = Sent {
            dialog: key,
            way,
            purpose: Purpose::Ping,
        };
        if let Some(ping) = request::within(env, sent) {
            // A ping that finds no room is one that was not sent, not one that has failed.
            local::send(env.state, ping);
        }
    }
}

/// Whether an answer says that the party is gone.
fn is_failure(answer: &Answer) -> bool {
    match answer {
        Answer::Response(response, _) => matches!(response.status(), 408 | 481),
        // Nobody has answered, it could not be sent, the name has no address.
        Answer::Failed(status) => matches!(status, 408 | 477 | 478),
        Answer::Dropped => false,
    }
}

/// A ping has been answered, or has not.
pub(super) fn answered(env: &mut Env<'_>, sent: Sent, answer: &Answer) {
    let limit = env.state.setup.config.dialog.ka_failed_limit;
    let Some(dialog) = env.state.dialogs.table.get_mut(sent.dialog) else {
        return;
    };
    let is_there = dialog.state() == State::Confirmed && !bye::is_told(dialog, sent.way);
    let lifetime_s = dialog.lifetime_s;
    let Some(known) = dialog.keepalive.as_mut().filter(|_| is_there) else {
        return;
    };
    let failures = &mut known.failures[sent.way as usize];
    if is_failure(answer) {
        *failures = failures.saturating_add(1);
    } else if matches!(answer, Answer::Response(..)) {
        *failures = 0;
    }
    if *failures >= limit && known.lifetime_s.is_none() {
        known.lifetime_s = Some(lifetime_s);
        known.at = None;
        timeout::shorten(env, sent.dialog);
        timeout::arm(env, sent.dialog);
    }
}

/// A request has come from the side that requests of this way come from: it is there, and gets
/// back the lifetime that its silence has cost. The caller renews and arms it.
pub(super) fn heard(env: &mut Env<'_>, key: Key, way: Direction) {
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    let Some(known) = &mut dialog.keepalive else {
        return;
    };
    let failures = &mut known.failures[way.reversed() as usize];
    if std::mem::take(failures) > 0
        && known.failures == [0, 0]
        && let Some(lifetime_s) = known.lifetime_s.take()
    {
        dialog.lifetime_s = lifetime_s;
        dialog.expires = Some(env.now.mono + Duration::from_secs(lifetime_s.into()));
        begin(env, key);
    }
}
