//! How a proxy is put through the simulator: by seed, by volume, call by call and effect by effect.

use std::collections::BTreeMap;

use dialcore::rng::Rng;

use crate::ladder;
use crate::oracle::Law;
use crate::proxy::Proxy;
use crate::scenario::{Plan, Routing, Scenario};
use crate::trace::{Fate, normalised};
use crate::ua::{Answer, Manner, millis};
use crate::world::{Options, World};

/// Calls of one run: enough to share shards, few enough to read.
const CALLS_PER_RUN: usize = 50;
/// Seeds of the volume tests count from here.
const FIRST_SEED: u64 = 0x5eed_0000;
/// The options of a run whose ladder may be wanted.
pub const RECORDING: Options = Options {
    is_recording: true,
    failing_effect: None,
};

/// What is put through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The shards of the product.
    Product,
    /// The naive relay.
    Reference,
}

impl Subject {
    /// A node with so many shards.
    pub fn proxy(self, shard_count: u16, seed: u64) -> Proxy {
        match self {
            Subject::Product => Proxy::product(shard_count, seed),
            Subject::Reference => Proxy::reference(shard_count, seed, None),
        }
    }

    /// As the environment says it.
    pub fn word(self) -> &'static str {
        match self {
            Subject::Product => "product",
            Subject::Reference => "reference",
        }
    }
}

/// How many calls the volume tests make: few where the code is not optimised.
pub fn call_count() -> usize {
    const UNLESS_TOLD: usize = if cfg!(debug_assertions) {
        4_000
    } else {
        // A million events of dialogs.
        145_000
    };
    let told = std::env::var("CALLS").ok().and_then(|n| n.parse().ok());
    told.unwrap_or(UNLESS_TOLD)
}

/// The shard count of a seed: one, few or many.
pub fn shard_count(seed: u64) -> u16 {
    [1, 2, 7, 64][Rng::new(seed).below(4) as usize]
}

/// Runs a seed; when it fails, runs it again with a recording and reports. Gives the hash of the
/// trace and what was checked.
pub fn run_seed(subject: Subject, seed: u64) -> (u64, BTreeMap<Law, u64>) {
    let scenario = Scenario::draw(seed, CALLS_PER_RUN);
    let world = |options| {
        let proxy = subject.proxy(shard_count(seed), seed);
        World::new(&scenario, proxy, options)
    };
    let mut first = world(Options::default());
    if let Err(violation) = first.run() {
        let mut again = world(RECORDING);
        let repeated = again.run().map_err(|v| v.text);
        assert_eq!(
            repeated,
            Err(violation.text.clone()),
            "a run is a function of its seed"
        );
        panic!(
            "{}",
            ladder::report(subject, seed, &violation, &again.trace)
        );
    }
    (first.trace.hash(), first.oracle.checks().clone())
}

/// Runs as many seeds as it takes for so many calls; every law must have been put to the test.
/// Gives how often each was.
pub fn run_volume(subject: Subject, call_count: usize) -> BTreeMap<Law, u64> {
    let mut checks = BTreeMap::new();
    let run_count = call_count.div_ceil(CALLS_PER_RUN) as u64;
    for run in 0..run_count {
        let (_, checked) = run_seed(subject, FIRST_SEED + run);
        for (law, count) in checked {
            *checks.entry(law).or_insert(0) += count;
        }
        if (run + 1) % run_count.div_ceil(5) == 0 {
            println!(
                "{subject:?}: {} of {run_count} runs of {CALLS_PER_RUN} calls",
                run + 1
            );
        }
    }
    println!("{subject:?}: checks {checks:?}");
    let untested = Law::OF_CALLS.iter().find(|law| !checks.contains_key(law));
    assert_eq!(untested, None, "a law that was never put to the test");
    checks
}

/// Runs a few calls that are written down, and fails with their ladder.
pub fn run_calls(subject: Subject, calls: Vec<Plan>, proxy: Proxy) -> World {
    let mut world = World::new(&Scenario::of(calls), proxy, RECORDING);
    if let Err(violation) = world.run() {
        panic!("{}", ladder::report(subject, 0, &violation, &world.trace));
    }
    world
}

/// The calls that any change should survive.
pub fn canonical_calls() -> Vec<(&'static str, Routing, Vec<Manner>)> {
    use Routing::{Named, Parallel, Serial, Single, Unresolvable};
    let plain = Manner::plain;
    let caller = || plain().but(|m| m.hang_up_after = millis(2_000));
    let busy = || plain().but(|m| m.answer = Answer::Reject(486));
    let ringing = || plain().but(|m| m.answer = Answer::RingForEver);
    let silent = || plain().but(|m| m.answer = Answer::Silent);
    let tcp = || plain().but(|m| m.is_tcp = true);
    let canceller = || plain().but(|m| m.cancel_after = millis(300));
    let talker = || caller().but(|m| (m.reinvite_after, m.info_after) = (millis(500), millis(700)));
    let tcp_talker = || talker().but(|m| m.is_tcp = true);
    vec![
        ("plain", Single, vec![caller(), plain()]),
        ("busy", Single, vec![caller(), busy()]),
        ("cancel", Single, vec![canceller(), ringing()]),
        ("silent", Single, vec![caller(), silent()]),
        ("rings for ever", Single, vec![caller(), ringing()]),
        ("re-INVITE and INFO", Single, vec![talker(), plain()]),
        ("fork", Parallel, vec![caller(), ringing(), plain(), busy()]),
        ("hunt", Serial, vec![caller(), busy(), plain()]),
        ("name", Named, vec![caller(), plain()]),
        ("no such name", Unresolvable, vec![caller(), plain()]),
        ("callee on TCP", Single, vec![caller(), tcp()]),
        ("caller on TCP", Single, vec![tcp_talker(), plain()]),
    ]
}

/// The plans of calls that are written down.
pub fn plans(calls: Vec<(&'static str, Routing, Vec<Manner>)>) -> Vec<Plan> {
    let numbered = calls.into_iter().enumerate();
    numbered
        .map(|(n, (_, routing, manners))| Plan::of(n, routing, manners))
        .collect()
}

/// The metamorphic law of shared-nothing: one shard and many send the same messages per call,
/// minted identifiers aside.
pub fn assert_shard_count_is_invisible(subject: Subject, seed: u64, call_count: usize) {
    let scenario = Scenario::draw(seed, call_count);
    let one = messages_per_call(subject, &scenario, seed, 1);
    let total: usize = one.iter().map(Vec::len).sum();
    assert!(
        total > 5 * call_count,
        "calls without messages prove nothing: {total}"
    );
    for shard_count in [2, 7, 64] {
        let many = messages_per_call(subject, &scenario, seed, shard_count);
        for (call, (a, b)) in scenario.calls.iter().zip(one.iter().zip(&many)) {
            let what = format!(
                "seed {seed:#x}, {} with 1 and {shard_count} shards",
                call.call_id
            );
            for (x, y) in a.iter().zip(b) {
                assert_eq!(x, y, "{what}");
            }
            assert_eq!(a.len(), b.len(), "{what}: how many messages");
        }
    }
}

fn messages_per_call(
    subject: Subject,
    scenario: &Scenario,
    seed: u64,
    shard_count: u16,
) -> Vec<Vec<String>> {
    // Another seed for each count: what shards mint must not matter.
    let proxy = subject.proxy(shard_count, seed ^ u64::from(shard_count));
    let mut world = World::new(scenario, proxy, RECORDING);
    if let Err(violation) = world.run() {
        panic!(
            "{}",
            ladder::report(subject, seed, &violation, &world.trace)
        );
    }
    let of_call = |plan: &Plan| {
        let mut minted = vec![];
        let arrows = world.trace.arrows_of(&plan.call_id);
        let arrived = arrows.filter(|a| a.fate == Fate::Arrived);
        arrived.map(|a| normalised(&a.bytes, &mut minted)).collect()
    };
    scenario.calls.iter().map(of_call).collect()
}

/// Fails the n-th effect, for every n, on each canonical call (SQLite's trick).
pub fn fail_each_effect(subject: Subject) {
    for (name, routing, manners) in canonical_calls() {
        let scenario = Scenario::of(vec![Plan::of(0, routing, manners)]);
        let mut nth = 0;
        loop {
            let options = Options {
                failing_effect: Some(nth),
                ..RECORDING
            };
            let mut world = World::new(&scenario, subject.proxy(2, nth), options);
            if let Err(violation) = world.run() {
                let report = ladder::report(subject, 0, &violation, &world.trace);
                panic!("{name}, effect {nth} failing: {report}");
            }
            nth += 1;
            if nth >= world.effect_count() {
                break;
            }
        }
        assert!(nth > 1, "{name}: without effects nothing was tried");
    }
}

/// Replays the seed of the environment with a ladder of each call; without one, a fixed seed
/// without ladders.
pub fn replay(subject: Subject) {
    let told = std::env::var("SEED").ok();
    let digits = told.as_deref().map(|s| s.trim_start_matches("0x"));
    let seed = digits.map_or(FIRST_SEED, |s| {
        u64::from_str_radix(s, 16).expect("SEED is hexadecimal")
    });
    let scenario = Scenario::draw(seed, CALLS_PER_RUN);
    let mut world = World::new(&scenario, subject.proxy(shard_count(seed), seed), RECORDING);
    let result = world.run();
    if told.is_some() {
        for plan in &scenario.calls {
            println!(
                "{plan:?}\n{}",
                ladder::ladder(world.trace.arrows_of(&plan.call_id))
            );
        }
        println!(
            "seed {seed:#x}: {:?}, trace {:#x}",
            world.now(),
            world.trace.hash()
        );
    }
    if let Err(violation) = result {
        panic!(
            "{}",
            ladder::report(subject, seed, &violation, &world.trace)
        );
    }
}
