//! Copies and other ways to relay: `t_replicate`, `t_forward_nonack` and their kin by transport,
//! and functions that the original has for reasons of its own.

use crate::modules::entry::{NO, YES, function, optional, text_of};
use crate::modules::work::{Ask, Bytes, RelayOptions};
use crate::modules::{Call, Function, Run};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::Uri;

use super::functions::destination_uri;

const TEXT: ParamKind = ParamKind::Text;
const INT: ParamKind = ParamKind::Int;
const REQUEST: RouteKinds = RouteKinds::REQUEST;
const REQUEST_FAILURE: RouteKinds = REQUEST.or(RouteKinds::FAILURE);

const FORWARDS: &str = "Forwards a request statefully to host and port.";
const COPIES: &str = "Sends a copy to host and port; its answers are nobody's.";

const fn to_host(name: &'static str, run: Run, doc: &'static str) -> Function {
    function(name, &[TEXT, INT], REQUEST, (run, doc))
}

const fn by(name: &'static str, run: Run) -> Function {
    let doc = "As t_relay, by this transport.";
    function(name, &[], REQUEST_FAILURE, (run, doc))
}

pub(super) const FUNCTIONS: [Function; 23] = [
    function(
        "t_relay",
        &[TEXT, INT],
        REQUEST_FAILURE,
        (
            |c, h, s| relay(c, h, s, (None, RelayOptions::default())),
            "Forwards to host and port, by the transport it came in by.",
        ),
    ),
    function(
        "t_relay_to_tls",
        &[TEXT, INT],
        REQUEST_FAILURE,
        (
            |c, h, s| relay(c, h, s, (Some("tls"), RelayOptions::default())),
            "Forwards to host and port.",
        ),
    ),
    function(
        "t_relay_to_sctp",
        &[TEXT, INT],
        REQUEST_FAILURE,
        (
            |c, h, s| relay(c, h, s, (Some("sctp"), RelayOptions::default())),
            "Forwards to host and port.",
        ),
    ),
    by("t_relay_to_udp", |c, _, _| relay_by(c, "udp")),
    by("t_relay_to_tcp", |c, _, _| relay_by(c, "tcp")),
    by("t_relay_to_tls", |c, _, _| relay_by(c, "tls")),
    by("t_relay_to_sctp", |c, _, _| relay_by(c, "sctp")),
    function(
        "t_forward_nonack_uri",
        &[],
        REQUEST,
        (
            |c, _, _| match c.work.transaction {
                Some(_) => c.ask(Ask::Relay(RelayOptions::default())),
                None => NO,
            },
            "Forwards a request that has a transaction.",
        ),
    ),
    to_host(
        "t_forward_nonack",
        |c, h, s| forward(c, h, s, None),
        FORWARDS,
    ),
    to_host(
        "t_forward_nonack_udp",
        |c, h, s| forward(c, h, s, Some("udp")),
        FORWARDS,
    ),
    to_host(
        "t_forward_nonack_tcp",
        |c, h, s| forward(c, h, s, Some("tcp")),
        FORWARDS,
    ),
    to_host(
        "t_forward_nonack_tls",
        |c, h, s| forward(c, h, s, Some("tls")),
        FORWARDS,
    ),
    to_host(
        "t_forward_nonack_sctp",
        |c, h, s| forward(c, h, s, Some("sctp")),
        FORWARDS,
    ),
    optional(
        function(
            "t_replicate",
            &[TEXT],
            REQUEST,
            (
                replicate,
                "Sends a copy to the URI or the target in force; its answers are nobody's.",
            ),
        ),
        0,
    ),
    to_host("t_replicate", |c, h, s| copy(c, h, s, None), COPIES),
    to_host(
        "t_replicate_udp",
        |c, h, s| copy(c, h, s, Some("udp")),
        COPIES,
    ),
    to_host(
        "t_replicate_tcp",
        |c, h, s| copy(c, h, s, Some("tcp")),
        COPIES,
    ),
    to_host(
        "t_replicate_tls",
        |c, h, s| copy(c, h, s, Some("tls")),
        COPIES,
    ),
    to_host(
        "t_replicate_sctp",
        |c, h, s| copy(c, h, s, Some("sctp")),
        COPIES,
    ),
    function(
        "t_next_contact_flow",
        &[],
        RouteKinds::REQUEST,
        (
            super::serial::next_flow,
            "Makes the next contact of the device whose branch has failed the target; -2: there is \
             none.",
        ),
    ),
    function(
        "t_use_uac_headers",
        &[],
        RouteKinds::ANY,
        (
            |_, _, _| YES,
            "CANCEL and ACK are made from the request as sent; they always are.",
        ),
    ),
    function(
        "t_clean",
        &[],
        RouteKinds::ANY,
        (
            |_, _, _| YES,
            "Transactions end in time; there is nothing to clean.",
        ),
    ),
    function(
        "t_is_retr_async_reply",
        &[],
        RouteKinds::ONREPLY,
        (
            |_, _, _| NO,
            "Whether the reply repeats one that is suspended: replies never are.",
        ),
    ),
];

/// A copy: the caller hears nothing of it.
const REPLICA: RelayOptions = RelayOptions {
    no_100: true,
    no_error_reply: true,
    no_failover: false,
    is_replica: true,
};

fn forward(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, proto: Option<&str>) -> Outcome {
    relay(call, heap, site, (proto, RelayOptions::default()))
}

fn copy(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, proto: Option<&str>) -> Outcome {
    relay(call, heap, site, (proto, REPLICA))
}

fn relay(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    (proto, options): (Option<&str>, RelayOptions),
) -> Outcome {
    let host = text_of(call, heap, site, 0);
    let port = site.int(1, call, heap).and_then(|p| u16::try_from(p).ok());
    let (Some(host), Some(port)) = (host, port.filter(|p| *p > 0)) else {
        return NO;
    };
    let proto = proto.unwrap_or(call.work.flow.proto.lower());
    let host = String::from_utf8_lossy(&host);
    call.work.target.next_hop = Some(destination_uri(proto, &host, port));
    call.ask(Ask::Relay(options))
}

/// To the next hop as it stands, by this transport. What is no SIP URI fails as with `t_relay`.
fn relay_by(call: &mut Call<'_>, proto: &str) -> Outcome {
    if let Ok(uri) = Uri::parse(call.work.next_hop())
        && !uri.host.is_empty()
    {
        let host = String::from_utf8_lossy(uri.maddr().unwrap_or(uri.host));
        let port = uri.port.map_or(String::new(), |port| format!(":{port}"));
        let text = format!("sip:{host}{port};transport={proto}");
        call.work.target.next_hop = Some(Bytes::from(text.into_bytes()));
    }
    call.ask(Ask::Relay(RelayOptions::default()))
}

/// The URI is where the copy goes; its Request-URI stays.
fn replicate(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    if let Some(uri) = text_of(call, heap, site, 0) {
        if Uri::parse(&uri).is_err() {
            return NO;
        }
        call.work.target.next_hop = Some(Bytes::from(&uri[..]));
    }
    call.ask(Ask::Relay(REPLICA))
}
