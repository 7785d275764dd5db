//! Searching and replacing by regular expressions, in the whole message, its URI, a field.

use std::rc::Rc;

use crate::modules::entry::{NO, YES, function, planned_function, text_of, truth};
use crate::modules::pv::uri::change;
use crate::modules::rewrite::Part;
use crate::modules::work::Bytes;
use crate::modules::{Call, Function};
use crate::script::{Arg, CallSite, Heap, Outcome, ParamKind, Substitution};
use crate::sip::{Message, Span, Uri};

use super::{ANY, fit_length};

const TEXT: ParamKind = ParamKind::Text;
const REGEX: ParamKind = ParamKind::Regex;
const SUBST: ParamKind = ParamKind::Subst;

pub(super) const FUNCTIONS: [Function; 18] = [
    function(
        "search",
        &[REGEX],
        ANY,
        (search, "Whether the message matches."),
    ),
    function(
        "search_body",
        &[REGEX],
        ANY,
        (search_body, "Whether the body matches."),
    ),
    function(
        "replace",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| replace(c, h, s, (headers, false)),
            "Replaces the first match behind the start line.",
        ),
    ),
    function(
        "replace_all",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| replace(c, h, s, (headers, true)),
            "Replaces all matches behind the start line.",
        ),
    ),
    function(
        "replace_body",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| replace(c, h, s, (body, false)),
            "Replaces the first match in the body.",
        ),
    ),
    function(
        "replace_body_all",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| replace(c, h, s, (body, true)),
            "Replaces all matches in the body.",
        ),
    ),
    function(
        "replace_hdrs",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| replace(c, h, s, (fields, false)),
            "Replaces the first match in the header.",
        ),
    ),
    function(
        "subst",
        &[SUBST],
        ANY,
        (
            |c, h, s| subst(c, h, s, headers),
            "Substitutes behind the start line.",
        ),
    ),
    function(
        "subst_body",
        &[SUBST],
        ANY,
        (|c, h, s| subst(c, h, s, body), "Substitutes in the body."),
    ),
    function(
        "subst_uri",
        &[SUBST],
        ANY,
        (subst_uri, "Substitutes in the Request-URI."),
    ),
    function(
        "subst_user",
        &[SUBST],
        ANY,
        (subst_user, "Substitutes in its user."),
    ),
    function(
        "subst_hf",
        &[TEXT, SUBST, TEXT],
        ANY,
        (subst_hf, "Substitutes in a field: a all, f first, l last."),
    ),
    planned_function(
        "search_append",
        &[REGEX, TEXT],
        2,
        (ANY, "Adds text behind the first match."),
    ),
    planned_function(
        "search_append_body",
        &[REGEX, TEXT],
        2,
        (ANY, "Adds text behind the first match in the body."),
    ),
    planned_function(
        "replace_str",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Replaces text."),
    ),
    planned_function(
        "replace_hdrs_str",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Replaces text in the header."),
    ),
    planned_function(
        "replace_body_str",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Replaces text in the body."),
    ),
    planned_function(
        "search_str",
        &[TEXT, REGEX],
        2,
        (ANY, "Whether a text matches."),
    ),
];

/// Where a function works.
type Region = fn(&Message) -> Span;

fn headers(message: &Message) -> Span {
    Span {
        start: message.headers_start(),
        end: message.bytes().len() as u16,
    }
}

fn fields(message: &Message) -> Span {
    Span {
        start: message.headers_start(),
        end: message.headers_end(),
    }
}

fn body(message: &Message) -> Span {
    message.body_span()
}

fn is_match(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, region: Region) -> Outcome {
    let Some(arg) = site.arg(0) else { return NO };
    let text = {
        let message = &call.work.message;
        heap.text(message.text(region(message)))
    };
    truth(arg.is_match(call, heap, text) == Some(true))
}

fn search(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    is_match(call, heap, site, |m| Span {
        start: 0,
        end: m.bytes().len() as u16,
    })
}

fn search_body(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    is_match(call, heap, site, body)
}

/// The replacement is text as it is: no groups.
fn replace(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    (region, is_all): (Region, bool),
) -> Outcome {
    let Some(new) = text_of(call, heap, site, 1) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let span = region(&message);
    let text = message.text(span);
    let Some(found) = site
        .arg(0)
        .and_then(|arg| arg.matches(call, heap, (text, is_all)))
    else {
        return NO;
    };
    for range in &found {
        let start = span.start + range.start as u16;
        let end = span.start + range.end as u16;
        call.work.edits.replace(Span { start, end }, &new);
    }
    if found.is_empty() {
        return NO;
    }
    fit_length(call.work);
    YES
}

/// The substitution of an argument, with its own place in the list of arguments.
fn rule(site: &CallSite, index: usize) -> Option<&Substitution> {
    match site.arg(index)? {
        Arg::Subst(rule) => Some(rule),
        _ => None,
    }
}

fn subst(call: &mut Call<'_>, _: &mut Heap, site: &CallSite, region: Region) -> Outcome {
    let Some(rule) = rule(site, 0) else { return NO };
    let message = Rc::clone(&call.work.message);
    let span = region(&message);
    let edits = rule.changes(message.text(span));
    for (range, new) in &edits {
        let start = span.start + range.start as u16;
        let end = span.start + range.end as u16;
        call.work.edits.replace(Span { start, end }, new);
    }
    if edits.is_empty() {
        return NO;
    }
    fit_length(call.work);
    YES
}

fn subst_uri(call: &mut Call<'_>, _: &mut Heap, site: &CallSite) -> Outcome {
    let Some(rule) = rule(site, 0) else { return NO };
    let mut out = vec![];
    if !rule.apply(call.work.uri(), &mut out) || Uri::parse(&out).is_err() {
        return NO;
    }
    call.work.target.uri = Some(Bytes::from(out));
    YES
}

fn subst_user(call: &mut Call<'_>, _: &mut Heap, site: &CallSite) -> Outcome {
    let Some(rule) = rule(site, 0) else { return NO };
    let mut out = vec![];
    let found = match Uri::parse(call.work.uri()) {
        Ok(uri) => rule.apply(uri.user.unwrap_or_default(), &mut out),
        Err(_) => false,
    };
    truth(found && change(call, Part::User(Some(&out))).is_ok())
}

fn subst_hf(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (name, which) = (text_of(call, heap, site, 0), text_of(call, heap, site, 2));
    let (Some(name), Some(rule)) = (name, rule(site, 1)) else {
        return NO;
    };
    let work = &mut *call.work;
    let fields: Vec<_> = work.message.named(&name).collect();
    let chosen = match which.as_deref() {
        Some(b"f") => &fields[..fields.len().min(1)],
        Some(b"l") => &fields[fields.len().saturating_sub(1)..],
        _ => &fields[..],
    };
    let mut is_changed = false;
    for header in chosen {
        let mut out = vec![];
        if rule.apply(work.message.text(header.value), &mut out) {
            work.edits.replace(header.value, &out);
            is_changed = true;
        }
    }
    truth(is_changed)
}
