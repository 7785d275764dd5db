//! What threads have used of the CPUs, by the books of the kernel.
//!
//! Their time is the scheduler's sum, exact to the nanosecond, as the clock of a thread is. How it
//! is divided into user space and kernel is known by the ticks that met a thread in either, and
//! on kernels that count so (`CONFIG_TICK_CPU_ACCOUNTING`, most) by nothing better: getrusage(2),
//! taskstats and `/proc` all show the same ticks. So many of them as were seen stand beside a
//! result; with 100 the share is good to 5 %, and a load in step with the tick (250 Hz) is not
//! seen at all, which is why steady loads are a little out of step with it.

use std::fs;
use std::path::{Path, PathBuf};

/// The sum of some threads since they began.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Used {
    /// Seconds on a CPU.
    pub(crate) cpu_s: f64,
    user_ticks: u64,
    system_ticks: u64,
    /// How often one of them went to sleep, and so was woken.
    pub(crate) sleeps: u64,
}

impl Used {
    /// What threads have used, given their folders in `/proc`.
    pub(crate) fn of(threads: impl Iterator<Item = PathBuf>) -> Used {
        threads.fold(Used::default(), |mut sum, thread| {
            let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
            sum.cpu_s += nanos.unwrap_or(0.0) / 1e9;
            // Fields 14 and 15 of proc(5), counted behind the name.
            let fields = stat(&thread).unwrap_or_default();
            let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok());
            sum.user_ticks += ticks(11).unwrap_or(0);
            sum.system_ticks += ticks(12).unwrap_or(0);
            sum.sleeps += sleeps(&thread).unwrap_or(0);
            sum
        })
    }

    /// What they have used since then.
    pub(crate) fn since(&self, then: &Used) -> Used {
        Used {
            cpu_s: self.cpu_s - then.cpu_s,
            user_ticks: self.user_ticks.saturating_sub(then.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(then.system_ticks),
            sleeps: self.sleeps.saturating_sub(then.sleeps),
        }
    }

    /// Ticks by which the division is known.
    pub(crate) fn ticks(&self) -> u64 {
        self.user_ticks + self.system_ticks
    }

    /// Which part of the time was in user space; all of it in the kernel when no tick was seen.
    pub(crate) fn user_share(&self) -> f64 {
        self.user_ticks as f64 / self.ticks().max(1) as f64
    }
}

fn sleeps(thread: &Path) -> Option<u64> {
    let text = fs::read_to_string(thread.join("status")).ok()?;
    let line = text.lines().find(|l| l.starts_with("voluntary_ctxt"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The fields of `/proc/PID/stat` behind the name, the state first.
pub(crate) fn stat(process: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(process.join("stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// The folders of the threads of a process.
pub(crate) fn threads(process: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(process.join("task"));
    folders.map_or_else(|_| Vec::new(), |f| f.flatten().map(|e| e.path()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel;

    #[test]
    fn work_and_sleep_are_seen() {
        let own = PathBuf::from(format!("/proc/self/task/{}", kernel::thread_id()));
        let look = || Used::of([own.clone()].into_iter());
        let (before, begun) = (look(), kernel::thread_cpu());
        let mut sum = 0u64;
        while (kernel::thread_cpu() - begun).as_millis() < 60 {
            sum = std::hint::black_box(sum + 1);
        }
        for _ in 0..5 {
            // It goes to sleep at each of them, which is what is looked at.
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        let used = look().since(&before);
        let by_clock = (kernel::thread_cpu() - begun).as_secs_f64();
        assert!(used.sleeps >= 5, "{used:?}");
        assert!(
            (0.055..by_clock + 0.005).contains(&used.cpu_s),
            "{used:?} {by_clock}"
        );
        assert!(used.ticks() > 0 && used.user_share() <= 1.0, "{used:?}");
        assert!(threads(Path::new("/proc/self")).len() > 1);
    }
}
