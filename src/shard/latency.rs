//! What is written about scripts that take long. A script takes no time but for what it waits
//! for, so only what waits is measured.

use crate::effect::Level;
use crate::modules::{Env, function};
use crate::time::{Duration, Instant};

use super::run::{Run, Then};
use super::{Shard, Step};

impl Shard {
    /// An action has waited since `since`: it is named when that was too long.
    pub(super) fn action_waited(&mut self, step: &mut Step<'_>, run: &Run, since: Instant) {
        let latency = &self.state.setup.config.core.latency;
        let (level, took) = (latency.action_level, step.now.mono.since(since));
        if latency.action.is_none_or(|limit| took < limit) {
            return;
        }
        let Some(site) = run.vm.waits_at(&run.program) else {
            return;
        };
        let name = function(site.function).sig.name;
        let (file, line) = (run.program.file(site.at), site.at.line);
        write(&mut self.env(step), level, took, || {
            format!("action {name}() in {file}, line {line},")
        });
    }

    /// The script of a message is about to end.
    pub(super) fn script_took(&mut self, step: &mut Step<'_>, run: &Run) {
        let latency = &self.state.setup.config.core.latency;
        let (level, limit) = (latency.script_level, latency.script);
        let name = match &run.then[..] {
            [Then::Request] => "request_route",
            [Then::CoreReply | Then::StrayReply] => "reply_route",
            [Then::Reply(_)] => "onreply_route",
            _ => return,
        };
        let took = run
            .began
            .map_or(Duration::ZERO, |began| step.now.mono.since(began));
        if took > Duration::ZERO && took >= limit {
            write(&mut self.env(step), level, took, || name.to_owned());
        }
    }
}

fn write(env: &mut Env<'_>, level: Level, took: Duration, what: impl FnOnce() -> String) {
    if level <= env.state.log_level() {
        env.log(level, format!("{} took {} us", what(), took.as_micros()));
    }
}
