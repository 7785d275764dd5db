//! Control, counting and scripts in Lua: tables only.

use crate::modules::entry::{planned_function, planned_param, planned_variable};
use crate::modules::{Function, Module, Param, Variable};
use crate::script::{InnerKind, ParamKind, ParamType, RouteKinds};

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
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
pub(super) const CTL: Module = Module {
    name: "ctl",
    doc: "Binary RPC for kamcmd.",
    params: &CTL_PARAMS,
    ..EMPTY
};

const CTL_PARAMS: [Param; 6] = [
    planned_param(
        "binrpc",
        STR,
        "unix:/run/kamailio/kamailio_ctl",
        "Where it listens.",
    ),
    planned_param("fifo", STR, "", "A pipe to listen on."),
    planned_param("mode", INT, "0600", "The socket's permissions."),
    planned_param("user", STR, "", "The socket's owner."),
    planned_param("group", STR, "", "The socket's group."),
    planned_param("autoconversion", INT, "0", "Whether types are converted."),
];

/// The module's table.
pub(super) const JSONRPCS: Module = Module {
    name: "jsonrpcs",
    doc: "JSON-RPC by HTTP, pipe and socket.",
    functions: &JSON_FUNCTIONS,
    variables: &JSON_VARIABLES,
    params: &JSON_PARAMS,
    ..EMPTY
};

const JSON_FUNCTIONS: [Function; 2] = [
    planned_function(
        "jsonrpc_dispatch",
        &[],
        0,
        (REQUEST, "Answers the command in the body."),
    ),
    planned_function("jsonrpc_exec", &[TEXT], 1, (ANY, "Runs a command.")),
];

const JSON_VARIABLES: [Variable; 1] = [planned_variable(
    "jsonrpl",
    InnerKind::OneOf(&["code", "body", "text", "mode"]),
    false,
    "What jsonrpc_exec gave.",
)];

const JSON_PARAMS: [Param; 13] = [
    planned_param("pretty_format", INT, "0", "Whether answers are indented."),
    planned_param("transport", INT, "0", "1 HTTP, 2 pipe, 4 datagrams, 0 all."),
    planned_param("fifo_name", STR, "kamailio_rpc.fifo", "The pipe."),
    planned_param("fifo_mode", INT, "0660", "Its permissions."),
    planned_param("fifo_group", STR, "", "Its group."),
    planned_param("fifo_user", STR, "", "Its owner."),
    planned_param("fifo_reply_dir", STR, "/tmp/", "Where answers go."),
    planned_param(
        "dgram_socket",
        STR,
        "kamailio_rpc.sock",
        "The datagram socket.",
    ),
    planned_param("dgram_mode", INT, "0660", "Its permissions."),
    planned_param("dgram_group", STR, "", "Its group."),
    planned_param("dgram_user", STR, "", "Its owner."),
    planned_param("dgram_workers", INT, "1", "Processes that serve it."),
    planned_param("dgram_timeout", INT, "2000", "Milliseconds for an answer."),
];

/// The module's table.
pub(super) const XHTTP: Module = Module {
    name: "xhttp",
    doc: "HTTP in the script.",
    functions: &HTTP_FUNCTIONS,
    variables: &HTTP_VARIABLES,
    params: &HTTP_PARAMS,
    ..EMPTY
};

const HTTP_FUNCTIONS: [Function; 1] = [planned_function(
    "xhttp_reply",
    &[NUM, TEXT, TEXT, TEXT],
    4,
    (REQUEST, "Answers an HTTP request."),
)];
const HTTP_VARIABLES: [Variable; 1] = [planned_variable(
    "hu",
    InnerKind::None,
    false,
    "The URL of an HTTP request.",
)];
const HTTP_PARAMS: [Param; 3] = [
    planned_param("url_match", STR, "", "URLs that are served."),
    planned_param("url_skip", STR, "", "URLs that are not."),
    planned_param(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
];

/// The module's table.
pub(super) const CFG_RPC: Module = Module {
    name: "cfg_rpc",
    doc: "Parameters at run time, by RPC.",
    ..EMPTY
};

/// The module's table.
pub(super) const COUNTERS: Module = Module {
    name: "counters",
    doc: "Counters by RPC and of the script.",
    functions: &COUNT_FUNCTIONS,
    params: &[planned_param(
        "script_counter",
        STR,
        "",
        "A counter of the script's.",
    )],
    ..EMPTY
};

const COUNT_FUNCTIONS: [Function; 3] = [
    planned_function("cnt_inc", &[TEXT], 1, (ANY, "Increases a counter.")),
    planned_function("cnt_add", &[TEXT, NUM], 2, (ANY, "Adds to a counter.")),
    planned_function("cnt_reset", &[TEXT], 1, (ANY, "Sets a counter to 0.")),
];

/// The module's table.
pub(super) const STATISTICS: Module = Module {
    name: "statistics",
    doc: "Counters of the script.",
    functions: &STATISTIC_FUNCTIONS,
    params: &[planned_param(
        "variable",
        STR,
        "",
        "A counter of the script's.",
    )],
    ..EMPTY
};

const STATISTIC_FUNCTIONS: [Function; 2] = [
    planned_function("update_stat", &[TEXT, TEXT], 2, (ANY, "Adds to a counter.")),
    planned_function("reset_stat", &[TEXT], 1, (ANY, "Sets a counter to 0.")),
];

/// The module's table.
pub(super) const APP_LUA: Module = Module {
    name: "app_lua",
    doc: "Routing in Lua.",
    functions: &LUA_FUNCTIONS,
    params: &LUA_PARAMS,
    ..EMPTY
};

const LUA_FUNCTIONS: [Function; 4] = [
    planned_function(
        "lua_run",
        &[TEXT, TEXT, TEXT, TEXT],
        1,
        (ANY, "Calls a function."),
    ),
    planned_function("lua_dofile", &[TEXT], 1, (ANY, "Runs a file.")),
    planned_function("lua_dostring", &[TEXT], 1, (ANY, "Runs a text.")),
    planned_function("lua_runstring", &[TEXT], 1, (ANY, "Runs a text.")),
];

const LUA_PARAMS: [Param; 4] = [
    planned_param("load", STR, "", "A file to load."),
    planned_param("reload", INT, "0", "Whether app_lua.reload is allowed."),
    planned_param("register", STR, "", "A group of functions."),
    planned_param("log_mode", INT, "0", "What is logged of errors."),
];
