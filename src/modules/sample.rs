//! A script, a message and what came of them: the ground of the modules' tests.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Effect, Flow, HttpCommand, Outbox, Proto, Record, SocketId};
use crate::rng::Rng;
use crate::script::{End, Pause, RouteKind, Vm};
use crate::sip::{Message, Press, Spare};
use crate::steer::ShardId;
use crate::time::{Instant, Now, WallTime};
use crate::wheel::Wheel;

use super::counters::Counters;
use super::dialog::Dialogs;
use super::pv::Variables;
use super::stores::Stores;
use super::work::Work;
use super::{Call, Env, Setup, State, dispatcher, tm, uac};

/// All modules that do something, and two sockets.
const HEAD: &str = "#!KAMAILIO\n\
    listen=udp:192.0.2.100:5060 advertise 192.0.2.50:5070 name \"out\"\n\
    listen=udp:192.0.2.101:5080\n\
    listen=udp:[2001:db8::100]:5060\n\
    alias=home.test\n\
    debug=3\n\
    server_id=7\n\
    loadmodule \"tm.so\"\nloadmodule \"tmx.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\n\
    loadmodule \"pv.so\"\nloadmodule \"maxfwd.so\"\nloadmodule \"textops.so\"\n\
    loadmodule \"textopsx.so\"\nloadmodule \"siputils.so\"\nloadmodule \"xlog.so\"\n\
    loadmodule \"kex.so\"\nloadmodule \"corex.so\"\nloadmodule \"dialog.so\"\n\
    loadmodule \"uac.so\"\n\
    loadmodule \"sanity.so\"\nloadmodule \"cfgutils.so\"\nloadmodule \"ipops.so\"\n\
    loadmodule \"htable.so\"\nloadmodule \"statistics.so\"\nloadmodule \"counters.so\"\n\
    modparam(\"pv\", \"shvset\", \"shared=i:4\")\n";

/// The request that tables are about. Its header fields have long, compact and folded forms.
pub(super) const INVITE: &str = "INVITE sip:bob;x=y@home.test:5061;transport=tcp;p=1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKa;rport, \
    SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKb\r\n\
    Max-Forwards: 70\r\n\
    f: \"Alice, A.\" <sip:alice@a.test:5066;y=2>;tag=77\r\n\
    To: <sip:bob@home.test>\r\n\
    i: call-1@a.test\r\n\
    CSeq: 314 INVITE\r\n\
    m: <sip:alice@192.0.2.1:5062>;expires=60, <sip:alice@192.0.2.2>;expires=30\r\n\
    User-Agent: Sample/1\r\n\
    X-Multi: one\r\n\
    x-multi: two\r\n\
    X-Multi: three\r\n\
    P-Asserted-Identity: \"A\" <sip:+1234@a.test>\r\n\
    P-Preferred-Identity: Pref <sip:pref@p.test>\r\n\
    Diversion: <sip:div@d.test>;reason=no-answer;privacy=off;counter=2\r\n\
    Refer-To: <sip:refer@r.test>\r\n\
    Remote-Party-ID: <sip:rpid@r.test>;party=calling\r\n\
    Privacy: id;header\r\n\
    Proxy-Authorization: Digest username=\"u@dom.test\", realm=\"r, x\", nonce=\"n1\", \
    uri=\"sip:x\",\r\n\
    \x20response=\"0011\", cnonce=\"c1\", opaque=\"o1\", algorithm=MD5\r\n\
    Content-Type: application/sdp; charset=x\r\n\
    Content-Length: 15\r\n\
    \r\n\
    v=0\r\na=active\r\n";

/// What a script did.
pub(super) struct Ran {
    pub(super) work: Work,
    pub(super) state: State,
    pub(super) end: Option<End>,
    /// What the script wrote to the log.
    pub(super) lines: Vec<String>,
    /// What the program itself wrote.
    pub(super) complaints: Vec<String>,
    /// All that was written to the log.
    pub(super) records: Vec<Record>,
    /// What was sent.
    pub(super) sent: Vec<String>,
    /// What was handed on to whoever answers commands.
    pub(super) commands: Vec<HttpCommand>,
}

impl Ran {
    /// The message as it would leave, with the changes made.
    pub(super) fn changed(&self) -> String {
        let mut out = vec![];
        self.work.edits.apply(self.work.message.bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The lines that the changed message has and the original has not, and the other way round.
    pub(super) fn difference(&self, original: &str) -> Vec<String> {
        let changed = self.changed();
        let (old, new): (Vec<&str>, Vec<&str>) = (
            original.split("\r\n").collect(),
            changed.split("\r\n").collect(),
        );
        let gone = old
            .iter()
            .filter(|l| !new.contains(l))
            .map(|l| format!("-{l}"));
        let added = new
            .iter()
            .filter(|l| !old.contains(l))
            .map(|l| format!("+{l}"));
        gone.chain(added).collect()
    }
}

/// What the message came in on.
pub(super) fn flow() -> Flow {
    Flow {
        socket: SocketId(0),
        proto: Proto::Udp,
        remote: "192.0.2.1:5062".parse().expect("an address"),
        conn: None,
    }
}

/// The state of a shard with this configuration behind the common one.
pub(super) fn state(cfg: &str) -> State {
    let mut setup = match Setup::from_text(&format!("{HEAD}{cfg}"), 1) {
        Ok(setup) => setup,
        Err(errors) => panic!("{errors}"),
    };
    setup.started = WallTime::from_micros(1_700_000_000_000_000);
    let mut rng = Rng::new(1);
    let dispatcher = dispatcher::Live::new(Arc::default(), rng.fork().hasher());
    let dialogs = Dialogs::new(&mut rng, &setup.config.dialog);
    State {
        id: ShardId(3),
        setup: Arc::new(setup),
        wheel: Wheel::new(Instant::ZERO),
        tm: tm::Table::new(rng.hasher()),
        dialogs,
        tag_secret: rng.next_u64(),
        rng,
        locals: tm::local::Queue::default(),
        dispatcher,
        uac: uac::Request::default(),
        variables: Variables::default(),
        stores: Stores::default(),
        press: Press::default(),
        spare: Spare::default(),
        counters: Counters::default(),
        journal: Default::default(),
        is_draining: false,
    }
}

/// Runs the statements as request_route for a request, as reply_route for a response. `blocks`
/// stands outside of the route.
pub(super) fn run_with(blocks: &str, statements: &str, message: &str) -> Ran {
    let message = Rc::new(Message::parse(message.as_bytes()).expect("a message"));
    let kind = if message.is_request() {
        RouteKind::Request
    } else {
        RouteKind::Reply
    };
    let keyword = if message.is_request() {
        "request_route"
    } else {
        "reply_route"
    };
    let state = state(&format!("{blocks}\n{keyword} {{\n{statements}\n;}}\n"));
    run_in(state, Work::new(kind, message, flow()))
}

/// The same without blocks.
pub(super) fn run(statements: &str, message: &str) -> Ran {
    run_with("", statements, message)
}

/// Runs the main route of a state for what is at work.
pub(super) fn run_in(mut state: State, mut work: Work) -> Ran {
    let mut out = Outbox::new();
    let program = Arc::clone(&state.setup.program);
    let mut vm = Vm::new();
    vm.enter(&program, program.main(work.kind).expect("a route"));
    let now = Now {
        mono: Instant::ZERO,
        wall: WallTime::from_micros(1_709_251_199_000_123),
    };
    let env = Env {
        now,
        state: &mut state,
        out: &mut out,
    };
    let mut call = Call {
        env,
        work: &mut work,
        program: &program,
    };
    let end = match vm.run(&program, &mut call) {
        Pause::Ended(end) => Some(end),
        Pause::Wait => None,
    };
    let (mut lines, mut complaints, mut sent) = (vec![], vec![], vec![]);
    let (mut commands, mut records) = (vec![], vec![]);
    for effect in out.drain() {
        match effect {
            Effect::Log(r) => {
                let list = match r.from_script {
                    true => &mut lines,
                    false => &mut complaints,
                };
                list.push(r.text.to_string());
                records.push(r);
            }
            Effect::Send(s) => sent.push(String::from_utf8_lossy(&s.bytes).into_owned()),
            Effect::Command(command) => commands.push(*command),
            Effect::Close(_)
            | Effect::Resolve(..)
            | Effect::Lookup(..)
            | Effect::HandOver(..)
            | Effect::Peer(..)
            | Effect::RpcReply(..)
            | Effect::Route(..)
            | Effect::Alias(..)
            | Effect::Exec(..)
            | Effect::Reload => {}
        }
    }
    Ran {
        work,
        state,
        end,
        lines,
        complaints,
        records,
        sent,
        commands,
    }
}

/// The value of a format in the sample request after some statements.
pub(super) fn value(statements: &str, format: &str, message: &str) -> String {
    let ran = run(&format!("{statements}\nxlog(\"{format}\");"), message);
    assert!(
        ran.lines.len() == 1,
        "{format}: {:?} {:?}",
        ran.lines,
        ran.complaints
    );
    ran.lines.into_iter().next().unwrap_or_default()
}

/// The return code of a call.
pub(super) fn code(call: &str, message: &str) -> i64 {
    value(&format!("$var(rc) = {call};"), "$var(rc)", message)
        .parse()
        .expect("a number")
}
