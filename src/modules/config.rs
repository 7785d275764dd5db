//! Global and module parameters, typed: what a configuration file comes to.

use std::io::Write;
use std::net::SocketAddr;

use crate::effect::{Address, Facility, Level, Proto};
use crate::script::calendar::Zone;
use crate::sip::{HeaderName, Message};
use crate::time::Duration;

use super::{
    auth, cfgutils, corex, ctl, dialog, dispatcher, htable, jsonrpcs, maxfwd, pv, rr, sanity,
    siputils, sl, statistics, tm, uac, xhttp, xlog,
};

/// Every parameter of every module, at its default until the file says otherwise.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Global parameters.
    pub core: Core,
    /// `tm`.
    pub tm: tm::Config,
    /// `auth`.
    pub auth: auth::Config,
    /// `dialog`.
    pub dialog: dialog::Config,
    /// `rr`.
    pub rr: rr::Config,
    /// `sl`.
    pub sl: sl::Config,
    /// See [`siputils`].
    pub siputils: siputils::Config,
    /// `maxfwd`.
    pub maxfwd: maxfwd::Config,
    /// `pv`.
    pub pv: pv::Config,
    /// `ctl`.
    pub ctl: ctl::Config,
    /// `jsonrpcs`.
    pub jsonrpcs: jsonrpcs::Config,
    /// `xhttp`.
    pub xhttp: xhttp::Config,
    /// `xlog`.
    pub xlog: xlog::Config,
    /// `uac`.
    pub uac: uac::Config,
    /// `dispatcher`.
    pub dispatcher: dispatcher::Config,
    /// `sanity`.
    pub sanity: sanity::Config,
    /// `corex`.
    pub corex: corex::Config,
    /// `cfgutils`.
    pub cfgutils: cfgutils::Config,
    /// `htable`.
    pub htable: htable::Config,
    /// `statistics` and `counters`.
    pub statistics: statistics::Declarations,
    /// What values of parameters ask for that has no effect yet.
    pub notes: Vec<&'static str>,
    /// Whether the parameter that was set last means nothing here.
    pub is_idle: bool,
    /// Streams.
    pub tcp: Tcp,
    /// The log.
    pub log: Log,
    /// Names.
    pub dns: Dns,
    /// The process.
    pub process: Process,
    /// Packets of UDP and streams.
    pub packets: Packets,
    /// Global parameters that the file sets and that mean nothing here, each once.
    pub without_effect: Vec<&'static str>,
    /// What this machine is called; whoever may ask sets it.
    pub host: Host,
    /// The zone of local time; whoever may read the machine's sets it.
    pub zone: Zone,
}

/// What the packets of both transports are like.
#[derive(Clone, Debug)]
pub struct Packets {
    /// `tos`: the type of service of IPv4; `None`: the system's.
    pub tos: Option<u8>,
    /// `pmtu_discovery`: datagrams of IPv4 that are too long for a link are not taken apart.
    pub discovers_path_mtu: bool,
}

impl Default for Packets {
    fn default() -> Self {
        Packets {
            tos: Some(0x10),
            discovers_path_mtu: false,
        }
    }
}

/// What is written about scripts that take long. A script takes no time but for what it waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latency {
    /// `latency_limit_action`: an action that waits so long is named; `None`: none is.
    pub action: Option<Duration>,
    /// `latency_log`: at this level.
    pub action_level: Level,
    /// `latency_limit_cfg`: how long a whole script must have taken to be named.
    pub script: Duration,
    /// `latency_cfg_log`: at this level.
    pub script_level: Level,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            action: None,
            action_level: Level::Err,
            script: Duration::ZERO,
            script_level: Level::Dbg,
        }
    }
}

/// A name that is ours besides the listening addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alias {
    /// The host.
    pub host: Box<str>,
    /// The port; `None`: every port.
    pub port: Option<u16>,
}

/// Global parameters that mean something to a shard.
#[derive(Clone, Debug)]
pub struct Core {
    /// What the log keeps: records of this level and below.
    pub debug: Level,
    /// More of our names.
    pub aliases: Vec<Alias>,
    /// Domains whose hosts are ours, too, at this port or any (`corex.alias_subdomains`).
    pub subdomains: Vec<(Box<str>, Option<u16>)>,
    /// `server_header`: the whole line, without line end; empty: none.
    pub server_header: Box<str>,
    /// `user_agent_header`: the same for requests of our own.
    pub user_agent_header: Box<str>,
    /// `server_signature`: whether either is written at all.
    pub server_signature: bool,
    /// `server_id`.
    pub server_id: i64,
    /// `max_while_loops`.
    pub max_while_loops: u32,
    /// `max_branches`, extra branches included.
    pub max_branches: usize,
    /// `force_rport` for every request.
    pub force_rport: bool,
    /// `add_local_rport` for every request.
    pub local_rport: bool,
    /// `xavp_via_params`: the `$xavp` whose fields become parameters of our own Via; empty: none.
    pub via_params: Box<str>,
    /// `xavp_via_fields`: the one with host and port for it.
    pub via_fields: Box<str>,
    /// `reply_to_via`: answer to the address of the Via, not to the source.
    pub reply_to_via: bool,
    /// `log_prefix`: a format put before each script line.
    pub log_prefix: Option<Box<str>>,
    /// `onsend_route_reply`.
    pub onsend_route_reply: bool,
    /// `sip_warning`: a Warning header in replies of our own.
    pub sip_warning: bool,
    /// `advertised_address`: the host of our own Via.
    pub advertised_address: Option<Box<str>>,
    /// `advertised_port`: its port.
    pub advertised_port: Option<u16>,
    /// `max_recursive_level`.
    pub max_recursive_level: u32,
    /// `mhomed`: the kernel says which address to send from.
    pub mhomed: bool,
    /// `port`: for `listen` without one.
    pub port: u16,
    /// `udp_mtu`: the longest request that goes by UDP; 0: no bound.
    pub udp_mtu: usize,
    /// `udp_mtu_try_proto`: how a longer one goes.
    pub udp_mtu_try_proto: Proto,
    /// What is written about scripts that take long.
    pub latency: Latency,
    /// `received_route_mode`: `event_route[core:msg-received]` hears of each message.
    pub announces_messages: bool,
    /// `tcp_accept_aliases`: the parameter `alias` of a Via is obeyed.
    pub accepts_aliases: bool,
}

/// Global parameters about streams.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// `disable_tcp`.
    pub disabled: bool,
    /// `tcp_connection_lifetime`: a connection without traffic is closed.
    pub connection_lifetime: Duration,
    /// `tcp_max_connections`.
    pub max_connections: usize,
    /// `tcp_send_timeout`.
    pub send_timeout: Duration,
    /// `tcp_connect_timeout`.
    pub connect_timeout: Duration,
    /// `tcp_accept_no_cl`: messages without Content-Length, for HTTP.
    pub accept_no_content_length: bool,
    /// `tcp_keepalive`: the kernel's.
    pub keepalive: bool,
    /// `tcp_keepidle`: how long nothing may come before it asks; `None`: the system's.
    pub keep_idle: Option<Duration>,
    /// `tcp_keepintvl`: how long it waits between two questions; `None`: the system's.
    pub keep_interval: Option<Duration>,
    /// `tcp_keepcnt`: how often it asks; `None`: the system's.
    pub keep_count: Option<u32>,
    /// `tcp_crlf_ping`: CRLF keep-alives are answered (RFC 5626 §4.4.1).
    pub crlf_ping: bool,
    /// `tcp_rd_buf_size`.
    pub read_buffer_size: usize,
    /// `tcp_reuse_port`: connections leave from the listening port.
    pub reuse_port: bool,
    /// `tcp_no_connect`: no connection is ever opened.
    pub no_connect: bool,
}

impl Default for Tcp {
    fn default() -> Self {
        Tcp {
            disabled: false,
            connection_lifetime: Duration::from_secs(120),
            max_connections: 2_048,
            send_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            accept_no_content_length: false,
            keepalive: true,
            keep_idle: None,
            keep_interval: None,
            keep_count: None,
            crlf_ping: true,
            read_buffer_size: 65_536,
            reuse_port: false,
            no_connect: false,
        }
    }
}

/// Global parameters about the log.
#[derive(Clone, Debug)]
pub struct Log {
    /// `log_stderror`: to stderr instead of syslog.
    pub to_stderr: bool,
    /// `log_facility`.
    pub facility: Facility,
    /// `log_name`.
    pub name: Option<Box<str>>,
    /// `log_prefix_mode` 1: the prefix is made anew for each line.
    pub prefix_each_action: bool,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            to_stderr: false,
            facility: Facility::DAEMON,
            name: None,
            prefix_each_action: false,
        }
    }
}

/// What a machine is called.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Host {
    /// The name without the domain.
    pub name: Box<str>,
    /// The name with it.
    pub full_name: Box<str>,
    /// The domain; empty: none is known.
    pub domain: Box<str>,
    /// An address of it; empty: none is known.
    pub address: Box<str>,
}

/// Global parameters about names.
#[derive(Clone, Debug)]
pub struct Dns {
    /// `dns_try_ipv6`.
    pub try_ipv6: bool,
    /// `dns_try_naptr`.
    pub try_naptr: bool,
    /// `dns_srv_lb`: the weights of SRV records count.
    pub srv_weights: bool,
    /// `use_dns_cache`.
    pub cache: bool,
    /// `use_dns_failover`: further addresses of a name are tried (RFC 3263 §4.3); here by default.
    pub failover: bool,
    /// `dns_retr_time`; `None`: the resolver's own.
    pub retry_after: Option<Duration>,
    /// `dns_retr_no`; `None`: the resolver's own.
    pub retries: Option<u32>,
    /// `dns_servers_no`; `None`: all.
    pub servers: Option<usize>,
    /// `dns_use_search_list`: names without a dot are looked for in the domains of the machine.
    pub searches: bool,
    /// `dns_cache_min_ttl`; `None`: as the answer says.
    pub ttl_min: Option<Duration>,
    /// `dns_cache_max_ttl`; `None`: as the answer says.
    pub ttl_max: Option<Duration>,
    /// `dns_cache_negative_ttl`: how long it is kept that a name is not there.
    pub negative_ttl: Option<Duration>,
}

impl Default for Dns {
    fn default() -> Self {
        Dns {
            try_ipv6: true,
            try_naptr: false,
            srv_weights: true,
            cache: true,
            failover: true,
            retry_after: None,
            retries: None,
            servers: None,
            searches: true,
            ttl_min: None,
            ttl_max: None,
            negative_ttl: None,
        }
    }
}

/// Global parameters about the process.
#[derive(Clone, Debug)]
pub struct Process {
    /// `children`: a hint at how many cores to use.
    pub children: Option<usize>,
    /// `user`.
    pub user: Option<Box<str>>,
    /// `group`.
    pub group: Option<Box<str>>,
    /// `auto_aliases`: names of listening addresses are ours.
    pub auto_aliases: bool,
    /// `chroot`.
    pub chroot: Option<Box<str>>,
    /// `workdir`.
    pub workdir: Option<Box<str>>,
    /// `rundir`: where control sockets are made.
    pub rundir: Box<str>,
}

impl Default for Process {
    fn default() -> Self {
        Process {
            children: None,
            user: None,
            group: None,
            auto_aliases: true,
            chroot: None,
            workdir: None,
            rundir: "/run/dialcore".into(),
        }
    }
}

impl Default for Core {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Core {
            debug: Level::Warn,
            aliases: Vec::new(),
            subdomains: Vec::new(),
            server_header: format!("Server: dialcore ({version})").into(),
            user_agent_header: format!("User-Agent: dialcore ({version})").into(),
            server_signature: true,
            server_id: 0,
            max_while_loops: 100,
            max_branches: 12,
            force_rport: false,
            local_rport: false,
            via_params: "".into(),
            via_fields: "".into(),
            reply_to_via: false,
            log_prefix: None,
            onsend_route_reply: false,
            sip_warning: false,
            advertised_address: None,
            advertised_port: None,
            max_recursive_level: 256,
            mhomed: false,
            port: 5060,
            udp_mtu: 0,
            udp_mtu_try_proto: Proto::Udp,
            latency: Latency::default(),
            announces_messages: false,
            accepts_aliases: false,
        }
    }
}

impl Core {
    /// The User-Agent line for requests of our own, with its line end; empty when none is wanted.
    pub fn user_agent_line(&self) -> String {
        match &*self.user_agent_header {
            "" => String::new(),
            _ if !self.server_signature => String::new(),
            line => format!("{line}\r\n"),
        }
    }

    /// The lines that every reply of our own gets: Server, and with `sip_warning` a Warning that
    /// tells whoever traces the reply which request it answers (RFC 3261 §20.43).
    pub fn push_reply_lines(
        &self,
        (socket, source): (&Address, SocketAddr),
        request: &Message,
        lines: &mut Vec<u8>,
    ) {
        self.push_server_line(lines);
        if self.sip_warning {
            let uri = String::from_utf8_lossy(request.uri());
            let vias = request.values(HeaderName::Via).count();
            let (ip, port) = (source.ip(), source.port());
            // Writing into memory does not fail.
            let _ = write!(
                lines,
                "Warning: 392 {} \"Noisy feedback tells: req_src_ip={ip} req_src_port={port} \
                 in_uri={} via_cnt=={vias}\"\r\n",
                socket.local,
                uri.replace(['"', '\\'], "")
            );
        }
    }

    /// Appends the Server line for replies of our own, if one is wanted.
    pub fn push_server_line(&self, out: &mut Vec<u8>) {
        if self.server_signature && !self.server_header.is_empty() {
            out.extend_from_slice(self.server_header.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}
