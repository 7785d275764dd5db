//! Keep-alives: when they leave, and what their answers mean.

use super::Call;
use crate::proxy::{ALICE, BOB, Script, Sent, answer};

const BOTH: &str = r#"dlg_set_property("ka-src"); dlg_set_property("ka-dst");"#;
const PARAMS: &str = r#"
    modparam("dialog", "ka_timer", 10)
    modparam("dialog", "ka_interval", 30)
    modparam("dialog", "ka_failed_limit", 2)
    modparam("dialog", "lreq_callee_headers", "X-Callee: y\r\n")
    modparam("dialog", "dlg_extra_hdrs", "X-Bye: 1\r\n")
    modparam("tm", "fr_timer", 1000)
"#;

fn call(after: &str) -> Call {
    Call::up(Script {
        params: PARAMS,
        after,
        ..Script::default()
    })
}

fn pings(sent: Vec<Sent>) -> Vec<Sent> {
    let is_ping = |s: &Sent| s.line().starts_with("OPTIONS");
    sent.into_iter().filter(is_ping).collect()
}

/// Lets time pass until pings leave; gives them and the seconds.
fn next_pings(c: &mut Call) -> (Vec<Sent>, f64) {
    for tenth in 1..=500 {
        let sent = pings(c.p.wait(0.1));
        if !sent.is_empty() {
            return (sent, f64::from(tenth) / 10.0);
        }
    }
    panic!("no ping in 50 s");
}

fn lifetime(c: &mut Call) -> u32 {
    c.p.dialogs()[0].lifetime
}

#[test]
fn both_sides_are_pinged_every_interval() {
    let mut c = call(BOTH);
    let (first, after) = next_pings(&mut c);
    assert!((30.0..=40.1).contains(&after), "{after}");
    let line = |s: &Sent| format!("{} {}", s.to, s.line());
    assert_eq!(
        first.iter().map(line).collect::<Vec<_>>(),
        [
            format!("{ALICE} OPTIONS sip:alice@192.0.2.1 SIP/2.0"),
            format!("{BOB} OPTIONS sip:bob@192.0.2.2 SIP/2.0"),
        ]
    );
    let [up, down] = &first[..] else {
        panic!("{first:?}")
    };
    assert_eq!(up.get("From"), "<sip:bob@b.test>;tag=b1");
    assert_eq!(up.get("To"), "<sip:alice@a.test>;tag=a1");
    assert_eq!(
        (up.get("CSeq"), down.get("CSeq")),
        ("1 OPTIONS", "2 OPTIONS")
    );
    assert_eq!((up.all("X-Callee").len(), down.get("X-Callee")), (0, "y"));
    assert!(down.all("X-Bye").is_empty(), "that is for BYEs");
    for (sent, from) in [(up, ALICE), (down, BOB)] {
        assert!(c.p.receive(from, &answer(sent, 200, "")).is_empty());
    }
    let (second, after) = next_pings(&mut c);
    assert!((26.2..=30.0).contains(&after), "{after}");
    assert_eq!(second[1].get("CSeq"), "3 OPTIONS");
}

/// A ping uses up a number of the side in whose name it goes: that side's next requests are
/// raised, and their responses lowered, for as long as the call lasts.
#[test]
fn a_ping_never_disturbs_the_numbers_of_the_call() {
    let mut c = call(r#"dlg_set_property("ka-dst");"#);
    // What the callee has seen last: the INVITE.
    let mut seen = 1;
    for raised in 1..=3 {
        let (ping, _) = next_pings(&mut c);
        assert_eq!(ping[0].get("CSeq"), format!("{} OPTIONS", seen + 1));
        c.p.receive(BOB, &answer(&ping[0], 200, ""));
        let info = c.send("INFO");
        let own = c.serial + 1;
        seen = own + raised;
        assert_eq!(info[0].get("CSeq"), format!("{seen} INFO"));
        let back = c.p.receive(BOB, &answer(&info[0], 200, ""));
        assert_eq!(back[0].get("CSeq"), format!("{own} INFO"));
    }
}

#[test]
fn what_a_failed_ping_costs() {
    // The answers to pings, by status (0: none), and the lifetime afterwards.
    let table: [(&[u16], u32); 8] = [
        (&[481], 43_200),
        (&[481, 481], 10),
        (&[408, 481], 10),
        (&[0, 0], 10),
        (&[481, 200, 481], 43_200),
        (&[481, 500, 481], 43_200),
        (&[481, 200, 481, 481], 10),
        (&[404, 500, 603, 404], 43_200),
    ];
    for (answers, want) in table {
        let mut c = call(r#"dlg_set_property("ka-src");"#);
        for status in answers {
            let (ping, _) = next_pings(&mut c);
            if *status > 0 {
                c.p.receive(ALICE, &answer(&ping[0], *status, ""));
            } else {
                c.p.wait(1.1);
            }
        }
        assert_eq!((lifetime(&mut c), c.state()), (want, 4), "{answers:?}");
        c.p.wait(12.0);
        let is_over = c.state() == 0;
        assert_eq!(is_over, want == 10, "{answers:?}");
    }
}

#[test]
fn the_two_sides_fail_apart() {
    let mut c = call(BOTH);
    for _ in 0..2 {
        let (sent, _) = next_pings(&mut c);
        c.p.receive(ALICE, &answer(&sent[0], 200, ""));
        c.p.receive(BOB, &answer(&sent[1], 481, ""));
    }
    assert_eq!(lifetime(&mut c), 10);
    // The caller's request proves nothing of the callee; the callee's own does.
    c.send("INFO");
    assert_eq!(lifetime(&mut c), 10);
    c.send_by_callee("INFO");
    assert_eq!(lifetime(&mut c), 43_200);
    c.p.wait(15.0);
    assert_eq!(c.state(), 4);
    let (again, _) = next_pings(&mut c);
    assert_eq!(again.len(), 2);
}

#[test]
fn properties_may_change_while_the_call_lasts() {
    let mut c = Call::up(Script {
        params: PARAMS,
        within: r#"
            if (is_method("INFO")) { dlg_set_property("ka-dst"); }
            if (is_method("MESSAGE")) { dlg_reset_property("ka-dst"); }"#,
        ..Script::default()
    });
    assert!(pings(c.p.wait(90.0)).is_empty());
    c.send("INFO");
    let (ping, _) = next_pings(&mut c);
    c.p.receive(BOB, &answer(&ping[0], 200, ""));
    c.send("MESSAGE");
    assert!(pings(c.p.wait(90.0)).is_empty());
}

#[test]
fn no_ping_before_the_ack_or_after_the_end() {
    let script = Script {
        params: PARAMS,
        after: BOTH,
        ..Script::default()
    };
    let mut c = Call::begin(script);
    c.reply(200);
    assert!(pings(c.p.wait(45.0)).is_empty());
    c.send("ACK");
    c.p.wait(5.0);
    c.send("BYE");
    assert!(pings(c.p.wait(90.0)).is_empty());
}
