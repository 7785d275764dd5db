//! Scripts: what one statement costs, and the route of an ordinary proxy for one request.
//!
//! A statement stands a hundred times in a route that runs without anything around it, so that
//! beginning and ending a run weigh a hundredth. In steady state a statement allocates nothing:
//! [`ALLOCATION_FREE`] names the bodies for which `cargo test` asserts it.

use std::hint::black_box;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use dialcore::effect::{Flow, Outbox, Proto, SocketId};
use dialcore::modules::Call;
use dialcore::modules::work::Work;
use dialcore::script::{Pause, Program, RouteKind, Vm};
use dialcore::shard::{Setup, Shard};
use dialcore::sip::Message;
use dialcore::steer::ShardId;
use dialcore::time::{Instant, Now, WallTime};

use crate::bodies::fold;
use crate::path::INVITE;

/// Bodies that allocate nothing, however long they run.
pub(crate) const ALLOCATION_FREE: [&str; 8] = [
    "script-count",
    "script-text",
    "script-if",
    "script-match",
    "script-part",
    "script-call",
    "script-route",
    "script-proxy",
];

const HEAD: &str = "listen=udp:127.0.0.1:5060\n\
    loadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\n\
    loadmodule \"maxfwd.so\"\nloadmodule \"textops.so\"\nloadmodule \"siputils.so\"\n\
    loadmodule \"sanity.so\"\nloadmodule \"xlog.so\"\n";

/// Times that a measured statement stands in its route.
const COPIES: u64 = 100;

/// A route as proxies have them, up to the point where the request would leave: about sixty
/// lines, of which an INVITE from outside of a dialog goes through forty.
const PROXY: &str = r#"
request_route {
    route(REQINIT);
    if (is_method("CANCEL")) {
        if (t_check_trans()) {
            route(RELAY);
        }
        exit;
    }
    route(WITHINDLG);
    remove_hf("Route");
    if (is_method("INVITE|SUBSCRIBE")) {
        record_route();
    }
    if ($rU == $null) {
        sl_send_reply("484", "Address Incomplete");
        exit;
    }
    if (uri != myself) {
        append_hf("P-Hint: outbound\r\n");
        $var(kind) = "outbound";
    } else {
        $var(kind) = "inbound";
    }
    if ($rU =~ "^\+?[0-9]{3,20}$") {
        strip(1);
        prefix("00");
    }
    switch ($fU) {
        case "carol":
            setflag(1);
            break;
        case "dave":
            setflag(2);
            break;
        default:
            setflag(3);
    }
    $var(who) = $fU + "@" + $fd;
    if ($var(kind) == "inbound" && !isflagset(3)) {
        $var(limit) = 10;
    } else {
        $var(limit) = 20 + $var(bonus);
    }
    route(RELAY);
}
route[RELAY] {
    if (is_method("INVITE|BYE|SUBSCRIBE|UPDATE")) {
        $var(watched) = 1;
    }
    $du = "sip:192.0.2.2:5060";
    exit;
}
route[REQINIT] {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if ($ua =~ "friendly-scanner|sipcli|VaxSIPUserAgent") {
        exit;
    }
    if (is_method("OPTIONS") && uri == myself && $rU == $null) {
        sl_send_reply("200", "Keepalive");
        exit;
    }
    force_rport();
}
route[WITHINDLG] {
    if (!has_totag()) return;
    if (loose_route()) {
        route(RELAY);
        exit;
    }
    sl_send_reply("404", "Not here");
    exit;
}
"#;

/// A shard, a request, and a machine that runs routes for it.
struct Bench {
    shard: Shard,
    out: Outbox,
    program: Arc<Program>,
    work: Work,
    vm: Vm,
}

impl Bench {
    fn new(routes: &str) -> Bench {
        let text = format!("{HEAD}{routes}");
        let setup = Setup::from_text(&text, 1).unwrap_or_else(|errors| panic!("{errors}"));
        let program = Arc::clone(&setup.program);
        Bench {
            shard: Shard::new(ShardId(0), Arc::new(setup), 1),
            out: Outbox::new(),
            program,
            work: request(),
            vm: Vm::new(),
        }
    }

    fn run(&mut self) -> u64 {
        let main = self.program.main(RouteKind::Request).expect("the route");
        self.vm.enter(&self.program, main);
        let now = Now {
            mono: Instant::ZERO,
            wall: WallTime::from_micros(1_700_000_000_000_000),
        };
        let env = self.shard.command(now, &mut self.out);
        let (work, program) = (&mut self.work, &self.program);
        let end = match self.vm.run(program, &mut Call { env, work, program }) {
            Pause::Ended(_) => 1,
            Pause::Wait => 2,
        };
        fold(end, u64::from(self.work.flags))
    }
}

fn request() -> Work {
    let message = Message::parse(INVITE.as_bytes()).expect("a message");
    let flow = Flow {
        socket: SocketId(0),
        proto: Proto::Udp,
        remote: SocketAddr::from(([192, 0, 2, 1], 5060)),
        conn: None,
    };
    Work::new(RouteKind::Request, Rc::new(message), flow)
}

/// A statement, so many times.
pub(crate) fn statement(iterations: u64, text: &str) -> u64 {
    let routes = format!(
        "request_route {{ {} }}\nroute[NOTHING] {{ return; }}\n",
        text.repeat(COPIES as usize)
    );
    let mut bench = Bench::new(&routes);
    (0..iterations / COPIES).fold(0, |hash, _| fold(hash, black_box(bench.run())))
}

/// The route of a proxy, for one INVITE after another.
pub(crate) fn proxy(iterations: u64) -> u64 {
    let mut bench = Bench::new(PROXY);
    (0..iterations).fold(0, |hash, _| {
        let (message, flow) = (Rc::clone(&bench.work.message), bench.work.flow);
        bench.work.renew(RouteKind::Request, message, flow);
        fold(hash, black_box(bench.run()))
    })
}
