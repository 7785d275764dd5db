//! 1 to 64 shards in one thread under virtual time: how even the work is, and what they tell each
//! other.
//!
//! Calls (INVITE 180 200 ACK BYE 200) begin at a steady rate for each shard; a message goes to the
//! shard that owns its Call-ID, as the kernel would bring it; what shards tell each other takes 20
//! us.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use dialcore::effect::{Effect, Outbox, PeerMessage};
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Instant, Now, WallTime};
use indicatif::ProgressBar;
use serde::Serialize;

use super::text;

const SCRIPT: &str = include_str!("../scale.cfg");
const MESH_NS: u64 = 20_000;
const WIRE_NS: u64 = 100_000;
const HOLD_NS: u64 = 2_000_000_000;

/// What was seen with so many shards.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Seen {
    pub(crate) shards: u16,
    /// Calls, each complete.
    pub(crate) calls: u64,
    /// Calls per second of virtual time.
    pub(crate) rate: f64,
    /// SIP messages that shards handled.
    pub(crate) messages: u64,
    /// Of the busiest shard, divided by the mean.
    pub(crate) imbalance: f64,
    /// Batches of profile counts, per call.
    pub(crate) batches_per_call: f64,
    /// Their confirmations, per call.
    pub(crate) seen_per_call: f64,
    /// Whatever else shards told each other, per call.
    pub(crate) others_per_call: f64,
    /// SIP messages that a shard handled and did not own.
    pub(crate) misrouted: u64,
}

enum Event {
    Begin(u64),
    ToProxy(std::net::SocketAddr, Rc<[u8]>),
    Peer(u16, ShardId, PeerMessage),
    Wake(u16),
}

/// Ordered by time, then by the order of planning.
struct Planned(u64, u64, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct World {
    shards: Vec<Shard>,
    armed: Vec<u64>,
    handled: Vec<u64>,
    queue: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    now: u64,
    out: Outbox,
    complete: u64,
    batches: u64,
    confirmed: u64,
    others: u64,
}

impl World {
    fn new(count: u16) -> io::Result<World> {
        let setup = Setup::from_text(SCRIPT, count)
            .map_err(|errors| io::Error::other(format!("scale.cfg: {errors}")))?;
        let setup = Arc::new(setup);
        let shard = |n| Shard::new(ShardId(n), Arc::clone(&setup), u64::from(n) + 1);
        Ok(World {
            shards: (0..count).map(shard).collect(),
            armed: vec![u64::MAX; usize::from(count)],
            handled: vec![0; usize::from(count)],
            queue: BinaryHeap::new(),
            planned: 0,
            now: 0,
            out: Outbox::new(),
            complete: 0,
            batches: 0,
            confirmed: 0,
            others: 0,
        })
    }

    fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse(Planned(at, self.planned, event)));
    }

    fn input(&mut self, place: u16, input: Input<'_>) {
        let now = Now {
            mono: Instant::from_nanos(self.now),
            wall: WallTime::from_micros(1_700_000_000_000_000 + self.now / 1_000),
        };
        let index = usize::from(place);
        self.shards[index].handle(now, input, &mut self.out);
        let effects: Vec<Effect> = self.out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Send(send) if send.to.remote == text::callee() => {
                    self.at_callee(&send.bytes)
                }
                Effect::Send(send) => self.at_caller(&send.bytes),
                Effect::Peer(to, message) => {
                    match message {
                        PeerMessage::Batch(_) => self.batches += 1,
                        PeerMessage::Seen(_) | PeerMessage::Settled(_) => self.confirmed += 1,
                        _ => self.others += 1,
                    }
                    self.plan(
                        self.now + MESH_NS,
                        Event::Peer(to.0, ShardId(place), message),
                    );
                }
                _ => {}
            }
        }
        let next = self.shards[index].next_deadline();
        let next = next.map_or(u64::MAX, |(at, _)| at.as_nanos());
        if next < self.armed[index] {
            self.armed[index] = next;
            self.plan(next.max(self.now), Event::Wake(place));
        }
    }

    fn send(&mut self, after: u64, from: std::net::SocketAddr, bytes: Vec<u8>) {
        self.plan(
            self.now + WIRE_NS + after,
            Event::ToProxy(from, bytes.into()),
        );
    }

    fn at_callee(&mut self, request: &[u8]) {
        let statuses: &[&str] = match request {
            [b'I', ..] => &["180 Ringing", "200 OK"],
            [b'B', ..] => &["200 OK"],
            _ => &[],
        };
        for status in statuses {
            self.send(0, text::callee(), text::answer(request, status));
        }
    }

    fn at_caller(&mut self, response: &[u8]) {
        if !response.starts_with(b"SIP/2.0 200") {
            return;
        }
        if text::field(response, "CSeq").ends_with("BYE") {
            self.complete += 1;
            return;
        }
        let call = text::field(response, "Call-ID").split('-').next();
        let call = call.and_then(|c| c.parse().ok()).unwrap_or(0);
        let route = text::field(response, "Record-Route").to_owned();
        self.send(0, text::caller(), text::request("ACK", call, 1, &route));
        self.send(
            HOLD_NS,
            text::caller(),
            text::request("BYE", call, 2, &route),
        );
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Begin(call) => {
                self.send(0, text::caller(), text::request("INVITE", call, 1, ""))
            }
            Event::ToProxy(from, bytes) => {
                let id = text::field(&bytes, "Call-ID");
                let place = owner(id.as_bytes(), self.shards.len() as u16).0;
                self.handled[usize::from(place)] += 1;
                let flow = text::flow(from);
                let bytes = &bytes;
                self.input(place, Input::Received { flow, bytes });
            }
            Event::Peer(to, from, message) => self.input(to, Input::Peer(from, message)),
            Event::Wake(place) => {
                let index = usize::from(place);
                self.armed[index] = u64::MAX;
                let due = self.shards[index].next_deadline();
                match due.is_some_and(|(at, _)| at.as_nanos() <= self.now) {
                    true => self.input(place, Input::Deadline),
                    // It was set to a later time.
                    false => {
                        if let Some((at, _)) = due {
                            self.armed[index] = at.as_nanos();
                            self.plan(at.as_nanos(), Event::Wake(place));
                        }
                    }
                }
            }
        }
    }
}

/// Runs so many shards, each with so many calls per second for so long.
pub(crate) fn simulate(
    count: u16,
    rate_each: f64,
    seconds: f64,
    bar: &ProgressBar,
) -> io::Result<Seen> {
    let mut world = World::new(count)?;
    let rate = rate_each * f64::from(count);
    let calls = (rate * seconds) as u64;
    for call in 0..calls {
        world.plan((call as f64 / rate * 1e9) as u64, Event::Begin(call));
    }
    // Until the last call is over and its transactions are gone.
    let end = (seconds * 1e9) as u64 + HOLD_NS + 40_000_000_000;
    while let Some(Reverse(Planned(at, _, event))) = world.queue.pop() {
        if at > end || world.complete == calls {
            break;
        }
        world.now = at;
        if let Event::Begin(_) = event {
            bar.inc(1);
        }
        world.step(event);
    }
    if world.complete != calls {
        let text = format!("{} of {calls} calls are complete", world.complete);
        return Err(io::Error::other(text));
    }
    let messages: u64 = world.handled.iter().sum();
    let most = world.handled.iter().max().copied().unwrap_or(0);
    let per_call = |n: u64| n as f64 / calls.max(1) as f64;
    let misrouted = |shard: &Shard| -> u64 {
        let figures = shard.figures();
        let of = figures.iter().find(|(name, _)| *name == "shard_misrouted");
        of.map_or(0, |(_, n)| *n)
    };
    Ok(Seen {
        shards: count,
        calls,
        rate,
        messages,
        imbalance: most as f64 * f64::from(count) / messages.max(1) as f64,
        batches_per_call: per_call(world.batches),
        seen_per_call: per_call(world.confirmed),
        others_per_call: per_call(world.others),
        misrouted: world.shards.iter().map(misrouted).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_work_and_tell_each_other_only_counts() {
        for count in [1, 4] {
            let bar = ProgressBar::hidden();
            let seen = simulate(count, 100.0, 0.5, &bar).expect("calls");
            assert_eq!(seen.calls, 50 * u64::from(count));
            assert_eq!(seen.messages, 6 * seen.calls);
            assert_eq!((seen.others_per_call, seen.misrouted), (0.0, 0));
            assert!((1.0..2.0).contains(&seen.imbalance), "{seen:?}");
            assert_eq!(seen.batches_per_call > 0.0, count > 1, "{seen:?}");
        }
    }
}
