//! The measured bodies. To add one, write a function from iterations to a result, give it a row
//! in [`BODIES`] with any hash, and copy the right hash from the failure of `cargo test --benches`.
//!
//! A body's setup is not measured, as long as it does not depend on the number of iterations. Its
//! result must depend on every iteration, or the compiler takes the work away.

use std::hint::black_box;

use crate::allocations;
use crate::dialog;
use crate::path;
use crate::script::{self, ALLOCATION_FREE};
use dialcore::rng::Rng;
use dialcore::slab::Table;
use dialcore::steer;
use dialcore::time::{Duration, Instant};
use dialcore::wheel::Wheel;

/// One thing to measure.
pub(crate) struct Body {
    pub(crate) name: &'static str,
    /// What happens in one iteration.
    pub(crate) iteration: &'static str,
    pub(crate) iterations: u64,
    /// What `run(iterations)` gives.
    pub(crate) hash: u64,
    pub(crate) run: fn(u64) -> u64,
}

#[rustfmt::skip]
pub(crate) const BODIES: &[Body] = &[
    Body { name: "steer", iteration: "owner of a Call-ID of 36 bytes among 64 shards",
           iterations: 10_000, hash: 0x8f68_1748_1d3f_0e41, run: steer_owner },
    Body { name: "slab", iteration: "insert one, look one up, remove one, of 1,000",
           iterations: 10_000, hash: 0xdda1_9a03_1527_212a, run: slab_churn },
    Body { name: "wheel", iteration: "start one, ask for what is due, stop it",
           iterations: 10_000, hash: 0x8569_b13e_bb94_db2b, run: |n| wheel_churn(n, 0) },
    Body { name: "wheel-1m", iteration: "the same beside 1,000,000 timers",
           iterations: 10_000, hash: 0x8569_b13e_bb94_db2b, run: |n| wheel_churn(n, 1_000_000) },
    Body { name: "wheel-fire", iteration: "a timer runs out and starts again, of 1,000",
           iterations: 10_000, hash: 0xf0fa_b215_21fa_3568, run: wheel_fire },
    Body { name: "scan", iteration: "find the Call-ID of an INVITE of 750 bytes",
           iterations: 1_000, hash: 0xd672_6bc0_dde8_27e7, run: path::scan_call_id },
    Body { name: "parse", iteration: "read that INVITE",
           iterations: 1_000, hash: 0x3ba3_9eb4_381a_dd16, run: path::parse },
    Body { name: "script-count", iteration: "$var(i) = $var(i) + 1;",
           iterations: 10_000, hash: 0x2adf_0a62_dd3f_36a4,
           run: |n| script::statement(n, "$var(i) = $var(i) + 1;") },
    Body { name: "script-text", iteration: "$var(s) = $fU + \"@\" + $fd;",
           iterations: 10_000, hash: 0x2adf_0a62_dd3f_36a4,
           run: |n| script::statement(n, "$var(s) = $fU + \"@\" + $fd;") },
    Body { name: "script-if", iteration: "if ($rm == \"INVITE\" && $rU != $null) setflag(1);",
           iterations: 10_000, hash: 0x1e2e_1405_5a2e_b854,
           run: |n| script::statement(n, "if ($rm == \"INVITE\" && $rU != $null) setflag(1);") },
    Body { name: "script-match", iteration: "if ($ru =~ \"^sip:[0-9]+@\") setflag(1);",
           iterations: 10_000, hash: 0x2adf_0a62_dd3f_36a4,
           run: |n| script::statement(n, "if ($ru =~ \"^sip:[0-9]+@\") setflag(1);") },
    Body { name: "script-part", iteration: "$var(n) = $(ru{uri.host}{s.len});",
           iterations: 10_000, hash: 0x2adf_0a62_dd3f_36a4,
           run: |n| script::statement(n, "$var(n) = $(ru{uri.host}{s.len});") },
    Body { name: "script-call", iteration: "is_method(\"INVITE|BYE\");",
           iterations: 10_000, hash: 0x2adf_0a62_dd3f_36a4,
           run: |n| script::statement(n, "is_method(\"INVITE|BYE\");") },
    Body { name: "script-route", iteration: "route(NOTHING);",
           iterations: 10_000, hash: 0x2adf_0a62_dd3f_36a4,
           run: |n| script::statement(n, "route(NOTHING);") },
    Body { name: "script-proxy", iteration: "the route of a proxy of 80 lines, for an INVITE",
           iterations: 1_000, hash: 0x30c0_fdd4_cdcd_713c, run: script::proxy },
    Body { name: "request", iteration: "relay a request and its 200, with script and transaction",
           iterations: 200, hash: 0x10cc_0d47_2212_6099, run: path::relay_request },
    Body { name: "response", iteration: "relay a 180",
           iterations: 1_000, hash: 0xd0f6_119b_0d7b_782b, run: path::relay_response },
    Body { name: "call", iteration: "INVITE 100 180 200 ACK BYE 200 through a shard",
           iterations: 200, hash: 0xa34b_7f4c_8d7e_1b6e, run: path::call },
    Body { name: "call-dialog", iteration: "the same with a dialog and a profile",
           iterations: 200, hash: 0x484b_09dc_9d09_922b, run: path::dialog_call },
    Body { name: "dialog-make", iteration: "make a dialog",
           iterations: 2_000, hash: 0x9844_1eda_cd37_ed12, run: dialog::make },
    Body { name: "dialog-end", iteration: "make one dialog and end another, of 1,000",
           iterations: 2_000, hash: 0x9844_1eda_cd37_ed12, run: dialog::churn },
    Body { name: "dialog-cookie", iteration: "find a dialog by its cookie, of 1,000",
           iterations: 10_000, hash: 0xd266_7cb6_79b5_62a2, run: |n| dialog::by_cookie(n, 0) },
    Body { name: "dialog-tags", iteration: "find it by Call-ID and tags, of 1,000",
           iterations: 10_000, hash: 0x8569_b13e_bb94_db2b, run: |n| dialog::by_tags(n, 0) },
    Body { name: "dialog-cookie-1m", iteration: "by its cookie, of 1,001,000",
           iterations: 10_000, hash: 0xd266_7cb6_79b5_62a2,
           run: |n| dialog::by_cookie(n, 1_000_000) },
    Body { name: "dialog-tags-1m", iteration: "by Call-ID and tags, of 1,001,000",
           iterations: 10_000, hash: 0x8569_b13e_bb94_db2b,
           run: |n| dialog::by_tags(n, 1_000_000) },
];

impl Body {
    /// Runs it once, and says what is wrong with its result.
    pub(crate) fn check(&self) -> Result<(), String> {
        let hash = (self.run)(self.iterations);
        if hash == self.hash {
            return self.check_allocations();
        }
        Err(format!(
            "{}: the result is {hash:#x}, not {:#x}",
            self.name, self.hash
        ))
    }
}

impl Body {
    /// Whether twice as many iterations allocate as much, where they must.
    fn check_allocations(&self) -> Result<(), String> {
        if !ALLOCATION_FREE.contains(&self.name) {
            return Ok(());
        }
        let (once, twice) = (self.allocations(1), self.allocations(2));
        if once == twice {
            return Ok(());
        }
        let count = twice.saturating_sub(once);
        Err(format!(
            "{}: {count} allocations in {} iterations, where there must be none",
            self.name, self.iterations
        ))
    }

    fn allocations(&self, factor: u64) -> u64 {
        let (before, _) = allocations::so_far();
        black_box((self.run)(self.iterations * factor));
        allocations::so_far().0 - before
    }
}

/// Folds one more value into a result, order included.
pub(crate) fn fold(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn steer_owner(iterations: u64) -> u64 {
    let ids: Vec<String> = (0..64)
        .map(|n| format!("{n:010}-4242-0123456789@127.0.0.1"))
        .collect();
    (0..iterations).fold(0, |hash, n| {
        let id = black_box(ids[n as usize % ids.len()].as_bytes());
        fold(hash, steer::owner(id, 64).0.into())
    })
}

fn slab_churn(iterations: u64) -> u64 {
    let mut table = Table::new();
    let mut keys: Vec<_> = (0..1_000u64).map(|n| table.insert(n)).collect();
    (0..iterations).fold(0, |hash, n| {
        let place = n as usize * 7 % keys.len();
        let seen = table.get(keys[place]).copied().unwrap_or(u64::MAX);
        table.remove(keys[place]);
        keys[place] = table.insert(black_box(n));
        fold(hash, seen)
    })
}

/// The life of most timers of a proxy: started for the worst, stopped by an answer.
fn wheel_churn(iterations: u64, others: u32) -> u64 {
    let mut wheel = Wheel::new(Instant::ZERO);
    let mut rng = Rng::new(1);
    for n in 0..others {
        let length = Duration::from_millis(3_600_000 + u64::from(rng.below(36_000_000)));
        wheel.start(Instant::ZERO + length, u64::from(n));
    }
    let mut now = Instant::ZERO;
    (0..iterations).fold(0, |hash, n| {
        now += Duration::from_micros(50);
        let key = wheel.start(now + Duration::from_secs(32), black_box(n));
        let due = wheel.pop_due(now).is_some();
        fold(
            hash,
            u64::from(wheel.stop(black_box(key))) << 1 | u64::from(due),
        )
    })
}

fn wheel_fire(iterations: u64) -> u64 {
    let mut wheel = Wheel::new(Instant::ZERO);
    for n in 0..1_000 {
        wheel.start(Instant::from_nanos(n * 500_000), n);
    }
    (0..iterations).fold(0, |hash, _| {
        let next = wheel.next_deadline().map(|(at, _)| at);
        let due = next.and_then(|at| wheel.pop_due(at));
        let (at, what) = due.expect("1,000 timers run, and none was stopped");
        wheel.start(at + Duration::from_millis(500), what);
        fold(hash, at.as_nanos() ^ what)
    })
}
