//! The same commands against Debian's kamailio and dialcore: errors word by word, answers by their
//! fields, order and types.

use crate::server::{PATIENCE, Server, Wishes};

/// Commands whose answers are the same to the letter.
const SAME: &[&str] = &[
    "nosuch",
    "core.echo a b",
    "core.prints a b",
    "core.prints 1",
    "core.printi 1 2",
    "core.printi x",
    "core.tcp_info",
    "core.aliases_list",
    "core.modules",
    "system.methodHelp",
    "system.methodHelp nosuch",
    "system.methodSignature dlg.list",
    "stats.get_statistics",
    "stats.get_statistics dialog:",
    "stats.get_statistics nosuch",
    "stats.fetch",
    "stats.fetch dialog:",
    "stats.fetchn dialog:",
    "stats.fetchn active_dialogs",
    "stats.reset_statistics",
    "stats.reset_statistics dialog:",
    "stats.clear_statistics",
    "stats.clear_statistics processed_dialogs",
    "tm.stats",
    "tm.list",
    "pv.shvGet a",
    "pv.shvGet nosuch",
    "pv.shvSet a",
    "pv.shvSet a int x",
    "pv.shvSet a foo x",
    "pv.shvSet nosuch int 1",
    "pv.shvSet b str hello",
    "pv.shvGet b",
    "cfg.get",
    "cfg.get core debug",
    "cfg.get core nosuch",
    "cfg.help core nosuch",
    "cfg.help",
    "cfg.help core",
    "cfg.set core",
    "cfg.set core debug x",
    "cfg.seti core debug",
    "cfg.seti core debug x",
    "cfg.seti core nosuch 1",
    "cfg.seti core debug 0",
    "cfg.sets core debug 1",
    "cfg.sets tm default_reason abc",
    "cfg.get tm default_reason",
    "cfg.set_now_string core x y",
    "corex.list_sockets",
    "corex.list_aliases",
    "corex.debug",
    "corex.debug 0",
    "corex.debug x",
    "corex.shm_status",
    "corex.shm_summary",
    "corex.pkg_summary",
    "corex.pkg_summary idx 1",
    "dispatcher.list",
    "dispatcher.ping_active",
    "dispatcher.ping_active x",
    "dispatcher.ping_active 0",
    "dispatcher.ping_active 1",
    "dispatcher.set_state",
    "dispatcher.set_state zz 1 all",
    "dispatcher.set_state ip 1 sip:x",
    "dispatcher.set_state ip 1 all",
    "dispatcher.set_state ap 9 all",
    "dispatcher.list",
    "dispatcher.set_duid_state",
    "dispatcher.set_duid_state ip 1 x",
    "dispatcher.set_duid_state ip 1 nope",
    "dispatcher.set_duid_state zz 1 x",
    "dispatcher.add",
    "dispatcher.add 1",
    "dispatcher.add x sip:127.0.0.1:5",
    "dispatcher.add 1 sip:127.0.0.1:5",
    "dispatcher.list",
    "dispatcher.remove",
    "dispatcher.remove 1",
    "dispatcher.remove 1 sip:127.0.0.1:5",
    "dispatcher.remove 9 sip:127.0.0.1:5",
    "dispatcher.list",
    "dispatcher.add 1 sip:127.0.0.1:6 8 7 duid=abc;x=y",
    "dispatcher.add 1 sip:127.0.0.1:7;transport=tcp 0 8",
    "dispatcher.list short",
    "dispatcher.list full",
    "dispatcher.remove 1 sip:127.0.0.1:6",
    "dispatcher.remove 1 sip:127.0.0.1:7;transport=tcp",
    "dispatcher.hash",
    "dispatcher.hash 4",
    "dispatcher.hash x y",
    "dispatcher.hash 0 alice",
    "dispatcher.hash 4 alice server.com",
    "dispatcher.hash 7 alice server.com:5070",
    "dispatcher.reload",
    "htable.listTables",
    "htable.dump",
    "htable.dump 5",
    "htable.dump nosuch",
    "htable.dump t",
    "htable.get",
    "htable.get t",
    "htable.get t nosuch",
    "htable.get t 6",
    "htable.get nosuch k",
    "htable.sets t k",
    "htable.sets nosuch k v",
    "htable.sets t 6 x",
    "htable.sets t k v",
    "htable.sets t k 5",
    "htable.sets t k 1.5",
    "htable.sets e k v",
    "htable.get e k",
    "htable.seti t n x",
    "htable.seti t n 5",
    "htable.setxs t q",
    "htable.setxs t q qq 9",
    "htable.setxi t q x 9",
    "htable.setxi t q 4 9",
    "htable.setex t",
    "htable.setex t k x",
    "htable.setex nosuch k 7",
    "htable.setex t nosuch 7",
    "htable.delete t",
    "htable.delete nosuch q",
    "htable.delete t q",
    "htable.delete t q",
    "htable.flush",
    "htable.flush nosuch",
    "htable.flush t",
    "htable.dump t",
    "htable.reload t",
    "htable.store t",
    "tm.cancel",
    "tm.cancel a",
    "tm.cancel a 1",
    "tm.cancel a s:1",
    "tm.clean",
    "tm.reply",
    "tm.reply 486",
    "tm.reply 486 Busy 1:1 ttt .",
    "tm.reply 486 Busy x ttt .",
    "tm.reply_callid",
    "tm.reply_callid 486",
    "tm.t_uac_wait MESSAGE sip:x@127.0.0.1:9 . . x",
    "tm.t_uac_start MESSAGE rubbish . . x",
    "dlg.list",
    "dlg.list_ctx",
    "dlg.stats_active",
    "dlg.list_match",
    "dlg.list_match x eq y",
    "dlg.list_match callid zz y",
    "dlg.list_match callid eq",
    "dlg.list_match callid eq 5",
    "dlg.list_match callid eq y",
    "dlg.list_match callid gt s:1",
    "dlg.list_match callid re (",
    "dlg.list_match start_ts eq s:1",
    "dlg.list_match start_ts gt s:1",
    "dlg.list_match start_ts gt 1",
    "dlg.dlg_list",
    "dlg.dlg_list nosuch",
    "dlg.dlg_list_ctx nosuch",
    "dlg.dump_file",
    "dlg.is_alive",
    "dlg.is_alive a b",
    "dlg.is_alive a b c",
    "dlg.set_state a b c",
    "dlg.set_state a b c x",
    "dlg.set_state a b c 9",
    "dlg.set_state a b c 5",
    "dlg.terminate_dlg a b",
    "dlg.terminate_dlg a b c",
    "dlg.end_dlg",
    "dlg.end_dlg a b",
    "dlg.end_dlg 171 9",
    "dlg.profile_get_size",
    "dlg.profile_get_size nosuch",
    "dlg.profile_get_size 5",
    "dlg.profile_get_size all",
    "dlg.profile_get_size caller alice",
    "dlg.profile_list nosuch",
    "dlg.profile_list caller alice",
    "dlg.bridge_dlg a",
    "dlg.bridge_dlg 1 2",
];

/// Commands whose answers have the same fields of the same types.
const ALIKE: &[&str] = &[
    "core.uptime",
    "core.info",
    "core.runinfo",
    "core.shmmem",
    "core.sockets_list",
    "core.udp4_raw_info",
    "htable.sets t k v",
    "htable.get t k",
    "htable.dump t",
    "htable.stats",
    "shm.info",
    "shm.stats",
    "pkg.info",
];

/// Commands that list as many things as there are processes or threads: the first is compared.
const FIRST: &[&str] = &["core.psa", "core.psx", "core.ps", "pkg.stats", "core.pwd"];

#[test]
fn kamcmd_sees_the_same() {
    let Some(judge) = Server::kamailio(&Wishes::default()) else {
        eprintln!("kamailio is not installed: nothing is compared");
        return;
    };
    let server = Server::dialcore("");
    let mut differing = vec![];
    for line in SAME {
        let words: Vec<&str> = line.split(' ').collect();
        let want = judge
            .kamcmd(&words)
            .replace(&judge.port.to_string(), "PORT");
        let got = server
            .kamcmd(&words)
            .replace(&server.port.to_string(), "PORT");
        if want.trim_end_matches(['.', '\n']) != got.trim_end_matches(['.', '\n']) {
            differing.push(format!("{line}\n  kamailio: {want:?}\n  dialcore: {got:?}"));
        }
    }
    for line in ALIKE {
        let words: Vec<&str> = line.split(' ').collect();
        let (want, got) = (shape(&judge.kamcmd(&words)), shape(&server.kamcmd(&words)));
        if want != got {
            differing.push(format!("{line}\n  kamailio: {want}\n  dialcore: {got}"));
        }
    }
    for line in FIRST {
        let size = if *line == "core.ps" { 2 } else { usize::MAX };
        let first = |server: &Server| {
            let text = server.kamcmd(&[line]);
            let end = text.find("\n}").unwrap_or(text.len());
            let shape = shape(&text[..end]);
            shape.lines().take(size).map(kind).collect::<Vec<_>>()
        };
        let (want, got) = (first(&judge), first(&server));
        if want != got {
            differing.push(format!("{line}\n  kamailio: {want:?}\n  dialcore: {got:?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// A value on a line of its own, by its type.
fn kind(line: &str) -> String {
    match line.trim() {
        text if text.contains(": ") || text == "{" || text == "}" => text.to_owned(),
        text if text.parse::<i64>().is_ok() => "number".to_owned(),
        _ => "text".to_owned(),
    }
}

/// Field names with the types of their values; version and dates are not compared.
pub(crate) fn shape(text: &str) -> String {
    let field = |line: &str| match line.split_once(": ") {
        Some((name, value)) if value.trim().parse::<i64>().is_ok() => format!("{name}: number"),
        Some((name, "{")) => format!("{name}: {{"),
        Some((name, _)) => format!("{name}: text"),
        None => line.trim_end().to_owned(),
    };
    text.lines().map(field).collect::<Vec<_>>().join("\n")
}

/// JSON-RPC: methods with their parameters, answers the same to the letter.
const JSON: &[(&str, &str)] = &[
    ("core.echo", r#"["a","b"]"#),
    ("core.echo", r#"{"x":"a","y":"b"}"#),
    ("core.prints", r#"["a"]"#),
    ("core.printi", r#"["3"]"#),
    ("nosuch", "[]"),
    ("stats.fetch", r#"["dialog:"]"#),
    ("stats.fetchn", r#"["dialog:"]"#),
    ("stats.get_statistics", r#"["dialog:"]"#),
    ("stats.get_statistics", "[]"),
    ("tm.stats", "[]"),
    ("tm.list", "[]"),
    ("core.aliases_list", "[]"),
    ("dlg.list", "[]"),
    ("dlg.briefing", "[]"),
    ("dlg.stats_active", "[]"),
    ("dlg.dlg_list", "[]"),
    ("dlg.dlg_list", r#"["nosuch"]"#),
    ("dlg.list_match", r#"["x","eq","y"]"#),
    ("dlg.list_match", r#"["callid","eq",5]"#),
    ("dlg.list_match", r#"["callid","eq","y"]"#),
    ("dlg.is_alive", "[]"),
    ("dlg.is_alive", r#"["a","b","c"]"#),
    ("dlg.set_state", r#"["a","b","c","abc"]"#),
    ("dlg.set_state", r#"["a","b","c",5]"#),
    ("dlg.end_dlg", r#"["a","b"]"#),
    ("dlg.end_dlg", "[171,9]"),
    ("dlg.terminate_dlg", r#"["a","b","c"]"#),
    ("dlg.profile_get_size", "[]"),
    ("dlg.profile_get_size", r#"["all"]"#),
    ("dlg.profile_get_size", r#"["nosuch"]"#),
    ("dlg.profile_list", r#"["all"]"#),
    ("dlg.bridge_dlg", r#"["a"]"#),
    ("pv.shvGet", r#"["a"]"#),
];

#[test]
fn json_clients_see_the_same() {
    let Some(judge) = Server::kamailio(&Wishes::default()) else {
        eprintln!("kamailio is not installed: nothing is compared");
        return;
    };
    let server = Server::dialcore("");
    let mut texts: Vec<String> = JSON
        .iter()
        .map(|(method, params)| {
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":1}}"#)
        })
        .collect();
    let odd = [
        r#"{"jsonrpc":"2.0","method":"core.echo","params":["a"]}"#,
        r#"{"jsonrpc":"2.0","method":"core.echo","params":["a"],"id":null}"#,
        r#"{"jsonrpc":"2.0","method":"core.echo","params":["a"],"id":1.5}"#,
        r#"{"jsonrpc":"2.0","method":"core.echo","params":["a\"\u00e9\n/"],"id":"x\ty"}"#,
        r#"{"jsonrpc":"2.0","method":"core.version","params":"a","id":1}"#,
        r#"{"jsonrpc":"1.0","method":"core.version","id":3}"#,
        r#"{"jsonrpc":"2.0","id":3}"#,
        "[]",
    ];
    texts.extend(odd.map(str::to_owned));
    let mut differing = vec![];
    for text in texts {
        let (want, got) = (judge.json(&text, PATIENCE), server.json(&text, PATIENCE));
        if want != got {
            differing.push(format!("{text}\n  kamailio: {want:?}\n  dialcore: {got:?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
