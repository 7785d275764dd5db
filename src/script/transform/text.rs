//! `s.*`: characters, and `re.subst`.

use super::{ParamKind, Params, TransformSig, keeping, of_module, part_of, plain, unescaped, with};
use crate::script::value::{Heap, Text, Value, parse_int};

use ParamKind::{Int, Subst, Text as Str};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    plain("s.len", |_, input, _| Value::Int(input.len() as i64)),
    plain("s.int", |heap, input, _| {
        decimal(heap.bytes(input)).map_or(Value::Null, Value::Int)
    }),
    plain("s.tolower", |heap, input, _| {
        heap.build(|heap, out| out.extend(heap.bytes(input).iter().map(u8::to_ascii_lowercase)))
    }),
    plain("s.toupper", |heap, input, _| {
        heap.build(|heap, out| out.extend(heap.bytes(input).iter().map(u8::to_ascii_uppercase)))
    }),
    plain("s.trim", |heap, input, _| {
        part_of(heap, input, |b| Some(trim(b, true, true)))
    }),
    plain("s.ltrim", |heap, input, _| {
        part_of(heap, input, |b| Some(trim(b, true, false)))
    }),
    plain("s.rtrim", |heap, input, _| {
        part_of(heap, input, |b| Some(trim(b, false, true)))
    }),
    plain("s.rmws", |heap, input, _| {
        heap.build(|heap, out| {
            out.extend(
                heap.bytes(input)
                    .iter()
                    .filter(|b| !b.is_ascii_whitespace()),
            );
        })
    }),
    with("s.rm", &[Str], 1, "the text to remove", remove),
    with(
        "s.strip",
        &[Int],
        1,
        "a number of characters",
        |heap, input, params| {
            let n = params.int(0, heap, 0).max(0) as usize;
            Value::Str(input.part(n.min(input.len()), input.len()))
        },
    ),
    with(
        "s.striptail",
        &[Int],
        1,
        "a number of characters",
        |heap, input, params| {
            let n = params.int(0, heap, 0).max(0) as usize;
            Value::Str(input.part(0, input.len().saturating_sub(n)))
        },
    ),
    with(
        "s.stripto",
        &[Str],
        1,
        "a character",
        |heap, input, params| {
            let stop = params.byte(0, heap, 0);
            part_of(heap, input, |b| b.get(b.iter().position(|c| *c == stop)?..))
        },
    ),
    with(
        "s.prefixes",
        &[Int],
        0,
        "at most a length",
        |heap, input, params| prefixes(heap, input, params, ""),
    ),
    with(
        "s.prefixes.quoted",
        &[Int],
        0,
        "at most a length",
        |heap, input, params| prefixes(heap, input, params, "'"),
    ),
    plain("s.numeric", |heap, input, _| {
        heap.build(|heap, out| out.extend(heap.bytes(input).iter().filter(|b| b.is_ascii_digit())))
    }),
    with(
        "s.count",
        &[Str],
        1,
        "a character",
        |heap, input, params| {
            let wanted = params.byte(0, heap, 0);
            let n = heap.bytes(input).iter().filter(|b| **b == wanted).count();
            Value::Int(n as i64)
        },
    ),
    with(
        "s.replace",
        &[Str, Str],
        2,
        "what to replace and by what",
        replace,
    ),
    with("s.substr", &[Int, Int], 2, "an offset and a length", substr),
    with(
        "s.select",
        &[Int, Str],
        2,
        "an index and a separator",
        select,
    ),
    with("s.selectw", &[Int], 1, "an index", |heap, input, params| {
        let index = params.int(0, heap, 0);
        part_of(heap, input, |b| {
            nth(
                b.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()),
                index,
            )
        })
    }),
    with("s.charat", &[Int], 1, "an index", |heap, input, params| {
        let n = params.int(0, heap, 0);
        let n = if n < 0 { n + input.len() as i64 } else { n };
        let n = usize::try_from(n).unwrap_or(input.len());
        Value::Str(input.part(n, n.saturating_add(1)))
    }),
    keeping(
        plain("s.unquote", |heap, input, _| {
            part_of(heap, input, |b| match b {
                [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => Some(inner),
                _ => Some(b),
            })
        }),
        2,
    ),
    keeping(
        plain("s.unbracket", |heap, input, _| {
            part_of(heap, input, |b| match b {
                [b'<', inner @ .., b'>']
                | [b'(', inner @ .., b')']
                | [b'[', inner @ .., b']']
                | [b'{', inner @ .., b'}'] => Some(inner),
                _ => Some(b),
            })
        }),
        2,
    ),
    with(
        "s.before",
        &[Str],
        1,
        "a character",
        |heap, input, params| {
            let stop = params.byte(0, heap, 0);
            part_of(heap, input, |b| {
                Some(&b[..find(b, stop).unwrap_or(b.len())])
            })
        },
    ),
    with(
        "s.after",
        &[Str],
        1,
        "a character",
        |heap, input, params| {
            let stop = params.byte(0, heap, 0);
            part_of(heap, input, |b| b.get(find(b, stop)? + 1..))
        },
    ),
    with(
        "s.rbefore",
        &[Str],
        1,
        "a character",
        |heap, input, params| {
            let stop = params.byte(0, heap, 0);
            part_of(heap, input, |b| {
                Some(&b[..rfind(b, stop).unwrap_or(b.len())])
            })
        },
    ),
    with(
        "s.rafter",
        &[Str],
        1,
        "a character",
        |heap, input, params| {
            let stop = params.byte(0, heap, 0);
            part_of(heap, input, |b| b.get(rfind(b, stop)? + 1..))
        },
    ),
    with(
        "s.fmtlines",
        &[Int, Int],
        2,
        "a length and a number of blanks",
        |heap, input, params| lines(heap, input, params, b' '),
    ),
    with(
        "s.fmtlinet",
        &[Int, Int],
        2,
        "a length and a number of tabs",
        |heap, input, params| lines(heap, input, params, b'\t'),
    ),
    plain("s.crc32", |heap, input, _| {
        Value::Int(i64::from(crc32(heap.bytes(input))))
    }),
    of_module(
        keeping(
            with(
                "re.subst",
                &[Subst],
                1,
                "/expression/replacement/flags",
                substitute,
            ),
            usize::MAX,
        ),
        "textops",
    ),
];

/// A decimal number; no text at all is 0.
pub(super) fn decimal(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").or(bytes.strip_prefix(b"+"));
    if bytes.is_empty() {
        return Some(0);
    }
    let is_decimal = digits.unwrap_or(bytes).iter().all(u8::is_ascii_digit);
    is_decimal.then(|| parse_int(bytes)).flatten()
}

/// NULL when there is nothing to search, and for a match of no characters.
fn substitute(heap: &mut Heap, input: Text, params: &Params<'_>) -> Value {
    let Some((substitution, inserts)) = &params.substitution else {
        return Value::Str(input);
    };
    let mut is_found = Some(false);
    let value = heap.build(|heap, out| {
        is_found = substitution.apply(heap.bytes(input), inserts, out);
    });
    match is_found.filter(|_| !input.is_empty()) {
        Some(true) => value,
        Some(false) => Value::Str(input),
        None => Value::Null,
    }
}

fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    memchr::memchr(wanted, bytes)
}

fn rfind(bytes: &[u8], wanted: u8) -> Option<usize> {
    memchr::memrchr(wanted, bytes)
}

fn trim(mut bytes: &[u8], left: bool, right: bool) -> &[u8] {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0);
    while let (true, [first, rest @ ..]) = (left, bytes) {
        if !is_blank(first) {
            break;
        }
        bytes = rest;
    }
    while let (true, [rest @ .., last]) = (right, bytes) {
        if !is_blank(last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// The part with this index; negative ones count from the end.
pub(super) fn nth<'a>(
    parts: impl Iterator<Item = &'a [u8]> + Clone,
    index: i64,
) -> Option<&'a [u8]> {
    let mut parts = parts;
    let index = if index < 0 {
        index + parts.clone().count() as i64
    } else {
        index
    };
    parts.nth(usize::try_from(index).ok()?)
}

fn select(heap: &mut Heap, input: Text, params: &Params<'_>) -> Value {
    let index = params.int(0, heap, 0);
    let separator = params.byte(1, heap, b',');
    part_of(heap, input, |b| nth(b.split(|c| *c == separator), index))
}

/// Offset, negative from the end, and length; 0: to the end. NULL for an offset beyond it and for
/// a negative length.
fn substr(heap: &mut Heap, input: Text, params: &Params<'_>) -> Value {
    let size = input.len() as i64;
    let (offset, len) = (params.int(0, heap, 0), params.int(1, heap, 0));
    let from = if offset < 0 {
        offset.saturating_add(size)
    } else {
        offset
    };
    if !(0..size).contains(&from) || len < 0 {
        return Value::Null;
    }
    let to = if len == 0 {
        size
    } else {
        from.saturating_add(len).min(size)
    };
    Value::Str(input.part(from as usize, to as usize))
}

fn remove(heap: &mut Heap, input: Text, params: &Params<'_>) -> Value {
    let wanted = params.text(0, heap);
    heap.build(|heap, out| {
        // A lone escape is the character that it stands for.
        let wanted = heap.bytes(wanted);
        let escaped = unescaped(wanted).filter(|(_, rest)| rest.is_empty());
        match escaped {
            Some((byte, _)) => replace_all(heap.bytes(input), &[byte], b"", out),
            None => replace_all(heap.bytes(input), wanted, b"", out),
        }
    })
}

fn replace(heap: &mut Heap, input: Text, params: &Params<'_>) -> Value {
    let (wanted, by) = (params.text(0, heap), params.text(1, heap));
    heap.build(|heap, out| {
        replace_all(heap.bytes(input), heap.bytes(wanted), heap.bytes(by), out);
    })
}

fn replace_all(input: &[u8], wanted: &[u8], by: &[u8], out: &mut Vec<u8>) {
    if wanted.is_empty() {
        return out.extend_from_slice(input);
    }
    let mut done = 0;
    for found in memchr::memmem::find_iter(input, wanted) {
        out.extend_from_slice(&input[done..found]);
        out.extend_from_slice(by);
        done = found + wanted.len();
        // Growth is bounded like every string of a script.
        if out.len() > crate::limits::SCRIPT_HEAP_SIZE_MAX {
            return;
        }
    }
    out.extend_from_slice(&input[done..]);
}

/// Lines of at most so many characters; all but the first begin with so many blanks or tabs.
fn lines(heap: &mut Heap, input: Text, params: &Params<'_>, fill: u8) -> Value {
    let size = usize::try_from(params.int(0, heap, 0)).unwrap_or(0).max(1);
    let margin = usize::try_from(params.int(1, heap, 0)).unwrap_or(0);
    let margin = margin.min(crate::limits::TIME_FIELD_WIDTH_MAX);
    heap.build(|heap, out| {
        for (n, line) in heap.bytes(input).chunks(size).enumerate() {
            if n > 0 {
                out.extend_from_slice(b"\r\n");
                out.resize(out.len() + margin, fill);
            }
            out.extend_from_slice(line);
            if out.len() > crate::limits::SCRIPT_HEAP_SIZE_MAX {
                return;
            }
        }
    })
}

/// The check sum of Ethernet and zip, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
    let step = |crc: u32, b: &u8| (0..8).fold(crc ^ u32::from(*b), |crc, _| bit(crc));
    !bytes.iter().fold(u32::MAX, step)
}

/// All prefixes, with commas between: `1,12,123`.
fn prefixes(heap: &mut Heap, input: Text, params: &Params<'_>, quote: &str) -> Value {
    // As many as there are, without a length that says something.
    let most = usize::try_from(params.int(0, heap, 0)).unwrap_or(0);
    heap.build(|heap, out| {
        let bytes = heap.bytes(input);
        let most = if most == 0 { bytes.len() } else { most };
        for len in 1..=bytes.len().min(most) {
            if len > 1 {
                out.push(b',');
            }
            out.extend_from_slice(quote.as_bytes());
            out.extend_from_slice(&bytes[..len]);
            out.extend_from_slice(quote.as_bytes());
            if out.len() > crate::limits::SCRIPT_HEAP_SIZE_MAX {
                return;
            }
        }
    })
}
