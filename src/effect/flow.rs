//! Where messages come from and go to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::text;

/// A transport protocol (RFC 3261 §18). TLS, WS and WSS are words of the language and the wire;
/// no socket of these kinds can be opened yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Proto {
    /// Datagrams.
    Udp,
    /// Plain streams.
    Tcp,
    /// Encrypted streams.
    Tls,
    /// SCTP.
    Sctp,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Proto {
    /// As in `transport=` parameters and socket names.
    pub const fn lower(self) -> &'static str {
        match self {
            Proto::Udp => "udp",
            Proto::Tcp => "tcp",
            Proto::Tls => "tls",
            Proto::Sctp => "sctp",
            Proto::Ws => "ws",
            Proto::Wss => "wss",
        }
    }

    /// As in Via.
    pub const fn upper(self) -> &'static str {
        match self {
            Proto::Udp => "UDP",
            Proto::Tcp => "TCP",
            Proto::Tls => "TLS",
            Proto::Sctp => "SCTP",
            Proto::Ws => "WS",
            Proto::Wss => "WSS",
        }
    }

    /// The protocol of this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Proto> {
        // Nearly all are written so.
        match name {
            b"UDP" | b"udp" => return Some(Proto::Udp),
            b"TCP" | b"tcp" => return Some(Proto::Tcp),
            _ => {}
        }
        [
            Proto::Udp,
            Proto::Tcp,
            Proto::Tls,
            Proto::Sctp,
            Proto::Ws,
            Proto::Wss,
        ]
        .into_iter()
        .find(|p| p.lower().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether the transport itself repeats what is lost: then transactions do not
    /// (RFC 3261 §17.1.1.2).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Proto::Udp)
    }

    /// The port that stands for none (RFC 3261 §18.1.1, §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Proto::Tls | Proto::Wss => 5061,
            _ => 5060,
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lower())
    }
}

/// Names one listening socket: its place in the list of `listen` addresses, the same on every core.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct SocketId(pub u16);

/// Names one connection of one core for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnId {
    /// The core whose table holds the connection.
    pub core: u16,
    /// Its generational key there, as [`crate::slab::Key::to_u64`] gives it.
    pub key: u64,
}

/// What a message came in on: a UDP five-tuple or a connection (RFC 5626 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// The listening socket that received it, or that accepted or lent its name to the connection.
    pub socket: SocketId,
    /// The transport.
    pub proto: Proto,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, on streams.
    pub conn: Option<ConnId>,
}

/// Where a message goes.
///
/// UDP: from `socket` to `remote`. Streams: on `conn` while it lives; else on any connection to
/// `remote`; else, unless `no_connect`, on a new one to `remote`, or to `fallback` when that is
/// given (a response whose connection is gone goes to the address of its Via, RFC 3261 §18.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The socket to send from; for a new connection, the one whose address it is to bear.
    pub socket: SocketId,
    /// The transport.
    pub proto: Proto,
    /// The address to send to.
    pub remote: SocketAddr,
    /// The connection to use if it still lives.
    pub conn: Option<ConnId>,
    /// Where to connect when neither `conn` nor a connection to `remote` is there.
    pub fallback: Option<SocketAddr>,
    /// Never open a connection for this message.
    pub no_connect: bool,
}

impl Destination {
    /// Back along the flow a message came in on.
    pub fn along(flow: Flow) -> Self {
        Destination {
            socket: flow.socket,
            proto: flow.proto,
            remote: flow.remote,
            conn: flow.conn,
            fallback: None,
            no_connect: false,
        }
    }

    /// To an address, from a socket.
    pub fn to(socket: SocketId, proto: Proto, remote: SocketAddr) -> Self {
        Destination {
            socket,
            proto,
            remote,
            conn: None,
            fallback: None,
            no_connect: false,
        }
    }
}

/// A listening address as the shards see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The transport.
    pub proto: Proto,
    /// The address it is bound to.
    pub local: SocketAddr,
    /// What the world is told instead (`advertise`): host and port.
    pub advertised: Option<(Box<str>, u16)>,
    /// Its `name` in the configuration.
    pub name: Option<Box<str>>,
}

impl Address {
    /// The host to write into Via and Record-Route: advertised if there is one, brackets around
    /// an IPv6 address.
    pub fn sent_by_host(&self) -> String {
        match &self.advertised {
            Some((host, _)) => host.to_string(),
            None => bracketed(self.local.ip()),
        }
    }

    /// Appends that host.
    pub fn push_sent_by_host(&self, out: &mut Vec<u8>) {
        match &self.advertised {
            Some((host, _)) => out.extend_from_slice(host.as_bytes()),
            None => text::push_host(out, self.local.ip()),
        }
    }

    /// The port to write there.
    pub fn sent_by_port(&self) -> u16 {
        self.advertised
            .as_ref()
            .map_or(self.local.port(), |(_, port)| *port)
    }
}

impl fmt::Display for Address {
    /// `udp:127.0.0.1:5060`, the form of socket names in variables and database columns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.proto,
            bracketed(self.local.ip()),
            self.local.port()
        )
    }
}

/// An address as it stands in a URI: IPv6 in brackets.
pub fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}
