//! Calls of functions: which one a name and a number of arguments mean, whether it may be called
//! here, and each argument as its signature wants it.

use super::ast::{Call, Expr, ExprKind};
use super::compile::{Compiler, Constant};
use super::error::{ErrorKind, Hidden, Misuse, Position, nearest};
use super::host::{Arg, CallSite};
use super::regex;
use super::resolve::{Refused, lossy};
use super::signature::{FunctionId, FunctionSig, ModuleId, ParamKind, RouteKind, Vocabulary};
use super::value::parse_int;
use crate::effect::Level;

/// A call that is ready to be emitted; its computed arguments are emitted already.
pub(super) struct Callee {
    pub(super) site: CallSite,
}

/// Where an argument stands.
#[derive(Clone, Copy)]
struct Slot<'c> {
    call: &'c Call,
    number: usize,
}

impl Compiler<'_> {
    /// Resolves a call and its arguments.
    pub(super) fn callee(&mut self, call: &Call) -> Result<Callee, Refused> {
        let (function, sig) = match self.function(call) {
            Ok(found) => found,
            Err(Refused) => {
                self.examine(&call.args);
                return Err(Refused);
            }
        };
        if call.bare && function.module != Vocabulary::CORE {
            let kind = ErrorKind::Misuse(Misuse::FunctionBare(call.name.clone()));
            return self.names.refuse(call.at, kind);
        }
        if !sig.routes.contains(self.kind) {
            let (name, kind) = (call.name.clone(), self.kind);
            self.error(call.at, ErrorKind::FunctionRoute { name, kind });
        }
        if sig.planned {
            let (what, name) = ("function", call.name.clone());
            let kind = ErrorKind::Planned { what, name };
            self.names.diagnostics.warn(call.at, kind);
        }
        let mut args = vec![];
        let mut computed = 0;
        let mut refused = false;
        for (number, (expr, kind)) in call.args.iter().zip(sig.params).enumerate() {
            let slot = Slot { call, number };
            match self.argument(slot, expr, *kind, &mut computed) {
                Ok(arg) => args.push(arg),
                Err(Refused) => refused = true,
            }
        }
        if refused {
            return Err(Refused);
        }
        Ok(Callee {
            site: CallSite {
                function,
                args: args.into(),
                at: call.at,
                computed,
            },
        })
    }

    /// Looks at the arguments of a call that was refused, for what is wrong in any function.
    fn examine(&mut self, args: &[Expr]) {
        let outer = std::mem::replace(&mut self.in_argument, true);
        for arg in args {
            if !matches!(arg.kind, ExprKind::Word(_)) {
                self.expression(arg);
            }
        }
        self.in_argument = outer;
    }

    fn function(&mut self, call: &Call) -> Result<(FunctionId, &'static FunctionSig), Refused> {
        let vocabulary = *self.names.vocabulary;
        let all = self.names.loaded.iter().flat_map(|&module| {
            let functions = vocabulary.sig(module).functions.iter().enumerate();
            functions.map(move |(index, sig)| {
                let index = index as u16;
                (FunctionId { module, index }, sig)
            })
        });
        let named: Vec<_> = all.filter(|(_, sig)| sig.name == call.name).collect();
        let given = call.args.len();
        let fits = |sig: &FunctionSig| (sig.required..=sig.params.len()).contains(&given);
        if let Some(found) = named.iter().find(|(_, sig)| fits(sig)) {
            return Ok(*found);
        }
        let name = call.name.clone();
        let kind = if named.is_empty() {
            match self.unknown_function(name) {
                ErrorKind::FunctionUnloaded { .. }
                    if self.names.diagnostics.may_hide(Hidden::Modules) =>
                {
                    return Err(Refused);
                }
                kind => kind,
            }
        } else {
            let wanted = named.iter().map(|(_, sig)| arity(sig));
            let wanted = wanted.collect::<Vec<_>>().join(" or ");
            ErrorKind::FunctionArity {
                name,
                given,
                wanted,
            }
        };
        self.names.refuse(call.at, kind)
    }

    fn unknown_function(&self, name: String) -> ErrorKind {
        let modules = self.names.vocabulary.modules;
        let has_it = modules
            .iter()
            .find(|m| m.functions.iter().any(|f| f.name == name));
        if let Some(module) = has_it {
            let module = module.name;
            return ErrorKind::FunctionUnloaded { name, module };
        }
        let loaded = self.names.loaded.iter();
        let known = loaded.flat_map(|&ModuleId(n)| modules[usize::from(n)].functions);
        let words = ["break", "return", "exit", "drop", "route"];
        let near = nearest(&name, known.map(|f| f.name).chain(words));
        ErrorKind::FunctionUnknown { name, near }
    }

    fn refuse_argument<T>(
        &mut self,
        slot: Slot<'_>,
        at: Position,
        wanted: &'static str,
    ) -> Result<T, Refused> {
        let kind = ErrorKind::Argument {
            function: slot.call.name.clone(),
            number: slot.number + 1,
            wanted,
        };
        self.names.refuse(at, kind)
    }

    fn argument(
        &mut self,
        slot: Slot<'_>,
        expr: &Expr,
        kind: ParamKind,
        computed: &mut u16,
    ) -> Result<Arg, Refused> {
        let at = expr.at;
        if let ExprKind::Word(word) = &expr.kind {
            return self.word_argument(slot, word, kind, at);
        }
        if let Some(constant) = self.fold(expr) {
            return match not_wanted(kind, &constant) {
                Some(wanted) => self.refuse_argument(slot, at, wanted),
                None => self.constant_argument(slot, constant, kind, at),
            };
        }
        let variable = match &expr.kind {
            ExprKind::Variable(text) => Some(text.clone()),
            ExprKind::Select(path) => Some([b"$sel(", &path[..], b")"].concat()),
            _ => None,
        };
        if let Some(text) = variable {
            return self.variable_argument(slot, &text, kind, at);
        }
        match kind {
            ParamKind::Int
            | ParamKind::Text
            | ParamKind::Single
            | ParamKind::Level
            | ParamKind::Quoted
            | ParamKind::Count
            | ParamKind::Host
            | ParamKind::Port
            | ParamKind::Socket
            | ParamKind::OneOf(_)
            | ParamKind::ListOf(_) => {
                let outer = std::mem::replace(&mut self.in_argument, true);
                self.expression(expr);
                self.in_argument = outer;
                *computed += 1;
                Ok(Arg::Computed(*computed - 1))
            }
            ParamKind::Output | ParamKind::Variable => {
                self.refuse_argument(slot, at, "the name of a variable")
            }
            ParamKind::Const
            | ParamKind::Regex
            | ParamKind::Subst
            | ParamKind::Route(_)
            | ParamKind::Word
            | ParamKind::Flag => self.refuse_argument(slot, at, "constant"),
        }
    }

    /// Only some arguments of the core's functions are bare words.
    fn word_argument(
        &mut self,
        slot: Slot<'_>,
        word: &str,
        kind: ParamKind,
        at: Position,
    ) -> Result<Arg, Refused> {
        match kind {
            ParamKind::Flag => self.flag_argument(word.as_bytes(), at),
            ParamKind::Socket => {
                self.program.sockets.push((word.into(), at));
                Ok(Arg::Text(self.names.intern(word.as_bytes())))
            }
            ParamKind::Port if word != "uri:port" => {
                self.refuse_argument(slot, at, "a number or uri:port")
            }
            ParamKind::Host | ParamKind::Port | ParamKind::Word => {
                Ok(Arg::Text(self.names.intern(word.as_bytes())))
            }
            ParamKind::Int | ParamKind::Count => {
                self.refuse_argument(slot, at, "a number or a variable")
            }
            ParamKind::Output | ParamKind::Variable => {
                self.refuse_argument(slot, at, "the name of a variable")
            }
            ParamKind::Const
            | ParamKind::Text
            | ParamKind::Single
            | ParamKind::Regex
            | ParamKind::Subst
            | ParamKind::Route(_)
            | ParamKind::Quoted
            | ParamKind::OneOf(_)
            | ParamKind::ListOf(_)
            | ParamKind::Level => self.refuse_argument(slot, at, "in quotes"),
        }
    }

    fn variable_argument(
        &mut self,
        slot: Slot<'_>,
        text: &[u8],
        kind: ParamKind,
        at: Position,
    ) -> Result<Arg, Refused> {
        let variable = self.names.variable(text, at)?;
        match kind {
            ParamKind::Int
            | ParamKind::Text
            | ParamKind::Single
            | ParamKind::Level
            | ParamKind::Quoted
            | ParamKind::Count
            | ParamKind::Host
            | ParamKind::Port
            | ParamKind::Socket
            | ParamKind::OneOf(_)
            | ParamKind::ListOf(_)
            | ParamKind::Regex => Ok(Arg::Variable(variable)),
            ParamKind::Variable => Ok(Arg::Output(variable)),
            ParamKind::Output if self.check_writable(&variable, text, at) => {
                Ok(Arg::Output(variable))
            }
            ParamKind::Output => Err(Refused),
            ParamKind::Const
            | ParamKind::Subst
            | ParamKind::Route(_)
            | ParamKind::Word
            | ParamKind::Flag => self.refuse_argument(slot, at, "constant"),
        }
    }

    fn constant_argument(
        &mut self,
        slot: Slot<'_>,
        constant: Constant,
        kind: ParamKind,
        at: Position,
    ) -> Result<Arg, Refused> {
        let text = constant.into_text();
        let takes_variable = match kind {
            ParamKind::Int
            | ParamKind::Text
            | ParamKind::Single
            | ParamKind::Level
            | ParamKind::Output
            | ParamKind::Variable
            | ParamKind::Quoted
            | ParamKind::Count
            | ParamKind::Host
            | ParamKind::Port
            | ParamKind::Socket
            | ParamKind::OneOf(_)
            | ParamKind::ListOf(_)
            | ParamKind::Regex => true,
            ParamKind::Const
            | ParamKind::Subst
            | ParamKind::Route(_)
            | ParamKind::Word
            | ParamKind::Flag => false,
        };
        if takes_variable && self.names.is_single(&text) {
            let noted = self.names.diagnostics.error_count();
            let argument = self.variable_argument(slot, &text, kind, at);
            if argument.is_err() {
                self.names.diagnostics.move_inside(noted, (at, &text, 0));
            }
            return argument;
        }
        match kind {
            ParamKind::Const | ParamKind::Single => Ok(Arg::Text(self.names.intern(&text))),
            ParamKind::Int | ParamKind::Count | ParamKind::Port => match parse_int(&text) {
                Some(n) => Ok(Arg::Int(n)),
                None => self.refuse_argument(slot, at, "a number or a variable"),
            },
            ParamKind::Text | ParamKind::Quoted | ParamKind::Host if text.contains(&b'$') => {
                Ok(Arg::Format(self.names.format(&text, at)?))
            }
            ParamKind::Text
            | ParamKind::Quoted
            | ParamKind::Host
            | ParamKind::Socket
            | ParamKind::Word
            | ParamKind::OneOf(_) => Ok(Arg::Text(self.names.intern(&text))),
            ParamKind::ListOf(words) => {
                let list = self.names.intern(&text);
                Ok(list_mask(words, &text).map_or(Arg::Text(list), |mask| Arg::List(mask, list)))
            }
            ParamKind::Output | ParamKind::Variable => {
                self.refuse_argument(slot, at, "the name of a variable")
            }
            ParamKind::Regex => match regex::compile_lines(&text, true) {
                Ok(regex) => Ok(Arg::Regex(regex, self.names.intern(&text))),
                Err(reason) => self.refuse_regex(&text, reason, at),
            },
            ParamKind::Subst => Ok(Arg::Subst(Box::new(self.names.substitution(&text, at)?))),
            ParamKind::Route(kind) => Ok(self.route_argument(kind, &text, at)),
            ParamKind::Flag => self.flag_argument(&text, at),
            ParamKind::Level => match level(&text) {
                Some(level) => Ok(Arg::Int(level)),
                None => self.refuse_argument(slot, at, "a level of the log"),
            },
        }
    }

    fn refuse_regex<T>(&mut self, text: &[u8], reason: String, at: Position) -> Result<T, Refused> {
        let text = lossy(text);
        self.names.refuse(at, ErrorKind::Regex { text, reason })
    }

    /// That the block is missing is no mistake: the original finds out when it would run.
    fn route_argument(&mut self, kind: RouteKind, text: &[u8], at: Position) -> Arg {
        let id = self.route_id(kind, text);
        if id.is_none() && text != b"0" {
            let name = lossy(text);
            let kind = ErrorKind::RouteUndefined { kind, name };
            self.names.diagnostics.warn(at, kind);
        }
        Arg::Route(id, self.names.intern(text))
    }

    fn flag_argument(&mut self, text: &[u8], at: Position) -> Result<Arg, Refused> {
        let name = lossy(text);
        let named = self
            .program
            .flags
            .iter()
            .find(|(known, _)| **known == *name);
        let is_hidden = self.names.diagnostics.may_hide(Hidden::Flags);
        match (named, parse_int(text)) {
            (Some((_, n)), _) => Ok(Arg::Int(i64::from(*n))),
            (None, Some(n @ 0..=31)) => Ok(Arg::Int(n)),
            (None, Some(n)) => self.names.refuse(at, ErrorKind::FlagRange(n)),
            (None, None) if is_hidden => Err(Refused),
            (None, None) => self.names.refuse(at, ErrorKind::FlagUnknown(name)),
        }
    }
}

/// Why a constant will not do, by how it is written.
fn not_wanted(kind: ParamKind, constant: &Constant) -> Option<&'static str> {
    let is_variable = matches!(constant, Constant::Text(text) if text.starts_with(b"$"));
    match (kind, constant) {
        _ if is_variable => None,
        (ParamKind::Quoted | ParamKind::Host, Constant::Int(_)) => Some("in quotes"),
        (ParamKind::Count | ParamKind::Port, Constant::Text(_)) => Some("a number without quotes"),
        (ParamKind::Count, Constant::Int(n)) if *n < 0 => Some("a number from 0"),
        (ParamKind::Socket, _) => Some("a listening socket without quotes"),
        (ParamKind::Word, _) => Some("a word without quotes"),
        (ParamKind::OneOf(words), Constant::Text(text)) => {
            let is_known = words
                .iter()
                .any(|w| w.as_bytes().eq_ignore_ascii_case(text));
            (!is_known).then_some("one of the words that are documented")
        }
        (ParamKind::OneOf(_), Constant::Int(_)) => Some("a word in quotes"),
        (ParamKind::ListOf(words), Constant::Text(text)) if text.contains(&b'|') => {
            let is_known = |part: &[u8]| {
                words
                    .iter()
                    .any(|w| w.as_bytes().eq_ignore_ascii_case(part))
            };
            let all = text.split(|b| *b == b'|').all(is_known);
            (!all).then_some("a list A|B of known names")
        }
        _ => None,
    }
}

/// A bit for each word that a list `A|B` names; `None` when it names others, too.
fn list_mask(words: &[&str], text: &[u8]) -> Option<u64> {
    text.split(|b| *b == b'|').try_fold(0, |mask, part| {
        let is_it = |w: &&str| w.as_bytes().eq_ignore_ascii_case(part.trim_ascii());
        let place = words.iter().take(64).position(is_it)?;
        Some(mask | 1 << place)
    })
}

fn arity(sig: &FunctionSig) -> String {
    let (least, most) = (sig.required, sig.params.len());
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    match (least, most) {
        (_, 0) => "no parameters".to_string(),
        (a, b) if a == b => format!("{a} parameter{}", plural(a)),
        (a, b) => format!("{a} to {b} parameters"),
    }
}

/// A level by its name or its number.
fn level(text: &[u8]) -> Option<i64> {
    let name = std::str::from_utf8(text).ok()?;
    match Level::from_name(name) {
        Some(level) => Some(level as i64),
        None => parse_int(text),
    }
}
