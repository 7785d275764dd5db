//! The parameters of a command as it was given.
//!
//! Binary RPC is strict about types and says which parameter is wrong; JSON-RPC is not: what is
//! missing ends the command without an answer of its own, and a text where a number belongs is 0.
//! Both are what the original does, and tools have come to expect it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::effect::rpc::{Fault, Value};
use crate::modules::dialog::listing::Filter;

use super::command::Stop;

/// Which rules apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Binary RPC; whether numbers and numeric texts stand for each other everywhere.
    Binary {
        /// The parameter `autoconversion`.
        converts: bool,
    },
    /// JSON-RPC.
    Json,
}

/// Parameters.
#[derive(Clone, PartialEq, Debug)]
pub struct Args {
    values: Vec<Value>,
    dialect: Dialect,
    /// Why there are no more.
    end: &'static str,
    prepared: Prepared,
}

/// What has been made of the parameters before the first shard was asked: a regular expression is
/// compiled once and not in every slice.
#[derive(Clone, Default, Debug)]
struct Prepared(OnceLock<Arc<[Filter]>>);

impl PartialEq for Prepared {
    /// It follows from the parameters.
    fn eq(&self, _: &Prepared) -> bool {
        true
    }
}

/// What the original says when the parameters are at their end.
const END: &str = "end of packet encountered";

/// What it says of a parameter of another type.
const MISMATCH: &str = "record doesn't match type";

/// A parameter that is not there, or not of the type it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lack {
    index: usize,
    wanted: &'static str,
    why: &'static str,
    dialect: Dialect,
}

impl From<Lack> for Stop {
    fn from(lack: Lack) -> Stop {
        let Lack {
            index, wanted, why, ..
        } = lack;
        match lack.dialect {
            Dialect::Json => Stop::Silent,
            Dialect::Binary { .. } => Stop::Fault(Fault::new(
                400,
                format!("error at parameter {index}: expected {wanted} type but {why}"),
            )),
        }
    }
}

impl Args {
    /// These values.
    pub fn new(values: Vec<Value>, dialect: Dialect) -> Args {
        Args {
            values,
            dialect,
            end: END,
            prepared: Prepared::default(),
        }
    }

    /// The values in front of a record that cannot be read, and what is wrong with that.
    pub fn broken(values: Vec<Value>, dialect: Dialect, end: &'static str) -> Args {
        Args {
            values,
            dialect,
            end,
            prepared: Prepared::default(),
        }
    }

    /// What the parameters say about the dialogs that are wanted; made when it is asked for the
    /// first time.
    pub fn filters(
        &self,
        make: impl FnOnce() -> Result<Vec<Filter>, Stop>,
    ) -> Result<Arc<[Filter]>, Stop> {
        if let Some(filters) = self.prepared.0.get() {
            return Ok(Arc::clone(filters));
        }
        let filters: Arc<[Filter]> = make()?.into();
        Ok(Arc::clone(self.prepared.0.get_or_init(|| filters)))
    }

    /// All of them.
    pub fn all(&self) -> &[Value] {
        &self.values
    }

    /// Which rules apply.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A text; nothing else will do.
    pub fn text(&self, index: usize) -> Result<Cow<'_, [u8]>, Lack> {
        match (self.values.get(index), self.dialect) {
            (Some(Value::Text(text)), _) => Ok(Cow::Borrowed(text)),
            (Some(Value::Int(_)), Dialect::Binary { converts: true }) => self.word(index),
            (found, _) => Err(self.lack(index, "string", found)),
        }
    }

    /// A text, or a number taken as one.
    pub fn word(&self, index: usize) -> Result<Cow<'_, [u8]>, Lack> {
        match self.values.get(index) {
            Some(Value::Text(text)) => Ok(Cow::Borrowed(text)),
            Some(Value::Int(n)) => Ok(Cow::Owned(n.to_string().into_bytes())),
            Some(Value::Double(x)) => Ok(Cow::Owned(format!("{x:.6}").into_bytes())),
            found => Err(self.lack(index, "any", found)),
        }
    }

    /// A number.
    pub fn int(&self, index: usize) -> Result<i64, Lack> {
        match (self.values.get(index), self.dialect) {
            (Some(Value::Int(n)), _) => Ok(*n),
            (Some(Value::Double(x)), Dialect::Json) => Ok(*x as i64),
            (Some(Value::Text(_)), Dialect::Json) => Ok(0),
            (Some(Value::Text(text)), Dialect::Binary { converts: true }) => {
                let digits = std::str::from_utf8(text)
                    .ok()
                    .and_then(|t| t.trim().parse().ok());
                digits.ok_or_else(|| self.lack(index, "integer", self.values.get(index)))
            }
            (found, _) => Err(self.lack(index, "integer", found)),
        }
    }

    /// A text or number if it is there and of a fitting type; `None` when it is not there.
    pub fn optional<'a, T>(
        &'a self,
        index: usize,
        get: impl Fn(&'a Self, usize) -> Result<T, Lack>,
    ) -> Result<Option<T>, Lack> {
        match self.values.get(index) {
            None => Ok(None),
            Some(_) => get(self, index).map(Some),
        }
    }

    fn lack(&self, index: usize, wanted: &'static str, found: Option<&Value>) -> Lack {
        let why = if found.is_some() { MISMATCH } else { self.end };
        Lack {
            index,
            wanted,
            why,
            dialect: self.dialect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Dialect = Dialect::Binary { converts: false };
    const LOOSE: Dialect = Dialect::Binary { converts: true };

    fn args(dialect: Dialect) -> Args {
        let values = vec![
            Value::Int(12),
            Value::text("34"),
            Value::text("x"),
            Value::Double(2.5),
        ];
        Args::new(values, dialect)
    }

    /// What is said of it, or the value.
    fn shown<T: ToString>(result: Result<T, Lack>) -> String {
        match result.map_err(Stop::from) {
            Ok(value) => value.to_string(),
            Err(Stop::Fault(fault)) => fault.text.into_owned(),
            Err(Stop::Silent) => "silent".into(),
        }
    }

    #[test]
    fn types_are_kept_as_each_dialect_keeps_them() {
        let mismatch = |n, t| {
            format!("error at parameter {n}: expected {t} type but record doesn't match type")
        };
        let table = [
            (STRICT, 0, mismatch(0, "string"), "12".into(), "12".into()),
            (STRICT, 1, "34".into(), "34".into(), mismatch(1, "integer")),
            (LOOSE, 0, "12".into(), "12".into(), "12".into()),
            (LOOSE, 1, "34".into(), "34".into(), "34".into()),
            (LOOSE, 2, "x".into(), "x".into(), mismatch(2, "integer")),
            (Dialect::Json, 0, "silent".into(), "12".into(), "12".into()),
            (Dialect::Json, 2, "x".into(), "x".into(), "0".into()),
            (
                Dialect::Json,
                3,
                "silent".into(),
                "2.500000".into(),
                "2".into(),
            ),
            (
                Dialect::Json,
                4,
                "silent".into(),
                "silent".into(),
                "silent".into(),
            ),
        ];
        for (dialect, index, text, word, int) in table {
            let args = args(dialect);
            let utf8 = |c: Cow<'_, [u8]>| String::from_utf8(c.into_owned()).unwrap();
            let got = (
                shown(args.text(index).map(utf8)),
                shown(args.word(index).map(utf8)),
                shown(args.int(index)),
            );
            assert_eq!(got, (text, word, int), "{dialect:?} {index}");
        }
    }

    #[test]
    fn the_end_is_named() {
        let none = Args::new(vec![], STRICT);
        let want = "error at parameter 0: expected any type but end of packet encountered";
        assert_eq!(shown(none.word(0).map(|_| "")), want);
        assert_eq!(none.optional(0, Args::int), Ok(None));
    }
}
