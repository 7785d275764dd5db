//! `uri.*`, `nameaddr.*` and `tobody.*`, by the wire's own readers (RFC 3261 §19.1, §20). What
//! cannot be read gives NULL, a part that is not there an empty text.

use super::{ParamKind, Params, TransformSig, built, part_or_null, plain, with};
use crate::effect::Proto;
use crate::script::value::{Digits, Heap, Text, Value};
use crate::sip::{NameAddr, Scheme, Uri};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[
    plain("uri.user", |heap, input, _| of_uri(heap, input, |u| u.user)),
    plain("uri.passwd", |heap, input, _| {
        of_uri(heap, input, |u| u.password)
    }),
    plain("uri.password", |heap, input, _| {
        of_uri(heap, input, |u| u.password)
    }),
    plain("uri.host", |heap, input, _| {
        of_uri(heap, input, |u| Some(u.host))
    }),
    plain("uri.domain", |heap, input, _| {
        of_uri(heap, input, |u| Some(u.host))
    }),
    plain("uri.port", |heap, input, _| {
        let shape = heap.shape(input);
        let uri = shape.map(|shape| shape.uri(heap.bytes(input)));
        let port = uri.filter(is_read).map(|uri| uri.port.unwrap_or(0));
        port.map_or(Value::Null, |port| Value::Int(port.into()))
    }),
    plain("uri.params", |heap, input, _| {
        of_uri(heap, input, |u| Some(u.params))
    }),
    with(
        "uri.param",
        &[ParamKind::Text],
        1,
        "the name of a parameter",
        |heap, input, params| {
            let name = name(heap, params);
            // The last of that name.
            of_uri(heap, input, |u| {
                let found = u.params().filter(|p| p.is(&name)).last();
                found.map(|p| p.text())
            })
        },
    ),
    with(
        "uri.rmparam",
        &[ParamKind::Text],
        1,
        "the name of a parameter",
        |heap, input, params| {
            let name = params.text(0, heap);
            heap.build(|heap, out| {
                without_param(heap.bytes(input), heap.bytes(name).trim_ascii(), out);
            })
        },
    ),
    plain("uri.headers", |heap, input, _| {
        of_uri(heap, input, |u| Some(u.headers))
    }),
    plain("uri.transport", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"transport"))
    }),
    plain("uri.ttl", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"ttl"))
    }),
    plain("uri.uparam", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"user"))
    }),
    plain("uri.maddr", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"maddr"))
    }),
    plain("uri.method", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"method"))
    }),
    plain("uri.lr", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"lr"))
    }),
    plain("uri.r2", |heap, input, _| {
        of_uri(heap, input, |u| u.param(b"r2"))
    }),
    plain("uri.scheme", |heap, input, _| {
        of_uri(heap, input, |u| Some(u.scheme_text))
    }),
    plain("uri.tosocket", |heap, input, _| {
        rebuilt(heap, input, |u, out| {
            let named = u.transport().and_then(Proto::from_name);
            let Some(proto) = named else { return };
            let default = if proto == Proto::Tls { 5061 } else { 5060 };
            out.extend(proto.lower().as_bytes());
            out.push(b':');
            out.extend_from_slice(u.host);
            out.push(b':');
            out.extend_from_slice(Digits::of(i64::from(u.port.unwrap_or(default))).as_bytes());
        })
    }),
    plain("uri.saor", |heap, input, _| {
        rebuilt(heap, input, |u, out| aor(u, true, out))
    }),
    plain("uri.duri", |heap, input, _| {
        rebuilt(heap, input, |u, out| {
            out.extend_from_slice(u.scheme_text);
            out.push(b':');
            address(u, out);
        })
    }),
    plain("uri.suri", |heap, input, _| {
        rebuilt(heap, input, |u, out| {
            aor(u, true, out);
            if let Some(port) = u.port {
                out.push(b':');
                out.extend_from_slice(Digits::of(i64::from(port)).as_bytes());
            }
            transport(u, out);
        })
    }),
    plain("nameaddr.name", |heap, input, _| {
        part_or_null(heap, input, |b| Some(name_addr(b)?.0))
    }),
    plain("nameaddr.uri", |heap, input, _| {
        part_or_null(heap, input, |b| Some(name_addr(b)?.1))
    }),
    plain("nameaddr.len", |heap, input, _| {
        let parts = name_addr(heap.bytes(input));
        parts.map_or(Value::Null, |(_, _, len)| Value::Int(len as i64))
    }),
    plain("tobody.uri", |heap, input, _| {
        of_address(heap, input, |a, _| Some(a.uri))
    }),
    plain("tobody.tag", |heap, input, _| {
        of_address(heap, input, |a, _| match a.tag()? {
            [b'"', inner @ .., b'"'] => Some(inner),
            tag => Some(tag),
        })
    }),
    plain("tobody.user", |heap, input, _| {
        of_address(heap, input, |_, uri| uri.user)
    }),
    plain("tobody.host", |heap, input, _| {
        of_address(heap, input, |_, uri| Some(uri.host))
    }),
    plain("tobody.params", |heap, input, _| {
        of_address(heap, input, |a, _| Some(a.params))
    }),
    plain("tobody.display", |heap, input, _| {
        of_address(heap, input, |a, _| a.display)
    }),
];

fn name(heap: &mut Heap, params: &Params<'_>) -> Vec<u8> {
    let name = params.text(0, heap);
    heap.bytes(name).trim_ascii().to_vec()
}

/// The URI without its parameters of this name. What is no URI stays as it is.
fn without_param(text: &[u8], name: &[u8], out: &mut Vec<u8>) {
    let params = Uri::parse(text).map_or(&[][..], |uri| uri.params);
    let from = (params.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if params.is_empty() || from > text.len() {
        return out.extend_from_slice(text);
    }
    // The semicolon before the first parameter goes and comes with it.
    out.extend_from_slice(&text[..from - 1]);
    for param in params.split(|b| *b == b';') {
        let end = memchr::memchr(b'=', param).unwrap_or(param.len());
        if !param[..end].eq_ignore_ascii_case(name) {
            out.push(b';');
            out.extend_from_slice(param);
        }
    }
    out.extend_from_slice(&text[from + params.len()..]);
}

/// Whether the parts of this URI are known.
fn is_read(uri: &Uri<'_>) -> bool {
    uri.scheme != Scheme::Other || uri.scheme_text.eq_ignore_ascii_case(b"urn")
}

fn of_uri(
    heap: &mut Heap,
    input: Text,
    part: impl for<'a> FnOnce(&Uri<'a>) -> Option<&'a [u8]>,
) -> Value {
    let shape = heap.shape(input);
    part_or_null(heap, input, |bytes| {
        let uri = shape?.uri(bytes);
        is_read(&uri).then(|| part(&uri).unwrap_or_default())
    })
}

fn of_address(
    heap: &Heap,
    input: Text,
    part: impl for<'a> FnOnce(&NameAddr<'a>, &Uri<'a>) -> Option<&'a [u8]>,
) -> Value {
    part_or_null(heap, input, |bytes| {
        let address = NameAddr::parse(bytes).ok()?;
        let uri = Uri::parse(address.uri).ok().filter(is_read)?;
        Some(part(&address, &uri).unwrap_or_default())
    })
}

/// What stands before the first angle bracket outside of quotes, what stands in it, and how long
/// both are; without one all of the text is the URI.
fn name_addr(text: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let open = text.iter().position(|b| {
        is_quoted ^= *b == b'"' && !is_escaped;
        is_escaped = *b == b'\\' && is_quoted && !is_escaped;
        *b == b'<' && !is_quoted
    });
    let Some(open) = open else {
        return (!text.is_empty()).then_some((&[], text, text.len()));
    };
    let close = open + memchr::memchr(b'>', &text[open..])?;
    Some((&text[..open], &text[open + 1..close], close + 1))
}

fn rebuilt(heap: &mut Heap, input: Text, write: fn(&Uri<'_>, &mut Vec<u8>)) -> Value {
    let shape = heap.shape(input);
    built(heap, |heap, out| {
        let uri = shape?.uri(heap.bytes(input));
        is_read(&uri).then(|| write(&uri, out))
    })
}

/// `scheme:user@host`.
fn aor(uri: &Uri<'_>, with_user: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(uri.scheme_text);
    out.push(b':');
    if let (true, Some(user)) = (with_user, uri.user) {
        out.extend_from_slice(user);
        out.push(b'@');
    }
    out.extend_from_slice(uri.host);
}

/// `host[:port][;transport=..]`, what a next hop needs.
fn address(uri: &Uri<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(uri.host);
    if let Some(port) = uri.port {
        out.push(b':');
        out.extend_from_slice(Digits::of(i64::from(port)).as_bytes());
    }
    transport(uri, out);
}

fn transport(uri: &Uri<'_>, out: &mut Vec<u8>) {
    if let Some(transport) = uri.transport() {
        out.extend_from_slice(b";transport=");
        out.extend_from_slice(transport);
    }
}
