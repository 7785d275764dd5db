//! Clients that misbehave on every kind of stream: each is refused or bounded, operators are still
//! answered, and a call goes through meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::call;
use crate::server::{PATIENCE, Server, Wishes, free_port};
use crate::web::{self, post};

/// How long a call may take while others misbehave, on a machine that is busy besides: the bounds
/// on those who misbehave are ten seconds and more.
const CALL_TIME_MAX: Duration = Duration::from_secs(5);

/// What a client may send that nobody reads before the connection must be gone: more than the
/// kernel keeps for both ends.
const FLOOD_SIZE_MAX: usize = 64 << 20;

fn server() -> Server {
    Server::dialcore_with(&Wishes {
        route: call::ROUTE,
        ..Wishes::HTTP
    })
}

fn echo(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"core.echo","params":{params},"id":1}}"#)
}

/// Operators and callers are served as if nothing were.
fn is_well(server: &Server) {
    assert_eq!(server.kamcmd(&["core.echo", "on"]), "on\n");
    let answer = web::ask(&mut server.tcp(), &post("/rpc", &echo(r#"["on"]"#)));
    assert!(answer.expect("an answer").text().contains("on"));
    assert!(server.json(&echo("[]"), PATIENCE).is_some());
    let time = call::place(server);
    assert!(time < CALL_TIME_MAX, "a call took {time:?}");
}

/// What a client sends that is no request, over streams.
fn rubbish() -> Vec<Vec<u8>> {
    let mut rng = dialcore::rng::Rng::new(5);
    let mut bytes = |size| (0..size).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>();
    let mut all: Vec<Vec<u8>> = (0..40).map(|n| bytes(1 + n * 50)).collect();
    let texts = [
        "\r\n\r\n\r\n\r\n",
        "{",
        "[[[[",
        "{}}}}",
        "GET",
        "GET ",
        "GET / HTTP/1.1",
        "POST / HTTP/1.1\r\n",
        "POST /rpc HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
        "POST /rpc HTTP/1.1\r\nContent-Length: 7\r\n\r\nno JSON",
        "GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
    ];
    all.extend(texts.map(|text| text.as_bytes().to_vec()));
    // Binary RPC: half a header, half a body, a length that lies, structures without end.
    all.extend([
        vec![0xA1],
        vec![0xA1, 0x03],
        vec![0xA1, 0x00, 0x7F, 0x01, 0x91],
        [vec![0xA1, 0x01, 0x04, 0x00, 0x01], vec![0x03; 0x400]].concat(),
        [vec![0xA1, 0x00, 0x05, 0x01, 0x91, 0xFF], vec![b'x'; 3]].concat(),
    ]);
    all
}

#[test]
fn rubbish_and_half_requests() {
    let server = server();
    // Half of them stay open with half a request, the others go.
    let mut open: Vec<Box<dyn Read>> = vec![];
    for (n, bytes) in rubbish().into_iter().enumerate() {
        let (mut http, mut ctl) = (server.tcp(), server.connect());
        // The other side may have closed it already, which is its right.
        let _ = (http.write_all(&bytes), ctl.write_all(&bytes));
        let _ = server.json(&String::from_utf8_lossy(&bytes), Duration::from_millis(1));
        if n % 2 == 0 {
            open.push(Box::new(http));
            open.push(Box::new(ctl));
        }
    }
    is_well(&server);
}

/// Writes for as long as the other side takes it, up to a bound.
fn flood(stream: &mut impl Write, begin: &[u8], piece: &[u8]) -> usize {
    let mut size = 0;
    if stream.write_all(begin).is_err() {
        return 0;
    }
    while size < FLOOD_SIZE_MAX && stream.write_all(piece).is_ok() {
        size += piece.len();
    }
    size
}

#[test]
fn requests_without_an_end() {
    let server = server();
    let before = server.memory();
    let piece = [b'x'; 4096];
    let endless: [(&[u8], &[u8]); 4] = [
        (b"GET /", &piece),
        (b"GET / HTTP/1.1\r\nA: ", &piece),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
        (
            b"POST /rpc HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n[",
            &piece,
        ),
    ];
    for (begin, piece) in endless {
        let mut stream = server.tcp();
        let size = flood(&mut stream, begin, piece);
        assert!(size < FLOOD_SIZE_MAX, "{begin:?}: nothing ended it");
    }
    let too_long = [0xA1, 0x0C, 0x00, 0xFF, 0xFF, 0xFF, 0x05];
    assert!(flood(&mut server.connect(), &too_long, &piece) < FLOOD_SIZE_MAX);
    let mut pipe = std::fs::File::options()
        .write(true)
        .open(server.path("fifo"))
        .unwrap();
    pipe.write_all(&[b'{'; 40_000]).unwrap();
    is_well(&server);
    let grown = server.memory().saturating_sub(before);
    // The allocator takes memory from the system by large blocks, for each thread its own.
    assert!(grown < 48 << 20, "{grown} bytes more");
}

#[test]
fn a_thousand_that_are_idle() {
    let server = server();
    let mut unix: Vec<UnixStream> = (0..1_000).map(|_| server.connect()).collect();
    let mut tcp: Vec<TcpStream> = (0..1_000).map(|_| server.tcp()).collect();
    for stream in tcp.iter_mut().skip(500) {
        stream
            .write_all(b"POST /rpc HTTP/1.1\r\nContent-Le")
            .unwrap();
    }
    is_well(&server);
    // The last of both are still welcome.
    let answer = web::ask(tcp.last_mut().unwrap(), b"ngth: 2\r\n\r\n[]").unwrap();
    assert_eq!(answer.status, "HTTP/1.1 200 OK");
    unix.last_mut().unwrap().write_all(&[0xA1]).unwrap();
    is_well(&server);
}

#[test]
fn clients_that_never_read() {
    let server = server();
    let before = server.memory();
    let long = echo(&format!("[\"{}\"]", "x".repeat(30_000)));
    let request = post("/rpc", &long);
    let mut deaf: Vec<TcpStream> = (0..20).map(|_| server.tcp()).collect();
    for stream in &mut deaf {
        stream.set_nonblocking(true).unwrap();
        // As much as it takes; that it takes no more is the bound.
        while stream.write(&request).is_ok() {}
    }
    let pages = web::get("/a").repeat(1_000);
    let mut flooded = server.tcp();
    flooded.set_nonblocking(true).unwrap();
    for _ in 0..40 {
        let _ = flooded.write(&pages);
    }
    for _ in 0..5 {
        is_well(&server);
    }
    let grown = server.memory().saturating_sub(before);
    // What waits for each of them, by the large blocks that the allocator takes.
    assert!(grown < 96 << 20, "{grown} bytes more");
}

#[test]
fn clients_that_vanish() {
    let server = server();
    for n in 0..200 {
        let mut stream = server.tcp();
        let request = post("/rpc", &echo("[\"a\"]"));
        let size = if n % 2 == 0 {
            request.len()
        } else {
            n % request.len()
        };
        stream.write_all(&request[..size]).unwrap();
        let mut unix = server.connect();
        unix.write_all(&[0xA1, 0x00, 0x0B, 0x01]).unwrap();
    }
    is_well(&server);
    // All that were lent have come back and are gone: nobody is counted any more but the asker.
    let deadline = std::time::Instant::now() + PATIENCE;
    while server.kamcmd(&["ctl.connections"]) != "1\n" {
        assert!(std::time::Instant::now() < deadline, "somebody is left");
    }
}

#[test]
fn slow_clients_of_plain_tcp() {
    let port = free_port();
    let more: &'static str = format!(
        "modparam(\"jsonrpcs\", \"transport\", 15)\n\
         modparam(\"jsonrpcs\", \"tcp_socket\", \"tcp:127.0.0.1:{port}\")\n{}",
        Wishes::HTTP
            .more
            .replace("\"transport\", 7", "\"transport\", 15")
    )
    .leak();
    let server = Server::dialcore_with(&Wishes {
        more,
        route: call::ROUTE,
        tcp: true,
    });
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let idle: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
    assert!(flood(&mut connect(), b"{", &[b'x'; 4096]) < FLOOD_SIZE_MAX);
    let mut stream = connect();
    for byte in echo("[]").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"result\":\t[]"), "{text}");
    is_well(&server);
    drop(idle);
}
