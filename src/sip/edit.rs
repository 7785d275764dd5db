//! Changes to a message as spans and texts, applied once when it leaves.
//!
//! ```text
//!  original   INVITE sip:a@b SIP/2.0 CRLF Via: ... CRLF Route: <p1> CRLF ...
//!  edits             replace──────┘       ▲ insert      remove───────────┘
//! ```
//!
//! Edits speak of the original bytes, never of each other's result, so their order only matters
//! where they meet: insertions at one place stand in the order of the calls, and of two
//! replacements of the same span the later wins. What lies inside of a removed or replaced span
//! vanishes; insertions at its borders stay. What no edit names is copied as it is.
//!
//! Costs: two vectors that are kept between uses; an edit is 12 bytes and its text. The list is
//! kept in order of place, which costs nothing for edits that come in that order.

use super::span::Span;

/// A set of changes to one message.
#[derive(Default, Debug)]
pub struct Edits {
    /// In the order in which [`Edits::apply`] meets them.
    list: Vec<Edit>,
    /// The texts of all of them.
    texts: Vec<u8>,
}

impl Clone for Edits {
    fn clone(&self) -> Edits {
        Edits {
            list: self.list.clone(),
            texts: self.texts.clone(),
        }
    }

    /// Copies into the memory that is there.
    fn clone_from(&mut self, other: &Edits) {
        self.list.clone_from(&other.list);
        self.texts.clone_from(&other.texts);
    }
}

/// The memory in which messages that leave are put together, kept from one to the next.
#[derive(Default, Debug)]
pub struct Press {
    /// The changes to what came in.
    pub edits: Edits,
    /// Lines that are put in.
    pub lines: Vec<u8>,
    /// The message as it leaves.
    pub out: Vec<u8>,
}

impl Press {
    /// Forgets what was put together last.
    pub fn clear(&mut self) {
        self.edits.clear();
        self.lines.clear();
        self.out.clear();
    }
}

#[derive(Clone, Copy, Debug)]
struct Edit {
    span: Span,
    text_start: u32,
    text_end: u32,
}

impl Edit {
    /// Whether `self` is met before `newer`, which was asked for later. At one place: insertions
    /// first, in the order of the calls; then the longest replacement, of equals the newest.
    fn precedes(&self, newer: Span) -> bool {
        let (old, new) = (self.span, newer);
        if old.start != new.start {
            return old.start < new.start;
        }
        old.is_empty() || !new.is_empty() && old.end > new.end
    }
}

impl Edits {
    /// No changes.
    pub const fn new() -> Edits {
        Edits {
            list: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Forgets all changes; the memory stays.
    pub fn clear(&mut self) {
        self.list.clear();
        self.texts.clear();
    }

    /// Whether there is no change.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts `text` in place of `span`; of an empty span, before it.
    pub fn replace(&mut self, span: Span, text: &[u8]) {
        let span = match span.is_empty() {
            true => Span::at(span.start),
            false => span,
        };
        if span.is_empty() && text.is_empty() {
            return;
        }
        let (text_start, text_end) = (self.texts.len(), self.texts.len() + text.len());
        let (Ok(text_start), Ok(text_end)) = (u32::try_from(text_start), u32::try_from(text_end))
        else {
            // Four gigabytes of changes to a message of 64 kilobytes: it cannot be sent anyway.
            return;
        };
        self.texts.extend_from_slice(text);
        let edit = Edit {
            span,
            text_start,
            text_end,
        };
        if self.list.last().is_none_or(|last| last.precedes(span)) {
            return self.list.push(edit);
        }
        let place = self.list.partition_point(|edit| edit.precedes(span));
        self.list.insert(place, edit);
    }

    /// Takes `span` out.
    pub fn remove(&mut self, span: Span) {
        self.replace(span, &[]);
    }

    /// Puts `text` before the byte at `at`, behind what was inserted there before.
    pub fn insert(&mut self, at: u16, text: &[u8]) {
        self.replace(Span::at(at), text);
    }

    /// Adds all changes of `other`, as if they were asked for now.
    pub fn extend_from(&mut self, other: &Edits) {
        for edit in other.list.iter().filter(|edit| edit.span.is_empty()) {
            self.replace(edit.span, other.text(edit));
        }
        // Of equal spans the newest stands first, so the oldest is added first.
        for edit in other.list.iter().filter(|edit| !edit.span.is_empty()).rev() {
            self.replace(edit.span, other.text(edit));
        }
    }

    /// Appends the changed message to `out`. Places beyond the end of `original` count as its end.
    pub fn apply(&self, original: &[u8], out: &mut Vec<u8>) {
        out.reserve(original.len() + self.texts.len());
        // Bytes before `done` have been copied or dropped.
        let mut done = 0;
        for edit in &self.list {
            let start = usize::from(edit.span.start).min(original.len());
            let end = usize::from(edit.span.end).min(original.len());
            if start >= done {
                out.extend_from_slice(&original[done..start]);
                out.extend_from_slice(self.text(edit));
            }
            done = done.max(end);
        }
        out.extend_from_slice(&original[done..]);
    }

    fn text(&self, edit: &Edit) -> &[u8] {
        &self.texts[edit.text_start as usize..edit.text_end as usize]
    }
}

/// Draws edits from the bytes and holds the result against a rebuild byte by byte.
pub fn fuzz_edits(data: &[u8]) {
    let (original, plan) = data.split_at(data.len() / 2);
    let mut edits = Edits::new();
    let mut wishes = vec![];
    for (n, step) in plan.chunks_exact(3).enumerate().take(64) {
        let place = |b: u8| usize::from(b) % (original.len() + 1);
        let (a, b) = (place(step[0]), place(step[1]));
        let span = Span::new(a.min(b), a.max(b));
        let text = format!("[{n}]");
        let text = &text.as_bytes()[..usize::from(step[2] % 4).min(text.len())];
        edits.replace(span, text);
        wishes.push((span, text.to_vec()));
    }
    let mut out = vec![];
    edits.apply(original, &mut out);
    assert_eq!(out, rebuild(original, &wishes), "{wishes:?}");
    let mut twice = Edits::new();
    twice.extend_from(&edits);
    let mut again = vec![];
    twice.apply(original, &mut again);
    assert_eq!(again, out, "a copy of the edits does something else");
}

/// The obviously correct [`Edits::apply`]: for each place what stands there.
fn rebuild(original: &[u8], wishes: &[(Span, Vec<u8>)]) -> Vec<u8> {
    let is_cut = |at: usize| {
        wishes
            .iter()
            .any(|(s, _)| usize::from(s.start) <= at && at < usize::from(s.end))
    };
    let is_inside = |at: u16| wishes.iter().any(|(s, _)| s.start < at && at < s.end);
    let mut out = vec![];
    for at in 0..=original.len() {
        let here = at as u16;
        let starting = || {
            wishes
                .iter()
                .filter(|(s, _)| s.start == here && !is_inside(here))
        };
        for (_, text) in starting().filter(|(span, _)| span.is_empty()) {
            out.extend_from_slice(text);
        }
        let cuts = starting().filter(|(span, _)| !span.is_empty());
        if let Some((_, text)) = cuts.max_by_key(|(span, _)| span.end) {
            out.extend_from_slice(text);
        }
        if at < original.len() && !is_cut(at) {
            out.push(original[at]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn edits_meet_as_promised() {
        type Row = (&'static [(u16, u16, &'static str)], &'static str);
        let table: [Row; 18] = [
            (&[], "0123456789"),
            (&[(2, 5, "x")], "01x56789"),
            (&[(2, 5, "")], "0156789"),
            (&[(0, 10, "")], ""),
            (&[(3, 3, "a"), (3, 3, "b")], "012ab3456789"),
            (&[(10, 10, "a"), (0, 0, "b")], "b0123456789a"),
            (&[(5, 6, "y"), (2, 3, "x")], "01x34y6789"),
            // The later of two replacements of one span wins.
            (&[(2, 5, "x"), (2, 5, "y")], "01y56789"),
            (&[(2, 5, "x"), (2, 5, "")], "0156789"),
            // What lies inside vanishes, insertions at the borders stay.
            (&[(2, 6, "x"), (3, 4, "y"), (4, 4, "z")], "01x6789"),
            (&[(3, 4, "y"), (2, 6, "")], "016789"),
            (&[(2, 2, "a"), (2, 6, "x"), (6, 6, "b")], "01axb6789"),
            (&[(2, 6, "x"), (2, 2, "a")], "01ax6789"),
            (&[(2, 4, "y"), (2, 6, "x")], "01x6789"),
            // Overlaps lose the later text and the bytes of both.
            (&[(2, 5, "x"), (4, 8, "y")], "01x89"),
            (&[(2, 5, "x"), (5, 8, "y"), (5, 5, "i")], "01xiy89"),
            // Beyond the end is the end; an upside-down span is a place.
            (&[(8, 40, "x"), (50, 60, "y")], "01234567xy"),
            (&[(5, 2, "x")], "01234x56789"),
        ];
        for (list, want) in table {
            let (mut edits, mut out) = (Edits::new(), b">".to_vec());
            for (start, end, text) in list {
                edits.replace(
                    Span {
                        start: *start,
                        end: *end,
                    },
                    text.as_bytes(),
                );
            }
            edits.apply(b"0123456789", &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!(">{want}"),
                "{list:?}"
            );
        }
    }

    #[test]
    fn edits_are_a_rebuild() {
        let mut rng = Rng::new(5);
        for _ in 0..4_000 {
            let data: Vec<u8> = (0..rng.below(120)).map(|_| rng.next_u64() as u8).collect();
            fuzz_edits(&data);
        }
    }

    #[test]
    fn later_sets_come_later_and_clearing_forgets() {
        let (mut first, mut second, mut out) = (Edits::new(), Edits::new(), vec![]);
        first.insert(1, b"a");
        first.replace(Span { start: 2, end: 3 }, b"x");
        second.insert(1, b"b");
        second.replace(Span { start: 2, end: 3 }, b"y");
        first.extend_from(&second);
        first.apply(b"012", &mut out);
        assert_eq!(out, b"0ab1y");
        first.clear();
        assert!(first.is_empty());
        out.clear();
        first.apply(b"012", &mut out);
        assert_eq!(out, b"012");
    }
}
