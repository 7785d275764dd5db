//! Max-Forwards: RFC 3261 §16.3 step 3 and §16.6 step 3.

use crate::script::{CallSite, Heap, Outcome, ParamKind, ParamType, RouteKinds};

use super::entry::{NO, function, number, param, renamed, truth};
use super::{Call, Function, Module, Param};

/// The module's table.
pub const MODULE: Module = Module {
    name: "maxfwd",
    doc: "Max-Forwards.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &[],
    params: &PARAMS,
    ..super::EMPTY
};

/// Parameters of `maxfwd`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest value that goes on.
    pub max_limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { max_limit: 70 }
    }
}

const PROCESS: Function = function(
    "mf_process_maxfwd_header",
    &[ParamKind::Int],
    RouteKinds::REQUEST,
    (
        process,
        "Counts the hop; adds the field with this value when it is missing.",
    ),
);

const LOWER: Function = function(
    "is_maxfwd_lt",
    &[ParamKind::Int],
    RouteKinds::REQUEST
        .or(RouteKinds::BRANCH)
        .or(RouteKinds::FAILURE),
    (is_lower, "Whether fewer hops than this are left."),
);

const FUNCTIONS: [Function; 6] = [
    PROCESS,
    renamed(PROCESS, "process_maxfwd"),
    renamed(PROCESS, "maxfwd_process"),
    LOWER,
    renamed(LOWER, "mf_lowlimit"),
    renamed(LOWER, "maxfwd_at_least"),
];

const PARAMS: [Param; 1] = [param(
    "max_limit",
    ParamType::Int,
    "70",
    (
        |c, v| number(v, 1, 256, "1 to 256").map(|n| c.maxfwd.max_limit = n as u32),
        "The largest value that goes on.",
    ),
)];

/// The field could not be read.
const BROKEN: Outcome = Outcome::Return(-2);

/// The number of hops left; `Err`: the field is no number.
fn left(call: &Call<'_>) -> Option<Result<u32, ()>> {
    match call.work.max_forwards {
        Some(hops) => Some(Ok(hops)),
        None => call
            .work
            .message
            .max_forwards()
            .map(|hops| hops.map_err(drop)),
    }
}

fn process(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(limit) = site.int(0, call, heap).filter(|n| (1..=256).contains(n)) else {
        return BROKEN;
    };
    match left(call) {
        None => {
            let end = call.work.message.headers_end();
            call.work
                .edits
                .insert(end, format!("Max-Forwards: {limit}\r\n").as_bytes());
            Outcome::Return(2)
        }
        Some(Err(())) => BROKEN,
        Some(Ok(0)) => NO,
        Some(Ok(hops)) => {
            let hops = (hops - 1).min(call.env.state.setup.config.maxfwd.max_limit);
            set(call, hops);
            Outcome::Return(1)
        }
    }
}

/// Writes the new value, which the script sees at once.
fn set(call: &mut Call<'_>, hops: u32) {
    let Some(header) = call.work.message.first(crate::sip::HeaderName::MaxForwards) else {
        return;
    };
    // At most 256: three digits, without an allocation.
    let digits = [hops / 100 % 10, hops / 10 % 10, hops % 10].map(|d| b'0' + d as u8);
    let skipped = match hops {
        0..=9 => 2,
        10..=99 => 1,
        _ => 0,
    };
    call.work.edits.replace(header.value, &digits[skipped..]);
    call.work.max_forwards = Some(hops);
}

fn is_lower(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(limit) = site.int(0, call, heap) else {
        return BROKEN;
    };
    match left(call) {
        Some(Ok(hops)) => truth(i64::from(hops) < limit),
        Some(Err(())) | None => BROKEN,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{INVITE, code, run, value};

    fn with(field: &str) -> String {
        INVITE.replace("Max-Forwards: 70\r\n", field)
    }

    #[test]
    fn hops_are_counted() {
        let table = [
            ("Max-Forwards: 70\r\n", 1, "69"),
            ("Max-Forwards: 1\r\n", 1, "0"),
            ("Max-Forwards: 0\r\n", -1, "0"),
            ("Max-Forwards: 999\r\n", 1, "70"),
            ("Max-Forwards: 255\r\n", 1, "70"),
            ("", 2, "<null>"),
        ];
        for (field, rc, left) in table {
            let message = with(field);
            assert_eq!(
                code("mf_process_maxfwd_header(\"10\")", &message),
                rc,
                "{field}"
            );
            let shown = value("process_maxfwd(\"10\");", "$hdr(max-forwards)", &message);
            assert_eq!(shown, left, "{field}");
        }
    }

    #[test]
    fn the_new_value_leaves() {
        let table = [
            (
                "Max-Forwards: 70\r\n",
                "maxfwd_process(10); maxfwd_process(10);",
                "Max-Forwards: 68",
            ),
            (
                "Max-Forwards: 999\r\n",
                "maxfwd_process(10);",
                "Max-Forwards: 70",
            ),
            ("", "maxfwd_process(10);", "Max-Forwards: 10"),
        ];
        for (field, statements, want) in table {
            let changed = run(statements, &with(field)).changed();
            let lines: Vec<&str> = changed.lines().filter(|l| l.starts_with("Max-")).collect();
            assert_eq!(lines, [want], "{field}");
        }
    }

    #[test]
    fn few_hops_are_noticed() {
        for (field, limit, rc) in [
            ("Max-Forwards: 70\r\n", 71, 1),
            ("Max-Forwards: 70\r\n", 70, -1),
            ("", 70, -2),
        ] {
            assert_eq!(
                code(&format!("is_maxfwd_lt({limit})"), &with(field)),
                rc,
                "{field} {limit}"
            );
        }
    }
}
