//! How fast, how steady, how large: dialcore beside Kamailio and alone, measured from outside.
//!
//! ```text
//!   cargo run --release --features perf --bin perf -- compare    both proxies, one after the other
//!   cargo run --release --features perf --bin perf -- load       the load generator alone
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
mod place;
mod plot;
mod relay;
mod subject;
mod terminal;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use load::{Outcome, Plan, Run, Sockets};
use place::Place;

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
    /// CPU per call, latency from p50 to p99.99, order, memory per dialog and per ringing call,
    /// what is left afterwards, and the knee of the curve. Kamailio is installed by apt when it
    /// is missing, and runs twice: with as many workers as dialcore has cores, and with one,
    /// because with more it changes the order of messages. Takes about ten minutes.
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
        /// Cores of dialcore, workers of Kamailio.
        #[arg(long, default_value_t = 2)]
        cores: usize,
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
}

/// Longer than transactions live in any proxy.
const LINGER_S: f64 = 12.0;

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
            };
            let variants = compare::variants(cores);
            let found = compare::run(sizes, &variants, &to.results, &to.name("compare"))?;
            println!("{}", found.text());
            Ok(())
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
            let outcome = match proxy {
                Some(proxy) => generate(plan, proxy, every)?,
                None => alone(plan)?,
            };
            let json = serde_json::to_string_pretty(&outcome).map_err(io::Error::other)?;
            println!("{json}");
            Ok(())
        }
    }
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
    let steady = compare::relay(plan)?;
    eprint!("{}", Place::here().head());
    eprintln!(
        "the relay: {:.1} us of CPU per call; this program: {:.1} us",
        steady.cpu_us(),
        steady.outcome.own_us
    );
    Ok(steady.outcome)
}
