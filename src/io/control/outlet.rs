//! The way out for an answer in JSON that is longer than anybody wants to keep: it leaves in pieces
//! while it comes about.
//!
//! As long as nothing has left, the answer may still become a fault, and a short one has its
//! length in front. A longer one goes over HTTP in chunks (RFC 9112 §7.1); when it fails halfway
//! the last chunk is missing, and the client knows.

use std::io;

use tokio::io::AsyncWrite;

use super::sheet::Reply;
use super::spool::{self, Spool};
use crate::effect::HttpFrame;
use crate::effect::rpc::Fault;

/// The type of every answer over HTTP.
const JSON: &[u8] = b"application/json";

/// Where an answer goes.
pub(crate) struct Outlet<'a> {
    stream: &'a mut (dyn AsyncWrite + Unpin),
    /// What stands around an answer of HTTP; `None`: nothing, and its end is that of the stream.
    frame: Option<&'a HttpFrame>,
    has_begun: bool,
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(
        stream: &'a mut (dyn AsyncWrite + Unpin),
        frame: Option<&'a HttpFrame>,
    ) -> Self {
        Outlet {
            stream,
            frame,
            has_begun: false,
        }
    }

    /// Whether something has left: then it is too late for a fault.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the end of the stream is the end of the answer.
    pub(crate) fn is_last(&self) -> bool {
        let is_open = |f: &HttpFrame| !f.is_last && (f.version > 0 || !self.has_begun);
        !self.frame.is_some_and(is_open)
    }

    /// Sends what has come about so far.
    pub(crate) async fn more(&mut self, piece: Spool) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some(frame) = self.frame
        {
            let mut head = Vec::new();
            frame.begin(200, b"OK", JSON, &mut head);
            head.extend_from_slice(match frame.version {
                0 => b"\r\n",
                _ => b"Transfer-Encoding: chunked\r\n\r\n",
            });
            spool::write(self.stream, &head).await?;
        }
        let wants_body = self.frame.is_none_or(|frame| frame.has_body);
        if piece.size() == 0 || !wants_body {
            return Ok(());
        }
        if !self.is_chunked() {
            return piece.send(self.stream).await;
        }
        let size = format!("{:x}\r\n", piece.size());
        spool::write(self.stream, size.as_bytes()).await?;
        piece.send(self.stream).await?;
        spool::write(self.stream, b"\r\n").await
    }

    fn is_chunked(&self) -> bool {
        self.frame
            .is_some_and(|frame| frame.version > 0 && frame.has_body)
    }

    /// Sends the end of an answer, or all of it.
    pub(crate) async fn end(&mut self, reply: Reply) -> io::Result<()> {
        if self.has_begun {
            self.more(reply.body).await?;
            return match self.is_chunked() {
                true => spool::write(self.stream, b"0\r\n\r\n").await,
                false => Ok(()),
            };
        }
        self.whole((200, "OK"), reply).await
    }

    /// Sends a fault. Over HTTP its number and words are the status, as in the original.
    pub(crate) async fn fault(&mut self, fault: &Fault, reply: Reply) -> io::Result<()> {
        let status = u16::try_from(fault.code)
            .ok()
            .filter(|code| (101..=699).contains(code));
        self.whole((status.unwrap_or(500), &fault.text), reply)
            .await
    }

    async fn whole(&mut self, (status, reason): (u16, &str), reply: Reply) -> io::Result<()> {
        let Reply { head, body } = reply;
        if let Some(frame) = self.frame {
            let mut begin = Vec::new();
            frame.begin(status, reason.as_bytes(), JSON, &mut begin);
            frame.length(head.len() as u64 + body.size(), &mut begin);
            spool::write(self.stream, &begin).await?;
            if !frame.has_body {
                return Ok(());
            }
        }
        spool::write(self.stream, &head).await?;
        body.send(self.stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What leaves of an answer in these pieces.
    fn sent(frame: Option<&HttpFrame>, pieces: &[&str], end: Result<&str, Fault>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut out = Vec::new();
        let reply = |text: &str| Reply {
            head: Vec::new(),
            body: Spool::of(text.as_bytes().to_vec()),
        };
        runtime.block_on(async {
            let mut outlet = Outlet::new(&mut out, frame);
            for piece in pieces {
                let piece = Spool::of(piece.as_bytes().to_vec());
                outlet.more(piece).await.unwrap();
            }
            match end {
                Ok(text) => outlet.end(reply(text)).await.unwrap(),
                Err(fault) => outlet.fault(&fault, reply("fault")).await.unwrap(),
            }
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_are_framed() {
        let frame = |version, has_body, is_last| HttpFrame {
            version,
            fields: b"Sia: x\r\n".as_slice().into(),
            server: b"Server: y\r\n".as_slice().into(),
            is_last,
            has_body,
        };
        let (usual, old, head) = (
            frame(1, true, false),
            frame(0, true, true),
            frame(1, false, false),
        );
        let fields = "Sia: x\r\nContent-Type: application/json\r\nServer: y\r\n";
        let gone = Fault::new(404, "Not\r\nFound");
        let odd = Fault::new(-32_000, "Execution Error");
        let table = [
            (None, &[][..], Ok("abc"), "abc".to_owned()),
            (None, &["ab", "c"], Ok("d"), "abcd".to_owned()),
            (None, &[], Err(gone.clone()), "fault".to_owned()),
            (
                Some(&usual),
                &[],
                Ok("abc"),
                format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 3\r\n\r\nabc"),
            ),
            (
                Some(&usual),
                &["abc", "0123456789abcdef"],
                Ok("d"),
                format!(
                    "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n\
                     3\r\nabc\r\n10\r\n0123456789abcdef\r\n1\r\nd\r\n0\r\n\r\n"
                ),
            ),
            (
                Some(&old),
                &["abc"],
                Ok("d"),
                format!("HTTP/1.0 200 OK\r\n{fields}Connection: close\r\n\r\nabcd"),
            ),
            (
                Some(&head),
                &["abc"],
                Ok("d"),
                format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"),
            ),
            (
                Some(&head),
                &[],
                Ok("abc"),
                format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 3\r\n\r\n"),
            ),
            (
                Some(&usual),
                &[],
                Err(gone),
                format!("HTTP/1.1 404 NotFound\r\n{fields}Content-Length: 5\r\n\r\nfault"),
            ),
            (
                Some(&usual),
                &[],
                Err(odd),
                format!("HTTP/1.1 500 Execution Error\r\n{fields}Content-Length: 5\r\n\r\nfault"),
            ),
        ];
        for (frame, pieces, end, want) in table {
            assert_eq!(sent(frame, pieces, end), want);
        }
    }
}
