//! The fuzz bodies of the wire layer under a seeded driver: a bounded run on every test, the same
//! bodies that `fuzz/` feeds to a coverage-guided fuzzer without end.
//!
//! A body asserts what must hold for any bytes. `SEED=..` repeats a run, `ROUNDS=..` lengthens it.

use std::fs;
use std::path::Path;

use dialcore::modules::rpc::{binrpc, json};
use dialcore::rng::Rng;
use dialcore::sip::{edit, frame, http, message, scan, uri};

/// Messages for each body; the scan is held against the parser on as many.
const ROUNDS: u32 = 20_000;

/// What tears grammars: separators, quotes, line ends, and pieces of fields.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n ",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"=",
    b"@",
    b"%",
    b"[",
    b"\0",
    b"\xff",
    b"\r\n\r\n",
    b"Call-ID: x\r\n",
    b"i:\r\n y\r\n",
    b"l: 3\r\n",
    b"v: SIP/2.0/UDP h,",
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    for directory in ["tests/wire", "../shared/data/torture"] {
        let entries = fs::read_dir(root.join(directory)).expect("the messages are there");
        let paths = entries.map(|entry| entry.expect("readable").path());
        let is_message = |p: &Path| p.extension().is_some_and(|e| e == "sip" || e == "dat");
        files.extend(paths.filter(|path| is_message(path)));
    }
    // The order of a directory is not ours; a run must repeat.
    files.sort();
    files
        .iter()
        .map(|path| fs::read(path).expect("readable"))
        .collect()
}

/// One of the corpus with a few changes: bytes, pieces, deletions, repetitions, parts of others.
fn mutated(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut Rng, bound: usize| rng.below(bound.max(1) as u32) as usize;
    let mut bytes = corpus[pick(rng, corpus.len())].clone();
    for _ in 0..1 + rng.below(6) {
        // Most grammar stands in the header: two in three changes go there.
        let bound = if rng.chance(2, 3) {
            bytes.len().min(400)
        } else {
            bytes.len()
        };
        let at = pick(rng, bound);
        let end = (at + pick(rng, 24)).min(bytes.len());
        let piece = PIECES[pick(rng, PIECES.len())].to_vec();
        match rng.below(7) {
            0 if !bytes.is_empty() => bytes[at] = rng.next_u64() as u8,
            0 | 1 => drop(bytes.splice(at..at, piece)),
            2 => drop(bytes.splice(at..end, piece)),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(end),
            5 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            _ => {
                let other = &corpus[pick(rng, corpus.len())];
                let from = pick(rng, other.len());
                let to = (from + pick(rng, 80)).min(other.len());
                drop(bytes.splice(at..at, other[from..to].iter().copied()));
            }
        }
    }
    bytes
}

/// Runs a body on mutations of the corpus; a failure names the seed and the round.
fn drive(salt: u64, rounds: u64, body: fn(&[u8]), cut: fn(&mut Rng, Vec<u8>) -> Vec<u8>) {
    struct Round(u64, u64);
    impl Drop for Round {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("SEED={} failed in round {}", self.0, self.1);
            }
        }
    }
    let seed = number("SEED", 1);
    let (mut rng, corpus) = (Rng::new(seed ^ salt << 32), corpus());
    let mut at = Round(seed, 0);
    for round in 0..number("ROUNDS", rounds) {
        at.1 = round;
        let bytes = mutated(&mut rng, &corpus);
        body(&cut(&mut rng, bytes));
    }
}

fn whole(_: &mut Rng, bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// What stands between two blanks or brackets, where URIs stand.
fn one_word(rng: &mut Rng, bytes: Vec<u8>) -> Vec<u8> {
    let is_end = |b: &u8| matches!(b, b' ' | b'<' | b'>' | b'\r' | b'\n');
    let words: Vec<&[u8]> = bytes
        .split(is_end)
        .filter(|word| word.contains(&b':'))
        .collect();
    let word = words.get(rng.below(words.len().max(1) as u32) as usize);
    word.copied().unwrap_or_default().to_vec()
}

/// A short run of bytes; the plan of an edit is drawn from them.
fn short(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(rng.below(160) as usize);
    bytes
}

/// A piece size and a message with what may follow it in a stream.
fn stream(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.insert(0, rng.next_u64() as u8);
    if rng.chance(1, 3) {
        bytes.extend_from_within(1..);
    }
    bytes
}

#[test]
fn messages() {
    drive(1, u64::from(ROUNDS) / 4, message::fuzz_message, whole);
}

#[test]
fn scan_agrees_with_parse() {
    drive(2, ROUNDS.into(), scan::fuzz_scan, whole);
}

#[test]
fn uris() {
    drive(3, ROUNDS.into(), uri::fuzz_uri, one_word);
}

#[test]
fn frames() {
    drive(4, u64::from(ROUNDS) / 8, frame::fuzz_frame, stream);
}

#[test]
fn edits() {
    drive(5, u64::from(ROUNDS) / 4, edit::fuzz_edits, short);
}

/// Packets and documents that operators send, to be torn.
fn command(rng: &mut Rng, bytes: Vec<u8>) -> Vec<u8> {
    const SEEDS: [&[u8]; 5] = [
        b"\xa1\x03\x0f\x11\x22\x33\x44\x91\x0dcore.version\0",
        b"\xa1\x00\x15\x07\x21x\0\x40\xff\xff\xff\xff\x22\x09\xc4\x31\x37\x37\0\x03\x25a\0\x10\x01\
          \x83",
        b"\xa1\x10\x0c\x01\x03\x45all\0\x03\x21x\0\x83\x83",
        br#"{"jsonrpc":"2.0","method":"core.echo","params":["a\"\ud83d\ude00",1,2.5],"id":1}"#,
        br#"{"a":{"b":[1,[2],{}],"c":null},"reply_name":"x","id":"q"}{"#,
    ];
    tear(&SEEDS, rng, bytes)
}

/// One of these with something put in and a few bytes changed.
fn tear(seeds: &[&[u8]], rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    let seed = seeds[rng.below(seeds.len() as u32) as usize];
    bytes.truncate(rng.below(8) as usize);
    let at = rng.below(seed.len() as u32 + 1) as usize;
    let mut torn = [&seed[..at], &bytes[..], &seed[at..]].concat();
    for _ in 0..rng.below(4) {
        let at = rng.below(torn.len() as u32) as usize;
        torn[at] = rng.next_u64() as u8;
    }
    torn
}

#[test]
fn binary_rpc() {
    drive(6, ROUNDS.into(), binrpc::fuzz_binrpc, command);
}

#[test]
fn json_rpc() {
    drive(7, ROUNDS.into(), json::fuzz_json, command);
}

/// Requests of HTTP, torn.
fn http_request(rng: &mut Rng, bytes: Vec<u8>) -> Vec<u8> {
    const SEEDS: [&[u8]; 3] = [
        b"POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]",
        b"GET /a?b HTTP/1.0\r\nVia: 1.1 x, y\r\nExpect: 100-continue\r\n\r\n",
        b"INVITE * HTTP/1.1\nFrom: x\nCall-ID: 1\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
    ];
    tear(&SEEDS, rng, bytes)
}

#[test]
fn http() {
    drive(8, ROUNDS.into(), http::fuzz_http, http_request);
    // The first byte is the size of the pieces in which a stream comes.
    let in_pieces = |rng: &mut Rng, bytes: Vec<u8>| {
        let request = http_request(rng, bytes);
        [&[rng.next_u64() as u8], &request[..]].concat()
    };
    drive(9, ROUNDS.into(), frame::fuzz_frame, in_pieces);
}

#[test]
fn every_prefix_and_every_changed_byte() {
    // Three golden messages that hold folds, lists, quotes and IPv6 between them.
    for name in ["relay_invite.in", "reply_folded.in", "reply_ipv6.in"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join(format!("tests/wire/{name}.sip"));
        let mut bytes = fs::read(path).expect("a golden message");
        for end in 0..bytes.len() {
            message::fuzz_message(&bytes[..end]);
            scan::fuzz_scan(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for changed in b"\0\n\r \"<>,;:=\\[%a0\xff" {
                let was = std::mem::replace(&mut bytes[at], *changed);
                message::fuzz_message(&bytes);
                scan::fuzz_scan(&bytes);
                bytes[at] = was;
            }
        }
    }
}
