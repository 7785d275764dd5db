//! Opening the places where operators connect, before anything runs and while the rights of the
//! start are there; removing at the end what was made in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::io::error::IoError;
use crate::io::plan::{ControlSocket, Language};
use crate::io::{process, sys};
use crate::modules::rpc::place::{Place, Rights};

/// One open place.
#[derive(Debug)]
pub(crate) struct Listener {
    opened: Opened,
    trace: Trace,
}

/// What is served.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) place: Place,
    pub(crate) language: Language,
    pub(crate) socket: Socket,
}

/// What the system opened.
#[derive(Debug)]
pub(crate) enum Socket {
    UnixStream(UnixListener),
    UnixDatagram(UnixDatagram),
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// A pipe is opened by who reads it; it is there.
    Pipe {
        path: PathBuf,
        reply_dir: PathBuf,
    },
}

/// The name in the file system, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Trace(Option<PathBuf>);

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Without the rights of the start it may stay; the next start replaces it.
            let _ = fs::remove_file(path);
        }
    }
}

impl Listener {
    /// Opens a place.
    pub(crate) fn open(wanted: &ControlSocket) -> Result<Listener, IoError> {
        let place = wanted.place.clone();
        let (socket, trace) = open(&place, &wanted.rights).map_err(|error| IoError::Control {
            place: place.clone(),
            error,
        })?;
        let opened = Opened {
            place,
            language: wanted.language,
            socket,
        };
        Ok(Listener { opened, trace })
    }

    /// What is served, and what is to be removed at the end.
    pub(crate) fn split(self) -> (Opened, Trace) {
        (self.opened, self.trace)
    }
}

fn open(place: &Place, rights: &Rights) -> io::Result<(Socket, Trace)> {
    let socket = match place {
        Place::Tcp(at) => {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            return Ok((Socket::Tcp(listener), Trace(None)));
        }
        Place::Udp(at) => {
            let socket = UdpSocket::bind(at)?;
            socket.set_nonblocking(true)?;
            return Ok((Socket::Udp(socket), Trace(None)));
        }
        Place::Stream(path) => {
            make_way(Path::new(&**path))?;
            let listener = UnixListener::bind(&**path)?;
            listener.set_nonblocking(true)?;
            Socket::UnixStream(listener)
        }
        Place::Datagram(path) => {
            make_way(Path::new(&**path))?;
            let socket = UnixDatagram::bind(&**path)?;
            socket.set_nonblocking(true)?;
            Socket::UnixDatagram(socket)
        }
        Place::Pipe { path, reply_dir } => {
            make_way(Path::new(&**path))?;
            sys::make_pipe(Path::new(&**path))?;
            let (path, reply_dir) = (path.to_string().into(), reply_dir.to_string().into());
            Socket::Pipe { path, reply_dir }
        }
    };
    let (Place::Stream(path) | Place::Datagram(path) | Place::Pipe { path, .. }) = place else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let path = PathBuf::from(&**path);
    let trace = Trace(Some(path.clone()));
    grant(&path, rights)?;
    Ok((socket, trace))
}

/// Sees that the directory is there, and that nobody else is: a socket that a dead process has
/// left is removed, one that answers is not.
fn make_way(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let kind = there.file_type();
    if !kind.is_socket() && !kind.is_fifo() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something else has this name",
        ));
    }
    if kind.is_socket() && (UnixStream::connect(path).is_ok() || is_datagram_served(path)) {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "a running process serves it",
        ));
    }
    fs::remove_file(path)
}

fn is_datagram_served(path: &Path) -> bool {
    UnixDatagram::unbound()
        .and_then(|socket| socket.connect(path))
        .is_ok()
}

fn grant(path: &Path, rights: &Rights) -> io::Result<()> {
    let (user, group) = process::owner(rights.user.as_deref(), rights.group.as_deref())?;
    if user.is_some() || group.is_some() {
        chown(path, user, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(rights.mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(place: Place) -> ControlSocket {
        let rights = Rights {
            mode: 0o600,
            user: None,
            group: None,
        };
        ControlSocket {
            place,
            rights,
            language: Language::Binary { converts: false },
        }
    }

    #[test]
    fn names_in_the_file_system_come_and_go() {
        let dir = std::env::temp_dir().join(format!("dialcore-listen-{}", std::process::id()));
        let path = dir.join("a").join("s");
        let text: Box<str> = path.to_str().unwrap().into();
        let reply_dir = text.clone();
        let pipe = Place::Pipe {
            path: text.clone(),
            reply_dir,
        };
        for place in [Place::Stream(text.clone()), Place::Datagram(text), pipe] {
            let listener = Listener::open(&socket(place.clone())).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{place}");
            if !matches!(place, Place::Pipe { .. }) {
                let refused = Listener::open(&socket(place.clone())).unwrap_err();
                assert!(
                    refused.to_string().contains("a running process"),
                    "{refused}"
                );
            }
            let (opened, trace) = listener.split();
            drop(opened);
            assert!(path.exists(), "only the end of the process removes it");
            // What a dead process has left makes way.
            std::mem::forget(trace);
            drop(Listener::open(&socket(place)).unwrap());
            assert!(!path.exists());
        }
        fs::write(&path, "mine").unwrap();
        let text = path.to_str().unwrap().into();
        assert!(Listener::open(&socket(Place::Stream(text))).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_dir_all(&dir).unwrap();
    }
}
