//! `$fu`, `$tu` and their parts: who calls and who is called. Assigning one edits the message that
//! leaves; what is read stays what was received.

use std::rc::Rc;

use crate::modules::entry::{alias, filled, some, variable, writable};
use crate::modules::{Call, Variable};
use crate::script::{Heap, Value, WriteError};
use crate::sip::{NameAddr, Span, Uri};

use super::uri::{Piece, piece};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

fn address<'a>(call: &'a Call<'_>, side: Side) -> NameAddr<'a> {
    match side {
        Side::From => call.work.message.from(),
        Side::To => call.work.message.to(),
    }
}

macro_rules! part {
    ($name:literal, $side:ident, $piece:ident, $doc:literal) => {
        variable(
            $name,
            |c, h, _| piece(h, address(c, Side::$side).uri, Piece::$piece),
            $doc,
        )
    };
    ($name:literal, $side:ident, $piece:ident, $set:ident, $doc:literal) => {
        writable(part!($name, $side, $piece, $doc), |c, h, _, v| {
            $set(c, h, Side::$side, v)
        })
    };
}

macro_rules! display {
    ($name:literal, $side:ident, $doc:literal) => {
        writable(
            variable(
                $name,
                |c, h, _| some(h, address(c, Side::$side).display),
                $doc,
            ),
            |c, h, _, v| set_display(c, h, Side::$side, v),
        )
    };
}

const FU: Variable = part!("fu", From, Whole, set_uri, "The URI of From.");
const FUSER: Variable = part!("fU", From, User, set_user, "Its user.");
const FHOST: Variable = part!("fd", From, Host, set_host, "Its host.");
const FNAME: Variable = display!("fn", From, "The display name of From, quotes included.");
const TU: Variable = part!("tu", To, Whole, set_uri, "The URI of To.");
const TUSER: Variable = part!("tU", To, User, set_user, "Its user.");
const THOST: Variable = part!("td", To, Host, set_host, "Its host.");
const TNAME: Variable = display!("tn", To, "The display name of To, quotes included.");

const FTAG: Variable = variable(
    "ft",
    |c, h, _| some(h, c.work.message.from_tag()),
    "The tag of From.",
);
const TTAG: Variable = variable(
    "tt",
    |c, h, _| some(h, c.work.message.to_tag()),
    "The tag of To.",
);

pub(super) const VARIABLES: [Variable; 23] = [
    FU,
    alias(FU, "from"),
    FUSER,
    alias(FUSER, "from.user"),
    FHOST,
    alias(FHOST, "from.domain"),
    FNAME,
    FTAG,
    variable(
        "fti",
        |c, h, _| initial_tag(c, h, true),
        "The tag of the initial caller.",
    ),
    part!("ful", From, Length, "The length of the URI of From."),
    part!("fUl", From, UserLength, "The length of its user."),
    TU,
    alias(TU, "to"),
    TUSER,
    alias(TUSER, "to.user"),
    THOST,
    alias(THOST, "to.domain"),
    TNAME,
    TTAG,
    variable(
        "tti",
        |c, h, _| initial_tag(c, h, false),
        "The tag of the initial callee.",
    ),
    variable(
        "tts",
        |c, h, _| some(h, c.work.message.to_tag()),
        "The tag of To, or our own.",
    ),
    part!("tul", To, Length, "The length of the URI of To."),
    part!("tUl", To, UserLength, "The length of its user."),
];

/// The tag of the one who sent the initial request, or of the other: known by the direction.
fn initial_tag(call: &mut Call<'_>, heap: &mut Heap, caller: bool) -> Value {
    let is_up = crate::modules::rr::is_upstream(call);
    let message = &call.work.message;
    let tag = if is_up == caller {
        message.to_tag()
    } else {
        message.from_tag()
    };
    filled(heap, tag.unwrap_or_default())
}

/// Text that may stand in a header field: a line end in it would forge another field.
fn clean(heap: &mut Heap, value: Value) -> Result<Vec<u8>, WriteError> {
    let text = heap.as_text(value);
    let bytes = heap.bytes(text);
    let is_clean = !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    is_clean.then(|| bytes.to_vec()).ok_or(WriteError::Invalid)
}

/// Changes the part of the URI that `place` finds. `prefix` and `suffix` go around the new text.
fn set_uri(call: &mut Call<'_>, heap: &mut Heap, side: Side, v: Value) -> Result<(), WriteError> {
    let text = clean(heap, v)?;
    Uri::parse(&text).map_err(|_| WriteError::Invalid)?;
    let message = Rc::clone(&call.work.message);
    let old = address(call, side).uri;
    let span = Span::within(message.bytes(), old).ok_or(WriteError::NotHere)?;
    call.work.edits.replace(span, &text);
    Ok(())
}

fn set_user(call: &mut Call<'_>, heap: &mut Heap, side: Side, v: Value) -> Result<(), WriteError> {
    let text = clean(heap, v)?;
    let message = Rc::clone(&call.work.message);
    let uri = Uri::parse(address(call, side).uri).map_err(|_| WriteError::NotHere)?;
    let within = |part| Span::within(message.bytes(), part).ok_or(WriteError::NotHere);
    let host = within(uri.host)?;
    if uri.host.is_empty()
        || text
            .iter()
            .any(|b| matches!(b, b'@' | b'<' | b'>' | b' ' | b'"'))
    {
        return Err(WriteError::Invalid);
    }
    // What stands between the scheme's colon and the host: the user, its password, the `@`.
    let rest = within(uri.rest)?;
    let userinfo = Span {
        start: rest.start,
        end: host.start,
    };
    let new = if text.is_empty() {
        vec![]
    } else {
        [&text[..], b"@"].concat()
    };
    call.work.edits.replace(userinfo, &new);
    Ok(())
}

fn set_host(call: &mut Call<'_>, heap: &mut Heap, side: Side, v: Value) -> Result<(), WriteError> {
    let text = clean(heap, v)?;
    let message = Rc::clone(&call.work.message);
    let old = address(call, side).uri;
    let uri = Uri::parse(old).map_err(|_| WriteError::NotHere)?;
    let part = crate::modules::rewrite::Part::Host(&text);
    crate::modules::rewrite::changed(old, part).map_err(|_| WriteError::Invalid)?;
    let span = Span::within(message.bytes(), uri.host).ok_or(WriteError::NotHere)?;
    call.work.edits.replace(span, &text);
    Ok(())
}

fn set_display(
    call: &mut Call<'_>,
    heap: &mut Heap,
    side: Side,
    value: Value,
) -> Result<(), WriteError> {
    let text = clean(heap, value)?;
    let message = Rc::clone(&call.work.message);
    let bytes = message.bytes();
    let old = address(call, side);
    let uri = Span::within(bytes, old.uri).ok_or(WriteError::NotHere)?;
    let display = old.display.and_then(|d| Span::within(bytes, d));
    let edits = &mut call.work.edits;
    if let Some(span) = display {
        edits.replace(span, &text);
        return Ok(());
    }
    if text.is_empty() {
        return Ok(());
    }
    let name = [&text[..], b" "].concat();
    // An addr-spec without brackets cannot have a display name (§20.10): it gets them.
    let before = bytes[..usize::from(uri.start)].trim_ascii_end();
    if before.ends_with(b"<") {
        edits.insert(before.len() as u16 - 1, &name);
    } else {
        edits.insert(uri.start, &[&name[..], b"<"].concat());
        edits.insert(uri.end, b">");
    }
    Ok(())
}
