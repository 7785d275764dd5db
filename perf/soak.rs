//! A long run of calls of every sort, and what is left of them.
//!
//! Calls of random length, some with keep-alive, some that nobody ends, some cancelled, some
//! refused. Before and after it the proxy holds nothing; memory, counters and latency must be
//! afterwards what they were.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::bench::Bench;
use crate::compare::GIVEN_BACK_AFTER;
use crate::load::{Mix, Outcome, Plan};
use crate::place::{Place, write_json};
use crate::plot::{Axis, Corner, Line, Plot, Scale};
use crate::subject::{Holds, Variant};
use crate::terminal::{table, value};

const SCRIPT: &str = include_str!("soak.cfg");

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sizes {
    pub(crate) seconds: f64,
    /// Calls per second; without, a share of what it can do.
    pub(crate) rate: Option<f64>,
    /// The share of the knee.
    pub(crate) share: f64,
    /// How long calls are on the average, seconds.
    pub(crate) hold_s: f64,
    /// When the proxy ends calls that nobody ends, seconds.
    pub(crate) lost_s: u32,
    /// How long a part of the run is that has a line of its own.
    pub(crate) part_s: f64,
    /// How long to wait, at most, until nothing is left, seconds.
    pub(crate) linger_s: f64,
    pub(crate) mix: Mix,
    /// What p99 of the way through the proxy may be in each part, microseconds.
    pub(crate) p99_max_us: f64,
    /// How much more memory may be in use afterwards than before, percent.
    pub(crate) left_max_percent: f64,
    /// Which part of all calls may be turned away with 503; one in any case.
    pub(crate) shed_max: f64,
}

/// The load before the run to that of it: no table has to grow for a peak by chance.
const WARM_FACTOR: f64 = 1.1;

/// p99 of fewer messages than these is chance: at the end there are only those of the longest
/// calls.
const PART_COUNT_MIN: u64 = 1_000;

/// One part of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) until_s: f64,
    pub(crate) outcome: Outcome,
    pub(crate) memory: u64,
    pub(crate) holds: Holds,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Soaked {
    pub(crate) place: Place,
    pub(crate) sizes: Sizes,
    pub(crate) rate: f64,
    pub(crate) parts: Vec<Part>,
    pub(crate) whole: Outcome,
    pub(crate) memory_before: u64,
    pub(crate) memory_after: u64,
    /// `None`: it did not say.
    pub(crate) holds_after: Option<Holds>,
    /// What is not as it should be; empty when all is.
    pub(crate) faults: Vec<String>,
}

/// Runs it, with a line for each part on standard error, and writes the results.
pub(crate) fn run(
    sizes: Sizes,
    variant: &Variant,
    folder: &Path,
    name: &str,
) -> io::Result<Soaked> {
    let place = Place::here();
    let script = SCRIPT.replace("@LOST@", &sizes.lost_s.to_string());
    let mut bench = Bench::start(variant, &script)?;
    let rate = match sizes.rate {
        Some(rate) => rate,
        None => sizes.share * bench.knee(500.0, 3.0)?.0,
    };
    bench.restart()?;
    let plan = |rate: f64, seconds: f64| Plan {
        hold_s: sizes.hold_s,
        is_random: true,
        lost_s: f64::from(sizes.lost_s),
        mix: sizes.mix,
        ..Plan::of(rate, (rate * seconds).max(1.0) as u64)
    };
    // More calls at once than later, so that memory has the size that they need: longer than all
    // but the longest calls, those with keep-alive and those that nobody ends.
    const LONG_S: f64 = 60.0;
    let longest_s = (4.0 * sizes.hold_s)
        .max(f64::from(sizes.lost_s))
        .max(LONG_S);
    let warm_s = (longest_s + 15.0).min(sizes.seconds);
    eprintln!(
        "{rate:.0} calls/s for {:.0} s, {warm_s:.0} s of warming up before",
        sizes.seconds
    );
    bench.run(plan(rate * WARM_FACTOR, warm_s), "warms up", |_, _| {})?;
    bench.drained(sizes.linger_s)?;
    let memory_before = settled_memory(&bench)?;
    let (parts, whole) = parts(&mut bench, plan(rate, sizes.seconds), sizes.part_s)?;
    // From here on nothing may keep the results from being written.
    let holds_after = bench.drained(sizes.linger_s).ok();
    let memory_after = settled_memory(&bench)?;
    let mut soaked = Soaked {
        place,
        sizes,
        rate,
        parts,
        whole,
        memory_before,
        memory_after,
        holds_after,
        faults: Vec::new(),
    };
    soaked.faults = soaked.judge();
    soaked.write(folder, name)?;
    Ok(soaked)
}

/// Memory of a proxy that has nothing left to do, once it has given back what it does not need.
fn settled_memory(bench: &Bench) -> io::Result<u64> {
    std::thread::sleep(GIVEN_BACK_AFTER);
    Ok(bench.subject()?.memory())
}

fn parts(bench: &mut Bench, plan: Plan, part_s: f64) -> io::Result<(Vec<Part>, Outcome)> {
    let (mut parts, mut next) = (Vec::new(), part_s);
    let whole = bench.run(plan, "soaks", |mut progress, subject| {
        if progress.seconds < next {
            return;
        }
        if !subject.is_alive() {
            progress.stop();
        }
        next += part_s;
        let part = Part {
            until_s: progress.seconds,
            outcome: progress.part(),
            memory: subject.memory(),
            holds: subject.holds().unwrap_or_default(),
        };
        eprintln!("{}", part.line());
        parts.push(part);
    })?;
    Ok((parts, whole))
}

impl Part {
    fn line(&self) -> String {
        let counts = &self.outcome.counts;
        let latency = &self.outcome.latency.all;
        format!(
            "{:6.0} s: {} begun, {:.0}/s complete, {} failed, {} with 503, {} wrong, {} out of \
             order, p50 {} p99 {} p99.9 {} us, {} dialogs, {} transactions, {:.1} MiB",
            self.until_s,
            counts.started,
            self.outcome.goodput(),
            counts.failed + counts.rejected,
            counts.shed,
            counts.wrong.all(),
            counts.reordered.all(),
            value(latency.p50),
            value(latency.p99),
            value(latency.p999),
            self.holds.dialogs,
            self.holds.transactions,
            self.memory as f64 / (1u64 << 20) as f64
        )
    }
}

impl Soaked {
    fn left_percent(&self) -> f64 {
        let before = self.memory_before.max(1) as f64;
        100.0 * (self.memory_after as f64 - before) / before
    }

    fn worst_p99(&self) -> f64 {
        let latencies = self.parts.iter().map(|p| p.outcome.latency.all);
        let many = latencies.filter(|latency| latency.count >= PART_COUNT_MIN);
        many.map(|latency| latency.p99).fold(0.0, f64::max)
    }

    fn shed_max(&self) -> u64 {
        (self.whole.counts.started as f64 * self.sizes.shed_max).ceil() as u64
    }

    fn judge(&self) -> Vec<String> {
        let counts = &self.whole.counts;
        let planned = (self.rate * self.sizes.seconds) as u64;
        let lost = counts.started - counts.complete - counts.shed;
        let checks = [
            (
                counts.started < planned,
                format!("{} of {planned} calls were begun", counts.started),
            ),
            (
                lost > 0,
                format!("{lost} calls are not complete: {counts:?}"),
            ),
            (
                counts.shed > self.shed_max(),
                format!("{} calls got a 503, {} may", counts.shed, self.shed_max()),
            ),
            (
                counts.wrong.all() > 0,
                format!("messages are wrong: {:?}", counts.wrong),
            ),
            (
                counts.reordered.all() > 0,
                format!("messages are out of order: {:?}", counts.reordered),
            ),
            (
                self.holds_after.is_none_or(|holds| !holds.is_nothing()),
                match self.holds_after {
                    Some(holds) => format!("the proxy still holds {holds:?}"),
                    None => "the proxy does not say what it holds".to_owned(),
                },
            ),
            (
                self.left_percent() > self.sizes.left_max_percent,
                format!("{:.1} % more memory than before", self.left_percent()),
            ),
            (
                self.worst_p99() > self.sizes.p99_max_us,
                format!("p99 was up to {} us", value(self.worst_p99())),
            ),
        ];
        let faults = checks.into_iter().filter(|(is_wrong, _)| *is_wrong);
        faults.map(|(_, text)| text).collect()
    }

    /// The result for people.
    pub(crate) fn text(&self) -> String {
        let counts = &self.whole.counts;
        let left = |of: fn(&Holds) -> u64| {
            let holds = self.holds_after.as_ref();
            holds.map_or_else(|| "-".to_owned(), |holds| of(holds).to_string())
        };
        let mut table = table(["what", "value"].map(String::from));
        let rows = [
            ("calls per second", value(self.rate)),
            ("calls", counts.started.to_string()),
            ("complete", counts.complete.to_string()),
            ("of them refused by the callee", counts.refused.to_string()),
            ("of them cancelled", counts.cancelled.to_string()),
            ("of them ended by the proxy", counts.timed_out.to_string()),
            ("keep-alive requests answered", counts.asked.to_string()),
            ("failed", (counts.failed + counts.rejected).to_string()),
            ("turned away with 503", counts.shed.to_string()),
            (
                "datagrams that the load generator lost",
                self.whole.own_drops.to_string(),
            ),
            (
                "messages with wrong content",
                counts.wrong.all().to_string(),
            ),
            ("messages out of order", counts.reordered.all().to_string()),
            ("p99 added latency, us", value(self.whole.latency.all.p99)),
            ("p99 of the worst part, us", value(self.worst_p99())),
            ("memory before, bytes", self.memory_before.to_string()),
            ("memory after, bytes", self.memory_after.to_string()),
            ("more memory than before, %", value(self.left_percent())),
            ("dialogs left", left(|h| h.dialogs)),
            ("transactions left", left(|h| h.transactions)),
            ("timers left", left(|h| h.timers)),
        ];
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        let verdict = match self.faults.as_slice() {
            [] => "All is as before.".to_owned(),
            faults => faults.join("\n"),
        };
        format!("{}\n{table}\n\n{verdict}", self.place.head())
    }

    fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        write_json(folder, name, self)?;
        let line = |name: &str, of: fn(&Part) -> f64| Line {
            name: name.to_owned(),
            points: self
                .parts
                .iter()
                .map(|p| (p.until_s / 60.0, of(p)))
                .collect(),
        };
        let plot = Plot {
            title: "Added latency of a message over a long run",
            x: Axis {
                name: "minutes",
                scale: Scale::Linear,
            },
            y: Axis {
                name: "microseconds",
                scale: Scale::Log,
            },
            lines: vec![
                line("p50", |p| p.outcome.latency.all.p50),
                line("p99", |p| p.outcome.latency.all.p99),
                line("p99.9", |p| p.outcome.latency.all.p999),
            ],
            legend: Corner::UpperRight,
        };
        plot.draw(&folder.join(format!("{name}-latency.svg")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Counts;
    use crate::subject::Kind;

    fn few() -> Sizes {
        Sizes {
            seconds: 4.0,
            rate: Some(100.0),
            share: 0.7,
            hold_s: 0.3,
            lost_s: 2,
            part_s: 1.0,
            linger_s: 20.0,
            mix: Mix {
                kept: 5,
                abandoned: 10,
                cancelled: 10,
                refused: 10,
            },
            // A build without optimisation on a busy machine.
            p99_max_us: 1e9,
            left_max_percent: 25.0,
            shed_max: 1e-5,
        }
    }

    fn faultless() -> Soaked {
        let counts = Counts {
            started: 1_000_000,
            complete: 1_000_000,
            ..Counts::default()
        };
        let whole = Outcome {
            counts,
            ..Outcome::default()
        };
        Soaked {
            place: Place::here(),
            sizes: few(),
            rate: 250_000.0,
            parts: Vec::new(),
            whole,
            memory_before: 1_000,
            memory_after: 1_000,
            holds_after: Some(Holds::default()),
            faults: Vec::new(),
        }
    }

    #[test]
    fn a_few_503_are_no_fault_and_everything_else_is() {
        let judged = |change: fn(&mut Soaked)| {
            let mut soaked = faultless();
            change(&mut soaked);
            soaked.judge().len()
        };
        let shed = |soaked: &mut Soaked, count| {
            soaked.whole.counts.complete -= count;
            soaked.whole.counts.shed = count;
        };
        assert_eq!(judged(|_| {}), 0);
        let mut some = faultless();
        shed(&mut some, 10);
        assert_eq!(some.judge(), [""; 0]);
        shed(&mut some, 11);
        assert_eq!(some.judge().len(), 1 + 1, "11, and 10 that are nowhere");
        assert_eq!(judged(|s| s.whole.counts.complete -= 1), 1);
        assert_eq!(judged(|s| s.rate += 250.0), 1);
        assert_eq!(judged(|s| s.whole.counts.reordered.trying_late = 1), 1);
        assert_eq!(judged(|s| s.holds_after = None), 1);
        assert_eq!(judged(|s| s.memory_after = 1_300), 1);
        let part = |count, p99| {
            let mut outcome = Outcome::default();
            (outcome.latency.all.count, outcome.latency.all.p99) = (count, p99);
            Part {
                until_s: 60.0,
                outcome,
                memory: 0,
                holds: Holds::default(),
            }
        };
        let mut slow = faultless();
        slow.parts = vec![part(999, 2e9)];
        assert_eq!(slow.judge(), [""; 0]);
        slow.parts.push(part(1_000, 2e9));
        assert_eq!(slow.judge().len(), 1);
    }

    #[test]
    fn a_few_seconds_leave_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("perf-soak-{}", std::process::id()));
        let variant = Variant {
            kind: Kind::Dialcore,
            workers: 2,
            is_apart: false,
        };
        let soaked = run(few(), &variant, &folder, "soak").expect("a run");
        assert_eq!(soaked.faults, [""; 0], "{}", soaked.text());
        let counts = soaked.whole.counts;
        assert_eq!(counts.complete, 400);
        for (count, sort) in [
            (counts.refused, "refused"),
            (counts.cancelled, "cancelled"),
            (counts.timed_out, "ended by the proxy"),
        ] {
            assert!(count > 10, "{sort}: {count}");
        }
        assert!(soaked.parts.len() >= 4);
        assert!(folder.join("soak.json").exists() && folder.join("soak-latency.svg").exists());
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }
}
