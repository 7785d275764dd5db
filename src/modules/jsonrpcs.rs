//! `jsonrpcs`: JSON-RPC 2.0 over a pipe, datagrams, TCP and HTTP. What it listens on is opened by
//! `io`; here are its parameters, and the way of a command that a script was sent over HTTP.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Effect, HttpCommand, Level};
use crate::script::{self, CallSite, Heap, Outcome, ParamKind, ParamType, RouteKinds, Setting};
use crate::time::Duration;

use super::ctl::{mode, name};
use super::entry::{NO, YES, function, is_on, keyed, number, param, text_of, word, words};
use super::rpc::place::{Place, Rights, below};
use super::rpc::{Command, Container, Run, Value, json};
use super::work::Ask;
use super::{Call, Function, Module, Param, ParamError, Variable, xhttp};

/// The module's table.
pub const MODULE: Module = Module {
    name: "jsonrpcs",
    doc: "JSON-RPC by pipe, datagrams, TCP and HTTP.",
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    commands: &COMMANDS,
    ..super::EMPTY
};

/// The bits of `transport`.
const HTTP: i64 = 1;
const PIPE: i64 = 2;
const DATAGRAM: i64 = 4;
const TCP: i64 = 8;

/// Parameters.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether answers are indented.
    pub is_pretty: bool,
    transport: i64,
    fifo_name: Box<str>,
    /// Who may use the pipe.
    pub fifo_rights: Rights,
    fifo_reply_dir: Box<str>,
    dgram_socket: Box<str>,
    /// Who may use the datagram socket.
    pub dgram_rights: Rights,
    tcp_socket: Option<Box<str>>,
    /// How long an answer is offered to a client of datagrams that does not take it.
    pub dgram_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let rights = Rights {
            mode: 0o660,
            user: None,
            group: None,
        };
        Config {
            is_pretty: true,
            transport: PIPE | DATAGRAM,
            fifo_name: "kamailio_rpc.fifo".into(),
            fifo_rights: rights.clone(),
            fifo_reply_dir: "/tmp/".into(),
            dgram_socket: "kamailio_rpc.sock".into(),
            dgram_rights: rights,
            tcp_socket: None,
            dgram_timeout: Duration::from_millis(2_000),
        }
    }
}

impl Config {
    fn is_on(&self, bit: i64) -> bool {
        self.transport == 0 || self.transport & bit != 0
    }

    /// Where it listens, and who may use it.
    pub fn places(&self, run_dir: &str) -> Vec<(Place, Rights)> {
        let pipe = || {
            let path = below(run_dir, &self.fifo_name)?;
            let reply_dir = self.fifo_reply_dir.clone();
            Some((Place::Pipe { path, reply_dir }, self.fifo_rights.clone()))
        };
        let datagram = || {
            Some((
                datagram_place(&self.dgram_socket, run_dir)?,
                self.dgram_rights.clone(),
            ))
        };
        let tcp = || Some((tcp_place(self.tcp_socket.as_deref()?)?, Rights::default()));
        let all = [
            self.is_on(PIPE).then(pipe).flatten(),
            self.is_on(DATAGRAM).then(datagram).flatten(),
            self.is_on(TCP).then(tcp).flatten(),
        ];
        all.into_iter().flatten().collect()
    }
}

/// A path, or `udp:ADDRESS:PORT`.
fn datagram_place(text: &str, run_dir: &str) -> Option<Place> {
    match text.strip_prefix("udp:") {
        Some(_) => Place::parse(text, run_dir, None),
        None => Some(Place::Datagram(below(run_dir, text)?)),
    }
}

fn tcp_place(text: &str) -> Option<Place> {
    text.starts_with("tcp:")
        .then(|| Place::parse(text, "/", None))
        .flatten()
}

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;

const FUNCTIONS: [Function; 2] = [
    function(
        "jsonrpc_dispatch",
        &[],
        RouteKinds::REQUEST,
        (
            dispatch,
            "Answers the command in the body of a request of HTTP.",
        ),
    ),
    function(
        "jsonrpc_exec",
        &[ParamKind::Text],
        RouteKinds::ANY,
        (exec, "Has a command answered; $jsonrpl is what came of it."),
    ),
];

/// Hands the command on to whoever answers, together with the connection.
fn dispatch(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let setup = Arc::clone(&call.env.state.setup);
    let message = Rc::clone(&call.work.message);
    if !setup.config.jsonrpcs.is_on(HTTP) || !setup.is_loaded("xhttp") {
        call.env.log(
            Level::Err,
            "jsonrpc_dispatch: HTTP is no transport, or xhttp not there",
        );
        return NO;
    }
    let conn = call.work.flow.conn.filter(|_| message.is_http());
    let (Some(conn), Some(_)) = (conn, json::request(message.body())) else {
        let what = "jsonrpc_dispatch: the body is no JSON, or the request none of HTTP";
        call.env.log(Level::Err, what);
        return NO;
    };
    let Some(frame) = xhttp::open_frame(call) else {
        return NO;
    };
    let command = HttpCommand {
        conn,
        command: message.body().into(),
        frame,
    };
    call.env.out.push(Effect::Command(Box::new(command)));
    YES
}

/// The script waits for the answer, which may need every core.
fn exec(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let command = text_of(call, heap, site, 0).unwrap_or_else(|| Rc::from(&b""[..]));
    if json::request(&command).is_none() {
        call.env
            .log(Level::Err, "jsonrpc_exec: the command is no JSON");
        return NO;
    }
    call.ask(Ask::Exec((*command).into()))
}

const VARIABLES: [Variable; 1] = [keyed(
    "jsonrpl",
    crate::script::InnerKind::OneOf(&["code", "body", "text"]),
    |call, heap, access| {
        let Some(answer) = &call.env.state.stores.executed else {
            return if word(access) == 0 {
                script::Value::Int(0)
            } else {
                script::Value::Null
            };
        };
        match word(access) {
            0 => script::Value::Int(answer.code),
            1 => heap.string(&answer.body),
            _ => heap.string(answer.text.as_bytes()),
        }
    },
    "What jsonrpc_exec last gave on this core.",
)];

fn path(setting: &Setting) -> Result<Box<str>, ParamError> {
    name(setting).ok_or(ParamError("a path"))
}

const PARAMS: [Param; 14] = [
    param(
        "pretty_format",
        INT,
        "1",
        (
            |c, s| {
                c.jsonrpcs.is_pretty = is_on(s);
                Ok(())
            },
            "Whether answers are indented.",
        ),
    ),
    param(
        "transport",
        INT,
        "6",
        (
            |c, s| {
                c.jsonrpcs.transport = number(s, 0, 15, "a sum of 1, 2, 4 and 8, or 0")?;
                Ok(())
            },
            "1 HTTP, 2 pipe, 4 datagrams, 8 TCP, 0 all.",
        ),
    ),
    param(
        "fifo_name",
        STR,
        "kamailio_rpc.fifo",
        (
            |c, s| path(s).map(|p| c.jsonrpcs.fifo_name = p),
            "The pipe.",
        ),
    ),
    param(
        "fifo_mode",
        INT,
        "432",
        (
            |c, s| mode(s).map(|m| c.jsonrpcs.fifo_rights.mode = m),
            "Its permissions, 0660.",
        ),
    ),
    param(
        "fifo_group",
        ParamType::Any,
        "",
        (
            |c, s| {
                c.jsonrpcs.fifo_rights.group = name(s);
                Ok(())
            },
            "Its group.",
        ),
    ),
    param(
        "fifo_user",
        ParamType::Any,
        "",
        (
            |c, s| {
                c.jsonrpcs.fifo_rights.user = name(s);
                Ok(())
            },
            "Its owner.",
        ),
    ),
    param(
        "fifo_reply_dir",
        STR,
        "/tmp/",
        (
            |c, s| path(s).map(|p| c.jsonrpcs.fifo_reply_dir = p),
            "Where answers go.",
        ),
    ),
    param(
        "dgram_socket",
        STR,
        "kamailio_rpc.sock",
        (
            |c, s| {
                let text = words(s);
                datagram_place(&text, "/").ok_or(ParamError("a path or udp:ADDRESS:PORT"))?;
                c.jsonrpcs.dgram_socket = text;
                Ok(())
            },
            "The datagram socket.",
        ),
    ),
    param(
        "dgram_mode",
        INT,
        "432",
        (
            |c, s| mode(s).map(|m| c.jsonrpcs.dgram_rights.mode = m),
            "Its permissions, 0660.",
        ),
    ),
    param(
        "dgram_group",
        ParamType::Any,
        "",
        (
            |c, s| {
                c.jsonrpcs.dgram_rights.group = name(s);
                Ok(())
            },
            "Its group.",
        ),
    ),
    param(
        "dgram_user",
        ParamType::Any,
        "",
        (
            |c, s| {
                c.jsonrpcs.dgram_rights.user = name(s);
                Ok(())
            },
            "Its owner.",
        ),
    ),
    param(
        "dgram_workers",
        INT,
        "1",
        (
            |c, _| {
                c.is_idle = true;
                Ok(())
            },
            "No effect: one thread serves all operators.",
        ),
    ),
    param(
        "dgram_timeout",
        INT,
        "2000",
        (
            |c, s| {
                let n = number(s, 0, 60_000, "milliseconds, at most a minute")?;
                c.jsonrpcs.dgram_timeout = Duration::from_millis(n as u64);
                Ok(())
            },
            "Milliseconds in which a client of datagrams must take its answer.",
        ),
    ),
    param(
        "tcp_socket",
        STR,
        "",
        (
            |c, s| {
                let text = words(s);
                tcp_place(&text).ok_or(ParamError("tcp:ADDRESS:PORT"))?;
                c.jsonrpcs.tcp_socket = Some(text);
                Ok(())
            },
            "The TCP socket.",
        ),
    ),
];

const COMMANDS: [Command; 1] = [Command {
    name: "jsonrpc.echo",
    help: "Returns back its parameters.",
    params: "[ANY ...]",
    container: Container::Array,
    run: Run::Here(|_, args| Ok(args.all().iter().map(Value::clone).collect())),
}];
