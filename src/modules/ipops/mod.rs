//! Questions about addresses and names. Texts of types are those of RFC 6890 and its older kin, as
//! the original names them. Names are looked up in lookup.rs.

mod lookup;

pub use lookup::{Names, Purpose, looked};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds, Value};

use super::entry::{NO, YES, function, join, text_of, total, truth};
use super::{Call, EMPTY, Function, Module};

/// The module's table.
pub const MODULE: Module = Module {
    name: "ipops",
    doc: "Questions about addresses and names.",
    functions: &FUNCTIONS,
    variables: &lookup::VARIABLES,
    params: &[],
    ..EMPTY
};

const TEXT: ParamKind = ParamKind::Text;
const OUTPUT: ParamKind = ParamKind::Output;
const ANY: RouteKinds = RouteKinds::ANY;

const FUNCTIONS: [Function; total(&PARTS)] = join(&PARTS);

const PARTS: [&[Function]; 2] = [&OWN, &lookup::FUNCTIONS];

const OWN: [Function; 13] = [
    function(
        "is_ip",
        &[TEXT],
        ANY,
        (
            |c, h, s| about(c, h, s, |_| true),
            "Whether it is an address; IPv6 with or without brackets.",
        ),
    ),
    function(
        "is_pure_ip",
        &[TEXT],
        ANY,
        (
            |c, h, s| about(c, h, s, |a| !a.in_brackets),
            "Whether it is an address without brackets.",
        ),
    ),
    function(
        "is_ipv4",
        &[TEXT],
        ANY,
        (
            |c, h, s| about(c, h, s, |a| a.ip.is_ipv4()),
            "Whether it is an IPv4 address.",
        ),
    ),
    function(
        "is_ipv6",
        &[TEXT],
        ANY,
        (
            |c, h, s| about(c, h, s, |a| a.ip.is_ipv6() && !a.in_brackets),
            "Whether it is an IPv6 address without brackets.",
        ),
    ),
    function(
        "is_ipv6_reference",
        &[TEXT],
        ANY,
        (
            |c, h, s| about(c, h, s, |a| a.in_brackets),
            "Whether it is an IPv6 address in brackets.",
        ),
    ),
    function(
        "ip_type",
        &[TEXT],
        ANY,
        (kind, "1 IPv4, 2 IPv6, 3 IPv6 in brackets, -1 no address."),
    ),
    function(
        "detailed_ip_type",
        &[TEXT, OUTPUT],
        ANY,
        (
            |c, h, s| detailed(c, h, s, |_| true),
            "What the address is for: PUBLIC, PRIVATE, LOOPBACK and so on.",
        ),
    ),
    function(
        "detailed_ipv4_type",
        &[TEXT, OUTPUT],
        ANY,
        (
            |c, h, s| detailed(c, h, s, IpAddr::is_ipv4),
            "The same of an IPv4 address.",
        ),
    ),
    function(
        "detailed_ipv6_type",
        &[TEXT, OUTPUT],
        ANY,
        (
            |c, h, s| detailed(c, h, s, IpAddr::is_ipv6),
            "The same of an IPv6 address.",
        ),
    ),
    function(
        "compare_ips",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| compare(c, h, s, true),
            "Whether two addresses are the same.",
        ),
    ),
    function(
        "compare_pure_ips",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| compare(c, h, s, false),
            "Whether two addresses without brackets are the same.",
        ),
    ),
    function(
        "is_ip_rfc1918",
        &[TEXT],
        ANY,
        (
            |c, h, s| about(c, h, s, |a| is_private(a.ip)),
            "Whether the address is private (RFC 1918).",
        ),
    ),
    function(
        "is_in_subnet",
        &[TEXT, TEXT],
        ANY,
        (
            is_in_subnet,
            "Whether it is in one of the networks, written net/bits, between commas.",
        ),
    ),
];

/// An address as a script writes it.
#[derive(Clone, Copy)]
struct Written {
    ip: IpAddr,
    in_brackets: bool,
}

fn parse(text: &[u8]) -> Option<Written> {
    let text = std::str::from_utf8(text).ok()?;
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|ip| Written {
            ip: ip.into(),
            in_brackets: true,
        }),
        None => text.parse().ok().map(|ip| Written {
            ip,
            in_brackets: false,
        }),
    }
}

fn argument(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, at: usize) -> Option<Written> {
    let value = site.text(at, call, heap);
    parse(heap.str(value)?)
}

fn about(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    holds: fn(Written) -> bool,
) -> Outcome {
    truth(argument(call, heap, site, 0).is_some_and(holds))
}

fn kind(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match argument(call, heap, site, 0) {
        Some(a) if a.in_brackets => Outcome::Return(3),
        Some(a) if a.ip.is_ipv6() => Outcome::Return(2),
        Some(_) => Outcome::Return(1),
        None => NO,
    }
}

fn compare(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, brackets: bool) -> Outcome {
    let (a, b) = (argument(call, heap, site, 0), argument(call, heap, site, 1));
    let is_allowed = |w: &Written| brackets || !w.in_brackets;
    let (a, b) = (a.filter(is_allowed), b.filter(is_allowed));
    truth(a.zip(b).is_some_and(|(a, b)| a.ip == b.ip))
}

fn is_private(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.is_private())
}

fn is_in_subnet(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(Written {
        ip,
        in_brackets: false,
    }) = argument(call, heap, site, 0)
    else {
        return NO;
    };
    let Some(nets) = text_of(call, heap, site, 1) else {
        return NO;
    };
    let Ok(nets) = std::str::from_utf8(&nets) else {
        return NO;
    };
    truth(nets.split(',').any(|net| contains(net.trim(), ip)))
}

/// Whether the network `address[/bits]` has the address. What is no network has none.
fn contains(net: &str, ip: IpAddr) -> bool {
    let (base, bits) = net.split_once('/').unwrap_or((net, ""));
    let (Ok(base), bits) = (base.parse::<IpAddr>(), bits.parse::<u32>().ok()) else {
        return false;
    };
    let whole = !net.contains('/');
    match (base, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => bits
            .or(whole.then_some(32))
            .is_some_and(|bits| has_v4(ip, base, bits)),
        (IpAddr::V6(base), IpAddr::V6(ip)) => bits
            .or(whole.then_some(128))
            .is_some_and(|bits| has_v6(ip, base, bits)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn has_v4(ip: Ipv4Addr, base: Ipv4Addr, bits: u32) -> bool {
    let differs = u64::from(ip.to_bits() ^ base.to_bits());
    bits <= 32 && differs >> (32 - bits) == 0
}

fn has_v6(ip: Ipv6Addr, base: Ipv6Addr, bits: u32) -> bool {
    let differs = ip.to_bits() ^ base.to_bits();
    bits <= 128 && differs.checked_shr(128 - bits).unwrap_or(0) == 0
}

fn detailed(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    is_wanted: fn(&IpAddr) -> bool,
) -> Outcome {
    let Some(written) = argument(call, heap, site, 0).filter(|w| is_wanted(&w.ip)) else {
        return NO;
    };
    let name = match written.ip {
        IpAddr::V4(ip) => purpose(&V4, |&(base, bits, _)| has_v4(ip, base, bits)),
        IpAddr::V6(ip) => purpose(&V6, |&(base, bits, _)| has_v6(ip, base, bits)),
    };
    let value = heap.string(name.as_bytes());
    match site.arg(1).map(|arg| arg.write(call, heap, value)) {
        Some(Ok(())) if value != Value::Null => YES,
        _ => NO,
    }
}

/// The name of the first network of a table that has the address; the last has every one.
fn purpose<T>(
    table: &[(T, u32, &'static str)],
    has: impl Fn(&(T, u32, &'static str)) -> bool,
) -> &'static str {
    table.iter().find(|row| has(row)).map_or("", |row| row.2)
}

const fn v4(a: u8, b: u8, c: u8, bits: u32, name: &'static str) -> (Ipv4Addr, u32, &'static str) {
    (Ipv4Addr::new(a, b, c, 0), bits, name)
}

const V4: [(Ipv4Addr, u32, &str); 17] = [
    v4(0, 0, 0, 8, "PRIVATE"),
    v4(10, 0, 0, 8, "PRIVATE"),
    v4(100, 64, 0, 10, "SHARED"),
    v4(127, 0, 0, 8, "LOOPBACK"),
    v4(169, 254, 0, 16, "LINK-LOCAL"),
    v4(172, 16, 0, 12, "PRIVATE"),
    v4(192, 0, 0, 24, "RESERVED"),
    v4(192, 0, 2, 24, "TEST-NET"),
    v4(192, 88, 99, 24, "6TO4-RELAY"),
    v4(192, 168, 0, 16, "PRIVATE"),
    v4(198, 18, 0, 15, "RESERVED"),
    v4(198, 51, 100, 24, "TEST-NET"),
    v4(203, 0, 113, 24, "TEST-NET"),
    v4(224, 0, 0, 4, "MULTICAST"),
    (Ipv4Addr::BROADCAST, 32, "BROADCAST"),
    v4(240, 0, 0, 4, "RESERVED"),
    v4(0, 0, 0, 0, "PUBLIC"),
];

const fn v6(a: u16, b: u16, bits: u32, name: &'static str) -> (Ipv6Addr, u32, &'static str) {
    (Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), bits, name)
}

const V6: [(Ipv6Addr, u32, &str); 14] = [
    (Ipv6Addr::UNSPECIFIED, 128, "UNSPECIFIED"),
    (Ipv6Addr::LOCALHOST, 128, "LOOPBACK"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPV4MAP"),
    v6(0x100, 0, 64, "DISCARD"),
    v6(0x2001, 0, 32, "TEREDO"),
    v6(0x2001, 2, 48, "BMWG"),
    v6(0x2001, 0x10, 28, "ORCHID"),
    v6(0x2001, 0xdb8, 32, "DOCUMENTATION"),
    v6(0x2002, 0, 16, "6TO4"),
    v6(0xfc00, 0, 7, "UNIQUE-LOCAL-UNICAST"),
    v6(0xfe80, 0, 10, "LINK-LOCAL-UNICAST"),
    v6(0xff00, 0, 8, "MULTICAST"),
    v6(0x2000, 0, 3, "GLOBAL-UNICAST"),
    v6(0, 0, 0, "RESERVED"),
];

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, value};

    /// The codes of the six questions and of `ip_type`, then `is_ip_rfc1918`, then the texts.
    #[test]
    fn what_an_address_is() {
        let ask = "$var(a)=is_ip($var(x)); $var(b)=is_pure_ip($var(x)); $var(c)=is_ipv4($var(x));
             $var(d)=is_ipv6($var(x)); $var(e)=is_ipv6_reference($var(x));
             $var(f)=ip_type($var(x)); $var(g)=is_ip_rfc1918($var(x));
             detailed_ip_type($var(x), \"$avp(t)\"); detailed_ipv4_type($var(x), \"$avp(u)\");
             detailed_ipv6_type($var(x), \"$avp(v)\");";
        let format = "$var(a) $var(b) $var(c) $var(d) $var(e) $var(f) $var(g) $avp(t) $avp(u) \
                      $avp(v)";
        let table = [
            ("1.2.3.4", "1 1 1 -1 -1 1 -1 PUBLIC PUBLIC <null>"),
            ("10.1.2.3", "1 1 1 -1 -1 1 1 PRIVATE PRIVATE <null>"),
            ("172.31.255.255", "1 1 1 -1 -1 1 1 PRIVATE PRIVATE <null>"),
            ("::1", "1 1 -1 1 -1 2 -1 LOOPBACK <null> LOOPBACK"),
            ("[::1]", "1 -1 -1 -1 1 3 -1 LOOPBACK <null> LOOPBACK"),
            (
                "[2001:db8::1]",
                "1 -1 -1 -1 1 3 -1 DOCUMENTATION <null> DOCUMENTATION",
            ),
            ("256.1.1.1", "-1 -1 -1 -1 -1 -1 -1 <null> <null> <null>"),
            ("01.2.3.4", "-1 -1 -1 -1 -1 -1 -1 <null> <null> <null>"),
            ("[1.2.3.4]", "-1 -1 -1 -1 -1 -1 -1 <null> <null> <null>"),
            ("[::1", "-1 -1 -1 -1 -1 -1 -1 <null> <null> <null>"),
            ("abc", "-1 -1 -1 -1 -1 -1 -1 <null> <null> <null>"),
            ("", "-1 -1 -1 -1 -1 -1 -1 <null> <null> <null>"),
        ];
        for (text, want) in table {
            let statements = format!("$var(x) = \"{text}\"; {ask}");
            assert_eq!(value(&statements, format, INVITE), want, "{text}");
        }
    }

    #[test]
    fn what_an_address_is_for() {
        let table = [
            ("0.1.2.3", "PRIVATE"),
            ("9.255.255.255", "PUBLIC"),
            ("100.63.255.255", "PUBLIC"),
            ("100.64.0.1", "SHARED"),
            ("100.128.0.0", "PUBLIC"),
            ("169.254.1.1", "LINK-LOCAL"),
            ("192.0.0.255", "RESERVED"),
            ("192.0.1.0", "PUBLIC"),
            ("192.0.2.1", "TEST-NET"),
            ("192.88.99.1", "6TO4-RELAY"),
            ("198.19.255.255", "RESERVED"),
            ("198.51.100.1", "TEST-NET"),
            ("203.0.114.0", "PUBLIC"),
            ("239.255.255.255", "MULTICAST"),
            ("240.0.0.0", "RESERVED"),
            ("255.255.255.255", "BROADCAST"),
            ("::", "UNSPECIFIED"),
            ("::2", "RESERVED"),
            ("::ffff:1.2.3.4", "IPV4MAP"),
            ("100::1", "DISCARD"),
            ("100:0:0:1::1", "RESERVED"),
            ("2001::1", "TEREDO"),
            ("2001:2::1", "BMWG"),
            ("2001:10::1", "ORCHID"),
            ("2001:20::1", "GLOBAL-UNICAST"),
            ("2002::1", "6TO4"),
            ("2a00::1", "GLOBAL-UNICAST"),
            ("4000::1", "RESERVED"),
            ("fc00::1", "UNIQUE-LOCAL-UNICAST"),
            ("febf::1", "LINK-LOCAL-UNICAST"),
            ("fec0::1", "RESERVED"),
            ("ff02::1", "MULTICAST"),
        ];
        for (text, want) in table {
            let statements = format!("detailed_ip_type(\"{text}\", \"$avp(t)\");");
            assert_eq!(value(&statements, "$avp(t)", INVITE), want, "{text}");
        }
    }

    #[test]
    fn pairs_of_addresses() {
        let table = [
            ("compare_ips(\"1.2.3.4\", \"1.2.3.4\")", 1),
            ("compare_ips(\"1.2.3.4\", \"1.2.3.5\")", -1),
            ("compare_ips(\"::1\", \"0:0::1\")", 1),
            ("compare_ips(\"[::1]\", \"::1\")", 1),
            ("compare_ips(\"abc\", \"abc\")", -1),
            ("compare_ips(\"1.2.3.4\", \"::ffff:1.2.3.4\")", -1),
            ("compare_pure_ips(\"::1\", \"0:0::1\")", 1),
            ("compare_pure_ips(\"[::1]\", \"::1\")", -1),
            ("compare_pure_ips(\"[::1]\", \"[::1]\")", -1),
            ("is_in_subnet(\"10.1.2.3\", \"10.0.0.0/8\")", 1),
            ("is_in_subnet(\"11.1.2.3\", \"10.0.0.0/8\")", -1),
            ("is_in_subnet(\"10.1.2.3\", \"10.1.2.3\")", 1),
            ("is_in_subnet(\"10.1.2.3\", \"10.1.2.4\")", -1),
            ("is_in_subnet(\"10.1.2.3\", \"10.1.2.3/33\")", -1),
            ("is_in_subnet(\"10.1.2.3\", \"0.0.0.0/0\")", 1),
            ("is_in_subnet(\"10.1.2.3\", \"10.0.0.0/255.0.0.0\")", -1),
            ("is_in_subnet(\"10.1.2.3\", \"1.1.1.1/8, 10.0.0.0/8\")", 1),
            ("is_in_subnet(\"10.1.2.3\", \"abc\")", -1),
            ("is_in_subnet(\"::1\", \"::/64\")", 1),
            ("is_in_subnet(\"::1\", \"::/0\")", 1),
            ("is_in_subnet(\"[::1]\", \"::/64\")", -1),
            ("is_in_subnet(\"::1\", \"10.0.0.0/8\")", -1),
            ("is_in_subnet(\"2001:db8::5\", \"2001:db8::/32\")", 1),
        ];
        for (call, want) in table {
            let got = value(&format!("$var(r) = {call};"), "$var(r)", INVITE);
            assert_eq!(got, want.to_string(), "{call}");
        }
    }
}
