//! Statistics of transactions, of the group `tmx`.

use crate::modules::rpc::statistic::{Statistic, counter, gauge};

/// All of them.
pub(super) const STATISTICS: [Statistic; 14] = [
    counter("tmx", "UAS_transactions", |s| s.counters.transactions),
    counter("tmx", "UAC_transactions", |s| s.counters.local_requests),
    counter("tmx", "2xx_transactions", |s| s.counters.finals[2]),
    counter("tmx", "3xx_transactions", |s| s.counters.finals[3]),
    counter("tmx", "4xx_transactions", |s| s.counters.finals[4]),
    counter("tmx", "5xx_transactions", |s| s.counters.finals[5]),
    counter("tmx", "6xx_transactions", |s| s.counters.finals[6]),
    gauge("tmx", "inuse_transactions", |s| s.tm.len() as u64),
    gauge("tmx", "active_transactions", |s| s.tm.len() as u64),
    counter("tmx", "rpl_received", |s| s.counters.answers_matched),
    counter("tmx", "rpl_generated", |s| s.counters.replies.iter().sum()),
    counter("tmx", "rpl_sent", |s| {
        s.counters.replies.iter().sum::<u64>() + s.counters.answers_relayed
    }),
    counter("tmx", "rpl_relayed", |s| s.counters.answers_relayed),
    counter("tmx", "rpl_absorbed", |s| {
        let c = &s.counters;
        c.answers_matched.saturating_sub(c.answers_relayed)
    }),
];
