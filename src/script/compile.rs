//! The syntax tree to instructions, checking every name and kind on the way.
//!
//! Constants are interned, constant expressions are folded, variables, formats and regular
//! expressions are resolved: what runs later looks nothing up by name.

use super::Source;
use super::ast::{Assign, Call, CaseLabel, Compare, Expr, ExprKind, RouteItem, Statement};
use super::call::Callee;
use super::check;
use super::error::{ErrorKind, Hidden, Misuse, Position};
use super::host::Keyword;
use super::operate::{self, Binary, Unary};
use super::program::{Label, Net, Program, Route, RouteId, Switch};
use super::regex;
use super::resolve::{Names, Refused, lossy};
use super::signature::RouteKind;
use super::value::{Heap, Value};
use super::variable::{Target, Variable};
use super::vm::{Op, Use};

/// A value that is known at load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Constant {
    Int(i64),
    Text(Vec<u8>),
}

impl Constant {
    /// As text: a number is its digits.
    pub(super) fn into_text(self) -> Vec<u8> {
        match self {
            Constant::Int(n) => n.to_string().into_bytes(),
            Constant::Text(text) => text,
        }
    }
}

/// The compiler of one configuration.
pub(super) struct Compiler<'a> {
    pub(super) names: Names<'a>,
    /// For addresses of hosts and the environment.
    pub(super) source: &'a dyn Source,
    pub(super) program: Program,
    routes: Vec<(RouteKind, Box<str>, Position)>,
    /// Beginning of each block, once compiled, and the jump at its end.
    compiled: Vec<Option<(u32, usize)>>,
    /// The kind of the block that is compiled.
    pub(super) kind: RouteKind,
    /// Jumps out of the loops and switches around, innermost last.
    breaks: Vec<Vec<usize>>,
    /// No function may be called here.
    pub(super) in_argument: bool,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        names: Names<'a>,
        source: &'a dyn Source,
        program: Program,
        routes: Vec<(RouteKind, Box<str>, Position)>,
    ) -> Self {
        Compiler {
            names,
            source,
            program,
            compiled: vec![None; routes.len()],
            routes,
            kind: RouteKind::Request,
            breaks: vec![],
            in_argument: false,
        }
    }

    /// The block of this kind and name.
    pub(super) fn route_id(&self, kind: RouteKind, name: &[u8]) -> Option<RouteId> {
        let key = |r: &(RouteKind, Box<str>, Position)| (r.0, r.1.as_bytes()).cmp(&(kind, name));
        Some(RouteId(self.routes.binary_search_by(key).ok()? as u32))
    }

    pub(super) fn is_defined(&self, id: RouteId) -> bool {
        self.compiled[id.0 as usize].is_some()
    }

    /// The finished program.
    pub(super) fn finish(mut self) -> Program {
        let blocks = self.routes.into_iter().zip(&self.compiled);
        let compiled = blocks
            .filter_map(|((kind, name, at), compiled)| {
                compiled.map(|(start, _)| Route {
                    kind,
                    name,
                    at,
                    start,
                })
            })
            .collect();
        self.program.set_routes(compiled);
        self.program.constants = self.names.constants.into();
        self.program
    }

    /// Compiles a block; a second body of the same block goes on behind the first.
    pub(super) fn route(&mut self, id: RouteId, item: &RouteItem) {
        self.kind = item.kind;
        self.names.route = match (item.kind, &*item.name) {
            (RouteKind::Request, "0") => "DEFAULT_ROUTE".into(),
            (RouteKind::Reply, "0") => "DEFAULT_ONREPLY".into(),
            (RouteKind::Onsend, "0") => "DEFAULT_SEND".into(),
            (_, name) => name.into(),
        };
        let start = self.here();
        self.statements(&item.body);
        let end = self.emit(Op::Leave(1), item.at);
        let slot = &mut self.compiled[id.0 as usize];
        match slot {
            Some((_, tail)) => {
                self.program.ops[*tail] = Op::Jump(start);
                *tail = end;
            }
            None => *slot = Some((start, end)),
        }
    }

    /// Looks at statements that belong to no block.
    pub(super) fn loose(&mut self, body: &[Statement]) {
        self.statements(body);
    }

    pub(super) fn error(&mut self, at: Position, kind: ErrorKind) {
        self.names.diagnostics.error(at, kind);
    }

    fn here(&self) -> u32 {
        self.program.ops.len() as u32
    }

    pub(super) fn emit(&mut self, op: Op, at: Position) -> usize {
        self.program.ops.push(op);
        self.program.places.push(at);
        self.program.ops.len() - 1
    }

    /// Lets the jump at `from` go to what is emitted next.
    fn land(&mut self, from: usize) {
        let to = self.here();
        self.program.ops[from] = match self.program.ops[from] {
            Op::Unless(_) => Op::Unless(to),
            Op::UnlessNonZero(_) => Op::UnlessNonZero(to),
            Op::LoopRound(_) => Op::LoopRound(to),
            Op::AndJump(_) => Op::AndJump(to),
            Op::OrJump(_) => Op::OrJump(to),
            _ => Op::Jump(to),
        };
    }

    fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Call(call) => self.call(call, Use::Nothing),
            Statement::Route(name, at) => self.call_route(name, *at, Use::Nothing),
            Statement::Assign(assign) => self.assign(assign),
            Statement::If(branches, last) => self.condition(branches, last),
            Statement::While(condition, body) => self.repeat(condition, body),
            Statement::Switch(value, cases) => self.switch(value, cases),
            Statement::Break(at) => {
                if self.breaks.is_empty() {
                    self.emit(Op::Leave(BREAK_CODE), *at);
                } else {
                    let jump = self.emit(Op::Jump(0), *at);
                    self.breaks.last_mut().expect("not empty").push(jump);
                }
            }
            Statement::Return(value, at) => {
                match value {
                    Some(value) => self.expression(value),
                    None => self.constant(Constant::Int(1), *at),
                }
                self.emit(Op::Return, *at);
            }
            Statement::Exit(at) => {
                self.emit(Op::Exit, *at);
            }
            Statement::Drop(at) => {
                self.emit(Op::Drop, *at);
            }
        }
    }

    fn assign(&mut self, assign: &Assign) {
        match &assign.value.kind {
            // Only a call that is all of the right side gives its real code.
            ExprKind::Call(call) => self.call(call, Use::Code),
            ExprKind::Route(name) => self.call_route(name, assign.value.at, Use::Code),
            _ => self.expression(&assign.value),
        }
        if let Ok(variable) = self.names.variable(&assign.target, assign.at)
            && self.check_writable(&variable, &assign.target, assign.at)
        {
            let n = self.add_variable(variable);
            self.emit(Op::Store(n), assign.at);
        }
    }

    /// Whether the variable can be assigned; if not, the mistake is noted.
    pub(super) fn check_writable(
        &mut self,
        variable: &Variable,
        text: &[u8],
        at: Position,
    ) -> bool {
        let name = lossy(text.strip_prefix(b"$").unwrap_or(text));
        if !variable.transforms.is_empty() {
            self.error(at, ErrorKind::AssignTransformed(name));
            return false;
        }
        let writable = match &variable.target {
            Target::Host(id, _) => self.names.vocabulary.variable(*id).writable,
            Target::Rc | Target::Constant(_) | Target::Format(_) => false,
        };
        if !writable {
            self.error(at, ErrorKind::VariableReadOnly(name));
        }
        writable
    }

    pub(super) fn add_variable(&mut self, variable: Variable) -> u32 {
        self.program.variables.push(variable);
        self.program.variables.len() as u32 - 1
    }

    fn condition(&mut self, branches: &[(Expr, Vec<Statement>)], last: &[Statement]) {
        let mut to_end = vec![];
        for (i, (condition, body)) in branches.iter().enumerate() {
            self.warn_constant(condition);
            let mut otherwise = vec![];
            self.jump_unless(condition, &mut otherwise);
            self.statements(body);
            if i + 1 < branches.len() || !last.is_empty() {
                to_end.push(self.emit(Op::Jump(0), condition.at));
            }
            for jump in otherwise {
                self.land(jump);
            }
        }
        self.statements(last);
        for jump in to_end {
            self.land(jump);
        }
    }

    /// Emits what jumps when the condition does not hold: when it is not more than 0.
    fn jump_unless(&mut self, condition: &Expr, jumps: &mut Vec<usize>) {
        match &condition.kind {
            ExprKind::And(..) if self.fold(condition).is_none() => {
                self.jump_if_zero(condition, jumps);
            }
            _ => {
                self.expression(condition);
                jumps.push(self.emit(Op::Unless(0), condition.at));
            }
        }
    }

    /// Emits what jumps when the condition is 0; of `&&` each side is asked by itself.
    fn jump_if_zero(&mut self, condition: &Expr, jumps: &mut Vec<usize>) {
        match &condition.kind {
            ExprKind::And(left, right) => {
                self.check_sides(left, right, "&&", condition.at);
                self.jump_if_zero(left, jumps);
                self.jump_if_zero(right, jumps);
            }
            _ => {
                self.expression(condition);
                jumps.push(self.emit(Op::UnlessNonZero(0), condition.at));
            }
        }
    }

    fn warn_constant(&mut self, condition: &Expr) {
        if self.fold(condition).is_some() {
            let kind = ErrorKind::ConditionConstant;
            self.names.diagnostics.warn(condition.at, kind);
        }
    }

    fn repeat(&mut self, condition: &Expr, body: &[Statement]) {
        let at = condition.at;
        self.emit(Op::LoopEnter, at);
        let top = self.here();
        self.expression(condition);
        let unless = self.emit(Op::UnlessNonZero(0), at);
        let round = self.emit(Op::LoopRound(0), at);
        self.breaks.push(vec![]);
        self.statements(body);
        self.emit(Op::Jump(top), at);
        for jump in self.breaks.pop().unwrap_or_default() {
            self.land(jump);
        }
        self.land(unless);
        self.land(round);
        self.emit(Op::LoopLeave, at);
    }

    fn switch(&mut self, value: &Expr, cases: &[super::ast::Case]) {
        self.expression(value);
        let op = self.emit(Op::Switch(0), value.at);
        self.breaks.push(vec![]);
        let mut labels: Vec<(Label, u32)> = vec![];
        let mut default = None;
        for case in cases {
            let to = self.here();
            match self.label(&case.label, case.at) {
                Ok(Some(label)) => {
                    let is_int = |label: &Label| matches!(label, Label::Int(_));
                    if labels
                        .first()
                        .is_some_and(|(l, _)| is_int(l) != is_int(&label))
                    {
                        self.error(case.at, ErrorKind::SwitchMixed);
                    }
                    if is_among(&labels, &label) {
                        self.error(case.at, ErrorKind::Misuse(Misuse::SwitchTwice));
                    }
                    labels.push((label, to));
                }
                Ok(None) if default.is_some() => {
                    self.error(case.at, ErrorKind::SwitchDefaultTwice);
                }
                Ok(None) => default = Some(to),
                Err(Refused) => {}
            }
            self.statements(&case.body);
        }
        for jump in self.breaks.pop().unwrap_or_default() {
            self.land(jump);
        }
        // A jump that lands behind the last case keeps "here" a place of its own.
        let default = default.unwrap_or(self.here());
        self.program.ops[op] = Op::Switch(self.program.switches.len() as u32);
        self.program.switches.push(Switch {
            cases: labels.into(),
            default,
        });
    }

    /// `None`: `default`.
    fn label(&mut self, label: &CaseLabel, at: Position) -> Result<Option<Label>, Refused> {
        match label {
            CaseLabel::Default => Ok(None),
            CaseLabel::Broken => Err(Refused),
            // Unlike `=~`, a case is case-sensitive.
            CaseLabel::Regex(pattern) => Ok(Some(Label::Regex(self.regex(pattern, false, at)?))),
            CaseLabel::Value(value) => match self.fold(value) {
                Some(Constant::Int(n)) => Ok(Some(Label::Int(n))),
                Some(Constant::Text(text)) => Ok(Some(Label::Text(self.names.intern(&text)))),
                None => self.names.refuse(at, ErrorKind::SwitchLabel),
            },
        }
    }

    fn regex(&mut self, pattern: &[u8], ignore_case: bool, at: Position) -> Result<u32, Refused> {
        match regex::compile(pattern, ignore_case) {
            Ok(regex) => {
                self.program.regexes.push(regex);
                Ok(self.program.regexes.len() as u32 - 1)
            }
            Err(reason) => {
                let text = lossy(pattern);
                self.names.refuse(at, ErrorKind::Regex { text, reason })
            }
        }
    }

    fn value_of(&mut self, constant: Constant) -> Value {
        match constant {
            Constant::Int(n) => Value::Int(n),
            Constant::Text(text) => Value::Str(self.names.intern(&text)),
        }
    }

    fn constant(&mut self, constant: Constant, at: Position) {
        let value = self.value_of(constant);
        self.emit(Op::Push(value), at);
    }

    /// Emits what leaves the value of an expression on the stack.
    pub(super) fn expression(&mut self, expr: &Expr) {
        if let Some(constant) = self.fold(expr) {
            return self.constant(constant, expr.at);
        }
        let at = expr.at;
        match &expr.kind {
            ExprKind::Int(n) => self.constant(Constant::Int(*n), at),
            ExprKind::Text(text) => self.constant(Constant::Text(text.clone()), at),
            ExprKind::Word(word) => {
                let kind = ErrorKind::Expected {
                    expected: "an expression".to_string(),
                    found: format!("\"{word}\""),
                };
                self.error(at, kind);
            }
            ExprKind::Variable(text) => {
                let variable = self.names.variable(text, at);
                self.read(variable, at);
            }
            ExprKind::Select(path) => {
                let variable = self.names.select(path, at);
                self.read(variable, at);
            }
            ExprKind::Call(call) => self.call(call, Use::Truth),
            ExprKind::Route(name) => self.call_route(name, at, Use::Truth),
            ExprKind::Block(body) => {
                self.statements(body);
                self.constant(Constant::Int(1), at);
            }
            ExprKind::Unary(operator, operand) => {
                self.check_operand(*operator, operand, at);
                self.expression(operand);
                self.emit(Op::Unary(*operator), at);
            }
            ExprKind::Binary(operator, sign, left, right) => {
                self.binary(*operator, sign, left, right, at);
            }
            ExprKind::And(left, right) => self.short_circuit(left, right, false, at),
            ExprKind::Or(left, right) => self.short_circuit(left, right, true, at),
            ExprKind::Match(left, right) => {
                if known_type(left) == Some(Type::Int) {
                    self.error(at, ErrorKind::TypeMismatch { operator: "=~" });
                }
                self.expression(left);
                self.matches(right, at);
            }
            ExprKind::Choose(parts) => self.choose(parts, at),
            ExprKind::Assign(assign) => {
                self.assign(assign);
                self.constant(Constant::Int(1), at);
            }
            ExprKind::Test(keyword, compare, right) => self.test(*keyword, *compare, right, at),
            ExprKind::Myself(keyword, equal) => {
                self.check_keyword(*keyword, at);
                self.emit(Op::Myself(*keyword), at);
                self.negate_unless(*equal, at);
            }
        }
    }

    fn read(&mut self, variable: Result<Variable, Refused>, at: Position) {
        if let Ok(variable) = variable {
            let n = self.add_variable(variable);
            self.emit(Op::Read(n), at);
        }
    }

    fn binary(
        &mut self,
        operator: Binary,
        sign: &'static str,
        left: &Expr,
        right: &Expr,
        at: Position,
    ) {
        let undefined = match operator {
            Binary::Equal => Some(Unary::Undefined),
            Binary::NotEqual => Some(Unary::Defined),
            _ => None,
        };
        // A comparison with `$null` asks whether the other side is defined.
        if let Some(operator) = undefined {
            let other = match (is_null(left), is_null(right)) {
                (_, true) => Some(left),
                (true, false) => Some(right),
                (false, false) => None,
            };
            if let Some(other) = other {
                self.expression(other);
                self.emit(Op::Unary(operator), at);
                return;
            }
        }
        if clashes(operator, known_type(left), known_type(right)) {
            self.error(at, ErrorKind::TypeMismatch { operator: sign });
        }
        self.expression(left);
        self.with_right(operator, right, at);
    }

    /// Emits the right side and the operator.
    fn with_right(&mut self, operator: Binary, right: &Expr, at: Position) {
        match self.fold(right) {
            Some(constant) => {
                let value = self.value_of(constant);
                self.program.literals.push(value);
                let n = self.program.literals.len() as u32 - 1;
                self.emit(Op::BinaryWith(operator, n), at);
            }
            None => {
                self.expression(right);
                self.emit(Op::Binary(operator), at);
            }
        }
    }

    /// What is known at load is not converted: a word has no truth, and a number no length.
    fn check_operand(&mut self, operator: Unary, operand: &Expr, at: Position) {
        let (unwanted, sign) = match operator {
            Unary::Not => (Type::Text, "!"),
            Unary::Negate => (Type::Text, "-"),
            Unary::Invert => (Type::Text, "~"),
            Unary::Length => (Type::Int, "strlen"),
            Unary::Empty => (Type::Int, "strempty"),
            Unary::Defined | Unary::Undefined | Unary::Int | Unary::Text | Unary::Bool => return,
        };
        if known_type(operand) == Some(unwanted) {
            self.error(at, ErrorKind::TypeMismatch { operator: sign });
        }
    }

    /// Neither side of `&&` and `||` can be a word.
    fn check_sides(&mut self, left: &Expr, right: &Expr, operator: &'static str, at: Position) {
        let is_text = |side| known_type(side) == Some(Type::Text);
        if is_text(left) || is_text(right) {
            self.error(at, ErrorKind::TypeMismatch { operator });
        }
    }

    fn short_circuit(&mut self, left: &Expr, right: &Expr, is_or: bool, at: Position) {
        self.check_sides(left, right, if is_or { "||" } else { "&&" }, at);
        self.expression(left);
        let op = if is_or { Op::OrJump(0) } else { Op::AndJump(0) };
        let jump = self.emit(op, at);
        self.expression(right);
        if !is_truth(right) {
            self.emit(Op::Unary(Unary::Bool), at);
        }
        self.land(jump);
    }

    fn matches(&mut self, right: &Expr, at: Position) {
        if known_type(right) == Some(Type::Int) {
            let kind = ErrorKind::TypeMismatch { operator: "=~" };
            return self.error(right.at, kind);
        }
        match self.fold(right) {
            Some(pattern) => {
                if let Ok(n) = self.regex(&pattern.into_text(), true, right.at) {
                    self.emit(Op::Match(n), at);
                }
            }
            None => {
                self.expression(right);
                self.emit(Op::MatchText, at);
            }
        }
    }

    fn choose(&mut self, [condition, first, second]: &[Expr; 3], at: Position) {
        self.expression(condition);
        let unless = self.emit(Op::Unless(0), at);
        self.expression(first);
        let end = self.emit(Op::Jump(0), at);
        self.land(unless);
        self.expression(second);
        self.land(end);
    }

    fn test(&mut self, keyword: Keyword, compare: Compare, right: &Expr, at: Position) {
        self.check_keyword(keyword, at);
        self.emit(Op::Keyword(keyword), at);
        match compare {
            Compare::Same(equal) => {
                let operator = if equal {
                    Binary::SameText
                } else {
                    Binary::NotSameText
                };
                self.with_right(operator, right, at);
            }
            Compare::Match => self.matches(right, at),
            Compare::Number(operator) => self.with_right(operator, right, at),
            Compare::Address(equal) => {
                self.address(right, at);
                self.negate_unless(equal, at);
            }
        }
    }

    fn address(&mut self, right: &Expr, at: Position) {
        let Some(text) = self.fold(right) else {
            self.expression(right);
            self.emit(Op::SameAddress, at);
            return;
        };
        let text = lossy(&text.into_text());
        let nets: Box<[Net]> = match net(&text) {
            Some(net) => [net].into(),
            None if is_host(&text) => self.host_nets(&text, right.at),
            None => {
                let kind = ErrorKind::Expected {
                    expected: "an address, a network or a host".to_string(),
                    found: format!("\"{text}\""),
                };
                return self.error(right.at, kind);
            }
        };
        self.program.nets.push(nets);
        self.emit(Op::InNet(self.program.nets.len() as u32 - 1), at);
    }

    /// The addresses that a host has now: looked up once, not for each message.
    fn host_nets(&mut self, host: &str, at: Position) -> Box<[Net]> {
        let addresses = self.source.addresses(host);
        if addresses.is_empty() {
            let kind = ErrorKind::Misuse(Misuse::HostUnknown(host.to_string()));
            self.names.diagnostics.warn(at, kind);
        }
        let whole = |address: std::net::IpAddr| Net {
            address,
            bits: if address.is_ipv4() { 32 } else { 128 },
        };
        addresses.into_iter().map(whole).collect()
    }

    /// Where a request is sent to is known in onsend_route only.
    fn check_keyword(&mut self, keyword: Keyword, at: Position) {
        let name = match keyword {
            Keyword::SndIp => "snd_ip",
            Keyword::ToIp => "to_ip",
            _ => return,
        };
        if self.kind != RouteKind::Onsend {
            self.error(at, ErrorKind::Misuse(Misuse::KeywordRoute(name)));
        }
    }

    fn negate_unless(&mut self, equal: bool, at: Position) {
        if !equal {
            self.emit(Op::Unary(Unary::Not), at);
        }
    }

    fn call_route(&mut self, name: &Expr, at: Position, wanted: Use) {
        if self.in_argument {
            let kind = ErrorKind::FunctionInArgument("route".to_string());
            return self.error(at, kind);
        }
        match self.fold(name) {
            Some(text) => {
                let text = text.into_text();
                match self.route_id(RouteKind::Request, &text) {
                    Some(id) => {
                        self.emit(Op::Route(id, wanted), at);
                    }
                    None if self.names.diagnostics.may_hide(Hidden::Routes) => {}
                    None => {
                        let missing =
                            check::missing_route(&self.routes, RouteKind::Request, lossy(&text));
                        self.error(name.at, missing);
                    }
                }
            }
            None => {
                self.expression(name);
                self.emit(Op::RouteNamed(wanted), at);
            }
        }
    }

    fn call(&mut self, call: &Call, wanted: Use) {
        if self.in_argument {
            let kind = ErrorKind::FunctionInArgument(call.name.clone());
            return self.error(call.at, kind);
        }
        if let Ok(Callee { site }) = self.callee(call) {
            self.program.sites.push(site);
            let n = self.program.sites.len() as u32 - 1;
            self.emit(Op::Call(n, wanted), call.at);
        }
    }

    /// The value of an expression that is constant and well-typed.
    pub(super) fn fold(&self, expr: &Expr) -> Option<Constant> {
        match &expr.kind {
            ExprKind::Int(n) => Some(Constant::Int(*n)),
            ExprKind::Text(text) => Some(Constant::Text(text.clone())),
            ExprKind::Unary(operator, operand) => match (operator, self.fold(operand)?) {
                (Unary::Negate, Constant::Int(n)) => Some(Constant::Int(n.wrapping_neg())),
                (Unary::Invert, Constant::Int(n)) => Some(Constant::Int(!n)),
                (Unary::Not, Constant::Int(n)) => Some(Constant::Int((n == 0).into())),
                _ => None,
            },
            ExprKind::Binary(operator, _, left, right) => {
                fold_binary(*operator, self.fold(left)?, self.fold(right)?)
            }
            _ => None,
        }
    }
}

/// The code that a block gives its caller when `break` ends it.
const BREAK_CODE: i64 = 0;

fn is_null(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Variable(text) if text == b"$null" || text == b"$(null)")
}

fn fold_binary(operator: Binary, a: Constant, b: Constant) -> Option<Constant> {
    match (operator, a, b) {
        (Binary::Add, Constant::Text(mut a), Constant::Text(b)) => {
            a.extend(b);
            Some(Constant::Text(a))
        }
        (_, Constant::Int(a), Constant::Int(b)) => {
            let (a, b) = (Value::Int(a), Value::Int(b));
            match operate::binary(operator, a, b, &mut Heap::default()) {
                Ok(Value::Int(n)) => Some(Constant::Int(n)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The type of a value, where it is known at load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Text,
}

/// What an expression gives, unless a variable decides it.
fn known_type(expr: &Expr) -> Option<Type> {
    match &expr.kind {
        ExprKind::Text(_) | ExprKind::Unary(Unary::Text, _) => Some(Type::Text),
        ExprKind::Binary(Binary::Add, _, left, _) => known_type(left),
        ExprKind::Int(_)
        | ExprKind::Call(_)
        | ExprKind::Route(_)
        | ExprKind::Block(_)
        | ExprKind::Unary(..)
        | ExprKind::Binary(..)
        | ExprKind::And(..)
        | ExprKind::Or(..)
        | ExprKind::Match(..)
        | ExprKind::Assign(_)
        | ExprKind::Test(..)
        | ExprKind::Myself(..) => Some(Type::Int),
        ExprKind::Word(_) | ExprKind::Variable(_) | ExprKind::Select(_) | ExprKind::Choose(_) => {
            None
        }
    }
}

/// Whether an expression gives 0 or 1 and nothing else.
fn is_truth(expr: &Expr) -> bool {
    use Binary::*;
    match &expr.kind {
        ExprKind::Call(_)
        | ExprKind::Route(_)
        | ExprKind::Block(_)
        | ExprKind::And(..)
        | ExprKind::Or(..)
        | ExprKind::Match(..)
        | ExprKind::Assign(_)
        | ExprKind::Test(..)
        | ExprKind::Myself(..)
        | ExprKind::Unary(Unary::Not | Unary::Defined | Unary::Empty, _) => true,
        ExprKind::Binary(operator, ..) => matches!(
            operator,
            Equal
                | NotEqual
                | IntEqual
                | IntNotEqual
                | TextEqual
                | TextNotEqual
                | Less
                | LessEqual
                | Greater
                | GreaterEqual
        ),
        _ => false,
    }
}

/// Whether the operator cannot stand between these: what is known at load is not converted. With
/// text on the left, `+` and `==` are those of text, and a number is its digits.
fn clashes(operator: Binary, a: Option<Type>, b: Option<Type>) -> bool {
    use Binary::*;
    match operator {
        Add | Equal | NotEqual => a == Some(Type::Int) && b == Some(Type::Text),
        Sub | Mul | Div | Mod | BitAnd | BitOr | BitXor | ShiftLeft | ShiftRight | Less
        | LessEqual | Greater | GreaterEqual => a == Some(Type::Text) || b == Some(Type::Text),
        IntEqual | IntNotEqual => a == Some(Type::Text) || b == Some(Type::Text),
        TextEqual | TextNotEqual => a == Some(Type::Int),
        SameText | NotSameText => false,
    }
}

/// Whether a label stands among those before; two expressions may match alike.
fn is_among(labels: &[(Label, u32)], label: &Label) -> bool {
    labels.iter().any(|(known, _)| match (known, label) {
        (Label::Int(a), Label::Int(b)) => a == b,
        (Label::Text(a), Label::Text(b)) => a == b,
        _ => false,
    })
}

/// Whether a text can be the name of a host (RFC 1123 §2.1).
fn is_host(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    text.bytes().all(is_part) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// `address`, `address/bits` or `address/mask`.
fn net(text: &str) -> Option<Net> {
    use std::net::IpAddr;
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match mask {
        None => width,
        Some(mask) => match mask.parse::<u8>() {
            Ok(bits) if bits <= width => bits,
            Ok(_) => return None,
            Err(_) => match mask.parse().ok()? {
                IpAddr::V4(mask) => contiguous(u128::from(mask.to_bits()) << 96)?,
                IpAddr::V6(mask) => contiguous(mask.to_bits())?,
            },
        },
    };
    Some(Net { address, bits })
}

/// The ones at the top of a mask that has none below.
fn contiguous(mask: u128) -> Option<u8> {
    let ones = mask.leading_ones();
    (mask.count_ones() == ones).then_some(ones as u8)
}
