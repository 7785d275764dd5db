//! The model of DNS: names that answer late, with several addresses, or not at all.

use std::collections::BTreeMap;

use dialcore::effect::{Hop, Query, ResolveError};
use dialcore::limits::RESOLVE_TIMEOUT;
use dialcore::time::Duration;

/// What a name has to say, and how long it takes.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How long a look-up takes.
    pub delay: Duration,
    /// The addresses, best first; none: the name does not exist.
    pub hops: Vec<Hop>,
}

/// All names there are.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    answers: BTreeMap<String, Answer>,
}

impl Zone {
    /// Adds a name.
    pub fn insert(&mut self, host: String, answer: Answer) {
        self.answers.insert(host, answer);
    }

    /// What a query gives, and after how long.
    pub fn look_up(&self, query: &Query) -> (Duration, Result<Vec<Hop>, ResolveError>) {
        match self.answers.get(&*query.host) {
            None => (Duration::from_millis(3), Err(ResolveError::NotFound)),
            Some(a) if a.delay >= RESOLVE_TIMEOUT => (RESOLVE_TIMEOUT, Err(ResolveError::TimedOut)),
            Some(a) if a.hops.is_empty() => (a.delay, Err(ResolveError::NotFound)),
            Some(a) => (a.delay, Ok(a.hops.clone())),
        }
    }
}
