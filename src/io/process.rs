//! What the process is to the system: pid file, working directory, user and group.

use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::clock::Clock;
use super::error::IoError;
use super::sys;
use crate::modules::config::Host;
use crate::script::calendar::{Change, Zone};
use crate::time::WallTime;

/// When this process was first asked when it started: it is asked once at the start.
pub fn started() -> WallTime {
    static STARTED: OnceLock<WallTime> = OnceLock::new();
    *STARTED.get_or_init(|| Clock::start().now().wall)
}

/// Lets no message wait until the kernel has cleared 2 MiB at once, as it does where memory is
/// touched first that the allocator has asked huge pages for: 6 ms on a virtual machine. To be
/// called before cores start. Where the kernel does not know it, they wait.
pub fn without_huge_pages() {
    let _ = sys::refuse_huge_pages();
}

/// What this machine is called. An address by which only itself reaches it is none.
pub fn host() -> Host {
    let full_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let full_name = full_name.trim();
    let (name, domain) = full_name.split_once('.').unwrap_or((full_name, ""));
    let mut found = (full_name, 0).to_socket_addrs().into_iter().flatten();
    let address = found.find(|a| !a.ip().is_loopback());
    Host {
        name: name.into(),
        full_name: full_name.into(),
        domain: domain.into(),
        address: address
            .map_or_else(String::new, |a| a.ip().to_string())
            .into(),
    }
}

/// The time zone of this machine, its changes from 1970 to 2100.
pub fn zone() -> Zone {
    const STEP_S: i64 = 7 * 86_400;
    const LAST_S: i64 = 4_102_444_800;
    let mut changes = vec![sys::local_clock(0)];
    let mut from = 0;
    while from < LAST_S {
        let (mut before, mut after) = (from, from + STEP_S);
        let known = changes.last().expect("the first stands there");
        if !is_same(known, &sys::local_clock(after)) {
            // The change stands between the two.
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                if is_same(known, &sys::local_clock(middle)) {
                    before = middle;
                } else {
                    after = middle;
                }
            }
            changes.push(sys::local_clock(after));
        }
        from += STEP_S;
    }
    Zone::new(changes)
}

fn is_same(a: &Change, b: &Change) -> bool {
    (a.offset, a.is_summer, &a.name) == (b.offset, b.is_summer, &b.name)
}

/// The file that names this process; removed when it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the number of this process, one line.
    pub fn write(path: &Path) -> Result<PidFile, IoError> {
        fs::write(path, format!("{}\n", std::process::id()))
            .map_err(IoError::start("write the pid file"))?;
        let path = path.to_path_buf();
        Ok(PidFile { path })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Without the rights of the start it may not be removable; the next start overwrites it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Changes the working directory.
pub fn change_dir(path: &Path) -> Result<(), IoError> {
    std::env::set_current_dir(path).map_err(IoError::start("change the working directory"))
}

/// Makes a directory the root of all that this process sees from here on. What is open stays open.
pub fn change_root(path: &Path) -> Result<(), IoError> {
    sys::reach_syslog();
    std::os::unix::fs::chroot(path)
        .and_then(|()| std::env::set_current_dir("/"))
        .map_err(IoError::start("change the root directory"))
}

/// The name of an address of this machine, if it has one.
pub fn name_of(ip: IpAddr) -> Option<String> {
    sys::name_of_address(ip)
}

/// A user and a group to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

impl Owner {
    /// Looks both up, each a name or a number. Without a group, the user's own.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Owner, IoError> {
        let (user, group) = owner(user, group).map_err(IoError::start("find user and group"))?;
        Ok(Owner { user, group })
    }

    /// Gives up root for them. Sockets are to be open before.
    pub fn become_it(self) -> Result<(), IoError> {
        sys::become_user(self.user, self.group).map_err(IoError::start("change user and group"))
    }
}

/// The numbers of a user and a group, each a name or a number. Without a group, the user's own.
pub(crate) fn owner(
    user: Option<&str>,
    group: Option<&str>,
) -> io::Result<(Option<u32>, Option<u32>)> {
    let user = user
        .map(|name| find(Path::new("/etc/passwd"), name))
        .transpose()?;
    let group = match group {
        Some(name) => Some(find(Path::new("/etc/group"), name)?.id),
        None => user.and_then(|entry| entry.group),
    };
    Ok((user.map(|entry| entry.id), group))
}

/// One line of the tables of users and groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    id: u32,
    /// Of a user: the group that is its own.
    group: Option<u32>,
}

fn find(table: &Path, name: &str) -> io::Result<Entry> {
    if let Ok(id) = name.parse() {
        return Ok(Entry { id, group: None });
    }
    let text = fs::read_to_string(table)?;
    text.lines()
        .find_map(|line| entry(line, name))
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// `name:password:id:group...`, the format of passwd(5); of group(5) as far as the id.
fn entry(line: &str, name: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    if fields.next()? != name {
        return None;
    }
    let id = fields.nth(1)?.parse().ok()?;
    let group = fields.next().and_then(|group| group.parse().ok());
    Some(Entry { id, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name() {
        let both = |id, group| Some(Entry { id, group });
        let table = [
            (
                "sip:x:105:110:SIP:/run:/bin/false",
                "sip",
                both(105, Some(110)),
            ),
            ("sip:x:105:110:SIP:/run:/bin/false", "si", None),
            ("adm:x:4:syslog", "adm", both(4, None)),
            ("adm:x:many:", "adm", None),
            ("", "adm", None),
        ];
        for (line, name, want) in table {
            assert_eq!(entry(line, name), want, "{line}");
        }
        assert_eq!(find(Path::new("/nowhere"), "42").unwrap().id, 42);
        assert!(find(Path::new("/nowhere"), "root").is_err());
    }
}
