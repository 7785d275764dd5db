//! Numbers and addresses as the wire has them, to and from bytes.
//!
//! What the standard library's formatting does too, for the few forms that every message needs
//! several times: it costs a hundred instructions and more for each piece of text.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What is no hexadecimal digit; all bits are set, so that it shows among others.
const NO_DIGIT: u8 = 0xff;

/// The value of each byte as a hexadecimal digit.
const HEX: [u8; 256] = hex();

const fn hex() -> [u8; 256] {
    let mut out = [NO_DIGIT; 256];
    let mut n = 0;
    while n < 16 {
        out[DIGITS[n] as usize] = n as u8;
        out[DIGITS[n].to_ascii_uppercase() as usize] = n as u8;
        n += 1;
    }
    out
}

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, n: u64) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, n);
    loop {
        at -= 1;
        digits[at] = DIGITS[(left % 10) as usize];
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// Appends a number in hexadecimal, in lower case, with zeros in front up to `width` digits.
pub fn push_hex(out: &mut Vec<u8>, n: u64, width: usize) {
    let used = (u64::BITS - n.leading_zeros()).div_ceil(4) as usize;
    let digits = hex_digits(n);
    let count = used.max(width).max(1);
    if count == digits.len() {
        return out.extend_from_slice(&digits);
    }
    out.resize(out.len() + count.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(&digits[digits.len() - count.min(digits.len())..]);
}

/// All sixteen digits of a number in hexadecimal.
pub fn hex_digits(n: u64) -> [u8; 16] {
    let halves = (u128::from(eight_hex_digits((n >> 32) as u32)) << 64)
        | u128::from(eight_hex_digits(n as u32));
    halves.to_be_bytes()
}

/// Eight digits, the highest in the highest byte: the four-bit groups are spread over eight bytes,
/// and made digits all at once.
fn eight_hex_digits(n: u32) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let n = u64::from(n);
    let n = (n | n << 16) & 0x0000_ffff_0000_ffff;
    let n = (n | n << 8) & 0x00ff_00ff_00ff_00ff;
    let n = (n | n << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // One in each byte that is a letter: six more than nine and below reaches the fifth bit.
    let letters = (n + 6 * ONES) >> 4 & ONES;
    n + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)
}

/// The number that 1 to 16 hexadecimal digits are, in either case.
pub fn read_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut n, mut all) = (0, 0);
    for &b in digits {
        let digit = HEX[usize::from(b)];
        n = n << 4 | u64::from(digit & 0xf);
        all |= digit;
    }
    (all != NO_DIGIT).then_some(n)
}

/// An address as text, of which so many bytes count.
pub fn ipv4(ip: Ipv4Addr) -> ([u8; 15], usize) {
    // The full stops stand there before the digits.
    let (mut text, mut at) = ([b'.'; 15], 0);
    for octet in ip.octets() {
        if octet >= 100 {
            text[at] = b'0' + octet / 100;
            at += 1;
        }
        if octet >= 10 {
            text[at] = b'0' + octet / 10 % 10;
            at += 1;
        }
        text[at] = b'0' + octet % 10;
        at += 2;
    }
    (text, at - 1)
}

/// Appends an address as it stands in a URI: IPv6 in brackets.
pub fn push_host(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            let (text, len) = ipv4(v4);
            out.extend_from_slice(&text[..len]);
        }
        // Writing to a vector does not fail.
        IpAddr::V6(v6) => drop(write!(out, "[{v6}]")),
    }
}

/// The address that four decimal numbers are. As the standard library reads it: no sign, no zeros
/// in front.
pub fn read_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut place, mut n, mut digits) = ([0; 4], 0, 0u16, 0);
    for &b in text {
        match b {
            // A zero in front has no digit behind it.
            b'0'..=b'9' if digits < 3 && (n > 0 || digits == 0) => {
                n = n * 10 + u16::from(b - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && place < 3 => {
                octets[place] = u8::try_from(n).ok()?;
                (place, n, digits) = (place + 1, 0, 0);
            }
            _ => return None,
        }
    }
    octets[3] = u8::try_from(n).ok()?;
    (place == 3 && digits > 0).then(|| Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b">".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        let mut rng = Rng::new(1);
        let edges = [0, 1, 9, 10, 15, 16, 255, 256, u64::from(u32::MAX), u64::MAX];
        let drawn = (0..1_000).map(|_| rng.next_u64() >> rng.below(64));
        for n in edges.into_iter().chain(drawn) {
            assert_eq!(written(|out| push_number(out, n)), format!(">{n}"));
            assert_eq!(written(|out| push_hex(out, n, 1)), format!(">{n:x}"));
            assert_eq!(written(|out| push_hex(out, n, 8)), format!(">{n:08x}"));
            assert_eq!(written(|out| push_hex(out, n, 16)), format!(">{n:016x}"));
            assert_eq!(read_hex(format!("{n:x}").as_bytes()), Some(n));
            assert_eq!(read_hex(format!("{n:X}").as_bytes()), Some(n));
        }
        for text in ["", "g", "-1", "+1", " 1", "00000000000000000"] {
            assert_eq!(read_hex(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        let table = [
            "192.0.2.1",
            "0.0.0.0",
            "255.255.255.255",
            "256.0.0.1",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1..2.3",
            "1.2.3.",
            ".1.2.3",
            "1.2.3.4 ",
            "+1.2.3.4",
            "",
            "a.b.c.d",
            "1.2.3.1000",
        ];
        for text in table {
            assert_eq!(read_ipv4(text.as_bytes()), text.parse().ok(), "{text}");
        }
        let mut rng = Rng::new(2);
        for _ in 0..100_000 {
            let byte = |rng: &mut Rng| b"0012345678999...."[rng.below(17) as usize];
            let text: Vec<u8> = (0..rng.below(16)).map(|_| byte(&mut rng)).collect();
            let text = String::from_utf8(text).expect("ASCII");
            assert_eq!(read_ipv4(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["192.0.2.10", "0.0.0.0", "255.1.99.100", "255.255.255.255"] {
            let ip = text.parse().expect("an address");
            assert_eq!(written(|out| push_host(out, ip)), format!(">{text}"));
        }
        let ip = "2001:db8::1".parse().expect("an address");
        assert_eq!(written(|out| push_host(out, ip)), ">[2001:db8::1]");
    }
}
