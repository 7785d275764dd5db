//! `s.ftime`: seconds since 1970 as a date, in local time.

use super::{ParamKind, TransformSig, with};
use crate::script::calendar::Moment;
use crate::script::value::{Text, Value, parse_int};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[with(
    "s.ftime",
    &[ParamKind::Text],
    1,
    "a format",
    |heap, input, params| {
        let format = params.text(0, heap);
        let Some(seconds) = parse_int(heap.bytes(input)) else {
            return Value::Str(Text::EMPTY);
        };
        let moment = Moment::of(seconds, params.zone);
        heap.build(|heap, out| moment.format(heap.bytes(format), out))
    },
)];
