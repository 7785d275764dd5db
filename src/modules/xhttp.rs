//! `xhttp`: requests of HTTP on the port of SIP, for a script to answer.
//!
//! A script sees such a request in `event_route[xhttp:request]` as if it were one of SIP, and
//! answers it once. Nothing of SIP is done with it: it makes no transaction and goes nowhere.

use regex::bytes::Regex;

use crate::effect::{Destination, HttpFrame, Level};
use crate::script::{
    CallSite, Heap, Outcome, ParamKind, ParamType, RouteKinds, Setting, compile_regex,
};
use crate::sip::http;

use super::entry::{NO, filled, function, param, planned_param, text_of, truth, variable};
use super::work::Work;
use super::{Call, Function, Module, Param, ParamError, Variable};

/// The module's table.
pub const MODULE: Module = Module {
    name: "xhttp",
    doc: "HTTP in the script, on the port of SIP.",
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    ..super::EMPTY
};

/// The route that sees requests.
pub const ROUTE: &[u8] = b"xhttp:request";

/// Parameters.
#[derive(Clone, Debug, Default)]
pub struct Config {
    url_match: Option<Regex>,
    url_skip: Option<Regex>,
}

impl Config {
    /// Whether a script is to see a request for this URL.
    pub fn serves(&self, url: &[u8]) -> bool {
        let is_match = self.url_match.as_ref().is_none_or(|r| r.is_match(url));
        is_match && !self.url_skip.as_ref().is_some_and(|r| r.is_match(url))
    }
}

fn expression(setting: &Setting) -> Result<Option<Regex>, ParamError> {
    let text = match setting {
        Setting::Text(text) => text,
        Setting::Int(_) => return Err(ParamError("a regular expression")),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let compiled = compile_regex(text).ok_or(ParamError("a regular expression"));
    compiled.map(Some)
}

const PARAMS: [Param; 3] = [
    param(
        "url_match",
        ParamType::Str,
        "",
        (
            |c, s| expression(s).map(|r| c.xhttp.url_match = r),
            "Which URLs the script sees; any by default. Others get no answer.",
        ),
    ),
    param(
        "url_skip",
        ParamType::Str,
        "",
        (
            |c, s| expression(s).map(|r| c.xhttp.url_skip = r),
            "Which URLs it does not see.",
        ),
    ),
    planned_param(
        "event_callback",
        ParamType::Str,
        "",
        "Function of an embedded language for events.",
    ),
];

const TEXT: ParamKind = ParamKind::Text;

const FUNCTIONS: [Function; 1] = [function(
    "xhttp_reply",
    &[ParamKind::Int, TEXT, TEXT, TEXT],
    RouteKinds::REQUEST,
    (
        reply,
        "Answers a request of HTTP: status, reason, content type, body.",
    ),
)];

const VARIABLES: [Variable; 1] = [variable(
    "hu",
    |call, heap, _| match call.work.message.is_http() {
        true => filled(heap, call.work.message.uri()),
        false => crate::script::Value::Null,
    },
    "The URL of a request of HTTP.",
)];

fn reply(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let status = site.int(0, call, heap);
    let Some(status) = status.filter(|status| (100..=999).contains(status)) else {
        call.env
            .log(Level::Err, "xhttp_reply: a status is from 100 to 999");
        return NO;
    };
    let text = |call: &mut Call<'_>, heap: &mut Heap, at| text_of(call, heap, site, at);
    let reason = text(call, heap, 1).filter(|reason| !reason.is_empty());
    let (content_type, body) = (text(call, heap, 2), text(call, heap, 3));
    let Some(reason) = reason else {
        call.env.log(Level::Err, "xhttp_reply: there is no reason");
        return NO;
    };
    let content = (
        content_type.as_deref().unwrap_or_default(),
        body.as_deref().unwrap_or_default(),
    );
    truth(answer(call, (status as u16, &reason), content))
}

/// Answers the request, unless it has been answered.
pub(super) fn answer(
    call: &mut Call<'_>,
    (status, reason): (u16, &[u8]),
    content: (&[u8], &[u8]),
) -> bool {
    let Some(mut frame) = open_frame(call) else {
        return false;
    };
    let work = &mut *call.work;
    frame.has_body = http::has_body(&work.message, status);
    // A provisional answer is followed by another one.
    frame.is_last &= status >= 200;
    let bytes = frame.answer((status, reason), content);
    call.env.state.counters.http_replies += 1;
    call.env.send(along(work), bytes.into());
    if frame.is_last {
        close(call);
    }
    true
}

/// What stands around the answer to this request, which from now on has one. `None`: it is none
/// of HTTP, or it has one already.
pub(super) fn open_frame(call: &mut Call<'_>) -> Option<HttpFrame> {
    let work = &mut *call.work;
    if !work.message.is_http() || work.is_answered {
        let what = "a request has one answer, and it must be one of HTTP";
        call.env.log(Level::Err, what);
        return None;
    }
    work.is_answered = true;
    let mut fields = http::sia(&work.message);
    fields.append(&mut work.reply_headers);
    let mut server = vec![];
    let core = &call.env.state.setup.config.core;
    core.push_server_line(&mut server);
    Some(HttpFrame {
        version: u8::from(work.message.version() != b"HTTP/1.0"),
        fields: fields.into(),
        server: server.into(),
        is_last: http::is_last(&work.message) || work.stream.reply_close,
        has_body: work.message.method_name() != b"HEAD",
    })
}

/// Back on the connection and on no other.
fn along(work: &Work) -> Destination {
    let mut to = Destination::along(work.flow);
    to.no_connect = true;
    to
}

/// Closes the connection once the answer has left.
fn close(call: &mut Call<'_>) {
    if let Some(conn) = call.work.flow.conn {
        call.env.out.push(crate::effect::Effect::Close(conn));
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::sample::{Ran, flow, run_in, state};
    use super::*;
    use crate::effect::{ConnId, Proto};
    use crate::script::RouteKind;
    use crate::sip::Message;

    /// Runs statements for a request of HTTP.
    fn run(statements: &str, request: &str) -> Ran {
        let mut flow = flow();
        flow.proto = Proto::Tcp;
        flow.conn = Some(ConnId { core: 0, key: 7 });
        let mut message = Message::new();
        let read = message.read_http(request.as_bytes(), flow.remote);
        read.expect("a request");
        let modules = "loadmodule \"xhttp.so\"\nloadmodule \"jsonrpcs.so\"\n\
                       modparam(\"jsonrpcs\", \"transport\", 1)\n";
        let state = state(&format!("{modules}\nrequest_route {{\n{statements}\n;}}\n"));
        run_in(state, Work::new(RouteKind::Request, Rc::new(message), flow))
    }

    const GET: &str = "GET /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn an_answer_is_made_of_what_the_script_says() {
        let ran = run(
            "append_to_reply(\"X: y\\r\\n\"); \
             xhttp_reply(\"201\", \"Is $hu\", \"text/plain\", \"$rm $rb $hdr(host)\");",
            GET,
        );
        let server = format!("Server: dialcore ({})\r\n", env!("CARGO_PKG_VERSION"));
        let want = format!(
            "HTTP/1.1 201 Is /a?b\r\nSia: SIP/2.0/TCP 192.0.2.1:5062\r\nX: y\r\n\
             Content-Type: text/plain\r\n{server}Content-Length: 8\r\n\r\nGET hi x"
        );
        assert_eq!(ran.sent, [want]);
    }

    #[test]
    fn there_is_one_answer() {
        let table = [
            ("xhttp_reply(200, \"OK\", \"\", \"\")", 1),
            ("xhttp_reply(99, \"OK\", \"\", \"\")", -1),
            ("xhttp_reply(1000, \"OK\", \"\", \"\")", -1),
            ("xhttp_reply(200, \"\", \"\", \"\")", -1),
            ("sl_send_reply(200, \"OK\")", 1),
        ];
        for (statement, want) in table {
            let text = format!(
                "$var(a) = {statement}; $var(b) = xhttp_reply(200, \"OK\", \"\", \"\"); \
                 xlog(\"$var(a) $var(b)\");"
            );
            let ran = run(&text, GET);
            assert_eq!(ran.lines, [format!("{want} {}", -want)], "{statement}");
            assert_eq!(ran.sent.len(), 1, "{statement}");
        }
    }

    #[test]
    fn a_reason_forges_no_field() {
        let ran = run(
            "xhttp_reply(200, \"a\\r\\nX: y\", \"b\\nZ: y\", \"\");",
            GET,
        );
        assert!(ran.sent[0].starts_with("HTTP/1.1 200 aX: y\r\nSia: "));
        assert!(ran.sent[0].contains("\r\nContent-Type: bZ: y\r\n"));
    }

    #[test]
    fn what_a_script_sees() {
        let text = "xlog(\"$rm $hu $rv $mt $proto $si $sp $bs $ru $ci $fu $cs\");";
        let ran = run(text, GET);
        let null = "<null>";
        let want = format!("GET /a?b HTTP/1.1 1 tcp 192.0.2.1 5062 2 {null} {null} {null} {null}");
        assert_eq!(ran.lines, [want]);
    }

    #[test]
    fn a_command_is_handed_on() {
        let command = r#"{"jsonrpc":"2.0","method":"core.version","id":1}"#;
        let post = |version, body: &str| {
            let size = body.len();
            format!("POST /rpc HTTP/1.{version}\r\nContent-Length: {size}\r\n\r\n{body}")
        };
        let table = [
            (post(1, command), 1, Some((1, false))),
            (post(0, command), 1, Some((0, true))),
            (post(1, "no JSON"), -1, None),
            (post(1, ""), -1, None),
        ];
        for (request, code, want) in table {
            let ran = run("$var(r) = jsonrpc_dispatch(); xlog(\"$var(r)\");", &request);
            assert_eq!(ran.lines, [code.to_string()], "{request}");
            let frames = ran
                .commands
                .iter()
                .map(|c| (c.frame.version, c.frame.is_last));
            assert_eq!(
                frames.collect::<Vec<_>>(),
                Vec::from_iter(want),
                "{request}"
            );
        }
    }

    #[test]
    fn nothing_of_sip_is_done_with_it() {
        let invite = "INVITE / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        let ran = run(
            "$var(a) = t_newtran(); $var(b) = t_reply(200, \"OK\"); xlog(\"$var(a) $var(b)\");",
            invite,
        );
        assert_eq!((ran.lines, ran.sent.len()), (vec!["-1 -1".to_owned()], 0));
    }
}
