//! Operators against the real binary: Debian's `kamcmd`, raw clients, and clients that misbehave.
//!
//! ```text
//!   server.rs   a process and its directory      web.rs     a client of HTTP
//!   judge.rs    kamailio and dialcore, compared  call.rs    two phones and a call
//!   calls.rs    the same of calls, which         phones.rs  two phones and many calls
//!   client.rs   dialcore as a client of itself
//!   http.rs     HTTP on the port of SIP          abuse.rs   clients that misbehave, and calls
//!   places.rs   every transport, and who may use it
//! ```

mod server;
mod phones;
mod judge;
mod calls;
mod client;
mod web;
mod http;
mod places;
mod call;
mod abuse;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use dialcore::modules::rpc::Value;
use dialcore::modules::rpc::binrpc::{self, Kind};
use server::{PATIENCE, Server};

fn request(cookie: u32, words: &[&str]) -> Vec<u8> {
    let values: Vec<Value> = words.iter().map(Value::text).collect();
    binrpc::packet(Kind::Request, cookie, &values)
}

/// The next packet of a stream: its kind, cookie and values.
fn reply(stream: &mut UnixStream) -> (Kind, u32, Vec<Value>) {
    let mut bytes = vec![];
    loop {
        if let Some(head) = binrpc::head(&bytes).expect("a packet") {
            bytes.resize(head.size + head.body_size, 0);
            let read_count = head.size;
            stream
                .read_exact(&mut bytes[read_count..])
                .expect("the rest");
            let values = binrpc::values(&bytes[head.size..]).expect("records");
            return (head.kind, head.cookie, values);
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more of the header");
        bytes.push(byte[0]);
    }
}

fn is_closed(stream: &mut UnixStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(size) => size == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn kamcmd_is_answered() {
    let server = Server::dialcore("");
    let version = server.kamcmd(&["core.version"]);
    assert!(
        version.starts_with(concat!("dialcore ", env!("CARGO_PKG_VERSION"), " (")),
        "{version}"
    );
    let methods = server.kamcmd(&["system.listMethods"]);
    let methods: Vec<&str> = methods.lines().collect();
    assert!(methods.is_sorted());
    let dialogs = methods.iter().filter(|name| name.starts_with("dlg."));
    assert_eq!(dialogs.count(), 16);
    assert_eq!(
        server.kamcmd(&["nosuch"]),
        "error: 500 - command nosuch not found\n"
    );
    assert_eq!(server.kamcmd(&["core.reload"]), "Done\n");
    let shards = server.kamcmd(&["core.shards"]);
    assert_eq!(shards.matches("rpc_slices_long: 0").count(), 2, "{shards}");
}

/// The sum of a counter over all cores.
fn sum_of(shards: &str, name: &str) -> u64 {
    let values = shards.lines().filter_map(|line| {
        let (found, value) = line.trim().split_once(": ")?;
        (found == name).then(|| value.parse::<u64>().expect("a count"))
    });
    values.sum()
}

#[test]
fn the_kernel_brings_every_datagram_to_its_core() {
    const COUNT: u64 = 2_000;
    /// What may be under way without filling the receive queue.
    const FLIGHT: u64 = 500;
    let server = Server::dialcore("");
    if !server.is_steered {
        eprintln!("not tested: the kernel does not steer for this process");
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let here = socket.local_addr().expect("it is bound");
    let names = ["Call-ID: ", "i:", "CALL-ID \t:\r\n ", "I :\t", "call-id:"];
    let begin = Instant::now();
    let mut shards = String::new();
    for n in 0..COUNT {
        let name = names[n as usize % names.len()];
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{n}\r\n\
             From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n{name}{n}-steered@{here}\r\n\
             CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        socket
            .send_to(text.as_bytes(), ("127.0.0.1", server.port))
            .expect("it listens");
        while n % FLIGHT == FLIGHT - 1 && sum_of(&shards, "udp_received") <= n {
            assert!(begin.elapsed() < PATIENCE * 3, "{shards}");
            shards = server.kamcmd(&["core.shards"]);
        }
    }
    let counts = ["kernel_steered", "handed_over", "taken_over", "misrouted"];
    let found = counts.map(|name| sum_of(&shards, name));
    assert_eq!(found, [COUNT, 0, 0, 0], "{shards}");
}

#[test]
fn a_request_may_come_in_pieces_and_several_at_once() {
    let server = Server::dialcore("");
    let mut stream = server.connect();
    for byte in request(7, &["core.echo", "a"]) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(reply(&mut stream), (Kind::Reply, 7, vec![Value::text("a")]));
    let many: Vec<u8> = (0..200)
        .flat_map(|n| request(n, &["core.echo", "x"]))
        .collect();
    stream.write_all(&many).unwrap();
    for n in 0..200 {
        assert_eq!(reply(&mut stream), (Kind::Reply, n, vec![Value::text("x")]));
    }
}

#[test]
fn what_is_no_request_is_refused_and_closes_the_stream() {
    let server = Server::dialcore("");
    let too_large = [0xA1, 0x0C, 0xFF, 0xFF, 0xFF, 0xFF, 0x05];
    let table: [(&[u8], u32, &str); 6] = [
        (
            b"GET / HTTP/1.1\r\n\r\n",
            0,
            "bad request: corrupted packet",
        ),
        (&[0xA2, 0, 0, 5], 0, "bad request: corrupted packet"),
        (&[0xA1, 0x10, 0, 5], 5, "bad request: corrupted packet"),
        (&too_large, 5, "bad request: corrupted packet"),
        (
            &[0xA1, 0, 0, 5],
            5,
            "bad request method: end of packet encountered",
        ),
        (
            &[0xA1, 0, 2, 5, 0x10, 5],
            5,
            "bad request method: record doesn't match type",
        ),
    ];
    for (bytes, cookie, words) in table {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        let want = vec![Value::Int(400), Value::text(words)];
        assert_eq!(reply(&mut stream), (Kind::Fault, cookie, want), "{bytes:?}");
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
    assert_eq!(server.kamcmd(&["core.echo", "on"]), "on\n");
}

#[test]
fn a_thousand_idle_clients_leave_room_for_the_next() {
    let server = Server::dialcore("");
    let mut idle: Vec<UnixStream> = (0..1_000).map(|_| server.connect()).collect();
    // Half a request is no more than silence.
    for stream in idle.iter_mut().skip(600) {
        stream.write_all(&[0xA1, 0x00]).unwrap();
    }
    assert_eq!(server.kamcmd(&["core.echo", "on"]), "on\n");
    assert!(
        is_closed(&mut idle[0]),
        "the one that is idle longest makes room"
    );
    let last = idle.last_mut().unwrap();
    last.write_all(&request(9, &["core.echo", "x"])[2..])
        .unwrap();
    assert_eq!(server.kamcmd(&["core.echo", "still on"]), "still on\n");
}

#[test]
fn whoever_does_not_read_is_held_up_alone() {
    let server = Server::dialcore("");
    let many: Vec<u8> = (0..100)
        .flat_map(|n| request(n, &["stats.fetch", "all"]))
        .collect();
    let fill = |count| {
        let mut deaf: Vec<UnixStream> = (0..count).map(|_| server.connect()).collect();
        for stream in &mut deaf {
            stream.set_nonblocking(true).unwrap();
            // As much as it takes; that it takes no more is the bound.
            while stream.write(&many).is_ok() {}
        }
        deaf
    };
    // The allocator keeps the blocks that the first ones need.
    let few = fill(20);
    server.kamcmd(&["core.echo", "on"]);
    let before = server.memory();
    let _more = fill(100);
    for _ in 0..20 {
        assert_eq!(server.kamcmd(&["core.echo", "on"]), "on\n");
    }
    let grown = server.memory().saturating_sub(before);
    // Half a MiB each; the answers to all that they ask are far more.
    assert!(grown < 48 << 20, "{grown} bytes more");
    drop(few);
}

#[test]
fn json_by_datagram() {
    let server = Server::dialcore("modparam(\"jsonrpcs\", \"pretty_format\", 0)");
    let table = [
        (
            r#"{"jsonrpc":"2.0","method":"core.echo","params":["a"],"id":1}"#,
            Some(r#"{"jsonrpc":"2.0","result":["a"],"id":1}"#),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"nosuch","id":"q"}"#,
            Some(r#"{"jsonrpc":"2.0","error":{"code":500,"message":"Method Not Found"},"id":"q"}"#),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"dlg.list"}"#,
            Some(r#"{"jsonrpc":"2.0","result":[]}"#),
        ),
        ("not JSON", None),
    ];
    for (text, want) in table {
        let patience = if want.is_some() {
            PATIENCE
        } else {
            Duration::from_millis(300)
        };
        assert_eq!(server.json(text, patience).as_deref(), want, "{text}");
    }
    let endless = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}", "x".repeat(60_000));
    assert_eq!(server.json(&endless, Duration::from_millis(300)), None);
    assert!(server.json(table[0].0, PATIENCE).is_some());
}

fn through_pipe(word: &str, reply_name: &str, id: u32) -> String {
    let method = r#""jsonrpc":"2.0","method":"core.echo""#;
    format!(r#"{{{method},"params":["{word}"],"reply_name":"{reply_name}","id":{id}}}"#)
}

#[test]
fn json_by_pipe() {
    let server = Server::dialcore("modparam(\"jsonrpcs\", \"pretty_format\", 0)");
    let made = Command::new("mkfifo").arg(server.path("answer")).status();
    assert!(made.is_ok_and(|status| status.success()));
    fs::write(server.path("file"), "mine").unwrap();
    let mut pipe = File::options()
        .write(true)
        .open(server.path("fifo"))
        .unwrap();
    // A request that names what is no pipe, or leaves the directory, is not answered there.
    for name in ["file", "../answer", "nosuch"] {
        let text = through_pipe("a", name, 1);
        pipe.write_all(text.as_bytes()).unwrap();
    }
    for n in 0..3 {
        let text = through_pipe("}", "answer", n);
        let (first, second) = text.split_at(20);
        pipe.write_all(first.as_bytes()).unwrap();
        pipe.write_all(second.as_bytes()).unwrap();
        let answer = fs::read_to_string(server.path("answer")).unwrap();
        assert_eq!(
            answer,
            format!(r#"{{"jsonrpc":"2.0","result":["}}"],"id":{n}}}"#)
        );
    }
    assert_eq!(fs::read_to_string(server.path("file")).unwrap(), "mine");
}

#[test]
fn statistics_are_reset_from_here_on() {
    let server = Server::dialcore("");
    let all = server.kamcmd(&["stats.get_statistics", "all"]);
    assert!(
        all.lines().all(|line| line.split_once(" = ").is_some()),
        "{all}"
    );
    assert_eq!(server.kamcmd(&["stats.reset_statistics", "all"]), "");
    let cleared = server.kamcmd(&["stats.clear_statistics", "processed_dialogs"]);
    assert_eq!(cleared, "dialog:processed_dialogs = 0\n");
}

#[test]
fn shared_variables_and_parameters_change_on_every_core() {
    let server = Server::dialcore("");
    let set = server.kamcmd(&["pv.shvSet", "a", "int", "7"]);
    assert_eq!(set, "Ok. Variable set to new value.\n");
    assert!(server.kamcmd(&["pv.shvGet", "a"]).contains("value: 7"));
    server.kamcmd(&["cfg.set_now_int", "tm", "fr_timer", "12000"]);
    assert_eq!(server.kamcmd(&["cfg.get", "tm", "fr_timer"]), "12000\n");
}
