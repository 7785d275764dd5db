//! One cell of the matrix: a call with its history, the request of the proxy's, and what the two
//! sides have to say to each other afterwards.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use dialcore::effect::rpc::Value;
use dialcore::time::Duration;

use crate::axes::{Cell, History, Method};
use crate::fault::Fault;
use crate::hop::{Hop, Kind};
use crate::law::{Broken, Law};
use crate::ua::{Manner, Seen, Side, Ua};
use crate::world::{PROXY, Place, World};

const CFG: &str = include_str!("matrix.cfg");
/// The lifetime of a call that is to reach its end, seconds.
const LIFETIME_S: u64 = 600;
/// When a keep-alive has come that begins now: `ka_interval` and `ka_timer`.
const PING: Duration = Duration::from_millis(31_500);
/// Longer than any transaction of a call that is over.
const REST: Duration = Duration::from_secs(200);

/// What came of a cell.
#[derive(Debug)]
pub struct Outcome {
    /// Broken laws.
    pub broken: Vec<Broken>,
    /// The request of the proxy's own that the cell is about.
    pub seen: Option<Seen>,
    /// A ladder.
    pub trace: Vec<String>,
}

/// The address of a party, the last part of it.
fn host(side: Side) -> String {
    format!("192.0.2.{}", 1 + side as u8)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("the tests write addresses")
}

/// Runs a cell.
pub fn run(cell: Cell, fault: Option<Fault>) -> Outcome {
    let mut call = Call::new(cell);
    call.world.fault = fault;
    call.begin();
    call.go_through();
    call.act();
    call.go_on();
    call.world.wait(REST);
    let mut broken = call.world.verdict(true);
    broken.extend(call.check_own());
    let near = call.world.party(cell.near);
    Outcome {
        broken,
        seen: near.seen.first().cloned(),
        trace: call.world.trace,
    }
}

/// A call in its world.
pub struct Call {
    cell: Cell,
    id: String,
    /// Where it happens.
    pub world: World,
}

impl Call {
    /// The call of a cell, before its INVITE.
    pub fn new(cell: Cell) -> Call {
        let id = format!("{:?}-{:?}-{:?}", cell.method, cell.near, cell.history);
        let lifetime_s = match cell.method {
            Method::ByeByTimeout => LIFETIME_S,
            Method::ByeByScript | Method::ByeByRpc | Method::Options | Method::Refer => {
                10 * LIFETIME_S
            }
        };
        let cfg = CFG.replace("@LIFETIME@", &lifetime_s.to_string());
        let manners = Side::BOTH.map(|side| manner(cell, side));
        let [caller, callee] = manners;
        let places = Side::BOTH.map(|side| place(cell, side));
        let parties = [
            Ua::new(Side::Caller, &id, caller),
            Ua::new(Side::Callee, &id, callee),
        ];
        let world = World::new(&cfg, parties, places, all_hops(cell));
        Call { cell, id, world }
    }

    fn near(&self) -> Side {
        self.cell.near
    }

    fn far(&self) -> Side {
        self.cell.near.other()
    }

    /// From INVITE to ACK.
    pub fn begin(&mut self) {
        let world = &mut self.world;
        Side::BOTH.into_iter().for_each(|side| world.connect(side));
        world.tell(Side::Caller, |ua| ua.ask("INVITE"));
        match self.cell.history {
            History::UpdateEarly => {
                for side in [self.near(), self.far()] {
                    self.refresh(side, "UPDATE");
                }
                self.world.tell(Side::Callee, Ua::answer);
                self.world.party(Side::Callee).manner.holds_answer = false;
            }
            History::BeforeAck => {
                world.tell(Side::Callee, |ua| ua.ask("INFO"));
                world.tell(Side::Caller, |ua| ua.ask("INFO"));
                world.tell(Side::Caller, Ua::acknowledge);
                world.party(Side::Caller).manner.holds_ack = false;
            }
            _ => {}
        }
    }

    /// What happens before the proxy speaks.
    fn go_through(&mut self) {
        let (near, far) = (self.near(), self.far());
        let world = &mut self.world;
        match self.cell.history {
            History::AuthReinvite | History::AuthEach => {
                world.tell(far, |ua| ua.ask("INVITE"));
            }
            History::AuthCrossed => world.tell(far, |ua| {
                ua.ask("INVITE");
                ua.ask("INFO");
            }),
            History::ReinviteNear => self.refresh(near, "INVITE"),
            History::ReinviteFar => self.refresh(far, "INVITE"),
            History::UpdateNear => self.refresh(near, "UPDATE"),
            History::UpdateFar => self.refresh(far, "UPDATE"),
            History::Crossing => world.tell_both(|ua| ua.ask("INVITE")),
            History::TcpLost => world.cut(near, true),
            History::TcpLostUnseen => world.cut(near, false),
            // Under way when the proxy speaks: it is pumped with that.
            History::InFlight => world.party(far).ask("INFO"),
            _ => {}
        }
    }

    /// A target refresh with another Contact.
    fn refresh(&mut self, side: Side, method: &str) {
        self.world.tell(side, |ua| {
            let contact = format!("{};moved=1", ua.manner.contact);
            ua.move_to(&contact);
            ua.ask(method);
        });
    }

    /// The proxy speaks.
    fn act(&mut self) {
        match self.cell.method {
            Method::ByeByScript => {
                let what = format!("bye {}", self.near().word());
                self.script(&what);
            }
            Method::ByeByRpc => self.end_by_rpc(),
            Method::ByeByTimeout => self.world.wait(Duration::from_secs(LIFETIME_S + 1)),
            Method::Options => self.world.wait(PING),
            Method::Refer => {
                let what = format!("refer {}", self.near().word());
                self.script(&what);
            }
        }
        self.world.pump();
    }

    /// An operator has the script do something.
    pub fn script(&mut self, what: &str) {
        let (from, to) = self.world.party(Side::Caller).tags();
        let (from, to) = (from.to_owned(), to.to_owned());
        let id = self.id.clone();
        let headers = [("X-Do", what), ("X-From", &from), ("X-Tag", &to)];
        self.world.operate(&id, &headers);
    }

    /// `dlg.end_dlg`.
    pub fn end_by_rpc(&mut self) {
        let home = self.world.home(&self.id);
        let shard = self.world.shard(home);
        let Some((_, dialog)) = shard.state().dialogs.table.iter().next() else {
            let text = "there is no dialog to be ended";
            return self.world.broken.push(Broken::new(Law::Rests, text));
        };
        let id = [dialog.id.h_entry, dialog.id.h_id].map(|n| Value::Int(n.into()));
        self.world.rpc("dlg.end_dlg", id.to_vec());
    }

    /// What the two sides have to say to each other afterwards, and what the proxy says again.
    fn go_on(&mut self) {
        match self.cell.method {
            Method::ByeByScript | Method::ByeByRpc | Method::ByeByTimeout => {}
            Method::Options => {
                self.talk();
                self.world.wait(PING);
                self.talk();
                self.hang_up();
            }
            Method::Refer => self.part(),
        }
    }

    /// The side that was referred reports how it went; the other one is still there, until the
    /// script ends the call for whoever is.
    fn part(&mut self) {
        let (near, far) = (self.near(), self.far());
        self.world.tell(near, Ua::report_last);
        for status in self.world.party(near).statuses("NOTIFY") {
            if status != 200 {
                let text = format!("{}: {status} to NOTIFY", near.word());
                self.world.broken.push(Broken::new(Law::Answered, text));
            }
        }
        let reports = self.world.party(near).statuses("NOTIFY").len();
        let is_wrong = reports != 2
            || self.world.party(far).is_over
            || self.world.dialog_count() != 1
            || self.world.party(far).has_served("NOTIFY");
        if is_wrong {
            let text = format!("{}: not alone in the call", far.word());
            self.world.broken.push(Broken::new(Law::Once, text));
        }
        self.script("bye all");
    }

    /// Each side says something of every kind.
    fn talk(&mut self) {
        for method in ["INFO", "INVITE", "UPDATE", "REFER"] {
            for side in [self.far(), self.near()] {
                self.world.tell(side, |ua| ua.ask(method));
                let status = self.world.party(side).status(method);
                if status / 100 != 2 {
                    let text = format!("{}: {status} to {method}", side.word());
                    self.world.broken.push(Broken::new(Law::Answered, text));
                }
            }
        }
    }

    /// One side ends the call, now this one, now that one.
    fn hang_up(&mut self) {
        let is_near = self.cell.history as usize % 2 == self.near() as usize;
        let side = if is_near { self.near() } else { self.far() };
        self.world.tell(side, |ua| ua.ask("BYE"));
    }

    /// What each side was told by the proxy.
    fn check_own(&mut self) -> Option<Broken> {
        let (near, far): (&[&str], &[&str]) = match self.cell.method {
            Method::ByeByScript => (&["BYE"], &[]),
            Method::ByeByRpc | Method::ByeByTimeout => (&["BYE"], &["BYE"]),
            Method::Options => (&["OPTIONS", "OPTIONS"], &[]),
            Method::Refer => (&["REFER", "BYE"], &["BYE"]),
        };
        for (side, want) in [(self.near(), near), (self.far(), far)] {
            let seen = &self.world.party(side).seen;
            let accepted = seen.iter().filter(|s| !s.is_challenged);
            let found: Vec<&str> = accepted.map(|s| s.method.as_str()).collect();
            if found != want {
                let text = format!("{}: {found:?} where {want:?} is right", side.word());
                return Some(Broken::new(Law::Once, text));
            }
        }
        let ends = self
            .world
            .log
            .iter()
            .filter(|line| line.ends_with("end"))
            .count();
        if ends != 1 {
            let text = format!("dialog:end has run {ends} times");
            return Some(Broken::new(Law::Once, text));
        }
        let by_stream = self.world.parties[self.near() as usize].seen[0].by_stream;
        let wants_stream = self.cell.history.is_tcp();
        (by_stream != wants_stream).then(|| {
            let text = format!("by a connection: {by_stream}");
            Broken::new(Law::Reaches, text)
        })
    }
}

/// A call that is given up while it rings, after its INVITE was challenged: the CANCEL is of the
/// INVITE that went again.
pub fn cancelled(fault: Option<Fault>) -> Vec<Broken> {
    let mut call = Call::new(Cell {
        method: Method::ByeByScript,
        near: Side::Callee,
        history: History::AuthInvite,
    });
    call.world.fault = fault;
    call.world.party(Side::Callee).manner.holds_answer = true;
    call.begin();
    call.world.tell(Side::Caller, Ua::cancel);
    assert_eq!(call.world.party(Side::Caller).status("INVITE"), 487);
    call.world.wait(REST);
    call.world.verdict(true)
}

fn hops_of(cell: Cell, side: Side) -> Vec<Hop> {
    let (near, far) = cell.history.hops();
    let kinds = if side == cell.near { near } else { far };
    let hop = |(n, kind): (usize, &Kind)| {
        let last = 10 * (1 + side as usize) + n + 1;
        Hop::new(address(&format!("192.0.2.{last}:5060")), *kind)
    };
    kinds.iter().enumerate().map(hop).collect()
}

/// The hops of both sides, each with where it sends an INVITE.
fn all_hops(cell: Cell) -> Vec<Hop> {
    let mut above = hops_of(cell, Side::Caller);
    for n in 0..above.len() {
        let next = match n.checked_sub(1) {
            Some(inner) => above[inner].addr,
            None => address(PROXY),
        };
        above[n].below = Some((next, None));
    }
    let mut below = hops_of(cell, Side::Callee);
    for n in 0..below.len() {
        let next = below.get(n + 1).map(|hop| (hop.addr, None));
        let party = address(&format!("{}:5060", host(Side::Callee)));
        let uri = contact(cell, Side::Callee);
        below[n].below = next.or(Some((party, Some(uri))));
    }
    above.extend(below);
    above
}

fn is_nat(cell: Cell, side: Side) -> bool {
    cell.history.is_nat() && side == cell.near
}

fn is_tcp(cell: Cell, side: Side) -> bool {
    cell.history.is_tcp() && side == cell.near
}

fn contact(cell: Cell, side: Side) -> String {
    let (word, host) = (side.word(), host(side));
    match (is_nat(cell, side), is_tcp(cell, side)) {
        (true, _) => format!("sip:{word}@10.0.0.{}:5060", 1 + side as u8),
        (false, true) => format!("sip:{word}@{host}:5060;transport=tcp"),
        (false, false) => format!("sip:{word}@{host}:5060"),
    }
}

/// Where its NAT, or its end of a connection, is.
fn outer(side: Side) -> String {
    format!("{}:40001", host(side))
}

fn place(cell: Cell, side: Side) -> Place {
    let inner = address(&format!("{}:5060", host(side)));
    let mut place = Place {
        datagrams: vec![inner],
        ..Place::default()
    };
    if is_nat(cell, side) {
        place.datagrams = vec![address(&outer(side))];
    }
    if is_tcp(cell, side) {
        place.connects_from = Some(address(&outer(side)));
        place.listens = Some(inner);
    }
    place
}

/// Hosts from a party outwards to the proxy.
fn path(cell: Cell, side: Side) -> Vec<String> {
    let hops = hops_of(cell, side);
    let mut hosts: Vec<String> = hops.iter().rev().map(|h| h.addr.ip().to_string()).collect();
    hosts.push(address(PROXY).ip().to_string());
    hosts
}

fn manner(cell: Cell, side: Side) -> Manner {
    let history = cell.history;
    let inner = address(
        &contact(cell, side)[4 + side.word().len() + 1..][..].replace(";transport=tcp", ""),
    );
    let proto = if is_tcp(cell, side) { "TCP" } else { "UDP" };
    let own_path = path(cell, side);
    let other = side.other();
    let mut peer_path = own_path.clone();
    peer_path.extend(hops_of(cell, other).iter().map(|h| h.addr.ip().to_string()));
    let other_contact = contact(cell, other);
    let other_host = other_contact.split(['@', ';']).nth(1).unwrap_or_default();
    peer_path.push(other_host.trim_end_matches(":5060").to_owned());
    let outermost = hops_of(cell, side).last().map(|h| h.addr);
    Manner {
        contact: contact(cell, side),
        alias: alias(cell, side),
        via: format!("{proto} {inner}"),
        first_hop: outermost.unwrap_or(address(PROXY)),
        hints: hints(cell, side),
        first_cseq: if history == History::HighNumbers {
            31_000
        } else {
            1
        },
        challenges: challenges(cell, side),
        is_reliable: side == Side::Callee
            && matches!(
                history,
                History::Prack | History::LatePrack | History::AuthPrack | History::AuthEach
            ),
        is_hasty: history == History::LatePrack,
        holds_answer: side == Side::Callee && history == History::UpdateEarly,
        holds_ack: side == Side::Caller && history == History::BeforeAck,
        reports_first: side == Side::Callee,
        own_path,
        peer_path,
    }
}

fn alias(cell: Cell, side: Side) -> String {
    if cell.history == History::NatAlias && side == cell.near {
        return format!(";alias={}~40001~1", host(side));
    }
    String::new()
}

fn challenges(cell: Cell, side: Side) -> BTreeSet<&'static str> {
    let is_callee = side == Side::Callee;
    let methods: &[&'static str] = match cell.history {
        History::AuthInvite | History::AuthPrack | History::AuthProxies if is_callee => &["INVITE"],
        History::AuthReinvite | History::AuthCrossed if side == cell.near => &["INVITE"],
        History::AuthEach => &[
            "INVITE", "PRACK", "INFO", "UPDATE", "BYE", "OPTIONS", "REFER",
        ],
        _ => &[],
    };
    methods.iter().copied().collect()
}

/// What the proxy's script is told.
fn hints(cell: Cell, side: Side) -> Vec<(String, String)> {
    let mut hints = vec![];
    let mut hint = |name: &str, value: String| hints.push((name.to_owned(), value));
    let other = side.other();
    if is_nat(cell, other) {
        hint("X-Behind", format!("sip:{}", outer(other)));
    }
    if side == Side::Caller {
        if cell.method == Method::Options {
            hint("X-Ping", cell.near.word().to_owned());
        }
        hint("X-To-Uri", contact(cell, other));
        hint("X-To", next_hop(cell, other));
    }
    hints
}

/// Where the first request to a side goes.
pub fn next_hop(cell: Cell, side: Side) -> String {
    let hops = hops_of(cell, side);
    match hops.first() {
        Some(hop) => format!("sip:{}", hop.addr),
        None if is_tcp(cell, side) => format!("sip:{};transport=tcp", outer(side)),
        None if is_nat(cell, side) => format!("sip:{}", outer(side)),
        None => format!("sip:{}:5060", host(side)),
    }
}
