//! Extras of the core: further targets, sockets by name, more flags.

mod known;
mod via;

pub use known::{KnownKind, KnownRecord};
pub use via::{ViaWishes, fields, params};

use crate::effect::{Destination, Flow, Hop, Level, Proto};
use crate::script::{
    Access, CallSite, Heap, InnerKind, Outcome, ParamKind, ParamType, RouteKinds, Setting, Value,
};
use crate::sip::{HeaderName, Uri};

use crate::modules::entry::{
    NO, YES, avp_name, function, is_on, keyed, number, optional, param, text_of, truth, words,
};
use crate::modules::pv::uri::append_target;
use crate::modules::work::{Ask, Bytes, Target};
use crate::modules::{Call, Function, Module, ParamError, Variable};

/// The module's table.
pub const MODULE: Module = Module {
    name: "corex",
    doc: "Extras of the core.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    commands: &crate::modules::rpc::corex::COREX,
    ..crate::modules::EMPTY
};

/// Parameters of `corex` that mean something to a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `nio_intercept`: whether `event_route[network:msg]` runs.
    pub intercepts: bool,
    /// `nio_min_msg_len`: shorter messages pass it by.
    pub intercepted_size_min: usize,
    /// `nio_msg_avp`: the AVP in which it leaves the message; empty: none.
    pub message_avp: Box<str>,
    /// `dns_cache`: what is known of names in advance.
    pub records: Vec<KnownRecord>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            intercepts: false,
            intercepted_size_min: 32,
            message_avp: Box::default(),
            records: Vec::new(),
        }
    }
}

const TEXT: ParamKind = ParamKind::Text;
const INT: ParamKind = ParamKind::Int;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST_FAILURE: RouteKinds = RouteKinds::REQUEST.or(RouteKinds::FAILURE);

const FUNCTIONS: [Function; 29] = [
    optional(
        function(
            "append_branch",
            &[TEXT, TEXT],
            REQUEST_FAILURE,
            (
                append_branch,
                "Adds a target: the URI, or the one in force; and its q.",
            ),
        ),
        0,
    ),
    function(
        "set_send_socket",
        &[TEXT],
        ANY,
        (send_socket, "Sends from proto:ip:port."),
    ),
    function(
        "set_send_socket_name",
        &[TEXT],
        ANY,
        (send_socket_name, "Sends from this socket."),
    ),
    function(
        "set_recv_socket",
        &[TEXT],
        ANY,
        (receive_socket, "As if received by proto:ip:port."),
    ),
    function(
        "set_recv_socket_name",
        &[TEXT],
        ANY,
        (receive_socket_name, "As if received by this socket."),
    ),
    function(
        "msg_iflag_set",
        &[ParamKind::Const],
        ANY,
        (
            |c, h, s| iflag(c, h, s, Act::Set),
            "Sets a flag of the program's.",
        ),
    ),
    function(
        "msg_iflag_reset",
        &[ParamKind::Const],
        ANY,
        (|c, h, s| iflag(c, h, s, Act::Reset), "Clears it."),
    ),
    function(
        "msg_iflag_is_set",
        &[ParamKind::Const],
        ANY,
        (|c, h, s| iflag(c, h, s, Act::Test), "Whether it is set."),
    ),
    function(
        "setxflag",
        &[INT],
        ANY,
        (
            |c, h, s| xflag(c, h, s, Act::Set),
            "Sets an extended flag, 0 to 63.",
        ),
    ),
    function(
        "resetxflag",
        &[INT],
        ANY,
        (|c, h, s| xflag(c, h, s, Act::Reset), "Clears it."),
    ),
    function(
        "isxflagset",
        &[INT],
        ANY,
        (|c, h, s| xflag(c, h, s, Act::Test), "Whether it is set."),
    ),
    function(
        "is_incoming",
        &[],
        ANY,
        (
            |c, _, _| truth(c.work.raw.as_ref().is_some_and(|raw| raw.is_incoming)),
            "In event_route[network:msg]: whether the bytes have come in, or are about to leave.",
        ),
    ),
    function(
        "is_faked_msg",
        &[],
        ANY,
        (
            |c, _, _| {
                let placeholder = c.env.state.dialogs.placeholder();
                truth(std::rc::Rc::ptr_eq(&c.work.message, &placeholder))
            },
            "Whether the message came from nobody, as in event routes that none has caused.",
        ),
    ),
    function(
        "is_socket_name",
        &[TEXT],
        ANY,
        (
            |c, h, s| {
                let name = text_of(c, h, s, 0).unwrap_or_default();
                truth(c.env.state.setup.socket_called(&name).is_some())
            },
            "Whether a listening socket has the name.",
        ),
    ),
    function(
        "sendx",
        &[TEXT, TEXT, TEXT],
        ANY,
        (
            send_from,
            "Sends text to a URI with an address, from proto:ip:port.",
        ),
    ),
    optional(
        function(
            "send_udp",
            &[TEXT],
            REQUEST_FAILURE,
            (
                |c, h, s| send_whole(c, h, s, Proto::Udp),
                "Sends the message as it is to host[:port].",
            ),
        ),
        0,
    ),
    optional(
        function(
            "send_tcp",
            &[TEXT],
            REQUEST_FAILURE,
            (
                |c, h, s| send_whole(c, h, s, Proto::Tcp),
                "Sends the message as it is to host[:port], by TCP.",
            ),
        ),
        0,
    ),
    function(
        "send_data",
        &[TEXT, TEXT],
        ANY,
        (send_data, "Sends text to a URI with an address."),
    ),
    function(
        "forward_uac",
        &[TEXT],
        RouteKinds::REQUEST,
        (
            forward_uac,
            "Forwards as an end point: statelessly, with no Via but our own.",
        ),
    ),
    function(
        "forward_uac_uri",
        &[TEXT],
        RouteKinds::REQUEST,
        (
            forward_uac_uri,
            "The same, and the URI becomes the Request-URI.",
        ),
    ),
    function(
        "forward_reply",
        &[],
        RouteKinds::REPLY,
        (
            |c, _, _| c.ask(Ask::ForwardReply(None)),
            "Forwards the reply statelessly, now.",
        ),
    ),
    function(
        "set_source_address",
        &[TEXT],
        ANY,
        (source_address, "As if received from proto:ip:port."),
    ),
    function(
        "via_add_srvid",
        &[INT],
        ANY,
        (add_server_id, "server_id in our own Via, or not."),
    ),
    function(
        "via_add_xavp_params",
        &[INT],
        ANY,
        (
            via::add_params,
            "1: the fields of the $xavp of xavp_via_params become parameters of our own Via.",
        ),
    ),
    function(
        "via_use_xavp_fields",
        &[INT],
        ANY,
        (
            via::use_fields,
            "1: address and port of the $xavp of xavp_via_fields stand in our own Via.",
        ),
    ),
    function(
        "has_ruri_user",
        &[],
        ANY,
        (
            |c, _, _| truth(Uri::parse(c.work.uri()).is_ok_and(|uri| uri.user.is_some())),
            "Whether the Request-URI has a user.",
        ),
    ),
    function(
        "has_user_agent",
        &[],
        ANY,
        (
            |c, _, _| truth(c.work.message.named(b"User-Agent").next().is_some()),
            "Whether there is a User-Agent.",
        ),
    ),
    function(
        "file_read",
        &[TEXT, ParamKind::Output],
        ANY,
        (
            |c, _, _| no_files(c, "file_read"),
            "Refused: no message waits for a disk.",
        ),
    ),
    function(
        "file_write",
        &[TEXT, TEXT],
        ANY,
        (
            |c, _, _| no_files(c, "file_write"),
            "Refused: no message waits for a disk.",
        ),
    ),
];

const VARIABLES: [Variable; 1] = [keyed(
    "lsock",
    InnerKind::Name,
    listening_socket,
    "Of a listening socket: n/NAME/listen its address, l/PROTO:IP:PORT/name its name.",
)];

/// By name or by address; what is asked for stands behind it.
fn listening_socket(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let setup = &call.env.state.setup;
    let text = heap.bytes(access.key.text());
    let Some((by, rest)) = text.split_first_chunk::<2>() else {
        return Value::Null;
    };
    let Some(at) = rest.iter().rposition(|b| *b == b'/') else {
        return Value::Null;
    };
    let (value, wanted) = (&rest[..at], &rest[at + 1..]);
    let found = match by {
        b"n/" => setup.socket_called(value),
        b"l/" => setup.socket_written(value),
        _ => None,
    };
    let Some(address) = found.map(|socket| setup.address(socket)) else {
        return Value::Null;
    };
    let shown = match wanted {
        b"listen" => Some(address.to_string()),
        b"name" => address.name.as_deref().map(str::to_owned),
        _ => None,
    };
    shown.map_or(Value::Null, |text| heap.string(text.as_bytes()))
}

/// Whose hosts are all ours; the transport says nothing here.
fn subdomains(config: &mut crate::modules::Config, setting: &Setting) -> Result<(), ParamError> {
    let text = words(setting);
    if text.is_empty() {
        return Ok(());
    }
    let mut parts: Vec<&str> = text.split(':').collect();
    if Proto::from_name(parts[0].as_bytes()).is_some() && parts.len() > 1 {
        parts.remove(0);
    }
    let (domain, port) = match parts[..] {
        [domain] => (domain, None),
        [domain, port] => (domain, Some(port.parse().map_err(|_| SUBDOMAINS)?)),
        _ => return Err(SUBDOMAINS),
    };
    config.core.subdomains.push((domain.into(), port));
    Ok(())
}

const SUBDOMAINS: ParamError = ParamError("[proto:]domain[:port]");

const PARAMS: [crate::modules::Param; 5] = [
    param(
        "alias_subdomains",
        ParamType::Str,
        "",
        (
            subdomains,
            "A domain, [proto:]domain[:port], whose hosts are ours; repeatable.",
        ),
    ),
    param(
        "dns_cache",
        ParamType::Str,
        "",
        (
            |c, v| {
                let text = words(v);
                if !text.is_empty() {
                    c.corex.records.push(known::parse(&text)?);
                }
                Ok(())
            },
            "A record known in advance: type=A;name=..;addr=..;ttl=..;flags=..; repeatable.",
        ),
    ),
    param(
        "nio_intercept",
        ParamType::Int,
        "0",
        (
            |c, v| {
                c.corex.intercepts = is_on(v);
                Ok(())
            },
            "Whether event_route[network:msg] sees what comes and what leaves.",
        ),
    ),
    param(
        "nio_min_msg_len",
        ParamType::Int,
        "32",
        (
            |c, v| {
                number(v, 0, 65_535, "0 to 65535")
                    .map(|n| c.corex.intercepted_size_min = n as usize)
            },
            "Shorter messages pass it by.",
        ),
    ),
    param(
        "nio_msg_avp",
        ParamType::Str,
        "",
        (
            |c, v| {
                c.corex.message_avp = avp_name(v)?;
                Ok(())
            },
            "AVP in which it leaves the message.",
        ),
    ),
];

/// Flags of the program's own that scripts may touch.
const INTERNAL: [&[u8]; 8] = [
    b"USE_UAC_FROM",
    b"USE_UAC_TO",
    b"VIA_NOPORT",
    b"RPORT_FORCED",
    b"UAC_AUTH",
    b"DNS_NO_CACHE",
    b"NO_VIA",
    b"ACCEPT_NO_CL",
];

#[derive(Clone, Copy)]
enum Act {
    Set,
    Reset,
    Test,
}

impl Act {
    fn on(self, flags: &mut u64, bit: u64) -> bool {
        match self {
            Act::Set => *flags |= bit,
            Act::Reset => *flags &= !bit,
            Act::Test => return *flags & bit != 0,
        }
        true
    }
}

fn iflag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, act: Act) -> Outcome {
    let Some(name) = text_of(call, heap, site, 0) else {
        return NO;
    };
    match INTERNAL.iter().position(|n| **n == *name) {
        // The original's codes: -2 not set, -1 no such flag.
        Some(at) if act.on(&mut call.work.internal_flags, 1 << at) => YES,
        Some(_) => Outcome::Return(-2),
        None => NO,
    }
}

fn xflag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, act: Act) -> Outcome {
    match site.int(0, call, heap) {
        Some(n @ 0..=63) => truth(act.on(&mut call.work.extended_flags, 1 << n)),
        _ => NO,
    }
}

fn append_branch(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let uri = text_of(call, heap, site, 0).filter(|u| !u.is_empty());
    let q = match text_of(call, heap, site, 1) {
        Some(text) => match thousandths(&text) {
            Some(q) => Some(q),
            None => return NO,
        },
        None => None,
    };
    let target = match uri {
        Some(uri) if Uri::parse(&uri).is_ok() => Target {
            uri: Some(uri),
            q,
            ..Target::default()
        },
        Some(_) => return NO,
        None => {
            let uri = Some(Bytes::from(call.work.uri()));
            Target {
                uri,
                q: q.or(call.work.target.q),
                ..call.work.target.clone()
            }
        }
    };
    match append_target(call, target) {
        Ok(()) => YES,
        Err(error) => {
            call.env
                .log(Level::Err, format!("append_branch(): {}", error.reason()));
            NO
        }
    }
}

/// A q value (RFC 3261 §25.1 qvalue) in thousandths.
fn thousandths(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) || text.is_empty() {
        return None;
    }
    let whole: u16 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    let q = whole.checked_mul(1000)?.checked_add(rest)?;
    (q <= 1000).then_some(q)
}

fn send_socket(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let found = call.env.state.setup.socket_written(&text);
    call.work.target.socket = found.or(call.work.target.socket);
    truth(found.is_some())
}

fn send_socket_name(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let found = call.env.state.setup.socket_called(&text);
    call.work.target.socket = found.or(call.work.target.socket);
    truth(found.is_some())
}

fn receive_socket(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let found = call.env.state.setup.socket_written(&text);
    call.work.flow.socket = found.unwrap_or(call.work.flow.socket);
    truth(found.is_some())
}

fn receive_socket_name(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let found = call.env.state.setup.socket_called(&text);
    call.work.flow.socket = found.unwrap_or(call.work.flow.socket);
    truth(found.is_some())
}

/// The address of a URI with a numeric host; names are not looked up for raw data.
fn numeric(uri: &[u8]) -> Option<Hop> {
    let uri = Uri::parse(uri).ok()?;
    let proto = uri.transport().map_or(Some(Proto::Udp), Proto::from_name)?;
    let port = uri.port.unwrap_or(proto.default_port());
    Some(Hop {
        proto,
        addr: (uri.host_ip()?, port).into(),
    })
}

fn send_raw(call: &mut Call<'_>, uri: &[u8], bytes: Bytes) -> Outcome {
    let Some(hop) = numeric(uri) else {
        call.env.log(
            Level::Err,
            "raw data can only be sent to a URI with a numeric address",
        );
        return NO;
    };
    let setup = &call.env.state.setup;
    let came_in = call.work.flow.socket;
    let forced = call.work.target.socket;
    match forced.or_else(|| setup.socket_for(hop.proto, hop.addr.ip(), came_in)) {
        Some(socket) => {
            call.env
                .send(Destination::to(socket, hop.proto, hop.addr), bytes);
            YES
        }
        None => NO,
    }
}

/// Without an argument to the next hop of the request.
fn send_whole(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, proto: Proto) -> Outcome {
    let place = match text_of(call, heap, site, 0) {
        Some(place) if place.starts_with(b"sip:") => place.to_vec(),
        Some(place) => [b"sip:", &place[..]].concat(),
        None => call.work.next_hop().to_vec(),
    };
    let uri = match proto {
        Proto::Udp => place,
        _ => [&place[..], b";transport=", proto.lower().as_bytes()].concat(),
    };
    let bytes = Bytes::from(call.work.message.bytes());
    send_raw(call, &uri, bytes)
}

/// RFC 3261 §16.11 without the Vias of those before us: the answer ends here.
fn forward_uac(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(uri) = text_of(call, heap, site, 0).filter(|uri| Uri::parse(uri).is_ok()) else {
        return NO;
    };
    call.work.target.next_hop = Some(uri);
    let message = std::rc::Rc::clone(&call.work.message);
    for header in message.all(HeaderName::Via) {
        call.work.edits.remove(header.line);
    }
    call.ask(Ask::Forward)
}

fn forward_uac_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let uri = text_of(call, heap, site, 0).filter(|uri| Uri::parse(uri).is_ok());
    if uri.is_some() {
        call.work.target.uri = uri;
    }
    forward_uac(call, heap, site)
}

/// What `$si`, `$sp` and `src_ip` read, and where a reply goes.
fn source_address(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let text = String::from_utf8_lossy(&text);
    let source = text.split_once(':').and_then(|(proto, address)| {
        let proto = Proto::from_name(proto.as_bytes())?;
        Some((proto, address.parse().ok()?))
    });
    let Some((proto, remote)) = source else {
        return NO;
    };
    let flow = call.work.flow;
    let setup = &call.env.state.setup;
    let Some(socket) = setup.socket_for(proto, std::net::SocketAddr::ip(&remote), flow.socket)
    else {
        return NO;
    };
    // A connection leads to one peer only: a reply finds its own way to another.
    call.work.flow = Flow {
        socket,
        proto,
        remote,
        conn: None,
    };
    YES
}

fn add_server_id(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    call.work.server_id = site.int(0, call, heap).unwrap_or(0) != 0;
    YES
}

fn no_files(call: &mut Call<'_>, name: &str) -> Outcome {
    let text = format!("{name}() is refused: no message waits for a disk");
    call.env.log(Level::Err, text);
    NO
}

fn send_from(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (uri, socket) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    let data = text_of(call, heap, site, 2);
    let (Some(uri), Some(socket), Some(data)) = (uri, socket, data) else {
        return NO;
    };
    let Some(hop) = numeric(&uri) else {
        return NO;
    };
    let setup = &call.env.state.setup;
    let socket = setup.socket_written(&socket);
    let fits = |s: &crate::effect::SocketId| {
        let address = setup.address(*s);
        address.proto == hop.proto && address.local.is_ipv4() == hop.addr.is_ipv4()
    };
    match socket.filter(fits) {
        Some(socket) => {
            call.env
                .send(Destination::to(socket, hop.proto, hop.addr), data);
            YES
        }
        None => NO,
    }
}

fn send_data(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (uri, data) = (text_of(call, heap, site, 0), text_of(call, heap, site, 1));
    match (uri, data) {
        (Some(uri), Some(data)) => send_raw(call, &uri, data),
        _ => NO,
    }
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[test]
    fn q_values() {
        for (text, want) in [
            ("1", Some(1000)),
            ("1.0", Some(1000)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("0.123", Some(123)),
            ("0", Some(0)),
            ("1.001", None),
            ("0.1234", None),
            ("2", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), want, "{text}");
        }
    }
}
