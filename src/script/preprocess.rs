//! Directives: definitions, conditions, substitutions and inclusion. Gives all tokens of a
//! configuration in one list.
//!
//! A definition is replaced only where it is a word of its own, never inside a string, and its
//! text is read again. Substitutions work inside strings and variables. All reading is the
//! [`Source`]'s; nesting and the length of the result are bounded.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use super::error::{Diagnostics, ErrorKind, Hidden, Position};
use super::lex::{Lexeme, Lexer, Token, TokenKind};
use super::transform::Substitution;
use crate::limits;

/// Definitions that may stand inside each other.
const DEFINITION_DEPTH_MAX: usize = 32;

/// Bytes of the name of an included file, the original's bound.
const INCLUDE_NAME_SIZE_MAX: usize = 128;

/// Defined names; `None`: without text, for `#!ifdef` only.
pub(super) type Defines = BTreeMap<String, Option<Vec<u8>>>;

/// Reads a configuration through all its directives.
pub(super) struct Preprocessor<'a> {
    source: &'a mut dyn Source,
    diagnostics: &'a mut Diagnostics,
    pub(super) defines: Defines,
    /// Names that a mistake left without a text.
    textless: BTreeSet<String>,
    by_line: bool,
    substitutions: Vec<Substitution>,
    readers: Vec<Lexer>,
    conditions: Vec<Condition>,
    include: Option<(bool, Position)>,
    tokens: Vec<Token>,
    /// The text of what counts, as it is written, when somebody wants to see it.
    listing: Option<Vec<u8>>,
}

struct Condition {
    at: Position,
    had_else: bool,
}

impl<'a> Preprocessor<'a> {
    /// A preprocessor that knows the names given on the command line and the predefined ones.
    pub(super) fn new(
        source: &'a mut dyn Source,
        diagnostics: &'a mut Diagnostics,
        defines: &[(&str, &str)],
    ) -> Self {
        let predefined = ["KAMAILIO_5", "KAMAILIO_5_6", "KAMAILIO_5_6_3", "MOD_core"];
        let given = defines.iter().map(|(name, text)| {
            let text = (!text.is_empty()).then(|| text.as_bytes().to_vec());
            (name.to_string(), text)
        });
        Preprocessor {
            source,
            diagnostics,
            defines: predefined
                .map(|n| (n.to_string(), None))
                .into_iter()
                .chain(given)
                .collect(),
            textless: BTreeSet::new(),
            by_line: false,
            substitutions: vec![],
            readers: vec![],
            conditions: vec![],
            include: None,
            tokens: vec![],
            listing: None,
        }
    }

    /// The text of a configuration with its files included and without what does not count:
    /// skipped branches and their conditions. Definitions stay as they are written.
    pub(super) fn list(mut self, path: &str) -> Vec<u8> {
        self.listing = Some(vec![]);
        self.read_all(path);
        self.listing.unwrap_or_default()
    }

    /// The same preprocessor, for which no string goes beyond its line: where one does not end at
    /// all, this finds the first.
    pub(super) fn by_line(self) -> Self {
        Preprocessor {
            by_line: true,
            ..self
        }
    }

    /// All tokens of the file at `path` and of what it includes, the end last.
    pub(super) fn run(mut self, path: &str) -> (Vec<Token>, Defines) {
        self.read_all(path);
        (self.tokens, self.defines)
    }

    fn read_all(&mut self, path: &str) {
        match self.source.read(path) {
            Some(text) => self.open(path, text, Position::default()),
            None => self.error(Position::default(), ErrorKind::FileMissing(path.into())),
        }
        let mut end = Position::default();
        while let Some(reader) = self.readers.last_mut() {
            let before = reader.place();
            let from = reader.offset();
            let next = reader.next();
            if self.listing.is_some() && reader.is_file() {
                let text = reader.since(from).to_vec();
                self.show(&text, next.as_ref().ok());
            }
            match next {
                Ok(Lexeme::Token(token)) => self.token(token),
                Ok(Lexeme::Directive(line, at)) => self.directive(&line, at),
                Ok(Lexeme::End) => {
                    end = before;
                    self.readers.pop();
                }
                Err((at, kind)) => self.unreadable(at, kind),
            }
            if self.tokens.len() > limits::CONFIG_TOKEN_COUNT_MAX {
                self.error(before, ErrorKind::ExpansionTooLong("the file".into()));
                self.readers.clear();
            }
        }
        for condition in std::mem::take(&mut self.conditions) {
            self.error(condition.at, ErrorKind::ConditionOpen);
            self.diagnostics.hide(Hidden::Anything);
        }
        self.tokens.push(Token {
            kind: TokenKind::End,
            at: end,
            end,
        });
    }

    /// Adds what was just read to the listing, unless it is a condition or an inclusion.
    fn show(&mut self, text: &[u8], lexeme: Option<&Lexeme>) {
        let Some(listing) = &mut self.listing else {
            return;
        };
        let hidden = match lexeme {
            Some(Lexeme::Token(token)) => match &token.kind {
                TokenKind::Word(word) if is_inclusion(word) => Some(text.len() - word.len()),
                TokenKind::Str { .. } if self.include.is_some() => Some(0),
                _ => None,
            },
            Some(Lexeme::Directive(line, _)) => {
                let word = line
                    .split(|b| !b.is_ascii_alphabetic() && *b != b'_')
                    .next();
                let word = String::from_utf8_lossy(word.unwrap_or_default());
                let is_hidden = matches!(&*word, "ifdef" | "ifndef" | "ifexp" | "else" | "endif")
                    || is_inclusion(&word);
                is_hidden.then(|| directive_start(text))
            }
            Some(Lexeme::End) | None => None,
        };
        listing.extend_from_slice(&text[..hidden.unwrap_or(text.len())]);
    }

    fn error(&mut self, at: Position, kind: ErrorKind) {
        let hides = matches!(
            kind,
            ErrorKind::FileMissing(_)
                | ErrorKind::FileTooLarge(_)
                | ErrorKind::IncludeTooDeep
                | ErrorKind::IncludeName
                | ErrorKind::CommentOpen
        );
        if hides {
            self.diagnostics.hide(Hidden::Anything);
        }
        self.diagnostics.error(at, kind);
    }

    /// What cannot be read is a token that fits nowhere, so that it is one mistake and not two.
    fn unreadable(&mut self, at: Position, kind: ErrorKind) {
        match kind {
            ErrorKind::StringOpen => self.diagnostics.open_string(at),
            kind => self.error(at, kind),
        }
        let (kind, end) = (TokenKind::Bad, at);
        self.tokens.push(Token { kind, at, end });
    }

    fn open(&mut self, path: &str, text: Vec<u8>, at: Position) {
        let depth = self.readers.iter().filter(|r| r.is_file()).count();
        let count = self.diagnostics.files.len();
        if depth > limits::INCLUDE_DEPTH_MAX || count >= limits::CONFIG_FILE_COUNT_MAX {
            self.error(at, ErrorKind::IncludeTooDeep);
        } else if text.len() > limits::CONFIG_SIZE_MAX {
            self.error(at, ErrorKind::FileTooLarge(path.into()));
        } else if let Ok(file) = u16::try_from(self.diagnostics.files.len()) {
            self.diagnostics.files.push((path.into(), text.clone()));
            self.readers
                .push(Lexer::file(text, file).by_line(self.by_line));
        } else {
            self.error(at, ErrorKind::IncludeTooDeep);
        }
    }

    fn token(&mut self, mut token: Token) {
        if let Some((required, at)) = self.include.take() {
            match token.kind {
                TokenKind::Str { text, joins: true } => self.include(&text, required, at),
                _ => self.error(at, ErrorKind::IncludeName),
            }
            return;
        }
        match &mut token.kind {
            TokenKind::Word(word) if word == "include_file" => {
                self.include = Some((true, token.at));
                return;
            }
            TokenKind::Word(word) if word == "import_file" => {
                self.include = Some((false, token.at));
                return;
            }
            TokenKind::Word(word) if self.textless.contains(word) => token.kind = TokenKind::Bad,
            TokenKind::Word(word) => {
                if let Some(Some(text)) = self.defines.get(word) {
                    let (word, text) = (word.clone(), text.clone());
                    return self.expand(word, text, token.at);
                }
            }
            TokenKind::Str { text, .. } | TokenKind::Variable(text) => {
                substitute(&self.substitutions, text);
            }
            _ => {}
        }
        self.note_module(&token.kind);
        self.push(token);
    }

    /// Adds a token; neighbouring strings in double quotes become one.
    fn push(&mut self, token: Token) {
        if let Some(last) = self.tokens.last_mut()
            && let TokenKind::Str {
                text: before,
                joins: true,
            } = &mut last.kind
            && let TokenKind::Str { text, joins: true } = &token.kind
        {
            before.extend_from_slice(text);
            last.end = token.end;
        } else {
            self.tokens.push(token);
        }
    }

    fn expand(&mut self, word: String, text: Vec<u8>, at: Position) {
        let depth = self.readers.iter().filter(|r| !r.is_file()).count();
        if depth >= DEFINITION_DEPTH_MAX {
            self.readers.retain(Lexer::is_file);
            self.unreadable(at, ErrorKind::ExpansionTooLong(word));
        } else {
            self.readers.push(Lexer::definition(text, at));
        }
    }

    /// `loadmodule "x"` defines `MOD_x` for what follows.
    fn note_module(&mut self, kind: &TokenKind) {
        let TokenKind::Str { text, .. } = kind else {
            return;
        };
        let mut before = self.tokens.iter().rev().map(|t| &t.kind);
        let mut last = before.next();
        if last == Some(&TokenKind::Sign("(")) {
            last = before.next();
        }
        if matches!(last, Some(TokenKind::Word(word)) if word.starts_with("loadmodule")) {
            let name = module_name(&String::from_utf8_lossy(text)).to_string();
            self.defines.insert(format!("MOD_{name}"), None);
        }
    }

    fn directive(&mut self, line: &[u8], at: Position) {
        let line = String::from_utf8_lossy(line).into_owned();
        let line = line.trim_start();
        let end = line
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(line.len());
        let (name, rest) = (&line[..end], line[end..].trim_start());
        match name {
            "define" | "def" => self.define(rest, at, Redefine::Refuse),
            "trydefine" | "trydef" => self.define(rest, at, Redefine::Keep),
            "redefine" | "redef" => self.define(rest, at, Redefine::Replace),
            "undefine" | "undef" | "tryundefine" | "tryundef" => {
                if let Some((id, _)) = self.identifier(rest, at) {
                    self.defines.remove(&id);
                }
            }
            "ifdef" => self.condition(rest, at, true),
            "ifndef" => self.condition(rest, at, false),
            "else" => self.else_branch(at),
            "endif" => self.end_condition(at),
            "subst" | "substdef" | "substdefs" => self.substitution(name, rest, at),
            "defenv" | "defenvs" | "trydefenv" | "trydefenvs" => self.environment(name, rest, at),
            "include_file" | "import_file" => self.include_line(name, rest, at),
            "SER" => self.error(at, ErrorKind::OldDialect),
            "ifexp" | "defexp" | "defexps" => {
                self.error(at, ErrorKind::DirectiveUnsupported(name.into()));
            }
            // `#!KAMAILIO`, an interpreter line, or a comment that begins with `!`.
            _ => {}
        }
    }

    fn identifier<'t>(&mut self, text: &'t str, at: Position) -> Option<(String, &'t str)> {
        let end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(text.len());
        let (id, rest) = text.split_at(end);
        let starts_well = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !rest.is_empty() && !rest.starts_with([' ', '\t', '\r', '=']) {
            self.error(at, ErrorKind::DirectiveSyntax("an identifier"));
            return None;
        }
        Some((id.to_string(), rest.trim_start()))
    }

    fn define(&mut self, rest: &str, at: Position, redefine: Redefine) {
        let Some((id, text)) = self.identifier(rest, at) else {
            return;
        };
        let text = text.trim_end();
        let text = (!text.is_empty()).then(|| text.as_bytes().to_vec());
        self.insert(id, text, at, redefine);
    }

    fn insert(&mut self, id: String, text: Option<Vec<u8>>, at: Position, redefine: Redefine) {
        match (self.defines.contains_key(&id), redefine) {
            (true, Redefine::Refuse) => self.error(at, ErrorKind::DefinedTwice(id)),
            (true, Redefine::Keep) => {}
            (true, Redefine::Replace) | (false, _) => {
                self.defines.insert(id, text);
            }
        }
    }

    fn condition(&mut self, rest: &str, at: Position, wanted: bool) {
        let Some((id, _)) = self.identifier(rest, at) else {
            return;
        };
        self.conditions.push(Condition {
            at,
            had_else: false,
        });
        if self.defines.contains_key(&id) != wanted {
            self.skip_branch();
        }
    }

    fn end_condition(&mut self, at: Position) {
        if self.conditions.pop().is_none() {
            self.error(at, ErrorKind::ConditionStray("endif"));
        }
    }

    /// The branch before held, so this one is skipped.
    fn else_branch(&mut self, at: Position) {
        match self.conditions.last_mut() {
            Some(condition) if !condition.had_else => {
                condition.had_else = true;
                self.skip_branch();
            }
            _ => self.error(at, ErrorKind::ConditionStray("else")),
        }
    }

    /// Skips to the `#!else` or `#!endif` of the innermost condition.
    fn skip_branch(&mut self) {
        let mut depth = 0u32;
        while let Some((line, at)) = self.readers.last_mut().and_then(Lexer::skip_to_directive) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let end = line
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(line.len());
            match &line[..end] {
                "ifdef" | "ifndef" | "ifexp" => depth += 1,
                "endif" if depth > 0 => depth -= 1,
                "endif" => {
                    self.conditions.pop();
                    return;
                }
                "else" if depth == 0 => match self.conditions.last_mut() {
                    Some(condition) if !condition.had_else => {
                        condition.had_else = true;
                        return;
                    }
                    _ => self.error(at, ErrorKind::ConditionStray("else")),
                },
                _ => {}
            }
        }
    }

    fn substitution(&mut self, name: &str, rest: &str, at: Position) {
        let rest = rest.trim_end();
        let Some(rule) = rest.strip_prefix('"').and_then(|r| r.strip_suffix('"')) else {
            let wanted = "\"/expression/replacement/flags\"";
            return self.error(at, ErrorKind::DirectiveSyntax(wanted));
        };
        let bad = |reason| ErrorKind::Regex {
            text: rule.to_string(),
            reason,
        };
        match Substitution::parse(rule.as_bytes()) {
            Ok(substitution) => self.substitutions.push(substitution),
            Err(reason) => return self.error(at, bad(reason)),
        }
        if name == "subst" {
            return;
        }
        let Ok((id, text)) = Substitution::fields(rule.as_bytes()) else {
            return;
        };
        let id = String::from_utf8_lossy(&id).into_owned();
        if let Some((id, _)) = self.identifier(&id, at) {
            let text = if name == "substdefs" {
                quoted(&text)
            } else {
                text
            };
            self.insert(id, Some(text), at, Redefine::Refuse);
        }
    }

    fn environment(&mut self, name: &str, rest: &str, at: Position) {
        let Some((id, variable)) = self.identifier(rest.trim_end(), at) else {
            return;
        };
        let variable = match variable.strip_prefix('=') {
            Some(variable) => variable.trim().to_string(),
            None => id.clone(),
        };
        match self.source.env(&variable) {
            Some(text) if name.ends_with('s') => {
                self.insert(id, Some(quoted(text.as_bytes())), at, Redefine::Refuse);
            }
            Some(text) => self.insert(id, Some(text.into_bytes()), at, Redefine::Refuse),
            None if name.starts_with("try") => {}
            None => {
                self.textless.insert(id);
                self.error(at, ErrorKind::EnvironmentMissing(variable));
            }
        }
    }

    fn include_line(&mut self, directive: &str, rest: &str, at: Position) {
        let rest = rest.trim_end();
        match rest.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
            Some(name) => self.include(name.as_bytes(), directive == "include_file", at),
            None => self.error(at, ErrorKind::IncludeName),
        }
    }

    fn include(&mut self, name: &[u8], required: bool, at: Position) {
        let mut name = name.to_vec();
        substitute(&self.substitutions, &mut name);
        let name = String::from_utf8_lossy(&name).into_owned();
        if name.is_empty() || name.len() > INCLUDE_NAME_SIZE_MAX {
            return self.error(at, ErrorKind::IncludeName);
        }
        match self.find(&name, at) {
            Some((path, text)) => self.open(&path, text, at),
            None if required => self.error(at, ErrorKind::FileMissing(name)),
            None => {}
        }
    }

    /// As given, then beside the file that includes it.
    fn find(&mut self, name: &str, at: Position) -> Option<(String, Vec<u8>)> {
        if let Some(text) = self.source.read(name) {
            return Some((name.to_string(), text));
        }
        let (includer, _) = self.diagnostics.files.get(usize::from(at.file))?;
        let (directory, _) = includer.rsplit_once('/')?;
        let path = format!("{directory}/{name}");
        let text = self.source.read(&path)?;
        Some((path, text))
    }
}

fn is_inclusion(word: &str) -> bool {
    matches!(word, "include_file" | "import_file")
}

/// Where the directive begins that a text ends with.
fn directive_start(text: &[u8]) -> usize {
    let is_mark = |pair: &[u8]| matches!(pair, b"#!" | b"!!");
    let mut starts = text
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| is_mark(pair));
    let begins_line = |at: usize| {
        let line = text[..at].rsplit(|b| *b == b'\n').next();
        line.is_none_or(|before| before.trim_ascii().is_empty())
    };
    starts
        .find(|(at, _)| begins_line(*at))
        .map_or(0, |(at, _)| at)
}

/// What a second definition of a name does.
#[derive(Clone, Copy)]
enum Redefine {
    Refuse,
    Keep,
    Replace,
}

/// The name of a module in `loadmodule`: without directories and `.so`.
pub(super) fn module_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".so").unwrap_or(name)
}

/// The text as a string of the language.
fn quoted(text: &[u8]) -> Vec<u8> {
    let escaped = text.iter().flat_map(|&b| {
        let lead = matches!(b, b'"' | b'\\').then_some(b'\\');
        lead.into_iter().chain([b])
    });
    [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
}

fn substitute(rules: &[Substitution], text: &mut Vec<u8>) {
    for rule in rules {
        let mut out = vec![];
        if rule.apply(text, &vec![], &mut out) == Some(true) {
            *text = out;
        }
    }
}
