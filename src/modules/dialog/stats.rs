//! The five statistics. Two are states of dialogs and read off the table; three count what has
//! happened.

use crate::effect::peer::Figures;
use crate::modules::rpc::statistic::{Statistic, counter, gauge};
use crate::modules::{Config, State as Shard};

use super::state::State;

/// What has happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Dialogs that were made.
    pub processed: u64,
    /// Dialogs whose life was over.
    pub expired: u64,
    /// Dialogs that were never answered, or refused.
    pub failed: u64,
    /// Calls that went on without a dialog because there was no room.
    pub refused: u64,
    /// Requests with a cookie that cannot be read.
    pub bad_cookies: u64,
    /// Requests with the cookie of a dialog that is not theirs.
    pub strange_cookies: u64,
}

/// The statistics of group `dialog`, in the order of the manual. Scripts see the sum of all
/// shards.
pub const STATISTICS: [Statistic; 5] = [
    gauge("dialog", "active_dialogs", active)
        .if_set(is_on)
        .told(|s| elsewhere(s, ACTIVE)),
    gauge("dialog", "early_dialogs", early)
        .if_set(is_on)
        .told(|s| elsewhere(s, 1)),
    counter("dialog", "processed_dialogs", |s| {
        s.dialogs.counts.processed
    })
    .if_set(is_on)
    .told(|s| elsewhere(s, 2)),
    counter("dialog", "expired_dialogs", |s| s.dialogs.counts.expired)
        .if_set(is_on)
        .told(|s| elsewhere(s, 3)),
    counter("dialog", "failed_dialogs", |s| s.dialogs.counts.failed)
        .if_set(is_on)
        .told(|s| elsewhere(s, 4)),
];

/// The place of `active_dialogs`.
pub(super) const ACTIVE: usize = 0;

/// What this shard has of them.
pub fn figures(shard: &Shard) -> Figures {
    STATISTICS.map(|statistic| (statistic.read)(shard))
}

/// What the other shards have said of the statistic in this place.
pub(super) fn elsewhere(shard: &Shard, place: usize) -> u64 {
    shard.dialogs.peers.figures(place)
}

/// `enable_stats`.
fn is_on(config: &Config) -> bool {
    config.dialog.enable_stats
}

/// Answered and not over.
pub fn active(shard: &Shard) -> u64 {
    let table = &shard.dialogs.table;
    (table.count(State::ConfirmedNa) + table.count(State::Confirmed)) as u64
}

/// Ringing.
pub fn early(shard: &Shard) -> u64 {
    shard.dialogs.table.count(State::Early) as u64
}
