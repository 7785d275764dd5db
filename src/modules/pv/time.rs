//! Time as scripts see it: `$Ts`, `$time(..)`, `$timef(..)`. The calendar is
//! [`crate::script::calendar`]'s, the zone of local time `Config::zone`.

use crate::modules::entry::{alias, formatted, keyed, variable, word};
use crate::modules::{Call, Variable};
use crate::script::calendar::Moment;
use crate::script::{Access, Heap, InnerKind, Value};

const PARTS: [&str; 9] = [
    "sec", "min", "hour", "mday", "mon", "year", "wday", "yday", "isdst",
];
const EXACT: [&str; 5] = ["s", "u", "sn", "un", "Sn"];

const SECONDS: Variable = variable(
    "Ts",
    |c, _, _| Value::Int(seconds(c)),
    "Seconds since 1970.",
);

pub(super) const VARIABLES: [Variable; 11] = [
    SECONDS,
    alias(SECONDS, "TS"),
    variable(
        "mts",
        |c, h, _| match c.work.message.is_request() {
            true => h.string(b"rq"),
            false => h.string(b"rp"),
        },
        "What the message is: rq, a request, or rp, a response.",
    ),
    variable(
        "Tb",
        |c, _, _| Value::Int(c.env.state.setup.started.as_secs() as i64),
        "When the process started.",
    ),
    variable(
        "Tf",
        |c, h, _| written(h, local(c)),
        "The local time as text.",
    ),
    variable("TF", |c, h, _| written(h, local(c)), "The same."),
    keyed(
        "TV",
        InnerKind::OneOf(&EXACT),
        exact,
        "Seconds, microseconds, or both as text.",
    ),
    keyed(
        "time",
        InnerKind::OneOf(&PARTS),
        |c, _, a| part(local(c), a),
        "A part of the local time.",
    ),
    keyed(
        "utime",
        InnerKind::OneOf(&PARTS),
        |c, _, a| part(Moment::utc(seconds(c)), a),
        "A part of UTC.",
    ),
    keyed(
        "timef",
        InnerKind::Name,
        |c, h, a| custom(h, local(c), a),
        "The local time, as strftime(3).",
    ),
    keyed(
        "utimef",
        InnerKind::Name,
        |c, h, a| custom(h, Moment::utc(seconds(c)), a),
        "UTC, as strftime(3).",
    ),
];

fn seconds(call: &Call<'_>) -> i64 {
    call.env.now.wall.as_secs() as i64
}

fn local<'a>(call: &'a Call<'_>) -> Moment<'a> {
    Moment::of(seconds(call), &call.env.state.setup.config.zone)
}

fn written(heap: &mut Heap, moment: Moment<'_>) -> Value {
    heap.build(|_, out| moment.format(b"%c", out))
}

fn custom(heap: &mut Heap, moment: Moment<'_>, access: &Access<'_>) -> Value {
    let format = access.key.text();
    match heap.build(|heap, out| moment.format(heap.bytes(format), out)) {
        Value::Str(text) if text.is_empty() => Value::Null,
        value => value,
    }
}

fn exact(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let micros = call.env.now.wall.as_micros();
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    match EXACT.get(word(access)) {
        Some(&"s" | &"sn") => Value::Int(whole as i64),
        Some(&"u" | &"un") => Value::Int(rest as i64),
        _ => formatted(heap, format_args!("{whole}.{rest:06}")),
    }
}

fn part(moment: Moment<'_>, access: &Access<'_>) -> Value {
    let parts = moment.parts();
    parts
        .get(word(access))
        .map_or(Value::Null, |n| Value::Int(*n))
}
