//! Why the runtime could not start or go on, in words an operator can act on.

use std::fmt;
use std::io;

use crate::effect::{Address, Proto};
use crate::modules::rpc::place::Place;
use crate::steer::ShardId;

/// The environment's or the operator's fault; the text says what to do about it.
#[derive(Debug)]
pub enum IoError {
    /// A listening socket could not be opened.
    Listen {
        /// Which one.
        address: Address,
        /// What the system said.
        error: io::Error,
    },
    /// No socket of this transport can be opened by this program.
    NoTransport(Address),
    /// There is nothing to listen on, or more than socket numbers reach.
    ListenCount(usize),
    /// The CPU is not one that this process may run on.
    NoCore(usize),
    /// No CPU was named and the system names none; or more than shard numbers reach.
    CoreCount(usize),
    /// The rings of the executors do not fit into the memory that this process may lock.
    LockedMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed (`RLIMIT_MEMLOCK`).
        allowed: u64,
    },
    /// A place where operators connect could not be opened.
    Control {
        /// Which one.
        place: Place,
        /// What the system said.
        error: io::Error,
    },
    /// Something that every start needs was refused.
    Start {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The executor of this core did not start.
    Executor(ShardId, io::Error),
    /// A core stopped by itself: a defect of this program, which its last words explain.
    CoreFailed(ShardId),
    /// A core did not stop within the time it was given.
    CoreStuck(ShardId),
}

impl IoError {
    pub(crate) fn start(what: &'static str) -> impl FnOnce(io::Error) -> IoError {
        move |error| IoError::Start { what, error }
    }
}

impl std::error::Error for IoError {}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoError::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {}", advice(address, error))
            }
            IoError::NoTransport(address) => write!(
                f,
                "cannot listen on {address}: sockets of transport {} cannot be opened, \
                 use udp or tcp",
                address.proto
            ),
            IoError::ListenCount(0) => write!(f, "there is no address to listen on"),
            IoError::ListenCount(n) => write!(f, "{n} addresses to listen on are too many"),
            IoError::NoCore(cpu) => write!(
                f,
                "this process may not run on CPU {cpu}: choose one that taskset -p shows"
            ),
            IoError::CoreCount(0) => write!(f, "the system names no CPU to run on"),
            IoError::CoreCount(n) => write!(f, "{n} cores are too many"),
            IoError::LockedMemory { needed, allowed } => write!(
                f,
                "the io_uring rings need {} KiB of locked memory, allowed are {} KiB: \
                 raise ulimit -l (LimitMEMLOCK= of the unit) or use fewer cores",
                needed.div_ceil(1024),
                allowed / 1024
            ),
            IoError::Control { place, error } => {
                write!(f, "cannot open {place} for operators: {error}")
            }
            IoError::Start { what, error } => write!(f, "cannot {what}: {error}"),
            IoError::Executor(core, error) => {
                write!(f, "the executor of core {core} did not start: {error}")
            }
            IoError::CoreFailed(core) => write!(f, "core {core} failed, stopping"),
            IoError::CoreStuck(core) => write!(f, "core {core} did not stop in time"),
        }
    }
}

/// What the system said about an address, and what to do.
fn advice(address: &Address, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the address is in use: stop the program that holds it (ss {} shows it) \
             or listen elsewhere",
            if address.proto == Proto::Udp {
                "-lunp"
            } else {
                "-ltnp"
            }
        ),
        io::ErrorKind::PermissionDenied => format!(
            "no permission: port {} needs root or the capability CAP_NET_BIND_SERVICE",
            address.local.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "no interface has this address: add it (ip address add) or listen elsewhere".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bind_problem_says_what_to_do() {
        let address = |proto| Address {
            proto,
            local: "127.0.0.1:80".parse().unwrap(),
            advertised: None,
            name: None,
        };
        let table = [
            (
                Proto::Udp,
                io::ErrorKind::AddrInUse,
                "in use: stop the program that holds it (ss -lunp",
            ),
            (
                Proto::Tcp,
                io::ErrorKind::AddrInUse,
                "in use: stop the program that holds it (ss -ltnp",
            ),
            (
                Proto::Udp,
                io::ErrorKind::PermissionDenied,
                "port 80 needs root",
            ),
            (
                Proto::Tcp,
                io::ErrorKind::AddrNotAvailable,
                "no interface has this address",
            ),
        ];
        for (proto, kind, want) in table {
            let error = IoError::Listen {
                address: address(proto),
                error: kind.into(),
            };
            let text = error.to_string();
            assert!(
                text.starts_with("cannot listen on") && text.contains(want),
                "{text}"
            );
            assert!(text.contains(&address(proto).to_string()), "{text}");
        }
    }
}
