//! Finding the addresses of a name (RFC 3263 §4, RFC 2782).
//!
//! NAPTR when neither port nor transport is known and the plan asks for it, SRV when no port is
//! known, then AAAA and A. Only transports and address families for which there is a socket count.
//! The resolver keeps answers for as long as they live and reads the hosts file; a machine without
//! name servers resolves what stands there. Runs on the control thread.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::plan::DnsOptions;
use crate::effect::{Address, Hop, Proto, Query, ResolveError};
use crate::limits::HOP_COUNT_MAX;
use crate::rng::Rng;

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

/// One SRV record.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Server {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

/// Asks the name servers.
pub(crate) struct Lookup {
    resolver: TokioResolver,
    reach: Reach,
    options: DnsOptions,
}

impl Lookup {
    pub(crate) fn new(reach: Reach, options: DnsOptions) -> Result<Lookup, NetError> {
        let provider = TokioRuntimeProvider::default;
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
            TokioResolver::builder_with_config(ResolverConfig::default(), provider())
        });
        Ok(Lookup {
            resolver: builder.build()?,
            reach,
            options,
        })
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
            let hops = self.of_servers(proto, ranked(servers, rng)).await?;
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
        let records = self.records(&name, RecordType::SRV).await?;
        Ok(records
            .into_iter()
            .filter_map(|data| match data {
                // RFC 2782: the root as target says that the service is not there.
                RData::SRV(srv) if !srv.target.is_root() => Some(Server {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_utf8(),
                }),
                _ => None,
            })
            .take(HOP_COUNT_MAX)
            .collect())
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
mod tests {
    use super::*;

    fn server(priority: u16, weight: u16, target: &str) -> Server {
        Server {
            priority,
            weight,
            port: 5060,
            target: target.into(),
        }
    }

    #[test]
    fn priority_rules_and_weight_draws() {
        let servers = || {
            vec![
                server(20, 0, "backup"),
                server(10, 90, "big"),
                server(10, 10, "small"),
                server(10, 0, "never"),
            ]
        };
        let (mut rng, mut firsts) = (Rng::new(5), std::collections::HashMap::new());
        for _ in 0..10_000 {
            let order = ranked(servers(), &mut rng);
            assert_eq!(order.len(), 4);
            assert_eq!(order[3].target, "backup");
            *firsts.entry(order[0].target.clone()).or_insert(0) += 1;
        }
        let share = |name: &str| firsts.get(name).copied().unwrap_or(0);
        assert!((8_600..9_300).contains(&share("big")), "{firsts:?}");
        assert!((800..1_200).contains(&share("small")), "{firsts:?}");
        assert!((1..300).contains(&share("never")), "{firsts:?}");
    }

    #[test]
    fn only_what_can_be_reached_counts() {
        let address = |proto, local: &str| Address {
            proto,
            local: local.parse().unwrap(),
            advertised: None,
            name: None,
        };
        let reach = Reach::of(&[address(Proto::Tcp, "127.0.0.1:1")]);
        let query = |proto, secure| Query {
            host: "x".into(),
            port: None,
            proto,
            secure,
        };
        assert_eq!(reach.candidates(&query(None, false)), [Proto::Tcp]);
        assert_eq!(reach.candidates(&query(Some(Proto::Udp), false)), []);
        assert_eq!(reach.candidates(&query(None, true)), []);
        assert!(reach.includes("192.0.2.1".parse().unwrap()));
        assert!(!reach.includes("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn numbers_and_local_names_need_no_server() {
        let address = Address {
            proto: Proto::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            advertised: None,
            name: None,
        };
        let table = [
            ("127.0.0.9", None, "127.0.0.9:5060"),
            ("127.0.0.9", Some(99), "127.0.0.9:99"),
            ("localhost", Some(5080), "127.0.0.1:5080"),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let lookup = Lookup::new(Reach::of(&[address]), DnsOptions::default()).unwrap();
            for (host, port, want) in table {
                let query = Query {
                    host: host.into(),
                    port,
                    proto: None,
                    secure: false,
                };
                let hops = lookup.hops(&query, &mut Rng::new(1)).await.unwrap();
                let want = Hop {
                    proto: Proto::Udp,
                    addr: want.parse().unwrap(),
                };
                assert_eq!(hops, [want], "{host}");
            }
        });
    }
}
