//! What is known of the nonces that one shard has made: which were used, and how often.
//!
//! A nonce carries the number of its shard and its own; the shard keeps a byte for the last count
//! that came with it (`nonce_count`, RFC 7616 §3.4) and a bit for whether it was used
//! (`one_time_nonce`). Both are rings: a nonce older than the ring is long is forgotten, and counts
//! as stale. Memory grows with the nonces made, up to the sizes that the configuration sets.

pub use crate::effect::peer::NonceUse as Use;

use super::Config;

/// The highest count that is kept; a nonce that is used more often is stale.
const COUNT_MAX: u32 = u8::MAX as u32;

/// The nonces of one shard.
#[derive(Debug, Default)]
pub struct Counts {
    /// How many were made.
    next: u32,
    last_counts: Vec<u8>,
    are_used: Vec<bool>,
}

impl Counts {
    /// The number of a new nonce.
    pub(super) fn begin(&mut self, config: &Config) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if config.counts {
            put(&mut self.last_counts, config.count_size, number, 0);
        }
        if config.is_one_time {
            put(&mut self.are_used, config.one_time_size, number, false);
        }
        number
    }

    /// Notes the use of a nonce, with the count that came with it if one did.
    pub fn note(&mut self, config: &Config, number: u32, count: Option<u32>) -> Use {
        let age = self.next.wrapping_sub(number);
        let is_known = |size: usize| age > 0 && age as usize <= size;
        match count {
            Some(count) if config.counts => {
                let at = number as usize % config.count_size;
                let place = self.last_counts.get_mut(at);
                match place.filter(|_| is_known(config.count_size)) {
                    Some(last) if count > u32::from(*last) && count <= COUNT_MAX => {
                        *last = count as u8;
                        Use::Fresh
                    }
                    Some(_) | None => Use::Stale,
                }
            }
            _ if config.is_one_time => {
                let at = number as usize % config.one_time_size;
                let place = self.are_used.get_mut(at);
                match place.filter(|_| is_known(config.one_time_size)) {
                    Some(is_used) if !*is_used => {
                        *is_used = true;
                        Use::Fresh
                    }
                    Some(_) => Use::Reused,
                    None => Use::Stale,
                }
            }
            _ => Use::Fresh,
        }
    }
}

/// Puts a value into a ring that grows until it has this size.
fn put<T: Copy>(ring: &mut Vec<T>, size: usize, number: u32, value: T) {
    let at = number as usize % size;
    if at >= ring.len() {
        ring.resize(at + 1, value);
    }
    ring[at] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(counts: bool, is_one_time: bool) -> Config {
        Config {
            counts,
            is_one_time,
            count_size: 4,
            one_time_size: 4,
            ..Config::default()
        }
    }

    #[test]
    fn counts_must_rise() {
        let config = config(true, false);
        let mut counts = Counts::default();
        let number = counts.begin(&config);
        // As the original was seen to do.
        let table = [
            (1, Use::Fresh),
            (1, Use::Stale),
            (2, Use::Fresh),
            (5, Use::Fresh),
            (3, Use::Stale),
            (254, Use::Fresh),
            (255, Use::Fresh),
            (256, Use::Stale),
            (u32::MAX, Use::Stale),
        ];
        for (count, want) in table {
            assert_eq!(counts.note(&config, number, Some(count)), want, "{count}");
        }
        // Without a count nothing is known.
        assert_eq!(counts.note(&config, number, None), Use::Fresh);
    }

    #[test]
    fn a_nonce_is_good_once() {
        for (counts, count) in [(false, None), (false, Some(1)), (true, None)] {
            let config = config(counts, true);
            let mut counts = Counts::default();
            let number = counts.begin(&config);
            assert_eq!(counts.note(&config, number, count), Use::Fresh);
            assert_eq!(counts.note(&config, number, count), Use::Reused);
        }
        // Counts come before that.
        let config = config(true, true);
        let mut counts = Counts::default();
        let number = counts.begin(&config);
        assert_eq!(counts.note(&config, number, Some(1)), Use::Fresh);
        assert_eq!(counts.note(&config, number, Some(2)), Use::Fresh);
    }

    #[test]
    fn what_is_forgotten_is_stale() {
        for (counts, count) in [(true, Some(9)), (false, None)] {
            let config = config(counts, !counts);
            let mut counts = Counts::default();
            assert_eq!(counts.note(&config, 0, count), Use::Stale, "not made yet");
            let first = counts.begin(&config);
            for _ in 0..3 {
                counts.begin(&config);
            }
            assert_eq!(counts.note(&config, first, count), Use::Fresh);
            counts.begin(&config);
            assert_eq!(counts.note(&config, first, count), Use::Stale);
            assert_eq!(counts.note(&config, first + 5, count), Use::Stale);
            assert!(counts.last_counts.len() <= 4 && counts.are_used.len() <= 4);
        }
    }

    #[test]
    fn numbers_may_go_round() {
        let config = config(true, false);
        let mut counts = Counts {
            next: u32::MAX,
            ..Counts::default()
        };
        let (last, first) = (counts.begin(&config), counts.begin(&config));
        assert_eq!((last, first), (u32::MAX, 0));
        assert_eq!(counts.note(&config, last, Some(1)), Use::Fresh);
        assert_eq!(counts.note(&config, first, Some(1)), Use::Fresh);
        assert_eq!(counts.note(&config, last, Some(1)), Use::Stale);
    }
}
