//! `/expression/replacement/flags`, as `re.subst`, `subst()` and `#!subst` write it.

use std::ops::Range;

use regex::bytes::{Captures, Regex};

/// A substitution: what to find and what to put in its place.
#[derive(Debug)]
pub struct Substitution {
    regex: Regex,
    /// Stretches of text and numbers of groups, in order.
    pieces: Box<[Piece]>,
    all: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

impl Substitution {
    /// Reads `/expression/replacement/flags`; any character can be the separator. Flags: `g` all
    /// matches, `i` any case. In the replacement `\0` to `\9` are the groups.
    pub fn parse(text: &[u8]) -> Result<Substitution, String> {
        let (expression, replacement, flags) = split(text)?;
        if let Some(&flag) = flags.iter().find(|f| !matches!(f, b'g' | b'i' | b's')) {
            return Err(format!("unknown flag \"{}\"", char::from(flag)));
        }
        let regex = super::super::regex::compile_lines(&expression, flags.contains(&b'i'))?;
        Ok(Substitution {
            regex,
            pieces: pieces(&replacement),
            all: flags.contains(&b'g'),
        })
    }

    /// Expression and replacement, as written.
    pub(crate) fn fields(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (expression, replacement, _) = split(text)?;
        Ok((expression, replacement))
    }

    /// What is to be put in place of what, for a text of which only that part changes.
    pub fn changes(&self, input: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
        let limit = if self.all { usize::MAX } else { 1 };
        let (mut changes, mut size) = (vec![], 0);
        for groups in self.regex.captures_iter(input).take(limit) {
            let mut text = vec![];
            self.replacement(&groups, &mut text);
            size += text.len();
            changes.push((groups.get(0).map_or(0..0, |m| m.range()), text));
            // Growth is bounded like every string of a script.
            if size > crate::limits::SCRIPT_HEAP_SIZE_MAX {
                break;
            }
        }
        changes
    }

    fn replacement(&self, groups: &Captures<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Group(n) => {
                    out.extend_from_slice(groups.get(*n).map_or(&[][..], |m| m.as_bytes()));
                }
            }
        }
    }

    /// Appends the text with its matches replaced to `out`; whether there was a match. Without
    /// one, nothing is appended.
    pub fn apply(&self, input: &[u8], out: &mut Vec<u8>) -> bool {
        let mut done = 0;
        let limit = if self.all { usize::MAX } else { 1 };
        for groups in self.regex.captures_iter(input).take(limit) {
            let whole = groups.get(0).map_or(0..0, |m| m.range());
            out.extend_from_slice(&input[done..whole.start]);
            self.replacement(&groups, out);
            done = whole.end;
            // Growth is bounded like every string of a script.
            if out.len() > crate::limits::SCRIPT_HEAP_SIZE_MAX {
                break;
            }
        }
        let found = done > 0 || self.regex.is_match(input);
        if found {
            out.extend_from_slice(&input[done..]);
        }
        found
    }
}

/// Expression, replacement and flags.
type Fields<'a> = (Vec<u8>, Vec<u8>, &'a [u8]);

fn split(text: &[u8]) -> Result<Fields<'_>, String> {
    let empty = || "it is empty".to_string();
    let (&separator, rest) = text.split_first().ok_or_else(empty)?;
    let (expression, rest) = field(rest, separator)?;
    let (replacement, flags) = field(rest, separator)?;
    Ok((expression, replacement, flags))
}

/// The bytes up to the separator, an escaped separator losing its backslash; and what follows.
fn field(text: &[u8], separator: u8) -> Result<(Vec<u8>, &[u8]), String> {
    let mut out = vec![];
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        if b == separator {
            return Ok((out, &text[at + 1..]));
        }
        if b == b'\\' && text.get(at + 1) == Some(&separator) {
            at += 1;
        } else if b == b'\\' {
            out.push(b);
            at += 1;
        }
        out.extend(text.get(at));
        at += 1;
    }
    Err(format!(
        "separator \"{}\" is missing",
        char::from(separator)
    ))
}

fn pieces(replacement: &[u8]) -> Box<[Piece]> {
    let (mut pieces, mut text) = (vec![], vec![]);
    let mut bytes = replacement.iter().copied();
    while let Some(b) = bytes.next() {
        match (b, if b == b'\\' { bytes.next() } else { None }) {
            (_, Some(d @ b'0'..=b'9')) => {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                pieces.push(Piece::Group(usize::from(d - b'0')));
            }
            (_, Some(b'n')) => text.push(b'\n'),
            (_, Some(b'r')) => text.push(b'\r'),
            (_, Some(b't')) => text.push(b'\t'),
            (_, Some(c)) => text.push(c),
            (b, None) => text.push(b),
        }
    }
    pieces.push(Piece::Text(text.into()));
    pieces.into()
}

#[cfg(test)]
mod tests {
    use super::Substitution;

    #[test]
    fn matches_are_replaced() {
        for (rule, input, expected) in [
            ("/b+/X/", "abbcb", Some("aXcb")),
            ("/b+/X/g", "abbcb", Some("aXcX")),
            ("/B/x/gi", "abb", Some("axx")),
            ("/B/x/", "abb", None),
            (
                r"/^sip:([^@]+)@(.+)$/\2-\1-\0/",
                "sip:u@h",
                Some("h-u-sip:u@h"),
            ),
            ("#/#-#g", "a/b/c", Some("a-b-c")),
            (r"/\//-/g", "a/b", Some("a-b")),
            ("/^/>/", "a", Some(">a")),
        ] {
            let rule = Substitution::parse(rule.as_bytes()).expect("the rule is well-formed");
            let mut out = vec![];
            let found = rule.apply(input.as_bytes(), &mut out);
            let out = String::from_utf8(out).expect("text in, text out");
            assert_eq!(found.then_some(out.as_str()), expected, "{rule:?} {input}");
        }
    }

    #[test]
    fn broken_rules_are_refused() {
        for rule in ["", "/a", "/a/b", "/(/b/", "/a/b/q"] {
            assert!(Substitution::parse(rule.as_bytes()).is_err(), "{rule}");
        }
    }
}
