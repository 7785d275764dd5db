//! Tokens to the syntax tree, by recursive descent.
//!
//! One run reports all mistakes, each once. After one the parser goes on behind the next `;`, or
//! into the next block, whose statements are read as if nothing had happened; a block that is not
//! closed ends where the next one begins. What a mistake may have hidden is noted with it, so
//! that nobody misses it. Nesting is bounded, because each level is a level of the stack.

mod body;
mod expression;
mod item;

use super::ast::Item;
use super::error::{Diagnostics, ErrorKind, Hidden, Misuse, Position, nearest};
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
    /// Blocks that were read again.
    rereads: u32,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Parser<'a> {
    /// A parser of `tokens`, whose last is the end.
    pub(super) fn new(tokens: &'a [Token], diagnostics: &'a mut Diagnostics) -> Self {
        Parser {
            tokens,
            at: 0,
            depth: 0,
            rereads: 0,
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
            if self.is_sign(0, "}") || self.is_stray_statement() {
                self.stray(&mut items);
                continue;
            }
            let start = self.at;
            if self.item(&mut items) == Err(Broken) {
                self.at = self.at.max(start + 1).min(self.tokens.len() - 1);
                if let Some(hidden) = item::hidden_by(&self.tokens[start..]) {
                    self.diagnostics.hide(hidden);
                }
                self.skip_item();
            }
        }
        items
    }

    /// Statements outside of a block, mostly behind a `}` too many: one mistake for all of them.
    fn stray(&mut self, items: &mut Vec<Item>) {
        let _: Parsed<()> = self.broken(item::EXPECTED);
        let mut body = vec![];
        loop {
            if self.is_word(0, "else") || self.is_sign(0, "}") || self.is_sign(0, ";") {
                self.next();
            } else if self.is_sign(0, "{") {
                body.extend(self.skipped_block());
            } else if self.begins_statement() {
                self.statement_or_skip(&mut body);
            } else {
                break;
            }
        }
        items.push(Item::Loose(body));
    }

    /// Whether a statement stands here, and no misspelt item.
    fn is_stray_statement(&self) -> bool {
        let is_item = || match self.peek() {
            TokenKind::Word(word) if word != "route" => item::resembles_opener(word),
            _ => false,
        };
        self.begins_statement() && !is_item()
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
        // What closes something is missing where the line before ends.
        let is_closing = matches!(sign, ";" | ")" | "]" | ",");
        let at = match self.at.checked_sub(1) {
            Some(before) if is_closing && self.begins_line() => self.tokens[before].end,
            _ => self.place(),
        };
        self.broken_at(at, &format!("\"{sign}\""))
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
        self.broken_at(self.place(), expected)
    }

    fn broken_at<T>(&mut self, at: Position, expected: &str) -> Parsed<T> {
        let is_noted = match self.peek() {
            TokenKind::Bad => true,
            TokenKind::End => self.diagnostics.may_hide(Hidden::Anything),
            _ => false,
        };
        if is_noted {
            return Err(Broken);
        }
        let kind = ErrorKind::Expected {
            expected: expected.to_string(),
            found: self.peek().describe(),
        };
        self.diagnostics.error(at, kind);
        Err(Broken)
    }

    /// Notes a word that opens nothing; gives the one of `known` that was meant, if it is clear.
    fn unknown_word(&mut self, at: Position, name: &str, known: &[&str]) -> Option<String> {
        let near = nearest(name, known.iter().copied());
        let (name, found) = (name.to_string(), near.clone());
        let kind = ErrorKind::Misuse(Misuse::WordUnknown { name, near });
        self.diagnostics.error(at, kind);
        found
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

    /// Whether a line begins here, with a word and `=`.
    fn is_setting_line(&self) -> bool {
        self.begins_line() && self.is_sign(1, "=")
    }

    /// Whether the token here is the first of its line.
    fn begins_line(&self) -> bool {
        self.at == 0 || self.tokens[self.at - 1].at.line < self.place().line
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
                TokenKind::Word(_) if depth == 0 && self.is_setting_line() => return,
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
}

/// The boolean words of the language.
fn boolean(word: &str) -> Option<i64> {
    match word {
        "yes" | "true" | "on" | "enable" => Some(1),
        "no" | "false" | "off" | "disable" => Some(0),
        _ => None,
    }
}
