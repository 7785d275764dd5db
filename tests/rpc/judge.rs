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
];

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
        let (want, got) = (judge.kamcmd(&words), server.kamcmd(&words));
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
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Field names with the types of their values; version and dates are not compared.
fn shape(text: &str) -> String {
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
