//! A dialog-stateful SIP proxy, thread-per-core and shared-nothing.
//!
//! The proxy is a pure function with memory: `(now, input) -> effects`. One [`shard`] per core is
//! that function's memory. Everything that touches kernel, clock, randomness or another core is
//! outside of it, in [`io`], and speaks to it in values. N shards in one thread under virtual
//! time are the whole proxy, which is how most of it is tested.
//!
//! ```text
//! io/udp io/tcp  steer      shard (one core's own: no I/O, no clock, no locks)           io
//! bytes ─▶ scan Call-ID ─▶ parse ─▶ transaction ─▶ script ─▶ rr ─▶ edit ─▶ Outbox ─▶ send
//!            owner(call_id)              ▲                                   │
//! deadline, dns answer, send failure ────┘                   dns, log ◀──────┘
//! ```
//!
//! The modules below stand in the order in which data flows. An arrow never points back: a file
//! may use what stands above it, never what stands below, and `tests/tidy.rs` fails when one does.

pub mod time;
pub mod limits;
pub mod slab;
pub mod index;
pub mod rng;
pub mod timer;
pub mod wheel;
pub mod steer;
pub mod text;
pub mod effect;
pub mod sip;
pub mod script;
pub mod modules;
pub mod shard;
#[cfg(feature = "runtime")]
pub mod io;
