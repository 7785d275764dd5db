//! Calls whose script waits for the world, and what waits behind them.
//!
//! A call is known here by the 32-bit hash that also steers it. Two calls with the same hash only
//! wait for each other; nothing is confused.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::effect::Flow;
use crate::limits::CALL_QUEUE_MAX;
use crate::script::RouteId;
use crate::sip::Message;
use crate::slab::{Key, Table};
use crate::timer::{Branch, Timer};

use super::run::Run;

/// Something of a call that has to wait its turn.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A message.
    Message(Rc<Message>, Flow),
    /// A timer that has fired.
    Timer(Timer),
    /// A request of the call that could not be sent.
    Unsent(Branch),
    /// A route that a suspended request of the call goes on with.
    Continue(Key, RouteId),
}

/// One call that waits.
#[derive(Debug, Default)]
struct Line {
    /// How many of its scripts wait for the world.
    parked: u32,
    /// What waits behind them is being handled now.
    is_moving: bool,
    items: VecDeque<Waiting>,
}

/// What waits, by call. Few calls wait at a time, so an ordered map will do.
#[derive(Debug, Default)]
pub(super) struct Queue {
    calls: BTreeMap<u32, Line>,
}

impl Queue {
    /// Whether something new of this call has to wait its turn.
    pub(super) fn is_waiting(&self, call: u32) -> bool {
        !self.calls.is_empty() && self.calls.get(&call).is_some_and(|line| !line.is_moving)
    }

    /// How much waits behind scripts that wait; the calls of which are few.
    pub(super) fn len(&self) -> usize {
        self.calls.values().map(|line| line.items.len()).sum()
    }

    /// A script of this call waits from now on.
    pub(super) fn begin(&mut self, call: u32) {
        let line = self.calls.entry(call).or_default();
        line.parked += 1;
        line.is_moving = false;
    }

    /// A script of this call has its answer.
    pub(super) fn end(&mut self, call: u32) {
        if let Some(line) = self.calls.get_mut(&call) {
            line.parked = line.parked.saturating_sub(1);
        }
    }

    /// Puts something behind the script that waits. False: too much waits already. Timers are
    /// always kept: their number is bounded by the transaction's branches.
    pub(super) fn push(&mut self, call: u32, waiting: Waiting) -> bool {
        let Some(line) = self.calls.get_mut(&call) else {
            return false;
        };
        let is_message = matches!(waiting, Waiting::Message(..));
        if is_message && line.items.len() >= CALL_QUEUE_MAX {
            return false;
        }
        line.items.push_back(waiting);
        true
    }

    /// What has its turn now that nothing of the call waits for the world. `None`: a script waits
    /// still or again, somebody further up handles the line already, or it is empty.
    pub(super) fn next(&mut self, call: u32, is_first: bool) -> Option<Waiting> {
        let line = self.calls.get_mut(&call)?;
        if line.parked > 0 || (is_first && line.is_moving) {
            return None;
        }
        line.is_moving = true;
        let next = line.items.pop_front();
        if next.is_none() {
            self.calls.remove(&call);
        }
        next
    }

    /// Panics when a call waits without a script that does.
    pub(super) fn check_invariants(&self, runs: &Table<Box<Run>>) {
        for (call, line) in &self.calls {
            let parked = runs.iter().filter(|(_, run)| run.call == *call).count();
            assert_eq!(
                parked, line.parked as usize,
                "call {call:08x} waits for nothing"
            );
            assert!(parked > 0, "call {call:08x} has a line nobody moves");
        }
    }
}
