//! `uri.*`, `nameaddr.*` and `tobody.*`, by the wire's own readers (RFC 3261 §19.1, §20).

use super::{ParamKind, Params, TransformSig, part_of, plain, with};
use crate::script::value::{Digits, Heap, Text, Value};
use crate::sip::{NameAddr, Uri};

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
    plain("uri.port", |heap, input, _| {
        let shape = heap.shape(input);
        let port = shape.and_then(|shape| shape.uri(heap.bytes(input)).port);
        heap.build(|_, out| {
            if let Some(port) = port {
                out.extend_from_slice(Digits::of(i64::from(port)).as_bytes());
            }
        })
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
            of_uri(heap, input, |u| u.param(&name))
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
            let proto = u.transport().unwrap_or(b"udp").to_ascii_lowercase();
            let proto = if u.scheme_text.eq_ignore_ascii_case(b"sips") {
                b"tls".to_vec()
            } else {
                proto
            };
            let default = if proto == b"tls" { 5061 } else { 5060 };
            out.extend(proto);
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
        of_address(heap, input, |a| a.display)
    }),
    plain("nameaddr.uri", |heap, input, _| {
        of_address(heap, input, |a| Some(a.uri))
    }),
    plain("nameaddr.len", |_, input, _| Value::Int(input.len() as i64)),
    plain("tobody.uri", |heap, input, _| {
        of_address(heap, input, |a| Some(a.uri))
    }),
    plain("tobody.tag", |heap, input, _| {
        of_address(heap, input, |a| a.tag())
    }),
    plain("tobody.user", |heap, input, _| {
        of_address(heap, input, |a| Uri::parse(a.uri).ok()?.user)
    }),
    plain("tobody.host", |heap, input, _| {
        of_address(heap, input, |a| Some(Uri::parse(a.uri).ok()?.host))
    }),
    plain("tobody.params", |heap, input, _| {
        of_address(heap, input, |a| Some(a.params))
    }),
    plain("tobody.display", |heap, input, _| {
        of_address(heap, input, |a| a.display)
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

fn of_uri(
    heap: &mut Heap,
    input: Text,
    part: impl for<'a> FnOnce(&Uri<'a>) -> Option<&'a [u8]>,
) -> Value {
    let shape = heap.shape(input);
    part_of(heap, input, |bytes| part(&shape?.uri(bytes)))
}

fn of_address(
    heap: &Heap,
    input: Text,
    part: impl for<'a> FnOnce(&NameAddr<'a>) -> Option<&'a [u8]>,
) -> Value {
    part_of(heap, input, |bytes| part(&NameAddr::parse(bytes).ok()?))
}

fn rebuilt(heap: &mut Heap, input: Text, write: fn(&Uri<'_>, &mut Vec<u8>)) -> Value {
    let shape = heap.shape(input);
    heap.build(|heap, out| {
        if let Some(shape) = shape {
            write(&shape.uri(heap.bytes(input)), out);
        }
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
