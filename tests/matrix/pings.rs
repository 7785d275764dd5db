//! Many calls with keep-alives: pings come evenly, the dead are found in time, and no live call is
//! ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dialcore::effect::{Effect, Flow, Outbox, Proto, SocketId};
use dialcore::rng::Rng;
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::ShardId;
use dialcore::time::{Duration, Instant, Now, WallTime};

use crate::sip::Sip;

const CFG: &str = r#"
listen=udp:192.0.2.100:5060
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "dialog.so"
modparam("dialog", "send_bye", 1)
modparam("dialog", "default_timeout", 7200)
modparam("dialog", "ka_timer", 2)
modparam("dialog", "ka_interval", 30)
modparam("dialog", "ka_failed_limit", 2)
request_route {
    if (has_totag()) { loose_route(); t_relay(); exit; }
    record_route();
    dlg_manage();
    dlg_set_property("ka-src");
    dlg_set_property("ka-dst");
    t_relay();
}
"#;
const INTERVAL_S: u64 = 30;
const FAILED_LIMIT: u64 = 2;
/// `fr_timer`, one round of `ka_timer`, and the ten seconds that a call has left then.
const NOTICE_S: u64 = 30 + 2 + 10;
/// Calls begin over so long.
const SETUP_S: u64 = 60;
/// Their pings are watched so long behind that.
const WATCHED_S: u64 = 300;
/// Of so many calls one loses a party.
const DEAD_PART: u64 = 50;
const CALLER: &str = "192.0.2.1:5060";

/// 100,000 where the code is optimised.
fn call_count() -> u64 {
    const UNLESS_TOLD: u64 = if cfg!(debug_assertions) {
        1_000
    } else {
        100_000
    };
    let told = std::env::var("DIALOGS").ok().and_then(|n| n.parse().ok());
    told.unwrap_or(UNLESS_TOLD)
}

/// What has been seen of all calls.
#[derive(Default)]
struct Seen {
    /// Pings in each second.
    pings: BTreeMap<u64, u64>,
    /// When a party that lives was told that its call is over, by call.
    byes: BTreeMap<u64, u64>,
    /// The parties that do not answer: call, whether it is the caller.
    dead: BTreeSet<(u64, bool)>,
}

struct Farm {
    shard: Shard,
    now: Instant,
    out: Outbox,
    seen: Seen,
}

impl Farm {
    fn receive(&mut self, from: &str, bytes: &[u8]) {
        let remote = from.parse().expect("an address");
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote,
            conn: None,
        };
        self.input(Input::Received { flow, bytes });
    }

    fn input(&mut self, input: Input<'_>) {
        let wall = WallTime::from_micros(1_780_000_000_000_000 + self.now.as_nanos() / 1000);
        let mono = self.now;
        self.shard.handle(Now { mono, wall }, input, &mut self.out);
        let effects: Vec<Effect> = self.out.drain().collect();
        for effect in effects {
            if let Effect::Send(send) = effect {
                self.arrive(&send.to.remote.to_string(), &send.bytes);
            }
        }
    }

    /// A message comes to a party: it answers, unless it is dead.
    fn arrive(&mut self, at: &str, bytes: &[u8]) {
        if bytes.starts_with(b"SIP/2.0") {
            return;
        }
        let sip = Sip::read(bytes).expect("what the proxy sends can be read");
        let call: u64 = sip
            .call_id()
            .trim_start_matches("ka")
            .parse()
            .expect("a number");
        if self.seen.dead.contains(&(call, at == CALLER)) {
            return;
        }
        let second = self.now.as_nanos() / 1_000_000_000;
        match sip.method() {
            "OPTIONS" => *self.seen.pings.entry(second).or_default() += 1,
            "BYE" => drop(self.seen.byes.insert(call, second)),
            "ACK" => return,
            _ => {}
        }
        let tag = if at == CALLER { "a" } else { "b" };
        let ok = Sip::response(&sip, 200, Some(tag)).with("Contact", "<sip:b@192.0.2.2>");
        self.receive(at, &ok.write());
        if sip.method() == "INVITE" {
            let route = sip.first("Record-Route");
            self.receive(CALLER, &request("ACK", call, Some(route)).write());
        }
    }

    /// Time passes; every deadline in it is met.
    fn wait_until(&mut self, end: Instant) {
        while let Some((at, _)) = self.shard.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Deadline);
        }
        self.now = end;
    }
}

fn request(method: &str, call: u64, route: Option<&str>) -> Sip {
    let to = if route.is_some() { ";tag=b" } else { "" };
    let sip = Sip::request(method, "sip:b@192.0.2.2")
        .with(
            "Via",
            format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{method}{call}"),
        )
        .with("Max-Forwards", "70")
        .with("From", "<sip:a@a.test>;tag=a")
        .with("To", format!("<sip:b@b.test>{to}"))
        .with("Call-ID", format!("ka{call}"))
        .with("CSeq", format!("1 {method}"))
        .with("Contact", "<sip:a@192.0.2.1>");
    match route {
        Some(route) => sip.with("Route", route),
        None => sip,
    }
}

#[test]
fn pings_are_even_find_the_dead_and_harm_nobody() {
    let setup = Setup::from_text(CFG, 1).unwrap_or_else(|e| panic!("{e}"));
    let mut farm = Farm {
        shard: Shard::new(ShardId(0), Arc::new(setup), 11),
        now: Instant::ZERO,
        out: Outbox::new(),
        seen: Seen::default(),
    };
    let count = call_count();
    for call in 0..count {
        let at = Duration::from_micros(SETUP_S * 1_000_000 * call / count);
        farm.wait_until(Instant::ZERO + at);
        farm.receive(CALLER, &request("INVITE", call, None).write());
    }
    let all = farm.shard.state().dialogs.table.len() as u64;
    assert_eq!(all, count);
    let mut rng = Rng::new(5);
    let mut deaths: Vec<(u64, u64)> = (0..count / DEAD_PART)
        .map(|n| (SETUP_S + u64::from(rng.below(100)), n * DEAD_PART))
        .collect();
    deaths.sort_unstable();
    for (at, call) in &deaths {
        farm.wait_until(Instant::ZERO + Duration::from_secs(*at));
        farm.seen.dead.insert((*call, rng.chance(1, 2)));
    }
    farm.wait_until(Instant::ZERO + Duration::from_secs(SETUP_S + WATCHED_S));
    check_ends(&farm, &deaths);
    check_evenness(&farm.seen, count);
    farm.shard.check_invariants();
}

fn check_ends(farm: &Farm, deaths: &[(u64, u64)]) {
    let seen = &farm.seen;
    for (at, call) in deaths {
        let end = seen.byes.get(call).copied().unwrap_or(u64::MAX);
        let latest = at + INTERVAL_S * (FAILED_LIMIT + 1) + NOTICE_S;
        assert!(end <= latest, "call {call}: dead at {at}, ended at {end}");
    }
    let doomed: BTreeSet<u64> = deaths.iter().map(|(_, call)| *call).collect();
    let harmed: Vec<&u64> = seen.byes.keys().filter(|c| !doomed.contains(c)).collect();
    assert_eq!(harmed, [&0; 0], "live calls that were ended");
    let left = farm.shard.state().dialogs.table.len();
    assert_eq!(left as u64, call_count() - deaths.len() as u64);
}

/// Every side of every call is pinged about every `ka_interval`, and no second has much more than
/// its part.
fn check_evenness(seen: &Seen, count: u64) {
    let from = SETUP_S + INTERVAL_S + 2;
    let watched: Vec<u64> = (from..SETUP_S + WATCHED_S - 1)
        .map(|second| seen.pings.get(&second).copied().unwrap_or(0))
        .collect();
    let (sum, most) = (watched.iter().sum::<u64>(), watched.iter().max().copied());
    let (mean, most) = (sum / watched.len() as u64, most.unwrap_or(0));
    println!("{count} calls, {sum} pings, {mean} in a second, {most} at most");
    let wanted = 2 * count / INTERVAL_S;
    assert!(
        mean >= wanted * 9 / 10 && mean <= wanted * 5 / 4,
        "{mean} for {wanted}"
    );
    assert!(
        most <= mean * 3 / 2 + 20,
        "{most} in one second, {mean} on average"
    );
}
