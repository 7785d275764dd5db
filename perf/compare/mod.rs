//! Proxies with the same configuration under the same load, one after the other, and the floor
//! beneath them.

mod readme;
mod report;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::{Apart, Bench, First, Steady};
use crate::load::{Plan, Run, Sockets};
use crate::place::Place;
use crate::relay::Relay;
use crate::subject::{Holds, Kind, Variant, install_kamailio};

/// Every call is a dialog and member of one profile.
pub(crate) const SCRIPT: &str = include_str!("../dialog.cfg");
/// The share of the knee at which latency is judged.
const SHARE: f64 = 0.7;
/// For so many seconds a load is only begun: transactions are over by then.
const BEGIN_S: f64 = 7.0;
/// Where memory is measured: no proxy is busy.
const MEMORY_RATE: f64 = 1_000.0;
/// A proxy that has nothing left to do gives pages back within this time.
pub(crate) const GIVEN_BACK_AFTER: Duration = Duration::from_millis(2_500);
/// What is warm before memory is measured: rings of a fixed size are full behind so many calls.
pub(crate) const WARM_CALLS: u64 = 8_000;

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Calls per second of the steady runs.
    pub(crate) rates: Vec<f64>,
    /// Seconds of each.
    pub(crate) seconds: f64,
    /// Seconds of each step towards the knee.
    pub(crate) step_seconds: f64,
    /// Complete calls of all steady runs together, at least: what reordering is counted of.
    pub(crate) calls: u64,
    /// Calls held at once, for memory per dialog.
    pub(crate) held: u64,
    /// Calls that ring at once, for memory per call.
    pub(crate) ringing: u64,
    /// How long to wait, at most, until transactions of calls that are over are gone, seconds.
    pub(crate) linger_s: f64,
    /// Calls before memory is measured, so that what has a fixed size is there.
    pub(crate) warm: u64,
    /// What the proxies run.
    #[serde(skip)]
    pub(crate) script: String,
}

/// Memory of one kind of calls.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// How many calls there were when memory was measured.
    pub(crate) calls: u64,
    /// Bytes for each, all in: the growth of the whole, with what the allocator keeps for later.
    pub(crate) bytes_each: f64,
    /// Bytes for each further one: the growth over the last two thirds, at a steady rate.
    pub(crate) bytes_further: f64,
    /// What the proxy said that it held then.
    pub(crate) holds: Holds,
    /// How much more memory there is in use when all is over than before, in percent.
    pub(crate) left_percent: f64,
    /// What it says that it holds when all is over.
    pub(crate) holds_after: Holds,
}

/// What was found of one proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) variant: Variant,
    /// What it says of itself.
    pub(crate) version: String,
    /// At each rate that it followed.
    pub(crate) steady: Vec<Steady>,
    /// The highest rate at which 99.5 % of all calls were complete and p99 was below 50 ms.
    pub(crate) knee: f64,
    /// Every rate that was tried on the way there.
    pub(crate) curve: Vec<Steady>,
    /// At 70 % of the knee.
    pub(crate) at_share: Steady,
    /// Of calls that are up, their transactions gone.
    pub(crate) per_dialog: Memory,
    /// Of calls that ring, with their transactions.
    pub(crate) per_call: Memory,
}

impl Found {
    /// What was seen at this rate, if it followed.
    pub(crate) fn at(&self, rate: f64) -> Option<&Steady> {
        self.steady.iter().find(|s| s.rate == rate)
    }

    /// Dialogs and transactions that were left of all that was held.
    pub(crate) fn left_over(&self) -> u64 {
        let after = [self.per_dialog, self.per_call].map(|m| m.holds_after);
        after.iter().map(|h| h.dialogs + h.transactions).sum()
    }

    /// Messages out of order, and complete calls, of all steady runs.
    pub(crate) fn reordered(&self) -> (u64, u64) {
        let runs = self.steady.iter().chain([&self.at_share]);
        runs.fold((0, 0), |(reordered, calls), run| {
            let counts = &run.outcome.counts;
            (reordered + counts.reordered.all(), calls + counts.complete)
        })
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) place: Place,
    pub(crate) sizes: Sizes,
    /// The least a proxy can do, at each rate.
    #[serde(default)]
    pub(crate) floor: Vec<Steady>,
    /// How many threads did it.
    #[serde(default)]
    pub(crate) floor_cores: usize,
    /// One for each proxy.
    pub(crate) found: Vec<Found>,
}

/// The proxies that are compared: Kamailio also with one worker, because with more it reorders.
pub(crate) fn variants(workers: usize, is_apart: bool) -> Vec<Variant> {
    let of = |kind, workers| Variant {
        kind,
        workers,
        is_apart,
    };
    let mut variants = vec![of(Kind::Dialcore, workers), of(Kind::Kamailio, workers)];
    if workers > 1 {
        variants.push(of(Kind::Kamailio, 1));
    }
    variants
}

/// Runs all, prints the table and writes the results.
pub(crate) fn run(
    sizes: Sizes,
    variants: &[Variant],
    folder: &Path,
    name: &str,
) -> io::Result<Comparison> {
    let place = Place::here();
    if variants.iter().any(|v| v.kind == Kind::Kamailio) {
        install_kamailio()?;
    }
    let (floor, floor_cores) = floor(variants, &sizes)?;
    let found: io::Result<Vec<Found>> = variants.iter().map(|v| look_at(v, &sizes)).collect();
    let comparison = Comparison {
        place,
        sizes,
        floor,
        floor_cores,
        found: found?,
    };
    comparison.write(folder, name)?;
    Ok(comparison)
}

/// The built-in relay at each rate, with as many threads as the first proxy has cores.
fn floor(variants: &[Variant], sizes: &Sizes) -> io::Result<(Vec<Steady>, usize)> {
    let (cores, is_apart) = variants
        .first()
        .map_or((1, false), |v| (v.workers, v.is_apart));
    let mut floor = Vec::new();
    let mut core_count = 0;
    for rate in &sizes.rates {
        let calls = (*rate * sizes.seconds).max(1.0) as u64;
        let (steady, count) = relay(Steady::plan(*rate, calls), cores, is_apart)?;
        floor.push(Steady {
            rate: *rate,
            ..steady
        });
        core_count = count;
    }
    Ok((floor, core_count))
}

/// The built-in relay under a plan, as if it were a proxy, and how many threads it had.
pub(crate) fn relay(plan: Plan, cores: usize, is_apart: bool) -> io::Result<(Steady, usize)> {
    const WARM: (f64, u64) = (500.0, 500);
    let sockets = Sockets::open()?;
    let apart = is_apart.then(Apart::begin).transpose()?;
    let callee = sockets.callee()?;
    let start = || Relay::start(callee, cores, None);
    let relay = apart.as_ref().map_or_else(start, |a| a.start(start))?;
    let warm = Plan::of(WARM.0, WARM.1.min(plan.calls));
    let mut run = Run::new(warm, relay.address(), sockets, "warm")?;
    run.run(|_| {})?;
    let (mut first, before) = (First::of(&plan), relay.used());
    let mut run = Run::new(plan, relay.address(), run.into_sockets(), "relay")?;
    let bar = crate::terminal::bar(&format!("floor {:.0}/s", plan.rate), plan.calls);
    let outcome = run.run(|mut progress| {
        bar.set_position(progress.over);
        first.look(&mut progress);
    })?;
    bar.finish_and_clear();
    let (used, core_count) = (relay.used().since(&before), relay.core_count());
    relay.stop()?;
    Ok((Steady::of(plan.rate, &used, &first, outcome), core_count))
}

/// Runs all of it on one proxy.
fn look_at(variant: &Variant, sizes: &Sizes) -> io::Result<Found> {
    let per_dialog = memory_per_dialog(variant, sizes)?;
    let per_call = memory_per_call(variant, sizes)?;
    let mut bench = Bench::start(variant, &sizes.script)?;
    let steady = steady_runs(&mut bench, sizes)?;
    let followed = steady.last().map_or(100.0, |s| s.rate);
    let (knee, curve) = bench.knee(followed, sizes.step_seconds)?;
    bench.restart()?;
    let rate = (SHARE * knee).max(1.0);
    let plan = Plan::of(rate, (rate * sizes.seconds) as u64);
    // Tables grow to what this load needs, which is another matter than the load.
    bench.run(plan, "warms up at 70 %", |_, _| {})?;
    let at_share = bench.steady(plan.rate, plan.calls)?;
    Ok(Found {
        variant: variant.clone(),
        version: variant.kind.version(),
        steady,
        knee,
        curve,
        at_share,
        per_dialog,
        per_call,
    })
}

/// At each rate as far as it follows; the last again until there were enough calls.
fn steady_runs(bench: &mut Bench, sizes: &Sizes) -> io::Result<Vec<Steady>> {
    let mut steady: Vec<Steady> = Vec::new();
    for rate in &sizes.rates {
        let run = begun_and_steady(bench, *rate, sizes.seconds)?;
        let has_followed = run.has_followed();
        // The first one is told of in any case: it says what happened.
        steady.extend(Some(run).filter(|_| has_followed || *rate == sizes.rates[0]));
        if !has_followed {
            bench.restart()?;
            break;
        }
    }
    let calls: u64 = steady.iter().map(|s| s.outcome.counts.complete).sum();
    if let Some(last) = steady.last_mut()
        && calls < sizes.calls
    {
        let again = last.outcome.counts.complete + sizes.calls - calls;
        // What a load begins with was seen when it began.
        *last = Steady {
            first: last.first,
            ..bench.steady(last.rate, again)?
        };
    }
    Ok(steady)
}

/// A load that has begun, and what it began with: until the transactions of its first seconds are
/// over, a proxy takes more memory with every call, which is another matter than the call.
fn begun_and_steady(bench: &mut Bench, rate: f64, seconds: f64) -> io::Result<Steady> {
    let calls = |seconds: f64| (rate * seconds).max(1.0) as u64;
    let begun = bench.steady(rate, calls(seconds.min(BEGIN_S)))?;
    if !begun.has_followed() {
        return Ok(begun);
    }
    let steady = bench.steady(rate, calls(seconds))?;
    Ok(Steady {
        first: begun.first,
        ..steady
    })
}

/// Memory while calls are up and their transactions gone.
fn memory_per_dialog(variant: &Variant, sizes: &Sizes) -> io::Result<Memory> {
    let calls = sizes.held;
    let plan = Plan {
        hold_s: calls as f64 / MEMORY_RATE + sizes.linger_s,
        ..Plan::of(MEMORY_RATE, calls)
    };
    memory(variant, plan, sizes, |holds| holds.transactions == 0)
}

/// Memory while calls ring.
fn memory_per_call(variant: &Variant, sizes: &Sizes) -> io::Result<Memory> {
    let calls = sizes.ringing;
    let plan = Plan {
        ring_s: calls as f64 / MEMORY_RATE + 2.0,
        ..Plan::of(MEMORY_RATE, calls)
    };
    memory(variant, plan, sizes, |_| true)
}

/// Measures when all calls of the plan are there, none is over, and the proxy holds what it should.
fn memory(
    variant: &Variant,
    plan: Plan,
    sizes: &Sizes,
    is_time: impl Fn(&Holds) -> bool,
) -> io::Result<Memory> {
    let mut bench = Bench::start(variant, &sizes.script)?;
    bench.run(Plan::of(MEMORY_RATE, sizes.warm), "warms up", |_, _| {})?;
    bench.drained(sizes.linger_s)?;
    // Freed pages go back to the system a little later, here and below.
    std::thread::sleep(GIVEN_BACK_AFTER);
    let before = bench.subject()?.memory();
    let grown = |now: u64| now as f64 - before as f64;
    let mut found = Memory {
        calls: plan.calls,
        ..Memory::default()
    };
    let third = plan.calls / 3;
    let (mut looked, mut there, mut first, mut last) = (0.0, None, None, None);
    let what = if plan.ring_s > 0.0 { "rings" } else { "holds" };
    bench.run(plan, what, |progress, subject| {
        if first.is_none() && progress.started >= third {
            first = Some((progress.started, subject.memory()));
        }
        if last.is_none() && progress.started == plan.calls {
            last = Some((progress.started, subject.memory()));
        }
        let until = there.map_or(f64::MAX, |at: f64| at + GIVEN_BACK_AFTER.as_secs_f64());
        let is_quiet = progress.started == plan.calls && progress.over == 0;
        let settled = plan.calls as f64 / plan.rate + 0.5;
        let now = progress.seconds;
        if !is_quiet || looked > until || now < settled.max(looked + 1.0) {
            return;
        }
        looked = now;
        let Ok(holds) = subject.holds() else { return };
        there = there.or(is_time(&holds).then_some(now));
        found.holds = holds;
        found.bytes_each = grown(subject.memory()) / plan.calls.max(1) as f64;
    })?;
    if let (Some((few, from)), Some((many, to))) = (first, last) {
        found.bytes_further = (to as f64 - from as f64) / (many - few).max(1) as f64;
    }
    found.holds_after = bench.drained(sizes.linger_s)?;
    std::thread::sleep(GIVEN_BACK_AFTER);
    found.left_percent = 100.0 * grown(bench.subject()?.memory()) / before.max(1) as f64;
    Ok(found)
}
