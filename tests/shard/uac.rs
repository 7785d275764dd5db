//! Requests of our own on the wire: layout, retransmission, failover, challenges, ACK, and the
//! names that `uac_replace_from` and its kin let each side see.

use dialcore::effect::ResolveError;

use super::proxy::Script;
use super::{ALICE, BOB, CAROL, Proxy, Sent, answer, lines, request};

const UAC: &str = "loadmodule \"uac.so\"\nmodparam(\"tm\", \"fr_timer\", 2000)\n";

/// A proxy that sends the request of these statements when a MESSAGE comes.
fn sender(statements: &str, routes: &str, params: &str) -> Proxy {
    let initial = format!(
        r#"if (is_method("MESSAGE")) {{
            {statements}
            $var(rc) = uac_req_send();
            xlog("rc $var(rc)\n");
            sl_send_reply("200", "OK");
            exit;
        }}"#
    );
    Proxy::with(&initial, routes, &format!("{UAC}{params}"))
}

fn start(p: &mut Proxy) -> Vec<Sent> {
    p.receive(ALICE, &request("MESSAGE", "m", ""))
}

fn options(more: &str) -> String {
    format!(
        r#"$uac_req(method) = "OPTIONS"; $uac_req(ruri) = "sip:x@192.0.2.2";
           $uac_req(furi) = "sip:f@a.test"; $uac_req(turi) = "sip:t@b.test"; {more}"#
    )
}

fn invite(more: &str) -> String {
    options(&format!(
        r#"$uac_req(method) = "INVITE"; $uac_req(evroute) = 1; {more}"#
    ))
}

const EVENT: &str = r#"event_route[uac:reply] {
    xlog("reply $uac_req(evcode) $uac_req(evtype) $uac_req(evparam) $rm $uac_req(method)\n");
}"#;

const SEEN: &str = r#"event_route[tm:local-request] {
    xlog("local $rm $ru $fu $du\n");
    append_hf("X-L: 1\r\n");
    if ($rm == "INFO") { drop; }
}"#;

/// The names of the header lines in their order.
fn layout(sent: &Sent) -> Vec<&str> {
    let head = sent.text.split("\r\n\r\n").next().unwrap();
    let names = head.split("\r\n").skip(1);
    names.filter_map(|line| line.split(':').next()).collect()
}

fn with_line(to: &Sent, code: u16, line: &str) -> String {
    answer(to, code, "t1").replace("Contact:", &format!("{line}\r\nContact:"))
}

#[test]
fn a_request_is_laid_out_as_the_original_does() {
    let mut p = sender(
        &options(r#"$uac_req(hdrs) = "X-A: b\r\n"; $uac_req(body) = "hi";"#),
        SEEN,
        "",
    );
    let sent = start(&mut p);
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.2: OPTIONS sip:x@192.0.2.2 SIP/2.0",
            "192.0.2.1: SIP/2.0 200 OK"
        ]
    );
    let out = &sent[0];
    assert_eq!(
        layout(out),
        [
            "Via",
            "To",
            "From",
            "CSeq",
            "Call-ID",
            "Max-Forwards",
            "Content-Length",
            "User-Agent",
            "X-A",
            "X-L"
        ]
    );
    assert!(
        out.get("Via")
            .starts_with("SIP/2.0/UDP 192.0.2.100;branch=z9hG4bK")
    );
    assert!(out.get("From").starts_with("<sip:f@a.test>;tag=dc-"));
    assert!(out.get("Call-ID").ends_with("@192.0.2.100"));
    assert_eq!(
        [
            out.get("To"),
            out.get("CSeq"),
            out.get("Max-Forwards"),
            out.get("Content-Length")
        ],
        ["<sip:t@b.test>", "10 OPTIONS", "70", "2"]
    );
    assert!(out.text.ends_with("\r\n\r\nhi"));
    assert_eq!(
        p.log,
        [
            "local OPTIONS sip:x@192.0.2.2 sip:f@a.test sip:x@192.0.2.2\n",
            "rc 1\n"
        ]
    );
    assert!(p.receive(BOB, &answer(out, 200, "t1")).is_empty());
    p.wait(10.0);
    assert!(p.is_idle());
}

#[test]
fn what_stands_in_uac_req_goes_into_the_request() {
    // Statements, and what the request has then.
    let table = [
        (
            r#"$uac_req(furi) = $null; $uac_req(turi) = $null;"#,
            "To",
            "<sip:x@192.0.2.2>",
        ),
        (
            r#"$uac_req(turi) = "\"T\" <sip:t@u>";"#,
            "To",
            "\"T\" <sip:t@u>",
        ),
        (r#"$uac_req(callid) = "mine";"#, "Call-ID", "mine"),
        (r#"$uac_req(hdrs) = "X-A: b";"#, "X-A", "b"),
        (
            r#"$uac_req(furi) = "<sip:f@g>;tag=7";"#,
            "From",
            "<sip:f@g>;tag=7",
        ),
        (r#"$uac_req(method) = "FOO";"#, "CSeq", "10 FOO"),
    ];
    for (more, name, want) in table {
        let mut p = sender(&options(more), "", "");
        let sent = start(&mut p);
        assert_eq!(sent[0].get(name), want, "{more}");
    }
    let mut p = sender(
        &options(r#"$uac_req(ouri) = "sip:192.0.2.3:5070";"#),
        "",
        "",
    );
    let sent = start(&mut p);
    assert_eq!(sent[0].to.to_string(), "192.0.2.3:5070");
    assert_eq!(sent[0].line(), "OPTIONS sip:x@192.0.2.2 SIP/2.0");
    assert_eq!(sent[0].get("Route"), "");
}

#[test]
fn a_request_that_cannot_be_made_is_refused_at_once() {
    let table = [
        r#"$uac_req(method) = $null;"#,
        r#"$uac_req(ruri) = $null;"#,
        r#"$uac_req(ruri) = "192.0.2.2";"#,
        r#"$uac_req(sock) = "udp:192.0.2.9:5060";"#,
    ];
    for more in table {
        let mut p = sender(&options(more), "", "");
        assert_eq!(
            lines(&start(&mut p)),
            ["192.0.2.1: SIP/2.0 200 OK"],
            "{more}"
        );
        assert_eq!(p.log.last().unwrap(), "rc -1\n", "{more}");
    }
    // What is no SIP is found when it is written: the event route hears of it.
    let bad = options(r#"$uac_req(furi) = "<<>>"; $uac_req(evroute) = 1;"#);
    let mut p = sender(&bad, EVENT, "");
    assert_eq!(lines(&start(&mut p)), ["192.0.2.1: SIP/2.0 200 OK"]);
    assert!(
        p.log
            .iter()
            .any(|l| l == "reply 400 2 <null> OPTIONS OPTIONS\n"),
        "{:?}",
        p.log
    );
    assert!(p.is_idle());
}

#[test]
fn nobody_answers() {
    let mut p = sender(
        &options(r#"$uac_req(evroute) = 1; $uac_req(evparam) = "pp";"#),
        EVENT,
        "",
    );
    start(&mut p);
    let sent = p.wait(2.5);
    // Timer E: 0.5 s and 1.5 s; timer F by fr_timer.
    assert_eq!(
        lines(&sent),
        ["192.0.2.2: OPTIONS sip:x@192.0.2.2 SIP/2.0"; 2]
    );
    assert_eq!(p.log, ["rc 1\n", "reply 408 2 pp OPTIONS OPTIONS\n"]);
    assert!(p.is_idle());
}

#[test]
fn a_request_that_does_not_leave() {
    let mut p = sender(&options("$uac_req(evroute) = 1;"), EVENT, "");
    let sent = start(&mut p);
    assert!(p.not_sent(sent[0].token.unwrap()).is_empty());
    assert_eq!(p.log[1], "reply 477 2 <null> OPTIONS OPTIONS\n");
    assert!(p.is_idle());
}

#[test]
fn names_are_resolved_and_all_their_addresses_tried() {
    let named = options(r#"$uac_req(ruri) = "sip:x@next.test"; $uac_req(evroute) = 1;"#);
    let mut p = sender(&named, EVENT, "");
    assert_eq!(lines(&start(&mut p)), ["192.0.2.1: SIP/2.0 200 OK"]);
    assert!(!p.is_idle());
    let first = p.resolve(Ok(&[BOB, CAROL]));
    assert_eq!(
        lines(&first),
        ["192.0.2.2: OPTIONS sip:x@next.test SIP/2.0"]
    );
    let second = p.wait(2.1);
    let second = second.last().unwrap();
    assert_eq!(second.to.to_string(), CAROL);
    assert_ne!(second.get("Via"), first[0].get("Via"));
    p.receive(CAROL, &answer(second, 200, "t"));
    assert_eq!(p.log[1], "reply 200 1 <null> OPTIONS OPTIONS\n");
    assert!(p.is_idle());

    for _ in 0..2 {
        let mut p = sender(&named, EVENT, "");
        start(&mut p);
        assert!(p.resolve(Err(ResolveError::NotFound)).is_empty());
        assert_eq!(p.log[1], "reply 478 2 <null> OPTIONS OPTIONS\n");
        assert!(p.is_idle());
    }
    // DNS never answers.
    let mut p = sender(&named, EVENT, "");
    start(&mut p);
    p.wait(5.1);
    assert_eq!(p.log[1], "reply 478 2 <null> OPTIONS OPTIONS\n");
    assert!(p.is_idle());
}

#[test]
fn a_route_may_drop_what_we_send() {
    let mut p = sender(
        &options(r#"$uac_req(method) = "INFO"; $uac_req(evroute) = 1;"#),
        SEEN,
        "",
    );
    assert_eq!(lines(&start(&mut p)), ["192.0.2.1: SIP/2.0 200 OK"]);
    assert_eq!(p.log.last().unwrap(), "rc 1\n");
    assert!(p.is_idle());
}

#[test]
fn a_request_that_causes_itself_comes_to_an_end() {
    let routes = r#"event_route[tm:local-request] { uac_req_send(); uac_req_send(); }"#;
    let mut p = sender(&options(""), routes, "");
    let sent = start(&mut p);
    let ours = sent
        .iter()
        .filter(|s| s.line().starts_with("OPTIONS"))
        .count();
    assert_eq!(ours, 1 + 2 + 4 + 8);
    p.wait(10.0);
    assert!(p.is_idle());
}

#[test]
fn each_2xx_to_an_invite_is_acknowledged() {
    let mut p = sender(&invite(""), EVENT, "");
    let out = start(&mut p).remove(0);
    assert!(p.receive(BOB, &answer(&out, 180, "t1")).is_empty());
    let ok = answer(&out, 200, "t1").replace(
        "Contact:",
        "Record-Route: <sip:192.0.2.3;lr;n=2>, <sip:192.0.2.9;lr;n=1>\r\nContact:",
    );
    for _ in 0..3 {
        let ack = p.receive(BOB, &ok);
        // §13.2.2.4 and §12.1.2: the remote target, the route set in reverse, the CSeq number.
        assert_eq!(lines(&ack), ["192.0.2.9: ACK sip:bob@192.0.2.2 SIP/2.0"]);
        assert_eq!(
            ack[0].get("Route"),
            "<sip:192.0.2.9;lr;n=1>, <sip:192.0.2.3;lr;n=2>"
        );
        assert_eq!(
            [ack[0].get("CSeq"), ack[0].get("To")],
            ["10 ACK", "<sip:t@b.test>;tag=t1"]
        );
        assert_ne!(ack[0].get("Via"), out.get("Via"));
        p.wait(4.0);
    }
    assert!(
        p.log
            .contains(&"reply 200 1 <null> INVITE INVITE\n".to_owned()),
        "{:?}",
        p.log
    );
    p.wait(40.0);
    assert!(p.is_idle());
}

#[test]
fn an_ack_passes_a_strict_router() {
    let mut p = sender(&invite(""), "", "");
    let out = start(&mut p).remove(0);
    let ok =
        answer(&out, 200, "t1").replace("Contact:", "Record-Route: <sip:192.0.2.3>\r\nContact:");
    let ack = p.receive(BOB, &ok);
    // §12.2.1.1: the strict router's URI, and the remote target behind the last Route.
    assert_eq!(lines(&ack), ["192.0.2.3: ACK sip:192.0.2.3 SIP/2.0"]);
    assert_eq!(ack[0].get("Route"), "<sip:bob@192.0.2.2>");
}

#[test]
fn a_failed_invite_is_acknowledged_hop_by_hop() {
    let mut p = sender(&invite(""), EVENT, "");
    let out = start(&mut p).remove(0);
    for _ in 0..2 {
        let ack = p.receive(BOB, &answer(&out, 486, "t1"));
        assert_eq!(lines(&ack), ["192.0.2.2: ACK sip:x@192.0.2.2 SIP/2.0"]);
        assert_eq!(ack[0].get("Via"), out.get("Via"));
    }
    assert_eq!(p.log, ["rc 1\n", "reply 486 1 <null> INVITE INVITE\n"]);
    p.wait(10.0);
    assert!(p.is_idle());
}

#[test]
fn an_invite_that_rings_too_long_is_cancelled() {
    let mut p = sender(
        &invite(""),
        EVENT,
        "modparam(\"tm\", \"fr_inv_timer\", 3000)\n",
    );
    let out = start(&mut p).remove(0);
    p.receive(BOB, &answer(&out, 180, "t1"));
    let sent = p.wait(3.1);
    assert_eq!(lines(&sent), ["192.0.2.2: CANCEL sip:x@192.0.2.2 SIP/2.0"]);
    assert_eq!(p.log[1], "reply 408 2 <null> OPTIONS INVITE\n");
    let mut ok = answer(&sent[0], 200, "t1");
    assert!(p.receive(BOB, &ok).is_empty());
    ok = answer(&out, 487, "t1");
    assert_eq!(
        lines(&p.receive(BOB, &ok)),
        ["192.0.2.2: ACK sip:x@192.0.2.2 SIP/2.0"]
    );
    assert_eq!(p.log.len(), 2);
    p.wait(40.0);
    assert!(p.is_idle());
}

#[test]
fn a_challenge_is_answered_once() {
    let own = r#"$uac_req(auser) = "joe"; $uac_req(apasswd) = "pw";"#;
    let configured = "modparam(\"uac\", \"credential\", \"joe:r1:pw\")\n";
    let challenge = |realm: &str| {
        format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"nn\", qop=\"auth\"")
    };
    // Statements, parameters, realm, whether there is an answer.
    let table = [
        (own, "", "any", true),
        ("", configured, "r1", true),
        ("", configured, "r2", false),
        ("", "", "r1", false),
    ];
    for (more, params, realm, is_answered) in table {
        let mut p = sender(&options(more), EVENT, params);
        let out = start(&mut p).remove(0);
        let sent = p.receive(BOB, &with_line(&out, 401, &challenge(realm)));
        assert_eq!(!sent.is_empty(), is_answered, "{more} {params} {realm}");
        let Some(again) = sent.first() else {
            assert!(p.is_idle());
            continue;
        };
        assert_eq!(again.get("CSeq"), "11 OPTIONS");
        assert_eq!(again.get("Call-ID"), out.get("Call-ID"));
        assert_eq!(again.get("From"), out.get("From"));
        assert_ne!(again.get("Via"), out.get("Via"));
        let line = again.get("Authorization");
        let start = format!(
            "Digest username=\"joe\", realm=\"{realm}\", nonce=\"nn\", uri=\"sip:x@192.0.2.2\", \
             qop=auth, nc=00000001, cnonce=\""
        );
        assert!(line.starts_with(&start), "{line}");
        // The credentials are refused: that was the answer.
        assert!(
            p.receive(BOB, &with_line(again, 401, &challenge(realm)))
                .is_empty()
        );
        assert!(p.is_idle());
    }
}

#[test]
fn a_stale_nonce_is_asked_for_again() {
    let own = options(r#"$uac_req(auser) = "joe"; $uac_req(apasswd) = "pw";"#);
    let mut p = sender(&own, "", "");
    let mut out = start(&mut p).remove(0);
    let mut count = 0;
    for n in 0..10 {
        let line = format!("Proxy-Authenticate: Digest realm=\"r\", nonce=\"n{n}\", stale=true");
        let sent = p.receive(BOB, &with_line(&out, 407, &line));
        let Some(next) = sent.into_iter().next() else {
            break;
        };
        assert_eq!(next.all("Proxy-Authorization").len(), 1);
        assert!(
            next.get("Proxy-Authorization")
                .contains(&format!("nonce=\"n{n}\""))
        );
        (out, count) = (next, count + 1);
    }
    assert_eq!(count, 3);
    assert!(p.is_idle());
}

#[test]
fn t_uac_send_takes_the_headers_it_is_given() {
    let given = |headers: &str, body: &str| {
        let initial = format!(
            r#"$var(rc) = t_uac_send("MESSAGE", "sip:x@192.0.2.2", "", "", "{headers}", "{body}");
               xlog("rc $var(rc)\n"); exit;"#
        );
        let mut p = Proxy::with(&initial, "", UAC);
        let sent = start(&mut p);
        (sent.into_iter().next(), p.log.last().unwrap().clone())
    };
    let (sent, rc) = given(
        concat!(
            r"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nX-H: 1\r\n",
            r"Call-ID: cc1\r\nCSeq: 7 MESSAGE\r\nContent-Type: text/plain\r\n"
        ),
        "body",
    );
    let sent = sent.unwrap();
    assert_eq!(rc, "rc 1\n");
    assert_eq!(
        layout(&sent),
        [
            "Via",
            "To",
            "From",
            "CSeq",
            "Call-ID",
            "Max-Forwards",
            "Content-Length",
            "User-Agent",
            "X-H",
            "Content-Type"
        ]
    );
    assert_eq!(
        [
            sent.get("From"),
            sent.get("To"),
            sent.get("CSeq"),
            sent.get("Call-ID")
        ],
        ["<sip:a@b>;tag=1", "<sip:c@d>", "7 MESSAGE", "cc1"]
    );
    let (sent, _) = given(r"From: <sip:a@b>\r\nTo: sip:c@d\r\n", "");
    assert!(sent.unwrap().get("From").starts_with("<sip:a@b>;tag=dc-"));
    for (headers, body) in [
        (r"To: <sip:c@d>\r\n", ""),
        (r"From: <sip:c@d>\r\n", ""),
        (r"From: <sip:c@d>\r\nTo: <sip:c@d>\r\n", "body"),
        (r"From <sip:c@d>", ""),
    ] {
        let (sent, rc) = given(headers, body);
        assert_eq!(
            (sent.is_none(), rc.as_str()),
            (true, "rc -1\n"),
            "{headers}"
        );
    }
}

const AUTH: &str = r#"failure_route[F] {
    $var(rc) = uac_auth();
    xlog("rc $var(rc)\n");
    if ($var(rc) > 0) { t_on_failure("F"); t_relay(); }
}"#;

#[test]
fn uac_auth_adds_credentials_to_the_next_leg() {
    let credential = format!("{UAC}modparam(\"uac\", \"credential\", \"joe:r1:se:cret\")\n");
    let avps = r#"$avp(u) = "joe"; $avp(p) = "pw"; $avp(r) = "r1";"#;
    let by_avp = format!(
        "{UAC}modparam(\"uac\", \"auth_username_avp\", \"$avp(u)\")\n\
         modparam(\"uac\", \"auth_password_avp\", \"$avp(p)\")\n\
         modparam(\"uac\", \"auth_realm_avp\", \"$avp(r)\")\n"
    );
    let www = "WWW-Authenticate: Digest realm=\"r1\", nonce=\"n\"";
    let proxy = "Proxy-Authenticate: Digest realm=\"r1\", nonce=\"n\", opaque=\"o\", qop=\"auth\"";
    // Statements, parameters, status, challenge, the header that answers it.
    let table = [
        ("", &credential, 401, www, "Authorization"),
        ("", &credential, 407, proxy, "Proxy-Authorization"),
        (avps, &by_avp, 401, www, "Authorization"),
        (
            "",
            &credential,
            401,
            "WWW-Authenticate: Digest realm=\"r2\", nonce=\"n\"",
            "",
        ),
        (
            "",
            &credential,
            401,
            "WWW-Authenticate: Basic realm=\"r1\"",
            "",
        ),
        ("", &by_avp, 401, www, ""),
        ("", &credential, 486, www, ""),
    ];
    for (statements, params, code, line, want) in table {
        let mut p = Proxy::with(&format!(r#"{statements} t_on_failure("F");"#), AUTH, params);
        let out = p.receive(ALICE, &request("INVITE", "i", "")).remove(1);
        let sent = p.receive(BOB, &with_line(&out, code, line));
        let Some(again) = sent.iter().find(|s| s.line().starts_with("INVITE")) else {
            assert_eq!(
                (want, p.log.last().unwrap().as_str()),
                ("", "rc -1\n"),
                "{code} {line}"
            );
            assert!(sent[1].line().starts_with(&format!("SIP/2.0 {code} ")));
            continue;
        };
        let value = again.get(want);
        let start = "Digest username=\"joe\", realm=\"r1\", nonce=\"n\", uri=\"sip:bob@192.0.2.2\"";
        assert!(value.starts_with(start), "{code} {line}: {}", again.text);
        assert_eq!(layout(again).last(), Some(&want));
        assert_eq!(again.get("CSeq"), "1 INVITE");
    }
}

/// The value of the Record-Route that the proxy wrote, as a Route.
fn route(sent: &Sent) -> String {
    format!("Route: {}\r\n", sent.get("Record-Route"))
}

fn in_dialog(method: &str, from: &str, to: &str, route: &str) -> String {
    request(method, method, route)
        .replace("<sip:alice@a.test>;tag=a1", from)
        .replace("To: <sip:bob@b.test>", &format!("To: {to}"))
}

#[test]
fn each_side_sees_the_name_it_knows() {
    let initial = r#"
        record_route();
        uac_replace_from("\"New\"", "sip:new@anon.test");
        uac_replace_to("sip:newto@anon.test");"#;
    let mut p = Proxy::with(initial, "", UAC);
    let from_alice = "\"Alice\" <sip:alice@a.test>;tag=a1";
    let text = request("INVITE", "i", "").replace("<sip:alice@a.test>;tag=a1", from_alice);
    let out = p.receive(ALICE, &text).remove(1);
    assert_eq!(
        [out.get("From"), out.get("To")],
        [
            "\"New\" <sip:new@anon.test>;tag=a1",
            "<sip:newto@anon.test>"
        ]
    );
    // As the original writes it for these names.
    assert!(
        out.get("Record-Route")
            .contains(";ftag=a1;vsf=AAAAAA8JHiMELg5AWhEWB3Q-;vst=")
    );
    let ok = p.receive(BOB, &answer(&out, 200, "b1")).remove(0);
    assert_eq!(
        [ok.get("From"), ok.get("To")],
        [from_alice, "<sip:bob@b.test>;tag=b1"]
    );

    let info = in_dialog("INFO", from_alice, "<sip:bob@b.test>;tag=b1", &route(&out));
    let down = p.receive(ALICE, &info).remove(0);
    assert_eq!(
        [down.get("From"), down.get("To")],
        [
            "\"Alice\" <sip:new@anon.test>;tag=a1",
            "<sip:newto@anon.test>;tag=b1"
        ]
    );
    let ok = p.receive(BOB, &answer(&down, 200, "")).remove(0);
    assert_eq!(
        [ok.get("From"), ok.get("To")],
        [from_alice, "<sip:bob@b.test>;tag=b1"]
    );

    let (from_bob, to_alice) = (
        "<sip:newto@anon.test>;tag=b1",
        "\"New\" <sip:new@anon.test>;tag=a1",
    );
    let bye = in_dialog("BYE", from_bob, to_alice, &route(&out));
    let up = p.receive(BOB, &bye).remove(0);
    assert_eq!(
        [up.get("From"), up.get("To")],
        [
            "<sip:bob@b.test>;tag=b1",
            "\"New\" <sip:alice@a.test>;tag=a1"
        ]
    );
    let ok = p.receive(ALICE, &answer(&up, 200, "")).remove(0);
    assert_eq!([ok.get("From"), ok.get("To")], [from_bob, to_alice]);
}

#[test]
fn requests_of_our_own_leave_by_the_default_socket() {
    let statements = "$uac_req(method) = \"OPTIONS\"; $uac_req(ruri) = \"sip:x@192.0.2.9\";
        $uac_req(furi) = \"sip:me@a.test\";";
    // There is one socket of this name and none of the other.
    for (socket, want) in [
        ("udp:192.0.2.100:5060", "rc 1"),
        ("udp:192.0.2.99:5060", "rc -1"),
    ] {
        let params = format!("modparam(\"uac\", \"default_socket\", \"{socket}\")\n");
        let mut p = sender(statements, "", &params);
        start(&mut p);
        assert_eq!(p.said().last().map(String::as_str), Some(want), "{socket}");
    }
}

#[test]
fn the_dialog_keeps_the_names() {
    let params = format!("{UAC}modparam(\"uac\", \"restore_dlg\", 1)\n");
    let mut p = Proxy::with_dialogs(Script {
        after: "uac_replace_from(\"\\\"New\\\"\", \"sip:new@anon.test\");
                uac_replace_to(\"sip:newto@anon.test\");
                xlog(\"$dlg_var(_uac_fu) $dlg_var(_uac_funew) $dlg_var(_uac_fdpnew)\\n\");
                xlog(\"$dlg_var(_uac_to) $dlg_var(_uac_tonew) $dlg_var(_uac_tdp)\\n\");",
        params: &params,
        ..Script::default()
    });
    let out = p.receive(ALICE, &request("INVITE", "i", "")).remove(1);
    assert_eq!(
        p.said(),
        [
            "sip:alice@a.test sip:new@anon.test \"New\"",
            "sip:bob@b.test sip:newto@anon.test <null>"
        ]
    );
    let (new_from, new_to) = (
        "\"New\" <sip:new@anon.test>;tag=a1",
        "<sip:newto@anon.test>",
    );
    assert_eq!([out.get("From"), out.get("To")], [new_from, new_to]);
    assert!(!out.get("Record-Route").contains("vsf="), "{}", out.text);
    let ok = p.receive(BOB, &answer(&out, 200, "b1")).remove(0);
    let (from_alice, to_bob) = ("<sip:alice@a.test>;tag=a1", "<sip:bob@b.test>;tag=b1");
    assert_eq!([ok.get("From"), ok.get("To")], [from_alice, to_bob]);

    let info = in_dialog("INFO", from_alice, to_bob, &route(&out));
    let down = p.receive(ALICE, &info).remove(0);
    let to_callee = "<sip:newto@anon.test>;tag=b1";
    assert_eq!([down.get("From"), down.get("To")], [new_from, to_callee]);

    let bye = in_dialog("BYE", to_callee, new_from, &route(&out));
    let up = p.receive(BOB, &bye).remove(0);
    assert_eq!([up.get("From"), up.get("To")], [to_bob, from_alice]);
}

#[test]
fn an_avp_keeps_the_name_of_a_request_that_is_changed_for_good() {
    let statements = "record_route();
        uac_replace_from(\"sip:new@anon.test\"); uac_replace_to(\"sip:newto@anon.test\");
        xlog(\"$avp(f) $avp(t)\\n\");
        msg_apply_changes();";
    let avps = "modparam(\"uac\", \"restore_from_avp\", \"$avp(f)\")
         modparam(\"uac\", \"restore_to_avp\", \"$avp(t)\")\n";
    let params = format!("loadmodule \"textopsx.so\"\n{UAC}{avps}");
    let mut p = Proxy::with(statements, "", &params);
    let out = p.receive(ALICE, &request("INVITE", "i", "")).remove(1);
    assert_eq!(p.said(), ["sip:alice@a.test sip:bob@b.test"]);
    let ok = p.receive(BOB, &answer(&out, 200, "b1")).remove(0);
    let want = ["<sip:alice@a.test>;tag=a1", "<sip:bob@b.test>;tag=b1"];
    assert_eq!([ok.get("From"), ok.get("To")], want);
}

#[test]
fn names_come_back_as_far_as_the_mode_says() {
    // Mode, what an in-dialog request shows the callee, what the caller's response shows.
    let table = [
        (
            "auto",
            "<sip:new@anon.test>;tag=a1",
            "<sip:alice@a.test>;tag=a1",
        ),
        (
            "manual",
            "<sip:alice@a.test>;tag=a1",
            "<sip:alice@a.test>;tag=a1",
        ),
        (
            "none",
            "<sip:alice@a.test>;tag=a1",
            "<sip:new@anon.test>;tag=a1",
        ),
    ];
    for (mode, want_down, want_up) in table {
        let params = format!("{UAC}modparam(\"uac\", \"restore_mode\", \"{mode}\")\n");
        let initial = r#"record_route(); uac_replace_from("sip:new@anon.test");"#;
        let mut p = Proxy::with(initial, "", &params);
        let out = p.receive(ALICE, &request("INVITE", "i", "")).remove(1);
        let ok = p.receive(BOB, &answer(&out, 200, "b1")).remove(0);
        assert_eq!(ok.get("From"), want_up, "{mode}");
        assert_eq!(
            out.get("Record-Route").contains("vsf="),
            mode != "none",
            "{mode}"
        );
        let from = "<sip:alice@a.test>;tag=a1";
        let info = in_dialog("INFO", from, "<sip:bob@b.test>;tag=b1", &route(&out));
        let down = p.receive(ALICE, &info).remove(0);
        assert_eq!(down.get("From"), want_down, "{mode}");
    }
}

#[test]
fn a_peer_cannot_answer_for_another() {
    // A request that looks like ours finds no transaction, and a response needs the nonce.
    let mut p = sender(&options(""), "", "");
    let out = start(&mut p).remove(0);
    let echo = out
        .text
        .replace("OPTIONS sip:x@192.0.2.2", "OPTIONS sip:bob@192.0.2.2");
    let sent = p.receive(BOB, &echo);
    assert!(
        sent.iter().any(|s| s.line().starts_with("OPTIONS")),
        "{sent:?}"
    );
    let forged = answer(&out, 200, "t").replacen("branch=z9hG4bK", "branch=z9hG4bK0", 1);
    assert!(p.receive(BOB, &forged).is_empty());
    assert!(!p.is_idle());
}
