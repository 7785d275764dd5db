//! What a shard knows of the destinations: states, counts, turns, loads.
//!
//! States change by pings, by `ds_mark_dst` and by an operator. The shard where one changes tells
//! the others (`PeerMessage::Destination`); a message that is lost is made up for by the next
//! ping. Turns of the round robin and call loads are each shard's own.

use std::net::SocketAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::index::Index;
use crate::limits::CALL_LOAD_COUNT_MAX;
use crate::rng::Rng;
use crate::slab::{Key, Table};
use crate::time::{Duration, Instant};
use crate::wheel::TimerKey;

use super::list::{Sets, flag};

/// How long answers to pings take, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Latency {
    /// How many were measured.
    pub count: u32,
    /// Their mean.
    pub average: f64,
    /// The sum of the squared distances from the mean.
    squares: f64,
    /// The smoothed value that algorithm 13 goes by.
    pub estimate: f64,
    /// The longest.
    pub max: u32,
    /// Pings without an answer.
    pub timeouts: u32,
}

/// As how many measurements the attribute `latency` counts.
const KNOWN_COUNT: u32 = 10_000;

impl Latency {
    /// What the attribute `latency` says.
    fn known(ms: u32) -> Latency {
        let value = f64::from(ms);
        Latency {
            count: KNOWN_COUNT,
            average: value,
            estimate: value,
            max: ms,
            ..Latency::default()
        }
    }

    /// Milliseconds that answers take longer than usual.
    pub fn congestion(&self) -> f64 {
        (self.estimate - self.average).max(0.0)
    }

    fn add(&mut self, ms: u32, alpha: f64) {
        self.count = self.count.saturating_add(1);
        self.max = self.max.max(ms);
        let (value, before) = (f64::from(ms), self.average);
        self.average += (value - before) / f64::from(self.count);
        self.squares += (value - before) * (value - self.average);
        self.estimate = if self.count == 1 {
            value
        } else {
            alpha * self.estimate + (1.0 - alpha) * value
        };
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        match self.count {
            0 | 1 => 0.0,
            n => (self.squares / f64::from(n - 1)).sqrt(),
        }
    }
}

/// The state of one destination.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Condition {
    /// [`flag::STATE`] bits.
    pub flags: u32,
    /// Failures in a row.
    failures: u32,
    /// Successes in a row while it is inactive.
    successes: u32,
    /// Calls that were sent to it from this shard.
    pub load: u32,
    /// How fast it answers pings.
    pub latency: Latency,
}

impl Condition {
    /// Whether calls may go to it.
    pub fn is_usable(&self) -> bool {
        self.flags & (flag::INACTIVE | flag::DISABLED) == 0
    }

    /// The two letters of `dispatcher.list`.
    pub fn letters(&self) -> [u8; 2] {
        let state = match self.flags {
            f if f & flag::INACTIVE != 0 => b'I',
            f if f & flag::DISABLED != 0 => b'D',
            f if f & flag::TRYING != 0 => b'T',
            _ => b'A',
        };
        let probing = if self.flags & flag::PROBING != 0 {
            b'P'
        } else {
            b'X'
        };
        [state, probing]
    }
}

/// Which way a destination has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// It may be used again.
    Up,
    /// It may not be used any more.
    Down,
}

/// What an attempt at a destination came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// It answered well.
    Good,
    /// It did not.
    Bad,
}

/// How many attempts it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// Failures until a destination is inactive.
    pub down: u32,
    /// Successes until it is active again.
    pub up: u32,
}

/// One call that counts as load.
#[derive(Debug)]
struct Load {
    call_id: Box<[u8]>,
    hash: u64,
    /// The place of the destination.
    place: usize,
    until: Instant,
}

/// The calls that count, by Call-ID.
#[derive(Debug)]
struct Loads {
    entries: Table<Load>,
    index: Index,
    hasher: RandomState,
}

impl Loads {
    fn new(hasher: RandomState) -> Loads {
        Loads {
            entries: Table::new(),
            index: Index::new(),
            hasher,
        }
    }

    fn find(&self, call_id: &[u8]) -> Option<Key> {
        self.index.find(self.hasher.hash_one(call_id), |place| {
            let (key, load) = self.entries.at(place)?;
            (*load.call_id == *call_id).then_some(key)
        })
    }

    fn insert(&mut self, call_id: &[u8], place: usize, until: Instant) {
        let hash = self.hasher.hash_one(call_id);
        let key = self.entries.insert(Load {
            call_id: call_id.into(),
            hash,
            place,
            until,
        });
        let hash_of = hash_of(&self.entries);
        self.index.insert(hash, key.place() as u32, hash_of);
    }

    fn remove(&mut self, key: Key) -> Option<Load> {
        let load = self.entries.remove(key)?;
        let hash_of = hash_of(&self.entries);
        self.index.remove(load.hash, key.place() as u32, hash_of);
        Some(load)
    }

    fn clear(&mut self) {
        (self.entries, self.index) = (Table::new(), Index::new());
    }
}

/// The hash under which the call in a place is found.
fn hash_of(loads: &Table<Load>) -> impl Fn(u32) -> u64 {
    |place| loads.at(place).map_or(0, |(_, load)| load.hash)
}

/// All that a shard knows.
#[derive(Debug)]
pub struct Live {
    sets: Arc<Sets>,
    conditions: Vec<Condition>,
    /// Where names lead, as far as name servers have said.
    addresses: Vec<Vec<SocketAddr>>,
    /// Whose turn it is, by the place of the set.
    turns: Vec<usize>,
    /// The draws by weight and by relative weight, by the place of the set.
    draws: Vec<[Draw; 2]>,
    loads: Loads,
    /// When calls whose time is over were looked for.
    swept: Option<Instant>,
    /// When `ds_reload` last asked for a reload.
    pub reloaded: Option<Instant>,
    /// Counts up with each list: answers to pings of an older one are of no use.
    version: u32,
    /// `dispatcher.ping_active`.
    pub ping_active: i64,
    /// What has turned and the script has not been told of.
    pub events: Vec<(Box<[u8]>, Turned)>,
    /// The timer of the pings.
    pub timer: Option<TimerKey>,
    /// The timer of the names.
    pub names_timer: Option<TimerKey>,
    /// When names were asked for last.
    pub asked: Option<Instant>,
}

/// A hundred lots that are drawn one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Draw {
    /// Of which shares they were made.
    shares: Vec<u32>,
    lots: Vec<u16>,
    next: usize,
}

impl Draw {
    /// The next lot: the place of a share. New lots are mixed when the shares are others than
    /// before; without any share the first is drawn.
    pub fn draw(&mut self, rng: &mut Rng, shares: Vec<u32>) -> usize {
        if self.shares != shares {
            let of_place = |(place, share): (usize, &u32)| vec![place as u16; *share as usize];
            self.lots = shares.iter().enumerate().flat_map(of_place).collect();
            for at in (1..self.lots.len()).rev() {
                self.lots.swap(at, rng.below(at as u32 + 1) as usize);
            }
            (self.shares, self.next) = (shares, 0);
        }
        let Some(lot) = self.lots.get(self.next) else {
            return 0;
        };
        self.next = (self.next + 1) % self.lots.len();
        usize::from(*lot)
    }
}

impl Live {
    /// With the states of the list.
    pub fn new(sets: Arc<Sets>, hasher: RandomState) -> Live {
        let mut live = Live {
            sets: Arc::default(),
            conditions: Vec::new(),
            addresses: Vec::new(),
            turns: Vec::new(),
            draws: Vec::new(),
            loads: Loads::new(hasher),
            swept: None,
            reloaded: None,
            version: 0,
            ping_active: 1,
            events: Vec::new(),
            timer: None,
            names_timer: None,
            asked: None,
        };
        live.adopt(sets);
        live
    }

    /// A new list: what was known of a destination that is still there stays known.
    pub fn adopt(&mut self, sets: Arc<Sets>) {
        if Arc::ptr_eq(&self.sets, &sets) {
            return;
        }
        let (old, before) = (std::mem::replace(&mut self.sets, sets), &self.conditions);
        let known = |set, uri: &[u8]| old.place(set, uri).map(|at| before[at]);
        let conditions = self.sets.destinations().iter().map(|d| {
            let fresh = Condition {
                flags: d.flags & flag::STATE,
                latency: d.attrs.latency.map(Latency::known).unwrap_or_default(),
                ..Condition::default()
            };
            Condition {
                load: 0,
                ..known(d.set, &d.uri).unwrap_or(fresh)
            }
        });
        self.conditions = conditions.collect();
        self.addresses = vec![Vec::new(); self.sets.destinations().len()];
        self.turns = vec![0; self.sets.sets().len()];
        self.draws = vec![Default::default(); self.sets.sets().len()];
        self.loads.clear();
        self.version = self.version.wrapping_add(1);
    }

    /// The list.
    pub fn sets(&self) -> &Arc<Sets> {
        &self.sets
    }

    /// Which list it is.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The state of the destination at this place.
    pub fn condition(&self, place: usize) -> Condition {
        self.conditions.get(place).copied().unwrap_or_default()
    }

    /// Sets the state; the answer says whether that turned it.
    pub fn set_flags(&mut self, place: usize, flags: u32) -> Option<Turned> {
        let condition = self.conditions.get_mut(place)?;
        let before = condition.is_usable();
        condition.flags = flags & flag::STATE;
        if condition.flags & (flag::INACTIVE | flag::TRYING) == 0 {
            (condition.failures, condition.successes) = (0, 0);
        }
        turned(before, condition.is_usable())
    }

    /// Counts an attempt. `probes` says that it is pinged from now on whatever comes of it.
    pub fn tried(
        &mut self,
        place: usize,
        attempt: Attempt,
        thresholds: Thresholds,
        probes: bool,
    ) -> Option<Turned> {
        let c = self.conditions.get_mut(place)?;
        let before = c.is_usable();
        match attempt {
            Attempt::Good => {
                c.failures = 0;
                c.successes = c.successes.saturating_add(1);
                let is_down = c.flags & flag::INACTIVE != 0;
                if !is_down || c.successes >= thresholds.up {
                    c.flags &= !(flag::INACTIVE | flag::TRYING | flag::PROBING);
                }
            }
            Attempt::Bad => {
                c.successes = 0;
                c.failures = c.failures.saturating_add(1);
                if c.failures >= thresholds.down {
                    c.flags = (c.flags & !flag::TRYING) | flag::INACTIVE;
                } else if c.flags & flag::INACTIVE == 0 {
                    c.flags |= flag::TRYING;
                }
            }
        }
        if probes {
            c.flags |= flag::PROBING;
        }
        turned(before, c.is_usable())
    }

    /// A ping was answered after this time, or not at all.
    pub fn measured(&mut self, place: usize, took: Option<Duration>, alpha: f64) {
        let Some(condition) = self.conditions.get_mut(place) else {
            return;
        };
        match took {
            Some(took) => {
                let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
                condition.latency.add(ms, alpha);
            }
            None => condition.latency.timeouts = condition.latency.timeouts.saturating_add(1),
        }
    }

    /// Whose turn it is in a set of this many, and the one who follows is next.
    pub fn turn(&mut self, set: usize) -> &mut usize {
        &mut self.turns[set]
    }

    /// The draw by weight (0) or by relative weight (1) of a set.
    pub fn draw(&mut self, set: usize, kind: usize) -> &mut Draw {
        &mut self.draws[set][kind]
    }

    /// Where the name of a destination leads.
    pub fn addresses(&self, place: usize) -> &[SocketAddr] {
        self.addresses.get(place).map_or(&[], Vec::as_slice)
    }

    /// A name server has said where the name of a destination leads.
    pub fn found(&mut self, place: usize, addresses: Vec<SocketAddr>) {
        if let Some(known) = self.addresses.get_mut(place) {
            *known = addresses;
        }
    }

    /// Counts a call. False: it counts already, or too many do.
    pub fn add_load(&mut self, call_id: &[u8], place: usize, until: Instant) -> bool {
        let is_full = self.loads.entries.len() >= CALL_LOAD_COUNT_MAX;
        if is_full || self.loads.find(call_id).is_some() {
            return false;
        }
        self.loads.insert(call_id, place, until);
        if let Some(condition) = self.conditions.get_mut(place) {
            condition.load += 1;
        }
        true
    }

    /// The call is confirmed: it counts until then. False: it does not count.
    pub fn extend_load(&mut self, call_id: &[u8], until: Instant) -> bool {
        let key = self.loads.find(call_id);
        match key.and_then(|key| self.loads.entries.get_mut(key)) {
            Some(load) => {
                load.until = until;
                true
            }
            None => false,
        }
    }

    /// The call no longer counts. False: it did not.
    pub fn remove_load(&mut self, call_id: &[u8]) -> bool {
        let key = self.loads.find(call_id);
        key.is_some_and(|key| self.end_load(key))
    }

    fn end_load(&mut self, key: Key) -> bool {
        let Some(load) = self.loads.remove(key) else {
            return false;
        };
        if let Some(condition) = self.conditions.get_mut(load.place) {
            condition.load = condition.load.saturating_sub(1);
        }
        true
    }

    /// Forgets the calls whose time is over, unless that was done less than this ago: it looks at
    /// all of them.
    pub fn sweep_loads(&mut self, now: Instant, every: Duration) {
        if self.swept.is_none_or(|last| now.since(last) >= every) {
            self.swept = Some(now);
            self.expire_loads(now);
        }
    }

    /// Forgets the calls whose time is over.
    pub fn expire_loads(&mut self, now: Instant) {
        let all = self.loads.entries.iter();
        let is_over = all.filter(|(_, load)| load.until <= now);
        let over: Vec<Key> = is_over.map(|(key, _)| key).collect();
        for key in over {
            self.end_load(key);
        }
    }
}

fn turned(before: bool, after: bool) -> Option<Turned> {
    match (before, after) {
        (true, false) => Some(Turned::Down),
        (false, true) => Some(Turned::Up),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Setup;
    use crate::modules::dispatcher::list;

    fn live(text: &str) -> Live {
        let setup = Setup::from_text("#!KAMAILIO\nrequest_route { exit; }\n", 1).unwrap();
        let (sets, _) = list::parse(text.as_bytes(), &setup);
        Live::new(Arc::new(sets), RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn attempts_turn_a_destination() {
        use Attempt::{Bad, Good};
        let thresholds = Thresholds { down: 2, up: 2 };
        // Attempts, whether all are probed, the letters then, the turns on the way.
        let table: [(&[Attempt], bool, &str, &[Turned]); 7] = [
            (&[], false, "AX", &[]),
            (&[Good], true, "AP", &[]),
            (&[Bad], false, "TX", &[]),
            (&[Bad, Good], false, "AX", &[]),
            (&[Bad, Bad], true, "IP", &[Turned::Down]),
            (&[Bad, Bad, Good], true, "IP", &[Turned::Down]),
            (
                &[Bad, Bad, Good, Good],
                true,
                "AP",
                &[Turned::Down, Turned::Up],
            ),
        ];
        for (attempts, probes, letters, turns) in table {
            let mut live = live("1 sip:192.0.2.1");
            let tried = attempts
                .iter()
                .filter_map(|a| live.tried(0, *a, thresholds, probes));
            assert_eq!(tried.collect::<Vec<_>>(), turns, "{attempts:?}");
            assert_eq!(
                live.condition(0).letters(),
                letters.as_bytes(),
                "{attempts:?}"
            );
        }
    }

    #[test]
    fn a_new_list_keeps_what_is_known() {
        let mut live = live("1 sip:192.0.2.1\n1 sip:192.0.2.2\n2 sip:192.0.2.1");
        let down = live.sets().place(1, b"sip:192.0.2.1").unwrap();
        assert_eq!(live.set_flags(down, flag::INACTIVE), Some(Turned::Down));
        let setup = Setup::from_text("#!KAMAILIO\nrequest_route { exit; }\n", 1).unwrap();
        let text = b"3 sip:192.0.2.9 4\n1 sip:192.0.2.1\n2 sip:192.0.2.1";
        live.adopt(Arc::new(list::parse(text, &setup).0));
        let letters = |set, uri: &str| {
            live.condition(live.sets().place(set, uri.as_bytes()).unwrap())
                .letters()
        };
        assert_eq!(letters(1, "sip:192.0.2.1"), *b"IX");
        assert_eq!(letters(2, "sip:192.0.2.1"), *b"AX");
        assert_eq!(letters(3, "sip:192.0.2.9"), *b"DX");
        assert_eq!(live.version(), 2);
    }

    #[test]
    fn a_known_latency_weighs_as_much_as_ten_thousand() {
        let mut live = live("1 sip:192.0.2.1 0 0 latency=100");
        live.measured(0, Some(Duration::from_millis(24)), 0.9);
        let latency = live.condition(0).latency;
        let shown = [latency.average, latency.deviation(), latency.estimate];
        let shown = shown.map(|n| format!("{n:.2}"));
        // As the original showed it.
        assert_eq!(shown, ["99.99", "0.76", "92.40"]);
        assert_eq!((latency.max, latency.congestion()), (100, 0.0));
    }

    #[test]
    fn lots_are_drawn_as_often_as_shares_say() {
        let (mut draw, mut rng) = (Draw::default(), Rng::new(1));
        let mut hits = [0; 3];
        for _ in 0..200 {
            hits[draw.draw(&mut rng, vec![60, 30, 10])] += 1;
        }
        assert_eq!(hits, [120, 60, 20]);
        assert_eq!(draw.draw(&mut rng, vec![0, 0, 0]), 0);
        assert_eq!(draw.draw(&mut rng, vec![0, 0, 5]), 2);
    }

    #[test]
    fn loads_are_counted_until_they_end() {
        let mut live = live("1 sip:192.0.2.1");
        let at = Instant::from_nanos;
        assert!(live.add_load(b"a", 0, at(10)) && live.add_load(b"b", 0, at(20)));
        assert!(!live.add_load(b"a", 0, at(10)));
        assert_eq!(live.condition(0).load, 2);
        assert!(live.remove_load(b"a") && !live.remove_load(b"a"));
        live.expire_loads(at(15));
        assert_eq!(live.condition(0).load, 1);
        assert!(live.extend_load(b"b", at(40)));
        live.expire_loads(at(30));
        assert_eq!(live.condition(0).load, 1);
        let every = Duration::from_nanos(20);
        live.sweep_loads(at(25), every);
        live.sweep_loads(at(40), every);
        assert_eq!(live.condition(0).load, 1);
        live.sweep_loads(at(45), every);
        assert_eq!(live.condition(0).load, 0);
    }
}
