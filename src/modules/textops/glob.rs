//! Patterns of the shell (`fnmatch` of POSIX): `*`, `?`, `[a-z]`, `[!a-z]`, `\` before what
//! stands for itself.
//!
//! Costs: at most the product of both lengths; a star is taken up again only at its last place.

use crate::modules::entry::{NO, function, optional, text_of, truth};
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind};

use super::ANY;

const TEXT: ParamKind = ParamKind::Text;

pub(super) const X_FUNCTIONS: [Function; 1] = [optional(
    function(
        "fnmatch",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            fnmatch,
            "Matches a text with a pattern of the shell; i: in any case.",
        ),
    ),
    2,
)];

fn fnmatch(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (text, pattern) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let flags = text_of(call, heap, site, 2).unwrap_or_default();
    let (Some(mut text), Some(mut pattern)) = (text, pattern) else {
        return NO;
    };
    if flags.contains(&b'i') {
        text = text.to_ascii_lowercase().into();
        pattern = pattern.to_ascii_lowercase().into();
    }
    truth(matches(&pattern, &text))
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The last star, and where the text behind it was taken up.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(length) => (p, t) = (p + length, t + 1),
            None => match star {
                Some((behind, from)) => {
                    star = Some((behind, from + 1));
                    (p, t) = (behind, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// How much of the pattern stands for one byte, if it stands for this one.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => match set(rest, byte) {
            Some((is_in, length)) => is_in.then_some(length + 1),
            // A bracket that is not closed stands for itself.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether the byte is in the set, and how long its text is; `None`: it has no end.
fn set(text: &[u8], byte: u8) -> Option<(bool, usize)> {
    let is_not = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(is_not);
    // A bracket that comes first is part of the set.
    let end = start + 1 + memchr::memchr(b']', text.get(start + 1..)?)?;
    let members = &text[start..end];
    let (mut is_in, mut at) = (false, 0);
    while at < members.len() {
        match members[at..] {
            [low, b'-', high, ..] => {
                is_in |= (low..=high).contains(&byte);
                at += 3;
            }
            _ => {
                is_in |= members[at] == byte;
                at += 1;
            }
        }
    }
    Some((is_in != is_not, end + 1))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdf", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[abc", "[abc", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("123*", "1234", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                want,
                "{pattern} {text}"
            );
        }
    }
}
