//! How fast, how steady, how large: dialcore beside Kamailio, measured from outside.
//!
//! ```text
//!   cargo run --release --features perf --bin perf -- compare    both proxies, one after the other
//!   cargo run --release --features perf --bin perf -- load ADDR  the load generator alone
//! ```
//!
//! Nothing here judges: it prints what it saw, with the command, the commit, the machine and the
//! kernel. Instruction counts, which repeat, are the business of `bench/`.

mod compare;
mod load;
mod report;
mod sip;
mod subject;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use compare::Sizes;
use report::{Comparison, Place};
use subject::Kind;

#[derive(Parser)]
#[command(name = "perf", about = "Load, beside Kamailio and alone")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs the same configuration and load through Kamailio and dialcore in turn.
    Compare {
        /// Calls per second of the steady runs.
        #[arg(long, value_delimiter = ',', default_value = "500,1000,2000")]
        rates: Vec<f64>,
        /// Seconds of each.
        #[arg(long, default_value_t = 20.0)]
        seconds: f64,
        /// Calls held at once.
        #[arg(long, default_value_t = 20_000)]
        held: u64,
        /// Cores of each proxy.
        #[arg(long, default_value_t = 2)]
        cores: usize,
        /// Where results go.
        #[arg(long, default_value = "perf/results")]
        results: PathBuf,
        /// The name of the files.
        #[arg(long, default_value = "compare")]
        name: String,
    },
    /// Sends calls through a proxy that relays to the callee whose address is printed first.
    Load {
        /// The proxy.
        proxy: SocketAddr,
        /// Calls per second.
        #[arg(long, default_value_t = 100.0)]
        rate: f64,
        /// How many calls.
        #[arg(long, default_value_t = 1_000)]
        calls: u64,
        /// From the ACK to the BYE, seconds.
        #[arg(long, default_value_t = 0.0)]
        hold: f64,
    },
}

/// A bar for something that takes a while.
fn progress(what: &str, all: u64) -> ProgressBar {
    let bar = ProgressBar::new(all);
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
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
            held,
            cores,
            results,
            name,
        } => {
            let sizes = Sizes {
                rates,
                seconds,
                held,
                cores,
            };
            let kinds = [Kind::Dialcore, Kind::Kamailio];
            let found: io::Result<Vec<_>> = kinds
                .into_iter()
                .map(|kind| compare::look_at(kind, &sizes))
                .collect();
            let comparison = Comparison {
                place: Place::here(),
                sizes,
                found: found?,
            };
            println!("{}", comparison.table());
            comparison.write(&results, &name)
        }
        What::Load {
            proxy,
            rate,
            calls,
            hold,
        } => {
            let sockets = load::Sockets::open()?;
            eprintln!("the callee is at {}", sockets.callee()?);
            let plan = load::Plan {
                rate,
                calls,
                hold_s: hold,
            };
            let mut run = load::Run::new(plan, proxy, sockets, "load")?;
            let bar = progress("calls", calls);
            let outcome = run.run(|done, _| bar.set_position(done))?;
            bar.finish_and_clear();
            let json = serde_json::to_string_pretty(&outcome).map_err(io::Error::other)?;
            println!("{json}");
            Ok(())
        }
    }
}
