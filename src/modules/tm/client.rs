//! The client side of a transaction, one per branch: RFC 3261 §17.1 with the accepted state of
//! RFC 6026 §7.2, as two complete grids of event by state.
//!
//! `Abandoned` is not in the RFC's drawings: the branch has been given up towards the caller (it
//! rang too long, §16.8, and counts as 408) while the far end has not answered yet. It is
//! cancelled, its failure response is acknowledged and goes no further; a 2xx still does.
//!
//! Timers: `Repeat` is A and E, `FinalTimeout` is B, F and C, `WaitOver` is D, K and M in one
//! (`tm.wt_timer`, shared by the whole transaction).

use super::grid::{self, Act, Cell, to};

/// Where a branch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The request is out, nothing has come back (`Trying` of a non-INVITE).
    Calling,
    /// A provisional response came.
    Proceeding,
    /// Given up towards the caller, unanswered by the far end.
    Abandoned,
    /// A final response came (INVITE: 300 to 699).
    Completed,
    /// A 2xx to an INVITE came; more of them pass (RFC 6026 §7.2).
    Accepted,
    /// The request never left, or nobody answered it.
    Terminated,
}

/// What can happen to a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A 1xx came.
    Provisional,
    /// A 2xx came.
    Success,
    /// A 300 to 699 came.
    Failure,
    /// Timer A or E: time to repeat the request.
    Repeat,
    /// Timer B, F or C: the final response has not come in time.
    FinalTimeout,
    /// The request could not be put on the wire.
    Unsent,
}

/// All states, in the order of the grids' rows.
pub const STATES: [State; 6] = [
    State::Calling,
    State::Proceeding,
    State::Abandoned,
    State::Completed,
    State::Accepted,
    State::Terminated,
];

/// All events, in the order of the grids' columns.
pub const EVENTS: [Event; 6] = [
    Event::Provisional,
    Event::Success,
    Event::Failure,
    Event::Repeat,
    Event::FinalTimeout,
    Event::Unsent,
];

type Row = [Cell<State>; EVENTS.len()];

use State::{Abandoned, Accepted, Calling, Completed, Proceeding, Terminated};

const NOTHING: Act = Act::NOTHING;
const PASS: Act = Act::PASS;
const STOP: Act = Act::STOP_REPEAT.and(Act::STOP_FINAL);

const INVITE: [Row; STATES.len()] = [
    // Calling
    [
        to(Proceeding, Act::STOP_REPEAT.and(Act::START_FINAL).and(PASS)),
        to(Accepted, STOP.and(PASS)),
        to(Completed, STOP.and(Act::ACK).and(PASS)),
        to(Calling, Act::RESEND.and(Act::START_REPEAT)),
        to(Terminated, STOP.and(Act::TIMEOUT)),
        to(Terminated, STOP.and(Act::UNSENT)),
    ],
    // Proceeding: the far end has the request, so §16.8 has the branch cancelled when it is late.
    [
        to(Proceeding, Act::START_FINAL.and(PASS)),
        to(Accepted, STOP.and(PASS)),
        to(Completed, STOP.and(Act::ACK).and(PASS)),
        to(Proceeding, NOTHING),
        to(Abandoned, STOP.and(Act::CANCEL).and(Act::TIMEOUT)),
        to(Proceeding, NOTHING),
    ],
    // Abandoned
    [
        to(Abandoned, NOTHING),
        to(Accepted, STOP.and(PASS)),
        to(Completed, STOP.and(Act::ACK)),
        to(Abandoned, NOTHING),
        to(Terminated, STOP),
        to(Abandoned, NOTHING),
    ],
    // Completed
    [
        to(Completed, NOTHING),
        to(Completed, NOTHING),
        to(Completed, Act::ACK),
        to(Completed, NOTHING),
        to(Completed, NOTHING),
        to(Completed, NOTHING),
    ],
    // Accepted
    [
        to(Accepted, NOTHING),
        to(Accepted, PASS),
        to(Accepted, NOTHING),
        to(Accepted, NOTHING),
        to(Accepted, NOTHING),
        to(Accepted, NOTHING),
    ],
    // Terminated: nobody is left to be told, but a failure response is owed its ACK, and a 2xx
    // that comes after all has set up a call.
    [
        to(Terminated, NOTHING),
        to(Accepted, PASS),
        to(Completed, Act::ACK),
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
    ],
];

/// §17.1.2. Retransmissions go on in `Proceeding`, at T2.
const NON_INVITE: [Row; STATES.len()] = [
    // Calling
    [
        to(Proceeding, PASS),
        to(Completed, STOP.and(PASS)),
        to(Completed, STOP.and(PASS)),
        to(Calling, Act::RESEND.and(Act::START_REPEAT)),
        to(Terminated, STOP.and(Act::TIMEOUT)),
        to(Terminated, STOP.and(Act::UNSENT)),
    ],
    // Proceeding
    [
        to(Proceeding, PASS),
        to(Completed, STOP.and(PASS)),
        to(Completed, STOP.and(PASS)),
        to(Proceeding, Act::RESEND.and(Act::START_REPEAT)),
        to(Terminated, STOP.and(Act::TIMEOUT)),
        to(Proceeding, NOTHING),
    ],
    GONE, // Abandoned: only an INVITE rings
    GONE, // Completed
    GONE, // Accepted: only an INVITE is
    GONE, // Terminated
];

/// After its final response, or after it was given up, a non-INVITE branch absorbs everything
/// (RFC 4320 §4.2: late responses go nowhere).
const GONE: Row = [to(Completed, NOTHING); EVENTS.len()];

/// The cell for an event in a state.
pub const fn step(is_invite: bool, state: State, event: Event) -> Cell<State> {
    if is_invite {
        INVITE[state as usize][event as usize]
    } else {
        NON_INVITE[state as usize][event as usize]
    }
}

impl State {
    /// Whether the branch may still bring the transaction its final response.
    pub const fn is_pending(self) -> bool {
        matches!(self, State::Calling | State::Proceeding)
    }
}

/// Both grids as aligned text.
pub fn print() -> String {
    let invite = grid::print("INVITE client", &STATES, &EVENTS, |s, e| step(true, s, e));
    let other = grid::print("non-INVITE client", &STATES, &EVENTS, |s, e| {
        step(false, s, e)
    });
    format!("{invite}\n{other}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_stand_in_the_order_of_the_enums() {
        assert!(STATES.iter().enumerate().all(|(i, s)| *s as usize == i));
        assert!(EVENTS.iter().enumerate().all(|(i, e)| *e as usize == i));
    }

    #[test]
    fn every_cell_keeps_the_laws() {
        for is_invite in [true, false] {
            for state in STATES {
                for event in EVENTS {
                    let cell = step(is_invite, state, event);
                    let what = format!("{is_invite} {state:?} {event:?} -> {cell:?}");
                    // What is no longer pending never becomes pending again.
                    assert!(state.is_pending() || !cell.next.is_pending(), "{what}");
                    // The user is told the branch's fate exactly when it stops pending.
                    let told = cell.act.has(Act::TIMEOUT) || cell.act.has(Act::UNSENT);
                    let ends = state.is_pending() && !cell.next.is_pending();
                    assert_eq!(ends, told || (ends && cell.act.has(PASS)), "{what}");
                    // Each failure response to an INVITE is acknowledged.
                    if is_invite && event == Event::Failure && state != Accepted {
                        assert!(cell.act.has(Act::ACK), "{what}");
                    }
                    // A 2xx to an INVITE is never swallowed while it can set up a call.
                    if is_invite && event == Event::Success && state != Completed {
                        assert!(cell.act.has(PASS), "{what}");
                    }
                    assert!(is_invite || !cell.act.has(Act::ACK), "{what}");
                }
            }
        }
    }
}
