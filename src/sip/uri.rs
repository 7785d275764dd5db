//! sip, sips and tel URIs (RFC 3261 §19.1, RFC 3966), as slices of their text.
//!
//! Parsing finds the parts and refuses what no URI may hold; it does not check escapes, whose
//! meaning only an end point needs (RFC 4475 §3.1.1.4). Equality is that of §19.1.4.

use std::net::IpAddr;

use super::error::UriError;
use super::host;
use super::lex::{self, Cursor};
use super::param::Param;
use super::span::Span;
use crate::limits;

/// What the part before the first colon says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel`.
    Tel,
    /// Any other; such a URI has no parts that we could read.
    Other,
}

/// A URI in parts. All of them are slices of the text it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part with its own parameters, or the number of a `tel` URI.
    pub user: Option<&'a [u8]>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// The host, brackets kept; empty for `tel` and unknown schemes.
    pub host: &'a [u8],
    /// The port, when there is one.
    pub port: Option<u16>,
    /// The parameters, without the first semicolon.
    pub params: &'a [u8],
    /// The header components, without the question mark.
    pub headers: &'a [u8],
    /// The scheme as written.
    pub scheme_text: &'a [u8],
    /// What stands behind the colon of the scheme, whole.
    pub rest: &'a [u8],
}

/// A [`Uri`] as offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    scheme: Scheme,
    user: Option<Span>,
    password: Option<Span>,
    host: Span,
    port: Option<u16>,
    params: Span,
    headers: Span,
    scheme_text: Span,
    rest: Span,
}

impl Parts {
    /// Where the parts stand in `bytes`, of which the URI is a part.
    pub(super) fn of(uri: Uri<'_>, bytes: &[u8]) -> Parts {
        let place = |part| Span::within(bytes, part).unwrap_or_default();
        Parts {
            scheme: uri.scheme,
            user: uri.user.map(place),
            password: uri.password.map(place),
            host: place(uri.host),
            port: uri.port,
            params: place(uri.params),
            headers: place(uri.headers),
            scheme_text: place(uri.scheme_text),
            rest: place(uri.rest),
        }
    }

    #[inline]
    pub(super) fn view(self, bytes: &[u8]) -> Uri<'_> {
        Uri {
            scheme: self.scheme,
            user: self.user.map(|span| span.of(bytes)),
            password: self.password.map(|span| span.of(bytes)),
            host: self.host.of(bytes),
            port: self.port,
            params: self.params.of(bytes),
            headers: self.headers.of(bytes),
            scheme_text: self.scheme_text.of(bytes),
            rest: self.rest.of(bytes),
        }
    }
}

impl<'a> Uri<'a> {
    /// Reads a URI; white space around it is not part of it and an error.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, UriError> {
        if text.len() > limits::URI_SIZE_MAX {
            return Err(UriError::TooLong);
        }
        if !lex::is_uri_text(text) {
            return Err(UriError::Byte);
        }
        let colon = lex::find(text, b':').ok_or(UriError::Scheme)?;
        let (scheme_text, rest) = (&text[..colon], &text[colon + 1..]);
        let scheme = scheme(scheme_text)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => sip(scheme, scheme_text, rest),
            Scheme::Tel => tel(scheme_text, rest),
            Scheme::Other => Ok(Uri::opaque(scheme, scheme_text, rest)),
        }
    }

    /// A URI without parts.
    fn opaque(scheme: Scheme, scheme_text: &'a [u8], rest: &'a [u8]) -> Uri<'a> {
        Uri {
            scheme,
            user: None,
            password: None,
            host: &[],
            port: None,
            params: &[],
            headers: &[],
            scheme_text,
            rest,
        }
    }

    /// The value of a parameter, empty when it has none. Names in any case.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params().find(|p| p.is(name)).map(|p| p.text())
    }

    /// All parameters, empty ones passed over.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        pairs(self.params, b';')
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.param(b"transport")
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.param(b"maddr")
    }

    /// Whether it names a loose router (`lr`, §16.12).
    pub fn is_loose(&self) -> bool {
        self.param(b"lr").is_some()
    }

    /// The address that the host is, if it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host::ip(self.host)
    }

    /// Writes it from its parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.scheme_text);
        out.push(b':');
        if self.scheme == Scheme::Other {
            return out.extend_from_slice(self.rest);
        }
        if let Some(user) = self.user {
            out.extend_from_slice(user);
            write_after(b':', self.password, out);
        }
        if self.scheme != Scheme::Tel {
            if self.user.is_some() {
                out.push(b'@');
            }
            out.extend_from_slice(self.host);
        }
        if let Some(port) = self.port {
            write_port(port, out);
        }
        write_after(b';', Some(self.params).filter(|p| !p.is_empty()), out);
        write_after(b'?', Some(self.headers).filter(|h| !h.is_empty()), out);
    }

    /// Whether both name the same resource by §19.1.4: not a matter of bytes, and not transitive.
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        match self.scheme {
            Scheme::Sip | Scheme::Sips => sip_equals(self, other),
            Scheme::Tel => tel_equals(self, other),
            Scheme::Other => {
                self.scheme_text.eq_ignore_ascii_case(other.scheme_text) && self.rest == other.rest
            }
        }
    }
}

fn write_after(separator: u8, part: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(part) = part {
        out.push(separator);
        out.extend_from_slice(part);
    }
}

fn write_port(port: u16, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing into a Vec does not fail.
    let _ = write!(out, ":{port}");
}

fn scheme(text: &[u8]) -> Result<Scheme, UriError> {
    const KNOWN: [(&[u8], Scheme); 3] = [
        (b"sip", Scheme::Sip),
        (b"sips", Scheme::Sips),
        (b"tel", Scheme::Tel),
    ];
    // Nearly all are written so.
    if text == b"sip" {
        return Ok(Scheme::Sip);
    }
    if let Some((_, scheme)) = KNOWN
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
    {
        return Ok(*scheme);
    }
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    match text.first() {
        Some(first) if first.is_ascii_alphabetic() && text.iter().all(is_scheme) => {
            Ok(Scheme::Other)
        }
        Some(_) | None => Err(UriError::Scheme),
    }
}

#[inline]
fn sip<'a>(scheme: Scheme, scheme_text: &'a [u8], rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
    // No part behind the user may hold a raw `@`, while the user may hold `;` and `?`
    // (RFC 4475 §3.1.1.9): so the first one ends it.
    let (userinfo, hostport) = match lex::find(rest, b'@') {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    let (user, password) = match userinfo.map(|info| (info, lex::find(info, b':'))) {
        Some((info, Some(colon))) => (Some(&info[..colon]), Some(&info[colon + 1..])),
        Some((info, None)) => (Some(info), None),
        None => (None, None),
    };
    if user.is_some_and(<[u8]>::is_empty) {
        return Err(UriError::User);
    }
    let (host, port, tail) = host_and_port(hostport)?;
    let (params, headers) = params_and_headers(tail)?;
    Ok(Uri {
        scheme,
        user,
        password,
        host,
        port,
        params,
        headers,
        scheme_text,
        rest,
    })
}

/// A host, its port, and what stands behind them.
type HostPort<'a> = (&'a [u8], Option<u16>, &'a [u8]);

#[inline]
fn host_and_port(text: &[u8]) -> Result<HostPort<'_>, UriError> {
    let mut cursor = Cursor::new(text, Span::new(0, text.len()));
    let host = host::take(&mut cursor, text).ok_or(UriError::Host)?;
    let mut port = None;
    if cursor.eat(b':') {
        let digits = cursor.take_while(|b| b.is_ascii_digit());
        port = Some(lex::port(digits.of(text)).ok_or(UriError::Port)?);
    }
    Ok((host.of(text), port, &text[cursor.at()..]))
}

/// Takes `;params?headers` apart.
#[inline]
fn params_and_headers(tail: &[u8]) -> Result<(&[u8], &[u8]), UriError> {
    if tail.is_empty() {
        return Ok((tail, tail));
    }
    let question = lex::find(tail, b'?').unwrap_or(tail.len());
    let headers = tail.get(question + 1..).unwrap_or(&tail[tail.len()..]);
    match tail[..question] {
        [] => Ok((&tail[..0], headers)),
        [b';', ..] => Ok((&tail[1..question], headers)),
        _ => Err(UriError::Host),
    }
}

fn tel<'a>(scheme_text: &'a [u8], rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
    let end = lex::find(rest, b';').unwrap_or(rest.len());
    if end == 0 {
        return Err(UriError::User);
    }
    Ok(Uri {
        user: Some(&rest[..end]),
        host: &rest[end..end],
        params: rest.get(end + 1..).unwrap_or_default(),
        ..Uri::opaque(Scheme::Tel, scheme_text, rest)
    })
}

/// `name=value` pairs between separators; those without a name are passed over. URIs have
/// neither blanks nor quoted strings.
fn pairs(text: &[u8], separator: u8) -> impl Iterator<Item = Param<'_>> {
    text.split(move |b| *b == separator).filter_map(|pair| {
        let param = match lex::find(pair, b'=') {
            Some(at) => Param {
                name: &pair[..at],
                value: Some(&pair[at + 1..]),
            },
            None => Param {
                name: pair,
                value: None,
            },
        };
        (!param.name.is_empty()).then_some(param)
    })
}

fn sip_equals(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let same_option = |x: Option<&[u8]>, y: Option<&[u8]>| match (x, y) {
        (Some(x), Some(y)) => same_text(x, y, false),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    same_option(a.user, b.user)
        && same_option(a.password, b.password)
        && host::equals(a.host, b.host)
        // A default port is not equal to an absent one: they resolve differently.
        && a.port == b.port
        && params_agree(a, b)
        && params_agree(b, a)
        && headers_agree(a.headers, b.headers)
        && headers_agree(b.headers, a.headers)
}

/// Each parameter of `a` that `b` also has must be the same there; of those that `b` does not
/// have, some make a difference and all others are ignored. A name that is there twice, which
/// §19.1.1 forbids, must find each of its values.
fn params_agree(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    const TELLING: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    a.params().all(|p| {
        let mut twins = b
            .params()
            .filter(|q| same_text(p.name, q.name, true))
            .peekable();
        match twins.peek() {
            Some(_) => twins.any(|q| same_text(p.text(), q.text(), true)),
            None => !TELLING.iter().any(|name| p.is(name)),
        }
    })
}

/// Header components are never ignored; their order is.
fn headers_agree(a: &[u8], b: &[u8]) -> bool {
    pairs(a, b'&').all(|p| {
        pairs(b, b'&')
            .any(|q| same_text(p.name, q.name, true) && same_text(p.text(), q.text(), false))
    })
}

/// RFC 3966 §4: visual separators and case do not count, parameters do, in any order.
fn tel_equals(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let digits = |uri: &Uri<'_>| -> Vec<u8> {
        let visual = |b: &u8| matches!(b, b'-' | b'.' | b'(' | b')');
        let number = uri.user.unwrap_or_default().iter();
        number
            .filter(|b| !visual(b))
            .map(u8::to_ascii_lowercase)
            .collect()
    };
    let agree = |a: &Uri<'_>, b: &Uri<'_>| {
        a.params().all(|p| {
            b.params()
                .any(|q| same_text(p.name, q.name, true) && same_text(p.text(), q.text(), true))
        })
    };
    digits(a) == digits(b) && agree(a, b) && agree(b, a)
}

/// Whether two texts are the same once escapes are undone: an escaped character equals the plain
/// one unless it is reserved, where the escape takes its meaning away.
fn same_text(a: &[u8], b: &[u8], any_case: bool) -> bool {
    let fold = |(byte, plain): (u8, bool)| {
        (
            if any_case {
                byte.to_ascii_lowercase()
            } else {
                byte
            },
            plain,
        )
    };
    a == b || Unescape(a).map(fold).eq(Unescape(b).map(fold))
}

/// The characters of a text with its escapes undone, and whether each may stand for itself.
struct Unescape<'a>(&'a [u8]);

impl Iterator for Unescape<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let (&first, rest) = self.0.split_first()?;
        let hex = |b: &u8| char::from(*b).to_digit(16);
        if first == b'%'
            && let [high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            self.0 = tail;
            let byte = (high * 16 + low) as u8;
            return Some((byte, !is_reserved(byte)));
        }
        self.0 = rest;
        Some((first, true))
    }
}

/// §25.1 reserved.
const fn is_reserved(b: u8) -> bool {
    matches!(
        b,
        b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b','
    )
}

/// Reads anything, holds every part against its bounds, and prints it back.
pub fn fuzz_uri(data: &[u8]) {
    let Ok(uri) = Uri::parse(data) else { return };
    let parts = [uri.host, uri.params, uri.headers, uri.scheme_text, uri.rest];
    let parts = parts.into_iter().chain(uri.user).chain(uri.password);
    for part in parts.filter(|part| !part.is_empty()) {
        assert!(
            Span::within(data, part).is_some(),
            "a part lies outside of the text"
        );
    }
    assert!(uri.equals(&uri), "a URI differs from itself: {data:?}");
    let mut printed = vec![];
    uri.write(&mut printed);
    let again = Uri::parse(&printed).expect("what was printed reads back");
    let key = |u: Uri<'_>| {
        (
            u.scheme,
            u.user.map(<[u8]>::to_vec),
            u.host.to_vec(),
            u.port,
            u.params.to_vec(),
        )
    };
    assert_eq!(key(again), key(uri), "printing changed the URI");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scheme, user, password, host, port, parameters and headers, `-` for what is absent; or the
    /// name of the error.
    fn shown(text: &str) -> String {
        let uri = match Uri::parse(text.as_bytes()) {
            Ok(uri) => uri,
            Err(error) => return error.name().into(),
        };
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        let option = |part: Option<&[u8]>| part.map_or("-".into(), text);
        let port = uri.port.map_or("-".into(), |port| port.to_string());
        let (user, password) = (option(uri.user), option(uri.password));
        let (host, params, headers) = (text(uri.host), text(uri.params), text(uri.headers));
        format!(
            "{:?} {user} {password} {host} {port} {params} {headers}",
            uri.scheme
        )
    }

    #[test]
    fn parts() {
        let table = [
            ("sip:h", "Sip - - h -  "),
            ("SIP:h", "Sip - - h -  "),
            ("sips:a@h:5061", "Sips a - h 5061  "),
            ("sip:a:b@h", "Sip a b h -  "),
            ("sip:a:@h", "Sip a  h -  "),
            ("sip:a@h;lr", "Sip a - h - lr "),
            ("sip:a@h:1;x=y;z?q=r&s", "Sip a - h 1 x=y;z q=r&s"),
            ("sip:h?q=r", "Sip - - h -  q=r"),
            ("sip:h;", "Sip - - h -  "),
            (
                "sip:[2001:db8::1]:5060;lr",
                "Sip - - [2001:db8::1] 5060 lr ",
            ),
            ("sip:a@[::1]", "Sip a - [::1] -  "),
            (
                "sip:u;par=u%40e.net@e.com",
                "Sip u;par=u%40e.net - e.com -  ",
            ),
            (
                "sip:u~(o-b!s)&n't+t$/c?,/;;*:&it=1,w!*p$w~d_o.@e.com",
                "Sip u~(o-b!s)&n't+t$/c?,/;;* &it=1,w!*p$w~d_o. e.com -  ",
            ),
            ("sip:null-%00-null@e.com", "Sip null-%00-null - e.com -  "),
            (
                "sip:+1;phone-context=x@h;user=phone",
                "Sip +1;phone-context=x - h - user=phone ",
            ),
            ("tel:+1-201-555-0123", "Tel +1-201-555-0123 -  -  "),
            (
                "tel:7042;phone-context=e.com",
                "Tel 7042 -  - phone-context=e.com ",
            ),
            ("isbn:2983792873", "Other - -  -  "),
            ("soap.beep://192.0.2.103:3002", "Other - -  -  "),
            ("http://www.example.com", "Other - -  -  "),
            (
                "sip:a@under_score.example",
                "Sip a - under_score.example -  ",
            ),
            ("sip:a@h:0", "Sip a - h 0  "),
            ("", "scheme"),
            ("sip", "scheme"),
            (":h", "scheme"),
            ("1sip:h", "scheme"),
            ("s_p:h", "scheme"),
            ("sip:", "host"),
            ("sip:a@", "host"),
            ("sip:a@b@c", "host"),
            ("sip:[::1", "host"),
            ("sip:[::g]", "host"),
            ("sip:h:1x", "host"),
            ("sip:@h", "user"),
            ("sip::pw@h", "user"),
            ("tel:", "user"),
            ("sip:h:", "port"),
            ("sip:h:x", "port"),
            ("sip:h:65536", "port"),
            ("sip:h; lr", "byte"),
            ("<sip:h>", "byte"),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn what_was_read_prints_the_same() {
        let table = [
            "sip:h",
            "SIPS:a@h:5061",
            "sip:a:b@h;x=y;z?q=r&s",
            "sip:a:@h",
            "tel:7042;x=y",
            "isbn:2983792873",
            "sip:[::1]:5060;lr",
            "sip:h?q",
        ];
        for text in table {
            let mut out = vec![];
            Uri::parse(text.as_bytes()).unwrap().write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn equality_is_that_of_rfc_3261_19_1_4() {
        let table = [
            // The examples of the section.
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtlanTa.CoM;Transport=tcp",
                true,
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com;newparam=5",
                true,
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com;security=on",
                true,
            ),
            (
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
                true,
            ),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
                true,
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
                true,
            ),
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
                false,
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com;transport=udp",
                false,
            ),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
                false,
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
                false,
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
                false,
            ),
            // And its rules.
            ("sip:a@h", "sips:a@h", false),
            ("sip:a@h", "sip:h", false),
            ("sip:a:p@h", "sip:a@h", false),
            ("sip:a:p@h", "sip:a:%70@h", true),
            ("sip:a%3Bb@h", "sip:a;b@h", false),
            ("sip:a%3bb@h", "sip:a%3Bb@h", true),
            ("sip:a%zz@h", "sip:a%zz@h", true),
            ("sip:a%zz@h", "sip:a%ZZ@h", false),
            ("sip:a%00b@h", "sip:a@h", false),
            ("sip:h;maddr=192.0.2.1", "sip:h", false),
            ("sip:h;user=phone", "sip:h", false),
            ("sip:h;ttl=1", "sip:h", false),
            ("sip:h;%6cr", "sip:h;lr", true),
            ("sip:h;lr", "sip:h", true),
            ("sip:[2001:db8::1]", "sip:[2001:DB8:0::1]", true),
            ("sip:h?a=1&b=2", "sip:h?a=1", false),
            ("sip:h;x=1;x=2", "sip:h;x=2;x=1", true),
            ("sip:h;x=1;x=2", "sip:h;x=1", false),
            ("tel:+1-201-555-0123", "tel:+12015550123", true),
            ("tel:+1(201)5550123", "tel:+12015550124", false),
            (
                "tel:7042;phone-context=a.com",
                "tel:7042;phone-context=A.com",
                true,
            ),
            ("tel:7042;phone-context=a.com", "tel:7042", false),
            ("isbn:1", "ISBN:1", true),
            ("isbn:1", "isbn:2", false),
        ];
        for (a, b, want) in table {
            let (x, y) = (
                Uri::parse(a.as_bytes()).unwrap(),
                Uri::parse(b.as_bytes()).unwrap(),
            );
            assert_eq!((x.equals(&y), y.equals(&x)), (want, want), "{a} {b}");
        }
    }

    #[test]
    fn a_long_uri_is_refused() {
        let text = format!("sip:{}@h", "a".repeat(limits::URI_SIZE_MAX));
        assert_eq!(Uri::parse(text.as_bytes()), Err(UriError::TooLong));
    }
}
