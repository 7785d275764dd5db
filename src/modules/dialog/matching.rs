//! Which dialog a message belongs to: by the cookie in its Route, or by Call-ID and tags.

use std::rc::Rc;

use crate::effect::Level;
use crate::modules::state::Env;
use crate::modules::work::Work;
use crate::sip::param;
use crate::sip::{Message, Method};
use crate::slab::Key;

use super::cookie::{self, Cookie};
use super::leg::Direction;
use super::life::{self, Cause};
use super::request;
use super::scope::Role;
use super::state::{Act, Event};
use super::timeout;

/// `dlg_match_mode`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mode {
    /// 0: by the cookie only.
    #[default]
    Cookie,
    /// 1: by the cookie, else by Call-ID and tags.
    Fallback,
    /// 2: by Call-ID and tags; there are no cookies.
    Sip,
}

/// `loose_route` has followed a Route of ours: the dialog follows the request.
pub fn loose_route(env: &mut Env<'_>, work: &mut Work) {
    let mode = env.state.setup.config.dialog.match_mode;
    // Without parameters it is no Route that we have written.
    if work.rr.route_params().is_some_and(|p| !p.is_empty()) {
        follow(env, work, mode);
    }
}

/// A request in a dialog: finds it, and lets it do what the request means.
pub(super) fn follow(env: &mut Env<'_>, work: &mut Work, mode: Mode) {
    let message = Rc::clone(&work.message);
    if work.dialog.is_set() || message.to_tag().is_none() {
        return;
    }
    let Some((key, direction)) = find(env, work, &message, mode) else {
        return;
    };
    if request::is_own(env.state, &message) {
        (work.dialog.current, work.dialog.direction) = (Some(key), Some(direction));
        return;
    }
    life::count_number(env, key, &message, direction);
    let is_bye = message.method() == Method::Bye;
    let role = if is_bye {
        Role::Bye(direction)
    } else {
        Role::Within(direction)
    };
    work.dialog.current = Some(key);
    work.dialog.role = Some(role);
    let lifetime_s = timeout::asked_within(&env.state.setup, &work.avps);
    let cause = Cause {
        message: Some(&message),
        request: None,
        flow: Some(work.flow),
        direction: Some(direction),
        lifetime_s,
    };
    let done =
        event_of(&message).map_or(Act::NOTHING, |event| life::happen(env, key, event, cause));
    if done.has(Act::FOLLOW) {
        life::write_cookie(env, work, key);
    }
    if is_bye && !done.has(Act::END) {
        // Only the BYE that ends a dialog keeps its record.
        work.dialog.role = Some(Role::Within(direction));
    }
    if let Some(dialog) = env.state.dialogs.table.get(key) {
        let age = life::now_s(env).saturating_sub(dialog.start_s) as i64;
        work.dialog.followed = Some((dialog.state(), age));
    }
    if let Some(transaction) = work.transaction {
        life::transaction_made(env, work, transaction);
    }
}

fn event_of(message: &Message) -> Option<Event> {
    match message.method() {
        Method::Ack => Some(Event::Ack),
        Method::Bye => Some(Event::Bye),
        Method::Prack => Some(Event::Prack),
        // It is about another request, and about no dialog (RFC 3261 §9.1).
        Method::Cancel => None,
        _ => Some(Event::Request),
    }
}

fn find(env: &mut Env<'_>, work: &Work, message: &Message, mode: Mode) -> Option<(Key, Direction)> {
    match mode {
        Mode::Sip => by_tags(env, message),
        Mode::Cookie => by_cookie(env, work, message).ok()?,
        Mode::Fallback => by_cookie(env, work, message)
            .ok()?
            .or_else(|| by_tags(env, message)),
    }
}

/// The dialog that the cookie names, if the tags agree. `Err`: it cannot be read, which no
/// request that came our way before can bring about, and nothing else is tried.
fn by_cookie(
    env: &mut Env<'_>,
    work: &Work,
    message: &Message,
) -> Result<Option<(Key, Direction)>, Malformed> {
    let params = work.rr.route_params().unwrap_or_default();
    let name = env.state.setup.config.dialog.rr_param.as_bytes();
    match cookie::read(param::find(params, name)) {
        Cookie::Absent => Ok(None),
        Cookie::Malformed => {
            env.state.dialogs.counts.bad_cookies += 1;
            env.log(
                Level::Dbg,
                "a request in a dialog has a cookie that cannot be read",
            );
            Err(Malformed)
        }
        Cookie::Of(id) => {
            let table = &env.state.dialogs.table;
            let found = table
                .find_id(id)
                .and_then(|key| Some((key, table.get(key)?)));
            let found = found.filter(|(_, d)| d.call_id() == message.call_id());
            let found =
                found.and_then(|(key, d)| Some((key, d.direction(from(message), to(message))?)));
            if found.is_none() {
                env.state.dialogs.counts.strange_cookies += 1;
                env.log(
                    Level::Dbg,
                    format!("a request is not of the dialog {id} that it names"),
                );
            }
            Ok(found)
        }
    }
}

struct Malformed;

fn from(message: &Message) -> &[u8] {
    message.from_tag().unwrap_or_default()
}

fn to(message: &Message) -> &[u8] {
    message.to_tag().unwrap_or_default()
}

fn by_tags(env: &Env<'_>, message: &Message) -> Option<(Key, Direction)> {
    env.state
        .dialogs
        .table
        .find(message.call_id(), from(message), to(message))
}

/// The dialog of a message as scripts see it: the current one, else that of Call-ID and tags.
/// Looking changes nothing. `None` also when the current one is another shard's.
pub(super) fn of_message(env: &Env<'_>, work: &Work) -> Option<(Key, Option<Direction>)> {
    if work.dialog.elsewhere.is_some() {
        return None;
    }
    let table = &env.state.dialogs.table;
    if let Some(key) = work.dialog.current.filter(|key| table.get(*key).is_some()) {
        let direction = work.dialog.direction.or(work.dialog.role.map(Role::way));
        return Some((key, direction));
    }
    by_tags(env, &work.message).map(|(key, direction)| (key, Some(direction)))
}
