//! What scripts keep between messages, and what waits without holding anybody up.

use std::sync::Arc;

use dialcore::effect::{Effect, Flow, Outbox, PeerMessage, Proto, SocketId};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::ShardId;
use dialcore::time::{Instant, Now, WallTime};

use super::proxy::{ALICE, Proxy, request};

const CFG: &str = r#"#!KAMAILIO
listen=udp:192.0.2.100:5060
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "htable.so"
loadmodule "cfgutils.so"
modparam("htable", "htable", "a=>size=4;autoexpire=10;")
modparam("htable", "htable", "k=>size=4;autoexpire=10;updateexpire=0;")
event_route[htable:mod-init] { $sht(a=>boot) = 7; xlog("begin $rm $ru"); }
event_route[htable:expired:a] { xlog("gone $shtrecord(key)=$shtrecord(value)"); }
request_route {
    switch ($rm) {
        case "INVITE":
            $sht(a=>$ci) = $cs; $sht(k=>$ci) = $cs;
            break;
        case "INFO":
            xlog("wait $ci");
            usleep("1500000");
            xlog("waited $ci");
            break;
        default:
            xlog("$sht(a=>boot)|$sht(a=>$ci)|$shtex(a=>$ci)|$sht(k=>$ci)|$shtrecord(key)");
    }
}
"#;

fn said(proxy: &mut Proxy) -> Vec<String> {
    std::mem::take(&mut proxy.log)
}

#[test]
fn items_outlive_the_message_and_go_in_time() {
    let mut p = Proxy::from_text(CFG);
    p.receive(ALICE, &request("INVITE", "1", ""));
    assert_eq!(said(&mut p), ["begin OPTIONS sip:you@kamailio.org"]);
    p.receive(ALICE, &request("OPTIONS", "2", ""));
    assert_eq!(said(&mut p), ["7|1|10|1|"]);
    p.wait(4.5);
    p.receive(ALICE, &request("OPTIONS", "3", ""));
    assert_eq!(said(&mut p), ["7|1|6|1|"]);
    // Assigning again begins the item's life anew, unless the table says otherwise.
    p.receive(ALICE, &request("INVITE", "4", ""));
    p.wait(6.0);
    assert_eq!(said(&mut p), ["gone boot=7"]);
    p.receive(ALICE, &request("OPTIONS", "5", ""));
    assert_eq!(said(&mut p), ["<null>|1|4|<null>|"]);
    p.wait(4.0);
    assert_eq!(said(&mut p), ["gone c1=1"]);
    assert!(p.is_idle());
}

#[test]
fn a_script_that_sleeps_holds_up_its_own_call_only() {
    let mut p = Proxy::from_text(CFG);
    p.receive(ALICE, &request("INFO", "1", ""));
    p.receive(ALICE, &request("OPTIONS", "2", ""));
    let other = request("OPTIONS", "3", "").replace("c1", "c2");
    p.receive(ALICE, &other);
    let begin = "begin OPTIONS sip:you@kamailio.org";
    assert_eq!(said(&mut p), [begin, "wait c1", "7|<null>|0|<null>|"]);
    p.wait(1.4);
    assert_eq!(said(&mut p), [""; 0]);
    p.wait(0.2);
    assert_eq!(said(&mut p), ["waited c1", "7|<null>|0|<null>|"]);
}

/// Two shards of one process; news travels when the test says so.
struct Pair {
    shards: [Shard; 2],
    /// Sender, receiver, message.
    news: Vec<(u16, u16, PeerMessage)>,
    log: Vec<String>,
    micros: u64,
}

impl Pair {
    fn new() -> Pair {
        let setup = Arc::new(Setup::from_text(PAIR, 2).unwrap_or_else(|e| panic!("{e}")));
        Pair {
            shards: [0, 1].map(|n| Shard::new(ShardId(n), Arc::clone(&setup), 1)),
            news: vec![],
            log: vec![],
            micros: 0,
        }
    }

    fn input(&mut self, shard: u16, input: Input<'_>) {
        self.micros += 1;
        let now = Now {
            mono: Instant::from_nanos(self.micros * 1000),
            wall: WallTime::from_micros(self.micros),
        };
        let mut out = Outbox::new();
        self.shards[usize::from(shard)].handle(now, input, &mut out);
        for effect in out.drain() {
            match effect {
                Effect::Peer(to, message) => self.news.push((shard, to.0, message)),
                Effect::Log(record) => self.log.push(record.text.to_string()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// A script runs on a shard: `INFO` with what it is to do.
    fn run(&mut self, shard: u16, what: &str) -> Vec<String> {
        let text = request("INFO", "1", &format!("X-Do: {what}\r\n"));
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote: ALICE.parse().unwrap(),
            conn: None,
        };
        let bytes = text.as_bytes();
        self.input(shard, Input::Received { flow, bytes });
        std::mem::take(&mut self.log)
    }

    fn deliver(&mut self) {
        while !self.news.is_empty() {
            let (from, to, message) = self.news.remove(0);
            self.input(to, Input::Peer(ShardId(from), message));
        }
    }

    /// All deadlines of a shard come.
    fn wait(&mut self, shard: u16) -> Vec<String> {
        self.micros += 60_000_000;
        self.input(shard, Input::Deadline);
        std::mem::take(&mut self.log)
    }
}

const PAIR: &str = r#"#!KAMAILIO
listen=udp:192.0.2.100:5060
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "htable.so"
loadmodule "cfgutils.so"
modparam("pv", "shvset", "s=i:4")
modparam("cfgutils", "initial_gflags", 1)
modparam("htable", "htable", "a=>size=4;autoexpire=10;initval=0;")
event_route[htable:expired:a] { xlog("gone $shtrecord(key)=$shtrecord(value)"); }
request_route {
    switch ($hdr(X-Do)) {
        case "set": $sht(a=>k) = $cs; break;
        case "text": $sht(a=>k) = "text"; break;
        case "add": $var(x) = $shtinc(a=>k); break;
        case "remove": $sht(a=>k) = $null; break;
        case "life": $shtex(a=>k) = 100; break;
        case "share": $shv(s) = 7; break;
        case "share text": $shv(s) = "text"; break;
        case "count": $var(x) = $shvinc(s); break;
        case "unshare": $shv(s) = $null; break;
        case "flag": set_gflag(2); break;
        case "unflag": reset_gflag(0); break;
        case "shared":
            $var(a) = is_gflag(0); $var(b) = is_gflag(2);
            xlog("$shv(s) $var(a) $var(b)");
            exit;
    }
    xlog("$sht(a=>k) $shtex(a=>k)");
}
"#;

#[test]
fn what_one_core_sets_is_seen_on_the_other() {
    let table = [
        ("set", "1 10", "1 10"),
        ("text", "text 10", "text 10"),
        ("add", "1 10", "1 10"),
        ("add add", "2 10", "2 10"),
        ("add text", "text 10", "text 10"),
        ("set life", "1 100", "1 100"),
        ("set remove", "0 0", "0 0"),
    ];
    for (what, own, other) in table {
        let mut pair = Pair::new();
        let mut last = vec![];
        for word in what.split(' ') {
            last = pair.run(0, word);
        }
        assert_eq!(last, [own], "{what}");
        assert_eq!(pair.run(1, "look"), ["0 0"], "{what}: before the news");
        pair.deliver();
        assert_eq!(pair.run(1, "look"), [other], "{what}");
    }
}

#[test]
fn both_cores_end_with_the_same_value() {
    // Both change the item before either hears of the other.
    let table = [
        ("add", "add", "2 10"),
        ("set", "text", "text 10"),
        ("text", "set", "1 10"),
    ];
    for (first, second, want) in table {
        let mut pair = Pair::new();
        pair.run(0, first);
        pair.run(1, second);
        pair.deliver();
        assert_eq!(pair.run(0, "look"), [want], "{first} {second}");
        assert_eq!(pair.run(1, "look"), [want], "{first} {second}");
        // Each lets the item go, one says so.
        let gone = [pair.wait(0), pair.wait(1)].concat();
        assert_eq!(gone.len(), 1, "{gone:?}");
    }
}

#[test]
fn variables_and_flags_are_those_of_all_cores() {
    let table: [(&[(u16, &str)], &str); 9] = [
        (&[], "4 1 -1"),
        (&[(0, "share")], "7 1 -1"),
        (&[(0, "share"), (1, "share text")], "text 1 -1"),
        (&[(1, "share text"), (0, "share")], "7 1 -1"),
        (&[(0, "count"), (1, "count"), (0, "count")], "7 1 -1"),
        (&[(0, "unshare")], " 1 -1"),
        (&[(0, "flag")], "4 1 1"),
        (&[(1, "unflag")], "4 -1 -1"),
        (&[(0, "flag"), (1, "unflag")], "4 -1 1"),
    ];
    for (steps, want) in table {
        let mut pair = Pair::new();
        for (shard, what) in steps {
            pair.run(*shard, what);
        }
        pair.deliver();
        for shard in [0, 1] {
            assert_eq!(pair.run(shard, "shared"), [want], "{steps:?} on {shard}");
        }
    }
}

#[test]
fn late_news_of_a_variable_changes_nothing() {
    let mut pair = Pair::new();
    pair.run(0, "share");
    pair.run(1, "share text");
    // What was set last comes first.
    pair.news.reverse();
    pair.deliver();
    assert_eq!(pair.run(0, "shared"), ["text 1 -1"]);
    assert_eq!(pair.run(1, "shared"), ["text 1 -1"]);
}
