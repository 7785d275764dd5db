//! The functions of `pv` for the records `$xavp`, `$xavi` and `$xavu`.

use crate::effect::Level;
use crate::limits::AVP_COUNT_MAX;
use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds, Value};
use crate::sip::param;

use super::avp::Stored;
use super::store;
use super::xavp::Kind;

const ANY: RouteKinds = RouteKinds::ANY;
const TEXT: ParamKind = ParamKind::Text;
const INT: ParamKind = ParamKind::Int;
const OUTPUT: ParamKind = ParamKind::Output;

macro_rules! of_kind {
    ($run:ident, $kind:ident) => {
        |call, heap, site| $run(call, heap, site, Kind::$kind)
    };
}

pub(super) const FUNCTIONS: [Function; 19] = [
    optional(
        function(
            "xavp_copy",
            &[TEXT, INT, TEXT, INT],
            ANY,
            (
                copy,
                "Copies a record, by name and place, behind those of a name or over one of them.",
            ),
        ),
        3,
    ),
    function(
        "xavp_params_implode",
        &[TEXT, OUTPUT],
        ANY,
        (
            of_kind!(implode, Stack),
            "The fields of a record as parameters.",
        ),
    ),
    function(
        "xavu_params_explode",
        &[TEXT, TEXT],
        ANY,
        (explode_single, "Parameters as fields of a record of $xavu."),
    ),
    function(
        "xavu_params_implode",
        &[TEXT, OUTPUT],
        ANY,
        (of_kind!(implode, Single), "The same for $xavu."),
    ),
    function(
        "xavp_slist_explode",
        &[TEXT, TEXT, TEXT, TEXT],
        ANY,
        (
            explode_list,
            "A list, its separators, t to trim, and the record whose fields v its values become.",
        ),
    ),
    function(
        "xavp_child_seti",
        &[TEXT, TEXT, INT],
        ANY,
        (
            of_kind!(set_number, Stack),
            "Sets a field of the newest record.",
        ),
    ),
    function(
        "xavp_child_sets",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            of_kind!(set_text, Stack),
            "Sets a field of the newest record.",
        ),
    ),
    function(
        "xavp_rm",
        &[TEXT],
        ANY,
        (of_kind!(remove, Stack), "Removes the newest record."),
    ),
    function(
        "xavp_child_rm",
        &[TEXT, TEXT],
        ANY,
        (
            of_kind!(remove, Stack),
            "Removes a field of the newest record.",
        ),
    ),
    function(
        "xavi_child_seti",
        &[TEXT, TEXT, INT],
        ANY,
        (
            of_kind!(set_number, Folded),
            "As xavp_child_seti, for $xavi.",
        ),
    ),
    function(
        "xavi_child_sets",
        &[TEXT, TEXT, TEXT],
        ANY,
        (of_kind!(set_text, Folded), "As xavp_child_sets, for $xavi."),
    ),
    function(
        "xavi_rm",
        &[TEXT],
        ANY,
        (of_kind!(remove, Folded), "As xavp_rm, for $xavi."),
    ),
    function(
        "xavi_child_rm",
        &[TEXT, TEXT],
        ANY,
        (of_kind!(remove, Folded), "As xavp_child_rm, for $xavi."),
    ),
    function(
        "pv_xavp_print",
        &[],
        ANY,
        (
            of_kind!(print, Stack),
            "Writes all records of $xavp to the log.",
        ),
    ),
    function(
        "pv_xavi_print",
        &[],
        ANY,
        (of_kind!(print, Folded), "The same for $xavi."),
    ),
    function(
        "pv_xavu_print",
        &[],
        ANY,
        (of_kind!(print, Single), "The same for $xavu."),
    ),
    function(
        "pv_var_to_xavp",
        &[TEXT, TEXT],
        ANY,
        (
            from_variables,
            "Puts the $var of this name, or all with *, into a record in place of those there.",
        ),
    ),
    function(
        "pv_xavp_to_var",
        &[TEXT],
        ANY,
        (
            to_variables,
            "Sets the $var that are named as the fields of a record.",
        ),
    ),
    function(
        "pv_evalx",
        &[OUTPUT, TEXT],
        ANY,
        (
            evaluate_again,
            "Refused: what a variable holds is not read as a script.",
        ),
    ),
];

fn evaluate_again(call: &mut Call<'_>, _: &mut Heap, site: &CallSite) -> Outcome {
    let text = format!(
        "pv_evalx() in line {} is refused: what a variable holds is not read as a script",
        site.at.line
    );
    call.env.log(Level::Err, text);
    NO
}

fn copy(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (from, to) = (text_of(call, heap, site, 0), text_of(call, heap, site, 2));
    let at = site.int(1, call, heap).map(usize::try_from);
    let (Some(from), Some(to), Some(Ok(at))) = (from, to, at) else {
        return NO;
    };
    let place = match site.arg(3) {
        None => None,
        Some(arg) => match arg.int(call, heap).map(usize::try_from) {
            Some(Ok(place)) => Some(place),
            Some(Err(_)) | None => return NO,
        },
    };
    truth(
        call.work
            .avps
            .records_mut(Kind::Stack)
            .copy((&from, at), &to, place),
    )
}

fn implode(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let Some(text) = call.work.avps.records(kind).imploded(kind, &name) else {
        return NO;
    };
    let value = heap.string(&text);
    let done = site.arg(1).map(|arg| arg.write(call, heap, value));
    truth(done.is_some_and(|done| done.is_ok()))
}

fn explode_single(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (text, name) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(text), Some(name)) = (text, name) else {
        return NO;
    };
    let mut is_there = false;
    for param in param::Params::new(&text) {
        let value = match param.text() {
            [b'"', inner @ .., b'"'] => inner,
            text => text,
        };
        let value = Stored::Text(value.into());
        let records = call.work.avps.records_mut(Kind::Single);
        if !records.set_field(Kind::Single, &name, param.name, value) {
            return full(call);
        }
        is_there = true;
    }
    truth(is_there)
}

fn full(call: &mut Call<'_>) -> Outcome {
    let text = format!("there are {AVP_COUNT_MAX} records and fields already");
    call.env.log(Level::Err, text);
    NO
}

fn explode_list(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let [Some(list), Some(separators), mode, Some(name)] =
        [0, 1, 2, 3].map(|index| text_of(call, heap, site, index))
    else {
        return NO;
    };
    let trims = mode.is_some_and(|mode| mode.contains(&b't'));
    let values = list.split(|b| separators.contains(b));
    let values = values.map(|value| if trims { value.trim_ascii() } else { value });
    let mut fields: Vec<(&str, Stored)> = values
        .filter(|value| !value.is_empty())
        .map(|value| ("v", Stored::Text(value.into())))
        .collect();
    // The newest is the first.
    fields.reverse();
    match fields.is_empty() || call.work.avps.push_record(&name, &fields) {
        true => YES,
        false => full(call),
    }
}

fn set_number(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    match site.int(2, call, heap) {
        Some(n) => set(call, heap, (site, kind), Stored::Int(n)),
        None => NO,
    }
}

fn set_text(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    match text_of(call, heap, site, 2) {
        Some(text) => set(call, heap, (site, kind), Stored::Text((*text).into())),
        None => NO,
    }
}

fn set(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, kind): (&CallSite, Kind),
    value: Stored,
) -> Outcome {
    let (name, field) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(name), Some(field)) = (name, field) else {
        return NO;
    };
    let records = call.work.avps.records_mut(kind);
    match records.set_field(kind, &name, &field, value) {
        true => YES,
        false => full(call),
    }
}

/// That there is nothing to remove is no failure, as in the original.
fn remove(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind) -> Outcome {
    let Some(name) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let field = text_of(call, heap, site, 1);
    if site.arg(1).is_some() && field.as_deref().is_none_or(<[u8]>::is_empty) {
        return NO;
    }
    let field = field.unwrap_or_default();
    let records = call.work.avps.records_mut(kind);
    records.remove_newest(kind, &name, &field);
    YES
}

fn print(call: &mut Call<'_>, _: &mut Heap, _: &CallSite, kind: Kind) -> Outcome {
    for line in call.work.avps.records(kind).lines() {
        call.env.log(Level::Info, line);
    }
    YES
}

fn from_variables(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (wanted, name) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(wanted), Some(name)) = (wanted, name) else {
        return NO;
    };
    call.work.avps.clear_records(&name);
    let mut is_there = false;
    for (variable, value) in store::named(call, &wanted) {
        let records = call.work.avps.records_mut(Kind::Stack);
        if !records.set_field(Kind::Stack, &name, &variable, value) {
            return full(call);
        }
        is_there = true;
    }
    truth(is_there)
}

fn to_variables(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let fields = call.work.avps.fields(&name);
    let fields: Vec<(Box<[u8]>, Stored)> = fields
        .filter(|(field, _)| !field.is_empty())
        .map(|(field, value)| (field.into(), value.clone()))
        .collect();
    // The newest value of a field is written last.
    for (field, value) in fields.iter().rev() {
        let value = value.value(heap);
        let Value::Str(field) = heap.string(field) else {
            continue;
        };
        if store::assign(call, heap, field, value).is_err() {
            return NO;
        }
    }
    truth(!fields.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, value};

    #[test]
    fn fields_and_parameters() {
        let table = [
            (
                "xavp_child_seti(\"a\", \"x\", \"-1\"); xavp_child_sets(\"a\", \"y\", \"\");
                 xavp_params_implode(\"a\", \"$var(o)\");",
                "$var(o)",
                "y;x=4294967295;",
            ),
            (
                "xavu_params_explode(\"a=b;c=\\\"d\\\"\", \"u\");
                 xavu_params_implode(\"u\", \"$var(o)\");",
                "$var(o)",
                "c=d;a=b;",
            ),
            (
                "$xavi(A=>b) = 1; xavi_child_rm(\"a\", \"B\"); $var(r) = xavi_rm(\"A\");",
                "$var(r) $xavi(a=>b)",
                "1 <null>",
            ),
            (
                "$xavp(a=>b) = 1; $var(r) = xavp_child_rm(\"a\", \"\");",
                "$var(r) $xavp(a=>b)",
                "-1 1",
            ),
            (
                "$var(r) = xavp_copy(\"a\", \"-1\", \"b\");",
                "$var(r)",
                "-1",
            ),
        ];
        for (statements, format, want) in table {
            assert_eq!(value(statements, format, INVITE), want, "{statements}");
        }
    }

    #[test]
    fn there_is_a_bound() {
        let statements = "$var(i) = 0; while ($var(i) < 2000) {
             $var(r) = xavp_child_seti(\"a\", \"f$var(i)\", 1); $var(i) = $var(i) + 1; }";
        let bounded = crate::modules::sample::run(statements, INVITE);
        let count = bounded.work.avps.fields(b"a").count();
        assert!(count <= crate::limits::AVP_COUNT_MAX, "{count}");
    }
}
