//! The variables: items, their lifetimes, counts, and what walks and events are at.

use crate::modules::entry::{keyed, writable};
use crate::modules::pv::Stored;
use crate::modules::{Call, Variable};
use crate::script::{self, Access, Heap, InnerKind, Text, Value, WriteError};

use super::{Item, Life, add, assign, open, set_life, table, take};

pub(super) const VARIABLES: [Variable; 9] = [
    writable(
        keyed(
            "sht",
            InnerKind::Item,
            read,
            "An item: table=>key. NULL removes it.",
        ),
        write,
    ),
    writable(
        keyed(
            "shtex",
            InnerKind::Item,
            read_life,
            "Seconds an item will live; of a table with autoexpire.",
        ),
        write_life,
    ),
    keyed(
        "shtcn",
        InnerKind::Item,
        |c, h, a| count(c, h, a, true),
        "How many keys match: table=>expression, or ==, ~~, ~%, %~ before a text.",
    ),
    keyed(
        "shtcv",
        InnerKind::Item,
        |c, h, a| count(c, h, a, false),
        "How many values match: as shtcn, or eq before a number.",
    ),
    keyed(
        "shtinc",
        InnerKind::Item,
        |c, h, a| step(c, h, a, 1),
        "A number, increased and read.",
    ),
    keyed(
        "shtdec",
        InnerKind::Item,
        |c, h, a| step(c, h, a, -1),
        "A number, decreased and read.",
    ),
    keyed(
        "shtrecord",
        InnerKind::OneOf(&["key", "value"]),
        expired,
        "The item that has expired: key or value.",
    ),
    keyed(
        "shtitkey",
        InnerKind::Name,
        |c, h, a| walked(c, h, a, |item, heap| heap.string(&item.key)),
        "The key that a walk is at.",
    ),
    keyed(
        "shtitval",
        InnerKind::Name,
        |c, h, a| walked(c, h, a, |item, heap| item.value.value(heap)),
        "The value that a walk is at.",
    ),
];

/// `table=>key` as its two parts.
fn parts(heap: &Heap, text: Text) -> Option<(Text, Text)> {
    let bytes = heap.bytes(text);
    let at = bytes.windows(2).position(|w| w == b"=>")?;
    let blanks = bytes[..at].trim_ascii_end().len();
    Some((text.part(0, blanks), text.part(at + 2, bytes.len())))
}

fn read(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let Some((name, key)) = parts(heap, access.key.text()) else {
        return Value::Null;
    };
    let Some((at, definition)) = open(call.env.state, heap.bytes(name)) else {
        return Value::Null;
    };
    let initval = definition.initval;
    match table(call.env.state, at).find(heap.bytes(key)) {
        Some(item) => item.value.value(heap),
        None => initval.map_or(Value::Null, Value::Int),
    }
}

fn write(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let (name, key) = parts(heap, access.key.text()).ok_or(WriteError::Invalid)?;
    let (at, definition) = open(call.env.state, heap.bytes(name)).ok_or(WriteError::NotHere)?;
    let life = Life::of(definition);
    match Stored::of(heap, value) {
        None => {
            if let Some(place) = table(call.env.state, at).place(heap.bytes(key)) {
                take(&mut call.env, at, place);
            }
            Ok(())
        }
        Some(stored) => {
            let is_put = assign(&mut call.env, (at, life), heap.bytes(key), stored);
            is_put.then_some(()).ok_or(WriteError::Full)
        }
    }
}

fn step(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>, by: i64) -> Value {
    let Some((name, key)) = parts(heap, access.key.text()) else {
        return Value::Null;
    };
    let Some((at, definition)) = open(call.env.state, heap.bytes(name)) else {
        return Value::Null;
    };
    let life = Life::of(definition);
    let new = add(&mut call.env, (at, life), heap.bytes(key), by);
    new.map_or(Value::Null, Value::Int)
}

fn read_life(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let Some((name, key)) = parts(heap, access.key.text()) else {
        return Value::Null;
    };
    let Some((at, _)) = open(call.env.state, heap.bytes(name)) else {
        return Value::Null;
    };
    let now = call.env.now.mono;
    let end = table(call.env.state, at)
        .find(heap.bytes(key))
        .and_then(|item| item.end);
    // What is left of a second counts as one: an item that is there has time to live.
    Value::Int(end.map_or(0, |(end, _)| {
        end.since(now).as_millis().div_ceil(1000) as i64
    }))
}

fn write_life(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    let (name, key) = parts(heap, access.key.text()).ok_or(WriteError::Invalid)?;
    let (at, definition) = open(call.env.state, heap.bytes(name)).ok_or(WriteError::NotHere)?;
    let can_expire = definition.autoexpire.is_some();
    let seconds = heap.number(value).ok_or(WriteError::Invalid)?;
    let place = table(call.env.state, at).place(heap.bytes(key));
    if let Some(place) = place.filter(|_| can_expire) {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        set_life(&mut call.env, at, place, seconds);
    }
    Ok(())
}

fn count(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>, of_keys: bool) -> Value {
    let Some((name, pattern)) = parts(heap, access.key.text()) else {
        return Value::Null;
    };
    let Some((at, _)) = open(call.env.state, heap.bytes(name)) else {
        return Value::Null;
    };
    let pattern = heap.bytes(pattern);
    let found = Pattern::of(pattern, of_keys);
    let is_it = |item: &&Item| match (&item.value, of_keys) {
        (_, true) => found.holds(&item.key),
        (Stored::Text(text), false) => found.holds(text),
        (Stored::Int(n), false) => found.is(*n),
    };
    let all = table(call.env.state, at).iter();
    Value::Int(all.filter(is_it).count() as i64)
}

/// What `$shtcn` and `$shtcv` look for.
enum Pattern<'a> {
    All,
    Is(&'a [u8]),
    Begins(&'a [u8]),
    Ends(&'a [u8]),
    Number(i64),
    Matches(regex::bytes::Regex),
    Nothing,
}

impl Pattern<'_> {
    fn of(text: &[u8], of_keys: bool) -> Pattern<'_> {
        match text {
            b"**" => Pattern::All,
            [b'=', b'=', rest @ ..] => Pattern::Is(rest),
            [b'%', b'~', rest @ ..] => Pattern::Begins(rest),
            [b'~', b'%', rest @ ..] => Pattern::Ends(rest),
            [b'e', b'q', rest @ ..] if !of_keys => {
                script::parse_int(rest).map_or(Pattern::Nothing, Pattern::Number)
            }
            [b'~', b'~', rest @ ..] => Pattern::matching(rest),
            rest => Pattern::matching(rest),
        }
    }

    fn matching(text: &[u8]) -> Pattern<'_> {
        match script::compile_regex(text) {
            Some(regex) if !text.is_empty() => Pattern::Matches(regex),
            _ => Pattern::Nothing,
        }
    }

    fn holds(&self, text: &[u8]) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Is(want) => text == *want,
            Pattern::Begins(want) => text.starts_with(want),
            Pattern::Ends(want) => text.ends_with(want),
            Pattern::Matches(regex) => regex.is_match(text),
            Pattern::Number(_) | Pattern::Nothing => false,
        }
    }

    fn is(&self, number: i64) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Number(want) => number == *want,
            Pattern::Is(_)
            | Pattern::Begins(_)
            | Pattern::Ends(_)
            | Pattern::Matches(_)
            | Pattern::Nothing => false,
        }
    }
}

fn expired(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let Some((key, value)) = &call.env.state.stores.tables.expired else {
        return Value::Str(Text::EMPTY);
    };
    match crate::modules::entry::word(access) {
        0 => heap.string(key),
        _ => value.value(heap),
    }
}

fn walked(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    read: fn(&Item, &mut Heap) -> Value,
) -> Value {
    let state = &*call.env.state;
    let Some(walk) = state.stores.tables.walks.get(heap.bytes(access.key.text())) else {
        return Value::Null;
    };
    let item = walk
        .at
        .as_ref()
        .and_then(|key| table(state, walk.table).find(key));
    item.map_or(Value::Null, |item| read(item, heap))
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run_with};

    const TABLES: &str = "modparam(\"htable\", \"htable\", \"a=>size=4;\")
        modparam(\"htable\", \"htable\", \"b=>size=4;autoexpire=10;\")
        modparam(\"htable\", \"htable\", \"c=>size=4;initval=3\")\n";

    #[test]
    fn items() {
        let table = [
            ("", "$sht(a=>x)|$sht(c=>x)|$sht(nope=>x)", "<null>|3|<null>"),
            ("$sht(a=>x) = 5;", "$sht(a=>x)", "5"),
            (
                "$sht(a=>x) = 5; $sht(a=>x) = \"text\";",
                "$sht(a=>x)",
                "text",
            ),
            (
                "$sht(a=>x) = 5; $sht(a=>x) = $null;",
                "$sht(a=>x)",
                "<null>",
            ),
            ("$sht(a=>x) = \"\";", "[$sht(a=>x)]", "[]"),
            ("$sht(a=>k$ci) = 1;", "$sht(a=>kcall-1@a.test)", "1"),
            ("$sht(nope=>x) = 1;", "$sht(nope=>x)", "<null>"),
            ("", "$shtinc(a=>n)|$sht(a=>n)", "<null>|<null>"),
            (
                "$sht(a=>n) = 1;",
                "$shtinc(a=>n) $shtinc(a=>n) $shtdec(a=>n) $sht(a=>n)",
                "2 3 2 2",
            ),
            (
                "$sht(a=>n) = \"5\";",
                "$shtinc(a=>n) $sht(a=>n)",
                "<null> 5",
            ),
            ("", "$shtinc(c=>k) $shtdec(c=>k) $sht(c=>k)", "4 3 3"),
        ];
        for (statements, format, want) in table {
            let ran = run_with(TABLES, &format!("{statements} xlog(\"{format}\");"), INVITE);
            assert_eq!(ran.lines, [want], "{statements} {format}");
        }
    }

    #[test]
    fn lifetimes() {
        let table = [
            ("", "$shtex(b=>n)", "0"),
            ("$sht(b=>n) = 1;", "$shtex(b=>n)", "10"),
            ("$sht(b=>n) = 1; $shtex(b=>n) = 100;", "$shtex(b=>n)", "100"),
            (
                "$sht(b=>n) = 1; $shtex(b=>n) = 0;",
                "$shtex(b=>n) $sht(b=>n)",
                "0 1",
            ),
            ("$sht(a=>n) = 1; $shtex(a=>n) = 50;", "$shtex(a=>n)", "0"),
            (
                "$shtex(b=>zz) = 50;",
                "$shtex(b=>zz) $sht(b=>zz)",
                "0 <null>",
            ),
        ];
        for (statements, format, want) in table {
            let ran = run_with(TABLES, &format!("{statements} xlog(\"{format}\");"), INVITE);
            assert_eq!(ran.lines, [want], "{statements}");
            assert_eq!(ran.state.wheel.len(), ran.state.stores.tables.timer_count());
        }
    }

    #[test]
    fn counts() {
        let fill = "$sht(a=>k1) = 1; $sht(a=>k2) = 2; $sht(a=>k3) = 2; $sht(a=>x1) = \"v\";
             $sht(a=>x2) = \"vw\"; $sht(a=>x3) = \"wv\"; $sht(a=>x4) = \"1\"; $sht(a=>K5) = \"\";";
        let table = [
            ("$shtcv(a=>1)", 1),
            ("$shtcv(a=>v)", 3),
            ("$shtcv(a=>~~v)", 3),
            ("$shtcv(a=>~%v)", 2),
            ("$shtcv(a=>%~v)", 2),
            ("$shtcv(a=>==v)", 1),
            ("$shtcv(a=>eq1)", 1),
            ("$shtcv(a=>eq2)", 2),
            ("$shtcv(a=>ne1)", 0),
            ("$shtcv(a=>**)", 8),
            ("$shtcv(a=>~~)", 0),
            ("$shtcn(a=>k)", 4),
            ("$shtcn(a=>K)", 4),
            ("$shtcn(a=>~%1)", 2),
            ("$shtcn(a=>%~k)", 3),
            ("$shtcn(a=>%~K)", 1),
            ("$shtcn(a=>==k1)", 1),
            ("$shtcn(a=>==K1)", 0),
            ("$shtcn(a=>**)", 8),
            ("$shtcn(a=>k[12])", 2),
        ];
        for (format, want) in table {
            let ran = run_with(TABLES, &format!("{fill} xlog(\"{format}\");"), INVITE);
            assert_eq!(ran.lines, [want.to_string()], "{format}");
        }
    }
}
