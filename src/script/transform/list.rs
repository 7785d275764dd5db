//! `param.*`, `line.*`, `sock.*`, `urialias.*` and `num.*`: parts of lists and lines.

use super::text::nth;
use super::{ParamKind, Params, TransformSig, built, part_or_null, plain, with};
use crate::effect::Proto;
use crate::script::value::{Digits, Heap, Text, Value};

use ParamKind::{Int, Text as Str};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    with(
        "param.value",
        &[Str, Str],
        1,
        "a name and at most a separator",
        |heap, input, params| {
            let (name, separator) = (wanted(heap, params), params.byte(1, heap, b';'));
            part_or_null(heap, input, |b| {
                let found = named(&fields(b, separator)?, &name);
                Some(found.map_or(&[][..], |(_, value)| value))
            })
        },
    ),
    with(
        "param.in",
        &[Str, Str],
        1,
        "a name and at most a separator",
        |heap, input, params| {
            let (name, separator) = (wanted(heap, params), params.byte(1, heap, b';'));
            let fields = fields(heap.bytes(input), separator);
            fields.map_or(Value::Null, |fields| {
                Value::Int(named(&fields, &name).is_some().into())
            })
        },
    ),
    with(
        "param.name",
        &[Int, Str],
        1,
        "an index and at most a separator",
        |heap, input, params| at_index(heap, input, params, |(name, _)| name),
    ),
    with(
        "param.valueat",
        &[Int, Str],
        1,
        "an index and at most a separator",
        |heap, input, params| at_index(heap, input, params, |(_, value)| value),
    ),
    with(
        "param.count",
        &[Str],
        0,
        "at most a separator",
        |heap, input, params| {
            let separator = params.byte(0, heap, b';');
            let fields = fields(heap.bytes(input), separator);
            fields.map_or(Value::Null, |fields| Value::Int(fields.len() as i64))
        },
    ),
    plain("line.count", |heap, input, _| {
        let count = lines(heap.bytes(input)).count() as i64;
        match count {
            0 => Value::Null,
            _ => Value::Str(heap.as_text(Value::Int(count))),
        }
    }),
    with("line.at", &[Int], 1, "an index", |heap, input, params| {
        let index = params.int(0, heap, 0);
        of_lines(heap, input, |b| nth(lines(b), index))
    }),
    with("line.sw", &[Str], 1, "a prefix", |heap, input, params| {
        let prefix = params.text(0, heap);
        let prefix = heap.bytes(prefix);
        of_lines(heap, input, |b| {
            lines(b).find(|line| line.starts_with(prefix))
        })
    }),
    plain("sock.proto", |heap, input, _| {
        part_or_null(heap, input, |b| Some(socket(b)?.0))
    }),
    plain("sock.host", |heap, input, _| {
        part_or_null(heap, input, |b| Some(socket(b)?.1))
    }),
    plain("sock.port", |heap, input, _| {
        part_or_null(heap, input, |b| Some(socket(b)?.2))
    }),
    plain("urialias.encode", |heap, input, _| {
        encode_alias(heap, input)
    }),
    plain("urialias.decode", |heap, input, _| {
        decode_alias(heap, input)
    }),
    plain("num.fdigit", |heap, input, _| {
        digit(heap, input, |digits| digits.first())
    }),
    plain("num.ldigit", |heap, input, _| {
        digit(heap, input, |digits| digits.last())
    }),
];

fn wanted(heap: &mut Heap, params: &Params<'_>) -> Vec<u8> {
    let name = params.text(0, heap);
    heap.bytes(name).trim_ascii().to_vec()
}

/// A parameter: its name and its value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The parameters of a list, which ends at a comma. `None`: it cannot be read. There is at least
/// one, perhaps without a name.
fn fields(bytes: &[u8], separator: u8) -> Option<Vec<Field<'_>>> {
    if bytes.first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let mut fields = vec![];
    let mut rest = bytes;
    loop {
        let (field, behind) = field(rest, separator)?;
        fields.push(field);
        match behind {
            [b, next @ ..] if *b == separator => rest = next.trim_ascii_start(),
            _ => return Some(fields),
        }
        if rest.is_empty() {
            // One separator too many.
            return (!field.0.is_empty()).then_some(fields);
        }
    }
}

/// The parameter at the beginning, and what stands behind it: nothing, a separator or a comma.
fn field(bytes: &[u8], separator: u8) -> Option<(Field<'_>, &[u8])> {
    let ends = |b: &u8| *b == separator || *b == b',';
    let name_end = bytes
        .iter()
        .position(|b| ends(b) || *b == b'=' || b.is_ascii_whitespace());
    let (name, rest) = bytes.split_at(name_end.unwrap_or(bytes.len()));
    let rest = rest.trim_ascii_start();
    let Some(value) = rest.strip_prefix(b"=") else {
        return rest
            .first()
            .is_none_or(ends)
            .then_some(((name, &[][..]), rest));
    };
    let value = value.trim_ascii_start();
    let (value, rest) = match value {
        [quote @ (b'"' | b'\''), inner @ ..] => {
            let end = memchr::memchr(*quote, inner)?;
            (&inner[..end], &inner[end + 1..])
        }
        _ => {
            let end = value
                .iter()
                .position(|b| ends(b) || b.is_ascii_whitespace());
            let (value, rest) = value.split_at(end.unwrap_or(value.len()));
            (
                Some(value).filter(|v| !v.is_empty() || rest.is_empty())?,
                rest,
            )
        }
    };
    let rest = rest.trim_ascii_start();
    rest.first()
        .is_none_or(ends)
        .then_some(((name, value), rest))
}

/// The last parameter of this name.
fn named<'a>(fields: &[Field<'a>], name: &[u8]) -> Option<Field<'a>> {
    let mut latest_first = fields.iter().rev();
    latest_first
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .copied()
}

/// A part of the parameter with this index, negative from the end; empty when there is none.
fn at_index(
    heap: &mut Heap,
    input: Text,
    params: &Params<'_>,
    part: for<'a> fn(Field<'a>) -> &'a [u8],
) -> Value {
    let (index, separator) = (params.int(0, heap, 0), params.byte(1, heap, b';'));
    part_or_null(heap, input, |b| {
        let fields = fields(b, separator)?;
        let index = if index < 0 {
            index + fields.len() as i64
        } else {
            index
        };
        let found = usize::try_from(index).ok().and_then(|n| fields.get(n));
        Some(found.map_or(&[][..], |field| part(*field)))
    })
}

/// A line of a text; NULL when the text has none.
fn of_lines(heap: &Heap, input: Text, find: impl FnOnce(&[u8]) -> Option<&[u8]>) -> Value {
    part_or_null(heap, input, |b| match b {
        [] => None,
        _ => Some(find(b).unwrap_or_default()),
    })
}

/// Lines without their ends; an end at the very end begins no further line.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let lines = whole.split(|b| *b == b'\n');
    let is_empty = bytes.is_empty();
    lines
        .filter(move |_| !is_empty)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// `proto:host:port`, the first and last of which may be missing.
fn socket(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let colon = memchr::memchr(b':', bytes).unwrap_or(0);
    let (proto, rest) = match Proto::from_name(&bytes[..colon]) {
        Some(_) => (&bytes[..colon], &bytes[colon + 1..]),
        None => (&bytes[..0], bytes),
    };
    let host_end = match rest {
        [b'[', ..] => memchr::memchr(b']', rest)? + 1,
        _ => memchr::memchr(b':', rest).unwrap_or(rest.len()),
    };
    let (host, port) = rest.split_at(host_end);
    match port {
        [] => (!host.is_empty()).then_some((proto, host, port)),
        [b':', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Some((proto, host, digits))
        }
        _ => None,
    }
}

/// `sip:host:port;transport=proto` as `host~port~number`.
fn encode_alias(heap: &mut Heap, input: Text) -> Value {
    built(heap, |heap, out| {
        let text = heap.bytes(input);
        // What is no URI gives an empty text.
        let Some(uri) = crate::sip::Uri::parse(text)
            .ok()
            .filter(|u| !u.host.is_empty())
        else {
            return (!text.is_empty()).then_some(());
        };
        let named = |proto: &[u8]| {
            ALIAS_PROTOS
                .iter()
                .position(|p| p.eq_ignore_ascii_case(proto))
        };
        let number = uri.transport().and_then(named).unwrap_or(0);
        out.extend_from_slice(uri.host);
        out.push(b'~');
        out.extend_from_slice(Digits::of(i64::from(uri.port.unwrap_or(5060))).as_bytes());
        out.push(b'~');
        out.extend_from_slice(Digits::of(number as i64 + 1).as_bytes());
        Some(())
    })
}

/// Transports by their number in an alias, from 1.
const ALIAS_PROTOS: [&[u8]; 6] = [b"udp", b"tcp", b"tls", b"sctp", b"ws", b"wss"];

/// The other way round. That the transport is UDP goes without saying.
fn decode_alias(heap: &mut Heap, input: Text) -> Value {
    built(heap, |heap, out| {
        let text = heap.bytes(input);
        let mut parts = text.split(|b| *b == b'~');
        let (Some(host), Some(port), Some(number)) = (parts.next(), parts.next(), parts.next())
        else {
            return (!text.is_empty()).then_some(());
        };
        let number = crate::script::value::parse_int(number).unwrap_or(0);
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let Some(proto) = ALIAS_PROTOS.get(index) else {
            return Some(());
        };
        out.extend_from_slice(b"sip:");
        out.extend_from_slice(host);
        out.push(b':');
        out.extend_from_slice(port);
        if index > 0 {
            out.extend_from_slice(b";transport=");
            out.extend_from_slice(proto);
        }
        Some(())
    })
}

fn digit(heap: &Heap, input: Text, pick: fn(&[u8]) -> Option<&u8>) -> Value {
    match pick(heap.bytes(input)) {
        Some(b) if b.is_ascii_digit() => Value::Int(i64::from(b - b'0')),
        _ => Value::Str(Text::EMPTY),
    }
}
