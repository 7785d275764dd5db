//! Overload: which new calls a core takes when more is offered than it can do.
//!
//! Calls that have begun go first: responses, and requests with a To tag, are handled as soon as
//! they are read, and a core that is behind reads all that has come before it looks at anything
//! else. INVITEs of new calls wait meanwhile in a room, which the core serves when nothing else is
//! left to do; so they get what the calls that are up leave of the CPU, and no rate has to be
//! guessed.
//!
//! ```text
//!   responses, requests of calls ─────────────────────────────▶ handled at once
//!   INVITEs of new calls ──▶ room ── nothing else to do ──────▶ handled
//!                   │           └─── waited WAIT_TIME_MAX ─┐
//!                   └─ no place, more than its share, or ──┴──▶ 503, above a rate: dropped
//!                      the first has waited DELAY_MAX
//! ```
//!
//! While the core keeps up the room is empty, and nobody waits. A source gets no more places than
//! its share among those that wait, a quarter stays free for others, and the first few of each
//! source come before the rest: so one that floods neither locks out nor delays the others.
//! Refusals are sent at a bounded rate, beyond which INVITEs are dropped: their
//! senders repeat them later, and a flood does not become a flood of answers. Costs: 1 to 2 us for
//! an INVITE that is dropped, what the kernel does to hand it over included (`perf overload`: the
//! goodput that 150,000 more of them in a second take away).

use std::collections::VecDeque;
use std::net::IpAddr;

use ahash::RandomState;

use crate::effect::Flow;
use crate::limits::{
    REFUSAL_BURST_COUNT, REFUSAL_RATE_MAX, WAITING_COUNT_MAX, WAITING_FIRST_COUNT,
};
use crate::sip::scan;
use crate::steer;
use crate::time::{Duration, Instant};

/// Nobody comes in behind one that has waited so long. Whatever a script takes for a call, what is
/// served has waited about as long, and is of use to its sender.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// What waits longer is refused: half of T1, after which its sender repeats it (RFC 3261
/// §17.1.1.2).
const WAIT_TIME_MAX: Duration = Duration::from_millis(250);

/// A CANCEL waits behind the INVITE of its call while that waits, so that it does not overtake it.
/// There is room for as many above the INVITEs; nobody needs more.
const CANCEL_COUNT_MAX: usize = WAITING_COUNT_MAX;

/// Sources are counted in so many slots; those that share one share its places.
const SLOT_COUNT: usize = 1_024;

/// Tokens are counted in thousandths.
const TOKEN: u64 = 1_000;

/// What becomes of a message that wants to begin a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It waits, or its time has come.
    Take,
    /// It is answered with 503.
    Refuse,
    /// It is forgotten.
    Drop,
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) flow: Flow,
    pub(crate) bytes: Box<[u8]>,
    /// The kernel has steered it.
    pub(crate) is_steered: bool,
    since: Instant,
    /// The hash of its Call-ID.
    call: u32,
    is_cancel: bool,
}

/// The room in which new calls of one core wait.
#[derive(Debug)]
pub(crate) struct Room {
    /// The first few of each source.
    first: VecDeque<Waiting>,
    /// What comes behind them.
    rest: VecDeque<Waiting>,
    cancel_count: usize,
    /// Places that each source has taken, and how many sources have any.
    counts: Box<[u16; SLOT_COUNT]>,
    source_count: usize,
    /// Refusals that may be sent, in thousandths, and when they were counted.
    tokens: u64,
    filled: Instant,
    hasher: RandomState,
}

impl Room {
    /// Empty. The hasher is keyed, because peers choose their addresses.
    pub(crate) fn new(now: Instant, hasher: RandomState) -> Room {
        Room {
            first: VecDeque::new(),
            rest: VecDeque::new(),
            cancel_count: 0,
            counts: Box::new([0; SLOT_COUNT]),
            source_count: 0,
            tokens: REFUSAL_BURST_COUNT * TOKEN,
            filled: now,
            hasher,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Whether the INVITE waits that this CANCEL is about.
    pub(crate) fn awaits(&self, cancel: &[u8]) -> bool {
        let call = hash(cancel);
        self.first.iter().chain(&self.rest).any(|w| w.call == call)
    }

    /// An INVITE that begins a call wants to wait, or a CANCEL behind it. What may not is not kept.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        (flow, is_steered): (Flow, bool),
        bytes: &[u8],
    ) -> Verdict {
        let is_cancel = bytes.starts_with(b"CANCEL ");
        let (queue, call) = if is_cancel {
            if self.cancel_count >= CANCEL_COUNT_MAX {
                return Verdict::Drop;
            }
            self.cancel_count += 1;
            let call = hash(bytes);
            match self.first.iter().any(|w| w.call == call) {
                true => (&mut self.first, call),
                false => (&mut self.rest, call),
            }
        } else {
            // Most are turned away when it matters what that costs: nothing more is read of them.
            match self.take_place(now, flow.remote.ip()) {
                Some(queue) => (queue, hash(bytes)),
                None => return self.turn_away(now),
            }
        };
        queue.push_back(Waiting {
            flow,
            bytes: bytes.into(),
            is_steered,
            since: now,
            call,
            is_cancel,
        });
        Verdict::Take
    }

    /// There is time for one: which, and whether it has not waited too long.
    pub(crate) fn leave(&mut self, now: Instant) -> Option<(Waiting, Verdict)> {
        let waiting = self.first.pop_front().or_else(|| self.rest.pop_front())?;
        if waiting.is_cancel {
            self.cancel_count -= 1;
            return Some((waiting, Verdict::Take));
        }
        let slot = self.slot(waiting.flow.remote.ip());
        self.counts[slot] -= 1;
        self.source_count -= usize::from(self.counts[slot] == 0);
        let verdict = match now.since(waiting.since) > WAIT_TIME_MAX {
            true => self.turn_away(now),
            false => Verdict::Take,
        };
        Some((waiting, verdict))
    }

    /// Three quarters of the places are shared by the sources that wait; the last one is for
    /// sources that have none of these. Where this one may wait.
    fn take_place(&mut self, now: Instant, source: IpAddr) -> Option<&mut VecDeque<Waiting>> {
        let slot = self.slot(source);
        let count = usize::from(self.counts[slot]);
        let source_count = self.source_count + usize::from(count == 0);
        let share = (WAITING_COUNT_MAX * 3 / 4 / source_count).max(1);
        let is_free = self.len() - self.cancel_count < WAITING_COUNT_MAX;
        let queue = match count {
            ..WAITING_FIRST_COUNT => &mut self.first,
            _ => &mut self.rest,
        };
        let is_late = |first: &Waiting| now.since(first.since) > DELAY_MAX;
        if !is_free || count >= share || queue.front().is_some_and(is_late) {
            return None;
        }
        self.counts[slot] += 1;
        self.source_count = source_count;
        Some(queue)
    }

    fn slot(&self, source: IpAddr) -> usize {
        self.hasher.hash_one(source) as usize % SLOT_COUNT
    }

    fn turn_away(&mut self, now: Instant) -> Verdict {
        let nanos = now.since(self.filled).as_nanos();
        let new = nanos.saturating_mul(REFUSAL_RATE_MAX) / (1_000_000_000 / TOKEN);
        if new > 0 {
            let full = REFUSAL_BURST_COUNT * TOKEN;
            self.tokens = self.tokens.saturating_add(new).min(full);
            self.filled = now;
        }
        if self.tokens < TOKEN {
            return Verdict::Drop;
        }
        self.tokens -= TOKEN;
        Verdict::Refuse
    }
}

fn hash(bytes: &[u8]) -> u32 {
    steer::hash(scan::call_id(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Proto, SocketId};

    const INVITE: &[u8] = b"INVITE sip:b@h SIP/2.0\r\n";
    const CANCEL: &[u8] = b"CANCEL sip:b@h SIP/2.0\r\n";

    fn room() -> Room {
        Room::new(Instant::ZERO, RandomState::with_seeds(1, 2, 3, 4))
    }

    fn from(n: u8) -> (Flow, bool) {
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote: ([192, 0, 2, n], 5060).into(),
            conn: None,
        };
        (flow, true)
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// A core that has time for `capacity` new calls in a second, to which the sources offer so
    /// many each: what each of them got in the last second, and how many refusals were sent in it.
    fn run(capacity: u64, offered: &[u64], seconds: u64) -> (Vec<u64>, u64) {
        let mut room = room();
        let (mut got, mut refusals) = (vec![0; offered.len()], 0);
        for ms in 0..seconds * 1_000 {
            let is_last = ms >= (seconds - 1) * 1_000;
            for (n, rate) in offered.iter().enumerate() {
                let due = |ms: u64| rate * ms / 1_000;
                for _ in due(ms)..due(ms + 1) {
                    let verdict = room.enter(at(ms), from(n as u8), INVITE);
                    refusals += u64::from(is_last && verdict == Verdict::Refuse);
                }
            }
            for _ in capacity * ms / 1_000..capacity * (ms + 1) / 1_000 {
                let Some((waiting, verdict)) = room.leave(at(ms)) else {
                    break;
                };
                let source = waiting.flow.remote.ip();
                let n = (0..offered.len()).find(|n| from(*n as u8).0.remote.ip() == source);
                got[n.expect("a source")] += u64::from(is_last && verdict == Verdict::Take);
            }
        }
        (got, refusals)
    }

    #[test]
    fn a_core_that_keeps_up_takes_all() {
        assert_eq!(run(1_000, &[900], 5), (vec![900], 0));
    }

    #[test]
    fn far_above_what_it_can_do_it_does_that() {
        for factor in [2, 10, 100] {
            let (got, refusals) = run(1_000, &[1_000 * factor], 5);
            assert_eq!(got, [1_000], "{factor}");
            let most = REFUSAL_RATE_MAX + REFUSAL_BURST_COUNT;
            assert!((1..=most).contains(&refusals), "{factor}: {refusals}");
        }
    }

    #[test]
    fn a_flood_does_not_lock_out_the_others() {
        let (got, _) = run(1_000, &[20_000, 50, 50, 50], 20);
        assert!(got[1..].iter().all(|n| *n >= 48), "{got:?}");
        assert!(got[0] >= 800, "{got:?}");
    }

    #[test]
    fn what_has_waited_too_long_is_refused_and_its_place_is_free() {
        let mut room = room();
        for _ in 0..10 {
            assert_eq!(room.enter(at(0), from(1), INVITE), Verdict::Take);
        }
        for _ in 0..10 {
            let (_, verdict) = room.leave(at(300)).expect("one that waits");
            assert_eq!(verdict, Verdict::Refuse);
        }
        assert!(room.is_empty() && room.source_count == 0);
        assert_eq!(room.enter(at(300), from(1), INVITE), Verdict::Take);
        assert_eq!(room.leave(at(301)).map(|(_, v)| v), Some(Verdict::Take));
    }

    /// A call that rings already is cancelled at once, however many new ones wait.
    #[test]
    fn a_cancel_waits_only_for_its_own_invite() {
        let of = |method: &str, call: u32| {
            format!("{method} sip:b@h SIP/2.0\r\nCall-ID: {call}\r\n\r\n").into_bytes()
        };
        let mut room = room();
        for call in 0..40 {
            let invite = of("INVITE", call);
            assert_eq!(room.enter(at(0), from(1), &invite), Verdict::Take);
        }
        assert!(!room.awaits(&of("CANCEL", 40)));
        for call in [2, 30] {
            let cancel = of("CANCEL", call);
            assert!(room.awaits(&cancel));
            assert_eq!(room.enter(at(1), from(1), &cancel), Verdict::Take);
        }
        let left = std::iter::from_fn(|| room.leave(at(2)).map(|(waiting, _)| waiting.bytes));
        let left: Vec<Box<[u8]>> = left.collect();
        for call in [2, 30] {
            let place = |text: Vec<u8>| left.iter().position(|bytes| **bytes == text[..]);
            assert!(
                place(of("INVITE", call)) < place(of("CANCEL", call)),
                "{call}"
            );
        }
        assert!(room.is_empty());
    }

    #[test]
    fn a_cancel_is_never_refused_and_there_are_not_too_many() {
        let mut room = room();
        while room.enter(at(0), from(1), INVITE) == Verdict::Take {}
        assert_eq!(room.len(), WAITING_COUNT_MAX * 3 / 4);
        assert_eq!(room.enter(at(0), from(1), CANCEL), Verdict::Take);
        while let Some((waiting, verdict)) = room.leave(at(400)) {
            let is_cancel = *waiting.bytes == *CANCEL;
            assert_eq!(verdict == Verdict::Take, is_cancel, "{verdict:?}");
        }
        for n in 0..CANCEL_COUNT_MAX + 1 {
            let verdict = room.enter(at(500), from(1), CANCEL);
            assert_eq!(verdict == Verdict::Take, n < CANCEL_COUNT_MAX, "{n}");
        }
    }
}
