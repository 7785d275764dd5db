//! `tm.*`, `sl.*`: transactions and stateless replies, counted and listed; and the statistics of
//! `sl` and `tmx`.

use crate::effect::rpc::{Cursor, Part, Value};
use crate::limits::RPC_LOOKS_PER_ITEM;
use crate::modules::tm::server::State as Server;
use crate::modules::tm::{Transaction, script_identity};
use crate::modules::{Env, State};
use crate::sip::{HeaderName, Message};
use crate::slab::Key;

use super::command::{Command, Container, Fold, Run, Shards, Slice, Whom};
use super::statistic::{Statistic, counter, gauge};

/// The commands of `tm`.
pub const TM: [Command; 2] = [
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
];

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
fn stats(env: &mut Env<'_>, _: &super::Args, wanted: Slice) -> Part {
    let (waiting, next) = waiting(env.state, wanted);
    let is_first = wanted.cursor == Cursor::default();
    let once = |n: u64| Value::count(if is_first { n } else { 0 });
    let (held, c) = (env.state.tm.len() as u64, &env.state.counters);
    let generated: u64 = c.replies.iter().sum();
    let class = |n: usize| once(c.final_replies[n]);
    let members = [
        ("current", once(held)),
        ("waiting", Value::count(waiting)),
        ("total", once(c.transactions)),
        // Every transaction here belongs to a request that came in.
        ("total_local", once(0)),
        ("rpl_received", once(received(env.state))),
        ("rpl_generated", once(generated)),
        ("rpl_sent", once(generated + c.responses_relayed)),
        ("6xx", class(6)),
        ("5xx", class(5)),
        ("4xx", class(4)),
        ("3xx", class(3)),
        ("2xx", class(2)),
        ("created", once(c.transactions)),
        ("freed", once(c.transactions.saturating_sub(held))),
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
    for (n, (place, _, t)) in state.tm.iter_from(wanted.cursor.0 as usize).enumerate() {
        if n == RPC_LOOKS_PER_ITEM * wanted.item_count {
            return (count, Some(Cursor(place as u64)));
        }
        count += u64::from(is_waiting(t.server));
    }
    (count, None)
}

const fn is_waiting(server: Server) -> bool {
    match server {
        Server::Trying | Server::Proceeding => false,
        Server::Completed | Server::Confirmed | Server::Accepted | Server::Terminated => true,
    }
}

fn list(env: &mut Env<'_>, _: &super::Args, wanted: Slice) -> Part {
    let mut values = Vec::new();
    for (place, key, t) in env.state.tm.iter_from(wanted.cursor.0 as usize) {
        if values.len() == wanted.item_count {
            return Part {
                values: Ok(values),
                next: Some(Cursor(place as u64)),
            };
        }
        values.push(shown(env.state, key, t));
    }
    Part::whole(values)
}

fn shown(state: &State, key: Key, t: &Transaction) -> Value {
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
        ("cseq", line(HeaderName::CSeq)),
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

/// The statistics of `sl`.
pub const SL_STATISTICS: [Statistic; 9] = [
    counter("sl", "1xx_replies", |s| s.counters.stateless_replies[1]),
    counter("sl", "2xx_replies", |s| s.counters.stateless_replies[2]),
    counter("sl", "3xx_replies", |s| s.counters.stateless_replies[3]),
    counter("sl", "4xx_replies", |s| s.counters.stateless_replies[4]),
    counter("sl", "5xx_replies", |s| s.counters.stateless_replies[5]),
    counter("sl", "6xx_replies", |s| s.counters.stateless_replies[6]),
    counter("sl", "sent_replies", |s| {
        s.counters.stateless_replies.iter().sum()
    }),
    counter("sl", "sent_err_replies", |s| {
        s.counters.stateless_replies[3..].iter().sum()
    }),
    counter("sl", "received_ACKs", |s| s.counters.stateless_acks),
];

/// The statistics of `tmx`.
pub const TMX_STATISTICS: [Statistic; 12] = [
    counter("tmx", "2xx_transactions", |s| s.counters.final_replies[2]),
    counter("tmx", "3xx_transactions", |s| s.counters.final_replies[3]),
    counter("tmx", "4xx_transactions", |s| s.counters.final_replies[4]),
    counter("tmx", "5xx_transactions", |s| s.counters.final_replies[5]),
    counter("tmx", "6xx_transactions", |s| s.counters.final_replies[6]),
    counter("tmx", "UAS_transactions", |s| s.counters.transactions),
    gauge("tmx", "inuse_transactions", |s| s.tm.len() as u64),
    counter("tmx", "rpl_received", received),
    counter("tmx", "rpl_relayed", |s| s.counters.responses_relayed),
    counter("tmx", "rpl_generated", |s| s.counters.replies.iter().sum()),
    counter("tmx", "rpl_sent", |s| {
        s.counters.replies.iter().sum::<u64>() + s.counters.responses_relayed
    }),
    counter("tmx", "rpl_absorbed", |s| s.counters.responses_absorbed()),
];
