//! The torture messages of RFC 4475: what the parser says of each of the 49.
//!
//! What is clean must survive untouched; what a liberal element may accept is accepted where it
//! can be passed on as it is, and refused where the RFC says that it must not be passed on.

use std::fs;
use std::path::PathBuf;

use dialcore::sip::{Edits, HeaderName, Message, Method, ParseError, Span, Violation};

/// What the parser says of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    /// Nothing is wrong that a proxy must check.
    Clean,
    /// A request is answered with the violation's status, a response dropped.
    Violates(Violation),
    /// It is dropped.
    Unreadable(ParseError),
}

use Says::{Clean, Unreadable, Violates};

/// One row for each message, in the order of the RFC: file, section, verdict, status of a refusal.
fn expected() -> [(&'static str, &'static str, Says, u16); 49] {
    use Violation as V;
    [
        ("wsinv", "3.1.1.1", Clean, 0),
        ("intmeth", "3.1.1.2", Clean, 0),
        ("esc01", "3.1.1.3", Clean, 0),
        ("escnull", "3.1.1.4", Clean, 0),
        ("esc02", "3.1.1.5", Clean, 0),
        ("lwsdisp", "3.1.1.6", Clean, 0),
        ("longreq", "3.1.1.7", Clean, 0),
        ("dblreq", "3.1.1.8", Clean, 0),
        ("semiuri", "3.1.1.9", Clean, 0),
        ("transports", "3.1.1.10", Clean, 0),
        ("mpart01", "3.1.1.11", Clean, 0),
        ("unreason", "3.1.1.12", Clean, 0),
        ("noreason", "3.1.1.13", Clean, 0),
        ("badinv01", "3.1.2.1", Violates(V::ViaParams), 400),
        ("clerr", "3.1.2.2", Violates(V::BodyTooShort), 400),
        ("ncl", "3.1.2.3", Violates(V::ContentLength), 400),
        ("scalar02", "3.1.2.4", Violates(V::BadCSeq), 400),
        // A response: dropped.
        ("scalarlg", "3.1.2.5", Violates(V::BadCSeq), 400),
        ("quotbal", "3.1.2.6", Violates(V::BadTo), 400),
        ("ltgtruri", "3.1.2.7", Violates(V::Uri), 400),
        ("lwsruri", "3.1.2.8", Violates(V::StartLine), 400),
        ("lwsstart", "3.1.2.9", Violates(V::StartLine), 400),
        ("trws", "3.1.2.10", Violates(V::StartLine), 400),
        // Liberal: the header component goes no further.
        ("escruri", "3.1.2.11", Clean, 0),
        // Nothing that a proxy reads.
        ("baddate", "3.1.2.12", Clean, 0),
        ("regbadct", "3.1.2.13", Clean, 0),
        // Liberal: blanks in angle brackets, display names that want quotes.
        ("badaspec", "3.1.2.14", Clean, 0),
        ("baddn", "3.1.2.15", Clean, 0),
        ("badvers", "3.1.2.16", Violates(V::Version), 505),
        ("mismatch01", "3.1.2.17", Violates(V::CSeqMethod), 400),
        ("mismatch02", "3.1.2.18", Violates(V::CSeqMethod), 400),
        ("bigcode", "3.1.2.19", Unreadable(ParseError::StartLine), 0),
        // The branch is the bare cookie: matched as RFC 2543 did.
        ("badbranch", "3.2.1", Clean, 0),
        ("insuf", "3.3.1", Violates(V::NoFrom), 400),
        ("unkscm", "3.3.2", Violates(V::UriScheme), 416),
        ("novelsc", "3.3.3", Violates(V::UriScheme), 416),
        ("unksm2", "3.3.4", Clean, 0),
        ("bext01", "3.3.5", Clean, 0),
        ("invut", "3.3.6", Clean, 0),
        ("regaut01", "3.3.7", Clean, 0),
        ("multi01", "3.3.8", Violates(V::Repeated), 400),
        ("mcl01", "3.3.9", Violates(V::ContentLengthConflict), 400),
        ("bcast", "3.3.10", Clean, 0),
        ("zeromf", "3.3.11", Clean, 0),
        ("cparam01", "3.3.12", Clean, 0),
        ("cparam02", "3.3.13", Clean, 0),
        ("regescrt", "3.3.14", Clean, 0),
        ("sdp01", "3.3.15", Clean, 0),
        ("inv2543", "3.4.1", Clean, 0),
    ]
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/torture")
}

fn bytes_of(name: &str) -> Vec<u8> {
    let path = directory().join(format!("{name}.dat"));
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(name: &str) -> Message {
    Message::parse(&bytes_of(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_parser_judges_every_message() {
    for (name, section, want, status) in expected() {
        let said = match Message::parse(&bytes_of(name)) {
            Err(error) => Unreadable(error),
            Ok(message) => message.violation().map_or(Clean, Violates),
        };
        assert_eq!(said, want, "{name} ({section})");
        let answered = match said {
            Violates(violation) => violation.status(),
            Clean | Unreadable(_) => 0,
        };
        assert_eq!(answered, status, "{name} ({section})");
    }
}

#[test]
fn the_table_names_every_file() {
    let mut files: Vec<String> = fs::read_dir(directory())
        .expect("the torture messages are there")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("ASCII")
        })
        .filter_map(|file| file.strip_suffix(".dat").map(str::to_owned))
        .collect();
    let mut rows: Vec<String> = expected().iter().map(|row| row.0.to_owned()).collect();
    files.sort();
    rows.sort();
    assert_eq!(rows, files);
}

#[test]
fn clean_messages_leave_as_they_came() {
    for (name, _, said, _) in expected() {
        if said != Clean {
            continue;
        }
        let (bytes, message) = (bytes_of(name), read(name));
        let mut edits = Edits::new();
        edits.remove(Span::at(message.headers_end()));
        edits.insert(message.headers_start(), b"");
        let mut out = vec![];
        edits.apply(message.bytes(), &mut out);
        let whole = match name {
            // §3.1.1.8: octets behind the body do not travel on.
            "dblreq" => bytes[..300].to_vec(),
            // The file ends with its last field; the empty line is put right.
            "baddn" => [&bytes[..], b"\r\n"].concat(),
            _ => bytes,
        };
        assert_eq!(out, whole, "{name}");
    }
}

#[test]
fn a_short_tortuous_invite_is_read_through_its_folds() {
    let m = read("wsinv");
    assert_eq!((m.method(), m.cseq().number), (Method::Invite, 9));
    assert_eq!(m.to().uri, b"sip:vivekg@chair-dnrc.example.com");
    assert_eq!(m.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(m.from().display, Some(&b"\"J Rosenberg \\\\\\\"\""[..]));
    assert_eq!(m.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(m.max_forwards(), Some(Ok(68)));
    assert_eq!(m.call_id(), b"wsinv.ndaksdj@192.0.2.1");
    let via = m.top_via();
    assert_eq!((via.transport, via.host), (&b"UDP"[..], &b"192.0.2.2"[..]));
    assert_eq!(via.branch(), Some(&b"390skdjuw"[..]));
    let branches: Vec<_> = m
        .values(HeaderName::Via)
        .map(|v| {
            dialcore::sip::via::parse_at(m.bytes(), v)
                .expect("a Via")
                .branch()
        })
        .collect();
    let want: [&[u8]; 3] = [b"390skdjuw", b"z9hG4bK9ikj8", b"z9hG4bK30239"];
    assert_eq!(branches, want.map(Some));
    assert_eq!(m.body().len(), 150);
    assert!(
        m.first(HeaderName::Subject)
            .is_some_and(|h| h.value.is_empty())
    );
}

#[test]
fn single_values_come_out_right() {
    let m = read("intmeth");
    assert_eq!(m.method(), Method::Other);
    assert_eq!(
        m.method_name(),
        b"!interesting-Method0123456789_*+`.%indeed'~"
    );
    assert_eq!(m.from_tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(m.call_id(), b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");

    let m = read("esc02");
    assert_eq!(
        (m.method(), m.method_name()),
        (Method::Other, &b"RE%47IST%45R"[..])
    );
    assert_eq!(
        m.all(HeaderName::Contact).count(),
        2,
        "C%6Fntact is another name"
    );

    let m = read("escnull");
    assert_eq!(m.to().uri, b"sip:null-%00-null@example.com");

    let m = read("lwsdisp");
    assert_eq!(m.from().display, Some(&b"caller"[..]));

    let m = read("badbranch");
    assert_eq!(m.top_via().branch(), Some(&b"z9hG4bK"[..]));

    let m = read("badaspec");
    assert_eq!(m.to().uri, b"sip:t.watson@example.org");

    let m = read("baddn");
    assert_eq!(m.from().display, Some(&b"Bell, Alexander"[..]));

    let m = read("zeromf");
    assert_eq!(m.max_forwards(), Some(Ok(0)));

    let m = read("inv2543");
    assert_eq!(
        (m.top_via().branch(), m.from_tag(), m.max_forwards()),
        (None, None, None)
    );

    let m = read("unreason");
    assert!(std::str::from_utf8(m.reason()).is_ok_and(|reason| reason.starts_with("= 2**3")));

    let m = read("noreason");
    assert_eq!((m.status(), m.reason()), (100, &b""[..]));

    let m = read("transports");
    let protos: Vec<_> = m
        .values(HeaderName::Via)
        .map(|v| {
            dialcore::sip::via::parse_at(m.bytes(), v)
                .expect("a Via")
                .proto
                .is_some()
        })
        .collect();
    assert_eq!(
        protos.iter().filter(|known| !**known).count(),
        1,
        "{protos:?}"
    );
}
