//! Kernel steering: a program on a group of UDP sockets brings each datagram to the core that
//! owns its call, so that no core has to hand it over (RFC 3261 §8.1.1.4: one Call-ID, one call).
//!
//! ```text
//!   syscall.rs     the commands of bpf(2)       program.rs   what the kernel runs, in assembler
//!   assembler.rs   instructions and labels      btf.rs       types of its two functions
//! ```
//!
//! The sockets of one address are a group (`SO_REUSEPORT`); the program stands on the group and
//! the sockets stand in a map of the kernel by the number of their core. Program and map belong to
//! the group: they go with its last socket, so nothing is left behind by a process that ends, and
//! the next one finds nothing of the last. The program is there before the first socket is bound;
//! what comes for a core whose socket is not bound yet, some microseconds later, is spread by the
//! kernel's own hash and handed over.
//!
//! It is an economy and no condition: a kernel that refuses (no capability, older than 5.17, built
//! without it) leaves the mesh to do the work, and one line says so. The instructions are made
//! here because what assembles eBPF in Rust today wants an object file of a C compiler (`aya-obj`),
//! a C library (`libbpf-sys`) or knows no reference to a function (`rbpf`).

mod assembler;
mod btf;
mod program;
mod syscall;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::log::Log;
use crate::effect::Level;
use syscall::FunctionInfo;

/// How messages in datagrams find the core that owns their call.
#[derive(Debug)]
pub enum Steering {
    /// There is one core, or no datagram socket.
    Needless,
    /// The kernel brings them there.
    Kernel,
    /// Whoever receives them hands them over; this is why.
    HandOver(Refusal),
}

impl Steering {
    /// What holds for two addresses together: what is worse.
    pub(crate) fn and(self, other: Steering) -> Steering {
        match (self, other) {
            (Steering::HandOver(refusal), _) | (_, Steering::HandOver(refusal)) => {
                Steering::HandOver(refusal)
            }
            (Steering::Kernel, _) | (_, Steering::Kernel) => Steering::Kernel,
            (Steering::Needless, Steering::Needless) => Steering::Needless,
        }
    }

    /// Tells whoever reads the log what the terminal was told: that the kernel does not help.
    pub(crate) fn log(&self, log: &Log) {
        if let Steering::HandOver(_) = self {
            log.say(Level::Warn, || format!("steering: {self}"));
        }
    }
}

impl fmt::Display for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Steering::Needless => write!(f, "by Call-ID, handed over between cores"),
            Steering::Kernel => write!(f, "by Call-ID, in the kernel"),
            Steering::HandOver(refusal) => {
                write!(f, "by Call-ID, handed over between cores ({refusal})")
            }
        }
    }
}

/// Why the kernel does not steer.
#[derive(Debug)]
pub struct Refusal {
    what: &'static str,
    error: io::Error,
    /// The verifier's words, if it had any.
    words: String,
}

impl Refusal {
    fn of(what: &'static str) -> impl FnOnce(io::Error) -> Refusal {
        move |error| Refusal {
            what,
            error,
            words: String::new(),
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel does not {}: ", self.what)?;
        if self.error.raw_os_error() == Some(libc::EPERM) {
            return write!(f, "give the program the capability CAP_BPF");
        }
        write!(f, "{}", self.error)?;
        // The last line before the statistics says what it did not like.
        let said = self.words.lines().rfind(|line| !is_statistics(line));
        match said {
            Some(line) => write!(f, ", {}", line.trim()),
            None => Ok(()),
        }
    }
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time", "stack depth"]
        .iter()
        .any(|begin| line.starts_with(begin))
}

/// The program for the sockets of one address, and the map in which they stand by core.
#[derive(Debug)]
pub(crate) struct Group {
    map: OwnedFd,
    program: OwnedFd,
}

impl Group {
    /// Loads a program for so many sockets.
    pub(crate) fn load(size: u16) -> Result<Group, Refusal> {
        let map = syscall::create_socket_map(size).map_err(Refusal::of("make a map of sockets"))?;
        let types = syscall::load_btf(&btf::write()).map_err(Refusal::of("take types"))?;
        let program = program::write(map.as_raw_fd(), size);
        let functions =
            [(0, btf::MAIN), (program.step_at, btf::STEP)].map(|(instruction, type_id)| {
                FunctionInfo {
                    instruction,
                    type_id,
                }
            });
        let loaded = syscall::load_program(&program.instructions, &types, &functions);
        let program = loaded.map_err(|(error, words)| Refusal {
            what: "take the program",
            error,
            words,
        })?;
        Ok(Group { map, program })
    }

    /// Puts the program on the first socket, which is not bound yet, so that the address is never
    /// open without it. The sockets that are bound beside it later belong to its group.
    pub(crate) fn lead(self, first: &impl AsRawFd) -> Result<Group, Refusal> {
        syscall::attach(first, &self.program).map_err(Refusal::of("attach the program"))?;
        Ok(self)
    }

    /// Lets the socket of a core, which is bound, be chosen.
    pub(crate) fn join(self, core: u16, socket: &impl AsRawFd) -> Result<Group, Refusal> {
        let put = syscall::put_socket(&self.map, core, socket);
        put.map_err(Refusal::of("take sockets in a map"))?;
        Ok(self)
    }
}
