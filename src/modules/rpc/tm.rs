//! `tm.*`, `sl.*`: transactions and stateless replies, counted, listed and cancelled.

use std::borrow::Cow;

use crate::effect::rpc::{Cursor, Fault, Part, Value};
use crate::modules::tm::server::State as Server;
use crate::modules::tm::{Transaction, script_identity, upstream};
use crate::modules::{Env, State};
use crate::sip::{HeaderName, Message};
use crate::slab::Key;
use crate::steer;

use super::args::Args;
use super::command::{Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop};

/// The commands of `tm`.
pub const TM: [Command; 3] = [
    Command {
        name: "tm.stats",
        help: "Print transaction statistics.",
        params: "",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: |_, _| Ok(Whom::All),
            part: stats,
            fold: Fold::Sum,
        }),
    },
    Command {
        name: "tm.list",
        help: "List transactions.",
        params: "",
        container: Container::Array,
        run: Run::Shards(Shards {
            whom: |_, _| Ok(Whom::All),
            part: list,
            fold: Fold::List(|_| None),
        }),
    },
    Command {
        name: "tm.cancel",
        help: "Cancel a pending transaction.",
        params: "CALLID CSEQ",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: |desk, args| {
                let [call_id, _] = named(args)?;
                Ok(Whom::One(steer::owner(&call_id, desk.setup.shard_count)))
            },
            part: cancel,
            fold: Fold::List(|_| None),
        }),
    },
];

/// Call-ID and CSeq of a transaction.
fn named(args: &Args) -> Result<[Cow<'_, [u8]>; 2], Stop> {
    let lacking = |_| stop(400, "Callid and CSeq expected as parameters");
    Ok([
        args.text(0).map_err(lacking)?,
        args.text(1).map_err(lacking)?,
    ])
}

/// Looks for the INVITE slice by slice: transactions are not indexed by what an operator knows.
fn cancel(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    let Ok([call_id, cseq]) = named(args) else {
        return Part::whole(Vec::new());
    };
    let (found, next) = looked_for(env.state, wanted, (&call_id, &cseq));
    match (found, next) {
        (Some(key), _) => {
            if let Some(t) = env.state.tm.get_mut(key) {
                t.is_cancelled = true;
            }
            upstream::cancel(env, key);
            let pending = env.state.tm.get(key).map_or(0, pending);
            Part::whole(match pending {
                0 => Vec::new(),
                n => vec![
                    Value::count(n),
                    Value::text("branches remaining (waiting for timeout)"),
                ],
            })
        }
        (None, Some(_)) => Part {
            values: Ok(Vec::new()),
            next,
        },
        (None, None) => Part {
            values: Err(Fault::new(400, "Transaction not found")),
            next: None,
        },
    }
}

/// Branches that still owe a final response.
fn pending(t: &Transaction) -> u64 {
    t.branches.iter().filter(|b| b.state.is_pending()).count() as u64
}

/// A pending INVITE of this Call-ID and CSeq: its number, or number and method.
fn looked_for(
    state: &State,
    wanted: Slice,
    (call_id, cseq): (&[u8], &[u8]),
) -> (Option<Key>, Option<Cursor>) {
    let (number, method) = match cseq.iter().position(|b| *b == b' ') {
        Some(at) => (&cseq[..at], cseq[at..].trim_ascii()),
        None => (cseq, &b"INVITE"[..]),
    };
    let number: Option<u32> = std::str::from_utf8(number)
        .ok()
        .and_then(|n| n.parse().ok());
    let is_it = |t: &Transaction| {
        t.is_invite
            && !t.is_cancelled
            && !is_waiting(t.server)
            && t.request.call_id() == call_id
            && t.request.method_name() == method
            && Some(t.request.cseq().number) == number
    };
    let (mut found, next) = state.tm.window(wanted.place(), wanted.place_count());
    let key = found.find(|(_, _, t)| is_it(t)).map(|(_, key, _)| key);
    (key, next.map(|place| Cursor(place as u64)))
}

/// The commands of `sl`.
pub const SL: [Command; 1] = [Command {
    name: "sl.stats",
    help: "Print reply statistics.",
    params: "",
    container: Container::Last,
    run: Run::Shards(Shards {
        whom: |_, _| Ok(Whom::All),
        part: |env, _, _| {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"]
                .into_iter()
                .enumerate();
            let replies = env.state.counters.stateless_replies;
            let count = |(n, name)| (name, Value::count(replies[n + 1]));
            Part::whole(vec![Value::members(classes.map(count))])
        },
        fold: Fold::Sum,
    }),
}];

/// The first slice says what is counted; each says how many of those it looked at only wait.
fn stats(env: &mut Env<'_>, _: &Args, wanted: Slice) -> Part {
    let (waiting, next) = waiting(env.state, wanted);
    let is_first = wanted.cursor == Cursor::default();
    let once = |n: u64| Value::count(if is_first { n } else { 0 });
    let (held, c) = (env.state.tm.len() as u64, &env.state.counters);
    let generated: u64 = c.replies.iter().sum();
    let created = c.transactions + c.local_requests;
    let class = |n: usize| once(c.final_replies[n]);
    let members = [
        ("current", once(held)),
        ("waiting", Value::count(waiting)),
        ("total", once(created)),
        ("total_local", once(c.local_requests)),
        ("rpl_received", once(received(env.state))),
        ("rpl_generated", once(generated)),
        ("rpl_sent", once(generated + c.responses_relayed)),
        ("6xx", class(6)),
        ("5xx", class(5)),
        ("4xx", class(4)),
        ("3xx", class(3)),
        ("2xx", class(2)),
        ("created", once(created)),
        ("freed", once(created.saturating_sub(held))),
        ("delayed_free", once(0)),
    ];
    Part {
        values: Ok(vec![Value::members(members)]),
        next,
    }
}

fn received(state: &State) -> u64 {
    state.counters.responses.iter().flatten().sum()
}

/// How many of the next transactions only absorb what is late.
fn waiting(state: &State, wanted: Slice) -> (u64, Option<Cursor>) {
    let mut count = 0;
    let (found, next) = state.tm.window(wanted.place(), wanted.place_count());
    for (_, _, t) in found {
        count += u64::from(is_waiting(t.server));
    }
    (count, next.map(|place| Cursor(place as u64)))
}

const fn is_waiting(server: Server) -> bool {
    match server {
        Server::Trying | Server::Proceeding => false,
        Server::Completed | Server::Confirmed | Server::Accepted | Server::Terminated => true,
    }
}

fn list(env: &mut Env<'_>, _: &Args, wanted: Slice) -> Part {
    let mut values = Vec::new();
    let (found, next) = env.state.tm.window(wanted.place(), wanted.place_count());
    for (place, key, t) in found {
        if values.len() == wanted.item_count {
            return Part {
                values: Ok(values),
                next: Some(Cursor(place as u64)),
            };
        }
        values.push(shown(env.state, key, t));
    }
    Part {
        values: Ok(values),
        next: next.map(|place| Cursor(place as u64)),
    }
}

pub(super) fn shown(state: &State, key: Key, t: &Transaction) -> Value {
    let last = line(&t.request, HeaderName::CSeq);
    let line = |name| Value::text(line(&t.request, name));
    let (index, label) = script_identity(state, key);
    let config = &state.setup.config.tm;
    let lifetime = if t.is_invite {
        config.max_inv_lifetime
    } else {
        config.max_noninv_lifetime
    };
    Value::members([
        ("cell", Value::text(format!("{:#x}", key.to_u64()))),
        ("tindex", Value::Int(index)),
        ("tlabel", Value::Int(label)),
        ("method", Value::text(t.request.method_name())),
        ("from", line(HeaderName::From)),
        ("to", line(HeaderName::To)),
        ("callid", line(HeaderName::CallId)),
        // Of this one the original shows no line end.
        ("cseq", Value::text(last.trim_ascii_end())),
        ("uas_request", Value::text("yes")),
        ("tflags", Value::Int(t.saved.flags.into())),
        ("outgoings", Value::count(t.branches.len() as u64)),
        ("ref_count", Value::Int(1)),
        ("lifetime", Value::count(lifetime.as_millis() / 1_000)),
    ])
}

/// A header field as it came in, line end included.
fn line(request: &Message, name: HeaderName) -> &[u8] {
    request
        .first(name)
        .map_or(b"", |header| header.line.of(request.bytes()))
}
