//! The message path: what one message, and one whole call, cost from bytes to bytes.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use dialcore::effect::{Effect, Flow, Outbox, Proto, SocketId};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::sip::{Message, scan};
use dialcore::steer::ShardId;
use dialcore::time::{Duration, Instant, Now, WallTime};

use crate::bodies::fold;

const CFG: &str = include_str!("../src/default.cfg");

/// What `perf compare` runs: every call is a dialog and member of a profile.
const DIALOG_CFG: &str = include_str!("../perf/dialog.cfg");

/// An INVITE as phones send them: 12 header fields, SDP, about 750 bytes.
pub(crate) const INVITE: &str = "INVITE sip:bob@192.0.2.2:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK@CALL@\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
    To: <sip:bob@biloxi.example.com>\r\n\
    Call-ID: @CALL@-3848276298220188511@atlanta.example.com\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1:5060>\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY\r\n\
    Supported: replaces, timer\r\n\
    User-Agent: Example Phone 1.2.3\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 165\r\n\r\n\
    v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
    t=0 0\r\nm=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=x\r\n";

/// Call-ID found as steering does.
pub(crate) fn scan_call_id(iterations: u64) -> u64 {
    (0..iterations).fold(0, |hash, _| {
        let found = scan::call_id(black_box(INVITE.as_bytes()));
        fold(hash, found.map_or(0, <[u8]>::len) as u64)
    })
}

/// A message read into memory that another has left.
pub(crate) fn parse(iterations: u64) -> u64 {
    let mut message = Message::new();
    (0..iterations).fold(0, |hash, _| {
        let is_read = message.read(black_box(INVITE.as_bytes())).is_ok();
        fold(hash, u64::from(is_read) + message.headers().count() as u64)
    })
}

/// A shard, the clock, and what it sent last.
struct Path {
    shard: Shard,
    out: Outbox,
    now: Instant,
    hash: u64,
    /// The last message to the callee and to the caller.
    sent: Vec<Vec<u8>>,
    sent_count: u64,
}

impl Path {
    fn new() -> Path {
        Path::with(CFG)
    }

    fn with(cfg: &str) -> Path {
        let setup = Setup::from_text(cfg, 1).expect("the configuration is good");
        let shard = Shard::new(ShardId(0), Arc::new(setup), 1);
        Path {
            shard,
            out: Outbox::new(),
            now: Instant::ZERO,
            hash: 0,
            sent: vec![vec![]; 2],
            sent_count: 0,
        }
    }

    fn clock(&self) -> Now {
        Now {
            mono: self.now,
            wall: WallTime::from_micros(1_700_000_000_000_000),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.shard.handle(self.clock(), input, &mut self.out);
        for effect in self.out.drain() {
            if let Effect::Send(send) = effect {
                self.hash = fold(self.hash, send.bytes.len() as u64);
                let side = usize::from(send.to.remote.ip() == caller().ip());
                self.sent_count += 1;
                self.sent[side].clear();
                self.sent[side].extend_from_slice(&send.bytes);
            }
        }
    }

    fn receive(&mut self, remote: SocketAddr, bytes: &[u8]) {
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote,
            conn: None,
        };
        self.input(Input::Received { flow, bytes });
    }

    /// Lets every timer run out that is due within this time.
    fn wait(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some((at, _)) = self.shard.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = at;
            self.input(Input::Deadline);
        }
        self.now = end;
    }
}

fn caller() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

fn callee() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 5060))
}

/// The messages of a call as its ends write them. Bytes are put together without format!, so
/// that the test's own share stays small.
fn write(call: u64, text: &str, out: &mut Vec<u8>) {
    out.clear();
    let mut digits = [b'0'; 8];
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit = b'0' + (call / 10u64.pow(7 - i as u32) % 10) as u8;
    }
    let mut done = 0;
    for at in memchr::memchr_iter(b'@', text.as_bytes()) {
        if text.as_bytes()[at..].starts_with(b"@CALL@") {
            out.extend_from_slice(&text.as_bytes()[done..at]);
            out.extend_from_slice(&digits);
            done = at + 6;
        }
    }
    out.extend_from_slice(&text.as_bytes()[done..]);
}

/// A response to a request that came in, by its header fields.
pub(crate) fn respond(request: &[u8], status: &str, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(b"SIP/2.0 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut rest = request;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(end + 1);
        rest = behind;
        let wanted: &[&[u8]] = match line[0] {
            b'V' => &[b"Via:"],
            b'R' => &[b"Record-Route:"],
            b'F' => &[b"From:"],
            b'C' => &[b"Call-ID:", b"CSeq:"],
            _ => &[],
        };
        if wanted.iter().any(|name| line.starts_with(name)) {
            out.extend_from_slice(line);
        } else if line.starts_with(b"To:") {
            let has_tag =
                memchr::memchr_iter(b';', line).any(|at| line[at..].starts_with(b";tag="));
            out.extend_from_slice(&line[..line.len() - 2]);
            if !has_tag {
                out.extend_from_slice(b";tag=callee");
            }
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"Contact: <sip:bob@192.0.2.2:5060>\r\nContent-Length: 0\r\n\r\n");
}

/// The Route field of the caller's later requests, from the INVITE that the callee got.
fn route_of(invite: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut lines = invite.split_inclusive(|b| *b == b'\n');
    if let Some(line) = lines.find_map(|line| line.strip_prefix(b"Record-")) {
        out.extend_from_slice(line);
    }
}

const WITHIN: &str = "@METHOD@ sip:bob@192.0.2.2:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK@METHOD@@CALL@\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
    To: <sip:bob@biloxi.example.com>;tag=callee\r\n\
    Call-ID: @CALL@-3848276298220188511@atlanta.example.com\r\n\
    CSeq: @CSEQ@ @METHOD@\r\n\
    Content-Length: 0\r\n\r\n";

/// INVITE 100 180 200 ACK BYE 200: six messages in, seven out, and the timers of both
/// transactions.
pub(crate) fn call(iterations: u64) -> u64 {
    calls(Path::new(), iterations)
}

/// The same with a dialog that is member of a profile.
pub(crate) fn dialog_call(iterations: u64) -> u64 {
    let cfg = DIALOG_CFG
        .replace("@PORT@", "5060")
        .replace("@CALLEE@", "192.0.2.2:5060")
        .replace("@FOLDER@", "/tmp")
        .replace("@CORES@", "1");
    calls(Path::with(&cfg), iterations)
}

fn calls(mut path: Path, iterations: u64) -> u64 {
    let (mut bytes, mut route) = (vec![], vec![]);
    let ack = WITHIN.replace("@METHOD@", "ACK").replace("@CSEQ@", "1");
    let bye = WITHIN.replace("@METHOD@", "BYE").replace("@CSEQ@", "2");
    for n in 0..iterations {
        write(n, INVITE, &mut bytes);
        path.receive(caller(), &bytes);
        route_of(&path.sent[0], &mut route);
        for status in ["180 Ringing", "200 OK"] {
            respond(&path.sent[0], status, &mut bytes);
            path.receive(callee(), &bytes);
        }
        for text in [&ack, &bye] {
            write(n, text, &mut bytes);
            let at = bytes
                .iter()
                .position(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            bytes.splice(at..at, route.iter().copied());
            path.receive(caller(), &bytes);
        }
        respond(&path.sent[0], "200 OK", &mut bytes);
        path.receive(callee(), &bytes);
        path.wait(Duration::from_millis(100));
    }
    path.wait(Duration::from_secs(60));
    assert!(path.shard.is_idle(), "every call is over");
    assert_eq!(
        path.sent_count,
        7 * iterations,
        "100 INVITE 180 200 ACK BYE 200"
    );
    path.hash
}

/// A request relayed on a transaction of its own, and its answer; timers included.
pub(crate) fn relay_request(iterations: u64) -> u64 {
    let (mut path, mut bytes) = (Path::new(), vec![]);
    let message = INVITE.replace("INVITE", "MESSAGE");
    for n in 0..iterations {
        write(n, &message, &mut bytes);
        path.receive(caller(), &bytes);
        respond(&path.sent[0], "200 OK", &mut bytes);
        path.receive(callee(), &bytes);
        path.wait(Duration::from_millis(100));
    }
    assert_eq!(path.sent_count, 2 * iterations, "MESSAGE 200");
    path.hash
}

/// A provisional response relayed.
pub(crate) fn relay_response(iterations: u64) -> u64 {
    let (mut path, mut bytes) = (Path::new(), vec![]);
    write(0, INVITE, &mut bytes);
    path.receive(caller(), &bytes);
    respond(&path.sent[0], "180 Ringing", &mut bytes);
    for _ in 0..iterations {
        path.receive(callee(), black_box(&bytes));
    }
    assert_eq!(path.sent_count, 2 + iterations, "100 INVITE, then each 180");
    path.hash
}
