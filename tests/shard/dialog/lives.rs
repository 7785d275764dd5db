//! Lives of dialogs: states, statistics, forks, races.

use super::Call;
use crate::proxy::{ALICE, BOB, CAROL, Proxy, Script, answer, lines, request};

#[test]
fn a_call_from_invite_to_rest() {
    let mut c = Call::begin(Script::default());
    assert_eq!((c.state(), c.p.stats()), (1, [0, 0, 1, 0, 0]));
    let cookie = c.route();
    assert!(
        cookie.starts_with("<sip:192.0.2.100;lr;ftag=a1;did="),
        "{cookie}"
    );
    c.reply(100);
    assert_eq!(c.state(), 1);
    c.reply(180);
    assert_eq!((c.state(), c.p.stats()), (2, [0, 1, 1, 0, 0]));
    c.reply(183);
    assert_eq!((c.state(), c.p.stats()), (2, [0, 1, 1, 0, 0]));
    c.reply(200);
    assert_eq!((c.state(), c.p.stats()), (3, [1, 0, 1, 0, 0]));
    c.reply(200);
    assert_eq!((c.state(), c.p.stats()), (3, [1, 0, 1, 0, 0]));
    c.send("ACK");
    assert_eq!((c.state(), c.p.stats()), (4, [1, 0, 1, 0, 0]));
    c.send("ACK");
    assert_eq!(c.state(), 4);
    let bye = c.send("BYE");
    assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 0]));
    assert_eq!(lines(&bye), ["192.0.2.2: BYE sip:bob@192.0.2.2 SIP/2.0"]);
    c.p.receive(BOB, &answer(&bye[0], 200, ""));
    c.p.wait(4.9);
    assert_eq!(c.state(), 5, "late messages are still absorbed");
    c.p.wait(0.2);
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 0, 0]));
    c.p.wait(60.0);
    assert!(c.p.is_idle());
}

#[test]
fn what_the_dialog_knows_when_it_is_up() {
    let rr = "Record-Route: <sip:p1;lr>,<sip:p0;lr>\r\n";
    let mut c = Call::with(Proxy::with_dialogs(Script::default()), rr);
    let ok = answer(&c.invite, 200, "b1").replacen(
        "Record-Route:",
        "Record-Route: <sip:q2;lr>, <sip:q1;lr>\r\nRecord-Route:",
        1,
    );
    c.p.receive(BOB, &ok);
    let d = &c.p.dialogs()[0];
    let leg = |l: &dialcore::modules::dialog::listing::LegView| {
        [&l.tag, &l.contact, &l.cseq, &l.route_set, &l.socket]
            .map(|f| f.clone().unwrap_or_default())
    };
    let socket = "udp:192.0.2.100:5060";
    assert_eq!((&*d.call_id, &*d.from_uri), ("c1", "sip:alice@a.test"));
    assert_eq!(
        (&*d.to_uri, &*d.ruri),
        ("sip:bob@b.test", "sip:bob@192.0.2.2")
    );
    let caller = [
        "a1",
        "sip:alice@192.0.2.1",
        "1",
        "<sip:p1;lr>,<sip:p0;lr>",
        socket,
    ];
    assert_eq!(leg(&d.caller), caller);
    assert_eq!(
        leg(&d.callee),
        [
            "b1",
            "sip:bob@192.0.2.2",
            "0",
            "<sip:q1;lr>,<sip:q2;lr>",
            socket
        ]
    );
    let times = (
        d.init_ts, d.start_ts, d.end_ts, d.timeout, d.lifetime, d.duration,
    );
    let t0 = 1_700_000_000;
    assert_eq!(times, (t0, t0, 0, t0 + 43_200, 43_200, 0));
}

#[test]
fn before_the_answer_nothing_is_known_of_the_callee() {
    let mut c = Call::begin(Script::default());
    c.reply(180);
    let d = &c.p.dialogs()[0];
    assert_eq!(d.callee, Default::default());
    assert_eq!((d.start_ts, d.timeout, d.reference_count), (0, 0, 1));
}

#[test]
fn failures_of_all_kinds() {
    // What happens, and the status that goes to the caller.
    let table: [(&str, &[u16]); 4] = [
        ("refused at once", &[486]),
        ("refused while it rings", &[180, 603]),
        ("redirected", &[302]),
        ("challenged", &[407]),
    ];
    for (name, codes) in table {
        let mut c = Call::begin(Script::default());
        for code in codes {
            c.reply(*code);
        }
        assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 1]), "{name}");
        c.p.receive(ALICE, &request("ACK", "i", ""));
        c.p.wait(6.0);
        assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 0, 1]), "{name}");
    }
}

#[test]
fn without_wait_ack_a_failed_call_is_gone_with_its_reply() {
    let params = "modparam(\"dialog\", \"wait_ack\", 0)";
    let mut c = Call::begin(Script {
        params,
        ..Script::default()
    });
    c.reply(486);
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 0, 1]));
}

#[test]
fn a_call_that_nobody_answers() {
    let params = r#"modparam("tm", "fr_timer", 5000)"#;
    let mut c = Call::begin(Script {
        params,
        ..Script::default()
    });
    c.p.wait(5.1);
    assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 1]));
    c.p.wait(60.0);
    assert!(c.p.is_idle());
}

#[test]
fn a_cancelled_call() {
    let mut c = Call::begin(Script::default());
    c.reply(180);
    let sent = c.p.receive(ALICE, &request("CANCEL", "i", ""));
    assert_eq!(c.state(), 2, "a CANCEL changes nothing by itself");
    let cancel = sent
        .iter()
        .find(|s| s.line().starts_with("CANCEL"))
        .unwrap();
    c.p.receive(BOB, &answer(cancel, 200, ""));
    c.reply(487);
    assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 1]));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_a_call() {
    // RFC 5407 §3.1.2: the caller gets the 2xx, acknowledges it and hangs up.
    let mut c = Call::begin(Script::default());
    c.reply(180);
    c.p.receive(ALICE, &request("CANCEL", "i", ""));
    c.reply(200);
    assert_eq!((c.state(), c.p.stats()), (3, [1, 0, 1, 0, 0]));
    c.send("ACK");
    c.send("BYE");
    assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 0]));
}

#[test]
fn an_answer_after_the_failure_brings_nothing_back() {
    let params = r#"modparam("tm", "fr_inv_timer", 5000)"#;
    let mut c = Call::begin(Script {
        params,
        ..Script::default()
    });
    c.reply(180);
    c.p.wait(5.1);
    assert_eq!(c.state(), 5);
    let late = c.reply(200);
    assert_eq!(lines(&late), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 1]));
}

#[test]
fn races_within_the_dialog() {
    // Who sends what after the 200, and the states. RFC 5407 §3.1.4, §3.2.1, §3.3.1.
    type Row = (&'static str, &'static [(&'static str, bool, i64)]);
    let table: [Row; 9] = [
        ("BYE before ACK", &[("BYE", true, 5), ("ACK", true, 5)]),
        (
            "BYE of the callee before the ACK",
            &[("BYE", false, 5), ("ACK", true, 5)],
        ),
        (
            "BYEs cross",
            &[("ACK", true, 4), ("BYE", true, 5), ("BYE", false, 5)],
        ),
        (
            "re-INVITE before ACK",
            &[("INVITE", false, 3), ("ACK", true, 4)],
        ),
        (
            "BYE against re-INVITE",
            &[("ACK", true, 4), ("INVITE", true, 4), ("BYE", false, 5)],
        ),
        (
            "re-INVITE after BYE",
            &[("ACK", true, 4), ("BYE", true, 5), ("INVITE", false, 5)],
        ),
        (
            "re-INVITEs cross",
            &[("ACK", true, 4), ("INVITE", true, 4), ("INVITE", false, 4)],
        ),
        (
            "UPDATE and re-INVITE cross",
            &[("ACK", true, 4), ("UPDATE", true, 4), ("INVITE", false, 4)],
        ),
        (
            "REFER after BYE",
            &[("ACK", true, 4), ("BYE", true, 5), ("REFER", false, 5)],
        ),
    ];
    for (name, steps) in table {
        let mut c = Call::begin(Script::default());
        c.reply(200);
        for (method, by_caller, want) in steps {
            if *by_caller {
                c.send(method)
            } else {
                c.send_by_callee(method)
            };
            assert_eq!(c.state(), *want, "{name}: {method}");
        }
        let active = u64::from(c.state() < 5);
        assert_eq!(c.p.stats(), [active, 0, 1, 0, 0], "{name}");
    }
}

#[test]
fn requests_while_it_rings() {
    let mut c = Call::begin(Script::default());
    for method in ["UPDATE", "PRACK", "BYE"] {
        c.send(method);
        assert_eq!(
            c.state(),
            1,
            "{method} before anything was heard of the callee"
        );
    }
    c.reply(183);
    for (method, by_caller) in [
        ("PRACK", true),
        ("UPDATE", true),
        ("UPDATE", false),
        ("BYE", true),
    ] {
        if by_caller {
            c.send(method)
        } else {
            c.send_by_callee(method)
        };
        assert_eq!(c.state(), 2, "{method}");
    }
    let d = &c.p.dialogs()[0];
    assert_eq!((d.iflags, d.caller.cseq.as_deref()), (32, Some("8")));
    assert_eq!(d.callee.cseq.as_deref(), Some("7"));
}

#[test]
fn targets_and_numbers_follow_requests() {
    let mut c = Call::up(Script::default());
    let show = |c: &mut Call| {
        let d = c.p.dialogs().remove(0);
        let leg = |l: dialcore::modules::dialog::listing::LegView| {
            format!(
                "{} {}",
                l.contact.unwrap_or_default(),
                l.cseq.unwrap_or_default()
            )
        };
        format!("{}, {}", leg(d.caller), leg(d.callee))
    };
    assert_eq!(show(&mut c), "sip:alice@192.0.2.1 1, sip:bob@192.0.2.2 0");
    let moved = |text: String| text.replace("Contact: <sip:", "Contact: <sip:moved-");
    let text = moved(c.within("INVITE"));
    let invite = c.p.receive(ALICE, &text);
    // RFC 6141 §4: not before it is accepted; then the 2xx counts, too (RFC 3261 §12.2.1.2).
    assert_eq!(show(&mut c), "sip:alice@192.0.2.1 3, sip:bob@192.0.2.2 0");
    let out = invite
        .iter()
        .find(|s| s.line().starts_with("INVITE"))
        .unwrap();
    c.p.receive(BOB, &moved(answer(out, 200, "")));
    assert_eq!(
        show(&mut c),
        "sip:moved-alice@192.0.2.1 3, sip:moved-bob@192.0.2.2 0"
    );
    let text = c.within_by_callee("UPDATE");
    let update = c.p.receive(BOB, &text);
    let ok =
        answer(&update[0], 200, "").replace("sip:bob@192.0.2.2>", "sip:moved-alice@192.0.2.1>");
    c.p.receive(ALICE, &ok);
    assert_eq!(
        show(&mut c),
        "sip:moved-alice@192.0.2.1 3, sip:bob@192.0.2.2 4"
    );
    let text = moved(c.within("INFO"));
    c.p.receive(ALICE, &text);
    assert_eq!(
        show(&mut c),
        "sip:moved-alice@192.0.2.1 5, sip:bob@192.0.2.2 4"
    );
    // What was overtaken on its way does not turn the number back.
    let text = c.within("INFO").replace("CSeq: 6", "CSeq: 2");
    c.p.receive(ALICE, &text);
    assert_eq!(
        show(&mut c),
        "sip:moved-alice@192.0.2.1 5, sip:bob@192.0.2.2 4"
    );
}

#[test]
fn a_refused_target_refresh_changes_nothing() {
    for (method, code, want) in [
        ("INVITE", 488, "sip:alice@192.0.2.1"),
        ("INVITE", 491, "sip:alice@192.0.2.1"),
        ("UPDATE", 500, "sip:alice@192.0.2.1"),
        ("INVITE", 183, "sip:alice@192.0.2.1"),
        ("INFO", 200, "sip:alice@192.0.2.1"),
        ("INVITE", 200, "sip:alice@192.0.2.9"),
        ("UPDATE", 202, "sip:alice@192.0.2.9"),
    ] {
        let mut c = Call::up(Script::default());
        let text = c
            .within(method)
            .replace("alice@192.0.2.1>", "alice@192.0.2.9>");
        let sent = c.p.receive(ALICE, &text);
        let out = sent.iter().find(|s| s.line().starts_with(method)).unwrap();
        c.p.receive(BOB, &answer(out, code, ""));
        let contact = c.p.dialogs().remove(0).caller.contact;
        assert_eq!(contact.as_deref(), Some(want), "{method} {code}");
    }
}

#[test]
fn an_answer_of_the_script_accepts_a_target_too() {
    for (code, want) in [(200, "sip:alice@192.0.2.9"), (488, "sip:alice@192.0.2.1")] {
        let within = format!(
            "if (is_method(\"UPDATE\")) {{ t_newtran(); t_reply(\"{code}\", \"x\"); exit; }}"
        );
        let mut c = Call::up(Script {
            within: &within,
            ..Script::default()
        });
        let text = c
            .within("UPDATE")
            .replace("alice@192.0.2.1>", "alice@192.0.2.9>");
        c.p.receive(ALICE, &text);
        let contact = c.p.dialogs().remove(0).caller.contact;
        assert_eq!(contact.as_deref(), Some(want), "{code}");
    }
}

const FORK: &str = r#"$ru = "sip:bob@192.0.2.2"; append_branch("sip:carol@192.0.2.3");"#;

#[test]
fn a_fork_is_one_dialog() {
    let mut p = Proxy::with_dialogs(Script {
        after: FORK,
        ..Script::default()
    });
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let (bob, carol) = (&sent[1], &sent[2]);
    assert_eq!(bob.get("Record-Route"), carol.get("Record-Route"));
    p.receive(BOB, &answer(bob, 180, "b1"));
    p.receive(CAROL, &answer(carol, 180, "c1"));
    assert_eq!((p.states(), p.stats()), (vec![2], [0, 1, 1, 0, 0]));
    p.receive(BOB, &answer(bob, 486, "b1"));
    assert_eq!(p.states(), [2]);
    p.receive(CAROL, &answer(carol, 200, "c1"));
    assert_eq!((p.states(), p.stats()), (vec![3], [1, 0, 1, 0, 0]));
    assert_eq!(p.dialogs()[0].callee.tag.as_deref(), Some("c1"));
}

#[test]
fn of_two_answers_the_first_is_the_dialog() {
    let mut p = Proxy::with_dialogs(Script {
        after: FORK,
        ..Script::default()
    });
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    p.receive(BOB, &answer(&sent[1], 200, "b1"));
    let second = p.receive(CAROL, &answer(&sent[2], 200, "c1"));
    assert_eq!(lines(&second), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
    assert_eq!((p.states(), p.stats()), (vec![3], [1, 0, 1, 0, 0]));
    assert_eq!(p.dialogs()[0].callee.tag.as_deref(), Some("b1"));
    // The ACK and the BYE for the loser are of no known dialog, and pass.
    let route = format!("Route: {}\r\n", sent[1].get("Record-Route"));
    for (method, tag, want) in [("ACK", "c1", 3), ("BYE", "c1", 3), ("ACK", "b1", 4)] {
        let text = request(method, &format!("{method}{tag}"), &route).replace(
            "To: <sip:bob@b.test>",
            &format!("To: <sip:bob@b.test>;tag={tag}"),
        );
        assert_eq!(p.receive(ALICE, &text).len(), 1, "{method} {tag}");
        assert_eq!(p.states(), [want], "{method} {tag}");
    }
}

#[test]
fn serial_forking_is_one_dialog() {
    let routes = r#"failure_route[F] { $ru = "sip:carol@192.0.2.3"; t_relay(); }"#;
    let script = Script {
        after: r#"t_on_failure("F");"#,
        routes,
        ..Script::default()
    };
    let mut c = Call::begin(script);
    c.reply(180);
    let sent = c.reply(486);
    assert_eq!((c.state(), c.p.stats()), (2, [0, 1, 1, 0, 0]));
    let carol = sent
        .iter()
        .find(|s| s.line().starts_with("INVITE"))
        .unwrap();
    assert_eq!(carol.get("Record-Route"), c.route());
    c.p.receive(CAROL, &answer(carol, 603, "c1"));
    assert_eq!((c.state(), c.p.stats()), (5, [0, 0, 1, 0, 1]));
}

#[test]
fn answers_of_the_script() {
    let reply = |code: u16| format!(r#"t_newtran(); t_reply("{code}", "Made here"); exit;"#);
    for (code, state, stats) in [
        (183, 1, [0, 0, 1, 0, 0]),
        (200, 3, [1, 0, 1, 0, 0]),
        (404, 5, [0, 0, 1, 0, 1]),
    ] {
        let after = reply(code);
        let mut p = Proxy::with_dialogs(Script {
            after: &after,
            ..Script::default()
        });
        p.receive(ALICE, &request("INVITE", "i", ""));
        assert_eq!((p.states(), p.stats()), (vec![state], stats), "{code}");
    }
    for after in ["exit;", r#"sl_send_reply("403", "No"); exit;"#] {
        let mut p = Proxy::with_dialogs(Script {
            after,
            ..Script::default()
        });
        p.receive(ALICE, &request("INVITE", "i", ""));
        assert_eq!(
            (p.states(), p.stats()),
            (vec![], [0, 0, 1, 0, 0]),
            "{after}"
        );
    }
}

#[test]
fn what_makes_no_dialog() {
    let contact = "Contact: <sip:alice@192.0.2.1>\r\n";
    let invite = request("INVITE", "i", "");
    let table = [
        ("an OPTIONS", request("OPTIONS", "i", "")),
        ("an INVITE without Contact", invite.replace(contact, "")),
        (
            "an INVITE with two",
            invite.replace(contact, &contact.repeat(2)),
        ),
    ];
    for (name, text) in table {
        let initial = r#"if (!dlg_manage()) { xlog("none\n"); }"#;
        let script = Script {
            first: initial,
            unmanaged: true,
            ..Script::default()
        };
        let mut p = Proxy::with_dialogs(script);
        let sent = p.receive(ALICE, &text);
        assert_eq!(p.said().last().map(String::as_str), Some("none"), "{name}");
        assert!(!sent.last().unwrap().text.contains("did="), "{name}");
        assert_eq!((p.states(), p.stats()), (vec![], [0; 5]), "{name}");
    }
}

#[test]
fn a_second_dlg_manage_fails_and_changes_nothing() {
    let after = r#"if (!dlg_manage()) { xlog("once\n"); }"#;
    let mut c = Call::begin(Script {
        after,
        ..Script::default()
    });
    assert_eq!(
        (c.p.said(), c.p.stats()),
        (vec!["once".to_owned()], [0, 0, 1, 0, 0])
    );
    assert_eq!(c.route().matches("did=").count(), 1);
    assert_eq!(c.state(), 1);
}

#[test]
fn dlg_flag_makes_the_dialog_with_the_transaction() {
    let params = r#"modparam("dialog", "dlg_flag", 4)"#;
    let after = r#"xlog("before $dlg(state) $dlg_ctx(set)\n"); setflag(4); t_relay();
                   xlog("after $dlg(state) $dlg_ctx(set)\n"); exit;"#;
    let script = Script {
        params,
        after,
        unmanaged: true,
        ..Script::default()
    };
    let mut c = Call::begin(script);
    assert_eq!(c.p.said(), ["before <null> 0", "after 1 1"]);
    assert!(c.route().contains(";did="));
    c.reply(200);
    c.send("ACK");
    assert_eq!(c.state(), 4);
}

#[test]
fn spirals_are_one_dialog_or_several() {
    // The first pass goes to the proxy itself under another name.
    let initial = r#"
        if ($rU == "bob") {
            dlg_manage(); xlog("first $dlg(h_id)\n");
            $ru = "sip:again@192.0.2.2"; $du = "sip:192.0.2.100"; t_relay(); exit;
        }
        dlg_manage(); xlog("second $dlg(h_id) $dlg_ctx(set)\n");"#;
    for (detect, dialogs, cookies) in [(1, 1, [1, 0]), (0, 2, [1, 1])] {
        let params = format!("modparam(\"dialog\", \"detect_spirals\", {detect})");
        let script = Script {
            initial,
            params: &params,
            unmanaged: true,
            ..Script::default()
        };
        let mut p = Proxy::with_dialogs(script);
        let first = p.receive(ALICE, &request("INVITE", "i", ""));
        let out = first
            .iter()
            .find(|s| s.line().starts_with("INVITE"))
            .unwrap();
        let second = p.receive("192.0.2.100:5060", &out.text);
        let out = second
            .iter()
            .find(|s| s.line().starts_with("INVITE"))
            .unwrap();
        let said = p.said();
        let id = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(id(&said[0]) == id(&said[1]), detect == 1, "{said:?}");
        assert_eq!((p.states().len(), p.stats()[2]), (dialogs, dialogs as u64));
        let has = |value: &str| value.matches(";did=").count();
        let found: Vec<_> = out.all("Record-Route").into_iter().rev().map(has).collect();
        assert_eq!(found, cookies, "detect_spirals {detect}");
    }
}

#[test]
fn a_call_that_is_made_anew_is_a_new_dialog() {
    let mut c = Call::begin(Script::default());
    c.reply(407);
    c.p.receive(ALICE, &request("ACK", "i", ""));
    let again = request("INVITE", "j", "").replace("CSeq: 1 ", "CSeq: 2 ");
    let sent = c.p.receive(ALICE, &again);
    let out = sent
        .iter()
        .find(|s| s.line().starts_with("INVITE"))
        .unwrap();
    assert_ne!(out.get("Record-Route"), c.route());
    let mut states = c.p.states();
    states.sort_unstable();
    assert_eq!((states, c.p.stats()), (vec![1, 5], [0, 0, 2, 0, 1]));
    c.p.receive(BOB, &answer(out, 200, "b2"));
    assert_eq!(c.p.stats(), [1, 0, 2, 0, 1]);
    c.p.wait(10.0);
    assert_eq!(c.p.states(), [3]);
}

#[test]
fn a_2xx_without_contact_is_a_call_all_the_same() {
    let mut c = Call::begin(Script::default());
    let ok = answer(&c.invite, 200, "b1").replace("Contact: <sip:bob@192.0.2.2>\r\n", "");
    c.p.receive(BOB, &ok);
    assert_eq!((c.state(), c.p.stats()), (3, [1, 0, 1, 0, 0]));
    let callee = c.p.dialogs().remove(0).callee;
    assert_eq!((callee.tag.as_deref(), callee.contact), (Some("b1"), None));
    c.send("ACK");
    c.send("BYE");
    assert_eq!(c.state(), 5);
}
