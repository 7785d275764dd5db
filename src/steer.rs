//! Which shard owns a call.
//!
//! [`owner`] is the one law: the kernel program that picks a socket, the mesh that hands bytes
//! over and the simulator all compute it. It is FNV-1a over the bytes of the Call-ID value
//! (blanks around it left off), avalanched by the finaliser of MurmurHash3 because the high bits
//! choose, and scaled to the number of shards. 32-bit operations only, one byte at a time: an
//! eBPF verifier can follow it.

use std::fmt;

/// Names one shard: 0 and up, below the number of shards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The shard that owns every message with this Call-ID. `shard_count` is at least 1.
///
/// A message without a Call-ID belongs to the owner of the empty one: shard 0 or another, but
/// always the same.
pub fn owner(call_id: &[u8], shard_count: u16) -> ShardId {
    let scaled = (u64::from(hash(call_id)) * u64::from(shard_count)) >> 32;
    ShardId(scaled as u16)
}

/// The 32 bits that [`owner`] scales.
pub fn hash(call_id: &[u8]) -> u32 {
    let mut h = 0x811c_9dc5_u32;
    for &b in call_id {
        h = (h ^ u32::from(b)).wrapping_mul(0x0100_0193);
    }
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_is_stable() {
        // Written down so that a kernel program and a peer of another version agree.
        let table = [
            ("", 0xab3e_7c0b),
            ("a", 0x1a80_b1b3),
            ("1-12345@127.0.0.1", 0x671a_52ad),
            ("3848276298220188511@atlanta.example.com", 0x9013_f3db),
        ];
        for (call_id, want) in table {
            assert_eq!(hash(call_id.as_bytes()), want, "{call_id}");
        }
        assert_eq!(owner(b"anything", 1), ShardId(0));
    }

    #[test]
    fn calls_spread_evenly() {
        for shards in [2u16, 3, 7, 64] {
            let mut hits = vec![0u32; usize::from(shards)];
            let calls = 20_000 * u32::from(shards);
            for n in 0..calls {
                let id = format!("{n}-4242@127.0.0.1");
                hits[usize::from(owner(id.as_bytes(), shards).0)] += 1;
            }
            let (low, high) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
            assert!(
                *low > 19_000 && *high < 21_000,
                "{shards} shards: {low}..{high}"
            );
        }
    }
}
