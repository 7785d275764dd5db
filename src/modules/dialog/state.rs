//! The state machine of a dialog: a complete grid of event by state.
//!
//! The grid knows no message, no timer and no script: a cell says the next state and what is to
//! be done, [`super::life`] does it. Every cell is written, every cell is executed by a test, and
//! the grid is printed into the documentation by [`print`].
//!
//! ```text
//!   unconfirmed ─1xx─▶ early ─2xx─▶ confirmed_na ─ACK─▶ confirmed
//!        │               │               │                  │
//!        └──── 300+, or no final answer ─┴─ BYE or expiry ──┴──▶ deleted ──▶ removed
//! ```
//!
//! Where the races of RFC 5407 end: a BYE that crosses a BYE and an ACK that comes after a BYE
//! find `deleted` and change nothing (§3.1, §3.2); a BYE in an early dialog (§3.1.4 of RFC 5407,
//! RFC 3261 §15) is answered by the 487 that follows it, not by the BYE; a 2xx that crosses the
//! CANCEL confirms the dialog, since it is what both ends will believe (§3.1.2).

use crate::modules::tm::grid::{self, Cell, to};

/// Where a dialog stands; the numbers are those of listings and of the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// The INVITE has been seen, and nothing but 100 so far.
    Unconfirmed = 1,
    /// A provisional response other than 100 went to the caller.
    Early = 2,
    /// A 2xx went to the caller; its ACK has not been seen.
    ConfirmedNa = 3,
    /// The ACK has been seen.
    Confirmed = 4,
    /// The call is over; the record absorbs what is late.
    Deleted = 5,
}

/// What can happen to a dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A provisional response other than 100 goes to the caller.
    Provisional,
    /// A 2xx goes to the caller.
    Success,
    /// A final response of 300 and more goes to the caller.
    Failure,
    /// An ACK in the dialog.
    Ack,
    /// A BYE in the dialog.
    Bye,
    /// A PRACK in the dialog (RFC 3262).
    Prack,
    /// Any other request in the dialog.
    Request,
    /// `early_timeout`: there was no final response.
    EarlyTimeout,
    /// `noack_timeout`: there was no ACK.
    NoAckTimeout,
    /// The lifetime is over.
    Expiry,
    /// BYEs of our own have gone to one side or both.
    HangUp,
    /// Nothing late is to be expected any more: the transaction that ended the dialog is gone, or
    /// `end_timeout` is over.
    Rest,
}

/// All states, in the order of the grid's rows.
pub const STATES: [State; 5] = [
    State::Unconfirmed,
    State::Early,
    State::ConfirmedNa,
    State::Confirmed,
    State::Deleted,
];

/// All events, in the order of the grid's columns.
pub const EVENTS: [Event; 12] = [
    Event::Provisional,
    Event::Success,
    Event::Failure,
    Event::Ack,
    Event::Bye,
    Event::Prack,
    Event::Request,
    Event::EarlyTimeout,
    Event::NoAckTimeout,
    Event::Expiry,
    Event::HangUp,
    Event::Rest,
];

/// A set of things to do, performed in the order of the constants below.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Act(u16);

impl Act {
    /// The event is absorbed.
    pub const NOTHING: Act = Act(0);
    /// The event is out of place; a line in the log says so.
    pub const ODD: Act = Act(1);
    /// The call rings: observers learn it.
    pub const RING: Act = Act(1 << 1);
    /// The call is answered: the callee's leg is filled, the lifetime begins, `dialog:start`.
    pub const START: Act = Act(1 << 2);
    /// The answer is acknowledged: the lifetime begins anew.
    pub const CONFIRM: Act = Act(1 << 3);
    /// A PRACK belongs to the call's set-up: the CSeq of the caller is ahead of the INVITE's.
    pub const PRACKED: Act = Act(1 << 4);
    /// Lifetime and flow follow the request.
    pub const FOLLOW: Act = Act(1 << 5);
    /// Ten more seconds to live.
    pub const SHORTEN: Act = Act(1 << 6);
    /// The call came to nothing: memberships go, `dialog:failed`.
    pub const FAIL: Act = Act(1 << 7);
    /// The call is over: memberships go, `dialog:end`.
    pub const END: Act = Act(1 << 8);
    /// The record goes, once the event route has seen it.
    pub const REMOVE: Act = Act(1 << 9);

    const NAMES: [(Act, &'static str); 10] = [
        (Act::ODD, "odd"),
        (Act::RING, "ring"),
        (Act::START, "start"),
        (Act::CONFIRM, "confirm"),
        (Act::PRACKED, "pracked"),
        (Act::FOLLOW, "follow"),
        (Act::SHORTEN, "shorten"),
        (Act::FAIL, "fail"),
        (Act::END, "end"),
        (Act::REMOVE, "remove"),
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

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        grid::write_names(
            f,
            Act::NAMES
                .iter()
                .filter(|(a, _)| self.has(*a))
                .map(|(_, n)| *n),
        )
    }
}

type Row = [Cell<State, Act>; EVENTS.len()];

use State::{Confirmed, ConfirmedNa, Deleted, Early, Unconfirmed};

const NOTHING: Act = Act::NOTHING;
const ODD: Act = Act::ODD;
const FOLLOW: Act = Act::FOLLOW;

const GRID: [Row; STATES.len()] = [
    // Unconfirmed: the far end has not spoken yet, so a request in the dialog is out of place.
    [
        to(Early, Act::RING),
        to(ConfirmedNa, Act::START),
        to(Deleted, Act::FAIL),
        to(Unconfirmed, ODD),
        to(Unconfirmed, ODD),
        to(Unconfirmed, ODD),
        to(Unconfirmed, ODD),
        to(Deleted, Act::FAIL.and(Act::REMOVE)),
        to(Unconfirmed, NOTHING),
        to(Deleted, Act::FAIL.and(Act::REMOVE)),
        to(Unconfirmed, NOTHING),
        to(Unconfirmed, NOTHING),
    ],
    // Early
    [
        to(Early, Act::RING),
        to(ConfirmedNa, Act::START),
        to(Deleted, Act::FAIL),
        to(Early, ODD),
        to(Early, NOTHING),
        to(Early, Act::PRACKED.and(FOLLOW)),
        to(Early, FOLLOW),
        to(Deleted, Act::FAIL.and(Act::REMOVE)),
        to(Early, NOTHING),
        to(Deleted, Act::FAIL.and(Act::REMOVE)),
        to(Early, NOTHING),
        to(Early, NOTHING),
    ],
    // ConfirmedNa: the 2xx of another branch of the fork passes without a trace.
    [
        to(ConfirmedNa, ODD),
        to(ConfirmedNa, NOTHING),
        to(ConfirmedNa, ODD),
        to(Confirmed, Act::CONFIRM),
        to(Deleted, Act::END),
        to(ConfirmedNa, Act::PRACKED.and(FOLLOW)),
        to(ConfirmedNa, FOLLOW),
        to(ConfirmedNa, NOTHING),
        to(ConfirmedNa, Act::SHORTEN),
        to(Deleted, Act::END.and(Act::REMOVE)),
        to(Deleted, Act::END),
        to(ConfirmedNa, NOTHING),
    ],
    // Confirmed
    [
        to(Confirmed, ODD),
        to(Confirmed, NOTHING),
        to(Confirmed, ODD),
        to(Confirmed, FOLLOW),
        to(Deleted, Act::END),
        to(Confirmed, FOLLOW),
        to(Confirmed, FOLLOW),
        to(Confirmed, NOTHING),
        to(Confirmed, NOTHING),
        to(Deleted, Act::END.and(Act::REMOVE)),
        to(Deleted, Act::END),
        to(Confirmed, NOTHING),
    ],
    // Deleted: nothing brings a call back that has been reported as over.
    [
        to(Deleted, ODD),
        to(Deleted, ODD),
        to(Deleted, ODD),
        to(Deleted, NOTHING),
        to(Deleted, NOTHING),
        to(Deleted, NOTHING),
        to(Deleted, NOTHING),
        to(Deleted, NOTHING),
        to(Deleted, NOTHING),
        to(Deleted, Act::REMOVE),
        to(Deleted, NOTHING),
        to(Deleted, Act::REMOVE),
    ],
];

/// The cell for an event in a state.
pub const fn step(state: State, event: Event) -> Cell<State, Act> {
    GRID[state as usize - 1][event as usize]
}

impl State {
    /// The number in listings, in rows and in `$dlg(state)`.
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The state with this number.
    pub const fn from_number(n: i64) -> Option<State> {
        match n {
            1 => Some(State::Unconfirmed),
            2 => Some(State::Early),
            3 => Some(State::ConfirmedNa),
            4 => Some(State::Confirmed),
            5 => Some(State::Deleted),
            _ => None,
        }
    }

    /// Whether the call has been answered and is not over: what `active_dialogs` counts.
    pub const fn is_active(self) -> bool {
        matches!(self, State::ConfirmedNa | State::Confirmed)
    }

    /// Whether no final response has gone to the caller.
    pub const fn is_setup(self) -> bool {
        matches!(self, State::Unconfirmed | State::Early)
    }
}

/// The grid as aligned text.
pub fn print() -> String {
    grid::print("dialog", &STATES, &EVENTS, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_stand_in_the_order_of_the_enums() {
        for (n, state) in STATES.into_iter().enumerate() {
            assert_eq!(
                (state as usize, State::from_number(state.number())),
                (n + 1, Some(state))
            );
        }
        for (n, event) in EVENTS.into_iter().enumerate() {
            assert_eq!(event as usize, n);
        }
        assert_eq!((State::from_number(0), State::from_number(6)), (None, None));
    }

    /// Every cell, by the laws that hold for all of them.
    #[test]
    fn every_cell_keeps_the_laws() {
        for state in STATES {
            for event in EVENTS {
                let Cell { next, act } = step(state, event);
                let what = format!("{event:?} in {state:?}: {next:?}, {act:?}");
                // States are only passed forward: nothing that was reported is taken back.
                assert!(next >= state, "{what}");
                // Each dialog fails or ends once, exactly when it becomes deleted.
                let is_over = state != Deleted && next == Deleted;
                assert_eq!(act.has(Act::FAIL), is_over && state.is_setup(), "{what}");
                assert_eq!(act.has(Act::END), is_over && state.is_active(), "{what}");
                // It starts once, when it becomes active, and is confirmed once.
                assert_eq!(
                    act.has(Act::START),
                    state.is_setup() && next.is_active(),
                    "{what}"
                );
                let confirms = state == ConfirmedNa && next == Confirmed;
                assert_eq!(act.has(Act::CONFIRM), confirms, "{what}");
                // Only what is over is removed, and a deadline always leads there.
                assert!(!act.has(Act::REMOVE) || next == Deleted, "{what}");
                if event == Event::Expiry {
                    assert!(act.has(Act::REMOVE), "{what}");
                }
                // What is odd changes nothing.
                assert!(
                    !act.has(Act::ODD) || (act == Act::ODD && next == state),
                    "{what}"
                );
            }
        }
    }

    #[test]
    fn the_lives_of_calls() {
        use Event::{
            Ack, Bye, EarlyTimeout, Expiry, Failure, HangUp, NoAckTimeout, Prack, Provisional,
            Request, Rest, Success,
        };
        let table: [(&str, &[Event], &[i64]); 14] = [
            (
                "answered",
                &[Provisional, Success, Ack, Request, Bye],
                &[2, 3, 4, 4, 5],
            ),
            (
                "answered at once",
                &[Success, Ack, Bye, Rest],
                &[3, 4, 5, 5],
            ),
            ("refused", &[Provisional, Failure, Ack], &[2, 5, 5]),
            ("refused at once", &[Failure], &[5]),
            (
                "two answers of a fork",
                &[Success, Success, Ack, Success],
                &[3, 3, 4, 4],
            ),
            (
                "an answer crosses the CANCEL",
                &[Provisional, Success, Failure],
                &[2, 3, 3],
            ),
            (
                "an answer after the failure",
                &[Failure, Success, Ack],
                &[5, 5, 5],
            ),
            ("BYEs cross", &[Success, Ack, Bye, Bye], &[3, 4, 5, 5]),
            ("BYE before ACK", &[Success, Bye, Ack], &[3, 5, 5]),
            (
                "BYE while it rings",
                &[Provisional, Bye, Failure],
                &[2, 2, 5],
            ),
            (
                "no ACK",
                &[Provisional, Prack, Success, NoAckTimeout, Expiry],
                &[2, 2, 3, 3, 5],
            ),
            ("no answer", &[Provisional, EarlyTimeout, Rest], &[2, 5, 5]),
            (
                "hung up from here, and a BYE crosses",
                &[Success, Ack, HangUp, Bye, Rest],
                &[3, 4, 5, 5, 5],
            ),
            (
                "hung up while it rings: the INVITE's failure ends it",
                &[Provisional, HangUp, Failure],
                &[2, 2, 5],
            ),
        ];
        for (name, events, want) in table {
            let mut state = Unconfirmed;
            let seen = events.iter().map(|event| {
                state = step(state, *event).next;
                state.number()
            });
            assert_eq!(seen.collect::<Vec<_>>(), want, "{name}");
        }
    }
}
