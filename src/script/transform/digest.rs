//! `s.md5` and the SHA family, as lower-case hexadecimal digits; and `s.corehash`, a number that
//! spreads.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{ParamKind, TransformSig, plain, with};
use crate::script::value::{Heap, Text, Value};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    plain("s.md5", |heap, input, _| digest::<Md5>(heap, input)),
    plain("s.sha1", |heap, input, _| digest::<Sha1>(heap, input)),
    plain("s.sha256", |heap, input, _| digest::<Sha256>(heap, input)),
    plain("s.sha384", |heap, input, _| digest::<Sha384>(heap, input)),
    plain("s.sha512", |heap, input, _| digest::<Sha512>(heap, input)),
    with(
        "s.corehash",
        &[ParamKind::Int],
        0,
        "the number of places, a power of 2",
        |heap, input, params| {
            let hash = i64::from(spread(&[heap.bytes(input)]));
            let place = match params.int(0, heap, 0) {
                0 => hash,
                size => hash & (size - 1),
            };
            Value::Str(heap.as_text(Value::Int(place)))
        },
    ),
];

fn digest<D: Digest>(heap: &mut Heap, input: Text) -> Value {
    heap.build(|heap, out| super::encode::hex(&D::digest(heap.bytes(input)), out))
}

/// The number that the original makes of texts: calls must be spread alike by either server.
/// Each text is taken four signed bytes at a time, the rest as one more group.
pub fn spread(texts: &[&[u8]]) -> u32 {
    let mut sum = 0u32;
    for text in texts {
        let groups = text.chunks_exact(4);
        let rest = groups.remainder();
        for group in groups.chain([rest]) {
            let word = group.iter().fold(0u32, |w, b| {
                let byte = i32::from(*b as i8) as u32;
                (w << 8).wrapping_add(byte)
            });
            sum = sum.wrapping_add(word ^ (word >> 3));
        }
    }
    let folded = [11, 13, 23].map(|by| sum >> by);
    folded.into_iter().fold(sum, u32::wrapping_add)
}
