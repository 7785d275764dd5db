//! `$ru`, `$du`, `$ou` and their parts: the working Request-URI, the destination, the URI as
//! received.

use crate::effect::Proto;
use crate::modules::Call;
use crate::modules::Variable;
use crate::modules::entry::{
    alias, filled, formatted, keyed, some, total, variable, word, writable,
};
use crate::modules::rewrite::{self, Part};
use crate::modules::work::{Bytes, Target};
use crate::script::{Access, Heap, InnerKind, Value, WriteError};
use crate::sip::{HeaderName, Message, Uri, via};

/// The part of a URI that a variable reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Whole,
    Length,
    User,
    UserLength,
    Host,
    Port,
    Proto,
    Scheme,
}

/// A part of a URI; NULL when the text is no URI or has no such part.
pub(super) fn piece(heap: &mut Heap, text: &[u8], piece: Piece) -> Value {
    let Some(shape) = heap.shape_of(text) else {
        return Value::Null;
    };
    match piece {
        Piece::Whole => heap.string(text),
        Piece::Length => Value::Int(text.len() as i64),
        Piece::User => filled(heap, shape.user(text).unwrap_or_default()),
        Piece::UserLength => Value::Int(shape.user(text).map_or(0, <[u8]>::len) as i64),
        Piece::Host => filled(heap, shape.host(text)),
        // Text, as the original has it: `$rp + 1` puts a digit behind.
        Piece::Port => formatted(heap, format_args!("{}", port(&shape.uri(text)))),
        Piece::Proto => {
            let uri = shape.uri(text);
            some(heap, Some(uri.transport().unwrap_or(b"UDP")))
        }
        Piece::Scheme => heap.string(shape.uri(text).scheme_text),
    }
}

/// The port, or the one that stands for none (RFC 3261 §19.1.2). The scheme `sips` alone does not
/// make it that of TLS: it does not name a transport.
fn port(uri: &Uri<'_>) -> u16 {
    let is_tls = uri
        .transport()
        .is_some_and(|t| t.eq_ignore_ascii_case(b"tls"));
    let default = if is_tls { Proto::Tls } else { Proto::Udp };
    uri.port.unwrap_or(default.default_port())
}

/// The working Request-URI; a response has none.
fn working<'a>(call: &'a Call<'_>) -> &'a [u8] {
    if call.work.message.is_request() && !call.work.message.is_http() {
        call.work.uri()
    } else {
        &[]
    }
}

fn received<'a>(call: &'a Call<'_>) -> &'a [u8] {
    match call.work.message.is_http() {
        // It has a URL, which is `$hu`.
        true => &[],
        false => call.work.message.uri(),
    }
}

fn destination<'a>(call: &'a Call<'_>) -> &'a [u8] {
    call.work.target.next_hop.as_deref().unwrap_or_default()
}

macro_rules! part {
    ($name:literal, $from:ident, $piece:ident, $doc:literal) => {
        variable(
            $name,
            |call, heap, _| piece(heap, $from(call), Piece::$piece),
            $doc,
        )
    };
}

const RU: Variable = writable(
    part!("ru", working, Whole, "The Request-URI."),
    |c, h, _, v| set_uri(c, h, v),
);
const RUSER: Variable = writable(part!("rU", working, User, "Its user."), |c, h, _, v| {
    set_user(c, h, v)
});
const RHOST: Variable = writable(part!("rd", working, Host, "Its host."), |c, h, _, v| {
    set_host(c, h, v)
});
const RPORT: Variable = writable(
    part!(
        "rp",
        working,
        Port,
        "Its port, or the one that stands for none."
    ),
    |c, h, _, v| set_port(c, h, v),
);
const OU: Variable = part!("ou", received, Whole, "The Request-URI as received.");
const OUSER: Variable = part!("oU", received, User, "Its user.");
const OHOST: Variable = part!("od", received, Host, "Its host.");
const DU: Variable = writable(
    variable(
        "du",
        |c, h, _| filled(h, destination(c)),
        "The destination URI.",
    ),
    |c, h, _, v| set_destination(c, h, v),
);

pub(super) const VARIABLES: [Variable; total(&[&TABLE])] = TABLE;

const TABLE: [Variable; 30] = [
    RU,
    alias(RU, "ruri"),
    part!("rul", working, Length, "Its length."),
    RUSER,
    alias(RUSER, "ruri.user"),
    part!("rUl", working, UserLength, "The length of its user."),
    RHOST,
    alias(RHOST, "ruri.domain"),
    RPORT,
    part!("rP", working, Proto, "Its transport parameter, or UDP."),
    part!("rz", working, Scheme, "Its scheme."),
    OU,
    alias(OU, "ouri"),
    part!("oul", received, Length, "Its length."),
    OUSER,
    alias(OUSER, "ouri.user"),
    part!("oUl", received, UserLength, "The length of its user."),
    OHOST,
    alias(OHOST, "ouri.domain"),
    part!(
        "op",
        received,
        Port,
        "Its port, or the one that stands for none."
    ),
    part!("oP", received, Proto, "Its transport parameter, or UDP."),
    DU,
    alias(DU, "duri"),
    part!("dd", destination, Host, "The host of the destination URI."),
    part!(
        "dp",
        destination,
        Port,
        "Its port, or the one that stands for none."
    ),
    part!("dP", destination, Proto, "Its transport parameter, or UDP."),
    keyed(
        "nh",
        InnerKind::OneOf(&NEXT_HOP),
        next_hop,
        "The next hop: u, U, d, p or P.",
    ),
    variable(
        "ds",
        |c, h, _| destination_set(c, h),
        "All targets, as in Contact.",
    ),
    writable(
        variable(
            "br",
            first_appended,
            "The first appended branch; assigning appends one.",
        ),
        |c, h, _, v| append(c, h, v),
    ),
    variable(
        "bR",
        |c, h, _| appended(c, h),
        "All appended branches, separated by commas.",
    ),
];

const NEXT_HOP: [&str; 5] = ["u", "U", "d", "p", "P"];

fn next_hop(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let which = [
        Piece::Whole,
        Piece::User,
        Piece::Host,
        Piece::Port,
        Piece::Proto,
    ];
    let way_back;
    let uri = if call.work.message.is_request() {
        call.work.next_hop()
    } else {
        way_back = response_hop(&call.work.message);
        way_back.as_bytes()
    };
    match which.get(word(access)) {
        // What is no URI is shown all the same.
        Some(Piece::Whole) => filled(heap, uri),
        Some(which) => piece(heap, uri, *which),
        None => Value::Null,
    }
}

/// Where a response goes on to, as its second Via says (RFC 3261 §18.2.2); empty without one.
fn response_hop(message: &Message) -> String {
    let second = message.values(HeaderName::Via).nth(1);
    let Some(via) = second.and_then(|span| via::parse_at(message.bytes(), span).ok()) else {
        return String::new();
    };
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let host = text(via.received().unwrap_or(via.host));
    let port = via.rport().filter(|port| !port.is_empty()).map(text);
    let port = port.unwrap_or_else(|| via.port.unwrap_or(5060).to_string());
    let transport = text(via.transport).to_ascii_lowercase();
    format!("sip:{host}:{port};transport={transport}")
}

fn set_uri(call: &mut Call<'_>, heap: &mut Heap, value: Value) -> Result<(), WriteError> {
    request(call)?;
    // Text that is no URI is taken: then the variable reads NULL and t_relay fails with -400.
    let text = heap.str(value).ok_or(WriteError::Invalid)?;
    call.work.target.uri = Some(Bytes::from(text));
    Ok(())
}

fn set_user(call: &mut Call<'_>, heap: &mut Heap, value: Value) -> Result<(), WriteError> {
    let text = heap.as_text(value);
    change(
        call,
        Part::User(Some(heap.bytes(text)).filter(|u| !u.is_empty())),
    )
}

fn set_host(call: &mut Call<'_>, heap: &mut Heap, value: Value) -> Result<(), WriteError> {
    let text = heap.as_text(value);
    change(call, Part::Host(heap.bytes(text)))
}

fn set_port(call: &mut Call<'_>, heap: &mut Heap, value: Value) -> Result<(), WriteError> {
    if value.is_null() || heap.str(value).is_some_and(<[u8]>::is_empty) {
        return change(call, Part::Port(None));
    }
    let number = heap.number(value).and_then(|n| u16::try_from(n).ok());
    change(
        call,
        Part::Port(Some(number.filter(|p| *p > 0).ok_or(WriteError::Invalid)?)),
    )
}

/// Changes one part of the working Request-URI.
pub(crate) fn change(call: &mut Call<'_>, part: Part<'_>) -> Result<(), WriteError> {
    request(call)?;
    let uri = rewrite::changed(call.work.uri(), part).map_err(|_| WriteError::Invalid)?;
    call.work.target.uri = Some(Bytes::from(uri));
    Ok(())
}

fn request(call: &Call<'_>) -> Result<(), WriteError> {
    if call.work.message.is_request() {
        Ok(())
    } else {
        Err(WriteError::NotHere)
    }
}

fn set_destination(call: &mut Call<'_>, heap: &mut Heap, value: Value) -> Result<(), WriteError> {
    call.work.target.next_hop = match value {
        Value::Null => None,
        Value::Int(_) => return Err(WriteError::Invalid),
        Value::Str(text) if text.is_empty() => None,
        Value::Str(text) => {
            let next_hops = &mut call.env.state.variables.next_hops;
            Some(next_hops.shared(heap.bytes(text)))
        }
    };
    Ok(())
}

fn first_appended(call: &mut Call<'_>, heap: &mut Heap, _: &Access<'_>) -> Value {
    let uri = call.work.appended.first().and_then(|t| t.uri.as_deref());
    some(heap, uri)
}

fn append(call: &mut Call<'_>, heap: &mut Heap, value: Value) -> Result<(), WriteError> {
    let text = heap.str(value).ok_or(WriteError::Invalid)?;
    if Uri::parse(text).is_err() {
        return Err(WriteError::Invalid);
    }
    append_target(
        call,
        Target {
            uri: Some(Bytes::from(text)),
            ..Target::default()
        },
    )
}

/// Adds a target, within `max_branches`.
pub(crate) fn append_target(call: &mut Call<'_>, target: Target) -> Result<(), WriteError> {
    // The first target is not in the list and counts too.
    if call.work.appended.len() + 1 >= call.env.state.setup.config.core.max_branches {
        return Err(WriteError::Full);
    }
    call.work.appended.push(target);
    Ok(())
}

fn destination_set(call: &Call<'_>, heap: &mut Heap) -> Value {
    let first = call.work.target.uri.as_ref().map(|_| &call.work.target);
    contacts(
        heap,
        "Contact: ",
        first.into_iter().chain(&call.work.appended),
    )
}

/// Unlike in Contact there are angle brackets only where a q stands behind.
fn appended(call: &Call<'_>, heap: &mut Heap) -> Value {
    let mut line = String::new();
    for target in &call.work.appended {
        match (target.uri.as_deref(), target.q) {
            (Some(uri), None) => {
                let separator = if line.is_empty() { "" } else { ", " };
                line.push_str(separator);
                line.push_str(&String::from_utf8_lossy(uri));
            }
            _ => write_contact(target, &mut line),
        }
    }
    if line.is_empty() {
        return Value::Null;
    }
    heap.string(line.as_bytes())
}

fn contacts<'a>(heap: &mut Heap, prefix: &str, targets: impl Iterator<Item = &'a Target>) -> Value {
    let mut line = String::new();
    for target in targets {
        write_contact(target, &mut line);
    }
    if line.is_empty() {
        Value::Null
    } else {
        formatted(heap, format_args!("{prefix}{line}"))
    }
}

/// Appends a target as a value of Contact, behind a comma unless it is the first.
pub(crate) fn write_contact(target: &Target, line: &mut String) {
    let Some(uri) = target.uri.as_deref() else {
        return;
    };
    let separator = if line.is_empty() { "" } else { ", " };
    line.push_str(&format!("{separator}<{}>", String::from_utf8_lossy(uri)));
    if let Some(q) = target.q {
        let text = format!(";q={}.{:03}", q / 1000, q % 1000);
        line.push_str(text.trim_end_matches('0').trim_end_matches('.'));
    }
}
