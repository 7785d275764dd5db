//! Golden messages: literal bytes in, literal bytes out (`tests/wire/`), and an independent reader
//! (`rsip`) that finds in what we write the values that we meant.

use std::net::SocketAddr;

use dialcore::rng::Rng;
use dialcore::sip::{Edits, HeaderName, Message, Method, Reply, Span, Uri, reply, via};
use rsip::prelude::*;

macro_rules! wire {
    ($name:literal) => {
        include_bytes!(concat!("wire/", $name, ".sip")).as_slice()
    };
}

fn read(bytes: &[u8]) -> Message {
    let message = Message::parse(bytes).expect("a golden message is readable");
    assert_eq!(message.violation(), None);
    message
}

#[track_caller]
fn assert_wire(got: &[u8], want: &[u8]) {
    assert_eq!(String::from_utf8_lossy(got), String::from_utf8_lossy(want));
}

fn source(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn applied(message: &Message, edits: &Edits) -> Vec<u8> {
    let mut out = vec![];
    edits.apply(message.bytes(), &mut out);
    out
}

/// What a proxy does to an INVITE that it relays (RFC 3261 §16.6).
fn relay(message: &Message, source: SocketAddr, target: &[u8]) -> Vec<u8> {
    let mut edits = Edits::new();
    edits.replace(message.uri_span(), target);
    let route = message.first(HeaderName::Route).expect("a Route");
    edits.remove(route.line);
    let tag = message.from_tag().expect("a tag");
    let record = [b"Record-Route: <sip:192.0.2.1;lr;ftag=", tag, b">\r\n"].concat();
    edits.insert(message.headers_start(), &record);
    edits.insert(
        message.headers_start(),
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKp1\r\n",
    );
    via::mark(&message.top_via(), source, false, &mut edits);
    let left = message
        .max_forwards()
        .expect("Max-Forwards")
        .expect("a number")
        - 1;
    let max_forwards = message
        .first(HeaderName::MaxForwards)
        .expect("Max-Forwards");
    edits.replace(max_forwards.value, left.to_string().as_bytes());
    edits.insert(message.headers_end(), b"P-Hint: outbound\r\n");
    applied(message, &edits)
}

#[test]
fn a_relayed_invite() {
    let message = read(wire!("relay_invite.in"));
    let out = relay(
        &message,
        source("192.0.2.20:40020"),
        b"sip:bob@192.0.2.30:5062",
    );
    assert_wire(&out, wire!("relay_invite.out"));
}

#[test]
fn a_relayed_response_loses_our_via_and_nothing_else() {
    let message = read(wire!("relay_180.in"));
    let mut edits = Edits::new();
    edits.remove(message.first(HeaderName::Via).expect("a Via").line);
    assert_wire(&applied(&message, &edits), wire!("relay_180.out"));
}

#[test]
fn our_via_is_taken_out_of_a_list() {
    let message = read(wire!("relay_200_joined.in"));
    let mut vias = message.values(HeaderName::Via);
    let (ours, next) = (vias.next().expect("ours"), vias.next().expect("the next"));
    let mut edits = Edits::new();
    edits.remove(Span {
        start: ours.start,
        end: next.start,
    });
    assert_wire(&applied(&message, &edits), wire!("relay_200_joined.out"));
}

#[test]
fn replies_to_a_folded_invite() {
    let message = read(wire!("reply_folded.in"));
    let from = source("192.0.2.20:40020");
    let ok = Reply {
        status: 200,
        reason: b"OK",
        to_tag: Some(b"ours"),
        headers: b"",
        content_type: Some(b"text/plain"),
        body: b"hello",
    };
    let trying = Reply {
        status: 100,
        reason: b"Trying",
        ..Reply::default()
    };
    let busy = Reply {
        status: 486,
        reason: b"Busy Here",
        headers: b"Retry-After: 5\r\n",
        content_type: None,
        body: b"",
        ..ok
    };
    let table = [
        (trying, wire!("reply_folded.100")),
        (ok, wire!("reply_folded.200")),
        (busy, wire!("reply_folded.486")),
    ];
    for (answer, want) in table {
        let mut out = vec![];
        reply::write(&message, from, false, &answer, &mut out);
        assert_wire(&out, want);
        assert_eq!(read(&out).status(), answer.status);
    }
}

#[test]
fn a_reply_over_ipv6() {
    let message = read(wire!("reply_ipv6.in"));
    let uri = Uri::parse(message.uri()).expect("a URI");
    assert_eq!(
        (uri.host_ip(), uri.port),
        ("2001:db8::20".parse().ok(), Some(5061))
    );
    let mut out = vec![];
    let reason = b"Call/Transaction Does Not Exist";
    let answer = Reply {
        status: 481,
        reason,
        to_tag: Some(b"ours"),
        ..Reply::default()
    };
    reply::write(
        &message,
        source("[2001:db8::30]:40000"),
        false,
        &answer,
        &mut out,
    );
    assert_wire(&out, wire!("reply_ipv6.481"));
}

/// A well-formed request without folds and compact names, which `rsip` does not know.
fn request(rng: &mut Rng) -> String {
    let methods = ["INVITE", "BYE", "OPTIONS", "INFO"];
    let method = methods[rng.below(4) as usize];
    let mut n = || rng.below(1_000_000);
    let via = format!(
        "Via: SIP/2.0/UDP 10.0.0.{}:5060;rport;branch=z9hG4bK{}",
        n() % 256,
        n()
    );
    let older = match n() % 3 {
        0 => String::new(),
        _ => format!("Via: SIP/2.0/TCP older.example;branch=z9hG4bK{}\r\n", n()),
    };
    let to_tag = if n() % 2 == 0 {
        format!(";tag={}", n())
    } else {
        String::new()
    };
    format!(
        "{method} sip:user{}@b.example SIP/2.0\r\n{via}\r\n{older}Max-Forwards: {}\r\n\
         Route: <sip:192.0.2.1;lr>\r\n\
         From: \"A {}\" <sip:a{}@a.example>;tag={}\r\nTo: <sip:b{}@b.example>{to_tag}\r\n\
         Call-ID: {}@a.example\r\nCSeq: {} {method}\r\nContact: <sip:a@10.0.0.1:{}>\r\n\
         Content-Length: 0\r\n\r\n",
        n(),
        1 + n() % 70,
        n(),
        n(),
        n(),
        n(),
        n(),
        n(),
        n() % 65_536
    )
}

/// The branch of the topmost Via that `rsip` sees.
fn top_branch(headers: &impl HeadersExt) -> String {
    let via = headers
        .via_header()
        .expect("a Via")
        .typed()
        .expect("a typed Via");
    via.branch().expect("a branch").to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn an_independent_reader_finds_what_a_reply_means() {
    let mut rng = Rng::new(21);
    for n in 0..500 {
        let message = read(request(&mut rng).as_bytes());
        let (port, tag) = (1024 + n, format!("ours{n}"));
        let answer = Reply {
            status: 200 + n % 400,
            reason: b"Because",
            to_tag: Some(tag.as_bytes()),
            headers: b"Server: dialcore\r\n",
            content_type: Some(b"text/plain"),
            body: b"body",
        };
        let mut out = vec![];
        reply::write(
            &message,
            source(&format!("192.0.2.9:{port}")),
            false,
            &answer,
            &mut out,
        );
        let read = rsip::Response::try_from(out.as_slice()).expect("rsip reads a reply");
        assert_eq!(u16::from(read.status_code.clone()), answer.status);
        assert_eq!(read.body, b"body");
        assert_eq!(
            top_branch(&read),
            text(message.top_via().branch().expect("a branch"))
        );
        let via = read
            .via_header()
            .expect("a Via")
            .typed()
            .expect("a typed Via");
        assert_eq!(via.received().ok().flatten(), "192.0.2.9".parse().ok());
        assert!(via.to_string().contains(&format!("rport={port}")), "{via}");
        let vias = |h: &rsip::Header| matches!(h, rsip::Header::Via(_));
        assert_eq!(
            read.headers.iter().filter(|h| vias(h)).count(),
            message.all(HeaderName::Via).count()
        );
        assert_eq!(
            read.call_id_header().expect("a Call-ID").value(),
            text(message.call_id())
        );
        let cseq = read
            .cseq_header()
            .expect("a CSeq")
            .typed()
            .expect("a typed CSeq");
        assert_eq!(
            (cseq.seq, cseq.method.to_string()),
            (message.cseq().number, text(message.method_name()))
        );
        let from = read
            .from_header()
            .expect("a From")
            .typed()
            .expect("a typed From");
        assert_eq!(
            from.tag().map(|t| t.to_string()),
            message.from_tag().map(text)
        );
        let to = read.to_header().expect("a To").typed().expect("a typed To");
        assert_eq!(
            to.tag().map(|t| t.to_string()),
            Some(message.to_tag().map_or(tag, text))
        );
    }
}

#[test]
fn an_independent_reader_finds_what_edits_mean() {
    let mut rng = Rng::new(22);
    for _ in 0..500 {
        let message = read(request(&mut rng).as_bytes());
        let out = relay(
            &message,
            source("192.0.2.20:40020"),
            b"sip:next@192.0.2.30:5062",
        );
        let read = rsip::Request::try_from(out.as_slice()).expect("rsip reads what we relay");
        assert_eq!(
            Method::from_bytes(read.method.to_string().as_bytes()),
            message.method()
        );
        assert_eq!(read.uri.to_string(), "sip:next@192.0.2.30:5062");
        assert_eq!(top_branch(&read), "z9hG4bKp1");
        assert!(read.route_header().is_none());
        let record = read.record_route_header().expect("a Record-Route");
        assert!(
            record
                .value()
                .contains(&text(message.from_tag().expect("a tag")))
        );
        let left = read
            .max_forwards_header()
            .expect("Max-Forwards")
            .num()
            .expect("a number");
        assert_eq!(Some(Ok(left + 1)), message.max_forwards());
        let to = read.to_header().expect("a To").typed().expect("a typed To");
        assert_eq!(to.uri.to_string().as_bytes(), message.to().uri);
        assert_eq!(
            read.call_id_header().expect("a Call-ID").value(),
            text(message.call_id())
        );
    }
}
