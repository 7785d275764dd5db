//! `$xavp(a[i]=>f[j])`, `$xavi`, `$xavu`: stacks of records with fields.
//!
//! Assigning `$xavp(a=>f)` pushes a new record, `$xavp(a[0]=>f)` writes into the newest.

use crate::limits::AVP_COUNT_MAX;
use crate::script::{Access, Heap, Index, InnerKind, Value, WriteError, parse_int};

use crate::modules::entry::{keyed, writable};
use crate::modules::{Call, Variable};

use super::avp::Stored;

/// Records by name, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Vec<Record>);

/// A record with its fields.
#[derive(Clone, Debug)]
pub struct Record {
    name: Box<[u8]>,
    /// The oldest first. A record that is only a value has one field without a name.
    fields: Vec<(Box<[u8]>, Stored)>,
    /// A record that goes where this one goes, out of reach meanwhile.
    pub beside: Option<Box<Record>>,
}

impl Record {
    /// A record with these fields.
    pub fn new(name: &[u8], fields: &[(&str, Stored)]) -> Record {
        let owned = |(field, value): &(&str, Stored)| (field.as_bytes().into(), value.clone());
        Record {
            name: name.into(),
            fields: fields.iter().map(owned).collect(),
            beside: None,
        }
    }

    /// The newest value of a field.
    pub fn field(&self, field: &[u8]) -> Option<&Stored> {
        let found = self.fields.iter().rev().find(|(f, _)| **f == *field);
        found.map(|(_, value)| value)
    }

    /// The same record under another name.
    pub fn renamed(mut self, name: &[u8]) -> Record {
        self.name = name.into();
        self
    }

    fn size(&self) -> usize {
        1 + self.fields.len() + self.beside.as_ref().map_or(0, |record| record.size())
    }
}

/// What stands in the parentheses, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Path<'a> {
    name: &'a [u8],
    at: Index,
    field: &'a [u8],
    field_at: Index,
}

impl Path<'_> {
    fn of(key: &[u8]) -> Path<'_> {
        let arrow = key.windows(2).position(|w| w == b"=>");
        let (left, right) = match arrow {
            Some(at) => (&key[..at], &key[at + 2..]),
            None => (key, &b""[..]),
        };
        let ((name, at), (field, field_at)) = (indexed(left), indexed(right));
        Path {
            name,
            at,
            field,
            field_at,
        }
    }
}

/// `name[index]` in two parts.
fn indexed(text: &[u8]) -> (&[u8], Index) {
    let text = text.trim_ascii();
    let open = text.iter().position(|b| *b == b'[');
    match open.filter(|_| text.ends_with(b"]")) {
        None => (text, Index::None),
        Some(open) => {
            let inner = &text[open + 1..text.len() - 1];
            let index = match inner {
                b"*" => Index::All,
                digits => parse_int(digits).map_or(Index::None, Index::At),
            };
            (text[..open].trim_ascii(), index)
        }
    }
}

/// Which of the three variables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `$xavp`.
    Stack,
    /// `$xavi`: names in any case.
    Folded,
    /// `$xavu`: one record of a name, one value of a field.
    Single,
}

impl Kind {
    fn same(self, a: &[u8], b: &[u8]) -> bool {
        if self == Kind::Folded {
            a.eq_ignore_ascii_case(b)
        } else {
            a == b
        }
    }
}

impl Records {
    pub(super) const fn new() -> Records {
        Records(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Indexes of the records of a name, the newest first.
    fn places(&self, kind: Kind, name: &[u8]) -> impl Iterator<Item = usize> {
        (0..self.0.len())
            .rev()
            .filter(move |i| kind.same(&self.0[*i].name, name))
    }

    fn place(&self, kind: Kind, path: &Path<'_>) -> Option<usize> {
        let count = || self.places(kind, path.name).count();
        self.places(kind, path.name).nth(nth(path.at, count)?)
    }

    fn find(&self, kind: Kind, path: &Path<'_>) -> Option<&Stored> {
        let n = nth(path.field_at, || self.values(kind, path).count())?;
        self.values(kind, path).nth(n)
    }

    /// The values of a field, the newest first.
    fn values(&self, kind: Kind, path: &Path<'_>) -> impl Iterator<Item = &Stored> {
        let fields = self
            .place(kind, path)
            .map_or(&[][..], |at| &self.0[at].fields);
        let named = fields
            .iter()
            .rev()
            .filter(move |(f, _)| kind.same(f, path.field));
        named.map(|(_, value)| value)
    }

    pub(super) fn push(&mut self, name: &[u8], fields: &[(&str, Stored)]) -> bool {
        self.put_whole(Record::new(name, fields))
    }

    pub(super) fn put_whole(&mut self, record: Record) -> bool {
        let has_room = self.size() + record.size() <= AVP_COUNT_MAX;
        if has_room {
            self.0.push(record);
        }
        has_room
    }

    /// Takes the newest record out that fits.
    pub(super) fn take(&mut self, name: &[u8], fits: impl Fn(&Record) -> bool) -> Option<Record> {
        let mut places = self.places(Kind::Stack, name);
        let at = places.find(|i| fits(&self.0[*i]))?;
        drop(places);
        Some(self.0.remove(at))
    }

    pub(super) fn pop(&mut self, name: &[u8]) -> bool {
        let newest = self.places(Kind::Stack, name).next();
        if let Some(at) = newest {
            self.0.remove(at);
        }
        newest.is_some()
    }

    pub(super) fn clear(&mut self, name: &[u8]) {
        self.0.retain(|r| *r.name != *name);
    }

    pub(super) fn field(&self, name: &[u8], field: &[u8]) -> Option<&Stored> {
        self.0[self.places(Kind::Stack, name).next()?].field(field)
    }

    /// The fields of the newest record of the name, the newest first.
    pub(super) fn fields(&self, name: &[u8]) -> impl Iterator<Item = (&[u8], &Stored)> {
        let newest = self.places(Kind::Stack, name).next();
        let fields = newest.map_or(&[][..], |at| &self.0[at].fields[..]);
        fields.iter().rev().map(|(name, value)| (&**name, value))
    }

    /// How many records of the name, or values of the field, there are.
    pub(super) fn count(&self, key: &[u8]) -> usize {
        let path = Path::of(key);
        if path.field.is_empty() {
            return self.places(Kind::Stack, path.name).count();
        }
        let Some(at) = self.place(Kind::Stack, &path) else {
            return 0;
        };
        self.0[at]
            .fields
            .iter()
            .filter(|(f, _)| **f == *path.field)
            .count()
    }

    /// Sets a field of the newest record of the name, which is made when there is none. False:
    /// there are too many.
    pub(super) fn set_field(
        &mut self,
        kind: Kind,
        name: &[u8],
        field: &[u8],
        value: Stored,
    ) -> bool {
        if self.size() + 2 > AVP_COUNT_MAX {
            return false;
        }
        let Some(at) = self.places(kind, name).next() else {
            self.0.push(Record {
                name: name.into(),
                fields: vec![(field.into(), value)],
                beside: None,
            });
            return true;
        };
        let fields = &mut self.0[at].fields;
        // What only was a value becomes a record.
        fields.retain(|(name, _)| !name.is_empty());
        match fields.iter_mut().rev().find(|(f, _)| kind.same(f, field)) {
            Some((_, old)) => *old = value,
            None => fields.push((field.into(), value)),
        }
        true
    }

    /// Removes the newest value of a field of the newest record of the name, or that record.
    pub(super) fn remove_newest(&mut self, kind: Kind, name: &[u8], field: &[u8]) {
        let path = Path {
            name,
            at: Index::None,
            field,
            field_at: Index::None,
        };
        self.remove(kind, &path);
    }

    /// The fields of the newest record of the name as parameters, the newest first.
    pub(super) fn imploded(&self, kind: Kind, name: &[u8]) -> Option<Vec<u8>> {
        let record = &self.0[self.places(kind, name).next()?];
        let mut out = vec![];
        for (field, value) in record.fields.iter().rev().filter(|(f, _)| !f.is_empty()) {
            out.extend_from_slice(field);
            match value {
                // A negative number as the original writes it, without a sign.
                Stored::Int(n @ ..0) => out.extend_from_slice(format!("={}", *n as u32).as_bytes()),
                Stored::Int(n) => out.extend_from_slice(format!("={n}").as_bytes()),
                Stored::Text(text) if text.is_empty() => {}
                Stored::Text(text) => out.extend_from_slice(&[b"=", &text[..]].concat()),
            }
            out.push(b';');
        }
        (!out.is_empty()).then_some(out)
    }

    /// Copies a record of `$xavp` behind the oldest of another name, or in place of one of them.
    pub(super) fn copy(&mut self, source: (&[u8], usize), to: &[u8], place: Option<usize>) -> bool {
        let Some(from) = self.places(Kind::Stack, source.0).nth(source.1) else {
            return false;
        };
        let record = Record {
            name: to.into(),
            fields: self.0[from].fields.clone(),
            beside: None,
        };
        if self.size() + 1 + record.fields.len() > AVP_COUNT_MAX {
            return false;
        }
        let Some(place) = place else {
            self.0.insert(0, record);
            return true;
        };
        let place = self.places(Kind::Stack, to).nth(place);
        if let Some(at) = place {
            self.0[at] = record;
        }
        place.is_some()
    }

    /// All records as lines for the log, the newest first.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        for record in self.0.iter().rev() {
            lines.push(format!("{}:", record.name.escape_ascii()));
            for (field, value) in record.fields.iter().rev() {
                let value = match value {
                    Stored::Int(n) => n.to_string(),
                    Stored::Text(text) => format!("\"{}\"", text.escape_ascii()),
                };
                lines.push(format!("  {} = {value}", field.escape_ascii()));
            }
        }
        lines
    }

    fn size(&self) -> usize {
        self.0.iter().map(Record::size).sum()
    }

    fn put(&mut self, kind: Kind, path: &Path<'_>, value: Stored) -> Result<(), WriteError> {
        if self.size() + 2 > AVP_COUNT_MAX {
            return Err(WriteError::Full);
        }
        let field = (path.field.into(), value);
        // To read, a negative index counts from the end; to write, it names nothing.
        let is_negative = matches!(path.at, Index::At(..0));
        let place = self.place(kind, path).filter(|_| !is_negative);
        match (path.at, kind) {
            (Index::None, Kind::Stack | Kind::Folded) => {
                self.0.push(Record {
                    name: path.name.into(),
                    fields: vec![field],
                    beside: None,
                });
            }
            (Index::None | Index::All | Index::At(_), Kind::Single) => match place {
                Some(at) => {
                    self.0[at].fields.retain(|(f, _)| **f != *path.field);
                    self.0[at].fields.push(field);
                }
                None => self.0.push(Record {
                    name: path.name.into(),
                    fields: vec![field],
                    beside: None,
                }),
            },
            (Index::At(_) | Index::All, Kind::Stack | Kind::Folded) => {
                let at = place.ok_or(WriteError::NotHere)?;
                let fields = &mut self.0[at].fields;
                match field_place(kind, fields, path) {
                    Some(old) => fields[old] = field,
                    None => fields.push(field),
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, kind: Kind, path: &Path<'_>) {
        if path.at == Index::All && path.field.is_empty() {
            self.0.retain(|r| !kind.same(&r.name, path.name));
            return;
        }
        let Some(at) = self.place(kind, path) else {
            return;
        };
        if path.field.is_empty() {
            self.0.remove(at);
            return;
        }
        let fields = &mut self.0[at].fields;
        if path.field_at == Index::All {
            fields.retain(|(f, _)| !kind.same(f, path.field));
        } else if let Some(field) = fields.iter().rposition(|(f, _)| kind.same(f, path.field)) {
            fields.remove(field);
        }
    }
}

/// The place that an index names; `count` of them are there.
fn nth(index: Index, count: impl FnOnce() -> usize) -> Option<usize> {
    match index {
        Index::None | Index::All => Some(0),
        Index::At(n @ 0..) => usize::try_from(n).ok(),
        Index::At(n) => count().checked_sub(usize::try_from(n.unsigned_abs()).ok()?),
    }
}

/// The value of a field that is written over, when an index says which.
fn field_place(kind: Kind, fields: &[(Box<[u8]>, Stored)], path: &Path<'_>) -> Option<usize> {
    let Index::At(n @ 0..) = path.field_at else {
        return None;
    };
    let mut places = (0..fields.len())
        .rev()
        .filter(|i| kind.same(&fields[*i].0, path.field));
    places.nth(usize::try_from(n).ok()?)
}

macro_rules! records {
    ($name:literal, $kind:ident, $doc:literal) => {
        writable(
            keyed(
                $name,
                InnerKind::Name,
                |c, h, a| get(c, h, a, Kind::$kind),
                $doc,
            ),
            |c, h, a, v| set(c, h, (a, v), Kind::$kind),
        )
    };
}

pub(super) const VARIABLES: [Variable; 3] = [
    records!(
        "xavp",
        Stack,
        "Records of the transaction: name[i]=>field[j]."
    ),
    records!("xavi", Folded, "As $xavp, names in any case."),
    records!("xavu", Single, "As $xavp, one record of a name."),
];

fn get(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>, kind: Kind) -> Value {
    let path = Path::of(heap.bytes(access.key.text()));
    let records = call.work.avps.records(kind);
    if path.field_at == Index::All {
        let values = super::avp::joined(records.values(kind, &path));
        return values.map_or(Value::Null, |text| heap.string(&text));
    }
    match records.find(kind, &path) {
        Some(stored) => stored.value(heap),
        None => Value::Null,
    }
}

fn set(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (access, value): (&Access<'_>, Value),
    kind: Kind,
) -> Result<(), WriteError> {
    let path = Path::of(heap.bytes(access.key.text()));
    let records = call.work.avps.records_mut(kind);
    match Stored::of(heap, value) {
        None => {
            records.remove(kind, &path);
            Ok(())
        }
        Some(stored) => records.put(kind, &path, stored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(records: &Records, key: &str) -> Option<i64> {
        match records.find(Kind::Stack, &Path::of(key.as_bytes()))? {
            Stored::Int(n) => Some(*n),
            Stored::Text(_) => None,
        }
    }

    #[test]
    fn records_stack_and_fields_are_written_into_them() {
        let mut records = Records::default();
        for (key, n) in [
            ("a=>x", 1),
            ("a=>x", 2),
            ("a[0]=>y", 3),
            ("a[1]=>y", 4),
            ("b", 5),
        ] {
            let path = Path::of(key.as_bytes());
            assert_eq!(
                records.put(Kind::Stack, &path, Stored::Int(n)),
                Ok(()),
                "{key}"
            );
        }
        for (key, want) in [
            ("a=>x", Some(2)),
            ("a[0]=>x", Some(2)),
            ("a[1]=>x", Some(1)),
            ("a=>y", Some(3)),
            ("a[1]=>y", Some(4)),
            ("a[2]=>y", None),
            ("a=>z", None),
            ("b", Some(5)),
            ("c=>x", None),
        ] {
            assert_eq!(number(&records, key), want, "{key}");
        }
        let missing = Path::of(b"c[0]=>x");
        let refused = records.put(Kind::Stack, &missing, Stored::Int(1));
        assert_eq!(refused, Err(WriteError::NotHere));
        records.remove(Kind::Stack, &Path::of(b"a"));
        assert_eq!(number(&records, "a=>x"), Some(1));
        assert_eq!(records.count(b"a"), 1);
    }
}
