//! Very many dialogs, listed and dumped while they are held: complete, valid, in slices that hold
//! up nobody, and with an answer that is never in memory as a whole.
//!
//! A debug build holds some thousands; `DIALCORE_DIALOGS=1000000 cargo test --release --test
//! listing -- --nocapture` holds a million and shows the figures.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use dialcore::effect::{Outbox, Proto};
use dialcore::io::{self, ControlSocket, IoError, Plan, Sockets, Stopper};
use dialcore::limits::RPC_SLICE_ITEM_COUNT_MAX;
use dialcore::modules::dialog::identity::{DialogId, call_id_hash};
use dialcore::modules::dialog::leg::Leg;
use dialcore::modules::dialog::state::State;
use dialcore::modules::dialog::strings::{Field, Strings};
use dialcore::modules::dialog::table::Birth;
use dialcore::modules::rpc::binrpc::{self, Kind};
use dialcore::modules::rpc::{Value, json};
use dialcore::shard::{Setup, Shard};
use dialcore::steer::{self, ShardId};
use dialcore::time::Now;

/// How long any one answer may take, a million dialogs and a debug build included.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the process may grow by while an answer of any length is given.
const GROWTH_MAX: u64 = 64 << 20;

const SHARD_COUNT: u16 = 2;

/// How many dialogs are held.
fn count() -> u32 {
    let wanted = std::env::var("DIALCORE_DIALOGS").ok();
    wanted.map_or(20_000, |text| {
        text.parse().expect("DIALCORE_DIALOGS is a number")
    })
}

fn call_id(n: u32) -> String {
    format!("{n:010}-4242-0123456789@198.51.100.17")
}

/// A confirmed dialog with strings as long as they are in the field.
fn add(shard: &mut Shard, setup: &Setup, n: u32) {
    let mut strings = Strings::default();
    let call_id = call_id(n);
    let fits = strings.set(&[
        (Field::CallId, call_id.as_bytes()),
        (Field::FromUri, b"sip:+4930123456789@customer.example.com"),
        (Field::ToUri, b"sip:+4989123456789@carrier.example.net"),
        (Field::CallerTag, b"as7f3c9a1e"),
        (Field::CalleeTag, b"gK0c8d1f2a"),
        (Field::CallerContact, b"sip:+4930123456789@192.0.2.45:5060"),
        (Field::CalleeContact, b"sip:+4989123456789@203.0.113.9:5060"),
    ]);
    assert!(fits, "strings of a usual length");
    let mut out = Outbox::default();
    let env = shard.command(Now::default(), &mut out);
    let table = &mut env.state.dialogs.table;
    let key = table.insert(Birth {
        id: DialogId {
            h_entry: call_id_hash(call_id.as_bytes()) & 4_095,
            h_id: n + 1,
        },
        program: Arc::clone(&setup.program),
        strings,
        caller: Leg {
            cseq: Some(1),
            flow: None,
        },
        init_s: 1,
        lifetime_s: 43_200,
    });
    table.set_state(key, State::Confirmed);
}

/// The proxy in this process, with its dialogs.
struct Proxy {
    dir: PathBuf,
    /// Where SIP and HTTP come in by TCP.
    web: SocketAddr,
    stopper: Stopper,
    ended: mpsc::Receiver<Result<(), IoError>>,
}

impl Proxy {
    fn start(count: u32) -> Proxy {
        let dir = std::env::temp_dir().join(format!("dlg-listing-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("there is a directory for temporary files");
        let text = format!(
            "listen=udp:127.0.0.1:5060\nloadmodule \"tm.so\"\nloadmodule \"rr.so\"\n\
             loadmodule \"ctl.so\"\nloadmodule \"dialog.so\"\nloadmodule \"sl.so\"\n\
             loadmodule \"xhttp.so\"\nloadmodule \"jsonrpcs.so\"\nlisten=tcp:127.0.0.1:5060\n\
             modparam(\"jsonrpcs\", \"transport\", 1)\n\
             modparam(\"jsonrpcs\", \"pretty_format\", 0)\n\
             modparam(\"ctl\", \"binrpc\", \"unix:{}/ctl\")\nrequest_route {{ exit; }}\n\
             event_route[xhttp:request] {{ jsonrpc_dispatch(); }}\n",
            dir.display()
        );
        let mut setup = Setup::from_text(&text, SHARD_COUNT).expect("the configuration is good");
        for address in &mut setup.addresses {
            address.local.set_port(0);
        }
        let mut plan = Plan::new(setup.addresses.clone());
        plan.cores = (0..usize::from(SHARD_COUNT)).collect();
        plan.control = ControlSocket::all(&setup);
        let setup = Arc::new(setup);
        plan.setup = Some(Arc::clone(&setup));
        let sockets = Sockets::bind(&plan).expect("loopback has free ports");
        let tcp = sockets.addresses().iter().find(|a| a.proto == Proto::Tcp);
        let web = tcp.expect("it listens to TCP").local;
        let stopper = sockets.stopper();
        let make = move |id: ShardId, seed| {
            let mut shard = Shard::new(id, Arc::clone(&setup), seed);
            let own = |n: &u32| steer::owner(call_id(*n).as_bytes(), SHARD_COUNT) == id;
            (0..count)
                .filter(own)
                .for_each(|n| add(&mut shard, &setup, n));
            shard
        };
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(io::run(plan, sockets, make)));
        Proxy {
            dir,
            web,
            stopper,
            ended,
        }
    }

    /// Sends a command and gives each value of its answer to `take`.
    fn ask(&self, words: &[&str], mut take: impl FnMut(Value)) {
        let mut stream = UnixStream::connect(self.dir.join("ctl")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let words: Vec<Value> = words.iter().map(Value::text).collect();
        let request = binrpc::packet(Kind::Request, 7, &words);
        stream.write_all(&request).expect("it reads");
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        let mut left = None;
        while left != Some(0) || !bytes.is_empty() {
            if left != Some(0) {
                let size = stream.read(&mut chunk).expect("an answer in time");
                assert!(size > 0, "the answer ends too early");
                bytes.extend_from_slice(&chunk[..size]);
                left = left.map(|left: usize| left - size);
            }
            if left.is_none()
                && let Some(head) = binrpc::head(&bytes).expect("a packet")
            {
                assert_eq!((head.kind, head.cookie), (Kind::Reply, 7), "{words:?}");
                bytes.drain(..head.size);
                left = Some(head.body_size - bytes.len());
            }
            let mut used = 0;
            while let Some((value, size)) = binrpc::first(&bytes[used..]).expect("records") {
                take(value);
                used += size;
            }
            assert!(left != Some(0) || used == bytes.len(), "half a record");
            bytes.drain(..used);
        }
    }

    /// Asks for a listing over HTTP and gives each dialog of the answer to `take`.
    fn list_by_http(&self, method: &str, mut take: impl FnMut(Value)) {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"id\":1}}");
        let mut stream = TcpStream::connect(self.web).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let length = body.len();
        let request = format!("POST /rpc HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut chunks = Chunks::behind_head(BufReader::new(stream));
        let mut text = Vec::new();
        let begin = b"{\"jsonrpc\":\"2.0\",\"result\":[";
        while text.len() < begin.len() {
            assert!(chunks.next_into(&mut text), "the answer ends too early");
        }
        assert!(text.starts_with(begin), "{}", text.escape_ascii());
        text.drain(..begin.len());
        loop {
            let mut used = 0;
            loop {
                used += usize::from(text[used..].starts_with(b","));
                let Some((value, rest)) = json::read(&text[used..]) else {
                    break;
                };
                used = text.len() - rest.len();
                take(value);
            }
            text.drain(..used);
            if !chunks.next_into(&mut text) {
                break;
            }
        }
        assert!(text == b"],\"id\":1}", "the end of the answer");
    }

    /// The figures of each core.
    fn shards(&self) -> Vec<BTreeMap<String, i64>> {
        let mut all = Vec::new();
        self.ask(&["core.shards"], |value| {
            let Value::Struct(members) = value else {
                panic!("{value:?}")
            };
            let figure = |(name, value)| match value {
                Value::Int(n) => {
                    let name: std::borrow::Cow<'_, [u8]> = name;
                    (String::from_utf8_lossy(&name).into_owned(), n)
                }
                other => panic!("{other:?}"),
            };
            all.push(members.into_iter().map(figure).collect());
        });
        all
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopper.stop();
        let _ = self.ended.recv_timeout(Duration::from_secs(20));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The chunks of an HTTP answer (RFC 9112 §7.1).
struct Chunks {
    stream: BufReader<TcpStream>,
}

impl Chunks {
    fn behind_head(stream: BufReader<TcpStream>) -> Chunks {
        let mut chunks = Chunks { stream };
        assert_eq!(chunks.line(), "HTTP/1.1 200 OK");
        let mut is_chunked = false;
        loop {
            match chunks.line().as_str() {
                "" => break,
                line => is_chunked |= line.eq_ignore_ascii_case("Transfer-Encoding: chunked"),
            }
        }
        assert!(is_chunked, "a long answer comes in chunks");
        chunks
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer in time");
        line.trim_end().to_owned()
    }

    /// Adds the next chunk to `text`. False: that was the last.
    fn next_into(&mut self, text: &mut Vec<u8>) -> bool {
        let size = usize::from_str_radix(&self.line(), 16).expect("the size of a chunk");
        let start = text.len();
        text.resize(start + size, 0);
        self.stream.read_exact(&mut text[start..]).expect("a chunk");
        assert_eq!(self.line(), "");
        size > 0
    }
}

/// The number of the dialog that a structure shows.
fn number(value: &Value, name: &[u8], member_count: usize) -> u32 {
    let Value::Struct(members) = value else {
        panic!("{value:?}")
    };
    assert_eq!(members.len(), member_count);
    let found = members.iter().find(|(n, _)| **n == *name);
    let Some((_, Value::Text(call_id))) = found else {
        panic!("{value:?}")
    };
    let digits = std::str::from_utf8(&call_id[..10]).expect("digits");
    digits.parse().expect("digits")
}

/// Marks one as seen; each is there once.
fn see(seen: &mut [bool], n: u32) {
    let was = std::mem::replace(&mut seen[n as usize], true);
    assert!(!was, "dialog {n} is there twice");
}

/// Bytes of memory now.
fn resident() -> u64 {
    of_status("VmRSS:")
}

fn of_status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this process runs");
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    let digits = line.and_then(|l| l.split_whitespace().next());
    digits.and_then(|n| n.parse::<u64>().ok()).expect("kB") << 10
}

/// Bytes of memory at the peak since the last call.
fn peak() -> u64 {
    let peak = of_status("VmHWM:");
    // What counts as the peak begins anew.
    fs::write("/proc/self/clear_refs", "5").expect("it is ours");
    peak
}

fn dumped(path: &Path, count: u32) {
    let mut seen = vec![false; count as usize];
    let file = fs::File::open(path).expect("it was written");
    for line in BufReader::new(file).lines() {
        let line = line.expect("text");
        let (value, rest) = json::read(line.as_bytes()).expect("JSON");
        assert_eq!(rest, b"");
        see(&mut seen, number(&value, b"call_id", 19));
    }
    assert!(seen.iter().all(|seen| *seen), "some are missing");
}

#[test]
fn very_many_dialogs_are_listed_and_dumped() {
    let count = count();
    let proxy = Proxy::start(count);
    let mut held = 0;
    proxy.ask(&["dlg.stats_active"], |_| held += 1);
    assert_eq!(held, 1);
    let resident = resident();
    peak();
    let mut seen = vec![false; count as usize];
    let begin = Instant::now();
    proxy.ask(&["dlg.list"], |v| {
        see(&mut seen, number(&v, b"call-id", 20))
    });
    let listing_time = begin.elapsed();
    assert!(seen.iter().all(|seen| *seen), "some are missing");
    let mut seen = vec![false; count as usize];
    let begin = Instant::now();
    proxy.list_by_http("dlg.list", |v| see(&mut seen, number(&v, b"call-id", 20)));
    let http_time = begin.elapsed();
    assert!(seen.iter().all(|seen| *seen), "some are missing over HTTP");
    let file = proxy.dir.join("dump.json");
    let begin = Instant::now();
    proxy.ask(
        &["dlg.dump_file", file.to_str().expect("a plain path")],
        |_| {},
    );
    let dump_time = begin.elapsed();
    let growth = peak().saturating_sub(resident);
    assert!(growth < GROWTH_MAX, "{growth} bytes more while answering");
    dumped(&file, count);
    println!(
        "{count} dialogs: listed in {listing_time:?}, over HTTP in {http_time:?}, dumped in \
         {dump_time:?}"
    );
    println!(
        "{} MiB held, {} MiB more while answering",
        resident >> 20,
        growth >> 20
    );
    for figures in proxy.shards() {
        let get = |name: &str| figures[name];
        println!(
            "core {}: {} slices, at most {} values and {} us of work ({} us with what else ran), \
             {} of more than 1 ms",
            get("core"),
            get("rpc_slices"),
            get("rpc_slice_values_max"),
            get("rpc_slice_us_max"),
            get("rpc_slice_wall_us_max"),
            get("rpc_slices_long"),
        );
        let slices = 3 * get("held_dialogs") / RPC_SLICE_ITEM_COUNT_MAX as i64;
        assert!(
            get("rpc_slices") > slices,
            "fewer slices than there must be"
        );
        assert!(get("rpc_slice_values_max") <= RPC_SLICE_ITEM_COUNT_MAX as i64);
    }
}
