//! Overload: which new calls a core takes when more is offered than it can do.
//!
//! A call that has begun goes on: responses, and requests with a To tag, are always taken. What is
//! refused is the INVITE of a new call, and before anything is read of it but its first fields.
//!
//! ```text
//!                  delay of the receive queue above DELAY_TARGET for a whole window
//!      open ───────────────────────────────────────────────────────────────▶ limited
//!        ◀──────── nothing refused for CALM_WINDOW_COUNT windows ─────────────  │
//!                                         each window: still late  limit * 7/8 ─┤
//!                                                      not late    limit * 17/16┘
//! ```
//!
//! The limit begins at what was taken in the window that was too much, and feels its way to what
//! the core can do (additive steps would take minutes where a thousand calls begin in a second).
//! Tokens of the limit come evenly; the last half of the bucket is for sources that have had less
//! than their share of the window, so that one that floods cannot lock out the others. Refusals
//! are sent at a bounded rate, beyond which INVITEs are dropped: their senders repeat them later,
//! and a flood does not become a flood of answers.

use std::net::IpAddr;

use ahash::RandomState;

use crate::limits::{REFUSAL_BURST_COUNT, REFUSAL_RATE_MAX};
use crate::time::{Duration, Instant};

/// What the receive queue may make a datagram wait. T1, after which senders repeat, is 500 ms.
const DELAY_TARGET: Duration = Duration::from_millis(20);

/// What it counts as when the kernel has dropped something: the queue was too short to be late.
const DELAY_LOST: Duration = Duration::from_millis(40);

/// How long one look takes. Shorter than T1, longer than what a busy host takes a CPU away for.
const WINDOW: Duration = Duration::from_millis(100);

/// So many windows without a refusal end the limit.
const CALM_WINDOW_COUNT: u32 = 20;

/// The least that is taken, in calls per second.
const LIMIT_MIN: u64 = 50;

/// Sources are counted in so many slots; those that share one share its fate for a window.
const SLOT_COUNT: usize = 1_024;

/// Tokens are counted in thousandths.
const TOKEN: u64 = 1_000;

/// What becomes of the INVITE of a new call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is handled.
    Take,
    /// It is answered with 503.
    Refuse,
    /// It is forgotten.
    Drop,
}

/// A bucket of tokens.
#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled: Instant,
}

impl Bucket {
    /// Adds what has come since at this rate per second, up to `burst` tokens.
    fn fill(&mut self, now: Instant, rate: u64, burst: u64) {
        let nanos = now.since(self.filled).as_nanos();
        let new = nanos.saturating_mul(rate) / (1_000_000_000 / TOKEN);
        if new > 0 {
            self.tokens = self.tokens.saturating_add(new).min(burst * TOKEN);
            self.filled = now;
        }
    }

    fn take(&mut self, left_over: u64) -> bool {
        let has = self.tokens >= TOKEN + left_over;
        if has {
            self.tokens -= TOKEN;
        }
        has
    }
}

/// What one core knows of its load.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Calls per second that are taken; `None`: all.
    limit: Option<u64>,
    calls: Bucket,
    refusals: Bucket,
    /// When the window began.
    window: Instant,
    /// The smallest delay seen in it; `None`: the queue was not looked at.
    least_delay: Option<Duration>,
    /// INVITEs that the shard had handled when the window began.
    handled: u64,
    refused: u64,
    calm_windows: u32,
    /// What each source has had in the window.
    counts: Box<[u16; SLOT_COUNT]>,
    /// Sources in this window and in the one before.
    sources: (u64, u64),
    hasher: RandomState,
}

impl Admission {
    /// Of a core without load. The hasher is keyed, because peers choose their addresses.
    pub(crate) fn new(now: Instant, hasher: RandomState) -> Admission {
        let bucket = || Bucket {
            tokens: 0,
            filled: now,
        };
        Admission {
            limit: None,
            calls: bucket(),
            refusals: bucket(),
            window: now,
            least_delay: None,
            handled: 0,
            refused: 0,
            calm_windows: 0,
            counts: Box::new([0; SLOT_COUNT]),
            sources: (0, 0),
            hasher,
        }
    }

    /// Whether new calls have to be told from the rest.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Calls per second that are taken; 0: all.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.unwrap_or(0)
    }

    /// The queue was looked at: how long what came first has waited there; `has_lost` says that
    /// the kernel had to drop something, `handled` how many INVITEs the shard has handled so far.
    pub(crate) fn looked(&mut self, now: Instant, delay: Duration, has_lost: bool, handled: u64) {
        let delay = if has_lost {
            delay.max(DELAY_LOST)
        } else {
            delay
        };
        self.least_delay = Some(self.least_delay.map_or(delay, |least| least.min(delay)));
        if now.since(self.window) >= WINDOW {
            self.turn(now, handled);
        }
    }

    /// A window is over.
    fn turn(&mut self, now: Instant, handled: u64) {
        let is_late = self.least_delay.take().is_some_and(|d| d > DELAY_TARGET);
        let millis = now.since(self.window).as_millis().max(1);
        self.calm_windows = match self.refused {
            0 => self.calm_windows + 1,
            _ => 0,
        };
        self.limit = match self.limit {
            None if is_late => {
                (self.calls.tokens, self.calls.filled) = (0, now);
                Some(handled.saturating_sub(self.handled) * 1_000 / millis)
            }
            None => None,
            Some(limit) if is_late => Some(limit * 7 / 8),
            Some(_) if self.calm_windows >= CALM_WINDOW_COUNT => None,
            Some(limit) => Some(limit * 17 / 16 + 1),
        };
        self.limit = self.limit.map(|limit| limit.max(LIMIT_MIN));
        if self.limit.is_some() {
            self.counts.fill(0);
        }
        (self.window, self.handled, self.refused) = (now, handled, 0);
        self.sources = (0, self.sources.0);
    }

    /// Judges the INVITE of a new call.
    pub(crate) fn judge(&mut self, now: Instant, source: IpAddr) -> Verdict {
        let Some(limit) = self.limit else {
            return Verdict::Take;
        };
        let slot = &mut self.counts[self.hasher.hash_one(source) as usize % SLOT_COUNT];
        self.sources.0 += u64::from(*slot == 0);
        *slot = slot.saturating_add(1);
        let burst = (limit / 50).max(2);
        let budget = limit * WINDOW.as_millis() / 1_000;
        let share = budget / self.sources.1.max(self.sources.0).max(1);
        let is_greedy = u64::from(*slot) > share.max(1) && self.sources.1 > 1;
        self.calls.fill(now, limit, burst);
        let left_over = if is_greedy { burst * TOKEN / 2 } else { 0 };
        if self.calls.take(left_over) {
            return Verdict::Take;
        }
        self.refused += 1;
        self.refusals
            .fill(now, REFUSAL_RATE_MAX, REFUSAL_BURST_COUNT);
        if self.refusals.take(0) {
            Verdict::Refuse
        } else {
            Verdict::Drop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(30);

    fn source(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    /// A core that can do `capacity` calls in a second, to which the sources offer so many each:
    /// what each of them got in the last second, and how many refusals were sent in it.
    fn run(capacity: u64, offered: &[u64], seconds: u64) -> (Vec<u64>, u64) {
        let mut admission = Admission::new(Instant::ZERO, RandomState::with_seeds(1, 2, 3, 4));
        let (mut queue, mut handled) = (0u64, 0);
        let (mut got, mut refusals) = (vec![0; offered.len()], 0);
        for ms in 0..seconds * 1_000 {
            let now = Instant::from_nanos(ms * 1_000_000);
            let is_last = ms >= (seconds - 1) * 1_000;
            for (n, rate) in offered.iter().enumerate() {
                let due = |ms: u64| rate * ms / 1_000;
                for _ in due(ms)..due(ms + 1) {
                    match admission.judge(now, source(n as u8)) {
                        Verdict::Take => {
                            queue += 1;
                            got[n] += u64::from(is_last);
                        }
                        Verdict::Refuse => refusals += u64::from(is_last),
                        Verdict::Drop => {}
                    }
                }
            }
            let done = capacity * (ms + 1) / 1_000 - capacity * ms / 1_000;
            handled += done.min(queue);
            queue = queue.saturating_sub(done);
            let delay = Duration::from_micros(queue * 1_000_000 / capacity);
            admission.looked(now, delay, false, handled);
        }
        (got, refusals)
    }

    #[test]
    fn below_its_capacity_a_core_takes_all() {
        assert_eq!(run(1_000, &[900], 5), (vec![900], 0));
    }

    #[test]
    fn far_above_it_the_core_does_what_it_can() {
        for factor in [2, 10] {
            let (got, refusals) = run(1_000, &[1_000 * factor], 20);
            assert!((800..=1_100).contains(&got[0]), "{factor}: {got:?}");
            assert!(
                refusals <= REFUSAL_RATE_MAX + REFUSAL_BURST_COUNT,
                "{refusals}"
            );
        }
    }

    #[test]
    fn a_flood_does_not_lock_out_the_others() {
        let (got, _) = run(1_000, &[20_000, 50, 50, 50], 20);
        assert!(got[1..].iter().all(|n| *n >= 40), "{got:?}");
        assert!(got[0] >= 500, "{got:?}");
    }

    #[test]
    fn the_limit_ends_with_the_load() {
        let mut admission = Admission::new(Instant::ZERO, RandomState::with_seeds(1, 2, 3, 4));
        let mut now = Instant::ZERO;
        for n in 1..4 {
            now += WINDOW;
            admission.looked(now, LATE, false, n * 100);
        }
        assert!(admission.is_limited());
        for _ in 0..CALM_WINDOW_COUNT + 1 {
            now += WINDOW;
            admission.looked(now, Duration::ZERO, false, 0);
        }
        assert!(!admission.is_limited());
    }

    #[test]
    fn one_short_queue_shows_that_there_is_no_overload() {
        let mut admission = Admission::new(Instant::ZERO, RandomState::with_seeds(1, 2, 3, 4));
        for ms in 0..1_000 {
            let delay = if ms % 50 == 0 { Duration::ZERO } else { LATE };
            admission.looked(Instant::from_nanos(ms * 1_000_000), delay, false, 0);
        }
        assert!(!admission.is_limited());
    }
}
