//! What a script does to a transaction that is not its own: going on with a suspended one
//! (`t_suspend`, `t_continue`), answering and cancelling by Call-ID.
//!
//! The transaction may be another shard's: the one that owns the Call-ID, or the one that
//! `$T(id_index)` names in its upper half. That shard is asked to do it, and the script waits for
//! its answer.
//!
//! Costs: a Call-ID is looked for by walking the table. Scripts do so rarely, and an index would
//! cost every transaction of every call.

use std::sync::Arc;

use crate::effect::{Level, TransactionOrder};
use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::state::{Env, State};
use crate::modules::work::Ask;
use crate::modules::{Call, Function};
use crate::script::{
    CallSite, Heap, Outcome, ParamKind, RouteId, RouteKind, RouteKinds, parse_int,
};
use crate::sip::Method;
use crate::slab::Key;
use crate::steer::{self, ShardId};
use crate::timer::Timer;

use super::branch::{self, Which};
use super::{Transaction, serve, upstream};

const TEXT: ParamKind = ParamKind::Text;
const INT: ParamKind = ParamKind::Int;
const ANY: RouteKinds = RouteKinds::ANY;

pub(super) const FUNCTIONS: [Function; 5] = [
    optional(
        function(
            "t_cancel_callid",
            &[TEXT, TEXT, INT, INT],
            ANY,
            (
                cancel,
                "Cancels an INVITE by Call-ID and CSeq, sets a flag, says the cause.",
            ),
        ),
        3,
    ),
    function(
        "t_reply_callid",
        &[TEXT, TEXT, INT, TEXT],
        ANY,
        (reply, "Answers a request by Call-ID and CSeq."),
    ),
    function(
        "t_suspend",
        &[],
        ANY,
        (suspend, "Puts the request aside until t_continue."),
    ),
    function(
        "t_continue",
        &[INT, INT, TEXT],
        ANY,
        (
            continue_,
            "Goes on with it in a route: $T(id_index), $T(id_label), name.",
        ),
    ),
    optional(
        function(
            "t_drop",
            &[INT],
            ANY,
            (drop_unanswered, "Ends the transaction without a reply."),
        ),
        0,
    ),
];

/// What `$T(id_index)` and `$T(id_label)` say of a transaction.
pub fn identity(state: &State, key: Key) -> (i64, i64) {
    let n = key.to_u64();
    let index = u64::from(state.id.0) << 32 | n >> 32;
    (index as i64, (n & 0xffff_ffff) as i64)
}

/// The shard and the key that an identity names.
pub fn named(index: i64, label: i64) -> Option<(ShardId, Key)> {
    let (index, label) = (u64::try_from(index).ok()?, u32::try_from(label).ok()?);
    let shard = u16::try_from(index >> 32).ok()?;
    let key = Key::from_u64(index << 32 | u64::from(label));
    Some((ShardId(shard), key))
}

/// Opens the transaction if there is none, and keeps it when the script ends. Who waits for the
/// response waits as long as for a branch that does not ring (`fr_timer`).
fn suspend(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if call.work.message.method() == Method::Ack || !call.work.message.is_request() {
        return NO;
    }
    if call.work.transaction.is_none() {
        super::create(&mut call.env, call.work, call.program);
    }
    let Some(key) = call.work.transaction else {
        return NO;
    };
    serve::trying(&mut call.env, key);
    let config = Arc::clone(&call.env.state.setup);
    let Some(t) = call
        .env
        .state
        .tm
        .get_mut(key)
        .filter(|t| !t.server.is_final())
    else {
        return NO;
    };
    t.is_suspended = true;
    t.plan = call.work.plan.clone();
    t.times = t.plan.times(&config.config.tm, t.is_invite);
    t.saved.keep(call.work);
    let after = t.times.final_response;
    limit(&mut call.env, key, after);
    call.work.is_answered = true;
    YES
}

/// Makes the transaction live so long from now.
fn limit(env: &mut Env<'_>, key: Key, length: crate::time::Duration) {
    let old = env.state.tm.get_mut(key).and_then(|t| t.life_timer.take());
    env.stop(old);
    let timer = env.start(length, Timer::Lifetime(key));
    if let Some(t) = env.state.tm.get_mut(key) {
        t.life_timer = Some(timer);
    }
}

fn continue_(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let ids = (site.int(0, call, heap), site.int(1, call, heap));
    let (Some(route), (Some(index), Some(label))) = (text_of(call, heap, site, 2), ids) else {
        return NO;
    };
    let Some((shard, key)) = named(index, label) else {
        return NO;
    };
    if shard != call.env.state.id {
        let route = route[..].into();
        return send(call, shard, TransactionOrder::Continue { key, route });
    }
    match suspended(call.env.state, key, &route) {
        Some(route) => call.ask(Ask::Continue(key, route)),
        None => NO,
    }
}

/// The route to go on with, if the transaction waits for one and its script has it.
pub fn suspended(state: &State, key: Key, route: &[u8]) -> Option<RouteId> {
    let t = state.tm.get(key)?;
    let is_waiting = t.is_suspended && !t.server.is_final();
    t.program
        .route(RouteKind::Request, route)
        .filter(|_| is_waiting)
}

/// Takes a transaction out of its sleep; its time counts as that of any other again.
pub fn wake(env: &mut Env<'_>, key: Key) {
    let Some(t) = env.state.tm.get_mut(key) else {
        return;
    };
    t.is_suspended = false;
    let length = t.times.lifetime;
    limit(env, key, length);
}

/// Has another shard do it.
fn send(call: &mut Call<'_>, shard: ShardId, order: TransactionOrder) -> Outcome {
    if shard.0 >= call.env.state.setup.shard_count {
        return NO;
    }
    call.ask(Ask::Order(shard, Arc::new(order)))
}

/// Does it here or has it done where the Call-ID belongs.
fn order(call: &mut Call<'_>, call_id: &[u8], order: TransactionOrder) -> Outcome {
    let shard = steer::owner(call_id, call.env.state.setup.shard_count);
    if shard == call.env.state.id {
        return truth(perform(&mut call.env, &order));
    }
    send(call, shard, order)
}

fn sequence(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<u32> {
    let text = text_of(call, heap, site, 1)?;
    u32::try_from(parse_int(&text)?).ok()
}

fn cancel(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (call_id, cseq) = (text_of(call, heap, site, 0), sequence(call, heap, site));
    let (Some(call_id), Some(cseq)) = (call_id, cseq) else {
        return NO;
    };
    let flag = site.int(2, call, heap).filter(|n| (1..32).contains(n));
    let cause = site.int(3, call, heap).filter(|n| (100..700).contains(n));
    let wanted = TransactionOrder::Cancel {
        call_id: call_id[..].into(),
        cseq,
        flag: flag.map(|n| n as u8),
        cause: cause.map(|n| n as u16),
    };
    order(call, &call_id, wanted)
}

fn reply(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (call_id, cseq) = (text_of(call, heap, site, 0), sequence(call, heap, site));
    let status = site.int(2, call, heap).filter(|n| (100..700).contains(n));
    let reason = text_of(call, heap, site, 3)
        .filter(|r| !r.is_empty() && !r.iter().any(|b| matches!(b, b'\r' | b'\n')));
    let (Some(call_id), Some(cseq), Some(status), Some(reason)) = (call_id, cseq, status, reason)
    else {
        return NO;
    };
    let wanted = TransactionOrder::Reply {
        call_id: call_id[..].into(),
        cseq,
        status: status as u16,
        reason: reason[..].into(),
    };
    order(call, &call_id, wanted)
}

/// What an operator answers with.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The status.
    pub status: u16,
    /// The phrase.
    pub reason: &'a [u8],
    /// The tag in To; empty: our own.
    pub tag: &'a [u8],
    /// Header lines.
    pub headers: &'a [u8],
    /// Content type and body.
    pub body: Option<(&'a [u8], &'a [u8])>,
}

/// Answers a request of this shard that has no final response yet. False: there is none.
pub fn answer_for(env: &mut Env<'_>, key: Key, said: Said<'_>) -> bool {
    let Some(t) = env.state.tm.get_mut(key).filter(|t| t.local.is_none()) else {
        return false;
    };
    if t.server.is_final() {
        return false;
    }
    if let Some((kind, text)) = said.body {
        t.saved.reply_body = Some((kind.into(), text.into()));
    }
    let tag = Some(said.tag).filter(|tag| !tag.is_empty());
    let is_sent = serve::reply_as(env, key, (said.status, said.reason), said.headers, tag);
    if is_sent && said.status >= 200 {
        end_branches(env, key, said.status);
    }
    is_sent
}

/// The received request of this Call-ID and number that has no final response yet.
pub fn pending(state: &State, call_id: &[u8], cseq: u32) -> Option<Key> {
    find(state, call_id, cseq, |t| !t.server.is_final())
}

/// The first received request of this Call-ID and number.
fn find(state: &State, call_id: &[u8], cseq: u32, is_it: fn(&Transaction) -> bool) -> Option<Key> {
    let fits = |t: &Transaction| {
        let request = &t.request;
        let is_same = request.cseq().number == cseq && request.call_id() == call_id;
        is_same && t.local.is_none() && is_it(t)
    };
    state.tm.iter().find(|(_, t)| fits(t)).map(|(key, _)| key)
}

/// Answers or cancels a transaction of this shard. False: there is none, or it is answered.
pub fn perform(env: &mut Env<'_>, order: &TransactionOrder) -> bool {
    match order {
        TransactionOrder::Continue { .. } => false,
        TransactionOrder::Cancel {
            call_id,
            cseq,
            flag,
            cause,
        } => match find(env.state, call_id, *cseq, |t| t.is_invite) {
            Some(key) => {
                cancel_now(env, key, *flag, *cause);
                true
            }
            None => false,
        },
        TransactionOrder::Reply {
            call_id,
            cseq,
            status,
            reason,
        } => match find(env.state, call_id, *cseq, |t| !t.server.is_final()) {
            Some(key) => {
                let is_sent = serve::reply(env, key, *status, reason, &[]);
                if is_sent && *status >= 200 {
                    end_branches(env, key, *status);
                }
                is_sent
            }
            None => false,
        },
    }
}

fn cancel_now(env: &mut Env<'_>, key: Key, flag: Option<u8>, cause: Option<u16>) {
    if let Some(t) = env.state.tm.get_mut(key) {
        t.saved.flags |= flag.map_or(0, |n| 1 << n);
        if let Some(cause) = cause {
            t.cancel_reason = format!("Reason: SIP;cause={cause}\r\n").into_bytes().into();
        }
    }
    let answered = branch::cancel(env, key, Which::All);
    upstream::mark_cancelled(env, key, &answered);
}

/// A final response of our own has gone: nobody waits for the branches any more.
pub(super) fn end_branches(env: &mut Env<'_>, key: Key, status: u16) {
    let says_why = env.state.setup.config.tm.local_cancel_reason;
    if let Some(t) = env.state.tm.get_mut(key)
        && says_why
        && t.cancel_reason.is_empty()
    {
        t.cancel_reason = format!("Reason: SIP;cause={status}\r\n")
            .into_bytes()
            .into();
    }
    let answered = branch::cancel(env, key, Which::All);
    upstream::mark_cancelled(env, key, &answered);
}

/// The script ends here, as in the original.
fn drop_unanswered(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let Some(key) = call.work.transaction else {
        let text = "t_drop(): there is no transaction";
        call.env.log(Level::Dbg, text);
        return NO;
    };
    serve::finish_unanswered(&mut call.env, key);
    call.work.is_answered = true;
    call.work.relay_error = 0;
    Outcome::Exit
}
