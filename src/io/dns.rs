//! Finding the addresses of a name (RFC 3263 §4, RFC 2782).
//!
//! NAPTR when neither port nor transport is known and the plan asks for it, SRV when no port is
//! known, then AAAA and A. Only transports and address families for which there is a socket count.
//! What the configuration says of a name (`corex.dns_cache`) comes before what servers say. The
//! resolver keeps answers for as long as they live and reads the hosts file; a machine without
//! name servers resolves what stands there. Runs on the control thread.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::plan::DnsOptions;
use crate::effect::name::{Pointer, Server};
use crate::effect::{Address, Hop, Lookup, NameRecord, Proto, Query, ResolveError};
use crate::limits::HOP_COUNT_MAX;
use crate::modules::corex::{KnownKind, KnownRecord};
use crate::rng::Rng;
use crate::time::Duration;

/// What can be reached from here.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The transports, best first (RFC 3263 §4.1 leaves the order to the client).
    protos: Vec<Proto>,
    ipv4: bool,
    ipv6: bool,
}

impl Reach {
    pub(crate) fn of(addresses: &[Address]) -> Reach {
        let protos = [Proto::Udp, Proto::Tcp]
            .into_iter()
            .filter(|proto| addresses.iter().any(|a| a.proto == *proto))
            .collect();
        Reach {
            protos,
            ipv4: addresses.iter().any(|a| a.local.is_ipv4()),
            ipv6: addresses.iter().any(|a| a.local.is_ipv6()),
        }
    }

    fn includes(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        }
    }

    /// The transports that a query may use, best first.
    fn candidates(&self, query: &Query) -> Vec<Proto> {
        let secure = |proto: &Proto| !query.secure || matches!(proto, Proto::Tls | Proto::Wss);
        let wanted = |proto: &Proto| query.proto.is_none_or(|p| p == *proto);
        self.protos
            .iter()
            .copied()
            .filter(|p| secure(p) && wanted(p))
            .collect()
    }
}

/// The name servers and domains of the machine, as far as they are wanted.
fn asked(machine: &ResolverConfig, options: &DnsOptions) -> ResolverConfig {
    let count = options.servers.unwrap_or(usize::MAX);
    let servers = machine.name_servers().iter().take(count).cloned().collect();
    let (domain, search) = match options.no_search {
        true => (None, Vec::new()),
        false => (machine.domain().cloned(), machine.search().to_vec()),
    };
    ResolverConfig::from_parts(domain, search, servers)
}

fn tune(wanted: &mut ResolverOpts, options: &DnsOptions) {
    let time = |d: Duration| std::time::Duration::from_nanos(d.as_nanos());
    if options.no_cache {
        wanted.cache_size = 0;
    }
    if let Some(after) = options.retry_after.filter(|t| *t > Duration::ZERO) {
        wanted.timeout = time(after);
    }
    if let Some(count) = options.retries {
        wanted.attempts = count as usize;
    }
    wanted.positive_min_ttl = options.ttl_min.map(time);
    // The least comes first where the two contradict each other.
    let most = options
        .ttl_max
        .map(|most| most.max(options.ttl_min.unwrap_or(Duration::ZERO)));
    wanted.positive_max_ttl = most.map(time);
    wanted.negative_min_ttl = options.negative_ttl.map(time);
    wanted.negative_max_ttl = options.negative_ttl.map(time);
}

/// Asks the name servers.
pub(crate) struct Names {
    resolver: TokioResolver,
    reach: Reach,
    options: DnsOptions,
    /// When this began to be asked: what is known in advance grows old from here.
    started: Instant,
}

impl Names {
    /// Asks the name servers of the machine.
    pub(crate) fn new(mut reach: Reach, options: DnsOptions) -> Result<Names, NetError> {
        reach.ipv6 &= !options.no_ipv6;
        let (machine, mut wanted) = read_system_conf().unwrap_or_default();
        tune(&mut wanted, &options);
        let provider = TokioRuntimeProvider::default();
        let asked = asked(&machine, &options);
        let builder = TokioResolver::builder_with_config(asked, provider).with_options(wanted);
        Names::asking(builder.build()?, reach, options)
    }

    fn asking(
        resolver: TokioResolver,
        reach: Reach,
        options: DnsOptions,
    ) -> Result<Names, NetError> {
        Ok(Names {
            resolver,
            reach,
            options,
            started: Instant::now(),
        })
    }

    /// What the configuration says of a name and still holds. `None`: nothing.
    fn known(&self, name: &str, kind: KnownKind) -> Option<Vec<&KnownRecord>> {
        let age_s = self.started.elapsed().as_secs();
        let name = name.trim_end_matches('.');
        let all = self.options.known.iter();
        let fits = |r: &&KnownRecord| r.kind == kind && r.name.eq_ignore_ascii_case(name);
        let found: Vec<_> = all.filter(fits).filter(|r| r.holds_at(age_s)).collect();
        (!found.is_empty()).then_some(found)
    }

    /// The addresses that the configuration gives a name. `Err`: it says that there are none.
    fn known_ips(&self, host: &str) -> Option<Result<Vec<IpAddr>, ResolveError>> {
        let kinds = [KnownKind::Ipv4, KnownKind::Ipv6];
        let found: Vec<_> = kinds
            .into_iter()
            .filter_map(|kind| self.known(host, kind))
            .flatten()
            .collect();
        if found.is_empty() {
            return None;
        }
        let ips = found.iter().filter(|r| !r.is_unknown);
        let ips: Vec<IpAddr> = ips.filter_map(|r| r.target.parse().ok()).collect();
        Some(match ips.is_empty() {
            true => Err(ResolveError::NotFound),
            false => Ok(ips),
        })
    }

    fn known_servers(&self, name: &str) -> Option<Vec<Server>> {
        let server = |r: &&KnownRecord| Server {
            priority: r.priority,
            weight: r.weight,
            port: r.port,
            target: r.target.clone(),
        };
        let found = self.known(name, KnownKind::Server)?;
        let usable = found.into_iter().filter(|r| !r.is_unknown);
        Some(usable.map(|r| server(&r)).collect())
    }

    /// What a script has asked.
    pub(crate) async fn records_of(
        &self,
        lookup: &Lookup,
        rng: &mut Rng,
    ) -> Result<Vec<NameRecord>, ResolveError> {
        match lookup {
            Lookup::Addresses(host) => {
                let ips = self.ips(host).await?;
                Ok(ips.into_iter().map(NameRecord::Address).collect())
            }
            Lookup::Names(ip) => {
                let name = Name::from(*ip).to_ascii();
                let records = self.records(&name, RecordType::PTR).await?;
                let host = |data| match data {
                    RData::PTR(name) => Some(NameRecord::Name(host_name(&name.0))),
                    _ => None,
                };
                Ok(records.into_iter().filter_map(host).collect())
            }
            Lookup::Servers(service) => {
                let servers = self.servers_named(service).await?;
                let ranked = ranked(servers, rng).into_iter();
                Ok(ranked.map(NameRecord::Server).collect())
            }
            Lookup::Pointers(domain) => self.pointers(domain).await,
        }
    }

    async fn pointers(&self, domain: &str) -> Result<Vec<NameRecord>, ResolveError> {
        let records = self.records(domain, RecordType::NAPTR).await?;
        let pointer = |data| match data {
            RData::NAPTR(naptr) => Some(Pointer {
                order: naptr.order,
                preference: naptr.preference,
                flags: naptr.flags.clone(),
                services: naptr.services.clone(),
                regexp: naptr.regexp.clone(),
                replacement: host_name(&naptr.replacement),
            }),
            _ => None,
        };
        let mut pointers: Vec<_> = records.into_iter().filter_map(pointer).collect();
        pointers.sort_by_key(|p| (p.order, p.preference));
        Ok(pointers.into_iter().map(NameRecord::Pointer).collect())
    }

    /// The hops of a query, best first.
    pub(crate) async fn hops(
        &self,
        query: &Query,
        rng: &mut Rng,
    ) -> Result<Vec<Hop>, ResolveError> {
        let mut protos = self.reach.candidates(query);
        let Some(first) = protos.first().copied() else {
            return Err(ResolveError::NotFound);
        };
        // A numeric address needs no lookup (§4.2).
        if let Some(ip) = numeric(&query.host) {
            let port = query.port.unwrap_or(first.default_port());
            return self.collect(first, port, &[ip]);
        }
        if let Some(port) = query.port {
            let ips = self.ips(&query.host).await?;
            return self.collect(first, port, &ips);
        }
        if query.proto.is_none() && self.options.try_naptr {
            self.by_naptr(&query.host, &mut protos).await?;
        }
        for proto in protos {
            let servers = self.servers(&query.host, proto).await?;
            if servers.is_empty() {
                continue;
            }
            let servers = if self.options.no_weights {
                by_weight(servers)
            } else {
                ranked(servers, rng)
            };
            let hops = self.of_servers(proto, servers).await?;
            if !hops.is_empty() {
                return Ok(hops);
            }
        }
        // §4.2: without SRV records, the addresses of the name itself and the default port.
        let ips = self.ips(&query.host).await?;
        self.collect(first, first.default_port(), &ips)
    }

    fn collect(&self, proto: Proto, port: u16, ips: &[IpAddr]) -> Result<Vec<Hop>, ResolveError> {
        let hops: Vec<Hop> = ips
            .iter()
            .filter(|ip| self.reach.includes(**ip))
            .take(HOP_COUNT_MAX)
            .map(|ip| Hop {
                proto,
                addr: SocketAddr::new(*ip, port),
            })
            .collect();
        if hops.is_empty() {
            return Err(ResolveError::NotFound);
        }
        Ok(hops)
    }

    async fn ips(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Some(known) = self.known_ips(host) {
            return known;
        }
        match self.resolver.lookup_ip(host).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(e) if is_timeout(&e) => Err(ResolveError::TimedOut),
            Err(_) => Err(ResolveError::NotFound),
        }
    }

    /// Puts the transports that the domain prefers first (§4.1).
    async fn by_naptr(&self, host: &str, protos: &mut [Proto]) -> Result<(), ResolveError> {
        let mut offers: Vec<(u16, u16, Proto)> = Vec::new();
        for data in self.records(host, RecordType::NAPTR).await? {
            if let RData::NAPTR(naptr) = data
                && let Some(proto) = service_proto(&naptr.services)
            {
                offers.push((naptr.order, naptr.preference, proto));
            }
        }
        offers.sort_unstable();
        let rank = |proto: &Proto| offers.iter().position(|(_, _, p)| p == proto);
        protos.sort_by_key(|proto| rank(proto).unwrap_or(usize::MAX));
        Ok(())
    }

    async fn servers(&self, host: &str, proto: Proto) -> Result<Vec<Server>, ResolveError> {
        let name = format!("{}.{host}", service_name(proto));
        self.servers_named(&name).await
    }

    async fn servers_named(&self, name: &str) -> Result<Vec<Server>, ResolveError> {
        if let Some(known) = self.known_servers(name) {
            return Ok(known);
        }
        let records = self.records(name, RecordType::SRV).await?;
        let server = |data| match data {
            // RFC 2782: the root as target says that the service is not there.
            RData::SRV(srv) if !srv.target.is_root() => Some(Server {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: host_name(&srv.target),
            }),
            _ => None,
        };
        let servers = records.into_iter().filter_map(server);
        Ok(servers.take(HOP_COUNT_MAX).collect())
    }

    async fn of_servers(
        &self,
        proto: Proto,
        servers: Vec<Server>,
    ) -> Result<Vec<Hop>, ResolveError> {
        let (mut hops, mut failure) = (Vec::new(), None);
        for server in servers {
            match self.ips(&server.target).await {
                Ok(ips) => hops.extend(self.collect(proto, server.port, &ips).unwrap_or_default()),
                Err(e) => failure = Some(e),
            }
        }
        hops.truncate(HOP_COUNT_MAX);
        match failure {
            Some(e) if hops.is_empty() => Err(e),
            Some(_) | None => Ok(hops),
        }
    }

    /// The records of one type; none is no error.
    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, ResolveError> {
        match self.resolver.lookup(name, kind).await {
            Ok(found) => Ok(found.answers().iter().map(|r| r.data.clone()).collect()),
            Err(e) if is_timeout(&e) => Err(ResolveError::TimedOut),
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// A name as people write it, without the dot at its end.
fn host_name(name: &Name) -> Box<str> {
    let text = name.to_utf8();
    text.strip_suffix('.').unwrap_or(&text).into()
}

fn is_timeout(error: &NetError) -> bool {
    matches!(error, NetError::Timeout)
}

/// The address that a host is, brackets or not.
fn numeric(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// RFC 3263 §4.1: the services of SIP in NAPTR.
fn service_proto(service: &[u8]) -> Option<Proto> {
    let table: [(&[u8], Proto); 3] = [
        (b"SIP+D2U", Proto::Udp),
        (b"SIP+D2T", Proto::Tcp),
        (b"SIPS+D2T", Proto::Tls),
    ];
    table
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(service))
        .map(|(_, proto)| proto)
}

/// RFC 3263 §4.1, §4.2: what stands before the domain in the name of its SRV records.
fn service_name(proto: Proto) -> &'static str {
    match proto {
        Proto::Udp => "_sip._udp",
        Proto::Tcp => "_sip._tcp",
        Proto::Tls => "_sips._tcp",
        Proto::Sctp => "_sip._sctp",
        Proto::Ws => "_sip._ws",
        Proto::Wss => "_sips._ws",
    }
}

/// The order without a draw.
fn by_weight(mut servers: Vec<Server>) -> Vec<Server> {
    servers.sort_by_key(|s| (s.priority, std::cmp::Reverse(s.weight)));
    servers
}

/// RFC 2782: lower priorities first; among equals a draw by weight for each place.
fn ranked(mut servers: Vec<Server>, rng: &mut Rng) -> Vec<Server> {
    // Those of weight 0 come first, so that they have a small chance to be drawn.
    servers.sort_by_key(|s| (s.priority, s.weight != 0));
    let mut ranked = Vec::with_capacity(servers.len());
    while let Some(priority) = servers.first().map(|s| s.priority) {
        let group = servers.iter().take_while(|s| s.priority == priority);
        let total: u32 = group.map(|s| u32::from(s.weight)).sum();
        let drawn = rng.below(total + 1);
        let mut sum = 0;
        let at = servers.iter().position(|s| {
            sum += u32::from(s.weight);
            sum >= drawn
        });
        ranked.push(servers.remove(at.unwrap_or(0)));
    }
    ranked
}

#[cfg(test)]
mod tests;
