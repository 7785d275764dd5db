//! Which way a request leaves: by size, by the kernel's word, along a connection that has an alias;
//! and what scripts choose or ask for besides.

use dialcore::effect::Proto;

use super::proxy::{ALICE, BOB, Proxy, Sent, answer, lines, request};

/// A second address beside that of the tests' proxy, and a third of another family of networks.
const MORE: &str = "listen=udp:198.51.100.7:5060\nlisten=tcp:198.51.100.7:5060\n";

fn invites(sent: &[Sent]) -> Vec<String> {
    let out = sent.iter().filter(|s| !s.line().starts_with("SIP/2.0"));
    out.map(|s| {
        let via = s.get("Via").split(';').next().unwrap_or_default();
        format!("{}:{} {via}", s.proto, s.to)
    })
    .collect()
}

#[test]
fn what_is_too_long_for_datagrams_goes_by_tcp() {
    let udp = "udp:192.0.2.2:5060 SIP/2.0/UDP 192.0.2.100";
    let tcp = "tcp:192.0.2.2:5060 SIP/2.0/TCP 192.0.2.100";
    let table = [
        ("", "", udp),
        ("udp_mtu=400", "", udp),
        ("udp_mtu=400\nudp_mtu_try_proto=TCP", "", tcp),
        ("udp_mtu=4000\nudp_mtu_try_proto=TCP", "", udp),
        (
            "udp_mtu=400\nudp_mtu_try_proto=TCP",
            "udp_mtu_try_proto(UDP);",
            udp,
        ),
        ("udp_mtu=400", "udp_mtu_try_proto(TCP);", tcp),
        ("udp_mtu_try_proto=TCP", "", udp),
    ];
    let long = format!("X-Long: {}\r\n", "x".repeat(300));
    for (params, statements, want) in table {
        for method in ["INVITE", "MESSAGE"] {
            let mut p = Proxy::with(statements, "", params);
            let sent = p.receive(ALICE, &request(method, "i", &long));
            assert_eq!(invites(&sent), [want], "{params} {statements}");
            // What follows on the hop goes the same way.
            if method == "INVITE" && want == tcp {
                let invite = sent
                    .iter()
                    .find(|s| s.line().starts_with("INVITE"))
                    .unwrap();
                p.receive(BOB, &answer(invite, 180, "b"));
                let sent = p.receive(ALICE, &request("CANCEL", "i", ""));
                let cancel = sent
                    .iter()
                    .find(|s| s.line().starts_with("CANCEL"))
                    .unwrap();
                assert_eq!(cancel.proto, Proto::Tcp);
            }
        }
    }
}

#[test]
fn a_long_request_goes_by_udp_after_all_when_there_is_no_connection() {
    let long = format!("X-Long: {}\r\n", "x".repeat(300));
    let mut p = Proxy::with("", "", "udp_mtu=400\nudp_mtu_try_proto=TCP");
    let sent = p.receive(ALICE, &request("MESSAGE", "m", &long));
    let again = p.not_sent(sent[0].token.unwrap());
    assert_eq!(
        invites(&again),
        ["udp:192.0.2.2:5060 SIP/2.0/UDP 192.0.2.100"]
    );
    let back = p.receive(BOB, &answer(&again[0], 200, "b"));
    assert_eq!(lines(&back), ["192.0.2.1: SIP/2.0 200 Some Reason"]);
}

#[test]
fn the_kernel_says_which_address_to_send_from() {
    let params = format!("{MORE}mhomed=1");
    let mut p = Proxy::with("", "", &params);
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    // Nothing leaves before it has answered.
    assert_eq!(invites(&sent), [""; 0]);
    assert_eq!(p.routes.len(), 1);
    let sent = p.route(Some("198.51.100.7"));
    assert_eq!(
        invites(&sent),
        ["udp:192.0.2.2:5060 SIP/2.0/UDP 198.51.100.7"]
    );
    // For a while its answer is remembered; then it is asked again.
    let next = request("MESSAGE", "n", "").replace("Call-ID: c1", "Call-ID: c2");
    let sent = p.receive(ALICE, &next);
    assert_eq!(
        invites(&sent),
        ["udp:192.0.2.2:5060 SIP/2.0/UDP 198.51.100.7"]
    );
    p.wait(6.0);
    let later = request("MESSAGE", "o", "").replace("Call-ID: c1", "Call-ID: c3");
    assert_eq!(invites(&p.receive(ALICE, &later)), [""; 0]);
    // An address that is none of ours, or no way at all: as without it.
    let sent = p.route(Some("203.0.113.9"));
    assert_eq!(
        invites(&sent),
        ["udp:192.0.2.2:5060 SIP/2.0/UDP 192.0.2.100"]
    );
}

#[test]
fn a_kernel_that_does_not_answer_holds_up_nobody_for_long() {
    let mut p = Proxy::with("", "", &format!("{MORE}mhomed=1"));
    assert!(invites(&p.receive(ALICE, &request("INVITE", "i", ""))).is_empty());
    let sent = p.wait(5.5);
    assert_eq!(
        invites(&sent)[0],
        "udp:192.0.2.2:5060 SIP/2.0/UDP 192.0.2.100"
    );
}

#[test]
fn the_kernel_is_asked_only_where_there_is_a_choice() {
    for (params, statements, want) in [
        ("mhomed=1", "", "192.0.2.100"),
        (&format!("{MORE}mhomed=0"), "", "192.0.2.100"),
        (
            &format!("{MORE}mhomed=1"),
            "$fs = \"udp:198.51.100.7:5060\";",
            "198.51.100.7",
        ),
    ] {
        let mut p = Proxy::with(statements, "", params);
        let sent = p.receive(ALICE, &request("INVITE", "i", ""));
        let want = format!("udp:192.0.2.2:5060 SIP/2.0/UDP {want}");
        assert_eq!(invites(&sent), [want], "{params} {statements}");
        assert!(p.routes.is_empty(), "{params} {statements}");
    }
}

#[test]
fn a_request_of_our_own_leaves_from_there_too() {
    let initial = r#"
        $uac_req(method) = "OPTIONS"; $uac_req(ruri) = "sip:x@192.0.2.3";
        $uac_req(furi) = "sip:f@a.test"; $uac_req(turi) = "sip:t@b.test";
        uac_req_send(); sl_send_reply("202", "OK"); exit;"#;
    let mut p = Proxy::with(
        initial,
        "",
        &format!("{MORE}mhomed=1\nloadmodule \"uac.so\""),
    );
    p.receive(ALICE, &request("MESSAGE", "m", ""));
    let sent = p.route(Some("198.51.100.7"));
    assert_eq!(
        invites(&sent),
        ["udp:192.0.2.3:5060 SIP/2.0/UDP 198.51.100.7"]
    );
}

#[test]
fn a_connection_may_serve_the_port_of_the_via() {
    let by_tcp = |via: &str| {
        request("INVITE", "i", "").replace(
            "SIP/2.0/UDP 192.0.2.1;",
            &format!("SIP/2.0/TCP 192.0.2.1{via};"),
        )
    };
    let table = [
        ("force_tcp_alias();", "", ":5070", Some(5070)),
        ("add_tcp_alias();", "", "", Some(5060)),
        ("force_tcp_alias(5099);", "", ":5070", Some(5099)),
        ("force_tcp_alias(99999);", "", ":5070", None),
        ("", "", ":5070;alias", None),
        ("", "tcp_accept_aliases=yes", ":5070;alias", Some(5070)),
        ("", "tcp_accept_aliases=yes", ":5070", None),
    ];
    for (statements, params, via, want) in table {
        let mut p = Proxy::with(statements, "", params);
        p.receive_bytes("192.0.2.1:40000", Proto::Tcp, by_tcp(via).as_bytes());
        let ports: Vec<u16> = p.aliases.iter().map(|(_, port)| *port).collect();
        assert_eq!(ports, Vec::from_iter(want), "{statements} {params} {via}");
    }
    // A datagram has no connection.
    let mut p = Proxy::new("force_tcp_alias();");
    p.receive(ALICE, &request("INVITE", "i", ""));
    assert!(p.aliases.is_empty());
}

#[test]
fn a_second_route_that_is_no_socket_of_ours_is_named() {
    let routes = "Route: <sip:192.0.2.100;r2=on;lr>, <sip:192.0.2.9;r2=on;lr>\r\n";
    let within = request("INFO", "i", routes).replace("bob@b.test>", "bob@b.test>;tag=b1");
    let off = "modparam(\"rr\", \"enable_socket_mismatch_warning\", 0)";
    for (params, text, want) in [
        ("", within.clone(), 1),
        (off, within.clone(), 0),
        ("", within.replace("192.0.2.9;", "192.0.2.100;"), 0),
    ] {
        let mut p = Proxy::with("", "", params);
        let sent = p.receive(ALICE, &text);
        assert_eq!(invites(&sent).len(), 1, "{params}");
        let said = p.log.iter().filter(|l| l.contains("second Route"));
        assert_eq!(said.count(), want, "{params} {:?}", p.log);
    }
}

#[test]
fn a_script_gives_commands_and_waits_for_their_answers() {
    let initial = r#"
        xlog("$jsonrpl(code) $jsonrpl(body)\n");
        $var(a) = jsonrpc_exec('{"jsonrpc": "2.0", "method": "core.echo", "id": 1}');
        xlog("$var(a): $jsonrpl(code) $jsonrpl(text) $jsonrpl(body)\n");
        $var(a) = jsonrpc_exec("{nonsense");
        xlog("$var(a): $jsonrpl(code)\n");
        exit;"#;
    let modules = "loadmodule \"jsonrpcs.so\"";
    let mut p = Proxy::with(initial, "", modules);
    p.receive(ALICE, &request("MESSAGE", "m", ""));
    assert!(p.commands[0].1.starts_with(b"{\"jsonrpc\": \"2.0\""));
    // Meanwhile other calls go on.
    let other = request("MESSAGE", "n", "").replace("Call-ID: c1", "Call-ID: c2");
    p.receive(ALICE, &other);
    assert_eq!(p.commands.len(), 2);
    p.execute(500, "Method Not Found", "{}");
    p.log.retain(|l| !l.contains("no JSON"));
    assert_eq!(
        p.log,
        [
            "0 <null>\n",
            "0 <null>\n",
            "1: 500 Method Not Found {}\n",
            "-1: 500\n"
        ]
    );
    // No answer at all: the function has failed.
    p.log.clear();
    p.wait(6.0);
    assert_eq!(p.log[0], "-1: 500 Method Not Found {}\n");
}
