//! The functions of `tm`.

use std::rc::Rc;

use crate::modules::entry::{join, total};
use crate::modules::work::{Ask, Bytes, RelayOptions};
use crate::modules::{Call, Function, Run, sl};
use crate::script::{Arg, CallSite, FunctionSig, Heap, Outcome, ParamKind, RouteKind, RouteKinds};
use crate::sip::{Method, status};
use crate::slab::Key;
use crate::time::Duration;

use super::server::Event;
use super::transaction::Branch;
use super::{Plan, Transaction, order, serve, upstream};

const REQUEST_FAILURE: RouteKinds = RouteKinds::REQUEST.or(RouteKinds::FAILURE);
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;
const NOT_REPLY: RouteKinds = REQUEST_FAILURE
    .or(RouteKinds::BRANCH)
    .or(RouteKinds::ONREPLY);

const INT: ParamKind = ParamKind::Int;
const TEXT: ParamKind = ParamKind::Text;

pub(super) const fn f(
    name: &'static str,
    params: &'static [ParamKind],
    routes: RouteKinds,
    run: Run,
    doc: &'static str,
) -> Function {
    let required = params.len();
    Function {
        sig: FunctionSig {
            name,
            params,
            required,
            routes,
            planned: false,
            doc,
        },
        run,
    }
}

const fn optional(mut function: Function, required: usize) -> Function {
    function.sig.required = required;
    function
}

/// The table.
pub(super) const FUNCTIONS: [Function; total(&PARTS)] = join(&PARTS);

const PARTS: [&[Function]; 3] = [&OWN, &super::serial::FUNCTIONS, &super::copy::FUNCTIONS];

const OWN: [Function; 40] = [
    f(
        "t_relay",
        &[],
        REQUEST_FAILURE,
        relay,
        "Forwards statefully to the target set.",
    ),
    f(
        "t_relay_to_udp",
        &[TEXT, INT],
        REQUEST_FAILURE,
        relay_udp,
        "Forwards to host and port.",
    ),
    f(
        "t_relay_to_tcp",
        &[TEXT, INT],
        REQUEST_FAILURE,
        relay_tcp,
        "Forwards to host and port.",
    ),
    optional(
        f(
            "t_relay_to",
            &[TEXT, TEXT],
            REQUEST_FAILURE,
            relay_to,
            "Forwards to proto:host:port; flags: 1 no 100, 2 no error reply, 4 no failover.",
        ),
        0,
    ),
    f(
        "t_newtran",
        &[],
        REQUEST,
        new_transaction,
        "Opens the transaction, absorbs repetitions.",
    ),
    f(
        "t_lookup_request",
        &[],
        REQUEST,
        lookup_request,
        "Whether the transaction exists.",
    ),
    optional(
        f(
            "t_lookup_cancel",
            &[INT],
            REQUEST,
            lookup_cancel,
            "Whether a CANCEL has its INVITE.",
        ),
        0,
    ),
    f(
        "t_check_trans",
        &[],
        RouteKinds::RECEIVED.or(RouteKinds::BRANCH),
        check_trans,
        "Absorbs repetitions and failure ACKs.",
    ),
    f(
        "t_relay_cancel",
        &[],
        REQUEST,
        relay_cancel,
        "Relays a CANCEL that has its INVITE.",
    ),
    f(
        "t_reply",
        &[INT, ParamKind::Single],
        RouteKinds::ANSWERING,
        reply,
        "Answers from the existing transaction.",
    ),
    f(
        "t_send_reply",
        &[INT, TEXT],
        RouteKinds::ANSWERING,
        send_reply,
        "Answers, opening the transaction.",
    ),
    f(
        "t_reply_error",
        &[],
        REQUEST_FAILURE,
        reply_error,
        "Answers with what t_relay failed by.",
    ),
    f("t_release", &[], REQUEST, release, "Ends the transaction."),
    f(
        "t_retransmit_reply",
        &[],
        REQUEST,
        retransmit_reply,
        "Sends the last reply again.",
    ),
    f(
        "t_on_failure",
        &[ParamKind::Route(RouteKind::Failure)],
        NOT_REPLY,
        |c, _, s| on(c, s, |p| &mut p.on_failure),
        "Sets the failure route.",
    ),
    f(
        "t_on_branch",
        &[ParamKind::Route(RouteKind::Branch)],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        |c, _, s| on(c, s, |p| &mut p.on_branch),
        "Sets the branch route.",
    ),
    f(
        "t_on_reply",
        &[ParamKind::Route(RouteKind::Onreply)],
        NOT_REPLY,
        |c, _, s| on(c, s, |p| &mut p.on_reply),
        "Sets the reply route.",
    ),
    f(
        "t_on_branch_failure",
        &[ParamKind::Const],
        NOT_REPLY,
        on_branch_failure,
        "Sets event_route[tm:branch-failure:NAME].",
    ),
    f(
        "t_is_set",
        &[ParamKind::Const],
        ANY,
        is_set,
        "Whether such a route is set.",
    ),
    f(
        "t_check_status",
        &[ParamKind::Regex],
        RouteKinds::ANSWERING,
        check_status,
        "Matches the status.",
    ),
    f(
        "t_grep_status",
        &[INT],
        RouteKinds::ON_WAY.or(RouteKinds::ONREPLY),
        grep_status,
        "Whether a branch ended with the status.",
    ),
    f(
        "t_branch_timeout",
        &[],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        |c, _, _| about_branch(c, timed_out),
        "Nobody answered it.",
    ),
    f(
        "t_branch_replied",
        &[],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        |c, _, _| about_branch(c, rang),
        "It rang.",
    ),
    f(
        "t_any_timeout",
        &[],
        RouteKinds::ON_WAY.or(RouteKinds::ONREPLY),
        |c, _, _| any_branch(c, timed_out),
        "One was not answered.",
    ),
    f(
        "t_any_replied",
        &[],
        RouteKinds::ON_WAY.or(RouteKinds::ONREPLY),
        |c, _, _| any_branch(c, rang),
        "One rang.",
    ),
    f(
        "t_is_canceled",
        &[],
        RouteKinds::ON_WAY.or(RouteKinds::ONREPLY),
        is_cancelled,
        "Whether the caller has cancelled.",
    ),
    f(
        "t_is_expired",
        &[],
        RouteKinds::ON_WAY.or(RouteKinds::ONREPLY),
        is_expired,
        "Whether its time is over.",
    ),
    f(
        "t_get_status_code",
        &[],
        RouteKinds::NOT_ONSEND,
        status_code,
        "The status that the route is about, else the last one sent.",
    ),
    optional(
        f(
            "t_set_fr",
            &[INT, INT],
            NOT_REPLY,
            set_fr,
            "fr_inv_timer and fr_timer, milliseconds.",
        ),
        1,
    ),
    f(
        "t_reset_fr",
        &[],
        NOT_REPLY,
        reset_fr,
        "Back to the parameters.",
    ),
    f(
        "t_set_retr",
        &[INT, INT],
        NOT_REPLY,
        set_retr,
        "T1 and T2, milliseconds.",
    ),
    f(
        "t_reset_retr",
        &[],
        NOT_REPLY,
        reset_retr,
        "Back to the parameters.",
    ),
    f(
        "t_set_max_lifetime",
        &[INT, INT],
        NOT_REPLY,
        set_lifetime,
        "Of INVITE and others, ms.",
    ),
    f(
        "t_reset_max_lifetime",
        &[],
        NOT_REPLY,
        reset_lifetime,
        "Back to the parameters.",
    ),
    f(
        "t_set_auto_inv_100",
        &[INT],
        REQUEST,
        |c, h, s| switch(c, h, s, |p, on| p.no_100 = !on),
        "100 or not.",
    ),
    f(
        "t_set_disable_6xx",
        &[INT],
        NOT_REPLY,
        |c, h, s| switch(c, h, s, |p, on| p.no_6xx_block = on),
        "A 6xx leaves the others.",
    ),
    f(
        "t_set_disable_internal_reply",
        &[INT],
        NOT_REPLY,
        |c, h, s| switch(c, h, s, |p, on| p.no_internal_reply = on),
        "No reply of our own for a failed t_relay.",
    ),
    f(
        "t_set_disable_failover",
        &[INT],
        NOT_REPLY,
        |c, h, s| switch(c, h, s, |p, on| p.no_failover = on),
        "Only the first address of a name.",
    ),
    f(
        "t_uac_send",
        &[TEXT; 6],
        ANY,
        crate::modules::uac::t_uac_send,
        "Sends a request: method, URI, next hop, socket, headers, body.",
    ),
    f(
        "t_save_lumps",
        &[],
        REQUEST,
        save_lumps,
        "Failure routes see the changes made so far.",
    ),
];

const YES: Outcome = Outcome::Return(1);
const NO: Outcome = Outcome::Return(-1);

fn truth(is_it: bool) -> Outcome {
    if is_it { YES } else { NO }
}

fn transaction<'a>(call: &'a Call<'_>) -> Option<&'a Transaction> {
    call.env.state.tm.get(call.work.transaction?)
}

/// The plan in force: the transaction's once it exists, and the message's, which it starts from.
pub(super) fn plan(call: &mut Call<'_>, change: impl Fn(&mut Plan)) {
    change(&mut call.work.plan);
    let key = call.work.transaction;
    let config = call.env.state.setup.clone();
    if let Some(t) = key.and_then(|key| call.env.state.tm.get_mut(key)) {
        change(&mut t.plan);
        t.times = t.plan.times(&config.config.tm, t.is_invite);
    }
}

fn relay(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    call.ask(Ask::Relay(RelayOptions::default()))
}

fn relay_udp(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    relay_host(call, heap, site, "udp")
}

fn relay_tcp(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    relay_host(call, heap, site, "tcp")
}

fn relay_host(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, proto: &str) -> Outcome {
    let host = site.text(0, call, heap);
    let Some(port) = site.int(1, call, heap).filter(|p| (1..=65_535).contains(p)) else {
        return NO;
    };
    let host = String::from_utf8_lossy(heap.str(host).unwrap_or_default()).into_owned();
    call.work.target.next_hop = Some(destination_uri(proto, &host, port as u16));
    call.ask(Ask::Relay(RelayOptions::default()))
}

pub(super) fn destination_uri(proto: &str, host: &str, port: u16) -> Bytes {
    Bytes::from(format!("sip:{host}:{port};transport={proto}").into_bytes())
}

fn relay_to(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text_of = |call: &mut Call<'_>, heap: &mut Heap, index| {
        let value = site.text(index, call, heap);
        String::from_utf8_lossy(heap.str(value).unwrap_or_default()).into_owned()
    };
    let (mut to, mut flags) = (text_of(call, heap, 0), text_of(call, heap, 1));
    if flags.is_empty() && parse_flags(&to).is_some() {
        (to, flags) = (String::new(), to);
    }
    if !to.is_empty() {
        let mut parts = to.splitn(2, ':');
        let (Some(proto), Some(rest)) = (parts.next(), parts.next()) else {
            return NO;
        };
        // The last colon of an IPv6 address is none before a port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (rest, None),
        };
        let Ok(port) = port.unwrap_or("5060").parse() else {
            return NO;
        };
        call.work.target.next_hop = Some(destination_uri(proto, host, port));
    }
    let flags = parse_flags(&flags).unwrap_or(0);
    call.ask(Ask::Relay(RelayOptions {
        no_100: flags & 1 != 0,
        no_error_reply: flags & 2 != 0,
        no_failover: flags & 4 != 0,
        is_replica: false,
    }))
}

fn parse_flags(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The transaction that the request repeats, if any; repetitions are answered.
fn absorb(call: &mut Call<'_>) -> Option<Key> {
    let message = Rc::clone(&call.work.message);
    let method = message.method();
    let key = call.env.state.tm.find(&message, method)?;
    if method == Method::Ack {
        let t = call.env.state.tm.get(key)?;
        // The ACK to a 2xx is no part of the INVITE transaction (§17.1.1.3).
        if matches!(t.server, super::server::State::Accepted) {
            return None;
        }
        serve::step(&mut call.env, key, Event::Ack, None);
    } else {
        serve::step(&mut call.env, key, Event::Request, None);
    }
    Some(key)
}

fn new_transaction(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if call.work.transaction.is_some() {
        return Outcome::Return(-10);
    }
    if absorb(call).is_some() {
        call.work.is_answered = true;
        return Outcome::Exit;
    }
    if call.work.message.method() == Method::Ack {
        return NO;
    }
    truth(super::create(&mut call.env, call.work, call.program).is_some())
}

fn lookup_request(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let message = &call.work.message;
    truth(call.env.state.tm.find(message, message.method()).is_some())
}

fn lookup_cancel(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(key) = cancelled_invite(call) else {
        return NO;
    };
    if site.int(0, call, heap) == Some(1)
        && let Some(t) = call.env.state.tm.get(key)
    {
        call.work.flags |= t.saved.flags;
    }
    YES
}

fn cancelled_invite(call: &Call<'_>) -> Option<Key> {
    let message = &call.work.message;
    (message.method() == Method::Cancel)
        .then(|| call.env.state.tm.find(message, Method::Invite))
        .flatten()
}

fn check_trans(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    match call.work.kind {
        RouteKind::Request => {}
        RouteKind::Reply => {
            return truth(call.env.state.tm.find_branch(&call.work.message).is_some());
        }
        RouteKind::Failure | RouteKind::Branch | RouteKind::Onreply => return YES,
        RouteKind::Onsend | RouteKind::Event => return truth(call.work.transaction.is_some()),
    }
    if call.work.message.method() == Method::Cancel {
        return truth(cancelled_invite(call).is_some());
    }
    if absorb(call).is_some() {
        call.work.is_answered = true;
        return Outcome::Exit;
    }
    NO
}

fn relay_cancel(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    match cancelled_invite(call) {
        Some(_) => call.ask(Ask::Relay(RelayOptions::default())),
        None => YES,
    }
}

fn status_arg(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<u16> {
    let code = site.int(0, call, heap)?;
    (100..=699).contains(&code).then_some(code as u16)
}

fn reply(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let config = call.env.state.setup.config.tm.clone();
    let code = status_arg(call, heap, site).unwrap_or(config.default_code as u16);
    let reason = site.text(1, call, heap);
    let reason = match heap.str(reason) {
        Some(text) if !text.is_empty() => text.to_vec(),
        _ => config.default_reason.as_bytes().to_vec(),
    };
    let Some(key) = call.work.transaction else {
        return NO;
    };
    sl::add_contacts(call, code, config.rich_redirect);
    truth(answer(call, key, code, &reason))
}

fn send_reply(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    if call.work.transaction.is_none() {
        if absorb(call).is_some() {
            return Outcome::Exit;
        }
        super::create(&mut call.env, call.work, call.program);
    }
    reply(call, heap, site)
}

/// Sends a reply of the script's. A final one ends the branches that are still pending.
pub(crate) fn answer(call: &mut Call<'_>, key: Key, code: u16, reason: &[u8]) -> bool {
    // The grid lets a 2xx pass behind a failure, because it may come from another branch.
    let is_final = |t: &Transaction| t.server.is_final();
    if call.env.state.tm.get(key).is_none_or(is_final) {
        return false;
    }
    let headers = std::mem::take(&mut call.work.reply_headers);
    if let (Some(t), Some(body)) = (call.env.state.tm.get_mut(key), call.work.reply_body.take()) {
        t.saved.reply_body = Some(body);
    }
    let sent = serve::reply(&mut call.env, key, code, reason, &headers);
    if sent {
        call.work.is_answered = true;
        call.work.relay_error = 0;
        if code >= 200 {
            order::end_branches(&mut call.env, key, code);
        }
    } else {
        call.work.reply_headers = headers;
    }
    sent
}

fn reply_error(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let Some(key) = call.work.transaction else {
        return NO;
    };
    let status = error_status(call.work.relay_error);
    let reason = upstream::local_reason(status);
    truth(answer(call, key, status, reason.as_bytes()))
}

/// The status that a failed `t_relay` is answered with.
pub fn error_status(code: i64) -> u16 {
    match -code {
        status @ 400..=699 => status as u16,
        _ => 500,
    }
}

fn release(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    match call.work.transaction.take() {
        Some(key) => {
            super::forget(&mut call.env, key);
            YES
        }
        None => YES,
    }
}

fn retransmit_reply(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    match call.work.transaction {
        Some(key) if last_status(call) > 0 => {
            truth(serve::step(&mut call.env, key, Event::Request, None))
        }
        Some(_) | None => NO,
    }
}

fn on(
    call: &mut Call<'_>,
    site: &CallSite,
    slot: fn(&mut Plan) -> &mut Option<crate::script::RouteId>,
) -> Outcome {
    if let Some(Arg::Route(route, _)) = site.arg(0) {
        plan(call, |p| *slot(p) = *route);
    }
    YES
}

fn on_branch_failure(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = site.text(0, call, heap);
    let name = [b"tm:branch-failure:", heap.str(name).unwrap_or_default()].concat();
    let route = call.program.route(RouteKind::Event, &name);
    plan(call, |p| p.on_branch_failure = route);
    YES
}

fn is_set(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let which = site.text(0, call, heap);
    let plan = &call.work.plan;
    truth(match heap.str(which) {
        Some(b"failure_route") => plan.on_failure.is_some(),
        Some(b"branch_route") => plan.on_branch.is_some(),
        Some(b"onreply_route") => plan.on_reply.is_some(),
        _ => false,
    })
}

fn check_status(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let status = match call.work.kind {
        RouteKind::Reply | RouteKind::Onreply => call.work.message.status(),
        RouteKind::Failure | RouteKind::Event => call.work.reply_status,
        RouteKind::Request | RouteKind::Branch | RouteKind::Onsend => last_status(call),
    };
    let text = heap.text(status.to_string().as_bytes());
    let is_match = site.arg(0).and_then(|arg| arg.is_match(call, heap, text));
    truth(is_match == Some(true))
}

fn last_status(call: &Call<'_>) -> u16 {
    transaction(call)
        .and_then(|t| t.last_reply.as_ref())
        .map_or(0, |r| r.status)
}

fn grep_status(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let code = site.int(0, call, heap);
    let found = transaction(call)
        .is_some_and(|t| t.branches.iter().any(|b| Some(i64::from(b.status)) == code));
    truth(found)
}

fn timed_out(branch: &Branch) -> bool {
    branch.is_local && branch.status == 408
}

fn rang(branch: &Branch) -> bool {
    branch.is_ringing
}

fn about_branch(call: &mut Call<'_>, is_it: fn(&Branch) -> bool) -> Outcome {
    let index = call.work.branch.map(usize::from);
    let found = transaction(call)
        .and_then(|t| {
            t.branches
                .get(index.unwrap_or(t.branches.len().wrapping_sub(1)))
        })
        .is_some_and(is_it);
    truth(found)
}

fn any_branch(call: &mut Call<'_>, is_it: fn(&Branch) -> bool) -> Outcome {
    truth(transaction(call).is_some_and(|t| t.branches.iter().any(is_it)))
}

fn is_cancelled(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    truth(transaction(call).is_some_and(|t| t.is_cancelled))
}

fn is_expired(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    truth(transaction(call).is_some_and(|t| t.life_timer.is_none() && !t.server.is_final()))
}

fn status_code(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let current = match call.work.kind {
        RouteKind::Failure => call.work.reply_status,
        RouteKind::Onreply | RouteKind::Reply => call.work.message.status(),
        RouteKind::Request | RouteKind::Branch | RouteKind::Event | RouteKind::Onsend => {
            last_status(call)
        }
    };
    match current {
        0 => NO,
        status => Outcome::Return(i64::from(status)),
    }
}

fn set_fr(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let [inv, fr] = [millis(call, heap, site, 0), millis(call, heap, site, 1)];
    plan(call, |p| {
        p.final_response_invite = inv.or(p.final_response_invite);
        p.final_response = fr.or(p.final_response);
    });
    YES
}

/// 0 leaves a time unchanged.
fn millis(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, index: usize) -> Option<Duration> {
    let n = site.int(index, call, heap)?;
    (n > 0).then(|| Duration::from_millis(n.min(86_400_000) as u64))
}

fn reset_fr(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    plan(call, |p| {
        (p.final_response, p.final_response_invite) = (None, None)
    });
    YES
}

fn set_retr(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let [t1, t2] = [millis(call, heap, site, 0), millis(call, heap, site, 1)];
    plan(call, |p| {
        p.repeat_first = t1.or(p.repeat_first);
        p.repeat_cap = t2.or(p.repeat_cap);
    });
    YES
}

fn reset_retr(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    plan(call, |p| (p.repeat_first, p.repeat_cap) = (None, None));
    YES
}

fn set_lifetime(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let [invite, other] = [millis(call, heap, site, 0), millis(call, heap, site, 1)];
    plan(call, |p| {
        p.lifetime_invite = invite.or(p.lifetime_invite);
        p.lifetime = other.or(p.lifetime);
    });
    YES
}

fn reset_lifetime(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    plan(call, |p| (p.lifetime_invite, p.lifetime) = (None, None));
    YES
}

fn switch(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    set: fn(&mut Plan, bool),
) -> Outcome {
    let on = site.int(0, call, heap).unwrap_or(0) != 0;
    plan(call, |p| set(p, on));
    YES
}

fn save_lumps(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let Some(key) = call.work.transaction else {
        return NO;
    };
    let mut edits = crate::sip::Edits::new();
    edits.extend_from(&call.work.edits);
    match call.env.state.tm.get_mut(key) {
        Some(t) => {
            t.saved.edits = edits;
            YES
        }
        None => NO,
    }
}

/// The phrase for a status without one of its own.
pub fn default_reason(code: u16) -> &'static str {
    status::reason(code)
}
