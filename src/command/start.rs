//! From arguments to a running proxy, or to the reason why not.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use dialcore::io::process::{self, Owner};
use dialcore::io::{self, DnsOptions, IoError, Plan, ReloadError, Sockets};
use dialcore::modules::Config;
use dialcore::modules::load::{self, Loaded, Request};
use dialcore::script::{self, ConfigErrors};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::ShardId;
use dialcore::time::Duration;

use super::args::Args;
use super::files::Files;
use super::text;

/// Why the program did not start, in words for the terminal.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// The kernel refuses.
    Io(Vec<IoError>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(errors) => write!(f, "{errors}"),
            Failure::Io(errors) => {
                for (n, error) in errors.iter().enumerate() {
                    let end = if n + 1 < errors.len() { "\n" } else { "" };
                    write!(f, "ERROR: {error}{end}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Config(errors)
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Failure::Io(vec![error])
    }
}

/// Does what the arguments ask for.
pub(crate) fn start(args: Args) -> Result<(), Failure> {
    process::without_huge_pages();
    if args.version {
        println!("{}", text::version());
        return Ok(());
    }
    if args.internals {
        print!("{}", text::internals());
        return Ok(());
    }
    // A name that is not known is a mistake of the command line, found before all else.
    Owner::find(args.user.as_deref(), args.group.as_deref())?;
    let mut files = Files::new(&args);
    if args.print {
        return print(&args, &mut files);
    }
    let cores = cores(&args);
    let loaded = load(&args, &mut files, cores.len())?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    let Loaded { setup, .. } = loaded;
    eprint!("{}", text::listening(&setup.addresses, &aliases(&setup)));
    if args.check > 0 {
        if let Some(note) = without_effect(&setup) {
            eprintln!("{note}");
        }
        eprintln!("config file ok, exiting...");
        return Ok(());
    }
    run(args, &files, Arc::new(setup), cores)
}

/// `--cfg-print`. A reader that has gone wants no more of it.
fn print(args: &Args, files: &mut Files) -> Result<(), Failure> {
    let first = files.first().to_owned();
    let defines = defines(args);
    let defines: Vec<_> = defines.iter().map(|(id, text)| (&**id, &**text)).collect();
    let text = script::listing(&first, files, &defines)?;
    drop(std::io::stdout().write_all(&text));
    Ok(())
}

fn defines(args: &Args) -> Vec<(String, String)> {
    args.defines
        .iter()
        .map(|d| d.split_once('=').unwrap_or((d, "")))
        .map(|(id, text)| (id.to_owned(), text.to_owned()))
        .collect()
}

fn aliases(setup: &Setup) -> Vec<String> {
    let aliases = &setup.config.core.aliases;
    aliases
        .iter()
        .map(|a| {
            a.port
                .map_or(a.host.to_string(), |p| format!("{}:{p}", a.host))
        })
        .collect()
}

fn cores(args: &Args) -> Vec<usize> {
    let mut all: Vec<usize> = core_affinity::get_core_ids()
        .map(|ids| ids.into_iter().map(|c| c.id).collect())
        .unwrap_or_else(|| vec![0]);
    all.truncate(args.cores.unwrap_or(all.len()).max(1));
    all
}

fn load(args: &Args, files: &mut Files, cores: usize) -> Result<Loaded, ConfigErrors> {
    let defines = defines(args);
    let first = files.first().to_owned();
    let resolve = |name: &str| -> Vec<IpAddr> { super::files::addresses_of(name) };
    let mut loaded = load::load(
        Request {
            path: &first,
            defines: &defines,
            listen: &args.listen,
            no_tcp: args.no_tcp,
            shard_count: cores as u16,
            resolve: &resolve,
            name_of: &process::name_of,
            auto_aliases: args
                .auto_aliases
                .as_deref()
                .map(|mode| matches!(mode, "yes" | "on")),
        },
        files,
    )?;
    loaded.setup.started = io::process::started();
    loaded.setup.config.zone = io::process::zone();
    loaded.setup.config.host = io::process::host();
    if let Some(dir) = &args.run_dir {
        loaded.setup.config.process.rundir = dir.display().to_string().into();
    }
    loaded.setup.config.log.to_stderr |= args.stderr > 0 || args.colour > 0;
    let core = &mut loaded.setup.config.core;
    core.debug = load::level(core.debug, args.debug, args.verbose);
    Ok(loaded)
}

fn run(args: Args, files: &Files, setup: Arc<Setup>, cores: Vec<usize>) -> Result<(), Failure> {
    let mut plan = plan(&args, &setup, &cores);
    plan.setup = Some(Arc::clone(&setup));
    let sockets = Sockets::bind(&plan).map_err(Failure::Io)?;
    // What the command line says comes before what the file says.
    let wanted = &setup.config.process;
    let user = args.user.as_deref().or(wanted.user.as_deref());
    let group = args.group.as_deref().or(wanted.group.as_deref());
    // The tables that know them may not be in the other tree.
    let owner = Owner::find(user, group)?;
    let root_dir = wanted.chroot.as_deref().map(Path::new);
    if let Some(dir) = args.root_dir.as_deref().or(root_dir) {
        process::change_root(dir)?;
    }
    let work_dir = wanted.workdir.as_deref().map(Path::new);
    if let Some(dir) = args.work_dir.as_deref().or(work_dir) {
        process::change_dir(dir)?;
    }
    // Held until the end, when it is removed.
    let _pid_file = args
        .pid_file
        .as_deref()
        .map(process::PidFile::write)
        .transpose()?;
    owner.become_it()?;
    eprint!("{}", text::cores(&cores, sockets.steering()));
    if files.is_built_in() {
        eprint!("{}", text::first_steps(&setup.addresses));
    }
    let make = move |id: ShardId, seed: u64| Shard::new(id, Arc::clone(&setup), seed);
    io::run(plan, sockets, make)?;
    Ok(())
}

fn plan(args: &Args, setup: &Setup, cores: &[usize]) -> Plan {
    let config = &setup.config;
    let mut plan = Plan::new(setup.addresses.clone());
    plan.cores = cores.to_vec();
    if let Some(micros) = args.round {
        plan.round_max = Duration::from_micros(micros.into());
    }
    plan.log.level = config.core.debug;
    plan.log.stderr = config.log.to_stderr;
    plan.log.facility = config.log.facility;
    plan.log.colours = config.xlog.colours.clone();
    plan.log.colour = args.colour > 0;
    plan.log.name = config.log.name.clone().unwrap_or_else(|| "dialcore".into());
    plan.tcp.connection_lifetime = config.tcp.connection_lifetime;
    plan.tcp.max_connections = config.tcp.max_connections;
    plan.tcp.send_timeout = config.tcp.send_timeout;
    plan.tcp.connect_timeout = config.tcp.connect_timeout;
    plan.tcp.accept_no_cl = config.tcp.accept_no_content_length;
    plan.tcp.crlf_ping = config.tcp.crlf_ping;
    plan.tcp.keepalive = config.tcp.keepalive;
    plan.tcp.no_connect = config.tcp.no_connect;
    plan.tcp.keep_idle = config.tcp.keep_idle;
    plan.tcp.keep_interval = config.tcp.keep_interval;
    plan.tcp.keep_count = config.tcp.keep_count;
    plan.tcp.read_size = config.tcp.read_buffer_size;
    plan.tcp.reuse_port = config.tcp.reuse_port;
    plan.tcp.tos = config.packets.tos;
    plan.udp.tos = config.packets.tos;
    plan.udp.discovers_path_mtu = config.packets.discovers_path_mtu;
    plan.dns = dns_options(config);
    plan.notes.extend(without_effect(setup));
    plan.control = io::ControlSocket::all(setup);
    plan.reload = Some(reload(args.clone(), cores.len()));
    plan
}

fn dns_options(config: &Config) -> DnsOptions {
    let dns = &config.dns;
    DnsOptions {
        try_naptr: dns.try_naptr,
        known: config.corex.records.clone(),
        no_ipv6: !dns.try_ipv6,
        no_weights: !dns.srv_weights,
        no_cache: !dns.cache,
        retry_after: dns.retry_after,
        retries: dns.retries,
        servers: dns.servers,
        no_search: !dns.searches,
        ttl_min: dns.ttl_min,
        ttl_max: dns.ttl_max,
        negative_ttl: dns.negative_ttl,
    }
}

/// Names the global parameters of the file that mean nothing here, all in one line.
fn without_effect(setup: &Setup) -> Option<String> {
    let names = &setup.config.without_effect;
    (!names.is_empty()).then(|| format!("global parameters without effect: {}", names.join(", ")))
}

/// What SIGHUP does: the file is read anew. A bad one changes nothing.
fn reload(args: Args, cores: usize) -> io::ReloadFn {
    Box::new(move || {
        let mut files = Files::new(&args);
        let loaded = load(&args, &mut files, cores)
            .map_err(|errors| ReloadError(errors.to_string().into()))?;
        let setup = Arc::new(loaded.setup);
        let reload: io::Reload = Arc::new(move || Input::Reload(Arc::clone(&setup)));
        Ok(reload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(text: &str) -> String {
        let text = format!("listen=udp:127.0.0.1:5060\n{text}\nrequest_route {{ ; }}\n");
        let setup = Setup::from_text(&text, 1).expect("it is right");
        format!("{:?}", plan(&Args::default(), &setup, &[0]))
    }

    /// Each global parameter changes its field of the plan, and no other.
    #[test]
    fn parameters_of_the_file_reach_the_runtime() {
        let table = [
            (
                "tcp_connection_lifetime=7",
                "connection_lifetime: 7.000000s",
            ),
            ("tcp_max_connections=7", "max_connections: 7"),
            ("tcp_send_timeout=7", "send_timeout: 7.000000s"),
            ("tcp_connect_timeout=7", "connect_timeout: 7.000000s"),
            ("tcp_accept_no_cl=yes", "accept_no_cl: true"),
            ("tcp_crlf_ping=no", "crlf_ping: false"),
            ("tcp_keepalive=no", "keepalive: false"),
            ("tcp_keepidle=7", "keep_idle: Some(7.000000s)"),
            ("tcp_keepintvl=7", "keep_interval: Some(7.000000s)"),
            ("tcp_keepcnt=7", "keep_count: Some(7)"),
            ("tcp_rd_buf_size=700", "read_size: 700"),
            ("tcp_reuse_port=yes", "reuse_port: true"),
            ("tcp_no_connect=yes", "no_connect: true"),
            ("pmtu_discovery=1", "discovers_path_mtu: true"),
            ("dns_try_naptr=yes", "try_naptr: true"),
            ("dns_try_ipv6=no", "no_ipv6: true"),
            ("dns_srv_lb=no", "no_weights: true"),
            ("use_dns_cache=no", "no_cache: true"),
            ("dns_cache_init=no", "no_cache: true"),
            ("dns_retr_time=7", "retry_after: Some(7.000000s)"),
            ("dns_retr_no=7", "retries: Some(7)"),
            ("dns_servers_no=7", "servers: Some(7)"),
            ("dns_use_search_list=no", "no_search: true"),
            ("dns_cache_min_ttl=7", "ttl_min: Some(7.000000s)"),
            ("dns_cache_max_ttl=7", "ttl_max: Some(7.000000s)"),
            ("dns_cache_negative_ttl=7", "negative_ttl: Some(7.000000s)"),
            ("debug=1", "level: Notice"),
            ("log_stderror=yes", "stderr: true"),
            ("log_name=\"seven\"", "name: \"seven\""),
            ("log_facility=LOG_LOCAL7", "facility: Facility(23)"),
        ];
        let plain = plan_of("");
        for (line, want) in table {
            let changed = plan_of(line);
            assert!(!plain.contains(want), "{line}");
            assert!(changed.contains(want), "{line}: {changed}");
        }
        let tos = plan_of("tos=IPTOS_THROUGHPUT");
        assert_eq!(tos.matches("tos: Some(8)").count(), 2, "{tos}");
        assert_eq!(plain.matches("tos: Some(16)").count(), 2, "{plain}");
    }

    #[test]
    fn what_has_no_effect_is_said_once() {
        let found = plan_of("children=4\nmemlog=2\nchildren=5");
        let said = "notes: [\"global parameters without effect: children, memlog\"]";
        assert!(found.contains(said), "{found}");
        assert!(plan_of("").contains("notes: []"));
    }
}
