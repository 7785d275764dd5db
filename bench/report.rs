//! The same numbers for a reader and for a program.

use crate::bodies::Body;
use crate::measure::Cost;

const HEAD: [&str; 6] = [
    "body",
    "instructions",
    "allocations",
    "bytes",
    "ns here",
    "one iteration",
];

/// One aligned line per body; all columns are per iteration.
pub(crate) fn table(costs: &[(&Body, Cost)]) -> String {
    let mut rows = vec![HEAD.map(String::from)];
    rows.extend(costs.iter().map(row));
    let width = |column: usize| rows.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        // Names to the left, numbers to the right, and the last column as long as it likes.
        out += &format!("{:<w$}", row[0], w = widths[0]);
        for column in 1..5 {
            out += &format!("  {:>w$}", row[column], w = widths[column]);
        }
        out += &format!("  {}\n", row[5]);
    }
    out
}

fn row((body, cost): &(&Body, Cost)) -> [String; 6] {
    [
        body.name.to_string(),
        cost.instructions.map_or("-".into(), |n| format!("{n:.1}")),
        format!("{:.2}", cost.allocations),
        format!("{:.1}", cost.allocated_bytes),
        format!("{:.1}", cost.nanoseconds),
        body.iteration.to_string(),
    ]
}

/// An object with one member per body. Names are ours: they need no escapes.
pub(crate) fn json(costs: &[(&Body, Cost)]) -> String {
    let members: Vec<String> = costs
        .iter()
        .map(|(body, cost)| {
            let instructions = cost.instructions.map_or("null".into(), |n| n.to_string());
            format!(
                "  \"{}\": {{\"instructions\": {instructions}, \"allocations\": {}, \
                 \"allocated_bytes\": {}, \"nanoseconds\": {:.1}}}",
                body.name, cost.allocations, cost.allocated_bytes, cost.nanoseconds
            )
        })
        .collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}
