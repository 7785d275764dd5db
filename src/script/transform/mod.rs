//! Transformations of variables: `$(ru{uri.host}{s.toupper})`.
//!
//! One table names them all, with their parameters, which are checked at load. NULL stays NULL,
//! except where a transformation is about NULL. A result that is a part of its input is a handle
//! to that part; only what is really new is written to the heap.

mod digest;
mod encode;
mod list;
mod substitution;
mod text;
mod time;
mod uri;
mod value;

pub use digest::spread;
pub use substitution::Substitution;

use super::calendar::Zone;
use super::host::Host;
use super::value::{Heap, Text, Value};
use super::variable::Variable;

/// What a transformation takes in one place of its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ParamKind {
    /// Text, or one variable.
    Text,
    /// A number, or one variable.
    Int,
    /// `/expression/replacement/flags`.
    Subst,
}

/// One transformation of the language.
pub(super) struct TransformSig {
    /// Class and name.
    pub(super) name: &'static str,
    /// What each parameter is.
    pub(super) params: &'static [ParamKind],
    /// How many of them must be given.
    pub(super) required: usize,
    /// The parameters in words.
    pub(super) doc: &'static str,
    /// The module that has it, unless every configuration has it.
    pub(super) module: Option<&'static str>,
    apply: Apply,
}

impl std::fmt::Debug for TransformSig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A parameter as far as it could be resolved at load.
#[derive(Debug)]
pub(super) enum TransformParam {
    Text(Text),
    Int(i64),
    Variable(Variable),
    Subst(Box<Substitution>),
}

/// The parameters of one application, evaluated.
pub(super) struct Params<'a> {
    values: [Value; PARAM_COUNT_MAX],
    substitution: Option<&'a Substitution>,
    zone: &'a Zone,
}

/// No transformation takes more.
const PARAM_COUNT_MAX: usize = 3;

impl Params<'_> {
    /// A parameter as a number; `otherwise` when it was not given.
    fn int(&self, n: usize, heap: &Heap, otherwise: i64) -> i64 {
        match self.values[n] {
            Value::Null => otherwise,
            value => heap.as_int(value),
        }
    }

    /// A parameter as text; empty when it was not given.
    fn text(&self, n: usize, heap: &mut Heap) -> Text {
        heap.as_text(self.values[n])
    }

    /// The first byte of a parameter; `otherwise` when it was not given.
    fn byte(&self, n: usize, heap: &Heap, otherwise: u8) -> u8 {
        let text = heap.str(self.values[n]).unwrap_or_default();
        // `\s` and `\t` are how blanks are written there.
        match text {
            [] => otherwise,
            [b'\\', b's', ..] => b' ',
            [b'\\', b't', ..] => b'\t',
            [b'\\', b'n', ..] => b'\n',
            [first, ..] => *first,
        }
    }
}

/// One transformation in the program.
#[derive(Debug)]
pub(super) struct Transform {
    sig: &'static TransformSig,
    params: Box<[TransformParam]>,
}

impl Transform {
    /// A use of a transformation; the parameters were checked.
    pub(super) fn new(sig: &'static TransformSig, params: Box<[TransformParam]>) -> Transform {
        Transform { sig, params }
    }

    /// The transformed value.
    pub(super) fn apply<H: Host + ?Sized>(
        &self,
        value: Value,
        host: &mut H,
        heap: &mut Heap,
    ) -> Value {
        let apply = match self.sig.apply {
            Apply::Value(apply) => return apply(heap, value),
            Apply::Text(_) if value.is_null() => return Value::Null,
            Apply::Text(apply) => apply,
        };
        let mut params = Params {
            values: [Value::Null; PARAM_COUNT_MAX],
            substitution: None,
            zone: const { &Zone::UTC },
        };
        for (slot, param) in params.values.iter_mut().zip(&self.params) {
            match param {
                TransformParam::Text(text) => *slot = Value::Str(*text),
                TransformParam::Int(n) => *slot = Value::Int(*n),
                TransformParam::Variable(variable) => *slot = variable.read(host, heap),
                TransformParam::Subst(substitution) => params.substitution = Some(substitution),
            }
        }
        params.zone = host.zone();
        let input = heap.as_text(value);
        apply(heap, input, &params)
    }
}

/// The transformation of this name.
pub(super) fn find(name: &str) -> Option<&'static TransformSig> {
    tables().find(|sig| sig.name == name)
}

/// Every transformation, and what parameters it takes.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    tables().map(|sig| (sig.name, sig.doc))
}

/// The names of all transformations.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    tables().map(|sig| sig.name)
}

fn tables() -> impl Iterator<Item = &'static TransformSig> {
    [
        text::TABLE,
        digest::TABLE,
        encode::TABLE,
        time::TABLE,
        uri::TABLE,
        list::TABLE,
        value::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The code of a transformation.
#[derive(Clone, Copy)]
enum Apply {
    /// Of text; NULL stays NULL.
    Text(OfText),
    /// Of any value, NULL included.
    Value(fn(&mut Heap, Value) -> Value),
}

type OfText = fn(&mut Heap, Text, &Params<'_>) -> Value;

/// A transformation without parameters.
const fn plain(name: &'static str, apply: OfText) -> TransformSig {
    with(name, &[], 0, "no parameters", apply)
}

const fn with(
    name: &'static str,
    params: &'static [ParamKind],
    required: usize,
    doc: &'static str,
    apply: OfText,
) -> TransformSig {
    TransformSig {
        name,
        params,
        required,
        doc,
        module: None,
        apply: Apply::Text(apply),
    }
}

/// A transformation of any value, without parameters.
const fn any(name: &'static str, apply: fn(&mut Heap, Value) -> Value) -> TransformSig {
    let mut sig = plain(name, |_, input, _| Value::Str(input));
    sig.apply = Apply::Value(apply);
    sig
}

/// The transformation as one of this module.
const fn of_module(mut sig: TransformSig, module: &'static str) -> TransformSig {
    sig.module = Some(module);
    sig
}

/// The part of `input` that `part` is; `part` must have been cut from its bytes.
fn part_of(heap: &Heap, input: Text, find: impl FnOnce(&[u8]) -> Option<&[u8]>) -> Value {
    let bytes = heap.bytes(input);
    let Some(part) = find(bytes) else {
        return Value::Str(Text::EMPTY);
    };
    // The distance of two pointers into one slice, without looking at either.
    let from = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    if from > bytes.len() || part.is_empty() {
        return Value::Str(Text::EMPTY);
    }
    Value::Str(input.part(from, from + part.len()))
}
