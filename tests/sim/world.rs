//! The world: a proxy of N shards, user agents, wires and names, in one thread, under one clock
//! that jumps from event to event.
//!
//! Events are ordered by time and then by the order in which they were planned, so a run is a
//! pure function of its scenario. Whatever the proxy asks for in its outbox is performed on the
//! models (`network.rs`, `stream.rs`, `names.rs`); what becomes of it comes back as an input. The
//! oracle sees each message when it is sent and when it arrives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::rc::Rc;

use dialcore::effect::{
    Effect, Flow, Hop, Outbox, PeerMessage, Proto, ResolveError, Send, SendError, SocketId, Token,
};
use dialcore::rng::Rng;
use dialcore::shard::Input;
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Duration, Instant, Now, WallTime};

use crate::network::Weather;
use crate::oracle::{Law, Oracle, Violation};
use crate::proxy::Proxy;
use crate::scenario::{PROXY, Scenario};
use crate::sip::{self, Sip};
use crate::stream::{StreamId, Streams};
use crate::trace::{Fate, Node, Trace};
use crate::ua::{self, Act, Agent, AgentId, Happening};

/// When the run must have come to rest: longer than any timer of a call, and then some.
const HORIZON: Instant = Instant::from_nanos(7_200 * 1_000_000_000);
/// Events of one call that no behaviour here comes near; more is a loop.
const EVENT_COUNT_MAX_PER_CALL: u64 = 20_000;
/// Events between two looks at all dialogs.
const DIALOG_CHECK_INTERVAL: u64 = 64;
/// Between a cut and the moment the ends hear of it.
const CUT_NOTICE: Duration = Duration::from_millis(1);
/// How long a connection takes to be refused.
const REFUSAL: Duration = Duration::from_millis(20);
/// What is between cores, at its worst: a queue that is full loses what comes.
const MESH: Weather = Weather {
    latency: Duration::from_micros(20),
    jitter: Duration::from_micros(500),
    loss: 20,
    duplication: 20,
    reordering: 20,
};
/// Some moment in 2026.
const EPOCH_MICROS: u64 = 1_780_000_000_000_000;

/// How a run differs from the plain one of its scenario.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// Keep all arrows, for a ladder.
    pub is_recording: bool,
    /// This effect of the proxy, counted from 0, fails.
    pub failing_effect: Option<u64>,
}

/// What will happen.
#[derive(Debug)]
enum Event {
    WakeAgent(AgentId),
    WakeShard(u16),
    ToAgent(AgentId, Node, Rc<[u8]>, Option<StreamId>),
    ToProxy(AgentId, Rc<[u8]>, Option<StreamId>),
    Resolved(u16, Token, Result<Vec<Hop>, ResolveError>),
    SendFailed(u16, Token, SendError),
    StreamGone(StreamId),
    Peer(u16, ShardId, PeerMessage),
    /// Somebody sets the wall clock by so many seconds.
    ClockJump(i64),
}

/// Ordered by time, then by the order of planning.
struct Planned(Instant, u64, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A user agent with what the world knows about it.
struct Place {
    agent: Agent,
    weather: Weather,
    luck: Rng,
    armed: Option<Instant>,
}

/// Everything there is.
pub struct World {
    now: Instant,
    /// Microseconds since 1970 at the beginning, as the wall clock now has it.
    epoch_micros: u64,
    planned_count: u64,
    queue: BinaryHeap<Reverse<Planned>>,
    proxy: Proxy,
    armed: Vec<Option<Instant>>,
    outbox: Outbox,
    places: Vec<Place>,
    streams: Streams,
    zone: crate::names::Zone,
    mesh: Weather,
    mesh_luck: Rng,
    effect_count: u64,
    event_count_max: u64,
    options: Options,
    /// What went over the wire.
    pub trace: Trace,
    /// What must hold.
    pub oracle: Oracle,
}

impl World {
    /// The world of a scenario, before anything has happened.
    pub fn new(scenario: &Scenario, proxy: Proxy, options: Options) -> World {
        let shard_count = proxy.shard_count();
        let mut world = World {
            now: Instant::ZERO,
            epoch_micros: EPOCH_MICROS,
            planned_count: 0,
            queue: BinaryHeap::new(),
            armed: vec![None; usize::from(shard_count)],
            oracle: Oracle::new(scenario, &proxy, options.failing_effect.is_some()),
            proxy,
            outbox: Outbox::new(),
            places: vec![],
            streams: Streams::default(),
            zone: scenario.zone.clone(),
            mesh: MESH,
            mesh_luck: Rng::new(scenario.calls.len() as u64),
            effect_count: 0,
            event_count_max: EVENT_COUNT_MAX_PER_CALL * scenario.calls.len() as u64,
            options,
            trace: Trace::new(options.is_recording),
        };
        for (agent, weather, luck) in scenario.agents() {
            world.places.push(Place {
                agent,
                weather,
                luck,
                armed: None,
            });
        }
        for id in 0..world.places.len() {
            world.arm_agent(id);
        }
        for (at, seconds) in &scenario.clock_jumps {
            world.plan(*at, Event::ClockJump(*seconds));
        }
        world
    }

    /// Lets everything happen until nothing more will, or a law is broken.
    pub fn run(&mut self) -> Result<(), Violation> {
        let mut event_count = 0;
        while let Some(Reverse(Planned(at, _, event))) = self.queue.pop() {
            event_count += 1;
            if at > HORIZON || event_count > self.event_count_max {
                let text = format!("still {event:?} after {event_count} events");
                return Err(Violation::of_run(Law::ComesToRest, at, text));
            }
            self.now = at;
            self.happen(event);
            self.oracle.verdict()?;
            if event_count % DIALOG_CHECK_INTERVAL == 0 {
                self.check_dialogs(Proxy::dialogs_add_up)?;
            }
        }
        self.oracle
            .at_end(self.now, self.places.iter().map(|p| &p.agent));
        self.oracle.verdict()?;
        self.oracle
            .count(Law::DialogsAddUp, self.proxy.dialog_events());
        self.check_dialogs(Proxy::dialogs_rest)?;
        self.check_rest()
    }

    fn check_dialogs(
        &self,
        check: fn(&Proxy, Instant) -> Result<(), String>,
    ) -> Result<(), Violation> {
        check(&self.proxy, self.now)
            .map_err(|text| Violation::of_run(Law::DialogsAddUp, self.now, text))
    }

    /// Virtual time so far.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How many effects the proxy has asked for.
    pub fn effect_count(&self) -> u64 {
        self.effect_count
    }

    /// How many arrangements are still open on the user agents' side.
    pub fn open_dialogs(&self) -> usize {
        self.places.iter().map(|p| p.agent.open_dialogs()).sum()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::WakeAgent(id) => {
                if self.places[id].armed == Some(self.now) {
                    self.places[id].armed = None;
                    self.give_agent(id, Happening::Deadline);
                }
            }
            Event::WakeShard(shard) => {
                if self.armed[usize::from(shard)] == Some(self.now) {
                    self.armed[usize::from(shard)] = None;
                    self.give_shard(shard, Input::Deadline);
                }
            }
            Event::ToAgent(id, from, bytes, stream) => {
                self.deliver_to_agent(id, from, &bytes, stream)
            }
            Event::ToProxy(id, bytes, stream) => self.deliver_to_proxy(id, &bytes, stream),
            Event::Peer(shard, from, message) => {
                self.give_shard(shard, Input::Peer(from, message));
            }
            Event::Resolved(shard, token, result) => {
                self.give_shard(shard, Input::Resolved(token, result));
            }
            Event::SendFailed(shard, token, why) => {
                self.give_shard(shard, Input::SendFailed(token, why));
            }
            Event::ClockJump(seconds) => {
                let jump = seconds * 1_000_000;
                self.epoch_micros = self.epoch_micros.saturating_add_signed(jump);
            }
            Event::StreamGone(stream) => {
                let conn = self.streams.get(stream).conn;
                for shard in 0..self.proxy.shard_count() {
                    self.give_shard(shard, Input::FlowClosed(conn));
                }
            }
        }
    }

    fn deliver_to_agent(
        &mut self,
        id: AgentId,
        from: Node,
        bytes: &[u8],
        stream: Option<StreamId>,
    ) {
        let is_cut = stream.is_some_and(|s| !self.streams.get(s).is_open);
        let is_gone = is_cut || self.places[id].agent.is_dead;
        let fate = if is_gone { Fate::Lost } else { Fate::Arrived };
        self.trace
            .note(self.now, (from, Node::Agent(id)), fate, bytes);
        if is_gone {
            return;
        }
        match Sip::read(bytes) {
            Some(sip) => {
                self.oracle.arrived(self.now, id, &sip);
                self.give_agent(id, Happening::Received(&sip, stream));
            }
            None => self.oracle.unreadable(self.now, bytes),
        }
    }

    /// As `io` would: the owner of the Call-ID gets the bytes, whoever received them.
    fn deliver_to_proxy(&mut self, id: AgentId, bytes: &[u8], stream: Option<StreamId>) {
        let shard = owner(sip::call_id_of(bytes), self.proxy.shard_count());
        let is_cut = stream.is_some_and(|s| !self.streams.get(s).is_open);
        let fate = if is_cut { Fate::Lost } else { Fate::Arrived };
        self.trace.note(
            self.now,
            (Node::Agent(id), Node::Proxy(shard.0)),
            fate,
            bytes,
        );
        if is_cut {
            return;
        }
        let flow = self.flow(id, stream);
        self.give_shard(shard.0, Input::Received { flow, bytes });
    }

    fn flow(&mut self, id: AgentId, stream: Option<StreamId>) -> Flow {
        match stream.map(|s| self.streams.get(s)) {
            Some(stream) => Flow {
                socket: SocketId(1),
                proto: Proto::Tcp,
                remote: stream.remote,
                conn: Some(stream.conn),
            },
            None => Flow {
                socket: SocketId(0),
                proto: Proto::Udp,
                remote: self.places[id].agent.addr,
                conn: None,
            },
        }
    }

    fn give_agent(&mut self, id: AgentId, happening: Happening<'_>) {
        let mut acts = vec![];
        self.places[id].agent.handle(self.now, happening, &mut acts);
        for act in acts {
            match act {
                Act::Send {
                    to,
                    is_tcp,
                    stream,
                    bytes,
                } => {
                    self.oracle.sent(self.now, id, to, &bytes);
                    self.carry_from_agent(id, to, is_tcp, stream, bytes);
                }
                Act::Cut => {
                    for stream in self.streams.cut(id) {
                        self.plan(self.now + CUT_NOTICE, Event::StreamGone(stream));
                    }
                }
            }
        }
        self.arm_agent(id);
    }

    fn carry_from_agent(
        &mut self,
        id: AgentId,
        to: SocketAddr,
        is_tcp: bool,
        stream: Option<StreamId>,
        bytes: Rc<[u8]>,
    ) {
        let latency = self.places[id].weather.latency;
        if to != PROXY {
            // A wire without a proxy: only the self-tests of the user agents have it.
            if let Some(peer) = ua::at_address(to).filter(|&p| p < self.places.len()) {
                let event = Event::ToAgent(peer, Node::Agent(id), bytes, None);
                self.plan(self.now + latency, event);
            }
        } else if is_tcp {
            let open = stream.filter(|&s| self.streams.get(s).is_open);
            let stream = open
                .or_else(|| self.streams.open_of(id))
                .unwrap_or_else(|| self.connect(id));
            let at = self.streams.get(stream).arrival_at_proxy(self.now, latency);
            self.plan(at, Event::ToProxy(id, bytes, Some(stream)));
        } else {
            let place = &mut self.places[id];
            let delays: Vec<_> = place.weather.delays(&mut place.luck).collect();
            if delays.is_empty() {
                let ends = (Node::Agent(id), Node::Proxy(0));
                self.trace.note(self.now, ends, Fate::Lost, &bytes);
            }
            for delay in delays {
                self.plan(self.now + delay, Event::ToProxy(id, bytes.clone(), None));
            }
        }
    }

    /// A user agent opens a stream to the proxy; some core accepts it.
    fn connect(&mut self, id: AgentId) -> StreamId {
        let core = (id % usize::from(self.proxy.shard_count())) as u16;
        let remote = SocketAddr::new(self.places[id].agent.addr.ip(), 40_000);
        let ready = self.now + self.places[id].weather.latency;
        self.streams.open(core, id, remote, ready)
    }

    fn give_shard(&mut self, shard: u16, input: Input<'_>) {
        let now = self.both_clocks();
        self.proxy
            .handle(ShardId(shard), now, input, &mut self.outbox);
        let effects: Vec<Effect> = self.outbox.drain().collect();
        for effect in effects {
            let is_failing = self.options.failing_effect == Some(self.effect_count);
            self.effect_count += 1;
            self.perform(shard, effect, is_failing);
        }
        self.arm_shard(shard);
    }

    fn perform(&mut self, shard: u16, effect: Effect, is_failing: bool) {
        match effect {
            Effect::Send(send) => {
                self.oracle.emitted(self.now, ShardId(shard), &send.bytes);
                match is_failing {
                    true => self.fail(shard, &send, SendError::Refused, Duration::ZERO),
                    false => self.carry_from_proxy(shard, send),
                }
            }
            Effect::Close(conn) => {
                if let Some(stream) = self.streams.open_conn(conn) {
                    self.streams.get(stream).is_open = false;
                    self.plan(self.now + CUT_NOTICE, Event::StreamGone(stream));
                }
            }
            Effect::Peer(to, message) if !is_failing => self.carry_to_peer(shard, to, message),
            // The world finds the owners, and nobody asks.
            Effect::HandOver(..)
            | Effect::Peer(..)
            | Effect::RpcReply(..)
            | Effect::Command(_)
            | Effect::Reload
            | Effect::Lookup(..) => {}
            // The configurations of the simulator ask for neither.
            Effect::Route(..) | Effect::Alias(..) | Effect::Exec(..) => {}
            Effect::Resolve(token, query) => {
                let (delay, answer) = match is_failing {
                    true => (Duration::ZERO, Err(ResolveError::TimedOut)),
                    false => self.zone.look_up(&query),
                };
                self.plan(self.now + delay, Event::Resolved(shard, token, answer));
            }
            Effect::Log(record) => {
                if self.options.is_recording {
                    println!(
                        "{:?} shard {shard} {} {}",
                        self.now,
                        record.level.word(),
                        record.text.trim_end()
                    );
                }
            }
        }
    }

    /// Between cores: quick as a rule, and now and then late, twice or never.
    fn carry_to_peer(&mut self, shard: u16, to: ShardId, message: PeerMessage) {
        let delays: Vec<_> = self.mesh.delays(&mut self.mesh_luck).collect();
        for delay in delays {
            let event = Event::Peer(to.0, ShardId(shard), message.clone());
            self.plan(self.now + delay, event);
        }
    }

    fn carry_from_proxy(&mut self, shard: u16, send: Send) {
        match send.to.proto {
            Proto::Udp => self.carry_datagram(shard, send),
            Proto::Tcp => self.carry_on_stream(shard, send),
            Proto::Tls | Proto::Sctp | Proto::Ws | Proto::Wss => {
                self.fail(shard, &send, SendError::Refused, Duration::ZERO);
            }
        }
    }

    fn carry_datagram(&mut self, shard: u16, send: Send) {
        let Some(id) = ua::at_address(send.to.remote).filter(|&id| id < self.places.len()) else {
            // Nobody lives there: datagrams vanish without a word.
            return;
        };
        let place = &mut self.places[id];
        let delays: Vec<_> = place.weather.delays(&mut place.luck).collect();
        if delays.is_empty() {
            let ends = (Node::Proxy(shard), Node::Agent(id));
            self.trace.note(self.now, ends, Fate::Lost, &send.bytes);
        }
        for delay in delays {
            let event = Event::ToAgent(id, Node::Proxy(shard), send.bytes.clone(), None);
            self.plan(self.now + delay, event);
        }
    }

    /// The rules that [`dialcore::effect::Destination`] states for streams.
    fn carry_on_stream(&mut self, shard: u16, send: Send) {
        let named = send.to.conn.and_then(|conn| self.streams.open_conn(conn));
        let open = named.or_else(|| self.streams.open_to(send.to.remote));
        let stream = match open {
            Some(stream) => stream,
            None if send.to.no_connect => {
                return self.fail(shard, &send, SendError::NotConnected, Duration::ZERO);
            }
            None => {
                let remote = send.to.fallback.unwrap_or(send.to.remote);
                let is_there = |&id: &AgentId| {
                    self.places
                        .get(id)
                        .is_some_and(|p| p.agent.addr == remote && !p.agent.is_dead)
                };
                let Some(id) = ua::at_address(remote).filter(is_there) else {
                    return self.fail(shard, &send, SendError::NotConnected, REFUSAL);
                };
                // SYN and its answer.
                let ready = self.now + self.places[id].weather.latency;
                let ready = ready + self.places[id].weather.latency;
                self.streams.open(shard, id, remote, ready)
            }
        };
        let id = self.streams.get(stream).agent;
        let latency = self.places[id].weather.latency;
        let at = self.streams.get(stream).arrival_at_agent(self.now, latency);
        self.plan(
            at,
            Event::ToAgent(id, Node::Proxy(shard), send.bytes, Some(stream)),
        );
    }

    fn fail(&mut self, shard: u16, send: &Send, why: SendError, after: Duration) {
        if let Some(token) = send.token {
            self.plan(self.now + after, Event::SendFailed(shard, token, why));
        }
    }

    fn arm_agent(&mut self, id: AgentId) {
        let place = &mut self.places[id];
        let deadline = place.agent.deadline().map(|at| at.max(self.now));
        if let (true, Some(at)) = (deadline != place.armed, deadline) {
            place.armed = deadline;
            self.plan(at, Event::WakeAgent(id));
        }
    }

    fn arm_shard(&mut self, shard: u16) {
        let deadline = self
            .proxy
            .next_deadline(ShardId(shard))
            .map(|(at, _)| at.max(self.now));
        let armed = &mut self.armed[usize::from(shard)];
        if *armed != deadline {
            *armed = deadline;
            if let Some(at) = deadline {
                self.plan(at, Event::WakeShard(shard));
            }
        }
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.planned_count += 1;
        self.queue
            .push(Reverse(Planned(at, self.planned_count, event)));
    }

    fn both_clocks(&self) -> Now {
        Now {
            mono: self.now,
            wall: WallTime::from_micros(self.epoch_micros + self.now.as_nanos() / 1_000),
        }
    }

    /// After the last event every shard is empty, stays so when asked to stop, and has nothing
    /// left to say.
    fn check_rest(&mut self) -> Result<(), Violation> {
        let now = self.both_clocks();
        for shard in (0..self.proxy.shard_count()).map(ShardId) {
            let broken = |text: String| {
                Err(Violation::of_run(
                    Law::ComesToRest,
                    now.mono,
                    format!("shard {shard} {text}"),
                ))
            };
            if !self.proxy.is_idle(shard) {
                return broken("is not idle".into());
            }
            if let Some(deadline) = self.proxy.next_deadline(shard) {
                return broken(format!("is idle but waits for {deadline:?}"));
            }
            for input in [Input::Drain, Input::Deadline] {
                self.proxy.handle(shard, now, input, &mut self.outbox);
                let said = |e: &&Effect| !matches!(e, Effect::Log(_));
                if let Some(effect) = self.outbox.as_slice().iter().find(said) {
                    return broken(format!("was idle and yet asked for {effect:?}"));
                }
            }
        }
        Ok(())
    }
}
