//! Plain counters of one shard, read and summed from outside; nothing is decided by them.

/// What has happened since the start. Each field is counted where it happens and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Messages that came in.
    pub received: u64,
    /// Messages put into the outbox.
    pub sent: u64,
    /// Messages that are not SIP.
    pub parse_errors: u64,
    /// Requests refused because they break RFC 3261.
    pub violations: u64,
    /// Responses dropped because they break RFC 3261 or have no way to go.
    pub responses_dropped: u64,
    /// Messages that another shard should have received.
    pub misrouted: u64,
    /// Messages dropped because too many of their call waited.
    pub queue_drops: u64,
    /// Requests refused because too many scripts waited.
    pub runs_refused: u64,
    /// Requests refused because the transaction table was full.
    pub transactions_refused: u64,
    /// Requests refused because the process is stopping.
    pub drain_refused: u64,
    /// Answers to questions that had died.
    pub stale_answers: u64,
    /// Requests that came back unchanged (482).
    pub loops: u64,
    /// Server transactions opened.
    pub transactions: u64,
    /// Client transactions opened.
    pub branches: u64,
    /// Requests repeated by timers A and E.
    pub requests_repeated: u64,
    /// Responses repeated by timer G or because the request came again.
    pub responses_repeated: u64,
    /// Branches that nobody answered.
    pub timeouts: u64,
    /// Responses made here, by the first digit of their status (index 1 to 6).
    pub replies: [u64; 7],
    /// Responses passed on.
    pub responses_relayed: u64,
}
