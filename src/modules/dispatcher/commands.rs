//! `dispatcher.*`: the operator's commands.
//!
//! States are the same in every shard, so shard 0, which pings, answers for all; what is set is
//! set in every shard.

use std::ops::Range;
use std::sync::Arc;

use crate::effect::rpc::{Fault, Part, Value};
use crate::modules::rpc::args::Args;
use crate::modules::rpc::command::{Command, Container, Fold, Run, Shards, Slice, Stop, Whom};
use crate::modules::rpc::desk::Desk;
use crate::modules::state::Env;
use crate::steer::ShardId;

use super::functions::state_of;
use super::list::Destination;
use super::live::Condition;

/// The commands.
pub(super) const COMMANDS: [Command; 4] = [
    Command {
        name: "dispatcher.list",
        help: "Return the content of dispatcher sets.",
        params: "",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: the_one_who_pings,
            part: list,
            fold: Fold::First,
        }),
    },
    Command {
        name: "dispatcher.set_state",
        help: "Set the state of a destination address.",
        params: "STATE SET URI|all",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: everyone,
            part: set_state,
            fold: Fold::First,
        }),
    },
    Command {
        name: "dispatcher.ping_active",
        help: "Manage setting on/off the pinging (keepalive) of destinations.",
        params: "[0|1]",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: everyone,
            part: ping_active,
            fold: Fold::First,
        }),
    },
    Command {
        name: "dispatcher.reload",
        help: "Reload dispatcher destination sets, with the whole configuration.",
        params: "",
        container: Container::Last,
        run: Run::Reload,
    },
];

fn the_one_who_pings(_: &Desk<'_>, _: &Args) -> Result<Whom, Stop> {
    Ok(Whom::One(ShardId(0)))
}

fn everyone(_: &Desk<'_>, _: &Args) -> Result<Whom, Stop> {
    Ok(Whom::All)
}

fn fault(code: i32, text: &'static str) -> Part {
    Part {
        values: Err(Fault::new(code, text)),
        next: None,
    }
}

fn list(env: &mut Env<'_>, _: &Args, _: Slice) -> Part {
    let live = &env.state.dispatcher;
    if live.sets().sets().is_empty() {
        return fault(500, "No Destination Sets");
    }
    let stats = env.state.setup.config.dispatcher.latency_stats;
    let sets = live
        .sets()
        .sets()
        .iter()
        .map(|(id, places): &(i64, Range<usize>)| {
            let targets = places.clone().map(|at| {
                let destination = &live.sets().destinations()[at];
                ("DEST", target(destination, live.condition(at), stats))
            });
            let set = [
                ("ID", Value::Int(*id)),
                ("TARGETS", Value::members(targets)),
            ];
            ("SET", Value::members(set))
        });
    Part::whole(vec![Value::members([
        ("NRSETS", Value::count(live.sets().sets().len() as u64)),
        ("RECORDS", Value::members(sets)),
    ])])
}

fn target(destination: &Destination, condition: Condition, stats: bool) -> Value {
    let attrs = &destination.attrs;
    let mut members = vec![
        ("URI", Value::text(&destination.uri)),
        ("FLAGS", Value::text(condition.letters())),
        ("PRIORITY", Value::Int(destination.priority)),
    ];
    if !attrs.body.is_empty() {
        let text =
            |value: &Option<Box<[u8]>>| Value::text(value.as_deref().unwrap_or(b"<null string>"));
        let attrs = Value::members([
            ("BODY", Value::text(&attrs.body)),
            ("DUID", text(&attrs.duid)),
            ("MAXLOAD", Value::count(attrs.max_load.into())),
            ("WEIGHT", Value::count(attrs.weight.into())),
            ("RWEIGHT", Value::count(attrs.relative_weight.into())),
            ("SOCKET", text(&attrs.socket)),
            ("SOCKNAME", text(&attrs.socket_name)),
            ("OBPROXY", text(&attrs.outbound_proxy)),
        ]);
        members.push(("ATTRS", attrs));
    }
    if stats {
        let latency = condition.latency;
        let latency = Value::members([
            ("AVG", Value::Double(latency.average)),
            ("STD", Value::Double(latency.deviation())),
            ("EST", Value::Double(latency.estimate)),
            ("MAX", Value::count(latency.max.into())),
            ("TIMEOUT", Value::count(latency.timeouts.into())),
        ]);
        members.push(("LATENCY", latency));
    }
    let load = Value::members([("DLGLOAD", Value::count(condition.load.into()))]);
    members.push(("RUNTIME", load));
    Value::members(members)
}

fn set_state(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let (Ok(letters), Ok(set), Ok(uri)) = (args.text(0), args.int(1), args.text(2)) else {
        return fault(500, "Invalid Parameters");
    };
    let flags = match state_of(&letters) {
        Some(flags) if !letters.is_empty() => flags,
        Some(_) | None => return fault(500, "Unknown State Value"),
    };
    let sets = Arc::clone(env.state.dispatcher.sets());
    let places: Vec<usize> = match &*uri {
        b"all" => sets.set(set).unwrap_or_default().collect(),
        uri => match sets.place(set, uri) {
            Some(place) => vec![place],
            None => return fault(500, "State Update Failed"),
        },
    };
    for place in places {
        // Every shard is told by the command itself.
        env.state.dispatcher.set_flags(place, flags);
    }
    Part::whole(vec![Value::text("Ok. Dispatcher state updated.")])
}

fn ping_active(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let live = &mut env.state.dispatcher;
    let old = live.ping_active;
    match args.optional(0, Args::int) {
        Ok(None) => Part::whole(vec![Value::members([("OldPingState", Value::Int(old))])]),
        Ok(Some(new)) => {
            live.ping_active = new;
            Part::whole(vec![Value::members([
                ("NewPingState", Value::Int(new)),
                ("OldPingState", Value::Int(old)),
            ])])
        }
        Err(_) => fault(500, "Invalid Ping State Parameter"),
    }
}
