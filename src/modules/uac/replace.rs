//! Other names in From and To: `uac_replace_from` and its kin.
//!
//! The callee of a call sees the new name, the caller the old one, for as long as the call lasts.
//! Responses get back what their request came in with. Requests in the dialog are told by a
//! parameter of our Record-Route (RFC 3261 §16.12 carries it back to us): the old and the new URI,
//! each byte of one XOR that of the other, the shorter filled up with zeros, in base64 with `-`
//! for `=`; with `restore_passwd` each byte XOR that of the password, over and over. Whichever of
//! the two URIs a request carries, the parameter turns it into the other.
//!
//! With `restore_dlg` variables of the dialog say it instead, see [`VARIABLES`].

use std::rc::Rc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::effect::Level;
use crate::modules::Call;
use crate::modules::dialog::variables::{set_var, var};
use crate::modules::entry::{NO, YES, text_of, truth};
use crate::modules::pv::avp::{Avps, Stored};
use crate::modules::rr;
use crate::modules::work::Work;
use crate::script::{CallSite, Heap, Outcome};
use crate::sip::{Edits, HeaderName, Message, NameAddr, Span, Uri};

use super::Restore;

/// Padding is written as `-` by hand, because `=` would end the parameter for some readers.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Which of the two header fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    From,
    To,
}

impl Side {
    const fn header(self) -> HeaderName {
        match self {
            Side::From => HeaderName::From,
            Side::To => HeaderName::To,
        }
    }

    const fn other(self) -> Side {
        match self {
            Side::From => Side::To,
            Side::To => Side::From,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Side::From => "from",
            Side::To => "to",
        }
    }
}

/// Which names a request left with that it had not come in with.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Names {
    from: bool,
    to: bool,
}

impl Names {
    /// What either changed.
    pub fn merge(&mut self, other: Names) {
        self.from |= other.from;
        self.to |= other.to;
    }

    fn has(&mut self, side: Side) -> &mut bool {
        match side {
            Side::From => &mut self.from,
            Side::To => &mut self.to,
        }
    }
}

/// `uac_replace_from([display,] uri)`, `uac_replace_to([display,] uri)`.
pub(super) fn replace(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    side: Side,
) -> Outcome {
    let first = text_of(call, heap, site, 0).unwrap_or_default();
    let second = text_of(call, heap, site, 1);
    let (display, uri) = match &second {
        Some(uri) => (Some(&*first), &**uri),
        None => (None, &*first),
    };
    if *call.work.names.has(side) || is_edited(call.work, side) {
        let text = format!(
            "uac_replace_{}: the name has been replaced already",
            side.name()
        );
        call.env.log(Level::Err, text);
        return NO;
    }
    let message = Rc::clone(&call.work.message);
    let Some(place) = Place::of(&message, side) else {
        return NO;
    };
    let new = place.renamed(display, uri);
    call.work.edits.replace(place.whole, &new);
    call.work.replaced.merge(names(side));
    let setup = std::sync::Arc::clone(&call.env.state.setup);
    let config = &setup.config.uac;
    if uri.is_empty() || config.restore == Restore::None {
        return YES;
    }
    call.work.names.merge(names(side));
    let avp = config.avps[side as usize].as_bytes();
    if !avp.is_empty() {
        let old = Stored::Text(place.uri.into());
        // Without room for it the request itself says what it was.
        let _ = call.work.avps.push(avp, old);
    }
    if config.by_dialog {
        return truth(keep_in_dialog(call, (side, &place), display, uri));
    }
    let name = match side {
        Side::From => &config.from_param,
        Side::To => &config.to_param,
    };
    let value = encode(&obscured(&xor(place.uri, uri), config.password.as_bytes()));
    let param = format!(";{name}={value}");
    call.work.rr.params.extend_from_slice(param.as_bytes());
    YES
}

/// The names of the variables of a dialog: old and new URI, old and new display name.
const VARIABLES: [[&str; 4]; 2] = [
    ["_uac_fu", "_uac_funew", "_uac_fdp", "_uac_fdpnew"],
    ["_uac_to", "_uac_tonew", "_uac_tdp", "_uac_tdpnew"],
];

fn keep_in_dialog(
    call: &mut Call<'_>,
    (side, place): (Side, &Place<'_>),
    display: Option<&[u8]>,
    uri: &[u8],
) -> bool {
    let [old, new, old_display, new_display] = VARIABLES[side as usize];
    let mut is_kept = set_var(call, old.as_bytes(), place.uri);
    is_kept &= set_var(call, new.as_bytes(), uri);
    if let Some(display) = display {
        let before = place.display.unwrap_or_default();
        is_kept &= set_var(call, old_display.as_bytes(), before);
        is_kept &= set_var(call, new_display.as_bytes(), display);
    }
    is_kept
}

/// What a request in the dialog is to bear on this side of the initial request: the new names when
/// it goes on to the callee, the old ones when it comes back.
fn kept_in_dialog(
    call: &Call<'_>,
    side: Side,
    is_upstream: bool,
) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let [old, new, old_display, new_display] = VARIABLES[side as usize];
    let (uri, display) = match is_upstream {
        true => (old, old_display),
        false => (new, new_display),
    };
    let display = var(call, display.as_bytes()).map(<[u8]>::to_vec);
    let uri = var(call, uri.as_bytes()).filter(|uri| !uri.is_empty())?;
    Some((uri.to_vec(), display))
}

/// Each byte XOR one of the password, over and over.
fn obscured(bytes: &[u8], password: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return bytes.to_vec();
    }
    let password = password.iter().cycle();
    bytes.iter().zip(password).map(|(a, b)| a ^ b).collect()
}

fn is_edited(work: &Work, side: Side) -> bool {
    let mut replaced = work.replaced;
    *replaced.has(side)
}

fn names(side: Side) -> Names {
    Names {
        from: side == Side::From,
        to: side == Side::To,
    }
}

/// Where the name stands in From or To.
struct Place<'a> {
    /// Display name and URI, brackets included.
    whole: Span,
    display: Option<&'a [u8]>,
    uri: &'a [u8],
    has_brackets: bool,
}

impl Place<'_> {
    fn of(message: &Message, side: Side) -> Option<Place<'_>> {
        let header = message.first(side.header())?;
        let value = header.value.of(message.bytes());
        let address = NameAddr::parse(value).ok()?;
        let uri = Span::within(message.bytes(), address.uri)?;
        let has_brackets = message.bytes().get(usize::from(uri.end)) == Some(&b'>');
        let whole = Span {
            start: header.value.start,
            end: uri.end + u16::from(has_brackets),
        };
        Some(Place {
            whole,
            display: address.display,
            uri: address.uri,
            has_brackets,
        })
    }

    /// Without a display name the old one stays; an empty one takes it away. An empty URI stays.
    fn renamed(&self, display: Option<&[u8]>, uri: &[u8]) -> Vec<u8> {
        let display = display.or(self.display).unwrap_or_default();
        let uri = if uri.is_empty() { self.uri } else { uri };
        if display.is_empty() && !self.has_brackets {
            return uri.to_vec();
        }
        let blank: &[u8] = if display.is_empty() { b"" } else { b" " };
        [display, blank, b"<", uri, b">"].concat()
    }
}

/// Byte by byte, as long as the longer of the two.
fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    let at = |text: &[u8], i: usize| text.get(i).copied().unwrap_or(0);
    (0..a.len().max(b.len()))
        .map(|i| at(a, i) ^ at(b, i))
        .collect()
}

fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes).replace('=', "-")
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .iter()
        .map(|b| if *b == b'-' { b'=' } else { *b })
        .collect();
    BASE64.decode(text).ok()
}

/// The other of the two URIs that the parameter is made of. `None`: the URI is neither, because
/// an end point has changed it.
fn other_uri(uri: &[u8], param: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let mask = obscured(&decode(param)?, password);
    if mask.len() < uri.len() {
        return None;
    }
    let mut other = xor(uri, &mask);
    let end = other.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    other.truncate(end);
    let is_clean = other
        .iter()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'));
    (is_clean && Uri::parse(&other).is_ok()).then_some(other)
}

/// The Route that led here has been followed: a request in a dialog whose names were replaced
/// gets the other ones.
pub fn after_loose_route(call: &mut Call<'_>) {
    let is_auto = call.env.state.setup.config.uac.restore == Restore::Auto;
    if is_auto && call.work.message.to_tag().is_some() {
        restore(call, Side::From);
        restore(call, Side::To);
    }
}

/// `uac_restore_from()`, `uac_restore_to()`.
pub(super) fn uac_restore(call: &mut Call<'_>, side: Side) -> Outcome {
    truth(restore(call, side))
}

/// Turns the name that was replaced on this side of the initial request. From the callee, it
/// stands on the other side.
fn restore(call: &mut Call<'_>, side: Side) -> bool {
    let setup = std::sync::Arc::clone(&call.env.state.setup);
    let config = &setup.config.uac;
    if config.by_dialog {
        return restore_by_dialog(call, side);
    }
    let name = match side {
        Side::From => &config.from_param,
        Side::To => &config.to_param,
    };
    let params = call.work.rr.route_params().unwrap_or_default();
    let Some(param) = value_of(params, name.as_bytes()) else {
        return false;
    };
    let here = if rr::is_upstream(call) {
        side.other()
    } else {
        side
    };
    let mut left_with = call.work.names;
    if *left_with.has(here) {
        return false;
    }
    let message = Rc::clone(&call.work.message);
    let Some(place) = Place::of(&message, here) else {
        return false;
    };
    let Some(uri) = other_uri(place.uri, param, config.password.as_bytes()) else {
        let text = format!("{name} does not fit the URI of the request, which stays as it is");
        call.env.log(Level::Warn, text);
        return false;
    };
    call.work
        .edits
        .replace(place.whole, &place.renamed(None, &uri));
    call.work.names.merge(names(here));
    call.work.replaced.merge(names(here));
    true
}

fn restore_by_dialog(call: &mut Call<'_>, side: Side) -> bool {
    let is_upstream = rr::is_upstream(call);
    let here = if is_upstream { side.other() } else { side };
    let Some((uri, display)) = kept_in_dialog(call, side, is_upstream) else {
        return false;
    };
    let message = Rc::clone(&call.work.message);
    let Some(place) = Place::of(&message, here).filter(|_| !*call.work.names.has(here)) else {
        return false;
    };
    let new = place.renamed(display.as_deref(), &uri);
    call.work.edits.replace(place.whole, &new);
    call.work.names.merge(names(here));
    call.work.replaced.merge(names(here));
    true
}

fn value_of<'a>(params: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    params.split(|b| *b == b';').find_map(|param| {
        let value = param.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value)
    })
}

/// Gives a response the names of the request as it came in; the To tag is the response's. Where an
/// AVP has kept the URI, it says what it was, also when the request has been changed for good.
pub fn restore_in_response(
    (mut names, config, avps): (Names, &super::Config, &Avps),
    request: &Message,
    response: &Message,
    edits: &mut Edits,
) {
    for side in [Side::From, Side::To] {
        if !*names.has(side) {
            continue;
        }
        let (Some(old), Some(new)) = (Place::of(request, side), Place::of(response, side)) else {
            continue;
        };
        let name = config.avps[side as usize].as_bytes();
        match avps.all(name).next().filter(|_| !name.is_empty()) {
            Some(Stored::Text(uri)) if Uri::parse(uri).is_ok() => {
                edits.replace(new.whole, &old.renamed(None, uri));
            }
            Some(_) | None => edits.replace(new.whole, old.whole.of(request.bytes())),
        }
    }
}

/// Reads anything as a parameter, with anything as the URI it is to change.
pub fn fuzz_restore(data: &[u8]) {
    let (uri, param) = data.split_at(data.len() / 2);
    if let Some(other) = other_uri(uri, param, b"") {
        assert_eq!(xor(&other, uri).len(), other.len().max(uri.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample::{INVITE, run};

    #[test]
    fn a_parameter_turns_each_uri_into_the_other() {
        // The second column was written by the original.
        let table = [
            (
                "sip:alice@a.test",
                "sip:new@anon.test",
                "AAAAAA8JHiMELg5AWhEWB3Q-",
            ),
            (
                "sip:b@b.test",
                "sip:newto@anon.test",
                "AAAAAAwlFVobJRIab24udGVzdA--",
            ),
            ("sip:a@b", "sip:x@y", "AAAAABkAGw--"),
        ];
        for (old, new, param) in table {
            assert_eq!(encode(&xor(old.as_bytes(), new.as_bytes())), param, "{old}");
            let there = other_uri(old.as_bytes(), param.as_bytes(), b"");
            assert_eq!(there.as_deref(), Some(new.as_bytes()), "{old}");
            let back = other_uri(new.as_bytes(), param.as_bytes(), b"");
            assert_eq!(back.as_deref(), Some(old.as_bytes()), "{new}");
        }
        let plus = encode(&xor(b"sip:u-xA@h", b"sip:~~~~~~~~~~~"));
        assert_eq!(plus, "AAAAAAtTBj8+Fn5+fn5+");
        for (uri, param) in [
            ("sip:c@d", "AAAAAA8JHiMELg5AWhEWB3Q-"),
            ("sip:alice@a.test", "AAAAABkAGw--"),
            ("sip:alice@a.test", "****"),
            ("sip:alice@a.test", ""),
        ] {
            let other = other_uri(uri.as_bytes(), param.as_bytes(), b"");
            assert_eq!(other, None, "{uri}");
        }
        // These were written by the original, too.
        for (password, param) in [
            ("pw", "cHdwd39+blR0WX43KmZmcAQ-"),
            ("abcdefghijklmnopqrstuvwxyz", "YWJjZGpveUttRGUsN395dwU-"),
            ("x", "eHh4eHdxZlt8VnY4Imlufww-"),
        ] {
            let mask = xor(b"sip:alice@a.test", b"sip:new@anon.test");
            assert_eq!(encode(&obscured(&mask, password.as_bytes())), param);
            let there = other_uri(b"sip:alice@a.test", param.as_bytes(), password.as_bytes());
            assert_eq!(
                there.as_deref(),
                Some(&b"sip:new@anon.test"[..]),
                "{password}"
            );
        }
    }

    #[test]
    fn names_as_the_original_writes_them() {
        let table = [
            (
                "<sip:a@b>;tag=1",
                r#"uac_replace_from("", "sip:x@y")"#,
                "<sip:x@y>;tag=1",
            ),
            (
                "sip:a@b;tag=1",
                r#"uac_replace_from("", "sip:x@y")"#,
                "sip:x@y;tag=1",
            ),
            (
                "\"Al\" <sip:a@b>;tag=1",
                r#"uac_replace_from("", "sip:x@y")"#,
                "<sip:x@y>;tag=1",
            ),
            (
                "<sip:a@b>;tag=1",
                r#"uac_replace_from("\"D\"", "")"#,
                "\"D\" <sip:a@b>;tag=1",
            ),
            (
                "sip:a@b;tag=1",
                r#"uac_replace_from("\"D\"", "")"#,
                "\"D\" <sip:a@b>;tag=1",
            ),
            (
                "\"Al\" <sip:a@b>;tag=1",
                r#"uac_replace_from("sip:x@y")"#,
                "\"Al\" <sip:x@y>;tag=1",
            ),
            (
                "sip:a@b;tag=1",
                r#"uac_replace_from("sip:x@y")"#,
                "sip:x@y;tag=1",
            ),
            (
                "\"Al\" <sip:a@b>;tag=1",
                r#"uac_replace_from("D", "sip:x@y")"#,
                "D <sip:x@y>;tag=1",
            ),
            (
                "\"Al\" <sip:a@b>;tag=1",
                r#"uac_replace_from("", "")"#,
                "<sip:a@b>;tag=1",
            ),
        ];
        for (from, statement, want) in table {
            let message = INVITE.replace("\"Alice, A.\" <sip:alice@a.test:5066;y=2>;tag=77", from);
            let ran = run(&format!("{statement};"), &message);
            let changed = ran.changed();
            assert!(
                changed.contains(&format!("\r\nf: {want}\r\n")),
                "{from} {statement}: {changed}"
            );
        }
    }

    #[test]
    fn a_name_is_replaced_once() {
        let ran = run(
            "$var(a) = uac_replace_to(\"sip:x@y\"); $var(b) = uac_replace_to(\"sip:z@y\");
             $var(c) = uac_restore_from(); xlog(\"$var(a) $var(b) $var(c)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["1 -1 -1"]);
    }
}
