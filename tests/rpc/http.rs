//! HTTP on the port of SIP: what a client sees, by itself and compared with Debian's kamailio.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use dialcore::modules::rpc::{Value, json};

use crate::server::{Server, Wishes};
use crate::web::{self, Answer, get, post};

/// How long an answer may take of which nobody knows whether it comes.
const MOMENT: Duration = Duration::from_secs(2);

fn command(method: &str, params: &str, id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}{id}}}"#)
}

/// Commands and what is none, as bodies of requests.
fn commands() -> Vec<String> {
    let ids = [
        "",
        r#","id":1"#,
        r#","id":-5"#,
        r#","id":0"#,
        r#","id":"x\ty""#,
        r#","id":"""#,
        r#","id":null"#,
        r#","id":1.5"#,
        r#","id":true"#,
        r#","id":[1]"#,
        r#","id":{}"#,
        r#","id":12345678901"#,
    ];
    let params = [
        "[]",
        r#"["a"]"#,
        r#"["a","1"]"#,
        r#"{"x":"a","y":"b"}"#,
        r#"["\u00e9\n\"\\/\ud83d\ude00"]"#,
        "7",
        r#""a""#,
    ];
    let calls = [
        ("nosuch", "[]"),
        ("core.prints", r#"["a"]"#),
        ("core.printi", r#"["3"]"#),
        ("stats.fetchn", r#"["dialog:"]"#),
        ("tm.stats", "[]"),
        ("dlg.list", "[]"),
        ("dlg.stats_active", "[]"),
        ("dlg.end_dlg", "[171,9]"),
        ("dlg.is_alive", "[]"),
        ("dlg.profile_get_size", r#"["nosuch"]"#),
        ("dlg.profile_get_size", r#"["all"]"#),
        ("dlg.list_match", r#"["callid","eq","y"]"#),
        ("pv.shvGet", r#"["a"]"#),
    ];
    let odd = [
        "{}",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"1.0","method":"core.echo","id":3}"#,
        r#"{"method":"core.echo","id":3}"#,
        r#"{"JSONRPC":"2.0","METHOD":"core.echo","PARAMS":["a"],"ID":1}"#,
        r#"  {"jsonrpc":"2.0","method":"core.echo","id":1} "#,
    ];
    let by_id = ids.iter().map(|id| command("core.echo", r#"["a"]"#, id));
    let by_params = params
        .iter()
        .map(|params| command("core.echo", params, r#","id":1"#));
    let by_call = calls
        .iter()
        .map(|(method, params)| command(method, params, r#","id":"c""#));
    by_id
        .chain(by_params)
        .chain(by_call)
        .chain(odd.map(str::to_owned))
        .collect()
}

/// What is no object, or not JSON: only transports that frame by themselves can carry it.
const NO_OBJECTS: &[&str] = &[
    "",
    "x",
    "{",
    "[",
    "[]",
    "[1]",
    "7",
    "\"a\"",
    "null",
    "true",
    "[,]",
    "{\"a\":1,}",
    "{'a':1}",
    r#"[{"jsonrpc":"2.0","method":"core.echo","id":1},{"jsonrpc":"2.0","method":"core.echo"}]"#,
    r#"{"jsonrpc":"2.0","method":"core.echo","params":[01],"id":1}"#,
];

/// The same answer from both: the name of the program and the client's port aside.
fn normal(answer: Answer) -> (String, Vec<(String, String)>, String) {
    let body = answer.text();
    let fields = answer.fields.into_iter().map(|(name, value)| match &*name {
        "Server" => (name, "?".to_owned()),
        "Sia" => {
            let (place, _) = value.rsplit_once(':').expect("a port");
            (name, place.to_owned())
        }
        _ => (name, value),
    });
    (answer.status, fields.collect(), body)
}

#[test]
fn over_http_clients_see_the_same() {
    let Some(judge) = Server::kamailio(&Wishes::HTTP) else {
        eprintln!("kamailio is not installed: nothing is compared");
        return;
    };
    let server = Server::dialcore_with(&Wishes::HTTP);
    let bodies = commands();
    let bodies = bodies
        .iter()
        .map(String::as_str)
        .chain(NO_OBJECTS.iter().copied());
    let mut requests: Vec<Vec<u8>> = bodies.map(|body| post("/rpc", body)).collect();
    let head = "HTTP/1.1\r\nUser-Agent: me\r\nX-Y: z\r\nContent-Type: a/b\r\nContent-Length:";
    requests.extend([
        get("/"),
        get("/a?b=c&d"),
        get("*"),
        get("http://h:80/p?q"),
        get("/field"),
        get("/twice"),
        get("/odd"),
        get("/sl"),
        get("/rpc"),
        format!("POST /seen {head} 2\r\n\r\nhi").into(),
        format!("INVITE /seen {head} 0\r\n\r\n").into(),
        get("/seen"),
        "DELETE /seen HTTP/1.1\nContent-Length: 1\n\nx".into(),
        format!("\r\nget /seen {head} 0\r\n\r\n").into(),
    ]);
    // One connection for all: it stays open, and answers come in the order of the requests.
    let (mut there, mut here) = (judge.tcp(), server.tcp());
    let mut differing = vec![];
    for request in requests {
        let want = web::ask(&mut there, &request).map(normal);
        let got = web::ask(&mut here, &request).map(normal);
        if want != got {
            let request = String::from_utf8_lossy(&request).into_owned();
            differing.push(format!(
                "{request:?}\n  kamailio: {want:?}\n  dialcore: {got:?}"
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn by_pipe_and_datagram_clients_see_the_same() {
    let Some(judge) = Server::kamailio(&Wishes::HTTP) else {
        eprintln!("kamailio is not installed: nothing is compared");
        return;
    };
    let server = Server::dialcore_with(&Wishes::HTTP);
    let mut differing = vec![];
    for text in commands() {
        let by_pipe = (
            judge.json_by_pipe(&text, MOMENT),
            server.json_by_pipe(&text, MOMENT),
        );
        let by_datagram = (judge.json(&text, MOMENT), server.json(&text, MOMENT));
        for (way, (want, got)) in [("pipe", by_pipe), ("datagram", by_datagram)] {
            if want != got {
                differing.push(format!(
                    "{text} by {way}\n  kamailio: {want:?}\n  dialcore: {got:?}"
                ));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn requests_in_pieces_and_many_at_once() {
    let server = Server::dialcore_with(&Wishes::HTTP);
    let mut stream = server.tcp();
    for byte in post("/rpc", &command("core.echo", r#"["a"]"#, "")) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(web::read(&mut stream).unwrap().status, "HTTP/1.1 200 OK");
    // Commands and pages mixed, none waited for: answers keep the order.
    let both = |n: u32| {
        let echo = command("core.echo", &format!("[\"{n}\"]"), "");
        [post("/rpc", &echo), get(&format!("/{n}"))].concat()
    };
    let many: Vec<u8> = (0..200).flat_map(both).collect();
    stream.write_all(&many).unwrap();
    for n in 0..200 {
        let first = web::read(&mut stream).unwrap();
        assert!(first.text().contains(&format!("[\"{n}\"]")), "{first:?}");
        let second = web::read(&mut stream).unwrap();
        assert_eq!(second.text(), format!("<b>/{n}</b>"));
    }
}

#[test]
fn sip_and_http_share_a_connection() {
    let wishes = Wishes {
        route: "sl_send_reply(\"200\", \"OK\");",
        ..Wishes::HTTP
    };
    let server = Server::dialcore_with(&wishes);
    let mut stream = server.tcp();
    let options = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKa\r\n\
                   From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
                   Content-Length: 0\r\n\r\n";
    for _ in 0..3 {
        let page = web::ask(&mut stream, &get("/a")).unwrap();
        assert_eq!(page.status, "HTTP/1.1 404 Not Found");
        let reply = web::ask(&mut stream, options.as_bytes()).unwrap();
        assert_eq!(reply.status, "SIP/2.0 200 OK");
    }
}

#[test]
fn what_ends_a_connection() {
    let server = Server::dialcore_with(&Wishes::HTTP);
    let strict = Server::dialcore_with(&Wishes {
        more: "loadmodule \"xhttp.so\"\nevent_route[xhttp:request] { exit; }",
        ..Wishes::HTTP
    });
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(300));
    let table = [
        (
            &server,
            "GET / HTTP/1.0\r\n\r\n",
            Some(("HTTP/1.0 404 Not Found", "close")),
        ),
        (
            &server,
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            Some(("HTTP/1.1 404 Not Found", "close")),
        ),
        (
            &server,
            "POST /rpc HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]",
            Some(("HTTP/1.0 200 OK", "close")),
        ),
        (
            &server,
            "POST /rpc HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]",
            Some(("HTTP/1.1 200 OK", "close")),
        ),
        (
            &strict,
            "GET / HTTP/1.1\r\n\r\n",
            Some(("HTTP/1.1 411 Length Required", "close")),
        ),
        (
            &server,
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Some(("HTTP/1.1 411 Length Required", "close")),
        ),
        (
            &server,
            "GET /a b HTTP/1.1\r\n\r\n",
            Some(("HTTP/1.1 400 Bad Request", "close")),
        ),
        (
            &server,
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            Some(("HTTP/1.1 400 Bad Request", "close")),
        ),
        (
            &server,
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            Some(("HTTP/1.1 413 Content Too Large", "close")),
        ),
        (
            &server,
            "GET / HTTP/2.0\r\n\r\n",
            Some(("HTTP/1.1 505 HTTP Version Not Supported", "close")),
        ),
        (
            &server,
            &many,
            Some(("HTTP/1.1 431 Request Header Fields Too Large", "close")),
        ),
        (&server, "HTTP/1.1 200 OK\r\n\r\n", None),
    ];
    for (server, text, want) in table {
        let mut stream = server.tcp();
        stream.write_all(text.as_bytes()).unwrap();
        // What is no request gets no answer; the client has no more to say.
        if want.is_none() {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let got = web::read(&mut stream);
        let got = got.map(|a| (a.status.clone(), a.field("Connection").map(str::to_owned)));
        let want = want.map(|(status, word)| (status.to_owned(), Some(word.to_owned())));
        assert_eq!(got, want, "{text:?}");
        assert_eq!(web::read(&mut stream), None, "{text:?}");
    }
}

#[test]
fn a_head_has_no_body_and_a_body_is_waited_for() {
    let server = Server::dialcore_with(&Wishes::HTTP);
    let mut stream = server.tcp();
    stream.write_all(b"HEAD /a HTTP/1.1\r\n\r\n").unwrap();
    stream.write_all(&get("/b")).unwrap();
    let mut text = vec![0; 600];
    let mut size = 0;
    while !text[..size].ends_with(b"<b>/b</b>") {
        let read = std::io::Read::read(&mut stream, &mut text[size..]).unwrap();
        assert!(read > 0);
        size += read;
    }
    let text = String::from_utf8_lossy(&text[..size]).into_owned();
    assert!(
        text.contains("Content-Length: 9\r\n\r\nHTTP/1.1 404 "),
        "{text}"
    );
    let head = "POST /rpc HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = web::ask(&mut stream, b"[]").unwrap();
    assert_eq!(answer.status, "HTTP/1.1 200 OK");
}

#[test]
fn without_the_module_or_the_transport_there_is_no_http() {
    let none = Server::dialcore_with(&Wishes {
        more: "tcp_accept_no_cl=yes",
        ..Wishes::HTTP
    });
    assert_eq!(web::ask(&mut none.tcp(), &get("/rpc")), None);
    let other = Server::dialcore_with(&Wishes {
        more: "loadmodule \"xhttp.so\"\nevent_route[xhttp:request] {\n\
               if (!jsonrpc_dispatch()) xhttp_reply(\"403\", \"No\", \"\", \"\"); }",
        ..Wishes::HTTP
    });
    let answer = web::ask(&mut other.tcp(), &post("/rpc", "[]")).unwrap();
    assert_eq!(answer.status, "HTTP/1.1 403 No", "transport 6 has no HTTP");
}

#[test]
fn pages_that_are_skipped_get_no_answer() {
    let server = Server::dialcore_with(&Wishes::HTTP);
    let mut stream = server.tcp();
    stream
        .write_all(&[get("/skipped"), get("/silent"), get("/a")].concat())
        .unwrap();
    assert_eq!(web::read(&mut stream).unwrap().text(), "<b>/a</b>");
}

/// More dialogs than a chunk holds: the list comes in chunks, whole, and again the same by binary
/// RPC; what it is made of is not kept in memory.
#[test]
fn a_long_list_comes_in_chunks() {
    const COUNT: usize = 3_000;
    let server = Server::dialcore_with(&Wishes {
        route: crate::call::ROUTE,
        ..Wishes::HTTP
    });
    crate::call::ring(&server, COUNT);
    let before = server.memory();
    let list = post("/rpc", &command("dlg.list", "[]", r#","id":1"#));
    let mut stream = server.tcp();
    for _ in 0..2 {
        let answer = web::ask(&mut stream, &list).unwrap();
        assert_eq!(answer.status, "HTTP/1.1 200 OK");
        assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
        let (value, rest) = json::read(&answer.body).expect("JSON");
        let Value::Struct(members) = value else {
            panic!("no object")
        };
        let [_, (_, Value::Array(dialogs)), (_, Value::Int(1))] = &members[..] else {
            panic!("jsonrpc, result and id")
        };
        assert_eq!((dialogs.len(), rest), (COUNT, &b""[..]));
    }
    // Whoever speaks 1.0 gets it as it is, up to the end of the stream.
    let old = String::from_utf8(list.clone())
        .unwrap()
        .replace("HTTP/1.1", "HTTP/1.0");
    let answer = web::ask(&mut server.tcp(), old.as_bytes()).unwrap();
    assert_eq!(answer.field("Connection"), Some("close"));
    assert!(json::read(&answer.body).is_some_and(|(_, rest)| rest.is_empty()));
    // Some do not read it, some go away in the middle.
    let mut deaf: Vec<_> = (0..20).map(|_| server.tcp()).collect();
    for stream in &mut deaf {
        stream.write_all(&list).unwrap();
    }
    let mut gone = [0; 5_000];
    std::io::Read::read_exact(&mut deaf[0], &mut gone).unwrap();
    drop(deaf.remove(0));
    let binary = server.kamcmd(&["dlg.stats_active"]);
    assert!(binary.contains(&format!("all: {COUNT}")), "{binary}");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}
