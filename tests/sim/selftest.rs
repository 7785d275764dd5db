//! What proves the simulator itself: user agents without a proxy, the naive relay, and the naive
//! relay with each fault planted in it.

use dialcore::steer::{ShardId, owner};
use dialcore::time::Instant;

use crate::oracle::{Law, Oracle};
use crate::proxy::Proxy;
use crate::reference::Fault;
use crate::runs::{self, RECORDING, Subject};
use crate::scenario::{Plan, Routing, Scenario};
use crate::ua::{Answer, Manner, OnCancel, millis};
use crate::world::World;

#[test]
fn user_agents_complete_calls_without_a_proxy() {
    let caller = Manner::plain().but(|m| {
        m.reinvite_after = millis(300);
        m.info_after = millis(900);
        m.hang_up_after = millis(2_000);
    });
    let plan = Plan::of(0, Routing::Direct, vec![caller, Manner::plain()]);
    let world = runs::run_calls(Subject::Reference, vec![plan], Proxy::Nobody);
    assert_eq!(world.open_dialogs(), 0);
    let arrows = world.trace.arrows_of("call-0@sim.example");
    let labels: Vec<String> = arrows.map(|a| a.label()).collect();
    let want = "INVITE (1), 180 INVITE (1), 200 INVITE (1), ACK (1), \
                INVITE (2), 200 INVITE (2), ACK (2), INFO (3), 200 INFO (3), BYE (4), 200 BYE (4)";
    assert_eq!(labels.join(", "), want);
}

#[test]
fn reference_completes_the_canonical_calls() {
    for shard_count in [1, 7] {
        let proxy = Subject::Reference.proxy(shard_count, 1);
        let world = runs::run_calls(
            Subject::Reference,
            runs::plans(runs::canonical_calls()),
            proxy,
        );
        assert_eq!(world.open_dialogs(), 0);
    }
}

#[test]
fn reference_survives_a_volume_of_seeds() {
    runs::run_volume(Subject::Reference, runs::call_count() / 4);
}

#[test]
fn reference_repeats_itself() {
    let run = |seed| runs::run_seed(Subject::Reference, seed).0;
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn reference_sends_the_same_with_any_number_of_shards() {
    runs::assert_shard_count_is_invisible(Subject::Reference, 0x1a3, 120);
}

#[test]
fn reference_survives_each_failing_effect() {
    runs::fail_each_effect(Subject::Reference);
}

#[test]
fn reference_replays_the_seed_of_the_environment() {
    runs::replay(Subject::Reference);
}

#[test]
fn a_200_against_a_cancel_makes_a_dialog_that_is_hung_up() {
    let caller = Manner::plain().but(|m| {
        m.cancel_after = millis(100);
        m.hang_up_after = millis(100);
    });
    let callee = Manner::plain().but(|m| m.on_cancel = OnCancel::AnswerAnyway);
    let plan = Plan::of(0, Routing::Single, vec![caller, callee]);
    let proxy = Subject::Reference.proxy(1, 1);
    let world = runs::run_calls(Subject::Reference, vec![plan], proxy);
    assert_eq!(world.open_dialogs(), 0);
}

/// Goal: no law that cannot fail. Each fault planted in the naive relay is caught, under the law
/// that it breaks; without a fault the same calls break none.
#[test]
fn each_planted_fault_is_caught() {
    let table = [
        (Fault::DoublesFinal, Law::OneFinal),
        (Fault::NeverTimesOut, Law::Answered),
        (Fault::InventsRinging, Law::BelongsToRequest),
        (Fault::TouchesBody, Law::Untouched),
        (Fault::TouchesFrom, Law::Untouched),
        (Fault::KeepsVia, Law::ViaRestored),
        (Fault::LosesVias, Law::ViaRestored),
        (Fault::ReusesBranch, Law::BranchUnique),
        (Fault::KeepsForwards, Law::ForwardsCounted),
        (Fault::AbsorbsNothing, Law::NotMerged),
        (Fault::Reorders, Law::OrderKept),
        (Fault::LeaksAck, Law::AckInItsHop),
        (Fault::CancelsEarly, Law::CancelAfterProvisional),
        (Fault::LetsLosersRing, Law::NobodyLeftRinging),
        (Fault::RecordsNoRoute, Law::StaysOnRoute),
        (Fault::Garbles, Law::Readable),
        (Fault::KeepsTransactions, Law::ComesToRest),
        (Fault::SpeaksAtRest, Law::ComesToRest),
    ];
    let broken_by = |fault| {
        let scenario = Scenario::of(runs::plans(calls_that_tempt()));
        let mut world = World::new(&scenario, Proxy::reference(1, 1, fault), RECORDING);
        world.run().map_err(|v| v.law)
    };
    assert_eq!(broken_by(None), Ok(()));
    for (fault, law) in table {
        assert_eq!(broken_by(Some(fault)), Err(law), "{fault:?}");
    }
}

/// The canonical calls, and what the rarer faults need: a request that is repeated, and a CANCEL
/// that finds one branch ringing and one silent.
fn calls_that_tempt() -> Vec<(&'static str, Routing, Vec<Manner>)> {
    let plain = Manner::plain;
    let repeating = plain().but(|m| m.repeats = 1);
    let canceller = plain().but(|m| m.cancel_after = millis(300));
    let ringing = plain().but(|m| m.answer = Answer::RingForEver);
    let silent = plain().but(|m| m.answer = Answer::Silent);
    let mut calls = runs::canonical_calls();
    calls.push(("repeated", Routing::Single, vec![repeating, plain()]));
    calls.push((
        "half silent",
        Routing::Parallel,
        vec![canceller, ringing, silent],
    ));
    calls
}

#[test]
fn a_message_from_a_stranger_shard_is_caught() {
    let plan = Plan::of(0, Routing::Single, vec![Manner::plain(), Manner::plain()]);
    let scenario = Scenario::of(vec![plan]);
    let owner = owner(b"call-0@sim.example", 7);
    let broken_by = |shard| {
        let mut oracle = Oracle::new(&scenario, &Proxy::reference(7, 1, None), false);
        let bytes = b"X\r\nCall-ID: call-0@sim.example\r\n\r\n";
        oracle.emitted(Instant::ZERO, shard, bytes);
        oracle.verdict().map_err(|v| v.law)
    };
    assert_eq!(broken_by(owner), Ok(()));
    assert_eq!(broken_by(ShardId((owner.0 + 1) % 7)), Err(Law::Steered));
}
