//! Global parameters whose effect the wire or the log shows.

use super::proxy::{ALICE, CAROL, Proxy, Sent, request};

/// What a request_route says and answers under some global parameters.
fn run(globals: &str, body: &str) -> (Vec<String>, Vec<Sent>) {
    let mut p = proxy(globals, body);
    let sent = p.receive(ALICE, &request("OPTIONS", "o", ""));
    (std::mem::take(&mut p.log), sent)
}

fn proxy(globals: &str, body: &str) -> Proxy {
    let modules = ["tm", "sl", "pv", "xlog", "cfgutils"];
    let modules: String = modules.map(|m| format!("loadmodule \"{m}.so\"\n")).concat();
    Proxy::from_text(&format!(
        "#!KAMAILIO\nlisten=udp:192.0.2.100:5060\n{globals}\n{modules}\
         route[DEEP] {{ $var(d) = $var(d) + 1; route(DEEP); }}\n\
         request_route {{\n{body}\n}}\n"
    ))
}

#[test]
fn an_action_that_waits_too_long_is_named() {
    let body = "usleep(\"4000\");\nif (usleep(\"20000\")) xlog(\"awake\");";
    let mut p = proxy("latency_limit_action=5000", body);
    p.receive(ALICE, &request("OPTIONS", "o", ""));
    p.wait(0.1);
    let named = p.log.iter().find(|line| line.contains("usleep"));
    let named = named.expect("one is named").clone();
    assert!(
        named.starts_with("action usleep() in text, line "),
        "{named}"
    );
    assert!(named.ends_with(" took 20000 us"), "{named}");
    assert_eq!(p.log.len(), 2, "{:?}", p.log);
}

#[test]
fn a_script_that_takes_long_is_named() {
    let rows: [(&str, &[&str]); 4] = [
        (
            "latency_limit_cfg=24000 latency_cfg_log=-1",
            &["request_route took 24000 us"],
        ),
        ("latency_limit_cfg=24001 latency_cfg_log=-1", &[]),
        // The line is of level DBG unless the file says otherwise.
        ("latency_limit_cfg=1", &[]),
        ("latency_limit_action=24000 latency_log=3", &[]),
    ];
    for (globals, want) in rows {
        let mut p = proxy(&globals.replace(' ', "\n"), "usleep(\"24000\"); exit;");
        p.receive(ALICE, &request("OPTIONS", "o", ""));
        p.wait(0.1);
        assert_eq!(p.log, want, "{globals}");
    }
}

#[test]
fn replies_of_our_own_bear_the_line_that_is_wanted() {
    let rows = [
        ("", Some("dialcore (0.1.0)")),
        ("server_header=\"Server: x\"", Some("x")),
        ("server_header=\"Organization: y\"", None),
        ("server_signature=no", None),
    ];
    for (globals, want) in rows {
        let (_, sent) = run(globals, "sl_send_reply(\"200\", \"OK\");");
        let server = sent[0].all("Server");
        assert_eq!(server.first().map(|s| &**s), want, "{globals}");
        let has_other = sent[0].all("Organization") == ["y"];
        assert_eq!(has_other, globals.contains("Organization"), "{globals}");
    }
}

#[test]
fn requests_of_our_own_bear_the_line_that_is_wanted() {
    let send = "t_uac_send(\"MESSAGE\", \"sip:x@192.0.2.2\", \"\", \"\", \
                \"From: <sip:a@a.test>\\r\\nTo: <sip:x@192.0.2.2>\\r\\n\", \"\"); exit;";
    let rows = [
        ("", vec!["dialcore (0.1.0)"]),
        ("user_agent_header=\"User-Agent: x\"", vec!["x"]),
        ("server_signature=no", vec![]),
    ];
    for (globals, want) in rows {
        let (log, sent) = run(globals, send);
        assert_eq!(sent.len(), 1, "{globals}: {log:?}");
        assert_eq!(sent[0].all("User-Agent"), want, "{globals}");
    }
}

#[test]
fn nested_routes_have_a_bound() {
    let body = "route(DEEP); xlog(\"$var(d)\"); exit;";
    for bound in ["9", "20"] {
        let (log, _) = run(&format!("max_recursive_level={bound}"), body);
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log[0].contains("too many nested route calls"), "{log:?}");
        let depth: u32 = log[1].parse().expect("a number");
        let want: u32 = bound.parse().expect("a number");
        assert_eq!(depth, want - 1, "{log:?}");
    }
}

#[test]
fn the_prefix_is_made_once_or_for_each_line() {
    let body = "xlog(\"one\"); $var(p) = $var(p) + 1; xlog(\"two\"); exit;";
    let rows = [
        ("log_prefix=\"<$var(p)> \"", ["<0> one", "<0> two"]),
        (
            "log_prefix=\"<$var(p)> \"\nlog_prefix_mode=1",
            ["<0> one", "<1> two"],
        ),
    ];
    for (globals, want) in rows {
        let (log, _) = run(globals, body);
        assert_eq!(log, want, "{globals}");
    }
}

/// A proxy with the events of the core in front of a request_route that answers.
fn with_events(globals: &str) -> Proxy {
    Proxy::from_text(&format!(
        "#!KAMAILIO\nlisten=udp:192.0.2.100:5060\n{globals}\n\
         loadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"xlog.so\"\n\
         event_route[core:worker-one-init] {{ xlog(\"begin\"); }}\n\
         event_route[core:msg-received] {{\n\
             xlog(\"received $rm from $si\"); $avp(a) = $si; if ($si == \"192.0.2.3\") drop;\n\
         }}\n\
         event_route[core:pre-routing] {{ xlog(\"pre $rm\"); if ($rm == \"INFO\") drop; exit; }}\n\
         event_route[core:receive-parse-error] {{ xlog(\"broken from $si\"); }}\n\
         request_route {{ xlog(\"$rm [$avp(a)]\"); sl_send_reply(\"200\", \"OK\"); }}\n\
         reply_route {{ xlog(\"reply $rs\"); }}\n"
    ))
}

#[test]
fn events_come_before_the_message() {
    let mut p = with_events("");
    assert_eq!(p.receive(ALICE, &request("OPTIONS", "o", "")).len(), 1);
    assert_eq!(p.receive(ALICE, &request("INFO", "i", "")).len(), 0);
    assert_eq!(p.receive(ALICE, "nonsense\r\n\r\n").len(), 0);
    let want = [
        "begin",
        "pre OPTIONS",
        "OPTIONS [<null>]",
        "pre INFO",
        "broken from 192.0.2.1",
    ];
    assert_eq!(p.log, want);
}

#[test]
fn a_message_may_be_dropped_before_it_is_looked_at() {
    let mut p = with_events("received_route_mode=1");
    assert_eq!(p.receive(ALICE, &request("MESSAGE", "m", "")).len(), 1);
    assert_eq!(p.receive(CAROL, &request("MESSAGE", "n", "")).len(), 0);
    let want = [
        "begin",
        // It sees a request of nobody, and what it sets goes on to the message.
        "received OPTIONS from 192.0.2.1",
        "pre MESSAGE",
        "MESSAGE [192.0.2.1]",
        "received OPTIONS from 192.0.2.3",
    ];
    assert_eq!(p.log, want);
}
