//! Names and addresses that scripts look up. The script waits for the answer, other calls go on.
//!
//! What was found stays in the core under the name that the script has given it, until the same
//! name is asked for again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::effect::name::{Pointer, Server};
use crate::effect::{Lookup, NameRecord, ResolveError};
use crate::limits::{LOOKUP_RECORD_COUNT_MAX, LOOKUP_RESULT_COUNT_MAX};
use crate::modules::entry::{NO, YES, alias, function, keyed, text_of, truth, word};
use crate::modules::work::{Ask, Bytes};
use crate::modules::{Call, Function, Variable};
use crate::script::{Access, CallSite, Heap, InnerKind, Outcome, ParamKind, RouteKinds, Value};

const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;

/// The return codes of the original besides -1: what is no address, and a name that nobody knows.
const NO_ADDRESS: i64 = -3;
const UNKNOWN: i64 = -4;

/// What a script wants with the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To know whether the name has this address.
    Match(IpAddr),
    /// To read it in variables, under this name.
    Keep(Kind, Bytes),
}

/// Which variable shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// `$dns`.
    Addresses,
    /// `$ptr`.
    Names,
    /// `$srvquery`.
    Servers,
    /// `$naptrquery`.
    Pointers,
}

/// What was found, by what scripts call it.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<(Kind, Box<[u8]>), Vec<NameRecord>>);

impl Names {
    fn keep(&mut self, kind: Kind, name: &[u8], mut records: Vec<NameRecord>) {
        let key = (kind, name.into());
        if self.0.len() >= LOOKUP_RESULT_COUNT_MAX && !self.0.contains_key(&key) {
            self.0.pop_first();
        }
        records.truncate(LOOKUP_RECORD_COUNT_MAX);
        self.0.insert(key, records);
    }

    fn forget(&mut self, kind: Kind, name: &[u8]) {
        self.0.remove(&(kind, name.into()));
    }

    fn get(&self, kind: Kind, name: &[u8]) -> Option<&[NameRecord]> {
        self.0.get(&(kind, name.into())).map(Vec::as_slice)
    }
}

/// The answer is there: the return code of the function that has asked.
pub fn looked(
    names: &mut Names,
    lookup: &Lookup,
    purpose: Purpose,
    found: Result<Vec<NameRecord>, ResolveError>,
) -> i64 {
    match (purpose, found) {
        (Purpose::Match(ip), Ok(records)) if !records.is_empty() => {
            let has = records.contains(&NameRecord::Address(ip));
            if has { 1 } else { -1 }
        }
        (Purpose::Match(_), Ok(_) | Err(_)) => UNKNOWN,
        (Purpose::Keep(kind, name), Ok(records)) => {
            // A host without an address is unknown, a domain without services is not.
            let is_host = matches!(lookup, Lookup::Addresses(_) | Lookup::Names(_));
            if is_host && records.is_empty() {
                names.forget(kind, &name);
                return UNKNOWN;
            }
            names.keep(kind, &name, records);
            1
        }
        (Purpose::Keep(kind, name), Err(ResolveError::NotFound)) => {
            match kind {
                Kind::Addresses | Kind::Names => {
                    names.forget(kind, &name);
                    return UNKNOWN;
                }
                Kind::Servers | Kind::Pointers => names.keep(kind, &name, Vec::new()),
            }
            1
        }
        (Purpose::Keep(kind, name), Err(ResolveError::TimedOut)) => {
            names.forget(kind, &name);
            UNKNOWN
        }
    }
}

pub(super) const FUNCTIONS: [Function; 7] = [
    function(
        "dns_sys_match_ip",
        &[TEXT, TEXT],
        ANY,
        (
            matches,
            "Whether a name has the address; -3 it is none, -4 nobody knows the name.",
        ),
    ),
    function(
        "dns_int_match_ip",
        &[TEXT, TEXT],
        ANY,
        (matches, "The same."),
    ),
    function(
        "dns_query",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| query(c, h, s, Kind::Addresses),
            "Looks the addresses of a name up, for $dns; -4 nobody knows it.",
        ),
    ),
    function(
        "ptr_query",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| query(c, h, s, Kind::Names),
            "Looks the name of an address up, for $ptr; -4 it has none.",
        ),
    ),
    function(
        "srv_query",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| query(c, h, s, Kind::Servers),
            "Looks the servers of a service up, for $srvquery.",
        ),
    ),
    function(
        "naptr_query",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| query(c, h, s, Kind::Pointers),
            "Looks the services of a domain up, for $naptrquery.",
        ),
    ),
    function(
        "dns_set_local_ttl",
        &[ParamKind::Int],
        ANY,
        (
            |_, _, _| YES,
            "No effect: answers are kept for as long as they say.",
        ),
    ),
];

const PTR: Variable = keyed(
    "ptr",
    InnerKind::Name,
    |c, h, a| read(c, h, a, Kind::Names),
    "What ptr_query found: id=>count, hostname[i].",
);

pub(super) const VARIABLES: [Variable; 6] = [
    keyed(
        "dns",
        InnerKind::Name,
        |c, h, a| read(c, h, a, Kind::Addresses),
        "What dns_query found: id=>count, ipv4, ipv6, addr[i], type[i].",
    ),
    PTR,
    alias(PTR, "ptrquery"),
    keyed(
        "srvquery",
        InnerKind::Name,
        |c, h, a| read(c, h, a, Kind::Servers),
        "What srv_query found: id=>count, port[i], priority[i], target[i], weight[i].",
    ),
    keyed(
        "naptrquery",
        InnerKind::Name,
        |c, h, a| read(c, h, a, Kind::Pointers),
        "What naptr_query found: id=>count, order[i], pref[i], flags[i], services[i], regex[i], \
         replace[i].",
    ),
    keyed(
        "HN",
        InnerKind::OneOf(&["n", "f", "d", "i"]),
        host,
        "This host: its name, full name, domain, address.",
    ),
];

fn host(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let host = &call.env.state.setup.config.host;
    let part = match word(access) {
        0 => &host.name,
        1 => &host.full_name,
        2 => &host.domain,
        _ => &host.address,
    };
    match part.is_empty() {
        true => Value::Null,
        false => heap.string(part.as_bytes()),
    }
}

/// The text as a name that can be asked for.
fn name(text: &[u8]) -> Option<Box<str>> {
    const SIZE_MAX: usize = 255;
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let is_name = (1..=SIZE_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    is_name.then(|| text.into())
}

fn matches(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (host, address) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(host), Some(address)) = (host.as_deref().and_then(name), address) else {
        return NO;
    };
    let Some(ip) = super::parse(&address).map(|written| written.ip) else {
        return Outcome::Return(NO_ADDRESS);
    };
    match super::parse(host.as_bytes()) {
        Some(written) => truth(written.ip == ip),
        None => call.ask(Ask::Lookup(
            Box::new(Lookup::Addresses(host)),
            Purpose::Match(ip),
        )),
    }
}

fn query(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    let (asked, id) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(asked), Some(id)) = (asked.as_deref().and_then(name), id) else {
        return NO;
    };
    let address = super::parse(asked.as_bytes()).map(|written| written.ip);
    let lookup = match (kind, address) {
        (Kind::Addresses, Some(ip)) => {
            let names = &mut call.env.state.stores.names;
            names.keep(kind, &id, vec![NameRecord::Address(ip)]);
            return YES;
        }
        (Kind::Names, None) => return Outcome::Return(NO_ADDRESS),
        (Kind::Names, Some(ip)) => Lookup::Names(ip),
        (Kind::Addresses, None) => Lookup::Addresses(asked),
        (Kind::Servers, _) => Lookup::Servers(asked),
        (Kind::Pointers, _) => Lookup::Pointers(asked),
    };
    call.ask(Ask::Lookup(Box::new(lookup), Purpose::Keep(kind, id)))
}

/// `id=>key[index]`; a negative index counts from the end.
fn path(text: &[u8]) -> Option<(&[u8], &[u8], i64)> {
    let at = memchr::memmem::find(text, b"=>")?;
    let (id, rest) = (text[..at].trim_ascii(), text[at + 2..].trim_ascii());
    match memchr::memchr(b'[', rest) {
        None => Some((id, rest, 0)),
        Some(open) => {
            let digits = rest[open + 1..].strip_suffix(b"]")?;
            let index = crate::script::parse_int(digits.trim_ascii())?;
            Some((id, rest[..open].trim_ascii(), index))
        }
    }
}

fn read(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>, kind: Kind) -> Value {
    let text = heap.bytes(access.key.text()).to_vec();
    let Some((id, key, index)) = path(&text) else {
        return Value::Null;
    };
    let found = call.env.state.stores.names.get(kind, id);
    let records = match (found, kind) {
        (Some(records), _) => records,
        (None, Kind::Servers | Kind::Pointers) => &[],
        (None, Kind::Addresses | Kind::Names) => return Value::Null,
    };
    if key == b"count" {
        return Value::Int(records.len() as i64);
    }
    let has = |is_it: fn(&IpAddr) -> bool| {
        let is_one = |r: &NameRecord| matches!(r, NameRecord::Address(ip) if is_it(ip));
        Value::Int(records.iter().any(is_one).into())
    };
    match (kind, key) {
        (Kind::Addresses, b"ipv4") => return has(IpAddr::is_ipv4),
        (Kind::Addresses, b"ipv6") => return has(IpAddr::is_ipv6),
        _ => {}
    }
    let index = match index {
        0.. => index,
        _ => index + records.len() as i64,
    };
    let record = usize::try_from(index).ok().and_then(|at| records.get(at));
    record.map_or(Value::Null, |record| field(heap, record, key))
}

fn field(heap: &mut Heap, record: &NameRecord, key: &[u8]) -> Value {
    match record {
        NameRecord::Address(ip) => match key {
            b"addr" => heap.string(ip.to_string().as_bytes()),
            b"type" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
            _ => Value::Null,
        },
        NameRecord::Name(name) => match key {
            b"hostname" => heap.string(name.as_bytes()),
            _ => Value::Null,
        },
        NameRecord::Server(server) => server_field(heap, server, key),
        NameRecord::Pointer(pointer) => pointer_field(heap, pointer, key),
    }
}

fn server_field(heap: &mut Heap, server: &Server, key: &[u8]) -> Value {
    match key {
        b"port" => Value::Int(server.port.into()),
        b"priority" => Value::Int(server.priority.into()),
        b"weight" => Value::Int(server.weight.into()),
        b"target" => heap.string(server.target.as_bytes()),
        _ => Value::Null,
    }
}

fn pointer_field(heap: &mut Heap, pointer: &Pointer, key: &[u8]) -> Value {
    match key {
        b"order" => Value::Int(pointer.order.into()),
        b"pref" => Value::Int(pointer.preference.into()),
        b"flags" => heap.string(&pointer.flags),
        b"services" => heap.string(&pointer.services),
        b"regex" => heap.string(&pointer.regexp),
        b"replace" => heap.string(pointer.replacement.as_bytes()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample::{INVITE, run, value};

    #[test]
    fn what_is_asked() {
        let table = [
            (
                "dns_query(\"h.test\", \"a\")",
                Lookup::Addresses("h.test".into()),
            ),
            (
                "dns_int_match_ip(\"h.test\", \"192.0.2.1\")",
                Lookup::Addresses("h.test".into()),
            ),
            (
                "ptr_query(\"192.0.2.1\", \"a\")",
                Lookup::Names("192.0.2.1".parse().unwrap()),
            ),
            (
                "srv_query(\"_sip._udp.h.test\", \"a\")",
                Lookup::Servers("_sip._udp.h.test".into()),
            ),
            (
                "naptr_query(\"h.test\", \"a\")",
                Lookup::Pointers("h.test".into()),
            ),
        ];
        for (call, want) in table {
            let ran = run(&format!("{call};"), INVITE);
            assert_eq!(ran.end, None, "{call}");
            let asked = ran.work.ask.expect("it waits");
            assert!(
                matches!(&asked, Ask::Lookup(lookup, _) if **lookup == want),
                "{call}: {asked:?}"
            );
        }
    }

    #[test]
    fn what_nobody_needs_to_be_asked() {
        let table = [
            ("dns_sys_match_ip(\"192.0.2.1\", \"192.0.2.1\")", "1"),
            ("dns_sys_match_ip(\"[::1]\", \"0:0::1\")", "1"),
            ("dns_sys_match_ip(\"192.0.2.1\", \"192.0.2.2\")", "-1"),
            ("dns_sys_match_ip(\"h.test\", \"nonsense\")", "-3"),
            ("dns_sys_match_ip(\"\", \"192.0.2.1\")", "-1"),
            ("dns_query(\"two words\", \"a\")", "-1"),
            ("ptr_query(\"h.test\", \"a\")", "-3"),
            ("dns_query(\"192.0.2.7\", \"a\")", "1"),
            ("dns_set_local_ttl(5)", "1"),
        ];
        for (call, want) in table {
            let got = value(&format!("$var(r) = {call};"), "$var(r)", INVITE);
            assert_eq!(got, want, "{call}");
        }
        let shown = value(
            "dns_query(\"192.0.2.7\", \"a\");",
            "$dns(a=>count) $dns(a=>ipv4) $dns(a=>ipv6) $dns(a=>addr) $dns(a=>type[0]) \
             $dns(a=>addr[1]) $dns(a=>addr[-1]) $dns(a=>nothing) $dns(b=>count) $dns(a)",
            INVITE,
        );
        assert_eq!(
            shown,
            "1 1 0 192.0.2.7 4 <null> 192.0.2.7 <null> <null> <null>"
        );
        let before = value(
            "",
            "$srvquery(a=>count) $naptrquery(a=>count) $ptr(a=>count)",
            INVITE,
        );
        assert_eq!(before, "0 0 <null>");
    }

    #[test]
    fn what_comes_of_an_answer() {
        let host = Lookup::Addresses("h.test".into());
        let service = Lookup::Servers("_sip._udp.h.test".into());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let here = || Ok(vec![NameRecord::Address(ip("192.0.2.1"))]);
        let is = |address: &str| Purpose::Match(ip(address));
        let keep = |kind| Purpose::Keep(kind, Bytes::from(&b"a"[..]));
        let (unknown, late) = (ResolveError::NotFound, ResolveError::TimedOut);
        let table = [
            (&host, is("192.0.2.1"), here(), 1, None),
            (&host, is("192.0.2.2"), here(), -1, None),
            (&host, is("192.0.2.1"), Ok(vec![]), -4, None),
            (&host, is("192.0.2.1"), Err(unknown), -4, None),
            (&host, is("192.0.2.1"), Err(late), -4, None),
            (&host, keep(Kind::Addresses), here(), 1, Some(1)),
            (&host, keep(Kind::Addresses), Err(unknown), -4, None),
            (&host, keep(Kind::Addresses), Ok(vec![]), -4, None),
            (&service, keep(Kind::Servers), Ok(vec![]), 1, Some(0)),
            (&service, keep(Kind::Servers), Err(unknown), 1, Some(0)),
            (&service, keep(Kind::Servers), Err(late), -4, None),
        ];
        for (lookup, purpose, found, code, kept) in table {
            let mut names = Names::default();
            // What was known before does not outlive a failure.
            names.keep(Kind::Servers, b"a", vec![]);
            names.keep(Kind::Addresses, b"a", vec![]);
            let shown = format!("{lookup:?} {purpose:?} {found:?}");
            let kind = match &purpose {
                Purpose::Keep(kind, _) => Some(*kind),
                Purpose::Match(_) => None,
            };
            assert_eq!(looked(&mut names, lookup, purpose, found), code, "{shown}");
            let count = kind.and_then(|kind| names.get(kind, b"a").map(<[_]>::len));
            assert_eq!(count, kept, "{shown}");
        }
    }

    #[test]
    fn results_have_a_bound() {
        let mut names = Names::default();
        let record = NameRecord::Name("h".into());
        for n in 0..LOOKUP_RESULT_COUNT_MAX + 5 {
            let many = vec![record.clone(); LOOKUP_RECORD_COUNT_MAX + 1];
            names.keep(Kind::Names, n.to_string().as_bytes(), many);
        }
        assert_eq!(names.0.len(), LOOKUP_RESULT_COUNT_MAX);
        let kept = names.0.values().all(|r| r.len() == LOOKUP_RECORD_COUNT_MAX);
        assert!(kept);
    }

    #[test]
    fn paths() {
        type Path<'a> = Option<(&'a str, &'a str, i64)>;
        let table: [(&str, Path<'_>); 6] = [
            ("a=>count", Some(("a", "count", 0))),
            ("a=>addr[2]", Some(("a", "addr", 2))),
            ("a =>addr [-1]", Some(("a", "addr", -1))),
            ("a=>addr[x]", None),
            ("a=>addr[1", None),
            ("a", None),
        ];
        for (text, want) in table {
            let want = want.map(|(id, key, at)| (id.as_bytes(), key.as_bytes(), at));
            assert_eq!(path(text.as_bytes()), want, "{text}");
        }
    }
}
