//! From arguments to a running proxy, or to the reason why not.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use dialcore::io::{self, IoError, Plan, ReloadError, Sockets, process};
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
    /// `-t` or `chroot`.
    Chroot,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(errors) => write!(f, "{errors}"),
            Failure::Chroot => f.write_str(
                "ERROR: neither -t nor chroot is supported; start the program in the other tree, \
                 with chroot(8) or RootDirectory= of its unit",
            ),
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
    if args.version {
        println!("{}", text::version());
        return Ok(());
    }
    if args.internals {
        print!("{}", text::internals());
        return Ok(());
    }
    // A name that is not known is a mistake of the command line, found before all else.
    process::check_owner(args.user.as_deref(), args.group.as_deref())?;
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
        eprintln!("config file ok, exiting...");
        return Ok(());
    }
    if args.root_dir.is_some() || setup.config.process.chroot.is_some() {
        return Err(Failure::Chroot);
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
    let user = args.user.as_deref().or(wanted.user.as_deref());
    let group = args.group.as_deref().or(wanted.group.as_deref());
    process::become_user(user, group)?;
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
    plan.tcp.tos = config.tos;
    plan.udp.tos = config.tos;
    plan.dns.try_naptr = config.dns.try_naptr;
    plan.dns.known = config.corex.records.clone();
    plan.dns.no_ipv6 = !config.dns.try_ipv6;
    plan.dns.no_weights = !config.dns.srv_weights;
    plan.dns.no_cache = !config.dns.cache;
    plan.dns.retry_after = config.dns.retry_after;
    plan.dns.retries = config.dns.retries;
    plan.control = io::ControlSocket::all(setup);
    plan.reload = Some(reload(args.clone(), cores.len()));
    plan
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
