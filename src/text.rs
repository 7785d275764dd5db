//! Numbers and addresses as the wire has them, to and from bytes.
//!
//! What the standard library's formatting does too, for the few forms that every message needs
//! several times: it costs a hundred instructions and more for each piece of text.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

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
    for place in (0..used.max(width).max(1)).rev() {
        let digit = n.checked_shr(4 * place as u32).unwrap_or(0) & 0xf;
        out.push(DIGITS[digit as usize]);
    }
}

/// The number that 1 to 16 hexadecimal digits are, in either case.
pub fn read_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |n, b| {
        let digit = char::from(*b).to_digit(16)?;
        Some(n << 4 | u64::from(digit))
    })
}

/// Appends an address as it stands in a URI: IPv6 in brackets.
pub fn push_host(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        // Writing to a vector does not fail.
        IpAddr::V6(v6) => drop(write!(out, "[{v6}]")),
    }
}

/// The address that four decimal numbers are. As the standard library reads it: no sign, no zeros
/// in front.
pub fn read_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut parts) = ([0; 4], text.split(|b| *b == b'.'));
    for octet in &mut octets {
        let part = parts.next().filter(|part| matches!(part.len(), 1..=3))?;
        if part.len() > 1 && part[0] == b'0' {
            return None;
        }
        let n = part.iter().try_fold(0u16, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0'))
        })?;
        *octet = u8::try_from(n).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
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
        for text in ["192.0.2.10", "0.0.0.0", "255.1.99.100"] {
            let ip = text.parse().expect("an address");
            assert_eq!(written(|out| push_host(out, ip)), format!(">{text}"));
        }
        let ip = "2001:db8::1".parse().expect("an address");
        assert_eq!(written(|out| push_host(out, ip)), ">[2001:db8::1]");
    }
}
