//! Encodings and escapes. What cannot be decoded gives an empty string.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::{TransformSig, plain};
use crate::script::value::{Heap, Text, Value};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    plain("s.encode.hexa", |heap, input, _| convert(heap, input, hex)),
    plain("s.decode.hexa", |heap, input, _| {
        convert(heap, input, |b, out| {
            for pair in b.chunks(2) {
                match hex_pair(pair) {
                    Some(byte) => out.push(byte),
                    None => return out.clear(),
                }
            }
        })
    }),
    plain("s.encode.base64", |heap, input, _| {
        convert(heap, input, |b, out| {
            out.extend(STANDARD.encode(b).into_bytes())
        })
    }),
    plain("s.decode.base64", |heap, input, _| {
        convert(heap, input, |b, out| {
            out.extend(STANDARD.decode(b).unwrap_or_default())
        })
    }),
    plain("s.encode.base64url", |heap, input, _| {
        convert(heap, input, |b, out| {
            out.extend(URL_SAFE.encode(b).into_bytes())
        })
    }),
    plain("s.decode.base64url", |heap, input, _| {
        convert(heap, input, |b, out| {
            out.extend(URL_SAFE.decode(b).unwrap_or_default())
        })
    }),
    plain("s.escape.common", |heap, input, _| {
        convert(heap, input, |b, out| {
            for &c in b {
                match c {
                    b'\'' | b'"' | b'\\' => out.extend([b'\\', c]),
                    0 => out.extend(*b"\\0"),
                    _ => out.push(c),
                }
            }
        })
    }),
    plain("s.unescape.common", |heap, input, _| {
        convert(heap, input, unescape_common)
    }),
    plain("s.escape.user", |heap, input, _| {
        convert(heap, input, |b, out| percent(b, b"-_.!~*'()&=+$,;?/", out))
    }),
    plain("s.unescape.user", |heap, input, _| {
        convert(heap, input, unpercent)
    }),
    plain("s.escape.param", |heap, input, _| {
        convert(heap, input, |b, out| percent(b, b"-_.!~*'()[]/:&+$", out))
    }),
    plain("s.unescape.param", |heap, input, _| {
        convert(heap, input, unpercent)
    }),
    plain("s.escape.csv", |heap, input, _| {
        convert(heap, input, |b, out| {
            out.push(b'"');
            for &c in b {
                if c == b'"' {
                    out.push(b'"');
                }
                out.push(c);
            }
            out.push(b'"');
        })
    }),
    plain("s.escape.crlf", |heap, input, _| {
        convert(heap, input, |b, out| {
            for &c in b {
                match c {
                    b'\r' => out.extend(*b"\\r"),
                    b'\n' => out.extend(*b"\\n"),
                    _ => out.push(c),
                }
            }
        })
    }),
    plain("s.unescape.crlf", |heap, input, _| {
        convert(heap, input, |b, out| {
            let mut bytes = b.iter().copied().peekable();
            while let Some(c) = bytes.next() {
                let escaped = (c == b'\\').then(|| bytes.peek().copied()).flatten();
                match escaped {
                    Some(e @ (b'r' | b'n')) => {
                        bytes.next();
                        out.push(if e == b'r' { b'\r' } else { b'\n' });
                    }
                    _ => out.push(c),
                }
            }
        })
    }),
    plain("s.urlencode.param", |heap, input, _| {
        convert(heap, input, |b, out| {
            for &c in b {
                match c {
                    b' ' => out.push(b'+'),
                    _ => percent(&[c], b"-_.", out),
                }
            }
        })
    }),
    plain("s.urldecode.param", |heap, input, _| {
        convert(heap, input, |b, out| {
            let spaced: Vec<u8> = b
                .iter()
                .map(|&c| if c == b'+' { b' ' } else { c })
                .collect();
            unpercent(&spaced, out);
        })
    }),
];

fn convert(heap: &mut Heap, input: Text, convert: fn(&[u8], &mut Vec<u8>)) -> Value {
    heap.build(|heap, out| {
        let mut converted = vec![];
        convert(heap.bytes(input), &mut converted);
        out.extend(converted);
    })
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for b in bytes {
        out.extend([DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    }
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    match pair {
        [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    }
}

/// `%XX` for everything but letters, digits and `kept`.
fn percent(bytes: &[u8], kept: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        if b.is_ascii_alphanumeric() || kept.contains(&b) {
            out.push(b);
        } else {
            out.push(b'%');
            hex(&[b], out);
        }
    }
}

fn unpercent(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let Some(byte) = rest.get(..2).and_then(hex_pair) else {
            return out.clear();
        };
        out.push(byte);
        rest = &rest[2..];
    }
}

fn unescape_common(bytes: &[u8], out: &mut Vec<u8>) {
    let mut bytes = bytes.iter().copied();
    while let Some(b) = bytes.next() {
        match (b, if b == b'\\' { bytes.next() } else { None }) {
            (_, Some(b'0')) => out.push(0),
            (_, Some(c)) => out.push(c),
            (b, None) => out.push(b),
        }
    }
}
