//! Contacts that hide where the peer is: its URI goes into the user part (`encode_contact`) or
//! into a parameter (`contact_param_encode`) of a URI at this proxy, and comes back from there.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use crate::modules::entry::{NO, YES, function, text_of, truth};
use crate::modules::work::Bytes;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{HeaderName, Message, NameAddr, Span, Uri};

const TEXT: ParamKind = ParamKind::Text;
const REQUEST: RouteKinds = RouteKinds::REQUEST;
const BOTH: RouteKinds = REQUEST.or(RouteKinds::ONREPLY).or(RouteKinds::REPLY);

pub(super) const FUNCTIONS: [Function; 7] = [
    function(
        "encode_contact",
        &[TEXT, TEXT],
        BOTH,
        (
            encode,
            "Puts each Contact into the user part of a URI at this host.",
        ),
    ),
    function(
        "decode_contact",
        &[],
        REQUEST,
        (decode_uri, "Takes that back in the Request-URI."),
    ),
    function(
        "decode_contact_header",
        &[],
        BOTH.or(RouteKinds::FAILURE),
        (decode, "Takes that back in Contact."),
    ),
    function(
        "contact_param_encode",
        &[TEXT, TEXT],
        BOTH,
        (
            encode_param,
            "Puts each Contact into a parameter of this URI.",
        ),
    ),
    function(
        "contact_param_decode",
        &[TEXT],
        BOTH,
        (decode_param, "Takes that back in Contact."),
    ),
    function(
        "contact_param_decode_ruri",
        &[TEXT],
        REQUEST,
        (decode_param_uri, "Takes that back in the Request-URI."),
    ),
    function(
        "contact_param_rm",
        &[TEXT],
        BOTH,
        (remove_param, "Takes a parameter from each Contact."),
    ),
];

/// The places of the URIs in all Contacts.
fn uris(message: &Message) -> Vec<Span> {
    let place = |value: Span| {
        let text = message.text(value);
        let uri = NameAddr::parse(text).ok()?.uri;
        let at = memchr::memmem::find(text, uri)? as u16;
        let start = value.start + at;
        Some(Span {
            start,
            end: start + uri.len() as u16,
        })
    };
    message
        .values(HeaderName::Contact)
        .filter_map(place)
        .collect()
}

/// Rewrites the URI of each Contact; nothing is changed when one cannot be.
fn rewrite(call: &mut Call<'_>, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Outcome {
    let message = Rc::clone(&call.work.message);
    let places = uris(&message);
    let changed: Option<Vec<_>> = places
        .iter()
        .map(|place| change(message.text(*place)))
        .collect();
    let Some(changed) = changed else {
        return NO;
    };
    for (place, uri) in places.iter().zip(changed) {
        call.work.edits.replace(*place, &uri);
    }
    YES
}

/// The new URI becomes the Request-URI.
fn adopt(call: &mut Call<'_>, uri: Option<Vec<u8>>) -> Outcome {
    match uri.filter(|uri| Uri::parse(uri).is_ok()) {
        Some(uri) => {
            call.work.target.uri = Some(Bytes::from(uri));
            YES
        }
        None => NO,
    }
}

fn separator(call: &Call<'_>) -> u8 {
    call.env.state.setup.config.siputils.separator
}

/// `prefix*user*password*host*port*transport`; what is not there is empty.
fn encoded(uri: &[u8], (prefix, host, separator): (&[u8], &[u8], u8)) -> Option<Vec<u8>> {
    let uri = Uri::parse(uri).ok()?;
    let port = uri.port.map(|p| p.to_string()).unwrap_or_default();
    let fields = [
        prefix,
        uri.user.unwrap_or_default(),
        uri.password.unwrap_or_default(),
        uri.host,
        port.as_bytes(),
        uri.transport().unwrap_or_default(),
    ];
    let user = fields.join(&separator);
    Some([b"sip:", &user[..], b"@", host].concat())
}

fn decoded(uri: &[u8], separator: u8) -> Option<Vec<u8>> {
    let uri = Uri::parse(uri).ok()?;
    let fields: Vec<&[u8]> = uri.user?.split(|b| *b == separator).collect();
    let [_, user, password, host, port, transport] = fields[..] else {
        return None;
    };
    let mut out = b"sip:".to_vec();
    if !user.is_empty() {
        out.extend_from_slice(user);
        for part in [password].into_iter().filter(|p| !p.is_empty()) {
            out.push(b':');
            out.extend_from_slice(part);
        }
        out.push(b'@');
    }
    out.extend_from_slice(host);
    for (before, part) in [(&b":"[..], port), (b";transport=", transport)] {
        if !part.is_empty() {
            out.extend_from_slice(before);
            out.extend_from_slice(part);
        }
    }
    Uri::parse(&out).is_ok().then_some(out)
}

fn encode(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (prefix, host) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(prefix), Some(host)) = (prefix, host) else {
        return NO;
    };
    let separator = separator(call);
    rewrite(call, |uri| {
        let new = encoded(uri, (&prefix, &host, separator))?;
        Uri::parse(&new).is_ok().then_some(new)
    })
}

fn decode(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let separator = separator(call);
    rewrite(call, |uri| decoded(uri, separator))
}

fn decode_uri(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let uri = decoded(call.work.uri(), separator(call));
    adopt(call, uri)
}

fn encode_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (name, own) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let (Some(name), Some(own)) = (name.filter(|n| !n.is_empty()), own) else {
        return NO;
    };
    if Uri::parse(&own).is_err() {
        return NO;
    }
    rewrite(call, |uri| {
        let hidden = URL_SAFE.encode(uri);
        let new = [&own[..], b";", &name, b"=", hidden.as_bytes()].concat();
        Uri::parse(&new).is_ok().then_some(new)
    })
}

/// The URI that a parameter hides; nothing but a URI may come out.
fn hidden(uri: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let value = Uri::parse(uri).ok()?.param(name)?;
    let uri = URL_SAFE.decode(value).ok()?;
    let is_text = !uri
        .iter()
        .any(|b| b.is_ascii_control() || b" <>".contains(b));
    (is_text && Uri::parse(&uri).is_ok()).then_some(uri)
}

fn decode_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text_of(call, heap, site, 0) {
        Some(name) => rewrite(call, |uri| hidden(uri, &name)),
        None => NO,
    }
}

fn decode_param_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0);
    let uri = name.and_then(|name| hidden(call.work.uri(), &name));
    adopt(call, uri)
}

/// The URI without the parameter.
pub(super) fn without(uri: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let parsed = Uri::parse(uri).ok()?;
    if parsed.param(name).is_none() {
        return Some(uri.to_vec());
    }
    let params = parsed.params.split(|b| *b == b';');
    let is_kept = |param: &&[u8]| {
        let key = param.split(|b| *b == b'=').next().unwrap_or_default();
        !key.trim_ascii().eq_ignore_ascii_case(name)
    };
    let kept: Vec<&[u8]> = params.filter(is_kept).collect();
    let at = memchr::memmem::find(uri, parsed.params)?;
    let mut out = uri[..at].to_vec();
    out.extend_from_slice(&kept.join(&b';'));
    if kept.is_empty() {
        // The semicolon before them.
        out.pop();
    }
    out.extend_from_slice(&uri[at + parsed.params.len()..]);
    Some(out)
}

fn remove_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text_of(call, heap, site, 0) {
        Some(name) => rewrite(call, |uri| without(uri, &name)),
        None => NO,
    }
}

/// Of the Request-URI.
pub(super) fn remove_uri_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let name = text_of(call, heap, site, 0);
    let uri = name.and_then(|name| without(call.work.uri(), &name));
    truth(adopt(call, uri) == YES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_comes_back() {
        let table = [
            (
                "sip:alice:pw@h.test:5066;transport=tcp",
                Some("sip:p*alice*pw*h.test*5066*tcp@o"),
            ),
            ("sip:alice@h.test", Some("sip:p*alice**h.test**@o")),
            ("sip:h.test;x=1", Some("sip:p***h.test**@o")),
            ("nonsense", None),
        ];
        for (uri, want) in table {
            let got = encoded(uri.as_bytes(), (b"p", b"o", b'*'));
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "{uri}");
            if let Some(hidden) = got.filter(|_| !uri.contains("x=")) {
                assert_eq!(
                    decoded(&hidden, b'*').as_deref(),
                    Some(uri.as_bytes()),
                    "{uri}"
                );
            }
        }
        for uri in [
            "sip:a@b",
            "sip:p*a*b@c",
            "sip:p*a**b c*5*@c",
            "sip:p*a**h*70000*@c",
        ] {
            assert_eq!(decoded(uri.as_bytes(), b'*'), None, "{uri}");
        }
    }

    #[test]
    fn parameters_go() {
        for (uri, want) in [
            ("sip:a@b;x=1", "sip:a@b"),
            ("sip:a@b;x=1;y", "sip:a@b;y"),
            ("sip:a@b;y;X", "sip:a@b;y"),
            ("sip:a@b;y?h=v", "sip:a@b;y?h=v"),
            ("sip:a@b;x=2?h=v", "sip:a@b?h=v"),
        ] {
            let got = without(uri.as_bytes(), b"x");
            assert_eq!(got.as_deref(), Some(want.as_bytes()), "{uri}");
        }
    }

    #[test]
    fn only_a_uri_comes_out_of_a_parameter() {
        let hide = |text: &str| format!("sip:o;k={}", URL_SAFE.encode(text));
        assert!(hidden(hide("sip:a@b").as_bytes(), b"k").is_some());
        for text in ["", "x", "sip:a@b>\r\nX: 1", "sip:a@b c"] {
            assert_eq!(hidden(hide(text).as_bytes(), b"k"), None, "{text}");
        }
        assert_eq!(hidden(b"sip:o;k=%%%", b"k"), None);
        assert_eq!(hidden(b"sip:o", b"k"), None);
    }
}
