//! The request that an event_route sees when it is about no message at all, as the original
//! makes it up.

use std::rc::Rc;

use crate::sip::Message;

const REQUEST: &[u8] = b"OPTIONS sip:you@kamailio.org SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1\r\n\
    From: <sip:you@kamailio.org>;tag=123\r\n\
    To: <sip:you@kamailio.org>\r\n\
    Call-ID: 123\r\n\
    CSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

/// A fresh copy of it: a script may change what it likes.
pub fn request() -> Rc<Message> {
    Rc::new(Message::parse(REQUEST).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_good_request() {
        let message = Message::parse(REQUEST).unwrap();
        assert_eq!(message.violation(), None);
        assert_eq!(request().uri(), b"sip:you@kamailio.org");
    }
}
