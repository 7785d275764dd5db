//! `ctl`: binary RPC for `kamcmd`. What it listens on is opened by `io`; here are its parameters.

use crate::script::{ParamType, Setting};

use super::entry::{is_on, number, param, words};
use super::rpc::place::{BINRPC_PORT, Place, Rights};
use super::rpc::{Command, Container, Run, Value};
use super::{Module, Param, ParamError};

/// The module's table.
pub const MODULE: Module = Module {
    name: "ctl",
    doc: "Binary RPC for kamcmd.",
    params: &PARAMS,
    commands: &COMMANDS,
    ..super::EMPTY
};

/// The socket when the configuration names none.
const SOCKET: &str = "unixs:kamailio_ctl";

/// Parameters.
#[derive(Clone, Debug)]
pub struct Config {
    /// What `binrpc` says, once for each.
    binrpc: Vec<Box<str>>,
    /// Who may use unix sockets.
    pub rights: Rights,
    /// Whether numbers and numeric texts stand for each other.
    pub converts: bool,
}

impl Default for Config {
    fn default() -> Self {
        let rights = Rights {
            mode: 0o600,
            user: None,
            group: None,
        };
        Config {
            binrpc: Vec::new(),
            rights,
            converts: false,
        }
    }
}

impl Config {
    /// Where it listens.
    pub fn places(&self, run_dir: &str) -> Vec<Place> {
        let default = [Box::from(SOCKET)];
        let texts = if self.binrpc.is_empty() {
            &default[..]
        } else {
            &self.binrpc
        };
        texts
            .iter()
            .filter_map(|text| place(text, run_dir))
            .collect()
    }
}

fn place(text: &str, run_dir: &str) -> Option<Place> {
    Place::parse(text, run_dir, Some(BINRPC_PORT))
}

const PARAMS: [Param; 9] = [
    param(
        "binrpc",
        ParamType::Str,
        "",
        (
            |config, setting| {
                let text = words(setting);
                let wanted = "unix:PATH, unixd:PATH, udp:ADDRESS[:PORT] or tcp:ADDRESS[:PORT]";
                place(&text, "/").ok_or(ParamError(wanted))?;
                config.ctl.binrpc.push(text);
                Ok(())
            },
            "Where it listens; may be repeated. Without any: kamailio_ctl in the run directory.",
        ),
    ),
    param(
        "fifo",
        ParamType::Str,
        "",
        (
            |c, _| {
                c.is_idle = true;
                Ok(())
            },
            "No effect: the old protocol of lines; binrpc and jsonrpcs serve operators.",
        ),
    ),
    param(
        "binrpc_buffer_size",
        ParamType::Int,
        "1024",
        (
            |c, _| {
                c.is_idle = true;
                Ok(())
            },
            "No effect: answers on streams have any length.",
        ),
    ),
    param(
        "binrpc_max_body_size",
        ParamType::Int,
        "4",
        (
            |c, _| {
                c.is_idle = true;
                Ok(())
            },
            "No effect: answers on streams have any length.",
        ),
    ),
    param(
        "binrpc_struct_max_body_size",
        ParamType::Int,
        "4",
        (
            |c, _| {
                c.is_idle = true;
                Ok(())
            },
            "No effect: structures have any length.",
        ),
    ),
    param(
        "mode",
        ParamType::Int,
        "384",
        (
            |c, s| mode(s).map(|mode| c.ctl.rights.mode = mode),
            "The sockets' permissions, 0600.",
        ),
    ),
    param(
        "user",
        ParamType::Str,
        "",
        (
            |c, s| {
                c.ctl.rights.user = name(s);
                Ok(())
            },
            "The sockets' owner.",
        ),
    ),
    param(
        "group",
        ParamType::Str,
        "",
        (
            |c, s| {
                c.ctl.rights.group = name(s);
                Ok(())
            },
            "The sockets' group.",
        ),
    ),
    param(
        "autoconversion",
        ParamType::Int,
        "0",
        (
            |c, s| {
                c.ctl.converts = is_on(s);
                Ok(())
            },
            "Whether types are converted.",
        ),
    ),
];

/// Permissions as a parameter gives them.
pub(super) fn mode(setting: &Setting) -> Result<u32, ParamError> {
    number(setting, 0, 0o7777, "permissions from 0 to 07777").map(|n| n as u32)
}

/// A user or group; an empty name is none.
pub(super) fn name(setting: &Setting) -> Option<Box<str>> {
    Some(words(setting)).filter(|name| !name.is_empty())
}

const COMMANDS: [Command; 2] = [
    Command {
        name: "ctl.listen",
        help: "list ctl listen sockets.",
        params: "",
        container: Container::Array,
        run: Run::Here(|desk, _| {
            let listeners = (desk.look)().listeners.into_iter();
            Ok(listeners.flatten().map(Value::text).collect())
        }),
    },
    Command {
        name: "ctl.connections",
        help: "returns number of open connections.",
        params: "",
        container: Container::Last,
        run: Run::Here(|desk, _| Ok(vec![Value::count((desk.look)().client_count)])),
    },
];
