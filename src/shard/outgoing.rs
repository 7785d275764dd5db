//! A request as it leaves: RFC 3261 §16.6 steps 2 to 8.
//!
//! The received bytes stay as they are; what changes is collected as edits and applied in one
//! copy: our Record-Route and Via on top, the source marked in the Via below, the Request-URI,
//! and what the script changed.

use crate::effect::{Address, Destination, Proto};
use crate::modules::Setup;
use crate::modules::corex;
use crate::modules::pv::avp::Stored;
use crate::modules::rr::record::{self, Ingredients};
use crate::modules::tm::identity::{self, OwnBranch};
use crate::modules::work::{Bytes, Target, Work};
use crate::sip::{Edits, HeaderName, Message, Press, Uri, via};
use crate::text;

/// The branch value for our Via.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// Of a transaction.
    Stateful(OwnBranch),
    /// Computed from the request (§16.11).
    Stateless,
}

impl Own {
    fn write(&self, request: &Message, out: &mut Vec<u8>) {
        match self {
            Own::Stateful(own) => own.write(out),
            Own::Stateless => identity::write_stateless(request, out),
        }
    }
}

/// The request for one branch, with `changes` beside those of the script. `None`: it has grown
/// beyond what one message may have.
pub(super) fn request(
    (setup, press): (&Setup, &mut Press),
    work: &Work,
    target: &Target,
    to: Destination,
    (own, changes): (Own, Option<Edits>),
) -> Option<Bytes> {
    let message = &work.message;
    press.clear();
    let Press { edits, lines, out } = press;
    if let Some(changes) = &changes {
        edits.clone_from(changes);
    }
    let written = target.uri.as_deref().unwrap_or_else(|| message.uri());
    let uri = without_headers(written);
    if target.uri.is_some() || uri.len() < written.len() {
        edits.replace(message.uri_span(), uri);
    }
    top_lines(setup, work, target, to, &own, lines);
    edits.insert(message.headers_start(), lines);
    let source = work.flow.remote;
    via::mark(&message.top_via(), source, work.force_rport, edits);
    if to.proto.is_reliable() && !message.has(HeaderName::ContentLength) {
        // §18.3: on a stream nothing else says where the message ends.
        let line = format!("Content-Length: {}\r\n", message.body().len());
        edits.insert(message.headers_end(), line.as_bytes());
    }
    edits.extend_from(&work.edits);
    edits.apply(message.bytes(), out);
    (out.len() <= crate::limits::MESSAGE_SIZE_MAX).then(|| Bytes::from(&out[..]))
}

/// A Request-URI has no header component (RFC 3261 §19.1.1): what the script saw of it does not go
/// on, nor become header fields (RFC 4475 §3.1.2.11).
fn without_headers(uri: &[u8]) -> &[u8] {
    if memchr::memchr(b'?', uri).is_none() {
        return uri;
    }
    match Uri::parse(uri) {
        Ok(parts) if !parts.headers.is_empty() => &uri[..uri.len() - parts.headers.len() - 1],
        _ => uri,
    }
}

/// Record-Route and Via, in this order from the top.
fn top_lines(
    setup: &Setup,
    work: &Work,
    target: &Target,
    to: Destination,
    own: &Own,
    lines: &mut Vec<u8>,
) {
    if let Some(record) = &work.rr.record {
        let uri = target.uri.as_deref().unwrap_or_else(|| work.message.uri());
        let user = recorded_user(setup, work, uri);
        let ingredients = Ingredients {
            config: &setup.config.rr,
            user,
            from_tag: work.message.from_tag(),
            params: &work.rr.params,
        };
        let sides = (setup.address(work.flow.socket), setup.address(to.socket));
        record::write(record, ingredients, sides, lines);
    }
    via_line(setup, work, to, own, lines);
}

/// The user part of our Record-Route. One that would end the URI is left out.
fn recorded_user<'a>(setup: &Setup, work: &'a Work, uri: &'a [u8]) -> Option<&'a [u8]> {
    let config = &setup.config.rr;
    if !config.add_username {
        return None;
    }
    let name = config.custom_user_avp.as_bytes();
    let custom = work.avps.all(name).next().filter(|_| !name.is_empty());
    match custom {
        Some(Stored::Text(user)) => {
            let ends = |b: &u8| b.is_ascii_control() || b" <>@\"".contains(b);
            Some(&**user).filter(|user| !user.is_empty() && !user.iter().any(ends))
        }
        Some(Stored::Int(_)) | None => Uri::parse(uri).ok()?.user,
    }
}

fn via_line(setup: &Setup, work: &Work, to: Destination, own: &Own, line: &mut Vec<u8>) {
    let (host, port) = &work.advertised;
    // What a script says of one request comes before what the configuration says of all.
    let core = &setup.config.core;
    let (own_host, own_port) = corex::fields(core, work.via_wishes, &work.avps);
    let host = own_host.as_deref().map(str::as_bytes).or(host.as_deref());
    let host = host.or_else(|| core.advertised_address.as_deref().map(str::as_bytes));
    let port = own_port.or(*port).or(core.advertised_port);
    line.extend_from_slice(b"Via: ");
    push_via(to.proto, (setup.address(to.socket), host, port), line);
    own.write(&work.message, line);
    if work.local_rport {
        line.extend_from_slice(b";rport");
    }
    if work.server_id {
        line.extend_from_slice(format!(";srvid={}", core.server_id).as_bytes());
    }
    line.extend_from_slice(corex::params(core, work.via_wishes, &work.avps).as_bytes());
    line.extend_from_slice(b"\r\n");
}

/// A Via of ours up to its branch; host and port instead of those of the address, if given.
pub(super) fn push_via(
    proto: Proto,
    (address, host, port): (&Address, Option<&[u8]>, Option<u16>),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"SIP/2.0/");
    out.extend_from_slice(proto.upper().as_bytes());
    out.push(b' ');
    match host {
        Some(host) => out.extend_from_slice(host),
        None => address.push_sent_by_host(out),
    }
    let port = port.unwrap_or(address.sent_by_port());
    if port != address.proto.default_port() {
        out.push(b':');
        text::push_number(out, port.into());
    }
    out.extend_from_slice(b";branch=");
}

/// The same request on its way to another address (RFC 3263 §4.3): a new client transaction with
/// a Via of its own.
pub(super) fn again(setup: &Setup, sent: &[u8], to: Destination, own: OwnBranch) -> Option<Bytes> {
    let message = Message::parse(sent).ok()?;
    let address = setup.address(to.socket);
    let mut value = Vec::with_capacity(128);
    push_via(to.proto, (address, None, None), &mut value);
    own.write(&mut value);
    if message.top_via().rport().is_some() {
        value.extend_from_slice(b";rport");
    }
    let mut edits = Edits::new();
    edits.replace(message.top_via().value, &value);
    let mut out = Vec::with_capacity(sent.len() + 32);
    edits.apply(message.bytes(), &mut out);
    Some(out.into())
}

/// Whether a response that matches nothing was sent to us on the way of a request that we
/// forwarded without a transaction, and where it goes then: to the Via below ours (§16.11).
pub(super) fn stateless_reply_destination(
    setup: &Setup,
    response: &Message,
) -> Option<Destination> {
    let top = response.top_via();
    let core = &setup.config.core;
    let is_advertised = core
        .advertised_address
        .as_ref()
        .is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(top.host));
    if !is_advertised && !setup.is_myself(top.host, top.port) {
        return None;
    }
    let below = response.vias_below().next()?;
    let below = via::parse_at(response.bytes(), below).ok()?;
    let proto = below.proto?;
    let host = below.received().unwrap_or(below.host);
    let ip = crate::sip::host::ip(host)?;
    let rport = below
        .rport()
        .and_then(|p| std::str::from_utf8(p).ok()?.parse().ok());
    let port = rport.or(below.port).unwrap_or(proto.default_port());
    let addr = std::net::SocketAddr::new(ip, port);
    let is_broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    if port == 0 || ip.is_unspecified() || is_broadcast {
        return None;
    }
    let any = setup.socket_named(top.host, top.port, top.proto.map(|p| p.lower().as_bytes()));
    let socket = setup.socket_for(proto, ip, any.unwrap_or_default())?;
    let mut to = Destination::to(socket, proto, addr);
    if proto != Proto::Udp {
        let sent_by = below.port.unwrap_or(proto.default_port());
        to.fallback = Some(std::net::SocketAddr::new(ip, sent_by));
    }
    Some(to)
}
