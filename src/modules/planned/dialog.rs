//! `dialog`: tables only.

use crate::modules::entry::{planned_function, planned_param, planned_variable};
use crate::modules::{Function, Module, Param, Variable};
use crate::script::{InnerKind, ParamKind, ParamType, RouteKinds};

/// The module's table.
pub(super) const MODULE: Module = Module {
    name: "dialog",
    doc: "Dialogs: tracking, profiles, timeouts.",
    planned: true,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
};

const TEXT: ParamKind = ParamKind::Text;
const CONST: ParamKind = ParamKind::Const;
const NUM: ParamKind = ParamKind::Int;
const ANY: RouteKinds = RouteKinds::ANY;
const NOT_REPLY: RouteKinds = RouteKinds::REQUEST
    .or(RouteKinds::BRANCH)
    .or(RouteKinds::ONREPLY)
    .or(RouteKinds::FAILURE);

const FUNCTIONS: [Function; 25] = [
    planned_function(
        "dlg_manage",
        &[],
        0,
        (RouteKinds::REQUEST, "Has the dialog made or followed."),
    ),
    planned_function(
        "set_dlg_profile",
        &[CONST, TEXT],
        1,
        (ANY, "Puts the dialog into a profile."),
    ),
    planned_function(
        "unset_dlg_profile",
        &[CONST, TEXT],
        1,
        (NOT_REPLY, "Takes it out."),
    ),
    planned_function(
        "is_in_profile",
        &[CONST, TEXT],
        1,
        (ANY, "Whether it is in."),
    ),
    planned_function(
        "get_profile_size",
        &[CONST, ParamKind::Output],
        2,
        (ANY, "How many are in."),
    ),
    planned_function(
        "get_profile_size",
        &[CONST, TEXT, ParamKind::Output],
        3,
        (ANY, "How many are in with the value."),
    ),
    planned_function(
        "dlg_isflagset",
        &[NUM],
        1,
        (ANY, "Whether the dialog's flag is set."),
    ),
    planned_function(
        "dlg_setflag",
        &[NUM],
        1,
        (ANY, "Sets a flag of the dialog."),
    ),
    planned_function("dlg_resetflag", &[NUM], 1, (ANY, "Clears it.")),
    // As an example of the manual spells it.
    planned_function(
        "redlg_setflag",
        &[NUM],
        1,
        (ANY, "Another spelling of dlg_resetflag."),
    ),
    planned_function(
        "dlg_bye",
        &[CONST],
        1,
        (ANY, "Hangs up: caller, callee or all."),
    ),
    planned_function(
        "dlg_refer",
        &[CONST, TEXT],
        2,
        (ANY, "Transfers caller or callee."),
    ),
    planned_function(
        "dlg_bridge",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Calls one and transfers to the other."),
    ),
    planned_function(
        "dlg_get",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "The dialog of Call-ID and tags."),
    ),
    planned_function(
        "is_known_dlg",
        &[],
        0,
        (ANY, "Whether the dialog is known."),
    ),
    planned_function(
        "dlg_set_timeout",
        &[NUM],
        1,
        (ANY, "Sets the dialog's lifetime."),
    ),
    planned_function(
        "dlg_set_timeout",
        &[NUM, NUM, NUM],
        3,
        (ANY, "The same by h_entry and h_id."),
    ),
    planned_function(
        "dlg_set_timeout_by_profile",
        &[CONST, NUM],
        2,
        (ANY, "The same for a profile."),
    ),
    planned_function(
        "dlg_set_timeout_by_profile",
        &[CONST, TEXT, NUM],
        3,
        (ANY, "The same for a value."),
    ),
    planned_function(
        "dlg_set_property",
        &[TEXT],
        1,
        (ANY, "Sets ka-src, ka-dst or timeout-noreset."),
    ),
    planned_function("dlg_reset_property", &[TEXT], 1, (ANY, "Takes it back.")),
    planned_function(
        "dlg_remote_profile",
        &[TEXT, TEXT, TEXT, TEXT, NUM],
        5,
        (ANY, "Items of other servers in a profile."),
    ),
    planned_function(
        "dlg_set_ruri",
        &[],
        0,
        (ANY, "The other side's Contact as Request-URI."),
    ),
    planned_function(
        "dlg_db_load_callid",
        &[TEXT],
        1,
        (ANY, "Loads a dialog from the database."),
    ),
    planned_function(
        "dlg_db_load_extra",
        &[],
        0,
        (ANY, "Loads dialogs that are not in memory."),
    ),
];

const VARIABLES: [Variable; 6] = [
    planned_variable(
        "DLG_count",
        InnerKind::None,
        false,
        "How many dialogs are active.",
    ),
    planned_variable(
        "DLG_lifetime",
        InnerKind::None,
        false,
        "Seconds since the dialog began.",
    ),
    planned_variable("DLG_status", InnerKind::None, false, "The dialog's state."),
    planned_variable(
        "dlg",
        InnerKind::OneOf(&ATTRIBUTES),
        false,
        "An attribute of the dialog.",
    ),
    planned_variable(
        "dlg_ctx",
        InnerKind::OneOf(&CONTEXT),
        true,
        "What a dialog is to become.",
    ),
    planned_variable(
        "dlg_var",
        InnerKind::Name,
        true,
        "A variable of the dialog.",
    ),
];

const ATTRIBUTES: [&str; 23] = [
    "h_id",
    "h_entry",
    "ref",
    "state",
    "to_rs",
    "from_rs",
    "dflags",
    "iflags",
    "sflags",
    "callid",
    "to_uri",
    "to_tag",
    "from_uri",
    "from_tag",
    "toroute",
    "lifetime",
    "start_ts",
    "to_cseq",
    "from_cseq",
    "to_contact",
    "from_contact",
    "to_bindaddr",
    "from_bindaddr",
];

const CONTEXT: [&str; 8] = [
    "on",
    "flags",
    "timeout",
    "timeout_bye",
    "timeout_route",
    "timeout_route_id",
    "set",
    "dir",
];

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
// Documented as a string, given as a number.
const EITHER: ParamType = ParamType::IntOrStr;

const fn p(name: &'static str, kind: ParamType, default: &'static str, doc: &'static str) -> Param {
    planned_param(name, kind, default, doc)
}

const PARAMS: [Param; 62] = [
    p("enable_stats", INT, "1", "Whether statistics are kept."),
    p("hash_size", INT, "4096", "Size of the dialog table."),
    p(
        "rr_param",
        STR,
        "did",
        "Parameter of Record-Route that carries the identity.",
    ),
    p(
        "dlg_flag",
        INT,
        "-1",
        "Message flag that has a dialog made.",
    ),
    p("timeout_avp", STR, "", "AVP with the lifetime of a dialog."),
    p(
        "default_timeout",
        INT,
        "43200",
        "Lifetime of a dialog, seconds.",
    ),
    p(
        "early_timeout",
        INT,
        "300",
        "Until an unanswered dialog is dropped, seconds.",
    ),
    p(
        "noack_timeout",
        INT,
        "60",
        "Until an unacknowledged dialog is dropped, seconds.",
    ),
    p(
        "end_timeout",
        INT,
        "300",
        "Until an ended dialog is dropped, seconds.",
    ),
    p("dlg_extra_hdrs", STR, "", "Headers of a BYE made here."),
    p(
        "dlg_match_mode",
        INT,
        "0",
        "0 by identity, 1 by identity then by SIP, 2 by SIP.",
    ),
    p(
        "detect_spirals",
        INT,
        "1",
        "Whether a request that comes back belongs to its dialog.",
    ),
    p(
        "db_url",
        STR,
        "mysql://kamailio:kamailiorw@localhost/kamailio",
        "The database.",
    ),
    p(
        "db_mode",
        INT,
        "0",
        "0 none, 1 at once, 2 by timer, 3 at the end.",
    ),
    p(
        "db_update_period",
        INT,
        "60",
        "Seconds between two writes in mode 2.",
    ),
    p("db_fetch_rows", INT, "200", "Rows read at once."),
    p(
        "db_skip_load",
        INT,
        "0",
        "Whether nothing is read at start.",
    ),
    p("table_name", STR, "dialog", "Table of dialogs."),
    p("call_id_column", STR, "callid", "Column of that name."),
    p("from_uri_column", STR, "from_uri", "Column of that name."),
    p("from_tag_column", STR, "from_tag", "Column of that name."),
    p("to_uri_column", STR, "to_uri", "Column of that name."),
    p("to_tag_column", STR, "to_tag", "Column of that name."),
    p(
        "from_cseq_column",
        STR,
        "caller_cseq",
        "Column of that name.",
    ),
    p("to_cseq_column", STR, "callee_cseq", "Column of that name."),
    p(
        "from_route_column",
        STR,
        "caller_route_set",
        "Column of that name.",
    ),
    p(
        "to_route_column",
        STR,
        "callee_route_set",
        "Column of that name.",
    ),
    p(
        "from_contact_column",
        STR,
        "caller_contact",
        "Column of that name.",
    ),
    p(
        "to_contact_column",
        STR,
        "callee_contact",
        "Column of that name.",
    ),
    p(
        "from_sock_column",
        STR,
        "caller_sock",
        "Column of that name.",
    ),
    p("to_sock_column", STR, "callee_sock", "Column of that name."),
    p("h_id_column", STR, "hash_id", "Column of that name."),
    p("h_entry_column", STR, "hash_entry", "Column of that name."),
    p("state_column", STR, "state", "Column of that name."),
    p(
        "start_time_column",
        STR,
        "start_time",
        "Column of that name.",
    ),
    p("timeout_column", STR, "timeout", "Column of that name."),
    p("sflags_column", STR, "sflags", "Column of that name."),
    p(
        "toroute_name_column",
        STR,
        "toroute_name",
        "Column of that name.",
    ),
    p(
        "vars_table_name",
        STR,
        "dialog_vars",
        "Table of dialog variables.",
    ),
    p("vars_h_id_column", STR, "hash_id", "Column of that name."),
    p(
        "vars_h_entry_column",
        STR,
        "hash_entry",
        "Column of that name.",
    ),
    p("vars_key_column", STR, "dialog_key", "Column of that name."),
    p(
        "vars_value_column",
        STR,
        "dialog_value",
        "Column of that name.",
    ),
    p(
        "profiles_with_value",
        STR,
        "",
        "Profiles that count per value.",
    ),
    p(
        "profiles_no_value",
        STR,
        "",
        "Profiles that count everything.",
    ),
    p(
        "bridge_controller",
        STR,
        "sip:controller@kamailio.org",
        "From of the INVITE of dlg_bridge.",
    ),
    p(
        "bridge_contact",
        STR,
        "sip:controller@kamailio.org:5060",
        "Contact of it.",
    ),
    p(
        "initial_cbs_inscript",
        INT,
        "1",
        "Whether callbacks of a new dialog run inside the script.",
    ),
    p(
        "send_bye",
        INT,
        "0",
        "Whether a dialog that expires is hung up.",
    ),
    p(
        "wait_ack",
        INT,
        "1",
        "Whether the dialog waits for the ACK.",
    ),
    p(
        "ka_timer",
        INT,
        "0",
        "Seconds between two looks at keep-alives.",
    ),
    p("ka_interval", INT, "0", "Seconds between two keep-alives."),
    p("ka_failed_limit", INT, "1", "Keep-alives that may fail."),
    p(
        "timeout_noreset",
        INT,
        "0",
        "Whether requests in the dialog leave its lifetime.",
    ),
    p("timer_procs", INT, "0", "Processes for its timer."),
    p("enable_dmq", INT, "0", "Whether dialogs are replicated."),
    p(
        "track_cseq_updates",
        INT,
        "0",
        "Whether CSeq changes of authentication are undone.",
    ),
    p(
        "lreq_callee_headers",
        STR,
        "",
        "Headers of requests made here to the callee.",
    ),
    p(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
    p("h_id_start", INT, "0", "The first h_id, -1 for server_id."),
    p("h_id_step", INT, "1", "The distance of two."),
    p(
        "keep_proxy_rr",
        EITHER,
        "0",
        "Whether our own Record-Route is kept in route sets.",
    ),
];
