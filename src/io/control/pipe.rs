//! JSON-RPC through a pair of pipes, as `kamctl` does it.
//!
//! Requests come through one pipe that everybody writes to, an object at a time. Each names with
//! `reply_name` a pipe that the client has made in the directory for answers. Nothing else may be
//! opened there: no other directory, no link, no file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::clerk::{Asking, Clerk};
use super::sheet::{Form, Reply};
use super::spool;
use crate::effect::Level;
use crate::io::plan::Language;
use crate::limits::RPC_PIPE_REQUEST_SIZE_MAX;
use crate::modules::rpc::json::{self, Style};

/// Bytes read at once.
const READ_SIZE: usize = 4 << 10;

/// How often, and how far apart, a client is expected to have opened its pipe.
const OPEN_COUNT_MAX: usize = 5;

/// See [`OPEN_COUNT_MAX`].
const OPEN_PAUSE: Duration = Duration::from_millis(80);

/// Serves a pipe until the thread ends.
pub(super) fn serve(clerk: Rc<Clerk>, path: PathBuf, reply_dir: PathBuf, language: Language) {
    let is_pretty = match language {
        Language::Json { is_pretty } => is_pretty,
        Language::Binary { .. } => false,
    };
    // Opened for writing as well, the pipe has no end when a client has gone.
    match pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(&path)
    {
        Ok(receiver) => {
            let reader = Reader {
                clerk,
                reply_dir,
                style: Style { is_pretty },
            };
            tokio::task::spawn_local(reader.read_all(receiver));
        }
        Err(error) => clerk.log(Level::Err, || format!("operators are not served: {error}")),
    }
}

struct Reader {
    clerk: Rc<Clerk>,
    reply_dir: PathBuf,
    style: Style,
}

impl Reader {
    async fn read_all(self, mut receiver: pipe::Receiver) {
        let reader = Rc::new(self);
        let mut bytes = Vec::new();
        loop {
            bytes.reserve(READ_SIZE);
            match receiver.read_buf(&mut bytes).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    reader
                        .clerk
                        .log(Level::Err, || format!("the pipe is lost: {error}"));
                    return;
                }
            }
            while let Some(end) = json::object_end(&bytes) {
                reader.clone().take(&bytes[..end]).await;
                bytes.drain(..end);
            }
            if bytes.len() > RPC_PIPE_REQUEST_SIZE_MAX {
                reader.clerk.log(Level::Warn, || {
                    "a request through the pipe has no end".into()
                });
                bytes.clear();
            }
        }
    }

    /// One request. The answer is a task of its own: whoever does not read it holds up nobody.
    async fn take(self: Rc<Self>, bytes: &[u8]) {
        let from = bytes.iter().position(|b| *b == b'{').unwrap_or(0);
        let Some(request) = json::request(&bytes[from..]) else {
            return;
        };
        let Some(path) = request
            .reply_name
            .as_deref()
            .and_then(|n| reply_path(&self.reply_dir, n))
        else {
            self.clerk.log(Level::Warn, || {
                "a request through the pipe names no reply_name".into()
            });
            return;
        };
        // As the original: elsewhere it answers, here it does not.
        if !request.is_current {
            let what = "a request through the pipe is no JSON-RPC 2.0";
            return self.clerk.log(Level::Warn, || what.into());
        }
        let form = Form::Json {
            style: self.style,
            id: request.id,
        };
        let asking = Asking {
            method: request.method,
            is_callable: request.is_callable,
            args: request.args,
            form,
        };
        let Some(seat) = self.clerk.clients.enter() else {
            return;
        };
        tokio::task::spawn_local(async move {
            let _seat = seat;
            let reply = self.clerk.answer(asking).await;
            if let Err(error) = tell(&path, reply).await {
                let path = path.display();
                self.clerk
                    .log(Level::Warn, || format!("{path} is not answered: {error}"));
            }
        });
    }
}

/// A name in the directory for answers and nowhere else.
fn reply_path(dir: &Path, name: &[u8]) -> Option<PathBuf> {
    let is_plain = !name.is_empty() && !name.iter().any(|b| matches!(b, b'.' | b'/' | b'\\' | 0));
    let name = std::str::from_utf8(name).ok().filter(|_| is_plain)?;
    Some(dir.join(name))
}

async fn tell(path: &Path, reply: Reply) -> io::Result<()> {
    let mut sender = open(path).await?;
    spool::write(&mut sender, &reply.head).await?;
    reply.body.send(&mut sender).await
}

/// Opens the client's pipe as soon as the client reads from it.
async fn open(path: &Path) -> io::Result<pipe::Sender> {
    let mut tries = 1;
    loop {
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        match OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path)
        {
            Ok(file) => {
                let there = file.metadata()?;
                // A link or file would let whoever writes requests write elsewhere.
                if !there.file_type().is_fifo() || there.nlink() != 1 {
                    return Err(io::Error::other("it is no pipe"));
                }
                return pipe::Sender::from_file(file);
            }
            // Nobody reads yet.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && tries < OPEN_COUNT_MAX => {
                tries += 1;
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stay_in_their_directory() {
        let table = [
            ("kamailio_receiver_77", Some("/tmp/kamailio_receiver_77")),
            ("", None),
            ("..", None),
            ("a.b", None),
            ("../x", None),
            ("a/b", None),
            ("a\\b", None),
            ("a\0", None),
        ];
        for (name, want) in table {
            let got = reply_path(Path::new("/tmp/"), name.as_bytes());
            assert_eq!(got.as_deref(), want.map(Path::new), "{name:?}");
        }
    }
}
