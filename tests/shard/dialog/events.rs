//! Event routes: when, once, and about what message.

use super::Call;
use crate::proxy::{ALICE, Script, request};

const ROUTES: &str = r#"
    event_route[dialog:start] { xlog("start $dlg(callid) $dlg(state) $rm $rs $dlg_ctx(set)\n"); }
    event_route[dialog:end] { xlog("end $dlg(callid) $dlg(state) $rm $ci $dlg_ctx(set)\n"); }
    event_route[dialog:failed] { xlog("failed $dlg(callid) $dlg(state) $rs $ci\n"); }"#;

#[test]
fn each_end_of_a_call_is_one_event() {
    type Way = fn(&mut Call);
    let ways: [(&str, Way, &[&str]); 7] = [
        (
            "hung up by both",
            |c| {
                c.reply(180);
                c.reply(200);
                c.reply(200);
                c.send("ACK");
                c.send("BYE");
                c.send_by_callee("BYE");
                c.p.wait(400.0);
            },
            &["start c1 3 INVITE 200 1", "end c1 5 BYE c1 1"],
        ),
        (
            "refused",
            |c| {
                c.reply(180);
                c.reply(486);
                c.reply(486);
                c.p.wait(400.0);
            },
            &["failed c1 5 486 c1"],
        ),
        (
            "cancelled",
            |c| {
                c.reply(180);
                c.p.receive(ALICE, &request("CANCEL", "i", ""));
                c.reply(487);
                c.p.wait(400.0);
            },
            &["failed c1 5 487 c1"],
        ),
        (
            "never answered",
            |c| drop(c.p.wait(400.0)),
            &["failed c1 5 <null> 123"],
        ),
        (
            "never acknowledged",
            |c| {
                c.reply(200);
                c.p.wait(400.0);
            },
            &["start c1 3 INVITE 200 1", "end c1 5 OPTIONS 123 1"],
        ),
        (
            "expired",
            |c| {
                c.reply(200);
                c.send("ACK");
                c.p.wait(43_300.0);
            },
            &["start c1 3 INVITE 200 1", "end c1 5 OPTIONS 123 1"],
        ),
        (
            "hung up before the ACK",
            |c| {
                c.reply(200);
                c.send("BYE");
                c.send("ACK");
                c.p.wait(400.0);
            },
            &["start c1 3 INVITE 200 1", "end c1 5 BYE c1 1"],
        ),
    ];
    for (name, way, want) in ways {
        let mut c = Call::begin(Script {
            routes: ROUTES,
            ..Script::default()
        });
        way(&mut c);
        assert_eq!(c.p.said(), want, "{name}");
        assert_eq!(c.state(), 0, "{name}");
        c.p.wait(100.0);
        assert!(c.p.is_idle(), "{name}");
    }
}

#[test]
fn the_script_goes_on_behind_the_event() {
    let routes = r#"event_route[dialog:end] { xlog("end $rm\n"); append_hf("X-End: 1\r\n"); }"#;
    let within = r#"xlog("then $rm $dlg(state) $dlg_ctx(set)\n");"#;
    let mut c = Call::up(Script {
        routes,
        within,
        ..Script::default()
    });
    c.p.said();
    let bye = c.send("BYE");
    assert_eq!(c.p.said(), ["end BYE", "then BYE 5 1"]);
    assert_eq!(
        bye[0].get("X-End"),
        "1",
        "the event route looked at the same message"
    );
}

#[test]
fn events_inside_of_functions() {
    let routes = r#"
        event_route[dialog:failed] { xlog("failed $ci $dlg(callid) $avp(a)\n"); $avp(b) = 2; }
        event_route[dialog:start] { xlog("start $ci $dlg(callid)\n"); }"#;
    let after = r#"
        $avp(a) = 1; t_newtran();
        if (t_reply("404", "No")) { xlog("replied $dlg(state) $rm $avp(b)\n"); }
        exit;"#;
    let mut c = Call::begin_silently(Script {
        routes,
        after,
        ..Script::default()
    });
    assert_eq!(c.said(), ["failed 123 c1 1", "replied 5 INVITE 2"]);
    let after = r#"t_newtran(); t_reply("200", "OK"); xlog("then $dlg(state)\n"); exit;"#;
    c = Call::begin_silently(Script {
        routes,
        after,
        ..Script::default()
    });
    assert_eq!(c.said(), ["start 123 c1", "then 3"]);
}

#[test]
fn a_timeout_route_may_wait_for_the_world() {
    let routes = r#"
        route[TMO] {
            xlog("timeout\n"); $ru = "sip:log.test"; forward(); xlog("forwarded $dlg(state)\n");
        }
        event_route[dialog:end] { xlog("end $dlg(state)\n"); }"#;
    let initial = r#"$dlg_ctx(timeout_route) = "TMO";"#;
    let params = r#"modparam("dialog", "default_timeout", 30)"#;
    let mut c = Call::up(Script {
        routes,
        initial,
        params,
        ..Script::default()
    });
    assert!(c.p.wait(31.0).is_empty());
    assert_eq!((c.p.said(), c.state()), (vec!["timeout".to_owned()], 4));
    // What else comes of the call waits its turn; the end waits for the route.
    assert!(c.send("INFO").is_empty());
    let sent = c.p.resolve(Ok(&["192.0.2.7:5060"]));
    assert_eq!(c.p.said(), ["forwarded 4", "end 5"]);
    assert_eq!(sent.len(), 2, "the copy and the INFO: {sent:?}");
    assert_eq!(c.state(), 0);
}

#[test]
fn no_event_for_what_never_began() {
    let after = "exit;";
    let mut p = Call::begin_silently(Script {
        routes: ROUTES,
        after,
        ..Script::default()
    });
    assert_eq!((p.said(), p.states()), (vec![], vec![]));
    let reply_early = r#"if ($hdr(X) == $null) { t_reply("183", "Session Progress"); } exit;"#;
    let after = format!("t_newtran(); {reply_early}");
    let mut p = Call::begin_silently(Script {
        routes: ROUTES,
        after: &after,
        ..Script::default()
    });
    assert_eq!(p.states(), [1]);
    p.wait(400.0);
    assert_eq!(p.said(), ["failed c1 5 <null> 123"]);
}
