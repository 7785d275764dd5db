//! Bodies of several parts (RFC 2046 §5.1.1): reading one, taking one away, adding one, keeping
//! only one.
//!
//! A part is named by the whole value of its Content-Type.

use std::rc::Rc;

use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{HeaderName, Message, Span};

use super::{ANY, body};

const TEXT: ParamKind = ParamKind::Text;
const OUTPUT: ParamKind = ParamKind::Output;

/// The boundary of a body that is made of several parts here, the original's.
const BOUNDARY: &[u8] = b"unique-boundary-1";

pub(super) const FUNCTIONS: [Function; 8] = [
    function(
        "filter_body",
        &[TEXT],
        ANY,
        (filter, "Keeps the content of the first part of this type."),
    ),
    optional(
        function(
            "append_body_part",
            &[TEXT, TEXT, TEXT],
            RouteKinds::ON_WAY,
            (
                |c, h, s| append(c, h, s, |text| Some(text.to_vec())),
                "Adds a part: content, type, disposition.",
            ),
        ),
        2,
    ),
    optional(
        function(
            "append_body_part_hex",
            &[TEXT, TEXT, TEXT],
            RouteKinds::ON_WAY,
            (
                |c, h, s| append(c, h, s, from_hex),
                "The same with content in hexadecimal digits.",
            ),
        ),
        2,
    ),
    function(
        "get_body_part",
        &[TEXT, OUTPUT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| read(c, h, s, |part| part.content),
            "Reads the content of a part.",
        ),
    ),
    function(
        "get_body_part_raw",
        &[TEXT, OUTPUT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| read(c, h, s, |part| part.raw),
            "Reads a part with its header.",
        ),
    ),
    function(
        "remove_body_part",
        &[TEXT],
        RouteKinds::ON_WAY,
        (remove, "Takes a part away."),
    ),
    optional(
        function(
            "set_body_multipart",
            &[TEXT, TEXT, TEXT],
            RouteKinds::ON_WAY,
            (
                set_multipart,
                "The body becomes a part: with its boundary, or a new one of content and type.",
            ),
        ),
        0,
    ),
    function(
        "set_reply_body",
        &[TEXT, TEXT],
        RouteKinds::ON_WAY,
        (
            set_reply_body,
            "The body of replies of our own, and its type.",
        ),
    ),
];

/// One part: places in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    /// From its boundary up to the next.
    whole: Span,
    /// Header and content, without the line end that belongs to the boundary.
    raw: Span,
    /// The content.
    content: Span,
}

/// The boundary that Content-Type names.
fn boundary(message: &Message) -> Option<&[u8]> {
    let header = message.first(HeaderName::ContentType)?;
    let value = message.text(header.value);
    let mut params = value.split(|b| *b == b';').skip(1);
    let found = params.find_map(|param| {
        let at = memchr::memchr(b'=', param)?;
        let is_it = param[..at].trim_ascii().eq_ignore_ascii_case(b"boundary");
        is_it.then(|| param[at + 1..].trim_ascii())
    })?;
    let found = found.strip_prefix(b"\"").unwrap_or(found);
    let found = found.strip_suffix(b"\"").unwrap_or(found);
    (!found.is_empty()).then_some(found)
}

/// The places of the lines that are boundaries.
fn marks(message: &Message, boundary: &[u8]) -> Vec<Span> {
    let mark = [b"--", boundary].concat();
    let body = message.body_span();
    let text = message.body();
    let starts = memchr::memmem::find_iter(text, &mark).filter(|at| {
        let is_line = *at == 0 || text[*at - 1] == b'\n';
        let next = text.get(*at + mark.len());
        is_line && matches!(next, None | Some(b'\r' | b'\n' | b'-' | b' ' | b'\t'))
    });
    let line = |at: usize| {
        let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1);
        Span {
            start: body.start + at as u16,
            end: body.start + end as u16,
        }
    };
    starts.map(line).collect()
}

fn parts(message: &Message) -> Vec<Part> {
    let Some(boundary) = boundary(message) else {
        return vec![];
    };
    let marks = marks(message, boundary);
    let pairs = marks.iter().zip(marks.iter().skip(1));
    pairs
        .map(|(mark, next)| part(message, *mark, next.start))
        .collect()
}

fn part(message: &Message, mark: Span, end: u16) -> Part {
    let mut raw = Span {
        start: mark.end,
        end,
    };
    // §5.1.1: the line end before a boundary belongs to the boundary.
    for line_end in [b'\n', b'\r'] {
        if message.text(raw).last() == Some(&line_end) {
            raw.end -= 1;
        }
    }
    let text = message.text(raw);
    let head = match memchr::memmem::find(text, b"\r\n\r\n") {
        Some(at) => at + 4,
        None if text.starts_with(b"\r\n") => 2,
        None => text.len(),
    };
    Part {
        whole: Span {
            start: mark.start,
            end,
        },
        raw,
        content: Span {
            start: raw.start + head as u16,
            end: raw.end,
        },
    }
}

/// The first part of this type.
fn find(message: &Message, kind: &[u8]) -> Option<Part> {
    parts(message).into_iter().find(|part| {
        let head = Span {
            start: part.raw.start,
            end: part.content.start,
        };
        let mut lines = message.text(head).split(|b| *b == b'\n');
        lines.any(|line| {
            let Some(at) = memchr::memchr(b':', line) else {
                return false;
            };
            line[..at]
                .trim_ascii()
                .eq_ignore_ascii_case(b"content-type")
                && line[at + 1..].trim_ascii().eq_ignore_ascii_case(kind)
        })
    })
}

/// Content-Type stays as it is: the script knows what it keeps.
fn filter(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(kind) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let Some(part) = find(&message, &kind) else {
        return NO;
    };
    let content = message.text(part.content);
    call.work.edits.replace(message.body_span(), content);
    body::fit_length(call.work);
    YES
}

fn read(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, which: fn(Part) -> Span) -> Outcome {
    let Some(kind) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let Some(part) = find(&message, &kind) else {
        return NO;
    };
    let value = heap.string(message.text(which(part)));
    truth(
        site.arg(1)
            .is_some_and(|arg| arg.write(call, heap, value).is_ok()),
    )
}

fn remove(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(kind) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let Some(part) = find(&call.work.message, &kind) else {
        return NO;
    };
    call.work.edits.remove(part.whole);
    body::fit_length(call.work);
    YES
}

/// A part from its boundary to the line end before the next one.
fn made(boundary: &[u8], kind: &[u8], disposition: Option<&[u8]>, content: &[u8]) -> Vec<u8> {
    let mut out = [b"--", boundary, b"\r\nContent-Type: ", kind, b"\r\n"].concat();
    if let Some(disposition) = disposition {
        out.extend_from_slice(&[b"Content-Disposition: ", disposition, b"\r\n"].concat());
    }
    out.extend_from_slice(&[b"\r\n", content, b"\r\n"].concat());
    out
}

/// Pairs of digits, with blanks between them.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|t| t.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    digits.chunks(2).map(byte).collect()
}

/// A line end in a type or a disposition would forge a field.
fn word(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, at: usize) -> Option<Vec<u8>> {
    let text = text_of(call, heap, site, at)?;
    let is_one_line = !text.is_empty() && !text.iter().any(|b| matches!(b, b'\r' | b'\n'));
    is_one_line.then(|| text.to_vec())
}

/// What stands before the first boundary goes, as in the original.
fn append(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    decode: fn(&[u8]) -> Option<Vec<u8>>,
) -> Outcome {
    let content = text_of(call, heap, site, 0).and_then(|text| decode(&text));
    let (kind, disposition) = (word(call, heap, site, 1), word(call, heap, site, 2));
    let (Some(content), Some(kind)) = (content, kind) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let Some(boundary) = boundary(&message) else {
        return NO;
    };
    let marks = marks(&message, boundary);
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
        return NO;
    };
    let part = made(boundary, &kind, disposition.as_deref(), &content);
    let edits = &mut call.work.edits;
    edits.insert(last.start, &part);
    edits.remove(Span {
        start: message.body_span().start,
        end: first.start,
    });
    body::fit_length(call.work);
    YES
}

/// `([boundary])` or `(content, type[, boundary])`.
fn set_multipart(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.args.len() {
        0 | 1 => wrap_body(call, heap, site),
        _ => replace_body(call, heap, site),
    }
}

fn wrap_body(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let boundary = word(call, heap, site, 0).unwrap_or_else(|| BOUNDARY.to_vec());
    let message = Rc::clone(&call.work.message);
    let Some(header) = message.first(HeaderName::ContentType) else {
        return NO;
    };
    if message.body().is_empty() {
        return NO;
    }
    multipart(call, &boundary, message.text(header.value), message.body());
    YES
}

fn replace_body(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (content, kind) = (text_of(call, heap, site, 0), word(call, heap, site, 1));
    let boundary = word(call, heap, site, 2).unwrap_or_else(|| BOUNDARY.to_vec());
    let (Some(content), Some(kind)) = (content, kind) else {
        return NO;
    };
    multipart(call, &boundary, &kind, &content);
    YES
}

fn multipart(call: &mut Call<'_>, boundary: &[u8], kind: &[u8], content: &[u8]) {
    let mut text = made(boundary, kind, None, content);
    text.extend_from_slice(&[b"--", boundary, b"--\r\n"].concat());
    let whole = [b"multipart/mixed;boundary=\"", boundary, b"\""].concat();
    body::set_body_of(call.work, &text, &whole);
    // RFC 2045 §4.
    let end = call.work.message.headers_end();
    call.work.edits.insert(end, b"Mime-Version: 1.0\r\n");
}

fn set_reply_body(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (text, kind) = (text_of(call, heap, site, 0), word(call, heap, site, 1));
    match (text, kind) {
        (Some(text), Some(kind)) => {
            call.work.reply_body = Some((kind.into(), text));
            YES
        }
        _ => NO,
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run, value};

    fn invite(body: &str) -> String {
        let head = INVITE
            .replace(
                "application/sdp; charset=x",
                "multipart/mixed;boundary=\"b\"",
            )
            .replace(
                "Content-Length: 15",
                &format!("Content-Length: {}", body.len()),
            );
        let (head, _) = head.split_once("\r\n\r\n").unwrap();
        format!("{head}\r\n\r\n{body}")
    }

    const TWO: &str = "before\r\n--b\r\nContent-Type: a/b\r\n\r\none\r\n\
        --b\r\nContent-Type: c/d\r\nX: 1\r\n\r\ntwo\r\n--b--\r\n";

    #[test]
    fn a_part_is_read() {
        for (call, want) in [
            ("get_body_part(\"a/b\", \"$var(p)\")", "one"),
            ("get_body_part(\"C/D\", \"$var(p)\")", "two"),
            (
                "get_body_part_raw(\"c/d\", \"$var(p)\")",
                "Content-Type: c/d\r\nX: 1\r\n\r\ntwo",
            ),
            ("get_body_part(\"e/f\", \"$var(p)\")", "0"),
        ] {
            assert_eq!(
                value(&format!("{call};"), "$var(p)", &invite(TWO)),
                want,
                "{call}"
            );
        }
    }

    #[test]
    fn parts_are_changed() {
        let table = [
            ("filter_body(\"c/d\");", "two"),
            (
                "remove_body_part(\"a/b\");",
                "before\r\n--b\r\nContent-Type: c/d\r\nX: 1\r\n\r\ntwo\r\n--b--\r\n",
            ),
            (
                "append_body_part_hex(\"6f 6B\", \"e/f\", \"x\");",
                "--b\r\nContent-Type: a/b\r\n\r\none\r\n\
                 --b\r\nContent-Type: c/d\r\nX: 1\r\n\r\ntwo\r\n\
                 --b\r\nContent-Type: e/f\r\nContent-Disposition: x\r\n\r\nok\r\n--b--\r\n",
            ),
            ("append_body_part_hex(\"6f6\", \"e/f\");", TWO),
            (
                "set_body_multipart(\"edge\");",
                "--edge\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n\r\nbefore\r\n\
                 --b\r\nContent-Type: a/b\r\n\r\none\r\n--b\r\nContent-Type: c/d\r\n\
                 X: 1\r\n\r\ntwo\r\n--b--\r\n\r\n--edge--\r\n",
            ),
            (
                "set_body_multipart(\"x\", \"e/f\");",
                "--unique-boundary-1\r\nContent-Type: e/f\r\n\r\nx\r\n--unique-boundary-1--\r\n",
            ),
        ];
        for (statements, want) in table {
            let changed = run(statements, &invite(TWO)).changed();
            let (head, body) = changed.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, want, "{statements}");
            let length = format!("Content-Length: {}", body.len());
            assert!(head.lines().any(|l| l == length), "{statements}: {head}");
        }
    }

    #[test]
    fn a_body_that_is_cut_off_harms_nobody() {
        for body in [
            "--b",
            "--b\r\n--b",
            "--b\r\n\r\n--b--",
            "--b--\r\n",
            "x--b\r\n--bc\r\n",
            "",
        ] {
            for call in [
                "get_body_part_raw(\"a/b\", \"$var(p)\")",
                "filter_body(\"a/b\")",
                "remove_body_part(\"a/b\")",
                "append_body_part(\"x\", \"a/b\")",
            ] {
                run(&format!("{call};"), &invite(body)).changed();
            }
        }
    }
}
