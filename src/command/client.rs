//! `dialcore rpc`, `dialcore call` and `dialcore completion`: the proxy from the other side.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::CommandFactory;
use clap::builder::PossibleValuesParser;
use clap_complete::{Generator, shells};

use dialcore::effect::rpc::Name;
use dialcore::io::process;
use dialcore::modules::rpc::json::Style;
use dialcore::modules::rpc::{Container, Value};
use dialcore::script::calendar::{Moment, Zone};

use super::args::{Args, Client, Server, Shell};
use super::connection::{Answer, ClientError, ask};
use super::table;

/// Values shown together: enough for columns to line up, and few enough for any memory.
const BATCH_SIZE: usize = 256;

/// Why a client ended early.
#[derive(Debug)]
enum Failure {
    /// There is no answer, or it says that the command failed.
    Client(ClientError),
    /// Nobody reads what is shown.
    Output(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// Does what was asked for.
pub(crate) fn run(client: Client) -> ExitCode {
    let out = &mut BufWriter::new(io::stdout().lock());
    let done = match client {
        Client::Rpc { to, method, params } => rpc(&to, &method, &params, out),
        Client::Call { to, call_id } => call(&to, &call_id, out),
        Client::Completion { shell } => completion(shell, out),
    };
    match done.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Client(ClientError::Fault(fault))) => {
            eprintln!("error: {} - {}", fault.code, table::clean(&fault.text));
            ExitCode::from(1)
        }
        Err(Failure::Client(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(255)
        }
        // Whoever reads has seen enough, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(255)
        }
    }
}

fn rpc(to: &Server, method: &str, params: &[String], out: &mut impl Write) -> Result<(), Failure> {
    let params: Vec<Value> = params.iter().map(|text| param(text)).collect();
    let mut answer = ask(&to.socket, method, &params)?;
    if to.json {
        return json(&mut answer, container(method), out);
    }
    loop {
        let values = batch(&mut answer)?;
        if values.is_empty() {
            return Ok(());
        }
        out.write_all(table::values(&values, table::width()).as_bytes())?;
    }
}

fn batch(answer: &mut Answer) -> Result<Vec<Value>, ClientError> {
    let mut values = Vec::new();
    while values.len() < BATCH_SIZE {
        match answer.next()? {
            Some(value) => values.push(value),
            None => break,
        }
    }
    Ok(values)
}

/// A parameter as `kamcmd` reads it: a number is a number, `s:` makes anything a text.
fn param(text: &str) -> Value {
    if let Some(text) = text.strip_prefix("s:") {
        return Value::text(text);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::Int(number);
    }
    let looks_like_one = text.bytes().any(|b| b.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b".-+eE".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if looks_like_one => Value::Double(number),
        Ok(_) | Err(_) => Value::text(text),
    }
}

/// How the values of a command belong together; `None`: it is not a command of this version.
fn container(method: &str) -> Option<Container> {
    let commands = dialcore::modules::all().iter().flat_map(|m| m.commands);
    let mut commands = commands.filter(|c| c.name == method);
    commands.next().map(|c| c.container)
}

/// One document: an array for what lists things, else the one value.
fn json(
    answer: &mut Answer,
    container: Option<Container>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let style = Style { is_pretty: false };
    let mut text = Vec::new();
    if container == Some(Container::Last) {
        let mut last = Value::Struct(Vec::new());
        while let Some(value) = answer.next()? {
            last = value;
        }
        style.put(&mut text, &last, 0);
        text.push(b'\n');
        return Ok(out.write_all(&text)?);
    }
    out.write_all(b"[")?;
    let mut is_first = true;
    while let Some(value) = answer.next()? {
        text.clear();
        text.extend_from_slice(if is_first { b"\n" } else { b",\n" });
        style.put(&mut text, &value, 0);
        out.write_all(&text)?;
        is_first = false;
    }
    Ok(out.write_all(b"\n]\n")?)
}

/// Dialogs one by one, then transactions and events in tables.
fn call(to: &Server, call_id: &str, out: &mut impl Write) -> Result<(), Failure> {
    let mut answer = ask(&to.socket, "core.call", &[Value::text(call_id)])?;
    if to.json {
        return json(&mut answer, Some(Container::Array), out);
    }
    let mut values = Vec::new();
    while let Some(value) = answer.next()? {
        values.push(value);
    }
    for (what, title) in [
        ("dialog", "Dialogs"),
        ("transaction", "Transactions"),
        ("event", "Events"),
    ] {
        let of_kind: Vec<Value> = values.iter().filter_map(|v| of_kind(v, what)).collect();
        if !of_kind.is_empty() {
            writeln!(out, "{title}")?;
            out.write_all(table::values(&of_kind, table::width()).as_bytes())?;
        }
    }
    Ok(())
}

/// A structure of this kind without the member that says so.
fn of_kind(value: &Value, what: &str) -> Option<Value> {
    let Value::Struct(members) = value else {
        return None;
    };
    let (first, rest) = members.split_first()?;
    let shown = |(name, value): &(Name, Value)| match (&**name, value) {
        (b"time", Value::Text(text)) => (name.clone(), Value::text(local(text))),
        (_, value) => (name.clone(), value.clone()),
    };
    (first.1 == Value::text(what)).then(|| Value::Struct(rest.iter().map(shown).collect()))
}

/// Seconds since 1970 as the time of the day here; what is none stays as it is.
fn local(seconds: &[u8]) -> Vec<u8> {
    static ZONE: LazyLock<Zone> = LazyLock::new(process::zone);
    let at = seconds
        .iter()
        .position(|b| *b == b'.')
        .unwrap_or(seconds.len());
    let whole = std::str::from_utf8(&seconds[..at]).ok();
    let Some(whole) = whole.and_then(|text| text.parse().ok()) else {
        return seconds.to_vec();
    };
    let mut text = Vec::new();
    Moment::of(whole, &ZONE).format(b"%H:%M:%S", &mut text);
    text.extend_from_slice(&seconds[at..]);
    text
}

fn completion(shell: Shell, out: &mut impl Write) -> Result<(), Failure> {
    let mut names: Vec<_> = dialcore::modules::all()
        .iter()
        .flat_map(|module| module.commands)
        .map(|command| command.name)
        .collect();
    names.sort_unstable();
    let mut command = Args::command().mut_subcommand("rpc", |rpc| {
        rpc.mut_arg("method", |arg| {
            arg.value_parser(PossibleValuesParser::new(names))
        })
    });
    command.set_bin_name("dialcore");
    command.build();
    match shell {
        Shell::Bash => shells::Bash.try_generate(&command, out)?,
        Shell::Zsh => shells::Zsh.try_generate(&command, out)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn parameters_have_the_types_that_kamcmd_gives_them() {
        let table = [
            ("12", Value::Int(12)),
            ("-1", Value::Int(-1)),
            ("2.5", Value::Double(2.5)),
            ("s:12", Value::text("12")),
            ("s:", Value::text("")),
            ("abc", Value::text("abc")),
            ("limit=5", Value::text("limit=5")),
            ("inf", Value::text("inf")),
            ("1a", Value::text("1a")),
            ("", Value::text("")),
        ];
        for (text, want) in table {
            assert_eq!(param(text), want, "{text}");
        }
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            completion(*shell, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            for word in ["dlg.list", "core.shards", "--json", "completion"] {
                assert!(text.contains(word), "{shell:?}: {word}");
            }
        }
    }
}
