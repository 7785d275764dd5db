//! How a text is compared, as scripts name it: `eq`, `ne`, `sw`, `in`, `re`.

use crate::script::compile_regex;

/// A way to compare, and with what.
pub(super) enum Comparison<'a> {
    Equal(&'a [u8]),
    Different(&'a [u8]),
    Begins(&'a [u8]),
    Has(&'a [u8]),
    Regex(regex::bytes::Regex),
}

impl Comparison<'_> {
    /// The way that `operator` names; `None` when it names none or the expression is none.
    pub(super) fn of<'a>(operator: &[u8], text: &'a [u8]) -> Option<Comparison<'a>> {
        match operator {
            b"eq" => Some(Comparison::Equal(text)),
            b"ne" => Some(Comparison::Different(text)),
            b"sw" => Some(Comparison::Begins(text)),
            b"in" => Some(Comparison::Has(text)),
            b"re" => compile_regex(text).map(Comparison::Regex),
            _ => None,
        }
    }

    pub(super) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Comparison::Equal(want) => text == *want,
            Comparison::Different(want) => text != *want,
            Comparison::Begins(want) => text.starts_with(want),
            Comparison::Has(want) => memchr::memmem::find(text, want).is_some(),
            Comparison::Regex(regex) => regex.is_match(text),
        }
    }
}
