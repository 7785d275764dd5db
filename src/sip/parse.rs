//! One pass over a message: the start line, an index of the header fields, and the few values
//! that every message needs (top Via, From, To, Call-ID, CSeq, Content-Length).
//!
//! Line ends are CRLF; a bare LF is taken for one, as deployed proxies do. A line that begins
//! with a blank continues the one before (§7.3.1). The first rule that is broken is kept and
//! the reading goes on: a request has to be understood far enough to be refused politely.

use memchr::memchr;

use super::addr;
use super::cseq::{self, CSeq};
use super::error::{ParseError, UriError, Violation};
use super::lex::{self, is_token, trim_span};
use super::message::Header;
use super::method::Method;
use super::name::HeaderName;
use super::param::Values;
use super::span::Span;
use super::uri::{self, Scheme, Uri};
use super::via;
use crate::limits;
use crate::steer;

const VERSION: &[u8] = b"SIP/2.0";

/// The end of a header, where it is missing.
pub(super) const EMPTY_LINE: &[u8] = b"\r\n";

/// What the first line says.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartLine {
    Request {
        method: Method,
        name: Span,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// What one pass finds besides the list of fields. Offsets, so it outlives any borrow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index {
    pub(super) start_line: StartLine,
    /// The Request-URI, if it is one.
    pub(super) uri: Option<uri::Parts>,
    pub(super) headers_start: u16,
    pub(super) headers_end: u16,
    pub(super) body: Span,
    /// The names that stand in the list, one bit each.
    pub(super) present: u128,
    pub(super) via: via::Parts,
    pub(super) from: addr::Parts,
    pub(super) from_tag: Option<Span>,
    pub(super) to: addr::Parts,
    pub(super) to_tag: Option<Span>,
    pub(super) call_id: Span,
    /// `steer::hash` of the Call-ID.
    pub(super) call: u32,
    pub(super) cseq: CSeq,
    pub(super) max_forwards: Option<Span>,
    pub(super) violation: Option<Violation>,
    pub(super) is_http: bool,
}

impl Index {
    pub(super) const fn new() -> Index {
        const NONE: Span = Span::at(0);
        Index {
            start_line: StartLine::Response {
                status: 0,
                reason: NONE,
            },
            uri: None,
            headers_start: 0,
            headers_end: 0,
            body: NONE,
            present: 0,
            via: via::Parts::NONE,
            from: addr::Parts::NONE,
            from_tag: None,
            to: addr::Parts::NONE,
            to_tag: None,
            call_id: NONE,
            call: steer::hash(&[]),
            cseq: CSeq::NONE,
            max_forwards: None,
            violation: None,
            is_http: false,
        }
    }

    /// Keeps the first rule that is broken.
    fn blame(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }
}

/// Line ends before a start line are no part of the message (§7.5).
pub(super) fn skip_line_ends(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'));
    &bytes[start.unwrap_or(bytes.len())..]
}

/// Reads `bytes`, which are at most `limits::MESSAGE_SIZE_MAX`, into `headers` and a new index.
pub(super) fn parse(
    bytes: &[u8],
    headers: &mut Vec<Header>,
    index: &mut Index,
) -> Result<(), ParseError> {
    let line_end = lex::find_line_feed(bytes, 0).ok_or(ParseError::StartLine)?;
    start_line(bytes, chomp(bytes, line_end), index)?;
    index.headers_start = (line_end + 1) as u16;
    let mut reader = Reader {
        bytes,
        headers,
        index,
        seen: Seen::default(),
    };
    reader.read_fields(line_end + 1)?;
    reader.read_via()?;
    reader.read_mandatory();
    reader.read_body();
    Ok(())
}

/// The same of a request of HTTP that [`super::http`] has written: nothing of SIP is mandatory.
/// Its method is none of SIP's, whatever its name: nothing here is to take it for an INVITE.
pub(super) fn parse_http(
    bytes: &[u8],
    headers: &mut Vec<Header>,
    index: &mut Index,
) -> Result<(), ParseError> {
    let line_end = memchr(b'\n', bytes).ok_or(ParseError::StartLine)?;
    let line = &bytes[..chomp(bytes, line_end)];
    let first = memchr(b' ', line).ok_or(ParseError::StartLine)?;
    let last = memchr::memrchr(b' ', line).ok_or(ParseError::StartLine)?;
    index.start_line = StartLine::Request {
        method: Method::Other,
        name: Span::new(0, first),
        uri: trim_span(line, first, last),
    };
    index.is_http = true;
    index.headers_start = (line_end + 1) as u16;
    let mut reader = Reader {
        bytes,
        headers,
        index,
        seen: Seen::default(),
    };
    reader.read_fields(line_end + 1)?;
    reader.read_via()?;
    reader.read_body();
    Ok(())
}

/// The end of a line without the CR before its LF.
fn chomp(bytes: &[u8], line_feed: usize) -> usize {
    line_feed - usize::from(line_feed > 0 && bytes[line_feed - 1] == b'\r')
}

/// §7.1, §7.2. Versions are told from other text by `SIP/`, in any case.
fn start_line(bytes: &[u8], end: usize, index: &mut Index) -> Result<(), ParseError> {
    let line = &bytes[..end];
    let space = lex::find(line, b' ').ok_or(ParseError::StartLine)?;
    let method = Method::from_bytes(&line[..space]);
    if method == Method::Other {
        if is_version(&line[..space]) {
            return status_line(line, space, index);
        }
        if space == 0 || !line[..space].iter().all(|b| is_token(*b)) {
            return Err(ParseError::StartLine);
        }
    }
    let version = version(line, space).ok_or(ParseError::StartLine)?;
    let version_at = usize::from(version.start);
    let uri = trim_span(line, space, version_at);
    index.start_line = StartLine::Request {
        method,
        name: Span::new(0, space),
        uri,
    };
    if !version.of(bytes).eq_ignore_ascii_case(VERSION) {
        index.blame(Violation::Version);
    }
    // RFC 4475 §3.1.2.8 to §3.1.2.10: what is not exactly three parts must not be passed on.
    let is_exact = usize::from(uri.start) == space + 1
        && usize::from(uri.end) + 1 == version_at
        && usize::from(version.end) == end;
    if !is_exact {
        index.blame(Violation::StartLine);
    } else {
        match read_uri(uri.of(bytes)) {
            Ok(parts) => index.uri = Some(uri::Parts::of(parts, bytes)),
            Err(violation) => index.blame(violation),
        }
    }
    Ok(())
}

/// The last word of a request line, if it is a version.
fn version(line: &[u8], method_end: usize) -> Option<Span> {
    let usual = line.len().checked_sub(VERSION.len());
    if let Some(start) = usual.filter(|start| *start > method_end + 1)
        && line[start - 1] == b' '
        && line[start..] == *VERSION
    {
        return Some(Span::new(start, line.len()));
    }
    let trimmed = trim_span(line, method_end, line.len());
    let last = memchr::memrchr(b' ', trimmed.of(line)).map(|n| usize::from(trimmed.start) + n);
    let start = last.map_or(usize::from(trimmed.start), |n| n + 1);
    let version = Span::new(start, usize::from(trimmed.end));
    is_version(version.of(line)).then_some(version)
}

fn read_uri(uri: &[u8]) -> Result<Uri<'_>, Violation> {
    match Uri::parse(uri) {
        Err(UriError::TooLong) => Err(Violation::UriTooLong),
        Err(UriError::Byte) if uri.iter().any(|b| lex::is_blank(*b)) => Err(Violation::StartLine),
        Err(_) => Err(Violation::Uri),
        // A URN names a service (RFC 5031): the script finds out who provides it.
        Ok(uri) if uri.scheme == Scheme::Other && !uri.scheme_text.eq_ignore_ascii_case(b"urn") => {
            Err(Violation::UriScheme)
        }
        Ok(uri) => Ok(uri),
    }
}

fn is_version(text: &[u8]) -> bool {
    match text.split_at_checked(4) {
        Some((sip, number)) => {
            let is_number = |b: &u8| b.is_ascii_digit() || *b == b'.';
            sip.eq_ignore_ascii_case(b"SIP/") && !number.is_empty() && number.iter().all(is_number)
        }
        None => false,
    }
}

/// The reason phrase may be empty, and the blank before it missing (RFC 4475 §3.1.1.13).
fn status_line(line: &[u8], space: usize, index: &mut Index) -> Result<(), ParseError> {
    let rest = &line[space + 1..];
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let status = lex::number(&rest[..digits]).unwrap_or(0);
    // RFC 4475 §3.1.2.19: a code is three digits from 100 to 699.
    if digits != 3 || !(100..700).contains(&status) || !matches!(rest.get(3), None | Some(b' ')) {
        return Err(ParseError::StartLine);
    }
    let reason = Span::new((space + 5).min(line.len()), line.len());
    index.start_line = StartLine::Response {
        status: status as u16,
        reason,
    };
    if !line[..space].eq_ignore_ascii_case(b"SIP/2.0") {
        index.blame(Violation::Version);
    }
    Ok(())
}

/// The values of the fields that every message needs, of Via the topmost one.
#[derive(Clone, Copy, Default)]
struct Seen {
    via: Option<Span>,
    from: Option<Span>,
    to: Option<Span>,
    call_id: Option<Span>,
    cseq: Option<Span>,
    content_length: Option<u32>,
    via_count: usize,
}

struct Reader<'a> {
    bytes: &'a [u8],
    headers: &'a mut Vec<Header>,
    index: &'a mut Index,
    seen: Seen,
}

impl Reader<'_> {
    /// Reads fields from `at` to the empty line.
    fn read_fields(&mut self, mut at: usize) -> Result<(), ParseError> {
        loop {
            // No name begins with a control.
            let is_field = self.bytes.get(at).is_some_and(|first| *first > b' ');
            if !is_field && self.ends_at(at) {
                return Ok(());
            }
            let end = field_end(self.bytes, at).ok_or(ParseError::NoHeaderEnd)?;
            match field(self.bytes, at, end) {
                Some(header) if self.headers.len() < limits::HEADER_COUNT_MAX => {
                    self.headers.push(header);
                    self.note(header);
                }
                Some(_) => self.index.blame(Violation::TooManyHeaders),
                None => self.index.blame(Violation::HeaderLine),
            }
            at = end;
        }
    }

    /// Whether the header ends at `at`.
    fn ends_at(&mut self, at: usize) -> bool {
        let is_cut = at == self.bytes.len() && at + EMPTY_LINE.len() <= limits::MESSAGE_SIZE_MAX;
        match empty_line(self.bytes, at) {
            Some(size) => self.end_header(at, size),
            // Deployed proxies take a datagram that ends with its last field for whole; the caller
            // adds the empty line, so that nobody behind us has to.
            None if is_cut => self.end_header(at, 0),
            None => return false,
        }
        true
    }

    fn end_header(&mut self, at: usize, empty_line: usize) {
        self.index.headers_end = at as u16;
        self.index.body = Span::new(at + empty_line, self.bytes.len());
    }

    /// Remembers the fields that every message needs.
    fn note(&mut self, header: Header) {
        self.index.present |= header.name.bit();
        let value = header.value;
        let slot = match header.name {
            HeaderName::Via => {
                return self.note_via(value);
            }
            HeaderName::ContentLength => return self.note_length(value),
            HeaderName::From => &mut self.seen.from,
            HeaderName::To => &mut self.seen.to,
            HeaderName::CallId => &mut self.seen.call_id,
            HeaderName::CSeq => &mut self.seen.cseq,
            HeaderName::MaxForwards => &mut self.index.max_forwards,
            _ => return,
        };
        match slot {
            Some(_) => self.index.blame(Violation::Repeated),
            None => *slot = Some(value),
        }
    }

    fn note_via(&mut self, value: Span) {
        let is_list = memchr(b',', value.of(self.bytes)).is_some();
        if self.seen.via.is_none() {
            let top = match is_list {
                true => Values::new(self.bytes, value).next(),
                false => None,
            };
            self.seen.via = Some(top.unwrap_or(value));
        }
        self.seen.via_count += match is_list {
            true => Values::new(self.bytes, value).count(),
            false => 1,
        };
        if self.seen.via_count > limits::VIA_COUNT_MAX {
            self.index.blame(Violation::TooManyVias);
        }
    }

    fn note_length(&mut self, value: Span) {
        match (lex::number(value.of(self.bytes)), self.seen.content_length) {
            (None, _) => self.index.blame(Violation::ContentLength),
            (Some(n), Some(m)) if n != m => self.index.blame(Violation::ContentLengthConflict),
            (Some(n), _) => self.seen.content_length = Some(n),
        }
    }

    fn read_via(&mut self) -> Result<(), ParseError> {
        let top = self.seen.via.ok_or(ParseError::NoVia)?;
        self.index.via = via::read_at(self.bytes, top).map_err(|_| ParseError::BadVia)?;
        if self.index.via.is_torn {
            self.index.blame(Violation::ViaParams);
        }
        Ok(())
    }

    /// From, To, Call-ID and CSeq (§8.1.1). Max-Forwards is mandatory too, but elements of
    /// RFC 2543 do not send it and §16.3 step 3 lets it be absent.
    fn read_mandatory(&mut self) {
        match self.seen.from.map(|span| addr::parse_at(self.bytes, span)) {
            Some(Ok(parts)) => {
                self.index.from = parts;
                self.index.from_tag = self.tag(parts);
            }
            Some(Err(_)) => self.index.blame(Violation::BadFrom),
            None => self.index.blame(Violation::NoFrom),
        }
        match self.seen.to.map(|span| addr::parse_at(self.bytes, span)) {
            Some(Ok(parts)) => {
                self.index.to = parts;
                self.index.to_tag = self.tag(parts);
            }
            Some(Err(_)) => self.index.blame(Violation::BadTo),
            None => self.index.blame(Violation::NoTo),
        }
        self.read_call_id();
        self.read_cseq();
    }

    fn tag(&self, parts: addr::Parts) -> Option<Span> {
        // Nearly all have no other parameter, and a token in it.
        let params = parts.params.of(self.bytes);
        if let Some(tag @ [_, ..]) = params.strip_prefix(b"tag=")
            && tag.iter().all(|b| is_token(*b))
        {
            let start = parts.params.start + (params.len() - tag.len()) as u16;
            return Some(Span {
                start,
                end: parts.params.end,
            });
        }
        let tag = parts.view(self.bytes).tag()?;
        Span::within(self.bytes, tag)
    }

    fn read_call_id(&mut self) {
        let Some(span) = self.seen.call_id else {
            return self.index.blame(Violation::NoCallId);
        };
        self.index.call_id = span;
        let value = span.of(self.bytes);
        self.index.call = steer::hash(value);
        if value.is_empty() || memchr::memchr3(b' ', b'\t', b'\r', value).is_some() {
            self.index.blame(Violation::BadCallId);
        }
    }

    fn read_cseq(&mut self) {
        match self.seen.cseq.map(|span| cseq::parse_at(self.bytes, span)) {
            Some(Ok(cseq)) => self.index.cseq = cseq,
            Some(Err(_)) => return self.index.blame(Violation::BadCSeq),
            None => return self.index.blame(Violation::NoCSeq),
        }
        if let StartLine::Request { name, .. } = self.index.start_line
            && name.of(self.bytes) != self.index.cseq.method_span.of(self.bytes)
        {
            self.index.blame(Violation::CSeqMethod);
        }
    }

    /// §18.3: what comes behind the body that Content-Length gives is no part of the message; a
    /// datagram that ends before is bad. Without the field the body is the rest of the datagram.
    fn read_body(&mut self) {
        let Some(length) = self.seen.content_length else {
            return;
        };
        let body = &mut self.index.body;
        match usize::try_from(length) {
            Ok(length) if length <= body.len() => {
                body.end = (usize::from(body.start) + length) as u16;
            }
            _ => self.index.blame(Violation::BodyTooShort),
        }
    }
}

/// One past the line end of the field that begins at `at`, folded lines included.
#[inline]
pub(super) fn field_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    loop {
        end = lex::find_line_feed(bytes, end)? + 1;
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
    }
}

/// Takes `name: value` apart (§7.3.1); blanks may stand before the colon. The field ends with its
/// line feed.
#[inline(always)]
pub(super) fn field(bytes: &[u8], at: usize, end: usize) -> Option<Header> {
    let (name, name_size, colon) = match near_name(bytes, at) {
        // A name of the table has no line end in it, so its colon stands in this line.
        Some((name, size)) => (name, size, size),
        None => far_name(&bytes[at..end])?,
    };
    // Nearly all have one blank before the value and none behind it.
    let value_at = at + colon + 1;
    let is_spaced = bytes[value_at] == b' ';
    let value = trim_span(
        bytes,
        value_at + usize::from(is_spaced),
        chomp(bytes, end - 1),
    );
    Some(Header {
        name,
        name_span: Span::new(at, at + name_size),
        value: if value.is_empty() {
            Span::at(value_at as u16)
        } else {
            value
        },
        line: Span::new(at, end),
    })
}

/// The name that begins at `at` and its size, when it is one of the table with its colon right
/// behind it, both within sixteen bytes: nearly all are.
#[inline(always)]
fn near_name(bytes: &[u8], at: usize) -> Option<(HeaderName, usize)> {
    let window = bytes.get(at..)?.first_chunk()?;
    let colon = lex::find_in_window(window, b':')?;
    let name = HeaderName::in_window(window, colon);
    (name != HeaderName::Other).then_some((name, colon))
}

/// The name with which a line begins, its size, and where its colon stands.
fn far_name(line: &[u8]) -> Option<(HeaderName, usize, usize)> {
    let colon = lex::find(line, b':')?;
    let mut name = &line[..colon];
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    let known = HeaderName::from_bytes(name);
    // A name of the table is a token; any other has to be looked at.
    if known == HeaderName::Other && (name.is_empty() || !name.iter().all(|b| is_token(*b))) {
        return None;
    }
    Some((known, name.len(), colon))
}

/// The size of the empty line that begins at `at`, if one does.
#[inline]
pub(super) fn empty_line(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at) {
        Some(b'\n') => Some(1),
        Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => Some(2),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;

    #[test]
    fn start_lines() {
        use Violation as V;
        let table = [
            ("OPTIONS sip:a@h SIP/2.0", Ok(None)),
            ("OPTIONS tel:+1 SIP/2.0", Ok(None)),
            ("OPTIONS sip:a@h sip/2.0", Ok(None)),
            ("SIP/2.0 200 OK", Ok(None)),
            ("SIP/2.0 100 ", Ok(None)),
            ("SIP/2.0 100", Ok(None)),
            ("sip/2.0 699 all lower  case ", Ok(None)),
            ("OPTIONS sip:a@h SIP/7.0", Ok(Some(V::Version))),
            ("SIP/3.0 200 OK", Ok(Some(V::Version))),
            ("OPTIONS  sip:a@h SIP/2.0", Ok(Some(V::StartLine))),
            ("OPTIONS sip:a@h  SIP/2.0", Ok(Some(V::StartLine))),
            ("OPTIONS sip:a@h SIP/2.0 ", Ok(Some(V::StartLine))),
            ("OPTIONS sip:a@h; lr SIP/2.0", Ok(Some(V::StartLine))),
            ("OPTIONS sip:a@h\tx SIP/2.0", Ok(Some(V::StartLine))),
            ("OPTIONS SIP/2.0", Ok(Some(V::StartLine))),
            ("OPTIONS  SIP/2.0", Ok(Some(V::StartLine))),
            ("OPTIONS <sip:a@h> SIP/2.0", Ok(Some(V::Uri))),
            ("OPTIONS a@h SIP/2.0", Ok(Some(V::Uri))),
            ("OPTIONS sip:a@h:99999 SIP/2.0", Ok(Some(V::Uri))),
            ("OPTIONS http://h SIP/2.0", Ok(Some(V::UriScheme))),
            ("OPTIONS sip:a@h?Route=x SIP/2.0", Ok(None)),
            ("SIP/2.0 4294967301 big", Err(ParseError::StartLine)),
            ("SIP/2.0 099 low", Err(ParseError::StartLine)),
            ("SIP/2.0 700 high", Err(ParseError::StartLine)),
            ("SIP/2.0 20 short", Err(ParseError::StartLine)),
            ("SIP/2.0 200OK", Err(ParseError::StartLine)),
            ("SIP/2.0  200 OK", Err(ParseError::StartLine)),
            ("GET / HTTP/1.1", Err(ParseError::StartLine)),
            ("OPTIONS sip:a@h", Err(ParseError::StartLine)),
            (" OPTIONS sip:a@h SIP/2.0", Err(ParseError::StartLine)),
            ("OPT,IONS sip:a@h SIP/2.0", Err(ParseError::StartLine)),
            ("OPTIONS", Err(ParseError::StartLine)),
            ("OPTIONS sip:a@h SIP/", Err(ParseError::StartLine)),
        ];
        for (line, want) in table {
            let rest = "Via: SIP/2.0/UDP h\r\nTo: sip:a@h\r\nFrom: sip:b@h\r\ni: x\r\n\
                        CSeq: 1 OPTIONS\r\n\r\n";
            let got = Message::parse(format!("{line}\r\n{rest}").as_bytes());
            assert_eq!(got.map(|m| m.violation()), want, "{line:?}");
        }
    }

    /// The fields of a good request, of which each row replaces the one of the same name.
    const FIELDS: [(&str, &str); 5] = [
        ("Via", "Via: SIP/2.0/UDP h\r\n"),
        ("From", "From: <sip:a@h>;tag=1\r\n"),
        ("To", "To: <sip:b@h>\r\n"),
        ("Call-ID", "Call-ID: x\r\n"),
        ("CSeq", "CSeq: 1 OPTIONS\r\n"),
    ];

    #[test]
    fn fields() {
        use Violation as V;
        let table = [
            ("", "", Ok(None)),
            ("", "X:\r\n", Ok(None)),
            ("", "X: folded\r\n  twice\r\n\tover\r\n", Ok(None)),
            ("", "X: bare line feed\n", Ok(None)),
            ("", "l: 4\r\n", Ok(None)),
            ("", "l: 4\r\nContent-Length: 4\r\n", Ok(None)),
            ("", "Max-Forwards: what\r\n", Ok(None)),
            (
                "",
                "Expires: never\r\nDate: no\r\nContact: \"\r\n",
                Ok(None),
            ),
            ("Via", "v: SIP/2.0/UDP h;branch=x;\r\n", Ok(None)),
            ("Via", "v: SIP/2.0/UDP h , SIP/2.0/UDP i;;\r\n", Ok(None)),
            ("", "no colon\r\n", Ok(Some(V::HeaderLine))),
            ("", ": no name\r\n", Ok(Some(V::HeaderLine))),
            ("", "two words: x\r\n", Ok(Some(V::HeaderLine))),
            (
                "Via",
                "v: SIP/2.0/UDP h;;branch=x\r\n",
                Ok(Some(V::ViaParams)),
            ),
            ("From", "", Ok(Some(V::NoFrom))),
            ("From", "f: \"open <sip:a@h>\r\n", Ok(Some(V::BadFrom))),
            ("To", "", Ok(Some(V::NoTo))),
            ("To", "To:\r\n", Ok(Some(V::BadTo))),
            ("Call-ID", "", Ok(Some(V::NoCallId))),
            ("Call-ID", "i:\r\n", Ok(Some(V::BadCallId))),
            ("Call-ID", "i: two words\r\n", Ok(Some(V::BadCallId))),
            ("CSeq", "", Ok(Some(V::NoCSeq))),
            ("CSeq", "CSeq: 1\r\n", Ok(Some(V::BadCSeq))),
            ("CSeq", "CSeq: 4294967296 OPTIONS\r\n", Ok(Some(V::BadCSeq))),
            ("CSeq", "CSeq: 1 INVITE\r\n", Ok(Some(V::CSeqMethod))),
            ("CSeq", "CSeq: 1 options\r\n", Ok(Some(V::CSeqMethod))),
            ("", "f: <sip:a@h>;tag=1\r\n", Ok(Some(V::Repeated))),
            ("", "t: <sip:a@h>\r\n", Ok(Some(V::Repeated))),
            ("", "i: x\r\n", Ok(Some(V::Repeated))),
            ("", "CSEQ: 1 OPTIONS\r\n", Ok(Some(V::Repeated))),
            (
                "",
                "Max-Forwards: 1\r\nMax-Forwards: 1\r\n",
                Ok(Some(V::Repeated)),
            ),
            ("", "l: -1\r\n", Ok(Some(V::ContentLength))),
            ("", "l: 4\r\nl: 3\r\n", Ok(Some(V::ContentLengthConflict))),
            ("", "l: 5\r\n", Ok(Some(V::BodyTooShort))),
            ("Via", "", Err(ParseError::NoVia)),
            ("Via", "Via:\r\n", Err(ParseError::BadVia)),
            ("Via", "Via: SIP/2.0 h\r\n", Err(ParseError::BadVia)),
            ("Via", "Via: SIP/2.0/UDP h:x\r\n", Err(ParseError::BadVia)),
        ];
        for (replaced, field, want) in table {
            let kept = FIELDS
                .iter()
                .filter(|(name, _)| *name != replaced)
                .map(|(_, f)| *f);
            let text: String = kept.collect();
            let text = format!("OPTIONS sip:b@h SIP/2.0\r\n{text}{field}\r\nbody");
            let got = Message::parse(text.as_bytes()).map(|m| m.violation());
            assert_eq!(got, want, "{replaced} {field:?}");
        }
    }

    #[test]
    fn bounds() {
        let good: String = FIELDS.iter().map(|(_, field)| *field).collect();
        let with = |more: String| format!("OPTIONS sip:b@h SIP/2.0\r\n{good}{more}\r\n");
        let violation = |text: String| Message::parse(text.as_bytes()).map(|m| m.violation());
        let room = limits::HEADER_COUNT_MAX - FIELDS.len();
        assert_eq!(violation(with("X: y\r\n".repeat(room))), Ok(None));
        let many = violation(with("X: y\r\n".repeat(room + 1)));
        assert_eq!(many, Ok(Some(Violation::TooManyHeaders)));
        let vias = |n: usize| {
            with(format!(
                "Via: {}SIP/2.0/UDP h\r\n",
                "SIP/2.0/UDP h,".repeat(n - 1)
            ))
        };
        assert_eq!(violation(vias(limits::VIA_COUNT_MAX - 1)), Ok(None));
        assert_eq!(
            violation(vias(limits::VIA_COUNT_MAX)),
            Ok(Some(Violation::TooManyVias))
        );
        let long = format!(
            "OPTIONS sip:{}@h SIP/2.0\r\n{good}\r\n",
            "b".repeat(limits::URI_SIZE_MAX)
        );
        assert_eq!(violation(long), Ok(Some(Violation::UriTooLong)));
        let fill = limits::MESSAGE_SIZE_MAX - with(String::new()).len();
        let sized = |n: usize| with(String::new()) + &"b".repeat(n);
        assert_eq!(violation(sized(fill)), Ok(None));
        assert_eq!(violation(sized(fill + 1)), Err(ParseError::TooLarge));
        for nothing in ["", "\r\n\r\n", "\n\r"] {
            assert_eq!(
                violation(nothing.into()),
                Err(ParseError::Empty),
                "{nothing:?}"
            );
        }
        let whole = with(String::new());
        let cut = |n: usize| whole[..whole.len() - n].to_owned();
        assert_eq!(violation(cut(3)), Err(ParseError::NoHeaderEnd));
        let mended = Message::parse(cut(2).as_bytes()).unwrap();
        assert_eq!(mended.violation(), None);
        assert_eq!(mended.bytes(), whole.as_bytes());
    }
}
