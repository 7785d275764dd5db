//! The messages of both ends, put together from prepared parts: no allocation for each.
//!
//! A call is named by 16 hexadecimal digits. Call-ID, tags, branches and one line of the body
//! carry them, so that whatever comes back can be checked without being kept.

use std::net::SocketAddr;

use super::read::Seen;

/// A body as phones send it, with the name of its call.
const BODY: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=#n\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// 16 hexadecimal digits.
pub(crate) fn digits(number: u64) -> [u8; 16] {
    std::array::from_fn(|i| b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 15])
}

/// The number that 16 hexadecimal digits of ours are.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| match byte {
        b'0'..=b'9' => Some(number << 4 | u64::from(byte - b'0')),
        b'a'..=b'f' => Some(number << 4 | u64::from(byte - b'a' + 10)),
        _ => None,
    };
    match digits.len() {
        16 => digits.iter().try_fold(0, digit),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    /// Bytes of the text from here to there.
    Text(usize, usize),
    /// The name of the call.
    Number,
    /// The user of its caller: one of a thousand.
    User,
    /// Its Route field, if there is one.
    Route,
    /// The value of its To field.
    To,
}

/// What differs from call to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill<'a> {
    pub(crate) number: u64,
    /// The value of Route, empty when there is none.
    pub(crate) route: &'a [u8],
    /// The value of To, when it is not ours to choose.
    pub(crate) to: &'a [u8],
}

/// A text with holes.
#[derive(Clone, Debug)]
struct Template {
    text: Vec<u8>,
    parts: Vec<Part>,
}

impl Template {
    /// `#n`, `#u`, `#r` and `#t` are the holes.
    fn new(text: &str) -> Template {
        let text = text.as_bytes().to_vec();
        let (mut parts, mut start) = (Vec::new(), 0);
        for at in memchr::memchr_iter(b'#', &text) {
            let hole = match text.get(at + 1) {
                Some(b'n') => Part::Number,
                Some(b'u') => Part::User,
                Some(b'r') => Part::Route,
                Some(b't') => Part::To,
                _ => continue,
            };
            parts.extend([Part::Text(start, at), hole]);
            start = at + 2;
        }
        parts.push(Part::Text(start, text.len()));
        Template { text, parts }
    }

    fn write(&self, fill: Fill<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match *part {
                Part::Text(start, end) => out.extend_from_slice(&self.text[start..end]),
                Part::Number => out.extend_from_slice(&digits(fill.number)),
                Part::User => {
                    let user = (fill.number as u32 % 1_000) as u16;
                    let digit = |n: u16| b'0' + (user / n % 10) as u8;
                    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
                }
                Part::Route if fill.route.is_empty() => {}
                Part::Route => {
                    out.extend_from_slice(b"Route: ");
                    out.extend_from_slice(fill.route);
                    out.extend_from_slice(b"\r\n");
                }
                Part::To => out.extend_from_slice(fill.to),
            }
        }
    }
}

/// The requests of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    Invite,
    /// To a 2xx: a request of its own (RFC 3261 §13.2.2.4).
    Ack,
    /// To any other final response: part of the INVITE's transaction (§17.1.1.3).
    AckRefusal,
    Bye,
    Cancel,
}

/// What the user part of the Request-URI tells a script, where one asks: `callee`, `keep` (with
/// keep-alive) or `lost` (its end is a timeout).
pub(crate) const USERS: [&str; 3] = ["callee", "keep", "lost"];

/// Writes the messages of a run between two ends.
pub(crate) struct Writer {
    /// INVITE, ACK and BYE to each of [`USERS`].
    requests: [[Template; 5]; USERS.len()],
    /// From `Contact` to the end of an answer, with and without a body, of each end.
    with_body: Template,
    without_body: [Template; 2],
    body: Template,
    /// The caller's Via, up to where branches differ. No two transactions have one branch, those
    /// of different runs neither (RFC 3261 §8.1.1.7).
    pub(crate) via: Vec<u8>,
    /// What follows the number in a Call-ID.
    pub(crate) run: Vec<u8>,
    /// `host:port` of the callee.
    pub(crate) callee: Vec<u8>,
}

/// Which end a message comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Caller,
    Callee,
}

impl Writer {
    pub(crate) fn new(caller: SocketAddr, callee: SocketAddr, run: &str) -> Writer {
        let template = |request, user| request_template(request, user, caller, callee, run);
        let requests = USERS.map(|user| {
            use Request::{Ack, AckRefusal, Bye, Cancel, Invite};
            [Invite, Ack, AckRefusal, Bye, Cancel].map(|request| template(request, user))
        });
        let tail = |contact: String, body: &str| {
            let kind = match body {
                "" => "",
                _ => "Content-Type: application/sdp\r\n",
            };
            let size = size_of_body(body);
            let text =
                format!("Contact: <sip:{contact}>\r\n{kind}Content-Length: {size}\r\n\r\n{body}");
            Template::new(&text)
        };
        Writer {
            requests,
            with_body: tail(format!("callee@{callee}"), BODY),
            without_body: [
                tail(format!("user#u@{caller}"), ""),
                tail(format!("callee@{callee}"), ""),
            ],
            body: Template::new(BODY),
            via: format!("SIP/2.0/UDP {caller};branch=z9hG4bK{run}").into_bytes(),
            run: format!("@{run}").into_bytes(),
            callee: callee.to_string().into_bytes(),
        }
    }

    /// A request of the caller to one of [`USERS`].
    pub(crate) fn request(&self, request: Request, user: usize, fill: Fill<'_>, out: &mut Vec<u8>) {
        self.requests[user][request as usize].write(fill, out);
    }

    /// The answer of an end to a request that it has read (§8.2.6.2).
    pub(crate) fn answer(
        &self,
        end: End,
        request: &Seen<'_>,
        (status, reason): (&str, &str),
        has_body: bool,
        out: &mut Vec<u8>,
    ) {
        for text in ["SIP/2.0 ", status, " ", reason, "\r\n"] {
            out.extend_from_slice(text.as_bytes());
        }
        for (index, line) in request.copied_lines().enumerate() {
            if Some(index) == request.untagged_to {
                out.extend_from_slice(&line[..line.len() - 2]);
                out.extend_from_slice(b";tag=b");
                out.extend_from_slice(&digits(request.number));
                out.extend_from_slice(b"\r\n");
            } else {
                out.extend_from_slice(line);
            }
        }
        let fill = Fill {
            number: request.number,
            route: b"",
            to: b"",
        };
        match has_body {
            true => self.with_body.write(fill, out),
            false => self.without_body[end as usize].write(fill, out),
        }
    }

    /// Whether this is the body that this call's INVITE and 200 bear.
    pub(crate) fn is_body(&self, number: u64, body: &[u8]) -> bool {
        let mut rest = Some(body);
        for part in &self.body.parts {
            rest = match *part {
                Part::Text(start, end) => {
                    rest.and_then(|rest| rest.strip_prefix(&self.body.text[start..end]))
                }
                _ => rest.and_then(|rest| rest.strip_prefix(&digits(number)[..])),
            };
        }
        rest.is_some_and(<[u8]>::is_empty)
    }
}

/// The name of a call is 14 bytes longer than its hole.
fn size_of_body(body: &str) -> usize {
    body.len() + 14 * body.matches("#n").count()
}

fn request_template(
    request: Request,
    user: &str,
    caller: SocketAddr,
    callee: SocketAddr,
    run: &str,
) -> Template {
    let (name, cseq, branch) = match request {
        Request::Invite => ("INVITE", "1 INVITE", 'i'),
        Request::Ack => ("ACK", "1 ACK", 'a'),
        Request::AckRefusal => ("ACK", "1 ACK", 'i'),
        Request::Bye => ("BYE", "2 BYE", 'b'),
        Request::Cancel => ("CANCEL", "1 CANCEL", 'i'),
    };
    let to = match request {
        Request::Invite | Request::Cancel => format!("<sip:{user}@example.com>"),
        Request::Ack | Request::Bye => format!("<sip:{user}@example.com>;tag=b#n"),
        Request::AckRefusal => "#t".into(),
    };
    let (kind, body) = match request {
        Request::Invite => ("Content-Type: application/sdp\r\n", BODY),
        _ => ("", ""),
    };
    let size = size_of_body(body);
    Template::new(&format!(
        "{name} sip:{user}@{callee} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {caller};branch=z9hG4bK{run}{branch}#n\r\n#r\
         From: <sip:user#u@example.com>;tag=a#n\r\nTo: {to}\r\nCall-ID: p#n@{run}\r\n\
         CSeq: {cseq}\r\nContact: <sip:user#u@{caller}>\r\nMax-Forwards: 70\r\n\
         {kind}Content-Length: {size}\r\n\r\n{body}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_number() {
        for n in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(number(&digits(n)), Some(n));
            assert_eq!(digits(n), *format!("{n:016x}").as_bytes());
        }
        assert_eq!(number(b"0123456789abcdeg"), None);
        assert_eq!(number(b"0"), None);
    }

    #[test]
    fn the_length_of_the_body_is_what_is_said() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let writer = Writer::new(address(1), address(2), "r");
        let fill = Fill {
            number: 42,
            route: b"",
            to: b"",
        };
        let mut text = Vec::new();
        writer.request(Request::Invite, 0, fill, &mut text);
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert!(writer.is_body(42, body.as_bytes()));
        assert!(!writer.is_body(43, body.as_bytes()));
        assert!(!writer.is_body(42, &body.as_bytes()[1..]));
        assert!(!writer.is_body(42, format!("{body}x").as_bytes()));
    }
}
