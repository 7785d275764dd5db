//! Comparing texts.

use std::cmp::Ordering;

use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind};

use super::ANY;

const TEXT: ParamKind = ParamKind::Text;

pub(super) const FUNCTIONS: [Function; 8] = [
    function(
        "starts_with",
        &[TEXT, TEXT],
        ANY,
        (
            begins,
            "Whether the first begins with the second; -2: with something else.",
        ),
    ),
    function(
        "ends_with",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| compare(c, h, s, |a, b| a.ends_with(b)),
            "Whether the first ends with the second.",
        ),
    ),
    function(
        "str_find",
        &[TEXT, TEXT],
        ANY,
        (find, "Whether the second is in the first."),
    ),
    function(
        "str_ifind",
        &[TEXT, TEXT],
        ANY,
        (find_any_case, "The same in any case."),
    ),
    function(
        "cmp_str",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| order(c, h, s, |a, b| a.cmp(b)),
            "Whether they are equal; -1: the first is greater, -2: the second.",
        ),
    ),
    function(
        "cmp_istr",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| {
                order(c, h, s, |a, b| {
                    a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase())
                })
            },
            "The same in any case.",
        ),
    ),
    function(
        "in_list",
        &[TEXT, TEXT, TEXT],
        ANY,
        (in_list, "Whether the text is in a list."),
    ),
    optional(
        function(
            "in_list_prefix",
            &[TEXT, TEXT, TEXT],
            ANY,
            (in_list_prefix, "Whether it begins with one of a list."),
        ),
        3,
    ),
];

fn compare(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    holds: fn(&[u8], &[u8]) -> bool,
) -> Outcome {
    let (a, b) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    match (a, b) {
        (Some(a), Some(b)) => truth(holds(&a, &b)),
        _ => NO,
    }
}

/// The return code of a comparison, the original's.
fn code(order: Ordering) -> Outcome {
    match order {
        Ordering::Equal => YES,
        Ordering::Greater => NO,
        Ordering::Less => Outcome::Return(-2),
    }
}

fn order(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    compare: fn(&[u8], &[u8]) -> Ordering,
) -> Outcome {
    let (a, b) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    match (a, b) {
        (Some(a), Some(b)) => code(compare(&a, &b)),
        _ => NO,
    }
}

/// A text that is too short is no beginning, whatever stands in it.
fn begins(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (a, b) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    match (a, b) {
        (Some(a), Some(b)) if a.len() >= b.len() => code(a[..b.len()].cmp(&b)),
        _ => NO,
    }
}

fn find(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    place(call, heap, site, |window, wanted| window == wanted)
}

fn find_any_case(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    place(call, heap, site, |window, wanted| {
        window.eq_ignore_ascii_case(wanted)
    })
}

/// Where the second text is in the first, from 1.
fn place(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    same: fn(&[u8], &[u8]) -> bool,
) -> Outcome {
    let (text, wanted) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(text), Some(wanted)) = (text, wanted.filter(|w| !w.is_empty())) else {
        return NO;
    };
    match text
        .windows(wanted.len())
        .position(|window| same(window, &wanted))
    {
        Some(at) => Outcome::Return(at as i64 + 1),
        None => NO,
    }
}

fn in_list(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    list(call, heap, site, |text, item| text == item)
}

fn in_list_prefix(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    list(call, heap, site, |text, item| text.starts_with(item))
}

fn list(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    holds: fn(&[u8], &[u8]) -> bool,
) -> Outcome {
    let text = text_of(call, heap, site, 0);
    let (items, separator) = (text_of(call, heap, site, 1), text_of(call, heap, site, 2));
    let (Some(text), Some(items), Some(separator)) = (text, items, separator) else {
        return NO;
    };
    let Some(&separator) = separator.first() else {
        return NO;
    };
    let mut items = items.split(|b| *b == separator).map(<[u8]>::trim_ascii);
    truth(items.any(|item| !item.is_empty() && holds(&text, item)))
}
