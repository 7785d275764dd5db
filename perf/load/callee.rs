//! What the callee does (RFC 3261 §13.3, §15.1.2, §9.2), and both ends with the proxy's own
//! requests.

use std::cmp::Reverse;
use std::io;
use std::num::NonZeroU32;

use super::call::{Marks, Nanos, Phase, Sort};
use super::check::{self, Expected, Wrong};
use super::outcome::Way;
use super::read::{Method, Seen};
use super::write::End;
use super::{Leaving, Repeated, Run, Task, nanos};

impl Run {
    pub(super) fn at_callee(&mut self, came: Nanos, seen: &Seen<'_>) -> io::Result<()> {
        let Some(call) = self.calls.get(seen.number) else {
            return Ok(());
        };
        let sort = call.sort;
        let is_proxys =
            seen.method == Method::Options || seen.method == Method::Bye && sort == Sort::Abandoned;
        if is_proxys {
            return self.asked(End::Callee, seen);
        }
        let expected = Expected {
            user: self.user_of(seen.number),
            has_more: sort == Sort::Kept,
            is_refused: matches!(sort, Sort::Cancelled | Sort::Refused),
        };
        let verdict = check::relayed(&self.writer, seen, expected);
        self.judged(verdict);
        match seen.method {
            Method::Invite => self.invited(came, sort, seen),
            Method::Ack => {
                self.acknowledged(came, seen);
                Ok(())
            }
            Method::Bye => self.hung_up(came, seen),
            Method::Cancel => self.cancelled(seen),
            Method::Options => Ok(()),
        }
    }

    fn invited(&mut self, came: Nanos, sort: Sort, seen: &Seen<'_>) -> io::Result<()> {
        let Some(call) = self.calls.get(seen.number) else {
            return Ok(());
        };
        if call.marks.set(Marks::INVITE_CAME) {
            // Its last answer again (RFC 3261 §17.2.1).
            return match call.kept.is_some() && self.plan.ring_s == 0.0 {
                true => self.send_kept(seen.number),
                false => self.answer(seen, ("180", "Ringing"), false),
            };
        }
        self.watch
            .ways
            .record(Way::Invite, came - call.request_at.min(came));
        match sort {
            Sort::Refused => self.keep(seen, ("486", "Busy Here"), false),
            // Only the CANCEL brings the answer.
            Sort::Cancelled => self.keep(seen, ("487", "Request Terminated"), false),
            Sort::Plain | Sort::Kept | Sort::Abandoned => self.keep(seen, ("200", "OK"), true),
        }
        self.answer(seen, ("180", "Ringing"), false)?;
        match sort {
            Sort::Cancelled => Ok(()),
            _ if self.plan.ring_s > 0.0 => {
                let at = came + nanos(self.plan.ring_s);
                self.tasks.push(Reverse((at, seen.number, Task::Answer)));
                Ok(())
            }
            _ => self.answer_now(came, seen.number),
        }
    }

    /// Sends an answer that is not kept.
    fn answer(&mut self, seen: &Seen<'_>, status: (&str, &str), has_body: bool) -> io::Result<()> {
        self.answer_at(End::Callee, seen, status, has_body)
    }

    fn answer_at(
        &mut self,
        end: End,
        seen: &Seen<'_>,
        status: (&str, &str),
        has_body: bool,
    ) -> io::Result<()> {
        let outbox = &mut self.outboxes[end as usize];
        outbox.push(|out| self.writer.answer(end, seen, status, has_body, out));
        if let Some(call) = self.calls.get(seen.number)
            && end == End::Callee
            && seen.method != Method::Options
            && !(seen.method == Method::Invite && call.marks.has(Marks::ANSWERED))
        {
            self.leaving[End::Callee as usize].push((seen.number, Leaving::Answer));
        }
        self.queued(end)
    }

    /// Prepares the final answer to an INVITE, which is sent until it is acknowledged.
    fn keep(&mut self, seen: &Seen<'_>, status: (&str, &str), has_body: bool) {
        let place = self.kept_free.pop().unwrap_or_else(|| {
            self.kept.push(Vec::new());
            self.kept.len() as u32 - 1
        });
        let text = &mut self.kept[place as usize];
        text.clear();
        self.writer
            .answer(End::Callee, seen, status, has_body, text);
        if let Some(call) = self.calls.get(seen.number) {
            call.kept = NonZeroU32::new(place);
        }
    }

    pub(super) fn forget_answer(&mut self, number: u64) {
        let kept = self.calls.get(number).and_then(|call| call.kept.take());
        self.kept_free.extend(kept.map(NonZeroU32::get));
    }

    /// Sends the final answer for the first time.
    pub(super) fn answer_now(&mut self, now: Nanos, number: u64) -> io::Result<()> {
        if let Some(call) = self.calls.get(number) {
            call.marks.set(Marks::ANSWERED);
            self.leaving[End::Callee as usize].push((number, Leaving::Answer));
        }
        self.repeat_later(now, number, Repeated::Answer);
        self.send_kept(number)
    }

    pub(super) fn send_kept(&mut self, number: u64) -> io::Result<()> {
        let Some(place) = self.calls.get(number).and_then(|call| call.kept) else {
            return Ok(());
        };
        let text = &self.kept[place.get() as usize];
        self.outboxes[End::Callee as usize].push(|out| out.extend_from_slice(text));
        self.queued(End::Callee)
    }

    fn acknowledged(&mut self, came: Nanos, seen: &Seen<'_>) {
        self.forget_answer(seen.number);
        let Some(call) = self.calls.get(seen.number) else {
            return;
        };
        if call.marks.set(Marks::ACK_CAME) || matches!(call.sort, Sort::Cancelled | Sort::Refused) {
            return;
        }
        self.watch
            .ways
            .record(Way::Ack, came - call.ack_at.min(came));
        let is_after = call.marks.has(Marks::BYE_CAME) && !call.marks.has(Marks::ACK_REPEATED);
        self.watch.counts.reordered.ack_after_bye += u64::from(is_after);
    }

    fn hung_up(&mut self, came: Nanos, seen: &Seen<'_>) -> io::Result<()> {
        if let Some(call) = self.calls.get(seen.number)
            && !call.marks.set(Marks::BYE_CAME)
        {
            self.watch
                .ways
                .record(Way::Bye, came - call.request_at.min(came));
        }
        self.answer(seen, ("200", "OK"), false)
    }

    fn cancelled(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        self.answer(seen, ("200", "OK"), false)?;
        let now = self.now();
        match self.calls.get(seen.number) {
            Some(call) if call.sort == Sort::Cancelled => {
                match call.marks.set(Marks::CANCEL_CAME) {
                    true => Ok(()),
                    false => self.answer_now(now, seen.number),
                }
            }
            _ => {
                self.watch.counts.wrong.count(Wrong::Unexpected);
                Ok(())
            }
        }
    }

    /// A request of the proxy's own: keep-alive, or the end of a call that nobody has ended.
    pub(super) fn asked(&mut self, end: End, seen: &Seen<'_>) -> io::Result<()> {
        let verdict = check::proxys(end, seen);
        self.judged(verdict);
        self.answer_at(end, seen, ("200", "OK"), false)?;
        let Some(call) = self.calls.get(seen.number) else {
            return Ok(());
        };
        if seen.method == Method::Options {
            self.watch.counts.asked += 1;
            return Ok(());
        }
        if call.sort != Sort::Abandoned || call.phase < Phase::Answered {
            self.watch.counts.wrong.count(Wrong::Unexpected);
            return Ok(());
        }
        call.marks.set(match end {
            End::Caller => Marks::HUNG_UP,
            End::Callee => Marks::BYE_CAME,
        });
        if call.marks.has(Marks::HUNG_UP) && call.marks.has(Marks::BYE_CAME) {
            self.finish(seen.number, |counts| {
                counts.complete += 1;
                counts.timed_out += 1;
            });
        }
        Ok(())
    }
}
