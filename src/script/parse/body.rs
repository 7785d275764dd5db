//! Statements.

use super::super::ast::{Assign, Call, Case, CaseLabel, Expr, ExprKind, Statement};
use super::super::error::nearest;
use super::super::lex::TokenKind;
use super::item::{block_kind, opens_item};
use super::{Broken, Parsed, Parser};

/// Blocks that are read once more, in a file, because a mistake lost what they are part of. Nested
/// ones would double the work each time.
const REREAD_MAX: u32 = 64;

impl Parser<'_> {
    /// `{ .. }` with at least one statement, which may be an empty one.
    pub(super) fn block(&mut self) -> Parsed<Vec<Statement>> {
        self.nested(|parser| {
            parser.expect("{")?;
            if parser.is_sign(0, "}") {
                let _: Parsed<()> = parser.broken("a statement");
            }
            Ok(parser.rest_of_block())
        })
    }

    /// The statements of a block and the `}` behind them. Where that is missing the block ends.
    fn rest_of_block(&mut self) -> Vec<Statement> {
        let body = self.statements(&[]);
        let _: Parsed<()> = self.expect("}");
        body
    }

    /// Statements up to the end of the block or to one of the given words.
    fn statements(&mut self, ends: &[&str]) -> Vec<Statement> {
        let mut statements = vec![];
        loop {
            let at_end = *self.peek() == TokenKind::End
                || self.is_sign(0, "}")
                || self.opens_block()
                || ends.iter().any(|end| self.is_word(0, end));
            if at_end {
                return statements;
            }
            if !self.accept(";") {
                self.statement_or_skip(&mut statements);
            }
        }
    }

    /// One statement; if it cannot be read, what can be read of it.
    pub(super) fn statement_or_skip(&mut self, statements: &mut Vec<Statement>) {
        let start = self.at;
        match self.statement() {
            Ok(statement) => statements.push(statement),
            Err(Broken) => {
                let blocks = self.block_since(start);
                if let Some(block) = blocks.filter(|_| self.rereads < REREAD_MAX) {
                    self.rereads += 1;
                    self.at = block;
                } else if self.at == start && !self.is_sign(0, "}") && !self.is_sign(0, "{") {
                    self.next();
                }
                let body = self.skip_statement();
                statements.push(Statement::If(vec![], body));
            }
        }
    }

    /// The first block that was read since, and was lost with what it stood in.
    fn block_since(&self, start: usize) -> Option<usize> {
        let read = &self.tokens[start..self.at];
        let block = read.iter().position(|t| t.kind == TokenKind::Sign("{"))?;
        Some(start + block)
    }

    /// Goes on behind the next `;` of this block, or before its end. A block on the way is read.
    fn skip_statement(&mut self) -> Vec<Statement> {
        loop {
            match self.peek() {
                TokenKind::End | TokenKind::Sign("}") => return vec![],
                TokenKind::Sign("{") => return self.skipped_block(),
                _ if self.opens_block() => return vec![],
                // The end of the statement may stand in what was unreadable.
                TokenKind::Bad => {
                    self.next();
                    if self.begins_line() && self.begins_statement() {
                        return vec![];
                    }
                }
                TokenKind::Sign(";") => {
                    self.next();
                    return vec![];
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    /// The statements of a block behind something that was not understood, and of its `else`.
    pub(super) fn skipped_block(&mut self) -> Vec<Statement> {
        let start = self.at;
        let body = self.nested(|parser| {
            parser.next();
            if !(parser.is_word(0, "case") || parser.is_word(0, "default")) {
                return Ok(parser.rest_of_block());
            }
            let cases = parser.cases()?;
            Ok(cases.into_iter().flat_map(|case| case.body).collect())
        });
        if self.at == start {
            self.next();
        }
        let mut body = body.unwrap_or_default();
        if self.is_word(0, "else") {
            self.next();
            match self.is_sign(0, "{") {
                true => body.extend(self.skipped_block()),
                false => self.statement_or_skip(&mut body),
            }
        }
        body
    }

    /// Whether a route block begins here.
    fn opens_block(&self) -> bool {
        let TokenKind::Word(word) = self.peek() else {
            return false;
        };
        block_kind(word).is_some() && (self.is_sign(1, "{") || self.is_sign(1, "["))
    }

    /// Whether something begins here that can only be a statement.
    pub(super) fn begins_statement(&self) -> bool {
        match self.peek() {
            TokenKind::Variable(_) => true,
            TokenKind::Word(word) => match word.as_str() {
                "if" | "else" | "while" | "switch" | "break" | "return" | "exit" | "drop" => true,
                word => self.is_sign(1, "(") && (word == "route" || !opens_item(word)),
            },
            _ => false,
        }
    }

    /// A block, one statement, or nothing (`;`).
    fn block_or_statement(&mut self) -> Parsed<Vec<Statement>> {
        if self.is_sign(0, "{") {
            self.block()
        } else if self.accept(";") {
            Ok(vec![])
        } else {
            self.nested(|parser| Ok(vec![parser.statement()?]))
        }
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let at = self.place();
        let word = match self.peek() {
            TokenKind::Variable(_) => {
                let assign = self.assign()?;
                self.end_of_statement()?;
                return Ok(Statement::Assign(assign));
            }
            TokenKind::Word(word) => word.as_str(),
            _ => return self.broken("a statement"),
        };
        match word {
            "if" => return self.condition(),
            "while" => {
                self.next();
                let condition = self.expression()?;
                return Ok(Statement::While(condition, self.block_or_statement()?));
            }
            "switch" => return self.switch(),
            _ => {}
        }
        let statement = match word {
            "break" => {
                self.next();
                Statement::Break(at)
            }
            "return" => Statement::Return(self.code()?, at),
            "exit" => {
                self.code()?;
                Statement::Exit(at)
            }
            "drop" => {
                self.code()?;
                Statement::Drop(at)
            }
            "route" if self.is_sign(1, "(") => {
                self.next();
                Statement::Route(self.route_name()?, at)
            }
            _ => {
                let call = self.call_statement()?;
                match self.misspelt(&call) {
                    Some(body) => return Ok(Statement::If(vec![], body)),
                    None => Statement::Call(call),
                }
            }
        };
        self.end_of_statement()?;
        Ok(statement)
    }

    /// `;`. Where the line ends or the block, the statement is whole without it.
    fn end_of_statement(&mut self) -> Parsed<()> {
        let is_whole = self.begins_line() || self.is_sign(0, "}");
        match self.expect(";") {
            Err(Broken) if is_whole && *self.peek() != TokenKind::Bad => Ok(()),
            ended => ended,
        }
    }

    fn condition(&mut self) -> Parsed<Statement> {
        let mut branches = vec![];
        loop {
            self.next();
            let condition = self.expression()?;
            branches.push((condition, self.block_or_statement()?));
            if !self.is_word(0, "else") {
                return Ok(Statement::If(branches, vec![]));
            }
            self.next();
            if !self.is_word(0, "if") {
                let last = self.block_or_statement()?;
                return Ok(Statement::If(branches, last));
            }
        }
    }

    fn switch(&mut self) -> Parsed<Statement> {
        self.next();
        let value = self.expression()?;
        self.expect("{")?;
        Ok(Statement::Switch(value, self.cases()?))
    }

    /// The cases of a `switch` and the `}` behind them.
    fn cases(&mut self) -> Parsed<Vec<Case>> {
        let mut cases = vec![];
        while !self.is_sign(0, "}") {
            if *self.peek() == TokenKind::End || self.opens_block() {
                let _: Parsed<()> = self.expect("}");
                return Ok(cases);
            }
            let at = self.place();
            let label = self.label().and_then(|label| {
                self.expect(":")?;
                Ok(label)
            });
            if label.is_err() {
                self.skip_to_case();
            }
            let ends = &["case", "default"];
            let body = self.nested(|parser| Ok(parser.statements(ends)))?;
            // What a label that was not understood would mean is nobody's business.
            let label = label.unwrap_or(CaseLabel::Broken);
            cases.push(Case { label, body, at });
        }
        self.expect("}")?;
        Ok(cases)
    }

    fn label(&mut self) -> Parsed<CaseLabel> {
        if self.is_word(0, "default") {
            self.next();
            return Ok(CaseLabel::Default);
        }
        if !self.is_word(0, "case") {
            return self.broken("\"case\", \"default\" or \"}\"");
        }
        self.next();
        if self.accept("/") {
            let pattern = self.string("a regular expression in quotes")?;
            return Ok(CaseLabel::Regex(pattern));
        }
        Ok(CaseLabel::Value(self.expression()?))
    }

    /// Goes on behind a `:` or `;`, or before the next case or the end.
    fn skip_to_case(&mut self) {
        loop {
            match self.peek() {
                TokenKind::End | TokenKind::Sign("}") => return,
                TokenKind::Word(word) if word == "case" || word == "default" => return,
                TokenKind::Sign(":" | ";") => {
                    self.next();
                    return;
                }
                TokenKind::Sign("{") => {
                    self.skipped_block();
                }
                _ if self.opens_block() => return,
                _ => {
                    self.next();
                }
            }
        }
    }

    /// The code after `return`, `exit` and `drop`.
    fn code(&mut self) -> Parsed<Option<Expr>> {
        self.next();
        if self.is_sign(0, ";") || self.is_sign(0, "}") {
            return Ok(None);
        }
        if self.is_sign(0, "(") && self.is_sign(1, ")") {
            self.next();
            self.next();
            return Ok(None);
        }
        let at = self.at;
        let code = self.expression()?;
        if matches!(code.kind, ExprKind::Text(_)) {
            self.at = at;
            return self.broken("a number");
        }
        Ok(Some(code))
    }

    pub(super) fn assign(&mut self) -> Parsed<Assign> {
        let at = self.place();
        let TokenKind::Variable(target) = self.peek() else {
            return self.broken("a variable");
        };
        self.next();
        self.expect("=")?;
        Ok(Assign {
            target: target.clone(),
            value: self.expression()?,
            at,
        })
    }

    /// The name inside `route(..)`; a bare word is its text.
    pub(super) fn route_name(&mut self) -> Parsed<Expr> {
        self.expect("(")?;
        let at = self.place();
        let kind = match self.peek() {
            TokenKind::Word(word) if self.is_sign(1, ")") => {
                self.next();
                ExprKind::Text(word.clone().into_bytes())
            }
            TokenKind::Number(n) if self.is_sign(1, ")") => {
                self.next();
                ExprKind::Text(n.to_string().into_bytes())
            }
            _ => self.expression()?.kind,
        };
        self.expect(")")?;
        Ok(Expr { kind, at })
    }

    /// A call; some functions of the core are written without parentheses.
    fn call_statement(&mut self) -> Parsed<Call> {
        let at = self.place();
        if self.is_sign(1, "(") {
            return self.call();
        }
        if self.is_word(0, "else") {
            return self.broken("a statement");
        }
        let name = self.word("a function")?;
        if self.is_sign(0, "{") || self.is_word(0, "if") {
            self.unknown_word(at, &name, &["else"]);
            return Err(Broken);
        }
        if !self.is_sign(0, ";") {
            return self.broken("\"(\"");
        }
        Ok(Call {
            name,
            args: vec![],
            bare: true,
            at,
        })
    }

    /// What a call governs that is none: `iff (..) {` or `whlie (..) ..`.
    fn misspelt(&mut self, call: &Call) -> Option<Vec<Statement>> {
        let known = ["if", "while", "switch"];
        let is_block = self.is_sign(0, "{");
        let is_meant = || self.begins_statement() && nearest(&call.name, known).is_some();
        if !is_block && !is_meant() {
            return None;
        }
        self.unknown_word(call.at, &call.name, &known);
        Some(match is_block {
            true => self.skipped_block(),
            false => self.block_or_statement().unwrap_or_default(),
        })
    }

    pub(super) fn call(&mut self) -> Parsed<Call> {
        let at = self.place();
        let name = self.word("a function")?;
        self.expect("(")?;
        let mut args = vec![];
        if !self.accept(")") {
            loop {
                args.push(self.argument()?);
                if !self.accept(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        let bare = false;
        Ok(Call {
            name,
            args,
            bare,
            at,
        })
    }

    /// An expression, or a bare word or address as functions of the core take them.
    fn argument(&mut self) -> Parsed<Expr> {
        let at = self.place();
        let is_bare = match self.peek() {
            TokenKind::Word(word) => {
                let ends = [",", ")", ":", ".", "-"];
                super::boolean(word).is_none() && ends.iter().any(|s| self.is_sign(1, s))
            }
            TokenKind::Address(_) => true,
            _ => false,
        };
        if !is_bare {
            return self.expression();
        }
        let mut text = self.host("an argument")?;
        while self.accept(":") {
            text.push(':');
            match self.peek() {
                TokenKind::Number(n) => {
                    text.push_str(&n.to_string());
                    self.next();
                }
                _ => text.push_str(&self.host("an argument")?),
            }
        }
        Ok(Expr {
            kind: ExprKind::Word(text),
            at,
        })
    }
}
