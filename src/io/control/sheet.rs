//! An answer as it is written: value by value, in the language of the one who asked.

use std::io;

use super::spool::Spool;
use crate::effect::rpc::{Fault, Value};
use crate::limits::RPC_CHUNK_SIZE;
use crate::modules::rpc::Container;
use crate::modules::rpc::binrpc::{self, Kind};
use crate::modules::rpc::json::Style;

/// How an answer is written and marked.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Binary RPC.
    Binary {
        /// Given back to the client.
        cookie: u32,
    },
    /// JSON-RPC.
    Json {
        /// Its looks.
        style: Style,
        /// Given back to the client.
        id: Option<Value>,
    },
}

/// An answer ready to leave.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What leaves first.
    pub(crate) head: Vec<u8>,
    /// What follows.
    pub(crate) body: Spool,
}

/// An answer that is being written.
#[derive(Debug)]
pub(crate) struct Sheet {
    form: Form,
    container: Container,
    count: usize,
    last: Option<Value>,
    body: Spool,
    scratch: Vec<u8>,
}

impl Sheet {
    pub(crate) fn new(form: Form, container: Container) -> Sheet {
        let mut body = Vec::new();
        if let Form::Json { style, .. } = &form {
            style.begin(&mut body, container);
        }
        let (count, last, scratch) = (0, None, Vec::new());
        Sheet {
            form,
            container,
            count,
            last,
            body: Spool::of(body),
            scratch,
        }
    }

    /// Appends one value.
    pub(crate) fn add(&mut self, value: Value) -> io::Result<()> {
        self.scratch.clear();
        match (&self.form, self.container) {
            (Form::Binary { .. }, _) => binrpc::put(&mut self.scratch, &value),
            (Form::Json { style, .. }, Container::Array) => {
                style.item(&mut self.scratch, self.count, &value);
            }
            (Form::Json { .. }, Container::Last) => self.last = Some(value),
        }
        self.count += 1;
        self.body.put(&self.scratch)
    }

    /// What has been written of a JSON answer so far, when it is worth sending.
    pub(crate) fn take_full(&mut self) -> Option<Spool> {
        let is_full = self.body.size() >= RPC_CHUNK_SIZE;
        (is_full && matches!(self.form, Form::Json { .. })).then(|| std::mem::take(&mut self.body))
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The answer, whole.
    pub(crate) fn finish(mut self) -> io::Result<Reply> {
        let mut head = Vec::new();
        match &self.form {
            Form::Binary { cookie } => {
                let size = u32::try_from(self.body.size()).map_err(io::Error::other)?;
                binrpc::put_head(&mut head, Kind::Reply, size, *cookie);
            }
            Form::Json { style, id } => {
                let mut end = Vec::new();
                if self.container == Container::Last {
                    style.only(&mut end, self.last.as_ref());
                }
                style.end(&mut end, self.container, id.as_ref());
                self.body.put(&end)?;
            }
        }
        Ok(Reply {
            head,
            body: self.body,
        })
    }
}

impl Form {
    /// An answer that says what failed.
    pub(crate) fn fault(&self, fault: &Fault) -> Reply {
        let head = match self {
            Form::Binary { cookie } => binrpc::fault(fault, *cookie),
            Form::Json { style, id } => style.fault(fault, id.as_ref()),
        };
        Reply {
            head,
            body: Spool::default(),
        }
    }
}
