//! `mhomed`: the kernel says from which of our addresses a request leaves.
//!
//! Its answer is asked for like that of DNS and kept for a while, so that few requests wait for
//! it. A socket that the script has chosen, and one that the message came in by where no other
//! fits, need no question.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::effect::{Effect, Hop, SocketId, Token};
use crate::limits::{SOURCE_COUNT_MAX, SOURCE_TIME};
use crate::slab::Key;
use crate::time::Instant;

use super::relay::Relay;
use super::run::Run;
use super::{Shard, Step};

/// What the kernel has said, by destination. `None`: it knows no way.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<IpAddr, (Option<IpAddr>, Instant)>);

impl Sources {
    /// What has been said of late.
    pub(super) fn get(&self, to: IpAddr, now: Instant) -> Option<Option<IpAddr>> {
        let (source, until) = self.0.get(&to)?;
        (*until > now).then_some(*source)
    }

    fn keep(&mut self, to: IpAddr, source: Option<IpAddr>, now: Instant) {
        if self.0.len() >= SOURCE_COUNT_MAX {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= SOURCE_COUNT_MAX {
            self.0.clear();
        }
        self.0.insert(to, (source, now + SOURCE_TIME));
    }
}

impl Shard {
    /// The socket that the kernel would take to this hop; `None`: `mhomed` is off, or it does not
    /// know, or none of ours fits.
    pub(super) fn routed_socket(&self, hop: Hop, now: Instant) -> Option<SocketId> {
        if !self.state.setup.config.core.mhomed {
            return None;
        }
        let source = self.sources.get(hop.addr.ip(), now)??;
        self.state.setup.socket_at(hop.proto, source)
    }

    /// The address that the kernel must be asked about before a request can go to this hop.
    pub(super) fn unrouted(&self, hop: Hop, now: Instant) -> Option<IpAddr> {
        let setup = &self.state.setup;
        let ip = hop.addr.ip();
        let fits =
            |a: &&crate::effect::Address| a.proto == hop.proto && a.local.is_ipv4() == ip.is_ipv4();
        let has_choice = setup.addresses.iter().filter(fits).nth(1).is_some();
        let is_asked = setup.config.core.mhomed && has_choice;
        (is_asked && self.sources.get(ip, now).is_none()).then_some(ip)
    }

    /// The kernel has answered, or has not: then its silence counts as no answer.
    pub(super) fn routed(&mut self, step: &mut Step<'_>, token: Token, source: Option<IpAddr>) {
        match token {
            Token::Run(key) => self.run_routed(step, key, source),
            Token::Local(key) => self.local_routed(step, key, source),
            Token::Branch(_) | Token::Destination(_) => self.state.counters.stale_answers += 1,
        }
    }

    fn run_routed(&mut self, step: &mut Step<'_>, key: Key, source: Option<IpAddr>) {
        let Some(mut run) = self.unpark(step, key) else {
            return;
        };
        match run.resolving.take() {
            Some(relay) => self.go_on_routed(step, run, relay, source),
            None => {
                run.vm.resume(-1);
                self.drive(step, run);
            }
        }
    }

    /// Goes on with a relay that has waited for the kernel.
    pub(super) fn go_on_routed(
        &mut self,
        step: &mut Step<'_>,
        mut run: Box<Run>,
        mut relay: Box<Relay>,
        source: Option<IpAddr>,
    ) {
        if let Some(ip) = relay.routing.take() {
            self.sources.keep(ip, source, step.now.mono);
        }
        let next = self.prepare_next(step, &mut run, relay);
        self.go_on(step, run, next);
    }

    /// Remembers what was said of the hop of a request of our own.
    pub(super) fn keep_source(&mut self, step: &Step<'_>, ip: IpAddr, source: Option<IpAddr>) {
        self.sources.keep(ip, source, step.now.mono);
    }

    /// Asks the kernel.
    pub(super) fn ask_route(step: &mut Step<'_>, token: Token, ip: IpAddr) {
        step.out.push(Effect::Route(token, ip));
    }
}
