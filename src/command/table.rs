//! Values as a person reads them: tables as wide as the terminal, one structure to a table where
//! a row would not fit.
//!
//! What is shown came from the network: characters that would steer the terminal are escaped.

use comfy_table::{ContentArrangement, Table, presets};

use dialcore::modules::rpc::Value;

/// Columns of a terminal that does not say how wide it is.
const USUAL_WIDTH: u16 = 120;

/// Columns of the terminal, as the shell tells them.
pub(crate) fn width() -> u16 {
    let told = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    told.unwrap_or(USUAL_WIDTH)
}

/// Text without characters that would steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    let escaped = |c: char| match c {
        '\r' | '\n' => " ".to_owned(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.trim_end_matches(['\r', '\n'])
        .chars()
        .map(escaped)
        .collect()
}

/// Several values, each on a line of its own; structures with the same members become a table.
pub(crate) fn values(values: &[Value], width: u16) -> String {
    let rows: Option<Vec<Row>> = values.iter().map(row).collect();
    match rows {
        Some(rows) if rows.len() > 1 => across(&rows, width).unwrap_or_else(|| down(&rows, width)),
        Some(rows) => down(&rows, width),
        None => values.iter().map(|value| shown(value) + "\n").collect(),
    }
}

/// Names and texts of a structure; members of structures inside have both names.
type Row = Vec<(String, String)>;

fn row(value: &Value) -> Option<Row> {
    let Value::Struct(members) = value else {
        return None;
    };
    let mut row = Row::new();
    for (name, value) in members {
        let name = clean(&String::from_utf8_lossy(name));
        match value {
            Value::Struct(inner) if !inner.is_empty() => {
                let inner = self::row(value).unwrap_or_default();
                row.extend(
                    inner
                        .into_iter()
                        .map(|(n, text)| (format!("{name}.{n}"), text)),
                );
            }
            value => row.push((name, shown(value))),
        }
    }
    Some(row)
}

/// One value on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Int(n) => n.to_string(),
        Value::Double(x) => format!("{x:.3}"),
        Value::Text(text) if &**text == b"<null string>" => "-".into(),
        Value::Text(text) => clean(&String::from_utf8_lossy(text)),
        Value::Struct(members) => {
            let member = |(name, value): &(_, Value)| {
                let name: &std::borrow::Cow<'_, [u8]> = name;
                format!("{}={}", clean(&String::from_utf8_lossy(name)), shown(value))
            };
            members.iter().map(member).collect::<Vec<_>>().join(" ")
        }
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}

/// A row for each structure, if all have the same members and there is room for them.
fn across(rows: &[Row], width: u16) -> Option<String> {
    let names: Vec<&str> = rows[0].iter().map(|(name, _)| name.as_str()).collect();
    let is_same = |row: &Row| {
        row.iter()
            .map(|(name, _)| name.as_str())
            .eq(names.iter().copied())
    };
    if !rows.iter().all(is_same) {
        return None;
    }
    let mut table = new_table();
    table.set_header(&names);
    for row in rows {
        table.add_row(row.iter().map(|(_, text)| text));
    }
    let text = format!("{table}\n");
    let line = text.lines().next().unwrap_or_default();
    (line.chars().count() <= usize::from(width)).then_some(text)
}

/// A table for each structure: its members one below the other.
fn down(rows: &[Row], width: u16) -> String {
    let one = |row: &Row| {
        let mut table = new_table();
        table.set_width(width);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        for (name, text) in row {
            table.add_row([name, text]);
        }
        format!("{table}\n")
    };
    rows.iter().filter(|row| !row.is_empty()).map(one).collect()
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &'static str, value: Value) -> Value {
        Value::members([("h_id", Value::Int(7)), (name, value)])
    }

    #[test]
    fn structures_become_tables() {
        let leg = Value::members([("tag", Value::text("t\u{1b}[1m")), ("cseq", Value::Null)]);
        let table = [
            (vec![Value::text("a"), Value::Int(-1)], 80, "a\n-1\n"),
            (
                vec![
                    member("state", Value::Int(4)),
                    member("state", Value::Int(5)),
                ],
                80,
                "┌──────┬───────┐\n│ h_id ┆ state │\n╞══════╪═══════╡\n│ 7    ┆ 4     │\n\
                 │ 7    ┆ 5     │\n└──────┴───────┘\n",
            ),
            (
                vec![member("caller", leg)],
                80,
                "┌─────────────┬────────────┐\n│ h_id        ┆ 7          │\n\
                 │ caller.tag  ┆ t\\u{1b}[1m │\n│ caller.cseq ┆ -          │\n\
                 └─────────────┴────────────┘\n",
            ),
            (vec![], 80, ""),
        ];
        for (given, width, want) in table {
            assert_eq!(values(&given, width), want);
        }
    }

    #[test]
    fn rows_that_do_not_fit_stand_one_below_the_other() {
        let long = || member("uri", Value::text("sip:".to_owned() + &"x".repeat(60)));
        let text = values(&[long(), long()], 40);
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        assert_eq!(text.matches("h_id").count(), 2);
    }
}
