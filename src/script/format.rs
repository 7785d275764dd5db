//! Text with variables in it, such as the text of `xlog`.
//!
//! It is taken apart at load. To expand it is to append to the scratch space of the run; the
//! result is one string of the heap.

use super::host::Host;
use super::value::{Digits, Heap, Text, Value};
use super::variable::Variable;

/// What an undefined variable prints as.
const NULL: &[u8] = b"<null>";

/// Text with variables in it.
#[derive(Debug)]
pub struct Format {
    pub(super) pieces: Box<[Piece]>,
}

/// A stretch of a [`Format`].
#[derive(Debug)]
pub(super) enum Piece {
    /// As it is; `$$` has become `$`.
    Text(Text),
    /// To be read.
    Variable(Variable),
}

impl Format {
    /// The expanded text; NULL when the heap is full.
    pub fn text<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Value {
        let mark = heap.scratch.len();
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(text) => Value::Str(*text),
                Piece::Variable(variable) => match variable.read(host, heap) {
                    // What a transformation made of an undefined variable prints as nothing.
                    Value::Null if !variable.transforms.is_empty() => continue,
                    value => value,
                },
            };
            append(heap, value);
        }
        let scratch = std::mem::take(&mut heap.scratch);
        let value = heap.string(scratch.get(mark..).unwrap_or(&[]));
        heap.scratch = scratch;
        heap.scratch.truncate(mark);
        value
    }
}

fn append(heap: &mut Heap, value: Value) {
    let mut scratch = std::mem::take(&mut heap.scratch);
    // The bound of the heap holds for what is under construction too.
    let room = crate::limits::SCRIPT_HEAP_SIZE_MAX.saturating_sub(scratch.len());
    let digits;
    let bytes = match value {
        Value::Null => NULL,
        Value::Str(text) => heap.bytes(text),
        Value::Int(n) => {
            digits = Digits::of(n);
            digits.as_bytes()
        }
    };
    scratch.extend_from_slice(&bytes[..bytes.len().min(room)]);
    heap.scratch = scratch;
}
