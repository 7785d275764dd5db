//! What one core owns, and the only door to it.
//!
//! [`Shard::handle`] takes one input to its end: everything that it caused is in the outbox when
//! it returns. The files beside this one are the parents that own control flow; the modules are
//! their leaves:
//!
//! ```text
//!   request.rs   a request: refuse what is broken, run request_route, end of the script
//!   relay.rs     t_relay and forward: targets, next hops, branch_route, onsend_route
//!   outgoing.rs  the request as it leaves: Via, Record-Route, Request-URI, edits
//!   response.rs  a response: reply_route, branch, onreply_route, upstream, failure_route
//!   timer.rs     a deadline: one match over Timer
//!   run.rs       a script and what follows its end; scripts that wait
//! ```
//!
//! Messages of one call are handled in the order of their arrival, to the end: while a script of
//! a call waits for the world, whatever else belongs to the call waits behind it.

mod outgoing;
mod queue;
mod relay;
mod request;
mod response;
mod run;
mod timer;

use std::rc::Rc;
use std::sync::Arc;

pub use crate::modules::Setup;

use crate::effect::{ConnId, Flow, Hop, Level, Outbox, ResolveError, SendError, Token};
use crate::modules::counters::Counters;
use crate::modules::pv::Variables;
use crate::modules::{Env, State, tm};
use crate::rng::Rng;
use crate::script::Vm;
use crate::sip::Message;
use crate::slab::Table;
use crate::steer::{self, ShardId};
use crate::time::{Instant, Now};
use crate::timer::Timer;
use crate::wheel::Wheel;

use queue::{Queue, Waiting};
use run::Run;

/// One thing that happened in the world.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram, or one whole message cut from a stream.
    Received {
        /// What it came in on.
        flow: Flow,
        /// The bytes, valid for this call only.
        bytes: &'a [u8],
    },
    /// The moment that [`Shard::next_deadline`] named has come.
    Deadline,
    /// The answer to `Effect::Resolve`: at least one hop, best first, or why there is none.
    Resolved(Token, Result<Vec<Hop>, ResolveError>),
    /// A message sent with this token did not leave.
    SendFailed(Token, SendError),
    /// A connection is gone.
    FlowClosed(ConnId),
    /// A new configuration: what is in flight ends with the script it began with.
    Reload(Arc<Setup>),
    /// Stop taking new work; transactions in flight may finish.
    Drain,
}

/// The state of one core: transactions, timers, scripts that wait.
#[derive(Debug)]
pub struct Shard {
    state: State,
    runs: Table<Run>,
    queue: Queue,
    machines: Vec<Vm>,
    messages: Vec<Rc<Message>>,
}

/// Time and outbox of one input.
#[derive(Debug)]
struct Step<'a> {
    now: Now,
    out: &'a mut Outbox,
}

impl Shard {
    /// An empty shard. Equal seeds and equal inputs give equal effects.
    pub fn new(id: ShardId, setup: Arc<Setup>, seed: u64) -> Shard {
        let mut rng = Rng::new(seed);
        let tm = tm::Table::new(rng.hasher());
        Shard {
            state: State {
                id,
                setup,
                wheel: Wheel::new(Instant::ZERO),
                tag_secret: rng.next_u64(),
                rng,
                tm,
                variables: Variables::default(),
                counters: Counters::default(),
                is_draining: false,
            },
            runs: Table::new(),
            queue: Queue::default(),
            machines: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// The only way in. When it returns, everything that `input` caused is in `out`.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        let step = &mut Step { now, out };
        match input {
            Input::Received { flow, bytes } => self.received(step, flow, bytes),
            Input::Deadline => self.deadlines(step),
            Input::Resolved(Token::Run(key), found) => self.resolved(step, key, found),
            Input::SendFailed(Token::Branch(id), _) => self.not_sent(step, id),
            Input::Resolved(Token::Branch(_), _) | Input::SendFailed(Token::Run(_), _) => {
                self.state.counters.stale_answers += 1;
            }
            // Nothing is kept per connection here; a response to a closed one falls back by its
            // destination.
            Input::FlowClosed(_) => {}
            Input::Reload(setup) => self.state.setup = setup,
            Input::Drain => self.state.is_draining = true,
        }
    }

    /// When to come back with [`Input::Deadline`], and why, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<(Instant, Timer)> {
        self.state
            .wheel
            .next_deadline()
            .map(|(at, timer)| (at, *timer))
    }

    /// Whether nothing is in flight: after [`Input::Drain`] the process may end.
    pub fn is_idle(&self) -> bool {
        self.state.tm.is_empty() && self.runs.is_empty()
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// How many transactions are in memory.
    pub fn transaction_count(&self) -> usize {
        self.state.tm.len()
    }

    /// How many timers are armed.
    pub fn timer_count(&self) -> usize {
        self.state.wheel.len()
    }

    /// Panics when the tables disagree with each other; for debug builds and the simulator.
    pub fn check_invariants(&self) {
        self.state.tm.check_invariants();
        self.queue.check_invariants(&self.runs);
        if self.is_idle() {
            assert_eq!(self.state.wheel.len(), 0, "an idle shard has no timer");
        }
    }

    fn env<'a>(&'a mut self, step: &'a mut Step<'_>) -> Env<'a> {
        Env {
            now: step.now,
            state: &mut self.state,
            out: step.out,
        }
    }

    fn received(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) {
        self.state.counters.received += 1;
        let Some(message) = self.read(step, flow, bytes) else {
            return;
        };
        let owner = steer::owner(message.call_id(), self.state.setup.shard_count);
        // The steering found another Call-ID than the parser did. A peer can cause this, so it is
        // counted and the message is handled here, where it is.
        self.state.counters.misrouted += u64::from(owner != self.state.id);
        let call = steer::hash(message.call_id());
        if self.queue.is_waiting(call) {
            let is_kept = self.queue.push(call, Waiting::Message(message, flow));
            self.state.counters.queue_drops += u64::from(!is_kept);
            return;
        }
        self.message(step, message, flow);
    }

    fn message(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        if message.is_request() {
            self.request(step, message, flow);
        } else {
            self.response(step, message, flow);
        }
    }

    /// Reads a message into a buffer that an earlier one has left.
    fn read(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) -> Option<Rc<Message>> {
        let mut message = self.messages.pop().unwrap_or_default();
        let slot = match Rc::get_mut(&mut message) {
            Some(slot) => slot,
            None => {
                message = Rc::default();
                Rc::get_mut(&mut message).expect("a new Rc has one owner")
            }
        };
        match slot.read(bytes) {
            Ok(()) => Some(message),
            Err(error) => {
                self.state.counters.parse_errors += 1;
                let text = format!("{} bytes from {}: {error}", bytes.len(), flow.remote);
                self.env(step).log(Level::Dbg, text);
                self.recycle(message);
                None
            }
        }
    }

    /// Gives a message's buffers to the next one, if nobody else holds it.
    fn recycle(&mut self, message: Rc<Message>) {
        const KEPT: usize = 64;
        if Rc::strong_count(&message) == 1 && self.messages.len() < KEPT {
            self.messages.push(message);
        }
    }
}
