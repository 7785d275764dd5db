//! `$via0(..)`, `$via1(..)`, `$viaZ(..)`: the top, the second and the last Via (RFC 3261 §20.42).

use crate::modules::entry::{formatted, keyed, some, word};
use crate::modules::{Call, Variable};
use crate::script::{Access, Heap, InnerKind, Value};
use crate::sip::{HeaderName, Via, via};

const PARTS: [&str; 11] = [
    "host", "port", "hostport", "proto", "protoid", "branch", "rport", "received", "i", "alias",
    "params",
];

const INNER: InnerKind = InnerKind::OneOf(&PARTS);

pub(super) const VARIABLES: [Variable; 3] = [
    keyed(
        "via0",
        INNER,
        |c, h, a| read(c, h, a, Some(0)),
        "The top Via.",
    ),
    keyed(
        "via1",
        INNER,
        |c, h, a| read(c, h, a, Some(1)),
        "The second Via.",
    ),
    keyed(
        "viaZ",
        INNER,
        |c, h, a| read(c, h, a, None),
        "The last Via.",
    ),
];

fn read(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>, at: Option<usize>) -> Value {
    let message = &call.work.message;
    let mut all = message.values(HeaderName::Via);
    let span = match at {
        Some(n) => all.nth(n),
        None => all.last(),
    };
    let found = span.and_then(|span| via::parse_at(message.bytes(), span).ok());
    let part = PARTS.get(word(access)).copied().unwrap_or_default();
    found.map_or(Value::Null, |via| self::part(heap, &via, part.as_bytes()))
}

/// A part of a Via by its name.
pub(super) fn part(heap: &mut Heap, via: &Via<'_>, name: &[u8]) -> Value {
    let text = match name {
        b"host" => Some(via.host),
        b"port" => {
            let port = via.port;
            return port.map_or(Value::Null, |p| formatted(heap, format_args!("{p}")));
        }
        b"hostport" => Some(via.sent_by()),
        b"proto" | b"transport" => Some(via.transport),
        b"branch" => via.branch(),
        b"rport" => via.rport(),
        b"received" => via.received(),
        b"params" => Some(via.params).filter(|p| !p.is_empty()),
        name => via.param(name),
    };
    some(heap, text)
}
