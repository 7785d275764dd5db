//! `$sel(path)`, which is also written `@path`: the select framework.
//!
//! ```text
//!   cfg_get.GROUP.NAME                 a parameter
//!   ruri.user  from.uri.host  rr.uri.params.lr  contact.expires
//!   via[1].branch  cseq.method  msg.header.X_Name[-1]  src.ip  sys.now
//! ```
//!
//! The first word is checked at load. A path that leads to nothing is NULL. Words have an
//! underscore where a header has a hyphen.

use crate::modules::entry::{formatted, keyed, some};
use crate::modules::rpc::cfg;
use crate::modules::{Call, Variable};
use crate::script::calendar::Moment;
use crate::script::{Access, Heap, InnerKind, Setting, Value};
use crate::sip::{HeaderName, Message, NameAddr, Uri, param, via};

/// What a path may begin with.
const HEADS: [&str; 30] = [
    "call_id",
    "cfg_get",
    "contact",
    "content_length",
    "content_type",
    "cseq",
    "dst",
    "expires",
    "from",
    "max_forwards",
    "method",
    "msg",
    "next_hop",
    "organization",
    "p_asserted_identity",
    "priority",
    "received",
    "record_route",
    "refer_to",
    "reason",
    "rpid",
    "rr",
    "ruri",
    "session_expires",
    "src",
    "subject",
    "sys",
    "to",
    "user_agent",
    "via",
];

pub(super) const VARIABLES: [Variable; 1] = [keyed(
    "sel",
    InnerKind::PathFrom(&HEADS),
    read,
    "A part of the message, or a parameter: @path.",
)];

/// One word of a path and its index.
#[derive(Clone, Copy)]
struct Step<'a> {
    word: &'a [u8],
    index: Option<i64>,
}

/// The words of a path, from its first to its last.
#[derive(Clone, Copy)]
struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// The next word, and what follows it.
    fn next(self) -> Option<(Step<'a>, Path<'a>)> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'.', self.0).unwrap_or(self.0.len());
        let (word, rest) = (&self.0[..end], self.0.get(end + 1..).unwrap_or_default());
        let bracket = memchr::memchr(b'[', word).unwrap_or(word.len());
        let index = word[bracket..]
            .strip_prefix(b"[")
            .and_then(|i| i.strip_suffix(b"]"));
        let step = Step {
            word: &word[..bracket],
            index: index.and_then(crate::script::parse_int),
        };
        Some((step, Path(rest)))
    }

    /// The next word; empty at the end.
    fn word(self) -> &'a [u8] {
        self.next().map_or(&[][..], |(step, _)| step.word)
    }

    fn rest(self) -> Path<'a> {
        self.next().map_or(Path(&[]), |(_, rest)| rest)
    }
}

fn read(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    // Paths are short, and the heap is written while they are followed.
    let path = heap.bytes(access.key.text()).to_vec();
    let Some((step, rest)) = Path(&path).next() else {
        return Value::Null;
    };
    let message = &call.work.message;
    match step.word {
        b"cfg_get" => parameter(call, heap, rest),
        b"method" => heap.string(message.method_name()),
        b"ruri" if message.is_request() => uri(heap, call.work.uri(), rest),
        b"next_hop" if message.is_request() => {
            let route = message.first(HeaderName::Route);
            match route.and_then(|h| NameAddr::parse(message.text(h.value)).ok()) {
                Some(route) => uri(heap, route.uri, rest),
                None => uri(heap, call.work.uri(), rest),
            }
        }
        b"src" | b"dst" | b"received" => ends(call, heap, step.word, rest.word()),
        b"sys" => system(call, heap, rest),
        b"msg" => whole(message, heap, rest),
        b"cseq" => match rest.word() {
            b"num" => formatted(heap, format_args!("{}", message.cseq().number)),
            b"method" => heap.string(message.method_name()),
            _ => field(message, heap, HeaderName::CSeq, step.index),
        },
        b"via" => via_part(message, heap, step.index, rest.word()),
        _ => header(message, heap, step, rest),
    }
}

/// A parameter that the file defines, or one that may change while the proxy runs.
fn parameter(call: &Call<'_>, heap: &mut Heap, path: Path<'_>) -> Value {
    let (group, name) = (path.word(), path.rest().word());
    let selected = call.work.instances.iter().find(|(g, _)| **g == *group);
    let selected = selected.map(|(_, instance)| *instance);
    let of = |instance: Option<i64>| {
        let mut customs = call
            .program
            .customs
            .iter()
            .filter(|c| c.instance == instance);
        customs.find(|c| c.group.as_bytes() == group && c.name.as_bytes() == name)
    };
    // What an instance leaves out is as for everybody.
    let custom = selected.and_then(|n| of(Some(n))).or_else(|| of(None));
    match custom.map(|c| &c.value) {
        Some(Setting::Int(n)) => Value::Int(*n),
        Some(Setting::Text(text)) => heap.string(text),
        None => cfg::value(&call.env.state.setup, group, name).map_or(Value::Null, Value::Int),
    }
}

fn uri(heap: &mut Heap, text: &[u8], path: Path<'_>) -> Value {
    let Ok(uri) = Uri::parse(text) else {
        return Value::Null;
    };
    let part = match path.word() {
        b"" => Some(text),
        b"type" => Some(uri.scheme_text),
        b"user" => uri.user,
        b"pwd" => uri.password,
        b"host" => Some(uri.host),
        b"port" => return number(heap, uri.port),
        b"hostport" => {
            let host = String::from_utf8_lossy(uri.host);
            return match uri.port {
                Some(port) => formatted(heap, format_args!("{host}:{port}")),
                None => heap.string(uri.host),
            };
        }
        b"params" => match path.rest().word() {
            b"" => Some(uri.params).filter(|p| !p.is_empty()),
            name => uri.param(name),
        },
        b"headers" => Some(uri.headers).filter(|h| !h.is_empty()),
        b"transport" => uri.transport(),
        _ => None,
    };
    some(heap, part)
}

fn number(heap: &mut Heap, port: Option<u16>) -> Value {
    port.map_or(Value::Null, |port| formatted(heap, format_args!("{port}")))
}

/// The two ends of the way the message came.
fn ends(call: &Call<'_>, heap: &mut Heap, which: &[u8], part: &[u8]) -> Value {
    let flow = call.work.flow;
    let local = call.env.state.setup.address(flow.socket).local;
    let end = if which == b"src" { flow.remote } else { local };
    match part {
        b"ip" => formatted(heap, format_args!("{}", end.ip())),
        b"port" => formatted(heap, format_args!("{}", end.port())),
        b"ip_port" => formatted(heap, format_args!("{end}")),
        b"proto" => heap.string(flow.proto.upper().as_bytes()),
        _ => Value::Null,
    }
}

fn system(call: &Call<'_>, heap: &mut Heap, path: Path<'_>) -> Value {
    let state = &call.env.state;
    let seconds = call.env.now.wall.as_secs() as i64;
    match (path.word(), path.rest().word()) {
        (b"pid", _) => formatted(heap, format_args!("{}", state.id.0)),
        (b"now", b"gmt") => heap.build(|_, out| Moment::utc(seconds).format(b"%c", out)),
        (b"now", b"local") => {
            let moment = Moment::of(seconds, &state.setup.config.zone);
            heap.build(|_, out| moment.format(b"%c", out))
        }
        (b"now", _) => formatted(heap, format_args!("{seconds}")),
        _ => Value::Null,
    }
}

/// The message as a whole.
fn whole(message: &Message, heap: &mut Heap, path: Path<'_>) -> Value {
    let bytes = message.bytes();
    let start = usize::from(message.headers_start());
    match path.word() {
        b"" => heap.string(bytes),
        b"len" => formatted(heap, format_args!("{}", bytes.len())),
        b"type" if message.is_request() => heap.string(b"SIP_REQUEST"),
        b"type" => heap.string(b"SIP_REPLY"),
        b"first_line" => heap.string(bytes[..start].trim_ascii_end()),
        b"body" => heap.string(message.body()),
        b"header" => match path.rest().next() {
            Some((step, _)) => named(message, heap, step),
            None => heap.string(&bytes[start..usize::from(message.headers_end())]),
        },
        _ => Value::Null,
    }
}

/// The header name that a word stands for.
fn name_of(word: &[u8]) -> Vec<u8> {
    let hyphen = |b: &u8| if *b == b'_' { b'-' } else { *b };
    word.iter().map(hyphen).collect()
}

fn pick<T>(all: impl DoubleEndedIterator<Item = T>, index: Option<i64>) -> Option<T> {
    let mut all = all;
    match index.unwrap_or(0) {
        n @ 0.. => all.nth(usize::try_from(n).ok()?),
        n => all.nth_back(usize::try_from(n.checked_add(1)?.unsigned_abs()).ok()?),
    }
}

fn named(message: &Message, heap: &mut Heap, step: Step<'_>) -> Value {
    let name = name_of(step.word);
    let found = pick(message.named(&name), step.index);
    some(heap, found.map(|h| message.text(h.value)))
}

fn field(message: &Message, heap: &mut Heap, name: HeaderName, index: Option<i64>) -> Value {
    let found = pick(message.all(name), index);
    some(heap, found.map(|h| message.text(h.value)))
}

fn via_part(message: &Message, heap: &mut Heap, index: Option<i64>, part: &[u8]) -> Value {
    let all: Vec<_> = message.values(HeaderName::Via).collect();
    let Some(span) = pick(all.into_iter(), index) else {
        return Value::Null;
    };
    match via::parse_at(message.bytes(), span) {
        Ok(_) if part.is_empty() => heap.string(message.text(span)),
        Ok(via) => super::via::part(heap, &via, part),
        Err(_) => Value::Null,
    }
}

/// A header field: whole, or a part of its address.
fn header(message: &Message, heap: &mut Heap, step: Step<'_>, path: Path<'_>) -> Value {
    let name = match step.word {
        b"rr" => b"Record-Route".to_vec(),
        b"rpid" => b"Remote-Party-ID".to_vec(),
        word => name_of(word),
    };
    let known = HeaderName::from_bytes(&name);
    let Some((step_in, rest)) = path.next() else {
        return named(
            message,
            heap,
            Step {
                word: &name,
                ..step
            },
        );
    };
    let all: Vec<_> = message.values(known).collect();
    let Some(value) = pick(all.into_iter(), step.index).map(|span| message.text(span)) else {
        return Value::Null;
    };
    let Ok(address) = NameAddr::parse(value) else {
        return Value::Null;
    };
    let part = match step_in.word {
        b"uri" => return uri(heap, address.uri, rest),
        b"name" => address.display,
        b"params" => match rest.word() {
            b"" => Some(address.params).filter(|p| !p.is_empty()),
            name => param::find(address.params, name),
        },
        name => param::find(address.params, name),
    };
    some(heap, part)
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, value};

    #[test]
    fn paths_lead_to_parts() {
        let table = [
            ("ruri", "sip:bob;x=y@home.test:5061;transport=tcp;p=1"),
            ("ruri.user", "bob;x=y"),
            ("ruri.hostport", "home.test:5061"),
            ("ruri.params.p", "1"),
            ("from.uri.host", "a.test"),
            ("from.name", "\"Alice, A.\""),
            ("from.tag", "77"),
            ("from.params.tag", "77"),
            ("to.tag", "<null>"),
            ("contact[1].expires", "30"),
            ("contact.uri.port", "5062"),
            ("via.host", "192.0.2.1"),
            ("via[-1].transport", "TCP"),
            ("via[1].branch", "z9hG4bKb"),
            ("via[2]", "<null>"),
            ("cseq.num", "314"),
            ("cseq.method", "INVITE"),
            ("call_id", "call-1@a.test"),
            ("method", "INVITE"),
            ("msg.header.X_Multi[-1]", "three"),
            ("msg.type", "SIP_REQUEST"),
            ("msg.len", "915"),
            ("src.ip_port", "192.0.2.1:5062"),
            ("dst.port", "5060"),
            ("refer_to.uri.user", "refer"),
            ("user_agent", "Sample/1"),
            ("cfg_get.core.debug", "3"),
            ("cfg_get.no.such", "<null>"),
            ("sys.now.gmt", "Thu Feb 29 23:59:59 2024"),
            ("next_hop.host", "home.test"),
        ];
        for (path, want) in table {
            assert_eq!(value("", &format!("$sel({path})"), INVITE), want, "{path}");
        }
    }
}
