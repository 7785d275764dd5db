//! Distribution, storage and clients: tables only.

use crate::modules::entry::{planned_function, planned_param, planned_variable};
use crate::modules::{Function, Module, Param, Variable};
use crate::script::{InnerKind, ParamKind, ParamType, RouteKinds};

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const OUTPUT: ParamKind = ParamKind::Output;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;
const FAILURE: RouteKinds = RouteKinds::FAILURE;
const ON_WAY: RouteKinds = REQUEST.or(FAILURE).or(RouteKinds::BRANCH);

const EMPTY: Module = Module {
    name: "",
    doc: "",
    planned: true,
    functions: &[],
    variables: &[],
    params: &[],
};

/// The module's table.
pub(super) const DMQ: Module = Module {
    name: "dmq",
    doc: "A bus between servers.",
    functions: &DMQ_FUNCTIONS,
    params: &DMQ_PARAMS,
    ..EMPTY
};

const DMQ_FUNCTIONS: [Function; 5] = [
    planned_function(
        "dmq_handle_message",
        &[NUM],
        0,
        (REQUEST, "Takes a KDMQ request."),
    ),
    planned_function(
        "dmq_process_message",
        &[NUM],
        0,
        (REQUEST, "Takes a KDMQ request."),
    ),
    planned_function(
        "dmq_send_message",
        &[TEXT, TEXT, TEXT, TEXT],
        4,
        (ANY, "Sends to a server."),
    ),
    planned_function(
        "dmq_bcast_message",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Sends to all servers."),
    ),
    planned_function(
        "dmq_is_from_node",
        &[],
        0,
        (REQUEST, "Whether a server sent it."),
    ),
];

const DMQ_PARAMS: [Param; 11] = [
    planned_param("server_address", STR, "", "Our address on the bus."),
    planned_param("server_socket", STR, "", "The socket to send from."),
    planned_param("notification_address", STR, "", "Another server."),
    planned_param(
        "multi_notify",
        INT,
        "0",
        "Whether all addresses of a name are asked.",
    ),
    planned_param("num_workers", INT, "2", "Processes."),
    planned_param("ping_interval", INT, "60", "Seconds between two pings."),
    planned_param("fail_count", INT, "1", "Pings that may fail."),
    planned_param(
        "notification_channel",
        STR,
        "notification_peer",
        "The channel of servers.",
    ),
    planned_param("worker_usleep", INT, "0", "Microseconds between two looks."),
    planned_param(
        "remove_inactive",
        INT,
        "1",
        "Whether servers that are away are forgotten.",
    ),
    planned_param(
        "enable_topos_sync",
        INT,
        "0",
        "Whether topos is replicated.",
    ),
];

/// The module's table.
pub(super) const HTABLE: Module = Module {
    name: "htable",
    doc: "Tables of the script.",
    functions: &HTABLE_FUNCTIONS,
    variables: &HTABLE_VARIABLES,
    params: &HTABLE_PARAMS,
    ..EMPTY
};

const HTABLE_FUNCTIONS: [Function; 18] = [
    planned_function("sht_rm", &[TEXT, TEXT], 2, (ANY, "Removes an item.")),
    planned_function(
        "sht_rm_name",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Removes items by name."),
    ),
    planned_function(
        "sht_rm_value",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Removes items by value."),
    ),
    planned_function(
        "sht_rm_name_re",
        &[TEXT],
        1,
        (ANY, "Removes items by name."),
    ),
    planned_function(
        "sht_rm_value_re",
        &[TEXT],
        1,
        (ANY, "Removes items by value."),
    ),
    planned_function("sht_reset", &[TEXT], 1, (ANY, "Empties a table.")),
    planned_function("sht_print", &[], 0, (ANY, "Writes tables to the log.")),
    planned_function("sht_lock", &[TEXT], 1, (ANY, "Locks a slot.")),
    planned_function("sht_unlock", &[TEXT], 1, (ANY, "Unlocks it.")),
    planned_function(
        "sht_iterator_start",
        &[TEXT, TEXT],
        2,
        (ANY, "Begins a walk."),
    ),
    planned_function("sht_iterator_next", &[TEXT], 1, (ANY, "The next item.")),
    planned_function("sht_iterator_end", &[TEXT], 1, (ANY, "Ends a walk.")),
    planned_function("sht_iterator_rm", &[TEXT], 1, (ANY, "Removes the item.")),
    planned_function(
        "sht_iterator_sets",
        &[TEXT, TEXT],
        2,
        (ANY, "Sets the item."),
    ),
    planned_function(
        "sht_iterator_seti",
        &[TEXT, NUM],
        2,
        (ANY, "Sets the item."),
    ),
    planned_function(
        "sht_iterator_setex",
        &[TEXT, NUM],
        2,
        (ANY, "Sets its lifetime."),
    ),
    planned_function(
        "sht_match_name",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Whether a name is there."),
    ),
    planned_function(
        "sht_has_name",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Whether a name is there."),
    ),
];

const HTABLE_VARIABLES: [Variable; 11] = [
    planned_variable("sht", InnerKind::Name, true, "An item: table=>key."),
    planned_variable("shtex", InnerKind::Name, true, "Seconds it will live."),
    planned_variable("shtcn", InnerKind::Name, false, "How many names match."),
    planned_variable("shtcv", InnerKind::Name, false, "How many values match."),
    planned_variable(
        "shtinc",
        InnerKind::Name,
        false,
        "An item, increased and read.",
    ),
    planned_variable(
        "shtdec",
        InnerKind::Name,
        false,
        "An item, decreased and read.",
    ),
    planned_variable(
        "shtrecord",
        InnerKind::Name,
        false,
        "The item that expired.",
    ),
    planned_variable("shtitkey", InnerKind::Name, false, "The key of a walk."),
    planned_variable("shtitval", InnerKind::Name, false, "The value of a walk."),
    planned_variable("shtstas", InnerKind::Name, false, "Figures of a table."),
    planned_variable(
        "shtlen",
        InnerKind::Name,
        false,
        "How many items a table has.",
    ),
];

const HTABLE_PARAMS: [Param; 12] = [
    planned_param("htable", STR, "", "A table: name=>size=8;autoexpire=300."),
    planned_param("db_url", STR, "", "The database."),
    planned_param("key_name_column", STR, "key_name", "A column."),
    planned_param("key_type_column", STR, "key_type", "A column."),
    planned_param("value_type_column", STR, "value_type", "A column."),
    planned_param("key_value_column", STR, "key_value", "A column."),
    planned_param("expires_column", STR, "expires", "A column."),
    planned_param(
        "array_size_suffix",
        STR,
        "::size",
        "The name of an array's size.",
    ),
    planned_param("fetch_rows", INT, "100", "Rows read at once."),
    planned_param("timer_interval", INT, "20", "Seconds between two looks."),
    planned_param("db_expires", INT, "0", "Whether lifetimes are stored."),
    planned_param("enable_dmq", INT, "0", "Whether tables are replicated."),
];

/// The module's table.
pub(super) const DISPATCHER: Module = Module {
    name: "dispatcher",
    doc: "Distribution over destinations.",
    functions: &DISPATCHER_FUNCTIONS,
    params: &DISPATCHER_PARAMS,
    ..EMPTY
};

const DISPATCHER_FUNCTIONS: [Function; 14] = [
    planned_function(
        "ds_select_dst",
        &[TEXT, TEXT, NUM],
        2,
        (ON_WAY, "A destination as next hop."),
    ),
    planned_function(
        "ds_select_domain",
        &[TEXT, TEXT, NUM],
        2,
        (ON_WAY, "A destination as host."),
    ),
    planned_function(
        "ds_select",
        &[TEXT, TEXT, NUM],
        2,
        (ANY, "A list of destinations."),
    ),
    planned_function(
        "ds_select_routes",
        &[TEXT, TEXT, NUM],
        2,
        (ON_WAY, "Lists of several sets."),
    ),
    planned_function("ds_next_dst", &[], 0, (ON_WAY, "The next of the list.")),
    planned_function("ds_next_domain", &[], 0, (ON_WAY, "The next of the list.")),
    planned_function(
        "ds_mark_dst",
        &[TEXT],
        0,
        (ANY, "The state of the destination tried."),
    ),
    planned_function(
        "ds_mark_addr",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "The state of a destination."),
    ),
    planned_function(
        "ds_is_from_list",
        &[TEXT, TEXT, TEXT],
        0,
        (ANY, "Whether it comes from one."),
    ),
    planned_function(
        "ds_list_exists",
        &[TEXT],
        1,
        (ANY, "Whether there is such a set."),
    ),
    planned_function(
        "ds_is_active",
        &[TEXT, TEXT],
        1,
        (ANY, "Whether a destination is up."),
    ),
    planned_function("ds_load_unset", &[], 0, (ANY, "One call less.")),
    planned_function("ds_load_update", &[], 0, (ANY, "One call more or less.")),
    planned_function("ds_reload", &[], 0, (ANY, "Reads the list again.")),
];

const DISPATCHER_PARAMS: [Param; 34] = [
    planned_param("list_file", STR, "", "The file of destinations."),
    planned_param("db_url", STR, "", "The database of destinations."),
    planned_param("table_name", STR, "dispatcher", "Its table."),
    planned_param("setid_col", STR, "setid", "A column."),
    planned_param("destination_col", STR, "destination", "A column."),
    planned_param("flags_col", STR, "flags", "A column."),
    planned_param("priority_col", STR, "priority", "A column."),
    planned_param("attrs_col", STR, "attrs", "A column."),
    planned_param("flags", INT, "0", "1 hash of the user only, 2 failover."),
    planned_param(
        "force_dst",
        INT,
        "1",
        "Whether the next hop is overwritten.",
    ),
    planned_param(
        "use_default",
        INT,
        "0",
        "Whether the last destination is the default.",
    ),
    planned_param("xavp_dst", STR, "_dsdst_", "Records of the list."),
    planned_param("xavp_ctx", STR, "_dsctx_", "The record of the choice."),
    planned_param("xavp_dst_mode", INT, "0", "What the records hold."),
    planned_param("hash_pvar", STR, "", "What algorithm 7 hashes."),
    planned_param("setid_pvname", STR, "", "A variable for the set."),
    planned_param("attrs_pvname", STR, "", "A variable for the attributes."),
    planned_param("ds_ping_method", STR, "OPTIONS", "The method of pings."),
    planned_param(
        "ds_ping_from",
        STR,
        "sip:dispatcher@localhost",
        "From of pings.",
    ),
    planned_param("ds_ping_interval", INT, "0", "Seconds between two pings."),
    planned_param("ds_ping_reply_codes", STR, "", "What counts as alive."),
    planned_param(
        "ds_ping_latency_stats",
        INT,
        "0",
        "Whether latency is measured.",
    ),
    planned_param(
        "ds_latency_estimator_alpha",
        INT,
        "900",
        "How it is smoothed.",
    ),
    planned_param(
        "ds_probing_mode",
        INT,
        "0",
        "Which destinations are pinged.",
    ),
    planned_param("ds_probing_threshold", INT, "1", "Pings that must fail."),
    planned_param(
        "ds_inactive_threshold",
        INT,
        "1",
        "Pings that must succeed.",
    ),
    planned_param("ds_hash_size", INT, "0", "The table of call load."),
    planned_param("ds_hash_expire", INT, "7200", "Its lifetime."),
    planned_param(
        "ds_hash_initexpire",
        INT,
        "7200",
        "Its lifetime before the answer.",
    ),
    planned_param(
        "ds_hash_check_interval",
        INT,
        "30",
        "Seconds between two looks.",
    ),
    planned_param("ds_default_socket", STR, "", "The socket to send from."),
    planned_param("outbound_proxy", STR, "", "Where pings go."),
    planned_param(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
    planned_param("reload_delta", INT, "5", "Seconds between two reloads."),
];

/// The module's table.
pub(super) const UAC: Module = Module {
    name: "uac",
    doc: "Requests of our own, credentials, other names.",
    functions: &UAC_FUNCTIONS,
    variables: &UAC_VARIABLES,
    params: &UAC_PARAMS,
    ..EMPTY
};

const UAC_FUNCTIONS: [Function; 9] = [
    planned_function("uac_auth", &[NUM], 0, (FAILURE, "Answers a challenge.")),
    planned_function(
        "uac_replace_from",
        &[TEXT],
        1,
        (ON_WAY, "Another URI for From."),
    ),
    planned_function(
        "uac_replace_from",
        &[TEXT, TEXT],
        2,
        (ON_WAY, "Another name and URI for From."),
    ),
    planned_function(
        "uac_replace_to",
        &[TEXT],
        1,
        (ON_WAY, "Another URI for To."),
    ),
    planned_function(
        "uac_replace_to",
        &[TEXT, TEXT],
        2,
        (ON_WAY, "Another name and URI for To."),
    ),
    planned_function("uac_restore_from", &[], 0, (ANY, "Takes that back.")),
    planned_function("uac_restore_to", &[], 0, (ANY, "Takes that back.")),
    planned_function("uac_req_send", &[], 0, (ANY, "Sends a request of our own.")),
    planned_function(
        "uac_reg_lookup",
        &[TEXT, OUTPUT],
        2,
        (ANY, "A registration of ours."),
    ),
];

const UAC_VARIABLES: [Variable; 1] = [planned_variable(
    "uac_req",
    InnerKind::OneOf(&[
        "method", "ruri", "furi", "turi", "hdrs", "body", "ouri", "sock", "callid", "auser",
        "apasswd", "arealm", "evroute", "all", "evcode", "evtype", "evparam",
    ]),
    true,
    "The request of uac_req_send, or its answer.",
)];

const UAC_PARAMS: [Param; 19] = [
    planned_param("credential", STR, "", "user:realm:password."),
    planned_param("auth_username_avp", STR, "", "AVP with a user."),
    planned_param("auth_realm_avp", STR, "", "AVP with a realm."),
    planned_param("auth_password_avp", STR, "", "AVP with a password."),
    planned_param("restore_mode", STR, "auto", "none, manual or auto."),
    planned_param(
        "restore_dlg",
        INT,
        "0",
        "Whether the dialog keeps the names.",
    ),
    planned_param("restore_passwd", STR, "", "Password of the parameter."),
    planned_param(
        "rr_from_store_param",
        STR,
        "vsf",
        "Parameter of Record-Route.",
    ),
    planned_param(
        "rr_to_store_param",
        STR,
        "vst",
        "Parameter of Record-Route.",
    ),
    planned_param("restore_from_avp", STR, "", "AVP with the name."),
    planned_param("restore_to_avp", STR, "", "AVP with the name."),
    planned_param("reg_db_url", STR, "", "The database of registrations."),
    planned_param("reg_db_table", STR, "uacreg", "Its table."),
    planned_param("reg_contact_addr", STR, "", "Contact of registrations."),
    planned_param(
        "reg_timer_interval",
        INT,
        "90",
        "Seconds between two looks.",
    ),
    planned_param(
        "reg_retry_interval",
        INT,
        "0",
        "Seconds until the next attempt.",
    ),
    planned_param("reg_keep_callid", INT, "0", "Whether the Call-ID stays."),
    planned_param("default_socket", STR, "", "The socket to send from."),
    planned_param(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
];
