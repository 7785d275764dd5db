//! Names to things: variables with their inner names, indexes and transformations, and text with
//! variables in it.
//!
//! ```text
//!   $ru   $var(x)   $(ru{uri.host}{s.toupper})   $(hdr(X)[$var(i)])   $sht(t=>$ci)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use super::error::{Diagnostics, ErrorKind, Hidden, Misuse, Position, nearest};
use super::format::{Format, Piece};
use super::preprocess::{Defines, module_name};
use super::signature::{InnerKind, ModuleId, VariableId, VariableSig, Vocabulary};
use super::transform::{self, Substitution, Transform, TransformParam, TransformSig};
use super::value::{Text, Value, parse_int};
use super::variable::{IndexSpec, Inner, Target, Variable};
use crate::limits;

/// A mistake was noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused;

type Resolved<T> = Result<T, Refused>;

/// What names mean while a configuration is compiled.
pub(super) struct Names<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) defines: &'a Defines,
    /// For the environment.
    source: &'a dyn Source,
    /// The block that is compiled.
    pub(super) route: Box<str>,
    pub(super) diagnostics: &'a mut Diagnostics,
    /// The modules loaded so far, the core first.
    pub(super) loaded: Vec<ModuleId>,
    /// Those of them whose `loadmodule` was misspelt.
    pub(super) assumed: Vec<ModuleId>,
    /// Modules that are not supported, with what the file calls them.
    pub(super) refused: Vec<String>,
    pub(super) constants: Vec<u8>,
    interned: BTreeMap<Vec<u8>, Text>,
    /// Names that parameters declared, each with module and parameter.
    pub(super) declared: BTreeSet<(ModuleId, &'static str, Vec<u8>)>,
    depth: usize,
}

impl<'a> Names<'a> {
    pub(super) fn new(
        vocabulary: &'a Vocabulary,
        (defines, source): (&'a Defines, &'a dyn Source),
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Names {
            vocabulary,
            defines,
            source,
            route: "".into(),
            diagnostics,
            loaded: vec![Vocabulary::CORE],
            assumed: vec![],
            refused: vec![],
            constants: vec![],
            interned: BTreeMap::new(),
            declared: BTreeSet::new(),
            depth: 0,
        }
    }

    /// A constant of the program; equal constants are one.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> Text {
        if let Some(text) = self.interned.get(bytes) {
            return *text;
        }
        let text = Text::constant(self.constants.len(), bytes.len());
        self.constants.extend_from_slice(bytes);
        self.interned.insert(bytes.to_vec(), text);
        text
    }

    pub(super) fn refuse<T>(&mut self, at: Position, kind: ErrorKind) -> Resolved<T> {
        self.diagnostics.error(at, kind);
        Err(Refused)
    }

    /// Goes on after an unknown module as if the one that was meant were loaded.
    pub(super) fn assume_module(&mut self, path: &str, meant: Option<&str>) {
        self.refused.push(module_name(path).to_string());
        let meant = meant.and_then(|name| self.vocabulary.module(name));
        if let Some(id) = meant.filter(|id| !self.loaded.contains(id)) {
            self.loaded.push(id);
            self.assumed.push(id);
        }
    }

    /// A variable token: all of `text` must be one variable.
    pub(super) fn variable(&mut self, text: &[u8], at: Position) -> Resolved<Variable> {
        match self.variable_in(text, at)? {
            (variable, len) if len == text.len() => Ok(variable),
            _ => self.refuse(at, ErrorKind::VariableSyntax(lossy(text))),
        }
    }

    /// `@path`, another spelling of `$sel(path)`.
    pub(super) fn select(&mut self, path: &[u8], at: Position) -> Resolved<Variable> {
        let token = [b"$sel(", path, b")"].concat();
        self.variable(&token, at)
    }

    /// The one variable that makes up all of a text, if it is so.
    pub(super) fn single(&mut self, text: &[u8], at: Position) -> Option<Resolved<Variable>> {
        self.is_single(text).then(|| self.variable(text, at))
    }

    /// The text that a format always is; `None` when it holds what only a run knows.
    pub(super) fn constant_of(&self, format: &Format) -> Option<Vec<u8>> {
        let mut out = vec![];
        for piece in &format.pieces {
            let variable = match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text.of_constants(&self.constants));
                    continue;
                }
                Piece::Variable(variable) if variable.transforms.is_empty() => variable,
                Piece::Variable(_) => return None,
            };
            match &variable.target {
                Target::Constant(Value::Str(text)) => {
                    out.extend_from_slice(text.of_constants(&self.constants));
                }
                Target::Constant(Value::Int(n)) => out.extend_from_slice(n.to_string().as_bytes()),
                Target::Format(inner) => out.extend(self.constant_of(inner)?),
                Target::Constant(Value::Null) | Target::Rc | Target::Host(..) => return None,
            }
        }
        Some(out)
    }

    /// Text with variables in it.
    pub(super) fn format(&mut self, text: &[u8], at: Position) -> Resolved<Format> {
        let mut pieces = vec![];
        let mut plain = vec![];
        let mut rest = text;
        let mut refused = false;
        while let Some(dollar) = memchr::memchr(b'$', rest) {
            plain.extend_from_slice(&rest[..dollar]);
            rest = &rest[dollar..];
            if rest.starts_with(b"$$") {
                plain.push(b'$');
                rest = &rest[2..];
                continue;
            }
            let noted = self.diagnostics.error_count();
            let Ok((variable, len)) = self.variable_in(rest, at) else {
                // Inside of a variable it is the outer text whose place is known.
                if self.depth == 0 {
                    let string = (at, text, text.len() - rest.len());
                    self.diagnostics.move_inside(noted, string);
                }
                refused = true;
                rest = &rest[token_len(rest).unwrap_or(1)..];
                continue;
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(self.intern(&plain)));
                plain.clear();
            }
            pieces.push(Piece::Variable(variable));
            rest = &rest[len..];
        }
        if refused {
            return Err(Refused);
        }
        plain.extend_from_slice(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(self.intern(&plain)));
        }
        Ok(Format {
            pieces: pieces.into(),
        })
    }

    /// Whether all of a text is one variable.
    pub(super) fn is_single(&self, text: &[u8]) -> bool {
        text.first() == Some(&b'$') && token_len(text) == Some(text.len())
    }

    /// The variable at the beginning of `text` and its length.
    fn variable_in(&mut self, text: &[u8], at: Position) -> Resolved<(Variable, usize)> {
        if self.depth >= limits::CONFIG_NEST_MAX {
            return self.refuse(at, ErrorKind::NestedTooDeep);
        }
        self.depth += 1;
        let found = self.variable_here(text, at);
        self.depth -= 1;
        found
    }

    fn variable_here(&mut self, text: &[u8], at: Position) -> Resolved<(Variable, usize)> {
        let bad = |n: usize| ErrorKind::VariableSyntax(lossy(&text[..text.len().min(n)]));
        if text.get(1) == Some(&b'(') {
            let Some(end) = closing(&text[1..], b'(', b')') else {
                return self.refuse(at, bad(40));
            };
            let inside = &text[2..1 + end];
            return Ok((self.parenthesised(inside, at)?, end + 2));
        }
        let mut len = 1 + name_len(&text[1..]);
        // In running text a dot may end the sentence and not belong to the name.
        while len > 2 && matches!(text[len - 1], b'.' | b'?') && !self.knows(&text[1..len]) {
            len -= 1;
        }
        if len == 1 {
            return self.refuse(at, bad(2));
        }
        let name = &text[1..len];
        let (inner, len) = match text.get(len) {
            Some(b'(') => match closing(&text[len..], b'(', b')') {
                Some(end) => (Some(&text[len + 1..len + end]), len + end + 1),
                None => return self.refuse(at, bad(40)),
            },
            _ => (None, len),
        };
        let target = self.target(name, inner, at)?;
        let variable = Variable {
            target,
            index: IndexSpec::None,
            transforms: Box::default(),
            at,
        };
        Ok((variable, len))
    }

    /// `name(inner)[index]{transformation}..`, without the parentheses around.
    fn parenthesised(&mut self, text: &[u8], at: Position) -> Resolved<Variable> {
        let whole = || ErrorKind::VariableSyntax(format!("$({})", lossy(text)));
        let text = text.trim_ascii();
        let len = name_len(text);
        let (name, mut rest) = text.split_at(len);
        let mut inner = None;
        if rest.first() == Some(&b'(') {
            let Some(end) = closing(rest, b'(', b')') else {
                return self.refuse(at, whole());
            };
            inner = Some(&rest[1..end]);
            rest = &rest[end + 1..];
        }
        let mut index = IndexSpec::None;
        if rest.first() == Some(&b'[') {
            let Some(end) = closing(rest, b'[', b']') else {
                return self.refuse(at, whole());
            };
            index = self.index(&rest[1..end], at)?;
            rest = &rest[end + 1..];
        }
        let mut transforms = vec![];
        while rest.first() == Some(&b'{') {
            let Some(end) = closing(rest, b'{', b'}') else {
                return self.refuse(at, whole());
            };
            transforms.push(self.transform(&rest[1..end], at)?);
            rest = &rest[end + 1..];
        }
        if !rest.trim_ascii().is_empty() {
            return self.refuse(at, whole());
        }
        Ok(Variable {
            target: self.target(name, inner, at)?,
            index,
            transforms: transforms.into(),
            at,
        })
    }

    fn index(&mut self, text: &[u8], at: Position) -> Resolved<IndexSpec> {
        let text = text.trim_ascii();
        if text == b"*" {
            return Ok(IndexSpec::All);
        }
        if text.first() == Some(&b'$') {
            return Ok(IndexSpec::Variable(Box::new(self.variable(text, at)?)));
        }
        match parse_int(text) {
            Some(n) => Ok(IndexSpec::At(n)),
            None => self.refuse(at, ErrorKind::VariableSyntax(format!("[{}]", lossy(text)))),
        }
    }

    fn target(&mut self, name: &[u8], inner: Option<&[u8]>, at: Position) -> Resolved<Target> {
        let name = lossy(name);
        if let Some(target) = self.built_in(&name, inner, at)? {
            return Ok(target);
        }
        let Some((id, sig)) = self.find_variable(&name) else {
            return self.unknown_variable(name, at);
        };
        if sig.planned {
            let what = "variable";
            self.diagnostics.warn(at, ErrorKind::Planned { what, name });
        }
        if let InnerKind::Declared(param) = sig.inner {
            let text = inner.unwrap_or_default().trim_ascii();
            let is_known = self.declared.contains(&(id.module, param, text.to_vec()));
            if !is_known && !self.diagnostics.may_hide(Hidden::param(param)) {
                let name = format!("{}({})", sig.name, lossy(text));
                return self.refuse(
                    at,
                    ErrorKind::Misuse(Misuse::VariableUndeclared { name, param }),
                );
            }
        }
        let inner = self.inner(sig, inner, at)?;
        Ok(Target::Host(id, inner))
    }

    fn unknown_variable<T>(&mut self, name: String, at: Position) -> Resolved<T> {
        let mut modules = self.vocabulary.modules.iter();
        let has_it = modules.find(|m| m.variables.iter().any(|v| v.name == name));
        if let Some(module) = has_it {
            if self.diagnostics.may_hide(Hidden::Modules) {
                return Err(Refused);
            }
            let module = module.name;
            return self.refuse(at, ErrorKind::VariableUnloaded { name, module });
        }
        let near = nearest(&name, self.variable_names());
        self.refuse(at, ErrorKind::VariableUnknown { name, near })
    }

    /// The variables of the language itself.
    fn built_in(
        &mut self,
        name: &str,
        inner: Option<&[u8]>,
        at: Position,
    ) -> Resolved<Option<Target>> {
        let target = match (name, inner) {
            ("rc" | "retcode" | "?", None) => Target::Rc,
            ("null", None) => Target::Constant(Value::Null),
            ("true", None) => Target::Constant(Value::Int(1)),
            ("_s", Some(text)) => Target::Format(self.format(text, at)?),
            ("def" | "defn", Some(id)) => {
                let text = self.defines.get(&lossy(id)).cloned();
                Target::Constant(match text.map(Option::unwrap_or_default) {
                    None => Value::Null,
                    Some(text) if name == "defn" => Value::Int(parse_int(&text).unwrap_or(0)),
                    Some(text) => Value::Str(self.intern(&text)),
                })
            }
            ("env" | "envn", Some(env)) => match self.source.env(&lossy(env)) {
                Some(text) if name == "envn" => {
                    Target::Constant(Value::Int(parse_int(text.as_bytes()).unwrap_or(0)))
                }
                Some(text) => Target::Constant(Value::Str(self.intern(text.as_bytes()))),
                None => Target::Constant(Value::Null),
            },
            ("cfg", Some(key)) => Target::Constant(self.place_of(key, at)?),
            _ => return Ok(None),
        };
        Ok(Some(target))
    }

    /// `$cfg(..)`: where in the configuration it stands.
    fn place_of(&mut self, key: &[u8], at: Position) -> Resolved<Value> {
        let text = match key {
            b"line" => return Ok(Value::Int(at.line.into())),
            b"name" | b"file" => self.diagnostics.file(at).to_owned(),
            b"route" => self.route.to_string(),
            _ => {
                let (name, wanted) = ("cfg".into(), "one of line, name, file, route".into());
                return self.refuse(at, ErrorKind::VariableInner { name, wanted });
            }
        };
        Ok(Value::Str(self.intern(text.as_bytes())))
    }

    fn inner(&mut self, sig: &VariableSig, inner: Option<&[u8]>, at: Position) -> Resolved<Inner> {
        let name = sig.name.to_string();
        let wants = |wanted: &str| ErrorKind::VariableInner {
            name: name.clone(),
            wanted: wanted.to_string(),
        };
        let text = inner.map(<[u8]>::trim_ascii);
        match (sig.inner, text) {
            (InnerKind::None, None) | (InnerKind::OptionalName, None) => Ok(Inner::None),
            (InnerKind::None, Some(_)) => self.refuse(at, wants("no inner name")),
            (InnerKind::Item, text)
                if memchr::memmem::find(text.unwrap_or_default(), b"=>").is_none() =>
            {
                self.refuse(at, wants("table=>key"))
            }
            (InnerKind::Name | InnerKind::Item | InnerKind::Declared(_), None | Some(b"")) => {
                self.refuse(at, wants("an inner name"))
            }
            (
                InnerKind::Name
                | InnerKind::Item
                | InnerKind::OptionalName
                | InnerKind::Declared(_),
                Some(text),
            ) => {
                if text.contains(&b'$') {
                    return Ok(Inner::Format(self.format(text, at)?));
                }
                Ok(Inner::Text(self.intern(text)))
            }
            (InnerKind::OneOf(words), text) => {
                let text = text.unwrap_or(b"");
                match words.iter().position(|word| word.as_bytes() == text) {
                    Some(n) => Ok(Inner::Word(n as u16)),
                    None => {
                        let list = words.join(", ");
                        self.refuse(at, wants(&format!("one of {list}")))
                    }
                }
            }
            (InnerKind::PathFrom(words), text) => {
                let text = text.unwrap_or(b"");
                let end = text.iter().position(|b| matches!(b, b'.' | b'['));
                let head = &text[..end.unwrap_or(text.len())];
                if words.iter().any(|word| word.as_bytes() == head) {
                    return Ok(Inner::Text(self.intern(text)));
                }
                let list = words.join(", ");
                self.refuse(at, wants(&format!("a path that begins with one of {list}")))
            }
            (InnerKind::Variable, Some(text)) if text.first() == Some(&b'$') => {
                Ok(Inner::Variable(Box::new(self.variable(text, at)?)))
            }
            (InnerKind::Variable, _) => self.refuse(at, wants("a variable as inner name")),
        }
    }

    fn transform(&mut self, text: &[u8], at: Position) -> Resolved<Transform> {
        let (name, params) = match memchr::memchr(b',', text) {
            Some(comma) => (&text[..comma], Some(&text[comma + 1..])),
            None => (text, None),
        };
        let name = lossy(name.trim_ascii_end());
        let Some(sig) = transform::find(&name) else {
            let near = nearest(&name, transform::names());
            return self.refuse(at, ErrorKind::TransformUnknown { name, near });
        };
        if let Some(module) = sig.module
            && self
                .vocabulary
                .module(module)
                .is_some_and(|id| !self.loaded.contains(&id))
        {
            if self.diagnostics.may_hide(Hidden::Modules) {
                return Err(Refused);
            }
            let name = sig.name;
            return self.refuse(
                at,
                ErrorKind::Misuse(Misuse::TransformUnloaded { name, module }),
            );
        }
        let texts = split_params(params, sig.params.len());
        if texts.len() < sig.required || texts.len() > sig.params.len() {
            let wanted = sig.doc;
            return self.refuse(at, ErrorKind::TransformParams { name, wanted });
        }
        let mut params = vec![];
        for (text, kind) in texts.iter().zip(sig.params) {
            params.push(self.transform_param(text, *kind, sig, at)?);
        }
        Ok(Transform::new(sig, params.into()))
    }

    fn transform_param(
        &mut self,
        text: &[u8],
        kind: transform::ParamKind,
        sig: &'static TransformSig,
        at: Position,
    ) -> Resolved<TransformParam> {
        use transform::ParamKind;
        if kind != ParamKind::Subst
            && let Some(variable) = self.single(text, at)
        {
            return Ok(TransformParam::Variable(variable?));
        }
        let name = || sig.name.to_string();
        match kind {
            // More parameters than there are, unless the text begins with the comma.
            ParamKind::Text if text.get(1..).is_some_and(|rest| rest.contains(&b',')) => {
                let (name, wanted) = (name(), sig.doc);
                self.refuse(at, ErrorKind::TransformParams { name, wanted })
            }
            ParamKind::Text => Ok(TransformParam::Text(self.intern(text))),
            ParamKind::Int => match parse_int(text.trim_ascii()) {
                Some(n) => Ok(TransformParam::Int(n)),
                None => {
                    let (name, wanted) = (name(), sig.doc);
                    self.refuse(at, ErrorKind::TransformParams { name, wanted })
                }
            },
            ParamKind::Subst => {
                let substitution = self.substitution(text, at)?;
                Ok(TransformParam::Subst(Box::new(substitution)))
            }
        }
    }

    /// `/expression/replacement/flags`, with variables in the replacement.
    pub(super) fn substitution(&mut self, text: &[u8], at: Position) -> Resolved<Substitution> {
        let mut is_refused = false;
        let read = Substitution::parse_with(text, &mut |text| {
            let variable = self.variable_in(text, at);
            is_refused |= variable.is_err();
            variable
                .ok()
                .map(|(v, len)| (transform::Piece::Variable(v), len))
        });
        match read {
            Ok(_) if is_refused => Err(Refused),
            Ok(substitution) => Ok(substitution),
            Err(reason) => {
                let text = lossy(text);
                self.refuse(at, ErrorKind::Regex { text, reason })
            }
        }
    }

    fn find_variable(&self, name: &str) -> Option<(VariableId, &'static VariableSig)> {
        self.loaded.iter().find_map(|&module| {
            let variables = self.vocabulary.sig(module).variables;
            let at = variables.iter().position(|v| v.name == name)?;
            let index = at as u16;
            Some((VariableId { module, index }, &variables[at]))
        })
    }

    /// Whether a variable of any module, loaded or not, has this name.
    fn knows(&self, name: &[u8]) -> bool {
        let mut modules = self.vocabulary.modules.iter();
        modules.any(|m| m.variables.iter().any(|v| v.name.as_bytes() == name))
    }

    fn variable_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let vocabulary = *self.vocabulary;
        let loaded = self.loaded.clone();
        loaded
            .into_iter()
            .flat_map(move |module| vocabulary.sig(module).variables.iter().map(|v| v.name))
    }
}

/// Bytes as text for an error.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn name_len(text: &[u8]) -> usize {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'?');
    text.iter().take_while(|b| is_name(b)).count()
}

/// How long the variable at the beginning of `text` is, by its parentheses alone.
fn token_len(text: &[u8]) -> Option<usize> {
    let name = 1 + name_len(&text[1..]);
    match text.get(name) {
        Some(b'(') => Some(name + closing(&text[name..], b'(', b')')? + 1),
        _ if name > 1 => Some(name),
        _ => None,
    }
}

/// Where the bracket that `text` begins with is closed.
fn closing(text: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut depth = 0usize;
    for (i, &b) in text.iter().enumerate() {
        if b == open {
            depth += 1;
        } else if b == close {
            depth -= 1;
            if depth == 0 {
                return Some(i);
            }
        }
    }
    None
}

/// Splits at the commas outside of variables; the last of `most` takes all that is left, so that
/// a separator can be a comma.
fn split_params(text: Option<&[u8]>, most: usize) -> Vec<&[u8]> {
    let Some(mut rest) = text else {
        return vec![];
    };
    let mut params = vec![];
    while params.len() + 1 < most {
        let Some(comma) = comma_outside(rest) else {
            break;
        };
        params.push(&rest[..comma]);
        rest = &rest[comma + 1..];
    }
    params.push(rest);
    params
}

fn comma_outside(text: &[u8]) -> Option<usize> {
    let mut depth = 0i32;
    for (i, &b) in text.iter().enumerate() {
        match b {
            b'(' | b'{' | b'[' if i > 0 => depth += 1,
            b')' | b'}' | b']' => depth -= 1,
            // A leading comma is the text itself: `{s.replace,,,;}`.
            b',' if depth <= 0 => return Some(i),
            _ => {}
        }
    }
    None
}
