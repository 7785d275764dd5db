//! `corex.*`: sockets and aliases in the words of `corex`, the level of the log, and what takes the
//! place of dumps of shared memory.

use crate::effect::Address;
use crate::effect::flow::bracketed;
use crate::effect::rpc::Value;
use crate::modules::Setup;
use crate::modules::config::Alias;

use super::args::Args;
use super::cfg::with_debug;
use super::command::{Changed, Command, Container, Run, stop};

/// The commands.
pub const COREX: [Command; 6] = [
    Command {
        name: "corex.list_sockets",
        help: "List listening sockets.",
        params: "",
        container: Container::Array,
        run: Run::Here(|desk, _| Ok(desk.setup.addresses.iter().map(socket).collect())),
    },
    Command {
        name: "corex.list_aliases",
        help: "List socket aliases.",
        params: "",
        container: Container::Array,
        run: Run::Here(|desk, _| {
            let aliases = desk.setup.config.core.aliases.iter().rev();
            Ok(aliases.map(alias).collect())
        }),
    },
    Command {
        name: "corex.debug",
        help: "Control the global level of debug.",
        params: "[LEVEL]",
        container: Container::Last,
        run: Run::Change(debug),
    },
    nothing(
        "corex.shm_status",
        "No effect: no memory is shared; see core.shmmem for the memory of the process.",
    ),
    nothing(
        "corex.shm_summary",
        "No effect: no memory is shared; see core.shmmem for the memory of the process.",
    ),
    Command {
        name: "corex.pkg_summary",
        help: "No effect: threads have no memory of their own to be shown.",
        params: "pid|idx|rank NUMBER",
        container: Container::Last,
        run: Run::Here(|_, args| {
            let lacking = |_| stop(400, "Selector and value not provided");
            args.text(0).map_err(lacking)?;
            args.int(1).map_err(lacking)?;
            Ok(Vec::new())
        }),
    },
];

const fn nothing(name: &'static str, help: &'static str) -> Command {
    Command {
        name,
        help,
        params: "",
        container: Container::Last,
        run: Run::Here(|_, _| Ok(Vec::new())),
    }
}

fn socket(address: &Address) -> Value {
    let host = Value::text(bracketed(address.local.ip()));
    let or_none = |text: Option<&str>| Value::text(text.unwrap_or("-"));
    let no = || Value::text("no");
    let advertised = address
        .advertised
        .as_ref()
        .map(|(host, _)| host.to_string());
    Value::members([
        ("PROTO", Value::text(address.proto.lower())),
        ("NAME", host.clone()),
        ("ADDRLIST", Value::members([("ADDR", host)])),
        ("PORT", Value::text(address.local.port().to_string())),
        ("MCAST", no()),
        ("MHOMED", no()),
        ("VIRTUAL", no()),
        ("SOCKNAME", or_none(address.name.as_deref())),
        ("ADVERTISE", or_none(advertised.as_deref())),
    ])
}

fn alias(alias: &Alias) -> Value {
    Value::members([
        ("PROTO", Value::text("*")),
        ("ADDR", Value::text(&*alias.host)),
        ("PORT", Value::Int(alias.port.unwrap_or(0).into())),
    ])
}

/// Without a number it says the level.
fn debug(setup: &Setup, args: &Args) -> Changed {
    let old = i64::from(setup.config.core.debug as i32);
    let Ok(new) = args.int(0) else {
        let shown = Value::members([("debug", Value::Int(old))]);
        return Ok((None, vec![shown]));
    };
    let changed = with_debug(setup, new)?;
    let shown = Value::members([("old", Value::Int(old)), ("new", Value::Int(new))]);
    Ok((Some(changed), vec![shown]))
}
