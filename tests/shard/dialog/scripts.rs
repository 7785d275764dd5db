//! Variables, flags and context of dialogs in all kinds of routes.

use super::Call;
use crate::proxy::{ALICE, Proxy, Script, request};

#[test]
fn variables_go_with_the_call() {
    let initial = r#"$dlg_var(early) = "e"; xlog("before $dlg_var(early)\n");"#;
    let after = r#"
        xlog("after $dlg_var(early)\n"); $dlg_var(k) = "1";
        t_on_branch("B"); t_on_reply("R"); t_on_failure("F");"#;
    let routes = r#"
        branch_route[B] { xlog("branch $dlg_var(k)\n"); $dlg_var(k) = "2"; }
        onreply_route[R] { xlog("reply $rs $dlg_var(k)\n"); $dlg_var(k) = "r" + $rs; }
        failure_route[F] { xlog("failure $dlg_var(k)\n"); }
        event_route[dialog:start] { xlog("start $dlg_var(k)\n"); $dlg_var(k) = "s"; }
        event_route[dialog:failed] { xlog("failed $dlg_var(k)\n"); }
        event_route[dialog:end] { xlog("end $dlg_var(k) $dlg_var(early)\n"); }"#;
    let within = r#"xlog("$rm $dlg_var(k)\n"); if (is_method("INFO")) { $dlg_var(k) = "i"; }"#;
    let script = Script {
        initial,
        after,
        routes,
        within,
        ..Script::default()
    };
    let mut c = Call::begin(script);
    assert_eq!(c.p.said(), ["before e", "after e", "branch 1"]);
    c.reply(180);
    c.reply(200);
    c.send("ACK");
    c.send_by_callee("INFO");
    c.send("BYE");
    let want = [
        "reply 180 2",
        "reply 200 r180",
        "start r200",
        "ACK s",
        "INFO s",
        "end i e",
        "BYE i",
    ];
    assert_eq!(c.p.said(), want);
    let mut c = Call::begin(script);
    c.p.said();
    c.reply(486);
    assert_eq!(c.p.said(), ["reply 486 2", "failure r486", "failed r486"]);
}

#[test]
fn what_a_variable_holds() {
    // What is assigned, and what it reads then.
    let table = [
        (r#"$dlg_var(a) = "x y;z";"#, "x y;z"),
        (r#"$dlg_var(a) = "";"#, ""),
        (r#"$dlg_var(a) = "x"; $dlg_var(a) = $null;"#, "<null>"),
        (
            r#"$dlg_var(b) = "x"; $dlg_var(a) = $dlg_var(b) + "y";"#,
            "xy",
        ),
        (r#"$dlg_var(A) = "x";"#, "<null>"),
        (r#"$dlg_var(a) = "x"; $dlg_var(a) = 5;"#, "x"),
        (r#"$dlg_var(a) = $null;"#, "<null>"),
    ];
    for (assign, want) in table {
        let after = format!("{assign} xlog(\"<$dlg_var(a)>\\n\");");
        let mut c = Call::begin(Script {
            after: &after,
            ..Script::default()
        });
        let said = c.p.said();
        assert_eq!(said.last().unwrap(), &format!("<{want}>"), "{assign}");
    }
}

#[test]
fn variables_of_a_message_without_dialog_end_with_it() {
    let first = r#"xlog("$rm $dlg_var(a)\n"); $dlg_var(a) = "x"; xlog("$dlg_var(a)\n");"#;
    let mut p = Proxy::with_dialogs(Script {
        first,
        ..Script::default()
    });
    p.receive(ALICE, &request("OPTIONS", "1", ""));
    p.receive(ALICE, &request("OPTIONS", "2", ""));
    assert_eq!(p.said(), ["OPTIONS <null>", "x", "OPTIONS <null>", "x"]);
}

#[test]
fn listings_show_the_newest_variable_first_and_none_at_the_end() {
    let after = r#"$dlg_var(a) = "1"; $dlg_var(b) = "2"; $dlg_var(a) = "3";"#;
    let mut c = Call::up(Script {
        after,
        ..Script::default()
    });
    let d = c.p.dialogs().remove(0);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(d.variables, [pair("b", "2"), pair("a", "3")]);
    assert_eq!(d.dflags, 1 + 2 + 128 + 512);
    c.send("BYE");
    let d = c.p.dialogs().remove(0);
    assert_eq!(
        (d.variables, d.dflags, d.end_ts),
        (vec![], 1 + 2 + 4 + 128 + 512, 1_700_000_000)
    );
}

#[test]
fn flags_are_the_dialogs() {
    let initial = r#"dlg_setflag("3"); dlg_setflag("5"); dlg_resetflag("5");"#;
    let after =
        r#"$var(n) = 7; dlg_setflag("$var(n)"); if (!dlg_setflag("32")) { xlog("range\n"); }"#;
    let first = r#"if (is_method("INFO")) { if (!dlg_isflagset("3")) { xlog("not before\n"); } }"#;
    let within = r#"
        if (dlg_isflagset("3")) { xlog("$rm 3\n"); }
        if (dlg_isflagset("5")) { xlog("$rm 5\n"); }
        if (is_method("INFO")) { dlg_resetflag("3"); redlg_setflag("7"); }"#;
    let mut c = Call::up(Script {
        initial,
        after,
        first,
        within,
        ..Script::default()
    });
    assert_eq!(c.p.said(), ["range", "ACK 3"]);
    assert_eq!(c.p.dialogs()[0].sflags, 1 << 3 | 1 << 7);
    c.send("INFO");
    assert_eq!(
        (c.p.said(), c.p.dialogs()[0].sflags),
        (vec!["not before".into(), "INFO 3".into()], 0)
    );
}

#[test]
fn properties_become_flags_of_the_module() {
    let table = [
        (
            r#"dlg_set_property("ka-src"); dlg_set_property("ka-dst");
               dlg_set_property("timeout-noreset");"#,
            14,
        ),
        (
            r#"dlg_set_property("ka-src"); dlg_reset_property("ka-src");"#,
            0,
        ),
        (
            r#"if (!dlg_set_property("nonsense")) { $dlg_ctx(timeout_bye) = 1; }"#,
            1,
        ),
        (r#"$dlg_ctx(timeout_bye) = 0;"#, 0),
    ];
    for (initial, want) in table {
        let mut c = Call::begin(Script {
            initial,
            ..Script::default()
        });
        assert_eq!(c.p.dialogs()[0].iflags, want, "{initial}");
    }
    let after = r#"dlg_set_property("ka-dst");"#;
    let params = r#"modparam("dialog", "send_bye", 1)"#;
    let mut c = Call::begin(Script {
        after,
        params,
        ..Script::default()
    });
    assert_eq!(c.p.dialogs()[0].iflags, 5);
}

#[test]
fn the_context_is_the_messages() {
    let show = concat!(
        r#"xlog("$dlg_ctx(set) $dlg_ctx(dir) $dlg_ctx(on) $dlg_ctx(timeout) "#,
        r#"$dlg_ctx(timeout_bye) $dlg_ctx(timeout_route)\n");"#
    );
    let initial = format!(
        r#"{show} $dlg_ctx(timeout) = 77; $dlg_ctx(timeout_bye) = 1; $dlg_ctx(on) = 3;
           $dlg_ctx(timeout_route) = "NONE"; {show} $dlg_ctx(timeout_route) = "TMO"; {show}"#
    );
    let script = Script {
        initial: &initial,
        after: show,
        within: show,
        routes: r#"route[TMO] { xlog("x\n"); }"#,
        ..Script::default()
    };
    let mut c = Call::up(script);
    let want = [
        "0 0 0 0 0 <null>",
        "0 0 3 77 1 <null>",
        "0 0 3 77 1 TMO",
        "1 0 3 77 1 TMO",
        "1 0 0 0 0 <null>",
    ];
    assert_eq!(c.p.said(), want);
    let d = &c.p.dialogs()[0];
    assert_eq!((d.lifetime, d.iflags), (43_200, 1));
}

#[test]
fn attributes_of_a_dialog() {
    let show = r#"
        xlog("$dlg(state) $dlg(callid) $dlg(from_tag) $dlg(to_tag) "
             "$dlg(from_cseq) $dlg(to_cseq)\n");
        xlog("$dlg(from_contact) $dlg(to_contact) $dlg(from_rs) $dlg(to_rs) "
             "$dlg(from_uri) $dlg(to_uri)\n");
        xlog("$dlg(from_bindaddr) $dlg(to_bindaddr) $dlg(lifetime) $dlg(start_ts) $dlg(toroute)\n");
        xlog("$dlg(dflags) $dlg(sflags) $dlg(iflags)\n");"#;
    let mut c = Call::begin(Script {
        after: show,
        within: show,
        ..Script::default()
    });
    let early = [
        "1 c1 a1 <null> 1 <null>",
        "sip:alice@192.0.2.1 <null> <null> <null> sip:alice@a.test sip:bob@b.test",
        "udp:192.0.2.100:5060 <null> 43200 0 0",
        "0 0 0",
    ];
    assert_eq!(c.p.said(), early);
    c.reply(200);
    c.send("ACK");
    let up = [
        "4 c1 a1 b1 1 0",
        "sip:alice@192.0.2.1 sip:bob@192.0.2.2 <null> <null> sip:alice@a.test sip:bob@b.test",
        "udp:192.0.2.100:5060 udp:192.0.2.100:5060 43200 1700000000 0",
        "515 0 0",
    ];
    assert_eq!(c.p.said(), up);
}

#[test]
fn statistics_in_scripts() {
    let first = r#"xlog("$DLG_count $stat(active_dialogs) "
                        "$stat(early_dialogs) $stat(processed_dialogs)\n");"#;
    for (params, want) in [
        ("", "1 1 0 1"),
        (
            r#"modparam("dialog", "enable_stats", 0)"#,
            "0 <null> <null> <null>",
        ),
    ] {
        let mut c = Call::up(Script {
            first,
            params,
            ..Script::default()
        });
        c.p.said();
        c.p.receive(
            ALICE,
            &request("OPTIONS", "o", "").replace("Call-ID: c1", "Call-ID: o"),
        );
        assert_eq!(c.p.said(), [want], "{params}");
        assert_eq!(c.state(), 4);
    }
}
