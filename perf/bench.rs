//! A proxy with a load generator beside it.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::kernel::Cpus;
use crate::load::{Outcome, Plan, Progress, Run, Sockets};
use crate::subject::{Cpu, Holds, Subject, Variant};
use crate::terminal;

/// A run at a rate, and what it cost the proxy.
#[derive(Clone, Copy, Debug, Serialize)]
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

/// A rate counts as followed while p99 of the way through the proxy is below this, microseconds.
const FOLLOWED_P99_MAX: f64 = 50_000.0;

impl Steady {
    /// Microseconds of CPU per complete call.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }

    /// Whether the proxy followed: 99.5 % of all calls complete, and no queue that grows.
    pub(crate) fn has_followed(&self) -> bool {
        self.outcome.has_followed() && self.outcome.latency.all.p99 < FOLLOWED_P99_MAX
    }
}

/// Keeps this thread, which runs the load generator, on the last CPU as long as it lives.
pub(crate) struct Apart {
    before: Cpus,
    own: Cpus,
    /// Those that are left for the proxy.
    pub(crate) others: Cpus,
}

impl Apart {
    pub(crate) fn begin() -> io::Result<Apart> {
        let before = Cpus::of_this_thread()?;
        let (others, own) = before.parted()?;
        own.keep()?;
        Ok(Apart {
            before,
            own,
            others,
        })
    }

    /// Starts a thread of this process on the other CPUs.
    pub(crate) fn start<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.others.keep()?;
        let started = start();
        self.own.keep()?;
        started
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // They were this thread's before.
        let _ = self.before.keep();
    }
}

/// The proxy, started anew when a run has left something behind.
pub(crate) struct Bench {
    variant: Variant,
    script: String,
    subject: Option<Subject>,
    sockets: Option<Sockets>,
    apart: Option<Apart>,
    runs: u32,
}

impl Bench {
    pub(crate) fn start(variant: &Variant, script: &str) -> io::Result<Bench> {
        let mut bench = Bench {
            variant: variant.clone(),
            script: script.to_owned(),
            subject: None,
            sockets: Some(Sockets::open()?),
            apart: variant.is_apart.then(Apart::begin).transpose()?,
            runs: 0,
        };
        bench.restart()?;
        Ok(bench)
    }

    /// A new process, warm: its pages are there and its tables have their size.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        // The old one first, because it takes its time to stop and the CPU is shared.
        self.subject = None;
        let Some(sockets) = &self.sockets else {
            return Err(lent());
        };
        let cpus = self.apart.as_ref().map(|apart| apart.others);
        let subject = Subject::start(&self.variant, &self.script, sockets.callee()?, cpus)?;
        self.subject = Some(subject);
        self.run(Plan::of(500.0, 500), "warms up", |_, _| {})?;
        Ok(())
    }

    pub(crate) fn subject(&self) -> io::Result<&Subject> {
        self.subject.as_ref().ok_or_else(lent)
    }

    /// Runs a plan. `tell` hears of the progress.
    pub(crate) fn run(
        &mut self,
        plan: Plan,
        what: &str,
        mut tell: impl FnMut(Progress<'_>, &Subject),
    ) -> io::Result<Outcome> {
        self.runs += 1;
        let name = format!(
            "{}-{}-{}",
            self.variant.kind.name(),
            std::process::id(),
            self.runs
        );
        let sockets = self.sockets.take().ok_or_else(lent)?;
        let subject = self.subject.as_ref().ok_or_else(lent)?;
        let mut run = Run::new(plan, subject.address(), sockets, &name)?;
        let bar = terminal::bar(&format!("{} {what}", self.variant.name()), plan.calls);
        let outcome = run.run(|progress| {
            bar.set_position(progress.over.max(progress.started / 2));
            tell(progress, subject);
        });
        bar.finish_and_clear();
        self.sockets = Some(run.into_sockets());
        outcome
    }

    /// Runs a plan and says what it cost.
    pub(crate) fn steady(&mut self, plan: Plan) -> io::Result<Steady> {
        let before = self.subject()?.cpu();
        let outcome = self.run(plan, &format!("{:.0}/s", plan.rate), |_, _| {})?;
        let Cpu { user_s, system_s } = self.subject()?.cpu();
        let per_call = |seconds: f64| seconds * 1e6 / outcome.counts.complete.max(1) as f64;
        Ok(Steady {
            rate: plan.rate,
            user_us: per_call(user_s - before.user_s),
            system_us: per_call(system_s - before.system_s),
            outcome,
        })
    }

    /// Waits until nothing is left, which takes as long as transactions linger.
    pub(crate) fn drained(&self, longest_s: f64) -> io::Result<Holds> {
        self.subject()?.drained(Duration::from_secs_f64(longest_s))
    }

    /// The highest rate that it follows, and all that were tried, in the order of the rates: up by
    /// half from `from` until it does not follow, then between the two.
    pub(crate) fn knee(&mut self, from: f64, seconds: f64) -> io::Result<(f64, Vec<Steady>)> {
        const RAISES_MAX: usize = 16;
        const HALVINGS: usize = 3;
        let (mut points, mut best, mut bad) = (Vec::new(), 0.0, None);
        let mut rate = from;
        for _ in 0..RAISES_MAX + HALVINGS {
            let point = self.steady(Plan::of(rate, (rate * seconds).max(1.0) as u64))?;
            match point.has_followed() {
                true => best = f64::max(best, rate),
                false => {
                    bad = Some(rate);
                    // Calls that came to no end are still in it.
                    self.restart()?;
                }
            }
            points.push(point);
            rate = match bad {
                None => rate * 1.5,
                Some(bad) if bad > best * 1.07 && bad > 50.0 => (best + bad) / 2.0,
                Some(_) => break,
            };
        }
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        Ok((best, points))
    }
}

fn lent() -> io::Error {
    io::Error::other("a run before has not given its sockets or proxy back")
}
