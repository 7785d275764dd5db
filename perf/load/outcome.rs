//! What a run has seen.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::check::Wrongs;

/// The messages whose way through the proxy is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Invite,
    Ringing,
    Ok,
    Ack,
    Bye,
    ByeOk,
}

impl Way {
    pub(crate) const ALL: [Way; 6] = [
        Way::Invite,
        Way::Ringing,
        Way::Ok,
        Way::Ack,
        Way::Bye,
        Way::ByeOk,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Invite => "INVITE",
            Way::Ringing => "180",
            Way::Ok => "200",
            Way::Ack => "ACK",
            Way::Bye => "BYE",
            Way::ByeOk => "200 to BYE",
        }
    }
}

/// The longest time that is told from longer ones: a minute, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// How long messages of each kind took through the proxy, in nanoseconds, to one percent.
#[derive(Clone, Debug)]
pub(crate) struct Ways([Histogram<u64>; Way::ALL.len()]);

impl Ways {
    pub(crate) fn new() -> Ways {
        let one = || Histogram::new_with_bounds(1, LONGEST, 2).expect("bounds that fit");
        Ways(Way::ALL.map(|_| one()))
    }

    pub(crate) fn record(&mut self, way: Way, nanos: u64) {
        self.0[way as usize].saturating_record(nanos.max(1));
    }

    fn add(&mut self, other: &Ways) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            // Both have the same bounds.
            let _ = own.add(other);
        }
    }

    fn reset(&mut self) {
        self.0.iter_mut().for_each(Histogram::reset);
    }

    fn latencies(&self) -> Latencies {
        let mut all = self.0[0].clone();
        for histogram in &self.0[1..] {
            let _ = all.add(histogram);
        }
        let [invite, ringing, ok, ack, bye, bye_ok] =
            Way::ALL.map(|w| Latency::of(&self.0[w as usize]));
        Latencies {
            all: Latency::of(&all),
            invite,
            ringing,
            ok,
            ack,
            bye,
            bye_ok,
        }
    }
}

/// How late what the plan times has left.
#[derive(Clone, Debug)]
pub(crate) struct Lateness(Histogram<u64>);

impl Lateness {
    fn new() -> Lateness {
        Lateness(Histogram::new_with_bounds(1, LONGEST, 2).expect("bounds that fit"))
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }
}

/// Microseconds below which so many of a hundred are.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) p9999: f64,
    pub(crate) max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |q| histogram.value_at_quantile(q) as f64 / 1e3;
        Latency {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max() as f64 / 1e3,
        }
    }

    /// The percentiles with their names, the worst last.
    pub(crate) fn points(&self) -> [(&'static str, f64); 6] {
        [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p999),
            ("p99.99", self.p9999),
            ("max", self.max),
        ]
    }
}

/// Of all messages, and of each kind.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) all: Latency,
    pub(crate) invite: Latency,
    pub(crate) ringing: Latency,
    pub(crate) ok: Latency,
    pub(crate) ack: Latency,
    pub(crate) bye: Latency,
    pub(crate) bye_ok: Latency,
}

impl Latencies {
    pub(crate) fn of(&self, way: Way) -> &Latency {
        match way {
            Way::Invite => &self.invite,
            Way::Ringing => &self.ringing,
            Way::Ok => &self.ok,
            Way::Ack => &self.ack,
            Way::Bye => &self.bye,
            Way::ByeOk => &self.bye_ok,
        }
    }
}

/// Messages of a call that came before one that was sent earlier.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Reordered {
    /// A 180 behind the 200.
    pub(crate) ringing_after_ok: u64,
    /// A 100 behind the 180 or the 200.
    pub(crate) trying_late: u64,
    /// An ACK behind the BYE.
    pub(crate) ack_after_bye: u64,
}

impl Reordered {
    pub(crate) fn all(&self) -> u64 {
        self.ringing_after_ok + self.trying_late + self.ack_after_bye
    }
}

/// How many of what.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Calls that began.
    pub(crate) started: u64,
    /// Calls that went their way to the end, whichever it was.
    pub(crate) complete: u64,
    /// Of these: answered later than the caller likes to wait, so of no use.
    pub(crate) late: u64,
    /// Of the complete ones: refused by the callee, cancelled, ended by the proxy.
    pub(crate) refused: u64,
    pub(crate) cancelled: u64,
    pub(crate) timed_out: u64,
    /// Calls that the proxy turned away with 503 and Retry-After, as one that is full should.
    pub(crate) shed: u64,
    /// Calls that got another final answer than their callee's.
    pub(crate) rejected: u64,
    /// Calls that came to no end.
    pub(crate) failed: u64,
    /// Messages sent again.
    pub(crate) repeated: u64,
    /// Keep-alive requests that were answered.
    pub(crate) asked: u64,
    /// Messages of other runs, or of calls long over.
    pub(crate) strangers: u64,
    /// Datagrams that the kernel did not take from this program.
    pub(crate) unsent: u64,
    pub(crate) reordered: Reordered,
    pub(crate) wrong: Wrongs,
}

impl Counts {
    /// Calls of which nothing more is expected.
    pub(crate) fn over(&self) -> u64 {
        self.complete + self.shed + self.rejected + self.failed
    }

    fn add(&mut self, other: &Counts) {
        let Counts {
            started,
            complete,
            late,
            refused,
            cancelled,
            timed_out,
            shed,
            rejected,
            failed,
            repeated,
            asked,
            strangers,
            unsent,
            reordered,
            wrong,
        } = other;
        self.started += started;
        self.complete += complete;
        self.late += late;
        self.refused += refused;
        self.cancelled += cancelled;
        self.timed_out += timed_out;
        self.shed += shed;
        self.rejected += rejected;
        self.failed += failed;
        self.repeated += repeated;
        self.asked += asked;
        self.strangers += strangers;
        self.unsent += unsent;
        self.reordered.ringing_after_ok += reordered.ringing_after_ok;
        self.reordered.trying_late += reordered.trying_late;
        self.reordered.ack_after_bye += reordered.ack_after_bye;
        self.wrong.add(wrong);
    }
}

/// What was seen, of a run or of a part of it.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// How long it was, seconds.
    pub(crate) seconds: f64,
    /// The one-way time of a message through the proxy, microseconds; nothing is subtracted.
    pub(crate) latency: Latencies,
    /// How late this program was with INVITEs and BYEs, microseconds.
    #[serde(default)]
    pub(crate) lateness: Latency,
    /// Of all messages since somebody has asked for a part of the run for the last time.
    #[serde(skip)]
    pub(crate) last: Latency,
    /// Microseconds of CPU that this program used per call.
    pub(crate) own_us: f64,
    /// Bytes that it kept for calls.
    pub(crate) own_bytes: u64,
    /// Datagrams that the kernel dropped because this program was too slow to read them.
    pub(crate) own_drops: u64,
}

impl Outcome {
    /// Complete calls per second that were of use.
    pub(crate) fn goodput(&self) -> f64 {
        (self.counts.complete - self.counts.late) as f64 / self.seconds.max(1e-9)
    }

    /// Whether it followed: nearly all calls complete.
    pub(crate) fn has_followed(&self) -> bool {
        self.counts.complete as f64 >= 0.995 * self.counts.started as f64
    }
}

/// What has been seen since the last look, and before.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) counts: Counts,
    pub(crate) ways: Ways,
    pub(crate) lateness: Lateness,
    all_counts: Counts,
    all_ways: Ways,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            counts: Counts::default(),
            ways: Ways::new(),
            lateness: Lateness::new(),
            all_counts: Counts::default(),
            all_ways: Ways::new(),
        }
    }

    /// Ends the part of the run and begins the next one.
    pub(crate) fn part(&mut self, seconds: f64) -> Outcome {
        let part = Outcome {
            counts: self.counts,
            seconds,
            latency: self.ways.latencies(),
            ..Outcome::default()
        };
        self.all_counts.add(&self.counts);
        self.all_ways.add(&self.ways);
        self.counts = Counts::default();
        self.ways.reset();
        part
    }

    /// Calls begun and calls over, of the whole run.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let sum = |of: fn(&Counts) -> u64| of(&self.counts) + of(&self.all_counts);
        (sum(|c| c.started), sum(Counts::over))
    }

    /// All of it.
    pub(crate) fn whole(&mut self, seconds: f64) -> Outcome {
        let last = self.part(0.0).latency.all;
        Outcome {
            last,
            counts: self.all_counts,
            seconds,
            latency: self.all_ways.latencies(),
            lateness: Latency::of(&self.lateness.0),
            ..Outcome::default()
        }
    }
}
