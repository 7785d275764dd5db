//! Questions about a message and its URIs.

mod charging;
mod contact;
mod date;
mod identity;

pub use charging::Charging;

use crate::effect::Level;
use crate::script::{
    CallSite, Heap, Outcome, ParamKind, ParamType, RouteKinds, Setting, WriteError,
};
use crate::sip::{HeaderName, NameAddr, Scheme, Uri, host};

use super::entry::{
    NO, YES, avp_name, function, join, number, optional, param, text_of, total, truth, words,
};
use super::pv::uri::change;
use super::rewrite::Part;
use super::{Call, Function, Module, Param, ParamError, core, sl};

/// The module's table.
pub const MODULE: Module = Module {
    name: "siputils",
    doc: "Questions about a message and its URIs.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &charging::VARIABLES,
    params: &PARAMS,
    ..super::EMPTY
};

/// Parameters of `siputils` that mean something here.
#[derive(Clone, Debug)]
pub struct Config {
    /// `contact_flds_separator`.
    pub separator: u8,
    /// `options_accept`.
    pub accept: Box<str>,
    /// `options_accept_encoding`.
    pub accept_encoding: Box<str>,
    /// `options_accept_language`.
    pub accept_language: Box<str>,
    /// `options_support`.
    pub supported: Box<str>,
    /// `rpid_prefix`: what stands before the identity in Remote-Party-ID.
    pub rpid_prefix: Box<str>,
    /// `rpid_suffix`: what stands behind it.
    pub rpid_suffix: Box<str>,
    /// `rpid_avp`: the AVP with the identity; empty: none.
    pub rpid_avp: Box<str>,
    /// `e164_max_len`: digits of a telephone number at the most.
    pub e164_length_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            separator: b'*',
            accept: "*/*".into(),
            accept_encoding: "".into(),
            accept_language: "en".into(),
            supported: "".into(),
            rpid_prefix: "".into(),
            rpid_suffix: identity::SUFFIX.into(),
            rpid_avp: "s:rpid".into(),
            e164_length_max: 15,
        }
    }
}

/// The value of a header field: a line end would forge another.
fn field(slot: &mut Box<str>, setting: &Setting) -> Result<(), ParamError> {
    let value = words(setting);
    if value.contains(['\r', '\n']) {
        return Err(ParamError("the value of a header field"));
    }
    *slot = value;
    Ok(())
}

const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;

const FUNCTIONS: [Function; total(&PARTS)] = join(&PARTS);

const PARTS: [&[Function]; 4] = [
    &OWN,
    &contact::FUNCTIONS,
    &identity::FUNCTIONS,
    &charging::FUNCTIONS,
];

const OWN: [Function; 25] = [
    function(
        "has_totag",
        &[],
        ANY,
        (
            has_to_tag,
            "Whether To has a tag: the request is in a dialog.",
        ),
    ),
    function(
        "is_request",
        &[],
        ANY,
        (
            |c, _, _| truth(c.work.message.is_request()),
            "Whether it is a request.",
        ),
    ),
    function(
        "is_reply",
        &[],
        ANY,
        (
            |c, _, _| truth(!c.work.message.is_request()),
            "Whether it is a reply.",
        ),
    ),
    optional(
        function(
            "is_first_hop",
            &[ParamKind::Int],
            ANY,
            (
                is_first_hop,
                "Whether it comes straight from who made it; 1: also a reply from ourselves.",
            ),
        ),
        0,
    ),
    optional(
        function(
            "uri_param",
            &[TEXT, TEXT],
            RouteKinds::ON_WAY,
            (
                uri_param,
                "Whether the Request-URI has the parameter with this value, or without one.",
            ),
        ),
        1,
    ),
    function(
        "uri_param_any",
        &[TEXT],
        RouteKinds::ON_WAY,
        (uri_param_any, "Whether the Request-URI has the parameter."),
    ),
    function(
        "add_uri_param",
        &[TEXT],
        REQUEST,
        (add_uri_param, "Adds a parameter to the Request-URI."),
    ),
    function(
        "uri_param_rm",
        &[TEXT],
        RouteKinds::ON_WAY,
        (
            contact::remove_uri_param,
            "Takes a parameter from the Request-URI.",
        ),
    ),
    function(
        "get_uri_param",
        &[TEXT, ParamKind::Output],
        REQUEST,
        (
            get_uri_param,
            "Writes a parameter of the Request-URI into a variable.",
        ),
    ),
    optional(
        function(
            "is_gruu",
            &[TEXT],
            ANY,
            (
                is_gruu,
                "Whether the URI, or the Request-URI, is a GRUU: 1 public, 2 temporary (RFC 5627).",
            ),
        ),
        0,
    ),
    function(
        "is_supported",
        &[ParamKind::OneOf(&OPTIONS)],
        ANY,
        (is_supported, "Whether Supported has the option."),
    ),
    function(
        "hdr_date_check",
        &[ParamKind::Int],
        ANY,
        (
            date_check,
            "Whether Date is at most so many seconds old; -1 there is none, -4 it is older.",
        ),
    ),
    function(
        "is_user",
        &[TEXT],
        REQUEST,
        (
            is_user,
            "Whether the credentials that were judged right are this user's.",
        ),
    ),
    function(
        "is_uri",
        &[TEXT],
        ANY,
        (is_uri, "Whether the text is a SIP URI with a host."),
    ),
    function(
        "is_tel_number",
        &[TEXT],
        ANY,
        (is_tel_number, "Whether the text is a telephone number."),
    ),
    function(
        "is_numeric",
        &[TEXT],
        ANY,
        (
            |c, h, s| every(c, h, s, u8::is_ascii_digit),
            "Whether it is digits.",
        ),
    ),
    function(
        "is_alphanum",
        &[TEXT],
        ANY,
        (is_alphanum, "Whether it is letters and digits."),
    ),
    function(
        "is_alphanumex",
        &[TEXT, TEXT],
        ANY,
        (is_alphanum_or, "The same, or one of these."),
    ),
    function(
        "cmp_uri",
        &[TEXT, TEXT],
        ANY,
        (same_uri, "Whether two URIs are the same (RFC 3261 19.1.4)."),
    ),
    function(
        "cmp_aor",
        &[TEXT, TEXT],
        ANY,
        (same_aor, "Whether scheme, user, host and port are."),
    ),
    function(
        "cmp_hdr_name",
        &[TEXT, TEXT],
        ANY,
        (same_header, "Whether two names are one header field."),
    ),
    function(
        "options_reply",
        &[],
        REQUEST,
        (options_reply, "Answers an OPTIONS that is for the proxy."),
    ),
    function(
        "set_uri_user",
        &[ParamKind::Output, TEXT],
        ANY,
        (
            |c, h, s| set_part(c, h, s, true),
            "Sets the user of the URI in a variable.",
        ),
    ),
    function(
        "set_uri_host",
        &[ParamKind::Output, TEXT],
        ANY,
        (|c, h, s| set_part(c, h, s, false), "Sets its host."),
    ),
    function(
        "tel2sip",
        &[TEXT, TEXT, ParamKind::Output],
        RouteKinds::NOT_ONSEND,
        (tel2sip, "A tel URI as a SIP URI at this host."),
    ),
];

const PARAMS: [Param; 9] = [
    param(
        "options_accept",
        ParamType::Str,
        "*/*",
        (
            |c, v| field(&mut c.siputils.accept, v),
            "Accept of options_reply.",
        ),
    ),
    param(
        "options_accept_encoding",
        ParamType::Str,
        "",
        (
            |c, v| field(&mut c.siputils.accept_encoding, v),
            "Accept-Encoding of options_reply.",
        ),
    ),
    param(
        "options_accept_language",
        ParamType::Str,
        "en",
        (
            |c, v| field(&mut c.siputils.accept_language, v),
            "Accept-Language of options_reply.",
        ),
    ),
    param(
        "options_support",
        ParamType::Str,
        "",
        (
            |c, v| field(&mut c.siputils.supported, v),
            "Supported of options_reply.",
        ),
    ),
    param(
        "contact_flds_separator",
        ParamType::Str,
        "*",
        (
            |c, v| match words(v).as_bytes() {
                [separator] if !separator.is_ascii_alphanumeric() => {
                    c.siputils.separator = *separator;
                    Ok(())
                }
                _ => Err(ParamError("one character that is no letter and no digit")),
            },
            "Between the fields of encode_contact.",
        ),
    ),
    param(
        "rpid_prefix",
        ParamType::Str,
        "",
        (
            |c, v| field(&mut c.siputils.rpid_prefix, v),
            "Before the identity in what append_rpid_hf writes.",
        ),
    ),
    param(
        "rpid_suffix",
        ParamType::Str,
        identity::SUFFIX,
        (
            |c, v| field(&mut c.siputils.rpid_suffix, v),
            "Behind the identity in what append_rpid_hf writes.",
        ),
    ),
    param(
        "rpid_avp",
        ParamType::Str,
        "$avp(s:rpid)",
        (
            |c, v| {
                c.siputils.rpid_avp = avp_name(v)?;
                Ok(())
            },
            "AVP with the identity for append_rpid_hf.",
        ),
    ),
    param(
        "e164_max_len",
        ParamType::Int,
        "15",
        (
            |c, v| number(v, 2, 100, "2 to 100").map(|n| c.siputils.e164_length_max = n as usize),
            "Digits of a telephone number at the most, for is_e164.",
        ),
    ),
];

/// What `is_supported` knows.
const OPTIONS: [&str; 6] = ["path", "100rel", "timer", "eventlist", "gruu", "outbound"];

fn has_to_tag(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    truth(call.work.message.to_tag().is_some())
}

/// A request with a single Via; a reply whose first Record-Route is ours and, unless the argument
/// is 1, an address, and that does not come from ourselves.
fn is_first_hop(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let is_lenient = site.int(0, call, heap) == Some(1);
    let message = &call.work.message;
    if message.is_request() {
        return truth(message.values(HeaderName::Via).nth(1).is_none());
    }
    let setup = &call.env.state.setup;
    let first = message.values(HeaderName::RecordRoute).next();
    let address = first.and_then(|span| NameAddr::parse(message.text(span)).ok());
    let uri = address.and_then(|address| Uri::parse(address.uri).ok());
    let Some(uri) = uri.filter(|uri| core::is_own_uri(setup, uri)) else {
        return NO;
    };
    let source = call.work.flow.remote;
    let is_own = setup.addresses.iter().any(|a| a.local == source);
    truth(is_lenient || uri.host_ip().is_some() && !is_own)
}

/// A parameter without a value is empty.
fn get_uri_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0);
    let found = name.and_then(|name| {
        let uri = Uri::parse(call.work.uri()).ok()?;
        Some(uri.param(&name)?.to_vec())
    });
    match found {
        Some(value) => written(call, heap, (site, 1), &value),
        None => NO,
    }
}

fn is_gruu(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text = text_of(call, heap, site, 0);
    let uri = Uri::parse(text.as_deref().unwrap_or_else(|| call.work.uri()));
    match uri.ok().and_then(|uri| uri.param(b"gr")) {
        None => NO,
        Some(b"") => Outcome::Return(2),
        Some(_) => YES,
    }
}

fn is_supported(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(option) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let message = &call.work.message;
    let fields = message.all(HeaderName::Supported);
    let mut options = fields.flat_map(|f| message.text(f.value).split(|b| *b == b','));
    truth(options.any(|o| o.trim_ascii().eq_ignore_ascii_case(&option)))
}

/// What the original returns for a Date that is too old.
const OUTDATED: Outcome = Outcome::Return(-4);

fn date_check(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(age_s) = site.int(0, call, heap) else {
        return NO;
    };
    let message = &call.work.message;
    let field = message.first(HeaderName::Date);
    let Some(made_s) = field.and_then(|field| date::seconds(message.text(field.value))) else {
        return NO;
    };
    let now_s = call.env.now.wall.as_secs() as i64;
    either(made_s >= now_s.saturating_sub(age_s), OUTDATED)
}

/// With one argument the parameter must have no value, as in the original.
fn uri_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (name, wanted) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(name), Ok(uri)) = (name, Uri::parse(call.work.uri())) else {
        return NO;
    };
    let wanted = wanted.as_deref().unwrap_or_default();
    truth(
        uri.param(&name)
            .is_some_and(|value| value.eq_ignore_ascii_case(wanted)),
    )
}

fn uri_param_any(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(name) = text_of(call, heap, site, 0) else {
        return NO;
    };
    truth(Uri::parse(call.work.uri()).is_ok_and(|uri| uri.param(&name).is_some()))
}

fn add_uri_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    truth(text.is_empty() || change(call, Part::Param(&text)).is_ok())
}

fn is_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    truth(Uri::parse(&text).is_ok_and(|uri| uri.scheme != Scheme::Other))
}

/// Digits, perhaps behind a plus sign.
fn is_tel_number(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let digits = text.strip_prefix(b"+").unwrap_or(&text);
    either(
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        EMPTY,
    )
}

/// What the original returns for text that is empty, or not digits.
const EMPTY: Outcome = Outcome::Return(-2);

fn either(holds: bool, otherwise: Outcome) -> Outcome {
    if holds { YES } else { otherwise }
}

fn every(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, fits: fn(&u8) -> bool) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    either(!text.is_empty() && text.iter().all(fits), EMPTY)
}

/// -3: another character, as in the original.
fn is_alphanum(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0).filter(|t| !t.is_empty()) else {
        return EMPTY;
    };
    either(
        text.iter().all(u8::is_ascii_alphanumeric),
        Outcome::Return(-3),
    )
}

fn is_alphanum_or(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(text), Some(more)) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1))
    else {
        return NO;
    };
    let fits = |b: &u8| b.is_ascii_alphanumeric() || more.contains(b);
    either(
        !text.is_empty() && text.iter().all(fits),
        Outcome::Return(-3),
    )
}

fn same_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    two_uris(call, heap, site, |a, b| a.equals(b))
}

fn same_aor(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    two_uris(call, heap, site, |a, b| {
        a.scheme == b.scheme && a.user == b.user && a.port == b.port && host::equals(a.host, b.host)
    })
}

fn two_uris(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    same: fn(&Uri<'_>, &Uri<'_>) -> bool,
) -> Outcome {
    let (Some(a), Some(b)) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1)) else {
        return NO;
    };
    match (Uri::parse(&a), Uri::parse(&b)) {
        (Ok(a), Ok(b)) => truth(same(&a, &b)),
        _ => EMPTY,
    }
}

fn same_header(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(a), Some(b)) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1)) else {
        return NO;
    };
    let (x, y) = (HeaderName::from_bytes(&a), HeaderName::from_bytes(&b));
    either(
        x == y && (x != HeaderName::Other || a.eq_ignore_ascii_case(&b)),
        EMPTY,
    )
}

/// RFC 3261 §11.2. The Request-URI must be the proxy itself, without a user.
fn options_reply(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let setup = call.env.state.setup.clone();
    let is_for_us = Uri::parse(call.work.uri())
        .is_ok_and(|uri| uri.user.is_none() && core::is_own_uri(&setup, &uri));
    if !is_for_us || call.work.message.method() != crate::sip::Method::Options {
        call.env.log(
            Level::Err,
            "options_reply(): the request is not an OPTIONS for the proxy",
        );
        return NO;
    }
    let config = &setup.config.siputils;
    let lines = format!(
        "Accept: {}\r\nAccept-Encoding: {}\r\nAccept-Language: {}\r\nSupported: {}\r\n",
        config.accept, config.accept_encoding, config.accept_language, config.supported
    );
    let headers = &mut call.work.reply_headers;
    headers.extend_from_slice(lines.replace(": \r\n", ":\r\n").as_bytes());
    sl::answer_by_any(call, 200, b"OK")
}

/// Changes the URI that the variable holds.
fn set_part(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, is_user: bool) -> Outcome {
    let (Some(old), Some(new)) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1))
    else {
        return NO;
    };
    let part = if is_user {
        Part::User(Some(&new))
    } else {
        Part::Host(&new)
    };
    match super::rewrite::changed(&old, part) {
        Ok(uri) => written(call, heap, (site, 0), &uri),
        Err(_) => NO,
    }
}

fn written(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, at): (&CallSite, usize),
    text: &[u8],
) -> Outcome {
    let value = heap.string(text);
    let done = site
        .arg(at)
        .map_or(Err(WriteError::Invalid), |arg| arg.write(call, heap, value));
    truth(done.is_ok())
}

/// RFC 3261 §19.1.6: the number without its visual separators, `user=phone`. 2: it is no tel URI.
fn tel2sip(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(text), Some(at)) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1))
    else {
        return NO;
    };
    let Some(number) = Uri::parse(&text).ok().filter(|u| u.scheme == Scheme::Tel) else {
        return Outcome::Return(2);
    };
    let lower = number.params.to_ascii_lowercase();
    let digits = number.user.unwrap_or_default().iter().copied();
    let user: Vec<u8> = digits.filter(|b| !b"-.()".contains(b)).collect();
    let params: &[u8] = if number.params.is_empty() { b"" } else { b";" };
    let uri = [
        b"sip:",
        &user[..],
        params,
        &lower,
        b"@",
        &at,
        b";user=phone",
    ]
    .concat();
    if Uri::parse(&uri).is_err() {
        return NO;
    }
    match written(call, heap, (site, 2), &uri) {
        YES => YES,
        _ => NO,
    }
}

fn is_user(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let user = text_of(call, heap, site, 0);
    truth(user.is_some() && user.as_deref() == call.work.auth.user())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{INVITE, code, run, value};

    #[test]
    fn questions() {
        let table = [
            ("has_totag()", -1),
            ("is_request()", 1),
            ("is_reply()", -1),
            ("is_first_hop()", -1),
            ("uri_param(\"transport\")", -1),
            ("uri_param(\"transport\", \"tcp\")", 1),
            ("uri_param(\"transport\", \"udp\")", -1),
            ("uri_param_any(\"transport\")", 1),
            ("is_uri(\"sip:a@b\")", 1),
            ("is_uri(\"tel:123\")", 1),
            ("is_uri(\"a@b\")", -1),
            ("is_tel_number(\"+123\")", 1),
            ("is_tel_number(\"12a\")", -2),
            ("is_numeric(\"123\")", 1),
            ("is_numeric(\"\")", -2),
            ("is_numeric(\"a\")", -2),
            ("is_alphanum(\"a1\")", 1),
            ("is_alphanum(\"\")", -2),
            ("is_alphanum(\"a-\")", -3),
            ("is_alphanumex(\"a-\", \"-_\")", 1),
            ("cmp_uri(\"sip:a@B.test\", \"sip:a@b.test;x=1\")", 1),
            ("cmp_uri(\"sip:a@b\", \"sip:c@b\")", -1),
            ("cmp_uri(\"sip:a@b\", \"nonsense\")", -2),
            ("cmp_aor(\"sip:a@B.test\", \"sip:a@b.test;x=1\")", 1),
            ("cmp_hdr_name(\"m\", \"contact\")", 1),
            ("options_reply()", -1),
            ("get_uri_param(\"transport\", \"$var(x)\")", 1),
            ("get_uri_param(\"x\", \"$var(x)\")", -1),
            ("is_gruu()", -1),
            ("is_gruu(\"sip:a@b;gr\")", 2),
            ("is_gruu(\"sip:a@b;gr=\")", 2),
            ("is_gruu(\"sip:a@b;gr=x\")", 1),
            ("is_gruu(\"nonsense\")", -1),
            ("is_supported(\"path\")", -1),
            ("hdr_date_check(10)", -1),
            ("is_first_hop(1)", -1),
        ];
        for (call, want) in table {
            assert_eq!(code(call, INVITE), want, "{call}");
        }
    }

    #[test]
    fn what_a_sender_supports_and_when_it_sent() {
        let lines =
            "Supported: path , 100rel\r\nk: Timer\r\nDate: Thu, 29 Feb 2024 23:59:50 GMT\r\n";
        let message = INVITE.replace("User-Agent:", &format!("{lines}User-Agent:"));
        let table = [
            ("is_supported(\"path\")", 1),
            ("is_supported(\"100rel\")", 1),
            ("is_supported(\"timer\")", 1),
            ("is_supported(\"gruu\")", -1),
            ("hdr_date_check(10)", 1),
            ("hdr_date_check(\"8\")", -4),
        ];
        for (call, want) in table {
            assert_eq!(code(call, &message), want, "{call}");
        }
        let message = INVITE.replace("User-Agent:", "Date: nonsense\r\nUser-Agent:");
        assert_eq!(code("hdr_date_check(10)", &message), -1);
    }

    #[test]
    fn uris_are_changed() {
        let table = [
            (
                "get_uri_param(\"transport\", \"$var(o)\");",
                "$var(o)",
                "tcp",
            ),
            (
                "add_uri_param(\"a=b\");",
                "$ru",
                "sip:bob;x=y@home.test:5061;transport=tcp;p=1;a=b",
            ),
            (
                "tel2sip(\"tel:+1-23(4);x=1\", \"h.test\", \"$var(o)\");",
                "$var(o)",
                "sip:+1234;x=1@h.test;user=phone",
            ),
            (
                "$var(u) = \"sip:old@h\"; set_uri_user(\"$var(u)\", \"new\");",
                "$var(u)",
                "sip:new@h",
            ),
            (
                "$var(u) = \"sip:old@h\"; set_uri_host(\"$var(u)\", \"k\");",
                "$var(u)",
                "sip:old@k",
            ),
        ];
        for (statements, format, want) in table {
            assert_eq!(value(statements, format, INVITE), want, "{statements}");
        }
    }

    #[test]
    fn options_for_the_proxy_are_answered() {
        let request = INVITE
            .replace(
                "INVITE sip:bob;x=y@home.test:5061;transport=tcp;p=1",
                "OPTIONS sip:home.test",
            )
            .replace("314 INVITE", "314 OPTIONS");
        let ran = run("options_reply();", &request);
        assert!(
            ran.sent[0].starts_with("SIP/2.0 200 OK\r\n"),
            "{:?}",
            ran.sent
        );
        assert!(
            ran.sent[0].contains("\r\nAccept: */*\r\n"),
            "{:?}",
            ran.sent
        );
    }
}
