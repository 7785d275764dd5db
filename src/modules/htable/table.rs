//! One table of one shard: items by key, each with the moment at which it goes.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::limits::TABLE_ITEM_COUNT_MAX;
use crate::slab::{self, Key};
use crate::time::Instant;
use crate::wheel::TimerKey;

use super::super::pv::Stored;

/// An item.
#[derive(Debug)]
pub struct Item {
    /// Its key.
    pub key: Box<[u8]>,
    /// Its value.
    pub value: Stored,
    /// When it was assigned, in microseconds of the wall clock, and by which shard.
    pub stamp: (u64, u16),
    /// When it goes, and the timer for that.
    pub end: Option<(Instant, TimerKey)>,
}

/// The items of a table. Peers may choose keys, so the order is by comparison and not by hash.
#[derive(Debug, Default)]
pub struct Table {
    index: BTreeMap<Box<[u8]>, Key>,
    items: slab::Table<Item>,
}

impl Table {
    /// The item under a key.
    pub fn find(&self, key: &[u8]) -> Option<&Item> {
        self.items.get(*self.index.get(key)?)
    }

    /// Where the item under a key is.
    pub fn place(&self, key: &[u8]) -> Option<Key> {
        self.index.get(key).copied()
    }

    /// The item in a place.
    pub fn get_mut(&mut self, place: Key) -> Option<&mut Item> {
        self.items.get_mut(place)
    }

    /// Puts a value under a new key. `None`: the table is full.
    pub fn insert(&mut self, key: &[u8], value: Stored) -> Option<Key> {
        if self.items.len() >= TABLE_ITEM_COUNT_MAX {
            return None;
        }
        let item = Item {
            key: key.into(),
            value,
            stamp: (0, 0),
            end: None,
        };
        let place = self.items.insert(item);
        self.index.insert(key.into(), place);
        Some(place)
    }

    /// Takes an item out.
    pub fn remove(&mut self, place: Key) -> Option<Item> {
        let item = self.items.remove(place)?;
        self.index.remove(&item.key);
        Some(item)
    }

    /// The places of the items that are wanted.
    pub fn places(&self, is_wanted: impl Fn(&Item) -> bool) -> Vec<Key> {
        let all = self.items.iter();
        all.filter(|(_, item)| is_wanted(item))
            .map(|(place, _)| place)
            .collect()
    }

    /// The first item behind a key; without a key, the first of all.
    pub fn after(&self, key: Option<&[u8]>) -> Option<&Item> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let (_, place) = self
            .index
            .range::<[u8], _>((from, Bound::Unbounded))
            .next()?;
        self.items.get(*place)
    }

    /// All items by key.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.index
            .values()
            .filter_map(|place| self.items.get(*place))
    }

    /// The items in so many places from this one on, each with its place; and the place behind
    /// them, unless that was all.
    pub fn window(
        &self,
        from: usize,
        place_count: usize,
    ) -> (impl Iterator<Item = (usize, &Item)>, Option<usize>) {
        let (items, next) = self.items.window(from, place_count);
        (items.map(|(place, _, item)| (place, item)), next)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
