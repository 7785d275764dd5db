//! Where operators connect, as the parameters of `ctl` and `jsonrpcs` say it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of binary RPC.
pub const BINRPC_PORT: u16 = 2049;

/// One place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A unix socket that carries streams.
    Stream(Box<str>),
    /// A unix socket that carries datagrams.
    Datagram(Box<str>),
    /// UDP.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
    /// A pipe, and the directory in which each client makes one for its answers.
    Pipe {
        /// The pipe for requests.
        path: Box<str>,
        /// The directory.
        reply_dir: Box<str>,
    },
}

/// Who may use what is made in the file system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// The permissions.
    pub mode: u32,
    /// The owner; `None`: the process's own.
    pub user: Option<Box<str>>,
    /// The group; `None`: the process's own.
    pub group: Option<Box<str>>,
}

impl Place {
    /// `[unix|unixs|unixd|udp|tcp:]...`: a path alone is a stream, an address alone UDP. Relative
    /// paths lie in the run directory.
    pub fn parse(text: &str, run_dir: &str, port: Option<u16>) -> Option<Place> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind @ ("unix" | "unixs" | "unixd" | "udp" | "tcp"), rest)) => (kind, rest),
            _ if text.starts_with('/') => ("unix", text),
            _ => ("udp", text),
        };
        match kind {
            "unix" | "unixs" => Some(Place::Stream(below(run_dir, rest)?)),
            "unixd" => Some(Place::Datagram(below(run_dir, rest)?)),
            "tcp" => Some(Place::Tcp(address(rest, port)?)),
            _ => Some(Place::Udp(address(rest, port)?)),
        }
    }

    /// Whether other machines reach it.
    pub fn is_remote(&self) -> bool {
        match self {
            Place::Udp(at) | Place::Tcp(at) => !at.ip().is_loopback(),
            Place::Stream(_) | Place::Datagram(_) | Place::Pipe { .. } => false,
        }
    }

    /// Transport, address and port as `ctl.listen` tells them.
    pub fn words(&self) -> [String; 3] {
        match self {
            Place::Stream(path) => ["unix_stream".into(), path.to_string(), String::new()],
            Place::Datagram(path) => ["unix_dgram".into(), path.to_string(), String::new()],
            Place::Udp(at) => ["udp".into(), at.ip().to_string(), at.port().to_string()],
            Place::Tcp(at) => ["tcp".into(), at.ip().to_string(), at.port().to_string()],
            Place::Pipe { path, .. } => ["fifo".into(), path.to_string(), String::new()],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Stream(path) => write!(f, "unixs:{path}"),
            Place::Datagram(path) => write!(f, "unixd:{path}"),
            Place::Udp(at) => write!(f, "udp:{at}"),
            Place::Tcp(at) => write!(f, "tcp:{at}"),
            Place::Pipe { path, .. } => write!(f, "fifo:{path}"),
        }
    }
}

/// A path, absolute.
pub fn below(run_dir: &str, path: &str) -> Option<Box<str>> {
    match path {
        "" => None,
        _ if path.starts_with('/') => Some(path.into()),
        _ => Some(format!("{}/{path}", run_dir.trim_end_matches('/')).into()),
    }
}

/// `host[:port]`; the host is an address, `localhost`, or nothing or `*` for all.
fn address(text: &str, port: Option<u16>) -> Option<SocketAddr> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let bracket = text.find(']').map_or(0, |at| at + 1);
    let (host, port) = match text[bracket..].split_once(':') {
        Some((rest, digits)) => (&text[..bracket + rest.len()], digits.parse().ok()?),
        None => (text, port?),
    };
    let ip = match host.trim_matches(['[', ']']) {
        "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let table = [
            ("unix:/x/ctl", Some("unixs:/x/ctl")),
            ("unixs:ctl", Some("unixs:/run/d/ctl")),
            ("unixd:/x/ctl", Some("unixd:/x/ctl")),
            ("/x/ctl", Some("unixs:/x/ctl")),
            ("tcp:127.0.0.1:2046", Some("tcp:127.0.0.1:2046")),
            ("tcp:localhost", Some("tcp:127.0.0.1:2049")),
            ("udp:*:2050", Some("udp:0.0.0.0:2050")),
            ("udp:", Some("udp:0.0.0.0:2049")),
            ("127.0.0.1:2050", Some("udp:127.0.0.1:2050")),
            ("[::1]:2050", Some("udp:[::1]:2050")),
            ("tcp:[::1]", Some("tcp:[::1]:2049")),
            ("tcp:host.test:1", None),
            ("udp:1.2.3.4:99999", None),
            ("unix:", None),
        ];
        for (text, want) in table {
            let got = Place::parse(text, "/run/d/", Some(BINRPC_PORT)).map(|p| p.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
        assert_eq!(Place::parse("udp:1.2.3.4", "", None), None);
        let remote = |text| Place::parse(text, "", Some(1)).unwrap().is_remote();
        assert_eq!(
            ["udp:*", "tcp:10.0.0.1", "tcp:[::1]", "/x"].map(remote),
            [true, true, false, false]
        );
    }
}
