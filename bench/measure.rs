//! The difference between N and 2 N iterations, in instructions, allocations and time.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use crate::allocations;
use crate::bodies::Body;

/// Runs of which the fastest counts.
const TIMED_RUNS: usize = 5;
/// Time is taken of this many times as many iterations, to rise above the noise of the setup.
const TIMED_FACTOR: u64 = 20;

/// What one iteration costs.
pub(crate) struct Cost {
    /// `None` without valgrind.
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) allocated_bytes: f64,
    pub(crate) nanoseconds: f64,
}

/// Measures one body.
pub(crate) fn cost(body: &Body) -> Result<Cost, String> {
    let n = body.iterations;
    let instructions = match has_valgrind() {
        true => Some(per(n, instructions(body, n)?, instructions(body, 2 * n)?)),
        false => None,
    };
    let (once, twice) = (allocated(body, n), allocated(body, 2 * n));
    let timed = n * TIMED_FACTOR;
    Ok(Cost {
        instructions,
        allocations: per(n, once.0, twice.0),
        allocated_bytes: per(n, once.1, twice.1),
        nanoseconds: per(
            timed,
            nanoseconds(body, timed),
            nanoseconds(body, 2 * timed),
        ),
    })
}

/// Whether instructions can be counted here.
pub(crate) fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// A smaller run may take a little more than a larger one when both take next to nothing.
fn per(n: u64, once: u64, twice: u64) -> f64 {
    (twice as f64 - once as f64).max(0.0) / n as f64
}

fn allocated(body: &Body, iterations: u64) -> (u64, u64) {
    let (count, size) = allocations::so_far();
    black_box((body.run)(black_box(iterations)));
    let (count_after, size_after) = allocations::so_far();
    (count_after - count, size_after - size)
}

fn nanoseconds(body: &Body, iterations: u64) -> u64 {
    let runs = (0..TIMED_RUNS).map(|_| {
        let start = Instant::now();
        black_box((body.run)(black_box(iterations)));
        start.elapsed().as_nanos() as u64
    });
    runs.min().unwrap_or(0)
}

fn instructions(body: &Body, iterations: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| format!("the bench program: {e}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--once", body.name, &iterations.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    // callgrind's last lines: `==123== Collected : 4711`.
    text.lines()
        .filter(|_| output.status.success())
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| format!("valgrind counted nothing for {}:\n{text}", body.name))
}
