//! A message: its bytes, the index that one pass made of them, and typed views on demand.
//!
//! All accessors are total. On a message that breaks a rule (see [`Message::violation`]) what
//! could not be read is empty or zero.

use std::net::SocketAddr;

use super::addr::NameAddr;
use super::cseq::CSeq;
use super::error::{Malformed, ParseError, Violation};
use super::http;
use super::lex;
use super::method::Method;
use super::name::HeaderName;
use super::param::Values;
use super::parse::{self, Index, StartLine};
use super::span::Span;
use super::uri::Uri;
use super::via::Via;
use crate::limits;

/// One header field in the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which field it is, whatever its form and case.
    pub name: HeaderName,
    /// The name as written.
    pub name_span: Span,
    /// The value without white space around it; folds stay inside.
    pub value: Span,
    /// The whole field with its line end and folded lines: what to remove to remove it.
    pub line: Span,
}

/// Room for so many fields is made at once.
const HEADER_COUNT_USUAL: usize = 24;

const _: () = assert!(
    size_of::<Header>() == 14,
    "an index entry is three spans and a name"
);

/// A SIP message. Reading into one that has been used before allocates nothing.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
    headers: Vec<Header>,
    index: Index,
}

impl Default for Message {
    fn default() -> Self {
        Message::new()
    }
}

impl Message {
    /// A message to read into. Until then it is a response without anything.
    pub const fn new() -> Message {
        Message {
            bytes: Vec::new(),
            headers: Vec::new(),
            index: Index::new(),
        }
    }

    /// Reads a message from one datagram or one frame of a stream.
    pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
        let mut message = Message::new();
        message.read(bytes)?;
        Ok(message)
    }

    /// Reads a message into the memory of this one. On an error it is as [`Message::new`] made it.
    ///
    /// Line ends before the start line are passed over (§7.5) and octets behind the body left
    /// off (§18.3): neither is part of [`Message::bytes`]. An empty line that is missing at the
    /// end of the header is added.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        self.clear();
        let bytes = parse::skip_line_ends(bytes);
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        if bytes.len() > limits::MESSAGE_SIZE_MAX {
            return Err(ParseError::TooLarge);
        }
        self.headers.reserve(HEADER_COUNT_USUAL);
        if let Err(error) = parse::parse(bytes, &mut self.headers, &mut self.index) {
            self.clear();
            return Err(error);
        }
        let end = usize::from(self.index.body.end);
        self.bytes.extend_from_slice(&bytes[..end]);
        self.complete();
        Ok(())
    }

    /// Reads a request of HTTP, as one whole frame, into the memory of this one. A script is to
    /// see it as one of SIP: it gets the Via that the original gives it, and no Call-ID.
    pub fn read_http(&mut self, frame: &[u8], remote: SocketAddr) -> Result<(), ParseError> {
        self.clear();
        http::write_as_sip(frame, remote, &mut self.bytes).ok_or(ParseError::StartLine)?;
        if self.bytes.len() > limits::MESSAGE_SIZE_MAX {
            self.clear();
            return Err(ParseError::TooLarge);
        }
        let read = parse::parse_http(&self.bytes, &mut self.headers, &mut self.index);
        if read.is_err() {
            self.clear();
        }
        read
    }

    /// Whether it is a request of HTTP.
    pub fn is_http(&self) -> bool {
        self.index.is_http
    }

    /// The protocol and its version, as written.
    pub fn version(&self) -> &[u8] {
        let line = &self.bytes[..usize::from(self.index.headers_start)];
        let line = line.trim_ascii_end();
        match self.index.start_line {
            StartLine::Request { uri, .. } => line[usize::from(uri.end)..].trim_ascii(),
            StartLine::Response { .. } => line.split(|b| *b == b' ').next().unwrap_or_default(),
        }
    }

    /// Adds the empty line that a datagram did without.
    fn complete(&mut self) {
        if usize::from(self.index.headers_end) == self.bytes.len() {
            self.bytes.extend_from_slice(parse::EMPTY_LINE);
            self.index.body = Span::new(self.bytes.len(), self.bytes.len());
        }
    }

    /// Bytes of the memory that it keeps for the next one.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.headers.capacity() * size_of::<Header>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.headers.clear();
        self.index = Index::new();
    }

    /// The message as it came in, from its start line to the end of its body.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first rule of RFC 3261 that it breaks among those a proxy must check.
    pub fn violation(&self) -> Option<Violation> {
        self.index.violation
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.index.start_line, StartLine::Request { .. })
    }

    /// The method: of a request from its start line, of a response from its CSeq.
    pub fn method(&self) -> Method {
        match self.index.start_line {
            StartLine::Request { method, .. } => method,
            StartLine::Response { .. } => self.index.cseq.method,
        }
    }

    /// The method as written.
    pub fn method_name(&self) -> &[u8] {
        self.method_span().of(&self.bytes)
    }

    /// Where the method stands.
    pub fn method_span(&self) -> Span {
        match self.index.start_line {
            StartLine::Request { name, .. } => name,
            StartLine::Response { .. } => self.index.cseq.method_span,
        }
    }

    /// The Request-URI; empty in a response.
    pub fn uri(&self) -> &[u8] {
        self.uri_span().of(&self.bytes)
    }

    /// The Request-URI in its parts; `None` in a response, and when it cannot be read.
    pub fn request_uri(&self) -> Option<Uri<'_>> {
        self.index.uri.map(|parts| parts.view(&self.bytes))
    }

    /// Where the Request-URI stands.
    pub fn uri_span(&self) -> Span {
        match self.index.start_line {
            StartLine::Request { uri, .. } => uri,
            StartLine::Response { .. } => Span::default(),
        }
    }

    /// The status code; 0 in a request.
    pub fn status(&self) -> u16 {
        match self.index.start_line {
            StartLine::Request { .. } => 0,
            StartLine::Response { status, .. } => status,
        }
    }

    /// The reason phrase; empty in a request.
    pub fn reason(&self) -> &[u8] {
        match self.index.start_line {
            StartLine::Request { .. } => &[],
            StartLine::Response { reason, .. } => reason.of(&self.bytes),
        }
    }

    /// All header fields in their order.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = Header> + ExactSizeIterator + '_ {
        self.headers.iter().copied()
    }

    /// The first field of this name.
    pub fn first(&self, name: HeaderName) -> Option<Header> {
        self.all(name).next()
    }

    /// All fields of this name in their order.
    pub fn all(&self, name: HeaderName) -> impl DoubleEndedIterator<Item = Header> + '_ {
        let headers = match self.has(name) {
            true => self.headers.as_slice(),
            false => &[],
        };
        headers
            .iter()
            .copied()
            .filter(move |header| header.name == name)
    }

    /// All fields of this name, given as text in long or compact form and any case.
    pub fn named<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = Header> + 'a {
        let known = HeaderName::from_bytes(name);
        self.all(known).filter(move |header| {
            known != HeaderName::Other || self.text(header.name_span).eq_ignore_ascii_case(name)
        })
    }

    /// Whether a field of this name is there.
    pub fn has(&self, name: HeaderName) -> bool {
        self.index.present & name.bit() != 0
    }

    /// All values of the fields of this name: lists are split at commas outside of quoted strings
    /// and angle brackets. For fields that are lists; a From may have a comma in its name.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = Span> + '_ {
        self.all(name)
            .flat_map(|header| Values::new(&self.bytes, header.value))
    }

    /// The values of Via below the topmost one.
    pub fn vias_below(&self) -> impl Iterator<Item = Span> + '_ {
        let mut fields = self.all(HeaderName::Via).map(|header| header.value);
        let rest = fields.next().map(|first| Span {
            start: self.top_via().value.end,
            end: first.end,
        });
        rest.into_iter()
            .chain(fields)
            .flat_map(|span| Values::new(&self.bytes, span))
    }

    /// The bytes that a span of this message names.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The start line with its line end.
    pub fn start_line_span(&self) -> Span {
        Span {
            start: 0,
            end: self.headers_start(),
        }
    }

    /// The first byte after the start line: where a field goes that is to stand first.
    pub fn headers_start(&self) -> u16 {
        self.index.headers_start
    }

    /// Where the empty line stands: where a field goes that is to stand last.
    pub fn headers_end(&self) -> u16 {
        self.index.headers_end
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.text(self.index.body)
    }

    /// Where the body stands.
    pub fn body_span(&self) -> Span {
        self.index.body
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.text(self.index.call_id)
    }

    /// The hash of its Call-ID, which names the call inside of a shard and steers it to one.
    pub fn call(&self) -> u32 {
        self.index.call
    }

    /// The CSeq.
    pub fn cseq(&self) -> CSeq {
        self.index.cseq
    }

    /// The topmost Via.
    #[inline]
    pub fn top_via(&self) -> Via<'_> {
        self.index.via.view(&self.bytes)
    }

    /// The From.
    pub fn from(&self) -> NameAddr<'_> {
        self.index.from.view(&self.bytes)
    }

    /// The To.
    pub fn to(&self) -> NameAddr<'_> {
        self.index.to.view(&self.bytes)
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.index.from_tag.map(|span| self.text(span))
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.index.to_tag.map(|span| self.text(span))
    }

    /// The number of Max-Forwards, if the field is there; an error when it is not a number.
    pub fn max_forwards(&self) -> Option<Result<u32, Malformed>> {
        let span = self.index.max_forwards?;
        Some(lex::number(self.text(span)).ok_or(Malformed))
    }
}

/// Whatever the bytes: what the parser says of them is consistent with itself.
pub fn fuzz_message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    check_spans(&message);
    touch_all(&message);
    let again = Message::parse(message.bytes()).expect("a message reads back");
    assert_eq!(
        again.bytes(),
        message.bytes(),
        "a message differs from itself"
    );
    assert_eq!(
        again.violation(),
        message.violation(),
        "a rule is broken only once"
    );
    assert!(again.headers().eq(message.headers()), "the index differs");
}

/// Fields follow each other without overlap from the start line to the empty line; each holds
/// its name and value.
fn check_spans(message: &Message) {
    let mut at = message.headers_start();
    for header in message.headers() {
        assert!(header.line.start >= at && header.line.end <= message.headers_end());
        assert_eq!(header.name_span.start, header.line.start);
        assert!(header.line.contains(header.value) && header.name_span.end < header.value.start);
        assert_eq!(
            header.name,
            HeaderName::from_bytes(message.text(header.name_span))
        );
        assert!(message.text(header.line).ends_with(b"\n"));
        assert!(message.first(header.name).is_some());
        at = header.line.end;
    }
    assert_eq!(usize::from(message.body_span().end), message.bytes().len());
    assert!(message.body_span().start > message.headers_end());
}

/// Calls every accessor; the values of an empty span are parts of nothing, all others of the bytes.
fn touch_all(message: &Message) {
    let (via, from, to) = (message.top_via(), message.from(), message.to());
    let parts = [
        message.method_name(),
        message.uri(),
        message.reason(),
        message.call_id(),
        message.body(),
        via.transport,
        via.host,
        via.params,
        via.sent_by(),
        from.uri,
        from.params,
        to.uri,
        to.params,
    ];
    let tags = message.from_tag().into_iter().chain(message.to_tag());
    for part in parts
        .into_iter()
        .chain(tags)
        .filter(|part| !part.is_empty())
    {
        assert!(
            Span::within(message.bytes(), part).is_some(),
            "a value from elsewhere"
        );
    }
    assert_eq!(message.from_tag(), from.tag());
    assert_eq!(message.to_tag(), to.tag());
    assert!(!via.host.is_empty() && !via.transport.is_empty());
    let vias = [via.value].into_iter().chain(message.vias_below());
    assert!(message.values(HeaderName::Via).eq(vias));
    assert!(message.max_forwards().is_some() == message.has(HeaderName::MaxForwards));
    if message.violation().is_none() {
        assert!(!from.uri.is_empty() && !to.uri.is_empty() && !message.call_id().is_empty());
        assert!(
            !message.method_name().is_empty() && message.is_request() != (message.status() != 0)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"\r\nINVITE sip:bob@b.example SIP/2.0\r\n\
        v: SIP/2.0/UDP p.example:5070;branch=z9hG4bK1 , SIP/2.0/TCP [::1];branch=z9hG4bK2\r\n\
        Via: SIP/2.0/UDP a.example;branch=z9hG4bK3\r\n\
        Max-Forwards: 0068\r\n\
        f: \"Alice, A.\" <sip:alice@a.example>;tag=9fx\r\n\
        T : <sip:bob@b.example>\r\n\
        i:\r\n  abc@a.example\r\n\
        CSeq: 7 INVITE\r\n\
        X-One: 1\r\n\
        x-two: 2\r\n\
        X-ONE: 3\r\n\
        Content-Length: 4\r\n\
        \r\n\
        bodyextra";

    #[test]
    fn typed_access() {
        let m = Message::parse(INVITE).unwrap();
        assert_eq!(m.violation(), None);
        assert!(m.is_request());
        assert_eq!(
            (m.method(), m.method_name(), m.status()),
            (Method::Invite, &b"INVITE"[..], 0)
        );
        assert_eq!(
            (m.uri(), m.uri_span()),
            (&b"sip:bob@b.example"[..], Span { start: 7, end: 24 })
        );
        let via = m.top_via();
        assert_eq!(
            (via.host, via.port, via.branch()),
            (&b"p.example"[..], Some(5070), Some(&b"z9hG4bK1"[..]))
        );
        assert_eq!(via.sent_by(), b"p.example:5070");
        assert_eq!(m.from().display, Some(&b"\"Alice, A.\""[..]));
        assert_eq!((m.from_tag(), m.to_tag()), (Some(&b"9fx"[..]), None));
        assert_eq!((m.call_id(), m.cseq().number), (&b"abc@a.example"[..], 7));
        assert_eq!(m.max_forwards(), Some(Ok(68)));
        assert_eq!(m.body(), b"body");
        assert!(m.bytes().ends_with(b"\r\n\r\nbody") && m.bytes().starts_with(b"INVITE"));
        assert_eq!(m.text(m.headers().next().unwrap().line)[..2], *b"v:");
        assert_eq!(m.bytes()[m.headers_end().into()..][..4], *b"\r\nbo");
    }

    #[test]
    fn fields_are_found_by_any_form_of_their_name() {
        let m = Message::parse(INVITE).unwrap();
        let texts = |name: &str| -> Vec<String> {
            let name = name.as_bytes();
            m.named(name)
                .map(|h| String::from_utf8_lossy(m.text(h.value)).into())
                .collect()
        };
        let table: [(&str, &[&str]); 7] = [
            ("cseq", &["7 INVITE"]),
            ("FROM", &["\"Alice, A.\" <sip:alice@a.example>;tag=9fx"]),
            ("t", &["<sip:bob@b.example>"]),
            ("x-one", &["1", "3"]),
            ("X-Two", &["2"]),
            ("X-Three", &[]),
            ("Route", &[]),
        ];
        for (name, want) in table {
            assert_eq!(texts(name), want, "{name}");
        }
        let branches: Vec<_> = m
            .values(HeaderName::Via)
            .map(|v| m.text(v).last().copied())
            .collect();
        assert_eq!(branches, [Some(b'1'), Some(b'2'), Some(b'3')]);
        assert_eq!(
            m.all(HeaderName::Via)
                .next_back()
                .map(|h| m.text(h.value).len()),
            Some(37)
        );
    }

    #[test]
    fn a_response_speaks_by_its_cseq() {
        let bytes = b"SIP/2.0 180 Ringing now\nVia: SIP/2.0/UDP h\nFrom: sip:a@h\n\
                      To: sip:b@h;tag=x\nCall-ID: 1\nCSeq: 1 BYE\n\n";
        let m = Message::parse(bytes).unwrap();
        assert_eq!(
            (m.violation(), m.is_request(), m.status()),
            (None, false, 180)
        );
        assert_eq!(
            (m.reason(), m.method(), m.method_name()),
            (&b"Ringing now"[..], Method::Bye, &b"BYE"[..])
        );
        assert_eq!((m.uri(), m.to_tag()), (&b""[..], Some(&b"x"[..])));
    }

    #[test]
    fn a_message_is_read_into_again_and_an_error_leaves_nothing() {
        let mut m = Message::parse(INVITE).unwrap();
        assert_eq!(m.read(b"nonsense\r\n\r\n"), Err(ParseError::StartLine));
        assert_eq!(
            (m.bytes(), m.headers().len(), m.is_request()),
            (&b""[..], 0, false)
        );
        assert_eq!(
            (m.top_via(), m.from()),
            (Via::default(), NameAddr::default())
        );
        m.read(INVITE).unwrap();
        assert_eq!(m.bytes(), Message::parse(INVITE).unwrap().bytes());
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_read() {
        for end in 0..INVITE.len() {
            fuzz_message(&INVITE[..end]);
        }
        let mut bytes = INVITE.to_vec();
        for at in 0..bytes.len() {
            for changed in [0, b'\r', b'\n', b' ', b'"', b'<', b',', b';', b':', 0xff] {
                let was = std::mem::replace(&mut bytes[at], changed);
                fuzz_message(&bytes);
                bytes[at] = was;
            }
        }
    }
}
