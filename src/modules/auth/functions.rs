//! The functions of `auth`.

use std::rc::Rc;
use std::sync::Arc;

use crate::modules::digest::{self, Algorithm, Given};
use crate::modules::entry::{NO, YES, function, optional, text_of, truth};
use crate::modules::pv::avp::Stored;
use crate::modules::work::{Ask, Bytes};
use crate::modules::{Call, Env, Function, sl};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{HeaderName, Message, Method, Span, Uri};
use crate::steer::ShardId;

use super::count::Use;
use super::nonce::{self, Limits, Maker, Verdict};
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
    Reused = -6,
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
        RouteKinds::ANSWERING,
        (
            |c, h, s| challenge(c, h, s, |_| Side::End),
            "Asks for credentials: 401.",
        ),
    ),
    function(
        "proxy_challenge",
        &[TEXT, NUM],
        RouteKinds::ANSWERING,
        (
            |c, h, s| challenge(c, h, s, |_| Side::Proxy),
            "Asks for credentials: 407.",
        ),
    ),
    function(
        "auth_challenge",
        &[TEXT, NUM],
        RouteKinds::ANSWERING,
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
    function(
        "pv_proxy_authenticate",
        &[TEXT, TEXT, NUM],
        REQUEST,
        (
            |c, h, s| authenticate(c, h, s, Side::Proxy),
            "Whether Proxy-Authorization is right for the password.",
        ),
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
    function(
        "auth_get_www_authenticate",
        &[TEXT, NUM, OUT],
        RouteKinds::REQUEST,
        (
            get_challenge,
            "Writes a challenge, a whole header line, into a variable.",
        ),
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

/// What nonces are proved with. Where uses are counted, nonces of an earlier process are stale:
/// what it knew of them is gone.
fn secret(call: &Call<'_>) -> Bytes {
    let config = &call.env.state.setup.config.auth;
    let own = call.env.state.tag_secret.to_be_bytes();
    let is_counted = config.counts || config.is_one_time;
    match config.secret.as_bytes() {
        b"" => Bytes::from(&own[..]),
        secret if is_counted => [secret, &own].concat().into(),
        secret => Bytes::from(secret),
    }
}

/// The AVP in which a challenge is left for the script.
const CHALLENGE_AVP: &[u8] = b"digest_challenge";

/// Leaves a challenge for a script that has asked for one: 2 without qop, 4 with auth, 8 with
/// auth-int, 16 stale.
fn leave_challenge(call: &mut Call<'_>, pending: &Pending) {
    let qop = match pending.flags & 14 {
        2 => Some(b"".as_slice()),
        4 => Some(b", qop=\"auth\"".as_slice()),
        8 => Some(b", qop=\"auth-int\"".as_slice()),
        12 => Some(b", qop=\"auth,auth-int\"".as_slice()),
        _ => None,
    };
    let Some(qop) = qop else {
        return;
    };
    let is_stale = pending.flags & 16 != 0;
    let line = challenge_line(call, pending.side, &pending.claim.realm, (qop, is_stale));
    let value = Stored::Text(line.into());
    // A script with so many values has no use for one more.
    let _ = call.work.avps.push(CHALLENGE_AVP, value);
}

fn get_challenge(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(realm), Some(flags)) = (realm(call, heap, site), site.int(1, call, heap)) else {
        return NO;
    };
    let wishes = (qop(call, flags), flags & 16 != 0);
    let line = challenge_line(call, Side::End, &realm, wishes);
    let value = heap.string(&line);
    match site.arg(2).map(|arg| arg.write(call, heap, value)) {
        Some(Ok(())) => YES,
        Some(Err(_)) | None => NO,
    }
}

/// A realm that can stand in a header field.
fn realm(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<Bytes> {
    let realm = text_of(call, heap, site, 0)?;
    (!realm.is_empty() && !realm.iter().any(u8::is_ascii_control)).then_some(realm)
}

/// What the flags of a challenge say of qop, or else the parameter.
fn qop(call: &Call<'_>, flags: i64) -> &'static [u8] {
    match (flags & 3, call.env.state.setup.config.auth.qop) {
        (1, _) | (0, 1) => b", qop=\"auth\"",
        (2, _) | (0, 2) => b", qop=\"auth-int\"",
        (3, _) | (0, 3) => b", qop=\"auth,auth-int\"",
        _ => b"",
    }
}

fn challenge(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    side: fn(&Message) -> Side,
) -> Outcome {
    let (Some(realm), Some(flags)) = (realm(call, heap, site), site.int(1, call, heap)) else {
        return NO;
    };
    let side = side(&call.work.message);
    let wishes = (qop(call, flags), flags & 16 != 0);
    let line = challenge_line(call, side, &realm, wishes);
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

/// A nonce for the request at work.
fn new_nonce(call: &mut Call<'_>) -> String {
    let setup = Arc::clone(&call.env.state.setup);
    let source = call.work.flow.remote.ip().to_string();
    let bound = bound(&setup.config.auth, &call.work.message, source.as_bytes());
    let shard = call.env.state.id.0;
    let number = call.env.state.stores.nonces.begin(&setup.config.auth);
    let made = (call.env.now.wall.as_secs(), Maker { shard, number });
    nonce::make(&secret(call), made, &bound)
}

/// RFC 7616 §3.3.
fn challenge_line(
    call: &mut Call<'_>,
    side: Side,
    realm: &[u8],
    (qop, is_stale): (&[u8], bool),
) -> Vec<u8> {
    let nonce = new_nonce(call);
    let config = &call.env.state.setup.config.auth;
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
    line.extend_from_slice(qop);
    line.extend_from_slice(match config.algorithm {
        Some(Algorithm::Md5) => b", algorithm=MD5",
        Some(Algorithm::Sha256) => b", algorithm=SHA-256",
        None => b"",
    });
    if is_stale || call.work.auth.is_stale {
        line.extend_from_slice(b", stale=true");
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// What the script says of the one who is to be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Claim {
    realm: Bytes,
    password: Bytes,
    is_hash: bool,
    method: Option<Bytes>,
}

/// A judgement that another shard has a word in, and what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    side: Side,
    flags: i64,
    claim: Claim,
    /// The shard that made the nonce, the number it has there, the count that came with it.
    pub nonce: (ShardId, u32, Option<u32>),
}

fn pending(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, side: Side) -> Option<Pending> {
    let realm = text_of(call, heap, site, 0).filter(|realm| !realm.is_empty())?;
    let password = text_of(call, heap, site, 1).filter(|password| !password.is_empty())?;
    let flags = site.int(2, call, heap)?;
    Some(Pending {
        side,
        flags,
        claim: Claim {
            realm,
            password,
            is_hash: flags & 1 == 1,
            method: None,
        },
        nonce: (call.env.state.id, 0, None),
    })
}

fn authenticate(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, side: Side) -> Outcome {
    let Some(mut pending) = pending(call, heap, site, side) else {
        return NO;
    };
    pending.claim.method = text_of(call, heap, site, 3).filter(|method| !method.is_empty());
    let judged = judge(call, &mut pending);
    go_on(call, pending, judged)
}

/// What was found here is right or wrong, or depends on the shard that made the nonce.
fn go_on(call: &mut Call<'_>, pending: Pending, judged: Result<bool, Fault>) -> Outcome {
    let config = &call.env.state.setup.config.auth;
    let is_counted = config.counts || config.is_one_time;
    match judged {
        Err(fault) => {
            leave_challenge(call, &pending);
            Outcome::Return(fault as i64)
        }
        // Nobody was asked for anything.
        Ok(false) => YES,
        Ok(true) if is_counted && pending.nonce.0 != call.env.state.id => {
            call.ask(Ask::Nonce(Box::new(pending)))
        }
        Ok(true) => {
            let (_, number, count) = pending.nonce;
            let told = asked(&mut call.env, number, count);
            Outcome::Return(self::judged(call, &pending, told))
        }
    }
}

/// Notes the use of a nonce that was made by this shard.
pub fn asked(env: &mut Env<'_>, number: u32, count: Option<u32>) -> Use {
    let setup = Arc::clone(&env.state.setup);
    let nonces = &mut env.state.stores.nonces;
    nonces.note(&setup.config.auth, number, count)
}

/// What the shard that made the nonce says of its use: the return code.
pub fn judged(call: &mut Call<'_>, pending: &Pending, told: Use) -> i64 {
    let fault = match told {
        Use::Fresh => {
            welcome(call, pending);
            return 1;
        }
        Use::Stale => Fault::Stale,
        Use::Reused => Fault::Reused,
    };
    // The password was right: a phone may try again by itself.
    call.work.auth.is_stale = true;
    leave_challenge(call, pending);
    fault as i64
}

/// The credentials are right: scripts may know whose they are, and the phone hears of it.
fn welcome(call: &mut Call<'_>, pending: &Pending) {
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.auth;
    let request = Rc::clone(&call.work.message);
    let found = find(&request, pending.side, config, &pending.claim.realm);
    let Some((_, given)) = found else {
        return;
    };
    call.work.auth.user = Some(given.user.as_slice().into());
    if config.adds_info {
        inform(call, config, pending, &given);
    }
}

/// Authentication-Info (RFC 7616 §3.5). A nonce that is good once has a successor.
fn inform(call: &mut Call<'_>, config: &Config, pending: &Pending, given: &Given<'_>) {
    let claim = &pending.claim;
    let next = match config.is_one_time {
        true => new_nonce(call).into_bytes(),
        false => given.nonce.to_vec(),
    };
    let proof = given.proof(&claim.password, claim.is_hash, &next);
    let name: &[u8] = match pending.side {
        Side::End => b"Authentication-Info: ",
        Side::Proxy => b"Proxy-Authentication-Info: ",
    };
    let line = [name, &proof, b"\r\n"].concat();
    call.work.reply_headers.extend_from_slice(&line);
}

/// Whether nobody could have been asked for credentials (RFC 3261 §22.1).
fn is_free(message: &Message) -> bool {
    matches!(message.method(), Method::Ack | Method::Cancel)
}

/// Whether password, time and binding are right; false: nobody could have been asked for them. Who
/// made the nonce is written down.
fn judge(call: &mut Call<'_>, pending: &mut Pending) -> Result<bool, Fault> {
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.auth;
    let request = Rc::clone(&call.work.message);
    if is_free(&request) {
        return Ok(false);
    }
    let claim = &pending.claim;
    let found = find(&request, pending.side, config, &claim.realm);
    let (line, given) = found.ok_or(Fault::NoCredentials)?;
    call.work.auth = Seen {
        judged: Some(line),
        is_stale: false,
        user: None,
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
    match nonce::judge(&secret(call), given.nonce, now, &bound) {
        Verdict::Good(maker) if maker.shard < setup.shard_count.max(call.env.state.id.0 + 1) => {
            pending.nonce = (ShardId(maker.shard), maker.number, given.count());
            Ok(true)
        }
        Verdict::Good(_) | Verdict::Stale => {
            call.work.auth.is_stale = true;
            Err(Fault::Stale)
        }
    }
}

fn auth_check(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let side = side_of(&call.work.message);
    let (pending, checks) = (pending(call, heap, site, side), site.int(3, call, heap));
    let (Some(mut pending), Some(checks)) = (pending, checks) else {
        return NO;
    };
    let judged = judge(call, &mut pending);
    let judged = judged.and_then(|was_asked| {
        match checks & 1 == 0 || is_himself(call, side, &pending.claim.realm) {
            true => Ok(was_asked),
            false => Err(Fault::Identity),
        }
    });
    go_on(call, pending, judged)
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
