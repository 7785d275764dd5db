//! Which shard owns a call.
//!
//! [`owner`] is the one law: the kernel program that picks a socket, the mesh that hands bytes
//! over and the simulator all compute it. It is FNV-1a over the bytes of the Call-ID value
//! (blanks around it left off), avalanched by the finaliser of MurmurHash3 because the high bits
//! choose, and scaled to the number of shards. 32-bit operations only, one byte at a time: an
//! eBPF verifier can follow it.

use std::fmt;

use crate::rng::Rng;

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
    owner_of(hash(call_id), shard_count)
}

/// The same for a Call-ID that has been hashed.
pub fn owner_of(hash: u32, shard_count: u16) -> ShardId {
    let scaled = (u64::from(hash) * u64::from(shard_count)) >> 32;
    ShardId(scaled as u16)
}

/// A Call-ID for a request of our own, such that its answers come home: [`owner`] gives `home`.
/// `host` makes it unique among servers (RFC 3261 §8.1.1.4).
pub fn mint(rng: &mut Rng, home: ShardId, shard_count: u16, host: &str) -> String {
    // A draw hits with one in `shard_count`; that so many miss will not happen in the life of a
    // machine, and the last one is used then: its answer is counted `misrouted` and lost.
    const DRAWS_PER_SHARD: u32 = 64;
    let mut call_id = String::new();
    for _ in 0..DRAWS_PER_SHARD * u32::from(shard_count.max(1)) {
        call_id = format!("{:016x}-{home}@{host}", rng.next_u64());
        if owner(call_id.as_bytes(), shard_count) == home {
            break;
        }
    }
    call_id
}

/// The 32 bits that [`owner`] scales.
pub const fn hash(call_id: &[u8]) -> u32 {
    let (mut h, mut at) = (0x811c_9dc5_u32, 0);
    while at < call_id.len() {
        h = (h ^ call_id[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
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
    fn a_minted_call_id_comes_home() {
        let mut rng = Rng::new(3);
        for shards in [1u16, 2, 3, 64] {
            for home in (0..shards).map(ShardId) {
                let call_id = mint(&mut rng, home, shards, "192.0.2.1");
                assert_eq!(owner(call_id.as_bytes(), shards), home, "{call_id}");
            }
        }
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
