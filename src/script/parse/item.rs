//! Top-level statements.

use super::super::ast::{CustomItem, Given, Item, ModParamItem, RouteItem};
use super::super::error::{ErrorKind, Hidden, Position, nearest};
use super::super::lex::{Token, TokenKind};
use super::super::program::{Alias, Listen, Setting};
use super::super::signature::RouteKind;
use super::{Broken, Parsed, Parser, boolean};
use crate::effect::Proto;

/// What stands at the top level.
pub(super) const EXPECTED: &str = "a parameter, \"loadmodule\", \"modparam\" or a route block";

/// The words that open an item, for those that are misspelt.
const OPENERS: [&str; 18] = [
    "request_route",
    "route",
    "failure_route",
    "branch_route",
    "onreply_route",
    "reply_route",
    "onsend_route",
    "event_route",
    "loadmodule",
    "loadmodulex",
    "modparam",
    "modparamx",
    "include_file",
    "import_file",
    "flags",
    "cfgengine",
    "mpath",
    "loadpath",
];

/// Whether a word is one that opens an item, or is meant to be one.
pub(super) fn resembles_opener(word: &str) -> bool {
    nearest(word, OPENERS).is_some()
}

/// What is missing when the item could not be read that these tokens begin with.
pub(super) fn hidden_by(tokens: &[Token]) -> Option<Hidden> {
    let mut kinds = tokens.iter().map(|token| &token.kind);
    let Some(TokenKind::Word(word)) = kinds.next() else {
        return None;
    };
    Some(match word.as_str() {
        "loadmodule" | "loadmodulex" => Hidden::Modules,
        // `modparam("module", "name"`: then it is this one only.
        "modparam" | "modparamx" => match kinds.nth(3) {
            Some(TokenKind::Str { text, .. }) => Hidden::param(&String::from_utf8_lossy(text)),
            _ => Hidden::Params,
        },
        "listen" => Hidden::Sockets,
        "flags" => Hidden::Flags,
        word if block_kind(word).is_some() => Hidden::Routes,
        _ => return None,
    })
}

/// Whether a word begins an item that is no setting.
pub(super) fn opens_item(word: &str) -> bool {
    block_kind(word).is_some()
        || matches!(
            word,
            "loadmodule" | "loadmodulex" | "modparam" | "modparamx" | "listen" | "alias" | "flags"
        )
}

/// The kind of a block by its keyword.
pub(super) fn block_kind(word: &str) -> Option<RouteKind> {
    Some(match word {
        "request_route" | "route" => RouteKind::Request,
        "failure_route" => RouteKind::Failure,
        "branch_route" => RouteKind::Branch,
        "onreply_route" => RouteKind::Onreply,
        "reply_route" => RouteKind::Reply,
        "onsend_route" => RouteKind::Onsend,
        "event_route" => RouteKind::Event,
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn item(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        let at = self.place();
        let word = self.word(EXPECTED)?;
        let is_instance = self.is_sign(0, "[") && self.is_sign(2, "]") && self.is_sign(3, ".");
        let is_setting = is_instance || ["=", "."].iter().any(|sign| self.is_sign(0, sign));
        let word = if is_setting || OPENERS.contains(&word.as_str()) {
            word
        } else {
            self.meant(word, at)?
        };
        if let Some(kind) = block_kind(&word) {
            items.push(Item::Route(self.route(&word, kind, at)?));
            return Ok(());
        }
        match word.as_str() {
            "loadmodule" | "loadmodulex" => {
                let name = self.loaded_module()?;
                items.push(Item::LoadModule(name, word == "loadmodulex", at));
            }
            "modparam" | "modparamx" => {
                let expands = word == "modparamx";
                items.push(Item::ModParam(self.mod_param(expands)?));
            }
            // Modules are built in: a path to find them is read and has no effect.
            "mpath" | "loadpath" => {
                self.accept("=");
                self.string("a path in quotes")?;
            }
            "cfgengine" => {
                self.accept("=");
                let at = self.place();
                let name = self.text("the name of an engine in quotes")?;
                items.push(Item::Engine(name, at));
            }
            "flags" => items.push(Item::Flags(self.flags()?)),
            "listen" if self.is_sign(0, "=") => self.listen(items)?,
            "alias" if self.is_sign(0, "=") => self.aliases(items)?,
            _ if self.is_sign(0, "[") || self.is_sign(0, ".") => {
                let instance = self.instance()?;
                self.expect(".")?;
                items.push(Item::Custom(self.custom(word, instance)?));
            }
            _ => {
                self.expect("=")?;
                let value = self.given("a value")?;
                items.push(Item::Global(word, value, at));
            }
        }
        Ok(())
    }

    /// The word that a misspelt one stands for, the mistake noted.
    fn meant(&mut self, word: String, at: Position) -> Parsed<String> {
        // Behind a parameter's name nothing but `=` makes sense.
        let is_block = ["{", "[", "("].iter().any(|sign| self.is_sign(0, sign));
        let is_quoted = matches!(self.peek(), TokenKind::Str { .. });
        if !is_block && !is_quoted {
            self.expect("=")?;
        }
        self.unknown_word(at, &word, &OPENERS).ok_or(Broken)
    }

    fn loaded_module(&mut self) -> Parsed<String> {
        let in_parentheses = self.accept("(");
        let wanted = "the name of a module in quotes";
        let name = match self.peek() {
            // Without quotes it is clear all the same which one is meant.
            TokenKind::Word(_) => {
                let _: Parsed<()> = self.broken(wanted);
                self.host(wanted)?
            }
            _ => self.text(wanted)?,
        };
        if in_parentheses {
            if self.accept(",") {
                self.string("options in quotes")?;
            }
            self.expect(")")?;
        }
        Ok(name)
    }

    fn mod_param(&mut self, expands: bool) -> Parsed<ModParamItem> {
        self.expect("(")?;
        let at = self.place();
        let modules = self.string("the name of a module in quotes")?;
        self.expect(",")?;
        let name = self.text("the name of a parameter in quotes")?;
        self.expect(",")?;
        let value_at = self.place();
        let value = self.given("a number or a string")?;
        if matches!(value, Given::Word(_)) {
            self.at -= 1;
            return self.broken("a number or a string");
        }
        // Where the next line goes on with something else, the item is whole without it.
        if self.expect(")").is_err() && !self.begins_line() {
            return Err(Broken);
        }
        Ok(ModParamItem {
            modules,
            name,
            value,
            expands,
            at,
            value_at,
        })
    }

    fn given(&mut self, expected: &str) -> Parsed<Given> {
        let negative = self.accept("-");
        match self.peek() {
            TokenKind::Number(n) => {
                self.next();
                Ok(Given::Int(if negative { -n } else { *n }, None))
            }
            _ if negative => self.broken("a number"),
            TokenKind::Str { text, .. } => {
                self.next();
                Ok(Given::Text(text.clone()))
            }
            TokenKind::Word(word) => Ok(match boolean(word) {
                Some(n) => {
                    self.next();
                    Given::Int(n, Some(word.clone()))
                }
                None => Given::Word(self.host("a value")?),
            }),
            TokenKind::Address(_) => Ok(Given::Word(self.host("a value")?)),
            _ => self.broken(expected),
        }
    }

    /// The number in brackets behind a group, if there is one.
    fn instance(&mut self) -> Parsed<Option<i64>> {
        if !self.accept("[") {
            return Ok(None);
        }
        let TokenKind::Number(n) = *self.peek() else {
            return self.broken("the number of an instance");
        };
        self.next();
        self.expect("]")?;
        Ok(Some(n))
    }

    fn custom(&mut self, group: String, instance: Option<i64>) -> Parsed<CustomItem> {
        let at = self.place();
        let name = self.word("the name of a custom parameter")?;
        self.expect("=")?;
        let value = match self.given("a number or a string")? {
            Given::Int(n, _) => Setting::Int(n),
            Given::Text(text) => Setting::Text(text.into()),
            Given::Word(_) => {
                self.at -= 1;
                return self.broken("a number or a string");
            }
        };
        let words = ["desc", "descr", "description"];
        let description = if words.iter().any(|w| self.is_word(0, w)) {
            self.next();
            Some(self.text("a description in quotes")?)
        } else {
            None
        };
        Ok(CustomItem {
            group,
            instance,
            name,
            value,
            description,
            at,
        })
    }

    fn flags(&mut self) -> Parsed<Vec<(String, Option<i64>, Position)>> {
        let mut flags = vec![];
        loop {
            let at = self.place();
            let name = match self.peek() {
                TokenKind::Str { .. } => self.text("the name of a flag")?,
                _ => self.word("the name of a flag")?,
            };
            let number = match (self.accept(":"), self.peek()) {
                (false, _) => None,
                (true, TokenKind::Number(n)) => {
                    self.next();
                    Some(*n)
                }
                (true, _) => return self.broken("the number of a flag"),
            };
            flags.push((name, number, at));
            if !self.accept(",") {
                return Ok(flags);
            }
        }
    }

    fn listen(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        let at = self.place();
        self.expect("=")?;
        let mut listens = self.listen_sockets()?;
        // Several may stand one behind the other; what they are called then stands with none.
        while self.is_socket() {
            listens.extend(self.listen_sockets()?);
        }
        let is_virtual = self.option("virtual");
        let advertise = if self.option("advertise") {
            if self.proto().is_some() {
                self.at -= 2;
                return self.broken("an address without protocol");
            }
            let to = self.socket()?;
            Some((to.host, to.port))
        } else {
            None
        };
        let name = if self.option("name") {
            Some(self.text("the name of a socket in quotes")?)
        } else {
            None
        };
        let is_virtual = is_virtual || self.option("virtual");
        items.extend(listens.into_iter().map(|socket| {
            Item::Listen(Listen {
                proto: socket.proto,
                host: socket.host,
                port: socket.port,
                advertise: advertise.clone(),
                name: name.as_deref().map(Into::into),
                is_virtual,
                at,
            })
        }));
        Ok(())
    }

    /// Whether an address of `listen` comes next, and no other item.
    fn is_socket(&self) -> bool {
        match self.peek() {
            TokenKind::Address(_) | TokenKind::Str { .. } => true,
            TokenKind::Word(_) => self.is_sign(1, ":"),
            _ => false,
        }
    }

    /// `[proto:]host[:port]`, or `[proto:](host, host ..)[:port]`.
    fn listen_sockets(&mut self) -> Parsed<Vec<Alias>> {
        if let TokenKind::Str { text, .. } = self.peek() {
            let text = String::from_utf8_lossy(text).into_owned();
            let is_host = |s: Alias| s.proto.is_none() && s.port.is_none();
            if !quoted_socket(&text).is_some_and(is_host) {
                return self.broken("a host alone in the quotes, protocol and port outside");
            }
        }
        let proto = self.proto();
        if !self.accept("(") {
            return Ok(vec![Alias {
                proto,
                ..self.socket()?
            }]);
        }
        let mut hosts = vec![];
        loop {
            hosts.push(match self.peek() {
                TokenKind::Str { .. } => self.text("an address")?,
                _ => self.host("an address")?,
            });
            if !self.accept(",") {
                break;
            }
        }
        if self.is_sign(0, ":") {
            return self.broken("\")\": protocol and port stand outside of the list");
        }
        self.expect(")")?;
        let port = self.port_behind()?;
        let socket = |host: String| Alias {
            proto,
            host: host.into(),
            port,
        };
        Ok(hosts.into_iter().map(socket).collect())
    }

    /// `proto:`, in small or capital letters.
    fn proto(&mut self) -> Option<Proto> {
        let TokenKind::Word(word) = self.peek() else {
            return None;
        };
        let is_one_case = *word == word.to_ascii_lowercase() || *word == word.to_ascii_uppercase();
        let proto = Proto::from_name(word.as_bytes());
        if !self.is_sign(1, ":") || !is_one_case || proto.is_none() {
            return None;
        }
        self.next();
        self.next();
        proto
    }

    /// A word that may follow a `listen` address.
    fn option(&mut self, word: &str) -> bool {
        let is = self.is_word(0, word) && !self.is_sign(1, "=");
        if is {
            self.next();
        }
        is
    }

    fn aliases(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        self.expect("=")?;
        loop {
            // A quoted alias is one host name, colons included.
            let alias = match self.peek() {
                TokenKind::Str { .. } => {
                    let host = self.text("a host")?.into();
                    let port = self.port_behind()?;
                    Alias {
                        proto: None,
                        host,
                        port,
                    }
                }
                _ => self.socket()?,
            };
            items.push(Item::Alias(alias));
            // Several aliases may stand on one line.
            let line = self.tokens[self.at - 1].at.line;
            let more = matches!(
                self.peek(),
                TokenKind::Str { .. } | TokenKind::Address(_) | TokenKind::Word(_)
            );
            if !more || self.place().line != line || self.is_sign(1, "=") {
                return Ok(());
            }
        }
    }

    /// `[proto:]host[:port]`.
    fn socket(&mut self) -> Parsed<Alias> {
        if let TokenKind::Str { text, .. } = self.peek() {
            let text = String::from_utf8_lossy(text).into_owned();
            let Some(socket) = quoted_socket(&text) else {
                return self.broken("an address");
            };
            self.next();
            let port = self.port_behind()?.or(socket.port);
            return Ok(Alias { port, ..socket });
        }
        let proto = self.proto();
        let host = match self.peek() {
            TokenKind::Str { .. } => self.text("an address")?,
            _ => self.host("an address")?,
        };
        let port = self.port_behind()?;
        Ok(Alias {
            proto,
            host: host.into(),
            port,
        })
    }

    /// `:port`, when it stands here. Port 0 is as good as none.
    fn port_behind(&mut self) -> Parsed<Option<u16>> {
        if !self.accept(":") {
            return Ok(None);
        }
        let number = match self.peek() {
            TokenKind::Number(n) => u16::try_from(*n).ok(),
            _ => None,
        };
        match number {
            Some(port) => {
                self.next();
                Ok((port > 0).then_some(port))
            }
            None => self.broken("a port (at most 65535)"),
        }
    }

    /// An address, a host name with dots and hyphens, the name of an interface, or `*`.
    pub(super) fn host(&mut self, expected: &str) -> Parsed<String> {
        let mut host = match self.peek() {
            TokenKind::Address(text) => text.clone(),
            TokenKind::Word(word) => word.clone(),
            TokenKind::Sign("*") => "*".to_string(),
            _ => return self.broken(expected),
        };
        let line = self.next().at.line;
        while let TokenKind::Sign(sign @ ("." | "-")) = self.peek() {
            if self.place().line != line {
                break;
            }
            self.next();
            host.push_str(sign);
            match self.peek() {
                TokenKind::Word(word) => host.push_str(word),
                TokenKind::Number(n) => host.push_str(&n.to_string()),
                TokenKind::Address(text) => host.push_str(text),
                _ => return self.broken("the rest of a host name"),
            }
            self.next();
        }
        Ok(host)
    }

    fn route(&mut self, word: &str, kind: RouteKind, at: Position) -> Parsed<RouteItem> {
        let may_be_named = kind != RouteKind::Reply && word != "request_route";
        let is_named = may_be_named && self.accept("[");
        let name = if is_named {
            let name = match self.peek() {
                TokenKind::Word(word) => word.clone(),
                TokenKind::Number(n) => n.to_string(),
                TokenKind::Str { text, .. } => String::from_utf8_lossy(text).into_owned(),
                _ => return self.broken("the name of a route"),
            };
            self.next();
            self.expect("]")?;
            name
        } else if kind == RouteKind::Event {
            return self.broken("\"[\"");
        } else {
            "0".to_string()
        };
        if kind == RouteKind::Event && !name.contains(':') {
            self.diagnostics
                .error(at, ErrorKind::EventName(name.clone()));
        }
        // `onreply_route` without a name is another spelling of `reply_route`.
        let kind = match (kind, name.as_str()) {
            (RouteKind::Onreply, "0") => RouteKind::Reply,
            _ => kind,
        };
        let body = self.block()?;
        Ok(RouteItem {
            kind,
            name,
            is_named,
            body,
            at,
        })
    }
}

/// `[proto:]host[:port]` inside quotes; `None` when the port is none.
fn quoted_socket(text: &str) -> Option<Alias> {
    let (proto, rest) = match text.split_once(':') {
        Some((word, rest)) if Proto::from_name(word.as_bytes()).is_some() => {
            (Proto::from_name(word.as_bytes()), rest)
        }
        _ => (None, text),
    };
    let bracket = rest.rfind(']').unwrap_or(0);
    let (host, port) = match rest[bracket..].rfind(':') {
        Some(colon) => {
            let port = rest[bracket + colon + 1..].parse().ok()?;
            (&rest[..bracket + colon], Some(port))
        }
        None => (rest, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Alias {
        proto,
        host: host.into(),
        port,
    })
}
