//! Encodings and escapes. What cannot be decoded gives NULL.
//!
//! 7bit packs the low seven bits of each character as short messages do (3GPP TS 23.038 §6.1.2.1),
//! in hexadecimal. base58 treats the text as one large number, which takes time by the square of
//! its length: longer texts than `limits::BASE58_SIZE_MAX` give NULL.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{TransformSig, built, plain};
use crate::limits::BASE58_SIZE_MAX;
use crate::script::value::{Heap, Text, Value};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    plain("s.encode.hexa", |heap, input, _| convert(heap, input, hex)),
    plain("s.decode.hexa", |heap, input, _| {
        decode(heap, input, |b, out| {
            // A digit that is left over stands for nothing.
            for pair in b.chunks_exact(2) {
                out.push(hex_pair(pair)?);
            }
            Some(())
        })
    }),
    plain("s.encode.base64", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&STANDARD, b, out))
    }),
    plain("s.decode.base64", |heap, input, _| {
        decode(heap, input, |b, out| decode64(&PADDED, b, out))
    }),
    plain("s.encode.base64t", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&STANDARD_NO_PAD, b, out))
    }),
    plain("s.decode.base64t", |heap, input, _| {
        decode(heap, input, |b, out| decode64(&LENIENT, b, out))
    }),
    plain("s.encode.base64url", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&URL_SAFE, b, out))
    }),
    plain("s.decode.base64url", |heap, input, _| {
        decode(heap, input, decode64url)
    }),
    plain("s.encode.base64urlt", |heap, input, _| {
        convert(heap, input, |b, out| encode64(&URL_SAFE_NO_PAD, b, out))
    }),
    plain("s.decode.base64urlt", |heap, input, _| {
        decode(heap, input, decode64url)
    }),
    plain("s.encode.base58", |heap, input, _| {
        decode(heap, input, base58)
    }),
    plain("s.decode.base58", |heap, input, _| {
        decode(heap, input, unbase58)
    }),
    plain("s.encode.7bit", |heap, input, _| convert(heap, input, pack)),
    plain("s.decode.7bit", |heap, input, _| {
        decode(heap, input, unpack)
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
        convert(heap, input, |b, out| percent(b, b"-_.!~*'()&=+$,;?", out))
    }),
    plain("s.unescape.user", |heap, input, _| {
        decode(heap, input, unpercent)
    }),
    plain("s.escape.param", |heap, input, _| {
        convert(heap, input, |b, out| percent(b, b"-_.!~*'()[]/:&+$", out))
    }),
    plain("s.unescape.param", |heap, input, _| {
        decode(heap, input, unpercent)
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
        decode(heap, input, |b, out| {
            let blanks: Vec<u8> = b
                .iter()
                .map(|c| if *c == b'+' { b' ' } else { *c })
                .collect();
            unpercent(&blanks, out)
        })
    }),
];

fn convert(heap: &mut Heap, input: Text, convert: fn(&[u8], &mut Vec<u8>)) -> Value {
    heap.build(|heap, out| convert(heap.bytes(input), out))
}

fn decode(heap: &mut Heap, input: Text, decode: fn(&[u8], &mut Vec<u8>) -> Option<()>) -> Value {
    built(heap, |heap, out| decode(heap.bytes(input), out))
}

/// Bits behind the last byte do not matter.
const PADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Neither does whether there is padding.
const LENIENT_CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT_CONFIG);
const LENIENT_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT_CONFIG);

fn encode64(engine: &impl Engine, bytes: &[u8], out: &mut Vec<u8>) {
    out.resize(bytes.len().div_ceil(3) * 4, 0);
    let written = engine.encode_slice(bytes, out);
    out.truncate(written.unwrap_or(0));
}

fn decode64(engine: &impl Engine, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.resize(bytes.len().div_ceil(4) * 3, 0);
    let written = engine.decode_slice(bytes, out).ok()?;
    out.truncate(written);
    Some(())
}

/// Of no text at all there is nothing to decode.
fn decode64url(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode64(&LENIENT_URL, bytes, out)?;
    (!out.is_empty()).then_some(())
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

fn base58(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if bytes.len() > BASE58_SIZE_MAX {
        return None;
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
    Some(())
}

fn unbase58(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if bytes.len() > BASE58_SIZE_MAX {
        return None;
    }
    let zeros = bytes.iter().take_while(|b| **b == BASE58[0]).count();
    out.resize(zeros, 0);
    for &b in &bytes[zeros..] {
        let digit = memchr::memchr(b, BASE58)?;
        carry_in(out, zeros, (58, digit as u32, 256));
    }
    out[zeros..].reverse();
    Some(())
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

fn unpack(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut held, mut count) = (0u32, 0);
    for pair in bytes.chunks(2) {
        held |= u32::from(hex_pair(pair)?) << count;
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
    Some(())
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

fn unpercent(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        out.push(rest.get(..2).and_then(hex_pair)?);
        rest = &rest[2..];
    }
    Some(())
}

/// What was escaped; a backslash before anything else is itself.
fn unescape_common(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'\\', [c @ (b'\'' | b'"' | b'\\'), ..]) => Some(*c),
            (b'\\', [b'0', ..]) => Some(0),
            _ => None,
        };
        out.push(escaped.unwrap_or(*first));
        rest = &tail[usize::from(escaped.is_some())..];
    }
}
