//! The functions: removing items in numbers, and walks.

use crate::effect::Level;
use crate::limits::TABLE_WALK_COUNT_MAX;
use crate::modules::comparison::Comparison;
use crate::modules::entry::{NO, YES, function, text_of, truth};
use crate::modules::pv::Stored;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};

use super::{Item, Life, Walk, assign, change_of, open, table, table_mut, take, tell};

const TEXT: ParamKind = ParamKind::Text;
const INT: ParamKind = ParamKind::Int;
const ANY: RouteKinds = RouteKinds::ANY;

pub(super) const FUNCTIONS: [Function; 22] = [
    function("sht_rm", &[TEXT, TEXT], ANY, (remove, "Removes an item.")),
    function(
        "sht_rm_name",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| remove_where(c, h, s, true),
            "Removes items whose key matches: re or sw, and the text.",
        ),
    ),
    function(
        "sht_rm_value",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| remove_where(c, h, s, false),
            "Removes items whose value matches: re or sw, and the text.",
        ),
    ),
    function(
        "sht_rm_name_re",
        &[TEXT],
        ANY,
        (
            |c, h, s| remove_matching(c, h, s, true),
            "Removes items whose key matches: table=>expression.",
        ),
    ),
    function(
        "sht_rm_value_re",
        &[TEXT],
        ANY,
        (
            |c, h, s| remove_matching(c, h, s, false),
            "Removes items whose value matches: table=>expression.",
        ),
    ),
    function("sht_reset", &[TEXT], ANY, (reset, "Empties a table.")),
    function(
        "sht_print",
        &[],
        ANY,
        (print, "Writes the tables of this core to the log."),
    ),
    function(
        "sht_lock",
        &[TEXT],
        ANY,
        (lock, "No effect: nothing interrupts a script."),
    ),
    function(
        "sht_unlock",
        &[TEXT],
        ANY,
        (lock, "No effect: nothing interrupts a script."),
    ),
    function(
        "sht_iterator_start",
        &[TEXT, TEXT],
        ANY,
        (start, "Begins a walk: its name, the table."),
    ),
    function(
        "sht_iterator_next",
        &[TEXT],
        ANY,
        (next, "Goes to the next item, by key."),
    ),
    function("sht_iterator_end", &[TEXT], ANY, (end, "Ends a walk.")),
    function(
        "sht_iterator_rm",
        &[TEXT],
        ANY,
        (remove_here, "Removes the item that a walk is at."),
    ),
    function(
        "sht_iterator_sets",
        &[TEXT, TEXT],
        ANY,
        (set_text, "Sets its value."),
    ),
    function(
        "sht_iterator_seti",
        &[TEXT, INT],
        ANY,
        (set_number, "Sets its value to a number."),
    ),
    function(
        "sht_iterator_setex",
        &[TEXT, INT],
        ANY,
        (set_life, "Sets how many seconds it will live."),
    ),
    function(
        "sht_setxs",
        &[TEXT, TEXT, TEXT, INT],
        ANY,
        (
            put_text,
            "Sets an item to a text that lives for so many seconds.",
        ),
    ),
    function(
        "sht_setxi",
        &[TEXT, TEXT, INT, INT],
        ANY,
        (
            put_number,
            "Sets an item to a number that lives for so many seconds.",
        ),
    ),
    function(
        "sht_match_str_value",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| has(c, h, s, false),
            "Whether a text among the values matches: eq, ne, re or sw, and the text.",
        ),
    ),
    function(
        "sht_has_str_value",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| has(c, h, s, false),
            "The same as sht_match_str_value.",
        ),
    ),
    function(
        "sht_match_name",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| has(c, h, s, true),
            "Whether a key matches: eq, ne, re or sw, and the text.",
        ),
    ),
    function(
        "sht_has_name",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| has(c, h, s, true),
            "Whether a key matches: eq, ne, re or sw, and the text.",
        ),
    ),
];

/// The table that an argument names; complains when there is none.
fn named(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, index: usize) -> Option<u16> {
    let name = text_of(call, heap, site, index).unwrap_or_default();
    by_name(call, &name)
}

fn by_name(call: &mut Call<'_>, name: &[u8]) -> Option<u16> {
    let found = open(call.env.state, name).map(|(at, _)| at);
    if found.is_none() {
        let text = format!("there is no table {}", name.escape_ascii());
        call.env.log(Level::Err, text);
    }
    found
}

fn remove(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let key = text_of(call, heap, site, 1).unwrap_or_default();
    let Some(at) = named(call, heap, site, 0) else {
        return NO;
    };
    if let Some(place) = table(call.env.state, at).place(&key) {
        take(&mut call.env, at, place);
    }
    YES
}

/// How keys or values are compared; complains when it cannot be said.
fn comparison<'a>(call: &mut Call<'_>, operator: &[u8], text: &'a [u8]) -> Option<Comparison<'a>> {
    let found = Comparison::of(operator, text).filter(|_| operator != b"in");
    if found.is_none() {
        let text = format!("no such way to compare: {}", operator.escape_ascii());
        call.env.log(Level::Warn, text);
    }
    found
}

fn is_item(wanted: &Comparison<'_>, item: &Item, by_key: bool) -> bool {
    match (&item.value, by_key) {
        (_, true) => wanted.holds(&item.key),
        (Stored::Text(text), false) => wanted.holds(text),
        (Stored::Int(_), false) => false,
    }
}

fn remove_where(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, by_key: bool) -> Outcome {
    let operator = text_of(call, heap, site, 1).unwrap_or_default();
    let text = text_of(call, heap, site, 2).unwrap_or_default();
    let Some(at) = named(call, heap, site, 0) else {
        return NO;
    };
    // Only the two of the original: removing what is equal is sht_rm.
    let operator = if matches!(&*operator, b"eq" | b"ne") {
        &b"only re and sw"[..]
    } else {
        &operator
    };
    match comparison(call, operator, &text) {
        Some(wanted) => remove_all(call, at, |item| is_item(&wanted, item, by_key)),
        None => NO,
    }
}

fn remove_all(call: &mut Call<'_>, at: u16, is_wanted: impl Fn(&Item) -> bool) -> Outcome {
    let places = table(call.env.state, at).places(is_wanted);
    for place in places {
        take(&mut call.env, at, place);
    }
    YES
}

fn remove_matching(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, by_key: bool) -> Outcome {
    let text = text_of(call, heap, site, 0).unwrap_or_default();
    let Some(split) = text.windows(2).position(|w| w == b"=>") else {
        return NO;
    };
    let Some(at) = by_name(call, text[..split].trim_ascii()) else {
        return NO;
    };
    match comparison(call, b"re", &text[split + 2..]) {
        Some(wanted) => remove_all(call, at, |item| is_item(&wanted, item, by_key)),
        None => NO,
    }
}

fn reset(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match named(call, heap, site, 0) {
        Some(at) => remove_all(call, at, |_| true),
        None => NO,
    }
}

fn print(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    const SHOWN: usize = 1000;
    let mut lines = vec![];
    for (name, table) in &call.env.state.stores.tables.list {
        lines.push(format!("table {name}: {} items", table.len()));
        lines.extend(table.iter().take(SHOWN).map(|item| {
            let value = match &item.value {
                Stored::Int(n) => n.to_string(),
                Stored::Text(text) => format!("\"{}\"", text.escape_ascii()),
            };
            format!("  {} = {value}", item.key.escape_ascii())
        }));
    }
    for line in lines {
        call.env.log(Level::Err, line);
    }
    YES
}

fn lock(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text = text_of(call, heap, site, 0).unwrap_or_default();
    let end = text.windows(2).position(|w| w == b"=>");
    let name = text[..end.unwrap_or(text.len())].trim_ascii();
    truth(by_name(call, name).is_some())
}

fn start(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let walk = text_of(call, heap, site, 0).unwrap_or_default();
    let Some(table) = named(call, heap, site, 1) else {
        return NO;
    };
    let walks = &mut call.env.state.stores.tables.walks;
    if walks.len() >= TABLE_WALK_COUNT_MAX && !walks.contains_key(&*walk) {
        call.env
            .log(Level::Err, "too many walks through tables at a time");
        return NO;
    }
    walks.insert((*walk).into(), Walk { table, at: None });
    YES
}

fn next(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let tables = &mut call.env.state.stores.tables;
    let Some(walk) = tables.walks.get_mut(&*name) else {
        return NO;
    };
    let (_, table) = &tables.list[usize::from(walk.table)];
    match table.after(walk.at.as_deref()) {
        Some(item) => {
            walk.at = Some(item.key.clone());
            YES
        }
        None => NO,
    }
}

fn end(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    truth(call.env.state.stores.tables.walks.remove(&*name).is_some())
}

/// The item that the walk in the first argument is at.
fn here(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<(u16, crate::slab::Key)> {
    let name = text_of(call, heap, site, 0)?;
    let walk = call.env.state.stores.tables.walks.get(&*name)?;
    let place = table(call.env.state, walk.table).place(walk.at.as_ref()?)?;
    Some((walk.table, place))
}

fn remove_here(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match here(call, heap, site) {
        Some((at, place)) => truth(take(&mut call.env, at, place).is_some()),
        None => NO,
    }
}

fn set_text(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text = text_of(call, heap, site, 1).unwrap_or_default();
    set_here(call, heap, site, Stored::Text((*text).into()))
}

fn set_number(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.int(1, call, heap) {
        Some(n) => set_here(call, heap, site, Stored::Int(n)),
        None => NO,
    }
}

fn set_here(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, value: Stored) -> Outcome {
    let Some((at, place)) = here(call, heap, site) else {
        return NO;
    };
    let stamp = (call.env.now.wall.as_micros(), call.env.state.id.0);
    let Some(item) = table_mut(call.env.state, at).get_mut(place) else {
        return NO;
    };
    let (key, change) = (item.key.clone(), change_of(&value));
    (item.value, item.stamp) = (value, stamp);
    tell(&mut call.env, at, &key, change);
    YES
}

fn set_life(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let seconds = site.int(1, call, heap).unwrap_or(0);
    let Some((at, place)) = here(call, heap, site) else {
        return NO;
    };
    let name = &call.env.state.stores.tables.list[usize::from(at)].0;
    let definition = call.env.state.setup.config.htable.table(name.as_bytes());
    if definition.is_some_and(|d| d.autoexpire.is_some()) {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        super::set_life(&mut call.env, at, place, seconds);
    }
    YES
}

fn put_text(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text = text_of(call, heap, site, 2).unwrap_or_default();
    put_living(call, heap, site, Stored::Text((*text).into()))
}

fn put_number(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.int(2, call, heap) {
        Some(n) => put_living(call, heap, site, Stored::Int(n)),
        None => NO,
    }
}

/// Items of a table without `autoexpire` live on.
fn put_living(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, value: Stored) -> Outcome {
    let (name, key) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let seconds = site.int(3, call, heap);
    let (Some(name), Some(key), Some(seconds)) = (name, key, seconds) else {
        return NO;
    };
    let Some((at, definition)) = open(call.env.state, &name) else {
        return NO;
    };
    let (life, can_expire) = (Life::of(definition), definition.autoexpire.is_some());
    if !assign(&mut call.env, (at, life), &key, value) {
        call.env.log(Level::Err, "the table is full");
        return NO;
    }
    let place = table(call.env.state, at).place(&key);
    if let Some(place) = place.filter(|_| can_expire) {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        super::set_life(&mut call.env, at, place, seconds);
    }
    YES
}

fn has(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, by_key: bool) -> Outcome {
    let operator = text_of(call, heap, site, 1).unwrap_or_default();
    let text = text_of(call, heap, site, 2).unwrap_or_default();
    let Some(at) = named(call, heap, site, 0) else {
        return NO;
    };
    let Some(wanted) = comparison(call, &operator, &text) else {
        return NO;
    };
    let mut all = table(call.env.state, at).iter();
    truth(all.any(|item| is_item(&wanted, item, by_key)))
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run_with};

    const TABLES: &str = "modparam(\"htable\", \"htable\", \"a=>size=4;\")
        modparam(\"htable\", \"htable\", \"b=>size=4;autoexpire=10;\")\n";

    #[test]
    fn removing_and_asking() {
        let fill = "$sht(a=>ab1) = 1; $sht(a=>ab2) = \"one\"; $sht(a=>xab3) = \"two\";";
        let table = [
            ("sht_rm(\"a\", \"ab1\")", "1 2"),
            ("sht_rm(\"a\", \"nope\")", "1 3"),
            ("sht_rm(\"nope\", \"ab1\")", "-1 3"),
            ("sht_match_name(\"a\", \"eq\", \"ab2\")", "1 3"),
            ("sht_match_name(\"a\", \"eq\", \"nope\")", "-1 3"),
            ("sht_match_name(\"a\", \"ne\", \"ab2\")", "1 3"),
            ("sht_match_name(\"a\", \"re\", \"^ab\")", "1 3"),
            ("sht_match_name(\"a\", \"sw\", \"b\")", "-1 3"),
            ("sht_match_name(\"a\", \"xx\", \"ab\")", "-1 3"),
            ("sht_has_name(\"a\", \"eq\", \"ab2\")", "1 3"),
            ("sht_rm_name(\"a\", \"sw\", \"ab\")", "1 1"),
            ("sht_rm_name(\"a\", \"re\", \"AB3\")", "1 2"),
            ("sht_rm_name(\"a\", \"eq\", \"ab1\")", "-1 3"),
            ("sht_rm_value(\"a\", \"sw\", \"on\")", "1 2"),
            ("sht_rm_value_re(\"a=>^tw\")", "1 2"),
            ("sht_rm_name_re(\"a=>^x\")", "1 2"),
            ("sht_rm_name_re(\"a\")", "-1 3"),
            ("sht_lock(\"a=>x\")", "1 3"),
            ("sht_unlock(\"a=>x\")", "1 3"),
            ("sht_lock(\"nope=>x\")", "-1 3"),
            ("sht_reset(\"a\")", "1 0"),
            ("sht_reset(\"nope\")", "-1 3"),
            ("sht_print()", "1 3"),
            ("sht_setxs(\"a\", \"ab1\", \"x\", \"5\")", "1 3"),
            ("sht_setxi(\"a\", \"new\", \"7\", \"5\")", "1 4"),
            ("sht_setxi(\"nope\", \"new\", \"7\", \"5\")", "-1 3"),
            ("sht_match_str_value(\"a\", \"eq\", \"one\")", "1 3"),
            ("sht_match_str_value(\"a\", \"eq\", \"1\")", "-1 3"),
            ("sht_has_str_value(\"a\", \"sw\", \"tw\")", "1 3"),
        ];
        for (call, want) in table {
            let statements = format!("{fill} $var(r) = {call}; xlog(\"$var(r) $shtcn(a=>**)\");");
            let ran = run_with(TABLES, &statements, INVITE);
            assert_eq!(ran.lines, [want], "{call}");
        }
    }

    #[test]
    fn walks() {
        let fill = "$sht(b=>i2) = 2; $sht(b=>i1) = \"v1\"; $sht(b=>i3) = \"v3\";
             $var(r) = sht_iterator_start(\"w\", \"b\");";
        let table = [
            ("", "$var(r) $shtitkey(w) $shtitval(w)", "1 <null> <null>"),
            (
                "sht_iterator_next(\"w\");",
                "$shtitkey(w) $shtitval(w)",
                "i1 v1",
            ),
            (
                "$var(s) = \"\"; while(sht_iterator_next(\"w\")) { $var(s) = $var(s) +
                 $shtitkey(w) + \"=\" + $shtitval(w) + \";\"; }",
                "$var(s)",
                "i1=v1;i2=2;i3=v3;",
            ),
            (
                "sht_iterator_next(\"w\"); sht_iterator_rm(\"w\"); sht_iterator_next(\"w\");
                 sht_iterator_seti(\"w\", \"7\"); sht_iterator_setex(\"w\", \"70\");",
                "$sht(b=>i1) $shtitkey(w) $sht(b=>i2) $shtex(b=>i2)",
                "<null> i2 7 70",
            ),
            (
                "sht_iterator_next(\"w\"); sht_iterator_sets(\"w\", \"new $rm\");",
                "$sht(b=>i1)",
                "new INVITE",
            ),
            (
                "$var(r) = sht_iterator_sets(\"w\", \"q\");",
                "$var(r)",
                "-1",
            ),
            ("$var(r) = sht_iterator_end(\"w\");", "$var(r)", "1"),
            (
                "sht_iterator_end(\"w\"); $var(r) = sht_iterator_end(\"w\");",
                "$var(r)",
                "-1",
            ),
            ("$var(r) = sht_iterator_next(\"zz\");", "$var(r)", "-1"),
            (
                "$var(r) = sht_iterator_start(\"w\", \"nope\");",
                "$var(r)",
                "-1",
            ),
        ];
        for (statements, format, want) in table {
            let all = format!("{fill} {statements} xlog(\"{format}\");");
            let ran = run_with(TABLES, &all, INVITE);
            assert_eq!(ran.lines, [want], "{statements}");
            assert_eq!(ran.state.wheel.len(), ran.state.stores.tables.timer_count());
        }
    }

    #[test]
    fn there_are_not_too_many_walks() {
        let statements = "$var(i) = 0; while($var(i) < 70) {
             $var(r) = sht_iterator_start(\"w$var(i)\", \"a\"); $var(i) = $var(i) + 1; }
             xlog(\"$var(r)\"); $var(r) = sht_iterator_start(\"w1\", \"a\"); xlog(\"$var(r)\");";
        let ran = run_with(TABLES, statements, INVITE);
        assert_eq!(ran.lines, ["-1", "1"]);
    }
}
