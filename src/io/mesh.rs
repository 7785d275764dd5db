//! Bounded channels between cores, and a bell for each.
//!
//! ```text
//!   core 0 ── items, in order ──▶ core 1        one channel for each direction
//!   control thread, signals ────▶ every core    one more, which many threads share
//! ```
//!
//! What one core puts in for another comes out in that order, which is what keeps the order of a
//! call whose datagrams are handed over. A channel that is full gives the item back: nobody ever
//! waits for another core. glommio has channels of its own; they wake an executor that is parked
//! in its ring, and ours waits in `epoll_wait` (see [`super::driver`]), so here a bell is an
//! eventfd in that set, rung at most once until it is heard. Costs: a lock-free push for an item,
//! one system call for a round that sends to a core that has nothing to do.
//!
//! What nobody can miss while the other core sleeps is posted quietly: a core looks for it whenever
//! it wakes, before anything else, and is woken for it only when it has slept through
//! [`QUIET_TIME_MAX`]. Hundreds of batches of counts a second so wake no core of its own.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};

use tokio::sync::oneshot;

use super::plan::Reload;
use super::sys::EventFd;
use super::tcp::Parcel;
use crate::effect::Executed;
use crate::effect::{
    ConnId, Flow, Hop, NameRecord, Part, PeerMessage, ResolveError, SendError, SocketId, Token,
};
use crate::limits::{MESH_QUEUE_MAX, QUIET_TIME_MAX};
use crate::modules::rpc::Question;
use crate::modules::rpc::command::Figures;
use crate::slab::Key;
use crate::steer::ShardId;
use crate::time::{Duration, Instant};

/// Items that all channels into one core may hold together, the ceiling on their memory.
const INBOUND_MAX: usize = 8 * MESH_QUEUE_MAX;

/// The least a channel holds however many cores there are.
const CHANNEL_MIN: usize = 256;

/// Items taken from one channel before the next gets its turn.
const TURN_SIZE: usize = 64;

/// One thing that one core tells another.
pub(crate) enum Item {
    /// A message that belongs to a call of the core it is sent to.
    Received { flow: Flow, bytes: Box<[u8]> },
    /// A message for a stream that lives there.
    Send(Box<Parcel>),
    /// A message sent for that core did not leave.
    Failed(Token, SendError),
    /// Close a stream that lives there.
    Close(ConnId),
    /// A stream has ended.
    Closed(ConnId),
    /// A stream that was accepted elsewhere and is to live there.
    Adopt { socket: SocketId, stream: TcpStream },
    /// A stream that was lent to the control side comes back; whether it goes on.
    GivenBack(ConnId, bool),
    /// Let a stream that lives there be found at this port of its peer, too.
    Alias(ConnId, u16),
    /// A stream wants to be found at this address, whose home that core is.
    AliasAt(ConnId, SocketAddr),
    /// An answer to a script that has asked as an operator does.
    Executed(Key, Option<Box<Executed>>),
    /// An answer of the resolver.
    Resolved(Token, Result<Vec<Hop>, ResolveError>),
    /// What the name servers have told a script.
    Found(Token, Result<Vec<NameRecord>, ResolveError>),
    /// Something that the shard of another core has to say.
    Peer(ShardId, PeerMessage),
    /// What a reload does to the shard.
    Reload(Reload),
    /// Write the counters to the log.
    Report,
    /// An operator asks the shard.
    Ask(Box<Asked>),
    /// An operator asks for the core's counters.
    Figures(oneshot::Sender<Figures>),
    /// Take no new work and say when there is none left.
    Drain,
    /// End.
    Stop,
}

/// An operator's question, and the way back of the answer.
pub(crate) struct Asked {
    pub(crate) question: Question,
    /// The answer, and how long the shard was busy with it.
    pub(crate) reply: oneshot::Sender<(Part, Duration)>,
}

/// What wakes a core. `rung` saves the system call while the core has yet to hear the last one;
/// `mail` says that something was posted quietly since it has looked.
#[derive(Debug)]
pub(crate) struct Bell {
    event: EventFd,
    rung: AtomicBool,
    mail: AtomicBool,
}

impl Bell {
    fn new() -> std::io::Result<Self> {
        Ok(Bell {
            event: EventFd::new()?,
            rung: AtomicBool::new(false),
            mail: AtomicBool::new(false),
        })
    }

    fn ring(&self) {
        // Whoever hears the bell resets `rung` before it looks into the channels. So an item put
        // in before this line is seen either by the one who will hear, or by this ring.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.event.ring();
        }
    }

    fn hear(&self) {
        self.event.clear();
        self.rung.swap(false, Ordering::AcqRel);
    }

    fn look(&self) {
        // As with `rung`: reset before the channels are looked into, so nothing is overlooked.
        self.mail.swap(false, Ordering::AcqRel);
    }
}

/// One core's end of the mesh.
pub(crate) struct Port {
    id: ShardId,
    /// To each core by number; nothing at the own number.
    to: Vec<Option<SyncSender<Item>>>,
    /// From each core, and from the control side.
    from: Vec<Receiver<Item>>,
    bells: Arc<[Bell]>,
    /// Whose bell is to be rung when the round is over.
    to_ring: Vec<bool>,
    /// Who was sent something quietly, and when those who have not looked are woken.
    to_remind: Vec<bool>,
    remind_at: Option<Instant>,
}

/// The way into every core for threads that are none.
#[derive(Clone)]
pub(crate) struct Control {
    to: Vec<SyncSender<Item>>,
    bells: Arc<[Bell]>,
}

/// The mesh of this many cores.
pub(crate) fn connect(core_count: u16) -> std::io::Result<(Vec<Port>, Control)> {
    let count = usize::from(core_count);
    let bells: Arc<[Bell]> = (0..count).map(|_| Bell::new()).collect::<Result<_, _>>()?;
    let mut ports: Vec<Port> = (0..core_count)
        .map(|n| Port {
            id: ShardId(n),
            to: Vec::with_capacity(count),
            from: Vec::with_capacity(count),
            bells: bells.clone(),
            to_ring: vec![false; count],
            to_remind: vec![false; count],
            remind_at: None,
        })
        .collect();
    for source in 0..count {
        for target in 0..count {
            if source == target {
                ports[source].to.push(None);
                continue;
            }
            let (sender, receiver) = mpsc::sync_channel(channel_size(count));
            ports[source].to.push(Some(sender));
            ports[target].from.push(receiver);
        }
    }
    let mut to = Vec::with_capacity(count);
    for port in &mut ports {
        let (sender, receiver) = mpsc::sync_channel(MESH_QUEUE_MAX);
        to.push(sender);
        port.from.push(receiver);
    }
    Ok((ports, Control { to, bells }))
}

/// Items that the channel between two of this many cores holds.
fn channel_size(core_count: usize) -> usize {
    (INBOUND_MAX / core_count.max(1)).clamp(CHANNEL_MIN, MESH_QUEUE_MAX)
}

impl Port {
    pub(crate) fn id(&self) -> ShardId {
        self.id
    }

    pub(crate) fn core_count(&self) -> u16 {
        self.to.len() as u16
    }

    /// Sends to another core; gives the item back when too many wait there, or when it has ended.
    pub(crate) fn post(&mut self, target: ShardId, item: Item) -> Result<(), Item> {
        self.put(target, item)?;
        self.to_ring[usize::from(target.0)] = true;
        Ok(())
    }

    /// Sends to another core what need not wake it, in the same order as everything else.
    pub(crate) fn post_quietly(
        &mut self,
        target: ShardId,
        item: Item,
        now: Instant,
    ) -> Result<(), Item> {
        self.put(target, item)?;
        let index = usize::from(target.0);
        self.bells[index].mail.store(true, Ordering::Release);
        self.to_remind[index] = true;
        self.remind_at.get_or_insert(now + QUIET_TIME_MAX);
        Ok(())
    }

    fn put(&self, target: ShardId, item: Item) -> Result<(), Item> {
        match self.to.get(usize::from(target.0)) {
            Some(Some(sender)) => sender.try_send(item).map_err(given_back),
            Some(None) | None => Err(item),
        }
    }

    /// When [`Port::remind`] may have something to do.
    pub(crate) fn next_reminder(&self) -> Option<Instant> {
        self.remind_at
    }

    /// Wakes the cores that have slept through what was posted to them quietly.
    pub(crate) fn remind(&mut self, now: Instant) {
        if self.remind_at.is_none_or(|at| at > now) {
            return;
        }
        self.remind_at = None;
        for (bell, to_remind) in self.bells.iter().zip(&mut self.to_remind) {
            if std::mem::take(to_remind) && bell.mail.load(Ordering::Acquire) {
                bell.ring();
            }
        }
    }

    /// Wakes the cores that something was sent to since the last time.
    pub(crate) fn flush(&mut self) {
        for (bell, to_ring) in self.bells.iter().zip(&mut self.to_ring) {
            if std::mem::take(to_ring) {
                bell.ring();
            }
        }
    }

    /// What to wait on for items.
    pub(crate) fn bell(&self) -> &EventFd {
        &self.bells[usize::from(self.id.0)].event
    }

    /// Whether something was posted quietly.
    pub(crate) fn has_mail(&self) -> bool {
        self.bells[usize::from(self.id.0)]
            .mail
            .load(Ordering::Acquire)
    }

    /// The bell has rung: takes in what has come.
    pub(crate) fn hear(&mut self, items: &mut Vec<Item>) {
        self.bells[usize::from(self.id.0)].hear();
        self.take(items);
    }

    /// Takes in what has come, a bounded number from each channel so that none starves; when more
    /// waits, the bell rings on.
    pub(crate) fn take(&mut self, items: &mut Vec<Item>) {
        let bell = &self.bells[usize::from(self.id.0)];
        bell.look();
        let mut is_more = false;
        for channel in &self.from {
            let before = items.len();
            items.extend(channel.try_iter().take(TURN_SIZE));
            is_more |= items.len() - before == TURN_SIZE;
        }
        if is_more {
            bell.ring();
        }
    }
}

impl Control {
    /// Sends to a core; gives the item back when too many wait there, or when it has ended.
    pub(crate) fn post(&self, target: ShardId, item: Item) -> Result<(), Item> {
        let index = usize::from(target.0);
        self.to[index].try_send(item).map_err(given_back)?;
        self.bells[index].ring();
        Ok(())
    }

    /// Sends to every core what `make` gives, as far as there is room.
    pub(crate) fn post_all(&self, make: impl Fn() -> Item) {
        for core in 0..self.to.len() {
            // A core that has ended, or that has not looked at thousands of items, needs no more.
            let _ = self.post(ShardId(core as u16), make());
        }
    }
}

fn given_back(error: TrySendError<Item>) -> Item {
    match error {
        TrySendError::Full(item) | TrySendError::Disconnected(item) => item,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sys::{Interest, Poll};

    fn closed(key: u64) -> Item {
        Item::Closed(ConnId { core: 0, key })
    }

    fn number(item: &Item) -> u64 {
        match item {
            Item::Closed(conn) => conn.key,
            _ => panic!("only ends of connections were sent"),
        }
    }

    /// Waits for the bell and takes what has come.
    fn hear(poll: &Poll, port: &mut Port, items: &mut Vec<Item>) {
        let mut ready = vec![];
        poll.wait(Some(10_000), &mut ready).unwrap();
        assert_eq!(ready.len(), 1, "nobody rang");
        port.hear(items);
    }

    #[test]
    fn items_come_out_in_the_order_they_went_in() {
        const COUNT: u64 = 50_000;
        let (mut ports, control) = connect(2).unwrap();
        let (mut target, mut source) = (ports.remove(0), ports.remove(0));
        let poll = Poll::new().unwrap();
        poll.add(target.bell(), 0, Interest::READ).unwrap();
        let sender = std::thread::spawn(move || {
            let mut n = 0;
            while n < COUNT {
                // Full: the other side is woken and there will be room.
                match source.post(ShardId(0), closed(n)) {
                    Ok(()) => n += 1,
                    Err(_) => source.flush(),
                }
                if n % 7 == 0 {
                    source.flush();
                }
            }
            source.flush();
        });
        let (mut next, mut items) = (0, vec![]);
        while next < COUNT {
            hear(&poll, &mut target, &mut items);
            for item in items.drain(..) {
                assert_eq!(number(&item), next);
                next += 1;
            }
        }
        sender.join().unwrap();
        control.post(ShardId(0), closed(7)).ok().unwrap();
        hear(&poll, &mut target, &mut items);
        assert_eq!(number(&items[0]), 7);
    }

    #[test]
    fn a_full_channel_gives_the_item_back_and_harms_no_other() {
        let (mut ports, _control) = connect(3).unwrap();
        let mut source = ports.remove(0);
        for n in 0..channel_size(3) as u64 {
            assert!(source.post(ShardId(1), closed(n)).is_ok());
        }
        let back = source.post(ShardId(1), closed(99)).err().unwrap();
        assert_eq!(number(&back), 99);
        assert!(source.post(ShardId(2), closed(1)).is_ok());
        assert!(source.post(ShardId(0), closed(1)).is_err(), "to itself");
        assert!(source.post(ShardId(9), closed(1)).is_err(), "to nobody");
    }

    #[test]
    fn a_flood_from_one_core_leaves_others_their_turn() {
        let (mut ports, control) = connect(2).unwrap();
        let mut source = ports.remove(1);
        let mut target = ports.remove(0);
        for n in 0..1_000 {
            source.post(ShardId(0), closed(n)).ok().unwrap();
        }
        source.flush();
        control.post(ShardId(0), Item::Stop).ok().unwrap();
        let mut items = vec![];
        target.hear(&mut items);
        assert_eq!(items.len(), TURN_SIZE + 1);
        assert!(matches!(items[TURN_SIZE], Item::Stop));
        let poll = Poll::new().unwrap();
        poll.add(target.bell(), 0, Interest::READ).unwrap();
        hear(&poll, &mut target, &mut items);
        assert_eq!(items.len(), 2 * TURN_SIZE + 1);
    }

    #[test]
    fn what_is_posted_quietly_wakes_only_who_sleeps_through_it() {
        let (mut ports, _control) = connect(2).unwrap();
        let (mut target, mut source) = (ports.remove(0), ports.remove(0));
        let poll = Poll::new().unwrap();
        poll.add(target.bell(), 0, Interest::READ).unwrap();
        let (mut ready, mut items) = (vec![], vec![]);
        let rings = |ready: &mut Vec<_>| {
            poll.wait(Some(0), ready).unwrap();
            !ready.is_empty()
        };
        let begun = Instant::ZERO + Duration::from_secs(1);
        // Somebody who looks anyway hears of it without a bell, then and later.
        assert!(!target.has_mail());
        let quiet = |source: &mut Port, key, now| {
            assert!(source.post_quietly(ShardId(0), closed(key), now).is_ok());
            source.flush();
        };
        quiet(&mut source, 1, begun);
        quiet(&mut source, 2, begun + Duration::from_millis(1));
        assert_eq!(source.next_reminder(), Some(begun + QUIET_TIME_MAX));
        assert!(target.has_mail() && !rings(&mut ready));
        target.take(&mut items);
        assert_eq!(
            items.drain(..).map(|i| number(&i)).collect::<Vec<_>>(),
            [1, 2]
        );
        source.remind(begun + QUIET_TIME_MAX);
        assert!(!target.has_mail() && !rings(&mut ready));
        assert_eq!(source.next_reminder(), None);
        // Who sleeps is woken, and not before its time.
        let later = begun + Duration::from_secs(1);
        quiet(&mut source, 3, later);
        source.remind(later + Duration::from_millis(1));
        assert!(!rings(&mut ready));
        source.remind(later + QUIET_TIME_MAX);
        assert!(rings(&mut ready));
        target.hear(&mut items);
        assert!(!target.has_mail() && !rings(&mut ready));
        // What does wake brings what was quiet, in order.
        quiet(&mut source, 4, later);
        assert!(source.post(ShardId(0), closed(5)).is_ok());
        source.flush();
        assert!(rings(&mut ready));
        target.hear(&mut items);
        assert_eq!(items.iter().map(number).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn channels_share_a_ceiling() {
        let table = [
            (1, 8_192),
            (2, 8_192),
            (8, 8_192),
            (16, 4_096),
            (64, 1_024),
            (4_096, 256),
        ];
        for (core_count, want) in table {
            assert_eq!(channel_size(core_count), want, "{core_count} cores");
        }
    }
}
