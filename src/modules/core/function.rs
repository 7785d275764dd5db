//! The functions of the core.

use crate::effect::{Effect, Level, Proto};
use crate::modules::entry::{
    NO, YES, function, optional, planned_function, renamed, text_of, truth,
};
use crate::modules::kex::bit;
use crate::modules::pv::uri::change;
use crate::modules::rewrite::Part;
use crate::modules::work::{Ask, Bytes, Work};
use crate::modules::{Call, Function};
use crate::script::{CallSite, Custom, Heap, Outcome, ParamKind, RouteKind, RouteKinds};
use crate::sip::{Message, Uri};

const ANY: RouteKinds = RouteKinds::ANY;
const INT: ParamKind = ParamKind::Int;
const FLAG: ParamKind = ParamKind::Flag;
const CONST: ParamKind = ParamKind::Const;
const QUOTED: ParamKind = ParamKind::Quoted;
const COUNT: ParamKind = ParamKind::Count;
/// Everywhere but where a request is on its way out already.
const FORWARDING: RouteKinds = RouteKinds::REQUEST
    .or(RouteKinds::FAILURE)
    .or(RouteKinds::BRANCH)
    .or(RouteKinds::ONREPLY)
    .or(RouteKinds::REPLY);

const FORWARD: Function = optional(
    function(
        "forward",
        &[ParamKind::Host, ParamKind::Port],
        FORWARDING,
        (forward, "Forwards statelessly."),
    ),
    0,
);
const FORWARD_UDP: Function = optional(
    function(
        "forward_udp",
        &[ParamKind::Host, ParamKind::Port],
        FORWARDING,
        (forward_udp, "Forwards by UDP."),
    ),
    1,
);
const FORWARD_TCP: Function = optional(
    function(
        "forward_tcp",
        &[ParamKind::Host, ParamKind::Port],
        FORWARDING,
        (forward_tcp, "Forwards by TCP."),
    ),
    1,
);

const HOST: Function = function(
    "rewritehost",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (
        |c, h, s| rewrite(c, h, s, |t| Part::Host(t)),
        "Sets the host.",
    ),
);
const HOST_PORT: Function = function(
    "rewritehostport",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (
        |c, h, s| rewrite(c, h, s, |t| Part::HostPort(t)),
        "Sets host and port.",
    ),
);
const HOST_PORT_TRANSPORT: Function = function(
    "rewritehostporttrans",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (
        |c, h, s| rewrite(c, h, s, |t| Part::HostPortTransport(t)),
        "Sets host, port and transport.",
    ),
);
const USER: Function = function(
    "rewriteuser",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (
        |c, h, s| rewrite(c, h, s, |t| Part::User(Some(t))),
        "Sets the user.",
    ),
);
const USER_PASSWORD: Function = function(
    "rewriteuserpass",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (
        |c, h, s| rewrite(c, h, s, |t| Part::UserPassword(t)),
        "Sets user and password.",
    ),
);
const PORT: Function = function(
    "rewriteport",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (set_port, "Sets the port."),
);
const URI: Function = function(
    "rewriteuri",
    &[QUOTED],
    RouteKinds::NOT_ONSEND,
    (set_uri, "Sets the Request-URI."),
);
const RPORT: Function = function(
    "force_rport",
    &[],
    RouteKinds::NOT_ONSEND,
    (force_rport, "Answers to the source port."),
);
const ALIAS: Function = optional(
    function(
        "force_tcp_alias",
        &[INT],
        RouteKinds::NOT_ONSEND,
        (
            alias,
            "Requests to this port of the peer, else to that of its Via, take the connection of \
             this one.",
        ),
    ),
    0,
);
const SOCKET: Function = function(
    "force_send_socket",
    &[ParamKind::Socket],
    RouteKinds::NOT_ONSEND,
    (
        force_socket,
        "Sends from this socket: [proto:]address[:port].",
    ),
);

pub(super) const FUNCTIONS: [Function; 54] = [
    FORWARD,
    FORWARD_UDP,
    FORWARD_TCP,
    planned_function(
        "forward_tls",
        &[ParamKind::Host, ParamKind::Port],
        1,
        (FORWARDING, "Forwards by TLS."),
    ),
    planned_function(
        "forward_sctp",
        &[ParamKind::Host, ParamKind::Port],
        1,
        (FORWARDING, "Forwards by SCTP."),
    ),
    RPORT,
    renamed(RPORT, "add_rport"),
    function(
        "add_local_rport",
        &[],
        RouteKinds::NOT_ONSEND,
        (local_rport, "An empty rport in our own Via."),
    ),
    ALIAS,
    renamed(ALIAS, "add_tcp_alias"),
    function(
        "set_advertised_address",
        &[ParamKind::Host],
        RouteKinds::NOT_ONSEND,
        (advertise_address, "The host of our own Via."),
    ),
    function(
        "set_advertised_port",
        &[INT],
        RouteKinds::NOT_ONSEND,
        (advertise_port, "The port of our own Via."),
    ),
    SOCKET,
    function(
        "set_forward_no_connect",
        &[],
        ANY,
        (
            |c, _, _| wish(c, |w| &mut w.stream.forward_no_connect),
            "No new connection to forward.",
        ),
    ),
    function(
        "set_reply_no_connect",
        &[],
        ANY,
        (
            |c, _, _| wish(c, |w| &mut w.stream.reply_no_connect),
            "No new connection to answer.",
        ),
    ),
    function(
        "set_forward_close",
        &[],
        ANY,
        (
            |c, _, _| wish(c, |w| &mut w.stream.forward_close),
            "Closes after forwarding.",
        ),
    ),
    function(
        "set_reply_close",
        &[],
        ANY,
        (
            |c, _, _| wish(c, |w| &mut w.stream.reply_close),
            "Closes after answering.",
        ),
    ),
    function("setflag", &[FLAG], ANY, (set_flag, "Sets a message flag.")),
    function(
        "resetflag",
        &[FLAG],
        ANY,
        (reset_flag, "Clears a message flag."),
    ),
    function(
        "isflagset",
        &[FLAG],
        ANY,
        (is_flag, "Whether the message flag is set."),
    ),
    HOST,
    renamed(HOST, "sethost"),
    renamed(HOST, "seth"),
    HOST_PORT,
    renamed(HOST_PORT, "sethostport"),
    renamed(HOST_PORT, "sethp"),
    HOST_PORT_TRANSPORT,
    renamed(HOST_PORT_TRANSPORT, "sethostporttrans"),
    renamed(HOST_PORT_TRANSPORT, "sethpt"),
    USER,
    renamed(USER, "setuser"),
    renamed(USER, "setu"),
    USER_PASSWORD,
    renamed(USER_PASSWORD, "setuserpass"),
    renamed(USER_PASSWORD, "setup"),
    PORT,
    renamed(PORT, "setport"),
    renamed(PORT, "setp"),
    URI,
    renamed(URI, "seturi"),
    function(
        "revert_uri",
        &[],
        RouteKinds::NOT_ONSEND,
        (revert_uri, "The Request-URI as received."),
    ),
    function(
        "prefix",
        &[QUOTED],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| rewrite(c, h, s, |t| Part::Prefix(t)),
            "Puts text in front of the user.",
        ),
    ),
    function(
        "strip",
        &[COUNT],
        RouteKinds::NOT_ONSEND,
        (|c, h, s| strip(c, h, s, Part::Strip), "Shortens the user."),
    ),
    function(
        "strip_tail",
        &[COUNT],
        RouteKinds::NOT_ONSEND,
        (
            |c, h, s| strip(c, h, s, Part::StripTail),
            "Shortens the user at its end.",
        ),
    ),
    function(
        "userphone",
        &[],
        RouteKinds::NOT_ONSEND,
        (user_phone, "Adds ;user=phone."),
    ),
    function(
        "clear_branches",
        &[],
        RouteKinds::NOT_ONSEND,
        (clear_branches, "Takes the appended branches away."),
    ),
    optional(
        function(
            "remove_branch",
            &[INT],
            RouteKinds::NOT_ONSEND,
            (remove_branch, "Takes one of them away."),
        ),
        0,
    ),
    function(
        "log",
        &[CONST],
        ANY,
        (log_debug, "A line at the lowest level."),
    ),
    function("log", &[COUNT, CONST], ANY, (log, "A line at this level.")),
    function(
        "error",
        &[CONST, CONST],
        RouteKinds::NOT_ONSEND,
        (error, "A line at level ERR."),
    ),
    planned_function(
        "exec",
        &[CONST],
        1,
        (RouteKinds::NOT_ONSEND, "Runs a command of the shell."),
    ),
    function(
        "cfg_select",
        &[CONST, INT],
        RouteKinds::NOT_ONSEND,
        (
            cfg_select,
            "Selects an instance of a group of custom parameters, for this message.",
        ),
    ),
    function(
        "cfg_reset",
        &[CONST],
        RouteKinds::NOT_ONSEND,
        (cfg_reset, "Selects none of the group's instances."),
    ),
    function(
        "udp_mtu_try_proto",
        &[ParamKind::Word],
        RouteKinds::NOT_ONSEND,
        (
            try_proto,
            "The transport for this request when it is longer than udp_mtu: UDP or TCP.",
        ),
    ),
];

fn forward(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    forward_by(call, heap, site, None)
}

fn forward_udp(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    forward_by(call, heap, site, Some(Proto::Udp))
}

fn forward_tcp(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    forward_by(call, heap, site, Some(Proto::Tcp))
}

/// Without a host the request goes where it was to go; `uri:host` and `uri:port` are the words
/// for that.
fn forward_by(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    proto: Option<Proto>,
) -> Outcome {
    // A response is no request; elsewhere the request is the transaction's.
    if !matches!(call.work.kind, RouteKind::Request | RouteKind::Event) {
        let text = "forward(): there is no request to forward here".to_owned();
        call.env.log(Level::Err, text);
        return NO;
    }
    let host = text_of(call, heap, site, 0).filter(|h| &**h != b"uri:host");
    let port = match &*text_of(call, heap, site, 1).unwrap_or_else(|| Bytes::from(&[][..])) {
        b"" | b"uri:port" => None,
        port => std::str::from_utf8(port).ok().and_then(|p| p.parse().ok()),
    };
    let uri = match (host, proto) {
        (None, None) => None,
        (Some(host), _) => Some((String::from_utf8_lossy(&host).into_owned(), port)),
        (None, Some(_)) => match Uri::parse(call.work.next_hop()) {
            Ok(uri) => {
                let host = String::from_utf8_lossy(uri.host).into_owned();
                Some((host, uri.port.map(i64::from)))
            }
            Err(_) => return NO,
        },
    };
    if let Some((host, port)) = uri {
        let port = port.map_or(String::new(), |p| format!(":{p}"));
        let transport = proto.map_or(String::new(), |p| format!(";transport={p}"));
        let text = format!("sip:{host}{port}{transport}");
        if Uri::parse(text.as_bytes()).is_err() {
            return NO;
        }
        call.work.target.next_hop = Some(Bytes::from(text.into_bytes()));
    }
    call.ask(Ask::Forward)
}

fn force_rport(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    wish(call, |w| &mut w.force_rport)
}

fn local_rport(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    wish(call, |w| &mut w.local_rport)
}

fn wish(call: &mut Call<'_>, place: fn(&mut Work) -> &mut bool) -> Outcome {
    *place(call.work) = true;
    YES
}

fn advertise_address(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let host = text_of(call, heap, site, 0);
    // What cannot stand in a URI cannot stand in Via either.
    let is_host = |h: &Bytes| Uri::parse(&[b"sip:", &**h].concat()).is_ok_and(|u| u.host == &**h);
    let host = host.filter(is_host);
    let is_set = host.is_some();
    call.work.advertised.0 = host.or(call.work.advertised.0.take());
    truth(is_set)
}

fn advertise_port(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site
        .int(0, call, heap)
        .and_then(|p| u16::try_from(p).ok())
        .filter(|p| *p > 0)
    {
        Some(port) => {
            call.work.advertised.1 = Some(port);
            YES
        }
        None => NO,
    }
}

fn force_socket(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    match call.env.state.setup.socket_written(&text) {
        Some(socket) => {
            call.work.target.socket = Some(socket);
            YES
        }
        None => {
            let text = String::from_utf8_lossy(&text);
            call.env
                .log(Level::Err, format!("force_send_socket(): no socket {text}"));
            NO
        }
    }
}

/// The original reads the number of an instance from text, too.
fn cfg_select(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (group, instance) = (text_of(call, heap, site, 0), site.int(1, call, heap));
    let (Some(group), Some(instance)) = (group, instance) else {
        return NO;
    };
    let mut customs = call.program.customs.iter();
    let is_it = |c: &Custom| c.instance == Some(instance) && c.group.as_bytes() == &*group;
    if !customs.any(is_it) {
        // What was selected before stays.
        return NO;
    }
    let instances = &mut call.work.instances;
    instances.retain(|(g, _)| **g != *group);
    instances.push(((*group).into(), instance));
    YES
}

fn cfg_reset(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let group = text_of(call, heap, site, 0);
    let instances = &mut call.work.instances;
    instances.retain(|(g, _)| group.as_ref().is_none_or(|group| **g != **group));
    YES
}

fn try_proto(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let word = text_of(call, heap, site, 0);
    let proto = word.and_then(|word| Proto::from_name(&word));
    let usable = proto.filter(|p| matches!(p, Proto::Udp | Proto::Tcp));
    call.work.mtu_proto = usable.or(call.work.mtu_proto);
    truth(usable.is_some())
}

/// RFC 5923: the connection serves requests the other way.
fn alias(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let work = &call.work;
    let Some(conn) = work.flow.conn.filter(|_| work.message.is_request()) else {
        return NO;
    };
    let port = match site.int(0, call, heap) {
        Some(port) => u16::try_from(port).ok().filter(|port| *port > 0),
        None => Some(via_port(&call.work.message, call.work.flow.proto)),
    };
    match port {
        Some(port) => {
            call.env.out.push(Effect::Alias(conn, port));
            YES
        }
        None => NO,
    }
}

/// The port that the sender says it listens on.
pub(crate) fn via_port(request: &Message, proto: Proto) -> u16 {
    request.top_via().port.unwrap_or(proto.default_port())
}

fn set_flag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let bit = bit(call, heap, site);
    call.work.flags |= bit.unwrap_or(0);
    truth(bit.is_some())
}

fn reset_flag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let bit = bit(call, heap, site);
    call.work.flags &= !bit.unwrap_or(0);
    truth(bit.is_some())
}

fn is_flag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let bit = bit(call, heap, site).unwrap_or(0);
    truth(call.work.flags & bit != 0)
}

fn rewrite(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    part: for<'a> fn(&'a [u8]) -> Part<'a>,
) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    truth(change(call, part(&text)).is_ok())
}

fn set_port(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    let port = std::str::from_utf8(&text).ok().map(str::trim);
    match port.map(|p| (p.is_empty(), p.parse().ok())) {
        Some((true, _)) => truth(change(call, Part::Port(None)).is_ok()),
        Some((false, Some(port))) => truth(change(call, Part::Port(Some(port))).is_ok()),
        Some((false, None)) | None => NO,
    }
}

fn set_uri(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text_of(call, heap, site, 0).filter(|t| Uri::parse(t).is_ok()) {
        Some(text) => {
            call.work.target.uri = Some(text);
            YES
        }
        None => NO,
    }
}

fn revert_uri(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    call.work.target.uri = None;
    YES
}

fn strip(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    part: fn(usize) -> Part<'static>,
) -> Outcome {
    let Some(n) = site
        .int(0, call, heap)
        .and_then(|n| usize::try_from(n).ok())
    else {
        return NO;
    };
    let length = Uri::parse(call.work.uri())
        .ok()
        .and_then(|u| u.user)
        .map_or(0, <[u8]>::len);
    if n > length {
        call.env.log(
            Level::Warn,
            format!("strip: {n} characters of a user that has {length}"),
        );
    }
    truth(change(call, part(n)).is_ok())
}

fn user_phone(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let has = Uri::parse(call.work.uri()).is_ok_and(|uri| uri.param(b"user").is_some());
    truth(has || change(call, Part::Param(b"user=phone")).is_ok())
}

fn clear_branches(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    call.work.appended.clear();
    YES
}

fn remove_branch(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let at = usize::try_from(site.int(0, call, heap).unwrap_or(0)).unwrap_or(usize::MAX);
    if at < call.work.appended.len() {
        call.work.appended.remove(at);
    }
    YES
}

fn line(
    call: &mut Call<'_>,
    heap: &mut Heap,
    (site, at): (&CallSite, usize),
    level: Level,
) -> Outcome {
    let text = text_of(call, heap, site, at).unwrap_or_else(|| Bytes::from(&[][..]));
    call.renew_log_prefix(heap);
    call.log_script(level, String::from_utf8_lossy(&text).into_owned());
    YES
}

/// Without a level a line is below what any `debug` shows but the highest.
fn log_debug(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    line(call, heap, (site, 0), Level::Dbg)
}

fn log(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let level = Level::from_number(site.int(0, call, heap).unwrap_or(0));
    line(call, heap, (site, 1), level)
}

fn error(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    line(call, heap, (site, 0), Level::Err)
}
