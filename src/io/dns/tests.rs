//! Tests of the resolver: what is numeric or known, and a name server of ours on loopback.

use std::net::UdpSocket;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

use super::*;
use crate::modules::corex::KnownKind;

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
        assert_eq!(&*order[3].target, "backup");
        *firsts.entry(order[0].target.to_string()).or_insert(0) += 1;
    }
    let share = |name: &str| firsts.get(name).copied().unwrap_or(0);
    assert!((8_600..9_300).contains(&share("big")), "{firsts:?}");
    assert!((800..1_200).contains(&share("small")), "{firsts:?}");
    assert!((1..300).contains(&share("never")), "{firsts:?}");
}

#[test]
fn without_a_draw_the_heaviest_comes_first() {
    let servers = vec![
        server(20, 9, "backup"),
        server(10, 1, "small"),
        server(10, 9, "big"),
    ];
    let order = by_weight(servers);
    let names: Vec<&str> = order.iter().map(|s| &*s.target).collect();
    assert_eq!(names, ["big", "small", "backup"]);
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
        let lookup = Names::new(Reach::of(&[address]), DnsOptions::default()).unwrap();
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

fn udp_only() -> Reach {
    Reach::of(&[Address {
        proto: Proto::Udp,
        local: "127.0.0.1:5060".parse().unwrap(),
        advertised: None,
        name: None,
    }])
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// A name as it stands in a message (RFC 1035 §3.1).
fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
    [labels.flat_map(label).collect(), vec![0]].concat()
}

/// The data of the records of a type that a name has.
fn zone(name: &[u8], kind: u16) -> Vec<Vec<u8>> {
    let numbers =
        |numbers: &[u16]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_be_bytes()).collect() };
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let server =
        |priority, port, target| [numbers(&[priority, 0, port]), wire_name(target)].concat();
    let pointer = |order, preference, next| {
        let head = numbers(&[order, preference]);
        [head, text("s"), text("SIP+D2U"), text(""), wire_name(next)].concat()
    };
    let has = |known: &str, of: u16| name == wire_name(known) && kind == of;
    if has("h.test", 1) {
        vec![vec![192, 0, 2, 9], vec![192, 0, 2, 8]]
    } else if has("h.test", 28) {
        vec![
            "2001:db8::9"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets()
                .to_vec(),
        ]
    } else if has("9.2.0.192.in-addr.arpa", 12) {
        vec![wire_name("h.test")]
    } else if has("_sip._udp.h.test", 33) {
        vec![server(20, 5080, "b.h.test"), server(10, 5070, "a.h.test")]
    } else if has("h.test", 35) {
        vec![pointer(50, 70, "c.h.test"), pointer(50, 60, "d.h.test")]
    } else {
        vec![]
    }
}

/// Answers the questions of one test; it ends with the process.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((size, peer)) = socket.recv_from(&mut buffer) {
            let question = &buffer[12..size];
            let end = question.iter().position(|b| *b == 0).unwrap() + 1;
            // Resolvers may write the letters of a name in any case (RFC 1035 §2.3.3).
            let name = question[..end].to_ascii_lowercase();
            let kind = u16::from_be_bytes([question[end], question[end + 1]]);
            let records = zone(&name, kind);
            let mut answer = buffer[..2].to_vec();
            let code: u8 = if records.is_empty() { 0x83 } else { 0x80 };
            answer.extend([0x85, code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
            answer.extend(&question[..end + 4]);
            for data in &records {
                answer.extend([0xc0, 12]);
                answer.extend(kind.to_be_bytes());
                answer.extend([0, 1, 0, 0, 0, 60]);
                answer.extend((data.len() as u16).to_be_bytes());
                answer.extend(data);
            }
            socket.send_to(&answer, peer).unwrap();
        }
    });
    address
}

fn asking(server: SocketAddr, known: Vec<KnownRecord>) -> Names {
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let mut server = NameServerConfig::udp(server.ip());
    server.connections = vec![connection];
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let provider = TokioRuntimeProvider::default();
    let resolver = TokioResolver::builder_with_config(config, provider)
        .build()
        .unwrap();
    let options = DnsOptions {
        known,
        ..DnsOptions::default()
    };
    Names::asking(resolver, udp_only(), options).unwrap()
}

/// What scripts are told, in short.
fn shown(records: &[NameRecord]) -> Vec<String> {
    let one = |record: &NameRecord| match record {
        NameRecord::Address(ip) => ip.to_string(),
        NameRecord::Name(name) => name.to_string(),
        NameRecord::Server(s) => format!("{} {}:{}", s.priority, s.target, s.port),
        NameRecord::Pointer(p) => {
            let services = String::from_utf8_lossy(&p.services);
            format!("{} {} {services} {}", p.order, p.preference, p.replacement)
        }
    };
    records.iter().map(one).collect()
}

#[test]
fn what_scripts_ask_is_answered_by_a_name_server() {
    let table: [(Lookup, &[&str]); 6] = [
        (
            Lookup::Addresses("h.test".into()),
            &["192.0.2.8", "192.0.2.9", "2001:db8::9"],
        ),
        (Lookup::Names("192.0.2.9".parse().unwrap()), &["h.test"]),
        (
            Lookup::Servers("_sip._udp.h.test".into()),
            &["10 a.h.test:5070", "20 b.h.test:5080"],
        ),
        (
            Lookup::Pointers("h.test".into()),
            &["50 60 SIP+D2U d.h.test", "50 70 SIP+D2U c.h.test"],
        ),
        (Lookup::Servers("_sip._udp.nowhere.test".into()), &[]),
        (Lookup::Pointers("nowhere.test".into()), &[]),
    ];
    let server = name_server();
    wait(async {
        let names = asking(server, vec![]);
        for (lookup, want) in table {
            let found = names.records_of(&lookup, &mut Rng::new(1)).await.unwrap();
            let mut found = shown(&found);
            if matches!(lookup, Lookup::Addresses(_)) {
                // In which order addresses come is nobody's promise.
                found.sort();
            }
            assert_eq!(found, want, "{lookup:?}");
        }
        let nobody = Lookup::Addresses("nowhere.test".into());
        let found = names.records_of(&nobody, &mut Rng::new(1)).await;
        assert_eq!(found, Err(ResolveError::NotFound));
    });
}

#[test]
fn the_file_says_which_servers_and_domains_count() {
    let server = |n: u8| NameServerConfig::udp(IpAddr::from([192, 0, 2, n]));
    let domain = |name: &str| Name::from_ascii(name).unwrap();
    let search = vec![domain("a.test"), domain("b.test")];
    let servers = (1..=3).map(server).collect();
    let machine = ResolverConfig::from_parts(Some(domain("own.test")), search, servers);
    for (count, no_search, want) in [
        (None, false, (3, 2, true)),
        (Some(2), false, (2, 2, true)),
        (Some(9), true, (3, 0, false)),
    ] {
        let options = DnsOptions {
            servers: count,
            no_search,
            ..DnsOptions::default()
        };
        let found = asked(&machine, &options);
        let (servers, search) = (found.name_servers(), found.search());
        assert!(
            servers
                .iter()
                .enumerate()
                .all(|(n, s)| s.ip == server(n as u8 + 1).ip)
        );
        let found = (servers.len(), search.len(), found.domain().is_some());
        assert_eq!(found, want, "{count:?} {no_search}");
    }
}

#[test]
fn the_file_says_how_long_answers_are_kept() {
    let time = std::time::Duration::from_secs;
    let (least, most, negative) = (Duration::from_secs(30), Duration::from_secs(20), None);
    let table = [
        ((None, None, None), (None, None, None)),
        ((Some(least), None, negative), (Some(time(30)), None, None)),
        // What contradicts the least gives way.
        (
            (Some(least), Some(most), negative),
            (Some(time(30)), Some(time(30)), None),
        ),
        (
            (None, Some(most), Some(most)),
            (None, Some(time(20)), Some(time(20))),
        ),
    ];
    for ((ttl_min, ttl_max, negative_ttl), want) in table {
        let options = DnsOptions {
            ttl_min,
            ttl_max,
            negative_ttl,
            no_cache: true,
            ..DnsOptions::default()
        };
        let mut wanted = ResolverOpts::default();
        tune(&mut wanted, &options);
        assert_eq!(wanted.negative_min_ttl, wanted.negative_max_ttl);
        assert_eq!(wanted.cache_size, 0);
        let found = (
            wanted.positive_min_ttl,
            wanted.positive_max_ttl,
            wanted.negative_max_ttl,
        );
        assert_eq!(found, want);
    }
}

/// A name server that says nothing is asked as often, and waited for as long, as the file says.
#[test]
fn questions_are_repeated_as_the_file_says() {
    let mut counts = Vec::new();
    for retries in [0, 2] {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let options = DnsOptions {
            retry_after: Some(Duration::from_millis(50)),
            retries: Some(retries),
            ..DnsOptions::default()
        };
        let mut wanted = ResolverOpts::default();
        tune(&mut wanted, &options);
        let (mut connection, at) = (ConnectionConfig::udp(), silent.local_addr().unwrap());
        connection.port = at.port();
        let mut server = NameServerConfig::udp(at.ip());
        server.connections = vec![connection];
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider).with_options(wanted);
        let began = Instant::now();
        let result = wait(async {
            let resolver = builder.build().unwrap();
            let names = Names::asking(resolver, udp_only(), options).unwrap();
            names.ips("nobody.test").await
        });
        assert_eq!(result, Err(ResolveError::TimedOut));
        assert!(began.elapsed() < std::time::Duration::from_secs(4));
        let mut buffer = [0; 512];
        let questions = std::iter::from_fn(|| silent.recv(&mut buffer).ok());
        counts.push(questions.count());
    }
    assert!(counts[0] >= 1 && counts[1] > counts[0], "{counts:?}");
}

#[test]
fn what_is_known_in_advance_comes_first() {
    let record = |kind, name: &str, target: &str| KnownRecord {
        kind,
        name: name.into(),
        target: target.into(),
        priority: 10,
        weight: 0,
        port: 5090,
        ttl_s: None,
        is_unknown: target.is_empty(),
    };
    let known = vec![
        record(KnownKind::Ipv4, "H.test", "192.0.2.77"),
        record(KnownKind::Ipv4, "gone.test", ""),
        record(KnownKind::Server, "_sip._udp.k.test", "h.test"),
        KnownRecord {
            ttl_s: Some(0),
            ..record(KnownKind::Server, "_sip._udp.h.test", "old.test")
        },
    ];
    let server = name_server();
    wait(async {
        let names = asking(server, known);
        let ask = async |lookup: Lookup| {
            let found = names.records_of(&lookup, &mut Rng::new(1)).await;
            found.map(|records| shown(&records))
        };
        let h = ask(Lookup::Addresses("h.test".into())).await;
        assert_eq!(h, Ok(vec!["192.0.2.77".to_owned()]));
        let gone = ask(Lookup::Addresses("gone.test".into())).await;
        assert_eq!(gone, Err(ResolveError::NotFound));
        // What has grown old counts no more.
        let servers = ask(Lookup::Servers("_sip._udp.h.test".into())).await;
        assert_eq!(servers.map(|s| s.len()), Ok(2));
        // A call finds its way by them.
        let query = Query {
            host: "k.test".into(),
            port: None,
            proto: None,
            secure: false,
        };
        let hops = names.hops(&query, &mut Rng::new(1)).await.unwrap();
        let addr = "192.0.2.77:5090".parse().unwrap();
        let proto = Proto::Udp;
        assert_eq!(hops, [Hop { proto, addr }]);
    });
}
