//! `htable`: tables of keys and values that scripts share.
//!
//! Each shard has the whole of every table, so that reading never waits. What a script changes is
//! seen by itself at once and by the other shards as soon as the news has reached them: of two
//! assignments the later one stays, what is added is added everywhere. Expiry is exact, by the
//! timer wheel. Databases and replication to other servers are not done yet.

mod access;
mod commands;
mod function;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::effect::{Effect, ItemChange, ItemNews, PeerMessage};
use crate::script::{ParamType, Setting};
use crate::slab::Key;
use crate::steer::ShardId;
use crate::time::Duration;
use crate::timer::{Item as ItemTimer, Timer};

use super::entry::{param, planned_param};
use super::pv::Stored;
use super::state::Env;
use super::{Config as AllConfig, EMPTY, Module, Param, ParamError, State};

pub use table::{Item, Table};

/// The module's table.
pub const MODULE: Module = Module {
    name: "htable",
    doc: "Tables of the script, of all cores.",
    functions: &function::FUNCTIONS,
    variables: &access::VARIABLES,
    params: &PARAMS,
    commands: &commands::COMMANDS,
    ..EMPTY
};

/// What the configuration says of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Its name.
    pub name: Box<str>,
    /// Slots that the original would have; only shown.
    pub size: i64,
    /// How long an item lives; `None`: until it is removed.
    pub autoexpire: Option<Duration>,
    /// What an absent key reads.
    pub initval: Option<i64>,
    /// Whether assigning an item again begins its life anew.
    pub updateexpire: bool,
}

/// Parameters of `htable`.
#[derive(Clone, Default, Debug)]
pub struct Config {
    /// The tables.
    pub tables: Vec<Definition>,
}

impl Config {
    /// The table with this name.
    pub fn table(&self, name: &[u8]) -> Option<&Definition> {
        self.tables.iter().find(|t| t.name.as_bytes() == name)
    }
}

const PARAMS: [Param; 13] = [
    param(
        "htable",
        ParamType::Str,
        "",
        (
            define,
            "A table: name=>size=8;autoexpire=300;initval=0;updateexpire=1.",
        ),
    ),
    planned_param("db_url", ParamType::Str, "", "The database."),
    planned_param("key_name_column", ParamType::Str, "key_name", "A column."),
    planned_param("key_type_column", ParamType::Str, "key_type", "A column."),
    planned_param(
        "value_type_column",
        ParamType::Str,
        "value_type",
        "A column.",
    ),
    planned_param("key_value_column", ParamType::Str, "key_value", "A column."),
    planned_param("expires_column", ParamType::Str, "expires", "A column."),
    planned_param(
        "array_size_suffix",
        ParamType::Str,
        "::size",
        "The name of an array's size.",
    ),
    planned_param("fetch_rows", ParamType::Int, "100", "Rows read at once."),
    param(
        "timer_interval",
        ParamType::Int,
        "20",
        (
            |_, _| Ok(()),
            "No effect: an item goes when its time has come.",
        ),
    ),
    param(
        "timer_procs",
        ParamType::Int,
        "0",
        (|_, _| Ok(()), "No effect: every core has its own timers."),
    ),
    planned_param(
        "db_expires",
        ParamType::Int,
        "0",
        "Whether lifetimes are stored.",
    ),
    planned_param(
        "enable_dmq",
        ParamType::Int,
        "0",
        "Whether tables are replicated.",
    ),
];

/// `name=>attribute=value;...`.
fn define(config: &mut AllConfig, setting: &Setting) -> Result<(), ParamError> {
    const WANTED: ParamError = ParamError("name=>attribute=value;..");
    let text = setting.text().and_then(|t| std::str::from_utf8(t).ok());
    let text = text.ok_or(WANTED)?.trim();
    let (name, attributes) = text.split_once("=>").ok_or(WANTED)?;
    let mut definition = Definition {
        name: name.trim().into(),
        size: 256,
        autoexpire: None,
        initval: None,
        updateexpire: true,
    };
    if definition.name.is_empty() {
        return Err(WANTED);
    }
    let pairs = attributes.split(';').map(str::trim);
    for pair in pairs.filter(|p| !p.is_empty()) {
        let (attribute, value) = pair.split_once('=').ok_or(WANTED)?;
        let note = definition.set(attribute.trim(), value.trim())?;
        config.notes.extend(note);
    }
    config.htable.tables.push(definition);
    Ok(())
}

impl Definition {
    /// Sets one attribute. Gives its name when it is known and has no effect yet.
    fn set(&mut self, attribute: &str, value: &str) -> Result<Option<&'static str>, ParamError> {
        let number = || {
            value
                .parse::<i64>()
                .map_err(|_| ParamError("a number behind the attribute"))
        };
        match attribute {
            "autoexpire" => {
                let seconds = u64::try_from(number()?).unwrap_or(0);
                self.autoexpire = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "initval" => self.initval = Some(number()?),
            "updateexpire" => self.updateexpire = number()? != 0,
            "size" => self.size = 1 << number()?.clamp(2, 31),
            "dbtable" => return Ok((!value.is_empty()).then_some("dbtable")),
            "dbmode" => return Ok((number()? != 0).then_some("dbmode")),
            "dmqreplicate" => return Ok((number()? != 0).then_some("dmqreplicate")),
            "cols" | "coldelim" | "colnull" => return Ok(Some("cols")),
            _ => {
                return Err(ParamError(
                    "an attribute: size, autoexpire, initval, updateexpire",
                ));
            }
        }
        Ok(None)
    }
}

/// The tables of one shard, and the walks through them.
#[derive(Debug, Default)]
pub struct Tables {
    /// In the order of first use; a table stays in its place.
    list: Vec<(Box<str>, Table)>,
    /// `sht_iterator_start`: the table, and the key that the walk is at.
    walks: BTreeMap<Box<[u8]>, Walk>,
    /// The item that an `event_route[htable:expired:..]` is about.
    expired: Option<(Box<[u8]>, Stored)>,
    /// How many items have a timer.
    timer_count: usize,
}

#[derive(Debug)]
struct Walk {
    table: u16,
    at: Option<Box<[u8]>>,
}

impl Tables {
    /// How many timers are armed for items.
    pub fn timer_count(&self) -> usize {
        self.timer_count
    }

    /// The item that has just expired, while its event route runs.
    pub fn set_expired(&mut self, item: Option<(Box<[u8]>, Stored)>) {
        self.expired = item;
    }
}

/// A table that is declared: its place among this shard's, and what the configuration says.
fn open<'a>(state: &'a mut State, name: &[u8]) -> Option<(u16, &'a Definition)> {
    let definition = state.setup.config.htable.table(name)?;
    let tables = &mut state.stores.tables.list;
    let at = match tables.iter().position(|(n, _)| n.as_bytes() == name) {
        Some(at) => at,
        None => {
            tables.push((definition.name.clone(), Table::default()));
            tables.len() - 1
        }
    };
    Some((u16::try_from(at).ok()?, definition))
}

fn table(state: &State, at: u16) -> &Table {
    &state.stores.tables.list[usize::from(at)].1
}

fn table_mut(state: &mut State, at: u16) -> &mut Table {
    &mut state.stores.tables.list[usize::from(at)].1
}

/// Assigns a key and tells the other shards; false: the table is full.
fn assign(env: &mut Env<'_>, (at, life): (u16, Life), key: &[u8], value: Stored) -> bool {
    let change = change_of(&value);
    let stamp = (env.now.wall.as_micros(), env.state.id.0);
    let is_put = put(env, (at, life, stamp), key, value);
    if is_put {
        tell(env, at, key, change);
    }
    is_put
}

fn change_of(value: &Stored) -> ItemChange {
    match value {
        Stored::Int(n) => ItemChange::Number(*n),
        Stored::Text(text) => ItemChange::Text(text.clone()),
    }
}

/// Adds to a number, which is `initval` at first, and tells the other shards. `None`: it is none.
fn add(env: &mut Env<'_>, (at, life): (u16, Life), key: &[u8], by: i64) -> Option<i64> {
    let new = put_sum(env, (at, life), key, by)?;
    tell(env, at, key, ItemChange::Add(by));
    Some(new)
}

fn put_sum(env: &mut Env<'_>, (at, life): (u16, Life), key: &[u8], by: i64) -> Option<i64> {
    let found = table(env.state, at).find(key);
    let (old, stamp) = match found.map(|item| (&item.value, item.stamp)) {
        Some((Stored::Int(n), stamp)) => (*n, stamp),
        Some((Stored::Text(_), _)) => return None,
        None => (life.initval?, (0, 0)),
    };
    let new = old.wrapping_add(by);
    put(env, (at, life, stamp), key, Stored::Int(new)).then_some(new)
}

/// Tells the other shards what has become of an item.
fn tell(env: &mut Env<'_>, at: u16, key: &[u8], change: ItemChange) {
    let (own, count) = (env.state.id, env.state.setup.shard_count);
    if count < 2 {
        return;
    }
    let news = Arc::new(ItemNews {
        table: env.state.stores.tables.list[usize::from(at)].0.clone(),
        key: key.into(),
        at: env.now.wall.as_micros(),
        change,
    });
    for shard in (0..count).map(ShardId).filter(|shard| *shard != own) {
        let message = PeerMessage::Item(Arc::clone(&news));
        env.out.push(Effect::Peer(shard, message));
    }
}

/// Another shard has changed an item.
pub fn heard(env: &mut Env<'_>, from: ShardId, news: &ItemNews) {
    let Some((at, definition)) = open(env.state, news.table.as_bytes()) else {
        return;
    };
    let life = Life::of(definition);
    let stamp = (news.at, from.0);
    let found = table(env.state, at).find(&news.key);
    let is_late = found.is_some_and(|item| item.stamp > stamp);
    let place = table(env.state, at).place(&news.key);
    match (&news.change, place) {
        (ItemChange::Number(_) | ItemChange::Text(_), _) if is_late => {}
        (ItemChange::Number(n), _) => {
            put(env, (at, life, stamp), &news.key, Stored::Int(*n));
        }
        (ItemChange::Text(text), _) => {
            put(
                env,
                (at, life, stamp),
                &news.key,
                Stored::Text(text.clone()),
            );
        }
        (ItemChange::Add(by), _) => {
            put_sum(env, (at, life), &news.key, *by);
        }
        (ItemChange::Live(seconds), Some(place)) => live(env, at, place, length(*seconds)),
        (ItemChange::Remove, Some(place)) => {
            drop_item(env, at, place);
        }
        (ItemChange::Live(_) | ItemChange::Remove, None) => {}
    }
}

fn length(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Puts a value under a key; false: the table is full.
fn put(
    env: &mut Env<'_>,
    (at, life, stamp): (u16, Life, (u64, u16)),
    key: &[u8],
    value: Stored,
) -> bool {
    let table = table_mut(env.state, at);
    let (place, is_new) = match table.place(key) {
        Some(place) => (place, false),
        None => match table.insert(key, value.clone()) {
            Some(place) => (place, true),
            None => return false,
        },
    };
    if let Some(item) = table.get_mut(place) {
        item.value = value;
        item.stamp = stamp;
    }
    if is_new || life.is_renewed {
        live(env, at, place, life.length);
    }
    true
}

/// How long an item lives, and whether assigning it again begins that anew.
#[derive(Clone, Copy)]
struct Life {
    length: Option<Duration>,
    is_renewed: bool,
    /// What a number is before it is first added to.
    initval: Option<i64>,
}

impl Life {
    fn of(definition: &Definition) -> Life {
        Life {
            length: definition.autoexpire,
            is_renewed: definition.updateexpire,
            initval: definition.initval,
        }
    }
}

/// Sets how long an item lives from now on.
fn live(env: &mut Env<'_>, at: u16, place: Key, length: Option<Duration>) {
    let old = table_mut(env.state, at)
        .get_mut(place)
        .and_then(|item| item.end.take());
    if let Some((_, timer)) = old {
        env.stop(Some(timer));
        env.state.stores.tables.timer_count -= 1;
    }
    let Some(length) = length else { return };
    let timer = env.start(length, Timer::Item(ItemTimer { table: at, place }));
    env.state.stores.tables.timer_count += 1;
    let end = env.now.mono + length;
    if let Some(item) = table_mut(env.state, at).get_mut(place) {
        item.end = Some((end, timer));
    }
}

/// Sets how many seconds an item lives from now on, and tells the other shards.
fn set_life(env: &mut Env<'_>, at: u16, place: Key, seconds: u64) {
    live(env, at, place, length(seconds));
    let item = table_mut(env.state, at).get_mut(place);
    if let Some(key) = item.map(|item| item.key.clone()) {
        tell(env, at, &key, ItemChange::Live(seconds));
    }
}

/// Removes an item and tells the other shards.
fn take(env: &mut Env<'_>, at: u16, place: Key) -> Option<Item> {
    let item = drop_item(env, at, place)?;
    tell(env, at, &item.key, ItemChange::Remove);
    Some(item)
}

/// Removes an item and its timer.
fn drop_item(env: &mut Env<'_>, at: u16, place: Key) -> Option<Item> {
    let item = table_mut(env.state, at).remove(place)?;
    if let Some((_, timer)) = item.end {
        env.stop(Some(timer));
        env.state.stores.tables.timer_count -= 1;
    }
    Some(item)
}

/// The time of an item has come: it is gone. Gives the name of its table and the item.
pub fn expire(state: &mut State, timer: ItemTimer) -> Option<(Box<str>, Item)> {
    let tables = &mut state.stores.tables;
    let (name, table) = tables.list.get_mut(usize::from(timer.table))?;
    let item = table.remove(timer.place)?;
    tables.timer_count -= 1;
    Some((name.clone(), item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions() {
        let mut config = AllConfig::default();
        let text = |text: &str| Setting::Text(text.as_bytes().into());
        let table = [
            ("a=>size=4;", true),
            ("b", false),
            (
                "c => size=8; autoexpire=10 ; initval=-3; updateexpire=0;",
                true,
            ),
            ("d=>size=4;dbtable=t;dmqreplicate=1", true),
            ("=>size=4", false),
            ("e=>size", false),
            ("e=>size=x", false),
            ("e=>nope=1", false),
        ];
        for (definition, want) in table {
            let got = define(&mut config, &text(definition)).is_ok();
            assert_eq!(got, want, "{definition}");
        }
        let c = config.htable.table(b"c").expect("a table");
        assert_eq!(
            (c.autoexpire, c.initval, c.updateexpire),
            (Some(Duration::from_secs(10)), Some(-3), false)
        );
        assert_eq!(config.notes, ["dbtable", "dmqreplicate"]);
        assert_eq!(config.htable.tables.len(), 3);
    }
}
