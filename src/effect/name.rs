//! What scripts ask the name servers, and what they answer.

use std::net::IpAddr;

/// A question of a script about a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// The addresses of a host.
    Addresses(Box<str>),
    /// The names of an address.
    Names(IpAddr),
    /// The servers of a service, as `_sip._udp.example.com` (RFC 2782).
    Servers(Box<str>),
    /// The services of a domain (RFC 3403).
    Pointers(Box<str>),
}

/// One record that answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameRecord {
    /// An address.
    Address(IpAddr),
    /// A host name.
    Name(Box<str>),
    /// A server.
    Server(Server),
    /// A service.
    Pointer(Pointer),
}

/// A server of a service (RFC 2782).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Lower ones come first.
    pub priority: u16,
    /// Its share among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: Box<str>,
}

/// A service of a domain (RFC 3403 §4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// Lower ones come first.
    pub order: u16,
    /// Among those of one order, lower ones come first.
    pub preference: u16,
    /// What is to be done with the result.
    pub flags: Box<[u8]>,
    /// The service.
    pub services: Box<[u8]>,
    /// How the name is rewritten.
    pub regexp: Box<[u8]>,
    /// The next name, when it is not rewritten.
    pub replacement: Box<str>,
}
