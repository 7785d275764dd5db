//! Variables of the network: where the message came from, what received it, what is to send it.

use crate::effect::flow::bracketed;
use crate::effect::{Address, Flow, Proto};
use crate::modules::entry::{alias, filled, formatted, keyed, variable, word, writable};
use crate::modules::{Call, Variable};
use crate::script::{Access, Heap, InnerKind, Value, WriteError};

fn flow(call: &Call<'_>) -> Flow {
    call.work.flow
}

fn socket<'a>(call: &'a Call<'_>) -> &'a Address {
    call.env.state.setup.address(call.work.flow.socket)
}

const PROTO: Variable = variable(
    "pr",
    |c, h, _| h.string(flow(c).proto.lower().as_bytes()),
    "The transport.",
);
const SOCKET: Variable = writable(
    variable("fs", forced, "The socket to send from: proto:ip:port."),
    set_forced,
);

const SEND_TO: Variable = keyed(
    "snd",
    InnerKind::OneOf(&SENDING),
    |c, h, a| sending(c, h, a, false),
    "In an onsend_route: where the request goes.",
);

const SOURCE: Variable = variable(
    "si",
    |c, h, _| formatted(h, format_args!("{}", flow(c).remote.ip())),
    "Source address.",
);

pub(super) const VARIABLES: [Variable; 30] = [
    SOURCE,
    alias(SOURCE, "src_ip"),
    variable(
        "sp",
        |c, _, _| Value::Int(flow(c).remote.port().into()),
        "Source port.",
    ),
    variable(
        "siz",
        |c, h, _| text(h, &bracketed(flow(c).remote.ip())),
        "Source, IPv6 in brackets.",
    ),
    variable("su", |c, h, _| source(c, h, false), "Source as a URI."),
    variable(
        "sut",
        |c, h, _| source(c, h, true),
        "Source as a URI with its transport.",
    ),
    variable("sas", source_socket, "Source as proto:ip:port."),
    variable(
        "Ri",
        |c, h, _| received_ip(c, h),
        "The address that received the message.",
    ),
    variable(
        "Rp",
        |c, _, _| Value::Int(socket(c).local.port().into()),
        "The port that did.",
    ),
    variable(
        "Ru",
        |c, h, _| local(c, h, false),
        "The receiving socket as a URI.",
    ),
    variable(
        "Rut",
        |c, h, _| local(c, h, true),
        "The same with its transport.",
    ),
    variable(
        "Rn",
        |c, h, _| socket_name(c, h),
        "The receiving socket's name.",
    ),
    variable(
        "Ras",
        |c, h, _| formatted(h, format_args!("{}", socket(c))),
        "As proto:ip:port.",
    ),
    variable(
        "RAi",
        |c, h, _| text(h, &socket(c).sent_by_host()),
        "The advertised address.",
    ),
    variable(
        "RAp",
        |c, _, _| Value::Int(socket(c).sent_by_port().into()),
        "The advertised port.",
    ),
    variable(
        "RAu",
        |c, h, _| advertised(c, h, false),
        "The advertised address as a URI.",
    ),
    variable(
        "RAut",
        |c, h, _| advertised(c, h, true),
        "The same with its transport.",
    ),
    PROTO,
    alias(PROTO, "proto"),
    variable(
        "prid",
        |c, _, _| Value::Int(proto_number(flow(c).proto)),
        "The transport's number.",
    ),
    variable("conid", connection, "The connection's number; NULL on UDP."),
    keyed(
        "af",
        InnerKind::OneOf(&["id", "name"]),
        family,
        "The address family: 2 or 10, or its name.",
    ),
    SOCKET,
    writable(
        variable("fsn", forced_name, "The socket to send from, by its name."),
        set_forced_name,
    ),
    variable(
        "fsp",
        forced_port,
        "The port of the socket to send from; 0 when there is none.",
    ),
    keyed(
        "rcv",
        InnerKind::OneOf(&RECEIVED),
        received,
        "What was received, from whom and by what.",
    ),
    keyed(
        "K",
        InnerKind::OneOf(&CONSTANTS),
        |_, _, a| Value::Int(CONSTANT_VALUES[word(a).min(8)]),
        "Constants.",
    ),
    SEND_TO,
    alias(SEND_TO, "sndto"),
    keyed(
        "sndfrom",
        InnerKind::OneOf(&SENDING),
        |c, h, a| sending(c, h, a, true),
        "In an onsend_route: what sends the request.",
    ),
];

const CONSTANTS: [&str; 9] = [
    "IPv4", "IPv6", "UDP", "TCP", "TLS", "SCTP", "WS", "WSS", "INET",
];
const CONSTANT_VALUES: [i64; 9] = [2, 10, 1, 2, 3, 4, 5, 6, 2];
const SENDING: [&str; 7] = ["ip", "port", "proto", "af", "buf", "len", "sproto"];
const RECEIVED: [&str; 7] = [
    "srcip", "srcport", "rcvip", "rcvport", "proto", "buf", "len",
];

fn text(heap: &mut Heap, text: &str) -> Value {
    heap.string(text.as_bytes())
}

/// The numbers that scripts compare with `$K`.
const fn proto_number(proto: Proto) -> i64 {
    match proto {
        Proto::Udp => 1,
        Proto::Tcp => 2,
        Proto::Tls => 3,
        Proto::Sctp => 4,
        Proto::Ws => 5,
        Proto::Wss => 6,
    }
}

/// `sip:host:port`, with the transport when it is wanted or not UDP.
fn uri(heap: &mut Heap, (host, port): (&str, u16), proto: Proto, wants_transport: bool) -> Value {
    if wants_transport || proto != Proto::Udp {
        return formatted(heap, format_args!("sip:{host}:{port};transport={proto}"));
    }
    formatted(heap, format_args!("sip:{host}:{port}"))
}

fn source(call: &Call<'_>, heap: &mut Heap, with: bool) -> Value {
    let Flow { remote, proto, .. } = call.work.flow;
    uri(heap, (&bracketed(remote.ip()), remote.port()), proto, with)
}

fn source_socket(call: &mut Call<'_>, heap: &mut Heap, _: &Access<'_>) -> Value {
    let Flow { remote, proto, .. } = call.work.flow;
    formatted(
        heap,
        format_args!("{proto}:{}:{}", bracketed(remote.ip()), remote.port()),
    )
}

fn received_ip(call: &Call<'_>, heap: &mut Heap) -> Value {
    formatted(heap, format_args!("{}", socket(call).local.ip()))
}

fn local(call: &Call<'_>, heap: &mut Heap, with: bool) -> Value {
    let address = socket(call);
    let host = bracketed(address.local.ip());
    uri(heap, (&host, address.local.port()), address.proto, with)
}

fn advertised(call: &Call<'_>, heap: &mut Heap, with: bool) -> Value {
    let address = socket(call);
    uri(
        heap,
        (&address.sent_by_host(), address.sent_by_port()),
        address.proto,
        with,
    )
}

fn socket_name(call: &Call<'_>, heap: &mut Heap) -> Value {
    filled(
        heap,
        socket(call).name.as_deref().unwrap_or_default().as_bytes(),
    )
}

fn connection(call: &mut Call<'_>, _: &mut Heap, _: &Access<'_>) -> Value {
    call.work
        .flow
        .conn
        .map_or(Value::Null, |conn| Value::Int(conn.key as i64))
}

fn family(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let is_v4 = call.work.flow.remote.is_ipv4();
    match word(access) {
        0 => Value::Int(if is_v4 { 2 } else { 10 }),
        _ => heap.string(if is_v4 { b"IPv4" } else { b"IPv6" }),
    }
}

fn received(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let flow = call.work.flow;
    match word(access) {
        0 => formatted(heap, format_args!("{}", flow.remote.ip())),
        1 => Value::Int(flow.remote.port().into()),
        2 => received_ip(call, heap),
        3 => Value::Int(socket(call).local.port().into()),
        4 => text(heap, flow.proto.lower()),
        5 => heap.string(call.work.message.bytes()),
        _ => Value::Int(call.work.message.bytes().len() as i64),
    }
}

fn sending(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>, is_from: bool) -> Value {
    let Some((to, bytes)) = call.work.sending.clone() else {
        return Value::Null;
    };
    let peer = match is_from {
        true => call.env.state.setup.address(to.socket).local,
        false => to.remote,
    };
    match word(access) {
        0 => formatted(heap, format_args!("{}", peer.ip())),
        1 => Value::Int(peer.port().into()),
        2 => Value::Int(proto_number(to.proto)),
        3 => Value::Int(if peer.is_ipv4() { 2 } else { 10 }),
        4 => heap.string(&bytes),
        5 => Value::Int(bytes.len() as i64),
        _ => text(heap, to.proto.lower()),
    }
}

fn forced_address<'a>(call: &'a Call<'_>) -> Option<&'a Address> {
    call.work
        .target
        .socket
        .map(|socket| call.env.state.setup.address(socket))
}

fn forced(call: &mut Call<'_>, heap: &mut Heap, _: &Access<'_>) -> Value {
    forced_address(call).map_or(Value::Null, |a| formatted(heap, format_args!("{a}")))
}

fn forced_name(call: &mut Call<'_>, heap: &mut Heap, _: &Access<'_>) -> Value {
    let name = forced_address(call)
        .and_then(|a| a.name.as_deref())
        .unwrap_or_default();
    filled(heap, name.as_bytes())
}

fn forced_port(call: &mut Call<'_>, _: &mut Heap, _: &Access<'_>) -> Value {
    let port = forced_address(call).map_or(0, |a| a.local.port());
    Value::Int(port.into())
}

fn set_forced(
    call: &mut Call<'_>,
    heap: &mut Heap,
    _: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    call.work.target.socket = match value {
        Value::Null => None,
        Value::Int(_) => return Err(WriteError::Invalid),
        Value::Str(text) => {
            let found = call.env.state.setup.socket_written(heap.bytes(text));
            Some(found.ok_or(WriteError::Invalid)?)
        }
    };
    Ok(())
}

fn set_forced_name(
    call: &mut Call<'_>,
    heap: &mut Heap,
    _: &Access<'_>,
    value: Value,
) -> Result<(), WriteError> {
    call.work.target.socket = match value {
        Value::Null => None,
        Value::Int(_) => return Err(WriteError::Invalid),
        Value::Str(text) => {
            let found = call.env.state.setup.socket_called(heap.bytes(text));
            Some(found.ok_or(WriteError::Invalid)?)
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_its_transport_unless_it_is_udp() {
        for (proto, wants_transport, expected) in [
            (Proto::Udp, false, "sip:h:1"),
            (Proto::Udp, true, "sip:h:1;transport=udp"),
            (Proto::Tcp, false, "sip:h:1;transport=tcp"),
            (Proto::Tcp, true, "sip:h:1;transport=tcp"),
        ] {
            let mut heap = Heap::default();
            let value = uri(&mut heap, ("h", 1), proto, wants_transport);
            assert_eq!(heap.str(value), Some(expected.as_bytes()), "{proto}");
        }
    }
}
