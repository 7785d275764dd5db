//! Several shards and what is between them: profiles and dialogs counted by all, and scripts that
//! are about a dialog of another shard.
//!
//! Calls come in waves and end in random ways; what shards tell each other is late, doubled and
//! lost. Whenever all has been told, each shard knows the same sizes, and they are those of a
//! recount.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use dialcore::effect::peer::{Order, Question, Which};
use dialcore::effect::{Effect, Flow, Outbox, PeerMessage, Proto, SocketId};
use dialcore::modules::dialog::peers;
use dialcore::modules::dialog::stats::{self, STATISTICS};
use dialcore::modules::dialog::strings::Field;
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
        if ($hdr(X-Call) != $null) {
            route(BY_TAGS);
        } else if ($hdr(X-Count) != $null) {
            xlog("$DLG_count $stat(active_dialogs) $stat(processed_dialogs)\n");
        } else if ($hdr(X-I) != $null) {
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
route[BY_TAGS] {
    $dlg_var(mine) = "lost";
    if ($hdr(X-Bye) != $null) {
        dlg_get("$hdr(X-Call)", "$hdr(X-From)", "$hdr(X-To)");
        if (dlg_bye("all")) { xlog("bye in state $dlg(state)\n"); }
        if (!dlg_bye("all")) { xlog("once\n"); }
        return;
    }
    if (!dlg_get("$hdr(X-Call)", "$hdr(X-From)", "$hdr(X-To)")) {
        xlog("none $dlg_ctx(set) $dlg(state)\n");
        return;
    }
    xlog("$dlg(callid) $dlg(state) $dlg(from_tag) $dlg(to_tag) $dlg(from_cseq)\n");
    xlog("$dlg(from_uri) $dlg(from_bindaddr) $dlg_ctx(set) $dlg_ctx(dir) $dlg_var(mine)\n");
    if (is_known_dlg() && !dlg_manage()) { xlog("known, and no other is made\n"); }
    $dlg_var(note) = "written"; $dlg_var(gone) = "x"; $dlg_var(gone) = $null;
    if (dlg_setflag("3") && dlg_setflag("4") && dlg_resetflag("3")) { xlog("flags\n"); }
    if (dlg_isflagset("4") && !dlg_isflagset("3")) { xlog("set\n"); }
    if (dlg_set_property("timeout-noreset") && dlg_set_timeout("77")) { xlog("timed\n"); }
    if (is_in_profile("all") && !is_in_profile("caller", "ann")) { xlog("in all\n"); }
    if (set_dlg_profile("caller", "ann") && is_in_profile("caller", "ann")) { xlog("joined\n"); }
    if (unset_dlg_profile("all") && !unset_dlg_profile("all")) { xlog("left\n"); }
    xlog("$dlg(lifetime) $dlg(sflags) $dlg(iflags) $dlg_var(note) $dlg_var(gone)\n");
    if (dlg_set_ruri()) { xlog("$ru\n"); }
    if (!dlg_get("nobody", "$hdr(X-From)", "$hdr(X-To)")) { xlog("still $dlg(callid)\n"); }
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
    /// What was sent because of what other shards told.
    sent: Vec<Sent>,
    log: Vec<String>,
    fault: Option<Fault>,
}

/// What may be wrong between shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// A count is one too high on its way.
    Count,
    /// So is a statistic.
    Figures,
    /// Nothing arrives at the last shard.
    Deaf,
}

impl Fault {
    fn spoil(self, to: ShardId, message: &mut PeerMessage) -> bool {
        let PeerMessage::Batch(batch) = message else {
            return true;
        };
        let batch = Arc::make_mut(batch);
        match self {
            Fault::Count => batch.counts.iter_mut().for_each(|c| c.count += 1),
            Fault::Figures => batch.figures[2] += 1,
            Fault::Deaf => return to != ShardId(7),
        }
        true
    }
}

impl Cluster {
    fn new(count: u16, seed: u64, trouble: u32) -> Cluster {
        Cluster::with(CFG, count, seed, trouble)
    }

    fn with(cfg: &str, count: u16, seed: u64, trouble: u32) -> Cluster {
        let setup = Arc::new(Setup::from_text(cfg, count).unwrap_or_else(|e| panic!("{e}")));
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
            sent: vec![],
            log: vec![],
            fault: None,
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
                    proto: send.to.proto,
                    token: send.token,
                    text: String::from_utf8_lossy(&send.bytes).into_owned(),
                }),
                Effect::Peer(to, message) => self.carry(shard, to, message),
                Effect::Log(record) => self.log.push(record.text.trim_end().to_owned()),
                Effect::Close(_)
                | Effect::HandOver(..)
                | Effect::Resolve(..)
                | Effect::Lookup(..)
                | Effect::RpcReply(..)
                | Effect::Command(_)
                | Effect::Route(..)
                | Effect::Alias(..)
                | Effect::Exec(..)
                | Effect::Reload => {}
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

    fn carry(&mut self, from: usize, to: ShardId, mut message: PeerMessage) {
        if self.fault.is_some_and(|f| !f.spoil(to, &mut message)) {
            return;
        }
        let copies = match self.rng.below(1_000) {
            n if n < self.trouble => 0,
            n if n < 2 * self.trouble => 2,
            _ => 1,
        };
        for _ in 0..copies {
            // In order, as the mesh keeps it, unless there is trouble.
            let late = if self.trouble > 0 {
                self.rng.below(30_000)
            } else {
                0
            };
            let delay = Duration::from_micros(20 + u64::from(late));
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
                    let sent = self.input(shard, Input::Peer(from, message));
                    self.sent.extend(sent);
                }
                Event::Message(from, text) => drop(self.receive(from, &text)),
            }
        }
        self.now = end;
    }

    fn is_told(&self) -> bool {
        self.in_flight == 0 && self.shards.iter().all(|s| peers::is_told(s.state()))
    }

    /// Waits for a moment at which all has been told. Every shard then knows the same sizes and
    /// figures, and they are those of a recount. Gives the size of `all`.
    fn check(&mut self) -> Result<usize, String> {
        let quiet = (0..5_000).find(|_| {
            self.run(Duration::from_millis(1));
            self.is_told()
        });
        quiet.ok_or("five seconds are time enough for one quiet moment")?;
        let values: Vec<Option<String>> = (0..USERS)
            .map(|n| Some(format!("u{n}")))
            .chain([None])
            .collect();
        let mut recount = vec![0; values.len()];
        let mut sums = [0; STATISTICS.len()];
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
            let own = stats::figures(shard.state());
            sums = std::array::from_fn(|n| sums[n] + own[n]);
        }
        for shard in &self.shards {
            let state = shard.state();
            let known = STATISTICS.map(|s| (s.read)(state) + (s.elsewhere)(state));
            if known != sums {
                return Err(format!("figures {known:?}, not {sums:?}"));
            }
            let profiles = &state.dialogs.profiles;
            for (value, want) in values.iter().zip(&recount) {
                let name: &[u8] = if value.is_some() { b"caller" } else { b"all" };
                let profile = profiles.find(name).expect("it is configured");
                let size = profiles.size(profile, value.as_deref().map(str::as_bytes));
                if size != *want {
                    return Err(format!("{value:?} is {size}, not {want}"));
                }
            }
        }
        Ok(recount[USERS as usize])
    }

    /// A call begins, and its end, one of six, is planned.
    fn call(&mut self, n: usize, end: u32) {
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
        match end {
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
            let end = cluster.rng.below(6);
            cluster.call(wave * WAVE + n, end);
        }
        cluster.run(Duration::from_millis(wave as u64 % 7 * 50));
        // Time for every end of this moment and for every repetition of what was lost.
        cluster.run(Duration::from_secs(2));
        largest = largest.max(cluster.check().unwrap_or_else(|wrong| panic!("{wrong}")));
    }
    assert!(
        largest > WAVE,
        "calls without members prove nothing: {largest}"
    );
    cluster.run(Duration::from_secs(500));
    assert_eq!(cluster.check(), Ok(0));
    for shard in &cluster.shards {
        assert!(shard.is_idle() && shard.state().dialogs.table.is_empty());
    }
}

/// Goal: no recount that cannot fail. Each fault between the shards is found.
#[test]
fn a_recount_finds_planted_faults() {
    let found = |fault| {
        let mut cluster = Cluster::new(8, 6, 0);
        cluster.fault = fault;
        for n in 0..WAVE {
            let end = cluster.rng.below(6);
            cluster.call(n, end);
        }
        cluster.run(Duration::from_millis(500));
        cluster.check().err().unwrap_or_default()
    };
    for (fault, want) in [
        (None, ""),
        (Some(Fault::Count), "is"),
        (Some(Fault::Figures), "figures"),
        (Some(Fault::Deaf), "one quiet moment"),
    ] {
        let wrong = found(fault);
        assert_eq!(wrong.is_empty(), want.is_empty(), "{fault:?}: {wrong}");
        assert!(wrong.contains(want), "{fault:?}: {wrong}");
    }
}

/// A count of 0 that was heard is remembered while an older word can still come, and no longer:
/// behind the last call there is no further batch to say that none can.
#[test]
fn behind_the_last_call_no_value_is_remembered() {
    let mut cluster = Cluster::new(8, 7, 0);
    for n in 0..WAVE {
        cluster.call(n, 5);
    }
    let values = |cluster: &Cluster| {
        let profiles = cluster.shards.iter().map(|s| &s.state().dialogs.profiles);
        profiles.map(|p| p.value_count()).sum::<usize>()
    };
    cluster.run(Duration::from_millis(200));
    assert!(values(&cluster) > 8, "each shard knows some");
    cluster.run(Duration::from_secs(60));
    assert_eq!(cluster.check(), Ok(0));
    assert_eq!(values(&cluster), 0);
    for shard in &cluster.shards {
        assert_eq!(shard.next_deadline(), None, "nothing is waited for");
    }
}

/// A call of this number that stays up.
fn up(cluster: &mut Cluster, n: usize) {
    cluster.call(n, 4);
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
            let user = dialog.strings.get(Field::FromUri);
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
    let home = owner(b"call1@x", 8);
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

/// OPTIONS of some call of its own, so that each shard gets one now and then.
fn ask(cluster: &mut Cluster, n: usize, more: &str) -> Vec<String> {
    cluster.log.clear();
    let text = request("OPTIONS", &format!("o{n}"), more);
    cluster.receive(
        ALICE,
        &text.replace("Call-ID: c1", &format!("Call-ID: o{n}")),
    );
    cluster.run(Duration::from_secs(1));
    std::mem::take(&mut cluster.log)
}

#[test]
fn a_script_need_not_know_which_shard_has_a_dialog() {
    let (mut here, mut there) = (0, 0);
    for n in 0..16 {
        let mut cluster = Cluster::new(8, 4, 0);
        up(&mut cluster, n);
        cluster.run(Duration::from_secs(1));
        let call = format!("call{n}@x");
        match owner(call.as_bytes(), 8) == owner(b"o0", 8) {
            true => here += 1,
            false => there += 1,
        }
        let tags = |from: &str, to: &str, call: &str| {
            format!("X-Call: {call}\r\nX-From: {from}\r\nX-To: {to}\r\n")
        };
        let user = {
            let dialogs = cluster.shards.iter().flat_map(|s| {
                let all = s.state().dialogs.table.iter();
                all.map(|(_, d)| d.strings.get(Field::FromUri).to_vec())
            });
            String::from_utf8(dialogs.collect::<Vec<_>>().concat()).expect("one URI")
        };
        let want = [
            format!("{call} 4 a1 b1 1"),
            format!("{user} udp:192.0.2.100:5060 1 2 <null>"),
            "known, and no other is made".into(),
            "flags".into(),
            "set".into(),
            "timed".into(),
            "in all".into(),
            "joined".into(),
            "left".into(),
            "77 16 8 written <null>".into(),
            "sip:alice@192.0.2.1".into(),
            format!("still {call}"),
        ];
        assert_eq!(ask(&mut cluster, 0, &tags("b1", "a1", &call)), want);
        let none = ["none 0 <null>"];
        for (from, to, call) in [("b1", "x", &*call), ("x", "a1", &*call), ("b1", "a1", "x")] {
            assert_eq!(
                ask(&mut cluster, 1, &tags(from, to, call)),
                none,
                "{from} {to} {call}"
            );
        }
        // What was written elsewhere is in the dialog itself.
        let dialogs = cluster.shards.iter().map(|s| s.state());
        let (state, dialog) = dialogs
            .flat_map(|s| s.dialogs.table.iter().map(move |(_, d)| (s, d)))
            .next()
            .expect("one dialog");
        let vars: Vec<_> = dialog.vars.iter().collect();
        assert_eq!(vars, [(&b"note"[..], &b"written"[..])]);
        assert_eq!(
            (dialog.lifetime_s, dialog.sflags, dialog.iflags),
            (77, 16, 8)
        );
        let profiles = &state.dialogs.profiles;
        let values: Vec<_> = dialog
            .memberships
            .iter()
            .map(|m| (profiles.name(m.profile), profiles.value_of(*m)))
            .collect();
        assert_eq!(values[1], ("caller", &b"ann"[..]));
        assert_eq!(values.len(), 2);
        for shard in &cluster.shards {
            shard.check_invariants();
        }
    }
    assert!(here > 0 && there > here, "{here} here, {there} there");
}

#[test]
fn a_dialog_elsewhere_is_hung_up() {
    let mut cluster = Cluster::new(8, 4, 0);
    for n in 0..16 {
        up(&mut cluster, n);
    }
    cluster.run(Duration::from_secs(1));
    for n in 0..16 {
        let tags = format!("X-Bye: 1\r\nX-Call: call{n}@x\r\nX-From: a1\r\nX-To: b1\r\n");
        let said = ask(&mut cluster, 0, &tags);
        assert_eq!(said, ["bye in state 5", "once"], "{n}");
        let left = 15 - n;
        let counted = ask(&mut cluster, n, "X-Count: 1\r\n");
        assert_eq!(counted, [format!("{left} {left} 16")]);
    }
}

#[test]
fn every_shard_counts_the_dialogs_of_all() {
    let mut cluster = Cluster::new(8, 8, 50);
    for n in 0..30 {
        up(&mut cluster, n);
    }
    cluster.run(Duration::from_secs(2));
    for n in 0..16 {
        assert_eq!(ask(&mut cluster, n, "X-Count: 1\r\n"), ["30 30 30"]);
    }
    cluster.run(Duration::from_secs(62));
    for n in 16..32 {
        assert_eq!(ask(&mut cluster, n, "X-Count: 1\r\n"), ["0 0 30"]);
    }
}

#[test]
fn an_order_that_comes_twice_is_obeyed_once() {
    let mut cluster = Cluster::new(8, 9, 0);
    up(&mut cluster, 1);
    cluster.run(Duration::from_secs(1));
    let home = owner(b"call1@x", 8);
    let caller = |c: &Cluster| {
        let profiles = &c.shards[usize::from(home.0)].state().dialogs.profiles;
        profiles.own_size(profiles.find(b"caller").expect("it is configured"), None)
    };
    let found = cluster.shards[usize::from(home.0)]
        .state()
        .dialogs
        .table
        .iter()
        .next();
    let id = found.expect("one dialog").1.id;
    let (h_entry, h_id) = (id.h_entry, id.h_id);
    let stranger = ShardId((home.0 + 1) % 8);
    // The number of the question, and how many memberships there are then.
    for (number, want) in [(1, 2), (1, 2), (3, 3), (2, 3), (4, 4)] {
        let question = Question {
            number,
            run: None,
            which: Which::Id { h_entry, h_id },
            order: Order::Join(0, b"ann"[..].into()),
        };
        let message = PeerMessage::Question(Box::new(question));
        cluster.input(usize::from(home.0), Input::Peer(stranger, message));
        assert_eq!(caller(&cluster), want, "{number}");
    }
}

const OWN_REQUESTS: &str = r#"
listen=udp:192.0.2.100:5060
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "textops.so"
loadmodule "uac.so"
request_route {
    if (is_method("INFO")) {
        $var(h) = "From: <sip:me@here.test>;tag=m\r\nTo: <sip:x@y.test>\r\nCall-ID: "
            + $hdr(X-Call) + "\r\n";
        $var(r) = t_uac_send("MESSAGE", "sip:x@192.0.2.2", "", "", "$var(h)", "");
    } else {
        $uac_req(all) = $null;
        $uac_req(method) = "MESSAGE";
        $uac_req(ruri) = "sip:x@192.0.2.2";
        $uac_req(furi) = "sip:me@here.test";
        $uac_req(callid) = $hdr(X-Call);
        $uac_req(auser) = "me";
        $uac_req(apasswd) = "secret";
        $uac_req(evroute) = 1;
        $uac_req(evparam) = "p";
        $var(r) = uac_req_send();
    }
    xlog("sent $var(r)\n");
}
event_route[uac:reply] {
    xlog("$uac_req(evcode) $uac_req(evparam) $uac_req(callid) $uac_req(furi)\n");
}
"#;

#[test]
fn a_request_of_a_script_leaves_where_its_answer_comes() {
    for (method, has_event) in [("OPTIONS", true), ("INFO", false)] {
        for n in 0..8 {
            let mut cluster = Cluster::with(OWN_REQUESTS, 4, 3, 0);
            let call = format!("own-{n}@x");
            let header = format!("X-Call: {call}\r\n");
            let mut sent = cluster.receive(ALICE, &request(method, "o", &header));
            assert_eq!(cluster.log, ["sent 1"]);
            cluster.run(Duration::from_millis(1));
            sent.append(&mut cluster.sent);
            assert_eq!(sent.len(), 1, "{call}");
            assert_eq!(sent[0].get("Call-ID"), call);
            // The shard of that Call-ID knows what the answer belongs to.
            cluster.receive(BOB, &answer(&sent[0], 200, "b"));
            let event = format!("200 p {call} sip:me@here.test");
            let want: &[&str] = if has_event {
                &["sent 1", &event]
            } else {
                &["sent 1"]
            };
            assert_eq!(cluster.log, want);
            // Nothing is repeated.
            cluster.run(Duration::from_secs(60));
            assert!(cluster.sent.is_empty());
            assert!(
                cluster.shards.iter().all(|s| s.state().tm.is_empty()),
                "{call}"
            );
        }
    }
}
