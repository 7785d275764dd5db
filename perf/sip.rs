//! The messages of one call, written and read as cheaply as an honest peer can.
//!
//! A call is named by its Call-ID, `p<number>@<run>`; tags and branches derive from the number, so
//! that an answer can be checked without keeping what it answers.

use memchr::memmem;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A request, by its method.
    Request(Method),
    /// A response: status, and method of the CSeq.
    Response(u16, Method),
}

/// The methods of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// INVITE.
    Invite,
    /// ACK.
    Ack,
    /// BYE.
    Bye,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
        }
    }

    fn from_name(name: &[u8]) -> Option<Method> {
        [Method::Invite, Method::Ack, Method::Bye]
            .into_iter()
            .find(|m| m.name().as_bytes() == name)
    }
}

/// A message as far as the load generator looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// The number of its call.
    pub(crate) call: u64,
    /// All of it.
    pub(crate) text: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Reads a message of a call of ours.
    pub(crate) fn read(text: &'a [u8]) -> Option<Seen<'a>> {
        let id = field(text, b"\r\nCall-ID: p")?;
        let digits = id.split(|b| *b == b'@').next()?;
        let call = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let cseq = field(text, b"\r\nCSeq: ")?;
        let method = cseq.split(|b| *b == b' ').next_back()?;
        let method = Method::from_name(method)?;
        let kind = match text.strip_prefix(b"SIP/2.0 ") {
            Some(rest) => {
                let status = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
                Kind::Response(status, method)
            }
            None => Kind::Request(method),
        };
        Some(Seen { kind, call, text })
    }

    /// The values of all fields of a name, whole lines, in order.
    fn lines(&self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let text = self.text;
        memmem::find_iter(text, name).map(move |at| {
            let line = &text[at + 2..];
            let end = memmem::find(line, b"\r\n").unwrap_or(line.len());
            &line[..end]
        })
    }

    /// How many Via fields it bears.
    pub(crate) fn via_count(&self) -> usize {
        self.lines(b"\r\nVia: ").count()
    }

    /// Its route set as values of Route, from a 2xx: the Record-Routes from below (RFC 3261
    /// §12.1.2).
    pub(crate) fn routes(&self) -> String {
        let value = |line: &[u8]| String::from_utf8_lossy(&line[14..]).into_owned();
        let mut values: Vec<String> = self.lines(b"\r\nRecord-Route: ").map(value).collect();
        values.reverse();
        values.join(", ")
    }

    /// Whether the tags are those of the call.
    pub(crate) fn has_tags(&self) -> bool {
        let tag = |field: &[u8], tag: String| {
            memmem::find(field, tag.as_bytes()).is_some_and(|at| at + tag.len() == field.len())
        };
        let from = field(self.text, b"\r\nFrom: ");
        let to = field(self.text, b"\r\nTo: ");
        from.is_some_and(|f| tag(f, format!(";tag=a{}", self.call)))
            && to.is_some_and(|t| tag(t, format!(";tag=b{}", self.call)))
    }
}

fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(text, name)? + name.len();
    let rest = &text[at..];
    Some(&rest[..memmem::find(rest, b"\r\n")?])
}

/// The two ends and the proxy between them.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    /// `host:port` of the caller.
    pub(crate) caller: String,
    /// The same of the callee.
    pub(crate) callee: String,
    /// Makes Call-IDs differ from those of other runs.
    pub(crate) run: String,
}

const BODY: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

impl Ends {
    /// A request of the caller. `routes` is its route set, empty before the answer.
    pub(crate) fn request(&self, method: Method, call: u64, routes: &str) -> Vec<u8> {
        let Ends {
            caller,
            callee,
            run,
        } = self;
        let name = method.name();
        let (number, branch) = match method {
            Method::Invite => (1, format!("z9hG4bKi{call}")),
            Method::Ack => (1, format!("z9hG4bKa{call}")),
            Method::Bye => (2, format!("z9hG4bKb{call}")),
        };
        let to_tag = match method {
            Method::Invite => String::new(),
            Method::Ack | Method::Bye => format!(";tag=b{call}"),
        };
        let route = match routes {
            "" => String::new(),
            routes => format!("Route: {routes}\r\n"),
        };
        let user = call % 1_000;
        let (kind, body) = match method {
            Method::Invite => ("Content-Type: application/sdp\r\n", BODY),
            Method::Ack | Method::Bye => ("", ""),
        };
        format!(
            "{name} sip:callee@{callee} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {caller};branch={branch}\r\n{route}\
             From: <sip:user{user}@example.com>;tag=a{call}\r\n\
             To: <sip:callee@example.com>{to_tag}\r\n\
             Call-ID: p{call}@{run}\r\nCSeq: {number} {name}\r\n\
             Contact: <sip:user{user}@{caller}>\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// The callee's answer to a request.
    pub(crate) fn answer(&self, request: &Seen<'_>, status: u16, with_body: bool) -> Vec<u8> {
        let reason = if status == 180 { "Ringing" } else { "OK" };
        let mut out = format!("SIP/2.0 {status} {reason}\r\n").into_bytes();
        let tag = format!(";tag=b{}", request.call);
        let head = memmem::find(request.text, b"\r\n\r\n").unwrap_or(request.text.len());
        for line in request.text[..head].split(|b| *b == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let is_copied = [
                &b"Via:"[..],
                b"Record-Route:",
                b"From:",
                b"To:",
                b"Call-ID:",
                b"CSeq:",
            ]
            .iter()
            .any(|name| line.starts_with(name));
            if !is_copied {
                continue;
            }
            out.extend_from_slice(line);
            let lacks_tag = line.starts_with(b"To:") && memmem::find(line, b";tag=").is_none();
            if lacks_tag {
                out.extend_from_slice(tag.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        let body = if with_body { BODY } else { "" };
        let kind = if with_body {
            "Content-Type: application/sdp\r\n"
        } else {
            ""
        };
        let rest = format!(
            "Contact: <sip:callee@{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.callee,
            body.len()
        );
        out.extend_from_slice(rest.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let ends = Ends {
            caller: "127.0.0.1:1".into(),
            callee: "127.0.0.1:2".into(),
            run: "r".into(),
        };
        let invite = ends.request(Method::Invite, 42, "");
        let seen = Seen::read(&invite).expect("an INVITE");
        assert_eq!((seen.kind, seen.call), (Kind::Request(Method::Invite), 42));
        let ok = ends.answer(&seen, 200, true);
        let seen = Seen::read(&ok).expect("a response");
        assert_eq!(seen.kind, Kind::Response(200, Method::Invite));
        assert!(seen.has_tags() && seen.via_count() == 1);
        let bye = ends.request(Method::Bye, 42, "<sip:p;lr>");
        let seen = Seen::read(&bye).expect("a BYE");
        assert!(seen.has_tags());
        assert!(Seen::read(b"OPTIONS sip:x SIP/2.0\r\n\r\n").is_none());
    }
}
