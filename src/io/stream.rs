//! One stream: what waits to be written, and what has come in of a message.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;

use super::plan::TcpOptions;
use super::sys::Interest;
use crate::effect::{Flow, SendError, Token};
use crate::limits::STREAM_QUEUE_SIZE_MAX;
use crate::sip::Framer;
use crate::steer::ShardId;
use crate::time::Instant;

/// Messages that one system call writes.
const SLICE_COUNT: usize = 64;

/// Whom to tell that a message did not leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    pub(crate) core: ShardId,
    pub(crate) token: Token,
}

/// What waits to be written, in order, never more than `limits::STREAM_QUEUE_SIZE_MAX` bytes.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    messages: VecDeque<(Rc<[u8]>, Option<Asker>)>,
    /// Bytes of the first message that have left.
    written: usize,
    /// Bytes that have not.
    size: usize,
}

impl SendQueue {
    /// Puts a message at the end.
    pub(crate) fn push(&mut self, bytes: Rc<[u8]>, asker: Option<Asker>) -> Result<(), SendError> {
        if self.size + bytes.len() > STREAM_QUEUE_SIZE_MAX {
            return Err(SendError::QueueFull);
        }
        self.size += bytes.len();
        self.messages.push_back((bytes, asker));
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The bytes to write next, in at most [`SLICE_COUNT`] pieces.
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = self.messages.iter().take(SLICE_COUNT).enumerate();
        pieces.map(|(i, (bytes, _))| &bytes[if i == 0 { self.written } else { 0 }..])
    }

    /// Marks bytes as written and says how many messages have left with them.
    fn advance(&mut self, mut count: usize) -> u64 {
        let mut left = 0;
        self.size -= count;
        while let Some((bytes, _)) = self.messages.front() {
            let rest = bytes.len() - self.written;
            if count < rest {
                break;
            }
            count -= rest;
            self.written = 0;
            self.messages.pop_front();
            left += 1;
        }
        self.written += count;
        left
    }

    /// Takes out what waits, as one piece: somebody else writes it.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let left: Vec<u8> = self
            .messages
            .iter()
            .flat_map(|(m, _)| m.iter().copied())
            .collect();
        let unwritten = left[self.written..].to_vec();
        *self = SendQueue::default();
        unwritten
    }

    /// Whom to tell when nothing of this will leave any more.
    pub(crate) fn into_askers(self) -> impl Iterator<Item = Asker> {
        self.messages.into_iter().filter_map(|(_, asker)| asker)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    pub(crate) flow: Flow,
    pub(crate) framer: Framer,
    pub(crate) queue: SendQueue,
    /// Not open yet: it becomes writable when it is, or when it has failed.
    pub(crate) is_connecting: bool,
    /// To be closed as soon as nothing waits to be written.
    pub(crate) is_closing: bool,
    /// Lent to the control side, which holds the other end of this and writes an answer; until it
    /// comes back, nothing is read or written here.
    pub(crate) lent: Option<Arc<()>>,
    /// Something whole of what was read has not been brought yet; nothing more is read meanwhile.
    pub(crate) is_behind: bool,
    /// At how many further addresses it is known.
    pub(crate) alias_count: u8,
    /// What the poll waits for.
    pub(crate) interest: Interest,
    /// When a byte last went either way; at first, when it was made.
    pub(crate) last_traffic: Instant,
    /// When the deadline set will look at it.
    pub(crate) armed: Instant,
}

/// Why a deadline closes a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overdue {
    /// It did not open in time.
    Connect,
    /// The peer does not read.
    Send,
    /// Nobody says anything.
    Idle,
    /// It is lent, for long.
    Lost,
}

impl Stream {
    /// When it will have lasted too long as it is, and what that means.
    pub(crate) fn deadline(&self, options: &TcpOptions) -> (Instant, Overdue) {
        let (length, overdue) = if self.is_connecting {
            (options.connect_timeout, Overdue::Connect)
        } else if self.lent.is_some() {
            // Whoever has it keeps the time; here only its loss is found out.
            (options.connection_lifetime, Overdue::Lost)
        } else if !self.queue.is_empty() {
            (options.send_timeout, Overdue::Send)
        } else {
            (options.connection_lifetime, Overdue::Idle)
        };
        (self.last_traffic + length, overdue)
    }

    /// What the poll is to wait for.
    pub(crate) fn wanted(&self) -> Interest {
        Interest {
            read: !self.is_connecting,
            write: self.is_connecting || !self.queue.is_empty(),
        }
    }

    /// Writes what the kernel takes and says how many messages left whole. A stream that blocks
    /// is no error.
    pub(crate) fn write(&mut self, now: Instant) -> io::Result<u64> {
        let mut left = 0;
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICE_COUNT];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(self.queue.slices()) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            match self.socket.write_vectored(&slices[..count]) {
                Ok(written) => {
                    left += self.queue.advance(written);
                    self.last_traffic = now;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn what_is_written_is_what_was_queued() {
        let mut rng = Rng::new(11);
        let (mut queue, mut out, mut want) = (SendQueue::default(), vec![], vec![]);
        let (mut queued, mut left) = (0u64, 0u64);
        queue.push(b"abc".as_slice().into(), None).unwrap();
        queue.push(b"def".as_slice().into(), None).unwrap();
        queue.advance(2);
        assert_eq!(
            (queue.take(), queue.is_empty(), queue.size),
            (b"cdef".to_vec(), true, 0)
        );
        for _ in 0..5_000 {
            if rng.chance(1, 2) {
                let bytes: Vec<u8> = (0..rng.below(30)).map(|n| n as u8).collect();
                want.extend_from_slice(&bytes);
                queue.push(bytes.into(), None).unwrap();
                queued += 1;
            } else {
                // The kernel takes any number of bytes, from any number of pieces.
                let all: Vec<u8> = queue.slices().flatten().copied().collect();
                let taken = rng.below(all.len() as u32 + 1) as usize;
                out.extend_from_slice(&all[..taken]);
                left += queue.advance(taken);
            }
            assert_eq!(queue.size, want.len() - out.len());
        }
        while !queue.is_empty() {
            let all: Vec<u8> = queue.slices().flatten().copied().collect();
            left += queue.advance(all.len());
            out.extend(all);
        }
        assert_eq!(out, want);
        assert_eq!((left, queue.size, queue.written), (queued, 0, 0));
    }

    #[test]
    fn what_waits_has_a_bound() {
        let mut queue = SendQueue::default();
        let half: Rc<[u8]> = vec![0; STREAM_QUEUE_SIZE_MAX / 2].into();
        assert_eq!(queue.push(half.clone(), None), Ok(()));
        assert_eq!(queue.push(half.clone(), None), Ok(()));
        assert_eq!(
            queue.push([1].as_slice().into(), None),
            Err(SendError::QueueFull)
        );
        queue.advance(1);
        assert_eq!(queue.push([1].as_slice().into(), None), Ok(()));
    }
}
