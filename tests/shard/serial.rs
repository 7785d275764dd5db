//! Serial forking by preference, and failures that a failure route wants to forget.

use super::proxy::{ALICE, BOB, Proxy, Sent, answer, lines, request};

const AVP: &str = "modparam(\"tm\", \"contacts_avp\", \"tmc\")
    modparam(\"tm\", \"contact_flows_avp\", \"tmf\")
    modparam(\"tm\", \"xavp_contact\", \"ul\")";

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
        (&[("3", "0.5"), ("4", "0.5")], &["4+3", "2"]),
        (&[("3", "0.5"), ("4", ""), ("5", "1.0")], &["5", "3", "4+2"]),
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
fn targets_are_records_that_a_script_can_read() {
    let mut p = Proxy::with(
        r#"$xavp(ul=>k) = "b"; $xavp(ul=>k) = "a";
           $du = "sip:192.0.2.9"; append_branch("sip:c@192.0.2.3", "0.5"); $du = $null;
           append_branch("sip:d@192.0.2.4", "0.9");
           t_load_contacts();
           xlog("$xavp(tmc[0]=>uri) $xavp(tmc[1]=>uri) $xavp(tmc[2]=>uri) $xavp(tmc[3]=>uri)\n");
           xlog("$xavp(tmc[0]=>q_flag) $xavp(tmc[1]=>q_flag) $xavp(tmc[2]=>q_flag)\n");
           xlog("$xavp(tmc[0]=>flags) $xavp(ul=>k)\n");
           t_next_contacts(); xlog("$ru $xavp(ul=>k) $xavp(tmc=>uri)\n");
           t_next_contacts(); xlog("$ru $xavp(ul=>k) $xavp(tmc=>uri)\n");
           t_next_contacts(); xlog("$ru $xavp(ul=>k) $xavp(tmc=>uri)\n");"#,
        "",
        AVP,
    );
    p.receive(ALICE, &request("INVITE", "i", ""));
    assert_eq!(
        p.log,
        [
            "sip:d@192.0.2.4 sip:c@192.0.2.3 sip:bob@192.0.2.2 <null>\n",
            "4 4 0\n",
            "0 <null>\n",
            "sip:d@192.0.2.4 <null> sip:c@192.0.2.3\n",
            "sip:c@192.0.2.3 b sip:bob@192.0.2.2\n",
            "sip:bob@192.0.2.2 a <null>\n",
        ]
    );
}

#[test]
fn targets_one_by_one_are_drawn_by_weight() {
    let (mut firsts, mut lasts) = ([0; 3], 0);
    for seed in 0..400 {
        let text = Proxy::with(
            r#"append_branch("sip:c@192.0.2.3", "0.9"); append_branch("sip:d@192.0.2.4", "0.1");
               t_load_contacts("1");
               xlog("$xavp(tmc[0]=>uri) $xavp(tmc[1]=>uri) $xavp(tmc[2]=>uri)\n");
               t_next_contacts(); xlog("$ru $bR\n");"#,
            "",
            AVP,
        )
        .text;
        let mut p = Proxy::seeded(&text, seed);
        p.receive(ALICE, &request("INVITE", "i", ""));
        let order: Vec<&str> = p.log[0].trim().split(' ').collect();
        let first = order[0].rsplit('.').next().unwrap();
        firsts[first.parse::<usize>().unwrap() - 2] += 1;
        lasts += usize::from(order[2] == "sip:bob@192.0.2.2");
        // Never two at a time.
        assert_eq!(p.log[1], format!("{} <null>\n", order[0]));
    }
    // The Request-URI has no q and is the last resort.
    assert_eq!((firsts[0], lasts), (0, 400), "{firsts:?}");
    assert!((330..390).contains(&firsts[1]), "{firsts:?}");
}

/// Contacts of one device, and one of another, as a script may write them.
const FLOWS: &str = r#"
    $xavp(tmc=>q_flag) = 0; $xavp(tmc[0]=>uri) = "sip:c@192.0.2.2";
    $xavp(tmc[0]=>flags) = 0; $xavp(tmc[0]=>instance) = "<urn:1>";
    $xavp(tmc=>q_flag) = 0; $xavp(tmc[0]=>uri) = "sip:x@192.0.2.4";
    $xavp(tmc[0]=>flags) = 0; $xavp(tmc[0]=>instance) = "<urn:2>";
    $xavp(tmc=>q_flag) = 0; $xavp(tmc[0]=>uri) = "sip:a@192.0.2.3";
    $xavp(tmc[0]=>flags) = 0; $xavp(tmc[0]=>instance) = "<urn:1>";
    $xavp(tmc[0]=>dst_uri) = "sip:192.0.2.3:5070";
    t_on_branch_failure("B");
    t_next_contacts();
    xlog("$ru $du $bR, later $xavp(tmf=>uri)\n");"#;

#[test]
fn the_next_flow_of_a_device_follows_one_that_fails() {
    let route = r#"event_route[tm:branch-failure:B] {
        $var(r) = t_next_contact_flow();
        xlog("$T_reply_code: $var(r)\n");
        t_on_branch_failure("B");
        if ($var(r) > 0) { t_relay(); }
    }"#;
    let mut p = Proxy::with(FLOWS, route, AVP);
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let out: Vec<_> = sent
        .iter()
        .filter(|s| s.line().starts_with("INVITE"))
        .collect();
    let to: Vec<_> = out.iter().map(|s| s.to.to_string()).collect();
    assert_eq!(to, ["192.0.2.3:5070", "192.0.2.4:5060"]);
    // The other device has no second contact.
    assert!(p.receive("192.0.2.4:5060", &answer(out[1], 480, "x")).len() == 1);
    let sent = p.receive("192.0.2.3:5070", &answer(out[0], 430, "a"));
    let next = sent
        .iter()
        .find(|s| s.line().starts_with("INVITE"))
        .unwrap();
    assert_eq!(next.line(), "INVITE sip:c@192.0.2.2 SIP/2.0");
    p.receive(BOB, &answer(next, 486, "c"));
    assert_eq!(
        p.log,
        [
            "sip:a@192.0.2.3 sip:192.0.2.3:5070 <sip:x@192.0.2.4>;q=0, later sip:c@192.0.2.2\n",
            "480: -2\n",
            "430: 1\n",
            "486: -2\n",
        ]
    );
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
