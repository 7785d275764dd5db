//! The configuration as it was written, with the place of everything that can be wrong.

use super::error::Position;
use super::host::Keyword;
use super::operate::{Binary, Unary};
use super::program::{Alias, Listen, Setting};
use super::signature::RouteKind;

/// A top-level statement.
#[derive(Debug)]
pub(super) enum Item {
    Global(String, Given, Position),
    Custom(CustomItem),
    Listen(Listen),
    Alias(Alias),
    /// Whether variables in the name are expanded, too.
    LoadModule(String, bool, Position),
    ModParam(ModParamItem),
    Engine(String, Position),
    Flags(Vec<(String, Option<i64>, Position)>),
    Route(RouteItem),
    /// Statements behind a bracket too many, for what else is wrong with them.
    Loose(Vec<Statement>),
}

/// A value as it is written in a setting.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// A number or a boolean word; the word is kept for parameters that are text.
    Int(i64, Option<String>),
    /// A quoted string.
    Text(Vec<u8>),
    /// Anything else: a word, an address.
    Word(String),
}

#[derive(Debug)]
pub(super) struct CustomItem {
    pub(super) group: String,
    pub(super) instance: Option<i64>,
    pub(super) name: String,
    pub(super) value: Setting,
    pub(super) description: Option<String>,
    pub(super) at: Position,
}

#[derive(Debug)]
pub(super) struct ModParamItem {
    pub(super) modules: Vec<u8>,
    pub(super) name: String,
    pub(super) value: Given,
    /// Variables in a text are expanded (`modparamx`).
    pub(super) expands: bool,
    pub(super) at: Position,
    pub(super) value_at: Position,
}

#[derive(Debug)]
pub(super) struct RouteItem {
    pub(super) kind: RouteKind,
    /// `0` for the unnamed one.
    pub(super) name: String,
    /// Whether the name was written.
    pub(super) is_named: bool,
    pub(super) body: Vec<Statement>,
    pub(super) at: Position,
}

/// A statement.
#[derive(Debug)]
pub(super) enum Statement {
    Call(Call),
    Route(Expr, Position),
    Assign(Assign),
    /// Conditions with their branches, in order, and the last `else`.
    If(Vec<(Expr, Vec<Statement>)>, Vec<Statement>),
    While(Expr, Vec<Statement>),
    Switch(Expr, Vec<Case>),
    Break(Position),
    Return(Option<Expr>, Position),
    Exit(Position),
    Drop(Position),
}

#[derive(Debug)]
pub(super) struct Assign {
    pub(super) target: Vec<u8>,
    pub(super) value: Expr,
    pub(super) at: Position,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) label: CaseLabel,
    pub(super) body: Vec<Statement>,
    pub(super) at: Position,
}

#[derive(Debug)]
pub(super) enum CaseLabel {
    Default,
    Value(Expr),
    Regex(Vec<u8>),
    /// It could not be read.
    Broken,
}

/// A call of a function.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Vec<Expr>,
    /// It was written without parentheses.
    pub(super) bare: bool,
    pub(super) at: Position,
}

/// An expression with its place.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) kind: ExprKind,
    pub(super) at: Position,
}

#[derive(Debug)]
pub(super) enum ExprKind {
    Int(i64),
    Text(Vec<u8>),
    /// A bare word or address: a flag, a host, a socket, the name of a route.
    Word(String),
    Variable(Vec<u8>),
    Select(Vec<u8>),
    Call(Call),
    Route(Box<Expr>),
    /// `{ .. }`: runs, and is true.
    Block(Vec<Statement>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, &'static str, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Match(Box<Expr>, Box<Expr>),
    /// `selval(condition, first, second)`.
    Choose(Box<[Expr; 3]>),
    Assign(Box<Assign>),
    /// A keyword, how it is compared, and with what.
    Test(Keyword, Compare, Box<Expr>),
    /// Whether what the keyword names is this proxy.
    Myself(Keyword, bool),
}

/// How a keyword is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compare {
    Same(bool),
    Match,
    Number(Binary),
    Address(bool),
}
