//! Serial forking by preference, and failures that a failure route wants to forget.

use super::proxy::{ALICE, BOB, Proxy, Sent, answer, lines, request};

const AVP: &str = "modparam(\"tm\", \"contacts_avp\", \"tm_contacts\")";

const ROUTES: &str = r#"
failure_route[S] {
    $var(r) = t_next_contacts();
    if ($var(r) > 0) { t_on_failure("S"); t_relay(); exit; }
}
"#;

/// The targets that are tried one after the other, those at the same time between `+`.
fn tried(initial: &str, params: &str) -> Vec<String> {
    let mut p = Proxy::with(initial, ROUTES, params);
    let mut sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let mut groups = vec![];
    loop {
        let out: Vec<_> = sent
            .iter()
            .filter(|s| s.line().starts_with("INVITE"))
            .cloned()
            .collect();
        if out.is_empty() {
            break;
        }
        let hosts = out.iter().map(|s| s.to.ip().to_string());
        let hosts: Vec<_> = hosts.map(|ip| ip.replace("192.0.2.", "")).collect();
        groups.push(hosts.join("+"));
        sent = vec![];
        for s in &out {
            sent = p.receive(&s.to.to_string(), &answer(s, 486, "x"));
        }
    }
    assert!(
        sent.iter().any(|s| s.line().starts_with("SIP/2.0 4")),
        "{:?}",
        lines(&sent)
    );
    groups
}

#[test]
fn targets_are_tried_by_preference() {
    let begin = "t_load_contacts(); t_next_contacts(); t_on_failure(\"S\");";
    let branch = |ip: &str, q: &str| {
        let q = if q.is_empty() {
            String::new()
        } else {
            format!(", \"{q}\"")
        };
        format!("append_branch(\"sip:b@192.0.2.{ip}\"{q}); ")
    };
    let set = |all: &[(&str, &str)]| all.iter().map(|(ip, q)| branch(ip, q)).collect::<String>();
    // The Request-URI is 192.0.2.2 and has no q.
    type Row = (
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
    );
    let table: [Row; 5] = [
        (&[], &["2"]),
        (&[("3", "0.5")], &["3", "2"]),
        (&[("3", "0.5"), ("4", "0.9")], &["4", "3", "2"]),
        (&[("3", "0.5"), ("4", "0.5")], &["3+4", "2"]),
        (&[("3", "0.5"), ("4", ""), ("5", "1.0")], &["5", "3", "2+4"]),
    ];
    for (targets, want) in table {
        let initial = format!("{}{begin}", set(targets));
        assert_eq!(tried(&initial, AVP), want, "{targets:?}");
    }
    // Without the parameter nothing is kept: all at once.
    let initial = format!("{}{begin}", set(&[("3", "0.5")]));
    assert_eq!(tried(&initial, ""), ["2+3"]);
}

#[test]
fn what_is_left_is_told() {
    let mut p = Proxy::with(
        "append_branch(\"sip:b@192.0.2.3\", \"0.5\");
         $var(a) = t_load_contacts(); $var(b) = t_next_contacts(); $var(c) = t_next_contacts();
         $var(d) = t_next_contacts();
         append_hf(\"X-Codes: $var(a) $var(b) $var(c) $var(d)\\r\\n\");",
        "",
        AVP,
    );
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    assert_eq!(sent[1].get("X-Codes"), "1 1 1 -2");
}

#[test]
fn forgotten_failures_are_not_chosen() {
    // The first branch fails with 603, the second with 486: the 603 would be the better one.
    let failure = |drop: &str| {
        format!(
            "failure_route[F] {{
                 {drop} $ru = \"sip:b@192.0.2.3\"; t_on_failure(\"G\"); t_relay(); }}
             failure_route[G] {{ ; }}"
        )
    };
    let keep = "modparam(\"tm\", \"failure_reply_mode\", 0)";
    for (drop, want) in [
        ("", "603"),
        ("t_drop_replies();", "486"),
        ("t_drop_replies(\"a\");", "486"),
        ("t_drop_replies(\"l\");", "486"),
        ("t_drop_replies(\"n\");", "603"),
    ] {
        let mut p = Proxy::with("t_on_failure(\"F\");", &failure(drop), keep);
        let sent = p.receive(ALICE, &request("INVITE", "i", ""));
        let again = p.receive(BOB, &answer(&sent[1], 603, "x"));
        let out = again
            .iter()
            .find(|s| s.line().starts_with("INVITE"))
            .unwrap();
        let last = p.receive("192.0.2.3:5060", &answer(out, 486, "y"));
        let told = last
            .iter()
            .find(|s| s.to.ip().to_string() == "192.0.2.1")
            .unwrap();
        assert_eq!(&told.line()[8..11], want, "{drop}");
    }
}

#[test]
fn a_cancel_says_why_when_it_may() {
    let cancel = request("CANCEL", "i", "Reason: SIP;cause=600;text=\"x\"\r\n");
    for (initial, params, want) in [
        ("", "", "SIP;cause=600;text=\"x\""),
        ("", "modparam(\"tm\", \"e2e_cancel_reason\", 0)", ""),
        ("t_set_no_e2e_cancel_reason(1);", "", ""),
    ] {
        let mut p = Proxy::with(initial, "", params);
        let sent = p.receive(ALICE, &request("INVITE", "i", ""));
        p.receive(BOB, &answer(&sent[1], 180, "b"));
        let sent = p.receive(ALICE, &cancel);
        let out = sent
            .iter()
            .find(|s| s.line().starts_with("CANCEL"))
            .unwrap();
        assert_eq!(out.get("Reason"), want, "{initial} {params}");
    }
    for (params, want) in [
        ("", "SIP;cause=200;text=\"Call completed elsewhere\""),
        ("modparam(\"tm\", \"local_cancel_reason\", 0)", ""),
    ] {
        let mut p = Proxy::with("append_branch(\"sip:b@192.0.2.3\");", "", params);
        let sent = p.receive(ALICE, &request("INVITE", "i", ""));
        p.receive("192.0.2.3:5060", &answer(&sent[2], 180, "c"));
        let sent = p.receive(BOB, &answer(&sent[1], 200, "b"));
        let out = sent
            .iter()
            .find(|s| s.line().starts_with("CANCEL"))
            .unwrap();
        assert_eq!(out.get("Reason"), want, "{params}");
    }
}

#[test]
fn an_avp_sets_how_long_to_wait() {
    // Parameter, what it says, what the script does, when the caller hears 408.
    let table = [
        ("fr_timer_avp", "$avp(fr)", "", 30.0),
        ("fr_timer_avp", "$avp(fr)", "$avp(fr) = 3;", 3.0),
        ("fr_timer_avp", "$avp(fr)", "$avp(fr) = \"4\";", 4.0),
        ("fr_timer_avp", "$avp(i:7)", "$avp(i:7) = 3;", 3.0),
        ("fr_timer_avp", "$avp(fr)", "$avp(fr) = 0;", 30.0),
        ("fr_timer_avp", "$avp(fr)", "$avp(fr) = \"soon\";", 30.0),
        (
            "fr_timer_avp",
            "$avp(fr)",
            "$avp(fr) = 3; t_set_fr(0, 2000);",
            2.0,
        ),
        ("fr_inv_timer_avp", "$avp(fr)", "$avp(fr) = 3;", 30.0),
    ];
    for (parameter, name, statements, want) in table {
        let params = format!("modparam(\"tm\", \"{parameter}\", \"{name}\")");
        let mut p = Proxy::with(statements, "", &params);
        p.receive(ALICE, &request("INVITE", "i", ""));
        let is_408 = |s: &Sent| s.line().starts_with("SIP/2.0 408");
        let early = p.wait(want - 0.6);
        assert!(!early.iter().any(is_408), "{name} {statements}");
        assert!(p.wait(1.2).iter().any(is_408), "{name} {statements}");
    }
}

#[test]
fn an_avp_sets_how_long_to_ring() {
    let params = "modparam(\"tm\", \"fr_inv_timer_avp\", \"$avp(ring)\")";
    let mut p = Proxy::with("$avp(ring) = 7;", "", params);
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    p.receive(BOB, &answer(&sent[1], 180, "b"));
    let is_cancel = |s: &Sent| s.line().starts_with("CANCEL");
    assert!(!p.wait(6.4).iter().any(is_cancel));
    assert!(p.wait(1.2).iter().any(is_cancel));
}
