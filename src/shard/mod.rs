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
//!   passing.rs   the onsend_route for responses (onsend_route_reply)
//!   response.rs  a response: reply_route, branch, onreply_route, upstream, failure_route
//!   local.rs     a request of our own: next hop, event_route, who wants the answer
//!   source.rs    which of our addresses a request leaves from (mhomed)
//!   timer.rs     a deadline: one match over Timer
//!   event.rs     event routes that no message has caused
//!   http.rs      a request of HTTP on the port of SIP
//!   inner.rs     routes that run inside a function of another script
//!   network.rs   a script between the wire and the proxy
//!   run.rs       a script and what follows its end; scripts that wait
//! ```
//!
//! Messages of one call are handled in the order of their arrival, to the end: while a script of
//! a call waits for the world, whatever else belongs to the call waits behind it.

mod dialog;
mod event;
mod http;
mod inner;
mod latency;
mod local;
mod network;
mod outgoing;
mod passing;
mod queue;
mod relay;
mod request;
mod response;
mod run;
mod source;
mod timer;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

pub use crate::modules::Setup;

use crate::effect::{
    ConnId, Effect, Executed, Flow, Hop, Level, NameRecord, Outbox, PeerMessage, ResolveError,
    SendError, Token,
};
use crate::modules::counters::Counters;
use crate::modules::dialog::Dialogs;
use crate::modules::dialog::event::{Kinds, Observer, ObserverId, RegisterError};
use crate::modules::journal::{Journal, Line, What};
use crate::modules::pv::{Avps, Variables};
use crate::modules::stores::Stores;
use crate::modules::work::Bytes;
use crate::modules::{Env, State, dispatcher, rpc, tm, uac};
use crate::rng::Rng;
use crate::sip::{HeaderName, Message, Press, Spare, scan};
use crate::slab::{Key, Table};
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
    /// A datagram that the kernel has brought here because it takes this shard for the owner of its
    /// call. If it is not, the message leaves as `Effect::HandOver`.
    Steered {
        /// What it came in on.
        flow: Flow,
        /// The bytes, valid for this call only.
        bytes: &'a [u8],
    },
    /// The same, when there is no time for new calls: if it begins one, it is refused.
    Refused {
        /// What it came in on.
        flow: Flow,
        /// The bytes, valid for this call only.
        bytes: &'a [u8],
    },
    /// One whole request of HTTP cut from a stream of this core.
    Http {
        /// The stream.
        flow: Flow,
        /// The bytes, valid for this call only.
        bytes: &'a [u8],
    },
    /// The moment that [`Shard::next_deadline`] named has come.
    Deadline,
    /// The answer to `Effect::Resolve`: at least one hop, best first, or why there is none.
    Resolved(Token, Result<Vec<Hop>, ResolveError>),
    /// The answer to `Effect::Lookup`: records, which may be none, or why nothing is known.
    Found(Token, Result<Vec<NameRecord>, ResolveError>),
    /// The answer to `Effect::Route`; `None`: there is no way.
    Routed(Token, Option<IpAddr>),
    /// The answer to `Effect::Exec`; `None`: too many are at work.
    Executed(Key, Option<Box<Executed>>),
    /// A message sent with this token did not leave.
    SendFailed(Token, SendError),
    /// A connection is gone.
    FlowClosed(ConnId),
    /// Another shard has something to say.
    Peer(ShardId, PeerMessage),
    /// A new configuration: what is in flight ends with the script it began with.
    Reload(Arc<Setup>),
    /// An operator asks; answered by one `Effect::RpcReply` before [`Shard::handle`] returns.
    Rpc(rpc::Question),
    /// Stop taking new work; transactions in flight may finish.
    Drain,
}

/// The state of one core: transactions, timers, scripts that wait.
#[derive(Debug)]
pub struct Shard {
    state: State,
    runs: Table<Box<Run>>,
    queue: Queue,
    /// What the kernel has said of ways out.
    sources: source::Sources,
    /// Requests of our own that wait for an address.
    unresolved: Table<local::Unresolved>,
    /// Runs that are over, for their memory.
    #[allow(clippy::vec_box, reason = "runs are large and go from hand to hand")]
    spare: Vec<Box<Run>>,
    /// Relays that are over, for their memory.
    #[allow(clippy::vec_box, reason = "relays are large and go from hand to hand")]
    relays: Vec<Box<relay::Relay>>,
    /// What a run is about that is over.
    nothing: Rc<Message>,
    /// Whether the routes for the start have run.
    has_begun: bool,
    /// What the last `event_route[network:msg]` has made of its bytes.
    intercepted: Option<Bytes>,
    /// What `core:msg-received` has set, for the message that follows.
    carried: Option<Avps>,
    /// How many scripts wait for a route inside of one of their functions.
    depth: usize,
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
        let mut tm = tm::Table::new(rng.hasher());
        tm.compares_call_id = setup.config.tm.callid_matching;
        let dialogs = Dialogs::new(&mut rng, &setup.config.dialog);
        let sets = Arc::clone(&setup.config.dispatcher.sets);
        let dispatcher = dispatcher::Live::new(sets, rng.hasher());
        let mut shard = Shard {
            state: State {
                id,
                setup,
                wheel: Wheel::new(Instant::ZERO),
                tag_secret: rng.next_u64(),
                rng,
                tm,
                dialogs,
                locals: tm::local::Queue::default(),
                dispatcher,
                uac: uac::Request::default(),
                variables: Variables::default(),
                stores: Stores::default(),
                press: Press::default(),
                spare: Spare::default(),
                counters: Counters::default(),
                journal: Journal::default(),
                is_draining: false,
            },
            runs: Table::new(),
            queue: Queue::default(),
            sources: source::Sources::default(),
            unresolved: Table::new(),
            spare: Vec::new(),
            relays: Vec::new(),
            nothing: Rc::default(),
            has_begun: false,
            intercepted: None,
            carried: None,
            depth: 0,
        };
        let now = Now::default();
        let out = &mut Outbox::default();
        dispatcher::ping::start(&mut shard.env(&mut Step { now, out }));
        dispatcher::names::start(&mut shard.env(&mut Step { now, out }));
        shard
    }

    /// The only way in. When it returns, everything that `input` caused is in `out`.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        let first = out.len();
        let step = &mut Step { now, out };
        self.begin(step);
        match input {
            Input::Received { flow, bytes } => self.received(step, flow, bytes),
            Input::Steered { flow, bytes } => self.steered(step, flow, bytes),
            Input::Refused { flow, bytes } => self.refused(step, flow, bytes),
            Input::Http { flow, bytes } => self.http(step, flow, bytes),
            Input::Deadline => self.deadlines(step),
            Input::Resolved(Token::Run(key), found) => self.resolved(step, key, found),
            Input::Found(Token::Run(key), found) => self.found(step, key, found),
            Input::Executed(key, answer) => self.executed(step, key, answer),
            Input::Routed(token, source) => self.routed(step, token, source),
            Input::SendFailed(Token::Branch(id), _) => self.not_sent(step, id),
            Input::Resolved(Token::Local(key), found) => self.local_resolved(step, key, found),
            Input::Resolved(Token::Destination(named), found) => {
                let hops = found.unwrap_or_default();
                dispatcher::names::resolved(&mut self.env(step), named, &hops);
            }
            Input::Found(Token::Destination(named), found) => {
                let records = found.unwrap_or_default();
                dispatcher::names::found(&mut self.env(step), named, &records);
            }
            Input::Resolved(Token::Branch(_), _)
            | Input::Found(Token::Branch(_) | Token::Local(_), _)
            | Input::SendFailed(Token::Run(_) | Token::Local(_) | Token::Destination(_), _) => {
                self.state.counters.stale_answers += 1;
            }
            // Nothing is kept per connection here; a response to a closed one falls back by its
            // destination.
            Input::FlowClosed(_) => {}
            Input::Peer(from, message) => self.peer(step, from, message),
            Input::Reload(setup) => self.reload(step, setup),
            Input::Rpc(question) => {
                let part = rpc::command::part(&mut self.env(step), &question);
                step.out.push(Effect::RpcReply(question.id, part));
            }
            Input::Drain => self.state.is_draining = true,
        }
        self.dialogs_left(step);
        self.destinations_turned(step);
        while self.send_locals(step) {
            self.dialogs_left(step);
            self.destinations_turned(step);
        }
        self.outgoing(step, first);
    }

    /// Takes a new configuration. What is in flight holds the program it began with; sockets are
    /// as they were opened, because flows name them by their place.
    fn reload(&mut self, step: &mut Step<'_>, setup: Arc<Setup>) {
        let old = &self.state.setup;
        let is_same = setup.addresses == old.addresses;
        let kept = Setup {
            addresses: old.addresses.clone(),
            started: old.started,
            shard_count: old.shard_count,
            config: setup.config.clone(),
            program: Arc::clone(&setup.program),
        };
        self.state
            .dialogs
            .profiles
            .configure(&kept.config.dialog.profiles);
        self.state
            .dispatcher
            .adopt(Arc::clone(&kept.config.dispatcher.sets));
        self.state.tm.compares_call_id = kept.config.tm.callid_matching;
        self.state.setup = Arc::new(kept);
        dispatcher::ping::start(&mut self.env(step));
        dispatcher::names::start(&mut self.env(step));
        // One line for the process, not one for each core.
        if self.state.id.0 > 0 {
            return;
        }
        let mut env = self.env(step);
        if !is_same {
            let text = "reload: other addresses to listen on need a restart; the old ones stay";
            env.log(Level::Warn, text);
        }
        env.log(Level::Notice, "reload: the new configuration is in force");
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
        self.state.tm.is_empty() && self.runs.is_empty() && self.unresolved.is_empty()
    }

    /// Gives memory back that a peak left behind and that removals have not given back as they
    /// came: what empty tables have, small ones of which no more than a quarter is used, and, when
    /// nothing is in flight, all that is kept for the next message. Costs next to nothing
    /// when there is nothing to give, else what [`GIVE_BACK_COUNT_MAX`](crate::limits) allows.
    pub fn give_memory_back(&mut self) {
        let state = &mut self.state;
        state.wheel.give_back();
        state.tm.give_back();
        state.dialogs.table.give_back();
        state.dialogs.profiles.give_back();
        self.runs.give_back();
        self.unresolved.give_back();
        if self.is_idle() {
            self.state.press = Press::default();
            self.state.spare.give_back();
            self.spare = Vec::new();
            self.relays = Vec::new();
        }
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// What has been counted and what is held, by name, for an operator.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let state = &self.state;
        let dialogs = &state.dialogs;
        let mut figures = state.counters.figures();
        figures.extend([
            ("dialogs_refused", dialogs.counts.refused),
            ("bad_cookies", dialogs.counts.bad_cookies),
            ("strange_cookies", dialogs.counts.strange_cookies),
            ("held_dialogs", dialogs.table.len() as u64),
            ("held_transactions", state.tm.len() as u64),
            ("held_timers", state.wheel.len() as u64),
            ("held_scripts", self.runs.len() as u64),
            ("held_messages", self.queue.len() as u64),
        ]);
        figures
    }

    /// Takes in code built on top of dialogs; before the first input.
    pub fn observe(&mut self, observer: Box<dyn Observer>) -> ObserverId {
        self.state.dialogs.observers.add(observer)
    }

    /// Registers an observer for events of all dialogs.
    pub fn register_dlgcb(
        &mut self,
        observer: ObserverId,
        kinds: Kinds,
        param: u64,
    ) -> Result<(), RegisterError> {
        self.state
            .dialogs
            .observers
            .register_dlgcb(observer, kinds, param)
    }

    /// What the shard keeps, to look at.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The same with time and outbox, for commands of an operator.
    pub fn command<'a>(&'a mut self, now: Now, out: &'a mut Outbox) -> Env<'a> {
        Env {
            now,
            state: &mut self.state,
            out,
        }
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
        self.state.dialogs.check_invariants();
        if self.is_idle() {
            // Every dialog has one timer, items of tables may have one, nothing else may be left.
            let dialogs = self.state.dialogs.table.len() + self.state.dialogs.peers.timer_count();
            let transfers = self.state.dialogs.transfers.len();
            let items = self.state.stores.tables.timer_count();
            let timers = self.state.wheel.len();
            let pings = usize::from(self.state.dispatcher.timer.is_some());
            let names = usize::from(self.state.dispatcher.names_timer.is_some());
            let all = dialogs + transfers + items + pings + names;
            assert_eq!(timers, all, "timers of an idle shard");
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
        let changed = self.incoming(step, flow, bytes);
        let bytes = changed.as_deref().unwrap_or(bytes);
        let Some(message) = self.read(step, flow, bytes) else {
            return;
        };
        let owner = steer::owner_of(message.call(), self.state.setup.shard_count);
        if changed.is_some() && owner != self.state.id {
            return self.pass_decoded(step, owner, flow, bytes);
        }
        self.read_message(step, flow, message);
    }

    /// Reading a message finds its Call-ID and with it the owner: nobody has to look for it before.
    fn steered(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) {
        // What these bytes are, a route is to say first, and it runs where they belong as they are.
        if self.state.setup.config.corex.intercepts {
            let call_id = scan::call_id(bytes).unwrap_or_default();
            return match steer::owner(call_id, self.state.setup.shard_count) {
                owner if owner == self.state.id => self.received(step, flow, bytes),
                owner => step.out.push(Effect::HandOver(owner, flow, bytes.into())),
            };
        }
        let message = self.read(step, flow, bytes);
        let owner = |m: &Rc<Message>| steer::owner_of(m.call(), self.state.setup.shard_count);
        match message {
            Some(message) if owner(&message) != self.state.id => {
                let handed_over = Effect::HandOver(owner(&message), flow, bytes.into());
                step.out.push(handed_over);
                self.recycle(message);
            }
            Some(message) => {
                self.state.counters.received += 1;
                self.read_message(step, flow, message);
            }
            None => self.state.counters.received += 1,
        }
    }

    /// A message that can be read, of this shard unless the steering was misled.
    fn read_message(&mut self, step: &mut Step<'_>, flow: Flow, message: Rc<Message>) {
        let owner = steer::owner_of(message.call(), self.state.setup.shard_count);
        // The steering found another Call-ID than the parser did. A peer can cause this, so it is
        // counted and the message is handled here, where it is.
        self.state.counters.misrouted += u64::from(owner != self.state.id);
        self.state.counters.no_call_id += u64::from(!message.has(HeaderName::CallId));
        let call = message.call();
        let what = What::Received(Line::of(&message), flow.proto, flow.remote);
        self.env(step).note(call, what);
        if self.queue.is_waiting(call) {
            let is_kept = self.queue.push(call, Waiting::Message(message, flow));
            self.state.counters.queue_drops += u64::from(!is_kept);
            return;
        }
        self.message(step, message, flow);
    }

    fn message(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        if message.is_http() {
            return self.http_message(step, message, flow);
        }
        self.state.counters.count(&message);
        if let Some((message, flow)) = self.announce(step, message, flow) {
            self.route_message(step, message, flow);
        }
    }

    fn route_message(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        if message.is_request() {
            self.request(step, message, flow);
        } else {
            self.response(step, message, flow);
        }
    }

    /// Another shard has seen what a message says.
    fn decoded(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) {
        if let Some(message) = self.read(step, flow, bytes) {
            self.read_message(step, flow, message);
        }
    }

    /// Reads a message into a buffer that an earlier one has left.
    fn read(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) -> Option<Rc<Message>> {
        match self.state.spare.read(bytes) {
            Ok(message) => Some(message),
            Err(error) => {
                self.state.counters.parse_errors += 1;
                self.state.counters.no_call_id += u64::from(scan::call_id(bytes).is_none());
                let text = format!("{} bytes from {}: {error}", bytes.len(), flow.remote);
                self.env(step).log(Level::Dbg, text);
                self.unreadable(step, flow);
                None
            }
        }
    }

    /// Gives a message's buffers to the next one, if nobody else holds it.
    fn recycle(&mut self, message: Rc<Message>) {
        self.state.spare.keep(message);
    }
}
