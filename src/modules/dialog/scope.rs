//! What a message and a transaction remember of a dialog.

use crate::modules::work::Bytes;
use crate::script::RouteId;
use crate::slab::Key;

use super::elsewhere::Elsewhere;
use super::leg::Direction;
use super::state::State;
use super::var::Vars;

/// How a message or transaction belongs to its dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The INVITE that made it.
    Initial,
    /// A request in it.
    Within(Direction),
    /// The BYE that ended it.
    Bye(Direction),
}

impl Role {
    /// Which way the message goes.
    pub const fn way(self) -> Direction {
        match self {
            Role::Initial => Direction::Downstream,
            Role::Within(way) | Role::Bye(way) => way,
        }
    }
}

/// A transaction's dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The dialog.
    pub dialog: Key,
    /// What the transaction is to it.
    pub role: Role,
}

/// `$dlg_ctx`: what one message knows of its dialog, or wants the dialog that it makes to be.
#[derive(Clone, Default, Debug)]
pub struct Context {
    /// The current dialog: made, followed or found by `dlg_get`.
    pub current: Option<Key>,
    /// The same when another shard has it; never both.
    pub elsewhere: Option<Box<Elsewhere>>,
    /// What the message is to it; `None`: it was only looked up, or spirals.
    pub role: Option<Role>,
    /// Set by `dlg_get`.
    pub direction: Option<Direction>,
    /// What `$DLG_status` and `$DLG_lifetime` read, set when the message was followed.
    pub followed: Option<(State, i64)>,
    /// Flags for the new dialog.
    pub sflags: u32,
    /// The same of [`super::table::iflag`].
    pub iflags: u32,
    /// `$dlg_ctx(on)`.
    pub on: i64,
    /// `$dlg_ctx(timeout)`.
    pub timeout: i64,
    /// `$dlg_ctx(timeout_bye)`.
    pub timeout_bye: i64,
    /// `$dlg_ctx(timeout_route)`: the name, and the route if there is one.
    pub timeout_route: Option<(Bytes, Option<RouteId>)>,
    /// Variables set before there is a dialog.
    pub vars: Vars,
    /// Profiles entered before there is a dialog.
    pub profiles: Vec<(u16, Bytes)>,
    /// Observers learn of the new dialog when its transaction is made
    /// (`initial_cbs_inscript` 0).
    pub is_unannounced: bool,
}

impl Context {
    /// Whether there is a current dialog, here or on another shard.
    pub fn is_set(&self) -> bool {
        self.current.is_some() || self.elsewhere.is_some()
    }

    /// What later routes of a transaction know.
    pub fn of(link: Option<Link>) -> Context {
        Context {
            current: link.map(|link| link.dialog),
            role: link.map(|link| link.role),
            ..Context::default()
        }
    }
}
