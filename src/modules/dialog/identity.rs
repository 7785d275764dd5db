//! What a dialog is called: the slot of its Call-ID (`h_entry`) and a number in it (`h_id`).
//!
//! Both are the original's, so that cookies in live calls, rows of its tables and identifiers in
//! an operator's notes mean the same here. Every shard gives numbers of a residue class of its
//! own: (h_entry, h_id) is unique in the process, and names the shard that gave it.

use std::fmt;

use crate::rng::Rng;
use crate::steer::ShardId;

/// Names a dialog to the outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DialogId {
    /// The slot of the Call-ID.
    pub h_entry: u32,
    /// The number in the slot, never 0.
    pub h_id: u32,
}

impl fmt::Display for DialogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.h_entry, self.h_id)
    }
}

/// The original's hash of a Call-ID; a slot is its low bits. Bytes count as signed, as they do in
/// the original on x86.
pub fn call_id_hash(call_id: &[u8]) -> u32 {
    let fold = |sum: u32, b: &u8| (sum << 8).wrapping_add(*b as i8 as u32);
    let mix = |w: u32| w ^ (w >> 3);
    let groups = call_id.chunks_exact(4);
    let rest = groups.remainder().iter().fold(0, fold);
    let sum = groups
        .map(|group| mix(group.iter().fold(0, fold)))
        .fold(mix(rest), u32::wrapping_add);
    sum.wrapping_add(sum >> 11)
        .wrapping_add(sum >> 13)
        .wrapping_add(sum >> 23)
}

/// Which numbers a shard gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbering {
    /// `hash_size`, a power of two.
    pub slot_count: u32,
    /// `h_id_start`.
    pub start: u32,
    /// `h_id_step`, at least 1.
    pub step: u32,
    /// The shard that numbers.
    pub shard: ShardId,
    /// Of how many.
    pub shard_count: u16,
}

impl Numbering {
    /// The slot of a Call-ID.
    pub fn slot(&self, call_id: &[u8]) -> u32 {
        call_id_hash(call_id) & (self.slot_count - 1)
    }

    /// The `n`-th number of this shard: `start + N * step`, where N counts up in steps of the
    /// number of shards.
    fn number(&self, n: u32) -> u32 {
        let shards = u32::from(self.shard_count);
        let rank = n
            .wrapping_mul(shards)
            .wrapping_add(u32::from(self.shard.0) + 1);
        // With the default step of 1 the original does not look at `h_id_start`.
        let start = if self.step > 1 { self.start } else { 0 };
        start.wrapping_add(rank.wrapping_mul(self.step))
    }

    /// The shard that gave a number, if it was given in this process.
    pub fn giver(&self, h_id: u32) -> ShardId {
        let start = if self.step > 1 { self.start } else { 0 };
        let rank = h_id.wrapping_sub(start) / self.step;
        ShardId((rank.wrapping_sub(1) % u32::from(self.shard_count)) as u16)
    }
}

/// The counters of the slots.
#[derive(Debug, Default)]
pub struct Numbers {
    /// For each slot, how many numbers it has given, from a random start on: a restarted process
    /// does not give the identifiers of calls that are still up.
    next: Vec<u32>,
}

impl Numbers {
    /// The next number of a slot that is not taken.
    pub fn draw(
        &mut self,
        numbering: &Numbering,
        slot: u32,
        rng: &mut Rng,
        is_taken: impl Fn(u32) -> bool,
    ) -> u32 {
        if self.next.len() != numbering.slot_count as usize {
            let bound = numbering.slot_count.saturating_mul(3);
            self.next = (0..numbering.slot_count)
                .map(|_| rng.below(bound))
                .collect();
        }
        let next = &mut self.next[slot as usize];
        loop {
            let h_id = numbering.number(*next);
            *next = next.wrapping_add(1);
            // Numbers come round after 2^32; there are fewer dialogs than that.
            if h_id != 0 && !is_taken(h_id) {
                return h_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_original() {
        // Measured on a running original with hash_size 4096.
        let table: [(&[u8], u32, u32); 8] = [
            (b"a", 109, 109),
            (b"abcd", 1_834_959_896, 1048),
            (b"call1@x", 1_867_910_640, 3568),
            (b"1-12345@127.0.0.1", 3_653_088_559, 1327),
            (
                b"3848276298220188511@atlanta.example.com",
                3_416_024_093,
                1053,
            ),
            (
                b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6@biloxi.example.com",
                977_587_091,
                2963,
            ),
            (&[0x61, 0xc3, 0xa9], 7_138_301, 3069),
            (
                &[0x63, 0x61, 0x66, 0xc3, 0xa9, 0x40, 0xc3, 0xbc],
                724_320_920,
                664,
            ),
        ];
        for (call_id, raw, slot) in table {
            let found = call_id_hash(call_id);
            assert_eq!(
                (found, found & 4095),
                (raw, slot),
                "{}",
                call_id.escape_ascii()
            );
        }
        assert_eq!(call_id_hash(b"f1") & 15, 7);
    }

    fn numbering(start: u32, step: u32, shard: u16, shard_count: u16) -> Numbering {
        Numbering {
            slot_count: 8,
            start,
            step,
            shard: ShardId(shard),
            shard_count,
        }
    }

    #[test]
    fn numbers_are_of_their_class_and_name_their_shard() {
        for (start, step, shard_count) in [(0, 1, 1), (0, 1, 4), (3, 10, 1), (3, 10, 3)] {
            let mut seen = std::collections::BTreeSet::new();
            for shard in 0..shard_count {
                let numbering = numbering(start, step, shard, shard_count);
                let (mut numbers, mut rng) = (Numbers::default(), Rng::new(7));
                for _ in 0..500 {
                    let h_id = numbers.draw(&numbering, 5, &mut rng, |_| false);
                    assert!(h_id > 0 && seen.insert(h_id), "{h_id} was given twice");
                    assert_eq!(numbering.giver(h_id), ShardId(shard));
                    assert_eq!((h_id - start) % step, 0);
                }
            }
        }
    }

    #[test]
    fn taken_numbers_are_passed_over() {
        let (mut numbers, mut rng) = (Numbers::default(), Rng::new(1));
        let numbering = numbering(0, 1, 0, 1);
        let first = numbers.draw(&numbering, 0, &mut rng, |_| false);
        let next = numbers.draw(&numbering, 0, &mut rng, |h_id| h_id < first + 10);
        assert_eq!(next, first + 10);
    }
}
