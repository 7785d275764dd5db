//! Control, counting and scripts in Lua: tables only.

use crate::modules::entry::{planned_function, planned_param};
use crate::modules::{Function, Module, Param};

use super::{ANY, INT, PLANNED, STR, TEXT};

/// The module's table.
pub(super) const CFG_RPC: Module = Module {
    name: "cfg_rpc",
    doc: "Parameters at run time, by RPC.",
    planned: false,
    commands: &crate::modules::rpc::cfg::CFG,
    ..PLANNED
};

/// The module's table.
pub(super) const APP_LUA: Module = Module {
    name: "app_lua",
    doc: "Routing in Lua.",
    functions: &LUA_FUNCTIONS,
    params: &LUA_PARAMS,
    ..PLANNED
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
