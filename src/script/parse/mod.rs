//! Tokens to the syntax tree, by recursive descent.
//!
//! After a mistake the parser goes on behind the next `;` or block, so that one run reports as
//! many as it can. Nesting is bounded, because each level is a level of the stack.

mod body;
mod expression;
mod item;

use super::ast::Item;
use super::error::{Diagnostics, ErrorKind, Position};
use super::lex::{Token, TokenKind};
use crate::limits;

/// A mistake was noted; the caller finds a place to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Broken;

type Parsed<T> = Result<T, Broken>;

/// A reader of tokens.
pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Parser<'a> {
    /// A parser of `tokens`, whose last is the end.
    pub(super) fn new(tokens: &'a [Token], diagnostics: &'a mut Diagnostics) -> Self {
        Parser {
            tokens,
            at: 0,
            depth: 0,
            diagnostics,
        }
    }

    /// All top-level statements.
    pub(super) fn parse(mut self) -> Vec<Item> {
        let mut items = vec![];
        while *self.peek() != TokenKind::End {
            if self.accept(";") {
                continue;
            }
            let start = self.at;
            if self.item(&mut items) == Err(Broken) {
                self.at = self.at.max(start + 1).min(self.tokens.len() - 1);
                self.skip_item();
            }
        }
        items
    }

    fn token(&self, ahead: usize) -> &'a Token {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> &'a TokenKind {
        &self.token(0).kind
    }

    fn place(&self) -> Position {
        self.token(0).at
    }

    fn next(&mut self) -> &'a Token {
        let token = self.token(0);
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is_sign(&self, ahead: usize, sign: &str) -> bool {
        matches!(&self.token(ahead).kind, TokenKind::Sign(s) if *s == sign)
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(&self.token(ahead).kind, TokenKind::Word(w) if w == word)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let is = self.is_sign(0, sign);
        if is {
            self.next();
        }
        is
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.accept(sign) {
            return Ok(());
        }
        self.broken(&format!("\"{sign}\""))
    }

    fn word(&mut self, expected: &str) -> Parsed<String> {
        match self.peek() {
            TokenKind::Word(word) => {
                self.next();
                Ok(word.clone())
            }
            _ => self.broken(expected),
        }
    }

    fn string(&mut self, expected: &str) -> Parsed<Vec<u8>> {
        match self.peek() {
            TokenKind::Str { text, .. } => {
                self.next();
                Ok(text.clone())
            }
            _ => self.broken(expected),
        }
    }

    fn text(&mut self, expected: &str) -> Parsed<String> {
        let bytes = self.string(expected)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Notes that something else was expected here.
    fn broken<T>(&mut self, expected: &str) -> Parsed<T> {
        let kind = ErrorKind::Expected {
            expected: expected.to_string(),
            found: self.peek().describe(),
        };
        self.diagnostics.error(self.place(), kind);
        Err(Broken)
    }

    /// Runs `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= limits::CONFIG_NEST_MAX {
            self.diagnostics
                .error(self.place(), ErrorKind::NestedTooDeep);
            return Err(Broken);
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Goes on behind the next block or `;` that is not inside a block, or before a word that
    /// opens an item.
    fn skip_item(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                TokenKind::End => return,
                TokenKind::Word(word) if depth == 0 && item::opens_item(word) => return,
                TokenKind::Sign(";") if depth == 0 => return,
                TokenKind::Sign("{") => depth += 1,
                TokenKind::Sign("}") if depth <= 1 => {
                    self.next();
                    return;
                }
                TokenKind::Sign("}") => depth -= 1,
                _ => {}
            }
            self.next();
        }
    }

    /// Goes on behind the next `;` of this block, or before its end.
    fn skip_statement(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                TokenKind::End => return,
                TokenKind::Sign(";") if depth == 0 => {
                    self.next();
                    return;
                }
                TokenKind::Sign("{") => depth += 1,
                TokenKind::Sign("}") if depth == 0 => return,
                TokenKind::Sign("}") => {
                    depth -= 1;
                    if depth == 0 {
                        self.next();
                        return;
                    }
                }
                _ => {}
            }
            self.next();
        }
    }
}

/// The boolean words of the language.
fn boolean(word: &str) -> Option<i64> {
    match word {
        "yes" | "true" | "on" | "enable" => Some(1),
        "no" | "false" | "off" | "disable" => Some(0),
        _ => None,
    }
}
