//! What an operator's command is answered with: values that every transport can write.

use std::borrow::Cow;

use super::flow::ConnId;

/// Names one command on its way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RpcId(pub u64);

/// A value of a command's parameters or answer. Members of a structure keep their order, because
/// people and their tools read them in it.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing is known.
    Null,
    /// A number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// Text, as it came from the wire: it need not be UTF-8.
    Text(Box<[u8]>),
    /// Values with names.
    Struct(Vec<(Name, Value)>),
    /// Values in order.
    Array(Vec<Value>),
}

/// The name of a member of a structure.
pub type Name = Cow<'static, [u8]>;

impl Value {
    /// A text.
    pub fn text(bytes: impl AsRef<[u8]>) -> Value {
        Value::Text(bytes.as_ref().into())
    }

    /// A text, or nothing.
    pub fn text_or_null(bytes: Option<&[u8]>) -> Value {
        bytes.map_or(Value::Null, Value::text)
    }

    /// A counter. What does not fit is at the end of the scale.
    pub fn count(n: u64) -> Value {
        Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// A structure with names known in advance.
    pub fn members(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let named = |(name, value): (&'static str, Value)| (Name::Borrowed(name.as_bytes()), value);
        Value::Struct(members.into_iter().map(named).collect())
    }
}

/// Why a command failed: a number in the manner of SIP statuses, and words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The number.
    pub code: i32,
    /// The words.
    pub text: Cow<'static, str>,
}

impl Fault {
    /// A fault.
    pub fn new(code: i32, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            code,
            text: text.into(),
        }
    }
}

/// How far a listing has come in one shard; what the number means, the command knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(pub u64);

/// What one shard answers: a slice of a listing, or all it has to say.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// The values, in order; or why there are none.
    pub values: Result<Vec<Value>, Fault>,
    /// Where the next slice begins; `None`: that was all.
    pub next: Option<Cursor>,
}

impl Part {
    /// All that the shard has to say.
    pub fn whole(values: Vec<Value>) -> Part {
        Part {
            values: Ok(values),
            next: None,
        }
    }
}

/// A command that came over HTTP. Its connection is lent to whoever answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpCommand {
    /// Where the answer goes.
    pub conn: ConnId,
    /// The command, in JSON.
    pub command: Box<[u8]>,
    /// How the answer looks around it.
    pub frame: HttpFrame,
}

/// What an answer of HTTP is made of besides its status and its body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpFrame {
    /// The last digit of the version: 1 can be answered in chunks, 0 cannot.
    pub version: u8,
    /// Complete lines that come first.
    pub fields: Box<[u8]>,
    /// The complete line that names the server; empty when none is wanted.
    pub server: Box<[u8]>,
    /// Whether the connection is closed behind it.
    pub is_last: bool,
    /// Whether the client wants to see the body.
    pub has_body: bool,
}

impl HttpFrame {
    /// Appends the answer as far as its length.
    pub fn begin(&self, status: u16, reason: &[u8], content_type: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("HTTP/1.{} {status} ", self.version).as_bytes());
        // A line end in the reason or the type would forge a field.
        out.extend(reason.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.fields);
        if !content_type.is_empty() {
            out.extend_from_slice(b"Content-Type: ");
            out.extend(content_type.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.server);
        if self.is_last {
            out.extend_from_slice(b"Connection: close\r\n");
        }
    }

    /// Appends the length and the end of the header.
    pub fn length(&self, size: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
    }

    /// A whole answer.
    pub fn answer(&self, (status, reason): (u16, &[u8]), content: (&[u8], &[u8])) -> Vec<u8> {
        let (content_type, body) = content;
        let mut out = Vec::with_capacity(256 + body.len());
        self.begin(status, reason, content_type, &mut out);
        self.length(body.len() as u64, &mut out);
        if self.has_body {
            out.extend_from_slice(body);
        }
        out
    }
}

/// What a command came to that a script has given (`jsonrpc_exec`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Executed {
    /// 200, or the code of the fault.
    pub code: i64,
    /// `OK`, or what the fault says.
    pub text: Box<str>,
    /// The whole answer.
    pub body: Box<[u8]>,
}
