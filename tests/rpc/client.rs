//! `dialcore` as a client of itself.

use crate::phones::{CALLS, Phones, Stage};
use crate::server::Server;

#[test]
fn a_client_shows_answers_and_says_how_they_went() {
    let server = Server::dialcore("");
    let table: &[(&[&str], &str, &str, i32)] = &[
        (&["rpc", "core.echo", "a", "s:12"], "a\n12\n", "", 0),
        (&["rpc", "core.printi", "1", "-2"], "1\n-2\n", "", 0),
        (
            &["rpc", "--json", "core.prints", "a"],
            "[\n\"a\"\n]\n",
            "",
            0,
        ),
        (
            &["rpc", "--json", "dlg.stats_active"],
            "{\"starting\":0,\"connecting\":0,\"answering\":0,\"ongoing\":0,\"all\":0}\n",
            "",
            0,
        ),
        (
            &["rpc", "pv.shvGet", "a"],
            "┌───────┬─────┐\n│ name  ┆ a   │\n│ type  ┆ int │\n│ value ┆ 1   │\n└───────┴─────┘\n",
            "",
            0,
        ),
        (
            &["rpc", "nosuch"],
            "",
            "error: 500 - command nosuch not found\n",
            1,
        ),
        (
            &["rpc", "dlg.end_dlg", "1", "2"],
            "",
            "error: 404 - Dialog not found\n",
            1,
        ),
        (&["call", "nosuch"], "", "error: 404 - Call not found\n", 1),
    ];
    for (words, out, err, code) in table {
        let got = server.client(words);
        let want = (out.to_string(), err.to_string(), Some(*code));
        assert_eq!(got, want, "{words:?}");
    }
    let (_, text, code) = Server::client_of("unix:/nonexistent/ctl", &["rpc", "core.version"]);
    assert!(text.starts_with("error: unix:/nonexistent/ctl: "), "{text}");
    assert_eq!(code, Some(255));
}

#[test]
fn a_call_is_explained() {
    let server = Server::dialcore_with(&CALLS);
    let phones = Phones::new(server.port);
    phones.call("c1", "alice", Stage::Up);
    phones.call("c2", "carol", Stage::Ringing);
    let (text, err, code) = server.client(&["call", "c1"]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let [caller, callee] = phones.ports();
    for want in [
        "Dialogs".to_owned(),
        "state_name              ┆ Confirmed".to_owned(),
        "timers.life_over_in".to_owned(),
        format!("udp:127.0.0.1:{caller}"),
        format!("udp:127.0.0.1:{callee}"),
        "caller=alice".to_owned(),
        "note=a b;c".to_owned(),
        "Transactions".to_owned(),
        "Events".to_owned(),
        "Unconfirmed to ConfirmedNa".to_owned(),
        "ConfirmedNa to Confirmed".to_owned(),
        "200 INVITE".to_owned(),
    ] {
        assert!(text.contains(&want), "{want} is not in\n{text}");
    }
    assert!(!text.contains("carol"), "{text}");
}

#[test]
fn listings_go_on_where_they_ended() {
    let server = Server::dialcore_with(&CALLS);
    let phones = Phones::new(server.port);
    let names: Vec<String> = (0..7).map(|n| format!("c{n}")).collect();
    for name in &names {
        phones.call(name, "alice", Stage::Up);
    }
    phones.call("early", "carol", Stage::Ringing);
    let page = |after: Option<&str>, more: &[&str]| {
        let after = after.map(|name| format!("after={name}"));
        let mut words = vec!["dlg.briefing", "c", "limit=3"];
        words.extend(after.as_deref());
        words.extend(more);
        let text = server.kamcmd(&words);
        let names = text
            .lines()
            .filter_map(|l| l.trim().strip_prefix("call-id: "));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut seen = page(None, &[]);
    loop {
        let more = page(seen.last().map(String::as_str), &[]);
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    let mut want = names.clone();
    want.push("early".into());
    seen.sort();
    assert_eq!(seen, want);
    assert_eq!(page(None, &["state=2"]), ["early"]);
    assert_eq!(page(None, &["profile=caller:carol"]), ["early"]);
    assert_eq!(page(None, &["older=3600"]).len(), 0);
    let gone = server.kamcmd(&["dlg.list", "after=nosuch"]);
    assert_eq!(gone, "error: 404 - Dialog not found\n");
}
