//! The body, and what makes changes real.

use std::rc::Rc;

use crate::effect::Level;
use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::work::Work;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{Edits, HeaderName, Message, Span};

use super::ANY;

const TEXT: ParamKind = ParamKind::Text;

pub(super) const FUNCTIONS: [Function; 2] = [
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
];

const CHANGEABLE: RouteKinds = RouteKinds::REQUEST.or(REPLIES);

const REPLIES: RouteKinds = RouteKinds::ONREPLY.or(RouteKinds::REPLY);

pub(super) const X_FUNCTIONS: [Function; 5] = [
    function(
        "msg_apply_changes",
        &[],
        CHANGEABLE,
        (apply, "Makes the changes visible."),
    ),
    function(
        "msg_set_buffer",
        &[TEXT],
        CHANGEABLE,
        (set_buffer, "Puts another message in place."),
    ),
    function(
        "change_reply_status",
        &[ParamKind::Int, TEXT],
        REPLIES,
        (change_status, "Another status for the reply."),
    ),
    function(
        "change_reply_status_code",
        &[ParamKind::Int],
        REPLIES,
        (
            change_status,
            "Another status for the reply, the phrase stays.",
        ),
    ),
    function(
        "remove_body",
        &[],
        ANY,
        (remove_body, "Takes the body away."),
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

/// Content-Type stays, as in the original.
fn remove_body(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let work = &mut *call.work;
    if !work.message.body().is_empty() {
        work.edits.remove(work.message.body_span());
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
    put(call, &out)
}

fn set_buffer(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    if call.work.transaction.is_some() {
        let text = "msg_set_buffer() after the transaction was opened";
        call.env.log(Level::Err, text);
        return NO;
    }
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let is_request = call.work.message.is_request();
    if text.starts_with(b"SIP/2.0 ") == is_request {
        let text = "msg_set_buffer(): a request stays a request, a reply a reply";
        call.env.log(Level::Err, text);
        return NO;
    }
    put(call, &text)
}

/// Puts another message in place of the one at work, and forgets what was changed in that.
fn put(call: &mut Call<'_>, bytes: &[u8]) -> Outcome {
    let reason = match Message::parse(bytes) {
        Ok(message) => match message.violation() {
            None => {
                call.work.message = Rc::new(message);
                call.work.edits = Edits::new();
                call.work.max_forwards = None;
                return YES;
            }
            Some(violation) => violation.name(),
        },
        Err(error) => error.name(),
    };
    let text = format!("the message cannot be used as it would be: {reason}");
    call.env.log(Level::Err, text);
    NO
}

/// A reply keeps its class, but for failures, which may become others.
fn change_status(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let code = site.int(0, call, heap).filter(|n| (100..700).contains(n));
    let reason = match site.arg(1) {
        Some(_) => text_of(call, heap, site, 1),
        None => Some(call.work.message.reason().into()),
    };
    let reason = reason.filter(|r| !r.iter().any(|b| matches!(b, b'\r' | b'\n')));
    let (Some(code), Some(reason)) = (code.map(|n| n as u16), reason) else {
        return NO;
    };
    let work = &mut *call.work;
    let is_failure = |status: u16| status >= 300;
    let old = work.message.status();
    let fits = old / 100 == code / 100 || is_failure(old) && is_failure(code);
    if work.message.is_request() || !fits {
        let text = format!("a reply {old} cannot become {code}");
        call.env.log(Level::Err, text);
        return NO;
    }
    let line = [format!("SIP/2.0 {code} ").as_bytes(), &reason, b"\r\n"].concat();
    work.edits.replace(work.message.start_line_span(), &line);
    work.status = Some(code);
    YES
}
