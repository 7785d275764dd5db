//! What shards tell each other: the little that is not one call's own business.
//!
//! Everything here is a value and may be lost, repeated or late on its way. Batches are repeated
//! until each shard has confirmed them, counts in them are absolute, and commands are applied
//! once by their number.

use std::sync::Arc;

use crate::slab::Key;

/// One message between two shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerMessage {
    /// News for every shard.
    Batch(Arc<Batch>),
    /// The batch with this number has come.
    Seen(u64),
    /// A script waits until another shard has looked for a dialog and set its lifetime.
    SetLifetime {
        /// The script.
        run: Key,
        /// The dialog.
        h_entry: u32,
        /// The dialog.
        h_id: u32,
        /// Seconds.
        lifetime_s: u32,
    },
    /// A destination of the dispatcher has this state now.
    Destination {
        /// Its set.
        set: i64,
        /// Its URI.
        uri: Box<[u8]>,
        /// The bits of the state.
        flags: u32,
    },
    /// An item of a table of the script's has changed (`htable`).
    Item(Arc<ItemNews>),
    /// What came of it.
    LifetimeSet {
        /// The script.
        run: Key,
        /// Whether there is such a dialog.
        is_found: bool,
    },
}

/// News of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Counts up with each batch of the shard.
    pub number: u64,
    /// Every batch with a lower number has been confirmed by every shard.
    pub settled: u64,
    /// Sizes of profiles.
    pub counts: Vec<Count>,
    /// Things to do.
    pub commands: Vec<Command>,
}

/// How many members a value of a profile has in the shard that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// The profile, by its place among all.
    pub profile: u16,
    /// The value; empty in profiles without values.
    pub value: Box<[u8]>,
    /// How many.
    pub count: u32,
}

/// Something that every shard does with what it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Set the lifetime of the dialogs in a profile.
    SetLifetime {
        /// The profile.
        profile: u16,
        /// Only those with this value; `None`: all.
        value: Option<Box<[u8]>>,
        /// Seconds.
        lifetime_s: u32,
    },
    /// Remove one item of another server.
    RemoveRemote {
        /// The profile.
        profile: u16,
        /// Its value.
        value: Box<[u8]>,
        /// Its identifier.
        uid: Box<[u8]>,
    },
}

/// News of one item of a table of the script's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ItemNews {
    /// The table.
    pub table: Box<str>,
    /// The item.
    pub key: Box<[u8]>,
    /// When it changed, in microseconds of the wall clock; of two values the later counts.
    pub at: u64,
    /// What has become of it.
    pub change: ItemChange,
}

/// What has become of an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemChange {
    /// It has this number.
    Number(i64),
    /// It has this text.
    Text(Box<[u8]>),
    /// This has been added to its number.
    Add(i64),
    /// It lives so many seconds from now; 0: until it is removed.
    Live(u64),
    /// It is gone.
    Remove,
}
