//! How fast, how steady, how large: dialcore beside Kamailio and alone, measured from outside.
//!
//! ```text
//!   cargo run --release --features perf --bin perf -- compare    both proxies, one after the other
//!   cargo run --release --features perf --bin perf -- scale      many dialogs, many shards
//!   cargo run --release --features perf --bin perf -- soak       hours of calls of every sort
//!   cargo run --release --features perf --bin perf -- overload   more than it can carry
//!   cargo run --release --features perf --bin perf -- load       the load generator alone
//!   cargo run --release --features perf --bin perf -- segments   datagrams joined by the kernel
//!   cargo run --release --features perf --bin perf -- report     results as README.md shows them
//! ```
//!
//! `target/release/dialcore` must have been built. Nothing here judges: it prints what it saw,
//! with the command, the commit, the machine and the kernel. Instruction counts, which repeat, are
//! the business of `bench/`. Every command also runs small as a test:
//! `cargo test --features perf --bin perf`.

mod bench;
mod compare;
mod kernel;
mod load;
mod overload;
mod place;
mod plot;
mod relay;
mod report;
mod scale;
mod segments;
mod soak;
mod subject;
mod terminal;
mod used;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use load::{Outcome, Plan, Run, Sockets};
use place::Place;
use subject::{Kind, Variant};

/// The product's, so that `scale` measures the memory that shards take there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How fast, how steady, how large: dialcore beside Kamailio and alone.
///
/// Results go to standard output as tables, and to files: JSON for programs, SVG for people.
#[derive(Parser)]
#[command(name = "perf", max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    what: What,
}

/// Where results go.
#[derive(clap::Args)]
struct Results {
    /// The folder of the results.
    #[arg(long, default_value = "perf/results")]
    results: PathBuf,
    /// The name of the files; that of the command by default.
    #[arg(long)]
    name: Option<String>,
}

impl Results {
    fn name(&self, command: &str) -> String {
        self.name.clone().unwrap_or_else(|| command.to_owned())
    }
}

#[derive(Subcommand)]
enum What {
    /// Runs the same configuration and load through dialcore and Kamailio, one after the other.
    ///
    /// CPU and wake-ups per call, latency from p50 to p99.99, that of the first two seconds apart,
    /// order, memory per dialog and per ringing call, what is left afterwards, and the knee of the
    /// curve. Kamailio is installed by apt when it is missing, and runs twice: with as many workers
    /// as dialcore has cores, and with one, because with more it changes the order of messages.
    /// Beside them stands the floor: a relay without memory or parser that waits as dialcore is
    /// told to, on as many cores. Takes about ten minutes.
    Compare {
        /// Calls per second of the steady runs, as far as each proxy follows.
        #[arg(long, value_delimiter = ',', default_value = "500,1500,5000")]
        rates: Vec<f64>,
        /// Seconds of each.
        #[arg(long, default_value_t = 15.0)]
        seconds: f64,
        /// Seconds of each step towards the knee.
        #[arg(long, default_value_t = 4.0)]
        step_seconds: f64,
        /// Calls of all steady runs together, at least.
        #[arg(long, default_value_t = 100_000)]
        calls: u64,
        /// Calls held at once.
        #[arg(long, default_value_t = 50_000)]
        held: u64,
        /// Calls that ring at once.
        #[arg(long, default_value_t = 5_000)]
        ringing: u64,
        /// Cores of dialcore, workers of Kamailio: as many as there are CPUs for them by default.
        #[arg(long)]
        cores: Option<usize>,
        /// The load generator has the last CPU to itself, and the proxy all others.
        #[arg(long)]
        apart: bool,
        #[command(flatten)]
        to: Results,
    },
    /// Measures what a message costs beside many dialogs, what they take of the memory, whether
    /// all end in time, and what many shards tell each other.
    ///
    /// Shards run as values under virtual time, without sockets. 10,000,000 dialogs need about 12
    /// GiB of free memory; a count for which there is not enough is left out, and that is said.
    Scale {
        /// Dialogs held.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "1000,10000,100000,1000000,10000000"
        )]
        dialogs: Vec<u64>,
        /// Shards simulated.
        #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
        shards: Vec<u16>,
        /// Calls per second for each of them.
        #[arg(long, default_value_t = 200.0)]
        rate: f64,
        /// Seconds of virtual time.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        #[command(flatten)]
        to: Results,
    },
    /// One measurement of `scale`, in a process of its own; prints JSON.
    #[command(hide = true)]
    ScaleOne {
        /// Dialogs held.
        dialogs: u64,
    },
    /// Runs calls of random length and every sort for minutes, and looks at what is left of them.
    ///
    /// Of a hundred calls 5 have keep-alive, 2 are ended by nobody but the proxy, 10 are cancelled
    /// and 10 refused. A line per minute. Afterwards dialogs, transactions and timers must be 0,
    /// memory within 5 % of before, every call complete, nothing wrong or out of order, and p99 of
    /// every minute within its bound; if not, the command fails. Of 100,000 calls one may be turned
    /// away with 503, for a machine that stands still for a moment leaves no other choice. The
    /// results are written in any case; when the proxy dies no further calls are begun.
    Soak {
        /// How long.
        #[arg(long, default_value_t = 30.0)]
        minutes: f64,
        /// The share of the knee, which is looked for first.
        #[arg(long, default_value_t = 0.5)]
        share: f64,
        /// Calls per second, in place of a share.
        #[arg(long)]
        rate: Option<f64>,
        /// How long calls are on the average, seconds.
        #[arg(long, default_value_t = 10.0)]
        hold: f64,
        /// When the proxy ends calls that nobody ends, seconds.
        #[arg(long, default_value_t = 60)]
        lost: u32,
        /// What p99 may be in each minute, microseconds.
        #[arg(long, default_value_t = 5_000.0)]
        p99_max: f64,
        /// Cores.
        #[arg(long)]
        cores: Option<usize>,
        /// The load generator has the last CPU to itself, and the proxy all others.
        #[arg(long)]
        apart: bool,
        #[command(flatten)]
        to: Results,
    },
    /// Finds the load that a proxy can carry, and offers it several times as much.
    ///
    /// Prints complete calls per second (those of use to a caller with 4 s of patience), the share
    /// turned away with 503 and Retry-After, the share lost, and the latency of what belongs to
    /// calls that are up.
    Overload {
        /// How many times the sustainable load is offered.
        #[arg(long, value_delimiter = ',', default_value = "1,2,5,10")]
        factors: Vec<f64>,
        /// Seconds of each.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// Where the search for the sustainable load begins, calls per second.
        #[arg(long, default_value_t = 500.0)]
        from: f64,
        /// Kamailio too.
        #[arg(long)]
        kamailio: bool,
        /// Cores of dialcore, workers of Kamailio.
        #[arg(long)]
        cores: Option<usize>,
        /// Both share the CPUs. By default the load generator has the last one to itself, because
        /// otherwise it can offer no more than the proxy leaves it.
        #[arg(long)]
        shared: bool,
        #[command(flatten)]
        to: Results,
    },
    /// Sends calls through a proxy and prints what it saw as JSON.
    ///
    /// Without an address a relay of this program's own stands between the two ends: what the
    /// load generator can do by itself. With one, the proxy there must relay to the callee, whose
    /// address is printed first.
    Load {
        /// The proxy.
        proxy: Option<SocketAddr>,
        /// Calls per second.
        #[arg(long, default_value_t = 100.0)]
        rate: f64,
        /// How many calls.
        #[arg(long, default_value_t = 1_000)]
        calls: u64,
        /// From the 180 to the 200, seconds.
        #[arg(long, default_value_t = 0.0)]
        ring: f64,
        /// From the ACK to the BYE, seconds.
        #[arg(long, default_value_t = 0.0)]
        hold: f64,
        /// The time from ACK to BYE differs from call to call.
        #[arg(long)]
        random: bool,
        /// A line on standard error every so many seconds.
        #[arg(long, default_value_t = 10.0)]
        every: f64,
    },
    /// Measures what it would save to give the kernel datagrams of one size and target as one.
    ///
    /// CPU per datagram to send and to receive over the loopback: each by itself in sendmmsg(2), or
    /// as one that the kernel cuts (UDP_SEGMENT), to a socket with and without UDP_GRO. Takes
    /// seconds.
    Segments {
        #[command(flatten)]
        sizes: segments::Sizes,
        #[command(flatten)]
        to: Results,
    },
    /// Prints results as README.md shows them.
    ///
    /// Those of compare, overload and segments have a table. With `--write`, each result whose
    /// name stands in a mark of the file takes the place of what stands there.
    Report(report::Wanted),
}

/// Longer than transactions live in any proxy.
const LINGER_S: f64 = 12.0;

/// Percent of the calls of a long run.
const SOAK_MIX: load::Mix = load::Mix {
    kept: 5,
    abandoned: 2,
    cancelled: 10,
    refused: 10,
};

fn of_dialcore(workers: usize, is_apart: bool) -> Variant {
    let kind = Kind::Dialcore;
    Variant {
        kind,
        workers,
        is_apart,
    }
}

/// How many cores or workers: as many as there are CPUs for the proxy, unless said otherwise.
fn workers(cores: Option<usize>, is_apart: bool) -> usize {
    let all = std::thread::available_parallelism().map_or(2, usize::from);
    cores.unwrap_or(all - usize::from(is_apart && all > 1))
}

fn main() -> ExitCode {
    match run(Args::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> io::Result<()> {
    match what {
        What::Compare {
            rates,
            seconds,
            step_seconds,
            calls,
            held,
            ringing,
            cores,
            apart,
            to,
        } => {
            let sizes = compare::Sizes {
                rates,
                seconds,
                step_seconds,
                calls,
                held,
                ringing,
                linger_s: LINGER_S,
                warm: compare::WARM_CALLS,
                script: compare::SCRIPT.to_owned(),
            };
            compare(sizes, cores, apart, &to)
        }
        What::Scale {
            dialogs,
            shards,
            rate,
            seconds,
            to,
        } => {
            let sizes = scale::Sizes {
                dialogs,
                shards,
                rate,
                seconds,
            };
            let name = to.name("scale");
            let scaled = scale::run(sizes, scale::measure_apart, &to.results, &name)?;
            println!("{}", scaled.text());
            Ok(())
        }
        What::ScaleOne { dialogs } => scale_one(dialogs),
        What::Soak {
            minutes,
            share,
            rate,
            hold,
            lost,
            p99_max,
            cores,
            apart,
            to,
        } => {
            let sizes = soak::Sizes {
                seconds: minutes * 60.0,
                rate,
                share,
                hold_s: hold,
                lost_s: lost,
                part_s: 60.0,
                linger_s: 4.0 * LINGER_S,
                mix: SOAK_MIX,
                p99_max_us: p99_max,
                left_max_percent: 5.0,
                shed_max: 1e-5,
            };
            let variant = of_dialcore(workers(cores, apart), apart);
            soak(sizes, &variant, &to)
        }
        What::Overload {
            factors,
            seconds,
            from,
            kamailio,
            cores,
            shared,
            to,
        } => {
            let sizes = overload::Sizes {
                from,
                step_seconds: 3.0,
                seconds,
                factors,
                patience_s: 4.0,
            };
            let count = workers(cores, !shared);
            let variants = match kamailio {
                true => compare::variants(count, !shared),
                false => vec![of_dialcore(count, !shared)],
            };
            overload(sizes, &variants, &to)
        }
        What::Load {
            proxy,
            rate,
            calls,
            ring,
            hold,
            random,
            every,
        } => {
            let plan = Plan {
                ring_s: ring,
                hold_s: hold,
                is_random: random,
                ..Plan::of(rate, calls)
            };
            load(plan, proxy, every)
        }
        What::Segments { sizes, to } => {
            let found = segments::run(sizes, &to.results, &to.name("segments"))?;
            println!("{}", found.text());
            Ok(())
        }
        What::Report(wanted) => report::run(&wanted),
    }
}

fn scale_one(dialogs: u64) -> io::Result<()> {
    dialcore::io::process::without_huge_pages();
    let measured = scale::dialogs::measure(dialogs)?;
    let json = serde_json::to_string(&measured).map_err(io::Error::other)?;
    println!("{json}");
    Ok(())
}

fn compare(
    sizes: compare::Sizes,
    cores: Option<usize>,
    is_apart: bool,
    to: &Results,
) -> io::Result<()> {
    let name = to.name(if is_apart { "compare-apart" } else { "compare" });
    let variants = compare::variants(workers(cores, is_apart), is_apart);
    let found = compare::run(sizes, &variants, &to.results, &name)?;
    println!("{}", found.text());
    Ok(())
}

fn overload(sizes: overload::Sizes, variants: &[Variant], to: &Results) -> io::Result<()> {
    let found = overload::run(sizes, variants, &to.results, &to.name("overload"))?;
    println!("{}", found.text());
    Ok(())
}

fn soak(sizes: soak::Sizes, variant: &Variant, to: &Results) -> io::Result<()> {
    let soaked = soak::run(sizes, variant, &to.results, &to.name("soak"))?;
    println!("{}", soaked.text());
    match soaked.faults.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other("not all is as before")),
    }
}

fn load(plan: Plan, proxy: Option<SocketAddr>, every: f64) -> io::Result<()> {
    let outcome = match proxy {
        Some(proxy) => generate(plan, proxy, every)?,
        None => alone(plan)?,
    };
    let json = serde_json::to_string_pretty(&outcome).map_err(io::Error::other)?;
    println!("{json}");
    Ok(())
}

fn generate(plan: Plan, proxy: SocketAddr, every: f64) -> io::Result<Outcome> {
    let sockets = Sockets::open()?;
    eprintln!("the callee is at {}", sockets.callee()?);
    let name = format!("load-{}", std::process::id());
    let mut run = Run::new(plan, proxy, sockets, &name)?;
    let bar = terminal::bar("calls", plan.calls);
    let mut next = every;
    let outcome = run.run(|mut progress| {
        bar.set_position(progress.over);
        if progress.seconds < next {
            return;
        }
        next += every;
        let seconds = progress.seconds;
        let part = progress.part();
        bar.suspend(|| {
            eprintln!(
                "{seconds:6.0} s: {} begun, {:.0}/s complete, p99 {} us",
                part.counts.started,
                part.goodput(),
                terminal::value(part.latency.all.p99)
            );
        });
    });
    bar.finish_and_clear();
    outcome
}

fn alone(plan: Plan) -> io::Result<Outcome> {
    let (steady, _) = compare::relay(plan, 1, false)?;
    eprint!("{}", Place::here().head());
    eprintln!(
        "the relay: {:.1} us of CPU and {:.1} wake-ups per call; this program: {:.1} us",
        steady.cpu_us(),
        steady.wakeups,
        steady.outcome.own_us
    );
    Ok(steady.outcome)
}
