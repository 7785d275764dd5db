//! Via (RFC 3261 §20.42): the way back; and the marks a server leaves in it (§18.2.1, RFC 3581).

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::edit::Edits;
use super::error::Malformed;
use super::host;
use super::lex::{self, Cursor};
use super::param::{self, Param, Params};
use super::span::Span;
use crate::effect::Proto;
use crate::text;

/// One value of Via, as slices of the message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Via<'a> {
    /// The transport, when it is one we know.
    pub proto: Option<Proto>,
    /// The transport as written.
    pub transport: &'a [u8],
    /// The host of sent-by, brackets kept.
    pub host: &'a [u8],
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The parameters, without the first semicolon.
    pub params: &'a [u8],
    /// Where the value stands in the message.
    pub value: Span,
    sent_by: &'a [u8],
    branch: Option<&'a [u8]>,
    received: Option<&'a [u8]>,
    rport: Option<&'a [u8]>,
    received_place: Option<Span>,
    rport_place: Option<Span>,
}

impl<'a> Via<'a> {
    /// `host` or `host:port` as written.
    pub fn sent_by(&self) -> &'a [u8] {
        self.sent_by
    }

    /// The transaction identifier (§8.1.1.7); elements of RFC 2543 send none.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.branch.filter(|branch| !branch.is_empty())
    }

    /// Where the request really came from, as the next server saw it.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.received
    }

    /// The port it really came from; empty while it is only asked for (RFC 3581 §3).
    pub fn rport(&self) -> Option<&'a [u8]> {
        self.rport
    }

    /// The multicast or redirect address for responses (§18.2.2).
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.param(b"maddr")
    }

    /// The time to live of multicast requests.
    pub fn ttl(&self) -> Option<&'a [u8]> {
        self.param(b"ttl")
    }

    /// The value of a parameter, empty when it has none. Names in any case.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        param::find(self.params, name)
    }

    /// All parameters.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }
}

/// A [`Via`] as offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    proto: Option<Proto>,
    transport: Span,
    host: Span,
    sent_by: Span,
    port: Option<u16>,
    params: Span,
    value: Span,
    known: Known,
    /// A parameter has no name, see [`Params::next_strictly`].
    pub(super) is_torn: bool,
}

/// The parameters that every message needs, of each the first.
#[derive(Clone, Copy, Debug)]
struct Known {
    branch: Option<Place>,
    received: Option<Place>,
    rport: Option<Place>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The end of its name.
    name_end: u16,
    /// Its value; without one the place behind the name.
    value: Span,
}

impl Place {
    fn of(param: Param<'_>, bytes: &[u8]) -> Option<Place> {
        let name = Span::within(bytes, param.name)?;
        let value = param.value.and_then(|value| Span::within(bytes, value));
        Some(Place {
            name_end: name.end,
            value: value.unwrap_or(Span::at(name.end)),
        })
    }

    /// From the end of the name to that of the value.
    fn behind_name(self) -> Span {
        Span {
            start: self.name_end,
            end: self.value.end,
        }
    }
}

impl Known {
    const NONE: Known = Known {
        branch: None,
        received: None,
        rport: None,
    };

    /// Also says whether a parameter has no name.
    fn read(bytes: &[u8], params: Span) -> (Known, bool) {
        let (mut known, mut is_torn) = (Known::NONE, false);
        let mut all = Params::new(params.of(bytes));
        while let Some(param) = all.next_strictly(&mut is_torn) {
            // Nearly all are written so.
            let slot = match param.name {
                b"branch" => &mut known.branch,
                b"rport" => &mut known.rport,
                b"received" => &mut known.received,
                _ if param.is(b"branch") => &mut known.branch,
                _ if param.is(b"rport") => &mut known.rport,
                _ if param.is(b"received") => &mut known.received,
                _ => continue,
            };
            if slot.is_none() {
                *slot = Place::of(param, bytes);
            }
        }
        (known, is_torn)
    }
}

impl Parts {
    pub(super) const NONE: Parts = Parts {
        proto: None,
        transport: Span::at(0),
        host: Span::at(0),
        sent_by: Span::at(0),
        port: None,
        params: Span::at(0),
        value: Span::at(0),
        known: Known::NONE,
        is_torn: false,
    };

    #[inline]
    pub(super) fn view(self, bytes: &[u8]) -> Via<'_> {
        Via {
            proto: self.proto,
            transport: self.transport.of(bytes),
            host: self.host.of(bytes),
            port: self.port,
            params: self.params.of(bytes),
            value: self.value,
            sent_by: self.sent_by.of(bytes),
            branch: self.known.branch.map(|place| place.value.of(bytes)),
            received: self.known.received.map(|place| place.value.of(bytes)),
            rport: self.known.rport.map(|place| place.value.of(bytes)),
            received_place: self.known.received.map(Place::behind_name),
            rport_place: self.known.rport.map(Place::behind_name),
        }
    }
}

/// Reads the value that `span` names, one of a list.
pub fn parse_at(bytes: &[u8], span: Span) -> Result<Via<'_>, Malformed> {
    read_at(bytes, span).map(|parts| parts.view(bytes))
}

pub(super) fn read_at(bytes: &[u8], span: Span) -> Result<Parts, Malformed> {
    let mut cursor = Cursor::new(bytes, span);
    let transport = sent_protocol(&mut cursor).ok_or(Malformed)?;
    cursor.skip_blanks();
    let host = host::take(&mut cursor, bytes).ok_or(Malformed)?;
    let (port, sent_by_end) = sent_by_port(&mut cursor, bytes, host)?;
    cursor.skip_blanks();
    if !cursor.is_done() && !cursor.eat(b';') {
        return Err(Malformed);
    }
    let params = cursor.rest();
    let (known, is_torn) = Known::read(bytes, params);
    Ok(Parts {
        proto: Proto::from_name(transport.of(bytes)),
        transport,
        host,
        sent_by: Span {
            start: host.start,
            end: sent_by_end,
        },
        port,
        params,
        value: span,
        known,
        is_torn,
    })
}

/// Reads `SIP / 2.0 / UDP` and gives where the transport stands. The version is not looked at: a
/// request of another version must still be answered, with 505.
fn sent_protocol(cursor: &mut Cursor<'_>) -> Option<Span> {
    // Nearly all are written so.
    if !cursor.eat_all(b"SIP/2.0/") {
        for _ in 0..2 {
            let part = cursor.take_while(lex::is_token);
            cursor.skip_blanks();
            if part.is_empty() || !cursor.eat(b'/') {
                return None;
            }
            cursor.skip_blanks();
        }
    } else {
        cursor.skip_blanks();
    }
    let transport = cursor.take_while(lex::is_token);
    (!transport.is_empty() && cursor.peek().is_some_and(lex::is_blank)).then_some(transport)
}

/// Reads `:port` if it is there; gives it and where sent-by ends.
fn sent_by_port(
    cursor: &mut Cursor<'_>,
    bytes: &[u8],
    host: Span,
) -> Result<(Option<u16>, u16), Malformed> {
    let mut ahead = *cursor;
    ahead.skip_blanks();
    if !ahead.eat(b':') {
        return Ok((None, host.end));
    }
    ahead.skip_blanks();
    let digits = ahead.take_while(|b| b.is_ascii_digit());
    *cursor = ahead;
    let port = lex::port(digits.of(bytes)).ok_or(Malformed)?;
    Ok((Some(port), digits.end))
}

/// The text of one mark.
struct Mark {
    text: [u8; Mark::SIZE],
    len: usize,
}

impl Mark {
    /// `;received=` and the longest IPv6 address.
    const SIZE: usize = 10 + 45;

    /// Begins to give a parameter a value.
    fn begin(text: &[u8]) -> Mark {
        let mut mark = Mark {
            text: [0; Mark::SIZE],
            len: 0,
        };
        mark.push(text);
        mark
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Adds text. What does not fit is cut off, and the sum above says that all of it fits.
    fn push(&mut self, text: &[u8]) {
        let free = &mut self.text[self.len..];
        let n = text.len().min(free.len());
        free[..n].copy_from_slice(&text[..n]);
        self.len += n;
    }

    fn push_number(&mut self, n: u16) {
        let (mut digits, mut at, mut left) = ([0; 5], 5, n);
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return self.push(&digits[at..]);
            }
        }
    }

    fn push_ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(v4) => {
                let (text, len) = text::ipv4(v4);
                self.push(&text[..len]);
            }
            IpAddr::V6(v6) => {
                let mut free = &mut self.text[self.len..];
                // Cut off rather than failed, as above.
                let _ = write!(free, "{v6}");
                let left = free.len();
                self.len = Mark::SIZE - left;
            }
        }
    }
}

/// Tells what [`mark`] changes, in the order of the places: at most the port and the address. A
/// peer does not get to say where it is, so what it claimed goes.
pub(super) fn marks(
    via: &Via<'_>,
    source: SocketAddr,
    force_rport: bool,
    mut put: impl FnMut(Span, &[u8]),
) {
    let source_ip = source.ip().to_canonical();
    let fills = force_rport || via.rport().is_some();
    // §18.2.1: the host part of sent-by is a name or differs from the source. RFC 3581 §4: with
    // rport, always.
    let differs = || host::ip(via.host).map(|ip| ip.to_canonical()) != Some(source_ip);
    let put_received = |put: &mut dyn FnMut(Span, &[u8])| {
        let (span, name) = place(via, via.received_place, b";received=");
        let mut mark = Mark::begin(name);
        mark.push_ip(source_ip);
        put(span, mark.text());
    };
    if !fills {
        if differs() {
            put_received(&mut put);
        }
        return;
    }
    let (span, name) = place(via, via.rport_place, b";rport=");
    let mut mark = Mark::begin(name);
    mark.push_number(source.port());
    // In the order of their places; where they meet, a new parameter stands behind an old one.
    let key = |place: Option<Span>| {
        let start = place.map_or(via.value.end, |span| span.start);
        (start, place.is_none())
    };
    let is_received_first = key(via.received_place) <= key(via.rport_place);
    if is_received_first {
        put_received(&mut put);
    }
    put(span, mark.text());
    if !is_received_first {
        put_received(&mut put);
    }
}

/// Where a parameter gets its value and how that begins: in place of the value it has, or as a new
/// parameter at the end.
fn place<'a>(via: &Via<'_>, old: Option<Span>, new: &'a [u8]) -> (Span, &'a [u8]) {
    match old {
        Some(span) => (span, b"="),
        None => (Span::at(via.value.end), new),
    }
}

/// Leaves in the topmost Via of a request where it came from: `received` when the host of sent-by
/// is not the source address or when rport is asked for or forced (§18.2.1), and the port in
/// `rport` (RFC 3581 §4).
pub fn mark(via: &Via<'_>, source: SocketAddr, force_rport: bool, edits: &mut Edits) {
    marks(via, source, force_rport, |span, text| {
        edits.replace(span, text)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let table = [
            ("SIP/2.0/UDP h", Some(("UDP", "h", None, ""))),
            (
                "SIP/2.0/UDP h:5060;branch=z9hG4bK1",
                Some(("UDP", "h", Some(5060), "branch=z9hG4bK1")),
            ),
            (
                "SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=x",
                Some(("UDP", "192.0.2.2", None, "branch=x")),
            ),
            (
                "SIP/2.0/TCP [2001:db8::1]:5061 ; a",
                Some(("TCP", "[2001:db8::1]", Some(5061), "a")),
            ),
            (
                "SIP/2.0/UDP h : 5060 ;a",
                Some(("UDP", "h", Some(5060), "a")),
            ),
            ("SIP/2.0/UNKNOWN h", Some(("UNKNOWN", "h", None, ""))),
            (
                "SIP/7.0/UDP c.example.com;branch=x",
                Some(("UDP", "c.example.com", None, "branch=x")),
            ),
            ("SIP/2.0/UDP h;", Some(("UDP", "h", None, ""))),
            ("SIP/2.0/UDP h;;,", Some(("UDP", "h", None, ";,"))),
            (
                "SIP/2.0/UDP under_score",
                Some(("UDP", "under_score", None, "")),
            ),
            ("SIP/2.0/UDP 2001:db8::1", None),
            ("SIP/2.0/UDP [2001:db8::1", None),
            ("SIP/2.0/UDP [x]", None),
            ("SIP/2.0/UDP", None),
            ("SIP/2.0/UDP ", None),
            ("SIP/2.0 h", None),
            ("SIP/2.0/UDP h:", None),
            ("SIP/2.0/UDP h:65536", None),
            ("SIP/2.0/UDP h x", None),
            ("", None),
        ];
        for (text, want) in table {
            let got = parse_at(text.as_bytes(), Span::new(0, text.len())).ok();
            let got = got.map(|v| (v.transport, v.host, v.port, v.params));
            let want = want.map(|(t, h, p, q): (&str, &str, Option<u16>, &str)| {
                (t.as_bytes(), h.as_bytes(), p, q.as_bytes())
            });
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn marks_say_where_it_came_from() {
        let v4 = "192.0.2.9:40000";
        let table = [
            ("SIP/2.0/UDP 192.0.2.9", v4, false, "SIP/2.0/UDP 192.0.2.9"),
            (
                "SIP/2.0/UDP h;a",
                v4,
                false,
                "SIP/2.0/UDP h;a;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1",
                v4,
                false,
                "SIP/2.0/UDP 192.0.2.1;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP h;rport;a",
                v4,
                false,
                "SIP/2.0/UDP h;rport=40000;a;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP h;rport=;a",
                v4,
                false,
                "SIP/2.0/UDP h;rport=40000;a;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP h;rport = ;a",
                v4,
                false,
                "SIP/2.0/UDP h;rport=40000 ;a;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP h;rport=1;a",
                v4,
                false,
                "SIP/2.0/UDP h;rport=40000;a;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP 192.0.2.9;rport",
                v4,
                false,
                "SIP/2.0/UDP 192.0.2.9;rport=40000;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP 192.0.2.9",
                v4,
                true,
                "SIP/2.0/UDP 192.0.2.9;received=192.0.2.9;rport=40000",
            ),
            (
                "SIP/2.0/UDP h;received=10.0.0.1",
                v4,
                false,
                "SIP/2.0/UDP h;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP h;received=1;rport",
                v4,
                false,
                "SIP/2.0/UDP h;received=192.0.2.9;rport=40000",
            ),
            (
                "SIP/2.0/UDP [::1]",
                "[::1]:5060",
                false,
                "SIP/2.0/UDP [::1]",
            ),
            (
                "SIP/2.0/UDP [::2]",
                "[::1]:5060",
                false,
                "SIP/2.0/UDP [::2];received=::1",
            ),
            (
                "SIP/2.0/UDP 192.0.2.9",
                "[::ffff:192.0.2.9]:5060",
                false,
                "SIP/2.0/UDP 192.0.2.9",
            ),
        ];
        for (text, source, force, want) in table {
            let via = parse_at(text.as_bytes(), Span::new(0, text.len())).unwrap();
            let (mut edits, mut out) = (Edits::new(), vec![]);
            mark(&via, source.parse().unwrap(), force, &mut edits);
            edits.apply(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{text}");
        }
    }
}
