//! A new configuration comes while calls are on their way.

use super::proxy::{ALICE, BOB, Proxy, answer, request};

/// A script that says which it is wherever it runs. The number of routes before its own differs,
/// so that the routes of one are others in the other.
fn config(name: &str, padding: usize, listen: &str) -> String {
    let more: String = (0..padding)
        .map(|n| {
            format!(
                "failure_route[A{n}] {{ ; }}\nbranch_route[A{n}] {{ ; }}\n\
                 onreply_route[A{n}] {{ ; }}\nevent_route[tm:branch-failure:A{n}] {{ ; }}\n"
            )
        })
        .collect();
    format!(
        r#"#!KAMAILIO
listen=udp:192.0.2.100:5060
{listen}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
debug=1
{more}
request_route {{
    xlog("{name} request");
    if ($rm == "CANCEL") {{ t_relay(); exit; }}
    t_on_reply("R"); t_on_failure("F"); t_on_branch("B"); t_on_branch_failure("E");
    t_relay();
}}
onreply_route[R] {{ xlog("{name} reply $rs"); }}
branch_route[B] {{ xlog("{name} branch"); }}
event_route[tm:branch-failure:E] {{ xlog("{name} event"); }}
failure_route[F] {{
    xlog("{name} failure");
    if ($var(again) != 0) exit;
    $var(again) = 1;
    t_on_failure("F"); t_on_branch("B");
    t_relay();
}}
"#
    )
}

fn said(proxy: &mut Proxy) -> Vec<String> {
    let lines = std::mem::take(&mut proxy.log);
    lines.iter().map(|l| l.trim().to_owned()).collect()
}

#[test]
fn what_is_in_flight_ends_with_the_script_it_began_with() {
    for (before, after) in [(0, 3), (3, 0)] {
        let mut p = Proxy::from_text(&config("old", before, ""));
        let sent = p.receive(ALICE, &request("INVITE", "i", ""));
        assert_eq!(said(&mut p), ["old request", "old branch"]);
        p.reload(&config("new", after, ""));
        assert_eq!(said(&mut p), ["reload: the new configuration is in force"]);

        let out = &sent[1];
        p.receive(BOB, &answer(out, 180, "b"));
        assert_eq!(said(&mut p), ["old reply 180"]);
        // The failure route of the old script runs, and what it sends has the old branch route.
        let again = p.receive(BOB, &answer(out, 486, "b"));
        let want = ["old reply 486", "old event", "old failure", "old branch"];
        assert_eq!(said(&mut p), want);
        let out = again
            .iter()
            .find(|s| s.line().starts_with("INVITE"))
            .unwrap();
        p.receive(BOB, &answer(out, 480, "b"));
        assert_eq!(said(&mut p), ["old reply 480", "old failure"]);

        let other = request("INVITE", "j", "").replace("c1", "c2");
        p.receive(ALICE, &other);
        assert_eq!(said(&mut p), ["new request", "new branch"]);
    }
}

#[test]
fn a_timer_runs_the_old_routes_too() {
    let mut p = Proxy::from_text(&config("old", 0, ""));
    p.receive(ALICE, &request("INVITE", "i", ""));
    said(&mut p);
    p.reload(&config("new", 2, ""));
    said(&mut p);
    p.wait(31.0);
    assert_eq!(said(&mut p), ["old event", "old failure", "old branch"]);
}

#[test]
fn sockets_stay_as_they_were_opened() {
    let mut p = Proxy::from_text(&config("old", 0, "listen=udp:192.0.2.101:5060"));
    p.reload(&config("new", 0, ""));
    let said = said(&mut p);
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("need a restart"), "{said:?}");
    // The second socket is there still: what comes in by it is answered by it.
    let sent = p.receive_on(1, ALICE, &request("INVITE", "i", ""));
    assert_eq!(
        sent[0].line(),
        "SIP/2.0 100 trying -- your call is important to us"
    );
}
