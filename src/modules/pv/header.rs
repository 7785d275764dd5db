//! Variables of the message: its start line, header fields and body.

use crate::modules::entry::{alias, filled, formatted, keyed, some, variable, word, writable};
use crate::modules::{Call, Variable};
use crate::script::{Access, Heap, Index, InnerKind, Value, WriteError};
use crate::sip::{HeaderName, Message, NameAddr, Span, Uri, param};

use super::uri::{Piece, piece};

const RM: Variable = variable(
    "rm",
    |c, h, _| filled(h, c.work.message.method_name()),
    "Method.",
);
const HDR: Variable = keyed(
    "hdr",
    InnerKind::Name,
    header,
    "A header field of this name, in any form and case.",
);

pub(super) const VARIABLES: [Variable; 55] = [
    RM,
    alias(RM, "method"),
    variable(
        "rmid",
        |c, _, _| Value::Int(c.work.message.method().bit().into()),
        "Its number.",
    ),
    variable(
        "rv",
        |c, h, _| match c.work.message.is_http() {
            true => h.string(c.work.message.version()),
            false => h.string(b"SIP/2.0"),
        },
        "The version of the protocol.",
    ),
    variable("rs", |c, _, _| status(c), "The status code of a response."),
    variable(
        "rsi",
        |c, _, _| Value::Int(c.work.status().into()),
        "The status code of a response; 0 in a request.",
    ),
    variable("rr", |c, h, _| reason(c, h), "Its reason phrase."),
    variable(
        "ruid",
        |_, _, _| Value::Null,
        "The binding of the first branch: there are none.",
    ),
    variable(
        "location_ua",
        |_, _, _| Value::Null,
        "User-Agent of that binding.",
    ),
    variable(
        "mt",
        |c, _, _| Value::Int(2 - i64::from(c.work.message.is_request())),
        "Request 1, response 2.",
    ),
    variable(
        "ci",
        |c, h, _| filled(h, c.work.message.call_id()),
        "The Call-ID.",
    ),
    variable(
        "cs",
        // Text, as the original has it.
        |c, h, _| match c.work.message.is_http() {
            true => Value::Null,
            false => formatted(h, format_args!("{}", c.work.message.cseq().number)),
        },
        "The CSeq number.",
    ),
    variable(
        "csb",
        |c, h, _| first(c, h, HeaderName::CSeq),
        "The whole CSeq.",
    ),
    variable(
        "ct",
        |c, h, _| first(c, h, HeaderName::Contact),
        "The first Contact field.",
    ),
    variable(
        "ctu",
        |c, h, _| uri_of(c, h, HeaderName::Contact, Piece::Whole),
        "Its URI.",
    ),
    variable(
        "cts",
        |c, h, _| uri_of(c, h, HeaderName::Contact, Piece::Whole),
        "Its URI.",
    ),
    variable(
        "cT",
        |c, h, _| first(c, h, HeaderName::ContentType),
        "The Content-Type.",
    ),
    variable("cl", |c, h, _| length(c, h), "The Content-Length."),
    variable(
        "ua",
        |c, h, _| first(c, h, HeaderName::UserAgent),
        "The User-Agent.",
    ),
    HDR,
    keyed(
        "hdrc",
        InnerKind::Name,
        header_count,
        "How many header fields of this name.",
    ),
    keyed(
        "hfl",
        InnerKind::Name,
        value,
        "A value of the fields of this name, lists taken apart.",
    ),
    keyed(
        "hflc",
        InnerKind::Name,
        value_count,
        "How many values the fields of this name have.",
    ),
    variable(
        "pu",
        |c, h, _| uri_of(c, h, PPI, Piece::Whole),
        "P-Preferred-Identity: URI.",
    ),
    variable(
        "pU",
        |c, h, _| uri_of(c, h, PPI, Piece::User),
        "P-Preferred-Identity: user.",
    ),
    variable(
        "pd",
        |c, h, _| uri_of(c, h, PPI, Piece::Host),
        "P-Preferred-Identity: host.",
    ),
    variable(
        "pn",
        |c, h, _| name_of(c, h, PPI),
        "P-Preferred-Identity: display name.",
    ),
    variable(
        "ai",
        |c, h, _| uri_of(c, h, PAI, Piece::Whole),
        "P-Asserted-Identity: URI.",
    ),
    variable(
        "di",
        |c, h, _| uri_of(c, h, DIVERSION, Piece::Whole),
        "Diversion: URI.",
    ),
    variable(
        "dip",
        |c, h, _| param_of(c, h, DIVERSION, b"privacy"),
        "Diversion: privacy.",
    ),
    variable(
        "dir",
        |c, h, _| param_of(c, h, DIVERSION, b"reason"),
        "Diversion: reason.",
    ),
    variable(
        "dic",
        |c, h, _| param_of(c, h, DIVERSION, b"counter"),
        "Diversion: counter.",
    ),
    variable(
        "re",
        |c, h, _| uri_of(c, h, HeaderName::RemotePartyId, Piece::Whole),
        "Remote-Party-ID: URI.",
    ),
    variable(
        "rt",
        |c, h, _| uri_of(c, h, HeaderName::ReferTo, Piece::Whole),
        "Refer-To: URI.",
    ),
    variable("rb", |c, h, _| h.string(c.work.message.body()), "The body."),
    variable(
        "bs",
        |c, _, _| Value::Int(c.work.message.body().len() as i64),
        "Its size.",
    ),
    variable(
        "mb",
        |c, h, _| h.string(c.work.bytes()),
        "The whole message.",
    ),
    variable(
        "mbu",
        |c, h, _| changed(c, h),
        "The whole message with the changes made so far.",
    ),
    variable(
        "ml",
        |c, _, _| Value::Int(c.work.bytes().len() as i64),
        "Its size.",
    ),
    variable(
        "mi",
        |c, _, _| Value::Int(c.env.state.counters.received as i64),
        "Its number on this core.",
    ),
    keyed(
        "msg",
        InnerKind::OneOf(&MSG),
        msg,
        "Parts of the message: len, buf, body, hdrs, fline ...",
    ),
    writable(
        keyed(
            "msgbuf",
            InnerKind::Name,
            byte,
            "The character at this place of the message; assigning changes it as sent.",
        ),
        set_byte,
    ),
    keyed(
        "expires",
        InnerKind::OneOf(&["min", "max"]),
        expires,
        "Of the Contacts, or of Expires.",
    ),
    variable(
        "au",
        |c, h, _| credential_part(c, h, true),
        "Credentials: user without domain.",
    ),
    variable(
        "ar",
        |c, h, _| credential(c, h, b"realm"),
        "Credentials: realm.",
    ),
    variable(
        "adu",
        |c, h, _| credential(c, h, b"uri"),
        "Credentials: URI.",
    ),
    variable(
        "aa",
        |c, h, _| credential(c, h, b"algorithm"),
        "Credentials: algorithm.",
    ),
    variable(
        "adn",
        |c, h, _| credential(c, h, b"nonce"),
        "Credentials: nonce.",
    ),
    variable(
        "adc",
        |c, h, _| credential(c, h, b"cnonce"),
        "Credentials: cnonce.",
    ),
    variable(
        "adr",
        |c, h, _| credential(c, h, b"response"),
        "Credentials: response.",
    ),
    variable(
        "ado",
        |c, h, _| credential(c, h, b"opaque"),
        "Credentials: opaque.",
    ),
    variable(
        "ad",
        |c, h, _| credential_part(c, h, false),
        "Credentials: domain of user or realm.",
    ),
    variable(
        "aU",
        |c, h, _| credential(c, h, b"username"),
        "Credentials: user as written.",
    ),
    // Nothing checks credentials yet, so nobody is billed by them.
    variable(
        "Au",
        |c, h, _| caller(c, h),
        "Who is billed: user@host of From.",
    ),
    variable(
        "AU",
        |c, h, _| match Uri::parse(c.work.message.from().uri) {
            Ok(uri) => h.string(uri.user.unwrap_or_default()),
            Err(_) => Value::Null,
        },
        "Its user.",
    ),
];

const PPI: HeaderName = HeaderName::PPreferredIdentity;
const PAI: HeaderName = HeaderName::PAssertedIdentity;
const DIVERSION: HeaderName = HeaderName::Diversion;
const MSG: [&str; 10] = [
    "len",
    "buf",
    "body",
    "body_len",
    "hdrs",
    "hdrs_len",
    "fline",
    "fline_len",
    "lpart",
    "id",
];

fn status(call: &Call<'_>) -> Value {
    match call.work.status() {
        0 => Value::Null,
        status => Value::Int(status.into()),
    }
}

fn reason(call: &Call<'_>, heap: &mut Heap) -> Value {
    if call.work.message.is_request() {
        return Value::Null;
    }
    heap.string(call.work.message.reason())
}

fn first(call: &Call<'_>, heap: &mut Heap, name: HeaderName) -> Value {
    let message = &call.work.message;
    some(heap, message.first(name).map(|h| message.text(h.value)))
}

fn length(call: &Call<'_>, heap: &mut Heap) -> Value {
    match first(call, heap, HeaderName::ContentLength) {
        Value::Null => Value::Null,
        value => Value::Int(heap.as_int(value)),
    }
}

fn address(message: &Message, name: HeaderName) -> Option<NameAddr<'_>> {
    NameAddr::parse(message.text(message.values(name).next()?)).ok()
}

fn uri_of(call: &Call<'_>, heap: &mut Heap, name: HeaderName, part: Piece) -> Value {
    match address(&call.work.message, name) {
        Some(address) => piece(heap, address.uri, part),
        None => Value::Null,
    }
}

fn name_of(call: &Call<'_>, heap: &mut Heap, name: HeaderName) -> Value {
    some(
        heap,
        address(&call.work.message, name).and_then(|a| a.display),
    )
}

fn param_of(call: &Call<'_>, heap: &mut Heap, name: HeaderName, param: &[u8]) -> Value {
    some(
        heap,
        address(&call.work.message, name).and_then(|a| a.param(param)),
    )
}

/// The field that the index picks; all of them joined with a comma for `[*]`.
fn header(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let name = access.key.text();
    if let Some(hops) = call.work.max_forwards
        && access.index != Index::All
        && heap.bytes(name).eq_ignore_ascii_case(b"Max-Forwards")
    {
        // `mf_process_maxfwd_header` shows its work at once.
        return formatted(heap, format_args!("{hops}"));
    }
    let message = &call.work.message;
    if access.index == Index::All {
        let all: Vec<Span> = message.named(heap.bytes(name)).map(|h| h.value).collect();
        return joined(message, &all, heap);
    }
    let picked = pick(
        message.named(heap.bytes(name)).map(|h| h.value),
        access.index,
    );
    some(heap, picked.map(|span| message.text(span)))
}

fn pick(mut fields: impl DoubleEndedIterator<Item = Span>, index: Index) -> Option<Span> {
    match index {
        Index::None => fields.next(),
        Index::At(n) => match usize::try_from(n) {
            Ok(n) => fields.nth(n),
            Err(_) => fields.nth_back(usize::try_from(-(n + 1)).unwrap_or(usize::MAX)),
        },
        Index::All => None,
    }
}

fn joined(message: &Message, all: &[Span], heap: &mut Heap) -> Value {
    if all.is_empty() {
        return Value::Null;
    }
    let all: Vec<&[u8]> = all.iter().map(|span| message.text(*span)).collect();
    heap.string(&all.join(&b","[..]))
}

fn header_count(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let name = heap.bytes(access.key.text());
    Value::Int(call.work.message.named(name).count() as i64)
}

/// The values of the fields of this name: one for each field, except for lists.
fn values(message: &Message, name: &[u8]) -> Vec<Span> {
    match HeaderName::from_bytes(name) {
        known @ (HeaderName::Via
        | HeaderName::Route
        | HeaderName::RecordRoute
        | HeaderName::Contact
        | HeaderName::Path
        | HeaderName::ServiceRoute
        | HeaderName::Diversion
        | HeaderName::PAssertedIdentity
        | HeaderName::PPreferredIdentity) => message.values(known).collect(),
        _ => message.named(name).map(|h| h.value).collect(),
    }
}

fn value(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let message = &call.work.message;
    let all = values(message, heap.bytes(access.key.text()));
    if access.index == Index::All {
        return joined(message, &all, heap);
    }
    let picked = pick(all.iter().copied(), access.index);
    some(heap, picked.map(|span| message.text(span)))
}

fn value_count(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let name = heap.bytes(access.key.text());
    Value::Int(values(&call.work.message, name).len() as i64)
}

fn changed(call: &Call<'_>, heap: &mut Heap) -> Value {
    let mut out = vec![];
    call.work.edits.apply(call.work.message.bytes(), &mut out);
    heap.string(&out)
}

fn msg(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let message = &call.work.message;
    let (start, end) = (
        usize::from(message.headers_start()),
        // Without the empty line.
        usize::from(message.headers_end()) - 2,
    );
    let bytes = message.bytes();
    let line = bytes[..start].trim_ascii_end();
    match word(access) {
        0 => Value::Int(bytes.len() as i64),
        1 => heap.string(bytes),
        2 => filled(heap, message.body()),
        3 => Value::Int(message.body().len() as i64),
        4 => heap.string(&bytes[start..end]),
        5 => Value::Int((end - start) as i64),
        6 => heap.string(line),
        7 => Value::Int(line.len() as i64),
        8 => heap.string(&bytes[start..]),
        _ => Value::Int(call.env.state.counters.received as i64),
    }
}

/// The place that `$msgbuf(..)` names, as a span of one byte of the message.
fn byte_span(call: &Call<'_>, heap: &Heap, access: &Access<'_>) -> Option<Span> {
    let at = crate::script::parse_int(heap.bytes(access.key.text()))?;
    let start = u16::try_from(at).ok()?;
    let size = call.work.message.bytes().len();
    (usize::from(start) < size).then_some(Span {
        start,
        end: start + 1,
    })
}

fn byte(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let span = byte_span(call, heap, access);
    some(heap, span.map(|span| call.work.message.text(span)))
}

/// The first character of what is assigned takes the place; the parsed message stays as it was.
fn set_byte(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let span = byte_span(call, heap, access).ok_or(WriteError::NotHere)?;
    match heap.str(value) {
        Some([first, ..]) => {
            call.work.edits.replace(span, &[*first]);
            Ok(())
        }
        _ => Err(WriteError::Invalid),
    }
}

/// The smallest or largest of what the Contacts say, each with Expires as its default
/// (§10.2.1.1).
fn expires(call: &mut Call<'_>, _: &mut Heap, access: &Access<'_>) -> Value {
    let message = &call.work.message;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok();
    let common = message
        .first(HeaderName::Expires)
        .and_then(|h| number(message.text(h.value)));
    let each = message.values(HeaderName::Contact).filter_map(|span| {
        let contact = NameAddr::parse(message.text(span)).ok()?;
        contact.param(b"expires").and_then(number).or(common)
    });
    let found = if word(access) == 0 {
        each.min()
    } else {
        each.max()
    };
    found.or(common).map_or(Value::Null, Value::Int)
}

/// A parameter of the credentials, without its quotes (RFC 7616 §3.4).
fn credentials<'a>(message: &'a Message, name: &[u8]) -> Option<&'a [u8]> {
    let fields = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
    let header = fields.into_iter().find_map(|name| message.first(name))?;
    credential_of(message.text(header.value), name)
}

/// A parameter of digest credentials.
pub(crate) fn credential_of<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let blank = text.iter().position(|b| b.is_ascii_whitespace())?;
    let (scheme, rest) = text.split_at(blank);
    if !scheme.eq_ignore_ascii_case(b"digest") {
        return None;
    }
    let offset = u16::try_from(text.len() - rest.len()).ok()?;
    let all = Span {
        start: offset,
        end: u16::try_from(text.len()).ok()?,
    };
    let mut pairs = param::Values::new(text, all).filter_map(|span| {
        let pair = span.of(text);
        let at = pair.iter().position(|b| *b == b'=')?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    });
    let (_, value) = pairs.find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    Some(quoted.unwrap_or(value))
}

fn credential(call: &Call<'_>, heap: &mut Heap, name: &[u8]) -> Value {
    some(heap, credentials(&call.work.message, name))
}

/// The user part or the domain of a user name that may have one.
fn credential_part(call: &Call<'_>, heap: &mut Heap, wants_user: bool) -> Value {
    let Some(name) = credentials(&call.work.message, b"username") else {
        return Value::Null;
    };
    let at = name.iter().position(|b| *b == b'@');
    match (at, wants_user) {
        (Some(at), true) => heap.string(&name[..at]),
        (Some(at), false) => heap.string(&name[at + 1..]),
        (None, true) => heap.string(name),
        (None, false) => credential(call, heap, b"realm"),
    }
}

/// `user@host` of From.
fn caller(call: &Call<'_>, heap: &mut Heap) -> Value {
    let Ok(uri) = Uri::parse(call.work.message.from().uri) else {
        return Value::Null;
    };
    let user = uri.user.unwrap_or_default();
    heap.build(|_, out| {
        out.extend_from_slice(user);
        out.push(b'@');
        out.extend_from_slice(uri.host);
    })
}
