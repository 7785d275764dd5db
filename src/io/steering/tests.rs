//! The program against the parser, by real datagrams on loopback.
//!
//! A group of sockets is opened, the program put on it, and datagrams of every ugly form sent to
//! it. Each has to come out of the socket whose number `sip::scan` and `steer::owner` give (what
//! the mesh and the simulator compute), and where the parser reads a message, its Call-ID too.
//! Where the kernel does not let this process load programs, the tests say so and pass.

use std::net::{SocketAddr, UdpSocket};

use super::Group as Program;
use crate::io::sys::{Interest, Poll};
use crate::limits::HEADER_COUNT_MAX;
use crate::rng::Rng;
use crate::sip::name::HeaderName;
use crate::sip::{Message, scan};
use crate::steer;

/// Datagrams that are under way together: no receive buffer is full of them.
const FLIGHT: usize = 16;

/// Sockets of one address with the program on them.
struct Group {
    sockets: Vec<UdpSocket>,
    source: UdpSocket,
    poll: Poll,
}

impl Group {
    /// `None`, and a line that says why, where this process may not steer.
    fn open(local: &str, count: u16) -> Option<Group> {
        let mut local: SocketAddr = local.parse().unwrap();
        let source = UdpSocket::bind((local.ip(), 0)).unwrap();
        let mut program = match Program::load(count) {
            Ok(program) => Some(program),
            Err(refusal) if refusal.error.raw_os_error() == Some(libc::EPERM) => {
                eprintln!("not tested: {refusal}");
                return None;
            }
            Err(refusal) => panic!("{refusal}\n{}", refusal.words),
        };
        let sockets: Vec<UdpSocket> = (0..count)
            .map(|core| {
                let socket = shared_socket(local);
                if core == 0 {
                    program = program.take().map(|p| p.lead(&socket).unwrap());
                }
                socket.bind(&local.into()).unwrap();
                program = program.take().map(|p| p.join(core, &socket).unwrap());
                let socket = UdpSocket::from(socket);
                local = socket.local_addr().unwrap();
                socket
            })
            .collect();
        let poll = Poll::new().unwrap();
        for (tag, socket) in (0..).zip(&sockets) {
            poll.add(socket, tag, Interest::READ).unwrap();
        }
        Some(Group {
            sockets,
            source,
            poll,
        })
    }

    fn local(&self) -> SocketAddr {
        self.sockets[0].local_addr().unwrap()
    }

    /// Sends them and says, for each socket, what came out of it in order.
    fn carry(&self, datagrams: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        let mut came = vec![vec![]; self.sockets.len()];
        let mut bytes = vec![0; 65_536];
        for flight in datagrams.chunks(FLIGHT) {
            for datagram in flight {
                self.source.send_to(datagram, self.local()).unwrap();
            }
            let mut left = flight.len();
            let mut ready = vec![];
            while left > 0 {
                self.poll.wait(Some(5_000), &mut ready).unwrap();
                assert!(!ready.is_empty(), "{left} datagrams are lost");
                for event in &ready {
                    let socket = event.tag as usize;
                    let size = self.sockets[socket].recv(&mut bytes).unwrap();
                    came[socket].push(bytes[..size].to_vec());
                    left -= 1;
                }
            }
        }
        came
    }

    /// Sends them and holds the kernel's choices against the law.
    fn check(&self, datagrams: &[Vec<u8>]) {
        let mut want = vec![vec![]; self.sockets.len()];
        for datagram in datagrams {
            want[self.owner(datagram)].push(datagram.clone());
        }
        let came = self.carry(datagrams);
        for (socket, came) in came.iter().enumerate() {
            for datagram in came {
                let owner = self.owner(datagram);
                let text = datagram.escape_ascii();
                assert_eq!(socket, owner, "of {}: {text}", self.sockets.len());
            }
        }
        assert!(came == want, "datagrams were lost, changed or overtook");
    }

    fn owner(&self, datagram: &[u8]) -> usize {
        let call_id = scan::call_id(datagram).unwrap_or_default();
        steer::owner(call_id, self.sockets.len() as u16).0.into()
    }
}

fn shared_socket(local: SocketAddr) -> socket2::Socket {
    let domain = socket2::Domain::for_address(local);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// One of the texts.
fn one<'a>(rng: &mut Rng, texts: &[&'a str]) -> &'a str {
    texts[rng.below(texts.len() as u32) as usize]
}

const NAMES: &[&str] = &["Call-ID", "call-id", "CALL-ID", "cAlL-Id", "i", "I"];

/// What may stand between name and colon.
const BEFORE_COLON: &[&str] = &["", "", "", " ", "\t", " \t  "];

/// What may stand around a value.
const BLANKS: &[&str] = &[
    "",
    " ",
    " ",
    "\t",
    "  \t ",
    "\r\n ",
    "\n\t",
    " \r\n  \r\n\t ",
    "\r",
    "\r\r\n ",
];

/// Lines that are not a Call-ID, however much they look like one.
const DECOYS: &[&str] = &[
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds",
    "v:SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK7\r\n ;rport",
    "From: \"Call-ID: no\" <sip:alice@example.com>;tag=1928301774",
    "To: Bob <sip:bob@example.com>",
    "CSeq: 314159 INVITE",
    "Contact: <sip:alice@192.0.2.1;i=1>",
    "X-Call-ID: no",
    "X-i: no",
    "Call-ID2: no",
    "Call-IDs : no",
    "Call-I: no",
    "Call_ID: no",
    "Call\rID: no",
    "Call ID: no",
    "Call-\x7fD: no",
    "i2: no",
    "i;x: no",
    "ii: no",
    "Call-ID no: no",
    "Call-ID",
    "Call-ID\r\n : no",
    "i\r\n\t: no",
    "\rCall-ID: no",
    ": no",
    "no colon at all",
    "Subject: Call-ID: no",
    "Subject:\r\n Call-ID: no",
    "Subject: a\n\ti: no",
    "Subject: a\r\n \r\n i: no",
    "In-Reply-To: no@192.0.2.1",
    "Content-Type: application/sdp",
    "",
];

/// What may stand before the start line, which is nothing most of the time.
const BEFORE: &[&str] = &["", "", "", "", "\r\n", "\r\n\r\n", "\n\r\r\n"];

/// The last ones are no messages.
const START_LINES: &[&str] = &[
    "INVITE sip:bob@example.com SIP/2.0\r\n",
    "SIP/2.0 180 Ringing\r\n",
    "OPTIONS sip:i:Call-ID@example.com SIP/2.0\n",
    "Call-ID: first line\r\n",
    "REGISTER sip:a SIP/2.0\r\n Call-ID: no\r\n",
    "NO END OF LINE ",
];

/// A message, or something that hurts the eye.
fn datagram(rng: &mut Rng) -> Vec<u8> {
    let mut out = one(rng, BEFORE).to_owned();
    let is_good = !rng.chance(1, 20);
    out += one(
        rng,
        if is_good {
            &START_LINES[..3]
        } else {
            START_LINES
        },
    );
    let mut bytes = out.into_bytes();
    // Without this one it is not a message, and the parser has nothing to say.
    if rng.chance(4, 5) {
        bytes.extend(b"v: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKa\r\n");
    }
    for _ in 0..rng.below(8) {
        line(rng, &mut bytes);
    }
    if rng.chance(1, 60) {
        bytes.extend(b"Via: ");
        bytes.extend((0..rng.below(6_000)).map(|n| b'a' + (n % 26) as u8));
        bytes.extend(b"\r\n");
    }
    if !rng.chance(1, 50) {
        call_id(rng, &mut bytes);
    }
    for _ in 0..rng.below(4) {
        line(rng, &mut bytes);
    }
    if rng.chance(1, 10) {
        call_id(rng, &mut bytes);
    }
    if !rng.chance(1, 10) {
        bytes.extend(b"\r\nCall-ID: in the body\r\n");
    }
    bytes
}

fn line(rng: &mut Rng, bytes: &mut Vec<u8>) {
    // The empty line ends the header, so it is rare.
    let decoys = DECOYS.len() - usize::from(!rng.chance(1, 4));
    bytes.extend(one(rng, &DECOYS[..decoys]).as_bytes());
    bytes.extend(one(rng, &["\r\n", "\r\n", "\r\n", "\n"]).as_bytes());
}

fn call_id(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for part in [NAMES, BEFORE_COLON, &[":"], BLANKS] {
        bytes.extend(one(rng, part).as_bytes());
    }
    let size = match rng.below(100) {
        0..=1 => rng.below(3_000),
        2..=9 => rng.below(300),
        10..=13 => 0,
        _ => 1 + rng.below(70),
    };
    for _ in 0..size {
        match rng.below(200) {
            0 => bytes.extend(one(rng, BLANKS).as_bytes()),
            1 => bytes.push(rng.next_u64() as u8),
            _ => bytes.push(one(rng, &["a", "F", "0", "7", "@", ".", "-", ":", "_"]).as_bytes()[0]),
        }
    }
    bytes.extend(one(rng, BLANKS).as_bytes());
    bytes.extend(one(rng, &["\r\n", "\r\n", "\r\n", "\n", " \r\n"]).as_bytes());
}

#[test]
fn kernel_mesh_and_parser_agree_on_ugly_call_ids() {
    const COUNT: usize = 100_000;
    let groups = [
        ("127.0.0.1:0", 2),
        ("127.0.0.1:0", 3),
        ("[::1]:0", 7),
        ("127.0.0.1:0", 64),
    ];
    let mut rng = Rng::new(20);
    let (mut read, mut found) = (0, 0);
    for (local, sockets) in groups {
        let Some(group) = Group::open(local, sockets) else {
            return;
        };
        let datagrams: Vec<Vec<u8>> = (0..COUNT / groups.len())
            .map(|_| datagram(&mut rng))
            .collect();
        group.check(&datagrams);
        for bytes in &datagrams {
            let scanned = scan::call_id(bytes);
            found += usize::from(scanned.is_some());
            if let Ok(message) = Message::parse(bytes) {
                read += 1;
                let parsed = message
                    .first(HeaderName::CallId)
                    .map(|h| message.text(h.value));
                assert_eq!(scanned, parsed, "{}", bytes.escape_ascii());
            }
        }
    }
    // What is generated must not drift to where nothing is to be found.
    assert!(
        found > COUNT / 2 && read > COUNT / 2,
        "{found} found, {read} read"
    );
}

#[test]
fn every_place_of_a_call_id_and_every_cut_is_read_right() {
    let Some(group) = Group::open("127.0.0.1:0", 5) else {
        return;
    };
    let mut datagrams: Vec<Vec<u8>> = vec![];
    // The name at every distance from the edges of a window, and values that end at every one.
    for n in 0..200 {
        let pad = "v".repeat(n);
        datagrams.push(format!("A b SIP/2.0\r\nX: {pad}\r\nCall-ID: {n}@a\r\n\r\n").into());
        datagrams.push(format!("A b SIP/2.0\r\nX:{pad}\r\n i: no\r\ni\t:\r\n {n}\r\n\r\n").into());
        datagrams.push(format!("A b SIP/2.0\r\ni: {pad}{n}\r\n  \r\n x \r\n\t\r\n\r\n").into());
        datagrams.push(format!("A b SIP/2.0\r\nCall-ID{}: {n}\r\n", " ".repeat(n)).into());
        datagrams.push(format!("{}A b SIP/2.0\r\nI: {n}\r\n", "\r\n".repeat(n)).into());
    }
    let whole = b"A b SIP/2.0\r\nVia: c\r\n d\r\ncall-id \t: \r\n\t e f\r\n g \r\n\r\nbody";
    datagrams.extend((0..=whole.len()).map(|n| whole[..n].to_vec()));
    group.check(&datagrams);
}

#[test]
fn what_the_parser_counts_or_measures_is_measured_alike() {
    let Some(group) = Group::open("127.0.0.1:0", 9) else {
        return;
    };
    let header = |lines: usize, call_id: &str| {
        format!(
            "A b SIP/2.0\r\n{}Call-ID: {call_id}\r\n\r\n",
            "X: y\r\n".repeat(lines)
        )
        .into()
    };
    let mut datagrams: Vec<Vec<u8>> = vec![];
    for n in 0..40 {
        datagrams.push(header(HEADER_COUNT_MAX - 1, &n.to_string()));
        datagrams.push(header(HEADER_COUNT_MAX, &n.to_string()));
        // Long enough to come in several pieces, and a Call-ID that is nearly all of it.
        let long = "z".repeat(60_000 + n);
        datagrams.push(format!("A b SIP/2.0\r\nX: {long}\r\ni: {n}\r\n\r\n").into());
        datagrams.push(format!("A b SIP/2.0\r\ni: {long}{n}\r\n\r\n").into());
    }
    datagrams.push("\r\n".repeat(30_000).into());
    for chunk in datagrams.chunks(4) {
        group.check(chunk);
    }
}

#[test]
fn what_cannot_be_decided_goes_to_one_place() {
    let Some(group) = Group::open("127.0.0.1:0", 6) else {
        return;
    };
    // Lines that are no fields: the parser does not count them, the program does.
    let lines = "no colon\r\n".repeat(HEADER_COUNT_MAX + 1);
    let datagrams: Vec<Vec<u8>> = (0..100)
        .map(|n| format!("A b SIP/2.0\r\n{lines}i: {n}\r\n\r\n").into())
        .collect();
    let came = group.carry(&datagrams);
    let fixed = usize::from(steer::owner(b"", 6).0);
    assert_eq!(came[fixed].len(), 100);
}

#[test]
fn any_number_of_sockets_can_be_steered() {
    let mut rng = Rng::new(21);
    for count in [1, 2, 4, 12, 96, 128, 250] {
        let Some(group) = Group::open("127.0.0.1:0", count) else {
            return;
        };
        let datagrams: Vec<Vec<u8>> = (0..500).map(|_| datagram(&mut rng)).collect();
        group.check(&datagrams);
    }
}

#[test]
fn a_restart_finds_nothing_of_the_process_before() {
    let Some(group) = Group::open("127.0.0.1:0", 3) else {
        return;
    };
    let local = group.local();
    let mut rng = Rng::new(22);
    let datagrams: Vec<Vec<u8>> = (0..200).map(|_| datagram(&mut rng)).collect();
    group.check(&datagrams);
    drop(group);
    for count in [5, 2] {
        let Some(group) = Group::open(&local.to_string(), count) else {
            panic!("the second start may do what the first one could");
        };
        group.check(&datagrams);
    }
}

#[test]
fn a_socket_that_is_gone_loses_no_datagram() {
    let Some(mut group) = Group::open("127.0.0.1:0", 4) else {
        return;
    };
    drop(group.sockets.pop());
    let datagrams: Vec<Vec<u8>> = (0..200)
        .map(|n| format!("A b SIP/2.0\r\ni: {n}\r\n\r\n").into())
        .collect();
    let came = group.carry(&datagrams);
    assert_eq!(came.iter().map(Vec::len).sum::<usize>(), 200);
}
