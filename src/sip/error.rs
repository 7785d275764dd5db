//! What can be wrong with bytes from the network: a catalogue to learn the attack surface from.
//!
//! [`ParseError`]: the bytes cannot be treated as SIP, or no answer could find its way back. They
//! are dropped and counted. [`Violation`]: a message that can be answered but breaks a rule that a
//! proxy must check (RFC 3261 §16.3). A request is answered with [`Violation::status`], a
//! response or an ACK is dropped. Every value has a name, which is also the label of its counter.

use std::fmt;

/// Why bytes cannot be treated as a SIP message at all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ParseError {
    /// Nothing but line ends: a keep-alive (RFC 5626 §3.5.1) or an empty datagram.
    Empty,
    /// More than `limits::MESSAGE_SIZE_MAX` bytes.
    TooLarge,
    /// The first line is neither a Request-Line nor a Status-Line.
    StartLine,
    /// It ends within a line of the header.
    NoHeaderEnd,
    /// There is no Via: nobody could be answered.
    NoVia,
    /// The topmost Via has no readable protocol or sent-by.
    BadVia,
}

impl ParseError {
    /// Its name, as in counters.
    pub const fn name(self) -> &'static str {
        match self {
            ParseError::Empty => "empty",
            ParseError::TooLarge => "too_large",
            ParseError::StartLine => "start_line",
            ParseError::NoHeaderEnd => "no_header_end",
            ParseError::NoVia => "no_via",
            ParseError::BadVia => "bad_via",
        }
    }
}

/// The rule of RFC 3261 that a readable message breaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// Blanks in the wrong places of the Request-Line (§7.1: single SP between its three parts).
    StartLine,
    /// A version other than SIP/2.0 (§16.3 step 1, §21.5.7).
    Version,
    /// The Request-URI does not parse (§16.3 step 1).
    Uri,
    /// The Request-URI is longer than `limits::URI_SIZE_MAX` (§21.4.12).
    UriTooLong,
    /// The Request-URI's scheme is none of sip, sips and tel (§16.3 step 2).
    UriScheme,
    /// A line of the header is not `name: value` (§7.3.1).
    HeaderLine,
    /// More than `limits::HEADER_COUNT_MAX` fields.
    TooManyHeaders,
    /// More than `limits::VIA_COUNT_MAX` values of Via.
    TooManyVias,
    /// The topmost Via has empty parameters.
    ViaParams,
    /// No From (§8.1.1).
    NoFrom,
    /// No To.
    NoTo,
    /// No Call-ID.
    NoCallId,
    /// No CSeq.
    NoCSeq,
    /// From is not a name-addr or addr-spec (§20.20).
    BadFrom,
    /// To is not a name-addr or addr-spec (§20.39).
    BadTo,
    /// Call-ID is empty or has blanks inside (§20.8).
    BadCallId,
    /// CSeq is not a 32-bit number and a method (§20.16).
    BadCSeq,
    /// CSeq and Request-Line disagree on the method (§8.1.1.5).
    CSeqMethod,
    /// From, To, Call-ID, CSeq or Max-Forwards stands there twice (§7.3.1).
    Repeated,
    /// Content-Length is not a number (§20.14).
    ContentLength,
    /// Two values of Content-Length that differ.
    ContentLengthConflict,
    /// The datagram ends before the body does (§18.3).
    BodyTooShort,
}

impl Violation {
    /// All of them, for tables of counters.
    pub const ALL: [Violation; 22] = [
        Violation::StartLine,
        Violation::Version,
        Violation::Uri,
        Violation::UriTooLong,
        Violation::UriScheme,
        Violation::HeaderLine,
        Violation::TooManyHeaders,
        Violation::TooManyVias,
        Violation::ViaParams,
        Violation::NoFrom,
        Violation::NoTo,
        Violation::NoCallId,
        Violation::NoCSeq,
        Violation::BadFrom,
        Violation::BadTo,
        Violation::BadCallId,
        Violation::BadCSeq,
        Violation::CSeqMethod,
        Violation::Repeated,
        Violation::ContentLength,
        Violation::ContentLengthConflict,
        Violation::BodyTooShort,
    ];

    /// Whether the rule is about the Request-URI.
    pub const fn is_about_uri(self) -> bool {
        matches!(
            self,
            Violation::Uri | Violation::UriTooLong | Violation::UriScheme
        )
    }

    /// The status that answers a request which breaks the rule.
    pub const fn status(self) -> u16 {
        match self {
            Violation::Version => 505,
            Violation::UriTooLong => 414,
            Violation::UriScheme => 416,
            Violation::TooManyVias => 483,
            Violation::StartLine
            | Violation::Uri
            | Violation::HeaderLine
            | Violation::TooManyHeaders
            | Violation::ViaParams
            | Violation::NoFrom
            | Violation::NoTo
            | Violation::NoCallId
            | Violation::NoCSeq
            | Violation::BadFrom
            | Violation::BadTo
            | Violation::BadCallId
            | Violation::BadCSeq
            | Violation::CSeqMethod
            | Violation::Repeated
            | Violation::ContentLength
            | Violation::ContentLengthConflict
            | Violation::BodyTooShort => 400,
        }
    }

    /// Its name, as in counters.
    pub const fn name(self) -> &'static str {
        match self {
            Violation::StartLine => "start_line",
            Violation::Version => "version",
            Violation::Uri => "uri",
            Violation::UriTooLong => "uri_too_long",
            Violation::UriScheme => "uri_scheme",
            Violation::HeaderLine => "header_line",
            Violation::TooManyHeaders => "too_many_headers",
            Violation::TooManyVias => "too_many_vias",
            Violation::ViaParams => "via_params",
            Violation::NoFrom => "no_from",
            Violation::NoTo => "no_to",
            Violation::NoCallId => "no_call_id",
            Violation::NoCSeq => "no_cseq",
            Violation::BadFrom => "bad_from",
            Violation::BadTo => "bad_to",
            Violation::BadCallId => "bad_call_id",
            Violation::BadCSeq => "bad_cseq",
            Violation::CSeqMethod => "cseq_method",
            Violation::Repeated => "repeated",
            Violation::ContentLength => "content_length",
            Violation::ContentLengthConflict => "content_length_conflict",
            Violation::BodyTooShort => "body_too_short",
        }
    }

    /// The reason phrase of the answer: §21.4.1 asks that it name the problem.
    pub const fn reason(self) -> &'static str {
        match self {
            Violation::StartLine => "Bad Request-Line",
            Violation::Version => "Version Not Supported",
            Violation::Uri => "Bad Request-URI",
            Violation::UriTooLong => "Request-URI Too Long",
            Violation::UriScheme => "Unsupported URI Scheme",
            Violation::HeaderLine => "Bad Header Field",
            Violation::TooManyHeaders => "Too Many Header Fields",
            Violation::TooManyVias => "Too Many Hops",
            Violation::ViaParams => "Bad Via Header Field",
            Violation::NoFrom => "Missing From Header Field",
            Violation::NoTo => "Missing To Header Field",
            Violation::NoCallId => "Missing Call-ID Header Field",
            Violation::NoCSeq => "Missing CSeq Header Field",
            Violation::BadFrom => "Bad From Header Field",
            Violation::BadTo => "Bad To Header Field",
            Violation::BadCallId => "Bad Call-ID Header Field",
            Violation::BadCSeq => "Bad CSeq Header Field",
            Violation::CSeqMethod => "CSeq Method Mismatch",
            Violation::Repeated => "Repeated Header Field",
            Violation::ContentLength => "Bad Content-Length Header Field",
            Violation::ContentLengthConflict => "Conflicting Content-Length Header Fields",
            Violation::BodyTooShort => "Body Shorter than Content-Length",
        }
    }
}

/// Why text is not a URI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UriError {
    /// Longer than `limits::URI_SIZE_MAX`.
    TooLong,
    /// No scheme before a colon.
    Scheme,
    /// A byte that no URI may hold: a blank, a control, an angle bracket or a quote.
    Byte,
    /// An `@` with nothing before it.
    User,
    /// The host is empty or has bytes that no host may hold.
    Host,
    /// The port is not a number below 65536.
    Port,
}

impl UriError {
    /// Its name, as in logs.
    pub const fn name(self) -> &'static str {
        match self {
            UriError::TooLong => "too_long",
            UriError::Scheme => "scheme",
            UriError::Byte => "byte",
            UriError::User => "user",
            UriError::Host => "host",
            UriError::Port => "port",
        }
    }
}

/// Why a stream cannot be cut into messages any more; the connection is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FrameError {
    /// A message grew beyond `limits::MESSAGE_SIZE_MAX`.
    TooLarge,
    /// A header without Content-Length, which streams must have (RFC 3261 §18.3, §20.14).
    NoContentLength,
    /// A Content-Length that is no number, or two that differ.
    BadContentLength,
    /// An HTTP request that is not served; its client is told before the connection is closed.
    Http(HttpRefusal),
}

/// Why an HTTP request is refused before a script sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HttpRefusal {
    /// It is not HTTP (RFC 9112 §2.2, §3, §5).
    Malformed,
    /// Neither a body nor that there is none can be told: no Content-Length, or chunks.
    NoContentLength,
    /// It is larger than `limits::MESSAGE_SIZE_MAX`.
    TooLarge,
    /// Its header alone is, or has more than `limits::HEADER_COUNT_MAX` fields.
    HeaderTooLarge,
    /// Its version is neither 1.0 nor 1.1.
    Version,
}

impl HttpRefusal {
    /// What the client is told (RFC 9110 §15.5, §15.6; RFC 6585 §5).
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            HttpRefusal::Malformed => (400, "Bad Request"),
            HttpRefusal::NoContentLength => (411, "Length Required"),
            HttpRefusal::TooLarge => (413, "Content Too Large"),
            HttpRefusal::HeaderTooLarge => (431, "Request Header Fields Too Large"),
            HttpRefusal::Version => (505, "HTTP Version Not Supported"),
        }
    }
}

impl FrameError {
    /// Its name, as in counters.
    pub const fn name(self) -> &'static str {
        match self {
            FrameError::TooLarge => "stream_too_large",
            FrameError::NoContentLength => "stream_no_content_length",
            FrameError::BadContentLength => "stream_bad_content_length",
            FrameError::Http(_) => "http_refused",
        }
    }
}

/// A value does not read as its grammar says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Malformed;

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed")
    }
}

impl std::error::Error for ParseError {}
impl std::error::Error for Violation {}
impl std::error::Error for UriError {}
impl std::error::Error for FrameError {}
impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_labels_and_differ() {
        let names: HashSet<_> = Violation::ALL.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), Violation::ALL.len());
        for violation in Violation::ALL {
            let label = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(violation.name().bytes().all(label), "{violation:?}");
            assert!((400..600).contains(&violation.status()), "{violation:?}");
        }
    }
}
