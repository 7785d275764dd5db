//! Short forms for writing the modules' tables, and for reading arguments.

use std::fmt;
use std::io::Write;

use crate::effect::Level;
use crate::script::{
    Access, CallSite, FunctionSig, GlobalKind, GlobalSig, Heap, InnerKind, Outcome, ParamKind,
    ParamSig, ParamType, RouteKinds, Setting, Value, VariableSig,
};

use super::work::Bytes;
use super::{Call, Config, Function, Get, Global, Param, ParamError, Run, Set, Variable};

/// The return code of a test that holds and of a function that did its work.
pub(super) const YES: Outcome = Outcome::Return(1);
/// The return code of a test that does not hold and of a function that could not.
pub(super) const NO: Outcome = Outcome::Return(-1);

/// `YES` or `NO`.
pub(super) const fn truth(holds: bool) -> Outcome {
    if holds { YES } else { NO }
}

/// A function all of whose parameters must be given.
pub(super) const fn function(
    name: &'static str,
    params: &'static [ParamKind],
    routes: RouteKinds,
    (run, doc): (Run, &'static str),
) -> Function {
    let required = params.len();
    Function {
        sig: FunctionSig {
            name,
            params,
            required,
            routes,
            planned: false,
            doc,
        },
        run,
    }
}

/// The function with only the first `required` parameters obligatory.
pub(super) const fn optional(mut function: Function, required: usize) -> Function {
    function.sig.required = required;
    function
}

/// The same function under another name.
pub(super) const fn renamed(mut function: Function, name: &'static str) -> Function {
    function.sig.name = name;
    function
}

/// A function that is known and not done yet.
pub(super) const fn planned_function(
    name: &'static str,
    params: &'static [ParamKind],
    required: usize,
    (routes, doc): (RouteKinds, &'static str),
) -> Function {
    let sig = FunctionSig {
        name,
        params,
        required,
        routes,
        planned: true,
        doc,
    };
    Function { sig, run: not_done }
}

/// Nothing pretends: the call fails and says so.
fn not_done(call: &mut Call<'_>, _: &mut Heap, site: &CallSite) -> Outcome {
    let name = super::function(site.function).sig.name;
    let line = site.at.line;
    call.env.log(
        Level::Err,
        format!("{name}() in line {line} is known but not done yet"),
    );
    NO
}

/// A variable that is only read and takes no name.
pub(super) const fn variable(name: &'static str, get: Get, doc: &'static str) -> Variable {
    keyed(name, InnerKind::None, get, doc)
}

/// A variable that is only read and takes a name.
pub(super) const fn keyed(
    name: &'static str,
    inner: InnerKind,
    get: Get,
    doc: &'static str,
) -> Variable {
    let sig = VariableSig {
        name,
        inner,
        writable: false,
        planned: false,
        doc,
    };
    Variable {
        sig,
        get,
        set: None,
    }
}

/// The variable, to be assigned as well.
pub(super) const fn writable(mut variable: Variable, set: Set) -> Variable {
    variable.sig.writable = true;
    variable.set = Some(set);
    variable
}

/// The same variable under another name.
pub(super) const fn alias(mut variable: Variable, name: &'static str) -> Variable {
    variable.sig.name = name;
    variable
}

/// What stores a parameter.
pub(super) type Store = fn(&mut Config, &Setting) -> Result<(), ParamError>;

/// A parameter of a module.
pub(super) const fn param(
    name: &'static str,
    kind: ParamType,
    default: &'static str,
    (set, doc): (Store, &'static str),
) -> Param {
    Param {
        sig: ParamSig {
            name,
            kind,
            default,
            planned: false,
            doc,
        },
        set,
    }
}

/// A parameter that is known and has no effect yet.
pub(super) const fn planned_param(
    name: &'static str,
    kind: ParamType,
    default: &'static str,
    doc: &'static str,
) -> Param {
    Param {
        sig: ParamSig {
            name,
            kind,
            default,
            planned: true,
            doc,
        },
        set: |_, _| Ok(()),
    }
}

/// A global parameter.
pub(super) const fn global(
    name: &'static str,
    kind: GlobalKind,
    set: Store,
    doc: &'static str,
) -> Global {
    Global {
        sig: GlobalSig {
            name,
            kind,
            ignored: false,
            doc,
        },
        set,
    }
}

/// The global parameter, stored and read by nobody yet: it is listed as having no effect.
pub(super) const fn unread(mut global: Global) -> Global {
    global.sig.ignored = true;
    global
}

/// A global parameter without effect.
pub(super) const fn ignored(name: &'static str, doc: &'static str) -> Global {
    let sig = GlobalSig {
        name,
        kind: GlobalKind::Any,
        ignored: true,
        doc,
    };
    Global {
        sig,
        set: |_, _| Ok(()),
    }
}

/// Several tables in one.
pub(super) const fn join<T: Copy, const N: usize>(parts: &[&[T]]) -> [T; N] {
    let mut out = [parts[0][0]; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            out[at] = parts[part][i];
            (at, i) = (at + 1, i + 1);
        }
        part += 1;
    }
    assert!(at == N, "the length of the whole is the sum of the parts");
    out
}

/// The number of entries in several tables.
pub(super) const fn total<T>(parts: &[&[T]]) -> usize {
    let (mut sum, mut part) = (0, 0);
    while part < parts.len() {
        sum += parts[part].len();
        part += 1;
    }
    sum
}

/// The text of an argument, copied out of the heap; `None` when it is NULL or was not given.
pub(super) fn text_of(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    index: usize,
) -> Option<Bytes> {
    let value = site.text(index, call, heap);
    heap.str(value).map(Bytes::from)
}

/// The bytes as a value; none are NULL.
pub(super) fn some(heap: &mut Heap, bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| heap.string(bytes))
}

/// The bytes as a value; an empty string is NULL.
pub(super) fn filled(heap: &mut Heap, bytes: &[u8]) -> Value {
    some(heap, Some(bytes).filter(|b| !b.is_empty()))
}

/// Formatted text as a value, without an allocation of its own.
pub(super) fn formatted(heap: &mut Heap, text: fmt::Arguments<'_>) -> Value {
    heap.build(|_, out| {
        // Writing to a vector cannot fail.
        let _ = out.write_fmt(text);
    })
}

/// Which word of its signature stood in the parentheses of a variable.
pub(super) fn word(access: &Access<'_>) -> usize {
    match access.key {
        crate::script::Key::Word(at) => at,
        _ => usize::MAX,
    }
}

/// The setting as a switch.
pub(super) fn is_on(setting: &Setting) -> bool {
    setting.int().unwrap_or(0) != 0
}

/// The setting as a number from `low` to `high`.
pub(super) fn number(
    setting: &Setting,
    low: i64,
    high: i64,
    wanted: &'static str,
) -> Result<i64, ParamError> {
    setting
        .int()
        .filter(|n| (low..=high).contains(n))
        .ok_or(ParamError(wanted))
}

/// The setting as text; a number as its digits.
pub(super) fn words(setting: &Setting) -> Box<str> {
    match setting {
        Setting::Int(n) => n.to_string().into(),
        Setting::Text(text) => String::from_utf8_lossy(text).into(),
    }
}

/// The setting as the name of an AVP, written `$avp(name)`; empty: none.
pub(super) fn avp_name(setting: &Setting) -> Result<Box<str>, ParamError> {
    let written = words(setting);
    if written.is_empty() {
        return Ok(written);
    }
    let name = written
        .strip_prefix("$avp(")
        .and_then(|rest| rest.strip_suffix(')'));
    match name {
        Some(name) if !name.is_empty() && !name.contains(['$', '(', ')']) => Ok(name.into()),
        Some(_) | None => Err(ParamError("an AVP, as in $avp(name)")),
    }
}
