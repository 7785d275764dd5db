//! Changing parts of a URI: what assigning `$rU`, `$rd`, `$rp` and the `rewrite*` functions of the
//! core have in common. The other parts stay byte for byte (RFC 3261 §19.1).

use crate::sip::{Uri, UriError};

/// One part of a URI and what it is to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// The user; `None` takes it out, with its password.
    User(Option<&'a [u8]>),
    /// User and password, `user[:password]`.
    UserPassword(&'a [u8]),
    /// The host; the port stays.
    Host(&'a [u8]),
    /// The port; `None` takes it out.
    Port(Option<u16>),
    /// `host[:port]`; without a port the URI has none either.
    HostPort(&'a [u8]),
    /// `host[:port][;transport=..]`.
    HostPortTransport(&'a [u8]),
    /// Put in front of the user.
    Prefix(&'a [u8]),
    /// So many characters less at the beginning of the user.
    Strip(usize),
    /// So many characters less at its end.
    StripTail(usize),
    /// A parameter put behind the others.
    Param(&'a [u8]),
}

/// The URI with one part changed; an error when either is no URI.
pub fn changed(uri: &[u8], part: Part<'_>) -> Result<Vec<u8>, UriError> {
    let joined: Vec<u8>;
    let mut new = Uri::parse(uri)?;
    match part {
        Part::User(user) => {
            // An empty one goes below, and the password with it.
            new.user = Some(user.unwrap_or_default());
        }
        Part::UserPassword(text) => {
            let colon = text.iter().position(|b| *b == b':');
            new.user = Some(&text[..colon.unwrap_or(text.len())]);
            new.password = colon.map(|at| &text[at + 1..]);
        }
        Part::Host(host) => new.host = host,
        Part::Port(port) => new.port = port,
        Part::HostPort(text) => (new.host, new.port) = host_port(text)?,
        Part::HostPortTransport(text) => {
            let semicolon = text.iter().position(|b| *b == b';').unwrap_or(text.len());
            (new.host, new.port) = host_port(&text[..semicolon])?;
            // The new transport comes first, as the original has it.
            let transport = text[semicolon..].strip_prefix(b";").unwrap_or_default();
            joined = with_params(transport.to_vec(), &without_transport(new.params));
            new.params = &joined;
        }
        Part::Prefix(prefix) => {
            joined = [prefix, new.user.unwrap_or_default()].concat();
            new.user = Some(&joined);
        }
        Part::Strip(n) => new.user = new.user.map(|u| &u[n.min(u.len())..]),
        Part::StripTail(n) => new.user = new.user.map(|u| &u[..u.len().saturating_sub(n)]),
        Part::Param(param) => {
            joined = with_params(new.params.to_vec(), param);
            new.params = &joined;
        }
    }
    if new.user.is_some_and(<[u8]>::is_empty) {
        (new.user, new.password) = (None, None);
    }
    let mut out = Vec::with_capacity(uri.len() + 32);
    new.write(&mut out);
    Uri::parse(&out)?;
    Ok(out)
}

/// `host[:port]`, brackets around IPv6.
fn host_port(text: &[u8]) -> Result<(&[u8], Option<u16>), UriError> {
    let after_bracket = text.iter().position(|b| *b == b']').map_or(0, |at| at + 1);
    match text[after_bracket..].iter().position(|b| *b == b':') {
        None => Ok((text, None)),
        Some(at) => {
            let (host, port) = text.split_at(after_bracket + at);
            let port = std::str::from_utf8(&port[1..])
                .ok()
                .and_then(|p| p.parse().ok());
            port.map(|p| (host, Some(p))).ok_or(UriError::Port)
        }
    }
}

fn without_transport(params: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    for param in params.split(|b| *b == b';') {
        let name = param.split(|b| *b == b'=').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"transport") && !param.is_empty() {
            out = with_params(out, param);
        }
    }
    out
}

fn with_params(mut params: Vec<u8>, more: &[u8]) -> Vec<u8> {
    let more = more.strip_prefix(b";").unwrap_or(more);
    if !params.is_empty() && !more.is_empty() {
        params.push(b';');
    }
    params.extend_from_slice(more);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_changes_and_the_others_stay() {
        let plain = "sip:u:pw@h.test:5070;transport=tcp;x=1?h=v";
        let bare = "sip:h.test";
        let table = [
            (
                plain,
                Part::User(Some(b"v")),
                "sip:v:pw@h.test:5070;transport=tcp;x=1?h=v",
            ),
            (
                plain,
                Part::User(None),
                "sip:h.test:5070;transport=tcp;x=1?h=v",
            ),
            (bare, Part::User(Some(b"v")), "sip:v@h.test"),
            (
                plain,
                Part::UserPassword(b"a:b"),
                "sip:a:b@h.test:5070;transport=tcp;x=1?h=v",
            ),
            (
                plain,
                Part::UserPassword(b"a"),
                "sip:a@h.test:5070;transport=tcp;x=1?h=v",
            ),
            (
                plain,
                Part::Host(b"k.test"),
                "sip:u:pw@k.test:5070;transport=tcp;x=1?h=v",
            ),
            (bare, Part::Host(b"[2001:db8::1]"), "sip:[2001:db8::1]"),
            (bare, Part::Host(b"a b"), ""),
            (
                plain,
                Part::Port(None),
                "sip:u:pw@h.test;transport=tcp;x=1?h=v",
            ),
            (bare, Part::Port(Some(7)), "sip:h.test:7"),
            (
                plain,
                Part::HostPort(b"k:6"),
                "sip:u:pw@k:6;transport=tcp;x=1?h=v",
            ),
            (
                plain,
                Part::HostPort(b"k"),
                "sip:u:pw@k;transport=tcp;x=1?h=v",
            ),
            (
                bare,
                Part::HostPort(b"[2001:db8::1]:6"),
                "sip:[2001:db8::1]:6",
            ),
            (bare, Part::HostPort(b"k:x"), ""),
            (
                plain,
                Part::HostPortTransport(b"k:6;transport=udp"),
                "sip:u:pw@k:6;transport=udp;x=1?h=v",
            ),
            (
                plain,
                Part::Prefix(b"00"),
                "sip:00u:pw@h.test:5070;transport=tcp;x=1?h=v",
            ),
            (bare, Part::Prefix(b"00"), "sip:00@h.test"),
            ("sip:123@h", Part::Strip(2), "sip:3@h"),
            ("sip:123@h", Part::StripTail(2), "sip:1@h"),
            ("sip:123@h", Part::StripTail(9), "sip:h"),
            (bare, Part::Param(b"user=phone"), "sip:h.test;user=phone"),
            (
                plain,
                Part::Param(b"user=phone"),
                "sip:u:pw@h.test:5070;transport=tcp;x=1;user=phone?h=v",
            ),
            ("nonsense", Part::Port(None), ""),
        ];
        for (uri, part, want) in table {
            let got = changed(uri.as_bytes(), part).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&got), want, "{uri} {part:?}");
        }
    }
}
