//! Hosts as they stand in URIs and Via: names, IPv4 addresses, IPv6 references (RFC 3261 §25.1,
//! RFC 5118).

use std::net::{IpAddr, Ipv6Addr};

use super::lex::{self, Cursor};
use super::span::Span;
use crate::text;

/// The address that a host is, if it is one. An IPv6 address stands in brackets; that it stood
/// there without, as in `received` parameters, is accepted too (RFC 5118 §4.5).
pub fn ip(host: &[u8]) -> Option<IpAddr> {
    let v6 = |text: &[u8]| -> Option<Ipv6Addr> { std::str::from_utf8(text).ok()?.parse().ok() };
    if let [b'[', rest @ ..] = host {
        return v6(rest.strip_suffix(b"]")?).map(IpAddr::V6);
    }
    if host.first().is_some_and(u8::is_ascii_digit)
        && let Some(v4) = text::read_ipv4(host)
    {
        return Some(IpAddr::V4(v4));
    }
    lex::find(host, b':').and_then(|_| v6(host)).map(IpAddr::V6)
}

/// Whether two hosts are the same: names in any case, addresses by value (RFC 5954 §4.2).
pub fn equals(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b) || matches!((ip(a), ip(b)), (Some(x), Some(y)) if x == y)
}

/// Reads a host; `None` when there is none or it has bytes that no host may hold.
pub(super) fn take(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Option<Span> {
    if cursor.peek() != Some(b'[') {
        let name = cursor.take_while(lex::is_host);
        return (!name.is_empty()).then_some(name);
    }
    let start = cursor.at();
    cursor.take_while(|b| b != b']');
    if !cursor.eat(b']') {
        return None;
    }
    let host = Span::new(start, cursor.at());
    ip(host.of(bytes)).map(|_| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recognised() {
        let table = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[::ffff:192.0.2.1]", Some("::ffff:192.0.2.1")),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]x", None),
            ("192.0.2.256", None),
            ("192.0.2", None),
            ("example.com", None),
            ("", None),
        ];
        for (host, want) in table {
            let want = want.map(|text| text.parse().unwrap());
            assert_eq!(ip(host.as_bytes()), want, "{host}");
        }
    }

    #[test]
    fn hosts_compare_by_what_they_mean() {
        let table = [
            ("Example.COM", "example.com", true),
            ("[2001:DB8::1]", "[2001:db8:0:0::1]", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("example.com", "example.org", false),
        ];
        for (a, b, want) in table {
            assert_eq!(equals(a.as_bytes(), b.as_bytes()), want, "{a} {b}");
        }
    }
}
