//! One transaction of the naive proxy and its branches (RFC 3261 §16.6, §16.7, §17).

use std::collections::VecDeque;

use dialcore::effect::{Destination, Effect, Flow, Hop, Outbox, Proto, Query, SocketId, Token};
use dialcore::slab::Key;
use dialcore::time::{Duration, Instant};

use super::{Fault, Reference, token};
use crate::scenario::PROXY;
use crate::sip::{self, Sip};
use crate::ua::{T1, T2};

const FR_TIMER: Duration = Duration::from_secs(30);
const FR_INV_TIMER: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_secs(33);

/// How far a branch has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Resolving,
    Calling,
    Ringing,
    Done,
}

/// One client side.
pub(super) struct Branch {
    request: Sip,
    bytes: Vec<u8>,
    pub(super) to: Option<Destination>,
    stage: Stage,
    hops: VecDeque<Hop>,
    resend: Option<(Instant, Duration)>,
    expires: Instant,
    has_cancel: bool,
}

/// One server side with its branches.
pub(super) struct Transaction {
    pub(super) flow: Flow,
    pub(super) request: Sip,
    targets: VecDeque<String>,
    is_serial: bool,
    pub(super) branches: Vec<Branch>,
    pub(super) is_cancelled: bool,
    pub(super) last: Option<Vec<u8>>,
    best: Option<Sip>,
    final_status: Option<u16>,
    resend: Option<(Instant, Duration)>,
    ends: Option<Instant>,
}

impl Transaction {
    pub(super) fn new(flow: Flow, request: Sip) -> Transaction {
        let is_inside = !request.tag_of("To").is_empty();
        let named = request
            .headers
            .iter()
            .filter(|(n, _)| n.starts_with("X-Target-"));
        let targets = match is_inside {
            true => [request.uri().to_string()].into(),
            false => named.map(|(_, uri)| uri.clone()).collect(),
        };
        Transaction {
            flow,
            is_serial: request.first("X-Plan") == "serial",
            request,
            targets,
            branches: vec![],
            is_cancelled: false,
            last: None,
            best: None,
            final_status: None,
            resend: None,
            ends: None,
        }
    }

    pub(super) fn has_no_target(&self) -> bool {
        self.targets.is_empty()
    }

    pub(super) fn is_refused(&self) -> bool {
        self.final_status.is_some_and(|s| s >= 300)
    }

    pub(super) fn acknowledge(&mut self, now: Instant) {
        self.resend = None;
        self.ends = self.ends.map(|at| at.min(now + T2));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let branches = self.branches.iter().filter(|b| b.stage != Stage::Done);
        let of_branches = branches.flat_map(|b| [Some(b.expires), b.resend.map(|(at, _)| at)]);
        let own = [self.ends, self.resend.map(|(at, _)| at)];
        of_branches.chain(own).flatten().min()
    }
}

impl Reference {
    fn transaction(&mut self, id: u32) -> &mut Transaction {
        self.transactions
            .get_mut(&id)
            .expect("the caller has just seen it")
    }

    /// Starts a branch for the next target, or for all of them.
    pub(super) fn try_targets(&mut self, now: Instant, id: u32, out: &mut Outbox) {
        while let Some(target) = self.transaction(id).targets.pop_front() {
            self.start_branch(now, id, &target, out);
            if self.transaction(id).is_serial {
                return;
            }
        }
    }

    fn start_branch(&mut self, now: Instant, id: u32, target: &str, out: &mut Outbox) {
        let mut request = self.transaction(id).request.clone();
        if let sip::Start::Request { uri, .. } = &mut request.start {
            *uri = target.into();
        }
        let to = next_hop(&mut request);
        let index = self.transaction(id).branches.len();
        self.transaction(id).branches.push(Branch {
            request,
            bytes: vec![],
            to: None,
            stage: Stage::Resolving,
            hops: VecDeque::new(),
            resend: None,
            expires: now + FR_TIMER,
            has_cancel: false,
        });
        match to {
            Some(to) => self.send_branch(now, token(id, index), to, out),
            None => out.push(Effect::Resolve(
                Token::Run(token(id, index)),
                Query {
                    host: sip::host_of(target).into(),
                    port: None,
                    proto: sip::is_tcp(target).then_some(Proto::Tcp),
                    secure: false,
                },
            )),
        }
    }

    fn send_branch(&mut self, now: Instant, key: Key, to: Destination, out: &mut Outbox) {
        let (id, index) = parts(key);
        let branch = self.mint_branch();
        let is_counting = !self.is(Fault::KeepsForwards);
        let is_recording = !self.is(Fault::RecordsNoRoute);
        let fault = self.fault;
        let b = &mut self.transaction(id).branches[index];
        let mut sip = b.request.clone();
        add_hop(&mut sip, to.proto, &branch, is_counting);
        if is_recording && sip.method() == "INVITE" && sip.tag_of("To").is_empty() {
            sip.headers
                .insert(0, ("Record-Route".into(), format!("<sip:{PROXY};lr>")));
        }
        match fault {
            Some(Fault::TouchesBody) => sip.body.push('!'),
            Some(Fault::TouchesFrom) => sip.replace("From", "<sip:x@x.example>;tag=x".into()),
            Some(_) | None => {}
        }
        b.bytes = sip.write();
        b.stage = Stage::Calling;
        b.to = Some(to);
        b.expires = now + FR_TIMER;
        b.resend = (!to.proto.is_reliable()).then_some((now + T1, T1));
        let bytes = b.bytes.clone();
        self.emit(to, bytes, Some(key), out);
    }

    pub(super) fn on_resolved(&mut self, now: Instant, key: Key, hops: Vec<Hop>, out: &mut Outbox) {
        let (id, index) = parts(key);
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        let Some(b) = transaction
            .branches
            .get_mut(index)
            .filter(|b| b.stage == Stage::Resolving)
        else {
            return;
        };
        b.hops = hops.into();
        match b.hops.pop_front() {
            Some(hop) => self.send_branch(now, key, destination(hop.proto, hop.addr), out),
            None => self.fail_branch(now, key, 478, out),
        }
    }

    /// A branch that ends without a final response: the next hop of its name, or a failure.
    pub(super) fn fail_branch(&mut self, now: Instant, key: Key, status: u16, out: &mut Outbox) {
        let (id, index) = parts(key);
        let never = self.is(Fault::NeverTimesOut) && status == 408;
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        if never {
            self.transactions.remove(&id);
            return;
        }
        let Some(b) = transaction
            .branches
            .get_mut(index)
            .filter(|b| b.stage != Stage::Done)
        else {
            return;
        };
        if let (Some(hop), Stage::Calling, false) =
            (b.hops.pop_front(), b.stage, transaction.is_cancelled)
        {
            return self.send_branch(now, key, destination(hop.proto, hop.addr), out);
        }
        if b.stage == Stage::Ringing {
            self.cancel_branch(id, index, out);
        }
        let local = Sip::response(&self.transactions[&id].request, status, Some("local"));
        self.end_branch(now, id, index, local, out);
    }

    pub(super) fn on_response(
        &mut self,
        now: Instant,
        mut sip: Sip,
        status: u16,
        out: &mut Outbox,
    ) {
        let found = self.find_client(&sip);
        let own = sip
            .headers
            .iter()
            .position(|(n, _)| n == "Via")
            .expect("it has a branch");
        if !self.is(Fault::KeepsVia) {
            sip.headers.remove(own);
        }
        if self.is(Fault::LosesVias) {
            sip.remove("Via");
        }
        match (found, sip.method()) {
            // Ours alone: the answer to our CANCEL.
            (_, "CANCEL") => {}
            (Some((id, index)), _) => self.on_branch_response(now, (id, index), sip, status, out),
            (None, _) => {
                if let (Some(to), _) = sip::sent_by(sip.first("Via")) {
                    self.emit(destination(Proto::Udp, to), sip.write(), None, out);
                }
            }
        }
    }

    fn find_client(&self, sip: &Sip) -> Option<(u32, usize)> {
        self.transactions.iter().find_map(|(&id, t)| {
            let is_it = |b: &Branch| {
                b.to.is_some()
                    && b.request.method() == sip.method()
                    && has_branch(&b.bytes, sip.branch())
            };
            Some((id, t.branches.iter().position(is_it)?))
        })
    }

    fn on_branch_response(
        &mut self,
        now: Instant,
        (id, index): (u32, usize),
        sip: Sip,
        status: u16,
        out: &mut Outbox,
    ) {
        let t = self.transaction(id);
        let b = &mut t.branches[index];
        let (is_invite, was_done) = (b.request.method() == "INVITE", b.stage == Stage::Done);
        match status {
            100..=199 => {
                if !was_done {
                    b.stage = Stage::Ringing;
                    b.expires = now + if is_invite { FR_INV_TIMER } else { FR_TIMER };
                    b.resend = b.resend.filter(|_| !is_invite);
                    if t.is_cancelled || t.final_status.is_some() {
                        self.cancel_branch(id, index, out);
                    } else if status > 100 {
                        self.forward(id, &sip, out);
                    }
                }
            }
            200..=299 => {
                b.stage = Stage::Done;
                if is_invite || t.final_status.is_none() {
                    self.succeed(now, id, &sip, status, out);
                }
            }
            _ => {
                if is_invite {
                    self.acknowledge_branch(id, index, &sip, out);
                }
                if !was_done {
                    self.end_branch(now, id, index, sip, out);
                }
            }
        }
    }

    fn succeed(&mut self, now: Instant, id: u32, sip: &Sip, status: u16, out: &mut Outbox) {
        self.forward(id, sip, out);
        let t = self.transaction(id);
        t.final_status.get_or_insert(status);
        t.targets.clear();
        t.ends.get_or_insert(now + WAIT);
        if !self.is(Fault::LetsLosersRing) {
            self.cancel_branches(id, out);
        }
    }

    /// A branch has failed; when it was the last one, so has the transaction.
    fn end_branch(&mut self, now: Instant, id: u32, index: usize, sip: Sip, out: &mut Outbox) {
        let t = self.transaction(id);
        t.branches[index].stage = Stage::Done;
        let rank = |s: &Sip| s.status().filter(|s| *s < 600).unwrap_or(0);
        if t.best.as_ref().is_none_or(|best| rank(&sip) < rank(best)) {
            t.best = Some(sip);
        }
        let is_over = t.branches.iter().all(|b| b.stage == Stage::Done);
        if !is_over || t.final_status.is_some() {
            return;
        }
        if !t.is_cancelled && !t.targets.is_empty() {
            return self.try_targets(now, id, out);
        }
        let best = t.best.take().expect("a branch has just ended");
        self.refuse(now, id, &best, out);
    }

    fn refuse(&mut self, now: Instant, id: u32, best: &Sip, out: &mut Outbox) {
        self.forward(id, best, out);
        if self.is(Fault::DoublesFinal) {
            let other = Sip::response(&self.transactions[&id].request, 500, Some("other"));
            self.forward(id, &other, out);
        }
        let t = self.transaction(id);
        t.final_status = best.status();
        t.ends = Some(now + WAIT);
        if t.request.method() == "INVITE" && !t.flow.proto.is_reliable() {
            t.resend = Some((now + T1, T1));
        }
    }

    fn forward(&mut self, id: u32, sip: &Sip, out: &mut Outbox) {
        let bytes = sip.write();
        let t = self.transaction(id);
        t.last = Some(bytes.clone());
        let to = Destination::along(t.flow);
        self.emit(to, bytes, None, out);
    }

    pub(super) fn cancel_branches(&mut self, id: u32, out: &mut Outbox) {
        for index in 0..self.transaction(id).branches.len() {
            let is_early = self.is(Fault::CancelsEarly);
            match self.transaction(id).branches[index].stage {
                Stage::Ringing => self.cancel_branch(id, index, out),
                Stage::Calling if is_early => self.cancel_branch(id, index, out),
                Stage::Resolving | Stage::Calling | Stage::Done => {}
            }
        }
    }

    fn cancel_branch(&mut self, id: u32, index: usize, out: &mut Outbox) {
        let b = &mut self.transaction(id).branches[index];
        let (Some(to), false) = (b.to, b.has_cancel) else {
            return;
        };
        b.has_cancel = true;
        let cancel = in_hop(&b.bytes, "CANCEL", None);
        self.emit(to, cancel, None, out);
    }

    fn acknowledge_branch(&mut self, id: u32, index: usize, sip: &Sip, out: &mut Outbox) {
        let b = &self.transaction(id).branches[index];
        if let Some(to) = b.to {
            let ack = in_hop(&b.bytes, "ACK", Some(sip.first("To")));
            self.emit(to, ack, None, out);
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant, out: &mut Outbox) {
        let is_due = |t: &Transaction| t.deadline().is_some_and(|at| at <= now);
        let due = self.transactions.iter().filter(|(_, t)| is_due(t));
        for id in due.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.on_transaction_deadline(now, id, out);
        }
    }

    fn on_transaction_deadline(&mut self, now: Instant, id: u32, out: &mut Outbox) {
        if self.transactions[&id].ends.is_some_and(|at| at <= now) {
            match self.is(Fault::KeepsTransactions) {
                true => self.transaction(id).ends = None,
                false => drop(self.transactions.remove(&id)),
            }
            return;
        }
        if let Some((at, interval)) = self.transactions[&id].resend.filter(|(at, _)| *at <= now) {
            let interval = interval.doubled_up_to(T2);
            self.transaction(id).resend = Some((at + interval, interval));
            self.say_again(id, out);
        }
        for index in 0..self.transactions.get(&id).map_or(0, |t| t.branches.len()) {
            self.on_branch_deadline(now, id, index, out);
        }
    }

    fn on_branch_deadline(&mut self, now: Instant, id: u32, index: usize, out: &mut Outbox) {
        let Some(b) = self
            .transactions
            .get_mut(&id)
            .map(|t| &mut t.branches[index])
        else {
            return;
        };
        if b.stage == Stage::Done {
            return;
        }
        if b.expires <= now {
            return self.fail_branch(now, token(id, index), 408, out);
        }
        if let (Some((at, interval)), Some(to)) = (b.resend.filter(|(at, _)| *at <= now), b.to) {
            let interval = interval.doubled_up_to(T2);
            b.resend = Some((at + interval, interval));
            let bytes = b.bytes.clone();
            self.emit(to, bytes, None, out);
        }
    }
}

fn parts(key: Key) -> (u32, usize) {
    let n = key.to_u64();
    ((n >> 32) as u32, n as u32 as usize)
}

fn destination(proto: Proto, addr: std::net::SocketAddr) -> Destination {
    let socket = SocketId(if proto == Proto::Udp { 0 } else { 1 });
    Destination::to(socket, proto, addr)
}

/// Takes our own Route off and says where the request goes; `None` when a name must be looked up.
pub(super) fn next_hop(sip: &mut Sip) -> Option<Destination> {
    let is_ours = |v: &str| sip::addr_of(sip::uri_of(v)) == Some(PROXY);
    if let Some(at) = sip
        .headers
        .iter()
        .position(|(n, v)| n == "Route" && is_ours(v))
    {
        sip.headers.remove(at);
    }
    let route = sip.lines("Route").next().map(sip::uri_of);
    let uri = route.unwrap_or(sip.uri());
    let proto = if sip::is_tcp(uri) {
        Proto::Tcp
    } else {
        Proto::Udp
    };
    Some(destination(proto, sip::addr_of(uri)?))
}

/// Our Via on top, one forward less.
pub(super) fn add_hop(sip: &mut Sip, proto: Proto, branch: &str, is_counting: bool) {
    let via = format!("SIP/2.0/{} {PROXY};branch={branch}", proto.upper());
    sip.headers.insert(0, ("Via".into(), via));
    let left: u32 = sip.first("Max-Forwards").parse().unwrap_or(70);
    if is_counting {
        sip.replace("Max-Forwards", left.saturating_sub(1).to_string());
    }
}

fn has_branch(request: &[u8], branch: &str) -> bool {
    request
        .windows(branch.len())
        .any(|w| w == branch.as_bytes())
}

/// CANCEL, and ACK to a negative response, from the INVITE that was sent.
fn in_hop(invite: &[u8], method: &str, to: Option<&str>) -> Vec<u8> {
    let invite = Sip::read(invite).expect("our own writing");
    let mut request = Sip::request(method, invite.uri())
        .with("Via", invite.first("Via"))
        .with("From", invite.first("From"))
        .with("To", to.unwrap_or(invite.first("To")))
        .with("Call-ID", invite.call_id())
        .with("CSeq", format!("{} {method}", invite.cseq()))
        .with("Max-Forwards", "70");
    for route in invite.lines("Route") {
        request = request.with("Route", route);
    }
    request.write()
}
