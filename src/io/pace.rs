//! When a core wakes: by what comes in, or by the clock.
//!
//! To put a core to sleep and to wake it costs several times what a datagram costs: on virtual
//! machines, where an idle CPU goes back to the host and comes with cold caches, 15 us and more
//! beside the 5 us of a datagram that is read and written in a batch. While datagrams come in quick
//! succession the core therefore looks at them in rounds: it sleeps by the clock and then takes in
//! one batch what has come meanwhile.
//!
//! ```text
//!   few a second    | .   |      |  .  |         each wakes the core, nothing waits
//!   thousands       |...|...|....|...|..|        rounds of `limits::ROUND_TIME_MAX`
//!   tens of         |........|........|          rounds in which BATCH_AIM datagrams come: the
//!   thousands                                    wait shrinks as the load grows
//!   more            ||||||||||||||||||||         batches are full, the core does not sleep
//! ```
//!
//! A round is never longer than a millisecond, so no stream, timer or message of another core
//! waits for more. The price is latency: at moderate load a datagram waits for up to a round.
//! `--round=0` has each datagram wake its core.

use crate::time::{Duration, Instant};

/// What one batch should bring; larger ones save little more of what waking costs.
const BATCH_AIM: u64 = 8;

/// With fewer datagrams in the longest round (in tenths), a core that is woken by each of them
/// wakes less often than one that looks by the clock.
const BATCH_MIN_TENTHS: u64 = 30;

/// A sleep shorter than this costs more than it saves.
const SLEEP_TIME_MIN: Duration = Duration::from_micros(60);

/// Over how much time the rate is an average.
const MEMORY: Duration = Duration::from_millis(20);

const SECOND: u64 = 1_000_000_000;

/// How a core waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Until something comes or a deadline is there.
    Event,
    /// By the clock, for so long.
    Round(Duration),
    /// Not at all.
    Not,
}

/// The rate at which datagrams come to a core, and what follows from it.
#[derive(Debug)]
pub(crate) struct Pace {
    round_max: Duration,
    /// Datagrams per second.
    rate: u64,
    /// When the round began that is going on.
    begun: Instant,
    is_batch_full: bool,
}

impl Pace {
    /// Of a core to which nothing has come. Zero: each datagram wakes it.
    pub(crate) fn new(round_max: Duration, now: Instant) -> Pace {
        Pace {
            round_max,
            rate: 0,
            begun: now,
            is_batch_full: false,
        }
    }

    /// A round has begun, and has brought so many datagrams; all that the last one of a full batch
    /// shows is that there may be more.
    pub(crate) fn began(&mut self, now: Instant, count: u64, is_batch_full: bool) {
        let length = now.since(self.begun).as_nanos().max(1);
        let seen = count.saturating_mul(SECOND) / length;
        // An average whose memory fades with time; behind a pause it is what was seen.
        let memory = MEMORY.as_nanos();
        let (old, new) = (memory.saturating_sub(length), length.min(memory));
        self.rate = (self.rate.saturating_mul(old) + seen.saturating_mul(new)) / memory;
        self.begun = now;
        self.is_batch_full = is_batch_full;
    }

    /// How to wait for the next one.
    pub(crate) fn next(&self, now: Instant) -> Wait {
        if self.is_batch_full {
            return Wait::Not;
        }
        let longest = self.round_max.as_nanos();
        if self.rate.saturating_mul(longest) * 10 / SECOND < BATCH_MIN_TENTHS {
            return Wait::Event;
        }
        let length = longest.min(BATCH_AIM * SECOND / self.rate);
        let spent = now.since(self.begun).as_nanos();
        let left = Duration::from_nanos(length.saturating_sub(spent));
        Wait::Round(left.max(SLEEP_TIME_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ROUND_TIME_MAX;

    /// What becomes of a core to which `rate` datagrams come in each second, evenly: the share of
    /// its waits that go by the clock, and the longest of them.
    fn settled(rate: u64, round_max: Duration) -> (Wait, Duration) {
        let (mut now, mut taken) = (Instant::ZERO, 0);
        let mut pace = Pace::new(round_max, now);
        let (mut wait, mut longest) = (Wait::Event, Duration::ZERO);
        for round in 0..2_000 {
            wait = pace.next(now);
            let step = match wait {
                Wait::Round(length) => length,
                Wait::Event => Duration::from_nanos(SECOND / rate),
                Wait::Not => Duration::from_micros(10),
            };
            if round > 1_000 {
                longest = longest.max(step);
            }
            now += step;
            let due = now.since(Instant::ZERO).as_nanos() * rate / SECOND;
            let count = (due - taken).min(64);
            taken += count;
            pace.began(now, count, count == 64);
        }
        (wait, longest)
    }

    #[test]
    fn rounds_come_with_the_load_and_shrink_with_it() {
        for rate in [1, 100, 1_000] {
            assert_eq!(settled(rate, ROUND_TIME_MAX).0, Wait::Event, "{rate}");
        }
        for rate in [4_500, 9_000] {
            let (wait, longest) = settled(rate, ROUND_TIME_MAX);
            assert!(matches!(wait, Wait::Round(_)), "{rate}: {wait:?}");
            assert!(longest <= ROUND_TIME_MAX, "{rate}: {longest:?}");
            assert!(longest > Duration::from_micros(700), "{rate}: {longest:?}");
        }
        let (wait, longest) = settled(30_000, ROUND_TIME_MAX);
        assert!(matches!(wait, Wait::Round(_)), "{wait:?}");
        assert!(longest < Duration::from_micros(350), "{longest:?}");
    }

    #[test]
    fn without_rounds_each_datagram_wakes_the_core() {
        for rate in [100, 9_000, 100_000] {
            assert_ne!(settled(rate, Duration::ZERO).0, Wait::Not, "{rate}");
            let (wait, _) = settled(rate, Duration::ZERO);
            assert_eq!(wait, Wait::Event, "{rate}");
        }
    }

    #[test]
    fn a_core_with_a_backlog_does_not_sleep_and_one_behind_a_pause_waits() {
        let mut pace = Pace::new(ROUND_TIME_MAX, Instant::ZERO);
        let mut now = Instant::ZERO + Duration::from_micros(500);
        pace.began(now, 64, true);
        assert_eq!(pace.next(now), Wait::Not);
        now += Duration::from_micros(500);
        pace.began(now, 60, false);
        assert!(matches!(pace.next(now), Wait::Round(_)));
        now += Duration::from_secs(1);
        pace.began(now, 1, false);
        assert_eq!(pace.next(now), Wait::Event);
    }
}
