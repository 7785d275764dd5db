//! `textopsx`: single values of fields that hold lists, and their parameters.
//!
//! A place is written `Name`, `Name[2]`, `Name[-1]`, `Name[*]`, with `.parameter` behind it.
//! Values are counted from 1 over all fields of the name, negative from the end. The functions
//! that end in `2` are for fields like Authorization, where a comma does not end the value but
//! stands between its parameters.

use crate::modules::entry::{NO, YES, function, text_of, truth};
use crate::modules::work::Work;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{Header, Message, Span};

const TEXT: ParamKind = ParamKind::Text;

pub(super) const FUNCTIONS: [Function; 9] = [
    function(
        "append_hf_value",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (
            append,
            "Adds a value behind another, or a field at the end.",
        ),
    ),
    function(
        "insert_hf_value",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (insert, "Adds a value before another, or a field on top."),
    ),
    function(
        "remove_hf_value",
        &[TEXT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| remove(c, h, s, Kind::List),
            "Takes a value or its parameter away.",
        ),
    ),
    function(
        "remove_hf_value2",
        &[TEXT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| remove(c, h, s, Kind::Whole),
            "The same in fields like Authorization.",
        ),
    ),
    function(
        "assign_hf_value",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| assign(c, h, s, Kind::List),
            "Puts another value or parameter in place.",
        ),
    ),
    function(
        "assign_hf_value2",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| assign(c, h, s, Kind::Whole),
            "The same in fields like Authorization.",
        ),
    ),
    function(
        "include_hf_value",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (include, "Adds a value that is not there."),
    ),
    function(
        "exclude_hf_value",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (exclude, "Takes a value away."),
    ),
    function(
        "hf_value_exists",
        &[TEXT, TEXT],
        RouteKinds::NOT_ONSEND,
        (exists, "Whether a list field has the value."),
    ),
];

/// How a field is divided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Values between commas, parameters behind semicolons.
    List,
    /// One value; parameters between commas behind its first word.
    Whole,
}

/// Which of the values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    /// None is named.
    Unsaid,
    /// This one: from 1, or from -1 backwards.
    At(i64),
    /// `[*]`.
    All,
}

/// `Name[which].parameter`.
#[derive(PartialEq, Eq, Debug)]
struct Place<'a> {
    name: &'a [u8],
    which: Which,
    param: Option<&'a [u8]>,
}

impl<'a> Place<'a> {
    fn parse(text: &'a [u8]) -> Option<Place<'a>> {
        let end = text.iter().position(|b| matches!(b, b'[' | b'.'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let (which, rest) = match rest.strip_prefix(b"[") {
            None => (Which::Unsaid, rest),
            Some(rest) => {
                let close = memchr::memchr(b']', rest)?;
                let which = match rest[..close].trim_ascii() {
                    b"*" => Which::All,
                    digits => Which::At(crate::script::parse_int(digits).filter(|n| *n != 0)?),
                };
                (which, &rest[close + 1..])
            }
        };
        let param = match rest {
            [] => None,
            rest => Some(rest.strip_prefix(b".").filter(|p| !p.is_empty())?),
        };
        let name = name.trim_ascii();
        (!name.is_empty()).then_some(Place { name, which, param })
    }
}

/// One value: where it stands, and in which field.
#[derive(Clone, Copy)]
struct Found {
    header: Header,
    value: Span,
    /// Whether the field has another value before and behind it.
    neighbours: (Option<Span>, Option<Span>),
}

/// All values of the fields of a name.
fn values(message: &Message, name: &[u8], kind: Kind) -> Vec<Found> {
    let mut found = vec![];
    for header in message.named(name) {
        let parts = match kind {
            Kind::List => split(message, header.value, b','),
            Kind::Whole => vec![header.value],
        };
        for (i, value) in parts.iter().enumerate() {
            let neighbours = (
                i.checked_sub(1).map(|before| parts[before]),
                parts.get(i + 1).copied(),
            );
            found.push(Found {
                header,
                value: *value,
                neighbours,
            });
        }
    }
    found
}

/// The trimmed parts of a span between separators, quoted text and angle brackets left whole.
fn split(message: &Message, span: Span, separator: u8) -> Vec<Span> {
    let text = message.text(span);
    let (mut parts, mut start) = (vec![], 0);
    let (mut is_quoted, mut is_escaped, mut is_bracketed) = (false, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b'<' => is_bracketed = true,
            b'>' => is_bracketed = false,
            b if *b == separator && !is_bracketed => {
                parts.push(trimmed(text, span.start, start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(trimmed(text, span.start, start..text.len()));
    parts
}

fn trimmed(text: &[u8], base: u16, range: std::ops::Range<usize>) -> Span {
    let part = &text[range.clone()];
    let from = range.start + part.len() - part.trim_ascii_start().len();
    let to = from + part.trim_ascii().len();
    Span {
        start: base + from as u16,
        end: base + to as u16,
    }
}

/// The values that a place names; the first when it does not say which.
fn chosen(message: &Message, place: &Place<'_>, kind: Kind) -> Vec<Found> {
    let all = values(message, place.name, kind);
    let index = match place.which {
        Which::All => return all,
        Which::Unsaid => Some(0),
        Which::At(n) if n > 0 => usize::try_from(n - 1).ok(),
        Which::At(n) => usize::try_from(all.len() as i64 + n).ok(),
    };
    index
        .and_then(|i| all.get(i).copied())
        .into_iter()
        .collect()
}

/// The parameter of a value, from its name to its end.
fn param_of(message: &Message, value: Span, name: &[u8], kind: Kind) -> Option<(usize, Span)> {
    let separator = if kind == Kind::List { b';' } else { b',' };
    let parts = split(message, value, separator);
    let place = parts.iter().enumerate().position(|(i, part)| {
        let text = message.text(*part);
        // The first word of a field like Authorization is the scheme.
        let text = match (i, kind) {
            (0, Kind::List) => return false,
            (0, Kind::Whole) => text.splitn(2, |b| *b == b' ').nth(1).unwrap_or_default(),
            _ => text,
        };
        let key = text.split(|b| *b == b'=').next().unwrap_or_default();
        key.trim_ascii().eq_ignore_ascii_case(name)
    })?;
    let mut span = parts[place];
    if place == 0 {
        let scheme = memchr::memchr(b' ', message.text(span))? as u16 + 1;
        span.start += scheme;
    }
    Some((place, span))
}

/// Takes a value out, and the comma that goes with it; the only value of a field takes the field
/// along.
fn take_out(work: &mut Work, found: Found) {
    let span = match found.neighbours {
        (None, None) => found.header.line,
        (_, Some(next)) => Span {
            start: found.value.start,
            end: next.start,
        },
        (Some(before), None) => Span {
            start: before.end,
            end: found.value.end,
        },
    };
    work.edits.remove(span);
}

fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b": ", value, b"\r\n"].concat()
}

/// The place and the value of the arguments; a line end in the value would forge a field.
fn arguments(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<(Vec<u8>, Vec<u8>)> {
    let (place, value) = (text_of(call, heap, site, 0)?, text_of(call, heap, site, 1)?);
    let is_one_line = !value.iter().any(|b| matches!(b, b'\r' | b'\n'));
    is_one_line.then(|| (place.to_vec(), value.to_vec()))
}

fn append(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((text, value)) = arguments(call, heap, site) else {
        return NO;
    };
    let Some(place) = Place::parse(&text).filter(|p| p.param.is_none()) else {
        return NO;
    };
    let work = &mut *call.work;
    let message = std::rc::Rc::clone(&work.message);
    match (place.which, chosen(&message, &place, Kind::List).last()) {
        (Which::Unsaid, _) | (_, None) => {
            let line = field(place.name, &value);
            work.edits.insert(message.headers_end(), &line);
        }
        (_, Some(found)) => {
            let more = [b",", &value[..]].concat();
            work.edits.insert(found.value.end, &more);
        }
    }
    YES
}

fn insert(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((text, value)) = arguments(call, heap, site) else {
        return NO;
    };
    let Some(place) = Place::parse(&text).filter(|p| p.param.is_none()) else {
        return NO;
    };
    let work = &mut *call.work;
    let message = std::rc::Rc::clone(&work.message);
    match (place.which, chosen(&message, &place, Kind::List).first()) {
        (Which::Unsaid, _) | (_, None) => {
            let before = message.named(place.name).next();
            let at = before.map_or(message.headers_start(), |header| header.line.start);
            work.edits.insert(at, &field(place.name, &value));
        }
        (_, Some(found)) => match found.neighbours.0 {
            Some(before) => {
                let more = [b",", &value[..]].concat();
                work.edits.insert(before.end, &more);
            }
            None => {
                let more = [&value[..], b","].concat();
                work.edits.insert(found.value.start, &more);
            }
        },
    }
    YES
}

fn remove(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let Some(place) = Place::parse(&text) else {
        return NO;
    };
    let work = &mut *call.work;
    let message = std::rc::Rc::clone(&work.message);
    let found = chosen(&message, &place, kind);
    for value in &found {
        let Some(name) = place.param else {
            if place.which == Which::All {
                work.edits.remove(value.header.line);
            } else {
                take_out(work, *value);
            }
            continue;
        };
        if let Some((at, mut span)) = param_of(&message, value.value, name, kind) {
            let separator = if kind == Kind::List { b';' } else { b',' };
            let parts = split(&message, value.value, separator);
            match (at, parts.get(at + 1)) {
                (0, Some(next)) => span.end = next.start,
                (0, None) => {}
                _ => span.start = parts[at - 1].end,
            }
            work.edits.remove(span);
        }
    }
    truth(!found.is_empty())
}

fn assign(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    let Some((text, new)) = arguments(call, heap, site) else {
        return NO;
    };
    let Some(place) = Place::parse(&text) else {
        return NO;
    };
    let work = &mut *call.work;
    let message = std::rc::Rc::clone(&work.message);
    let found = chosen(&message, &place, kind);
    for value in &found {
        let Some(name) = place.param else {
            work.edits.replace(value.value, &new);
            continue;
        };
        let equals: &[u8] = if new.is_empty() { b"" } else { b"=" };
        let whole = [name, equals, &new].concat();
        match param_of(&message, value.value, name, kind) {
            Some((_, span)) => work.edits.replace(span, &whole),
            None => {
                let separator: &[u8] = if kind == Kind::List { b";" } else { b"," };
                let more = [separator, &whole].concat();
                work.edits.insert(value.value.end, &more);
            }
        }
    }
    truth(!found.is_empty())
}

/// The value of that name in the set, if it is there.
fn member(message: &Message, name: &[u8], value: &[u8]) -> Option<Found> {
    values(message, name, Kind::List)
        .into_iter()
        .find(|found| message.text(found.value).eq_ignore_ascii_case(value))
}

fn include(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((name, value)) = arguments(call, heap, site) else {
        return NO;
    };
    let work = &mut *call.work;
    let message = std::rc::Rc::clone(&work.message);
    if member(&message, &name, &value).is_some() {
        return YES;
    }
    match values(&message, &name, Kind::List).last() {
        Some(last) => {
            let more = [b",", &value[..]].concat();
            work.edits.insert(last.value.end, &more);
        }
        None => {
            let line = field(&name, &value);
            work.edits.insert(message.headers_end(), &line);
        }
    }
    YES
}

fn exclude(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((name, value)) = arguments(call, heap, site) else {
        return NO;
    };
    let work = &mut *call.work;
    let message = std::rc::Rc::clone(&work.message);
    if let Some(found) = member(&message, &name, &value) {
        take_out(work, found);
    }
    YES
}

fn exists(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match arguments(call, heap, site) {
        Some((name, value)) => truth(member(&call.work.message, &name, &value).is_some()),
        None => NO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        type Want = Option<(&'static str, Which, Option<&'static str>)>;
        let table: [(&str, Want); 9] = [
            ("A", Some(("A", Which::Unsaid, None))),
            ("A[2]", Some(("A", Which::At(2), None))),
            ("A[-1].p", Some(("A", Which::At(-1), Some("p")))),
            ("A[*]", Some(("A", Which::All, None))),
            ("A.p", Some(("A", Which::Unsaid, Some("p")))),
            ("A[0]", None),
            ("A[x]", None),
            ("A[1", None),
            ("[1]", None),
        ];
        for (text, want) in table {
            let got = Place::parse(text.as_bytes());
            let want = want.map(|(name, which, param)| Place {
                name: name.as_bytes(),
                which,
                param: param.map(str::as_bytes),
            });
            assert_eq!(got, want, "{text}");
        }
    }
}
