//! Where the names of destinations lead, for `ds_is_from_list`.
//!
//! A call that goes to a destination is resolved when it leaves, as every other (RFC 3263). Only
//! to know whether a message *comes* from one, a shard asks ahead: at start and after a reload
//! (`ds_dns_mode` 1), with each match (2) or every `ds_dns_interval` (4); for the addresses of the
//! name, or with 8 by SRV and NAPTR. No message waits for the answer: it is matched with what the
//! last one said, and until there is one it does not match.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::effect::{Effect, Hop, Lookup, NameRecord, Named, Query, Token};
use crate::modules::state::Env;
use crate::time::Duration;
use crate::timer::Timer;

use super::list::Destination;

/// Bits of `ds_dns_mode`.
pub const AT_START: i64 = 1;
const WITH_MATCH: i64 = 2;
const BY_TIMER: i64 = 4;
const BY_SERVICE: i64 = 8;

/// A list is there: its names are to be looked up.
pub fn start(env: &mut Env<'_>) {
    let old = env.state.dispatcher.names_timer.take();
    env.stop(old);
    let has_names = env.state.dispatcher.sets().has_names();
    if has_names && mode(env) & (AT_START | BY_TIMER | BY_SERVICE) != 0 {
        arm(env, Duration::ZERO);
    }
}

/// It is time to look names up.
pub fn fired(env: &mut Env<'_>) {
    env.state.dispatcher.names_timer = None;
    if env.state.is_draining {
        return;
    }
    ask(env);
    let every = env.state.setup.config.dispatcher.dns_interval;
    if mode(env) & BY_TIMER != 0 && every > Duration::ZERO {
        arm(env, every);
    }
}

/// A source is about to be matched: mode 2 asks again, for the matches that follow.
pub(super) fn matched(env: &mut Env<'_>) {
    let (now, live) = (env.now.mono, &env.state.dispatcher);
    let ttl = env.state.setup.config.dispatcher.dns_ttl;
    let is_known = live.asked.is_some_and(|at| now.since(at) < ttl);
    if mode(env) & WITH_MATCH != 0 && !is_known && live.sets().has_names() {
        ask(env);
    }
}

fn mode(env: &Env<'_>) -> i64 {
    env.state.setup.config.dispatcher.dns_mode
}

fn arm(env: &mut Env<'_>, after: Duration) {
    env.state.dispatcher.names_timer = Some(env.start(after, Timer::Names));
}

fn ask(env: &mut Env<'_>) {
    env.state.dispatcher.asked = Some(env.now.mono);
    let (version, by_service) = (env.state.dispatcher.version(), mode(env) & BY_SERVICE != 0);
    let sets = Arc::clone(env.state.dispatcher.sets());
    for (place, destination) in sets.destinations().iter().enumerate() {
        let Some(host) = destination.host.clone() else {
            continue;
        };
        let place = place as u32;
        let token = Token::Destination(Named { place, version });
        let question = if by_service {
            Effect::Resolve(token, query(destination, host))
        } else {
            Effect::Lookup(token, Box::new(Lookup::Addresses(host)))
        };
        env.out.push(question);
    }
}

fn query(destination: &Destination, host: Box<str>) -> Query {
    Query {
        host,
        port: destination.written_port,
        proto: destination.proto,
        secure: false,
    }
}

/// Addresses of the name: the port is that of the list.
pub fn found(env: &mut Env<'_>, named: Named, records: &[NameRecord]) {
    let sets = Arc::clone(env.state.dispatcher.sets());
    let Some(destination) = sets.destinations().get(named.place as usize) else {
        return;
    };
    let address = |record: &NameRecord| match record {
        NameRecord::Address(ip) => Some(SocketAddr::new(*ip, destination.port)),
        NameRecord::Name(_) | NameRecord::Server(_) | NameRecord::Pointer(_) => None,
    };
    keep(env, named, records.iter().filter_map(address).collect());
}

/// Addresses and ports of its services.
pub fn resolved(env: &mut Env<'_>, named: Named, hops: &[Hop]) {
    keep(env, named, hops.iter().map(|hop| hop.addr).collect());
}

fn keep(env: &mut Env<'_>, named: Named, mut addresses: Vec<SocketAddr>) {
    for address in &mut addresses {
        if let IpAddr::V6(ip) = address.ip() {
            address.set_ip(ip.to_canonical());
        }
    }
    if named.version == env.state.dispatcher.version() {
        env.state.dispatcher.found(named.place as usize, addresses);
    }
}
