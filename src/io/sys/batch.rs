//! Datagrams by the batch: recvmmsg, sendmmsg, and what the kernel says of the queue between.
//!
//! Costs: one system call for up to [`BATCH_SIZE`]; the headers are built on every call (200 bytes
//! of stores for each datagram there is room for), so that no pointer outlives it.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use socket2::{SockAddr, SockAddrStorage};

use super::check;
use crate::effect::Token;
use crate::limits::MESSAGE_SIZE_MAX;
use crate::time::WallTime;

/// Datagrams that one system call reads or writes.
pub(crate) const BATCH_SIZE: usize = 64;

/// Distance between the buffers of a batch. Above the largest datagram by an odd number of cache
/// lines: at a power of two all buffers would begin in the same few sets of every cache.
const BUFFER_STRIDE: usize = MESSAGE_SIZE_MAX + 1 + 17 * 64;

/// Room for two control messages, one of 32 bits and one with a time, aligned as the kernel wants
/// them.
type Control = [u64; 8];

/// Buffers into which one system call reads up to [`BATCH_SIZE`] datagrams.
pub(crate) struct ReceiveBatch {
    data: Vec<u8>,
    received: Vec<(u32, SocketAddr)>,
    /// What the kernel says it has dropped on the socket since that was opened.
    drops: Option<u32>,
    /// When the first datagram came in.
    arrived: Option<WallTime>,
    /// For how many there is room in the next batch: a core that gets them one by one need not
    /// prepare for more.
    room: usize,
}

/// The room for datagrams where few come.
const ROOM_MIN: usize = 8;

impl ReceiveBatch {
    pub(crate) fn new() -> Self {
        ReceiveBatch {
            data: vec![0; BUFFER_STRIDE * BATCH_SIZE],
            received: Vec::with_capacity(BATCH_SIZE),
            drops: None,
            arrived: None,
            room: ROOM_MIN,
        }
    }

    /// Reads what waits on the socket and says how many datagrams that was.
    pub(crate) fn fill(&mut self, fd: &impl AsRawFd) -> io::Result<usize> {
        self.received.clear();
        let mut names: [MaybeUninit<libc::sockaddr_storage>; BATCH_SIZE] =
            [MaybeUninit::uninit(); BATCH_SIZE];
        let mut control: MaybeUninit<Control> = MaybeUninit::uninit();
        let mut vectors: [MaybeUninit<libc::iovec>; BATCH_SIZE] =
            [MaybeUninit::uninit(); BATCH_SIZE];
        let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH_SIZE] =
            [MaybeUninit::uninit(); BATCH_SIZE];
        for i in 0..self.room {
            let vector = vectors[i].write(libc::iovec {
                iov_base: self.data[i * BUFFER_STRIDE..].as_mut_ptr().cast(),
                iov_len: MESSAGE_SIZE_MAX,
            });
            let header = &mut headers[i].write(empty_header()).msg_hdr;
            header.msg_name = names[i].as_mut_ptr().cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            // To say more beside a datagram takes the kernel time; of a batch, what it says of the
            // first is enough.
            if i == 0 {
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = mem::size_of::<Control>() as _;
            }
        }
        // SAFETY: each of the first `room` headers, which is no more than there are, points to its
        // own name, vector and `MESSAGE_SIZE_MAX` bytes of `data`, the first one to the control
        // space, all alive until the end of this function and touched by nothing else.
        let count = unsafe {
            check(libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                self.room as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            ))?
        };
        self.arrived = None;
        for (i, header) in headers[..count as usize].iter().enumerate() {
            // SAFETY: as many headers were written above, and the kernel has filled the names and
            // their lengths.
            let (header, remote) = unsafe {
                let header = header.assume_init_ref();
                (header, name_of(&header.msg_hdr))
            };
            if i == 0 {
                // SAFETY: this one has control space, which the kernel has filled.
                let told = unsafe { told_of(&header.msg_hdr) };
                self.drops = told.drops.or(self.drops);
                self.arrived = told.arrived;
            }
            // A name that is not of the internet cannot come out of an internet socket.
            let remote = remote.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
            self.received.push((header.msg_len, remote));
        }
        self.room = match count as usize {
            count if count == self.room => (2 * count).min(BATCH_SIZE),
            count => (self.room / 2).max(count).max(ROOM_MIN),
        };
        Ok(count as usize)
    }

    /// One datagram of the last [`ReceiveBatch::fill`]: its bytes and who sent it.
    pub(crate) fn get(&self, index: usize) -> (&[u8], SocketAddr) {
        let (size, remote) = self.received[index];
        let start = index * BUFFER_STRIDE;
        (&self.data[start..start + size as usize], remote)
    }

    /// How many datagrams the next [`ReceiveBatch::fill`] takes at most.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Gives the pages back to the system that full batches have touched; what was read before is
    /// gone.
    pub(crate) fn give_back(&mut self) {
        self.received.clear();
        // SAFETY: no pointer is passed.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).unwrap_or(self.data.len());
        let begin = self.data.as_ptr().align_offset(page);
        let size = self.data.len().saturating_sub(begin) / page * page;
        let Some(pages) = self.data.get_mut(begin..begin + size) else {
            return;
        };
        // SAFETY: the whole pages within `data`, which nobody else refers to; they read as zeros
        // afterwards, which any octet may be. Where it fails, they stay.
        unsafe { libc::madvise(pages.as_mut_ptr().cast(), size, libc::MADV_DONTNEED) };
    }

    /// When the first datagram of the last [`ReceiveBatch::fill`] came in, if the kernel said so.
    pub(crate) fn arrived(&self) -> Option<WallTime> {
        self.arrived
    }

    /// The kernel's count of what it dropped on the socket that was read last before the first
    /// datagram of the last batch came in, when it gave one.
    pub(crate) fn take_drops(&mut self) -> Option<u32> {
        self.drops.take()
    }
}

/// A datagram on its way out.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) bytes: Rc<[u8]>,
    pub(crate) remote: SockAddr,
    pub(crate) token: Option<Token>,
}

/// Gives up to [`BATCH_SIZE`] datagrams to the kernel, in order, and says how many it took. An
/// error is about the first one.
pub(crate) fn send_batch(fd: &impl AsRawFd, datagrams: &[Datagram]) -> io::Result<usize> {
    let count = datagrams.len().min(BATCH_SIZE);
    let mut vectors: [MaybeUninit<libc::iovec>; BATCH_SIZE] = [MaybeUninit::uninit(); BATCH_SIZE];
    let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH_SIZE] = [MaybeUninit::uninit(); BATCH_SIZE];
    for (i, datagram) in datagrams[..count].iter().enumerate() {
        let vector = vectors[i].write(libc::iovec {
            iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
            iov_len: datagram.bytes.len(),
        });
        let header = &mut headers[i].write(empty_header()).msg_hdr;
        header.msg_name = datagram.remote.as_ptr().cast_mut().cast();
        header.msg_namelen = datagram.remote.len();
        header.msg_iov = vector;
        header.msg_iovlen = 1;
    }
    // SAFETY: the first `count` headers are written; they point to names and bytes that `datagrams`
    // keeps alive, which the kernel only reads, and to vectors of this frame.
    let sent = unsafe {
        check(libc::sendmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as u32,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        ))?
    };
    Ok(sent as usize)
}

/// Asks the kernel to say with each datagram when it came in and how many it has dropped.
pub(crate) fn report_queue(fd: &impl AsRawFd) -> io::Result<()> {
    for option in [libc::SO_RXQ_OVFL, libc::SO_TIMESTAMPNS] {
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads one integer from a pointer to one.
        unsafe {
            check(libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const on).cast(),
                mem::size_of::<libc::c_int>() as u32,
            ))?
        };
    }
    Ok(())
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a message header of nothing but zeros and null pointers is a valid empty one.
    unsafe { mem::zeroed() }
}

/// Who sent a received datagram.
///
/// # Safety
/// The kernel must have filled `header`, whose name is a `sockaddr_storage`.
unsafe fn name_of(header: &libc::msghdr) -> Option<SocketAddr> {
    // SAFETY: both are the kernel's storage structure, and it has written `msg_namelen` bytes;
    // what it left is never read, for the family decides.
    let name = unsafe {
        let mut storage = SockAddrStorage::zeroed();
        let size = (header.msg_namelen as usize).min(mem::size_of::<libc::sockaddr_storage>());
        std::ptr::copy_nonoverlapping(
            header.msg_name.cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            size,
        );
        SockAddr::new(storage, size as u32)
    };
    name.as_socket()
}

/// What the kernel says of the queue in which a datagram has waited.
#[derive(Default)]
struct Told {
    drops: Option<u32>,
    arrived: Option<WallTime>,
}

/// What came with a received datagram.
///
/// # Safety
/// The kernel must have filled `header`, whose control space is a [`Control`].
unsafe fn told_of(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the macros of the library walk what the kernel wrote, within `msg_controllen`; the
    // kernel writes 32 bits for the one type and a time for the other.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.drops = Some(data.cast::<u32>().read_unaligned());
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    let micros = time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000;
                    told.arrived = Some(WallTime::from_micros(micros));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sys::{Interest, Poll, Ready};
    use std::net::UdpSocket;

    #[test]
    fn a_batch_works_on_when_its_pages_are_given_back() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let mut batch = ReceiveBatch::new();
        for text in [&b"before"[..], b"behind"] {
            socket.send_to(text, to).unwrap();
            socket.send_to(text, to).unwrap();
            assert_eq!(batch.fill(&socket).unwrap(), 2);
            assert_eq!((batch.get(0).0, batch.get(1).0), (text, text));
            batch.give_back();
            assert_eq!(batch.data[BUFFER_STRIDE..][..text.len()], [0; 6]);
        }
    }

    #[test]
    fn a_batch_goes_out_and_comes_in_in_order() {
        let source = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        let remote = SockAddr::from(target.local_addr().unwrap());
        let datagrams: Vec<Datagram> = (0..100u8)
            .map(|n| Datagram {
                bytes: Rc::from(vec![n; usize::from(n) + 1]),
                remote: remote.clone(),
                token: None,
            })
            .collect();
        let first = send_batch(&source, &datagrams).unwrap();
        let second = send_batch(&source, &datagrams[first..]).unwrap();
        assert_eq!((first, second), (BATCH_SIZE, 100 - BATCH_SIZE));

        let poll = Poll::new().unwrap();
        poll.add(&target, 7, Interest::READ).unwrap();
        let (mut batch, mut ready, mut seen) = (ReceiveBatch::new(), vec![], 0u8);
        while seen < 100 {
            poll.wait(Some(5_000), &mut ready).unwrap();
            let want = Ready {
                tag: 7,
                readable: true,
                writable: false,
            };
            assert_eq!(ready, [want]);
            for i in 0..batch.fill(&target).unwrap() {
                let (bytes, from) = batch.get(i);
                assert_eq!(bytes, vec![seen; usize::from(seen) + 1]);
                assert_eq!(from, source.local_addr().unwrap());
                seen += 1;
            }
        }
        assert!(
            batch
                .fill(&target)
                .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
        );
    }

    #[test]
    fn the_kernel_counts_what_it_drops() {
        let source = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        report_queue(&target).unwrap();
        target.set_recv_buffer_size(4_096).unwrap();
        let to = target.local_addr().unwrap().as_socket().unwrap();
        for _ in 0..200 {
            source.send_to(&[0; 1_000], to).unwrap();
        }
        let mut batch = ReceiveBatch::new();
        batch.fill(&target).unwrap();
        // What waited when the queue was full does not know yet of what followed.
        source.send_to(b"last", to).unwrap();
        let count = batch.fill(&target).unwrap();
        assert_eq!(batch.get(count - 1).0, b"last");
        assert!(batch.take_drops().is_some_and(|n| n > 0));
    }

    #[test]
    fn the_kernel_says_when_a_datagram_came() {
        let micros = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            WallTime::from_micros(since.unwrap().as_micros() as u64)
        };
        let source = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        report_queue(&target).unwrap();
        let before = micros();
        source.send_to(b"x", target.local_addr().unwrap()).unwrap();
        let mut batch = ReceiveBatch::new();
        batch.fill(&target).unwrap();
        let came = batch.arrived().unwrap();
        assert!((before..=micros()).contains(&came), "{before:?} {came:?}");
    }
}
