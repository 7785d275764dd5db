//! Indexes over [`crate::slab`]: from a hash to the places of entries, which keep no copy of what
//! they hash and grow without a pause.
//!
//! ```text
//!   hash ─┬─ some bits ──▶ class, 8 of unequal shares ┐
//!         └─ other bits ─────────────────────────────┬┘
//!                                                    ▼
//!     segments: [0] [1] [2] … [p]┄┄┄┄┄┄┄┄┄┄┄┐ … [n]  each a `hashbrown` table of places
//!                                           └─▶ [n+1]: the next to be split off, from p
//! ```
//!
//! One table would double, and move all its entries at once. Here an insert that makes the
//! segments fuller than [`MEAN`] splits one of them (linear hashing, Litwin 1980), which looks at
//! some hundred entries at the most; a removal that leaves them half as full undoes one split.
//!
//! `hashbrown` has room in powers of two, so segments of one size would all be full at one moment
//! and half empty at the next. The shares of the classes lie between one and two, so that segments
//! of some class are always about to grow and those of another have just grown: on average five
//! eighths of the room are used, whatever the number of entries.

use hashbrown::HashTable;

use crate::slab::gives_back;

/// Entries of a segment, on average, above which one is split.
const MEAN: usize = 128;
/// Kinds of segments, as a power of two.
const CLASS_BITS: u32 = 3;

/// Places of entries by the hash of what they are found by. Whoever holds the entries says what
/// the hash of one is, and whether it is the wanted one.
#[derive(Debug)]
pub struct Index {
    segments: Vec<HashTable<u32>>,
    /// What an index without segments is looked up in.
    nothing: HashTable<u32>,
    len: usize,
    /// By how many entries it splits sooner than others, which have as many entries: drawn from the
    /// first hash, so that one insert into several indexes does not split all of them.
    ahead: usize,
    /// The bits of a [`route`] that choose a segment, and one more for those that are split.
    mask: u32,
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

/// By which segments are chosen: the class in the low bits, so that every class is split in turn.
/// `hashbrown` itself uses the bits below and above those that are used here.
const fn route(hash: u64) -> u32 {
    // A parabola that is steeper at first: of the numbers below 256, twice as many come into the
    // last class as into the first.
    let byte = (hash >> 48) as u32 & 0xff;
    let class = (byte + ((byte * (256 - byte) * 89) >> 16)) >> (8 - CLASS_BITS);
    ((hash >> 16) as u32) << CLASS_BITS | class
}

impl Index {
    /// An empty index; it allocates with its first entry.
    pub const fn new() -> Self {
        Index {
            segments: Vec::new(),
            nothing: HashTable::new(),
            len: 0,
            ahead: 0,
            mask: 1,
        }
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the segment of this hash.
    fn number(&self, hash: u64) -> usize {
        let number = (route(hash) & self.mask) as usize;
        if number < self.segments.len() {
            number
        } else {
            number & (self.mask >> 1) as usize
        }
    }

    fn segment(&self, hash: u64) -> &HashTable<u32> {
        let segment = self.segments.get(self.number(hash));
        segment.unwrap_or(&self.nothing)
    }

    /// What is wanted of the entry under this hash that is the wanted one.
    pub fn find<R>(&self, hash: u64, mut wanted: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let mut found = None;
        self.segment(hash).find(hash, |place| {
            found = wanted(*place);
            found.is_some()
        });
        found
    }

    /// The entries under this hash, in no order, and others, which are few.
    pub fn iter_hash(&self, hash: u64) -> impl Iterator<Item = u32> {
        self.segment(hash).iter_hash(hash).copied()
    }

    /// Stores the place of an entry that is not there yet.
    pub fn insert(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len + self.ahead >= self.segments.len() * MEAN {
            self.split(hash, &hash_of);
        }
        let segment = self.number(hash);
        self.segments[segment].insert_unique(hash, place, |place| hash_of(*place));
        self.len += 1;
    }

    /// Takes the place of an entry out. `hash_of` is asked about the others.
    pub fn remove(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        let segment = self.number(hash);
        let Some(segment) = self.segments.get_mut(segment) else {
            return;
        };
        let Ok(entry) = segment.find_entry(hash, |other| *other == place) else {
            return;
        };
        entry.remove();
        self.len -= 1;
        if self.len + self.ahead < (self.segments.len() - 1) * (MEAN / 2) {
            self.merge(&hash_of);
        }
    }

    #[cold]
    fn split(&mut self, first: u64, hash_of: &impl Fn(u32) -> u64) {
        let new = self.segments.len() as u32;
        let Some(old) = self.segments.get_mut((new & (self.mask >> 1)) as usize) else {
            self.segments.push(HashTable::new());
            self.ahead = first as usize % MEAN;
            return;
        };
        let hash = |place: &u32| hash_of(*place);
        let mut split = HashTable::with_capacity(old.len() / 2);
        for place in old.extract_if(|place| route(hash(&*place)) & self.mask == new) {
            split.insert_unique(hash(&place), place, hash);
        }
        split.shrink_to_fit(hash);
        old.shrink_to_fit(hash);
        self.segments.push(split);
        if new == self.mask {
            self.mask = self.mask << 1 | 1;
        }
    }

    #[cold]
    fn merge(&mut self, hash_of: &impl Fn(u32) -> u64) {
        let Some(merged) = self.segments.pop() else {
            return;
        };
        let last = self.segments.len() as u32;
        if last == self.mask >> 1 {
            self.mask >>= 1;
        }
        let hash = |place: &u32| hash_of(*place);
        let into = &mut self.segments[(last & (self.mask >> 1)) as usize];
        for place in merged {
            into.insert_unique(hash(&place), place, hash);
        }
        into.shrink_to_fit(hash);
    }

    /// Gives memory back that removals have left: that of an empty index, or of a single segment
    /// of which no more than a quarter is used.
    pub fn give_back(&mut self, hash_of: impl Fn(u32) -> u64) {
        if self.is_empty() {
            *self = Index::new();
        } else if let [only] = &mut self.segments[..]
            && gives_back(only.len(), only.capacity())
        {
            only.shrink_to_fit(|place| hash_of(*place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    /// Entries whose hashes are random, and how often they were asked for.
    struct Entries {
        hashes: Vec<u64>,
        asked: Cell<usize>,
    }

    impl Entries {
        fn new(count: usize) -> Entries {
            let mut rng = Rng::new(7);
            Entries {
                hashes: (0..count).map(|_| rng.next_u64()).collect(),
                asked: Cell::new(0),
            }
        }

        fn hash(&self, place: u32) -> u64 {
            self.hashes[place as usize]
        }

        fn hash_of(&self) -> impl Fn(u32) -> u64 {
            |place| {
                self.asked.set(self.asked.get() + 1);
                self.hash(place)
            }
        }

        fn filled(&self) -> Index {
            let mut index = Index::new();
            for place in 0..self.hashes.len() as u32 {
                index.insert(self.hash(place), place, self.hash_of());
            }
            index
        }
    }

    fn size(index: &Index) -> usize {
        let segments = index.segments.iter().map(HashTable::allocation_size);
        segments.sum::<usize>() + index.segments.capacity() * size_of::<HashTable<u32>>()
    }

    fn check(index: &Index) {
        let count = index.segments.len() as u32;
        assert!(count <= index.mask && (index.mask >> 1) < count.max(1));
        let held: usize = index.segments.iter().map(HashTable::len).sum();
        assert_eq!(held, index.len());
    }

    #[test]
    fn an_index_is_a_set() {
        let entries = Entries::new(20_000);
        let (mut index, mut model, mut rng) = (Index::new(), BTreeSet::new(), Rng::new(1));
        for n in 0..120_000 {
            let place = rng.below(20_000);
            let hash = entries.hash(place);
            assert_eq!(
                index.find(hash, |p| (p == place).then_some(())).is_some(),
                model.contains(&place)
            );
            // It grows, shrinks and grows.
            let grows = rng.chance(if n / 40_000 == 1 { 1 } else { 4 }, 5);
            if grows && model.insert(place) {
                index.insert(hash, place, entries.hash_of());
            } else if !grows && model.remove(&place) {
                index.remove(hash, place, entries.hash_of());
            }
            if rng.chance(1, 1_000) {
                check(&index);
                index.give_back(entries.hash_of());
            }
        }
        check(&index);
        for place in 0..20_000 {
            let found = index.iter_hash(entries.hash(place)).any(|p| p == place);
            assert_eq!(found, model.contains(&place));
        }
    }

    #[test]
    fn no_insert_and_no_removal_moves_many() {
        let entries = Entries::new(300_000);
        let (mut index, mut most) = (Index::new(), 0);
        let hash_of = entries.hash_of();
        for place in 0..300_000 {
            entries.asked.set(0);
            index.insert(entries.hash(place), place, &hash_of);
            most = most.max(entries.asked.get());
        }
        assert!(most < 16 * MEAN, "an insert asks for {most} hashes");
        most = 0;
        for place in 0..300_000 {
            entries.asked.set(0);
            index.remove(entries.hash(place), place, &hash_of);
            most = most.max(entries.asked.get());
        }
        assert!(most < 16 * MEAN, "a removal asks for {most} hashes");
    }

    #[test]
    fn memory_follows_the_number_of_entries_without_steps() {
        let entries = Entries::new(300_000);
        let mut index = Index::new();
        let (mut least, mut most) = (usize::MAX, 0);
        for place in 0..300_000 {
            index.insert(entries.hash(place), place, entries.hash_of());
            if place > 20_000 && place % 500 == 0 {
                let size = size(&index) * 100 / index.len();
                (least, most) = (least.min(size), most.max(size));
            }
        }
        assert!(700 < least && most < 950, "{least} to {most} bytes for 100");
    }

    #[test]
    fn memory_is_given_back() {
        let entries = Entries::new(50_000);
        let mut index = entries.filled();
        let full = size(&index);
        for place in 100..50_000 {
            index.remove(entries.hash(place), place, entries.hash_of());
        }
        index.give_back(entries.hash_of());
        assert!(size(&index) < full / 20, "{} of {full}", size(&index));
        for place in 0..100 {
            let hash = entries.hash(place);
            assert_eq!(index.find(hash, |p| (p == place).then_some(p)), Some(place));
            index.remove(hash, place, entries.hash_of());
        }
        index.give_back(entries.hash_of());
        assert_eq!((index.len(), size(&index)), (0, 0));
        assert!(index.find(0, Some).is_none() && index.iter_hash(0).next().is_none());
    }

    #[test]
    fn equal_hashes_are_told_apart() {
        let mut index = Index::new();
        for place in 0..1_000 {
            index.insert(42, place, |_| 42);
        }
        assert_eq!(index.find(42, |p| (p == 777).then_some(p)), Some(777));
        assert_eq!(index.iter_hash(42).collect::<BTreeSet<_>>().len(), 1_000);
        (0..999).for_each(|place| index.remove(42, place, |_| 42));
        assert_eq!(index.iter_hash(42).collect::<Vec<_>>(), [999]);
    }

    #[test]
    fn the_shares_of_the_classes_lie_between_one_and_two() {
        let mut shares = [0; 1 << CLASS_BITS];
        for byte in 0..256u64 {
            shares[(route(byte << 48) & ((1 << CLASS_BITS) - 1)) as usize] += 1;
        }
        assert!(shares.is_sorted(), "{shares:?}");
        let (least, most) = (shares[0], shares[shares.len() - 1]);
        assert!(17 * least <= 10 * most && most <= 2 * least, "{shares:?}");
    }
}
