//! `event_route[network:msg]`: peers that speak SIP in a code of their own, here in hexadecimal.

use std::sync::Arc;

use dialcore::effect::{Effect, Flow, Outbox, Proto, SocketId};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Instant, Now, WallTime};

use super::proxy::{ALICE, Proxy, request};

const CFG: &str = r#"#!KAMAILIO
listen=udp:192.0.2.100:5060
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "corex.so"
modparam("corex", "nio_intercept", 1)
modparam("corex", "nio_min_msg_len", 32)
modparam("corex", "nio_msg_avp", "$avp(msg)")
event_route[network:msg] {
    if (is_incoming()) {
        xlog("in $ml $si:$sp");
        if ($(mb{s.substr,0,1}) =~ "[0-9a-f]") { $avp(msg) = $(mb{s.decode.hexa}); }
    } else {
        xlog("out $(mb{line.at,0}) to $snd(ip) from $si");
        if ($snd(ip) == "192.0.2.1") { $avp(msg) = $(mb{s.encode.hexa}); }
    }
}
request_route {
    xlog("$rm of $ci");
    if ($rm == "INFO") { $du = "sip:192.0.2.2"; t_relay(); exit; }
    sl_send_reply("200", "OK");
}
"#;

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn what_comes_is_decoded_and_what_leaves_is_encoded() {
    let mut p = Proxy::from_text(CFG);
    let message = request("OPTIONS", "1", "");
    let code = hex(&message);
    let sent = p.receive(ALICE, &code);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].text.starts_with(&hex("SIP/2.0 200 OK")), "{sent:?}");
    let lines = [
        format!("in {} 192.0.2.1:5060", code.len()),
        "OPTIONS of c1".to_owned(),
        "out SIP/2.0 200 OK to 192.0.2.1 from 192.0.2.100".to_owned(),
    ];
    assert_eq!(std::mem::take(&mut p.log), lines);
}

#[test]
fn what_the_route_leaves_alone_stays_as_it_is() {
    let mut p = Proxy::from_text(CFG);
    let sent = p.receive(ALICE, &request("INFO", "1", ""));
    assert_eq!(sent.len(), 1);
    assert!(
        sent[0]
            .text
            .starts_with("INFO sip:bob@192.0.2.2 SIP/2.0\r\n")
    );
    // A retransmission passes the route again.
    p.log.clear();
    p.wait(0.6);
    let line = "out INFO sip:bob@192.0.2.2 SIP/2.0 to 192.0.2.2 from 192.0.2.100";
    assert_eq!(std::mem::take(&mut p.log), [line]);
    // Too short for the route, and no message either.
    p.receive(ALICE, "\r\n\r\n");
    assert_eq!(std::mem::take(&mut p.log), [""; 0]);
}

fn two_shards(text: &str) -> [Shard; 2] {
    let setup = Arc::new(Setup::from_text(text, 2).unwrap_or_else(|e| panic!("{e}")));
    [0, 1].map(|n| Shard::new(ShardId(n), Arc::clone(&setup), 1))
}

fn flow() -> Flow {
    Flow {
        socket: SocketId(0),
        proto: Proto::Udp,
        remote: ALICE.parse().expect("an address"),
        conn: None,
    }
}

#[test]
fn the_shard_of_the_decoded_call_handles_it() {
    let mut shards = two_shards(CFG);
    let message = request("OPTIONS", "1", "");
    let home = owner(b"c1", 2);
    let away = ShardId(1 - home.0);
    let flow = flow();
    let now = Now {
        mono: Instant::ZERO,
        wall: WallTime::from_micros(1_700_000_000_000_000),
    };
    let mut out = Outbox::new();
    let code = hex(&message);
    let bytes = code.as_bytes();
    shards[usize::from(away.0)].handle(now, Input::Received { flow, bytes }, &mut out);
    let passed = out.drain().find_map(|effect| match effect {
        Effect::Peer(to, message) => Some((to, message)),
        _ => None,
    });
    let (to, message) = passed.expect("it is passed on");
    assert_eq!(to, home);
    let input = Input::Peer(away, message);
    shards[usize::from(home.0)].handle(now, input, &mut out);
    let answers = out.drain().filter(|e| matches!(e, Effect::Send(_))).count();
    assert_eq!(answers, 1);
    assert_eq!(shards[usize::from(away.0)].counters().misrouted, 0);
}

/// The kernel has been misled: the shard sees whose call it is when it reads the message.
#[test]
fn what_the_kernel_has_brought_to_the_wrong_shard_is_handed_over() {
    const PLAIN: &str = "listen=udp:192.0.2.100:5060\nloadmodule \"sl.so\"\n\
                         request_route { sl_send_reply(\"200\", \"OK\"); }";
    for text in [PLAIN, CFG] {
        let mut shards = two_shards(text);
        let message = request("OPTIONS", "1", "");
        let home = owner(b"c1", 2);
        let away = ShardId(1 - home.0);
        let flow = flow();
        let now = Now::default();
        let mut out = Outbox::new();
        let bytes = message.as_bytes();
        let input = || Input::Steered { flow, bytes };
        shards[usize::from(away.0)].handle(now, input(), &mut out);
        let effects: Vec<Effect> = out.drain().collect();
        let [Effect::HandOver(to, same, passed)] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!((*to, *same, &passed[..]), (home, flow, bytes));
        let counters = shards[usize::from(away.0)].counters();
        assert_eq!((counters.received, counters.misrouted), (0, 0));

        shards[usize::from(home.0)].handle(now, input(), &mut out);
        let is_handed = out.drain().any(|e| matches!(e, Effect::HandOver(..)));
        let counters = shards[usize::from(home.0)].counters();
        assert_eq!(
            (is_handed, counters.received, counters.misrouted),
            (false, 1, 0)
        );
    }
}
