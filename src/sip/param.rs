//! Parameters of header fields (`;name=value`, RFC 3261 §7.3.1, §25.1 generic-param) and lists of
//! values. White space and folds may stand around every separator, values may be quoted.

use super::lex::{self, find_unquoted, trim, trim_span};
use super::span::Span;

/// One parameter. Both parts are slices of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// What follows the equals sign, quotes included; `None` without one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// Whether this is its name, in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value, empty when there is none.
    pub fn text(&self) -> &'a [u8] {
        self.value.unwrap_or_default()
    }

    #[inline]
    fn read(segment: &'a [u8]) -> Param<'a> {
        match lex::find(segment, b'=') {
            Some(at) => Param {
                name: trim(&segment[..at]),
                value: Some(trim(&segment[at + 1..])),
            },
            None => Param {
                name: trim(segment),
                value: None,
            },
        }
    }
}

/// The parameters of a header field; empty ones (`;;`) are passed over.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    /// Reads `text`, which begins behind the first semicolon.
    pub fn new(text: &'a [u8]) -> Params<'a> {
        Params { rest: text }
    }
}

impl<'a> Params<'a> {
    /// The next one, empty or not, and whether no semicolon stands behind it.
    #[inline]
    fn next_raw(&mut self) -> Option<(Param<'a>, bool)> {
        if self.rest.is_empty() {
            return None;
        }
        let (segment, rest) = split(self.rest, b';');
        let is_last = segment.len() == self.rest.len();
        self.rest = rest;
        Some((Param::read(segment), is_last))
    }

    /// The next one. `is_torn` is set when one before it has no name, unless that is the last and
    /// has no value either: a semicolon at the very end is common and harmless, `;;` and `;=x` are
    /// not parameters of any kind.
    #[inline]
    pub(super) fn next_strictly(&mut self, is_torn: &mut bool) -> Option<Param<'a>> {
        while let Some((param, is_last)) = self.next_raw() {
            if !param.name.is_empty() {
                return Some(param);
            }
            *is_torn |= !is_last || param.value.is_some();
        }
        None
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    #[inline]
    fn next(&mut self) -> Option<Param<'a>> {
        self.next_strictly(&mut false)
    }
}

/// The value of the first parameter of this name; empty when it has none.
pub fn find<'a>(params: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Params::new(params).find(|p| p.is(name)).map(|p| p.text())
}

/// What stands before and behind the first `separator` outside of quoted strings. A quoted string
/// that does not end takes all.
#[inline]
fn split(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let end = match lex::find_either(text, separator, b'"') {
        Some(at) if text[at] == b'"' => find_unquoted(text, at, |b| b == separator),
        found => found,
    };
    match end {
        Some(at) if at < text.len() => (&text[..at], &text[at + 1..]),
        Some(_) | None => (text, &[]),
    }
}

/// The values of a comma-separated field (RFC 3261 §7.3.1): split outside of quoted strings and
/// angle brackets, trimmed, empty ones passed over.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Values<'a> {
    /// Splits what `span` names in `bytes`.
    pub fn new(bytes: &'a [u8], span: Span) -> Values<'a> {
        let end = usize::from(span.end).min(bytes.len());
        Values {
            bytes,
            at: usize::from(span.start).min(end),
            end,
        }
    }
}

impl Iterator for Values<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.at < self.end {
            let comma = value_end(&self.bytes[..self.end], self.at);
            let value = trim_span(self.bytes, self.at, comma);
            self.at = comma + 1;
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

/// Where the value that begins at `at` ends: at a comma or with the bytes.
fn value_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at;
    while i < bytes.len() {
        match bytes[i] {
            b',' => return i,
            b'"' => i = lex::quote_end(bytes, i).unwrap_or(bytes.len()),
            b'<' => i = lex::find(&bytes[i..], b'>').map_or(bytes.len(), |n| i + n + 1),
            _ => i += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_through_blanks_and_quotes() {
        let table = [
            ("branch=z9hG4bK1;rport", "branch", Some("z9hG4bK1")),
            ("branch=z9hG4bK1;rport", "RPORT", Some("")),
            ("branch=z9hG4bK1;rport", "port", None),
            (" tag \r\n = \r\n\t 98asjd8 ; x", "tag", Some("98asjd8")),
            ("a=\"x;tag=1\";tag=2", "tag", Some("2")),
            ("a=\"x\\\";tag=1\";tag=2", "tag", Some("2")),
            ("tag=1;tag=2", "tag", Some("1")),
            (";;tag=1", "tag", Some("1")),
            ("a=\"open;tag=1", "tag", None),
            ("tag=", "tag", Some("")),
            ("a=b=c", "a", Some("b=c")),
            ("", "tag", None),
        ];
        for (params, name, want) in table {
            let got = find(params.as_bytes(), name.as_bytes());
            assert_eq!(got, want.map(str::as_bytes), "{params} {name}");
        }
    }

    #[test]
    fn empty_parameters_are_seen() {
        let table = [
            ("", false),
            ("a", false),
            ("a;", false),
            ("a=1;b", false),
            (";", true),
            ("a;;b", true),
            ("a;;", true),
            (";a", true),
            ("=a", true),
            ("a;\r\n ;b", true),
            ("a; ;b", true),
            ("a;=1", true),
            ("a=\";;\"", false),
        ];
        for (params, want) in table {
            let (mut all, mut is_torn) = (Params::new(params.as_bytes()), false);
            while all.next_strictly(&mut is_torn).is_some() {}
            assert_eq!(is_torn, want, "{params}");
        }
    }

    #[test]
    fn lists_split_at_their_own_commas_only() {
        let table: [(&str, &[&str]); 9] = [
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a ,\r\n b ", &["a", "b"]),
            (
                "\"x, y\" <sip:a>, <sip:b,c;d>;e",
                &["\"x, y\" <sip:a>", "<sip:b,c;d>;e"],
            ),
            ("\"x\\\", y\" <sip:a>,b", &["\"x\\\", y\" <sip:a>", "b"]),
            (",,a,,", &["a"]),
            ("<sip:a,b", &["<sip:a,b"]),
            ("\"a,b", &["\"a,b"]),
            ("", &[]),
        ];
        for (text, want) in table {
            let span = Span::new(0, text.len());
            let got: Vec<_> = Values::new(text.as_bytes(), span)
                .map(|s| std::str::from_utf8(s.of(text.as_bytes())).unwrap())
                .collect();
            assert_eq!(got, want, "{text}");
        }
    }
}
