//! The messages of the ends of a shard that is a value.

use std::net::SocketAddr;

use dialcore::effect::{Flow, Proto, SocketId};
use memchr::memmem;

/// The caller of all calls.
pub(super) fn caller() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 45], 5060))
}

/// The callee of all calls.
pub(super) fn callee() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], 5060))
}

/// Where a datagram of one of them comes in.
pub(super) fn flow(remote: SocketAddr) -> Flow {
    Flow {
        socket: SocketId(0),
        proto: Proto::Udp,
        remote,
        conn: None,
    }
}

/// The name of a call.
pub(super) fn call_id(call: u64) -> String {
    format!("{call:010}-4242-0123456789@198.51.100.17")
}

/// A request of a call as carriers send them. `route` is its route set, empty before the answer.
pub(super) fn request(method: &str, call: u64, cseq: u32, route: &str) -> Vec<u8> {
    let user = call / 10;
    let (route, tag) = match route {
        "" => (String::new(), ""),
        route => (format!("Route: {route}\r\n"), ";tag=callee"),
    };
    let id = call_id(call);
    format!(
        "{method} sip:+4989123456789@203.0.113.7:5060;user=phone SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.45:5060;branch=z9hG4bK{method}{call}n{cseq}\r\n{route}\
         From: <sip:+4930{user:09}@customer.example.com>;tag=as7f3c9a1e\r\n\
         To: <sip:+4989123456789@carrier.example.net;user=phone>{tag}\r\n\
         Call-ID: {id}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:+4930{user:09}@192.0.2.45:5060>\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// The callee's answer to a request that has come to it.
pub(super) fn answer(request: &[u8], status: &str) -> Vec<u8> {
    let mut out = format!("SIP/2.0 {status}\r\n").into_bytes();
    for line in request.split_inclusive(|b| *b == b'\n').skip(1) {
        let wanted = ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"];
        if !wanted.iter().any(|name| line.starts_with(name.as_bytes())) {
            continue;
        }
        out.extend_from_slice(&line[..line.len() - 2]);
        if line.starts_with(b"To:") && memmem::find(line, b";tag=").is_none() {
            out.extend_from_slice(b";tag=callee");
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Contact: <sip:bob@203.0.113.7:5060>\r\nContent-Length: 0\r\n\r\n");
    out
}

/// The value of a field.
pub(super) fn field<'a>(text: &'a [u8], name: &str) -> &'a str {
    let name = format!("\r\n{name}: ");
    let value = memmem::find(text, name.as_bytes()).and_then(|at| {
        let rest = &text[at + name.len()..];
        std::str::from_utf8(&rest[..memmem::find(rest, b"\r\n")?]).ok()
    });
    value.unwrap_or_default()
}
