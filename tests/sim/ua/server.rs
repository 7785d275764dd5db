//! What a user agent is asked: server transactions of RFC 3261 §17.2 and the 2xx of §13.3.1.4,
//! which it repeats itself until the ACK.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use dialcore::time::{Duration, Instant};

use super::dialog::Dialog;
use super::{Agent, Answer, Lie, OnCancel, PATIENCE, T1, T2, Task};
use crate::sip::{Sip, param, sent_by};
use crate::stream::StreamId;

const BETWEEN_RINGS: Duration = Duration::from_millis(50);
const RE_INVITE_THOUGHT: Duration = Duration::from_millis(150);

/// How far a server transaction has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing said yet.
    Trying,
    /// A provisional response.
    Ringing,
    /// A 2xx to an INVITE, not acknowledged.
    Accepted,
    /// A negative one to an INVITE, not acknowledged.
    Rejected,
    /// Nothing more to do.
    Done,
}

/// One server transaction.
#[derive(Debug)]
pub(super) struct Server {
    request: Sip,
    stream: Option<StreamId>,
    stage: Stage,
    tag: String,
    last: Option<Rc<[u8]>>,
    interval: Duration,
    rings_left: u32,
    dialog: Option<usize>,
}

impl Server {
    pub(super) fn is_ringing(&self) -> bool {
        self.stage == Stage::Ringing
    }

    fn is_open_invite(&self) -> bool {
        self.request.method() == "INVITE" && matches!(self.stage, Stage::Trying | Stage::Ringing)
    }

    fn has_branch(&self, method: &str, branch: &str) -> bool {
        self.request.method() == method && self.request.branch() == branch
    }

    /// The request, for who wants to lie about it.
    pub(super) fn request(&self) -> &Sip {
        &self.request
    }
}

impl Agent {
    pub(super) fn on_request(&mut self, now: Instant, request: &Sip, stream: Option<StreamId>) {
        let method = request.method();
        let known = |s: &Server| s.has_branch(method, request.branch());
        match method {
            "ACK" => self.on_ack(now, request),
            _ => match self.servers.iter().position(known) {
                Some(server) => self.say_again(server),
                None => {
                    let server = self.take(request, stream);
                    self.on_new_request(now, server);
                }
            },
        }
    }

    /// Whether an INVITE of the peer is open in a dialog.
    pub(super) fn is_asked_invite(&self, dialog: usize) -> bool {
        self.servers
            .iter()
            .any(|s| s.dialog == Some(dialog) && s.is_open_invite())
    }

    /// The server transactions, oldest first.
    pub(super) fn asked(&self) -> &[Server] {
        &self.servers
    }

    fn take(&mut self, request: &Sip, stream: Option<StreamId>) -> usize {
        let tag = match request.tag_of("To") {
            "" => self.mint("t"),
            tag => tag.to_string(),
        };
        self.servers.push(Server {
            request: request.clone(),
            stream,
            stage: Stage::Trying,
            tag,
            last: None,
            interval: T1,
            rings_left: self.manner.ring_count,
            dialog: self.dialogs.iter().position(|d| d.matches(request)),
        });
        self.servers.len() - 1
    }

    fn on_new_request(&mut self, now: Instant, server: usize) {
        let s = &self.servers[server];
        let (method, dialog) = (s.request.method().to_string(), s.dialog);
        let is_outside = s.request.tag_of("To").is_empty();
        match (method.as_str(), dialog) {
            ("CANCEL", _) => self.on_cancel(now, server),
            ("INVITE", None) if is_outside => self.on_call(now, server),
            (_, None) if is_outside && method != "BYE" => self.reply(now, server, 200),
            (_, None) => self.reply(now, server, 481),
            (_, Some(dialog)) => self.on_request_in_dialog(now, server, dialog, &method),
        }
    }

    fn on_call(&mut self, now: Instant, server: usize) {
        if self.manner.answer == Answer::Silent {
            return;
        }
        if let Some(after) = self.manner.ring_after {
            self.later(now + after, Task::Ring(server));
        }
        if self.manner.answer != Answer::RingForEver {
            self.later(now + self.manner.answer_after, Task::Answer(server));
        }
    }

    fn on_request_in_dialog(&mut self, now: Instant, server: usize, dialog: usize, method: &str) {
        let number = self.servers[server].request.cseq();
        let d = &mut self.dialogs[dialog];
        if d.is_ended && method != "BYE" {
            return self.reply(now, server, 481);
        }
        // §12.2.2: what comes out of order is refused.
        if number <= d.remote_cseq {
            return self.reply(now, server, 500);
        }
        d.remote_cseq = number;
        match method {
            "BYE" => {
                d.is_ended = true;
                self.reply(now, server, 200);
                self.refuse_open_invites(now, dialog);
            }
            "INVITE" => {
                // §14.2: two that cross are both refused.
                match self.is_asking_invite(dialog) {
                    true => self.reply(now, server, 491),
                    false => self.later(now + RE_INVITE_THOUGHT, Task::Answer(server)),
                }
            }
            _ => self.reply(now, server, 200),
        }
    }

    /// §15.1.2: a BYE ends what is still open with 487.
    fn refuse_open_invites(&mut self, now: Instant, dialog: usize) {
        for server in 0..self.servers.len() {
            if self.servers[server].dialog == Some(dialog) && self.servers[server].is_open_invite()
            {
                self.reply(now, server, 487);
            }
        }
    }

    fn on_cancel(&mut self, now: Instant, cancel: usize) {
        let branch = self.servers[cancel].request.branch().to_string();
        let Some(invite) = self
            .servers
            .iter()
            .position(|s| s.has_branch("INVITE", &branch))
        else {
            return self.reply(now, cancel, 481);
        };
        self.servers[cancel].tag = self.servers[invite].tag.clone();
        self.reply(now, cancel, 200);
        if self.servers[invite].is_open_invite() {
            match self.manner.on_cancel {
                OnCancel::Obey => self.reply(now, invite, 487),
                OnCancel::AnswerAnyway => self.reply(now, invite, 200),
            }
        }
    }

    fn on_ack(&mut self, now: Instant, ack: &Sip) {
        let is_for = |s: &Server| match s.stage {
            Stage::Rejected => s.has_branch("INVITE", ack.branch()),
            Stage::Accepted => {
                s.tag == ack.tag_of("To")
                    && s.request.tag_of("From") == ack.tag_of("From")
                    && s.request.cseq() == ack.cseq()
            }
            Stage::Trying | Stage::Ringing | Stage::Done => false,
        };
        let Some(server) = self.servers.iter().position(is_for) else {
            return;
        };
        let s = &mut self.servers[server];
        let was_accepted = s.stage == Stage::Accepted;
        s.stage = Stage::Done;
        let dialog = s.dialog.filter(|_| was_accepted);
        if let Some(dialog) = dialog.filter(|&d| !self.dialogs[d].is_acked) {
            self.dialogs[dialog].is_acked = true;
            self.plan_dialog(now, dialog);
        }
    }

    pub(super) fn ring(&mut self, now: Instant, server: usize) {
        let s = &mut self.servers[server];
        if !s.is_open_invite() || s.rings_left == 0 {
            return;
        }
        s.rings_left -= 1;
        let status = if s.stage == Stage::Trying { 180 } else { 183 };
        self.reply(now, server, status);
        self.later(now + BETWEEN_RINGS, Task::Ring(server));
    }

    pub(super) fn answer(&mut self, now: Instant, server: usize) {
        if !self.servers[server].is_open_invite() {
            return;
        }
        let status = match (self.servers[server].dialog, self.manner.answer) {
            (None, Answer::Reject(status)) => status,
            (None, Answer::RingForEver | Answer::Silent) => return,
            (None, Answer::Accept) | (Some(_), _) => 200,
        };
        self.reply(now, server, status);
    }

    /// Timer G, and the 2xx of §13.3.1.4.
    pub(super) fn resend(&mut self, now: Instant, server: usize) {
        let s = &mut self.servers[server];
        if !matches!(s.stage, Stage::Accepted | Stage::Rejected) {
            return;
        }
        s.interval = s.interval.doubled_up_to(T2);
        let interval = s.interval;
        self.say_again(server);
        self.later(now + interval, Task::Resend(server));
    }

    /// Timer H. A dialog whose 2xx nobody acknowledged is hung up (§13.3.1.4).
    pub(super) fn give_up(&mut self, now: Instant, server: usize) {
        let stage = std::mem::replace(&mut self.servers[server].stage, Stage::Done);
        if let (Stage::Accepted, Some(dialog)) = (stage, self.servers[server].dialog) {
            self.dialogs[dialog].is_acked = true;
            self.hang_up(now, dialog);
        }
    }

    fn say_again(&mut self, server: usize) {
        if let Some(last) = self.servers[server].last.clone() {
            self.send_reply(server, &last);
        }
    }

    fn reply(&mut self, now: Instant, server: usize, status: u16) {
        let contact = self.contact();
        let changing = matches!(self.manner.lie, Some((Lie::ChangingTag, _))) && status < 200;
        let changed = changing.then(|| self.mint("lie"));
        let s = &mut self.servers[server];
        let is_invite = s.request.method() == "INVITE";
        let tag = changed.as_deref().unwrap_or(&s.tag);
        let mut response = Sip::response(&s.request, status, Some(tag));
        if is_invite && (101..300).contains(&status) {
            response = response.with("Contact", format!("<{contact}>"));
        }
        if is_invite && (200..300).contains(&status) {
            response = response.with_body("v=0\r\ns=answer\r\n");
        }
        let bytes: Rc<[u8]> = response.write().into();
        s.last = Some(bytes.clone());
        s.stage = match (is_invite, status) {
            (true, 100..=199) => Stage::Ringing,
            (true, 200..=299) => Stage::Accepted,
            (true, _) => Stage::Rejected,
            (false, _) => Stage::Done,
        };
        self.after_reply(now, server);
        self.send_reply(server, &bytes);
    }

    /// What a final response to an INVITE starts: a dialog, and its own retransmission.
    fn after_reply(&mut self, now: Instant, server: usize) {
        let s = &mut self.servers[server];
        let (stage, is_tcp) = (s.stage, s.stream.is_some());
        if stage == Stage::Accepted && s.dialog.is_none() {
            s.dialog = Some(self.dialogs.len());
            self.dialogs.push(Dialog::of_callee(&s.request, &s.tag));
        }
        if matches!(stage, Stage::Accepted | Stage::Rejected) {
            if stage == Stage::Accepted || !is_tcp {
                self.later(now + T1, Task::Resend(server));
            }
            self.later(now + PATIENCE, Task::GiveUp(server));
        }
    }

    /// Along the topmost Via (§18.2.2, RFC 3581 §4).
    fn send_reply(&mut self, server: usize, bytes: &Rc<[u8]>) {
        let s = &self.servers[server];
        let stream = s.stream;
        let Some(to) = s.request.values("Via").next().and_then(reply_address) else {
            return;
        };
        self.send(to, stream.is_some(), stream, bytes);
    }
}

fn reply_address(via: &str) -> Option<SocketAddr> {
    let (addr, _) = sent_by(via);
    let mut addr = addr?;
    if let Some(ip) = param(via, "received").and_then(|ip| ip.parse::<IpAddr>().ok()) {
        addr.set_ip(ip);
    }
    if let Some(port) = param(via, "rport").and_then(|port| port.parse().ok()) {
        addr.set_port(port);
    }
    Some(addr)
}
