//! Deadlines in order: a hierarchical timer wheel (Varghese and Lauck, scheme 7).
//!
//! ```text
//!  level 0   64 slots of  1 tick          tick = 2^20 ns, about 1.05 ms
//!  level 1   64 slots of 64 ticks         a timer stands on the level of the highest base-64
//!  ...                                    digit in which its tick differs from the cursor's
//!  level 7   the rest of 64 bits
//!
//!  cursor ──▶ ticks up to here have left the slots: `due`, a heap, has them in exact order
//! ```
//!
//! All slots of a level lie ahead of all slots of the levels below it, so the next timer is in
//! the first occupied slot of the lowest occupied level. When the cursor enters a slot, its
//! timers move to lower levels, and at last into the heap, which orders them by deadline and then
//! by start. Slots only sort coarsely; deadlines keep their nanoseconds and nothing fires early.
//!
//! Costs: start and stop touch a constant number of entries; only timers of the current tick pay
//! for the heap. Every timer moves at most once per level; the timers of one slot move together,
//! so of a million with equal lifetimes of some hours, hundreds of thousands move at once every
//! few hours. One entry is 32 bytes besides `T`, in [`Blocks`], so nothing is moved when there are
//! more timers than ever, and nothing is allocated per start once there are blocks enough. The
//! wheel reads no clock and calls nobody back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::slab::{Blocks, gives_back};
use crate::time::Instant;

/// Nanoseconds of one tick, as a power of two.
const TICK_BITS: u32 = 20;
/// Slots of one level, as a power of two.
const SLOT_BITS: u32 = 6;
const SLOT_COUNT: usize = 1 << SLOT_BITS;
/// Enough levels for every deadline there is, so none is too far.
const LEVEL_COUNT: usize = (u64::BITS - TICK_BITS).div_ceil(SLOT_BITS) as usize;
/// Heap items that may be stale before half of the heap being stale has it swept.
const STALE_COUNT_MIN: usize = 64;

/// No entry.
const NIL: u32 = u32::MAX;

/// Names one timer from its start until it is stopped or popped; harmless afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerKey {
    index: u32,
    /// The low half of the entry's `order`.
    generation: u32,
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Slot { level: u8, slot: u8 },
    Due,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    at: Instant,
    /// Counts starts: the order among equal deadlines, and what makes old keys stale.
    order: u64,
    /// Neighbours in the slot's list.
    previous: u32,
    next: u32,
    place: Place,
    what: T,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The earliest timer of the slot, or any once that one was stopped.
    head: u32,
    /// No timer of the slot is due before.
    bound: Instant,
}

const EMPTY: Slot = Slot {
    head: NIL,
    bound: Instant::ZERO,
};

/// An item of the heap: it is stale unless the entry still has this `order` and is due.
type Due = Reverse<(Instant, u64, u32)>;

/// Timers, each with a deadline and a value that says what it is for.
#[derive(Clone, Debug)]
pub struct Wheel<T: Copy> {
    entries: Blocks<Entry<T>>,
    next_order: u64,
    /// The last tick whose timers have left the slots.
    cursor: u64,
    slots: Box<[[Slot; SLOT_COUNT]; LEVEL_COUNT]>,
    /// One bit per slot with timers.
    occupied: [u64; LEVEL_COUNT],
    /// Its top is never stale.
    due: BinaryHeap<Due>,
    stale: usize,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel that stands at `now`.
    pub fn new(now: Instant) -> Self {
        Wheel {
            entries: Blocks::new(),
            next_order: 0,
            cursor: tick(now),
            slots: Box::new([[EMPTY; SLOT_COUNT]; LEVEL_COUNT]),
            occupied: [0; LEVEL_COUNT],
            due: BinaryHeap::new(),
            stale: 0,
        }
    }

    /// Starts a timer. A deadline that has passed is due at once.
    pub fn start(&mut self, at: Instant, what: T) -> TimerKey {
        let order = self.next_order;
        self.next_order += 1;
        let (place, (previous, next)) = self.whereto(at);
        let index = self.entries.insert(Entry {
            at,
            order,
            previous,
            next,
            place,
            what,
        });
        self.join(index, at, order, place, (previous, next));
        TimerKey {
            index,
            generation: order as u32,
        }
    }

    /// Stops a timer; false when it has been stopped or popped before.
    pub fn stop(&mut self, key: TimerKey) -> bool {
        let is_it = |entry: &Entry<T>| entry.order as u32 == key.generation;
        let Some(entry) = self.entries.remove_if(key.index, is_it) else {
            return false;
        };
        match entry.place {
            Place::Slot { level, slot } => self.unlink(&entry, level.into(), slot.into()),
            Place::Due => {
                self.stale += 1;
                self.sweep();
            }
        }
        true
    }

    /// Whether the timer has been neither stopped nor popped.
    pub fn is_running(&self, key: TimerKey) -> bool {
        self.entries
            .get(key.index)
            .is_some_and(|e| e.order as u32 == key.generation)
    }

    /// When to call [`Wheel::pop_due`], and for what.
    ///
    /// It is the earliest deadline and its timer, unless the earliest timer of a slot was stopped:
    /// then the instant may be too early, never too late, and the timer is another one of that
    /// slot. A call of `pop_due` at that instant brings the answer a level nearer to the truth.
    pub fn next_deadline(&self) -> Option<(Instant, &T)> {
        let (at, index) = match self.due.peek() {
            Some(Reverse((at, _, index))) => (*at, *index),
            None => {
                let (level, slot) = self.first_occupied()?;
                let slot = &self.slots[level][slot];
                (slot.bound, slot.head)
            }
        };
        Some((at, &self.entries[index].what))
    }

    /// Takes out the earliest timer whose deadline is not after `now`. Called until it gives
    /// `None`, it gives all of them by deadline, equal deadlines in the order of their starts.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.turn(tick(now));
        let Reverse((at, _, index)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop();
        let entry = self.entries.remove(index)?;
        self.sweep();
        Some((at, entry.what))
    }

    /// How many timers run.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no timer runs.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives memory back that a peak left behind, as [`Blocks::give_back`] does. At most linear in
    /// `limits::GIVE_BACK_COUNT_MAX`; an empty wheel gives all back at once.
    pub fn give_back(&mut self) {
        self.entries.give_back();
        if self.is_empty() {
            (self.due, self.stale) = (BinaryHeap::new(), 0);
        } else if gives_back(self.due.len(), self.due.capacity()) {
            self.due.shrink_to_fit();
        }
    }

    /// Bytes held for timers, used or not.
    pub fn size(&self) -> usize {
        self.entries.size() + self.due.capacity() * size_of::<Due>()
    }

    /// Where the cursor wants a timer with this deadline, and between which others of the slot's
    /// list: in front if it is the earliest, else right behind.
    fn whereto(&self, at: Instant) -> (Place, (u32, u32)) {
        let target = tick(at);
        if target <= self.cursor {
            return (Place::Due, (NIL, NIL));
        }
        let level = ((target ^ self.cursor).ilog2() / SLOT_BITS) as usize;
        let number = (target >> (SLOT_BITS * level as u32)) as usize % SLOT_COUNT;
        let slot = &self.slots[level][number];
        let neighbours = if slot.head == NIL || at < slot.bound {
            (NIL, slot.head)
        } else {
            (slot.head, self.entries[slot.head].next)
        };
        let place = Place::Slot {
            level: level as u8,
            slot: number as u8,
        };
        (place, neighbours)
    }

    /// Makes an entry known where it is, which it says itself: to the heap, or to its slot and its
    /// neighbours.
    fn join(
        &mut self,
        index: u32,
        at: Instant,
        order: u64,
        place: Place,
        (before, after): (u32, u32),
    ) {
        let Place::Slot { level, slot } = place else {
            self.due.push(Reverse((at, order, index)));
            return;
        };
        if before != NIL {
            self.entries[before].next = index;
        } else {
            let (level, number) = (usize::from(level), usize::from(slot));
            self.occupied[level] |= 1 << number;
            self.slots[level][number] = Slot {
                head: index,
                bound: at,
            };
        }
        if after != NIL {
            self.entries[after].previous = index;
        }
    }

    /// Takes an entry that is gone out of its slot's list.
    fn unlink(&mut self, gone: &Entry<T>, level: usize, number: usize) {
        let Entry { previous, next, .. } = *gone;
        if next != NIL {
            self.entries[next].previous = previous;
        }
        if previous != NIL {
            self.entries[previous].next = next;
            return;
        }
        self.slots[level][number].head = next;
        if next == NIL {
            self.occupied[level] &= !(1 << number);
        }
    }

    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// Moves the cursor forward; every slot that it enters is emptied downwards.
    fn turn(&mut self, target: u64) {
        if target <= self.cursor {
            return;
        }
        while let Some((level, number)) = self.first_occupied() {
            let shift = SLOT_BITS * level as u32;
            let above = self.cursor >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
            let first_tick = above | (number as u64) << shift;
            if first_tick > target {
                break;
            }
            self.cursor = first_tick;
            self.empty(level, number);
        }
        self.cursor = target;
    }

    fn empty(&mut self, level: usize, number: usize) {
        self.occupied[level] &= !(1 << number);
        let mut index = std::mem::replace(&mut self.slots[level][number], EMPTY).head;
        while index != NIL {
            let Entry {
                at, order, next, ..
            } = self.entries[index];
            let (place, neighbours) = self.whereto(at);
            let entry = &mut self.entries[index];
            (entry.previous, entry.next) = neighbours;
            entry.place = place;
            self.join(index, at, order, place, neighbours);
            index = next;
        }
    }

    /// Keeps the top of the heap alive, and the heap from filling with what was stopped.
    fn sweep(&mut self) {
        while let Some(item) = self.due.peek()
            && !is_live(&self.entries, item)
        {
            self.due.pop();
            self.stale -= 1;
        }
        if self.stale > STALE_COUNT_MIN && self.stale > self.due.len() / 2 {
            let entries = &self.entries;
            self.due.retain(|item| is_live(entries, item));
            self.stale = 0;
        }
    }
}

fn is_live<T>(entries: &Blocks<Entry<T>>, Reverse((_, order, index)): &Due) -> bool {
    entries
        .get(*index)
        .is_some_and(|e| e.place == Place::Due && e.order == *order)
}

fn tick(at: Instant) -> u64 {
    at.as_nanos() >> TICK_BITS
}

const _: () = {
    assert!(size_of::<Entry<[u64; 2]>>() - size_of::<[u64; 2]>() <= 40);
    assert!(
        SLOT_COUNT == u64::BITS as usize,
        "one bit of a word per slot"
    );
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::time::Duration;
    use std::collections::BTreeMap;

    const MS: u64 = 1_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    /// The wheel beside the plainest thing that could take its place.
    struct Pair {
        wheel: Wheel<u64>,
        model: BTreeMap<(Instant, u64), TimerKey>,
        keys: Vec<(TimerKey, (Instant, u64))>,
        now: Instant,
        count: u64,
    }

    impl Pair {
        fn new(now: Instant) -> Self {
            Pair {
                wheel: Wheel::new(now),
                model: BTreeMap::new(),
                keys: vec![],
                now,
                count: 0,
            }
        }

        fn start(&mut self, at: Instant) {
            let key = self.wheel.start(at, self.count);
            assert!(self.wheel.is_running(key));
            self.model.insert((at, self.count), key);
            self.keys.push((key, (at, self.count)));
            self.count += 1;
        }

        fn stop(&mut self, which: usize) {
            let (key, entry) = self.keys[which];
            assert_eq!(self.wheel.stop(key), self.model.remove(&entry).is_some());
            assert!(!self.wheel.is_running(key));
        }

        fn advance(&mut self, to: Instant) {
            self.now = to;
            while let Some((&(at, n), _)) = self.model.first_key_value()
                && at <= to
            {
                assert_eq!(self.wheel.pop_due(to), Some((at, n)));
                self.model.pop_first();
            }
            assert_eq!(self.wheel.pop_due(to), None);
        }

        fn check(&self) {
            assert_eq!(self.wheel.len(), self.model.len());
            assert_eq!(self.wheel.is_empty(), self.model.is_empty());
            match (self.wheel.next_deadline(), self.model.first_key_value()) {
                (None, None) => {}
                (Some((at, n)), Some(((first, _), _))) => {
                    assert!(at <= *first, "{at:?} is later than {first:?}");
                    assert!(self.model.keys().any(|(_, id)| id == n));
                }
                (wheel, model) => panic!("{wheel:?} {model:?}"),
            }
        }
    }

    /// A length of time of any order of magnitude.
    fn some_length(rng: &mut Rng) -> Duration {
        Duration::from_nanos(rng.next_u64() >> rng.below(64))
    }

    #[test]
    fn a_wheel_is_a_sorted_list() {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let mut pair = Pair::new(Instant::ZERO + some_length(&mut rng));
            for _ in 0..1_500 {
                match rng.below(16) {
                    0..=5 => pair.start(pair.now + some_length(&mut rng)),
                    6 => pair.start(pair.now - some_length(&mut rng)),
                    7..=8 => {
                        let length = Duration::from_nanos(MS * u64::from(rng.below(40)));
                        (0..rng.below(5)).for_each(|_| pair.start(pair.now + length));
                    }
                    9..=12 if !pair.keys.is_empty() => {
                        pair.stop(rng.below(pair.keys.len() as u32) as usize);
                    }
                    13 => pair.advance(pair.now + Duration::from_nanos(rng.next_u64() >> 44)),
                    14 => pair.advance(pair.now + some_length(&mut rng) - Duration::from_secs(1)),
                    _ => pair.wheel.give_back(),
                }
                pair.check();
            }
            pair.advance(at(u64::MAX));
            pair.check();
            assert!(pair.model.is_empty());
        }
    }

    #[test]
    fn nothing_fires_early() {
        let mut wheel = Wheel::new(Instant::ZERO);
        for level in 0..LEVEL_COUNT as u32 {
            let deadline = (5 << (TICK_BITS + SLOT_BITS * level).min(60)) + 3;
            wheel.start(at(deadline), level);
            assert_eq!(wheel.next_deadline(), Some((at(deadline), &level)));
            assert_eq!(wheel.pop_due(at(deadline - 1)), None);
            assert_eq!(wheel.pop_due(at(deadline)), Some((at(deadline), level)));
        }
    }

    #[test]
    fn equal_deadlines_come_in_the_order_of_their_starts() {
        let mut wheel = Wheel::new(Instant::ZERO);
        // The later half starts when the cursor is near, and so on another level.
        for n in 0..200 {
            if n == 100 {
                assert_eq!(wheel.pop_due(at(899 * MS)), None);
            }
            wheel.start(at(900 * MS), n);
        }
        let order: Vec<i32> = std::iter::from_fn(|| wheel.pop_due(at(900 * MS)))
            .map(|(_, n)| n)
            .collect();
        assert_eq!(order, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_stale_key_stops_nothing() {
        let mut wheel = Wheel::new(Instant::ZERO);
        let old = wheel.start(at(MS), 'a');
        assert_eq!(wheel.pop_due(at(MS)), Some((at(MS), 'a')));
        let new = wheel.start(at(2 * MS), 'b');
        assert_eq!((wheel.stop(old), wheel.len()), (false, 1));
        assert_eq!((wheel.stop(new), wheel.stop(new)), (true, false));
        wheel.give_back();
        assert_eq!((wheel.stop(new), wheel.size()), (false, 0));
    }

    #[test]
    fn the_next_deadline_converges() {
        // Each timer hides the next one: stopping it leaves a bound that is too early.
        let mut wheel = Wheel::new(Instant::ZERO);
        let hour = 3_600_000 * MS;
        let early = wheel.start(at(hour), 0);
        wheel.start(at(hour + 50_000 * MS), 1);
        wheel.stop(early);
        let mut steps = 0;
        while let (next, _) = *wheel.next_deadline().as_ref().expect("a timer runs")
            && wheel.pop_due(next).is_none()
        {
            steps += 1;
        }
        assert!(steps <= LEVEL_COUNT, "{steps} steps for one timer");
        assert!(wheel.is_empty());
    }

    #[test]
    fn starting_and_stopping_what_is_due_leaves_nothing_behind() {
        let mut wheel = Wheel::new(at(MS));
        wheel.start(Instant::ZERO, 0);
        for n in 1..100_000 {
            let key = wheel.start(at(1), n);
            assert!(wheel.stop(key));
        }
        assert!(wheel.size() < 64 * 1024, "{} bytes", wheel.size());
        assert_eq!(wheel.pop_due(at(MS)), Some((Instant::ZERO, 0)));
    }

    #[test]
    fn a_million_timers_come_back_in_order_and_give_their_memory_back() {
        let (mut wheel, mut rng) = (Wheel::new(Instant::ZERO), Rng::new(9));
        let day = 86_400_000;
        for n in 0..1_000_000u32 {
            wheel.start(at(MS * u64::from(rng.below(day))), n);
        }
        let size = wheel.size();
        let (mut last, mut count) = (Instant::ZERO, 0);
        for hour in 1..=24 {
            let now = at(hour * 3_600_000 * MS);
            while let Some((at, _)) = wheel.pop_due(now) {
                assert!(last <= at && at <= now);
                (last, count) = (at, count + 1);
            }
        }
        assert_eq!((count, wheel.next_deadline()), (1_000_000, None));
        wheel.give_back();
        assert!(size > 32_000_000 && wheel.size() == 0);
    }
}
