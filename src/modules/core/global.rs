//! The global parameters. `listen`, `alias` and `flags` are read by the language itself.

use super::ignored::IGNORED;
use crate::effect::{Facility, Level, Proto};
use crate::modules::entry::{Store, global, ignored, is_on, join, number, total, unread, words};
use crate::modules::{Global, ParamError};
use crate::script::{GlobalKind, Setting};
use crate::time::Duration;

const INT: GlobalKind = GlobalKind::Int;
const STR: GlobalKind = GlobalKind::Str;
const ANY: GlobalKind = GlobalKind::Any;

/// All of them.
pub const GLOBALS: &[Global] = &TABLE;

const PARTS: [&[Global]; 4] = [&HONOURED, &NETWORK, &PROCESS, &IGNORED];
const TABLE: [Global; total(&PARTS)] = join(&PARTS);

/// A facility of syslog(3), in small or capital letters.
fn facility(setting: &Setting) -> Result<Facility, ParamError> {
    Facility::from_name(&words(setting)).ok_or(ParamError(
        "a facility of syslog, as LOG_DAEMON or LOG_LOCAL0",
    ))
}

fn seconds(setting: &Setting) -> Result<Duration, ParamError> {
    number(setting, 0, 86_400, "seconds, at most a day").map(|n| Duration::from_secs(n as u64))
}

/// What the kernel takes.
fn keep_seconds(setting: &Setting) -> Result<Duration, ParamError> {
    number(setting, 1, 32_767, "1 to 32767 seconds").map(|n| Duration::from_secs(n as u64))
}

fn microseconds(setting: &Setting) -> Result<Duration, ParamError> {
    let wanted = "microseconds, at most a day";
    number(setting, 0, 86_400_000_000, wanted).map(|n| Duration::from_micros(n as u64))
}

fn level(setting: &Setting) -> Level {
    Level::from_number(setting.int().unwrap_or(0))
}

const fn core(name: &'static str, kind: GlobalKind, set: Store, doc: &'static str) -> Global {
    global(name, kind, set, doc)
}

const HONOURED: [Global; 23] = [
    core(
        "debug",
        INT,
        |c, v| {
            c.core.debug = Level::from_number(v.int().unwrap_or(0));
            Ok(())
        },
        "Log level: -5 to 3.",
    ),
    core(
        "server_header",
        STR,
        |c, v| {
            c.core.server_header = words(v);
            Ok(())
        },
        "The line for replies of our own.",
    ),
    core(
        "user_agent_header",
        STR,
        |c, v| {
            c.core.user_agent_header = words(v);
            Ok(())
        },
        "The line for requests of our own.",
    ),
    core(
        "server_signature",
        INT,
        |c, v| {
            c.core.server_signature = is_on(v);
            Ok(())
        },
        "Whether these lines are written.",
    ),
    core(
        "server_id",
        INT,
        |c, v| {
            c.core.server_id = v.int().unwrap_or(0);
            Ok(())
        },
        "This server's number in a cluster.",
    ),
    core(
        "max_while_loops",
        INT,
        |c, v| number(v, 1, 1_000_000, "1 to 1000000").map(|n| c.core.max_while_loops = n as u32),
        "Rounds of a while loop.",
    ),
    core(
        "max_branches",
        INT,
        |c, v| number(v, 1, 32, "1 to 32").map(|n| c.core.max_branches = n as usize),
        "Branches of a transaction.",
    ),
    core(
        "force_rport",
        INT,
        |c, v| {
            c.core.force_rport = is_on(v);
            Ok(())
        },
        "force_rport for every request.",
    ),
    core(
        "local_rport",
        INT,
        |c, v| {
            c.core.local_rport = is_on(v);
            Ok(())
        },
        "add_local_rport for every request.",
    ),
    core(
        "reply_to_via",
        INT,
        |c, v| {
            c.core.reply_to_via = is_on(v);
            Ok(())
        },
        "Answer to the Via, not to the source.",
    ),
    core(
        "onsend_route_reply",
        INT,
        |c, v| {
            c.core.onsend_route_reply = is_on(v);
            Ok(())
        },
        "Whether the onsend_route sees replies that are passed on, too.",
    ),
    core(
        "log_prefix",
        STR,
        |c, v| {
            c.core.log_prefix = Some(words(v));
            Ok(())
        },
        "Text before each line of the script.",
    ),
    core(
        "sip_warning",
        INT,
        |c, v| {
            c.core.sip_warning = is_on(v);
            Ok(())
        },
        "Warning header in replies of our own.",
    ),
    core(
        "advertised_address",
        STR,
        |c, v| {
            c.core.advertised_address = Some(words(v));
            Ok(())
        },
        "The host of our own Via.",
    ),
    core(
        "advertised_port",
        INT,
        |c, v| number(v, 1, 65_535, "a port").map(|n| c.core.advertised_port = Some(n as u16)),
        "The port of our own Via.",
    ),
    core(
        "max_recursive_level",
        INT,
        |c, v| number(v, 1, 256, "1 to 256").map(|n| c.core.max_recursive_level = n as u32),
        "Nested routes.",
    ),
    core(
        "mhomed",
        INT,
        |c, v| {
            c.core.mhomed = is_on(v);
            Ok(())
        },
        "Ask the kernel which address to send from.",
    ),
    core(
        "port",
        INT,
        |c, v| number(v, 1, 65_535, "a port").map(|n| c.core.port = n as u16),
        "For listen without a port.",
    ),
    core(
        "received_route_mode",
        INT,
        |c, v| {
            c.core.announces_messages = is_on(v);
            Ok(())
        },
        "1: event_route[core:msg-received] hears of each message, and may drop it.",
    ),
    core(
        "latency_limit_action",
        INT,
        |c, v| {
            microseconds(v).map(|d| c.core.latency.action = Some(d).filter(|d| *d > Duration::ZERO))
        },
        "Microseconds after which an action that waits is named in the log; 0: never.",
    ),
    core(
        "latency_log",
        INT,
        |c, v| {
            c.core.latency.action_level = level(v);
            Ok(())
        },
        "The level of that line.",
    ),
    core(
        "latency_limit_cfg",
        INT,
        |c, v| microseconds(v).map(|d| c.core.latency.script = d),
        "Microseconds that a whole script must take to be written of.",
    ),
    core(
        "latency_cfg_log",
        INT,
        |c, v| {
            c.core.latency.script_level = level(v);
            Ok(())
        },
        "The level of that line.",
    ),
];

const NETWORK: [Global; 35] = [
    global(
        "disable_tcp",
        INT,
        |c, v| {
            c.tcp.disabled = is_on(v);
            Ok(())
        },
        "No TCP at all.",
    ),
    global(
        "tcp_connection_lifetime",
        INT,
        |c, v| seconds(v).map(|d| c.tcp.connection_lifetime = d),
        "Idle seconds of a connection.",
    ),
    global(
        "tcp_max_connections",
        INT,
        |c, v| number(v, 1, 1_000_000, "1 to 1000000").map(|n| c.tcp.max_connections = n as usize),
        "Connections of the process.",
    ),
    global(
        "tcp_send_timeout",
        INT,
        |c, v| seconds(v).map(|d| c.tcp.send_timeout = d),
        "Seconds to write a message.",
    ),
    global(
        "tcp_connect_timeout",
        INT,
        |c, v| seconds(v).map(|d| c.tcp.connect_timeout = d),
        "Seconds to connect.",
    ),
    global(
        "tcp_accept_no_cl",
        INT,
        |c, v| {
            c.tcp.accept_no_content_length = is_on(v);
            Ok(())
        },
        "HTTP on the SIP port.",
    ),
    global(
        "tcp_keepalive",
        INT,
        |c, v| {
            c.tcp.keepalive = is_on(v);
            Ok(())
        },
        "Keep-alive by the kernel.",
    ),
    global(
        "tcp_keepidle",
        INT,
        |c, v| keep_seconds(v).map(|d| c.tcp.keep_idle = Some(d)),
        "Silent seconds after which it asks the peer.",
    ),
    global(
        "tcp_keepintvl",
        INT,
        |c, v| keep_seconds(v).map(|d| c.tcp.keep_interval = Some(d)),
        "Seconds between two such questions.",
    ),
    global(
        "tcp_keepcnt",
        INT,
        |c, v| number(v, 1, 127, "1 to 127").map(|n| c.tcp.keep_count = Some(n as u32)),
        "How many of them may stay without an answer.",
    ),
    global(
        "tcp_crlf_ping",
        INT,
        |c, v| {
            c.tcp.crlf_ping = is_on(v);
            Ok(())
        },
        "Answer CRLF keep-alives.",
    ),
    global(
        "tcp_rd_buf_size",
        INT,
        |c, v| {
            number(v, 512, 16_777_216, "512 to 16777216")
                .map(|n| c.tcp.read_buffer_size = n as usize)
        },
        "Bytes read at once.",
    ),
    global(
        "tcp_reuse_port",
        INT,
        |c, v| {
            c.tcp.reuse_port = is_on(v);
            Ok(())
        },
        "Connect from the listening port.",
    ),
    global(
        "tcp_no_connect",
        INT,
        |c, v| {
            c.tcp.no_connect = is_on(v);
            Ok(())
        },
        "Never open a connection.",
    ),
    global(
        "tcp_accept_aliases",
        INT,
        |c, v| {
            c.core.accepts_aliases = is_on(v);
            Ok(())
        },
        "Whether alias in a Via does what force_tcp_alias does.",
    ),
    ignored(
        "dns",
        "A Via bears received wherever its host is not the source as it stands.",
    ),
    ignored("rev_dns", "The same."),
    global(
        "dns_try_ipv6",
        INT,
        |c, v| {
            c.dns.try_ipv6 = is_on(v);
            Ok(())
        },
        "AAAA records.",
    ),
    global(
        "dns_try_naptr",
        INT,
        |c, v| {
            c.dns.try_naptr = is_on(v);
            Ok(())
        },
        "NAPTR records.",
    ),
    global(
        "dns_srv_lb",
        INT,
        |c, v| {
            c.dns.srv_weights = is_on(v);
            Ok(())
        },
        "Weights of SRV records.",
    ),
    global(
        "use_dns_cache",
        INT,
        |c, v| {
            c.dns.cache = is_on(v);
            Ok(())
        },
        "Keep answers.",
    ),
    global(
        "use_dns_failover",
        INT,
        |c, v| {
            c.dns.failover = is_on(v);
            Ok(())
        },
        "Try further addresses.",
    ),
    global(
        "dns_retr_time",
        INT,
        |c, v| seconds(v).map(|d| c.dns.retry_after = Some(d)),
        "Seconds until a question is repeated.",
    ),
    global(
        "dns_retr_no",
        INT,
        |c, v| number(v, 0, 100, "0 to 100").map(|n| c.dns.retries = Some(n as u32)),
        "How often it is.",
    ),
    global(
        "dns_servers_no",
        INT,
        |c, v| number(v, 1, 100, "1 to 100").map(|n| c.dns.servers = Some(n as usize)),
        "How many servers are asked.",
    ),
    global(
        "dns_use_search_list",
        INT,
        |c, v| {
            c.dns.searches = is_on(v);
            Ok(())
        },
        "Whether names are looked for in the domains of resolv.conf, too.",
    ),
    global(
        "dns_cache_init",
        INT,
        |c, v| {
            c.dns.cache &= is_on(v);
            Ok(())
        },
        "0: as use_dns_cache.",
    ),
    global(
        "dns_cache_min_ttl",
        INT,
        |c, v| seconds(v).map(|d| c.dns.ttl_min = Some(d)),
        "Seconds that an answer is kept at least.",
    ),
    global(
        "dns_cache_max_ttl",
        INT,
        |c, v| {
            let most = number(v, 0, i64::from(u32::MAX), "seconds")?;
            c.dns.ttl_max = Some(Duration::from_secs(most as u64));
            Ok(())
        },
        "Seconds that an answer is kept at most.",
    ),
    global(
        "dns_cache_negative_ttl",
        INT,
        |c, v| seconds(v).map(|d| c.dns.negative_ttl = Some(d)),
        "Seconds that it is kept that a name is not there.",
    ),
    ignored("dns_search_full_match", "Domains of the resolver."),
    global(
        "udp_mtu",
        INT,
        |c, v| number(v, 0, 65_535, "0 to 65535").map(|n| c.core.udp_mtu = n as usize),
        "Bytes above which a request goes by udp_mtu_try_proto instead of UDP; 0: never.",
    ),
    global(
        "udp_mtu_try_proto",
        ANY,
        |c, v| {
            let proto = Proto::from_name(words(v).as_bytes());
            let usable = proto.filter(|p| matches!(p, Proto::Udp | Proto::Tcp));
            c.core.udp_mtu_try_proto = usable.ok_or(ParamError("UDP or TCP"))?;
            Ok(())
        },
        "The transport for requests that are longer than udp_mtu.",
    ),
    global(
        "tos",
        ANY,
        |c, v| tos(v).map(|n| c.packets.tos = n),
        "Type of service of packets.",
    ),
    global(
        "pmtu_discovery",
        INT,
        |c, v| number(v, 0, 2, "0, 1 or 2").map(|n| c.packets.discovers_path_mtu = n > 0),
        "Not 0: no link may take a datagram apart, and one that is too long does not leave.",
    ),
];

fn tos(setting: &Setting) -> Result<Option<u8>, ParamError> {
    match setting {
        Setting::Int(n) => u8::try_from(*n).ok(),
        Setting::Text(word) => match &**word {
            b"IPTOS_LOWDELAY" => Some(0x10),
            b"IPTOS_THROUGHPUT" => Some(0x08),
            b"IPTOS_RELIABILITY" => Some(0x04),
            digits => crate::script::parse_int(digits).and_then(|n| u8::try_from(n).ok()),
        },
    }
    .map(Some)
    .ok_or(ParamError(
        "a number from 0 to 255 or IPTOS_LOWDELAY and its kin",
    ))
}

const PROCESS: [Global; 22] = [
    unread(global(
        "children",
        INT,
        |c, v| number(v, 1, 10_000, "1 to 10000").map(|n| c.process.children = Some(n as usize)),
        "A hint at how many cores to use.",
    )),
    ignored("tcp_children", "Each core serves all its connections."),
    ignored("socket_workers", "Each core serves every socket."),
    ignored("async_workers", "Waiting blocks nobody."),
    global(
        "log_stderror",
        INT,
        |c, v| {
            c.log.to_stderr = is_on(v);
            Ok(())
        },
        "Log to stderr instead of syslog.",
    ),
    global(
        "log_facility",
        ANY,
        |c, v| {
            c.log.facility = facility(v)?;
            Ok(())
        },
        "The facility of syslog.",
    ),
    global(
        "xavp_via_params",
        STR,
        |c, v| {
            c.core.via_params = words(v);
            Ok(())
        },
        "The $xavp whose fields via_add_xavp_params adds to our own Via.",
    ),
    global(
        "xavp_via_fields",
        STR,
        |c, v| {
            c.core.via_fields = words(v);
            Ok(())
        },
        "The $xavp whose fields address and port via_use_xavp_fields puts into our own Via.",
    ),
    global(
        "log_name",
        STR,
        |c, v| {
            c.log.name = Some(words(v));
            Ok(())
        },
        "The program's name in syslog.",
    ),
    global(
        "log_prefix_mode",
        INT,
        |c, v| {
            c.log.prefix_each_action = is_on(v);
            Ok(())
        },
        "1: the prefix anew for each line.",
    ),
    ignored("log_engine_type", "The kind of log."),
    ignored("log_engine_data", "Its data."),
    global(
        "auto_aliases",
        INT,
        |c, v| {
            c.process.auto_aliases = is_on(v);
            Ok(())
        },
        "Whether the names that listening addresses have are ours, as alias makes them.",
    ),
    ignored("fork", "Never more than one process."),
    global(
        "user",
        STR,
        |c, v| {
            c.process.user = Some(words(v));
            Ok(())
        },
        "Run as this user.",
    ),
    global(
        "uid",
        ANY,
        |c, v| {
            c.process.user = Some(words(v));
            Ok(())
        },
        "Run as this user.",
    ),
    global(
        "group",
        STR,
        |c, v| {
            c.process.group = Some(words(v));
            Ok(())
        },
        "Run as this group.",
    ),
    global(
        "gid",
        ANY,
        |c, v| {
            c.process.group = Some(words(v));
            Ok(())
        },
        "Run as this group.",
    ),
    global(
        "chroot",
        STR,
        |c, v| {
            c.process.chroot = Some(words(v));
            Ok(())
        },
        "Run in this directory tree, see -t.",
    ),
    global(
        "workdir",
        STR,
        |c, v| {
            c.process.workdir = Some(words(v));
            Ok(())
        },
        "Run in this directory.",
    ),
    global(
        "wdir",
        STR,
        |c, v| {
            c.process.workdir = Some(words(v));
            Ok(())
        },
        "Run in this directory.",
    ),
    global(
        "rundir",
        STR,
        |c, v| {
            c.process.rundir = words(v);
            Ok(())
        },
        "Where control sockets are made.",
    ),
];
