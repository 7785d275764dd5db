//! What the party of a transfer still says: requests that are for us and not for the script.
//!
//! In a call of our own, everything. In a tracked dialog only the NOTIFYs about our REFER
//! (RFC 3515 §2.4.4): the rest is for the other side. Answers are stateless, so that a repetition
//! gets the same one, and nothing is kept for it.

use crate::effect::Flow;
use crate::limits::TRANSFER_FORK_COUNT_MAX;
use crate::modules::sl;
use crate::modules::state::Env;
use crate::sip::param::Params;
use crate::sip::{HeaderName, Message, Method};
use crate::slab::Key;

use super::happen;
use super::stage::Event;
use super::table::Transfer;

/// What we can be asked in a call of our own.
const ALLOW: &[u8] = b"Allow: ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, OPTIONS, UPDATE\r\n";

/// The event package of RFC 3515 §2.4.4 in the words of RFC 6665 §8.2.1.
const ALLOW_EVENTS: &[u8] = b"Allow-Events: refer\r\n";

/// Answers a request that is for us. False: it is the script's.
pub fn take(env: &mut Env<'_>, request: &Message, flow: Flow) -> bool {
    if env.state.dialogs.transfers.is_empty() {
        return false;
    }
    let (Some(from), Some(to)) = (request.from_tag(), request.to_tag()) else {
        return false;
    };
    let transfers = &env.state.dialogs.transfers;
    let is_about = |t: &Transfer| {
        let is_ours = t.tracked.is_none() || is_of_refer(t, request);
        is_ours && t.is_from_party(from, to)
    };
    let mut found = transfers.of_call(request.call_id());
    let Some(key) = found.find(|(_, t)| is_about(t)).map(|(key, _)| key) else {
        return false;
    };
    drop(found);
    let (status, reason, headers) = answer(env, key, request);
    // An ACK is to what was answered here, and is not answered itself (§17.1.1.3).
    sl::reply(env, request, flow, (status, reason), headers);
    true
}

/// Whether it is a NOTIFY about our REFER: the `id` is the number of the REFER, if there is one
/// (RFC 3515 §2.4.6).
fn is_of_refer(transfer: &Transfer, request: &Message) -> bool {
    if request.method() != Method::Notify {
        return false;
    }
    let Some((package, params)) = value_of(request, HeaderName::Event) else {
        return false;
    };
    let mut id = Params::new(params).filter(|param| param.is(b"id"));
    let number = transfer.number.to_string();
    let is_its = id
        .next()
        .and_then(|param| param.value)
        .is_none_or(|id| id == number.as_bytes());
    package.eq_ignore_ascii_case(b"refer") && is_its
}

/// The word in front of the parameters of a header field, and the parameters.
fn value_of(request: &Message, name: HeaderName) -> Option<(&[u8], &[u8])> {
    let value = request.text(request.first(name)?.value);
    let at = value.iter().position(|b| *b == b';');
    let at = at.unwrap_or(value.len());
    let params = value.get(at + 1..).unwrap_or_default();
    Some((value[..at].trim_ascii(), params))
}

type Answer = (u16, &'static [u8], &'static [u8]);

fn answer(env: &mut Env<'_>, key: Key, request: &Message) -> Answer {
    const OK: Answer = (200, b"OK", b"");
    const NOT_HERE: Answer = (488, b"Not Acceptable Here", b"");
    const NO_CALL: Answer = (481, b"Call/Transaction Does Not Exist", b"");
    match request.method() {
        Method::Notify => notified(env, key, request),
        Method::Bye => {
            left(env, key, request);
            OK
        }
        // The offer stays as it is; what refreshes the session without one may do so (RFC 3311).
        Method::Update if request.body().is_empty() => OK,
        Method::Invite | Method::Update => NOT_HERE,
        Method::Ack | Method::Info => OK,
        Method::Options => (200, b"OK", ALLOW),
        Method::Cancel | Method::Prack => NO_CALL,
        Method::Register
        | Method::Subscribe
        | Method::Publish
        | Method::Message
        | Method::Refer
        | Method::Kdmq
        | Method::Other => (405, b"Method Not Allowed", ALLOW),
    }
}

fn notified(env: &mut Env<'_>, key: Key, request: &Message) -> Answer {
    let package = value_of(request, HeaderName::Event);
    if !package.is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"refer")) {
        return (489, b"Bad Event", ALLOW_EVENTS);
    }
    let state = value_of(request, HeaderName::SubscriptionState);
    if state.is_some_and(|(state, _)| state.eq_ignore_ascii_case(b"terminated")) {
        happen(env, key, Event::LastNotify);
    }
    (200, b"OK", b"")
}

/// A party hangs up: the one that is referred, or one of a fork whose 2xx may still be on its way.
fn left(env: &mut Env<'_>, key: Key, request: &Message) {
    let from = request.from_tag().unwrap_or_default();
    let Some(transfer) = env.state.dialogs.transfers.get_mut(key) else {
        return;
    };
    if *transfer.tag == *from {
        return happen(env, key, Event::Gone);
    }
    let is_known = transfer.forks.iter().any(|fork| **fork == *from);
    if !is_known && transfer.forks.len() < TRANSFER_FORK_COUNT_MAX {
        transfer.forks.push(from.into());
    }
}
