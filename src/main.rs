//! The command: arguments in, exit code out. 0 is a good end; 255 is every failure to start, as
//! the original has it. A
//! client ends with 1 when the command it sent has failed.

mod command;

use std::process::ExitCode;

use clap::Parser;
use command::args::Args;

/// Every core allocates and frees on its own, and behind a peak the memory goes back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let is_help = !error.use_stderr();
            // Nothing can be said about a terminal that is gone.
            let _ = error.print();
            return if is_help {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(255)
            };
        }
    };
    if let Some(client) = args.client {
        return command::client::run(client);
    }
    match command::start::start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(255)
        }
    }
}
