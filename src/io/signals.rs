//! What stops the process or makes it speak: signals, and cores that end.
//!
//! SIGTERM and SIGINT drain and then stop; a second one stops at once. SIGHUP reloads, SIGUSR1
//! writes the counters to the log. SIGPIPE is ignored by the language's own start-up. A thread
//! waits for signals and turns them into values; nothing runs in a signal handler.

use std::io;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use tokio::sync::oneshot;

use super::error::IoError;
use super::plan::ReloadError;
use crate::steer::ShardId;

/// What the thread that called [`super::run`] hears of.
#[derive(Debug)]
pub(crate) enum Event {
    /// Drain, then stop; the second time, stop.
    Stop,
    /// Read the configuration again, and tell whoever asked what came of it.
    Reload(Option<oneshot::Sender<Result<(), ReloadError>>>),
    /// Write the counters to the log.
    Report,
    /// This core has drained.
    Idle(ShardId),
    /// This core has ended.
    Ended(ShardId),
}

/// Stops a running proxy as SIGTERM does: it drains, then [`super::run`] returns.
#[derive(Clone, Debug)]
pub struct Stopper {
    events: Sender<Event>,
}

impl Stopper {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Stopper { events }
    }

    /// Asks once; asking again stops without waiting. Nothing happens when nothing runs.
    pub fn stop(&self) {
        let _ = self.events.send(Event::Stop);
    }
}

/// The thread that waits for signals; dropping it gives the signals back to nobody and ends it.
pub(crate) struct Watch {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(events: Sender<Event>) -> Result<Watch, IoError> {
        let failed = |error: io::Error| IoError::Start {
            what: "watch for signals",
            error,
        };
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(failed)?;
        let handle = signals.handle();
        let thread = thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    let event = match signal {
                        SIGHUP => Event::Reload(None),
                        SIGUSR1 => Event::Report,
                        _ => Event::Stop,
                    };
                    if events.send(event).is_err() {
                        break;
                    }
                }
            })
            .map_err(failed)?;
        Ok(Watch {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
