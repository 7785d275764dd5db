//! Streams of whole messages: in order and complete until they are cut, then gone.
//!
//! Framing is the business of `io` and its own tests; here a stream carries messages. What is in
//! flight when it is cut is lost, and both ends hear of it.

use std::net::SocketAddr;

use dialcore::effect::ConnId;
use dialcore::time::{Duration, Instant};

use crate::ua::AgentId;

/// Names one stream of the world: its place in [`Streams`], and the key of its [`ConnId`].
pub type StreamId = usize;

/// One connection between a user agent and the proxy.
#[derive(Debug)]
pub struct Stream {
    /// Its name inside the proxy.
    pub conn: ConnId,
    /// The user agent's end.
    pub agent: AgentId,
    /// The address of the user agent's end as the proxy sees it.
    pub remote: SocketAddr,
    /// Until it is cut.
    pub is_open: bool,
    /// Nothing sent later arrives before these.
    to_proxy_at: Instant,
    to_agent_at: Instant,
}

impl Stream {
    /// When what is sent now reaches the proxy.
    pub fn arrival_at_proxy(&mut self, now: Instant, latency: Duration) -> Instant {
        self.to_proxy_at = self.to_proxy_at.max(now + latency);
        self.to_proxy_at
    }

    /// When what is sent now reaches the user agent.
    pub fn arrival_at_agent(&mut self, now: Instant, latency: Duration) -> Instant {
        self.to_agent_at = self.to_agent_at.max(now + latency);
        self.to_agent_at
    }
}

/// All streams there ever were.
#[derive(Debug, Default)]
pub struct Streams {
    all: Vec<Stream>,
}

impl Streams {
    /// Opens a stream that can carry messages from `ready` on.
    pub fn open(
        &mut self,
        core: u16,
        agent: AgentId,
        remote: SocketAddr,
        ready: Instant,
    ) -> StreamId {
        let id = self.all.len();
        self.all.push(Stream {
            conn: ConnId {
                core,
                key: id as u64,
            },
            agent,
            remote,
            is_open: true,
            to_proxy_at: ready,
            to_agent_at: ready,
        });
        id
    }

    /// The stream of this name.
    pub fn get(&mut self, id: StreamId) -> &mut Stream {
        &mut self.all[id]
    }

    /// The stream a shard names, while it is open.
    pub fn open_conn(&self, conn: ConnId) -> Option<StreamId> {
        let id = conn.key as usize;
        self.all
            .get(id)
            .is_some_and(|s| s.is_open && s.conn == conn)
            .then_some(id)
    }

    /// An open stream to this address.
    pub fn open_to(&self, remote: SocketAddr) -> Option<StreamId> {
        self.all
            .iter()
            .rposition(|s| s.is_open && s.remote == remote)
    }

    /// An open stream of this user agent.
    pub fn open_of(&self, agent: AgentId) -> Option<StreamId> {
        self.all.iter().rposition(|s| s.is_open && s.agent == agent)
    }

    /// Cuts all open streams of a user agent and names them.
    pub fn cut(&mut self, agent: AgentId) -> Vec<StreamId> {
        let mut cut = vec![];
        for (id, stream) in self.all.iter_mut().enumerate() {
            if stream.is_open && stream.agent == agent {
                stream.is_open = false;
                cut.push(id);
            }
        }
        cut
    }
}
