//! What one core owns, and the only door to it.

use std::sync::Arc;

use crate::effect::{Address, ConnId, Flow, Hop, Outbox, ResolveError, SendError, Token};
use crate::steer::ShardId;
use crate::time::{Instant, Now};
use crate::timer::Timer;

/// One thing that happened in the world.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram, or one whole message cut from a stream.
    Received {
        /// What it came in on.
        flow: Flow,
        /// The bytes, valid for this call only.
        bytes: &'a [u8],
    },
    /// The moment that [`Shard::next_deadline`] named has come.
    Deadline,
    /// The answer to `Effect::Resolve`: at least one hop, best first, or why there is none.
    Resolved(Token, Result<Vec<Hop>, ResolveError>),
    /// A message sent with this token did not leave.
    SendFailed(Token, SendError),
    /// A connection is gone.
    FlowClosed(ConnId),
    /// Stop taking new work; transactions in flight may finish.
    Drain,
}

/// What all shards of a process have in common.
#[derive(Debug)]
pub struct Setup {
    /// How many shards there are.
    pub shard_count: u16,
    /// The listening sockets, in the order of their `SocketId`.
    pub addresses: Vec<Address>,
}

/// The state of one core: transactions, timers, scripts that wait.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    setup: Arc<Setup>,
}

impl Shard {
    /// An empty shard. Equal seeds and equal inputs give equal effects.
    pub fn new(id: ShardId, setup: Arc<Setup>, seed: u64) -> Shard {
        let _ = seed;
        Shard { id, setup }
    }

    /// The only way in. When it returns, everything that `input` caused is in `out`.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        let _ = (now, input, out, self.id, &self.setup);
    }

    /// When to come back with [`Input::Deadline`], and why, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<(Instant, Timer)> {
        None
    }

    /// Whether nothing is in flight: after [`Input::Drain`] the process may end.
    pub fn is_idle(&self) -> bool {
        true
    }
}
