//! Dialogs: RFC 3261 §12 as seen by a proxy that stays in the path, with the parameters,
//! functions, variables, events, profiles and statistics of Kamailio's `dialog` module.
//!
//! ```text
//!   request  ─ dlg_manage, dlg_flag, loose_route ─▶ matching.rs ─▶ life.rs ─▶ state.rs (grid)
//!   response ─ shard/response.rs, tm/serve.rs ─────────────────────▲   │
//!   deadline ─ shard/timer.rs ─────────────────────────────────────┘   ├─▶ happenings: event and
//!                                                                      │   timeout routes, run by
//!   table.rs (slab, two indexes) · leg.rs · strings.rs · var.rs ◀──────┤   shard/dialog.rs
//!   profile.rs (who is a member) ─ peers.rs (batches to other shards) ─┘
//!   elsewhere.rs (the dialog of another shard that dlg_get has found)
//! ```
//!
//! A dialog belongs to one shard, that of its Call-ID. It never shares anything, is never counted
//! by references, and always has a deadline: one timer, for the earlier of the end of its life
//! and the end of the time that its state may last. What one INVITE transaction brings about is
//! one dialog, however many phones ring; the first 2xx decides which tag is the callee's.
//!
//! What the proxy itself sends in a dialog is made in request.rs and numbered by numbers.rs;
//! bye.rs ends calls with it, keepalive.rs asks whether they still live, transfer/ sends parties
//! elsewhere. Database and replication are not here.
//!
//! # The grid
//!
//! A cell reads `next state: what is done`; without a state the state stays, `-` absorbs the event.
#![doc = include_str!("grid.md")]
//!
//! # The matrix
//!
//! Requests of our own, as a strict user agent has seen them (`tests/matrix` runs the cells and
//! prints them). A cell reads `m < n`: the last number that the side had seen before, and that of
//! the request. *Near* is the side that it goes to, *far* the other; `-` is what cannot be. Every
//! cell also holds route set, target, tags and way to what the standard says, and where the call
//! goes on, both sides go on talking.
//!
#![doc = include_str!("matrix.md")]

pub mod bye;
pub mod cookie;
pub mod elsewhere;
pub mod event;
mod functions;
pub mod identity;
pub mod keepalive;
pub mod leg;
pub mod life;
pub mod listing;
mod matching;
pub mod numbers;
mod params;
pub mod peers;
pub mod profile;
pub mod request;
mod scope;
pub mod state;
pub mod stats;
pub mod strings;
pub mod table;
mod timeout;
pub mod transfer;
pub mod var;
pub(in crate::modules) mod variables;

use std::collections::VecDeque;
use std::rc::Rc;

pub use matching::loose_route;
pub use params::Config;
pub use scope::{Context, Link, Role};
pub use timeout::{fired, over};

use crate::rng::Rng;
use crate::sip::Message;
use crate::slab::Key;

use super::Module;

/// The module's table.
pub const MODULE: Module = Module {
    name: "dialog",
    doc: "Dialogs: tracking, profiles, timeouts.",
    planned: false,
    functions: &functions::FUNCTIONS,
    variables: &variables::VARIABLES,
    params: &params::PARAMS,
    commands: &super::rpc::dlg::DLG,
    statistics: &stats::STATISTICS,
};

pub use params::check;

/// An event route, by the name it has behind `dialog:`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// `event_route[dialog:start]`.
    Start,
    /// `event_route[dialog:end]`.
    End,
    /// `event_route[dialog:failed]`.
    Failed,
    /// The dialog's timeout route.
    Timeout,
}

impl Route {
    /// The name of the event.
    pub const fn name(self) -> &'static str {
        match self {
            Route::Start => "dialog:start",
            Route::End => "dialog:end",
            Route::Failed => "dialog:failed",
            Route::Timeout => "dialog:timeout",
        }
    }
}

/// Something that a step of a dialog left to be done, in order, before the shard goes on.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Run a route.
    Route {
        /// About this dialog.
        dialog: Key,
        /// Which.
        route: Route,
        /// For this message; `None`: a placeholder.
        message: Option<Rc<Message>>,
    },
    /// The timeout route has run: the dialog's life is over.
    Expire(Key),
    /// The routes have run: the record goes.
    Remove(Key),
}

/// All that a shard knows of dialogs.
#[derive(Debug)]
pub struct Dialogs {
    /// The dialogs.
    pub table: table::Table,
    /// The profiles.
    pub profiles: profile::Profiles,
    /// What is exchanged with other shards.
    pub peers: peers::Peers,
    /// Parties that are transferred from here.
    pub transfers: transfer::Transfers,
    /// What has happened and is not done yet.
    pub happenings: VecDeque<Happening>,
    /// What has been counted.
    pub counts: stats::Counts,
    /// Code built on top.
    pub observers: event::Observers,
    placeholder: Rc<Message>,
}

/// What scripts see when there is no message: the original's.
const PLACEHOLDER: &[u8] = b"OPTIONS sip:you@kamailio.org SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1\r\nFrom: <sip:you@kamailio.org>;tag=123\r\n\
    To: <sip:you@kamailio.org>\r\nCall-ID: 123\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

impl Dialogs {
    /// No dialogs.
    pub fn new(rng: &mut Rng, config: &Config) -> Self {
        let mut profiles = profile::Profiles::new(rng.hasher());
        profiles.configure(&config.profiles);
        Dialogs {
            table: table::Table::new(rng.hasher()),
            profiles,
            peers: peers::Peers::default(),
            transfers: transfer::Transfers::new(rng.hasher()),
            happenings: VecDeque::new(),
            counts: stats::Counts::default(),
            observers: event::Observers::default(),
            placeholder: Rc::new(Message::parse(PLACEHOLDER).expect("a constant that parses")),
        }
    }

    /// The message of routes that no message caused.
    pub fn placeholder(&self) -> Rc<Message> {
        Rc::clone(&self.placeholder)
    }

    /// Panics when the tables disagree with each other; for debug builds and the simulator.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.transfers.check_invariants();
        let memberships = self.table.iter().map(|(_, d)| d.memberships.len()).sum();
        self.profiles.check_invariants(memberships);
        assert!(self.happenings.is_empty(), "a step ends when all is done");
    }
}
