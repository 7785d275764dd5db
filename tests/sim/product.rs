//! The product in the simulator.

use crate::runs::{self, Subject};

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
    runs::run_volume(Subject::Product, runs::call_count());
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
