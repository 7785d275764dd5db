//! What was found as README.md shows it: one table, in few words.

use super::report::of_some;
use super::{Comparison, Found, Memory};
use crate::bench::Steady;
use crate::load::Latency;
use crate::plot::number;
use crate::terminal::value;

/// What stands where a proxy has not followed.
const NOT: &str = "does not follow";

/// What is asked of memory says nothing with fewer calls.
const HELD_MIN: u64 = 1_000;

/// A line: its name, and what it says of the floor, of each proxy, of both together, and the aim.
struct Line {
    name: String,
    floor: String,
    cells: Vec<String>,
    ratio: String,
    aim: &'static str,
}

impl Line {
    /// Whether a figure stands in it.
    fn says_something(&self) -> bool {
        let cells = self.cells.iter().filter(|cell| *cell != NOT);
        cells
            .flat_map(|cell| cell.chars())
            .any(|c| c.is_ascii_digit())
    }
}

impl Comparison {
    /// The table with the line of its origin above it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| |", self.place.origin());
        let floor = self.has_floor().then(|| self.floor_name());
        // That it was apart, the command says.
        let names = self
            .found
            .iter()
            .map(|f| f.variant.name().replace(" apart", ""));
        for name in floor.into_iter().chain(names) {
            text += &format!(" {name} |");
        }
        text += " ratio | aim |\n| --- |";
        text += &" --- |".repeat(self.found.len() + 2 + usize::from(self.has_floor()));
        text.push('\n');
        let rates = self
            .sizes
            .rates
            .iter()
            .flat_map(|rate| self.rate_lines(*rate));
        for line in rates.chain(self.lines()).filter(Line::says_something) {
            let floor = self.has_floor().then_some(line.floor);
            let cells = floor.into_iter().chain(line.cells);
            let cells = cells.chain([line.ratio, line.aim.to_owned()]);
            text += &format!("| {} |", line.name);
            for cell in cells {
                text += &if cell.is_empty() {
                    " |".to_owned()
                } else {
                    format!(" {cell} |")
                };
            }
            text.push('\n');
        }
        text
    }

    /// Results of older programs have none.
    fn has_floor(&self) -> bool {
        !self.floor.is_empty()
    }

    fn rate_lines(&self, rate: f64) -> Vec<Line> {
        let at = plain(rate);
        let line = |name: String, of: &dyn Fn(&Steady) -> String, ratio, aim| Line {
            name,
            floor: self.floor_at(rate).map(of).unwrap_or_default(),
            cells: self.of_each(rate, of),
            ratio,
            aim,
        };
        let none = String::new;
        let cpu = self.ratio(|f| f.at(rate).map(Steady::cpu_us));
        let floor_us = self.floor_at(rate).map_or(f64::NAN, Steady::cpu_us);
        let to_floor = |s: &Steady| value(s.cpu_us() / floor_us);
        vec![
            line(
                format!("CPU per call at {at} calls/s"),
                &|s| us(s.cpu_us()),
                cpu,
                "6",
            ),
            line("that, to the floor".to_owned(), &to_floor, none(), "2"),
            line(
                "of it in user space".to_owned(),
                &|s| us(s.user_us),
                none(),
                "40 us",
            ),
            line(
                "wake-ups per call".to_owned(),
                &|s| some(s.wakeups),
                none(),
                "",
            ),
            line(
                "CPU per wake-up".to_owned(),
                &|s| us(s.wakeup_us()),
                none(),
                "",
            ),
            line(
                format!("p50, p99 latency at {at} calls/s"),
                &|s| both(&s.outcome.latency.all),
                none(),
                "",
            ),
            line(
                "p99 of the first 2 s, and behind them".to_owned(),
                &|s| format!("{}, {}", us(of_some(&s.first)), us(of_some(&s.warm))),
                none(),
                "",
            ),
        ]
    }

    fn lines(&self) -> Vec<Line> {
        let line =
            |name: &str, of: fn(&Found) -> String, ratio: Option<fn(&Found) -> f64>, aim| Line {
                name: name.to_owned(),
                floor: String::new(),
                cells: self.found.iter().map(of).collect(),
                ratio: ratio.map_or_else(String::new, |of| self.ratio(|f| Some(of(f)))),
                aim,
            };
        vec![
            line(
                "knee",
                |f| format!("{} calls/s", plain(f.knee)),
                Some(|f| 1.0 / f.knee),
                "",
            ),
            line(
                "CPU per call at 70 % of its own knee",
                |f| us(f.at_share.cpu_us()),
                Some(|f| f.at_share.cpu_us()),
                "6",
            ),
            line(
                "p50, p99, p99.99 latency there",
                |f| {
                    let latency = &f.at_share.outcome.latency.all;
                    format!("{}, {}", both(latency), us(latency.p9999))
                },
                None,
                "p99 1,000 us",
            ),
            line(
                "messages out of order",
                |f| {
                    let (reordered, calls) = f.reordered();
                    format!(
                        "{} in {} calls",
                        plain(reordered as f64),
                        plain(calls as f64)
                    )
                },
                None,
                "0",
            ),
            line(
                "memory per dialog, all in",
                |f| bytes(&f.per_dialog),
                Some(|f| f.per_dialog.bytes_each),
                "1,024",
            ),
            line(
                "memory per ringing call",
                |f| bytes(&f.per_call),
                Some(|f| f.per_call.bytes_each),
                "",
            ),
            line(
                "memory behind the dialogs, to before",
                |f| match f.per_dialog.calls >= HELD_MIN {
                    true => format!("{} %", value(f.per_dialog.left_percent)),
                    false => "-".to_owned(),
                },
                None,
                "5 %",
            ),
        ]
    }

    /// Of each proxy at a rate.
    fn of_each(&self, rate: f64, of: &dyn Fn(&Steady) -> String) -> Vec<String> {
        let cell = |found: &Found| found.at(rate).map_or_else(|| NOT.to_owned(), of);
        self.found.iter().map(cell).collect()
    }

    /// The second proxy's value divided by the first one's.
    fn ratio(&self, of: impl Fn(&Found) -> Option<f64>) -> String {
        let mut values = self.found.iter().map(of);
        match (values.next().flatten(), values.next().flatten()) {
            (Some(first), Some(second)) => format!("{:.1}", second / first),
            _ => String::new(),
        }
    }
}

/// A number; none for what was not measured.
fn some(number: f64) -> String {
    match number > 0.0 {
        true => value(number),
        false => "-".to_owned(),
    }
}

fn plain(value: f64) -> String {
    number(value.round())
}

fn us(micros: f64) -> String {
    match micros {
        m if m.is_nan() => "-".to_owned(),
        m if m < 100.0 => format!("{} us", value(m)),
        m => format!("{} us", plain(m)),
    }
}

fn bytes(memory: &Memory) -> String {
    match memory.calls >= HELD_MIN {
        true => format!("{} bytes", plain(memory.bytes_each)),
        false => "-".to_owned(),
    }
}

fn both(latency: &Latency) -> String {
    format!("{}, {}", us(latency.p50), us(latency.p99))
}
