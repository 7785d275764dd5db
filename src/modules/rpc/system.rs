//! `system.*`: what can be asked at all.

use crate::effect::rpc::{Fault, Value};

use super::command::{self, Command, Container, Run, Stop, stop};

/// The commands.
pub const SYSTEM: [Command; 3] = [
    Command {
        name: "system.listMethods",
        help: "Lists all RPC methods supported by the server.",
        params: "",
        container: Container::Array,
        run: Run::Here(|desk, _| {
            let mut names: Vec<_> = command::commands(desk.setup).map(|c| c.name).collect();
            names.sort_unstable();
            Ok(names.into_iter().map(Value::text).collect())
        }),
    },
    Command {
        name: "system.methodHelp",
        help: "Print the help string for given method.",
        params: "METHOD",
        container: Container::Last,
        run: Run::Here(|desk, args| {
            let name = args
                .text(0)
                .map_err(|_| stop(400, "Method Name Expected"))?;
            let found = command::find(desk.setup, &name);
            let command = found.ok_or_else(|| stop(400, "command not found"))?;
            Ok(vec![Value::text(help(command))])
        }),
    },
    Command {
        name: "system.methodSignature",
        help: "Returns signature of given method.",
        params: "METHOD",
        container: Container::Last,
        run: Run::Here(|_, _| Err(Stop::Fault(Fault::new(500, "Not Implemented Yet")))),
    },
];

fn help(command: &Command) -> String {
    match command.params {
        "" => command.help.to_owned(),
        params => format!("{} Parameters: {params}", command.help),
    }
}
