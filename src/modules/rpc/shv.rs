//! `pv.shv*`: shared variables of the script.

use crate::effect::rpc::{Fault, Part, Value};
use crate::modules::Env;
use crate::modules::pv::avp::Stored;

use super::Desk;
use super::args::Args;
use super::command::{Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop};

/// The commands of `pv`.
pub const SHV: [Command; 3] = [
    Command {
        name: "pv.shvGet",
        help: "Get the value of a shared variable. If no argument, dumps all.",
        params: "[NAME]",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: |_, _| Ok(Whom::All),
            part: get,
            fold: Fold::First,
        }),
    },
    Command {
        name: "pv.shvList",
        help: "List all shared variables.",
        params: "",
        container: Container::Array,
        run: Run::Shards(Shards {
            whom: |_, _| Ok(Whom::All),
            part: list,
            fold: Fold::First,
        }),
    },
    Command {
        name: "pv.shvSet",
        help: "Set a shared variable (args: name type value).",
        params: "NAME int|str VALUE",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: check,
            part: set,
            fold: Fold::Sum,
        }),
    },
];

fn not_found() -> Part {
    Part {
        values: Err(Fault::new(404, "Variable not found")),
        next: None,
    }
}

fn described(name: &[u8], value: &Stored) -> Value {
    let (kind, value) = match value {
        Stored::Int(n) => ("int", Value::Int(*n)),
        Stored::Text(text) => ("string", Value::text(text)),
    };
    Value::members([
        ("name", Value::text(name)),
        ("type", Value::text(kind)),
        ("value", value),
    ])
}

fn get(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let shared = env.state.variables.shared(&env.state.setup.config);
    match args.text(0) {
        Ok(name) => match shared.get(&*name) {
            Some(value) => Part::whole(vec![described(&name, value)]),
            None => not_found(),
        },
        Err(_) => {
            let items = shared
                .iter()
                .map(|(name, value)| ("shv", described(name, value)));
            let items = Value::members(items);
            Part::whole(vec![Value::members([("items", items)])])
        }
    }
}

fn list(env: &mut Env<'_>, _: &Args, _: Slice) -> Part {
    let shared = env.state.variables.shared(&env.state.setup.config);
    let all = shared.iter().map(|(name, value)| described(name, value));
    Part::whole(all.collect())
}

/// The value that the second and third parameter say.
fn value(args: &Args) -> Result<Stored, Stop> {
    const ARE: &str = "Missing parameter type (Parameters: varname type value)";
    let kind = args.text(1).map_err(|_| stop(500, ARE))?;
    match &*kind {
        b"int" => {
            const ARE: &str = "Missing integer parameter value (Parameters: varname type value)";
            Ok(Stored::Int(args.int(2).map_err(|_| stop(500, ARE))?))
        }
        b"str" | b"string" => {
            const ARE: &str = "Missing string parameter value (Parameters: varname type value)";
            Ok(Stored::Text(
                args.word(2).map_err(|_| stop(500, ARE))?.as_ref().into(),
            ))
        }
        _ => Err(stop(500, "Unknown parameter type (Types: int or str)")),
    }
}

fn check(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    const ARE: &str = "Missing varname parameter (Parameters: varname type value)";
    args.text(0).map_err(|_| stop(500, ARE))?;
    value(args)?;
    Ok(Whom::All)
}

fn set(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let (Ok(name), Ok(value)) = (args.text(0), value(args)) else {
        return not_found();
    };
    let at = env.now.wall.as_micros();
    let config = &env.state.setup.config;
    match env.state.variables.replace(config, &name, value, at) {
        true => Part::whole(vec![Value::text("Ok. Variable set to new value.")]),
        false => not_found(),
    }
}
