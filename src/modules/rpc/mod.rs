//! The operator's hands: commands, how they are written on the wire, and how the answers of
//! several shards become one.
//!
//! ```text
//!   bytes ─▶ binrpc | json ─▶ Request ─▶ Here: answered at the desk, without a shard
//!                                    └─▶ Shards: Question ─▶ every shard, in slices ─▶ fold
//!   bytes ◀─ binrpc | json ◀──────────────────────────── values ◀──────────────────────┘
//! ```
//!
//! A command is a row in its module's table ([`Command`]); the listing, the help and the dispatch
//! read these tables. A shard answers from its own state in slices of a bounded number of items,
//! so that looking at a million calls holds up none of them; between two slices it keeps nothing,
//! so an operator who has gone away leaves nothing behind. Nothing here does any I/O.

pub mod args;
pub mod binrpc;
pub mod call;
pub mod cfg;
pub mod cfgutils;
pub mod command;
pub mod core;
pub mod corex;
pub mod desk;
pub mod dlg;
pub mod fold;
pub mod json;
pub mod memory;
pub mod place;
pub mod shv;
pub mod statistic;
pub mod stats;
pub mod system;
pub mod tm;
pub mod transaction;

pub use args::{Args, Dialect};
pub use command::{Answer, Command, Container, Fold, Question, Request, Run, Stop, Whom};
pub use desk::{Desk, Facts};
pub use statistic::Statistic;

pub use crate::effect::rpc::{Cursor, Fault, Part, RpcId, Value};
