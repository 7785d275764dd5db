//! What one insert costs at the worst while a table grows from nothing: a message waits for it.
//!
//! ```text
//!   insert ─▶ the table is full ─▶ more memory ─▶ what moves there: the blocks that it leaves
//! ```
//!
//! Counted are bytes of the allocator, which repeat exactly: those of the blocks that one insert
//! gives up, because all that a table moves leaves a block, and those that it allocates.

use dialcore::index::Index;
use dialcore::modules::dialog::profile::{ProfileSpec, Profiles};
use dialcore::rng::Rng;
use dialcore::slab::Table;
use dialcore::time::{Duration, Instant};
use dialcore::wheel::Wheel;

use crate::allocations;
use crate::dialog;
use crate::kept::Filling;

/// No insert moves more, which takes some ten microseconds.
const MOVED_MAX: u64 = 160 << 10;
/// Entries of the quick check, and of the measurement.
const FEW: u32 = 10_000;
const MANY: u32 = 300_000;
/// Calls in a second while a shard is filled.
const RATE: u64 = 5_000;

/// A table, and the most that one insert has moved and allocated.
struct Growth {
    table: &'static str,
    moved: u64,
    allocated: u64,
}

/// Calls `insert` with each number below the count.
fn growth(table: &'static str, count: u32, mut insert: impl FnMut(u32)) -> Growth {
    let (mut moved, mut allocated) = (0, 0);
    for n in 0..count {
        let (left, (_, size)) = (allocations::left(), allocations::so_far());
        insert(n);
        moved = moved.max(allocations::left() - left);
        allocated = allocated.max(allocations::so_far().1 - size);
    }
    Growth {
        table,
        moved,
        allocated,
    }
}

fn entries(count: u32) -> Growth {
    let mut table = Table::new();
    growth("table, entries of 432 bytes", count, |n| {
        table.insert([u64::from(n); 54]);
    })
}

fn index(count: u32) -> Growth {
    let mut rng = Rng::new(1);
    let hashes: Vec<u64> = (0..count).map(|_| rng.next_u64()).collect();
    let mut index = Index::new();
    growth("index", count, |n| {
        index.insert(hashes[n as usize], n, |n| hashes[n as usize]);
    })
}

fn wheel(count: u32) -> Growth {
    let (mut wheel, mut rng) = (Wheel::new(Instant::ZERO), Rng::new(1));
    growth("timers", count, |n| {
        let length = Duration::from_millis(rng.below(43_200_000).into());
        wheel.start(Instant::ZERO + length, u64::from(n));
    })
}

fn dialogs(count: u32) -> Growth {
    let mut table = dialog::empty();
    growth("dialogs, with their indexes", count, |n| {
        dialog::add(&mut table, n);
    })
}

fn members(count: u32) -> Growth {
    let mut profiles = Profiles::new(Rng::new(1).hasher());
    profiles.configure(&[ProfileSpec {
        name: "p".into(),
        has_value: false,
    }]);
    let mut table = Table::new();
    growth("members of a profile", count, |_| {
        let dialog = table.insert(());
        assert!(profiles.add(0, b"", dialog).is_some(), "it has the value");
    })
}

/// All of them together, with transactions, messages and a value of a profile for each call; by
/// input.
fn shard(count: u32) -> Growth {
    let count = u64::from(count);
    let length = Duration::from_millis(count * 1_000 / RATE);
    let filling = Filling::filled(count, 1, length);
    Growth {
        table: "a shard, INVITE 200 ACK",
        moved: filling.left_max,
        allocated: filling.allocated_max,
    }
}

fn all(count: u32) -> impl Iterator<Item = Growth> {
    let tables = [entries, index, wheel, dialogs, members, shard];
    tables.into_iter().map(move |table| table(count))
}

/// Whether no insert moves more than it may.
pub(crate) fn check() -> Result<(), String> {
    match all(FEW).find(|growth| growth.moved > MOVED_MAX) {
        None => Ok(()),
        Some(Growth { table, moved, .. }) => Err(format!(
            "{table}: one insert moves {moved} bytes, not {MOVED_MAX}"
        )),
    }
}

/// A line for each table.
pub(crate) fn report() -> String {
    let mut out = format!("growth to {MANY:<21}  bytes moved  bytes allocated  by one insert\n");
    for growth in all(MANY) {
        let Growth {
            table,
            moved,
            allocated,
        } = growth;
        out += &format!("{table:<31}  {moved:>11}  {allocated:>15}\n");
    }
    out
}
