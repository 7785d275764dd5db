//! A strict user agent: the dialog of RFC 3261 §12 with its own books, kept from the standard and
//! not from the proxy. What does not agree with them is a broken law.
//!
//! It answers at once what it is asked, acknowledges and PRACKs by itself (RFC 3262), and speaks
//! first only when the test tells it to.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::hop::{is_loose, set_uri};
use crate::law::{Broken, Law};
use crate::sip::{Sip, Start, addr_of, param, uri_of};

/// Who began the call, and who answered it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// Sent the INVITE.
    Caller,
    /// Answered it.
    Callee,
}

impl Side {
    /// Both.
    pub const BOTH: [Side; 2] = [Side::Caller, Side::Callee];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }

    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::Callee => "callee",
        }
    }
}

/// What is particular about a user agent.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Its Contact.
    pub contact: String,
    /// What stands behind it: the way through a NAT, which is not a part of the target.
    pub alias: String,
    /// What it writes into its Via.
    pub via: String,
    /// Where its first request goes.
    pub first_hop: SocketAddr,
    /// Headers of all its requests: hints for the proxy's script.
    pub hints: Vec<(String, String)>,
    /// The CSeq number of its first request.
    pub first_cseq: u32,
    /// Requests of these methods are challenged once each.
    pub challenges: BTreeSet<&'static str>,
    /// Its 180 is reliable.
    pub is_reliable: bool,
    /// It sends its 200 without waiting for the PRACK.
    pub is_hasty: bool,
    /// It keeps its 2xx to an INVITE, and its ACK, until it is told.
    pub holds_answer: bool,
    /// The same of its ACK.
    pub holds_ack: bool,
    /// Its first NOTIFY leaves in front of the 202 to the REFER (RFC 3515 §2.4.4 allows it).
    pub reports_first: bool,
    /// The hosts that a request of the proxy's own passes, the last first; the proxy is the last.
    pub own_path: Vec<String>,
    /// The same of a request of the other side's.
    pub peer_path: Vec<String>,
}

/// A request that it has sent.
#[derive(Clone, Debug)]
pub struct Asked {
    sip: Sip,
    status: u16,
    is_acked: bool,
}

/// A request that it has had.
#[derive(Clone, Debug)]
struct Served {
    branch: String,
    method: String,
    cseq: u32,
    text: Vec<u8>,
    last: Option<Sip>,
    is_acked: bool,
}

/// What was seen of a request of the proxy's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// The last number of the other side's before it.
    pub before: u32,
    /// Its number.
    pub cseq: u32,
    /// Whether it came on a connection.
    pub by_stream: bool,
    /// Whether it was asked to come again with credentials.
    pub is_challenged: bool,
}

/// One user agent in one call.
#[derive(Debug)]
pub struct Ua {
    /// Which.
    pub side: Side,
    /// How it is.
    pub manner: Manner,
    /// What it knows to be wrong.
    pub broken: Vec<Broken>,
    /// Requests of the proxy's own, and whatever else was new.
    pub seen: Vec<Seen>,
    /// Whether the call is over for it.
    pub is_over: bool,
    /// What it wants sent.
    pub out: Vec<(SocketAddr, Sip)>,
    call_id: String,
    tag: String,
    local_uri: String,
    remote_uri: String,
    remote_tag: String,
    target: String,
    routes: Vec<String>,
    local_seq: u32,
    remote_seq: Option<u32>,
    asked: Vec<Asked>,
    served: Vec<Served>,
    serial: u32,
    /// Of the reliable response that waits for its PRACK.
    rseq: Option<u32>,
    nonces: u32,
    /// The number of the REFER that it follows.
    refer: Option<u32>,
}

const COOKIE: &str = "z9hG4bK";

impl Ua {
    /// A user agent that has not spoken yet.
    pub fn new(side: Side, call_id: &str, manner: Manner) -> Ua {
        let uri = |side: Side| format!("sip:{}@{}.test", side.word(), side.word());
        Ua {
            side,
            broken: vec![],
            seen: vec![],
            is_over: false,
            out: vec![],
            call_id: call_id.to_owned(),
            tag: format!("t-{}", side.word()),
            local_uri: uri(side),
            remote_uri: uri(side.other()),
            remote_tag: String::new(),
            target: uri(side.other()),
            routes: vec![],
            local_seq: manner.first_cseq - 1,
            remote_seq: None,
            asked: vec![],
            served: vec![],
            serial: 0,
            rseq: None,
            nonces: 0,
            refer: None,
            manner,
        }
    }

    fn fail(&mut self, law: Law, text: String) {
        let text = format!("{}: {text}", self.side.word());
        self.broken.push(Broken::new(law, text));
    }

    fn ensure(&mut self, is_right: bool, law: Law, text: impl FnOnce() -> String) {
        if !is_right {
            let text = text();
            self.fail(law, text);
        }
    }

    /// It is called by the proxy itself, with a Call-ID of the proxy's.
    pub fn be_called(&mut self) {
        self.call_id.clear();
        self.local_uri.clone_from(&self.manner.contact);
        self.remote_uri = "sip:controller@kamailio.org".into();
        self.manner.peer_path.clone_from(&self.manner.own_path);
    }

    /// A proxy in front of it has forked the INVITE that it has to another phone of its owner's.
    pub fn fork_to(&self, other: &mut Ua) {
        let Some(text) = invites(&self.served).next().map(|s| s.text.clone()) else {
            return;
        };
        let Some(mut invite) = Sip::read(&text) else {
            return;
        };
        set_uri(&mut invite, &other.manner.contact);
        other.local_uri.clone_from(&self.local_uri);
        other.receive(&invite.write(), false);
    }

    /// Sends a final response to the INVITE that it has kept unanswered.
    pub fn refuse(&mut self, status: u16) {
        let text = invites(&self.served).next().map(|s| s.text.clone());
        if let Some(invite) = text.and_then(|text| Sip::read(&text)) {
            self.respond(&invite, status);
        }
    }

    /// Sends its response to the INVITE once more.
    pub fn repeat_answer(&mut self) {
        let last = invites(&self.served).last().and_then(|s| s.last.clone());
        last.into_iter().for_each(|response| self.reply(response));
    }

    /// Its tag and the other side's.
    pub fn tags(&self) -> (&str, &str) {
        (&self.tag, &self.remote_tag)
    }

    /// The status of its last request of this method; 0: none yet.
    pub fn status(&self, method: &str) -> u16 {
        let last = self.asked.iter().rev().find(|a| a.sip.method() == method);
        last.map_or(0, |a| a.status)
    }

    /// The same of all of them, in order.
    pub fn statuses(&self, method: &str) -> Vec<u16> {
        let asked = self.asked.iter().filter(|a| a.sip.method() == method);
        asked.map(|a| a.status).collect()
    }

    /// Whether a request of this method has come to it.
    pub fn has_served(&self, method: &str) -> bool {
        self.served.iter().any(|s| s.method == method)
    }

    /// Sends a request of this method: the first INVITE, or one in the dialog.
    pub fn ask(&mut self, method: &str) {
        self.ask_with(method, &[]);
    }

    /// The same with further header fields.
    pub fn ask_with(&mut self, method: &str, more: &[(&str, &str)]) {
        self.local_seq += 1;
        let mut request = self.request(method, self.local_seq);
        if matches!(method, "INVITE" | "UPDATE") {
            request = request.with_body("v=0\r\n");
        }
        if method == "INVITE" {
            request = request.with("Supported", "100rel");
        }
        if method == "REFER" {
            let referrer = format!("<{}>", self.local_uri);
            request = request
                .with("Refer-To", "<sip:third@third.test>")
                .with("Referred-By", referrer);
        }
        for (name, value) in more {
            request = request.with(name, *value);
        }
        self.is_over |= method == "BYE";
        self.begin(request);
    }

    fn begin(&mut self, request: Sip) {
        self.asked.push(Asked {
            sip: request.clone(),
            status: 0,
            is_acked: false,
        });
        self.send(request);
    }

    fn contact(&self) -> String {
        format!("<{}{}>", self.manner.contact, self.manner.alias)
    }

    /// §9.1.
    pub fn cancel(&mut self) {
        let pending = |a: &&Asked| a.sip.method() == "INVITE" && a.status < 200;
        let Some(invite) = self.asked.iter().find(pending) else {
            return;
        };
        let (top, cseq) = (invite.sip.first("Via").to_owned(), invite.sip.cseq());
        let mut cancel = self.request("CANCEL", cseq);
        cancel.replace("Via", top);
        self.begin(cancel);
    }

    /// From now on it is reached elsewhere; the next target refresh says so.
    pub fn move_to(&mut self, contact: &str) {
        self.manner.contact = contact.to_owned();
    }

    /// Sends the 2xx to the INVITE that it has kept.
    pub fn answer(&mut self) {
        let held = |s: &&mut Served| {
            s.method == "INVITE" && s.last.as_ref().is_none_or(|r| r.status() < Some(200))
        };
        let Some(served) = self.served.iter_mut().find(held) else {
            return;
        };
        let Some(request) = Sip::read(&served.text) else {
            return;
        };
        let contact = format!("<{}{}>", self.manner.contact, self.manner.alias);
        let ok = Sip::response(&request, 200, Some(&self.tag))
            .with("Contact", contact)
            .with_body("v=0\r\n");
        served.last = Some(ok.clone());
        // The target of an INVITE that began the dialog may have changed since.
        if !request.tag_of("To").is_empty() {
            self.refresh(&request);
        }
        self.reply(ok);
    }

    /// Sends the ACK that it has kept.
    pub fn acknowledge(&mut self) {
        let wanting = |a: &Asked| a.sip.method() == "INVITE" && a.status / 100 == 2 && !a.is_acked;
        while let Some(at) = self.asked.iter().position(wanting) {
            self.asked[at].is_acked = true;
            let ack = self.request("ACK", self.asked[at].sip.cseq());
            self.send(ack);
        }
    }

    fn request(&mut self, method: &str, cseq: u32) -> Sip {
        self.serial += 1;
        let via = &self.manner.via;
        let branch = format!("{COOKIE}-{}-{}", self.side.word(), self.serial);
        let to = match self.remote_tag.as_str() {
            "" => format!("<{}>", self.remote_uri),
            tag => format!("<{}>;tag={tag}", self.remote_uri),
        };
        let mut routes = self.routes.clone();
        let mut uri = self.target.clone();
        if let Some(strict) = routes.first().filter(|r| !is_loose(r)) {
            // §12.2.1.1: a strict router takes the target's place.
            let first = uri_of(strict).to_owned();
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            uri = first;
        }
        let mut request =
            Sip::request(method, &uri).with("Via", format!("SIP/2.0/{via};branch={branch};rport"));
        for route in routes {
            request = request.with("Route", route);
        }
        request = request
            .with("Max-Forwards", "70")
            .with("From", format!("<{}>;tag={}", self.local_uri, self.tag))
            .with("To", to)
            .with("Call-ID", self.call_id.as_str())
            .with("CSeq", format!("{cseq} {method}"))
            .with("Contact", self.contact());
        for (name, value) in &self.manner.hints {
            request = request.with(name, value.as_str());
        }
        request
    }

    fn send(&mut self, request: Sip) {
        let first = request.values("Route").next();
        let strict = !self.routes.is_empty() && !is_loose(&self.routes[0]);
        let hop = match first {
            Some(route) if !strict => addr_of(uri_of(route)),
            Some(_) | None => addr_of(request.uri()),
        };
        let in_dialog = !self.routes.is_empty();
        let to = hop.filter(|_| in_dialog).unwrap_or(self.manner.first_hop);
        self.out.push((to, request));
    }

    fn reply(&mut self, response: Sip) {
        let via = response.values("Via").next().unwrap_or_default();
        match crate::sip::sent_by(via).0 {
            Some(to) => self.out.push((to, response)),
            None => {
                let text = format!("{} has a Via that leads nowhere: {via}", response.label());
                self.fail(Law::Headers, text);
            }
        }
    }

    /// A message comes in.
    pub fn receive(&mut self, bytes: &[u8], by_stream: bool) {
        let Some(sip) = Sip::read(bytes) else {
            let text = format!("unreadable: {}", String::from_utf8_lossy(bytes));
            return self.fail(Law::Headers, text);
        };
        self.check_headers(&sip, bytes);
        match sip.start {
            Start::Request { .. } => self.requested(sip, bytes, by_stream),
            Start::Response { status } => self.answered(sip, status),
        }
    }

    fn check_headers(&mut self, sip: &Sip, bytes: &[u8]) {
        let mut once = vec!["From", "To", "Call-ID", "CSeq", "Content-Length"];
        if sip.status().is_none() {
            once.push("Max-Forwards");
        }
        for name in once {
            let count = sip.lines(name).count();
            self.ensure(count == 1, Law::Headers, || {
                format!("{} has {count} times {name}", sip.label())
            });
        }
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let body = bytes.len() - head.map_or(bytes.len(), |at| at + 4);
        let said = sip.first("Content-Length").parse::<usize>();
        self.ensure(said == Ok(body), Law::Headers, || {
            format!("{}: Content-Length {said:?}, body {body}", sip.label())
        });
        let word = sip.first("CSeq").split_whitespace().nth(1).unwrap_or("");
        let is_same = sip.status().is_some() || word == sip.method();
        self.ensure(is_same, Law::Headers, || {
            format!("{} with CSeq {}", sip.label(), sip.first("CSeq"))
        });
        let needs_contact = match sip.status() {
            None => matches!(sip.method(), "INVITE" | "UPDATE" | "REFER" | "NOTIFY"),
            Some(status) => status / 100 == 2 && sip.method() == "INVITE",
        };
        let has_contact = sip.lines("Contact").count() == 1;
        self.ensure(!needs_contact || has_contact, Law::Headers, || {
            format!("{} without one Contact", sip.label())
        });
    }
}

/// What it does with requests.
impl Ua {
    fn requested(&mut self, sip: Sip, bytes: &[u8], by_stream: bool) {
        self.check_path(&sip);
        let (branch, method) = (sip.branch().to_owned(), sip.method().to_owned());
        let unique = branch.strip_prefix(COOKIE).is_some_and(|b| b.len() > 8);
        self.ensure(unique, Law::Branch, || {
            format!("{} with branch {branch:?}", sip.label())
        });
        if method == "ACK" {
            return self.acked(&sip);
        }
        let known = |s: &&Served| s.branch == branch && s.method == method;
        if let Some(old) = self.served.iter().find(known) {
            let (is_same, last) = (old.text == bytes, old.last.clone());
            self.ensure(is_same, Law::Branch, || {
                format!("{} on the branch of another", sip.label())
            });
            last.into_iter().for_each(|r| self.reply(r));
            return;
        }
        if method == "CANCEL" {
            return self.cancelled(&sip);
        }
        let is_first = sip.tag_of("To").is_empty();
        if is_first && self.call_id.is_empty() {
            self.call_id = sip.call_id().to_owned();
        }
        self.check_dialog(&sip, is_first);
        let before = self.remote_seq.unwrap_or(0);
        let cseq = sip.cseq();
        self.ensure(
            self.remote_seq.is_none_or(|last| cseq > last),
            Law::NumbersGrow,
            || format!("{} after {before}", sip.label()),
        );
        self.remote_seq = Some(cseq.max(before));
        let is_own = sip.values("Via").count() == self.manner.own_path.len();
        if is_own {
            self.seen.push(Seen {
                method: method.clone(),
                before,
                cseq,
                by_stream,
                is_challenged: self.manner.challenges.contains(method.as_str())
                    && !is_authorized(&sip),
            });
        }
        self.served.push(Served {
            branch,
            method,
            cseq,
            text: bytes.to_vec(),
            last: None,
            is_acked: false,
        });
        self.serve(&sip, is_first);
    }

    fn serve(&mut self, sip: &Sip, is_first: bool) {
        let method = sip.method().to_owned();
        if self.manner.challenges.contains(method.as_str()) && !is_authorized(sip) {
            return self.challenge(sip);
        }
        if self.is_over && method != "BYE" {
            return self.respond(sip, 481);
        }
        match method.as_str() {
            "INVITE" if is_first => self.invited(sip),
            "INVITE" if self.has_pending_invite() => self.respond(sip, 491),
            "INVITE" => self.answer_unless_held(),
            "PRACK" => self.pracked(sip),
            "BYE" => {
                self.is_over = true;
                self.respond(sip, 200);
            }
            "REFER" => self.referred(sip),
            "NOTIFY" => self.notified(sip),
            _ => self.respond(sip, 200),
        }
    }

    /// RFC 3515 §2.4: exactly one Refer-To, a 202, and the state of the implicit subscription.
    fn referred(&mut self, sip: &Sip) {
        let count = |name| sip.values(name).count();
        let counts = ["Refer-To", "Referred-By", "Contact"].map(count);
        self.ensure(counts == [1; 3], Law::Headers, || {
            format!("{} with {counts:?} of its headers", sip.label())
        });
        self.refer = Some(sip.cseq());
        if self.manner.reports_first {
            self.report("active;expires=60");
            self.respond(sip, 202);
        } else {
            self.respond(sip, 202);
            self.report("active;expires=60");
        }
    }

    fn notified(&mut self, sip: &Sip) {
        let mut refers = self.asked.iter().filter(|a| a.sip.method() == "REFER");
        let number = refers.next_back().map(|a| a.sip.cseq());
        let id = param(sip.first("Event"), "id").map(String::from);
        self.ensure(id == number.map(|n| n.to_string()), Law::Refer, || {
            format!("{} about {id:?}, the REFER was {number:?}", sip.label())
        });
        self.respond(sip, 200);
    }

    /// It has reached, or not reached, whom it was referred to.
    pub fn report_last(&mut self) {
        self.report("terminated;reason=noresource");
    }

    /// A NOTIFY (RFC 3515 §2.4.5, §2.4.6).
    fn report(&mut self, state: &str) {
        let Some(refer) = self.refer else {
            return;
        };
        let event = format!("refer;id={refer}");
        self.ask_with(
            "NOTIFY",
            &[("Event", &event), ("Subscription-State", state)],
        );
    }

    fn challenge(&mut self, sip: &Sip) {
        self.nonces += 1;
        let line = format!("Digest realm=\"sim\", nonce=\"n{}\"", self.nonces);
        let response = Sip::response(sip, 407, Some(&self.tag)).with("Proxy-Authenticate", line);
        self.keep_and_reply(sip, response);
    }

    fn invited(&mut self, sip: &Sip) {
        self.remote_tag = sip.tag_of("From").to_owned();
        self.routes = sip.values("Record-Route").map(String::from).collect();
        self.target = uri_of(sip.first("Contact")).to_owned();
        let mut ringing = Sip::response(sip, 180, Some(&self.tag));
        ringing = ringing.with("Contact", self.contact());
        if self.manner.is_reliable {
            self.rseq = Some(71);
            ringing = ringing.with("Require", "100rel").with("RSeq", "71");
        }
        self.keep_and_reply(sip, ringing);
        if !self.manner.is_reliable || self.manner.is_hasty {
            self.answer_unless_held();
        }
    }

    fn answer_unless_held(&mut self) {
        if !self.manner.holds_answer {
            self.answer();
        }
    }

    fn pracked(&mut self, sip: &Sip) {
        let invite = self.served.iter().rev().find(|s| s.method == "INVITE");
        let number = invite.map_or(0, |s| s.cseq);
        let want = format!("{} {number} INVITE", self.rseq.unwrap_or(0));
        let rack = sip.first("RAck").to_owned();
        self.ensure(rack == want, Law::Rack, || {
            format!("{}: RAck {rack:?} where {want:?} is right", sip.label())
        });
        self.respond(sip, 200);
        if !self.manner.is_hasty {
            self.answer_unless_held();
        }
    }

    fn cancelled(&mut self, sip: &Sip) {
        let branch = sip.branch();
        let invite = self
            .served
            .iter()
            .find(|s| s.method == "INVITE" && s.branch == branch);
        let number = invite.map(|s| s.cseq);
        self.ensure(number == Some(sip.cseq()), Law::NumberOfInvite, || {
            format!("{}: the INVITE on its branch is {number:?}", sip.label())
        });
        self.reply(Sip::response(sip, 200, Some(&self.tag.clone())));
        let text = invite_text(&self.served, branch);
        if let Some(invite) = text.and_then(|text| Sip::read(&text)) {
            self.respond(&invite, 487);
        }
    }

    fn acked(&mut self, sip: &Sip) {
        let (number, branch) = (sip.cseq(), sip.branch().to_owned());
        let is_answered = |s: &Served| s.method == "INVITE" && s.cseq == number && s.last.is_some();
        // The ACK to a refusal has the branch of its INVITE, that to a 2xx another.
        let of_branch = |s: &Served| is_answered(s) && s.branch == branch;
        let at = self.served.iter().position(of_branch);
        let at = at.or_else(|| self.served.iter().rposition(is_answered));
        let Some(invite) = at.map(|at| &mut self.served[at]) else {
            let known: Vec<u32> = invites(&self.served).map(|s| s.cseq).collect();
            return self.fail(
                Law::NumberOfInvite,
                format!("{}: the INVITEs were {known:?}", sip.label()),
            );
        };
        let status = invite.last.as_ref().and_then(|r| r.status()).unwrap_or(0);
        let is_same_branch = invite.branch == sip.branch();
        invite.is_acked = true;
        let is_success = status / 100 == 2;
        if is_success {
            self.check_dialog(sip, false);
        }
        self.ensure(is_success != is_same_branch, Law::Branch, || {
            format!("{} to a {status} on branch {}", sip.label(), sip.branch())
        });
    }

    fn respond(&mut self, request: &Sip, status: u16) {
        let mut response = Sip::response(request, status, Some(&self.tag));
        if matches!(request.method(), "UPDATE" | "REFER") {
            response = response.with("Contact", self.contact());
        }
        if status / 100 == 2 {
            self.refresh(request);
        }
        self.keep_and_reply(request, response);
    }

    fn keep_and_reply(&mut self, request: &Sip, response: Sip) {
        let branch = request.branch();
        let served = self
            .served
            .iter_mut()
            .find(|s| s.branch == branch && s.method == request.method());
        if let Some(served) = served {
            served.last = Some(response.clone());
        }
        self.reply(response);
    }

    /// §12.2.2, RFC 3311 §5.2.
    fn refresh(&mut self, message: &Sip) {
        let contact = message.first("Contact");
        if matches!(message.method(), "INVITE" | "UPDATE") && !contact.is_empty() {
            self.target = uri_of(contact).to_owned();
        }
    }

    fn has_pending_invite(&self) -> bool {
        let pending = |a: &Asked| a.sip.method() == "INVITE" && a.status < 200;
        self.asked.iter().any(pending)
    }

    fn check_path(&mut self, sip: &Sip) {
        let routes: Vec<&str> = sip.values("Route").collect();
        self.ensure(routes.is_empty(), Law::RouteSet, || {
            format!("{} arrives with Route {routes:?}", sip.label())
        });
        let hosts: Vec<String> = sip.values("Via").map(host_of_via).collect();
        let is_known = hosts == self.manner.own_path || hosts == self.manner.peer_path;
        // What ends in its hop (§9.1, §17.1.1.3) has one Via.
        let is_of_hop = matches!(sip.method(), "ACK" | "CANCEL")
            && hosts.first() == self.manner.own_path.first();
        self.ensure(is_known || is_of_hop, Law::RouteSet, || {
            format!("{} came by {hosts:?}", sip.label())
        });
        let own_count = self.manner.own_path.len();
        let forwards = sip.first("Max-Forwards").parse::<usize>();
        let want = 71usize.checked_sub(hosts.len());
        let is_right = is_of_hop || forwards.as_ref().ok().copied() == want;
        self.ensure(is_right, Law::Headers, || {
            format!(
                "{}: Max-Forwards {forwards:?}, {own_count} of our own",
                sip.label()
            )
        });
    }

    fn check_dialog(&mut self, sip: &Sip, is_first: bool) {
        let uri = sip.uri().to_owned();
        let Manner { contact, alias, .. } = &self.manner;
        let is_aliased = uri.strip_prefix(contact.as_str()) == Some(alias);
        let is_own = sip.values("Via").count() == self.manner.own_path.len();
        let is_target = uri == *contact || (is_aliased && !is_own);
        self.ensure(is_target, Law::Target, || {
            format!("{} to {uri}", sip.label())
        });
        let (from, to) = (sip.first("From").to_owned(), sip.first("To").to_owned());
        let tag = |value: &str| param(value, "tag").unwrap_or("").to_owned();
        let is_right = sip.call_id() == self.call_id
            && uri_of(&from) == self.remote_uri
            && uri_of(&to) == self.local_uri
            && (is_first || (tag(&from) == self.remote_tag && tag(&to) == self.tag));
        self.ensure(is_right, Law::Parties, || {
            format!("{} from {from} to {to}", sip.label())
        });
    }
}

/// What it does with responses.
impl Ua {
    fn answered(&mut self, sip: Sip, status: u16) {
        let (branch, method) = (sip.branch().to_owned(), sip.method().to_owned());
        let is_it = |a: &Asked| a.sip.branch() == branch && a.sip.method() == method;
        let Some(at) = self.asked.iter().position(is_it) else {
            let text = format!("{} on branch {branch}, which asked nothing", sip.label());
            return self.fail(Law::ResponseBelongs, text);
        };
        let asked = self.asked[at].clone();
        let via_count = sip.values("Via").count();
        self.ensure(via_count == 1, Law::ResponseBelongs, || {
            format!("{} with {via_count} Vias", sip.label())
        });
        let number = asked.sip.cseq();
        self.ensure(sip.cseq() == number, Law::ResponseNumber, || {
            format!("{} to the request {number}", sip.label())
        });
        let (from, to) = (sip.first("From").to_owned(), sip.first("To").to_owned());
        let peer = param(&to, "tag").unwrap_or("").to_owned();
        let known = self.remote_tag.clone();
        let is_of_hop = method == "CANCEL" || status == 100;
        let is_right = sip.call_id() == self.call_id
            && from == asked.sip.first("From")
            && uri_of(&to) == self.remote_uri
            && (is_of_hop || known.is_empty() || peer == known);
        self.ensure(is_right, Law::Parties, || {
            format!("{} from {from} to {to}", sip.label())
        });
        let was_final = asked.status >= 200;
        self.asked[at].status = status.max(asked.status);
        if was_final {
            if method == "INVITE" && status / 100 == 2 {
                self.asked[at].is_acked = false;
                self.acknowledge();
            }
            return;
        }
        if status > 100 && status < 300 && known.is_empty() {
            self.begin_dialog(&sip);
        }
        match (method.as_str(), status / 100) {
            ("INVITE", 1) if status > 100 => self.progress(&sip),
            ("INVITE", 2) => {
                self.refresh(&sip);
                if !self.manner.holds_ack {
                    self.acknowledge();
                }
            }
            ("INVITE", 3..) => {
                self.asked[at].is_acked = true;
                self.acknowledge_refusal(&asked.sip, &sip);
            }
            ("UPDATE", 2) => self.refresh(&sip),
            _ => {}
        }
    }

    /// §12.1.2.
    fn begin_dialog(&mut self, sip: &Sip) {
        self.remote_tag = sip.tag_of("To").to_owned();
        let routes: Vec<String> = sip.values("Record-Route").map(String::from).collect();
        self.routes = routes.into_iter().rev().collect();
        self.target = uri_of(sip.first("Contact")).to_owned();
    }

    /// RFC 3262 §4.
    fn progress(&mut self, sip: &Sip) {
        if sip.first("RSeq").is_empty() || !sip.first("Require").contains("100rel") {
            return;
        }
        let rack = format!("{} {}", sip.first("RSeq"), sip.first("CSeq"));
        self.ask_with("PRACK", &[("RAck", &rack)]);
    }

    /// §17.1.1.3.
    fn acknowledge_refusal(&mut self, invite: &Sip, response: &Sip) {
        let mut ack = Sip::request("ACK", invite.uri());
        for name in ["Via", "Route", "Max-Forwards", "From", "Call-ID"] {
            for value in invite.lines(name) {
                ack = ack.with(name, value);
            }
        }
        ack = ack
            .with("To", response.first("To"))
            .with("CSeq", format!("{} ACK", invite.cseq()));
        self.send(ack);
    }

    /// Whether everything has been answered.
    pub fn check_end(&mut self) {
        let open: Vec<String> = self
            .asked
            .iter()
            .filter(|a| a.status < 200)
            .map(|a| a.sip.label())
            .collect();
        self.ensure(open.is_empty(), Law::Answered, || {
            format!("without an answer: {open:?}")
        });
        let open: Vec<u32> = invites(&self.served)
            .filter(|s| !s.is_acked)
            .map(|s| s.cseq)
            .collect();
        self.ensure(open.is_empty(), Law::Answered, || {
            format!("INVITEs without an ACK: {open:?}")
        });
    }
}

fn is_authorized(sip: &Sip) -> bool {
    let names = ["Authorization", "Proxy-Authorization"];
    names.iter().any(|name| !sip.first(name).is_empty())
}

fn invites(served: &[Served]) -> impl Iterator<Item = &Served> {
    served.iter().filter(|s| s.method == "INVITE")
}

fn invite_text(served: &[Served], branch: &str) -> Option<Vec<u8>> {
    let found = invites(served).find(|s| s.branch == branch);
    found.map(|s| s.text.clone())
}

/// The host and port in a Via.
fn host_of_via(via: &str) -> String {
    let words = via.split(';').next().unwrap_or("").split_whitespace();
    let host = words.last().unwrap_or("");
    host.trim_end_matches(":5060").to_owned()
}
