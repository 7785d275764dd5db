//! The load generator: both ends of many calls in one thread, open loop.
//!
//! Calls begin when their time has come, whatever has become of those before them; a latency
//! counts from the moment at which the message was due, so a generator or proxy that falls behind
//! cannot hide it. Both ends read one clock: what is measured is the way of one message through
//! the proxy, and nothing else.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sip::{Ends, Kind, Method, Seen};

/// T1 and its doublings up to the end of patience (RFC 3261 §17.1.1.2).
const REPEATS_MS: [u64; 4] = [500, 1_000, 2_000, 4_000];
/// What the kernel may keep for us while we are busy.
const BUFFER_SIZE: usize = 8 << 20;
/// How many datagrams are read before anything else has its turn.
const BURST: usize = 256;

/// What is to be done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// Calls per second.
    pub(crate) rate: f64,
    /// How many calls.
    pub(crate) calls: u64,
    /// From the ACK to the BYE, seconds.
    pub(crate) hold_s: f64,
}

/// What was seen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Calls that began.
    pub(crate) started: u64,
    /// Calls that went from INVITE to the 200 of the BYE.
    pub(crate) complete: u64,
    /// Calls that got an answer of 300 and more, by the first status that was met.
    pub(crate) refused: u64,
    /// Calls that came to no end.
    pub(crate) failed: u64,
    /// Messages sent again.
    pub(crate) repeated: u64,
    /// Messages of a call that came before one that was sent earlier.
    pub(crate) reordered: u64,
    /// Messages whose tags, Vias or CSeq are not those of their call.
    pub(crate) wrong: u64,
    /// Seconds from the first INVITE to the last answer.
    pub(crate) seconds: f64,
    /// The way of one message through the proxy.
    pub(crate) latency: Latency,
}

/// Microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Latency {
    /// Half of all are below.
    pub(crate) p50: u64,
    /// Nine of ten.
    pub(crate) p90: u64,
    /// And so on.
    pub(crate) p99: u64,
    /// And so on.
    pub(crate) p999: u64,
    /// And so on.
    pub(crate) p9999: u64,
    /// The worst.
    pub(crate) max: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |q| histogram.value_at_quantile(q);
        Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Invited,
    Ringing,
    Answered,
    Over,
    Done,
    Failed,
}

/// One call. Times are those of the last message of each direction.
#[derive(Debug)]
struct Call {
    phase: Phase,
    /// The callee has seen the ACK.
    is_acked: bool,
    /// When the caller's last request was due.
    down: Instant,
    /// When the callee's last answer left.
    up: Instant,
    routes: Box<str>,
}

/// A message that is sent again when it is not answered.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Instant,
    call: u64,
    method: Method,
}

/// One run.
pub(crate) struct Run {
    plan: Plan,
    proxy: SocketAddr,
    ends: Ends,
    caller: UdpSocket,
    callee: UdpSocket,
    poll: Poll,
    calls: Vec<Call>,
    repeats: [VecDeque<Repeat>; REPEATS_MS.len()],
    byes: VecDeque<(Instant, u64)>,
    histogram: Histogram<u64>,
    seen: Outcome,
    over: u64,
    begun: Instant,
}

const CALLER: Token = Token(0);
const CALLEE: Token = Token(1);

fn open() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(BUFFER_SIZE)?;
    socket.set_send_buffer_size(BUFFER_SIZE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// The two ends, before there is a proxy that must know where the callee is.
pub(crate) struct Sockets {
    caller: UdpSocket,
    callee: UdpSocket,
}

impl Sockets {
    /// Takes two ports of the system's.
    pub(crate) fn open() -> io::Result<Sockets> {
        Ok(Sockets {
            caller: open()?,
            callee: open()?,
        })
    }

    /// Where the callee is.
    pub(crate) fn callee(&self) -> io::Result<SocketAddr> {
        self.callee.local_addr()
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
        let Sockets {
            mut caller,
            mut callee,
        } = sockets;
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut caller, CALLER, Interest::READABLE)?;
        registry.register(&mut callee, CALLEE, Interest::READABLE)?;
        let ends = Ends {
            caller: caller.local_addr()?.to_string(),
            callee: callee.local_addr()?.to_string(),
            run: name.to_owned(),
        };
        let capacity = usize::try_from(plan.calls).unwrap_or(0);
        Ok(Run {
            plan,
            proxy,
            ends,
            caller,
            callee,
            poll,
            calls: Vec::with_capacity(capacity),
            repeats: Default::default(),
            byes: VecDeque::new(),
            histogram: Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that fit"),
            seen: Outcome {
                started: 0,
                complete: 0,
                refused: 0,
                failed: 0,
                repeated: 0,
                reordered: 0,
                wrong: 0,
                seconds: 0.0,
                latency: Latency::default(),
            },
            over: 0,
            begun: Instant::now(),
        })
    }

    /// Gives the sockets back, for the next run against the same proxy.
    pub(crate) fn into_sockets(self) -> io::Result<Sockets> {
        let Run {
            mut caller,
            mut callee,
            poll,
            ..
        } = self;
        poll.registry().deregister(&mut caller)?;
        poll.registry().deregister(&mut callee)?;
        Ok(Sockets { caller, callee })
    }

    /// Runs until every call is over. `tell` hears of the progress: calls over, calls in all.
    pub(crate) fn run(&mut self, mut tell: impl FnMut(u64, u64)) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(16);
        self.begun = Instant::now();
        let mut told = self.begun;
        while self.over < self.plan.calls {
            let now = Instant::now();
            if now > self.patience_ends() {
                // An answer was lost that only the callee could send again, and it does not.
                (0..self.seen.started).for_each(|call| self.finish(call, Phase::Failed));
                break;
            }
            self.begin_calls(now);
            self.end_calls(now);
            self.repeat(now);
            if now.duration_since(told) > Duration::from_millis(200) {
                told = now;
                tell(self.over, self.plan.calls);
            }
            let has_read = self.read(CALLER)? | self.read(CALLEE)?;
            if !has_read {
                let wait = self.until_next(Instant::now());
                match self.poll.poll(&mut events, Some(wait)) {
                    Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        self.seen.seconds = self.begun.elapsed().as_secs_f64();
        self.seen.latency = Latency::of(&self.histogram);
        Ok(self.seen.clone())
    }

    fn due(&self, call: u64) -> Instant {
        self.begun + Duration::from_secs_f64(call as f64 / self.plan.rate)
    }

    /// When whatever is not over has failed.
    fn patience_ends(&self) -> Instant {
        let all: u64 = REPEATS_MS.iter().sum();
        let hold = Duration::from_secs_f64(self.plan.hold_s);
        self.due(self.plan.calls) + hold + 2 * Duration::from_millis(all)
    }

    fn until_next(&self, now: Instant) -> Duration {
        let start = (self.seen.started < self.plan.calls).then(|| self.due(self.seen.started));
        let bye = self.byes.front().map(|(at, _)| *at);
        let repeats = self.repeats.iter().filter_map(|q| q.front().map(|r| r.at));
        let next = start.into_iter().chain(bye).chain(repeats).min();
        let longest = Duration::from_millis(50);
        next.map_or(longest, |at| at.saturating_duration_since(now).min(longest))
    }

    fn begin_calls(&mut self, now: Instant) {
        while self.seen.started < self.plan.calls && self.due(self.seen.started) <= now {
            let call = self.seen.started;
            let due = self.due(call);
            self.seen.started += 1;
            self.calls.push(Call {
                phase: Phase::Invited,
                is_acked: false,
                down: due,
                up: due,
                routes: "".into(),
            });
            self.send_request(call, Method::Invite, 0);
        }
    }

    fn end_calls(&mut self, now: Instant) {
        while let Some((at, call)) = self.byes.front().copied().filter(|(at, _)| *at <= now) {
            self.byes.pop_front();
            if let Some(c) = self.calls.get_mut(call as usize) {
                (c.phase, c.down) = (Phase::Over, at);
            }
            self.send_request(call, Method::Bye, 0);
        }
    }

    /// Sends a request of the caller's for the first time, or the `attempt`-th again.
    fn send_request(&mut self, call: u64, method: Method, attempt: usize) {
        let Some(c) = self.calls.get(call as usize) else {
            return;
        };
        let text = self.ends.request(method, call, &c.routes);
        // What the kernel does not take is lost, and sent again like what the network loses.
        let _ = self.caller.send_to(&text, self.proxy);
        self.seen.repeated += u64::from(attempt > 0);
        if method != Method::Ack && attempt < REPEATS_MS.len() {
            let at = Instant::now() + Duration::from_millis(REPEATS_MS[attempt]);
            self.repeats[attempt].push_back(Repeat { at, call, method });
        }
    }

    fn repeat(&mut self, now: Instant) {
        for attempt in 0..REPEATS_MS.len() {
            while let Some(repeat) = self.repeats[attempt].front().copied() {
                if repeat.at > now {
                    break;
                }
                self.repeats[attempt].pop_front();
                let Some(c) = self.calls.get(repeat.call as usize) else {
                    continue;
                };
                let is_waiting = match repeat.method {
                    Method::Invite => c.phase == Phase::Invited,
                    Method::Bye => c.phase == Phase::Over,
                    Method::Ack => false,
                };
                if !is_waiting {
                    continue;
                }
                if attempt + 1 < REPEATS_MS.len() {
                    self.send_request(repeat.call, repeat.method, attempt + 1);
                } else {
                    self.finish(repeat.call, Phase::Failed);
                }
            }
        }
    }

    fn finish(&mut self, call: u64, phase: Phase) {
        let Some(c) = self.calls.get_mut(call as usize) else {
            return;
        };
        if matches!(c.phase, Phase::Done | Phase::Failed) {
            return;
        }
        c.phase = phase;
        self.over += 1;
        if phase == Phase::Done {
            self.seen.complete += 1;
        } else {
            self.seen.failed += 1;
        }
    }

    /// Reads what has come for one end. False: nothing.
    fn read(&mut self, end: Token) -> io::Result<bool> {
        let mut buffer = [0; 65_535];
        for n in 0..BURST {
            let socket = if end == CALLER {
                &self.caller
            } else {
                &self.callee
            };
            match socket.recv_from(&mut buffer) {
                Ok((length, _)) => self.received(end, &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(n > 0),
                // An answer of the kernel's to a datagram that found nobody.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn received(&mut self, end: Token, text: &[u8]) {
        let Some(seen) = Seen::read(text) else {
            return;
        };
        if seen.call >= self.seen.started {
            self.seen.wrong += 1;
            return;
        }
        match (end, seen.kind) {
            (CALLEE, Kind::Request(method)) => self.at_callee(method, &seen),
            (CALLER, Kind::Response(status, method)) => self.at_caller(status, method, &seen),
            _ => self.seen.wrong += 1,
        }
    }

    fn measured(&mut self, since: Instant) {
        let micros = Instant::now().saturating_duration_since(since).as_micros();
        self.histogram
            .saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
    }

    fn at_callee(&mut self, method: Method, seen: &Seen<'_>) {
        let down = self.calls[seen.call as usize].down;
        self.measured(down);
        self.seen.wrong += u64::from(seen.via_count() != 2);
        match method {
            Method::Invite => {
                self.answer(seen, 180, false);
                self.answer(seen, 200, true);
            }
            Method::Ack => self.calls[seen.call as usize].is_acked = true,
            Method::Bye => {
                self.seen.reordered += u64::from(!self.calls[seen.call as usize].is_acked);
                self.answer(seen, 200, false);
            }
        }
    }

    fn answer(&mut self, request: &Seen<'_>, status: u16, with_body: bool) {
        let text = self.ends.answer(request, status, with_body);
        self.calls[request.call as usize].up = Instant::now();
        let _ = self.callee.send_to(&text, self.proxy);
    }

    fn at_caller(&mut self, status: u16, method: Method, seen: &Seen<'_>) {
        let call = seen.call;
        if status == 100 {
            let c = &mut self.calls[call as usize];
            if c.phase == Phase::Invited {
                c.phase = Phase::Ringing;
            }
            return;
        }
        if status >= 300 {
            self.seen.refused += 1;
            return self.finish(call, Phase::Failed);
        }
        let c = &self.calls[call as usize];
        let (phase, up) = (c.phase, c.up);
        self.measured(up);
        let is_right = seen.via_count() == 1 && seen.has_tags();
        self.seen.wrong += u64::from(!is_right);
        match (method, status) {
            (Method::Invite, 180) => {
                self.seen.reordered += u64::from(phase > Phase::Ringing);
                if phase < Phase::Ringing {
                    self.calls[call as usize].phase = Phase::Ringing;
                }
            }
            (Method::Invite, _) => self.answered(call, phase, seen),
            (Method::Bye, _) => self.finish(call, Phase::Done),
            (Method::Ack, _) => self.seen.wrong += 1,
        }
    }

    /// A 200 to the INVITE: acknowledged each time it comes, and the BYE gets its time.
    fn answered(&mut self, call: u64, phase: Phase, seen: &Seen<'_>) {
        let now = Instant::now();
        let is_first = phase < Phase::Answered;
        if is_first {
            let c = &mut self.calls[call as usize];
            c.phase = Phase::Answered;
            c.routes = seen.routes().into();
            c.down = now;
            let hold = Duration::from_secs_f64(self.plan.hold_s);
            self.byes.push_back((now + hold, call));
        }
        self.send_request(call, Method::Ack, 0);
    }
}
