//! One command over binary RPC: sent, and its answer read value by value, so that a list longer
//! than memory can be shown.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use dialcore::modules::rpc::binrpc::{self, Kind};
use dialcore::modules::rpc::place::{BINRPC_PORT, Place};
use dialcore::modules::rpc::{Fault, Value};

/// How long the proxy may say nothing. A command to all cores of a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes read at once.
const READ_SIZE: usize = 64 << 10;

/// Why there is no answer, or none that helps.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The socket is none that carries a stream.
    Socket(String),
    /// Nobody is there, or has gone away.
    Io(String, io::Error),
    /// What came back is not binary RPC.
    Broken,
    /// The command has failed.
    Fault(Fault),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Socket(text) => write!(f, "{text} is not unix:PATH or tcp:HOST[:PORT]"),
            ClientError::Io(socket, error) => write!(f, "{socket}: {error}"),
            ClientError::Broken => f.write_str("the answer is not binary RPC"),
            ClientError::Fault(fault) => write!(f, "{} - {}", fault.code, fault.text),
        }
    }
}

trait Stream: Read + Write {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

/// An answer on its way.
pub(crate) struct Answer {
    stream: Box<dyn Stream>,
    socket: String,
    /// What has been read, and how much of it is understood.
    bytes: Vec<u8>,
    at: usize,
    /// Bytes of the body that are not read yet.
    left: usize,
}

/// Sends a command. The answer is there when this returns; its values come one by one.
pub(crate) fn ask(socket: &str, method: &str, params: &[Value]) -> Result<Answer, ClientError> {
    let gone = |error| ClientError::Io(socket.to_owned(), error);
    let stream = connect(socket)?;
    let mut answer = Answer {
        stream,
        socket: socket.to_owned(),
        bytes: Vec::new(),
        at: 0,
        left: 0,
    };
    let cookie = std::process::id();
    let values: Vec<Value> = std::iter::once(Value::text(method))
        .chain(params.iter().cloned())
        .collect();
    let request = binrpc::packet(Kind::Request, cookie, &values);
    answer.stream.write_all(&request).map_err(gone)?;
    let head = loop {
        match binrpc::head(&answer.bytes) {
            Ok(Some(head)) => break head,
            Ok(None) => answer.read(READ_SIZE)?,
            Err(binrpc::Corrupt) => return Err(ClientError::Broken),
        }
    };
    answer.bytes.drain(..head.size);
    answer.left = head
        .body_size
        .checked_sub(answer.bytes.len())
        .ok_or(ClientError::Broken)?;
    match head.kind {
        Kind::Reply if head.cookie == cookie => Ok(answer),
        Kind::Fault => Err(answer.fault()),
        Kind::Reply | Kind::Request => Err(ClientError::Broken),
    }
}

fn connect(socket: &str) -> Result<Box<dyn Stream>, ClientError> {
    let gone = |error| ClientError::Io(socket.to_owned(), error);
    let patience = Some(PATIENCE);
    match Place::parse(socket, "/run/dialcore", Some(BINRPC_PORT)) {
        Some(Place::Stream(path)) => {
            let stream = UnixStream::connect(&*path).map_err(gone)?;
            stream.set_read_timeout(patience).map_err(gone)?;
            Ok(Box::new(stream))
        }
        Some(Place::Tcp(at)) => {
            let stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(gone)?;
            stream.set_read_timeout(patience).map_err(gone)?;
            Ok(Box::new(stream))
        }
        Some(Place::Datagram(_) | Place::Udp(_) | Place::Pipe { .. }) | None => {
            Err(ClientError::Socket(socket.to_owned()))
        }
    }
}

impl Answer {
    /// The next value; `None`: that was all.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            match binrpc::first(&self.bytes[self.at..]) {
                Ok(Some((value, size))) => {
                    self.at += size;
                    return Ok(Some(value));
                }
                Ok(None) if self.left == 0 && self.at == self.bytes.len() => return Ok(None),
                Ok(None) if self.left == 0 => return Err(ClientError::Broken),
                Ok(None) => {
                    self.bytes.drain(..self.at);
                    self.at = 0;
                    let before = self.bytes.len();
                    self.read(self.left)?;
                    self.left -= self.bytes.len() - before;
                }
                Err(_) => return Err(ClientError::Broken),
            }
        }
    }

    fn fault(&mut self) -> ClientError {
        match (self.next(), self.next()) {
            (Ok(Some(Value::Int(code))), Ok(Some(Value::Text(text)))) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                ClientError::Fault(Fault::new(code as i32, text))
            }
            (Err(error), _) | (_, Err(error)) => error,
            (Ok(_), Ok(_)) => ClientError::Broken,
        }
    }

    /// Reads something, at most this much.
    fn read(&mut self, most: usize) -> Result<(), ClientError> {
        let mut chunk = [0; READ_SIZE];
        let gone = |error| ClientError::Io(self.socket.clone(), error);
        let size = self
            .stream
            .read(&mut chunk[..most.min(READ_SIZE)])
            .map_err(gone)?;
        if size == 0 {
            return Err(gone(io::ErrorKind::UnexpectedEof.into()));
        }
        self.bytes.extend_from_slice(&chunk[..size]);
        Ok(())
    }
}
