//! Destinations on the wire: which one a request goes to, failover, pings and what they change.

use dialcore::effect::{Lookup, NameRecord};
use dialcore::modules::Setup;

use super::{ALICE, BOB, CAROL, Proxy, Sent, answer, lines, request};

const LIST: &str = "\
1 sip:192.0.2.2
1 sip:192.0.2.3 0 0 duid=two;x=y
1 sip:192.0.2.4;transport=udp 0 5
3 sip:192.0.2.2 1
3 sip:192.0.2.3 4
5 sip:192.0.2.2 0 0 duid=b;maxload=1
5 sip:192.0.2.3 0 0 duid=a;maxload=2
";

/// A proxy whose script is this, with these parameters.
fn proxy(route: &str, params: &str, list: &str) -> Proxy {
    let text = format!(
        "#!KAMAILIO\nlisten=udp:192.0.2.100:5060\n\
         loadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\n\
         loadmodule \"xlog.so\"\nloadmodule \"textops.so\"\nloadmodule \"dispatcher.so\"\n\
         modparam(\"dispatcher\", \"list_file\", \"list\")\n\
         modparam(\"dispatcher\", \"flags\", 2)\n{params}\n{route}\n"
    );
    Proxy::from_files(&[("cfg", &text), ("list", list)])
}

/// The lines that these statements write, for one OPTIONS from alice.
fn said(statements: &str) -> Vec<String> {
    let mut p = proxy(&format!("request_route {{ {statements} }}"), "", LIST);
    p.receive(ALICE, &request("OPTIONS", "o", ""));
    p.log.iter().map(|l| l.trim_end().to_owned()).collect()
}

#[test]
fn what_functions_return() {
    // As the original returned it for such a list.
    let table = [
        (r#"ds_select_dst("1", "4")"#, "1"),
        (r#"ds_select_dst("3", "4")"#, "-1"),
        (r#"ds_select_dst("77", "4")"#, "-1"),
        (r#"ds_select_dst("1", "99")"#, "1"),
        (r#"ds_select_dst("1", "x")"#, "-1"),
        (r#"ds_select_domain("1", "8")"#, "1"),
        (r#"ds_select("1", "8")"#, "1"),
        ("ds_next_dst()", "-1"),
        ("ds_mark_dst()", "-1"),
        (r#"ds_list_exists("1")"#, "1"),
        (r#"ds_list_exists("77")"#, "-1"),
        (r#"ds_is_active("1")"#, "1"),
        (r#"ds_is_active("3")"#, "-1"),
        (r#"ds_is_active("77")"#, "-1"),
        (r#"ds_is_active("1", "sip:192.0.2.3")"#, "1"),
        (r#"ds_is_active("1", "sip:192.0.2.9")"#, "-1"),
        ("ds_is_from_list()", "-1"),
        (r#"ds_is_from_list("1", "0", "sip:192.0.2.2")"#, "1"),
        (r#"ds_is_from_list("1", "0", "sip:192.0.2.2:5070")"#, "-1"),
        (r#"ds_is_from_list("1", "1", "sip:192.0.2.2:5070")"#, "1"),
        (r#"ds_is_from_list("1", "0", "sip:192.0.2.4")"#, "-1"),
        (r#"ds_is_from_list("1", "2", "sip:192.0.2.4")"#, "1"),
        (r#"ds_is_from_list("3", "3", "sip:192.0.2.2")"#, "1"),
        (r#"ds_is_from_list("3", "7", "sip:192.0.2.2")"#, "-1"),
        (r#"ds_mark_addr("ip", "1", "sip:192.0.2.2")"#, "1"),
        (r#"ds_mark_addr("z", "1", "sip:192.0.2.2")"#, "-1"),
        (r#"ds_select_routes("1=8;5=8", "d")"#, "1"),
        (r#"ds_select_routes("77=8;1=8", "ruri", 2)"#, "1"),
        (r#"ds_select_routes("77=8;3=8", "x")"#, "-1"),
        (r#"ds_select_routes("1=8; 5=8", "0")"#, "-1"),
        (r#"ds_select_routes("1=8", "z")"#, "-1"),
        ("ds_reload()", "1"),
        ("ds_load_update()", "1"),
        ("ds_load_unset()", "-1"),
    ];
    for (call, want) in table {
        let got = said(&format!("$var(r) = {call}; xlog(\"$var(r)\\n\");"));
        assert_eq!(got.last().map(String::as_str), Some(want), "{call}");
    }
}

#[test]
fn the_choice_and_the_records() {
    let show = r#"xlog("$du $ru $xavp(_dsdst_[0]=>uri) $xavp(_dsdst_[1]=>uri) "
        "$xavp(_dsdst_[2]=>attrs)
$xavp(_dsdst_[0]=>grp) $xavp(_dsctx_=>cnt)\n");"#;
    let table = [
        (
            r#"ds_select_dst("1", "8");"#,
            "sip:192.0.2.4;transport=udp sip:bob@192.0.2.2 sip:192.0.2.4;transport=udp \
             sip:192.0.2.3 <null>\n1 3",
        ),
        (
            r#"ds_select_dst("1", "8", "2");"#,
            "sip:192.0.2.4;transport=udp sip:bob@192.0.2.2 sip:192.0.2.4;transport=udp \
             sip:192.0.2.3 <null>\n1 2",
        ),
        (
            r#"ds_select_domain("1", "8");"#,
            "<null> sip:bob@192.0.2.4;transport=udp sip:192.0.2.4;transport=udp \
             sip:192.0.2.3 <null>\n1 3",
        ),
        (
            r#"ds_select("1", "8");"#,
            "<null> sip:bob@192.0.2.2 sip:192.0.2.4;transport=udp sip:192.0.2.3 <null>\n1 3",
        ),
        (
            r#"ds_select_dst("1", "8"); ds_next_dst();"#,
            "sip:192.0.2.3 sip:bob@192.0.2.2 sip:192.0.2.3 sip:192.0.2.2 <null>\n1 3",
        ),
        (
            r#"ds_select_dst("1", "8"); ds_mark_dst("ip"); ds_select_dst("1", "8");"#,
            "sip:192.0.2.3 sip:bob@192.0.2.2 sip:192.0.2.3 sip:192.0.2.2 <null>\n1 2",
        ),
    ];
    for (statements, want) in table {
        let got = said(&format!("{statements} {show}"));
        assert_eq!(got.last().map(String::as_str), Some(want), "{statements}");
    }
    let without = proxy(
        r#"request_route { ds_select_dst("1", "8"); xlog("$xavp(_dsdst_=>uri)\n"); }"#,
        "modparam(\"dispatcher\", \"flags\", 0)",
        LIST,
    );
    let mut p = without;
    p.receive(ALICE, &request("OPTIONS", "o", ""));
    assert_eq!(p.log, ["<null>\n"]);
}

#[test]
fn several_sets_make_one_list() {
    let show = r#"xlog("$du $ru $xavp(_dsdst_[0]=>grp) $xavp(_dsdst_[3]=>grp) "
        "$xavp(_dsdst_[3]=>uri) $xavp(_dsctx_=>cnt)\n");"#;
    // Arguments, what is said then, as the original said it.
    let table = [
        (
            r#""1=8;5=8", "0""#,
            "sip:192.0.2.4;transport=udp sip:bob@192.0.2.2 1 5 sip:192.0.2.3 5",
        ),
        (
            r#""5=8;1=8", "ruri""#,
            "<null> sip:bob@192.0.2.3 5 1 sip:192.0.2.3 5",
        ),
        (
            r#""77=8;5=8", "X""#,
            "<null> sip:bob@192.0.2.2 5 <null> <null> 2",
        ),
        (
            r#""3=8;5=8;1=8", "d", 3"#,
            "sip:192.0.2.3 sip:bob@192.0.2.2 5 <null> <null> 3",
        ),
    ];
    for (arguments, want) in table {
        let got = said(&format!("ds_select_routes({arguments}); {show}"));
        assert_eq!(got.last().map(String::as_str), Some(want), "{arguments}");
    }
}

#[test]
fn what_the_records_hold() {
    let list = "1 sip:192.0.2.2 0 0 x=y;socket=udp:192.0.2.100:5060;sockname=out\n";
    let table = [
        (
            0,
            "x=y;socket=udp:192.0.2.100:5060;sockname=out <null> <null>",
        ),
        (1, "<null> <null> <null>"),
        (3, "<null> udp:192.0.2.100:5060 <null>"),
        (7, "<null> udp:192.0.2.100:5060 out"),
    ];
    for (mode, want) in table {
        let params = format!("modparam(\"dispatcher\", \"xavp_dst_mode\", {mode})");
        let route = r#"request_route { ds_select("1", "8");
            xlog("$xavp(_dsdst_=>attrs) $xavp(_dsdst_=>socket) $xavp(_dsdst_=>sockname)\n"); }"#;
        let mut p = proxy(route, &params, list);
        p.receive(ALICE, &request("OPTIONS", "o", ""));
        assert_eq!(p.log.last().map(|l| l.trim_end()), Some(want), "{mode}");
    }
}

#[test]
fn where_a_request_comes_from_is_written_down() {
    let params = "modparam(\"dispatcher\", \"setid_pvname\", \"$avp(set)\")\n\
                  modparam(\"dispatcher\", \"attrs_pvname\", \"$var(attrs)\")";
    let table = [
        ("ds_is_from_list()", "-1 <null> 0"),
        (
            r#"ds_is_from_list("1", "0", "sip:192.0.2.3")"#,
            "1 <null> duid=two;x=y",
        ),
        (
            r#"ds_is_from_list("-1", "0", "sip:192.0.2.3")"#,
            "1 1 duid=two;x=y",
        ),
        (r#"ds_is_from_list("-1", "2", "sip:192.0.2.4")"#, "1 1 0"),
        (
            r#"ds_is_from_list("-1", "2", "sip:192.0.2.9")"#,
            "-1 <null> 0",
        ),
    ];
    for (call, want) in table {
        let show = "xlog(\"$var(r) $avp(set) $var(attrs)\\n\");";
        let route = format!("request_route {{ $var(r) = {call}; {show} }}");
        let mut p = proxy(&route, params, LIST);
        p.receive(ALICE, &request("OPTIONS", "o", ""));
        assert_eq!(p.log.last().map(|l| l.trim_end()), Some(want), "{call}");
    }
}

#[test]
fn a_script_may_ask_for_a_reload() {
    let route = "request_route { $var(r) = ds_reload(); xlog(\"$var(r)\\n\"); }";
    for (delta, want) in [(5, ["1", "-1", "1"]), (0, ["1", "1", "1"])] {
        let params = format!("modparam(\"dispatcher\", \"reload_delta\", {delta})");
        let mut p = proxy(route, &params, LIST);
        for (n, want) in want.iter().enumerate() {
            p.receive(ALICE, &request("OPTIONS", &format!("o{n}"), ""));
            assert_eq!(
                p.log.last().map(|l| l.trim_end()),
                Some(*want),
                "{delta} {n}"
            );
            p.wait(2.6);
        }
        let asked = want.iter().filter(|rc| **rc == "1").count();
        assert_eq!(p.reloads, asked);
    }
}

#[test]
fn hashes_are_stable_and_turns_go_round() {
    let route = |algorithm: &str| {
        format!(r#"request_route {{ ds_select_dst("1", "{algorithm}"); t_relay(); }}"#)
    };
    let params = "modparam(\"dispatcher\", \"hash_pvar\", \"$rU-$hdr(X)\")";
    for algorithm in ["0", "1", "2", "3", "7"] {
        let mut p = proxy(&route(algorithm), params, LIST);
        let mut seen = vec![];
        for n in 0..6 {
            let text = request("MESSAGE", &format!("m{n}"), "X: y\r\n");
            seen.push(p.receive(ALICE, &text)[0].to);
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{algorithm}: {seen:?}");
    }
    let mut p = proxy(&route("4"), "", LIST);
    let turn = |n: usize, p: &mut Proxy| {
        p.receive(ALICE, &request("MESSAGE", &format!("m{n}"), ""))[0]
            .to
            .ip()
            .to_string()
    };
    let turns: Vec<String> = (0..4).map(|n| turn(n, &mut p)).collect();
    assert_eq!(turns, ["192.0.2.4", "192.0.2.3", "192.0.2.2", "192.0.2.4"]);
}

#[test]
fn only_an_invite_is_a_call() {
    let list = "4 sip:192.0.2.2 0 0 duid=a\n4 sip:192.0.2.3 0 0 duid=b\n\
                4 sip:192.0.2.4 0 0 duid=c;maxload=1\n";
    let route = r#"request_route {
        if (is_method("BYE")) { ds_load_update(); exit; }
        if ($hdr(X) == "unset") { $var(r) = ds_load_unset(); xlog("$var(r)\n"); exit; }
        ds_select_dst("4", "10");
        if ($hdr(X) == "next") { ds_next_dst(); }
        xlog("$(du{s.substr,-1,1}) $xavp(_dsctx_=>cnt) $xavp(_dsdst_=>dstid)\n");
    }"#;
    let mut p = proxy(route, "modparam(\"dispatcher\", \"ds_hash_size\", 4)", list);
    // Method, Call-ID, X; what the original took, how many it listed, whose load it was.
    let table = [
        ("INVITE", "a", "", "4 3 c"),
        ("INVITE", "b", "", "3 2 b"),
        ("INVITE", "c", "", "2 2 a"),
        ("INVITE", "d", "", "3 2 b"),
        ("INVITE", "e", "next", "3 2 b"),
        ("MESSAGE", "f", "", "4 3 <null>"),
        ("BYE", "a", "", ""),
        ("INVITE", "g", "", "4 3 c"),
        ("MESSAGE", "b", "unset", "1"),
        ("MESSAGE", "b", "unset", "-1"),
        ("INVITE", "h", "", "2 2 a"),
        ("INVITE", "i", "", "3 2 b"),
    ];
    for (method, call, x, want) in table {
        let text = request(method, call, &format!("X: {x}\r\n"));
        let text = text.replace("Call-ID: c1", &format!("Call-ID: {call}"));
        p.log.clear();
        p.receive(ALICE, &text);
        let said = p.log.concat();
        assert_eq!(said.trim_end(), want, "{method} {call} {x}");
    }
}

#[test]
fn where_a_default_socket_is_named() {
    let route = r#"request_route { ds_select_dst("1", "8"); xlog("$fs\n"); }"#;
    let named = "listen=udp:192.0.2.101:5070 name \"out\"\n";
    let socket = "modparam(\"dispatcher\", \"ds_default_socket\", \"udp:192.0.2.100:5060\")\n";
    let name = "modparam(\"dispatcher\", \"ds_default_sockname\", \"out\")\n";
    let table = [
        (String::new(), "<null>"),
        (socket.to_owned(), "udp:192.0.2.100:5060"),
        (name.to_owned(), "udp:192.0.2.101:5070"),
        (format!("{socket}{name}"), "udp:192.0.2.101:5070"),
    ];
    for (params, want) in table {
        let mut p = proxy(route, &format!("{named}{params}"), LIST);
        p.receive(ALICE, &request("OPTIONS", "o", ""));
        assert_eq!(p.log.concat().trim_end(), want, "{params}");
    }
}

#[test]
fn a_bad_line_may_be_an_error() {
    let load = |mode: u8| {
        let text = format!(
            "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"dispatcher.so\"\n\
             modparam(\"dispatcher\", \"list_file\", \"list\")\n\
             modparam(\"dispatcher\", \"ds_load_mode\", {mode})\nrequest_route {{ exit; }}\n"
        );
        Setup::from_files(
            &[("cfg", &text), ("list", "1 sip:192.0.2.2\n1 rubbish\n")],
            1,
        )
    };
    let setup = load(0).expect("the other line counts");
    assert_eq!(setup.config.dispatcher.sets.destinations().len(), 1);
    let errors = load(1).expect_err("the line is an error").to_string();
    assert!(errors.starts_with("list:2"), "{errors}");
}

/// The addresses that a name server gives.
fn addresses(ips: &[&str]) -> Vec<NameRecord> {
    let record = |ip: &&str| NameRecord::Address(ip.parse().unwrap());
    ips.iter().map(record).collect()
}

const FROM_WHOM: &str = r#"request_route { $var(r) = ds_is_from_list(); xlog("$var(r)\n"); }"#;
const NAMES: &str = "1 sip:a.test\n1 sip:b.test:5080 16\n1 sip:192.0.2.9\n";

/// Whether a message from there comes from the list.
fn is_from(p: &mut Proxy, source: &str) -> bool {
    p.log.clear();
    p.receive(source, &request("OPTIONS", source, ""));
    p.log.concat().trim_end() == "1"
}

#[test]
fn names_are_looked_up_ahead() {
    let mut p = proxy(FROM_WHOM, "modparam(\"tm\", \"fr_timer\", 1000)", NAMES);
    p.wait(0.1);
    let asked: Vec<&Lookup> = p.lookups.iter().map(|(_, lookup)| lookup).collect();
    // Flag 16: not this name.
    assert_eq!(asked, [&Lookup::Addresses("a.test".into())]);
    assert!(!is_from(&mut p, "192.0.2.2:5060"));
    p.found(Ok(addresses(&["192.0.2.2", "192.0.2.3"])));
    let table = [
        ("192.0.2.2:5060", true),
        ("192.0.2.3:5060", true),
        ("192.0.2.3:5070", false),
        ("192.0.2.9:5060", true),
        ("192.0.2.4:5060", false),
    ];
    for (source, want) in table {
        assert_eq!(is_from(&mut p, source), want, "{source}");
    }
    p.wait(10_000.0);
    assert!(p.lookups.is_empty());
}

#[test]
fn names_are_looked_up_again() {
    let mode = |mode: &str| {
        format!(
            "modparam(\"dispatcher\", \"ds_dns_mode\", {mode})\n\
                 modparam(\"dispatcher\", \"ds_dns_interval\", 60)\n\
                 modparam(\"dispatcher\", \"ds_dns_ttl\", 30)\n"
        )
    };
    // 4: by the clock; who no longer has the name is no longer of the list.
    let mut p = proxy(FROM_WHOM, &mode("4"), NAMES);
    p.wait(0.1);
    p.found(Ok(addresses(&["192.0.2.2"])));
    assert!(is_from(&mut p, "192.0.2.2:5060"));
    p.wait(60.0);
    p.found(Ok(addresses(&["192.0.2.3"])));
    assert!(!is_from(&mut p, "192.0.2.2:5060") && is_from(&mut p, "192.0.2.3:5060"));
    // 2: with a match, for the next one; again when ds_dns_ttl is over.
    let mut p = proxy(FROM_WHOM, &mode("2"), NAMES);
    p.wait(0.1);
    assert!(p.lookups.is_empty() && !is_from(&mut p, "192.0.2.2:5060"));
    p.found(Ok(addresses(&["192.0.2.2"])));
    assert!(is_from(&mut p, "192.0.2.2:5060") && p.lookups.is_empty());
    p.wait(31.0);
    assert!(is_from(&mut p, "192.0.2.2:5060") && p.lookups.len() == 1);
    // 8: by SRV, which names the port.
    let mut p = proxy(FROM_WHOM, &mode("8"), NAMES);
    p.wait(0.1);
    assert!(p.lookups.is_empty());
    p.resolve(Ok(&["192.0.2.2:5090"]));
    assert!(is_from(&mut p, "192.0.2.2:5090") && !is_from(&mut p, "192.0.2.2:5060"));
}

#[test]
fn all_of_them_at_once() {
    let mut p = proxy(
        r#"request_route { ds_select_dst("1", "12"); t_relay(); }"#,
        "",
        LIST,
    );
    let sent = p.receive(ALICE, &request("INVITE", "i", ""));
    let to: Vec<String> = sent[1..].iter().map(|s| s.to.ip().to_string()).collect();
    assert_eq!(to, ["192.0.2.4", "192.0.2.3", "192.0.2.2"]);
}

#[test]
fn a_call_goes_on_to_the_next_destination() {
    let route = r#"
        request_route { ds_select_dst("1", "8"); t_on_failure("F"); t_relay(); }
        failure_route[F] {
            if (t_check_status("50[03]") || t_branch_timeout()) {
                ds_mark_dst("i");
                if (ds_next_dst()) { t_on_failure("F"); t_relay(); }
            }
        }
        event_route[dispatcher:dst-down] { xlog("down $ru $rm\n"); }"#;
    let mut p = proxy(route, "", LIST);
    let out = p.receive(ALICE, &request("INVITE", "i", "")).remove(1);
    let sent = p.receive("192.0.2.4:5060", &answer(&out, 503, "t"));
    assert_eq!(sent[1].to.to_string(), CAROL);
    let sent = p.receive(CAROL, &answer(&sent[1], 500, "t"));
    assert_eq!(sent[1].to.to_string(), BOB);
    let sent = p.receive(BOB, &answer(&sent[1], 503, "t"));
    assert!(
        sent[1].line().starts_with("SIP/2.0 500"),
        "{:?}",
        lines(&sent)
    );
    let downs: Vec<&String> = p.log.iter().filter(|l| l.starts_with("down")).collect();
    assert_eq!(
        downs,
        [
            "down sip:192.0.2.4;transport=udp OPTIONS\n",
            "down sip:192.0.2.3 OPTIONS\n",
            "down sip:192.0.2.2 OPTIONS\n",
        ]
    );
}

#[test]
fn calls_are_counted_where_they_go() {
    let route = r#"request_route {
        if (is_method("BYE")) { ds_load_update(); exit; }
        $var(r) = ds_select_dst("5", "10"); xlog("$du $xavp(_dsdst_=>dstid) $var(r)\n"); }"#;
    let mut p = proxy(
        &route.replace("is_method(\"BYE\")", "method == \"BYE\""),
        "",
        LIST,
    );
    let mut call = |method: &str, id: &str| {
        let text = request(method, &format!("{method}{id}"), "")
            .replace("Call-ID: c1", &format!("Call-ID: {id}"));
        p.receive(ALICE, &text);
    };
    for id in ["1", "2", "3", "4"] {
        call("INVITE", id);
    }
    call("BYE", "1");
    call("INVITE", "5");
    assert_eq!(
        p.log
            .iter()
            .filter(|l| !l.contains("dispatcher"))
            .collect::<Vec<_>>(),
        [
            "sip:192.0.2.3 a 1\n",
            "sip:192.0.2.2 b 1\n",
            "sip:192.0.2.3 a 1\n",
            "<null> <null> -1\n",
            "sip:192.0.2.3 a 1\n",
        ]
    );
}

const EVENTS: &str = r#"
    request_route { $var(r) = ds_select_dst("1", "8"); xlog("rc $var(r) $du\n"); }
    event_route[dispatcher:dst-down] { xlog("down $rm $ru\n"); }
    event_route[dispatcher:dst-up] { xlog("up $rm $ru\n"); }"#;

fn pinging(more: &str, list: &str) -> Proxy {
    let params = format!(
        "modparam(\"tm\", \"fr_timer\", 1000)\n\
         modparam(\"dispatcher\", \"ds_ping_interval\", 10)\n{more}"
    );
    proxy(EVENTS, &params, list)
}

const ALL: &str = "modparam(\"dispatcher\", \"ds_probing_mode\", 1)\n";

#[test]
fn a_ping_looks_like_the_original_s() {
    let list = "1 sip:192.0.2.2\n\
        1 sip:192.0.2.3;transport=udp 0 0 ping_from=sip:me@x;obproxy=sip:192.0.2.9\n\
        1 sip:192.0.2.4 32\n1 sip:192.0.2.5 4\n";
    let mut p = pinging(ALL, list);
    let sent = p.wait(10.1);
    assert_eq!(
        lines(&sent),
        [
            "192.0.2.9: OPTIONS sip:192.0.2.3;transport=udp SIP/2.0",
            "192.0.2.2: OPTIONS sip:192.0.2.2 SIP/2.0",
        ]
    );
    let ping = &sent[1];
    assert_eq!(
        [ping.get("To"), ping.get("CSeq"), ping.get("Max-Forwards")],
        ["<sip:192.0.2.2>", "10 OPTIONS", "70"]
    );
    assert!(
        ping.get("From")
            .starts_with("<sip:dispatcher@localhost>;tag=")
    );
    assert!(sent[0].get("From").starts_with("<sip:me@x>;tag="));
}

/// Answers every ping with this status, for so many rounds; 0: not at all.
fn rounds(p: &mut Proxy, statuses: &[u16]) {
    for status in statuses {
        let pings: Vec<Sent> = p.wait(10.0).into_iter().collect();
        let first = pings.iter().find(|s| s.line().starts_with("OPTIONS"));
        if let Some(ping) = first.filter(|_| *status > 0) {
            p.receive(BOB, &answer(ping, *status, "t"));
        }
    }
    p.wait(2.0);
}

#[test]
fn pings_turn_destinations() {
    let thresholds = "modparam(\"dispatcher\", \"ds_probing_threshold\", 2)\n\
                      modparam(\"dispatcher\", \"ds_inactive_threshold\", 2)\n";
    let codes = "modparam(\"dispatcher\", \"ds_ping_reply_codes\", \"class=2;code=404\")\n";
    let (down, up) = ("down OPTIONS sip:192.0.2.2", "up OPTIONS sip:192.0.2.2");
    let table: [(String, &[u16], &[&str]); 9] = [
        (ALL.into(), &[200, 200], &[]),
        (ALL.into(), &[0], &[down]),
        (ALL.into(), &[404], &[down]),
        (ALL.into(), &[503, 200], &[down, up]),
        (format!("{ALL}{codes}"), &[404, 202], &[]),
        (format!("{ALL}{thresholds}"), &[503, 200, 503], &[]),
        (format!("{ALL}{thresholds}"), &[503, 0], &[down]),
        (
            format!("{ALL}{thresholds}"),
            &[503, 503, 200, 200],
            &[down, up],
        ),
        // Mode 0: who is not marked for probing is left alone.
        (String::new(), &[0, 0], &[]),
    ];
    for (params, statuses, want) in table {
        let mut p = pinging(&params, "1 sip:192.0.2.2\n");
        rounds(&mut p, statuses);
        let events = p
            .log
            .iter()
            .filter(|l| l.starts_with("down") || l.starts_with("up"));
        let events: Vec<&str> = events.map(|l| l.trim_end()).collect();
        assert_eq!(events, want, "{params} {statuses:?}");
        p.receive(ALICE, &request("OPTIONS", "o", ""));
        let is_up = want.last().is_none_or(|last| *last == up);
        let rc = if is_up {
            "rc 1 sip:192.0.2.2\n"
        } else {
            "rc -1 <null>\n"
        };
        assert_eq!(p.log.last().unwrap(), rc, "{params} {statuses:?}");
    }
}
