//! SIP as the simulated user agents read and write it.
//!
//! Deliberately not `dialcore::sip`: what the proxy sends is read by `rsip` and a few lines of
//! plain text handling, so that a mistake in the proxy's parser is not mirrored by its judge.
//! Only long header names and unfolded lines are written here, and only they are expected back.

use std::net::SocketAddr;

use rsip::headers::UntypedHeader;

/// One message, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sip {
    /// Its first line.
    pub start: Start,
    /// Its header fields in order, names as written.
    pub headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub body: String,
}

/// The first line of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// `INVITE sip:b@b.example SIP/2.0`
    Request { method: String, uri: String },
    /// `SIP/2.0 200 OK`
    Response { status: u16 },
}

impl Sip {
    /// A request without headers.
    pub fn request(method: &str, uri: &str) -> Sip {
        Sip {
            start: Start::Request {
                method: method.into(),
                uri: uri.into(),
            },
            headers: Vec::with_capacity(12),
            body: String::new(),
        }
    }

    /// A response to `request` with what RFC 3261 §8.2.6.2 copies into it; `to_tag` is added when
    /// the request had none.
    pub fn response(request: &Sip, status: u16, to_tag: Option<&str>) -> Sip {
        let mut response = Sip {
            start: Start::Response { status },
            headers: Vec::with_capacity(10),
            body: String::new(),
        };
        for (name, value) in &request.headers {
            let mut value = value.clone();
            match name.as_str() {
                "Via" | "From" | "Call-ID" | "CSeq" => {}
                "Record-Route" if status > 100 => {}
                "To" => {
                    if let (None, Some(tag)) = (param(&value, "tag"), to_tag) {
                        value = format!("{value};tag={tag}");
                    }
                }
                _ => continue,
            }
            response.headers.push((name.clone(), value));
        }
        response
    }

    /// With one more header at the end.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Sip {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    pub fn with_body(mut self, body: &str) -> Sip {
        self.body = body.into();
        self.with("Content-Type", "application/sdp")
    }

    /// Reads a whole message; `None` when `rsip` or the lines below cannot.
    pub fn read(bytes: &[u8]) -> Option<Sip> {
        let (headers, body) = match rsip::SipMessage::try_from(bytes).ok()? {
            rsip::SipMessage::Request(r) => (r.headers, r.body),
            rsip::SipMessage::Response(r) => (r.headers, r.body),
        };
        Some(Sip {
            start: read_start(std::str::from_utf8(bytes).ok()?)?,
            headers: headers.iter().map(name_and_value).collect(),
            body: String::from_utf8(body).ok()?,
        })
    }

    /// The bytes for the wire, with the Content-Length that the body has.
    pub fn write(&self) -> Vec<u8> {
        let mut out = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { status } => format!("SIP/2.0 {status} {}\r\n", reason(*status)),
        };
        for (name, value) in &self.headers {
            if name != "Content-Length" {
                for part in [name, ": ", value, "\r\n"] {
                    out.push_str(part);
                }
            }
        }
        out.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        out.push_str(&self.body);
        out.into_bytes()
    }

    /// The method of a request, or of the request that a response answers.
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.first("CSeq").split_whitespace().nth(1).unwrap_or(""),
        }
    }

    /// The status, if this is a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status } => Some(status),
        }
    }

    /// The Request-URI; empty for a response.
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    /// The first value of a header as it stands; empty when there is none.
    pub fn first(&self, name: &str) -> &str {
        let line = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        line.map_or("", |(_, value)| value)
    }

    /// The values of a header, one for each line.
    pub fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The values of a header that may be a comma list. Nothing here puts a comma into quotes.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines(name).flat_map(|v| v.split(',')).map(str::trim)
    }

    /// Takes all lines of a header away.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Puts the first line of a header in place of the one there, or at the end.
    pub fn replace(&mut self, name: &str, value: String) {
        match self.headers.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.into(), value)),
        }
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        self.first("Call-ID")
    }

    /// The number of the CSeq; 0 when there is none.
    pub fn cseq(&self) -> u32 {
        let number = self.first("CSeq").split_whitespace().next();
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The branch of the topmost Via; empty when there is none.
    pub fn branch(&self) -> &str {
        self.values("Via")
            .next()
            .and_then(|v| param(v, "branch"))
            .unwrap_or("")
    }

    /// The tag of From or To; empty when it has none.
    pub fn tag_of(&self, name: &str) -> &str {
        param(self.first(name), "tag").unwrap_or("")
    }

    /// One line for a ladder or a violation.
    pub fn label(&self) -> String {
        match &self.start {
            Start::Request { method, .. } => format!("{method} ({})", self.cseq()),
            Start::Response { status } => format!("{status} {} ({})", self.method(), self.cseq()),
        }
    }
}

fn read_start(text: &str) -> Option<Start> {
    let mut words = text.lines().next()?.splitn(3, ' ');
    let (first, second) = (words.next()?, words.next()?);
    Some(match first {
        "SIP/2.0" => Start::Response {
            status: second.parse().ok()?,
        },
        method => Start::Request {
            method: method.into(),
            uri: second.into(),
        },
    })
}

fn name_and_value(header: &rsip::Header) -> (String, String) {
    let known = |name: &str, value: &str| (name.to_string(), value.to_string());
    match header {
        // The seven that are most frequent, without the detour through their printed form.
        rsip::Header::Via(h) => known("Via", h.value()),
        rsip::Header::From(h) => known("From", h.value()),
        rsip::Header::To(h) => known("To", h.value()),
        rsip::Header::CallId(h) => known("Call-ID", h.value()),
        rsip::Header::CSeq(h) => known("CSeq", h.value()),
        rsip::Header::Contact(h) => known("Contact", h.value()),
        rsip::Header::RecordRoute(h) => known("Record-Route", h.value()),
        other => {
            let line = other.to_string();
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            known(name.trim(), value.trim())
        }
    }
}

/// The Call-ID of bytes that need not be a message, as steering finds it: broken bytes may have one
/// for a lenient reader and none for steering.
pub fn call_id_of(bytes: &[u8]) -> &[u8] {
    dialcore::sip::scan::call_id(bytes).unwrap_or_default()
}

/// A parameter after a `;`, outside of `<>`; empty when it has no value.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let outside = value.rfind('>').map_or(value, |end| &value[end..]);
    outside.split(';').skip(1).find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then_some(v.trim())
    })
}

/// What stands between `<` and `>`, or before the first parameter.
pub fn uri_of(name_addr: &str) -> &str {
    match name_addr.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => name_addr.split(';').next().unwrap_or(name_addr).trim(),
    }
}

/// The host and port of a URI, as written.
pub fn host_of(uri: &str) -> &str {
    let rest = uri.strip_prefix("sip:").unwrap_or(uri);
    let rest = rest.split([';', '?', '>']).next().unwrap_or(rest);
    rest.split_once('@').map_or(rest, |(_, host)| host)
}

/// The address that a URI with a numeric host names.
pub fn addr_of(uri: &str) -> Option<SocketAddr> {
    let host = host_of(uri);
    host.parse()
        .ok()
        .or_else(|| format!("{host}:5060").parse().ok())
}

/// Whether a URI asks for TCP.
pub fn is_tcp(uri: &str) -> bool {
    uri.split(';')
        .any(|p| p.eq_ignore_ascii_case("transport=tcp"))
}

/// The host and port that a Via names, and its transport.
pub fn sent_by(via: &str) -> (Option<SocketAddr>, bool) {
    let mut words = via.split(';').next().unwrap_or("").split_whitespace();
    let is_tcp = words
        .next()
        .is_some_and(|p| p.eq_ignore_ascii_case("SIP/2.0/TCP"));
    (words.next().and_then(addr_of), is_tcp)
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200..=299 => "OK",
        302 => "Moved Temporarily",
        408 => "Request Timeout",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        491 => "Request Pending",
        603 => "Decline",
        _ => "Whatever",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let sip = Sip::request("INVITE", "sip:b@10.0.0.2:5060;transport=tcp")
            .with(
                "Via",
                "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK-1, SIP/2.0/TCP 10.0.0.3;branch=y",
            )
            .with("From", "<sip:a@sim.example;x=y>;tag=t1")
            .with("To", "<sip:b@sim.example>")
            .with("Call-ID", "7@sim")
            .with("CSeq", "12 INVITE")
            .with("X-Probe", "as: it, is")
            .with_body("v=0\r\n");
        let mut read = Sip::read(&sip.write()).expect("our own writing");
        read.remove("Content-Length");
        assert_eq!(read, sip);
        assert_eq!(
            (
                read.cseq(),
                read.branch(),
                read.tag_of("From"),
                read.tag_of("To")
            ),
            (12, "z9hG4bK-1", "t1", "")
        );
        assert_eq!(read.values("Via").count(), 2);
        assert_eq!(addr_of(read.uri()), "10.0.0.2:5060".parse().ok());
        assert!(is_tcp(read.uri()));
        assert_eq!(call_id_of(&sip.write()), b"7@sim");
        assert_eq!(Sip::read(b"\0\x01garbage"), None);
    }
}
