//! One shard in the hand of a test: bytes in, bytes out, time as an argument.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dialcore::effect::rpc::Part;
use dialcore::effect::{
    ConnId, Effect, Executed, Flow, Hop, Lookup, NameRecord, Outbox, Proto, Query, ResolveError,
    SendError, SocketId, Token,
};
use dialcore::modules::dialog::listing::{Cursor, View, list, profile_size};
use dialcore::modules::dialog::stats::STATISTICS;
use dialcore::modules::rpc::Question;
use dialcore::shard::{Input, Setup, Shard};
use dialcore::slab::Key;
use dialcore::steer::ShardId;
use dialcore::time::{Duration, Instant, Now, WallTime};

/// The caller's address.
pub(crate) const ALICE: &str = "192.0.2.1:5060";
/// The callee's address.
pub(crate) const BOB: &str = "192.0.2.2:5060";
/// A second callee's address.
pub(crate) const CAROL: &str = "192.0.2.3:5060";

/// What the tests' routing script starts from; `@INITIAL@` is where a request outside of a
/// dialog goes before it is relayed, `@ROUTES@` is for more blocks.
const CFG: &str = r#"
#!KAMAILIO
listen=udp:192.0.2.100:5060
listen=tcp:192.0.2.100:5060
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "corex.so"
loadmodule "tmx.so"
loadmodule "xlog.so"
@MODULES@
@PARAMS@
request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    if (has_totag()) {
        if (loose_route()) { t_relay(); exit; }
        if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
        sl_send_reply("404", "Not here");
        exit;
    }
    t_check_trans();
    @INITIAL@
    if (!t_relay()) { sl_reply_error(); }
}
@ROUTES@
"#;

/// A message that left, in the order of leaving.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Where to.
    pub(crate) to: SocketAddr,
    /// By what transport.
    pub(crate) proto: Proto,
    /// Whom to tell of a failure.
    pub(crate) token: Option<Token>,
    /// The message.
    pub(crate) text: String,
}

impl Sent {
    /// The start line.
    pub(crate) fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The values of a header, one per line of it.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let is_it = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let lines = self.text.split("\r\n").filter(is_it);
        lines
            .filter_map(|line| line.split_once(':').map(|(_, v)| v.trim()))
            .collect()
    }

    /// The first value of a header.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }
}

/// What the script of a proxy with dialogs does besides the usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Script<'a> {
    /// For every request.
    pub(crate) first: &'a str,
    /// For an INVITE, before `dlg_manage()`.
    pub(crate) initial: &'a str,
    /// Behind it.
    pub(crate) after: &'a str,
    /// For requests in a dialog, behind `loose_route()`.
    pub(crate) within: &'a str,
    /// More blocks.
    pub(crate) routes: &'a str,
    /// Parameters.
    pub(crate) params: &'a str,
    /// There is no `dlg_manage()`.
    pub(crate) unmanaged: bool,
}

/// A shard with its clock.
pub(crate) struct Proxy {
    shard: Shard,
    out: Outbox,
    now: Instant,
    /// What has been asked of DNS and not answered.
    pub(crate) queries: Vec<(Token, Query)>,
    /// What scripts have asked of DNS and not been answered.
    pub(crate) lookups: Vec<(Token, Lookup)>,
    /// Lines of the log.
    pub(crate) log: Vec<String>,
    /// What operators have been answered.
    pub(crate) parts: Vec<Part>,
    /// What ways it has asked for.
    pub(crate) routes: Vec<(Token, IpAddr)>,
    /// What connections are to serve further ports.
    pub(crate) aliases: Vec<(ConnId, u16)>,
    /// Commands that scripts have given.
    pub(crate) commands: Vec<(Key, Box<[u8]>)>,
    /// Invariants are left alone: each check looks at all that waits.
    pub(crate) is_unchecked: bool,
    /// How often it has asked for a reload.
    pub(crate) reloads: usize,
    /// Its configuration, if that was one text.
    pub(crate) text: String,
}

impl Proxy {
    /// A proxy whose script does this with an initial request before relaying it.
    pub(crate) fn new(initial: &str) -> Proxy {
        Proxy::with(initial, "", "")
    }

    /// The same with further route blocks and parameters.
    pub(crate) fn with(initial: &str, routes: &str, params: &str) -> Proxy {
        let text = CFG
            .replace("@INITIAL@", initial)
            .replace("@ROUTES@", routes)
            .replace("@PARAMS@", params)
            .replace("@MODULES@", "");
        Proxy::from_text(&text)
    }

    /// A proxy that manages dialogs: `initial` runs for the INVITE before `dlg_manage()`, `after`
    /// behind it, `within` for requests in a dialog that were matched.
    pub(crate) fn with_dialogs(script: Script<'_>) -> Proxy {
        let initial = format!(
            "record_route(); if (is_method(\"INVITE\")) {{ {} {} {} ; }}",
            script.initial,
            if script.unmanaged {
                ""
            } else {
                "dlg_manage();"
            },
            script.after
        );
        let within = format!("if (loose_route()) {{ {}", script.within);
        let text = CFG
            .replace("if (loose_route()) {", &within)
            .replace(
                "    if (is_method(\"CANCEL\"))",
                &format!("    {}\n    if (is_method(\"CANCEL\"))", script.first),
            )
            .replace("@INITIAL@", &initial)
            .replace("@ROUTES@", script.routes)
            .replace("@PARAMS@", script.params)
            .replace("@MODULES@", "loadmodule \"dialog.so\"");
        Proxy::from_text(&text)
    }

    /// A proxy with this configuration.
    pub(crate) fn from_text(text: &str) -> Proxy {
        Proxy::seeded(text, 1)
    }

    /// The same, of a process that draws other numbers.
    pub(crate) fn seeded(text: &str, seed: u64) -> Proxy {
        let setup = Setup::from_text(text, 1).unwrap_or_else(|errors| panic!("{errors}"));
        let mut proxy = Proxy::of(setup, seed);
        proxy.text = text.to_owned();
        proxy
    }

    /// A proxy with a configuration of several files, the main one first.
    pub(crate) fn from_files(files: &[(&str, &str)]) -> Proxy {
        let setup = Setup::from_files(files, 1).unwrap_or_else(|errors| panic!("{errors}"));
        Proxy::of(setup, 1)
    }

    fn of(setup: Setup, seed: u64) -> Proxy {
        Proxy {
            shard: Shard::new(ShardId(0), Arc::new(setup), seed),
            out: Outbox::new(),
            now: Instant::ZERO,
            queries: vec![],
            lookups: vec![],
            log: vec![],
            parts: vec![],
            routes: vec![],
            aliases: vec![],
            commands: vec![],
            is_unchecked: false,
            reloads: 0,
            text: String::new(),
        }
    }

    fn clock(&self) -> Now {
        let wall = 1_700_000_000_000_000 + self.now.as_nanos() / 1000;
        Now {
            mono: self.now,
            wall: WallTime::from_micros(wall),
        }
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Sent> {
        self.shard.handle(self.clock(), input, &mut self.out);
        if !self.is_unchecked {
            self.shard.check_invariants();
        }
        let mut sent = vec![];
        for effect in self.out.drain() {
            match effect {
                Effect::Send(send) => sent.push(Sent {
                    to: send.to.remote,
                    proto: send.to.proto,
                    token: send.token,
                    text: String::from_utf8_lossy(&send.bytes).into_owned(),
                }),
                Effect::Resolve(token, query) => self.queries.push((token, query)),
                Effect::Lookup(token, lookup) => self.lookups.push((token, *lookup)),
                Effect::Log(record) => self.log.push(format!("{}{}", record.prefix, record.text)),
                Effect::RpcReply(_, part) => self.parts.push(part),
                Effect::Reload => self.reloads += 1,
                Effect::Route(token, to) => self.routes.push((token, to)),
                Effect::Exec(run, command) => self.commands.push((run, command)),
                Effect::Alias(conn, port) => self.aliases.push((conn, port)),
                Effect::Close(_) | Effect::HandOver(..) | Effect::Peer(..) | Effect::Command(_) => {
                }
            }
        }
        sent
    }

    /// A datagram comes in.
    pub(crate) fn receive(&mut self, from: &str, text: &str) -> Vec<Sent> {
        self.receive_bytes(from, Proto::Udp, text.as_bytes())
    }

    /// A datagram comes in by another socket than the first.
    pub(crate) fn receive_on(&mut self, socket: u16, from: &str, text: &str) -> Vec<Sent> {
        let remote = from.parse().expect("the tests write addresses");
        let (socket, proto, conn) = (SocketId(socket), Proto::Udp, None);
        let flow = Flow {
            socket,
            proto,
            remote,
            conn,
        };
        let bytes = text.as_bytes();
        self.input(Input::Received { flow, bytes })
    }

    /// A datagram, or a message on a stream, comes in.
    pub(crate) fn receive_bytes(&mut self, from: &str, proto: Proto, bytes: &[u8]) -> Vec<Sent> {
        let flow = flow(from, proto);
        self.input(Input::Received { flow, bytes })
    }

    /// A datagram comes in for which there is no time if it begins a call.
    pub(crate) fn receive_late(&mut self, from: &str, text: &str) -> Vec<Sent> {
        let (flow, bytes) = (flow(from, Proto::Udp), text.as_bytes());
        self.input(Input::Refused { flow, bytes })
    }

    /// A request of HTTP comes in.
    pub(crate) fn receive_http(&mut self, from: &str, text: &str) -> Vec<Sent> {
        let (flow, bytes) = (flow(from, Proto::Tcp), text.as_bytes());
        self.input(Input::Http { flow, bytes })
    }

    /// An operator asks.
    pub(crate) fn ask(&mut self, question: Question) -> Vec<Sent> {
        self.input(Input::Rpc(question))
    }

    /// A new configuration comes.
    pub(crate) fn reload(&mut self, text: &str) {
        let setup = Setup::from_text(text, 1).unwrap_or_else(|errors| panic!("{errors}"));
        self.input(Input::Reload(Arc::new(setup)));
    }

    /// DNS answers the oldest question.
    pub(crate) fn resolve(&mut self, found: Result<&[&str], ResolveError>) -> Vec<Sent> {
        let (token, _) = self.queries.remove(0);
        let hop = |addr: &&str| Hop {
            proto: Proto::Udp,
            addr: addr.parse().unwrap(),
        };
        let found = found.map(|hops| hops.iter().map(hop).collect());
        self.input(Input::Resolved(token, found))
    }

    /// DNS answers the oldest question of a script.
    pub(crate) fn found(&mut self, found: Result<Vec<NameRecord>, ResolveError>) -> Vec<Sent> {
        let (token, _) = self.lookups.remove(0);
        self.input(Input::Found(token, found))
    }

    /// The kernel says from which address the oldest question's destination is reached.
    pub(crate) fn route(&mut self, source: Option<&str>) -> Vec<Sent> {
        let (token, _) = self.routes.remove(0);
        let source = source.map(|ip| ip.parse().unwrap());
        self.input(Input::Routed(token, source))
    }

    /// The oldest command is answered.
    pub(crate) fn execute(&mut self, code: i64, text: &str, body: &str) -> Vec<Sent> {
        let (run, _) = self.commands.remove(0);
        let answer = Executed {
            code,
            text: text.into(),
            body: body.as_bytes().into(),
        };
        self.input(Input::Executed(run, Some(Box::new(answer))))
    }

    /// A message did not leave.
    pub(crate) fn not_sent(&mut self, token: Token) -> Vec<Sent> {
        self.input(Input::SendFailed(token, SendError::NotConnected))
    }

    /// Time passes; every deadline in it is met.
    pub(crate) fn wait(&mut self, seconds: f64) -> Vec<Sent> {
        let end = self.now + Duration::from_micros((seconds * 1e6) as u64);
        let mut sent = vec![];
        while let Some((at, _)) = self.shard.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            sent.extend(self.input(Input::Deadline));
        }
        self.now = end;
        sent
    }

    /// What scripts have logged since the last time.
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.log
            .drain(..)
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// The five statistics.
    pub(crate) fn stats(&self) -> [u64; 5] {
        STATISTICS.map(|s| (s.read)(self.shard.state()))
    }

    /// The dialogs, as a listing shows them.
    pub(crate) fn dialogs(&mut self) -> Vec<View> {
        let now = self.clock();
        let env = self.shard.command(now, &mut self.out);
        list(&env, Cursor::default(), (usize::MAX, usize::MAX), &[]).dialogs
    }

    /// The states of all dialogs, in the order of the table.
    pub(crate) fn states(&mut self) -> Vec<i64> {
        self.dialogs().iter().map(|d| d.state).collect()
    }

    /// How many members a profile has.
    pub(crate) fn profile(&self, name: &str, value: Option<&str>) -> usize {
        let value = value.map(str::as_bytes);
        profile_size(self.shard.state(), name.as_bytes(), value).expect("a profile that is there")
    }

    /// The shard.
    pub(crate) fn shard(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.shard.is_idle() && self.shard.next_deadline().is_none()
    }
}

/// How something comes in by the first socket of the transport.
fn flow(from: &str, proto: Proto) -> Flow {
    Flow {
        socket: SocketId(u16::from(proto.is_reliable())),
        proto,
        remote: from.parse().expect("the tests write addresses"),
        conn: proto.is_reliable().then_some(ConnId { core: 0, key: 1 }),
    }
}

/// A request from alice to bob; `more` are further header lines.
pub(crate) fn request(method: &str, branch: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@a.test>;tag=a1\r\nTo: <sip:bob@b.test>\r\n\
         Call-ID: c1\r\nCSeq: 1 {method}\r\nContact: <sip:alice@192.0.2.1>\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
}

/// A response to a request that the proxy sent.
pub(crate) fn answer(to: &Sent, code: u16, tag: &str) -> String {
    let mut text = format!("SIP/2.0 {code} Some Reason\r\n");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in to.all(name) {
            let tag = if name == "To" && !tag.is_empty() && !value.contains(";tag=") {
                format!(";tag={tag}")
            } else {
                String::new()
            };
            text.push_str(&format!("{name}: {value}{tag}\r\n"));
        }
    }
    text + "Contact: <sip:bob@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
}

/// `destination: start line` of each, for tables.
pub(crate) fn lines(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .map(|s| format!("{}: {}", s.to.ip(), s.line()))
        .collect()
}
