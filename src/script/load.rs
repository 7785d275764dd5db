//! From the path of a file to a program that can run, or to all that is wrong with it.

use super::Source;
use super::check;
use super::compile::Compiler;
use super::error::{ConfigErrors, Diagnostics, ErrorKind, Misuse};
use super::lex::Token;
use super::parse::Parser;
use super::preprocess::Preprocessor;
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

/// Loads a configuration. `defines` are names given on the command line, with their texts.
pub fn load(
    path: &str,
    source: &mut dyn Source,
    defines: &[(&str, &str)],
    vocabulary: &Vocabulary,
) -> Result<Program, ConfigErrors> {
    let mut diagnostics = Diagnostics::default();
    let reader = Preprocessor::new(&mut *source, &mut diagnostics, defines);
    let (tokens, defines) = reader.run(path);
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
    let mut program = compiler.finish();
    if diagnostics.error_count() > 0 {
        return Err(ConfigErrors(diagnostics.errors()));
    }
    program.warnings = diagnostics.warnings();
    program.files = diagnostics
        .files
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    Ok(program)
}
