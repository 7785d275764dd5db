//! The wire between user agents and proxy: late, lossy, doubled and shuffled as a seed decides.
//!
//! Each call has a weather and each user agent a generator of its own, so that what happens to
//! one call never shifts the luck of another. Datagrams only; what streams do is in `stream.rs`.

use dialcore::rng::Rng;
use dialcore::time::Duration;

/// What the network does to the datagrams of one call. Chances are in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weather {
    /// The time of one way, at least.
    pub latency: Duration,
    /// Up to this much more, evenly: this alone reorders.
    pub jitter: Duration,
    /// Datagrams that vanish.
    pub loss: u32,
    /// Datagrams that come twice.
    pub duplication: u32,
    /// Datagrams that are held up by `reordering_delay`.
    pub reordering: u32,
}

const REORDERING_DELAY: Duration = Duration::from_millis(80);

impl Weather {
    /// Nothing is lost, doubled or overtaken.
    pub const fn calm(latency: Duration) -> Weather {
        Weather {
            latency,
            jitter: Duration::ZERO,
            loss: 0,
            duplication: 0,
            reordering: 0,
        }
    }

    /// Half of all calls have calm weather, the others one or several kinds of trouble.
    pub fn draw(rng: &mut Rng) -> Weather {
        let latency = Duration::from_micros(100 + u64::from(rng.below(20_000)));
        let mut weather = Weather::calm(latency);
        if rng.chance(1, 2) {
            return weather;
        }
        if rng.chance(1, 2) {
            weather.jitter = Duration::from_micros(u64::from(rng.below(60_000)));
        }
        if rng.chance(1, 2) {
            weather.loss = rng.below(250);
        }
        if rng.chance(1, 2) {
            weather.duplication = rng.below(250);
        }
        if rng.chance(1, 2) {
            weather.reordering = rng.below(250);
        }
        weather
    }

    /// Whether everything arrives once and in order.
    pub fn is_calm(&self) -> bool {
        *self == Weather::calm(self.latency)
    }

    /// When the copies of one datagram arrive, from now; none when it is lost.
    pub fn delays(&self, rng: &mut Rng) -> impl Iterator<Item = Duration> + use<> {
        let mut copies = [None, None];
        if !rng.chance(self.loss, 1000) {
            copies[0] = Some(self.delay(rng));
            if rng.chance(self.duplication, 1000) {
                copies[1] = Some(self.delay(rng));
            }
        }
        copies.into_iter().flatten()
    }

    fn delay(&self, rng: &mut Rng) -> Duration {
        let mut nanos = self.latency.as_nanos();
        if self.jitter > Duration::ZERO {
            nanos += rng.next_u64() % self.jitter.as_nanos();
        }
        if rng.chance(self.reordering, 1000) {
            nanos += REORDERING_DELAY.as_nanos();
        }
        Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calm_weather_draws_nothing_and_rough_weather_does_as_told() {
        let mut rng = Rng::new(3);
        let calm = Weather::calm(Duration::from_millis(1));
        assert!((0..100).all(|_| calm.delays(&mut rng).eq([calm.latency])));

        let rough = Weather {
            jitter: Duration::from_millis(5),
            loss: 300,
            duplication: 300,
            ..calm
        };
        let mut copies = [0u32; 3];
        for _ in 0..10_000 {
            copies[rough.delays(&mut rng).count()] += 1;
        }
        // 30 % lost; of the others 30 % doubled.
        assert!((2_800..3_200).contains(&copies[0]), "{copies:?}");
        assert!((1_900..2_300).contains(&copies[2]), "{copies:?}");
    }
}
