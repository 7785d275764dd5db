//! JSON-RPC 2.0 as the original speaks it, deviations included.
//!
//! Members of an object keep their order: parameters given as an object are taken in it, and
//! people read answers in it. A request that is not JSON gets no answer. One that is JSON but no
//! JSON-RPC gets an empty success. An unknown command has code 500, not -32601.

use crate::effect::rpc::{Fault, Name, Value};
use crate::limits::RPC_NEST_MAX;

use super::args::{Args, Dialect};
use super::command::Container;

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The command; `None`: this is no JSON-RPC 2.0, and nothing is done.
    pub method: Option<Box<[u8]>>,
    /// Whether it says that it is JSON-RPC 2.0: through a pipe nothing else is answered.
    pub is_current: bool,
    /// Whether its parameters are an array or an object. Otherwise the answer is an empty success
    /// of the command, which is not done.
    pub is_callable: bool,
    /// Its parameters.
    pub args: Args,
    /// What the answer is marked with.
    pub id: Option<Value>,
    /// Where the answer goes, when the request came through a pipe.
    pub reply_name: Option<Box<[u8]>>,
}

/// What an unknown command is answered with.
pub fn unknown() -> Fault {
    Fault::new(500, "Method Not Found")
}

/// Reads a request; `None`: this is not JSON.
pub fn request(bytes: &[u8]) -> Option<Request> {
    let (value, _) = read(bytes)?;
    let Value::Struct(members) = value else {
        return Some(nothing());
    };
    let find = |name: &str| {
        members
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v)
    };
    let text = |name: &str| match find(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let params = match find("params") {
        None => Some(Vec::new()),
        Some(Value::Array(values)) => Some(values.clone()),
        // The names are ignored, the order counts.
        Some(Value::Struct(members)) => Some(members.iter().map(|(_, v)| v.clone()).collect()),
        Some(_) => None,
    };
    let is_current = text("jsonrpc").is_some_and(|version| *version == *b"2.0");
    let id = find("id").map(|id| match id {
        Value::Int(_) | Value::Double(_) | Value::Text(_) => id.clone(),
        Value::Null | Value::Struct(_) | Value::Array(_) => Value::Int(0),
    });
    Some(Request {
        method: text("method").filter(|_| is_current),
        is_current,
        is_callable: params.is_some(),
        args: Args::new(params.unwrap_or_default(), Dialect::Json),
        id,
        reply_name: text("reply_name"),
    })
}

fn nothing() -> Request {
    let args = Args::new(Vec::new(), Dialect::Json);
    Request {
        method: None,
        is_current: false,
        is_callable: false,
        args,
        id: None,
        reply_name: None,
    }
}

/// The value at the beginning of these bytes, and what follows it. Numbers without a fraction
/// are whole; `true` and `false` are 1 and 0.
pub fn read(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let mut reader = Reader { bytes };
    let value = reader.value(0)?;
    Some((value, reader.bytes))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.bytes = self.bytes.trim_ascii_start();
    }

    fn eat(&mut self, text: &[u8]) -> Option<()> {
        self.bytes = self.bytes.strip_prefix(text)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_blanks();
        match self.bytes.first()? {
            _ if depth > RPC_NEST_MAX => None,
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string().map(|text| Value::Text(text.into())),
            b't' => self.eat(b"true").map(|()| Value::Int(1)),
            b'f' => self.eat(b"false").map(|()| Value::Int(0)),
            b'n' => self.eat(b"null").map(|()| Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        self.eat(b"{")?;
        self.skip_blanks();
        while self.eat(b"}").is_none() {
            if !members.is_empty() {
                self.eat(b",")?;
                self.skip_blanks();
            }
            let name = Name::Owned(self.string()?);
            self.skip_blanks();
            self.eat(b":")?;
            members.push((name, self.value(depth)?));
            self.skip_blanks();
        }
        Some(Value::Struct(members))
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        self.eat(b"[")?;
        self.skip_blanks();
        while self.eat(b"]").is_none() {
            if !values.is_empty() {
                self.eat(b",")?;
            }
            values.push(self.value(depth)?);
            self.skip_blanks();
        }
        Some(Value::Array(values))
    }

    fn number(&mut self) -> Option<Value> {
        let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let size = self.bytes.iter().take_while(|b| is_part(b)).count();
        let (digits, rest) = self.bytes.split_at(size);
        self.bytes = rest;
        let digits = std::str::from_utf8(digits).ok()?;
        let whole = digits.parse().ok().map(Value::Int);
        whole.or_else(|| {
            digits
                .parse()
                .ok()
                .filter(|x: &f64| x.is_finite())
                .map(Value::Double)
        })
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        self.eat(b"\"")?;
        let mut text = Vec::new();
        loop {
            let plain = self.bytes.iter().position(|b| matches!(b, b'"' | b'\\'))?;
            text.extend_from_slice(&self.bytes[..plain]);
            let end = self.bytes[plain];
            self.bytes = &self.bytes[plain + 1..];
            if end == b'"' {
                return Some(text);
            }
            self.escape(&mut text)?;
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let (&letter, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        text.push(match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let letter = self.unicode()?;
                text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        });
        Some(())
    }

    /// Four digits, or twice four for what 16 bits do not hold (RFC 8259 §7).
    fn unicode(&mut self) -> Option<char> {
        let high = self.four_digits()?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high);
        }
        self.eat(b"\\u")?;
        let low = self
            .four_digits()?
            .checked_sub(0xDC00)
            .filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + low)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let (digits, rest) = self.bytes.split_at_checked(4)?;
        self.bytes = rest;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// How an answer is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// The parameter `pretty_format`: a line for each member, indented by tabs.
    pub is_pretty: bool,
}

impl Style {
    /// Appends a value that stands this deep.
    pub fn put(self, out: &mut Vec<u8>, value: &Value, depth: usize) {
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Value::Double(x) => out.extend_from_slice(format!("{x:.6}").as_bytes()),
            Value::Text(text) => put_string(out, text),
            Value::Struct(members) => self.put_struct(out, members, depth),
            Value::Array(values) => {
                out.push(b'[');
                for (n, value) in values.iter().enumerate() {
                    self.separate(out, n);
                    self.put(out, value, depth + 1);
                }
                out.push(b']');
            }
        }
    }

    fn put_struct(self, out: &mut Vec<u8>, members: &[(Name, Value)], depth: usize) {
        out.push(b'{');
        for (n, (name, value)) in members.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            self.put_name(out, name, depth + 1);
            self.put(out, value, depth + 1);
        }
        self.new_line(out, depth);
        out.push(b'}');
    }

    /// The name of a member that stands this deep, as far as its value.
    fn put_name(self, out: &mut Vec<u8>, name: &[u8], depth: usize) {
        self.new_line(out, depth);
        put_string(out, name);
        out.push(b':');
        if self.is_pretty {
            out.push(b'\t');
        }
    }

    fn new_line(self, out: &mut Vec<u8>, depth: usize) {
        if self.is_pretty {
            out.push(b'\n');
            out.resize(out.len() + depth, b'\t');
        }
    }

    fn separate(self, out: &mut Vec<u8>, index: usize) {
        if index > 0 {
            out.extend_from_slice(if self.is_pretty { b", " } else { b"," });
        }
    }

    /// Appends an answer as far as its values.
    pub fn begin(self, out: &mut Vec<u8>, container: Container) {
        self.head(out, b"result");
        if container == Container::Array {
            out.push(b'[');
        }
    }

    /// Appends one of several values of an answer.
    pub fn item(self, out: &mut Vec<u8>, index: usize, value: &Value) {
        self.separate(out, index);
        self.put(out, value, 2);
    }

    /// Appends the only value of an answer.
    pub fn only(self, out: &mut Vec<u8>, value: Option<&Value>) {
        self.put(out, value.unwrap_or(&Value::Struct(Vec::new())), 1);
    }

    /// Appends the end of an answer.
    pub fn end(self, out: &mut Vec<u8>, container: Container, id: Option<&Value>) {
        if container == Container::Array {
            out.push(b']');
        }
        self.tail(out, id);
    }

    /// A whole answer that says what failed.
    pub fn fault(self, fault: &Fault, id: Option<&Value>) -> Vec<u8> {
        let mut out = Vec::new();
        let (code, text) = match fault.code {
            0 => (-32_000, "Execution Error"),
            code => (code, &*fault.text),
        };
        self.head(&mut out, b"error");
        let members = [
            ("code", Value::Int(code.into())),
            ("message", Value::text(text.as_bytes())),
        ];
        self.put(&mut out, &Value::members(members), 1);
        self.tail(&mut out, id);
        out
    }

    fn head(self, out: &mut Vec<u8>, what: &[u8]) {
        out.push(b'{');
        self.put_name(out, b"jsonrpc", 1);
        put_string(out, b"2.0");
        out.push(b',');
        self.put_name(out, what, 1);
    }

    fn tail(self, out: &mut Vec<u8>, id: Option<&Value>) {
        if let Some(id) = id {
            out.push(b',');
            self.put_name(out, b"id", 1);
            self.put(out, id, 1);
        }
        self.new_line(out, 0);
        out.push(b'}');
    }
}

/// What is not UTF-8 is replaced: JSON knows nothing else (RFC 8259 §8.1).
fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for letter in String::from_utf8_lossy(text).chars() {
        let escaped = match letter {
            '"' | '\\' => letter,
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\0'..' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
                continue;
            }
            _ => {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped as u8]);
    }
    out.push(b'"');
}

/// Where the first object in these bytes ends: behind the brace that closes it, counted outside
/// of strings. A pipe has no other framing.
pub fn object_end(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' if depth > 0 => in_string = !in_string,
            _ if in_string => {}
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// What must hold for any bytes: reading ends, and what was read is read again, the same, from
/// what is written of it, in either style.
pub fn fuzz_json(data: &[u8]) {
    let _ = (request(data), object_end(data));
    let Some((value, _)) = read(data) else { return };
    let mut written = Vec::new();
    Style { is_pretty: false }.put(&mut written, &value, 0);
    let (once, rest) = read(&written).expect("our own JSON");
    assert!(rest.is_empty(), "something follows {written:?}");
    for is_pretty in [false, true] {
        let mut again = Vec::new();
        Style { is_pretty }.put(&mut again, &once, 0);
        let (twice, _) = read(&again).expect("our own JSON");
        assert_eq!(once, twice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRETTY: Style = Style { is_pretty: true };
    const PLAIN: Style = Style { is_pretty: false };

    fn answer(style: Style, container: Container, values: &[Value], id: Option<&Value>) -> String {
        let mut out = Vec::new();
        style.begin(&mut out, container);
        match container {
            Container::Last => style.only(&mut out, values.last()),
            Container::Array => {
                values
                    .iter()
                    .enumerate()
                    .for_each(|(n, v)| style.item(&mut out, n, v));
            }
        }
        style.end(&mut out, container, id);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_look_as_captured() {
        let one = Value::Int(1);
        let version = [Value::text("kamailio 5.6.3 (x86_64/linux) ")];
        let counts = ["starting", "connecting", "answering", "ongoing", "all"];
        let counts = [Value::members(counts.map(|name| (name, Value::Int(0))))];
        let lines = [Value::Int(7), Value::text("timer")];
        let line = [Value::members([
            ("IDX", Value::Int(0)),
            ("DSC", Value::text("x")),
        ])];
        let two = [line[0].clone(), line[0].clone()];
        let aliases = [Value::members([
            ("myself_callbacks", Value::text("no")),
            ("aliases", Value::Array(vec![])),
        ])];
        let (last, array) = (Container::Last, Container::Array);
        let table = [
            (
                answer(PRETTY, last, &version, Some(&one)),
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t\"kamailio 5.6.3 (x86_64/linux) \",\
                 \n\t\"id\":\t1\n}",
            ),
            (
                answer(PLAIN, last, &counts, Some(&one)),
                "{\"jsonrpc\":\"2.0\",\"result\":{\"starting\":0,\"connecting\":0,\"answering\":0,\
                 \"ongoing\":0,\"all\":0},\"id\":1}",
            ),
            (
                answer(PRETTY, array, &lines, Some(&Value::text("a"))),
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t[7, \"timer\"],\n\t\"id\":\t\"a\"\n}",
            ),
            (
                answer(PRETTY, array, &two, None),
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t[{\n\t\t\t\"IDX\":\t0,\n\t\t\t\
                 \"DSC\":\t\"x\"\n\t\t}, {\n\t\t\t\"IDX\":\t0,\n\t\t\t\"DSC\":\t\"x\"\n\t\t}]\n}",
            ),
            (
                answer(PRETTY, last, &aliases, None),
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t{\n\t\t\"myself_callbacks\":\t\"no\",\
                 \n\t\t\"aliases\":\t[]\n\t}\n}",
            ),
            (
                answer(PRETTY, last, &[], Some(&Value::Double(1.5))),
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t{\n\t},\n\t\"id\":\t1.500000\n}",
            ),
            (
                answer(PLAIN, array, &[], None),
                "{\"jsonrpc\":\"2.0\",\"result\":[]}",
            ),
            (
                String::from_utf8(PRETTY.fault(&unknown(), Some(&Value::Int(0)))).unwrap(),
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"error\":\t{\n\t\t\"code\":\t500,\n\t\t\
                 \"message\":\t\"Method Not Found\"\n\t},\n\t\"id\":\t0\n}",
            ),
            (
                String::from_utf8(PLAIN.fault(&Fault::new(0, "x"), None)).unwrap(),
                "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\"Execution Error\"}}",
            ),
        ];
        for (got, want) in table {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn requests() {
        let values = |texts: &[&str]| texts.iter().map(Value::text).collect::<Vec<_>>();
        let id = |n| Some(Value::Int(n));
        let table = [
            (
                r#"{"jsonrpc":"2.0","method":"m","id":1}"#,
                Some("m"),
                values(&[]),
                id(1),
            ),
            (
                r#" {"jsonrpc":"2.0","method":"m"} x"#,
                Some("m"),
                values(&[]),
                None,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":["a","b"],"id":null}"#,
                Some("m"),
                values(&["a", "b"]),
                id(0),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":{"y":"a","x":"b"},"id":true}"#,
                Some("m"),
                values(&["a", "b"]),
                id(1),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":"a","id":[1]}"#,
                Some("m"),
                values(&[]),
                id(0),
            ),
            (
                r#"{"jsonrpc":"1.0","method":"m","id":3}"#,
                None,
                values(&[]),
                id(3),
            ),
            (
                r#"{"jsonrpc":"2.0","id":"q"}"#,
                None,
                values(&[]),
                Some(Value::text("q")),
            ),
            ("[]", None, values(&[]), None),
            ("7", None, values(&[]), None),
        ];
        for (text, method, args, id) in table {
            let r = request(text.as_bytes()).expect(text);
            let is_callable = method.is_some() && !text.contains(r#""params":"a""#);
            assert_eq!(r.method.is_some() && r.is_callable, is_callable, "{text}");
            let got = (r.method.as_deref(), r.args.all(), r.id);
            assert_eq!(got, (method.map(str::as_bytes), &args[..], id), "{text}");
        }
        for text in [
            "",
            "x",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "[1,]",
            "\"a",
            "nul",
            "-",
            "1e999",
        ] {
            assert_eq!(request(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn strings_and_numbers() {
        let table = [
            (
                r#""a\"\u00e9\n\/\ud83d\ude00""#,
                Some(Value::text("a\"é\n/😀")),
            ),
            (r#""\ud83d""#, None),
            (r#""\ud83dx""#, None),
            (r#""\u00g0""#, None),
            (r#""\u+0e9""#, None),
            (r#""\x""#, None),
            ("-12", Some(Value::Int(-12))),
            ("123456789012", Some(Value::Int(123_456_789_012))),
            ("1.5", Some(Value::Double(1.5))),
            ("true", Some(Value::Int(1))),
            ("null", Some(Value::Null)),
        ];
        for (text, want) in table {
            assert_eq!(
                read(text.as_bytes()).map(|(value, _)| value),
                want,
                "{text}"
            );
        }
        let mut out = vec![];
        PLAIN.put(&mut out, &Value::text(b"a\"\\\n\x01\xff"), 0);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "\"a\\\"\\\\\\n\\u0001\u{fffd}\""
        );
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = |n: usize| read(("[".repeat(n) + &"]".repeat(n)).as_bytes()).is_some();
        assert_eq!((deep(RPC_NEST_MAX), deep(1_000_000)), (true, false));
    }

    #[test]
    fn where_an_object_ends() {
        let table = [
            (r#"{"a":1}{"#, Some(7)),
            (r#" x{"a":{}} "#, Some(10)),
            (r#"{"a":"}"}"#, Some(9)),
            (r#"{"a":"\"}"}"#, Some(11)),
            (r#"{"a":"\\"}"#, Some(10)),
            (r#"{"a":{}"#, None),
            ("}}", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(object_end(text.as_bytes()), want, "{text}");
        }
    }
}
