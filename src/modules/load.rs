//! From a configuration file to a [`Setup`]: the language's loader with the modules' tables, then
//! every value to its place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::effect::{Address, Level, Proto};
use crate::script::{
    self, ConfigError, ConfigErrors, ErrorKind, Listen, Position, Program, Reading, RouteKind,
    Source,
};
use crate::time::WallTime;

use super::config::{Alias, Config};
use super::entry::words;
use super::setup::find_written;
use super::{Setup, all, cfgutils, core, dispatcher, vocabulary};

/// What to load, and what the command line says besides.
pub struct Request<'a> {
    /// The file to begin with, as the source knows it.
    pub path: &'a str,
    /// Preprocessor definitions.
    pub defines: &'a [(String, String)],
    /// Addresses that replace those of the file, in the form of `-l`.
    pub listen: &'a [String],
    /// No TCP, whatever the file says.
    pub no_tcp: bool,
    /// How many shards there will be.
    pub shard_count: u16,
    /// The addresses of a host or of an interface of this machine; of all of it for `*`.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// The name of an address, if it has one.
    pub name_of: &'a dyn Fn(IpAddr) -> Option<String>,
    /// `-a`: what counts in place of `auto_aliases`.
    pub auto_aliases: Option<bool>,
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// For the shards.
    pub setup: Setup,
    /// What is odd but not wrong, for the terminal.
    pub warnings: Vec<ConfigError>,
}

/// Loads a configuration, or says all that is wrong with it: of names and of values in one go.
pub fn load(request: Request<'_>, source: &mut dyn Source) -> Result<Loaded, ConfigErrors> {
    let defines: Vec<(&str, &str)> = request
        .defines
        .iter()
        .map(|(id, text)| (id.as_str(), text.as_str()))
        .collect();
    let mut reading = script::read(request.path, source, &defines, vocabulary());
    let mut values = Values::default();
    let addresses = values.judge(&reading, &request);
    let list = values.dispatcher_list(reading.program(), source);
    values.hash_file(reading.program(), source);
    if values.wrong.is_empty() && reading.is_clean() {
        values.auto_aliases(&addresses, &request);
    }
    let Values { config, wrong, .. } = values;
    for (at, kind) in wrong {
        reading.error(at, kind);
    }
    for (at, name) in values.notes {
        let (what, name) = ("attribute", name.to_owned());
        reading.warn(at, ErrorKind::Planned { what, name });
    }
    for (at, name) in values.idle {
        let name = name.to_owned();
        reading.warn(at, ErrorKind::Idle { name });
    }
    let mut program = reading.finish()?;
    let mut warnings = std::mem::take(&mut program.warnings);
    let mut setup = Setup {
        shard_count: request.shard_count,
        addresses,
        config,
        program: Arc::new(program),
        started: WallTime::from_micros(0),
    };
    let complaints = destinations(&mut setup, &list);
    if setup.config.dispatcher.refuses_bad_lines && !complaints.is_empty() {
        return Err(ConfigErrors(complaints));
    }
    warnings.extend(complaints);
    Ok(Loaded { setup, warnings })
}

/// Puts the dispatcher's list to its place. Lines of it that mean nothing are left out.
fn destinations(setup: &mut Setup, text: &[u8]) -> Vec<ConfigError> {
    let (sets, complaints) = dispatcher::list::parse(text, setup);
    setup.config.dispatcher.sets = Arc::new(sets);
    let path = &setup.config.dispatcher.list_file;
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let warning = |complaint: dispatcher::list::Complaint| ConfigError {
        at: Position {
            line: complaint.line as u32,
            ..Position::default()
        },
        file: (&**path).into(),
        line: String::from_utf8_lossy(lines[complaint.line - 1])
            .trim_end()
            .into(),
        kind: ErrorKind::Expected {
            expected: "a destination that can be used".to_owned(),
            found: complaint.what.to_owned(),
        },
    };
    complaints.into_iter().map(warning).collect()
}

impl Setup {
    /// A configuration given as text, without files to include: for tests and tools.
    pub fn from_text(text: &str, shard_count: u16) -> Result<Setup, ConfigErrors> {
        Setup::from_files(&[("text", text)], shard_count)
    }

    /// The same of several files, by path: the first is where it begins.
    pub fn from_files(files: &[(&str, &str)], shard_count: u16) -> Result<Setup, ConfigErrors> {
        let path = files.first().map_or("", |(path, _)| path);
        let request = Request {
            path,
            defines: &[],
            listen: &[],
            no_tcp: false,
            shard_count,
            resolve: &|_| Vec::new(),
            name_of: &|_| None,
            auto_aliases: None,
        };
        load(request, &mut Files(files)).map(|loaded| loaded.setup)
    }
}

struct Files<'a>(&'a [(&'a str, &'a str)]);

impl Source for Files<'_> {
    fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.as_bytes().to_vec())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

#[derive(Default)]
struct Values {
    config: Config,
    wrong: Vec<(Position, ErrorKind)>,
    /// What values ask for that has no effect yet.
    notes: Vec<(Position, &'static str)>,
    /// Parameters that mean nothing here, each once.
    idle: Vec<(Position, &'static str)>,
}

impl Values {
    /// Looks at all that a configuration says, right or wrong, and gives the addresses to listen
    /// on.
    fn judge(&mut self, reading: &Reading, request: &Request<'_>) -> Vec<Address> {
        let program = reading.program();
        self.apply(program);
        // A profile, or a socket, may be missing only because of another mistake.
        let names = ["profiles_with_value", "profiles_no_value"];
        let is_wrong = |(at, _): &(Position, ErrorKind)| {
            let mut params = program.params.iter();
            params.any(|p| p.at == *at && names.contains(&p.name))
        };
        let has_all_profiles = names.iter().all(|name| reading.has_all_params(name))
            && !self.wrong.iter().any(is_wrong);
        let dialog = super::dialog::check(&self.config.dialog, program, has_all_profiles);
        self.wrong.extend(dialog);
        self.wrong
            .extend(super::xlog::check(&self.config.xlog, program));
        let before = self.wrong.len();
        let addresses = self.addresses(program, request);
        if self.wrong.len() == before && reading.has_all_sockets() {
            self.sockets(program, &addresses);
        }
        // A route or a parameter may be missing only because of another mistake.
        if reading.is_clean() {
            self.lost_route(program);
            self.wrong.extend(core::instance::check(program));
        }
        addresses
    }

    /// The names that listening addresses have are ours, at their ports.
    fn auto_aliases(&mut self, addresses: &[Address], request: &Request<'_>) {
        if !request
            .auto_aliases
            .unwrap_or(self.config.process.auto_aliases)
        {
            return;
        }
        let mut names: Vec<(IpAddr, Option<String>)> = Vec::new();
        for address in addresses {
            let (ip, port) = (address.local.ip(), address.local.port());
            if names.iter().all(|(known, _)| *known != ip) {
                names.push((ip, (request.name_of)(ip)));
            }
            let name = names.iter().find(|(known, _)| *known == ip);
            let Some(host) = name.and_then(|(_, name)| name.as_deref()) else {
                continue;
            };
            let port = Some(port).filter(|port| *port > 0);
            let alias = Alias {
                host: host.into(),
                port,
            };
            if !self.config.core.aliases.contains(&alias) {
                self.config.core.aliases.push(alias);
            }
        }
    }

    /// The text of the dispatcher's list; without the file the original does not start either.
    fn dispatcher_list(&mut self, program: &Program, source: &mut dyn Source) -> Vec<u8> {
        let path = self.config.dispatcher.list_file.clone();
        self.file((&path, "list_file"), program, source)
            .unwrap_or_default()
    }

    /// Hashes the file that `cfgutils` is to watch.
    fn hash_file(&mut self, program: &Program, source: &mut dyn Source) {
        let path = self.config.cfgutils.hash_file.clone();
        if let Some(text) = self.file((&path, "hash_file"), program, source) {
            self.config.cfgutils.hash = cfgutils::hash(&text).into();
        }
    }

    /// The text of the file that a parameter names, if it names one; it must be there.
    fn file(
        &mut self,
        (path, param): (&str, &'static str),
        program: &Program,
        source: &mut dyn Source,
    ) -> Option<Vec<u8>> {
        if path.is_empty() {
            return None;
        }
        let text = source.read(path);
        if text.is_none() {
            let mut params = program.params.iter().rev();
            let at = params.find(|p| p.name == param).map(|p| p.at);
            self.refuse(at.unwrap_or_default(), param, "a file that can be read");
        }
        text
    }

    /// Every global and module parameter to its place.
    fn apply(&mut self, program: &Program) {
        for global in &program.globals {
            let Some(entry) = core::GLOBALS.iter().find(|g| g.sig.name == global.name) else {
                continue;
            };
            if let Err(wanted) = (entry.set)(&mut self.config, &global.value) {
                self.refuse(global.at, global.name, wanted.0);
            }
            let without = &mut self.config.without_effect;
            if entry.sig.ignored && !without.contains(&entry.sig.name) {
                without.push(entry.sig.name);
            }
        }
        for param in &program.params {
            let module = all()[usize::from(param.module.0)];
            let Some(entry) = module.params.iter().find(|p| p.sig.name == param.name) else {
                continue;
            };
            if let Err(wanted) = (entry.set)(&mut self.config, &param.value) {
                self.refuse(param.at, param.name, wanted.0);
            }
            let notes = self.config.notes.drain(..);
            self.notes.extend(notes.map(|name| (param.at, name)));
            let is_idle = std::mem::take(&mut self.config.is_idle);
            let is_default = *words(&param.value) == *entry.sig.default;
            let is_new = self.idle.iter().all(|(_, name)| *name != param.name);
            if is_idle && is_new && !is_default {
                self.idle.push((param.at, param.name));
            }
        }
        let alias = |a: &script::Alias| Alias {
            host: a.host.clone(),
            port: a.port,
        };
        self.config
            .core
            .aliases
            .extend(program.aliases.iter().map(alias));
    }

    fn refuse(&mut self, at: Position, name: &str, wanted: &'static str) {
        self.wrong.push((
            at,
            ErrorKind::GlobalType {
                name: name.to_owned(),
                wanted,
            },
        ));
    }

    /// A route that a parameter names should be there.
    fn lost_route(&mut self, program: &Program) {
        let name = &self.config.tm.on_sl_reply;
        let is_there = program.route(RouteKind::Onreply, name.as_bytes()).is_some();
        let param = program.params.iter().find(|p| p.name == "on_sl_reply");
        if let Some(param) = param.filter(|_| !is_there && !name.is_empty()) {
            let kind = ErrorKind::GlobalType {
                name: param.name.to_owned(),
                wanted: "an onreply_route that is defined",
            };
            self.wrong.push((param.at, kind));
        }
    }

    /// The sockets that functions name must be listened on.
    fn sockets(&mut self, program: &Program, addresses: &[Address]) {
        for (text, at) in &program.sockets {
            if find_written(addresses, text.as_bytes()).is_none() {
                let (function, number) = ("force_send_socket".to_owned(), 1);
                let wanted = "a socket that listen declares";
                let kind = ErrorKind::Argument {
                    function,
                    number,
                    wanted,
                };
                self.wrong.push((*at, kind));
            }
        }
    }

    /// Where to listen: the command line's addresses, else the file's, else all there are.
    fn addresses(&mut self, program: &Program, request: &Request<'_>) -> Vec<Address> {
        let no_tcp = request.no_tcp || self.config.tcp.disabled;
        let mut found = Vec::new();
        let from_command: Vec<Listen> = request.listen.iter().map(|text| listen_of(text)).collect();
        let listens = if from_command.is_empty() {
            &program.listens
        } else {
            &from_command
        };
        for listen in listens {
            let addresses = self.resolve(listen, request, no_tcp);
            if addresses.is_empty() && !listen.is_virtual && !(no_tcp && is_tcp(listen)) {
                self.refuse(
                    listen.at,
                    "listen",
                    "an address or interface of this machine",
                );
            }
            found.extend(addresses);
        }
        if listens.is_empty() {
            found = self.everywhere(request, no_tcp);
        }
        found
    }

    fn resolve(&self, listen: &Listen, request: &Request<'_>, no_tcp: bool) -> Vec<Address> {
        let ips = match listen.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => (request.resolve)(&listen.host),
        };
        let port = listen.port.unwrap_or(self.config.core.port);
        let advertised = listen
            .advertise
            .as_ref()
            .map(|(host, advertised)| (host.clone(), advertised.unwrap_or(port)));
        let address = |ip, proto| Address {
            proto,
            local: SocketAddr::new(ip, port),
            advertised: advertised.clone(),
            name: listen.name.clone(),
        };
        ips.iter()
            .flat_map(|ip| protos(listen.proto, no_tcp).map(|proto| address(*ip, proto)))
            .collect()
    }

    /// No `listen` at all: every IPv4 address of the machine.
    fn everywhere(&self, request: &Request<'_>, no_tcp: bool) -> Vec<Address> {
        let mut ips = (request.resolve)("*");
        ips.retain(IpAddr::is_ipv4);
        if ips.is_empty() {
            ips.push(Ipv4Addr::LOCALHOST.into());
        }
        let port = self.config.core.port;
        let address = |ip, proto| Address {
            proto,
            local: SocketAddr::new(ip, port),
            advertised: None,
            name: None,
        };
        ips.iter()
            .flat_map(|ip| protos(None, no_tcp).map(|p| address(*ip, p)))
            .collect()
    }
}

fn is_tcp(listen: &Listen) -> bool {
    listen.proto == Some(Proto::Tcp)
}

fn protos(proto: Option<Proto>, no_tcp: bool) -> impl Iterator<Item = Proto> {
    let both = [Proto::Udp, Proto::Tcp];
    both.into_iter()
        .filter(move |p| proto.is_none_or(|one| one == *p))
        .filter(move |p| !(no_tcp && *p == Proto::Tcp))
}

/// `[proto:]address[:port][/advertised[:port]]`, as `-l` takes it.
fn listen_of(text: &str) -> Listen {
    let (place, advertise) = match text.split_once('/') {
        Some((place, told)) => (place, Some(host_port(told))),
        None => (text, None),
    };
    let (proto, place) = match place.split_once(':') {
        Some((name, rest)) if Proto::from_name(name.as_bytes()).is_some() => {
            (Proto::from_name(name.as_bytes()), rest)
        }
        _ => (None, place),
    };
    let (host, port) = host_port(place);
    let (name, is_virtual, at) = (None, false, Position::default());
    Listen {
        proto,
        host,
        port,
        advertise,
        name,
        is_virtual,
        at,
    }
}

fn host_port(text: &str) -> (Box<str>, Option<u16>) {
    // A bracket ends an IPv6 address; what has several colons and none is one without a port.
    let bracket = text.find(']').map_or(0, |at| at + 1);
    match text[bracket..].split_once(':') {
        Some((rest, port)) if !port.contains(':') => {
            let host = &text[..bracket + rest.len()];
            (host.trim_matches(['[', ']']).into(), port.parse().ok())
        }
        _ => (text.trim_matches(['[', ']']).into(), None),
    }
}

/// What the log keeps, from the file and the command line.
pub fn level(file: Level, asked: Option<i64>, more: u8) -> Level {
    Level::from_number(asked.unwrap_or(file as i64) + i64::from(more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_command_line() {
        let table = [
            ("127.0.0.1", (None, "127.0.0.1", None, None)),
            (
                "udp:127.0.0.1:5070",
                (Some(Proto::Udp), "127.0.0.1", Some(5070), None),
            ),
            (
                "tcp:[::1]:5070",
                (Some(Proto::Tcp), "::1", Some(5070), None),
            ),
            ("[::1]", (None, "::1", None, None)),
            (
                "lo:5062/x.test:5060",
                (None, "lo", Some(5062), Some(("x.test", Some(5060)))),
            ),
            (
                "udp:lo/x.test",
                (Some(Proto::Udp), "lo", None, Some(("x.test", None))),
            ),
        ];
        for (text, want) in table {
            let l = listen_of(text);
            let told = l.advertise.as_ref().map(|(h, p)| (&**h, *p));
            assert_eq!((l.proto, &*l.host, l.port, told), want, "{text}");
        }
    }

    #[test]
    fn a_listen_without_protocol_opens_both() {
        let setup = Setup::from_text("listen=127.0.0.1:5070\nrequest_route { ; }\n", 1).unwrap();
        let shown: Vec<_> = setup.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["udp:127.0.0.1:5070", "tcp:127.0.0.1:5070"]);
    }

    fn loaded(text: &str, auto_aliases: Option<bool>) -> Setup {
        let request = Request {
            path: "text",
            defines: &[],
            listen: &[],
            no_tcp: false,
            shard_count: 1,
            resolve: &|_| Vec::new(),
            name_of: &|ip| ip.is_loopback().then(|| format!("host-{ip}")),
            auto_aliases,
        };
        let files = [("text", text)];
        load(request, &mut Files(&files))
            .expect("it is right")
            .setup
    }

    #[test]
    fn names_of_listening_addresses_are_ours_unless_unwanted() {
        let listen = "listen=127.0.0.1:5070\nlisten=udp:127.0.0.2:5061\nlisten=udp:192.0.2.1\n";
        let named = "host-127.0.0.1:Some(5070) host-127.0.0.2:Some(5061)";
        let table = [
            ("", None, named),
            ("auto_aliases=yes\n", None, named),
            ("auto_aliases=no\n", None, ""),
            ("auto_aliases=no\n", Some(true), named),
            ("", Some(false), ""),
            (
                "alias=\"x.test\"\nauto_aliases=yes\n",
                None,
                &format!("x.test:None {named}"),
            ),
        ];
        for (globals, mode, want) in table {
            let setup = loaded(&format!("{listen}{globals}request_route {{ ; }}\n"), mode);
            let aliases = setup.config.core.aliases.iter();
            let shown: Vec<_> = aliases
                .map(|a| format!("{}:{:?}", a.host, a.port))
                .collect();
            assert_eq!(shown.join(" "), want, "{globals} {mode:?}");
        }
    }

    #[test]
    fn parameters_without_effect_are_listed_once() {
        let text = "children=4\nmemlog=3\nport=5061\nchildren=8\nrequest_route { ; }\n";
        let without = loaded(text, None).config.without_effect;
        assert_eq!(without, ["children", "memlog"]);
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_place() {
        let text =
            "loadmodule \"tm.so\"\nmodparam(\"tm\", \"fr_timer\", -1)\nrequest_route { ; }\n";
        let errors = Setup::from_text(text, 1).unwrap_err();
        assert_eq!((errors.0.len(), errors.0[0].at.line), (1, 2));
        assert!(errors.to_string().contains("fr_timer"), "{errors}");
    }
}
