//! The CSeq numbers of one side of a dialog, as the other side is to see them
//! (RFC 3261 §12.2.1.1).
//!
//! Whatever this proxy puts in between (a request of its own, or the same request again with
//! credentials) uses up a number of the side in whose name it goes. From then on the numbers of
//! that side are raised on their way:
//!
//! ```text
//!   caller sends   7  8        9  10
//!   ping               ▼ 9
//!   callee sees    7  8   9   10  11      raised by 1 from number 9 on
//! ```
//!
//! What a number is raised by depends on the number alone, so that a repetition, an ACK or a RAck
//! comes out as the request did that it belongs to, however late it is. A request that goes again
//! when later ones have passed already goes behind them, and its number is remembered by itself.

/// How many places of change are remembered; requests from before the oldest are long over.
const STEP_COUNT_MAX: usize = 8;

/// How many requests are remembered that went again behind later ones.
const MOVED_COUNT_MAX: usize = 4;

/// Numbers from here on are raised by so much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    from: u32,
    by: u32,
}

/// What the numbers of one side are raised by.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Raised {
    /// In the order of `from`.
    steps: Vec<Step>,
    /// Below the first step.
    base: u32,
    /// Numbers that went again behind later ones, and as what, the oldest first.
    moved: Vec<(u32, u32)>,
}

impl Raised {
    /// The number as the other side sees it.
    pub fn outgoing(&self, number: u32) -> u32 {
        let moved = self.moved.iter().find(|(sent, _)| *sent == number);
        moved.map_or_else(|| number.saturating_add(self.by(number)), |(_, seen)| *seen)
    }

    /// The number as its sender wrote it, from what the other side sees.
    pub fn incoming(&self, seen: u32) -> u32 {
        if let Some((sent, _)) = self.moved.iter().find(|(_, moved)| *moved == seen) {
            return *sent;
        }
        let is_of = |step: &&Step| seen >= step.from.saturating_add(step.by);
        let step = self.steps.iter().rev().find(is_of);
        seen.saturating_sub(step.map_or(self.base, |step| step.by))
    }

    /// Uses up a number in front of `next`, the first number of the sender's that has not passed
    /// yet, and gives it.
    pub fn take(&mut self, next: u32) -> u32 {
        let taken = self.outgoing(next);
        self.raise(next);
        taken
    }

    /// The request with this number goes once more, as a new one; `last` is the highest of its
    /// sender's that has passed.
    pub fn again(&mut self, number: u32, last: u32) {
        let is_newest = self.steps.last().is_none_or(|step| step.from <= number);
        if number >= last && is_newest {
            return self.raise(number);
        }
        let seen = self.take(last.max(number).saturating_add(1));
        self.moved.retain(|(sent, _)| *sent != number);
        self.moved.push((number, seen));
        if self.moved.len() > MOVED_COUNT_MAX {
            self.moved.remove(0);
        }
    }

    /// Raises all numbers from `from` on by one more.
    fn raise(&mut self, from: u32) {
        let by = self.by(from);
        self.steps.retain(|step| step.from < from);
        self.steps.push(Step {
            from,
            by: by.saturating_add(1),
        });
        if self.steps.len() > STEP_COUNT_MAX {
            self.base = self.steps.remove(0).by;
        }
    }

    /// What numbers that have not come yet are raised by.
    pub fn latest(&self) -> u32 {
        self.steps.last().map_or(self.base, |step| step.by)
    }

    fn by(&self, number: u32) -> u32 {
        let step = self.steps.iter().rev().find(|step| step.from <= number);
        step.map_or(self.base, |step| step.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn numbers_are_raised_from_a_place_on() {
        let mut raised = Raised::default();
        assert_eq!((raised.outgoing(8), raised.incoming(8)), (8, 8));
        // A ping behind 8, two more behind 9.
        assert_eq!(raised.take(9), 9);
        assert_eq!(raised.take(10), 11);
        assert_eq!(raised.take(10), 12);
        let table = [(7, 7), (8, 8), (9, 10), (10, 13), (11, 14)];
        for (sent, seen) in table {
            assert_eq!(raised.outgoing(sent), seen, "out of {sent}");
            assert_eq!(raised.incoming(seen), sent, "back from {seen}");
        }
        assert_eq!(raised.latest(), 3);
    }

    #[test]
    fn what_goes_again_goes_behind_what_has_passed() {
        let mut raised = Raised::default();
        // Nothing has passed since: the number itself is raised, twice.
        raised.again(5, 5);
        assert_eq!((raised.outgoing(5), raised.outgoing(6)), (6, 7));
        raised.again(5, 5);
        assert_eq!((raised.outgoing(5), raised.outgoing(6)), (7, 8));
        // 6 and 7 have passed, as 8 and 9.
        raised.again(6, 7);
        let table = [(6, 10), (7, 9), (8, 11)];
        for (sent, seen) in table {
            assert_eq!(raised.outgoing(sent), seen, "out of {sent}");
            assert_eq!(raised.incoming(seen), sent, "back from {seen}");
        }
        // A request of our own has gone behind it.
        let mut pinged = Raised::default();
        assert_eq!(pinged.take(6), 6);
        pinged.again(5, 5);
        assert_eq!((pinged.outgoing(5), pinged.outgoing(6)), (7, 8));
        // Once more, and it is the last that counts.
        raised.again(6, 7);
        assert_eq!((raised.outgoing(6), raised.incoming(11)), (11, 6));
        assert_eq!(raised.outgoing(8), 12);
        for number in 20..30 {
            raised.again(number, 40);
        }
        assert_eq!(raised.moved.len(), MOVED_COUNT_MAX);
    }

    /// The far end never sees a number twice nor one that goes back, and every number comes back
    /// as it was sent; over more changes than are remembered.
    #[test]
    fn numbers_only_grow_and_come_back() {
        let mut rng = Rng::new(7);
        for _ in 0..200 {
            let (mut raised, mut last, mut seen) = (Raised::default(), 40, 40);
            for _ in 0..60 {
                let number = match rng.below(3) {
                    0 => {
                        last += 1 + rng.below(2);
                        let number = raised.outgoing(last);
                        assert_eq!(raised.incoming(number), last);
                        number
                    }
                    1 => raised.take(last + 1),
                    _ => {
                        let number = last - rng.below(2);
                        raised.again(number, last);
                        let number = raised.outgoing(number);
                        assert_eq!(raised.outgoing(raised.incoming(number)), number);
                        number
                    }
                };
                assert!(number > seen, "{number} after {seen}");
                seen = number;
            }
        }
    }
}
