//! Transfers on the wire: `dlg_refer`, `dlg_bridge`, each step with what can go wrong in it.

use std::sync::Arc;

use dialcore::effect::Proto;
use dialcore::effect::rpc::{Cursor, Part, RpcId, Value};
use dialcore::modules::rpc::command::find;
use dialcore::modules::rpc::{Args, Dialect, Question, Request};

use super::Call;
use crate::proxy::{ALICE, BOB, CAROL, Proxy, Script, Sent, answer, lines, request};

const REFER: &str = r#"if (is_method("INFO")) { $var(rc) = dlg_refer("caller", "sip:new@c.test");
    xlog("refer $var(rc)\n"); sl_send_reply("200", "OK"); exit; }
    if (is_method("MESSAGE")) { $var(rc) = dlg_bye("all"); xlog("bye $var(rc)\n");
    sl_send_reply("200", "OK"); exit; }"#;

const EVENTS: &str = r#"event_route[dialog:end] { xlog("end\n"); }"#;

const PARAMS: &str = r#"
modparam("dialog", "bridge_controller", "sip:ctd@a.test;x=1")
modparam("dialog", "bridge_contact", "sip:ctd@192.0.2.100")
modparam("dialog", "dlg_extra_hdrs", "X-Extra: 1\r\n")
modparam("tm", "fr_timer", 5000)
"#;

fn script(within: &str) -> Script<'_> {
    Script {
        within,
        routes: EVENTS,
        params: PARAMS,
        ..Script::default()
    }
}

/// A call whose caller has been sent a REFER.
fn referred() -> (Call, Sent) {
    let mut c = Call::up(script(REFER));
    let mut sent = c.send_by_callee("INFO");
    assert_eq!(c.p.said(), ["refer 1"]);
    sent.retain(|s| s.line().starts_with("REFER"));
    assert_eq!(sent.len(), 1);
    (c, sent.remove(0))
}

/// A NOTIFY about the REFER, from the one who got it.
fn notify(refer: &Sent, state: &str) -> String {
    format!(
        "NOTIFY sip:ctd@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKn\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 9 NOTIFY\r\n\
         Event: refer\r\nSubscription-State: {state}\r\nContent-Length: 0\r\n\r\n",
        refer.get("To"),
        refer.get("From"),
        refer.get("Call-ID"),
    )
}

fn only(mut sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{:?}", lines(&sent));
    sent.remove(0)
}

/// The status of the only reply.
fn status(sent: Vec<Sent>) -> String {
    only(sent).line().trim_start_matches("SIP/2.0 ")[..3].to_owned()
}

#[test]
fn the_named_party_is_referred_and_hung_up() {
    let (mut c, refer) = referred();
    assert_eq!(
        lines(std::slice::from_ref(&refer)),
        ["192.0.2.1: REFER sip:alice@192.0.2.1 SIP/2.0"]
    );
    let fields = [
        "To",
        "From",
        "CSeq",
        "Call-ID",
        "Refer-To",
        "Referred-By",
        "Contact",
        "X-Extra",
    ];
    assert_eq!(
        fields.map(|name| refer.get(name)),
        [
            "<sip:alice@a.test>;tag=a1",
            "<sip:bob@b.test>;tag=b1",
            "4 REFER",
            "c1",
            "sip:new@c.test",
            "<sip:ctd@a.test;x=1>",
            "<sip:ctd@192.0.2.100>",
            "",
        ]
    );
    assert!(c.p.receive(ALICE, &answer(&refer, 100, "")).is_empty());
    let bye = only(c.p.receive(ALICE, &answer(&refer, 202, "")));
    assert_eq!(bye.line(), "BYE sip:alice@192.0.2.1 SIP/2.0");
    let fields = ["To", "From", "CSeq", "Contact", "Refer-To", "X-Extra"];
    assert_eq!(
        fields.map(|name| bye.get(name)),
        [refer.get("To"), refer.get("From"), "5 BYE", "", "", "1"]
    );
    assert!(c.p.receive(ALICE, &answer(&bye, 200, "")).is_empty());
    // The dialog is as it was, and the other side is still in it.
    assert_eq!((c.state(), c.p.said().len(), c.p.stats()[0]), (4, 0, 1));
    let other = c.send_by_callee("MESSAGE");
    assert_eq!(lines(&other)[0], "192.0.2.2: SIP/2.0 200 OK");
    assert_eq!(lines(&other)[1], "192.0.2.2: BYE sip:bob@192.0.2.2 SIP/2.0");
    assert_eq!(other.len(), 2);
    assert_eq!(c.p.said(), ["end", "bye 1"]);
    c.p.receive(BOB, &answer(&other[1], 200, ""));
    assert_eq!(c.state(), 0);
    c.p.wait(200.0);
    assert!(c.p.is_idle());
}

#[test]
fn whatever_comes_of_the_refer_the_bye_follows() {
    for code in [200, 202, 302, 405, 481, 603] {
        let (mut c, refer) = referred();
        let bye = only(c.p.receive(ALICE, &answer(&refer, code, "")));
        assert_eq!(bye.line(), "BYE sip:alice@192.0.2.1 SIP/2.0", "{code}");
        assert_eq!(c.state(), 4);
    }
    // Nobody answers, neither this nor that.
    let (mut c, _) = referred();
    let sent = c.p.wait(5.1);
    assert_eq!(
        sent.last().unwrap().line(),
        "BYE sip:alice@192.0.2.1 SIP/2.0"
    );
    c.p.wait(40.0);
    assert_eq!(c.state(), 4);
    assert_eq!(c.p.shard().timer_count(), 1, "only the dialog is left");
    // It does not leave.
    let (mut c, refer) = referred();
    let bye = only(c.p.not_sent(refer.token.unwrap()));
    assert_eq!(bye.line(), "BYE sip:alice@192.0.2.1 SIP/2.0");
}

#[test]
fn a_refer_is_sent_once_and_only_in_a_call_that_is_up() {
    let (mut c, refer) = referred();
    assert_eq!(status(c.send_by_callee("INFO")), "200");
    c.p.receive(ALICE, &answer(&refer, 202, ""));
    assert_eq!(status(c.send_by_callee("INFO")), "200");
    assert_eq!(c.p.said(), ["refer -1", "refer -1"]);

    for (side, address) in [
        ("all", "sip:a@b"),
        ("caller", "nobody"),
        ("caller", "sip:a@b c"),
    ] {
        let within = format!(
            r#"if (is_method("INFO")) {{ $var(rc) = dlg_refer("{side}", "{address}");
            xlog("refer $var(rc)\n"); exit; }}"#
        );
        let mut c = Call::up(script(&within));
        assert!(c.send("INFO").is_empty());
        assert!(
            c.p.said().contains(&"refer -1".to_owned()),
            "{side} {address}"
        );
    }
    let ringing = r#"$var(rc) = dlg_refer("callee", "sip:a@b"); xlog("refer $var(rc)\n");"#;
    let mut c = Call::begin(Script {
        after: ringing,
        ..script("")
    });
    assert_eq!(c.p.said(), ["refer -1"]);
}

#[test]
fn the_other_name_goes_the_other_way() {
    let within = REFER.replace("\"caller\"", "\"callee\"");
    let mut c = Call::up(script(&within));
    let sent = c.send("INFO");
    let refer = sent.iter().find(|s| s.line().starts_with("REFER")).unwrap();
    assert_eq!(refer.line(), "REFER sip:bob@192.0.2.2 SIP/2.0");
    assert_eq!(refer.get("To"), "<sip:bob@b.test>;tag=b1");
}

#[test]
fn a_referred_party_that_hangs_up_itself_gets_no_bye() {
    // By its own BYE, which the script passes on; then the REFER fails.
    let (mut c, refer) = referred();
    let passed = only(c.send("BYE"));
    assert_eq!(passed.line(), "BYE sip:bob@192.0.2.2 SIP/2.0");
    assert_eq!(c.p.said(), ["end"]);
    assert!(c.p.receive(ALICE, &answer(&refer, 481, "")).is_empty());
    c.p.receive(BOB, &answer(&passed, 200, ""));
    // It is hung up with the rest of the call.
    let (mut c, refer) = referred();
    let byes = c.send_by_callee("MESSAGE");
    assert_eq!(
        byes.iter().filter(|s| s.line().starts_with("BYE")).count(),
        2
    );
    assert!(c.p.receive(ALICE, &answer(&refer, 202, "")).is_empty());
    for bye in byes.iter().filter(|s| s.line().starts_with("BYE")) {
        let from = if bye.line().contains("alice") {
            ALICE
        } else {
            BOB
        };
        assert!(c.p.receive(from, &answer(bye, 200, "")).is_empty());
    }
    assert_eq!(c.state(), 0);
}

#[test]
fn a_dialog_that_ends_unseen_does_not_keep_the_bye() {
    let mut c = Call::up(Script {
        params: "modparam(\"dialog\", \"default_timeout\", 2)\n",
        ..script(REFER)
    });
    let sent = c.send_by_callee("INFO");
    let refer = sent.iter().find(|s| s.line().starts_with("REFER")).unwrap();
    c.p.wait(3.0);
    assert_eq!(c.state(), 0, "expired, and nobody was told");
    let bye = only(c.p.receive(ALICE, &answer(refer, 202, "")));
    assert_eq!(
        [bye.line(), bye.get("CSeq")],
        ["BYE sip:alice@192.0.2.1 SIP/2.0", "5 BYE"]
    );
    assert!(c.p.receive(ALICE, &answer(&bye, 200, "")).is_empty());
    c.p.wait(200.0);
    assert!(c.p.is_idle());
}

#[test]
fn who_was_referred_is_asked_no_more_whether_he_lives() {
    let pings = r#"
modparam("dialog", "ka_timer", 1)
modparam("dialog", "ka_interval", 30)
"#;
    let params = format!("{PARAMS}{pings}");
    let mut c = Call::up(Script {
        params: &params,
        initial: r#"dlg_set_property("ka-src"); dlg_set_property("ka-dst");"#,
        ..script(REFER)
    });
    let sent = c.send_by_callee("INFO");
    let refer = sent.iter().find(|s| s.line().starts_with("REFER")).unwrap();
    let bye = only(c.p.receive(ALICE, &answer(refer, 202, "")));
    c.p.receive(ALICE, &answer(&bye, 200, ""));
    let mut count = 0;
    for _ in 0..100 {
        for ping in c.p.wait(1.0) {
            assert_eq!(ping.line(), "OPTIONS sip:bob@192.0.2.2 SIP/2.0");
            c.p.receive(BOB, &answer(&ping, 200, ""));
            count += 1;
        }
    }
    assert!(count >= 3, "{count} pings");
    assert_eq!(c.state(), 4);
}

#[test]
fn when_both_are_referred_the_call_is_over() {
    let both = r#"if (is_method("INFO")) { dlg_refer("caller", "sip:a@c.test");
        dlg_refer("callee", "sip:b@c.test"); sl_send_reply("200", "OK"); exit; }"#;
    let mut c = Call::up(script(both));
    let sent = c.send("INFO");
    let refers: Vec<_> = sent
        .iter()
        .filter(|s| s.line().starts_with("REFER"))
        .collect();
    let first = only(c.p.receive(ALICE, &answer(refers[0], 202, "")));
    assert_eq!((c.state(), c.p.said().len()), (4, 0));
    let second = only(c.p.receive(BOB, &answer(refers[1], 202, "")));
    assert_eq!((c.state(), c.p.said()), (5, vec!["end".to_owned()]));
    c.p.receive(ALICE, &answer(&first, 200, ""));
    c.p.receive(BOB, &answer(&second, 200, ""));
    assert_eq!(c.state(), 0);
    c.p.wait(200.0);
    assert!(c.p.is_idle());
}

#[test]
fn notifies_of_a_refer_in_a_dialog_are_answered_here() {
    let (mut c, refer) = referred();
    assert_eq!(
        status(c.p.receive(ALICE, &notify(&refer, "active;expires=60"))),
        "200"
    );
    let other = notify(&refer, "active").replace("Event: refer", "Event: refer;id=77");
    assert_eq!(status(c.p.receive(ALICE, &other)), "404", "another REFER's");
    let own = notify(&refer, "active").replace("Event: refer", "o: refer;id=4");
    assert_eq!(status(c.p.receive(ALICE, &own)), "200");
    let dialog = notify(&refer, "active").replace("Event: refer", "Event: dialog");
    assert_eq!(status(c.p.receive(ALICE, &dialog)), "404");
    let bye = only(c.p.receive(ALICE, &answer(&refer, 202, "")));
    c.p.receive(ALICE, &answer(&bye, 200, ""));
    // Behind the BYE, and behind the end of the dialog.
    c.send_by_callee("BYE");
    c.p.wait(60.0);
    assert_eq!(c.state(), 0);
    for _ in 0..2 {
        assert_eq!(
            status(c.p.receive(ALICE, &notify(&refer, "terminated;reason=noresource"))),
            "200"
        );
        c.p.wait(30.0);
    }
    c.p.wait(3.0);
    assert_eq!(
        status(c.p.receive(ALICE, &notify(&refer, "active"))),
        "404",
        "32 s later"
    );
    assert!(c.p.is_idle());
}

const OWN: &str = r#"if (is_method("INFO")) {
    $var(rc) = dlg_bridge("sip:bob@192.0.2.2", "sip:new@c.test", "@OP@");
    xlog("bridge $var(rc)\n"); sl_send_reply("200", "OK"); exit; }"#;

fn bridging(proxy: &str) -> (Proxy, Sent) {
    let first = OWN.replace("@OP@", proxy);
    let mut p = Proxy::with_dialogs(Script {
        first: &first,
        ..script("")
    });
    let mut sent = p.receive(ALICE, &request("INFO", "i", ""));
    assert_eq!(p.said(), ["bridge 1"]);
    sent.retain(|s| s.line().starts_with("INVITE"));
    let invite = only(sent);
    (p, invite)
}

/// The INVITE has been answered by BOB: the ACK and the REFER.
fn answered(p: &mut Proxy, invite: &Sent) -> [Sent; 2] {
    let sent = p.receive(BOB, &answer(invite, 200, "b1"));
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.2: REFER sip:bob@192.0.2.2 SIP/2.0"
        ]
    );
    sent.try_into().unwrap()
}

#[test]
fn a_call_of_our_own_from_invite_to_bye() {
    let (mut p, invite) = bridging("sip:192.0.2.3");
    assert_eq!(
        (invite.to.to_string(), invite.get("Route")),
        (CAROL.into(), "")
    );
    assert_eq!(invite.line(), "INVITE sip:bob@192.0.2.2 SIP/2.0");
    let fields = [
        "To",
        "CSeq",
        "Contact",
        "Content-Type",
        "Content-Length",
        "X-Extra",
    ];
    assert_eq!(
        fields.map(|name| invite.get(name)),
        [
            "<sip:bob@192.0.2.2>",
            "10 INVITE",
            "<sip:ctd@192.0.2.100>",
            "application/sdp",
            "147",
            ""
        ]
    );
    assert!(invite.get("From").starts_with("<sip:ctd@a.test;x=1>;tag="));
    assert!(p.receive(CAROL, &answer(&invite, 180, "b1")).is_empty());
    let ok = answer(&invite, 200, "b1").replace(
        "Contact:",
        "Record-Route: <sip:192.0.2.3;lr;n=2>, <sip:192.0.2.9;lr>\r\nContact:",
    );
    let sent = p.receive(CAROL, &ok);
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.9: ACK sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.9: REFER sip:bob@192.0.2.2 SIP/2.0"
        ]
    );
    let refer = &sent[1];
    let fields = [
        "To",
        "From",
        "CSeq",
        "Call-ID",
        "Route",
        "Refer-To",
        "Referred-By",
        "Contact",
    ];
    assert_eq!(
        fields.map(|name| refer.get(name)),
        [
            "<sip:bob@192.0.2.2>;tag=b1",
            invite.get("From"),
            "11 REFER",
            invite.get("Call-ID"),
            "<sip:192.0.2.9;lr>, <sip:192.0.2.3;lr;n=2>",
            "sip:new@c.test",
            "<sip:ctd@a.test;x=1>",
            "<sip:ctd@192.0.2.100>",
        ]
    );
    assert_eq!(
        (refer.get("Content-Type"), refer.get("Content-Length")),
        ("", "0")
    );
    // A 2xx that comes again is acknowledged again, and no more than that.
    assert_eq!(lines(&p.receive(CAROL, &ok)).len(), 1);
    let bye = only(p.receive(CAROL, &answer(refer, 202, "")));
    assert_eq!(
        [bye.get("CSeq"), bye.get("Route")],
        ["12 BYE", refer.get("Route")]
    );
    assert_eq!([bye.get("Contact"), bye.get("Refer-To")], ["", ""]);
    assert!(p.receive(CAROL, &answer(&bye, 200, "")).is_empty());
    assert_eq!(status(p.receive(BOB, &notify(refer, "terminated"))), "200");
    assert!(p.dialogs().is_empty() && p.stats() == [0; 5]);
    p.wait(200.0);
    assert!(p.is_idle());
}

#[test]
fn an_invite_that_fails_ends_it() {
    let (mut p, invite) = bridging(".");
    let ack = only(p.receive(BOB, &answer(&invite, 486, "b1")));
    assert_eq!(ack.line(), "ACK sip:bob@192.0.2.2 SIP/2.0");
    p.wait(40.0);
    assert!(p.is_idle());
    // Nobody is there.
    let (mut p, invite) = bridging("");
    let sent = p.wait(5.1);
    assert!(sent.iter().all(|s| s.line() == invite.line()));
    p.wait(40.0);
    assert!(p.is_idle());
    // It does not leave.
    let (mut p, invite) = bridging("");
    assert!(p.not_sent(invite.token.unwrap()).is_empty());
    p.wait(40.0);
    assert!(p.is_idle());
}

#[test]
fn an_invite_that_rings_too_long_is_cancelled_and_a_late_answer_hung_up() {
    let (mut p, invite) = bridging("");
    let mut sent = vec![];
    // fr_inv_timer begins anew with each provisional response.
    for _ in 0..3 {
        p.receive(BOB, &answer(&invite, 180, "b1"));
        sent.extend(p.wait(60.5));
    }
    let cancel = sent
        .iter()
        .find(|s| s.line().starts_with("CANCEL"))
        .unwrap();
    assert_eq!(cancel.get("Via"), invite.get("Via"));
    p.receive(BOB, &answer(cancel, 200, ""));
    let late = p.receive(BOB, &answer(&invite, 200, "b1"));
    assert_eq!(
        lines(&late),
        [
            "192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0",
            "192.0.2.2: BYE sip:bob@192.0.2.2 SIP/2.0"
        ]
    );
    assert_eq!(late[1].get("CSeq"), "11 BYE");
    p.receive(BOB, &answer(&late[1], 200, ""));
    p.wait(100.0);
    assert!(p.is_idle());
    // The CANCEL is obeyed.
    let (mut p, invite) = bridging("");
    for _ in 0..3 {
        p.receive(BOB, &answer(&invite, 180, "b1"));
        p.wait(60.5);
    }
    let ack = p.receive(BOB, &answer(&invite, 487, "b1"));
    assert_eq!(lines(&ack), ["192.0.2.2: ACK sip:bob@192.0.2.2 SIP/2.0"]);
    p.wait(100.0);
    assert!(p.is_idle());
}

#[test]
fn of_a_fork_one_is_referred_and_the_others_are_hung_up() {
    let (mut p, invite) = bridging("");
    let refer = &answered(&mut p, &invite)[1];
    let other = answer(&invite, 200, "b2").replace("sip:bob@192.0.2.2", "sip:bob@192.0.2.3");
    let sent = p.receive(BOB, &other);
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.3: ACK sip:bob@192.0.2.3 SIP/2.0",
            "192.0.2.3: BYE sip:bob@192.0.2.3 SIP/2.0"
        ]
    );
    assert!(sent[1].get("To").ends_with(";tag=b2"));
    assert_eq!(p.receive(BOB, &other).len(), 1, "the ACK only");
    let bye = only(p.receive(BOB, &answer(refer, 202, "")));
    assert!(bye.get("To").ends_with(";tag=b1"));
    // No more than a fork may have; each is acknowledged.
    for n in 0..40 {
        let sent = p.receive(BOB, &answer(&invite, 200, &format!("x{n}")));
        assert_eq!(sent.len(), if n < 31 { 2 } else { 1 }, "{n}");
    }
    p.wait(300.0);
    assert!(p.is_idle());
}

#[test]
fn whatever_comes_of_a_refer_of_our_own_the_bye_follows() {
    for code in [200, 405, 481, 603] {
        let (mut p, invite) = bridging("");
        let refer = &answered(&mut p, &invite)[1];
        let bye = only(p.receive(BOB, &answer(refer, code, "")));
        assert_eq!(
            [bye.line(), bye.get("CSeq")],
            ["BYE sip:bob@192.0.2.2 SIP/2.0", "12 BYE"]
        );
        // Nobody answers it.
        p.wait(200.0);
        assert!(p.is_idle());
    }
    let (mut p, invite) = bridging("");
    answered(&mut p, &invite);
    let sent = p.wait(5.1);
    assert_eq!(sent.last().unwrap().line(), "BYE sip:bob@192.0.2.2 SIP/2.0");
    p.wait(200.0);
    assert!(p.is_idle());
}

#[test]
fn what_the_party_of_our_own_call_asks_is_answered_here() {
    let table = [
        (
            "NOTIFY",
            "Event: refer\r\nSubscription-State: active\r\n",
            "200",
        ),
        ("NOTIFY", "Event: presence\r\n", "489"),
        ("NOTIFY", "", "489"),
        ("INVITE", "", "488"),
        ("UPDATE", "", "200"),
        ("OPTIONS", "", "200"),
        ("INFO", "", "200"),
        ("MESSAGE", "", "405"),
        ("REFER", "", "405"),
        ("FOO", "", "405"),
        ("PRACK", "", "481"),
        ("CANCEL", "", "481"),
        ("BYE", "", "200"),
        ("BYE", "", "200"),
        ("ACK", "", ""),
    ];
    let (mut p, invite) = bridging("");
    let refer = &answered(&mut p, &invite)[1];
    let ask = |method: &str, more: &str| {
        request(method, "x", more)
            .replace(
                "From: <sip:alice@a.test>;tag=a1",
                &format!("From: {}", refer.get("To")),
            )
            .replace(
                "To: <sip:bob@b.test>",
                &format!("To: {}", refer.get("From")),
            )
            .replace("Call-ID: c1", &format!("Call-ID: {}", refer.get("Call-ID")))
    };
    for (method, more, want) in table {
        let sent = p.receive(BOB, &ask(method, more));
        let found = if want.is_empty() {
            String::new()
        } else {
            status(sent)
        };
        assert_eq!(found, want, "{method} {more}");
    }
    // It has hung up: no BYE follows the REFER.
    assert!(p.receive(BOB, &answer(refer, 202, "")).is_empty());
    // Somebody else's tag is none of ours.
    let other = ask("OPTIONS", "").replace(";tag=dc", ";tag=xx");
    assert_eq!(status(p.receive(BOB, &other)), "404");
    p.wait(200.0);
    assert_eq!(status(p.receive(BOB, &ask("OPTIONS", ""))), "404");
    assert!(p.is_idle());
}

#[test]
fn a_bye_that_overtakes_the_answer_ends_it() {
    let (mut p, invite) = bridging("");
    let bye = request("BYE", "x", "")
        .replace("<sip:alice@a.test>;tag=a1", "<sip:bob@192.0.2.2>;tag=b1")
        .replace(
            "To: <sip:bob@b.test>",
            &format!("To: {}", invite.get("From")),
        )
        .replace(
            "Call-ID: c1",
            &format!("Call-ID: {}", invite.get("Call-ID")),
        );
    assert_eq!(status(p.receive(BOB, &bye)), "200");
    let ack = only(p.receive(BOB, &answer(&invite, 200, "b1")));
    assert_eq!(ack.line(), "ACK sip:bob@192.0.2.2 SIP/2.0");
    p.wait(300.0);
    assert!(p.is_idle());
}

#[test]
fn a_phone_behind_a_nat_is_reached_on_its_flow() {
    let (mut p, invite) = bridging("sip:192.0.2.3");
    let ok = answer(&invite, 200, "b1").replace(
        "<sip:bob@192.0.2.2>\r\nContent",
        "<sip:bob@10.1.2.3>\r\nContent",
    );
    let sent = p.receive("192.0.2.3:7000", &ok);
    let to: Vec<_> = sent.iter().map(|s| s.to.to_string()).collect();
    assert_eq!(to, ["192.0.2.3:7000"; 2], "{:?}", lines(&sent));
    assert_eq!(sent[1].line(), "REFER sip:bob@10.1.2.3 SIP/2.0");
    let bye = only(p.receive("192.0.2.3:7000", &answer(&sent[1], 202, "")));
    assert_eq!(bye.to.to_string(), "192.0.2.3:7000");

    // A connection that is gone: then to the Contact.
    let (mut p, invite) = bridging("sip:192.0.2.3;transport=tcp");
    let ok = answer(&invite, 200, "b1");
    let sent = p.receive_bytes("192.0.2.3:7000", Proto::Tcp, ok.as_bytes());
    assert_eq!(sent[1].to.to_string(), "192.0.2.3:7000");
    let again = only(p.not_sent(sent[1].token.unwrap()));
    assert_eq!(
        lines(&[again]),
        ["192.0.2.2: REFER sip:bob@192.0.2.2 SIP/2.0"]
    );
}

#[test]
fn a_challenge_on_the_way_is_answered() {
    let params =
        format!("loadmodule \"uac.so\"\nmodparam(\"uac\", \"credential\", \"joe:r:pw\")\n{PARAMS}");
    let first = OWN.replace("@OP@", "");
    let mut p = Proxy::with_dialogs(Script {
        first: &first,
        params: &params,
        ..Script::default()
    });
    let challenge = |to: &Sent| {
        answer(to, 401, "c").replace(
            "Contact:",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContact:",
        )
    };
    let sent = p.receive(ALICE, &request("INFO", "i", ""));
    let invite = sent
        .iter()
        .find(|s| s.line().starts_with("INVITE"))
        .unwrap();
    let sent = p.receive(BOB, &challenge(invite));
    let again = sent.last().unwrap();
    assert_eq!(
        [again.get("CSeq"), again.get("Content-Length")],
        ["11 INVITE", "147"]
    );
    let refer = &answered(&mut p, again)[1];
    assert_eq!(
        [refer.get("CSeq"), refer.get("Authorization")],
        ["12 REFER", ""]
    );
    let refer = only(p.receive(BOB, &challenge(refer)));
    assert_eq!(refer.get("CSeq"), "13 REFER");
    let bye = only(p.receive(BOB, &answer(&refer, 202, "")));
    assert_eq!([bye.get("CSeq"), bye.get("Authorization")], ["14 BYE", ""]);
}

#[test]
fn what_is_no_address_is_not_called() {
    let table = [
        ("bob", "sip:a@b", ""),
        ("<sip:a@b>", "sip:a@b", ""),
        ("sip:a@b", "nobody", ""),
        ("sip:a@b", "sip:a@b", "nobody"),
    ];
    for (from, to, proxy) in table {
        let first = format!(
            r#"$var(rc) = dlg_bridge("{from}", "{to}", "{proxy}");
            xlog("bridge $var(rc)\n"); exit;"#
        );
        let mut p = Proxy::with_dialogs(Script {
            first: &first,
            ..script("")
        });
        assert!(p.receive(ALICE, &request("INFO", "i", "")).is_empty());
        assert_eq!(p.said().last().unwrap(), "bridge -1", "{from} {to} {proxy}");
        assert!(p.is_idle());
    }
}

#[test]
fn there_are_not_more_than_there_may_be() {
    // Nothing here can send to such an address, so each fails at once and lingers.
    let max = dialcore::limits::TRANSFER_COUNT_MAX;
    let first = r#"
        while (dlg_bridge("sip:x@[2001:db8::1]", "sip:a@b", "") && $var(n) < 100000) {
            $var(n) = $var(n) + 1;
        }
        xlog("$var(n)\n"); exit;"#;
    let mut p = Proxy::with_dialogs(Script {
        first,
        params: "max_while_loops=1000000",
        ..Script::default()
    });
    p.receive(ALICE, &request("INFO", "i", ""));
    assert!(p.said().contains(&max.to_string()));
    p.wait(33.0);
    assert!(p.is_idle());
}

/// `dlg.bridge_dlg` with these parameters: the INVITE, or the fault.
fn commanded(values: &[&str]) -> Result<Sent, String> {
    let mut p = Proxy::with_dialogs(script(""));
    let values = values.iter().map(|text| match *text {
        "int 0" => Value::Int(0),
        text => Value::text(text),
    });
    let args = Args::new(values.collect(), Dialect::Json);
    let setup = p.shard().state().setup.clone();
    let command = find(&setup, b"dlg.bridge_dlg").unwrap();
    let question = Question {
        id: RpcId(1),
        request: Arc::new(Request {
            command,
            args: Arc::new(args),
        }),
        cursor: Cursor::default(),
        item_count: 1,
    };
    let sent = p.ask(question);
    if let Err(fault) = &only_part(&p).values {
        assert!(sent.is_empty());
        return Err(format!("{} {}", fault.code, fault.text));
    }
    Ok(only(sent))
}

fn only_part(p: &Proxy) -> &Part {
    assert_eq!(p.parts.len(), 1);
    &p.parts[0]
}

#[test]
fn an_operator_chooses_proxy_and_body() {
    let (from, to) = ("sip:bob@192.0.2.2", "sip:new@c.test");
    let sdp = "application/sdp";
    // Further parameters, where it goes, Content-Type, Content-Length.
    let table: [(&[&str], &str, &str, &str); 9] = [
        (&[], BOB, sdp, "147"),
        (&["."], BOB, sdp, "147"),
        (&[""], BOB, sdp, "147"),
        (&["sip:192.0.2.3"], CAROL, sdp, "147"),
        (&[".", "."], BOB, sdp, "147"),
        (&[".", "_"], BOB, "", "0"),
        (&[".", ""], BOB, "", "0"),
        (&[".", "int 0"], BOB, "", "0"),
        (&[".", "v=0\r\ns=x\r\n"], BOB, sdp, "10"),
    ];
    for (more, at, kind, length) in table {
        let values: Vec<&str> = [from, to].iter().chain(more).copied().collect();
        let invite = commanded(&values).unwrap();
        let found = (invite.get("Content-Type"), invite.get("Content-Length"));
        assert_eq!(
            (invite.to.to_string().as_str(), found),
            (at, (kind, length)),
            "{more:?}"
        );
    }
    let own = commanded(&[from, to, ".", "v=0\r\ns=x\r\n"]).unwrap();
    assert!(own.text.ends_with("\r\n\r\nv=0\r\ns=x\r\n"));
    let long = "x".repeat(60_000);
    let refused: [(&[&str], &str); 4] = [
        (&["notauri", to], "500 Invalid address"),
        (&[from, "notauri"], "500 Invalid address"),
        (&[from, to, "notauri"], "500 Invalid address"),
        (&[from, to, ".", &long], "500 Body too large"),
    ];
    for (values, want) in refused {
        assert_eq!(commanded(values).unwrap_err(), want);
    }
}
