//! A long run of calls of every sort, and what is left of them.
//!
//! Calls of random length, some with keep-alive, some that nobody ends, some cancelled, some
//! refused. Before and after it the proxy holds nothing; memory, counters and latency must be
//! afterwards what they were.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::bench::Bench;
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
}

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
    pub(crate) holds_after: Holds,
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
    let plan = |seconds: f64| Plan {
        hold_s: sizes.hold_s,
        is_random: true,
        lost_s: f64::from(sizes.lost_s),
        mix: sizes.mix,
        ..Plan::of(rate, (rate * seconds).max(1.0) as u64)
    };
    // As many calls at once as later, so that memory has the size that they need: longer than all
    // but the longest calls, those with keep-alive and those that nobody ends.
    const LONG_S: f64 = 60.0;
    let longest_s = (4.0 * sizes.hold_s)
        .max(f64::from(sizes.lost_s))
        .max(LONG_S);
    let warm_s = (longest_s + 15.0).min(sizes.seconds);
    bench.run(plan(warm_s), "warms up", |_, _| {})?;
    bench.drained(sizes.linger_s)?;
    let memory_before = bench.subject()?.memory();
    let (parts, whole) = parts(&mut bench, plan(sizes.seconds), sizes.part_s)?;
    let holds_after = bench.drained(sizes.linger_s)?;
    let memory_after = bench.subject()?.memory();
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

fn parts(bench: &mut Bench, plan: Plan, part_s: f64) -> io::Result<(Vec<Part>, Outcome)> {
    let (mut parts, mut next) = (Vec::new(), part_s);
    let whole = bench.run(plan, "soaks", |mut progress, subject| {
        if progress.seconds < next {
            return;
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
            "{:6.0} s: {} begun, {:.0}/s complete, {} failed, {} wrong, {} out of order, p50 {} \
             p99 {} p99.9 {} us, {} dialogs, {} transactions, {:.1} MiB",
            self.until_s,
            counts.started,
            self.outcome.goodput(),
            counts.failed + counts.rejected,
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
        let parts = self.parts.iter().map(|p| p.outcome.latency.all.p99);
        parts.fold(0.0, f64::max)
    }

    fn judge(&self) -> Vec<String> {
        let counts = &self.whole.counts;
        let lost = counts.started - counts.complete;
        let checks = [
            (
                lost > 0,
                format!("{lost} calls are not complete: {counts:?}"),
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
                !self.holds_after.is_nothing(),
                format!("the proxy still holds {:?}", self.holds_after),
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
        let mut table = table(["what", "value"].map(String::from));
        let rows = [
            ("calls per second", value(self.rate)),
            ("calls", counts.started.to_string()),
            ("complete", counts.complete.to_string()),
            ("of them refused by the callee", counts.refused.to_string()),
            ("of them cancelled", counts.cancelled.to_string()),
            ("of them ended by the proxy", counts.timed_out.to_string()),
            ("keep-alive requests answered", counts.asked.to_string()),
            (
                "failed",
                (counts.failed + counts.rejected + counts.shed).to_string(),
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
            ("dialogs left", self.holds_after.dialogs.to_string()),
            (
                "transactions left",
                self.holds_after.transactions.to_string(),
            ),
            ("timers left", self.holds_after.timers.to_string()),
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
    use crate::subject::Kind;

    #[test]
    fn a_few_seconds_leave_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("perf-soak-{}", std::process::id()));
        let sizes = Sizes {
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
        };
        let variant = Variant {
            kind: Kind::Dialcore,
            workers: 2,
            is_apart: false,
        };
        let soaked = run(sizes, &variant, &folder, "soak").expect("a run");
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
