//! Digest access authentication by RFC 2617 and RFC 7616, as RFC 3261 §22.4 uses them, with
//! RFC 8760's SHA-256: answering a challenge, and judging an answer.
//!
//! MD5, MD5-sess, SHA-256 and SHA-256-sess; qop auth and auth-int, or none at all (RFC 2069). As a
//! client the nonce is used once, so that its count is always 1. Whom to challenge, and with which
//! nonce, module `auth` knows.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::sip::{HeaderName, Message};

/// Who we are in a realm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// The user name.
    pub user: Box<[u8]>,
    /// The realm; empty: every one.
    pub realm: Box<[u8]>,
    /// The password; or `HA1`, if `is_hash`.
    pub password: Box<[u8]>,
    /// Whether the password is given as the hash of user, realm and password.
    pub is_hash: bool,
}

impl Credential {
    /// Whether it is good for this realm.
    pub fn fits(&self, realm: &[u8]) -> bool {
        self.realm.is_empty() || *self.realm == *realm
    }
}

/// What hashes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Algorithm {
    /// RFC 1321.
    #[default]
    Md5,
    /// RFC 8760.
    Sha256,
}

/// One challenge that can be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge<'a> {
    /// Whether it came from a proxy (407): the answer goes into Proxy-Authorization.
    pub is_proxy: bool,
    /// The realm, without quotes and escapes.
    pub realm: Vec<u8>,
    /// Whether the credentials were right and only the nonce too old.
    pub is_stale: bool,
    nonce: &'a [u8],
    opaque: Option<&'a [u8]>,
    algorithm: Algorithm,
    /// As written, to be written again; `None`: not written.
    algorithm_name: Option<&'a [u8]>,
    is_session: bool,
    qop: Qop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Qop {
    None,
    Auth,
    AuthInt,
}

/// The challenges of a 401 or 407 that can be answered, in the order of the message (§22.2: the
/// server's order is its preference). What asks for another scheme, algorithm or quality is
/// left out.
pub fn challenges(response: &Message) -> impl Iterator<Item = Challenge<'_>> {
    let name = match response.status() {
        407 => HeaderName::ProxyAuthenticate,
        _ => HeaderName::WwwAuthenticate,
    };
    let is_proxy = response.status() == 407;
    let lines = response.all(name);
    lines.filter_map(move |header| challenge(header.value.of(response.bytes()), is_proxy))
}

/// Reads the value of one challenge.
pub fn challenge(value: &[u8], is_proxy: bool) -> Option<Challenge<'_>> {
    let value = value.trim_ascii();
    let scheme = value.iter().position(u8::is_ascii_whitespace)?;
    if !value[..scheme].eq_ignore_ascii_case(b"Digest") {
        return None;
    }
    let params: Vec<(&[u8], &[u8])> = params(&value[scheme..]).collect();
    let get = |name: &[u8]| {
        let found = params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    };
    let algorithm_name = get(b"algorithm");
    let (algorithm, is_session) = algorithm_of(algorithm_name)?;
    let qop = qop_of(get(b"qop"))?;
    Some(Challenge {
        is_proxy,
        realm: unescaped(get(b"realm")?),
        is_stale: get(b"stale").is_some_and(|s| s.eq_ignore_ascii_case(b"true")),
        nonce: get(b"nonce")?,
        opaque: get(b"opaque"),
        algorithm,
        algorithm_name,
        is_session,
        qop,
    })
}

fn algorithm_of(name: Option<&[u8]>) -> Option<(Algorithm, bool)> {
    let table: [(&[u8], Algorithm, bool); 4] = [
        (b"MD5", Algorithm::Md5, false),
        (b"MD5-sess", Algorithm::Md5, true),
        (b"SHA-256", Algorithm::Sha256, false),
        (b"SHA-256-sess", Algorithm::Sha256, true),
    ];
    let Some(name) = name else {
        return Some((Algorithm::Md5, false));
    };
    let found = table.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name));
    found.map(|(_, algorithm, is_session)| (*algorithm, *is_session))
}

/// `auth` before `auth-int` before nothing; `None`: only what is unknown is offered.
fn qop_of(offered: Option<&[u8]>) -> Option<Qop> {
    let Some(offered) = offered else {
        return Some(Qop::None);
    };
    let has = |wanted: &[u8]| {
        let mut words = offered.split(|b| *b == b',');
        words.any(|w| w.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    match (has(b"auth"), has(b"auth-int")) {
        (true, _) => Some(Qop::Auth),
        (false, true) => Some(Qop::AuthInt),
        (false, false) => None,
    }
}

/// `name=value` pairs; quotes around a value are taken off, escapes inside stay.
fn params(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        loop {
            text = text.trim_ascii_start();
            match text.first()? {
                b',' => text = &text[1..],
                _ => break,
            }
        }
        let equals = text.iter().position(|b| *b == b'=')?;
        let name = text[..equals].trim_ascii();
        let rest = text[equals + 1..].trim_ascii_start();
        let (value, after) = match rest.first() {
            Some(b'"') => quoted(&rest[1..])?,
            _ => {
                let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
                (rest[..end].trim_ascii(), &rest[end..])
            }
        };
        text = after;
        Some((name, value))
    })
}

/// The inside of a quoted string, and what follows it.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return Some((&text[..at], &text[at + 1..])),
            _ => at += 1,
        }
    }
    None
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => out.extend(bytes.next()),
            b => out.push(*b),
        }
    }
    out
}

fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for b in text {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out
}

/// The request that the credentials are for.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Its Request-URI.
    pub uri: &'a [u8],
    /// Its body, for qop auth-int.
    pub body: &'a [u8],
}

impl Algorithm {
    /// The hash of the parts with colons between them, in hexadecimal.
    pub(in crate::modules) fn hex(self, parts: &[&[u8]]) -> Vec<u8> {
        let text = parts.join(&b':');
        let mut out = String::with_capacity(64);
        let mut put = |bytes: &[u8]| {
            for b in bytes {
                let _ = write!(out, "{b:02x}");
            }
        };
        match self {
            Algorithm::Md5 => put(&Md5::digest(&text)),
            Algorithm::Sha256 => put(&Sha256::digest(&text)),
        }
        out.into_bytes()
    }
}

/// The header line that answers the challenge; `draw` becomes the cnonce. `None`: the URI cannot
/// stand in it.
pub fn answer(
    challenge: &Challenge<'_>,
    credential: &Credential,
    about: About<'_>,
    draw: u64,
) -> Option<Vec<u8>> {
    if about.uri.contains(&b'"') {
        return None;
    }
    let cnonce = format!("{draw:016x}");
    let response = response(challenge, credential, about, cnonce.as_bytes());
    let name: &[u8] = if challenge.is_proxy {
        b"Proxy-Authorization"
    } else {
        b"Authorization"
    };
    let mut line = name.to_vec();
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| line.extend_from_slice(part));
    put(&[b": Digest username=\"", &escaped(&credential.user)]);
    put(&[b"\", realm=\"", &escaped(&challenge.realm)]);
    put(&[
        b"\", nonce=\"",
        challenge.nonce,
        b"\", uri=\"",
        about.uri,
        b"\"",
    ]);
    if let Some(opaque) = challenge.opaque {
        put(&[b", opaque=\"", opaque, b"\""]);
    }
    match challenge.qop {
        Qop::None if !challenge.is_session => {}
        Qop::None => put(&[b", cnonce=\"", cnonce.as_bytes(), b"\""]),
        Qop::Auth => put(&[
            b", qop=auth, nc=00000001, cnonce=\"",
            cnonce.as_bytes(),
            b"\"",
        ]),
        Qop::AuthInt => {
            put(&[
                b", qop=auth-int, nc=00000001, cnonce=\"",
                cnonce.as_bytes(),
                b"\"",
            ]);
        }
    }
    put(&[b", response=\"", &response, b"\""]);
    put(&[
        b", algorithm=",
        challenge.algorithm_name.unwrap_or(b"MD5"),
        b"\r\n",
    ]);
    Some(line)
}

/// RFC 7616 §3.4.1.
fn response(
    challenge: &Challenge<'_>,
    credential: &Credential,
    about: About<'_>,
    cnonce: &[u8],
) -> Vec<u8> {
    let exchange = Exchange {
        algorithm: challenge.algorithm,
        is_session: challenge.is_session,
        qop: challenge.qop,
        nonce: challenge.nonce,
        count: b"00000001",
        cnonce,
    };
    exchange.response(credential, &challenge.realm, about)
}

/// What both sides have said to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Exchange<'a> {
    algorithm: Algorithm,
    is_session: bool,
    qop: Qop,
    nonce: &'a [u8],
    count: &'a [u8],
    cnonce: &'a [u8],
}

impl Exchange<'_> {
    fn response(&self, credential: &Credential, realm: &[u8], about: About<'_>) -> Vec<u8> {
        let hash = self.algorithm;
        let mut a1 = if credential.is_hash {
            credential.password.to_ascii_lowercase()
        } else {
            hash.hex(&[&credential.user, realm, &credential.password])
        };
        if self.is_session {
            a1 = hash.hex(&[&a1, self.nonce, self.cnonce]);
        }
        let a2 = match self.qop {
            Qop::None | Qop::Auth => hash.hex(&[about.method, about.uri]),
            Qop::AuthInt => hash.hex(&[about.method, about.uri, &hash.hex(&[about.body])]),
        };
        let qop: &[u8] = match self.qop {
            Qop::None => return hash.hex(&[&a1, self.nonce, &a2]),
            Qop::Auth => b"auth",
            Qop::AuthInt => b"auth-int",
        };
        hash.hex(&[&a1, self.nonce, self.count, self.cnonce, qop, &a2])
    }
}

/// Credentials as a request carries them (RFC 7616 §3.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given<'a> {
    /// The user name, without escapes.
    pub user: Vec<u8>,
    /// The realm, without escapes.
    pub realm: Vec<u8>,
    /// The nonce.
    pub nonce: &'a [u8],
    /// What they are hashed with.
    pub algorithm: Algorithm,
    uri: &'a [u8],
    response: &'a [u8],
    exchange: Exchange<'a>,
}

/// Reads the value of Authorization or Proxy-Authorization.
pub fn given(value: &[u8]) -> Option<Given<'_>> {
    let value = value.trim_ascii();
    let scheme = value.iter().position(u8::is_ascii_whitespace)?;
    if !value[..scheme].eq_ignore_ascii_case(b"Digest") {
        return None;
    }
    let params: Vec<(&[u8], &[u8])> = params(&value[scheme..]).collect();
    let get = |name: &[u8]| {
        let found = params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    };
    let (algorithm, is_session) = algorithm_of(get(b"algorithm"))?;
    let qop = qop_of(get(b"qop"))?;
    let nonce = get(b"nonce")?;
    let has_count = qop == Qop::None || (get(b"nc").is_some() && get(b"cnonce").is_some());
    has_count.then_some(())?;
    Some(Given {
        user: unescaped(get(b"username")?),
        realm: unescaped(get(b"realm")?),
        nonce,
        algorithm,
        uri: get(b"uri")?,
        response: get(b"response")?,
        exchange: Exchange {
            algorithm,
            is_session,
            qop,
            nonce,
            count: get(b"nc").unwrap_or_default(),
            cnonce: get(b"cnonce").unwrap_or_default(),
        },
    })
}

impl Given<'_> {
    /// Whether they come from one who knows the password, or `HA1` if `is_hash`.
    pub fn is_right(&self, password: &[u8], is_hash: bool, method: &[u8], body: &[u8]) -> bool {
        let credential = Credential {
            user: self.user.as_slice().into(),
            realm: Box::default(),
            password: password.into(),
            is_hash,
        };
        let about = About {
            method,
            uri: self.uri,
            body,
        };
        let want = self.exchange.response(&credential, &self.realm, about);
        is_equal(&self.response.to_ascii_lowercase(), &want)
    }
}

impl Given<'_> {
    /// The count that came with the nonce, if one did; one that is none is 0.
    pub fn count(&self) -> Option<u32> {
        let digits = std::str::from_utf8(self.exchange.count).ok();
        let number = || u32::from_str_radix(digits?, 16).ok();
        (self.exchange.qop != Qop::None).then(|| number().unwrap_or(0))
    }

    /// What shows the other side that the password is known here, too (RFC 7616 §3.5), behind the
    /// name of the header field.
    pub fn proof(&self, password: &[u8], is_hash: bool, next_nonce: &[u8]) -> Vec<u8> {
        let credential = Credential {
            user: self.user.as_slice().into(),
            realm: Box::default(),
            password: password.into(),
            is_hash,
        };
        let about = About {
            method: b"",
            uri: self.uri,
            body: b"",
        };
        let shown = self.exchange.response(&credential, &self.realm, about);
        let mut text = [b"nextnonce=\"", next_nonce, b"\""].concat();
        let qop: &[u8] = match self.exchange.qop {
            Qop::None => b"",
            Qop::Auth => b", qop=auth",
            Qop::AuthInt => b", qop=auth-int",
        };
        text.extend_from_slice(&[qop, b", rspauth=\"", &shown, b"\""].concat());
        if self.exchange.qop != Qop::None {
            let Exchange { cnonce, count, .. } = self.exchange;
            text.extend_from_slice(&[b", cnonce=\"", cnonce, b"\", nc=", count].concat());
        }
        text
    }
}

/// Whether both are the same, in a time that does not tell where they differ.
pub fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && difference == 0
}

/// A text as a quoted string, without its quotes.
pub fn quotable(text: &[u8]) -> Vec<u8> {
    escaped(text)
}

/// Reads anything as a challenge and answers it.
pub fn fuzz_digest(data: &[u8]) {
    let credential = Credential {
        user: b"u".as_slice().into(),
        realm: b"".as_slice().into(),
        password: b"p".as_slice().into(),
        is_hash: false,
    };
    let about = About {
        method: b"INVITE",
        uri: data,
        body: data,
    };
    if let Some(challenge) = challenge(data, data.len().is_multiple_of(2)) {
        let _ = answer(&challenge, &credential, about, 1);
    }
    if let Some(given) = given(data) {
        let _ = given.is_right(data, data.len().is_multiple_of(2), b"INVITE", data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(user: &str, password: &str) -> Credential {
        Credential {
            user: user.as_bytes().into(),
            realm: b"".as_slice().into(),
            password: password.as_bytes().into(),
            is_hash: false,
        }
    }

    #[test]
    fn the_examples_of_the_standards() {
        // RFC 2617 §3.5 and RFC 7616 §3.9.1.
        let old = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
         opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let new = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let table = [
            (
                old.to_owned(),
                credential("Mufasa", "Circle Of Life"),
                "0a4f113b",
                "6629fae49393a05397450978507c4ef1",
            ),
            (
                new("MD5"),
                credential("Mufasa", "Circle of Life"),
                cnonce,
                "8ca523f5e9506fed4657c9700eebdbec",
            ),
            (
                new("SHA-256"),
                credential("Mufasa", "Circle of Life"),
                cnonce,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ];
        for (value, credential, cnonce, want) in table {
            let challenge = challenge(value.as_bytes(), false).unwrap();
            let about = About {
                method: b"GET",
                uri: b"/dir/index.html",
                body: b"",
            };
            let got = response(&challenge, &credential, about, cnonce.as_bytes());
            assert_eq!(String::from_utf8(got).unwrap(), want, "{value}");
        }
    }

    /// Who answers a challenge is believed, and nobody else.
    #[test]
    fn an_answer_is_judged_as_it_was_made() {
        let right = credential("u\"x", "p");
        for challenged in [
            "Digest realm=\"r\", nonce=\"n\"",
            "Digest realm=\"r \\\"s\\\"\", nonce=\"n\", qop=\"auth\"",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\", algorithm=SHA-256",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5-sess",
        ] {
            let challenge = challenge(challenged.as_bytes(), false).unwrap();
            let about = About {
                method: b"INVITE",
                uri: b"sip:b@h",
                body: b"v=0",
            };
            let line = answer(&challenge, &right, about, 7).unwrap();
            let value = line.splitn(2, |b| *b == b':').nth(1).unwrap();
            let given = given(value).unwrap();
            assert_eq!(
                (&given.user[..], &given.realm),
                (&b"u\"x"[..], &challenge.realm)
            );
            let hash = given.algorithm.hex(&[&given.user, &given.realm, b"p"]);
            let upper = hash.to_ascii_uppercase();
            let judge =
                |password, is_hash, method, body| given.is_right(password, is_hash, method, body);
            assert!(judge(b"p", false, b"INVITE", b"v=0"), "{challenged}");
            assert!(judge(&hash, true, b"INVITE", b"v=0"), "{challenged}");
            assert!(judge(&upper, true, b"INVITE", b"v=0"));
            assert!(!judge(b"q", false, b"INVITE", b"v=0"), "{challenged}");
            assert!(!judge(b"p", true, b"INVITE", b"v=0"), "{challenged}");
            assert!(!judge(b"p", false, b"BYE", b"v=0"), "{challenged}");
            let is_covered = challenged.contains("auth-int");
            assert_eq!(
                judge(b"p", false, b"INVITE", b""),
                !is_covered,
                "{challenged}"
            );
        }
    }

    #[test]
    fn what_is_no_answer() {
        let whole =
            "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"x\"";
        assert!(given(whole.as_bytes()).is_some());
        for part in [
            "username=\"u\", ",
            "realm=\"r\", ",
            "nonce=\"n\", ",
            "uri=\"sip:h\", ",
        ] {
            assert!(
                given(whole.replace(part, "").as_bytes()).is_none(),
                "{part}"
            );
        }
        for (more, want) in [
            (", qop=auth", false),
            (", qop=auth, nc=1", false),
            (", qop=auth, nc=1, cnonce=\"c\"", true),
            (", algorithm=SHA-512-256", false),
            (", algorithm=sha-256", true),
        ] {
            let value = format!("{whole}{more}");
            assert_eq!(given(value.as_bytes()).is_some(), want, "{more}");
        }
        assert!(given(whole.replace("Digest", "Basic").as_bytes()).is_none());
    }

    #[test]
    fn what_can_be_answered() {
        let table = [
            ("Digest realm=\"a\", nonce=\"n\"", Some("a")),
            ("digest nonce=n,realm=a", Some("a")),
            (
                "Digest realm=\"a \\\"b\\\", c\", nonce=\"n\"",
                Some("a \"b\", c"),
            ),
            (
                "Digest realm=\"a\", nonce=\"n\", algorithm=md5-SESS",
                Some("a"),
            ),
            (
                "Digest realm=\"a\", nonce=\"n\", algorithm=SHA-512-256",
                None,
            ),
            ("Digest realm=\"a\", nonce=\"n\", qop=\"token\"", None),
            ("Digest realm=\"a\"", None),
            ("Digest nonce=\"n\"", None),
            ("Digest realm=\"a", None),
            ("Basic realm=\"a\", nonce=\"n\"", None),
            ("Digest", None),
            ("", None),
        ];
        for (value, want) in table {
            let got = challenge(value.as_bytes(), true).map(|c| c.realm);
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn the_line_says_what_the_challenge_asked_for() {
        let about = About {
            method: b"INVITE",
            uri: b"sip:b@h",
            body: b"v=0",
        };
        let table = [
            ("Digest realm=\"r\", nonce=\"n\"", false, "algorithm=MD5"),
            (
                "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"",
                true,
                "qop=auth, nc=00000001",
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", qop=auth-int",
                true,
                "qop=auth-int, nc=00000001",
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess",
                true,
                "algorithm=MD5-sess",
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", opaque=\"o\"",
                false,
                "opaque=\"o\"",
            ),
        ];
        for (value, has_cnonce, want) in table {
            let challenge = challenge(value.as_bytes(), true).unwrap();
            let line = answer(&challenge, &credential("u\"x", "p"), about, 7).unwrap();
            let line = String::from_utf8(line).unwrap();
            let start = "Proxy-Authorization: Digest username=\"u\\\"x\", realm=\"r\", \
                         nonce=\"n\", uri=\"sip:b@h\"";
            assert!(line.starts_with(start) && line.ends_with("\r\n"), "{line}");
            assert!(line.contains(want), "{line}");
            assert_eq!(
                line.contains("cnonce=\"0000000000000007\""),
                has_cnonce,
                "{line}"
            );
        }
        let plain = challenge(b"Digest realm=\"r\", nonce=\"n\"", true).unwrap();
        let bad = About {
            uri: b"sip:\"@h",
            ..about
        };
        assert_eq!(answer(&plain, &credential("u", "p"), bad, 7), None);
    }
}
