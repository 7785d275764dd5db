//! The system calls that the standard library does not offer, each behind a safe function.
//!
//! All `unsafe` of the product stands in this file, and that of `bpf` in
//! [`steering`](super::steering). Each block says why its pointers are good.
//! Costs: one system call for each function; a batch builds its headers on every call (200 bytes of
//! stores for each datagram there is room for) so that no pointer outlives the call that uses it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use socket2::{SockAddr, SockAddrStorage};

use crate::effect::Token;
use crate::limits::MESSAGE_SIZE_MAX;
use crate::script::calendar::Change;
use crate::time::{Duration, Instant, WallTime};

/// Datagrams that one system call reads or writes.
pub(crate) const BATCH_SIZE: usize = 64;

/// Descriptors that are reported ready at once; the rest is with the next call.
const EVENT_COUNT: usize = 256;

/// Distance between the buffers of a batch. Above the largest datagram by an odd number of cache
/// lines: at a power of two all buffers would begin in the same few sets of every cache.
const BUFFER_STRIDE: usize = MESSAGE_SIZE_MAX + 1 + 17 * 64;

/// Room for two control messages, one of 32 bits and one with a time, aligned as the kernel wants
/// them.
type Control = [u64; 8];

/// What a descriptor is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Interest {
    /// Something can be read.
    pub(crate) read: bool,
    /// Something can be written.
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Interest = Interest {
        read: true,
        write: false,
    };

    fn bits(self) -> u32 {
        let read = if self.read {
            libc::EPOLLIN | libc::EPOLLRDHUP
        } else {
            0
        };
        (read | if self.write { libc::EPOLLOUT } else { 0 }) as u32
    }
}

/// A descriptor that is ready: whose it is, and what for. An error or a hang-up counts as both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ready {
    pub(crate) tag: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Ready {
    /// Something can be read there.
    pub(crate) fn readable(tag: u64) -> Ready {
        Ready {
            tag,
            readable: true,
            writable: false,
        }
    }
}

/// A set of descriptors that one core waits for, level-triggered.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed; a descriptor that is returned belongs to nobody else.
        let epoll = unsafe {
            let fd = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Poll { epoll })
    }

    pub(crate) fn add(&self, fd: &impl AsRawFd, tag: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), tag, interest)
    }

    pub(crate) fn change(&self, fd: &impl AsRawFd, tag: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), tag, interest)
    }

    pub(crate) fn remove(&self, fd: &impl AsRawFd) -> io::Result<()> {
        let nothing = Interest {
            read: false,
            write: false,
        };
        self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, nothing)
    }

    fn control(&self, what: i32, fd: RawFd, tag: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.bits(),
            u64: tag,
        };
        // SAFETY: the kernel reads `event` during the call and keeps no pointer to it.
        unsafe {
            check(libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                what,
                fd,
                &mut event,
            ))?
        };
        Ok(())
    }

    /// Waits until something is ready or the time is over; `None` waits for ever. A signal ends
    /// the wait early with nothing ready.
    pub(crate) fn wait(&self, timeout_ms: Option<u32>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
        self.append(timeout, ready)
    }

    /// Adds what is ready now to what another set has reported.
    pub(crate) fn add_ready(&self, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.append(0, ready)
    }

    fn append(&self, timeout: i32, ready: &mut Vec<Ready>) -> io::Result<()> {
        collect(ready, |events| {
            // SAFETY: the kernel writes at most as many events as there is room for.
            unsafe {
                libc::epoll_wait(
                    self.epoll.as_raw_fd(),
                    events.as_mut_ptr(),
                    events.len() as i32,
                    timeout,
                )
            }
        })
    }

    /// The same for a time below a millisecond (`epoll_pwait2`); an error of the kind `Unsupported`
    /// where the kernel does not know it.
    pub(crate) fn wait_exactly(&self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = timespec(timeout);
        collect(ready, |events| {
            // SAFETY: the kernel writes at most as many events as there is room for, reads
            // `timeout`, and no set of signals where the pointer is null.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.epoll.as_raw_fd(),
                    events.as_mut_ptr(),
                    events.len() as i32,
                    &raw const timeout,
                    std::ptr::null::<libc::sigset_t>(),
                    0_usize,
                )
            };
            count as i32
        })
    }
}

impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// Has the kernel report what is ready, and appends it.
fn collect(
    ready: &mut Vec<Ready>,
    wait: impl FnOnce(&mut [libc::epoll_event]) -> i32,
) -> io::Result<()> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENT_COUNT];
    let count = match check(wait(&mut events)) {
        Ok(count) => count as usize,
        Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
        Err(e) => return Err(e),
    };
    let gone = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
    ready.extend(events[..count].iter().map(|event| {
        let bits = event.events;
        Ready {
            tag: event.u64,
            readable: bits & (gone | (libc::EPOLLIN | libc::EPOLLRDHUP) as u32) != 0,
            writable: bits & (gone | libc::EPOLLOUT as u32) != 0,
        }
    }));
    Ok(())
}

/// A descriptor that one core waits for and others make ready.
#[derive(Debug)]
pub(crate) struct EventFd {
    file: File,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed; a descriptor that is returned belongs to nobody else.
        let fd = unsafe {
            let fd = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(EventFd { file: fd.into() })
    }

    /// Makes it ready. It cannot fail in a way that matters: a counter that is full is ready.
    pub(crate) fn ring(&self) {
        let _ = (&self.file).write(&1u64.to_ne_bytes());
    }

    /// Makes it unready again.
    pub(crate) fn clear(&self) {
        let _ = (&self.file).read(&mut [0; 8]);
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

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
            // What the kernel says beside a datagram takes it time, and nobody needs more of a batch
            // than what it says of the first.
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

/// Gives the memory that this thread has freed back to the system. The allocator does so by itself
/// while it is used; a thread with nothing to do does not use it.
pub(crate) fn give_memory_back() {
    // SAFETY: it works on the heap of this thread, and frees nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Has the kernel give this process pages of its usual size only.
pub(crate) fn refuse_huge_pages() -> io::Result<()> {
    let unused: libc::c_ulong = 0;
    let is_on: libc::c_ulong = 1;
    // SAFETY: no pointer is passed.
    unsafe {
        check(libc::prctl(
            libc::PR_SET_THP_DISABLE,
            is_on,
            unused,
            unused,
            unused,
        ))?
    };
    Ok(())
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

/// The clock of the calling thread, which goes only while it is on a CPU.
pub(crate) fn thread_time() -> Instant {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to the place it is given, which lives until it returns.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result != 0 {
        return Instant::ZERO;
    }
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn timespec(length: Duration) -> libc::timespec {
    let nanos = length.as_nanos();
    libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    }
}

/// Sleeps by the clock. A signal may end it early.
pub(crate) fn sleep(length: Duration) {
    let request = timespec(length);
    // SAFETY: the kernel reads `request`, and writes nothing where the second pointer is null.
    unsafe { libc::nanosleep(&raw const request, std::ptr::null_mut()) };
}

/// The address that the kernel would send from to this one.
pub(crate) fn source_for(to: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Nothing is sent: the route is looked up, and the socket gets its address. Any port will do.
    socket.connect((to, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// 64 bits of the kernel's randomness.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the kernel writes at most this many bytes to where they are; so few come whole.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if count != bytes.len() as isize {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes))
}

/// Whether the kernel may take a datagram of IPv4 apart that is too long for a link (RFC 1191).
pub(crate) fn discover_path_mtu(socket: &impl AsRawFd, is_on: bool) -> io::Result<()> {
    let mode: libc::c_int = match is_on {
        true => libc::IP_PMTUDISC_DO,
        false => libc::IP_PMTUDISC_DONT,
    };
    // SAFETY: the kernel reads one number from a pointer to one.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const mode).cast(),
            mem::size_of_val(&mode) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Whether it may not.
#[cfg(test)]
pub(crate) fn discovers_path_mtu(socket: &impl AsRawFd) -> io::Result<bool> {
    let mut mode: libc::c_int = 0;
    let mut size = mem::size_of_val(&mode) as libc::socklen_t;
    // SAFETY: the kernel writes one number to a pointer to one, and its length behind the other.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw mut mode).cast(),
            &mut size,
        )
    })?;
    Ok(mode == libc::IP_PMTUDISC_DO)
}

/// The name of an address, as the hosts file and name servers have it; waits for them.
pub(crate) fn name_of_address(ip: std::net::IpAddr) -> Option<String> {
    let address = SockAddr::from(SocketAddr::new(ip, 0));
    let mut name = [0 as libc::c_char; libc::NI_MAXHOST as usize];
    // SAFETY: address and buffer are given with their lengths, and nothing is written for the
    // service, whose buffer is null; on success the name ends with a zero byte.
    unsafe {
        let code = libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            name.as_mut_ptr(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        );
        (code == 0).then(|| CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
    }
}

/// Opens the way to the system log at once, as long as its socket can be seen.
pub(crate) fn reach_syslog() {
    // SAFETY: a null name is allowed, it is the program's own until another is given.
    unsafe {
        libc::openlog(
            std::ptr::null(),
            libc::LOG_PID | libc::LOG_NDELAY,
            libc::LOG_DAEMON,
        )
    };
}

/// What the clocks of this machine's time zone show at a moment.
pub(crate) fn local_clock(seconds: i64) -> Change {
    // SAFETY: `tm` is plain data and lives through the call; localtime_r(3) writes it, and
    // `tm_zone` is null or a string of the C library's that ends and stays.
    let (tm, name) = unsafe {
        let mut tm: libc::tm = mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        let name = (!tm.tm_zone.is_null()).then(|| CStr::from_ptr(tm.tm_zone));
        (
            tm,
            name.map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        )
    };
    Change {
        since: seconds,
        offset: tm.tm_gmtoff,
        is_summer: tm.tm_isdst > 0,
        name: name.into(),
    }
}

/// How many bytes this process may lock in memory.
pub(crate) fn locked_memory_allowed() -> io::Result<u64> {
    Ok(locked_memory_limit()?.rlim_cur)
}

/// Raises the limit of [`locked_memory_allowed`] as far as this process may.
pub(crate) fn raise_locked_memory(wanted: u64) -> io::Result<()> {
    let mut limit = locked_memory_limit()?;
    limit.rlim_cur = wanted.min(limit.rlim_max);
    // SAFETY: the kernel reads one structure from a pointer to one.
    unsafe { check(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit))? };
    Ok(())
}

fn locked_memory_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one structure to a pointer to one.
    unsafe { check(libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit))? };
    Ok(limit)
}

/// Becomes this group and no other, then this user: in this order, for afterwards there is no
/// right left to do it.
pub(crate) fn become_user(user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    // SAFETY: no memory is passed besides an empty list with its length of 0.
    unsafe {
        if let Some(group) = group {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setgid(group))?;
        }
        if let Some(user) = user {
            check(libc::setuid(user))?;
        }
    }
    Ok(())
}

/// Makes a named pipe that only this user may open.
pub(crate) fn make_pipe(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the text ends with a zero byte and lives through the call.
    check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).map(drop)
}

/// Opens the system log under a name that lives as long as the process, for a facility.
pub(crate) fn open_syslog(name: &'static std::ffi::CStr, facility: i32) {
    // SAFETY: the library keeps the pointer, and the text lives for ever.
    unsafe { libc::openlog(name.as_ptr(), libc::LOG_PID, facility) };
}

/// Writes one line to the system log.
pub(crate) fn write_syslog(priority: i32, text: &std::ffi::CStr) {
    // SAFETY: the format takes one string, and one that ends is given.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), text.as_ptr()) };
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
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

    #[test]
    fn a_ring_wakes_until_it_is_cleared() {
        let (poll, bell, mut ready) = (Poll::new().unwrap(), EventFd::new().unwrap(), vec![]);
        poll.add(&bell, 1, Interest::READ).unwrap();
        for _ in 0..2 {
            poll.wait(Some(0), &mut ready).unwrap();
            assert!(ready.is_empty());
            bell.ring();
            bell.ring();
            poll.wait(Some(5_000), &mut ready).unwrap();
            assert_eq!(ready.len(), 1);
            bell.clear();
        }
    }
}
