//! A client of HTTP that reads what comes without believing it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// The first line.
    pub(crate) status: String,
    /// Names and values in their order.
    pub(crate) fields: Vec<(String, String)>,
    /// The body, put together.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request with a body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}").into_bytes()
}

/// A request without.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// Reads one answer; `None`: the stream has ended before the first byte of one.
pub(crate) fn read(stream: &mut impl Read) -> Option<Answer> {
    let head = read_head(stream)?;
    let mut lines = head.split("\r\n").map(str::to_owned);
    let status = lines.next().expect("a status line");
    let fields = lines.filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_owned(), value.to_owned())
    });
    let mut answer = Answer {
        status,
        fields: fields.collect(),
        body: Vec::new(),
    };
    match (
        answer.field("Content-Length"),
        answer.field("Transfer-Encoding"),
    ) {
        (Some(size), None) => {
            answer.body = vec![0; size.parse().expect("a number")];
            stream.read_exact(&mut answer.body).expect("the whole body");
        }
        (None, Some("chunked")) => answer.body = read_chunks(stream),
        (None, None) => drop(stream.read_to_end(&mut answer.body).expect("a body")),
        other => panic!("two lengths: {other:?}"),
    }
    Some(answer)
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read_byte(stream, head.is_empty())?);
    }
    Some(String::from_utf8(head).expect("text"))
}

fn read_byte(stream: &mut impl Read, may_end: bool) -> Option<u8> {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(1) => Some(byte[0]),
        Ok(_) if may_end => None,
        Err(error) if may_end && error.kind() == ErrorKind::ConnectionReset => None,
        other => panic!("the end of an answer is missing: {other:?}"),
    }
}

fn read_chunks(stream: &mut impl Read) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(read_byte(stream, false));
        }
        let digits = String::from_utf8(line).expect("text");
        let size = usize::from_str_radix(digits.trim_end(), 16).expect("the size of a chunk");
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).expect("a chunk");
        assert!(chunk.ends_with(b"\r\n"), "the end of a chunk");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// One request and its answer.
pub(crate) fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<Answer> {
    stream.write_all(request).expect("it is read");
    read(stream)
}
