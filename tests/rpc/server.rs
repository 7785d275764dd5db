//! A server that a test starts and ends: dialcore, or Debian's kamailio as the judge.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What both programs are given.
const CONFIG: &str = "
debug=0
log_stderror=yes
fork=yes
children=2
auto_aliases=no
listen=udp:127.0.0.1:@PORT@
@TCP@
loadmodule \"tm.so\"
loadmodule \"sl.so\"
loadmodule \"rr.so\"
loadmodule \"pv.so\"
loadmodule \"ctl.so\"
loadmodule \"kex.so\"
loadmodule \"corex.so\"
loadmodule \"htable.so\"
loadmodule \"cfgutils.so\"
loadmodule \"dispatcher.so\"
loadmodule \"dialog.so\"
loadmodule \"jsonrpcs.so\"
loadmodule \"cfg_rpc.so\"
modparam(\"ctl\", \"binrpc\", \"unix:@DIR@/ctl\")
modparam(\"jsonrpcs\", \"transport\", 6)
modparam(\"jsonrpcs\", \"dgram_socket\", \"@DIR@/json\")
modparam(\"jsonrpcs\", \"fifo_name\", \"@DIR@/fifo\")
modparam(\"jsonrpcs\", \"fifo_reply_dir\", \"@DIR@/\")
modparam(\"pv\", \"shvset\", \"a=i:1\")
modparam(\"pv\", \"shvset\", \"b=s:xy\")
modparam(\"htable\", \"htable\", \"t=>size=4;autoexpire=300;\")
modparam(\"htable\", \"htable\", \"e=>size=4;initval=0\")
modparam(\"dispatcher\", \"list_file\", \"@DIR@/dispatcher.list\")
modparam(\"dispatcher\", \"reload_delta\", 0)
modparam(\"dialog\", \"profiles_with_value\", \"caller\")
modparam(\"dialog\", \"profiles_no_value\", \"all\")
@MORE@
request_route { @ROUTE@ exit; }
";

/// What the dispatcher knows.
const DESTINATIONS: &str = "1 sip:127.0.0.1:9\n1 sip:127.0.0.1:7 0 5 duid=x;weight=5\n";

/// What a test wants of a server beyond what all have.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wishes {
    /// Further lines of the configuration.
    pub(crate) more: &'static str,
    /// What is done with a request of SIP.
    pub(crate) route: &'static str,
    /// Whether it listens on TCP as well.
    pub(crate) tcp: bool,
}

impl Wishes {
    /// HTTP on the port of SIP; `/rpc` takes commands.
    pub(crate) const HTTP: Wishes = Wishes {
        more: HTTP,
        route: "",
        tcp: true,
    };
}

const HTTP: &str = r#"
tcp_accept_no_cl=yes
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xhttp.so"
modparam("jsonrpcs", "transport", 7)
modparam("xhttp", "url_skip", "^/skipped")
event_route[xhttp:request] {
    if ($hu =~ "^/rpc") {
        if (!jsonrpc_dispatch()) xhttp_reply("400", "No JSON", "text/plain", "$rb");
        exit;
    }
    if ($hu == "/seen") {
        xhttp_reply("200", "OK", "text/plain",
            "$rm $hu $rv $mt $proto $si $Ri $bs $rb $hdr(X-Y) $cT $ua $ru $ci $fu $tu $cs $rU");
    } else if ($hu == "/field") {
        append_to_reply("X-A: b\r\n");
        xhttp_reply("201", "Created $rm", "application/json", "{}");
    } else if ($hu == "/twice") {
        xhttp_reply("200", "OK", "text/html", "one");
        xhttp_reply("200", "OK", "text/html", "two");
    } else if ($hu == "/odd") {
        xhttp_reply("99", "OK", "text/html", "one");
        xhttp_reply("-7", "OK", "text/html", "two");
        xhttp_reply("200", "", "text/html", "three");
        xhttp_reply("403", "Forbidden", "", "");
    } else if ($hu == "/sl") {
        sl_send_reply("404", "Nothing Here");
    } else if ($hu != "/silent") {
        xhttp_reply("404", "Not Found", "text/html", "<b>$hu</b>");
    }
    exit;
}
"#;

/// A process in a directory of its own; both are gone when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) dir: PathBuf,
    /// Of SIP.
    pub(crate) port: u16,
    /// The kernel brings datagrams to the core that owns their call.
    pub(crate) is_steered: bool,
    /// What it wrote to its log since it was ready.
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// dialcore with further lines of configuration, ready to answer.
    pub(crate) fn dialcore(more: &'static str) -> Server {
        let wishes = Wishes {
            more,
            ..Wishes::default()
        };
        Server::dialcore_with(&wishes)
    }

    /// The same as wished.
    pub(crate) fn dialcore_with(wishes: &Wishes) -> Server {
        let (dir, port) = (fresh_dir(), free_port());
        let config = configure(&dir, port, wishes);
        let mut process = Command::new(env!("CARGO_BIN_EXE_dialcore"))
            .args(["-DD", "-E", "-n", "2", "-f"])
            .arg(config)
            .arg("-Y")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // Its sockets are open before it says on how many cores it runs.
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let (mut is_ready, mut is_steered) = (false, false);
        let said: Vec<String> = lines
            .by_ref()
            .map(|line| line.expect("text"))
            .take_while(|line| {
                is_ready = line.contains("steering:") || line.contains("owns every call");
                is_steered = line.contains("in the kernel");
                !is_ready
            })
            .collect();
        let log = Arc::new(Mutex::new(said));
        let server = Server {
            process,
            dir,
            port,
            is_steered,
            log: log.clone(),
        };
        assert!(is_ready, "it did not start: {:?}", server.log());
        // What follows is read so that it never waits for us.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| {
                if let Ok(mut log) = log.lock() {
                    log.push(line);
                }
            });
        });
        server
    }

    /// What it has written to its log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// Debian's kamailio; `None` when it is not installed.
    pub(crate) fn kamailio(wishes: &Wishes) -> Option<Server> {
        let program = Path::new("/usr/sbin/kamailio");
        if !program.exists() {
            return None;
        }
        let (dir, port) = (fresh_dir(), free_port());
        let config = configure(&dir, port, wishes);
        let process = Command::new(program)
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-f"])
            .arg(config)
            .arg("-Y")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kamailio starts");
        let server = Server {
            process,
            dir,
            port,
            is_steered: false,
            log: Arc::default(),
        };
        let begin = Instant::now();
        let is_deaf = || wishes.tcp && TcpStream::connect(("127.0.0.1", port)).is_err();
        while UnixStream::connect(server.ctl()).is_err()
            || !server.path("json").exists()
            || is_deaf()
        {
            assert!(begin.elapsed() < PATIENCE, "kamailio did not start");
            std::thread::yield_now();
        }
        Some(server)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn ctl(&self) -> PathBuf {
        self.path("ctl")
    }

    /// What `kamcmd` prints.
    pub(crate) fn kamcmd(&self, words: &[&str]) -> String {
        let output = Command::new("kamcmd")
            .args(["-s", &format!("unix:{}", self.ctl().display()), "--"])
            .args(words)
            .output()
            .expect("kamcmd is installed");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        text
    }

    /// What `dialcore` as a client prints, and its exit code.
    pub(crate) fn client(&self, words: &[&str]) -> (String, String, Option<i32>) {
        Server::client_of(&format!("unix:{}", self.ctl().display()), words)
    }

    /// The same of a server elsewhere.
    pub(crate) fn client_of(socket: &str, words: &[&str]) -> (String, String, Option<i32>) {
        let output = Command::new(env!("CARGO_BIN_EXE_dialcore"))
            .args([words[0], "-s", socket])
            .args(&words[1..])
            .env("COLUMNS", "100")
            .output()
            .expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code();
        (text(&output.stdout), text(&output.stderr), code)
    }

    /// A connection to the socket of binary RPC.
    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.ctl()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// The answer to a datagram with JSON; `None` when none comes in time.
    pub(crate) fn json(&self, text: &str, patience: Duration) -> Option<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let own = self.path(&format!("c{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let socket = UnixDatagram::bind(&own).expect("a name of its own");
        socket.set_read_timeout(Some(patience)).expect("a socket");
        socket
            .send_to(text.as_bytes(), self.path("json"))
            .expect("it listens");
        let mut bytes = vec![0; 1 << 20];
        let size = socket.recv(&mut bytes).ok()?;
        bytes.truncate(size);
        Some(String::from_utf8(bytes).expect("JSON is UTF-8"))
    }

    /// The answer to JSON through the pair of pipes, which must be an object; `None` when none
    /// comes in time.
    pub(crate) fn json_by_pipe(&self, text: &str, patience: Duration) -> Option<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("r{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let own = self.path(&name);
        let made = Command::new("mkfifo").arg(&own).status();
        assert!(made.is_ok_and(|status| status.success()));
        let body = text.trim_start().strip_prefix('{').expect("an object");
        let comma = if body.trim_start().starts_with('}') {
            ""
        } else {
            ","
        };
        let text = format!("{{\"reply_name\":\"{name}\"{comma}{body}");
        let mut pipe = File::options()
            .write(true)
            .open(self.path("fifo"))
            .expect("a pipe");
        pipe.write_all(text.as_bytes()).expect("it is read");
        // Opening the other end waits for somebody who writes, for ever if nobody does.
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(fs::read_to_string(own)));
        told.recv_timeout(patience)
            .ok()
            .map(|read| read.expect("an answer"))
    }

    /// A connection to the port of SIP.
    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// The peak of the server's memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it runs");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .expect("it has memory");
        line.split_whitespace()
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .expect("kB")
            << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, so that kamailio takes its children along.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").arg(&id).status();
        let begin = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if begin.elapsed() > PATIENCE {
                let _ = self.process.kill();
            }
            std::thread::yield_now();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A port that nobody has now, of UDP and TCP.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let probe = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = probe.local_addr().expect("it is bound").port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for both");
}

fn fresh_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "dlg-rpc-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let dir = std::env::temp_dir().join(name);
    fs::create_dir_all(&dir).expect("there is a directory for temporary files");
    dir
}

fn configure(dir: &Path, port: u16, wishes: &Wishes) -> PathBuf {
    let tcp = match wishes.tcp {
        true => "listen=tcp:127.0.0.1:@PORT@",
        false => "disable_tcp=yes",
    };
    let text = CONFIG
        .replace("@TCP@", tcp)
        .replace("@MORE@", wishes.more)
        .replace("@ROUTE@", wishes.route)
        .replace("@PORT@", &port.to_string())
        .replace("@DIR@", dir.to_str().expect("a plain path"));
    fs::write(dir.join("dispatcher.list"), DESTINATIONS).expect("the directory is ours");
    let path = dir.join("sip.cfg");
    fs::write(&path, text).expect("the directory is ours");
    path
}
