//! Requests of HTTP/1.1 on the port of SIP (RFC 9112), and what their answers begin with.
//!
//! The header of a request is taken apart by `httparse`, strictly: what two programs may read in
//! two ways is refused (§11.2). A script sees the request as the original shows it, as if it were
//! one of SIP with a Via of its sender; the answer gives that field back as `Sia`.
//!
//! Costs: the header is read twice, once where the stream is cut and once for the script.

use std::net::SocketAddr;

use memchr::memrchr;

use super::error::{FrameError, HttpRefusal};
use super::message::Message;
use super::name::HeaderName;
use crate::effect::flow::bracketed;
use crate::limits;

/// Fields of one request: a script sees one more.
const FIELD_COUNT_MAX: usize = limits::HEADER_COUNT_MAX - 1;

/// What the header of a request says about what follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Bytes of the body.
    pub(super) body_size: usize,
    /// Whether the client waits for a 100 before it sends them.
    pub(super) waits: bool,
}

/// Whether the first line is one of a request of HTTP: its last word tells.
pub(super) fn is_request(bytes: &[u8]) -> bool {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes[..end].trim_ascii_end();
    let word = memrchr(b' ', line).map_or(&[][..], |at| &line[at + 1..]);
    word.get(..5)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/"))
}

/// Reads a complete header.
pub(super) fn head(bytes: &[u8], accepts_no_length: bool) -> Result<Head, FrameError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELD_COUNT_MAX];
    let request = read(bytes, &mut fields)?;
    let is_chunked = field(&request, "Transfer-Encoding").is_some();
    let mut lengths = all(&request, "Content-Length");
    let body_size = match lengths.next() {
        // Chunks would have to be put together; both together are an attack (§6.1).
        _ if is_chunked => return Err(FrameError::Http(HttpRefusal::NoContentLength)),
        None if accepts_no_length => 0,
        None => return Err(FrameError::Http(HttpRefusal::NoContentLength)),
        Some(text) if lengths.all(|other| other == text) => length(text)?,
        Some(_) => return Err(FrameError::Http(HttpRefusal::Malformed)),
    };
    let waits = request.version == Some(1)
        && field(&request, "Expect").is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"));
    Ok(Head { body_size, waits })
}

/// §6.2: digits and nothing else.
fn length(text: &[u8]) -> Result<usize, FrameError> {
    let malformed = FrameError::Http(HttpRefusal::Malformed);
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(text).ok().filter(|_| is_number);
    // What no integer holds is too large, not malformed.
    digits
        .map(|digits| digits.parse().unwrap_or(usize::MAX))
        .ok_or(malformed)
}

fn read<'h, 'b>(
    bytes: &'b [u8],
    fields: &'h mut [httparse::Header<'b>],
) -> Result<httparse::Request<'h, 'b>, FrameError> {
    let mut request = httparse::Request::new(fields);
    let refusal = match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => return Ok(request),
        Err(httparse::Error::TooManyHeaders) => HttpRefusal::HeaderTooLarge,
        Err(httparse::Error::Version) if has_three_words(bytes) => HttpRefusal::Version,
        Ok(httparse::Status::Partial) | Err(_) => HttpRefusal::Malformed,
    };
    Err(FrameError::Http(refusal))
}

/// Whether it is the version that is wrong, and not a blank in the URL.
fn has_three_words(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    line.iter().filter(|b| **b == b' ').count() == 2
}

fn all<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    let named = |h: &&httparse::Header<'_>| h.name.eq_ignore_ascii_case(name);
    request.headers.iter().filter(named).map(|h| h.value)
}

fn field<'a>(request: &'a httparse::Request<'_, '_>, name: &'a str) -> Option<&'a [u8]> {
    all(request, name).next()
}

/// Appends a whole request in the form in which a script sees it. `None`: it is not one.
pub(super) fn write_as_sip(frame: &[u8], remote: SocketAddr, out: &mut Vec<u8>) -> Option<()> {
    let mut fields = [httparse::EMPTY_HEADER; FIELD_COUNT_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(size)) = request.parse(frame) else {
        return None;
    };
    let (method, path, version) = (request.method?, request.path?, request.version?);
    let via = format!(
        "{method} {path} HTTP/1.{version}\r\nVia: SIP/2.0/TCP {}:{}\r\n",
        bracketed(remote.ip()),
        remote.port()
    );
    out.extend_from_slice(via.as_bytes());
    for header in request.headers {
        out.extend_from_slice(header.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&frame[size..]);
    Some(())
}

/// The header fields that an answer brings back: the Via as `Sia`, as the original has it.
pub fn sia(request: &Message) -> Vec<u8> {
    let via = request.top_via().value.of(request.bytes());
    [b"Sia: ", via, b"\r\n"].concat()
}

/// Whether the connection ends with the answer: the client says so, or it is one of HTTP/1.0 that
/// does not say the contrary (RFC 9112 §9.3).
pub fn is_last(request: &Message) -> bool {
    let mut wishes = request.named(b"Connection").flat_map(|header| {
        let list = request.text(header.value).split(|b| *b == b',');
        list.map(<[u8]>::trim_ascii)
    });
    match request.version() {
        b"HTTP/1.0" => !wishes.any(|wish| wish.eq_ignore_ascii_case(b"keep-alive")),
        _ => wishes.any(|wish| wish.eq_ignore_ascii_case(b"close")),
    }
}

/// Whether an answer with this status may have a body (RFC 9110 §9.3.2, §15.2, §15.3.5, §15.4.5).
pub fn has_body(request: &Message, status: u16) -> bool {
    request.method_name() != b"HEAD" && status >= 200 && !matches!(status, 204 | 304)
}

/// What a client is told whose request is refused before a script sees it.
pub fn refusal(refusal: HttpRefusal) -> Vec<u8> {
    let (status, reason) = refusal.status();
    let fields = "Connection: close\r\nContent-Length: 0\r\n\r\n";
    format!("HTTP/1.1 {status} {reason}\r\n{fields}").into_bytes()
}

/// Whatever the bytes, reading ends, and what a script would see of a request reads back as one.
pub fn fuzz_http(data: &[u8]) {
    let remote = SocketAddr::from(([192, 0, 2, 1], 5060));
    let _ = (is_request(data), head(data, true), head(data, false));
    let mut message = Message::new();
    if message.read_http(data, remote).is_err() {
        assert!(!message.is_http(), "half a request");
        return;
    }
    assert!(message.is_http() && message.is_request());
    assert!(message.version().starts_with(b"HTTP/1."));
    assert_eq!(
        message.headers().next().map(|h| h.name),
        Some(HeaderName::Via)
    );
    let found = memchr::memmem::find(data, message.body());
    assert!(found.is_some(), "a body from nowhere");
    let _ = (is_last(&message), sia(&message), has_body(&message, 200));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        let mut message = Message::new();
        let remote = "[2001:db8::1]:80".parse().unwrap();
        message.read_http(text.as_bytes(), remote).expect(text);
        message
    }

    #[test]
    fn lines_of_http_are_told_from_those_of_sip() {
        let table = [
            ("GET / HTTP/1.1\r\n", true),
            ("GET / http/1.1", true),
            ("GET /a b HTTP/9\n", true),
            ("OPTIONS sip:a SIP/2.0\r\n", false),
            ("OPTIONS sip:HTTP/1.1 SIP/2.0\r\n", false),
            ("HTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1", false),
            ("", false),
        ];
        for (line, want) in table {
            assert_eq!(is_request(line.as_bytes()), want, "{line:?}");
        }
    }

    #[test]
    fn what_may_be_read_in_two_ways_is_refused() {
        let refused = |refusal| Err(FrameError::Http(refusal));
        let size = |body_size| {
            Ok(Head {
                body_size,
                waits: false,
            })
        };
        use HttpRefusal::{HeaderTooLarge, Malformed, NoContentLength, Version};
        let many = "a: b\r\n".repeat(limits::HEADER_COUNT_MAX + 1);
        let table = [
            ("Content-Length: 5\r\n", size(5)),
            ("Content-Length: 5\r\ncontent-length: 5\r\n", size(5)),
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                refused(Malformed),
            ),
            ("Content-Length: +5\r\n", refused(Malformed)),
            ("Content-Length: -5\r\n", refused(Malformed)),
            ("Content-Length: 5, 5\r\n", refused(Malformed)),
            ("Content-Length:\r\n", refused(Malformed)),
            ("Content-Length: 99999999999999999999\r\n", size(usize::MAX)),
            ("Transfer-Encoding: chunked\r\n", refused(NoContentLength)),
            (
                "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
                refused(NoContentLength),
            ),
            ("Host: a\r\n", refused(NoContentLength)),
            ("Content-Length : 5\r\n", refused(Malformed)),
            ("Host: a\r\n folded\r\n", refused(Malformed)),
            ("no field\r\n", refused(Malformed)),
            (&many, refused(HeaderTooLarge)),
        ];
        for (fields, want) in table {
            let text = format!("POST /a HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(head(text.as_bytes(), false), want, "{fields}");
        }
        assert_eq!(head(b"GET / HTTP/1.1\r\n\r\n", true), size(0));
        assert_eq!(head(b"GET / HTTP/3.0\r\n\r\n", true), refused(Version));
        assert_eq!(head(b"G\0T / HTTP/1.1\r\n\r\n", true), refused(Malformed));
    }

    #[test]
    fn a_script_sees_a_request_as_one_of_sip() {
        let m = message("INVITE /a?b HTTP/1.1\r\nHost:x\nContent-Length: 2\r\n\r\nhi");
        let text = "INVITE /a?b HTTP/1.1\r\nVia: SIP/2.0/TCP [2001:db8::1]:80\r\nHost: x\r\n\
                    Content-Length: 2\r\n\r\nhi";
        assert_eq!(m.bytes(), text.as_bytes());
        assert_eq!((m.method_name(), m.uri()), (&b"INVITE"[..], &b"/a?b"[..]));
        assert_eq!(m.method(), crate::sip::Method::Other);
        assert_eq!((m.body(), m.version()), (&b"hi"[..], &b"HTTP/1.1"[..]));
        assert_eq!(sia(&m), b"Sia: SIP/2.0/TCP [2001:db8::1]:80\r\n");
        assert_eq!(m.call_id(), b"");
        let mut used = m.clone();
        assert!(
            used.read_http(b"GET / HTTP/1.1", "1.2.3.4:5".parse().unwrap())
                .is_err()
        );
        assert!(!used.is_http() && used.bytes().is_empty());
    }

    #[test]
    fn who_ends_the_connection() {
        let table = [
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: closed\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false),
        ];
        for (text, want) in table {
            assert_eq!(is_last(&message(text)), want, "{text}");
        }
    }

    #[test]
    fn answers_without_a_body() {
        let table = [
            ("GET", 200, true),
            ("HEAD", 200, false),
            ("GET", 204, false),
        ];
        for (method, status, want) in table {
            let m = message(&format!("{method} / HTTP/1.1\r\n\r\n"));
            assert_eq!(has_body(&m, status), want, "{method} {status}");
        }
        assert!(
            refusal(HttpRefusal::NoContentLength).starts_with(b"HTTP/1.1 411 Length Required\r\n")
        );
    }
}
