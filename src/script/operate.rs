//! Operators and their coercions.
//!
//! Values have their types only at run time, so each operator says what it makes of each: `+` is
//! decided by its left side, `==` likewise unless that is NULL, the rest converts to integers.
//! Integers wrap around at 64 bits.

use super::value::{Heap, Value};

/// An operator between two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    IntEqual,
    IntNotEqual,
    TextEqual,
    TextNotEqual,
    /// Equality of text in any case, as `method` and `uri` compare.
    SameText,
    NotSameText,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// An operator on one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub(super) enum Unary {
    Not,
    Negate,
    Invert,
    /// Whether it is not NULL.
    Defined,
    /// Whether it is NULL.
    Undefined,
    Length,
    /// Whether it is NULL or has no characters.
    Empty,
    Int,
    Text,
    /// 1 when non-zero, else 0.
    Bool,
}

/// Why an operator has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DivisionByZero;

/// The result of `a operator b`.
pub(super) fn binary(
    operator: Binary,
    a: Value,
    b: Value,
    heap: &mut Heap,
) -> Result<Value, DivisionByZero> {
    use Binary::*;
    let number = match operator {
        Add => match a {
            Value::Int(x) => x.wrapping_add(heap.as_int(b)),
            Value::Str(_) | Value::Null => {
                let (a, b) = (heap.as_text(a), heap.as_text(b));
                return Ok(heap.concat(a, b));
            }
        },
        Equal => equal(a, b, heap).into(),
        NotEqual => (!equal(a, b, heap)).into(),
        TextEqual => text_equal(a, b, heap).into(),
        TextNotEqual => (!text_equal(a, b, heap)).into(),
        SameText => same_text(a, b, heap).into(),
        NotSameText => (!same_text(a, b, heap)).into(),
        _ => return of_integers(operator, heap.as_int(a), heap.as_int(b)).map(Value::Int),
    };
    Ok(Value::Int(number))
}

/// The result of an operator that makes both sides integers.
fn of_integers(operator: Binary, x: i64, y: i64) -> Result<i64, DivisionByZero> {
    use Binary::*;
    Ok(match operator {
        Add => x.wrapping_add(y),
        Sub => x.wrapping_sub(y),
        Mul => x.wrapping_mul(y),
        Div | Mod if y == 0 => return Err(DivisionByZero),
        Div => x.wrapping_div(y),
        Mod => x.wrapping_rem(y),
        BitAnd => x & y,
        BitOr => x | y,
        BitXor => x ^ y,
        // The distance counts modulo the width, as the processors do it.
        ShiftLeft => x.wrapping_shl(y as u32),
        ShiftRight => x.wrapping_shr(y as u32),
        Equal | IntEqual | TextEqual | SameText => (x == y).into(),
        NotEqual | IntNotEqual | TextNotEqual | NotSameText => (x != y).into(),
        Less => (x < y).into(),
        LessEqual => (x <= y).into(),
        Greater => (x > y).into(),
        GreaterEqual => (x >= y).into(),
    })
}

/// `==`: the left side decides the type; when it is NULL, the right one does.
fn equal(a: Value, b: Value, heap: &mut Heap) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Int(x), _) => x == heap.as_int(b),
        (Value::Null, Value::Int(y)) => y == 0,
        (Value::Str(_), _) | (Value::Null, Value::Str(_)) => text_equal(a, b, heap),
    }
}

fn text_equal(a: Value, b: Value, heap: &mut Heap) -> bool {
    let (a, b) = (heap.as_text(a), heap.as_text(b));
    heap.bytes(a) == heap.bytes(b)
}

fn same_text(a: Value, b: Value, heap: &mut Heap) -> bool {
    let (a, b) = (heap.as_text(a), heap.as_text(b));
    heap.bytes(a).eq_ignore_ascii_case(heap.bytes(b))
}

/// The result of an operator on one value.
pub(super) fn unary(operator: Unary, value: Value, heap: &mut Heap) -> Value {
    use Unary::*;
    let number = match operator {
        Not => (heap.as_int(value) == 0).into(),
        Negate => heap.as_int(value).wrapping_neg(),
        Invert => !heap.as_int(value),
        Defined => (!value.is_null()).into(),
        Undefined => value.is_null().into(),
        Length => heap.as_text(value).len() as i64,
        Empty => heap.as_text(value).is_empty().into(),
        Int => heap.as_int(value),
        Text => return Value::Str(heap.as_text(value)),
        Bool => (heap.as_int(value) != 0).into(),
    };
    Value::Int(number)
}
