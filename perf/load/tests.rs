//! The load generator against the least of all proxies, sound and with faults.

use super::*;
use crate::relay::{Fault, Relay};

fn run(plan: Plan, fault: Option<Fault>) -> Outcome {
    let sockets = Sockets::open().expect("two ports");
    let callee = sockets.callee().expect("an address");
    let relay = Relay::start(callee, 1, fault).expect("a relay");
    let mut run = Run::new(plan, relay.address(), sockets, "test").expect("a run");
    let outcome = run.run(|_| {}).expect("sockets that work");
    relay.stop().expect("threads that end");
    outcome
}

/// A few calls at leisure.
fn few() -> Plan {
    Plan::of(1_000.0, 50)
}

#[test]
fn a_sound_relay_passes() {
    let outcome = run(Plan::of(2_000.0, 1_000), None);
    let counts = outcome.counts;
    assert_eq!((counts.complete, counts.over()), (1_000, 1_000));
    assert_eq!((counts.wrong.all(), counts.reordered.all()), (0, 0));
    assert_eq!((counts.repeated, counts.late, counts.unsent), (0, 0, 0));
    for way in Way::ALL {
        assert_eq!(outcome.latency.of(way).count, 1_000, "{}", way.name());
    }
    assert_eq!(outcome.latency.all.count, 6_000);
    let points = outcome.latency.all.points().map(|(_, value)| value);
    assert!(points[0] > 0.0 && points.is_sorted(), "{points:?}");
}

#[test]
fn calls_are_held_and_of_many_lengths() {
    let plan = Plan {
        hold_s: 0.1,
        ring_s: 0.05,
        is_random: true,
        ..Plan::of(1_000.0, 300)
    };
    let outcome = run(plan, None);
    assert_eq!(outcome.counts.complete, 300);
    assert_eq!(
        (outcome.counts.wrong.all(), outcome.counts.repeated),
        (0, 0)
    );
    // The longest of 300 exponential lengths is 5.7 times the average, about.
    assert!(outcome.seconds > 0.5, "{}", outcome.seconds);
}

#[test]
fn the_callee_can_say_no() {
    let mix = Mix {
        refused: 50,
        ..Mix::default()
    };
    let outcome = run(Plan { mix, ..few() }, None);
    let counts = outcome.counts;
    assert_eq!((counts.complete, counts.rejected), (50, 0));
    assert!((5..50).contains(&counts.refused), "{}", counts.refused);
}

#[test]
fn each_kind_of_wrong_is_seen() {
    let replace = |begins, from, to| Fault::Replace { begins, from, to };
    let table = [
        (replace("SIP/2.0 180", ";tag=a", ";tag=c"), Wrong::Tags),
        (replace("ACK", ";tag=b", ";tag=c"), Wrong::Tags),
        (
            replace("SIP/2.0 200", "branch=z9hG4bKtesti", "branch=z9hG4bKx"),
            Wrong::Branch,
        ),
        (
            replace("BYE", "branch=z9hG4bKtestb", "branch=z9hG4bKx"),
            Wrong::Branch,
        ),
        (replace("INVITE", "Via: ", "Vie: "), Wrong::ViaCount),
        (
            replace("SIP/2.0 180", "Via: ", "Via: SIP/2.0/UDP x\r\nVia: "),
            Wrong::ViaCount,
        ),
        (replace("BYE", "CSeq: 2", "CSeq: 3"), Wrong::CSeq),
        (replace("SIP/2.0 180", "CSeq: 1", "CSeq: 7"), Wrong::CSeq),
        (
            replace("SIP/2.0 180", "CSeq: 1", "CSeq: x"),
            Wrong::Unexpected,
        ),
        (replace("INVITE", "Record-Route", "X-Route"), Wrong::Routes),
        (
            replace("ACK", "Max-", "Route: <sip:x;lr>\r\nMax-"),
            Wrong::Routes,
        ),
        (replace("INVITE sip:", "callee", "colleague"), Wrong::Target),
        (
            replace("BYE", "Max-Forwards: 69", "Max-Forwards: 70"),
            Wrong::Target,
        ),
        (replace("INVITE", "a=sendrecv\r\n", ""), Wrong::Length),
        (
            replace("SIP/2.0 200", "Content-Length: ", "X-Length: "),
            Wrong::Length,
        ),
        (replace("INVITE", "a=sendrecv", "a=sendonly"), Wrong::Body),
        (replace("SIP/2.0 200", "PCMU", "PCMA"), Wrong::Body),
    ];
    for (fault, wrong) in table {
        let counts = run(Plan::of(1_000.0, 20), Some(fault)).counts;
        assert!(counts.wrong.of(wrong) >= 20, "{fault:?}: {counts:?}");
    }
}

#[test]
fn each_kind_of_reordering_is_seen() {
    let counts = run(few(), Some(Fault::Hold("SIP/2.0 180"))).counts;
    assert!(counts.reordered.ringing_after_ok >= 25, "{counts:?}");
    let counts = run(few(), Some(Fault::Hold("ACK"))).counts;
    assert!(counts.reordered.ack_after_bye >= 25, "{counts:?}");
    assert_eq!(counts.complete, 50);
}

#[test]
fn what_is_lost_is_sent_again_and_then_given_up() {
    let counts = run(Plan::of(1_000.0, 5), Some(Fault::Swallow("BYE"))).counts;
    assert_eq!((counts.complete, counts.failed), (0, 5));
    // The BYE three times more, and nothing else.
    assert_eq!(counts.repeated, 15);
}

#[test]
fn a_proxy_that_is_full_is_told_from_one_that_fails() {
    let full = "SIP/2.0 503 Full\r\nRetry-After: 5\r\n";
    let counts = run(few(), Some(Fault::Refuse(full))).counts;
    assert_eq!((counts.shed, counts.rejected, counts.complete), (50, 0, 0));
    for other in ["SIP/2.0 503 Full\r\n", "SIP/2.0 404 Not Found\r\n"] {
        let counts = run(few(), Some(Fault::Refuse(other))).counts;
        assert_eq!((counts.shed, counts.rejected), (0, 50), "{other}");
    }
}

#[test]
fn an_answer_that_comes_late_is_of_no_use() {
    let plan = Plan {
        ring_s: 0.3,
        patience_s: 0.1,
        ..Plan::of(1_000.0, 20)
    };
    let outcome = run(plan, None);
    assert_eq!((outcome.counts.complete, outcome.counts.late), (20, 20));
    assert_eq!(outcome.goodput(), 0.0);
}
