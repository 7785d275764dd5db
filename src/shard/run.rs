//! A script and what follows its end.
//!
//! One run belongs to one message (or timer) and may be several activations deep: while `t_relay`
//! of a request_route is at work, a branch_route runs inside it. [`Then`] says for each activation
//! what is to be done when it ends; the machine and this stack are plain data, so that a run that
//! waits for DNS is a value in a table.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Effect, Flow, Level, Lookup, NameRecord, ResolveError, Token};
use crate::limits::PARKED_RUN_COUNT_MAX;
use crate::modules::work::{Ask, Work};
use crate::modules::{Call, Env, dialog, ipops, tm};
use crate::script::{End, Pause, Program, RouteId, RouteKind, Vm};
use crate::sip::Message;
use crate::slab::Key;
use crate::time::{Duration, Instant};
use crate::timer::{Branch, Timer};
use crate::wheel::TimerKey;

use super::dialog::{Asking, Interrupted, Question};
use super::passing::Held;
use super::queue::Waiting;
use super::relay::Relay;
use super::{Shard, Step};

/// What is to be done when an activation ends.
#[derive(Debug)]
pub(super) enum Then {
    /// A request_route: answer what the script left open.
    Request,
    /// `event_route[core:msg-received]`: the message has its turn, unless it was dropped.
    Announced(Box<(Rc<Message>, Flow)>),
    /// `event_route[core:pre-routing]`: go on to the main route of this kind, unless it was
    /// dropped.
    PreRouting(RouteKind),
    /// A branch_route: send the branch, unless it was dropped.
    Branch(Box<Relay>),
    /// An event route that only looks, such as `uac:reply`, or that no message has caused: nothing.
    Event,
    /// An onsend_route: send, unless it was dropped.
    Onsend(Box<Relay>),
    /// The same for a response: pass it on.
    OnsendReply(Box<Held>),
    /// The reply_route: go on to the transaction.
    CoreReply,
    /// An onreply_route: pass the response on.
    Reply(Branch),
    /// The onreply_route for responses without a transaction: forward it, unless it was dropped.
    StrayReply,
    /// `event_route[tm:branch-failure:..]`: look at the other branches.
    BranchFailure(Branch),
    /// An event or timeout route of a dialog: the next one, then what it interrupted.
    Dialog(Box<Interrupted>),
    /// `event_route[tm:local-request]`: send the request, unless it was dropped.
    LocalRequest(Branch),
    /// `event_route[network:msg]`: what it has left is the message.
    Network,
    /// The route of `t_continue`: answer what it left open.
    Continued,
    /// A failure_route: send the best failure unless the script did something better.
    Failure {
        /// How many branches there were before.
        branch_count: usize,
        /// The branch whose failure it is about; `None`: nobody continued a suspended request.
        best: Option<u8>,
    },
}

/// A script on its way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) vm: Vm,
    pub(super) work: Work,
    pub(super) program: Arc<Program>,
    pub(super) then: Vec<Then>,
    /// The call it belongs to, see [`super::queue`].
    pub(super) call: u32,
    /// The `t_relay` that waits for an address.
    pub(super) resolving: Option<Box<Relay>>,
    /// What the script has asked the name servers, and what for.
    pub(super) looking: Option<(Box<Lookup>, ipops::Purpose)>,
    /// How long the script wants to wait, and for nothing else.
    pub(super) sleeps: Option<Duration>,
    /// The command of JSON-RPC that it wants answered.
    pub(super) command: Option<Box<[u8]>>,
    /// When waiting has taken too long.
    pub(super) wait_timer: Option<TimerKey>,
    /// What it has asked another shard.
    pub(super) asking: Option<Box<Asking>>,
    /// When its first script began.
    pub(super) began: Option<Instant>,
    /// Since when it waits.
    waits_since: Option<Instant>,
}

impl Shard {
    /// A run about a message that has just come in.
    pub(super) fn run_about(
        &mut self,
        program: Arc<Program>,
        (kind, message, flow): (RouteKind, Rc<Message>, Flow),
    ) -> Box<Run> {
        let Some(mut run) = self.spare.pop() else {
            return self.new_run(program, Work::new(kind, message, flow));
        };
        run.call = message.call();
        run.program = program;
        // The rest is as new, see `spare`.
        (run.work.kind, run.work.message, run.work.flow) = (kind, message, flow);
        run
    }

    /// A run for this work, with nothing entered yet.
    pub(super) fn new_run(&mut self, program: Arc<Program>, mut work: Work) -> Box<Run> {
        let call = work.message.call();
        if let Some(mut run) = self.spare.pop() {
            if work.edits.is_empty() {
                work.edits = std::mem::take(&mut run.work.edits);
            }
            (run.work, run.program, run.call) = (work, program, call);
            return run;
        }
        Box::new(Run {
            vm: Vm::default(),
            work,
            program,
            then: Vec::new(),
            call,
            resolving: None,
            looking: None,
            sleeps: None,
            command: None,
            wait_timer: None,
            asking: None,
            began: None,
            waits_since: None,
        })
    }

    /// Keeps the memory of a run that is over; the message it was about is given back.
    fn spare(&mut self, mut run: Box<Run>) -> Rc<Message> {
        const KEPT: usize = 64;
        let (kind, flow) = (run.work.kind, run.work.flow);
        let message = run.work.renew(kind, Rc::clone(&self.nothing), flow);
        debug_assert!(run.resolving.is_none() && run.wait_timer.is_none());
        run.then.clear();
        (run.sleeps, run.asking, run.looking) = (None, None, None);
        (run.command, run.began) = (None, None);
        if self.spare.len() < KEPT {
            self.spare.push(run);
        }
        message
    }

    /// Begins a route: `then` follows its end.
    pub(super) fn enter(run: &mut Run, kind: RouteKind, route: RouteId, then: Then) {
        run.work.kind = kind;
        run.vm.enter(&run.program, route);
        run.then.push(then);
    }

    /// Runs scripts and what follows them until all is done or something has to wait.
    pub(super) fn drive(&mut self, step: &mut Step<'_>, mut run: Box<Run>) {
        self.log_prefix(step, &mut run);
        run.began.get_or_insert(step.now.mono);
        loop {
            let Run {
                vm, work, program, ..
            } = &mut *run;
            let env = Env {
                now: step.now,
                state: &mut self.state,
                out: step.out,
            };
            let pause = vm.run(program, &mut Call { env, work, program });
            let goes_on = match pause {
                Pause::Ended(end) => self.ended(step, &mut run, end),
                Pause::Wait => self.asked(step, &mut run),
            };
            match goes_on {
                Next::Run => {}
                Next::Done => return self.done(step, run),
                Next::Parked => match self.park(step, run) {
                    None => return,
                    Some(refused) => run = refused,
                },
            }
        }
    }

    /// `log_prefix` is what it was when the message came.
    fn log_prefix(&mut self, step: &mut Step<'_>, run: &mut Run) {
        let Run {
            vm, work, program, ..
        } = run;
        if work.log_prefix.is_some() || !program.has_log_prefix() {
            return;
        }
        let env = Env {
            now: step.now,
            state: &mut self.state,
            out: step.out,
        };
        let prefix = vm.log_prefix(program, &mut Call { env, work, program });
        work.log_prefix = prefix;
    }

    fn ended(&mut self, step: &mut Step<'_>, run: &mut Run, end: End) -> Next {
        self.script_took(step, run);
        match run.then.pop() {
            Some(Then::Request) => self.request_ended(step, run),
            Some(Then::Announced(message)) => self.announced(step, run, (*message, end)),
            Some(Then::PreRouting(kind)) => self.pre_routing_ended(step, run, (kind, end)),
            Some(Then::Branch(relay)) => self.branch_route_ended(step, run, relay, end),
            Some(Then::Onsend(relay)) => self.onsend_route_ended(step, run, relay, end),
            Some(Then::OnsendReply(held)) => self.onsend_reply_ended(step, run, *held, end),
            Some(Then::CoreReply) => self.core_reply_ended(step, run, end),
            Some(Then::StrayReply) => self.stray_reply_ended(step, run, end),
            Some(Then::Reply(id)) => self.reply_route_ended(step, run, id, end),
            Some(Then::BranchFailure(id)) => self.branch_failure_ended(step, run, id),
            Some(Then::Dialog(interrupted)) => self.dialog_route_ended(step, run, *interrupted),
            Some(Then::Failure { branch_count, best }) => {
                self.failure_route_ended(step, run, branch_count, best)
            }
            Some(Then::Continued) => self.continued_ended(step, run),
            Some(Then::LocalRequest(id)) => self.local_request_ended(step, run, id, end),
            Some(Then::Network) => {
                self.network_route_ended(step, &run.work);
                Next::Done
            }
            Some(Then::Event) | None => Next::Done,
        }
    }

    fn asked(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        run.asking = None;
        match run.work.ask.take() {
            // Nothing of SIP is done with a request of HTTP.
            Some(Ask::Relay(_) | Ask::Forward) if run.work.message.is_http() => {
                run.vm.resume(-1);
                Next::Run
            }
            Some(Ask::Relay(options)) => self.t_relay(step, run, options),
            Some(Ask::Forward) => self.forward(step, run),
            Some(Ask::Sleep(length)) => {
                run.sleeps = Some(length);
                Next::Parked
            }
            Some(Ask::Nonce(pending)) => {
                let shard = pending.nonce.0;
                let what = Question::Nonce(pending);
                run.asking = Some(Box::new(Asking { shard, what }));
                Next::Parked
            }
            Some(Ask::Lookup(lookup, purpose)) => {
                run.looking = Some((lookup, purpose));
                Next::Parked
            }
            Some(Ask::Dialogs(code)) => self.dialogs_within(step, run, code),
            Some(Ask::Exec(command)) => {
                run.command = Some(command);
                Next::Parked
            }
            Some(Ask::Elsewhere(shard, which, order)) => {
                let what = Question::Dialog(which, order);
                run.asking = Some(Box::new(Asking { shard, what }));
                Next::Parked
            }
            Some(Ask::Order(shard, order)) => {
                let what = Question::Transaction(order);
                run.asking = Some(Box::new(Asking { shard, what }));
                Next::Parked
            }
            Some(Ask::Continue(key, route)) => self.continue_within(step, run, (key, route)),
            Some(Ask::Replied(route, to, bytes)) => {
                self.replied_within(step, run, (route, to, bytes))
            }
            Some(Ask::ForwardReply(status)) => self.forward_reply(step, run, status),
            Some(Ask::SendLocals) => {
                self.send_locals(step);
                run.vm.resume(1);
                Next::Run
            }
            None => {
                run.vm.resume(-1);
                Next::Run
            }
        }
    }

    /// Keeps a run until the world answers. The call's other messages wait behind it. When too many
    /// wait already the run comes back: what it asked for has failed, and it goes on.
    pub(super) fn park(&mut self, step: &mut Step<'_>, mut run: Box<Run>) -> Option<Box<Run>> {
        if self.runs.len() >= PARKED_RUN_COUNT_MAX {
            self.refuse_to_wait(step, &mut run);
            return Some(run);
        }
        self.queue.begin(run.call);
        let key = self.runs.next_key();
        let length = run.sleeps.unwrap_or(crate::limits::RESOLVE_TIMEOUT);
        let timer = self.env(step).start(length, Timer::Parked(key));
        run.wait_timer = Some(timer);
        run.waits_since = Some(step.now.mono);
        let query = run.resolving.as_ref().and_then(|relay| relay.query.clone());
        if let Some(asking) = &run.asking {
            self.ask_shard(step, key, asking);
        }
        let lookup = run.looking.as_ref().map(|(lookup, _)| lookup.clone());
        if let Some(command) = run.command.take() {
            step.out.push(crate::effect::Effect::Exec(key, command));
        }
        let routing = run.resolving.as_ref().and_then(|relay| relay.routing);
        let inserted = self.runs.insert(run);
        debug_assert_eq!(inserted, key);
        let token = Token::Run(key);
        if let Some(query) = query {
            step.out.push(Effect::Resolve(token, query));
        }
        if let Some(lookup) = lookup {
            step.out.push(Effect::Lookup(token, lookup));
        }
        if let Some(ip) = routing {
            Shard::ask_route(step, crate::effect::Token::Run(key), ip);
        }
        None
    }

    /// The name servers have answered a script.
    pub(super) fn found(
        &mut self,
        step: &mut Step<'_>,
        key: Key,
        found: Result<Vec<NameRecord>, ResolveError>,
    ) {
        if let Some(run) = self.unpark(step, key) {
            self.looked(step, run, found);
        }
    }

    /// The script goes on with what is known of the name.
    pub(super) fn looked(
        &mut self,
        step: &mut Step<'_>,
        mut run: Box<Run>,
        found: Result<Vec<NameRecord>, ResolveError>,
    ) {
        let names = &mut self.state.stores.names;
        let code = match run.looking.take() {
            Some((lookup, purpose)) => ipops::looked(names, &lookup, purpose, found),
            None => -1,
        };
        run.vm.resume(code);
        self.drive(step, run);
    }

    /// The function that would have waited returns a failure instead.
    fn refuse_to_wait(&mut self, step: &mut Step<'_>, run: &mut Run) {
        self.state.counters.runs_refused += 1;
        let text = "too many scripts wait; a function that would have waited fails";
        self.env(step).log(Level::Err, text);
        (run.sleeps, run.asking, run.command) = (None, None, None);
        run.looking = None;
        match run.resolving.take() {
            Some(relay) => self.relay_unresolved(step, run, relay, 503),
            None => run.vm.resume(-1),
        }
    }

    /// Takes a run out that waited; `None` when it is gone.
    pub(super) fn unpark(&mut self, step: &mut Step<'_>, key: Key) -> Option<Box<Run>> {
        let Some(mut run) = self.runs.remove(key) else {
            self.state.counters.stale_answers += 1;
            return None;
        };
        self.queue.end(run.call);
        let timer = run.wait_timer.take();
        self.env(step).stop(timer);
        if let Some(since) = run.waits_since.take() {
            self.action_waited(step, &run, since);
        }
        Some(run)
    }

    /// A run is over: its parts go back, and what waited behind it has its turn.
    pub(super) fn done(&mut self, step: &mut Step<'_>, mut run: Box<Run>) {
        if self.dialogs_after(step, &mut run) {
            return self.drive(step, run);
        }
        let (call, transaction) = (run.call, run.work.transaction);
        let message = self.spare(run);
        if let Some(key) = transaction {
            tm::reap(&mut self.env(step), key);
        }
        self.recycle(message);
        let mut next = self.queue.next(call, true);
        while let Some(waiting) = next {
            match waiting {
                Waiting::Message(message, flow) => self.message(step, message, flow),
                Waiting::Timer(timer) => self.timer(step, timer),
                Waiting::Unsent(id) => self.not_sent(step, id),
                Waiting::Continue(key, route) => self.continue_transaction(step, key, route),
            }
            next = self.queue.next(call, false);
        }
    }

    /// The call of a transaction, if one of its scripts waits.
    pub(super) fn waiting_call(&self, transaction: Key) -> Option<u32> {
        let t = self.state.tm.get(transaction)?;
        let call = t.request.call();
        self.queue.is_waiting(call).then_some(call)
    }

    /// Lends the attribute-value pairs of a transaction to a work about it.
    pub(super) fn lend(&mut self, work: &mut Work, transaction: Key) {
        work.transaction = Some(transaction);
        if let Some(t) = self.state.tm.get_mut(transaction) {
            work.avps = std::mem::take(&mut t.saved.avps);
            work.flags = t.saved.flags;
            work.plan = t.plan.clone();
            if work.dialog.current.is_none() {
                work.dialog = dialog::Context::of(t.dialog);
            }
        }
    }

    /// Gives them back.
    pub(super) fn give_back(&mut self, work: &mut Work) {
        if let Some(t) = work.transaction.and_then(|key| self.state.tm.get_mut(key)) {
            t.saved.avps = std::mem::take(&mut work.avps);
            t.saved.flags = work.flags;
        }
    }

    /// A work about the stored request of a transaction.
    pub(super) fn work_on(&mut self, kind: RouteKind, transaction: Key) -> Option<Work> {
        let t = self.state.tm.get(transaction)?;
        let mut work = Work::new(kind, Rc::clone(&t.request), t.flow);
        work.target = t.saved.target.clone();
        work.edits.clone_from(&t.saved.edits);
        work.reply_headers.clone_from(&t.saved.reply_headers);
        work.force_rport = t.saved.force_rport;
        work.local_rport = t.saved.local_rport;
        work.server_id = t.saved.server_id;
        work.via_wishes = t.saved.via_wishes;
        work.advertised = t.saved.advertised.clone();
        work.stream = t.saved.stream;
        work.mtu_proto = t.saved.mtu_proto;
        work.rr = t.saved.rr.clone();
        self.lend(&mut work, transaction);
        Some(work)
    }
}

/// What [`Shard::drive`] is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Run the machine on.
    Run,
    /// Nothing is left to run.
    Done,
    /// Wait for the world.
    Parked,
}
