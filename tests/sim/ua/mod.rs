//! User agents: each one takes part in one call and behaves as its [`Manner`] says.
//!
//! A user agent is a value like a shard: `handle(now, happening, acts)`, and a deadline. It
//! follows RFC 3261 §8, §9, §12 to §15 and §17 as far as a proxy can tell, and where its manner
//! says so, it breaks them. `client.rs` holds what it asks, `server.rs` what it is asked,
//! `dialog.rs` what it remembers in between, `lie.rs` what no user agent should do.

mod client;
mod dialog;
mod lie;
mod server;

use std::net::SocketAddr;
use std::rc::Rc;

use dialcore::rng::Rng;
use dialcore::time::{Duration, Instant};

use crate::sip::Sip;
use crate::stream::StreamId;
use client::Client;
use dialog::Dialog;
pub use lie::Lie;
use server::Server;

/// Names one user agent of the world: its place in the list.
pub type AgentId = usize;

/// RFC 3261 §17.1.1.1 and Table 4.
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions.
pub const T2: Duration = Duration::from_secs(4);
/// Timers B, F, H: 64 times T1.
pub const PATIENCE: Duration = Duration::from_secs(32);

/// How a callee ends its ringing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// With a 200.
    Accept,
    /// With this final response.
    Reject(u16),
    /// Never; it only rings.
    RingForEver,
    /// It never says anything.
    Silent,
}

/// What a callee does with a CANCEL that comes in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnCancel {
    /// It answers the INVITE with 487.
    Obey,
    /// It was just about to say 200, and says it.
    AnswerAnyway,
}

/// All that distinguishes one user agent from another. `None` means never.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Speaks TCP.
    pub is_tcp: bool,
    /// How the callee ends.
    pub answer: Answer,
    /// From the INVITE to the 180.
    pub ring_after: Option<Duration>,
    /// How many provisional responses, 50 ms apart.
    pub ring_count: u32,
    /// From the INVITE to the final response.
    pub answer_after: Duration,
    /// What a CANCEL does.
    pub on_cancel: OnCancel,
    /// From the first provisional response to the CANCEL.
    pub cancel_after: Option<Duration>,
    /// Does not acknowledge 2xx.
    pub forgets_ack: bool,
    /// Sends everything this many times more.
    pub repeats: u32,
    /// From the start of the dialog to a re-INVITE of ours.
    pub reinvite_after: Option<Duration>,
    /// From the start of the dialog to an INFO of ours.
    pub info_after: Option<Duration>,
    /// From the start of the dialog to a BYE of ours.
    pub hang_up_after: Option<Duration>,
    /// From the first sign of the call to sudden silence; streams are cut.
    pub die_after: Option<Duration>,
    /// Cuts its streams once after this time, and lives on.
    pub cut_after: Option<Duration>,
    /// What it lies about, and when.
    pub lie: Option<(Lie, Duration)>,
}

impl Manner {
    /// Rings after 50 ms, accepts after 500 ms, waits for the other side to hang up.
    pub const fn plain() -> Manner {
        Manner {
            is_tcp: false,
            answer: Answer::Accept,
            ring_after: Some(Duration::from_millis(50)),
            ring_count: 1,
            answer_after: Duration::from_millis(500),
            on_cancel: OnCancel::Obey,
            cancel_after: None,
            forgets_ack: false,
            repeats: 0,
            reinvite_after: None,
            info_after: None,
            hang_up_after: None,
            die_after: None,
            cut_after: None,
            lie: None,
        }
    }

    /// The same with a difference.
    pub fn but(mut self, change: impl FnOnce(&mut Manner)) -> Manner {
        change(&mut self);
        self
    }

    /// Whether it keeps to the protocol for as long as it lives.
    pub fn is_honest(&self) -> bool {
        self.lie.is_none()
    }

    /// Whether it and its connections live until the end.
    pub fn is_lasting(&self) -> bool {
        self.die_after.is_none() && self.cut_after.is_none()
    }
}

/// The first request of a call.
#[derive(Clone, Debug)]
pub struct Errand {
    /// INVITE, or a method of one transaction.
    pub method: &'static str,
    /// Its Request-URI.
    pub uri: String,
    /// Whether the address below is to be spoken to over TCP.
    pub is_tcp: bool,
    /// Where it is sent: the proxy, or the callee itself when there is none.
    pub next_hop: SocketAddr,
    /// Headers for the routing script.
    pub headers: Vec<(String, String)>,
    /// When it starts.
    pub start: Instant,
}

/// One thing that happens to a user agent.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A message that could be read.
    Received(&'a Sip, Option<StreamId>),
    /// The moment of [`Agent::deadline`] has come.
    Deadline,
}

/// One thing that a user agent does.
#[derive(Debug)]
pub enum Act {
    /// Sends a message: on this stream if it is open, else on any other, else on a new one.
    Send {
        to: SocketAddr,
        is_tcp: bool,
        stream: Option<StreamId>,
        bytes: Rc<[u8]>,
    },
    /// Cuts all its streams.
    Cut,
}

/// What is to be done later. Tasks are never withdrawn: each looks first whether it still applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    Start,
    Repeat(usize),
    TimeOut(usize),
    Ring(usize),
    Answer(usize),
    Resend(usize),
    GiveUp(usize),
    Cancel(usize),
    ReInvite(usize),
    Info(usize),
    HangUp(usize),
    CutStreams,
    Lie,
    Die,
}

/// One user agent.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub id: AgentId,
    /// Where it listens, on UDP and TCP.
    pub addr: SocketAddr,
    /// How it behaves.
    pub manner: Manner,
    /// Whether it has fallen silent for ever.
    pub is_dead: bool,
    call_id: Rc<str>,
    errand: Option<Errand>,
    rng: Rng,
    minted: u32,
    has_begun: bool,
    tasks: Vec<(Instant, Task)>,
    clients: Vec<Client>,
    servers: Vec<Server>,
    dialogs: Vec<Dialog>,
    acts: Vec<Act>,
}

impl Agent {
    /// A user agent; with an errand it is the caller.
    pub fn new(
        id: AgentId,
        call_id: Rc<str>,
        manner: Manner,
        errand: Option<Errand>,
        rng: Rng,
    ) -> Agent {
        let start = errand.as_ref().map(|e| (e.start, Task::Start));
        Agent {
            id,
            addr: address(id),
            manner,
            is_dead: false,
            call_id,
            errand,
            rng,
            minted: 0,
            has_begun: false,
            tasks: start.into_iter().collect(),
            clients: vec![],
            servers: vec![],
            dialogs: vec![],
            acts: vec![],
        }
    }

    /// The only way in; what it causes is put behind `acts`.
    pub fn handle(&mut self, now: Instant, happening: Happening<'_>, acts: &mut Vec<Act>) {
        if self.is_dead {
            return;
        }
        self.begin(now);
        match happening {
            Happening::Received(sip, stream) => match sip.status() {
                Some(status) => self.on_response(now, sip, status),
                None => self.on_request(now, sip, stream),
            },
            Happening::Deadline => self.on_deadline(now),
        }
        acts.append(&mut self.acts);
    }

    /// When to come back if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.tasks.iter().map(|(at, _)| *at).min()
    }

    /// The URI under which the proxy and the peers reach it.
    pub fn contact(&self) -> String {
        contact(self.id, self.manner.is_tcp)
    }

    /// INVITEs that it rang for and neither answered nor saw withdrawn.
    pub fn still_ringing(&self) -> usize {
        self.servers.iter().filter(|s| s.is_ringing()).count()
    }

    /// Dialogs that were confirmed and have not ended.
    pub fn open_dialogs(&self) -> usize {
        self.dialogs.iter().filter(|d| !d.is_ended).count()
    }

    /// The first sign of the call: from here on the manner's absolute delays run.
    fn begin(&mut self, now: Instant) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        let manner = &self.manner;
        let later = [
            (manner.die_after, Task::Die),
            (manner.cut_after, Task::CutStreams),
            (manner.lie.map(|(_, after)| after), Task::Lie),
        ];
        for (after, task) in later {
            if let Some(after) = after {
                self.tasks.push((now + after, task));
            }
        }
    }

    fn on_deadline(&mut self, now: Instant) {
        // In the order in which they fall due, and of equals the oldest first.
        while let Some(next) = (0..self.tasks.len())
            .filter(|&i| self.tasks[i].0 <= now)
            .min_by_key(|&i| self.tasks[i].0)
        {
            let (_, task) = self.tasks.remove(next);
            self.perform(now, task);
            if self.is_dead {
                return;
            }
        }
    }

    fn perform(&mut self, now: Instant, task: Task) {
        match task {
            Task::Start => self.start_errand(now),
            Task::Repeat(client) => self.repeat(now, client),
            Task::TimeOut(client) => self.time_out(client),
            Task::Ring(server) => self.ring(now, server),
            Task::Answer(server) => self.answer(now, server),
            Task::Resend(server) => self.resend(now, server),
            Task::GiveUp(server) => self.give_up(now, server),
            Task::Cancel(client) => self.cancel(now, client),
            Task::ReInvite(dialog) => self.re_invite(now, dialog),
            Task::Info(dialog) => self.ask_in_dialog(now, dialog, "INFO"),
            Task::HangUp(dialog) => self.hang_up(now, dialog),
            Task::CutStreams => self.acts.push(Act::Cut),
            Task::Lie => self.tell_lie(),
            Task::Die => {
                self.is_dead = true;
                self.tasks.clear();
                self.acts.push(Act::Cut);
            }
        }
    }

    fn later(&mut self, at: Instant, task: Task) {
        self.tasks.push((at, task));
    }

    fn send(&mut self, to: SocketAddr, is_tcp: bool, stream: Option<StreamId>, bytes: &Rc<[u8]>) {
        for _ in 0..=self.manner.repeats {
            self.acts.push(Act::Send {
                to,
                is_tcp,
                stream,
                bytes: bytes.clone(),
            });
        }
    }

    fn mint(&mut self, prefix: &str) -> String {
        self.minted += 1;
        format!("{prefix}{}-{}", self.id, self.minted)
    }
}

/// A delay of a manner.
pub fn millis(n: u64) -> Option<Duration> {
    Some(Duration::from_millis(n))
}

/// The URI of a user agent.
pub fn contact(id: AgentId, is_tcp: bool) -> String {
    let transport = if is_tcp { ";transport=tcp" } else { "" };
    format!("sip:u{id}@{}{transport}", address(id))
}

/// The address of a user agent.
pub fn address(id: AgentId) -> SocketAddr {
    let [_, high, middle, low] = u32::try_from(id).expect("few agents").to_be_bytes();
    SocketAddr::from(([10, high + 1, middle, low], 5060))
}

/// The user agent at an address, whatever the port.
pub fn at_address(addr: SocketAddr) -> Option<AgentId> {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => match ip.octets() {
            [10, high @ 1..=200, middle, low] => {
                Some(u32::from_be_bytes([0, high - 1, middle, low]) as AgentId)
            }
            _ => None,
        },
        std::net::IpAddr::V6(_) => None,
    }
}
