//! What was found, as a table for people, JSON for programs and pictures for the README.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use comfy_table::Table;
use plotters::prelude::*;
use serde::Serialize;

use crate::compare::{Found, Sizes};

/// Where and of what a result is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    /// The command line.
    pub(crate) command: String,
    /// The commit of the tree.
    pub(crate) commit: String,
    /// The processor and how many cores there are.
    pub(crate) machine: String,
    /// The kernel's release.
    pub(crate) kernel: String,
}

impl Place {
    /// Here and now.
    pub(crate) fn here() -> Place {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let git = Command::new("git")
            .args(["rev-parse", "--short", "HEAD"])
            .output();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find(|l| l.starts_with("model name"));
        let model = model
            .and_then(|l| l.split(": ").nth(1))
            .unwrap_or("unknown");
        let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
        let args: Vec<String> = std::env::args().skip(1).collect();
        Place {
            command: format!("perf {}", args.join(" ")),
            commit: git.map_or_else(
                |_| "unknown".into(),
                |o| String::from_utf8_lossy(&o.stdout).trim().to_owned(),
            ),
            machine: format!("{cores} cores, {model}"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// A comparison, as it is written to a file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// Where and when.
    pub(crate) place: Place,
    /// What was run.
    pub(crate) sizes: Sizes,
    /// One for each proxy.
    pub(crate) found: Vec<Found>,
}

impl Comparison {
    /// The table.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        let mut head = vec!["".to_owned()];
        head.extend(self.found.iter().map(|f| f.version.clone()));
        head.push("ratio".into());
        table.set_header(head);
        for (index, rate) in self.sizes.rates.iter().enumerate() {
            let at = |f: &Found| f.steady.get(index).cloned();
            let mut row = |name: &str, value: &dyn Fn(&Found) -> f64| {
                let values: Vec<f64> = self.found.iter().map(value).collect();
                table.add_row(row_of(format!("{name} at {rate:.0} calls/s"), &values));
            };
            row("CPU per call, us", &|f| at(f).map_or(0.0, |s| s.cpu_us()));
            row("of it in user space, us", &|f| {
                at(f).map_or(0.0, |s| s.user_us)
            });
            row("p50 added latency, us", &|f| {
                at(f).map_or(0.0, |s| s.outcome.latency.p50 as f64)
            });
            row("p99, us", &|f| {
                at(f).map_or(0.0, |s| s.outcome.latency.p99 as f64)
            });
            row("p99.99, us", &|f| {
                at(f).map_or(0.0, |s| s.outcome.latency.p9999 as f64)
            });
            row("reordered messages", &|f| {
                at(f).map_or(0.0, |s| s.outcome.reordered as f64)
            });
            row("failed calls", &|f| {
                at(f).map_or(0.0, |s| s.outcome.failed as f64)
            });
        }
        let mut row = |name: &str, value: &dyn Fn(&Found) -> f64| {
            let values: Vec<f64> = self.found.iter().map(value).collect();
            table.add_row(row_of(name.to_owned(), &values));
        };
        row("most calls/s", &|f| f.knee);
        row("bytes per held call", &|f| f.held_bytes);
        row("memory left after the calls, %", &|f| f.left_percent);
        table
    }

    /// Writes `NAME.json` and the pictures into a folder.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        fs::write(folder.join(format!("{name}.json")), json + "\n")?;
        let cpu = folder.join(format!("{name}-cpu.svg"));
        self.plot(&cpu, "CPU per call, microseconds", |s| s.cpu_us())?;
        let p99 = folder.join(format!("{name}-p99.svg"));
        self.plot(&p99, "p99 added latency, microseconds", |s| {
            s.outcome.latency.p99 as f64
        })
    }

    fn plot(
        &self,
        file: &Path,
        title: &str,
        value: impl Fn(&crate::compare::Steady) -> f64,
    ) -> io::Result<()> {
        let draw = || -> Result<(), Box<dyn std::error::Error>> {
            let area = SVGBackend::new(file, (640, 400)).into_drawing_area();
            area.fill(&WHITE)?;
            let all = self.found.iter().flat_map(|f| &f.steady);
            let highest = all.map(&value).fold(1.0, f64::max);
            let rates = &self.sizes.rates;
            let last = rates.last().copied().unwrap_or(1.0);
            let mut chart = ChartBuilder::on(&area)
                .caption(title, ("sans-serif", 18))
                .margin(10)
                .x_label_area_size(36)
                .y_label_area_size(60)
                .build_cartesian_2d(0.0..last * 1.05, 0.0..highest * 1.1)?;
            chart.configure_mesh().x_desc("calls per second").draw()?;
            for (index, found) in self.found.iter().enumerate() {
                let colour = Palette99::pick(index).to_rgba();
                let points = found.steady.iter().map(|s| (s.rate, value(s)));
                chart
                    .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
                    .label(found.version.clone())
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
            }
            chart.configure_series_labels().border_style(BLACK).draw()?;
            area.present()?;
            Ok(())
        };
        draw().map_err(|error| io::Error::other(error.to_string()))
    }
}

fn row_of(name: String, values: &[f64]) -> Vec<String> {
    let mut row = vec![name];
    row.extend(values.iter().map(|v| format!("{v:.1}")));
    let ratio = match values {
        [first, second] if *first > 0.0 => format!("{:.2}", second / first),
        _ => String::new(),
    };
    row.push(ratio);
    row
}
