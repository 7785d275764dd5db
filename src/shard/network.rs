//! `event_route[network:msg]`: a script between the wire and the proxy, for peers that speak SIP in
//! a code of their own (`corex`, `nio_intercept`).
//!
//! ```text
//!   bytes in ─▶ route, $mb ─▶ $avp ─▶ parse ─▶ owner of the Call-ID ─▶ as any other message
//!   bytes out ◀─ $avp ◀─ route, $mb ◀─ whatever an input has made to be sent
//! ```
//!
//! The Call-ID of what comes in is known only behind the route, so that is where another shard
//! takes over. A route that waits for the world changes nothing. Without the parameter this costs
//! one comparison for each input.

use std::sync::Arc;

use crate::effect::peer::PeerMessage;
use crate::effect::{Destination, Effect, Flow, Level};
use crate::limits::MESSAGE_SIZE_MAX;
use crate::modules::pv::avp::Stored;
use crate::modules::work::{Bytes, Raw, Work};
use crate::script::RouteKind;
use crate::steer::ShardId;

use super::run::Then;
use super::{Shard, Step};

impl Shard {
    /// What the route makes of bytes that have come; `None`: they stay as they are.
    pub(super) fn incoming(
        &mut self,
        step: &mut Step<'_>,
        flow: Flow,
        bytes: &[u8],
    ) -> Option<Bytes> {
        if !self.state.setup.config.corex.intercepts {
            return None;
        }
        let raw = Raw {
            bytes: bytes.into(),
            is_incoming: true,
        };
        self.intercept(step, (raw, flow), None)
    }

    /// Shows the route every message that this input has made to be sent.
    pub(super) fn outgoing(&mut self, step: &mut Step<'_>, first: usize) {
        if !self.state.setup.config.corex.intercepts {
            return;
        }
        // What the route itself sends, it does not see.
        for index in first..step.out.len() {
            let Some(Effect::Send(send)) = step.out.as_slice().get(index) else {
                continue;
            };
            let (to, bytes) = (send.to, Bytes::clone(&send.bytes));
            if bytes.starts_with(b"HTTP/") {
                continue;
            }
            let flow = Flow {
                socket: to.socket,
                proto: to.proto,
                remote: self.state.setup.address(to.socket).local,
                conn: None,
            };
            let raw = Raw {
                bytes: Bytes::clone(&bytes),
                is_incoming: false,
            };
            if let Some(changed) = self.intercept(step, (raw, flow), Some((to, bytes))) {
                step.out.replace_message(index, changed);
            }
        }
    }

    fn intercept(
        &mut self,
        step: &mut Step<'_>,
        (raw, flow): (Raw, Flow),
        sending: Option<(Destination, Bytes)>,
    ) -> Option<Bytes> {
        let program = Arc::clone(&self.state.setup.program);
        let route = program.route(RouteKind::Event, b"network:msg")?;
        if raw.bytes.len() < self.state.setup.config.corex.intercepted_size_min {
            return None;
        }
        let mut work = self.placeholder_work(None);
        (work.flow, work.raw, work.sending) = (flow, Some(raw), sending);
        let mut run = self.new_run(program, work);
        Shard::enter(&mut run, RouteKind::Event, route, Then::Network);
        self.intercepted = None;
        self.drive(step, run);
        self.intercepted.take()
    }

    /// The route is over: what it has left in the AVP is the message.
    pub(super) fn network_route_ended(&mut self, step: &mut Step<'_>, work: &Work) {
        let name = &self.state.setup.config.corex.message_avp;
        let found = work.avps.all(name.as_bytes()).next();
        let Some(Stored::Text(text)) = found.filter(|_| !name.is_empty()) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        if text.len() > MESSAGE_SIZE_MAX {
            let text = "network:msg has made a message longer than may be; it stays as it was";
            return self.env(step).log(Level::Err, text);
        }
        self.intercepted = Some(Bytes::from(&text[..]));
    }

    /// Hands a message over to the shard of its Call-ID, which only the route has shown.
    pub(super) fn pass_decoded(
        &mut self,
        step: &mut Step<'_>,
        to: ShardId,
        flow: Flow,
        bytes: &[u8],
    ) {
        let bytes = bytes.into();
        let message = PeerMessage::Decoded { flow, bytes };
        step.out.push(Effect::Peer(to, message));
    }
}
