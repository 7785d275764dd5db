//! The server side of a transaction: RFC 3261 §17.2 with the accepted state of RFC 6026 §7.1,
//! as two complete grids of event by state.
//!
//! The grids know no message, no timer and no socket: a cell says the next state and what is to
//! be done, [`super::table`] does it. Every cell is written and every cell is executed by a test,
//! which also prints the grids; see [`print`].
//!
//! One timer, `Wait`, stands for I, J and L: `tm.wt_timer`, during which what comes late is
//! absorbed. G and H run only after a failure response to an INVITE (G not on streams).

use super::grid::{self, Act, Cell, to};

/// Where a server transaction stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No response sent yet. INVITE transactions pass through it only until the 100.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// A final response was sent (INVITE: 300 to 699), it is repeated on demand.
    Completed,
    /// The failure response to an INVITE was acknowledged.
    Confirmed,
    /// A 2xx to an INVITE was sent; more of them pass (RFC 6026 §7.1).
    Accepted,
    /// Nothing is left to absorb.
    Terminated,
}

/// What can happen to a server transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The request came again.
    Request,
    /// An ACK with the branch of the INVITE came.
    Ack,
    /// A provisional response is to be sent.
    Provisional,
    /// A 2xx is to be sent.
    Success,
    /// A 300 to 699 is to be sent.
    Failure,
    /// Timer G: the failure response has not been acknowledged, time to repeat it.
    Repeat,
    /// Timer H: no ACK came.
    AckTimeout,
    /// Timer I, J or L: late messages have had their time.
    WaitOver,
}

/// All states, in the order of the grids' rows.
pub const STATES: [State; 6] = [
    State::Trying,
    State::Proceeding,
    State::Completed,
    State::Confirmed,
    State::Accepted,
    State::Terminated,
];

/// All events, in the order of the grids' columns.
pub const EVENTS: [Event; 8] = [
    Event::Request,
    Event::Ack,
    Event::Provisional,
    Event::Success,
    Event::Failure,
    Event::Repeat,
    Event::AckTimeout,
    Event::WaitOver,
];

type Row = [Cell<State>; EVENTS.len()];

use State::{Accepted, Completed, Confirmed, Proceeding, Terminated, Trying};

const NOTHING: Act = Act::NOTHING;
const RESEND: Act = Act::RESEND;
const SEND: Act = Act::SEND;
const WAIT: Act = Act::START_WAIT;

/// §17.2.1 with RFC 6026. A retransmitted INVITE in `Accepted` gets the 2xx again, where RFC 6026
/// §7.1 would have it absorbed in silence: its sender has seen no response at all, and a second
/// 2xx is what the callee's own repetitions look like. A 2xx of another branch after a failure
/// response still goes upstream (§16.7 step 5), outside of the transaction's state.
const INVITE: [Row; STATES.len()] = [
    // Trying
    [
        to(Trying, NOTHING),
        to(Trying, NOTHING),
        to(Proceeding, SEND),
        to(Accepted, SEND.and(WAIT)),
        to(Completed, SEND.and(Act::START_REPEAT).and(Act::START_ACK)),
        to(Trying, NOTHING),
        to(Trying, NOTHING),
        to(Trying, NOTHING),
    ],
    // Proceeding
    [
        to(Proceeding, RESEND),
        to(Proceeding, NOTHING),
        to(Proceeding, SEND),
        to(Accepted, SEND.and(WAIT)),
        to(Completed, SEND.and(Act::START_REPEAT).and(Act::START_ACK)),
        to(Proceeding, NOTHING),
        to(Proceeding, NOTHING),
        to(Proceeding, NOTHING),
    ],
    // Completed
    [
        to(Completed, RESEND),
        to(Confirmed, Act::STOP_REPEAT.and(WAIT)),
        to(Completed, Act::REFUSE),
        to(Completed, Act::SEND_ONCE),
        to(Completed, Act::REFUSE),
        to(Completed, RESEND.and(Act::START_REPEAT)),
        to(Terminated, Act::STOP_REPEAT.and(WAIT)),
        to(Terminated, NOTHING),
    ],
    // Confirmed
    [
        to(Confirmed, NOTHING),
        to(Confirmed, NOTHING),
        to(Confirmed, Act::REFUSE),
        to(Confirmed, Act::SEND_ONCE),
        to(Confirmed, Act::REFUSE),
        to(Confirmed, NOTHING),
        to(Confirmed, NOTHING),
        to(Terminated, NOTHING),
    ],
    // Accepted
    [
        to(Accepted, RESEND),
        to(Accepted, Act::PASS),
        to(Accepted, Act::REFUSE),
        to(Accepted, Act::SEND_ONCE),
        to(Accepted, Act::REFUSE),
        to(Accepted, NOTHING),
        to(Accepted, NOTHING),
        to(Terminated, NOTHING),
    ],
    // Terminated
    [
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
        to(Terminated, Act::REFUSE),
        to(Terminated, Act::SEND_ONCE),
        to(Terminated, Act::REFUSE),
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
    ],
];

/// §17.2.2. There is no ACK, and no timer but J.
const NON_INVITE: [Row; STATES.len()] = [
    // Trying
    [
        to(Trying, NOTHING),
        to(Trying, NOTHING),
        to(Proceeding, SEND),
        to(Completed, SEND.and(WAIT)),
        to(Completed, SEND.and(WAIT)),
        to(Trying, NOTHING),
        to(Trying, NOTHING),
        to(Trying, NOTHING),
    ],
    // Proceeding
    [
        to(Proceeding, RESEND),
        to(Proceeding, NOTHING),
        to(Proceeding, SEND),
        to(Completed, SEND.and(WAIT)),
        to(Completed, SEND.and(WAIT)),
        to(Proceeding, NOTHING),
        to(Proceeding, NOTHING),
        to(Proceeding, NOTHING),
    ],
    // Completed
    [
        to(Completed, RESEND),
        to(Completed, NOTHING),
        to(Completed, Act::REFUSE),
        to(Completed, Act::REFUSE),
        to(Completed, Act::REFUSE),
        to(Completed, NOTHING),
        to(Completed, NOTHING),
        to(Terminated, NOTHING),
    ],
    UNREACHABLE, // Confirmed
    UNREACHABLE, // Accepted
    // Terminated
    [
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
        to(Terminated, Act::REFUSE),
        to(Terminated, Act::REFUSE),
        to(Terminated, Act::REFUSE),
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
        to(Terminated, NOTHING),
    ],
];

/// Confirmed and Accepted do not exist without an ACK; the rows end such a transaction.
const UNREACHABLE: Row = [to(Terminated, NOTHING); EVENTS.len()];

/// The cell for an event in a state.
pub const fn step(is_invite: bool, state: State, event: Event) -> Cell<State> {
    if is_invite {
        INVITE[state as usize][event as usize]
    } else {
        NON_INVITE[state as usize][event as usize]
    }
}

impl State {
    /// Whether a final response has gone out.
    pub const fn is_final(self) -> bool {
        !matches!(self, State::Trying | State::Proceeding)
    }
}

/// Both grids as aligned text.
pub fn print() -> String {
    let invite = grid::print("INVITE server", &STATES, &EVENTS, |s, e| step(true, s, e));
    let other = grid::print("non-INVITE server", &STATES, &EVENTS, |s, e| {
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
                    // A final response never becomes provisional again.
                    assert!(!state.is_final() || cell.next.is_final(), "{what}");
                    // Each final state that is entered has a timer that leaves it.
                    let entered = cell.next != state && cell.next.is_final();
                    let timed = cell.act.has(Act::START_WAIT) || cell.act.has(Act::START_ACK);
                    assert!(!entered || timed || cell.next == Terminated, "{what}");
                    // No second final response leaves through the state machine.
                    let sends = cell.act.has(Act::SEND);
                    assert!(!(state.is_final() && sends), "{what}");
                    // Only INVITE transactions wait for an ACK.
                    assert!(is_invite || !cell.act.has(Act::START_ACK), "{what}");
                    // Terminated is the end.
                    assert!(state != Terminated || cell.next == Terminated, "{what}");
                }
            }
        }
    }

    #[test]
    fn a_refused_call_ends_by_its_ack() {
        let run = [
            (Event::Provisional, Proceeding),
            (Event::Request, Proceeding),
            (Event::Failure, Completed),
            (Event::Repeat, Completed),
            (Event::Ack, Confirmed),
            (Event::Ack, Confirmed),
            (Event::WaitOver, Terminated),
        ];
        let mut state = Trying;
        for (event, want) in run {
            state = step(true, state, event).next;
            assert_eq!(state, want, "after {event:?}");
        }
    }
}
