//! What modules keep for the scripts of one shard between two messages.

use crate::effect::{Executed, Level};

use super::auth;
use super::htable;
use super::ipops;
use super::statistics::ScriptCounters;

/// The stores of one shard.
#[derive(Debug, Default)]
pub struct Stores {
    /// Statistics that scripts count.
    pub counters: ScriptCounters,
    /// `rand_set_prob`; `None`: as the parameter says.
    pub probability: Option<u32>,
    /// `set_gflag`, `reset_gflag`; `None`: as the parameter says.
    pub flags: Option<u32>,
    /// `setdebug`; `None`: as the parameter says.
    pub debug: Option<Level>,
    /// The nonces that were made here.
    pub nonces: auth::count::Counts,
    /// `dns_query` and its kin.
    pub names: ipops::Names,
    /// What `jsonrpc_exec` last gave.
    pub executed: Option<Box<Executed>>,
    /// `htable`.
    pub tables: htable::Tables,
}
