//! A request on its way through this element: RFC 3261 §16.3 to §16.6.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Effect, Flow, Level};
use crate::limits::RETRY_AFTER_S_MAX;
use crate::modules::core::via_port;
use crate::modules::dialog::{life, transfer};
use crate::modules::work::Work;
use crate::modules::{sl, tm};
use crate::script::RouteKind;
use crate::sip::{Message, Method};

use super::run::{Next, Run};
use super::{Shard, Step};

impl Shard {
    /// A request has come in.
    pub(super) fn request(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        if let Some(violation) = message.violation() {
            self.state.counters.violations += 1;
            self.state.counters.bad_uris += u64::from(violation.is_about_uri());
            let text = format!(
                "{}: {} from {}",
                violation.name(),
                message.method_name().escape_ascii(),
                flow.remote
            );
            self.env(step).log(Level::Dbg, text);
            return self.refuse(step, &message, flow, violation.status(), violation.reason());
        }
        self.take_alias(step, &message, flow);
        if message.method() == Method::Ack && sl::is_own_tag(&self.state, &message) {
            self.state.counters.stateless_acks += 1;
            return self.filtered_ack(step, message, flow);
        }
        if transfer::take(&mut self.env(step), &message, flow) {
            return self.recycle(message);
        }
        if self.state.is_draining && self.is_new_work(&message) {
            self.state.counters.drain_refused += 1;
            return self.refuse(step, &message, flow, 503, "Service Unavailable");
        }
        let program = Arc::clone(&self.state.setup.program);
        if program.main(RouteKind::Request).is_none() {
            let text = "no request_route in the configuration: a request is dropped";
            self.env(step).log(Level::Err, text);
            return self.recycle(message);
        }
        let mut run = self.run_about(program, (RouteKind::Request, message, flow));
        run.work.force_rport = self.state.setup.config.core.force_rport;
        run.work.local_rport = self.state.setup.config.core.local_rport;
        let next = self.enter_main(step, &mut run, RouteKind::Request);
        self.go_on(step, run, next);
    }

    /// RFC 5923 §6: `alias` in the Via offers the connection for requests the other way.
    fn take_alias(&self, step: &mut Step<'_>, message: &Message, flow: Flow) {
        let accepts = self.state.setup.config.core.accepts_aliases;
        if let Some(conn) = flow.conn.filter(|_| accepts)
            && message.top_via().param(b"alias").is_some()
        {
            let port = via_port(message, flow.proto);
            step.out.push(Effect::Alias(conn, port));
        }
    }

    /// The ACK to a stateless reply of ours ends here; a script may look at it.
    fn filtered_ack(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        let program = Arc::clone(&self.state.setup.program);
        match program.route(RouteKind::Event, b"sl:filtered-ack") {
            Some(route) => {
                let work = Work::new(RouteKind::Event, message, flow);
                self.event_within(step, program, route, work);
            }
            None => self.recycle(message),
        }
    }

    /// A request has come in for which there is no time if it begins a call: what belongs to one
    /// goes its way.
    pub(super) fn refused(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) {
        // What these bytes are, a route is to say first.
        if self.state.setup.config.corex.intercepts {
            return self.received(step, flow, bytes);
        }
        self.state.counters.received += 1;
        let Some(message) = self.read(step, flow, bytes) else {
            return;
        };
        let is_whole = message.is_request() && message.violation().is_none();
        if !is_whole || !self.is_new_work(&message) {
            return self.read_message(step, flow, message);
        }
        self.state.counters.calls_refused += 1;
        let seconds = 1 + self.state.rng.below(RETRY_AFTER_S_MAX);
        let line = format!("Retry-After: {seconds}\r\n");
        let status = (503, &b"Service Unavailable"[..]);
        sl::reply(&mut self.env(step), &message, flow, status, line.as_bytes());
        self.recycle(message);
    }

    /// Whether a process that is stopping or has no time may refuse the request: it begins
    /// something.
    fn is_new_work(&self, message: &Message) -> bool {
        let method = message.method();
        let begins = !matches!(method, Method::Ack | Method::Cancel) && message.to_tag().is_none();
        begins && self.state.tm.find(message, method).is_none()
    }

    fn refuse(
        &mut self,
        step: &mut Step<'_>,
        message: &Message,
        flow: Flow,
        status: u16,
        reason: &str,
    ) {
        // An ACK is never answered (§17.1.1.3).
        if message.method() != Method::Ack {
            sl::reply(
                &mut self.env(step),
                message,
                flow,
                (status, reason.as_bytes()),
                &[],
            );
        }
    }

    /// The request_route is over: what it left open is closed.
    pub(super) fn request_ended(&mut self, step: &mut Step<'_>, run: &mut Run) -> Next {
        if run.work.relay_error != 0 {
            self.answer_failed_relay(step, run);
        }
        if let Some(key) = run.work.transaction {
            self.release_if_unused(step, run, key);
            self.give_back(&mut run.work);
        }
        life::script_over(&mut self.env(step), &run.work);
        Next::Done
    }

    /// A failed `t_relay` is answered at the end of the script, so that the script may do better.
    pub(super) fn answer_failed_relay(&mut self, step: &mut Step<'_>, run: &mut Run) {
        let code = tm::error_status(run.work.relay_error);
        let reason = tm::upstream::local_reason(code);
        let work = &run.work;
        if work.plan.no_internal_reply || work.is_answered || work.is_error_kept {
            return;
        }
        run.work.is_answered = true;
        match run.work.transaction {
            Some(key) => {
                tm::serve::reply(&mut self.env(step), key, code, reason.as_bytes(), &[]);
            }
            None => {
                let (message, flow) = (Rc::clone(&run.work.message), run.work.flow);
                self.refuse(step, &message, flow, code, reason);
            }
        }
    }

    /// A transaction that was opened and then neither answered nor relayed is released, as the
    /// original does; the caller gets nothing.
    fn release_if_unused(&mut self, step: &mut Step<'_>, run: &mut Run, key: crate::slab::Key) {
        let is_unused = self.state.tm.get(key).is_some_and(|t| {
            let is_open = t.last_reply.is_none() && !t.server.is_final() && !t.is_suspended;
            t.branches.is_empty() && is_open
        });
        if self.state.tm.get(key).is_some_and(|t| t.is_replica) {
            // Who sent the request has been answered otherwise, or is not to be.
            tm::serve::finish_unanswered(&mut self.env(step), key);
        }
        if is_unused {
            let text = "the script opened a transaction and neither answered nor relayed it";
            self.env(step).log(Level::Warn, text);
            run.work.transaction = None;
            tm::forget(&mut self.env(step), key);
        }
    }
}
