//! Distribution over destinations: sets of servers, chosen by an algorithm, watched by pings.
//!
//! ```text
//!   list.rs ─▶ Sets (one for all shards) ─▶ live.rs: states, turns, loads (each shard's own)
//!                                              ▲   │
//!   ping.rs: OPTIONS from shard 0 ─────────────┘   └─▶ select.rs ─▶ functions.rs: $du, $ru, xavp
//! ```
//!
//! The file is read with the configuration, and again with it. Shard 0 sends the pings and tells
//! the others what it finds; a state set by a script or an operator is told likewise.

mod commands;
mod functions;
pub mod list;
pub mod live;
mod named;
pub mod ping;
mod select;

use std::sync::Arc;

use crate::effect::{Effect, Level, PeerMessage};
use crate::modules::entry::{function, is_on, number, optional, param, planned_param, words};
use crate::modules::state::Env;
use crate::modules::{Function, Module, Param, ParamError};
use crate::script::{ParamKind, ParamType, RouteKinds, Setting};
use crate::steer::ShardId;
use crate::time::Duration;

use functions::Goal;
use list::Sets;
use live::Thresholds;
pub use live::{Live, Turned};
pub use ping::Ping;

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
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

/// `class=2;code=480`: ranges of statuses.
fn reply_codes(setting: &Setting) -> Result<Vec<(u16, u16)>, ParamError> {
    let wrong = ParamError("class=N or code=NNN, with semicolons between them");
    let text = words(setting);
    let parts = text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let range = |part: &str| {
        let (name, value) = part.split_once('=').ok_or(wrong)?;
        let value: u16 = value.trim().parse().map_err(|_| wrong)?;
        match (name.trim(), value) {
            ("class", 1..=6) => Ok((value * 100, value * 100 + 99)),
            ("code", 100..=699) => Ok((value, value)),
            _ => Err(wrong),
        }
    };
    parts.map(range).collect()
}

fn seconds(setting: &Setting) -> Result<Duration, ParamError> {
    let wanted = "a number of seconds, at most 2^31";
    number(setting, 0, 1 << 31, wanted).map(|n| Duration::from_secs(n as u64))
}

fn threshold(setting: &Setting) -> Result<u32, ParamError> {
    number(setting, 1, 1 << 20, "a number above 0").map(|n| n as u32)
}

/// A variable that can be assigned, as it is written.
fn named_variable(setting: &Setting) -> Result<Box<str>, ParamError> {
    let written = words(setting);
    if written.is_empty() || named::is_assignable(&written) {
        return Ok(written);
    }
    Err(ParamError("a variable that can be assigned"))
}

/// The module's table.
pub const MODULE: Module = Module {
    name: "dispatcher",
    doc: "Distribution over destinations.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &[],
    params: &PARAMS,
    commands: &commands::COMMANDS,
    statistics: &[],
};

const FUNCTIONS: [Function; 14] = [
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

const PARAMS: [Param; 34] = [
    param(
        "list_file",
        STR,
        "",
        (
            |c, s| {
                c.dispatcher.list_file = words(s);
                Ok(())
            },
            "The file of destinations.",
        ),
    ),
    planned_param("db_url", STR, "", "The database of destinations."),
    planned_param("table_name", STR, "dispatcher", "Its table."),
    planned_param("setid_col", STR, "setid", "A column."),
    planned_param("destination_col", STR, "destination", "A column."),
    planned_param("flags_col", STR, "flags", "A column."),
    planned_param("priority_col", STR, "priority", "A column."),
    planned_param("attrs_col", STR, "attrs", "A column."),
    param(
        "flags",
        INT,
        "0",
        (
            |c, s| number(s, 0, 3, "0 to 3").map(|n| c.dispatcher.flags = n),
            "1 hash of the user only, 2 failover.",
        ),
    ),
    param(
        "force_dst",
        INT,
        "1",
        (
            |c, s| {
                c.dispatcher.force_dst = is_on(s);
                Ok(())
            },
            "Whether the next hop is overwritten.",
        ),
    ),
    param(
        "use_default",
        INT,
        "0",
        (
            |c, s| {
                c.dispatcher.use_default = is_on(s);
                Ok(())
            },
            "Whether the last destination is the default.",
        ),
    ),
    param(
        "xavp_dst",
        STR,
        "_dsdst_",
        (
            |c, s| {
                c.dispatcher.xavp_dst = words(s);
                Ok(())
            },
            "Records of the list.",
        ),
    ),
    param(
        "xavp_ctx",
        STR,
        "_dsctx_",
        (
            |c, s| {
                c.dispatcher.xavp_ctx = words(s);
                Ok(())
            },
            "The record of the choice.",
        ),
    ),
    param(
        "xavp_dst_mode",
        INT,
        "0",
        (
            |c, s| number(s, 0, 7, "0 to 7").map(|n| c.dispatcher.xavp_dst_mode = n),
            "What records hold: 1 no attrs, 2 socket, 4 sockname.",
        ),
    ),
    param(
        "hash_pvar",
        STR,
        "",
        (
            |c, s| {
                c.dispatcher.hash_pvar = words(s);
                Ok(())
            },
            "What algorithm 7 hashes.",
        ),
    ),
    param(
        "setid_pvname",
        STR,
        "",
        (
            |c, s| named_variable(s).map(|name| c.dispatcher.setid_pvname = name),
            "Where ds_is_from_list writes the set.",
        ),
    ),
    param(
        "attrs_pvname",
        STR,
        "",
        (
            |c, s| named_variable(s).map(|name| c.dispatcher.attrs_pvname = name),
            "Where ds_is_from_list writes the attributes.",
        ),
    ),
    param(
        "ds_ping_method",
        STR,
        "OPTIONS",
        (
            |c, s| {
                c.dispatcher.ping_method = words(s);
                Ok(())
            },
            "The method of pings.",
        ),
    ),
    param(
        "ds_ping_from",
        STR,
        "sip:dispatcher@localhost",
        (
            |c, s| {
                c.dispatcher.ping_from = words(s);
                Ok(())
            },
            "From of pings.",
        ),
    ),
    param(
        "ds_ping_interval",
        INT,
        "0",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.ping_interval = d),
            "Seconds between two pings.",
        ),
    ),
    param(
        "ds_ping_reply_codes",
        STR,
        "",
        (
            |c, s| reply_codes(s).map(|codes| c.dispatcher.reply_codes = codes),
            "What counts as alive.",
        ),
    ),
    param(
        "ds_ping_latency_stats",
        INT,
        "0",
        (
            |c, s| {
                c.dispatcher.latency_stats = is_on(s);
                Ok(())
            },
            "Whether latency is measured.",
        ),
    ),
    param(
        "ds_latency_estimator_alpha",
        INT,
        "900",
        (
            |c, s| number(s, 0, 999, "0 to 999").map(|n| c.dispatcher.latency_alpha = n),
            "How it is smoothed.",
        ),
    ),
    param(
        "ds_probing_mode",
        INT,
        "0",
        (
            |c, s| number(s, 0, 3, "0 to 3").map(|n| c.dispatcher.probing_mode = n),
            "Which destinations are pinged.",
        ),
    ),
    param(
        "ds_probing_threshold",
        INT,
        "1",
        (
            |c, s| threshold(s).map(|n| c.dispatcher.thresholds.down = n),
            "Pings that must fail.",
        ),
    ),
    param(
        "ds_inactive_threshold",
        INT,
        "1",
        (
            |c, s| threshold(s).map(|n| c.dispatcher.thresholds.up = n),
            "Pings that must succeed.",
        ),
    ),
    param(
        "ds_hash_size",
        INT,
        "0",
        (
            |c, s| {
                c.dispatcher.shows_load = is_on(s);
                Ok(())
            },
            "Whether dispatcher.list shows the load, which is always counted.",
        ),
    ),
    param(
        "ds_hash_expire",
        INT,
        "7200",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.load_expire = d),
            "Its lifetime.",
        ),
    ),
    param(
        "ds_hash_initexpire",
        INT,
        "7200",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.load_init_expire = d),
            "Its lifetime before the answer.",
        ),
    ),
    param(
        "ds_hash_check_interval",
        INT,
        "30",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.load_check_interval = d),
            "Seconds between two looks for calls that no longer count.",
        ),
    ),
    param(
        "ds_default_socket",
        STR,
        "",
        (
            |c, s| {
                c.dispatcher.default_socket = words(s);
                Ok(())
            },
            "The socket to send from.",
        ),
    ),
    param(
        "outbound_proxy",
        STR,
        "",
        (
            |c, s| {
                c.dispatcher.outbound_proxy = words(s);
                Ok(())
            },
            "Where pings go.",
        ),
    ),
    planned_param(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
    param(
        "reload_delta",
        INT,
        "5",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.reload_delta = d),
            "Seconds between two ds_reload() of one core.",
        ),
    ),
];
