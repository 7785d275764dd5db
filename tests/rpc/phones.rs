//! Two phones on loopback: one calls through the server under test, the other answers.

use std::net::UdpSocket;
use std::time::Duration;

use crate::server::{PATIENCE, Wishes};

/// What a server needs for calls that have profiles, variables and flags.
pub(crate) const CALLS: Wishes = Wishes {
    more: "loadmodule \"siputils.so\"",
    route: r#"
        if (has_totag()) { loose_route(); t_relay(); exit; }
        record_route();
        dlg_manage();
        set_dlg_profile("caller", "$fU");
        set_dlg_profile("all");
        $dlg_var(note) = "a b;c";
        dlg_setflag("3");
        t_relay();
    "#,
    tcp: false,
};

/// How far a call goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It rings.
    Ringing,
    /// Answered, not acknowledged.
    Answered,
    /// Up.
    Up,
}

/// A caller and a callee.
pub(crate) struct Phones {
    caller: UdpSocket,
    callee: UdpSocket,
    server: u16,
}

impl Phones {
    /// Two phones that know the port of a server.
    pub(crate) fn new(server: u16) -> Phones {
        let phone = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            socket
        };
        Phones {
            caller: phone(),
            callee: phone(),
            server,
        }
    }

    /// The ports of both, the caller's first.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [&self.caller, &self.callee].map(|socket| socket.local_addr().expect("it is bound").port())
    }

    /// A call from `user` that goes as far as `stage`.
    pub(crate) fn call(&self, call_id: &str, user: &str, stage: Stage) {
        let [caller, callee] = self.ports();
        let head = |method: &str, number: u32| {
            format!(
                "{method} sip:bob@127.0.0.1:{callee} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP 127.0.0.1:{caller};branch=z9hG4bK{call_id}{method}\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:{user}@a.test>;tag=ft{call_id}\r\n\
                 Call-ID: {call_id}\r\nCSeq: {number} {method}\r\n\
                 Contact: <sip:{user}@127.0.0.1:{caller}>\r\n"
            )
        };
        let invite = head("INVITE", 1) + "To: <sip:bob@b.test>\r\nContent-Length: 0\r\n\r\n";
        let invite = self.through(&invite);
        let status = if stage == Stage::Ringing {
            "180 Ringing"
        } else {
            "200 OK"
        };
        self.send(&self.callee, &answer(&invite, status, call_id, callee));
        let answer = self.receive(&self.caller, &format!("SIP/2.0 {status}"));
        if stage == Stage::Up {
            let routes = lines(&answer, "Record-Route:").replace("Record-Route:", "Route:");
            let to = format!("To: <sip:bob@b.test>;tag=tt{call_id}\r\n");
            let ack = head("ACK", 1) + &routes + &to + "Content-Length: 0\r\n\r\n";
            self.send(&self.caller, &ack);
            self.receive(&self.callee, "ACK ");
        }
    }

    /// The INVITE as the callee has it: a phone sends it again when nothing comes.
    fn through(&self, invite: &str) -> String {
        const REPEAT: Duration = Duration::from_millis(500);
        let tries = PATIENCE.as_millis() / REPEAT.as_millis();
        self.callee
            .set_read_timeout(Some(REPEAT))
            .expect("a socket");
        let came = (0..tries).find_map(|_| {
            self.send(&self.caller, invite);
            let mut bytes = [0; 4_096];
            let size = self.callee.recv(&mut bytes).ok()?;
            let text = String::from_utf8_lossy(&bytes[..size]).into_owned();
            text.starts_with("INVITE ").then_some(text)
        });
        self.callee
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket");
        came.expect("the INVITE comes to the callee")
    }

    /// Waits for a request at the callee that begins so, and answers it with 200.
    pub(crate) fn callee_hears(&self, begin: &str) {
        let request = self.receive(&self.callee, begin);
        let [_, callee] = self.ports();
        self.send(&self.callee, &answer(&request, "200 OK", "", callee));
    }

    /// The same at the caller.
    pub(crate) fn caller_hears(&self, begin: &str) {
        let request = self.receive(&self.caller, begin);
        let [caller, _] = self.ports();
        self.send(&self.caller, &answer(&request, "200 OK", "", caller));
    }

    /// The next message at the caller that begins so.
    pub(crate) fn caller_gets(&self, begin: &str) -> String {
        self.receive(&self.caller, begin)
    }

    /// The same at the callee.
    pub(crate) fn callee_gets(&self, begin: &str) -> String {
        self.receive(&self.callee, begin)
    }

    fn send(&self, from: &UdpSocket, text: &str) {
        from.send_to(text.as_bytes(), ("127.0.0.1", self.server))
            .expect("loopback");
    }

    /// The next message that begins so; what else comes was repeated or is provisional.
    fn receive(&self, at: &UdpSocket, begin: &str) -> String {
        let mut bytes = [0; 4_096];
        for _ in 0..100 {
            let size = at
                .recv(&mut bytes)
                .unwrap_or_else(|e| panic!("no {begin:?}: {e}"));
            let text = String::from_utf8_lossy(&bytes[..size]).into_owned();
            if text.starts_with(begin) {
                return text;
            }
        }
        panic!("no {begin:?} among a hundred messages");
    }
}

/// Header lines that begin so, line ends included.
fn lines(message: &str, begin: &str) -> String {
    let all = message.split_inclusive("\r\n");
    all.filter(|line| line.starts_with(begin)).collect()
}

fn answer(request: &str, status: &str, call_id: &str, port: u16) -> String {
    let to = lines(request, "To:");
    let to = match to.contains("tag=") {
        true => to,
        false => format!("{};tag=tt{call_id}\r\n", to.trim_end()),
    };
    let copied: String = ["Via:", "Record-Route:", "From:", "Call-ID:", "CSeq:"]
        .map(|name| lines(request, name))
        .concat();
    format!(
        "SIP/2.0 {status}\r\n{copied}{to}Contact: <sip:bob@127.0.0.1:{port}>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}
