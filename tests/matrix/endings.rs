//! Every way in which the proxy ends a call, with every way in which one side cannot be reached:
//! both are told as far as they can be, neither waits for the other, and the call is over once.

use dialcore::time::Duration;

use crate::axes::{Cell, History, Method};
use crate::cell::Call;
use crate::ua::Side;

/// What ends the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Path {
    Timeout,
    Rpc,
    Script,
    KeepAlive,
}

/// Why a side cannot be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    /// Datagrams to it are lost.
    Silent,
    /// Its connection is lost, and it takes none.
    Refused,
    /// The name in its Contact has no server.
    Nameless,
    /// The kernel refuses to send to it.
    Unsendable,
}

const PATHS: [Path; 4] = [Path::Timeout, Path::Rpc, Path::Script, Path::KeepAlive];
const TROUBLES: [Trouble; 4] = [
    Trouble::Silent,
    Trouble::Refused,
    Trouble::Nameless,
    Trouble::Unsendable,
];

#[test]
fn both_sides_are_told_whoever_cannot_be_reached() {
    for path in PATHS {
        for trouble in TROUBLES {
            for dead in Side::BOTH {
                check(path, trouble, dead);
            }
        }
    }
}

fn check(path: Path, trouble: Trouble, dead: Side) {
    let name = format!("{path:?}, {dead:?} {trouble:?}");
    let method = match path {
        Path::Timeout => Method::ByeByTimeout,
        Path::Rpc => Method::ByeByRpc,
        Path::Script => Method::ByeByScript,
        Path::KeepAlive => Method::Options,
    };
    let history = match trouble {
        Trouble::Refused => History::TcpLost,
        Trouble::Silent | Trouble::Nameless | Trouble::Unsendable => History::Plain,
    };
    let mut call = Call::new(Cell {
        method,
        near: dead,
        history,
    });
    if trouble == Trouble::Nameless {
        give_name(&mut call, dead);
    }
    call.begin();
    assert_eq!(call.world.dialog_count(), 1, "{name}");
    lose(&mut call, trouble, dead);
    match path {
        Path::Timeout => call.world.wait(Duration::from_secs(601)),
        Path::Rpc => call.end_by_rpc(),
        Path::Script => call.script("bye all"),
        // Two pings, the time for which a request waits, and ten seconds of grace.
        Path::KeepAlive => call.world.wait(Duration::from_secs(2 * 31 + 30 + 11)),
    }
    let is_bye = |line: &&String| line.contains("proxy >") && line.contains(": BYE");
    let byes = call.world.trace.iter().filter(is_bye).count();
    let asked = usize::from(trouble == Trouble::Nameless);
    assert!(byes + asked >= 2, "{name}: {:#?}", call.world.trace);
    let told = |call: &mut Call, side| {
        let seen = &call.world.party(side).seen;
        seen.iter().filter(|s| s.method == "BYE").count()
    };
    assert_eq!(told(&mut call, dead.other()), 1, "{name}");
    assert_eq!(told(&mut call, dead), 0, "{name}");
    let ends = |call: &Call| call.world.log.iter().filter(|l| l.ends_with("end")).count();
    assert_eq!(ends(&call), 1, "{name}");
    call.world.wait(Duration::from_secs(100));
    assert_eq!(ends(&call), 1, "{name}");
    assert_eq!(call.world.verdict(true), [], "{name}");
}

/// Its Contact bears a name.
fn give_name(call: &mut Call, side: Side) {
    let name = format!("{}.example", side.word());
    let contact = format!("sip:{}@{name}", side.word());
    call.world.places[side as usize].names.push(name);
    for party in &mut call.world.parties {
        for (hint, value) in &mut party.manner.hints {
            if hint == "X-To-Uri" && side == Side::Callee {
                value.clone_from(&contact);
            }
        }
    }
    call.world.party(side).move_to(&contact);
}

fn lose(call: &mut Call, trouble: Trouble, side: Side) {
    let place = &mut call.world.places[side as usize];
    match trouble {
        Trouble::Silent => place.is_silent = true,
        Trouble::Refused => {
            place.listens = None;
            call.world.cut(side, true);
        }
        Trouble::Nameless => call.world.has_dns = false,
        Trouble::Unsendable => {
            let addresses = place.datagrams.clone();
            call.world.refused.extend(addresses);
        }
    }
}
