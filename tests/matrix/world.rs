//! The proxy between two user agents, under a clock that the test turns.
//!
//! Real shards; what they send comes to user agents and hops in the order of sending, without
//! delay. Time passes only in [`World::wait`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use dialcore::effect::rpc::{Cursor, Part, RpcId, Value};
use dialcore::effect::{
    ConnId, Destination, Effect, Flow, Hop as Address, Outbox, Proto, ResolveError, Send,
    SendError, SocketId, Token,
};
use dialcore::modules::rpc::args::{Args, Dialect};
use dialcore::modules::rpc::command::{self, Question, Request};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Duration, Instant, Now, WallTime};

use crate::fault::Fault;
use crate::hop::Hop;
use crate::law::{Broken, Law};
use crate::sip::{Sip, call_id_of};
use crate::ua::{Side, Ua};

/// The proxy's address.
pub const PROXY: &str = "192.0.2.100:5060";
/// Who asks the script to do something.
const OPERATOR: &str = "192.0.2.200:5060";
/// Shards of the proxy.
const SHARD_COUNT: u16 = 2;
/// Messages of one cell that nothing here comes near; more is a loop.
const EVENT_COUNT_MAX: usize = 20_000;

/// What will happen next.
enum Event {
    ToProxy(Flow, Vec<u8>),
    ToParty(Side, Vec<u8>, bool),
    ToHop(usize, Vec<u8>),
    Failed(ShardId, Token, SendError),
    Resolved(ShardId, Token, Result<Vec<Address>, ResolveError>),
    Closed(ConnId),
    Peer(ShardId, ShardId, dialcore::effect::PeerMessage),
}

/// A connection of a party's to the proxy.
#[derive(Clone, Copy, Debug)]
struct Conn {
    id: ConnId,
    side: Side,
    remote: SocketAddr,
    is_open: bool,
}

/// Where a party is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Addresses of datagrams that reach it, the first is the one that its own come from.
    pub datagrams: Vec<SocketAddr>,
    /// Where it takes connections.
    pub listens: Option<SocketAddr>,
    /// It speaks through a connection, from this address.
    pub connects_from: Option<SocketAddr>,
    /// What is sent to it is lost.
    pub is_silent: bool,
    /// Names that lead to it.
    pub names: Vec<String>,
}

/// Everything there is.
pub struct World {
    shards: Vec<Shard>,
    now: Instant,
    out: Outbox,
    queue: VecDeque<Event>,
    /// The caller and the callee.
    pub parties: [Ua; 2],
    /// Where they are.
    pub places: [Place; 2],
    /// Other proxies.
    pub hops: Vec<Hop>,
    conns: Vec<Conn>,
    /// What is wrong with what the proxy sends.
    pub fault: Option<Fault>,
    /// Broken laws that no party has seen.
    pub broken: Vec<Broken>,
    /// Lines of the log.
    pub log: Vec<String>,
    /// A ladder of what went over the wire.
    pub trace: Vec<String>,
    /// The kernel refuses to send to these addresses.
    pub refused: Vec<SocketAddr>,
    /// Names that no server answers for.
    pub has_dns: bool,
    rpc_answers: Vec<Part>,
    serial: u32,
    event_count: usize,
}

impl World {
    /// A world whose proxy has this configuration.
    pub fn new(cfg: &str, parties: [Ua; 2], places: [Place; 2], hops: Vec<Hop>) -> World {
        let setup = Setup::from_text(cfg, SHARD_COUNT).unwrap_or_else(|e| panic!("{e}"));
        let setup = Arc::new(setup);
        let shard = |n| Shard::new(ShardId(n), Arc::clone(&setup), 7 + u64::from(n));
        World {
            shards: (0..SHARD_COUNT).map(shard).collect(),
            now: Instant::ZERO,
            out: Outbox::new(),
            queue: VecDeque::new(),
            parties,
            places,
            hops,
            conns: vec![],
            fault: None,
            broken: vec![],
            log: vec![],
            trace: vec![],
            refused: vec![],
            has_dns: true,
            rpc_answers: vec![],
            serial: 0,
            event_count: 0,
        }
    }

    /// One of the parties.
    pub fn party(&mut self, side: Side) -> &mut Ua {
        &mut self.parties[side as usize]
    }

    /// A party says something, and everything that follows from it happens.
    pub fn tell(&mut self, side: Side, what: impl FnOnce(&mut Ua)) {
        what(self.party(side));
        self.pump();
    }

    /// Both say something before either hears the other.
    pub fn tell_both(&mut self, what: impl Fn(&mut Ua)) {
        for side in Side::BOTH {
            what(self.party(side));
        }
        self.pump();
    }

    /// Lets everything happen that is due now.
    pub fn pump(&mut self) {
        loop {
            for side in Side::BOTH {
                for (to, sip) in std::mem::take(&mut self.party(side).out) {
                    self.carry_from_party(side, to, &sip);
                }
            }
            let Some(event) = self.queue.pop_front() else {
                return;
            };
            self.event_count += 1;
            if self.event_count > EVENT_COUNT_MAX {
                let text = format!("{EVENT_COUNT_MAX} messages and no end");
                return self.broken.push(Broken::new(Law::Rests, text));
            }
            self.happen(event);
        }
    }

    /// Time passes; every deadline in it is met.
    pub fn wait(&mut self, time: Duration) {
        self.pump();
        let end = self.now + time;
        while self.fault != Some(Fault::StopsClock) {
            let due = |s: &Shard| s.next_deadline().map(|(at, _)| at);
            let first = self.shards.iter().filter_map(due).min();
            let Some(at) = first.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            for shard in 0..SHARD_COUNT {
                let is_due = due(&self.shards[usize::from(shard)]).is_some_and(|d| d <= self.now);
                if is_due {
                    self.give(ShardId(shard), Input::Deadline);
                }
            }
            self.pump();
        }
        self.now = end;
    }

    /// The shard of a call.
    pub fn home(&self, call_id: &str) -> ShardId {
        owner(call_id.as_bytes(), SHARD_COUNT)
    }

    /// An operator's command, to all shards; the values of the one that knows.
    pub fn rpc(&mut self, name: &str, params: Vec<Value>) -> Option<Vec<Value>> {
        self.ask(name, params, 0..SHARD_COUNT)
    }

    /// The same, to any one shard.
    pub fn rpc_of_one(&mut self, name: &str, params: Vec<Value>) -> Option<Vec<Value>> {
        self.ask(name, params, 0..1)
    }

    fn ask(
        &mut self,
        name: &str,
        params: Vec<Value>,
        shards: std::ops::Range<u16>,
    ) -> Option<Vec<Value>> {
        let command = command::find(&self.shards[0].state().setup, name.as_bytes());
        let command = command.unwrap_or_else(|| panic!("{name} is no command"));
        let args = Arc::new(Args::new(params, Dialect::Binary { converts: false }));
        let request = Arc::new(Request { command, args });
        self.rpc_answers.clear();
        for shard in shards {
            let question = Question {
                id: RpcId(1),
                request: Arc::clone(&request),
                cursor: Cursor::default(),
                item_count: 16,
            };
            self.give(ShardId(shard), Input::Rpc(question));
        }
        self.pump();
        let parts = std::mem::take(&mut self.rpc_answers);
        parts.into_iter().find_map(|part| part.values.ok())
    }

    /// A request of somebody outside of the call, for the script.
    pub fn operate(&mut self, call_id: &str, headers: &[(&str, &str)]) {
        self.serial += 1;
        let mut sip = Sip::request("OPTIONS", &format!("sip:{PROXY}"))
            .with(
                "Via",
                format!(
                    "SIP/2.0/UDP {OPERATOR};branch=z9hG4bK-operator-{}",
                    self.serial
                ),
            )
            .with("Max-Forwards", "70")
            .with("From", "<sip:operator@proxy.test>;tag=op")
            .with("To", "<sip:proxy@proxy.test>")
            .with("Call-ID", call_id)
            .with("CSeq", format!("{} OPTIONS", self.serial));
        for (name, value) in headers {
            sip = sip.with(name, *value);
        }
        let remote = OPERATOR.parse().expect("an address");
        let flow = datagram(remote);
        self.queue.push_back(Event::ToProxy(flow, sip.write()));
        self.pump();
    }

    /// A party opens a connection, if it speaks through one.
    pub fn connect(&mut self, side: Side) {
        if let Some(remote) = self.places[side as usize].connects_from {
            self.open(side, remote);
        }
    }

    fn open(&mut self, side: Side, remote: SocketAddr) -> ConnId {
        let key = 1 + self.conns.len() as u64;
        let id = ConnId { core: 0, key };
        self.conns.push(Conn {
            id,
            side,
            remote,
            is_open: true,
        });
        id
    }

    /// The connections of a party are lost; `is_noticed`: the proxy hears of it.
    pub fn cut(&mut self, side: Side, is_noticed: bool) {
        for conn in &mut self.conns {
            if conn.side == side && conn.is_open {
                conn.is_open = false;
                if is_noticed {
                    self.queue.push_back(Event::Closed(conn.id));
                }
            }
        }
        self.pump();
    }

    /// What a party has said leaves, and then its connections are lost.
    pub fn cut_behind(&mut self, side: Side) {
        for (to, sip) in std::mem::take(&mut self.party(side).out) {
            self.carry_from_party(side, to, &sip);
        }
        self.cut(side, true);
    }

    fn carry_from_party(&mut self, side: Side, to: SocketAddr, sip: &Sip) {
        let bytes = sip.write();
        if let Some(at) = self.hops.iter().position(|h| h.addr == to) {
            return self.queue.push_back(Event::ToHop(at, bytes));
        }
        if to != PROXY.parse().expect("an address") {
            let text = format!(
                "{}: {} goes past the proxy to {to}",
                side.word(),
                sip.label()
            );
            return self.broken.push(Broken::new(Law::RouteSet, text));
        }
        self.note(side.word(), "proxy", &bytes);
        let place = &self.places[side as usize];
        let Some(from) = place.connects_from else {
            let flow = datagram(place.datagrams[0]);
            return self.queue.push_back(Event::ToProxy(flow, bytes));
        };
        let open = |c: &&Conn| c.side == side && c.is_open;
        let conn = match self.conns.iter().find(open) {
            Some(conn) => *conn,
            None => {
                let id = self.open(side, from);
                Conn {
                    id,
                    side,
                    remote: from,
                    is_open: true,
                }
            }
        };
        let flow = Flow {
            socket: SocketId(1),
            proto: Proto::Tcp,
            remote: conn.remote,
            conn: Some(conn.id),
        };
        self.queue.push_back(Event::ToProxy(flow, bytes));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToProxy(flow, bytes) => {
                let shard = owner(call_id_of(&bytes), SHARD_COUNT);
                let bytes = &bytes[..];
                self.give(shard, Input::Received { flow, bytes });
            }
            Event::ToParty(side, bytes, by_stream) => {
                if !self.places[side as usize].is_silent {
                    self.party(side).receive(&bytes, by_stream);
                }
            }
            Event::ToHop(at, bytes) => self.pass_hop(at, &bytes),
            Event::Failed(shard, token, why) => self.give(shard, Input::SendFailed(token, why)),
            Event::Resolved(shard, token, found) => {
                self.give(shard, Input::Resolved(token, found));
            }
            Event::Closed(conn) => {
                for shard in 0..SHARD_COUNT {
                    self.give(ShardId(shard), Input::FlowClosed(conn));
                }
            }
            Event::Peer(to, from, message) => self.give(to, Input::Peer(from, message)),
        }
    }

    fn pass_hop(&mut self, at: usize, bytes: &[u8]) {
        let name = self.hops[at].addr.to_string();
        let Some(sip) = Sip::read(bytes) else {
            let text = format!("unreadable at {name}");
            return self.broken.push(Broken::new(Law::Headers, text));
        };
        let (to, sip) = match self.hops[at].handle(sip) {
            Ok(passed) => passed,
            Err(broken) => return self.broken.push(broken),
        };
        let bytes = sip.write();
        self.note(&name, &to.to_string(), &bytes);
        if let Some(at) = self.hops.iter().position(|h| h.addr == to) {
            return self.queue.push_back(Event::ToHop(at, bytes));
        }
        if to == PROXY.parse().expect("an address") {
            let flow = datagram(self.hops[at].addr);
            return self.queue.push_back(Event::ToProxy(flow, bytes));
        }
        self.deliver(to, bytes, &name);
    }

    /// A datagram to somebody.
    fn deliver(&mut self, to: SocketAddr, bytes: Vec<u8>, from: &str) {
        let is_there = |side: &Side| self.places[*side as usize].datagrams.contains(&to);
        match Side::BOTH.into_iter().find(is_there) {
            Some(side) => self.queue.push_back(Event::ToParty(side, bytes, false)),
            None if to == OPERATOR.parse().expect("an address") => {}
            None => {
                let what = Sip::read(&bytes).map(|s| s.label()).unwrap_or_default();
                let text = format!("{what} from {from} to {to}, where nobody is");
                self.broken.push(Broken::new(Law::Reaches, text));
            }
        }
    }

    fn give(&mut self, shard: ShardId, input: Input<'_>) {
        let now = Now {
            mono: self.now,
            wall: WallTime::from_micros(1_780_000_000_000_000 + self.now.as_nanos() / 1000),
        };
        let node = &mut self.shards[usize::from(shard.0)];
        node.handle(now, input, &mut self.out);
        node.check_invariants();
        let effects: Vec<Effect> = self.out.drain().collect();
        for effect in effects {
            self.perform(shard, effect);
        }
    }

    fn perform(&mut self, shard: ShardId, effect: Effect) {
        match effect {
            Effect::Send(send) => self.send(shard, send),
            Effect::Resolve(token, query) => self.resolve(shard, token, &query.host),
            Effect::Log(record) => self.log.push(record.text.trim_end().to_owned()),
            Effect::Peer(to, message) => self.queue.push_back(Event::Peer(to, shard, message)),
            // Nobody asks over HTTP here, and no script for a reload.
            Effect::Command(_)
            | Effect::HandOver(..)
            | Effect::Reload
            | Effect::Lookup(..)
            | Effect::Route(..)
            | Effect::Alias(..)
            | Effect::Exec(..) => {}
            Effect::RpcReply(_, part) => self.rpc_answers.push(part),
            Effect::Close(conn) => {
                let closed = self.conns.iter_mut().filter(|c| c.id == conn);
                closed.for_each(|c| c.is_open = false);
            }
        }
    }

    fn resolve(&mut self, shard: ShardId, token: Token, host: &str) {
        if !self.has_dns {
            return;
        }
        let of = |place: &&Place| place.names.iter().any(|n| n == host);
        let found = self
            .places
            .iter()
            .find(of)
            .and_then(|p| p.datagrams.first());
        let found = found.map(|addr| {
            vec![Address {
                proto: Proto::Udp,
                addr: *addr,
            }]
        });
        let found = found.ok_or(ResolveError::NotFound);
        self.queue.push_back(Event::Resolved(shard, token, found));
    }

    fn send(&mut self, shard: ShardId, send: Send) {
        let mut copies = vec![(send.to, send.bytes.to_vec())];
        if let Some(fault) = self.fault {
            fault.plant(&mut copies);
        }
        for (to, bytes) in copies {
            self.carry_from_proxy(shard, to, bytes, send.token);
        }
    }

    /// As `io` does; see [`Destination`].
    fn carry_from_proxy(
        &mut self,
        shard: ShardId,
        to: Destination,
        bytes: Vec<u8>,
        token: Option<Token>,
    ) {
        self.note("proxy", &format!("{} {}", to.proto, to.remote), &bytes);
        let fail = |world: &mut World, why| {
            world.trace.push(format!("    not sent: {why:?}"));
            if let Some(token) = token {
                world.queue.push_back(Event::Failed(shard, token, why));
            }
        };
        if self.refused.contains(&to.remote) {
            return fail(self, SendError::Refused);
        }
        if to.proto == Proto::Udp {
            let at_hop = |h: &Hop| h.addr == to.remote;
            return match self.hops.iter().position(at_hop) {
                Some(at) => self.queue.push_back(Event::ToHop(at, bytes)),
                None => self.deliver(to.remote, bytes, "the proxy"),
            };
        }
        let is_it = |c: &&Conn| c.is_open && Some(c.id) == to.conn;
        let is_there = |c: &&Conn| c.is_open && c.remote == to.remote;
        let conn = self.conns.iter().find(is_it);
        let conn = conn.or_else(|| self.conns.iter().find(is_there)).copied();
        if let Some(conn) = conn {
            return self.queue.push_back(Event::ToParty(conn.side, bytes, true));
        }
        let target = to.fallback.unwrap_or(to.remote);
        let takes = |side: &Side| self.places[*side as usize].listens == Some(target);
        match Side::BOTH
            .into_iter()
            .find(takes)
            .filter(|_| !to.no_connect)
        {
            Some(side) => {
                self.open(side, target);
                self.queue.push_back(Event::ToParty(side, bytes, true));
            }
            None => fail(self, SendError::NotConnected),
        }
    }

    fn note(&mut self, from: &str, to: &str, bytes: &[u8]) {
        let text = Sip::read(bytes).map_or_else(|| "?".into(), |sip| ladder(&sip));
        let at = self.now.as_nanos() / 1_000_000;
        self.trace.push(format!("{at:>9} {from} > {to}: {text}"));
    }

    /// How many dialogs there are.
    pub fn dialog_count(&self) -> usize {
        self.shards
            .iter()
            .map(|s| s.state().dialogs.table.len())
            .sum()
    }

    /// A shard, to look at.
    pub fn shard(&self, id: ShardId) -> &Shard {
        &self.shards[usize::from(id.0)]
    }

    /// All that is broken, at the end of a call that is over.
    pub fn verdict(&mut self, wants_rest: bool) -> Vec<Broken> {
        let mut broken = std::mem::take(&mut self.broken);
        for side in Side::BOTH {
            if wants_rest {
                self.party(side).check_end();
            }
            broken.append(&mut self.party(side).broken);
        }
        let count = self.dialog_count();
        if wants_rest && (count > 0 || !self.shards.iter().all(Shard::is_idle)) {
            let text = format!("{count} dialogs left, or something in flight");
            broken.push(Broken::new(Law::Rests, text));
        }
        broken
    }
}

fn ladder(sip: &Sip) -> String {
    let mut text = sip.label();
    if sip.status().is_none() {
        text = format!("{text} {}", sip.uri());
        for route in sip.values("Route") {
            text.push_str(&format!(" {route}"));
        }
    }
    text
}

fn datagram(remote: SocketAddr) -> Flow {
    Flow {
        socket: SocketId(0),
        proto: Proto::Udp,
        remote,
        conn: None,
    }
}
