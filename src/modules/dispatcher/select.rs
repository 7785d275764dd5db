//! Which destination a request goes to, and in which order the others follow.
//!
//! An algorithm names where to begin in the set; what follows is the rest of the set in a circle,
//! without those that are not to be used. Algorithms 10 and 13 order the whole set. Weights make a
//! hundred lots that are mixed and then drawn one after the other.

use std::cmp::Reverse;
use std::ops::Range;

use crate::rng::Rng;

use super::list::Destination;
use super::live::Live;

/// How to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// By a hash: 0 to 3, 5 and 7.
    Hash(u32),
    /// 4: each in its turn.
    RoundRobin,
    /// 6.
    Random,
    /// 8, and what is unknown: the first by priority.
    First,
    /// 9: as often as `weight` says, of a hundred.
    Weight,
    /// 10: the one with the fewest calls.
    Load,
    /// 11: as often as `rweight` says in proportion to the others that are usable.
    RelativeWeight,
    /// 13: each of those in its turn that have the highest priority, less what they take.
    Latency,
}

/// The places of the usable destinations of a set, in the order in which they are to be tried.
/// `keeps_last` is `use_default`: the last of the set only serves when no other does; behind others
/// it stands whatever its state is.
pub(super) fn order(
    live: &mut Live,
    rng: &mut Rng,
    set: i64,
    start: Start,
    keeps_last: bool,
) -> Vec<usize> {
    let sets = live.sets().clone();
    let Ok(index) = sets.sets().binary_search_by_key(&set, |(id, _)| *id) else {
        return Vec::new();
    };
    let whole = sets.sets()[index].1.clone();
    let last = (keeps_last && whole.len() > 1).then(|| whole.end - 1);
    let range = whole.start..last.unwrap_or(whole.end);
    let usable = |live: &Live, at: &usize| live.condition(*at).is_usable();
    let begin = begin(live, rng, (index, &range), start);
    let circle = (0..range.len()).map(|i| range.start + (begin + i) % range.len());
    let mut order: Vec<usize> = circle.filter(|at| usable(live, at)).collect();
    match start {
        Start::Load => {
            let is_full = |at: &usize| {
                let max = sets.destinations()[*at].attrs.max_load;
                max > 0 && live.condition(*at).load >= max
            };
            order.retain(|at| !is_full(at));
            order.sort_by_key(|at| live.condition(*at).load);
        }
        Start::Latency => {
            let rank = |at: &usize| Reverse(adjusted(live, &sets.destinations()[*at], *at));
            order.sort_by_key(rank);
        }
        Start::RoundRobin
        | Start::Hash(_)
        | Start::Random
        | Start::First
        | Start::Weight
        | Start::RelativeWeight => {}
    }
    if let (Start::RoundRobin | Start::Latency, Some(first)) = (start, order.first()) {
        *live.turn(index) = (first - range.start + 1) % range.len();
    }
    let is_alone = order.is_empty();
    order.extend(last.filter(|at| !is_alone || usable(live, at)));
    order
}

/// The priority, one less for each time that the latency in milliseconds holds it, but no less than
/// 1. With `cc` only what is above the usual latency counts.
fn adjusted(live: &Live, destination: &Destination, at: usize) -> i64 {
    let (priority, latency) = (destination.priority, live.condition(at).latency);
    let ms = if destination.attrs.counts_congestion {
        latency.congestion()
    } else {
        latency.estimate
    };
    match priority {
        ..1 => priority,
        _ => (priority - ms as i64 / priority).max(1),
    }
}

fn begin(
    live: &mut Live,
    rng: &mut Rng,
    (index, range): (usize, &Range<usize>),
    start: Start,
) -> usize {
    let count = range.len();
    match start {
        Start::Hash(hash) => hash as usize % count,
        Start::RoundRobin | Start::Latency => *live.turn(index) % count,
        Start::Random => rng.below(count as u32) as usize,
        Start::First | Start::Load => 0,
        Start::Weight => {
            let shares = weights(live, range);
            live.draw(index, 0).draw(rng, shares)
        }
        Start::RelativeWeight => {
            let shares = relative_weights(live, range);
            live.draw(index, 1).draw(rng, shares)
        }
    }
}

/// What each has of a hundred by `weight`. One that would go beyond it has nothing, and what is
/// left is the last one's. Without any weight nobody has anything.
fn weights(live: &Live, range: &Range<usize>) -> Vec<u32> {
    let mut left = 100;
    let share = |at: usize| {
        let weight = live.sets().destinations()[at].attrs.weight;
        let share = if weight <= left { weight } else { 0 };
        left -= share;
        share
    };
    let mut shares: Vec<u32> = range.clone().map(share).collect();
    if let (0..100, Some(last)) = (left, shares.last_mut()) {
        *last += left;
    }
    shares
}

/// What each usable one has of a hundred in proportion to `rweight`; what is left is the last
/// one's. With `cc` its congestion in milliseconds is taken off, as long as it is less than
/// `weight`; beyond that it has nothing, unless all are beyond.
fn relative_weights(live: &Live, range: &Range<usize>) -> Vec<u32> {
    let sets = live.sets();
    let congestion = |at: usize| {
        let is_counted = sets.destinations()[at].attrs.counts_congestion;
        let ms = live.condition(at).latency.congestion() as u32;
        if is_counted { ms } else { 0 }
    };
    let base = |at: usize| match live.condition(at).is_usable() {
        true => sets.destinations()[at].attrs.relative_weight,
        false => 0,
    };
    let calm = |at: usize| match congestion(at) {
        0 => base(at),
        ms if ms >= sets.destinations()[at].attrs.weight => 0,
        ms => base(at).saturating_sub(ms),
    };
    let mut parts: Vec<u32> = range.clone().map(calm).collect();
    if parts.iter().all(|part| *part == 0) {
        // The slower, the less.
        let ratio = |at: usize| match (base(at), congestion(at)) {
            (0, _) => 0,
            (n, 0) => n,
            (_, ms) => (10_000 / ms).max(1),
        };
        parts = range.clone().map(ratio).collect();
    }
    let total: u64 = parts.iter().map(|part| u64::from(*part)).sum();
    let of_hundred = |part: &u32| (u64::from(*part) * 100).checked_div(total).unwrap_or(0) as u32;
    let mut shares: Vec<u32> = parts.iter().map(of_hundred).collect();
    let given: u32 = shares.iter().sum();
    if let Some(last) = parts.iter().rposition(|part| *part > 0) {
        shares[last] += 100 - given;
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::modules::Setup;
    use crate::modules::dispatcher::list::{self, flag};
    use crate::time::{Duration, Instant};

    fn live(text: &str) -> Live {
        let setup = Setup::from_text("#!KAMAILIO\nrequest_route { exit; }\n", 1).unwrap();
        let (sets, complaints) = list::parse(text.as_bytes(), &setup);
        assert_eq!(complaints, []);
        Live::new(Arc::new(sets), ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    const FOUR: &str = "1 sip:192.0.2.4\n1 sip:192.0.2.3\n1 sip:192.0.2.2\n1 sip:192.0.2.1";

    #[test]
    fn where_it_begins_and_what_follows() {
        let (down, off, tried) = (flag::INACTIVE, flag::DISABLED, flag::TRYING);
        // States, start, use_default, the order.
        let table: [([u32; 4], Start, bool, &[usize]); 13] = [
            ([0; 4], Start::First, false, &[0, 1, 2, 3]),
            ([0; 4], Start::Hash(6), false, &[2, 3, 0, 1]),
            ([0; 4], Start::Hash(6), true, &[0, 1, 2, 3]),
            ([0; 4], Start::Hash(5), true, &[2, 0, 1, 3]),
            ([0, 0, down, 0], Start::Hash(6), false, &[3, 0, 1]),
            ([off, down, tried, 0], Start::First, false, &[2, 3]),
            ([down, down, down, 0], Start::First, true, &[3]),
            ([0, down, down, down], Start::First, true, &[0, 3]),
            ([down; 4], Start::First, true, &[]),
            ([down; 4], Start::RoundRobin, false, &[]),
            ([off; 4], Start::Weight, false, &[]),
            ([0; 4], Start::Weight, false, &[0, 1, 2, 3]),
            ([0; 4], Start::Latency, false, &[0, 1, 2, 3]),
        ];
        for (flags, start, keeps_last, want) in table {
            let mut live = live(FOUR);
            for (at, flags) in flags.iter().enumerate() {
                live.set_flags(at, *flags);
            }
            let got = order(&mut live, &mut Rng::new(1), 1, start, keeps_last);
            assert_eq!(got, want, "{flags:?} {start:?} {keeps_last}");
        }
        assert!(order(&mut live(FOUR), &mut Rng::new(1), 2, Start::First, false).is_empty());
    }

    #[test]
    fn each_has_its_turn() {
        let mut live = live(FOUR);
        let mut rng = Rng::new(1);
        let mut next = |live: &mut Live| order(live, &mut rng, 1, Start::RoundRobin, false)[0];
        let turns: Vec<usize> = (0..6).map(|_| next(&mut live)).collect();
        assert_eq!(turns, [0, 1, 2, 3, 0, 1]);
        live.set_flags(2, flag::INACTIVE);
        let turns: Vec<usize> = (0..4).map(|_| next(&mut live)).collect();
        assert_eq!(turns, [3, 0, 1, 3]);
    }

    fn hits(list: &str, start: Start) -> Vec<u32> {
        let (mut live, mut rng) = (live(list), Rng::new(1));
        let mut hits = vec![0; live.sets().destinations().len()];
        for _ in 0..400 {
            hits[order(&mut live, &mut rng, 1, start, false)[0]] += 1;
        }
        hits
    }

    #[test]
    fn weights_are_kept() {
        // Attributes of three or four in the order of the file, and how often each of them came
        // first in 400 calls of the original.
        let table: [(&[&str], Start, &[u32]); 7] = [
            (
                &["0 0 weight=50", "0 0 weight=30", "0 0 weight=10"],
                Start::Weight,
                &[240, 120, 40],
            ),
            (&["0", "0", "0"], Start::Weight, &[0, 0, 400]),
            (
                &["0 0 weight=60", "0 0 weight=60", "0 0 weight=30"],
                Start::Weight,
                &[40, 240, 120],
            ),
            (
                &["0 0 weight=50", "1 0 weight=30", "0 0 weight=10"],
                Start::Weight,
                &[360, 0, 40],
            ),
            (
                &[
                    "0 0 rweight=50",
                    "0 0 rweight=30",
                    "1 0 rweight=10",
                    "0 0 rweight=10",
                ],
                Start::RelativeWeight,
                &[224, 132, 0, 44],
            ),
            (
                &["0 0 rweight=200", "0 0 rweight=30"],
                Start::RelativeWeight,
                &[0, 400],
            ),
            (&["0", "0", "0"], Start::RelativeWeight, &[0, 0, 400]),
        ];
        for (lines, start, want) in table {
            let line = |(n, rest): (usize, &&str)| format!("1 sip:192.0.2.{} {rest}\n", n + 1);
            let list: String = lines.iter().enumerate().map(line).collect();
            let mut got = hits(&list, start);
            got.reverse();
            assert_eq!(got, want, "{list}");
        }
    }

    #[test]
    fn congestion_takes_weight_away() {
        let text = "1 sip:192.0.2.2 0 0 rweight=50;weight=50;cc=1;latency=10\n\
                    1 sip:192.0.2.1 0 0 rweight=50;weight=50;cc=1;latency=10";
        // Milliseconds that both take longer than usual, and what they have of a hundred.
        let table = [
            ([0, 0], [50, 50]),
            ([0, 10], [55, 45]),
            ([0, 60], [100, 0]),
            ([60, 120], [66, 34]),
        ];
        for (ms, want) in table {
            let mut live = live(text);
            for (at, ms) in ms.into_iter().enumerate().filter(|(_, ms)| *ms > 0) {
                // All of one measurement counts for the estimate, next to nothing for the average.
                live.measured(at, Some(Duration::from_millis(10 + ms + 1)), 0.0);
            }
            assert_eq!(relative_weights(&live, &(0..2)), want, "{ms:?}");
        }
    }

    #[test]
    fn latency_takes_priority_away() {
        // Priorities and latencies of the example in the manual, then the turns of the original.
        let list = "1 sip:192.0.2.1 0 30 latency=21\n1 sip:192.0.2.2 0 30 latency=91\n\
                    1 sip:192.0.2.3 0 30 latency=61\n1 sip:192.0.2.4 0 30 latency=19\n\
                    1 sip:192.0.2.5 0 30 latency=32\n1 sip:192.0.2.6 0 30\n\
                    1 sip:192.0.2.7 0 30 latency=201";
        let (mut live, mut rng) = (live(list), Rng::new(1));
        let mut turn = || {
            let order = order(&mut live, &mut rng, 1, Start::Latency, false);
            order.into_iter().map(|at| 7 - at).collect::<Vec<usize>>()
        };
        assert_eq!(turn(), [6, 4, 1, 5, 3, 2, 7]);
        assert_eq!(turn(), [4, 1, 6, 5, 3, 2, 7]);
        assert_eq!(turn(), [1, 6, 4, 5, 3, 2, 7]);
        assert_eq!(turn(), [6, 4, 1, 5, 3, 2, 7]);
        // Less than 1 it does not become.
        let mut live = self::live("1 sip:192.0.2.1\n1 sip:192.0.2.2 0 3 latency=20");
        let order = order(&mut live, &mut rng, 1, Start::Latency, false);
        assert_eq!(order, [0, 1]);
    }

    #[test]
    fn the_least_loaded_comes_first() {
        let mut live = live(
            "1 sip:192.0.2.3 0 0 duid=c\n1 sip:192.0.2.2 0 0 duid=b;maxload=1\n\
             1 sip:192.0.2.1 0 0 duid=a;maxload=2",
        );
        let mut firsts = vec![];
        for n in 0..6u8 {
            let first = order(&mut live, &mut Rng::new(1), 1, Start::Load, false)[0];
            assert!(live.add_load(&[n], first, Instant::from_nanos(1)));
            firsts.push(first);
        }
        assert_eq!(firsts, [0, 1, 2, 0, 2, 2]);
    }
}
