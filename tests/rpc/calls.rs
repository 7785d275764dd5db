//! The same calls through Debian's kamailio and dialcore, and what the commands say of them.

use crate::judge::shape;
use crate::phones::{CALLS, Phones, Stage};
use crate::server::Server;

/// One program with its phones.
struct Side {
    server: Server,
    phones: Phones,
}

/// What the commands say is the same to the letter but for numbers and times that each program
/// chooses itself.
const SAME: &[&str] = &[
    "dlg.dlg_list c1",
    "dlg.dlg_list c2",
    "dlg.dlg_list c3",
    "dlg.dlg_list c1 ftc1",
    "dlg.dlg_list c1 ttc1",
    "dlg.dlg_list_ctx c1",
    "dlg.list",
    "dlg.list_ctx",
    "dlg.list_match callid eq c1",
    "dlg.list_match callid sw c",
    "dlg.list_match callid re ^C[13]$",
    "dlg.list_match furi eq sip:alice@a.test",
    "dlg.list_match turi sw sip:bob@",
    "dlg.list_match ruri sw sip:bob@127.0.0.1",
    "dlg.list_match start_ts gt s:1",
    "dlg.list_match start_ts lt s:1",
    "dlg.list_match_ctx callid eq c1",
    "dlg.list_match callid eq C1",
    "dlg.briefing ftcFIs",
    "dlg.briefing s",
    "dlg.briefing zz",
    "dlg.stats_active",
    "dlg.stats_active 1",
    "dlg.is_alive c1 ftc1 ttc1",
    "dlg.is_alive c1 ttc1 ftc1",
    "dlg.is_alive c1 ftc1 x",
    "dlg.is_alive c2 ftc2 any",
    "dlg.is_alive c3 ftc3 ttc3",
    "dlg.profile_get_size caller",
    "dlg.profile_get_size caller alice",
    "dlg.profile_get_size caller nobody",
    "dlg.profile_get_size all",
    "dlg.profile_get_size all x",
    "dlg.profile_list caller alice",
    "dlg.profile_list caller",
    "dlg.profile_list all",
    "stats.get_statistics dialog:",
    "stats.fetchn dialog:",
    "dlg.set_state c3 ftc3 ttc3 9",
    "dlg.set_state c3 ftc3 ttc3 5",
    "dlg.is_alive c3 ftc3 ttc3",
    "dlg.stats_active",
    "dlg.terminate_dlg c9 a b",
    "dlg.terminate_dlg c3 ftc3 ttc3",
    "tm.cancel c2 s:2",
];

/// Members whose values differ from run to run.
const VOLATILE: [&str; 11] = [
    "h_id", "start_ts", "init_ts", "end_ts", "timeout", "duration", "cell", "tindex", "tlabel",
    "h_entry", "lifetime",
];

/// Statistics of things that do not exist here.
const UNKNOWN: [&str; 3] = ["core:err_replies", "sl:failures", "sl:xxx_replies"];

impl Side {
    fn new(server: Server) -> Side {
        let phones = Phones::new(server.port);
        let side = Side { server, phones };
        side.phones.call("c1", "alice", Stage::Up);
        side.phones.call("c2", "carol", Stage::Ringing);
        side.phones.call("c3", "alice", Stage::Answered);
        side
    }

    /// What a command says, ports by the role of who has them, one structure behind the other in
    /// an order that both programs have.
    fn say(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let text = self.named(&self.server.kamcmd(&words));
        let still: Vec<String> = text.lines().map(without_numbers).collect();
        let mut blocks: Vec<String> = still
            .join("\n")
            .split("\n}")
            .map(|block| block.trim_start_matches('\n').to_owned())
            .collect();
        blocks.sort();
        blocks.join("\n}\n")
    }

    /// Ports by the role of who has them.
    fn named(&self, text: &str) -> String {
        let [caller, callee] = self.phones.ports();
        let mut text = text.to_owned();
        for (port, name) in [(self.server.port, "P"), (caller, "A"), (callee, "B")] {
            text = text.replace(&format!(":{port}"), &format!(":{name}"));
        }
        text
    }

    /// What `dlg.dump_file` writes, twice because it appends, in an order that both programs have.
    fn dumped(&self) -> String {
        let path = self.server.path("dump.json");
        for _ in 0..2 {
            let path = path.to_str().expect("a plain path");
            assert_eq!(self.server.kamcmd(&["dlg.dump_file", path]).trim(), "");
        }
        let text = self.named(&std::fs::read_to_string(path).expect("it was written"));
        let members = text.lines().flat_map(|line| line.split(','));
        let mut still: Vec<String> = members
            .map(|member| without_numbers(&member.replacen("\":", ": ", 1).replace('"', "")))
            .map(|member| member.replace("{h_entry: #", "h_entry: #"))
            .collect();
        still.retain(|member| !member.contains("h_entry"));
        still.sort();
        still.join("\n")
    }

    /// `h_entry` and `h_id` of a call.
    fn id(&self, call_id: &str) -> [String; 2] {
        let text = self.server.kamcmd(&["dlg.dlg_list", call_id]);
        ["h_entry: ", "h_id: "].map(|name| {
            let line = text.lines().find_map(|l| l.trim().strip_prefix(name));
            line.expect("the dialog is there").to_owned()
        })
    }
}

fn without_numbers(line: &str) -> String {
    match line.split_once(": ") {
        // Whether there is a time at all, both must agree on; a duration grows meanwhile.
        Some((name, value))
            if VOLATILE.contains(&name.trim()) && (value != "0" || name.trim() == "duration") =>
        {
            format!("{name}: #")
        }
        Some(_) | None => line.to_owned(),
    }
}

/// The lines that differ, with those of dialcore behind.
fn difference(want: &str, got: &str) -> String {
    let pairs = want.lines().zip(got.lines()).filter(|(a, b)| a != b);
    let mut text: String = pairs.map(|(a, b)| format!("  {a:?} {b:?}\n")).collect();
    if want.lines().count() != got.lines().count() {
        text += &format!("--- kamailio\n{want}\n--- dialcore\n{got}");
    }
    text
}

#[test]
fn commands_say_the_same_of_the_same_calls() {
    let Some(judge) = Server::kamailio(&CALLS) else {
        eprintln!("kamailio is not installed: nothing is compared");
        return;
    };
    let (judge, side) = (Side::new(judge), Side::new(Server::dialcore_with(&CALLS)));
    let mut differing = vec![];
    let mut compare = |line: &str, want: String, got: String| {
        if want != got {
            differing.push(format!("{line}\n{}", difference(&want, &got)));
        }
    };
    let dumps = [&judge, &side].map(Side::dumped);
    compare("dlg.dump_file", dumps[0].clone(), dumps[1].clone());
    for line in SAME {
        compare(line, judge.say(line), side.say(line));
    }
    for line in ["tm.list", "tm.stats", "dlg.dlg_list c3"] {
        let first = |one: &Side| {
            let words: Vec<&str> = line.split(' ').collect();
            let text = shape(&one.server.kamcmd(&words));
            text.split("\n}").next().unwrap_or_default().to_owned()
        };
        compare(line, first(&judge), first(&side));
    }
    for one in [&judge, &side] {
        let said = one.server.kamcmd(&["tm.cancel", "c2", "s:1"]);
        assert_eq!(said.trim(), "1\nbranches remaining (waiting for timeout)");
        one.phones.callee_hears("CANCEL ");
    }
    for one in [&judge, &side] {
        let [h_entry, h_id] = one.id("c1");
        assert_eq!(
            one.server.kamcmd(&["dlg.end_dlg", &h_entry, &h_id]).trim(),
            ""
        );
        one.phones.callee_hears("BYE ");
        one.phones.caller_hears("BYE ");
    }
    let names = [&judge, &side].map(|one| {
        let text = one
            .server
            .kamcmd(&["stats.get_statistics", "core:", "dialog:", "sl:"]);
        let names = text.lines().filter_map(|line| line.split_once(" = "));
        names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    });
    for name in names[0]
        .iter()
        .filter(|name| !UNKNOWN.contains(&name.as_str()))
    {
        assert!(names[1].contains(name), "there is no statistic {name}");
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn an_operator_answers_and_asks() {
    let one = Side::new(Server::dialcore_with(&CALLS));
    let [caller, callee] = one.phones.ports();
    // What is not there, or has its answer.
    let table: [(&[&str], &str); 5] = [
        (
            &["tm.reply_callid", "486", "Busy", "c9", "s:1", "tt", "."],
            "481",
        ),
        (
            &["tm.reply_callid", "486", "Busy", "c2", "s:9", "tt", "."],
            "481",
        ),
        (
            &["tm.reply_callid", "486", "Busy", "c1", "s:1", "tt", "."],
            "481",
        ),
        (&["tm.reply", "486", "Busy", "9:9", "tt", "."], "481"),
        (
            &["tm.reply_callid", "86", "Busy", "c2", "s:1", "tt", "."],
            "400",
        ),
    ];
    for (words, code) in table {
        let said = one.server.kamcmd(words);
        assert!(
            said.contains(&format!("error: {code} - ")),
            "{words:?}: {said}"
        );
    }
    let words = [
        "tm.reply_callid",
        "486",
        "Busy Here",
        "c2",
        "s:1",
        "tt",
        "X-A: b",
    ];
    assert_eq!(one.server.kamcmd(&words).trim(), "");
    let got = one.phones.caller_gets("SIP/2.0 486 Busy Here\r\n");
    assert!(
        got.contains(";tag=tt\r\n") && got.contains("\r\nX-A: b\r\n"),
        "{got}"
    );
    one.phones.callee_hears("CANCEL ");
    // By the identity of tm.list; with a body.
    one.phones.call("c4", "dora", Stage::Ringing);
    let listed = one.server.kamcmd(&["tm.list"]);
    let of_call = listed.split("cell:").find(|t| t.contains("Call-ID: c4"));
    let value = |name: &str| {
        let rest = of_call
            .expect("the call is listed")
            .split_once(name)
            .expect("a member")
            .1;
        rest.split_whitespace().next().expect("a value").to_owned()
    };
    let id = format!("{}:{}", value("tindex:"), value("tlabel:"));
    let lines = "Content-Type: text/plain\r\nContent-Length: 9\r\n";
    let said = one
        .server
        .kamcmd(&["tm.reply", "480", "Gone", &id, "tt", lines, "hello"]);
    assert_eq!(said.trim(), "");
    let got = one.phones.caller_gets("SIP/2.0 480 Gone\r\n");
    assert!(
        got.ends_with("Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"),
        "{got}"
    );
    // A request of the operator's own.
    let headers = "From: <sip:me@a.test>\r\nTo: <sip:you@b.test>\r\nCall-ID: mine@x\r\n";
    let uri = format!("sip:x@127.0.0.1:{callee}");
    let next = format!("sip:127.0.0.1:{caller}");
    let said = one
        .server
        .kamcmd(&["tm.t_uac_start", "MESSAGE", &uri, ".", ".", headers]);
    assert_eq!(said.trim(), "");
    let got = one.phones.callee_gets("MESSAGE ");
    assert!(got.contains("\r\nCall-ID: mine@x\r\n"), "{got}");
    let typed = format!("{headers}Content-Type: text/plain\r\n");
    let words = [
        "tm.t_uac_start",
        "MESSAGE",
        &uri,
        &next,
        ".",
        &typed,
        "hello",
    ];
    assert_eq!(one.server.kamcmd(&words).trim(), "");
    let got = one.phones.caller_gets("MESSAGE ");
    assert!(got.ends_with("\r\n\r\nhello"), "{got}");
    let said = one
        .server
        .kamcmd(&["tm.t_uac_start", "MESSAGE", "rubbish", ".", ".", headers]);
    assert!(said.contains("error: 400 - "), "{said}");
}
