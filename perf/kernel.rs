//! What the load generator asks of the kernel and the standard library does not offer: batches of
//! datagrams, waiting to the microsecond, large buffers, the clock of one thread.
//!
//! All `unsafe` of this program stands here, each block behind a safe function and with the reason
//! why its pointers are good. Costs: one system call for up to [`BATCH_SIZE`] datagrams, and a few
//! kilobytes of stores to build its headers; no allocation after the start.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Datagrams of one system call.
pub(crate) const BATCH_SIZE: usize = 64;
/// Room for one datagram; what is longer is cut, and found by its Content-Length. Not a power of
/// two, so that buffers do not share the sets of a cache.
const STRIDE: usize = 4_096 + 64;

/// Datagrams that have come.
pub(crate) struct Inbox {
    data: Vec<u8>,
    sizes: [usize; BATCH_SIZE],
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox {
            data: vec![0; STRIDE * BATCH_SIZE],
            sizes: [0; BATCH_SIZE],
        }
    }

    /// Reads what has come to a socket, without waiting: how many datagrams.
    pub(crate) fn fill(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut vectors: [libc::iovec; BATCH_SIZE] = std::array::from_fn(|i| libc::iovec {
            iov_base: self.data[i * STRIDE..].as_mut_ptr().cast(),
            iov_len: STRIDE,
        });
        let mut headers: [libc::mmsghdr; BATCH_SIZE] = std::array::from_fn(|i| {
            let mut header = empty_header();
            header.msg_hdr.msg_iov = &mut vectors[i];
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: each header points to a vector of this frame, and that to `STRIDE` bytes of
        // `data` of its own; all outlive the call, and the kernel keeps no pointer.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_SIZE as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = match check(count) {
            Ok(count) => count as usize,
            Err(error) if is_passing(&error) => 0,
            Err(error) => return Err(error),
        };
        for (size, header) in self.sizes.iter_mut().zip(&headers[..count]) {
            *size = header.msg_len as usize;
        }
        Ok(count)
    }

    /// One of the datagrams.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.data[index * STRIDE..][..self.sizes[index]]
    }
}

/// Nothing there, or the kernel's word about a datagram that found nobody.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionRefused | Interrupted | WouldBlock)
}

/// Datagrams that wait to leave.
#[derive(Default)]
pub(crate) struct Outbox {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl Outbox {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds what `write` appends, and gives it back.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.data.len();
        write(&mut self.data);
        self.ends.push(self.data.len());
        &self.data[start..]
    }

    /// Gives all to the kernel, in order, over a connected socket. How many it did not take: they
    /// are lost, as on any network.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        let (mut first, mut lost) = (0, 0);
        while first < self.ends.len() {
            match self.send(socket, first) {
                Ok(count) => first += count,
                Err(error) if is_passing(&error) => (first, lost) = (first + 1, lost + 1),
                Err(error) => return Err(error),
            }
        }
        self.data.clear();
        self.ends.clear();
        Ok(lost)
    }

    fn send(&self, socket: &UdpSocket, first: usize) -> io::Result<usize> {
        let count = (self.ends.len() - first).min(BATCH_SIZE);
        let mut vectors = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; BATCH_SIZE];
        let mut headers = [empty_header(); BATCH_SIZE];
        let mut start = first.checked_sub(1).map_or(0, |last| self.ends[last]);
        for (i, end) in self.ends[first..first + count].iter().enumerate() {
            vectors[i].iov_base = self.data[start..].as_ptr().cast_mut().cast();
            vectors[i].iov_len = end - start;
            headers[i].msg_hdr.msg_iov = &mut vectors[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            start = *end;
        }
        // SAFETY: the first `count` headers point to vectors of this frame, and these to bytes of
        // `data`, which nobody changes during the call and which the kernel only reads.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count as u32,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        check(sent).map(|sent| sent as usize)
    }
}

/// Waits until one of two sockets has something to read, or the time is over: which have.
pub(crate) fn wait(sockets: [&UdpSocket; 2], timeout: Duration) -> io::Result<[bool; 2]> {
    let mut polled = sockets.map(|socket| libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: two entries and one time of this frame; no signal mask is given.
    let count = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &timeout, std::ptr::null()) };
    match check(count) {
        Err(error) if !is_passing(&error) => Err(error),
        Ok(_) | Err(_) => Ok(polled.map(|polled| polled.revents != 0)),
    }
}

/// Lets [`wait`] of this thread end when its time is over and not up to 50 us later, as the kernel
/// would like, to wake for several things at once.
pub(crate) fn wake_in_time() {
    // SAFETY: numbers only. It cannot fail in a way that matters.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Lets a socket keep so many bytes for us while we are busy, beyond the system's bound if we may.
pub(crate) fn enlarge(socket: &UdpSocket, size: usize) -> io::Result<()> {
    let set = |option: libc::c_int| {
        let size = size as libc::c_int;
        // SAFETY: the kernel reads one integer from a pointer to one.
        check(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                mem::size_of::<libc::c_int>() as u32,
            )
        })
    };
    set(libc::SO_RCVBUFFORCE).or_else(|_| set(libc::SO_RCVBUF))?;
    set(libc::SO_SNDBUFFORCE).or_else(|_| set(libc::SO_SNDBUF))?;
    Ok(())
}

/// What this thread has used of a CPU.
pub(crate) fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes to the place it is given, which lives until it returns.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        result if result < 0 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a header of zeros and null pointers is a valid empty one.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_bytes_and_order() {
        let open = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (source, target) = (open(), open());
        enlarge(&target, 1 << 20).unwrap();
        source.connect(target.local_addr().unwrap()).unwrap();
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::new());
        for n in 0..100u8 {
            outbox.push(|out| out.extend(vec![n; 1 + usize::from(n)]));
        }
        assert_eq!(outbox.flush(&source).unwrap(), 0);
        let mut next = 0u8;
        while next < 100 {
            let ready = wait([&target, &source], Duration::from_secs(5)).unwrap();
            assert_eq!(ready, [true, false]);
            for i in 0..inbox.fill(&target).unwrap() {
                assert_eq!(inbox.get(i), vec![next; 1 + usize::from(next)]);
                next += 1;
            }
        }
        assert_eq!(inbox.fill(&target).unwrap(), 0);
    }

    #[test]
    fn nobody_there_is_a_loss_and_no_error() {
        let open = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (source, target) = (open(), open());
        source.connect(target.local_addr().unwrap()).unwrap();
        drop(target);
        let mut outbox = Outbox::default();
        let mut lost = 0;
        for _ in 0..50 {
            outbox.push(|out| out.push(b'x'));
            lost += outbox.flush(&source).unwrap();
        }
        assert!(lost > 0);
    }
}
