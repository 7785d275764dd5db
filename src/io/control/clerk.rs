//! One command from its name to its answer: whom to ask, slice by slice, and how the answers
//! become one.
//!
//! Shards are asked one after another and the next slice only when the last one is written, so an
//! answer holds one slice in memory whatever the size of the tables, and its order is the same
//! every time. What a shard still has to answer when the client has gone is at most one slice.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};
use tokio::time::timeout;

use super::clients::Clients;
use super::listen::{Opened, Socket};
use super::outlet::Outlet;
use super::sheet::{Form, Reply, Sheet};
use super::{Order, datagram, facts, http, pipe, script, stream};
use crate::effect::Level;
use crate::effect::rpc::{Cursor, Fault, Part, RpcId, Value};
use crate::io::clock::Clock;
use crate::io::log::Log;
use crate::io::mesh::{Asked, Control, Item};
use crate::io::plan::{Language, Reload, ReloadError};
use crate::io::signals::Event;
use crate::io::tcp::Lent;
use crate::limits::{
    RPC_CLIENT_COUNT_MAX, RPC_COMMAND_COUNT_MAX, RPC_RELOAD_TIMEOUT, RPC_SHARD_TIMEOUT,
    RPC_SLICE_ITEM_COUNT_FIRST, RPC_SLICE_ITEM_COUNT_MAX, RPC_SLICE_TIME,
};
use crate::modules::rpc::command::{self, Command, Figures, Fold, Run, Shards, Stop, Whom};
use crate::modules::rpc::json::Style;
use crate::modules::rpc::statistic::Baseline;
use crate::modules::rpc::{Args, Container, Desk, Facts, Question, Request, fold, json};
use crate::shard::{Input, Setup};
use crate::steer::ShardId;

/// What the control thread needs of the rest of the process.
#[derive(Clone)]
pub(crate) struct Office {
    /// The configuration that runs; `None`: operators see nothing.
    pub(crate) setup: watch::Sender<Option<Arc<Setup>>>,
    /// The way to the shards.
    pub(crate) mesh: Control,
    pub(crate) core_count: u16,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    /// The way to the thread that reloads.
    pub(crate) events: Sender<Event>,
    /// SIP streams that are open.
    pub(crate) open_count: Arc<AtomicUsize>,
}

impl Office {
    /// Operators see the new configuration from now on.
    pub(crate) fn reloaded(&self, reload: &Reload) {
        if let Input::Reload(setup) = reload() {
            self.setup.send_replace(Some(setup));
        }
    }
}

/// Serves every place that is open, and what cores bring that came over HTTP.
pub(crate) fn open(
    office: Office,
    places: Vec<Opened>,
    (lent, orders): (Receiver<Lent>, Receiver<Order>),
) {
    let listeners = places.iter().map(|opened| {
        let name = match opened.language {
            Language::Json { .. } => "jsonrpc",
            Language::Binary { .. } => "binrpc",
        };
        let [transport, address, port] = opened.place.words();
        [name.to_owned(), transport, address, port]
    });
    let clerk = Rc::new(Clerk {
        listeners: listeners.collect(),
        office,
        baseline: RefCell::default(),
        commands: Semaphore::new(RPC_COMMAND_COUNT_MAX),
        next_id: Cell::new(0),
        clients: Clients::new(RPC_CLIENT_COUNT_MAX),
    });
    tokio::task::spawn_local(http::serve(clerk.clone(), lent));
    tokio::task::spawn_local(script::serve(clerk.clone(), orders));
    for opened in places {
        if opened.place.is_remote() {
            clerk.office.log.say(Level::Warn, || {
                format!(
                    "operators are served on {}: whoever reaches it, commands",
                    opened.place
                )
            });
        }
        let (clerk, language) = (clerk.clone(), opened.language);
        match opened.socket {
            Socket::UnixStream(socket) => stream::serve_unix(clerk, socket, language),
            Socket::Tcp(socket) => stream::serve_tcp(clerk, socket, language),
            Socket::UnixDatagram(socket) => datagram::serve_unix(clerk, socket, language),
            Socket::Udp(socket) => datagram::serve_udp(clerk, socket, language),
            Socket::Pipe { path, reply_dir } => pipe::serve(clerk, path, reply_dir, language),
        }
    }
}

/// Answers commands.
pub(crate) struct Clerk {
    pub(crate) office: Office,
    pub(crate) clients: Clients,
    listeners: Vec<[String; 4]>,
    baseline: RefCell<Baseline>,
    commands: Semaphore,
    next_id: Cell<u64>,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asking {
    /// The command; `None`: nothing that could be one.
    pub(crate) method: Option<Box<[u8]>>,
    /// Whether it can be done with these parameters; otherwise it is not, and says nothing.
    pub(crate) is_callable: bool,
    pub(crate) args: Args,
    pub(crate) form: Form,
}

impl Clerk {
    /// Writes to the log.
    pub(crate) fn log(&self, level: Level, text: impl FnOnce() -> String) {
        self.office.log.say(level, text);
    }

    /// Whether JSON is indented where no socket says so.
    pub(crate) fn is_pretty(&self) -> bool {
        let setup = self.office.setup.borrow();
        setup.as_ref().is_some_and(|s| s.config.jsonrpcs.is_pretty)
    }

    /// How long a client of datagrams is offered its answer.
    pub(crate) fn datagram_timeout(&self) -> Duration {
        let setup = self.office.setup.borrow();
        let limit = setup.as_ref().map(|s| s.config.jsonrpcs.dgram_timeout);
        Duration::from_nanos(limit.unwrap_or_default().as_nanos())
    }

    /// The answer to a command.
    pub(crate) async fn answer(&self, asking: Asking) -> Reply {
        let form = asking.form.clone();
        let composed = self.compose(asking, None).await;
        let answered = composed.and_then(|sheet| sheet.finish().map_err(Failure::Io));
        answered.unwrap_or_else(|failure| form.fault(&self.fault_of(failure)))
    }

    /// The answer to a command, and the fault if it is one.
    pub(crate) async fn outcome(&self, asking: Asking) -> (Reply, Option<Fault>) {
        let form = asking.form.clone();
        let composed = self.compose(asking, None).await;
        match composed.and_then(|sheet| sheet.finish().map_err(Failure::Io)) {
            Ok(reply) => (reply, None),
            Err(failure) => {
                let fault = self.fault_of(failure);
                (form.fault(&fault), Some(fault))
            }
        }
    }

    /// The same on a stream, in pieces while it comes about. An error: the answer is not whole.
    pub(crate) async fn answer_on(
        &self,
        asking: Asking,
        outlet: &mut Outlet<'_>,
    ) -> io::Result<()> {
        let form = asking.form.clone();
        let composed = self.compose(asking, Some(outlet)).await;
        match composed.and_then(|sheet| sheet.finish().map_err(Failure::Io)) {
            Ok(reply) => outlet.end(reply).await,
            Err(failure) if outlet.has_begun() => {
                let fault = self.fault_of(failure);
                Err(io::Error::other(fault.text))
            }
            Err(failure) => {
                let fault = self.fault_of(failure);
                outlet.fault(&fault, form.fault(&fault)).await
            }
        }
    }

    fn fault_of(&self, failure: Failure) -> Fault {
        match failure {
            Failure::Stop(Stop::Fault(fault)) => fault,
            Failure::Stop(Stop::Silent) => Fault::new(500, "no answer"),
            Failure::Io(error) => {
                self.log(Level::Err, || format!("an answer is lost: {error}"));
                Fault::new(500, "the answer could not be kept")
            }
        }
    }

    /// Writes the answer; with an outlet it begins to leave meanwhile.
    async fn compose(
        &self,
        asking: Asking,
        outlet: Option<&mut Outlet<'_>>,
    ) -> Result<Sheet, Failure> {
        let Asking {
            method,
            is_callable,
            args,
            form,
        } = asking;
        // The semaphore is never closed.
        let turn = self.commands.acquire().await.ok();
        let Some(setup) = self.office.setup.borrow().clone() else {
            return Err(Fault::new(500, "no configuration").into());
        };
        let Some(name) = method.as_deref() else {
            // Not even a request: an empty success, as the original has it.
            return Ok(Sheet::new(form, Container::Last));
        };
        let Some(command) = command::find(&setup, name) else {
            return Err(unknown(name, &form).into());
        };
        if !is_callable {
            return Ok(Sheet::new(form, command.container));
        }
        let job = Job {
            clerk: self,
            setup,
            command,
            args: Arc::new(args),
            item_count: Cell::new(RPC_SLICE_ITEM_COUNT_FIRST),
            turn: Cell::new(turn),
        };
        let mut sheet = Sheet::new(form, command.container);
        match job.run(&mut sheet, outlet).await {
            Ok(()) | Err(Failure::Stop(Stop::Silent)) => Ok(sheet),
            Err(failure) => Err(failure),
        }
    }

    fn look(&self) -> Facts {
        let setup = self.office.setup.borrow().clone();
        let path = setup.map(|setup| setup.config.cfgutils.hash_file.clone());
        let path = path.filter(|path| !path.is_empty());
        Facts {
            hash_file: path.and_then(|path| std::fs::read(&*path).ok()),
            listeners: self.listeners.clone(),
            client_count: self.clients.count() as u64,
            stream_count: self.office.open_count.load(Ordering::Relaxed) as u64,
            ..facts::look()
        }
    }
}

fn unknown(name: &[u8], form: &Form) -> Fault {
    match form {
        Form::Binary { .. } => {
            let name = String::from_utf8_lossy(name);
            Fault::new(500, format!("command {name} not found"))
        }
        Form::Json { .. } => json::unknown(),
    }
}

/// Why a command has no answer.
#[derive(Debug)]
enum Failure {
    /// It says so itself.
    Stop(Stop),
    /// There is no room for the answer.
    Io(io::Error),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        Failure::Stop(stop)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Stop(Stop::Fault(fault))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// One command at work.
struct Job<'a> {
    clerk: &'a Clerk,
    setup: Arc<Setup>,
    command: &'static Command,
    args: Arc<Args>,
    /// Items of the next slice.
    item_count: Cell<usize>,
    /// The right to be at work, given up while a client reads.
    turn: Cell<Option<SemaphorePermit<'a>>>,
}

/// A listing on its way through the shards.
struct Walk<A> {
    shards: A,
    /// Which one is asked, and from where on.
    at: Option<(ShardId, Cursor)>,
    /// How many values may still come.
    left: usize,
}

impl<A: Iterator<Item = ShardId>> Walk<A> {
    fn new(mut shards: A, limit: Option<usize>) -> Self {
        let at = shards.next().map(|shard| (shard, Cursor::default()));
        Walk {
            shards,
            at,
            left: limit.unwrap_or(usize::MAX),
        }
    }

    /// The values of the next slice.
    async fn next(&mut self, job: &Job<'_>) -> Result<Option<Vec<Value>>, Failure> {
        let Some((shard, from)) = self.at.filter(|_| self.left > 0) else {
            return Ok(None);
        };
        let part = job.ask(shard, from).await?;
        let mut values = part.values?;
        values.truncate(self.left);
        self.left -= values.len();
        let next = || self.shards.next().map(|shard| (shard, Cursor::default()));
        self.at = part.next.map(|cursor| (shard, cursor)).or_else(next);
        Ok(Some(values))
    }
}

impl Job<'_> {
    async fn run(&self, sheet: &mut Sheet, outlet: Option<&mut Outlet<'_>>) -> Result<(), Failure> {
        let values = match self.command.run {
            Run::Here(run) => self.at_desk(|desk| run(desk, &self.args))?,
            Run::Shards(shards) => return self.ask_shards(shards, sheet, outlet).await,
            Run::Change(change) => {
                let (setup, values) = change(&self.setup, &self.args)?;
                if let Some(setup) = setup {
                    self.change(setup);
                }
                values
            }
            Run::Cores(make) => make(&self.figures().await?),
            Run::Reload(said) => self.reload(said).await?,
        };
        add_all(sheet, values)
    }

    fn at_desk<T>(&self, work: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        let mut baseline = self.clerk.baseline.borrow_mut();
        work(&mut Desk {
            setup: &self.setup,
            now: self.clerk.office.clock.now().wall,
            baseline: &mut baseline,
            look: &|| self.clerk.look(),
        })
    }

    async fn ask_shards(
        &self,
        shards: Shards,
        sheet: &mut Sheet,
        outlet: Option<&mut Outlet<'_>>,
    ) -> Result<(), Failure> {
        let whom = self.at_desk(|desk| (shards.whom)(desk, &self.args))?;
        let asked = match whom {
            Whom::One(shard) => shard.0..shard.0 + 1,
            Whom::All => 0..self.clerk.office.core_count,
            Whom::From(shard) => shard.0..self.clerk.office.core_count,
        };
        let asked = asked.map(ShardId);
        match shards.fold {
            Fold::List(limit) => {
                let walk = Walk::new(asked, limit(&self.args));
                self.list(walk, sheet, outlet).await
            }
            Fold::ListOr(limit, fault) => {
                let walk = Walk::new(asked, limit(&self.args));
                self.list(walk, sheet, outlet).await?;
                if sheet.count() == 0 {
                    Err(fault().into())
                } else {
                    Ok(())
                }
            }
            Fold::File => self.list_to_file(asked).await,
            Fold::First => {
                let values = self.first(asked).await?;
                add_all(sheet, values)
            }
            Fold::Each => {
                let values = self.each(asked).await?;
                add_all(sheet, values)
            }
            Fold::Sum => {
                let sums = self.sums(asked).await?;
                add_all(sheet, sums)
            }
            Fold::SumThen(make) => {
                let sums = self.sums(asked).await?;
                add_all(sheet, self.at_desk(|desk| make(desk, &self.args, sums))?)
            }
        }
    }

    async fn list(
        &self,
        mut walk: Walk<impl Iterator<Item = ShardId>>,
        sheet: &mut Sheet,
        mut outlet: Option<&mut Outlet<'_>>,
    ) -> Result<(), Failure> {
        while let Some(values) = walk.next(self).await? {
            add_all(sheet, values)?;
            if let Some(outlet) = &mut outlet
                && let Some(piece) = sheet.take_full()
            {
                // While this client reads, others may command.
                self.turn.set(None);
                outlet.more(piece).await?;
                self.turn.set(self.clerk.commands.acquire().await.ok());
            }
        }
        Ok(())
    }

    async fn list_to_file(&self, asked: impl Iterator<Item = ShardId>) -> Result<(), Failure> {
        let path = self.args.word(0).map_err(Stop::from)?;
        // The original reports success when it cannot open the file; an operator would look for
        // it in vain.
        let mut file = open_to_append(&path)
            .map_err(|error| Fault::new(500, format!("Cannot open the file: {error}")))?;
        let (mut walk, mut lines) = (Walk::new(asked, None), Vec::new());
        while let Some(values) = walk.next(self).await? {
            lines.clear();
            for value in values {
                Style { is_pretty: false }.put(&mut lines, &value, 0);
                lines.push(b'\n');
            }
            file.write_all(&lines)?;
        }
        Ok(())
    }

    async fn first(&self, asked: impl Iterator<Item = ShardId>) -> Result<Vec<Value>, Failure> {
        let mut last = Ok(Vec::new());
        for shard in asked {
            last = self.ask(shard, Cursor::default()).await?.values;
            // What knows nothing of it says 404; whatever else is said, the one that does says.
            if last
                .as_ref()
                .map_or_else(|fault| fault.code != 404, |_| true)
            {
                break;
            }
        }
        Ok(last?)
    }

    async fn each(&self, asked: impl Iterator<Item = ShardId>) -> Result<Vec<Value>, Failure> {
        let mut first = None;
        for shard in asked {
            let values = self.ask(shard, Cursor::default()).await?.values?;
            first.get_or_insert(values);
        }
        Ok(first.unwrap_or_default())
    }

    async fn sums(&self, asked: impl Iterator<Item = ShardId>) -> Result<Vec<Value>, Failure> {
        let mut sums = Vec::new();
        for shard in asked {
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                let part = self.ask(shard, from).await?;
                fold::add(&mut sums, part.values?);
                cursor = part.next;
            }
        }
        Ok(sums)
    }

    /// One question to one shard.
    async fn ask(&self, shard: ShardId, cursor: Cursor) -> Result<Part, Fault> {
        let clerk = self.clerk;
        let id = RpcId(clerk.next_id.get());
        clerk.next_id.set(id.0 + 1);
        let request = Arc::new(Request {
            command: self.command,
            args: self.args.clone(),
        });
        let item_count = self.item_count.get();
        let question = Question {
            id,
            request,
            cursor,
            item_count,
        };
        let ask = |reply| Item::Ask(Box::new(Asked { question, reply }));
        let (part, time) = self.post(shard, ask).await?;
        self.item_count.set(next_item_count(item_count, time));
        Ok(part)
    }

    /// Sends something to a core that answers.
    async fn post<T>(
        &self,
        shard: ShardId,
        make: impl FnOnce(oneshot::Sender<T>) -> Item,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let busy = || Fault::new(503, format!("core {shard} is too busy to answer"));
        self.clerk
            .office
            .mesh
            .post(shard, make(reply))
            .map_err(|_| busy())?;
        let limit = Duration::from_nanos(RPC_SHARD_TIMEOUT.as_nanos());
        match timeout(limit, answer).await {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(_)) => Err(Fault::new(503, format!("core {shard} has ended"))),
            Err(_) => Err(busy()),
        }
    }

    async fn figures(&self) -> Result<Vec<(ShardId, Figures)>, Fault> {
        let mut all = Vec::new();
        for shard in (0..self.clerk.office.core_count).map(ShardId) {
            all.push((shard, self.post(shard, Item::Figures).await?));
        }
        Ok(all)
    }

    fn change(&self, setup: Setup) {
        let (office, setup) = (&self.clerk.office, Arc::new(setup));
        office.setup.send_replace(Some(setup.clone()));
        let reload: Reload = Arc::new(move || Input::Reload(Arc::clone(&setup)));
        office.mesh.post_all(|| Item::Reload(reload.clone()));
    }

    async fn reload(&self, said: &'static str) -> Result<Vec<Value>, Fault> {
        let (tell, told) = oneshot::channel();
        let ending = || Fault::new(503, "the process is ending");
        self.clerk
            .office
            .events
            .send(Event::Reload(Some(tell)))
            .map_err(|_| ending())?;
        let limit = Duration::from_nanos(RPC_RELOAD_TIMEOUT.as_nanos());
        match timeout(limit, told).await {
            Ok(Ok(Ok(()))) => Ok(vec![Value::text(said)]),
            Ok(Ok(Err(ReloadError(words)))) => Err(Fault::new(500, String::from(words))),
            Ok(Err(_)) => Err(Fault::new(500, "there is nothing to read anew")),
            Err(_) => Err(Fault::new(503, "the configuration is still being read")),
        }
    }
}

fn add_all(sheet: &mut Sheet, values: Vec<Value>) -> Result<(), Failure> {
    values
        .into_iter()
        .try_for_each(|value| sheet.add(value))
        .map_err(Failure::Io)
}

/// How many items the next slice may have when this many took this long: half of it when that was
/// too long, a quarter more when there was room.
fn next_item_count(count: usize, time: crate::time::Duration) -> usize {
    if time > RPC_SLICE_TIME {
        return (count / 2).max(1);
    }
    (count + count / 4 + 1).min(RPC_SLICE_ITEM_COUNT_MAX)
}

fn open_to_append(path: &[u8]) -> io::Result<File> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    OpenOptions::new().append(true).create(true).open(path)
}
