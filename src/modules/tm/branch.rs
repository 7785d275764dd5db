//! Performing what the client grid says: RFC 3261 §17.1, and cancelling (§9.1).

use std::rc::Rc;

use crate::effect::{Destination, Effect, Proto, Send, Token};
use crate::modules::journal::{Line, What};
use crate::modules::state::Env;
use crate::modules::work::Bytes;
use crate::sip::{Message, Method};
use crate::slab::Key;
use crate::timer::{Branch as BranchId, Timer};

use super::client::{self, Event, State};
use super::grid::Act;
use super::hop;
use super::transaction::{Branch, Cancel, Transaction};

/// What the transaction's user is to be told of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// The response is for it.
    Pass,
    /// Nobody answered: 408.
    TimedOut,
    /// The request did not leave.
    Unsent,
}

/// Which branches to cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All that are pending.
    All,
    /// All but this one.
    Others(u8),
    /// This one.
    One(u8),
}

fn entry<'a>(env: &'a Env<'_>, id: BranchId) -> Option<(&'a Transaction, &'a Branch)> {
    let t = env.state.tm.get(id.transaction)?;
    Some((t, t.branches.get(usize::from(id.index))?))
}

fn with<R>(env: &mut Env<'_>, id: BranchId, f: impl FnOnce(&mut Branch) -> R) -> Option<R> {
    let t = env.state.tm.get_mut(id.transaction)?;
    t.branches.get_mut(usize::from(id.index)).map(f)
}

/// Sends the request of a branch for the first time and starts its timers.
pub fn open(env: &mut Env<'_>, id: BranchId) {
    let Some((t, branch)) = entry(env, id) else {
        return;
    };
    let (times, to, bytes) = (t.times, branch.to, Rc::clone(&branch.sent));
    let (call, method) = (t.request.call(), t.request.method());
    send_request(env, id, to, bytes);
    let line = Line::Request(method);
    env.note(call, What::Sent(line, to.proto, to.remote));
    let final_timer = env.start(times.final_response, Timer::FinalResponse(id));
    let repeat_timer = (to.proto == Proto::Udp)
        .then(|| env.start(times.repeat_first, Timer::RetransmitRequest(id)));
    with(env, id, |b| {
        b.final_timer = Some(final_timer);
        b.repeat_timer = repeat_timer;
        b.repeat_after = times.repeat_first.doubled_up_to(times.repeat_cap);
    });
    env.state.counters.branches += 1;
}

fn send_request(env: &mut Env<'_>, id: BranchId, to: Destination, bytes: Bytes) {
    env.state.counters.sent += 1;
    let token = Some(Token::Branch(id));
    env.out.push(Effect::Send(Send { to, bytes, token }));
}

/// An event on a branch. `response` is what came, for responses.
pub fn step(env: &mut Env<'_>, id: BranchId, event: Event, response: Option<&Message>) -> Told {
    let Some((t, branch)) = entry(env, id) else {
        return Told::Nothing;
    };
    let (is_invite, before) = (t.is_invite, branch.state);
    let cell = client::step(is_invite, before, event);
    with(env, id, |b| b.state = cell.next);
    let act = cell.act;
    if act.has(Act::ACK)
        && let Some(response) = response
    {
        acknowledge(env, id, response);
    }
    if act.has(Act::RESEND) {
        repeat_request(env, id);
    }
    set_timers(env, id, act);
    if event == Event::Provisional && before.is_pending() {
        with(env, id, |b| b.is_ringing = true);
        cancel_if_wanted(env, id);
    }
    if act.has(Act::CANCEL) {
        abandon(env, id);
    }
    if !cell.next.is_pending() && cell.next != State::Abandoned {
        stop_cancelling(env, id);
    }
    match act {
        _ if act.has(Act::PASS) => Told::Pass,
        _ if act.has(Act::TIMEOUT) => Told::TimedOut,
        _ if act.has(Act::UNSENT) => Told::Unsent,
        _ => Told::Nothing,
    }
}

fn set_timers(env: &mut Env<'_>, id: BranchId, act: Act) {
    let Some((t, _)) = entry(env, id) else { return };
    let (times, restarts) = (t.times, env.state.setup.config.tm.restart_fr_on_each_reply);
    if act.has(Act::STOP_REPEAT) {
        let old = with(env, id, |b| b.repeat_timer.take()).flatten();
        env.stop(old);
    }
    if act.has(Act::STOP_FINAL) {
        let old = with(env, id, |b| b.final_timer.take()).flatten();
        env.stop(old);
    }
    if act.has(Act::START_FINAL) {
        let is_first = entry(env, id).is_some_and(|(_, b)| !b.is_ringing);
        if is_first || restarts {
            let old = with(env, id, |b| b.final_timer.take()).flatten();
            env.stop(old);
            let timer = env.start(times.final_response_invite, Timer::FinalResponse(id));
            with(env, id, |b| b.final_timer = Some(timer));
        }
    }
    if act.has(Act::START_REPEAT) {
        let after = with(env, id, |b| {
            let after = b.repeat_after;
            b.repeat_after = after.doubled_up_to(times.repeat_cap);
            (b.to.proto == Proto::Udp).then_some(after)
        });
        if let Some(after) = after.flatten() {
            let timer = env.start(after, Timer::RetransmitRequest(id));
            with(env, id, |b| b.repeat_timer = Some(timer));
        }
    }
}

fn repeat_request(env: &mut Env<'_>, id: BranchId) {
    let Some((_, branch)) = entry(env, id) else {
        return;
    };
    let (to, bytes) = (branch.to, Rc::clone(&branch.sent));
    env.state.counters.requests_repeated += 1;
    send_request(env, id, to, bytes);
}

/// §17.1.1.3: along the way of the request, whatever the response says.
fn acknowledge(env: &mut Env<'_>, id: BranchId, response: &Message) {
    let Some((_, branch)) = entry(env, id) else {
        return;
    };
    let to = branch.to;
    let Ok(sent) = Message::parse(&branch.sent) else {
        return;
    };
    let mut bytes = Vec::with_capacity(512);
    let extra = &env.state.setup.config.tm.ac_extra_hdrs;
    hop::ack(&sent, response, extra, &mut bytes);
    let (line, call) = (Line::Request(Method::Ack), sent.call());
    env.note(call, What::Sent(line, to.proto, to.remote));
    env.send(to, bytes.into());
}

/// §9.1: asks branches to give up. A branch without a provisional response is asked as soon as
/// one comes, unless `tm.cancel_b_method` says otherwise. Returns the branches that count as
/// answered 487 at once (`cancel_b_method` 0).
pub fn cancel(env: &mut Env<'_>, transaction: Key, which: Which) -> Vec<u8> {
    let Some(t) = env.state.tm.get(transaction).filter(|t| t.is_invite) else {
        return vec![];
    };
    let method = env.state.setup.config.tm.cancel_b_method;
    let wanted = |index: u8| match which {
        Which::All => true,
        Which::Others(one) => index != one,
        Which::One(one) => index == one,
    };
    let chosen: Vec<(u8, bool)> = (0u8..)
        .zip(&t.branches)
        .filter(|(i, b)| wanted(*i) && b.state.is_pending() && matches!(b.cancel, Cancel::No))
        .map(|(i, b)| (i, b.is_ringing))
        .collect();
    let mut answered = vec![];
    for (index, is_ringing) in chosen {
        let id = BranchId { transaction, index };
        if is_ringing || method == 2 {
            send_cancel(env, id);
        } else if method == 0 {
            answered.push(index);
        } else {
            with(env, id, |b| b.cancel = Cancel::Wanted);
        }
    }
    answered
}

fn cancel_if_wanted(env: &mut Env<'_>, id: BranchId) {
    if entry(env, id).is_some_and(|(_, b)| matches!(b.cancel, Cancel::Wanted)) {
        send_cancel(env, id);
    }
}

fn send_cancel(env: &mut Env<'_>, id: BranchId) {
    let Some((t, branch)) = entry(env, id) else {
        return;
    };
    let (times, to) = (t.times, branch.to);
    let Ok(sent) = Message::parse(&branch.sent) else {
        return;
    };
    let mut bytes = Vec::with_capacity(512);
    let extra = &env.state.setup.config.tm.ac_extra_hdrs;
    hop::cancel(&sent, (&t.cancel_reason, extra), &mut bytes);
    let (bytes, call): (Bytes, _) = (bytes.into(), sent.call());
    let line = Line::Request(Method::Cancel);
    env.note(call, What::Sent(line, to.proto, to.remote));
    env.send(to, Rc::clone(&bytes));
    let repeat_timer = (to.proto == Proto::Udp)
        .then(|| env.start(times.repeat_first, Timer::RetransmitCancel(id)));
    let cancel_timer = env.start(times.final_response, Timer::CancelWait(id));
    let repeat_after = times.repeat_first.doubled_up_to(times.repeat_cap);
    with(env, id, |b| {
        b.cancel = Cancel::Sent {
            bytes,
            repeat_timer,
            repeat_after,
        };
        b.cancel_timer = Some(cancel_timer);
    });
}

/// Timer E of a CANCEL.
pub fn repeat_cancel(env: &mut Env<'_>, id: BranchId) {
    let Some((t, branch)) = entry(env, id) else {
        return;
    };
    let (to, cap) = (branch.to, t.times.repeat_cap);
    let Cancel::Sent {
        bytes,
        repeat_after,
        ..
    } = &branch.cancel
    else {
        return;
    };
    let (bytes, after) = (Rc::clone(bytes), *repeat_after);
    env.send(to, bytes);
    let timer = env.start(after, Timer::RetransmitCancel(id));
    with(env, id, |b| {
        if let Cancel::Sent {
            repeat_timer,
            repeat_after,
            ..
        } = &mut b.cancel
        {
            *repeat_timer = Some(timer);
            *repeat_after = after.doubled_up_to(cap);
        }
    });
}

/// The far end has answered our CANCEL: it need not be repeated.
pub fn cancel_answered(env: &mut Env<'_>, id: BranchId) {
    let timer = with(env, id, |b| match std::mem::take(&mut b.cancel) {
        Cancel::Sent { repeat_timer, .. } => {
            b.cancel = Cancel::Done;
            repeat_timer
        }
        other => {
            b.cancel = other;
            None
        }
    });
    env.stop(timer.flatten());
}

fn stop_cancelling(env: &mut Env<'_>, id: BranchId) {
    cancel_answered(env, id);
    let timer = with(env, id, |b| {
        b.cancel = Cancel::Done;
        b.cancel_timer.take()
    });
    env.stop(timer.flatten());
}

/// The branch no longer counts, but the far end rings on: cancel it and wait for its end.
fn abandon(env: &mut Env<'_>, id: BranchId) {
    let Some((t, branch)) = entry(env, id) else {
        return;
    };
    let wait = t.times.final_response;
    let is_cancelled = !matches!(branch.cancel, Cancel::No | Cancel::Wanted);
    if !is_cancelled {
        send_cancel(env, id);
    }
    let timers = with(env, id, |b| [b.final_timer.take(), b.cancel_timer.take()]);
    timers
        .into_iter()
        .flatten()
        .for_each(|timer| env.stop(timer));
    let timer = env.start(wait, Timer::FinalResponse(id));
    with(env, id, |b| b.final_timer = Some(timer));
}
