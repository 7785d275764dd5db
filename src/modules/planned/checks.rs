//! Checks, addresses, chance and the clock: tables only.

use crate::modules::entry::{planned_function, planned_param};
use crate::modules::{Function, Module, Param};
use crate::script::RouteKinds;

use super::{ANY, CONST, INT, NUM, OUTPUT, PLANNED, REQUEST, STR, TEXT};

/// The module's table.
pub(super) const RTIMER: Module = Module {
    name: "rtimer",
    doc: "Routes by the clock.",
    params: &[
        planned_param("timer", STR, "", "A timer: name=tst;interval=1."),
        planned_param("exec", STR, "", "What it runs: timer=tst;route=X."),
        planned_param("default_interval", INT, "120", "Seconds."),
    ],
    ..PLANNED
};

/// The module's table.
pub(super) const PIKE: Module = Module {
    name: "pike",
    doc: "Addresses that send too much.",
    functions: &[planned_function(
        "pike_check_req",
        &[],
        0,
        (RouteKinds::RECEIVED, "Whether it is too much."),
    )],
    params: &[
        planned_param(
            "sampling_time_unit",
            INT,
            "2",
            "Seconds that are looked at.",
        ),
        planned_param("reqs_density_per_unit", INT, "30", "Requests in them."),
        planned_param("remove_latency", INT, "120", "Seconds an address is kept."),
        planned_param("pike_log_level", INT, "0", "The level of its lines."),
    ],
    ..PLANNED
};

/// The module's table.
pub(super) const NATHELPER: Module = Module {
    name: "nathelper",
    doc: "Peers behind address translation.",
    functions: &NAT_FUNCTIONS,
    params: &NAT_PARAMS,
    ..PLANNED
};

const NAT_FUNCTIONS: [Function; 12] = [
    planned_function(
        "nat_uac_test",
        &[NUM],
        1,
        (RouteKinds::NOT_ONSEND, "Whether the peer is behind one."),
    ),
    planned_function(
        "fix_nated_contact",
        &[],
        0,
        (
            RouteKinds::RECEIVED.or(RouteKinds::BRANCH),
            "The source address in Contact.",
        ),
    ),
    planned_function(
        "fix_nated_register",
        &[],
        0,
        (REQUEST, "The source address for a binding."),
    ),
    planned_function(
        "fix_nated_sdp",
        &[NUM, TEXT],
        1,
        (RouteKinds::NOT_ONSEND, "The source address in the body."),
    ),
    planned_function(
        "set_contact_alias",
        &[NUM],
        0,
        (
            RouteKinds::RECEIVED.or(RouteKinds::BRANCH),
            "The source address beside Contact.",
        ),
    ),
    planned_function(
        "add_contact_alias",
        &[],
        0,
        (
            RouteKinds::RECEIVED.or(RouteKinds::BRANCH),
            "The source address beside Contact.",
        ),
    ),
    planned_function(
        "add_contact_alias",
        &[TEXT, TEXT, TEXT],
        3,
        (
            RouteKinds::RECEIVED.or(RouteKinds::BRANCH),
            "An address beside Contact.",
        ),
    ),
    planned_function(
        "handle_ruri_alias",
        &[NUM],
        0,
        (
            RouteKinds::REQUEST.or(RouteKinds::BRANCH),
            "That address as next hop.",
        ),
    ),
    planned_function(
        "add_rcv_param",
        &[NUM],
        0,
        (REQUEST, "The source address in Contact."),
    ),
    planned_function(
        "is_rfc1918",
        &[CONST],
        1,
        (ANY, "Whether an address is private."),
    ),
    planned_function(
        "set_alias_to_pv",
        &[OUTPUT],
        1,
        (ANY, "The source address in a variable."),
    ),
    planned_function("nathelper_ping", &[], 0, (ANY, "Pings at once.")),
];

const NAT_PARAMS: [Param; 13] = [
    planned_param("natping_interval", INT, "0", "Seconds between two pings."),
    planned_param(
        "ping_nated_only",
        INT,
        "0",
        "Whether only such peers are pinged.",
    ),
    planned_param("natping_processes", INT, "1", "Processes."),
    planned_param("natping_socket", STR, "", "The socket to send from."),
    planned_param("received_avp", STR, "", "AVP with the source address."),
    planned_param("sipping_bflag", INT, "-1", "The flag of who is pinged."),
    planned_param("sipping_from", STR, "", "From of pings."),
    planned_param("sipping_method", STR, "OPTIONS", "The method of pings."),
    planned_param("force_socket", STR, "", "The socket to send from."),
    planned_param(
        "nortpproxy_str",
        STR,
        "a=nortpproxy:yes",
        "The mark of a proxy.",
    ),
    planned_param(
        "keepalive_timeout",
        INT,
        "0",
        "Seconds until a peer is gone.",
    ),
    planned_param("udpping_from_path", INT, "0", "Where pings come from."),
    planned_param("nat_addr_mode", INT, "1", "What counts as private."),
];
