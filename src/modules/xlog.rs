//! Writing to the log from the script.

use crate::effect::Level;
use crate::script::{CallSite, Heap, Outcome, ParamKind, ParamType, RouteKinds};

use super::entry::{YES, function, is_on, number, param, planned_function, planned_param};
use super::{Call, Function, Module, Param};

/// The module's table.
pub const MODULE: Module = Module {
    name: "xlog",
    doc: "Log lines from the script.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &[],
    params: &PARAMS,
    ..super::EMPTY
};

/// Parameters of `xlog` that mean something here.
#[derive(Clone, Debug)]
pub struct Config {
    /// `methods_filter`: bits of the methods for which `xlogm` writes nothing.
    pub methods_filter: i64,
    /// `long_format`: `xlogl` names the file, too.
    pub long_format: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            methods_filter: -1,
            long_format: false,
        }
    }
}

const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;

macro_rules! at {
    ($name:literal, $level:ident, $doc:literal) => {
        function(
            $name,
            &[TEXT],
            ANY,
            (|c, h, s| write(c, h, (s, 0), (Level::$level, "")), $doc),
        )
    };
}

const FUNCTIONS: [Function; 14] = [
    at!("xlog", Err, "A line at level ERR."),
    function(
        "xlog",
        &[ParamKind::Level, TEXT],
        ANY,
        (at_level, "A line at this level."),
    ),
    function(
        "xlogl",
        &[TEXT],
        ANY,
        (
            numbered,
            "A line at level ERR, with the script's line number.",
        ),
    ),
    function(
        "xlogl",
        &[ParamKind::Level, TEXT],
        ANY,
        (
            numbered_at_level,
            "A line at this level, with the script's line number.",
        ),
    ),
    at!("xdbg", Dbg, "A line at level DBG."),
    at!("xinfo", Info, "A line at level INFO."),
    at!("xnotice", Notice, "A line at level NOTICE."),
    at!("xwarn", Warn, "A line at level WARN."),
    at!("xerr", Err, "A line at level ERR."),
    at!("xcrit", Crit, "A line at level CRIT."),
    at!("xalert", Alert, "A line at level ALERT."),
    at!("xbug", Bug, "A line at level BUG."),
    function(
        "xlogm",
        &[ParamKind::Level, TEXT],
        ANY,
        (
            by_method,
            "A line at this level, unless methods_filter has the method.",
        ),
    ),
    planned_function("xlogs", &[TEXT, TEXT], 2, (ANY, "A line for a facility.")),
];

const PARAMS: [Param; 7] = [
    param(
        "buf_size",
        ParamType::Int,
        "4096",
        (
            |_, s| number(s, 1, 1 << 31, "1 to 2^31").map(|_| ()),
            "No effect: lines may be as long as strings.",
        ),
    ),
    planned_param(
        "prefix",
        ParamType::Str,
        "<script>: ",
        "What stands before each line.",
    ),
    planned_param("force_color", ParamType::Int, "0", "Colours."),
    param(
        "long_format",
        ParamType::Int,
        "0",
        (
            |c, s| {
                c.xlog.long_format = is_on(s);
                Ok(())
            },
            "Whether xlogl names the file before the line.",
        ),
    ),
    planned_param(
        "log_facility",
        ParamType::Str,
        "",
        "The facility of script lines.",
    ),
    planned_param("log_colors", ParamType::Str, "", "Colours by level."),
    param(
        "methods_filter",
        ParamType::Int,
        "-1",
        (
            |c, s| {
                c.xlog.methods_filter = s.int().unwrap_or(-1);
                Ok(())
            },
            "Methods that xlogm writes nothing for, bits as in $rmid; -1: all.",
        ),
    ),
];

/// The text is only made when somebody wants the level.
fn write(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, index): (&CallSite, usize),
    (level, prefix): (Level, &str),
) -> Outcome {
    if level > call.env.state.setup.config.core.debug {
        return YES;
    }
    let value = site.text(index, call, heap);
    let text = heap.str(value).unwrap_or(b"<null>");
    let line = format!("{prefix}{}", String::from_utf8_lossy(text));
    call.renew_log_prefix(heap);
    call.log_script(level, line);
    YES
}

fn level(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Level {
    // A variable without a value counts as 0.
    Level::from_number(site.int(0, call, heap).unwrap_or(0))
}

fn at_level(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let level = level(call, heap, site);
    write(call, heap, (site, 1), (level, ""))
}

/// Of a response it is the method of CSeq that counts.
fn by_method(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let filter = call.env.state.setup.config.xlog.methods_filter;
    if filter & i64::from(call.work.message.method().bit()) != 0 {
        return YES;
    }
    at_level(call, heap, site)
}

/// What `xlogl` writes first: where it stands.
fn place(call: &Call<'_>, site: &CallSite) -> String {
    if call.env.state.setup.config.xlog.long_format {
        return format!("{}:{}:", call.program.file(site.at), site.at.line);
    }
    format!("{}:", site.at.line)
}

fn numbered(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let prefix = place(call, site);
    write(call, heap, (site, 0), (Level::Err, &prefix))
}

fn numbered_at_level(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (level, prefix) = (level(call, heap, site), place(call, site));
    write(call, heap, (site, 1), (level, &prefix))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{INVITE, run_with};

    #[test]
    fn lines_are_written_by_level() {
        let table = [
            ("xlog(\"a $rU $avp(x)\");", "a bob;x=y <null>"),
            ("xlog(\"L_ERR\", \"b\");", "b"),
            ("xlog(\"L_INFO\", \"c\");", ""),
            ("xwarn(\"d\\n\");", "d\n"),
            ("xnotice(\"e\");", ""),
            ("xlog(\"$var(l)\", \"f\");", "f"),
            ("xlogm(\"L_ERR\", \"i\");", ""),
            ("log(\"g\");", ""),
            ("log(0, \"h $rU\");", "h $rU"),
        ];
        for (statements, want) in table {
            let ran = run_with("debug=0", statements, INVITE);
            assert_eq!(ran.lines.concat(), want, "{statements}");
        }
    }

    #[test]
    fn lines_for_some_methods_only() {
        // The filter, what is written for an INVITE.
        let table = [
            (-1, ""),
            (1, ""),
            (513, ""),
            (0, "a"),
            (512, "a"),
            (-2, "a"),
        ];
        for (filter, want) in table {
            let globals = format!("modparam(\"xlog\", \"methods_filter\", {filter})");
            let ran = run_with(&globals, "xlogm(\"L_ERR\", \"a\");", INVITE);
            assert_eq!(ran.lines.concat(), want, "{filter}");
        }
    }
}
