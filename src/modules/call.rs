//! What a script sees of the shard while it runs: the host of the language.

use std::fmt;
use std::sync::Arc;

use crate::effect::{Effect, Level, Record};
use crate::script::calendar::Zone;
use crate::script::{Access, CallSite, Heap, Host, Keyword, Outcome, Program, Value, WriteError};

use super::state::Env;
use super::work::{Ask, Work};
use super::{core, function, variable};

/// One step of a script: the message, the script itself, and what the step may touch.
#[derive(Debug)]
pub struct Call<'a> {
    /// State, time and outbox.
    pub env: Env<'a>,
    /// The message and what has been decided about it.
    pub work: &'a mut Work,
    /// The script that runs.
    pub program: &'a Arc<Program>,
}

impl Host for Call<'_> {
    fn read(&mut self, heap: &mut Heap, access: &Access<'_>) -> Value {
        (variable(access.variable).get)(self, heap, access)
    }

    fn write(
        &mut self,
        heap: &mut Heap,
        access: &Access<'_>,
        value: Value,
    ) -> Result<(), WriteError> {
        match variable(access.variable).set {
            Some(set) => set(self, heap, access, value),
            None => Err(WriteError::NotHere),
        }
    }

    fn call(&mut self, heap: &mut Heap, site: &CallSite) -> Outcome {
        match (function(site.function).run)(self, heap, site) {
            // Event routes of dialogs run before the script goes on.
            Outcome::Return(code) if !self.env.state.dialogs.happenings.is_empty() => {
                self.ask(Ask::Dialogs(code))
            }
            outcome => outcome,
        }
    }

    fn keyword(&mut self, heap: &mut Heap, keyword: Keyword) -> Value {
        core::keyword(self, heap, keyword)
    }

    fn is_myself(&mut self, heap: &mut Heap, subject: Keyword) -> bool {
        core::is_myself(self, heap, subject)
    }

    fn zone(&self) -> &Zone {
        &self.env.state.setup.config.zone
    }

    fn log(&mut self, level: Level, text: fmt::Arguments<'_>) {
        if level <= self.env.state.log_level() {
            let record = Record {
                prefix: self.work.log_prefix.clone().unwrap_or_default(),
                ..Record::own(level, text.to_string())
            };
            self.env.out.push(Effect::Log(record));
        }
    }
}

impl Call<'_> {
    /// Writes a line of the script's own to the log, if the level is wanted.
    pub fn log_script(&mut self, level: Level, text: String) {
        let record = Record::own(level, text);
        self.log_script_record(record);
    }

    /// The same with a mark or a facility of its own.
    pub fn log_script_record(&mut self, record: Record) {
        if record.level <= self.env.state.log_level() {
            let record = Record {
                from_script: true,
                prefix: self.work.log_prefix.clone().unwrap_or_default(),
                ..record
            };
            self.env.out.push(Effect::Log(record));
        }
    }

    /// With `log_prefix_mode` 1 the prefix is made anew for each line.
    pub fn renew_log_prefix(&mut self, heap: &mut Heap) {
        if self.env.state.setup.config.log.prefix_each_action {
            let program = Arc::clone(self.program);
            self.work.log_prefix = program.log_prefix(self, heap);
        }
    }

    /// Asks the shard for something that may take time; the script goes on with its result.
    pub fn ask(&mut self, ask: Ask) -> Outcome {
        self.work.ask = Some(ask);
        Outcome::Wait
    }
}
