//! `/expression/replacement/flags`, as `re.subst`, `subst()` and `#!subst` write it.

use std::ops::Range;

use regex::bytes::{Captures, Regex};

use crate::script::host::{Host, Keyword};
use crate::script::value::Heap;
use crate::script::variable::Variable;

/// A substitution: what to find and what to put in its place.
#[derive(Debug)]
pub struct Substitution {
    regex: Regex,
    /// Stretches of text and what stands between them, in order.
    pieces: Box<[Piece]>,
    all: bool,
}

/// A stretch of a replacement.
#[derive(Debug)]
pub(in crate::script) enum Piece {
    Text(Box<[u8]>),
    /// A group of the match, `\0` to `\9`.
    Group(usize),
    /// The Request-URI, `\u`.
    Uri,
    Variable(Variable),
}

/// Reads the variable at the beginning of a text, and says how long its name is.
pub(in crate::script) type ReadVariable<'a> = dyn FnMut(&[u8]) -> Option<(Piece, usize)> + 'a;

/// What the variables of a replacement hold, in their order.
pub type Inserts = Vec<Vec<u8>>;

impl Substitution {
    /// Reads `/expression/replacement/flags`; any character can be the separator. Flags: `g` all
    /// matches, `i` any case, `s` the text is one line. In the replacement `\0` to `\9` are the
    /// groups and `\u` is the Request-URI; what follows a `$` is text, too.
    pub fn parse(text: &[u8]) -> Result<Substitution, String> {
        let mut text_only = |_: &[u8]| None;
        Substitution::parse_with(text, &mut text_only)
    }

    /// The same; `variable` reads one at the beginning of a text and says how long its name was.
    pub(in crate::script) fn parse_with(
        text: &[u8],
        variable: &mut ReadVariable<'_>,
    ) -> Result<Substitution, String> {
        let (expression, replacement, flags) = split(text)?;
        if let Some(&flag) = flags.iter().find(|f| !matches!(f, b'g' | b'i' | b's')) {
            return Err(format!("unknown flag \"{}\"", char::from(flag)));
        }
        let compile = match flags.contains(&b's') {
            true => super::super::regex::compile,
            false => super::super::regex::compile_lines,
        };
        Ok(Substitution {
            regex: compile(&expression, flags.contains(&b'i'))?,
            pieces: pieces(&replacement, variable),
            all: flags.contains(&b'g'),
        })
    }

    /// Expression and replacement, as written.
    pub(crate) fn fields(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (expression, replacement, _) = split(text)?;
        Ok((expression, replacement))
    }

    /// What the variables of the replacement hold now.
    pub fn inserts<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Inserts {
        let mut inserts = vec![];
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(_) | Piece::Group(_) => continue,
                Piece::Uri => host.keyword(heap, Keyword::Uri),
                Piece::Variable(variable) => variable.read(host, heap),
            };
            let text = heap.as_text(value);
            inserts.push(heap.bytes(text).to_vec());
        }
        inserts
    }

    /// What is to be put in place of what, for a text of which only that part changes. `None`: a
    /// match has no characters, which could be replaced for ever.
    pub fn changes(&self, input: &[u8], inserts: &Inserts) -> Option<Vec<(Range<usize>, Vec<u8>)>> {
        let limit = if self.all { usize::MAX } else { 1 };
        let (mut changes, mut size, mut from) = (vec![], 0, 0);
        while changes.len() < limit {
            let Some(groups) = self.regex.captures_at(input, from) else {
                break;
            };
            let range = groups.get(0).map_or(0..0, |m| m.range());
            if range.is_empty() {
                return None;
            }
            let mut text = vec![];
            self.replacement(&groups, inserts, &mut text);
            size += text.len();
            from = range.end;
            changes.push((range, text));
            // Growth is bounded like every string of a script.
            if size > crate::limits::SCRIPT_HEAP_SIZE_MAX {
                break;
            }
        }
        Some(changes)
    }

    fn replacement(&self, groups: &Captures<'_>, inserts: &Inserts, out: &mut Vec<u8>) {
        let mut inserts = inserts.iter();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Group(n) => {
                    out.extend_from_slice(groups.get(*n).map_or(&[][..], |m| m.as_bytes()));
                }
                Piece::Uri | Piece::Variable(_) => out.extend(inserts.next().into_iter().flatten()),
            }
        }
    }

    /// Appends the text with its matches replaced to `out`; whether there was a match. Without
    /// one, nothing is appended. `None`: a match has no characters.
    pub fn apply(&self, input: &[u8], inserts: &Inserts, out: &mut Vec<u8>) -> Option<bool> {
        let changes = self.changes(input, inserts)?;
        let mut done = 0;
        for (range, text) in &changes {
            out.extend_from_slice(&input[done..range.start]);
            out.extend_from_slice(text);
            done = range.end;
        }
        if !changes.is_empty() {
            out.extend_from_slice(&input[done..]);
        }
        Some(!changes.is_empty())
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

fn pieces(replacement: &[u8], variable: &mut ReadVariable<'_>) -> Box<[Piece]> {
    let (mut pieces, mut text) = (vec![], vec![]);
    let mut rest = replacement;
    while let [first, tail @ ..] = rest {
        let (special, taken) = match (first, tail) {
            (b'$', [b'$', ..]) => (None, 1),
            (b'$', _) => match variable(rest) {
                Some((piece, len)) => (Some(piece), len - 1),
                None => (None, 0),
            },
            (b'\\', [d @ b'0'..=b'9', ..]) => (Some(Piece::Group(usize::from(d - b'0'))), 1),
            (b'\\', [b'u', ..]) => (Some(Piece::Uri), 1),
            (b'\\', [c, ..]) => {
                text.push(escaped(*c));
                rest = &tail[1..];
                continue;
            }
            _ => (None, 0),
        };
        rest = &tail[taken..];
        match special {
            Some(piece) => {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                pieces.push(piece);
            }
            None => text.push(*first),
        }
    }
    pieces.push(Piece::Text(text.into()));
    pieces.into()
}

fn escaped(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
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
            ("/a.c/x/s", "a\nc", Some("x")),
            ("/a.c/x/", "a\nc", None),
            (r"/a/\$$x\t/", "a", Some("$$x\t")),
        ] {
            let rule = Substitution::parse(rule.as_bytes()).expect("the rule is well-formed");
            let mut out = vec![];
            let found = rule.apply(input.as_bytes(), &vec![], &mut out);
            let out = String::from_utf8(out).expect("text in, text out");
            let got = (found == Some(true)).then_some(out.as_str());
            assert_eq!(got, expected, "{rule:?} {input}");
        }
    }

    #[test]
    fn matches_of_nothing_are_refused() {
        for (rule, input) in [("/^/>/", "a"), ("/$/>/", ""), ("/x*/-/g", "xa")] {
            let rule = Substitution::parse(rule.as_bytes()).expect("the rule is well-formed");
            assert_eq!(
                rule.apply(input.as_bytes(), &vec![], &mut vec![]),
                None,
                "{rule:?}"
            );
        }
    }

    #[test]
    fn broken_rules_are_refused() {
        for rule in ["", "/a", "/a/b", "/(/b/", "/a/b/q"] {
            assert!(Substitution::parse(rule.as_bytes()).is_err(), "{rule}");
        }
    }
}
