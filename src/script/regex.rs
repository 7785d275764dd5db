//! POSIX extended regular expressions on the `regex` crate, which is linear in the input.
//!
//! The syntaxes mostly agree. Translated: a `]` that comes first in a bracket expression, a `[`
//! and a backslash inside one (both literal there), an empty alternative. Not expressible, and
//! therefore an error at load: back-references and collating elements. One difference stays:
//! alternatives match leftmost-first, not leftmost-longest, which shows only in what a
//! substitution replaces.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that one compiled expression may use.
const COMPILED_SIZE_MAX: usize = 1 << 20;

/// Compiles an expression for a text that is one line; the error says what is wrong with it.
pub(super) fn compile(pattern: &[u8], ignore_case: bool) -> Result<Regex, String> {
    build(pattern, ignore_case, false)
}

/// Compiles an expression that a script made, whatever the case of what it is to match.
pub fn compile_any(pattern: &[u8]) -> Option<Regex> {
    compile(pattern, true).ok()
}

/// The same for the text of a message: `^` and `$` match at each line, and neither `.` nor `[^x]`
/// is the end of a line.
pub(super) fn compile_lines(pattern: &[u8], ignore_case: bool) -> Result<Regex, String> {
    build(pattern, ignore_case, true)
}

fn build(pattern: &[u8], ignore_case: bool, by_line: bool) -> Result<Regex, String> {
    let pattern = translate(pattern, by_line)?;
    RegexBuilder::new(&pattern)
        .case_insensitive(ignore_case)
        .multi_line(by_line)
        .dot_matches_new_line(!by_line)
        .unicode(false)
        .size_limit(COMPILED_SIZE_MAX)
        .dfa_size_limit(COMPILED_SIZE_MAX)
        .build()
        .map_err(|error| reason(&error))
}

fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    // The crate prints the pattern and a caret over several lines; the last line says what.
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_string()
}

fn translate(pattern: &[u8], by_line: bool) -> Result<String, String> {
    let text = std::str::from_utf8(pattern).map_err(|_| "it is not UTF-8".to_string())?;
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(d @ '1'..='9') => {
                    return Err(format!("back-reference \\{d} is not supported"));
                }
                // Letters keep the meaning the C library gives them: word boundaries and classes.
                Some(d @ ('w' | 'W' | 's' | 'S' | 'b' | 'B' | '<' | '>')) => match d {
                    '<' => out.push_str(r"\b{start}"),
                    '>' => out.push_str(r"\b{end}"),
                    _ => out.extend(['\\', d]),
                },
                Some(d) if d.is_ascii_alphanumeric() => out.push(d),
                Some(d) => push_literal(&mut out, d),
                None => return Err("it ends in a backslash".to_string()),
            },
            '[' => bracket(&mut chars, &mut out, by_line)?,
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// A bracket expression, in which only `]`, `^`, `-` and `[:class:]` are special.
fn bracket(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
    by_line: bool,
) -> Result<(), String> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push_str(if by_line { "^\\n" } else { "^" });
    }
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for d in chars.by_ref() {
                    out.push(d);
                    if d == ']' {
                        break;
                    }
                }
            }
            '[' if matches!(chars.peek(), Some('.' | '=')) => {
                return Err("collating elements are not supported".to_string());
            }
            '[' | ']' | '\\' | '&' | '~' => out.extend(['\\', c]),
            _ => out.push(c),
        }
        first = false;
    }
    Err("a bracket expression is not closed".to_string())
}

fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::{compile, compile_lines};

    #[test]
    fn lines_are_looked_at_where_a_text_has_them() {
        for (pattern, in_text, in_lines) in [
            ("a.b", true, false),
            ("a[^x]b", true, false),
            ("^b", false, true),
            ("a$", false, true),
        ] {
            for (compile, wanted) in [
                (compile as fn(_, _) -> _, in_text),
                (compile_lines, in_lines),
            ] {
                let regex = compile(pattern.as_bytes(), true).expect("it is well-formed");
                assert_eq!(regex.is_match(b"a\nb"), wanted, "{pattern}");
            }
        }
    }

    #[test]
    fn posix_expressions_keep_their_meaning() {
        for (pattern, input, expected) in [
            ("^sip:[0-9]+@", "SIP:123@h", Some(true)),
            ("[12][0-9][0-9]", "404", Some(false)),
            ("[]a]", "]", Some(true)),
            ("[^]a]", "]", Some(false)),
            (r"[\.]", r"\", Some(true)),
            ("[[]", "[", Some(true)),
            ("[[:digit:]]{3}", "x200", Some(true)),
            (r"a\.b", "axb", Some(false)),
            (r"\/", "/", Some(true)),
            (r"\d", "d", Some(true)),
            ("a|b", "xB", Some(true)),
            (r"(a)\1", "", None),
            ("(a", "", None),
            ("[a", "", None),
            ("a\\", "", None),
        ] {
            let found = compile(pattern.as_bytes(), true)
                .ok()
                .map(|regex| regex.is_match(input.as_bytes()));
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
