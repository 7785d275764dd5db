//! `core.call`: what one core knows of one call.
//!
//! The answer is a list of structures, each with what it shows in `what`: `dialog`, as the listings
//! show it and with its timers and flows; `event`, what is left of the call in the core's
//! [journal](crate::modules::journal); `transaction`, with its branches. Transactions are not
//! indexed by Call-ID, so they are looked for slice by slice.

use crate::effect::Flow;
use crate::effect::rpc::{Cursor, Fault, Name, Part, Value};
use crate::modules::dialog::listing;
use crate::modules::dialog::table::Dialog;
use crate::modules::journal::{Entry, Line, What};
use crate::modules::tm::{Branch, Transaction};
use crate::modules::{Env, State};
use crate::steer;
use crate::time::Instant;

use super::args::Args;
use super::command::{Command, Container, Fold, Run, Shards, Slice, Whom};
use super::{dlg, tm};

/// The command.
pub const CALL: [Command; 1] = [Command {
    name: "core.call",
    help: "What is known of a call: dialogs, transactions, the last events.",
    params: "CALLID",
    container: Container::Array,
    run: Run::Shards(Shards {
        whom: |desk, args| {
            let call_id = args.word(0)?;
            Ok(Whom::One(steer::owner(&call_id, desk.setup.shard_count)))
        },
        part,
        fold: Fold::ListOr(|_| None, || Fault::new(404, "Call not found")),
    }),
}];

fn part(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    let Ok(call_id) = args.word(0) else {
        return Part::whole(Vec::new());
    };
    let mut values = Vec::new();
    if wanted.cursor == Cursor::default() {
        let dialogs = env.state.dialogs.table.of_call(&call_id);
        values.extend(dialogs.map(|(_, d)| dialog(env, d)));
        values.extend(env.state.journal.of_call(&call_id).map(event));
    }
    let (found, next) = env.state.tm.window(wanted.place(), wanted.place_count());
    let of_call = found.filter(|(_, _, t)| t.request.call_id() == &*call_id);
    values.extend(of_call.map(|(_, key, t)| {
        let shown = tm::shown(env.state, key, t);
        with(shown, "transaction", transaction(env, t))
    }));
    Part {
        values: Ok(values),
        next: next.map(|place| Cursor(place as u64)),
    }
}

/// A structure with its kind in front and more members behind.
fn with(shown: Value, what: &'static str, more: Vec<(&'static str, Value)>) -> Value {
    let named = |(name, value): (&'static str, Value)| (Name::Borrowed(name.as_bytes()), value);
    let mut members = vec![named(("what", Value::text(what)))];
    if let Value::Struct(shown) = shown {
        members.extend(shown);
    }
    members.extend(more.into_iter().map(named));
    Value::Struct(members)
}

fn dialog(env: &Env<'_>, d: &Dialog) -> Value {
    let seconds = |at: Option<Instant>| match at {
        Some(at) => Value::count(at.since(env.now.mono).as_millis() / 1_000),
        None => Value::Null,
    };
    let timers = [
        ("life_over_in", seconds(d.expires)),
        ("state_over_in", seconds(d.limit)),
    ];
    let flows = [
        ("caller", flow(env.state, d.caller.flow)),
        ("callee", flow(env.state, d.callee.flow)),
    ];
    let more = vec![
        ("state_name", Value::text(format!("{:?}", d.state()))),
        ("core", Value::Int(env.state.id.0.into())),
        ("timers", Value::members(timers)),
        ("flows", Value::members(flows)),
    ];
    with(dlg::dialog(&listing::view(env, d)), "dialog", more)
}

/// Where a side is reached: transport, address, and the connection on streams.
fn flow(state: &State, flow: Option<Flow>) -> Value {
    let Some(flow) = flow else {
        return Value::Null;
    };
    let conn = flow.conn.map(|conn| format!("{}.{}", conn.core, conn.key));
    Value::members([
        (
            "remote",
            Value::text(format!("{}:{}", flow.proto, flow.remote)),
        ),
        (
            "local",
            Value::text(state.setup.address(flow.socket).to_string()),
        ),
        ("connection", conn.map_or(Value::Null, Value::text)),
    ])
}

fn transaction(env: &Env<'_>, t: &Transaction) -> Vec<(&'static str, Value)> {
    let branch = |b: &Branch| {
        Value::members([
            ("state", Value::text(format!("{:?}", b.state))),
            ("status", Value::Int(b.status.into())),
            ("to", Value::text(format!("{}:{}", b.to.proto, b.to.remote))),
        ])
    };
    let side = if t.local.is_some() {
        "client"
    } else {
        "server"
    };
    vec![
        ("side", Value::text(side)),
        ("state", Value::text(format!("{:?}", t.server))),
        ("flow", flow(env.state, Some(t.flow))),
        (
            "branches",
            Value::Array(t.branches.iter().map(branch).collect()),
        ),
    ]
}

fn event(entry: &Entry) -> Value {
    let (event, text, peer) = match entry.what {
        What::Received(line, proto, from) => {
            ("received", first_line(line), format!("{proto}:{from}"))
        }
        What::Sent(line, proto, to) => ("sent", first_line(line), format!("{proto}:{to}")),
        What::Dialog(h_id, from, to) => {
            let text = format!("{from:?} to {to:?}");
            ("dialog", text, format!("h_id {h_id}"))
        }
    };
    let time = format!("{}.{:06}", entry.at / 1_000_000, entry.at % 1_000_000);
    Value::members([
        ("what", Value::text("event")),
        ("time", Value::text(time)),
        ("event", Value::text(event)),
        ("message", Value::text(text)),
        ("peer", Value::text(peer)),
    ])
}

fn first_line(line: Line) -> String {
    match line {
        Line::Request(method) => method.name().to_owned(),
        Line::Response(status, method) => format!("{status} {}", method.name()),
    }
}
