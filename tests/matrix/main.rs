//! The matrix of requests that the proxy sends in dialogs of others: what it sends, to whom, after
//! what history (RFC 3261 §12.2), against user agents that keep their own books and forgive
//! nothing.
//!
//! ```text
//!   axes ─▶ cell ─▶ world: shards ─▶ fault? ─▶ hops ─▶ strict user agents ─▶ broken laws
//! ```
//!
//! The result is printed into the documentation of `dialog`; no cell may break a law, and each law
//! is broken by a fault that is planted for it.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod axes;
mod bridge;
mod cell;
mod endings;
mod fault;
mod hop;
mod law;
mod pings;
#[allow(dead_code, reason = "the simulator needs more of it")]
#[path = "../sim/sip.rs"]
mod sip;
mod table;
mod ua;
mod world;

use axes::{Cell, History, Method};
use fault::Fault;
use law::Law;
use ua::Side;

#[test]
fn no_cell_breaks_a_law() {
    let mut failed = 0;
    for cell in Cell::all() {
        let outcome = cell::run(cell, None);
        if outcome.broken.is_empty() {
            continue;
        }
        failed += 1;
        println!("{cell:?}");
        outcome.broken.iter().for_each(|b| println!("    {b}"));
        if std::env::var("LADDER").is_ok() {
            outcome.trace.iter().for_each(|line| println!("  {line}"));
        }
    }
    assert_eq!(failed, 0, "LADDER=1 shows what went over the wire");
}

#[test]
fn a_cancel_is_of_the_invite_that_went_again() {
    assert_eq!(cell::cancelled(None), []);
}

/// Goal: no law that cannot fail. Each fault planted behind the proxy is caught under the law that
/// it breaks; without it the same cell breaks none.
#[test]
fn each_planted_fault_is_caught() {
    let table = [
        (Fault::RepeatsNumber, History::Plain, Law::NumbersGrow),
        (Fault::RaisesAck, History::Plain, Law::NumberOfInvite),
        (Fault::RaisesRack, History::Prack, Law::Rack),
        (Fault::RaisesResponse, History::Plain, Law::ResponseNumber),
        (Fault::LeaksResponse, History::Plain, Law::ResponseBelongs),
        (Fault::ReusesBranch, History::Plain, Law::Branch),
        (Fault::SkipsRoutes, History::TwoProxies, Law::RouteSet),
        (Fault::SkipsRoutes, History::Strict, Law::RouteSet),
        (Fault::MissesTarget, History::Plain, Law::Target),
        (Fault::SwapsTag, History::Plain, Law::Parties),
        (Fault::MissesPort, History::Plain, Law::Reaches),
        (Fault::LosesForwards, History::Plain, Law::Headers),
        (Fault::LiesOfLength, History::Plain, Law::Headers),
        (Fault::Doubles, History::Plain, Law::Once),
        (Fault::LosesAck, History::Plain, Law::Answered),
        (Fault::StopsClock, History::Plain, Law::Rests),
    ];
    for (fault, history, law) in table {
        let cell = Cell {
            method: Method::ByeByRpc,
            near: Side::Callee,
            history,
        };
        assert!(cell::run(cell, None).broken.is_empty(), "{cell:?}");
        let broken = cell::run(cell, Some(fault)).broken;
        assert!(broken.iter().any(|b| b.law == law), "{fault:?}: {broken:?}");
    }
    let pinged = Cell {
        method: Method::Options,
        near: Side::Callee,
        history: History::Plain,
    };
    let broken = cell::run(pinged, Some(Fault::RaisesRefer)).broken;
    assert!(broken.iter().any(|b| b.law == Law::Refer), "{broken:?}");
    let broken = cell::cancelled(Some(Fault::RaisesCancel));
    let found = broken.iter().any(|b| b.law == Law::NumberOfInvite);
    assert!(found, "{broken:?}");
}
