//! Variables that outlive the message: `$var` and `$vn` of the shard, `$shv`; and what the
//! process is: `$version`, `$sruid`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{ItemChange, PeerMessage, SharedNews};
use crate::limits::SCRIPT_VARIABLE_COUNT_MAX;
use crate::modules::entry::{alias, formatted, keyed, variable, word, writable};
use crate::modules::work::{Bytes, Target};
use crate::modules::{Call, Config, Env, Variable, statistics};
use crate::script::{Access, Heap, InnerKind, Key, Text, Value, WriteError};
use crate::sip::HeaderName;
use crate::steer::ShardId;

use super::avp::Stored;
use super::xavp::Kind;

/// Names and values. Peers may choose names, so the order is by comparison and not by hash.
pub(crate) type Store = BTreeMap<Box<[u8]>, Stored>;

/// Microseconds of the wall clock, and the shard.
type Stamp = (u64, u16);

/// A value of `$var`. It keeps its memory when another takes its place, so that assigning text
/// allocates nothing in the long run.
#[derive(Debug)]
enum Slot {
    Int(i64),
    Text(Vec<u8>),
}

impl Slot {
    #[inline]
    fn set(&mut self, heap: &Heap, value: Value) {
        match (&mut *self, value) {
            (Slot::Text(place), Value::Str(text)) => {
                place.clear();
                place.extend_from_slice(heap.bytes(text));
            }
            (_, Value::Str(text)) => *self = Slot::Text(heap.bytes(text).to_vec()),
            (_, Value::Int(n)) => *self = Slot::Int(n),
            (_, Value::Null) => *self = Slot::Int(0),
        }
    }
}

/// Names that the script writes out and whose slots are known without a search.
const KNOWN_COUNT: usize = 64;

/// What `$var` and `$vn` name: slots, found by name. Most names are constants of the script, so
/// their slots are remembered by the constant's handle until a name goes or the script changes.
#[derive(Debug)]
struct Vars {
    names: BTreeMap<Box<[u8]>, usize>,
    slots: Vec<Slot>,
    /// Slots whose names went.
    free: Vec<usize>,
    known: [Option<(Text, usize)>; KNOWN_COUNT],
    /// The script that the handles are of. It is kept, so its address is no other's.
    constants: Arc<[u8]>,
}

impl Default for Vars {
    fn default() -> Vars {
        Vars {
            names: BTreeMap::new(),
            slots: vec![],
            free: vec![],
            known: [None; KNOWN_COUNT],
            constants: Arc::default(),
        }
    }
}

impl Vars {
    /// The slot of a name.
    fn place(&mut self, heap: &Heap, name: Text) -> Option<usize> {
        let constant = name.constant_place();
        if let Some(place) = constant {
            if !Arc::ptr_eq(&self.constants, heap.constants()) {
                self.known = [None; KNOWN_COUNT];
                self.constants = Arc::clone(heap.constants());
            }
            match self.known[place % KNOWN_COUNT] {
                Some((text, slot)) if text == name => return Some(slot),
                _ => {}
            }
        }
        let slot = *self.names.get(heap.bytes(name))?;
        if let Some(place) = constant {
            self.known[place % KNOWN_COUNT] = Some((name, slot));
        }
        Some(slot)
    }

    fn get(&mut self, heap: &Heap, name: Text) -> Option<&Slot> {
        let slot = self.place(heap, name)?;
        self.slots.get(slot)
    }

    fn set(&mut self, heap: &Heap, name: Text, value: Value) -> Result<(), WriteError> {
        if let Some(slot) = self.place(heap, name) {
            self.slots[slot].set(heap, value);
            return Ok(());
        }
        if self.names.len() >= SCRIPT_VARIABLE_COUNT_MAX {
            return Err(WriteError::Full);
        }
        let mut slot = Slot::Int(0);
        slot.set(heap, value);
        self.insert(heap.bytes(name).into(), slot);
        Ok(())
    }

    fn insert(&mut self, name: Box<[u8]>, slot: Slot) {
        let place = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(place) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.names.insert(name, place);
    }

    fn remove(&mut self, name: &[u8]) {
        if let Some(place) = self.names.remove(name) {
            self.slots[place] = Slot::Int(0);
            self.free.push(place);
            self.known = [None; KNOWN_COUNT];
        }
    }
}

/// Next hops that were assigned lately. There are few of them, and each goes with many requests,
/// so that assigning one mostly shares the bytes that are there.
#[derive(Debug, Default)]
pub(super) struct NextHops {
    recent: [Bytes; RECENT_COUNT],
    oldest: usize,
}

const RECENT_COUNT: usize = 16;

impl NextHops {
    /// The text, shared where it can be.
    pub(super) fn shared(&mut self, text: &[u8]) -> Bytes {
        if let Some(bytes) = self.recent.iter().find(|bytes| ***bytes == *text) {
            return Rc::clone(bytes);
        }
        let bytes = Bytes::from(text);
        self.recent[self.oldest] = Rc::clone(&bytes);
        self.oldest = (self.oldest + 1) % RECENT_COUNT;
        bytes
    }
}

/// The variables of one shard.
#[derive(Debug, Default)]
pub struct Variables {
    vars: Vars,
    pub(super) next_hops: NextHops,
    shared: Store,
    /// When the shared variables changed, and where: of two values the later counts.
    stamps: BTreeMap<Box<[u8]>, Stamp>,
    is_filled: bool,
    /// The static branch: what `$sbranch` shows.
    pub(super) branch: Target,
    /// How many identifiers `$sruid` has given.
    serial: u64,
}

impl Variables {
    /// The shared variables.
    pub(crate) fn shared(&mut self, config: &Config) -> &mut Store {
        self.fill(config);
        &mut self.shared
    }

    /// Gives a shared variable that there is another value, at a moment; false: there is none.
    pub(crate) fn replace(&mut self, config: &Config, name: &[u8], value: Stored, at: u64) -> bool {
        self.fill(config);
        self.shared.contains_key(name) && self.share(name, Some(value), (at, u16::MAX))
    }

    /// Gives a shared variable a value, or none.
    fn share(&mut self, name: &[u8], value: Option<Stored>, stamp: Stamp) -> bool {
        match value {
            None => {
                self.shared.remove(name);
            }
            Some(value) => {
                let is_full = self.shared.len() >= SCRIPT_VARIABLE_COUNT_MAX;
                match self.shared.get_mut(name) {
                    Some(place) => *place = value,
                    None if is_full => return false,
                    None => drop(self.shared.insert(name.into(), value)),
                }
            }
        }
        match self.stamps.get_mut(name) {
            Some(place) => *place = stamp,
            // Names stand in the configuration, so there are not many.
            None => {
                self.stamps.insert(name.into(), stamp);
            }
        }
        true
    }

    /// Puts in what the configuration says, before the first use.
    #[inline]
    fn fill(&mut self, config: &Config) {
        if !self.is_filled {
            self.fill_now(config);
        }
    }

    #[cold]
    fn fill_now(&mut self, config: &Config) {
        let slot = |stored: &Stored| match stored {
            Stored::Int(n) => Slot::Int(*n),
            Stored::Text(text) => Slot::Text(text.to_vec()),
        };
        for (name, value) in &config.pv.vars {
            self.vars.remove(name);
            self.vars.insert(name.clone(), slot(value));
        }
        self.shared.extend(config.pv.shared.iter().cloned());
        self.is_filled = true;
    }
}

fn variables<'a>(call: &'a mut Call<'_>) -> &'a mut Variables {
    let state = &mut *call.env.state;
    state.variables.fill(&state.setup.config);
    &mut state.variables
}

/// The script variable of this name, or with `*` all of them.
pub(super) fn named(call: &mut Call<'_>, wanted: &[u8]) -> Vec<(Box<[u8]>, Stored)> {
    let vars = &variables(call).vars;
    let mut found = vec![];
    for (name, place) in &vars.names {
        if wanted != b"*" && **name != *wanted {
            continue;
        }
        match vars.slots.get(*place) {
            Some(Slot::Int(n)) => found.push((name.clone(), Stored::Int(*n))),
            Some(Slot::Text(text)) => found.push((name.clone(), Stored::Text(text[..].into()))),
            None => {}
        }
    }
    found
}

/// Assigns a script variable.
pub(super) fn assign(
    call: &mut Call<'_>,
    heap: &Heap,
    name: Text,
    value: Value,
) -> Result<(), WriteError> {
    variables(call).vars.set(heap, name, value)
}

fn read(store: &Store, heap: &mut Heap, access: &Access<'_>) -> Value {
    let found = store.get(heap.bytes(access.key.text()));
    found.map_or(Value::Null, |stored| stored.value(heap))
}

/// Assigns a shared variable and tells the other shards.
fn share(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let name = heap.bytes(access.key.text());
    // NULL leaves an empty text behind.
    let stored = Stored::of(heap, value).unwrap_or_else(|| Stored::Text(Box::default()));
    let change = match &stored {
        Stored::Int(n) => ItemChange::Number(*n),
        Stored::Text(text) => ItemChange::Text(text.clone()),
    };
    share_change(call, name, (Some(stored), change))
}

fn share_change(
    call: &mut Call<'_>,
    name: &[u8],
    (value, change): (Option<Stored>, ItemChange),
) -> Result<(), WriteError> {
    let (at, own) = (call.env.now.wall.as_micros(), call.env.state.id.0);
    if !variables(call).share(name, value, (at, own)) {
        return Err(WriteError::Full);
    }
    let name = name.into();
    let news = Arc::new(SharedNews::Variable { name, at, change });
    call.env.tell_all(|| PeerMessage::Shared(Arc::clone(&news)));
    Ok(())
}

/// Another shard has changed a shared variable.
pub(crate) fn heard(
    env: &mut Env<'_>,
    from: ShardId,
    (name, at, change): (&[u8], u64, &ItemChange),
) {
    let state = &mut *env.state;
    state.variables.fill(&state.setup.config);
    let variables = &mut state.variables;
    let (stamp, known) = ((at, from.0), variables.stamps.get(name).copied());
    let is_late = known.is_some_and(|known| known > stamp);
    let value = match change {
        // A sum is right in any order.
        ItemChange::Add(by) => {
            let old = match variables.shared.get(name) {
                Some(Stored::Int(n)) => *n,
                Some(Stored::Text(_)) | None => 0,
            };
            let sum = Some(Stored::Int(old.wrapping_add(*by)));
            variables.share(name, sum, known.unwrap_or(stamp).max(stamp));
            return;
        }
        ItemChange::Number(n) => Some(Stored::Int(*n)),
        ItemChange::Text(text) => Some(Stored::Text(text.clone())),
        ItemChange::Remove => None,
        ItemChange::Live(_) => return,
    };
    if !is_late {
        variables.share(name, value, stamp);
    }
}

/// `$vn`: NULL when unset.
fn read_vn(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    match variables(call).vars.get(heap, access.key.text()) {
        None => Value::Null,
        Some(Slot::Int(n)) => Value::Int(*n),
        Some(Slot::Text(text)) => heap.string(text),
    }
}

/// `$var` is never NULL: what was never assigned is 0.
fn read_var(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    match read_vn(call, heap, access) {
        Value::Null => Value::Int(0),
        value => value,
    }
}

fn write_var(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let vars = &mut variables(call).vars;
    let name = access.key.text();
    if value.is_null() {
        vars.remove(heap.bytes(name));
        return Ok(());
    }
    vars.set(heap, name, value)
}

const VAR: Variable = writable(
    keyed(
        "var",
        InnerKind::Name,
        read_var,
        "A variable of the core, kept from message to message.",
    ),
    write_var,
);

/// `$err.class` and its kin speak of a message that could not be parsed: no script runs for one.
const ERROR: Variable = variable(
    "err.class",
    |_, _, _| Value::Null,
    "NULL: no script runs for a message that cannot be parsed.",
);

pub(super) const VARIABLES: [Variable; 16] = [
    VAR,
    alias(VAR, "vz"),
    writable(
        keyed("vn", InnerKind::Name, read_vn, "As $var, NULL when unset."),
        write_var,
    ),
    writable(
        keyed(
            "shv",
            InnerKind::Declared("shvset"),
            |c, h, a| read(&variables(c).shared, h, a),
            "A variable of all cores.",
        ),
        share,
    ),
    keyed(
        "shvinc",
        InnerKind::Declared("shvset"),
        increment,
        "A variable of all cores, increased by one and read.",
    ),
    keyed(
        "cnt",
        InnerKind::Variable,
        count,
        "How many values a variable has.",
    ),
    keyed(
        "version",
        InnerKind::OneOf(&["num", "full", "hash"]),
        version,
        "The program's version.",
    ),
    variable(
        "sid",
        |c, _, _| Value::Int(c.env.state.setup.config.core.server_id),
        "server_id.",
    ),
    variable(
        "pp",
        |c, _, _| Value::Int(c.env.state.id.0.into()),
        "The number of this core.",
    ),
    variable(
        "sruid",
        unique,
        "Text that no other call of this cluster gets.",
    ),
    keyed(
        "stat",
        InnerKind::Name,
        statistic,
        "A counter of this core.",
    ),
    ERROR,
    alias(ERROR, "err.level"),
    alias(ERROR, "err.info"),
    alias(ERROR, "err.rcode"),
    alias(ERROR, "err.rreason"),
];

/// Every core adds one, so that no step is lost; two cores may read the same number once.
fn increment(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let value = read(&variables(call).shared, heap, access);
    let next = heap.as_int(value).wrapping_add(1);
    let name = heap.bytes(access.key.text()).to_vec();
    let change = (Some(Stored::Int(next)), ItemChange::Add(1));
    share_change(call, &name, change).map_or(Value::Null, |()| Value::Int(next))
}

fn count(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let Key::Variable(variable) = access.key else {
        return Value::Null;
    };
    let Some(target) = variable.resolve(call, heap) else {
        return Value::Int(1);
    };
    let name = crate::modules::variable(target.variable).sig.name;
    let key = heap.bytes(target.key.text());
    let message = &call.work.message;
    let count = match name {
        "avp" | "avps" => {
            let name = call.env.state.setup.config.pv.avp(key);
            call.work.avps.all(name).count()
        }
        "xavp" => call.work.avps.records(Kind::Stack).count(key),
        "hdr" => message.named(key).count(),
        "branch" | "br" => call.work.appended.len(),
        "ct" => message.all(HeaderName::Contact).count(),
        _ => {
            let value = variable.read(call, heap);
            return Value::Int((!value.is_null()).into());
        }
    };
    Value::Int(count as i64)
}

fn version(_: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let number = env!("CARGO_PKG_VERSION");
    match word(access) {
        0 => heap.string(number.as_bytes()),
        1 => formatted(heap, format_args!("dialcore {number}")),
        _ => heap.string(b"unknown"),
    }
}

/// `srid-<server_id>-<start>-<core>-<n>`, in hexadecimal.
fn unique(call: &mut Call<'_>, heap: &mut Heap, _: &Access<'_>) -> Value {
    let state = &mut *call.env.state;
    state.variables.serial += 1;
    let (server, core) = (state.setup.config.core.server_id, state.id.0);
    let (start, serial) = (state.setup.started.as_secs(), state.variables.serial);
    formatted(
        heap,
        format_args!("srid-{server:x}-{start:x}-{core:x}-{serial:x}"),
    )
}

/// A statistic of this shard; `group:name` is no name.
fn statistic(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let name = heap.bytes(access.key.text());
    statistics::read(call.env.state, name).map_or(Value::Null, Value::Int)
}
