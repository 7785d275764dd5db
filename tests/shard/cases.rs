//! Configurations with the names of every module, run in a shard.
//!
//! `tests/script/cases/NAME.cfg` is a configuration, `NAME.steps` what happens to it (without it,
//! `default.steps`), `NAME.out` what it logs and sends; `UPDATE_EXPECT=1` writes that anew. Steps
//! begin with `> `:
//!
//! ```text
//!   > from 192.0.2.1:5060        a datagram; the lines up to the next step are the message
//!   > tcp from 192.0.2.1:5060    the same on a connection
//!   > http from 192.0.2.1:5060   a request of HTTP
//!   > answer 200                 the last request that was sent is answered by who got it; the
//!                                lines up to the next step are headers of the answer
//!   > wait 5                     seconds pass
//!   > found 192.0.2.9:5060       DNS answers the oldest question; without an address: nothing
//!   > records A 192.0.2.9        it answers a script: records with what they hold; none: nothing
//!   > lost                       the last message could not be sent
//! ```
//!
//! In what is sent, branches, tags and Call-IDs of the proxy's own are masked. `NAME.list` is a
//! file that the configuration can name.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use dialcore::effect::name::{Pointer, Server};
use dialcore::effect::{NameRecord, Proto, ResolveError};

use super::proxy::{Proxy, Sent, answer};

/// The directory of the scripts.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script")
}

/// The files of a directory that have this extension, by name.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .expect("the directory is part of the tree")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}

/// The message with CRLF, and the right Content-Length where `@LENGTH@` stands.
fn message(text: &str) -> String {
    let text = text.replace('\n', "\r\n");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let body = body.trim_end_matches("\r\n");
    let body = if body.is_empty() {
        String::new()
    } else {
        format!("{body}\r\n")
    };
    let head = head.replace("@LENGTH@", &body.len().to_string());
    format!("{}\r\n\r\n{body}", head.trim_end_matches("\r\n"))
}

/// What follows `mark` up to a character that no identifier has, masked if it is as long as those
/// that the proxy makes.
fn masked(line: &str, mark: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(mark) {
        let (before, after) = rest.split_at(at + mark.len());
        let len = after
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'))
            .unwrap_or(after.len());
        out.push_str(before);
        out.push_str(if len > 11 { "*" } else { &after[..len] });
        rest = &after[len..];
    }
    out + rest
}

fn show(sent: &Sent, out: &mut String) {
    let by = match sent.proto {
        Proto::Udp => String::new(),
        proto => format!(" by {}", proto.lower()),
    };
    let _ = writeln!(out, "to {}{by}:", sent.to);
    for line in sent.text.trim_end().split("\r\n") {
        let line = masked(&masked(line, "branch=z9hG4bK"), "tag=");
        let line = masked(&line, "Call-ID: ");
        let _ = writeln!(out, "    {line}");
    }
}

/// One step: its words, and the lines that follow it.
fn step(p: &mut Proxy, last: &Sent, words: &[&str], text: &str) -> Vec<Sent> {
    match words {
        ["from", from] => p.receive(from, &message(text)),
        ["tcp", "from", from] => p.receive_bytes(from, Proto::Tcp, message(text).as_bytes()),
        ["http", "from", from] => p.receive_http(from, &message(text)),
        ["answer", code] => {
            let code = code.parse().expect("a status code");
            let more: String = text.lines().map(|line| format!("{line}\r\n")).collect();
            let answer = answer(last, code, "b1").replace("Contact:", &format!("{more}Contact:"));
            p.receive(&last.to.to_string(), &answer)
        }
        ["wait", seconds] => p.wait(seconds.parse().expect("seconds")),
        ["found"] => p.resolve(Err(ResolveError::NotFound)),
        ["found", addresses @ ..] => p.resolve(Ok(addresses)),
        ["records"] => p.found(Err(ResolveError::NotFound)),
        ["records", written @ ..] => p.found(Ok(records(written))),
        ["lost"] => p.not_sent(last.token.expect("somebody hears of it")),
        _ => panic!("no step: {words:?}"),
    }
}

/// `A address`, `PTR name`, `SRV priority weight port target`, `NAPTR order preference flags
/// services regexp replacement`, one behind the other.
fn records(mut words: &[&str]) -> Vec<NameRecord> {
    let mut records = vec![];
    while let Some((kind, rest)) = words.split_first() {
        let number = |at: usize| rest[at].parse().expect("a number");
        let (record, size) = match *kind {
            "A" => (NameRecord::Address(rest[0].parse().expect("an address")), 1),
            "PTR" => (NameRecord::Name(rest[0].into()), 1),
            "SRV" => {
                let server = Server {
                    priority: number(0),
                    weight: number(1),
                    port: number(2),
                    target: rest[3].into(),
                };
                (NameRecord::Server(server), 4)
            }
            "NAPTR" => {
                let pointer = Pointer {
                    order: number(0),
                    preference: number(1),
                    flags: rest[2].as_bytes().into(),
                    services: rest[3].as_bytes().into(),
                    regexp: rest[4].as_bytes().into(),
                    replacement: rest[5].into(),
                };
                (NameRecord::Pointer(pointer), 6)
            }
            kind => panic!("no type of record: {kind}"),
        };
        records.push(record);
        words = &rest[size..];
    }
    records
}

fn run(path: &Path, steps: &str) -> String {
    let cfg = fs::read_to_string(path).expect("a configuration");
    let list = path.with_extension("list");
    let name = list
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let list = fs::read_to_string(&list).unwrap_or_default();
    let mut p = Proxy::from_files(&[("text", &cfg), (name, &list)]);
    let mut out = String::new();
    let mut last = None;
    for part in format!("\n{steps}").split("\n> ").skip(1) {
        let (words, text) = part.split_once('\n').unwrap_or((part, ""));
        let _ = writeln!(out, "> {words}");
        let words: Vec<&str> = words.split_whitespace().collect();
        let nothing = Sent {
            to: "0.0.0.0:0".parse().expect("an address"),
            proto: Proto::Udp,
            token: None,
            text: String::new(),
        };
        let sent = step(&mut p, last.as_ref().unwrap_or(&nothing), &words, text);
        for line in p.said() {
            let _ = writeln!(out, "log {line}");
        }
        for message in sent {
            show(&message, &mut out);
            if !message.text.starts_with("SIP/2.0") {
                last = Some(message);
            }
        }
    }
    out
}

#[test]
fn what_the_cases_log_and_send() {
    let directory = directory().join("cases");
    let common = fs::read_to_string(directory.join("default.steps")).expect("the common steps");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    for path in files(&directory, "cfg") {
        let steps = fs::read_to_string(path.with_extension("steps"));
        let found = run(&path, steps.as_ref().unwrap_or(&common));
        let expected = path.with_extension("out");
        if update {
            fs::write(&expected, &found).expect("the tree is writable");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            let _ = writeln!(wrong, "{}:\n{found}", path.display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
