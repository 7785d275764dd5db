//! More calls than a proxy can carry: what is left of those that it does carry.

use std::io;
use std::path::Path;

use comfy_table::Table;
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::compare::SCRIPT;
use crate::load::{Outcome, Plan};
use crate::place::{Place, write_json};
use crate::plot::{Axis, Corner, Line, Plot, Scale, number};
use crate::subject::{Kind, TurnedAway, Variant, install_kamailio};
use crate::terminal::{table, value};

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Where the search for the sustainable load begins, calls per second.
    pub(crate) from: f64,
    /// Seconds of each step of it.
    pub(crate) step_seconds: f64,
    /// Seconds of each load.
    pub(crate) seconds: f64,
    /// How many times the sustainable load is offered.
    pub(crate) factors: Vec<f64>,
    /// An answer that comes later is of no use, seconds.
    pub(crate) patience_s: f64,
}

/// One load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) factor: f64,
    /// Calls per second of the plan.
    pub(crate) rate: f64,
    /// What was seen while calls were offered.
    pub(crate) during: Outcome,
    /// What was seen in all.
    pub(crate) whole: Outcome,
    /// What the proxy says of it.
    pub(crate) turned_away: Option<TurnedAway>,
}

impl Loaded {
    /// Calls per second that really began: the load generator shares the machine.
    fn offered(&self) -> f64 {
        self.during.counts.started as f64 / self.during.seconds.max(1e-9)
    }

    fn goodput(&self) -> f64 {
        self.during.goodput()
    }

    /// Percent of all calls that were turned away with 503 and Retry-After.
    fn shed_percent(&self) -> f64 {
        let counts = &self.whole.counts;
        100.0 * counts.shed as f64 / counts.started.max(1) as f64
    }

    /// Percent of all calls that came to no end or to a wrong one.
    fn failed_percent(&self) -> f64 {
        let counts = &self.whole.counts;
        let failed = counts.failed + counts.rejected + counts.late;
        100.0 * failed as f64 / counts.started.max(1) as f64
    }
}

/// What was found of one proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) variant: Variant,
    /// The most calls per second that it carries without loss.
    pub(crate) sustainable: f64,
    pub(crate) loads: Vec<Loaded>,
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Overload {
    pub(crate) place: Place,
    pub(crate) sizes: Sizes,
    pub(crate) found: Vec<Found>,
}

/// Runs all and writes the results.
pub(crate) fn run(
    sizes: Sizes,
    variants: &[Variant],
    folder: &Path,
    name: &str,
) -> io::Result<Overload> {
    let place = Place::here();
    if variants.iter().any(|v| v.kind == Kind::Kamailio) {
        install_kamailio()?;
    }
    let found: io::Result<Vec<Found>> = variants.iter().map(|v| look_at(v, &sizes)).collect();
    let overload = Overload {
        place,
        sizes,
        found: found?,
    };
    overload.write(folder, name)?;
    Ok(overload)
}

fn look_at(variant: &Variant, sizes: &Sizes) -> io::Result<Found> {
    let mut bench = Bench::start(variant, SCRIPT)?;
    let (knee, _) = bench.knee(sizes.from, sizes.step_seconds)?;
    let sustainable = if knee > 0.0 { knee } else { sizes.from };
    let mut loads = Vec::new();
    for factor in &sizes.factors {
        bench.restart()?;
        loads.push(load(&mut bench, sustainable, *factor, sizes)?);
    }
    Ok(Found {
        variant: variant.clone(),
        sustainable,
        loads,
    })
}

fn load(bench: &mut Bench, sustainable: f64, factor: f64, sizes: &Sizes) -> io::Result<Loaded> {
    let rate = sustainable * factor;
    let plan = Plan {
        patience_s: sizes.patience_s,
        within_s: sizes.seconds,
        ..Plan::of(rate, (rate * sizes.seconds).max(1.0) as u64)
    };
    let mut during = None;
    let what = format!("carries {factor:.0} times {sustainable:.0}/s");
    let whole = bench.run(plan, &what, |mut progress, _| {
        // What is complete afterwards is of those that were offered too late to count.
        if during.is_none() && progress.is_offered {
            during = Some(progress.part());
        }
    })?;
    Ok(Loaded {
        factor,
        rate,
        // So short that nobody has looked while it lasted.
        during: during.unwrap_or(whole),
        whole,
        turned_away: bench.subject()?.turned_away()?,
    })
}

impl Overload {
    /// The result for people.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.place.head(), self.table())
    }

    /// The result as README.md shows it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "{}\n\n| proxy | times the sustainable load | planned | offered | complete calls | \
             503 | p50, p99 latency of BYE |\n| --- | --- | --- | --- | --- | --- | --- |\n",
            self.place.origin()
        );
        for found in &self.found {
            for load in &found.loads {
                let rates = [load.rate, load.offered(), load.goodput()];
                let [planned, offered, complete] = rates.map(|rate| number(rate.round()));
                let bye = &load.whole.latency.bye;
                text += &format!(
                    "| {} | {} | {planned}/s | {offered}/s | {complete}/s | {} % | {} us, {} us \
                     |\n",
                    found.variant.name().replace(" apart", ""),
                    number(load.factor),
                    value(load.shed_percent()),
                    number(bye.p50.round()),
                    number(bye.p99.round()),
                );
            }
        }
        text
    }

    fn table(&self) -> Table {
        let head = [
            "proxy",
            "times",
            "planned/s",
            "offered/s",
            "goodput/s",
            "503, %",
            "lost or late, %",
            "INVITEs dropped",
            "lost in the queue",
            "INVITE p99, us",
            "ACK p99, us",
            "BYE p50, us",
            "BYE p99, us",
            "BYE p99.9, us",
        ];
        let mut table = table(head.map(String::from));
        for found in &self.found {
            for load in &found.loads {
                let latency = &load.whole.latency;
                let of_proxy = |of: fn(&TurnedAway) -> u64| {
                    load.turned_away.as_ref().map_or(f64::NAN, |t| of(t) as f64)
                };
                let values = [
                    load.factor,
                    load.rate,
                    load.offered(),
                    load.goodput(),
                    load.shed_percent(),
                    load.failed_percent(),
                    of_proxy(|t| t.dropped),
                    of_proxy(|t| t.lost),
                    latency.invite.p99,
                    latency.ack.p99,
                    latency.bye.p50,
                    latency.bye.p99,
                    latency.bye.p999,
                ];
                let values = values.into_iter().map(value);
                table.add_row([found.variant.name()].into_iter().chain(values));
            }
        }
        table
    }

    fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        write_json(folder, name, self)?;
        let axis = |name, scale| Axis { name, scale };
        let line = |found: &Found, what: &str, of: &dyn Fn(&Loaded) -> f64| Line {
            name: format!("{}{what}", found.variant.name()),
            points: found.loads.iter().map(|l| (l.factor, of(l))).collect(),
        };
        let times = || axis("times the sustainable load", Scale::Linear);
        let goodput = Plot {
            title: "Complete calls per second against offered load",
            x: times(),
            y: axis("calls per second", Scale::Linear),
            lines: self
                .found
                .iter()
                .map(|f| line(f, "", &Loaded::goodput))
                .collect(),
            legend: Corner::LowerRight,
        };
        goodput.draw(&folder.join(format!("{name}-goodput.svg")))?;
        let ways = self.found.iter().flat_map(|f| {
            [
                line(f, ", ACK", &|l| l.whole.latency.ack.p99),
                line(f, ", BYE", &|l| l.whole.latency.bye.p99),
            ]
        });
        let latency = Plot {
            title: "p99 of requests within dialogs against offered load",
            x: times(),
            y: axis("microseconds", Scale::Log),
            lines: ways.collect(),
            legend: Corner::LowerRight,
        };
        latency.draw(&folder.join(format!("{name}-latency.svg")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_in_small() {
        let folder = std::env::temp_dir().join(format!("perf-overload-{}", std::process::id()));
        let sizes = Sizes {
            from: 2_000.0,
            step_seconds: 0.05,
            seconds: 0.2,
            factors: vec![0.1, 2.0],
            patience_s: 4.0,
        };
        let variant = Variant {
            kind: Kind::Dialcore,
            workers: 2,
            is_apart: false,
        };
        let found = run(sizes, &[variant], &folder, "overload").expect("a run");
        let loads = &found.found[0].loads;
        assert_eq!(loads.len(), 2);
        for load in loads {
            let counts = load.whole.counts;
            assert_eq!(counts.over(), counts.started, "{counts:?}");
            assert_eq!(
                (counts.wrong.all(), counts.reordered.all()),
                (0, 0),
                "{counts:?}"
            );
        }
        assert!(loads[0].goodput() > 0.0);
        assert!(found.text().contains("goodput/s"));
        for name in [
            "overload.json",
            "overload-goodput.svg",
            "overload-latency.svg",
        ] {
            assert!(folder.join(name).exists(), "{name}");
        }
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }
}
