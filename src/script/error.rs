//! The operator's mistakes, each with its place, the line, a caret and what was expected.

use std::fmt;

use super::signature::{ParamType, RouteKind};

/// A place in the configuration: which file (in the order of inclusion), line and column from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// Index into [`super::Program::files`].
    pub file: u16,
    /// From 1.
    pub line: u32,
    /// From 1, in bytes.
    pub column: u32,
}

/// What is wrong. `near` is the known name that is closest to the unknown one.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(
    missing_docs,
    reason = "each variant is described by its message in `Display`"
)]
pub enum ErrorKind {
    FileMissing(String),
    FileTooLarge(String),
    IncludeTooDeep,
    IncludeName,
    DirectiveSyntax(&'static str),
    DirectiveUnsupported(String),
    DefinedTwice(String),
    EnvironmentMissing(String),
    ConditionOpen,
    ConditionStray(&'static str),
    ExpansionTooLong(String),
    Character(char),
    StringOpen,
    CommentOpen,
    NumberTooLarge,
    VariableSyntax(String),
    Expected {
        expected: String,
        found: String,
    },
    NestedTooDeep,
    OldDialect,
    ModuleUnknown {
        name: String,
        near: Option<String>,
    },
    ModuleTwice(String),
    ParamModule(String),
    ParamUnknown {
        module: &'static str,
        name: String,
        near: Option<String>,
    },
    ParamType {
        name: String,
        kind: ParamType,
    },
    GlobalUnknown {
        name: String,
        near: Option<String>,
    },
    GlobalType {
        name: String,
        wanted: &'static str,
    },
    RouteTwice {
        kind: RouteKind,
        name: String,
    },
    RouteMissing {
        kind: RouteKind,
        name: String,
        near: Option<String>,
    },
    EventName(String),
    FlagUnknown(String),
    FlagRange(i64),
    FlagTwice(String),
    FunctionUnknown {
        name: String,
        near: Option<String>,
    },
    FunctionUnloaded {
        name: String,
        module: &'static str,
    },
    FunctionArity {
        name: String,
        given: usize,
        wanted: String,
    },
    FunctionRoute {
        name: String,
        kind: RouteKind,
    },
    FunctionInArgument(String),
    Argument {
        function: String,
        number: usize,
        wanted: &'static str,
    },
    VariableUnknown {
        name: String,
        near: Option<String>,
    },
    VariableUnloaded {
        name: String,
        module: &'static str,
    },
    VariableInner {
        name: String,
        wanted: String,
    },
    VariableReadOnly(String),
    AssignTransformed(String),
    TransformUnknown {
        name: String,
        near: Option<String>,
    },
    TransformParams {
        name: String,
        wanted: &'static str,
    },
    Regex {
        text: String,
        reason: String,
    },
    TypeMismatch {
        operator: &'static str,
    },
    SwitchMixed,
    SwitchDefaultTwice,
    SwitchLabel,
    Misuse(Misuse),
    Planned {
        what: &'static str,
        name: String,
    },
    Idle {
        name: String,
    },
    ConditionConstant,
    RouteUndefined {
        kind: RouteKind,
        name: String,
    },
}

impl ErrorKind {
    /// A name that is none of those that are known.
    pub fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> ErrorKind {
        let near = nearest(name, known);
        let name = name.to_string();
        ErrorKind::Misuse(Misuse::NameUnknown { what, name, near })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ErrorKind::*;
        match self {
            FileMissing(name) => write!(f, "cannot read file \"{name}\""),
            FileTooLarge(name) => write!(f, "file \"{name}\" is too large"),
            IncludeTooDeep => {
                f.write_str("files are included too deeply (does one include itself?)")
            }
            IncludeName => {
                f.write_str("expected the name of a file in double quotes, at most 128 bytes")
            }
            DirectiveSyntax(wanted) => write!(f, "expected {wanted}"),
            DirectiveUnsupported(name) => write!(f, "directive \"#!{name}\" is not supported"),
            DefinedTwice(name) => {
                write!(f, "\"{name}\" is already defined (use #!trydef or #!redef)")
            }
            EnvironmentMissing(name) => write!(f, "environment variable \"{name}\" is not set"),
            ConditionOpen => f.write_str("#!ifdef or #!ifndef without #!endif"),
            ConditionStray(name) => write!(f, "#!{name} without #!ifdef or #!ifndef"),
            ExpansionTooLong(name) => write!(f, "the expansion of \"{name}\" does not end"),
            Character(c) => write!(f, "unexpected character {c:?}"),
            StringOpen => f.write_str("string is not closed"),
            CommentOpen => f.write_str("comment is not closed (comments nest)"),
            NumberTooLarge => f.write_str("number does not fit 64 bits"),
            VariableSyntax(text) => write!(f, "cannot read variable \"{text}\""),
            Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
            NestedTooDeep => f.write_str("expression or block is nested too deeply"),
            OldDialect => f.write_str("the SER dialect is not supported"),
            ModuleUnknown { name, near } => {
                write!(f, "module \"{name}\" is not supported")?;
                hint(f, near)
            }
            ModuleTwice(name) => write!(f, "module \"{name}\" is loaded already"),
            ParamModule(name) => write!(f, "no loaded module matches \"{name}\""),
            ParamUnknown { module, name, near } => {
                write!(f, "module \"{module}\" has no parameter \"{name}\"")?;
                hint(f, near)
            }
            ParamType { name, kind } => {
                write!(f, "parameter \"{name}\" must be {}", type_words(*kind))
            }
            GlobalUnknown { name, near } => {
                write!(f, "unknown config variable \"{name}\"")?;
                hint(f, near)
            }
            GlobalType { name, wanted } => write!(f, "\"{name}\" must be {wanted}"),
            RouteTwice { kind, name } => write!(f, "{kind}[{name}] is defined already"),
            RouteMissing { kind, name, near } => {
                write!(f, "there is no {kind}[{name}]")?;
                hint(f, near)
            }
            EventName(name) => write!(f, "event route name \"{name}\" has no colon"),
            FlagUnknown(name) => write!(f, "unknown flag \"{name}\""),
            FlagRange(n) => write!(f, "flag {n} is not one of 0 to 31"),
            FlagTwice(name) => write!(f, "flag \"{name}\" is named already"),
            FunctionUnknown { name, near } => {
                write!(f, "unknown command \"{name}\", missing loadmodule?")?;
                hint(f, near)
            }
            FunctionUnloaded { name, module } => write!(
                f,
                "unknown command \"{name}\", missing loadmodule? (module \"{module}\" has it)"
            ),
            FunctionArity {
                name,
                given,
                wanted,
            } => {
                write!(f, "{name}() takes {wanted}, {given} given")
            }
            FunctionRoute { name, kind } => write!(f, "{name}() cannot be called in {kind}"),
            FunctionInArgument(name) => {
                write!(f, "{name}() cannot be called inside an argument")
            }
            Argument {
                function,
                number,
                wanted,
            } => {
                write!(f, "{function}(): parameter {number} must be {wanted}")
            }
            VariableUnknown { name, near } => {
                write!(f, "unknown variable \"${name}\"")?;
                hint(f, near)
            }
            VariableUnloaded { name, module } => write!(
                f,
                "unknown variable \"${name}\", missing loadmodule? (module \"{module}\" has it)"
            ),
            VariableInner { name, wanted } => write!(f, "variable \"${name}\" needs {wanted}"),
            VariableReadOnly(name) => write!(f, "variable \"${name}\" cannot be assigned"),
            AssignTransformed(name) => {
                write!(
                    f,
                    "variable \"${name}\" with a transformation cannot be assigned"
                )
            }
            TransformUnknown { name, near } => {
                write!(f, "unknown transformation \"{name}\"")?;
                hint(f, near)
            }
            TransformParams { name, wanted } => {
                write!(f, "transformation \"{name}\" takes {wanted}")
            }
            Regex { text, reason } => write!(f, "bad regular expression \"{text}\": {reason}"),
            TypeMismatch { operator } => mismatch(f, operator),
            SwitchMixed => f.write_str("numbers and strings in one switch"),
            SwitchDefaultTwice => f.write_str("second default in one switch"),
            SwitchLabel => f.write_str("a case label must be constant"),
            Misuse(misuse) => misuse.fmt(f),
            Planned { what, name } => write!(f, "{what} \"{name}\" is known but has no effect yet"),
            Idle { name } => write!(f, "parameter \"{name}\" has no effect"),
            ConditionConstant => f.write_str("condition is constant"),
            RouteUndefined { kind, name } => write!(f, "{kind}[{name}] is not defined"),
        }
    }
}

fn mismatch(f: &mut fmt::Formatter<'_>, operator: &str) -> fmt::Result {
    write!(
        f,
        "type mismatch: \"{operator}\" between a number and a string"
    )
}

/// Something that exists, used where or as it must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(
    missing_docs,
    reason = "each variant is described by its message in `Display`"
)]
pub enum Misuse {
    NameUnknown {
        what: &'static str,
        name: String,
        near: Option<String>,
    },
    WordUnknown {
        name: String,
        near: Option<String>,
    },
    NumberOctal(String),
    DefinitionComment,
    Empty,
    ModuleNeeds {
        name: &'static str,
        needed: &'static str,
    },
    EngineUnknown(String),
    CustomTwice {
        group: String,
        name: String,
    },
    FunctionBare(String),
    KeywordRoute(&'static str),
    VariableUndeclared {
        name: String,
        param: &'static str,
    },
    TransformUnloaded {
        name: &'static str,
        module: &'static str,
    },
    SwitchTwice,
    HostUnknown(String),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Misuse::*;
        match self {
            NameUnknown { what, name, near } => {
                write!(f, "unknown {what} \"{name}\"")?;
                hint(f, near)
            }
            WordUnknown { name, near } => {
                write!(f, "unknown statement \"{name}\"")?;
                hint(f, near)
            }
            NumberOctal(digits) => {
                let number = digits.trim_start_matches('0');
                write!(
                    f,
                    "\"{digits}\" is not octal (a leading 0 says so: write {number})"
                )
            }
            DefinitionComment => f.write_str(
                "a definition takes the comment behind it along (write the comment above it)",
            ),
            Empty => f.write_str("the file has no statements (is it the right one?)"),
            ModuleNeeds { name, needed } => write!(
                f,
                "module \"{name}\" needs module \"{needed}\", loaded before it"
            ),
            EngineUnknown(name) => write!(
                f,
                "engine \"{name}\" is not supported (\"native\" is this language)"
            ),
            CustomTwice { group, name } => write!(f, "\"{group}.{name}\" is set already"),
            FunctionBare(name) => write!(f, "write {name}() with its parentheses"),
            KeywordRoute(name) => write!(f, "\"{name}\" is known in onsend_route only"),
            VariableUndeclared { name, param } => write!(
                f,
                "variable \"${name}\" is not declared (modparam \"{param}\" above does that)"
            ),
            TransformUnloaded { name, module } => write!(
                f,
                "unknown transformation \"{name}\", missing loadmodule? \
                 (module \"{module}\" has it)"
            ),
            SwitchTwice => f.write_str("this case stands in the switch already"),
            HostUnknown(name) => write!(f, "host \"{name}\" has no address, so nothing equals it"),
        }
    }
}

fn type_words(kind: ParamType) -> &'static str {
    match kind {
        ParamType::Int => "a number",
        ParamType::Str | ParamType::Format => "a string",
        ParamType::IntOrStr => "a number, quoted or not",
        ParamType::Any => "a number or a string",
    }
}

fn hint(f: &mut fmt::Formatter<'_>, near: &Option<String>) -> fmt::Result {
    match near {
        Some(name) => write!(f, "; did you mean \"{name}\"?"),
        None => Ok(()),
    }
}

/// One mistake, or one warning, as it is printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Where.
    pub at: Position,
    /// The name of the file.
    pub file: Box<str>,
    /// The text of the line.
    pub line: Box<str>,
    /// What.
    pub kind: ErrorKind,
}

impl fmt::Display for ConfigError {
    /// `file:line:column: message`, the line, and a caret below the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column, .. } = self.at;
        writeln!(f, "{}:{line}:{column}: {}", self.file, self.kind)?;
        writeln!(f, "    {}", self.line)?;
        // Tabs stay tabs, so that the caret stands below its character.
        let lead = self.line.bytes().take(column.saturating_sub(1) as usize);
        let blank: String = lead.map(|b| if b == b'\t' { '\t' } else { ' ' }).collect();
        write!(f, "    {blank}^")
    }
}

/// All mistakes of a configuration, by file, line and column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}")?;
        }
        let n = self.0.len();
        write!(
            f,
            "bad config file ({n} error{})",
            if n == 1 { "" } else { "s" }
        )
    }
}

impl std::error::Error for ConfigErrors {}

/// What a mistake may have hidden. That such a thing is then missing is no mistake of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Hidden {
    /// A file, or the rest of one.
    Anything,
    Routes,
    Modules,
    /// Any parameters of modules, and the names they declare.
    Params,
    /// The value of a parameter of this name.
    Param(Box<str>),
    Sockets,
    Flags,
}

impl Hidden {
    pub(super) fn param(name: &str) -> Hidden {
        Hidden::Param(name.into())
    }
}

/// Mistakes as they are found, with the texts they point into.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    /// Name and text of each file, by [`Position::file`].
    pub(super) files: Vec<(Box<str>, Vec<u8>)>,
    errors: Vec<(Position, ErrorKind)>,
    warnings: Vec<(Position, ErrorKind)>,
    hidden: Vec<Hidden>,
    /// Where strings begin that do not end.
    open: Vec<Position>,
}

impl Diagnostics {
    /// The name of the file of a place.
    pub(super) fn file(&self, at: Position) -> &str {
        let file = self.files.get(usize::from(at.file));
        file.map_or("", |(name, _)| name)
    }

    /// Notes a mistake.
    pub(super) fn error(&mut self, at: Position, kind: ErrorKind) {
        // A broken file of megabytes must not become an error text of gigabytes.
        if self.errors.len() < crate::limits::CONFIG_ERROR_COUNT_MAX {
            self.errors.push((at, kind));
        }
    }

    /// Notes something odd, once per kind and name.
    pub(super) fn warn(&mut self, at: Position, kind: ErrorKind) {
        let room = self.warnings.len() < crate::limits::CONFIG_ERROR_COUNT_MAX;
        if room && !self.warnings.iter().any(|(_, k)| *k == kind) {
            self.warnings.push((at, kind));
        }
    }

    /// Notes that a mistake, noted before, may have hidden something.
    pub(super) fn hide(&mut self, what: Hidden) {
        if !self.hidden.contains(&what) {
            self.hidden.push(what);
        }
    }

    /// Whether something of this kind may be missing only because of another mistake.
    pub(super) fn may_hide(&self, what: Hidden) -> bool {
        let is_param = matches!(what, Hidden::Param(_));
        self.hidden.iter().any(|hidden| match hidden {
            Hidden::Anything => true,
            Hidden::Params => is_param,
            hidden => *hidden == what,
        })
    }

    /// Whether a mistake was noted at this very place.
    pub(super) fn has_error_at(&self, at: Position) -> bool {
        self.errors.iter().any(|(place, _)| *place == at)
    }

    /// Notes a string that does not end; only the first of them is known to be wrong.
    pub(super) fn open_string(&mut self, at: Position) {
        if self.open.is_empty() {
            self.error(at, ErrorKind::StringOpen);
        }
        self.hide(Hidden::Anything);
        self.open.push(at);
    }

    /// Whether some string does not end.
    pub(super) fn has_open_string(&self) -> bool {
        !self.open.is_empty()
    }

    /// Moves the mistakes behind the first `noted` from the string that they were found in, by its
    /// place, to where in it they are. Only mistakes pay for that: the place of a byte is sought
    /// in the text of the file.
    pub(super) fn move_inside(&mut self, noted: usize, string: (Position, &[u8], usize)) {
        let place = self.inside(string);
        for (at, _) in self.errors.iter_mut().skip(noted) {
            if *at == string.0 {
                *at = place;
            }
        }
    }

    /// The place `offset` bytes into the string that stands at `at` and means `text`. Behind an
    /// escape or a line end it is the place of the string.
    fn inside(&self, (at, text, offset): (Position, &[u8], usize)) -> Position {
        let line = self.line(at);
        let written = line.get(at.column as usize..).unwrap_or_default();
        let quote = line.get((at.column as usize).saturating_sub(1));
        let is_plain =
            written.get(..offset) == text.get(..offset) && matches!(quote, Some(b'"' | b'\''));
        let column = at.column + 1 + offset as u32;
        Position {
            column: if is_plain { column } else { at.column },
            ..at
        }
    }

    /// The line of a place, without its end.
    fn line(&self, at: Position) -> &[u8] {
        let text = self.files.get(usize::from(at.file));
        let mut lines = text
            .map_or(&b""[..], |(_, text)| text)
            .split(|&b| b == b'\n');
        let line = lines.nth((at.line as usize).saturating_sub(1));
        line.unwrap_or_default()
    }

    /// What has been noted so far, for [`Diagnostics::forget`].
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.errors.len(), self.warnings.len())
    }

    /// Takes back what has been noted since the mark.
    pub(super) fn forget(&mut self, (errors, warnings): (usize, usize)) {
        self.errors.truncate(errors);
        self.warnings.truncate(warnings);
    }

    /// How many mistakes were found.
    pub(super) fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// The mistakes, sorted.
    pub(super) fn errors(&mut self) -> Vec<ConfigError> {
        let found = std::mem::take(&mut self.errors);
        self.render(found)
    }

    /// The warnings, sorted.
    pub(super) fn warnings(&mut self) -> Vec<ConfigError> {
        let found = std::mem::take(&mut self.warnings);
        self.render(found)
    }

    fn render(&self, mut found: Vec<(Position, ErrorKind)>) -> Vec<ConfigError> {
        found.sort_by_key(|(at, _)| *at);
        let render = |(at, kind): (Position, ErrorKind)| ConfigError {
            at,
            file: self.file(at).into(),
            line: String::from_utf8_lossy(self.line(at)).trim_end().into(),
            kind,
        };
        // In the line of a string that does not end, everything else comes of that.
        let open: Vec<(u16, u32)> = self.open.iter().map(|at| (at.file, at.line)).collect();
        found.retain(|(at, kind)| {
            *kind == ErrorKind::StringOpen || !open.contains(&(at.file, at.line))
        });
        let mut shown: Vec<ConfigError> = vec![];
        for error in found.into_iter().map(render) {
            let mut here = shown.iter().rev().take_while(|e| e.at == error.at);
            if !here.any(|e| e.kind == error.kind) {
                shown.push(error);
            }
        }
        shown
    }
}

/// The name closest to `wanted`, when it is close enough to be what was meant.
pub(super) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let allowed = (wanted.len() / 3).clamp(1, 3);
    names
        .into_iter()
        .filter(|name| name.len().abs_diff(wanted.len()) <= allowed)
        .map(|name| (edit_distance(wanted.as_bytes(), name.as_bytes()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name.to_string())
}

/// Insertions, deletions, replacements and exchanges of neighbours between two names (optimal
/// string alignment).
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let same = |x: u8, y: u8| x.eq_ignore_ascii_case(&y);
    let mut before: Vec<usize> = vec![];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(!same(*x, *y));
            let mut least = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && same(*x, b[j - 1]) && same(a[i - 1], *y) {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        (before, above) = (above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_close_or_none() {
        let names = ["t_relay", "t_reply", "record_route", "ru"];
        for (wanted, expected) in [
            ("t_rely", Some("t_relay")),
            ("recordroute", Some("record_route")),
            ("rx", Some("ru")),
            ("sanity_check", None),
            ("t_realy", Some("t_relay")),
            ("record", None),
        ] {
            assert_eq!(nearest(wanted, names).as_deref(), expected, "{wanted}");
        }
    }
}
