//! Tables whose keys cannot be confused: generational keys over the `slab` crate.
//!
//! ```text
//!   Key { index: 3, generation: 8 } ──▶ slab[3] = (8, value)   found
//!   Key { index: 3, generation: 7 } ──▶ slab[3] = (8, value)   stale: None
//! ```
//!
//! A timer, a DNS answer or a database answer that arrives for something that has ended finds
//! nothing; it never finds what took the place. Insert, look-up and removal are O(1).

use hashbrown::HashTable;
use slab::Slab;

use crate::limits::GIVE_BACK_COUNT_MAX;

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

/// By how many entries a full table of so many grows. Doubling would leave half of the memory of
/// millions of dialogs unused, and large blocks grow by being mapped anew, not by being copied.
pub const fn growth(len: usize) -> usize {
    len / 8 + 1
}

/// Whether a table that holds `len` entries should give back what it has above them.
pub const fn gives_back(len: usize, capacity: usize) -> bool {
    len <= capacity / 4 && capacity <= GIVE_BACK_COUNT_MAX
}

/// Lets an index of keys give memory back, as [`Table::give_back`] does.
pub fn give_back_index<T>(index: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if index.is_empty() {
        *index = HashTable::new();
    } else if gives_back(index.len(), index.capacity()) {
        index.shrink_to_fit(hash);
    }
}

/// A slab whose removed entries cannot be reached by the keys they had.
#[derive(Debug)]
pub struct Table<T> {
    entries: Slab<(u32, T)>,
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
            entries: Slab::new(),
            next_generation: 0,
        }
    }

    /// Stores a value and names it.
    pub fn insert(&mut self, value: T) -> Key {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(growth(self.entries.len()));
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let index = self.entries.insert((generation, value));
        Key {
            index: u32::try_from(index).expect("tables are bounded below 2^32"),
            generation,
        }
    }

    /// The key that the next [`Table::insert`] will give.
    pub fn next_key(&self) -> Key {
        Key {
            index: self.entries.vacant_key() as u32,
            generation: self.next_generation,
        }
    }

    /// The entry, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.entries.get(key.index as usize)?;
        (*generation == key.generation).then_some(value)
    }

    /// The entry, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.entries.get_mut(key.index as usize)?;
        (*generation == key.generation).then_some(value)
    }

    /// Takes the entry out, unless it is gone.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.entries.remove(key.index as usize).1)
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
        self.entries.iter().map(|(i, (generation, v))| {
            (
                Key {
                    index: i as u32,
                    generation: *generation,
                },
                v,
            )
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
        let end = from
            .saturating_add(place_count)
            .min(self.entries.capacity());
        let found = (from..end).filter_map(|i| {
            let (generation, value) = self.entries.get(i)?;
            let key = Key {
                index: i as u32,
                generation: *generation,
            };
            Some((i, key, value))
        });
        (found, (end < self.entries.capacity()).then_some(end))
    }

    /// Gives memory back that a peak left behind, when no more than a quarter is used: all behind
    /// the last entry. At most linear in `limits::GIVE_BACK_COUNT_MAX`, or in the memory of an
    /// empty table.
    pub fn give_back(&mut self) {
        if self.is_empty() {
            self.entries = Slab::new();
        } else if gives_back(self.entries.len(), self.entries.capacity()) {
            self.entries.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::HashMap;

    #[test]
    fn memory_of_a_peak_is_given_back_and_keys_stay() {
        let mut table = Table::new();
        let keys: Vec<Key> = (0..1_000).map(|n| table.insert(n)).collect();
        assert!(keys[100..].iter().all(|key| table.remove(*key).is_some()));
        table.give_back();
        assert!(table.entries.capacity() < 200);
        assert!(keys[..100].iter().all(|key| table.contains(*key)));
        assert!(!table.contains(keys[100]));
        let new = table.insert(7);
        assert!(!keys.contains(&new) && table.get(new) == Some(&7));
        assert!(keys[..100].iter().all(|key| table.remove(*key).is_some()));
        table.remove(new);
        table.give_back();
        assert_eq!(table.entries.capacity(), 0);
        let newer = table.insert(8);
        assert!(!table.contains(new) && table.contains(newer));
    }

    #[test]
    fn an_index_gives_back_and_finds_what_is_left() {
        let mut index = HashTable::new();
        for n in 0..1_000u64 {
            index.insert_unique(n, n, |n| *n);
        }
        index.retain(|n| *n < 10);
        give_back_index(&mut index, |n| *n);
        assert!(index.capacity() < 50);
        assert!((0..10).all(|n| index.find(n, |m| *m == n).is_some()));
        index.clear();
        give_back_index(&mut index, |n| *n);
        assert_eq!(index.capacity(), 0);
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
    }

    #[test]
    fn a_table_is_a_map() {
        let (mut rng, mut table, mut model) = (Rng::new(3), Table::new(), HashMap::new());
        let mut keys: Vec<Key> = vec![];
        for n in 0..20_000u32 {
            if rng.chance(3, 5) {
                assert_eq!(table.next_key(), table.next_key());
                let key = table.insert(n);
                assert!(model.insert(key, n).is_none(), "a key was given twice");
                keys.push(key);
            } else if !keys.is_empty() {
                let key = keys[rng.below(keys.len() as u32) as usize];
                assert_eq!(table.remove(key), model.remove(&key));
            }
            assert_eq!(table.len(), model.len());
        }
        assert!(table.iter().all(|(k, v)| model[&k] == *v));
    }
}
