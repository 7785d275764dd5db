//! Requests that go one hop: the ACK to a failure response and the CANCEL, both made from the
//! request that was sent on the branch (RFC 3261 §17.1.1.3 and §9.1).

use crate::sip::{Header, HeaderName, Message};

/// The ACK to a failure response: the branch's Request-URI, top Via, Route, From, Call-ID and
/// CSeq number, the response's To; and what is beyond the standard: the header fields of the
/// request whose names begin with `extra`.
pub fn ack(sent: &Message, response: &Message, extra: &str, out: &mut Vec<u8>) {
    start(sent, "ACK", out);
    copy(response, HeaderName::To, out);
    finish(sent, "ACK", (&[], extra), out);
}

/// The CANCEL of a branch: as the ACK, with the To of the request, which has no tag yet, and the
/// lines in `headers` (a Reason, RFC 3326).
pub fn cancel(sent: &Message, (headers, extra): (&[u8], &str), out: &mut Vec<u8>) {
    start(sent, "CANCEL", out);
    copy(sent, HeaderName::To, out);
    finish(sent, "CANCEL", (headers, extra), out);
}

fn start(sent: &Message, method: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(sent.uri());
    out.extend_from_slice(b" SIP/2.0\r\nVia: ");
    // The single Via of our own: the far end matches it to the branch.
    out.extend_from_slice(sent.top_via().value.of(sent.bytes()));
    out.extend_from_slice(b"\r\n");
    copy(sent, HeaderName::From, out);
}

fn finish(sent: &Message, method: &str, (headers, extra): (&[u8], &str), out: &mut Vec<u8>) {
    copy(sent, HeaderName::CallId, out);
    out.extend_from_slice(format!("CSeq: {} {method}\r\n", sent.cseq().number).as_bytes());
    for route in sent.all(HeaderName::Route) {
        out.extend_from_slice(route.line.of(sent.bytes()));
    }
    out.extend_from_slice(b"Max-Forwards: 70\r\n");
    out.extend_from_slice(headers);
    for header in sent.headers().filter(|h| is_extra(sent, h, extra)) {
        out.extend_from_slice(header.line.of(sent.bytes()));
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// Whether the field goes along by `ac_extra_hdrs`: those that such a request has of its own do
/// not, nor do those that it must not have (§9.1, §17.1.1.3), nor those about a body.
fn is_extra(sent: &Message, header: &Header, prefix: &str) -> bool {
    let name = header.name_span.of(sent.bytes());
    let begins =
        name.len() >= prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes());
    let is_bound = matches!(
        header.name,
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::MaxForwards
            | HeaderName::Reason
            | HeaderName::Require
            | HeaderName::ProxyRequire
            | HeaderName::ContentType
            | HeaderName::ContentLength
    );
    begins && !prefix.is_empty() && !is_bound
}

fn copy(from: &Message, name: HeaderName, out: &mut Vec<u8>) {
    if let Some(header) = from.first(name) {
        out.extend_from_slice(header.line.of(from.bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = b"INVITE sip:b@h.test;x=1 SIP/2.0\r\n\
        Record-Route: <sip:p.test;lr>\r\n\
        Via: SIP/2.0/UDP p.test:5060;branch=z9hG4bKours\r\n\
        Via: SIP/2.0/UDP a.test;branch=z9hG4bKtheirs\r\n\
        Route: <sip:next.test;lr>\r\n\
        f: \"A\" <sip:a@a.test>;tag=1\r\n\
        To: <sip:b@h.test>\r\n\
        Call-ID: c1\r\n\
        CSeq: 7 INVITE\r\n\
        Contact: <sip:a@a.test>\r\n\
        Content-Length: 0\r\n\r\n";

    #[test]
    fn the_ack_takes_the_to_of_the_response() {
        let response = Message::parse(
            b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP p.test:5060;branch=z9hG4bKours\r\n\
              From: <sip:a@a.test>;tag=1\r\nTo: <sip:b@h.test>;tag=9\r\nCall-ID: c1\r\n\
              CSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
        let mut out = vec![];
        ack(&Message::parse(SENT).unwrap(), &response, "", &mut out);
        let want = "ACK sip:b@h.test;x=1 SIP/2.0\r\n\
            Via: SIP/2.0/UDP p.test:5060;branch=z9hG4bKours\r\n\
            f: \"A\" <sip:a@a.test>;tag=1\r\n\
            To: <sip:b@h.test>;tag=9\r\n\
            Call-ID: c1\r\n\
            CSeq: 7 ACK\r\n\
            Route: <sip:next.test;lr>\r\n\
            Max-Forwards: 70\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn the_cancel_takes_the_to_of_the_request() {
        let mut out = vec![];
        let reason = b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n";
        cancel(&Message::parse(SENT).unwrap(), (reason, ""), &mut out);
        let want = "CANCEL sip:b@h.test;x=1 SIP/2.0\r\n\
            Via: SIP/2.0/UDP p.test:5060;branch=z9hG4bKours\r\n\
            f: \"A\" <sip:a@a.test>;tag=1\r\n\
            To: <sip:b@h.test>\r\n\
            Call-ID: c1\r\n\
            CSeq: 7 CANCEL\r\n\
            Route: <sip:next.test;lr>\r\n\
            Max-Forwards: 70\r\n\
            Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
