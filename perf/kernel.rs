//! What this program asks of the kernel and the standard library does not offer: batches of
//! datagrams, from whom and when each has come, waiting to the microsecond, large buffers, the
//! clock of one thread, the CPUs of threads and children, and the end of children with their
//! parent.
//!
//! All `unsafe` of this program stands here, each block behind a safe function and with the reason
//! why its pointers are good. Costs: one system call for up to [`BATCH_SIZE`] datagrams, and a few
//! kilobytes of stores to build its headers; no allocation after the start.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Datagrams of one system call.
pub(crate) const BATCH_SIZE: usize = 64;
/// Room for one datagram; what is longer is cut, and found by its Content-Length. Not a power of
/// two, so that buffers do not share the sets of a cache.
const STRIDE: usize = 4_096 + 64;
/// Room for what the kernel says of one datagram, in words: a header and a time.
const CONTROL_WORDS: usize = 8;

/// The room for datagrams where few come.
const ROOM_MIN: usize = 8;

/// Datagrams that have come.
pub(crate) struct Inbox {
    data: Vec<u8>,
    /// Bytes from one datagram to the next.
    stride: usize,
    sizes: [usize; BATCH_SIZE],
    senders: [libc::sockaddr_in; BATCH_SIZE],
    control: [[u64; CONTROL_WORDS]; BATCH_SIZE],
    arrived: [Option<Duration>; BATCH_SIZE],
    /// For how many there is room in the next batch: whoever gets them one by one need not
    /// prepare for more.
    room: usize,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox::of(STRIDE)
    }

    /// One for larger datagrams.
    pub(crate) fn of(stride: usize) -> Inbox {
        Inbox {
            data: vec![0; stride * BATCH_SIZE],
            stride,
            sizes: [0; BATCH_SIZE],
            senders: [name_of(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH_SIZE],
            control: [[0; CONTROL_WORDS]; BATCH_SIZE],
            arrived: [None; BATCH_SIZE],
            room: ROOM_MIN,
        }
    }

    /// Reads what has come to a socket, without waiting: how many datagrams.
    pub(crate) fn fill(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut vectors = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; BATCH_SIZE];
        let mut headers = [empty_header(); BATCH_SIZE];
        for i in 0..self.room {
            vectors[i].iov_base = self.data[i * self.stride..].as_mut_ptr().cast();
            vectors[i].iov_len = self.stride;
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut self.senders[i]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = self.control[i].as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&self.control[i]) as _;
        }
        // SAFETY: each of the first `room` headers points to a vector of this frame, that to
        // `stride` bytes of `data`, to a name of `senders` and to words of `control`, all of its
        // own; all outlive the call, and the kernel keeps no pointer.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                self.room as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = match check(count) {
            Ok(count) => count as usize,
            Err(error) if is_passing(&error) => 0,
            Err(error) => return Err(error),
        };
        for (i, header) in headers[..count].iter().enumerate() {
            self.sizes[i] = header.msg_len as usize;
            self.arrived[i] = arrival(&header.msg_hdr);
        }
        self.room = match count {
            count if count == self.room => (2 * count).min(BATCH_SIZE),
            count => (self.room / 2).max(count).max(ROOM_MIN),
        };
        Ok(count)
    }

    /// For how many datagrams the next [`Inbox::fill`] has room.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Who has sent one of the datagrams.
    pub(crate) fn sender(&self, index: usize) -> SocketAddrV4 {
        let name = &self.senders[index];
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        SocketAddrV4::new(ip, u16::from_be(name.sin_port))
    }

    /// When one of the datagrams has come, by the clock of [`wall`]; `None`: the kernel has not
    /// been asked to say so, see [`tell_arrival`].
    pub(crate) fn arrived(&self, index: usize) -> Option<Duration> {
        self.arrived[index]
    }

    /// One of the datagrams.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.data[index * self.stride..][..self.sizes[index]]
    }
}

fn name_of(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// The time in the control messages of a datagram, if it is the first of them.
fn arrival(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the kernel has written `msg_controllen` bytes of whole control messages to where
    // `msg_control` points, and the caller keeps these words; the time is read unaligned.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(header).as_ref()?;
        let is_time =
            first.cmsg_level == libc::SOL_SOCKET && first.cmsg_type == libc::SCM_TIMESTAMPNS;
        let time: *const libc::timespec = libc::CMSG_DATA(first).cast();
        is_time.then(|| duration(time.read_unaligned()))
    }
}

fn duration(time: libc::timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
    /// Where each goes; none where the socket is connected.
    targets: Vec<libc::sockaddr_in>,
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

    /// The same, to an address: for a socket that is not connected.
    pub(crate) fn push_to(&mut self, to: SocketAddrV4, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.targets.push(name_of(to));
        self.push(write)
    }

    /// Gives all to the kernel, in order. How many it did not take: they are lost, as on any
    /// network.
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
        self.targets.clear();
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
            if let Some(target) = self.targets.get(first + i) {
                headers[i].msg_hdr.msg_name = (&raw const *target).cast_mut().cast();
                headers[i].msg_hdr.msg_namelen = mem::size_of_val(target) as u32;
            }
            start = *end;
        }
        // SAFETY: the first `count` headers point to vectors of this frame, and these to bytes of
        // `data`; they and the names of `targets` nobody changes during the call, and the kernel
        // only reads them.
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

/// A set of one socket, to wait for as the proxy does.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn of(socket: &UdpSocket) -> io::Result<Epoll> {
        // SAFETY: no pointer is passed; a descriptor that is returned belongs to nobody else.
        let epoll =
            unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        let (set, fd) = (epoll.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: the kernel reads `event` during the call and keeps no pointer to it.
        check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(Epoll(epoll))
    }

    /// Waits until there is something to read; whether there is before the time is over.
    pub(crate) fn wait(&self, longest: Duration) -> io::Result<bool> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let timeout = longest.as_millis() as libc::c_int;
        // SAFETY: the kernel writes one event at most, and there is room for it.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, timeout) };
        match check(count) {
            Ok(count) => Ok(count > 0),
            Err(error) if is_passing(&error) => Ok(false),
            Err(error) => Err(error),
        }
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
    let set = |option| set_option(socket, option, size as libc::c_int);
    set(libc::SO_RCVBUFFORCE).or_else(|_| set(libc::SO_RCVBUF))?;
    set(libc::SO_SNDBUFFORCE).or_else(|_| set(libc::SO_SNDBUF))
}

/// Has the kernel say of each datagram when it has come to this socket, however late it is read.
pub(crate) fn tell_arrival(socket: &UdpSocket) -> io::Result<()> {
    set_option(socket, libc::SO_TIMESTAMPNS, 1)
}

/// Has the kernel cut what is sent at once into datagrams of this size (UDP_SEGMENT).
pub(crate) fn cut_into_segments(socket: &UdpSocket, size: usize) -> io::Result<()> {
    set_option_of(
        socket,
        libc::SOL_UDP,
        libc::UDP_SEGMENT,
        size as libc::c_int,
    )
}

/// Has the kernel bring datagrams of one size from one sender as one, where it has them so
/// (UDP_GRO).
pub(crate) fn take_joined(socket: &UdpSocket) -> io::Result<()> {
    set_option_of(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

fn set_option(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_option_of(socket, libc::SOL_SOCKET, option, value)
}

fn set_option_of(
    socket: &UdpSocket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one integer from a pointer to one.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as u32,
        )
    };
    check(set).map(drop)
}

/// What this thread has used of a CPU.
pub(crate) fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The number of this thread, by which /proc knows it.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: nothing is passed, and it cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// The time of day, by which the kernel says when a datagram has come, since 1970.
pub(crate) fn wall() -> Duration {
    clock(libc::CLOCK_REALTIME)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes to the place it is given, which lives until it returns.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    duration(time)
}

/// CPUs on which a thread or a process may run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus(libc::cpu_set_t);

impl Cpus {
    /// Those of this thread.
    pub(crate) fn of_this_thread() -> io::Result<Cpus> {
        // SAFETY: a set of zeros is an empty one.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the kernel writes to the set at most its size.
        check(unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) })?;
        Ok(Cpus(set))
    }

    /// Their numbers.
    pub(crate) fn list(&self) -> Vec<usize> {
        (0..libc::CPU_SETSIZE as usize)
            // SAFETY: the index is below the number of bits of the set.
            .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &self.0) })
            .collect()
    }

    /// All but the last one, and the last one.
    pub(crate) fn parted(&self) -> io::Result<(Cpus, Cpus)> {
        match self.list().split_last() {
            Some((last, rest)) if !rest.is_empty() => Ok((Cpus::of(rest), Cpus::of(&[*last]))),
            _ => Err(io::Error::other("two CPUs are needed to keep both apart")),
        }
    }

    /// These.
    pub(crate) fn of(cpus: &[usize]) -> Cpus {
        // SAFETY: a set of zeros is an empty one.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        for cpu in cpus {
            // SAFETY: the index was one of a set of the same size.
            unsafe { libc::CPU_SET(*cpu, &mut set) };
        }
        Cpus(set)
    }

    /// Lets this thread run on these only, and what it starts.
    pub(crate) fn keep(&self) -> io::Result<()> {
        // SAFETY: the kernel reads a set of the size that is given.
        check(unsafe { libc::sched_setaffinity(0, mem::size_of_val(&self.0), &raw const self.0) })
            .map(drop)
    }
}

/// Lets a child run on these CPUs only, and end when the thread that starts it does, however that
/// ends: a proxy under load must not outlive whoever loads it.
pub(crate) fn bind_child(command: &mut Command, cpus: Option<Cpus>) {
    let bind = move || {
        // SAFETY: numbers only.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
        cpus.map_or(Ok(()), |cpus| cpus.keep())
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(bind) };
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
    use std::net::SocketAddr;

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
    fn datagrams_go_where_they_are_told_and_say_from_where() {
        let open = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = |socket: &UdpSocket| match socket.local_addr().unwrap() {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => panic!("{address}"),
        };
        let (source, targets) = (open(), [open(), open()]);
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::new());
        for n in 0..6u8 {
            outbox.push_to(address(&targets[usize::from(n % 2)]), |out| out.push(n));
        }
        assert_eq!(outbox.flush(&source).unwrap(), 0);
        for (n, target) in (0u8..).zip(&targets) {
            assert!(
                Epoll::of(target)
                    .unwrap()
                    .wait(Duration::from_secs(5))
                    .unwrap()
            );
            assert_eq!(inbox.fill(target).unwrap(), 3);
            let seen: Vec<u8> = (0..3).map(|i| inbox.get(i)[0]).collect();
            assert_eq!(seen, [n, n + 2, n + 4]);
            assert_eq!(inbox.sender(2), address(&source));
        }
        let nothing = Epoll::of(&targets[0]).unwrap();
        assert!(!nothing.wait(Duration::ZERO).unwrap());
    }

    #[test]
    fn the_kernel_tells_when_a_datagram_has_come() {
        let open = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (source, target) = (open(), open());
        tell_arrival(&target).unwrap();
        let before = wall();
        source.send_to(b"x", target.local_addr().unwrap()).unwrap();
        let after = wall();
        let mut inbox = Inbox::new();
        wait([&target, &source], Duration::from_secs(5)).unwrap();
        assert_eq!(inbox.fill(&target).unwrap(), 1);
        let arrived = inbox.arrived(0).expect("a time");
        assert!(
            before <= arrived && arrived <= after.max(wall()),
            "{arrived:?}"
        );
    }

    #[test]
    fn a_child_ends_with_whoever_started_it() {
        let started = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            bind_child(&mut command, None);
            command.arg("60").spawn().unwrap()
        });
        let status = started.join().unwrap().wait().unwrap();
        assert!(!status.success(), "{status}");
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
