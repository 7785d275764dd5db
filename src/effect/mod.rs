//! All that the proxy may ask of the world, and the words it shares with it.
//!
//! A shard never performs an effect: it puts a value into the [`Outbox`] that its caller passed
//! in, and hears of the outcome as a later input. `io` performs effects on the kernel, the
//! simulator performs them on a model.

pub mod flow;
pub mod name;
pub mod peer;
pub mod rpc;

use std::net::IpAddr;
use std::rc::Rc;

pub use flow::{Address, ConnId, Destination, Flow, Proto, SocketId};
pub use name::{Lookup, NameRecord};
pub use peer::{ItemChange, ItemNews, PeerMessage, SharedNews, TransactionOrder};
pub use rpc::{Executed, HttpCommand, HttpFrame, Part, RpcId};

use crate::slab::Key;
use crate::steer::ShardId;
use crate::timer::Branch;

/// Names the question that a later input answers. An answer to a question that has died meanwhile
/// finds nothing and is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Token {
    /// About the request sent on a branch.
    Branch(Branch),
    /// About a script that waits.
    Run(Key),
    /// About a request of our own that waits for an address.
    Local(Key),
    /// About the name of a destination of the dispatcher.
    Destination(Named),
}

/// Names one destination of one list of the dispatcher: a reload makes a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Named {
    /// Its place.
    pub place: u32,
    /// Which list.
    pub version: u32,
}

/// One thing asked of the world.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Put a message on the wire.
    Send(Send),
    /// Close a connection once all that was sent on it before has left.
    Close(ConnId),
    /// Find the addresses of a name; answered by `Input::Resolved`.
    Resolve(Token, Query),
    /// Ask the name servers for a script; answered by `Input::Found`.
    Lookup(Token, Box<Lookup>),
    /// Find the address that the kernel would send from to this one; answered by `Input::Routed`.
    Route(Token, IpAddr),
    /// Let messages to this port of the peer's address take the connection, too (RFC 5923).
    Alias(ConnId, u16),
    /// Give a message to the shard that owns its call, where the kernel should have brought it; it
    /// gets `Input::Received`.
    HandOver(ShardId, Flow, Box<[u8]>),
    /// Tell another shard; it gets `Input::Peer`, unless the message is lost.
    Peer(ShardId, PeerMessage),
    /// Write a line to the log.
    Log(Record),
    /// Answer `Input::Rpc`, once for each.
    RpcReply(RpcId, Part),
    /// Answer an operator who asks over HTTP.
    Command(Box<HttpCommand>),
    /// Answer a script that asks as an operator does; answered by `Input::Executed`.
    Exec(Key, Box<[u8]>),
    /// Read the configuration again; every shard gets `Input::Reload` when it is good.
    Reload,
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Send {
    /// Where to.
    pub to: Destination,
    /// The whole message. Shared, because a transaction keeps it to send it again.
    pub bytes: Rc<[u8]>,
    /// Whom to tell with `Input::SendFailed` when it could not be sent; `None`: nobody cares.
    pub token: Option<Token>,
}

/// What to look up, by the procedures of RFC 3263 §4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The host name, never a numeric address.
    pub host: Box<str>,
    /// The port, when the URI had one: then no SRV and no NAPTR (§4.2).
    pub port: Option<u16>,
    /// The transport, when the URI had one or the socket forces one: then no NAPTR (§4.1).
    pub proto: Option<Proto>,
    /// Whether only encrypted transports will do (a `sips` URI).
    pub secure: bool,
}

/// One address that a [`Query`] found, in the order in which they are to be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The transport to use.
    pub proto: Proto,
    /// The address to send to.
    pub addr: std::net::SocketAddr,
}

/// Why a name gave no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResolveError {
    /// The name exists nowhere, or has no address of a usable kind.
    NotFound,
    /// No server answered within `limits::RESOLVE_TIMEOUT`.
    TimedOut,
}

/// Why a message did not leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The kernel refused the datagram, or there is no socket of that kind.
    Refused,
    /// No connection could be opened in time.
    NotConnected,
    /// The connection broke before the message was written.
    Broken,
    /// The peer does not read: `limits::STREAM_QUEUE_SIZE_MAX` bytes wait already.
    QueueFull,
}

/// How much a log record matters; the numbers are those of the `debug` parameter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Act at once.
    Alert = -5,
    /// A defect of this program.
    Bug = -4,
    /// A second kind of critical, kept for `L_CRIT2`.
    Crit2 = -3,
    /// Service is in danger.
    Crit = -2,
    /// Something failed.
    Err = -1,
    /// Something is odd.
    Warn = 0,
    /// Normal but worth knowing.
    Notice = 1,
    /// Progress.
    Info = 2,
    /// For whoever hunts a defect.
    Dbg = 3,
}

impl Level {
    /// The word that stands in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Alert => "ALERT",
            Level::Bug => "BUG",
            Level::Crit2 | Level::Crit => "CRITICAL",
            Level::Err => "ERROR",
            Level::Warn => "WARNING",
            Level::Notice => "NOTICE",
            Level::Info => "INFO",
            Level::Dbg => "DEBUG",
        }
    }

    /// The level of this name, `L_INFO` and so on.
    pub fn from_name(name: &str) -> Option<Level> {
        Some(match name {
            "L_ALERT" => Level::Alert,
            "L_BUG" => Level::Bug,
            "L_CRIT2" => Level::Crit2,
            "L_CRIT" => Level::Crit,
            "L_ERR" => Level::Err,
            "L_WARN" => Level::Warn,
            "L_NOTICE" => Level::Notice,
            "L_INFO" => Level::Info,
            "L_DBG" | "L_DEBUG" => Level::Dbg,
            _ => return None,
        })
    }

    /// The level with this number; beyond either end, the end.
    pub const fn from_number(n: i64) -> Level {
        match n {
            ..=-5 => Level::Alert,
            -4 => Level::Bug,
            -3 => Level::Crit2,
            -2 => Level::Crit,
            -1 => Level::Err,
            0 => Level::Warn,
            1 => Level::Notice,
            2 => Level::Info,
            3.. => Level::Dbg,
        }
    }
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// The text. A script's text carries its own line ends; the program's own has none.
    pub text: Box<str>,
    /// Whether a script wrote it (`xlog`): then it is marked `<script>:` and ends as written.
    pub from_script: bool,
    /// The mark of a script's line when it is another one (`xlog.prefix`).
    pub mark: Option<Box<str>>,
    /// What stands before it all: `log_prefix`.
    pub prefix: Box<str>,
    /// The facility of syslog; `None`: that of the process.
    pub facility: Option<Facility>,
}

impl Record {
    /// A line of the program's own.
    pub fn own(level: Level, text: impl Into<Box<str>>) -> Record {
        Record {
            level,
            text: text.into(),
            from_script: false,
            mark: None,
            prefix: Box::default(),
            facility: None,
        }
    }
}

/// A facility of syslog: its number in RFC 5424 §6.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facility(pub u8);

impl Facility {
    /// `LOG_DAEMON`, which processes use unless they are told otherwise.
    pub const DAEMON: Facility = Facility(3);

    /// The facility of this name, as `LOG_LOCAL0`, in any case.
    pub fn from_name(name: &str) -> Option<Facility> {
        const NAMES: [&str; 24] = [
            "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON",
            "AUTHPRIV", "FTP", "", "", "", "", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
            "LOCAL5", "LOCAL6", "LOCAL7",
        ];
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("LOG_").filter(|n| !n.is_empty())?;
        let number = NAMES.iter().position(|known| *known == bare)?;
        Some(Facility(number as u8))
    }
}

/// The codes of a terminal for levels that have colours of their own (`xlog.log_colors`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Colours(Vec<(Level, Box<str>)>);

impl Colours {
    /// The codes of a level, if it has its own.
    pub fn of(&self, level: Level) -> Option<&str> {
        let mut all = self.0.iter().rev();
        all.find(|(l, _)| *l == level).map(|(_, code)| &**code)
    }

    /// `L_ERR=cr;L_WARN=px`: a level and the letters of its colours, as [`Colours::code`] takes
    /// them. `None`: it cannot be read.
    pub fn set(&mut self, text: &str) -> Option<()> {
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, letters) = part.split_once('=')?;
            let level = Level::from_name(name.trim())?;
            let code = Colours::code(letters.trim().as_bytes())?;
            self.0.push((level, code.into()));
        }
        Some(())
    }

    /// What makes a terminal write in two colours, that of the letters and that behind them: `s`
    /// black, `r` red, `g` green, `y` yellow, `b` blue, `p` purple, `c` cyan, `w` white, `x` the
    /// terminal's own; the first may be a capital, for bright letters.
    pub fn code(letters: &[u8]) -> Option<String> {
        let number = |letter: u8| match letter.to_ascii_lowercase() {
            b'x' => Some(9),
            other => b"srgybpcw".iter().position(|l| *l == other),
        };
        match letters {
            [front, back] if !back.is_ascii_uppercase() && *front != b'X' => {
                let bright = u8::from(front.is_ascii_uppercase());
                let (front, back) = (number(*front)?, number(*back)?);
                Some(format!("\x1b[{bright};3{front};4{back}m"))
            }
            _ => None,
        }
    }
}

/// Where a shard puts its effects, in the order in which they are to be performed.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: Vec<Effect>,
}

impl Outbox {
    /// An empty outbox with room for what one input usually causes.
    pub fn new() -> Self {
        Outbox {
            effects: Vec::with_capacity(crate::limits::EFFECT_COUNT_HINT),
        }
    }

    /// Asks for one effect.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Puts other bytes into the message that is sent as the effect of this number.
    pub fn replace_message(&mut self, index: usize, bytes: Rc<[u8]>) {
        if let Some(Effect::Send(send)) = self.effects.get_mut(index) {
            send.bytes = bytes;
        }
    }

    /// Takes all effects out, oldest first; the memory stays.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// How many effects wait.
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// The effects that wait, oldest first.
    pub fn as_slice(&self) -> &[Effect] {
        &self.effects
    }
}
