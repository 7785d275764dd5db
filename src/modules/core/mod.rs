//! The core: functions, keywords and global parameters that are there without `loadmodule`.

mod function;
mod global;
mod ignored;
pub mod instance;
mod statistic;

use crate::effect::Proto;
use crate::script::{Heap, Keyword, Value};
use crate::sip::{Scheme, Uri};

use super::entry::{self, formatted, some};
use super::rpc::{self, system::SYSTEM};
use super::setup::Setup;
use super::{Call, Module};

pub(crate) use function::via_port;
pub use global::GLOBALS;

/// The module's table.
pub const MODULE: Module = Module {
    name: "core",
    doc: "What is always there.",
    planned: false,
    functions: &function::FUNCTIONS,
    variables: &[],
    params: &[],
    commands: &COMMANDS,
    statistics: &statistic::STATISTICS,
};

const COMMANDS: [rpc::Command; entry::total(&OWN)] = entry::join(&OWN);

const OWN: [&[rpc::Command]; 4] = [
    &rpc::core::CORE,
    &rpc::core::RELOAD,
    &rpc::call::CALL,
    &SYSTEM,
];

/// Whether a URI's host and port are ours; a sips URI without a port means 5061.
pub fn is_own_uri(setup: &Setup, uri: &Uri<'_>) -> bool {
    let default = (uri.scheme == Scheme::Sips).then_some(Proto::Tls.default_port());
    setup.is_myself(uri.host, uri.port.or(default))
}

/// The value of a bare keyword.
pub fn keyword(call: &mut Call<'_>, heap: &mut Heap, keyword: Keyword) -> Value {
    let flow = call.work.flow;
    let message = &call.work.message;
    let local = call.env.state.setup.address(flow.socket).local;
    match keyword {
        Keyword::Method => heap.string(message.method_name()),
        Keyword::Uri if message.is_request() => heap.string(call.work.uri()),
        Keyword::Uri => formatted(heap, format_args!("{}", call.work.status())),
        Keyword::FromUri => some(heap, Some(message.from().uri)),
        Keyword::ToUri => some(heap, Some(message.to().uri)),
        Keyword::SrcIp => formatted(heap, format_args!("{}", flow.remote.ip())),
        Keyword::DstIp => formatted(heap, format_args!("{}", local.ip())),
        Keyword::SrcPort => Value::Int(flow.remote.port().into()),
        Keyword::DstPort => Value::Int(local.port().into()),
        Keyword::Proto => heap.string(flow.proto.upper().as_bytes()),
        Keyword::Af if local.is_ipv4() => heap.string(b"INET"),
        Keyword::Af => heap.string(b"INET6"),
        Keyword::MsgLen => Value::Int(message.bytes().len() as i64),
        Keyword::SndIp
        | Keyword::ToIp
        | Keyword::SndPort
        | Keyword::ToPort
        | Keyword::SndProto
        | Keyword::SndAf => sending(call, heap, keyword),
    }
}

/// What an onsend_route asks about the way of the request.
fn sending(call: &mut Call<'_>, heap: &mut Heap, keyword: Keyword) -> Value {
    let Some((to, _)) = &call.work.sending else {
        return Value::Null;
    };
    let from = call.env.state.setup.address(to.socket).local;
    match keyword {
        Keyword::SndIp => formatted(heap, format_args!("{}", from.ip())),
        Keyword::ToIp => formatted(heap, format_args!("{}", to.remote.ip())),
        Keyword::SndPort => Value::Int(from.port().into()),
        Keyword::ToPort => Value::Int(to.remote.port().into()),
        Keyword::SndProto => heap.string(to.proto.upper().as_bytes()),
        _ => heap.string(if to.remote.is_ipv4() {
            b"INET"
        } else {
            b"INET6"
        }),
    }
}

/// Whether the URI or address that the keyword names is this proxy.
pub fn is_myself(call: &mut Call<'_>, heap: &mut Heap, subject: Keyword) -> bool {
    let setup = &call.env.state.setup;
    let message = &call.work.message;
    let mut is_own = |text: &[u8]| heap.uri(text).is_some_and(|uri| is_own_uri(setup, &uri));
    match subject {
        Keyword::Uri => is_own(call.work.uri()),
        Keyword::FromUri => is_own(message.from().uri),
        Keyword::ToUri => is_own(message.to().uri),
        Keyword::SrcIp => {
            let source = call.work.flow.remote.ip();
            setup.addresses.iter().any(|a| a.local.ip() == source)
        }
        // What received the message is ours by its nature.
        Keyword::DstIp | Keyword::SndIp => true,
        Keyword::ToIp => {
            let to = call.work.sending.as_ref().map(|(to, _)| to.remote.ip());
            to.is_some_and(|ip| setup.addresses.iter().any(|a| a.local.ip() == ip))
        }
        Keyword::Method
        | Keyword::SrcPort
        | Keyword::DstPort
        | Keyword::SndPort
        | Keyword::ToPort
        | Keyword::Proto
        | Keyword::SndProto
        | Keyword::Af
        | Keyword::SndAf
        | Keyword::MsgLen => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, code, run, run_with, value};

    #[test]
    fn the_request_uri_is_rewritten() {
        const REST: &str = "transport=tcp;p=1";
        let table = [
            ("prefix(\"00\");", "sip:00bob;x=y@home.test:5061"),
            ("strip(2);", "sip:b;x=y@home.test:5061"),
            ("strip_tail(1);", "sip:bob;x=@home.test:5061"),
            ("strip(99);", "sip:home.test:5061"),
            ("sethost(\"h.test\");", "sip:bob;x=y@h.test:5061"),
            ("rewritehostport(\"h.test:7\");", "sip:bob;x=y@h.test:7"),
            ("setuser(\"u\");", "sip:u@home.test:5061"),
            ("setuserpass(\"u:p\");", "sip:u:p@home.test:5061"),
            ("setport(\"99\");", "sip:bob;x=y@home.test:99"),
            ("seturi(\"no uri\");", "sip:bob;x=y@home.test:5061"),
            (
                "seturi(\"sip:s\"); revert_uri();",
                "sip:bob;x=y@home.test:5061",
            ),
        ];
        for (statements, want) in table {
            assert_eq!(
                value(statements, "$ru", INVITE),
                format!("{want};{REST}"),
                "{statements}"
            );
        }
        let phone = value("userphone(); userphone();", "$ru", INVITE);
        assert_eq!(
            phone,
            "sip:bob;x=y@home.test:5061;transport=tcp;p=1;user=phone"
        );
        assert_eq!(value("seturi(\"sip:s\");", "$ru", INVITE), "sip:s");
    }

    #[test]
    fn flags_have_names() {
        let table = [
            ("setflag(ACC); setflag(5);", "$mf", "48"),
            ("setflag(\"ACC\"); resetflag(4);", "$mf", "0"),
            ("setflag(31);", "$mF", "80000000"),
        ];
        for (statements, format, want) in table {
            let statements = format!("{statements} xlog(\"{format}\");");
            assert_eq!(
                run_with("flags ACC:4", &statements, INVITE).lines,
                [want],
                "{statements}"
            );
        }
        assert_eq!(code("isflagset(3)", INVITE), -1);
    }

    #[test]
    fn keywords() {
        let table = [
            ("uri == myself", true),
            ("!uri == myself", false),
            ("from_uri == myself", false),
            ("to_uri == myself", true),
            ("method == \"invite\"", true),
            ("method == INVITE", true),
            ("uri =~ \"^sip:bob\"", true),
            ("from_uri =~ \"alice@\"", true),
            ("src_ip == 192.0.2.1", true),
            ("src_ip == 192.0.2.0/24", true),
            ("src_ip == myself", false),
            ("dst_ip == myself", true),
            ("dst_ip == 192.0.2.100", true),
            ("src_port == 5062", true),
            ("dst_port == 5060", true),
            ("proto == UDP", true),
            ("proto == TCP", false),
            ("af == INET", true),
            ("msg:len > 100", true),
        ];
        for (condition, want) in table {
            let statements = format!("if ({condition}) {{ xlog(\"yes\"); }}");
            assert_eq!(
                run(&statements, INVITE).lines.len() == 1,
                want,
                "{condition}"
            );
        }
    }

    #[test]
    fn an_onsend_route_knows_the_way() {
        use crate::effect::{Destination, Proto, SocketId};
        use crate::modules::sample::{flow, run_in, state};
        use crate::modules::work::{Bytes, Work};
        use crate::script::RouteKind;
        use crate::sip::Message;
        let cfg = "onsend_route { if (to_ip == 192.0.2.9 && snd_ip == 192.0.2.101 && to_port == 7
            && snd_port == 5080 && snd_proto == UDP && snd_af == INET && !(to_ip == myself)) {
            xlog(\"$snd(ip) $snd(port) $sndto(proto) $snd(buf) $snd(len) $sndfrom(ip)\"); } }\n";
        let message = std::rc::Rc::new(Message::parse(INVITE.as_bytes()).unwrap());
        let mut work = Work::new(RouteKind::Onsend, message, flow());
        let to = Destination::to(SocketId(1), Proto::Udp, "192.0.2.9:7".parse().unwrap());
        work.sending = Some((to, Bytes::from(&b"text"[..])));
        assert_eq!(
            run_in(state(cfg), work).lines,
            ["192.0.2.9 7 1 text 4 192.0.2.101"]
        );
        assert_eq!(value("", "$snd(ip)", INVITE), "<null>");
    }

    #[test]
    fn who_is_ours() {
        let table = [
            ("sip:192.0.2.100", true),
            ("sip:x@192.0.2.100:5060", true),
            ("sip:192.0.2.100:5061", false),
            ("sip:192.0.2.101", false),
            ("sip:192.0.2.101:5080", true),
            ("sip:192.0.2.50:5070", true),
            ("sip:192.0.2.50", false),
            ("sip:HOME.test:77", true),
            ("sips:home.test", true),
            ("sips:192.0.2.100", false),
            ("sip:[2001:db8::100]", true),
            ("sip:a.test", false),
            ("tel:123", false),
            ("nonsense", false),
        ];
        for (uri, want) in table {
            let rc = if want { 1 } else { -1 };
            assert_eq!(code(&format!("is_myself(\"{uri}\")"), INVITE), rc, "{uri}");
            let statements = format!("$ru = \"{uri}\"; if (uri == myself) {{ xlog(\"yes\"); }}");
            assert_eq!(run(&statements, INVITE).lines.len() == 1, want, "{uri}");
        }
    }

    #[test]
    fn forward_asks_the_shard() {
        let table = [
            ("forward();", None),
            ("forward(\"192.0.2.7\", 5099);", Some("sip:192.0.2.7:5099")),
            (
                "forward_udp(\"192.0.2.7\", 5099);",
                Some("sip:192.0.2.7:5099;transport=udp"),
            ),
            (
                "forward_tcp(uri:host, uri:port);",
                Some("sip:home.test:5061;transport=tcp"),
            ),
        ];
        for (statements, want) in table {
            let ran = run(statements, INVITE);
            assert_eq!(ran.end, None, "{statements}");
            assert_eq!(
                ran.work.ask,
                Some(crate::modules::work::Ask::Forward),
                "{statements}"
            );
            let hop = ran
                .work
                .target
                .next_hop
                .as_deref()
                .map(String::from_utf8_lossy);
            assert_eq!(hop.as_deref(), want, "{statements}");
        }
    }

    #[test]
    fn wishes_are_noted() {
        let work = run(
            "force_rport(); add_local_rport(); set_advertised_address(\"a.test\");
             set_advertised_port(77); set_reply_close(); set_forward_no_connect();
             force_send_socket(udp:192.0.2.101:5080);",
            INVITE,
        )
        .work;
        assert!(work.force_rport && work.local_rport);
        assert!(work.stream.reply_close && work.stream.forward_no_connect);
        assert_eq!(
            (work.advertised.0.as_deref(), work.advertised.1),
            (Some(&b"a.test"[..]), Some(77))
        );
        assert_eq!(work.target.socket, Some(crate::effect::SocketId(1)));
        let work = run("set_advertised_address(\"a b\");", INVITE).work;
        assert_eq!(work.advertised.0, None);
    }

    #[test]
    fn global_parameters_reach_their_places() {
        let ran = run_with(
            "debug=2\nserver_header=\"Server: x\"\nmax_branches=3\ntcp_connection_lifetime=7\n\
             log_facility=LOG_LOCAL0\nlog_stderror=no\nchildren=4\ndns_try_ipv6=off\nmemdbg=5",
            "drop;",
            INVITE,
        );
        let config = &ran.state.setup.config;
        assert_eq!(config.core.debug, crate::effect::Level::Info);
        let mut line = vec![];
        config.core.push_server_line(&mut line);
        assert_eq!(line, b"Server: x\r\n");
        assert_eq!(config.core.max_branches, 3);
        assert_eq!(config.tcp.connection_lifetime.as_secs(), 7);
        assert_eq!(config.log.facility, crate::effect::Facility(16));
        assert_eq!(
            (config.process.children, config.dns.try_ipv6),
            (Some(4), false)
        );
    }
}
