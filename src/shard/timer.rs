//! A deadline has come: one match over [`Timer`].

use crate::limits::TIMER_TURN_COUNT;
use crate::modules::dialog;
use crate::modules::dispatcher;
use crate::modules::tm::branch::{self, Told};
use crate::modules::tm::{self, client, server};
use crate::slab::Key;
use crate::steer;
use crate::timer::{Branch, Timer};

use super::queue::Waiting;
use super::{Shard, Step};

impl Shard {
    /// Handles the timers that are due, in the order of their deadlines, up to a bound: behind it
    /// the next deadline is one that has passed.
    pub(super) fn deadlines(&mut self, step: &mut Step<'_>) {
        for _ in 0..TIMER_TURN_COUNT {
            let Some((_, timer)) = self.state.wheel.pop_due(step.now.mono) else {
                return;
            };
            let waits = self.waits_for(timer);
            match waits {
                // A script of the call waits: the timer has its turn after it.
                Some(call) => {
                    self.queue.push(call, Waiting::Timer(timer));
                }
                None => {
                    self.timer(step, timer);
                    self.dialogs_left(step);
                }
            }
        }
    }

    /// The call behind whose waiting script a timer has its turn.
    fn waits_for(&self, timer: Timer) -> Option<u32> {
        if let Timer::Dialog(key) = timer {
            let call = steer::hash(self.state.dialogs.table.get(key)?.call_id());
            return self.queue.is_waiting(call).then_some(call);
        }
        transaction_of(timer).and_then(|key| self.waiting_call(key))
    }

    pub(super) fn timer(&mut self, step: &mut Step<'_>, timer: Timer) {
        match timer {
            Timer::RetransmitRequest(id) => {
                self.on_branch(id, |b| b.repeat_timer = None);
                branch::step(&mut self.env(step), id, client::Event::Repeat, None);
            }
            Timer::FinalResponse(id) => {
                self.on_branch(id, |b| b.final_timer = None);
                self.final_timeout(step, id);
            }
            Timer::CancelWait(id) => {
                self.on_branch(id, |b| b.cancel_timer = None);
                self.final_timeout(step, id);
            }
            Timer::RetransmitCancel(id) => branch::repeat_cancel(&mut self.env(step), id),
            Timer::Lifetime(key) => self.lifetime_over(step, key),
            Timer::RetransmitResponse(key) => {
                self.on_transaction(key, |t| t.repeat_timer = None);
                tm::serve::step(&mut self.env(step), key, server::Event::Repeat, None);
            }
            Timer::AckWait(key) => {
                self.on_transaction(key, |t| t.end_timer = None);
                tm::serve::step(&mut self.env(step), key, server::Event::AckTimeout, None);
            }
            Timer::Wait(key) => {
                self.on_transaction(key, |t| t.end_timer = None);
                tm::serve::step(&mut self.env(step), key, server::Event::WaitOver, None);
            }
            Timer::Ping => dispatcher::ping::fired(&mut self.env(step)),
            Timer::Names => dispatcher::names::fired(&mut self.env(step)),
            Timer::Item(item) => self.item_expired(step, item),
            Timer::Dialog(key) => dialog::fired(&mut self.env(step), key),
            Timer::Transfer(key) => dialog::transfer::fired(&mut self.env(step), key),
            Timer::PeerBatch => dialog::peers::fired(&mut self.env(step)),
            Timer::RemoteItems => dialog::peers::look_at_remotes(&mut self.env(step)),
            Timer::Unresolved(key) => {
                self.local_resolved(step, key, Err(crate::effect::ResolveError::TimedOut));
            }
            Timer::Parked(key) => {
                self.resolved(step, key, Err(crate::effect::ResolveError::TimedOut))
            }
        }
    }

    fn final_timeout(&mut self, step: &mut Step<'_>, id: Branch) {
        let was_silent = self.state.tm.get(id.transaction).is_some_and(|t| {
            t.branches
                .get(usize::from(id.index))
                .is_some_and(|b| !b.is_ringing)
        });
        let told = branch::step(&mut self.env(step), id, client::Event::FinalTimeout, None);
        match told {
            // Nobody was there: another address of the name may answer (RFC 3263 §4.3).
            Told::TimedOut if was_silent && self.try_next_hop(step, id) => {}
            Told::TimedOut => self.fail_branch(step, id, 408),
            Told::Nothing | Told::Pass | Told::Unsent => {
                tm::reap(&mut self.env(step), id.transaction);
            }
        }
    }

    fn on_branch(&mut self, id: Branch, f: impl FnOnce(&mut tm::Branch)) {
        self.on_transaction(id.transaction, |t| {
            if let Some(b) = t.branches.get_mut(usize::from(id.index)) {
                f(b);
            }
        });
    }

    fn on_transaction(&mut self, key: Key, f: impl FnOnce(&mut tm::Transaction)) {
        if let Some(t) = self.state.tm.get_mut(key) {
            f(t);
        }
    }
}

/// The transaction that a timer is about, when handling it may run a script.
fn transaction_of(timer: Timer) -> Option<Key> {
    match timer {
        Timer::FinalResponse(id) | Timer::CancelWait(id) => Some(id.transaction),
        Timer::Lifetime(key) => Some(key),
        Timer::RetransmitRequest(_)
        | Timer::RetransmitCancel(_)
        | Timer::RetransmitResponse(_)
        | Timer::AckWait(_)
        | Timer::Wait(_)
        | Timer::Ping
        | Timer::Names
        | Timer::Item(_)
        | Timer::Dialog(_)
        | Timer::Transfer(_)
        | Timer::PeerBatch
        | Timer::RemoteItems
        | Timer::Unresolved(_)
        | Timer::Parked(_) => None,
    }
}
