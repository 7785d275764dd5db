//! What a command is: a row of its module's table.

use std::sync::Arc;

use crate::effect::rpc::{Cursor, Fault, Part, RpcId, Value};
use crate::limits::RPC_LOOKS_PER_ITEM;
use crate::modules::{Env, Setup, all};
use crate::steer::ShardId;

use super::args::Args;
use super::desk::Desk;

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// As an operator writes it.
    pub name: &'static str,
    /// What it does; `system.methodHelp` shows it.
    pub help: &'static str,
    /// Its parameters, optional ones in brackets; shown behind the help.
    pub params: &'static str,
    /// How JSON-RPC holds its values.
    pub container: Container,
    /// The code.
    pub run: Run,
}

impl Command {
    /// A command without parameters that is answered where it arrives; JSON-RPC gets the last of
    /// its values.
    pub(super) const fn here(
        name: &'static str,
        help: &'static str,
        run: fn(&mut Desk<'_>, &Args) -> Answer,
    ) -> Command {
        Command {
            name,
            help,
            params: "",
            container: Container::Last,
            run: Run::Here(run),
        }
    }
}

/// How JSON-RPC holds the values of an answer. Binary RPC writes them one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// The last one alone; without any, an empty object.
    Last,
    /// All, in an array.
    Array,
}

/// The code of a command.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Answered without asking a shard.
    Here(fn(&mut Desk<'_>, &Args) -> Answer),
    /// Answered by one shard or by all.
    Shards(Shards),
    /// Makes a new set of parameters, which goes to every shard; and its answer.
    Change(fn(&Setup, &Args) -> Changed),
    /// Figures of every core.
    Cores(fn(&[(ShardId, Figures)]) -> Vec<Value>),
    /// Reads the configuration anew, as SIGHUP does, and says this.
    Reload(&'static str),
}

/// Named counters of one core.
pub type Figures = Vec<(&'static str, u64)>;

/// Code that runs in shards.
#[derive(Clone, Copy, Debug)]
pub struct Shards {
    /// Looks at the parameters before anybody is asked, and says whom to ask.
    pub whom: fn(&Desk<'_>, &Args) -> Result<Whom, Stop>,
    /// What one shard answers from this place on.
    pub part: fn(&mut Env<'_>, &Args, Slice) -> Part,
    /// How the answers become one.
    pub fold: Fold,
}

/// Which slice of its answer a shard is to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// From where on.
    pub cursor: Cursor,
    /// How many items at the most.
    pub item_count: usize,
}

impl Slice {
    /// The place of a table at which the slice begins.
    pub fn place(self) -> usize {
        self.cursor.0 as usize
    }

    /// How many places of a table may be looked at: looking costs far less than showing.
    pub fn place_count(self) -> usize {
        self.item_count.saturating_mul(RPC_LOOKS_PER_ITEM)
    }
}

/// Which shards are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    /// The owner of a call.
    One(ShardId),
    /// All.
    All,
    /// This one and those behind it.
    From(ShardId),
}

/// How the answers of several shards become one.
#[derive(Clone, Copy, Debug)]
pub enum Fold {
    /// One list behind the other, up to a number of values. Streamed: the answer may be longer than
    /// memory.
    List(fn(&Args) -> Option<usize>),
    /// One list behind the other; a fault when it stays empty.
    ListOr(fn(&Args) -> Option<usize>, fn() -> Fault),
    /// Numbers at the same place are added.
    Sum,
    /// The first shard that knows of it: one that does not fail with 404.
    First,
    /// Every shard does it; the answer of the first one stands for all.
    Each,
    /// Numbers are added, then something is made of the sums.
    SumThen(fn(&mut Desk<'_>, &Args, Vec<Value>) -> Answer),
    /// One list behind the other, each value a line of a file named by the first parameter.
    File,
}

/// What becomes of the parameters: new ones, or the old ones; and what is said of it.
pub type Changed = Result<(Option<Setup>, Vec<Value>), Stop>;

/// What a command gives: values, or why not.
pub type Answer = Result<Vec<Value>, Stop>;

/// Why a command ends early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It failed.
    Fault(Fault),
    /// It has nothing to say.
    Silent,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// Shorthand for a fault that ends a command.
pub fn stop(code: i32, text: &'static str) -> Stop {
    Stop::Fault(Fault::new(code, text))
}

/// A command with its parameters, on its way to shards.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which one.
    pub command: &'static Command,
    /// With what.
    pub args: Arc<Args>,
}

/// A question to one shard.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its name.
    pub id: RpcId,
    /// What is asked.
    pub request: Arc<Request>,
    /// From where on.
    pub cursor: Cursor,
    /// How many items at the most: whoever has a clock sees to it that they take no millisecond.
    pub item_count: usize,
}

/// What a shard answers.
pub fn part(env: &mut Env<'_>, question: &Question) -> Part {
    let Request { command, args } = &*question.request;
    match command.run {
        Run::Shards(shards) => (shards.part)(
            env,
            args,
            Slice {
                cursor: question.cursor,
                item_count: question.item_count,
            },
        ),
        Run::Here(_) | Run::Change(_) | Run::Cores(_) | Run::Reload(_) => Part::whole(Vec::new()),
    }
}

/// The commands of the modules that this configuration loads.
pub fn commands(setup: &Setup) -> impl Iterator<Item = &'static Command> + '_ {
    let modules = setup
        .program
        .modules
        .iter()
        .map(|id| all()[usize::from(id.0)]);
    let core = all()[0];
    let others = modules.filter(move |m| m.name != core.name);
    std::iter::once(core).chain(others).flat_map(|m| m.commands)
}

/// The command of this name.
pub fn find(setup: &Setup, name: &[u8]) -> Option<&'static Command> {
    commands(setup).find(|c| c.name.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_tell_their_group() {
        let mut names: Vec<_> = all()
            .iter()
            .flat_map(|m| m.commands)
            .map(|c| c.name)
            .collect();
        assert!(names.iter().all(|n| {
            n.split_once('.')
                .is_some_and(|(g, m)| !g.is_empty() && !m.is_empty())
        }));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_command_helps() {
        for command in all().iter().flat_map(|m| m.commands) {
            assert!(command.help.ends_with('.'), "{}", command.name);
        }
    }
}
