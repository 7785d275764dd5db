//! `s.ftime`: seconds since 1970 as a date, in local time.

use super::{ParamKind, TransformSig, with};
use crate::script::calendar::Moment;
use crate::script::value::Value;

use super::text::decimal;

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[with(
    "s.ftime",
    &[ParamKind::Text],
    1,
    "a format",
    |heap, input, params| {
        let format = params.text(0, heap);
        let Some(seconds) = decimal(heap.bytes(input)) else {
            return Value::Null;
        };
        let moment = Moment::of(seconds, params.zone);
        heap.build(|heap, out| moment.format(heap.bytes(format), out))
    },
)];
