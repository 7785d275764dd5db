//! Calls that are ended from here.

use super::Call;
use crate::proxy::{ALICE, BOB, Script, Sent, answer, lines};

const BYE_ALL: &str = r#"if (is_method("INFO")) { dlg_bye("all"); }"#;
const EVENTS: &str = r#"
    event_route[dialog:end] { xlog("end $dlg(callid)\n"); }
    event_route[dialog:failed] { xlog("failed $dlg(callid)\n"); }"#;

fn byes(sent: Vec<Sent>) -> Vec<Sent> {
    let is_bye = |s: &Sent| s.line().starts_with("BYE");
    sent.into_iter().filter(is_bye).collect()
}

#[test]
fn both_sides_get_a_bye_and_the_record_goes_with_the_last_answer() {
    let mut c = Call::up(Script {
        within: BYE_ALL,
        routes: EVENTS,
        ..Script::default()
    });
    let sent = byes(c.send("INFO"));
    let [up, down] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(up.line(), "BYE sip:alice@192.0.2.1 SIP/2.0");
    assert_eq!(down.line(), "BYE sip:bob@192.0.2.2 SIP/2.0");
    assert_eq!((up.get("CSeq"), down.get("CSeq")), ("1 BYE", "4 BYE"));
    // It is over for counts and events at once, whatever the phones say.
    assert_eq!((c.p.stats()[0], c.state()), (0, 5));
    assert_eq!(c.p.said(), ["end c1"]);
    c.p.receive(BOB, &answer(down, 481, ""));
    assert_eq!(c.state(), 5);
    c.p.receive(ALICE, &answer(up, 200, ""));
    assert_eq!(c.state(), 0);
    assert!(c.p.said().is_empty(), "one end");
}

#[test]
fn one_silent_side_does_not_keep_the_other() {
    let mut c = Call::up(Script {
        within: BYE_ALL,
        params: r#"modparam("tm", "fr_timer", 2000)"#,
        ..Script::default()
    });
    let sent = byes(c.send("INFO"));
    c.p.receive(ALICE, &answer(&sent[0], 200, ""));
    let repeated = byes(c.p.wait(1.9));
    assert!(
        repeated.iter().all(|s| s.to.to_string() == BOB),
        "{repeated:?}"
    );
    assert_eq!((repeated.len(), c.state()), (2, 5));
    c.p.wait(0.3);
    assert_eq!(c.state(), 0);
}

#[test]
fn each_side_is_told_once() {
    let within = r#"
        if (is_method("INFO")) { if (dlg_bye("caller")) { xlog("sent\n"); } }
        if (is_method("MESSAGE")) { if (dlg_bye("callee")) { xlog("sent\n"); } }"#;
    let mut c = Call::up(Script {
        within,
        ..Script::default()
    });
    assert_eq!(byes(c.send("INFO")).len(), 1);
    assert!(byes(c.send("INFO")).is_empty(), "the caller has been told");
    assert_eq!(byes(c.send("MESSAGE")).len(), 1, "the callee had not been");
    assert!(byes(c.send("MESSAGE")).is_empty());
}

#[test]
fn a_call_that_rings_is_ended_towards_both_sides() {
    let mut c = Call::begin(Script {
        within: BYE_ALL,
        routes: EVENTS,
        ..Script::default()
    });
    c.reply(180);
    let sent = c.send("INFO");
    let lines = lines(&sent);
    assert!(
        lines.contains(&"192.0.2.1: SIP/2.0 480 Temporarily Unavailable".into()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"192.0.2.2: CANCEL sip:bob@192.0.2.2 SIP/2.0".into()),
        "{lines:?}"
    );
    assert_eq!(c.p.said(), ["failed c1"]);
    assert_eq!((c.p.stats()[1], c.p.stats()[4]), (0, 1));
    c.p.wait(120.0);
    assert_eq!(c.state(), 0);
    assert!(c.p.is_idle());
}

#[test]
fn a_bye_at_the_end_of_the_lifetime() {
    let table = [
        (r#"modparam("dialog", "send_bye", 1)"#, "", 2),
        ("", "$dlg_ctx(timeout_bye) = 1;", 2),
        ("", "", 0),
    ];
    for (params, initial, wanted) in table {
        let params = format!("{params}\nmodparam(\"dialog\", \"default_timeout\", 20)");
        let mut c = Call::up(Script {
            params: &params,
            initial,
            routes: EVENTS,
            ..Script::default()
        });
        let sent = byes(c.p.wait(20.1));
        assert_eq!(sent.len(), wanted, "{params} {initial}");
        assert_eq!(c.p.stats(), [0, 0, 1, 1, 0]);
        assert_eq!(c.p.said(), ["end c1"]);
    }
}
