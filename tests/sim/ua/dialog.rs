//! What a user agent remembers of a dialog (RFC 3261 §12), and the requests it sends in it.

use std::net::SocketAddr;
use std::rc::Rc;

use dialcore::time::{Duration, Instant};

use super::{Agent, Task};
use crate::sip::{Sip, addr_of, is_tcp, uri_of};

/// One side of one dialog.
#[derive(Debug)]
pub(super) struct Dialog {
    /// From of our requests, with our tag.
    pub(super) local: String,
    /// To of our requests, with the peer's tag.
    pub(super) remote: String,
    /// The peer's Contact.
    target: String,
    /// Routes, the nearest first.
    routes: Vec<String>,
    /// Of our last request.
    cseq: u32,
    /// Of the peer's last request.
    pub(super) remote_cseq: u32,
    /// Whether our 2xx was acknowledged; always so for the caller.
    pub(super) is_acked: bool,
    /// After a BYE in either direction.
    pub(super) is_ended: bool,
    /// The last ACK and the CSeq it is for: each 2xx gets it again (§13.2.2.4).
    pub(super) ack: Option<(u32, Rc<[u8]>)>,
}

impl Dialog {
    /// The caller's side, from its INVITE and the 2xx (§12.1.2).
    pub(super) fn of_caller(request: &Sip, response: &Sip) -> Dialog {
        let routes = response.values("Record-Route").map(String::from);
        Dialog {
            local: request.first("From").into(),
            remote: response.first("To").into(),
            target: uri_of(response.first("Contact")).into(),
            routes: routes.collect::<Vec<_>>().into_iter().rev().collect(),
            cseq: request.cseq(),
            remote_cseq: 0,
            is_acked: true,
            is_ended: false,
            ack: None,
        }
    }

    /// The callee's side (§12.1.1).
    pub(super) fn of_callee(request: &Sip, tag: &str) -> Dialog {
        Dialog {
            local: format!("{};tag={tag}", request.first("To")),
            remote: request.first("From").into(),
            target: uri_of(request.first("Contact")).into(),
            routes: request.values("Record-Route").map(String::from).collect(),
            cseq: 0,
            remote_cseq: request.cseq(),
            is_acked: false,
            is_ended: false,
            ack: None,
        }
    }

    /// Whether a request of the peer belongs to this dialog.
    pub(super) fn matches(&self, request: &Sip) -> bool {
        let tag = |value: &str| crate::sip::param(value, "tag").unwrap_or("").to_string();
        tag(&self.local) == request.tag_of("To") && tag(&self.remote) == request.tag_of("From")
    }

    /// Where requests go: the first route, or the target when there is none (§12.2.1.1).
    pub(super) fn next_hop(&self) -> (Option<SocketAddr>, bool) {
        let uri = self
            .routes
            .first()
            .map_or(self.target.as_str(), |r| uri_of(r));
        (addr_of(uri), is_tcp(uri))
    }
}

impl Agent {
    /// Builds a request of a dialog; an ACK has the number of its INVITE.
    pub(super) fn dialog_request(&mut self, dialog: usize, method: &str, cseq: Option<u32>) -> Sip {
        let contact = self.contact();
        let probe = self.mint("probe");
        let call_id = self.call_id.clone();
        let d = &mut self.dialogs[dialog];
        let number = cseq.unwrap_or_else(|| {
            d.cseq += 1;
            d.cseq
        });
        let mut request = Sip::request(method, &d.target);
        for route in &d.routes {
            request = request.with("Route", route.as_str());
        }
        request
            .with("From", d.local.as_str())
            .with("To", d.remote.as_str())
            .with("Call-ID", &*call_id)
            .with("CSeq", format!("{number} {method}"))
            .with("Max-Forwards", "70")
            .with("Contact", format!("<{contact}>"))
            .with("X-Probe", probe)
    }

    /// Starts a transaction in a dialog, unless the dialog has ended.
    pub(super) fn ask_in_dialog(&mut self, now: Instant, dialog: usize, method: &str) {
        if self.dialogs[dialog].is_ended {
            return;
        }
        let (Some(to), is_tcp) = self.dialogs[dialog].next_hop() else {
            return;
        };
        let mut request = self.dialog_request(dialog, method, None);
        if method == "INVITE" {
            request = request.with_body("v=0\r\ns=again\r\n");
        }
        self.ask(now, request, to, is_tcp, Some(dialog));
    }

    /// A re-INVITE, unless one of either side is open in this dialog (§14.1).
    pub(super) fn re_invite(&mut self, now: Instant, dialog: usize) {
        let is_open = self.is_asking_invite(dialog) || self.is_asked_invite(dialog);
        if !is_open && self.dialogs[dialog].is_acked {
            self.ask_in_dialog(now, dialog, "INVITE");
        }
    }

    /// A BYE. The callee must not send it before its 2xx is acknowledged (§15): it tries again.
    pub(super) fn hang_up(&mut self, now: Instant, dialog: usize) {
        if !self.dialogs[dialog].is_acked {
            self.later(now + Duration::from_secs(1), Task::HangUp(dialog));
            return;
        }
        self.ask_in_dialog(now, dialog, "BYE");
        self.dialogs[dialog].is_ended = true;
    }

    /// What the manner has in mind for a dialog that has begun.
    pub(super) fn plan_dialog(&mut self, now: Instant, dialog: usize) {
        let later = [
            (self.manner.info_after, Task::Info(dialog)),
            (self.manner.reinvite_after, Task::ReInvite(dialog)),
            (self.manner.hang_up_after, Task::HangUp(dialog)),
        ];
        for (after, task) in later {
            if let Some(after) = after {
                self.later(now + after, task);
            }
        }
    }
}
