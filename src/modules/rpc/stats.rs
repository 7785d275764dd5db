//! `stats.*` and `cnt.*`: the statistics of all shards, added up.

use crate::effect::rpc::{Fault, Name, Part, Value};

use super::args::Args;
use super::command::{Answer, Command, Container, Fold, Run, Shards, Stop, Whom, stop};
use super::desk::Desk;
use super::statistic::{self, Statistic};

/// The commands, of the module `kex`.
pub const STATS: [Command; 6] = [
    Command {
        name: "stats.get_statistics",
        help: "get core and modules stats.",
        params: "all | GROUP: | NAME ...",
        container: Container::Array,
        run: every(given, get),
    },
    Command {
        name: "stats.fetch",
        help: "fetch core and modules stats as string values.",
        params: "all | GROUP: | NAME ...",
        container: Container::Last,
        run: every(given, |desk, args, sums| fetch(desk, args, &sums, text_of)),
    },
    Command {
        name: "stats.fetchn",
        help: "fetch core and modules stats as number values.",
        params: "all | GROUP: | NAME ...",
        container: Container::Last,
        run: every(given, |desk, args, sums| {
            fetch(desk, args, &sums, Value::count)
        }),
    },
    Command {
        name: "stats.reset_statistics",
        help: "reset core and modules stats (silent operation).",
        params: "all | GROUP: | NAME ...",
        container: Container::Last,
        run: every(named, |desk, args, sums| {
            reset(desk, args, &sums);
            Ok(Vec::new())
        }),
    },
    Command {
        name: "stats.clear_statistics",
        help: "clear core and modules stats (verbose operation).",
        params: "all | GROUP: | NAME ...",
        container: Container::Array,
        run: every(named, |desk, args, sums| {
            let lines = meant(desk, args, &sums).map(|(s, n)| line(s, n)).collect();
            reset(desk, args, &sums);
            Ok(lines)
        }),
    },
    Command {
        name: "stats.clear",
        help: "clear core and modules stats (verbose operation).",
        params: "all | GROUP: | NAME ...",
        container: Container::Array,
        run: every(named, |desk, args, sums| {
            let lines = meant(desk, args, &sums).map(|(s, n)| line(s, n)).collect();
            reset(desk, args, &sums);
            Ok(lines)
        }),
    },
];

/// The commands of the core.
pub const COUNTERS: [Command; 3] = [
    Command {
        name: "cnt.get",
        help: "get the value of a counter.",
        params: "GROUP NAME",
        container: Container::Last,
        run: every(two_words, |desk, args, sums| {
            let (group, name) = (args.text(0)?, args.text(1)?);
            let is_it =
                |s: &Statistic| s.group.as_bytes() == &*group && s.name.as_bytes() == &*name;
            let found = seen(desk, &sums).into_iter().find(|(s, _)| is_it(s));
            found
                .map(|(_, n)| vec![Value::count(n)])
                .ok_or_else(|| unknown(&group, &name))
        }),
    },
    Command {
        name: "cnt.grps_list",
        help: "list all the counter group names.",
        params: "",
        container: Container::Array,
        run: Run::Here(|desk, _| {
            let mut groups: Vec<_> = statistic::statistics(desk.setup)
                .iter()
                .map(|s| s.group)
                .collect();
            groups.dedup();
            Ok(groups.into_iter().map(Value::text).collect())
        }),
    },
    Command {
        name: "cnt.grp_get_all",
        help: "list all the counter names and values in a specified group.",
        params: "GROUP",
        container: Container::Last,
        run: every(one_word, |desk, args, sums| {
            let group = args.text(0)?;
            let seen = seen(desk, &sums).into_iter();
            let of_group = seen.filter(|(s, _)| s.group.as_bytes() == &*group);
            let members = of_group.map(|(s, n)| (s.name, Value::count(n)));
            Ok(vec![Value::members(members)])
        }),
    },
];

/// A command about the sums of all shards.
const fn every(
    whom: fn(&Desk<'_>, &Args) -> Result<Whom, Stop>,
    make: fn(&mut Desk<'_>, &Args, Vec<Value>) -> Answer,
) -> Run {
    let part =
        |env: &mut crate::modules::Env<'_>, _: &Args, _| Part::whole(statistic::read(env.state));
    Run::Shards(Shards {
        whom,
        part,
        fold: Fold::SumThen(make),
    })
}

/// The original ends these words with a line of their own.
fn unknown(group: &[u8], name: &[u8]) -> Stop {
    let (group, name) = (
        String::from_utf8_lossy(group),
        String::from_utf8_lossy(name),
    );
    Stop::Fault(Fault::new(
        400,
        format!("non-existent counter {group}.{name}\n"),
    ))
}

fn given(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    match args.all() {
        [] => Err(stop(400, "Please provide which stats to retrieve")),
        _ => Ok(Whom::All),
    }
}

fn named(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    match args.all() {
        [] => Err(stop(400, "Please provide stats name")),
        _ => Ok(Whom::All),
    }
}

fn one_word(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    args.text(0)?;
    Ok(Whom::All)
}

fn two_words(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    args.text(0)?;
    args.text(1)?;
    Ok(Whom::All)
}

/// Each statistic with what an operator sees of it.
fn seen(desk: &Desk<'_>, sums: &[Value]) -> Vec<(&'static Statistic, u64)> {
    let statistics = statistic::statistics(desk.setup).into_iter();
    statistics
        .zip(counts(sums))
        .map(|(s, n)| (s, desk.baseline.seen(s, n)))
        .collect()
}

fn counts(sums: &[Value]) -> impl Iterator<Item = u64> + '_ {
    sums.iter().map(|sum| match sum {
        Value::Int(n) => u64::try_from(*n).unwrap_or(0),
        Value::Null | Value::Double(_) | Value::Text(_) | Value::Struct(_) | Value::Array(_) => 0,
    })
}

/// Those that the parameters mean, parameter by parameter, each with what is seen of it.
fn meant<'a>(
    desk: &'a Desk<'_>,
    args: &'a Args,
    sums: &'a [Value],
) -> impl Iterator<Item = (&'static Statistic, u64)> + 'a {
    let seen = seen(desk, sums);
    let words = (0..args.all().len()).map_while(|index| args.text(index).ok());
    words.flat_map(move |word| {
        let of_word = seen
            .iter()
            .filter(move |(s, _)| statistic::is_meant(s, &word));
        of_word.copied().collect::<Vec<_>>()
    })
}

fn line(statistic: &Statistic, count: u64) -> Value {
    Value::text(format!("{}:{} = {count}", statistic.group, statistic.name))
}

fn get(desk: &mut Desk<'_>, args: &Args, sums: Vec<Value>) -> Answer {
    Ok(meant(desk, args, &sums).map(|(s, n)| line(s, n)).collect())
}

fn text_of(count: u64) -> Value {
    Value::text(count.to_string())
}

fn fetch(desk: &Desk<'_>, args: &Args, sums: &[Value], show: fn(u64) -> Value) -> Answer {
    let member = |(s, n): (&Statistic, u64)| {
        (
            Name::from(format!("{}.{}", s.group, s.name).into_bytes()),
            show(n),
        )
    };
    Ok(vec![Value::Struct(
        meant(desk, args, sums).map(member).collect(),
    )])
}

fn reset(desk: &mut Desk<'_>, args: &Args, sums: &[Value]) {
    let words: Vec<_> = (0..args.all().len())
        .map_while(|index| args.text(index).ok())
        .collect();
    for (s, n) in statistic::statistics(desk.setup)
        .into_iter()
        .zip(counts(sums))
    {
        if words.iter().any(|word| statistic::is_meant(s, word)) {
            desk.baseline.reset(s, n);
        }
    }
}
