//! `onsend_route_reply`: the onsend_route sees responses, too, before they are passed on. What it
//! changes has no effect, as in the original; what it drops is not sent, as if it were lost.

use std::rc::Rc;

use crate::effect::Destination;
use crate::modules::dialog;
use crate::modules::tm::upstream;
use crate::modules::work::Bytes;
use crate::script::{End, RouteKind};
use crate::sip::{Edits, Message};
use crate::slab::Key;
use crate::timer::Branch;

use super::outgoing;
use super::run::{Next, Run, Then};
use super::{Shard, Step};

/// A response that waits for the onsend_route.
#[derive(Debug)]
pub(super) struct Held {
    passing: Passing,
    kind: RouteKind,
    edits: Edits,
}

/// What is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passing {
    /// A provisional response or a 2xx of this branch.
    Up(Branch),
    /// The best failure, of this branch.
    Best(Key, u8),
    /// A response that belongs to no transaction.
    Stray,
}

impl Shard {
    /// Enters the onsend_route for a response, if that is wanted and there is one.
    pub(super) fn holds(&mut self, step: &mut Step<'_>, run: &mut Run, passing: Passing) -> bool {
        if !self.state.setup.config.core.onsend_route_reply {
            return false;
        }
        let Some(route) = run.program.main(RouteKind::Onsend) else {
            return false;
        };
        let Some((message, sending)) = self.held_message(step, run, passing) else {
            return false;
        };
        if let Passing::Best(key, _) = passing {
            let Some(work) = self.work_on(RouteKind::Onsend, key) else {
                return false;
            };
            run.work = work;
        }
        run.work.message = message;
        run.work.sending = Some(sending);
        let (kind, edits) = (run.work.kind, std::mem::take(&mut run.work.edits));
        let held = Held {
            passing,
            kind,
            edits,
        };
        Shard::enter(
            run,
            RouteKind::Onsend,
            route,
            Then::OnsendReply(Box::new(held)),
        );
        true
    }

    /// The response, and where and how it would leave.
    fn held_message(
        &mut self,
        step: &mut Step<'_>,
        run: &Run,
        passing: Passing,
    ) -> Option<(Rc<Message>, (Destination, Bytes))> {
        let message = Rc::clone(&run.work.message);
        match passing {
            Passing::Up(id) => {
                let t = self.state.tm.get(id.transaction)?;
                let number = Some(t.request.cseq().number);
                let press = &mut self.state.press;
                let bytes = upstream::without_our_via(press, &message, &run.work.edits, number);
                Some((message, (t.reply_to, bytes)))
            }
            Passing::Best(key, best) => {
                let to = self.state.tm.get(key)?.reply_to;
                let (message, bytes) = upstream::best_response(&mut self.env(step), key, best)?;
                Some((message, (to, bytes)))
            }
            Passing::Stray => {
                let to = outgoing::stateless_reply_destination(&self.state.setup, &message)?;
                let number = dialog::request::sent_number(&self.state, &message);
                let press = &mut self.state.press;
                let bytes = upstream::without_our_via(press, &message, &run.work.edits, number);
                Some((message, (to, bytes)))
            }
        }
    }

    /// The onsend_route is over: the response goes on as if it had not been looked at.
    pub(super) fn onsend_reply_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        held: Held,
        end: End,
    ) -> Next {
        run.work.sending = None;
        run.work.kind = held.kind;
        run.work.edits = held.edits;
        if end == End::Drop || run.work.is_dropped {
            self.give_back(&mut run.work);
            return Next::Done;
        }
        match held.passing {
            Passing::Up(id) => return self.pass_on(step, run, id),
            Passing::Best(key, best) => {
                self.give_back(&mut run.work);
                upstream::send_best(&mut self.env(step), key, best);
            }
            Passing::Stray => self.forward_response(step, run),
        }
        Next::Done
    }
}
