//! Event routes that no message has caused, or that come before its own: the start, an item that
//! has expired, `core:msg-received` and `core:pre-routing`.
//!
//! Where there is no message such a route sees a request of nobody, as the original's does:
//! `OPTIONS sip:you@kamailio.org`. What it would send goes nowhere that matters; what it sets
//! stays.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::Flow;
use crate::modules::htable;
use crate::script::{End, RouteKind};
use crate::sip::Message;
use crate::steer::{self, ShardId};
use crate::timer::Item;

use super::run::{Next, Run, Then};
use super::{Shard, Step};

impl Shard {
    /// What runs once on each shard, before its first input.
    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.event(step, "htable:mod-init");
            if self.state.id == ShardId(0) {
                self.event(step, "core:worker-one-init");
            }
        }
    }

    /// The time of an item has come: its route sees it once more.
    pub(super) fn item_expired(&mut self, step: &mut Step<'_>, item: Item) {
        let Some((table, item)) = htable::expire(&mut self.state, item) else {
            return;
        };
        // Each shard has the item and lets it go; one of them says so.
        let owner = steer::owner(&item.key, self.state.setup.shard_count);
        if owner != self.state.id {
            return;
        }
        let tables = &mut self.state.stores.tables;
        tables.set_expired(Some((item.key, item.value)));
        self.event(step, &format!("htable:expired:{table}"));
        self.state.stores.tables.set_expired(None);
    }

    /// Bytes have come that are no message.
    pub(super) fn unreadable(&mut self, step: &mut Step<'_>, flow: Flow) {
        let program = Arc::clone(&self.state.setup.program);
        if let Some(route) = program.route(RouteKind::Event, b"core:receive-parse-error") {
            let mut work = self.placeholder_work(None);
            work.flow = flow;
            self.event_within(step, program, route, work);
        }
    }

    /// `received_route_mode`: a route hears of each message, in a request of nobody, and may drop
    /// it. Gives the message back when no route does.
    pub(super) fn announce(
        &mut self,
        step: &mut Step<'_>,
        message: Rc<Message>,
        flow: Flow,
    ) -> Option<(Rc<Message>, Flow)> {
        if !self.state.setup.config.core.announces_messages {
            return Some((message, flow));
        }
        let program = Arc::clone(&self.state.setup.program);
        let Some(route) = program.route(RouteKind::Event, b"core:msg-received") else {
            return Some((message, flow));
        };
        let mut work = self.placeholder_work(None);
        work.flow = flow;
        let mut run = self.new_run(program, work);
        run.call = message.call();
        let then = Then::Announced(Box::new((message, flow)));
        Shard::enter(&mut run, RouteKind::Event, route, then);
        self.drive(step, run);
        None
    }

    /// The message goes its way, with the attribute-value pairs that the route has set.
    pub(super) fn announced(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        ((message, flow), end): ((Rc<Message>, Flow), End),
    ) -> Next {
        if end == End::Drop {
            self.recycle(message);
        } else {
            self.carried = Some(std::mem::take(&mut run.work.avps));
            self.route_message(step, message, flow);
            self.carried = None;
        }
        Next::Done
    }

    /// Enters the main route of a message, behind `core:pre-routing` where there is such.
    pub(super) fn enter_main(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        kind: RouteKind,
    ) -> Next {
        if let Some(avps) = self.carried.take() {
            run.work.avps = avps;
        }
        match run.program.route(RouteKind::Event, b"core:pre-routing") {
            Some(route) => {
                Shard::enter(run, RouteKind::Event, route, Then::PreRouting(kind));
                Next::Run
            }
            None => self.enter_behind(step, run, kind),
        }
    }

    /// `core:pre-routing` is over; dropping there ends the message.
    pub(super) fn pre_routing_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        (kind, end): (RouteKind, End),
    ) -> Next {
        match end {
            End::Drop => Next::Done,
            End::Exit | End::Return(_) => self.enter_behind(step, run, kind),
        }
    }

    fn enter_behind(&mut self, step: &mut Step<'_>, run: &mut Run, kind: RouteKind) -> Next {
        let then = match kind {
            RouteKind::Request => Then::Request,
            _ => Then::CoreReply,
        };
        match run.program.main(kind) {
            Some(route) => {
                Shard::enter(run, kind, route, then);
                Next::Run
            }
            None => {
                run.work.kind = kind;
                self.match_response(step, run)
            }
        }
    }

    fn event(&mut self, step: &mut Step<'_>, name: &str) {
        let program = Arc::clone(&self.state.setup.program);
        let Some(route) = program.route(RouteKind::Event, name.as_bytes()) else {
            return;
        };
        let work = self.placeholder_work(None);
        let mut run = self.new_run(program, work);
        Shard::enter(&mut run, RouteKind::Event, route, Then::Event);
        self.drive(step, run);
    }
}
