//! What the terminal shows: version, listening addresses, the first steps of a newcomer.

use dialcore::effect::flow::bracketed;
use dialcore::effect::{Address, Proto};
use dialcore::io::Steering;

/// Name and version.
pub(crate) const VERSION: &str = concat!("dialcore ", env!("CARGO_PKG_VERSION"));

/// `-v`.
pub(crate) fn version() -> String {
    let target = (std::env::consts::ARCH, std::env::consts::OS);
    format!(
        "version: {VERSION} ({}/{})\nlanguage: Kamailio 5.6\nflags: {}",
        target.0,
        target.1,
        flags()
    )
}

/// `-I`: what is built in.
pub(crate) fn internals() -> String {
    let mut text = format!("{}\nmodules built in:\n", version());
    for module in dialcore::modules::all() {
        let planned = if module.planned { " (planned)" } else { "" };
        text.push_str(&format!("  {:12} {}{planned}\n", module.name, module.doc));
    }
    text.push_str(&format!(
        "bounds: message {} bytes, {} header fields, {} branches, {} transactions a core\n",
        dialcore::limits::MESSAGE_SIZE_MAX,
        dialcore::limits::HEADER_COUNT_MAX,
        dialcore::limits::BRANCH_COUNT_MAX,
        dialcore::limits::TRANSACTION_COUNT_MAX,
    ));
    text
}

fn flags() -> &'static str {
    if cfg!(debug_assertions) {
        "debug, glommio"
    } else {
        "release, glommio"
    }
}

/// The block of addresses that the original prints too.
pub(crate) fn listening(addresses: &[Address], aliases: &[String]) -> String {
    let mut text = String::from("Listening on \n");
    for a in addresses {
        let (host, port) = (bracketed(a.local.ip()), a.local.port());
        text.push_str(&format!("             {}: {host}:{port}", a.proto));
        if let Some((host, port)) = &a.advertised {
            text.push_str(&format!(" advertise {host}:{port}"));
        }
        text.push('\n');
    }
    text.push_str("Aliases: \n");
    for alias in aliases {
        text.push_str(&format!("             {alias}\n"));
    }
    text
}

/// How many cores run, and how a message finds its own.
pub(crate) fn cores(cores: &[usize], steering: &Steering) -> String {
    let names: Vec<_> = cores.iter().map(usize::to_string).collect();
    match cores.len() {
        1 => format!("1 core ({}) owns every call\n", names[0]),
        n => format!(
            "{n} cores ({}), one shard each; steering: {steering}\n",
            names.join(", ")
        ),
    }
}

/// What to try next, when the built-in configuration runs.
pub(crate) fn first_steps(addresses: &[Address]) -> String {
    let udp = addresses.iter().find(|a| a.proto == Proto::Udp);
    let Some(at) = udp.map(|a| a.local) else {
        return String::new();
    };
    format!(
        "\nThis is the built-in configuration: a record-routing proxy on loopback.\n\
         Try, from another terminal:\n\
         \x20 sipsak -s sip:{at}\n\
         \x20     is it there?\n\
         \x20 sipp -sn uas -i 127.0.0.1 -p 5070\n\
         \x20     a phone that answers;\n\
         \x20 sipp -sn uac -i 127.0.0.1 -p 5071 -rsa {at} -m 10 127.0.0.1:5070\n\
         \x20     ten calls to it through here\n\
         \x20 dialcore -f my.cfg\n\
         \x20     your own routing; dialcore -f my.cfg -c checks it\n\
         Ctrl-C stops it.\n"
    )
}
