//! Searching and replacing by regular expressions, in the whole message, its URI, a field.

use std::rc::Rc;

use crate::modules::entry::{NO, YES, function, text_of, truth};
use crate::modules::pv::uri::change;
use crate::modules::rewrite::Part;
use crate::modules::work::Bytes;
use crate::modules::{Call, Function};
use crate::script::{
    Arg, CallSite, Heap, Inserts, Outcome, ParamKind, RouteKinds, Substitution, compile_regex,
};
use crate::sip::{Message, Span, Uri};

use super::{ANY, fit_length};

const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const REGEX: ParamKind = ParamKind::Regex;
const SUBST: ParamKind = ParamKind::Subst;

pub(super) const FUNCTIONS: [Function; 20] = [
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
        RouteKinds::NOT_ONSEND,
        (subst_uri, "Substitutes in the Request-URI."),
    ),
    function(
        "subst_user",
        &[SUBST],
        RouteKinds::NOT_ONSEND,
        (subst_user, "Substitutes in its user."),
    ),
    function(
        "subst_hf",
        &[TEXT, SUBST, TEXT],
        ANY,
        (subst_hf, "Substitutes in a field: a all, f first, l last."),
    ),
    function(
        "search_append",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| append(c, h, s, headers),
            "Adds text behind the first match.",
        ),
    ),
    function(
        "search_append_body",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| append(c, h, s, body),
            "Adds text behind the first match in the body.",
        ),
    ),
    function(
        "replace_body_atonce",
        &[REGEX, TEXT],
        ANY,
        (
            |c, h, s| replace(c, h, s, (body, true)),
            "Replaces all matches in the body, which is taken as one text.",
        ),
    ),
    function(
        "replace_str",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| replace_str(c, h, s, headers),
            "Replaces text: a everywhere, f first.",
        ),
    ),
    function(
        "replace_hdrs_str",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| replace_str(c, h, s, fields),
            "Replaces text in the header.",
        ),
    ),
    function(
        "replace_body_str",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            |c, h, s| replace_str(c, h, s, body),
            "Replaces text in the body.",
        ),
    ),
    function(
        "search_str",
        &[TEXT, REGEX],
        ANY,
        (search_str, "Whether a text matches."),
    ),
    function(
        "regex_substring",
        &[TEXT, TEXT, NUM, NUM, ParamKind::Output],
        RouteKinds::NOT_ONSEND,
        (
            substring,
            "Reads a group of a match: text, expression, group, how many there are; -2: no match.",
        ),
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

fn append(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, region: Region) -> Outcome {
    let Some(new) = text_of(call, heap, site, 1) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let span = region(&message);
    let text = message.text(span);
    let found = site
        .arg(0)
        .and_then(|arg| arg.matches(call, heap, (text, false)));
    let Some(range) = found.as_ref().and_then(|found| found.first()) else {
        return NO;
    };
    call.work.edits.insert(span.start + range.end as u16, &new);
    fit_length(call.work);
    YES
}

/// The text as it is, in its case. That it is nowhere is no failure.
fn replace_str(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, region: Region) -> Outcome {
    let (old, new) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let mode = text_of(call, heap, site, 2);
    let (Some(old), Some(new), Some(mode)) = (old.filter(|o| !o.is_empty()), new, mode) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let span = region(&message);
    let text = message.text(span);
    let places: Vec<usize> = match mode.first() {
        Some(b'f') => memchr::memmem::find(text, &old).into_iter().collect(),
        _ => memchr::memmem::find_iter(text, &old).collect(),
    };
    for place in &places {
        let start = span.start + *place as u16;
        let end = start + old.len() as u16;
        call.work.edits.replace(Span { start, end }, &new);
    }
    if !places.is_empty() {
        fit_length(call.work);
    }
    YES
}

fn search_str(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text = site.text(0, call, heap);
    let (Some(arg), Some(_)) = (site.arg(1), heap.str(text)) else {
        return NO;
    };
    let text = heap.as_text(text);
    truth(arg.is_match(call, heap, text) == Some(true))
}

fn substring(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (text, pattern) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (group, count) = (site.int(2, call, heap), site.int(3, call, heap));
    let (Some(text), Some(pattern), Some(group), Some(count)) = (text, pattern, group, count)
    else {
        return NO;
    };
    let Some(regex) = compile_regex(&pattern).filter(|_| (0..count).contains(&group)) else {
        return NO;
    };
    let found = regex.captures(&text).and_then(|c| c.get(group as usize));
    let Some(found) = found else {
        return Outcome::Return(-2);
    };
    let value = heap.string(found.as_bytes());
    truth(
        site.arg(4)
            .is_some_and(|arg| arg.write(call, heap, value).is_ok()),
    )
}

/// The substitution of an argument, and what the variables in it hold.
fn rule<'a>(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &'a CallSite,
    index: usize,
) -> Option<(&'a Substitution, Inserts)> {
    match site.arg(index)? {
        Arg::Subst(rule) => Some((rule, rule.inserts(call, heap))),
        _ => None,
    }
}

fn subst(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, region: Region) -> Outcome {
    let Some((rule, inserts)) = rule(call, heap, site, 0) else {
        return NO;
    };
    let message = Rc::clone(&call.work.message);
    let span = region(&message);
    let edits = rule
        .changes(message.text(span), &inserts)
        .unwrap_or_default();
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

fn subst_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((rule, inserts)) = rule(call, heap, site, 0) else {
        return NO;
    };
    let mut out = vec![];
    let found = rule.apply(call.work.uri(), &inserts, &mut out);
    if found != Some(true) || Uri::parse(&out).is_err() {
        return NO;
    }
    call.work.target.uri = Some(Bytes::from(out));
    YES
}

fn subst_user(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some((rule, inserts)) = rule(call, heap, site, 0) else {
        return NO;
    };
    let mut out = vec![];
    let found = match Uri::parse(call.work.uri()) {
        Ok(uri) => rule.apply(uri.user.unwrap_or_default(), &inserts, &mut out),
        Err(_) => None,
    };
    truth(found == Some(true) && change(call, Part::User(Some(&out))).is_ok())
}

fn subst_hf(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (name, which) = (text_of(call, heap, site, 0), text_of(call, heap, site, 2));
    let (Some(name), Some((rule, inserts))) = (name, rule(call, heap, site, 1)) else {
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
        let text = work.message.text(header.value);
        if rule.apply(text, &inserts, &mut out) == Some(true) {
            work.edits.replace(header.value, &out);
            is_changed = true;
        }
    }
    truth(is_changed)
}
