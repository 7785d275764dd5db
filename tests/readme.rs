//! README.md is true: its commands run, its configuration fragments parse, its tables are printed
//! from the program.
//!
//! The word after the language of a fence says what is done with it:
//!
//! ```text
//! ```sh run      runs in bash from the root of the tree and must succeed
//! ```sh serve    runs in the background until the next `sh serve` or the end of the file
//! ```sh          is shown only; paths of this tree that it begins a line with must exist
//! ```cfg         is a whole configuration, or a part of one that stands by itself
//! ```text        is output
//! ```
//!
//! What runs commands is ignored by default, because it needs the release build and free ports:
//! `tests/run readme` does it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dialcore::modules::{self, Setup};
use dialcore::script::{self, FunctionSig, InnerKind, ParamKind, RouteKind, RouteKinds};

/// A command that takes longer has failed.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a program that was started may refuse its first command, the build included.
const START_TIME_MAX: Duration = Duration::from_secs(300);

/// One fenced block.
#[derive(Debug, PartialEq)]
struct Fence<'a> {
    info: &'a str,
    text: String,
    /// The line of its opening, from 1.
    line: usize,
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut found: Vec<Fence<'_>> = vec![];
    let mut is_open = false;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), is_open) {
            (Some(info), false) => found.push(Fence {
                info: info.trim(),
                text: String::new(),
                line: number + 1,
            }),
            (None, true) => {
                let fence = found.last_mut().expect("an open fence was pushed");
                fence.text += line;
                fence.text += "\n";
            }
            (Some(_), true) | (None, false) => {}
        }
        is_open ^= line.starts_with("```");
    }
    assert!(!is_open, "the last fence is not closed");
    found
}

#[test]
fn every_fence_has_a_meaning() {
    let known = ["sh run", "sh serve", "sh", "cfg", "text"];
    for fence in fences(&readme()) {
        assert!(
            known.contains(&fence.info),
            "README.md:{}: `{}` is none of {known:?}",
            fence.line,
            fence.info
        );
    }
}

#[test]
fn the_paths_of_commands_exist() {
    let text = readme();
    for fence in fences(&text).iter().filter(|f| f.info.starts_with("sh")) {
        for line in fence.text.lines() {
            // `NAME=value command` names the command second.
            let mut words = line.split_whitespace().skip_while(|w| w.contains('='));
            let Some(word) = words.next() else { continue };
            let is_ours = word.contains('/') && !word.starts_with(['/', '#', '-']);
            if is_ours && !word.starts_with("target/") {
                assert!(
                    root().join(word).exists(),
                    "README.md:{}: {word}",
                    fence.line
                );
            }
        }
    }
}

#[test]
fn every_configuration_parses() {
    let text = readme();
    for fence in fences(&text).iter().filter(|f| f.info == "cfg") {
        if let Err(why) = parse_configuration(&fence.text) {
            panic!("README.md:{}: {why}", fence.line);
        }
    }
}

/// What the program says of a configuration. Every fragment of README.md goes through here.
fn parse_configuration(text: &str) -> Result<(), String> {
    Setup::from_text(text, 1)
        .map(|_| ())
        .map_err(|errors| errors.to_string())
}

/// The tables that the program prints about itself: the name in the marker, and the text.
fn tables() -> Vec<(&'static str, String)> {
    vec![
        ("functions", functions()),
        ("parameters", parameters()),
        ("variables", variables()),
        ("transformations", transformations()),
        ("globals", globals()),
    ]
}

fn functions() -> String {
    let mut rows = vec![["function", "where", "what"].map(String::from).to_vec()];
    for module in modules::all() {
        for FunctionSig {
            name,
            params,
            required,
            routes,
            planned,
            doc,
        } in module.functions.iter().map(|f| f.sig)
        {
            let params: Vec<_> = params.iter().map(|kind| word(*kind)).collect();
            let given = params[..required].join(", ");
            let rest: String = params[required..]
                .iter()
                .map(|p| format!("[, {p}]"))
                .collect();
            let rest = if required == 0 {
                rest.replacen("[, ", "[", 1)
            } else {
                rest
            };
            let signature = format!("{}: `{name}({given}{rest})`", module.name);
            rows.push(vec![signature, places(routes), planned_doc(planned, doc)]);
        }
    }
    table(&rows)
}

fn word(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Const => "text",
        ParamKind::Int => "int",
        ParamKind::Text => "format",
        ParamKind::Single => "text or variable",
        ParamKind::Output => "variable to write",
        ParamKind::Variable => "variable",
        ParamKind::Regex => "regex",
        ParamKind::Subst => "/regex/text/flags",
        ParamKind::Route(_) => "route",
        ParamKind::Flag => "flag",
        ParamKind::Level => "level",
        ParamKind::Quoted => "format",
        ParamKind::Count => "count",
        ParamKind::Host => "host",
        ParamKind::Port => "port",
        ParamKind::Socket => "socket",
        ParamKind::Word => "word",
        ParamKind::OneOf(_) => "one of some words",
        ParamKind::ListOf(_) => "A|B",
    }
}

fn places(routes: RouteKinds) -> String {
    let kinds = [
        RouteKind::Request,
        RouteKind::Failure,
        RouteKind::Branch,
        RouteKind::Onreply,
        RouteKind::Reply,
        RouteKind::Onsend,
    ];
    if kinds.iter().all(|kind| routes.contains(*kind)) {
        return "any".into();
    }
    let words = kinds.iter().filter(|kind| routes.contains(**kind));
    words
        .map(|kind| format!("{kind:?}").to_lowercase())
        .collect::<Vec<_>>()
        .join(" ")
}

fn planned_doc(planned: bool, doc: &str) -> String {
    if planned {
        format!("*planned:* {doc}")
    } else {
        doc.to_string()
    }
}

fn parameters() -> String {
    let mut rows = vec![
        ["parameter", "type", "default", "what"]
            .map(String::from)
            .to_vec(),
    ];
    for module in modules::all() {
        for sig in module.params.iter().map(|p| p.sig) {
            rows.push(vec![
                format!("{}: `{}`", module.name, sig.name),
                format!("{:?}", sig.kind).to_lowercase(),
                if sig.default.is_empty() {
                    "-".into()
                } else {
                    format!("`{}`", sig.default)
                },
                planned_doc(sig.planned, sig.doc),
            ]);
        }
    }
    table(&rows)
}

fn variables() -> String {
    let mut rows = vec![
        ["variable", "assignable", "what"]
            .map(String::from)
            .to_vec(),
    ];
    for module in modules::all() {
        for sig in module.variables.iter().map(|v| v.sig) {
            let inner = match sig.inner {
                InnerKind::None => String::new(),
                InnerKind::Name | InnerKind::Declared(_) => "(name)".into(),
                InnerKind::Item => "(table=>key)".into(),
                InnerKind::PathFrom(_) => "(path)".into(),
                InnerKind::OptionalName => "[(name)]".into(),
                InnerKind::OneOf(words) => format!("({})", words.join(" ")),
                InnerKind::Variable => "($variable)".into(),
            };
            rows.push(vec![
                format!("{}: `${}{inner}`", module.name, sig.name),
                if sig.writable {
                    "yes".into()
                } else {
                    "no".into()
                },
                planned_doc(sig.planned, sig.doc),
            ]);
        }
    }
    table(&rows)
}

fn transformations() -> String {
    let mut rows = vec![["transformation", "parameters"].map(String::from).to_vec()];
    rows.extend(script::transformations().map(|(name, doc)| vec![format!("`{name}`"), doc.into()]));
    table(&rows)
}

fn globals() -> String {
    let mut rows = vec![["parameter", "type", "what"].map(String::from).to_vec()];
    for sig in modules::vocabulary().globals {
        let what = if sig.ignored {
            format!("*no effect:* {}", sig.doc)
        } else {
            sig.doc.into()
        };
        rows.push(vec![
            format!("`{}`", sig.name),
            format!("{:?}", sig.kind).to_lowercase(),
            what,
        ]);
    }
    table(&rows)
}

/// A Markdown table; the first row is its head.
fn table(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", " --- |".repeat(rows[0].len()));
    let body: String = rows[1..].iter().map(line).collect();
    format!("\n{}{rule}{body}", line(&rows[0]))
}

#[test]
fn the_tables_are_those_of_the_program() {
    let text = readme();
    let fresh = filled(&text, &tables());
    if text != fresh {
        fs::write(root().join("README.md"), fresh).expect("README.md is writable");
        panic!("the tables of README.md were stale; they are rewritten, look and commit them");
    }
}

/// The text with each table between its markers, `<!-- registry:NAME -->` and
/// `<!-- registry:end -->`.
fn filled(text: &str, tables: &[(&str, String)]) -> String {
    let end = "<!-- registry:end -->";
    let mut out = text.to_string();
    for (name, table) in tables {
        let marker = format!("<!-- registry:{name} -->");
        let begin = out
            .find(&marker)
            .expect("README.md has a place for each table")
            + marker.len();
        let size = out[begin..].find(end).expect("a marker has an end");
        out.replace_range(begin..begin + size, &format!("\n{}\n", table.trim_end()));
    }
    out
}

#[test]
fn a_table_goes_between_its_markers() {
    let text = "a\n<!-- registry:f -->\nold\n<!-- registry:end -->\nb";
    let want = "a\n<!-- registry:f -->\n| new |\n<!-- registry:end -->\nb";
    let tables = [("f", "| new |\n".to_string())];
    assert_eq!(filled(text, &tables), want);
    assert_eq!(filled(want, &tables), want);
}

#[test]
fn a_broken_configuration_is_found() {
    let table = [
        ("request_route {\n    # it's (fine\n    exit;\n}\n", true),
        ("request_route {\n", false),
        ("listen=\"udp:127.0.0.1\n", false),
    ];
    for (text, want) in table {
        assert_eq!(parse_configuration(text).is_ok(), want, "{text}");
    }
}

#[test]
fn fences_are_found() {
    let text = "a\n```sh run\nb\nc\n```\nd\n```\n```\n";
    let fence = |info, text: &str, line| Fence {
        info,
        text: text.to_string(),
        line,
    };
    assert_eq!(
        fences(text),
        [fence("sh run", "b\nc\n", 2), fence("", "", 7)]
    );
}

/// A program of a `sh serve` fence, with all that it started; stopped when dropped.
struct Server {
    bash: Child,
    line: usize,
}

impl Server {
    fn start(fence: &Fence<'_>) -> Server {
        Server {
            bash: bash(&fence.text).spawn().expect("bash"),
            line: fence.line,
        }
    }

    fn check_runs(&mut self) -> Result<(), String> {
        match self.bash.try_wait().expect("the state of a child") {
            None => Ok(()),
            Some(status) => Err(format!("README.md:{}: it ended: {status}", self.line)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end_group(&mut self.bash);
    }
}

/// Bash with the text of a fence, as the first of a process group.
fn bash(text: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", text])
        .current_dir(root())
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// Asks a process group to end, and ends it.
fn end_group(leader: &mut Child) {
    let group = format!("-{}", leader.id());
    for signal in ["-TERM", "-KILL"] {
        // A group that has ended already is what is wanted.
        let mut kill = Command::new("kill");
        kill.args([signal, "--", &group]).stderr(Stdio::null());
        let signalled = kill.status();
        if signal == "-TERM" && signalled.is_ok_and(|status| status.success()) {
            wait(leader, Duration::from_secs(10));
        }
    }
    wait(leader, Duration::from_secs(10));
}

/// Whether the process succeeded within the time; `None` when it still runs.
fn wait(child: &mut Child, time: Duration) -> Option<bool> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().expect("the state of a child") {
            return Some(status.success());
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn succeeds(text: &str) -> bool {
    let mut child = bash(text).spawn().expect("bash");
    let success = wait(&mut child, RUN_TIME_MAX);
    if success.is_none() {
        end_group(&mut child);
    }
    success == Some(true)
}

/// Runs what a text says, as the header explains. The first command after a start may come too
/// early, and is tried again for as long as `start_time_max`.
fn execute(text: &str, start_time_max: Duration) -> Result<(), String> {
    let mut server: Option<Server> = None;
    let mut start = None;
    for fence in &fences(text) {
        match fence.info {
            "sh serve" => {
                drop(server.take());
                server = Some(Server::start(fence));
                start = Some(Instant::now());
            }
            "sh run" => {
                while !succeeds(&fence.text) {
                    if start.is_none_or(|start| start.elapsed() > start_time_max) {
                        return Err(format!("README.md:{}: failed: {}", fence.line, fence.text));
                    }
                    server.iter_mut().try_for_each(Server::check_runs)?;
                    std::thread::sleep(Duration::from_millis(100));
                }
                server.iter_mut().try_for_each(Server::check_runs)?;
                start = None;
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn commands_run_beside_their_server() {
    let server = "```sh serve\nexec sleep 60\n```\n";
    let run = |command: &str| format!("```sh run\n{command}\n```\n");
    let table = [
        (run("true"), true),
        (run("true\nfalse\ntrue"), false),
        (format!("{server}{}", run("true")), true),
        (format!("{server}{}{}", run("true"), run("false")), false),
        (format!("{server}{}", run("false")), false),
        // A server that has ended is a failure although the command succeeds.
        (format!("```sh serve\ntrue\n```\n{}", run("sleep 1")), false),
    ];
    for (text, want) in table {
        let done = execute(&text, Duration::from_millis(300));
        assert_eq!(done.is_ok(), want, "{text}{done:?}");
    }
}

#[test]
#[ignore = "starts the program on the ports of README.md: tests/run readme"]
fn the_commands_do_what_they_say() {
    let text = readme();
    let fences = fences(&text);
    for info in ["sh serve", "sh run"] {
        assert!(
            fences.iter().any(|f| f.info == info),
            "README.md has no `{info}`"
        );
    }
    execute(&text, START_TIME_MAX).unwrap_or_else(|why| panic!("{why}"));
}
