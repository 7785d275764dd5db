//! The thread beside the cores: an ordinary async runtime for what is not call processing.
//!
//! It resolves names: questions come over a bounded queue, answers go back into the mesh of the
//! core that asked; each question is a task of its own, so a slow server delays nobody else.
//!
//! And it serves operators:
//!
//! ```text
//!   listen.rs    opens and removes the sockets       clients.rs   how many there are, who goes
//!   stream.rs    unix streams and TCP                clerk.rs     a command: ask, fold, answer
//!   datagram.rs  unix datagrams and UDP              sheet.rs     an answer as it is written
//!   pipe.rs      a pair of pipes                     spool.rs     answers longer than memory
//!   http.rs      connections that cores lend         outlet.rs    answers that leave in pieces
//!   script.rs    commands that scripts give
//!   facts.rs     what the system knows of the process
//! ```

pub(crate) mod clerk;
mod clients;
mod facts;
mod http;
pub(crate) mod listen;
mod outlet;
mod pipe;
mod sheet;
mod spool;
mod stream;
mod datagram;
mod script;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::LocalSet;

use clerk::Office;
use listen::Opened;

use super::dns::{Names, Reach};
use super::error::IoError;
use super::mesh::{Control, Item};
use super::plan::DnsOptions;
use super::sys;
use super::tcp::Lent;
use crate::effect::{Lookup, Query, ResolveError, Token};
use crate::limits::{RESOLVE_COUNT_MAX, RESOLVE_TIMEOUT, RPC_CLIENT_COUNT_MAX};
use crate::rng::Rng;
use crate::slab::Key;
use crate::steer::ShardId;

/// A name to resolve and who wants to know.
struct Question {
    core: ShardId,
    token: Token,
    wanted: Wanted,
}

/// What is wanted of a name.
pub(crate) enum Wanted {
    /// Where a request goes (RFC 3263).
    Hops(Query),
    /// Records for a script.
    Records(Box<Lookup>),
}

/// A core's way to the resolver.
#[derive(Clone)]
pub(crate) struct Resolver {
    questions: Sender<Question>,
}

impl Resolver {
    /// Asks; `false` when too many are waiting already.
    pub(crate) fn ask(&self, core: ShardId, token: Token, wanted: Wanted) -> bool {
        let question = Question {
            core,
            token,
            wanted,
        };
        self.questions.try_send(question).is_ok()
    }
}

/// A core's way to have a command answered that came over HTTP.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    lent: Sender<Lent>,
    orders: Sender<Order>,
}

/// A command that a script has given.
pub(crate) struct Order {
    /// The core on which it waits.
    pub(crate) core: ShardId,
    /// The script.
    pub(crate) run: Key,
    /// The command, JSON.
    pub(crate) command: Box<[u8]>,
}

impl Dispatcher {
    /// Lends a connection; it comes back at once when too many are lent.
    pub(crate) fn send(&self, lent: Lent) -> Result<(), Lent> {
        self.lent.try_send(lent).map_err(|error| match error {
            TrySendError::Full(lent) | TrySendError::Closed(lent) => lent,
        })
    }

    /// Has a command answered; false when too many wait already.
    pub(crate) fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// Starts the thread. It ends when the last [`Resolver`] is gone.
pub(crate) fn start(
    reach: Reach,
    options: DnsOptions,
    office: Office,
    listeners: Vec<Opened>,
) -> Result<(Resolver, Dispatcher), IoError> {
    let failed = || IoError::start("start the control thread");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed())?;
    let seed = sys::random().map_err(failed())?;
    let names = {
        let _guard = runtime.enter();
        Names::new(reach, options).map_err(|e| failed()(std::io::Error::other(e)))?
    };
    let (questions, queue) = mpsc::channel(RESOLVE_COUNT_MAX);
    let (lent, borrowed) = mpsc::channel(RPC_CLIENT_COUNT_MAX);
    let (orders, given) = mpsc::channel(RPC_CLIENT_COUNT_MAX);
    thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                let answers = office.mesh.clone();
                clerk::open(office, listeners, (borrowed, given));
                // When nobody can ask any more, everything else that runs here ends too.
                serve(names, Rng::new(seed), answers, queue).await;
            });
        })
        .map_err(failed())?;
    Ok((Resolver { questions }, Dispatcher { lent, orders }))
}

async fn serve(names: Names, mut rng: Rng, answers: Control, mut queue: Receiver<Question>) {
    let names = Arc::new(names);
    let in_flight = Rc::new(Cell::new(0usize));
    while let Some(Question {
        core,
        token,
        wanted,
    }) = queue.recv().await
    {
        if in_flight.get() >= RESOLVE_COUNT_MAX {
            let item = match wanted {
                Wanted::Hops(_) => Item::Resolved(token, Err(ResolveError::TimedOut)),
                Wanted::Records(_) => Item::Found(token, Err(ResolveError::TimedOut)),
            };
            answer(&answers, core, item);
            continue;
        }
        in_flight.set(in_flight.get() + 1);
        let (names, answers) = (names.clone(), answers.clone());
        let (mut rng, in_flight) = (rng.fork(), in_flight.clone());
        tokio::task::spawn_local(async move {
            let item = match wanted {
                Wanted::Hops(query) => {
                    Item::Resolved(token, in_time(names.hops(&query, &mut rng)).await)
                }
                Wanted::Records(lookup) => {
                    Item::Found(token, in_time(names.records_of(&lookup, &mut rng)).await)
                }
            };
            answer(&answers, core, item);
            in_flight.set(in_flight.get() - 1);
        });
    }
}

/// The outcome, or that it took too long.
async fn in_time<T>(
    work: impl Future<Output = Result<T, ResolveError>>,
) -> Result<T, ResolveError> {
    let limit = std::time::Duration::from_nanos(RESOLVE_TIMEOUT.as_nanos());
    let found = tokio::time::timeout(limit, work).await;
    found.unwrap_or(Err(ResolveError::TimedOut))
}

fn answer(answers: &Control, core: ShardId, item: Item) {
    // A core whose queue is full of answers has more to do than it can; the script that waits for
    // this one ends by its own timer.
    let _ = answers.post(core, item);
}
