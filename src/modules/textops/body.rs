//! The body, and what makes changes real.

use std::rc::Rc;

use crate::effect::Level;
use crate::modules::entry::{NO, YES, function, optional, planned_function, text_of, truth};
use crate::modules::work::Work;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{Edits, HeaderName, Message, Span, Violation};

use super::ANY;

const TEXT: ParamKind = ParamKind::Text;

pub(super) const FUNCTIONS: [Function; 11] = [
    optional(
        function(
            "has_body",
            &[TEXT],
            ANY,
            (has_body, "Whether there is a body, of this type."),
        ),
        0,
    ),
    function(
        "set_body",
        &[TEXT, TEXT],
        ANY,
        (set_body, "Puts another body and its type."),
    ),
    planned_function(
        "set_reply_body",
        &[TEXT, TEXT],
        2,
        (ANY, "The body of replies of our own."),
    ),
    planned_function(
        "filter_body",
        &[TEXT],
        1,
        (ANY, "Keeps the part of this type."),
    ),
    planned_function(
        "append_body_part",
        &[TEXT, TEXT, TEXT],
        2,
        (ANY, "Adds a part."),
    ),
    planned_function(
        "get_body_part",
        &[TEXT, ParamKind::Output],
        2,
        (ANY, "Reads a part."),
    ),
    planned_function(
        "get_body_part_raw",
        &[TEXT, ParamKind::Output],
        2,
        (ANY, "Reads a part."),
    ),
    planned_function("remove_body_part", &[TEXT], 1, (ANY, "Takes a part away.")),
    planned_function(
        "set_multibody",
        &[TEXT, TEXT, TEXT],
        0,
        (ANY, "Makes a multipart body."),
    ),
    planned_function(
        "append_multibody_hf",
        &[TEXT, TEXT],
        1,
        (ANY, "Adds a field to a part."),
    ),
    planned_function(
        "regex_substring",
        &[
            TEXT,
            TEXT,
            ParamKind::Int,
            ParamKind::Int,
            ParamKind::Output,
        ],
        5,
        (ANY, "Reads a match."),
    ),
];

const CHANGEABLE: RouteKinds = RouteKinds::REQUEST.or(RouteKinds::REPLY);

pub(super) const X_FUNCTIONS: [Function; 15] = [
    function(
        "msg_apply_changes",
        &[],
        CHANGEABLE,
        (apply, "Makes the changes visible."),
    ),
    planned_function(
        "change_reply_status",
        &[ParamKind::Int, TEXT],
        2,
        (RouteKinds::ONREPLY, "Another status for the reply."),
    ),
    planned_function(
        "change_reply_status_code",
        &[ParamKind::Int],
        1,
        (RouteKinds::ONREPLY, "Another status for the reply."),
    ),
    function(
        "remove_body",
        &[],
        ANY,
        (remove_body, "Takes the body away."),
    ),
    planned_function("keep_hf", &[TEXT], 0, (ANY, "Removes all other fields.")),
    planned_function(
        "hf_value_exists",
        &[TEXT, TEXT],
        2,
        (ANY, "Whether a list field has a value."),
    ),
    planned_function(
        "fnmatch",
        &[TEXT, TEXT, TEXT],
        2,
        (ANY, "Matches a shell pattern."),
    ),
    planned_function(
        "append_hf_value",
        &[TEXT, TEXT],
        2,
        (ANY, "Adds a value to a field."),
    ),
    planned_function(
        "insert_hf_value",
        &[TEXT, TEXT],
        2,
        (ANY, "Adds a value to a field."),
    ),
    planned_function(
        "remove_hf_value",
        &[TEXT],
        1,
        (ANY, "Takes a value from a field."),
    ),
    planned_function(
        "remove_hf_value2",
        &[TEXT],
        1,
        (ANY, "Takes a value from a field."),
    ),
    planned_function(
        "assign_hf_value",
        &[TEXT, TEXT],
        2,
        (ANY, "Puts a value into a field."),
    ),
    planned_function(
        "assign_hf_value2",
        &[TEXT, TEXT],
        2,
        (ANY, "Puts a value into a field."),
    ),
    planned_function(
        "include_hf_value",
        &[TEXT, TEXT],
        2,
        (ANY, "Adds a value that is not there."),
    ),
    planned_function(
        "exclude_hf_value",
        &[TEXT, TEXT],
        2,
        (ANY, "Takes a value away."),
    ),
];

fn has_body(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let wanted = text_of(call, heap, site, 0);
    let message = &call.work.message;
    if message.body().is_empty() {
        return NO;
    }
    let Some(wanted) = wanted.filter(|w| !w.is_empty()) else {
        return YES;
    };
    let header = message.first(HeaderName::ContentType);
    let kind = header.map_or(&b""[..], |h| message.text(h.value));
    let kind = kind
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    truth(kind.eq_ignore_ascii_case(&wanted))
}

fn set_body(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (body, kind) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(body), Some(kind)) = (body, kind) else {
        return NO;
    };
    if kind.is_empty() || kind.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return NO;
    }
    set_body_of(call.work, &body, &kind);
    YES
}

/// Puts another body and its type in place.
pub fn set_body_of(work: &mut Work, body: &[u8], kind: &[u8]) {
    let message = &work.message;
    match message.body().is_empty() {
        // What is inserted stays; what replaces the empty line can be replaced again.
        true => work
            .edits
            .replace(blank(message), &[b"\r\n", body].concat()),
        false => work.edits.replace(message.body_span(), body),
    }
    fit(work, Some(kind));
}

fn remove_body(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let work = &mut *call.work;
    if work.message.body().is_empty() {
        return NO;
    }
    work.edits.remove(work.message.body_span());
    for header in work.message.all(HeaderName::ContentType) {
        work.edits.remove(header.line);
    }
    fit_length(work);
    YES
}

/// Makes Content-Length say how long the body will be with all changes made (RFC 3261 §20.14).
pub fn fit_length(work: &mut Work) {
    fit(work, None);
}

/// The same, with a type for the body. Fields that the message lacks are written in place of the
/// empty line, so that a later change of the body replaces them.
fn fit(work: &mut Work, kind: Option<&[u8]>) {
    let message = Rc::clone(&work.message);
    let mut out = vec![];
    work.edits.apply(message.bytes(), &mut out);
    let Some(end) = memchr::memmem::find(&out, b"\r\n\r\n") else {
        return;
    };
    let length = (out.len() - end - 4).to_string();
    let mut lines = vec![];
    match (message.first(HeaderName::ContentType), kind) {
        (Some(header), Some(kind)) => work.edits.replace(header.value, kind),
        (Some(_), None) => {}
        (None, Some(kind)) => lines = [b"Content-Type: ", kind, b"\r\n"].concat(),
        (None, None) => {
            if let Ok(head) = Message::parse(&out[..end + 4])
                && let Some(header) = head.first(HeaderName::ContentType)
            {
                lines.extend_from_slice(head.text(header.line));
            }
        }
    }
    match message.first(HeaderName::ContentLength) {
        Some(header) => work.edits.replace(header.value, length.as_bytes()),
        None => lines.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes()),
    }
    let is_bodiless = message.body().is_empty();
    if !lines.is_empty() || is_bodiless {
        lines.extend_from_slice(b"\r\n");
        if is_bodiless {
            lines.extend_from_slice(&out[end + 4..]);
        }
        work.edits.replace(blank(&message), &lines);
    }
}

/// The empty line.
fn blank(message: &Message) -> Span {
    Span {
        start: message.headers_end(),
        end: message.body_span().start,
    }
}

/// From here on the changed message is the one that was received.
fn apply(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if call.work.transaction.is_some() {
        // The transaction repeats and answers what it was opened with.
        call.env.log(
            Level::Err,
            "msg_apply_changes() after the transaction was opened",
        );
        return NO;
    }
    let work = &mut *call.work;
    if let Some(uri) = &work.target.uri
        && work.message.is_request()
    {
        work.edits.replace(work.message.uri_span(), uri);
    }
    let mut out = Vec::with_capacity(work.message.bytes().len() + 64);
    work.edits.apply(work.message.bytes(), &mut out);
    match Message::parse(&out) {
        Ok(message) if message.violation().is_none() => {
            work.message = Rc::new(message);
            work.edits = Edits::new();
            work.max_forwards = None;
            YES
        }
        Ok(message) => {
            let name = message.violation().map_or("", Violation::name);
            call.env
                .log(Level::Err, format!("msg_apply_changes(): {name}"));
            NO
        }
        Err(error) => {
            call.env
                .log(Level::Err, format!("msg_apply_changes(): {}", error.name()));
            NO
        }
    }
}
