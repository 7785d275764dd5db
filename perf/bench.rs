//! A proxy with a load generator beside it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::Cpus;
use crate::load::{Latency, Outcome, Plan, Progress, Run, Sockets};
use crate::subject::{Holds, Subject, Variant};
use crate::terminal;
use crate::used::Used;

/// A run at a rate, and what it cost the proxy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Steady {
    /// Calls per second that were offered.
    pub(crate) rate: f64,
    /// Microseconds of CPU per complete call, in user space.
    pub(crate) user_us: f64,
    /// The same in the kernel.
    pub(crate) system_us: f64,
    /// Ticks by which the one is told from the other; their sum needs none.
    #[serde(default)]
    pub(crate) ticks: u64,
    /// How often a thread of the proxy went to sleep and was woken, per complete call.
    #[serde(default)]
    pub(crate) wakeups: f64,
    /// Time of a message through the proxy in the first seconds, when tables may grow.
    #[serde(default)]
    pub(crate) first: Latency,
    /// The same behind them.
    #[serde(default)]
    pub(crate) warm: Latency,
    /// What the load generator saw.
    pub(crate) outcome: Outcome,
}

/// The first seconds of a run, or a third of it if that is less.
const FIRST_S: f64 = 2.0;

/// Loads are out of step by so much with what they are called: the kernel's ticks would else meet
/// each call of 500/s at the same place, and never at work.
const OUT_OF_STEP: f64 = 1.0007;

/// The first seconds of a run, told from the rest of it.
pub(crate) struct First {
    until_s: f64,
    latency: Option<Latency>,
}

impl First {
    pub(crate) fn of(plan: &Plan) -> First {
        let whole_s = plan.calls as f64 / plan.rate;
        First {
            until_s: FIRST_S.min(whole_s / 3.0),
            latency: None,
        }
    }

    /// Looks at a run that goes on.
    pub(crate) fn look(&mut self, progress: &mut Progress<'_>) {
        if self.latency.is_none() && progress.seconds >= self.until_s {
            self.latency = Some(progress.part().latency.all);
        }
    }
}

/// A rate counts as followed while p99 of the way through the proxy is below this, microseconds.
const FOLLOWED_P99_MAX: f64 = 50_000.0;

impl Steady {
    /// What was seen under a plan, and used meanwhile.
    pub(crate) fn of(rate: f64, used: &Used, first: &First, outcome: Outcome) -> Steady {
        let calls = outcome.counts.complete.max(1) as f64;
        let all_us = used.cpu_s * 1e6 / calls;
        let user_us = all_us * used.user_share();
        Steady {
            rate,
            user_us,
            system_us: all_us - user_us,
            ticks: used.ticks(),
            wakeups: used.sleeps as f64 / calls,
            first: first.latency.unwrap_or_default(),
            warm: outcome.last,
            outcome,
        }
    }

    /// The plan under which a rate is measured.
    pub(crate) fn plan(rate: f64, calls: u64) -> Plan {
        Plan::of(rate * OUT_OF_STEP, calls)
    }

    /// Microseconds of CPU per waking, all that was done then included.
    pub(crate) fn wakeup_us(&self) -> f64 {
        match self.wakeups > 0.0 {
            true => self.cpu_us() / self.wakeups,
            false => f64::NAN,
        }
    }

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

    /// Runs so many calls at a rate and says what it cost.
    pub(crate) fn steady(&mut self, rate: f64, calls: u64) -> io::Result<Steady> {
        let plan = Steady::plan(rate, calls);
        let mut first = First::of(&plan);
        let before = self.subject()?.used();
        let what = format!("{rate:.0}/s");
        let outcome = self.run(plan, &what, |mut progress, _| first.look(&mut progress))?;
        let used = self.subject()?.used().since(&before);
        Ok(Steady::of(rate, &used, &first, outcome))
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
            let point = self.steady(rate, (rate * seconds).max(1.0) as u64)?;
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
