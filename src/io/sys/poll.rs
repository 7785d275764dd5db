//! Waiting for descriptors: epoll, and a bell that other cores ring.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{check, timespec};
use crate::time::Duration;

/// Descriptors that are reported ready at once; the rest is with the next call.
const EVENT_COUNT: usize = 256;

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

#[cfg(test)]
mod tests {
    use super::*;

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
