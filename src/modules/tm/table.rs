//! All transactions of a shard, found by identity or by key.
//!
//! ```text
//!   hash(branch, sent-by, method) ──▶ index ──▶ Key ──▶ slab of transactions
//!   response: branch of our Via ─────────────▶ Key ──▶      "
//! ```
//!
//! The index keeps no copy of what it hashes: a hit is compared with the stored request.

use ahash::RandomState;

use crate::index::Index;
use crate::limits::{SPARE_TRANSACTION_COUNT_MAX, TRANSACTION_COUNT_MAX};
use crate::sip::{Message, Method};
use crate::slab::{self, Key};

use super::identity::{self, OwnBranch};
use super::transaction::{Leftover, Transaction};

/// The transactions of one shard.
#[derive(Debug)]
pub struct Table {
    /// Boxed: what a peak needed is given back behind it, and nothing of it is moved.
    entries: slab::Table<Box<Transaction>>,
    index: Index,
    hasher: RandomState,
    spare: Vec<Leftover>,
    /// Whether what belongs to a transaction must bear its Call-ID (`callid_matching`).
    pub compares_call_id: bool,
}

impl Table {
    /// An empty table; `hasher` is keyed, because peers choose what is hashed.
    pub fn new(hasher: RandomState) -> Self {
        Table {
            entries: slab::Table::new(),
            index: Index::new(),
            hasher,
            spare: Vec::new(),
            compares_call_id: false,
        }
    }

    /// The hash under which a request of this method is found.
    pub fn hash(&self, request: &Message, method: Method) -> u64 {
        identity::hash(&self.hasher, request, method)
    }

    /// The transaction that `request` belongs to when it is taken as one of `method`
    /// (RFC 3261 §17.2.3; a CANCEL is looked up as itself or as the INVITE it is about).
    pub fn find(&self, request: &Message, method: Method) -> Option<Key> {
        let hash = self.hash(request, method);
        self.index.find(hash, |place| {
            let (key, t) = self.entries.at(place)?;
            let is_it = t.hash == hash
                && identity::is_same(&t.request, request, method)
                && self.has_call_id(t, request);
            is_it.then_some(key)
        })
    }

    /// The branch a response belongs to, by the branch value of its top Via (§17.1.3).
    pub fn find_branch(&self, response: &Message) -> Option<OwnBranch> {
        let own = OwnBranch::parse(response.top_via().branch()?)?;
        let transaction = self.entries.get(own.branch.transaction)?;
        let exists = usize::from(own.branch.index) < transaction.branches.len();
        let is_it = transaction.nonce == own.nonce && self.has_call_id(transaction, response);
        (exists && is_it).then_some(own)
    }

    fn has_call_id(&self, transaction: &Transaction, message: &Message) -> bool {
        !self.compares_call_id || transaction.request.call_id() == message.call_id()
    }

    /// Whether the table is full.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= TRANSACTION_COUNT_MAX
    }

    /// Stores a transaction and makes it findable.
    pub fn insert(&mut self, transaction: Transaction) -> Key {
        let hash = transaction.hash;
        let key = self.entries.insert(Box::new(transaction));
        let (place, hash_of) = (key.place() as u32, hash_of(&self.entries));
        self.index.insert(hash, place, hash_of);
        key
    }

    /// Stores the transaction of a request of our own: only responses belong to it, which find it
    /// by their branch. A request that a peer has made up to look like ours finds nothing.
    pub fn insert_local(&mut self, transaction: Transaction) -> Key {
        self.entries.insert(Box::new(transaction))
    }

    /// Gives memory back that a peak left behind; without a transaction, what is kept for the next
    /// ones, too.
    pub fn give_back(&mut self) {
        if self.entries.is_empty() {
            self.spare = Vec::new();
        }
        self.entries.give_back();
        self.index.give_back(hash_of(&self.entries));
    }

    /// Memory for a new transaction.
    pub fn leftover(&mut self) -> Leftover {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps the memory of a transaction that was taken out.
    pub fn keep(&mut self, leftover: Leftover) {
        if self.spare.len() < SPARE_TRANSACTION_COUNT_MAX {
            self.spare.push(leftover);
        }
    }

    /// The key that the next transaction will have.
    pub fn next_key(&self) -> Key {
        self.entries.next_key()
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, key: Key) -> Option<Box<Transaction>> {
        let transaction = self.entries.remove(key)?;
        if transaction.local.is_none() {
            let (place, hash_of) = (key.place() as u32, hash_of(&self.entries));
            self.index.remove(transaction.hash, place, hash_of);
        }
        Some(transaction)
    }

    /// The transaction, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&Transaction> {
        self.entries.get(key).map(Box::as_ref)
    }

    /// The transaction, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Transaction> {
        self.entries.get_mut(key).map(Box::as_mut)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Transaction)> {
        self.entries.iter().map(|(key, t)| (key, t.as_ref()))
    }

    /// What is in so many places from this one on, for slices of a listing: each with its place;
    /// and the place behind them, unless that was all.
    pub fn window(
        &self,
        from: usize,
        place_count: usize,
    ) -> (
        impl Iterator<Item = (usize, Key, &Transaction)>,
        Option<usize>,
    ) {
        let (found, rest) = self.entries.window(from, place_count);
        (found.map(|(place, key, t)| (place, key, t.as_ref())), rest)
    }

    /// Panics when index and slab disagree; for debug builds and the simulator.
    pub fn check_invariants(&self) {
        let received = || self.entries.iter().filter(|(_, t)| t.local.is_none());
        assert_eq!(
            self.index.len(),
            received().count(),
            "index and slab are a bijection"
        );
        for (key, transaction) in received() {
            let place = key.place() as u32;
            let found = self
                .index
                .iter_hash(transaction.hash)
                .find(|known| *known == place);
            assert!(
                found.is_some(),
                "a transaction its index does not know: {key:?}"
            );
        }
    }
}

/// The hash under which the transaction in a place is found.
fn hash_of(entries: &slab::Table<Box<Transaction>>) -> impl Fn(u32) -> u64 {
    |place| entries.at(place).map_or(0, |(_, t)| t.hash)
}
