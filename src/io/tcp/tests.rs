//! The tables of two cores, joined by hand, against sockets on loopback.

use super::*;
use crate::effect::Token;
use crate::io::sys::Ready;
use crate::rng::Rng;
use std::io::Write;

const MESSAGE: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

/// Two cores that share nothing but the notices which this brings from one to the other.
struct Pair {
    polls: [Rc<Poll>; 2],
    cores: [Streams; 2],
    now: Instant,
    failed: Vec<(Asker, SendError)>,
    closed: Vec<ConnId>,
    received: Vec<(Flow, Vec<u8>)>,
}

impl Pair {
    fn new(change: impl FnOnce(&mut TcpOptions)) -> Pair {
        let mut options = TcpOptions::default();
        change(&mut options);
        let address = Address {
            proto: Proto::Tcp,
            local: "127.0.0.1:5060".parse().unwrap(),
            advertised: None,
            name: None,
        };
        let polls = [0, 1].map(|_| Rc::new(Poll::new().unwrap()));
        let open_count = Arc::<AtomicUsize>::default();
        let cores = [0u16, 1].map(|n| {
            let around = Surroundings {
                id: ShardId(n),
                core_count: 2,
                addresses: [address.clone()].into(),
                options: options.clone(),
                open_count: open_count.clone(),
            };
            Streams::new(around, polls[usize::from(n)].clone(), Rng::new(1).hasher())
        });
        Pair {
            polls,
            cores,
            now: Instant::ZERO,
            failed: vec![],
            closed: vec![],
            received: vec![],
        }
    }

    /// Brings notices about until there are none.
    fn spread(&mut self) {
        for n in [0, 1, 0, 1, 0, 1] {
            self.cores[n].flush(self.now);
            for notice in std::mem::take(&mut self.cores[n].notices) {
                match notice {
                    Notice::Post(core, item) => self.post(core, item),
                    Notice::Failed(asker, error) => self.failed.push((asker, error)),
                    Notice::Closed(conn) => self.closed.push(conn),
                }
            }
        }
    }

    fn post(&mut self, core: ShardId, item: Item) {
        let streams = &mut self.cores[usize::from(core.0)];
        match item {
            Item::Send(parcel) => streams.send(parcel.open(), self.now),
            Item::Close(conn) => streams.close(conn, self.now),
            Item::Adopt { socket, stream } => streams.adopt(socket, stream, self.now),
            Item::Alias(conn, port) => streams.alias(conn, port),
            Item::AliasAt(conn, at) => streams.alias_at(conn, at),
            _ => panic!("streams send nothing else"),
        }
    }

    /// Waits until `is_done`, as a core does, but not for ever.
    fn until(&mut self, is_done: impl Fn(&Pair) -> bool) {
        let (mut ready, mut scratch) = (Vec::<Ready>::new(), vec![0; 65_536]);
        for _ in 0..10_000 {
            self.spread();
            if is_done(self) {
                return;
            }
            for n in 0..2 {
                self.polls[n].wait(Some(1), &mut ready).unwrap();
                for event in &ready {
                    let (key, received) = (Key::from_u64(event.tag), &mut self.received);
                    if event.writable {
                        self.cores[n].writable(key, self.now);
                    }
                    if event.readable {
                        self.cores[n].read(key, self.now, &mut scratch, |flow, brought| {
                            let (Brought::Message(bytes) | Brought::Http(bytes)) = brought;
                            received.push((flow, bytes.to_vec()));
                        });
                    }
                }
            }
        }
        panic!("it did not happen");
    }

    fn send(&mut self, core: usize, to: Destination, token: u64) {
        let asker = Asker {
            core: ShardId(core as u16),
            token: make_token(token),
        };
        let out = Outgoing::new(to, MESSAGE.into(), Some(asker));
        self.cores[core].send(out, self.now);
    }

    fn sent(&self) -> u64 {
        self.cores.iter().map(|c| c.counters.stream_sent).sum()
    }

    /// A connection that a peer has opened, and the core it lives on.
    fn accept_one(&mut self) -> (TcpStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, remote) = listener.accept().unwrap();
        let core = usize::from(home(remote, 2).0);
        self.cores[core].adopt(SocketId(0), accepted, self.now);
        (client, core)
    }

    fn opened(&self) -> u64 {
        let opened = |c: &Streams| c.counters.connections_opened;
        self.cores.iter().map(opened).sum()
    }
}

fn make_token(n: u64) -> Token {
    Token::Run(Key::from_u64(n))
}

fn to(remote: SocketAddr) -> Destination {
    Destination::to(SocketId(0), Proto::Tcp, remote)
}

/// A listener whose connections live on this core.
fn listener_at(core: u16) -> (TcpListener, SocketAddr) {
    // Each try hits with even odds; those that miss stay open so that no port comes twice.
    let mut missed = vec![];
    for _ in 0..200 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        if home(local, 2) == ShardId(core) {
            return (listener, local);
        }
        missed.push(listener);
    }
    panic!("200 tosses of a coin fell on one side");
}

/// An address of this home where nobody listens.
fn nowhere_at(core: u16) -> SocketAddr {
    listener_at(core).1
}

#[test]
fn one_connection_serves_both_cores() {
    let mut pair = Pair::new(|_| {});
    let (listener, remote) = listener_at(1);
    pair.send(0, to(remote), 1);
    pair.send(1, to(remote), 2);
    pair.send(0, to(remote), 3);
    pair.until(|p| p.sent() == 3);
    assert_eq!((pair.opened(), pair.failed.len()), (1, 0));
    let (mut peer, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 3 * MESSAGE.len()];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, MESSAGE.repeat(3));

    // What comes back bears the connection, and an answer along it needs no second one.
    peer.write_all(MESSAGE).unwrap();
    pair.until(|p| p.received.len() == 1);
    let flow = pair.received[0].0;
    assert_eq!(flow.conn.unwrap().core, 1);
    pair.send(0, Destination::along(flow), 4);
    pair.until(|p| p.sent() == 4);
    assert_eq!(pair.opened(), 1);

    pair.cores[0].close(flow.conn.unwrap(), pair.now);
    pair.until(|p| p.closed.len() == 1);
    assert_eq!(pair.closed, [flow.conn.unwrap()]);
}

#[test]
fn a_message_falls_back_step_by_step() {
    for (remote_home, fallback_home) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut pair = Pair::new(|_| {});
        let (_listener, fallback) = listener_at(fallback_home);
        let gone = Some(ConnId { core: 1, key: 77 });
        let destination = Destination {
            conn: gone,
            fallback: Some(fallback),
            ..to(nowhere_at(remote_home))
        };
        pair.send(0, destination, 1);
        pair.until(|p| p.sent() == 1);
        assert_eq!(pair.failed, []);
        assert_eq!(pair.opened(), 1, "homes {remote_home} and {fallback_home}");
    }
}

/// A peer's connection, its identifier, and a port of the peer whose home is this core.
fn aliased(pair: &mut Pair, core: u16) -> (TcpStream, ConnId, SocketAddr) {
    let (mut client, _) = pair.accept_one();
    client.write_all(MESSAGE).unwrap();
    pair.until(|p| p.received.len() == 1);
    let conn = pair.received[0].0.conn.unwrap();
    (client, conn, nowhere_at(core))
}

#[test]
fn a_connection_is_found_at_its_alias() {
    for (home, asked, sender) in [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)] {
        let mut pair = Pair::new(|_| {});
        let (mut client, conn, at) = aliased(&mut pair, home);
        pair.cores[asked].alias(conn, at.port());
        pair.spread();
        pair.send(sender, to(at), 1);
        pair.until(|p| p.sent() == 1);
        let mut bytes = vec![0; MESSAGE.len()];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!((pair.opened(), pair.failed.len()), (0, 0), "{home} {asked}");
        // When it is gone its alias is as well: nobody listens at that port.
        drop(client);
        pair.until(|p| p.closed.len() == 1);
        pair.cores.iter_mut().for_each(|c| c.forget_aliases(conn));
        pair.send(sender, to(at), 2);
        pair.until(|p| p.failed.len() == 1);
    }
}

#[test]
fn the_first_connection_keeps_an_alias_and_has_few() {
    let mut pair = Pair::new(|_| {});
    let (_first, conn, at) = aliased(&mut pair, 0);
    pair.cores[0].alias(conn, at.port());
    pair.spread();
    let other = ConnId { core: 1, key: 99 };
    pair.cores[0].alias_at(other, at);
    pair.send(0, to(at), 1);
    pair.until(|p| p.sent() == 1);
    for port in 1..100 {
        pair.cores[0].alias(conn, port);
    }
    pair.spread();
    let count: usize = pair.cores.iter().map(|c| c.aliases.len()).sum();
    assert_eq!(count, usize::from(STREAM_ALIAS_COUNT_MAX));
}

#[test]
fn the_kernel_looks_after_a_peer_as_the_file_says() {
    let options = |change: fn(&mut TcpOptions)| {
        let mut options = TcpOptions::default();
        change(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        keep_alive(&stream, &options).unwrap();
        let socket = SockRef::from(&stream);
        (
            socket.keepalive().unwrap(),
            socket.tcp_keepalive_time().unwrap().as_secs(),
            socket.tcp_keepalive_interval().unwrap().as_secs(),
            socket.tcp_keepalive_retries().unwrap(),
        )
    };
    let (is_on, idle, interval, count) = options(|_| {});
    assert!(is_on);
    assert!(!options(|o| o.keepalive = false).0);
    let set = options(|o| {
        o.keep_idle = Some(Duration::from_secs(11));
        o.keep_interval = Some(Duration::from_secs(12));
        o.keep_count = Some(3);
    });
    assert_eq!(set, (true, 11, 12, 3));
    let some = options(|o| o.keep_count = Some(4));
    assert_eq!(some, (true, idle, interval, 4));
    assert_ne!((idle, interval, count), (11, 12, 3));
}

#[test]
fn a_connection_may_leave_from_the_port_that_is_listened_on() {
    let own = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    own.set_reuse_port(true).unwrap();
    own.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    own.listen(1).unwrap();
    let own_at = own.local_addr().unwrap().as_socket().unwrap();
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    for reuse_port in [true, false] {
        let options = TcpOptions {
            reuse_port,
            tos: Some(0x08),
            ..TcpOptions::default()
        };
        let stream = begin_connect(own_at, peer.local_addr().unwrap(), &options).unwrap();
        let (_accepted, from) = peer.accept().unwrap();
        assert_eq!(from == own_at, reuse_port, "{from} {own_at}");
        assert_eq!(SockRef::from(&stream).tos_v4().unwrap(), 0x08);
    }
    // Where the port is not to be had, any other does.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = TcpOptions {
        reuse_port: true,
        ..TcpOptions::default()
    };
    let (at, to) = (taken.local_addr().unwrap(), peer.local_addr().unwrap());
    let _stream = begin_connect(at, to, &options).unwrap();
    assert_ne!(peer.accept().unwrap().1, at);
}

#[test]
fn no_connection_is_opened_where_none_may_be() {
    let mut pair = Pair::new(|options| options.no_connect = true);
    let (_listener, remote) = listener_at(1);
    pair.send(0, to(remote), 1);
    pair.until(|p| p.failed.len() == 1);
    assert_eq!(pair.opened(), 0);
}

#[test]
fn what_cannot_leave_is_told_to_the_core_that_asked() {
    let mut pair = Pair::new(|options| options.max_connections = 1);
    let nowhere = nowhere_at(1);
    pair.send(0, to(nowhere), 1);
    pair.until(|p| p.failed.len() == 1);
    let no_connect = Destination {
        no_connect: true,
        ..to(nowhere)
    };
    pair.send(0, no_connect, 2);
    pair.until(|p| p.failed.len() == 2);
    let (_listener, remote) = listener_at(1);
    let (_other, second) = listener_at(0);
    pair.send(0, to(remote), 3);
    pair.until(|p| p.sent() == 1);
    pair.send(0, to(second), 4);
    pair.until(|p| p.failed.len() == 3);
    let expected = [1, 2, 4].map(|n| {
        let asker = Asker {
            core: ShardId(0),
            token: make_token(n),
        };
        (asker, SendError::NotConnected)
    });
    assert_eq!(pair.failed, expected);
    assert_eq!(pair.closed, [], "what never opened does not close");
}

#[test]
fn a_peer_that_does_not_read_loses_its_connection_and_no_other() {
    let mut pair = Pair::new(|_| {});
    let (_stuck, remote) = listener_at(0);
    let (_good, other) = listener_at(0);
    pair.send(0, to(other), 0);
    pair.send(0, to(remote), 0);
    pair.until(|p| p.sent() == 2);
    let big: Rc<[u8]> = vec![b'x'; 60_000].into();
    let mut count = 0;
    while pair.cores[0].counters.stream_stuck == 0 {
        let out = Outgoing::new(to(remote), big.clone(), None);
        pair.cores[0].send(out, pair.now);
        pair.spread();
        count += 1;
        assert!(count < 1_000, "60 MB wait and nobody minds");
    }
    assert_eq!(pair.closed.len(), 1);
    pair.send(0, to(other), 0);
    pair.until(|p| p.sent() >= 3);
    assert_eq!(pair.opened(), 2, "the other one is still there");
}

#[test]
fn deadlines_follow_what_a_stream_does() {
    let mut pair = Pair::new(|_| {});
    let (_listener, remote) = listener_at(0);
    pair.send(0, to(remote), 0);
    // It is opening: the bound is that of opening, and afterwards that of idleness.
    assert_eq!(
        pair.cores[0].next_deadline(),
        Some(pair.now + Duration::from_secs(10))
    );
    pair.until(|p| p.sent() == 1);
    for (second, is_open) in [(10, true), (119, true), (120, false)] {
        pair.now = Instant::ZERO + Duration::from_secs(second);
        pair.cores[0].expire(pair.now);
        pair.spread();
        assert_eq!(pair.closed.is_empty(), is_open, "at second {second}");
    }
    assert_eq!(pair.cores[0].counters.stream_idle, 1);
    assert_eq!(pair.cores[0].next_deadline(), None);
}

/// A stream that was lent is neither read nor written nor forgotten; what came meanwhile is there
/// when it comes back.
#[test]
fn a_lent_stream_rests() {
    let mut pair = Pair::new(|_| {});
    let (mut client, core) = pair.accept_one();
    let post = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    client.write_all(&[post.as_slice(), post].concat()).unwrap();
    pair.until(|pair| pair.received.len() == 1);
    let flow = pair.received[0].0;
    let conn = flow.conn.unwrap();
    let key = Key::from_u64(conn.key);
    pair.send(core, Destination::along(flow), 1);
    let command = || {
        Box::new(HttpCommand {
            conn,
            command: b"{}".as_slice().into(),
            frame: Default::default(),
        })
    };
    let lent = pair.cores[core].lend(command()).unwrap();
    assert_eq!(lent.unsent, MESSAGE, "what waited goes along");
    let ignored = |_: Flow, _: Brought<'_>| panic!("a lent stream is not read");
    assert!(!pair.cores[core].bring(key, pair.now, ignored));
    // Long after its lifetime it is still lent.
    pair.now += Duration::from_secs(1_000);
    pair.cores[core].expire(pair.now);
    assert!(pair.closed.is_empty());
    pair.cores[core].give_back(conn, true, pair.now);
    let mut second = vec![];
    let more = pair.cores[core].bring(key, pair.now, |_, brought| {
        let (Brought::Message(bytes) | Brought::Http(bytes)) = brought;
        second.push(bytes.to_vec());
    });
    assert_eq!((more, second), (true, vec![post.to_vec()]));
    // Whoever had it this time has lost it.
    drop(pair.cores[core].lend(command()).unwrap());
    pair.now += Duration::from_secs(1_000);
    pair.cores[core].expire(pair.now);
    pair.until(|pair| pair.closed.len() == 1);
    assert_eq!(pair.closed, [conn]);
}

#[test]
fn a_client_of_http_is_told_why_it_is_refused() {
    let mut pair = Pair::new(|_| {});
    let (mut client, _) = pair.accept_one();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    pair.until(|pair| pair.closed.len() == 1);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 411 Length Required\r\n"),
        "{text}"
    );
}
