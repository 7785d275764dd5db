//! SIGHUP to the real program: a good file takes over, a bad one changes nothing and says why.
#![cfg(feature = "runtime")]

mod program;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;
use std::{fs, thread};

use program::PATIENCE;

struct Server {
    child: Child,
    file: PathBuf,
    port: u16,
    log: Receiver<String>,
}

impl Server {
    fn start() -> Server {
        let port = program::free_port();
        let file = std::env::temp_dir().join(format!("reload-{}-{port}.cfg", std::process::id()));
        fs::write(&file, config(port, "404", "First")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dialcore"))
            .args(["-f", file.to_str().unwrap(), "-E", "-n", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|l| say.send(l)));
        Server {
            child,
            file,
            port,
            log,
        }
    }

    fn reload(&self, text: &str, until: &str) {
        fs::write(&self.file, text).unwrap();
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status();
        assert!(sent.is_ok_and(|s| s.success()));
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .log
                .recv_timeout(left)
                .expect("the log says what came of it");
            if line.contains(until) {
                return;
            }
        }
    }

    fn ask(&self) -> String {
        program::answer(self.port).expect("an answer")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.file);
    }
}

fn config(port: u16, status: &str, reason: &str) -> String {
    format!(
        "listen=udp:127.0.0.1:{port}\nauto_aliases=no\ndebug=1\nloadmodule \"sl.so\"\n\
         request_route {{ sl_send_reply(\"{status}\", \"{reason}\"); }}\n"
    )
}

#[test]
fn a_good_file_takes_over_and_a_bad_one_changes_nothing() {
    let server = Server::start();
    assert_eq!(server.ask(), "SIP/2.0 404 First");
    let second = config(server.port, "486", "Second");
    server.reload(&second, "the new configuration is in force");
    assert_eq!(server.ask(), "SIP/2.0 486 Second");
    let bad = second.replace("sl_send_reply", "sl_sent_reply");
    server.reload(&bad, "sl_sent_reply");
    assert_eq!(server.ask(), "SIP/2.0 486 Second");
    let moved = second.replace("Second", "Third") + "listen=udp:127.0.0.1:1\n";
    server.reload(&moved, "the old ones stay");
    assert_eq!(server.ask(), "SIP/2.0 486 Third");
}
