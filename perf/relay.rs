//! The least a proxy can do, in a thread of this program: one Via more and one Record-Route on the
//! way down, one Via less on the way up, no transaction, no dialog.
//!
//! It is the floor under every proxy's cost, the other end of `perf load` alone, and, with a
//! fault planted, the proof that the load generator sees what it must.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use memchr::memmem;

use crate::kernel;

/// How often the thread looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const BUFFER_SIZE: usize = 64 << 20;

/// Something that a proxy might do to a call.
#[cfg_attr(not(test), expect(dead_code, reason = "only tests plant faults"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// One text of a message that begins with these words is replaced by another.
    Replace {
        begins: &'static str,
        from: &'static str,
        to: &'static str,
    },
    /// A message that begins with these words stays behind the next one of its direction.
    Hold(&'static str),
    /// Nothing that begins with these words gets through.
    Swallow(&'static str),
    /// INVITEs are answered with this status line and these fields.
    Refuse(&'static str),
}

/// A relay that runs.
pub(crate) struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Duration>>>,
}

impl Relay {
    /// Starts one on a port of the system's.
    pub(crate) fn start(callee: SocketAddr, fault: Option<Fault>) -> io::Result<Relay> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        kernel::enlarge(&socket, BUFFER_SIZE)?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let mut work = Work {
            socket,
            callee,
            caller: callee,
            via: format!("Via: SIP/2.0/UDP {address};branch=z9hG4bKr").into_bytes(),
            record_route: format!("Record-Route: <sip:{address};lr;did=1.2>\r\n").into_bytes(),
            fault,
            held: None,
        };
        let thread = std::thread::spawn(move || work.run(&told));
        Ok(Relay {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; what it has used of a CPU.
    pub(crate) fn stop(mut self) -> io::Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(used)) => used,
            Some(Err(_)) | None => Err(io::Error::other("the relay has panicked")),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Work {
    socket: UdpSocket,
    callee: SocketAddr,
    /// Whoever has sent a request last.
    caller: SocketAddr,
    via: Vec<u8>,
    record_route: Vec<u8>,
    fault: Option<Fault>,
    held: Option<(Vec<u8>, SocketAddr)>,
}

impl Work {
    fn run(&mut self, stop: &AtomicBool) -> io::Result<Duration> {
        let (mut buffer, mut out) = (vec![0; 65_535], Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let (size, from) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            out.clear();
            let to = match buffer.starts_with(b"SIP/2.0 ") {
                true => {
                    self.up(&buffer[..size], &mut out);
                    self.caller
                }
                false => {
                    self.caller = from;
                    if self.refuses(&buffer[..size], &mut out) {
                        from
                    } else {
                        self.down(&buffer[..size], &mut out);
                        self.callee
                    }
                }
            };
            self.send(&mut out, to);
        }
        Ok(kernel::thread_cpu())
    }

    /// One Via and a Record-Route more, a Route less.
    fn down(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut lines = text.split_inclusive(|b| *b == b'\n');
        out.extend_from_slice(lines.next().unwrap_or_default());
        let branch = memmem::find(text, b";branch=z9hG4bK").map_or(0, |at| at + 15);
        let branch = text[branch..].split(|b| *b == b'\r' || *b == b';').next();
        out.extend_from_slice(&self.via);
        out.extend_from_slice(branch.unwrap_or_default());
        out.extend_from_slice(b"\r\n");
        if text.starts_with(b"INVITE ") {
            out.extend_from_slice(&self.record_route);
        }
        for line in lines {
            match line {
                b"Max-Forwards: 70\r\n" => out.extend_from_slice(b"Max-Forwards: 69\r\n"),
                [b'R', b'o', b'u', b't', b'e', b':', ..] => {}
                line => out.extend_from_slice(line),
            }
        }
    }

    /// The topmost Via less.
    fn up(&self, text: &[u8], out: &mut Vec<u8>) {
        let via = memmem::find(text, b"Via: ").unwrap_or(text.len());
        let rest = memmem::find(&text[via..], b"\r\n").map_or(text.len(), |at| via + at + 2);
        out.extend_from_slice(&text[..via]);
        out.extend_from_slice(&text[rest..]);
    }

    fn refuses(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let (Some(Fault::Refuse(head)), true) = (self.fault, text.starts_with(b"INVITE ")) else {
            return false;
        };
        out.extend_from_slice(head.as_bytes());
        for line in text.split_inclusive(|b| *b == b'\n').skip(1) {
            let is_copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                .iter()
                .any(|name| line.starts_with(name.as_bytes()));
            if is_copied {
                out.extend_from_slice(line);
            }
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        true
    }

    fn send(&mut self, out: &mut Vec<u8>, to: SocketAddr) {
        let begins = |words: &str| out.starts_with(words.as_bytes());
        match self.fault {
            Some(Fault::Swallow(words)) if begins(words) => return,
            Some(Fault::Hold(words)) if begins(words) && self.held.is_none() => {
                self.held = Some((out.clone(), to));
                return;
            }
            Some(Fault::Replace {
                begins: words,
                from,
                to,
            }) if begins(words) => {
                if let Some(at) = memmem::find(out, from.as_bytes()) {
                    out.splice(at..at + from.len(), to.bytes());
                }
            }
            Some(_) | None => {}
        }
        // What the kernel does not take is lost.
        let _ = self.socket.send_to(out, to);
        if self
            .held
            .as_ref()
            .is_some_and(|(_, held_to)| *held_to == to)
            && let Some((held, to)) = self.held.take()
        {
            let _ = self.socket.send_to(&held, to);
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        ConnectionRefused | Interrupted | TimedOut | WouldBlock
    )
}
