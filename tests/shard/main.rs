//! One shard against the wire: what comes in, what goes out, message by message.

mod auth;
mod dispatcher;
mod cases;
mod cluster;
mod covered;
mod dialog;
mod globals;
mod network;
mod proxy;
mod reload;
mod serial;
mod stores;
mod tm;
mod torture;
mod uac;
mod ways;

use dialcore::effect::ResolveError;
use proxy::{ALICE, BOB, CAROL, Proxy, Sent, answer, lines, request};

const TO_BOB: &str = "192.0.2.2: INVITE sip:bob@192.0.2.2 SIP/2.0";
const TRYING: &str = "192.0.2.1: SIP/2.0 100 trying -- your call is important to us";

/// Sends the INVITE and gives what went to the callees.
fn invite(proxy: &mut Proxy) -> Vec<Sent> {
    let sent = proxy.receive(ALICE, &request("INVITE", "i", ""));
    assert_eq!(
        sent[0].line(),
        "SIP/2.0 100 trying -- your call is important to us"
    );
    sent[1..].to_vec()
}

#[test]
fn without_time_a_new_call_is_refused_and_the_others_go_on() {
    let mut p = Proxy::new("record_route();");
    let out = invite(&mut p);
    // The same INVITE again is of a call that has begun.
    let again = p.receive_late(ALICE, &request("INVITE", "i", ""));
    assert_eq!(lines(&again), [TRYING]);
    let ringing = p.receive_late(BOB, &answer(&out[0], 180, "b1"));
    assert_eq!(lines(&ringing), ["192.0.2.1: SIP/2.0 180 Some Reason"]);

    let other = request("INVITE", "other", "").replace("c1", "c2");
    let refused = p.receive_late(CAROL, &other);
    assert_eq!(refused[0].line(), "SIP/2.0 503 Service Unavailable");
    let seconds: u32 = refused[0].get("Retry-After").parse().expect("a number");
    assert!((1..=10).contains(&seconds), "{seconds}");
    let tag = refused[0]
        .get("To")
        .rsplit("tag=")
        .next()
        .map(str::to_owned);
    let ack = request("ACK", "other", "").replace("c1", "c2").replace(
        "To: <sip:bob@b.test>",
        &format!("To: <sip:bob@b.test>;tag={}", tag.expect("a tag")),
    );
    assert_eq!(lines(&p.receive_late(CAROL, &ack)), [""; 0]);
    assert_eq!(p.shard().counters().calls_refused, 1);
    // What is no SIP is counted as ever.
    assert_eq!(lines(&p.receive_late(CAROL, "x\r\n\r\n")), [""; 0]);
    assert_eq!(p.shard().counters().parse_errors, 1);
}

#[test]
fn a_call_from_invite_to_bye() {
    let mut p = Proxy::new("record_route();");
    let sent = p.receive(ALICE, &request("INVITE", "i", "X-Kept: as, it;is\r\n"));
    assert_eq!(lines(&sent), [TRYING, TO_BOB]);
    let out = &sent[1];
    assert_eq!(out.get("Record-Route"), "<sip:192.0.2.100;lr;ftag=a1>");
    assert_eq!(out.all("Via").len(), 2);
    assert!(out.all("Via")[0].starts_with("SIP/2.0/UDP 192.0.2.100;branch=z9hG4bK"));
    assert_eq!(out.all("Via")[1], "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKi");
    assert_eq!(
        (out.get("Max-Forwards"), out.get("X-Kept")),
        ("69", "as, it;is")
    );

    let ringing = p.receive(BOB, &answer(out, 180, "b1"));
    assert_eq!(lines(&ringing), ["192.0.2.1: SIP/2.0 180 Some Reason"]);
    assert_eq!(
        ringing[0].all("Via"),
        ["SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKi"]
    );
    let ok = p.receive(BOB, &answer(out, 200, "b1"));
    assert_eq!(lines(&ok), ["192.0.2.1: SIP/2.0 200 Some Reason"]);

    let within = |method: &str, branch: &str| {
        request(method, branch, "Route: <sip:192.0.2.100;lr;ftag=a1>\r\n")
            .replace("To: <sip:bob@b.test>", "To: <sip:bob@b.test>;tag=b1")
    };
    let ack = p.receive(ALICE, &within("ACK", "k"));
    assert_eq!(lines(&ack), ["192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0"]);
    assert!(ack[0].all("Route").is_empty());
    let bye = p.receive(ALICE, &within("BYE", "e"));
    assert_eq!(lines(&bye), ["192.0.2.2: BYE sip:bob@192.0.2.2 SIP/2.0"]);
    let ok = p.receive(BOB, &answer(&bye[0], 200, ""));
    assert_eq!(lines(&ok), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    assert_eq!(lines(&p.wait(60.0)), [""; 0]);
    assert!(p.is_idle());
}

#[test]
fn a_repeated_invite_gets_the_last_reply_and_goes_no_further() {
    let mut p = Proxy::new("");
    let out = invite(&mut p);
    let again = request("INVITE", "i", "");
    assert_eq!(lines(&p.receive(ALICE, &again)), [TRYING]);
    p.receive(BOB, &answer(&out[0], 183, "b1"));
    assert_eq!(
        lines(&p.receive(ALICE, &again)),
        ["192.0.2.1: SIP/2.0 183 Some Reason"]
    );
    p.receive(BOB, &answer(&out[0], 200, "b1"));
    assert_eq!(
        lines(&p.receive(ALICE, &again)),
        ["192.0.2.1: SIP/2.0 200 Some Reason"]
    );
    assert_eq!(lines(&p.receive(BOB, &answer(&out[0], 200, "b1"))).len(), 1);
}

#[test]
fn an_unanswered_invite_is_repeated_and_fails() {
    let mut p = Proxy::with("", "", r#"modparam("tm", "fr_timer", 10000)"#);
    invite(&mut p);
    // T1 500 ms, doubling up to T2 4 s: 0.5, 1.5, 3.5, 7.5.
    assert_eq!(lines(&p.wait(9.9)), [TO_BOB; 4]);
    assert_eq!(
        lines(&p.wait(0.2)),
        ["192.0.2.1: SIP/2.0 408 Request Timeout"]
    );
    let ack = request("ACK", "i", "").replace("To: <sip:bob@b.test>", "To: <sip:bob@b.test>;tag=x");
    assert!(p.receive(ALICE, &ack).is_empty());
    assert!(p.wait(60.0).is_empty());
    assert!(p.is_idle());
}

#[test]
fn a_failure_without_ack_is_repeated_until_timer_h() {
    let mut p = Proxy::with("", "", r#"modparam("tm", "fr_timer", 10000)"#);
    let out = invite(&mut p);
    let sent = p.receive(BOB, &answer(&out[0], 486, "b1"));
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.1: SIP/2.0 486 Some Reason",
        ]
    );
    assert_eq!(sent[0].all("Via"), [out[0].all("Via")[0]]);
    assert_eq!(
        (sent[0].get("To"), sent[0].get("CSeq")),
        ("<sip:bob@b.test>;tag=b1", "1 ACK")
    );
    assert_eq!(
        lines(&p.wait(9.9)),
        ["192.0.2.1: SIP/2.0 486 Some Reason"; 4]
    );
    assert!(p.wait(60.0).is_empty());
    assert!(p.is_idle());
}

#[test]
fn a_ringing_phone_that_nobody_answers_is_cancelled() {
    let mut p = Proxy::with("", "", r#"modparam("tm", "fr_inv_timer", 20000)"#);
    let out = invite(&mut p);
    p.receive(BOB, &answer(&out[0], 180, "b1"));
    assert!(p.wait(19.9).is_empty());
    let sent = p.wait(0.2);
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: CANCEL sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.1: SIP/2.0 408 Request Timeout",
        ]
    );
    p.receive(BOB, &answer(&sent[0], 200, ""));
    let late = p.receive(BOB, &answer(&out[0], 487, "b1"));
    assert_eq!(lines(&late), ["192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0"]);
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn a_cancel_is_answered_here_and_goes_on_when_the_phone_rings() {
    let mut p = Proxy::new("");
    let out = invite(&mut p);
    let cancel = request("CANCEL", "i", "Reason: SIP;cause=200\r\n");
    let answered = ["192.0.2.1: SIP/2.0 200 canceling"];
    assert_eq!(lines(&p.receive(ALICE, &cancel)), answered);
    // §9.1: not before a provisional response shows that the INVITE has arrived.
    let sent = p.receive(BOB, &answer(&out[0], 180, "b1"));
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: CANCEL sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.1: SIP/2.0 180 Some Reason",
        ]
    );
    assert_eq!(sent[0].all("Via"), [out[0].all("Via")[0]]);
    assert_eq!(sent[0].get("Reason"), "SIP;cause=200");
    assert_eq!(lines(&p.receive(ALICE, &cancel)), answered);
    assert_eq!(
        lines(&p.wait(0.6)),
        ["192.0.2.2: CANCEL sip:bob@192.0.2.2 SIP/2.0"]
    );
    p.receive(BOB, &answer(&sent[0], 200, ""));
    let end = p.receive(BOB, &answer(&out[0], 487, "b1"));
    assert_eq!(lines(&end)[1], "192.0.2.1: SIP/2.0 487 Some Reason");
    p.receive(ALICE, &request("ACK", "i", ""));
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn a_cancelled_branch_that_stays_silent_counts_as_cancelled() {
    let mut p = Proxy::with("", "", r#"modparam("tm", "fr_timer", 10000)"#);
    let out = invite(&mut p);
    p.receive(BOB, &answer(&out[0], 180, "b1"));
    p.receive(ALICE, &request("CANCEL", "i", ""));
    let sent = p.wait(10.1);
    assert_eq!(
        lines(&sent).last().unwrap(),
        "192.0.2.1: SIP/2.0 487 Request canceled"
    );
    p.receive(ALICE, &request("ACK", "i", ""));
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn a_200_that_crosses_the_cancel_still_sets_up_the_call() {
    let mut p = Proxy::new("");
    let out = invite(&mut p);
    p.receive(BOB, &answer(&out[0], 180, "b1"));
    p.receive(ALICE, &request("CANCEL", "i", ""));
    let ok = p.receive(BOB, &answer(&out[0], 200, "b1"));
    assert_eq!(lines(&ok), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    p.wait(100.0);
    assert!(p.is_idle());
}

const FORK: &str = r#"$ru = "sip:bob@192.0.2.2"; append_branch("sip:carol@192.0.2.3");"#;

#[test]
fn the_best_of_a_fork_goes_up_once() {
    let table: [(u16, u16, u16); 6] = [
        (486, 404, 404),
        (486, 603, 603),
        (302, 404, 302),
        (401, 486, 401),
        (503, 500, 500),
        (503, 503, 500),
    ];
    for (bob, carol, want) in table {
        let mut p = Proxy::new(FORK);
        let out = invite(&mut p);
        assert_eq!(out.len(), 2);
        let first = p.receive(BOB, &answer(&out[0], bob, "b1"));
        assert_eq!(lines(&first), ["192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0"]);
        let second = p.receive(CAROL, &answer(&out[1], carol, "c1"));
        let line = second[1].line().to_owned();
        assert!(
            line.starts_with(&format!("SIP/2.0 {want} ")),
            "{bob} {carol}: {line}"
        );
        p.receive(ALICE, &request("ACK", "i", ""));
        p.wait(100.0);
        assert!(p.is_idle());
    }
}

#[test]
fn a_200_of_a_fork_cancels_the_others() {
    let mut p = Proxy::new(FORK);
    let out = invite(&mut p);
    p.receive(CAROL, &answer(&out[1], 180, "c1"));
    let sent = p.receive(BOB, &answer(&out[0], 200, "b1"));
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.1: SIP/2.0 200 Some Reason",
            "192.0.2.3: CANCEL sip:carol@192.0.2.3 SIP/2.0",
        ]
    );
    assert_eq!(
        sent[1].get("Reason"),
        "SIP;cause=200;text=\"Call completed elsewhere\""
    );
    // §16.7 step 5: the 200 of the loser goes up all the same.
    let late = p.receive(CAROL, &answer(&out[1], 200, "c1"));
    assert_eq!(lines(&late), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn the_challenges_of_a_fork_go_up_together() {
    let mut p = Proxy::new(FORK);
    let out = invite(&mut p);
    let challenge = |sent: &Sent, code, line: &str| {
        answer(sent, code, "t").replace("Contact:", &format!("{line}\r\nContact:"))
    };
    p.receive(
        BOB,
        &challenge(&out[0], 407, "Proxy-Authenticate: Digest realm=\"b\""),
    );
    let sent = p.receive(
        CAROL,
        &challenge(&out[1], 401, "WWW-Authenticate: Digest realm=\"c\""),
    );
    let up = &sent[1];
    assert_eq!(up.line(), "SIP/2.0 401 Unauthorized");
    assert_eq!(up.all("Proxy-Authenticate"), ["Digest realm=\"b\""]);
    assert_eq!(up.all("WWW-Authenticate"), ["Digest realm=\"c\""]);
}

#[test]
fn a_failure_route_tries_another_target() {
    let initial = r#"t_on_failure("F");"#;
    let routes = r#"
        failure_route[F] {
            if (t_is_canceled()) { exit; }
            if (t_check_status("486")) { $ru = "sip:carol@192.0.2.3"; t_relay(); }
        }"#;
    let mut p = Proxy::with(initial, routes, "");
    let out = invite(&mut p);
    let sent = p.receive(BOB, &answer(&out[0], 486, "b1"));
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.3: INVITE sip:carol@192.0.2.3 SIP/2.0",
        ]
    );
    let ok = p.receive(CAROL, &answer(&sent[1], 200, "c1"));
    assert_eq!(lines(&ok), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn a_branch_route_changes_or_drops_its_branch_only() {
    let initial = format!(r#"{FORK} t_on_branch("B");"#);
    let routes = r#"
        branch_route[B] {
            if ($rU == "carol") { drop; }
            append_hf("X-Branch: $T_branch_idx $rU\r\n");
        }"#;
    let mut p = Proxy::with(&initial, routes, "");
    let out = invite(&mut p);
    assert_eq!(lines(&out), [TO_BOB]);
    assert_eq!(out[0].get("X-Branch"), "0 bob");
}

#[test]
fn a_reply_route_edits_and_drops() {
    let routes = r#"
        onreply_route[R] {
            if (status == "183") { drop; }
            append_hf("X-Seen: $rs\r\n");
        }"#;
    let mut p = Proxy::with(r#"t_on_reply("R");"#, routes, "");
    let out = invite(&mut p);
    assert!(p.receive(BOB, &answer(&out[0], 183, "b1")).is_empty());
    let ringing = p.receive(BOB, &answer(&out[0], 180, "b1"));
    assert_eq!(ringing[0].get("X-Seen"), "180");
}

#[test]
fn a_name_is_asked_for_and_the_rest_of_the_call_waits() {
    let mut p = Proxy::new(r#"if (is_method("INVITE")) { $ru = "sip:bob@next.test"; }"#);
    assert_eq!(
        lines(&p.receive(ALICE, &request("INVITE", "i", ""))),
        [TRYING]
    );
    assert_eq!(&*p.queries[0].1.host, "next.test");
    // The CANCEL comes while the INVITE waits: it is handled after it, not before.
    assert!(p.receive(ALICE, &request("CANCEL", "i", "")).is_empty());
    let sent = p.resolve(Ok(&["192.0.2.2:5060", "192.0.2.3:5060"]));
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: INVITE sip:bob@next.test SIP/2.0",
            "192.0.2.1: SIP/2.0 200 canceling"
        ]
    );
}

#[test]
fn the_next_address_is_tried_when_the_first_is_silent() {
    let mut p = Proxy::with(
        r#"$ru = "sip:bob@next.test";"#,
        "",
        r#"modparam("tm", "fr_timer", 1000)"#,
    );
    p.receive(ALICE, &request("INVITE", "i", ""));
    let first = p.resolve(Ok(&["192.0.2.2:5060", "192.0.2.3:5060"]));
    let sent = p.wait(1.1);
    let second = sent.last().unwrap();
    assert_eq!(
        (first[0].to.to_string(), second.to.to_string()),
        (BOB.into(), CAROL.into())
    );
    assert_ne!(first[0].get("Via"), second.get("Via"));
    let ok = p.receive(CAROL, &answer(second, 200, "c1"));
    assert_eq!(lines(&ok), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn what_cannot_be_sent_is_answered() {
    let unresolved = Err(ResolveError::NotFound);
    let mut p = Proxy::new(r#"$ru = "sip:bob@next.test";"#);
    p.receive(ALICE, &request("INVITE", "i", ""));
    let sent = p.resolve(unresolved);
    assert_eq!(
        lines(&sent),
        ["192.0.2.1: SIP/2.0 478 Unresolvable destination (478/TM)"]
    );
    let mut p = Proxy::new("");
    let out = invite(&mut p);
    let sent = p.not_sent(out[0].token.unwrap());
    assert!(sent[0].line().starts_with("SIP/2.0 477 "), "{sent:?}");
}

#[test]
fn a_message_to_nobody_is_not_answered_late() {
    // RFC 4320 §4.1: a 408 to a non-INVITE comes when its sender has given up already.
    let mut p = Proxy::new("");
    let out = p.receive(ALICE, &request("MESSAGE", "m", ""));
    assert_eq!(
        lines(&out),
        ["192.0.2.2: MESSAGE sip:bob@192.0.2.2 SIP/2.0"]
    );
    let sent = p.wait(31.0);
    assert!(
        sent.iter().all(|s| s.line().starts_with("MESSAGE")),
        "{:?}",
        lines(&sent)
    );
    assert!(p.receive(ALICE, &request("MESSAGE", "m", "")).is_empty());
    p.wait(60.0);
    assert!(p.is_idle());
}

#[test]
fn a_request_that_comes_back_unchanged_is_a_loop() {
    let mut p = Proxy::new(r#"$du = "sip:192.0.2.9";"#);
    let out = invite(&mut p);
    let back = p.receive("192.0.2.9:5060", &out[0].text);
    assert!(
        back.iter().any(|s| s.line() == "SIP/2.0 482 Loop Detected"),
        "{:?}",
        lines(&back)
    );
}

#[test]
fn two_routes_are_recorded_when_the_address_family_changes() {
    let text = r#"
        listen=udp:192.0.2.100:5060
        listen=udp:[2001:db8::100]:5060
        loadmodule "tm.so"
        loadmodule "rr.so"
        loadmodule "pv.so"
        request_route { record_route(); $ru = "sip:bob@[2001:db8::2]"; t_relay(); }
    "#;
    let mut p = Proxy::from_text(text);
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let out = &sent[1];
    assert_eq!(out.to.to_string(), "[2001:db8::2]:5060");
    assert!(
        out.get("Via")
            .starts_with("SIP/2.0/UDP [2001:db8::100];branch=")
    );
    assert_eq!(
        out.all("Record-Route"),
        [
            "<sip:[2001:db8::100];r2=on;lr;ftag=a1>",
            "<sip:192.0.2.100;r2=on;lr;ftag=a1>",
        ]
    );
    let ok = p.receive("[2001:db8::2]:5060", &answer(out, 200, "b1"));
    assert_eq!(ok[0].to.to_string(), ALICE);
}

#[test]
fn stray_responses_go_nowhere() {
    let mut p = Proxy::new("");
    let out = invite(&mut p);
    let good = answer(&out[0], 200, "b1");
    for (from, to) in [
        ("z9hG4bK", "z9hG4bKx"),
        (";branch=z9hG4bK", ";branch=z9hG4bKffff"),
    ] {
        let sent = p.receive(BOB, &good.replacen(from, to, 1));
        // Ours by its sent-by, of no transaction: passed to the Via below (§16.7 step 1).
        assert!(lines(&sent).len() <= 1, "{sent:?}");
    }
    let foreign = good
        .replacen("192.0.2.100", "192.0.2.99", 1)
        .replacen("z9hG4bK", "z9hG4bKx", 1);
    assert!(p.receive(BOB, &foreign).is_empty());
}

#[test]
fn our_via_says_what_is_advertised() {
    let table = [
        ("advertised_address=\"p.test\"", "", "p.test"),
        (
            "advertised_address=\"p.test\"\nadvertised_port=5070",
            "",
            "p.test:5070",
        ),
        ("advertised_port=5070", "", "192.0.2.100:5070"),
        (
            "advertised_address=\"p.test\"",
            "set_advertised_address(\"q.test\");",
            "q.test",
        ),
    ];
    for (params, initial, want) in table {
        let mut p = Proxy::with(initial, "", params);
        let sent = invite(&mut p);
        let via = sent[0].all("Via")[0];
        let want = format!("SIP/2.0/UDP {want};branch=");
        assert!(via.starts_with(&want), "{params}: {via}");
        let ok = p.receive(BOB, &answer(&sent[0], 200, "b1"));
        assert_eq!(lines(&ok), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    }
}

#[test]
fn replies_go_to_the_via_when_they_must() {
    for (params, want) in [("", "192.0.2.7:5060"), ("reply_to_via=1", "192.0.2.1:5060")] {
        for initial in [
            "sl_send_reply(\"404\", \"No\"); exit;",
            "t_newtran(); t_reply(404, \"No\"); exit;",
        ] {
            let mut p = Proxy::with(initial, "", params);
            // The Via says 192.0.2.1, the datagram comes from elsewhere.
            let sent = p.receive("192.0.2.7:5090", &request("OPTIONS", "o", ""));
            assert_eq!(sent[0].to.to_string(), want, "{params} {initial}");
        }
    }
}
