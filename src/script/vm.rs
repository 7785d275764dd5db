//! The virtual machine: a coroutine in plain data.
//!
//! ```text
//!   enter(route) ─▶ run ─▶ Ended(End)              the activation is gone
//!                    │
//!                    └──▶ Wait ─▶ enter(branch) ─▶ run ─▶ Ended     an activation inside
//!                                 resume(rc) ─▶ run ─▶ ...          the one that waited goes on
//! ```
//!
//! An activation is a stack of frames, one for each block that called another. The machine holds
//! no reference to program or host, so a script that waits is a value in a table. It never calls
//! itself; steps, depth and strings are bounded. A statement costs a few table look-ups and
//! allocates nothing once the stacks have grown.

use super::error::Position;
use super::host::{CallSite, Host, Keyword, Outcome, WriteError};
use super::operate::{self, Binary, Unary};
use super::program::{Label, Program, RouteId};
use super::signature::{RouteKind, Vocabulary};
use super::value::{Heap, Value};
use crate::effect::Level;
use crate::limits;

/// What becomes of the return code of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// The call is a statement.
    Nothing,
    /// It is assigned as it is.
    Code,
    /// It is an operand: 1 when positive, else 0.
    Truth,
}

/// One instruction. Operands come from the stack, last one first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Push(Value),
    Read(u32),
    Store(u32),
    Unary(Unary),
    Binary(Binary),
    /// The same with a constant on the right.
    BinaryWith(Binary, u32),
    /// Text matches the regular expression.
    Match(u32),
    /// The same, the expression being on the stack.
    MatchText,
    Keyword(Keyword),
    Myself(Keyword),
    /// An address is in the set.
    InNet(u32),
    /// An address, as text, equals another.
    SameAddress,
    /// Keeps 0 and jumps when the top is zero, else drops it.
    AndJump(u32),
    /// Keeps 1 and jumps when the top is not zero, else drops it.
    OrJump(u32),
    /// `if`: jumps unless the top is more than 0.
    Unless(u32),
    /// `while`, and `&&` in `if`: jumps when the top is 0.
    UnlessNonZero(u32),
    Jump(u32),
    LoopEnter,
    /// Counts a round; jumps when there were too many.
    LoopRound(u32),
    LoopLeave,
    Switch(u32),
    Call(u32, Use),
    Route(RouteId, Use),
    RouteNamed(Use),
    Return,
    /// The end of a block, or `break` outside of a loop.
    Leave(i64),
    Exit,
    Drop,
}

/// How an activation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By its end or by `return`, with this code.
    Return(i64),
    /// By `exit`, by a function that ended the script, or by a bound.
    Exit,
    /// By `drop`.
    Drop,
}

/// Why [`Vm::run`] came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// The innermost activation is over.
    Ended(End),
    /// A function waits: [`Vm::resume`] tells its return code.
    Wait,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Where it goes on, while another frame is innermost.
    pc: u32,
    route: RouteId,
    /// What the caller does with this block's return code.
    wanted: Use,
    /// Sizes of the operand and loop stacks when the block began.
    stack: usize,
    loops: usize,
    /// The first frame of an activation.
    is_first: bool,
    /// The call that waits for its return code: what is made of it, and whether `$rc` is set.
    waiting: Option<(Use, bool)>,
}

/// What the call of a route that is not there is worth.
const NO_ROUTE: i64 = -10;

/// The state of one run of a script.
#[derive(Debug)]
pub struct Vm {
    heap: Heap,
    /// The next instruction of the innermost frame.
    pc: u32,
    frames: Vec<Frame>,
    loops: Vec<u32>,
    steps: u32,
    step_max: u32,
    resumed: Option<i64>,
}

impl Default for Vm {
    fn default() -> Vm {
        Vm::new()
    }
}

/// Where control goes after an instruction.
enum Flow {
    Next,
    Ended(End),
    Wait,
}

impl Vm {
    /// A machine that runs nothing.
    pub fn new() -> Vm {
        Vm {
            heap: Heap::default(),
            pc: 0,
            frames: vec![],
            loops: vec![],
            steps: 0,
            step_max: limits::SCRIPT_STEP_MAX,
            resumed: None,
        }
    }

    /// Lets a run take fewer steps than [`limits::SCRIPT_STEP_MAX`].
    pub fn limit_steps(&mut self, max: u32) {
        self.step_max = max.min(limits::SCRIPT_STEP_MAX);
    }

    /// Begins an activation of a block: a new run when the machine is idle, else inside the
    /// activation that waits.
    pub fn enter(&mut self, program: &Program, route: RouteId) {
        if self.frames.is_empty() {
            self.heap.reset(&program.constants);
            self.loops.clear();
            self.steps = 0;
        }
        self.push(program, route, Use::Nothing, true);
    }

    /// The call that the innermost activation waits for.
    pub fn waits_at<'p>(&self, program: &'p Program) -> Option<&'p CallSite> {
        self.frames.last()?.waiting?;
        match program.op(self.pc.checked_sub(1)?) {
            Op::Call(site, _) => program.sites().get(site as usize),
            _ => None,
        }
    }

    /// Tells the return code that the innermost activation waits for; [`Vm::run`] goes on.
    pub fn resume(&mut self, rc: i64) {
        let waits = self.frames.last().is_some_and(|f| f.waiting.is_some());
        assert!(waits, "only what waits can be resumed (rc {rc})");
        self.resumed = Some(rc);
    }

    /// The text that `log_prefix` gives now; `None` when the configuration has no such.
    pub fn log_prefix<H: Host + ?Sized>(
        &mut self,
        program: &Program,
        host: &mut H,
    ) -> Option<Box<str>> {
        program.log_prefix(host, &mut self.heap)
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.frames.is_empty()
    }

    /// Forgets everything that runs or waits.
    pub fn abandon(&mut self) {
        self.frames.clear();
        self.resumed = None;
    }

    /// The strings of this run.
    pub fn heap(&mut self) -> &mut Heap {
        &mut self.heap
    }

    /// The kind of block that runs innermost.
    pub fn route_kind(&self, program: &Program) -> Option<RouteKind> {
        Some(program.block(self.frames.last()?.route).kind)
    }

    /// Where the innermost block stands.
    pub fn place(&self, program: &Program) -> Position {
        program.place(self.pc.saturating_sub(1))
    }

    /// Runs until the innermost activation ends or waits.
    pub fn run<H: Host + ?Sized>(&mut self, program: &Program, host: &mut H) -> Pause {
        if let Some(rc) = self.resumed.take() {
            let waiting = self.frames.last_mut().and_then(|f| f.waiting.take());
            let (wanted, sets_rc) = waiting.unwrap_or((Use::Nothing, true));
            let flow = self.returned(Outcome::Return(rc), wanted, sets_rc);
            if let Flow::Ended(end) = flow {
                return Pause::Ended(self.unwind(end));
            }
        }
        if self.frames.is_empty() {
            return Pause::Ended(End::Exit);
        }
        loop {
            let op = program.op(self.pc);
            self.pc += 1;
            match self.step(op, program, host) {
                Flow::Next => {}
                Flow::Wait => return Pause::Wait,
                Flow::Ended(end) => return Pause::Ended(self.unwind(end)),
            }
        }
    }

    fn step<H: Host + ?Sized>(&mut self, op: Op, program: &Program, host: &mut H) -> Flow {
        match op {
            Op::Push(value) => self.heap.stack.push(value),
            Op::Read(n) => {
                let value = program.variables[n as usize].read(host, &mut self.heap);
                self.heap.stack.push(value);
                self.report_exhausted(program, host);
            }
            Op::Store(n) => {
                self.store(n, program, host);
                return self.count(program, host);
            }
            Op::Unary(operator) => {
                let value = self.pop();
                let value = operate::unary(operator, value, &mut self.heap);
                self.heap.stack.push(value);
            }
            Op::Binary(operator) => {
                let right = self.pop();
                self.binary(operator, right, program, host);
            }
            Op::BinaryWith(operator, n) => {
                self.binary(operator, program.literals[n as usize], program, host);
            }
            Op::Match(_) | Op::MatchText | Op::InNet(_) | Op::SameAddress => {
                self.test(op, program, host);
            }
            Op::Keyword(keyword) => {
                let value = host.keyword(&mut self.heap, keyword);
                self.heap.stack.push(value);
            }
            Op::Myself(subject) => {
                let is = host.is_myself(&mut self.heap, subject);
                self.heap.stack.push(Value::Int(is.into()));
            }
            Op::AndJump(to) => self.keep_or_drop(to, false),
            Op::OrJump(to) => self.keep_or_drop(to, true),
            Op::Unless(_)
            | Op::UnlessNonZero(_)
            | Op::Jump(_)
            | Op::LoopEnter
            | Op::LoopRound(_)
            | Op::LoopLeave
            | Op::Switch(_) => {
                self.branch(op, program, host);
                return self.count(program, host);
            }
            Op::Call(site, wanted) => return self.call(site, wanted, program, host),
            Op::Route(route, wanted) => return self.call_route(route, wanted, program, host),
            Op::RouteNamed(wanted) => return self.call_named(wanted, program, host),
            Op::Return => {
                let value = self.pop();
                let failed = std::mem::take(&mut self.heap.failed);
                let rc = if failed { -1 } else { self.heap.as_int(value) };
                return self.leave(rc, rc == 0);
            }
            Op::Leave(rc) => return self.leave(rc, false),
            Op::Exit => return Flow::Ended(End::Exit),
            Op::Drop => return Flow::Ended(End::Drop),
        }
        Flow::Next
    }

    fn store<H: Host + ?Sized>(&mut self, n: u32, program: &Program, host: &mut H) {
        let value = self.pop();
        // An operator that had no result leaves the old value.
        if std::mem::take(&mut self.heap.failed) {
            return;
        }
        let variable = &program.variables[n as usize];
        if let Err(error) = variable.write(host, &mut self.heap, value) {
            self.not_assigned(error, program, host);
        }
        self.report_exhausted(program, host);
    }

    #[cold]
    #[inline(never)]
    fn not_assigned<H: Host + ?Sized>(&self, error: WriteError, program: &Program, host: &mut H) {
        let (at, reason) = (self.here(program), error.reason());
        host.log(
            Level::Err,
            format_args!("{at}: assignment failed: {reason}"),
        );
    }

    fn binary<H: Host + ?Sized>(
        &mut self,
        operator: Binary,
        b: Value,
        program: &Program,
        host: &mut H,
    ) {
        let a = self.pop();
        let result = operate::binary(operator, a, b, &mut self.heap);
        let value = match result {
            Ok(value) => value,
            Err(operate::DivisionByZero) => self.divided_by_zero(program, host),
        };
        self.heap.stack.push(value);
        self.report_exhausted(program, host);
    }

    #[cold]
    #[inline(never)]
    fn divided_by_zero<H: Host + ?Sized>(&mut self, program: &Program, host: &mut H) -> Value {
        let at = self.here(program);
        host.log(Level::Err, format_args!("{at}: division by zero"));
        self.heap.failed = true;
        Value::Null
    }

    fn test<H: Host + ?Sized>(&mut self, op: Op, program: &Program, host: &mut H) {
        let right = self.pop();
        let holds = match op {
            Op::Match(n) => {
                let text = self.heap.as_text(right);
                program.regexes[n as usize].is_match(self.heap.bytes(text))
            }
            Op::InNet(n) => address(&self.heap, right).is_some_and(|ip| {
                let nets = &program.nets[n as usize];
                nets.iter().any(|net| net.contains(ip))
            }),
            Op::SameAddress => {
                let left = self.pop();
                let left = address(&self.heap, left);
                left.is_some() && left == address(&self.heap, right)
            }
            _ => {
                let left = self.pop();
                self.match_text(left, right, program, host)
            }
        };
        self.heap.stack.push(Value::Int(holds.into()));
    }

    fn match_text<H: Host + ?Sized>(
        &mut self,
        text: Value,
        pattern: Value,
        program: &Program,
        host: &mut H,
    ) -> bool {
        let (text, pattern) = (self.heap.as_text(text), self.heap.as_text(pattern));
        match super::regex::compile(self.heap.bytes(pattern), true) {
            Ok(regex) => regex.is_match(self.heap.bytes(text)),
            Err(reason) => {
                let at = self.here(program);
                host.log(
                    Level::Err,
                    format_args!("{at}: bad regular expression: {reason}"),
                );
                false
            }
        }
    }

    fn branch<H: Host + ?Sized>(&mut self, op: Op, program: &Program, host: &mut H) {
        match op {
            Op::Unless(to) => {
                let value = self.pop();
                let failed = std::mem::take(&mut self.heap.failed);
                if failed || !self.heap.is_true(value) {
                    self.jump(to);
                }
            }
            Op::UnlessNonZero(to) => {
                let value = self.pop();
                let failed = std::mem::take(&mut self.heap.failed);
                if failed || self.heap.as_int(value) == 0 {
                    self.jump(to);
                }
            }
            Op::LoopEnter => self.loops.push(0),
            Op::LoopLeave => {
                self.loops.pop();
            }
            Op::LoopRound(to) => self.round(to, program, host),
            Op::Switch(n) => self.switch(n, program),
            Op::Jump(to) => self.jump(to),
            _ => unreachable!("{op:?} does not branch"),
        }
    }

    fn round<H: Host + ?Sized>(&mut self, to: u32, program: &Program, host: &mut H) {
        let rounds = self.loops.last_mut().expect("a loop counts its rounds");
        *rounds += 1;
        if *rounds > program.loop_max {
            let (at, max) = (self.here(program), program.loop_max);
            host.log(
                Level::Err,
                format_args!("{at}: runaway while, left after {max} rounds"),
            );
            self.jump(to);
        }
    }

    fn switch(&mut self, n: u32, program: &Program) {
        let value = self.pop();
        let failed = std::mem::take(&mut self.heap.failed);
        let switch = &program.switches[n as usize];
        let found = switch
            .cases
            .iter()
            .find(|(label, _)| !failed && self.label_holds(*label, value, program));
        let to = found.map_or(switch.default, |(_, to)| *to);
        self.jump(to);
    }

    fn label_holds(&mut self, label: Label, value: Value, program: &Program) -> bool {
        match label {
            Label::Int(n) => self.heap.as_int(value) == n,
            // NULL is 0 among numbers, and empty among strings.
            Label::Text(text) => {
                let value = self.heap.as_text(value);
                self.heap.bytes(value) == self.heap.bytes(text)
            }
            Label::Regex(regex) => {
                let value = self.heap.as_text(value);
                program.regexes[regex as usize].is_match(self.heap.bytes(value))
            }
        }
    }

    fn keep_or_drop(&mut self, to: u32, keep: bool) {
        let value = self.pop();
        if (self.heap.as_int(value) != 0) == keep {
            self.heap.stack.push(Value::Int(keep.into()));
            self.jump(to);
        }
    }

    fn call<H: Host + ?Sized>(
        &mut self,
        site: u32,
        wanted: Use,
        program: &Program,
        host: &mut H,
    ) -> Flow {
        let site = &program.sites[site as usize];
        let base = self.heap.stack.len() - usize::from(site.computed);
        self.heap.args_base = base;
        let outcome = host.call(&mut self.heap, site);
        self.heap.stack.truncate(base);
        self.heap.failed = false;
        self.report_exhausted(program, host);
        let sets_rc = site.function.module != Vocabulary::CORE;
        if let Outcome::Enter(route) = outcome {
            return self.call_route(route, wanted, program, host);
        }
        match self.returned(outcome, wanted, sets_rc) {
            Flow::Next => self.count(program, host),
            flow => flow,
        }
    }

    /// What a function's outcome does to the script.
    #[inline]
    fn returned(&mut self, outcome: Outcome, wanted: Use, sets_rc: bool) -> Flow {
        match outcome {
            Outcome::Return(rc) => {
                if sets_rc {
                    self.heap.rc = rc;
                }
                // A function that returns 0 ends the script: it has taken the message over.
                if rc == 0 {
                    return Flow::Ended(End::Exit);
                }
                self.deliver(rc, wanted);
                Flow::Next
            }
            // A block is entered where the call is made; what comes later is a code.
            Outcome::Exit | Outcome::Enter(_) => Flow::Ended(End::Exit),
            Outcome::Drop => Flow::Ended(End::Drop),
            Outcome::Wait => {
                let frame = self.frames.last_mut().expect("a call is made by a block");
                frame.waiting = Some((wanted, sets_rc));
                Flow::Wait
            }
        }
    }

    fn deliver(&mut self, rc: i64, wanted: Use) {
        match wanted {
            Use::Nothing => {}
            Use::Code => self.heap.stack.push(Value::Int(rc)),
            Use::Truth => self.heap.stack.push(Value::Int((rc > 0).into())),
        }
    }

    fn call_route<H: Host + ?Sized>(
        &mut self,
        route: RouteId,
        wanted: Use,
        program: &Program,
        host: &mut H,
    ) -> Flow {
        if self.frames.len() >= program.depth_max {
            let at = self.here(program);
            host.log(
                Level::Err,
                format_args!("{at}: too many nested route calls"),
            );
            self.heap.rc = -1;
            self.deliver(-1, wanted);
        } else {
            self.push(program, route, wanted, false);
        }
        self.count(program, host)
    }

    fn call_named<H: Host + ?Sized>(
        &mut self,
        wanted: Use,
        program: &Program,
        host: &mut H,
    ) -> Flow {
        let value = self.pop();
        self.heap.failed = false;
        let name = self.heap.as_text(value);
        match program.route(RouteKind::Request, self.heap.bytes(name)) {
            Some(route) => self.call_route(route, wanted, program, host),
            None => {
                let name = String::from_utf8_lossy(self.heap.bytes(name));
                let at = self.here(program);
                host.log(Level::Err, format_args!("{at}: there is no route[{name}]"));
                // A statement leaves `$rc` as it was.
                if !matches!(wanted, Use::Nothing) {
                    self.heap.rc = 0;
                    self.deliver(NO_ROUTE, wanted);
                }
                self.count(program, host)
            }
        }
    }

    /// Ends the innermost block; the whole activation when the code says so.
    fn leave(&mut self, rc: i64, ends_all: bool) -> Flow {
        let frame = *self.frames.last().expect("a block is left from inside");
        if ends_all || frame.is_first {
            return Flow::Ended(End::Return(rc));
        }
        self.frames.pop();
        self.pc = self.frames.last().map_or(0, |caller| caller.pc);
        self.heap.stack.truncate(frame.stack);
        self.loops.truncate(frame.loops);
        self.heap.rc = rc;
        self.deliver(rc, frame.wanted);
        Flow::Next
    }

    /// Removes the frames of the innermost activation.
    fn unwind(&mut self, end: End) -> End {
        while let Some(frame) = self.frames.pop() {
            self.heap.stack.truncate(frame.stack);
            self.loops.truncate(frame.loops);
            if frame.is_first {
                break;
            }
        }
        self.pc = self.frames.last().map_or(0, |waiting| waiting.pc);
        end
    }

    fn push(&mut self, program: &Program, route: RouteId, wanted: Use, is_first: bool) {
        if let Some(caller) = self.frames.last_mut() {
            caller.pc = self.pc;
        }
        self.pc = program.block(route).start;
        self.frames.push(Frame {
            pc: self.pc,
            route,
            wanted,
            stack: self.heap.stack.len(),
            loops: self.loops.len(),
            is_first,
            waiting: None,
        });
    }

    /// Counts a statement; at the bound the script ends.
    fn count<H: Host + ?Sized>(&mut self, program: &Program, host: &mut H) -> Flow {
        self.steps += 1;
        if self.steps <= self.step_max {
            return Flow::Next;
        }
        self.ended_by_bound(program, host)
    }

    #[cold]
    #[inline(never)]
    fn ended_by_bound<H: Host + ?Sized>(&self, program: &Program, host: &mut H) -> Flow {
        let at = self.here(program);
        host.log(
            Level::Err,
            format_args!(
                "{at}: the script ran {} steps and was ended",
                self.steps - 1
            ),
        );
        Flow::Ended(End::Exit)
    }

    fn report_exhausted<H: Host + ?Sized>(&mut self, program: &Program, host: &mut H) {
        if self.heap.is_exhausted() {
            self.report(program, host);
        }
    }

    #[cold]
    #[inline(never)]
    fn report<H: Host + ?Sized>(&mut self, program: &Program, host: &mut H) {
        if self.heap.take_exhausted() {
            let at = self.here(program);
            let max = limits::SCRIPT_HEAP_SIZE_MAX;
            host.log(
                Level::Err,
                format_args!("{at}: the script made more than {max} bytes of strings"),
            );
        }
    }

    fn here<'p>(&self, program: &'p Program) -> Place<'p> {
        let at = self.place(program);
        Place {
            file: program.file(at),
            at,
        }
    }

    fn jump(&mut self, to: u32) {
        self.pc = to;
    }

    fn pop(&mut self) -> Value {
        self.heap.stack.pop().unwrap_or(Value::Null)
    }
}

/// An address on the wire or in a variable; brackets around IPv6 do not matter.
fn address(heap: &Heap, value: Value) -> Option<std::net::IpAddr> {
    let text = std::str::from_utf8(heap.str(value)?).ok()?;
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// A place as the log shows it.
struct Place<'a> {
    file: &'a str,
    at: Position,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.at.line)
    }
}
