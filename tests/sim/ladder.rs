//! What a person needs when a run fails: the command that replays it, and the call as a ladder.
//!
//! ```text
//!        time            u0                   proxy                 u1
//!    0.002000s            |------ INVITE (1) ---->|                  |
//!    0.004000s            |                       |-- INVITE (1) --->|
//! ```

use std::fmt::Write;

use crate::oracle::Violation;
use crate::runs::Subject;
use crate::trace::{Arrow, Fate, Node, Trace};

/// Room between two columns.
const WIDTH: usize = 26;

/// Arrows shown when the run as a whole has failed.
const LAST_ARROWS: usize = 40;

/// The whole report of a failed run that was recorded.
pub fn report(subject: Subject, seed: u64, violation: &Violation, trace: &Trace) -> String {
    let replay = format!(
        "SEED={seed:#x} cargo test --no-default-features --test sim -- --nocapture {}_replays",
        subject.word()
    );
    let ladder = match violation.call_id.is_empty() {
        false => ladder(trace.arrows_of(&violation.call_id)),
        true => last_arrows(trace),
    };
    format!("\n{violation}\n\nreplay:\n  {replay}\n\n{ladder}")
}

fn last_arrows(trace: &Trace) -> String {
    let mut last: Vec<&Arrow> = trace.arrows().rev().take(LAST_ARROWS).collect();
    last.reverse();
    let line = |a: &&Arrow| {
        format!(
            "{:?} {:?} -> {:?} {:?} {} {}\n",
            a.at,
            a.from,
            a.to,
            a.fate,
            a.label(),
            a.call_id
        )
    };
    last.iter().map(line).collect()
}

/// One line for each arrow: columns for the user agents, the proxy between the first and the
/// others.
pub fn ladder<'a>(arrows: impl Iterator<Item = &'a Arrow>) -> String {
    let arrows: Vec<&Arrow> = arrows.collect();
    let columns = columns(&arrows);
    let mut out = " ".repeat(14);
    for column in &columns {
        let name = match column {
            Column::Agent(id) => format!("u{id}"),
            Column::Proxy => "proxy".into(),
        };
        let _ = write!(out, "{name:^WIDTH$}");
    }
    out.push('\n');
    for arrow in arrows {
        let ends = [arrow.from, arrow.to].map(Column::of);
        let place = |c: Column| columns.iter().position(|x| *x == c).unwrap_or(0);
        let (from, to) = (place(ends[0]), place(ends[1]));
        let _ = write!(
            out,
            "{:>13?} ",
            dialcore::time::Instant::since(arrow.at, Default::default())
        );
        out.push_str(&rung(columns.len(), from, to, arrow));
        out.push('\n');
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Agent(usize),
    Proxy,
}

impl Column {
    fn of(node: Node) -> Column {
        match node {
            Node::Agent(id) => Column::Agent(id),
            Node::Proxy(_) => Column::Proxy,
        }
    }
}

/// The caller has the lowest name; then the proxy, then the callees.
fn columns(arrows: &[&Arrow]) -> Vec<Column> {
    let mut columns: Vec<Column> = arrows
        .iter()
        .flat_map(|a| [a.from, a.to])
        .map(Column::of)
        .collect();
    columns.sort();
    columns.dedup();
    if columns.last() == Some(&Column::Proxy) && columns.len() > 2 {
        columns.pop();
        columns.insert(1, Column::Proxy);
    }
    columns
}

fn rung(count: usize, from: usize, to: usize, arrow: &Arrow) -> String {
    let mut line: Vec<char> = vec![' '; count * WIDTH];
    let centre = |column: usize| column * WIDTH + WIDTH / 2;
    for column in 0..count {
        line[centre(column)] = '|';
    }
    let (left, right) = (centre(from.min(to)) + 1, centre(from.max(to)));
    line[left..right].fill('-');
    // What is lost bears its cross where it should have arrived.
    let (at, head) = match (from < to, arrow.fate) {
        (true, Fate::Arrived) => (right - 1, '>'),
        (true, Fate::Lost) => (right - 1, 'x'),
        (false, Fate::Arrived) => (left, '<'),
        (false, Fate::Lost) => (left, 'x'),
    };
    let label: Vec<char> = format!(" {} ", arrow.label()).chars().collect();
    let start = left + 2;
    for (place, c) in (start..right.saturating_sub(1)).zip(label) {
        line[place] = c;
    }
    line[at] = head;
    line.into_iter().collect::<String>().trim_end().to_string()
}
