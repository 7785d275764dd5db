//! Requests of our own on their way out, and their answers on their way home.
//!
//! ```text
//!   send_locals ─▶ next hop ─▶ (DNS) ─▶ event_route[tm:local-request] ─▶ branch ─▶ ... ─▶ told
//! ```
//!
//! Modules ask by `tm::local::send`; what they asked for is sent at the end of the step. [`told`]
//! is the one place where an answer goes to its owner.
//!
//! [`told`]: Shard::told

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Effect, Flow, Hop, Level, Proto, ResolveError, SocketId, Token};
use crate::limits::{HOP_COUNT_MAX, LOCAL_QUEUE_MAX, RESOLVE_TIMEOUT};
use crate::modules::tm::identity::OwnBranch;
use crate::modules::tm::local::{self, Answer, Local, LocalRequest, Owner};
use crate::modules::tm::{self, branch};
use crate::modules::work::{Bytes, Target, Work};
use crate::modules::{dialog, dispatcher, event, uac};
use crate::script::{End, RouteKind};
use crate::sip::{Message, Uri};
use crate::slab::Key;
use crate::timer::{Branch, Timer};
use crate::wheel::TimerKey;

use super::outgoing;
use super::relay::{self, NextHop};
use super::run::{Next, Run, Then};
use super::{Shard, Step};

/// A request that waits for an address.
#[derive(Debug)]
pub(super) struct Unresolved {
    request: LocalRequest,
    timer: TimerKey,
    /// Its addresses, when it waits for the kernel to say the way to the first.
    hops: VecDeque<Hop>,
}

impl Shard {
    /// Sends what the step has asked for, and what follows from that. False: there was nothing.
    pub(super) fn send_locals(&mut self, step: &mut Step<'_>) -> bool {
        let depth = self.state.locals.depth();
        let mut has_sent = false;
        while let Some(request) = self.state.locals.pop() {
            self.local_request(step, request);
            has_sent = true;
        }
        self.state.locals.handled(depth);
        has_sent
    }

    /// §8.1.2: where the request goes.
    fn local_request(&mut self, step: &mut Step<'_>, request: LocalRequest) {
        if let Some(to) = request.along {
            return self.write_local(step, request, to, VecDeque::new());
        }
        let forced = request.socket.map(|s| self.state.setup.address(s).proto);
        let uri = request.destination_uri();
        match relay::next_hop_of(Uri::parse(&uri).ok(), forced) {
            Ok(NextHop::Known(hop)) => self.local_hops(step, request, VecDeque::from([hop])),
            Ok(NextHop::Name(query)) => {
                if let Some(key) = self.let_wait(step, request, VecDeque::new()) {
                    step.out.push(Effect::Resolve(Token::Local(key), query));
                }
            }
            Err(_) => self.not_opened(step, request, 400),
        }
    }

    /// Keeps a request until it has its address, or the way to it. `None`: too many wait.
    fn let_wait(
        &mut self,
        step: &mut Step<'_>,
        request: LocalRequest,
        hops: VecDeque<Hop>,
    ) -> Option<Key> {
        if self.unresolved.len() >= LOCAL_QUEUE_MAX {
            self.state.counters.local_drops += 1;
            self.not_opened(step, request, 503);
            return None;
        }
        let key = self.unresolved.next_key();
        let timer = self
            .env(step)
            .start(RESOLVE_TIMEOUT, Timer::Unresolved(key));
        self.unresolved.insert(Unresolved {
            request,
            timer,
            hops,
        });
        Some(key)
    }

    /// The kernel has said the way, or has not.
    pub(super) fn local_routed(&mut self, step: &mut Step<'_>, key: Key, source: Option<IpAddr>) {
        let Some(waiting) = self.unresolved.remove(key) else {
            self.state.counters.stale_answers += 1;
            return;
        };
        self.env(step).stop(Some(waiting.timer));
        if let Some(hop) = waiting.hops.front() {
            self.keep_source(step, hop.addr.ip(), source);
        }
        self.local_hops(step, waiting.request, waiting.hops);
    }

    /// DNS has answered, or has not.
    pub(super) fn local_resolved(
        &mut self,
        step: &mut Step<'_>,
        key: Key,
        found: Result<Vec<Hop>, ResolveError>,
    ) {
        let Some(waiting) = self.unresolved.remove(key) else {
            self.state.counters.stale_answers += 1;
            return;
        };
        let Unresolved {
            request,
            timer,
            hops,
        } = waiting;
        self.env(step).stop(Some(timer));
        if let Some(hop) = hops.front() {
            // It is the kernel that has not answered.
            self.keep_source(step, hop.addr.ip(), None);
            return self.local_hops(step, request, hops);
        }
        let hops = found.unwrap_or_default();
        self.local_hops(
            step,
            request,
            hops.into_iter().take(HOP_COUNT_MAX).collect(),
        );
    }

    fn local_hops(&mut self, step: &mut Step<'_>, request: LocalRequest, mut hops: VecDeque<Hop>) {
        let Some(hop) = hops.pop_front() else {
            return self.not_opened(step, request, 478);
        };
        let is_free = request.socket.is_none();
        if let Some(ip) = self.unrouted(hop, step.now.mono).filter(|_| is_free) {
            hops.push_front(hop);
            if let Some(key) = self.let_wait(step, request, hops) {
                Shard::ask_route(step, Token::Local(key), ip);
            }
            return;
        }
        if !self.state.setup.config.dns.failover {
            hops.clear();
        }
        let routed = self.routed_socket(hop, step.now.mono);
        let setup = &self.state.setup;
        let fits = |s: &SocketId| setup.address(*s).proto == hop.proto;
        let any = (!setup.addresses.is_empty()).then_some(SocketId(0));
        let socket = request.socket.filter(fits).or(routed).or_else(|| {
            let preferred = request.socket.or(any)?;
            setup.socket_for(hop.proto, hop.addr.ip(), preferred)
        });
        match socket {
            Some(socket) => {
                let to = Destination::to(socket, hop.proto, hop.addr);
                self.write_local(step, request, to, hops);
            }
            None => self.not_opened(step, request, 477),
        }
    }

    /// Makes the message and its transaction, and lets the script see it.
    fn write_local(
        &mut self,
        step: &mut Step<'_>,
        request: LocalRequest,
        to: Destination,
        hops: VecDeque<Hop>,
    ) {
        let own = local::next_branch(&mut self.state);
        let mut bytes = self.local_bytes(&request, to, own);
        let (mut to, mut hops) = (to, hops);
        if let Some(other) = self.grown(&request, to, bytes.len()) {
            hops.push_front(Hop {
                proto: to.proto,
                addr: to.remote,
            });
            to = other;
            bytes = self.local_bytes(&request, to, own);
        }
        if request.is_ack() {
            return self.env(step).send(to, bytes.into());
        }
        if self.state.tm.is_full() {
            self.state.counters.transactions_refused += 1;
            return self.not_opened(step, request, 503);
        }
        let message = match Message::parse(&bytes) {
            Ok(message) if message.violation().is_none() => message,
            Ok(_) | Err(_) => {
                let method = request.method.escape_ascii().to_string();
                let text =
                    format!("a {method} of our own cannot be written: a part of it is no SIP");
                self.env(step).log(Level::Err, text);
                return self.not_opened(step, request, 400);
            }
        };
        let id = own.branch;
        let next_hop = request.destination_uri();
        local::create(
            &mut self.env(step),
            own,
            message,
            Local { request, hops },
            to,
        );
        let program = Arc::clone(&self.state.setup.program);
        match program.route(RouteKind::Event, b"tm:local-request") {
            None => self.open_local(step, id, to, bytes.into()),
            Some(route) => {
                let Some(work) = self.work_on(RouteKind::Event, id.transaction) else {
                    return;
                };
                let mut run = self.new_run(program, work);
                run.work.target.next_hop = Some(next_hop);
                run.work.sending = Some((to, bytes.into()));
                Shard::enter(&mut run, RouteKind::Event, route, Then::LocalRequest(id));
                self.drive(step, run);
            }
        }
    }

    /// §18.1.1: where a request that is too long for a datagram goes instead.
    fn grown(&self, request: &LocalRequest, to: Destination, size: usize) -> Option<Destination> {
        let core = &self.state.setup.config.core;
        let proto = core.udp_mtu_try_proto;
        let is_long = core.udp_mtu > 0 && size > core.udp_mtu;
        if to.proto != Proto::Udp || !is_long || proto == Proto::Udp || request.along.is_some() {
            return None;
        }
        let ip = to.remote.ip();
        let socket = self.state.setup.socket_for(proto, ip, to.socket)?;
        Some(Destination::to(socket, proto, to.remote))
    }

    fn local_bytes(&self, request: &LocalRequest, to: Destination, own: OwnBranch) -> Vec<u8> {
        let setup = &self.state.setup;
        let mut via = Vec::with_capacity(128);
        outgoing::push_via(to.proto, (setup.address(to.socket), None, None), &mut via);
        own.write(&mut via);
        local::write(setup, request, &via)
    }

    /// `event_route[tm:local-request]` is over: its changes are made, its drop is obeyed.
    pub(super) fn local_request_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        id: Branch,
        end: End,
    ) -> Next {
        self.give_back(&mut run.work);
        let Some((to, _)) = run.work.sending.take() else {
            return Next::Done;
        };
        if end == End::Drop || run.work.is_dropped {
            self.told(step, id.transaction, Answer::Dropped);
            tm::forget(&mut self.env(step), id.transaction);
            run.work.transaction = None;
            return Next::Done;
        }
        if let Some(t) = self.state.tm.get_mut(id.transaction) {
            t.plan = run.work.plan.clone();
            t.times = t.plan.times(&self.state.setup.config.tm, t.is_invite);
        }
        let message = Rc::clone(&run.work.message);
        let mut bytes = Vec::with_capacity(message.bytes().len() + 128);
        run.work.edits.apply(message.bytes(), &mut bytes);
        self.open_local(step, id, to, bytes.into());
        Next::Done
    }

    fn open_local(&mut self, step: &mut Step<'_>, id: Branch, to: Destination, bytes: Bytes) {
        let Some(t) = self.state.tm.get_mut(id.transaction) else {
            return;
        };
        let hops = t
            .local
            .as_mut()
            .map(|local| std::mem::take(&mut local.hops));
        let branch = tm::Branch::new(Target::default(), to, bytes, hops.unwrap_or_default());
        t.branches.push(branch);
        branch::open(&mut self.env(step), id);
    }

    /// Where the request of a branch went.
    fn sent_to(&self, id: Branch) -> Option<Destination> {
        let t = self.state.tm.get(id.transaction)?;
        t.branches.get(usize::from(id.index)).map(|b| b.to)
    }

    /// Whether a transaction is of a request of our own.
    pub(super) fn is_local(&self, key: Key) -> bool {
        self.state.tm.get(key).is_some_and(|t| t.local.is_some())
    }

    /// A response to a request of our own has passed the client grid and its reply route.
    pub(super) fn local_answered(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        id: Branch,
    ) -> Next {
        self.give_back(&mut run.work);
        let response = Rc::clone(&run.work.message);
        let status = response.status();
        let Some(local) = self
            .state
            .tm
            .get(id.transaction)
            .and_then(|t| t.local.as_ref())
        else {
            return Next::Done;
        };
        let (request, flow) = (local.request.clone(), run.work.flow);
        let is_success = (200..=299).contains(&status);
        if is_success && &*request.method == b"INVITE" {
            // §13.2.2.4: each of them, however often it comes.
            let mut ack = local::ack(&request, &response, flow);
            ack.along = match self.state.setup.config.tm.local_ack_mode {
                1 => self.sent_to(id),
                2 => Some(Destination::along(flow)),
                _ => ack.along,
            };
            local::send(&mut self.state, ack);
        }
        if matches!(status, 401 | 407)
            && let Some(again) = local::authorized(&mut self.state, &request, &response)
            && local::send(&mut self.state, again)
        {
            // As the original, a script hears of the challenge too.
            if matches!(request.owner, Owner::Uac(_)) {
                self.told(step, id.transaction, Answer::Response(response, flow));
            }
            local::finished(&mut self.env(step), id.transaction, false);
            return Next::Done;
        }
        self.told(step, id.transaction, Answer::Response(response, flow));
        if status >= 200 {
            local::finished(&mut self.env(step), id.transaction, is_success);
        }
        Next::Done
    }

    /// Nobody has answered, or the request did not leave.
    pub(super) fn local_failed(&mut self, step: &mut Step<'_>, id: Branch) {
        let t = self.state.tm.get(id.transaction);
        let branch = t.and_then(|t| t.branches.get(usize::from(id.index)));
        let status = branch.map_or(408, |b| b.status);
        self.told(step, id.transaction, Answer::Failed(status));
        tm::reap(&mut self.env(step), id.transaction);
    }

    /// The request never got a transaction.
    fn not_opened(&mut self, step: &mut Step<'_>, request: LocalRequest, status: u16) {
        self.tell(step, &request, None, Answer::Failed(status));
    }

    fn told(&mut self, step: &mut Step<'_>, key: Key, answer: Answer) {
        let local = self.state.tm.get(key).and_then(|t| t.local.as_ref());
        if let Some(request) = local.map(|local| local.request.clone()) {
            self.tell(step, &request, Some(key), answer);
        }
    }

    /// Tells the owner of a request what became of it. `key` is its transaction, if there is one.
    fn tell(
        &mut self,
        step: &mut Step<'_>,
        request: &LocalRequest,
        key: Option<Key>,
        answer: Answer,
    ) {
        match &request.owner {
            Owner::Nobody => {}
            Owner::Uac(sent) => self.uac_answered(step, &Rc::clone(sent), key, answer),
            Owner::Dispatcher(ping) => {
                dispatcher::ping::answered(&mut self.env(step), *ping, &answer);
            }
            Owner::Dialog(sent) => {
                let heard = heard(request, &answer, key);
                dialog::request::answered(&mut self.env(step), *sent, heard);
            }
            Owner::Transfer(sent) => {
                let heard = heard(request, &answer, key);
                dialog::transfer::answered(&mut self.env(step), *sent, heard);
            }
        }
    }

    /// `event_route[uac:reply]`: of a response it sees the response, else a request made up.
    fn uac_answered(
        &mut self,
        step: &mut Step<'_>,
        sent: &uac::Sent,
        key: Option<Key>,
        answer: Answer,
    ) {
        let program = Arc::clone(&self.state.setup.program);
        let route = program.route(RouteKind::Event, b"uac:reply");
        let (Some(route), Some(status)) = (route, answer.status().filter(|s| *s >= 200)) else {
            return;
        };
        if !sent.wants(status) {
            return;
        }
        let transaction = key.and_then(|key| self.state.tm.get(key));
        let flow = transaction.map_or_else(|| self.own_flow(), |t| t.flow);
        self.state.uac = sent.answered(status, matches!(answer, Answer::Response(..)));
        let message = match answer {
            Answer::Response(response, _) => response,
            Answer::Failed(_) | Answer::Dropped => event::request(),
        };
        let mut run = self.new_run(program, Work::new(RouteKind::Event, message, flow));
        run.work.reply_status = status;
        Shard::enter(&mut run, RouteKind::Event, route, Then::Event);
        self.drive(step, run);
    }

    /// `event_route[dispatcher:dst-up]` and `dst-down`: about a request made up that goes to the
    /// destination.
    pub(super) fn destinations_turned(&mut self, step: &mut Step<'_>) {
        let events = std::mem::take(&mut self.state.dispatcher.events);
        let program = Arc::clone(&self.state.setup.program);
        for (uri, turned) in events {
            let name: &[u8] = match turned {
                dispatcher::Turned::Up => b"dispatcher:dst-up",
                dispatcher::Turned::Down => b"dispatcher:dst-down",
            };
            let Some(route) = program.route(RouteKind::Event, name) else {
                continue;
            };
            let work = Work::new(RouteKind::Event, event::request(), self.own_flow());
            let mut run = self.new_run(Arc::clone(&program), work);
            run.work.target.uri = Some((*uri).into());
            Shard::enter(&mut run, RouteKind::Event, route, Then::Event);
            self.drive(step, run);
        }
    }

    /// Where an event comes from that no message has caused: from ourselves.
    fn own_flow(&self) -> Flow {
        let first = self.state.setup.addresses.first();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], Proto::Udp.default_port()));
        Flow {
            socket: SocketId(0),
            proto: first.map_or(Proto::Udp, |a| a.proto),
            remote: first.map_or(nowhere, |a| a.local),
            conn: None,
        }
    }
}

fn heard<'a>(
    request: &'a LocalRequest,
    answer: &'a Answer,
    transaction: Option<Key>,
) -> dialog::transfer::Heard<'a> {
    dialog::transfer::Heard {
        request,
        answer,
        transaction,
    }
}
