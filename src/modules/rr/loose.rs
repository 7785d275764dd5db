//! Following the route set of a request: RFC 3261 §16.4 and §16.12, with strict routers as
//! neighbours (§16.12.1.1) and any number of Routes of our own.

use std::rc::Rc;

use crate::effect::SocketId;
use crate::modules::setup::Setup;
use crate::modules::work::{Bytes, Work};
use crate::sip::param::Values;
use crate::sip::{Edits, HeaderName, Message, NameAddr, Span, Uri};

/// What `loose_route` found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The next hop is known: a Route, or the Request-URI when no Route is left.
    NextHop,
    /// An initial request whose only Routes were ours.
    PreloadedOurs,
    /// There is no Route, or one that cannot be read.
    Nothing,
}

impl Found {
    /// The function's return code.
    pub const fn code(self) -> i64 {
        match self {
            Found::NextHop => 1,
            Found::PreloadedOurs => -3,
            Found::Nothing => -1,
        }
    }
}

/// One value of Route.
#[derive(Clone, Copy, Default)]
struct Route {
    value: Span,
    uri: Span,
}

/// What has to be known of all Routes of a request.
struct Routes {
    /// The first of them; at most two are ours, and the next hop stands behind.
    first: [Route; 3],
    last: Route,
    count: usize,
}

impl Routes {
    /// `None`: there is no Route, or one that cannot be read.
    fn of(message: &Message) -> Option<Routes> {
        let mut routes = Routes {
            first: [Route::default(); 3],
            last: Route::default(),
            count: 0,
        };
        for value in message.values(HeaderName::Route) {
            let address = NameAddr::parse(value.of(message.bytes())).ok()?;
            let uri = Span::within(message.bytes(), address.uri)?;
            routes.last = Route { value, uri };
            if let Some(slot) = routes.first.get_mut(routes.count) {
                *slot = routes.last;
            }
            routes.count += 1;
        }
        (routes.count > 0).then_some(routes)
    }

    /// One of the first three.
    fn get(&self, index: usize) -> Option<Route> {
        self.first
            .get(index)
            .copied()
            .filter(|_| index < self.count)
    }
}

/// Does what the Route header fields ask of this element. Without `heeds_strict`, a Request-URI
/// of ours in a dialog is not taken for the work of a strict router.
pub fn loose_route(setup: &Setup, work: &mut Work, heeds_strict: bool) -> Found {
    let message = Rc::clone(&work.message);
    let Some(routes) = Routes::of(&message) else {
        return Found::Nothing;
    };
    // §16.4: a Request-URI of ours in a dialog was put there by a strict router.
    work.rr.has_next_route = false;
    let is_target_ours = || match &work.target.uri {
        Some(text) => is_ours(setup, text),
        None => message
            .request_uri()
            .is_some_and(|uri| setup.is_myself(uri.host, uri.port)),
    };
    if heeds_strict && message.to_tag().is_some() && is_target_ours() {
        return after_strict_router(&message, &routes, work);
    }
    let ours = own_routes(setup, &message, &routes, work);
    remove_first(&message, ours, &mut work.edits);
    match routes.get(ours) {
        None if message.to_tag().is_none() => Found::PreloadedOurs,
        None => Found::NextHop,
        Some(next) => {
            work.rr.has_next_route = ours > 0;
            follow(&message, next, routes.count == ours + 1, work);
            Found::NextHop
        }
    }
}

/// How many leading Routes are ours: one, or the two of a double Record-Route (RFC 5658). What
/// the first says is remembered.
fn own_routes(setup: &Setup, message: &Message, routes: &Routes, work: &mut Work) -> usize {
    let text = message.text(routes.first[0].uri);
    let Ok(uri) = Uri::parse(text) else { return 0 };
    if !setup.is_myself(uri.host, uri.port) {
        return 0;
    }
    work.rr.set_route_params(uri.params);
    let Some(second) = routes.get(1).filter(|_| uri.param(b"r2").is_some()) else {
        if setup.config.rr.force_send_socket {
            work.target.socket = socket_of(setup, text).or(work.target.socket);
        }
        return 1;
    };
    if let Some(socket) = socket_of(setup, message.text(second.uri)) {
        work.target.socket = Some(socket);
    }
    2
}

/// The second Route of a double entry of ours, when it names no socket: where the request leaves
/// is then left to its next hop.
pub fn strange_second(setup: &Setup, message: &Message) -> Option<Bytes> {
    let mut fields = message.all(HeaderName::Route);
    let field = fields.next()?;
    if fields.next().is_none() && memchr::memchr(b',', message.text(field.value)).is_none() {
        return None;
    }
    let mut routes = message.values(HeaderName::Route);
    let (first, second) = (routes.next()?, routes.next()?);
    let first = uri_of(message, first)?;
    let is_double = is_ours(setup, first) && Uri::parse(first).ok()?.param(b"r2").is_some();
    let second = uri_of(message, second).filter(|_| is_double)?;
    socket_of(setup, second)
        .is_none()
        .then(|| Bytes::from(second))
}

fn socket_of(setup: &Setup, text: &[u8]) -> Option<SocketId> {
    let uri = Uri::parse(text).ok()?;
    if setup.config.rr.sockname_mode
        && let Some(name) = uri.param(b"sn")
        && let Some(socket) = setup.socket_called(name)
    {
        return Some(socket);
    }
    setup.socket_named(uri.host, uri.port, uri.transport())
}

/// §16.12 step 6: a loose router is only passed through; a strict one takes the Request-URI's
/// place, and that becomes the last Route.
fn follow(message: &Message, next: Route, is_last: bool, work: &mut Work) {
    let text = message.text(next.uri);
    let is_loose = Uri::parse(text).is_ok_and(|u| u.is_loose());
    if is_loose {
        work.target.next_hop = Some(Bytes::from(text));
        return;
    }
    let target = [b"<", work.uri(), b">"].concat();
    if is_last {
        work.edits.replace(next.value, &target);
    } else {
        cut(message, next.value, &mut work.edits);
        append_route(message, &target, &mut work.edits);
    }
    work.target.uri = Some(Bytes::from(text));
    work.target.next_hop = None;
}

/// §16.4: the last Route is where the request is meant to go; the first is the next hop. The
/// Request-URI is our own entry, which the strict router has put there: what it says counts as
/// that of a Route of ours.
fn after_strict_router(message: &Message, routes: &Routes, work: &mut Work) -> Found {
    let (first, last) = (routes.first[0], routes.last);
    let (next, target) = (message.text(first.uri), message.text(last.uri));
    let own = Bytes::from(work.uri());
    if let Ok(uri) = Uri::parse(&own) {
        work.rr.set_route_params(uri.params);
    }
    let is_loose = Uri::parse(next).is_ok_and(|u| u.is_loose());
    if routes.count > 1 && !is_loose {
        // Another strict router behind us: the target is the last Route already.
        work.target.uri = Some(Bytes::from(next));
        cut(message, first.value, &mut work.edits);
        return Found::NextHop;
    }
    if is_loose {
        work.target.next_hop = Some(Bytes::from(next));
    }
    work.target.uri = Some(Bytes::from(target));
    cut(message, last.value, &mut work.edits);
    Found::NextHop
}

fn is_ours(setup: &Setup, uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|u| setup.is_myself(u.host, u.port))
}

/// The URI of the first Route.
pub fn first_uri(message: &Message) -> Option<&[u8]> {
    let first = message.values(HeaderName::Route).next()?;
    uri_of(message, first)
}

fn uri_of(message: &Message, value: Span) -> Option<&[u8]> {
    NameAddr::parse(value.of(message.bytes()))
        .ok()
        .map(|a| a.uri)
}

/// Takes the first `count` of the Route values out, and every field without a value.
fn remove_first(message: &Message, count: usize, edits: &mut Edits) {
    let mut left = count;
    for header in message.all(HeaderName::Route) {
        let mut values = Values::new(message.bytes(), header.value);
        let first = values.next();
        let mut kept = first;
        while left > 0 && kept.is_some() {
            (kept, left) = (values.next(), left - 1);
        }
        match (first, kept) {
            (Some(first), Some(kept)) if first == kept => {}
            (Some(first), Some(kept)) => edits.remove(Span {
                start: first.start,
                end: kept.start,
            }),
            _ => edits.remove(header.line),
        }
    }
}

/// Takes one Route value out, with its comma or its whole line.
fn cut(message: &Message, value: Span, edits: &mut Edits) {
    let Some(header) = message
        .all(HeaderName::Route)
        .find(|h| value.start >= h.line.start && value.end <= h.line.end)
    else {
        return;
    };
    let here: Vec<Span> = message
        .values(HeaderName::Route)
        .filter(|r| r.start >= header.line.start && r.end <= header.line.end)
        .collect();
    match here.iter().position(|r| *r == value) {
        Some(_) if here.len() == 1 => edits.remove(header.line),
        Some(0) => edits.remove(Span {
            start: value.start,
            end: here[1].start,
        }),
        Some(i) => edits.remove(Span {
            start: here[i - 1].end,
            end: value.end,
        }),
        None => {}
    }
}

/// Puts one more value behind the last Route.
fn append_route(message: &Message, value: &[u8], edits: &mut Edits) {
    if let Some(last) = message.all(HeaderName::Route).last() {
        let line = [b"Route: ", value, b"\r\n"].concat();
        edits.insert(last.line.end, &line);
    }
}
