//! Randomness as a value: one seeded generator per shard.
//!
//! A shard draws its tags, branches and identifiers from here and never from the kernel; `io`
//! seeds it with real entropy, the simulator with the seed of the run. The generator is
//! xoshiro256** (Blackman and Vigna), seeded through SplitMix64: 40 bytes of state, a few
//! nanoseconds a draw. It is not a cipher: what must not be guessed by a peer that sees
//! many outputs must not come from here alone.

/// A seeded generator; equal seeds give equal sequences.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Self {
        let mut s = seed;
        Rng {
            state: std::array::from_fn(|_| split_mix(&mut s)),
        }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// An even draw from `0..bound`; `bound` must not be 0. Lemire's reduction; its bias is below
    /// one in 2^32 for every bound used here.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "an empty range has no members to draw");
        ((u64::from(self.next_u64() as u32) * u64::from(bound)) >> 32) as u32
    }

    /// True `n` times in `of`.
    pub fn chance(&mut self, n: u32, of: u32) -> bool {
        self.below(of) < n
    }

    /// A generator of its own for a part, so that its draws do not shift this one's.
    pub fn fork(&mut self) -> Rng {
        Rng::new(self.next_u64())
    }

    /// A hasher state for tables whose keys a peer can choose.
    pub fn hasher(&mut self) -> ahash::RandomState {
        ahash::RandomState::with_seeds(
            self.next_u64(),
            self.next_u64(),
            self.next_u64(),
            self.next_u64(),
        )
    }
}

fn split_mix(s: &mut u64) -> u64 {
    *s = s.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *s;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut a, mut b, mut c) = (Rng::new(7), Rng::new(7), Rng::new(8));
        let draw = |r: &mut Rng| (0..8).map(|_| r.next_u64()).collect::<Vec<_>>();
        let (xs, ys, zs) = (draw(&mut a), draw(&mut b), draw(&mut c));
        assert_eq!(xs, ys);
        assert_ne!(xs, zs);
    }

    #[test]
    fn below_is_even_and_in_range() {
        let mut r = Rng::new(1);
        let mut hits = [0u32; 7];
        for _ in 0..70_000 {
            hits[r.below(7) as usize] += 1;
        }
        assert!(
            hits.iter().all(|&n| (9_500..10_500).contains(&n)),
            "{hits:?}"
        );
    }
}
