//! Statements.

use super::super::ast::{Assign, Call, Case, CaseLabel, Expr, ExprKind, Statement};
use super::super::lex::TokenKind;
use super::{Broken, Parsed, Parser};

impl Parser<'_> {
    /// `{ .. }` with at least one statement, which may be an empty one.
    pub(super) fn block(&mut self) -> Parsed<Vec<Statement>> {
        self.nested(|parser| {
            parser.expect("{")?;
            if parser.is_sign(0, "}") {
                let broken = parser.broken("a statement");
                parser.next();
                return broken;
            }
            let body = parser.statements(&["}"]);
            parser.expect("}")?;
            Ok(body)
        })
    }

    /// Statements up to one of the given signs, or to `case` and `default`.
    fn statements(&mut self, ends: &[&str]) -> Vec<Statement> {
        let mut statements = vec![];
        loop {
            let at_end = *self.peek() == TokenKind::End
                || ends.iter().any(|end| self.is_sign(0, end))
                || ends.len() > 1 && (self.is_word(0, "case") || self.is_word(0, "default"));
            if at_end {
                return statements;
            }
            if self.accept(";") {
                continue;
            }
            let start = self.at;
            match self.statement() {
                Ok(statement) => statements.push(statement),
                Err(Broken) => {
                    if self.at == start && !self.is_sign(0, "}") {
                        self.next();
                    }
                    self.skip_statement();
                }
            }
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
                self.expect(";")?;
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
            _ => Statement::Call(self.call_statement()?),
        };
        self.expect(";")?;
        Ok(statement)
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
        let mut cases = vec![];
        while !self.is_sign(0, "}") {
            let at = self.place();
            let label = if self.is_word(0, "default") {
                self.next();
                CaseLabel::Default
            } else if self.is_word(0, "case") {
                self.next();
                if self.accept("/") {
                    CaseLabel::Regex(self.string("a regular expression in quotes")?)
                } else {
                    CaseLabel::Value(self.expression()?)
                }
            } else {
                return self.broken("\"case\", \"default\" or \"}\"");
            };
            self.expect(":")?;
            let body = self.nested(|parser| Ok(parser.statements(&["}", "case"])))?;
            cases.push(Case { label, body, at });
        }
        self.expect("}")?;
        Ok(Statement::Switch(value, cases))
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
        if self.is_sign(1, "(") {
            return self.call();
        }
        let at = self.place();
        let name = self.word("a function")?;
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
