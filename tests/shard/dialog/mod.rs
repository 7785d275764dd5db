//! Dialogs on one shard, message by message.

mod events;
mod hangup;
mod keepalive;
mod lives;
mod matching;
mod observer;
mod profiles;
mod scripts;
mod timers;
mod transfers;

use crate::proxy::{ALICE, BOB, Proxy, Script, Sent, answer, request};

/// One call through a proxy with dialogs.
pub(crate) struct Call {
    pub(crate) p: Proxy,
    /// The INVITE as the callee got it.
    pub(crate) invite: Sent,
    /// What has been used for branches.
    serial: u32,
}

impl Call {
    /// The INVITE has come to the callee.
    pub(crate) fn begin(script: Script<'_>) -> Call {
        Call::with(Proxy::with_dialogs(script), "")
    }

    /// The same, through a given proxy, with further header lines.
    pub(crate) fn with(mut p: Proxy, more: &str) -> Call {
        let sent = p.receive(ALICE, &request("INVITE", "i", more));
        let invite = sent
            .into_iter()
            .find(|s| s.line().starts_with("INVITE"))
            .expect("relayed");
        Call {
            p,
            invite,
            serial: 0,
        }
    }

    /// A proxy whose script has had the INVITE and sent it nowhere.
    pub(crate) fn begin_silently(script: Script<'_>) -> Proxy {
        let mut p = Proxy::with_dialogs(script);
        p.receive(ALICE, &request("INVITE", "i", ""));
        p
    }

    /// A call that is up.
    pub(crate) fn up(script: Script<'_>) -> Call {
        let mut call = Call::begin(script);
        call.reply(180);
        call.reply(200);
        call.send("ACK");
        call
    }

    /// The callee answers the INVITE.
    pub(crate) fn reply(&mut self, code: u16) -> Vec<Sent> {
        self.p.receive(BOB, &answer(&self.invite, code, "b1"))
    }

    /// The Route to the proxy, with the cookie.
    pub(crate) fn route(&self) -> String {
        self.invite.get("Record-Route").to_owned()
    }

    /// A request of the caller in the dialog.
    pub(crate) fn within(&mut self, method: &str) -> String {
        self.serial += 1;
        let branch = format!("w{}", self.serial);
        let route = format!("Route: {}\r\n", self.route());
        request(method, &branch, &route)
            .replace("To: <sip:bob@b.test>", "To: <sip:bob@b.test>;tag=b1")
            .replace("CSeq: 1 ", &format!("CSeq: {} ", self.serial + 1))
    }

    /// The same of the callee.
    pub(crate) fn within_by_callee(&mut self, method: &str) -> String {
        self.within(method)
            .replace(
                &format!("{method} sip:bob@192.0.2.2"),
                &format!("{method} sip:alice@192.0.2.1"),
            )
            .replace(
                "From: <sip:alice@a.test>;tag=a1",
                "From: <sip:bob@b.test>;tag=b1",
            )
            .replace(
                "To: <sip:bob@b.test>;tag=b1",
                "To: <sip:alice@a.test>;tag=a1",
            )
            .replace("SIP/2.0/UDP 192.0.2.1;", "SIP/2.0/UDP 192.0.2.2;")
            .replace(
                "Contact: <sip:alice@192.0.2.1>",
                "Contact: <sip:bob@192.0.2.2>",
            )
    }

    /// The caller sends a request in the dialog.
    pub(crate) fn send(&mut self, method: &str) -> Vec<Sent> {
        let text = self.within(method);
        self.p.receive(ALICE, &text)
    }

    /// The callee does.
    pub(crate) fn send_by_callee(&mut self, method: &str) -> Vec<Sent> {
        let text = self.within_by_callee(method);
        self.p.receive(BOB, &text)
    }

    /// The state of the only dialog; 0: there is none.
    pub(crate) fn state(&mut self) -> i64 {
        let states = self.p.states();
        assert!(states.len() <= 1, "{states:?}");
        states.first().copied().unwrap_or(0)
    }
}
