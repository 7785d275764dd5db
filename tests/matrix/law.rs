//! What a strict user agent insists on.

use std::fmt;

/// One thing that must hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Law {
    /// The CSeq number of a new request is above all that this side has seen of the other
    /// (RFC 3261 §12.2.2).
    NumbersGrow,
    /// An ACK and a CANCEL bear the number of their INVITE (§13.2.2.4, §9.1).
    NumberOfInvite,
    /// RAck names the response and the request as the callee knows them (RFC 3262 §7.2).
    Rack,
    /// The `id` of a NOTIFY is the number of its receiver's REFER (RFC 3515 §2.4.6).
    Refer,
    /// A response bears the number of the request it answers, as its sender wrote it (§8.2.6.2).
    ResponseNumber,
    /// A response answers a request of its receiver's, on the Via that it wrote (§18.1.2).
    ResponseBelongs,
    /// A new request has a new branch (§8.1.1.7), and a repeated one is the same to the byte.
    Branch,
    /// A request passes the proxies of the route set, all of them, in order (§12.2.1.1, §16.4).
    RouteSet,
    /// The Request-URI is the Contact that this side gave last (§12.2.1.1).
    Target,
    /// Call-ID, From and To with their tags are those of the dialog (§12.2.1.1).
    Parties,
    /// What is sent comes to where somebody is, on the connection that is open.
    Reaches,
    /// The mandatory header fields stand there once, and say what is true (§8.1.1).
    Headers,
    /// A side is told once what it is to be told, and nothing else.
    Once,
    /// Every request gets a final response, every final response to an INVITE its ACK.
    Answered,
    /// In the end nothing is in flight, and no dialog is left.
    Rests,
}

/// A law that was broken, by whom and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub law: Law,
    /// How.
    pub text: String,
}

impl Broken {
    /// A breach.
    pub fn new(law: Law, text: impl Into<String>) -> Broken {
        Broken {
            law,
            text: text.into(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.text)
    }
}
