//! `val.*`: what NULL becomes, and text as it stands in JSON (RFC 8259 §7).

use std::io::Write;

use super::{TransformSig, any};
use crate::script::value::{Text, Value};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    any("val.n0", |_, value| match value {
        Value::Null => Value::Int(0),
        value => value,
    }),
    any("val.ne", |_, value| match value {
        Value::Null => Value::Str(Text::EMPTY),
        value => value,
    }),
    any("val.json", |heap, value| {
        let text = heap.as_text(value);
        heap.build(|heap, out| escape(heap.bytes(text), out))
    }),
    any("val.jsonqe", |heap, value| match value {
        Value::Null => heap.string(b"null"),
        Value::Int(_) => Value::Str(heap.as_text(value)),
        Value::Str(text) => heap.build(|heap, out| {
            out.push(b'"');
            escape(heap.bytes(text), out);
            out.push(b'"');
        }),
    }),
];

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &b in text {
        match b {
            b'"' | b'\\' => out.extend([b'\\', b]),
            b'\n' => out.extend(*b"\\n"),
            b'\r' => out.extend(*b"\\r"),
            b'\t' => out.extend(*b"\\t"),
            0..0x20 => {
                // Writing into memory does not fail.
                let _ = write!(out, "\\u{b:04x}");
            }
            _ => out.push(b),
        }
    }
}
