//! Where a configuration comes from: the file that was named, the one at the usual place, or the
//! built-in one; and what the command line puts before it.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use dialcore::script::Source;

use super::args::Args;

/// Where a configuration is looked for when none is named.
pub(crate) const USUAL_PLACE: &str = "/etc/dialcore/dialcore.cfg";

/// The name under which the built-in configuration stands in messages.
pub(crate) const BUILT_IN: &str = "(built-in)";

/// The name of what the command line asks for.
const COMMAND_LINE: &str = "(command line)";

/// The text of the built-in configuration.
pub(crate) const DEFAULT: &str = include_str!("../default.cfg");

/// Reads files, and the two texts that are none.
#[derive(Debug)]
pub(crate) struct Files {
    /// The configuration proper.
    pub(crate) main: String,
    prelude: Option<String>,
}

impl Files {
    /// Decides where the configuration comes from.
    pub(crate) fn new(args: &Args) -> Files {
        let main = match &args.file {
            Some(path) => path.display().to_string(),
            None if Path::new(USUAL_PLACE).exists() => USUAL_PLACE.to_owned(),
            None => BUILT_IN.to_owned(),
        };
        let prelude = prelude(args, &main);
        Files { main, prelude }
    }

    /// The file to begin with.
    pub(crate) fn first(&self) -> &str {
        if self.prelude.is_some() {
            COMMAND_LINE
        } else {
            &self.main
        }
    }

    /// Whether the built-in configuration runs.
    pub(crate) fn is_built_in(&self) -> bool {
        self.main == BUILT_IN
    }
}

/// What `--subst` and its kin, `--loadmodule`, `--modparam`, `--server-id` and `--alias` come to,
/// in the language.
fn prelude(args: &Args, main: &str) -> Option<String> {
    let mut text = String::new();
    let substitutions = [
        ("subst", &args.substs),
        ("substdef", &args.substdefs),
        ("substdefs", &args.quoted_substdefs),
    ];
    for (directive, rules) in substitutions {
        for rule in rules {
            text.push_str(&format!("#!{directive} \"{rule}\"\n"));
        }
    }
    for module in &args.modules {
        text.push_str(&format!("loadmodule \"{module}\"\n"));
    }
    for param in &args.params {
        let mut parts = param.splitn(4, ':');
        let [module, name, kind, value] = std::array::from_fn(|_| parts.next().unwrap_or_default());
        let quote = if kind == "i" { "" } else { "\"" };
        text.push_str(&format!(
            "modparam(\"{module}\", \"{name}\", {quote}{value}{quote})\n"
        ));
    }
    if let Some(id) = args.server_id {
        text.push_str(&format!("server_id={id}\n"));
    }
    for alias in &args.aliases {
        text.push_str(&format!("alias={alias}\n"));
    }
    (!text.is_empty()).then(|| format!("{text}include_file \"{main}\"\n"))
}

impl Source for Files {
    fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        match (path, &self.prelude) {
            (BUILT_IN, _) => Some(DEFAULT.into()),
            (COMMAND_LINE, Some(text)) => Some(text.as_bytes().to_vec()),
            _ => fs::read(path).ok(),
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        addresses_of(host)
    }
}

/// The addresses of a host or interface.
pub(crate) fn addresses_of(name: &str) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let named = interfaces.iter().filter(|i| name == "*" || i.name == name);
    let by_interface: Vec<IpAddr> = named.map(if_addrs::Interface::ip).collect();
    if !by_interface.is_empty() || name == "*" {
        return by_interface;
    }
    let found = (name, 0)
        .to_socket_addrs()
        .map(|all| all.map(|a| a.ip()).collect());
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn options_stand_before_the_file() {
        let line = "dialcore -f x.cfg --subst /a/b/g --substdef /ID/1/ --substdefs /S/t/ \
                    --loadmodule pv --modparam pv:varset:s:v=i:1 --server-id 7 --alias h:5060";
        let args = Args::parse_from(line.split_whitespace());
        let text = prelude(&args, "x.cfg").expect("there are options");
        let want = "#!subst \"/a/b/g\"\n#!substdef \"/ID/1/\"\n#!substdefs \"/S/t/\"\n\
                    loadmodule \"pv\"\nmodparam(\"pv\", \"varset\", \"v=i:1\")\nserver_id=7\n\
                    alias=h:5060\ninclude_file \"x.cfg\"\n";
        assert_eq!(text, want);
    }
}
