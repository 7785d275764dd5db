//! From the path of a file to a program that can run, or to all that is wrong with it.

use super::Source;
use super::check;
use super::compile::Compiler;
use super::error::{ConfigErrors, Diagnostics, ErrorKind, Hidden, Misuse, Position};
use super::lex::Token;
use super::parse::Parser;
use super::preprocess::{Defines, Preprocessor};
use super::program::Program;
use super::resolve::Names;
use super::signature::Vocabulary;
use crate::limits;

/// Rounds of a `while` before it is left, the original's default.
const LOOP_MAX: u32 = 100;

/// The text of a configuration after preprocessing: with all files, without skipped branches.
pub fn listing(
    path: &str,
    source: &mut dyn Source,
    defines: &[(&str, &str)],
) -> Result<Vec<u8>, ConfigErrors> {
    let mut diagnostics = Diagnostics::default();
    let text = Preprocessor::new(source, &mut diagnostics, defines).list(path);
    match diagnostics.error_count() {
        0 => Ok(text),
        _ => Err(ConfigErrors(diagnostics.errors())),
    }
}

/// A configuration that has been read, right or wrong. Who knows more of what its values mean
/// looks at them too before it is finished, so that all mistakes show at once.
#[derive(Debug)]
pub struct Reading {
    program: Program,
    diagnostics: Diagnostics,
}

impl Reading {
    /// What was understood. It is no program to run before [`Reading::finish`].
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Notes one more mistake, unless one is noted at its place: then it comes of that.
    pub fn error(&mut self, at: Position, kind: ErrorKind) {
        if !self.diagnostics.has_error_at(at) {
            self.diagnostics.error(at, kind);
        }
    }

    /// Notes something that is odd but not wrong.
    pub fn warn(&mut self, at: Position, kind: ErrorKind) {
        self.diagnostics.warn(at, kind);
    }

    /// Whether all values of the parameters of this name are known: no mistake hides any.
    pub fn has_all_params(&self, name: &str) -> bool {
        !self.diagnostics.may_hide(Hidden::param(name))
    }

    /// Whether nothing is wrong so far: then nothing is missing for another reason.
    pub fn is_clean(&self) -> bool {
        self.diagnostics.error_count() == 0
    }

    /// Whether the sockets are all known.
    pub fn has_all_sockets(&self) -> bool {
        !self.diagnostics.may_hide(Hidden::Sockets)
    }

    /// The program, or all that is wrong with it.
    pub fn finish(mut self) -> Result<Program, ConfigErrors> {
        if self.diagnostics.error_count() > 0 {
            return Err(ConfigErrors(self.diagnostics.errors()));
        }
        self.program.warnings = self.diagnostics.warnings();
        let files = self.diagnostics.files.into_iter();
        self.program.files = files.map(|(name, _)| name).collect();
        Ok(self.program)
    }
}

/// Loads a configuration. `defines` are names given on the command line, with their texts.
pub fn load(
    path: &str,
    source: &mut dyn Source,
    defines: &[(&str, &str)],
    vocabulary: &Vocabulary,
) -> Result<Program, ConfigErrors> {
    read(path, source, defines, vocabulary).finish()
}

/// Reads a configuration and checks all that the language knows of it.
pub fn read(
    path: &str,
    source: &mut dyn Source,
    defines: &[(&str, &str)],
    vocabulary: &Vocabulary,
) -> Reading {
    let (tokens, defines, mut diagnostics) = tokens(path, source, defines);
    let items = Parser::new(&tokens, &mut diagnostics).parse();
    if let [Token { at, .. }] = &tokens[..]
        && diagnostics.error_count() == 0
    {
        diagnostics.error(*at, ErrorKind::Misuse(Misuse::Empty));
    }
    let program = Program {
        loop_max: LOOP_MAX,
        depth_max: limits::SCRIPT_DEPTH_MAX,
        ..Program::default()
    };
    let names = Names::new(vocabulary, (&defines, &*source), &mut diagnostics);
    let mut compiler = Compiler::new(names, &*source, program, check::route_names(&items));
    check::items(&mut compiler, items);
    let program = compiler.finish();
    Reading {
        program,
        diagnostics,
    }
}

/// All tokens. When a string does not end, all is read once more, to find where it begins and
/// what else is wrong: this time no string goes beyond its line.
fn tokens(
    path: &str,
    source: &mut dyn Source,
    given: &[(&str, &str)],
) -> (Vec<Token>, Defines, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let reader = Preprocessor::new(&mut *source, &mut diagnostics, given);
    let (tokens, defines) = reader.run(path);
    if !diagnostics.has_open_string() {
        return (tokens, defines, diagnostics);
    }
    let mut diagnostics = Diagnostics::default();
    let reader = Preprocessor::new(source, &mut diagnostics, given).by_line();
    let (tokens, defines) = reader.run(path);
    (tokens, defines, diagnostics)
}
