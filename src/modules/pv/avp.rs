//! `$avp`: attribute-value pairs, stacks of values under a name; and `$xavp`, `$xavi`, `$xavu`,
//! records of fields. They belong to the transaction.
//!
//! Assignment pushes, reading gives the newest. `s:x` and `x` are one name, `i:10` is a number of
//! its own space.

use crate::limits::AVP_COUNT_MAX;
use crate::script::{Access, Heap, Index, InnerKind, Value, WriteError, parse_int};

use crate::modules::entry::{alias, keyed, writable};
use crate::modules::{Call, Variable};

use super::xavp::{Kind, Record, Records};

/// A value that outlives the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// An integer.
    Int(i64),
    /// A string.
    Text(Box<[u8]>),
}

impl Stored {
    /// A copy of a value; NULL has none.
    pub fn of(heap: &Heap, value: Value) -> Option<Stored> {
        match value {
            Value::Null => None,
            Value::Int(n) => Some(Stored::Int(n)),
            Value::Str(text) => Some(Stored::Text(heap.bytes(text).into())),
        }
    }

    /// The value in a run.
    pub fn value(&self, heap: &mut Heap) -> Value {
        match self {
            Stored::Int(n) => Value::Int(*n),
            Stored::Text(text) => heap.string(text),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name<'a> {
    Text(&'a [u8]),
    Number(i64),
}

impl Name<'_> {
    fn of(key: &[u8]) -> Name<'_> {
        match key {
            [b'i', b':', digits @ ..] => parse_int(digits).map_or(Name::Text(key), Name::Number),
            [b's', b':', name @ ..] => Name::Text(name),
            name => Name::Text(name),
        }
    }

    fn is(self, owned: &OwnedName) -> bool {
        match (self, owned) {
            (Name::Text(a), OwnedName::Text(b)) => a == &**b,
            (Name::Number(a), OwnedName::Number(b)) => a == *b,
            (Name::Text(_), OwnedName::Number(_)) | (Name::Number(_), OwnedName::Text(_)) => false,
        }
    }

    fn owned(self) -> OwnedName {
        match self {
            Name::Text(text) => OwnedName::Text(text.into()),
            Name::Number(n) => OwnedName::Number(n),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum OwnedName {
    Text(Box<[u8]>),
    Number(i64),
}

/// The attribute-value pairs of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Avps {
    /// The oldest first.
    list: Vec<(OwnedName, Stored)>,
    /// Most transactions have none; then they are one pointer, which is soon moved and dropped.
    records: Option<Box<AllRecords>>,
}

/// The records of one transaction.
#[derive(Clone, Debug, Default)]
struct AllRecords {
    /// `$xavp`.
    stack: Records,
    /// `$xavi`.
    folded: Records,
    /// `$xavu`.
    single: Records,
}

static NO_RECORDS: Records = Records::new();

impl Avps {
    /// The values under a name as written in the script, the newest first.
    pub fn all<'a, 'n>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a Stored> + use<'a, 'n> {
        let name = Name::of(name);
        self.list
            .iter()
            .rev()
            .filter(move |(n, _)| name.is(n))
            .map(|(_, value)| value)
    }

    /// The records of this kind.
    pub(super) fn records(&self, kind: Kind) -> &Records {
        self.records.as_ref().map_or(&NO_RECORDS, |all| match kind {
            Kind::Stack => &all.stack,
            Kind::Folded => &all.folded,
            Kind::Single => &all.single,
        })
    }

    /// The same to be changed.
    pub(super) fn records_mut(&mut self, kind: Kind) -> &mut Records {
        let all = self.records.get_or_insert_default();
        match kind {
            Kind::Stack => &mut all.stack,
            Kind::Folded => &mut all.folded,
            Kind::Single => &mut all.single,
        }
    }

    /// Puts a value on top; false: there are too many.
    pub fn push(&mut self, name: &[u8], value: Stored) -> bool {
        let has_room = self.list.len() < AVP_COUNT_MAX;
        if has_room {
            self.list.push((Name::of(name).owned(), value));
        }
        has_room
    }

    /// Takes the newest value away; false: there is none.
    pub fn pop(&mut self, name: &[u8]) -> bool {
        let name = Name::of(name);
        match self.list.iter().rposition(|(n, _)| name.is(n)) {
            Some(at) => {
                self.list.remove(at);
                true
            }
            None => false,
        }
    }

    /// Takes all values away; false: there is none.
    pub fn clear(&mut self, name: &[u8]) -> bool {
        let (name, before) = (Name::of(name), self.list.len());
        self.list.retain(|(n, _)| !name.is(n));
        self.list.len() < before
    }

    /// Puts a record of `$xavp` on top; false: there are too many.
    pub fn push_record(&mut self, name: &[u8], fields: &[(&str, Stored)]) -> bool {
        self.records_mut(Kind::Stack).push(name, fields)
    }

    /// Takes the newest record of the name away; false: there is none.
    pub fn pop_record(&mut self, name: &[u8]) -> bool {
        self.records_mut(Kind::Stack).pop(name)
    }

    /// Takes the newest record of the name out, with all that it has.
    pub fn take_record(&mut self, name: &[u8]) -> Option<Record> {
        self.records_mut(Kind::Stack).take(name, |_| true)
    }

    /// The same of those that fit.
    pub fn take_fitting(&mut self, name: &[u8], fits: impl Fn(&Record) -> bool) -> Option<Record> {
        self.records_mut(Kind::Stack).take(name, fits)
    }

    /// Puts a record on top; false: there are too many.
    pub fn put_record(&mut self, record: Record) -> bool {
        self.records_mut(Kind::Stack).put_whole(record)
    }

    /// Takes all records of the name away.
    pub fn clear_records(&mut self, name: &[u8]) {
        self.records_mut(Kind::Stack).clear(name);
    }

    /// The fields of the newest record of the name, the newest first.
    pub fn fields(&self, name: &[u8]) -> impl Iterator<Item = (&[u8], &Stored)> {
        self.records(Kind::Stack).fields(name)
    }

    /// A field of the newest record of the name.
    pub fn field(&self, name: &[u8], field: &[u8]) -> Option<&Stored> {
        self.records(Kind::Stack).field(name, field)
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
            && [Kind::Stack, Kind::Folded, Kind::Single]
                .iter()
                .all(|kind| self.records(*kind).is_empty())
    }
}

const AVP: Variable = writable(
    keyed(
        "avp",
        InnerKind::Name,
        get,
        "Values of the transaction, the newest first.",
    ),
    set,
);

pub(super) const VARIABLES: [Variable; 2] = [AVP, alias(AVP, "avps")];

fn get(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let key = access.key.text();
    let name = call.env.state.setup.config.pv.avp(heap.bytes(key));
    let at = match access.index {
        Index::None => 0,
        // A negative index has no value, as in the original.
        Index::At(n) => match usize::try_from(n) {
            Ok(n) => n,
            Err(_) => return Value::Null,
        },
        Index::All => return all(call, heap, access),
    };
    let found = call.work.avps.all(name).nth(at);
    match found {
        Some(stored) => stored.value(heap),
        None => Value::Null,
    }
}

fn all(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let key = heap.bytes(access.key.text());
    let name = call.env.state.setup.config.pv.avp(key);
    let values = joined(call.work.avps.all(name));
    values.map_or(Value::Null, |text| heap.string(&text))
}

/// All values as one text, if there are any.
pub(super) fn joined<'a>(values: impl Iterator<Item = &'a Stored>) -> Option<Vec<u8>> {
    let mut joined = vec![];
    for (i, value) in values.enumerate() {
        if i > 0 {
            joined.extend_from_slice(b", ");
        }
        match value {
            Stored::Int(n) => joined.extend_from_slice(n.to_string().as_bytes()),
            Stored::Text(text) => joined.extend_from_slice(text),
        }
    }
    (!joined.is_empty()).then_some(joined)
}

fn set(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let avps = &mut call.work.avps;
    let key = heap.bytes(access.key.text());
    let name = call.env.state.setup.config.pv.avp(key);
    if access.index == Index::All {
        avps.clear(name);
    }
    match Stored::of(heap, value) {
        None if access.index != Index::All => {
            avps.pop(name);
            Ok(())
        }
        None => Ok(()),
        Some(stored) => avps
            .push(name, stored)
            .then_some(())
            .ok_or(WriteError::Full),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(avps: &Avps, name: &str) -> Vec<i64> {
        let int = |stored: &Stored| match stored {
            Stored::Int(n) => *n,
            Stored::Text(_) => -1,
        };
        avps.all(name.as_bytes()).map(int).collect()
    }

    #[test]
    fn values_stack_under_their_names() {
        let mut avps = Avps::default();
        for (name, n) in [("x", 1), ("s:x", 2), ("i:10", 3), ("10", 4), ("i:x", 5)] {
            assert!(avps.push(name.as_bytes(), Stored::Int(n)));
        }
        let table: [(&str, &[i64]); 6] = [
            ("x", &[2, 1]),
            ("s:x", &[2, 1]),
            ("i:10", &[3]),
            ("10", &[4]),
            ("i:x", &[5]),
            ("y", &[]),
        ];
        for (name, want) in table {
            assert_eq!(numbers(&avps, name), want, "{name}");
        }
        assert!(avps.pop(b"x"));
        assert_eq!(numbers(&avps, "s:x"), [1]);
        assert!(avps.clear(b"s:x") && !avps.clear(b"x") && !avps.pop(b"x"));
    }

    #[test]
    fn there_is_a_bound() {
        let mut avps = Avps::default();
        for _ in 0..AVP_COUNT_MAX {
            assert!(avps.push(b"x", Stored::Int(1)));
        }
        assert!(!avps.push(b"x", Stored::Int(1)));
    }
}
