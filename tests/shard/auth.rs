//! Digest authentication on the wire: challenges, what answers them, and what does not.

use dialcore::modules::digest::{self, About, Credential};

use super::{ALICE, Proxy, Sent, lines, request};

const AUTH: &str = "loadmodule \"auth.so\"\n";

/// A proxy that runs these statements for each request.
fn proxy(statements: &str, params: &str) -> Proxy {
    Proxy::with(statements, "", &format!("{AUTH}{params}"))
}

const CHECK: &str = r#"
    $var(rc) = pv_auth_check("a.test", "pw", "0", "@CHECKS@");
    xlog("check $var(rc)\n");
    if ($var(rc) < 0) { auth_challenge("a.test", "1"); exit; }
    consume_credentials();
    sl_send_reply("200", "OK"); exit;"#;

fn checking(checks: &str, params: &str) -> Proxy {
    proxy(&CHECK.replace("@CHECKS@", checks), params)
}

/// The request again, with what a phone of this user answers to the challenge.
fn answered(method: &str, challenge: &Sent, user: &str, password: &str) -> String {
    let is_proxy = challenge.line().contains("407");
    let name = if is_proxy {
        "Proxy-Authenticate"
    } else {
        "WWW-Authenticate"
    };
    let challenge = digest::challenge(challenge.get(name).as_bytes(), is_proxy).unwrap();
    let credential = Credential {
        user: user.as_bytes().into(),
        realm: Box::default(),
        password: password.as_bytes().into(),
        is_hash: false,
    };
    let about = About {
        method: method.as_bytes(),
        uri: b"sip:bob@192.0.2.2",
        body: b"",
    };
    let line = digest::answer(&challenge, &credential, about, 1).unwrap();
    request(method, "again", &String::from_utf8(line).unwrap())
}

fn only(mut sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{:?}", lines(&sent));
    sent.remove(0)
}

fn challenged(p: &mut Proxy, method: &str) -> Sent {
    let sent = only(p.receive(ALICE, &request(method, "first", "")));
    assert_eq!(p.said(), ["check -5"]);
    sent
}

#[test]
fn a_phone_is_challenged_and_let_in() {
    let table = [
        ("REGISTER", "SIP/2.0 401 Unauthorized", "WWW-Authenticate"),
        (
            "INVITE",
            "SIP/2.0 407 Proxy Authentication Required",
            "Proxy-Authenticate",
        ),
        (
            "MESSAGE",
            "SIP/2.0 407 Proxy Authentication Required",
            "Proxy-Authenticate",
        ),
    ];
    for (method, line, name) in table {
        let mut p = checking("0", "");
        let challenge = challenged(&mut p, method);
        assert_eq!(
            (challenge.line(), challenge.all(name).len()),
            (line, 1),
            "{method}"
        );
        let value = challenge.get(name);
        assert!(
            value.starts_with("Digest realm=\"a.test\", nonce=\""),
            "{value}"
        );
        assert!(value.ends_with(", qop=\"auth\""), "{value}");
        // Who is right, and who is not.
        for (user, password, want) in [
            ("alice", "pw", "1"),
            ("joe", "pw", "1"),
            ("alice", "no", "-2"),
        ] {
            p.receive(ALICE, &answered(method, &challenge, user, password));
            assert_eq!(
                p.said(),
                [format!("check {want}")],
                "{method} {user} {password}"
            );
        }
    }
}

#[test]
fn an_identity_is_checked_when_it_is_to_be() {
    let domain = "modparam(\"auth\", \"use_domain\", 1)\n";
    // Parameters, method, user, what comes of it.
    let table = [
        ("", "INVITE", "alice", "1"),
        ("", "INVITE", "alice@elsewhere", "1"),
        ("", "INVITE", "bob", "-8"),
        ("", "REGISTER", "bob", "1"),
        ("", "REGISTER", "alice", "-8"),
        (domain, "INVITE", "alice", "1"),
        (domain, "INVITE", "alice@a.test", "1"),
        (domain, "INVITE", "alice@elsewhere", "-8"),
    ];
    for (params, method, user, want) in table {
        let mut p = checking("1", params);
        let challenge = challenged(&mut p, method);
        p.receive(ALICE, &answered(method, &challenge, user, "pw"));
        assert_eq!(
            p.said(),
            [format!("check {want}")],
            "{params} {method} {user}"
        );
    }
}

#[test]
fn a_nonce_is_good_for_its_time_and_for_whom_it_was_made() {
    let mut p = checking("0", "modparam(\"auth\", \"nonce_expire\", 10)\n");
    let challenge = challenged(&mut p, "MESSAGE");
    let again = answered("MESSAGE", &challenge, "alice", "pw");
    p.wait(10.0);
    p.receive(ALICE, &again);
    assert_eq!(p.said(), ["check 1"]);
    p.wait(2.0);
    // The phone need not ask its user again (RFC 7616 §3.3): the password was right.
    let stale = only(p.receive(ALICE, &again));
    assert_eq!(p.said(), ["check -4"]);
    assert!(stale.get("Proxy-Authenticate").ends_with(", stale=true"));
    let wrong = only(p.receive(ALICE, &answered("MESSAGE", &challenge, "alice", "no")));
    assert!(!wrong.get("Proxy-Authenticate").contains("stale"));

    // Bits: 1 Request-URI, 2 Call-ID, 4 From tag, 8 source address.
    let changes = [
        (
            "MESSAGE sip:bob@192.0.2.2",
            "MESSAGE sip:carol@192.0.2.2",
            ALICE,
        ),
        ("Call-ID: c1", "Call-ID: c2", ALICE),
        (";tag=a1", ";tag=a2", ALICE),
        ("", "", "192.0.2.9:5060"),
    ];
    for (bit, (from, to, source)) in changes.into_iter().enumerate() {
        for checks in [0, 1 << bit, 15 - (1 << bit)] {
            let params = format!("modparam(\"auth\", \"auth_checks_no_dlg\", {checks})\n");
            let mut p = checking("0", &params);
            let challenge = challenged(&mut p, "MESSAGE");
            let text = answered("MESSAGE", &challenge, "alice", "pw").replacen(from, to, 1);
            p.receive(source, &text);
            let want = if checks == 1 << bit {
                "check -4"
            } else {
                "check 1"
            };
            assert_eq!(p.said(), [want], "bit {bit} of {checks}");
        }
    }

    // Another process, and one that shares the secret.
    for (secret, want) in [
        ("", "check -4"),
        ("modparam(\"auth\", \"secret\", \"s\")\n", "check 1"),
    ] {
        let mut p = checking("0", secret);
        let challenge = challenged(&mut p, "MESSAGE");
        let mut other = Proxy::seeded(&p.text, 2);
        other.receive(ALICE, &answered("MESSAGE", &challenge, "alice", "pw"));
        assert_eq!(other.said(), [want]);
    }
}

#[test]
fn the_algorithm_is_the_operators() {
    let sha = "modparam(\"auth\", \"algorithm\", \"SHA-256\")\n";
    let mut p = checking("0", sha);
    let challenge = challenged(&mut p, "INVITE");
    assert!(
        challenge
            .get("Proxy-Authenticate")
            .contains(", algorithm=SHA-256")
    );
    let text = answered("INVITE", &challenge, "alice", "pw");
    p.receive(ALICE, &text);
    assert_eq!(p.said(), ["check 1"]);
    p.receive(ALICE, &text.replace("algorithm=SHA-256", "algorithm=MD5"));
    assert_eq!(p.said(), ["check -1"], "what is weaker was not asked for");
}

#[test]
fn credentials_are_found_by_their_realm_and_taken_away() {
    let statements = r#"
        if (has_credentials("a.test")) { xlog("has\n"); }
        if (has_credentials("b.test")) { xlog("has b\n"); }
        if (!pv_proxy_authenticate("a.test", "pw", "0")) {
            if (!consume_credentials()) { xlog("none\n"); }
            proxy_challenge("a.test", "0"); exit;
        }
        consume_credentials();"#;
    let mut p = proxy(statements, "");
    let challenge = only(p.receive(ALICE, &request("MESSAGE", "m", "")));
    assert_eq!(p.said(), ["none"]);
    assert!(!challenge.get("Proxy-Authenticate").contains("qop"));
    let other = "Proxy-Authorization: Digest username=\"x\", realm=\"b.test\", nonce=\"n\", \
                 uri=\"sip:b\", response=\"r\"\r\nProxy-Authorization: Basic eDp5\r\n";
    let text = answered("MESSAGE", &challenge, "alice", "pw").replacen(
        "Proxy-Authorization",
        &format!("{other}Proxy-Authorization"),
        1,
    );
    let out = only(p.receive(ALICE, &text));
    assert_eq!(p.said(), ["has", "has b"]);
    assert_eq!(out.line(), "MESSAGE sip:bob@192.0.2.2 SIP/2.0");
    let left = out.all("Proxy-Authorization");
    assert_eq!(left.len(), 2);
    assert!(
        left.iter().all(|value| !value.contains("alice")),
        "{left:?}"
    );

    let prefixed = "modparam(\"auth\", \"realm_prefix\", \"sip.\")\n";
    for (params, want) in [("", 0), (prefixed, 1)] {
        let mut p = proxy(
            r#"if (has_credentials("sip.b.test")) { xlog("has\n"); } exit;"#,
            params,
        );
        p.receive(ALICE, &text);
        assert_eq!(p.said().len(), want);
    }
}

#[test]
fn nobody_can_be_asked_by_an_ack() {
    let mut p = proxy(r#"exit;"#, "");
    p.receive(ALICE, &request("OPTIONS", "o", ""));
    let first = r#"if (is_method("ACK")) { $var(rc) = pv_auth_check("a.test", "pw", "0", "1");
        xlog("check $var(rc)\n"); exit; }"#;
    let mut p = Proxy::with_dialogs(crate::proxy::Script {
        first,
        params: AUTH,
        ..crate::proxy::Script::default()
    });
    assert!(p.receive(ALICE, &request("ACK", "a", "")).is_empty());
    assert_eq!(p.said(), ["check 1"]);
}

#[test]
fn what_is_not_said_is_not_believed() {
    let table = [
        r#"pv_auth_check("", "pw", "0", "0")"#,
        r#"pv_auth_check("a.test", "", "0", "0")"#,
        r#"pv_auth_check("a.test", "$null", "0", "0")"#,
        r#"auth_challenge("", "0")"#,
    ];
    for statement in table {
        let statements = format!(r#"$var(rc) = {statement}; xlog("rc $var(rc)\n"); exit;"#);
        let mut p = proxy(&statements, "");
        assert!(p.receive(ALICE, &request("MESSAGE", "m", "")).is_empty());
        assert_eq!(p.said(), ["rc -1"], "{statement}");
    }
}

#[test]
fn a_challenge_of_a_transaction_is_the_transactions() {
    for (params, want) in [
        ("", "-t"),
        ("modparam(\"auth\", \"force_stateless_reply\", 1)\n", "-s"),
    ] {
        let mut p = proxy(
            r#"t_newtran(); auth_challenge("a.test", "2"); exit;"#,
            params,
        );
        let sent = p.receive(ALICE, &request("MESSAGE", "m", ""));
        let challenge = sent.iter().find(|s| s.line().contains("407")).unwrap();
        assert!(challenge.get("To").ends_with(want), "{params}");
        assert!(
            challenge
                .get("Proxy-Authenticate")
                .ends_with("qop=\"auth-int\"")
        );
    }
}
