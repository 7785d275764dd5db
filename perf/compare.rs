//! Two proxies, the same configuration, the same load, one after the other.

use std::io;
use std::net::SocketAddr;

use serde::Serialize;

use crate::load::{Outcome, Plan, Run, Sockets};
use crate::progress;
use crate::subject::{Cpu, Kind, Subject};

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sizes {
    /// Calls per second of the steady runs.
    pub(crate) rates: Vec<f64>,
    /// Seconds of each.
    pub(crate) seconds: f64,
    /// Calls held at once, for memory.
    pub(crate) held: u64,
    /// Cores of each proxy.
    pub(crate) cores: usize,
}

/// One steady run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Steady {
    /// Calls per second that were offered.
    pub(crate) rate: f64,
    /// Microseconds of CPU per complete call, in user space.
    pub(crate) user_us: f64,
    /// The same in the kernel.
    pub(crate) system_us: f64,
    /// What the load generator saw.
    pub(crate) outcome: Outcome,
}

impl Steady {
    /// Microseconds of CPU per complete call.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// What was found of one proxy.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    /// Which.
    pub(crate) kind: Kind,
    /// What it says of itself.
    pub(crate) version: String,
    /// At each rate.
    pub(crate) steady: Vec<Steady>,
    /// The highest rate at which 99.5 % of all calls were complete and p99 was below 50 ms.
    pub(crate) knee: f64,
    /// Bytes per call that is held, all in.
    pub(crate) held_bytes: f64,
    /// How much more memory there is after the calls than before, in percent.
    pub(crate) left_percent: f64,
}

/// Runs all of it on one proxy.
pub(crate) fn look_at(kind: Kind, sizes: &Sizes) -> io::Result<Found> {
    let mut bench = Bench::start(kind, sizes.cores)?;
    let mut steady = Vec::new();
    bench.run(500.0, 1_000, 0.0)?;
    for rate in &sizes.rates {
        steady.push(bench.steady(*rate, (*rate * sizes.seconds) as u64)?);
    }
    let (held_bytes, left_percent) = bench.held(sizes.held)?;
    let last = sizes.rates.last().copied().unwrap_or(500.0);
    let knee = bench.knee(last)?;
    Ok(Found {
        kind,
        version: kind.version(),
        steady,
        knee,
        held_bytes,
        left_percent,
    })
}

/// A proxy with a load generator beside it.
struct Bench {
    subject: Subject,
    sockets: Option<Sockets>,
    kind: Kind,
    proxy: SocketAddr,
    runs: u32,
}

impl Bench {
    fn start(kind: Kind, cores: usize) -> io::Result<Bench> {
        let sockets = Sockets::open()?;
        let subject = Subject::start(kind, sockets.callee()?, cores)?;
        Ok(Bench {
            proxy: subject.address(),
            subject,
            sockets: Some(sockets),
            kind,
            runs: 0,
        })
    }

    fn run(&mut self, rate: f64, calls: u64, hold_s: f64) -> io::Result<Outcome> {
        self.runs += 1;
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => return Err(io::Error::other("a run has not given its sockets back")),
        };
        let plan = Plan {
            rate,
            calls,
            hold_s,
        };
        let name = format!("{}-{}-{}", self.kind.name(), std::process::id(), self.runs);
        let mut run = Run::new(plan, self.proxy, sockets, &name)?;
        let bar = progress(&format!("{} {rate:.0}/s", self.kind.name()), calls);
        let outcome = run.run(|done, _| bar.set_position(done))?;
        bar.finish_and_clear();
        self.sockets = Some(run.into_sockets()?);
        Ok(outcome)
    }

    fn steady(&mut self, rate: f64, calls: u64) -> io::Result<Steady> {
        let before = self.subject.cpu();
        let outcome = self.run(rate, calls, 0.0)?;
        let Cpu { user_s, system_s } = self.subject.cpu();
        let per_call = |seconds: f64| seconds * 1e6 / outcome.complete.max(1) as f64;
        Ok(Steady {
            rate,
            user_us: per_call(user_s - before.user_s),
            system_us: per_call(system_s - before.system_s),
            outcome,
        })
    }

    /// Bytes per held call at the peak, and what is left behind in percent.
    fn held(&mut self, calls: u64) -> io::Result<(f64, f64)> {
        const RATE: f64 = 1_000.0;
        // So long that all are up at once, and the transactions of their INVITEs are gone.
        let hold_s = calls as f64 / RATE + 12.0;
        // Transactions of the runs before linger.
        std::thread::sleep(std::time::Duration::from_secs(10));
        let before = self.subject.memory();
        let (mut peak, mut looked) = (before, std::time::Instant::now());
        self.runs += 1;
        let Some(sockets) = self.sockets.take() else {
            return Err(io::Error::other("a run has not given its sockets back"));
        };
        let plan = Plan {
            rate: RATE,
            calls,
            hold_s,
        };
        let name = format!("{}-{}-{}", self.kind.name(), std::process::id(), self.runs);
        let mut run = Run::new(plan, self.proxy, sockets, &name)?;
        let bar = progress(&format!("{} holds", self.kind.name()), calls);
        let begun = looked;
        let subject = &self.subject;
        run.run(|done, _| {
            bar.set_position(done);
            let is_quiet = begun.elapsed().as_secs_f64() > hold_s - 2.0 && done == 0;
            if is_quiet && looked.elapsed().as_millis() > 400 {
                looked = std::time::Instant::now();
                peak = subject.memory();
            }
        })?;
        bar.finish_and_clear();
        self.sockets = Some(run.into_sockets()?);
        // Transactions of the BYEs linger.
        std::thread::sleep(std::time::Duration::from_secs(10));
        let after = self.subject.memory();
        let grown = |to: u64| to as f64 - before as f64;
        Ok((
            grown(peak) / calls.max(1) as f64,
            100.0 * grown(after) / before.max(1) as f64,
        ))
    }

    /// Raises the rate by a quarter until the proxy does not follow any more.
    fn knee(&mut self, from: f64) -> io::Result<f64> {
        const STEPS_MAX: usize = 14;
        let (mut rate, mut best) = (from, 0.0);
        for _ in 0..STEPS_MAX {
            let calls = (rate * 4.0) as u64;
            let outcome = self.run(rate, calls, 0.0)?;
            let is_fine =
                outcome.complete as f64 >= 0.995 * calls as f64 && outcome.latency.p99 < 50_000;
            if !is_fine {
                break;
            }
            (best, rate) = (rate, rate * 1.25);
        }
        Ok(best)
    }
}
