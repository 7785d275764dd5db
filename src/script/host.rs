//! What the language asks of whoever runs it.
//!
//! The virtual machine decides control flow and computes; everything that means something in SIP
//! is the host's. All names are resolved and all inner variables are evaluated before the host
//! is asked.

use std::fmt;
use std::ops::Range;

use regex::bytes::Regex;

use super::calendar::Zone;
use super::error::Position;
use super::format::Format;
use super::program::RouteId;
use super::signature::{FunctionId, VariableId};
use super::transform::Substitution;
use super::value::{Heap, Text, Value};
use super::variable::Variable;
use crate::effect::Level;

/// The world of a script.
pub trait Host {
    /// The value of a variable.
    fn read(&mut self, heap: &mut Heap, access: &Access<'_>) -> Value;

    /// Assigns a variable that its signature calls writable.
    fn write(
        &mut self,
        heap: &mut Heap,
        access: &Access<'_>,
        value: Value,
    ) -> Result<(), WriteError>;

    /// Calls a function of a module.
    fn call(&mut self, heap: &mut Heap, site: &CallSite) -> Outcome;

    /// The value of a bare keyword. Addresses are text without brackets, protocols and address
    /// families text in any case, ports and lengths integers.
    fn keyword(&mut self, heap: &mut Heap, keyword: Keyword) -> Value;

    /// Whether the address or the host of the URI that the keyword names is this proxy.
    fn is_myself(&mut self, heap: &mut Heap, subject: Keyword) -> bool;

    /// The zone of local time.
    fn zone(&self) -> &Zone {
        const { &Zone::UTC }
    }

    /// A line for the log about the script itself, such as a division by zero.
    fn log(&mut self, level: Level, text: fmt::Arguments<'_>);
}

/// Which variable is read or written.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The variable.
    pub variable: VariableId,
    /// What stood between its parentheses.
    pub key: Key<'a>,
    /// What stood between its brackets.
    pub index: Index,
}

/// The inner name of a variable.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// There was none.
    None,
    /// A name or key, variables in it expanded.
    Text(Text),
    /// The place of the word in the signature's [`super::InnerKind::OneOf`].
    Word(usize),
    /// Another variable; [`Variable::read`] gives its value.
    Variable(&'a Variable),
}

impl Key<'_> {
    /// The text of the key; empty unless it is text.
    pub fn text(&self) -> Text {
        match self {
            Key::Text(text) => *text,
            Key::None | Key::Word(_) | Key::Variable(_) => Text::EMPTY,
        }
    }
}

/// The index of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Index {
    /// No index: the first, or the newest.
    None,
    /// From 0; negative from the end.
    At(i64),
    /// `[*]`.
    All,
}

/// Why a variable kept its old value. The script goes on; the error is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// The value is of the wrong type or has no valid form.
    Invalid,
    /// There is nothing to write to here (no transaction, no dialog, a reply).
    NotHere,
    /// A bound was met.
    Full,
}

impl WriteError {
    /// The reason as it stands in the log.
    pub const fn reason(self) -> &'static str {
        match self {
            WriteError::Invalid => "the value is not valid there",
            WriteError::NotHere => "it cannot be assigned here",
            WriteError::Full => "there is no room",
        }
    }
}

/// How a call of a function ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With a return code. Zero ends the whole script, as the original does.
    Return(i64),
    /// The function ends the script.
    Exit,
    /// The function ends the script and drops the message.
    Drop,
    /// The block runs as if it had been called by `route(..)`; its return code is the call's.
    Enter(RouteId),
    /// The answer comes later, by [`super::Vm::resume`].
    Wait,
}

/// One call in the program.
#[derive(Debug)]
pub struct CallSite {
    /// What is called.
    pub function: FunctionId,
    /// With what; as many as were written.
    pub args: Box<[Arg]>,
    /// Where.
    pub at: Position,
    /// How many of the arguments are expressions whose values the machine computed.
    pub(super) computed: u16,
}

impl CallSite {
    /// The argument in this place, if it was given.
    pub fn arg(&self, index: usize) -> Option<&Arg> {
        self.args.get(index)
    }

    /// The text of an argument; NULL when it was not given or has no value.
    pub fn text<H: Host + ?Sized>(&self, index: usize, host: &mut H, heap: &mut Heap) -> Value {
        self.arg(index)
            .map_or(Value::Null, |arg| arg.text(host, heap))
    }

    /// The number of an argument; `None` when it was not given or is no number.
    pub fn int<H: Host + ?Sized>(
        &self,
        index: usize,
        host: &mut H,
        heap: &mut Heap,
    ) -> Option<i64> {
        self.arg(index)?.int(host, heap)
    }
}

/// One argument of a call, as far as it could be resolved at load.
#[derive(Debug)]
pub enum Arg {
    /// Constant text.
    Text(Text),
    /// A constant integer: also flags and levels of the log.
    Int(i64),
    /// Text with variables in it.
    Format(Format),
    /// Exactly one variable, to be read.
    Variable(Variable),
    /// Exactly one variable, to be written.
    Output(Variable),
    /// A constant regular expression and its text.
    Regex(Regex, Text),
    /// A constant substitution.
    Subst(Box<Substitution>),
    /// A list of words that the signature names: a bit for each of them, and the text.
    List(u64, Text),
    /// A block: `None` when there is none of this name.
    Route(Option<RouteId>, Text),
    /// An expression, already computed.
    Computed(u16),
}

impl Arg {
    /// The argument's value, as it is.
    pub fn value<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Value {
        match self {
            Arg::Text(text) | Arg::Regex(_, text) | Arg::List(_, text) | Arg::Route(_, text) => {
                Value::Str(*text)
            }
            Arg::Int(n) => Value::Int(*n),
            Arg::Format(format) => format.text(host, heap),
            Arg::Variable(variable) | Arg::Output(variable) => variable.read(host, heap),
            Arg::Computed(n) => heap.argument(*n),
            Arg::Subst(_) => Value::Null,
        }
    }

    /// The argument as text; NULL stays NULL.
    pub fn text<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Value {
        match self.value(host, heap) {
            Value::Null => Value::Null,
            value => Value::Str(heap.as_text(value)),
        }
    }

    /// The argument as a number; `None` for NULL and for text that is no number.
    pub fn int<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Option<i64> {
        match self.value(host, heap) {
            Value::Null => None,
            value => heap.number(value),
        }
    }

    /// Assigns the variable that the argument names.
    pub fn write<H: Host + ?Sized>(
        &self,
        host: &mut H,
        heap: &mut Heap,
        value: Value,
    ) -> Result<(), WriteError> {
        match self {
            Arg::Output(variable) | Arg::Variable(variable) => variable.write(host, heap, value),
            _ => Err(WriteError::Invalid),
        }
    }

    /// Whether the argument, a regular expression, is found in `input`. `None`: it came from a
    /// variable and cannot be compiled.
    pub fn is_match<H: Host + ?Sized>(
        &self,
        host: &mut H,
        heap: &mut Heap,
        input: Text,
    ) -> Option<bool> {
        if let Arg::Regex(regex, _) = self {
            return Some(regex.is_match(heap.bytes(input)));
        }
        let pattern = self.value(host, heap);
        let pattern = heap.as_text(pattern);
        let regex = super::regex::compile_lines(heap.bytes(pattern), true).ok()?;
        Some(regex.is_match(heap.bytes(input)))
    }

    /// Where the argument, a regular expression, is found in `input`: everywhere, or the first
    /// place. `None`: it came from a variable and cannot be compiled.
    pub fn matches<H: Host + ?Sized>(
        &self,
        host: &mut H,
        heap: &mut Heap,
        (input, all): (&[u8], bool),
    ) -> Option<Vec<Range<usize>>> {
        let limit = if all { usize::MAX } else { 1 };
        let find = |regex: &Regex| {
            regex
                .find_iter(input)
                .take(limit)
                .map(|m| m.range())
                .collect()
        };
        if let Arg::Regex(regex, _) = self {
            return Some(find(regex));
        }
        let pattern = self.value(host, heap);
        let pattern = heap.as_text(pattern);
        super::regex::compile_lines(heap.bytes(pattern), true)
            .ok()
            .as_ref()
            .map(find)
    }
}

/// The words that stand for a value in a condition without `$`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keyword {
    /// The method.
    Method,
    /// The working Request-URI; in a reply the status code.
    Uri,
    /// The URI of From.
    FromUri,
    /// The URI of To.
    ToUri,
    /// The source address.
    SrcIp,
    /// The address that received the message.
    DstIp,
    /// In `onsend_route`: the address sent from.
    SndIp,
    /// In `onsend_route`: the address sent to.
    ToIp,
    /// The source port.
    SrcPort,
    /// The port that received the message.
    DstPort,
    /// In `onsend_route`: the port sent from.
    SndPort,
    /// In `onsend_route`: the port sent to.
    ToPort,
    /// The protocol the message came by.
    Proto,
    /// In `onsend_route`: the protocol it goes by.
    SndProto,
    /// The address family it came by: `INET` or `INET6`.
    Af,
    /// In `onsend_route`: the address family it goes by.
    SndAf,
    /// The size of the message.
    MsgLen,
}
