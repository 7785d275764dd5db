//! Values of the language, and the memory of one run.
//!
//! A [`Value`] is 16 bytes and `Copy`: strings are handles ([`Text`]) into the constants of the
//! program or into the [`Heap`] of the run. A substring is a new handle and no copy. A handle is
//! good until the run ends; nobody keeps one longer. The heap is re-used from run to run, so in
//! steady state a statement allocates nothing.

use std::sync::Arc;

use super::uris::{Shape, Uris};
use crate::limits;
use crate::sip::Uri;

/// Names the bytes of one string. Equal handles are equal strings; the reverse holds only for
/// constants, which are interned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text {
    start: u32,
    len: u32,
}

/// Set in `start` when the bytes are a constant of the program.
const CONSTANT: u32 = 1 << 31;

impl Text {
    /// The empty string.
    pub const EMPTY: Text = Text {
        start: CONSTANT,
        len: 0,
    };

    pub(super) fn constant(start: usize, len: usize) -> Text {
        Text {
            start: start as u32 | CONSTANT,
            len: len as u32,
        }
    }

    /// How many bytes it has.
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Where it stands among the constants of its program; `None` when it is none of them.
    pub fn constant_place(self) -> Option<usize> {
        (self.start & CONSTANT != 0).then_some((self.start & !CONSTANT) as usize)
    }

    pub(super) fn of_constants(self, constants: &[u8]) -> &[u8] {
        let start = (self.start & !CONSTANT) as usize;
        let is_constant = self.start & CONSTANT != 0;
        let bytes = constants.get(start..start + self.len());
        bytes.filter(|_| is_constant).unwrap_or(&[])
    }

    /// The part `from..to` of this string, as far as it has one.
    pub fn part(self, from: usize, to: usize) -> Text {
        let to = to.min(self.len());
        let from = from.min(to);
        Text {
            start: self.start + from as u32,
            len: (to - from) as u32,
        }
    }
}

/// What an expression gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// Undefined: `$null`.
    Null,
    /// An integer.
    Int(i64),
    /// A string of bytes.
    Str(Text),
}

impl Value {
    /// Whether the value is undefined.
    pub const fn is_null(self) -> bool {
        matches!(self, Value::Null)
    }
}

/// The strings that one run of a script made, its scratch space and its return code.
#[derive(Debug, Default)]
pub struct Heap {
    constants: Arc<[u8]>,
    bytes: Vec<u8>,
    /// Format strings under construction, one behind the other.
    pub(super) scratch: Vec<u8>,
    /// A string under construction from others.
    built: Vec<u8>,
    /// Operands of expressions.
    pub(super) stack: Vec<Value>,
    /// What `$rc` reads.
    pub(super) rc: i64,
    /// Set when an operator had no result (division by zero); the statement is then skipped.
    pub(super) failed: bool,
    /// Where the computed arguments of the call begin on the stack.
    pub(super) args_base: usize,
    exhausted: bool,
    /// Outlives the run: what a text means does not change.
    uris: Uris,
}

impl Heap {
    /// Forgets all strings of the run before and takes the constants of `program`'s.
    pub(super) fn reset(&mut self, constants: &Arc<[u8]>) {
        if !Arc::ptr_eq(&self.constants, constants) {
            self.constants = Arc::clone(constants);
        }
        self.bytes.clear();
        self.scratch.clear();
        self.stack.clear();
        self.rc = 0;
        self.failed = false;
        self.exhausted = false;
    }

    /// A new string; empty when the run has used up [`limits::SCRIPT_HEAP_SIZE_MAX`], which the
    /// script's log then says.
    pub fn text(&mut self, bytes: &[u8]) -> Text {
        if !self.has_room(bytes.len()) {
            return Text::EMPTY;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Text {
            start: start as u32,
            len: bytes.len() as u32,
        }
    }

    /// A new string as a value; NULL when there is no room for it.
    pub fn string(&mut self, bytes: &[u8]) -> Value {
        if !self.has_room(bytes.len()) {
            return Value::Null;
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Value::Str(Text {
            start,
            len: bytes.len() as u32,
        })
    }

    /// The bytes of a string.
    #[inline]
    pub fn bytes(&self, text: Text) -> &[u8] {
        let from = if text.start & CONSTANT == 0 {
            &self.bytes[..]
        } else {
            &self.constants
        };
        let start = (text.start & !CONSTANT) as usize;
        from.get(start..start + text.len()).unwrap_or(&[])
    }

    /// Two strings, one behind the other.
    pub fn concat(&mut self, a: Text, b: Text) -> Value {
        if !self.has_room(a.len() + b.len()) {
            return Value::Null;
        }
        let end = self.bytes.len();
        // What was made last can grow where it stands: its own handle does not see it.
        let is_last = a.start & CONSTANT == 0 && a.start as usize + a.len() == end;
        let start = if is_last { a.start as usize } else { end };
        if !is_last {
            self.push(a);
        }
        self.push(b);
        Value::Str(Text {
            start: start as u32,
            len: a.len + b.len,
        })
    }

    /// Copies a string behind all others.
    fn push(&mut self, text: Text) {
        let start = (text.start & !CONSTANT) as usize;
        if text.start & CONSTANT == 0 {
            self.bytes.extend_from_within(start..start + text.len());
        } else if let Some(bytes) = self.constants.get(start..start + text.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The text as a URI, if it is one.
    pub fn uri<'a>(&mut self, text: &'a [u8]) -> Option<Uri<'a>> {
        Some(self.uris.shape(text)?.uri(text))
    }

    /// Where the parts of a URI stand in this text, if it is one.
    pub fn shape_of(&mut self, text: &[u8]) -> Option<Shape> {
        self.uris.shape(text)
    }

    /// Where the parts of a URI stand in a string, if it is one.
    pub fn shape(&mut self, text: Text) -> Option<Shape> {
        let from = match text.start & CONSTANT {
            0 => &self.bytes[..],
            _ => &self.constants,
        };
        let start = (text.start & !CONSTANT) as usize;
        self.uris.shape(from.get(start..start + text.len())?)
    }

    /// The string that `write` makes.
    pub fn build(&mut self, write: impl FnOnce(&Heap, &mut Vec<u8>)) -> Value {
        let mut out = std::mem::take(&mut self.built);
        out.clear();
        write(self, &mut out);
        let value = self.string(&out);
        self.built = out;
        value
    }

    /// The constants of the program that runs: what the handles of constants speak of.
    pub fn constants(&self) -> &Arc<[u8]> {
        &self.constants
    }

    /// The value as a string: decimal digits, NULL is empty.
    #[inline]
    pub fn as_text(&mut self, value: Value) -> Text {
        match value {
            Value::Null => Text::EMPTY,
            Value::Str(text) => text,
            Value::Int(n) => self.decimal(n),
        }
    }

    /// The value as an integer: NULL is 0. `None`: a string that is no number.
    pub fn number(&self, value: Value) -> Option<i64> {
        match value {
            Value::Null => Some(0),
            Value::Int(n) => Some(n),
            Value::Str(text) => parse_int(self.bytes(text)),
        }
    }

    /// The value as an integer: NULL, and strings that are no number, are 0.
    #[inline]
    pub fn as_int(&self, value: Value) -> i64 {
        match value {
            Value::Int(n) => n,
            Value::Null => 0,
            Value::Str(text) => parse_int(self.bytes(text)).unwrap_or(0),
        }
    }

    /// Whether the value holds in `if`: only what is more than 0.
    pub fn is_true(&self, value: Value) -> bool {
        self.as_int(value) > 0
    }

    /// The bytes of a value that is a string; NULL and integers have none.
    pub fn str(&self, value: Value) -> Option<&[u8]> {
        match value {
            Value::Str(text) => Some(self.bytes(text)),
            Value::Null | Value::Int(_) => None,
        }
    }

    /// What `$rc` reads now.
    pub fn rc(&self) -> i64 {
        self.rc
    }

    /// A computed argument of the call that runs.
    pub(super) fn argument(&self, n: u16) -> Value {
        let at = self.args_base + usize::from(n);
        self.stack.get(at).copied().unwrap_or(Value::Null)
    }

    /// Whether a string did not fit.
    #[inline]
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Whether a string did not fit since the question was last asked.
    pub(super) fn take_exhausted(&mut self) -> bool {
        std::mem::take(&mut self.exhausted)
    }

    fn has_room(&mut self, len: usize) -> bool {
        let fits = self.bytes.len() + len <= limits::SCRIPT_HEAP_SIZE_MAX;
        self.exhausted |= !fits;
        fits
    }

    #[inline(never)]
    fn decimal(&mut self, n: i64) -> Text {
        self.text(Digits::of(n).as_bytes())
    }
}

/// The decimal form of an integer, on the stack.
pub(super) struct Digits {
    /// Right-aligned. An `i64` has at most 20 characters.
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    /// The digits of `n`.
    pub(super) fn of(n: i64) -> Digits {
        let (mut bytes, mut start) = ([0; 20], 20);
        let mut rest = n.unsigned_abs();
        loop {
            start -= 1;
            bytes[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if n < 0 {
            start -= 1;
            bytes[start] = b'-';
        }
        Digits { bytes, start }
    }

    /// The characters.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// An optional sign and decimal digits, or `0x` and hexadecimal ones; nothing else around them.
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    // Most strings that are asked are words, and most numbers are short.
    let digits = match bytes {
        [b'+' | b'-', digits @ ..] | digits => digits,
    };
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    if digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) {
        let number = digits
            .iter()
            .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        return Some(if bytes[0] == b'-' { -number } else { number });
    }
    let text = std::str::from_utf8(bytes).ok()?;
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with(['+', '-']) => i64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_become_integers() {
        for (text, expected) in [
            ("", None),
            ("5", Some(5)),
            ("-7", Some(-7)),
            ("+7", Some(7)),
            ("0x1F", Some(31)),
            ("0x-1", None),
            ("010", Some(10)),
            ("12abc", None),
            (" 1", None),
            ("-", None),
            ("+-1", None),
            ("-0x1", None),
            ("-999999999999999999", Some(-999_999_999_999_999_999)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
        ] {
            assert_eq!(parse_int(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_full_heap_gives_null_and_says_so() {
        let mut heap = Heap::default();
        let half = vec![b'x'; limits::SCRIPT_HEAP_SIZE_MAX / 2 + 1];
        let Value::Str(first) = heap.string(&half) else {
            panic!("the first half fits");
        };
        assert_eq!(heap.concat(first, first), Value::Null);
        assert!(heap.take_exhausted());
        assert_eq!(heap.string(b"small"), heap.string(b"small").min_null(&heap));
    }

    impl Value {
        /// The value itself when it reads "small": the heap still takes what fits.
        fn min_null(self, heap: &Heap) -> Value {
            assert_eq!(heap.str(self), Some(&b"small"[..]));
            Value::Str(Text {
                start: (limits::SCRIPT_HEAP_SIZE_MAX / 2 + 1) as u32,
                len: 5,
            })
        }
    }

    #[test]
    fn integers_become_strings() {
        for n in [0, 7, -7, 10, 1_234_567_890, i64::MAX, i64::MIN] {
            assert_eq!(Digits::of(n).as_bytes(), n.to_string().as_bytes());
        }
    }

    #[test]
    fn a_string_that_grew_leaves_its_beginning_as_it_was() {
        let mut heap = Heap::default();
        let (a, b) = (heap.text(b"a"), heap.text(b"b"));
        let Value::Str(bb) = heap.concat(b, b) else {
            panic!("there is room");
        };
        let Value::Str(ab) = heap.concat(a, bb) else {
            panic!("there is room");
        };
        let texts = [(a, "a"), (b, "b"), (bb, "bb"), (ab, "abb")];
        for (text, expected) in texts {
            assert_eq!(heap.bytes(text), expected.as_bytes());
        }
    }

    #[test]
    fn parts_are_cut_to_the_string() {
        let mut heap = Heap::default();
        let text = heap.text(b"abcdef");
        for (from, to, expected) in [(1, 3, "bc"), (4, 99, "ef"), (9, 12, ""), (3, 2, "")] {
            assert_eq!(heap.bytes(text.part(from, to)), expected.as_bytes());
        }
    }
}
