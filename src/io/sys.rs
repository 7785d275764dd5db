//! The system calls that the standard library does not offer, each behind a safe function.
//!
//! All `unsafe` of the product stands here and in the two files below, and that of `bpf` in
//! [`steering`](super::steering). Each block says why its pointers are good.
//!
//! ```text
//!   poll.rs    what a core waits for        batch.rs    datagrams by the batch
//! ```
//!
//! Costs: one system call for each function.
#![allow(unsafe_code)]

mod batch;
mod poll;

use std::ffi::CStr;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::SockAddr;

use crate::script::calendar::Change;
use crate::time::{Duration, Instant};

pub(crate) use batch::{BATCH_SIZE, Datagram, ReceiveBatch, report_queue, send_batch};
pub(crate) use poll::{EventFd, Interest, Poll, Ready};

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
