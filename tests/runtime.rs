//! The runtime in process, on ports that the system gives, with real sockets and real cores.
//!
//! Nothing waits by sleeping; every wait has a bound, and a test that would hang fails instead.
#![cfg(feature = "runtime")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use dialcore::effect::{Address, Proto};
use dialcore::io::{self, IoError, Plan, Sockets, Stopper};
use dialcore::shard::{Setup, Shard};
use dialcore::steer::ShardId;

const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy that runs in this process until it is stopped.
struct Proxy {
    udp: SocketAddr,
    tcp: SocketAddr,
    stopper: Stopper,
    ended: Receiver<Result<(), IoError>>,
}

/// Makes the shards of a proxy that listens on these addresses.
type Make = Box<dyn FnOnce(Vec<Address>, u16) -> MakeShard>;
type MakeShard = Arc<dyn Fn(ShardId, u64) -> Shard + Send + Sync>;

impl Proxy {
    /// A proxy that runs the built-in configuration's routes.
    fn start() -> Proxy {
        Proxy::start_with(|_| {}, routes())
    }

    fn start_with(change: impl FnOnce(&mut Plan), make: Make) -> Proxy {
        let mut plan = Plan::new(vec![
            local(Proto::Udp, "127.0.0.1:0"),
            local(Proto::Tcp, "127.0.0.1:0"),
        ]);
        plan.log.stderr = true;
        change(&mut plan);
        let sockets = Sockets::bind(&plan).expect("loopback has free ports");
        let (udp, tcp) = (sockets.addresses()[0].local, sockets.addresses()[1].local);
        let stopper = sockets.stopper();
        let make_shard = make(sockets.addresses().to_vec(), sockets.shard_count());
        let make_shard = move |id, seed| make_shard(id, seed);
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(io::run(plan, sockets, make_shard)));
        Proxy {
            udp,
            tcp,
            stopper,
            ended,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn stop(self) -> Result<(), IoError> {
        self.stopper.stop();
        self.end()
    }

    fn end(self) -> Result<(), IoError> {
        self.ended.recv_timeout(PATIENCE).expect("it did not end")
    }
}

fn local(proto: Proto, local: &str) -> Address {
    Address {
        proto,
        local: local.parse().unwrap(),
        advertised: None,
        name: None,
    }
}

fn routes() -> Make {
    Box::new(|addresses, shard_count| {
        let text = include_str!("../src/default.cfg");
        let mut setup = Setup::from_text(text, shard_count).expect("the built-in file is good");
        setup.addresses = addresses;
        let setup = Arc::new(setup);
        Arc::new(move |id, seed| Shard::new(id, Arc::clone(&setup), seed))
    })
}

/// Reads until the peer closes or `size` bytes have come.
fn read(stream: &mut TcpStream, size: usize) -> Vec<u8> {
    let mut bytes = vec![];
    stream.take(size as u64).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn it_stops_when_it_is_asked_and_frees_its_ports() {
    let proxy = Proxy::start();
    let (udp, begin) = (proxy.udp, Instant::now());
    proxy.stop().unwrap();
    assert!(begin.elapsed() < PATIENCE);
    UdpSocket::bind(udp).expect("the port is free again");
}

#[test]
fn a_message_may_be_longer_than_what_is_read_at_once() {
    let proxy = Proxy::start_with(|plan| plan.tcp.read_size = 512, routes());
    let mut stream = proxy.connect();
    let own = stream.local_addr().unwrap();
    let request = format!(
        "OPTIONS sip:{} SIP/2.0\r\nVia: SIP/2.0/TCP {own};branch=z9hG4bKlong\r\n\
         Max-Forwards: 0\r\nFrom: <sip:a@a.test>;tag=1\r\nTo: <sip:b@b.test>\r\n\
         Call-ID: long\r\nCSeq: 1 OPTIONS\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
        proxy.tcp,
        "x".repeat(4_000)
    );
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read(&mut stream, 11);
    assert_eq!(String::from_utf8_lossy(&answer), "SIP/2.0 483");
    drop(stream);
    proxy.stop().unwrap();
}

#[test]
fn a_keep_alive_is_answered_on_every_core() {
    let proxy = Proxy::start();
    // Whichever core accepts, the connection goes to its home; 16 of them have several homes.
    let mut streams: Vec<TcpStream> = (0..16).map(|_| proxy.connect()).collect();
    for stream in &mut streams {
        // RFC 5626 §4.4.1; it may come in pieces.
        stream.write_all(b"\r\n").unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    for stream in &mut streams {
        assert_eq!(read(stream, 2), b"\r\n");
    }
    proxy.stop().unwrap();
    for stream in &mut streams {
        assert_eq!(read(stream, 1), b"", "closed with the process");
    }
}

#[test]
fn a_stream_that_cannot_be_cut_is_closed_and_harms_no_other() {
    let proxy = Proxy::start();
    let (mut bad, mut good) = (proxy.connect(), proxy.connect());
    let no_length = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: x\r\nContent-Length: many\r\n\r\n";
    bad.write_all(no_length).unwrap();
    assert_eq!(read(&mut bad, 1), b"");
    good.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(read(&mut good, 2), b"\r\n");
    proxy.stop().unwrap();
}

#[test]
fn connections_have_a_bound_and_a_lifetime() {
    let proxy = Proxy::start_with(
        |plan| {
            plan.tcp.max_connections = 1;
            plan.tcp.connection_lifetime = dialcore::time::Duration::from_millis(300);
        },
        routes(),
    );
    let mut first = proxy.connect();
    first.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(read(&mut first, 2), b"\r\n");
    let mut second = proxy.connect();
    assert_eq!(read(&mut second, 1), b"", "one too many");
    // Nobody says anything more: its lifetime ends, and there is room again.
    assert_eq!(read(&mut first, 1), b"");
    let mut third = proxy.connect();
    third.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(read(&mut third, 2), b"\r\n");
    proxy.stop().unwrap();
}

#[test]
fn a_core_that_fails_ends_the_process_and_is_named() {
    let proxy = Proxy::start_with(
        |_| {},
        Box::new(|_, _| Arc::new(|_, _| panic!("a defect, on purpose"))),
    );
    match proxy.end() {
        Err(IoError::CoreFailed(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// Bytes of any kind on both transports: nothing a peer sends may end the process.
#[test]
fn no_byte_from_the_network_ends_it() {
    let proxy = Proxy::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = dialcore::rng::Rng::new(9);
    for _ in 0..500 {
        let bytes: Vec<u8> = (0..rng.below(900)).map(|_| rng.next_u64() as u8).collect();
        socket.send_to(&bytes, proxy.udp).unwrap();
        if rng.chance(1, 10) {
            // The other side may have closed it already, which is its right.
            let _ = proxy.connect().write_all(&bytes);
        }
    }
    let mut stream = proxy.connect();
    stream.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(read(&mut stream, 2), b"\r\n");
    proxy.stop().unwrap();
}

/// The torture messages of RFC 4475 by both transports: it answers others afterwards.
#[test]
fn torture_messages_do_not_end_it() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/torture");
    let Ok(files) = fs::read_dir(dir) else { return };
    let proxy = Proxy::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let files = files.filter_map(Result::ok).map(|f| f.path());
    let messages: Vec<Vec<u8>> = files
        .filter(|p| p.extension().is_some_and(|e| e == "dat"))
        .map(|p| fs::read(p).unwrap())
        .collect();
    assert_eq!(messages.len(), 49);
    for bytes in &messages {
        socket.send_to(bytes, proxy.udp).unwrap();
        // A message that breaks the framing costs its connection, which is its right.
        let _ = proxy.connect().write_all(bytes);
    }
    assert_eq!(status_of_options(&proxy), "SIP/2.0 200 Keepalive");
    proxy.stop().unwrap();
}

/// Asks the proxy about itself until it answers: the first answers may be to the torture.
fn status_of_options(proxy: &Proxy) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (here, there) = (socket.local_addr().unwrap(), proxy.udp);
    let text = format!(
        "OPTIONS sip:{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKalive\r\n\
         Max-Forwards: 70\r\nFrom: <sip:t@{here}>;tag=1\r\nTo: <sip:{there}>\r\n\
         Call-ID: alive\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(text.as_bytes(), there).unwrap();
    let mut bytes = [0; 2048];
    let (size, _) = socket.recv_from(&mut bytes).expect("an answer in time");
    String::from_utf8_lossy(&bytes[..size])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
