//! Extras of the core: further targets, sockets by name, more flags.

use crate::effect::{Destination, Hop, Level, Proto};
use crate::script::{CallSite, Heap, InnerKind, Outcome, ParamKind, RouteKinds};
use crate::sip::Uri;

use super::entry::{
    NO, YES, function, optional, planned_function, planned_variable, text_of, truth,
};
use super::pv::uri::append_target;
use super::work::{Bytes, Target};
use super::{Call, Function, Module, Variable};

/// The module's table.
pub const MODULE: Module = Module {
    name: "corex",
    doc: "Extras of the core.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    ..super::EMPTY
};

const TEXT: ParamKind = ParamKind::Text;
const INT: ParamKind = ParamKind::Int;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST_FAILURE: RouteKinds = RouteKinds::REQUEST.or(RouteKinds::FAILURE);

const FUNCTIONS: [Function; 26] = [
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
    planned_function(
        "is_incoming",
        &[],
        0,
        (ANY, "Whether the message came from the network."),
    ),
    optional(
        function(
            "send_udp",
            &[TEXT],
            REQUEST_FAILURE,
            (send_udp, "Sends the message as it is."),
        ),
        0,
    ),
    planned_function(
        "send_tcp",
        &[TEXT],
        0,
        (REQUEST_FAILURE, "Sends the message by TCP."),
    ),
    function(
        "send_data",
        &[TEXT, TEXT],
        ANY,
        (send_data, "Sends text to a URI with an address."),
    ),
    planned_function(
        "forward_uac",
        &[TEXT],
        1,
        (RouteKinds::REQUEST, "Forwards as an end point."),
    ),
    planned_function(
        "forward_uac_uri",
        &[TEXT],
        1,
        (RouteKinds::REQUEST, "Forwards as an end point."),
    ),
    planned_function(
        "forward_reply",
        &[],
        0,
        (RouteKinds::REPLY, "Forwards the reply statelessly."),
    ),
    planned_function(
        "set_source_address",
        &[TEXT],
        1,
        (ANY, "As if received from proto:ip:port."),
    ),
    planned_function(
        "via_add_srvid",
        &[INT],
        1,
        (ANY, "server_id in our own Via."),
    ),
    planned_function(
        "via_add_xavp_params",
        &[INT],
        1,
        (ANY, "Parameters of our own Via."),
    ),
    planned_function(
        "via_use_xavp_fields",
        &[INT],
        1,
        (ANY, "Fields of our own Via."),
    ),
    planned_function(
        "has_ruri_user",
        &[],
        0,
        (ANY, "Whether the Request-URI has a user."),
    ),
    planned_function(
        "has_user_agent",
        &[],
        0,
        (ANY, "Whether there is a User-Agent."),
    ),
    planned_function(
        "file_read",
        &[TEXT, ParamKind::Output],
        2,
        (ANY, "Reads a file."),
    ),
    planned_function("file_write", &[TEXT, TEXT], 2, (ANY, "Writes a file.")),
];

const VARIABLES: [Variable; 2] = [
    planned_variable("lsock", InnerKind::Name, false, "The listening sockets."),
    planned_variable("atkv", InnerKind::Name, false, "What an event is about."),
];

const PARAMS: [super::Param; 8] = [
    super::entry::planned_param(
        "alias_subdomains",
        crate::script::ParamType::Str,
        "",
        "Domains whose hosts are ours.",
    ),
    super::entry::planned_param(
        "network_io_intercept",
        crate::script::ParamType::Int,
        "0",
        "Events of raw data.",
    ),
    super::entry::planned_param(
        "min_msg_len",
        crate::script::ParamType::Int,
        "32",
        "The shortest message.",
    ),
    super::entry::planned_param(
        "msg_avp",
        crate::script::ParamType::Str,
        "",
        "AVP with the raw message.",
    ),
    super::entry::planned_param(
        "dns_cache",
        crate::script::ParamType::Str,
        "",
        "Records known in advance.",
    ),
    super::entry::planned_param(
        "nio_intercept",
        crate::script::ParamType::Int,
        "0",
        "Events of raw data.",
    ),
    super::entry::planned_param(
        "nio_min_msg_len",
        crate::script::ParamType::Int,
        "32",
        "The shortest message.",
    ),
    super::entry::planned_param(
        "nio_msg_avp",
        crate::script::ParamType::Str,
        "",
        "AVP with the raw message.",
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
        Some(at) => truth(act.on(&mut call.work.internal_flags, 1 << at)),
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

fn send_udp(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let uri = match text_of(call, heap, site, 0) {
        Some(uri) => uri,
        None => Bytes::from(call.work.next_hop()),
    };
    let bytes = Bytes::from(call.work.message.bytes());
    send_raw(call, &uri, bytes)
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
