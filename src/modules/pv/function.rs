//! The functions of `pv`.

use crate::modules::entry::{NO, YES, function, planned_function, text_of, truth};
use crate::modules::{Call, Function};
use crate::script::{Arg, CallSite, Heap, Outcome, ParamKind, RouteKinds, Value};

const ANY: RouteKinds = RouteKinds::ANY;
const TEXT: ParamKind = ParamKind::Text;
const VARIABLE: ParamKind = ParamKind::Variable;

pub(super) const FUNCTIONS: [Function; 9] = [
    function(
        "is_int",
        &[VARIABLE],
        ANY,
        (is_int, "Whether the variable is a number."),
    ),
    function(
        "pv_isset",
        &[VARIABLE],
        ANY,
        (is_set, "Whether the variable is not NULL."),
    ),
    function(
        "pv_unset",
        &[VARIABLE],
        ANY,
        (unset, "Makes the variable NULL."),
    ),
    function(
        "not_empty",
        &[VARIABLE],
        ANY,
        (not_empty, "Whether it has a value that is not empty."),
    ),
    function(
        "typeof",
        &[VARIABLE, ParamKind::Const],
        ANY,
        (type_of, "Whether it is int, str or null."),
    ),
    planned_function(
        "xavp_params_explode",
        &[TEXT, TEXT],
        2,
        (ANY, "Parameters as fields of a record."),
    ),
    planned_function(
        "sbranch_set_ruri",
        &[],
        0,
        (ANY, "The static branch as first target."),
    ),
    planned_function(
        "sbranch_append",
        &[],
        0,
        (ANY, "Appends the static branch."),
    ),
    planned_function("sbranch_reset", &[], 0, (ANY, "Empties the static branch.")),
];

fn argument(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Value {
    site.arg(0).map_or(Value::Null, |arg| arg.value(call, heap))
}

fn is_int(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let value = argument(call, heap, site);
    truth(matches!(value, Value::Int(_)))
}

fn is_set(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    truth(!argument(call, heap, site).is_null())
}

fn unset(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let done = match site.arg(0) {
        Some(Arg::Variable(v) | Arg::Output(v)) => v.write(call, heap, Value::Null).is_ok(),
        _ => false,
    };
    truth(done)
}

fn not_empty(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match argument(call, heap, site) {
        Value::Null => NO,
        Value::Int(_) => YES,
        Value::Str(text) => truth(!text.is_empty()),
    }
}

fn type_of(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name: &[u8] = match argument(call, heap, site) {
        Value::Null => b"null",
        Value::Int(_) => b"int",
        Value::Str(_) => b"str",
    };
    truth(text_of(call, heap, site, 1).as_deref() == Some(name))
}
