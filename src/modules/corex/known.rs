//! Records of names that the configuration knows in advance (`dns_cache`).

use std::net::IpAddr;

use crate::modules::ParamError;

/// The type of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KnownKind {
    /// `A`.
    Ipv4,
    /// `AAAA`.
    Ipv6,
    /// `SRV`.
    Server,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownRecord {
    /// Its type.
    pub kind: KnownKind,
    /// The name that it is about.
    pub name: Box<str>,
    /// The address, or the host of the server.
    pub target: Box<str>,
    /// Of a server: lower ones come first.
    pub priority: u16,
    /// Of a server: its share among those of one priority.
    pub weight: u16,
    /// Of a server: its port.
    pub port: u16,
    /// For how many seconds from the start it holds; `None`: for ever.
    pub ttl_s: Option<u64>,
    /// It says that the name has no such record.
    pub is_unknown: bool,
}

impl KnownRecord {
    /// Whether it holds when the process is so old.
    pub fn holds_at(&self, age_s: u64) -> bool {
        self.ttl_s.is_none_or(|ttl_s| age_s < ttl_s)
    }
}

const WANTED: ParamError =
    ParamError("type=A|AAAA|SRV;name=..;addr=..[;ttl=..;port=..;priority=..;weight=..;flags=..]");

/// `type=A;name=h.test;addr=192.0.2.1;ttl=60;flags=0`. Flags: 1 the name has no such record, 2 it
/// holds for ever.
pub(super) fn parse(text: &str) -> Result<KnownRecord, ParamError> {
    let value = |name: &str| {
        let mut all = text.split(';').filter_map(|part| part.split_once('='));
        let found = all.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    };
    let number = |name: &str| match value(name) {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| WANTED),
        None => Ok(None),
    };
    let small = |name: &str| match number(name)? {
        Some(n) => u16::try_from(n).map_err(|_| WANTED),
        None => Ok(0),
    };
    let kind = match value("type").map(str::to_ascii_uppercase).as_deref() {
        Some("A") => KnownKind::Ipv4,
        Some("AAAA") => KnownKind::Ipv6,
        Some("SRV") => KnownKind::Server,
        Some(_) | None => return Err(WANTED),
    };
    let flags = number("flags")?.unwrap_or(0);
    let is_unknown = flags & 1 != 0;
    let target = value("addr").unwrap_or_default();
    let ip = target.parse::<IpAddr>();
    let is_target = match kind {
        _ if is_unknown => true,
        KnownKind::Ipv4 => ip.is_ok_and(|ip| ip.is_ipv4()),
        KnownKind::Ipv6 => ip.is_ok_and(|ip| ip.is_ipv6()),
        KnownKind::Server => !target.is_empty() && !target.contains(char::is_whitespace),
    };
    let name = value("name").filter(|n| !n.is_empty() && !n.contains(char::is_whitespace));
    let name = name.filter(|_| is_target).ok_or(WANTED)?;
    let is_permanent = flags & 2 != 0;
    Ok(KnownRecord {
        kind,
        name: name.trim_end_matches('.').into(),
        target: target.into(),
        priority: small("priority")?,
        weight: small("weight")?,
        port: small("port")?,
        ttl_s: number("ttl")?.filter(|_| !is_permanent),
        is_unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_as_people_write_them() {
        let address = KnownRecord {
            kind: KnownKind::Ipv4,
            name: "h.test".into(),
            target: "192.0.2.1".into(),
            priority: 0,
            weight: 0,
            port: 0,
            ttl_s: Some(60),
            is_unknown: false,
        };
        let text = "type=A;name=h.test.;addr=192.0.2.1;ttl=60;flags=0";
        assert_eq!(parse(text), Ok(address.clone()));
        assert!(address.holds_at(59) && !address.holds_at(60));
        let permanent = parse("type=a;name=h.test;addr=192.0.2.1;ttl=60;flags=2").unwrap();
        assert!(permanent.holds_at(u64::MAX));
        let text =
            "type=SRV; name=_sip._udp.h.test; addr=a.h.test; port=5070; priority=10; weight=5";
        let server = parse(text).unwrap();
        let numbers = (server.priority, server.weight, server.port);
        assert_eq!((&*server.target, numbers), ("a.h.test", (10, 5, 5070)));
        assert!(parse("type=AAAA;name=h.test;flags=1").unwrap().is_unknown);
        for text in [
            "",
            "type=A;name=h.test",
            "type=A;name=h.test;addr=::1",
            "type=AAAA;name=h.test;addr=192.0.2.1",
            "type=MX;name=h.test;addr=192.0.2.1",
            "type=A;addr=192.0.2.1",
            "type=A;name=h.test;addr=192.0.2.1;ttl=x",
            "type=SRV;name=h.test;addr=h;port=70000",
        ] {
            assert_eq!(parse(text), Err(WANTED), "{text}");
        }
    }
}
