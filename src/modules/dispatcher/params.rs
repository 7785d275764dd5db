//! The parameters of the module.

use crate::modules::entry::{is_on, number, param, planned_param, words};
use crate::modules::{Param, ParamError};
use crate::script::{ParamType, Setting};
use crate::time::Duration;

use super::named;

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;

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

pub(super) const PARAMS: [Param; 43] = [
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
        "xavp_ctx_mode",
        INT,
        "0",
        (
            |c, s| number(s, 0, 1, "0 or 1").map(|n| c.dispatcher.xavp_ctx_mode = n),
            "What the record of the choice holds: 1 no cnt.",
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
        "ds_default_sockname",
        STR,
        "",
        (
            |c, s| {
                c.dispatcher.default_socket_name = words(s);
                Ok(())
            },
            "The same by its name, which counts before it.",
        ),
    ),
    param(
        "ds_attrs_none",
        INT,
        "0",
        (
            |c, s| {
                c.dispatcher.attrs_none = is_on(s);
                Ok(())
            },
            "Whether a destination without attributes gets none=yes.",
        ),
    ),
    param(
        "ds_load_mode",
        INT,
        "0",
        (
            |c, s| {
                c.dispatcher.refuses_bad_lines = is_on(s);
                Ok(())
            },
            "Whether a bad line of the list is an error, instead of being left out.",
        ),
    ),
    param(
        "ds_timer_mode",
        INT,
        "0",
        (
            |_, _| Ok(()),
            "No effect: there is no process for timers that would be overloaded.",
        ),
    ),
    param(
        "ds_dns_mode",
        INT,
        "1",
        (
            |c, s| number(s, 0, 15, "0 to 15").map(|n| c.dispatcher.dns_mode = n),
            "When names are looked up for ds_is_from_list: 1 at start and reload, 2 with each \
             match, 4 every ds_dns_interval; 8 by SRV and NAPTR.",
        ),
    ),
    param(
        "ds_dns_interval",
        INT,
        "600",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.dns_interval = d),
            "Seconds between two look-ups of mode 4.",
        ),
    ),
    param(
        "ds_dns_ttl",
        INT,
        "0",
        (
            |c, s| seconds(s).map(|d| c.dispatcher.dns_ttl = d),
            "Seconds in which mode 2 does not ask again.",
        ),
    ),
    planned_param(
        "ds_db_extra_attrs",
        STR,
        "",
        "Columns that become attributes.",
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
