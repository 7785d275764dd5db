//! The modules that `loadmodule` knows, as const tables, and the core, which is always there.
//!
//! A table says of each function, variable and parameter what it is called, what it takes, where
//! it may stand, and which code it is. The checker, the virtual machine, `-h` texts and the
//! README's reference all read these tables; nothing is declared twice. Modules do not call each
//! other's functions: what the order of work is, `shard` knows.
//!
//! Adding a function is one entry: its signature and `run`. It is handed a [`Call`], which is the
//! script's view of the shard, and gives an [`Outcome`].

pub mod auth;
pub mod call;
pub mod cfgutils;
mod comparison;
pub mod config;
pub mod core;
pub mod corex;
pub mod counters;
pub mod ctl;
pub mod dialog;
pub mod digest;
pub mod dispatcher;
mod entry;
pub mod event;
pub mod htable;
pub mod ipops;
pub mod journal;
pub mod jsonrpcs;
pub mod kex;
pub mod load;
pub mod maxfwd;
pub mod planned;
pub mod pv;
pub mod rewrite;
pub mod rpc;
pub mod rr;
#[cfg(test)]
mod sample;
pub mod sanity;
pub mod setup;
pub mod shared;
pub mod siputils;
pub mod sl;
pub mod state;
pub mod statistics;
pub mod stores;
pub mod textops;
pub mod tm;
pub mod uac;
pub mod work;
pub mod xhttp;
pub mod xlog;

pub use call::Call;
pub use config::Config;
pub use setup::Setup;
pub use state::{Env, State};

use std::sync::LazyLock;

use crate::script::{
    Access, CallSite, FunctionId, FunctionSig, GlobalSig, Heap, ModuleSig, Outcome, ParamSig,
    Setting, Value, VariableId, VariableSig, Vocabulary, WriteError,
};

/// One module: tables of what it offers.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// As in `loadmodule`; the core's is `core`.
    pub name: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    /// Whether it only stands for what is not done yet: it loads with a warning.
    pub planned: bool,
    /// Its functions.
    pub functions: &'static [Function],
    /// Its variables.
    pub variables: &'static [Variable],
    /// Its parameters.
    pub params: &'static [Param],
    /// Its commands for operators.
    pub commands: &'static [rpc::Command],
    /// What it counts, for operators.
    pub statistics: &'static [rpc::Statistic],
}

/// A module that offers nothing; tables are written as what differs from it.
const EMPTY: Module = Module {
    name: "",
    doc: "",
    planned: false,
    functions: &[],
    variables: &[],
    params: &[],
    commands: &[],
    statistics: &[],
};

/// A function: signature and code.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// What the language knows of it.
    pub sig: FunctionSig,
    /// What it does.
    pub run: Run,
}

/// The code of a function.
pub type Run = fn(&mut Call<'_>, &mut Heap, &CallSite) -> Outcome;

/// A variable: signature and code.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// What the language knows of it.
    pub sig: VariableSig,
    /// Its value.
    pub get: Get,
    /// Assigning it; there is one exactly when the signature calls it writable.
    pub set: Option<Set>,
}

/// Reading a variable.
pub type Get = fn(&mut Call<'_>, &mut Heap, &Access<'_>) -> Value;

/// Assigning a variable.
pub type Set = fn(&mut Call<'_>, &mut Heap, &Access<'_>, Value) -> Result<(), WriteError>;

/// A parameter: signature and where its value goes.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// What the language knows of it.
    pub sig: ParamSig,
    /// Stores the value.
    pub set: fn(&mut Config, &Setting) -> Result<(), ParamError>,
}

/// A global parameter: signature and where its value goes.
#[derive(Clone, Copy, Debug)]
pub struct Global {
    /// What the language knows of it.
    pub sig: GlobalSig,
    /// Stores the value; parameters without effect store nothing.
    pub set: fn(&mut Config, &Setting) -> Result<(), ParamError>,
}

/// Why a parameter's value will not do: what is expected instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParamError(pub &'static str);

/// Every module, the core first.
static ALL: [&Module; entry::total(&[&DONE, &planned::ALL])] = entry::join(&[&DONE, &planned::ALL]);

/// The modules that do something.
const DONE: [&Module; 26] = [
    &core::MODULE,
    &auth::MODULE,
    &cfgutils::MODULE,
    &corex::MODULE,
    &ctl::MODULE,
    &dialog::MODULE,
    &dispatcher::MODULE,
    &htable::MODULE,
    &ipops::MODULE,
    &jsonrpcs::MODULE,
    &kex::MODULE,
    &maxfwd::MODULE,
    &pv::MODULE,
    &rr::MODULE,
    &sanity::MODULE,
    &siputils::MODULE,
    &sl::MODULE,
    &statistics::MODULE,
    &statistics::COUNTERS,
    &textops::MODULE,
    &textops::X,
    &tm::MODULE,
    &tm::x::MODULE,
    &uac::MODULE,
    &xhttp::MODULE,
    &xlog::MODULE,
];

/// Modules that need others, which must be loaded before them.
const NEEDS: [(&str, &[&str]); 2] = [("dialog", &["tm", "rr"]), ("tmx", &["tm"])];

/// What a configuration may name. Made once, from the tables.
pub fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
        let sig = |m: &&Module| ModuleSig {
            name: m.name,
            planned: m.planned,
            needs: needs(m.name),
            functions: m.functions.iter().map(|f| f.sig).collect::<Vec<_>>().leak(),
            variables: m.variables.iter().map(|v| v.sig).collect::<Vec<_>>().leak(),
            params: m.params.iter().map(|p| p.sig).collect::<Vec<_>>().leak(),
            doc: m.doc,
        };
        let modules = ALL.iter().map(sig).collect::<Vec<_>>().leak();
        let globals = core::GLOBALS
            .iter()
            .map(|g| g.sig)
            .collect::<Vec<_>>()
            .leak();
        Vocabulary { modules, globals }
    });
    &VOCABULARY
}

/// The modules that must be loaded before this one.
fn needs(name: &str) -> &'static [&'static str] {
    let found = NEEDS.iter().find(|(module, _)| *module == name);
    found.map_or(&[], |(_, needed)| needed)
}

/// The code of a function.
pub fn function(id: FunctionId) -> &'static Function {
    &ALL[usize::from(id.module.0)].functions[usize::from(id.index)]
}

/// The code of a variable.
pub fn variable(id: VariableId) -> &'static Variable {
    &ALL[usize::from(id.module.0)].variables[usize::from(id.index)]
}

/// All modules with their code, for listings.
pub fn all() -> &'static [&'static Module] {
    &ALL
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::script::Setting;

    #[test]
    fn names_are_unique() {
        let mut modules = HashSet::new();
        for module in all() {
            assert!(modules.insert(module.name), "{}", module.name);
            let (mut functions, mut params) = (HashSet::new(), HashSet::new());
            for f in module.functions {
                for count in f.sig.required..=f.sig.params.len() {
                    let is_new = functions.insert((f.sig.name, count));
                    assert!(is_new, "{} {}", module.name, f.sig.name);
                }
                assert!(f.sig.required <= f.sig.params.len() && !f.sig.doc.is_empty());
            }
            for p in module.params {
                assert!(params.insert(p.sig.name), "{} {}", module.name, p.sig.name);
            }
        }
        let variables = || all().iter().flat_map(|m| m.variables);
        let names: HashSet<&str> = variables().map(|v| v.sig.name).collect();
        assert_eq!(names.len(), variables().count());
        let globals: HashSet<&str> = core::GLOBALS.iter().map(|g| g.sig.name).collect();
        assert_eq!(globals.len(), core::GLOBALS.len());
        assert_eq!(all()[0].name, "core");
    }

    #[test]
    fn a_variable_can_be_assigned_when_its_signature_says_so() {
        for v in all().iter().flat_map(|m| m.variables) {
            assert_eq!(v.sig.writable, v.set.is_some(), "{}", v.sig.name);
        }
    }

    #[test]
    fn defaults_are_values_that_would_be_accepted() {
        for p in all()
            .iter()
            .flat_map(|m| m.params)
            .filter(|p| !p.sig.planned)
        {
            let setting = match p.sig.kind {
                crate::script::ParamType::Str | crate::script::ParamType::Any
                    if p.sig.default.is_empty() =>
                {
                    continue;
                }
                crate::script::ParamType::Str | crate::script::ParamType::Format => {
                    Setting::Text(p.sig.default.as_bytes().into())
                }
                _ => Setting::Int(p.sig.default.parse().expect(p.sig.name)),
            };
            let mut config = Config::default();
            assert_eq!((p.set)(&mut config, &setting), Ok(()), "{}", p.sig.name);
            config.is_idle = false;
            // Setting the default changes nothing.
            let same = format!("{config:?}") == format!("{:?}", Config::default());
            assert!(same, "{}", p.sig.name);
        }
    }
}
