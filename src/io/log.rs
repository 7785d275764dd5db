//! The log: a bounded queue to one thread that writes.
//!
//! A core never waits for a terminal, a pipe or the system log: when the queue is full the record
//! is dropped and counted, and the writer says how many were once it has caught up. Lines look as
//! the original's do, ` <core>(<pid>) <LEVEL>: <script>: text`, because people search for them.
//! A script's text ends as it was written; the program's own ends its line.

use std::ffi::CString;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use super::error::IoError;
use super::plan::LogOptions;
use super::sys;
use crate::effect::{Colours, Facility, Level, Record};
use crate::limits::LOG_QUEUE_MAX;

/// How long the end of the process waits for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the facility stands in what syslog(3) takes.
const FACILITY_SHIFT: i32 = 3;

/// Bytes gathered before they are written.
const BUFFER_SIZE: usize = 64 << 10;

/// A record and the core it comes from.
struct Entry {
    core: u16,
    record: Record,
}

/// One core's way to the log.
#[derive(Clone)]
pub(crate) struct Log {
    core: u16,
    level: Level,
    entries: SyncSender<Entry>,
    drops: Arc<AtomicU64>,
}

impl Log {
    /// The same log for another core.
    pub(crate) fn of_core(&self, core: u16) -> Log {
        Log {
            core,
            ..self.clone()
        }
    }

    /// Writes a record unless its level is above the one that is written.
    pub(crate) fn write(&self, record: Record) {
        if record.level > self.level {
            return;
        }
        let core = self.core;
        if self.entries.try_send(Entry { core, record }).is_err() {
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a line of the program's own.
    pub(crate) fn say(&self, level: Level, text: impl FnOnce() -> String) {
        if level <= self.level {
            self.write(Record::own(level, text()));
        }
    }
}

/// The thread that writes. It ends when the last [`Log`] is gone.
pub(crate) struct Writer {
    done: Receiver<()>,
}

impl Writer {
    /// Starts the thread; `core` is the number under which the process itself speaks.
    pub(crate) fn start(options: &LogOptions, core: u16) -> Result<(Log, Writer), IoError> {
        let (entries, queue) = mpsc::sync_channel(LOG_QUEUE_MAX);
        let (finished, done) = mpsc::sync_channel(1);
        let drops = Arc::new(AtomicU64::new(0));
        let log = Log {
            core,
            level: options.level,
            entries,
            drops: drops.clone(),
        };
        let format = Format::new(options);
        let sink = Sink::open(options);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                write_all(&queue, &drops, &format, sink);
                let _ = finished.send(());
            })
            .map_err(IoError::start("start the log writer"))?;
        Ok((log, Writer { done }))
    }

    /// Waits for the last lines, but not for ever: nobody may be reading them.
    pub(crate) fn finish(self) {
        match self.done.recv_timeout(LAST_WORDS) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Where lines go.
enum Sink {
    Stderr,
    Syslog,
}

impl Sink {
    fn open(options: &LogOptions) -> Sink {
        if options.stderr {
            return Sink::Stderr;
        }
        // The C library keeps the pointer for as long as the process lives, so it is leaked, once.
        let name = CString::new(options.name.replace('\0', "")).unwrap_or_default();
        let facility = i32::from(options.facility.0) << FACILITY_SHIFT;
        sys::open_syslog(Box::leak(name.into_boxed_c_str()), facility);
        Sink::Syslog
    }

    fn put(&self, (level, facility): (Level, Option<Facility>), line: &[u8]) {
        match self {
            // A standard error that is closed or full of errors leaves nobody to tell.
            Sink::Stderr => drop(io::stderr().write_all(line)),
            Sink::Syslog => {
                let text: Vec<u8> = line.iter().copied().filter(|b| *b != 0).collect();
                if let Ok(text) = CString::new(text) {
                    let facility = facility.map_or(0, |f| i32::from(f.0) << FACILITY_SHIFT);
                    sys::write_syslog(priority(level) | facility, &text);
                }
            }
        }
    }
}

fn write_all(queue: &Receiver<Entry>, drops: &AtomicU64, format: &Format, sink: Sink) {
    let mut out = Vec::with_capacity(BUFFER_SIZE);
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(entry) = next {
            format.line(&mut out, entry.core, &entry.record);
            let is_alone = matches!(sink, Sink::Syslog);
            if is_alone || out.len() >= BUFFER_SIZE {
                sink.put((entry.record.level, entry.record.facility), &out);
                out.clear();
            }
            next = queue.try_recv().ok();
        }
        let dropped = drops.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            format.line(&mut out, 0, &drop_notice(dropped));
        }
        if !out.is_empty() {
            sink.put((Level::Warn, None), &out);
            out.clear();
        }
    }
}

fn drop_notice(count: u64) -> Record {
    let text = format!("log_drops: {count} records came faster than they could be written");
    Record::own(Level::Warn, text)
}

/// How a line looks.
struct Format {
    pid: u32,
    colour: bool,
    /// What levels have instead of their usual colours.
    colours: Colours,
    prefix: Box<str>,
}

impl Format {
    fn new(options: &LogOptions) -> Format {
        Format {
            pid: std::process::id(),
            colour: options.colour && options.stderr,
            colours: options.colours.clone(),
            prefix: options.prefix.clone(),
        }
    }

    fn line(&self, out: &mut Vec<u8>, core: u16, record: &Record) {
        let (on, off) = match (self.colour, self.colours.of(record.level)) {
            (true, Some(own)) => (own, "\x1b[0m"),
            (true, None) => (colour(record.level), "\x1b[0m"),
            (false, _) => ("", ""),
        };
        let (mark, end) = match record.from_script {
            true => (record.mark.as_deref().unwrap_or("<script>: "), ""),
            false => ("", "\n"),
        };
        let (pid, word) = (self.pid, record.level.word());
        let (own, prefix, text) = (&self.prefix, &record.prefix, &record.text);
        // Writing into memory cannot fail.
        let _ = write!(
            out,
            "{on}{core:2}({pid}) {word}: {own}{prefix}{mark}{text}{off}{end}"
        );
    }
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::Alert | Level::Bug | Level::Crit2 | Level::Crit => "\x1b[1;31m",
        Level::Err => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Notice => "\x1b[36m",
        Level::Info => "",
        Level::Dbg => "\x1b[2m",
    }
}

const fn priority(level: Level) -> i32 {
    match level {
        Level::Alert => libc::LOG_ALERT,
        Level::Bug | Level::Crit2 | Level::Crit => libc::LOG_CRIT,
        Level::Err => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Notice => libc::LOG_NOTICE,
        Level::Info => libc::LOG_INFO,
        Level::Dbg => libc::LOG_DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: Level, text: &str, from_script: bool) -> Record {
        Record {
            from_script,
            ..Record::own(level, text)
        }
    }

    #[test]
    fn lines_look_as_people_search_for_them() {
        let format = |colour, prefix: &str| Format {
            pid: 77,
            colour,
            colours: Colours::default(),
            prefix: prefix.into(),
        };
        let table = [
            (
                false,
                "",
                0,
                Level::Err,
                "call failed\n",
                true,
                " 0(77) ERROR: <script>: call failed\n",
            ),
            (
                false,
                "",
                3,
                Level::Info,
                "no end",
                true,
                " 3(77) INFO: <script>: no end",
            ),
            (
                false,
                "",
                12,
                Level::Warn,
                "odd",
                false,
                "12(77) WARNING: odd\n",
            ),
            (
                false,
                "A ",
                1,
                Level::Dbg,
                "x",
                true,
                " 1(77) DEBUG: A <script>: x",
            ),
            (
                true,
                "",
                1,
                Level::Err,
                "x",
                false,
                "\x1b[31m 1(77) ERROR: x\x1b[0m\n",
            ),
        ];
        for (colour, prefix, core, level, text, from_script, want) in table {
            let mut out = vec![];
            format(colour, prefix).line(&mut out, core, &record(level, text, from_script));
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }

    #[test]
    fn scripts_choose_colours_and_marks() {
        let mut colours = Colours::default();
        colours.set("L_ERR=cr;L_WARN=xg").unwrap();
        let format = Format {
            pid: 77,
            colour: true,
            colours,
            prefix: "".into(),
        };
        let mark = Some("-xlog: ".into());
        let mut out = vec![];
        format.line(
            &mut out,
            1,
            &Record {
                mark,
                ..record(Level::Err, "x", true)
            },
        );
        let want = "\x1b[0;36;41m 1(77) ERROR: -xlog: x\x1b[0m";
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let (entries, queue) = mpsc::sync_channel(2);
        let log = Log {
            core: 0,
            level: Level::Notice,
            entries,
            drops: Arc::default(),
        };
        log.say(Level::Info, || panic!("above the level: never made"));
        for _ in 0..5 {
            log.of_core(3).write(record(Level::Err, "x", false));
        }
        assert_eq!(log.drops.load(Ordering::Relaxed), 3);
        assert_eq!(
            queue.try_iter().map(|entry| entry.core).collect::<Vec<_>>(),
            [3, 3]
        );
    }
}
