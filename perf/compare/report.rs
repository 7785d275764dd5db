//! What was found, as a table for people, JSON for programs and pictures.

use std::io;
use std::path::Path;

use comfy_table::Table;

use super::{Comparison, Found};
use crate::bench::Steady;
use crate::load::{Latency, Way};
use crate::place::write_json;
use crate::plot::{Axis, Corner, Line, Plot, Scale};
use crate::terminal::{table, value};

/// What a line says of a proxy.
type Of<'a> = Box<dyn Fn(&Found) -> Option<f64> + 'a>;

/// A line of the table.
struct Row<'a> {
    name: String,
    budget: &'a str,
    /// That of the floor.
    floor: Option<f64>,
    /// That of a proxy.
    of: Of<'a>,
}

impl Comparison {
    /// The tables.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}\n{}\n\nThe way of each message at 70 % of the knee, microseconds:\n\n{}\n\n{}",
            self.place.head(),
            self.table(),
            self.ways(),
            self.notes()
        )
    }

    /// What was seen of the floor at this rate.
    pub(super) fn floor_at(&self, rate: f64) -> Option<&Steady> {
        self.floor.iter().find(|s| s.rate == rate)
    }

    /// The name of the floor.
    pub(super) fn floor_name(&self) -> String {
        match self.floor_cores {
            1 => "floor, 1 thread".to_owned(),
            count => format!("floor, {count} threads"),
        }
    }

    fn table(&self) -> Table {
        let mut head = vec![String::new(), self.floor_name()];
        head.extend(self.found.iter().map(|f| f.variant.name()));
        head.extend(["to the first".to_owned(), "budget".to_owned()]);
        let mut table = table(head);
        let shown = |v: &Option<f64>| v.map_or_else(|| "-".to_owned(), value);
        for row in self.rows() {
            let values: Vec<Option<f64>> = self.found.iter().map(row.of).collect();
            let mut cells = vec![row.name, shown(&row.floor)];
            cells.extend(values.iter().map(shown));
            cells.push(ratios(&values));
            cells.push(row.budget.to_owned());
            table.add_row(cells);
        }
        table
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for rate in &self.sizes.rates {
            rows.extend(self.rate_rows(*rate));
        }
        let at_share = |name: &str, budget, of: fn(&Steady) -> f64| Row {
            name: format!("{name} at 70 % of the knee"),
            budget,
            floor: None,
            of: Box::new(move |f: &Found| Some(of(&f.at_share))),
        };
        let found = |name: &str, budget, of: fn(&Found) -> f64| Row {
            name: name.to_owned(),
            budget,
            floor: None,
            of: Box::new(move |f: &Found| Some(of(f))),
        };
        rows.extend([
            found("knee, calls/s", "", |f| f.knee),
            at_share("CPU per call, us,", "ratio 6, aim 8", Steady::cpu_us),
            at_share("wake-ups per call", "", |s| s.wakeups),
            at_share("p50 added latency, us,", "", |s| s.outcome.latency.all.p50),
            at_share("p99 added latency, us,", "1000, aim 300", |s| {
                s.outcome.latency.all.p99
            }),
            at_share("p99.99 added latency, us,", "", |s| {
                s.outcome.latency.all.p9999
            }),
            at_share("p99 of the generator's lateness, us,", "", |s| {
                s.outcome.lateness.p99
            }),
            found("calls looked at for order", "", |f| f.reordered().1 as f64),
            found("messages out of order", "0", |f| f.reordered().0 as f64),
            found("bytes per dialog, all in", "1024, aim 700", |f| {
                f.per_dialog.bytes_each
            }),
            found("bytes per further dialog", "", |f| {
                f.per_dialog.bytes_further
            }),
            found("bytes per ringing call", "", |f| f.per_call.bytes_each),
            found("memory left after the dialogs, %", "", |f| {
                f.per_dialog.left_percent
            }),
            found("dialogs and transactions left", "0", |f| {
                f.left_over() as f64
            }),
        ]);
        rows
    }

    fn rate_rows(&self, rate: f64) -> Vec<Row<'_>> {
        let row = |name: &str, budget, of: fn(&Steady) -> f64| Row {
            name: format!("{name} at {rate:.0}/s"),
            budget,
            floor: self.floor_at(rate).map(of),
            of: Box::new(move |f: &Found| f.at(rate).map(of)),
        };
        let floor_us = self.floor_at(rate).map_or(f64::NAN, Steady::cpu_us);
        let to_floor = Row {
            name: format!("that, to the floor's, at {rate:.0}/s"),
            budget: "aim 2",
            floor: Some(1.0),
            of: Box::new(move |f: &Found| f.at(rate).map(|s| s.cpu_us() / floor_us)),
        };
        vec![
            row("CPU per call, us,", "ratio 6, aim 8", Steady::cpu_us),
            to_floor,
            row("in user space, us,", "40, aim 20", |s| s.user_us),
            row("in the kernel, us,", "", |s| s.system_us),
            row("ticks that tell them apart", "", |s| s.ticks as f64),
            row("wake-ups per call", "", |s| s.wakeups),
            row("CPU per wake-up, us,", "", Steady::wakeup_us),
            row("p50 added latency, us,", "", |s| s.outcome.latency.all.p50),
            row("p90, us,", "", |s| s.outcome.latency.all.p90),
            row("p99, us,", "", |s| s.outcome.latency.all.p99),
            row("p99.9, us,", "", |s| s.outcome.latency.all.p999),
            row("p99.99, us,", "", |s| s.outcome.latency.all.p9999),
            row("p99 of the first 2 s, us,", "", |s| of_some(&s.first)),
            row("p99 behind them, us,", "", |s| of_some(&s.warm)),
            row("messages out of order", "0", |s| {
                s.outcome.counts.reordered.all() as f64
            }),
            row("messages with wrong content", "0", |s| {
                s.outcome.counts.wrong.all() as f64
            }),
            row("calls not complete", "0", |s| {
                (s.outcome.counts.started - s.outcome.counts.complete) as f64
            }),
        ]
    }

    fn ways(&self) -> Table {
        let points = Latency::default().points().map(|(name, _)| name.to_owned());
        let mut table = table(
            ["proxy".to_owned(), "message".into()]
                .into_iter()
                .chain(points),
        );
        for found in &self.found {
            let latency = &found.at_share.outcome.latency;
            let ways = Way::ALL.map(|way| (way.name(), latency.of(way)));
            for (way, latency) in ways.into_iter().chain([("all", &latency.all)]) {
                let mut row = vec![found.variant.name(), way.to_owned()];
                row.extend(latency.points().map(|(_, v)| value(v)));
                table.add_row(row);
            }
        }
        table
    }

    fn notes(&self) -> String {
        let own = self.found.iter().flat_map(|f| &f.steady);
        let own = own.map(|s| s.outcome.own_us).fold(0.0, f64::max);
        format!(
            "The floor is a bare relay that waits as dialcore is told to; its threads are of the \
             load generator's process. Waking must cost what it costs there, at every rate alike. \
             The load generator itself takes up to {} us of CPU per call.",
            value(own)
        )
    }

    /// Writes `NAME.json` and the pictures into a folder.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        write_json(folder, name, self)?;
        for (what, plot) in self.plots() {
            plot.draw(&folder.join(format!("{name}-{what}.svg")))?;
        }
        Ok(())
    }

    fn plots(&self) -> [(&'static str, Plot); 3] {
        let lines = |points: &dyn Fn(&Found) -> Vec<(f64, f64)>| -> Vec<Line> {
            let line = |found: &Found| Line {
                name: found.variant.name(),
                points: points(found),
            };
            self.found.iter().map(line).collect()
        };
        let axis = |name, scale| Axis { name, scale };
        let rate = || axis("offered calls per second", Scale::Linear);
        let of_curve = |of: fn(&Steady) -> f64, has_followed: bool| {
            move |found: &Found| {
                let longer = found.steady.iter().chain([&found.at_share]);
                let steady = longer.chain(&found.curve);
                let shown = steady.filter(|s| !has_followed || s.has_followed());
                let mut points: Vec<(f64, f64)> = shown.map(|s| (s.rate, of(s))).collect();
                // Of one rate the first counts: the steady run, which is longer.
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points.dedup_by_key(|point| point.0);
                points
            }
        };
        let names = Latency::default().points().map(|(name, _)| name);
        let percentiles = |found: &Found| -> Vec<(f64, f64)> {
            let points = found.at_share.outcome.latency.all.points();
            let numbered = points.into_iter().enumerate();
            numbered
                .map(|(place, (_, us))| (place as f64, us))
                .collect()
        };
        let mut cpu = lines(&of_curve(Steady::cpu_us, true));
        cpu.extend((!self.floor.is_empty()).then(|| Line {
            name: self.floor_name(),
            points: self.floor.iter().map(|s| (s.rate, s.cpu_us())).collect(),
        }));
        [
            (
                "cpu",
                Plot {
                    title: "CPU per complete call, as far as each proxy follows",
                    x: rate(),
                    y: axis("microseconds of CPU", Scale::Linear),
                    lines: cpu,
                    legend: Corner::UpperRight,
                },
            ),
            (
                "latency",
                Plot {
                    title: "Added latency of a message, at 70 % of each proxy's knee",
                    x: axis("percentile of all messages", Scale::Names(names.to_vec())),
                    y: axis("microseconds", Scale::Log),
                    lines: lines(&percentiles),
                    legend: Corner::UpperLeft,
                },
            ),
            (
                "knee",
                Plot {
                    title: "p99 of added latency against load, beyond the knee too",
                    x: rate(),
                    y: axis("microseconds", Scale::Log),
                    lines: lines(&of_curve(|s| s.outcome.latency.all.p99, false)),
                    legend: Corner::LowerRight,
                },
            ),
        ]
    }
}

/// p99 of messages that there were.
pub(super) fn of_some(latency: &Latency) -> f64 {
    match latency.count {
        0 => f64::NAN,
        _ => latency.p99,
    }
}

/// The others' values divided by the first one's.
fn ratios(values: &[Option<f64>]) -> String {
    let Some((Some(first), others)) = values.split_first() else {
        return String::new();
    };
    let ratio = |other: &Option<f64>| match other {
        Some(other) if *first > 0.0 => format!("{:.2}", other / first),
        _ => "-".to_owned(),
    };
    others.iter().map(ratio).collect::<Vec<_>>().join(", ")
}
