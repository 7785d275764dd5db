//! Code built on top of dialogs: the events it is handed.

use std::cell::RefCell;
use std::rc::Rc;

use dialcore::modules::dialog::event::{Event, Kind, Observer, RegisterError};
use dialcore::modules::dialog::table::Dialog;

use super::Call;
use crate::proxy::{ALICE, BOB, Proxy, Script, answer, request};

/// Writes down all that it is told; the test looks at the same list.
#[derive(Debug)]
struct Scribe {
    lines: Rc<RefCell<Vec<String>>>,
    /// Registers for this kind only.
    only: Option<Kind>,
}

impl Observer for Scribe {
    fn observe(&mut self, event: &Event<'_>, dialog: &mut Dialog) {
        if event.kind == Kind::Created {
            let kinds = Kind::ALL
                .into_iter()
                .filter(|k| !matches!(k, Kind::Created | Kind::Loaded))
                .filter(|k| self.only.is_none_or(|only| only == *k));
            for kind in kinds {
                dialog
                    .register_dlgcb(event.observer, kind.only(), 7)
                    .expect("a kind of one dialog");
            }
            let refused = dialog.register_dlgcb(event.observer, Kind::Created.only(), 0);
            assert_eq!(refused, Err(RegisterError::WrongScope));
        }
        let method = event.request.map_or("-".into(), |m| {
            String::from_utf8_lossy(m.method_name()).into_owned()
        });
        let status = event.response.map_or(0, |m| m.status());
        let direction = event.direction.map_or(0, |d| d.number());
        let line = format!(
            "{:?} {method} {status} {direction} {}",
            event.kind,
            dialog.state().number()
        );
        self.lines.borrow_mut().push(line);
    }

    fn list_ctx(&self, dialog: &Dialog) -> Vec<(String, String)> {
        vec![(
            "scribe".into(),
            String::from_utf8_lossy(dialog.call_id()).into_owned(),
        )]
    }
}

fn watched(script: Script<'_>) -> (Proxy, Rc<RefCell<Vec<String>>>) {
    watched_for(script, None)
}

fn watched_for(script: Script<'_>, only: Option<Kind>) -> (Proxy, Rc<RefCell<Vec<String>>>) {
    let mut p = Proxy::with_dialogs(script);
    let lines = Rc::new(RefCell::new(vec![]));
    let observer = p.shard().observe(Box::new(Scribe {
        lines: Rc::clone(&lines),
        only,
    }));
    p.shard()
        .register_dlgcb(observer, Kind::Created.only(), 0)
        .expect("alone");
    (p, lines)
}

#[test]
fn a_call_as_its_observer_sees_it() {
    let (p, lines) = watched(Script::default());
    let mut c = Call::with(p, "");
    c.reply(180);
    c.reply(200);
    c.send("ACK");
    let info = c.send_by_callee("INFO");
    c.p.receive(ALICE, &answer(&info[0], 200, ""));
    let bye = c.send("BYE");
    c.p.receive(BOB, &answer(&bye[0], 200, ""));
    c.p.wait(6.0);
    let want = [
        "Created INVITE 0 0 1",
        "ResponseFwded INVITE 180 2 1",
        "Early INVITE 180 2 2",
        "ResponseFwded INVITE 200 2 2",
        "ConfirmedNa INVITE 200 2 3",
        "Confirmed ACK 0 1 4",
        "ReqWithin INFO 0 2 4",
        "ResponseWithin INFO 200 1 4",
        "Terminated BYE 0 1 5",
        "TerminatedConfirmed BYE 200 2 5",
        "Destroy - 0 0 5",
    ];
    assert_eq!(*lines.borrow(), want);
}

#[test]
fn failures_and_expiries_are_told() {
    let (p, lines) = watched(Script::default());
    let mut c = Call::with(p, "");
    c.reply(486);
    assert_eq!(lines.borrow().last().unwrap(), "Failed INVITE 486 2 5");
    let (p, lines) = watched(Script::default());
    let mut c = Call::with(p, "");
    c.reply(200);
    c.p.wait(71.0);
    assert_eq!(lines.borrow()[3..], ["Expired - 0 0 5", "Destroy - 0 0 5"]);
}

#[test]
fn new_dialogs_are_told_in_the_script_or_with_the_transaction() {
    for (mode, after_manage) in [(1, 1), (0, 0)] {
        let params = format!("modparam(\"dialog\", \"initial_cbs_inscript\", {mode})");
        let (mut p, lines) = watched(Script {
            params: &params,
            after: "exit;",
            ..Script::default()
        });
        p.receive(ALICE, &request("INVITE", "i", ""));
        let created = lines
            .borrow()
            .iter()
            .filter(|l| l.starts_with("Created"))
            .count();
        assert_eq!(created, after_manage, "{mode}");
        let (p, lines) = watched(Script {
            params: &params,
            ..Script::default()
        });
        Call::with(p, "");
        assert_eq!(*lines.borrow(), ["Created INVITE 0 0 1"], "{mode}");
    }
}

#[test]
fn spirals_are_told() {
    let initial = "if ($hdr(X-Again) != $null) { $ru = $ru; }";
    let (p, lines) = watched(Script {
        initial,
        ..Script::default()
    });
    let mut c = Call::with(p, "");
    let again = request("INVITE", "j", "X-Again: 1\r\n");
    c.p.receive(ALICE, &again);
    assert_eq!(lines.borrow().last().unwrap(), "Spiraled INVITE 0 0 1");
    assert_eq!(c.p.stats()[2], 1);
}

#[test]
fn listings_have_room_for_what_observers_know() {
    let (p, _) = watched(Script::default());
    let mut c = Call::with(p, "");
    let shard = c.p.shard();
    let (_, dialog) = shard.state().dialogs.table.iter().next().unwrap();
    let shown = shard.state().dialogs.observers.list_ctx(dialog);
    let want = [("scribe".to_owned(), "c1".to_owned())];
    assert_eq!(shown, want);
    assert_eq!(c.p.dialogs()[0].context, want);
    // Nobody has asked to be shown.
    let (p, _) = watched_for(Script::default(), Some(Kind::Early));
    assert_eq!(Call::with(p, "").p.dialogs()[0].context, []);
}

/// Each kind alone, but `Loaded`, which a database brings, and `RpcContext`, which is asked for.
#[test]
fn each_kind_is_told_to_who_wants_only_it() {
    type Way = fn(&mut Call);
    let hung_up: Way = |c| {
        c.reply(180);
        c.reply(200);
        c.send("ACK");
        let info = c.send("INFO");
        c.p.receive(BOB, &answer(&info[0], 200, ""));
        let bye = c.send("BYE");
        c.p.receive(BOB, &answer(&bye[0], 200, ""));
        c.p.wait(6.0);
    };
    let refused: Way = |c| drop(c.reply(486));
    let expired: Way = |c| {
        c.reply(200);
        c.p.wait(71.0);
    };
    let spiral: Way = |c| drop(c.p.receive(ALICE, &request("INVITE", "j", "X-Again: 1\r\n")));
    let table: [(Kind, Way, &[&str]); 13] = [
        (Kind::Created, hung_up, &[]),
        (Kind::Failed, refused, &["Failed INVITE 486 2 5"]),
        (Kind::ConfirmedNa, hung_up, &["ConfirmedNa INVITE 200 2 3"]),
        (Kind::Confirmed, hung_up, &["Confirmed ACK 0 1 4"]),
        (Kind::ReqWithin, hung_up, &["ReqWithin INFO 0 1 4"]),
        (Kind::Terminated, hung_up, &["Terminated BYE 0 1 5"]),
        (Kind::Expired, expired, &["Expired - 0 0 5"]),
        (Kind::Early, hung_up, &["Early INVITE 180 2 2"]),
        (
            Kind::ResponseFwded,
            hung_up,
            &[
                "ResponseFwded INVITE 180 2 1",
                "ResponseFwded INVITE 200 2 2",
            ],
        ),
        (
            Kind::ResponseWithin,
            hung_up,
            &["ResponseWithin INFO 200 2 4"],
        ),
        (Kind::Destroy, hung_up, &["Destroy - 0 0 5"]),
        (Kind::Spiraled, spiral, &["Spiraled INVITE 0 0 1"]),
        (
            Kind::TerminatedConfirmed,
            hung_up,
            &["TerminatedConfirmed BYE 200 2 5"],
        ),
    ];
    for (kind, way, want) in table {
        let (p, lines) = watched_for(Script::default(), Some(kind));
        way(&mut Call::with(p, ""));
        let lines = lines.borrow();
        assert_eq!(lines[0], "Created INVITE 0 0 1");
        assert_eq!(lines[1..], *want, "{kind:?}");
    }
}
