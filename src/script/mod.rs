//! The configuration language: text, checked program, run.
//!
//! ```text
//!  files ─▶ preprocess + lex ─▶ parse ─▶ check ─▶ compile ─▶ Program ─▶ Vm ◀──▶ Host
//!            #!define, include    ast     names,    ops                       the modules
//!            #!ifdef, #!subst             kinds
//! ```
//!
//! The language is Kamailio 5.6's; integers have 64 bits. The module knows no SIP and no module
//! of the proxy: names come from a [`Vocabulary`], meaning from a [`Host`]. It reads no file
//! itself: a [`Source`] does. All mistakes of a file are found at load and reported together.

mod ast;
pub mod calendar;
mod call;
mod check;
mod compile;
mod error;
mod format;
mod host;
mod lex;
mod load;
mod operate;
mod parse;
mod preprocess;
mod program;
mod regex;
mod resolve;
pub mod sample;
mod signature;
mod transform;
mod uris;
mod value;
mod variable;
mod vm;

pub use error::{ConfigError, ConfigErrors, ErrorKind, Misuse, Position};
pub use format::Format;
pub use host::{Access, Arg, CallSite, Host, Index, Key, Keyword, Outcome, WriteError};
pub use load::{Reading, listing, load, read};
pub use program::{Alias, Custom, Global, Listen, ModParam, Program, Route, RouteId, Setting};
pub use regex::compile_any as compile_regex;
pub use signature::{
    FunctionId, FunctionSig, GlobalKind, GlobalSig, InnerKind, ModuleId, ModuleSig, ParamKind,
    ParamSig, ParamType, RouteKind, RouteKinds, VariableId, VariableSig, Vocabulary,
};
pub use transform::{Inserts, Substitution, all as transformations, spread};
pub use uris::Shape;
pub use value::{Heap, Text, Value, parse_int};
pub use variable::Variable;
pub use vm::{End, Pause, Vm};

/// What the loader of a configuration asks of the world.
pub trait Source {
    /// The bytes of a file; `None` when it cannot be read.
    fn read(&mut self, path: &str) -> Option<Vec<u8>>;

    /// The value of an environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// The addresses of a host.
    fn addresses(&self, _host: &str) -> Vec<std::net::IpAddr> {
        vec![]
    }
}
