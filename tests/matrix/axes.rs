//! The axes of the matrix: what the proxy sends, to whom, and what the call has been through.

use crate::hop::Kind;
use crate::ua::Side;

/// What the proxy sends, and what makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Method {
    /// A BYE to one side, by `dlg_bye`.
    ByeByScript,
    /// BYEs to both sides, by `dlg.end_dlg`.
    ByeByRpc,
    /// BYEs to both sides, because the lifetime is over.
    ByeByTimeout,
    /// OPTIONS to one side, by its property.
    Options,
    /// REFER to one side, and a BYE behind it, by `dlg_refer`.
    Refer,
}

impl Method {
    /// All, in the order of the table.
    pub const ALL: [Method; 5] = [
        Method::ByeByScript,
        Method::ByeByRpc,
        Method::ByeByTimeout,
        Method::Options,
        Method::Refer,
    ];

    /// Whether a clock makes it.
    fn is_timed(self) -> bool {
        matches!(self, Method::ByeByTimeout | Method::Options)
    }

    /// The head of its columns.
    pub fn head(self) -> &'static str {
        match self {
            Method::ByeByScript => "BYE by script",
            Method::ByeByRpc => "BYE by RPC",
            Method::ByeByTimeout => "BYE by timeout",
            Method::Options => "OPTIONS",
            Method::Refer => "REFER",
        }
    }
}

/// What the call has been through. *Near* is the side that the request goes to, *far* the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum History {
    /// INVITE, 180, 200, ACK.
    Plain,
    /// The same with numbers that begin far above 1.
    HighNumbers,
    /// The INVITE was challenged and went again with credentials.
    AuthInvite,
    /// So was a re-INVITE of the far side.
    AuthReinvite,
    /// The same, and an INFO was sent right behind that re-INVITE.
    AuthCrossed,
    /// So was the INVITE, and then every request of either side.
    AuthEach,
    /// The 180 was reliable.
    Prack,
    /// The 200 came before the PRACK.
    LatePrack,
    /// The INVITE was challenged, and the 180 reliable.
    AuthPrack,
    /// A re-INVITE of the near side with another Contact.
    ReinviteNear,
    /// The same of the far side.
    ReinviteFar,
    /// An UPDATE of the near side with another Contact.
    UpdateNear,
    /// The same of the far side.
    UpdateFar,
    /// An UPDATE of either side with another Contact before the 200.
    UpdateEarly,
    /// Re-INVITEs of both sides that cross: 491 for both.
    Crossing,
    /// Both sides sent an INFO between 200 and ACK.
    BeforeAck,
    /// An INFO of the far side is under way when the request leaves.
    InFlight,
    /// The near side is behind a NAT and gives a private Contact.
    Nat,
    /// The same, and its Contact names the way in an `alias` parameter.
    NatAlias,
    /// The near side speaks through a connection that is open.
    TcpAlive,
    /// Its connection is lost.
    TcpLost,
    /// Its connection is lost and nobody has noticed.
    TcpLostUnseen,
    /// A strict router in front of the near side.
    Strict,
    /// The same behind a loose one.
    LooseStrict,
    /// The same in front of a loose one.
    StrictLoose,
    /// Strict routers in front of both sides.
    StrictBoth,
    /// Two proxies that record their route in front of the near side.
    TwoProxies,
    /// A proxy that records two entries.
    Double,
    /// Two proxies on either side, and the INVITE challenged.
    AuthProxies,
}

impl History {
    /// All, in the order of the table.
    pub const ALL: [History; 29] = [
        History::Plain,
        History::HighNumbers,
        History::AuthInvite,
        History::AuthReinvite,
        History::AuthCrossed,
        History::AuthEach,
        History::Prack,
        History::LatePrack,
        History::AuthPrack,
        History::ReinviteNear,
        History::ReinviteFar,
        History::UpdateNear,
        History::UpdateFar,
        History::UpdateEarly,
        History::Crossing,
        History::BeforeAck,
        History::InFlight,
        History::Nat,
        History::NatAlias,
        History::TcpAlive,
        History::TcpLost,
        History::TcpLostUnseen,
        History::Strict,
        History::LooseStrict,
        History::StrictLoose,
        History::StrictBoth,
        History::TwoProxies,
        History::Double,
        History::AuthProxies,
    ];

    /// The head of its row.
    pub fn head(self) -> &'static str {
        match self {
            History::Plain => "plain",
            History::HighNumbers => "numbers that begin at 31000",
            History::AuthInvite => "INVITE challenged",
            History::AuthReinvite => "re-INVITE of the far side challenged",
            History::AuthCrossed => "the same, an INFO right behind it",
            History::AuthEach => "every request challenged",
            History::Prack => "PRACK",
            History::LatePrack => "PRACK behind the 200",
            History::AuthPrack => "INVITE challenged, PRACK",
            History::ReinviteNear => "re-INVITE of the near side",
            History::ReinviteFar => "re-INVITE of the far side",
            History::UpdateNear => "UPDATE of the near side",
            History::UpdateFar => "UPDATE of the far side",
            History::UpdateEarly => "UPDATE of both before the 200",
            History::Crossing => "crossing re-INVITEs",
            History::BeforeAck => "INFO of both before the ACK",
            History::InFlight => "INFO of the far side under way",
            History::Nat => "near side behind a NAT",
            History::NatAlias => "the same, with `alias`",
            History::TcpAlive => "TCP, connection open",
            History::TcpLost => "TCP, connection lost",
            History::TcpLostUnseen => "TCP, connection lost unseen",
            History::Strict => "strict router",
            History::LooseStrict => "strict router behind a loose one",
            History::StrictLoose => "strict router in front of a loose one",
            History::StrictBoth => "strict routers on both sides",
            History::TwoProxies => "two record-routing proxies",
            History::Double => "double Record-Route",
            History::AuthProxies => "two proxies on both sides, INVITE challenged",
        }
    }

    /// The proxies in front of the near and of the far side, from the proxy outwards.
    pub fn hops(self) -> (&'static [Kind], &'static [Kind]) {
        match self {
            History::Strict => (&[Kind::Strict], &[]),
            History::LooseStrict => (&[Kind::Loose, Kind::Strict], &[]),
            History::StrictLoose => (&[Kind::Strict, Kind::Loose], &[]),
            History::StrictBoth => (&[Kind::Strict], &[Kind::Strict]),
            History::TwoProxies => (&[Kind::Loose, Kind::Loose], &[]),
            History::Double => (&[Kind::Double], &[]),
            History::AuthProxies => (&[Kind::Loose, Kind::Loose], &[Kind::Loose, Kind::Loose]),
            _ => (&[], &[]),
        }
    }

    /// Whether the near side speaks TCP.
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            History::TcpAlive | History::TcpLost | History::TcpLostUnseen
        )
    }

    /// Whether the near side is behind a NAT.
    pub fn is_nat(self) -> bool {
        matches!(self, History::Nat | History::NatAlias)
    }
}

/// One cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cell {
    /// What is sent.
    pub method: Method,
    /// To whom.
    pub near: Side,
    /// After what.
    pub history: History,
}

impl Cell {
    /// All that apply, row by row.
    pub fn all() -> impl Iterator<Item = Cell> {
        History::ALL.into_iter().flat_map(Cell::row).flatten()
    }

    /// The cells of a row; `None` where the history cannot be.
    pub fn row(history: History) -> impl Iterator<Item = Option<Cell>> {
        Method::ALL.into_iter().flat_map(move |method| {
            Side::BOTH.into_iter().map(move |near| {
                let cell = Cell {
                    method,
                    near,
                    history,
                };
                cell.applies().then_some(cell)
            })
        })
    }

    /// What a clock makes comes between two messages, never while one is under way.
    fn applies(self) -> bool {
        !(self.history == History::InFlight && self.method.is_timed())
    }
}
