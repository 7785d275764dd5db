//! name-addr and addr-spec with parameters: From, To, Contact, Route, Record-Route and the like
//! (RFC 3261 §20.10, §25.1).
//!
//! The URI is not parsed here: most are only passed on. Liberal where RFC 4475 says that one may
//! be: blanks inside the angle brackets (§3.1.2.14) and display names of anything that is not a
//! bracket (§3.1.2.15). Not liberal about a quoted string that never ends (§3.1.2.6).

use super::error::Malformed;
use super::lex::{self, find_unquoted, trim_span};
use super::param::{self, Params};
use super::span::Span;

/// A display name, a URI and the parameters of the field, as slices of the message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes included; `None` when there is none.
    pub display: Option<&'a [u8]>,
    /// The URI, without the angle brackets.
    pub uri: &'a [u8],
    /// The parameters behind the URI, without the first semicolon.
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, Malformed> {
        let end = u16::try_from(value.len()).map_err(|_| Malformed)?;
        parse_at(value, Span { start: 0, end }).map(|parts| parts.view(value))
    }

    /// The value of a parameter of the field, empty when it has none. Names in any case.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        param::find(self.params, name)
    }

    /// All parameters of the field.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The tag; an empty one counts as none.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param(b"tag").filter(|tag| !tag.is_empty())
    }
}

/// A [`NameAddr`] as offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    display: Option<Span>,
    pub(super) uri: Span,
    pub(super) params: Span,
}

impl Parts {
    pub(super) const NONE: Parts = Parts {
        display: None,
        uri: Span::at(0),
        params: Span::at(0),
    };

    pub(super) fn view(self, bytes: &[u8]) -> NameAddr<'_> {
        NameAddr {
            display: self.display.map(|span| span.of(bytes)),
            uri: self.uri.of(bytes),
            params: self.params.of(bytes),
        }
    }
}

/// Reads the value that `span` names.
pub(super) fn parse_at(bytes: &[u8], span: Span) -> Result<Parts, Malformed> {
    let (start, bytes) = (usize::from(span.start), &bytes[..usize::from(span.end)]);
    // The URI of an addr-spec ends with the first semicolon; what comes behind belongs to the
    // field (§20.10). A bracket or a quote before it makes it a name-addr.
    let is_bare = bytes.get(start) == Some(&b'<');
    let stop = match is_bare {
        true => start,
        false => find_unquoted(bytes, start, |b| matches!(b, b'<' | b';')).ok_or(Malformed)?,
    };
    if bytes.get(stop) != Some(&b'<') {
        let uri = trim_span(bytes, start, stop);
        let is_bad = uri.is_empty() || !lex::is_uri_text(uri.of(bytes));
        let params = trim_span(bytes, (stop + 1).min(bytes.len()), bytes.len());
        return if is_bad {
            Err(Malformed)
        } else {
            Ok(Parts {
                display: None,
                uri,
                params,
            })
        };
    }
    let close = stop + lex::find(&bytes[stop..], b'>').ok_or(Malformed)?;
    let display = (!is_bare).then(|| trim_span(bytes, start, stop));
    let uri = trim_span(bytes, stop + 1, close);
    let params = match &bytes[close + 1..] {
        [] => Span::new(bytes.len(), bytes.len()),
        [b';', ..] => trim_span(bytes, close + 2, bytes.len()),
        _ => params_behind_blanks(bytes, close + 1)?,
    };
    if uri.is_empty() {
        return Err(Malformed);
    }
    Ok(Parts {
        display: display.filter(|display| !display.is_empty()),
        uri,
        params,
    })
}

fn params_behind_blanks(bytes: &[u8], at: usize) -> Result<Span, Malformed> {
    let rest = trim_span(bytes, at, bytes.len());
    match rest.of(bytes) {
        [] => Ok(rest),
        [b';', ..] => Ok(trim_span(bytes, usize::from(rest.start) + 1, bytes.len())),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (
        &'static str,
        Option<(Option<&'static str>, &'static str, &'static str)>,
    );

    #[test]
    fn values() {
        let table: [Row; 22] = [
            ("<sip:a@b>", Some((None, "sip:a@b", ""))),
            ("<sip:a@b;lr>;tag=1", Some((None, "sip:a@b;lr", "tag=1"))),
            ("sip:a@b;tag=1", Some((None, "sip:a@b", "tag=1"))),
            (
                "sip:a@b ;   tag    = 1",
                Some((None, "sip:a@b", "tag    = 1")),
            ),
            ("Alice <sip:a@b>", Some((Some("Alice"), "sip:a@b", ""))),
            (
                "Alice B. Foo<sip:a@b>",
                Some((Some("Alice B. Foo"), "sip:a@b", "")),
            ),
            (
                "\"A; <B>\"<sip:a@b> ; x",
                Some((Some("\"A; <B>\""), "sip:a@b", "x")),
            ),
            (
                "\"J \\\\\\\"\"\r\n <sip:a@b>\r\n ;\r\n tag = 9",
                Some((Some("\"J \\\\\\\"\""), "sip:a@b", "tag = 9")),
            ),
            ("\"\" <sip:a@b>", Some((Some("\"\""), "sip:a@b", ""))),
            ("< sip:a@b  >", Some((None, "sip:a@b", ""))),
            (
                "Bell, Alexander <sip:a@b>;tag=43",
                Some((Some("Bell, Alexander"), "sip:a@b", "tag=43")),
            ),
            ("<tel:+1-201>;tag=1;", Some((None, "tel:+1-201", "tag=1;"))),
            ("isbn:2983792873", Some((None, "isbn:2983792873", ""))),
            ("<sip:a@b?x=<y>", Some((None, "sip:a@b?x=<y", ""))),
            ("*", Some((None, "*", ""))),
            ("\"Mr. J. User <sip:a@b>", None),
            ("<sip:a@b", None),
            ("<>", None),
            ("", None),
            (";tag=1", None),
            ("<sip:a@b> x", None),
            ("Alice sip:a@b", None),
        ];
        for (text, want) in table {
            let got = NameAddr::parse(text.as_bytes()).ok();
            let want = want.map(
                |(display, uri, params): (Option<&str>, &str, &str)| NameAddr {
                    display: display.map(str::as_bytes),
                    uri: uri.as_bytes(),
                    params: params.as_bytes(),
                },
            );
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn tags() {
        let table = [
            ("<sip:a@b;tag=no>;TAG=yes", Some("yes")),
            ("sip:a@b;tag=yes", Some("yes")),
            ("<sip:a@b>;tag", None),
            ("<sip:a@b>;tag=", None),
            ("<sip:a@b;tag=no>", None),
        ];
        for (text, want) in table {
            let tag = NameAddr::parse(text.as_bytes()).unwrap().tag();
            assert_eq!(tag, want.map(str::as_bytes), "{text}");
        }
    }
}
