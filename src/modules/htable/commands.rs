//! `htable.*`: tables as operators see and change them.
//!
//! Every shard has the whole of every table, so the first one answers for all; what it changes it
//! tells the others, as it does when a script has changed it. Where the original shows slots of a
//! hash, here every item has a slot of its own.

use std::borrow::Cow;

use crate::effect::rpc::{Cursor, Fault, Part, Value};
use crate::modules::Setup;
use crate::modules::rpc::command::{
    Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop,
};
use crate::modules::rpc::{Args, Desk};
use crate::script::calendar::Moment;
use crate::steer::ShardId;

use super::{Definition, Env, Item, Life, Stored, assign, open, set_life, table, take};

/// What is to be assigned, and for how long.
type Wanted = (Stored, Option<u64>);

/// A command that assigns what `read` finds in its parameters.
macro_rules! setter {
    ($name:expr, $params:expr, $help:expr, $read:expr, $lacking:expr) => {
        one(
            $name,
            $params,
            $help,
            (
                |desk, args| {
                    let read: fn(&Args) -> Option<Wanted> = $read;
                    read(args).ok_or_else(|| stop(500, $lacking))?;
                    key_of(desk, args, $lacking).map(|_| ONE)
                },
                |env, args, _| set(env, args, $read),
            ),
        )
    };
}

/// The commands.
pub(super) const COMMANDS: [Command; 13] = [
    Command {
        name: "htable.listTables",
        help: "List all htables.",
        params: "",
        container: Container::Array,
        run: Run::Here(|desk, _| {
            // The one declared last comes first.
            let all = desk.setup.config.htable.tables.iter().rev();
            Ok(all.map(defined).collect())
        }),
    },
    sliced(
        "htable.dump",
        "TABLE",
        "Dump the contents of hash table.",
        (of_table, dump),
    ),
    Command {
        name: "htable.stats",
        help: "Statistics about htables.",
        params: "",
        container: Container::Array,
        run: asked(|_, _| Ok(ONE), stats),
    },
    one(
        "htable.get",
        "TABLE KEY",
        "Get one key from a hash table.",
        (|desk, args| key_of(desk, args, GET).map(|_| ONE), get),
    ),
    one(
        "htable.delete",
        "TABLE KEY",
        "Delete one key from a hash table.",
        (|desk, args| key_of(desk, args, DELETE).map(|_| ONE), delete),
    ),
    setter!(
        "htable.sets",
        "TABLE KEY TEXT",
        "Set one key in a hash table to a string value.",
        |args| Some((word_of(args)?, None)),
        SET
    ),
    setter!(
        "htable.seti",
        "TABLE KEY NUMBER",
        "Set one key in a hash table to an integer value.",
        |args| Some((number_of(args)?, None)),
        SET
    ),
    setter!(
        "htable.setxs",
        "TABLE KEY TEXT SECONDS",
        "Set one key in a hash table to a string value and its expire value.",
        |args| Some((word_of(args)?, Some(seconds(args, 3)?))),
        SETX
    ),
    setter!(
        "htable.setxi",
        "TABLE KEY NUMBER SECONDS",
        "Set one key in a hash table to an integer value and its expire value.",
        |args| Some((number_of(args)?, Some(seconds(args, 3)?))),
        SETX
    ),
    one(
        "htable.setex",
        "TABLE KEY SECONDS",
        "Set expire in a hash table for the item referenced by key.",
        (
            |desk, args| {
                seconds(args, 2).ok_or_else(|| stop(500, SETEX))?;
                key_of(desk, args, SETEX).map(|_| ONE)
            },
            set_expire,
        ),
    ),
    sliced(
        "htable.flush",
        "TABLE",
        "Flush hash table.",
        (of_table, flush),
    ),
    no_database("htable.reload", "Reload hash table from database."),
    no_database("htable.store", "Store hash table to database."),
];

const GET: &str = "Not enough parameters (htable name and key name)";
const DELETE: &str = "Not enough parameters (htable name & key name";
const SET: &str = "Not enough parameters (htable name, key name and value)";
const SETX: &str = "Not enough parameters (htable name, key name, value and expire)";
const SETEX: &str = "Not enough parameters (htable name, item name and expire)";
const NO_TABLE: &str = "No such htable";

/// Who answers for all.
const ONE: Whom = Whom::One(ShardId(0));

type WhomFn = fn(&Desk<'_>, &Args) -> Result<Whom, Stop>;
type PartFn = fn(&mut Env<'_>, &Args, Slice) -> Part;

const fn asked(whom: WhomFn, part: PartFn) -> Run {
    Run::Shards(Shards {
        whom,
        part,
        fold: Fold::List(|_| None),
    })
}

const fn sliced(
    name: &'static str,
    params: &'static str,
    help: &'static str,
    (whom, part): (WhomFn, PartFn),
) -> Command {
    Command {
        name,
        help,
        params,
        container: Container::Array,
        run: asked(whom, part),
    }
}

const fn one(
    name: &'static str,
    params: &'static str,
    help: &'static str,
    (whom, part): (WhomFn, PartFn),
) -> Command {
    Command {
        name,
        help,
        params,
        container: Container::Last,
        run: asked(whom, part),
    }
}

const fn no_database(name: &'static str, help: &'static str) -> Command {
    Command {
        name,
        help,
        params: "TABLE",
        container: Container::Last,
        run: Run::Here(|_, _| Err(stop(500, "No htable db_url"))),
    }
}

fn word_of(args: &Args) -> Option<Stored> {
    let has_fraction = matches!(args.all().get(2), Some(Value::Double(_)));
    let word = args.word(2).ok().filter(|_| !has_fraction)?;
    Some(Stored::Text(word.as_ref().into()))
}

fn number_of(args: &Args) -> Option<Stored> {
    args.int(2).ok().map(Stored::Int)
}

fn seconds(args: &Args, index: usize) -> Option<u64> {
    u64::try_from(args.int(index).ok()?).ok()
}

fn declared(setup: &Setup, name: &[u8]) -> Result<(), Stop> {
    let found = setup.config.htable.table(name);
    found.map(drop).ok_or_else(|| stop(500, NO_TABLE))
}

fn of_table(desk: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    let name = args.text(0);
    let name = name.map_err(|_| stop(500, "No htable name given"))?;
    declared(desk.setup, &name)?;
    Ok(ONE)
}

/// Name of a table and key, both there.
fn key_of<'a>(
    desk: &Desk<'_>,
    args: &'a Args,
    lacking: &'static str,
) -> Result<Cow<'a, [u8]>, Stop> {
    let (Ok(name), Ok(key)) = (args.text(0), args.text(1)) else {
        return Err(stop(500, lacking));
    };
    declared(desk.setup, &name)?;
    Ok(key)
}

fn fault(code: i32, text: &'static str) -> Part {
    Part {
        values: Err(Fault::new(code, text)),
        next: None,
    }
}

fn said(text: &str) -> Part {
    Part::whole(vec![Value::text(text)])
}

/// The table that the first parameter names, and how its items live.
fn opened(env: &mut Env<'_>, args: &Args) -> Option<(u16, Life)> {
    let (at, definition) = open(env.state, &args.text(0).ok()?)?;
    Some((at, Life::of(definition)))
}

fn defined(table: &Definition) -> Value {
    let seconds = table.autoexpire.map_or(0, |t| t.as_millis() / 1_000);
    Value::members([
        ("name", Value::text(&*table.name)),
        ("dbtable", Value::text("")),
        ("dbmode", Value::Int(0)),
        ("expire", Value::count(seconds)),
        ("updateexpire", Value::Int(table.updateexpire.into())),
        ("size", Value::Int(table.size)),
        ("dmqreplicate", Value::Int(0)),
    ])
}

fn shown(value: &Stored) -> (Value, &'static str) {
    match value {
        Stored::Int(n) => (Value::Int(*n), "int"),
        Stored::Text(text) => (Value::text(text), "str"),
    }
}

fn dump(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    let Some((at, _)) = opened(env, args) else {
        return fault(500, NO_TABLE);
    };
    let mut values = Vec::new();
    let (items, next) = table(env.state, at).window(wanted.place(), wanted.place_count());
    for (place, item) in items {
        if values.len() == wanted.item_count {
            return Part {
                values: Ok(values),
                next: Some(Cursor(place as u64)),
            };
        }
        let (value, kind) = shown(&item.value);
        let item = Value::members([
            ("name", Value::text(&item.key)),
            ("value", value),
            ("type", Value::text(kind)),
        ]);
        values.push(Value::members([
            ("entry", Value::count(place as u64)),
            ("size", Value::Int(1)),
            ("slot", Value::Array(vec![item])),
        ]));
    }
    Part {
        values: Ok(values),
        next: next.map(|place| Cursor(place as u64)),
    }
}

fn stats(env: &mut Env<'_>, _: &Args, _: Slice) -> Part {
    let setup = std::sync::Arc::clone(&env.state.setup);
    let row = |definition: &Definition| {
        let found = open(env.state, definition.name.as_bytes()).map(|(at, _)| at);
        let count = found.map_or(0, |at| table(env.state, at).len()) as u64;
        Value::members([
            ("name", Value::text(&*definition.name)),
            ("slots", Value::count(count)),
            ("all", Value::count(count)),
            ("min", Value::count(count.min(1))),
            ("max", Value::count(count.min(1))),
        ])
    };
    Part::whole(setup.config.htable.tables.iter().rev().map(row).collect())
}

fn get(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let found = opened(env, args).and_then(|(at, _)| {
        let key = args.text(1).ok()?;
        table(env.state, at).find(&key)
    });
    match found {
        Some(item) => Part::whole(vec![Value::members([("item", described(env, item))])]),
        None => fault(500, "Key name doesn't exist in htable."),
    }
}

fn described(env: &Env<'_>, item: &Item) -> Value {
    /// What the original calls a value that is text.
    const TEXT: i64 = 2;
    let (value, kind) = shown(&item.value);
    let end = item.end.as_ref().map_or_else(
        || b"NEVER".to_vec(),
        |(end, _)| {
            let at =
                env.now.wall.as_secs() as i64 + end.since(env.now.mono).as_millis() as i64 / 1_000;
            let mut text = vec![];
            Moment::of(at, &env.state.setup.config.zone).format(b"%Y-%m-%d %H:%M:%S", &mut text);
            text
        },
    );
    Value::members([
        ("name", Value::text(&item.key)),
        ("value", value),
        ("flags", Value::Int(if kind == "str" { TEXT } else { 0 })),
        ("expire", Value::text(end)),
    ])
}

fn set(env: &mut Env<'_>, args: &Args, read: fn(&Args) -> Option<Wanted>) -> Part {
    let (Some((at, life)), Ok(key), Some((value, expire))) =
        (opened(env, args), args.text(1), read(args))
    else {
        return fault(500, NO_TABLE);
    };
    if !assign(env, (at, life), &key, value) {
        return fault(500, "The table is full");
    }
    if let (Some(seconds), Some(place)) = (expire, table(env.state, at).place(&key)) {
        set_life(env, at, place, seconds);
    }
    said("Ok. Key set to new value.")
}

fn set_expire(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let found = opened(env, args).zip(args.text(1).ok());
    let place = found.and_then(|((at, _), key)| Some((at, table(env.state, at).place(&key)?)));
    // A key that is not there is no mistake to the original.
    if let Some(((at, place), seconds)) = place.zip(seconds(args, 2)) {
        set_life(env, at, place, seconds);
    }
    said("Ok")
}

fn delete(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let found = opened(env, args).zip(args.text(1).ok());
    let place = found.and_then(|((at, _), key)| Some((at, table(env.state, at).place(&key)?)));
    match place.and_then(|(at, place)| take(env, at, place)) {
        Some(_) => said("Ok. Key deleted."),
        None => fault(404, "Key not found in htable."),
    }
}

/// Removes the items of one slice; the last one says so.
fn flush(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    let Some((at, _)) = opened(env, args) else {
        return fault(500, NO_TABLE);
    };
    let (items, next) = table(env.state, at).window(wanted.place(), wanted.item_count);
    let keys: Vec<_> = items.map(|(_, item)| item.key.clone()).collect();
    for key in keys {
        let place = table(env.state, at).place(&key);
        place.and_then(|place| take(env, at, place));
    }
    match next {
        None => said("Ok. Htable flushed."),
        Some(place) => Part {
            values: Ok(Vec::new()),
            next: Some(Cursor(place as u64)),
        },
    }
}
