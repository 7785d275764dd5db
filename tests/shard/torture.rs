//! The torture messages of RFC 4475: what the proxy does with each of the 49.

use std::fs;
use std::path::Path;

use dialcore::effect::Proto;

use crate::proxy::Proxy;

/// What leaves, in order: `<-` to where the request came from, `->` onwards. Names are looked up
/// and found.
const ACTIONS: [(&str, &[&str]); 49] = [
    (
        "wsinv",
        &[
            "<- 100",
            "-> INVITE sip:vivekg@chair-dnrc.example.com;unknownparam",
        ],
    ),
    (
        "intmeth",
        &["-> !interesting-Method0123456789_*+`.%indeed'~ \
             sip:1_unusual.URI~(to-be!sure)&\
             isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"],
    ),
    (
        "esc01",
        &[
            "<- 100",
            "-> INVITE sip:sips%3Auser%40example.com@example.net",
        ],
    ),
    ("escnull", &["-> REGISTER sip:example.com"]),
    ("esc02", &["-> RE%47IST%45R sip:registrar.example.com"]),
    ("lwsdisp", &["-> OPTIONS sip:user@example.com"]),
    ("longreq", &["<- 100", "-> INVITE sip:user@example.com"]),
    ("dblreq", &["-> REGISTER sip:example.com"]),
    (
        "semiuri",
        &["-> OPTIONS sip:user;par=u%40example.net@example.com"],
    ),
    ("transports", &["-> OPTIONS sip:user@example.com"]),
    ("mpart01", &["-> MESSAGE sip:kumiko@example.org"]),
    // A response of a transaction that is not ours, by a Via that is not ours.
    ("unreason", &[]),
    ("noreason", &[]),
    // What must not be passed on is refused with the reason; a broken response is dropped.
    ("badinv01", &["<- 400 Bad Via Header Field"]),
    ("clerr", &["<- 400 Body Shorter than Content-Length"]),
    ("ncl", &["<- 400 Bad Content-Length Header Field"]),
    ("scalar02", &["<- 400 Bad CSeq Header Field"]),
    ("scalarlg", &[]),
    ("quotbal", &["<- 400 Bad To Header Field"]),
    ("ltgtruri", &["<- 400 Bad Request-URI"]),
    ("lwsruri", &["<- 400 Bad Request-Line"]),
    ("lwsstart", &["<- 400 Bad Request-Line"]),
    ("trws", &["<- 400 Bad Request-Line"]),
    // The header component does not go on.
    ("escruri", &["<- 100", "-> INVITE sip:user@example.com"]),
    // What only an end point reads passes.
    ("baddate", &["<- 100", "-> INVITE sip:user@example.com"]),
    ("regbadct", &["-> REGISTER sip:example.com"]),
    ("badaspec", &["-> OPTIONS sip:user@example.org"]),
    ("baddn", &["-> OPTIONS sip:t.watson@example.org"]),
    ("badvers", &["<- 505 Version Not Supported"]),
    ("mismatch01", &["<- 400 CSeq Method Mismatch"]),
    ("mismatch02", &["<- 400 CSeq Method Mismatch"]),
    ("bigcode", &[]),
    // The bare cookie identifies nothing: matched as RFC 2543 did, and relayed.
    ("badbranch", &["-> OPTIONS sip:user@example.com"]),
    ("insuf", &["<- 400 Missing From Header Field"]),
    ("unkscm", &["<- 416 Unsupported URI Scheme"]),
    ("novelsc", &["<- 416 Unsupported URI Scheme"]),
    ("unksm2", &["-> REGISTER sip:example.com"]),
    // Proxy-Require is the script's to check (sanity_check), as in the original.
    ("bext01", &["-> OPTIONS sip:user@example.com"]),
    ("invut", &["<- 100", "-> INVITE sip:user@example.com"]),
    ("regaut01", &["-> REGISTER sip:example.com"]),
    ("multi01", &["<- 400 Repeated Header Field"]),
    (
        "mcl01",
        &["<- 400 Conflicting Content-Length Header Fields"],
    ),
    // The Via below ours is a broadcast address.
    ("bcast", &[]),
    ("zeromf", &["<- 483 Too Many Hops"]),
    ("cparam01", &["-> REGISTER sip:example.com"]),
    ("cparam02", &["-> REGISTER sip:example.com"]),
    ("regescrt", &["-> REGISTER sip:example.com"]),
    ("sdp01", &["<- 100", "-> INVITE sip:user@example.com"]),
    ("inv2543", &["<- 100", "-> INVITE sip:UserB@example.com"]),
];

fn run(proxy: &mut Proxy, proto: Proto, bytes: &[u8]) -> Vec<String> {
    let mut sent = proxy.receive_bytes("192.0.2.1:5070", proto, bytes);
    while !proxy.queries.is_empty() {
        sent.extend(proxy.resolve(Ok(&["192.0.2.9:5060"])));
    }
    sent.iter().map(|s| shown(s.line())).collect()
}

fn shown(line: &str) -> String {
    match line.strip_prefix("SIP/2.0 ") {
        Some(status) if status.starts_with("100") => "<- 100".into(),
        Some(status) => format!("<- {status}"),
        None => format!("-> {}", line.trim_end_matches(" SIP/2.0")),
    }
}

#[test]
fn the_proxy_acts_on_each_torture_message() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/torture");
    if !dir.exists() {
        // The messages are no part of this tree; where they are not at hand nothing is shown.
        return;
    }
    for (name, want) in ACTIONS {
        let bytes = fs::read(dir.join(format!("{name}.dat"))).expect("the corpus is complete");
        let mut proxy = Proxy::new("");
        assert_eq!(run(&mut proxy, Proto::Udp, &bytes), want, "{name}");
        let mut proxy = Proxy::new("");
        run(&mut proxy, Proto::Tcp, &bytes);
        proxy.wait(300.0);
        assert!(proxy.is_idle(), "{name} leaves something behind");
    }
}
