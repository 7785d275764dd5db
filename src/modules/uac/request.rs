//! `$uac_req`, `uac_req_send` and `t_uac_send`: requests of a script's own (RFC 3261 §8.1).

use std::rc::Rc;

use crate::effect::Level;
use crate::effect::peer::OwnEvent;
use crate::modules::Call;
use crate::modules::digest::Credential;
use crate::modules::entry::{NO, YES, some, text_of, word};
use crate::modules::state::State;
use crate::modules::tm::local::{self, LocalRequest, Owner};
use crate::modules::work::{Ask, Bytes};
use crate::script::{Access, CallSite, Heap, Outcome, Value, WriteError};
use crate::sip::{HeaderName, Message, NameAddr, Uri};

use super::peer;

/// The words in the parentheses of `$uac_req`, in the order of [`Word`].
pub(super) const WORDS: [&str; 17] = [
    "method", "ruri", "furi", "turi", "hdrs", "body", "ouri", "sock", "callid", "auser", "apasswd",
    "arealm", "evparam", "evroute", "evcode", "evtype", "all",
];

/// How many of [`WORDS`] hold text; they come first.
const TEXT_COUNT: usize = 13;

/// Bits of `evroute`: `event_route[uac:reply]` hears of every final response, or of failures if
/// `tm.enable_uac_fr` is on.
const EVERY: i64 = 1;
const FAILURES: i64 = 2;

const METHOD: usize = 0;
const RURI: usize = 1;
const FURI: usize = 2;
const TURI: usize = 3;
const HDRS: usize = 4;
const BODY: usize = 5;
const OURI: usize = 6;
const SOCK: usize = 7;
const CALLID: usize = 8;
const AUSER: usize = 9;
const APASSWD: usize = 10;
const AREALM: usize = 11;
const EVROUTE: usize = 13;
const EVCODE: usize = 14;
const EVTYPE: usize = 15;
const ALL: usize = 16;

/// What `$uac_req` holds: the next request, or in `event_route[uac:reply]` the one that the answer
/// belongs to. It outlives the message, as in the original.
#[derive(Clone, Debug, Default)]
pub struct Request {
    texts: [Option<Bytes>; TEXT_COUNT],
    wants_event: i64,
    /// The status of the answer.
    code: i64,
    /// 1 a response, 2 none came.
    kind: i64,
}

impl Request {
    /// From another shard.
    pub(super) fn unpacked(event: OwnEvent) -> Request {
        let mut texts: [Option<Bytes>; TEXT_COUNT] = Default::default();
        for (text, given) in texts.iter_mut().zip(event.texts) {
            *text = given.map(Bytes::from);
        }
        Request {
            texts,
            wants_event: event.wanted,
            ..Request::default()
        }
    }
}

/// What `event_route[uac:reply]` is told of the request that it is about.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    request: Request,
}

impl Sent {
    /// Of this request.
    pub(super) fn new(request: Request) -> Sent {
        Sent { request }
    }

    /// For another shard.
    pub(super) fn packed(&self) -> OwnEvent {
        let text = |text: &Option<Bytes>| text.as_deref().map(Box::from);
        let Request {
            texts, wants_event, ..
        } = &self.request;
        OwnEvent {
            texts: texts.iter().map(text).collect(),
            wanted: *wants_event,
        }
    }

    /// Whether the event route hears of this status.
    pub fn wants(&self, status: u16) -> bool {
        self.request.wants_event & EVERY > 0 || status >= 300
    }

    /// What `$uac_req` holds while the event route runs.
    pub fn answered(&self, status: u16, is_response: bool) -> Request {
        Request {
            code: i64::from(status),
            kind: if is_response { 1 } else { 2 },
            ..self.request.clone()
        }
    }
}

pub(super) fn get(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let request = &call.env.state.uac;
    match word(access) {
        at @ 0..TEXT_COUNT => some(heap, request.texts[at].as_deref()),
        EVROUTE => Value::Int(request.wants_event),
        EVCODE => Value::Int(request.code),
        EVTYPE => Value::Int(request.kind),
        _ => Value::Int(0),
    }
}

pub(super) fn set(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let request = &mut call.env.state.uac;
    match word(access) {
        ALL => match value {
            Value::Null => *request = Request::default(),
            Value::Int(_) | Value::Str(_) => return Err(WriteError::Invalid),
        },
        at @ 0..TEXT_COUNT => {
            request.texts[at] = match value {
                Value::Null => None,
                Value::Str(text) => Some(Bytes::from(heap.bytes(text))).filter(|t| !t.is_empty()),
                Value::Int(_) => return Err(WriteError::Invalid),
            };
        }
        EVROUTE => {
            request.wants_event = match value {
                Value::Null => 0,
                Value::Int(n) => n,
                Value::Str(_) => return Err(WriteError::Invalid),
            };
        }
        _ => return Err(WriteError::NotHere),
    }
    Ok(())
}

/// `uac_req_send()`: the request of `$uac_req`, sent before the script goes on.
pub(super) fn req_send(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let request = call.env.state.uac.clone();
    match compose(call.env.state, &request) {
        Ok(local) => send(call, local),
        Err(what) => refuse(call, "uac_req_send", what),
    }
}

fn send(call: &mut Call<'_>, request: LocalRequest) -> Outcome {
    let Some(request) = peer::handed_on(&mut call.env, request) else {
        return YES;
    };
    if local::send(call.env.state, request) {
        return call.ask(Ask::SendLocals);
    }
    refuse(call, "a request of our own", "too many wait to be sent")
}

fn refuse(call: &mut Call<'_>, who: &str, what: &str) -> Outcome {
    call.env.log(Level::Err, format!("{who}: {what}"));
    NO
}

fn compose(state: &mut State, request: &Request) -> Result<LocalRequest, &'static str> {
    let text = |at: usize| request.texts[at].clone();
    let (method, uri) = (text(METHOD), text(RURI));
    let (Some(method), Some(uri)) = (method, uri) else {
        return Err("method and ruri of $uac_req must be set");
    };
    let mut local = LocalRequest::new(state, &method, &uri, &uri, &uri);
    if let Some(from) = text(FURI) {
        local.from = tagged(&name_addr(&from), state);
    }
    if let Some(to) = text(TURI) {
        local.to = name_addr(&to);
    }
    if let Some(call_id) = text(CALLID) {
        local.call_id = call_id;
    }
    local.next_hop = text(OURI);
    local.headers = text(HDRS).map_or_else(|| Rc::from(&b""[..]), |lines| complete(&lines));
    local.body = text(BODY).unwrap_or_else(|| Rc::from(&b""[..]));
    let default = state.setup.config.uac.default_socket.as_bytes();
    let default = Some(default).filter(|socket| !socket.is_empty());
    if let Some(socket) = text(SOCK).or_else(|| default.map(Rc::from)) {
        local.socket = Some(
            state
                .setup
                .socket_written(&socket)
                .ok_or("no such socket")?,
        );
    }
    if let (Some(user), Some(password)) = (text(AUSER), text(APASSWD)) {
        let realm = text(AREALM).unwrap_or_else(|| Rc::from(&b""[..]));
        local.credential = Some(Rc::new(Credential {
            user: (&*user).into(),
            realm: (&*realm).into(),
            password: (&*password).into(),
            is_hash: false,
        }));
    }
    let has_failure_event = state.setup.config.tm.enable_uac_fr;
    if request.wants_event & EVERY > 0 || (request.wants_event & FAILURES > 0 && has_failure_event)
    {
        let request = request.clone();
        local.owner = Owner::Uac(Rc::new(Sent::new(request)));
    }
    has_way(&local)?;
    Ok(local)
}

fn has_way(local: &LocalRequest) -> Result<(), &'static str> {
    match Uri::parse(&local.destination_uri()) {
        Ok(_) => Ok(()),
        Err(_) => Err("the URI that it is to go to cannot be read"),
    }
}

/// A bare URI in angle brackets; anything else as it is.
fn name_addr(value: &[u8]) -> Bytes {
    if value.contains(&b'<') {
        return value.into();
    }
    [b"<", value, b">"].concat().into()
}

/// The value with a tag: a new one unless it has one.
fn tagged(value: &[u8], state: &mut State) -> Bytes {
    if NameAddr::parse(value).is_ok_and(|a| a.tag().is_some()) {
        return value.into();
    }
    [value, b";tag=", &local::new_tag(state)].concat().into()
}

/// The last line gets its end if it has none.
fn complete(lines: &[u8]) -> Bytes {
    match lines {
        [.., b'\r', b'\n'] | [] => lines.into(),
        _ => [lines, b"\r\n"].concat().into(),
    }
}

/// `t_uac_send(method, ruri, next hop, socket, headers, body)`: From and To stand among the
/// headers, and may be joined by Call-ID and CSeq.
pub(in crate::modules) fn t_uac_send(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
) -> Outcome {
    let mut texts: [Bytes; 6] = std::array::from_fn(|_| Rc::from(&b""[..]));
    for (index, text) in texts.iter_mut().enumerate() {
        *text = text_of(call, heap, site, index).unwrap_or_else(|| Rc::from(&b""[..]));
    }
    match given(call.env.state, &texts) {
        Ok(local) => send(call, local),
        Err(what) => refuse(call, "t_uac_send", what),
    }
}

/// Sends what an operator asks for, as [`t_uac_send`] does.
pub(in crate::modules) fn start(state: &mut State, texts: &[Bytes; 6]) -> Result<(), &'static str> {
    let request = given(state, texts)?;
    match local::send(state, request) {
        true => Ok(()),
        false => Err("too many requests of our own wait to be sent"),
    }
}

fn given(state: &mut State, texts: &[Bytes; 6]) -> Result<LocalRequest, &'static str> {
    let [method, uri, next_hop, socket, headers, body] = texts;
    let filled = |text: &Bytes| Some(Rc::clone(text)).filter(|t| !t.is_empty());
    if filled(method).is_none() || Uri::parse(uri).is_err() {
        return Err("method or Request-URI is missing or wrong");
    }
    let message = as_message(headers).ok_or("the headers cannot be read")?;
    let value = |name: HeaderName| message.first(name).map(|h| h.value.of(message.bytes()));
    let (Some(from), Some(to)) = (value(HeaderName::From), value(HeaderName::To)) else {
        return Err("From or To is missing among the headers");
    };
    if !body.is_empty() && value(HeaderName::ContentType).is_none() {
        return Err("Content-Type is missing among the headers");
    }
    let mut local = LocalRequest::new(state, method, uri, uri, uri);
    local.from = tagged(&name_addr(from), state);
    local.to = name_addr(to);
    local.next_hop = filled(next_hop);
    if let Some(socket) = filled(socket) {
        local.socket = Some(
            state
                .setup
                .socket_written(&socket)
                .ok_or("no such socket")?,
        );
    }
    if let Some(call_id) = value(HeaderName::CallId) {
        local.call_id = call_id.into();
    }
    if let Some(cseq) = value(HeaderName::CSeq) {
        let digits = cseq
            .split(|b| b.is_ascii_whitespace())
            .next()
            .unwrap_or_default();
        let number = std::str::from_utf8(digits)
            .ok()
            .and_then(|n| n.parse().ok());
        local.cseq = number.ok_or("CSeq is no number")?;
    }
    local.headers = others(&message);
    local.body = Rc::clone(body);
    has_way(&local)?;
    Ok(local)
}

/// Header lines as a message: only what reads headers looks at it.
pub(in crate::modules) fn as_message(headers: &[u8]) -> Option<Message> {
    let lines = complete(headers);
    let head = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP localhost\r\n";
    Message::parse(&[head, &*lines, b"\r\n"].concat()).ok()
}

/// The lines that [`local::write`] does not write itself.
fn others(message: &Message) -> Bytes {
    let mut lines = vec![];
    for header in message.headers() {
        match header.name {
            HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::ContentLength => {}
            _ => lines.extend_from_slice(header.line.of(message.bytes())),
        }
    }
    lines.into()
}

/// Whether the request of `$uac_req` could be sent; for tests of the table above.
#[cfg(test)]
pub(super) fn is_ready(state: &mut State) -> bool {
    let request = state.uac.clone();
    compose(state, &request).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample::{INVITE, run};

    #[test]
    fn the_words_stand_where_the_constants_say() {
        for (at, word) in [
            (METHOD, "method"),
            (RURI, "ruri"),
            (FURI, "furi"),
            (TURI, "turi"),
            (HDRS, "hdrs"),
            (BODY, "body"),
            (OURI, "ouri"),
            (SOCK, "sock"),
            (CALLID, "callid"),
            (AUSER, "auser"),
            (APASSWD, "apasswd"),
            (AREALM, "arealm"),
            (EVROUTE, "evroute"),
            (EVCODE, "evcode"),
            (EVTYPE, "evtype"),
            (ALL, "all"),
        ] {
            assert_eq!(WORDS[at], word);
        }
    }

    #[test]
    fn what_is_assigned_is_read_and_cleared() {
        let table = [
            (
                "$uac_req(method) = \"OPTIONS\";",
                "$uac_req(method)",
                "OPTIONS",
            ),
            ("$uac_req(method) = 5;", "$uac_req(method)", "<null>"),
            ("$uac_req(method) = \"\";", "$uac_req(method)", "<null>"),
            ("$uac_req(evroute) = 1;", "$uac_req(evroute)", "1"),
            (
                "",
                "$uac_req(evroute) $uac_req(evcode) $uac_req(all)",
                "0 0 0",
            ),
            (
                "$uac_req(ruri) = \"x\"; $uac_req(all) = $null;",
                "$uac_req(ruri)",
                "<null>",
            ),
        ];
        for (statements, format, want) in table {
            let ran = run(&format!("{statements} xlog(\"{format}\");"), INVITE);
            assert_eq!(ran.lines, [want], "{statements}");
        }
    }

    #[test]
    fn what_makes_a_request() {
        let table = [
            ("", false),
            ("$uac_req(method) = \"OPTIONS\";", false),
            ("$uac_req(ruri) = \"sip:a@192.0.2.1\";", false),
            (
                "$uac_req(method) = \"OPTIONS\"; $uac_req(ruri) = \"192.0.2.1\";",
                false,
            ),
            (
                "$uac_req(method) = \"OPTIONS\"; $uac_req(ruri) = \"sip:a@192.0.2.1\";",
                true,
            ),
            (
                "$uac_req(method) = \"OPTIONS\"; $uac_req(ruri) = \"sip:a@192.0.2.1\";
                 $uac_req(sock) = \"udp:192.0.2.200:5060\";",
                false,
            ),
        ];
        for (statements, want) in table {
            let mut ran = run(statements, INVITE);
            assert_eq!(is_ready(&mut ran.state), want, "{statements}");
        }
    }
}
