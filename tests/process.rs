//! What the program is to the system: its tree, its directories, its user, its files.
//!
//! To become somebody else needs root; without it the tests that do so say that they did not.
#![cfg(feature = "runtime")]

mod program;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A proxy in a directory of its own, which goes with it.
struct Server {
    child: Child,
    dir: PathBuf,
    said: String,
}

impl Server {
    /// Starts it and reads what it says until it runs. `DIR` stands for its directory.
    fn start(name: &str, globals: &str, args: &[&str]) -> Server {
        let port = program::free_port();
        let dir = std::env::temp_dir().join(format!("process-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("inner")).unwrap();
        let at = |text: &str| text.replace("DIR", dir.to_str().unwrap());
        let text = format!(
            "listen=udp:127.0.0.1:{port}\nauto_aliases=no\ndebug=2\n{}\nloadmodule \"sl.so\"\n\
             request_route {{ sl_send_reply(\"200\", \"OK\"); }}\n",
            at(globals)
        );
        fs::write(dir.join("x.cfg"), text).unwrap();
        let file = dir.join("x.cfg");
        let mut child = Command::new(env!("CARGO_BIN_EXE_dialcore"))
            .args(["-f", file.to_str().unwrap(), "-E", "-n", "1"])
            .args(args.iter().map(|arg| at(arg)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        // The granted buffers are the first that a running proxy speaks of.
        while !said.contains("the kernel granted") {
            let before = said.len();
            lines.read_line(&mut said).unwrap();
            if said.len() == before {
                break;
            }
        }
        // Nobody may block because nobody reads.
        std::thread::spawn(move || drop(lines.read_to_end(&mut Vec::new())));
        Server { child, dir, said }
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(name)
    }

    fn link(&self, name: &str) -> PathBuf {
        fs::read_link(self.proc(name)).expect("it runs")
    }

    fn status(&self, name: &str) -> String {
        let text = fs::read_to_string(self.proc("status")).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it is there")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn ask(&self, port: u16) -> String {
        program::answer(port).unwrap_or_else(|| panic!("no answer: {}", self.said))
    }

    fn port(&self) -> u16 {
        let text = fs::read_to_string(self.dir.join("x.cfg")).unwrap();
        let line = text.lines().next().unwrap();
        line.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Ends it as an operator does; whether it ended well.
    fn stop(&mut self) -> bool {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.is_ok_and(|s| s.success()));
        self.child.wait().is_ok_and(|s| s.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether this is root, who may become anybody.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t0"));
    if !is_root {
        eprintln!("this needs root; nothing was tried");
    }
    is_root
}

#[test]
fn it_runs_in_another_tree_as_somebody_else() {
    if !is_root() {
        return;
    }
    let rows: [(&str, &str, &[&str]); 2] = [
        (
            "args",
            "",
            &[
                "-t",
                "DIR/inner",
                "-u",
                "nobody",
                "-g",
                "nogroup",
                "-P",
                "/pid",
            ],
        ),
        (
            "file",
            "chroot=\"DIR/inner\"\nuid=65534\ngid=65534\nworkdir=\"/\"",
            &["-P", "/pid"],
        ),
    ];
    for (name, globals, args) in rows {
        let mut server = Server::start(name, globals, args);
        let inner = server.dir.join("inner");
        assert_eq!(server.ask(server.port()), "SIP/2.0 200 OK");
        assert_eq!(server.link("root"), inner, "{name}");
        assert_eq!(server.link("cwd"), inner, "{name}");
        let nobody = "65534 65534 65534 65534";
        assert_eq!(
            (server.status("Uid:"), server.status("Gid:")),
            (nobody.into(), nobody.into())
        );
        assert_eq!(server.status("Groups:"), "");
        let pid = fs::read_to_string(inner.join("pid")).expect("the pid file is in the tree");
        assert_eq!(pid, format!("{}\n", server.child.id()));
        assert!(server.stop());
    }
}

#[test]
fn a_tree_that_is_not_there_ends_the_start() {
    if !is_root() {
        return;
    }
    let mut server = Server::start("nowhere", "", &["-t", "DIR/nowhere"]);
    assert_eq!(server.child.wait().unwrap().code(), Some(255));
    let said = "ERROR: cannot change the root directory: No such file or directory";
    assert!(server.said.contains(said), "{}", server.said);
}

#[test]
fn it_works_where_it_is_told_to_and_leaves_its_pid() {
    let rows: [(&str, &str, &[&str]); 3] = [
        (
            "dir-args",
            "workdir=\"DIR\"",
            &["-w", "DIR/inner", "-P", "pid"],
        ),
        ("dir-file", "workdir=\"DIR/inner\"", &["-P", "pid"]),
        ("dir-short", "wdir=\"DIR/inner\"", &["-P", "pid"]),
    ];
    for (name, globals, args) in rows {
        let mut server = Server::start(name, globals, args);
        let inner = server.dir.join("inner");
        assert_eq!(server.link("cwd"), inner, "{name}");
        assert!(inner.join("pid").exists(), "{name}");
        assert!(server.stop(), "{name}");
        assert!(!inner.join("pid").exists(), "{name}");
    }
}

#[test]
fn what_has_no_effect_is_named_once_in_the_log() {
    let globals = "children=4\nmemlog=3\nchildren=2\ntcp_children=2";
    let server = Server::start("idle", globals, &[]);
    let line = "WARNING: global parameters without effect: children, memlog, tcp_children";
    assert_eq!(server.said.matches(line).count(), 1, "{}", server.said);
    assert_eq!(
        server.said.matches("without effect").count(),
        1,
        "{}",
        server.said
    );
}

/// How a program ends with these arguments, in the folder of its configurations.
fn end_of(program: &str, args: &str, dir: &Path) -> Option<i32> {
    let mut command = Command::new(program);
    if program.ends_with("kamailio") {
        command.args(["-m", "64", "-M", "8", "-Y", dir.to_str().unwrap()]);
    }
    let output = command
        .args(args.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output();
    output.expect("it starts").status.code()
}

/// Where Debian's Kamailio is installed it says whether the expectations are its own.
#[test]
fn the_command_line_ends_as_the_originals_does() {
    const KAMAILIO: &str = "/usr/sbin/kamailio";
    let dir = std::env::temp_dir().join(format!("process-line-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &str| {
        let text = format!("#!KAMAILIO\nlisten=udp:127.0.0.1:5060\nauto_aliases=no\n{text}\n");
        fs::write(dir.join(name), text).unwrap();
    };
    write("good.cfg", "request_route { exit; }");
    write("bad.cfg", "request_route { nothing(); }");
    write(
        "defined.cfg",
        "#!ifdef WANTED\nrequest_route { exit; }\n#!else\n{\n#!endif",
    );
    write(
        "replaced.cfg",
        "loadmodule \"MODULE.so\"\nrequest_route { exit; }",
    );
    write("number.cfg", "max_branches=NUMBER\nrequest_route { exit; }");
    write(
        "loaded.cfg",
        "request_route { sl_send_reply(\"200\", \"OK\"); }",
    );
    let (good, bad) = (Some(0), Some(255));
    let rows = [
        ("-f good.cfg -c", good),
        ("-c -f good.cfg", good),
        ("-f bad.cfg -c", bad),
        ("-f nowhere.cfg -c", bad),
        ("-f defined.cfg -c", bad),
        ("-f defined.cfg -c -A WANTED", good),
        ("-f defined.cfg -c -A WANTED=yes", good),
        ("-f replaced.cfg -c", bad),
        ("-f replaced.cfg -c --subst=/MODULE/sl/", good),
        ("-f replaced.cfg -c --substdef=/MODULE/sl/", good),
        ("-f number.cfg -c --substdef=/NUMBER/12/", good),
        ("-f number.cfg -c", bad),
        ("-f loaded.cfg -c", bad),
        ("-f loaded.cfg -c --loadmodule=sl", good),
        ("-f loaded.cfg -c --loadmodule=nowhere", bad),
        (
            "-f loaded.cfg -c --loadmodule=sl --modparam=sl:default_code:i:500",
            good,
        ),
        (
            "-f loaded.cfg -c --loadmodule=sl --modparam=sl:default_code:s:x",
            bad,
        ),
        (
            "-f loaded.cfg -c --loadmodule=sl --modparam=sl:nothing:i:1",
            bad,
        ),
        ("-f good.cfg -c --alias=x.test:5060 --server-id=7", good),
        ("-f good.cfg -c -l udp:127.0.0.1:5070", good),
        ("-f good.cfg -c -l 127.0.0.1:5070 -T -S", good),
        ("-f good.cfg -c -DD -E -e -d -d --debug=2", good),
        ("-f good.cfg -c -n 2 -N 2 -m 64 -M 8", good),
        ("-f good.cfg -c -a no -r -R -K", good),
        ("-f good.cfg -c -W poll -O 8 -b 65536 -x fm -X fm", good),
        ("-f good.cfg -c --log-engine=json --atexit=no", good),
        ("-f good.cfg -c -P pid -G group -w . -u root -g root", good),
        ("-f good.cfg -c -L /nowhere", good),
        ("-f good.cfg -c -a maybe", bad),
        ("-f good.cfg -c -W nothing", bad),
        ("-q", bad),
        ("--nothing", bad),
        ("-v", good),
        ("-V", good),
        ("--version", good),
        ("-I", good),
        ("-h", good),
    ];
    let mut wrong = String::new();
    for (args, want) in rows {
        let found = end_of(env!("CARGO_BIN_EXE_dialcore"), args, &dir);
        if found != want {
            wrong += &format!("{args}: {found:?}, not {want:?}\n");
        }
        if Path::new(KAMAILIO).exists() {
            let judged = end_of(KAMAILIO, args, &dir);
            if judged != want {
                wrong += &format!("{args}: Kamailio {judged:?}, not {want:?}\n");
            }
        }
    }
    let _ = fs::remove_dir_all(&dir);
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn signals_end_it_well_or_not_at_all() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&format!("signal{signal}"), "", &[]);
        for harmless in ["-PIPE", "-USR1", "-HUP"] {
            let id = server.child.id().to_string();
            let sent = Command::new("kill").args([harmless, &id]).status();
            assert!(sent.is_ok_and(|s| s.success()));
            assert_eq!(server.ask(server.port()), "SIP/2.0 200 OK", "{harmless}");
        }
        let id = server.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.is_ok_and(|s| s.success()));
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}
