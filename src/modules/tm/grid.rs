//! What the state machines of this module are written in: cells of a grid.

use std::fmt::{self, Debug, Write as _};

/// One cell: where an event leads from a state, and what is to be done on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell<S, A = Act> {
    /// The state afterwards.
    pub next: S,
    /// What is to be done.
    pub act: A,
}

/// The cell that leads there.
pub const fn to<S: Copy, A: Copy>(next: S, act: A) -> Cell<S, A> {
    Cell { next, act }
}

/// A set of things to do, performed in the order of the constants below.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Act(u16);

impl Act {
    /// The event is absorbed.
    pub const NOTHING: Act = Act(0);
    /// Send the new message and keep it as the one to repeat.
    pub const SEND: Act = Act(1);
    /// Send the new message without keeping it.
    pub const SEND_ONCE: Act = Act(1 << 1);
    /// Repeat what was sent last.
    pub const RESEND: Act = Act(1 << 2);
    /// The caller may not send this now; it is told so.
    pub const REFUSE: Act = Act(1 << 3);
    /// Hand the message on to the transaction's user: the script and the other side.
    pub const PASS: Act = Act(1 << 4);
    /// Acknowledge a failure response hop by hop (§17.1.1.3).
    pub const ACK: Act = Act(1 << 5);
    /// Ask the far end to give up (§9.1).
    pub const CANCEL: Act = Act(1 << 6);
    /// The user learns that no answer came: 408.
    pub const TIMEOUT: Act = Act(1 << 7);
    /// The user learns that the request could not be sent: 503, or the next address.
    pub const UNSENT: Act = Act(1 << 8);
    /// Stop repeating.
    pub const STOP_REPEAT: Act = Act(1 << 9);
    /// Stop waiting for the final response.
    pub const STOP_FINAL: Act = Act(1 << 10);
    /// Start or restart repeating, at twice the last interval (A, E, G; not on streams).
    pub const START_REPEAT: Act = Act(1 << 11);
    /// Restart waiting for the final response, for as long as a ringing phone may take.
    pub const START_FINAL: Act = Act(1 << 12);
    /// Start waiting for the ACK (H).
    pub const START_ACK: Act = Act(1 << 13);
    /// Start the time in which late messages are absorbed (D, I, J, K, L, M).
    pub const START_WAIT: Act = Act(1 << 14);

    const NAMES: [(Act, &'static str); 15] = [
        (Act::SEND, "send"),
        (Act::SEND_ONCE, "send once"),
        (Act::RESEND, "resend"),
        (Act::REFUSE, "refuse"),
        (Act::PASS, "pass"),
        (Act::ACK, "ack"),
        (Act::CANCEL, "cancel"),
        (Act::TIMEOUT, "timeout"),
        (Act::UNSENT, "unsent"),
        (Act::STOP_REPEAT, "-repeat"),
        (Act::STOP_FINAL, "-final"),
        (Act::START_REPEAT, "+repeat"),
        (Act::START_FINAL, "+final"),
        (Act::START_ACK, "+ack"),
        (Act::START_WAIT, "+wait"),
    ];

    /// Both.
    pub const fn and(self, other: Act) -> Act {
        Act(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    pub const fn has(self, other: Act) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_names(
            f,
            Act::NAMES
                .iter()
                .filter(|(a, _)| self.has(*a))
                .map(|(_, name)| *name),
        )
    }
}

/// The words of a set of things to do, as a cell shows them.
pub fn write_names(
    f: &mut fmt::Formatter<'_>,
    names: impl Iterator<Item = &'static str>,
) -> fmt::Result {
    let words: Vec<_> = names.collect();
    f.write_str(&if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    })
}

/// A grid as a Markdown table: a line per state, a column per event.
pub fn print<S, E, A>(
    title: &str,
    states: &[S],
    events: &[E],
    step: impl Fn(S, E) -> Cell<S, A>,
) -> String
where
    S: Copy + PartialEq + Debug,
    E: Copy + Debug,
    A: Debug,
{
    let mut rows = vec![vec![title.to_owned()]];
    rows[0].extend(events.iter().map(|e| format!("{e:?}")));
    for &state in states {
        let mut row = vec![format!("{state:?}")];
        row.extend(events.iter().map(|&event| {
            let Cell { next, act } = step(state, event);
            if next == state {
                format!("{act:?}")
            } else {
                format!("{next:?}: {act:?}")
            }
        }));
        rows.push(row);
    }
    let widths: Vec<usize> = (0..=events.len())
        .map(|c| rows.iter().map(|r| r[c].len()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for (n, row) in rows.iter().enumerate() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, w)| format!("{cell:w$}"));
        let line = cells.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(out, "| {line} |");
        if n == 0 {
            let rule = widths
                .iter()
                .map(|w| "-".repeat(*w))
                .collect::<Vec<_>>()
                .join(" | ");
            let _ = writeln!(out, "| {rule} |");
        }
    }
    out
}
