//! The functions of `auth`.

use std::rc::Rc;
use std::sync::Arc;

use crate::modules::digest::{self, Algorithm, Given};
use crate::modules::entry::{NO, YES, function, optional, planned_function, text_of, truth};
use crate::modules::work::Bytes;
use crate::modules::{Call, Function, sl};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{HeaderName, Message, Method, Span, Uri};

use super::nonce::{self, Limits, Verdict};
use super::{Config, Seen};

const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const OUT: ParamKind = ParamKind::Output;
const REQUEST: RouteKinds = RouteKinds::REQUEST;

/// Whom a challenge or its answer is about: this server as the far end (401), or as a proxy (407).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    End,
    Proxy,
}

/// Credentials were wrong, or there were none: the return codes of the original.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Error = -1,
    Password = -2,
    Stale = -4,
    NoCredentials = -5,
    Identity = -8,
}

pub(super) const FUNCTIONS: [Function; 9] = [
    function(
        "consume_credentials",
        &[],
        REQUEST,
        (consume, "Takes the credentials away that were judged."),
    ),
    function(
        "has_credentials",
        &[TEXT],
        REQUEST,
        (
            has_credentials,
            "Whether there are credentials for a realm.",
        ),
    ),
    function(
        "www_challenge",
        &[TEXT, NUM],
        REQUEST,
        (
            |c, h, s| challenge(c, h, s, |_| Side::End),
            "Asks for credentials: 401.",
        ),
    ),
    function(
        "proxy_challenge",
        &[TEXT, NUM],
        REQUEST,
        (
            |c, h, s| challenge(c, h, s, |_| Side::Proxy),
            "Asks for credentials: 407.",
        ),
    ),
    function(
        "auth_challenge",
        &[TEXT, NUM],
        REQUEST,
        (
            |c, h, s| challenge(c, h, s, side_of),
            "Asks for credentials: 401 for a REGISTER, else 407.",
        ),
    ),
    optional(
        function(
            "pv_www_authenticate",
            &[TEXT, TEXT, NUM, TEXT],
            REQUEST,
            (
                |c, h, s| authenticate(c, h, s, Side::End),
                "Whether Authorization is right for the password.",
            ),
        ),
        3,
    ),
    optional(
        function(
            "pv_proxy_authenticate",
            &[TEXT, TEXT, NUM, TEXT],
            REQUEST,
            (
                |c, h, s| authenticate(c, h, s, Side::Proxy),
                "Whether Proxy-Authorization is right for the password.",
            ),
        ),
        3,
    ),
    function(
        "pv_auth_check",
        &[TEXT, TEXT, NUM, NUM],
        REQUEST,
        (
            auth_check,
            "The one or the other by the method, and whether the user is who he says.",
        ),
    ),
    planned_function(
        "auth_get_www_authenticate",
        &[TEXT, NUM, OUT],
        3,
        (REQUEST, "Writes a challenge into a variable."),
    ),
];

fn side_of(message: &Message) -> Side {
    match message.method() {
        Method::Register => Side::End,
        _ => Side::Proxy,
    }
}

impl Side {
    fn credentials(self) -> HeaderName {
        match self {
            Side::End => HeaderName::Authorization,
            Side::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

fn consume(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    match call.work.auth.judged.take() {
        Some(line) => {
            call.work.edits.remove(line);
            YES
        }
        None => NO,
    }
}

fn has_credentials(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(realm) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let config = &call.env.state.setup.config.auth;
    let sides = [Side::End, Side::Proxy];
    let has = |side| find(&call.work.message, side, config, &realm).is_some();
    truth(sides.into_iter().any(has))
}

/// The credentials of a request for a realm, and the header field that they stand in.
fn find<'a>(
    message: &'a Message,
    side: Side,
    config: &Config,
    realm: &[u8],
) -> Option<(Span, Given<'a>)> {
    let bare = |realm: &[u8]| {
        let prefix = config.realm_prefix.as_bytes();
        realm.strip_prefix(prefix).unwrap_or(realm).to_vec()
    };
    let realm = bare(realm);
    let fields = message.all(side.credentials());
    let mut found =
        fields.filter_map(|field| Some((field.line, digest::given(message.text(field.value))?)));
    found.find(|(_, given)| bare(&given.realm) == realm)
}

/// What `auth_checks_*` bind a nonce to.
fn bound<'a>(config: &Config, message: &'a Message, source: &'a [u8]) -> Vec<&'a [u8]> {
    let checks = match (message.method(), message.to_tag()) {
        (Method::Register, _) => config.checks_register,
        (_, None) => config.checks_no_dlg,
        (_, Some(_)) => config.checks_in_dlg,
    };
    let parts = [
        message.uri(),
        message.call_id(),
        message.from_tag().unwrap_or_default(),
        source,
    ];
    let is_wanted = |(bit, part): (usize, &'a [u8])| match checks >> bit & 1 {
        1 => part,
        _ => b"",
    };
    parts.into_iter().enumerate().map(is_wanted).collect()
}

/// What nonces are proved with.
fn secret(call: &Call<'_>) -> Bytes {
    let configured = call.env.state.setup.config.auth.secret.as_bytes();
    match configured {
        b"" => Bytes::from(&call.env.state.tag_secret.to_be_bytes()[..]),
        secret => Bytes::from(secret),
    }
}

fn challenge(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    side: fn(&Message) -> Side,
) -> Outcome {
    let realm = text_of(call, heap, site, 0).filter(|realm| !realm.is_empty());
    let realm = realm.filter(|realm| !realm.iter().any(u8::is_ascii_control));
    let (Some(realm), Some(flags)) = (realm, site.int(1, call, heap)) else {
        return NO;
    };
    let side = side(&call.work.message);
    let line = challenge_line(call, side, &realm, flags);
    call.work.reply_headers.extend_from_slice(&line);
    let (status, reason) = match side {
        Side::End => (401, &b"Unauthorized"[..]),
        Side::Proxy => (407, &b"Proxy Authentication Required"[..]),
    };
    let is_stateless = call.env.state.setup.config.auth.is_stateless;
    match is_stateless {
        true => sl::answer_stateless(call, status, reason),
        false => sl::answer_by_any(call, status, reason),
    }
}

/// RFC 7616 §3.3.
fn challenge_line(call: &Call<'_>, side: Side, realm: &[u8], flags: i64) -> Vec<u8> {
    let config = &call.env.state.setup.config.auth;
    let source = call.work.flow.remote.ip().to_string();
    let bound = bound(config, &call.work.message, source.as_bytes());
    let nonce = nonce::make(&secret(call), call.env.now.wall.as_secs(), &bound);
    let name: &[u8] = match side {
        Side::End => b"WWW-Authenticate",
        Side::Proxy => b"Proxy-Authenticate",
    };
    let realm = digest::quotable(realm);
    let mut line = [
        name,
        b": Digest realm=\"",
        &realm,
        b"\", nonce=\"",
        nonce.as_bytes(),
        b"\"",
    ]
    .concat();
    let qop: &[u8] = match (flags & 3, config.qop) {
        (1, _) | (0, 1) => b", qop=\"auth\"",
        (2, _) | (0, 2) => b", qop=\"auth-int\"",
        (3, _) | (0, 3) => b", qop=\"auth,auth-int\"",
        _ => b"",
    };
    line.extend_from_slice(qop);
    line.extend_from_slice(match config.algorithm {
        Some(Algorithm::Md5) => b", algorithm=MD5",
        Some(Algorithm::Sha256) => b", algorithm=SHA-256",
        None => b"",
    });
    if flags & 16 != 0 || call.work.auth.is_stale {
        line.extend_from_slice(b", stale=true");
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// What the script says of the one who is to be believed.
struct Claim {
    realm: Bytes,
    password: Bytes,
    is_hash: bool,
    method: Option<Bytes>,
}

fn claim(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<Claim> {
    Some(Claim {
        realm: text_of(call, heap, site, 0).filter(|realm| !realm.is_empty())?,
        password: text_of(call, heap, site, 1).filter(|password| !password.is_empty())?,
        is_hash: site.int(2, call, heap)? & 1 == 1,
        method: None,
    })
}

fn outcome(result: Result<(), Fault>) -> Outcome {
    match result {
        Ok(()) => YES,
        Err(fault) => Outcome::Return(fault as i64),
    }
}

fn authenticate(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, side: Side) -> Outcome {
    let Some(claim) = claim(call, heap, site) else {
        return NO;
    };
    let method = text_of(call, heap, site, 3).filter(|method| !method.is_empty());
    outcome(judge(call, side, &Claim { method, ..claim }))
}

/// Whether nobody could have been asked for credentials (RFC 3261 §22.1).
fn is_free(message: &Message) -> bool {
    matches!(message.method(), Method::Ack | Method::Cancel)
}

fn judge(call: &mut Call<'_>, side: Side, claim: &Claim) -> Result<(), Fault> {
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.auth;
    let request = Rc::clone(&call.work.message);
    if is_free(&request) {
        return Ok(());
    }
    let found = find(&request, side, config, &claim.realm);
    let (line, given) = found.ok_or(Fault::NoCredentials)?;
    call.work.auth = Seen {
        judged: Some(line),
        is_stale: false,
    };
    // Another algorithm than the one that was asked for may be weaker than the operator wants.
    if given.algorithm != config.algorithm.unwrap_or_default() {
        return Err(Fault::Error);
    }
    let method = claim.method.as_deref().unwrap_or(request.method_name());
    if !given.is_right(&claim.password, claim.is_hash, method, request.body()) {
        return Err(Fault::Password);
    }
    let source = call.work.flow.remote.ip().to_string();
    let bound = bound(config, &request, source.as_bytes());
    let limits = Limits {
        age_s: config.nonce_expire_s.into(),
        drift_s: config.drift_s.into(),
    };
    let now = (call.env.now.wall.as_secs(), limits);
    if nonce::judge(&secret(call), given.nonce, now, &bound) == Verdict::Stale {
        call.work.auth.is_stale = true;
        return Err(Fault::Stale);
    }
    Ok(())
}

fn auth_check(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(claim), Some(checks)) = (claim(call, heap, site), site.int(3, call, heap)) else {
        return NO;
    };
    let side = side_of(&call.work.message);
    let judged = judge(call, side, &claim);
    outcome(judged.and_then(
        |()| match checks & 1 == 0 || is_himself(call, side, &claim.realm) {
            true => Ok(()),
            false => Err(Fault::Identity),
        },
    ))
}

/// Whether the user of the credentials is the one in From, or To of a REGISTER.
fn is_himself(call: &Call<'_>, side: Side, realm: &[u8]) -> bool {
    let message = &call.work.message;
    let config = &call.env.state.setup.config.auth;
    if is_free(message) {
        return true;
    }
    let party = match side {
        Side::End => message.to(),
        Side::Proxy => message.from(),
    };
    let found = find(message, side, config, realm);
    let (Some((_, given)), Ok(uri)) = (found, Uri::parse(party.uri)) else {
        return false;
    };
    let at = given.user.iter().position(|b| *b == b'@');
    let (user, domain) = match at {
        Some(at) => (&given.user[..at], &given.user[at + 1..]),
        None => (&given.user[..], &given.realm[..]),
    };
    let is_user = uri.user.unwrap_or_default() == user;
    is_user && (!config.use_domain || uri.host.eq_ignore_ascii_case(domain))
}
