//! The life of one core: wait for one thing, let the shard handle it, perform what it asked, again.
//!
//! The core is one task of a glommio executor that is pinned to its CPU. It waits for everything at
//! once ([`super::wait_set`]): datagram sockets, listeners, streams, the bell of the mesh; the wait
//! ends with the next deadline at the latest. While datagrams come in quick succession it looks at
//! them by the clock instead ([`super::pace`]). So nothing is ever later than a millisecond, which
//! is also the rounding of the wait, and an idle core sleeps.
//!
//! Why epoll inside an io_uring executor: waking one that is parked costs 22 us against 1.5 us for
//! `epoll_wait`, which at moderate load would double the cost of a call; and with streams in the
//! ring and datagrams outside of it, one would have to wait for the other. The price is that the
//! executor's own descriptors do not wake the core, so it is the only task there.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use ahash::RandomState;

use super::admission::{Room, Verdict, Waiting};
use super::clock::Clock;
use super::control::{Dispatcher, Order, Resolver, Wanted};
use super::counters::Counters;
use super::door::Door;
use super::log::Log;
use super::mesh::{Asked, Item, Port};
use super::pace::{Pace, Wait};
use super::signals::Event;
use super::sockets::{CoreSockets, Listen};
use super::stream::Asker;
use super::sys::{self, Interest, Ready, ReceiveBatch};
use super::tcp::{Brought, Notice, Outgoing, Streams};
use super::udp::{Datagrams, datagram};
use super::wait_set::{OTHER, WaitSet};
use crate::effect::{
    ConnId, Effect, Hop, Level, NameRecord, Outbox, Part, Proto, ResolveError, Send, SendError,
    SocketId, Token,
};
use crate::modules::rpc::command::Figures;
use crate::shard::{Input, Shard};
use crate::sip::scan;
use crate::slab::Key;
use crate::steer::ShardId;
use crate::time::{Duration, Instant};

/// The bell of the mesh.
const BELL: u64 = OTHER | u32::MAX as u64;

/// Turns of timers in one round before the sockets get theirs.
const DEADLINE_COUNT: usize = 2;

/// Answers handled in one round before the sockets get their turn.
const ROUND_SIZE: usize = 1_024;

/// How often a core that works looks whether a peak is over, and how long it has had nothing to do
/// when it gives memory back.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);

/// For so long batches of datagrams follow each other; then streams, timers and new calls have
/// their turn, however many datagrams wait.
const DRAIN_TIME_MAX: Duration = Duration::from_micros(500);

/// As many datagrams at once are no reason to let any of them wait.
const CALM_COUNT: usize = 16;

/// New calls begun before the core looks again at what comes for the others.
const SERVE_COUNT: usize = 8;

/// Requests of HTTP taken in one round from streams that have brought several.
const BEHIND_COUNT: usize = 8;

/// Something that the shard is to hear of this core's own doing.
enum Answer {
    SendFailed(Token, SendError),
    Resolved(Token, Result<Vec<Hop>, ResolveError>),
    Found(Token, Result<Vec<NameRecord>, ResolveError>),
    FlowClosed(ConnId),
    Routed(Token, Option<IpAddr>),
    /// A command that nobody has taken.
    Executed(Key),
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    /// No new work; idleness is to be reported.
    Draining,
    /// Idleness was reported; what comes for others is still handed over.
    Drained,
    Stopped,
}

/// What a core needs from outside.
pub(crate) struct Outside {
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    pub(crate) resolver: Resolver,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) events: std::sync::mpsc::Sender<Event>,
}

/// When the core has looked for the last time whether a peak is over.
struct Peak {
    looked: Instant,
    /// What it had done then.
    work_count: u64,
    /// It has worked since it gave memory back.
    is_owing: bool,
}

/// One core.
pub(crate) struct Core {
    door: Door,
    wait_set: WaitSet,
    datagrams: Datagrams,
    streams: Streams,
    outside: Outside,
    answers: VecDeque<Answer>,
    /// Streams that have brought more than has been taken.
    behind: VecDeque<Key>,
    /// Questions of operators: one in a round, so that messages have their turn in between.
    asked: VecDeque<Asked>,
    /// The answer to the question that is being handled.
    part: Option<Part>,
    phase: Phase,
    pace: Pace,
    peak: Peak,
    /// New calls that wait.
    room: Room,
    /// A socket has brought as much as could be read, and may have more.
    is_behind: bool,
}

impl Core {
    pub(crate) fn new(
        shard: Shard,
        port: Port,
        (wait_set, streams): (WaitSet, Streams),
        outside: Outside,
        (round_max, hasher): (Duration, RandomState),
    ) -> io::Result<Self> {
        wait_set.urgent().add(port.bell(), BELL, Interest::READ)?;
        Ok(Core {
            door: Door {
                shard,
                outbox: Outbox::new(),
                port,
                clock: outside.clock,
                now: outside.clock.now(),
                counters: Counters::default(),
            },
            datagrams: Datagrams::new(wait_set.all()),
            wait_set,
            streams,
            answers: VecDeque::new(),
            behind: VecDeque::new(),
            asked: VecDeque::new(),
            part: None,
            phase: Phase::Running,
            pace: Pace::new(round_max, outside.clock.mono()),
            peak: Peak {
                looked: outside.clock.mono(),
                work_count: 0,
                is_owing: false,
            },
            room: Room::new(outside.clock.mono(), hasher),
            is_behind: false,
            outside,
        })
    }

    /// Takes the listening sockets in.
    pub(crate) fn listen(&mut self, sockets: CoreSockets) -> io::Result<()> {
        for (index, socket) in sockets.listen.into_iter().enumerate() {
            let (id, tag) = (SocketId(index as u16), OTHER | index as u64);
            match socket {
                Listen::Udp { socket, is_steered } => {
                    self.datagrams.adopt(id, socket, tag)?;
                    if is_steered {
                        self.datagrams.set_steered(id);
                    }
                }
                Listen::Tcp(listener) => self.streams.listen(id, listener, tag)?,
            }
        }
        Ok(())
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(256);
        let mut batch = ReceiveBatch::new();
        let mut scratch = vec![0; self.streams.read_size()];
        let mut items = Vec::new();
        // What a script does at the start is done now, not with the first message.
        self.door.now = self.door.clock.now();
        self.door.handle(Input::Deadline);
        self.perform();
        self.settle();
        while self.phase != Phase::Stopped {
            self.wait(&mut ready)?;
            self.door.now = self.door.clock.now();
            self.door.port.remind(self.door.now.mono);
            // Counts of other cores first: what comes may ask for them.
            if self.door.port.has_mail() {
                self.door.port.take(&mut items);
                self.take_items(&mut items);
            }
            let before = self.datagrams.counters.udp_received;
            for event in &ready {
                match event.tag {
                    BELL => {
                        self.door.port.hear(&mut items);
                        self.take_items(&mut items);
                    }
                    tag if tag & OTHER != 0 => self.socket_ready(*event, &mut batch),
                    _ => self.stream_ready(*event, &mut scratch),
                }
            }
            let count = self.datagrams.counters.udp_received - before;
            let is_behind = std::mem::take(&mut self.is_behind);
            self.pace.began(self.door.now.mono, count, is_behind);
            self.catch_up();
            self.deadlines();
            self.serve();
            self.settle();
            self.answer_one();
            self.report_idle();
            self.give_back(&mut batch);
            glommio::yield_if_needed().await;
        }
        Ok(())
    }

    /// Waits for the next thing to do: until something comes, or by the clock.
    fn wait(&self, ready: &mut Vec<Ready>) -> io::Result<()> {
        let patience = self.patience();
        if patience == Some(0) {
            return self.wait_set.wait(patience, ready);
        }
        match self.pace.next(self.door.clock.mono()) {
            Wait::Event => self.wait_set.wait(patience, ready),
            Wait::Not => self.wait_set.wait(Some(0), ready),
            Wait::Round(length) if self.datagrams.are_few_and_open() => {
                self.wait_set.wait_round(length, ready)?;
                ready.extend(self.datagrams.tags().map(Ready::readable));
                Ok(())
            }
            Wait::Round(length) => {
                sys::sleep(length);
                self.wait_set.wait(Some(0), ready)
            }
        }
    }

    /// How long the next wait may last, in milliseconds rounded up.
    fn patience(&self) -> Option<u32> {
        let is_done = self.answers.is_empty()
            && self.asked.is_empty()
            && self.behind.is_empty()
            && self.room.is_empty();
        if !is_done {
            return Some(0);
        }
        let shard = self.door.shard.next_deadline().map(|(at, _)| at);
        let look = (self.peak.is_owing).then(|| self.peak.looked + GIVE_BACK_EVERY);
        let at = shard
            .into_iter()
            .chain(self.streams.next_deadline())
            .chain(self.door.port.next_reminder())
            .chain(look)
            .min()?;
        let left = at.since(self.door.clock.mono()).as_nanos();
        Some(u32::try_from(left.div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }

    fn socket_ready(&mut self, event: Ready, batch: &mut ReceiveBatch) {
        let id = SocketId((event.tag & u64::from(u16::MAX)) as u16);
        if event.writable {
            self.datagrams.unblock(id);
        }
        if event.readable {
            // An index is a datagram socket or a listener; the other one does not know it.
            self.drain(id, batch);
            self.streams.accept(id, self.door.now.mono);
        }
        self.settle();
    }

    /// Reads all that has come to a datagram socket, up to a bound.
    fn drain(&mut self, id: SocketId, batch: &mut ReceiveBatch) {
        let begun = self.door.now.mono;
        while self.take_batch(id, batch) {
            self.settle();
            self.door.now = self.door.clock.now();
            if self.door.now.mono.since(begun) > DRAIN_TIME_MAX {
                self.is_behind = true;
                return;
            }
        }
    }

    /// Reads and handles one batch of datagrams; whether there may be more. Where there is more to
    /// do, what wants to begin a call waits behind everything else; of one call nothing but a
    /// CANCEL could overtake the INVITE that begins it, so that one waits, too.
    fn take_batch(&mut self, id: SocketId, batch: &mut ReceiveBatch) -> bool {
        let now = self.door.now;
        let (count, is_behind) = self.datagrams.receive(id, batch, now.wall);
        let is_steered = self.datagrams.is_steered(id);
        let is_busy = is_behind || count > CALM_COUNT || !self.room.is_empty();
        let waits = |room: &Room, bytes: &[u8]| {
            scan::begins_call(bytes) || bytes.starts_with(b"CANCEL ") && room.awaits(bytes)
        };
        for i in 0..count {
            let (flow, bytes) = datagram(batch, id, i);
            if is_busy && waits(&self.room, bytes) {
                let verdict = self.room.enter(now.mono, (flow, is_steered), bytes);
                self.door.turn_away(verdict, flow, bytes);
            } else {
                self.door.take_datagram(is_steered, flow, bytes);
            }
        }
        is_behind
    }

    /// Nothing else is left to do: handles some of those that wait to begin a call.
    fn serve(&mut self) {
        for _ in 0..SERVE_COUNT {
            let Some((waiting, verdict)) = self.room.leave(self.door.now.mono) else {
                return;
            };
            let Waiting {
                flow,
                bytes,
                is_steered,
                ..
            } = waiting;
            match verdict {
                Verdict::Take => self.door.take_datagram(is_steered, flow, &bytes),
                Verdict::Refuse | Verdict::Drop => self.door.turn_away(verdict, flow, &bytes),
            }
        }
    }

    fn stream_ready(&mut self, event: Ready, scratch: &mut [u8]) {
        let key = Key::from_u64(event.tag);
        if event.writable {
            self.streams.writable(key, self.door.now.mono);
        }
        if event.readable {
            let door = &mut self.door;
            let now = door.now.mono;
            let take = |flow, brought: Brought<'_>| door.take(flow, brought);
            let has_more = self.streams.read(key, now, scratch, take);
            self.settle();
            if has_more {
                self.behind.push_back(key);
            }
        }
        self.settle();
    }

    /// Takes what streams have brought behind a request of HTTP, one of each in turn: each may lend
    /// its stream, and whoever sends thousands at once holds up neither calls nor other clients.
    fn catch_up(&mut self) {
        let now = self.door.now.mono;
        for _ in 0..self.behind.len().min(BEHIND_COUNT) {
            let Some(key) = self.behind.pop_front() else {
                return;
            };
            let door = &mut self.door;
            let take = |flow, brought: Brought<'_>| door.take(flow, brought);
            if self.streams.bring(key, now, take) {
                self.behind.push_back(key);
            }
            self.settle();
        }
    }

    /// Takes in what other cores and the control side have sent.
    fn take_items(&mut self, items: &mut Vec<Item>) {
        for item in items.drain(..) {
            self.take_item(item);
            self.perform();
        }
    }

    fn take_item(&mut self, item: Item) {
        let now = self.door.now.mono;
        match item {
            Item::Received { flow, bytes } => self.door.take_over(flow, &bytes),
            Item::Send(parcel) => self.streams.send(parcel.open(), now),
            Item::Failed(token, error) => self.answers.push_back(Answer::SendFailed(token, error)),
            Item::Close(conn) => self.streams.close(conn, now),
            Item::Closed(conn) => {
                self.streams.forget_aliases(conn);
                self.answers.push_back(Answer::FlowClosed(conn));
            }
            Item::Alias(conn, port) => self.streams.alias(conn, port),
            Item::AliasAt(conn, at) => self.streams.alias_at(conn, at),
            Item::Adopt { socket, stream } => self.streams.adopt(socket, stream, now),
            Item::GivenBack(conn, is_open) => {
                self.streams.give_back(conn, is_open, now);
                self.behind.push_back(Key::from_u64(conn.key));
            }
            Item::Found(token, found) => self.answers.push_back(Answer::Found(token, found)),
            Item::Executed(key, answer) => self.door.handle(Input::Executed(key, answer)),
            Item::Resolved(token, found) => self.answers.push_back(Answer::Resolved(token, found)),
            Item::Peer(from, message) => {
                self.door.counters.peer_received += 1;
                self.door.handle(Input::Peer(from, message));
            }
            Item::Reload(make) => self.door.handle(make()),
            Item::Report => self.report(),
            Item::Ask(asked) => self.asked.push_back(*asked),
            // Whoever asked may have gone away.
            Item::Figures(reply) => drop(reply.send(self.figures())),
            Item::Drain if self.phase == Phase::Running => {
                self.phase = Phase::Draining;
                self.door.handle(Input::Drain);
            }
            Item::Drain => {}
            Item::Stop => self.phase = Phase::Stopped,
        }
    }

    fn deadlines(&mut self) {
        self.streams.expire(self.door.now.mono);
        for _ in 0..DEADLINE_COUNT {
            match self.door.shard.next_deadline() {
                Some((at, _)) if at <= self.door.now.mono => {
                    self.door.counters.deadlines += 1;
                    self.door.handle(Input::Deadline);
                    self.perform();
                }
                Some(_) | None => break,
            }
        }
    }

    /// Performs all that has been asked for and puts it on the wire; what that leads to is
    /// handled too, up to a bound, and the rest in the next round.
    fn settle(&mut self) {
        self.perform();
        self.flush();
        for _ in 0..ROUND_SIZE {
            let Some(answer) = self.answers.pop_front() else {
                break;
            };
            self.door.handle(match answer {
                Answer::SendFailed(token, error) => Input::SendFailed(token, error),
                Answer::Resolved(token, found) => Input::Resolved(token, found),
                Answer::Found(token, found) => Input::Found(token, found),
                Answer::FlowClosed(conn) => Input::FlowClosed(conn),
                Answer::Executed(run) => Input::Executed(run, None),
                Answer::Routed(token, source) => Input::Routed(token, source),
            });
            self.perform();
            self.flush();
        }
    }

    fn flush(&mut self) {
        let answers = &mut self.answers;
        self.datagrams.flush(|token, error| {
            answers.push_back(Answer::SendFailed(token, error));
        });
        self.streams.flush(self.door.now.mono);
        self.spread();
        self.door.port.flush();
    }

    /// Asks the resolver; false: too many wait for it.
    fn ask(&mut self, token: Token, wanted: Wanted) -> bool {
        self.door.counters.resolves += 1;
        let is_asked = self
            .outside
            .resolver
            .ask(self.door.port.id(), token, wanted);
        self.door.counters.resolve_drops += u64::from(!is_asked);
        is_asked
    }

    fn perform(&mut self) {
        // Taken out while its effects are performed, because they need all of the core.
        let mut outbox = std::mem::take(&mut self.door.outbox);
        for effect in outbox.drain() {
            match effect {
                Effect::Send(send) => self.send(send),
                Effect::Close(conn) => self.streams.close(conn, self.door.now.mono),
                Effect::Resolve(token, query) => {
                    if !self.ask(token, Wanted::Hops(query)) {
                        let answer = Answer::Resolved(token, Err(ResolveError::TimedOut));
                        self.answers.push_back(answer);
                    }
                }
                Effect::Lookup(token, lookup) => {
                    if !self.ask(token, Wanted::Records(lookup)) {
                        let answer = Answer::Found(token, Err(ResolveError::TimedOut));
                        self.answers.push_back(answer);
                    }
                }
                // The kernel looks it up without asking anybody.
                Effect::Route(token, to) => {
                    let answer = Answer::Routed(token, sys::source_for(to).ok());
                    self.answers.push_back(answer);
                }
                Effect::Exec(run, command) => {
                    let order = Order {
                        core: self.door.port.id(),
                        run,
                        command,
                    };
                    if !self.outside.dispatcher.order(order) {
                        self.answers.push_back(Answer::Executed(run));
                    }
                }
                Effect::Alias(conn, port) => self.streams.alias(conn, port),
                Effect::HandOver(owner, flow, bytes) => self.door.hand_over(owner, flow, bytes),
                Effect::Peer(shard, message) => {
                    let (port, now) = (&mut self.door.port, self.door.now.mono);
                    let is_quiet = message.may_wait();
                    let item = Item::Peer(port.id(), message);
                    let posted = match is_quiet {
                        true => port.post_quietly(shard, item, now),
                        false => port.post(shard, item),
                    };
                    self.door.counters.mesh_drops += u64::from(posted.is_err());
                }
                Effect::Log(record) => self.outside.log.write(record),
                Effect::RpcReply(_, part) => self.part = Some(part),
                // Nobody listens when the process is ending.
                Effect::Reload => drop(self.outside.events.send(Event::Reload(None))),
                Effect::Command(command) => {
                    let lent = self.streams.lend(command);
                    if let Some(Err(lent)) = lent.map(|lent| self.outside.dispatcher.send(lent)) {
                        // Nobody is there to answer it any more.
                        self.streams
                            .give_back(lent.command.conn, false, self.door.now.mono);
                    }
                }
            }
        }
        self.door.outbox = outbox;
    }

    fn send(&mut self, send: Send) {
        match send.to.proto {
            Proto::Udp => {
                if let Err((Some(token), error)) = self.datagrams.send(send) {
                    self.answers.push_back(Answer::SendFailed(token, error));
                }
            }
            Proto::Tcp => {
                let core = self.door.port.id();
                let asker = send.token.map(|token| Asker { core, token });
                let outgoing = Outgoing::new(send.to, send.bytes, asker);
                self.streams.send(outgoing, self.door.now.mono);
            }
            Proto::Tls | Proto::Sctp | Proto::Ws | Proto::Wss => {
                if let Some(token) = send.token {
                    let answer = Answer::SendFailed(token, SendError::Refused);
                    self.answers.push_back(answer);
                }
            }
        }
    }

    /// Brings what the streams have to tell to whom it concerns.
    fn spread(&mut self) {
        let mut notices = std::mem::take(&mut self.streams.notices);
        for notice in notices.drain(..) {
            match notice {
                Notice::Post(core, item) => self.post(core, item),
                Notice::Failed(asker, error) => self.tell(asker, error),
                Notice::Closed(conn) => {
                    for core in (0..self.door.port.core_count()).map(ShardId) {
                        if core != self.door.port.id() {
                            self.post(core, Item::Closed(conn));
                        }
                    }
                    self.answers.push_back(Answer::FlowClosed(conn));
                }
            }
        }
        self.streams.notices = notices;
    }

    fn tell(&mut self, asker: Asker, error: SendError) {
        if asker.core == self.door.port.id() {
            let answer = Answer::SendFailed(asker.token, error);
            self.answers.push_back(answer);
        } else {
            self.post(asker.core, Item::Failed(asker.token, error));
        }
    }

    /// Sends to another core; when there is no room, whoever waits for a message is told.
    fn post(&mut self, core: ShardId, item: Item) {
        let Err(item) = self.door.port.post(core, item) else {
            return;
        };
        self.door.counters.mesh_drops += 1;
        if let Item::Send(parcel) = item
            && let Some(asker) = parcel.asker()
        {
            // To a core that has no room either it is lost; its own timers end the wait.
            if asker.core == self.door.port.id() {
                let answer = Answer::SendFailed(asker.token, SendError::QueueFull);
                self.answers.push_back(answer);
            } else {
                let told = Item::Failed(asker.token, SendError::QueueFull);
                let _ = self.door.port.post(asker.core, told);
            }
        }
    }

    fn report_idle(&mut self) {
        let is_idle = self.phase == Phase::Draining
            && self.door.shard.is_idle()
            && self.answers.is_empty()
            && self.room.is_empty()
            && self.datagrams.is_empty()
            && self.streams.is_empty();
        if is_idle {
            self.phase = Phase::Drained;
            // Nobody listens: then nobody waits for it.
            let _ = self.outside.events.send(Event::Idle(self.door.port.id()));
        }
    }

    /// Gives memory back that a peak left behind: of the shard's tables now and then, and of the
    /// buffers and the allocator once when nothing is left to do.
    fn give_back(&mut self, batch: &mut ReceiveBatch) {
        let now = self.door.now.mono;
        let (streams, datagrams) = (&self.streams.counters, &self.datagrams.counters);
        let received = streams.stream_received + streams.http_received + datagrams.udp_received;
        let counters = &self.door.counters;
        let work_count = received + counters.deadlines + counters.peer_received;
        self.peak.is_owing |= work_count != self.peak.work_count;
        if !self.peak.is_owing || now.since(self.peak.looked) < GIVE_BACK_EVERY {
            return;
        }
        self.door.shard.give_memory_back();
        if work_count == self.peak.work_count {
            batch.give_back();
            sys::give_memory_back();
            self.peak.is_owing = false;
        }
        (self.peak.looked, self.peak.work_count) = (now, work_count);
    }

    /// Lets the shard answer one question, and measures how long it worked on that.
    fn answer_one(&mut self) {
        let Some(Asked { question, reply }) = self.asked.pop_front() else {
            return;
        };
        if reply.is_closed() {
            return;
        }
        let (begin, busy) = (self.door.clock.mono(), sys::thread_time());
        self.door.handle(Input::Rpc(question));
        self.perform();
        self.flush();
        // What others do on this CPU meanwhile makes no slice too large.
        let time = sys::thread_time().since(busy);
        let mut value_count = 0;
        if let Some(part) = self.part.take() {
            value_count = part.values.as_ref().map_or(0, Vec::len) as u64;
            // Whoever asked may have gone away: then nobody asks for the next slice.
            let _ = reply.send((part, time));
        }
        let (time_us, wall) = (time.as_nanos() / 1_000, self.door.clock.mono().since(begin));
        let counters = &mut self.door.counters;
        counters.rpc_slices += 1;
        counters.rpc_slice_us_max = counters.rpc_slice_us_max.max(time_us);
        let wall_us = wall.as_nanos() / 1_000;
        counters.rpc_slice_wall_us_max = counters.rpc_slice_wall_us_max.max(wall_us);
        counters.rpc_slice_values_max = counters.rpc_slice_values_max.max(value_count);
        counters.rpc_slices_long += u64::from(time_us > 1_000);
    }

    /// What this core and its shard have counted, and how much they hold.
    fn figures(&self) -> Figures {
        let mut sum = self.door.counters.clone();
        sum.add(&self.datagrams.counters);
        sum.add(&self.streams.counters);
        let shard = &self.door.shard;
        let own = [
            ("held_questions", self.asked.len() as u64),
            ("held_answers", self.answers.len() as u64),
            ("calls_waiting", self.room.len() as u64),
            (
                "cpu_us",
                sys::thread_time().since(Instant::ZERO).as_nanos() / 1_000,
            ),
        ];
        shard
            .figures()
            .into_iter()
            .chain(own)
            .chain(sum.iter())
            .collect()
    }

    /// Writes the counters to the log.
    fn report(&self) {
        // An operator who asks is to see it at the default level.
        self.outside.log.say(Level::Warn, || {
            let figures = self.figures();
            let words: Vec<String> = figures
                .iter()
                .map(|(name, n)| format!("{name}={n}"))
                .collect();
            format!("counters: {}", words.join(" "))
        });
    }
}
