//! The command line: the original's flags, so that a unit file or container can be kept.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// A dialog-stateful SIP proxy, thread-per-core, driven by the Kamailio configuration language.
///
/// Without -f it reads /etc/dialcore/dialcore.cfg, and without that file it runs a built-in
/// configuration on loopback.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "dialcore",
    disable_version_flag = true,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) client: Option<Client>,
    /// The configuration file.
    #[arg(short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Check the configuration and exit: 0 when it is good, 255 when not.
    #[arg(short = 'c', action = ArgAction::Count)]
    pub(crate) check: u8,
    /// Print the configuration after preprocessing and exit.
    #[arg(long = "cfg-print")]
    pub(crate) print: bool,
    /// Define a preprocessor ID, as #!define does.
    #[arg(short = 'A', value_name = "ID[=TEXT]")]
    pub(crate) defines: Vec<String>,
    /// Log to standard error.
    #[arg(short = 'E', action = ArgAction::Count)]
    pub(crate) stderr: u8,
    /// Log to standard error in colour.
    #[arg(short = 'e', action = ArgAction::Count)]
    pub(crate) colour: u8,
    /// Log more; repeat for still more.
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The log level, -5 (alert) to 3 (debug); the file's `debug` is ignored.
    #[arg(long = "debug", value_name = "LEVEL", allow_negative_numbers = true)]
    pub(crate) debug: Option<i64>,
    /// Stay in the foreground; it always does.
    #[arg(short = 'D', action = ArgAction::Count)]
    pub(crate) foreground: u8,
    /// Listen here, instead of where the file says; may be repeated.
    #[arg(short = 'l', value_name = "[PROTO:]ADDRESS[:PORT][/ADVERTISED[:PORT]]")]
    pub(crate) listen: Vec<String>,
    /// A further name of this proxy; may be repeated.
    #[arg(long = "alias", value_name = "HOST[:PORT]")]
    pub(crate) aliases: Vec<String>,
    /// Whether the names of listening addresses are names of this proxy, in place of auto_aliases.
    #[arg(short = 'a', value_name = "MODE", value_parser = ["on", "off", "yes", "no"])]
    pub(crate) auto_aliases: Option<String>,
    /// How many cores to use; all there are by default.
    #[arg(short = 'n', value_name = "CORES")]
    pub(crate) cores: Option<usize>,
    /// Microseconds that datagrams may wait to be handled in one batch while there are many; 0
    /// has each of them wake its core.
    #[arg(
        long = "round",
        value_name = "MICROSECONDS",
        value_parser = clap::value_parser!(u16).range(0..=800)
    )]
    pub(crate) round: Option<u16>,
    /// The server_id.
    #[arg(long = "server-id", value_name = "N")]
    pub(crate) server_id: Option<i64>,
    /// Replace in strings and variables, as `#!subst` does; may be repeated.
    #[arg(long = "subst", value_name = "/EXPRESSION/TEXT/FLAGS")]
    pub(crate) substs: Vec<String>,
    /// The same, and define the expression as the text.
    #[arg(long = "substdef", value_name = "/ID/TEXT/FLAGS")]
    pub(crate) substdefs: Vec<String>,
    /// The same, the text being a string.
    #[arg(long = "substdefs", value_name = "/ID/TEXT/FLAGS")]
    pub(crate) quoted_substdefs: Vec<String>,
    /// Load a module before the file is read; may be repeated.
    #[arg(long = "loadmodule", value_name = "MODULE")]
    pub(crate) modules: Vec<String>,
    /// Set a module's parameter before the file is read; may be repeated.
    #[arg(long = "modparam", value_name = "MODULE:PARAM:(s|i):VALUE")]
    pub(crate) params: Vec<String>,
    /// Write the process id here.
    #[arg(short = 'P', value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// The working directory.
    #[arg(short = 'w', value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// The directory of control sockets.
    #[arg(short = 'Y', value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Change to this user once the sockets are open.
    #[arg(short = 'u', value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Change to this group once the sockets are open.
    #[arg(short = 'g', value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Run in this directory tree: it is made the root once the configuration is read and the
    /// sockets are open.
    #[arg(short = 't', value_name = "DIR")]
    pub(crate) root_dir: Option<PathBuf>,
    /// No TCP.
    #[arg(short = 'T')]
    pub(crate) no_tcp: bool,
    /// Print the version and exit.
    #[arg(short = 'v', visible_short_alias = 'V', long = "version")]
    pub(crate) version: bool,
    /// Print what is built in and exit.
    #[arg(short = 'I')]
    pub(crate) internals: bool,
    #[command(flatten)]
    pub(crate) unused: Unused,
}

/// What can be asked of a proxy that runs.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Client {
    /// Send a command to a running proxy and show its answer.
    ///
    /// Numbers are sent as numbers; `s:12` is the text 12. The exit code is 0 when the command
    /// succeeded, 1 when it failed, 255 when there is no answer.
    Rpc {
        #[command(flatten)]
        to: Server,
        /// The command; system.listMethods lists them, system.methodHelp explains one.
        #[arg(index = 1, value_name = "METHOD")]
        method: String,
        /// Its parameters.
        #[arg(index = 2, value_name = "ARG", allow_negative_numbers = true)]
        params: Vec<String>,
    },
    /// Show what a running proxy knows of a call: dialogs, transactions, the last events.
    Call {
        #[command(flatten)]
        to: Server,
        /// Its Call-ID.
        #[arg(value_name = "CALL-ID")]
        call_id: String,
    },
    /// Print the completions for a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Shells that completions are written for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
}

/// A proxy that runs, and how its answer is shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Server {
    /// Its socket for binary RPC: unix:PATH, tcp:HOST[:PORT], or a path.
    #[arg(short = 's', value_name = "SOCKET", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: String,
    /// Show the answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where `ctl` listens when the configuration does not say so.
pub(crate) const DEFAULT_SOCKET: &str = "unix:/run/dialcore/kamailio_ctl";

/// What the original calls its ways to wait for sockets, and its memory managers.
const POLL_METHODS: [&str; 5] = ["poll", "epoll_lt", "epoll_et", "sigio_rt", "select"];
const MANAGERS: [&str; 3] = ["qm", "fm", "tlsf"];

/// Flags of the original that mean nothing here and are accepted for the sake of existing scripts.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Accepted without effect")]
pub(crate) struct Unused {
    /// Megabytes of shared memory: there is none.
    #[arg(short = 'm', value_name = "MB")]
    pub(crate) shared_memory: Option<u64>,
    /// Megabytes of private memory: tables grow to their bounds.
    #[arg(short = 'M', value_name = "MB")]
    pub(crate) private_memory: Option<u64>,
    /// Where modules lie: they are built in.
    #[arg(short = 'L', value_name = "PATH")]
    pub(crate) module_path: Vec<String>,
    /// TCP workers: each core serves its own streams.
    #[arg(short = 'N', value_name = "N")]
    pub(crate) tcp_workers: Option<u32>,
    /// No SCTP: there is none.
    #[arg(short = 'S')]
    pub(crate) no_sctp: bool,
    /// Process group file.
    #[arg(short = 'G', value_name = "FILE")]
    pub(crate) group_file: Option<String>,
    /// Poll method.
    #[arg(short = 'W', value_name = "METHOD", value_parser = POLL_METHODS)]
    pub(crate) poll_method: Option<String>,
    /// Maximum receive buffer size.
    #[arg(short = 'b', value_name = "BYTES")]
    pub(crate) max_buffer: Option<u64>,
    /// Script optimisation level.
    #[arg(short = 'O', value_name = "LEVEL")]
    pub(crate) optimisation: Option<u32>,
    /// Shared memory manager.
    #[arg(short = 'x', value_name = "NAME", value_parser = MANAGERS)]
    pub(crate) shared_manager: Option<String>,
    /// Private memory manager.
    #[arg(short = 'X', value_name = "NAME", value_parser = MANAGERS)]
    pub(crate) private_manager: Option<String>,
    /// Look at the DNS name of the last Via.
    #[arg(short = 'r')]
    pub(crate) dns_via: bool,
    /// Look at the DNS name of every Via.
    #[arg(short = 'R')]
    pub(crate) dns_vias: bool,
    /// Check Via.
    #[arg(short = 'K')]
    pub(crate) check_via: bool,
    /// Log engine.
    #[arg(long = "log-engine", value_name = "NAME")]
    pub(crate) log_engine: Option<String>,
    /// Whether C exit handlers run.
    #[arg(long = "atexit", value_name = "yes|no", value_parser = ["yes", "no", "1", "0"])]
    pub(crate) atexit: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_typical_unit_file() {
        let line = "dialcore -P /run/d.pid -f x.cfg -m 64 -M 8 -Y /run/d -DD -E -ddd -A A=1 -A B \
                    -l udp:127.0.0.1:5070 -l tcp:[::1]:5070/x.test:5060 -n 2 -u nobody -g nogroup";
        let args = Args::parse_from(line.split_whitespace());
        assert_eq!((args.foreground, args.verbose, args.stderr), (2, 3, 1));
        assert_eq!(args.defines, ["A=1", "B"]);
        assert_eq!(args.listen.len(), 2);
        assert_eq!((args.cores, args.unused.shared_memory), (Some(2), Some(64)));
    }

    #[test]
    fn a_client_is_told_from_a_server() {
        let line = "dialcore rpc -s unix:/x/ctl --json dlg.end_dlg 12 -3 s:4 limit=5";
        let args = Args::parse_from(line.split(' '));
        let Some(Client::Rpc { to, method, params }) = args.client else {
            panic!("it is no client")
        };
        assert_eq!((to.socket.as_str(), to.json), ("unix:/x/ctl", true));
        assert_eq!(method, "dlg.end_dlg");
        assert_eq!(params, ["12", "-3", "s:4", "limit=5"]);
        for line in ["dialcore -f x.cfg rpc core.version", "dialcore rpc"] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn the_default_socket_is_where_ctl_listens() {
        let setup = dialcore::modules::Config::default();
        let places = setup.ctl.places(&setup.process.rundir);
        let shown = places[0].to_string().replace("unixs:", "unix:");
        assert_eq!(shown, DEFAULT_SOCKET);
    }

    #[test]
    fn a_value_that_the_original_refuses_is_refused() {
        let refused = [
            "-W x", "-W epoll", "-x a", "-X b", "-a x", "-O x", "-b x", "-m x", "-M x", "-N x",
        ];
        for flag in refused {
            let line = format!("dialcore {flag}");
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{flag}");
        }
        let accepted = [
            "-W poll",
            "-W epoll_lt",
            "-x fm",
            "-X tlsf",
            "-a no",
            "-O 8",
            "-b 65536",
            "-m 64",
            "-M 8",
            "-N 4",
            "-L /x",
            "-t /x",
        ];
        for flag in accepted {
            let line = format!("dialcore {flag}");
            assert!(Args::try_parse_from(line.split(' ')).is_ok(), "{flag}");
        }
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        let error = Args::try_parse_from(["dialcore", "-q"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
    }
}
