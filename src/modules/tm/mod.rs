//! Transactions: RFC 3261 §16 and §17, with RFC 6026 (2xx to INVITE), RFC 3581 (rport) and
//! RFC 4320 (timeouts of non-INVITE).
//!
//! ```text
//!   server grid (server.rs) ◀── serve.rs ── upstream.rs ◀── fork.rs (best response)
//!                                               ▲
//!   client grid (client.rs) ◀── branch.rs ──────┘          one per branch
//! ```
//!
//! `table.rs` finds a transaction by what identifies it (`identity.rs`), `plan.rs` is what the
//! script asked of it, `hop.rs` makes the ACK and CANCEL that go one hop, `local.rs` is about
//! requests of our own. The order of work for a
//! request or response is not here but in `shard`.
//!
//! # The grids
//!
//! A cell reads `next state: what is done`; without a state the state stays, `-` absorbs the event.
#![doc = include_str!("grids.md")]

pub mod branch;
pub mod client;
mod copy;
pub mod fork;
pub mod functions;
pub mod grid;
pub mod hop;
pub mod identity;
pub mod local;
mod plan;
pub mod serve;
mod serial;
pub mod server;
mod statistic;
mod order;
mod params;
mod table;
mod transaction;
pub mod upstream;
pub mod x;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

pub use functions::error_status;
pub use order::{Said, answer_for, named, pending};
pub use order::{identity as script_identity, perform, suspended, wake};
pub use plan::{Plan, Times};
pub use table::Table;
pub use transaction::{Branch, Cancel, Saved, SentReply, Stored, Transaction};

use crate::effect::{Destination, Flow, Proto};
use crate::script::Program;
use crate::sip::{Message, Method};
use crate::slab::Key;
use crate::time::Duration;
use crate::timer::Timer;

use super::Module;
use super::config::Core;
use super::dialog;
use super::entry::{join, total};
use super::pv::avp;
use super::rpc;
use super::state::Env;
use super::work::Work;

const PARTS: [&[rpc::Command]; 2] = [&rpc::tm::TM, &rpc::transaction::TRANSACTION];
const COMMANDS: [rpc::Command; total(&PARTS)] = join(&PARTS);

/// The module's table.
pub const MODULE: Module = Module {
    name: "tm",
    doc: "Transactions: stateful relaying, forking, replies, timers.",
    planned: false,
    functions: &functions::FUNCTIONS,
    variables: &[],
    params: &params::PARAMS,
    commands: &COMMANDS,
    ..super::EMPTY
};

/// Parameters of `tm` that mean something here.
#[derive(Clone, Debug)]
pub struct Config {
    /// Until a request is answered at all.
    pub fr_timer: Duration,
    /// Until an INVITE that rings is answered.
    pub fr_inv_timer: Duration,
    /// Timer C and the ceiling of an INVITE transaction.
    pub max_inv_lifetime: Duration,
    /// The ceiling of other transactions.
    pub max_noninv_lifetime: Duration,
    /// How long late messages are absorbed.
    pub wt_timer: Duration,
    /// T1.
    pub retr_timer1: Duration,
    /// T2.
    pub retr_timer2: Duration,
    /// Whether each provisional response restarts `fr_inv_timer`.
    pub restart_fr_on_each_reply: bool,
    /// Whether `t_relay` answers an INVITE with 100.
    pub auto_inv_100: bool,
    /// The phrase of that 100.
    pub auto_inv_100_reason: Box<str>,
    /// Which replies of earlier legs still count when a failure route adds branches.
    pub failure_reply_mode: i64,
    /// Put behind received responses when the best is chosen.
    pub faked_reply_prio: i64,
    /// Whether a chosen 503 goes up as 500.
    pub remap_503_500: bool,
    /// Whether all challenges of a fork go up together.
    pub aggregate_challenges: bool,
    /// What `t_relay` does with a CANCEL of nothing: 0 forward it statefully, 1 statelessly,
    /// 2 drop it.
    pub unmatched_cancel: i64,
    /// What cancelling does with a branch that has not rung: 0 count it as 487, 1 wait for a
    /// provisional response, 2 send the CANCEL at once.
    pub cancel_b_method: i64,
    /// Whether a 6xx leaves the other branches alone.
    pub disable_6xx_block: bool,
    /// Whether a CANCEL made here says why.
    pub local_cancel_reason: bool,
    /// Whether the Reason of a received CANCEL is passed on.
    pub e2e_cancel_reason: bool,
    /// The XAVP in which `t_load_contacts` keeps the targets; empty: it is not wanted.
    pub contacts_avp: Box<str>,
    /// The XAVP for further contacts of an instance.
    pub contact_flows_avp: Box<str>,
    /// The XAVP that goes with its contact; empty: none.
    pub xavp_contact: Box<str>,
    /// What the names of header fields begin with that go into CANCEL and ACK; empty: none do.
    pub ac_extra_hdrs: Box<str>,
    /// Where the ACK to a 2xx of a request of our own goes: 0 as §13.2.2.4 says, 1 where the
    /// INVITE went, 2 where the 2xx came from.
    pub local_ack_mode: i64,
    /// The onreply_route for responses without a transaction; empty: none.
    pub on_sl_reply: Box<str>,
    /// Whether what belongs to a transaction bears its Call-ID.
    pub callid_matching: bool,
    /// Whether a failed `t_relay` is answered at the end of the script.
    pub delayed_reply: bool,
    /// `rich_redirect`: 1 a 3xx tells the flags of branches.
    pub rich_redirect: i64,
    /// Whether scripts hear of failed requests of their own by `$uac_req(evroute)` 2.
    pub enable_uac_fr: bool,
    /// `fr_timer_avp`: the AVP with seconds for one transaction; empty: none.
    pub fr_timer_avp: Box<str>,
    /// `fr_inv_timer_avp`: the same.
    pub fr_inv_timer_avp: Box<str>,
    /// `t_reply`'s code when its own is unusable.
    pub default_code: i64,
    /// The phrase for it.
    pub default_reason: Box<str>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            fr_timer: Duration::from_secs(30),
            fr_inv_timer: Duration::from_secs(120),
            max_inv_lifetime: Duration::from_secs(180),
            max_noninv_lifetime: Duration::from_secs(32),
            wt_timer: Duration::from_secs(5),
            retr_timer1: Duration::from_millis(500),
            retr_timer2: Duration::from_secs(4),
            restart_fr_on_each_reply: true,
            auto_inv_100: true,
            auto_inv_100_reason: "trying -- your call is important to us".into(),
            failure_reply_mode: 3,
            faked_reply_prio: 0,
            remap_503_500: true,
            aggregate_challenges: true,
            unmatched_cancel: 0,
            cancel_b_method: 1,
            disable_6xx_block: false,
            local_cancel_reason: true,
            e2e_cancel_reason: true,
            contacts_avp: "".into(),
            contact_flows_avp: "".into(),
            xavp_contact: "".into(),
            ac_extra_hdrs: "".into(),
            local_ack_mode: 0,
            on_sl_reply: "".into(),
            callid_matching: false,
            delayed_reply: true,
            rich_redirect: 0,
            enable_uac_fr: false,
            fr_timer_avp: "".into(),
            fr_inv_timer_avp: "".into(),
            default_code: 500,
            default_reason: "Server Internal Error".into(),
        }
    }
}

/// The tag for replies made by a transaction: `dc` and its nonce, and a mark that tells it from a
/// stateless one.
pub fn to_tag(nonce: u64) -> [u8; 21] {
    let mut tag = *b"dc-0000000000000000-t";
    for (i, digit) in tag[3..19].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(nonce >> (60 - 4 * i) & 0xf) as usize];
    }
    tag
}

/// Where responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4).
pub fn reply_destination(
    core: &Core,
    request: &Message,
    flow: Flow,
    force_rport: bool,
) -> Destination {
    let via = request.top_via();
    let sent_by_port = via.port.unwrap_or(flow.proto.default_port());
    let told = crate::sip::host::ip(via.host).filter(|_| core.reply_to_via);
    let by_via = SocketAddr::new(told.unwrap_or(flow.remote.ip()), sent_by_port);
    if flow.proto == Proto::Udp {
        let by_source = force_rport || via.rport().is_some();
        let remote = if by_source { flow.remote } else { by_via };
        return Destination::to(flow.socket, flow.proto, remote);
    }
    Destination {
        fallback: Some(by_via),
        ..Destination::along(flow)
    }
}

/// Opens a transaction for the request that `work` is about. `None`: the table is full.
pub fn create(env: &mut Env<'_>, work: &mut Work, program: &Arc<Program>) -> Option<Key> {
    if env.state.tm.is_full() {
        env.state.counters.transactions_refused += 1;
        return None;
    }
    // A request of HTTP is answered by the script or not at all.
    if work.message.is_http() {
        return None;
    }
    dialog::life::before_transaction(env, work, program);
    times_of_avps(&env.state.setup.config.tm, work);
    let request = &work.message;
    let is_invite = request.method() == Method::Invite;
    let times = work.plan.times(&env.state.setup.config.tm, is_invite);
    let core = &env.state.setup.config.core;
    let mut reply_to = reply_destination(core, request, work.flow, work.force_rport);
    reply_to.no_connect = work.stream.reply_no_connect;
    let (branches, mut saved) = env.state.tm.leftover().into_parts();
    saved.force_rport = work.force_rport;
    let transaction = Transaction {
        program: Arc::clone(program),
        request: Rc::clone(request),
        flow: work.flow,
        reply_to,
        hash: env.state.tm.hash(request, request.method()),
        nonce: env.state.rng.next_u64(),
        loop_hash: identity::loop_hash(request),
        is_invite,
        server: server::State::Trying,
        local: None,
        last_reply: None,
        branches,
        leg_start: 0,
        plan: work.plan.clone(),
        times,
        is_cancelled: false,
        is_suspended: false,
        is_replica: false,
        cancel_reason: Cow::Borrowed(&[]),
        saved,
        dialog: None,
        repeat_timer: None,
        repeat_after: times.repeat_first,
        end_timer: None,
        life_timer: None,
    };
    let key = env.state.tm.insert(transaction);
    let life_timer = env.start(times.lifetime, Timer::Lifetime(key));
    if let Some(t) = env.state.tm.get_mut(key) {
        t.life_timer = Some(life_timer);
    }
    env.state.counters.transactions += 1;
    work.transaction = Some(key);
    dialog::life::transaction_made(env, work, key);
    Some(key)
}

/// Takes the times of `fr_timer_avp` and `fr_inv_timer_avp` over; those of `t_set_fr` stay.
fn times_of_avps(config: &Config, work: &mut Work) {
    let plan = &mut work.plan;
    for (name, time) in [
        (&config.fr_timer_avp, &mut plan.final_response),
        (&config.fr_inv_timer_avp, &mut plan.final_response_invite),
    ] {
        if name.is_empty() || time.is_some() {
            continue;
        }
        let seconds = match work.avps.all(name.as_bytes()).next() {
            Some(avp::Stored::Int(n)) => Some(*n),
            Some(avp::Stored::Text(text)) => {
                std::str::from_utf8(text).ok().and_then(|t| t.parse().ok())
            }
            None => None,
        };
        // As long as the parameters themselves may say.
        let seconds = seconds.filter(|n| (1..=86_400).contains(n));
        *time = seconds.map(|n| Duration::from_secs(n as u64));
    }
}

/// Removes a transaction that nothing keeps any more.
pub fn reap(env: &mut Env<'_>, key: Key) {
    if env.state.tm.get(key).is_some_and(Transaction::is_over) {
        forget(env, key);
    }
}

/// Removes a transaction and stops all its timers.
pub fn forget(env: &mut Env<'_>, key: Key) {
    let Some(t) = env.state.tm.remove(key) else {
        return;
    };
    for timer in [t.repeat_timer, t.end_timer, t.life_timer] {
        env.stop(timer);
    }
    for b in &t.branches {
        for timer in [b.final_timer, b.repeat_timer, b.cancel_timer] {
            env.stop(timer);
        }
        if let Cancel::Sent { repeat_timer, .. } = &b.cancel {
            env.stop(*repeat_timer);
        }
    }
    if let Some(link) = t.dialog {
        dialog::life::transaction_gone(env, key, link);
    }
    let request = Rc::clone(&t.request);
    env.state.tm.keep(transaction::Leftover::of(*t));
    env.state.spare.keep(request);
}
