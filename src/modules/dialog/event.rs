//! What happens to dialogs, as typed events for code built on top of this crate.
//!
//! An [`Observer`] is compiled in and given to a shard, one value for each: it is called in the
//! shard's own step, shares nothing, and keeps what it likes. It registers for events as modules
//! of the original do with `register_dlgcb`: [`Kind::Created`] and [`Kind::Loaded`] for all
//! dialogs, the others for one dialog each.
//!
//! ```
//! use dialcore::modules::dialog::event::{Event, Kind, Observer};
//! use dialcore::modules::dialog::table::Dialog;
//! use dialcore::shard::{Setup, Shard};
//! use dialcore::steer::ShardId;
//! use std::sync::Arc;
//!
//! /// Writes a line for each call that was answered.
//! #[derive(Debug)]
//! struct Billing {
//!     lines: Vec<String>,
//! }
//!
//! impl Observer for Billing {
//!     fn observe(&mut self, event: &Event<'_>, dialog: &mut Dialog) {
//!         match event.kind {
//!             // A new dialog: from here on we want to know of its end.
//!             Kind::Created => {
//!                 let kinds = Kind::Terminated.and(Kind::Expired);
//!                 dialog.register_dlgcb(event.observer, kinds, 7).expect("kinds of one dialog");
//!             }
//!             Kind::Terminated | Kind::Expired => {
//!                 let call_id = String::from_utf8_lossy(dialog.call_id());
//!                 self.lines.push(format!("{call_id}: {} s", dialog.end_s - dialog.start_s));
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let cfg = "listen=udp:127.0.0.1:5060\nloadmodule \"tm.so\"\nloadmodule \"rr.so\"\n\
//!            loadmodule \"dialog.so\"\nrequest_route { dlg_manage(); t_relay(); }\n";
//! let setup = Arc::new(Setup::from_text(cfg, 1).expect("a good configuration"));
//! let mut shard = Shard::new(ShardId(0), setup, 1);
//! let observer = shard.observe(Box::new(Billing { lines: vec![] }));
//! shard.register_dlgcb(observer, Kind::Created.only(), 0).expect("a kind for all dialogs");
//! ```

use std::fmt;

use crate::sip::Message;

use super::leg::Direction;
use super::table::Dialog;

/// The kinds of events; the numbers are those of the original.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A dialog came from the database. For all dialogs, and alone.
    Loaded = 1,
    /// A dialog was made. For all dialogs, and alone.
    Created = 1 << 1,
    /// A final failure went to the caller, or nobody answered.
    Failed = 1 << 2,
    /// A 2xx went to the caller.
    ConfirmedNa = 1 << 3,
    /// The ACK to it was seen.
    Confirmed = 1 << 4,
    /// A request in the dialog, other than the first ACK and the BYE.
    ReqWithin = 1 << 5,
    /// A BYE.
    Terminated = 1 << 6,
    /// The lifetime is over.
    Expired = 1 << 7,
    /// A provisional response other than 100 went to the caller, each time.
    Early = 1 << 8,
    /// A provisional response or 2xx to the INVITE is passed on.
    ResponseFwded = 1 << 9,
    /// A provisional response or 2xx to a request in the dialog is passed on.
    ResponseWithin = 1 << 10,
    /// A listing shows the dialog with what observers know of it.
    RpcContext = 1 << 12,
    /// The record is about to go.
    Destroy = 1 << 13,
    /// The INVITE came again by another way.
    Spiraled = 1 << 14,
    /// A response to the BYE is passed on.
    TerminatedConfirmed = 1 << 15,
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u16);

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 15] = [
        Kind::Loaded,
        Kind::Created,
        Kind::Failed,
        Kind::ConfirmedNa,
        Kind::Confirmed,
        Kind::ReqWithin,
        Kind::Terminated,
        Kind::Expired,
        Kind::Early,
        Kind::ResponseFwded,
        Kind::ResponseWithin,
        Kind::RpcContext,
        Kind::Destroy,
        Kind::Spiraled,
        Kind::TerminatedConfirmed,
    ];

    /// The set of this kind alone.
    pub const fn only(self) -> Kinds {
        Kinds(self as u16)
    }

    /// The set of both.
    pub const fn and(self, other: Kind) -> Kinds {
        self.only().and(other)
    }
}

impl Kinds {
    /// The set and one more.
    pub const fn and(self, kind: Kind) -> Kinds {
        Kinds(self.0 | kind as u16)
    }

    /// Whether the kind is in it.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & kind as u16 != 0
    }

    const fn is_of_all_dialogs(self) -> bool {
        self.has(Kind::Loaded) || self.has(Kind::Created)
    }
}

/// Names an observer of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObserverId(u8);

/// What an observer asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Who.
    pub observer: ObserverId,
    /// For what.
    pub kinds: Kinds,
    /// What the observer wants to be told then.
    pub param: u64,
}

/// Why a registration was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterError {
    /// [`Kind::Created`] and [`Kind::Loaded`] are for all dialogs, the others for one.
    WrongScope,
    /// [`Kind::Created`] and [`Kind::Loaded`] must each be registered alone.
    NotAlone,
    /// The dialog has 255 registrations.
    TooMany,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegisterError::WrongScope => "such events are not registered there",
            RegisterError::NotAlone => "such events must be registered alone",
            RegisterError::TooMany => "the dialog has 255 registrations",
        })
    }
}

impl std::error::Error for RegisterError {}

/// Something that has happened to a dialog.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What.
    pub kind: Kind,
    /// The observer that is told.
    pub observer: ObserverId,
    /// What it wanted to be told.
    pub param: u64,
    /// The request that caused it, or that the response belongs to.
    pub request: Option<&'a Message>,
    /// The response that caused it, unless it was made here.
    pub response: Option<&'a Message>,
    /// Which way the message went.
    pub direction: Option<Direction>,
}

/// Code built on top of dialogs.
pub trait Observer: fmt::Debug {
    /// An event that this observer has registered for.
    fn observe(&mut self, event: &Event<'_>, dialog: &mut Dialog);

    /// What `dlg.list_ctx` shows of a dialog besides its own; asked of observers registered for
    /// [`Kind::RpcContext`].
    fn list_ctx(&self, dialog: &Dialog) -> Vec<(String, String)> {
        let _ = dialog;
        Vec::new()
    }
}

/// What caused an event, for telling the observers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Told<'a> {
    pub(super) request: Option<&'a Message>,
    pub(super) response: Option<&'a Message>,
    pub(super) direction: Option<Direction>,
}

/// The observers of one shard.
#[derive(Debug, Default)]
pub struct Observers {
    list: Vec<Box<dyn Observer>>,
    all_dialogs: Vec<Registration>,
}

impl Observers {
    /// Takes an observer in. There are at most 255.
    pub fn add(&mut self, observer: Box<dyn Observer>) -> ObserverId {
        let id = u8::try_from(self.list.len()).expect("at most 255 observers are compiled in");
        self.list.push(observer);
        ObserverId(id)
    }

    /// Registers an observer for all dialogs.
    pub fn register_dlgcb(
        &mut self,
        observer: ObserverId,
        kinds: Kinds,
        param: u64,
    ) -> Result<(), RegisterError> {
        if !kinds.is_of_all_dialogs() {
            return Err(RegisterError::WrongScope);
        }
        if kinds.0.count_ones() > 1 {
            return Err(RegisterError::NotAlone);
        }
        self.all_dialogs.push(Registration {
            observer,
            kinds,
            param,
        });
        Ok(())
    }

    /// Tells everyone who has registered, the last first.
    pub(super) fn tell(&mut self, kind: Kind, dialog: &mut Dialog, told: Told<'_>) {
        if self.list.is_empty() {
            return;
        }
        let is_of_all = kind.only().is_of_all_dialogs();
        let registered: Box<[Registration]> = if is_of_all {
            self.all_dialogs.as_slice().into()
        } else {
            dialog.observers.clone()
        };
        for registration in registered.iter().rev().filter(|r| r.kinds.has(kind)) {
            let Some(observer) = self.list.get_mut(usize::from(registration.observer.0)) else {
                continue;
            };
            let Told {
                request,
                response,
                direction,
            } = told;
            let (id, param) = (registration.observer, registration.param);
            let event = Event {
                kind,
                observer: id,
                param,
                request,
                response,
                direction,
            };
            observer.observe(&event, dialog);
        }
    }

    /// What the observers of a dialog add to its listing.
    pub fn list_ctx(&self, dialog: &Dialog) -> Vec<(String, String)> {
        let wanted = dialog
            .observers
            .iter()
            .filter(|r| r.kinds.has(Kind::RpcContext));
        let observers = wanted.filter_map(|r| self.list.get(usize::from(r.observer.0)));
        observers
            .flat_map(|observer| observer.list_ctx(dialog))
            .collect()
    }
}

impl Dialog {
    /// Registers an observer for events of this dialog. The registration ends with the dialog.
    pub fn register_dlgcb(
        &mut self,
        observer: ObserverId,
        kinds: Kinds,
        param: u64,
    ) -> Result<(), RegisterError> {
        if kinds.is_of_all_dialogs() {
            return Err(RegisterError::WrongScope);
        }
        if self.observers.len() >= usize::from(u8::MAX) {
            return Err(RegisterError::TooMany);
        }
        // Most dialogs have none, and each entry of the table would pay for room to grow.
        let mut observers = std::mem::take(&mut self.observers).into_vec();
        observers.push(Registration {
            observer,
            kinds,
            param,
        });
        self.observers = observers.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_numbers_of_the_original() {
        let numbers = Kind::ALL.map(|kind| kind as u16);
        let want = [
            1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192, 16384, 32768,
        ];
        assert_eq!(numbers, want);
    }

    #[test]
    fn what_is_of_all_dialogs_is_registered_for_all_and_alone() {
        let mut observers = Observers::default();
        let id = ObserverId(0);
        let table = [
            (Kind::Created.only(), Ok(())),
            (Kind::Loaded.only(), Ok(())),
            (
                Kind::Created.and(Kind::Loaded),
                Err(RegisterError::NotAlone),
            ),
            (
                Kind::Created.and(Kind::Failed),
                Err(RegisterError::NotAlone),
            ),
            (Kind::Failed.only(), Err(RegisterError::WrongScope)),
        ];
        for (kinds, want) in table {
            assert_eq!(observers.register_dlgcb(id, kinds, 0), want, "{kinds:?}");
        }
    }
}
