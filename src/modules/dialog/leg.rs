//! One side of a dialog, and what a message says about it (RFC 3261 §12.1, §12.2).

use crate::effect::Flow;
use crate::modules::setup::Setup;
use crate::sip::{HeaderName, Message, NameAddr, Span, Uri};

/// Which way a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the caller to the callee.
    Downstream,
    /// From the callee to the caller.
    Upstream,
}

impl Direction {
    /// The number in `$dlg_ctx(dir)`.
    pub const fn number(self) -> i64 {
        match self {
            Direction::Downstream => 1,
            Direction::Upstream => 2,
        }
    }

    /// The other way.
    pub const fn reversed(self) -> Direction {
        match self {
            Direction::Downstream => Direction::Upstream,
            Direction::Upstream => Direction::Downstream,
        }
    }
}

/// What is kept of one side besides its strings.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Leg {
    /// The CSeq number of its last request in the dialog; `None`: it has sent none.
    pub cseq: Option<u32>,
    /// What its last message came in on: where it can be reached whatever its Contact says.
    pub flow: Option<Flow>,
}

/// The URI of the only Contact of a message; `None`: there is none, several, or `*`.
pub fn contact(message: &Message) -> Option<&[u8]> {
    let mut values = message.values(HeaderName::Contact);
    let value = values.next()?.of(message.bytes());
    if values.next().is_some() || value == b"*" {
        return None;
    }
    let uri = NameAddr::parse(value).ok()?.uri;
    Uri::parse(uri).ok().map(|_| uri)
}

/// The Record-Route values of a request as a route set back to its sender (§12.1.1).
pub fn routes_of_request(message: &Message) -> Vec<u8> {
    joined(message, message.values(HeaderName::RecordRoute))
}

/// What a 2xx says about the routes of both sides.
#[derive(Debug)]
pub struct Routes {
    /// To the callee (§12.1.2, as seen from here).
    pub callee: Vec<u8>,
    /// To the caller, our own entries on top, if `keep_proxy_rr` wants it so.
    pub caller: Option<Vec<u8>>,
    /// Whether an entry of ours is among them: requests in the dialog come through here.
    pub has_own: bool,
}

/// Splits the Record-Route values of a 2xx at our own: those above are the way to the callee, the
/// nearest last; those below, `below` of them, were in the INVITE when it came here.
pub fn routes_of_response(
    setup: &Setup,
    message: &Message,
    below: usize,
    (for_callee, for_caller): (bool, bool),
) -> Routes {
    let values = || message.values(HeaderName::RecordRoute);
    let end = values().count().saturating_sub(below);
    let is_own = |span: &Span| {
        let uri = NameAddr::parse(span.of(message.bytes()))
            .map(|a| a.uri)
            .unwrap_or_default();
        Uri::parse(uri).is_ok_and(|u| setup.is_myself(u.host, u.port))
    };
    // A double entry (RFC 5658) is two.
    let own = (0..end)
        .rev()
        .take(2)
        .take_while(|at| values().nth(*at).is_some_and(|v| is_own(&v)))
        .count();
    let above = if for_callee { end } else { end - own };
    // Most often there is none above.
    let nearest_last: Vec<Span> = values().take(above).collect();
    Routes {
        callee: joined(message, nearest_last.into_iter().rev()),
        caller: for_caller.then(|| joined(message, values().skip(end - own))),
        has_own: own > 0,
    }
}

/// How many values a route set has that [`routes_of_request`] made.
pub fn route_count(message: &Message) -> usize {
    message.values(HeaderName::RecordRoute).count()
}

fn joined(message: &Message, values: impl Iterator<Item = Span>) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(value.of(message.bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(lines: &str) -> Message {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn one_contact_is_a_target() {
        let table = [
            ("", None),
            ("Contact: <sip:a@192.0.2.1>\r\n", Some("sip:a@192.0.2.1")),
            (
                "m: \"A, B\" <sip:a@192.0.2.1;x=1>;q=1\r\n",
                Some("sip:a@192.0.2.1;x=1"),
            ),
            (
                "Contact: sip:a@192.0.2.1;expires=3\r\n",
                Some("sip:a@192.0.2.1"),
            ),
            ("Contact: *\r\n", None),
            ("Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>\r\n", None),
            (
                "Contact: <sip:a@192.0.2.1>\r\nContact: <sip:b@192.0.2.1>\r\n",
                None,
            ),
        ];
        for (lines, want) in table {
            let message = message(lines);
            assert_eq!(contact(&message), want.map(str::as_bytes), "{lines}");
        }
    }

    #[test]
    fn the_routes_of_both_sides_are_told_apart() {
        let setup = Setup::from_text(
            "listen=udp:192.0.2.9:5060\nlisten=tcp:192.0.2.9:5062\nrequest_route { ; }\n",
            1,
        )
        .unwrap();
        // INVITE with p1,p0 above; q2,q1 on top of ours.
        let single = "Record-Route: <sip:q2;lr>, <sip:q1;lr>\r\n\
                      Record-Route: <sip:192.0.2.9;lr>\r\n\
                      Record-Route: <sip:p1;lr>,<sip:p0;lr>\r\n";
        let double = "Record-Route: <sip:q1;lr>\r\nRecord-Route: <sip:192.0.2.9:5062;r2=on;lr>\r\n\
                      Record-Route: <sip:192.0.2.9;r2=on;lr>\r\n";
        let own = "<sip:192.0.2.9;lr>";
        let table = [
            ("", 0, false, String::new(), String::new()),
            (
                single,
                2,
                false,
                "<sip:q1;lr>,<sip:q2;lr>".into(),
                format!("{own},<sip:p1;lr>,<sip:p0;lr>"),
            ),
            (
                single,
                2,
                true,
                format!("{own},<sip:q1;lr>,<sip:q2;lr>"),
                format!("{own},<sip:p1;lr>,<sip:p0;lr>"),
            ),
            (
                double,
                0,
                false,
                "<sip:q1;lr>".into(),
                "<sip:192.0.2.9:5062;r2=on;lr>,<sip:192.0.2.9;r2=on;lr>".into(),
            ),
            // Nobody record-routed here.
            (
                "Record-Route: <sip:q1;lr>,<sip:p0;lr>\r\n",
                1,
                false,
                "<sip:q1;lr>".into(),
                "<sip:p0;lr>".into(),
            ),
            // A far end that lost what was below.
            (
                "Record-Route: <sip:q1;lr>\r\n",
                3,
                false,
                String::new(),
                "<sip:q1;lr>".into(),
            ),
        ];
        for (lines, below, keeps, callee, caller) in table {
            let found = routes_of_response(&setup, &message(lines), below, (keeps, true));
            let text = |bytes| String::from_utf8(bytes).unwrap();
            assert_eq!(
                (text(found.callee), found.caller.map(text)),
                (callee, Some(caller)),
                "{lines}"
            );
        }
    }
}
