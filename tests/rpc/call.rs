//! Two phones on UDP and a call between them, through the server that a test looks at.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server};

/// What a server needs to do with requests for a call to work.
pub(crate) const ROUTE: &str = r#"
    if (has_totag()) { loose_route(); t_relay(); exit; }
    record_route();
    dlg_manage();
    t_relay();
"#;

fn phone() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket
}

/// The next message whose first line begins with this.
fn next(socket: &UdpSocket, begin: &str) -> String {
    let mut bytes = [0; 4096];
    loop {
        let size = socket.recv(&mut bytes).expect("a message in time");
        let text = String::from_utf8_lossy(&bytes[..size]).into_owned();
        if text.starts_with(begin) {
            return text;
        }
        assert!(text.starts_with("SIP/2.0 1"), "instead of {begin}: {text}");
    }
}

fn lines<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    message
        .lines()
        .filter(|line| line.starts_with(name))
        .collect()
}

/// Calls, is answered, hangs up; the time that it took.
pub(crate) fn place(server: &Server) -> Duration {
    let begin = Instant::now();
    let (caller, callee) = (phone(), phone());
    caller
        .connect(("127.0.0.1", server.port))
        .expect("an address");
    let (here, there) = (
        caller.local_addr().expect("bound"),
        callee.local_addr().expect("bound"),
    );
    let request = |method: &str, cseq: u32, to_tag: &str, route: &str| {
        format!(
            "{method} sip:b@{there} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK{cseq}{method}\r\n\
             Max-Forwards: 70\r\n{route}From: <sip:a@{here}>;tag=a\r\n\
             To: <sip:b@{there}>{to_tag}\r\n\
             Call-ID: {here}\r\nCSeq: {cseq} {method}\r\nContact: <sip:a@{here}>\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    let answer = |received: &str| {
        let fields = ["Via:", "Record-Route:", "From:", "Call-ID:", "CSeq:"];
        let copied: Vec<&str> = fields
            .iter()
            .flat_map(|name| lines(received, name))
            .collect();
        let to = lines(received, "To:")[0]
            .split(";tag=")
            .next()
            .unwrap_or_default();
        let copied = copied.join("\r\n");
        let text = format!(
            "SIP/2.0 200 OK\r\n{copied}\r\n{to};tag=b\r\nContact: <sip:b@{there}>\r\n\
             Content-Length: 0\r\n\r\n"
        );
        callee
            .send_to(text.as_bytes(), ("127.0.0.1", server.port))
            .expect("it listens");
    };
    let send = |text: String| caller.send(text.as_bytes()).expect("it listens");
    send(request("INVITE", 1, "", ""));
    answer(&next(&callee, "INVITE "));
    let accepted = next(&caller, "SIP/2.0 200");
    let route = lines(&accepted, "Record-Route:")[0].replace("Record-Route", "Route") + "\r\n";
    send(request("ACK", 1, ";tag=b", &route));
    next(&callee, "ACK ");
    send(request("BYE", 2, ";tag=b", &route));
    answer(&next(&callee, "BYE "));
    next(&caller, "SIP/2.0 200");
    begin.elapsed()
}

/// Calls that many phones that nobody answers: as many early dialogs.
pub(crate) fn ring(server: &Server, count: usize) {
    let (caller, callee) = (phone(), phone());
    let there = callee.local_addr().expect("bound");
    let here = caller.local_addr().expect("bound");
    let mut bytes = [0; 4096];
    for n in 0..count {
        let text = format!(
            "INVITE sip:b@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKr{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@{here}>;tag=a{n}\r\nTo: <sip:b@{there}>\r\n\
             Call-ID: ring-{n}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{here}>\r\n\
             Content-Length: 0\r\n\r\n"
        );
        caller
            .send_to(text.as_bytes(), ("127.0.0.1", server.port))
            .expect("it listens");
        // One after the other, so that no buffer is too small for them.
        caller.recv(&mut bytes).expect("a provisional answer");
    }
}
