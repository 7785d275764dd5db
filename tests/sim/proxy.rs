//! What stands in the middle: the product, the reference relay, or nothing.

use std::sync::Arc;

use dialcore::effect::{Outbox, PeerMessage};
use dialcore::rng::Rng;
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::ShardId;
use dialcore::time::{Instant, Now};
use dialcore::timer::Timer;

use crate::census::{self, Census, Sabotage};
use crate::reference::{Fault, Reference};
use crate::scenario::PROXY;

/// The routing script of the simulated proxy.
const CONFIG: &str = include_str!("sim.cfg");

/// The node under test.
pub enum Proxy {
    /// The product.
    Shards(Vec<Shard>, census::Shared),
    /// The naive relay that proves user agents, network and oracle; with a fault, if wanted.
    Reference(Vec<Reference>),
    /// User agents speak to each other.
    Nobody,
}

impl Proxy {
    /// The product, with so many shards.
    pub fn product(shard_count: u16, seed: u64) -> Proxy {
        let setup = setup(shard_count);
        let mut rng = Rng::new(seed);
        let shards = (0..shard_count).map(ShardId);
        let census = census::Shared::default();
        let watched = |id| {
            let mut shard = Shard::new(id, setup.clone(), rng.next_u64());
            Census::watch(&census, &mut shard, id, shard_count);
            shard
        };
        let shards = shards.map(watched).collect();
        Proxy::Shards(shards, census)
    }

    /// The product with something planted around it.
    pub fn sabotaged(shard_count: u16, seed: u64, sabotage: Sabotage) -> Proxy {
        let proxy = Proxy::product(shard_count, seed);
        if let Proxy::Shards(_, census) = &proxy {
            census.borrow_mut().sabotage = Some(sabotage);
        }
        proxy
    }

    fn sabotage(&self) -> Option<Sabotage> {
        match self {
            Proxy::Shards(_, census) => census.borrow().sabotage,
            Proxy::Reference(_) | Proxy::Nobody => None,
        }
    }

    /// The reference relay, with so many shards.
    pub fn reference(shard_count: u16, seed: u64, fault: Option<Fault>) -> Proxy {
        let mut rng = Rng::new(seed);
        let shards = (0..shard_count).map(ShardId);
        Proxy::Reference(
            shards
                .map(|id| Reference::new(id, rng.next_u64(), fault))
                .collect(),
        )
    }

    /// How many shards there are; at least one, so that steering has a result.
    pub fn shard_count(&self) -> u16 {
        let count = match self {
            Proxy::Shards(shards, _) => shards.len(),
            Proxy::Reference(shards) => shards.len(),
            Proxy::Nobody => 0,
        };
        count.max(1) as u16
    }

    /// How many proxies a message passes.
    pub fn hop_count(&self) -> usize {
        match self {
            Proxy::Shards(..) | Proxy::Reference(_) => 1,
            Proxy::Nobody => 0,
        }
    }

    /// [`Shard::handle`].
    pub fn handle(&mut self, shard: ShardId, now: Now, mut input: Input<'_>, out: &mut Outbox) {
        if self.sabotage() == Some(Sabotage::Miscounts)
            && let Input::Peer(_, PeerMessage::Batch(batch)) = &mut input
        {
            let counts = &mut Arc::make_mut(batch).counts;
            counts.iter_mut().for_each(|c| c.count += 1);
        }
        match self {
            Proxy::Shards(shards, _) => shards[usize::from(shard.0)].handle(now, input, out),
            Proxy::Reference(shards) => shards[usize::from(shard.0)].handle(now, input, out),
            Proxy::Nobody => {}
        }
    }

    /// What the product says of its dialogs, while calls go on.
    pub fn dialogs_add_up(&self, now: Instant) -> Result<(), String> {
        match self {
            Proxy::Shards(shards, census) => census.borrow().verdict(shards, now),
            Proxy::Reference(_) | Proxy::Nobody => Ok(()),
        }
    }

    /// The same when all calls are over.
    pub fn dialogs_rest(&self, now: Instant) -> Result<(), String> {
        match self {
            Proxy::Shards(shards, census) => census.borrow().at_rest(shards, now),
            Proxy::Reference(_) | Proxy::Nobody => Ok(()),
        }
    }

    /// How many events of dialogs there were.
    pub fn dialog_events(&self) -> u64 {
        match self {
            Proxy::Shards(_, census) => census.borrow().events(),
            Proxy::Reference(_) | Proxy::Nobody => 0,
        }
    }

    /// [`Shard::next_deadline`].
    pub fn next_deadline(&self, shard: ShardId) -> Option<(Instant, Timer)> {
        if self.sabotage() == Some(Sabotage::NeverWakes) {
            return None;
        }
        match self {
            Proxy::Shards(shards, _) => shards[usize::from(shard.0)].next_deadline(),
            Proxy::Reference(shards) => shards[usize::from(shard.0)].next_deadline(),
            Proxy::Nobody => None,
        }
    }

    /// [`Shard::is_idle`].
    pub fn is_idle(&self, shard: ShardId) -> bool {
        match self {
            Proxy::Shards(shards, _) => shards[usize::from(shard.0)].is_idle(),
            Proxy::Reference(shards) => shards[usize::from(shard.0)].is_idle(),
            Proxy::Nobody => true,
        }
    }
}

/// What all shards of the simulated process have in common, from [`CONFIG`].
fn setup(shard_count: u16) -> Arc<Setup> {
    let setup = Setup::from_text(CONFIG, shard_count);
    Arc::new(setup.unwrap_or_else(|errors| panic!("sim.cfg: {errors}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_listens_where_the_user_agents_send() {
        for proto in ["udp", "tcp"] {
            assert!(
                CONFIG.contains(&format!("listen={proto}:{PROXY}\n")),
                "{proto}"
            );
        }
    }
}
