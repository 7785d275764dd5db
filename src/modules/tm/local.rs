//! Requests that this element makes itself: RFC 3261 §8.1, §12.2.1 and §13.2.2.4.
//!
//! ```text
//!   send() ─▶ Queue ─▶ shard/local.rs: next hop, DNS, event_route[tm:local-request] ─▶ branch
//!                                                                                        │
//!   Owner ◀── Answer ◀── credentials (§22.2) ◀── ACK to a 2xx (§13.2.2.4) ◀── client grid ┘
//! ```
//!
//! A transaction of a local request has client branches and no server side: its server grid stands
//! in `Terminated` from the start, and what would go upstream is told to the request's [`Owner`].
//! Answers come home because the Call-ID was minted to hash to this shard, or is that of a call
//! which is handled here.
//!
//! Nothing here waits for an answer or knows what one means. A request costs one queue entry, and
//! a transaction as long as it is unanswered; an answered non-INVITE leaves nothing behind.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Flow, Hop, SocketId};
use crate::limits::{LOCAL_CHAIN_MAX, LOCAL_QUEUE_MAX};
use crate::modules::digest::{self, Challenge, Credential};
use crate::modules::setup::Setup;
use crate::modules::state::{Env, State};
use crate::modules::work::Bytes;
use crate::modules::{dialog, dispatcher, uac};
use crate::sip::{HeaderName, Message, Method, NameAddr, Uri};
use crate::slab::Key;
use crate::steer;
use crate::time::Duration;
use crate::timer::Timer;

use super::identity::OwnBranch;
use super::transaction::{Saved, Transaction};
use super::{Plan, server};

/// The CSeq of a request outside of a dialog, the original's.
const FIRST_CSEQ: u32 = 10;

/// How long repeated 2xx to an INVITE of ours are acknowledged: timer M, 64 × T1 of RFC 6026 §7.2.
const ACCEPTED_TIME: Duration = Duration::from_secs(32);

/// Who wants the answer to a request, and what it needs to know then.
#[derive(Clone, Debug)]
pub enum Owner {
    /// Nobody.
    Nobody,
    /// A script, by `uac_req_send`.
    Uac(Rc<uac::Sent>),
    /// A ping of a destination.
    Dispatcher(dispatcher::Ping),
    /// A dialog.
    Dialog(dialog::request::Sent),
    /// A transfer outside of a tracked dialog.
    Transfer(dialog::transfer::Sent),
}

/// What became of a request. Provisional responses come any number of times before the others.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A response, and what it came in on; of a 2xx to an INVITE every repetition, already
    /// acknowledged.
    Response(Rc<Message>, Flow),
    /// None: this status stands for it (408 nobody answered, 477 it could not be sent, 478 the name
    /// has no address, 400 it cannot be written, 503 too many wait).
    Failed(u16),
    /// `event_route[tm:local-request]` dropped it.
    Dropped,
}

impl Answer {
    /// The status, received or made here; a dropped request has none.
    pub fn status(&self) -> Option<u16> {
        match self {
            Answer::Response(response, _) => Some(response.status()),
            Answer::Failed(status) => Some(*status),
            Answer::Dropped => None,
        }
    }
}

/// A request to be sent. Values are as they stand on the wire.
#[derive(Clone, Debug)]
pub struct LocalRequest {
    /// The method. An ACK is sent without a transaction.
    pub method: Bytes,
    /// The Request-URI; in a dialog the remote target, whatever the route set.
    pub uri: Bytes,
    /// Where it goes instead of to its first Route or its Request-URI: a URI.
    pub next_hop: Option<Bytes>,
    /// Where it goes instead of all that: a flow. Nothing is resolved.
    pub along: Option<Destination>,
    /// The socket to send from; `None`: chosen by the next hop.
    pub socket: Option<SocketId>,
    /// The value of From, tag included.
    pub from: Bytes,
    /// The value of To, with a tag in a dialog.
    pub to: Bytes,
    /// The Call-ID.
    pub call_id: Bytes,
    /// The sequence number; one more after a challenge was answered.
    pub cseq: u32,
    /// The route set: values of Route, angle brackets included.
    pub routes: Vec<Bytes>,
    /// Further header fields: complete lines.
    pub headers: Bytes,
    /// The body.
    pub body: Bytes,
    /// Answers a challenge before those of the configuration do.
    pub credential: Option<Rc<Credential>>,
    /// How many of its challenges have been answered.
    pub attempts: u8,
    /// Who wants the answer.
    pub owner: Owner,
}

impl LocalRequest {
    /// A request outside of a dialog (§8.1.1): tag and Call-ID are new. `from` and `to` are URIs.
    pub fn new(state: &mut State, method: &[u8], uri: &[u8], from: &[u8], to: &[u8]) -> Self {
        let tag = new_tag(state);
        let call_id = new_call_id(state);
        LocalRequest {
            method: method.into(),
            uri: uri.into(),
            next_hop: None,
            along: None,
            socket: None,
            from: [b"<", from, b">;tag=", &tag].concat().into(),
            to: [b"<", to, b">"].concat().into(),
            call_id: call_id.into_bytes().into(),
            cseq: FIRST_CSEQ,
            routes: Vec::new(),
            headers: Rc::from(&b""[..]),
            body: Rc::from(&b""[..]),
            credential: None,
            attempts: 0,
            owner: Owner::Nobody,
        }
    }

    /// Where the next hop's address comes from.
    pub fn destination_uri(&self) -> Bytes {
        if let Some(next_hop) = &self.next_hop {
            return Rc::clone(next_hop);
        }
        let first = self.routes.first().and_then(|r| NameAddr::parse(r).ok());
        first.map_or_else(|| Rc::clone(&self.uri), |route| Bytes::from(route.uri))
    }

    /// Whether it is an ACK, which belongs to no transaction (§13.2.2.4).
    pub fn is_ack(&self) -> bool {
        &*self.method == b"ACK"
    }
}

/// A tag for From.
pub fn new_tag(state: &mut State) -> [u8; 19] {
    let mut tag = [0; 19];
    tag.copy_from_slice(&super::to_tag(state.rng.next_u64())[..19]);
    tag
}

/// A Call-ID whose messages are this shard's.
pub fn new_call_id(state: &mut State) -> String {
    let host = state.setup.addresses.first();
    let host = host.map_or_else(|| "localhost".into(), |a| a.sent_by_host());
    steer::mint(&mut state.rng, state.id, state.setup.shard_count, &host)
}

/// Requests on their way to the shard, which sends them at the end of the step that made them.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(u8, LocalRequest)>,
    /// How many requests the one that is being handled follows from.
    depth: u8,
}

impl Queue {
    /// The oldest request. Whatever is asked for until [`Queue::handled`] follows from it.
    pub fn pop(&mut self) -> Option<LocalRequest> {
        let (depth, request) = self.waiting.pop_front()?;
        self.depth = depth;
        Some(request)
    }

    /// How deep the chain is that is being handled.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Back to the chain that was being handled before.
    pub fn handled(&mut self, depth: u8) {
        self.depth = depth;
    }
}

/// Asks for a request to be sent. False: too many wait, and its owner will not hear of it.
pub fn send(state: &mut State, request: LocalRequest) -> bool {
    let queue = &mut state.locals;
    let depth = queue.depth + 1;
    let has_room = queue.waiting.len() < LOCAL_QUEUE_MAX && depth <= LOCAL_CHAIN_MAX;
    if has_room {
        queue.waiting.push_back((depth, request));
    } else {
        state.counters.local_drops += 1;
    }
    has_room
}

/// Whether there is room for many more: who can wait does so when there is not.
pub fn has_room(state: &State) -> bool {
    state.locals.waiting.len() < LOCAL_QUEUE_MAX / 2
}

/// The message, with our Via on top. A strict router in front of the route set takes the
/// Request-URI's place (§12.2.1.1).
pub fn write(setup: &Setup, request: &LocalRequest, via: &[u8]) -> Vec<u8> {
    let (uri, routes) = routed(request);
    let mut out = Vec::with_capacity(512 + request.headers.len() + request.body.len());
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    put(&[&request.method, b" ", &uri, b" SIP/2.0\r\nVia: ", via]);
    put(&[b"\r\nTo: ", &request.to, b"\r\nFrom: ", &request.from]);
    put(&[
        b"\r\nCSeq: ",
        request.cseq.to_string().as_bytes(),
        b" ",
        &request.method,
    ]);
    put(&[b"\r\nCall-ID: ", &request.call_id, b"\r\n"]);
    if !routes.is_empty() {
        put(&[b"Route: ", &routes.join(&b", "[..]), b"\r\n"]);
    }
    let length = request.body.len().to_string();
    put(&[
        b"Max-Forwards: 70\r\nContent-Length: ",
        length.as_bytes(),
        b"\r\n",
    ]);
    put(&[
        setup.config.core.user_agent_line().as_bytes(),
        &request.headers,
    ]);
    put(&[b"\r\n", &request.body]);
    out
}

/// §12.2.1.1: the Request-URI and the Routes for this remote target and route set.
fn routed(request: &LocalRequest) -> (Bytes, Vec<Bytes>) {
    let first = request.routes.first().and_then(|r| NameAddr::parse(r).ok());
    let Some(strict) = first.filter(|r| !Uri::parse(r.uri).is_ok_and(|u| u.is_loose())) else {
        return (Rc::clone(&request.uri), request.routes.clone());
    };
    let mut routes = request.routes[1..].to_vec();
    routes.push([b"<", &*request.uri, b">"].concat().into());
    (Bytes::from(strict.uri), routes)
}

/// What a transaction without a server side keeps instead of one.
#[derive(Debug)]
pub struct Local {
    /// The request, to be sent again with credentials.
    pub request: LocalRequest,
    /// Addresses still to be tried once the event route is over.
    pub hops: VecDeque<Hop>,
}

/// Opens the transaction for a message that [`write`] has made. It has no branch yet.
pub fn create(env: &mut Env<'_>, own: OwnBranch, message: Message, local: Local, to: Destination) {
    let setup = Arc::clone(&env.state.setup);
    let is_invite = message.method() == Method::Invite;
    let (plan, local_address) = (Plan::default(), setup.address(to.socket).local);
    let times = plan.times(&setup.config.tm, is_invite);
    let transaction = Transaction {
        program: Arc::clone(&setup.program),
        flow: Flow {
            socket: to.socket,
            proto: to.proto,
            remote: local_address,
            conn: None,
        },
        reply_to: to,
        hash: 0,
        nonce: own.nonce,
        loop_hash: own.loop_hash,
        is_invite,
        server: server::State::Terminated,
        local: Some(Box::new(local)),
        dialog: None,
        last_reply: None,
        branches: Vec::new(),
        leg_start: 0,
        plan,
        times,
        is_cancelled: false,
        is_suspended: false,
        is_replica: false,
        cancel_reason: Cow::Borrowed(&[]),
        saved: Saved::default(),
        repeat_timer: None,
        repeat_after: times.repeat_first,
        end_timer: None,
        life_timer: None,
        request: Rc::new(message),
    };
    let key = env.state.tm.insert_local(transaction);
    debug_assert_eq!(key, own.branch.transaction);
    let life_timer = env.start(times.lifetime, Timer::Lifetime(key));
    if let Some(t) = env.state.tm.get_mut(key) {
        t.life_timer = Some(life_timer);
    }
    env.state.counters.local_requests += 1;
}

/// A final answer has been told: an INVITE stays to acknowledge what is repeated, the rest goes.
pub fn finished(env: &mut Env<'_>, key: Key, is_success: bool) {
    let Some(t) = env.state.tm.get(key) else {
        return;
    };
    if !t.is_invite {
        return super::reap(env, key);
    }
    let wait = if is_success {
        ACCEPTED_TIME
    } else {
        env.state.setup.config.tm.wt_timer
    };
    let timer = env.start_late(wait, Timer::Wait(key));
    let old = env.state.tm.get_mut(key).map(|t| {
        let old = [t.life_timer.take(), t.end_timer.take()];
        t.end_timer = Some(timer);
        old
    });
    old.into_iter().flatten().for_each(|timer| env.stop(timer));
}

/// The ACK to a 2xx (§13.2.2.4): in the dialog that the response has made (§12.1.2), with the
/// credentials of the INVITE. It takes the flow of the response where the target alone would not
/// be reached.
pub fn ack(request: &LocalRequest, response: &Message, flow: Flow) -> LocalRequest {
    let uri_of = |value: &[u8]| NameAddr::parse(value).ok().map(|a| Bytes::from(a.uri));
    let contact = response.values(HeaderName::Contact).next();
    let target = contact.and_then(|c| uri_of(c.of(response.bytes())));
    let routes = response.values(HeaderName::RecordRoute);
    let mut routes: Vec<Bytes> = routes
        .map(|r| Bytes::from(r.of(response.bytes())))
        .collect();
    routes.reverse();
    // An INVITE in a dialog keeps the dialog's route set (§12.2.1.2).
    if has_tag(&request.to) {
        routes.clone_from(&request.routes);
    }
    let to = response.first(HeaderName::To);
    let uri = target.unwrap_or_else(|| Rc::clone(&request.uri));
    LocalRequest {
        method: Rc::from(&b"ACK"[..]),
        along: dialog::request::along(flow, &uri, routes.is_empty()),
        uri,
        routes,
        next_hop: None,
        to: to.map_or_else(
            || Rc::clone(&request.to),
            |h| h.value.of(response.bytes()).into(),
        ),
        headers: credentials_of(&request.headers),
        body: Rc::from(&b""[..]),
        owner: Owner::Nobody,
        ..request.clone()
    }
}

fn has_tag(value: &[u8]) -> bool {
    NameAddr::parse(value).is_ok_and(|to| to.tag().is_some())
}

/// The lines with credentials: an ACK carries those of its INVITE (§22.1).
fn credentials_of(lines: &[u8]) -> Bytes {
    let is_one = |line: &&[u8]| {
        [&b"authorization:"[..], b"proxy-authorization:"]
            .iter()
            .any(|name| line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name))
    };
    let lines = lines.split_inclusive(|b| *b == b'\n').filter(is_one);
    lines.collect::<Vec<_>>().concat().into()
}

/// The request again, with credentials for the challenges of a 401 or 407 (§22.2). `None`: there
/// are none that fit, or they have been refused.
pub fn authorized(
    state: &mut State,
    request: &LocalRequest,
    response: &Message,
) -> Option<LocalRequest> {
    let is_first = request.attempts == 0;
    let mut again = None;
    for challenge in digest::challenges(response) {
        let is_new = is_first || (challenge.is_stale && request.attempts < 3);
        let Some(line) = is_new
            .then(|| answer_to(state, request, &challenge))
            .flatten()
        else {
            continue;
        };
        let next = again.get_or_insert_with(|| LocalRequest {
            headers: without_credentials(&request.headers),
            cseq: request.cseq.wrapping_add(1),
            attempts: request.attempts + 1,
            ..request.clone()
        });
        next.headers = [&*next.headers, &line].concat().into();
        dialog::request::renumber(state, next);
        break;
    }
    again
}

fn answer_to(
    state: &mut State,
    request: &LocalRequest,
    challenge: &Challenge<'_>,
) -> Option<Vec<u8>> {
    let setup = Arc::clone(&state.setup);
    let own = request.credential.as_deref();
    let credential = own.filter(|c| c.fits(&challenge.realm)).or_else(|| {
        setup
            .config
            .uac
            .credentials
            .iter()
            .find(|c| c.fits(&challenge.realm))
    })?;
    let about = digest::About {
        method: &request.method,
        uri: &request.uri,
        body: &request.body,
    };
    digest::answer(challenge, credential, about, state.rng.next_u64())
}

fn without_credentials(lines: &[u8]) -> Bytes {
    let drop = credentials_of(lines);
    if drop.is_empty() {
        return lines.into();
    }
    let kept = lines
        .split_inclusive(|b| *b == b'\n')
        .filter(|line| !drop.windows(line.len()).any(|w| w == *line));
    kept.collect::<Vec<_>>().concat().into()
}

/// The branch for the next local transaction.
pub fn next_branch(state: &mut State) -> OwnBranch {
    let nonce = state.rng.next_u64();
    OwnBranch {
        nonce,
        // A request of ours may come back through the script, as a BYE does that keeps this proxy
        // in its route set: that is no loop, so the hash is not that of the request.
        loop_hash: nonce as u32,
        branch: crate::timer::Branch {
            transaction: state.tm.next_key(),
            index: 0,
        },
    }
}
