//! Routes that run inside a function of another script: what `t_continue` goes on with, and
//! `event_route[sl:local-response]`. The function returns when the route has ended or waits for
//! the world.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Executed, Level, TransactionOrder};
use crate::limits::INNER_DEPTH_MAX;
use crate::modules::tm;
use crate::modules::work::{Bytes, Work};
use crate::script::{Program, RouteId, RouteKind};
use crate::sip::Message;
use crate::slab::Key;

use super::queue::Waiting;
use super::run::{Next, Run, Then};
use super::{Shard, Step};

impl Shard {
    /// `t_continue`.
    pub(super) fn continue_within(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        (key, route): (Key, RouteId),
    ) -> Next {
        let code = if self.is_deep(step) { -1 } else { 1 };
        if code > 0 {
            self.continue_transaction(step, key, route);
        }
        run.vm.resume(code);
        Next::Run
    }

    /// Goes on with a suspended request in a route of its own script. What it opens is a leg, as
    /// in a failure_route.
    pub(super) fn continue_transaction(&mut self, step: &mut Step<'_>, key: Key, route: RouteId) {
        if let Some(call) = self.waiting_call(key) {
            self.queue.push(call, Waiting::Continue(key, route));
            return;
        }
        let is_waiting = |t: &&tm::Transaction| t.is_suspended && !t.server.is_final();
        let Some(t) = self.state.tm.get(key).filter(is_waiting) else {
            return;
        };
        let program = Arc::clone(&t.program);
        tm::wake(&mut self.env(step), key);
        let Some(work) = self.work_on(RouteKind::Failure, key) else {
            return;
        };
        let mut run = self.new_run(program, work);
        Shard::enter(&mut run, RouteKind::Failure, route, Then::Continued);
        self.drive_within(step, run);
    }

    /// The route that a suspended request went on with is over: whoever waits gets an answer.
    pub(super) fn continued_ended(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        if run.work.relay_error != 0 {
            self.answer_failed_relay(step, run);
        }
        self.give_back(&mut run.work);
        let is_left =
            |t: &tm::Transaction| t.branches.is_empty() && !t.server.is_final() && !t.is_suspended;
        if let Some(key) = run.work.transaction
            && self.state.tm.get(key).is_some_and(is_left)
        {
            tm::upstream::fail(&mut self.env(step), key, 500);
        }
        Next::Done
    }

    /// What another shard's script wants of a transaction of this one. False: there is none.
    pub(super) fn ordered(&mut self, step: &mut Step<'_>, order: &TransactionOrder) -> bool {
        match order {
            TransactionOrder::Continue { key, route } => {
                let route = tm::suspended(&self.state, *key, route);
                if let Some(route) = route {
                    self.continue_transaction(step, *key, route);
                }
                route.is_some()
            }
            TransactionOrder::Cancel { .. } | TransactionOrder::Reply { .. } => {
                tm::perform(&mut self.env(step), order)
            }
        }
    }

    /// A command that a script has given is answered.
    pub(super) fn executed(
        &mut self,
        step: &mut Step<'_>,
        key: Key,
        answer: Option<Box<Executed>>,
    ) {
        let Some(mut run) = self.unpark(step, key) else {
            return;
        };
        run.vm.resume(if answer.is_some() { 1 } else { -1 });
        self.state.stores.executed = answer.or(self.state.stores.executed.take());
        self.drive(step, run);
    }

    /// `event_route[sl:local-response]` sees the reply that was sent.
    pub(super) fn replied_within(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        (route, to, bytes): (RouteId, Destination, Bytes),
    ) -> Next {
        if let Ok(reply) = Message::parse(&bytes)
            && !self.is_deep(step)
        {
            let mut work = Work::new(RouteKind::Event, Rc::new(reply), run.work.flow);
            work.sending = Some((to, bytes));
            let program = Arc::clone(&run.program);
            self.event_within(step, program, route, work);
        }
        run.vm.resume(1);
        Next::Run
    }

    /// Runs an event route about a message, and nothing follows it.
    pub(super) fn event_within(
        &mut self,
        step: &mut Step<'_>,
        program: Arc<Program>,
        route: RouteId,
        work: Work,
    ) {
        let mut run = self.new_run(program, work);
        Shard::enter(&mut run, RouteKind::Event, route, Then::Event);
        self.drive_within(step, run);
    }

    fn drive_within(&mut self, step: &mut Step<'_>, run: Box<Run>) {
        self.depth += 1;
        self.drive(step, run);
        self.depth -= 1;
    }

    /// Whether routes are nested as deep as they may be.
    fn is_deep(&mut self, step: &mut Step<'_>) -> bool {
        let is_deep = self.depth >= INNER_DEPTH_MAX;
        if is_deep {
            let text = "routes within routes are nested too deep; one does not run";
            self.env(step).log(Level::Err, text);
        }
        is_deep
    }
}
