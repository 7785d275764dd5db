//! A response made from a request (RFC 3261 §8.2.6).

use std::net::SocketAddr;

use super::message::{Header, Message};
use super::name::HeaderName;
use super::span::Span;
use super::via;

/// What a response adds to what it takes over from its request.
#[derive(Clone, Copy, Default, Debug)]
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: &'a [u8],
    /// The tag that To gets if it has none.
    pub to_tag: Option<&'a [u8]>,
    /// Further header fields: complete lines.
    pub headers: &'a [u8],
    /// The type of the body.
    pub content_type: Option<&'a [u8]>,
    /// The body.
    pub body: &'a [u8],
}

/// Appends the response to `out`: all Vias in their order, the topmost marked with where the
/// request came from, From, To, Call-ID, CSeq, the Record-Routes of a response that makes a
/// dialog (§12.1.1), then what `reply` adds, Content-Length last. A field that the request lacks
/// is left out.
pub fn write(
    request: &Message,
    source: SocketAddr,
    force_rport: bool,
    reply: &Reply<'_>,
    out: &mut Vec<u8>,
) {
    out.reserve(request.headers_end().into());
    out.extend_from_slice(b"SIP/2.0 ");
    write_number(reply.status.into(), out);
    out.push(b' ');
    out.extend_from_slice(reply.reason);
    out.extend_from_slice(b"\r\n");
    write_vias(request, source, force_rport, out);
    write_first(request, HeaderName::From, out);
    write_to(request, reply.to_tag, out);
    write_first(request, HeaderName::CallId, out);
    write_first(request, HeaderName::CSeq, out);
    match reply.status {
        // §8.2.6.1: a 100 takes the time stamp back to who measures.
        100 => write_first(request, HeaderName::Timestamp, out),
        101..=299 => {
            for header in request.all(HeaderName::RecordRoute) {
                write_line(request, header, out);
            }
        }
        _ => {}
    }
    out.extend_from_slice(reply.headers);
    write_body(reply, out);
}

fn write_vias(request: &Message, source: SocketAddr, force_rport: bool, out: &mut Vec<u8>) {
    let bytes = request.bytes();
    let mut vias = request.all(HeaderName::Via);
    if let Some(top) = vias.next() {
        let mut done = top.line.start;
        via::marks(&request.top_via(), source, force_rport, |span, text| {
            out.extend_from_slice(
                Span {
                    start: done,
                    end: span.start,
                }
                .of(bytes),
            );
            out.extend_from_slice(text);
            done = span.end;
        });
        out.extend_from_slice(
            Span {
                start: done,
                end: top.value.end,
            }
            .of(bytes),
        );
        out.extend_from_slice(b"\r\n");
    }
    for header in vias {
        write_line(request, header, out);
    }
}

fn write_to(request: &Message, tag: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(to) = request.first(HeaderName::To) else {
        return;
    };
    let bytes = request.bytes();
    out.extend_from_slice(
        Span {
            start: to.line.start,
            end: to.value.end,
        }
        .of(bytes),
    );
    if let (None, Some(tag)) = (request.to_tag(), tag) {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_first(request: &Message, name: HeaderName, out: &mut Vec<u8>) {
    if let Some(header) = request.first(name) {
        write_line(request, header, out);
    }
}

/// Writes a field as it stands in the request, but with a line end as it must be.
fn write_line(request: &Message, header: Header, out: &mut Vec<u8>) {
    let field = Span {
        start: header.line.start,
        end: header.value.end.max(header.name_span.end),
    };
    out.extend_from_slice(field.of(request.bytes()));
    out.extend_from_slice(b"\r\n");
}

fn write_body(reply: &Reply<'_>, out: &mut Vec<u8>) {
    if let Some(content_type) = reply.content_type
        && !reply.body.is_empty()
    {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    write_number(reply.body.len(), out);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(reply.body);
}

fn write_number(n: usize, out: &mut Vec<u8>) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, n);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "INVITE sip:b@h SIP/2.0\nv: SIP/2.0/UDP 192.0.2.1;rport;branch=z, \
        SIP/2.0/UDP j\r\nX: y\r\nvia : SIP/2.0/UDP\r\n k\r\nRecord-Route: <sip:r;lr>\r\n\
        t: Bob\r\n <sip:b@h>\r\nFrom: sip:a@h;tag=1\r\nTimestamp: 54\r\nCSeq: 1 INVITE\r\n\
        i: 7\r\n\r\n";

    fn reply(request: &str, reply: &Reply<'_>) -> String {
        let (message, mut out) = (Message::parse(request.as_bytes()).unwrap(), vec![]);
        write(
            &message,
            "192.0.2.9:5090".parse().unwrap(),
            false,
            reply,
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    const VIAS: &str = "v: SIP/2.0/UDP 192.0.2.1;rport=5090;branch=z;received=192.0.2.9";

    #[test]
    fn a_final_answer_takes_over_what_it_must() {
        let got = reply(
            REQUEST,
            &Reply {
                status: 200,
                reason: b"OK",
                to_tag: Some(b"t1"),
                headers: b"Server: s\r\n",
                content_type: Some(b"text/plain"),
                body: b"hello",
            },
        );
        let want = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 192.0.2.1;rport=5090;branch=z;\
            received=192.0.2.9, SIP/2.0/UDP j\r\nvia : SIP/2.0/UDP\r\n k\r\n\
            From: sip:a@h;tag=1\r\nt: Bob\r\n <sip:b@h>;tag=t1\r\ni: 7\r\nCSeq: 1 INVITE\r\n\
            Record-Route: <sip:r;lr>\r\nServer: s\r\nContent-Type: text/plain\r\n\
            Content-Length: 5\r\n\r\nhello";
        assert_eq!(got, want);
    }

    #[test]
    fn what_depends_on_the_status() {
        let table = [
            (100, false, true),
            (180, true, false),
            (202, true, false),
            (302, false, false),
            (486, false, false),
        ];
        for (status, record_route, timestamp) in table {
            let got = reply(
                REQUEST,
                &Reply {
                    status,
                    reason: b"x",
                    ..Reply::default()
                },
            );
            assert!(got.contains(VIAS), "{got}");
            assert_eq!(got.contains("Record-Route"), record_route, "{status}");
            assert_eq!(got.contains("Timestamp"), timestamp, "{status}");
            assert!(got.ends_with("Content-Length: 0\r\n\r\n") && !got.contains("tag=t1"));
        }
    }

    #[test]
    fn a_tag_is_given_once_and_missing_fields_stay_missing() {
        let to = |to: &str| {
            let text = format!("BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{to}\r\n");
            reply(
                &text,
                &Reply {
                    status: 400,
                    reason: b"Bad",
                    to_tag: Some(b"n"),
                    ..Reply::default()
                },
            )
        };
        let table = [
            ("To: <sip:b@h>\r\n", "\r\nTo: <sip:b@h>;tag=n\r\n"),
            ("To: sip:b@h\r\n", "\r\nTo: sip:b@h;tag=n\r\n"),
            ("To: <sip:b@h>;tag=o\r\n", "\r\nTo: <sip:b@h>;tag=o\r\n"),
            (
                "",
                "\r\nVia: SIP/2.0/UDP h;received=192.0.2.9\r\nContent-Length: 0\r\n\r\n",
            ),
        ];
        for (field, want) in table {
            assert!(to(field).contains(want), "{}", to(field));
        }
    }
}
