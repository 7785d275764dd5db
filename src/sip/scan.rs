//! Finds single fields without parsing: what steering and framing need, no more.
//!
//! It reads lines as the parser does, so that both see the same fields; whether it agrees is a
//! property that tests hold against the parser. Total on any bytes.

use super::error::Violation;
use super::lex;
use super::message::Message;
use super::name::HeaderName;
use super::parse;
use super::span::Span;
use crate::limits;

/// The value of the first Call-ID, without white space around it; `None` when no such field comes
/// before the empty line or the end. Reads the lines up to it and no further.
pub fn call_id(bytes: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(bytes);
    let (_, value) = fields.find(|(name, _)| *name == HeaderName::CallId)?;
    Some(value.of(fields.bytes))
}

/// Whether this is the INVITE of a new call: one whose To has no tag. Reads the fields up to To; a
/// tag in the display name or the URI counts as one, which is on the safe side.
pub fn begins_call(bytes: &[u8]) -> bool {
    let mut fields = Fields::new(bytes);
    fields.bytes.starts_with(b"INVITE ")
        && fields
            .find(|(name, _)| *name == HeaderName::To)
            .is_some_and(|(_, value)| {
                let value = value.of(fields.bytes);
                !memchr::memchr_iter(b';', value).any(|at| {
                    let rest = value[at + 1..].trim_ascii_start();
                    rest.len() >= 3 && rest[..3].eq_ignore_ascii_case(b"tag")
                })
            })
}

/// What the fields of a complete header say about its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    /// All values of Content-Length are this number.
    Bytes(usize),
    /// There is no such field.
    Absent,
    /// One is no number, or two differ.
    Bad,
}

/// The Content-Length of a header, up to its empty line or the end.
pub(super) fn content_length(bytes: &[u8]) -> Length {
    let mut length = Length::Absent;
    let fields = Fields::new(bytes);
    let bytes = fields.bytes;
    for (_, value) in fields.filter(|(name, _)| *name == HeaderName::ContentLength) {
        let n = lex::number(value.of(bytes)).and_then(|n| usize::try_from(n).ok());
        length = match (n, length) {
            (Some(n), Length::Absent) => Length::Bytes(n),
            (Some(n), Length::Bytes(m)) if n == m => length,
            (None, _) | (Some(_), Length::Bytes(_) | Length::Bad) => return Length::Bad,
        };
    }
    length
}

/// The fields behind the start line, as many as the parser would index.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Fields<'a> {
        let bytes = parse::skip_line_ends(bytes);
        // Offsets are 16 bits; what is larger is not a message.
        let is_fit = bytes.len() <= limits::MESSAGE_SIZE_MAX;
        let line = memchr::memchr(b'\n', bytes).filter(|_| is_fit);
        Fields {
            bytes,
            at: line.map_or(bytes.len(), |n| n + 1),
            left: if is_fit { limits::HEADER_COUNT_MAX } else { 0 },
        }
    }
}

impl Iterator for Fields<'_> {
    type Item = (HeaderName, Span);

    fn next(&mut self) -> Option<(HeaderName, Span)> {
        while self.left > 0 {
            if parse::empty_line(self.bytes, self.at).is_some() {
                return None;
            }
            let end = parse::field_end(self.bytes, self.at)?;
            let header = parse::field(self.bytes, self.at, end);
            self.at = end;
            if let Some(header) = header {
                self.left -= 1;
                return Some((header.name, header.value));
            }
        }
        None
    }
}

/// Whatever the bytes, the scan ends; where the parser reads a message, both see the same Call-ID.
pub fn fuzz_scan(data: &[u8]) {
    let scanned = call_id(data);
    if let Some(value) = scanned {
        assert!(
            Span::within(data, value).is_some(),
            "the scan made up a Call-ID"
        );
    }
    let begins = begins_call(data);
    let Ok(message) = Message::parse(data) else {
        return;
    };
    let has_tag = message.to_tag().is_some() && message.violation().is_none();
    assert!(
        !(begins && has_tag),
        "a request of a call counts as its beginning"
    );
    let parsed = message
        .first(HeaderName::CallId)
        .map(|header| message.text(header.value));
    assert_eq!(scanned, parsed, "scan and parser see different Call-IDs");
    let length = content_length(data);
    let is_bad = |v: Violation| {
        matches!(
            v,
            Violation::ContentLength | Violation::ContentLengthConflict
        )
    };
    match length {
        Length::Absent => assert!(!message.has(HeaderName::ContentLength)),
        Length::Bytes(n) => assert!(message.body().len() <= n),
        Length::Bad => assert!(message.violation().is_some()),
    }
    assert!(!message.violation().is_some_and(is_bad) || length == Length::Bad);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_id_is_found_in_every_form() {
        let table = [
            ("Call-ID: abc@h\r\n", Some("abc@h")),
            ("i:abc\r\n", Some("abc")),
            ("I \t :\t abc \r\n", Some("abc")),
            ("CALL-id:\r\n  abc\r\n", Some("abc")),
            ("call-ID\t:\n\tabc\n", Some("abc")),
            ("Call-ID:\r\n", Some("")),
            ("X: a\r\n Call-ID: no\r\nCall-ID: yes\r\n", Some("yes")),
            ("no colon\r\ni: a\r\ni: b\r\n", Some("a")),
            ("Call-ID2: a\r\nX-i: b\r\n", None),
            ("\r\nCall-ID: in the body\r\n", None),
            ("\nCall-ID: in the body\r\n", None),
            ("Call-ID: cut", None),
            ("", None),
        ];
        for (fields, want) in table {
            let bytes = format!("\r\n\r\nINVITE sip:a@b SIP/2.0\r\n{fields}");
            assert_eq!(
                call_id(bytes.as_bytes()),
                want.map(str::as_bytes),
                "{fields:?}"
            );
        }
        for bytes in ["", "\r\n", "Call-ID: first line\r\n", "x"] {
            assert_eq!(call_id(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_call_begins_with_an_invite_without_a_tag() {
        let table = [
            ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", true),
            ("\r\nINVITE sip:a@b SIP/2.0\r\nt: sip:a@b;x=1\r\n\r\n", true),
            (
                "INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=1\r\n\r\n",
                false,
            ),
            (
                "INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b> ; TAG = 1\r\n\r\n",
                false,
            ),
            ("INVITE sip:a@b SIP/2.0\r\nFrom: <sip:a@b>\r\n\r\n", false),
            ("BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", false),
            ("SIP/2.0 180 Ringing\r\nTo: <sip:a@b>\r\n\r\n", false),
            ("INVITE", false),
            ("", false),
        ];
        for (text, want) in table {
            assert_eq!(begins_call(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn lengths_agree_or_are_bad() {
        let table = [
            ("l: 5\r\n", Length::Bytes(5)),
            ("Content-Length: 0\r\nl: 00\r\n", Length::Bytes(0)),
            ("Content-Length: 1\r\nl: 2\r\n", Length::Bad),
            ("Content-Length: -1\r\n", Length::Bad),
            ("Content-Length: 99999999999\r\n", Length::Bad),
            ("Content-Length:\r\n", Length::Bad),
            ("X: 1\r\n", Length::Absent),
        ];
        for (fields, want) in table {
            let bytes = format!("OPTIONS sip:h SIP/2.0\r\n{fields}\r\n");
            assert_eq!(content_length(bytes.as_bytes()), want, "{fields:?}");
        }
    }
}
