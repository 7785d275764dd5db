//! Which destination a request goes to, and in which order the others follow.
//!
//! An algorithm names where to begin in the set; what follows is the rest of the set in a circle,
//! without those that are not to be used. Algorithms 10 and 13 order the whole set.

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
    /// 13: the fastest.
    Latency,
}

/// The places of the usable destinations of a set, in the order in which they are to be tried.
/// `keeps_last` is `use_default`: the last of the set only serves when no other does.
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
            let estimate = |at: &usize| live.condition(*at).latency.estimate;
            order.sort_by(|a, b| estimate(a).total_cmp(&estimate(b)));
        }
        Start::RoundRobin => {
            if let Some(first) = order.first() {
                *live.turn(index) = (first - range.start + 1) % range.len();
            }
        }
        Start::Hash(_) | Start::Random | Start::First | Start::Weight | Start::RelativeWeight => {}
    }
    order.extend(last.filter(|at| usable(live, at)));
    order
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
        Start::RoundRobin => *live.turn(index) % count,
        Start::Random => rng.below(count as u32) as usize,
        Start::First | Start::Load | Start::Latency => 0,
        Start::Weight => by_weight(live, rng, range, |_, d| d.attrs.weight),
        Start::RelativeWeight => by_weight(live, rng, range, |is_usable, d| {
            if is_usable {
                d.attrs.relative_weight
            } else {
                0
            }
        }),
    }
}

/// A draw in which each has as many lots as its weight; without any weight the first.
fn by_weight(
    live: &Live,
    rng: &mut Rng,
    range: &Range<usize>,
    weight: impl Fn(bool, &Destination) -> u32,
) -> usize {
    // 2^16 destinations of at most 2^15 lots each fit the draw.
    let weights = range.clone().map(|at| {
        let destination = &live.sets().destinations()[at];
        weight(live.condition(at).is_usable(), destination).min(1 << 15)
    });
    let weights: Vec<u32> = weights.collect();
    let total: u32 = weights.iter().sum();
    if total == 0 {
        return 0;
    }
    let mut lot = rng.below(total);
    for (at, weight) in weights.iter().enumerate() {
        if lot < *weight {
            return at;
        }
        lot -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::modules::Setup;
    use crate::modules::dispatcher::list::{self, flag};
    use crate::time::Instant;

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
        let table: [([u32; 4], Start, bool, &[usize]); 11] = [
            ([0; 4], Start::First, false, &[0, 1, 2, 3]),
            ([0; 4], Start::Hash(6), false, &[2, 3, 0, 1]),
            ([0; 4], Start::Hash(6), true, &[0, 1, 2, 3]),
            ([0; 4], Start::Hash(5), true, &[2, 0, 1, 3]),
            ([0, 0, down, 0], Start::Hash(6), false, &[3, 0, 1]),
            ([off, down, tried, 0], Start::First, false, &[2, 3]),
            ([down, down, down, 0], Start::First, true, &[3]),
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

    #[test]
    fn weights_are_kept() {
        let text = "1 sip:192.0.2.3 0 0 weight=50;rweight=50\n\
                    1 sip:192.0.2.2 0 0 weight=30;rweight=30\n\
                    1 sip:192.0.2.1 0 0 weight=20;rweight=20";
        // Start, which one is down, how often each comes first in ten thousand draws.
        let table = [
            (Start::Weight, None, [2_000, 3_000, 5_000]),
            (Start::RelativeWeight, None, [2_000, 3_000, 5_000]),
            // What falls to the one that is down goes to its neighbour.
            (Start::Weight, Some(0), [0, 5_000, 5_000]),
            (Start::RelativeWeight, Some(0), [0, 3_750, 6_250]),
            (Start::Random, None, [3_333, 3_333, 3_333]),
        ];
        for (start, down, want) in table {
            let (mut live, mut rng) = (live(text), Rng::new(1));
            if let Some(down) = down {
                live.set_flags(down, flag::INACTIVE);
            }
            let mut hits = [0i64; 3];
            for _ in 0..10_000 {
                hits[order(&mut live, &mut rng, 1, start, false)[0]] += 1;
            }
            let is_near = hits
                .iter()
                .zip(want)
                .all(|(hit, want)| (hit - want).abs() < 250);
            assert!(is_near, "{start:?} {down:?}: {hits:?}");
        }
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
