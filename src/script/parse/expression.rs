//! Expressions, by precedence climbing.

use super::super::ast::{Compare, Expr, ExprKind};
use super::super::error::Position;
use super::super::host::Keyword;
use super::super::lex::TokenKind;
use super::super::operate::{Binary, Unary};
use super::{Parsed, Parser, boolean};

/// Operators in a row at one level: they make a tree as deep as the row is long.
const CHAIN_MAX: usize = 200;

/// The level below which no operator of two sides stands.
const LOWEST: u8 = 1;

/// The level of `+`, tightest of what may follow a keyword's comparison.
const SUM: u8 = 10;

/// What an operator makes of its two sides.
#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Match,
    Binary(Binary),
}

/// Level, sign and meaning; shifts bind looser than comparisons, `^` tighter than `&`.
const INFIXES: [(u8, &str, Infix); 29] = [
    (1, "||", Infix::Or),
    (1, "or", Infix::Or),
    (2, "&&", Infix::And),
    (2, "and", Infix::And),
    (3, "|", Infix::Binary(Binary::BitOr)),
    (4, "&", Infix::Binary(Binary::BitAnd)),
    (5, "^", Infix::Binary(Binary::BitXor)),
    (6, "<<", Infix::Binary(Binary::ShiftLeft)),
    (7, ">>", Infix::Binary(Binary::ShiftRight)),
    (8, "==", Infix::Binary(Binary::Equal)),
    (8, "!=", Infix::Binary(Binary::NotEqual)),
    (8, "=~", Infix::Match),
    (8, "eq", Infix::Binary(Binary::TextEqual)),
    (8, "ne", Infix::Binary(Binary::TextNotEqual)),
    (8, "ieq", Infix::Binary(Binary::IntEqual)),
    (8, "ine", Infix::Binary(Binary::IntNotEqual)),
    (9, "<", Infix::Binary(Binary::Less)),
    (9, "<=", Infix::Binary(Binary::LessEqual)),
    (9, ">", Infix::Binary(Binary::Greater)),
    (9, ">=", Infix::Binary(Binary::GreaterEqual)),
    (10, "+", Infix::Binary(Binary::Add)),
    (10, "-", Infix::Binary(Binary::Sub)),
    (11, "*", Infix::Binary(Binary::Mul)),
    (11, "/", Infix::Binary(Binary::Div)),
    (11, "mod", Infix::Binary(Binary::Mod)),
    (8, "streq", Infix::Binary(Binary::TextEqual)),
    (8, "strne", Infix::Binary(Binary::TextNotEqual)),
    (8, "inteq", Infix::Binary(Binary::IntEqual)),
    (8, "intne", Infix::Binary(Binary::IntNotEqual)),
];

/// The bare words that stand for a value, `msg:len` apart.
const KEYWORDS: [(&str, Keyword); 17] = [
    ("method", Keyword::Method),
    ("uri", Keyword::Uri),
    ("status", Keyword::Uri),
    ("from_uri", Keyword::FromUri),
    ("to_uri", Keyword::ToUri),
    ("src_ip", Keyword::SrcIp),
    ("dst_ip", Keyword::DstIp),
    ("snd_ip", Keyword::SndIp),
    ("to_ip", Keyword::ToIp),
    ("src_port", Keyword::SrcPort),
    ("dst_port", Keyword::DstPort),
    ("snd_port", Keyword::SndPort),
    ("to_port", Keyword::ToPort),
    ("proto", Keyword::Proto),
    ("snd_proto", Keyword::SndProto),
    ("af", Keyword::Af),
    ("snd_af", Keyword::SndAf),
];

impl Parser<'_> {
    /// A whole expression.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.climb(LOWEST)
    }

    fn climb(&mut self, lowest: u8) -> Parsed<Expr> {
        self.nested(|parser| {
            let mut left = parser.prefix()?;
            for _ in 0..CHAIN_MAX {
                let Some((level, sign, infix)) = parser.infix().filter(|(l, ..)| *l >= lowest)
                else {
                    return Ok(left);
                };
                let at = parser.next().at;
                let right = Box::new(parser.climb(level + 1)?);
                let left_box = Box::new(left);
                let kind = match infix {
                    Infix::Or => ExprKind::Or(left_box, right),
                    Infix::And => ExprKind::And(left_box, right),
                    Infix::Match => ExprKind::Match(left_box, right),
                    Infix::Binary(op) => ExprKind::Binary(op, sign, left_box, right),
                };
                left = Expr { kind, at };
            }
            parser.broken("fewer operators in one expression")
        })
    }

    fn infix(&self) -> Option<(u8, &'static str, Infix)> {
        let word = match self.peek() {
            TokenKind::Sign(sign) => sign,
            TokenKind::Word(word) => word.as_str(),
            _ => return None,
        };
        INFIXES.iter().find(|(_, sign, _)| *sign == word).copied()
    }

    fn prefix(&mut self) -> Parsed<Expr> {
        let at = self.place();
        let operator = match self.peek() {
            TokenKind::Sign("!") => Unary::Not,
            TokenKind::Word(word) if word == "not" => Unary::Not,
            TokenKind::Sign("-") => Unary::Negate,
            TokenKind::Sign("~") => Unary::Invert,
            TokenKind::Word(word) if word == "defined" => Unary::Defined,
            TokenKind::Sign("(") if self.is_sign(2, ")") && self.is_word(1, "int") => {
                self.at += 2;
                Unary::Int
            }
            TokenKind::Sign("(") if self.is_sign(2, ")") && self.is_word(1, "str") => {
                self.at += 2;
                Unary::Text
            }
            _ => return self.primary(at),
        };
        self.next();
        let operand = Box::new(self.nested(Self::prefix)?);
        // A negative number is a constant, also where no expression may stand.
        let kind = match (operator, &operand.kind) {
            (Unary::Negate, ExprKind::Int(n)) => ExprKind::Int(n.wrapping_neg()),
            _ => ExprKind::Unary(operator, operand),
        };
        Ok(Expr { kind, at })
    }

    fn primary(&mut self, at: Position) -> Parsed<Expr> {
        let kind = match self.peek() {
            TokenKind::Number(n) => {
                self.next();
                ExprKind::Int(*n)
            }
            TokenKind::Str { text, .. } => {
                self.next();
                ExprKind::Text(text.clone())
            }
            TokenKind::Variable(text) => {
                self.next();
                ExprKind::Variable(text.clone())
            }
            TokenKind::Select(text) => {
                self.next();
                ExprKind::Select(text.clone())
            }
            TokenKind::Sign("{") => ExprKind::Block(self.block()?),
            TokenKind::Sign("(") => {
                self.next();
                return self.parenthesised();
            }
            TokenKind::Word(word) => self.word_expression(word)?,
            _ => return self.broken("an expression"),
        };
        Ok(Expr { kind, at })
    }

    fn parenthesised(&mut self) -> Parsed<Expr> {
        let at = self.place();
        let is_assignment = matches!(self.peek(), TokenKind::Variable(_)) && self.is_sign(1, "=");
        let inner = if is_assignment {
            let assign = self.nested(Self::assign)?;
            let kind = ExprKind::Assign(Box::new(assign));
            // `($x = 1;)` is written with and without the semicolon.
            self.accept(";");
            Expr { kind, at }
        } else {
            self.expression()?
        };
        self.expect(")")?;
        Ok(inner)
    }

    fn word_expression(&mut self, word: &str) -> Parsed<ExprKind> {
        if let Some(n) = boolean(word) {
            self.next();
            return Ok(ExprKind::Int(n));
        }
        if word == "myself" {
            return self.reversed_myself();
        }
        if let Some(keyword) = self.keyword(word) {
            return self.test(keyword, word);
        }
        if !self.is_sign(1, "(") {
            return self.broken("an expression");
        }
        match word {
            "strlen" | "strempty" => {
                let operator = match word {
                    "strlen" => Unary::Length,
                    _ => Unary::Empty,
                };
                self.next();
                self.next();
                let operand = Box::new(self.expression()?);
                self.expect(")")?;
                Ok(ExprKind::Unary(operator, operand))
            }
            "selval" => self.selval(),
            "route" => {
                self.next();
                Ok(ExprKind::Route(Box::new(self.route_name()?)))
            }
            _ => Ok(ExprKind::Call(self.nested(Self::call)?)),
        }
    }

    fn selval(&mut self) -> Parsed<ExprKind> {
        self.next();
        self.next();
        let condition = self.expression()?;
        self.expect(",")?;
        let first = self.expression()?;
        self.expect(",")?;
        let second = self.expression()?;
        self.expect(")")?;
        Ok(ExprKind::Choose(Box::new([condition, first, second])))
    }

    /// The keyword here, when a comparison follows it.
    fn keyword(&self, word: &str) -> Option<Keyword> {
        let compares = |ahead| {
            let signs = ["==", "!=", "=~", "<", "<=", ">", ">="];
            signs.iter().any(|sign| self.is_sign(ahead, sign))
        };
        if word == "msg" && self.is_sign(1, ":") && self.is_word(2, "len") && compares(3) {
            return Some(Keyword::MsgLen);
        }
        let found = KEYWORDS.iter().find(|(name, _)| *name == word)?;
        compares(1).then_some(found.1)
    }

    /// `keyword operator value` binds as one unit: `!uri == myself` is `!(uri == myself)`.
    fn test(&mut self, keyword: Keyword, name: &str) -> Parsed<ExprKind> {
        self.at += if keyword == Keyword::MsgLen { 3 } else { 1 };
        let TokenKind::Sign(sign) = self.peek() else {
            return self.broken("a comparison");
        };
        let sign = *sign;
        let at = self.next().at;
        let equal = sign == "==";
        if self.is_word(0, "myself") && may_be_myself(keyword) && matches!(sign, "==" | "!=") {
            self.next();
            return Ok(ExprKind::Myself(keyword, equal));
        }
        let Some(compare) = comparison(keyword, sign) else {
            self.at -= 1;
            return self.broken("another comparison for this keyword");
        };
        let right = match compare {
            Compare::Address(_) => self.net()?,
            Compare::Number(_) if self.is_word(0, "max_len") => {
                self.next();
                ExprKind::Int(crate::limits::MESSAGE_SIZE_MAX as i64)
            }
            Compare::Number(_) | Compare::Match => self.climb(SUM)?.kind,
            Compare::Same(_) => match self.peek() {
                TokenKind::Word(word) if boolean(word).is_none() && !self.is_sign(1, "(") => {
                    match bare_value(keyword, word) {
                        Some(value) => {
                            self.next();
                            ExprKind::Text(value.as_bytes().to_vec())
                        }
                        None => {
                            return self.broken(&format!("what \"{name}\" can be, or a string"));
                        }
                    }
                }
                _ => self.climb(SUM)?.kind,
            },
        };
        let right = Box::new(Expr { kind: right, at });
        Ok(ExprKind::Test(keyword, compare, right))
    }

    /// `myself == uri`.
    fn reversed_myself(&mut self) -> Parsed<ExprKind> {
        self.next();
        let equal = match self.peek() {
            TokenKind::Sign("==") => true,
            TokenKind::Sign("!=") => false,
            _ => return self.broken("\"==\" or \"!=\""),
        };
        self.next();
        let keyword = match self.peek() {
            TokenKind::Word(word) => KEYWORDS.iter().find(|(name, _)| name == word),
            _ => None,
        };
        match keyword.filter(|(_, keyword)| may_be_myself(*keyword)) {
            Some((_, keyword)) => {
                self.next();
                Ok(ExprKind::Myself(*keyword, equal))
            }
            None => self.broken("a keyword for a URI or an address"),
        }
    }

    /// An address, `net/bits`, `net/mask`, or an expression that gives one.
    fn net(&mut self) -> Parsed<ExprKind> {
        let TokenKind::Address(address) = self.peek() else {
            return Ok(match self.peek() {
                TokenKind::Word(_) if !self.is_sign(1, "(") => {
                    ExprKind::Text(self.host("an address")?.into_bytes())
                }
                _ => self.climb(SUM)?.kind,
            });
        };
        self.next();
        let mut text = address.clone();
        if self.accept("/") {
            text.push('/');
            match self.peek() {
                TokenKind::Number(n) => text.push_str(&n.to_string()),
                TokenKind::Address(mask) => text.push_str(mask),
                _ => return self.broken("the bits of a network"),
            }
            self.next();
        }
        Ok(ExprKind::Text(text.into_bytes()))
    }
}

/// What a bare word means beside this keyword: any method, but only known protocols and families.
fn bare_value(keyword: Keyword, word: &str) -> Option<&str> {
    use Keyword::*;
    match keyword {
        Method => Some(word),
        Proto | SndProto => {
            let (lower, upper) = (word.to_ascii_lowercase(), word.to_ascii_uppercase());
            let known = ["udp", "tcp", "tls", "sctp", "ws", "wss"].contains(&lower.as_str());
            (known && (word == lower || word == upper)).then_some(word)
        }
        Af | SndAf => match word.to_ascii_lowercase().as_str() {
            "inet" | "ipv4" => Some("INET"),
            "inet6" | "ipv6" => Some("INET6"),
            _ => None,
        },
        Uri | FromUri | ToUri | SrcIp | DstIp | SndIp | ToIp | SrcPort | DstPort | SndPort
        | ToPort | MsgLen => None,
    }
}

fn may_be_myself(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        Uri | FromUri | ToUri | SrcIp | DstIp | SndIp | ToIp
    )
}

/// How this keyword is compared by this sign; `None`: not at all.
fn comparison(keyword: Keyword, sign: &str) -> Option<Compare> {
    use Keyword::*;
    let number = match sign {
        "==" => Binary::Equal,
        "!=" => Binary::NotEqual,
        "<" => Binary::Less,
        "<=" => Binary::LessEqual,
        ">" => Binary::Greater,
        ">=" => Binary::GreaterEqual,
        _ => Binary::TextEqual,
    };
    let equal = sign == "==";
    let is_equality = matches!(sign, "==" | "!=");
    match keyword {
        Method | Uri | FromUri | ToUri if sign == "=~" => Some(Compare::Match),
        Method | Uri | FromUri | ToUri => is_equality.then_some(Compare::Same(equal)),
        SrcIp | DstIp | SndIp | ToIp => is_equality.then_some(Compare::Address(equal)),
        Proto | SndProto | Af | SndAf => is_equality.then_some(Compare::Same(equal)),
        SrcPort | DstPort | SndPort | ToPort | MsgLen => {
            (sign != "=~").then_some(Compare::Number(number))
        }
    }
}
