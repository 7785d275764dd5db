//! The file of destinations: `setid uri [flags [priority [attributes]]]`, one to a line.
//!
//! Within a set the higher priority stands first; among equals the later line does, as in the
//! original. A line that cannot be used is left out and complained about; the others count.

use std::net::IpAddr;
use std::ops::Range;

use crate::effect::{Proto, SocketId};
use crate::limits::DESTINATION_COUNT_MAX;
use crate::modules::setup::Setup;
use crate::sip::Uri;

/// Bits of a destination's state, as in the file and in `dispatcher.set_state`.
pub mod flag {
    /// Pings or calls have failed: not used.
    pub const INACTIVE: u32 = 1;
    /// One has failed, not yet enough of them.
    pub const TRYING: u32 = 2;
    /// The operator does not want it used.
    pub const DISABLED: u32 = 4;
    /// It is pinged.
    pub const PROBING: u32 = 8;
    /// Its name is not looked up: no source address is one of it.
    pub const NO_DNS: u32 = 16;
    /// It is never pinged.
    pub const NO_PING: u32 = 32;
    /// Those that change while the program runs.
    pub const STATE: u32 = INACTIVE | TRYING | DISABLED | PROBING;
}

/// Attributes with a meaning, and all as written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attrs {
    /// As written.
    pub body: Box<[u8]>,
    /// `duid`: a name for call load.
    pub duid: Option<Box<[u8]>>,
    /// `maxload`: calls at a time; 0: any number.
    pub max_load: u32,
    /// `weight`, for algorithm 9: 1 to 100, else 0.
    pub weight: u32,
    /// `rweight`, for algorithm 11: 1 to 100, else 0.
    pub relative_weight: u32,
    /// `cc`: algorithms 11 and 13 go by how much slower than usual it answers.
    pub counts_congestion: bool,
    /// `latency`: milliseconds that it is known to take.
    pub latency: Option<u32>,
    /// `socket` as written.
    pub socket: Option<Box<[u8]>>,
    /// `sockname` as written.
    pub socket_name: Option<Box<[u8]>>,
    /// `obproxy`: where pings go instead.
    pub outbound_proxy: Option<Box<[u8]>>,
    /// `ping_from`.
    pub ping_from: Option<Box<[u8]>>,
}

/// One destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// Its set.
    pub set: i64,
    /// Its URI.
    pub uri: Box<[u8]>,
    /// The flags of the file.
    pub flags: u32,
    /// The higher, the sooner.
    pub priority: i64,
    /// Its attributes.
    pub attrs: Attrs,
    /// The socket to send from, of `socket` or `sockname`.
    pub socket: Option<SocketId>,
    /// The address, when the URI has a numeric one.
    pub ip: Option<IpAddr>,
    /// The name that is to be looked up, when it has none.
    pub host: Option<Box<str>>,
    /// The port that the URI names.
    pub written_port: Option<u16>,
    /// The port of the URI, or the one that stands for none.
    pub port: u16,
    /// The transport, when the URI names one.
    pub proto: Option<Proto>,
}

/// All sets, the destinations of each in the order of preference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sets {
    destinations: Vec<Destination>,
    /// Whether one of them has a name that is looked up.
    has_names: bool,
    sets: Vec<(i64, Range<usize>)>,
}

impl Sets {
    /// All destinations, set by set.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Whether one of them has a name that is looked up.
    pub(super) fn has_names(&self) -> bool {
        self.has_names
    }

    /// The sets by number, with the places of their destinations.
    pub fn sets(&self) -> &[(i64, Range<usize>)] {
        &self.sets
    }

    /// The places of a set's destinations.
    pub fn set(&self, id: i64) -> Option<Range<usize>> {
        let at = self.sets.binary_search_by_key(&id, |(set, _)| *set).ok()?;
        Some(self.sets[at].1.clone())
    }

    /// The place of a destination.
    pub fn place(&self, set: i64, uri: &[u8]) -> Option<usize> {
        self.set(set)?
            .find(|at| *self.destinations[*at].uri == *uri)
    }

    /// The same with the destination of one more line of a list; what it names stands in front of
    /// its equals.
    pub(super) fn with(&self, line: &[u8], setup: &Setup) -> Result<Sets, &'static str> {
        if self.destinations.len() >= DESTINATION_COUNT_MAX {
            return Err("there are too many destinations");
        }
        let added = destination(line, setup)?;
        // In the order of a file, whose later lines come first.
        let mut lines: Vec<Destination> = self.destinations.iter().rev().cloned().collect();
        lines.push(added);
        Ok(Sets::from_lines(lines))
    }

    /// The same without every destination of a set that has this URI.
    pub(super) fn without(&self, set: i64, uri: &[u8]) -> Sets {
        let is_kept = |d: &&Destination| d.set != set || *d.uri != *uri;
        let lines = self.destinations.iter().rev().filter(is_kept);
        Sets::from_lines(lines.cloned().collect())
    }

    fn from_lines(mut destinations: Vec<Destination>) -> Sets {
        destinations.reverse();
        // Stable: what came later in the file stays in front of its equals.
        destinations.sort_by_key(|d| (d.set, std::cmp::Reverse(d.priority)));
        let mut sets: Vec<(i64, Range<usize>)> = Vec::new();
        for (at, destination) in destinations.iter().enumerate() {
            match sets.last_mut() {
                Some((id, range)) if *id == destination.set => range.end = at + 1,
                Some(_) | None => sets.push((destination.set, at..at + 1)),
            }
        }
        Sets {
            has_names: destinations.iter().any(|d| d.host.is_some()),
            destinations,
            sets,
        }
    }
}

/// A line that is left out, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads a list. `setup` knows the sockets.
pub fn parse(text: &[u8], setup: &Setup) -> (Sets, Vec<Complaint>) {
    let (mut destinations, mut complaints) = (Vec::new(), Vec::new());
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let found = if destinations.len() < DESTINATION_COUNT_MAX {
            destination(line, setup)
        } else {
            Err("there are too many destinations")
        };
        match found {
            Ok(destination) => destinations.push(destination),
            Err(what) => complaints.push(Complaint {
                line: index + 1,
                what,
            }),
        }
    }
    (Sets::from_lines(destinations), complaints)
}

fn destination(line: &[u8], setup: &Setup) -> Result<Destination, &'static str> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty());
    let set = number(words.next()).ok_or("the number of the set is missing")?;
    let uri = words.next().ok_or("the URI is missing")?;
    let flags = match words.next() {
        Some(word) => number(Some(word)).ok_or("the flags are no number")?,
        None => 0,
    };
    let priority = match words.next() {
        Some(word) => number(Some(word)).ok_or("the priority is no number")?,
        None => 0,
    };
    let none: &[u8] = if setup.config.dispatcher.attrs_none {
        b"none=yes"
    } else {
        b""
    };
    let attrs = attrs(words.next().unwrap_or(none));
    let parsed = Uri::parse(uri).map_err(|_| "the URI cannot be read")?;
    let socket = match (&attrs.socket, &attrs.socket_name) {
        (Some(text), _) => Some(
            setup
                .socket_written(text)
                .ok_or("there is no such socket")?,
        ),
        (None, Some(name)) => Some(
            setup
                .socket_called(name)
                .ok_or("there is no socket of that name")?,
        ),
        (None, None) => None,
    };
    let proto = parsed.transport().and_then(Proto::from_name);
    let default_port = proto.unwrap_or(Proto::Udp).default_port();
    Ok(Destination {
        set,
        uri: uri.into(),
        flags: u32::try_from(flags).map_err(|_| "the flags are no number")?,
        priority,
        socket,
        ip: parsed.host_ip(),
        host: host(&parsed, flags),
        written_port: parsed.port,
        port: parsed.port.unwrap_or(default_port),
        proto,
        attrs,
    })
}

/// The name to look up; none for an address, and where the flags say so.
fn host(uri: &Uri<'_>, flags: i64) -> Option<Box<str>> {
    let is_wanted = uri.host_ip().is_none() && flags & i64::from(flag::NO_DNS) == 0;
    let name = std::str::from_utf8(uri.host).ok()?;
    is_wanted.then(|| name.into())
}

fn number(word: Option<&[u8]>) -> Option<i64> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

/// `name=value` pairs between semicolons.
fn attrs(body: &[u8]) -> Attrs {
    let mut attrs = Attrs {
        body: body.into(),
        ..Attrs::default()
    };
    for pair in body.split(|b| *b == b';') {
        let Some(equals) = pair.iter().position(|b| *b == b'=') else {
            continue;
        };
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let count = || {
            number(Some(value))
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0)
        };
        let share = || Some(count()).filter(|n| (1..=100).contains(n)).unwrap_or(0);
        match name {
            b"duid" => attrs.duid = Some(value.into()),
            b"maxload" => attrs.max_load = count(),
            b"weight" => attrs.weight = share(),
            b"rweight" => attrs.relative_weight = share(),
            b"cc" => attrs.counts_congestion = count() != 0,
            b"latency" => attrs.latency = Some(count()),
            b"socket" => attrs.socket = Some(value.into()),
            b"sockname" => attrs.socket_name = Some(value.into()),
            b"obproxy" => attrs.outbound_proxy = Some(value.into()),
            b"ping_from" => attrs.ping_from = Some(value.into()),
            _ => {}
        }
    }
    attrs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        let text =
            "#!KAMAILIO\nlisten=udp:192.0.2.100:5060 name \"out\"\nrequest_route { exit; }\n";
        Setup::from_text(text, 1).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_order_is_that_of_the_original() {
        let text = b"# comment\n\
            1 sip:127.0.0.1:17071 0 0\n\
            1 sip:127.0.0.1:17072 0 0 duid=two;weight=30;x=y\n\
            \n\
            1\tsip:127.0.0.1:17073;transport=udp\r\n\
            1 sip:127.0.0.1:17074 0 5\n\
            -3 sip:a@b.test 9";
        let (sets, complaints) = parse(text, &setup());
        assert_eq!(complaints, []);
        let ports: Vec<u16> = sets.destinations().iter().map(|d| d.port).collect();
        assert_eq!(ports, [5060, 17074, 17073, 17072, 17071]);
        assert_eq!(sets.sets(), [(-3, 0..1), (1, 1..5)]);
        assert_eq!(sets.place(1, b"sip:127.0.0.1:17072"), Some(3));
        assert_eq!(sets.place(2, b"sip:127.0.0.1:17072"), None);
        let two = &sets.destinations()[3];
        assert_eq!(
            (&*two.attrs.body, two.host.is_none()),
            (&b"duid=two;weight=30;x=y"[..], true)
        );
        assert_eq!(
            (two.attrs.weight, two.attrs.duid.as_deref()),
            (30, Some(&b"two"[..]))
        );
        assert_eq!(
            (sets.destinations()[0].flags, sets.destinations()[0].ip),
            (9, None)
        );
        assert_eq!(sets.destinations()[2].proto, Some(Proto::Udp));
    }

    #[test]
    fn attributes_and_names() {
        // Line: weight, rweight, cc, latency, the name that is looked up.
        let table = [
            (
                "1 sip:a.test 0 0 weight=50;rweight=7;cc=1;latency=24",
                (50, 7, true, Some(24)),
                Some("a.test"),
            ),
            (
                "1 sip:192.0.2.1 0 0 weight=101;rweight=0",
                (0, 0, false, None),
                None,
            ),
            ("1 sip:a.test 16 0 weight=-1", (0, 0, false, None), None),
        ];
        for (line, want, host) in table {
            let (sets, _) = parse(line.as_bytes(), &setup());
            let d = &sets.destinations()[0];
            let a = &d.attrs;
            let got = (a.weight, a.relative_weight, a.counts_congestion, a.latency);
            assert_eq!((got, d.host.as_deref()), (want, host), "{line}");
        }
    }

    #[test]
    fn lines_that_cannot_be_used_are_left_out() {
        let table = [
            ("1 sip:192.0.2.1 0 0 socket=udp:192.0.2.100:5060", true),
            ("1 sip:192.0.2.1 0 0 sockname=out", true),
            ("1 sip:192.0.2.1 0 0 socket=udp:192.0.2.9:5060", false),
            ("1 sip:192.0.2.1 0 0 sockname=in", false),
            ("1", false),
            ("x sip:192.0.2.1", false),
            ("1 192.0.2.1", false),
            ("1 sip:192.0.2.1 x", false),
            ("1 sip:192.0.2.1 -1", false),
            ("1 sip:192.0.2.1 0 high", false),
            ("99999999999999999999 sip:192.0.2.1", false),
        ];
        for (line, want) in table {
            let (sets, complaints) = parse(line.as_bytes(), &setup());
            let got = (sets.destinations().len(), complaints.len());
            assert_eq!(got, (usize::from(want), usize::from(!want)), "{line}");
        }
    }
}
