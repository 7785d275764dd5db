//! Checks, addresses, chance and the clock: tables only.

use crate::modules::entry::{planned_function, planned_param, planned_variable};
use crate::modules::{Function, Module, Param};
use crate::script::{InnerKind, ParamKind, ParamType, RouteKinds};

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const CONST: ParamKind = ParamKind::Const;
const OUTPUT: ParamKind = ParamKind::Output;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;

const EMPTY: Module = Module {
    name: "",
    doc: "",
    planned: true,
    functions: &[],
    variables: &[],
    params: &[],
};

/// The module's table.
pub(super) const SANITY: Module = Module {
    name: "sanity",
    doc: "Checks of requests.",
    functions: &SANITY_FUNCTIONS,
    params: &SANITY_PARAMS,
    ..EMPTY
};

const SANITY_FUNCTIONS: [Function; 2] = [
    planned_function(
        "sanity_check",
        &[NUM, NUM],
        0,
        (ANY, "Answers a request that breaks rules."),
    ),
    planned_function("sanity_reply", &[], 0, (REQUEST, "Sends that answer.")),
];

const SANITY_PARAMS: [Param; 5] = [
    planned_param("default_checks", INT, "999", "What is checked of messages."),
    planned_param("uri_checks", INT, "7", "Which URIs are."),
    planned_param("proxy_require", STR, "", "Extensions that are known."),
    planned_param("autodrop", INT, "1", "Whether the script ends."),
    planned_param("noreply", INT, "0", "Whether nothing is sent."),
];

/// The module's table.
pub(super) const CFGUTILS: Module = Module {
    name: "cfgutils",
    doc: "Chance, pauses, locks.",
    functions: &CFGUTILS_FUNCTIONS,
    variables: &[planned_variable(
        "RANDOM",
        InnerKind::None,
        false,
        "A number by chance.",
    )],
    params: &CFGUTILS_PARAMS,
    ..EMPTY
};

const CFGUTILS_FUNCTIONS: [Function; 15] = [
    planned_function(
        "rand_set_prob",
        &[NUM],
        1,
        (ANY, "Sets a chance in percent."),
    ),
    planned_function("rand_reset_prob", &[], 0, (ANY, "Takes it back.")),
    planned_function("rand_get_prob", &[], 0, (ANY, "Reads it.")),
    planned_function("rand_event", &[], 0, (ANY, "True by that chance.")),
    planned_function("sleep", &[NUM], 1, (ANY, "Waits so many seconds.")),
    planned_function("usleep", &[NUM], 1, (ANY, "Waits so many microseconds.")),
    planned_function("abort", &[], 0, (ANY, "Ends the process.")),
    planned_function("pkg_status", &[], 0, (ANY, "Writes figures to the log.")),
    planned_function("shm_status", &[], 0, (ANY, "Writes figures to the log.")),
    planned_function("lock", &[TEXT], 1, (ANY, "Takes a lock.")),
    planned_function("unlock", &[TEXT], 1, (ANY, "Gives it back.")),
    planned_function("trylock", &[TEXT], 1, (ANY, "Takes it if it is free.")),
    planned_function(
        "core_hash",
        &[TEXT, TEXT, NUM],
        3,
        (ANY, "A number made of texts."),
    ),
    planned_function(
        "check_route_exists",
        &[TEXT],
        1,
        (ANY, "Whether there is such a route."),
    ),
    planned_function(
        "route_if_exists",
        &[TEXT],
        1,
        (ANY, "Runs the route if it is there."),
    ),
];

const CFGUTILS_PARAMS: [Param; 4] = [
    planned_param("initial_probability", INT, "10", "The chance at start."),
    planned_param("hash_file", STR, "", "A file whose hash is kept."),
    planned_param("lock_set_size", INT, "0", "How many locks there are."),
    planned_param("gflags", INT, "0", "Flags of all cores."),
];

/// The module's table.
pub(super) const IPOPS: Module = Module {
    name: "ipops",
    doc: "Questions about addresses.",
    functions: &IPOPS_FUNCTIONS,
    variables: &[
        planned_variable("dns", InnerKind::Name, false, "What dns_query found."),
        planned_variable("ptr", InnerKind::Name, false, "What ptr_query found."),
        planned_variable("srvquery", InnerKind::Name, false, "What srv_query found."),
        planned_variable(
            "naptrquery",
            InnerKind::Name,
            false,
            "What naptr_query found.",
        ),
        planned_variable(
            "HN",
            InnerKind::OneOf(&["n", "f", "d", "i"]),
            false,
            "This host.",
        ),
    ],
    ..EMPTY
};

const IPOPS_FUNCTIONS: [Function; 20] = [
    planned_function("is_ip", &[TEXT], 1, (ANY, "Whether it is an address.")),
    planned_function(
        "is_pure_ip",
        &[TEXT],
        1,
        (ANY, "Whether it is one without brackets."),
    ),
    planned_function(
        "is_ipv4",
        &[TEXT],
        1,
        (ANY, "Whether it is an IPv4 address."),
    ),
    planned_function(
        "is_ipv6",
        &[TEXT],
        1,
        (ANY, "Whether it is an IPv6 address."),
    ),
    planned_function(
        "is_ipv6_reference",
        &[TEXT],
        1,
        (ANY, "Whether it is one in brackets."),
    ),
    planned_function("ip_type", &[TEXT], 1, (ANY, "What kind of text it is.")),
    planned_function(
        "detailed_ip_type",
        &[TEXT, OUTPUT],
        2,
        (ANY, "What kind of address it is."),
    ),
    planned_function(
        "detailed_ipv4_type",
        &[TEXT, OUTPUT],
        2,
        (ANY, "What kind of address it is."),
    ),
    planned_function(
        "detailed_ipv6_type",
        &[TEXT, OUTPUT],
        2,
        (ANY, "What kind of address it is."),
    ),
    planned_function(
        "compare_ips",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether two are the same."),
    ),
    planned_function(
        "compare_pure_ips",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether two are the same."),
    ),
    planned_function("is_ip_rfc1918", &[TEXT], 1, (ANY, "Whether it is private.")),
    planned_function(
        "is_in_subnet",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether it is in a network."),
    ),
    planned_function(
        "ip_is_in_subnet",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether it is in a network."),
    ),
    planned_function(
        "dns_sys_match_ip",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether a name has the address."),
    ),
    planned_function(
        "dns_int_match_ip",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether a name has the address."),
    ),
    planned_function("dns_query", &[TEXT, TEXT], 2, (ANY, "Looks a name up.")),
    planned_function("ptr_query", &[TEXT, TEXT], 2, (ANY, "Looks an address up.")),
    planned_function("srv_query", &[TEXT, TEXT], 2, (ANY, "Looks a service up.")),
    planned_function("naptr_query", &[TEXT, TEXT], 2, (ANY, "Looks a name up.")),
];

/// The module's table.
pub(super) const RTIMER: Module = Module {
    name: "rtimer",
    doc: "Routes by the clock.",
    params: &[
        planned_param("timer", STR, "", "A timer: name=tst;interval=1."),
        planned_param("exec", STR, "", "What it runs: timer=tst;route=X."),
        planned_param("default_interval", INT, "120", "Seconds."),
    ],
    ..EMPTY
};

/// The module's table.
pub(super) const PIKE: Module = Module {
    name: "pike",
    doc: "Addresses that send too much.",
    functions: &[planned_function(
        "pike_check_req",
        &[],
        0,
        (REQUEST, "Whether it is too much."),
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
    ..EMPTY
};

/// The module's table.
pub(super) const NATHELPER: Module = Module {
    name: "nathelper",
    doc: "Peers behind address translation.",
    functions: &NAT_FUNCTIONS,
    params: &NAT_PARAMS,
    ..EMPTY
};

const NAT_FUNCTIONS: [Function; 11] = [
    planned_function(
        "nat_uac_test",
        &[NUM],
        1,
        (ANY, "Whether the peer is behind one."),
    ),
    planned_function(
        "fix_nated_contact",
        &[],
        0,
        (ANY, "The source address in Contact."),
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
        (ANY, "The source address in the body."),
    ),
    planned_function(
        "set_contact_alias",
        &[NUM],
        0,
        (ANY, "The source address beside Contact."),
    ),
    planned_function(
        "add_contact_alias",
        &[TEXT, TEXT, TEXT],
        0,
        (ANY, "An address beside Contact."),
    ),
    planned_function(
        "handle_ruri_alias",
        &[NUM],
        0,
        (ANY, "That address as next hop."),
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
