//! A response on its way through this element: RFC 3261 §16.7.
//!
//! ```text
//!   reply_route ─▶ branch (grid) ─▶ onreply_route ─▶ provisional, 2xx: upstream
//!                                                    failure: stored ─▶ all failed?
//!                                       event_route[tm:branch-failure] ─▶ failure_route ─▶ best
//! ```

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Flow, Level};
use crate::modules::dialog::{self, life};
use crate::modules::journal::{Line, What};
use crate::modules::tm::branch::{self, Told, Which};
use crate::modules::tm::client::Event;
use crate::modules::tm::upstream::{self, Decision};
use crate::modules::tm::{self, Stored};
use crate::modules::uac;
use crate::modules::work::Bytes;
use crate::script::{End, RouteKind};
use crate::sip::{Edits, Message, Method};
use crate::slab::Key;
use crate::timer::Branch;

use super::outgoing;
use super::passing::Passing;
use super::queue::Waiting;
use super::run::{Next, Run, Then};
use super::{Shard, Step};

/// RFC 3326: why the other branches of an answered call are cancelled.
const COMPLETED_ELSEWHERE: &[u8] = b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n";

impl Shard {
    /// A response has come in.
    pub(super) fn response(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        if message.violation().is_some() {
            self.state.counters.responses_dropped += 1;
            return self.recycle(message);
        }
        let program = Arc::clone(&self.state.setup.program);
        let mut run = self.run_about(program, (RouteKind::Reply, message, flow));
        let next = self.enter_main(step, &mut run, RouteKind::Reply);
        self.go_on(step, run, next);
    }

    /// The reply_route is over; dropping there keeps the response from the transaction.
    pub(super) fn core_reply_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        end: End,
    ) -> Next {
        let is_dropped = match end {
            End::Drop => true,
            End::Return(code) => code <= 0,
            End::Exit => run.work.is_dropped,
        };
        if is_dropped {
            Next::Done
        } else {
            self.match_response(step, run)
        }
    }

    pub(super) fn match_response(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        let message = Rc::clone(&run.work.message);
        let Some(own) = self.state.tm.find_branch(&message) else {
            return self.stray_response(step, run);
        };
        self.state.counters.answers_matched += 1;
        let id = own.branch;
        let of = self.state.tm.get(id.transaction);
        let is_relayed = of.is_some_and(|t| t.request.method() == Method::Cancel);
        if message.method() == Method::Cancel && !is_relayed {
            // §16.10: the answer to our CANCEL ends here; that to a CANCEL of another, whose INVITE
            // nobody here has seen, goes on.
            branch::cancel_answered(&mut self.env(step), id);
            return Next::Done;
        }
        let is_method = self
            .state
            .tm
            .get(id.transaction)
            .is_some_and(|t| t.request.method_name() == message.method_name());
        if !is_method {
            self.state.counters.responses_dropped += 1;
            return Next::Done;
        }
        self.branch_response(step, run, id)
    }

    /// A response that matches nothing: `on_sl_reply` first.
    fn stray_response(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        let setup = &self.state.setup;
        let name = setup.config.tm.on_sl_reply.as_bytes();
        match run.program.route(RouteKind::Onreply, name) {
            Some(route) => {
                run.work.reply_status = run.work.message.status();
                Shard::enter(run, RouteKind::Reply, route, Then::StrayReply);
                Next::Run
            }
            None => self.stray_allowed(step, run),
        }
    }

    fn stray_allowed(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        if self.holds(step, run, Passing::Stray) {
            return Next::Run;
        }
        self.forward_response(step, run);
        Next::Done
    }

    /// That route is over.
    pub(super) fn stray_reply_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        end: End,
    ) -> Next {
        let is_dropped = end == End::Drop || end == End::Return(0) || run.work.is_dropped;
        if is_dropped {
            return Next::Done;
        }
        self.stray_allowed(step, run)
    }

    /// A response that matches nothing goes to the next Via if the top one is ours (§16.7 step 1,
    /// §16.11).
    pub(super) fn forward_response(&mut self, step: &mut Step<'_>, run: &Run) {
        let message = &run.work.message;
        match outgoing::stateless_reply_destination(&self.state.setup, message) {
            Some(to) => {
                let number = dialog::request::sent_number(&self.state, message);
                let press = &mut self.state.press;
                let bytes = upstream::without_our_via(press, message, &run.work.edits, number);
                self.state.counters.responses_relayed += 1;
                let (call, line) = (message.call(), Line::of(message));
                let mut env = self.env(step);
                env.note(call, What::Sent(line, to.proto, to.remote));
                env.send(to, bytes);
            }
            None => self.state.counters.responses_dropped += 1,
        }
    }

    /// `sl_forward_reply`, `forward_reply`: the reply at work goes to the next Via now.
    pub(super) fn forward_reply(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        status: Option<(u16, Bytes)>,
    ) -> Next {
        let message = &run.work.message;
        let to = outgoing::stateless_reply_destination(&self.state.setup, message);
        if let Some(to) = to {
            let mut edits = Edits::new();
            if let Some((status, reason)) = status {
                let line = [format!("SIP/2.0 {status} ").as_bytes(), &reason, b"\r\n"].concat();
                edits.replace(message.start_line_span(), &line);
            }
            edits.extend_from(&run.work.edits);
            let number = dialog::request::sent_number(&self.state, message);
            let bytes = upstream::without_our_via(&mut self.state.press, message, &edits, number);
            self.state.counters.responses_relayed += 1;
            self.env(step).send(to, bytes);
        }
        run.vm.resume(if to.is_some() { 1 } else { -1 });
        Next::Run
    }

    fn branch_response(&mut self, step: &mut Step<'_>, run: &mut Run, id: Branch) -> Next {
        let message = Rc::clone(&run.work.message);
        let event = match message.status() {
            ..=199 => Event::Provisional,
            200..=299 => Event::Success,
            300.. => Event::Failure,
        };
        let told = branch::step(&mut self.env(step), id, event, Some(&message));
        if told != Told::Pass {
            tm::reap(&mut self.env(step), id.transaction);
            return Next::Done;
        }
        let Some(t) = self.state.tm.get_mut(id.transaction) else {
            return Next::Done;
        };
        if let Some(b) = t.branches.get_mut(usize::from(id.index)) {
            b.status = message.status();
        }
        let on_reply = t.plan.on_reply;
        run.program = Arc::clone(&t.program);
        run.work.branch = Some(id.index);
        run.work.reply_status = message.status();
        self.lend(&mut run.work, id.transaction);
        if let Some(t) = self.state.tm.get(id.transaction) {
            let config = &self.state.setup.config.uac;
            let names = (t.saved.names, config, &run.work.avps);
            let edits = &mut run.work.edits;
            uac::replace::restore_in_response(names, &t.request, &message, edits);
        }
        match on_reply {
            Some(route) => {
                Shard::enter(run, RouteKind::Onreply, route, Then::Reply(id));
                Next::Run
            }
            None => self.pass_response(step, run, id),
        }
    }

    /// An onreply_route is over. Only a provisional response can be dropped there.
    pub(super) fn reply_route_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        id: Branch,
        end: End,
    ) -> Next {
        let is_dropped = end == End::Drop || run.work.is_dropped;
        if is_dropped && run.work.message.status() < 200 {
            self.give_back(&mut run.work);
            return Next::Done;
        }
        self.pass_response(step, run, id)
    }

    fn pass_response(&mut self, step: &mut Step<'_>, run: &mut Run, id: Branch) -> Next {
        // §16.7 step 5: a 100 never goes further.
        if run.work.message.status() == 100 {
            self.give_back(&mut run.work);
            return Next::Done;
        }
        if self.is_local(id.transaction) {
            return self.local_answered(step, run, id);
        }
        if self.is_replica(id.transaction) {
            self.give_back(&mut run.work);
            tm::reap(&mut self.env(step), id.transaction);
            return Next::Done;
        }
        if run.work.message.status() < 300 && self.holds(step, run, Passing::Up(id)) {
            return Next::Run;
        }
        self.pass_on(step, run, id)
    }

    /// The response may go on: upstream, or to the failures of its fork.
    pub(super) fn pass_on(&mut self, step: &mut Step<'_>, run: &mut Run, id: Branch) -> Next {
        let message = Rc::clone(&run.work.message);
        let mut edits = std::mem::take(&mut run.work.edits);
        let key = id.transaction;
        match message.status() {
            ..=199 => self.pass_up(step, run, key, (&message, &edits)),
            200..=299 => self.pass_success(step, run, id, (&message, &edits)),
            300.. => {
                let Some(t) = self.state.tm.get_mut(key) else {
                    return Next::Done;
                };
                if let Some(b) = t.branches.get_mut(usize::from(id.index)) {
                    b.response = Some(Stored { message, edits });
                }
                return self.branch_failed(step, run, id);
            }
        }
        // The next run has its memory.
        edits.clear();
        run.work.edits = edits;
        self.give_back(&mut run.work);
        Next::Done
    }

    /// Passes a response on, and its dialog learns of it.
    fn pass_up(
        &mut self,
        step: &mut Step<'_>,
        run: &Run,
        key: Key,
        (message, edits): (&Rc<Message>, &Edits),
    ) {
        if upstream::relay(&mut self.env(step), key, message, edits) {
            let (status, flow) = (message.status(), Some(run.work.flow));
            let reply = life::Reply {
                status,
                message: Some(message),
                flow,
            };
            life::replied(&mut self.env(step), key, reply);
        }
    }

    /// §16.7 steps 5 and 10: every 2xx to an INVITE goes up at once, and the rest is cancelled.
    fn pass_success(
        &mut self,
        step: &mut Step<'_>,
        run: &Run,
        id: Branch,
        response: (&Rc<Message>, &Edits),
    ) {
        let key = id.transaction;
        self.pass_up(step, run, key, response);
        let says_why = self.state.setup.config.tm.local_cancel_reason;
        if let Some(t) = self
            .state
            .tm
            .get_mut(key)
            .filter(|t| says_why && t.cancel_reason.is_empty())
        {
            t.cancel_reason = Cow::Borrowed(COMPLETED_ELSEWHERE);
        }
        let answered = branch::cancel(&mut self.env(step), key, Which::Others(id.index));
        upstream::mark_cancelled(&mut self.env(step), key, &answered);
    }

    /// A branch has failed by a response, a timer or the network: its status is known.
    fn branch_failed(&mut self, step: &mut Step<'_>, run: &mut Run, id: Branch) -> Next {
        if self.is_local(id.transaction) {
            self.give_back(&mut run.work);
            self.local_failed(step, id);
            return Next::Done;
        }
        if self.is_replica(id.transaction) {
            self.give_back(&mut run.work);
            tm::reap(&mut self.env(step), id.transaction);
            return Next::Done;
        }
        let taken = self
            .state
            .tm
            .get_mut(id.transaction)
            .and_then(|t| t.plan.on_branch_failure.take());
        let Some(route) = taken else {
            return self.branch_failure_ended(step, run, id);
        };
        self.give_back(&mut run.work);
        match self.work_on(RouteKind::Event, id.transaction) {
            Some(work) => {
                let old = std::mem::replace(&mut run.work, work);
                self.recycle(old.message);
                run.work.reply_status = self.branch_status(id);
                run.work.branch = Some(id.index);
                run.work.plan.on_branch = None;
                Shard::enter(run, RouteKind::Event, route, Then::BranchFailure(id));
                Next::Run
            }
            None => Next::Done,
        }
    }

    /// Whether a transaction's branches are copies whose answers nobody wants.
    fn is_replica(&self, key: Key) -> bool {
        self.state.tm.get(key).is_some_and(|t| t.is_replica)
    }

    fn branch_status(&self, id: Branch) -> u16 {
        let t = self.state.tm.get(id.transaction);
        t.and_then(|t| t.branches.get(usize::from(id.index)))
            .map_or(0, |b| b.status)
    }

    /// Looks at what is left of the fork, and runs the failure_route when nothing is.
    pub(super) fn branch_failure_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        id: Branch,
    ) -> Next {
        let key = id.transaction;
        let decision = upstream::decide(&mut self.env(step), key, id.index);
        let Decision::Failed { best, status } = decision else {
            self.give_back(&mut run.work);
            return Next::Done;
        };
        self.give_back(&mut run.work);
        match self.enter_failure_route(run, key, (Some(best), status)) {
            true => Next::Run,
            false => self.send_best(step, run, key, best),
        }
    }

    /// The best failure goes to the caller.
    fn send_best(&mut self, step: &mut Step<'_>, run: &mut Run, key: Key, best: u8) -> Next {
        if self.holds(step, run, Passing::Best(key, best)) {
            return Next::Run;
        }
        upstream::send_best(&mut self.env(step), key, best);
        Next::Done
    }

    /// Makes the run that of the transaction's failure_route. False: it has none.
    fn enter_failure_route(
        &mut self,
        run: &mut Run,
        key: Key,
        (best, status): (Option<u8>, u16),
    ) -> bool {
        let taken = self
            .state
            .tm
            .get_mut(key)
            .map(|t| (t.plan.on_failure.take(), t.branches.len()));
        let Some((Some(route), branch_count)) = taken else {
            return false;
        };
        let Some(work) = self.work_on(RouteKind::Failure, key) else {
            return false;
        };
        let old = std::mem::replace(&mut run.work, work);
        self.recycle(old.message);
        run.work.reply_status = status;
        run.work.branch = best;
        run.work.plan.on_branch = None;
        let then = Then::Failure { branch_count, best };
        Shard::enter(run, RouteKind::Failure, route, then);
        true
    }

    /// A failure_route is over: if it opened no branch and sent no reply, the failure goes up.
    pub(super) fn failure_route_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        branch_count: usize,
        best: Option<u8>,
    ) -> Next {
        let Some(key) = run.work.transaction else {
            return Next::Done;
        };
        self.give_back(&mut run.work);
        let Some(t) = self.state.tm.get(key) else {
            return Next::Done;
        };
        if t.branches.len() == branch_count && !t.server.is_final() && !t.is_suspended {
            match best {
                Some(best) => return self.send_best(step, run, key, best),
                None => upstream::fail(&mut self.env(step), key, 408),
            }
        }
        Next::Done
    }

    /// Nobody has continued a suspended request in time.
    fn not_continued(&mut self, step: &mut Step<'_>, key: Key) {
        tm::wake(&mut self.env(step), key);
        let program = self.state.tm.get(key).map(|t| Arc::clone(&t.program));
        let (Some(program), Some(work)) = (program, self.work_on(RouteKind::Failure, key)) else {
            return;
        };
        let mut run = self.new_run(program, work);
        self.give_back(&mut run.work);
        if !self.enter_failure_route(&mut run, key, (None, 408)) {
            upstream::fail(&mut self.env(step), key, 408);
            return self.done(step, run);
        }
        self.drive(step, run);
    }

    /// A request of ours could not be put on the wire: the next address, or a failure.
    pub(super) fn not_sent(&mut self, step: &mut Step<'_>, id: Branch) {
        if let Some(call) = self.waiting_call(id.transaction) {
            self.queue.push(call, Waiting::Unsent(id));
            return;
        }
        let told = branch::step(&mut self.env(step), id, Event::Unsent, None);
        if told == Told::Unsent && !self.try_next_hop(step, id) {
            self.fail_branch(step, id, 477);
        }
    }

    /// A branch has ended without a response: it counts as answered with this status, made here.
    pub(super) fn fail_branch(&mut self, step: &mut Step<'_>, id: Branch, status: u16) {
        let Some(t) = self.state.tm.get_mut(id.transaction) else {
            return;
        };
        // What was cancelled and did not answer has been cancelled.
        let status = if t.is_cancelled && status == 408 {
            487
        } else {
            status
        };
        let program = Arc::clone(&t.program);
        if let Some(b) = t.branches.get_mut(usize::from(id.index)) {
            b.status = status;
            b.is_local = true;
        }
        self.state.counters.timeouts += u64::from(status == 408);
        let Some(work) = self.work_on(RouteKind::Event, id.transaction) else {
            return;
        };
        let mut run = self.new_run(program, work);
        let next = self.branch_failed(step, &mut run, id);
        self.go_on(step, run, next);
    }

    /// RFC 3263 §4.3: the branch's next address, if one is left and nobody has answered.
    pub(super) fn try_next_hop(&mut self, step: &mut Step<'_>, id: Branch) -> bool {
        let key = id.transaction;
        let Some(t) = self.state.tm.get_mut(key).filter(|t| !t.is_cancelled) else {
            return false;
        };
        if t.branches.len() >= crate::limits::BRANCH_COUNT_MAX || t.is_answered() {
            return false;
        }
        let (nonce, loop_hash, index) = (t.nonce, t.loop_hash, t.branches.len() as u8);
        let came_in = t.flow.socket;
        let Some(old) = t.branches.get_mut(usize::from(id.index)) else {
            return false;
        };
        let Some(hop) = old.hops.pop_front() else {
            return false;
        };
        let (hops, target) = (std::mem::take(&mut old.hops), old.target.clone());
        let sent = Rc::clone(&old.sent);
        let new = Branch {
            transaction: key,
            index,
        };
        let own = tm::identity::OwnBranch {
            nonce,
            loop_hash,
            branch: new,
        };
        let routed = self.routed_socket(hop, step.now.mono);
        let Some(socket) = routed.or_else(|| {
            let setup = &self.state.setup;
            setup.socket_for(hop.proto, hop.addr.ip(), came_in)
        }) else {
            return false;
        };
        let to = crate::effect::Destination::to(socket, hop.proto, hop.addr);
        let Some(bytes) = outgoing::again(&self.state.setup, &sent, to, own) else {
            return false;
        };
        if let Some(t) = self.state.tm.get_mut(key) {
            t.branches[usize::from(id.index)].status = 408;
            t.branches[usize::from(id.index)].is_local = true;
            t.branches.push(tm::Branch::new(target, to, bytes, hops));
        }
        self.env(step).log(
            Level::Dbg,
            format!("the next address is tried: {}", hop.addr),
        );
        branch::open(&mut self.env(step), new);
        true
    }

    /// The transaction's own time is over: whatever pends has failed.
    pub(super) fn lifetime_over(&mut self, step: &mut Step<'_>, key: Key) {
        let Some(t) = self.state.tm.get_mut(key) else {
            return;
        };
        t.life_timer = None;
        if t.is_suspended && !t.server.is_final() {
            return self.not_continued(step, key);
        }
        let pending: Vec<u8> = (0u8..)
            .zip(&t.branches)
            .filter(|(_, b)| b.state.is_pending())
            .map(|(i, _)| i)
            .collect();
        if pending.is_empty() && !t.server.is_final() {
            return upstream::fail(&mut self.env(step), key, 408);
        }
        for index in pending {
            let id = Branch {
                transaction: key,
                index,
            };
            let told = branch::step(&mut self.env(step), id, Event::FinalTimeout, None);
            if told == Told::TimedOut {
                self.fail_branch(step, id, 408);
            }
        }
    }
}
