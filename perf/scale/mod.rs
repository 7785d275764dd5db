//! How cost and memory grow with dialogs and shards: see the two files.

pub(crate) mod dialogs;
mod shards;
mod text;

use std::io;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::place::{Place, memory_kib, write_json};
use crate::plot::{Axis, Corner, Line, Plot, Scale as Places, number};
use crate::terminal::{bar, table, value};

use dialogs::Measured;
use shards::Seen;

/// What the memory of one dialog is taken for when it is decided whether so many fit.
const BYTES_EACH: u64 = 1_100;
/// What others may need meanwhile.
const SPARE: u64 = 1 << 30;

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sizes {
    /// Dialogs held.
    pub(crate) dialogs: Vec<u64>,
    /// Shards simulated.
    pub(crate) shards: Vec<u16>,
    /// Calls per second for each of these.
    pub(crate) rate: f64,
    /// Seconds of virtual time.
    pub(crate) seconds: f64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Scaled {
    pub(crate) place: Place,
    pub(crate) sizes: Sizes,
    pub(crate) dialogs: Vec<Measured>,
    /// Counts for which there was not enough memory, with the bytes that are needed.
    pub(crate) left_out: Vec<(u64, u64)>,
    pub(crate) shards: Vec<Seen>,
}

/// Runs all and writes the results. `measure` gives what was measured with so many dialogs.
pub(crate) fn run(
    sizes: Sizes,
    measure: impl Fn(u64) -> io::Result<Measured>,
    folder: &Path,
    name: &str,
) -> io::Result<Scaled> {
    let place = Place::here();
    let (mut dialogs, mut left_out) = (Vec::new(), Vec::new());
    for count in &sizes.dialogs {
        let needed = count * BYTES_EACH + SPARE;
        if memory_kib("MemAvailable") * 1_024 < needed {
            left_out.push((*count, needed));
            continue;
        }
        dialogs.push(measure(*count)?);
    }
    let mut shards = Vec::new();
    for count in &sizes.shards {
        let calls = f64::from(*count) * sizes.rate * sizes.seconds;
        let bar = bar(&format!("{count} shards"), calls as u64);
        shards.push(shards::simulate(*count, sizes.rate, sizes.seconds, &bar)?);
        bar.finish_and_clear();
    }
    let scaled = Scaled {
        place,
        sizes,
        dialogs,
        left_out,
        shards,
    };
    scaled.write(folder, name)?;
    Ok(scaled)
}

/// Measures in a process of its own, whose memory nothing was in before.
pub(crate) fn measure_apart(dialogs: u64) -> io::Result<Measured> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    command.args(["scale-one", &dialogs.to_string()]);
    // Its progress is ours.
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

impl Scaled {
    /// The result for people.
    pub(crate) fn text(&self) -> String {
        let left_out = self.left_out.iter().map(|(count, needed)| {
            let needed = *needed as f64 / (1u64 << 30) as f64;
            format!(
                "{} dialogs were left out: they need {needed:.1} GiB free\n",
                number(*count as f64)
            )
        });
        format!(
            "{}\n{}\n{}\n{}",
            self.place.head(),
            self.dialog_table(),
            left_out.collect::<String>(),
            self.shard_table()
        )
    }

    fn dialog_table(&self) -> comfy_table::Table {
        let head = [
            "dialogs",
            "shards",
            "warm, ns/message",
            "to the first (budget 1.3, aim 1.1)",
            "cold, ns/message",
            "to the first",
            "warm behind a sleep, ns/message",
            "bytes per dialog (budget 1024, aim 700)",
            "resident, MiB",
            "expired",
            "latest, s (budget 1)",
            "earliest, s",
        ];
        let mut table = table(head.map(String::from));
        let first = self.dialogs.first().copied().unwrap_or_default();
        for m in &self.dialogs {
            table.add_row([
                number(m.dialogs as f64),
                m.shards.to_string(),
                value(m.warm_ns),
                value(m.warm_ns / first.warm_ns),
                value(m.cold_ns),
                value(m.cold_ns / first.cold_ns),
                value(m.asleep_ns),
                value(m.bytes_each),
                value(m.resident as f64 / (1u64 << 20) as f64),
                m.expired.to_string(),
                format!("{:.6}", m.latest_s),
                format!("{:.6}", m.earliest_s),
            ]);
        }
        table
    }

    fn shard_table(&self) -> comfy_table::Table {
        let head = [
            "shards",
            "calls",
            "calls/s",
            "messages",
            "busiest to mean",
            "batches of counts per call",
            "confirmations per call",
            "other messages between shards per call (budget 0)",
            "misrouted",
        ];
        let mut table = table(head.map(String::from));
        for s in &self.shards {
            table.add_row([
                s.shards.to_string(),
                s.calls.to_string(),
                value(s.rate),
                s.messages.to_string(),
                format!("{:.3}", s.imbalance),
                value(s.batches_per_call),
                value(s.seen_per_call),
                value(s.others_per_call),
                s.misrouted.to_string(),
            ]);
        }
        table
    }

    fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        write_json(folder, name, self)?;
        for (what, plot) in self.plots() {
            plot.draw(&folder.join(format!("{name}-{what}.svg")))?;
        }
        Ok(())
    }

    fn plots(&self) -> [(&'static str, Plot); 4] {
        let axis = |name, scale| Axis { name, scale };
        let of_dialogs = |name: &str, of: fn(&Measured) -> f64| Line {
            name: name.to_owned(),
            points: self
                .dialogs
                .iter()
                .map(|m| (m.dialogs as f64, of(m)))
                .collect(),
        };
        let of_shards = |name: &str, of: fn(&Seen) -> f64| Line {
            name: name.to_owned(),
            points: self
                .shards
                .iter()
                .map(|s| (f64::from(s.shards), of(s)))
                .collect(),
        };
        let dialogs = || axis("dialogs held", Places::Log);
        [
            (
                "cost",
                Plot {
                    title: "CPU per message against dialogs held",
                    x: dialogs(),
                    y: axis("nanoseconds of CPU", Places::Linear),
                    lines: vec![
                        of_dialogs("64 dialogs over and over", |m| m.warm_ns),
                        of_dialogs("one dialog after the other", |m| m.cold_ns),
                    ],
                    legend: Corner::LowerRight,
                },
            ),
            (
                "memory",
                Plot {
                    title: "Resident memory against dialogs held",
                    x: dialogs(),
                    y: axis("bytes per dialog", Places::Linear),
                    lines: vec![of_dialogs("per dialog", |m| m.bytes_each)],
                    legend: Corner::LowerRight,
                },
            ),
            (
                "shards",
                Plot {
                    title: "Messages between simulated shards, per call",
                    x: axis("shards", Places::Linear),
                    y: axis("messages per call", Places::Linear),
                    lines: vec![
                        of_shards("batches of counts", |s| s.batches_per_call),
                        of_shards("their confirmations", |s| s.seen_per_call),
                        of_shards("all others", |s| s.others_per_call),
                    ],
                    legend: Corner::UpperLeft,
                },
            ),
            (
                "balance",
                Plot {
                    title: "SIP messages of the busiest simulated shard",
                    x: axis("shards", Places::Linear),
                    y: axis("times the mean of all shards", Places::Linear),
                    lines: vec![of_shards("busiest to mean", |s| s.imbalance)],
                    legend: Corner::LowerRight,
                },
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_in_small() {
        let folder = std::env::temp_dir().join(format!("perf-scale-{}", std::process::id()));
        let sizes = Sizes {
            dialogs: vec![50, 100, u64::MAX / 2_000],
            shards: vec![1, 2],
            rate: 50.0,
            seconds: 0.5,
        };
        let scaled = run(sizes, dialogs::measure, &folder, "scale").expect("a run");
        assert_eq!((scaled.dialogs.len(), scaled.left_out.len()), (2, 1));
        assert_eq!(scaled.shards.len(), 2);
        let text = scaled.text();
        for word in ["were left out", "busiest", "cold"] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        for name in [
            "scale.json",
            "scale-cost.svg",
            "scale-memory.svg",
            "scale-shards.svg",
            "scale-balance.svg",
        ] {
            assert!(folder.join(name).exists(), "{name}");
        }
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }
}
