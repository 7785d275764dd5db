//! Header fields: whether they are there, adding and removing.

use crate::modules::comparison::Comparison;
use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::{Call, Function};
use crate::script::calendar::Moment;
use crate::script::{
    Arg, CallSite, Heap, Outcome, ParamKind, RouteKinds, Text, Value, compile_regex,
};
use crate::sip::HeaderName;

use super::ANY;

const TEXT: ParamKind = ParamKind::Text;
const REGEX: ParamKind = ParamKind::Regex;

/// The methods that a list may name.
const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "REGISTER",
    "INFO",
    "UPDATE",
    "PRACK",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "MESSAGE",
    "REFER",
    "KDMQ",
];

pub(super) const FUNCTIONS: [Function; 22] = [
    function(
        "is_method",
        &[ParamKind::ListOf(&METHODS)],
        ANY,
        (is_method, "Whether the method is one of these."),
    ),
    function(
        "is_present_hf",
        &[TEXT],
        ANY,
        (is_present, "Whether there is such a field."),
    ),
    function(
        "is_present_hf_re",
        &[REGEX],
        ANY,
        (is_present_re, "Whether a field's name matches."),
    ),
    function(
        "remove_hf",
        &[TEXT],
        ANY,
        (remove, "Removes all fields of this name."),
    ),
    function(
        "remove_hf_re",
        &[REGEX],
        ANY,
        (remove_re, "Removes all fields whose name matches."),
    ),
    function(
        "remove_hf_exp",
        &[REGEX, REGEX],
        ANY,
        (
            remove_except,
            "Removes all fields whose name matches the first expression and not the second.",
        ),
    ),
    function(
        "remove_hf_exp_pv",
        &[TEXT, TEXT],
        ANY,
        (
            remove_except,
            "The same, with variables in the expressions.",
        ),
    ),
    function(
        "remove_hf_match",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            remove_match,
            "Removes the fields of this name whose value eq, ne, in (has), re the text; -2: none.",
        ),
    ),
    function(
        "append_urihf",
        &[ParamKind::Const, ParamKind::Const],
        RouteKinds::ON_WAY,
        (
            append_uri,
            "Adds a line at the end: the first text, the Request-URI as received, the second.",
        ),
    ),
    optional(
        function(
            "append_hf",
            &[TEXT, TEXT],
            ANY,
            (append, "Adds a line at the end, or behind a field."),
        ),
        1,
    ),
    optional(
        function(
            "insert_hf",
            &[TEXT, TEXT],
            ANY,
            (insert, "Adds a line at the beginning, or before a field."),
        ),
        1,
    ),
    function(
        "append_to_reply",
        &[TEXT],
        RouteKinds::ON_WAY,
        (append_to_reply, "Adds a line to replies of our own."),
    ),
    function(
        "append_time",
        &[],
        RouteKinds::ON_WAY,
        (append_time, "Adds Date to replies of our own."),
    ),
    function(
        "append_time_to_request",
        &[],
        ANY,
        (append_time_to_request, "Adds Date to the request."),
    ),
    function(
        "is_privacy",
        &[TEXT],
        ANY,
        (is_privacy, "Whether Privacy says so."),
    ),
    function(
        "search_hf",
        &[TEXT, REGEX, TEXT],
        ANY,
        (search_hf, "Matches a field: a all, f first, l last."),
    ),
    function(
        "remove_hf_pv",
        &[TEXT],
        ANY,
        (remove, "Removes all fields of this name."),
    ),
    function(
        "remove_hf_re_pv",
        &[TEXT],
        ANY,
        (remove_re, "Removes all fields whose name matches."),
    ),
    function(
        "is_present_hf_re_pv",
        &[TEXT],
        ANY,
        (is_present_re, "Whether a field's name matches."),
    ),
    function(
        "is_present_hf_pv",
        &[TEXT],
        ANY,
        (is_present, "Whether there is such a field."),
    ),
    function(
        "is_audio_on_hold",
        &[],
        ANY,
        (on_hold, "Whether the session description holds the call."),
    ),
    function(
        "remove_hf_idx",
        &[TEXT, ParamKind::Int],
        ANY,
        (
            remove_at,
            "Removes one field of this name, from 0, or from -1 backwards; 2: it is not there.",
        ),
    ),
];

/// Of `textopsx`.
pub(super) const X_FUNCTIONS: [Function; 1] = [optional(
    function(
        "keep_hf",
        &[REGEX],
        ANY,
        (
            keep,
            "Removes all fields but those that every message needs and those whose name matches.",
        ),
    ),
    0,
)];

/// `INVITE|ACK`: a list of names.
fn is_method(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    if let Some(Arg::List(mask, _)) = site.arg(0) {
        let name = call.work.message.method_name();
        let place = METHODS.iter().position(|m| m.as_bytes() == name);
        return truth(place.is_some_and(|place| mask >> place & 1 == 1));
    }
    let value = site.text(0, call, heap);
    let Some(list) = heap.str(value) else {
        return NO;
    };
    let message = &call.work.message;
    let name = message.method_name();
    // Names of methods are case-sensitive; scripts write the known ones in any case.
    let is_known = !name.is_empty() && message.method().name().as_bytes() == name;
    truth(list.split(|b| *b == b'|').any(|wanted| {
        if wanted.len() < name.len() {
            return false;
        }
        let wanted = wanted.trim_ascii();
        wanted == name || is_known && wanted.eq_ignore_ascii_case(name)
    }))
}

fn is_present(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let value = site.text(0, call, heap);
    let Some(name) = heap.str(value) else {
        return NO;
    };
    truth(call.work.message.named(name).next().is_some())
}

/// The names of all fields as texts of the heap, for an expression to be tried on.
fn matching(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, at): (&CallSite, usize),
) -> Option<Vec<bool>> {
    let message = std::rc::Rc::clone(&call.work.message);
    let arg = site.arg(at)?;
    if matches!(arg, Arg::Text(_) | Arg::Format(_) | Arg::Computed(_)) {
        let pattern = text_of(call, heap, site, at)?;
        let regex = compile_regex(&pattern)?;
        let names = message.headers().map(|h| message.text(h.name_span));
        return Some(names.map(|name| regex.is_match(name)).collect());
    }
    let mut matches = Vec::with_capacity(message.headers().len());
    for header in message.headers() {
        let name = heap.text(message.text(header.name_span));
        matches.push(arg.is_match(call, heap, name)?);
    }
    Some(matches)
}

fn is_present_re(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    truth(matching(call, heap, (site, 0)).is_some_and(|m| m.contains(&true)))
}

fn remove(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let value = site.text(0, call, heap);
    let Some(name) = heap.str(value) else {
        return NO;
    };
    let work = &mut *call.work;
    let mut is_there = false;
    for header in work.message.named(name) {
        work.edits.remove(header.line);
        is_there = true;
    }
    truth(is_there)
}

fn remove_at(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (name, index) = (text_of(call, heap, site, 0), site.int(1, call, heap));
    let (Some(name), Some(index)) = (name, index) else {
        return NO;
    };
    let work = &mut *call.work;
    let lines: Vec<_> = work.message.named(&name).map(|h| h.line).collect();
    let place = match index {
        0.. => index,
        _ => lines.len() as i64 + index,
    };
    match usize::try_from(place).ok().and_then(|at| lines.get(at)) {
        Some(line) => {
            work.edits.remove(*line);
            YES
        }
        None => Outcome::Return(2),
    }
}

/// What `keep_hf` keeps besides what the expression names.
const KEPT: [HeaderName; 11] = [
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::MaxForwards,
    HeaderName::Contact,
    HeaderName::Route,
    HeaderName::RecordRoute,
];

/// The return code is the original's, which never is 1.
fn keep(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let named = matching(call, heap, (site, 0)).unwrap_or_default();
    let work = &mut *call.work;
    for (at, header) in work.message.headers().enumerate() {
        let is_named = named.get(at).copied().unwrap_or(false);
        if !is_named && !KEPT.contains(&header.name) {
            work.edits.remove(header.line);
        }
    }
    NO
}

fn remove_where(call: &mut Call<'_>, chosen: &[bool]) -> Outcome {
    let work = &mut *call.work;
    for (header, _) in work
        .message
        .headers()
        .zip(chosen)
        .filter(|(_, is_it)| **is_it)
    {
        work.edits.remove(header.line);
    }
    truth(chosen.contains(&true))
}

fn remove_re(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match matching(call, heap, (site, 0)) {
        Some(chosen) => remove_where(call, &chosen),
        None => NO,
    }
}

/// Removes what matches the first expression and not the second.
fn remove_except(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(mut chosen) = matching(call, heap, (site, 0)) else {
        return NO;
    };
    if let Some(kept) = matching(call, heap, (site, 1)) {
        chosen
            .iter_mut()
            .zip(kept)
            .for_each(|(is_it, is_kept)| *is_it &= !is_kept);
    }
    remove_where(call, &chosen)
}

fn remove_match(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let [Some(name), Some(operator), Some(text)] =
        [0, 1, 2].map(|index| text_of(call, heap, site, index))
    else {
        return NO;
    };
    let wanted = Comparison::of(&operator, &text).filter(|_| *operator != *b"sw");
    let Some(wanted) = wanted else {
        return NO;
    };
    let work = &mut *call.work;
    let mut is_there = false;
    for header in work.message.named(&name) {
        if wanted.holds(work.message.text(header.value)) {
            work.edits.remove(header.line);
            is_there = true;
        }
    }
    match is_there {
        true => YES,
        false => Outcome::Return(-2),
    }
}

fn append_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (before, behind) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(before), Some(behind)) = (before, behind) else {
        return NO;
    };
    let message = &call.work.message;
    if !message.is_request() {
        return NO;
    }
    let text = heap.string(&[&before[..], message.uri(), &behind].concat());
    let Some(line) = whole_line(heap, text) else {
        return NO;
    };
    let end = message.headers_end();
    call.work.edits.insert(end, heap.bytes(line));
    YES
}

/// The line of the first argument. It must be a whole one: anything else would corrupt what
/// stands behind it.
fn line(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<Text> {
    line_at(call, heap, site, 0)
}

/// The line of another argument.
pub(super) fn line_at(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    index: usize,
) -> Option<Text> {
    let text = site.text(index, call, heap);
    whole_line(heap, text)
}

fn whole_line(heap: &mut Heap, text: Value) -> Option<Text> {
    let Value::Str(line) = text else {
        return None;
    };
    let bytes = heap.bytes(line);
    if bytes.is_empty() || !bytes.contains(&b':') || has_empty_line(bytes) {
        return None;
    }
    if bytes.ends_with(b"\n") {
        return Some(line);
    }
    let end = heap.text(b"\r\n");
    match heap.concat(line, end) {
        Value::Str(line) => Some(line),
        Value::Null | Value::Int(_) => None,
    }
}

/// An empty line would end the header.
fn has_empty_line(text: &[u8]) -> bool {
    let is_empty = |end: usize| {
        let rest = &text[end + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    };
    memchr::memchr_iter(b'\n', text).any(is_empty)
}

fn append(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(line) = line(call, heap, site) else {
        return NO;
    };
    let value = site.text(1, call, heap);
    let message = &call.work.message;
    let behind = heap
        .str(value)
        .and_then(|name| message.named(name).next_back());
    let at = behind.map_or(message.headers_end(), |header| header.line.end);
    call.work.edits.insert(at, heap.bytes(line));
    YES
}

fn insert(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(line) = line(call, heap, site) else {
        return NO;
    };
    let value = site.text(1, call, heap);
    let message = &call.work.message;
    let before = heap.str(value).and_then(|name| message.named(name).next());
    let at = before.map_or(message.headers_start(), |header| header.line.start);
    call.work.edits.insert(at, heap.bytes(line));
    YES
}

fn append_to_reply(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(line) = line(call, heap, site) else {
        return NO;
    };
    call.work.reply_headers.extend_from_slice(heap.bytes(line));
    YES
}

/// RFC 3261 §20.17.
fn date(call: &Call<'_>) -> Vec<u8> {
    let mut line = vec![];
    let now = Moment::utc(call.env.now.wall.as_secs() as i64);
    now.format(b"Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &mut line);
    line
}

fn append_time(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let line = date(call);
    call.work.reply_headers.extend_from_slice(&line);
    YES
}

fn append_time_to_request(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let line = date(call);
    let end = call.work.message.headers_end();
    call.work.edits.insert(end, &line);
    YES
}

/// RFC 3323 §4.2: values between semicolons.
fn is_privacy(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let value = site.text(0, call, heap);
    let (Some(wanted), message) = (heap.str(value), &call.work.message) else {
        return NO;
    };
    let mut values = message
        .all(HeaderName::Privacy)
        .flat_map(|h| message.text(h.value).split(|b| matches!(b, b';' | b',')));
    truth(values.any(|v| v.trim_ascii().eq_ignore_ascii_case(wanted)))
}

fn search_hf(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (name, which) = (text_of(call, heap, site, 0), text_of(call, heap, site, 2));
    let (Some(name), Some(arg)) = (name, site.arg(1)) else {
        return NO;
    };
    let message = std::rc::Rc::clone(&call.work.message);
    let fields: Vec<_> = message.named(&name).collect();
    let chosen = match which.as_deref() {
        Some(b"f") => &fields[..fields.len().min(1)],
        Some(b"l") => &fields[fields.len().saturating_sub(1)..],
        _ => &fields[..],
    };
    for header in chosen {
        let text = heap.text(message.text(header.value));
        if arg.is_match(call, heap, text) == Some(true) {
            return YES;
        }
    }
    NO
}

/// RFC 3264 §8.4, and the address 0.0.0.0 of RFC 2543.
fn on_hold(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let lines = call
        .work
        .message
        .body()
        .split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let holds =
        |line: &[u8]| [&b"a=sendonly"[..], b"a=inactive", b"c=IN IP4 0.0.0.0"].contains(&line);
    truth(lines.into_iter().any(holds))
}
