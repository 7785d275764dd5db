//! `$stat`, and the two modules by which a script counts itself.
//!
//! A script sees the figures of its own shard, and of dialogs those of all; operators see the sums
//! of all.

use std::collections::BTreeMap;

use crate::effect::Level;
use crate::script::{
    CallSite, Heap, Outcome, ParamKind, ParamType, RouteKinds, Setting, Vocabulary,
};

use super::entry::{NO, YES, function, param, text_of};
use super::{Call, Config, EMPTY, Function, Module, ParamError, State, all, rpc};

/// The value of the statistic with this name, in any group, as this shard knows it.
pub fn read(state: &State, name: &[u8]) -> Option<i64> {
    let loaded = state.setup.program.modules.iter();
    let modules = std::iter::once(Vocabulary::CORE).chain(loaded.copied());
    let mut own = modules.flat_map(|id| all()[usize::from(id.0)].statistics);
    let config = &state.setup.config;
    match own.find(|s| s.name.as_bytes() == name && (s.is_on)(config)) {
        Some(statistic) => {
            let sum = (statistic.read)(state) + (statistic.elsewhere)(state);
            i64::try_from(sum).ok()
        }
        None => state.stores.counters.get(config, name),
    }
}

/// A statistic that the configuration declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declared {
    /// The group: `script` unless it says otherwise.
    pub group: Box<str>,
    /// The name.
    pub name: Box<str>,
    /// Whether resetting leaves it alone.
    pub no_reset: bool,
}

/// Parameters of `statistics` and `counters`.
#[derive(Clone, Default, Debug)]
pub struct Declarations {
    /// What scripts may count.
    pub declared: Vec<Declared>,
}

/// The statistics that scripts of one shard have counted.
#[derive(Debug, Default)]
pub struct ScriptCounters {
    values: BTreeMap<Box<str>, i64>,
}

impl ScriptCounters {
    /// The value; `None`: no such statistic was declared.
    pub fn get(&self, config: &Config, name: &[u8]) -> Option<i64> {
        let declared = find(config, name)?;
        Some(self.values.get(&declared.name).copied().unwrap_or(0))
    }

    /// Changes the value by `change`. False: no such statistic was declared.
    fn change(&mut self, config: &Config, name: &[u8], change: impl Fn(i64) -> i64) -> bool {
        let Some(declared) = find(config, name) else {
            return false;
        };
        // There are as many as the configuration declares.
        let value = self.values.entry(declared.name.clone()).or_default();
        *value = change(*value);
        true
    }
}

fn find<'a>(config: &'a Config, name: &[u8]) -> Option<&'a Declared> {
    let mut all = config.statistics.declared.iter();
    all.find(|d| d.name.as_bytes() == name)
}

const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;

/// The module's table.
pub const MODULE: Module = Module {
    name: "statistics",
    doc: "Statistics of the script.",
    functions: &FUNCTIONS,
    params: &[param(
        "variable",
        ParamType::Str,
        "",
        (
            |c, v| declare(c, v, "script"),
            "A statistic of the script's: name or name/no_reset.",
        ),
    )],
    ..EMPTY
};

const FUNCTIONS: [Function; 2] = [
    function(
        "update_stat",
        &[TEXT, TEXT],
        ANY,
        (update, "Adds a number with its sign to a statistic."),
    ),
    function(
        "reset_stat",
        &[TEXT],
        RouteKinds::NOT_ONSEND,
        (reset, "Sets a statistic to 0, unless it is no_reset."),
    ),
];

/// The module's table.
pub const COUNTERS: Module = Module {
    name: "counters",
    doc: "Counters of the script.",
    functions: &COUNTER_FUNCTIONS,
    commands: &rpc::stats::COUNTERS,
    params: &[param(
        "script_counter",
        ParamType::Str,
        "",
        (
            |c, v| declare(c, v, "script"),
            "A counter of the script's: name, or group.name and a description.",
        ),
    )],
    ..EMPTY
};

const COUNTER_FUNCTIONS: [Function; 3] = [
    function(
        "cnt_inc",
        &[TEXT],
        RouteKinds::ANSWERING.or(RouteKinds::ONSEND),
        (increase, "Adds 1 to a counter."),
    ),
    function(
        "cnt_add",
        &[TEXT, ParamKind::Int],
        RouteKinds::ANSWERING.or(RouteKinds::ONSEND),
        (add, "Adds to a counter."),
    ),
    function(
        "cnt_reset",
        &[TEXT],
        RouteKinds::ANSWERING.or(RouteKinds::ONSEND),
        (reset, "Sets a counter to 0."),
    ),
];

/// `[group.]name[/no_reset][ description]`, the description also behind `:` or `=`.
fn declare(config: &mut Config, setting: &Setting, group: &str) -> Result<(), ParamError> {
    const WANTED: ParamError = ParamError("the name of a counter");
    let text = setting.text().and_then(|t| std::str::from_utf8(t).ok());
    let text = text.ok_or(WANTED)?.trim();
    let end = text.find([' ', ':', '=', '(']).unwrap_or(text.len());
    let (name, no_reset) = match text[..end].strip_suffix("/no_reset") {
        Some(name) => (name, true),
        None => (&text[..end], false),
    };
    let (group, name) = name.split_once('.').unwrap_or((group, name));
    if name.is_empty() {
        return Err(WANTED);
    }
    config.statistics.declared.push(Declared {
        group: group.into(),
        name: name.into(),
        no_reset,
    });
    Ok(())
}

fn change(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    change: impl Fn(i64) -> i64,
) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    // `group.name`, as it may be declared, names the same counter.
    let at = name.iter().position(|b| *b == b'.').map_or(0, |at| at + 1);
    let state = &mut *call.env.state;
    let config = &state.setup.config;
    if state.stores.counters.change(config, &name[at..], change) {
        return YES;
    }
    let text = format!(
        "there is no statistic {} (line {})",
        name.escape_ascii(),
        site.at.line
    );
    call.env.log(Level::Err, text);
    NO
}

fn update(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.int(1, call, heap) {
        Some(n) => change(call, heap, site, |old| old.saturating_add(n)),
        None => NO,
    }
}

fn reset(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let stays = find(&call.env.state.setup.config, &name).is_some_and(|d| d.no_reset);
    change(call, heap, site, |old| if stays { old } else { 0 })
}

fn increase(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    change(call, heap, site, |old| old.saturating_add(1))
}

fn add(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    update(call, heap, site)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample::{INVITE, run_with, value};

    const DECLARED: &str = "modparam(\"statistics\", \"variable\", \"mine\")
        modparam(\"statistics\", \"variable\", \"kept/no_reset\")
        modparam(\"counters\", \"script_counter\", \"foo\")
        modparam(\"counters\", \"script_counter\", \"g.bar what it is for\")";

    #[test]
    fn a_script_counts() {
        let table = [
            ("update_stat(\"mine\", \"+5\")", "mine", "1 5"),
            ("update_stat(\"mine\", \"-2\")", "mine", "1 -2"),
            ("update_stat(\"mine\", \"7\")", "mine", "1 7"),
            ("update_stat(\"mine\", \"x\")", "mine", "-1 0"),
            (
                "update_stat(\"kept\", \"+1\"); reset_stat(\"kept\")",
                "kept",
                "1 1",
            ),
            (
                "update_stat(\"mine\", \"+1\"); reset_stat(\"mine\")",
                "mine",
                "1 0",
            ),
            ("update_stat(\"nope\", \"+1\")", "nope", "-1 <null>"),
            ("cnt_inc(\"foo\")", "foo", "1 1"),
            ("cnt_add(\"foo\", \"5\")", "foo", "1 5"),
            ("cnt_add(\"g.bar\", \"5\"); cnt_inc(\"bar\")", "bar", "1 6"),
            ("cnt_inc(\"foo\"); cnt_reset(\"foo\")", "foo", "1 0"),
            ("cnt_inc(\"nope\")", "nope", "-1 <null>"),
        ];
        for (calls, name, want) in table {
            let (before, last) = calls.rsplit_once("; ").unwrap_or(("", calls));
            let statements =
                format!("{before}; $var(r) = {last}; xlog(\"$var(r) $stat({name})\");");
            let ran = run_with(DECLARED, &statements, INVITE);
            assert_eq!(ran.lines, [want], "{calls}");
        }
    }

    #[test]
    fn a_script_reads_what_its_core_counts() {
        let table = [
            ("", "$stat(UAS_transactions) $stat(1xx_replies)", "0 0"),
            (
                "t_newtran(); t_reply(404, \"No\");",
                "$stat(UAS_transactions) $stat(4xx_transactions) $stat(rpl_generated)",
                "1 1 1",
            ),
            (
                "sl_send_reply(404, \"No\");",
                "$stat(404_replies) $stat(4xx_replies) $stat(rpl_generated) $stat(sent_replies)",
                "1 1 0 1",
            ),
            (
                "",
                "$stat(tmx:UAS_transactions) $stat(nope)",
                "<null> <null>",
            ),
        ];
        for (statements, format, want) in table {
            assert_eq!(value(statements, format, INVITE), want, "{format}");
        }
    }

    #[test]
    fn a_declaration_has_a_name() {
        let mut config = Config::default();
        let setting = |text: &str| Setting::Text(text.as_bytes().into());
        for text in ["", ".", "g. x", " : text"] {
            assert!(
                declare(&mut config, &setting(text), "script").is_err(),
                "{text}"
            );
        }
        declare(&mut config, &setting("a.b:text"), "script").unwrap();
        let b = &config.statistics.declared[0];
        assert_eq!((&*b.group, &*b.name, b.no_reset), ("a", "b", false));
    }
}
