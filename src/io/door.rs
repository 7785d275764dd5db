//! The way of a message to the shard that owns its call: this core's, or another's through the
//! mesh.
//!
//! ```text
//!   datagram, steered ────▶ shard ── not its call ──▶ hand over ──▶ mesh ──▶ take over
//!   datagram, stream ──▶ steer ── not its call ──────────▲
//! ```
//!
//! What is handed over is counted, and so is what the kernel or another core brought by mistake.

use super::admission::Verdict;
use super::clock::Clock;
use super::counters::Counters;
use super::mesh::{Item, Port};
use super::tcp::Brought;
use crate::effect::{Effect, Flow, Outbox};
use crate::shard::{Input, Shard};
use crate::sip::scan;
use crate::steer::{self, ShardId};
use crate::time::Now;

/// The shard and what stands around its door.
pub(super) struct Door {
    pub(super) shard: Shard,
    pub(super) outbox: Outbox,
    pub(super) port: Port,
    pub(super) clock: Clock,
    pub(super) now: Now,
    pub(super) counters: Counters,
}

impl Door {
    /// Gives one input to the shard.
    pub(super) fn handle(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input, &mut self.outbox);
    }

    /// What a stream has brought. A request of HTTP belongs to no call: it is handled where its
    /// connection lives.
    pub(super) fn take(&mut self, flow: Flow, brought: Brought<'_>) {
        match brought {
            Brought::Message(bytes) => self.steer(flow, bytes),
            Brought::Http(bytes) => self.handle(Input::Http { flow, bytes }),
        }
    }

    /// A message that wants to begin a call, and may not if the verdict says so.
    pub(super) fn turn_away(&mut self, verdict: Verdict, flow: Flow, bytes: &[u8]) {
        match verdict {
            Verdict::Take => {}
            Verdict::Refuse => self.refuse(flow, bytes),
            Verdict::Drop => self.counters.calls_dropped += 1,
        }
    }

    /// The INVITE of a new call for which there is no time. Another core's goes there: only the
    /// owner knows whether it begins a call or is sent again.
    fn refuse(&mut self, flow: Flow, bytes: &[u8]) {
        let call_id = scan::call_id(bytes).unwrap_or_default();
        if steer::owner(call_id, self.port.core_count()) == self.port.id() {
            self.handle(Input::Refused { flow, bytes });
        } else {
            self.steer(flow, bytes);
        }
    }

    /// A datagram: to the core that owns its call, which the kernel has found if it steers.
    pub(super) fn take_datagram(&mut self, is_steered: bool, flow: Flow, bytes: &[u8]) {
        if !is_steered {
            return self.steer(flow, bytes);
        }
        let first = self.outbox.len();
        self.handle(Input::Steered { flow, bytes });
        let answer = self.outbox.as_slice().get(first);
        let is_here = !matches!(answer, Some(Effect::HandOver(..)));
        self.counters.kernel_steered += u64::from(is_here);
        self.counters.misrouted += u64::from(!is_here);
    }

    /// A message that arrived here: to its owner.
    fn steer(&mut self, flow: Flow, bytes: &[u8]) {
        let call_id = scan::call_id(bytes).unwrap_or_default();
        let owner = steer::owner(call_id, self.port.core_count());
        if owner == self.port.id() {
            self.handle(Input::Received { flow, bytes });
        } else {
            self.hand_over(owner, flow, bytes.into());
        }
    }

    pub(super) fn hand_over(&mut self, owner: ShardId, flow: Flow, bytes: Box<[u8]>) {
        match self.port.post(owner, Item::Received { flow, bytes }) {
            Ok(()) => self.counters.handed_over += 1,
            Err(_) => self.counters.mesh_drops += 1,
        }
    }

    /// A message that another core found to belong here.
    pub(super) fn take_over(&mut self, flow: Flow, bytes: &[u8]) {
        let call_id = scan::call_id(bytes).unwrap_or_default();
        let owner = steer::owner(call_id, self.port.core_count());
        // Handled all the same: sending it on again could go round for ever.
        self.counters.misrouted += u64::from(owner != self.port.id());
        self.counters.taken_over += 1;
        self.handle(Input::Received { flow, bytes });
    }
}
