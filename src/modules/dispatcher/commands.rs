//! `dispatcher.*`: the operator's commands.
//!
//! States are the same in every shard, so shard 0, which pings, answers for all; what is set is
//! set in every shard.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use crate::effect::Proto;
use crate::effect::rpc::{Fault, Part, Value};
use crate::modules::rpc::args::Args;
use crate::modules::rpc::command::{
    Answer, Changed, Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop,
};
use crate::modules::rpc::desk::Desk;
use crate::modules::setup::Setup;
use crate::modules::state::Env;
use crate::script::spread;
use crate::sip::Uri;
use crate::steer::ShardId;

use super::functions::state_of;
use super::list::{Destination, Sets};
use super::live::Condition;

/// The commands.
pub(super) const COMMANDS: [Command; 8] = [
    Command {
        name: "dispatcher.list",
        help: "Return the content of dispatcher sets.",
        params: "[short|full]",
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
            fold: Fold::Each,
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
            fold: Fold::Each,
        }),
    },
    Command {
        name: "dispatcher.reload",
        help: "Reload dispatcher destination sets, with the whole configuration.",
        params: "",
        container: Container::Last,
        run: Run::Reload("Ok. Dispatcher successfully reloaded."),
    },
    Command {
        name: "dispatcher.set_duid_state",
        help: "Set the state of a destination by duid.",
        params: "STATE SET DUID|all",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: everyone,
            part: set_state_of_duid,
            fold: Fold::Each,
        }),
    },
    Command {
        name: "dispatcher.add",
        help: "Add a destination address in memory, until the next reload.",
        params: "SET URI [FLAGS [PRIORITY [ATTRIBUTES]]]",
        container: Container::Last,
        run: Run::Change(add),
    },
    Command {
        name: "dispatcher.remove",
        help: "Remove a destination address from memory, until the next reload.",
        params: "SET URI",
        container: Container::Last,
        run: Run::Change(remove),
    },
    Command {
        name: "dispatcher.hash",
        help: "Compute the hash of the values.",
        params: "SLOTS VALUE [VALUE]",
        container: Container::Last,
        run: Run::Here(hash),
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

/// The hash of the algorithms 0 to 3, 5 and 7, and the place in a set of so many.
fn hash(_: &mut Desk<'_>, args: &Args) -> Answer {
    let invalid = |_| stop(500, INVALID);
    let count = args.int(0).map_err(invalid)?;
    let first = args.word(1).map_err(invalid)?;
    let second = args.optional(2, Args::word).map_err(invalid)?;
    let hash = spread(&[&first, &second.unwrap_or_default()]);
    let slot = u32::try_from(count).ok().and_then(|n| hash.checked_rem(n));
    Ok(vec![Value::members([
        // As the original shows it, with a sign.
        ("hashid", Value::Int((hash as i32).into())),
        ("slot", Value::count(slot.unwrap_or(0).into())),
    ])])
}

/// How much `dispatcher.list` shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Short,
    Usual,
    Full,
}

fn list(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let detail = match args.text(0).as_deref() {
        Ok(b"short") => Detail::Short,
        Ok(b"full") => Detail::Full,
        Ok(_) | Err(_) => Detail::Usual,
    };
    let live = &env.state.dispatcher;
    if live.sets().sets().is_empty() {
        return fault(500, "No Destination Sets");
    }
    let config = &env.state.setup.config.dispatcher;
    let more = (config.latency_stats, config.shows_load);
    let sets = live
        .sets()
        .sets()
        .iter()
        .map(|(id, places): &(i64, Range<usize>)| {
            let targets = places.clone().map(|at| {
                let destination = &live.sets().destinations()[at];
                let found = live.addresses(at).first().map(SocketAddr::ip);
                let condition = live.condition(at);
                let shown = target((destination, found), condition, detail, more);
                ("DEST", shown)
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

/// A destination; with its latency and its load where the configuration says so.
fn target(
    (destination, found): (&Destination, Option<IpAddr>),
    condition: Condition,
    detail: Detail,
    (has_latency, has_load): (bool, bool),
) -> Value {
    let attrs = &destination.attrs;
    let mut members = vec![
        ("URI", Value::text(&destination.uri)),
        ("FLAGS", Value::text(condition.letters())),
        ("PRIORITY", Value::Int(destination.priority)),
    ];
    if detail == Detail::Full {
        members.extend(place(destination, found));
    }
    if !attrs.body.is_empty() && detail != Detail::Short {
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
    if has_latency {
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
    if has_load {
        let load = Value::members([("DLGLOAD", Value::count(condition.load.into()))]);
        members.push(("RUNTIME", load));
    }
    Value::members(members)
}

/// What is known of where it is.
fn place(destination: &Destination, found: Option<IpAddr>) -> [(&'static str, Value); 6] {
    let host = Uri::parse(&destination.uri).map_or(&b""[..], |uri| uri.host);
    let ip = destination.ip.or(found);
    let ip = ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
    let proto = match destination.proto {
        None => 0,
        Some(Proto::Udp) => 1,
        Some(Proto::Tcp) => 2,
        Some(Proto::Tls) => 3,
        Some(Proto::Sctp) => 4,
        Some(Proto::Ws) => 5,
        Some(Proto::Wss) => 6,
    };
    [
        ("HOST", Value::text(host)),
        ("IPADDR", Value::text(ip)),
        (
            "PORT",
            Value::count(destination.written_port.unwrap_or(0).into()),
        ),
        ("PROTOID", Value::Int(proto)),
        ("DNSTIME_SEC", Value::Int(0)),
        ("DNSTIME_USEC", Value::Int(0)),
    ]
}

const INVALID: &str = "Invalid Parameters";

/// Set and URI.
fn destination_of(args: &Args) -> Result<(i64, std::borrow::Cow<'_, [u8]>), Stop> {
    let invalid = |_| stop(500, INVALID);
    Ok((
        args.int(0).map_err(invalid)?,
        args.text(1).map_err(invalid)?,
    ))
}

fn add(setup: &Setup, args: &Args) -> Changed {
    let (set, uri) = destination_of(args)?;
    let mut words = vec![set.to_string().into_bytes(), uri.into_owned()];
    // Flags, priority, attributes: each only behind the one before it.
    for at in 2..5 {
        match args
            .optional(at, Args::word)
            .map_err(|_| stop(500, INVALID))?
        {
            Some(word) => words.push(word.into_owned()),
            None => break,
        }
    }
    // A blank or a line end in a parameter would be more than one word of the line.
    let is_word = |w: &Vec<u8>| !w.iter().any(u8::is_ascii_whitespace);
    let sets = setup.config.dispatcher.sets.with(&words.join(&b' '), setup);
    let sets = sets.ok().filter(|_| words.iter().all(is_word));
    let sets = sets.ok_or_else(|| stop(500, "Adding dispatcher dst failed"))?;
    Ok(changed(setup, sets, "Ok. Dispatcher destination added."))
}

fn remove(setup: &Setup, args: &Args) -> Changed {
    let (set, uri) = destination_of(args)?;
    let sets = setup.config.dispatcher.sets.without(set, &uri);
    Ok(changed(setup, sets, "Ok. Dispatcher destination removed."))
}

fn changed(setup: &Setup, sets: Sets, said: &str) -> (Option<Setup>, Vec<Value>) {
    let mut changed = setup.clone();
    changed.config.dispatcher.sets = Arc::new(sets);
    (Some(changed), vec![Value::text(said)])
}

fn set_state_of_duid(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    set_state_where(env, args, |destination, name| {
        destination.attrs.duid.as_deref() == Some(name)
    })
}

fn set_state(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    set_state_where(env, args, |destination, name| *destination.uri == *name)
}

/// Sets the state of one destination of a set, or of all.
fn set_state_where(
    env: &mut Env<'_>,
    args: &Args,
    is_it: impl Fn(&Destination, &[u8]) -> bool,
) -> Part {
    let (Ok(letters), Ok(set), Ok(uri)) = (args.text(0), args.int(1), args.text(2)) else {
        return fault(500, INVALID);
    };
    let flags = match state_of(&letters) {
        Some(flags) if !letters.is_empty() => flags,
        Some(_) | None => return fault(500, "Unknown State Value"),
    };
    let sets = Arc::clone(env.state.dispatcher.sets());
    let places: Vec<usize> = match &*uri {
        b"all" => sets.set(set).unwrap_or_default().collect(),
        name => {
            let mut places = sets.set(set).unwrap_or_default();
            match places.find(|at| is_it(&sets.destinations()[*at], name)) {
                Some(place) => vec![place],
                None => return fault(500, "State Update Failed"),
            }
        }
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
        // What is no number says as much as nothing.
        Ok(None) | Err(_) => Part::whole(vec![Value::members([("OldPingState", Value::Int(old))])]),
        Ok(Some(new)) => {
            live.ping_active = new;
            Part::whole(vec![Value::members([
                ("NewPingState", Value::Int(new)),
                ("OldPingState", Value::Int(old)),
            ])])
        }
    }
}
