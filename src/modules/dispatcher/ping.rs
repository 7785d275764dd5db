//! Asking destinations whether they are there.
//!
//! Shard 0 sends a request to each destination that is to be probed, all of them every
//! `ds_ping_interval`. What comes of it is told to the other shards.

use std::sync::Arc;

use crate::modules::state::Env;
use crate::modules::tm::local::{self, Answer, LocalRequest, Owner};
use crate::steer::ShardId;
use crate::time::Instant;
use crate::timer::Timer;

use super::Config;
use super::functions::default_socket;
use super::list::{Destination, flag};
use super::live::Attempt;

/// Which destination a ping was sent to, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Its place in the list.
    pub place: usize,
    /// Which list: a reload makes a new one.
    pub version: u32,
    /// When it was sent.
    pub at: Instant,
}

/// Whether this shard sends pings at all.
pub fn is_wanted(env: &Env<'_>) -> bool {
    let config = &env.state.setup.config.dispatcher;
    config.ping_interval.as_nanos() > 0 && env.state.id == ShardId(0)
}

/// Starts the round of pings, if there is one and it is not running.
pub fn start(env: &mut Env<'_>) {
    if env.state.dispatcher.timer.is_none() && is_wanted(env) {
        let after = env.state.setup.config.dispatcher.ping_interval;
        env.state.dispatcher.timer = Some(env.start(after, Timer::Ping));
    }
}

/// It is time for pings.
pub fn fired(env: &mut Env<'_>) {
    env.state.dispatcher.timer = None;
    if env.state.is_draining || !is_wanted(env) {
        return;
    }
    start(env);
    if env.state.dispatcher.ping_active == 0 {
        return;
    }
    let setup = Arc::clone(&env.state.setup);
    let sets = Arc::clone(env.state.dispatcher.sets());
    for (place, destination) in sets.destinations().iter().enumerate() {
        let flags = env.state.dispatcher.condition(place).flags;
        if is_probed(setup.config.dispatcher.probing_mode, destination, flags) {
            let ping = Ping {
                place,
                version: env.state.dispatcher.version(),
                at: env.now.mono,
            };
            send(env, &setup.config.dispatcher, destination, ping);
        }
    }
}

fn is_probed(mode: i64, destination: &Destination, flags: u32) -> bool {
    if flags & flag::DISABLED != 0 || destination.flags & flag::NO_PING != 0 {
        return false;
    }
    match mode {
        1 => true,
        2 => flags & (flag::INACTIVE | flag::PROBING) == flag::INACTIVE | flag::PROBING,
        3 => destination.flags & flag::PROBING != 0,
        _ => flags & flag::PROBING != 0,
    }
}

fn send(env: &mut Env<'_>, config: &Config, destination: &Destination, ping: Ping) {
    let from = destination
        .attrs
        .ping_from
        .as_deref()
        .unwrap_or(config.ping_from.as_bytes());
    let method = config.ping_method.as_bytes();
    let uri = &destination.uri;
    let mut request = LocalRequest::new(env.state, method, uri, from, uri);
    let proxy = destination.attrs.outbound_proxy.as_deref();
    let proxy = proxy.unwrap_or(config.outbound_proxy.as_bytes());
    request.next_hop = (!proxy.is_empty()).then(|| proxy.into());
    let usual = default_socket(&env.state.setup);
    request.socket = destination.socket.or(usual);
    request.owner = Owner::Dispatcher(ping);
    local::send(env.state, request);
}

/// A ping has been answered, or has not.
pub fn answered(env: &mut Env<'_>, ping: Ping, answer: &Answer) {
    let Some(status) = answer.status().filter(|status| *status >= 200) else {
        return;
    };
    if ping.version != env.state.dispatcher.version() {
        return;
    }
    let setup = Arc::clone(&env.state.setup);
    let config = &setup.config.dispatcher;
    let is_good = matches!(answer, Answer::Response(..))
        && (status == 200
            || config
                .reply_codes
                .iter()
                .any(|(a, b)| (*a..=*b).contains(&status)));
    if config.latency_stats {
        let took = matches!(answer, Answer::Response(..)).then(|| env.now.mono.since(ping.at));
        let alpha = config.latency_alpha as f64 / 1_000.0;
        env.state.dispatcher.measured(ping.place, took, alpha);
    }
    let attempt = if is_good { Attempt::Good } else { Attempt::Bad };
    let is_bad_mode = !is_good && config.probing_mode != 3;
    let probes = config.probing_mode == 1 || is_bad_mode;
    let live = &mut env.state.dispatcher;
    let turned = live.tried(ping.place, attempt, config.thresholds, probes);
    super::changed(env, ping.place, turned);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Setup;
    use crate::modules::dispatcher::list;

    #[test]
    fn who_is_probed() {
        let setup = Setup::from_text("#!KAMAILIO\nrequest_route { exit; }\n", 1).unwrap();
        // Flags of the file, state, by mode 0 to 3.
        let table = [
            (0, 0, [false, true, false, false]),
            (0, 1, [false, true, false, false]),
            (0, 9, [true, true, true, false]),
            (8, 8, [true, true, false, true]),
            (8, 0, [false, true, false, true]),
            (0, 12, [false, false, false, false]),
            (40, 8, [false, false, false, false]),
        ];
        for (file, state, want) in table {
            let (sets, _) = list::parse(format!("1 sip:192.0.2.1 {file}").as_bytes(), &setup);
            let destination = &sets.destinations()[0];
            let got = [0, 1, 2, 3].map(|mode| is_probed(mode, destination, state));
            assert_eq!(got, want, "{file} {state}");
        }
    }
}
