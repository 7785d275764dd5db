//! The proxy that is looked at: started with the same configuration as any other, asked until it
//! answers, measured from outside by what the kernel knows of it, stopped by its own pid.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

const START_S_MAX: u64 = 20;
const STOP_S_MAX: u64 = 20;
/// What a tick of the kernel's accounting is worth; the same on every Linux that Rust runs on.
const TICKS_PER_S: u64 = 100;

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
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
            Kind::Dialcore => std::env::current_exe()
                .ok()
                .and_then(|own| Some(own.parent()?.join("dialcore")))
                .unwrap_or_else(|| "dialcore".into()),
            Kind::Kamailio => "/usr/sbin/kamailio".into(),
        }
    }

    /// What it says of itself.
    pub(crate) fn version(self) -> String {
        let output = Command::new(self.program()).arg("-v").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let text = text.unwrap_or_default();
        text.lines().next().unwrap_or("unknown").trim().to_owned()
    }
}

/// CPU seconds since the start.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cpu {
    /// In user space.
    pub(crate) user_s: f64,
    /// In the kernel.
    pub(crate) system_s: f64,
}

/// A running proxy.
pub(crate) struct Subject {
    kind: Kind,
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Subject {
    /// Starts it with `perf/dialog.cfg`, on a port of the system's, and waits until it answers.
    pub(crate) fn start(kind: Kind, callee: SocketAddr, cores: usize) -> io::Result<Subject> {
        let folder =
            std::env::temp_dir().join(format!("perf-{}-{}", std::process::id(), kind.name()));
        fs::create_dir_all(&folder)?;
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let text = include_str!("dialog.cfg")
            .replace("@PORT@", &port.to_string())
            .replace("@CALLEE@", &callee.to_string())
            .replace("@FOLDER@", &folder.to_string_lossy())
            .replace("@CORES@", &cores.to_string());
        let cfg = folder.join("dialog.cfg");
        fs::write(&cfg, text)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(kind.program());
        command.arg("-f").arg(&cfg).args(["-E", "-w"]).arg(&folder);
        match kind {
            Kind::Kamailio => {
                command
                    .args(["-DD", "-m", "4096", "-M", "64", "-Y"])
                    .arg(&folder);
            }
            Kind::Dialcore => {
                command.args(["-n", &cores.to_string()]);
            }
        }
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

    /// What its processes have used.
    pub(crate) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::default();
        for pid in self.processes() {
            let Some(fields) = stat(&pid) else { continue };
            // Fields 14 and 15 of proc(5), counted behind the name.
            let ticks = |index: usize| fields.get(index).and_then(|f| f.parse().ok()).unwrap_or(0);
            cpu.user_s += ticks(11) as f64 / TICKS_PER_S as f64;
            cpu.system_s += ticks(12) as f64 / TICKS_PER_S as f64;
        }
        cpu
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
        let socket = format!("unix:{}", self.folder.join("ctl").display());
        let output = Command::new("kamcmd")
            .args(["-s", &socket, "core.shmmem"])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|l| l.contains("real_used"))?;
        line.split(':').nth(1)?.trim().parse().ok()
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

/// The fields of `/proc/PID/stat` behind the name, the state first.
fn stat(process: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(process.join("stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
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
