//! Requests of our own in a dialog (RFC 3261 §12.2.1): who they are from and to, their number,
//! and where they go.
//!
//! A request to one side goes in the name of the other: with its tag, and with the number that
//! comes next behind its own (see [`super::numbers`]). It takes the route set and the remote
//! target of the side that it goes to, and leaves on the flow of that side where the target alone
//! would not reach it: a connection that is open, or the way back through a NAT.

use std::net::IpAddr;
use std::sync::Arc;

use crate::effect::{Destination, Flow};
use crate::modules::setup::Setup;
use crate::modules::state::{Env, State as Shard};
use crate::modules::tm::local::{self, Answer, LocalRequest, Owner};
use crate::modules::work::{Bytes, Work};
use crate::sip::param::{Params, Values};
use crate::sip::{Edits, HeaderName, Message, Method, Span, Uri};
use crate::slab::Key;

use super::leg::{Direction, Leg};
use super::strings::Field;
use super::table::Dialog;
use super::table::iflag;
use super::transfer::{self, Heard};
use super::{bye, keepalive, scope::Role};

/// How far a number is put ahead when the requests of a side do not come through here, so that
/// nobody knows which it has used.
const UNSEEN_CSEQ_GAP: u32 = 100;

/// What a request of ours in a dialog is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It ends the dialog for the side that it goes to.
    Bye,
    /// It asks whether that side is still there.
    Ping,
    /// It refers the side to somebody else, for this transfer.
    Refer(Key),
    /// It tells a side that was referred that it is over here.
    Leave(Key),
}

/// A request of ours in a dialog, as its answer finds it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The dialog.
    pub dialog: Key,
    /// Which way the request went.
    pub way: Direction,
    /// What it is for.
    pub purpose: Purpose,
}

impl Purpose {
    fn method(self) -> &'static [u8] {
        match self {
            Purpose::Bye | Purpose::Leave(_) => b"BYE",
            Purpose::Refer(_) => b"REFER",
            Purpose::Ping => b"OPTIONS",
        }
    }
}

/// A request in a dialog, ready to be sent. `None`: that side cannot be reached, because it never
/// said who it is (a call that a script answered has no callee).
pub(super) fn within(env: &mut Env<'_>, sent: Sent) -> Option<LocalRequest> {
    let setup = Arc::clone(&env.state.setup);
    let dialog = env.state.dialogs.table.get_mut(sent.dialog)?;
    let side = Side::of(dialog, sent.way);
    if side.tag.is_empty() {
        return None;
    }
    let (uri, next_hop) = target(side);
    let routes = route_set(dialog.strings.get(side.routes));
    let along = if next_hop.is_none() {
        flow_of(side, &uri, routes.is_empty())
    } else {
        None
    };
    let (from, to) = (party(dialog, sent.way.reversed()), party(dialog, sent.way));
    let request = LocalRequest {
        method: sent.purpose.method().into(),
        uri,
        next_hop,
        along,
        socket: side.leg.flow.map(|flow| flow.socket),
        from,
        to,
        call_id: dialog.call_id().into(),
        cseq: 0,
        routes,
        headers: callee_headers(&setup, sent.way).into(),
        body: Bytes::from(&[][..]),
        credential: None,
        attempts: 0,
        owner: Owner::Dialog(sent),
    };
    let cseq = match sent.purpose {
        // Nobody could make up for a number that this one uses.
        Purpose::Ping if !dialog.is_in_path => {
            let last = dialog.sender_mut(sent.way).cseq.unwrap_or(0);
            last.saturating_sub(1)
        }
        Purpose::Bye | Purpose::Ping | Purpose::Refer(_) | Purpose::Leave(_) => {
            next_number(dialog, sent.way)
        }
    };
    Some(LocalRequest { cseq, ..request })
}

fn callee_headers(setup: &Setup, way: Direction) -> &[u8] {
    match way {
        Direction::Downstream => &setup.config.dialog.lreq_callee_headers,
        Direction::Upstream => b"",
    }
}

/// The side that a request goes to.
#[derive(Clone, Copy)]
struct Side<'a> {
    leg: &'a Leg,
    tag: &'a [u8],
    contact: &'a [u8],
    /// What to write when it gave no Contact.
    instead: &'a [u8],
    routes: Field,
}

impl Side<'_> {
    fn of(dialog: &Dialog, way: Direction) -> Side<'_> {
        let text = |field| dialog.strings.get(field);
        match way {
            Direction::Downstream => Side {
                leg: &dialog.callee,
                tag: text(Field::CalleeTag),
                contact: text(Field::CalleeContact),
                instead: text(Field::Ruri),
                routes: Field::CalleeRoutes,
            },
            Direction::Upstream => Side {
                leg: &dialog.caller,
                tag: text(Field::CallerTag),
                contact: text(Field::CallerContact),
                instead: text(Field::FromUri),
                routes: Field::CallerRoutes,
            },
        }
    }
}

/// From or To: the URI and tag of the side at the end of this way.
fn party(dialog: &Dialog, way: Direction) -> Bytes {
    let (uri, tag) = match way {
        Direction::Downstream => (Field::ToUri, Field::CalleeTag),
        Direction::Upstream => (Field::FromUri, Field::CallerTag),
    };
    let (uri, tag) = (dialog.strings.get(uri), dialog.strings.get(tag));
    if tag.is_empty() {
        return [b"<", uri, b">"].concat().into();
    }
    [b"<", uri, b">;tag=", tag].concat().into()
}

/// The number of the next request that goes this way and does not come from its sender.
pub(super) fn next_number(dialog: &mut Dialog, way: Direction) -> u32 {
    let last = dialog.sender_mut(way).cseq.unwrap_or(0);
    let gap = if dialog.is_in_path {
        1
    } else {
        UNSEEN_CSEQ_GAP
    };
    dialog.raised_mut(way).take(last.saturating_add(gap))
}

/// A challenge to a request of ours is answered with the next number (§22.2, §8.1.3.5).
pub fn renumber(shard: &mut Shard, request: &mut LocalRequest) {
    let Owner::Dialog(sent) = request.owner else {
        return;
    };
    if let Some(dialog) = shard.dialogs.table.get_mut(sent.dialog) {
        request.cseq = next_number(dialog, sent.way);
    }
    if let Purpose::Refer(key) = sent.purpose {
        transfer::renumbered(shard, key, request.cseq);
    }
}

/// The Request-URI, and the next hop if the Contact names one of its own: an `alias` parameter,
/// written by a proxy that knew the address behind a NAT (RFC 5923 §4 has the word).
fn target(side: Side<'_>) -> (Bytes, Option<Bytes>) {
    if side.contact.is_empty() {
        return (side.instead.into(), None);
    }
    let found = Uri::parse(side.contact)
        .ok()
        .and_then(|uri| Some((uri, alias_uri(uri.param(b"alias")?)?)));
    match found {
        Some((uri, next_hop)) => (without_param(side.contact, &uri, b"alias"), Some(next_hop)),
        None => (side.contact.into(), None),
    }
}

/// `192.0.2.1~5060~1` as a URI; the last number is the transport.
fn alias_uri(alias: &[u8]) -> Option<Bytes> {
    let mut parts = alias.split(|b| *b == b'~');
    let (host, port, proto) = (parts.next()?, parts.next()?, parts.next()?);
    let transport: &[u8] = match proto {
        b"1" => b"udp",
        b"2" => b"tcp",
        b"3" => b"tls",
        b"4" => b"sctp",
        b"5" => b"ws",
        b"6" => b"wss",
        _ => return None,
    };
    let uri = [b"sip:", host, b":", port, b";transport=", transport].concat();
    Uri::parse(&uri).ok()?;
    Some(uri.into())
}

fn without_param(text: &[u8], uri: &Uri<'_>, name: &[u8]) -> Bytes {
    let Some(span) = Span::within(text, uri.params) else {
        return text.into();
    };
    let kept = Params::new(uri.params).filter(|param| !param.is(name));
    let mut out = text[..usize::from(span.start) - 1].to_vec();
    for param in kept {
        out.push(b';');
        out.extend_from_slice(param.name);
        if let Some(value) = param.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out.extend_from_slice(&text[usize::from(span.end)..]);
    out.into()
}

/// A stored route set as values of Route.
fn route_set(joined: &[u8]) -> Vec<Bytes> {
    let all = Span {
        start: 0,
        end: joined.len() as u16,
    };
    Values::new(joined, all)
        .map(|span| Bytes::from(span.of(joined)))
        .collect()
}

/// The flow of a side, where its target alone will not do: a connection, which nobody else can
/// open behind a NAT; or the source of its datagrams, when the target is an address that means
/// nothing here. With a route set the next hop is a proxy, which says where it wants to be
/// reached; only a connection of its comes before that.
fn flow_of(side: Side<'_>, uri: &[u8], is_direct: bool) -> Option<Destination> {
    along(side.leg.flow?, uri, is_direct)
}

/// The same for the flow that this target has spoken on.
pub fn along(flow: Flow, uri: &[u8], is_direct: bool) -> Option<Destination> {
    if flow.conn.is_some() {
        let wanted = Uri::parse(uri).ok().and_then(|uri| uri.transport());
        let is_wanted =
            wanted.is_none_or(|name| name.eq_ignore_ascii_case(flow.proto.lower().as_bytes()));
        // The port at the far end of a connection listens to nobody.
        return (is_wanted || !is_direct).then_some(Destination {
            no_connect: true,
            ..Destination::along(flow)
        });
    }
    (is_direct && is_behind(flow, uri)).then(|| Destination::along(flow))
}

/// Whether a datagram to this Contact would not come to where its owner's come from.
fn is_behind(flow: Flow, uri: &[u8]) -> bool {
    let Ok(uri) = Uri::parse(uri) else {
        return true;
    };
    match uri.host_ip() {
        Some(ip) => ip != flow.remote.ip() && is_private(ip),
        // RFC 2606 §2: what somebody writes who knows that his address is of no use.
        None => uri.host.to_ascii_lowercase().ends_with(b".invalid"),
    }
}

/// RFC 1918, 3927, 6598, 4193, 4291.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && b & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || is_shared
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            ip.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

/// A request of ours in a dialog has been answered, or has failed.
pub fn answered(env: &mut Env<'_>, sent: Sent, heard: Heard<'_>) {
    if goes_again(env, heard.request, heard.answer) {
        return;
    }
    if heard.answer.status().is_some_and(|status| status < 200) {
        return;
    }
    match sent.purpose {
        Purpose::Bye => bye::answered(env, sent.dialog),
        Purpose::Ping => keepalive::answered(env, sent, heard.answer),
        Purpose::Refer(transfer) => transfer::refer_answered(env, transfer, heard),
        Purpose::Leave(transfer) => transfer::bye_answered(env, transfer),
    }
}

/// Whether the request has only met a flow that is gone (RFC 5626 §5.3 would give up): the target
/// may still be there, and the request goes to it.
pub(super) fn goes_again(env: &mut Env<'_>, request: &LocalRequest, answer: &Answer) -> bool {
    let is_unreached = matches!(answer, Answer::Failed(477)) && request.along.is_some();
    let again = || LocalRequest {
        along: None,
        ..request.clone()
    };
    is_unreached && local::send(env.state, again())
}

/// The changes to a request in a dialog on its way out: its number as the other side counts, in
/// CSeq and, of the request that a PRACK is about, in RAck (RFC 3262 §7.2); and the number of the
/// REFER that a NOTIFY is about, as its sender counts.
pub fn renumbered(shard: &Shard, work: &Work) -> Option<Edits> {
    let dialog = shard.dialogs.table.get(work.dialog.current?)?;
    let way = work.dialog.role?.way();
    let (raised, back) = (dialog.raised(way)?, dialog.raised(way.reversed())?);
    let message = &*work.message;
    let mut edits = Edits::new();
    replace_number(message, HeaderName::CSeq, 0, &mut edits, |n| {
        raised.outgoing(n)
    });
    replace_number(message, HeaderName::RAck, 1, &mut edits, |n| {
        raised.outgoing(n)
    });
    if message.method() == Method::Notify
        && let Some(id) = refer_number(message)
    {
        replace_word(message, id, &mut edits, |n| back.incoming(n));
    }
    (!edits.is_empty()).then_some(edits)
}

/// The number by which a NOTIFY names the REFER that it is about (RFC 3515 §2.4.6): its receiver
/// sent that one, and knows it under the number of his own.
fn refer_number(message: &Message) -> Option<&[u8]> {
    let value = message.text(message.first(HeaderName::Event)?.value);
    let at = value.iter().position(|b| *b == b';')?;
    let (package, params) = (value[..at].trim_ascii(), &value[at + 1..]);
    let mut ids = Params::new(params).filter(|param| param.is(b"id"));
    package
        .eq_ignore_ascii_case(b"refer")
        .then(|| ids.next()?.value)?
}

/// A request in a dialog goes once more with credentials (`uac_auth`): with the next number, as
/// §22.2 asks, and so does whatever its sender sends after it. `track_cseq_updates` only.
pub fn retried(env: &mut Env<'_>, work: &Work) {
    if !env.state.setup.config.dialog.track_cseq_updates {
        return;
    }
    let way = work.dialog.role.map(Role::way);
    let dialog = work
        .dialog
        .current
        .and_then(|key| env.state.dialogs.table.get_mut(key));
    let (Some(way), Some(dialog)) = (way, dialog) else {
        return;
    };
    let number = work.message.cseq().number;
    let last = dialog.sender_mut(way).cseq.unwrap_or(number);
    let raised = dialog.raised_mut(way);
    raised.again(number, last);
    if way == Direction::Downstream {
        let difference = raised.latest().to_string();
        dialog.iflags |= iflag::CSEQ_DIFF;
        // What the documentation promises to scripts; nothing here reads it.
        let _ = dialog.vars.set(b"cseq_diff", difference.as_bytes());
    }
}

/// The same for a response on its way back: the number of the request as it came in.
pub fn restored(response: &Message, number: u32, edits: &mut Edits) {
    replace_number(response, HeaderName::CSeq, 0, edits, |_| number);
}

/// The number that the sender of a request without a transaction gave it, from its response.
pub fn sent_number(shard: &Shard, response: &Message) -> Option<u32> {
    let (from, to) = (response.from_tag()?, response.to_tag()?);
    let table = &shard.dialogs.table;
    let (key, way) = table.find(response.call_id(), from, to)?;
    let raised = table.get(key)?.raised(way)?;
    Some(raised.incoming(response.cseq().number))
}

/// Puts another number in place of the word at `index` of a header field, if it differs.
fn replace_number(
    message: &Message,
    name: HeaderName,
    index: usize,
    edits: &mut Edits,
    new: impl Fn(u32) -> u32,
) {
    let Some(header) = message.first(name) else {
        return;
    };
    let value = header.value.of(message.bytes());
    let mut words = value
        .split(|b| b.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    if let Some(word) = words.nth(index) {
        replace_word(message, word, edits, new);
    }
}

/// The same in place of this word of a message.
fn replace_word(message: &Message, word: &[u8], edits: &mut Edits, new: impl Fn(u32) -> u32) {
    let number = std::str::from_utf8(word).ok().and_then(|w| w.parse().ok());
    let (Some(number), Some(span)) = (number, Span::within(message.bytes(), word)) else {
        return;
    };
    let new = new(number);
    if new != number {
        edits.replace(span, new.to_string().as_bytes());
    }
}

/// Whether a request is one of our own that came back, because our own Record-Route stayed in a
/// route set (`keep_proxy_rr`): it has had its number, and has done what it is for.
pub(super) fn is_own(shard: &Shard, message: &Message) -> bool {
    let found = shard.tm.find_branch(message);
    let transaction = found.and_then(|own| shard.tm.get(own.branch.transaction));
    transaction.is_some_and(|t| t.local.is_some())
}
