//! The matrix as it stands in the documentation.
//!
//! The test rewrites the file and fails when it was stale, so that the next run passes and the
//! change is seen in review.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::axes::{Cell, History, Method};
use crate::bridge::{self, Course};
use crate::cell;
use crate::ua::Side;

const FILE: &str = "src/modules/dialog/matrix.md";
/// A matrix with less than this proves too little.
const CELL_COUNT_MIN: usize = 150;

#[test]
fn the_documented_matrix_is_what_was_seen() {
    let want = print();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found != want {
        fs::write(&path, &want).expect("the source tree can be written");
        panic!("{FILE} was stale and has been rewritten; look at it and commit it");
    }
    assert!(Cell::all().count() >= CELL_COUNT_MIN);
}

/// One row for each history, one column for each request and side.
fn print() -> String {
    let mut out = String::from("| what the call has been through |");
    for method in Method::ALL {
        for side in Side::BOTH {
            let _ = write!(out, " {} to {} |", method.head(), side.word());
        }
    }
    out.push_str("\n| --- |");
    (0..2 * Method::ALL.len()).for_each(|_| out.push_str(" --- |"));
    for history in History::ALL {
        let _ = write!(out, "\n| {} |", history.head());
        for cell in Cell::row(history) {
            let _ = write!(out, " {} |", cell.map_or("-".into(), text));
        }
    }
    out.push_str("\n\n");
    print_bridges(&mut out);
    out
}

/// One row for each course of a call of the proxy's own: the numbers of what the party was told.
fn print_bridges(out: &mut String) {
    out.push_str("| a call of the proxy's own | what the party is told |\n| --- | --- |\n");
    for course in Course::ALL {
        let (_, seen) = bridge::run(course, None);
        let told: Vec<String> = seen
            .iter()
            .map(|s| format!("{} {}", s.method, s.cseq))
            .collect();
        let _ = writeln!(out, "| {} | {} |", course.head(), told.join(", "));
    }
}

/// The number of the last request that the side had seen, and that of the proxy's.
fn text(cell: Cell) -> String {
    match cell::run(cell, None).seen {
        Some(seen) => format!("{} < {}", seen.before, seen.cseq),
        None => "nothing".into(),
    }
}
