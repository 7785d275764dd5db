//! How long a dialog lives: `default_timeout` and what changes it, and the time that each state
//! may last.

use crate::modules::pv::{Avps, Stored};
use crate::modules::setup::Setup;
use crate::modules::state::Env;
use crate::modules::tm::local;
use crate::slab::Key;
use crate::time::Duration;
use crate::timer::Timer;

use super::life::{self, Cause};
use super::state::{Event, State};
use super::table::{Dialog, dflag, iflag};
use super::{Happening, Route, bye, keepalive};

/// How long the end of a call waits when too many requests of ours do already.
const POSTPONED: Duration = Duration::from_millis(200);

/// What is left to live for a call whose ACK never came, or that does not answer keep-alives.
const SHORTENED_S: u32 = 10;

/// The lifetime that the script left in `timeout_avp`: an integer above 0, or nothing.
pub(super) fn asked_for(setup: &Setup, avps: &Avps) -> Option<u32> {
    let name = setup.config.dialog.timeout_avp.as_deref()?;
    match avps.all(name).next()? {
        Stored::Int(n) => u32::try_from(*n).ok().filter(|n| *n > 0),
        Stored::Text(_) => None,
    }
}

/// The same for a request in the dialog, which keeps the lifetime it has when it is asked for the
/// default.
pub(super) fn asked_within(setup: &Setup, avps: &Avps) -> Option<u32> {
    asked_for(setup, avps).filter(|s| *s != setup.config.dialog.default_timeout_s)
}

/// Arms the one timer of a dialog for what comes first.
pub(super) fn arm(env: &mut Env<'_>, key: Key) {
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    let (deadline, old) = (dialog.deadline(), dialog.timer.take());
    env.stop(old);
    let Some(at) = deadline else { return };
    let timer = env.state.wheel.start(at, Timer::Dialog(key));
    if let Some(dialog) = env.state.dialogs.table.get_mut(key) {
        dialog.timer = Some(timer);
    }
}

/// The timer has fired.
pub fn fired(env: &mut Env<'_>, key: Key) {
    let now = env.now.mono;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.timer = None;
    let is_over = |at: Option<crate::time::Instant>| at.is_some_and(|at| at <= now);
    if is_over(dialog.expires) {
        return expire(env, key);
    }
    if !is_over(dialog.limit) {
        if is_over(dialog.keepalive.as_ref().and_then(|known| known.at)) {
            keepalive::fired(env, key);
        }
        return arm(env, key);
    }
    let event = match dialog.state() {
        State::Unconfirmed | State::Early => Event::EarlyTimeout,
        State::ConfirmedNa => Event::NoAckTimeout,
        State::Confirmed => Event::Expiry,
        State::Deleted => Event::Rest,
    };
    life::happen(env, key, event, Cause::default());
}

/// The life is over: the timeout route sees the dialog as it was, then it ends.
fn expire(env: &mut Env<'_>, key: Key) {
    let (now, has_room) = (env.now.mono, local::has_room(env.state));
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    if dialog.iflags & iflag::TIMEOUT_BYE != 0 && !has_room {
        dialog.expires = Some(now + POSTPONED);
        return arm(env, key);
    }
    // Until the end has been dealt with, this keeps the promise that every dialog has a deadline.
    dialog.expires = None;
    dialog.limit = Some(now + Duration::from_secs(SHORTENED_S.into()));
    dialog.dflags |= dflag::EXPIRED;
    if dialog.timeout_route.is_some() {
        let route = Happening::Route {
            dialog: key,
            route: Route::Timeout,
            message: None,
        };
        env.state.dialogs.happenings.push_back(route);
    }
    env.state
        .dialogs
        .happenings
        .push_back(Happening::Expire(key));
    arm(env, key);
}

/// The timeout route has run: the dialog ends, with BYEs if it was to.
pub fn over(env: &mut Env<'_>, key: Key) {
    let dialog = env.state.dialogs.table.get(key);
    let wants_bye = dialog.is_some_and(|d| d.iflags & iflag::TIMEOUT_BYE != 0);
    if wants_bye && bye::hang_up(env, key, &bye::ALL, b"") {
        env.state.dialogs.counts.expired += 1;
    } else {
        life::happen(env, key, Event::Expiry, Cause::default());
    }
}

/// A request in the dialog renews its life, unless it is told not to.
pub(super) fn renew(env: &mut Env<'_>, key: Key, asked: Option<u32>) {
    let is_fixed = env.state.setup.config.dialog.timeout_noreset;
    let now = env.now.mono;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    if let Some(asked) = asked {
        dialog.lifetime_s = asked;
    }
    if dialog.expires.is_some() && !is_fixed && dialog.iflags & iflag::TIMER_NORESET == 0 {
        dialog.expires = Some(now + lifetime(dialog));
    }
}

fn lifetime(dialog: &Dialog) -> Duration {
    Duration::from_secs(dialog.lifetime_s.into())
}

/// `noack_timeout`: ten more seconds.
pub(super) fn shorten(env: &mut Env<'_>, key: Key) {
    let now = env.now.mono;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.lifetime_s = SHORTENED_S;
    dialog.expires = Some(now + lifetime(dialog));
    dialog.limit = None;
}

/// `dlg_set_timeout`: a dialog that lives has this long from now on; one that is not answered yet
/// from its answer on. False: it is over.
pub(super) fn set(env: &mut Env<'_>, key: Key, lifetime_s: u32) -> bool {
    let now = env.now.mono;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return false;
    };
    if dialog.state() == State::Deleted {
        return false;
    }
    dialog.lifetime_s = lifetime_s;
    if dialog.state().is_active() {
        dialog.expires = Some(now + lifetime(dialog));
        arm(env, key);
    }
    true
}

/// `dlg_set_timeout_by_profile` for the dialogs of this shard: those that at least ring.
pub(super) fn set_by_profile(
    env: &mut Env<'_>,
    profile: u16,
    value: Option<&[u8]>,
    lifetime_s: u32,
) {
    for key in env.state.dialogs.profiles.members(profile, value) {
        let dialog = env.state.dialogs.table.get(key);
        if dialog.is_some_and(|d| d.state() >= State::Early) {
            set(env, key, lifetime_s);
        }
    }
}

/// When a dialog's life is over by the wall clock, seconds since 1970; 0: it has no end yet.
pub(super) fn expiry_s(env: &Env<'_>, dialog: &Dialog) -> u64 {
    let Some(at) = dialog.expires else { return 0 };
    env.now.wall.as_secs() + at.since(env.now.mono).as_secs()
}
