//! The deterministic simulator: N shards, user agents, wires and names in one thread under
//! virtual time.
//!
//! ```text
//!   seed ──▶ scenario ──▶ world ◀──▶ proxy (N shards)          run: events by time, then order
//!                          │  ▲
//!                          ▼  │      ua/ network stream names  the models the world is made of
//!                         oracle                               judges each message, and the end
//! ```
//!
//! `cargo test --no-default-features --test sim` runs it (`--release` for the full volume);
//! `CALLS=` sets how many calls the volume tests make, `SEED=0x..` replays one seed with a ladder
//! of each call. A run is a pure function of its seed: no clock, no thread, no socket. Every
//! failure prints the command that repeats it.
//!
//! Whatever the product learns later (dialogs, profiles, a database) has its effects performed in
//! `world.rs`, its script in `sim.cfg` and its laws in `oracle/`.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod census;
mod ladder;
mod names;
mod network;
mod oracle;
mod product;
mod proxy;
mod reference;
mod runs;
mod scenario;
mod selftest;
mod sip;
mod stream;
mod trace;
mod ua;
mod world;
