//! The runtime: the only code that knows the kernel, the clock and the executor.
//!
//! ```text
//!   plan.rs      what to do: plain data             sockets.rs   open everything, say what fails
//!   driver.rs    one core: wait, handle, perform    door.rs      the way of a message to its shard
//!   tcp.rs       the streams of a core              stream.rs    one stream
//!   admission.rs which new calls it takes           udp.rs       datagrams by the batch
//!   pace.rs      when a core wakes                  control.rs   the thread beside the cores
//!   wait_set.rs  what wakes it                      mesh.rs      ordered channels between cores
//!   dns.rs       RFC 3263                           log.rs       a thread that writes
//!   signals.rs   what stops it                      process.rs   pid file, user, directory
//!   counters.rs  what a core counts                 clock.rs     both clocks
//!   sys.rs, sys/ system calls, most `unsafe`        error.rs     why it cannot start
//!   steering/    the kernel program that brings datagrams to the core that owns their call
//! ```
//!
//! Each core is a glommio executor pinned to its CPU that owns one shard, its sockets and its
//! streams; nothing of these is shared. The thread that calls [`run`] waits for signals.

pub mod plan;
pub mod error;
pub mod counters;
pub mod process;
pub mod signals;
pub mod sockets;
pub mod steering;
mod admission;
mod clock;
mod control;
mod dns;
mod door;
mod driver;
mod log;
mod mesh;
mod pace;
mod stream;
mod sys;
mod tcp;
mod udp;
mod wait_set;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use glommio::{CpuSet, LocalExecutorBuilder, Placement};
use tokio::sync::{oneshot, watch};

pub use error::IoError;
pub use plan::{
    ControlSocket, DnsOptions, Language, LogOptions, Plan, Reload, ReloadError, ReloadFn,
    TcpOptions, UdpOptions,
};
pub use signals::Stopper;
pub use sockets::Sockets;
pub use steering::Steering;

use crate::effect::{Address, Level};
use crate::rng::Rng;
use crate::shard::Shard;
use crate::steer::ShardId;
use clock::Clock;
use control::clerk::Office;
use control::listen::Listener;
use control::{Dispatcher, Resolver};
use driver::{Core, Outside};
use log::{Log, Writer};
use mesh::{Control, Item, Port};
use signals::{Event, Watch};
use sockets::CoreSockets;
use tcp::{Streams, Surroundings};
use wait_set::WaitSet;

/// Entries of each ring of an executor. Nothing of a core goes through them.
const RING_DEPTH: usize = 16;

/// How long an executor lets its task run before it wants its turn. The core is its only task, and
/// each turn would wake an idle process.
const PREEMPT_TIMER: Duration = Duration::from_secs(3_600);

/// How long a core may take to stop once it is told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What all cores have in common when they start.
struct Start {
    addresses: Arc<[Address]>,
    tcp: TcpOptions,
    round_max: crate::time::Duration,
    open_count: Arc<AtomicUsize>,
    clock: Clock,
    log: Log,
    resolver: Resolver,
    dispatcher: Dispatcher,
    events: Sender<Event>,
}

/// Runs one shard on each core until SIGTERM, SIGINT or a [`Stopper`] ends it: then shards take no
/// new work, what is in flight may finish within the drain timeout, and all cores stop.
pub fn run(
    plan: Plan,
    sockets: Sockets,
    make_shard: impl Fn(ShardId, u64) -> Shard + Clone + Send + 'static,
) -> Result<(), IoError> {
    let addresses: Arc<[Address]> = sockets.addresses().into();
    let core_count = sockets.shard_count();
    let Sockets {
        cpus,
        cores,
        steering,
        control: operators,
        events: (events, heard),
        ..
    } = sockets;
    let watch = Watch::start(events.clone())?;
    let (log, writer) = Writer::start(&plan.log, core_count)?;
    let (ports, control) = mesh::connect(core_count).map_err(IoError::start("join the cores"))?;
    let reach = dns::Reach::of(&addresses);
    let clock = Clock::start();
    let open_count: Arc<AtomicUsize> = Arc::default();
    let office = Office {
        setup: watch::Sender::new(plan.setup.clone()),
        mesh: control.clone(),
        core_count,
        clock,
        log: log.clone(),
        events: events.clone(),
        open_count: open_count.clone(),
    };
    // What was made in the file system goes when this function ends.
    let (listeners, _traces): (Vec<_>, Vec<_>) = operators.into_iter().map(Listener::split).unzip();
    let (resolver, dispatcher) =
        control::start(reach, plan.dns.clone(), office.clone(), listeners)?;
    let start = Start {
        addresses,
        tcp: plan.tcp.clone(),
        round_max: plan.round_max,
        open_count,
        clock,
        log: log.clone(),
        resolver,
        dispatcher,
        events,
    };
    for note in &plan.notes {
        log.say(Level::Warn, || note.clone());
    }
    sockets::log_buffers(&cores, &log);
    steering.log(&log);
    let mut running = BTreeSet::new();
    let mut outcome = Ok(());
    for ((cpu, sockets), port) in cpus.into_iter().zip(cores).zip(ports) {
        let id = port.id();
        match start.core(cpu, sockets, port, make_shard.clone()) {
            Ok(()) => drop(running.insert(id)),
            Err(e) => outcome = outcome.and(Err(e)),
        }
    }
    drop(start);
    let mut conductor = Conductor {
        plan: &plan,
        control,
        office,
        log: &log,
        heard,
        running,
    };
    outcome = outcome.and_then(|()| conductor.conduct());
    let stopped = conductor.stop();
    drop(conductor);
    drop(watch);
    drop(log);
    writer.finish();
    outcome.and(stopped)
}

impl Start {
    /// Starts one core on its CPU.
    fn core(
        &self,
        cpu: usize,
        sockets: CoreSockets,
        port: Port,
        make_shard: impl Fn(ShardId, u64) -> Shard + Send + 'static,
    ) -> Result<(), IoError> {
        let id = port.id();
        let seed = sys::random().map_err(IoError::start("draw a seed"))?;
        let around = Surroundings {
            id,
            core_count: port.core_count(),
            addresses: self.addresses.clone(),
            options: self.tcp.clone(),
            open_count: self.open_count.clone(),
        };
        let outside = Outside {
            clock: self.clock,
            log: self.log.of_core(id.0),
            resolver: self.resolver.clone(),
            dispatcher: self.dispatcher.clone(),
            events: self.events.clone(),
        };
        let farewell = Farewell {
            id,
            events: self.events.clone(),
        };
        let (log, round_max) = (self.log.of_core(id.0), self.round_max);
        let life = move || async move {
            let _farewell = farewell;
            core_affinity::set_for_current(CoreId { id: cpu });
            let mut rng = Rng::new(seed);
            let shard = make_shard(id, rng.next_u64());
            let built = WaitSet::new().and_then(|wait_set| {
                let streams = Streams::new(around, wait_set.urgent(), rng.hasher());
                let rounds = (round_max, rng.hasher());
                let mut core = Core::new(shard, port, (wait_set, streams), outside, rounds)?;
                core.listen(sockets)?;
                Ok(core)
            });
            let ended = match built {
                Ok(core) => core.run().await,
                Err(e) => Err(e),
            };
            if let Err(e) = ended {
                log.say(Level::Alert, || format!("core {id} cannot go on: {e}"));
            }
        };
        LocalExecutorBuilder::new(placement(cpu))
            .name("core")
            .ring_depth(RING_DEPTH)
            .io_memory(0)
            .preempt_timer(PREEMPT_TIMER)
            .spawn(life)
            .map(drop)
            .map_err(|e| IoError::Executor(id, std::io::Error::other(e.to_string())))
    }
}

/// The executor finds the CPU itself where it can see the machine; in a directory tree without
/// `/sys` its thread goes there by its own.
fn placement(cpu: usize) -> Placement {
    match CpuSet::online() {
        Ok(_) => Placement::Fixed(cpu),
        Err(_) => Placement::Unbound,
    }
}

/// Says that a core has ended, however it did.
struct Farewell {
    id: ShardId,
    events: Sender<Event>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more: then nobody waits for it.
        let _ = self.events.send(Event::Ended(self.id));
    }
}

/// The thread that waits for signals and tells the cores.
struct Conductor<'a> {
    plan: &'a Plan,
    control: Control,
    office: Office,
    log: &'a Log,
    heard: Receiver<Event>,
    running: BTreeSet<ShardId>,
}

impl Conductor<'_> {
    /// Until it is time to stop.
    fn conduct(&mut self) -> Result<(), IoError> {
        loop {
            match self.heard.recv() {
                Ok(Event::Stop) => return self.drain(),
                Ok(Event::Ended(core)) => return self.failed(core),
                Ok(event) => self.minor(event),
                // Cores and the signal thread hold the other end.
                Err(_) => return Ok(()),
            }
        }
    }

    fn minor(&self, event: Event) {
        match event {
            Event::Reload(asker) => self.reload(asker),
            Event::Report => self.control.post_all(|| Item::Report),
            Event::Stop | Event::Idle(_) | Event::Ended(_) => {}
        }
    }

    fn reload(&self, asker: Option<oneshot::Sender<Result<(), ReloadError>>>) {
        let Some(read) = &self.plan.reload else {
            return;
        };
        let outcome = read().map(|make| {
            self.office.reloaded(&make);
            self.control.post_all(|| Item::Reload(make.clone()));
        });
        if let Err(e) = &outcome {
            self.log
                .say(Level::Err, || format!("reload refused: {}", e.0));
        }
        if let Some(asker) = asker {
            // Whoever asked may have gone away.
            let _ = asker.send(outcome);
        }
    }

    /// A core that ends unasked is a defect of this program; its calls are lost, and a process
    /// that goes on without it would lose every call it owns.
    fn failed(&mut self, core: ShardId) -> Result<(), IoError> {
        self.running.remove(&core);
        Err(IoError::CoreFailed(core))
    }

    /// Waits until every core has finished its work, the time is over, or nobody wants to wait.
    fn drain(&mut self) -> Result<(), IoError> {
        let limit = Duration::from_nanos(self.plan.drain_timeout.as_nanos());
        let end = Instant::now() + limit;
        self.control.post_all(|| Item::Drain);
        let mut busy = self.running.clone();
        while !busy.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Event::Idle(core)) => drop(busy.remove(&core)),
                Ok(Event::Ended(core)) => return self.failed(core),
                Ok(Event::Stop) | Err(_) => break,
                Ok(event) => self.minor(event),
            }
        }
        Ok(())
    }

    /// Stops every core that still runs.
    fn stop(&mut self) -> Result<(), IoError> {
        self.control.post_all(|| Item::Stop);
        let end = Instant::now() + STOP_TIMEOUT;
        while let Some(core) = self.running.first().copied() {
            let left = end.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Event::Ended(core)) => drop(self.running.remove(&core)),
                Ok(_) => {}
                Err(_) => return Err(IoError::CoreStuck(core)),
            }
        }
        Ok(())
    }
}
