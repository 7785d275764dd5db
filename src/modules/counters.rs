//! Plain counters of one shard, read and summed from outside; nothing is decided by them.

use crate::sip::{Message, Method};

/// The kinds of [`Method`].
pub const METHOD_COUNT: usize = 16;

/// Statuses that are counted each for itself.
pub const WATCHED: [u16; 5] = [401, 404, 407, 480, 486];

/// Statuses of responses without a transaction that are counted each for itself.
pub const STATELESS: [u16; 13] = [
    200, 202, 300, 301, 302, 400, 401, 403, 404, 407, 408, 483, 500,
];

/// What has happened since the start. Each field is counted where it happens and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Messages that came in.
    pub received: u64,
    /// Messages put into the outbox.
    pub sent: u64,
    /// Messages that are not SIP.
    pub parse_errors: u64,
    /// Messages without a Call-ID; they belong to the owner of the empty one.
    pub no_call_id: u64,
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
    /// New calls refused because there was no time for them.
    pub calls_refused: u64,
    /// Answers to questions that had died.
    pub stale_answers: u64,
    /// Requests that came back unchanged (482).
    pub loops: u64,
    /// Server transactions opened.
    pub transactions: u64,
    /// Transactions of requests of our own opened.
    pub local_requests: u64,
    /// Requests of our own that were not sent because too many waited.
    pub local_drops: u64,
    /// Client transactions opened.
    pub branches: u64,
    /// Requests repeated by timers A and E.
    pub requests_repeated: u64,
    /// Responses repeated by timer G or because the request came again.
    pub responses_repeated: u64,
    /// Branches that nobody answered.
    pub timeouts: u64,
    /// Responses that transactions made here, by the first digit of their status (1 to 6).
    pub replies: [u64; 7],
    /// Responses made here without a transaction, by the first digit of their status (1 to 6).
    pub stateless_replies: [u64; 7],
    /// ACKs to responses made here without a transaction.
    pub stateless_acks: u64,
    /// Requests that came in, by method, see [`Counters::place`].
    pub requests: [u64; METHOD_COUNT],
    /// Responses that came in, by the first digit of their status (1 to 6) and method.
    pub responses: [[u64; METHOD_COUNT]; 7],
    /// Responses that came in with a status of [`WATCHED`], in that order.
    pub watched: [u64; WATCHED.len()],
    /// 180 to 189.
    pub ringing: u64,
    /// Final responses that went upstream by transactions, by the first digit (2 to 6).
    pub final_replies: [u64; 7],
    /// Requests passed on without a transaction.
    pub requests_forwarded: u64,
    /// Responses passed on.
    pub responses_relayed: u64,
    /// Responses that belong to a transaction.
    pub answers_matched: u64,
    /// Of them those that were passed on.
    pub answers_relayed: u64,
    /// Final responses of transactions, made here or passed on, by their first digit.
    pub finals: [u64; 7],
    /// Of `stateless_replies` those of each status in [`STATELESS`].
    pub stateless_codes: [u64; STATELESS.len()],
    /// Requests refused because of their Request-URI.
    pub bad_uris: u64,
    /// Requests of HTTP that a script saw.
    pub http_requests: u64,
    /// Requests of HTTP that no script wanted to see.
    pub http_drops: u64,
    /// Answers to requests of HTTP that scripts made.
    pub http_replies: u64,
}

impl Counters {
    /// The counters by name, as an operator sees them.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("received", self.received),
            ("sent", self.sent),
            ("parse_errors", self.parse_errors),
            ("no_call_id", self.no_call_id),
            ("violations", self.violations),
            ("responses_dropped", self.responses_dropped),
            ("requests_forwarded", self.requests_forwarded),
            ("responses_relayed", self.responses_relayed),
            ("shard_misrouted", self.misrouted),
            ("queue_drops", self.queue_drops),
            ("runs_refused", self.runs_refused),
            ("transactions_refused", self.transactions_refused),
            ("drain_refused", self.drain_refused),
            ("calls_refused", self.calls_refused),
            ("stale_answers", self.stale_answers),
            ("local_drops", self.local_drops),
            ("bad_uris", self.bad_uris),
            ("loops", self.loops),
            ("transactions", self.transactions),
            ("local_requests", self.local_requests),
            ("branches", self.branches),
            ("requests_repeated", self.requests_repeated),
            ("responses_repeated", self.responses_repeated),
            ("timeouts", self.timeouts),
            ("replies", self.replies.iter().sum()),
            ("stateless_replies", self.stateless_replies.iter().sum()),
            ("http_requests", self.http_requests),
            ("http_drops", self.http_drops),
            ("http_replies", self.http_replies),
        ]
    }

    /// Responses that came in and went nowhere.
    pub fn responses_absorbed(&self) -> u64 {
        let received: u64 = self.responses.iter().flatten().sum();
        received.saturating_sub(self.responses_relayed)
    }

    /// The place of a method in the counters by method.
    pub const fn place(method: Method) -> usize {
        method.bit().trailing_zeros() as usize
    }

    /// Counts a response made here without a transaction.
    pub fn count_stateless(&mut self, status: u16) {
        self.stateless_replies[usize::from(status / 100).min(6)] += 1;
        if let Some(at) = STATELESS.iter().position(|s| *s == status) {
            self.stateless_codes[at] += 1;
        }
    }

    /// Requests of this method that came in.
    pub fn requests_of(&self, method: Method) -> u64 {
        self.requests[Counters::place(method)]
    }

    /// Counts a message that came in.
    pub fn count(&mut self, message: &Message) {
        let place = Counters::place(message.method());
        if message.is_request() {
            self.requests[place] += 1;
            return;
        }
        let status = message.status();
        self.responses[usize::from(status / 100).min(6)][place] += 1;
        self.ringing += u64::from((180..190).contains(&status));
        if let Some(at) = WATCHED.iter().position(|watched| *watched == status) {
            self.watched[at] += 1;
        }
    }
}
