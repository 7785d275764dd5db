//! How long dialogs live.

use super::Call;
use crate::proxy::{ALICE, BOB, Proxy, Script, answer, request};

fn with(params: &str) -> String {
    params
        .split_whitespace()
        .map(|p| {
            let (name, value) = p.split_once('=').unwrap();
            format!("modparam(\"dialog\", \"{name}\", {value})\n")
        })
        .collect()
}

#[test]
fn a_call_lives_as_long_as_it_may() {
    let params = with("default_timeout=30");
    let mut c = Call::begin(Script {
        params: &params,
        ..Script::default()
    });
    c.reply(180);
    c.p.wait(20.0);
    c.reply(200);
    c.p.wait(20.0);
    c.send("ACK");
    // The ACK renews it, and so does each request in the dialog.
    c.p.wait(20.0);
    c.send_by_callee("INFO");
    c.p.wait(29.9);
    assert_eq!((c.state(), c.p.stats()), (4, [1, 0, 1, 0, 0]));
    let sent = c.p.wait(0.2);
    assert!(
        sent.iter().all(|s| s.line().starts_with("INFO")),
        "no BYE without being asked"
    );
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 1, 0]));
}

#[test]
fn a_request_leaves_the_lifetime_when_told_so() {
    let after = r#"if ($hdr(X-P) == "yes") { dlg_set_property("timeout-noreset"); }"#;
    let within = r#"if (is_method("MESSAGE")) { dlg_reset_property("timeout-noreset"); }"#;
    for (params, header, method, want) in [
        ("default_timeout=30", "", "INFO", 4),
        ("default_timeout=30 timeout_noreset=1", "", "INFO", 0),
        ("default_timeout=30", "X-P: yes\r\n", "INFO", 0),
        ("default_timeout=30", "X-P: yes\r\n", "MESSAGE", 4),
    ] {
        let params = with(params);
        let script = Script {
            params: &params,
            after,
            within,
            ..Script::default()
        };
        let mut c = Call::with(Proxy::with_dialogs(script), header);
        c.reply(200);
        c.send("ACK");
        c.p.wait(20.0);
        c.send(method);
        c.send("INFO");
        c.p.wait(15.0);
        assert_eq!(c.state(), want, "{params} {header:?} {method}");
    }
}

#[test]
fn an_avp_asks_for_another_lifetime() {
    let params = with("default_timeout=30 timeout_avp=\"$avp(t)\"");
    let first = r#"if ($hdr(X-T) != $null) { $avp(t) = $(hdr(X-T){s.int}); }
                   if ($hdr(X-S) != $null) { $avp(t) = $hdr(X-S); }"#;
    let mut c = Call::with(
        Proxy::with_dialogs(Script {
            params: &params,
            first,
            ..Script::default()
        }),
        "X-T: 40\r\n",
    );
    let lifetime = |c: &mut Call| c.p.dialogs()[0].lifetime;
    assert_eq!(lifetime(&mut c), 40);
    c.reply(200);
    c.send("ACK");
    // What is sent, and the lifetime then: sticky unless an integer other than the default is set.
    for (header, want) in [
        ("", 40),
        ("X-T: 70\r\n", 70),
        ("", 70),
        ("X-T: 30\r\n", 70),
        ("X-T: 0\r\n", 70),
        ("X-T: -5\r\n", 70),
        ("X-S: 90\r\n", 70),
    ] {
        let text = c
            .within("INFO")
            .replace("Max-Forwards", &format!("{header}Max-Forwards"));
        c.p.receive(ALICE, &text);
        assert_eq!(lifetime(&mut c), want, "{header:?}");
    }
}

#[test]
fn an_early_dialog_ends_in_time() {
    let params = with("early_timeout=50") + r#"modparam("tm", "fr_inv_timer", 100000)"#;
    let routes = r#"event_route[dialog:failed] { xlog("failed $dlg(callid) $rm\n"); }"#;
    let mut c = Call::begin(Script {
        params: &params,
        routes,
        ..Script::default()
    });
    c.reply(180);
    c.p.wait(49.9);
    assert_eq!((c.state(), c.p.stats()), (2, [0, 1, 1, 0, 0]));
    c.p.wait(0.2);
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 0, 1]));
    assert_eq!(c.p.said(), ["failed c1 OPTIONS"]);
    // The transaction is not touched: the call may still be answered, unseen.
    assert_eq!(c.reply(200).len(), 1);
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 0, 1]));
}

#[test]
fn without_ack_there_are_ten_more_seconds() {
    let params = with("noack_timeout=5");
    let mut c = Call::begin(Script {
        params: &params,
        ..Script::default()
    });
    c.reply(200);
    c.p.wait(4.9);
    assert_eq!(c.p.dialogs()[0].lifetime, 43_200);
    c.p.wait(0.2);
    assert_eq!((c.state(), c.p.dialogs()[0].lifetime), (3, 10));
    c.p.wait(9.8);
    assert_eq!((c.state(), c.p.stats()), (3, [1, 0, 1, 0, 0]));
    c.p.wait(0.2);
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 1, 0]));
}

#[test]
fn an_ack_in_the_last_ten_seconds_confirms() {
    let params = with("noack_timeout=5");
    let mut c = Call::begin(Script {
        params: &params,
        ..Script::default()
    });
    c.reply(200);
    c.p.wait(12.0);
    c.send("ACK");
    assert_eq!(c.state(), 4);
    c.p.wait(9.9);
    assert_eq!(c.state(), 4);
}

#[test]
fn what_never_rests_is_removed_after_end_timeout() {
    let params = with("end_timeout=20") + r#"modparam("tm", "wt_timer", 90000)"#;
    let mut c = Call::up(Script {
        params: &params,
        ..Script::default()
    });
    let bye = c.send("BYE");
    c.p.receive(BOB, &answer(&bye[0], 200, ""));
    c.p.wait(19.9);
    assert_eq!(c.state(), 5);
    c.p.wait(0.2);
    assert_eq!(c.state(), 0);
}

#[test]
fn dlg_set_timeout_by_message_and_by_identifier() {
    let first = r#"
        if (is_method("OPTIONS")) {
            $var(e) = $(hdr(X-E){s.int}); $var(i) = $(hdr(X-I){s.int});
            $var(t) = $(hdr(X-T){s.int});
            if (dlg_set_timeout("$var(t)", "$var(e)", "$var(i)")) { xlog("set\n"); }
            else { xlog("no\n"); }
            sl_send_reply("200", "OK"); exit;
        }"#;
    let within = r#"if (is_method("INFO")) { dlg_set_timeout("100"); }"#;
    let mut c = Call::up(Script {
        first,
        within,
        ..Script::default()
    });
    c.send("INFO");
    assert_eq!(c.p.dialogs()[0].lifetime, 100);
    let d = c.p.dialogs().remove(0);
    for (entry, id, seconds, want) in [
        (d.h_entry, d.h_id, 7, "set"),
        (d.h_entry, d.h_id + 1, 7, "no"),
        (d.h_entry + 1, d.h_id, 7, "no"),
        (d.h_entry, d.h_id, 0, "no"),
    ] {
        let more = format!("X-E: {entry}\r\nX-I: {id}\r\nX-T: {seconds}\r\n");
        let text = request("OPTIONS", "o", &more).replace("Call-ID: c1", "Call-ID: other");
        c.p.receive(ALICE, &text);
        assert_eq!(c.p.said(), [want], "{entry}:{id} {seconds}");
    }
    c.p.wait(6.9);
    assert_eq!(c.state(), 4);
    c.p.wait(0.2);
    assert_eq!(c.state(), 0);
}

#[test]
fn a_lifetime_set_before_the_answer_counts_from_it() {
    let mut c = Call::begin(Script {
        after: r#"dlg_set_timeout("30");"#,
        ..Script::default()
    });
    c.p.wait(25.0);
    c.reply(200);
    c.p.wait(29.0);
    assert_eq!(c.state(), 3);
    c.p.wait(1.1);
    assert_eq!(c.state(), 0);
}

#[test]
fn the_timeout_route_sees_the_call_as_it_was() {
    let params = with("default_timeout=30");
    let initial = r#"$dlg_ctx(timeout_route) = "TMO"; $dlg_var(k) = "v";"#;
    let routes = r#"
        route[TMO] { xlog("timeout $dlg(state) $dlg_var(k) $DLG_count $dlg_ctx(set) $rm\n"); }
        event_route[dialog:end] { xlog("end $dlg(state) $dlg_var(k) $rm\n"); }"#;
    let mut c = Call::up(Script {
        params: &params,
        initial,
        routes,
        ..Script::default()
    });
    c.p.wait(31.0);
    assert_eq!(c.p.said(), ["timeout 4 v 1 1 OPTIONS", "end 5 v OPTIONS"]);
    assert_eq!((c.state(), c.p.stats()), (0, [0, 0, 1, 1, 0]));
}

#[test]
fn a_timeout_route_after_dlg_manage_comes_too_late() {
    let params = with("default_timeout=30");
    let after = r#"$dlg_ctx(timeout_route) = "TMO";"#;
    let routes = r#"route[TMO] { xlog("timeout\n"); }"#;
    let mut c = Call::up(Script {
        params: &params,
        after,
        routes,
        ..Script::default()
    });
    c.p.wait(31.0);
    assert_eq!((c.state(), c.p.said()), (0, vec![]));
}
