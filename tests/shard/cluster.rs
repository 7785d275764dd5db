//! Several shards and what is between them: profiles counted by all.
//!
//! Calls come in waves and end in all ways; what shards tell each other is late, doubled and lost.
//! Whenever all has been told, each shard knows the same sizes, and they are those of a recount.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use dialcore::effect::{Effect, Flow, Outbox, PeerMessage, Proto, SocketId};
use dialcore::rng::Rng;
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Duration, Instant, Now, WallTime};

use crate::proxy::{ALICE, BOB, Sent, answer, request};

const CFG: &str = r#"
listen=udp:192.0.2.100:5060
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "xlog.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "dialog.so"
modparam("tm", "fr_timer", 20000)
modparam("dialog", "profiles_with_value", "caller")
modparam("dialog", "profiles_no_value", "all")
modparam("dialog", "default_timeout", 60)
modparam("dialog", "noack_timeout", 10)
request_route {
    if (is_method("OPTIONS")) {
        if ($hdr(X-I) != $null) {
            $var(e) = $(hdr(X-E){s.int}); $var(i) = $(hdr(X-I){s.int});
            if (dlg_set_timeout("500", "$var(e)", "$var(i)")) { xlog("set\n"); }
            else { xlog("no\n"); }
        } else {
            dlg_set_timeout_by_profile("caller", "$fU", "500");
        }
        sl_send_reply("200", "OK");
        exit;
    }
    if (has_totag()) { loose_route(); t_relay(); exit; }
    if (is_method("CANCEL")) { t_relay(); exit; }
    record_route();
    if (is_method("INVITE")) {
        dlg_manage();
        set_dlg_profile("all");
        set_dlg_profile("caller", "$fU");
    }
    t_relay();
}
"#;

/// What will happen.
enum Event {
    Wake(usize),
    Peer(usize, ShardId, PeerMessage),
    /// From whom, what.
    Message(&'static str, String),
}

struct Planned(Instant, u64, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Cluster {
    shards: Vec<Shard>,
    now: Instant,
    queue: BinaryHeap<Reverse<Planned>>,
    serial: u64,
    armed: Vec<Option<Instant>>,
    out: Outbox,
    rng: Rng,
    /// Peer messages of a thousand that are lost, and as many that come twice.
    trouble: u32,
    in_flight: usize,
    log: Vec<String>,
}

impl Cluster {
    fn new(count: u16, seed: u64, trouble: u32) -> Cluster {
        let setup = Arc::new(Setup::from_text(CFG, count).unwrap_or_else(|e| panic!("{e}")));
        let mut rng = Rng::new(seed);
        let shard = |id| Shard::new(ShardId(id), Arc::clone(&setup), rng.next_u64());
        Cluster {
            shards: (0..count).map(shard).collect(),
            now: Instant::ZERO,
            queue: BinaryHeap::new(),
            serial: 0,
            armed: vec![None; usize::from(count)],
            out: Outbox::new(),
            rng: Rng::new(seed),
            trouble,
            in_flight: 0,
            log: vec![],
        }
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.serial += 1;
        self.queue
            .push(Reverse(Planned(self.now + after, self.serial, event)));
    }

    fn clock(&self) -> Now {
        let wall = 1_700_000_000_000_000 + self.now.as_nanos() / 1000;
        Now {
            mono: self.now,
            wall: WallTime::from_micros(wall),
        }
    }

    fn input(&mut self, shard: usize, input: Input<'_>) -> Vec<Sent> {
        let now = self.clock();
        self.shards[shard].handle(now, input, &mut self.out);
        let mut sent = vec![];
        let effects: Vec<_> = self.out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Send(send) => sent.push(Sent {
                    to: send.to.remote,
                    token: send.token,
                    text: String::from_utf8_lossy(&send.bytes).into_owned(),
                }),
                Effect::Peer(to, message) => self.carry(shard, to, message),
                Effect::Log(record) => self.log.push(record.text.trim_end().to_owned()),
                Effect::Close(_) | Effect::Resolve(..) | Effect::RpcReply(..) => {}
            }
        }
        let deadline = self.shards[shard]
            .next_deadline()
            .map(|(at, _)| at.max(self.now));
        if self.armed[shard] != deadline {
            self.armed[shard] = deadline;
            if let Some(at) = deadline {
                self.plan(at.since(self.now), Event::Wake(shard));
            }
        }
        sent
    }

    fn carry(&mut self, from: usize, to: ShardId, message: PeerMessage) {
        let copies = match self.rng.below(1_000) {
            n if n < self.trouble => 0,
            n if n < 2 * self.trouble => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_micros(20 + u64::from(self.rng.below(30_000)));
            self.in_flight += 1;
            let event = Event::Peer(usize::from(to.0), ShardId(from as u16), message.clone());
            self.plan(delay, event);
        }
    }

    /// A message comes in at the shard that owns its call.
    fn receive(&mut self, from: &str, text: &str) -> Vec<Sent> {
        let call_id = dialcore::sip::scan::call_id(text.as_bytes()).expect("a Call-ID");
        let shard = owner(call_id, self.shards.len() as u16);
        let remote = from.parse().expect("an address");
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote,
            conn: None,
        };
        self.input(
            usize::from(shard.0),
            Input::Received {
                flow,
                bytes: text.as_bytes(),
            },
        )
    }

    /// Lets everything happen for so long.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self
            .queue
            .peek()
            .is_some_and(|Reverse(Planned(at, ..))| *at <= end)
        {
            let Some(Reverse(Planned(at, _, event))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            match event {
                Event::Wake(shard) if self.armed[shard] == Some(at) => {
                    self.armed[shard] = None;
                    self.input(shard, Input::Deadline);
                }
                Event::Wake(_) => {}
                Event::Peer(shard, from, message) => {
                    self.in_flight -= 1;
                    self.input(shard, Input::Peer(from, message));
                }
                Event::Message(from, text) => drop(self.receive(from, &text)),
            }
        }
        self.now = end;
    }

    fn is_told(&self) -> bool {
        self.in_flight == 0 && self.shards.iter().all(|s| s.state().dialogs.is_told())
    }

    /// Waits for a moment at which all has been told. Every shard then knows the same sizes, and
    /// they are those of a recount. Gives that of `all`.
    fn check(&mut self) -> usize {
        let quiet = (0..5_000).find(|_| {
            self.run(Duration::from_millis(1));
            self.is_told()
        });
        assert!(
            quiet.is_some(),
            "five seconds are time enough for one quiet moment"
        );
        let values: Vec<Option<String>> = (0..USERS)
            .map(|n| Some(format!("u{n}")))
            .chain([None])
            .collect();
        let mut recount = vec![0; values.len()];
        for shard in &self.shards {
            shard.check_invariants();
            let dialogs = &shard.state().dialogs;
            for (_, dialog) in dialogs.table.iter() {
                for membership in &dialog.memberships {
                    let bytes = dialogs.profiles.value_of(*membership).to_vec();
                    let value = String::from_utf8(bytes).expect("values are text here");
                    let of_user = values.iter().position(|v| v.as_deref() == Some(&value));
                    recount[of_user.unwrap_or(USERS as usize)] += 1;
                }
            }
        }
        for shard in &self.shards {
            let profiles = &shard.state().dialogs.profiles;
            for (value, want) in values.iter().zip(&recount) {
                let name: &[u8] = if value.is_some() { b"caller" } else { b"all" };
                let profile = profiles.find(name).expect("it is configured");
                let size = profiles.size(profile, value.as_deref().map(str::as_bytes));
                assert_eq!(size, *want, "{value:?}");
            }
        }
        recount[USERS as usize]
    }

    /// A call begins, and its end is planned.
    fn call(&mut self, n: usize) {
        let (call, user) = (format!("call{n}@x"), format!("u{}", self.rng.below(USERS)));
        let of_call = |text: String| {
            text.replace(";branch=z9hG4bK", &format!(";branch=z9hG4bK{n}-"))
                .replace("Call-ID: c1", &format!("Call-ID: {call}"))
                .replace("sip:alice@a.test", &format!("sip:{user}@a.test"))
        };
        let sent = self.receive(ALICE, &of_call(request("INVITE", "i", "")));
        let invite = sent
            .iter()
            .find(|s| s.line().starts_with("INVITE"))
            .expect("relayed");
        let route = format!("Route: {}\r\n", invite.get("Record-Route"));
        let within = |method: &str| {
            let text = request(method, method, &route);
            of_call(text).replace("To: <sip:bob@b.test>", "To: <sip:bob@b.test>;tag=b1")
        };
        let (ok, ack, bye) = (answer(invite, 200, "b1"), within("ACK"), within("BYE"));
        let cancel = of_call(request("CANCEL", "i", ""));
        let mut at = |millis: u64, from, text: &str| {
            self.plan(
                Duration::from_millis(millis),
                Event::Message(from, text.to_owned()),
            );
        };
        at(50, BOB, &answer(invite, 180, "b1"));
        match n % 6 {
            0 => at(300, BOB, &answer(invite, 486, "b1")),
            1 => {
                at(100, ALICE, &cancel);
                at(200, BOB, &answer(invite, 487, "b1"));
            }
            // Nobody answers; nobody acknowledges; nobody hangs up.
            2 => {}
            3 => at(100, BOB, &ok),
            4 => {
                at(100, BOB, &ok);
                at(150, ALICE, &ack);
            }
            _ => {
                at(100, BOB, &ok);
                at(150, ALICE, &ack);
                at(150 + n as u64 % 3_000, ALICE, &bye);
            }
        }
    }
}

const USERS: u32 = 20;
const WAVE: usize = 250;

/// 50,000 where the code is optimised.
fn call_count() -> usize {
    const UNLESS_TOLD: usize = if cfg!(debug_assertions) {
        5_000
    } else {
        50_000
    };
    let told = std::env::var("CALLS").ok().and_then(|n| n.parse().ok());
    told.unwrap_or(UNLESS_TOLD)
}

#[test]
fn profiles_of_eight_shards_are_those_of_a_recount() {
    let mut cluster = Cluster::new(8, 5, 50);
    let mut largest = 0;
    for wave in 0..call_count().div_ceil(WAVE) {
        for n in 0..WAVE {
            cluster.call(wave * WAVE + n);
        }
        cluster.run(Duration::from_millis(wave as u64 % 7 * 50));
        // Time for every end of this moment and for every repetition of what was lost.
        cluster.run(Duration::from_secs(2));
        largest = largest.max(cluster.check());
    }
    assert!(
        largest > WAVE,
        "calls without members prove nothing: {largest}"
    );
    cluster.run(Duration::from_secs(500));
    assert_eq!(cluster.check(), 0);
    for shard in &cluster.shards {
        assert!(shard.is_idle() && shard.state().dialogs.table.is_empty());
    }
}

/// A call of this number that stays up.
fn up(cluster: &mut Cluster, n: usize) {
    cluster.call(n * 6 + 4);
}

#[test]
fn the_lifetime_of_a_dialog_elsewhere_is_set_by_its_name() {
    let mut cluster = Cluster::new(8, 1, 0);
    for n in 0..16 {
        up(&mut cluster, n);
    }
    cluster.run(Duration::from_secs(1));
    let ids: Vec<_> = cluster
        .shards
        .iter()
        .flat_map(|s| s.state().dialogs.table.iter().map(|(_, d)| d.id))
        .collect();
    assert_eq!(ids.len(), 16);
    for id in &ids {
        for (h_id, want) in [(id.h_id, "set"), (id.h_id + 8, "no")] {
            let more = format!("X-E: {}\r\nX-I: {h_id}\r\n", id.h_entry);
            cluster.receive(ALICE, &request("OPTIONS", &format!("o{h_id}"), &more));
            cluster.run(Duration::from_millis(100));
            assert_eq!(cluster.log.pop().as_deref(), Some(want), "{id}");
        }
    }
    let lifetimes = cluster
        .shards
        .iter()
        .flat_map(|s| s.state().dialogs.table.iter().map(|(_, d)| d.lifetime_s))
        .collect::<Vec<_>>();
    assert_eq!(lifetimes, [500; 16]);
}

#[test]
fn the_lifetimes_of_a_profile_are_set_in_all_shards() {
    let mut cluster = Cluster::new(8, 2, 200);
    for n in 0..60 {
        up(&mut cluster, n);
    }
    cluster.run(Duration::from_secs(2));
    let options = request("OPTIONS", "o", "").replace("sip:alice@", "sip:u3@");
    cluster.receive(ALICE, &options);
    cluster.run(Duration::from_secs(2));
    for shard in &cluster.shards {
        for (_, dialog) in shard.state().dialogs.table.iter() {
            let user = dialog
                .strings
                .get(dialcore::modules::dialog::strings::Field::FromUri);
            let want = if user == b"sip:u3@a.test" { 500 } else { 60 };
            assert_eq!(dialog.lifetime_s, want, "{}", user.escape_ascii());
        }
    }
}

#[test]
fn an_answer_that_never_comes_ends_the_wait() {
    let mut cluster = Cluster::new(8, 3, 1_000);
    up(&mut cluster, 1);
    cluster.run(Duration::from_secs(1));
    let found = cluster
        .shards
        .iter()
        .find_map(|s| s.state().dialogs.table.iter().next());
    let id = found.expect("one dialog").1.id;
    let more = format!("X-E: {}\r\nX-I: {}\r\n", id.h_entry, id.h_id);
    let mut text = request("OPTIONS", "o", &more);
    // From a shard that does not have it.
    let home = owner(b"call10@x", 8);
    for n in 0.. {
        if owner(format!("o{n}").as_bytes(), 8) != home {
            text = text.replace("Call-ID: c1", &format!("Call-ID: o{n}"));
            break;
        }
    }
    assert!(cluster.receive(ALICE, &text).is_empty());
    cluster.run(Duration::from_secs(6));
    assert_eq!(cluster.log.pop().as_deref(), Some("no"));
}
