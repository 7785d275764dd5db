//! Transformations of variables: `$(ru{uri.host}{s.toupper})`.
//!
//! One table names them all, with their parameters, which are checked at load. NULL stays NULL,
//! except where a transformation is about NULL; what cannot be transformed becomes NULL: text that
//! is no number, no URI, not encoded so, and a parameter from a variable that has no value. A
//! result that is a part of its input is a handle to that part; only what is really new is written
//! to the heap.

mod digest;
mod encode;
mod list;
mod substitution;
mod text;
mod time;
mod uri;
mod value;

pub use digest::spread;
pub(super) use substitution::Piece;
pub use substitution::{Inserts, Substitution};

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
    substitution: Option<(&'a Substitution, Inserts)>,
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
    fn byte(&self, n: usize, heap: &mut Heap, otherwise: u8) -> u8 {
        let text = self.text(n, heap);
        unescaped(heap.bytes(text)).map_or(otherwise, |(byte, _)| byte)
    }
}

/// The character that a text begins with, and what follows; `\s`, `\t`, `\r` and `\n` are one.
fn unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    Some(match text {
        [] => return None,
        [b'\\', b's', rest @ ..] => (b' ', rest),
        [b'\\', b't', rest @ ..] => (b'\t', rest),
        [b'\\', b'r', rest @ ..] => (b'\r', rest),
        [b'\\', b'n', rest @ ..] => (b'\n', rest),
        [first, rest @ ..] => (*first, rest),
    })
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
        let (apply, kept_below) = match self.sig.apply {
            Apply::Value(apply) => return apply(heap, value),
            _ if value.is_null() => return Value::Null,
            Apply::Text(apply) => (apply, 0),
            Apply::Kept(apply, size) => (apply, size),
        };
        let mut params = Params {
            values: [Value::Null; PARAM_COUNT_MAX],
            substitution: None,
            zone: const { &Zone::UTC },
        };
        for (n, param) in self.params.iter().enumerate() {
            params.values[n] = match param {
                TransformParam::Text(text) => Value::Str(*text),
                TransformParam::Int(n) => Value::Int(*n),
                TransformParam::Variable(variable) => {
                    let value = variable.read(host, heap);
                    if !fits(self.sig.params[n], value) {
                        return Value::Null;
                    }
                    value
                }
                TransformParam::Subst(substitution) => {
                    let inserts = substitution.inserts(host, heap);
                    params.substitution = Some((substitution, inserts));
                    Value::Null
                }
            };
        }
        params.zone = host.zone();
        let input = heap.as_text(value);
        match apply(heap, input, &params) {
            Value::Str(same) if same == input && input.len() < kept_below => value,
            result => result,
        }
    }
}

/// Whether a parameter can be what a variable holds: empty text counts as none.
fn fits(kind: ParamKind, value: Value) -> bool {
    match (kind, value) {
        (_, Value::Null) | (ParamKind::Int | ParamKind::Subst, Value::Str(_)) => false,
        (ParamKind::Text, Value::Str(text)) => !text.is_empty(),
        (_, Value::Int(_)) => true,
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
    /// The same; a number that the code leaves alone stays one, as long as it has fewer digits.
    Kept(OfText, usize),
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

/// The transformation as one that keeps numbers of fewer digits that it does not change.
const fn keeping(mut sig: TransformSig, size: usize) -> TransformSig {
    if let Apply::Text(apply) = sig.apply {
        sig.apply = Apply::Kept(apply, size);
    }
    sig
}

/// The transformation as one of this module.
const fn of_module(mut sig: TransformSig, module: &'static str) -> TransformSig {
    sig.module = Some(module);
    sig
}

/// The same as [`part_of`], NULL where there is none.
fn part_or_null(heap: &Heap, input: Text, find: impl FnOnce(&[u8]) -> Option<&[u8]>) -> Value {
    let mut is_found = false;
    let part = part_of(heap, input, |bytes| {
        let found = find(bytes);
        is_found = found.is_some();
        found
    });
    if is_found { part } else { Value::Null }
}

/// The text that `write` makes; NULL when it gives up.
fn built(heap: &mut Heap, write: impl FnOnce(&Heap, &mut Vec<u8>) -> Option<()>) -> Value {
    let mut is_made = None;
    let value = heap.build(|heap, out| is_made = write(heap, out));
    is_made.map_or(Value::Null, |()| value)
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
