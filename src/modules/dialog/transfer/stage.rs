//! How far a transfer has come: a complete grid of event by stage.
//!
//! The grid knows no message and no timer: a cell says the next stage and what is to be done,
//! [`super`] does it. Every cell is written, every cell is executed by a test, and the grid is
//! printed into the documentation by [`print`].

use crate::modules::tm::grid::{self, Cell};

/// Where a transfer stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// The INVITE is out, and nobody has answered it.
    Calling,
    /// The INVITE has failed or was cancelled; an answer may have crossed the CANCEL.
    GivenUp,
    /// The REFER is out.
    Referring,
    /// The BYE is out.
    Leaving,
    /// The party has left; what it still says of the transfer is answered.
    Over,
}

/// What can happen to a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The first 2xx to the INVITE.
    Answered,
    /// Any other end of the INVITE.
    Refused,
    /// A 2xx to the REFER.
    Accepted,
    /// Any other end of the REFER.
    Declined,
    /// Any end of the BYE.
    ByeAnswered,
    /// The party has hung up, or has been told elsewhere that the call is over.
    Gone,
    /// The subscription that the REFER made has ended (RFC 3515 §2.4.7).
    LastNotify,
    /// The stage has lasted as long as it may.
    TimeUp,
}

/// All stages, in the order of the grid's rows.
pub const STAGES: [Stage; 5] = [
    Stage::Calling,
    Stage::GivenUp,
    Stage::Referring,
    Stage::Leaving,
    Stage::Over,
];

/// All events, in the order of the grid's columns.
pub const EVENTS: [Event; 8] = [
    Event::Answered,
    Event::Refused,
    Event::Accepted,
    Event::Declined,
    Event::ByeAnswered,
    Event::Gone,
    Event::LastNotify,
    Event::TimeUp,
];

/// A set of things to do, performed in the order of the constants below.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Act(u8);

impl Act {
    /// The event is absorbed.
    pub const NOTHING: Act = Act(0);
    /// The INVITE is cancelled.
    pub const CANCEL: Act = Act(1);
    /// As long as the far end may need to ring, its NOTIFYs are answered.
    pub const LISTEN: Act = Act(1 << 1);
    /// As long as a message may be repeated, repetitions are answered.
    pub const LINGER: Act = Act(1 << 2);
    /// The same, unless the end is nearer already.
    pub const HURRY: Act = Act(1 << 3);
    /// The REFER is sent.
    pub const REFER: Act = Act(1 << 4);
    /// The BYE is sent.
    pub const BYE: Act = Act(1 << 5);
    /// Nothing is left to be known of it.
    pub const FORGET: Act = Act(1 << 6);

    const NAMES: [(Act, &'static str); 7] = [
        (Act::CANCEL, "cancel"),
        (Act::LISTEN, "listen"),
        (Act::LINGER, "linger"),
        (Act::HURRY, "hurry"),
        (Act::REFER, "refer"),
        (Act::BYE, "bye"),
        (Act::FORGET, "forget"),
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
        let held = Act::NAMES.iter().filter(|(act, _)| self.has(*act));
        grid::write_names(f, held.map(|(_, name)| *name))
    }
}

type Row = [Cell<Stage, Act>; EVENTS.len()];

const fn to(next: Stage, act: Act) -> Cell<Stage, Act> {
    Cell { next, act }
}

use Stage::{Calling, GivenUp, Leaving, Over, Referring};

const NOTHING: Act = Act::NOTHING;

const GRID: [Row; STAGES.len()] = [
    // Calling
    [
        to(Referring, Act::REFER),
        to(GivenUp, Act::LINGER),
        to(Calling, NOTHING),
        to(Calling, NOTHING),
        to(Calling, NOTHING),
        to(Over, Act::LINGER),
        to(Calling, NOTHING),
        to(GivenUp, Act::CANCEL.and(Act::LINGER)),
    ],
    // GivenUp: who answers all the same must not be left in a call with nobody.
    [
        to(Leaving, Act::LINGER.and(Act::BYE)),
        to(GivenUp, NOTHING),
        to(GivenUp, NOTHING),
        to(GivenUp, NOTHING),
        to(GivenUp, NOTHING),
        to(Over, NOTHING),
        to(GivenUp, NOTHING),
        to(GivenUp, Act::FORGET),
    ],
    // Referring: whatever becomes of the REFER, the party has nobody to talk to here.
    [
        to(Referring, NOTHING),
        to(Referring, NOTHING),
        to(Leaving, Act::LISTEN.and(Act::BYE)),
        to(Leaving, Act::LINGER.and(Act::BYE)),
        to(Referring, NOTHING),
        to(Over, Act::LISTEN),
        to(Referring, NOTHING),
        to(Leaving, Act::LINGER.and(Act::BYE)),
    ],
    // Leaving
    [
        to(Leaving, NOTHING),
        to(Leaving, NOTHING),
        to(Leaving, NOTHING),
        to(Leaving, NOTHING),
        to(Over, NOTHING),
        to(Leaving, NOTHING),
        to(Leaving, Act::HURRY),
        to(Leaving, Act::FORGET),
    ],
    // Over
    [
        to(Over, NOTHING),
        to(Over, NOTHING),
        to(Over, NOTHING),
        to(Over, Act::HURRY),
        to(Over, NOTHING),
        to(Over, NOTHING),
        to(Over, Act::HURRY),
        to(Over, Act::FORGET),
    ],
];

/// The cell for an event in a stage.
pub const fn step(stage: Stage, event: Event) -> Cell<Stage, Act> {
    GRID[stage as usize][event as usize]
}

/// The grid as aligned text.
pub fn print() -> String {
    grid::print("transfer", &STAGES, &EVENTS, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_stand_in_the_order_of_the_enums() {
        assert!(STAGES.iter().enumerate().all(|(i, s)| *s as usize == i));
        assert!(EVENTS.iter().enumerate().all(|(i, e)| *e as usize == i));
    }

    /// Every cell, by the laws that hold for all of them.
    #[test]
    fn every_cell_keeps_the_laws() {
        for stage in STAGES {
            for event in EVENTS {
                let Cell { next, act } = step(stage, event);
                let what = format!("{event:?} in {stage:?}: {next:?}, {act:?}");
                // Stages are only passed forward, and each request is sent on the way into its own.
                assert!(next >= stage, "{what}");
                let begins = |wanted| stage != wanted && next == wanted;
                assert_eq!(act.has(Act::REFER), begins(Referring), "{what}");
                assert_eq!(act.has(Act::BYE), begins(Leaving), "{what}");
                // Time always leads on, and in the end out.
                let is_last = matches!(stage, GivenUp | Leaving | Over);
                if event == Event::TimeUp {
                    assert_eq!(act.has(Act::FORGET), is_last, "{what}");
                    assert!(is_last || next > stage, "{what}");
                } else {
                    assert!(!act.has(Act::FORGET), "{what}");
                }
                // What a peer can repeat does not make it live longer.
                let is_longer = act.has(Act::LISTEN) || act.has(Act::LINGER);
                assert!(!is_longer || next > stage, "{what}");
            }
        }
    }
}
