//! Checks that a script asks for beyond what every request must pass (RFC 3261 §16.3, §8.2).
//!
//! The core has refused the worst before a script runs; a check here answers what is left, with
//! the original's numbers, order and phrases. The bits that the original calls inactive (8, 16,
//! 16384) check nothing here either.

use crate::script::{CallSite, Heap, Outcome, ParamKind, ParamType, RouteKind, RouteKinds};
use crate::sip::{HeaderName, Message, NameAddr, Scheme, Uri, param as params};

use super::entry::{NO, YES, function, is_on, optional, param, truth, words};
use super::sl::answer_by_any;
use super::{Call, EMPTY, Function, Module, Param};

/// The module's table.
pub const MODULE: Module = Module {
    name: "sanity",
    doc: "Checks of requests.",
    functions: &FUNCTIONS,
    params: &PARAMS,
    ..EMPTY
};

/// Parameters of `sanity`.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is checked when the call does not say.
    pub checks: i64,
    /// Which URIs are looked at when the call does not say.
    pub uris: i64,
    /// Extensions that Proxy-Require may name.
    pub known: Box<str>,
    /// Whether a failed check ends the script.
    pub autodrop: bool,
    /// Whether a failed check leaves the answer to `sanity_reply`.
    pub noreply: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            checks: 999,
            uris: 7,
            known: "".into(),
            autodrop: true,
            noreply: false,
        }
    }
}

const FUNCTIONS: [Function; 2] = [
    optional(
        function(
            "sanity_check",
            &[ParamKind::Int, ParamKind::Int],
            RouteKinds::RECEIVED,
            (
                check,
                "Checks the message: bits of checks, bits of URIs; answers what breaks a rule.",
            ),
        ),
        0,
    ),
    function(
        "sanity_reply",
        &[],
        RouteKinds::RECEIVED,
        (reply, "Sends the answer that noreply held back."),
    ),
];

const PARAMS: [Param; 5] = [
    param(
        "default_checks",
        ParamType::Int,
        "999",
        (
            |c, v| {
                c.sanity.checks = v.int().unwrap_or(0);
                Ok(())
            },
            "What is checked when the call does not say.",
        ),
    ),
    param(
        "uri_checks",
        ParamType::Int,
        "7",
        (
            |c, v| {
                c.sanity.uris = v.int().unwrap_or(0);
                Ok(())
            },
            "Which URIs: 1 Request-URI, 2 From, 4 To, 8 Contact.",
        ),
    ),
    param(
        "proxy_require",
        ParamType::Str,
        "",
        (
            |c, v| {
                c.sanity.known = words(v);
                Ok(())
            },
            "Extensions that Proxy-Require may name, between commas.",
        ),
    ),
    param(
        "autodrop",
        ParamType::Int,
        "1",
        (
            |c, v| {
                c.sanity.autodrop = is_on(v);
                Ok(())
            },
            "Whether a failed check ends the script.",
        ),
    ),
    param(
        "noreply",
        ParamType::Int,
        "0",
        (
            |c, v| {
                c.sanity.noreply = is_on(v);
                Ok(())
            },
            "Whether a failed check leaves the answer to sanity_reply.",
        ),
    ),
];

/// What a check found: how to answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    status: u16,
    reason: &'static str,
    /// The extension that is not known (§8.2.2.3).
    unsupported: Option<Box<[u8]>>,
}

const fn bad(reason: &'static str) -> Option<Finding> {
    Some(Finding {
        status: 400,
        reason,
        unsupported: None,
    })
}

type Check = fn(&Message, &Config, i64) -> Option<Finding>;

/// Bit, and what it stands for, in the order in which they are asked.
const CHECKS: [(i64, Check); 11] = [
    (1, version),
    (2, scheme),
    (4, required),
    (32, cseq_method),
    (64, cseq_number),
    (128, content_length),
    (256, expires),
    (512, proxy_require),
    (1024, uris),
    (2048 | 8192, credentials),
    (4096, tags),
];

fn check(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let checks = site.int(0, call, heap);
    let uris = site.int(1, call, heap);
    let config = &call.env.state.setup.config.sanity;
    let (checks, uris) = (checks.unwrap_or(config.checks), uris.unwrap_or(config.uris));
    let message = &call.work.message;
    let mut asked = CHECKS.iter().filter(|(bit, _)| checks & bit != 0);
    let Some(finding) = asked.find_map(|(_, check)| check(message, config, uris)) else {
        return YES;
    };
    let (autodrop, noreply) = (config.autodrop, config.noreply);
    if noreply {
        call.work.finding = Some(Box::new(finding));
    } else {
        answer(call, finding);
    }
    if autodrop { Outcome::Exit } else { NO }
}

fn reply(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    match call.work.finding.take() {
        Some(finding) => truth(answer(call, *finding)),
        None => NO,
    }
}

/// Answers a request; a response is not answered.
fn answer(call: &mut Call<'_>, finding: Finding) -> bool {
    if call.work.kind != RouteKind::Request || !call.work.message.is_request() {
        return false;
    }
    if let Some(extension) = &finding.unsupported {
        let headers = &mut call.work.reply_headers;
        headers.extend_from_slice(b"Unsupported: ");
        headers.extend_from_slice(extension);
        headers.extend_from_slice(b"\r\n");
    }
    let outcome = answer_by_any(call, finding.status, finding.reason.as_bytes());
    // The script ends here or goes on with its own code: no event route comes between.
    call.work.ask = None;
    !matches!(outcome, Outcome::Return(-1))
}

fn version(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let line_end = usize::from(message.headers_start());
    let line = &message.bytes()[..line_end.min(message.bytes().len())];
    let is_right = !message.is_request()
        || line
            .trim_ascii_end()
            .to_ascii_uppercase()
            .ends_with(b"SIP/2.0");
    let finding = Finding {
        status: 505,
        reason: "Version Not Supported (R-URI)",
        unsupported: None,
    };
    (!is_right).then_some(finding)
}

fn scheme(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    if !message.is_request() {
        return None;
    }
    match Uri::parse(message.uri()) {
        Err(_) => bad("Bad Request URI"),
        Ok(uri) if uri.scheme == Scheme::Other && !is_urn(message.uri()) => Some(Finding {
            status: 416,
            reason: "Unsupported URI Scheme",
            unsupported: None,
        }),
        Ok(_) => None,
    }
}

/// A service URN (RFC 5031) names who shall answer as well as a SIP URI does.
fn is_urn(uri: &[u8]) -> bool {
    uri.get(..4)
        .is_some_and(|s| s.eq_ignore_ascii_case(b"urn:"))
}

fn required(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let names = [
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
        HeaderName::Via,
    ];
    let is_whole = names.into_iter().all(|name| message.has(name));
    if is_whole {
        None
    } else {
        bad("Missing Required Header in Request")
    }
}

fn cseq_method(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let field = message.first(HeaderName::CSeq)?;
    let text = message.text(field.value);
    let method = text.rsplit(u8::is_ascii_whitespace).next()?;
    if !message.is_request() || method == message.method_name() {
        None
    } else {
        bad("CSeq method does not match request method")
    }
}

fn cseq_number(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let field = message.first(HeaderName::CSeq)?;
    let text = message.text(field.value);
    let digits = text.split(u8::is_ascii_whitespace).next()?;
    if number(digits).is_some() {
        None
    } else {
        bad("CSeq number is illegal")
    }
}

/// Digits that fit 32 bits.
fn number(digits: &[u8]) -> Option<u32> {
    let is_plain = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
    text.parse().ok()
}

fn content_length(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let field = message.first(HeaderName::ContentLength)?;
    // What stands behind the body in a datagram was cut off when it was read (§18.3).
    let told = number(message.text(field.value))?;
    if usize::try_from(told) == Ok(message.body().len()) {
        None
    } else {
        bad("Content-Length mis-match")
    }
}

fn expires(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let field = message.first(HeaderName::Expires)?;
    let text = message.text(field.value);
    match number(text) {
        _ if text.is_empty() => bad("Bad Expires Header"),
        None => bad("Expires value is illegal"),
        Some(_) => None,
    }
}

fn proxy_require(message: &Message, config: &Config, _: i64) -> Option<Finding> {
    let mut wanted = message
        .values(HeaderName::ProxyRequire)
        .map(|span| message.text(span));
    let is_known = |name: &[u8]| {
        let mut known = config.known.split(',');
        known.any(|k| k.trim().as_bytes().eq_ignore_ascii_case(name))
    };
    let unknown = wanted.find(|name| !name.is_empty() && !is_known(name))?;
    Some(Finding {
        status: 420,
        reason: "Bad Proxy Require Extension",
        unsupported: Some(unknown.into()),
    })
}

fn uris(message: &Message, _: &Config, which: i64) -> Option<Finding> {
    let is_good = |uri: &[u8]| Uri::parse(uri).is_ok_and(|u| u.scheme != Scheme::Other);
    let request_uri_is_good =
        !message.is_request() || is_good(message.uri()) || is_urn(message.uri());
    if which & 1 != 0 && !request_uri_is_good {
        return bad("Bad Request URI");
    }
    if which & 2 != 0 && !is_good(message.from().uri) {
        return bad("Invalid From Header");
    }
    if which & 4 != 0 && !is_good(message.to().uri) {
        return bad("Invalid To Header");
    }
    let contacts_are_good = || {
        message.values(HeaderName::Contact).all(|span| {
            let text = message.text(span);
            text == b"*" || NameAddr::parse(text).is_ok_and(|c| is_good(c.uri))
        })
    };
    if which & 8 != 0 && !contacts_are_good() {
        return bad("Bad Contact URI");
    }
    None
}

/// What digest credentials must have (RFC 2617 §3.2.2).
const CREDENTIALS: [&[u8]; 5] = [b"username", b"realm", b"nonce", b"uri", b"response"];

fn credentials(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let names = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
    let mut fields = names.into_iter().flat_map(|name| message.all(name));
    let is_whole = |text: &[u8]| {
        CREDENTIALS
            .iter()
            .all(|name| super::pv::credential_of(text, name).is_some_and(|v| !v.is_empty()))
    };
    if fields.all(|field| is_whole(message.text(field.value))) {
        None
    } else {
        bad("Bad Auth Credentials")
    }
}

fn tags(message: &Message, _: &Config, _: i64) -> Option<Finding> {
    let is_repeated = |text: &[u8]| {
        let named = params::Params::new(text).filter(|p| p.is(b"tag"));
        named.count() > 1
    };
    if is_repeated(message.from().params) {
        return bad("Many From Tag Params");
    }
    if is_repeated(message.to().params) {
        return bad("Many To Tag Params");
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run, run_with, value};
    use crate::script::End;

    /// The request with a line put in, or one line for another.
    fn request(old: &str, new: &str) -> String {
        let old = if old.is_empty() { "X-Multi: one" } else { old };
        assert!(INVITE.contains(old), "{old}");
        INVITE.replacen(old, new, 1)
    }

    #[test]
    fn what_is_found_and_how_it_is_answered() {
        let digest = "Authorization: Digest username=\"u\",realm=\"r\",nonce=\"n\"";
        let whole = format!("{digest},uri=\"sip:x\",response=\"00\"");
        let from = "f: \"Alice, A.\" <sip:alice@a.test:5066;y=2>;tag=77";
        let contact = "m: <sip:alice@192.0.2.1:5062>;expires=60, <sip:alice@192.0.2.2>;expires=30";
        let table = [
            ("", "X: y", ""),
            ("", "Expires: 60", ""),
            ("", "Expires: abc", "400 Expires value is illegal"),
            ("", "Expires: -5", "400 Expires value is illegal"),
            ("", "Expires: 12a", "400 Expires value is illegal"),
            ("", "Expires:", "400 Bad Expires Header"),
            ("", "Proxy-Require: foo", "420 Bad Proxy Require Extension"),
            (
                "CSeq: 314 INVITE",
                "CSeq: 314 BYE",
                "400 CSeq method does not match request method",
            ),
            (
                "CSeq: 314 INVITE",
                "CSeq: -1 INVITE",
                "400 CSeq number is illegal",
            ),
            (
                "Content-Length: 15",
                "Content-Length: 200",
                "400 Content-Length mis-match",
            ),
            ("", digest, "400 Bad Auth Credentials"),
            ("", "Authorization: Basic abc", "400 Bad Auth Credentials"),
            ("", &whole, ""),
            (
                from,
                "f: <sip:a@a.test:xx>;tag=1",
                "400 Invalid From Header",
            ),
            (from, "f: <foo:bar>;tag=1", "400 Invalid From Header"),
            (from, "f: <tel:+1>;tag=1", ""),
            (
                from,
                "f: <sip:a@a.test>;tag=1;tag=2",
                "400 Many From Tag Params",
            ),
            (
                "To: <sip:bob@home.test>",
                "To: <sip:b:xx>",
                "400 Invalid To Header",
            ),
            (
                "To: <sip:bob@home.test>",
                "To: <sip:b@b>;tag=1;tag=2",
                "400 Many To Tag Params",
            ),
            (contact, "m: <sip:a@b:xx>", "400 Bad Contact URI"),
            (contact, "m: *", ""),
        ];
        for (old, new, want) in table {
            let ran = run(
                "sanity_check(\"32767\", \"15\"); xlog(\"on\");",
                &request(old, new),
            );
            let got = ran.sent.first().and_then(|s| s.lines().next());
            let got = got.map_or("", |line| line.trim_start_matches("SIP/2.0 "));
            assert_eq!(got, want, "{new}");
            // By default a failed check ends the script.
            let lines: &[&str] = if want.is_empty() { &["on"] } else { &[] };
            assert_eq!(ran.lines, lines, "{new}");
        }
    }

    #[test]
    fn only_what_is_asked_for_is_checked() {
        let message = request("", "Expires: abc\r\nProxy-Require: foo");
        let table = [
            ("sanity_check()", "400"),
            ("sanity_check(\"17895\", \"7\")", "400"),
            ("sanity_check(\"512\")", "420"),
            ("sanity_check(\"127\")", ""),
        ];
        for (call, want) in table {
            let ran = run(&format!("{call};"), &message);
            let got = ran.sent.first().map_or("", |s| &s[8..11]);
            assert_eq!(got, want, "{call}");
        }
    }

    #[test]
    fn an_unknown_extension_is_named() {
        let message = request("", "Proxy-Require: known, foo, bar");
        let known = "modparam(\"sanity\", \"proxy_require\", \"known, other\")";
        let ran = run_with(known, "sanity_check();", &message);
        assert!(
            ran.sent[0].contains("\r\nUnsupported: foo\r\n"),
            "{}",
            ran.sent[0]
        );
        assert_eq!(ran.end, Some(End::Exit));
    }

    #[test]
    fn the_script_may_go_on_and_answer_itself() {
        let message = request("", "Expires: abc");
        let go_on = "modparam(\"sanity\", \"autodrop\", 0)";
        let ran = run_with(
            go_on,
            "$var(r) = sanity_check(); xlog(\"$var(r)\");",
            &message,
        );
        assert_eq!((ran.lines.len(), ran.sent.len()), (1, 1));
        assert_eq!(ran.lines, ["-1"]);
        let later = format!("{go_on}\nmodparam(\"sanity\", \"noreply\", 1)");
        let ran = run_with(
            &later,
            "sanity_check(); xlog(\"a\"); sanity_reply();",
            &message,
        );
        assert_eq!((ran.lines.len(), ran.sent.len()), (1, 1));
        assert!(ran.sent[0].starts_with("SIP/2.0 400 Expires value is illegal"));
        assert_eq!(value("$var(r) = sanity_reply();", "$var(r)", INVITE), "-1");
    }

    #[test]
    fn a_transaction_answers_when_there_is_one() {
        let ran = run("t_newtran(); sanity_check();", &request("", "Expires: abc"));
        assert_eq!(ran.sent.len(), 1);
        assert!(ran.work.is_answered);
    }
}
