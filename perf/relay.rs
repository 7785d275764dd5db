//! The least a proxy can do, in threads of this program: a 100 for each INVITE, one Via more and
//! one Record-Route on the way down, one Via less on the way up; no transaction, no dialog, and
//! nothing read that it need not know.
//!
//! It is the floor under every proxy's cost, for it waits as a core of dialcore is told to: one
//! thread for each CPU on that core's own sockets, to which the kernel brings the messages of a
//! call by its Call-ID; epoll_wait, recvmmsg until nothing is left, one sendmmsg. (Where the kernel
//! does not steer it is one thread.) That its threads are of the load generator's own process is
//! in its favour: to change between threads of one process costs a little less. It is also the
//! other end of `perf load` alone, and, with a fault planted, the proof that the load generator
//! sees what it must.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use dialcore::effect::{Address, Proto};
use dialcore::io::{Plan, Sockets, Steering};
use memchr::{memchr, memmem};

use crate::kernel::{self, Cpus, Epoll, Inbox, Outbox};
use crate::used::Used;

/// How often a thread looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    threads: Vec<JoinHandle<io::Result<()>>>,
    /// Their folders in `/proc`.
    folders: Vec<PathBuf>,
}

impl Relay {
    /// Starts one on a port of the system's, with so many threads at most.
    pub(crate) fn start(
        callee: SocketAddr,
        cores: usize,
        fault: Option<Fault>,
    ) -> io::Result<Relay> {
        let sockets = match open(cores)? {
            sockets if matches!(sockets.steering(), Steering::HandOver(_)) => open(1)?,
            sockets => sockets,
        };
        let address = sockets.addresses()[0].local;
        let (SocketAddr::V4(own), SocketAddr::V4(callee)) = (address, callee) else {
            return Err(io::Error::other("an address of IPv4 is needed"));
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (begun, ids) = channel();
        let start = |(cpu, socket)| {
            let work = Work::new(socket, own, callee, fault);
            let (told, begun) = (Arc::clone(&stop), begun.clone());
            std::thread::spawn(move || work.run(cpu, &begun, &told))
        };
        let threads: Vec<_> = sockets.into_datagrams().into_iter().map(start).collect();
        let ids = ids.into_iter().take(threads.len());
        let folders = ids.map(|id| PathBuf::from(format!("/proc/self/task/{id}")));
        Ok(Relay {
            address,
            stop,
            folders: folders.collect(),
            threads,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many threads it has.
    pub(crate) fn core_count(&self) -> usize {
        self.threads.len()
    }

    /// What it has used.
    pub(crate) fn used(&self) -> Used {
        Used::of(self.folders.iter().cloned())
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(ended) => ended?,
                Err(_) => return Err(io::Error::other("the relay has panicked")),
            }
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The sockets that dialcore would have, on some of the CPUs of this thread.
fn open(cores: usize) -> io::Result<Sockets> {
    let mut plan = Plan::new(vec![Address {
        proto: Proto::Udp,
        local: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        advertised: None,
        name: None,
    }]);
    plan.cores = Cpus::of_this_thread()?.list();
    plan.cores.truncate(cores.max(1));
    Sockets::bind(&plan).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        io::Error::other(texts.join("; "))
    })
}

struct Work {
    socket: UdpSocket,
    callee: SocketAddrV4,
    /// Whoever has sent a request last.
    caller: SocketAddrV4,
    via: Vec<u8>,
    record_route: Vec<u8>,
    fault: Option<Fault>,
    held: Option<(Vec<u8>, SocketAddrV4)>,
    outbox: Outbox,
}

impl Work {
    fn new(
        socket: UdpSocket,
        own: SocketAddrV4,
        callee: SocketAddrV4,
        fault: Option<Fault>,
    ) -> Work {
        Work {
            socket,
            callee,
            caller: callee,
            via: format!("Via: SIP/2.0/UDP {own};branch=z9hG4bKr").into_bytes(),
            record_route: format!("Record-Route: <sip:{own};lr;did=1.2>\r\n").into_bytes(),
            fault,
            held: None,
            outbox: Outbox::default(),
        }
    }

    fn run(mut self, cpu: usize, begun: &Sender<u32>, stop: &AtomicBool) -> io::Result<()> {
        let kept = Cpus::of(&[cpu]).keep();
        // Whoever starts it waits for this.
        let _ = begun.send(kernel::thread_id());
        kept?;
        let epoll = Epoll::of(&self.socket)?;
        let (mut inbox, mut out) = (Inbox::new(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            if !epoll.wait(LOOK_EVERY)? {
                continue;
            }
            loop {
                let room = inbox.room();
                let count = inbox.fill(&self.socket)?;
                for index in 0..count {
                    self.relay(inbox.get(index), inbox.sender(index), &mut out);
                }
                // What the kernel does not take is lost.
                self.outbox.flush(&self.socket)?;
                if count < room {
                    break;
                }
            }
        }
        Ok(())
    }

    fn relay(&mut self, text: &[u8], from: SocketAddrV4, out: &mut Vec<u8>) {
        out.clear();
        if text.starts_with(b"SIP/2.0 ") {
            up(text, out);
            return self.send(out, self.caller);
        }
        self.caller = from;
        if text.starts_with(b"INVITE ") {
            match self.fault {
                Some(Fault::Refuse(head)) => {
                    answer(head, text, out);
                    return self.send(out, from);
                }
                // A message that is held waits for the next one, which is then the right one.
                Some(_) => {}
                None => {
                    answer("SIP/2.0 100 Trying\r\n", text, out);
                    self.send(out, from);
                    out.clear();
                }
            }
        }
        self.down(text, out);
        self.send(out, self.callee);
    }

    /// One Via and a Record-Route more, a Route less, and a hop less to go.
    fn down(&self, text: &[u8], out: &mut Vec<u8>) {
        let (first, mut rest) = text.split_at(memchr(b'\n', text).map_or(0, |at| at + 1));
        out.extend_from_slice(first);
        let branch = memmem::find(text, b";branch=z9hG4bK").map_or(0, |at| at + 15);
        let branch = text[branch..].split(|b| *b == b'\r' || *b == b';').next();
        out.extend_from_slice(&self.via);
        out.extend_from_slice(branch.unwrap_or_default());
        out.extend_from_slice(b"\r\n");
        if text.starts_with(b"INVITE ") {
            out.extend_from_slice(&self.record_route);
        }
        // The load generator writes them in this order.
        if let Some(at) = memmem::find(rest, b"\r\nRoute: ") {
            out.extend_from_slice(&rest[..at + 2]);
            rest = &rest[at + 2..];
            rest = &rest[memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)..];
        }
        if let Some(at) = memmem::find(rest, b"Max-Forwards: 70\r\n") {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(b"Max-Forwards: 69\r\n");
            rest = &rest[at + 18..];
        }
        out.extend_from_slice(rest);
    }

    fn send(&mut self, out: &mut Vec<u8>, to: SocketAddrV4) {
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
        self.outbox.push_to(to, |data| data.extend_from_slice(out));
        if self
            .held
            .as_ref()
            .is_some_and(|(_, held_to)| *held_to == to)
            && let Some((held, to)) = self.held.take()
        {
            self.outbox
                .push_to(to, |data| data.extend_from_slice(&held));
        }
    }
}

/// The topmost Via less.
fn up(text: &[u8], out: &mut Vec<u8>) {
    let via = memmem::find(text, b"Via: ").unwrap_or(text.len());
    let rest = memchr(b'\n', &text[via..]).map_or(text.len(), |at| via + at + 1);
    out.extend_from_slice(&text[..via]);
    out.extend_from_slice(&text[rest..]);
}

/// An answer of this proxy's own: what it begins with, and what it copies.
fn answer(head: &str, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(head.as_bytes());
    let mut rest = text;
    while let Some(at) = memchr(b'\n', rest).filter(|at| *at > 1) {
        let (line, others) = rest.split_at(at + 1);
        rest = others;
        if is_copied(line) {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

fn is_copied(line: &[u8]) -> bool {
    let copied: [&[u8]; 5] = [b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"];
    copied.iter().any(|name| line.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{self, Plan as Load};

    #[test]
    fn every_core_relays_and_what_it_used_is_known() {
        let sockets = load::Sockets::open().expect("two ports");
        let callee = sockets.callee().expect("an address");
        let relay = Relay::start(callee, 2, None).expect("a relay");
        let before = relay.used();
        let plan = Load::of(2_000.0, 400);
        let mut run = load::Run::new(plan, relay.address(), sockets, "floor").expect("a run");
        let counts = run.run(|_| {}).expect("sockets that work").counts;
        assert_eq!(
            (counts.complete, counts.wrong.all()),
            (400, 0),
            "{counts:?}"
        );
        assert_eq!(counts.reordered.all(), 0, "{counts:?}");
        let each: Vec<Used> = relay
            .folders
            .iter()
            .map(|f| Used::of([f.clone()].into_iter()))
            .collect();
        let used = relay.used().since(&before);
        assert!(used.cpu_s > 0.0 && used.sleeps > 0, "{used:?}");
        // What relays some of 400 calls works for longer than what only looks whether to stop.
        let idle = each.iter().filter(|used| used.cpu_s < 0.001).count();
        assert_eq!(idle, 0, "{each:?}");
        relay.stop().expect("threads that end");
    }
}
