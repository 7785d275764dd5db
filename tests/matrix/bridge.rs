//! Calls of the proxy's own (`dlg.bridge_dlg`): INVITE, ACK, REFER and BYE to one strict user
//! agent, by every way there is to it, and every way in which it does not come to that.

use dialcore::effect::rpc::Value;
use dialcore::time::Duration;

use crate::axes::{Cell, History, Method};
use crate::cell::{Call, next_hop};
use crate::fault::Fault;
use crate::law::{Broken, Law};
use crate::ua::{Seen, Side, Ua};

/// Longer than a phone may ring, and than anything is remembered behind that.
const REST: Duration = Duration::from_secs(400);

/// What the call goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// As the history of the matrix has it.
    Like(History),
    /// Each request is challenged.
    Challenged,
    /// The connection is lost behind the 200.
    Lost,
    /// Two phones answer.
    Forked,
    /// 486.
    Refused,
    /// It rings on and on.
    Unanswered,
}

impl Course {
    /// All, in the order of the table.
    pub const ALL: [Course; 11] = [
        Course::Like(History::Plain),
        Course::Challenged,
        Course::Like(History::Nat),
        Course::Like(History::TcpAlive),
        Course::Lost,
        Course::Like(History::Strict),
        Course::Like(History::Double),
        Course::Like(History::TwoProxies),
        Course::Forked,
        Course::Refused,
        Course::Unanswered,
    ];

    /// The head of its row.
    pub fn head(self) -> &'static str {
        match self {
            Course::Like(History::Nat) => "the party behind a NAT",
            Course::Like(history) => history.head(),
            Course::Challenged => "every request challenged",
            Course::Lost => "TCP, connection lost behind the 200",
            Course::Forked => "two phones answer",
            Course::Refused => "486",
            Course::Unanswered => "no answer",
        }
    }

    fn history(self) -> History {
        match self {
            Course::Like(history) => history,
            Course::Challenged => History::AuthEach,
            Course::Lost => History::TcpAlive,
            Course::Forked | Course::Refused | Course::Unanswered => History::Plain,
        }
    }

    /// What the party is told in the end.
    fn wanted(self) -> &'static [&'static str] {
        match self {
            Course::Refused | Course::Unanswered => &["INVITE"],
            Course::Like(_) | Course::Challenged | Course::Lost | Course::Forked => {
                &["INVITE", "REFER", "BYE"]
            }
        }
    }
}

/// Runs a course: broken laws, and what the party was told.
pub fn run(course: Course, fault: Option<Fault>) -> (Vec<Broken>, Vec<Seen>) {
    let cell = Cell {
        method: Method::ByeByRpc,
        near: Side::Callee,
        history: course.history(),
    };
    let mut call = Call::new(cell);
    let world = &mut call.world;
    world.fault = fault;
    Side::BOTH
        .into_iter()
        .for_each(|side| world.party(side).be_called());
    world.connect(Side::Callee);
    let party = world.party(Side::Callee);
    party.manner.is_reliable = false;
    party.manner.holds_answer = !matches!(course, Course::Like(_) | Course::Challenged);
    let params = [
        party.manner.contact.clone(),
        "sip:third@third.test".into(),
        next_hop(cell, Side::Callee),
    ];
    world.rpc_of_one(
        "dlg.bridge_dlg",
        params.map(|p| Value::Text(p.into_bytes().into())).to_vec(),
    );
    world.pump();
    go_through(&mut call, course);
    let world = &mut call.world;
    world.tell(Side::Callee, Ua::report_last);
    let statuses = world.party(Side::Callee).statuses("NOTIFY");
    world.wait(REST);
    let mut broken = world.verdict(true);
    let seen = world.party(Side::Callee).seen.clone();
    let told = seen.iter().filter(|s| !s.is_challenged);
    let told: Vec<&str> = told.map(|s| s.method.as_str()).collect();
    if told != course.wanted() {
        broken.push(Broken::new(Law::Once, format!("{told:?}")));
    }
    let notify_count = if told.len() > 1 { 2 } else { 0 };
    if statuses != vec![200; notify_count] {
        broken.push(Broken::new(Law::Answered, format!("NOTIFYs: {statuses:?}")));
    }
    if std::env::var("LADDER").is_ok() {
        world.trace.iter().for_each(|line| println!("  {line}"));
    }
    (broken, seen)
}

fn go_through(call: &mut Call, course: Course) {
    let world = &mut call.world;
    match course {
        Course::Like(_) | Course::Challenged => {}
        Course::Lost => {
            world.party(Side::Callee).answer();
            world.cut_behind(Side::Callee);
            // Its 2xx goes again until it has an ACK (§13.3.1.4).
            world.tell(Side::Callee, Ua::repeat_answer);
        }
        Course::Forked => {
            let [second, first] = &mut world.parties;
            second.manner.holds_answer = true;
            first.fork_to(second);
            world.tell(Side::Callee, Ua::answer);
            world.tell(Side::Caller, Ua::answer);
            let second = world.party(Side::Caller);
            let told: Vec<String> = second.seen.iter().map(|s| s.method.clone()).collect();
            if told != ["INVITE", "BYE"] {
                let text = format!("the second phone: {told:?}");
                world.broken.push(Broken::new(Law::Once, text));
            }
        }
        Course::Refused => world.tell(Side::Callee, |ua| ua.refuse(486)),
        Course::Unanswered => world.wait(REST),
    }
}

#[test]
fn no_call_of_our_own_breaks_a_law() {
    let mut failed = 0;
    for course in Course::ALL {
        let (broken, _) = run(course, None);
        failed += usize::from(!broken.is_empty());
        broken.iter().for_each(|b| println!("{course:?}: {b}"));
    }
    assert_eq!(failed, 0, "LADDER=1 shows what went over the wire");
}

#[test]
fn faults_in_calls_of_our_own_are_caught() {
    let plain = Course::Like(History::Plain);
    let table = [
        (Fault::RepeatsNumber, plain, Law::NumberOfInvite),
        (Fault::MissesTarget, plain, Law::Target),
        (Fault::SwapsTag, plain, Law::Parties),
        (Fault::LosesForwards, plain, Law::Headers),
        (Fault::Doubles, plain, Law::Once),
        (
            Fault::SkipsRoutes,
            Course::Like(History::TwoProxies),
            Law::RouteSet,
        ),
        (
            Fault::SkipsRoutes,
            Course::Like(History::Strict),
            Law::RouteSet,
        ),
        (Fault::RaisesCancel, Course::Unanswered, Law::NumberOfInvite),
        (Fault::StopsClock, Course::Refused, Law::Rests),
    ];
    for (fault, course, law) in table {
        let (broken, _) = run(course, Some(fault));
        assert!(broken.iter().any(|b| b.law == law), "{fault:?}: {broken:?}");
    }
}
