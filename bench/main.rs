//! What the parts of the message path cost: instructions and allocations per iteration.
//!
//! Goal: numbers that repeat to the instruction on one compiler, so that a change shows its price
//! before it is merged. Non-goal: calls per second, latency, anything about sockets, kernels or
//! cores; `sipp/` and `perf/` load the whole program for that.
//!
//! ```text
//! cargo bench                          all bodies, one table
//! cargo bench -- wheel                 those whose name contains a word
//! cargo bench -- --json bench.json     the same numbers for a program
//! cargo test --benches                 each body once: only its result is checked
//! ```
//!
//! This program runs itself under `valgrind --tool=callgrind` with N and with 2 N iterations of
//! one body; the difference is what N iterations cost, with start, setup and teardown taken out.
//! Allocations are counted the same way by its own global allocator, without valgrind. Time per
//! iteration is the best of some runs on this machine; it informs and decides nothing. What
//! dialogs keep of the memory is counted by the same allocator, and what tables move at once when
//! they grow (`cargo bench -- growth`).

mod allocations;
mod bodies;
mod dialog;
mod growth;
mod kept;
mod measure;
mod path;
mod report;
mod script;

use std::process::ExitCode;

use bodies::{BODIES, Body};
use measure::Cost;

const USAGE: &str = "usage: cargo bench -- [--json FILE] [WORD]...";

/// What the command line asks for.
enum Job {
    /// Run each body once and check its result (`cargo test`).
    Check,
    /// Be the process that valgrind counts.
    Once { body: String, iterations: u64 },
    /// Measure the bodies whose names contain one of the words.
    Measure {
        words: Vec<String>,
        json: Option<String>,
    },
}

fn main() -> ExitCode {
    let done = match job(std::env::args().skip(1)) {
        Some(Job::Check) => check(),
        Some(Job::Once { body, iterations }) => once(&body, iterations),
        Some(Job::Measure { words, json }) => measure_all(&words, json.as_deref()),
        None => Err(USAGE.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn job(mut args: impl Iterator<Item = String>) -> Option<Job> {
    let (mut words, mut json, mut is_bench) = (vec![], None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo passes this under `cargo bench` and not under `cargo test`.
            "--bench" => is_bench = true,
            "--json" => json = Some(args.next()?),
            "--once" => {
                let (body, count) = (args.next()?, args.next()?);
                let iterations = count.parse().ok()?;
                return Some(Job::Once { body, iterations });
            }
            // `cargo test` hands every target the words meant for the test harness.
            word if word.starts_with('-') && is_bench => return None,
            word => words.push(word.to_string()),
        }
    }
    Some(if is_bench {
        Job::Measure { words, json }
    } else {
        Job::Check
    })
}

fn check() -> Result<(), String> {
    let mut wrong: Vec<String> = BODIES
        .iter()
        .filter_map(|body| body.check().err())
        .collect();
    wrong.extend(kept::check().err());
    wrong.extend(growth::check().err());
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    // The form of the standard harness, so that one reader counts all tests.
    println!(
        "\ntest result: ok. {} passed; 0 failed; 0 ignored\n",
        BODIES.len() + 2
    );
    Ok(())
}

fn once(name: &str, iterations: u64) -> Result<(), String> {
    let body = BODIES.iter().find(|body| body.name == name);
    let body = body.ok_or_else(|| format!("no body is called {name}"))?;
    std::hint::black_box((body.run)(std::hint::black_box(iterations)));
    Ok(())
}

fn measure_all(words: &[String], json: Option<&str>) -> Result<(), String> {
    if !measure::has_valgrind() {
        eprintln!("valgrind is not installed: instructions are not counted");
    }
    let is_wanted = |body: &&Body| words.is_empty() || words.iter().any(|w| body.name.contains(w));
    let mut costs: Vec<(&Body, Cost)> = vec![];
    for body in BODIES.iter().filter(is_wanted) {
        body.check()?;
        costs.push((body, measure::cost(body)?));
    }
    if !costs.is_empty() {
        print!("{}", report::table(&costs));
    }
    if words.is_empty() || words.iter().any(|w| "dialog".contains(w.as_str())) {
        print!("\n{}", kept::report());
    }
    if words.is_empty() || words.iter().any(|w| "growth".contains(w.as_str())) {
        print!("\n{}", growth::report());
    }
    match json {
        Some(path) => {
            std::fs::write(path, report::json(&costs)).map_err(|e| format!("{path}: {e}"))
        }
        None => Ok(()),
    }
}
