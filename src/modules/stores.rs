//! What modules keep for the scripts of one shard between two messages.

use crate::effect::Level;

use super::htable;
use super::statistics::ScriptCounters;

/// The stores of one shard.
#[derive(Debug, Default)]
pub struct Stores {
    /// Statistics that scripts count.
    pub counters: ScriptCounters,
    /// `rand_set_prob`; `None`: as the parameter says.
    pub probability: Option<u32>,
    /// `setdebug`; `None`: as the parameter says.
    pub debug: Option<Level>,
    /// `htable`.
    pub tables: htable::Tables,
}
