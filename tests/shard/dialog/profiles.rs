//! Profiles as scripts use them, and the limit that everybody writes.

use super::Call;
use crate::proxy::{ALICE, BOB, Proxy, Script, Sent, answer, request};

const PARAMS: &str = r#"
    modparam("dialog", "profiles_with_value", "caller ; other")
    modparam("dialog", "profiles_no_value", "inbound")"#;

#[test]
fn memberships_live_and_die_with_the_dialog() {
    let after = r#"
        set_dlg_profile("inbound"); set_dlg_profile("caller", "$fU");
        set_dlg_profile("caller", "$fU"); set_dlg_profile("other", "x");"#;
    let begin = || {
        Call::begin(Script {
            params: PARAMS,
            after,
            ..Script::default()
        })
    };
    let sizes = |c: &Call| {
        [
            ("inbound", None),
            ("caller", None),
            ("caller", Some("alice")),
            ("other", Some("y")),
        ]
        .map(|(name, value)| c.p.profile(name, value))
    };
    // How the call ends, from its beginning on.
    type Way = fn(&mut Call);
    let ways: [(&str, Way); 5] = [
        ("refused", |c| drop(c.reply(486))),
        ("hung up", |c| {
            c.reply(200);
            c.send("ACK");
            c.send("BYE");
        }),
        ("never acknowledged", |c| {
            c.reply(200);
            c.p.wait(71.0);
        }),
        ("never answered", |c| drop(c.p.wait(400.0))),
        ("expired", |c| {
            c.reply(200);
            c.send("ACK");
            c.p.wait(43_201.0);
        }),
    ];
    for (name, way) in ways {
        let mut c = begin();
        assert_eq!(sizes(&c), [1, 2, 2, 0], "{name}");
        let listed = c.p.dialogs().remove(0).profiles;
        let named = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let want = [
            named("other", "x"),
            named("caller", "alice"),
            named("caller", "alice"),
            ("inbound".to_owned(), None),
        ];
        assert_eq!(listed, want);
        way(&mut c);
        assert_eq!(sizes(&c), [0; 4], "{name}");
    }
}

#[test]
fn what_scripts_see_of_profiles() {
    let ask = r#"if (is_in_profile("caller", "x")) { xlog("in x\n"); }
                 if (is_in_profile("caller")) { xlog("in\n"); }
                 if (get_profile_size("caller", "x", "$var(n)")) { xlog("x $var(n)\n"); }
                 if (get_profile_size("caller", "$var(all)")) { xlog("all $var(all)\n"); }"#;
    let table: [(&str, &[&str]); 7] = [
        (
            r#"set_dlg_profile("caller", "x");"#,
            &["in x", "in", "x 1", "all 1"],
        ),
        (
            r#"set_dlg_profile("caller", "y");"#,
            &["in", "x 0", "all 1"],
        ),
        (
            r#"set_dlg_profile("caller", "x"); set_dlg_profile("caller", "x");"#,
            &["in x", "in", "x 2", "all 2"],
        ),
        (
            r#"if (!set_dlg_profile("caller")) { xlog("no value\n"); }"#,
            &["no value", "x 0", "all 0"],
        ),
        (
            r#"$var(e) = ""; if (!set_dlg_profile("caller", "$var(e)")) { xlog("empty\n"); }"#,
            &["empty", "x 0", "all 0"],
        ),
        (
            r#"set_dlg_profile("caller", "x"); set_dlg_profile("caller", "y");
               if (unset_dlg_profile("caller", "x")) { xlog("out\n"); }
               if (!unset_dlg_profile("caller", "x")) { xlog("not in\n"); }"#,
            &["out", "not in", "in", "x 0", "all 1"],
        ),
        (
            r#"set_dlg_profile("caller", "x"); set_dlg_profile("caller", "x");
               unset_dlg_profile("caller", "x");"#,
            &["in x", "in", "x 1", "all 1"],
        ),
    ];
    for (after, want) in table {
        let after_all = format!("{after} {ask}");
        let mut c = Call::begin(Script {
            params: PARAMS,
            after: &after_all,
            ..Script::default()
        });
        assert_eq!(c.p.said(), want, "{after}");
    }
}

#[test]
fn profiles_entered_before_the_dialog_wait_for_it() {
    let initial = r#"
        if (set_dlg_profile("caller", "x")) { xlog("entered\n"); }
        if (!is_in_profile("caller", "x")) { xlog("not yet\n"); }
        get_profile_size("caller", "x", "$var(n)"); xlog("$var(n)\n");"#;
    let after = r#"if (is_in_profile("caller", "x")) { xlog("in\n"); }"#;
    let script = Script {
        params: PARAMS,
        initial,
        after,
        ..Script::default()
    };
    let mut c = Call::begin(script);
    assert_eq!(c.p.said(), ["entered", "not yet", "0", "in"]);
    assert_eq!(c.p.profile("caller", Some("x")), 1);
    // Without a dialog the wish ends with the message.
    let mut c = Call::begin(Script {
        unmanaged: true,
        ..script
    });
    assert_eq!(c.p.said(), ["entered", "not yet", "0"]);
    c.reply(200);
    assert_eq!(c.p.profile("caller", None), 0);
}

#[test]
fn profiles_in_later_routes() {
    let routes = r#"
        onreply_route[R] {
            if (status == "180") { set_dlg_profile("caller", "ringing"); }
            if (status == "200" && unset_dlg_profile("caller", "ringing")) { xlog("answered\n"); }
        }
        failure_route[F] { if (is_in_profile("caller", "ringing")) { xlog("failed in\n"); } }
        event_route[dialog:end] { if (!is_in_profile("inbound")) { xlog("gone at the end\n"); } }"#;
    let after = r#"t_on_reply("R"); t_on_failure("F"); set_dlg_profile("inbound");"#;
    let script = Script {
        params: PARAMS,
        after,
        routes,
        ..Script::default()
    };
    let mut c = Call::begin(script);
    c.reply(180);
    assert_eq!(c.p.profile("caller", Some("ringing")), 1);
    c.reply(200);
    c.send("ACK");
    c.send("BYE");
    assert_eq!(c.p.said(), ["answered", "gone at the end"]);
    let mut c = Call::begin(script);
    c.reply(180);
    c.reply(486);
    assert_eq!(c.p.said(), ["failed in"]);
}

/// An INVITE of a user, in a call of its own.
fn invite(p: &mut Proxy, user: &str, call: &str) -> Option<Sent> {
    let text = request("INVITE", call, "")
        .replace("Call-ID: c1", &format!("Call-ID: {call}"))
        .replace("sip:alice@a.test", &format!("sip:{user}@a.test"));
    let sent = p.receive(ALICE, &text);
    sent.into_iter().find(|s| s.line().starts_with("INVITE"))
}

#[test]
fn at_most_two_calls_per_caller() {
    let initial = r#"
        get_profile_size("caller", "$fU", "$var(n)");
        if ($var(n) >= 2) { sl_send_reply("403", "Too Many Calls"); exit; }"#;
    let after = r#"set_dlg_profile("caller", "$fU");"#;
    let mut p = Proxy::with_dialogs(Script {
        params: PARAMS,
        initial,
        after,
        ..Script::default()
    });
    let first = invite(&mut p, "ann", "1").expect("the first");
    let second = invite(&mut p, "ann", "2").expect("the second");
    assert!(invite(&mut p, "ann", "3").is_none(), "the third");
    assert!(invite(&mut p, "ben", "4").is_some(), "somebody else's");
    // A refused call frees its place.
    p.receive(BOB, &answer(&first, 486, "b1"));
    let third = invite(&mut p, "ann", "5").expect("a place is free");
    assert!(invite(&mut p, "ann", "6").is_none());
    // So does one that ends, and one that is never acknowledged.
    p.receive(BOB, &answer(&second, 200, "b2"));
    let route = format!("Route: {}\r\n", second.get("Record-Route"));
    let bye = request("BYE", "bye", &route)
        .replace("Call-ID: c1", "Call-ID: 2")
        .replace("To: <sip:bob@b.test>", "To: <sip:bob@b.test>;tag=b2");
    p.receive(ALICE, &bye);
    assert!(invite(&mut p, "ann", "7").is_some());
    assert!(invite(&mut p, "ann", "8").is_none());
    p.receive(BOB, &answer(&third, 200, "b3"));
    p.wait(71.0);
    assert!(invite(&mut p, "ann", "9").is_some());
}

#[test]
fn dlg_set_timeout_by_profile_reaches_its_members_only() {
    let first = r#"
        if (is_method("OPTIONS")) {
            if ($hdr(X-V) == $null) { dlg_set_timeout_by_profile("caller", "5"); }
            else { dlg_set_timeout_by_profile("caller", "$hdr(X-V)", "5"); }
            sl_send_reply("200", "OK"); exit;
        }"#;
    let after = r#"set_dlg_profile("caller", "$fU");"#;
    for (header, want) in [("X-V: ann\r\n", vec![43_200, 5]), ("", vec![5, 5])] {
        let mut p = Proxy::with_dialogs(Script {
            params: PARAMS,
            first,
            after,
            ..Script::default()
        });
        for (n, user) in ["ben", "ann"].into_iter().enumerate() {
            let out = invite(&mut p, user, &n.to_string()).unwrap();
            p.receive(BOB, &answer(&out, 200, "b1"));
        }
        let text = request("OPTIONS", "o", header).replace("Call-ID: c1", "Call-ID: o");
        p.receive(ALICE, &text);
        let lifetimes: Vec<_> = p.dialogs().iter().map(|d| d.lifetime).collect();
        assert_eq!(lifetimes, want, "{header}");
        p.wait(5.1);
        assert_eq!(p.states().len(), want.iter().filter(|s| **s > 5).count());
    }
}

#[test]
fn items_of_other_servers() {
    let first = r#"
        if (is_method("OPTIONS")) {
            $var(x) = $(hdr(X-X){s.int});
            if (dlg_remote_profile("$hdr(X-C)", "$hdr(X-P)", "$hdr(X-V)", "$hdr(X-U)", "$var(x)")) {
                xlog("yes\n"); } else { xlog("no\n"); }
            sl_send_reply("200", "OK"); exit;
        }"#;
    let mut p = Proxy::with_dialogs(Script {
        params: PARAMS,
        first,
        ..Script::default()
    });
    let now = 1_700_000_000;
    // What is asked, what it returns, and the sizes of (caller, ann) and inbound then.
    let table = [
        ("add", "caller", "ann", "u1", now + 10, "yes", (1, 0)),
        ("add", "caller", "ann", "u2", 0, "yes", (2, 0)),
        ("add", "inbound", "", "u3", now + 20, "yes", (2, 1)),
        ("add", "nosuch", "ann", "u4", 0, "no", (2, 1)),
        ("put", "caller", "ann", "u4", 0, "no", (2, 1)),
        ("add", "caller", "", "u4", 0, "no", (2, 1)),
        ("add", "caller", "ann", "", 0, "no", (2, 1)),
        ("rm", "caller", "ben", "u1", 0, "yes", (2, 1)),
        ("rm", "caller", "ann", "u2", 0, "yes", (1, 1)),
    ];
    for (n, (command, profile, value, uid, expires, said, sizes)) in table.into_iter().enumerate() {
        let more = format!(
            "X-C: {command}\r\nX-P: {profile}\r\nX-V: {value}\r\nX-U: {uid}\r\nX-X: {expires}\r\n"
        );
        p.receive(ALICE, &request("OPTIONS", &n.to_string(), &more));
        let found = (p.profile("caller", Some("ann")), p.profile("inbound", None));
        assert_eq!(
            (p.said(), found),
            (vec![said.to_owned()], sizes),
            "{command} {profile} {uid}"
        );
    }
    p.wait(12.0);
    assert_eq!(
        (p.profile("caller", None), p.profile("inbound", None)),
        (0, 1)
    );
    p.wait(12.0);
    assert_eq!(p.profile("inbound", None), 0);
    p.wait(60.0);
    assert!(p.is_idle(), "nothing is left to look at");
}
