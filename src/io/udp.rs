//! The datagram sockets of one core (RFC 3261 §18.1, §18.2).
//!
//! Reading and writing go by the batch: one system call brings up to 64 datagrams, and what they
//! caused leaves with one call for each socket. Datagrams leave a socket in the order in which
//! they were queued. When the kernel takes no more they wait, up to
//! `limits::DATAGRAM_QUEUE_MAX`; a datagram that it refuses is reported and the next one goes on.

use std::io;
use std::net::UdpSocket;
use std::rc::Rc;

use super::counters::Counters;
use super::sys::{self, Datagram, Interest, Poll, ReceiveBatch};
use crate::effect::{Flow, Proto, Send, SendError, SocketId, Token};
use crate::limits::DATAGRAM_QUEUE_MAX;
use crate::time::WallTime;

/// To read so many sockets in vain costs less than to ask which one has something.
const FEW: usize = 4;

/// One socket and what waits to leave by it.
#[derive(Debug)]
struct Outlet {
    socket: UdpSocket,
    tag: u64,
    queue: Vec<Datagram>,
    /// The kernel takes no more; it will say when it does again.
    is_blocked: bool,
    /// The kernel brings only what belongs to this core.
    is_steered: bool,
    /// What the kernel had dropped when it was last asked.
    drops_seen: u32,
}

/// The datagram sockets of one core, by `SocketId`.
#[derive(Debug)]
pub(crate) struct Datagrams {
    outlets: Vec<Option<Outlet>>,
    poll: Rc<Poll>,
    pub(crate) counters: Counters,
}

impl Datagrams {
    pub(crate) fn new(poll: Rc<Poll>) -> Self {
        Datagrams {
            outlets: Vec::new(),
            poll,
            counters: Counters::default(),
        }
    }

    /// Takes a socket in; `tag` is what the poll reports it by.
    pub(crate) fn adopt(&mut self, id: SocketId, socket: UdpSocket, tag: u64) -> io::Result<()> {
        self.poll.add(&socket, tag, Interest::READ)?;
        let index = usize::from(id.0);
        if self.outlets.len() <= index {
            self.outlets.resize_with(index + 1, || None);
        }
        self.outlets[index] = Some(Outlet {
            socket,
            tag,
            queue: Vec::with_capacity(sys::BATCH_SIZE),
            is_blocked: false,
            is_steered: false,
            drops_seen: 0,
        });
        Ok(())
    }

    /// From now on the kernel chooses what this socket gets by the Call-ID.
    pub(crate) fn set_steered(&mut self, id: SocketId) {
        if let Some(Some(outlet)) = self.outlets.get_mut(usize::from(id.0)) {
            outlet.is_steered = true;
        }
    }

    /// Whether the kernel chooses what this socket gets by the Call-ID.
    pub(crate) fn is_steered(&self, id: SocketId) -> bool {
        let outlet = self.outlets.get(usize::from(id.0));
        outlet.is_some_and(|o| o.as_ref().is_some_and(|o| o.is_steered))
    }

    /// Reads one batch from a socket, to be looked at by [`datagram`]: how many there are, and
    /// whether there may be more. Whatever is left over keeps the socket ready.
    pub(crate) fn receive(
        &mut self,
        id: SocketId,
        batch: &mut ReceiveBatch,
        now: WallTime,
    ) -> (usize, bool) {
        let Some(Some(outlet)) = self.outlets.get_mut(usize::from(id.0)) else {
            return (0, false);
        };
        let room = batch.room();
        // An error of a datagram socket is about something sent before, or passes by itself.
        let Ok(count) = batch.fill(&outlet.socket) else {
            return (0, false);
        };
        self.counters.udp_received += count as u64;
        if let Some(drops) = batch.take_drops() {
            let new = drops.wrapping_sub(outlet.drops_seen);
            outlet.drops_seen = drops;
            self.counters.udp_receive_drops += u64::from(new);
        }
        if let Some(arrived) = batch.arrived() {
            let micros = now.as_micros().saturating_sub(arrived.as_micros());
            let longest = &mut self.counters.queue_delay_us_max;
            *longest = (*longest).max(micros);
        }
        (count, count == room)
    }

    /// Queues a message for the next [`Datagrams::flush`].
    pub(crate) fn send(&mut self, send: Send) -> Result<(), (Option<Token>, SendError)> {
        let Some(Some(outlet)) = self.outlets.get_mut(usize::from(send.to.socket.0)) else {
            self.counters.udp_send_errors += 1;
            return Err((send.token, SendError::Refused));
        };
        if outlet.queue.len() >= DATAGRAM_QUEUE_MAX {
            self.counters.udp_send_drops += 1;
            return Err((send.token, SendError::QueueFull));
        }
        outlet.queue.push(Datagram {
            bytes: send.bytes,
            remote: send.to.remote.into(),
            token: send.token,
        });
        Ok(())
    }

    /// The kernel takes datagrams from this socket again.
    pub(crate) fn unblock(&mut self, id: SocketId) {
        if let Some(Some(outlet)) = self.outlets.get_mut(usize::from(id.0))
            && outlet.is_blocked
        {
            outlet.is_blocked = false;
            // It was in the set before, so it can be changed there.
            let _ = self.poll.change(&outlet.socket, outlet.tag, Interest::READ);
        }
    }

    /// Whether all sockets can be read without asking first which of them has something: there are
    /// few, and none waits until the kernel takes datagrams again.
    pub(crate) fn are_few_and_open(&self) -> bool {
        let outlets = || self.outlets.iter().flatten();
        outlets().count() <= FEW && outlets().all(|outlet| !outlet.is_blocked)
    }

    /// What the poll reports the sockets by.
    pub(crate) fn tags(&self) -> impl Iterator<Item = u64> {
        self.outlets.iter().flatten().map(|outlet| outlet.tag)
    }

    /// Gives all that waits to the kernel; what it refuses is told to `failed`.
    pub(crate) fn flush(&mut self, mut failed: impl FnMut(Token, SendError)) {
        for outlet in self.outlets.iter_mut().flatten() {
            if !outlet.queue.is_empty() && !outlet.is_blocked {
                outlet.flush(&self.poll, &mut self.counters, &mut failed);
            }
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.outlets
            .iter()
            .flatten()
            .all(|outlet| outlet.queue.is_empty())
    }
}

/// One datagram of a batch, and what it came in on.
pub(crate) fn datagram(batch: &ReceiveBatch, socket: SocketId, index: usize) -> (Flow, &[u8]) {
    let (bytes, remote) = batch.get(index);
    let flow = Flow {
        socket,
        proto: Proto::Udp,
        remote,
        conn: None,
    };
    (flow, bytes)
}

impl Outlet {
    fn flush(
        &mut self,
        poll: &Poll,
        counters: &mut Counters,
        failed: &mut impl FnMut(Token, SendError),
    ) {
        let mut done = 0;
        while done < self.queue.len() {
            match sys::send_batch(&self.socket, &self.queue[done..]) {
                Ok(sent) => {
                    counters.udp_sent += sent as u64;
                    done += sent;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let both = Interest {
                        read: true,
                        write: true,
                    };
                    self.is_blocked = poll.change(&self.socket, self.tag, both).is_ok();
                    break;
                }
                Err(_) => {
                    counters.udp_send_errors += 1;
                    if let Some(token) = self.queue[done].token {
                        failed(token, SendError::Refused);
                    }
                    done += 1;
                }
            }
        }
        self.queue.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Destination;

    fn send(socket: u16, remote: std::net::SocketAddr, bytes: &[u8]) -> Send {
        Send {
            to: Destination::to(SocketId(socket), Proto::Udp, remote),
            bytes: bytes.into(),
            token: None,
        }
    }

    #[test]
    fn what_the_kernel_refuses_does_not_hold_up_the_rest() {
        let poll = Rc::new(Poll::new().unwrap());
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = target.local_addr().unwrap();
        let mut datagrams = Datagrams::new(poll.clone());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams.adopt(SocketId(1), socket, 5).unwrap();

        assert!(datagrams.send(send(0, to, b"no such socket")).is_err());
        assert!(datagrams.send(send(1, to, b"first")).is_ok());
        // An IPv6 address from an IPv4 socket, and more than a datagram holds.
        assert!(
            datagrams
                .send(send(1, "[::1]:9".parse().unwrap(), b"x"))
                .is_ok()
        );
        assert!(datagrams.send(send(1, to, &vec![0; 66_000])).is_ok());
        assert!(datagrams.send(send(1, to, b"last")).is_ok());
        datagrams.flush(|_, _| {});
        assert!(datagrams.is_empty());
        let counters = &datagrams.counters;
        assert_eq!((counters.udp_sent, counters.udp_send_errors), (2, 3));

        let (mut seen, mut ready) = (vec![], vec![]);
        let (mut receiver, mut batch) = (Datagrams::new(poll.clone()), ReceiveBatch::new());
        receiver.adopt(SocketId(0), target, 6).unwrap();
        while seen.len() < 2 {
            poll.wait(Some(5_000), &mut ready).unwrap();
            assert!(!ready.is_empty(), "nothing came");
            let (count, _) = receiver.receive(SocketId(0), &mut batch, WallTime::default());
            seen.extend((0..count).map(|i| datagram(&batch, SocketId(0), i).1.to_vec()));
        }
        assert_eq!(seen, [b"first".to_vec(), b"last".to_vec()]);
    }

    #[test]
    fn what_waits_has_a_bound() {
        let mut datagrams = Datagrams::new(Rc::new(Poll::new().unwrap()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        datagrams.adopt(SocketId(0), socket, 0).unwrap();
        for _ in 0..DATAGRAM_QUEUE_MAX {
            assert!(datagrams.send(send(0, to, b"x")).is_ok());
        }
        let refused = datagrams.send(send(0, to, b"x"));
        assert_eq!(refused, Err((None, SendError::QueueFull)));
        assert_eq!(datagrams.counters.udp_send_drops, 1);
    }
}
