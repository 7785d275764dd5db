//! A message that has come, read once from front to end as far as an end must know it.

use memchr::{memchr, memmem};

use super::write::number;

/// Fields that an answer copies; carriers' proxies add a handful.
const COPIED_MAX: usize = 24;

/// The methods of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
}

impl Method {
    fn from_name(name: &[u8]) -> Option<Method> {
        Some(match name {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            _ => return None,
        })
    }
}

/// How a message begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    Request(Method),
    Response(u16),
}

type Span = (u32, u32);

/// A message as far as the load generator looks at it. Values are spans of the text.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) start: Start,
    /// The name of its call.
    pub(crate) number: u64,
    /// The method of the CSeq, which for requests is their own.
    pub(crate) method: Method,
    pub(crate) cseq: u32,
    pub(crate) via_count: u32,
    pub(crate) record_route_count: u32,
    pub(crate) route_count: u32,
    pub(crate) has_retry_after: bool,
    pub(crate) max_forwards: Option<u32>,
    pub(crate) content_length: Option<u32>,
    /// Of the lines that an answer copies, the To field, if that has no tag yet.
    pub(crate) untagged_to: Option<usize>,
    copied: [Span; COPIED_MAX],
    copied_count: usize,
    first_via: Span,
    last_via: Span,
    record_route: Span,
    from: Span,
    to: Span,
    head_size: usize,
}

/// Why a message is not of a call of this run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stranger {
    /// Another run's, or nobody's.
    Other,
    /// A call of ours, in a message that cannot be read.
    Unreadable,
}

impl<'a> Seen<'a> {
    /// Reads a message; `run` is what follows the number in a Call-ID of ours.
    pub(crate) fn read(text: &'a [u8], run: &[u8]) -> Result<Seen<'a>, Stranger> {
        let head_size = memmem::find(text, b"\r\n\r\n").ok_or(Stranger::Other)? + 4;
        let mut seen = Seen::begin(text, head_size).ok_or(Stranger::Other)?;
        let (mut at, mut call, mut cseq) = (seen.line_end(0), None, None);
        while at < head_size - 2 {
            let end = seen.line_end(at);
            let line = &text[at..end];
            let value = |name: usize| (at as u32 + name as u32, end as u32 - 2);
            match line {
                [b'V', b'i', b'a', b':', b' ', ..] => {
                    if seen.via_count == 0 {
                        seen.first_via = value(5);
                    }
                    (seen.last_via, seen.via_count) = (value(5), seen.via_count + 1);
                    seen.copy(at, end)?;
                }
                [b'F', b'r', b'o', b'm', b':', b' ', ..] => {
                    seen.from = value(6);
                    seen.copy(at, end)?;
                }
                [b'T', b'o', b':', b' ', ..] => {
                    seen.to = value(4);
                    if memmem::find(line, b";tag=").is_none() {
                        seen.untagged_to = Some(seen.copied_count);
                    }
                    seen.copy(at, end)?;
                }
                [b'C', b'a', b'l', b'l', b'-', b'I', b'D', b':', b' ', ..] => {
                    call = Some(value(9));
                    seen.copy(at, end)?;
                }
                [b'C', b'S', b'e', b'q', b':', b' ', ..] => {
                    cseq = Some(value(6));
                    seen.copy(at, end)?;
                }
                [b'R', ..] => seen.read_route(at, end, line)?,
                [b'M' | b'C', ..] => seen.read_number(line),
                _ => {}
            }
            at = end;
        }
        let call = seen.slice(call.ok_or(Stranger::Other)?);
        let digits = call.strip_prefix(b"p").and_then(|c| c.strip_suffix(run));
        seen.number = digits.and_then(number).ok_or(Stranger::Other)?;
        let cseq = cseq.and_then(|span| read_cseq(seen.slice(span)));
        (seen.cseq, seen.method) = cseq.ok_or(Stranger::Unreadable)?;
        Ok(seen)
    }

    fn begin(text: &'a [u8], head_size: usize) -> Option<Seen<'a>> {
        let start = match text.strip_prefix(b"SIP/2.0 ") {
            Some(rest) => Start::Response(u16::try_from(decimal(rest.get(..3)?)?).ok()?),
            None => Start::Request(Method::from_name(&text[..memchr(b' ', text)?])?),
        };
        Some(Seen {
            text,
            start,
            number: 0,
            method: Method::Invite,
            cseq: 0,
            via_count: 0,
            record_route_count: 0,
            route_count: 0,
            has_retry_after: false,
            max_forwards: None,
            content_length: None,
            untagged_to: None,
            copied: [(0, 0); COPIED_MAX],
            copied_count: 0,
            first_via: (0, 0),
            last_via: (0, 0),
            record_route: (0, 0),
            from: (0, 0),
            to: (0, 0),
            head_size,
        })
    }

    fn line_end(&self, start: usize) -> usize {
        let rest = &self.text[start..self.head_size];
        memchr(b'\n', rest).map_or(self.head_size, |at| start + at + 1)
    }

    fn copy(&mut self, start: usize, end: usize) -> Result<(), Stranger> {
        let slot = self.copied.get_mut(self.copied_count);
        *slot.ok_or(Stranger::Unreadable)? = (start as u32, end as u32);
        self.copied_count += 1;
        Ok(())
    }

    fn read_route(&mut self, start: usize, end: usize, line: &[u8]) -> Result<(), Stranger> {
        if line.starts_with(b"Record-Route: ") {
            if self.record_route_count == 0 {
                self.record_route = (start as u32 + 14, end as u32 - 2);
            }
            self.record_route_count += 1;
            return self.copy(start, end);
        }
        self.route_count += u32::from(line.starts_with(b"Route: "));
        self.has_retry_after |= line.starts_with(b"Retry-After: ");
        Ok(())
    }

    fn read_number(&mut self, line: &[u8]) {
        let value = |name: &[u8]| decimal(line.strip_prefix(name)?.strip_suffix(b"\r\n")?);
        if let Some(size) = value(b"Content-Length: ") {
            self.content_length = Some(size);
        } else if let Some(count) = value(b"Max-Forwards: ") {
            self.max_forwards = Some(count);
        }
    }

    fn slice(&self, (start, end): Span) -> &'a [u8] {
        &self.text[start as usize..(end as usize).max(start as usize)]
    }

    /// The lines that an answer copies, with their ends.
    pub(crate) fn copied_lines(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let spans = &self.copied[..self.copied_count];
        spans.iter().map(|span| self.slice(*span))
    }

    /// The topmost Via.
    pub(crate) fn first_via(&self) -> &'a [u8] {
        self.slice(self.first_via)
    }

    /// The lowest Via.
    pub(crate) fn last_via(&self) -> &'a [u8] {
        self.slice(self.last_via)
    }

    /// The topmost Record-Route, empty when there is none.
    pub(crate) fn record_route(&self) -> &'a [u8] {
        self.slice(self.record_route)
    }

    pub(crate) fn from(&self) -> &'a [u8] {
        self.slice(self.from)
    }

    pub(crate) fn to(&self) -> &'a [u8] {
        self.slice(self.to)
    }

    pub(crate) fn body(&self) -> &'a [u8] {
        &self.text[self.head_size..]
    }

    /// The Request-URI, empty in a response.
    pub(crate) fn target(&self) -> &'a [u8] {
        let line = &self.text[..memchr(b'\r', self.text).unwrap_or(0)];
        match self.start {
            Start::Request(_) => line.split(|b| *b == b' ').nth(1).unwrap_or_default(),
            Start::Response(_) => b"",
        }
    }
}

fn decimal(text: &[u8]) -> Option<u32> {
    let digit = |sum: u32, b: &u8| match b {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u32::from(b - b'0')),
        _ => None,
    };
    match text {
        [] => None,
        text => text.iter().try_fold(0, digit),
    }
}

fn read_cseq(text: &[u8]) -> Option<(u32, Method)> {
    let at = memchr(b' ', text)?;
    Some((decimal(&text[..at])?, Method::from_name(&text[at + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::write::{End, Fill, Request, Writer};
    use std::net::SocketAddr;

    fn writer() -> Writer {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Writer::new(address(1), address(2), "r")
    }

    fn request(request: Request) -> Vec<u8> {
        let fill = Fill {
            number: 42,
            route: b"<sip:p;lr>",
            to: b"<sip:x>;tag=y",
        };
        let mut text = Vec::new();
        writer().request(request, 0, fill, &mut text);
        text
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = request(Request::Bye);
        let seen = Seen::read(&text, b"@r").unwrap();
        assert_eq!(seen.start, Start::Request(Method::Bye));
        assert_eq!((seen.number, seen.cseq, seen.method), (42, 2, Method::Bye));
        assert_eq!((seen.via_count, seen.route_count), (1, 1));
        assert_eq!(seen.untagged_to, None);
        assert_eq!(
            (seen.max_forwards, seen.content_length),
            (Some(70), Some(0))
        );
        assert_eq!(seen.target(), b"sip:callee@127.0.0.1:2");
        assert!(seen.body().is_empty());
    }

    #[test]
    fn an_answer_bears_what_it_must() {
        let text = request(Request::Invite);
        let invite = Seen::read(&text, b"@r").unwrap();
        let mut text = Vec::new();
        writer().answer(End::Callee, &invite, ("200", "OK"), true, &mut text);
        let ok = Seen::read(&text, b"@r").unwrap();
        assert_eq!(ok.start, Start::Response(200));
        assert_eq!((ok.number, ok.cseq, ok.method), (42, 1, Method::Invite));
        assert_eq!(ok.first_via(), invite.first_via());
        assert_eq!(ok.from(), invite.from());
        assert!(ok.to().ends_with(b";tag=b000000000000002a"));
        assert_eq!(ok.body(), invite.body());
        assert_eq!(ok.content_length, Some(ok.body().len() as u32));
    }

    #[test]
    fn strangers_are_told_apart() {
        let text = request(Request::Invite);
        assert_eq!(Seen::read(&text, b"@s").unwrap_err(), Stranger::Other);
        assert_eq!(Seen::read(b"\0\0", b"@r").unwrap_err(), Stranger::Other);
        let text = String::from_utf8(text).unwrap();
        let broken = text.replace("CSeq: 1", "CSeq: x");
        let error = Seen::read(broken.as_bytes(), b"@r").unwrap_err();
        assert_eq!(error, Stranger::Unreadable);
        // Whatever is cut off, nothing panics.
        for size in 0..text.len() {
            let _ = Seen::read(&text.as_bytes()[..size], b"@r");
        }
    }
}
