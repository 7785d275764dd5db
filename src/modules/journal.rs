//! The last things that happened on one core, to explain a call to an operator.
//!
//! A ring of a bounded number of entries: what is old makes room. An entry knows its call by the
//! hash that steers it, which is there anyway, so keeping one costs a few stores and no
//! allocation; in theory two calls share a hash, and then each shows the other's entries too.
//! Nothing is decided by what stands here.

use std::net::SocketAddr;

use crate::effect::Proto;
use crate::limits::JOURNAL_ENTRY_COUNT_MAX;
use crate::sip::{Message, Method};
use crate::steer;

use super::dialog::state::State as DialogState;

/// What a message was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// A request.
    Request(Method),
    /// A response, and to what.
    Response(u16, Method),
}

impl Line {
    /// What this message is.
    pub fn of(message: &Message) -> Line {
        let method = message.method();
        if message.is_request() {
            Line::Request(method)
        } else {
            Line::Response(message.status(), method)
        }
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A message came in.
    Received(Line, Proto, SocketAddr),
    /// A message left.
    Sent(Line, Proto, SocketAddr),
    /// A dialog went from one state to another: its `h_id`, and which.
    Dialog(u32, DialogState, DialogState),
}

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When, in microseconds of the wall clock.
    pub at: u64,
    /// The hash of the Call-ID.
    pub call: u32,
    /// What.
    pub what: What,
}

const _: () = assert!(
    std::mem::size_of::<Entry>() <= 64,
    "the bound is reckoned with 64 bytes"
);

/// The ring. Its memory is reserved at once and used as it fills, so that no message waits for it
/// to grow.
#[derive(Debug)]
pub struct Journal {
    entries: Vec<Entry>,
    /// Where the next one goes when the ring is full: the oldest is there.
    next: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            entries: Vec::with_capacity(JOURNAL_ENTRY_COUNT_MAX),
            next: 0,
        }
    }
}

impl Journal {
    /// Takes an entry in.
    pub fn add(&mut self, entry: Entry) {
        if self.entries.len() < JOURNAL_ENTRY_COUNT_MAX {
            self.entries.push(entry);
            return;
        }
        self.entries[self.next] = entry;
        self.next = (self.next + 1) % JOURNAL_ENTRY_COUNT_MAX;
    }

    /// What is known of a call, the oldest first.
    pub fn of_call(&self, call_id: &[u8]) -> impl Iterator<Item = &Entry> {
        let call = steer::hash(call_id);
        let (newer, older) = self.entries.split_at(self.next);
        let all = older.iter().chain(newer);
        all.filter(move |entry| entry.call == call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: u64, call_id: &str) -> Entry {
        Entry {
            at,
            call: steer::hash(call_id.as_bytes()),
            what: What::Dialog(1, DialogState::Early, DialogState::Confirmed),
        }
    }

    #[test]
    fn the_oldest_make_room_and_the_order_is_kept() {
        let mut journal = Journal::default();
        let count = JOURNAL_ENTRY_COUNT_MAX as u64 + 10;
        for n in 0..count {
            journal.add(entry(n, if n % 2 == 0 { "a" } else { "b" }));
        }
        for (call_id, odd) in [("a", 0), ("b", 1), ("c", 2)] {
            let got: Vec<u64> = journal.of_call(call_id.as_bytes()).map(|e| e.at).collect();
            let want: Vec<u64> = (10..count).filter(|n| n % 2 == odd).collect();
            assert_eq!(got, want, "{call_id}");
        }
        assert_eq!(journal.entries.capacity(), JOURNAL_ENTRY_COUNT_MAX);
    }
}
