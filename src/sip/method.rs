//! Methods, and the numbers that scripts and tables know them by.

/// The method of a request or, from its CSeq, of a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub enum Method {
    /// RFC 3261.
    Invite,
    /// RFC 3261.
    Ack,
    /// RFC 3261.
    Cancel,
    /// RFC 3261.
    Bye,
    /// RFC 3261.
    Options,
    /// RFC 3261.
    Register,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 3262.
    Prack,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3903.
    Publish,
    /// RFC 3428.
    Message,
    /// RFC 3515.
    Refer,
    /// The messages between nodes of a replicating cluster.
    Kdmq,
    /// Any other; its name is in the message.
    #[default]
    Other,
}

impl Method {
    /// The method of this name. Methods are case-sensitive (RFC 3261 §7.1).
    pub fn from_bytes(name: &[u8]) -> Method {
        match name {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"CANCEL" => Method::Cancel,
            b"BYE" => Method::Bye,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"INFO" => Method::Info,
            b"UPDATE" => Method::Update,
            b"PRACK" => Method::Prack,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"PUBLISH" => Method::Publish,
            b"MESSAGE" => Method::Message,
            b"REFER" => Method::Refer,
            b"KDMQ" => Method::Kdmq,
            _ => Method::Other,
        }
    }

    /// The name on the wire; empty for [`Method::Other`].
    pub const fn name(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Cancel => "CANCEL",
            Method::Bye => "BYE",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Info => "INFO",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Publish => "PUBLISH",
            Method::Message => "MESSAGE",
            Method::Refer => "REFER",
            Method::Kdmq => "KDMQ",
            Method::Other => "",
        }
    }

    /// The number that Kamailio's scripts and counters use for it, one bit each.
    pub const fn bit(self) -> u32 {
        match self {
            Method::Invite => 1,
            Method::Cancel => 2,
            Method::Ack => 4,
            Method::Bye => 8,
            Method::Info => 16,
            Method::Register => 32,
            Method::Subscribe => 64,
            Method::Notify => 128,
            Method::Message => 256,
            Method::Options => 512,
            Method::Prack => 1024,
            Method::Update => 2048,
            Method::Refer => 4096,
            Method::Publish => 8192,
            Method::Kdmq => 16384,
            Method::Other => 32768,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_bits_differ() {
        let known = b"INVITE ACK CANCEL BYE OPTIONS REGISTER INFO UPDATE PRACK SUBSCRIBE NOTIFY \
                      PUBLISH MESSAGE REFER KDMQ";
        let mut bits = 0;
        for name in known.split(|b| *b == b' ') {
            let method = Method::from_bytes(name);
            assert_eq!(method.name().as_bytes(), name);
            assert_eq!(bits & method.bit(), 0, "{method:?}");
            bits |= method.bit();
        }
        assert_eq!(bits | Method::Other.bit(), 0xffff);
        for name in ["invite", "INVITE ", "", "RE%47IST%45R", "NEWMETHOD"] {
            assert_eq!(Method::from_bytes(name.as_bytes()), Method::Other, "{name}");
        }
    }
}
