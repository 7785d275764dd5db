//! Every transport of both languages, the names and rights of what is made in the file system,
//! and what the log says of those that other machines reach.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server, Wishes, free_port};

/// A server with further lines in which `@1@`, `@2@` and so on are free ports.
fn with_ports(lines: &str, count: usize) -> (Server, Vec<u16>) {
    let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
    let fill = |text: String, (n, port): (usize, &u16)| {
        text.replace(&format!("@{}@", n + 1), &port.to_string())
    };
    let more = ports.iter().enumerate().fold(lines.to_owned(), fill);
    (Server::dialcore(more.leak()), ports)
}

/// What `kamcmd` prints of a command given to this place.
fn kamcmd(place: &str, dir: &std::path::Path, words: &[&str]) -> String {
    let output = Command::new("kamcmd")
        .args(["-s", place, "-D"])
        .arg(dir)
        .arg("--")
        .args(words)
        .output()
        .expect("kamcmd is installed");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn binary_rpc_by_every_transport() {
    let (server, ports) = with_ports(
        "modparam(\"ctl\", \"binrpc\", \"unixd:@DIR@/ctld\")\n\
         modparam(\"ctl\", \"binrpc\", \"tcp:127.0.0.1:@1@\")\n\
         modparam(\"ctl\", \"binrpc\", \"udp:127.0.0.1:@2@\")",
        2,
    );
    let places = [
        format!("unixs:{}", server.ctl().display()),
        format!("unixd:{}", server.path("ctld").display()),
        format!("tcp:127.0.0.1:{}", ports[0]),
        format!("udp:127.0.0.1:{}", ports[1]),
    ];
    for place in &places {
        let ask = |words: &[&str]| kamcmd(place, &server.dir, words);
        assert_eq!(ask(&["core.echo", "a", "7"]), "a\n7\n", "{place}");
        let unknown = "error: 500 - command nosuch not found\n";
        assert_eq!(ask(&["nosuch"]), unknown, "{place}");
        assert_eq!(ask(&["dlg.list"]), "", "{place}");
        let listeners = ask(&["ctl.listen"]);
        let words = ["unix_stream", "unix_dgram", "tcp", "udp", "fifo"];
        assert!(
            words.iter().all(|word| listeners.contains(word)),
            "{listeners}"
        );
    }
}

#[test]
fn json_by_udp_and_tcp() {
    let (server, ports) = with_ports(
        "modparam(\"jsonrpcs\", \"transport\", 12)\n\
         modparam(\"jsonrpcs\", \"pretty_format\", 0)\n\
         modparam(\"jsonrpcs\", \"dgram_socket\", \"udp:127.0.0.1:@1@\")\n\
         modparam(\"jsonrpcs\", \"tcp_socket\", \"tcp:127.0.0.1:@2@\")",
        2,
    );
    let command = |method: &str| format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":1}}"#);
    let unknown = r#"{"jsonrpc":"2.0","error":{"code":500,"message":"Method Not Found"},"id":1}"#;
    let table = [
        (
            command("core.echo"),
            r#"{"jsonrpc":"2.0","result":[],"id":1}"#,
        ),
        (command("nosuch"), unknown),
        ("{}".to_owned(), r#"{"jsonrpc":"2.0","result":{}}"#),
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for (text, want) in &table {
        socket
            .send_to(text.as_bytes(), ("127.0.0.1", ports[0]))
            .unwrap();
        let mut bytes = [0; 2048];
        let (size, _) = socket.recv_from(&mut bytes).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&bytes[..size]), *want, "{text}");
        // One request, one answer, and the end.
        let mut stream = TcpStream::connect(("127.0.0.1", ports[1])).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, *want, "{text}");
    }
    assert!(!server.path("fifo").exists(), "transport 12 has no pipe");
}

fn mode(server: &Server, name: &str) -> u32 {
    let there = fs::metadata(server.path(name)).expect(name);
    let kind = there.file_type();
    assert!(kind.is_socket() || kind.is_fifo(), "{name}");
    there.permissions().mode() & 0o7777
}

#[test]
fn rights_are_those_of_the_parameters() {
    let usual = Server::dialcore("");
    let modes = ["ctl", "json", "fifo"].map(|name| mode(&usual, name));
    assert_eq!(modes, [0o600, 0o660, 0o660]);
    let other = Server::dialcore(
        "modparam(\"ctl\", \"mode\", 0666)\nmodparam(\"jsonrpcs\", \"dgram_mode\", 0600)\n\
         modparam(\"jsonrpcs\", \"fifo_mode\", 0606)\n\
         modparam(\"ctl\", \"user\", \"root\")\nmodparam(\"ctl\", \"group\", \"root\")",
    );
    let modes = ["ctl", "json", "fifo"].map(|name| mode(&other, name));
    assert_eq!(modes, [0o666, 0o600, 0o606]);
    let names = ["ctl", "json", "fifo"].map(|name| other.path(name));
    drop(other);
    assert!(
        names.iter().all(|path| !path.exists()),
        "they go with the process"
    );
}

#[test]
fn without_parameters_sockets_have_their_usual_names() {
    let port = free_port();
    let dir = std::env::temp_dir().join(format!("dlg-rpc-usual-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let text = format!(
        "debug=0\nlog_stderror=yes\ndisable_tcp=yes\nlisten=udp:127.0.0.1:{port}\n\
         loadmodule \"ctl.so\"\nloadmodule \"jsonrpcs.so\"\nrequest_route {{ exit; }}\n"
    );
    fs::write(dir.join("sip.cfg"), text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_dialcore"))
        .args(["-DD", "-E", "-n", "1", "-Y"])
        .arg(&dir)
        .arg("-f")
        .arg(dir.join("sip.cfg"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let names = ["kamailio_ctl", "kamailio_rpc.fifo", "kamailio_rpc.sock"];
    let begin = Instant::now();
    let are_there = || names.iter().all(|name| dir.join(name).exists());
    while !are_there() && begin.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    let found = are_there();
    let place = format!("unixs:{}", dir.join("kamailio_ctl").display());
    let answer = kamcmd(&place, &dir, &["core.echo", "a"]);
    let _ = Command::new("kill").arg(process.id().to_string()).status();
    let _ = process.wait();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!((found, &*answer), (true, "a\n"));
}

/// The log's line about a place; waits for it.
fn warning(server: &Server, place: &str) -> bool {
    let begin = Instant::now();
    let is_said = || {
        let mut log = server.log().into_iter();
        log.any(|line| line.contains("WARNING") && line.contains(place))
    };
    while !is_said() && begin.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    is_said()
}

#[test]
fn the_log_says_what_other_machines_reach() {
    let (server, ports) = with_ports(
        "modparam(\"ctl\", \"binrpc\", \"tcp:0.0.0.0:@1@\")\n\
         modparam(\"ctl\", \"binrpc\", \"udp:127.0.0.1:@2@\")",
        2,
    );
    assert!(
        warning(&server, &format!("tcp:0.0.0.0:{}", ports[0])),
        "{:?}",
        server.log()
    );
    let log = server.log();
    assert!(
        !log.iter().any(|line| line.contains(&ports[1].to_string())),
        "{log:?}"
    );
}

/// The same through `kamctl`, which names the pipe and reads the answer in `/tmp`.
#[test]
fn kamctl_is_answered() {
    let server = Server::dialcore_with(&Wishes {
        more: "modparam(\"jsonrpcs\", \"fifo_reply_dir\", \"/tmp/\")",
        ..Wishes::default()
    });
    let kamctl = |words: &[&str]| {
        let output = Command::new("timeout")
            .args(["20", "kamctl", "rpc"])
            .args(words)
            .env("RPCFIFOPATH", server.path("fifo"))
            .output()
            .expect("kamctl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let version = kamctl(&["core.version"]);
    let want = concat!("\"result\": \"dialcore ", env!("CARGO_PKG_VERSION"), " (");
    let version = version.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(version.contains(want), "{version}");
    let list = kamctl(&["dlg.list"]);
    let list: String = list.split_whitespace().collect();
    assert!(list.contains("\"result\":[],\"id\":"), "{list}");
    let unknown = kamctl(&["nosuch"]);
    assert!(unknown.contains("Method Not Found"), "{unknown}");
    let echo = kamctl(&["core.echo", "a", "s:7"]);
    assert!(echo.contains("\"a\"") && echo.contains("\"7\""), "{echo}");
}
