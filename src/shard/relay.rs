//! Forwarding: `t_relay` over the target set, and `forward` without a transaction
//! (RFC 3261 §16.6, §16.11).
//!
//! A relay is a small machine in plain data: for each target it finds the next hop, runs the
//! branch_route and the onsend_route, and opens the branch. It may wait for DNS between any two
//! of these.

use std::collections::VecDeque;
use std::mem::take;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Flow, Hop, Proto, Query, ResolveError};
use crate::limits::{BRANCH_COUNT_MAX, HOP_COUNT_MAX};
use crate::modules::dialog;
use crate::modules::journal::{Line, What};
use crate::modules::tm::{self, branch, server};
use crate::modules::work::{Bytes, RelayOptions, Target};
use crate::script::{End, RouteKind};
use crate::sip::{Edits, HeaderName, Message, Method, Scheme, Uri, Via, via};
use crate::slab::Key;
use crate::time::Instant;
use crate::timer;

use super::outgoing::{self, Own};
use super::run::{Next, Run, Then};
use super::{Shard, Step};

/// Return codes of a failed relay.
mod code {
    pub(super) const GENERIC: i64 = -1;
    /// The branch_route dropped every branch.
    pub(super) const ALL_DROPPED: i64 = -6;
    pub(super) const BAD_REQUEST: i64 = -400;
    pub(super) const BAD_URI: i64 = -476;
    pub(super) const SEND: i64 = -477;
    pub(super) const UNRESOLVABLE: i64 = -478;
    pub(super) const LOOP: i64 = -482;
    pub(super) const UNAVAILABLE: i64 = -503;
}

/// A `t_relay` or `forward` at work.
#[derive(Default, Debug)]
pub(super) struct Relay {
    /// The transaction; `None`: forwarded without one.
    key: Option<Key>,
    options: RelayOptions,
    /// Targets still to be served.
    targets: VecDeque<Target>,
    /// The appended ones of them, which branch_routes see all the time.
    appended: Vec<Target>,
    /// The target being served.
    target: Target,
    /// Where it can be reached.
    hops: VecDeque<Hop>,
    /// What is being asked of DNS.
    pub(super) query: Option<Query>,
    /// The address that the kernel is asked the way to.
    pub(super) routing: Option<IpAddr>,
    /// The message as it will leave.
    ready: Option<(Destination, Bytes)>,
    sent: usize,
    error: i64,
    /// What the work was before the branch_route had its way with it.
    before: Option<Before>,
}

/// What a branch_route changes for its branch only.
#[derive(Debug)]
struct Before {
    kind: RouteKind,
    target: Target,
    edits: Edits,
    branch: Option<u8>,
}

impl Relay {
    /// As new, in the memory that is there.
    fn renew(&mut self) {
        let (mut targets, mut hops) = (take(&mut self.targets), take(&mut self.hops));
        targets.clear();
        hops.clear();
        *self = Relay {
            targets,
            hops,
            ..Relay::default()
        };
    }
}

impl Shard {
    /// `t_relay`.
    pub(super) fn t_relay(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        options: RelayOptions,
    ) -> Next {
        let message = Rc::clone(&run.work.message);
        if run.work.transaction.is_none() {
            match message.method() {
                Method::Ack => return self.relay_ack(step, run),
                Method::Cancel => {
                    if let Some(next) = self.relay_cancel(step, run, &message) {
                        return next;
                    }
                }
                _ => {}
            }
            if let Some(key) = self.state.tm.find(&message, message.method()) {
                tm::serve::step(&mut self.env(step), key, server::Event::Request, None);
                run.work.is_answered = true;
                return resume(run, 1);
            }
            if run
                .work
                .target
                .uri
                .as_deref()
                .is_some_and(|uri| Uri::parse(uri).is_err())
            {
                return resume(run, code::BAD_REQUEST);
            }
            if self.is_loop(&message) {
                self.state.counters.loops += 1;
                return self.relay_failed(step, run, (code::LOOP, options));
            }
            let program = Arc::clone(&run.program);
            if tm::create(&mut self.env(step), &mut run.work, &program).is_none() {
                return self.relay_failed(step, run, (code::UNAVAILABLE, options));
            }
        }
        let Some(key) = run.work.transaction else {
            return resume(run, code::GENERIC);
        };
        self.begin_leg(step, run, key, options);
        let mut relay = self.relays.pop().unwrap_or_default();
        (relay.key, relay.options) = (Some(key), options);
        relay.targets.push_back(run.work.target.clone());
        relay.targets.extend(run.work.appended.iter().cloned());
        relay.appended = take(&mut run.work.appended);
        self.next_target(step, run, relay)
    }

    /// The first relay of a request keeps what later routes start from; the first answer to an
    /// INVITE is 100.
    fn begin_leg(&mut self, step: &mut Step<'_>, run: &mut Run, key: Key, options: RelayOptions) {
        let config = Arc::clone(&self.state.setup);
        let Some(t) = self.state.tm.get_mut(key) else {
            return;
        };
        t.plan = run.work.plan.clone();
        t.times = t.plan.times(&config.config.tm, t.is_invite);
        if run.work.kind == RouteKind::Failure {
            if config.config.tm.failure_reply_mode != 0 {
                t.leg_start = t.branches.len();
            }
        } else if run.work.kind != RouteKind::Event {
            // What a branch-failure route adds is of the same leg.
            t.saved.keep(&run.work);
        }
        t.is_replica |= options.is_replica;
        if !options.no_100 {
            tm::serve::trying(&mut self.env(step), key);
        }
    }

    /// §16.3 step 4: whether the request was here before and has come back unchanged.
    fn is_loop(&self, message: &Message) -> bool {
        let mut hash = None;
        let mut is_own = |via: Via<'_>| {
            let Some(own) = via.branch().and_then(tm::identity::OwnBranch::parse) else {
                return false;
            };
            self.state.setup.is_myself(via.host, via.port)
                && own.loop_hash == *hash.get_or_insert_with(|| tm::identity::loop_hash(message))
        };
        let mut below = message.vias_below();
        let read = |value| via::parse_at(message.bytes(), value);
        is_own(message.top_via()) || below.any(|value| read(value).is_ok_and(&mut is_own))
    }

    /// An ACK to a failure response ends here; one to a 2xx is forwarded (§16.6, last paragraph).
    fn relay_ack(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        let message = Rc::clone(&run.work.message);
        if let Some(key) = self.state.tm.find(&message, Method::Ack) {
            let state = self.state.tm.get(key).map(|t| t.server);
            if state != Some(server::State::Accepted) {
                tm::serve::step(&mut self.env(step), key, server::Event::Ack, None);
                run.work.is_answered = true;
                return resume(run, 1);
            }
        }
        self.forward(step, run)
    }

    /// A CANCEL with its INVITE is answered here and goes on branch by branch (§16.10). `None`:
    /// it is to be relayed like any other request.
    fn relay_cancel(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        message: &Message,
    ) -> Option<Next> {
        let Some(key) = self.state.tm.find(message, Method::Invite) else {
            return match self.state.setup.config.tm.unmatched_cancel {
                0 => None,
                // Statelessly, as the INVITE may have gone.
                1 => Some(self.forward(step, run)),
                _ => Some(resume(run, 1)),
            };
        };
        run.work.is_answered = true;
        self.cancel_invite(step, key, message, run.work.flow);
        Some(resume(run, 1))
    }

    fn cancel_invite(&mut self, step: &mut Step<'_>, key: Key, message: &Message, flow: Flow) {
        let passes_reason = self.state.setup.config.tm.e2e_cancel_reason;
        let Some(t) = self.state.tm.get_mut(key) else {
            return;
        };
        let (tag, has_branches) = (t.to_tag(), !t.branches.is_empty());
        let reason: &[u8] = if has_branches {
            b"canceling"
        } else {
            b"ok -- no more pending branches"
        };
        let is_first = !t.is_cancelled && !t.server.is_final();
        if is_first {
            t.is_cancelled = true;
            if passes_reason && !t.plan.no_cancel_reason {
                t.cancel_reason = reason_lines(message).into();
            }
        }
        crate::modules::sl::reply_with_tag(&mut self.env(step), message, flow, (200, reason), &tag);
        if !is_first {
            return;
        }
        tm::upstream::cancel(&mut self.env(step), key);
    }

    /// Serves the next target, or ends the relay.
    fn next_target(&mut self, step: &mut Step<'_>, run: &mut Run, mut relay: Box<Relay>) -> Next {
        while let Some(target) = relay.targets.pop_front() {
            relay.target = target;
            let Target {
                uri,
                next_hop,
                socket,
                ..
            } = &relay.target;
            let uri = match next_hop.as_deref().or(uri.as_deref()) {
                Some(text) => Uri::parse(text).ok(),
                None => run.work.message.request_uri(),
            };
            let forced = socket.map(|s| self.state.setup.address(s).proto);
            match next_hop_of(uri, forced) {
                Ok(NextHop::Known(hop)) => {
                    relay.hops.clear();
                    relay.hops.push_back(hop);
                    match self.serve_hop(step, run, relay) {
                        Served::Yes(back) => relay = back,
                        Served::Elsewhere(next) => return next,
                    }
                }
                Ok(NextHop::Name(query)) => {
                    relay.query = Some(query);
                    run.resolving = Some(relay);
                    return Next::Parked;
                }
                Err(error) => relay.error = error,
            }
        }
        self.relay_over(step, run, relay)
    }

    /// All targets have been served.
    fn relay_over(&mut self, step: &mut Step<'_>, run: &mut Run, mut relay: Box<Relay>) -> Next {
        const KEPT: usize = 16;
        let (key, options, sent) = (relay.key, relay.options, relay.sent);
        let error = match (relay.error, key) {
            (0, None) => code::GENERIC,
            (0, Some(_)) => code::ALL_DROPPED,
            (error, _) => error,
        };
        if self.relays.len() < KEPT {
            relay.renew();
            self.relays.push(relay);
        }
        if sent > 0 {
            run.work.is_answered = true;
            return resume(run, 1);
        }
        if key.is_none() {
            return resume(run, error);
        }
        self.relay_failed(step, run, (error, options))
    }

    fn relay_failed(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        (error, options): (i64, RelayOptions),
    ) -> Next {
        run.work.relay_error = error;
        run.work.is_error_kept = options.no_error_reply;
        if !self.state.setup.config.tm.delayed_reply {
            self.answer_failed_relay(step, run);
        }
        resume(run, error)
    }

    /// DNS has answered.
    pub(super) fn resolved(
        &mut self,
        step: &mut Step<'_>,
        key: Key,
        found: Result<Vec<Hop>, ResolveError>,
    ) {
        let Some(mut run) = self.unpark(step, key) else {
            return;
        };
        if run.sleeps.take().is_some() {
            // It was to wait so long, and has.
            run.vm.resume(1);
            return self.drive(step, run);
        }
        if run.looking.is_some() {
            return self.looked(step, run, Err(ResolveError::TimedOut));
        }
        let Some(mut relay) = run.resolving.take() else {
            return self.resume_and_drive(step, run);
        };
        if relay.routing.is_some() {
            // The kernel has not answered in time.
            return self.go_on_routed(step, run, relay, None);
        }
        relay.query = None;
        let next = match found {
            Ok(hops) if !hops.is_empty() => {
                relay.hops = hops.into_iter().take(HOP_COUNT_MAX).collect();
                match self.serve_hop(step, &mut run, relay) {
                    Served::Yes(relay) => self.next_target(step, &mut run, relay),
                    Served::Elsewhere(next) => next,
                }
            }
            Ok(_) | Err(_) => {
                relay.error = code::UNRESOLVABLE;
                self.next_target(step, &mut run, relay)
            }
        };
        self.go_on(step, run, next);
    }

    /// The run cannot wait at all: every target that is left has failed.
    pub(super) fn relay_unresolved(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        mut relay: Box<Relay>,
        status: i64,
    ) {
        relay.error = -status;
        relay.targets.clear();
        self.relay_over(step, run, relay);
    }

    fn resume_and_drive(&mut self, step: &mut Step<'_>, mut run: Box<Run>) {
        run.vm.resume(code::GENERIC);
        self.drive(step, run);
    }

    pub(super) fn go_on(&mut self, step: &mut Step<'_>, run: Box<Run>, next: Next) {
        match next {
            Next::Run => self.drive(step, run),
            Next::Done => self.done(step, run),
            Next::Parked => {
                if let Some(refused) = self.park(step, run) {
                    self.drive(step, refused);
                }
            }
        }
    }

    /// The next hop's addresses are known: branch_route, then on.
    fn serve_hop(&mut self, step: &mut Step<'_>, run: &mut Run, mut relay: Box<Relay>) -> Served {
        let Some(key) = relay.key else {
            return self.prepare(step, run, relay);
        };
        let Some(index) = self.state.tm.get(key).map(|t| t.branches.len()) else {
            relay.error = code::GENERIC;
            return Served::Yes(relay);
        };
        if index >= BRANCH_COUNT_MAX {
            relay.error = code::UNAVAILABLE;
            return Served::Yes(relay);
        }
        let Some(route) = run.work.plan.on_branch else {
            return self.prepare(step, run, relay);
        };
        remember(run, &mut relay);
        run.work.target = relay.target.clone();
        run.work.branch = Some(index as u8);
        run.work.appended.clone_from(&relay.appended);
        Shard::enter(run, RouteKind::Branch, route, Then::Branch(relay));
        Served::Elsewhere(Next::Run)
    }

    /// A branch_route is over.
    pub(super) fn branch_route_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        mut relay: Box<Relay>,
        end: End,
    ) -> Next {
        relay.target = run.work.target.clone();
        run.work.appended.clear();
        if end == End::Drop {
            restore(run, &mut relay);
            return self.next_target(step, run, relay);
        }
        self.prepare_next(step, run, relay)
    }

    /// Prepares the message for the target at work, and goes on to the next one.
    pub(super) fn prepare_next(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        relay: Box<Relay>,
    ) -> Next {
        match self.prepare(step, run, relay) {
            Served::Yes(mut relay) => {
                restore(run, &mut relay);
                self.next_target(step, run, relay)
            }
            Served::Elsewhere(next) => next,
        }
    }

    /// Builds the message for the first hop, and runs the onsend_route for it.
    fn prepare(&mut self, step: &mut Step<'_>, run: &mut Run, mut relay: Box<Relay>) -> Served {
        let Some(hop) = relay.hops.front().copied() else {
            relay.error = code::UNRESOLVABLE;
            return Served::Yes(relay);
        };
        let is_free = relay.target.socket.is_none();
        if let Some(ip) = self.unrouted(hop, step.now.mono).filter(|_| is_free) {
            relay.routing = Some(ip);
            run.resolving = Some(relay);
            return Served::Elsewhere(Next::Parked);
        }
        relay.hops.pop_front();
        let now = step.now.mono;
        let Some(to) = self.destination(run, &relay.target, (hop, now)) else {
            relay.error = code::SEND;
            return Served::Yes(relay);
        };
        let Some(bytes) = self.request_bytes(run, &relay, to) else {
            relay.error = code::BAD_REQUEST;
            return Served::Yes(relay);
        };
        relay.ready = Some(self.by_size(run, &mut relay, (hop, now), (to, bytes)));
        if let Some(route) = run.program.main(RouteKind::Onsend) {
            remember(run, &mut relay);
            run.work.sending = relay.ready.clone();
            Shard::enter(run, RouteKind::Onsend, route, Then::Onsend(relay));
            return Served::Elsewhere(Next::Run);
        }
        self.dispatch(step, run, &mut relay);
        Served::Yes(relay)
    }

    fn request_bytes(&mut self, run: &Run, relay: &Relay, to: Destination) -> Option<Bytes> {
        let own = self.own_branch(relay.key);
        let changes = dialog::request::renumbered(&self.state, &run.work);
        let (setup, work) = (&self.state.setup, &run.work);
        let memory = (&**setup, &mut self.state.press);
        outgoing::request(memory, work, &relay.target, to, (own, changes))
    }

    /// §18.1.1: what is too long for a datagram goes by another transport, if that is wanted and
    /// there is a socket of it; by UDP after all when it cannot be sent so.
    fn by_size(
        &mut self,
        run: &Run,
        relay: &mut Relay,
        (hop, now): (Hop, Instant),
        (to, bytes): (Destination, Bytes),
    ) -> (Destination, Bytes) {
        let core = &self.state.setup.config.core;
        let is_long = core.udp_mtu > 0 && bytes.len() > core.udp_mtu;
        let proto = run.work.mtu_proto.unwrap_or(core.udp_mtu_try_proto);
        if hop.proto != Proto::Udp || !is_long || proto == Proto::Udp {
            return (to, bytes);
        }
        let other = Hop { proto, ..hop };
        let Some(by_other) = self.destination(run, &relay.target, (other, now)) else {
            return (to, bytes);
        };
        match self.request_bytes(run, relay, by_other) {
            Some(rewritten) => {
                relay.hops.push_front(hop);
                (by_other, rewritten)
            }
            None => (to, bytes),
        }
    }

    /// An onsend_route is over. Dropping there is a failure to send.
    pub(super) fn onsend_route_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        mut relay: Box<Relay>,
        end: End,
    ) -> Next {
        run.work.sending = None;
        if end == End::Drop {
            relay.error = code::SEND;
        } else {
            self.dispatch(step, run, &mut relay);
        }
        restore(run, &mut relay);
        self.next_target(step, run, relay)
    }

    /// Puts the message on the wire: on a new branch, or without a transaction.
    fn dispatch(&mut self, step: &mut Step<'_>, run: &Run, relay: &mut Relay) {
        let Some((to, bytes)) = relay.ready.take() else {
            return;
        };
        relay.sent += 1;
        let Some(key) = relay.key else {
            self.state.counters.requests_forwarded += 1;
            let message = &run.work.message;
            let (call, line) = (message.call(), Line::of(message));
            let mut env = self.env(step);
            env.note(call, What::Sent(line, to.proto, to.remote));
            return env.send(to, bytes);
        };
        let is_wanted = self.state.setup.config.dns.failover;
        let fails_over = is_wanted && !relay.options.no_failover && !run.work.plan.no_failover;
        // Of one address nothing is left to be tried, and the relay keeps its memory.
        let hops = if fails_over && !relay.hops.is_empty() {
            take(&mut relay.hops)
        } else {
            VecDeque::new()
        };
        let branch = tm::Branch::new(relay.target.clone(), to, bytes, hops);
        let Some(t) = self.state.tm.get_mut(key) else {
            return;
        };
        t.saved.names.merge(run.work.names);
        let index = t.branches.len() as u8;
        // Nearly all have one.
        t.branches.reserve_exact(1);
        t.branches.push(branch);
        branch::open(
            &mut self.env(step),
            timer::Branch {
                transaction: key,
                index,
            },
        );
    }

    /// §18.1.1: the socket and the address for a hop.
    fn destination(
        &self,
        run: &Run,
        target: &Target,
        (hop, now): (Hop, Instant),
    ) -> Option<Destination> {
        let setup = &self.state.setup;
        let socket = match target.socket {
            Some(socket) if setup.address(socket).proto == hop.proto => socket,
            _ => match self.routed_socket(hop, now) {
                Some(socket) => socket,
                None => setup.socket_for(hop.proto, hop.addr.ip(), run.work.flow.socket)?,
            },
        };
        let mut to = Destination::to(socket, hop.proto, hop.addr);
        to.no_connect = run.work.stream.forward_no_connect;
        Some(to)
    }

    fn own_branch(&self, key: Option<Key>) -> Own {
        match key.and_then(|key| self.state.tm.get(key).map(|t| (key, t))) {
            Some((key, t)) => Own::Stateful(tm::identity::OwnBranch {
                nonce: t.nonce,
                loop_hash: t.loop_hash,
                branch: timer::Branch {
                    transaction: key,
                    index: t.branches.len() as u8,
                },
            }),
            None => Own::Stateless,
        }
    }

    /// `forward`, and an ACK to a 2xx: to the first target, without a transaction (§16.11).
    pub(super) fn forward(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        let mut relay = self.relays.pop().unwrap_or_default();
        relay.targets.push_back(run.work.target.clone());
        self.next_target(step, run, relay)
    }
}

/// Whether a target has been served, or something else comes first.
enum Served {
    Yes(Box<Relay>),
    Elsewhere(Next),
}

fn resume(run: &mut Run, rc: i64) -> Next {
    run.vm.resume(rc);
    Next::Run
}

/// Keeps what the routes of one branch must not change for the next.
fn remember(run: &Run, relay: &mut Relay) {
    let work = &run.work;
    relay.before.get_or_insert_with(|| Before {
        kind: work.kind,
        target: work.target.clone(),
        edits: work.edits.clone(),
        branch: work.branch,
    });
}

fn restore(run: &mut Run, relay: &mut Relay) {
    if let Some(before) = relay.before.take() {
        run.work.kind = before.kind;
        run.work.target = before.target;
        run.work.edits = before.edits;
        run.work.branch = before.branch;
    }
}

/// The Reason header fields of a CANCEL, which go on to the branches (RFC 3326).
fn reason_lines(cancel: &Message) -> Vec<u8> {
    let mut lines = vec![];
    for header in cancel.all(HeaderName::Reason) {
        lines.extend_from_slice(header.line.of(cancel.bytes()));
    }
    lines
}

pub(super) enum NextHop {
    Known(Hop),
    Name(Query),
}

/// RFC 3263 §4 up to the point where DNS has to be asked. `forced` is the transport of a socket
/// that the script chose.
pub(super) fn next_hop_of(uri: Option<Uri<'_>>, forced: Option<Proto>) -> Result<NextHop, i64> {
    let uri = uri.ok_or(code::UNRESOLVABLE)?;
    let secure = match uri.scheme {
        Scheme::Sip => false,
        Scheme::Sips => true,
        Scheme::Tel | Scheme::Other => return Err(code::BAD_URI),
    };
    let named = match uri.transport() {
        Some(name) => Some(Proto::from_name(name).ok_or(code::BAD_URI)?),
        None => forced.or(secure.then_some(Proto::Tls)),
    };
    let host = uri.maddr().unwrap_or(uri.host);
    if let Some(ip) = crate::sip::host::ip(host) {
        let proto = named.unwrap_or(Proto::Udp);
        let port = uri.port.unwrap_or(proto.default_port());
        let addr = SocketAddr::new(ip, port);
        // A broadcast or multicast address is no next hop of a proxy.
        return is_usable(addr)
            .then_some(NextHop::Known(Hop { proto, addr }))
            .ok_or(code::BAD_URI);
    }
    let host = std::str::from_utf8(host).map_err(|_| code::BAD_URI)?;
    Ok(NextHop::Name(Query {
        host: host.into(),
        port: uri.port,
        proto: named,
        secure,
    }))
}

fn is_usable(addr: SocketAddr) -> bool {
    let is_broadcast = matches!(addr.ip(), std::net::IpAddr::V4(v4) if v4.is_broadcast());
    addr.port() != 0 && !addr.ip().is_unspecified() && !is_broadcast
}
