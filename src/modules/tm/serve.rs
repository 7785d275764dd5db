//! Performing what the server grid says: RFC 3261 §17.2.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Proto};
use crate::modules::dialog::life;
use crate::modules::journal::{Line, What};
use crate::modules::state::{self, Env};
use crate::modules::work::Bytes;
use crate::sip::reply::{self, Reply};
use crate::slab::Key;
use crate::timer::Timer;

use super::grid::Act;
use super::server::{self, Event, State};
use super::transaction::{SentReply, Transaction};

/// A response on its way upstream.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its status code.
    pub status: u16,
    /// The whole message.
    pub bytes: Bytes,
}

/// Lets the transaction send a response. False: it may not send this one any more.
pub fn send(env: &mut Env<'_>, key: Key, outgoing: Outgoing) -> bool {
    let event = match outgoing.status {
        ..=199 => Event::Provisional,
        200..=299 => Event::Success,
        300.. => Event::Failure,
    };
    let status = outgoing.status;
    let is_sent = step(env, key, event, Some(outgoing));
    if is_sent && status >= 200 {
        env.state.counters.final_replies[usize::from(status / 100).min(6)] += 1;
    }
    is_sent
}

/// An event at the server side. False: the grid refuses it, or the transaction is gone.
pub fn step(env: &mut Env<'_>, key: Key, event: Event, outgoing: Option<Outgoing>) -> bool {
    let Some(t) = env.state.tm.get_mut(key) else {
        return false;
    };
    let cell = server::step(t.is_invite, t.server, event);
    t.server = cell.next;
    if cell.act.has(Act::REFUSE) {
        return false;
    }
    let to = t.reply_to;
    let (call, method) = (t.request.call(), t.request.method());
    if let Some(Outgoing { status, bytes }) = outgoing {
        if cell.act.has(Act::SEND) {
            if status >= 200 {
                env.state.counters.finals[usize::from(status / 100).min(6)] += 1;
            }
            t.last_reply = Some(SentReply {
                status,
                bytes: Rc::clone(&bytes),
            });
            env.send(to, bytes);
        } else if cell.act.has(Act::SEND_ONCE) {
            env.send(to, bytes);
        }
        if cell.act.has(Act::SEND) || cell.act.has(Act::SEND_ONCE) {
            let line = Line::Response(status, method);
            env.note(call, What::Sent(line, to.proto, to.remote));
        }
    }
    if cell.act.has(Act::RESEND) {
        resend(env, key);
    }
    set_timers(env, key, cell.act, to);
    if cell.next == State::Terminated {
        super::reap(env, key);
    }
    true
}

/// Ends a transaction that is not to be answered at all, and goes on absorbing its request.
pub fn finish_unanswered(env: &mut Env<'_>, key: Key) {
    let Some(t) = env.state.tm.get_mut(key).filter(|t| !t.server.is_final()) else {
        return;
    };
    t.server = State::Completed;
    t.last_reply = None;
    let to = t.reply_to;
    set_timers(env, key, Act::START_WAIT, to);
}

fn resend(env: &mut Env<'_>, key: Key) {
    let Some(t) = env.state.tm.get(key) else {
        return;
    };
    let (to, last) = (t.reply_to, t.last_reply.clone());
    if let Some(SentReply { bytes, .. }) = last {
        env.state.counters.responses_repeated += 1;
        env.send(to, bytes);
    }
}

fn set_timers(env: &mut Env<'_>, key: Key, act: Act, to: Destination) {
    let Some(t) = env.state.tm.get_mut(key) else {
        return;
    };
    let times = t.times;
    if act.has(Act::STOP_REPEAT) {
        let timer = t.repeat_timer.take();
        env.stop(timer);
    }
    if act.has(Act::START_REPEAT) && to.proto == Proto::Udp {
        let Some(t) = env.state.tm.get_mut(key) else {
            return;
        };
        let after = t.repeat_after;
        t.repeat_after = after.doubled_up_to(times.repeat_cap);
        let old = t.repeat_timer.take();
        env.stop(old);
        let timer = env.start(after, Timer::RetransmitResponse(key));
        with(env, key, |t| t.repeat_timer = Some(timer));
    }
    let end = if act.has(Act::START_ACK) {
        Some((times.final_response, Timer::AckWait(key)))
    } else if act.has(Act::START_WAIT) {
        Some((env.state.setup.config.tm.wt_timer, Timer::Wait(key)))
    } else {
        None
    };
    if let Some((after, timer)) = end {
        // A final response has gone: nothing else limits the transaction's life any more.
        let old = with(env, key, |t| [t.end_timer.take(), t.life_timer.take()]);
        old.into_iter().flatten().for_each(|timer| env.stop(timer));
        let timer = match timer {
            Timer::Wait(_) => env.start_late(after, timer),
            _ => env.start(after, timer),
        };
        with(env, key, |t| t.end_timer = Some(timer));
    }
}

fn with<R>(env: &mut Env<'_>, key: Key, f: impl FnOnce(&mut Transaction) -> R) -> Option<R> {
    env.state.tm.get_mut(key).map(f)
}

/// The first answer to an INVITE is 100 (§16.2), unless the script does not want it.
pub fn trying(env: &mut Env<'_>, key: Key) {
    let setup = Arc::clone(&env.state.setup);
    let wants = |t: &Transaction| t.is_invite && t.last_reply.is_none() && !t.plan.no_100;
    if setup.config.tm.auto_inv_100 && env.state.tm.get(key).is_some_and(wants) {
        let reason = setup.config.tm.auto_inv_100_reason.as_bytes();
        reply(env, key, 100, reason, &[]);
    }
}

/// Builds a response of our own to the transaction's request (§8.2.6) and sends it. A 1xx other
/// than 100 and every final response bear the transaction's To tag.
pub fn reply(env: &mut Env<'_>, key: Key, status: u16, reason: &[u8], headers: &[u8]) -> bool {
    reply_as(env, key, (status, reason), headers, None)
}

/// The same with this tag in To.
pub fn reply_as(
    env: &mut Env<'_>,
    key: Key,
    (status, reason): (u16, &[u8]),
    headers: &[u8],
    tag: Option<&[u8]>,
) -> bool {
    let state::State {
        tm, setup, press, ..
    } = &mut *env.state;
    let Some(t) = tm.get(key) else {
        return false;
    };
    let own_tag = t.to_tag();
    let tag = tag.unwrap_or(&own_tag);
    press.clear();
    press.lines.extend_from_slice(headers);
    press.lines.extend_from_slice(&t.saved.reply_headers);
    let sides = (setup.address(t.flow.socket), t.flow.remote);
    let core = &setup.config.core;
    core.push_reply_lines(sides, &t.request, &mut press.lines);
    let body = t.saved.reply_body.as_ref().filter(|_| status > 100);
    let reply = Reply {
        status,
        reason,
        to_tag: (status > 100).then_some(tag),
        headers: &press.lines,
        content_type: body.map(|(kind, _)| &kind[..]),
        body: body.map_or(&[], |(_, text)| &text[..]),
    };
    reply::write(
        &t.request,
        t.flow.remote,
        t.saved.force_rport,
        &reply,
        &mut press.out,
    );
    let bytes = Bytes::from(&press.out[..]);
    env.state.counters.replies[usize::from(status / 100).min(6)] += 1;
    let sent = send(env, key, Outgoing { status, bytes });
    if sent {
        life::replied(
            env,
            key,
            life::Reply {
                status,
                message: None,
                flow: None,
            },
        );
    }
    sent
}
