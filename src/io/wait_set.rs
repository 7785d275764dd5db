//! What one core waits for: two epoll sets, one inside of the other.
//!
//! ```text
//!   all ─┬─ datagram sockets
//!        └─ urgent ─┬─ the bell of the mesh
//!                   ├─ listeners
//!                   └─ streams
//! ```
//!
//! A core to which little comes waits for all of it. One that goes in rounds ([`super::pace`])
//! waits for the end of the round and for what is urgent, with one system call, and then reads the
//! datagram sockets without asking whether there is something: there is, or it would not go in
//! rounds.

use std::io;
use std::rc::Rc;

use super::sys::{self, Interest, Poll, Ready};
use crate::time::Duration;

/// Marks what is not a stream in what the sets report; stream keys do not reach this bit.
pub(crate) const OTHER: u64 = 1 << 63;

/// The set of what is urgent, in that of all.
const URGENT: u64 = OTHER | (u32::MAX as u64 - 1);

/// The two sets.
#[derive(Debug)]
pub(crate) struct WaitSet {
    all: Rc<Poll>,
    urgent: Rc<Poll>,
}

impl WaitSet {
    pub(crate) fn new() -> io::Result<Self> {
        let (all, urgent) = (Rc::new(Poll::new()?), Rc::new(Poll::new()?));
        all.add(&*urgent, URGENT, Interest::READ)?;
        Ok(WaitSet { all, urgent })
    }

    /// The set that datagram sockets belong in.
    pub(crate) fn all(&self) -> Rc<Poll> {
        self.all.clone()
    }

    /// The set for whatever ends a round early.
    pub(crate) fn urgent(&self) -> Rc<Poll> {
        self.urgent.clone()
    }

    /// Waits until something is ready or the time is over; `None` waits for ever.
    pub(crate) fn wait(&self, timeout_ms: Option<u32>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.all.wait(timeout_ms, ready)?;
        if let Some(place) = ready.iter().position(|r| r.tag == URGENT) {
            ready.swap_remove(place);
            self.urgent.add_ready(ready)?;
        }
        Ok(())
    }

    /// Waits for the end of a round, or for something urgent; what has come to the datagram sockets
    /// is not reported.
    pub(crate) fn wait_round(&self, length: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.urgent.wait_exactly(length, ready) {
            // A kernel before Linux 5.11.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                sys::sleep(length);
                self.urgent.wait(Some(0), ready)
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::sys::EventFd;
    use super::*;

    #[test]
    fn rounds_end_early_for_what_is_urgent_and_for_nothing_else() {
        let set = WaitSet::new().unwrap();
        let (bell, mut ready) = (EventFd::new().unwrap(), vec![]);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        set.urgent().add(&bell, 1, Interest::READ).unwrap();
        set.all().add(&socket, 2, Interest::READ).unwrap();
        let tags = |ready: &[Ready]| {
            let mut tags: Vec<u64> = ready.iter().map(|r| r.tag).collect();
            tags.sort_unstable();
            tags
        };
        let forever = Duration::from_secs(3_600);
        let short = Duration::from_micros(100);

        set.wait(Some(0), &mut ready).unwrap();
        assert_eq!(tags(&ready), [0; 0]);
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        set.wait(None, &mut ready).unwrap();
        assert_eq!(tags(&ready), [2]);
        set.wait_round(short, &mut ready).unwrap();
        assert_eq!(tags(&ready), [0; 0], "a datagram waits for its round");
        bell.ring();
        set.wait_round(forever, &mut ready).unwrap();
        assert_eq!(tags(&ready), [1]);
        set.wait(None, &mut ready).unwrap();
        assert_eq!(tags(&ready), [1, 2]);
        bell.clear();
        set.wait(None, &mut ready).unwrap();
        assert_eq!(tags(&ready), [2]);
    }
}
