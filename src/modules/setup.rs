//! What all shards of a process have in common: addresses, parameters, the script.

use std::net::IpAddr;
use std::sync::Arc;

use crate::effect::{Address, Proto, SocketId};
use crate::script::Program;
use crate::sip::host;
use crate::time::WallTime;

use super::config::Config;

/// Made once from the configuration; a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many shards there are.
    pub shard_count: u16,
    /// The listening sockets, in the order of their `SocketId`.
    pub addresses: Vec<Address>,
    /// Global and module parameters.
    pub config: Config,
    /// The routes.
    pub program: Arc<Program>,
    /// When the process started; whoever has a clock sets it.
    pub started: WallTime,
}

impl Setup {
    /// Whether the configuration loads this module.
    pub fn is_loaded(&self, name: &str) -> bool {
        self.program
            .modules
            .iter()
            .any(|id| super::all()[usize::from(id.0)].name == name)
    }

    /// The listening address of this socket.
    pub fn address(&self, socket: SocketId) -> &Address {
        &self.addresses[usize::from(socket.0)]
    }

    /// Whether this host and port are ours: a listening or advertised address, or an alias. No
    /// port means 5060; an alias without one means every port.
    pub fn is_myself(&self, host: &[u8], port: Option<u16>) -> bool {
        let port = port.unwrap_or(Proto::Udp.default_port());
        let ip = host::ip(host);
        let is_address = |a: &Address| is_address(a, (host, ip), port);
        self.addresses.iter().any(is_address)
            || self.config.core.aliases.iter().any(|alias| {
                alias.host.as_bytes().eq_ignore_ascii_case(host)
                    && alias.port.is_none_or(|p| p == port)
            })
            || self.config.core.subdomains.iter().any(|(domain, own)| {
                own.is_none_or(|p| p == port) && is_within(host, domain.as_bytes())
            })
    }

    /// The socket of this host, port and transport (UDP when none is named).
    pub fn socket_named(
        &self,
        host: &[u8],
        port: Option<u16>,
        transport: Option<&[u8]>,
    ) -> Option<SocketId> {
        let proto = transport.map_or(Some(Proto::Udp), Proto::from_name)?;
        let port = port.unwrap_or(proto.default_port());
        let ip = host::ip(host);
        self.find(|a| a.proto == proto && is_address(a, (host, ip), port))
    }

    /// The socket to send from: the one the message came in by if it fits, else the first of the
    /// right transport and address family.
    pub fn socket_for(&self, proto: Proto, to: IpAddr, came_in: SocketId) -> Option<SocketId> {
        let fits = |a: &Address| a.proto == proto && a.local.is_ipv4() == to.is_ipv4();
        if fits(self.address(came_in)) {
            return Some(came_in);
        }
        // A host with several addresses keeps the one it was spoken to on.
        let same_ip = self.address(came_in).local.ip();
        self.find(|a| fits(a) && a.local.ip() == same_ip)
            .or_else(|| self.find(fits))
    }

    /// The socket of this transport with this address.
    pub fn socket_at(&self, proto: Proto, ip: IpAddr) -> Option<SocketId> {
        self.find(|a| a.proto == proto && a.local.ip() == ip)
    }

    /// The socket written as `[proto:]address[:port]`, as in `$fs` and `force_send_socket`.
    pub fn socket_written(&self, text: &[u8]) -> Option<SocketId> {
        find_written(&self.addresses, text)
    }

    /// The socket with this `name`.
    pub fn socket_called(&self, name: &[u8]) -> Option<SocketId> {
        self.find(|a| a.name.as_ref().is_some_and(|n| n.as_bytes() == name))
    }

    fn find(&self, fits: impl Fn(&Address) -> bool) -> Option<SocketId> {
        let index = self.addresses.iter().position(fits)?;
        Some(SocketId(index as u16))
    }
}

/// The one of these sockets that is written as `[proto:]address[:port]`.
pub(super) fn find_written(addresses: &[Address], text: &[u8]) -> Option<SocketId> {
    let text = std::str::from_utf8(text).ok()?;
    let (proto, place) = match text.split_once(':') {
        Some((name, rest)) => match Proto::from_name(name.as_bytes()) {
            Some(proto) => (Some(proto), rest),
            None => (None, text),
        },
        None => (None, text),
    };
    let bracket = place.find(']').map_or(0, |at| at + 1);
    let (host, port) = match place[bracket..].split_once(':') {
        Some((_, port)) => (
            &place[..place.len() - port.len() - 1],
            Some(port.parse().ok()?),
        ),
        None => (place, None),
    };
    let host = (host.as_bytes(), host::ip(host.as_bytes()));
    let fits = |a: &Address| {
        proto.is_none_or(|p| p == a.proto)
            && is_address(a, host, port.unwrap_or(a.proto.default_port()))
    };
    let index = addresses.iter().position(fits)?;
    Some(SocketId(index as u16))
}

/// Whether the host is the domain or of it.
fn is_within(host: &[u8], domain: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (before, end) = host.split_at(at);
    end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with(b"."))
}

/// Whether this is the address by its number, or as it is advertised. The host comes with the
/// address that it is, if it is one.
fn is_address(address: &Address, (host, ip): (&[u8], Option<IpAddr>), port: u16) -> bool {
    let is_local = port == address.local.port() && ip == Some(address.local.ip());
    let is_advertised = address
        .advertised
        .as_ref()
        .is_some_and(|(h, p)| *p == port && h.as_bytes().eq_ignore_ascii_case(host));
    is_local || is_advertised
}
