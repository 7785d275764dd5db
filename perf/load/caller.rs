//! What the caller does (RFC 3261 §13.2, §15.1.1, §9.1).

use std::cmp::Reverse;
use std::io;

use super::call::{Marks, Nanos, Phase, Sort, scatter};
use super::check::{self, Wrong};
use super::outcome::Way;
use super::read::{Method, Seen};
use super::write::{End, Fill, Request, USERS};
use super::{CANCEL_AFTER, Leaving, Repeated, Run, Task, nanos};

/// A random time is never longer than so many times the average.
const LONGEST: f64 = 8.0;
/// How long after its time the proxy may end a call that nobody ends, seconds.
const END_WITHIN: f64 = 30.0;

/// Calls with keep-alive are so long, seconds, unless all are short: the shortest time between two
/// requests is 30.
const KEPT_S: f64 = 45.0;

/// Which of [`USERS`] is called.
pub(super) fn user(sort: Sort) -> usize {
    match sort {
        Sort::Plain | Sort::Cancelled | Sort::Refused => 0,
        Sort::Kept => 1,
        Sort::Abandoned => 2,
    }
}

impl Run {
    pub(super) fn begin_call(&mut self, now: Nanos, due: Nanos) -> io::Result<()> {
        self.started += 1;
        self.watch.counts.started += 1;
        let number = self.calls.begin(now, due, &self.plan.mix);
        self.leaving[End::Caller as usize].push((number, Leaving::Request));
        self.send_invite(number, false)?;
        self.repeat_later(now, number, Repeated::Invite);
        Ok(())
    }

    pub(super) fn send_invite(&mut self, number: u64, is_again: bool) -> io::Result<()> {
        if let Some(call) = self.calls.get(number).filter(|_| is_again) {
            call.marks.set(Marks::REPEATED);
        }
        self.send_request(Request::Invite, number, b"")
    }

    fn send_request(&mut self, request: Request, number: u64, to: &[u8]) -> io::Result<()> {
        let Some(call) = self.calls.get(number) else {
            return Ok(());
        };
        let user = user(call.sort);
        match request {
            Request::Ack | Request::Bye => self.calls.write_route(number, &mut self.route),
            Request::Invite | Request::AckRefusal | Request::Cancel => self.route.clear(),
        }
        let fill = Fill {
            number,
            route: &self.route,
            to,
        };
        let outbox = &mut self.outboxes[End::Caller as usize];
        outbox.push(|out| self.writer.request(request, user, fill, out));
        self.queued(End::Caller)
    }

    /// Hangs up: what is due is the BYE.
    pub(super) fn hang_up(&mut self, now: Nanos, due: Nanos, number: u64) -> io::Result<()> {
        let Some(call) = self.calls.get(number) else {
            return Ok(());
        };
        if call.phase != Phase::Answered {
            return Ok(());
        }
        (call.phase, call.request_at) = (Phase::Leaving, due);
        self.leaving[End::Caller as usize].push((number, Leaving::Request));
        self.repeat_later(now, number, Repeated::Bye);
        self.send_bye(number)
    }

    pub(super) fn send_bye(&mut self, number: u64) -> io::Result<()> {
        self.send_request(Request::Bye, number, b"")
    }

    pub(super) fn cancel(&mut self, number: u64) -> io::Result<()> {
        match self.calls.get(number).map(|call| call.phase) {
            Some(Phase::Ringing | Phase::Trying) => self.send_request(Request::Cancel, number, b""),
            _ => Ok(()),
        }
    }

    pub(super) fn at_caller(
        &mut self,
        came: Nanos,
        status: u16,
        seen: &Seen<'_>,
    ) -> io::Result<()> {
        match (seen.method, status) {
            (Method::Invite, 100) => self.trying(seen),
            (Method::Invite, 101..200) => self.ringing(came, seen),
            (Method::Invite, 200..300) => self.answered(came, seen),
            (Method::Invite, _) => self.turned_down(status, seen),
            (Method::Bye, 200..300) => self.left(came, seen),
            (Method::Bye, _) => self.finish(seen.number, |counts| counts.failed += 1),
            // To the INVITE there is an answer of its own (RFC 3261 §9.1).
            (Method::Cancel, _) => {}
            (Method::Ack | Method::Options, _) => {
                self.watch.counts.wrong.count(Wrong::Unexpected);
            }
        }
        match (seen.method, status) {
            (Method::Invite, 200..300) => self.acknowledge(came, seen.number),
            (Method::Invite, 300..) => {
                self.send_request(Request::AckRefusal, seen.number, seen.to())
            }
            _ => Ok(()),
        }
    }

    fn trying(&mut self, seen: &Seen<'_>) {
        let verdict = check::answer(&self.writer, seen, false);
        self.judged(verdict);
        let Some(call) = self.calls.get(seen.number) else {
            return;
        };
        let is_late = call.phase > Phase::Trying && !call.marks.has(Marks::REPEATED);
        if call.phase == Phase::Invited {
            call.phase = Phase::Trying;
        }
        self.watch.counts.reordered.trying_late += u64::from(is_late);
    }

    fn ringing(&mut self, came: Nanos, seen: &Seen<'_>) {
        let verdict = check::answer(&self.writer, seen, true);
        self.judged(verdict);
        let Some(call) = self.calls.get(seen.number) else {
            return;
        };
        if call.marks.set(Marks::RINGING_CAME) || call.marks.has(Marks::REPEATED) {
            return;
        }
        self.watch
            .ways
            .record(Way::Ringing, came - call.answer_at.min(came));
        let is_after = call.phase >= Phase::Answered;
        self.watch.counts.reordered.ringing_after_ok += u64::from(is_after);
        if !is_after {
            call.phase = Phase::Ringing;
        }
        if call.sort == Sort::Cancelled {
            self.tasks
                .push(Reverse((came + CANCEL_AFTER, seen.number, Task::Cancel)));
        }
    }

    fn answered(&mut self, came: Nanos, seen: &Seen<'_>) {
        let verdict = check::answer(&self.writer, seen, true);
        self.judged(verdict);
        let patience = nanos(self.plan.patience_s);
        let Some(call) = self.calls.get(seen.number) else {
            return;
        };
        if call.phase >= Phase::Answered {
            return;
        }
        self.watch
            .ways
            .record(Way::Ok, came - call.answer_at.min(came));
        call.phase = Phase::Answered;
        if came > call.request_at + patience {
            call.marks.set(Marks::LATE);
        }
        let sort = call.sort;
        if !self.calls.set_route(seen.number, seen.record_route()) {
            self.watch.counts.wrong.count(Wrong::Routes);
        }
        self.plan_the_end(came, seen.number, sort);
    }

    fn plan_the_end(&mut self, came: Nanos, number: u64, sort: Sort) {
        let (after, task) = match sort {
            Sort::Abandoned => (self.plan.lost_s + END_WITHIN, Task::GiveUp),
            Sort::Plain | Sort::Kept | Sort::Cancelled | Sort::Refused => {
                (self.length(number, sort), Task::HangUp)
            }
        };
        self.tasks
            .push(Reverse((came + nanos(after), number, task)));
    }

    /// Seconds from the ACK to the BYE.
    fn length(&self, number: u64, sort: Sort) -> f64 {
        if sort == Sort::Kept && self.plan.hold_s >= 1.0 {
            return KEPT_S;
        }
        if !self.plan.is_random {
            return self.plan.hold_s;
        }
        // Call lengths are distributed exponentially, nearly; a second scattering, because the
        // first has chosen the sort.
        let chance = (scatter(!number) >> 11) as f64 / (1u64 << 53) as f64;
        self.plan.hold_s * (-(1.0 - chance).ln()).min(LONGEST)
    }

    /// Each 2xx is acknowledged, however often it comes (RFC 3261 §13.2.2.4).
    fn acknowledge(&mut self, came: Nanos, number: u64) -> io::Result<()> {
        if let Some(call) = self.calls.get(number) {
            match call.marks.set(Marks::ACK_LEFT) {
                false => self.leaving[End::Caller as usize].push((number, Leaving::Ack)),
                true => drop(call.marks.set(Marks::ACK_REPEATED)),
            }
        }
        self.send_request(Request::Ack, number, b"")?;
        // A BYE that is due at once must not wait for the rest of the batch.
        match self.plan.hold_s > 0.0 || self.plan.is_random {
            true => Ok(()),
            false => self.hang_up_at_once(came, number),
        }
    }

    fn hang_up_at_once(&mut self, came: Nanos, number: u64) -> io::Result<()> {
        let is_plain = |sort| matches!(sort, Sort::Plain | Sort::Kept);
        let now = self.now();
        match self.calls.get(number).map(|call| call.sort) {
            Some(sort) if is_plain(sort) => self.hang_up(now, now.max(came), number),
            _ => Ok(()),
        }
    }

    /// A final answer that is none of success.
    fn turned_down(&mut self, status: u16, seen: &Seen<'_>) {
        let Some(call) = self.calls.get(seen.number) else {
            return;
        };
        let (phase, sort) = (call.phase, call.sort);
        let wanted = match sort {
            Sort::Cancelled => 487,
            Sort::Refused => 486,
            Sort::Plain | Sort::Kept | Sort::Abandoned => 0,
        };
        if phase == Phase::Over {
            return;
        }
        let verdict = check::answer(&self.writer, seen, status == wanted);
        self.judged(verdict);
        let is_shed = status == 503 && seen.has_retry_after;
        self.finish(seen.number, |counts| match sort {
            Sort::Cancelled if status == wanted => {
                counts.complete += 1;
                counts.cancelled += 1;
            }
            Sort::Refused if status == wanted => {
                counts.complete += 1;
                counts.refused += 1;
            }
            _ if is_shed => counts.shed += 1,
            _ => counts.rejected += 1,
        });
    }

    /// The BYE is answered.
    fn left(&mut self, came: Nanos, seen: &Seen<'_>) {
        let verdict = check::answer(&self.writer, seen, true);
        self.judged(verdict);
        let Some(call) = self.calls.get(seen.number) else {
            return;
        };
        if call.phase != Phase::Leaving {
            return;
        }
        self.watch
            .ways
            .record(Way::ByeOk, came - call.answer_at.min(came));
        self.finish(seen.number, |counts| counts.complete += 1);
    }

    /// What a script is told by the Request-URI of this call.
    pub(super) fn user_of(&mut self, number: u64) -> &'static str {
        let sort = self.calls.get(number).map_or(Sort::Plain, |call| call.sort);
        USERS[user(sort)]
    }
}
