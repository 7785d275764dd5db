//! Cuts a byte stream into messages (RFC 3261 §18.3), keep-alives (RFC 5626 §4.4.1) and requests
//! of HTTP (RFC 9112 §6), which may come on the same stream.
//!
//! A message ends where its Content-Length says; a stream without one cannot be cut and is closed,
//! unless `tcp_accept_no_cl` says that such a message has no body.
//! Memory is bounded by one message and what was fed last. A byte is looked at once however
//! slowly the stream drips: the search for the end of the header goes on where it stopped.

use memchr::memchr;

use super::error::{FrameError, HttpRefusal};
use super::http;
use super::scan::{self, Length};
use crate::limits;

/// One thing cut from a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// A whole request of HTTP.
    Http(&'a [u8]),
    /// An HTTP client that wants to hear of a 100 before it sends the body (RFC 9110 §10.1.1).
    Continue,
    /// A keep-alive of two line ends; to be answered with one (RFC 5626 §4.4.1).
    Ping,
}

/// The state of one stream.
#[derive(Clone, Default, Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes of the buffer that have been given out.
    start: usize,
    /// Where the line begins at which the search for the empty line goes on.
    line: usize,
    /// How far that line has been searched for its end.
    searched: usize,
    /// Where the message ends, once its header is complete.
    end: Option<usize>,
    /// Whether it is one of HTTP, once its header is complete.
    is_http: bool,
    /// Whether its sender waits for a 100.
    waits: bool,
    /// `tcp_accept_no_cl`: without Content-Length there is no body.
    accepts_no_length: bool,
    error: Option<FrameError>,
}

impl Framer {
    /// A stream of which nothing has come yet; it takes memory with the first byte.
    pub const fn new() -> Framer {
        Framer {
            buffer: Vec::new(),
            start: 0,
            line: 0,
            searched: 0,
            end: None,
            is_http: false,
            waits: false,
            accepts_no_length: false,
            error: None,
        }
    }

    /// The same with `tcp_accept_no_cl`.
    pub const fn accepting_no_length(mut self, accepts: bool) -> Framer {
        self.accepts_no_length = accepts;
        self
    }

    /// Adds what was received. Take all frames out before the next call: what is left then is
    /// less than one message.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        self.buffer.drain(..self.start);
        self.line -= self.start;
        self.searched -= self.start;
        self.end = self.end.map(|end| end - self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` when more bytes are needed. After an error the stream has lost its
    /// bounds: it gives the same error for ever and is to be closed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.line == self.start {
            match self.skip_line_ends() {
                Between::Ping => return Ok(Some(Frame::Ping)),
                Between::Nothing => return Ok(None),
                Between::Message => {}
            }
        }
        match self.message_end() {
            Ok(Some(end)) => {
                let start = std::mem::replace(&mut self.start, end);
                (self.line, self.searched, self.end) = (end, end, None);
                self.waits = false;
                let bytes = &self.buffer[start..end];
                Ok(Some(match std::mem::take(&mut self.is_http) {
                    true => Frame::Http(bytes),
                    false => Frame::Message(bytes),
                }))
            }
            Ok(None) if std::mem::take(&mut self.waits) => Ok(Some(Frame::Continue)),
            Ok(None) => Ok(None),
            Err(error) => {
                *self = Framer {
                    error: Some(error),
                    ..Framer::new()
                };
                Err(error)
            }
        }
    }

    /// Passes over line ends between messages (§7.5).
    fn skip_line_ends(&mut self) -> Between {
        loop {
            match self.buffer[self.start..] {
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    self.step(4);
                    return Between::Ping;
                }
                // Half of a keep-alive may be all that has come.
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Between::Nothing,
                [b'\r', b'\n', ..] => self.step(2),
                [b'\n' | b'\r', ..] => self.step(1),
                _ => return Between::Message,
            }
        }
    }

    fn step(&mut self, n: usize) {
        self.start += n;
        (self.line, self.searched) = (self.start, self.start);
    }

    /// Where the message that begins at `start` ends, once all of it is there.
    fn message_end(&mut self) -> Result<Option<usize>, FrameError> {
        if self.end.is_none()
            && let Some(body) = self.header_end()
        {
            let header = &self.buffer[self.start..body];
            self.is_http = http::is_request(header);
            let size = match self.is_http {
                true => {
                    let head = http::head(header, self.accepts_no_length)?;
                    self.waits = head.waits;
                    head.body_size
                }
                false => match scan::content_length(header) {
                    Length::Bytes(n) => n,
                    Length::Absent if self.accepts_no_length => 0,
                    Length::Absent => return Err(FrameError::NoContentLength),
                    Length::Bad => return Err(FrameError::BadContentLength),
                },
            };
            self.end = Some(body.saturating_add(size));
        }
        let needed = self.end.unwrap_or(self.buffer.len());
        if needed - self.start > limits::MESSAGE_SIZE_MAX {
            return Err(self.too_large());
        }
        Ok(self.end.filter(|end| *end <= self.buffer.len()))
    }

    fn too_large(&self) -> FrameError {
        match self.end {
            Some(_) if self.is_http => FrameError::Http(HttpRefusal::TooLarge),
            None if http::is_request(&self.buffer[self.start..]) => {
                FrameError::Http(HttpRefusal::HeaderTooLarge)
            }
            Some(_) | None => FrameError::TooLarge,
        }
    }

    /// Goes on looking for the empty line; gives what comes behind it.
    fn header_end(&mut self) -> Option<usize> {
        loop {
            let Some(more) = memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                return None;
            };
            let line = &self.buffer[self.line..self.searched + more];
            let is_empty = matches!(line, [] | [b'\r']);
            self.searched += more + 1;
            self.line = self.searched;
            if is_empty {
                return Some(self.line);
            }
        }
    }
}

/// What stands where a message may begin.
enum Between {
    /// A keep-alive, which has been passed over.
    Ping,
    /// Nothing yet that tells.
    Nothing,
    /// The first byte of a message.
    Message,
}

/// The first byte says how large the pieces are in which the rest comes: what is cut out does not
/// depend on it.
pub fn fuzz_frame(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let (whole, pieces) = (cut(stream, stream.len().max(1)), cut(stream, piece));
    assert_eq!(
        whole, pieces,
        "frames depend on how the bytes come, {piece} at once"
    );
    for frame in whole.0.iter().flatten() {
        assert!(
            stream.windows(frame.len()).any(|w| w == frame),
            "a frame from nowhere"
        );
    }
}

/// All frames of a stream that comes in pieces, `None` for a keep-alive, and how it ended.
fn cut(stream: &[u8], piece: usize) -> (Vec<Option<Vec<u8>>>, Option<FrameError>) {
    let (mut framer, mut frames) = (Framer::new(), vec![]);
    for bytes in stream.chunks(piece) {
        framer.feed(bytes);
        loop {
            match framer.next_frame() {
                Ok(Some(Frame::Message(bytes) | Frame::Http(bytes))) => {
                    frames.push(Some(bytes.to_vec()));
                }
                Ok(Some(Frame::Ping)) => frames.push(None),
                // Whether it is needed depends on how much of the body has come.
                Ok(Some(Frame::Continue)) => {}
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_cut_where_the_length_says() {
        type Row = (
            &'static str,
            &'static [Option<&'static str>],
            Option<FrameError>,
        );
        let table: [Row; 21] = [
            ("A\r\nl:0\r\n\r\n", &[Some("A\r\nl:0\r\n\r\n")], None),
            ("A\r\nl:2\r\n\r\nxy", &[Some("A\r\nl:2\r\n\r\nxy")], None),
            (
                "A\nl:1\n\nxB\nl:0\n\n",
                &[Some("A\nl:1\n\nx"), Some("B\nl:0\n\n")],
                None,
            ),
            (
                "A\r\nContent-Length :\r\n 1\r\n\r\nx",
                &[Some("A\r\nContent-Length :\r\n 1\r\n\r\nx")],
                None,
            ),
            ("A\r\nl:3\r\n\r\nxy", &[], None),
            ("A\r\nl:0\r\n", &[], None),
            ("\r\n\r\n", &[None], None),
            ("\r\n\r\n\r\n\r\n\r\n", &[None, None], None),
            ("\r\n", &[], None),
            (
                "\r\nA\r\nl:0\r\n\r\n\r\n\r\n",
                &[Some("A\r\nl:0\r\n\r\n"), None],
                None,
            ),
            ("\nA\r\nl:0\r\n\r\n", &[Some("A\r\nl:0\r\n\r\n")], None),
            ("A\r\n\r\n", &[], Some(FrameError::NoContentLength)),
            ("A\r\nl:-9\r\n\r\n", &[], Some(FrameError::BadContentLength)),
            (
                "A\r\nl:1\r\nl:2\r\n\r\n",
                &[],
                Some(FrameError::BadContentLength),
            ),
            ("A\r\nl:65535\r\n\r\n", &[], Some(FrameError::TooLarge)),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxA\r\nl:0\r\n\r\n",
                &[
                    Some("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"),
                    Some("A\r\nl:0\r\n\r\n"),
                ],
                None,
            ),
            (
                "GET / HTTP/1.1\r\n\r\n",
                &[],
                Some(FrameError::Http(HttpRefusal::NoContentLength)),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                &[],
                Some(FrameError::Http(HttpRefusal::NoContentLength)),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 65535\r\n\r\n",
                &[],
                Some(FrameError::Http(HttpRefusal::TooLarge)),
            ),
            (
                "GET /a b HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                &[],
                Some(FrameError::Http(HttpRefusal::Malformed)),
            ),
            (
                "GET / HTTP/2.0\r\nContent-Length: 0\r\n\r\n",
                &[],
                Some(FrameError::Http(HttpRefusal::Version)),
            ),
        ];
        for (stream, want, error) in table {
            for piece in 1..=stream.len() {
                let (frames, end) = cut(stream.as_bytes(), piece);
                let got: Vec<_> = frames.iter().map(Option::as_deref).collect();
                let want: Vec<_> = want.iter().map(|f| f.map(str::as_bytes)).collect();
                assert_eq!((got, end), (want, error), "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn without_a_length_there_is_no_body_where_that_is_allowed() {
        let mut framer = Framer::new().accepting_no_length(true);
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let options = b"OPTIONS sip:a SIP/2.0\r\n\r\n";
        framer.feed(&[&get[..], options].concat());
        assert_eq!(framer.next_frame(), Ok(Some(Frame::Http(get))));
        assert_eq!(framer.next_frame(), Ok(Some(Frame::Message(options))));
        assert_eq!(framer.next_frame(), Ok(None));
    }

    #[test]
    fn a_client_that_waits_is_told_to_go_on_once() {
        let head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        let mut framer = Framer::new();
        framer.feed(head);
        assert_eq!(framer.next_frame(), Ok(Some(Frame::Continue)));
        assert_eq!(framer.next_frame(), Ok(None));
        framer.feed(b"x");
        assert_eq!(framer.next_frame(), Ok(None));
        framer.feed(b"y");
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Http(_)))));
    }

    #[test]
    fn a_stream_that_never_ends_a_header_is_closed() {
        let mut framer = Framer::new();
        for _ in 0..limits::MESSAGE_SIZE_MAX / 5 {
            framer.feed(b"X: y\n");
            assert_eq!(framer.next_frame(), Ok(None));
        }
        framer.feed(b"X");
        for _ in 0..2 {
            assert_eq!(framer.next_frame(), Err(FrameError::TooLarge));
            framer.feed(b"OPTIONS");
        }
        assert!(framer.buffer.is_empty(), "a dead stream keeps no memory");
    }
}
