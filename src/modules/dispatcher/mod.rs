//! Distribution over destinations: sets of servers, chosen by an algorithm, watched by pings.
//!
//! ```text
//!   list.rs ─▶ Sets (one for all shards) ─▶ live.rs: states, turns, loads (each shard's own)
//!                                              ▲   │
//!   ping.rs: OPTIONS from shard 0 ─────────────┤   └─▶ select.rs ─▶ functions.rs: $du, $ru, xavp
//!   names.rs: where names lead ────────────────┘
//! ```
//!
//! The file is read with the configuration, and again with it. Shard 0 sends the pings and tells
//! the others what it finds; a state set by a script or an operator is told likewise.

mod commands;
mod functions;
pub mod list;
pub mod live;
mod named;
pub mod names;
mod params;
pub mod ping;
mod select;

use std::sync::Arc;

use crate::effect::{Effect, Level, PeerMessage};
use crate::modules::entry::{function, optional};
use crate::modules::state::Env;
use crate::modules::{Function, Module};
use crate::script::{ParamKind, RouteKinds};
use crate::steer::ShardId;
use crate::time::Duration;

use functions::Goal;
use list::Sets;
use live::Thresholds;
pub use live::{Live, Turned};
pub use ping::Ping;

const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const ANY: RouteKinds = RouteKinds::ANY;

/// Parameters that mean something here.
#[derive(Clone, Debug)]
pub struct Config {
    /// `list_file`.
    pub list_file: Box<str>,
    /// What the file says; read by the loader.
    pub sets: Arc<Sets>,
    /// `flags`: 1 hashes are of the user only, 2 the others are kept for failover.
    pub flags: i64,
    /// `force_dst`.
    pub force_dst: bool,
    /// `use_default`.
    pub use_default: bool,
    /// `xavp_dst`.
    pub xavp_dst: Box<str>,
    /// `xavp_dst_mode`: 1 no `attrs`, 2 `socket`, 4 `sockname`.
    pub xavp_dst_mode: i64,
    /// `xavp_ctx`.
    pub xavp_ctx: Box<str>,
    /// `xavp_ctx_mode`: 1 no `cnt`.
    pub xavp_ctx_mode: i64,
    /// `hash_pvar`.
    pub hash_pvar: Box<str>,
    /// `setid_pvname`: where `ds_is_from_list` writes the set.
    pub setid_pvname: Box<str>,
    /// `attrs_pvname`: where it writes the attributes.
    pub attrs_pvname: Box<str>,
    /// `ds_ping_method`.
    pub ping_method: Box<str>,
    /// `ds_ping_from`.
    pub ping_from: Box<str>,
    /// `ds_ping_interval`; zero: no pings.
    pub ping_interval: Duration,
    /// `ds_ping_reply_codes`.
    pub reply_codes: Vec<(u16, u16)>,
    /// `ds_ping_latency_stats`.
    pub latency_stats: bool,
    /// `ds_hash_size`: whether the list shows the load.
    pub shows_load: bool,
    /// `ds_latency_estimator_alpha`, in thousandths.
    pub latency_alpha: i64,
    /// `ds_probing_mode`.
    pub probing_mode: i64,
    /// `ds_probing_threshold` and `ds_inactive_threshold`.
    pub thresholds: Thresholds,
    /// `ds_hash_expire`: how long a confirmed call counts.
    pub load_expire: Duration,
    /// `ds_hash_initexpire`: how long one that was only sent counts.
    pub load_init_expire: Duration,
    /// `ds_hash_check_interval`: how often calls that count no longer are looked for.
    pub load_check_interval: Duration,
    /// `reload_delta`: the least time between two `ds_reload()` of one shard.
    pub reload_delta: Duration,
    /// `ds_default_socket`.
    pub default_socket: Box<str>,
    /// `ds_default_sockname`.
    pub default_socket_name: Box<str>,
    /// `ds_attrs_none`: attributes where a line has none.
    pub attrs_none: bool,
    /// `ds_load_mode`: a line that cannot be used is an error.
    pub refuses_bad_lines: bool,
    /// `ds_dns_mode`.
    pub dns_mode: i64,
    /// `ds_dns_interval`.
    pub dns_interval: Duration,
    /// `ds_dns_ttl`.
    pub dns_ttl: Duration,
    /// `outbound_proxy`: where pings go.
    pub outbound_proxy: Box<str>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            list_file: "".into(),
            sets: Arc::default(),
            flags: 0,
            force_dst: true,
            use_default: false,
            xavp_dst: "_dsdst_".into(),
            xavp_dst_mode: 0,
            xavp_ctx: "_dsctx_".into(),
            xavp_ctx_mode: 0,
            hash_pvar: "".into(),
            setid_pvname: "".into(),
            attrs_pvname: "".into(),
            ping_method: "OPTIONS".into(),
            ping_from: "sip:dispatcher@localhost".into(),
            ping_interval: Duration::ZERO,
            reply_codes: Vec::new(),
            latency_stats: false,
            shows_load: false,
            latency_alpha: 900,
            probing_mode: 0,
            thresholds: Thresholds { down: 1, up: 1 },
            load_expire: Duration::from_secs(7_200),
            load_init_expire: Duration::from_secs(7_200),
            load_check_interval: Duration::from_secs(30),
            reload_delta: Duration::from_secs(5),
            default_socket: "".into(),
            default_socket_name: "".into(),
            attrs_none: false,
            refuses_bad_lines: false,
            dns_mode: names::AT_START,
            dns_interval: Duration::from_secs(600),
            dns_ttl: Duration::ZERO,
            outbound_proxy: "".into(),
        }
    }
}

/// A destination's state has changed here: the other shards are told, and the script when calls
/// go there no longer or again.
pub(in crate::modules) fn changed(env: &mut Env<'_>, place: usize, turned: Option<Turned>) {
    tell(env, place);
    if let Some(turned) = turned {
        let sets = Arc::clone(env.state.dispatcher.sets());
        let destination = &sets.destinations()[place];
        let text = format!(
            "destination {} of set {} is {}",
            destination.uri.escape_ascii(),
            destination.set,
            if turned == Turned::Up { "up" } else { "down" }
        );
        env.log(Level::Notice, text);
        env.state
            .dispatcher
            .events
            .push((destination.uri.clone(), turned));
    }
}

/// Tells the other shards how a destination is.
fn tell(env: &mut Env<'_>, place: usize) {
    let sets = Arc::clone(env.state.dispatcher.sets());
    let Some(destination) = sets.destinations().get(place) else {
        return;
    };
    let flags = env.state.dispatcher.condition(place).flags;
    let others = (0..env.state.setup.shard_count).map(ShardId);
    for shard in others.filter(|shard| *shard != env.state.id) {
        let message = PeerMessage::Destination {
            set: destination.set,
            uri: destination.uri.clone(),
            flags,
        };
        env.out.push(Effect::Peer(shard, message));
    }
}

/// Another shard says how a destination is. Its script has been told there.
pub fn heard(env: &mut Env<'_>, set: i64, uri: &[u8], flags: u32) {
    let live = &mut env.state.dispatcher;
    if let Some(place) = live.sets().place(set, uri) {
        live.set_flags(place, flags);
    }
}

/// The module's table.
pub const MODULE: Module = Module {
    name: "dispatcher",
    doc: "Distribution over destinations.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &[],
    params: &params::PARAMS,
    commands: &commands::COMMANDS,
    statistics: &[],
};

const FUNCTIONS: [Function; 17] = [
    optional(
        function(
            "ds_select_dst",
            &[TEXT, TEXT, NUM],
            RouteKinds::REQUEST.or(RouteKinds::FAILURE),
            (
                |c, h, s| functions::choose(c, h, s, Goal::NextHop),
                "A destination as next hop.",
            ),
        ),
        2,
    ),
    optional(
        function(
            "ds_select_domain",
            &[TEXT, TEXT, NUM],
            RouteKinds::REQUEST.or(RouteKinds::FAILURE),
            (
                |c, h, s| functions::choose(c, h, s, Goal::Domain),
                "A destination as host.",
            ),
        ),
        2,
    ),
    optional(
        function(
            "ds_select",
            &[TEXT, TEXT, NUM],
            ANY,
            (
                |c, h, s| functions::choose(c, h, s, Goal::Records),
                "A list of destinations.",
            ),
        ),
        2,
    ),
    optional(
        function(
            "ds_select_routes",
            &[TEXT, TEXT, NUM],
            RouteKinds::REQUEST.or(RouteKinds::FAILURE),
            (functions::choose_of_several, "A list of several sets."),
        ),
        2,
    ),
    function(
        "ds_next_dst",
        &[],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        (
            |c, _, _| functions::next(c, Goal::NextHop),
            "The next of the list.",
        ),
    ),
    function(
        "ds_next_domain",
        &[],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        (
            |c, _, _| functions::next(c, Goal::Domain),
            "The next of the list.",
        ),
    ),
    function(
        "ds_set_dst",
        &[],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        (
            |c, _, _| functions::set(c, Goal::NextHop),
            "The first of the list as next hop.",
        ),
    ),
    function(
        "ds_set_domain",
        &[],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        (
            |c, _, _| functions::set(c, Goal::Domain),
            "The first of the list as host.",
        ),
    ),
    optional(
        function(
            "ds_mark_dst",
            &[TEXT],
            RouteKinds::ANSWERING,
            (functions::mark, "The state of the destination tried."),
        ),
        0,
    ),
    function(
        "ds_mark_addr",
        &[TEXT, TEXT, TEXT],
        ANY,
        (functions::mark_address, "The state of a destination."),
    ),
    optional(
        function(
            "ds_is_from_list",
            &[TEXT, TEXT, TEXT],
            RouteKinds::NOT_ONSEND,
            (functions::is_from_list, "Whether it comes from one."),
        ),
        0,
    ),
    function(
        "ds_list_exists",
        &[TEXT],
        ANY,
        (functions::exists, "Whether there is such a set."),
    ),
    function(
        "ds_list_exist",
        &[TEXT],
        ANY,
        (functions::exists, "The same."),
    ),
    optional(
        function(
            "ds_is_active",
            &[TEXT, TEXT],
            ANY,
            (functions::is_active, "Whether a destination is up."),
        ),
        1,
    ),
    function(
        "ds_load_unset",
        &[],
        ANY,
        (|c, _, _| functions::load_unset(c), "One call less."),
    ),
    function(
        "ds_load_update",
        &[],
        ANY,
        (
            |c, _, _| functions::load_update(c),
            "The call is confirmed, or ends.",
        ),
    ),
    function(
        "ds_reload",
        &[],
        ANY,
        (
            |c, _, _| functions::reload(c),
            "Reads the list again, with the configuration.",
        ),
    ),
];
