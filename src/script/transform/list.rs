//! `param.*`, `line.*`, `sock.*`, `urialias.*` and `num.*`: parts of lists and lines.

use super::text::nth;
use super::{ParamKind, Params, TransformSig, part_of, plain, with};
use crate::script::value::{Heap, Text, Value};

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
            part_of(heap, input, |b| Some(field(b, &name, separator)?.1))
        },
    ),
    with(
        "param.in",
        &[Str, Str],
        1,
        "a name and at most a separator",
        |heap, input, params| {
            let (name, separator) = (wanted(heap, params), params.byte(1, heap, b';'));
            let found = field(heap.bytes(input), &name, separator).is_some();
            Value::Int(found.into())
        },
    ),
    with(
        "param.name",
        &[Int, Str],
        1,
        "an index and at most a separator",
        |heap, input, params| {
            let (index, separator) = (params.int(0, heap, 0), params.byte(1, heap, b';'));
            part_of(heap, input, |b| {
                Some(split(nth(fields(b, separator), index)?).0)
            })
        },
    ),
    with(
        "param.valueat",
        &[Int, Str],
        1,
        "an index and at most a separator",
        |heap, input, params| {
            let (index, separator) = (params.int(0, heap, 0), params.byte(1, heap, b';'));
            part_of(heap, input, |b| {
                Some(split(nth(fields(b, separator), index)?).1)
            })
        },
    ),
    with(
        "param.count",
        &[Str],
        0,
        "at most a separator",
        |heap, input, params| {
            let separator = params.byte(0, heap, b';');
            Value::Int(fields(heap.bytes(input), separator).count() as i64)
        },
    ),
    plain("line.count", |heap, input, _| {
        Value::Int(lines(heap.bytes(input)).count() as i64)
    }),
    with("line.at", &[Int], 1, "an index", |heap, input, params| {
        let index = params.int(0, heap, 0);
        part_of(heap, input, |b| nth(lines(b), index))
    }),
    with("line.sw", &[Str], 1, "a prefix", |heap, input, params| {
        let prefix = params.text(0, heap);
        let prefix = heap.bytes(prefix);
        part_of(heap, input, |b| {
            lines(b).find(|line| line.starts_with(prefix))
        })
    }),
    plain("sock.proto", |heap, input, _| {
        part_of(heap, input, |b| Some(socket(b)?.0))
    }),
    plain("sock.host", |heap, input, _| {
        part_of(heap, input, |b| Some(socket(b)?.1))
    }),
    plain("sock.port", |heap, input, _| {
        part_of(heap, input, |b| Some(socket(b)?.2))
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

/// The fields of a list, a separator inside quotes being text.
fn fields(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> + Clone {
    let mut quoted = false;
    let parts = bytes.split(move |&b| {
        quoted ^= b == b'"';
        b == separator && !quoted
    });
    parts
        .map(<[u8]>::trim_ascii)
        .filter(|field| !field.is_empty())
}

/// Name and value; quotes around the value are not part of it.
fn split(field: &[u8]) -> (&[u8], &[u8]) {
    let Some(equals) = memchr::memchr(b'=', field) else {
        return (field, &[]);
    };
    let value = field[equals + 1..].trim_ascii();
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    };
    (field[..equals].trim_ascii(), value)
}

fn field<'a>(bytes: &'a [u8], name: &[u8], separator: u8) -> Option<(&'a [u8], &'a [u8])> {
    fields(bytes, separator)
        .map(split)
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
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
    let colon = memchr::memchr(b':', bytes)?;
    let (proto, rest) = match crate::effect::Proto::from_name(&bytes[..colon]) {
        Some(_) => (&bytes[..colon], &bytes[colon + 1..]),
        None => (&bytes[..0], bytes),
    };
    let bracket = memchr::memrchr(b']', rest).map_or(0, |at| at + 1);
    Some(match memchr::memrchr(b':', &rest[bracket..]) {
        Some(at) => (proto, &rest[..bracket + at], &rest[bracket + at + 1..]),
        None => (proto, rest, &rest[rest.len()..]),
    })
}

/// `sip:host:port;transport=proto` as `alias=host~port~number`.
fn encode_alias(heap: &mut Heap, input: Text) -> Value {
    use crate::script::value::Digits;
    heap.build(|heap, out| {
        let Ok(uri) = crate::sip::Uri::parse(heap.bytes(input)) else {
            return;
        };
        let transport = uri.transport().unwrap_or(b"udp");
        let Some(number) = ALIAS_PROTOS
            .iter()
            .position(|p| p.eq_ignore_ascii_case(transport))
        else {
            return;
        };
        out.extend_from_slice(b"alias=");
        out.extend_from_slice(uri.host);
        out.push(b'~');
        out.extend_from_slice(Digits::of(i64::from(uri.port.unwrap_or(5060))).as_bytes());
        out.push(b'~');
        out.extend_from_slice(Digits::of(number as i64 + 1).as_bytes());
    })
}

/// Transports by their number in an alias, from 1.
const ALIAS_PROTOS: [&[u8]; 6] = [b"udp", b"tcp", b"tls", b"sctp", b"ws", b"wss"];

fn decode_alias(heap: &mut Heap, input: Text) -> Value {
    heap.build(|heap, out| {
        let bytes = heap.bytes(input);
        let alias = bytes.strip_prefix(b"alias=").unwrap_or(bytes);
        let mut parts = alias.split(|b| *b == b'~');
        let (Some(host), Some(port), Some(number)) = (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let number = crate::script::value::parse_int(number).unwrap_or(0);
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let Some(proto) = ALIAS_PROTOS.get(index) else {
            return;
        };
        out.extend_from_slice(b"sip:");
        out.extend_from_slice(host);
        out.push(b':');
        out.extend_from_slice(port);
        out.extend_from_slice(b";transport=");
        out.extend_from_slice(proto);
    })
}

fn digit(heap: &Heap, input: Text, pick: fn(&[u8]) -> Option<&u8>) -> Value {
    match pick(heap.bytes(input)) {
        Some(b) if b.is_ascii_digit() => Value::Int(i64::from(b - b'0')),
        _ => Value::Str(Text::EMPTY),
    }
}
