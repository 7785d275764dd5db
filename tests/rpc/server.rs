//! A server that a test starts and ends: dialcore, or Debian's kamailio as the judge.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
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
disable_tcp=yes
listen=udp:127.0.0.1:@PORT@
loadmodule \"tm.so\"
loadmodule \"sl.so\"
loadmodule \"rr.so\"
loadmodule \"pv.so\"
loadmodule \"ctl.so\"
loadmodule \"kex.so\"
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
modparam(\"dialog\", \"profiles_with_value\", \"caller\")
modparam(\"dialog\", \"profiles_no_value\", \"all\")
@MORE@
request_route { exit; }
";

/// A process in a directory of its own; both are gone when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) dir: PathBuf,
}

impl Server {
    /// dialcore with further lines of configuration, ready to answer.
    pub(crate) fn dialcore(more: &str) -> Server {
        let dir = fresh_dir();
        let config = configure(&dir, free_port(), more);
        let mut process = Command::new(env!("CARGO_BIN_EXE_dialcore"))
            .args(["-DD", "-E", "-n", "2", "-f"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // Its sockets are open before it says on how many cores it runs.
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let said: Vec<String> = lines
            .by_ref()
            .map(|line| line.expect("text"))
            .take_while(|line| !line.contains("steering:") && !line.contains("owns every call"))
            .collect();
        // What follows is read so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Server { process, dir };
        assert!(server.ctl().exists(), "it did not start: {said:?}");
        server
    }

    /// Debian's kamailio; `None` when it is not installed.
    pub(crate) fn kamailio() -> Option<Server> {
        let program = Path::new("/usr/sbin/kamailio");
        if !program.exists() {
            return None;
        }
        let dir = fresh_dir();
        let config = configure(&dir, free_port(), "");
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
        let server = Server { process, dir };
        let begin = Instant::now();
        while UnixStream::connect(server.ctl()).is_err() || !server.path("json").exists() {
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

/// A port that nobody has now; no message of SIP is sent to it.
fn free_port() -> u16 {
    let probe = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    probe.local_addr().expect("it is bound").port()
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

fn configure(dir: &Path, port: u16, more: &str) -> PathBuf {
    let text = CONFIG
        .replace("@PORT@", &port.to_string())
        .replace("@MORE@", more)
        .replace("@DIR@", dir.to_str().expect("a plain path"));
    let path = dir.join("sip.cfg");
    fs::write(&path, text).expect("the directory is ours");
    path
}
