//! Stateless replies (RFC 3261 §8.2.7, §16.11), and replies that find out what fits.
//!
//! The To tag is a keyed hash of what a retransmission and the ACK have in common with the
//! request, so that a reply can be made twice and its ACK be known without a memory.

use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use ahash::RandomState;

use crate::effect::{Destination, Flow, Level};
use crate::script::{CallSite, Heap, Outcome, ParamKind, ParamType, RouteKind, RouteKinds};
use crate::sip::reply::{self, Reply};
use crate::sip::{Message, Method};

use super::entry::{
    NO, YES, function, keyed, number, optional, param, planned_param, text_of, truth, words,
};
use super::journal::{Line, What};
use super::pv::uri::write_contact;
use super::rpc::statistic::{Statistic, counter};
use super::state::{Env, State};
use super::tm::functions::{answer, error_status};
use super::tm::upstream::local_reason;
use super::work::{Ask, Bytes, Target};
use super::{Call, Function, Module, Param, Variable, tm, xhttp};

/// The module's table.
pub const MODULE: Module = Module {
    name: "sl",
    doc: "Stateless replies.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    commands: &super::rpc::tm::SL,
    statistics: &STATISTICS,
};

/// Parameters of `sl`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The status when the one asked for is unusable.
    pub default_code: u16,
    /// Its phrase.
    pub default_reason: Box<str>,
    /// `rich_redirect`: 1 a 3xx tells the flags of branches.
    pub rich_redirect: i64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            default_code: 500,
            default_reason: "Internal Server Error".into(),
            rich_redirect: 0,
        }
    }
}

const STATISTICS: [Statistic; 22] = [
    counter("sl", "1xx_replies", |s| s.counters.stateless_replies[1]),
    counter("sl", "2xx_replies", |s| s.counters.stateless_replies[2]),
    counter("sl", "3xx_replies", |s| s.counters.stateless_replies[3]),
    counter("sl", "4xx_replies", |s| s.counters.stateless_replies[4]),
    counter("sl", "5xx_replies", |s| s.counters.stateless_replies[5]),
    counter("sl", "6xx_replies", |s| s.counters.stateless_replies[6]),
    counter("sl", "sent_replies", |s| {
        s.counters.stateless_replies.iter().sum()
    }),
    counter("sl", "sent_err_replies", |s| {
        s.counters.stateless_replies[4..].iter().sum()
    }),
    counter("sl", "received_ACKs", |s| s.counters.stateless_acks),
    counter("sl", "200_replies", |s| s.counters.stateless_codes[0]),
    counter("sl", "202_replies", |s| s.counters.stateless_codes[1]),
    counter("sl", "300_replies", |s| s.counters.stateless_codes[2]),
    counter("sl", "301_replies", |s| s.counters.stateless_codes[3]),
    counter("sl", "302_replies", |s| s.counters.stateless_codes[4]),
    counter("sl", "400_replies", |s| s.counters.stateless_codes[5]),
    counter("sl", "401_replies", |s| s.counters.stateless_codes[6]),
    counter("sl", "403_replies", |s| s.counters.stateless_codes[7]),
    counter("sl", "404_replies", |s| s.counters.stateless_codes[8]),
    counter("sl", "407_replies", |s| s.counters.stateless_codes[9]),
    counter("sl", "408_replies", |s| s.counters.stateless_codes[10]),
    counter("sl", "483_replies", |s| s.counters.stateless_codes[11]),
    counter("sl", "500_replies", |s| s.counters.stateless_codes[12]),
];

const INT: ParamKind = ParamKind::Int;
const TEXT: ParamKind = ParamKind::Text;
const REQUEST: RouteKinds = RouteKinds::REQUEST;

const FUNCTIONS: [Function; 6] = [
    function(
        "sl_send_reply",
        &[INT, TEXT],
        REQUEST,
        (send_stateless, "Answers statelessly."),
    ),
    function(
        "send_reply",
        &[INT, TEXT],
        RouteKinds::ANSWERING,
        (
            send,
            "Answers: by the transaction when there is one, else statelessly.",
        ),
    ),
    optional(
        function(
            "send_reply_mode",
            &[INT, TEXT, INT],
            RouteKinds::ANSWERING,
            (send, "As send_reply; the mode changes nothing here."),
        ),
        3,
    ),
    function(
        "sl_reply_error",
        &[],
        REQUEST,
        (send_error, "Answers with what went wrong."),
    ),
    function(
        "send_reply_error",
        &[],
        REQUEST,
        (send_error, "Answers with what went wrong."),
    ),
    optional(
        function(
            "sl_forward_reply",
            &[TEXT, TEXT],
            RouteKinds::ONREPLY.or(RouteKinds::REPLY),
            (
                forward_reply,
                "Forwards the reply statelessly, with another status of its class.",
            ),
        ),
        0,
    ),
];

const VARIABLES: [Variable; 1] = [keyed(
    "ltt",
    crate::script::InnerKind::Name,
    |call, heap, access| {
        let wants_stateful = heap.bytes(access.key.text()) == b"t";
        let transaction = call
            .work
            .transaction
            .and_then(|key| call.env.state.tm.get(key));
        match transaction.filter(|_| wants_stateful) {
            Some(t) => heap.string(&t.to_tag()),
            None => heap.string(&own_tag(call.env.state, &call.work.message)),
        }
    },
    "Our tag for replies: s stateless, t of the transaction.",
)];

const PARAMS: [Param; 6] = [
    param(
        "default_code",
        ParamType::Int,
        "500",
        (
            |c, v| number(v, 100, 699, "a status code").map(|n| c.sl.default_code = n as u16),
            "The status when the one asked for is unusable.",
        ),
    ),
    param(
        "default_reason",
        ParamType::Str,
        "Internal Server Error",
        (
            |c, v| {
                c.sl.default_reason = words(v);
                Ok(())
            },
            "Its phrase.",
        ),
    ),
    param(
        "bind_tm",
        ParamType::Int,
        "1",
        (
            |_, _| Ok(()),
            "No effect: send_reply always knows the transaction.",
        ),
    ),
    param(
        "rich_redirect",
        ParamType::Int,
        "0",
        (
            |c, v| number(v, 0, 3, "0 to 3").map(|n| c.sl.rich_redirect = n),
            "What Contact of a 3xx says besides: 1 flags of branches; 2 paths, of which there are \
             none.",
        ),
    ),
    planned_param(
        "event_callback_fl_ack",
        ParamType::Str,
        "",
        "Function of an embedded language for filtered ACKs.",
    ),
    planned_param(
        "event_callback_lres_sent",
        ParamType::Str,
        "",
        "The same for sl:local-response.",
    ),
];

/// Bytes of a tag of ours for stateless replies.
const OWN_TAG_SIZE: usize = 21;

/// Our tag for stateless replies to this request: the same for each retransmission and, because
/// it leaves out what an ACK has of its own, for the ACK.
pub fn own_tag(state: &State, request: &Message) -> [u8; OWN_TAG_SIZE] {
    let secret = state.tag_secret;
    let hasher = RandomState::with_seeds(secret, !secret, secret.rotate_left(32), 1);
    let mut h = hasher.build_hasher();
    let via = request.top_via();
    for part in [
        request.call_id(),
        request.from_tag().unwrap_or_default(),
        via.sent_by(),
    ] {
        h.write(part);
        h.write_usize(part.len());
    }
    h.write_u32(request.cseq().number);
    let mut tag = tm::to_tag(h.finish());
    tag[20] = b's';
    tag
}

/// Whether this is the ACK to a stateless reply of ours: nobody waits for it.
pub fn is_own_tag(state: &State, ack: &Message) -> bool {
    let may_be = |tag: &[u8]| tag.len() == OWN_TAG_SIZE;
    ack.to_tag()
        .is_some_and(|tag| may_be(tag) && tag == own_tag(state, ack))
}

/// Answers a request statelessly, with complete lines in `headers`. An ACK is never answered:
/// false.
pub fn reply(
    env: &mut Env<'_>,
    request: &Message,
    flow: Flow,
    (status, reason): (u16, &[u8]),
    headers: &[u8],
) -> bool {
    let tag = own_tag(env.state, request);
    let answer = Answer {
        status,
        reason,
        headers,
        body: None,
        tag: &tag,
    };
    send_reply(env, request, (flow, false, false), answer).is_some()
}

/// The same with the tag of a transaction.
pub fn reply_with_tag(
    env: &mut Env<'_>,
    request: &Message,
    flow: Flow,
    (status, reason): (u16, &[u8]),
    tag: &[u8],
) -> bool {
    let answer = Answer {
        status,
        reason,
        headers: &[],
        body: None,
        tag,
    };
    send_reply(env, request, (flow, false, false), answer).is_some()
}

/// A reply of our own.
#[derive(Clone, Copy)]
struct Answer<'a> {
    status: u16,
    reason: &'a [u8],
    headers: &'a [u8],
    body: Option<&'a (Bytes, Bytes)>,
    tag: &'a [u8],
}

fn send_reply(
    env: &mut Env<'_>,
    request: &Message,
    (flow, force_rport, no_connect): (Flow, bool, bool),
    answer: Answer<'_>,
) -> Option<(Destination, Bytes)> {
    if request.method() == Method::Ack || !request.is_request() {
        return None;
    }
    let State { setup, press, .. } = &mut *env.state;
    let core = &setup.config.core;
    let force_rport = force_rport || core.force_rport;
    press.clear();
    press.lines.extend_from_slice(answer.headers);
    let sides = (setup.address(flow.socket), flow.remote);
    core.push_reply_lines(sides, request, &mut press.lines);
    let made = Reply {
        status: answer.status,
        reason: answer.reason,
        to_tag: (answer.status > 100).then_some(answer.tag),
        headers: &press.lines,
        content_type: answer.body.map(|(kind, _)| &kind[..]),
        body: answer.body.map_or(&[], |(_, text)| &text[..]),
    };
    reply::write(request, flow.remote, force_rport, &made, &mut press.out);
    let bytes = Bytes::from(&press.out[..]);
    let mut to = tm::reply_destination(core, request, flow, force_rport);
    to.no_connect = no_connect;
    env.state.counters.count_stateless(answer.status);
    let (call, method) = (request.call(), request.method());
    let line = Line::Response(answer.status, method);
    env.note(call, What::Sent(line, to.proto, to.remote));
    env.send(to, Rc::clone(&bytes));
    Some((to, bytes))
}

/// The status and phrase that the script asked for. A line end in the phrase would forge a field.
fn wanted(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> (u16, Vec<u8>) {
    let code = site.int(0, call, heap).filter(|c| (100..=699).contains(c));
    let reason = text_of(call, heap, site, 1)
        .filter(|r| !r.is_empty() && !r.iter().any(|b| matches!(b, b'\r' | b'\n')));
    let config = &call.env.state.setup.config.sl;
    let status = code.map_or(config.default_code, |c| c as u16);
    let reason = reason.map_or_else(|| config.default_reason.as_bytes().to_vec(), |r| r.to_vec());
    (status, reason)
}

fn send_stateless(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (status, reason) = wanted(call, heap, site);
    answer_stateless(call, status, &reason)
}

/// Answers statelessly, and has `event_route[sl:local-response]` look at the reply.
pub(super) fn answer_stateless(call: &mut Call<'_>, status: u16, reason: &[u8]) -> Outcome {
    if call.work.message.is_http() {
        return truth(xhttp::answer(call, (status, reason), (b"", b"")));
    }
    let rich = call.env.state.setup.config.sl.rich_redirect;
    add_contacts(call, status, rich);
    let work = &mut *call.work;
    let how = (work.flow, work.force_rport, work.stream.reply_no_connect);
    let tag = own_tag(call.env.state, &work.message);
    let answer = Answer {
        status,
        reason,
        headers: &work.reply_headers,
        body: work.reply_body.as_ref(),
        tag: &tag,
    };
    let Some((to, bytes)) = send_reply(&mut call.env, &work.message, how, answer) else {
        return NO;
    };
    work.reply_headers.clear();
    work.reply_body = None;
    work.is_answered = true;
    match call.program.route(RouteKind::Event, b"sl:local-response") {
        Some(route) => call.ask(Ask::Replied(route, to, bytes)),
        None => YES,
    }
}

/// RFC 3261 §16.7 knows no such thing; a reply of another class would confuse who waits for it.
fn forward_reply(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(code) = text_of(call, heap, site, 0) else {
        return call.ask(Ask::ForwardReply(None));
    };
    let code = std::str::from_utf8(&code)
        .ok()
        .and_then(|c| c.trim().parse().ok());
    let Some(code) = code.filter(|c| c / 100 == call.work.message.status() / 100) else {
        let text = "sl_forward_reply(): the status must be of the reply's class";
        call.env.log(Level::Err, text);
        return NO;
    };
    let reason = text_of(call, heap, site, 1).unwrap_or_else(|| call.work.message.reason().into());
    if reason.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return NO;
    }
    call.ask(Ask::ForwardReply(Some((code, reason))))
}

/// A 3xx tells the caller the targets (RFC 3261 §8.3), and their flags if `rich` is odd.
pub(super) fn add_contacts(call: &mut Call<'_>, status: u16, rich: i64) {
    if status / 100 != 3 {
        return;
    }
    let flags_of = |target: &Target| (rich & 1 != 0).then_some(target.flags);
    let work = &mut *call.work;
    let first = work.target.uri.as_ref().map(|_| &work.target);
    let mut line = String::new();
    first.into_iter().chain(&work.appended).for_each(|t| {
        write_contact(t, &mut line);
        if let Some(flags) = flags_of(t) {
            line.push_str(&format!(";flags={flags}"));
        }
    });
    if !line.is_empty() {
        work.reply_headers
            .extend_from_slice(format!("Contact: {line}\r\n").as_bytes());
    }
}

fn send(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (status, reason) = wanted(call, heap, site);
    answer_by_any(call, status, &reason)
}

/// Answers by the transaction when there is one, else statelessly.
pub(super) fn answer_by_any(call: &mut Call<'_>, status: u16, reason: &[u8]) -> Outcome {
    let Some(key) = call.work.transaction else {
        return answer_stateless(call, status, reason);
    };
    let rich = call.env.state.setup.config.tm.rich_redirect;
    add_contacts(call, status, rich);
    truth(answer(call, key, status, reason))
}

/// Tells the caller what `t_relay` failed by. A transaction that is there answers, so that the
/// caller gets one final response and not two.
fn send_error(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if call.work.relay_error == 0 && call.work.transaction.is_none() {
        let reason = b"I'm terribly sorry, server error occurred (1/SL)";
        return answer_stateless(call, 500, reason);
    }
    let status = error_status(call.work.relay_error);
    answer_by_any(call, status, local_reason(status).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{INVITE, code, flow, run, run_with};
    use super::*;

    fn tag(reply: &str) -> &str {
        let to = reply.lines().find(|l| l.starts_with("To:")).expect("a To");
        to.rsplit_once("tag=").map_or("", |(_, tag)| tag)
    }

    #[test]
    fn a_stateless_reply_is_made_of_the_request() {
        let ran = run(
            "append_to_reply(\"X: $rU\\r\\n\"); sl_send_reply(\"404\", \"No $rU\");",
            INVITE,
        );
        let reply = &ran.sent[0];
        let lines: Vec<&str> = reply.lines().collect();
        assert_eq!(lines[0], "SIP/2.0 404 No bob;x=y");
        assert!(
            lines[1].starts_with("Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKa;"),
            "{reply}"
        );
        assert!(
            lines.contains(&"X: bob;x=y") && lines.contains(&"Content-Length: 0"),
            "{reply}"
        );
        assert!(ran.work.is_answered && ran.work.reply_headers.is_empty());
        assert_eq!(
            (tag(reply).len(), &tag(reply)[..3], &tag(reply)[19..]),
            (21, "dc-", "-s")
        );
    }

    #[test]
    fn the_tag_is_known_again() {
        let ran = run("sl_send_reply(404, \"No\");", INVITE);
        let again = run("sl_send_reply(486, \"Busy\");", INVITE);
        assert_eq!(tag(&ran.sent[0]), tag(&again.sent[0]));
        let ack = INVITE.replace("INVITE", "ACK").replace(
            "To: <sip:bob@home.test>",
            &format!("To: <sip:bob@home.test>;tag={}", tag(&ran.sent[0])),
        );
        for (text, want) in [
            (ack.clone(), true),
            (ack.replace("call-1", "call-2"), false),
            (ack.replace("tag=77", "tag=78"), false),
            (ack.replace("314", "315"), false),
            (ack.replace("tag=dc-", "tag=dd-"), false),
        ] {
            let ack = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(is_own_tag(&ran.state, &ack), want, "{text}");
        }
    }

    #[test]
    fn codes_and_phrases() {
        let table = [
            ("sl_send_reply(404, \"No\");", "SIP/2.0 404 No"),
            (
                "$var(c) = 486; sl_send_reply(\"$var(c)\", \"Busy\");",
                "SIP/2.0 486 Busy",
            ),
            ("sl_send_reply(\"99\", \"x\");", "SIP/2.0 500 x"),
            (
                "sl_send_reply(404, \"a\\r\\nX: y\");",
                "SIP/2.0 404 Internal Server Error",
            ),
            (
                "sl_reply_error();",
                "SIP/2.0 500 I'm terribly sorry, server error occurred (1/SL)",
            ),
            ("send_reply(404, \"No\");", "SIP/2.0 404 No"),
            ("t_newtran(); send_reply(404, \"No\");", "SIP/2.0 404 No"),
        ];
        for (statements, want) in table {
            let ran = run(statements, INVITE);
            assert_eq!(ran.sent.len(), 1, "{statements}");
            assert_eq!(ran.sent[0].lines().next(), Some(want), "{statements}");
        }
    }

    #[test]
    fn a_redirection_names_the_targets() {
        let ran = run(
            "$ru = \"sip:n@n.test\"; append_branch(\"sip:m@m.test\", \"0.5\");
             sl_send_reply(302, \"Moved\");",
            INVITE,
        );
        let contact = "Contact: <sip:n@n.test>, <sip:m@m.test>;q=0.5";
        assert!(ran.sent[0].lines().any(|l| l == contact), "{}", ran.sent[0]);
    }

    #[test]
    fn an_ack_is_not_answered() {
        let ack = INVITE.replace("INVITE", "ACK");
        assert_eq!(code("sl_send_reply(404, \"No\")", &ack), -1);
        assert!(run("sl_send_reply(404, \"No\");", &ack).sent.is_empty());
    }

    #[test]
    fn a_transaction_answers_with_its_own_tag() {
        let ran = run("t_newtran(); send_reply(404, \"No\");", INVITE);
        assert_eq!(&tag(&ran.sent[0])[19..], "-t");
    }

    #[test]
    fn the_shard_answers_too() {
        let mut ran = run_with("server_header=\"Server: x\"", "drop;", INVITE);
        let mut out = crate::effect::Outbox::new();
        let now = crate::time::Now {
            mono: crate::time::Instant::ZERO,
            wall: crate::time::WallTime::from_micros(0),
        };
        let mut env = Env {
            now,
            state: &mut ran.state,
            out: &mut out,
        };
        let message = Message::parse(INVITE.as_bytes()).unwrap();
        assert!(reply(
            &mut env,
            &message,
            flow(),
            (503, b"Later"),
            b"Retry-After: 5\r\n"
        ));
        let Some(crate::effect::Effect::Send(send)) = out.as_slice().first() else {
            panic!("a reply");
        };
        let text = String::from_utf8_lossy(&send.bytes);
        assert!(
            text.contains("\r\nRetry-After: 5\r\nServer: x\r\n"),
            "{text}"
        );
    }
}
