//! Writing to the log from the script.

use crate::effect::{Colours, Facility, Level, Record};
use crate::script::{
    Access, CallSite, ErrorKind, Heap, InnerKind, Outcome, ParamKind, ParamType, Position, Program,
    RouteKinds, Setting, Value,
};

use super::entry::{NO, YES, function, is_on, keyed, number, param, some, words};
use super::{Call, Function, Module, Param, ParamError, Variable};

/// The module's table.
pub const MODULE: Module = Module {
    name: "xlog",
    doc: "Log lines from the script.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    ..super::EMPTY
};

/// Parameters of `xlog`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `methods_filter`: bits of the methods for which `xlogm` writes nothing.
    pub methods_filter: i64,
    /// `long_format`: `xlogl` names the file, too.
    pub long_format: bool,
    /// `buf_size`: no line is as long as this.
    pub line_size: usize,
    /// `prefix`: what stands before each line.
    pub prefix: Box<str>,
    /// `prefix_mode` 1: the prefix is expanded for each line.
    pub expands_prefix: bool,
    /// `log_facility`; `None`: that of the process.
    pub facility: Option<Facility>,
    /// `log_colors`.
    pub colours: Colours,
    /// `force_color`: `$C` also when the log goes to syslog.
    pub force_colour: bool,
}

const PREFIX: &str = "<script>: ";

impl Default for Config {
    fn default() -> Self {
        Config {
            methods_filter: -1,
            long_format: false,
            line_size: 4096,
            prefix: PREFIX.into(),
            expands_prefix: false,
            facility: None,
            colours: Colours::default(),
            force_colour: false,
        }
    }
}

const TEXT: ParamKind = ParamKind::Text;
const LEVEL: ParamKind = ParamKind::Level;
const FACILITY: ParamKind = ParamKind::OneOf(&FACILITIES);
const ANY: RouteKinds = RouteKinds::ANY;

/// The names of facilities.
const FACILITIES: [&str; 20] = [
    "LOG_AUTH",
    "LOG_AUTHPRIV",
    "LOG_CRON",
    "LOG_DAEMON",
    "LOG_FTP",
    "LOG_KERN",
    "LOG_LPR",
    "LOG_MAIL",
    "LOG_NEWS",
    "LOG_SYSLOG",
    "LOG_USER",
    "LOG_UUCP",
    "LOG_LOCAL0",
    "LOG_LOCAL1",
    "LOG_LOCAL2",
    "LOG_LOCAL3",
    "LOG_LOCAL4",
    "LOG_LOCAL5",
    "LOG_LOCAL6",
    "LOG_LOCAL7",
];

/// Where a line stands in the script, if it says so.
#[derive(Clone, Copy)]
enum Place {
    Unsaid,
    Said,
}

macro_rules! at {
    ($name:literal, $level:ident, $doc:literal) => {
        function(
            $name,
            &[TEXT],
            ANY,
            (
                |c, h, s| write(c, h, (s, 0), (Level::$level, Place::Unsaid)),
                $doc,
            ),
        )
    };
}

macro_rules! placed {
    ($name:literal, $kinds:expr, $place:ident, $doc:literal) => {
        function(
            $name,
            $kinds,
            ANY,
            (|c, h, s| at_level(c, h, s, Place::$place), $doc),
        )
    };
}

const FUNCTIONS: [Function; 16] = [
    at!("xlog", Err, "A line at level ERR."),
    placed!("xlog", &[LEVEL, TEXT], Unsaid, "A line at this level."),
    placed!(
        "xlog",
        &[FACILITY, LEVEL, TEXT],
        Unsaid,
        "A line at this level, for this facility of syslog."
    ),
    function(
        "xlogl",
        &[TEXT],
        ANY,
        (
            |c, h, s| write(c, h, (s, 0), (Level::Err, Place::Said)),
            "A line at level ERR, with the script's line number.",
        ),
    ),
    placed!(
        "xlogl",
        &[LEVEL, TEXT],
        Said,
        "A line at this level, with the script's line number."
    ),
    placed!(
        "xlogl",
        &[FACILITY, LEVEL, TEXT],
        Said,
        "The same for this facility of syslog."
    ),
    at!("xdbg", Dbg, "A line at level DBG."),
    function(
        "xdbgl",
        &[TEXT],
        ANY,
        (
            |c, h, s| write(c, h, (s, 0), (Level::Dbg, Place::Said)),
            "A line at level DBG, with the script's line number.",
        ),
    ),
    at!("xinfo", Info, "A line at level INFO."),
    at!("xnotice", Notice, "A line at level NOTICE."),
    at!("xwarn", Warn, "A line at level WARN."),
    at!("xerr", Err, "A line at level ERR."),
    at!("xcrit", Crit, "A line at level CRIT."),
    at!("xalert", Alert, "A line at level ALERT."),
    at!("xbug", Bug, "A line at level BUG."),
    function(
        "xlogm",
        &[LEVEL, TEXT],
        ANY,
        (
            by_method,
            "A line at this level, unless methods_filter has the method.",
        ),
    ),
];

const VARIABLES: [Variable; 1] = [keyed(
    "C",
    InnerKind::Name,
    colour,
    "Colours of a terminal, a letter for the text and one for the ground, of x s r g y b p c w.",
)];

const PARAMS: [Param; 8] = [
    param(
        "buf_size",
        ParamType::Int,
        "4096",
        (
            |c, s| number(s, 1, 1 << 31, "1 to 2^31").map(|n| c.xlog.line_size = n as usize),
            "Lines of so many bytes and more are not written.",
        ),
    ),
    param(
        "prefix",
        ParamType::Format,
        PREFIX,
        (
            |c, s| {
                c.xlog.prefix = words(s);
                Ok(())
            },
            "What stands before each line.",
        ),
    ),
    param(
        "prefix_mode",
        ParamType::Int,
        "0",
        (
            |c, s| {
                c.xlog.expands_prefix = is_on(s);
                Ok(())
            },
            "1: variables in the prefix are expanded.",
        ),
    ),
    param(
        "force_color",
        ParamType::Int,
        "0",
        (
            |c, s| {
                c.xlog.force_colour = is_on(s);
                Ok(())
            },
            "Whether $C has a value when the log does not go to a terminal.",
        ),
    ),
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
    param(
        "log_facility",
        ParamType::Str,
        "",
        (facility, "The facility of script lines in syslog."),
    ),
    param(
        "log_colors",
        ParamType::Str,
        "",
        (
            |c, s| {
                let wanted = ParamError("L_LEVEL=xy, colours as in $C(xy), with ; between");
                c.xlog.colours.set(&words(s)).ok_or(wanted)
            },
            "Colours by level, as in $C: L_ERR=cr;L_WARN=px.",
        ),
    ),
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

fn facility(config: &mut super::Config, setting: &Setting) -> Result<(), ParamError> {
    let name = words(setting);
    config.xlog.facility = match name.is_empty() {
        true => None,
        false => Some(Facility::from_name(&name).ok_or(ParamError(
            "a facility of syslog, as LOG_DAEMON or LOG_LOCAL0",
        ))?),
    };
    Ok(())
}

/// What only the whole configuration shows: a prefix that is to be expanded and cannot be.
pub(super) fn check(config: &Config, program: &Program) -> Option<(Position, ErrorKind)> {
    let mut set = program.params.iter().rev();
    let at = set.find(|p| p.name == "prefix")?.at;
    let is_good = !config.expands_prefix || program.format("xlog", "prefix").is_some();
    let (name, wanted) = ("prefix".to_owned(), "text with variables that are known");
    (!is_good).then_some((at, ErrorKind::GlobalType { name, wanted }))
}

fn colour(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let config = &call.env.state.setup.config;
    if !config.log.to_stderr && !config.xlog.force_colour {
        return heap.string(b"");
    }
    let code = Colours::code(heap.bytes(access.key.text()));
    some(heap, code.as_deref().map(str::as_bytes))
}

/// The text is only made when somebody wants the level.
fn write(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, index): (&CallSite, usize),
    (level, place): (Level, Place),
) -> Outcome {
    let facility = call.env.state.setup.config.xlog.facility;
    write_for(call, heap, (site, index), (facility, level, place))
}

fn write_for(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, index): (&CallSite, usize),
    (facility, level, place): (Option<Facility>, Level, Place),
) -> Outcome {
    if level > call.env.state.log_level() {
        return YES;
    }
    let before = match place {
        Place::Unsaid => String::new(),
        Place::Said => place_of(call, site),
    };
    let value = site.text(index, call, heap);
    let text = heap.str(value).unwrap_or(b"<null>");
    let line = format!("{before}{}", String::from_utf8_lossy(text));
    let size_max = call.env.state.setup.config.xlog.line_size;
    if line.len() >= size_max {
        let (size, at) = (line.len(), site.at.line);
        let text = format!("line {at} logs {size} bytes, more than buf_size of xlog allows");
        call.env.log(Level::Err, text);
        return NO;
    }
    call.renew_log_prefix(heap);
    let mark = mark(call, heap);
    call.log_script_record(Record {
        mark,
        facility,
        ..Record::own(level, line)
    });
    YES
}

/// What stands before the line; `None`: what always does.
fn mark(call: &mut Call<'_>, heap: &mut Heap) -> Option<Box<str>> {
    let config = &call.env.state.setup.config.xlog;
    if !config.expands_prefix {
        return (&*config.prefix != PREFIX).then(|| config.prefix.clone());
    }
    let program = std::sync::Arc::clone(call.program);
    let value = program.format("xlog", "prefix")?.text(call, heap);
    Some(String::from_utf8_lossy(heap.str(value)?).into())
}

/// A variable without a value is no level: there is no line.
fn level(call: &mut Call<'_>, heap: &mut Heap, (site, index): (&CallSite, usize)) -> Option<Level> {
    let number = site.int(index, call, heap);
    if number.is_none() {
        let text = format!("line {} logs at a level that has no value", site.at.line);
        call.env.log(Level::Err, text);
    }
    number.map(Level::from_number)
}

/// The text is the last argument, the level stands before it, a facility before that.
fn at_level(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, place: Place) -> Outcome {
    let text = site.args.len() - 1;
    let Some(level) = level(call, heap, (site, text - 1)) else {
        return NO;
    };
    if text < 2 {
        return write(call, heap, (site, text), (level, place));
    }
    let name = site.text(0, call, heap);
    let name = heap
        .str(name)
        .and_then(|name| std::str::from_utf8(name).ok());
    match name.and_then(Facility::from_name) {
        Some(facility) => write_for(call, heap, (site, text), (Some(facility), level, place)),
        None => NO,
    }
}

/// Of a response it is the method of CSeq that counts.
fn by_method(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let filter = call.env.state.setup.config.xlog.methods_filter;
    if filter & i64::from(call.work.message.method().bit()) != 0 {
        return YES;
    }
    at_level(call, heap, site, Place::Unsaid)
}

/// What `xlogl` writes first: where it stands.
fn place_of(call: &Call<'_>, site: &CallSite) -> String {
    if call.env.state.setup.config.xlog.long_format {
        return format!("{}:{}:", call.program.file(site.at), site.at.line);
    }
    format!("{}:", site.at.line)
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
    fn a_line_has_a_mark_a_facility_and_a_bound() {
        let globals = "modparam(\"xlog\", \"prefix\", \"[$rm] \")
             modparam(\"xlog\", \"prefix_mode\", 1)
             modparam(\"xlog\", \"log_facility\", \"LOG_LOCAL0\")
             modparam(\"xlog\", \"buf_size\", 10)";
        let statements = "xlog(\"L_ERR\", \"a\"); xlog(\"LOG_LOCAL3\", \"L_ERR\", \"b\");
             $var(a) = xlog(\"123456789\"); $var(b) = xlog(\"1234567890\");
             xlog(\"$var(a) $var(b)\"); xlogl(\"LOG_LOCAL3\", \"L_ERR\", \"c\"); xdbgl(\"d\");";
        let ran = run_with(globals, statements, INVITE);
        let records: Vec<_> = ran
            .records
            .iter()
            .filter(|r| r.from_script)
            .map(|r| {
                let mark = r.mark.as_deref().unwrap_or("");
                (format!("{mark}{}", r.text), r.facility.map(|f| f.0))
            })
            .collect();
        let line = |text: &str, facility| (format!("[INVITE] {text}"), Some(facility));
        let at = |text: &str| {
            let found = records.iter().find(|r| r.0.ends_with(text));
            found.map(|r| r.0.clone()).unwrap_or_default()
        };
        assert_eq!(
            records[..3],
            [line("a", 16), line("b", 19), line("123456789", 16)]
        );
        assert_eq!(records[3], line("1 -1", 16));
        assert!(at(":c").starts_with("[INVITE] "), "{records:?}");
        assert!(at(":d").starts_with("[INVITE] "), "{records:?}");
        assert_eq!(ran.complaints.len(), 1, "{:?}", ran.complaints);
    }

    #[test]
    fn a_prefix_is_text_unless_it_is_to_be_expanded() {
        let text = |mode: u8| {
            format!(
                "loadmodule \"xlog.so\"\nmodparam(\"xlog\", \"prefix\", \"[$nowhere] \")\n\
                 modparam(\"xlog\", \"prefix_mode\", {mode})\nrequest_route {{ ; }}\n"
            )
        };
        assert!(crate::modules::Setup::from_text(&text(0), 1).is_ok());
        let errors = crate::modules::Setup::from_text(&text(1), 1).unwrap_err();
        assert!(errors.to_string().contains("prefix"), "{errors}");
        let ran = run_with(
            "modparam(\"xlog\", \"prefix\", \"[$rm] \")",
            "xlog(\"a\");",
            INVITE,
        );
        assert_eq!(ran.records[0].mark.as_deref(), Some("[$rm] "));
    }

    #[test]
    fn colours_are_for_terminals() {
        let table = [
            ("", "()"),
            ("log_stderror=yes", "(\x1b[0;31;42m)"),
            ("modparam(\"xlog\", \"force_color\", 1)", "(\x1b[0;31;42m)"),
        ];
        for (globals, want) in table {
            let ran = run_with(globals, "xlog(\"($C(rg))\");", INVITE);
            assert_eq!(ran.lines.concat(), want, "{globals}");
        }
        let ran = run_with("log_stderror=yes", "xlog(\"$C(Rg)$C(xx)$C(xR)\");", INVITE);
        assert_eq!(ran.lines.concat(), "\x1b[1;31;42m\x1b[0;39;49m<null>");
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
