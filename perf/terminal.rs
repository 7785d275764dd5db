//! What is shown while something takes its time, and tables.

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar for something that takes a while; it goes to standard error, and only to a terminal.
pub(crate) fn bar(what: &str, all: u64) -> ProgressBar {
    let bar = ProgressBar::new(all);
    let style = ProgressStyle::with_template("{msg:36} {wide_bar} {human_pos}/{human_len} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}

/// A table that can be pasted into a README.
pub(crate) fn table(head: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(head.into_iter().collect::<Vec<_>>());
    table
}

/// A value as a table shows it: as many digits as it deserves, and a line for what is not known.
pub(crate) fn value(value: f64) -> String {
    match value.abs() {
        v if v.is_nan() => "-".into(),
        0.0 => "0".into(),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
