//! Statistics: numbers with a group and a name, read off the state of each shard and added up.
//!
//! Nothing is counted for the sake of this listing: an entry says how to read what a shard holds
//! or has counted anyway. Resetting does not touch a shard; it remembers where counting begins.

use std::collections::BTreeMap;

use crate::effect::rpc::Value;
use crate::modules::{Config, Setup, State, all};

/// One number.
#[derive(Clone, Copy, Debug)]
pub struct Statistic {
    /// The group, often the name of the module.
    pub group: &'static str,
    /// The name within the group.
    pub name: &'static str,
    /// Whether it counts events; what shows a state cannot be reset.
    pub is_counter: bool,
    /// What one shard has.
    pub read: fn(&State) -> u64,
    /// What the others have told it that they have; 0: they do not.
    pub elsewhere: fn(&State) -> u64,
    /// Whether the configuration wants it.
    pub is_on: fn(&Config) -> bool,
}

impl Statistic {
    /// The same, shown only when a parameter says so.
    pub const fn if_set(mut self, is_on: fn(&Config) -> bool) -> Statistic {
        self.is_on = is_on;
        self
    }

    /// The same, told by each shard to the others.
    pub const fn told(mut self, elsewhere: fn(&State) -> u64) -> Statistic {
        self.elsewhere = elsewhere;
        self
    }
}

/// A statistic that counts events.
pub const fn counter(
    group: &'static str,
    name: &'static str,
    read: fn(&State) -> u64,
) -> Statistic {
    Statistic {
        group,
        name,
        is_counter: true,
        read,
        elsewhere: |_| 0,
        is_on: |_| true,
    }
}

/// A statistic that shows how many there are.
pub const fn gauge(group: &'static str, name: &'static str, read: fn(&State) -> u64) -> Statistic {
    Statistic {
        group,
        name,
        is_counter: false,
        read,
        elsewhere: |_| 0,
        is_on: |_| true,
    }
}

/// All statistics of the modules that are loaded, by group and name.
pub fn statistics(setup: &Setup) -> Vec<&'static Statistic> {
    let loaded = setup
        .program
        .modules
        .iter()
        .map(|id| all()[usize::from(id.0)]);
    let core = all()[0];
    let modules = std::iter::once(core).chain(loaded.filter(|m| m.name != core.name));
    let mut found: Vec<_> = modules
        .flat_map(|m| m.statistics)
        .filter(|s| (s.is_on)(&setup.config))
        .collect();
    found.sort_unstable_by_key(|s| (s.group, s.name));
    found
}

/// What one shard has of all of them, in the same order.
pub fn read(state: &State) -> Vec<Value> {
    statistics(&state.setup)
        .iter()
        .map(|s| Value::count((s.read)(state)))
        .collect()
}

/// What each counter showed when it was last reset.
#[derive(Clone, Default, Debug)]
pub struct Baseline {
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Baseline {
    /// What an operator sees of a count.
    pub fn seen(&self, statistic: &Statistic, count: u64) -> u64 {
        count.saturating_sub(self.begin(statistic))
    }

    /// From now on it is counted from here.
    pub fn reset(&mut self, statistic: &Statistic, count: u64) {
        if statistic.is_counter {
            self.counts.insert((statistic.group, statistic.name), count);
        }
    }

    fn begin(&self, statistic: &Statistic) -> u64 {
        self.counts
            .get(&(statistic.group, statistic.name))
            .copied()
            .unwrap_or(0)
    }
}

/// Whether a parameter of `stats.*` means this one: `all`, `group:`, a name, or both.
pub fn is_meant(statistic: &Statistic, word: &[u8]) -> bool {
    let (group, name) = (statistic.group.as_bytes(), statistic.name.as_bytes());
    if word == b"all" || word == name {
        return true;
    }
    let of_group = word.strip_prefix(group);
    matches!(of_group, Some([b':' | b'.', rest @ ..]) if rest.is_empty() || rest == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let all: Vec<_> = all().iter().flat_map(|m| m.statistics).collect();
        let mut names: Vec<_> = all.iter().map(|s| (s.group, s.name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn words_mean_groups_and_names() {
        let one = gauge("tm", "created", |_| 0);
        let table = [
            ("all", true),
            ("created", true),
            ("tm:", true),
            ("tm.", true),
            ("tm:created", true),
            ("tm.created", true),
            ("tm", false),
            ("tmx:", false),
            ("tm:creat", false),
            ("", false),
        ];
        for (word, want) in table {
            assert_eq!(is_meant(&one, word.as_bytes()), want, "{word}");
        }
    }

    #[test]
    fn a_reset_moves_the_beginning_of_counters_only() {
        let mut baseline = Baseline::default();
        let (count, level) = (counter("g", "c", |_| 0), gauge("g", "l", |_| 0));
        baseline.reset(&count, 7);
        baseline.reset(&level, 7);
        assert_eq!((baseline.seen(&count, 9), baseline.seen(&level, 9)), (2, 9));
    }
}
