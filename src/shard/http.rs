//! A request of HTTP on its way to `event_route[xhttp:request]`.
//!
//! It belongs to no call: it is handled where its connection lives, and what comes behind it on
//! the same connection waits behind it.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Effect, Flow, Level};
use crate::modules::work::Work;
use crate::modules::xhttp;
use crate::script::RouteKind;
use crate::sip::Message;
use crate::steer;

use super::queue::Waiting;
use super::run::Then;
use super::{Shard, Step};

impl Shard {
    /// A request has come in, whole.
    pub(super) fn http(&mut self, step: &mut Step<'_>, flow: Flow, bytes: &[u8]) {
        let setup = Arc::clone(&self.state.setup);
        let mut message = Message::new();
        let is_read = message.read_http(bytes, flow.remote).is_ok();
        let has_route = setup
            .program
            .route(RouteKind::Event, xhttp::ROUTE)
            .is_some();
        if !is_read || !has_route || !setup.is_loaded("xhttp") {
            self.state.counters.http_drops += 1;
            let text = format!("a request of HTTP from {} that no script sees", flow.remote);
            self.env(step).log(Level::Dbg, text);
            // Nobody will ever answer on this connection.
            if let Some(conn) = flow.conn {
                step.out.push(Effect::Close(conn));
            }
            return;
        }
        if !setup.config.xhttp.serves(message.uri()) {
            self.state.counters.http_drops += 1;
            return;
        }
        let (message, call) = (Rc::new(message), line_of(flow));
        if self.queue.is_waiting(call) {
            let is_kept = self.queue.push(call, Waiting::Message(message, flow));
            self.state.counters.queue_drops += u64::from(!is_kept);
            return;
        }
        self.http_message(step, message, flow);
    }

    /// Its turn has come.
    pub(super) fn http_message(&mut self, step: &mut Step<'_>, message: Rc<Message>, flow: Flow) {
        let program = Arc::clone(&self.state.setup.program);
        let Some(route) = program.route(RouteKind::Event, xhttp::ROUTE) else {
            return;
        };
        self.state.counters.http_requests += 1;
        let mut run = self.new_run(program, Work::new(RouteKind::Event, message, flow));
        run.call = line_of(flow);
        Shard::enter(&mut run, RouteKind::Event, route, Then::Event);
        self.drive(step, run);
    }
}

/// What stands for the call in the queue: the connection.
fn line_of(flow: Flow) -> u32 {
    let conn = flow
        .conn
        .map(|conn| (conn.core, conn.key))
        .unwrap_or_default();
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&conn.0.to_be_bytes());
    bytes[2..].copy_from_slice(&conn.1.to_be_bytes());
    steer::hash(&bytes)
}
