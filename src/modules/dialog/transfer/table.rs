//! The transfers of one shard, found by Call-ID and tags.

use ahash::RandomState;

use crate::index::Index;
use crate::limits::TRANSFER_COUNT_MAX;
use crate::modules::dialog::leg::Direction;
use crate::modules::dialog::table::Table as Dialogs;
use crate::modules::tm::local::LocalRequest;
use crate::modules::work::Bytes;
use crate::slab::{self, Key};
use crate::time::Instant;
use crate::wheel::TimerKey;

use super::stage::Stage;

/// One transfer.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Where it stands.
    pub(super) stage: Stage,
    /// The hash of the Call-ID under which the index knows it.
    pub(super) hash: u64,
    /// The Call-ID.
    pub(super) call_id: Bytes,
    /// The tag of the side in whose name requests go.
    pub(super) own_tag: Bytes,
    /// The tag of the party that is referred; empty: nobody has answered.
    pub(super) tag: Bytes,
    /// The tracked dialog, and the way to the party.
    pub(super) tracked: Option<(Key, Direction)>,
    /// The value of Refer-To.
    pub(super) refer_to: Bytes,
    /// The number of the REFER, which tells its NOTIFYs from others (RFC 3515 §2.4.6).
    pub(super) number: u32,
    /// The last request in the dialog, or what the first is written from.
    pub(super) within: Option<Box<LocalRequest>>,
    /// The tags of others that have answered the INVITE or have left before: they are done with.
    pub(super) forks: Vec<Bytes>,
    /// The transaction of the INVITE, while it rings.
    pub(super) invite: Option<Key>,
    /// When its stage has lasted as long as it may.
    pub(super) deadline: Instant,
    /// The timer for that.
    pub(super) timer: Option<TimerKey>,
}

impl Transfer {
    /// A transfer that begins with this request.
    pub(super) fn new(stage: Stage, request: &LocalRequest, refer_to: Vec<u8>) -> Transfer {
        let none = Bytes::from(&b""[..]);
        Transfer {
            stage,
            hash: 0,
            call_id: Bytes::clone(&request.call_id),
            own_tag: Bytes::clone(&none),
            tag: none,
            tracked: None,
            refer_to: refer_to.into(),
            number: 0,
            within: None,
            forks: Vec::new(),
            invite: None,
            deadline: Instant::ZERO,
            timer: None,
        }
    }

    /// Whether a request with these tags comes from the party, or from one of a fork.
    pub(super) fn is_from_party(&self, from_tag: &[u8], to_tag: &[u8]) -> bool {
        let is_party = self.tracked.is_none() || *self.tag == *from_tag;
        *self.own_tag == *to_tag && is_party
    }
}

/// The transfers of one shard.
#[derive(Debug)]
pub struct Transfers {
    entries: slab::Table<Transfer>,
    by_call: Index,
    hasher: RandomState,
}

impl Transfers {
    /// None; `hasher` is keyed, because peers choose what is hashed.
    pub fn new(hasher: RandomState) -> Self {
        Transfers {
            entries: slab::Table::new(),
            by_call: Index::new(),
            hasher,
        }
    }

    /// Whether there is none, which is so on most proxies at most times.
    pub fn is_empty(&self) -> bool {
        self.by_call.is_empty()
    }

    /// How many there are; each has a timer.
    pub fn len(&self) -> usize {
        self.by_call.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= TRANSFER_COUNT_MAX
    }

    pub(super) fn next_key(&self) -> Key {
        self.entries.next_key()
    }

    pub(super) fn insert(&mut self, transfer: Transfer) -> Key {
        let hash = self.hasher.hash_one(&*transfer.call_id);
        let key = self.entries.insert(Transfer { hash, ..transfer });
        let hash_of = hash_of(&self.entries);
        self.by_call.insert(hash, key.place() as u32, hash_of);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Transfer> {
        let transfer = self.entries.remove(key)?;
        let hash_of = hash_of(&self.entries);
        self.by_call
            .remove(transfer.hash, key.place() as u32, hash_of);
        Some(transfer)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Transfer> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Transfer> {
        self.entries.get_mut(key)
    }

    /// The transfers of a Call-ID, in no order.
    pub(super) fn of_call(&self, call_id: &[u8]) -> impl Iterator<Item = (Key, &Transfer)> {
        let hash = self.hasher.hash_one(call_id);
        let found = self.by_call.iter_hash(hash);
        let found = found.filter_map(|place| self.entries.at(place));
        found.filter(move |(_, transfer)| *transfer.call_id == *call_id)
    }

    /// The transfer of the party at the end of this way that waits for the answer to its REFER.
    pub(super) fn of_dialog(&self, dialogs: &Dialogs, key: Key, way: Direction) -> Option<Key> {
        if self.is_empty() {
            return None;
        }
        let is_it = |t: &Transfer| t.tracked == Some((key, way)) && t.stage == Stage::Referring;
        let mut found = self.of_call(dialogs.get(key)?.call_id());
        found.find(|(_, t)| is_it(t)).map(|(key, _)| key)
    }

    /// Panics when index and slab disagree; for debug builds and the simulator.
    pub fn check_invariants(&self) {
        assert_eq!(self.by_call.len(), self.entries.len(), "a bijection");
        for (key, transfer) in self.entries.iter() {
            let is_found = self.of_call(&transfer.call_id).any(|(k, _)| k == key);
            assert!(is_found, "{key:?} is not found by its Call-ID");
            assert!(transfer.timer.is_some(), "{key:?} has no deadline");
        }
    }
}

/// The hash under which the transfer in a place is found.
fn hash_of(entries: &slab::Table<Transfer>) -> impl Fn(u32) -> u64 {
    |place| entries.at(place).map_or(0, |(_, transfer)| transfer.hash)
}
