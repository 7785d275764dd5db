//! What Debian's Kamailio accepts, dialcore loads; what it rejects, dialcore rejects.
//!
//! `tests/corpus/` holds configurations and `verdicts.tsv` what Kamailio 5.6.3 said of each of
//! them, recorded by `tests/corpus/record`. Where the third column gives a reason, dialcore must
//! decide the other way: mostly mistakes that pass Kamailio's check and end its real start. A file
//! that passes the check, fails at the real start and gives no reason is not compared: there the
//! host decides (an address it lacks, a database that is not there).
//!
//! `tests/examples/` holds the 83 examples of the dialog manual, each in a configuration of its
//! own; all of them must load.
//!
//! The program that is judged is the one of this tree, or the one that `DIALCORE` names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A check that takes longer has failed.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a running check is looked at.
const CHECK_STEP: Duration = Duration::from_millis(2);
/// Checks that run at one time.
const CHECKS_AT_ONCE: usize = 4;
const KAMAILIO: &str = "/usr/sbin/kamailio";
const EXAMPLES: usize = 83;

/// What a check of a configuration ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    /// A status that is neither 0 nor 255, a signal, or no end in time.
    Broken,
}

/// One row of `verdicts.tsv`.
#[derive(Debug)]
struct Row {
    file: String,
    kamailio: Verdict,
    differs: String,
    /// Whether a server that passed the check also came up.
    starts: bool,
}

impl Row {
    /// What dialcore must say, or `None` where the host decides.
    fn expected(&self) -> Option<Verdict> {
        match (self.kamailio, self.differs.is_empty(), self.starts) {
            (Verdict::Good, true, true) | (Verdict::Bad, false, _) => Some(Verdict::Good),
            (Verdict::Good, true, false) => None,
            (Verdict::Good, false, _) | (Verdict::Bad, true, _) | (Verdict::Broken, ..) => {
                Some(Verdict::Bad)
            }
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(folder("corpus").join("verdicts.tsv")).expect("verdicts.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [file, verdict, differs, start] => Row {
            file: file.to_owned(),
            kamailio: match verdict {
                "good" => Verdict::Good,
                "bad" => Verdict::Bad,
                _ => Verdict::Broken,
            },
            differs: differs.to_owned(),
            starts: start == "starts",
        },
        _ => panic!("verdicts.tsv: not a row: {line}"),
    })
    .collect()
}

/// Checks a configuration with the program under test: the verdict and what was printed.
fn dialcore(cfg: &Path) -> (Verdict, String) {
    let program = std::env::var_os("DIALCORE").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_dialcore")),
        PathBuf::from,
    );
    check(
        Command::new(program)
            .arg("-f")
            .arg(cfg.file_name().expect("a file"))
            .arg("-c"),
        cfg,
    )
}

fn kamailio(cfg: &Path) -> Verdict {
    let mut command = Command::new(KAMAILIO);
    command.arg("-f").arg(cfg.file_name().expect("a file"));
    check(
        command.args([
            "-c",
            "-m",
            "64",
            "-M",
            "8",
            "-Y",
            env!("CARGO_TARGET_TMPDIR"),
        ]),
        cfg,
    )
    .0
}

/// Runs a check in the folder of its configuration, where relative names are looked up.
fn check(command: &mut Command, cfg: &Path) -> (Verdict, String) {
    let at = cfg.parent().expect("a folder");
    // A file takes what is printed: a pipe that nobody empties would stop the program.
    let name = format!("{:?}-{}.said", thread::current().id(), std::process::id());
    let said_path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let said = fs::File::create(&said_path).expect("a file for the output");
    let child = command
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("the same file"))
        .stderr(said)
        .spawn()
        .expect("the program starts");
    let verdict = wait(child);
    let said = fs::read(&said_path).expect("the output");
    fs::remove_file(&said_path).expect("the output goes away");
    (verdict, String::from_utf8_lossy(&said).into_owned())
}

fn wait(mut child: Child) -> Verdict {
    let begin = Instant::now();
    while begin.elapsed() < CHECK_TIME_MAX {
        match child.try_wait().expect("a child of ours") {
            Some(status) => {
                return match status.code() {
                    Some(0) => Verdict::Good,
                    Some(255) => Verdict::Bad,
                    Some(_) | None => Verdict::Broken,
                };
            }
            None => thread::sleep(CHECK_STEP),
        }
    }
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    Verdict::Broken
}

/// Calls `judge` for every item, some at a time; the complaints stay in the order of the items.
fn complaints<T: Sync>(items: &[T], judge: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let size = items.len().div_ceil(CHECKS_AT_ONCE).max(1);
    thread::scope(|scope| {
        let judge = &judge;
        let parts: Vec<_> = items
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().filter_map(judge).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("no judge panics"))
            .collect()
    })
}

fn assert_none(complaints: &[String], of: usize) {
    let mut text = String::new();
    for complaint in complaints {
        let _ = writeln!(text, "{complaint}");
    }
    assert!(
        complaints.is_empty(),
        "{text}{} of {of} files",
        complaints.len()
    );
}

fn first_lines(said: &str) -> String {
    said.lines()
        .take(3)
        .map(|line| format!("\n    {line}"))
        .collect()
}

#[test]
fn every_configuration_is_judged_as_kamailio_judges_it() {
    let rows = rows();
    let found = complaints(&rows, |row| {
        let expected = row.expected()?;
        let (got, said) = dialcore(&folder("corpus").join(&row.file));
        (got != expected).then(|| {
            let why = if row.differs.is_empty() {
                "as Kamailio"
            } else {
                &row.differs
            };
            format!(
                "{}: {got:?}, not {expected:?} ({why}){}",
                row.file,
                first_lines(&said)
            )
        })
    });
    assert_none(&found, rows.len());
}

#[test]
fn a_rejection_names_the_file_and_the_line() {
    let rows: Vec<_> = rows()
        .into_iter()
        .filter(|r| r.expected() == Some(Verdict::Bad))
        .collect();
    let found = complaints(&rows, |row| {
        let (got, said) = dialcore(&folder("corpus").join(&row.file));
        let name = Path::new(&row.file).file_name()?.to_str()?;
        // A mistake in an included file is named by that file.
        let is_named = said.lines().any(|line| {
            ["cfg:", "inc:"].iter().any(|end| {
                line.split_once(end)
                    .is_some_and(|(_, rest)| rest.starts_with(char::is_numeric))
            })
        });
        (got == Verdict::Bad && !is_named)
            .then(|| format!("{name}: no line is named{}", first_lines(&said)))
    });
    assert_none(&found, rows.len());
}

#[test]
fn the_verdicts_are_of_these_files() {
    let judged: BTreeSet<String> = rows().into_iter().map(|row| row.file).collect();
    let mut there = BTreeSet::new();
    for part in fs::read_dir(folder("corpus"))
        .expect("tests/corpus")
        .flatten()
    {
        for file in fs::read_dir(part.path()).into_iter().flatten().flatten() {
            let (part, file) = (part.file_name(), file.file_name());
            let (part, file) = (part.to_string_lossy(), file.to_string_lossy());
            if file.ends_with(".cfg") {
                there.insert(format!("{part}/{file}"));
            }
        }
    }
    assert_eq!(
        judged.symmetric_difference(&there).collect::<Vec<_>>(),
        [""; 0]
    );
}

/// Needs Debian's Kamailio; without it there is nothing to compare and the test says so.
#[test]
fn the_verdicts_are_still_kamailios() {
    if !Path::new(KAMAILIO).exists() {
        eprintln!("Kamailio is not installed; the verdicts were not judged again");
        return;
    }
    // What hangs would only cost its whole time limit again.
    let rows: Vec<_> = rows()
        .into_iter()
        .filter(|r| r.kamailio != Verdict::Broken)
        .collect();
    let found = complaints(&rows, |row| {
        let got = kamailio(&folder("corpus").join(&row.file));
        (got != row.kamailio).then(|| format!("{}: Kamailio says {got:?}", row.file))
    });
    assert_none(&found, rows.len());
}

fn example(number: usize) -> PathBuf {
    folder("examples").join(format!("1.{number:02}.cfg"))
}

#[test]
fn every_example_of_the_manual_loads() {
    let numbers: Vec<usize> = (1..=EXAMPLES).collect();
    let found = complaints(&numbers, |&number| {
        let (got, said) = dialcore(&example(number));
        (got != Verdict::Good).then(|| format!("Example 1.{number}: {got:?}{}", first_lines(&said)))
    });
    assert_none(&found, EXAMPLES);
}

/// The text of an example between its title and the next section, without the lines of dots.
fn manual_example(manual: &str, number: usize) -> Vec<String> {
    let title = format!("   Example 1.{number}. ");
    let after = manual
        .split(&title)
        .nth(1)
        .expect("the example stands in the manual");
    let is_section = |line: &str| {
        let number = line.split(". ").next().unwrap_or_default();
        line.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let lines: Vec<&str> = after
        .lines()
        .skip(1)
        .take_while(|line| !is_section(line))
        .collect();
    let end = lines
        .iter()
        .rposition(|line| line.trim() == "...")
        .expect("an example ends in dots");
    lines[..end]
        .iter()
        .filter(|line| line.trim() != "...")
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect()
}

/// Where the manual lies beside the tree, the examples are compared with it, blanks aside.
#[test]
fn the_examples_are_those_of_the_manual() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../shared", "../../shared"];
    let seed = places.map(|at| tree.join(at).join("seed/dialog-module-manual.txt"));
    let Some(manual) = seed.iter().find_map(|path| fs::read_to_string(path).ok()) else {
        return;
    };
    for number in 1..=EXAMPLES {
        let mut text = fs::read_to_string(example(number)).expect("an example");
        text += &fs::read_to_string(example(number).with_extension("lua")).unwrap_or_default();
        let have: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for line in manual_example(&manual, number) {
            assert!(have.contains(&line), "example 1.{number} lacks: {line}");
        }
    }
}
