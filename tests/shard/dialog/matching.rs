//! How requests find their dialog: cookies in all forms, tags, direction.

use super::Call;
use crate::proxy::{ALICE, Script};

/// The did of a Route, and the same with something else in its place.
fn with_cookie(route: &str, change: &str) -> String {
    let at = route.find(";did=").expect("a cookie");
    let cookie = &route[at + 5..route.len() - 1];
    let other = match change {
        "as it is" => format!(";did={cookie}"),
        "none" => String::new(),
        "empty" => ";did=".into(),
        "no value" => ";did".into(),
        "upper case" => format!(";did={}", cookie.to_uppercase()),
        "zeros at the end" => format!(";did={}00", cookie),
        "nobody's" => format!(";did={}.ffffff", cookie.split('.').next().unwrap()),
        other => format!(";did={other}"),
    };
    format!("{}{other}>", &route[..at])
}

#[test]
fn cookies_in_all_modes() {
    // The change, and whether the request is matched in modes 0 and 1.
    let table = [
        ("as it is", [true, true]),
        ("upper case", [true, true]),
        ("zeros at the end", [true, true]),
        ("none", [false, true]),
        ("empty", [false, true]),
        ("no value", [false, true]),
        ("nobody's", [false, true]),
        ("abc", [false, false]),
        ("zz.1", [false, false]),
        ("1.2.3", [false, false]),
    ];
    for (change, want) in table {
        for (mode, want) in want.into_iter().enumerate() {
            let params = format!("modparam(\"dialog\", \"dlg_match_mode\", {mode})");
            let mut c = Call::up(Script {
                params: &params,
                ..Script::default()
            });
            let route = c.route();
            let bye = c
                .within("BYE")
                .replace(&route, &with_cookie(&route, change));
            let sent = c.p.receive(ALICE, &bye);
            assert_eq!(sent.len(), 1, "{change}: loose_route succeeds all the same");
            let state = if want { 5 } else { 4 };
            assert_eq!(c.state(), state, "{change:?} in mode {mode}");
        }
    }
}

#[test]
fn mode_2_has_no_cookies() {
    let params = r#"modparam("dialog", "dlg_match_mode", 2)"#;
    let within = "record_route();";
    let mut c = Call::up(Script {
        params,
        within,
        ..Script::default()
    });
    assert!(!c.route().contains("did"));
    let info = c.send("INFO");
    assert!(!info[0].text.contains("did="));
    let foreign = c.route().replace(">", ";did=1.1>");
    let bye = c.within("BYE").replace(&c.route(), &foreign);
    c.p.receive(ALICE, &bye);
    assert_eq!(c.state(), 5);
}

#[test]
fn the_cookie_goes_into_later_requests() {
    let mut c = Call::up(Script {
        within: "record_route();",
        ..Script::default()
    });
    let cookie = |route: &str| route[route.find(";did=").unwrap()..].to_owned();
    let info = c.send("INFO");
    assert_eq!(cookie(info[0].get("Record-Route")), cookie(&c.route()));
}

#[test]
fn tags_and_call_id_must_agree() {
    let table = [
        ("tag=a1", "tag=A1", 4),
        ("tag=b1", "tag=b2", 4),
        ("Call-ID: c1", "Call-ID: c2", 4),
        ("Call-ID: c1", "Call-ID:   c1", 5),
        ("sip:alice@a.test", "sip:other@a.test", 5),
    ];
    for (from, to, want) in table {
        let mut c = Call::up(Script::default());
        let route = c.route();
        // The ftag in the Route is not looked at.
        let bye = c
            .within("BYE")
            .replace(from, to)
            .replace(&route.replace(from, to), &route);
        c.p.receive(ALICE, &bye);
        assert_eq!(c.state(), want, "{from} becomes {to}");
    }
}

#[test]
fn dlg_manage_matches_by_tags_whatever_the_mode() {
    let first = r#"if (has_totag()) { if (dlg_manage()) { xlog("yes $DLG_status\n"); } }"#;
    let mut c = Call::up(Script {
        first,
        ..Script::default()
    });
    c.p.said();
    let info = c
        .within("INFO")
        .replace(&c.route(), "<sip:192.0.2.100;lr;did=zz>");
    c.p.receive(ALICE, &info);
    assert_eq!(c.p.said(), ["yes 4"]);
    let unknown = c.within("INFO").replace("tag=b1", "tag=x");
    c.p.receive(ALICE, &unknown);
    assert_eq!(
        c.p.said(),
        ["yes <null>"],
        "it is true even for unknown dialogs"
    );
    c.send("BYE");
    assert_eq!(c.state(), 5);
}

#[test]
fn status_lifetime_and_direction() {
    let within = r#"xlog("$rm $DLG_status $DLG_lifetime $dlg_ctx(set) $dlg_ctx(dir)\n");"#;
    let mut c = Call::begin(Script {
        within,
        ..Script::default()
    });
    c.reply(200);
    c.p.wait(3.0);
    c.send("ACK");
    c.p.wait(4.0);
    c.send_by_callee("INFO");
    c.send("BYE");
    c.send("INFO");
    assert_eq!(
        c.p.said(),
        ["ACK 4 3 1 0", "INFO 4 7 1 0", "BYE 5 7 1 0", "INFO 5 7 1 0"]
    );
}

#[test]
fn looking_needs_no_route_and_changes_nothing() {
    let first =
        r#"xlog("$rm $dlg(state) $dlg_ctx(set)\n"); if (is_known_dlg()) { xlog("known\n"); }"#;
    let mut c = Call::up(Script {
        first,
        ..Script::default()
    });
    assert_eq!(c.p.said(), ["INVITE <null> 0", "ACK 3 0", "known"]);
    c.send("BYE");
    assert_eq!(c.p.said(), ["BYE 4 0", "known"]);
    let cancel = crate::proxy::request("CANCEL", "i", "");
    c.p.receive(ALICE, &cancel);
    assert_eq!(
        c.p.said(),
        ["CANCEL <null> 0"],
        "what is answered has no dialog without a To tag"
    );
}

#[test]
fn dlg_get_finds_any_dialog() {
    let first = r#"
        if (is_method("OPTIONS")) {
            if (dlg_get("$hdr(X-C)", "$hdr(X-F)", "$hdr(X-T)")) {
                xlog("$dlg(callid) $dlg(from_tag) $dlg_ctx(set) $dlg_ctx(dir)\n");
            } else { xlog("none\n"); }
            sl_send_reply("200", "OK"); exit;
        }"#;
    let mut c = Call::up(Script {
        first,
        ..Script::default()
    });
    let table = [
        ("c1", "a1", "b1", "c1 a1 1 1"),
        ("c1", "b1", "a1", "c1 a1 1 2"),
        ("c1", "a1", "x", "none"),
        ("c2", "a1", "b1", "none"),
        ("c1", "a1", "", "none"),
    ];
    for (call_id, from, to, want) in table {
        let more = format!("X-C: {call_id}\r\nX-F: {from}\r\nX-T: {to}\r\n");
        let options =
            crate::proxy::request("OPTIONS", "o", &more).replace("Call-ID: c1", "Call-ID: o");
        c.p.receive(ALICE, &options);
        assert_eq!(c.p.said(), [want], "{call_id} {from} {to}");
    }
}

#[test]
fn dlg_set_ruri_repairs_the_target() {
    let within = r#"$ru = "sip:nowhere@192.0.2.9"; if (dlg_set_ruri()) { xlog("$ru\n"); }"#;
    let mut c = Call::up(Script {
        within,
        ..Script::default()
    });
    c.p.said();
    c.send("INFO");
    c.send_by_callee("INFO");
    assert_eq!(c.p.said(), ["sip:bob@192.0.2.2", "sip:alice@192.0.2.1"]);
}

#[test]
fn identifiers_are_of_the_configured_kind() {
    let params = r#"
        modparam("dialog", "hash_size", 16)
        modparam("dialog", "h_id_start", 3)
        modparam("dialog", "h_id_step", 10)
        modparam("dialog", "rr_param", "xyz")"#;
    let mut c = Call::begin(Script {
        params,
        ..Script::default()
    });
    let d = c.p.dialogs().remove(0);
    assert!(
        d.h_entry < 16 && d.h_id % 10 == 3,
        "{}:{}",
        d.h_entry,
        d.h_id
    );
    assert!(c.route().contains(";xyz=") && !c.route().contains("did"));
    c.reply(200);
    c.send("ACK");
    c.send("BYE");
    assert_eq!(c.state(), 5);
}

#[test]
fn keep_proxy_rr_keeps_our_own_entry() {
    for (mode, caller_has, callee_has) in [
        (0, false, false),
        (1, false, true),
        (2, true, false),
        (3, true, true),
    ] {
        let params = format!("modparam(\"dialog\", \"keep_proxy_rr\", {mode})");
        let mut c = Call::up(Script {
            params: &params,
            ..Script::default()
        });
        let d = c.p.dialogs().remove(0);
        let own = c.route();
        let routes = (d.caller.route_set.unwrap(), d.callee.route_set.unwrap());
        let is_own = |has: bool| if has { own.clone() } else { String::new() };
        assert_eq!(routes, (is_own(caller_has), is_own(callee_has)), "{mode}");
    }
}
