//! Variables that outlive the message: `$var` and `$vn` of the shard, `$shv`; and what the
//! process is: `$version`, `$sruid`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits::SCRIPT_VARIABLE_COUNT_MAX;
use crate::modules::entry::{alias, formatted, keyed, variable, word, writable};
use crate::modules::work::{Bytes, Target};
use crate::modules::{Call, Config, Variable, statistics};
use crate::script::{Access, Heap, InnerKind, Key, Text, Value, WriteError};
use crate::sip::HeaderName;

use super::avp::Stored;

/// Names and values. Peers may choose names, so the order is by comparison and not by hash.
pub(crate) type Store = BTreeMap<Box<[u8]>, Stored>;

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

fn read(store: &Store, heap: &mut Heap, access: &Access<'_>) -> Value {
    let found = store.get(heap.bytes(access.key.text()));
    found.map_or(Value::Null, |stored| stored.value(heap))
}

fn write(
    store: &mut Store,
    heap: &Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let name = heap.bytes(access.key.text());
    let Some(stored) = Stored::of(heap, value) else {
        store.remove(name);
        return Ok(());
    };
    if let Some(place) = store.get_mut(name) {
        *place = stored;
        return Ok(());
    }
    if store.len() >= SCRIPT_VARIABLE_COUNT_MAX {
        return Err(WriteError::Full);
    }
    store.insert(name.into(), stored);
    Ok(())
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
            "A shared variable.",
        ),
        |c, h, a, v| write(&mut variables(c).shared, h, a, v),
    ),
    keyed(
        "shvinc",
        InnerKind::Declared("shvset"),
        increment,
        "A shared variable, increased by one and read.",
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

fn increment(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let shared = &mut variables(call).shared;
    let value = read(shared, heap, access);
    let next = Value::Int(heap.as_int(value).wrapping_add(1));
    write(shared, heap, access, next).map_or(Value::Null, |()| next)
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
        "avp" | "avps" => call.work.avps.all(key).count(),
        "xavp" => call.work.avps.records.count(key),
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
