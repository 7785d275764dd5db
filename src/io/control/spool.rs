//! Bytes of an answer: in memory while they are few, beyond that in a file without a name.
//!
//! The length of a packet of binary RPC stands in its header, so an answer must be whole before
//! its first byte can leave; the list of a million calls is half a gigabyte.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::limits::{RPC_ANSWER_MEMORY_MAX, RPC_ANSWER_SIZE_MAX, RPC_WRITE_TIMEOUT};

/// Bytes written at once; a reader has to take as many within the write timeout.
const CHUNK_SIZE: usize = 64 << 10;

/// What has been put in.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    size: u64,
}

impl Spool {
    /// These bytes.
    pub(crate) fn of(memory: Vec<u8>) -> Spool {
        let size = memory.len() as u64;
        Spool {
            memory,
            file: None,
            size,
        }
    }

    /// How many bytes there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Puts bytes behind the others.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        if self.size > RPC_ANSWER_SIZE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.memory.extend_from_slice(bytes);
        if self.memory.len() < RPC_ANSWER_MEMORY_MAX {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless()?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }

    /// All of it, when it is in memory: what is too long for a datagram is not.
    pub(crate) fn short(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.memory)
    }

    /// Writes all of it. A reader that takes too long ends it.
    pub(crate) async fn send(
        mut self,
        out: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.rewind()?;
            let mut chunk = vec![0; CHUNK_SIZE];
            loop {
                let size = file.read(&mut chunk)?;
                if size == 0 {
                    break;
                }
                write(out, &chunk[..size]).await?;
            }
        }
        for chunk in self.memory.chunks(CHUNK_SIZE) {
            write(out, chunk).await?;
        }
        Ok(())
    }
}

/// Writes bytes within the time a reader has.
pub(crate) async fn write(
    out: &mut (impl AsyncWrite + Unpin + ?Sized),
    bytes: &[u8],
) -> io::Result<()> {
    let limit = Duration::from_nanos(RPC_WRITE_TIMEOUT.as_nanos());
    timeout(limit, out.write_all(bytes))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

fn nameless() -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE)
        .open(std::env::temp_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for count in [0, 1, 1_000, 300_000] {
            let (mut spool, mut want) = (Spool::default(), vec![]);
            for n in 0..count {
                let bytes = format!("{n},");
                spool.put(bytes.as_bytes()).unwrap();
                want.extend_from_slice(bytes.as_bytes());
            }
            assert_eq!(spool.size(), want.len() as u64);
            assert!(spool.memory.capacity() <= 2 * RPC_ANSWER_MEMORY_MAX);
            assert_eq!(spool.short().is_some(), want.len() < RPC_ANSWER_MEMORY_MAX);
            let mut got = vec![];
            runtime.block_on(spool.send(&mut got)).unwrap();
            assert!(got == want, "{count} numbers");
        }
    }
}
