//! Tables whose keys cannot be confused, and which grow without a pause: blocks of the `slab`
//! crate, and generational keys over them.
//!
//! ```text
//!   Key { index: 0x203, generation: 8 }
//!                 │└┴─ place in its block ┐
//!                 └─── block ┐            │
//!                            ▼            ▼
//!            blocks: [0][1] [2] ──▶ slab[0x03] = (8, value)   found
//!                                        "     = (9, value)   stale: None
//! ```
//!
//! A timer, a DNS answer or a database answer that arrives for something that has ended finds
//! nothing; it never finds what took the place. Insert, look-up and removal are O(1), but for the
//! order of the blocks that have room, which is a heap.
//!
//! A table that is full gets one more block, and nothing of it is moved; only the first block
//! grows in steps, so that a small table is small. What is new takes the lowest block that has
//! room, so that those above become empty behind a peak. The memory of an empty block is given
//! back at once when there is another one, and no removal gives back more than that of one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

use crate::limits::GIVE_BACK_COUNT_MAX;

/// Bytes of a block at the most: what the first block moves when it grows takes some
/// microseconds, and a million dialogs have ten thousand blocks.
const BLOCK_SIZE_MAX: usize = 1 << 16;

/// Names one entry of one [`Table`] for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as one integer, for wire identifiers and hash tables.
    pub const fn to_u64(self) -> u64 {
        (self.index as u64) << 32 | self.generation as u64
    }

    /// The place of the entry in its table.
    pub const fn place(self) -> usize {
        self.index as usize
    }

    /// The key that [`Key::to_u64`] gave.
    pub const fn from_u64(n: u64) -> Self {
        Key {
            index: (n >> 32) as u32,
            generation: n as u32,
        }
    }
}

/// By how many entries a full block of so many grows, while it is the only one. Doubling would
/// leave half of the memory of many small tables unused.
const fn growth(len: usize) -> usize {
    len / 8 + 1
}

/// Whether a table that holds `len` entries should give back what it has above them.
pub const fn gives_back(len: usize, capacity: usize) -> bool {
    len <= capacity / 4 && capacity <= GIVE_BACK_COUNT_MAX
}

/// Entries by their place, in blocks of one size.
#[derive(Clone, Debug)]
pub struct Blocks<T> {
    blocks: Vec<Slab<T>>,
    /// The lowest block with room; the one behind the last, if none has any.
    lowest: u32,
    /// The others with room.
    open: BinaryHeap<Reverse<u32>>,
    /// A block that was emptied and has kept its memory, unless it has entries again.
    emptied: u32,
    len: u32,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Blocks::new()
    }
}

impl<T> Blocks<T> {
    /// Entries of one block, as a power of two.
    const BITS: u32 = match BLOCK_SIZE_MAX / (size_of::<T>() + 8) {
        0..32 => 4,
        count if count > 1 << 12 => 12,
        count => count.ilog2(),
    };
    const BLOCK: usize = 1 << Self::BITS;

    /// No entries; it allocates with the first.
    pub const fn new() -> Self {
        Blocks {
            blocks: Vec::new(),
            lowest: 0,
            open: BinaryHeap::new(),
            emptied: 0,
            len: 0,
        }
    }

    /// Which block has this place.
    const fn block_of(place: u32) -> usize {
        (place >> Self::BITS) as usize
    }

    /// Where it is in the block.
    const fn within(place: u32) -> usize {
        place as usize & (Self::BLOCK - 1)
    }

    const fn place(block: usize, within: usize) -> u32 {
        (block << Self::BITS | within) as u32
    }

    /// Stores an entry, and says where.
    #[inline(always)]
    pub fn insert(&mut self, value: T) -> u32 {
        let number = self.lowest as usize;
        let block = self.blocks.get_mut(number);
        let Some(block) = block.filter(|block| block.len() < block.capacity()) else {
            return self.insert_growing(value);
        };
        let within = block.insert(value);
        self.len += 1;
        if block.len() == Self::BLOCK {
            self.has_filled();
        }
        Self::place(number, within)
    }

    #[cold]
    fn has_filled(&mut self) {
        let next = self.open.pop();
        self.lowest = next.map_or(self.blocks.len() as u32, |Reverse(number)| number);
    }

    #[cold]
    fn insert_growing(&mut self, value: T) -> u32 {
        self.grow(self.lowest as usize);
        self.insert(value)
    }

    /// Gives a block with room its memory: the first in steps, the others all that they will have.
    fn grow(&mut self, number: usize) {
        if number == self.blocks.len() {
            let end = (number + 1) << Self::BITS;
            assert!(end <= u32::MAX as usize, "tables are bounded below 2^32");
            if number == 0 {
                self.blocks.reserve_exact(1);
            }
            self.blocks.push(Slab::new());
        }
        let block = &mut self.blocks[number];
        let left = Self::BLOCK - block.len();
        let more = if number == 0 {
            growth(block.len()).min(left)
        } else {
            left
        };
        block.reserve_exact(more);
    }

    /// A block that was full has room again.
    #[cold]
    fn has_room(&mut self, number: usize) {
        let mut number = number as u32;
        if number < self.lowest {
            std::mem::swap(&mut number, &mut self.lowest);
        }
        if (number as usize) < self.blocks.len() {
            self.open.push(Reverse(number));
        }
    }

    /// Where the next [`Blocks::insert`] will store.
    pub fn next_place(&self) -> u32 {
        let number = self.lowest as usize;
        let within = self.blocks.get(number).map_or(0, Slab::vacant_key);
        Self::place(number, within)
    }

    /// The entry in a place.
    #[inline]
    pub fn get(&self, place: u32) -> Option<&T> {
        self.blocks
            .get(Self::block_of(place))?
            .get(Self::within(place))
    }

    /// The entry in a place.
    #[inline]
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.blocks
            .get_mut(Self::block_of(place))?
            .get_mut(Self::within(place))
    }

    /// Takes the entry in a place out, if it is the one that is meant.
    #[inline]
    pub fn remove_if(&mut self, place: u32, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
        let number = Self::block_of(place);
        let block = self.blocks.get_mut(number)?;
        if !is_it(block.get(Self::within(place))?) {
            return None;
        }
        let value = block.remove(Self::within(place));
        self.len -= 1;
        let left = block.len();
        if left == Self::BLOCK - 1 {
            self.has_room(number);
        } else if left == 0 {
            self.has_emptied(number);
        }
        Some(value)
    }

    /// Takes the entry in a place out.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        self.remove_if(place, |_| true)
    }

    /// One empty block keeps its memory, so that what comes and goes at its border does not
    /// allocate each time: the lowest, which is the first to be used again.
    #[cold]
    fn has_emptied(&mut self, number: usize) {
        let other = self.emptied as usize;
        let is_other = other != number && self.blocks[other].is_empty();
        self.emptied = match is_other {
            true => other.min(number) as u32,
            false => number as u32,
        };
        if is_other {
            self.blocks[other.max(number)] = Slab::new();
        }
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries by their places, which they come in the order of.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let blocks = self.blocks.iter().enumerate();
        blocks.flat_map(|(number, block)| {
            let entries = block.iter();
            entries.map(move |(within, value)| (Self::place(number, within), value))
        })
    }

    /// The places that may have entries are below this one.
    fn end(&self) -> usize {
        let Some(last) = self.blocks.last() else {
            return 0;
        };
        (self.blocks.len() - 1) * Self::BLOCK + last.capacity()
    }

    /// Bytes held for entries, used or not.
    pub fn size(&self) -> usize {
        let places: usize = self.blocks.iter().map(Slab::capacity).sum();
        places * size_of::<T>()
    }

    /// Gives back what removals have kept: the memory of an empty block, or of an only block of
    /// which no more than a quarter is used all behind the last entry.
    pub fn give_back(&mut self) {
        if self.is_empty() {
            *self = Blocks::new();
        } else if let [only] = &mut self.blocks[..] {
            if gives_back(only.len(), only.capacity()) {
                only.shrink_to_fit();
            }
        } else if self.blocks[self.emptied as usize].is_empty() {
            self.blocks[self.emptied as usize] = Slab::new();
        }
    }
}

impl<T> std::ops::Index<u32> for Blocks<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: u32) -> &T {
        &self.blocks[Self::block_of(place)][Self::within(place)]
    }
}

impl<T> std::ops::IndexMut<u32> for Blocks<T> {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.blocks[Self::block_of(place)][Self::within(place)]
    }
}

/// A table whose removed entries cannot be reached by the keys they had.
#[derive(Debug)]
pub struct Table<T> {
    entries: Blocks<(u32, T)>,
    next_generation: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table::new()
    }
}

impl<T> Table<T> {
    /// An empty table; it allocates with its first entry.
    pub const fn new() -> Self {
        Table {
            entries: Blocks::new(),
            next_generation: 0,
        }
    }

    /// Stores a value and names it.
    pub fn insert(&mut self, value: T) -> Key {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let index = self.entries.insert((generation, value));
        Key { index, generation }
    }

    /// The key that the next [`Table::insert`] will give.
    pub fn next_key(&self) -> Key {
        Key {
            index: self.entries.next_place(),
            generation: self.next_generation,
        }
    }

    /// The entry, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.entries.get(key.index)?;
        (*generation == key.generation).then_some(value)
    }

    /// The entry, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.entries.get_mut(key.index)?;
        (*generation == key.generation).then_some(value)
    }

    /// The entry in a place, whose it is at the moment, and its key: for indexes that know the
    /// place of every entry and of no other.
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let (generation, value) = self.entries.get(index)?;
        let generation = *generation;
        Some((Key { index, generation }, value))
    }

    /// Takes the entry out, unless it is gone.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let is_it = |entry: &(u32, T)| entry.0 == key.generation;
        Some(self.entries.remove_if(key.index, is_it)?.1)
    }

    /// Whether the key still names an entry.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries with their keys, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().map(|(index, (generation, value))| {
            let generation = *generation;
            (Key { index, generation }, value)
        })
    }

    /// The entries in so many places from this one on, in index order, each with its place; and
    /// the place behind them, unless nothing can be there. What is empty is looked at too, so the
    /// cost is bounded whatever has been removed.
    pub fn window(
        &self,
        from: usize,
        place_count: usize,
    ) -> (impl Iterator<Item = (usize, Key, &T)>, Option<usize>) {
        let places = self.entries.end();
        let end = from.saturating_add(place_count).min(places);
        let found = (from..end).filter_map(|place| {
            let (key, value) = self.at(place as u32)?;
            Some((place, key, value))
        });
        (found, (end < places).then_some(end))
    }

    /// Gives memory back that a peak left behind and that no removal has: that of an empty table,
    /// of an empty block, or, in a table of one block of which no more than a quarter is used, all
    /// behind the last entry.
    pub fn give_back(&mut self) {
        self.entries.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::HashMap;

    /// Places in the blocks that have memory.
    fn capacity<T>(table: &Table<T>) -> usize {
        table.entries.blocks.iter().map(Slab::capacity).sum()
    }

    const BLOCK: usize = Blocks::<(u32, [u64; 8])>::BLOCK;

    fn filled(count: usize) -> (Table<[u64; 8]>, Vec<Key>) {
        let mut table = Table::new();
        let keys = (0..count as u64).map(|n| table.insert([n; 8])).collect();
        (table, keys)
    }

    #[test]
    fn memory_of_a_peak_is_given_back_and_keys_stay() {
        let mut table = Table::new();
        let keys: Vec<Key> = (0..1_000).map(|n| table.insert(n)).collect();
        assert!(keys[100..].iter().all(|key| table.remove(*key).is_some()));
        table.give_back();
        assert!(capacity(&table) < 200);
        assert!(keys[..100].iter().all(|key| table.contains(*key)));
        assert!(!table.contains(keys[100]));
        let new = table.insert(7);
        assert!(!keys.contains(&new) && table.get(new) == Some(&7));
        assert!(keys[..100].iter().all(|key| table.remove(*key).is_some()));
        table.remove(new);
        table.give_back();
        assert_eq!(capacity(&table), 0);
        let newer = table.insert(8);
        assert!(!table.contains(new) && table.contains(newer));
    }

    #[test]
    fn a_full_table_gets_one_more_block() {
        let (mut table, keys) = filled(5 * BLOCK);
        assert_eq!(
            (capacity(&table), table.entries.blocks.len()),
            (5 * BLOCK, 5)
        );
        let before: Vec<*const [u64; 8]> = keys
            .iter()
            .map(|k| &raw const table.entries[k.index].1)
            .collect();
        table.insert([0; 8]);
        assert_eq!(capacity(&table), 6 * BLOCK);
        let after = keys.iter().map(|k| &raw const table.entries[k.index].1);
        assert!(after.eq(before), "nothing has moved");
    }

    #[test]
    fn the_first_block_grows_in_steps() {
        for count in [1, 2, 10, 100, BLOCK - 1, BLOCK] {
            let (table, _) = filled(count);
            assert!(capacity(&table) <= count + count / 8 + 1, "{count}");
        }
    }

    #[test]
    fn an_empty_block_gives_its_memory_back_at_once_when_there_is_another() {
        let (mut table, keys) = filled(6 * BLOCK);
        // The upper blocks become empty, each in turn, and the lowest of them keeps its memory.
        for key in keys[3 * BLOCK..].iter().rev() {
            assert!(table.remove(*key).is_some());
            assert!(capacity(&table) <= (table.len() / BLOCK + 2) * BLOCK);
        }
        assert_eq!(capacity(&table), 4 * BLOCK);
        table.give_back();
        assert_eq!((capacity(&table), table.len()), (3 * BLOCK, 3 * BLOCK));
        // What is left is all there, and the same memory is used again.
        assert!(keys[..3 * BLOCK].iter().all(|key| table.contains(*key)));
        assert!(keys[3 * BLOCK..].iter().all(|key| !table.contains(*key)));
        assert_eq!(table.insert([1; 8]).place(), 3 * BLOCK);
    }

    #[test]
    fn the_lowest_block_with_room_is_filled_first() {
        let (mut table, keys) = filled(4 * BLOCK);
        for place in [3 * BLOCK, BLOCK + 1, 2 * BLOCK, BLOCK] {
            table.remove(keys[place]);
        }
        let want = [BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK];
        for place in want {
            assert_eq!(table.next_key().place(), place);
            assert_eq!(table.insert([0; 8]).place(), place);
        }
        assert!(
            table
                .iter()
                .map(|(key, _)| key.place())
                .eq(0..4 * BLOCK + 1)
        );
    }

    #[test]
    fn windows_cover_a_table_with_holes() {
        let (mut table, keys) = filled(3 * BLOCK + 7);
        for key in &keys[BLOCK - 3..2 * BLOCK + 5] {
            table.remove(*key);
        }
        table.give_back();
        let (mut from, mut seen) = (Some(0), vec![]);
        while let Some(place) = from {
            let (found, next) = table.window(place, 100);
            seen.extend(found.map(|(place, key, value)| {
                assert_eq!((key.place(), value[0]), (place, place as u64));
                place
            }));
            from = next;
        }
        let want = (0..BLOCK - 3).chain(2 * BLOCK + 5..3 * BLOCK + 7);
        assert!(seen.into_iter().eq(want));
    }

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut t = Table::new();
        let old = t.insert("old");
        assert_eq!(t.remove(old), Some("old"));
        let new = t.insert("new");
        assert_eq!((t.get(old), t.get(new)), (None, Some(&"new")));
        assert_eq!(t.remove(old), None);
        assert_eq!(Key::from_u64(new.to_u64()), new);
        assert_eq!(t.at(new.index), Some((new, &"new")));
        let nowhere = Key::from_u64(u64::MAX);
        assert!(t.get(nowhere).is_none() && t.remove(nowhere).is_none());
    }

    #[test]
    fn a_table_is_a_map() {
        for seed in 0..8 {
            let (mut rng, mut table) = (Rng::new(seed), Table::new());
            let (mut model, mut keys) = (HashMap::new(), Vec::<Key>::new());
            for n in 0..40_000u64 {
                // It grows to some blocks and shrinks again, twice.
                let chance = if n / 10_000 % 2 == 0 { 4 } else { 1 };
                if rng.chance(chance, 5) {
                    let next = table.next_key();
                    let key = table.insert([n; 32]);
                    assert_eq!(key, next);
                    assert!(model.insert(key, n).is_none(), "a key was given twice");
                    keys.push(key);
                } else if !keys.is_empty() {
                    let key = keys.swap_remove(rng.below(keys.len() as u32) as usize);
                    let gone = table.remove(key).map(|value| value[0]);
                    assert_eq!(gone, model.remove(&key));
                    assert!(table.get(key).is_none());
                }
                if rng.chance(1, 1_000) {
                    table.give_back();
                }
                assert_eq!(table.len(), model.len());
            }
            assert!(table.iter().all(|(k, v)| model[&k] == v[0]));
            assert!(table.iter().map(|(key, _)| key.place()).is_sorted());
        }
    }
}
