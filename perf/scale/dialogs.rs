//! What a message costs beside many dialogs, what a dialog takes of the memory, and whether all
//! end in time.
//!
//! Shards run as values in this process, under virtual time: no socket, no kernel. When one shard
//! may not hold as many dialogs as are asked for, several do, each for itself. The cost is the CPU
//! time of this thread for a request within a dialog and its 200, with script, transaction and
//! timers, once among 64 dialogs over and over, whose memory is in the caches, once among 65,536
//! different ones spread over all, each touched for the first time since it was made, and once
//! among the 64 with a sleep before each message: what a core pays that every message wakes.

use std::fs;
use std::io;

use dialcore::effect::{Effect, Outbox};
use dialcore::limits::DIALOG_COUNT_MAX;
use dialcore::modules::dialog::state::State;
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::ShardId;
use dialcore::time::{Duration, Instant, Now, WallTime};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::text;
use crate::kernel::thread_cpu;

const SCRIPT: &str = include_str!("../scale.cfg");
/// All calls of a shard begin within this time, so transactions are few at a time.
const FILLING_S: u64 = 10_000;
/// `default_timeout` of the script.
const LIFETIME_S: u64 = 40_000;
/// Dialogs of which routes are kept, to send requests in them.
const SAMPLE: u64 = 65_536;
/// Requests that are on their way together.
const BATCH: usize = 512;
const WARM_DIALOGS: usize = 64;
const WARM_BATCHES: usize = 40;
/// About the time between two datagrams of a core that takes 800 calls per second.
const SLEEP: std::time::Duration = std::time::Duration::from_micros(200);
const ASLEEP_BATCHES: usize = 4;

/// What was measured with so many dialogs.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) dialogs: u64,
    /// How many shards held them.
    pub(crate) shards: u64,
    /// Nanoseconds of CPU per message, memory in the caches.
    pub(crate) warm_ns: f64,
    /// The same, memory out of the caches as far as there are more dialogs than fit.
    pub(crate) cold_ns: f64,
    /// The same with warm memory, for a thread that sleeps before each message; a look at the
    /// clock, which the others share among 64 messages, is in it.
    pub(crate) asleep_ns: f64,
    /// Bytes of resident memory per dialog.
    pub(crate) bytes_each: f64,
    /// Resident memory of the process, bytes.
    pub(crate) resident: u64,
    /// Dialogs that ended because their time was over.
    pub(crate) expired: u64,
    /// By how much the latest was too late, seconds: virtual time, to which the CPU time of all
    /// work is added.
    pub(crate) latest_s: f64,
    /// By how much the earliest was too early, seconds.
    pub(crate) earliest_s: f64,
}

/// How messages follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gait {
    InARow,
    /// The thread sleeps before each, for [`SLEEP`].
    Asleep,
}

impl Gait {
    /// How many come between two looks at the clock.
    fn stride(self) -> usize {
        match self {
            Gait::InARow => 64,
            Gait::Asleep => 1,
        }
    }
}

/// One shard with its clock.
struct Core {
    shard: Shard,
    out: Outbox,
    now: Instant,
    /// When each sampled call was answered, its number and route.
    sample: Vec<(u64, Box<str>)>,
    dialogs: u64,
    between: Duration,
}

impl Core {
    fn new() -> io::Result<Core> {
        let setup = Setup::from_text(SCRIPT, 1)
            .map_err(|errors| io::Error::other(format!("scale.cfg: {errors}")))?;
        Ok(Core {
            shard: Shard::new(ShardId(0), setup.into(), 1),
            out: Outbox::new(),
            now: Instant::ZERO,
            sample: Vec::new(),
            dialogs: 0,
            between: Duration::ZERO,
        })
    }

    fn input(&mut self, input: Input<'_>) {
        let now = Now {
            mono: self.now,
            wall: WallTime::from_micros(1_700_000_000_000_000 + self.now.as_nanos() / 1_000),
        };
        self.shard.handle(now, input, &mut self.out);
    }

    /// Gives a message in; what goes to the callee for it.
    fn receive(&mut self, remote: std::net::SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let flow = text::flow(remote);
        self.input(Input::Received { flow, bytes });
        self.out.drain().find_map(|effect| match effect {
            Effect::Send(send) if send.to.remote == text::callee() => Some(send.bytes.to_vec()),
            _ => None,
        })
    }

    /// Lets every timer run out that is due until then.
    fn wait_until(&mut self, end: Instant) {
        while let Some((at, _)) = self.shard.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Deadline);
            self.out.drain();
        }
        self.now = self.now.max(end);
    }

    /// Makes dialogs, spread evenly over the time of the filling.
    fn fill(&mut self, dialogs: u64, sample_every: u64, bar: &ProgressBar) -> io::Result<()> {
        self.dialogs = dialogs;
        self.between = Duration::from_nanos(FILLING_S * 1_000_000_000 / dialogs.max(1));
        for call in 0..dialogs {
            let invite = text::request("INVITE", call, 1, "");
            let relayed = self.receive(text::caller(), &invite);
            let relayed = relayed.ok_or_else(|| io::Error::other("an INVITE was not relayed"))?;
            let route = text::field(&relayed, "Record-Route").to_owned();
            self.receive(text::callee(), &text::answer(&relayed, "200 OK"));
            self.receive(text::caller(), &text::request("ACK", call, 1, &route));
            if call % sample_every == 0 {
                self.sample.push((call, route.into()));
            }
            let next = Instant::from_nanos((call + 1) * self.between.as_nanos());
            self.wait_until(next);
            if call % 1_024 == 0 {
                bar.inc(1_024);
            }
        }
        self.wait_until(self.now + Duration::from_secs(60));
        let there = self.shard.state().dialogs.table.count(State::Confirmed) as u64;
        match there == dialogs && self.shard.is_idle() {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{there} dialogs of {dialogs} are up"
            ))),
        }
    }

    /// Nanoseconds of CPU for one batch of requests in these dialogs and their answers.
    fn batch(&mut self, dialogs: &[(u64, Box<str>)], cseq: u32, gait: Gait) -> io::Result<u64> {
        let requests: Vec<Vec<u8>> = (0..BATCH)
            .map(|n| {
                let (call, route) = &dialogs[n % dialogs.len()];
                let cseq = cseq + (n / dialogs.len()) as u32;
                text::request("INFO", *call, cseq, route)
            })
            .collect();
        let (relayed, asked) = self.timed(text::caller(), &requests, gait);
        if relayed.len() != BATCH {
            return Err(io::Error::other("a request was not relayed"));
        }
        let answers: Vec<Vec<u8>> = relayed.iter().map(|r| text::answer(r, "200 OK")).collect();
        let (_, answered) = self.timed(text::callee(), &answers, gait);
        let begun = thread_cpu();
        self.wait_until(self.now + Duration::from_secs(1));
        let waited = (thread_cpu() - begun).as_nanos() as u64;
        Ok(asked + answered + waited)
    }

    /// Gives messages in: what went to the callee, and the CPU time.
    fn timed(
        &mut self,
        from: std::net::SocketAddr,
        messages: &[Vec<u8>],
        gait: Gait,
    ) -> (Vec<Vec<u8>>, u64) {
        let (flow, mut used, mut sent) = (text::flow(from), 0, Vec::new());
        for some in messages.chunks(gait.stride()) {
            if gait == Gait::Asleep {
                std::thread::sleep(SLEEP);
            }
            let begun = thread_cpu();
            for bytes in some {
                self.input(Input::Received { flow, bytes });
            }
            used += (thread_cpu() - begun).as_nanos() as u64;
            for effect in self.out.drain() {
                if let Effect::Send(send) = effect
                    && send.to.remote == text::callee()
                {
                    sent.push(send.bytes.to_vec());
                }
            }
        }
        (sent, used)
    }

    /// Nanoseconds per message among few dialogs, over and over.
    fn warm(&mut self) -> io::Result<f64> {
        let few: Vec<_> = self.sample.iter().take(WARM_DIALOGS).cloned().collect();
        let mut used = 0;
        for round in 0..=WARM_BATCHES {
            let one = self.batch(&few, 10 + 600 * round as u32, Gait::InARow)?;
            // The first one warms.
            used += if round == 0 { 0 } else { one };
        }
        Ok(used as f64 / (2 * BATCH * WARM_BATCHES) as f64)
    }

    /// Nanoseconds per message among few dialogs, with a sleep before each.
    fn asleep(&mut self) -> io::Result<f64> {
        let few: Vec<_> = self.sample.iter().take(WARM_DIALOGS).cloned().collect();
        let first = 10 + 600 * (WARM_BATCHES as u32 + 1);
        let used: io::Result<u64> = (0..ASLEEP_BATCHES as u32)
            .map(|round| self.batch(&few, first + 600 * round, Gait::Asleep))
            .sum();
        Ok(used? as f64 / (2 * BATCH * ASLEEP_BATCHES) as f64)
    }

    /// Nanoseconds per message in one dialog after the other, in an order that looks like chance.
    fn cold(&mut self) -> io::Result<f64> {
        let mut all = self.sample.clone();
        all.sort_by_key(|(call, _)| crate::load::scatter(*call));
        // With fewer dialogs than a batch they come again, and are as warm as they can be.
        let (mut used, mut count) = (0, 0);
        for (round, some) in all.chunks(BATCH).enumerate() {
            let cseq = 30_000 + 600 * (round as u32 + 1);
            used += self.batch(some, cseq, Gait::InARow)?;
            count += 2 * BATCH;
        }
        Ok(used as f64 / count as f64)
    }

    /// Lets all dialogs run out. The time that this takes passes for the dialogs too.
    fn expire(&mut self, measured: &mut Measured, bar: &ProgressBar) {
        let expired = |core: &Core| core.shard.state().dialogs.counts.expired;
        let end = Instant::from_nanos((FILLING_S + 2 * LIFETIME_S) * 1_000_000_000);
        let mut seen = expired(self);
        while let Some((at, _)) = self.shard.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let begun = thread_cpu();
            self.input(Input::Deadline);
            let took = (thread_cpu() - begun).as_nanos() as u64;
            self.out.drain();
            self.now += Duration::from_nanos(took);
            for number in seen..expired(self) {
                // They end in the order in which they began.
                let due = number * self.between.as_nanos() + LIFETIME_S * 1_000_000_000;
                let late_s = (self.now.as_nanos() as f64 - due as f64) / 1e9;
                measured.latest_s = measured.latest_s.max(late_s);
                measured.earliest_s = measured.earliest_s.max(-late_s);
                measured.expired += 1;
            }
            bar.inc(expired(self) - seen);
            seen = expired(self);
        }
    }
}

/// Measures with so many dialogs.
pub(crate) fn measure(dialogs: u64) -> io::Result<Measured> {
    let shards = dialogs.div_ceil(DIALOG_COUNT_MAX as u64).max(1);
    let mut measured = Measured {
        dialogs,
        shards,
        ..Measured::default()
    };
    let before = resident();
    let bar = crate::terminal::bar(&format!("{dialogs} dialogs"), 2 * dialogs);
    let mut cores = Vec::new();
    for shard in 0..shards {
        let mut core = Core::new()?;
        let own = dialogs / shards + u64::from(shard < dialogs % shards);
        core.fill(own, (dialogs / SAMPLE).max(1), &bar)?;
        cores.push(core);
    }
    measured.resident = resident();
    let grown = measured.resident.saturating_sub(before);
    measured.bytes_each = grown as f64 / dialogs.max(1) as f64;
    let count = cores.len() as f64;
    for core in &mut cores {
        measured.cold_ns += core.cold()? / count;
        measured.warm_ns += core.warm()? / count;
        measured.asleep_ns += core.asleep()? / count;
    }
    for core in &mut cores {
        core.expire(&mut measured, &bar);
    }
    bar.finish_and_clear();
    Ok(measured)
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogs_cost_and_end() {
        let measured = measure(200).expect("dialogs");
        assert_eq!((measured.dialogs, measured.shards), (200, 1));
        assert!(measured.warm_ns > 0.0 && measured.cold_ns > 0.0 && measured.asleep_ns > 0.0);
        assert!(measured.bytes_each > 0.0);
        assert_eq!(measured.expired, 200);
        assert!(
            measured.latest_s <= 1.0 && measured.earliest_s <= 1.0,
            "{measured:?}"
        );
    }
}
