//! CSeq (RFC 3261 §20.16): a number and a method.

use super::error::Malformed;
use super::lex::{self, Cursor};
use super::method::Method;
use super::span::Span;

/// The value of a CSeq field.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CSeq {
    /// The number. The RFC ends it below 2^31; what fits 32 bits passes, as §8.1.1.5 bounds only
    /// what a user agent sends.
    pub number: u32,
    /// The method.
    pub method: Method,
    /// Where the method's name stands.
    pub method_span: Span,
    /// Where the value stands.
    pub span: Span,
}

impl CSeq {
    pub(super) const NONE: CSeq = CSeq {
        number: 0,
        method: Method::Other,
        method_span: Span::at(0),
        span: Span::at(0),
    };
}

/// Reads the value that `span` names.
pub fn parse_at(bytes: &[u8], span: Span) -> Result<CSeq, Malformed> {
    let mut cursor = Cursor::new(bytes, span);
    let digits = cursor.take_while(|b| b.is_ascii_digit());
    let number = lex::number(digits.of(bytes)).ok_or(Malformed)?;
    let blank = cursor.take_while(lex::is_blank);
    let method_span = Span {
        start: cursor.at() as u16,
        end: span.end,
    };
    let name = method_span.of(bytes);
    let method = Method::from_bytes(name);
    // A name that is known is a token; any other has to be looked at.
    let is_token = method != Method::Other || name.iter().all(|b| lex::is_token(*b));
    if blank.is_empty() || name.is_empty() || !is_token {
        return Err(Malformed);
    }
    Ok(CSeq {
        number,
        method,
        method_span,
        span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let table = [
            ("1 INVITE", Some((1, Method::Invite, "INVITE"))),
            ("0009\r\n  INVITE", Some((9, Method::Invite, "INVITE"))),
            ("4294967295 BYE", Some((u32::MAX, Method::Bye, "BYE"))),
            (
                "139122385 NEW-METHOD!",
                Some((139_122_385, Method::Other, "NEW-METHOD!")),
            ),
            ("1 invite", Some((1, Method::Other, "invite"))),
            ("4294967296 BYE", None),
            ("36893488147419103232 REGISTER", None),
            ("-1 INVITE", None),
            ("INVITE", None),
            ("1INVITE", None),
            ("1", None),
            ("1 ", None),
            ("1 INVITE x", None),
            ("1 INV;ITE", None),
            ("", None),
        ];
        for (text, want) in table {
            let got = parse_at(text.as_bytes(), Span::new(0, text.len())).ok();
            let got = got.map(|c| {
                (
                    c.number,
                    c.method,
                    &text[c.method_span.start as usize..c.method_span.end as usize],
                )
            });
            assert_eq!(got, want, "{text:?}");
        }
    }
}
