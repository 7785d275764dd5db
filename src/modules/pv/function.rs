//! The functions of `pv`.

use crate::modules::entry::{NO, YES, function, text_of, truth};
use crate::modules::work::Target;
use crate::modules::{Call, Function};
use crate::script::{Arg, CallSite, Heap, Outcome, ParamKind, RouteKinds, Value};
use crate::sip::param;

use super::avp::Stored;
use super::uri::append_target;

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
    function(
        "xavp_params_explode",
        &[TEXT, TEXT],
        ANY,
        (explode, "Parameters as fields of a record."),
    ),
    function(
        "sbranch_set_ruri",
        &[],
        ANY,
        (set_target, "The static branch as first target."),
    ),
    function(
        "sbranch_append",
        &[],
        ANY,
        (append, "Appends the static branch."),
    ),
    function(
        "sbranch_reset",
        &[],
        ANY,
        (reset, "Empties the static branch."),
    ),
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

fn explode(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(text), Some(name)) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1))
    else {
        return NO;
    };
    let unquoted = |text: &[u8]| match text {
        [b'"', inner @ .., b'"'] => Stored::Text(inner.into()),
        text => Stored::Text(text.into()),
    };
    let fields: Vec<(Box<str>, Stored)> = param::Params::new(&text)
        .map(|p| {
            let name = String::from_utf8_lossy(p.name).into();
            (name, unquoted(p.text()))
        })
        .collect();
    let fields: Vec<(&str, Stored)> = fields.iter().map(|(n, v)| (&**n, v.clone())).collect();
    truth(!fields.is_empty() && call.work.avps.push_record(&name, &fields))
}

/// The static branch, if it is filled.
fn branch(call: &Call<'_>) -> Option<Target> {
    let branch = &call.env.state.variables.branch;
    branch.uri.is_some().then(|| branch.clone())
}

fn set_target(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let Some(branch) = branch(call) else {
        return NO;
    };
    call.work.target = branch;
    YES
}

fn append(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let Some(branch) = branch(call) else {
        return NO;
    };
    truth(append_target(call, branch).is_ok())
}

fn reset(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    call.env.state.variables.branch = Target::default();
    YES
}
