//! `s.md5` and the SHA family, as lower-case hexadecimal digits.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{TransformSig, plain};
use crate::script::value::{Heap, Text, Value};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    plain("s.md5", |heap, input, _| digest::<Md5>(heap, input)),
    plain("s.sha1", |heap, input, _| digest::<Sha1>(heap, input)),
    plain("s.sha256", |heap, input, _| digest::<Sha256>(heap, input)),
    plain("s.sha384", |heap, input, _| digest::<Sha384>(heap, input)),
    plain("s.sha512", |heap, input, _| digest::<Sha512>(heap, input)),
];

fn digest<D: Digest>(heap: &mut Heap, input: Text) -> Value {
    heap.build(|heap, out| super::encode::hex(&D::digest(heap.bytes(input)), out))
}
