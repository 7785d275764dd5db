//! What the runtime is told to do: plain data, made by `main` from the configuration.

use std::fmt;
use std::sync::Arc;

use crate::effect::{Address, Colours, Facility, Level};
use crate::limits;
use crate::modules::corex::KnownRecord;
use crate::modules::rpc::place::{Place, Rights};
use crate::shard::{Input, Setup};
use crate::time::Duration;

/// All that [`super::run`] needs to know.
pub struct Plan {
    /// Where to listen; the place in this list is the [`SocketId`](crate::effect::SocketId) on
    /// every core. Port 0 lets the system choose. UDP and TCP can be opened.
    pub listen: Vec<Address>,
    /// The CPU of each core, in the order of their [`ShardId`](crate::steer::ShardId).
    /// Empty: all that this process may run on.
    pub cores: Vec<usize>,
    /// How long a core may sleep while datagrams come; zero has each of them wake it.
    pub round_max: Duration,
    /// How streams are kept.
    pub tcp: TcpOptions,
    /// How datagram sockets are made.
    pub udp: UdpOptions,
    /// How names are resolved.
    pub dns: DnsOptions,
    /// Where the log goes.
    pub log: LogOptions,
    /// What is to be said when it begins.
    pub notes: Vec<String>,
    /// Where operators connect.
    pub control: Vec<ControlSocket>,
    /// What operators see of the configuration; `None`: nobody can ask.
    pub setup: Option<Arc<Setup>>,
    /// What SIGHUP does; `None`: nothing.
    pub reload: Option<ReloadFn>,
    /// How long transactions in flight may last after SIGTERM.
    pub drain_timeout: Duration,
}

/// Reads the configuration again: what is to be done to each shard, or why it stays as it is.
pub type ReloadFn = Box<dyn Fn() -> Result<Reload, ReloadError> + Send>;

/// Makes the input that brings a reload to one shard; called once for each, on that shard's core.
pub type Reload = Arc<dyn Fn() -> Input<'static> + Send + Sync>;

/// Why a reload was refused, in the words for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReloadError(pub Box<str>);

impl Plan {
    /// A plan with every option at its default.
    pub fn new(listen: Vec<Address>) -> Self {
        Plan {
            listen,
            cores: Vec::new(),
            round_max: limits::ROUND_TIME_MAX,
            tcp: TcpOptions::default(),
            udp: UdpOptions::default(),
            dns: DnsOptions::default(),
            log: LogOptions::default(),
            notes: Vec::new(),
            control: Vec::new(),
            setup: None,
            reload: None,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("listen", &self.listen)
            .field("cores", &self.cores)
            .field("round_max", &self.round_max)
            .field("tcp", &self.tcp)
            .field("udp", &self.udp)
            .field("dns", &self.dns)
            .field("log", &self.log)
            .field("notes", &self.notes)
            .field("control", &self.control)
            .field("reload", &self.reload.is_some())
            .field("drain_timeout", &self.drain_timeout)
            .finish()
    }
}

/// A place where operators connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlSocket {
    /// Where.
    pub place: Place,
    /// Who may.
    pub rights: Rights,
    /// What is spoken there.
    pub language: Language,
}

/// How commands are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// Binary RPC (`ctl`).
    Binary {
        /// `autoconversion`.
        converts: bool,
    },
    /// JSON-RPC 2.0 (`jsonrpcs`).
    Json {
        /// `pretty_format`.
        is_pretty: bool,
    },
}

impl ControlSocket {
    /// Every place that the configuration opens: those of the modules it loads.
    pub fn all(setup: &Setup) -> Vec<ControlSocket> {
        let (config, run_dir) = (&setup.config, &setup.config.process.rundir);
        let mut all = Vec::new();
        if setup.is_loaded("ctl") {
            let language = Language::Binary {
                converts: config.ctl.converts,
            };
            let socket = |place| {
                let rights = config.ctl.rights.clone();
                ControlSocket {
                    place,
                    rights,
                    language,
                }
            };
            all.extend(config.ctl.places(run_dir).into_iter().map(socket));
        }
        if setup.is_loaded("jsonrpcs") {
            let language = Language::Json {
                is_pretty: config.jsonrpcs.is_pretty,
            };
            let socket = |(place, rights)| ControlSocket {
                place,
                rights,
                language,
            };
            all.extend(config.jsonrpcs.places(run_dir).into_iter().map(socket));
        }
        all
    }
}

/// How streams are kept; the parameters `tcp_*` of the configuration.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// `tcp_connection_lifetime`: a connection without traffic for this long is closed.
    pub connection_lifetime: Duration,
    /// `tcp_max_connections`: of the whole process. Above, new ones are closed at once.
    pub max_connections: usize,
    /// `tcp_send_timeout`: a peer that takes no byte for this long loses its connection.
    pub send_timeout: Duration,
    /// `tcp_connect_timeout`: how long a new connection may take to open.
    pub connect_timeout: Duration,
    /// `tcp_accept_no_cl`: a message without Content-Length is one without a body, rather than
    /// the end of its connection.
    pub accept_no_cl: bool,
    /// `tcp_crlf_ping`: answer the keep-alive of RFC 5626 §4.4.1.
    pub crlf_ping: bool,
    /// `tcp_keepalive`: the kernel finds out when a peer is gone.
    pub keepalive: bool,
    /// `tcp_keepidle`: after how long a silence it asks; `None`: the system's time.
    pub keep_idle: Option<Duration>,
    /// `tcp_keepintvl`: how long after each question; `None`: the system's time.
    pub keep_interval: Option<Duration>,
    /// `tcp_keepcnt`: how often; `None`: as often as the system does.
    pub keep_count: Option<u32>,
    /// `tcp_rd_buf_size`: bytes that are read at once.
    pub read_size: usize,
    /// `tcp_reuse_port`: a connection leaves from the port of its listening socket.
    pub reuse_port: bool,
    /// `tcp_no_connect`: no connection is ever opened.
    pub no_connect: bool,
    /// `tos`: the type of service of IPv4 packets; `None`: the system's.
    pub tos: Option<u8>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        TcpOptions {
            connection_lifetime: Duration::from_secs(120),
            max_connections: 2048,
            send_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            accept_no_cl: false,
            crlf_ping: true,
            keepalive: true,
            keep_idle: None,
            keep_interval: None,
            keep_count: None,
            read_size: 64 << 10,
            reuse_port: false,
            no_connect: false,
            tos: None,
        }
    }
}

/// How datagram sockets are made.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Bytes asked of the kernel for what waits to be read from one socket. It grants at most
    /// `net.core.rmem_max`; what it granted is logged.
    pub receive_buffer_size: usize,
    /// The same for what waits to leave (`net.core.wmem_max`).
    pub send_buffer_size: usize,
    /// `tos`: see [`TcpOptions::tos`].
    pub tos: Option<u8>,
    /// `pmtu_discovery`: no link may take a datagram of IPv4 apart.
    pub discovers_path_mtu: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        UdpOptions {
            receive_buffer_size: 4 << 20,
            send_buffer_size: 4 << 20,
            tos: None,
            discovers_path_mtu: false,
        }
    }
}

/// How names are resolved.
#[derive(Clone, Debug, Default)]
pub struct DnsOptions {
    /// `dns_try_naptr`: ask NAPTR first when neither port nor transport is known.
    pub try_naptr: bool,
    /// `corex.dns_cache`: what is known in advance, from the start of the process on.
    pub known: Vec<KnownRecord>,
    /// `dns_try_ipv6` is off: a name has no IPv6 addresses.
    pub no_ipv6: bool,
    /// `dns_srv_lb` is off: among servers of one priority the heaviest comes first.
    pub no_weights: bool,
    /// `use_dns_cache` is off: every question is asked.
    pub no_cache: bool,
    /// `dns_retr_time`: how long a server may take; `None`: the resolver's own time.
    pub retry_after: Option<Duration>,
    /// `dns_retr_no`: how often a question is repeated; `None`: as often as the resolver does.
    pub retries: Option<u32>,
    /// `dns_servers_no`: how many of the machine's name servers are asked; `None`: all.
    pub servers: Option<usize>,
    /// `dns_use_search_list` is off: a name is taken as it is.
    pub no_search: bool,
    /// `dns_cache_min_ttl`: how long an answer is kept at least; `None`: as it says.
    pub ttl_min: Option<Duration>,
    /// `dns_cache_max_ttl`: how long at most; `None`: as it says.
    pub ttl_max: Option<Duration>,
    /// `dns_cache_negative_ttl`: how long that a name is not there; `None`: as it says.
    pub negative_ttl: Option<Duration>,
}

/// Where the log goes.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `debug`: records above this level are not written.
    pub level: Level,
    /// `log_stderror`: to standard error rather than to syslog.
    pub stderr: bool,
    /// Colour the lines by level; standard error only.
    pub colour: bool,
    /// Put before the text of each line.
    pub prefix: Box<str>,
    /// `log_name`: the name in syslog.
    pub name: Box<str>,
    /// `log_facility`: whose lines they are in syslog.
    pub facility: Facility,
    /// `xlog.log_colors`: what levels have instead of their usual colours.
    pub colours: Colours,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            level: Level::Warn,
            stderr: false,
            colour: false,
            prefix: "".into(),
            name: "dialcore".into(),
            facility: Facility::DAEMON,
            colours: Colours::default(),
        }
    }
}
