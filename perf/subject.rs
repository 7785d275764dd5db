//! The proxy that is looked at: started with the same configuration as any other, asked until it
//! answers, measured from outside by what the kernel knows of it and by its own word over the
//! control socket, stopped by its own pid.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::kernel::{self, Cpus};
use crate::used::{Used, stat, threads};

const START_S_MAX: u64 = 20;
const STOP_S_MAX: u64 = 20;
/// Megabytes of Kamailio's shared pool, and of the private one of each process: more than any run
/// here fills.
const KAMAILIO_SHARED: &str = "4096";
const KAMAILIO_PRIVATE: &str = "64";

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The one of this tree.
    Dialcore,
    /// Debian's.
    Kamailio,
}

impl Kind {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Dialcore => "dialcore",
            Kind::Kamailio => "kamailio",
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Kind::Dialcore => built_dialcore(),
            Kind::Kamailio => "/usr/sbin/kamailio".into(),
        }
    }

    /// Whether it can be started.
    pub(crate) fn is_there(self) -> bool {
        self.program().exists()
    }

    /// What it says of itself.
    pub(crate) fn version(self) -> String {
        let output = Command::new(self.program()).arg("-v").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let text = text.unwrap_or_default();
        text.lines().next().unwrap_or("unknown").trim().to_owned()
    }
}

/// The program of this tree, beside this one; a test stands one folder deeper.
#[cfg(not(test))]
fn built_dialcore() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("dialcore")
}

/// The same for tests, which have it built, for nobody else does.
#[cfg(test)]
fn built_dialcore() -> PathBuf {
    static BUILT: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let profile = if cfg!(debug_assertions) {
            "dev"
        } else {
            "release"
        };
        let status = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([
                "build",
                "--quiet",
                "--features",
                "perf",
                "--bin",
                "dialcore",
                "--profile",
            ])
            .arg(profile)
            .status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "dialcore cannot be built"
        );
        let own = std::env::current_exe().unwrap_or_default();
        let folder = own.ancestors().nth(2).unwrap_or(&own);
        folder.join("dialcore")
    });
    BUILT.clone()
}

/// Installs Debian's Kamailio unless it is there, as `tests/run` does.
pub(crate) fn install_kamailio() -> io::Result<()> {
    if Kind::Kamailio.program().exists() {
        return Ok(());
    }
    eprintln!("Kamailio is not installed: apt-get install kamailio");
    for args in [
        &["update"][..],
        &["install", "--yes", "--no-install-recommends", "kamailio"],
    ] {
        let mut command = Command::new("apt-get");
        let status = command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(args)
            .status()?;
        if !status.success() {
            let text = format!("apt-get {} failed; root is needed for it", args.join(" "));
            return Err(io::Error::other(text));
        }
    }
    Ok(())
}

/// A proxy and how it is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Variant {
    /// Which.
    pub(crate) kind: Kind,
    /// Cores or UDP workers.
    pub(crate) workers: usize,
    /// The load generator has a CPU of its own, the last one, and the proxy all others.
    pub(crate) is_apart: bool,
}

impl Variant {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        let word = match (self.kind, self.workers) {
            (Kind::Dialcore, 1) => "core",
            (Kind::Dialcore, _) => "cores",
            (Kind::Kamailio, 1) => "worker",
            (Kind::Kamailio, _) => "workers",
        };
        let place = if self.is_apart { " apart" } else { "" };
        format!("{}, {} {word}{place}", self.kind.name(), self.workers)
    }
}

/// What a proxy says that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Holds {
    /// Dialogs in any state.
    pub(crate) dialogs: u64,
    /// Transactions in memory.
    pub(crate) transactions: u64,
    /// Timers that run; 0 of a proxy that does not say.
    pub(crate) timers: u64,
}

impl Holds {
    /// Whether nothing is left of any call.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Holds::default()
    }
}

/// What a proxy says that it did not take, in messages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct TurnedAway {
    /// INVITEs answered with 503.
    pub(crate) refused: u64,
    /// INVITEs forgotten.
    pub(crate) dropped: u64,
    /// Messages of any kind for which the kernel had no room.
    pub(crate) lost: u64,
}

/// A running proxy.
pub(crate) struct Subject {
    kind: Kind,
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Subject {
    /// Starts it with one of the scripts beside this file, on a port of the system's, and waits
    /// until it answers.
    pub(crate) fn start(
        variant: &Variant,
        script: &str,
        callee: SocketAddr,
        cpus: Option<Cpus>,
    ) -> io::Result<Subject> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let Variant { kind, workers, .. } = *variant;
        if !kind.is_there() {
            let text = format!(
                "{} is missing: cargo build --release",
                kind.program().display()
            );
            return Err(io::Error::other(text));
        }
        let count = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("perf-{}-{}-{count}", std::process::id(), kind.name());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let text = script
            .replace("@PORT@", &port.to_string())
            .replace("@CALLEE@", &callee.to_string())
            .replace("@FOLDER@", &folder.to_string_lossy())
            .replace("@CORES@", &workers.to_string());
        let cfg = folder.join("dialog.cfg");
        fs::write(&cfg, text)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(kind.program());
        command.arg("-f").arg(&cfg).args(["-E", "-w"]).arg(&folder);
        match kind {
            Kind::Kamailio => {
                command
                    .args(["-DD", "-m", KAMAILIO_SHARED, "-M", KAMAILIO_PRIVATE, "-Y"])
                    .arg(&folder);
            }
            Kind::Dialcore => {
                command.args(["-n", &workers.to_string()]);
            }
        }
        kernel::bind_child(&mut command, cpus);
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let subject = Subject {
            kind,
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            folder,
        };
        subject.wait_until_it_answers()?;
        Ok(subject)
    }

    fn wait_until_it_answers(&self) -> io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let own = socket.local_addr()?;
        let until = Instant::now() + Duration::from_secs(START_S_MAX);
        for n in 0u32.. {
            let probe = format!(
                "OPTIONS sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKprobe{n}\r\n\
                 From: <sip:probe@localhost>;tag=1\r\nTo: <sip:probe@localhost>\r\n\
                 Call-ID: probe{n}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 10\r\n\
                 Content-Length: 0\r\n\r\n",
                self.address
            );
            let _ = socket.send_to(probe.as_bytes(), self.address);
            if socket.recv(&mut [0; 2_048]).is_ok() {
                return Ok(());
            }
            if Instant::now() > until {
                break;
            }
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let text = format!("{} does not answer; its log:\n{log}", self.kind.name());
        Err(io::Error::other(text))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What all its threads have used.
    pub(crate) fn used(&self) -> Used {
        Used::of(self.processes().iter().flat_map(|pid| threads(pid)))
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = stat(&PathBuf::from(format!("/proc/{}", self.child.id())));
        stat.is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
    }

    /// Memory in use, in bytes: of its processes, each shared page counted once; of Kamailio, which
    /// takes its pool at the start, what is used of the pool.
    pub(crate) fn memory(&self) -> u64 {
        if self.kind == Kind::Kamailio {
            return self.pool_used().unwrap_or(0);
        }
        let pss = |pid: &PathBuf| -> Option<u64> {
            let text = fs::read_to_string(pid.join("smaps_rollup")).ok()?;
            let line = text.lines().find(|l| l.starts_with("Pss:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1_024)
        };
        self.processes().iter().filter_map(pss).sum()
    }

    fn pool_used(&self) -> Option<u64> {
        number(self.ask("core.shmmem").ok()?.get("real_used")?)
    }

    /// The answer to a command without parameters.
    fn ask(&self, method: &str) -> io::Result<Json> {
        let socket = format!("unix:{}", self.folder.join("ctl").display());
        let output = Command::new(Kind::Dialcore.program())
            .args(["rpc", "--json", "-s", &socket, method])
            .output()?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            io::Error::other(format!("{method} of {}: {text}", self.kind.name()))
        })
    }

    /// What it has turned away so far; `None` of one that does not say.
    pub(crate) fn turned_away(&self) -> io::Result<Option<TurnedAway>> {
        if self.kind == Kind::Kamailio {
            return Ok(None);
        }
        let cores = self.ask("core.shards")?;
        let cores = cores.as_array().map_or(&[][..], Vec::as_slice);
        let sum = |name| cores.iter().filter_map(|core| number(&core[name])).sum();
        Ok(Some(TurnedAway {
            refused: sum("calls_refused"),
            dropped: sum("calls_dropped"),
            lost: sum("udp_receive_drops"),
        }))
    }

    /// What it says that it holds.
    pub(crate) fn holds(&self) -> io::Result<Holds> {
        match self.kind {
            Kind::Dialcore => {
                let cores = self.ask("core.shards")?;
                let cores = cores.as_array().map_or(&[][..], Vec::as_slice);
                let sum = |name| cores.iter().filter_map(|core| number(&core[name])).sum();
                Ok(Holds {
                    dialogs: sum("held_dialogs"),
                    transactions: sum("held_transactions"),
                    timers: sum("held_timers"),
                })
            }
            Kind::Kamailio => {
                let all = self.ask("dlg.stats_active")?;
                let transactions = self.ask("tm.stats")?;
                Ok(Holds {
                    dialogs: number(&all["all"]).unwrap_or(0),
                    transactions: number(&transactions["current"]).unwrap_or(0),
                    timers: 0,
                })
            }
        }
    }

    /// Waits until it holds nothing, or for so long: what it holds then.
    pub(crate) fn drained(&self, longest: Duration) -> io::Result<Holds> {
        let until = Instant::now() + longest;
        loop {
            let holds = self.holds()?;
            if holds.is_nothing() || Instant::now() > until {
                return Ok(holds);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The folders in /proc of the processes of its group.
    fn processes(&self) -> Vec<PathBuf> {
        let group = self.child.id().to_string();
        let Ok(all) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let is_ours = |path: &PathBuf| stat(path).is_some_and(|f| f.get(2) == Some(&group));
        all.flatten().map(|e| e.path()).filter(is_ours).collect()
    }
}

fn number(value: &Json) -> Option<u64> {
    match value {
        Json::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let until = Instant::now() + Duration::from_secs(STOP_S_MAX);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
