//! The top level: modules, parameters, flags and the names of blocks, checked in the order of the
//! file, because a name counts only behind its `loadmodule`.

use super::ast::{CustomItem, Given, Item, ModParamItem, RouteItem};
use super::compile::Compiler;
use super::error::{ErrorKind, Hidden, Misuse, Position, nearest};
use super::preprocess::module_name;
use super::program::{Custom, Global, ModParam, RouteId, Setting};
use super::regex;
use super::resolve::{Refused, lossy};
use super::signature::{GlobalKind, ModuleId, ParamSig, ParamType, RouteKind, Vocabulary};
use crate::limits;

/// Names of blocks with their places, sorted; the place in the list is the [`RouteId`].
pub(super) fn route_names(items: &[Item]) -> Vec<(RouteKind, Box<str>, Position)> {
    let blocks = items.iter().filter_map(|item| match item {
        Item::Route(route) => Some((route.kind, route.name.as_str().into(), route.at)),
        _ => None,
    });
    let mut names: Vec<_> = blocks.collect();
    names.sort();
    names.dedup_by(|b, a| (a.0, &a.1) == (b.0, &b.1));
    names
}

/// Checks and compiles all top-level statements.
pub(super) fn items(compiler: &mut Compiler<'_>, items: Vec<Item>) {
    for item in items {
        match item {
            Item::Global(name, value, at) => global(compiler, name, value, at),
            Item::Custom(item) => custom(compiler, item),
            Item::Listen(listen) => compiler.program.listens.push(listen),
            Item::Alias(alias) => compiler.program.aliases.push(alias),
            Item::LoadModule(name, expands, at) => load_module(compiler, name, expands, at),
            Item::ModParam(item) => mod_param(compiler, &item),
            Item::Engine(name, at) => engine(compiler, name, at),
            Item::Flags(flags) => {
                for (name, number, at) in flags {
                    flag(compiler, name, number, at);
                }
            }
            Item::Route(item) => route(compiler, &item),
            Item::Loose(body) => compiler.loose(&body),
        }
    }
    log_prefix(compiler);
    param_formats(compiler);
}

/// Parameters that may hold variables. One that cannot be read is text; the module that would
/// have it expanded sees that there is no format.
fn param_formats(compiler: &mut Compiler<'_>) {
    let vocabulary = compiler.names.vocabulary;
    let params = &compiler.program.params;
    let set: Vec<_> = params
        .iter()
        .map(|p| (vocabulary.sig(p.module), p.name, p.value.clone(), p.at))
        .filter(|(module, name, ..)| {
            let mut all = module.params.iter();
            all.any(|p| p.name == *name && p.kind == ParamType::Format)
        })
        .collect();
    for (module, name, value, at) in set {
        let text = value.text().unwrap_or_default();
        let formats = &mut compiler.program.formats;
        formats.retain(|(m, n, _)| (*m, *n) != (module.name, name));
        let mark = compiler.names.diagnostics.mark();
        match compiler.names.format(text, at) {
            Ok(format) => compiler.program.formats.push((module.name, name, format)),
            Err(Refused) => compiler.names.diagnostics.forget(mark),
        }
    }
}

/// `log_prefix` stands before the modules whose variables it shows, so it is read last.
fn log_prefix(compiler: &mut Compiler<'_>) {
    let mut globals = compiler.program.globals.iter().rev();
    let Some(global) = globals.find(|g| g.name == "log_prefix") else {
        return;
    };
    let text = global.value.text().unwrap_or_default().to_vec();
    // A mistake in it has been noted.
    if let Ok(format) = compiler.names.format(&text, global.at) {
        compiler.program.log_prefix = Some(format);
    }
}

fn error(compiler: &mut Compiler<'_>, at: Position, kind: ErrorKind) {
    compiler.names.diagnostics.error(at, kind);
}

fn global(compiler: &mut Compiler<'_>, name: String, value: Given, at: Position) {
    let globals = compiler.names.vocabulary.globals;
    let Some(sig) = globals.iter().find(|g| g.name == name) else {
        let near = nearest(&name, globals.iter().map(|g| g.name));
        return error(compiler, at, ErrorKind::GlobalUnknown { name, near });
    };
    let value = match (sig.kind, value) {
        (GlobalKind::Int | GlobalKind::Any, Given::Int(n, _)) => Setting::Int(n),
        (GlobalKind::Str, Given::Int(_, Some(word)))
        | (GlobalKind::Str | GlobalKind::Any, Given::Word(word)) => {
            Setting::Text(word.into_bytes().into())
        }
        (GlobalKind::Str | GlobalKind::Any, Given::Text(text)) => Setting::Text(text.into()),
        (GlobalKind::Int, Given::Text(_) | Given::Word(_)) => {
            let wanted = "a number";
            return error(compiler, at, ErrorKind::GlobalType { name, wanted });
        }
        (GlobalKind::Str, Given::Int(_, None)) => {
            let wanted = "a string";
            return error(compiler, at, ErrorKind::GlobalType { name, wanted });
        }
    };
    match (sig.name, value.int()) {
        ("max_while_loops", Some(n)) => {
            compiler.program.loop_max = u32::try_from(n).unwrap_or(limits::SCRIPT_STEP_MAX);
        }
        ("max_recursive_level", Some(n)) => {
            let depth = usize::try_from(n).unwrap_or(limits::SCRIPT_DEPTH_MAX);
            compiler.program.depth_max = depth.clamp(1, limits::SCRIPT_DEPTH_MAX);
        }
        _ => {}
    }
    compiler.program.globals.push(Global {
        name: sig.name,
        value,
        at,
    });
}

/// Both words for routes in this language are known to existing files.
fn engine(compiler: &mut Compiler<'_>, name: String, at: Position) {
    if !["native", "default"].contains(&name.as_str()) {
        return error(compiler, at, ErrorKind::Misuse(Misuse::EngineUnknown(name)));
    }
    compiler.program.engine = Some(name.into());
}

fn custom(compiler: &mut Compiler<'_>, item: CustomItem) {
    let mut known = compiler.program.customs.iter();
    let is_it = |c: &Custom| c.instance == item.instance && *c.name == *item.name;
    if known.any(|c| *c.group == *item.group && is_it(c)) {
        let CustomItem {
            group, name, at, ..
        } = item;
        return error(
            compiler,
            at,
            ErrorKind::Misuse(Misuse::CustomTwice { group, name }),
        );
    }
    compiler.program.customs.push(Custom {
        group: item.group.into(),
        instance: item.instance,
        name: item.name.into(),
        value: item.value,
        description: item.description.map(Into::into),
        at: item.at,
    });
}

/// The text with its variables expanded; they must be known at load.
fn expanded(compiler: &mut Compiler<'_>, text: &[u8], at: Position) -> Result<Vec<u8>, Refused> {
    let format = compiler.names.format(text, at)?;
    match compiler.names.constant_of(&format) {
        Some(text) => Ok(text),
        None => compiler.names.refuse(
            at,
            ErrorKind::Expected {
                expected: "variables that are known at start ($env, $def, $_s)".to_string(),
                found: format!("\"{}\"", lossy(text)),
            },
        ),
    }
}

fn load_module(compiler: &mut Compiler<'_>, mut path: String, expands: bool, at: Position) {
    if expands {
        match expanded(compiler, path.as_bytes(), at) {
            Ok(text) => path = lossy(&text),
            Err(Refused) => return,
        }
    }
    let vocabulary = compiler.names.vocabulary;
    let name = module_name(&path);
    let Some(id) = vocabulary.module(name) else {
        let near = nearest(name, vocabulary.modules.iter().map(|m| m.name));
        let (name, meant) = (name.to_string(), near.clone());
        error(compiler, at, ErrorKind::ModuleUnknown { name, near });
        return compiler.names.assume_module(&path, meant.as_deref());
    };
    let is_assumed = compiler.names.assumed.contains(&id);
    if compiler.names.loaded.contains(&id) && !is_assumed {
        return error(compiler, at, ErrorKind::ModuleTwice(name.to_string()));
    }
    let sig = vocabulary.sig(id);
    for &needed in sig.needs {
        let is_loaded = |id| compiler.names.loaded.contains(&id);
        let is_hidden = compiler.names.diagnostics.may_hide(Hidden::Modules);
        if !vocabulary.module(needed).is_some_and(is_loaded) && !is_hidden {
            let name = sig.name;
            error(
                compiler,
                at,
                ErrorKind::Misuse(Misuse::ModuleNeeds { name, needed }),
            );
        }
    }
    if sig.planned {
        let (what, name) = ("module", name.to_string());
        compiler
            .names
            .diagnostics
            .warn(at, ErrorKind::Planned { what, name });
    }
    if !is_assumed {
        compiler.names.loaded.push(id);
    }
    compiler.names.assumed.retain(|assumed| *assumed != id);
    compiler.program.modules.push(id);
}

/// Every loaded module whose name matches must know the parameter; at least one must match.
fn mod_param(compiler: &mut Compiler<'_>, item: &ModParamItem) {
    let text = String::from_utf8_lossy(&item.modules).into_owned();
    let anchored = [b"^(", &item.modules[..], b")$"].concat();
    let regex = match regex::compile(&anchored, true) {
        Ok(regex) => regex,
        Err(reason) => return error(compiler, item.at, ErrorKind::Regex { text, reason }),
    };
    let vocabulary = compiler.names.vocabulary;
    let loaded = compiler.names.loaded.clone();
    let matching = loaded
        .into_iter()
        .filter(|id| *id != Vocabulary::CORE)
        .filter(|id| regex.is_match(vocabulary.sig(*id).name.as_bytes()));
    let mut found = false;
    for id in matching {
        found = true;
        module_param(compiler, id, item);
    }
    let names = &compiler.names;
    let is_refused = names
        .refused
        .iter()
        .any(|name| regex.is_match(name.as_bytes()));
    if !found && !is_refused && !names.diagnostics.may_hide(Hidden::Modules) {
        error(compiler, item.at, ErrorKind::ParamModule(text));
    }
}

/// The parameter of one module. After a mistake it counts as the one that was meant, so that what
/// it declares is not missed.
fn module_param(compiler: &mut Compiler<'_>, id: ModuleId, item: &ModParamItem) {
    let module = compiler.names.vocabulary.sig(id);
    let find = |name: &str| module.params.iter().find(|p| p.name == name);
    let exact = find(&item.name);
    let near = match exact {
        Some(_) => None,
        None => nearest(&item.name, module.params.iter().map(|p| p.name)),
    };
    let sig = exact.or_else(|| find(near.as_deref()?));
    if exact.is_none() {
        let (module, name) = (module.name, item.name.clone());
        error(
            compiler,
            item.at,
            ErrorKind::ParamUnknown { module, name, near },
        );
    }
    let Some(sig) = sig else { return };
    let Ok(given) = parameter_value(compiler, item) else {
        return compiler.names.diagnostics.hide(Hidden::param(sig.name));
    };
    let Some(value) = typed(sig, &given) else {
        if exact.is_some() {
            let (name, kind) = (item.name.clone(), sig.kind);
            error(compiler, item.value_at, ErrorKind::ParamType { name, kind });
        }
        return compiler.names.diagnostics.hide(Hidden::param(sig.name));
    };
    if sig.planned {
        let (what, name) = ("parameter", format!("{}.{}", module.name, sig.name));
        let kind = ErrorKind::Planned { what, name };
        compiler.names.diagnostics.warn(item.at, kind);
    }
    if let Setting::Text(text) = &value {
        let name = text.split(|b| *b == b'=').next().unwrap_or_default();
        let name = name.trim_ascii().to_vec();
        compiler.names.declared.insert((id, sig.name, name));
    }
    // A wrong value of what was only guessed is not one more mistake.
    let at = match exact {
        Some(_) => item.value_at,
        None => item.at,
    };
    compiler.program.params.push(ModParam {
        module: id,
        name: sig.name,
        value,
        at,
    });
}

fn parameter_value(compiler: &mut Compiler<'_>, item: &ModParamItem) -> Result<Given, Refused> {
    match &item.value {
        Given::Text(text) if item.expands => {
            expanded(compiler, text, item.value_at).map(Given::Text)
        }
        given => Ok(given.clone()),
    }
}

/// The value, if it has the type of the parameter; nothing is converted.
fn typed(sig: &ParamSig, value: &Given) -> Option<Setting> {
    match (sig.kind, value) {
        (ParamType::Int | ParamType::IntOrStr | ParamType::Any, Given::Int(n, _)) => {
            Some(Setting::Int(*n))
        }
        (ParamType::Str | ParamType::Format | ParamType::Any, Given::Text(text)) => {
            Some(Setting::Text(text.as_slice().into()))
        }
        (ParamType::IntOrStr, Given::Text(text)) => super::value::parse_int(text).map(Setting::Int),
        (ParamType::Int, Given::Text(_)) | (ParamType::Str | ParamType::Format, Given::Int(..)) => {
            None
        }
        (_, Given::Word(_)) => None,
    }
}

/// A name for a flag, with a number or the lowest free one.
fn flag(compiler: &mut Compiler<'_>, name: String, number: Option<i64>, at: Position) {
    let flags = &compiler.program.flags;
    if flags.iter().any(|(known, _)| **known == *name) {
        return error(compiler, at, ErrorKind::FlagTwice(name));
    }
    let free = || (0..32).find(|n| flags.iter().all(|(_, taken)| taken != n));
    match number.map(u8::try_from) {
        Some(Ok(n @ 0..=31)) => compiler.program.flags.push((name.into(), n)),
        Some(_) => {
            error(compiler, at, ErrorKind::FlagRange(number.unwrap_or(0)));
            compiler.program.flags.push((name.into(), 0));
        }
        None => match free() {
            Some(n) => compiler.program.flags.push((name.into(), n)),
            None => error(compiler, at, ErrorKind::FlagRange(32)),
        },
    }
}

fn route(compiler: &mut Compiler<'_>, item: &RouteItem) {
    let id = compiler
        .route_id(item.kind, item.name.as_bytes())
        .expect("all names were collected before");
    // The unnamed blocks may be written in several parts; under its number one stands first.
    let appends = item.name == "0" && (!item.is_named || item.kind == RouteKind::Reply);
    if compiler.is_defined(id) && !appends {
        let (kind, name) = (item.kind, item.name.clone());
        error(compiler, item.at, ErrorKind::RouteTwice { kind, name });
    }
    compiler.route(id, item);
}

/// The block a name means, for `route(..)`: the mistake when there is none.
pub(super) fn missing_route(
    routes: &[(RouteKind, Box<str>, Position)],
    kind: RouteKind,
    name: String,
) -> ErrorKind {
    let names = routes.iter().filter(|r| r.0 == kind).map(|r| &*r.1);
    let near = nearest(&name, names);
    ErrorKind::RouteMissing { kind, name, near }
}

const _: () = assert!(std::mem::size_of::<RouteId>() == 4, "ids are small");
