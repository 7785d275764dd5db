//! Encodings and escapes. What cannot be decoded gives an empty string.
//!
//! 7bit packs the low seven bits of each character as short messages do (3GPP TS 23.038 §6.1.2.1),
//! in hexadecimal. base58 treats the text as one large number, which takes time by the square of
//! its length: longer texts than `limits::BASE58_SIZE_MAX` give an empty string.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::{TransformSig, plain};
use crate::limits::BASE58_SIZE_MAX;
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
        convert(heap, input, |b, out| encode64(&STANDARD, b, out))
    }),
    plain("s.decode.base64", |heap, input, _| {
        convert(heap, input, |b, out| decode64(&STANDARD, b, out))
    }),
    plain("s.encode.base64t", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&STANDARD_NO_PAD, b, out))
    }),
    plain("s.decode.base64t", |heap, input, _| {
        convert(heap, input, |b, out| decode64(&STANDARD_NO_PAD, b, out))
    }),
    plain("s.encode.base64url", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&URL_SAFE, b, out))
    }),
    plain("s.decode.base64url", |heap, input, _| {
        convert(heap, input, |b, out| decode64(&URL_SAFE, b, out))
    }),
    plain("s.encode.base64urlt", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&URL_SAFE_NO_PAD, b, out))
    }),
    plain("s.decode.base64urlt", |heap, input, _| {
        convert(heap, input, |b, out| decode64(&URL_SAFE_NO_PAD, b, out))
    }),
    plain("s.encode.base58", |heap, input, _| {
        convert(heap, input, base58)
    }),
    plain("s.decode.base58", |heap, input, _| {
        convert(heap, input, unbase58)
    }),
    plain("s.encode.7bit", |heap, input, _| convert(heap, input, pack)),
    plain("s.decode.7bit", |heap, input, _| {
        convert(heap, input, unpack)
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
            percent(b, b"-_.~", out);
        })
    }),
    plain("s.urldecode.param", |heap, input, _| {
        convert(heap, input, |b, out| {
            unpercent(b, out);
            for c in out {
                *c = if *c == b'+' { b' ' } else { *c };
            }
        })
    }),
];

fn convert(heap: &mut Heap, input: Text, convert: fn(&[u8], &mut Vec<u8>)) -> Value {
    heap.build(|heap, out| convert(heap.bytes(input), out))
}

fn encode64(engine: &impl Engine, bytes: &[u8], out: &mut Vec<u8>) {
    out.resize(bytes.len().div_ceil(3) * 4, 0);
    let written = engine.encode_slice(bytes, out);
    out.truncate(written.unwrap_or(0));
}

fn decode64(engine: &impl Engine, bytes: &[u8], out: &mut Vec<u8>) {
    out.resize(bytes.len().div_ceil(4) * 3, 0);
    let written = engine.decode_slice(bytes, out);
    out.truncate(written.unwrap_or(0));
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Multiplies the number in `digits`, lowest first, and adds to it.
fn carry_in(digits: &mut Vec<u8>, from: usize, (times, add, base): (u32, u32, u32)) {
    let mut carry = add;
    for digit in &mut digits[from..] {
        carry += u32::from(*digit) * times;
        *digit = (carry % base) as u8;
        carry /= base;
    }
    while carry > 0 {
        digits.push((carry % base) as u8);
        carry /= base;
    }
}

fn base58(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() > BASE58_SIZE_MAX {
        return;
    }
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    out.resize(zeros, 0);
    for &b in &bytes[zeros..] {
        carry_in(out, zeros, (256, b.into(), 58));
    }
    out[zeros..].reverse();
    for digit in out {
        *digit = BASE58[usize::from(*digit)];
    }
}

fn unbase58(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() > BASE58_SIZE_MAX {
        return;
    }
    let zeros = bytes.iter().take_while(|b| **b == BASE58[0]).count();
    out.resize(zeros, 0);
    for &b in &bytes[zeros..] {
        let Some(digit) = memchr::memchr(b, BASE58) else {
            return out.clear();
        };
        carry_in(out, zeros, (58, digit as u32, 256));
    }
    out[zeros..].reverse();
}

fn pack(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut held, mut count) = (0u32, 0);
    for &b in bytes {
        held |= u32::from(b & 0x7f) << count;
        count += 7;
        if count >= 8 {
            upper_hex(held as u8, out);
            held >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        upper_hex(held as u8, out);
    }
}

fn unpack(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut held, mut count) = (0u32, 0);
    for pair in bytes.chunks(2) {
        let Some(byte) = hex_pair(pair) else {
            return out.clear();
        };
        held |= u32::from(byte) << count;
        count += 8;
        while count >= 7 {
            out.push((held & 0x7f) as u8);
            held >>= 7;
            count -= 7;
        }
    }
    // Seven unused bits look like a character.
    if out.last() == Some(&0) {
        out.pop();
    }
}

fn upper_hex(byte: u8, out: &mut Vec<u8>) {
    let start = out.len();
    hex(&[byte], out);
    out[start..].make_ascii_uppercase();
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
