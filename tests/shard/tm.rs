//! Parameters of transactions, and replies that belong to none.

use dialcore::effect::ResolveError;
use dialcore::limits::PARKED_RUN_COUNT_MAX;

use super::proxy::{ALICE, BOB, CAROL, Proxy, Sent, answer, lines, request};

/// The first that goes to the callee with this method.
fn to_bob<'a>(sent: &'a [Sent], method: &str) -> &'a Sent {
    sent.iter()
        .find(|s| s.line().starts_with(method))
        .unwrap_or_else(|| panic!("no {method} in {:?}", lines(sent)))
}

#[test]
fn who_cannot_wait_goes_on() {
    let event = r#"event_route[tm:local-request] {
        sleep("1"); xlog("local $rc\n"); append_hf("X-L: 1\r\n"); }"#;
    let initial = r#"
        if ($rU == "bob") { sleep("3"); sl_send_reply("200", "OK"); exit; }
        $uac_req(method) = "OPTIONS"; $uac_req(ruri) = "sip:x@192.0.2.3";
        $uac_req(furi) = "sip:f@a.test"; $uac_req(turi) = "sip:t@b.test";
        uac_req_send(); sl_send_reply("202", "OK"); exit;"#;
    let mut p = Proxy::with(
        initial,
        event,
        "loadmodule \"uac.so\"\nloadmodule \"cfgutils.so\"",
    );
    let text = request("MESSAGE", "m", "");
    p.is_unchecked = true;
    for i in 0..PARKED_RUN_COUNT_MAX {
        let one = text.replace("Call-ID: c1", &format!("Call-ID: w{i}"));
        assert!(p.receive(ALICE, &one).is_empty(), "{i}");
    }
    // A request of our own leaves all the same.
    let sent = p.receive(
        ALICE,
        &text.replace("sip:bob@192.0.2.2", "sip:own@192.0.2.2"),
    );
    let own = to_bob(&sent, "OPTIONS");
    assert_eq!(own.get("X-L"), "1");
    assert!(p.log.iter().any(|l| l == "local -1\n"), "{:?}", p.log);
    // And whoever wants to wait is answered at once.
    let sent = p.receive(ALICE, &text);
    assert_eq!(lines(&sent), ["192.0.2.1: SIP/2.0 200 OK"]);
    assert!(p.receive(CAROL, &answer(own, 200, "t")).is_empty());
    let woken = p.wait(3.5);
    assert_eq!(woken.len(), PARKED_RUN_COUNT_MAX);
    p.is_unchecked = false;
    p.wait(60.0);
    assert!(p.is_idle());
}

#[test]
fn a_script_may_answer_a_failed_relay_itself() {
    for (statements, want) in [
        ("t_relay(); exit;", "478"),
        ("t_relay_to(\"2\"); exit;", ""),
        ("t_relay_to(\"2\"); t_reply_error(); exit;", "478"),
        ("t_relay_to(\"2\"); sl_reply_error(); exit;", "478"),
        ("t_relay(); t_reply_error(); exit;", "478"),
        ("t_relay_to(\"2\"); t_relay(); exit;", "478"),
    ] {
        let initial = format!("$ru = \"sip:x@nowhere.test\"; {statements}");
        let mut p = Proxy::new(&initial);
        let mut sent = p.receive(ALICE, &request("INVITE", "i", ""));
        while !p.queries.is_empty() {
            sent.extend(p.resolve(Err(ResolveError::NotFound)));
        }
        let finals: Vec<_> = sent.iter().map(|s| &s.line()[8..11]).collect();
        let finals: Vec<_> = finals.into_iter().filter(|code| *code != "100").collect();
        let want: Vec<&str> = Some(want).filter(|w| !w.is_empty()).into_iter().collect();
        assert_eq!(finals, want, "{statements}");
    }
}

#[test]
fn a_failed_relay_is_answered_at_the_end_or_at_once() {
    for (params, want) in [
        ("", ["200 first", ""]),
        ("modparam(\"tm\", \"delayed_reply\", 0)", ["478 ", ""]),
    ] {
        let initial = "$ru = \"sip:x@nowhere.test\"; t_relay(); t_reply(\"200\", \"first\"); exit;";
        let mut p = Proxy::with(initial, "", params);
        p.receive(ALICE, &request("INVITE", "i", ""));
        let sent = p.resolve(Err(ResolveError::NotFound));
        assert_eq!(sent.len(), 1, "{params} {:?}", lines(&sent));
        assert!(sent[0].line()[8..].starts_with(want[0]), "{params}");
    }
}

#[test]
fn header_fields_go_along_by_prefix() {
    let fields = "X-AC-One: a\r\nX-Other: b\r\nx-ac-two: c\r\nSubject: d\r\nRequire: e\r\n";
    let table: [(&str, &[&str]); 6] = [
        ("", &[]),
        ("X-AC", &["X-AC-One: a", "x-ac-two: c", "X-AC-Own: o"]),
        ("x-ac-two", &["x-ac-two: c"]),
        ("Sub", &["Subject: d"]),
        ("R", &[]),
        ("X-AC|Sub", &[]),
    ];
    for (prefix, want) in table {
        let params = format!("modparam(\"tm\", \"ac_extra_hdrs\", \"{prefix}\")");
        let mut p = Proxy::with("append_hf(\"X-AC-Own: o\\r\\n\");", "", &params);
        let sent = p.receive(ALICE, &request("INVITE", "i", fields));
        let invite = to_bob(&sent, "INVITE").clone();
        p.receive(BOB, &answer(&invite, 180, "b"));
        let sent = p.receive(ALICE, &request("CANCEL", "i", ""));
        let cancel = to_bob(&sent, "CANCEL").clone();
        let sent = p.receive(BOB, &answer(&invite, 487, "b"));
        let ack = to_bob(&sent, "ACK");
        for out in [&cancel, ack] {
            let extra = out.text.split("\r\n").filter(|line| {
                let name = line.split(':').next().unwrap_or_default();
                ["x-ac-", "x-other", "subject", "require"]
                    .iter()
                    .any(|n| name.to_ascii_lowercase().starts_with(n))
            });
            assert_eq!(extra.collect::<Vec<_>>(), want, "{prefix} {}", out.line());
        }
    }
}

#[test]
fn replies_without_a_transaction_have_a_route() {
    let table: [(&str, usize); 8] = [
        ("return 0;", 0),
        ("return 1;", 1),
        ("return -1;", 1),
        ("exit;", 1),
        ("drop;", 0),
        ("append_hf(\"X-S: 1\\r\\n\");", 1),
        ("if (t_check_trans()) drop;", 1),
        ("if ($rs == 200) drop;", 0),
    ];
    for (body, want) in table {
        let routes = format!("onreply_route[SL] {{ xlog(\"sl $rs\\n\"); {body} }}");
        let params = "modparam(\"tm\", \"on_sl_reply\", \"SL\")";
        let mut p = Proxy::with("forward(); exit;", &routes, params);
        let sent = p.receive(ALICE, &request("MESSAGE", "m", ""));
        let back = p.receive(BOB, &answer(&sent[0], 200, "b"));
        assert_eq!(back.len(), want, "{body}");
        assert_eq!(p.log, ["sl 200\n"], "{body}");
        if body.contains("X-S") {
            assert_eq!(back[0].get("X-S"), "1");
        }
    }
    // One that belongs to a transaction does not run it.
    let routes = "onreply_route[SL] { drop; }";
    let mut p = Proxy::with("", routes, "modparam(\"tm\", \"on_sl_reply\", \"SL\")");
    let sent = p.receive(ALICE, &request("MESSAGE", "m", ""));
    assert_eq!(p.receive(BOB, &answer(&sent[0], 200, "b")).len(), 1);
}

#[test]
fn a_call_id_must_be_right_when_it_is_compared() {
    for (params, is_matched) in [
        ("", true),
        ("modparam(\"tm\", \"callid_matching\", 1)", false),
    ] {
        let mut p = Proxy::with(
            "t_on_reply(\"R\");",
            "onreply_route[R] { xlog(\"mine\\n\"); }",
            params,
        );
        let sent = p.receive(ALICE, &request("MESSAGE", "m", ""));
        let other = answer(&sent[0], 200, "b").replace("Call-ID: c1", "Call-ID: c2");
        p.receive(BOB, &other);
        assert_eq!(p.log.len() == 1, is_matched, "{params}");
        // A request with the branch of another call is a new one, then.
        let again = request("MESSAGE", "m", "").replace("Call-ID: c1", "Call-ID: c3");
        let sent = p.receive(ALICE, &again);
        let is_new = sent.iter().any(|s| s.line().starts_with("MESSAGE"));
        assert_eq!(is_new, !is_matched, "{params}");
    }
}

#[test]
fn the_ack_to_a_2xx_of_our_own_goes_where_it_is_told() {
    let initial = r#"
        $uac_req(method) = "INVITE"; $uac_req(ruri) = "sip:x@192.0.2.3";
        $uac_req(furi) = "sip:f@a.test"; $uac_req(turi) = "sip:t@b.test";
        $uac_req(hdrs) = "Contact: <sip:me@192.0.2.100>\r\n";
        uac_req_send(); sl_send_reply("202", "OK"); exit;"#;
    // The 2xx comes from 192.0.2.4 and names 192.0.2.2.
    for (mode, want) in [
        (0, "192.0.2.2:5060"),
        (1, "192.0.2.3:5060"),
        (2, "192.0.2.4:5062"),
    ] {
        let params = format!("loadmodule \"uac.so\"\nmodparam(\"tm\", \"local_ack_mode\", {mode})");
        let mut p = Proxy::with(initial, "", &params);
        let sent = p.receive(ALICE, &request("MESSAGE", "m", ""));
        let invite = to_bob(&sent, "INVITE").clone();
        let sent = p.receive("192.0.2.4:5062", &answer(&invite, 200, "t"));
        let ack = to_bob(&sent, "ACK");
        assert_eq!(ack.to.to_string(), want, "{mode}");
        assert_eq!(ack.line(), "ACK sip:bob@192.0.2.2 SIP/2.0", "{mode}");
    }
}

const SEEN: &str = r#"onsend_route { xlog("onsend $rm $rs $snd(port) $snd(len)\n"); @BODY@ }"#;

/// What the script logs and what the caller gets for these answers.
fn passed(initial: &str, body: &str, params: &str, codes: &[u16]) -> (Vec<String>, Vec<String>) {
    let params = format!("onsend_route_reply=1\n{params}");
    let mut p = Proxy::with(initial, &SEEN.replace("@BODY@", body), &params);
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let invite = to_bob(&sent, "INVITE").clone();
    let mut told = vec![];
    for code in codes {
        let sent = p.receive(BOB, &answer(&invite, *code, "b"));
        told.extend(sent.into_iter().filter(|s| s.to.to_string() == ALICE));
    }
    let log = p.log.iter().filter(|l| !l.contains("<null>"));
    let words = |l: &String| l.split(' ').take(4).collect::<Vec<_>>().join(" ");
    let told = told.iter().map(|s| s.line()[8..11].to_owned()).collect();
    (log.map(words).collect(), told)
}

#[test]
fn an_onsend_route_sees_replies_when_it_is_to() {
    let see = |code: u16| format!("onsend INVITE {code} 5060");
    type Row = (
        &'static str,
        &'static [u16],
        &'static [u16],
        &'static [&'static str],
    );
    let table: [Row; 6] = [
        ("", &[180, 200], &[180, 200], &["180", "200"]),
        ("", &[180, 486], &[180, 486], &["180", "486"]),
        ("if ($rs == 180) drop;", &[180, 200], &[180, 200], &["200"]),
        ("if ($rs == 200) drop;", &[200, 200], &[200, 200], &[]),
        ("if ($rs == 486) drop;", &[486], &[486], &[]),
        // A 100 goes no further, and a reply of our own is no one that is passed on.
        ("", &[100, 503], &[], &["500"]),
    ];
    for (body, codes, seen, told) in table {
        for initial in ["", "t_on_failure(\"F\");"] {
            let params = "failure_route[F] { ; }";
            let (log, got) = passed(initial, body, params, codes);
            let want: Vec<String> = seen.iter().copied().map(see).collect();
            assert_eq!(
                (log, got),
                (want, told.iter().map(|t| (*t).into()).collect()),
                "{body}"
            );
        }
    }
}

#[test]
fn a_stray_reply_passes_the_onsend_route_too() {
    for (body, want) in [("", 1), ("if (is_reply()) drop;", 0)] {
        let routes = SEEN.replace("@BODY@", body);
        let mut p = Proxy::with("forward(); exit;", &routes, "onsend_route_reply=1");
        let sent = p.receive(ALICE, &request("MESSAGE", "m", ""));
        let back = p.receive(BOB, &answer(&sent[0], 200, "b"));
        assert_eq!(back.len(), want, "{body}");
        assert_eq!(p.log.len(), 2, "{:?}", p.log);
    }
}

#[test]
fn what_the_onsend_route_changes_in_a_reply_stays_there() {
    let routes = r#"onsend_route { append_hf("X-O: 1\r\n"); }
        onreply_route[R] { append_hf("X-R: 1\r\n"); }"#;
    let mut p = Proxy::with("t_on_reply(\"R\");", routes, "onsend_route_reply=1");
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let ok = p.receive(BOB, &answer(&sent[1], 200, "b"));
    assert_eq!((ok[0].get("X-O"), ok[0].get("X-R")), ("", "1"));
}
