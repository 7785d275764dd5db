//! What an operator's command is answered with: values that every transport can write.

use std::borrow::Cow;

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
