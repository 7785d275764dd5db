//! Bytes to tokens, one file or one definition at a time.
//!
//! Comments nest. Numbers are decimal, `0x1F`, `010` (octal) and `101b`. A variable is one token
//! from its `$` to the parenthesis that closes it; what it means is looked at when names are
//! known. Directives (`#!`, `!!`) are handed to the preprocessor at once, because a skipped
//! branch is not tokens.

use super::error::{ErrorKind, Misuse, Position};

/// A word of the configuration with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: Position,
    /// The place behind it.
    pub(super) end: Position,
}

/// The kinds of tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TokenKind {
    /// A name or keyword.
    Word(String),
    /// A number without sign.
    Number(i64),
    /// A string; `joins` when it was in double quotes and is one with a neighbour of its kind.
    Str { text: Vec<u8>, joins: bool },
    /// `$..`, as written.
    Variable(Vec<u8>),
    /// `@..`, as written without the `@`.
    Select(Vec<u8>),
    /// An IPv4 address, or an IPv6 address in brackets.
    Address(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// What could not be read; the mistake has been noted.
    Bad,
    /// The end of all files.
    End,
}

impl TokenKind {
    /// How the token is named in an error.
    pub(super) fn describe(&self) -> String {
        match self {
            TokenKind::Word(word) => format!("\"{word}\""),
            TokenKind::Number(n) => n.to_string(),
            TokenKind::Str { .. } => "a string".to_string(),
            TokenKind::Variable(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
            TokenKind::Select(text) => format!("\"@{}\"", String::from_utf8_lossy(text)),
            TokenKind::Address(text) => format!("\"{text}\""),
            TokenKind::Sign(sign) => format!("\"{sign}\""),
            TokenKind::Bad => "something unreadable".to_string(),
            TokenKind::End => "the end of the file".to_string(),
        }
    }
}

/// What comes next in the bytes.
#[derive(Debug)]
pub(super) enum Lexeme {
    Token(Token),
    /// The rest of a line that begins a directive, continued lines joined, and its place.
    Directive(Vec<u8>, Position),
    End,
}

/// Longer signs come before their beginnings.
const SIGNS: [&str; 32] = [
    "==", "=~", "!=", "<=", ">=", "<<", ">>", "&&", "||", "+=", "=", "!", "<", ">", "&", "|", "^",
    "~", "+", "-", "*", "/", "(", ")", "{", "}", "[", "]", ",", ";", ":", ".",
];

/// A reader over one text.
#[derive(Debug)]
pub(super) struct Lexer {
    text: Vec<u8>,
    at: usize,
    line: u32,
    line_start: usize,
    file: u16,
    /// Where every token stands, when the text is a definition's.
    fixed: Option<Position>,
    /// How much of `event_route[` was just read: its name is taken as written.
    event: u8,
    /// A string ends with its line: some string of the text does not end at all.
    by_line: bool,
}

impl Lexer {
    /// A reader of a file.
    pub(super) fn file(text: Vec<u8>, file: u16) -> Lexer {
        Lexer {
            text,
            at: 0,
            line: 1,
            line_start: 0,
            file,
            fixed: None,
            event: 0,
            by_line: false,
        }
    }

    /// The same reader, for which no string goes beyond its line.
    pub(super) fn by_line(self, by_line: bool) -> Lexer {
        Lexer { by_line, ..self }
    }

    /// A reader of a definition that is used at `place`.
    pub(super) fn definition(text: Vec<u8>, place: Position) -> Lexer {
        Lexer {
            fixed: Some(place),
            ..Lexer::file(text, place.file)
        }
    }

    /// Whether this is the text of a file.
    pub(super) fn is_file(&self) -> bool {
        self.fixed.is_none()
    }

    /// How many bytes have been read.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// What has been read since then, as it is written.
    pub(super) fn since(&self, offset: usize) -> &[u8] {
        self.text.get(offset..self.at).unwrap_or_default()
    }

    /// The place of the next byte.
    pub(super) fn place(&self) -> Position {
        self.fixed.unwrap_or(Position {
            file: self.file,
            line: self.line,
            column: (self.at - self.line_start) as u32 + 1,
        })
    }

    /// The next token or directive. After an error the reader stands behind its cause.
    pub(super) fn next(&mut self) -> Result<Lexeme, (Position, ErrorKind)> {
        self.skip_blanks_and_comments()?;
        let at = self.place();
        let Some(b) = self.peek(0) else {
            return Ok(Lexeme::End);
        };
        if self.is_directive() {
            self.advance(2);
            return Ok(Lexeme::Directive(self.directive_line(), at));
        }
        let kind = match b {
            _ if self.event == 2 => self.event_name(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
            b'0'..=b'9' => self.number(at)?,
            b'"' | b'\'' => self.string(b, at)?,
            b'$' => self.variable(at)?,
            b'@' => self.select(),
            _ => self.sign(at)?,
        };
        self.event = match &kind {
            TokenKind::Word(word) if word == "event_route" => 1,
            TokenKind::Sign("[") if self.event == 1 => 2,
            _ => 0,
        };
        let end = self.place();
        Ok(Lexeme::Token(Token { kind, at, end }))
    }

    /// Skips the branch of a condition that does not hold: up to the directive that may end it.
    pub(super) fn skip_to_directive(&mut self) -> Option<(Vec<u8>, Position)> {
        while self.at < self.text.len() {
            while matches!(self.peek(0), Some(b' ' | b'\t' | b'\r')) {
                self.advance(1);
            }
            let at = self.place();
            if self.starts_with(b"#!") || self.starts_with(b"!!") {
                self.advance(2);
                return Some((self.directive_line(), at));
            }
            while self.peek(0).is_some_and(|b| b != b'\n') {
                self.advance(1);
            }
            self.advance(1);
        }
        None
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn starts_with(&self, what: &[u8]) -> bool {
        self.text[self.at..].starts_with(what)
    }

    fn advance(&mut self, n: usize) {
        for _ in 0..n {
            if self.peek(0) == Some(b'\n') {
                self.line += 1;
                self.line_start = self.at + 1;
            }
            self.at = (self.at + 1).min(self.text.len());
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> Vec<u8> {
        let start = self.at;
        while self.peek(0).is_some_and(&accept) {
            self.advance(1);
        }
        self.text[start..self.at].to_vec()
    }

    /// `#!` always begins a directive; `!!` only before a word, for it is also two operators.
    fn is_directive(&self) -> bool {
        self.starts_with(b"#!")
            || self.starts_with(b"!!") && self.peek(2).is_some_and(|b| b.is_ascii_alphabetic())
    }

    fn directive_line(&mut self) -> Vec<u8> {
        let mut line = vec![];
        while let Some(b) = self.peek(0) {
            let continued = self.starts_with(b"\\\n") || self.starts_with(b"\\\r\n");
            if continued {
                self.take_while(|b| b != b'\n');
                line.push(b' ');
            } else if b == b'\n' {
                break;
            } else {
                line.push(b);
            }
            self.advance(1);
        }
        line
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), (Position, ErrorKind)> {
        loop {
            let is_comment = self.starts_with(b"//") || self.starts_with(b"#");
            match self.peek(0) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.advance(1),
                Some(b'#' | b'/') if is_comment && !self.is_directive() => {
                    let at = self.place();
                    self.take_while(|b| b != b'\n');
                    // It would take away what stands behind the name that is replaced.
                    if !self.is_file() {
                        return Err((at, ErrorKind::Misuse(Misuse::DefinitionComment)));
                    }
                }
                Some(b'/') if self.starts_with(b"/*") => self.skip_nested_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_nested_comment(&mut self) -> Result<(), (Position, ErrorKind)> {
        let at = self.place();
        let mut depth = 0u32;
        while self.at < self.text.len() {
            if self.starts_with(b"/*") {
                depth += 1;
                self.advance(2);
            } else if self.starts_with(b"*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.advance(1);
            }
        }
        Err((at, ErrorKind::CommentOpen))
    }

    fn word(&mut self) -> TokenKind {
        let bytes = self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        TokenKind::Word(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn event_name(&mut self) -> TokenKind {
        let bytes = self.take_while(|b| !matches!(b, b']' | b'\n' | b'{'));
        let text = bytes.trim_ascii().to_vec();
        let text = match &text[..] {
            [b'"', inner @ .., b'"'] => inner.to_vec(),
            _ => text,
        };
        TokenKind::Str { text, joins: false }
    }

    fn number(&mut self, at: Position) -> Result<TokenKind, (Position, ErrorKind)> {
        if let Some(address) = self.ipv4() {
            return Ok(TokenKind::Address(address));
        }
        let too_large = (at, ErrorKind::NumberTooLarge);
        let radix_of = |digits: &[u8], radix| {
            let text = std::str::from_utf8(digits).unwrap_or_default();
            i64::from_str_radix(text, radix)
        };
        if self.starts_with(b"0x") && self.peek(2).is_some_and(|b| b.is_ascii_hexdigit()) {
            self.advance(2);
            let digits = self.take_while(|b| b.is_ascii_hexdigit());
            let n = radix_of(&digits, 16).map_err(|_| too_large)?;
            return Ok(TokenKind::Number(n));
        }
        let digits = self.take_while(|b| b.is_ascii_digit());
        let is_binary = self.peek(0) == Some(b'b')
            && digits.iter().all(|d| matches!(d, b'0' | b'1'))
            && !self
                .peek(1)
                .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let radix = match &digits[..] {
            _ if is_binary => 2,
            [b'0', rest @ ..] if rest.iter().all(|d| (b'0'..b'8').contains(d)) => 8,
            [b'0', ..] => {
                let digits = String::from_utf8_lossy(&digits).into_owned();
                return Err((at, ErrorKind::Misuse(Misuse::NumberOctal(digits))));
            }
            _ => 10,
        };
        if is_binary {
            self.advance(1);
        }
        let n = radix_of(&digits, radix).map_err(|_| too_large)?;
        Ok(TokenKind::Number(n))
    }

    /// Four groups of digits with dots between.
    fn ipv4(&mut self) -> Option<String> {
        let mut len = 0;
        for group in 0..4 {
            if group > 0 {
                (self.peek(len)? == b'.').then_some(())?;
                len += 1;
            }
            let start = len;
            while self.peek(len).is_some_and(|b| b.is_ascii_digit()) {
                len += 1;
            }
            (1..=3).contains(&(len - start)).then_some(())?;
        }
        let text = String::from_utf8_lossy(&self.text[self.at..self.at + len]).into_owned();
        self.advance(len);
        Some(text)
    }

    fn string(&mut self, quote: u8, at: Position) -> Result<TokenKind, (Position, ErrorKind)> {
        self.advance(1);
        let mut text = vec![];
        loop {
            match self.peek(0) {
                None => return Err((at, ErrorKind::StringOpen)),
                Some(b'\n') if self.by_line => return Err((at, ErrorKind::StringOpen)),
                Some(b) if b == quote => break self.advance(1),
                Some(b'\\') if quote == b'"' => self.escape(&mut text),
                Some(b) => {
                    text.push(b);
                    self.advance(1);
                }
            }
        }
        Ok(TokenKind::Str {
            text,
            joins: quote == b'"',
        })
    }

    fn escape(&mut self, text: &mut Vec<u8>) {
        self.advance(1);
        let Some(b) = self.peek(0) else { return };
        let plain = match b {
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'a' => Some(7),
            b'"' | b'\\' => Some(b),
            _ => None,
        };
        if let Some(plain) = plain {
            text.push(plain);
            self.advance(1);
        } else if b == b'\n' {
            self.advance(1);
        } else if !self.escaped_code(text) {
            // An unknown escape stays as it is written.
            text.extend([b'\\', b]);
            self.advance(1);
        }
    }

    /// `\xH[H]` and `\OO[O]`.
    fn escaped_code(&mut self, text: &mut Vec<u8>) -> bool {
        let (lead, radix, least, most) = match self.peek(0) {
            Some(b'x') => (1, 16, 1, 2),
            _ => (0, 8, 2, 3),
        };
        let digit = |lexer: &Lexer, n| {
            let b = lexer.peek(lead + n)?;
            char::from(b).to_digit(radix)
        };
        let mut code = 0;
        let mut len = 0;
        while let (true, Some(d)) = (len < most, digit(self, len)) {
            code = code * radix + d;
            len += 1;
        }
        if len < least {
            return false;
        }
        text.push(code as u8);
        self.advance(lead + len);
        true
    }

    fn variable(&mut self, at: Position) -> Result<TokenKind, (Position, ErrorKind)> {
        let start = self.at;
        self.advance(1);
        if self.peek(0) == Some(b'?') {
            self.advance(1);
        } else {
            self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        }
        if self.peek(0) == Some(b'(') {
            let mut depth = 0u32;
            loop {
                match self.peek(0) {
                    Some(b'(') => depth += 1,
                    Some(b')') => depth -= 1,
                    // A variable does not go beyond its line; the statement may end in it.
                    None | Some(b'\n') => {
                        let error = (at, self.bad_variable(start));
                        let read = &self.text[start..self.at];
                        if let Some(end) = memchr::memrchr(b';', read) {
                            self.at = start + end;
                        }
                        return Err(error);
                    }
                    Some(_) => {}
                }
                self.advance(1);
                if depth == 0 {
                    break;
                }
            }
        }
        if self.at == start + 1 {
            return Err((at, self.bad_variable(start)));
        }
        Ok(TokenKind::Variable(self.text[start..self.at].to_vec()))
    }

    fn bad_variable(&self, start: usize) -> ErrorKind {
        let end = self.at.min(start + 40);
        let text = String::from_utf8_lossy(&self.text[start..end]);
        ErrorKind::VariableSyntax(text.trim_end().to_string())
    }

    fn select(&mut self) -> TokenKind {
        self.advance(1);
        let mut text = self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        while self.peek(0) == Some(b'[') {
            text.extend(self.take_while(|b| b != b']' && b != b'\n'));
            if self.peek(0) == Some(b']') {
                text.push(b']');
                self.advance(1);
            }
            text.extend(self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')));
        }
        TokenKind::Select(text)
    }

    fn sign(&mut self, at: Position) -> Result<TokenKind, (Position, ErrorKind)> {
        if let Some(address) = self.ipv6() {
            return Ok(TokenKind::Address(address));
        }
        let found = SIGNS.iter().find(|s| self.starts_with(s.as_bytes()));
        if let Some(sign) = found {
            self.advance(sign.len());
            return Ok(TokenKind::Sign(sign));
        }
        let c = char::from(self.peek(0).unwrap_or(b' '));
        self.advance(1);
        Err((at, ErrorKind::Character(c)))
    }

    /// An IPv6 address in brackets; the token keeps none of them.
    fn ipv6(&mut self) -> Option<String> {
        (self.peek(0)? == b'[').then_some(())?;
        let rest = &self.text[self.at + 1..];
        let end = rest.iter().take(64).position(|&b| b == b']')?;
        let text = std::str::from_utf8(&rest[..end]).ok()?;
        text.parse::<std::net::Ipv6Addr>().ok()?;
        let text = text.to_string();
        self.advance(end + 2);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let mut lexer = Lexer::file(text.as_bytes().to_vec(), 0);
        let mut found = vec![];
        loop {
            match lexer.next() {
                Ok(Lexeme::Token(Token {
                    kind: TokenKind::Str { text, .. },
                    ..
                })) => found.push(format!("{:?}", String::from_utf8_lossy(&text))),
                Ok(Lexeme::Token(token)) => found.push(token.kind.describe()),
                Ok(Lexeme::Directive(line, _)) => {
                    found.push(format!("#!{}", String::from_utf8_lossy(&line)));
                }
                Ok(Lexeme::End) => return found,
                Err((at, kind)) => found.push(format!("{}:{}: {kind}", at.line, at.column)),
            }
        }
    }

    #[test]
    fn bytes_become_tokens() {
        for (text, expected) in [
            ("0x1F 010 101b 18 12", "31 8 5 18 12"),
            ("a/* x /* y */ z */b // c\nd # e", "\"a\" \"b\" \"d\""),
            ("\"# // /*\"", "\"# // /*\""),
            (r#""a\x41\101\n\q\"""#, r#""aAA\n\\q\"""#),
            ("'a\\n'", r#""a\\n""#),
            ("\"a\\\nb\"", "\"ab\""),
            ("$ru$(hdr(X)[1]) $?", "\"$ru\" \"$(hdr(X)[1])\" \"$?\""),
            (
                "$sht(t=>$(ci{s.len}))==5",
                "\"$sht(t=>$(ci{s.len}))\" \"==\" 5",
            ),
            ("10.0.0.1 [::1]:5", "\"10.0.0.1\" \"::1\" \":\" 5"),
            ("@cfg_get.a.b;", "\"@cfg_get.a.b\" \";\""),
            ("x=~5", "\"x\" \"=~\" 5"),
            (
                "event_route[tm:branch-failure:x]",
                "\"event_route\" \"[\" \"tm:branch-failure:x\" \"]\"",
            ),
            ("#!define A b \\\n c\nd", "#!define A b   c \"d\""),
            ("!!$a", "\"!\" \"!\" \"$a\""),
            ("99999999999999999999", "1:1: number does not fit 64 bits"),
            (
                "08",
                "1:1: \"08\" is not octal (a leading 0 says so: write 8)",
            ),
            ("\n \"abc", "2:2: string is not closed"),
            ("a /* b", "\"a\" 1:3: comment is not closed (comments nest)"),
            ("`", "1:1: unexpected character '`'"),
            ("$hdr(a", "1:1: cannot read variable \"$hdr(a\""),
        ] {
            assert_eq!(tokens(text).join(" "), expected, "{text}");
        }
    }
}
