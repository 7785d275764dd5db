//! The load generator: both ends of many calls in one thread, open loop.
//!
//! Calls begin when their time has come, whatever has become of those before them: datagrams wait
//! for nobody, so no proxy can hold the plan up and hide that it is slow. The time of a message
//! through the proxy counts from the moment at which it is given to the kernel to that at which
//! the kernel has it for the other end. Both ends go by one clock, and nothing is subtracted: two
//! passes through the loopback are in it. How late this program was with what the plan times
//! (INVITE, BYE) is measured beside it.
//!
//! ```text
//!   write.rs    messages from prepared parts        call.rs     a cache line for each call
//!   read.rs     one pass over what has come         caller.rs   what the caller does
//!   check.rs    is it what the other end sent       callee.rs   what the callee does
//!   outcome.rs  counts and percentiles
//! ```
//!
//! Costs: about 6 us of CPU per call besides the kernel's, no allocation per message, 64 bytes
//! and a timer of 24 for each call that is held.

mod call;
mod callee;
mod caller;
mod check;
mod outcome;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::kernel::{self, Inbox, Outbox};

pub(crate) use call::{Mix, scatter};
pub(crate) use check::Wrong;
pub(crate) use outcome::{Counts, Latency, Outcome, Way};

use call::{Calls, Nanos, Phase, Sort};
use outcome::Watch;
use read::{Seen, Start, Stranger};
use write::{End, Writer};

/// Waits before a message is sent again: T1 and its doublings up to T2, and the end of patience
/// behind the last (RFC 3261 §17.1.1.2, §17.1.2.2, §13.3.1.4).
const REPEATS: [Nanos; 4] = [500_000_000, 1_000_000_000, 2_000_000_000, 4_000_000_000];
/// What the kernel may keep for us while we are busy.
const BUFFER_SIZE: usize = 64 << 20;
/// Datagrams that wait before they leave together.
const FLUSH_COUNT: usize = 16;
/// What is due is done in pieces of so many, so that reading has its turn.
const PIECE: usize = 32;
/// How long the caller of a call that is cancelled lets it ring.
const CANCEL_AFTER: Nanos = 200_000_000;

/// What is to be done.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    /// Calls per second.
    pub(crate) rate: f64,
    /// How many calls.
    pub(crate) calls: u64,
    /// From the 180 to the 200, seconds.
    pub(crate) ring_s: f64,
    /// From the ACK to the BYE, seconds.
    pub(crate) hold_s: f64,
    /// The time from ACK to BYE is that on the average, and differs from call to call.
    pub(crate) is_random: bool,
    /// After how many seconds the proxy ends a call that nobody ends.
    pub(crate) lost_s: f64,
    /// A caller has no use for an answer that comes later, seconds.
    pub(crate) patience_s: f64,
    /// No call begins later, seconds: where more is planned than this program can offer, it offers
    /// what it can for so long.
    pub(crate) within_s: f64,
    pub(crate) mix: Mix,
}

impl Plan {
    /// Calls that end when they are answered.
    pub(crate) fn of(rate: f64, calls: u64) -> Plan {
        Plan {
            rate,
            calls,
            ring_s: 0.0,
            hold_s: 0.0,
            is_random: false,
            lost_s: 0.0,
            patience_s: 10.0,
            within_s: f64::INFINITY,
            mix: Mix::default(),
        }
    }
}

fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}

/// Something that is to be done to a call at its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Task {
    /// The callee answers.
    Answer,
    /// The caller hangs up.
    HangUp,
    /// The caller gives up.
    Cancel,
    /// Whoever should have ended it has not.
    GiveUp,
}

/// A message of a call whose time through the proxy begins when the kernel gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    /// INVITE or BYE, which was due at a time.
    Request,
    Ack,
    /// The callee's.
    Answer,
}

/// A message that is sent again unless something has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Repeated {
    Invite,
    Bye,
    /// The callee's 200.
    Answer,
}

#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Nanos,
    number: u64,
    what: Repeated,
}

/// The two ends, before there is a proxy that must know where the callee is.
pub(crate) struct Sockets {
    caller: UdpSocket,
    callee: UdpSocket,
}

impl Sockets {
    /// Takes two ports of the system's.
    pub(crate) fn open() -> io::Result<Sockets> {
        let open = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            kernel::enlarge(&socket, BUFFER_SIZE)?;
            kernel::tell_arrival(&socket)?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Sockets {
            caller: open()?,
            callee: open()?,
        })
    }

    /// Where the callee is.
    pub(crate) fn callee(&self) -> io::Result<SocketAddr> {
        self.callee.local_addr()
    }

    /// Datagrams that the kernel has dropped here since the sockets were opened.
    fn drops(&self) -> u64 {
        let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
        let port = |socket: &UdpSocket| socket.local_addr().map_or(0, |a| a.port());
        let ports = [port(&self.caller), port(&self.callee)].map(|p| format!(":{p:04X}"));
        let of = |line: &str| -> Option<u64> {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            let is_own = ports.iter().any(|port| local.ends_with(port.as_str()));
            fields.last().filter(|_| is_own)?.parse().ok()
        };
        table.lines().filter_map(of).sum()
    }
}

/// One run.
pub(crate) struct Run {
    plan: Plan,
    writer: Writer,
    sockets: Sockets,
    outboxes: [Outbox; 2],
    /// What of each is to be marked with the time at which it leaves.
    leaving: [Vec<(u64, Leaving)>; 2],
    calls: Calls,
    started: u64,
    repeats: [VecDeque<Repeat>; REPEATS.len()],
    tasks: BinaryHeap<Reverse<(Nanos, u64, Task)>>,
    /// Answers of callees that may have to be sent again; the first one stands for none.
    kept: Vec<Vec<u8>>,
    kept_free: Vec<u32>,
    route: Vec<u8>,
    watch: Watch,
    begun: Instant,
    part_begun: Nanos,
}

/// A part of a run that is over, and how far the run is.
pub(crate) struct Progress<'a> {
    run: &'a mut Run,
    pub(crate) started: u64,
    pub(crate) over: u64,
    pub(crate) seconds: f64,
    /// Every call has begun.
    pub(crate) is_offered: bool,
}

impl Progress<'_> {
    /// No further call begins; the run ends when those that have are over.
    pub(crate) fn stop(&mut self) {
        self.run.plan.calls = self.run.plan.calls.min(self.run.started);
    }

    /// What was seen since this was asked for the last time.
    pub(crate) fn part(&mut self) -> Outcome {
        let now = self.run.now();
        let seconds = (now - self.run.part_begun) as f64 / 1e9;
        self.run.part_begun = now;
        self.run.watch.part(seconds)
    }
}

impl Run {
    /// Prepares a run against the proxy at this address. `name` makes its Call-IDs its own.
    pub(crate) fn new(
        plan: Plan,
        proxy: SocketAddr,
        sockets: Sockets,
        name: &str,
    ) -> io::Result<Run> {
        let (caller, callee) = (&sockets.caller, &sockets.callee);
        caller.connect(proxy)?;
        callee.connect(proxy)?;
        kernel::wake_in_time();
        Ok(Run {
            plan,
            writer: Writer::new(caller.local_addr()?, callee.local_addr()?, name),
            sockets,
            outboxes: Default::default(),
            leaving: Default::default(),
            calls: Calls::default(),
            started: 0,
            repeats: Default::default(),
            tasks: BinaryHeap::new(),
            kept: vec![Vec::new()],
            kept_free: Vec::new(),
            route: Vec::new(),
            watch: Watch::new(),
            begun: Instant::now(),
            part_begun: 0,
        })
    }

    /// Gives the sockets back, for the next run against the same proxy.
    pub(crate) fn into_sockets(self) -> Sockets {
        self.sockets
    }

    /// Runs until every call is over. `tell` hears of the progress, a few times a second.
    pub(crate) fn run(&mut self, mut tell: impl FnMut(Progress<'_>)) -> io::Result<Outcome> {
        const TELL_EVERY: Nanos = 200_000_000;
        let cpu = kernel::thread_cpu();
        let drops = self.sockets.drops();
        let mut inbox = Inbox::new();
        self.begun = Instant::now();
        let mut told = 0;
        loop {
            let now = self.now();
            if now as f64 / 1e9 > self.plan.within_s {
                self.plan.calls = self.plan.calls.min(self.started);
            }
            self.work(now)?;
            let (started, over) = self.watch.progress();
            if over >= self.plan.calls {
                break;
            }
            if now - told > TELL_EVERY {
                told = now;
                let (seconds, is_offered) = (now as f64 / 1e9, self.started >= self.plan.calls);
                tell(Progress {
                    is_offered,
                    run: self,
                    started,
                    over,
                    seconds,
                });
            }
            let sockets = [&self.sockets.caller, &self.sockets.callee];
            let ready = kernel::wait(sockets, self.until_next())?;
            for (end, _) in [End::Caller, End::Callee]
                .into_iter()
                .zip(ready)
                .filter(|r| r.1)
            {
                self.read(end, &mut inbox)?;
            }
        }
        let cpu = kernel::thread_cpu() - cpu;
        let seconds = self.now() as f64 / 1e9;
        let outcome = self.watch.whole(seconds);
        Ok(Outcome {
            own_us: cpu.as_secs_f64() * 1e6 / self.plan.calls.max(1) as f64,
            own_bytes: self.size() as u64,
            own_drops: self.sockets.drops().saturating_sub(drops),
            ..outcome
        })
    }

    fn size(&self) -> usize {
        let kept: usize = self.kept.iter().map(Vec::capacity).sum();
        let repeats: usize = self.repeats.iter().map(VecDeque::capacity).sum();
        self.calls.size() + kept + 24 * (repeats + self.tasks.capacity())
    }

    fn now(&self) -> Nanos {
        self.begun.elapsed().as_nanos() as Nanos
    }

    fn due(&self, call: u64) -> Nanos {
        nanos(call as f64 / self.plan.rate)
    }

    fn until_next(&self) -> Duration {
        const LONGEST: Nanos = 50_000_000;
        let start = (self.started < self.plan.calls).then(|| self.due(self.started));
        let task = self.tasks.peek().map(|Reverse((at, ..))| *at);
        let repeats = self.repeats.iter().filter_map(|q| q.front().map(|r| r.at));
        let next = start.into_iter().chain(task).chain(repeats).min();
        let now = self.now();
        let wait = next.map_or(LONGEST, |at| at.saturating_sub(now).min(LONGEST));
        Duration::from_nanos(wait)
    }

    /// Does a piece of what is due.
    fn work(&mut self, now: Nanos) -> io::Result<()> {
        for _ in 0..PIECE {
            if self.started >= self.plan.calls || self.due(self.started) > now {
                break;
            }
            self.begin_call(now, self.due(self.started))?;
        }
        for _ in 0..PIECE {
            let Some(Reverse((at, number, task))) = self.tasks.peek().copied() else {
                break;
            };
            if at > now {
                break;
            }
            self.tasks.pop();
            self.do_task(now, at, number, task)?;
        }
        for attempt in 0..REPEATS.len() {
            for _ in 0..PIECE {
                let Some(repeat) = self.repeats[attempt].front().copied() else {
                    break;
                };
                if repeat.at > now {
                    break;
                }
                self.repeats[attempt].pop_front();
                self.do_repeat(now, repeat, attempt)?;
            }
        }
        self.flush(End::Caller)?;
        self.flush(End::Callee)
    }

    fn do_task(&mut self, now: Nanos, due: Nanos, number: u64, task: Task) -> io::Result<()> {
        match task {
            Task::Answer => self.answer_now(now, number),
            Task::HangUp => self.hang_up(now, due, number),
            Task::Cancel => self.cancel(number),
            Task::GiveUp => {
                let is_open = |call: &mut call::Call| {
                    call.phase < Phase::Answered || call.sort == Sort::Abandoned
                };
                if self.calls.get(number).is_some_and(is_open) {
                    self.finish(number, |counts| counts.failed += 1);
                }
                Ok(())
            }
        }
    }

    /// Sends a message again that nobody has answered, or gives its call up.
    fn do_repeat(&mut self, now: Nanos, repeat: Repeat, attempt: usize) -> io::Result<()> {
        let Repeat { number, what, .. } = repeat;
        let Some(call) = self.calls.get(number) else {
            return Ok(());
        };
        let (is_open, is_silent) = match what {
            Repeated::Invite => (call.phase < Phase::Answered, call.phase == Phase::Invited),
            Repeated::Bye => (call.phase == Phase::Leaving, true),
            Repeated::Answer => (call.kept.is_some(), true),
        };
        if !is_open {
            return Ok(());
        }
        if attempt + 1 == REPEATS.len() {
            match what {
                Repeated::Answer => self.forget_answer(number),
                // It may ring as long as the plan says, and the answer be repeated as often.
                Repeated::Invite if self.plan.ring_s > 0.0 => {
                    let at = now + nanos(self.plan.ring_s) + REPEATS.iter().sum::<Nanos>();
                    self.tasks.push(Reverse((at, number, Task::GiveUp)));
                }
                Repeated::Invite | Repeated::Bye => self.finish(number, |c| c.failed += 1),
            }
            return Ok(());
        }
        let at = now + REPEATS[attempt + 1];
        self.repeats[attempt + 1].push_back(Repeat { at, ..repeat });
        if !is_silent {
            return Ok(());
        }
        self.watch.counts.repeated += 1;
        match what {
            Repeated::Invite => self.send_invite(number, true),
            Repeated::Bye => self.send_bye(number),
            Repeated::Answer => self.send_kept(number),
        }
    }

    fn repeat_later(&mut self, now: Nanos, number: u64, what: Repeated) {
        let at = now + REPEATS[0];
        self.repeats[0].push_back(Repeat { at, number, what });
    }

    /// A call is over, in the way that `count` counts.
    fn finish(&mut self, number: u64, count: impl FnOnce(&mut Counts)) {
        let now = self.now();
        self.forget_answer(number);
        if let Some(call) = self.calls.get(number)
            && call.phase != Phase::Over
        {
            call.phase = Phase::Over;
            let is_late = call.marks.has(call::Marks::LATE);
            let complete = self.watch.counts.complete;
            count(&mut self.watch.counts);
            self.watch.counts.late += u64::from(is_late && self.watch.counts.complete > complete);
            self.calls.rest(now, number);
        }
    }

    fn flush(&mut self, end: End) -> io::Result<()> {
        let now = self.now();
        for (number, what) in self.leaving[end as usize].drain(..) {
            if let Some(call) = self.calls.get(number) {
                match what {
                    Leaving::Request => {
                        self.watch.lateness.record(now - call.request_at.min(now));
                        call.request_at = now;
                    }
                    Leaving::Ack => call.ack_at = now,
                    Leaving::Answer => call.answer_at = now,
                }
            }
        }
        let outbox = &mut self.outboxes[end as usize];
        if outbox.len() > 0 {
            let socket = match end {
                End::Caller => &self.sockets.caller,
                End::Callee => &self.sockets.callee,
            };
            self.watch.counts.unsent += outbox.flush(socket)?;
        }
        Ok(())
    }

    /// Flushes if enough waits.
    fn queued(&mut self, end: End) -> io::Result<()> {
        match self.outboxes[end as usize].len() >= FLUSH_COUNT {
            true => self.flush(end),
            false => Ok(()),
        }
    }

    /// Reads what has come for one end: one batch.
    fn read(&mut self, end: End, inbox: &mut Inbox) -> io::Result<()> {
        let socket = match end {
            End::Caller => &self.sockets.caller,
            End::Callee => &self.sockets.callee,
        };
        let count = inbox.fill(socket)?;
        let (now, wall) = (self.now(), kernel::wall());
        for index in 0..count {
            let arrived = inbox.arrived(index).unwrap_or(wall);
            let waited = wall.saturating_sub(arrived).as_nanos() as Nanos;
            self.received(end, now.saturating_sub(waited), inbox.get(index))?;
        }
        self.flush(end)
    }

    fn received(&mut self, end: End, came: Nanos, text: &[u8]) -> io::Result<()> {
        let seen = match Seen::read(text, &self.writer.run) {
            Ok(seen) => seen,
            Err(Stranger::Other) => {
                self.watch.counts.strangers += 1;
                return Ok(());
            }
            Err(Stranger::Unreadable) => {
                self.watch.counts.wrong.count(Wrong::Unexpected);
                return Ok(());
            }
        };
        if self.calls.get(seen.number).is_none() {
            match self.calls.has_been(seen.number) {
                true => self.watch.counts.strangers += 1,
                false => self.watch.counts.wrong.count(Wrong::Unexpected),
            }
            return Ok(());
        }
        match (end, seen.start) {
            (End::Callee, Start::Request(_)) => self.at_callee(came, &seen),
            (End::Caller, Start::Response(status)) => self.at_caller(came, status, &seen),
            (End::Caller, Start::Request(_)) => self.asked(End::Caller, &seen),
            (End::Callee, Start::Response(_)) => {
                self.watch.counts.wrong.count(Wrong::Unexpected);
                Ok(())
            }
        }
    }

    fn judged(&mut self, verdict: Result<(), Wrong>) {
        if let Err(wrong) = verdict {
            self.watch.counts.wrong.count(wrong);
        }
    }
}
