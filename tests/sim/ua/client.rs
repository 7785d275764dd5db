//! What a user agent asks: client transactions of RFC 3261 §17.1, CANCEL of §9.1 and the ACK to
//! a 2xx of §13.2.2.4.

use std::net::SocketAddr;
use std::rc::Rc;

use dialcore::time::{Duration, Instant};

use super::dialog::Dialog;
use super::{Agent, Lie, PATIENCE, T1, T2, Task};
use crate::sip::Sip;

/// How far a client transaction has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// No answer yet.
    Calling,
    /// A provisional one.
    Proceeding,
    /// A final one.
    Completed,
    /// None within [`PATIENCE`].
    TimedOut,
}

/// One client transaction.
#[derive(Debug)]
pub(super) struct Client {
    request: Sip,
    branch: String,
    bytes: Rc<[u8]>,
    to: SocketAddr,
    is_tcp: bool,
    stage: Stage,
    interval: Duration,
    dialog: Option<usize>,
}

impl Client {
    fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Calling | Stage::Proceeding)
    }
}

impl Agent {
    /// Sends the request that starts the call.
    pub(super) fn start_errand(&mut self, now: Instant) {
        let Some(errand) = self.errand.clone() else {
            return;
        };
        let (tag, probe) = (self.mint("t"), self.mint("probe"));
        let mut request = Sip::request(errand.method, &errand.uri)
            .with("From", format!("<sip:u{}@sim.example>;tag={tag}", self.id))
            .with("To", format!("<{}>", errand.uri))
            .with("Call-ID", &*self.call_id)
            .with("CSeq", format!("1 {}", errand.method))
            .with("Max-Forwards", "70")
            .with("Contact", format!("<{}>", self.contact()))
            .with("X-Probe", probe);
        for (name, value) in &errand.headers {
            request = request.with(name, value.as_str());
        }
        if errand.method == "INVITE" {
            request = request.with_body("v=0\r\ns=first\r\n");
        }
        self.ask(now, request, errand.next_hop, errand.is_tcp, None);
    }

    /// Starts a client transaction.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        mut request: Sip,
        to: SocketAddr,
        is_tcp: bool,
        dialog: Option<usize>,
    ) {
        let branch = self.mint_branch();
        let via = self.via(is_tcp, &branch);
        request.headers.insert(0, ("Via".into(), via));
        let bytes: Rc<[u8]> = request.write().into();
        let client = self.clients.len();
        self.send(to, is_tcp, None, &bytes);
        self.clients.push(Client {
            request,
            branch,
            bytes,
            to,
            is_tcp,
            stage: Stage::Calling,
            interval: T1,
            dialog,
        });
        if !is_tcp {
            self.later(now + T1, Task::Repeat(client));
        }
        self.later(now + PATIENCE, Task::TimeOut(client));
    }

    /// Timers A and E.
    pub(super) fn repeat(&mut self, now: Instant, client: usize) {
        let c = &mut self.clients[client];
        let cap = if c.is_invite() { PATIENCE } else { T2 };
        c.interval = match c.stage {
            Stage::Calling => c.interval.doubled_up_to(cap),
            Stage::Proceeding if !c.is_invite() => T2,
            Stage::Proceeding | Stage::Completed | Stage::TimedOut => return,
        };
        let (to, is_tcp, bytes, interval) = (c.to, c.is_tcp, c.bytes.clone(), c.interval);
        self.send(to, is_tcp, None, &bytes);
        self.later(now + interval, Task::Repeat(client));
    }

    /// Timers B and F; an INVITE that rings has none.
    pub(super) fn time_out(&mut self, client: usize) {
        let c = &mut self.clients[client];
        if c.stage == Stage::Calling || (c.stage == Stage::Proceeding && !c.is_invite()) {
            c.stage = Stage::TimedOut;
        }
    }

    /// Whether an INVITE of ours is open in a dialog.
    pub(super) fn is_asking_invite(&self, dialog: usize) -> bool {
        let ours = |c: &Client| c.dialog == Some(dialog) && c.is_invite() && c.is_open();
        self.clients.iter().any(ours)
    }

    pub(super) fn on_response(&mut self, now: Instant, response: &Sip, status: u16) {
        let matches =
            |c: &Client| c.branch == response.branch() && c.request.method() == response.method();
        let Some(client) = self.clients.iter().position(matches) else {
            return;
        };
        let c = &mut self.clients[client];
        match (status, c.is_invite()) {
            (100..=199, is_invite) => {
                if c.stage == Stage::Calling {
                    c.stage = Stage::Proceeding;
                    if let (true, None, Some(after)) =
                        (is_invite, c.dialog, self.manner.cancel_after)
                    {
                        self.later(now + after, Task::Cancel(client));
                    }
                }
            }
            (200..=299, true) => {
                c.stage = Stage::Completed;
                self.on_accepted(now, client, response);
            }
            (_, true) => {
                c.stage = Stage::Completed;
                self.acknowledge_rejection(client, response);
            }
            (_, false) => c.stage = Stage::Completed,
        }
    }

    /// A CANCEL, while there is something to cancel. It has its own transaction, with the branch
    /// of the INVITE (§9.1).
    pub(super) fn cancel(&mut self, now: Instant, client: usize) {
        let c = &self.clients[client];
        if c.stage != Stage::Proceeding {
            return;
        }
        let cancel = hop_by_hop(&c.request, "CANCEL", c.request.first("To"));
        let (branch, to, is_tcp) = (c.branch.clone(), c.to, c.is_tcp);
        let bytes: Rc<[u8]> = cancel.write().into();
        let index = self.clients.len();
        self.send(to, is_tcp, None, &bytes);
        self.clients.push(Client {
            request: cancel,
            branch,
            bytes,
            to,
            is_tcp,
            stage: Stage::Calling,
            interval: T1,
            dialog: None,
        });
        if !is_tcp {
            self.later(now + T1, Task::Repeat(index));
        }
        self.later(now + PATIENCE, Task::TimeOut(index));
    }

    /// §17.1.1.3: the ACK to a negative response belongs to the transaction.
    fn acknowledge_rejection(&mut self, client: usize, response: &Sip) {
        let c = &self.clients[client];
        let ack = hop_by_hop(&c.request, "ACK", response.first("To"));
        let (to, is_tcp) = (c.to, c.is_tcp);
        self.send(to, is_tcp, None, &ack.write().into());
    }

    /// A 2xx: a new dialog, one of a second fork, or a retransmission. Each gets its ACK.
    fn on_accepted(&mut self, now: Instant, client: usize, response: &Sip) {
        let cseq = response.cseq();
        let of_response =
            |d: &Dialog| crate::sip::param(&d.remote, "tag") == Some(response.tag_of("To"));
        let known = self.clients[client]
            .dialog
            .or_else(|| self.dialogs.iter().position(of_response));
        let dialog = known.unwrap_or_else(|| {
            self.dialogs
                .push(Dialog::of_caller(&self.clients[client].request, response));
            self.dialogs.len() - 1
        });
        if self.manner.forgets_ack {
            return;
        }
        self.acknowledge(dialog, cseq);
        match (known, dialog) {
            (Some(_), _) => {}
            (None, 0) => self.plan_dialog(now, dialog),
            // A second fork that answered is hung up at once (§13.2.2.4).
            (None, _) => self.hang_up(now, dialog),
        }
    }

    fn acknowledge(&mut self, dialog: usize, cseq: u32) {
        let (Some(to), is_tcp) = self.dialogs[dialog].next_hop() else {
            return;
        };
        let bytes = match &self.dialogs[dialog].ack {
            Some((number, bytes)) if *number == cseq => bytes.clone(),
            Some(_) | None => {
                let mut ack = self.dialog_request(dialog, "ACK", Some(cseq));
                let branch = self.mint_branch();
                ack.headers
                    .insert(0, ("Via".into(), self.via(is_tcp, &branch)));
                let bytes: Rc<[u8]> = ack.write().into();
                self.dialogs[dialog].ack = Some((cseq, bytes.clone()));
                bytes
            }
        };
        self.send(to, is_tcp, None, &bytes);
    }

    fn mint_branch(&mut self) -> String {
        match self.manner.lie {
            Some((Lie::BareBranch, _)) => self.mint("b"),
            Some(_) | None => self.mint("z9hG4bK-"),
        }
    }

    fn via(&self, is_tcp: bool, branch: &str) -> String {
        let transport = if is_tcp { "TCP" } else { "UDP" };
        format!("SIP/2.0/{transport} {};branch={branch}", self.addr)
    }
}

/// CANCEL, and ACK to a negative response: the INVITE's Request-URI, Via and Route (§9.1,
/// §17.1.1.3).
fn hop_by_hop(invite: &Sip, method: &str, to: &str) -> Sip {
    let mut request = Sip::request(method, invite.uri());
    for (name, value) in &invite.headers {
        match name.as_str() {
            "Via" | "Route" | "From" | "Call-ID" | "Max-Forwards" => {
                request = request.with(name, value.as_str());
            }
            "To" => request = request.with(name, to),
            "CSeq" => request = request.with(name, format!("{} {method}", invite.cseq())),
            _ => {}
        }
    }
    request
}
