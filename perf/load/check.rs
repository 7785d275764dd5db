//! Whether a message is what the other end has sent, as a proxy passes it on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::read::{Method, Seen, Start};
use super::write::{End, Writer, digits};

/// What can be wrong with a message, each counted for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// Nobody has asked for it, or it cannot be read.
    Unexpected,
    /// More or fewer Vias than it has hops.
    ViaCount,
    /// The Via of the one who began is not as it was, or the proxy's is none.
    Branch,
    /// Tags are not those of the call.
    Tags,
    /// The number or the method.
    CSeq,
    /// Not one Record-Route where one belongs, or one where none does, or a Route left over.
    Routes,
    /// The Request-URI or Max-Forwards.
    Target,
    /// Content-Length is missing, or not the length of the body.
    Length,
    /// Bytes of the body.
    Body,
}

impl Wrong {
    pub(crate) const ALL: [Wrong; 9] = [
        Wrong::Unexpected,
        Wrong::ViaCount,
        Wrong::Branch,
        Wrong::Tags,
        Wrong::CSeq,
        Wrong::Routes,
        Wrong::Target,
        Wrong::Length,
        Wrong::Body,
    ];
}

/// How many messages were wrong in which way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wrongs([u64; Wrong::ALL.len()]);

impl Wrongs {
    pub(crate) fn count(&mut self, wrong: Wrong) {
        self.0[wrong as usize] += 1;
    }

    pub(crate) fn of(&self, wrong: Wrong) -> u64 {
        self.0[wrong as usize]
    }

    pub(crate) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Wrongs) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }
}

impl Wrong {
    fn key(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Serialize for Wrongs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Wrong::ALL.map(|wrong| (wrong.key(), self.of(wrong))))
    }
}

impl<'de> Deserialize<'de> for Wrongs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Wrongs, D::Error> {
        let named = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let count = |wrong: Wrong| named.get(&wrong.key()).copied().unwrap_or(0);
        Ok(Wrongs(Wrong::ALL.map(count)))
    }
}

fn needed(is_right: bool, wrong: Wrong) -> Result<(), Wrong> {
    is_right.then_some(()).ok_or(wrong)
}

/// What the checks must know of the call besides its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The user part of its Request-URI.
    pub(crate) user: &'static str,
    /// The proxy has requests of its own in the dialog, so numbers move (RFC 3261 §12.2.1.1).
    pub(crate) has_more: bool,
    /// Its answer is none of success.
    pub(crate) is_refused: bool,
}

/// A request of the caller at the callee.
pub(crate) fn relayed(writer: &Writer, seen: &Seen<'_>, call: Expected) -> Result<(), Wrong> {
    let branch = match seen.method {
        Method::Invite | Method::Cancel => b'i',
        Method::Ack => b'a',
        Method::Bye => b'b',
        Method::Options => return Err(Wrong::Unexpected),
    };
    // CANCEL, and the ACK to a refusal, go from hop to hop (RFC 3261 §9.1, §17.1.1.3).
    let is_hop = seen.method == Method::Cancel || seen.method == Method::Ack && call.is_refused;
    needed(
        seen.via_count == if is_hop { 1 } else { 2 },
        Wrong::ViaCount,
    )?;
    let is_proxys = seen.first_via().starts_with(b"SIP/2.0/UDP ")
        && !seen.first_via().starts_with(&writer.via)
        && memchr::memmem::find(seen.first_via(), b";branch=z9hG4bK").is_some();
    needed(is_proxys, Wrong::Branch)?;
    if !is_hop {
        needed(
            is_via(writer, seen.last_via(), branch, seen.number),
            Wrong::Branch,
        )?;
    }
    let to = matches!(seen.method, Method::Ack | Method::Bye).then_some(b'b');
    needed(has_tags(seen, Some(b'a'), to), Wrong::Tags)?;
    let number = if seen.method == Method::Bye { 2 } else { 1 };
    let is_number = seen.cseq == number || call.has_more && seen.cseq > number;
    needed(
        is_number && seen.start == Start::Request(seen.method),
        Wrong::CSeq,
    )?;
    let recorded = u32::from(seen.method == Method::Invite);
    let is_routed = seen.record_route_count == recorded && seen.route_count == 0;
    needed(is_routed, Wrong::Routes)?;
    needed(is_target(writer, seen, call.user), Wrong::Target)?;
    needed(is_hop || seen.max_forwards == Some(69), Wrong::Target)?;
    content(writer, seen, seen.method == Method::Invite)
}

/// A request of the proxy's own, in a dialog of ours.
pub(crate) fn proxys(end: End, seen: &Seen<'_>) -> Result<(), Wrong> {
    let is_known = matches!(seen.method, Method::Bye | Method::Options);
    needed(
        is_known && seen.start == Start::Request(seen.method),
        Wrong::Unexpected,
    )?;
    needed(seen.via_count == 1, Wrong::ViaCount)?;
    let (from, to) = match end {
        End::Caller => (b'b', b'a'),
        End::Callee => (b'a', b'b'),
    };
    needed(has_tags(seen, Some(from), Some(to)), Wrong::Tags)?;
    needed(
        seen.record_route_count == 0 && seen.route_count == 0,
        Wrong::Routes,
    )?;
    needed(
        seen.content_length == Some(seen.body().len() as u32),
        Wrong::Length,
    )
}

/// An answer at the caller. `is_callees`: not one that the proxy has made.
pub(crate) fn answer(writer: &Writer, seen: &Seen<'_>, is_callees: bool) -> Result<(), Wrong> {
    let Start::Response(status) = seen.start else {
        return Err(Wrong::Unexpected);
    };
    needed(seen.via_count == 1, Wrong::ViaCount)?;
    let (branch, number) = match seen.method {
        Method::Invite | Method::Cancel => (b'i', 1),
        Method::Bye => (b'b', 2),
        Method::Ack | Method::Options => return Err(Wrong::Unexpected),
    };
    needed(
        is_via(writer, seen.first_via(), branch, seen.number),
        Wrong::Branch,
    )?;
    needed(seen.cseq == number, Wrong::CSeq)?;
    needed(
        has_tags(seen, Some(b'a'), is_callees.then_some(b'b')),
        Wrong::Tags,
    )?;
    let recorded = u32::from(is_callees && seen.method == Method::Invite && status < 300);
    let is_recorded = seen.record_route_count == recorded || status >= 300;
    needed(is_recorded, Wrong::Routes)?;
    let has_body = is_callees && seen.method == Method::Invite && status / 100 == 2;
    content(writer, seen, has_body)
}

fn content(writer: &Writer, seen: &Seen<'_>, has_body: bool) -> Result<(), Wrong> {
    let body = seen.body();
    needed(
        seen.content_length == Some(body.len() as u32),
        Wrong::Length,
    )?;
    let is_body = match has_body {
        true => writer.is_body(seen.number, body),
        false => body.is_empty(),
    };
    needed(is_body, Wrong::Body)
}

/// Whether a Via is what the caller wrote, with what a proxy may add (RFC 3261 §18.2.1).
fn is_via(writer: &Writer, via: &[u8], branch: u8, number: u64) -> bool {
    let rest = via.strip_prefix(&writer.via[..]);
    let rest = rest.and_then(|rest| rest.strip_prefix(&[branch]));
    let rest = rest.and_then(|rest| rest.strip_prefix(&digits(number)[..]));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b";"))
}

/// Whether the tags of From and To are those of the call's ends; `None` in To: any, or none.
fn has_tags(seen: &Seen<'_>, from: Option<u8>, to: Option<u8>) -> bool {
    let digits = digits(seen.number);
    let is_tag = |field: &[u8], end: u8| {
        let rest = field.strip_suffix(&digits[..]);
        rest.and_then(|rest| rest.strip_suffix(&[end]))
            .is_some_and(|rest| rest.ends_with(b";tag="))
    };
    from.is_none_or(|end| is_tag(seen.from(), end)) && to.is_none_or(|end| is_tag(seen.to(), end))
}

fn is_target(writer: &Writer, seen: &Seen<'_>, user: &str) -> bool {
    let rest = seen.target().strip_prefix(b"sip:");
    let rest = rest.and_then(|rest| rest.strip_prefix(user.as_bytes()));
    let rest = rest.and_then(|rest| rest.strip_prefix(b"@"));
    rest == Some(&writer.callee[..])
}
