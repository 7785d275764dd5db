//! `core.*`: what the process is and how it is.
//!
//! Commands that ask for the parts of the original's machinery answer with what takes their place
//! here: threads for processes, the memory of the process for shared memory.

use crate::effect::flow::bracketed;
use crate::effect::rpc::{Fault, Value};
use crate::effect::{Address, Proto};
use crate::modules::all;
use crate::script::calendar::Moment;
use crate::steer::ShardId;
use crate::time::WallTime;

use super::args::Args;
use super::command::{Answer, Command, Container, Figures, Run, Stop, stop};
use super::desk::{Desk, Facts};

/// Name and version, as in replies to operators.
pub const NAME: &str = concat!("dialcore ", env!("CARGO_PKG_VERSION"));

const fn here(
    name: &'static str,
    (container, params): (Container, &'static str),
    run: fn(&mut Desk<'_>, &Args) -> Answer,
    help: &'static str,
) -> Command {
    Command {
        name,
        help,
        params,
        container,
        run: Run::Here(run),
    }
}

const LAST: Container = Container::Last;
const ARRAY: Container = Container::Array;

/// The commands.
pub const CORE: [Command; 20] = [
    here(
        "core.version",
        (LAST, ""),
        version,
        "Returns the version string of the server.",
    ),
    here(
        "core.uptime",
        (LAST, ""),
        uptime,
        "Returns uptime of SIP server.",
    ),
    here(
        "core.info",
        (LAST, ""),
        info,
        "Verbose info, including version number and build.",
    ),
    here(
        "core.runinfo",
        (LAST, ""),
        run_info,
        "Runtime info - name, version, uptime.",
    ),
    here(
        "core.flags",
        (LAST, ""),
        flags,
        "Returns the compile flags.",
    ),
    here(
        "core.ps",
        (ARRAY, ""),
        ps,
        "Returns the description of running threads.",
    ),
    here(
        "core.psx",
        (ARRAY, ""),
        psx,
        "Returns the detailed description of running threads.",
    ),
    here(
        "core.psa",
        (ARRAY, ""),
        psa,
        "Returns all the attributes of running threads.",
    ),
    here(
        "core.pwd",
        (ARRAY, ""),
        |desk, _| one(Value::text((desk.look)().directory)),
        "Returns the working directory of server.",
    ),
    here(
        "core.udp4_raw_info",
        (LAST, ""),
        raw,
        "Raw sockets for IPv4: never used, so mtu and ttl say nothing.",
    ),
    here(
        "core.shmmem",
        (LAST, "[b|k|m|g]"),
        memory_in_units,
        "Returns memory info: total is the machine's, used what the process holds.",
    ),
    here(
        "core.arg",
        (ARRAY, ""),
        arguments,
        "Returns the command line used on startup.",
    ),
    here("core.modules", (ARRAY, ""), modules, "List loaded modules."),
    here(
        "core.sockets_list",
        (ARRAY, ""),
        sockets,
        "List local SIP server listen sockets.",
    ),
    here(
        "core.aliases_list",
        (LAST, ""),
        aliases,
        "List local SIP server host aliases.",
    ),
    here(
        "core.tcp_info",
        (LAST, ""),
        tcp,
        "Returns tcp related info.",
    ),
    here(
        "core.echo",
        (ARRAY, "[ANY ...]"),
        echo,
        "Returns back its parameters.",
    ),
    here(
        "core.prints",
        (ARRAY, "[TEXT ...]"),
        prints,
        "Returns the texts given as parameters.",
    ),
    here(
        "core.printi",
        (ARRAY, "[INT ...]"),
        printi,
        "Returns the numbers given as parameters.",
    ),
    Command {
        name: "core.shards",
        help: "Figures of each core: messages, hand-overs, drops, what is held, time spent.",
        params: "",
        container: ARRAY,
        run: Run::Cores(shards),
    },
];

/// Reading the configuration anew.
pub const RELOAD: [Command; 1] = [Command {
    name: "core.reload",
    help: "Reads the configuration anew, as SIGHUP does; a bad one changes nothing.",
    params: "",
    container: LAST,
    run: Run::Reload("Done"),
}];

fn one(value: Value) -> Answer {
    Ok(vec![value])
}

fn target(build: &str) -> String {
    // Where the original has its revision stands nothing, behind a blank.
    format!("{NAME} ({build}) ")
}

fn version(desk: &mut Desk<'_>, _: &Args) -> Answer {
    one(Value::text(target((desk.look)().build)))
}

/// As asctime(3) writes it.
fn date(desk: &Desk<'_>, at: WallTime) -> Value {
    let mut text = vec![];
    Moment::of(at.as_secs() as i64, &desk.setup.config.zone).format(b"%c", &mut text);
    Value::text(String::from_utf8_lossy(&text).into_owned())
}

fn up(desk: &Desk<'_>) -> u64 {
    desk.now
        .as_secs()
        .saturating_sub(desk.setup.started.as_secs())
}

fn uptime(desk: &mut Desk<'_>, _: &Args) -> Answer {
    one(Value::members([
        ("now", date(desk, desk.now)),
        ("up_since", date(desk, desk.setup.started)),
        ("uptime", Value::count(up(desk))),
    ]))
}

fn info(desk: &mut Desk<'_>, _: &Args) -> Answer {
    one(Value::members([
        ("version", Value::text(NAME)),
        ("id", Value::text("")),
        ("compiler", Value::text("rustc")),
        ("compiled", Value::text("")),
        ("flags", Value::text((desk.look)().build)),
    ]))
}

fn run_info(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let up = up(desk);
    let (days, hours, minutes) = (up / 86_400, up / 3_600 % 24, up / 60 % 60);
    one(Value::members([
        ("name", Value::text("dialcore")),
        ("version", Value::text(env!("CARGO_PKG_VERSION"))),
        ("sourceid", Value::text("")),
        ("compiler", Value::text("rustc")),
        ("compiled", Value::text("")),
        ("time_now", date(desk, desk.now)),
        ("time_started", date(desk, desk.setup.started)),
        ("uptime_secs", Value::count(up)),
        (
            "utime_days",
            Value::text(format!("{days}d {hours}h {minutes}m {}s", up % 60)),
        ),
    ]))
}

fn flags(desk: &mut Desk<'_>, _: &Args) -> Answer {
    one(Value::text((desk.look)().build))
}

fn ps(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let threads = (desk.look)().threads.into_iter();
    Ok(threads
        .flat_map(|(id, name)| [Value::Int(id.into()), Value::text(name)])
        .collect())
}

fn psx(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let threads = (desk.look)().threads.into_iter().enumerate();
    let row = |(index, (id, name)): (usize, (u32, String))| {
        Value::members([
            ("IDX", Value::count(index as u64)),
            ("PID", Value::Int(id.into())),
            ("DSC", Value::text(name)),
        ])
    };
    Ok(threads.map(row).collect())
}

fn memory_in_units(desk: &mut Desk<'_>, args: &Args) -> Answer {
    let unit = args.optional(0, Args::text)?;
    let shift = match unit.as_deref() {
        None | Some(b"b") => 0,
        Some(b"k" | b"kb") => 10,
        Some(b"m" | b"mb") => 20,
        Some(b"g" | b"gb") => 30,
        Some(_) => return Err(stop(500, "bad unit parameter, must be b, k, m or g")),
    };
    one(memory(&(desk.look)(), shift))
}

/// What the process holds of the memory of the machine, in units of 2^`shift` bytes.
pub(super) fn memory(facts: &Facts, shift: u32) -> Value {
    let size = |n: u64| Value::count(n >> shift);
    Value::members([
        ("total", size(facts.memory_size)),
        (
            "free",
            size(facts.memory_size.saturating_sub(facts.resident_size)),
        ),
        ("used", size(facts.resident_size)),
        ("real_used", size(facts.resident_size)),
        ("max_used", size(facts.resident_size_max)),
        ("fragments", Value::Int(0)),
    ])
}

fn psa(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let threads = (desk.look)().threads.into_iter().enumerate();
    let row = |(index, (id, name)): (usize, (u32, String))| {
        Value::members([
            ("index", Value::count(index as u64)),
            ("pid", Value::Int(id.into())),
            ("status", Value::Int(1)),
            ("rank", Value::count(index as u64)),
            ("description", Value::text(name)),
        ])
    };
    Ok(threads.map(row).collect())
}

fn raw(_: &mut Desk<'_>, _: &Args) -> Answer {
    let names = ["udp4_raw", "udp4_raw_mtu", "udp4_raw_ttl"];
    let values = [0, 0, 0];
    one(Value::members(
        names.into_iter().zip(values.map(Value::Int)),
    ))
}

fn arguments(desk: &mut Desk<'_>, _: &Args) -> Answer {
    Ok((desk.look)().command_line.iter().map(Value::text).collect())
}

/// The last one loaded comes first.
fn modules(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let core = all()[0].name;
    let loaded = desk.setup.program.modules.iter().rev();
    let names = loaded
        .map(|id| all()[usize::from(id.0)].name)
        .filter(|name| *name != core);
    Ok(names.map(Value::text).collect())
}

fn sockets(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let socket = |address: &Address| {
        let host = Value::text(bracketed(address.local.ip()));
        let members = [
            ("proto", Value::text(address.proto.lower())),
            ("address", host.clone()),
            ("ipaddress", host),
            ("port", Value::text(address.local.port().to_string())),
        ];
        let always = ["mcast", "mhomed", "virtual"].map(|name| (name, Value::text("no")));
        let mut members: Vec<_> = members.into_iter().chain(always).collect();
        if let Some((host, port)) = &address.advertised {
            members.push(("advertise", Value::text(format!("{host}:{port}"))));
        }
        Value::members([("socket", Value::members(members))])
    };
    Ok(desk.setup.addresses.iter().map(socket).collect())
}

fn aliases(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let alias = |alias: &crate::modules::config::Alias| {
        Value::members([(
            "alias",
            Value::members([
                ("proto", Value::text("*")),
                ("address", Value::text(&*alias.host)),
                (
                    "port",
                    Value::text(alias.port.map_or("*".into(), |p| p.to_string())),
                ),
            ]),
        )])
    };
    let aliases = desk.setup.config.core.aliases.iter().map(alias).collect();
    one(Value::members([
        ("myself_callbacks", Value::text("no")),
        ("aliases", Value::Array(aliases)),
    ]))
}

fn tcp(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let setup = desk.setup;
    if !setup.addresses.iter().any(|a| a.proto == Proto::Tcp) {
        return Err(Stop::Fault(Fault::new(500, "tcp support disabled")));
    }
    let facts = (desk.look)();
    one(Value::members([
        ("readers", Value::Int(setup.shard_count.into())),
        (
            "max_connections",
            Value::count(setup.config.tcp.max_connections as u64),
        ),
        ("max_tls_connections", Value::Int(0)),
        ("opened_connections", Value::count(facts.stream_count)),
        ("opened_tls_connections", Value::Int(0)),
        ("write_queued_bytes", Value::count(facts.stream_queue_size)),
    ]))
}

fn echo(_: &mut Desk<'_>, args: &Args) -> Answer {
    let words = (0..args.all().len()).map_while(|index| args.word(index).ok());
    Ok(words.map(Value::text).collect())
}

fn prints(_: &mut Desk<'_>, args: &Args) -> Answer {
    (0..args.all().len())
        .map(|index| Ok(Value::text(args.text(index)?)))
        .collect()
}

fn printi(_: &mut Desk<'_>, args: &Args) -> Answer {
    (0..args.all().len())
        .map(|index| Ok(Value::Int(args.int(index)?)))
        .collect()
}

fn shards(cores: &[(ShardId, Figures)]) -> Vec<Value> {
    let row = |(id, figures): &(ShardId, Figures)| {
        let core = ("core", Value::Int(id.0.into()));
        let figures = figures.iter().map(|(name, n)| (*name, Value::count(*n)));
        Value::members(std::iter::once(core).chain(figures))
    };
    cores.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Setup;
    use crate::modules::rpc::{Dialect, Facts, statistic::Baseline};

    fn ask(name: &str, values: Vec<Value>) -> Answer {
        let text = "listen=udp:127.0.0.1:5070\nalias=\"x.test:5060\"\n\
                    loadmodule \"tm.so\"\nloadmodule \"sl.so\"\nrequest_route { ; }\n";
        let setup = Setup::from_text(text, 2).unwrap();
        let look = || Facts {
            threads: vec![(7, "core".into())],
            resident_size: 3 << 20,
            resident_size_max: 4 << 20,
            memory_size: 8 << 20,
            build: "x86_64/linux",
            ..Facts::default()
        };
        let mut baseline = Baseline::default();
        let now = WallTime::from_micros(90_061_000_000);
        let desk = &mut Desk {
            setup: &setup,
            now,
            baseline: &mut baseline,
            look: &look,
        };
        let command = crate::modules::rpc::command::find(&setup, name.as_bytes()).unwrap();
        let Run::Here(run) = command.run else {
            panic!("{name} asks shards")
        };
        run(
            desk,
            &Args::new(values, Dialect::Binary { converts: false }),
        )
    }

    /// An answer as JSON, which is easiest to read.
    fn shown(answer: Answer) -> String {
        let mut out = vec![];
        match answer {
            Ok(values) => crate::modules::rpc::json::Style { is_pretty: false }.put(
                &mut out,
                &Value::Array(values),
                0,
            ),
            Err(Stop::Fault(fault)) => return format!("{} {}", fault.code, fault.text),
            Err(Stop::Silent) => return "silent".into(),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_have_the_fields_of_the_original() {
        let version = format!("[\"{NAME} (x86_64/linux) \"]");
        let table = [
            ("core.version", vec![], version.as_str()),
            (
                "core.uptime",
                vec![],
                "[{\"now\":\"Fri Jan  2 01:01:01 1970\",\"up_since\":\"Thu Jan  1 00:00:00 1970\",\
                 \"uptime\":90061}]",
            ),
            ("core.ps", vec![], "[7,\"core\"]"),
            (
                "core.psx",
                vec![],
                "[{\"IDX\":0,\"PID\":7,\"DSC\":\"core\"}]",
            ),
            (
                "core.shmmem",
                vec![Value::text("m")],
                "[{\"total\":8,\"free\":5,\"used\":3,\"real_used\":3,\"max_used\":4,\
                 \"fragments\":0}]",
            ),
            (
                "core.shmmem",
                vec![Value::text("x")],
                "500 bad unit parameter, must be b, k, m or g",
            ),
            ("core.modules", vec![], "[\"sl\",\"tm\"]"),
            ("core.tcp_info", vec![], "500 tcp support disabled"),
            (
                "core.sockets_list",
                vec![],
                "[{\"socket\":{\"proto\":\"udp\",\"address\":\"127.0.0.1\",\
                 \"ipaddress\":\"127.0.0.1\",\"port\":\"5070\",\"mcast\":\"no\",\"mhomed\":\"no\",\
                 \"virtual\":\"no\"}}]",
            ),
            (
                "core.echo",
                vec![Value::text("a"), Value::Int(-1)],
                "[\"a\",\"-1\"]",
            ),
            (
                "core.prints",
                vec![Value::text("a"), Value::text("b")],
                "[\"a\",\"b\"]",
            ),
            (
                "core.prints",
                vec![Value::text("a"), Value::Int(1)],
                "400 error at parameter 1: expected string type but record doesn't match type",
            ),
            ("core.printi", vec![Value::Int(1)], "[1]"),
            ("system.methodHelp", vec![], "400 Method Name Expected"),
            (
                "system.methodHelp",
                vec![Value::text("no")],
                "400 command not found",
            ),
            (
                "system.methodHelp",
                vec![Value::text("core.version")],
                "[\"Returns the version string of the server.\"]",
            ),
            ("system.methodSignature", vec![], "500 Not Implemented Yet"),
        ];
        for (name, values, want) in table {
            assert_eq!(shown(ask(name, values)), want, "{name}");
        }
    }
}
