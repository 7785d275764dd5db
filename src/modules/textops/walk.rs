//! `textopsx`: walks over the header fields of a message and over the lines of its body.
//!
//! A walk has a name, begins before the first item, and sees the message as it was received:
//! what is removed or added on the way changes what is sent. At most
//! [`ITERATOR_COUNT_MAX`] of each kind are open at a time, for one message.

use std::rc::Rc;

use crate::effect::Level;
use crate::limits::ITERATOR_COUNT_MAX;
use crate::modules::entry::{NO, YES, function, keyed, some, text_of, truth};
use crate::modules::work::Bytes;
use crate::modules::{Call, Function, Variable};
use crate::script::{Access, CallSite, Heap, InnerKind, Outcome, ParamKind, Value};
use crate::sip::{Header, Message, Span};

use super::ANY;
use super::body::fit_length;
use super::field::line_at;

const TEXT: ParamKind = ParamKind::Text;

pub(super) const FUNCTIONS: [Function; 13] = [
    function(
        "hf_iterator_start",
        &[TEXT],
        ANY,
        (
            |c, h, s| begin(c, h, s, |walks| &mut walks.fields),
            "Begins a walk over the header fields.",
        ),
    ),
    function(
        "hf_iterator_next",
        &[TEXT],
        ANY,
        (next_field, "Goes to the next field."),
    ),
    function(
        "hf_iterator_prev",
        &[TEXT],
        ANY,
        (previous_field, "Goes back by one field."),
    ),
    function(
        "hf_iterator_end",
        &[TEXT],
        ANY,
        (
            |c, h, s| end(c, h, s, |walks| &mut walks.fields),
            "Ends a walk.",
        ),
    ),
    function(
        "hf_iterator_rm",
        &[TEXT],
        ANY,
        (remove_field, "Removes the field that the walk is at."),
    ),
    function(
        "hf_iterator_append",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| add_field(c, h, s, |at| at.end),
            "Adds lines behind it.",
        ),
    ),
    function(
        "hf_iterator_insert",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| add_field(c, h, s, |at| at.start),
            "Adds lines before it.",
        ),
    ),
    function(
        "bl_iterator_start",
        &[TEXT],
        ANY,
        (
            |c, h, s| begin(c, h, s, |walks| &mut walks.lines),
            "Begins a walk over the lines of the body.",
        ),
    ),
    function(
        "bl_iterator_next",
        &[TEXT],
        ANY,
        (next_line, "Goes to the next line."),
    ),
    function(
        "bl_iterator_end",
        &[TEXT],
        ANY,
        (
            |c, h, s| end(c, h, s, |walks| &mut walks.lines),
            "Ends a walk.",
        ),
    ),
    function(
        "bl_iterator_rm",
        &[TEXT],
        ANY,
        (remove_line, "Removes the line that the walk is at."),
    ),
    function(
        "bl_iterator_append",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| add_text(c, h, s, |at| at.end),
            "Adds text behind it.",
        ),
    ),
    function(
        "bl_iterator_insert",
        &[TEXT, TEXT],
        ANY,
        (
            |c, h, s| add_text(c, h, s, |at| at.start),
            "Adds text before it.",
        ),
    ),
];

pub(super) const VARIABLES: [Variable; 3] = [
    keyed(
        "hfitname",
        InnerKind::Name,
        |c, h, a| field_part(c, h, a, |header| header.name_span),
        "The name of the field that a walk is at.",
    ),
    keyed(
        "hfitbody",
        InnerKind::Name,
        |c, h, a| field_part(c, h, a, |header| header.value),
        "The value of the field that a walk is at.",
    ),
    keyed(
        "blitval",
        InnerKind::Name,
        line_value,
        "The line that a walk is at, its end included.",
    ),
];

/// Where a walk is: before the first item, at one, or behind the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place<T> {
    Before,
    At(T),
    Behind,
}

#[derive(Debug)]
struct Walk<T> {
    name: Bytes,
    place: Place<T>,
    /// Ended walks give way to others; until then their names go on to be known.
    is_open: bool,
}

/// The walks over one message.
#[derive(Debug, Default)]
pub struct Walks {
    /// Each at the number of a field.
    fields: Vec<Walk<usize>>,
    /// Each at a line.
    lines: Vec<Walk<Span>>,
}

fn find<'a, T>(walks: &'a mut [Walk<T>], name: &[u8]) -> Option<&'a mut Walk<T>> {
    walks.iter_mut().find(|walk| *walk.name == *name)
}

/// False: there are too many.
fn start<T>(walks: &mut Vec<Walk<T>>, name: Bytes) -> bool {
    let known = walks.iter().position(|walk| walk.name == name);
    let known = known.or_else(|| match walks.len() < ITERATOR_COUNT_MAX {
        true => None,
        false => walks.iter().position(|walk| !walk.is_open),
    });
    let new = Walk {
        name,
        place: Place::Before,
        is_open: true,
    };
    match known {
        Some(at) => walks[at] = new,
        None if walks.len() < ITERATOR_COUNT_MAX => walks.push(new),
        None => return false,
    }
    true
}

fn too_many(call: &mut Call<'_>, name: &[u8]) -> Outcome {
    let name = String::from_utf8_lossy(name);
    let text = format!("no iterator \"{name}\": {ITERATOR_COUNT_MAX} are open");
    call.env.log(Level::Err, text);
    NO
}

/// The walks of one kind.
type Kind<T> = fn(&mut Walks) -> &mut Vec<Walk<T>>;

fn begin<T>(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind<T>) -> Outcome {
    let Some(name) = text_of(call, heap, site, 0) else {
        return NO;
    };
    match start(kind(&mut call.work.walks), Rc::clone(&name)) {
        true => YES,
        false => too_many(call, &name),
    }
}

fn end<T>(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, kind: Kind<T>) -> Outcome {
    let Some(name) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let walk = find(kind(&mut call.work.walks), &name);
    let is_known = walk.is_some();
    if let Some(walk) = walk {
        (walk.place, walk.is_open) = (Place::Before, false);
    }
    truth(is_known)
}

fn next_field(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let count = call.work.message.headers().len();
    let Some(walk) = find(&mut call.work.walks.fields, &name) else {
        return NO;
    };
    let next = match walk.place {
        Place::Before => 0,
        Place::At(n) => n + 1,
        Place::Behind => count,
    };
    walk.place = match next < count {
        true => Place::At(next),
        false => Place::Behind,
    };
    truth(next < count)
}

/// Before the first field there is a place without one, and behind the last there is no way back.
fn previous_field(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let Some(walk) = find(&mut call.work.walks.fields, &name) else {
        return NO;
    };
    walk.place = match walk.place {
        Place::Behind => return NO,
        Place::Before | Place::At(0) => Place::Before,
        Place::At(n) => Place::At(n - 1),
    };
    YES
}

/// What a walk is at.
fn at<T: Copy>(walks: &mut [Walk<T>], name: &[u8]) -> Option<T> {
    match find(walks, name)?.place {
        Place::At(item) => Some(item),
        Place::Before | Place::Behind => None,
    }
}

/// The field that the walk is at.
fn field(call: &mut Call<'_>, name: &[u8]) -> Option<Header> {
    let n = at(&mut call.work.walks.fields, name)?;
    call.work.message.headers().nth(n)
}

fn field_part(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    part: fn(Header) -> Span,
) -> Value {
    let found = field(call, heap.bytes(access.key.text()));
    let text = found.map(|header| call.work.message.text(part(header)));
    some(heap, text)
}

fn remove_field(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let found = field(call, &name);
    if let Some(header) = found {
        call.work.edits.remove(header.line);
    }
    truth(found.is_some())
}

fn add_field(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    place: fn(Span) -> u16,
) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let (Some(header), Some(lines)) = (field(call, &name), line_at(call, heap, site, 1)) else {
        return NO;
    };
    call.work
        .edits
        .insert(place(header.line), heap.bytes(lines));
    YES
}

/// The line of the body that begins there; `None` at its end.
fn line_from(message: &Message, start: u16) -> Option<Span> {
    let end = message.body_span().end;
    let rest = Span { start, end }.of(message.bytes());
    let size = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    let start = usize::from(start);
    (size > 0).then(|| Span::new(start, start + size))
}

fn next_line(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let work = &mut *call.work;
    let Some(walk) = find(&mut work.walks.lines, &name) else {
        return NO;
    };
    let next = match walk.place {
        Place::Before => line_from(&work.message, work.message.body_span().start),
        Place::At(line) => line_from(&work.message, line.end),
        Place::Behind => None,
    };
    walk.place = next.map_or(Place::Behind, Place::At);
    truth(next.is_some())
}

/// The line that the walk is at.
fn line(call: &mut Call<'_>, name: &[u8]) -> Option<Span> {
    at(&mut call.work.walks.lines, name)
}

fn line_value(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let found = line(call, heap.bytes(access.key.text()));
    let text = found.map(|line| call.work.message.text(line));
    some(heap, text)
}

fn remove_line(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let Some(line) = line(call, &name) else {
        return NO;
    };
    call.work.edits.remove(line);
    fit_length(call.work);
    YES
}

fn add_text(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    place: fn(Span) -> u16,
) -> Outcome {
    let name = text_of(call, heap, site, 0).unwrap_or_default();
    let (Some(line), Some(text)) = (line(call, &name), text_of(call, heap, site, 1)) else {
        return NO;
    };
    call.work.edits.insert(place(line), &text);
    fit_length(call.work);
    YES
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run};

    #[test]
    fn an_ended_walk_gives_way_to_another() {
        let ran = run(
            "$var(i) = 0; while ($var(i) < 5) {
                 $var(r) = hf_iterator_start(\"h$var(i)\");
                 $var(s) = bl_iterator_start(\"b$var(i)\");
                 $var(i) = $var(i) + 1; }
             xlog(\"$var(r) $var(s)\");
             hf_iterator_end(\"h1\"); $var(r) = hf_iterator_start(\"h4\");
             bl_iterator_end(\"b1\"); $var(s) = bl_iterator_start(\"b4\");
             xlog(\"$var(r) $var(s)\");
             $var(r) = hf_iterator_next(\"h1\"); $var(s) = bl_iterator_next(\"b1\");
             xlog(\"$var(r) $var(s)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["-1 -1", "1 1", "-1 -1"]);
    }

    #[test]
    fn a_walk_survives_another_message_in_place() {
        let ran = run(
            "hf_iterator_start(\"h\"); bl_iterator_start(\"b\");
             while (hf_iterator_next(\"h\") && $hfitname(h) != \"Content-Length\") { $var(i) = 1; }
             bl_iterator_next(\"b\"); bl_iterator_next(\"b\");
             remove_body(); remove_hf_re(\"^[RXU]\"); msg_apply_changes();
             $var(r) = bl_iterator_next(\"b\"); $var(s) = hf_iterator_rm(\"h\");
             xlog(\"$var(r) $var(s) $hfitname(h) $blitval(b)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["-1 -1 <null> <null>"]);
    }

    #[test]
    fn what_would_break_the_header_is_not_added() {
        let ran = run(
            "hf_iterator_start(\"h\"); hf_iterator_next(\"h\"); hf_iterator_next(\"h\");
             $var(r) = hf_iterator_append(\"h\", \"no field\");
             $var(s) = hf_iterator_insert(\"h\", \"A: 1\\r\\n\\r\\nB: 2\\r\\n\");
             xlog(\"$var(r) $var(s)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["-1 -1"]);
        assert_eq!(ran.difference(INVITE), [""; 0]);
    }
}
