//! What a shard holds, and what one step may touch.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Effect, Level, Outbox, PeerMessage, Record, Send, Token};
use crate::limits::LATE_TIMER_GRAIN;
use crate::rng::Rng;
use crate::sip::{Press, Spare};
use crate::steer::ShardId;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timer;
use crate::wheel::{TimerKey, Wheel};

use super::counters::Counters;
use super::journal::{Entry, Journal, What};
use super::pv::Variables;
use super::setup::Setup;
use super::stores::Stores;
use super::work::Bytes;
use super::{dialog, dispatcher, tm, uac};

/// All that a shard keeps between two inputs, scripts that wait aside.
#[derive(Debug)]
pub struct State {
    /// Which shard this is.
    pub id: ShardId,
    /// What all shards have in common.
    pub setup: Arc<Setup>,
    /// Every timer.
    pub wheel: Wheel<Timer>,
    /// Tags, branches, identifiers.
    pub rng: Rng,
    /// Transactions.
    pub tm: tm::Table,
    /// Dialogs.
    pub dialogs: dialog::Dialogs,
    /// Requests of our own that are to be sent.
    pub locals: tm::local::Queue,
    /// Destinations of the dispatcher.
    pub dispatcher: dispatcher::Live,
    /// `$uac_req`.
    pub uac: uac::Request,
    /// `$var` and its like, which outlive the message.
    pub variables: Variables,
    /// What modules keep for scripts.
    pub stores: Stores,
    /// Where messages that leave are put together.
    pub press: Press,
    /// Messages that are done with, for their memory.
    pub spare: Spare,
    /// What has been counted.
    pub counters: Counters,
    /// What has happened last.
    pub journal: Journal,
    /// Secret of stateless To tags: the same on every shard and after every restart with the same
    /// seed, different between processes.
    pub tag_secret: u64,
    /// No new calls: the process is stopping.
    pub is_draining: bool,
}

impl State {
    /// Up to which level lines go to the log.
    pub fn log_level(&self) -> Level {
        self.stores.debug.unwrap_or(self.setup.config.core.debug)
    }
}

/// What one step may touch: the shard's state, the time of the input, and the outbox.
#[derive(Debug)]
pub struct Env<'a> {
    /// When the input came.
    pub now: Now,
    /// The shard's state.
    pub state: &'a mut State,
    /// Where effects go.
    pub out: &'a mut Outbox,
}

impl Env<'_> {
    /// A borrow of this, for a callee that takes it by value.
    pub fn reborrow(&mut self) -> Env<'_> {
        Env {
            now: self.now,
            state: self.state,
            out: self.out,
        }
    }

    /// Arms a timer.
    pub fn start(&mut self, after: Duration, timer: Timer) -> TimerKey {
        self.state.wheel.start(self.now.mono + after, timer)
    }

    /// Arms a timer that may be a little late (`limits::LATE_TIMER_GRAIN`): those of the same while
    /// fire together and wake the core once.
    pub fn start_late(&mut self, after: Duration, timer: Timer) -> TimerKey {
        let grain = LATE_TIMER_GRAIN.as_nanos();
        let at = (self.now.mono + after).as_nanos().div_ceil(grain) * grain;
        self.state.wheel.start(Instant::from_nanos(at), timer)
    }

    /// Disarms a timer, if it is armed.
    pub fn stop(&mut self, timer: Option<TimerKey>) {
        if let Some(key) = timer {
            self.state.wheel.stop(key);
        }
    }

    /// Sends a message that nobody waits for.
    pub fn send(&mut self, to: Destination, bytes: Bytes) {
        self.send_reporting(to, bytes, None);
    }

    /// Sends a message; `token` hears of it when it cannot leave.
    pub fn send_reporting(&mut self, to: Destination, bytes: Bytes, token: Option<Token>) {
        self.state.counters.sent += 1;
        self.out.push(Effect::Send(Send {
            to,
            bytes: Rc::clone(&bytes),
            token,
        }));
    }

    /// Tells every other shard.
    pub fn tell_all(&mut self, message: impl Fn() -> PeerMessage) {
        let own = self.state.id;
        let all = (0..self.state.setup.shard_count).map(ShardId);
        for shard in all.filter(|shard| *shard != own) {
            self.out.push(Effect::Peer(shard, message()));
        }
    }

    /// Keeps what happened to the call of this hash, for an operator who asks.
    pub fn note(&mut self, call: u32, what: What) {
        let at = self.now.wall.as_micros();
        self.state.journal.add(Entry { at, call, what });
    }

    /// Writes to the log, if the level is wanted.
    pub fn log(&mut self, level: Level, text: impl Into<Box<str>>) {
        if level <= self.state.log_level() {
            self.out.push(Effect::Log(Record::own(level, text)));
        }
    }
}
