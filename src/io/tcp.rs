//! The streams of one core (RFC 3261 §18.1.1, §18.2, §18.3; RFC 5626 §4.4.1).
//!
//! A connection lives on the core that the peer's address hashes to, its home: an accepted one is
//! handed there before its first byte is read. So every core can compute where a connection to an
//! address lives, and no directory is shared. A message goes through up to three steps, each on
//! the core where the answer is known:
//!
//! ```text
//!   Flow      the connection it came in on        core of the ConnId
//!   Remote    any connection to the address       home of the address; opens one, unless
//!   Fallback  any connection to the fallback      home of the fallback; opens one
//! ```
//!
//! A connection that has an alias (RFC 5923) is known at the home of that address, too: a message
//! to it makes the way `Remote`, `Alias` to the core of the connection, and if that is gone
//! `Direct`, which is `Remote` without a look at aliases.
//!
//! A stream is written when the kernel takes bytes and never waited for. A peer that does not
//! read, does not finish opening, or says nothing for too long loses its own connection, and
//! whoever waits for one of its messages is told. Costs: a table entry and a buffer of one
//! message for each connection; an entry in the deadline set that traffic does not touch.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::counters::Counters;
use super::mesh::Item;
use super::plan::TcpOptions;
use super::stream::{Asker, Overdue, SendQueue, Stream};
use super::sys::{Interest, Poll};
use crate::effect::{Address, ConnId, Destination, Flow, HttpCommand, Proto, SendError, SocketId};
use crate::limits::STREAM_ALIAS_COUNT_MAX;
use crate::sip::{Frame, FrameError, Framer, http};
use crate::slab::{Key, Table};
use crate::steer::{self, ShardId};
use crate::time::{Duration, Instant};

/// Connections accepted from one listener in one round.
const ACCEPT_COUNT: usize = 64;

/// How long a listener rests when the process has no descriptor left: it would stay ready, and
/// the core would spin on it.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// The answer to a keep-alive (RFC 5626 §4.4.1).
const PONG: &[u8] = b"\r\n";

/// What an HTTP client is told that waits for it before it sends a body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One thing that a stream has brought.
pub(crate) enum Brought<'a> {
    /// A message.
    Message(&'a [u8]),
    /// A request of HTTP.
    Http(&'a [u8]),
}

/// A connection on its way to the control side.
#[derive(Debug)]
pub(crate) struct Lent {
    /// The connection, not to be closed: it is still the core's.
    pub(crate) stream: TcpStream,
    /// What is to be written before the answer.
    pub(crate) unsent: Vec<u8>,
    /// What is asked.
    pub(crate) command: Box<HttpCommand>,
    /// Its being there keeps the loan alive.
    pub(crate) token: Arc<()>,
}

/// How far the search for a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Flow,
    Remote,
    Alias(ConnId),
    Direct,
    Fallback,
}

/// A message on its way to a stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    to: Destination,
    bytes: Rc<[u8]>,
    asker: Option<Asker>,
    step: Step,
}

/// The same between two cores.
pub(crate) struct Parcel {
    to: Destination,
    bytes: Box<[u8]>,
    asker: Option<Asker>,
    step: Step,
}

impl Outgoing {
    pub(crate) fn new(to: Destination, bytes: Rc<[u8]>, asker: Option<Asker>) -> Self {
        let step = match to.conn {
            Some(_) => Step::Flow,
            None => Step::Remote,
        };
        Outgoing {
            to,
            bytes,
            asker,
            step,
        }
    }

    /// The core that knows about the step it is at.
    fn place(&self, core_count: u16) -> ShardId {
        match (self.step, self.to.conn, self.to.fallback) {
            (Step::Flow, Some(conn), _) => ShardId(conn.core),
            (Step::Fallback, _, Some(fallback)) => home(fallback, core_count),
            (Step::Alias(conn), _, _) => ShardId(conn.core),
            (Step::Flow | Step::Remote | Step::Direct | Step::Fallback, _, _) => {
                home(self.to.remote, core_count)
            }
        }
    }

    fn into_parcel(self) -> Box<Parcel> {
        Box::new(Parcel {
            to: self.to,
            bytes: Box::from(&*self.bytes),
            asker: self.asker,
            step: self.step,
        })
    }
}

impl Parcel {
    pub(crate) fn open(self) -> Outgoing {
        Outgoing {
            to: self.to,
            bytes: self.bytes.into(),
            asker: self.asker,
            step: self.step,
        }
    }

    /// Whom to tell when the parcel goes nowhere.
    pub(crate) fn asker(&self) -> Option<Asker> {
        self.asker
    }
}

/// The core on which connections with this peer live.
pub(crate) fn home(remote: SocketAddr, core_count: u16) -> ShardId {
    let mut bytes = [0; 18];
    match remote {
        SocketAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) => bytes[..16].copy_from_slice(&v6.ip().octets()),
    }
    bytes[16..].copy_from_slice(&remote.port().to_be_bytes());
    steer::owner(&bytes, core_count)
}

/// What the streams of a core have to tell.
pub(crate) enum Notice {
    /// Something for another core.
    Post(ShardId, Item),
    /// A message did not leave.
    Failed(Asker, SendError),
    /// A connection that was open is gone.
    Closed(ConnId),
}

/// What the streams of a core need to know.
pub(crate) struct Surroundings {
    pub(crate) id: ShardId,
    pub(crate) core_count: u16,
    pub(crate) addresses: Arc<[Address]>,
    pub(crate) options: TcpOptions,
    /// Connections of the whole process; touched when one opens or closes.
    pub(crate) open_count: Arc<AtomicUsize>,
}

/// A listening socket of this core.
struct Listener {
    id: SocketId,
    socket: TcpListener,
    tag: u64,
    resting_until: Option<Instant>,
}

/// The streams of one core.
pub(crate) struct Streams {
    around: Surroundings,
    poll: Rc<Poll>,
    table: Table<Stream>,
    by_remote: HashMap<SocketAddr, Key, ahash::RandomState>,
    /// Further addresses whose home this is, and the connections that serve them.
    aliases: HashMap<SocketAddr, ConnId, ahash::RandomState>,
    deadlines: BTreeSet<(Instant, Key)>,
    listeners: Vec<Listener>,
    /// Streams with something new to write.
    to_write: Vec<Key>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) counters: Counters,
}

impl Streams {
    pub(crate) fn new(around: Surroundings, poll: Rc<Poll>, hasher: ahash::RandomState) -> Self {
        Streams {
            around,
            poll,
            table: Table::new(),
            by_remote: HashMap::with_hasher(hasher.clone()),
            aliases: HashMap::with_hasher(hasher),
            deadlines: BTreeSet::new(),
            listeners: Vec::new(),
            to_write: Vec::new(),
            notices: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// How many bytes are read at once.
    pub(crate) fn read_size(&self) -> usize {
        self.around.options.read_size
    }

    /// Takes a listening socket in; `tag` is what the poll reports it by.
    pub(crate) fn listen(&mut self, id: SocketId, socket: TcpListener, tag: u64) -> io::Result<()> {
        self.poll.add(&socket, tag, Interest::READ)?;
        self.listeners.push(Listener {
            id,
            socket,
            tag,
            resting_until: None,
        });
        Ok(())
    }

    /// Accepts what waits at a listener; each connection goes to its home.
    pub(crate) fn accept(&mut self, id: SocketId, now: Instant) {
        let Some(at) = self.listeners.iter().position(|l| l.id == id) else {
            return;
        };
        for _ in 0..ACCEPT_COUNT {
            match self.listeners[at].socket.accept() {
                Ok((stream, remote)) => {
                    let home = home(remote, self.around.core_count);
                    if home == self.around.id {
                        self.adopt(id, stream, now);
                    } else {
                        let socket = id;
                        self.notices
                            .push(Notice::Post(home, Item::Adopt { socket, stream }));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if is_exhausted(&e) => {
                    let listener = &mut self.listeners[at];
                    let nothing = Interest {
                        read: false,
                        write: false,
                    };
                    let _ = self.poll.change(&listener.socket, listener.tag, nothing);
                    listener.resting_until = Some(now + ACCEPT_REST);
                    break;
                }
                // The peer has gone before it was accepted.
                Err(_) => {}
            }
        }
    }

    /// Takes in a connection that a peer has opened.
    pub(crate) fn adopt(&mut self, socket: SocketId, stream: TcpStream, now: Instant) {
        let Ok(remote) = stream.peer_addr() else {
            return;
        };
        if self.insert(socket, stream, remote, false, now).is_ok() {
            self.counters.connections_accepted += 1;
        }
    }

    fn insert(
        &mut self,
        socket: SocketId,
        stream: TcpStream,
        remote: SocketAddr,
        is_connecting: bool,
        now: Instant,
    ) -> Result<Key, SendError> {
        if self.around.open_count.load(Ordering::Relaxed) >= self.around.options.max_connections {
            self.counters.connections_refused += 1;
            return Err(SendError::NotConnected);
        }
        let key = self.table.next_key();
        let mut entry = Stream {
            socket: stream,
            flow: Flow {
                socket,
                proto: Proto::Tcp,
                remote,
                conn: Some(ConnId {
                    core: self.around.id.0,
                    key: key.to_u64(),
                }),
            },
            framer: Framer::new().accepting_no_length(self.around.options.accept_no_cl),
            queue: SendQueue::default(),
            is_connecting,
            is_closing: false,
            lent: None,
            is_behind: false,
            alias_count: 0,
            interest: Interest::READ,
            last_traffic: now,
            armed: now,
        };
        entry.interest = entry.wanted();
        let ready = entry
            .socket
            .set_nonblocking(true)
            .and_then(|()| entry.socket.set_nodelay(true))
            .and_then(|()| keep_alive(&entry.socket, &self.around.options))
            .and_then(|()| self.poll.add(&entry.socket, key.to_u64(), entry.interest));
        ready.map_err(|_| SendError::NotConnected)?;
        let armed = entry.deadline(&self.around.options).0;
        entry.armed = armed;
        self.table.insert(entry);
        self.deadlines.insert((armed, key));
        self.by_remote.insert(remote, key);
        self.around.open_count.fetch_add(1, Ordering::Relaxed);
        Ok(key)
    }

    /// Sends a message along the steps that this core knows about, or passes it on.
    pub(crate) fn send(&mut self, mut out: Outgoing, now: Instant) {
        // Each turn ends here or goes one step on, so there are at most five.
        loop {
            let place = out.place(self.around.core_count);
            if place != self.around.id {
                let item = Item::Send(out.into_parcel());
                self.notices.push(Notice::Post(place, item));
                return;
            }
            let (found, target) = match (out.step, out.to.fallback) {
                (Step::Flow, _) => (self.by_conn(out.to.conn), out.to.remote),
                (Step::Fallback, Some(fallback)) => (self.by_remote(fallback), fallback),
                (Step::Alias(conn), _) => (self.by_conn(Some(conn)), out.to.remote),
                (Step::Remote | Step::Direct | Step::Fallback, _) => {
                    (self.by_remote(out.to.remote), out.to.remote)
                }
            };
            if let Some(key) = found {
                return self.enqueue(key, out.bytes, out.asker, now);
            }
            if out.step == Step::Remote
                && let Some(conn) = self.aliases.get(&out.to.remote)
            {
                out.step = Step::Alias(*conn);
                continue;
            }
            match (out.step, out.to.fallback) {
                (Step::Flow, _) => out.step = Step::Remote,
                (Step::Alias(_), _) => out.step = Step::Direct,
                (Step::Remote | Step::Direct | Step::Fallback, _)
                    if out.to.no_connect || self.around.options.no_connect =>
                {
                    return self.fail(out.asker, SendError::NotConnected);
                }
                (Step::Remote | Step::Direct, Some(_)) => out.step = Step::Fallback,
                (Step::Remote | Step::Direct, None) | (Step::Fallback, _) => {
                    return match self.connect(out.to.socket, target, now) {
                        Ok(key) => self.enqueue(key, out.bytes, out.asker, now),
                        Err(error) => self.fail(out.asker, error),
                    };
                }
            }
        }
    }

    /// Lets a connection be found at another port of its peer's address, if it is here and has not
    /// too many names; passes the wish on to the core it lives on.
    pub(crate) fn alias(&mut self, conn: ConnId, port: u16) {
        if conn.core != self.around.id.0 {
            let item = Item::Alias(conn, port);
            return self.notices.push(Notice::Post(ShardId(conn.core), item));
        }
        let Some(stream) = self.table.get_mut(Key::from_u64(conn.key)) else {
            return;
        };
        let at = SocketAddr::new(stream.flow.remote.ip(), port);
        if at == stream.flow.remote || stream.alias_count >= STREAM_ALIAS_COUNT_MAX {
            return;
        }
        stream.alias_count += 1;
        let home = home(at, self.around.core_count);
        if home == self.around.id {
            self.alias_at(conn, at);
        } else {
            let item = Item::AliasAt(conn, at);
            self.notices.push(Notice::Post(home, item));
        }
    }

    /// The home of an address learns that a connection serves it. The first to say so stays: a
    /// second one might want to take the calls of another phone behind the same address.
    pub(crate) fn alias_at(&mut self, conn: ConnId, at: SocketAddr) {
        self.aliases.entry(at).or_insert(conn);
    }

    /// A connection is gone, here or elsewhere: so are its further names.
    pub(crate) fn forget_aliases(&mut self, conn: ConnId) {
        if !self.aliases.is_empty() {
            self.aliases.retain(|_, c| *c != conn);
        }
    }

    fn by_conn(&self, conn: Option<ConnId>) -> Option<Key> {
        let key = Key::from_u64(conn?.key);
        self.table.get(key).filter(|s| !s.is_closing).map(|_| key)
    }

    fn by_remote(&self, remote: SocketAddr) -> Option<Key> {
        self.by_remote.get(&remote).copied()
    }

    fn fail(&mut self, asker: Option<Asker>, error: SendError) {
        if let Some(asker) = asker {
            self.notices.push(Notice::Failed(asker, error));
        }
    }

    fn enqueue(&mut self, key: Key, bytes: Rc<[u8]>, asker: Option<Asker>, now: Instant) {
        let Some(stream) = self.table.get_mut(key) else {
            return self.fail(asker, SendError::Broken);
        };
        if stream.queue.is_empty() && !stream.is_connecting && stream.lent.is_none() {
            // From here the peer's time to take it runs.
            stream.last_traffic = now;
            self.to_write.push(key);
        }
        match stream.queue.push(bytes, asker) {
            Ok(()) => self.arm(key),
            Err(error) => {
                self.counters.stream_stuck += 1;
                self.fail(asker, error);
                self.remove(key, SendError::Broken);
            }
        }
    }

    /// Begins to open a connection that bears the address of `socket`.
    fn connect(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        now: Instant,
    ) -> Result<Key, SendError> {
        let opened = self
            .around
            .addresses
            .get(usize::from(socket.0))
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
            .and_then(|address| begin_connect(address.local, remote, &self.around.options));
        let result = match opened {
            Ok(stream) => self.insert(socket, stream, remote, true, now),
            Err(_) => Err(SendError::NotConnected),
        };
        self.counters.connect_failures += u64::from(result.is_err());
        result
    }

    /// Closes a connection once what waits has left; passes it on to the core it lives on.
    pub(crate) fn close(&mut self, conn: ConnId, now: Instant) {
        if conn.core != self.around.id.0 {
            let item = Item::Close(conn);
            self.notices.push(Notice::Post(ShardId(conn.core), item));
            return;
        }
        self.end(Key::from_u64(conn.key), now);
    }

    /// Closes a connection once what waits has left.
    fn end(&mut self, key: Key, now: Instant) {
        if let Some(stream) = self.table.get_mut(key) {
            stream.is_closing = true;
            let remote = stream.flow.remote;
            self.forget(remote, key);
            self.write(key, now);
        }
    }

    /// The poll has found a stream writable: it is open, or has failed, or takes bytes again.
    pub(crate) fn writable(&mut self, key: Key, now: Instant) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        if stream.is_connecting {
            let is_open =
                matches!(stream.socket.take_error(), Ok(None)) && stream.socket.peer_addr().is_ok();
            if !is_open {
                self.counters.connect_failures += 1;
                return self.remove(key, SendError::NotConnected);
            }
            stream.is_connecting = false;
            stream.last_traffic = now;
            self.counters.connections_opened += 1;
        }
        self.write(key, now);
    }

    /// Reads once from a stream and gives each whole message to `take`, in order. What is left in
    /// the kernel keeps the stream ready, so no stream holds up the others. True: see
    /// [`Streams::bring`].
    pub(crate) fn read(
        &mut self,
        key: Key,
        now: Instant,
        scratch: &mut [u8],
        take: impl FnMut(Flow, Brought<'_>),
    ) -> bool {
        let readable = |s: &&mut Stream| !s.is_connecting && !s.is_behind && s.lent.is_none();
        let Some(stream) = self.table.get_mut(key).filter(readable) else {
            return false;
        };
        let count = match stream.socket.read(scratch) {
            Ok(count) if count > 0 => count,
            Err(e) if is_passing(&e) => return false,
            Ok(_) | Err(_) => {
                self.remove(key, SendError::Broken);
                return false;
            }
        };
        stream.last_traffic = now;
        // Whoever is to be closed has nothing to say any more.
        if stream.is_closing {
            return false;
        }
        stream.framer.feed(&scratch[..count]);
        self.bring(key, now, take)
    }

    /// Gives what has been read and is whole to `take`, up to one request of HTTP: what comes
    /// behind that must wait until it is known whether the connection is lent. True: there may be
    /// more.
    pub(crate) fn bring(
        &mut self,
        key: Key,
        now: Instant,
        mut take: impl FnMut(Flow, Brought<'_>),
    ) -> bool {
        let can_bring = |s: &&mut Stream| s.lent.is_none() && !s.is_closing;
        let Some(stream) = self.table.get_mut(key).filter(can_bring) else {
            return false;
        };
        let (mut pings, mut has_more, mut waits) = (0, false, false);
        stream.is_behind = false;
        let failed = loop {
            match stream.framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    self.counters.stream_received += 1;
                    take(stream.flow, Brought::Message(bytes));
                }
                Ok(Some(Frame::Http(bytes))) => {
                    self.counters.http_received += 1;
                    take(stream.flow, Brought::Http(bytes));
                    has_more = true;
                    stream.is_behind = true;
                    break None;
                }
                Ok(Some(Frame::Continue)) => waits = true,
                Ok(Some(Frame::Ping)) => pings += 1,
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = failed {
            self.unframed(key, error, now);
            return false;
        }
        if waits {
            self.enqueue(key, CONTINUE.into(), None, now);
        }
        // However many came at once, one answer says that the flow lives.
        if pings > 0 && self.around.options.crlf_ping {
            self.counters.stream_pings += pings;
            self.enqueue(key, PONG.into(), None, now);
        }
        has_more
    }

    /// What came in cannot be cut into messages. A client of HTTP is told why.
    fn unframed(&mut self, key: Key, error: FrameError, now: Instant) {
        self.counters.stream_framing_errors += 1;
        match error {
            FrameError::Http(refusal) => {
                self.enqueue(key, http::refusal(refusal).into(), None, now);
                self.end(key, now);
            }
            FrameError::TooLarge | FrameError::NoContentLength | FrameError::BadContentLength => {
                self.remove(key, SendError::Broken);
            }
        }
    }

    /// Lends a connection to whoever answers a command of HTTP. `None`: it is gone, or is lent
    /// already, which a client cannot bring about that waits for its answers.
    pub(crate) fn lend(&mut self, command: Box<HttpCommand>) -> Option<Lent> {
        let key = Key::from_u64(command.conn.key);
        let stream = self.table.get_mut(key).filter(|s| !s.is_connecting)?;
        if stream.lent.is_some() {
            stream.is_closing = true;
            return None;
        }
        let lent = stream.socket.try_clone().and_then(|clone| {
            // An error or the end of the peer would be reported again and again.
            self.poll.remove(&stream.socket)?;
            Ok(clone)
        });
        let Ok(clone) = lent else {
            self.remove(key, SendError::Broken);
            return None;
        };
        let token = Arc::new(());
        stream.lent = Some(Arc::clone(&token));
        Some(Lent {
            stream: clone,
            unsent: stream.queue.take(),
            command,
            token,
        })
    }

    /// A connection comes back; `is_open`: it goes on. What was read meanwhile is for
    /// [`Streams::bring`].
    pub(crate) fn give_back(&mut self, conn: ConnId, is_open: bool, now: Instant) {
        let key = Key::from_u64(conn.key);
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        stream.lent = None;
        stream.last_traffic = now;
        stream.interest = stream.wanted();
        let is_back = self.poll.add(&stream.socket, key.to_u64(), stream.interest);
        if !is_open || is_back.is_err() {
            return self.remove(key, SendError::Broken);
        }
        self.write(key, now);
    }

    /// Writes what was queued since the last time.
    pub(crate) fn flush(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.to_write) {
            self.write(key, now);
        }
    }

    fn write(&mut self, key: Key, now: Instant) {
        let writable = |s: &&mut Stream| !s.is_connecting && s.lent.is_none();
        let Some(stream) = self.table.get_mut(key).filter(writable) else {
            return;
        };
        match stream.write(now) {
            Ok(left) => self.counters.stream_sent += left,
            Err(_) => return self.remove(key, SendError::Broken),
        }
        if stream.is_closing && stream.queue.is_empty() {
            return self.remove(key, SendError::Broken);
        }
        let wanted = stream.wanted();
        if wanted != stream.interest {
            stream.interest = wanted;
            if self
                .poll
                .change(&stream.socket, key.to_u64(), wanted)
                .is_err()
            {
                return self.remove(key, SendError::Broken);
            }
        }
        self.arm(key);
    }

    /// Makes sure that the deadline set looks at a stream no later than its deadline. A deadline
    /// that has moved away is found out when the old one comes, so traffic costs nothing here.
    fn arm(&mut self, key: Key) {
        if let Some(stream) = self.table.get_mut(key) {
            let (at, _) = stream.deadline(&self.around.options);
            if at < stream.armed {
                self.deadlines.remove(&(stream.armed, key));
                self.deadlines.insert((at, key));
                stream.armed = at;
            }
        }
    }

    /// When [`Streams::expire`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let stream = self.deadlines.first().map(|(at, _)| *at);
        let listener = self.listeners.iter().filter_map(|l| l.resting_until).min();
        stream.into_iter().chain(listener).min()
    }

    /// Closes what has lasted too long and wakes listeners that have rested.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, key));
            let Some(stream) = self.table.get_mut(key) else {
                continue;
            };
            let (at, overdue) = stream.deadline(&self.around.options);
            stream.armed = at;
            // The one here and the one of whoever answers: the loan is alive.
            let is_lent = stream
                .lent
                .as_ref()
                .is_some_and(|t| Arc::strong_count(t) > 1);
            if is_lent && overdue == Overdue::Lost {
                stream.last_traffic = now;
                stream.armed = stream.deadline(&self.around.options).0;
            }
            if stream.armed > now {
                self.deadlines.insert((stream.armed, key));
                continue;
            }
            let error = match overdue {
                Overdue::Connect => {
                    self.counters.connect_failures += 1;
                    SendError::NotConnected
                }
                Overdue::Send => {
                    self.counters.stream_stuck += 1;
                    SendError::Broken
                }
                Overdue::Idle => {
                    self.counters.stream_idle += 1;
                    SendError::Broken
                }
                Overdue::Lost => SendError::Broken,
            };
            self.remove(key, error);
        }
        for listener in &mut self.listeners {
            if listener.resting_until.is_some_and(|until| until <= now) {
                listener.resting_until = None;
                let _ = self
                    .poll
                    .change(&listener.socket, listener.tag, Interest::READ);
            }
        }
    }

    fn forget(&mut self, remote: SocketAddr, key: Key) {
        if self.by_remote.get(&remote) == Some(&key) {
            self.by_remote.remove(&remote);
        }
    }

    /// Drops a stream, which closes it, and tells whoever waits for what was to leave on it.
    fn remove(&mut self, key: Key, error: SendError) {
        let Some(stream) = self.table.remove(key) else {
            return;
        };
        self.forget(stream.flow.remote, key);
        self.deadlines.remove(&(stream.armed, key));
        self.around.open_count.fetch_sub(1, Ordering::Relaxed);
        if let Some(conn) = stream.flow.conn.filter(|_| !stream.is_connecting) {
            self.forget_aliases(conn);
            self.notices.push(Notice::Closed(conn));
        }
        let failed = stream.queue.into_askers();
        self.notices
            .extend(failed.map(|asker| Notice::Failed(asker, error)));
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.iter().all(|(_, stream)| stream.queue.is_empty())
    }
}

/// Has the kernel find out when the peer is gone.
fn keep_alive(socket: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if !options.keepalive {
        return socket.set_keepalive(false);
    }
    let time = |d: Duration| std::time::Duration::from_nanos(d.as_nanos());
    let mut wanted = TcpKeepalive::new();
    if let Some(idle) = options.keep_idle {
        wanted = wanted.with_time(time(idle));
    }
    if let Some(interval) = options.keep_interval {
        wanted = wanted.with_interval(time(interval));
    }
    if let Some(count) = options.keep_count {
        wanted = wanted.with_retries(count);
    }
    socket.set_tcp_keepalive(&wanted)
}

/// A socket that is connecting.
fn begin_connect(
    local: SocketAddr,
    remote: SocketAddr,
    options: &TcpOptions,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    if let Some(tos) = options.tos.filter(|_| remote.is_ipv4()) {
        socket.set_tos_v4(tos.into())?;
    }
    // The port is shared with the listening socket as long as this is still the same user.
    let is_bound = options.reuse_port
        && socket.set_reuse_port(true).is_ok()
        && socket.bind(&local.into()).is_ok();
    if !is_bound && !local.ip().is_unspecified() {
        socket.bind(&SocketAddr::new(local.ip(), 0).into())?;
    }
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(e) => return Err(e),
    }
    Ok(socket.into())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Whether the process or the system has no descriptor or memory left for another connection.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

#[cfg(test)]
mod tests;
