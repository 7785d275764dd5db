//! The product in the simulator.

use crate::census::Sabotage;
use crate::oracle::Law;
use crate::proxy::Proxy;
use crate::runs::{self, RECORDING, Subject};
use crate::scenario::{Plan, Routing, Scenario};
use crate::ua::{Manner, millis};
use crate::world::World;

#[test]
fn product_completes_the_canonical_calls() {
    for shard_count in [1, 7] {
        let proxy = Subject::Product.proxy(shard_count, 1);
        let world = runs::run_calls(
            Subject::Product,
            runs::plans(runs::canonical_calls()),
            proxy,
        );
        assert_eq!(world.open_dialogs(), 0);
    }
}

#[test]
fn product_survives_a_volume_of_seeds() {
    let checks = runs::run_volume(Subject::Product, runs::call_count());
    let events = checks.get(&Law::DialogsAddUp).copied().unwrap_or(0);
    // A call that is answered has about a dozen; many are not, and some are no INVITEs.
    let want = 7 * runs::call_count() as u64;
    assert!(events > want, "{events} events of dialogs, not {want}");
}

/// Goal: no count that cannot fail. Each thing planted around the product is found when the calls
/// are over; without it the same calls break no law.
#[test]
fn each_sabotage_of_dialogs_is_caught() {
    let plain = Manner::plain;
    let caller = || plain().but(|m| m.hang_up_after = millis(2_000));
    let plans = || (0..20).map(|n| Plan::of(n, Routing::Single, vec![caller(), plain()]));
    let broken_by = |proxy| {
        let scenario = Scenario::of(plans().collect());
        World::new(&scenario, proxy, RECORDING)
            .run()
            .map_err(|v| v.law)
    };
    assert_eq!(broken_by(Proxy::product(4, 1)), Ok(()));
    for sabotage in [
        Sabotage::HidesEnd,
        Sabotage::DoublesEnd,
        Sabotage::HidesAnswer,
        Sabotage::HidesDestruction,
        Sabotage::NeverWakes,
        Sabotage::Miscounts,
    ] {
        let broken = broken_by(Proxy::sabotaged(4, 1, sabotage));
        assert_eq!(broken, Err(Law::DialogsAddUp), "{sabotage:?}");
    }
}

#[test]
fn product_repeats_itself() {
    let run = |seed| runs::run_seed(Subject::Product, seed).0;
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn product_sends_the_same_with_any_number_of_shards() {
    runs::assert_shard_count_is_invisible(Subject::Product, 0x1a3, 120);
}

#[test]
fn product_survives_each_failing_effect() {
    runs::fail_each_effect(Subject::Product);
}

#[test]
fn product_replays_the_seed_of_the_environment() {
    runs::replay(Subject::Product);
}
