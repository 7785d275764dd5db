//! Digest authentication on the wire: challenges, what answers them, and what does not.

use std::sync::Arc;

use dialcore::effect::{Effect, Flow, Outbox, Proto, SocketId};
use dialcore::modules::digest::{self, About, Credential};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Instant, Now, WallTime};

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

/// A proxy that says how it has judged, and leaves what the script has of it.
fn counting(flags: &str, params: &str) -> Proxy {
    let statements = r#"
    $var(rc) = pv_www_authenticate("a.test", "pw", "@FLAGS@");
    xlog("check $var(rc)\n");
    if ($var(rc) < 0) { www_challenge("a.test", "1"); exit; }
    sl_send_reply("200", "OK"); exit;"#;
    proxy(&statements.replace("@FLAGS@", flags), params)
}

const COUNT: &str = "modparam(\"auth\", \"nonce_count\", 1)\n";
const ONCE: &str = "modparam(\"auth\", \"one_time_nonce\", 1)\n";

#[test]
fn a_count_comes_once_and_a_nonce_if_it_is_to() {
    let table = [
        ("", ["check 1", "check 1"]),
        (COUNT, ["check 1", "check -4"]),
        (ONCE, ["check 1", "check -6"]),
        ("both", ["check 1", "check -4"]),
    ];
    for (params, want) in table {
        let params = params.replace("both", &format!("{COUNT}{ONCE}"));
        let mut p = counting("0", &params);
        let challenge = only(p.receive(ALICE, &request("REGISTER", "first", "")));
        let answer = answered("REGISTER", &challenge, "alice", "pw");
        p.said();
        p.receive(ALICE, &answered("REGISTER", &challenge, "alice", "wrong"));
        assert_eq!(p.said(), ["check -2"], "{params}");
        p.receive(ALICE, &answer);
        let again = only(p.receive(ALICE, &answer));
        assert_eq!(p.said(), want, "{params}");
        // The password was right, so that a phone need not ask its user.
        let is_stale = again.text.contains(", stale=true");
        assert_eq!(is_stale, want[1] != "check 1", "{params}");
    }
}

#[test]
fn a_challenge_is_left_for_the_script() {
    let table = [
        ("2", ""),
        ("4", ", qop=\"auth\""),
        ("8", ", qop=\"auth-int\""),
        ("20", ", qop=\"auth\", stale=true"),
    ];
    for (flags, want) in table {
        let statements = format!(
            "pv_www_authenticate(\"a.test\", \"pw\", \"{flags}\");
             auth_get_www_authenticate(\"a.test\", \"1\", \"$var(w)\");
             append_to_reply(\"$avp(digest_challenge)\"); append_to_reply(\"$var(w)\");
             sl_send_reply(\"401\", \"No\"); exit;"
        );
        let mut p = proxy(&statements, "");
        let sent = only(p.receive(ALICE, &request("REGISTER", "first", "")));
        let lines = sent.all("WWW-Authenticate");
        assert_eq!(lines.len(), 2, "{flags}");
        assert!(lines[0].starts_with("Digest realm=\"a.test\", nonce=\""));
        assert!(
            lines[0].ends_with(&format!("\"{want}")),
            "{flags} {lines:?}"
        );
        assert!(lines[1].ends_with("\", qop=\"auth\""), "{flags} {lines:?}");
    }
}

#[test]
fn the_server_shows_that_it_knows_the_password() {
    let info = "modparam(\"auth\", \"add_authinfo_hdr\", 1)\n";
    for (params, is_same) in [(info.to_owned(), true), (format!("{info}{ONCE}"), false)] {
        let mut p = counting("0", &params);
        let challenge = only(p.receive(ALICE, &request("REGISTER", "first", "")));
        let nonce = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let answer = answered("REGISTER", &challenge, "alice", "pw");
        let sent = only(p.receive(ALICE, &answer));
        let line = sent.get("Authentication-Info").to_owned();
        let next = nonce(&line, "nextnonce");
        let old = nonce(challenge.get("WWW-Authenticate"), "nonce");
        assert_eq!(next == old, is_same, "{line}");
        assert!(line.contains(", qop=auth, rspauth=\""), "{line}");
        assert!(line.ends_with(", nc=00000001"), "{line}");
    }
}

/// Two shards of one process.
#[test]
fn the_core_that_made_a_nonce_knows_whether_it_was_used() {
    let text = r#"#!KAMAILIO
listen=udp:192.0.2.100:5060
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "auth.so"
modparam("auth", "one_time_nonce", 1)
request_route {
    $var(rc) = pv_www_authenticate("a.test", "pw", "4");
    xlog("check $var(rc)");
    if ($var(rc) < 0) { www_challenge("a.test", "1"); } else { sl_send_reply("200", "OK"); }
}
"#;
    let setup = Arc::new(Setup::from_text(text, 2).unwrap_or_else(|e| panic!("{e}")));
    let mut shards = [0, 1].map(|n| Shard::new(ShardId(n), Arc::clone(&setup), 1));
    let home = owner(b"c1", 2);
    let other_call = (2..).map(|n| format!("c{n}"));
    let other_call = other_call
        .into_iter()
        .find(|id| owner(id.as_bytes(), 2) != home)
        .expect("one in two");
    let mut log = vec![];
    let mut handle = |shard: ShardId, message: &str, log: &mut Vec<String>| {
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote: ALICE.parse().expect("an address"),
            conn: None,
        };
        let now = Now {
            mono: Instant::ZERO,
            wall: WallTime::from_micros(1_700_000_000_000_000),
        };
        let mut out = Outbox::new();
        let bytes = message.as_bytes();
        shards[usize::from(shard.0)].handle(now, Input::Received { flow, bytes }, &mut out);
        let mut sent = vec![];
        let mut waiting: Vec<(ShardId, Effect)> = out.drain().map(|e| (shard, e)).collect();
        while !waiting.is_empty() {
            match waiting.remove(0) {
                (from, Effect::Peer(to, message)) => {
                    let input = Input::Peer(from, message);
                    shards[usize::from(to.0)].handle(now, input, &mut out);
                    waiting.extend(out.drain().map(|e| (to, e)));
                }
                (_, Effect::Log(record)) => log.push(record.text.to_string()),
                (_, Effect::Send(send)) => {
                    sent.push(String::from_utf8_lossy(&send.bytes).into_owned());
                }
                (_, other) => panic!("{other:?}"),
            }
        }
        sent.concat()
    };
    let challenge = handle(home, &request("REGISTER", "first", ""), &mut log);
    let line = challenge.lines().find(|l| l.starts_with("WWW-Auth"));
    let value = line
        .and_then(|l| l.split_once(": "))
        .expect("a challenge")
        .1;
    let challenge = digest::challenge(value.as_bytes(), false).unwrap();
    let credential = Credential {
        user: b"alice".as_slice().into(),
        realm: Box::default(),
        password: b"pw".as_slice().into(),
        is_hash: false,
    };
    let about = About {
        method: b"REGISTER",
        uri: b"sip:bob@192.0.2.2",
        body: b"",
    };
    let line = digest::answer(&challenge, &credential, about, 1).unwrap();
    let line = String::from_utf8(line).unwrap();
    let away = ShardId(1 - home.0);
    let elsewhere =
        request("REGISTER", "two", &line).replace("Call-ID: c1", &format!("Call-ID: {other_call}"));
    assert!(handle(away, &elsewhere, &mut log).starts_with("SIP/2.0 200 "));
    let again = elsewhere.replace("z9hG4bKtwo", "z9hG4bKthree");
    let refused = handle(away, &again, &mut log);
    assert!(refused.starts_with("SIP/2.0 401 ") && refused.contains(", stale=true"));
    handle(home, &request("REGISTER", "four", &line), &mut log);
    assert_eq!(log, ["check -5", "check 1", "check -6", "check -6"]);
}
