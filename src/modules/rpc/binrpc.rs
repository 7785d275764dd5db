//! Binary RPC, the language of `kamcmd`.
//!
//! ```text
//!   packet   A1 | type:4 LL:2 CL:2 | body length (LL+1 bytes) | cookie (CL+1 bytes) | records
//!   record   flag:1 size:3 type:4 | [length, `size` bytes, when the flag is set] | data
//!            flag with size 0: the end of a structure or array
//! ```
//!
//! Numbers are big endian and as short as they can be; texts count a zero byte at their end.
//! An array is written as a structure whose members have no names: the original does so, and its
//! clients cannot read the array type inside of a structure.

use crate::effect::rpc::{Fault, Name, Value};
use crate::limits::RPC_NEST_MAX;

use super::args::{Args, Dialect};

/// Magic and version.
const MAGIC: u8 = 0xA1;

const INT: u8 = 0;
const TEXT: u8 = 1;
const DOUBLE: u8 = 2;
const STRUCT: u8 = 3;
const ARRAY: u8 = 4;
const NAME: u8 = 5;
const BYTES: u8 = 6;

/// The high bit of a record's first byte.
const FLAG: u8 = 0x80;

/// What stands for nothing.
const NULL: &[u8] = b"<null string>";

/// Digits of a fraction that survive: numbers travel as thousandths.
const THOUSAND: f64 = 1000.0;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A command with its parameters.
    Request,
    /// An answer.
    Reply,
    /// A number and words that say what failed.
    Fault,
}

/// The header of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the header.
    pub size: usize,
    /// Bytes that follow it.
    pub body_size: usize,
    /// Chosen by the client, given back with the answer.
    pub cookie: u32,
}

/// These bytes are no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// What the client hears of a packet that is none.
pub fn corrupt() -> Fault {
    Fault::new(400, "bad request: corrupted packet")
}

/// Why a record cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// There is none.
    End,
    /// It is of another type than it may be here.
    Type,
    /// The packet ends inside of it.
    Short,
    /// Its bytes make no sense.
    Broken,
}

impl RecordError {
    /// In the words of the original.
    pub const fn words(self) -> &'static str {
        match self {
            RecordError::End => "end of packet encountered",
            RecordError::Type => "record doesn't match type",
            RecordError::Short => "more data needed",
            RecordError::Broken => "corrupted packet",
        }
    }
}

/// Reads a header; `None`: there is more to come.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Corrupt> {
    match bytes {
        [] => return Ok(None),
        [MAGIC, ..] => {}
        _ => return Err(Corrupt),
    }
    let Some(&flags) = bytes.get(1) else {
        return Ok(None);
    };
    let kind = match flags >> 4 {
        0 => Kind::Request,
        1 => Kind::Reply,
        3 => Kind::Fault,
        _ => return Err(Corrupt),
    };
    let (length_size, cookie_size) = (usize::from(flags >> 2 & 3) + 1, usize::from(flags & 3) + 1);
    let size = 2 + length_size + cookie_size;
    let Some(numbers) = bytes.get(2..size) else {
        return Ok(None);
    };
    let (length, cookie) = numbers.split_at(length_size);
    let body_size = big_endian(length) as usize;
    Ok(Some(Head {
        kind,
        size,
        body_size,
        cookie: big_endian(cookie) as u32,
    }))
}

/// Up to eight bytes as a number.
fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// The body of a request: the method and its parameters, or what is wrong with it.
pub fn request(body: &[u8], converts: bool) -> Result<(Box<[u8]>, Args), Fault> {
    let mut reader = Reader { bytes: body };
    let method = match reader.value(0) {
        Ok(Value::Text(method)) => method,
        Ok(_) => return Err(bad_method(RecordError::Type)),
        Err(error) => return Err(bad_method(error)),
    };
    let dialect = Dialect::Binary { converts };
    let mut values = Vec::new();
    loop {
        match reader.value(0) {
            Ok(value) => values.push(value),
            Err(RecordError::End) => return Ok((method, Args::new(values, dialect))),
            // What stands in front of it may be all that the command wants.
            Err(error) => return Ok((method, Args::broken(values, dialect, error.words()))),
        }
    }
}

fn bad_method(error: RecordError) -> Fault {
    Fault::new(400, format!("bad request method: {}", error.words()))
}

/// The records of a reply or fault.
pub fn values(body: &[u8]) -> Result<Vec<Value>, RecordError> {
    let mut reader = Reader { bytes: body };
    let mut values = Vec::new();
    loop {
        match reader.value(0) {
            Ok(value) => values.push(value),
            Err(RecordError::End) => return Ok(values),
            Err(error) => return Err(error),
        }
    }
}

/// The first record of a body that may still be on its way, and its size; `None`: there is more
/// to come.
pub fn first(bytes: &[u8]) -> Result<Option<(Value, usize)>, RecordError> {
    let mut reader = Reader { bytes };
    match reader.value(0) {
        Ok(value) => Ok(Some((value, bytes.len() - reader.bytes.len()))),
        Err(RecordError::End | RecordError::Short) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is left to read.
struct Reader<'a> {
    bytes: &'a [u8],
}

/// The first bytes of a record.
#[derive(Clone, Copy)]
struct Mark {
    kind: u8,
    size: usize,
    is_end: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(size)
            .ok_or(RecordError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn mark(&mut self) -> Result<Mark, RecordError> {
        let (&first, rest) = self.bytes.split_first().ok_or(RecordError::End)?;
        self.bytes = rest;
        let (kind, nibble) = (first & 0xF, usize::from(first >> 4 & 7));
        let mark = |size, is_end| Ok(Mark { kind, size, is_end });
        match (first & FLAG != 0, kind) {
            // A double of eight bytes: the flag is the fourth bit of its size.
            (true, DOUBLE) if nibble == 0 => mark(8, false),
            (true, _) if nibble == 0 => mark(0, true),
            (true, _) if nibble > 4 => Err(RecordError::Broken),
            (true, _) => {
                let length = big_endian(self.take(nibble)?) as usize;
                mark(length, false)
            }
            (false, _) => mark(nibble, false),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, RecordError> {
        let mark = self.mark()?;
        if mark.is_end || depth > RPC_NEST_MAX {
            return Err(RecordError::Broken);
        }
        match mark.kind {
            INT => self.int(mark.size).map(Value::Int),
            DOUBLE => self.double(mark.size).map(Value::Double),
            TEXT => self.text(mark.size).map(Value::text),
            BYTES => self.take(mark.size).map(Value::text),
            STRUCT => self.structure(depth + 1),
            ARRAY => self.array(depth + 1).map(Value::Array),
            // A name belongs into a structure.
            NAME => Err(RecordError::Type),
            _ => Err(RecordError::Broken),
        }
    }

    fn int(&mut self, size: usize) -> Result<i64, RecordError> {
        match size {
            // Four bytes are in two's complement.
            0..=4 => Ok(i64::from(big_endian(self.take(size)?) as u32 as i32)),
            _ => Err(RecordError::Broken),
        }
    }

    fn double(&mut self, size: usize) -> Result<f64, RecordError> {
        let n = match size {
            0..=3 | 5..=7 => big_endian(self.take(size)?) as i64,
            4 => i64::from(big_endian(self.take(size)?) as u32 as i32),
            8 => big_endian(self.take(size)?) as i64,
            _ => return Err(RecordError::Broken),
        };
        Ok(n as f64 / THOUSAND)
    }

    fn text(&mut self, size: usize) -> Result<&'a [u8], RecordError> {
        match self.take(size)? {
            [text @ .., 0] => Ok(text),
            _ => Err(RecordError::Broken),
        }
    }

    /// Members until the end; without names it is an array in disguise.
    fn structure(&mut self, depth: usize) -> Result<Value, RecordError> {
        let (mut members, mut bare): (Vec<(Name, Value)>, _) = (vec![], vec![]);
        loop {
            let before = self.bytes;
            let mark = self.mark().map_err(inside)?;
            match mark.kind {
                STRUCT if mark.is_end && members.is_empty() && !bare.is_empty() => {
                    return Ok(Value::Array(bare));
                }
                STRUCT if mark.is_end => return Ok(Value::Struct(members)),
                NAME if !mark.is_end => {
                    let name = self.text(mark.size)?.to_vec().into();
                    members.push((name, self.value(depth).map_err(inside)?));
                }
                _ => {
                    self.bytes = before;
                    bare.push(self.value(depth).map_err(inside)?);
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, RecordError> {
        let mut values = vec![];
        loop {
            let before = self.bytes;
            let mark = self.mark().map_err(inside)?;
            if mark.is_end && mark.kind == ARRAY {
                return Ok(values);
            }
            self.bytes = before;
            values.push(self.value(depth).map_err(inside)?);
        }
    }
}

/// The end of the packet inside of a structure is not where it belongs.
fn inside(error: RecordError) -> RecordError {
    match error {
        RecordError::End => RecordError::Short,
        RecordError::Type | RecordError::Short | RecordError::Broken => error,
    }
}

/// Appends the header of a packet whose body has this size.
pub fn put_head(out: &mut Vec<u8>, kind: Kind, body_size: u32, cookie: u32) {
    let (length, cookie) = (body_size.to_be_bytes(), cookie.to_be_bytes());
    let (length, cookie) = (shortest(&length, 1), shortest(&cookie, 1));
    let kind = match kind {
        Kind::Request => 0u8,
        Kind::Reply => 1,
        Kind::Fault => 3,
    };
    out.push(MAGIC);
    out.push(kind << 4 | (length.len() as u8 - 1) << 2 | (cookie.len() as u8 - 1));
    out.extend_from_slice(length);
    out.extend_from_slice(cookie);
}

/// Without the zeros in front, but at least this many bytes.
fn shortest(bytes: &[u8], size_min: usize) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    &bytes[zeros.min(bytes.len() - size_min)..]
}

/// Appends a value.
pub fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => put_text(out, TEXT, NULL),
        // The wire has 32 bits, with or without a sign. What is beyond is at the end of the scale.
        Value::Int(n) => {
            let n = if *n > i64::from(u32::MAX) {
                i64::from(i32::MAX)
            } else {
                *n
            };
            put_number(out, INT, &(n as u32).to_be_bytes());
        }
        Value::Double(x) => put_double(out, *x),
        Value::Text(text) => put_text(out, TEXT, text),
        Value::Struct(members) => {
            out.push(STRUCT);
            for (name, value) in members {
                put_text(out, NAME, name);
                put(out, value);
            }
            out.push(FLAG | STRUCT);
        }
        Value::Array(values) => {
            out.push(STRUCT);
            values.iter().for_each(|value| put(out, value));
            out.push(FLAG | STRUCT);
        }
    }
}

fn put_number(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    let bytes = shortest(bytes, 0);
    out.push((bytes.len() as u8) << 4 | kind);
    out.extend_from_slice(bytes);
}

fn put_double(out: &mut Vec<u8>, x: f64) {
    let thousandths = (x * THOUSAND).round() as i64;
    match i32::try_from(thousandths) {
        Ok(n) => put_number(out, DOUBLE, &n.to_be_bytes()),
        Err(_) => put_number(out, DOUBLE, &thousandths.to_be_bytes()),
    }
}

fn put_text(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    let size = text.len() + 1;
    if size < 8 {
        out.push((size as u8) << 4 | kind);
    } else {
        let length = (size as u32).to_be_bytes();
        let length = shortest(&length, 1);
        out.push(FLAG | (length.len() as u8) << 4 | kind);
        out.extend_from_slice(length);
    }
    out.extend_from_slice(text);
    out.push(0);
}

/// A whole packet with a fault.
pub fn fault(fault: &Fault, cookie: u32) -> Vec<u8> {
    let values = [
        Value::Int(fault.code.into()),
        Value::text(fault.text.as_bytes()),
    ];
    packet(Kind::Fault, cookie, &values)
}

/// A whole packet.
pub fn packet(kind: Kind, cookie: u32, values: &[Value]) -> Vec<u8> {
    let (mut body, mut out) = (vec![], vec![]);
    values.iter().for_each(|value| put(&mut body, value));
    put_head(&mut out, kind, body.len() as u32, cookie);
    out.extend_from_slice(&body);
    out
}

/// What must hold for any bytes: reading ends, and what was read is read again from what is
/// written of it.
pub fn fuzz_binrpc(data: &[u8]) {
    let Ok(Some(head)) = head(data) else { return };
    let body = data.get(head.size..).unwrap_or_default();
    let _ = request(body, true);
    let Ok(read) = values(body) else { return };
    let written = packet(Kind::Reply, head.cookie, &read);
    let again = self::head(&written)
        .expect("our own packet")
        .expect("whole");
    assert_eq!(again.size + again.body_size, written.len());
    assert_eq!(again.cookie, head.cookie);
    let once = values(&written[again.size..]).expect("our own records");
    // Empty arrays come back as structures, and fractions lose digits, once.
    let twice = packet(Kind::Reply, head.cookie, &once);
    assert_eq!(twice, written);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    #[test]
    fn values_are_written_as_captured() {
        let long = vec![b'x'; 255];
        let table = [
            (Value::Int(0), "00".to_owned()),
            (Value::Int(5), "10 05".to_owned()),
            (Value::Int(342), "20 01 56".to_owned()),
            (Value::Int(-1), "40 ff ff ff ff".to_owned()),
            (Value::text(""), "11 00".to_owned()),
            (Value::text("abc"), "41 61 62 63 00".to_owned()),
            (Value::text("123456"), "71 31 32 33 34 35 36 00".to_owned()),
            (
                Value::text("1234567"),
                "91 08 31 32 33 34 35 36 37 00".to_owned(),
            ),
            (
                Value::text(&long),
                format!("a1 01 00 {} 00", "78".repeat(255)),
            ),
            (Value::Double(2.5), "22 09 c4".to_owned()),
            (Value::Double(16.0), "22 3e 80".to_owned()),
            // A thousandth that no fraction of two meets: 2007 of them and a little less.
            (Value::Double(2.007), "22 07 d7".to_owned()),
            (Value::Double(-1.0), "42 ff ff fc 18".to_owned()),
            (
                Value::Null,
                "91 0e 3c 6e 75 6c 6c 20 73 74 72 69 6e 67 3e 00".to_owned(),
            ),
            (
                Value::members([("all", Value::Int(1))]),
                "03 45 61 6c 6c 00 10 01 83".to_owned(),
            ),
            (
                Value::Array(vec![
                    Value::text("inbound"),
                    Value::members([("caller", Value::text("alice"))]),
                ]),
                "03 91 08 696e626f756e64 00 03 75 63616c6c6572 00 61 616c696365 00 83 83"
                    .to_owned(),
            ),
        ];
        for (value, want) in table {
            let mut out = vec![];
            put(&mut out, &value);
            assert_eq!(out, hex(&want), "{value:?}");
            if value != Value::Null {
                assert_eq!(values(&out), Ok(vec![value]), "{want}");
            }
        }
    }

    #[test]
    fn captured_packets() {
        let version = "a1030f11223344910d636f72652e76657273696f6e00";
        let bytes = hex(version);
        let h = head(&bytes).unwrap().unwrap();
        assert_eq!(
            (h.kind, h.size, h.body_size, h.cookie),
            (Kind::Request, 7, 15, 0x1122_3344)
        );
        let (method, args) = request(&bytes[h.size..], false).unwrap();
        assert_eq!((&*method, args.all()), (&b"core.version"[..], &[][..]));
        assert_eq!(
            packet(Kind::Request, h.cookie, &[Value::text("core.version")]),
            bytes
        );

        let reply = "a1132111223344911f6b616d61696c696f20352e362e3320287838365f36342f6c696e757829\
                     2000";
        let text = Value::text("kamailio 5.6.3 (x86_64/linux) ");
        assert_eq!(packet(Kind::Reply, 0x1122_3344, &[text]), hex(reply));

        let not_found = "a1 30 16 03 20 01 94 91 11 4469616c6f67206e6f7420666f756e64 00";
        assert_eq!(
            fault(&Fault::new(404, "Dialog not found"), 3),
            hex(not_found)
        );
        assert_eq!(packet(Kind::Reply, 0, &[]), hex("a1 10 00 00"));

        let stats = "a1 11 3c 01 ff 03 95 09 7374617274696e67 00 00 95 0b 636f6e6e656374696e67 00 \
                     00 95 0a 616e73776572696e67 00 00 95 08 6f6e676f696e67 00 10 01 45 616c6c 00 \
                     10 01 83";
        // Names are coded as texts are: their length stands behind the first byte.
        let counts = [
            ("starting", 0),
            ("connecting", 0),
            ("answering", 0),
            ("ongoing", 1),
        ];
        let counts = counts.into_iter().chain([("all", 1)]);
        let value = Value::members(counts.map(|(name, n)| (name, Value::Int(n))));
        assert_eq!(packet(Kind::Reply, 0x1ff, &[value]), hex(stats));
    }

    #[test]
    fn what_kamcmd_sends_for_odd_arguments() {
        let body = hex("21 78 00 40 ffffffff 22 09c4 31 373700 41 61626300 00 22 3e80 10 07");
        let (method, args) = request(&body, false).unwrap();
        let want = [
            Value::Int(-1),
            Value::Double(2.5),
            Value::text("77"),
            Value::text("abc"),
            Value::Int(0),
            Value::Double(16.0),
            Value::Int(7),
        ];
        assert_eq!((&*method, args.all()), (&b"x"[..], &want[..]));
    }

    #[test]
    fn heads() {
        let ok = |kind, size, body_size, cookie| {
            Ok(Some(Head {
                kind,
                size,
                body_size,
                cookie,
            }))
        };
        let table = [
            ("", Ok(None)),
            ("a1", Ok(None)),
            ("a1 03 0f 11 22", Ok(None)),
            ("a1 00 00 00", ok(Kind::Request, 4, 0, 0)),
            ("a1 0c 00000102 07", ok(Kind::Request, 7, 258, 7)),
            (
                "a1 1f ffffffff ffffffff",
                ok(Kind::Reply, 10, 0xffff_ffff, 0xffff_ffff),
            ),
            ("a2", Err(Corrupt)),
            ("47", Err(Corrupt)),
            ("a1 20", Err(Corrupt)),
            ("a1 f0", Err(Corrupt)),
        ];
        for (bytes, want) in table {
            assert_eq!(head(&hex(bytes)), want, "{bytes}");
        }
    }

    #[test]
    fn broken_requests_are_named() {
        let method = "21 78 00";
        let table = [
            ("", Err("bad request method: end of packet encountered")),
            (
                "10 05",
                Err("bad request method: record doesn't match type"),
            ),
            ("91 ff 61", Err("bad request method: more data needed")),
            ("21 78 78", Err("bad request method: corrupted packet")),
            (
                "f1 01 01 01 01 01 01 01",
                Err("bad request method: corrupted packet"),
            ),
            (method, Ok("end of packet encountered")),
            ("21 78 00 40 01 02", Ok("more data needed")),
            ("21 78 00 50 01 02 03 04 05", Ok("corrupted packet")),
            ("21 78 00 03", Ok("more data needed")),
            ("21 78 00 83", Ok("corrupted packet")),
            ("21 78 00 25 61 00", Ok("record doesn't match type")),
            ("21 78 00 0f", Ok("corrupted packet")),
        ];
        for (bytes, want) in table {
            let got = request(&hex(bytes), false).map(|(_, args)| args);
            let want =
                want.map(|end| Args::broken(vec![], Dialect::Binary { converts: false }, end));
            assert_eq!(
                got.map_err(|f| f.text.into_owned()),
                want.map_err(str::to_owned),
                "{bytes}"
            );
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = |n: usize| {
            let mut body = hex("21 78 00");
            body.extend(vec![STRUCT; n]);
            body.extend(vec![FLAG | STRUCT; n]);
            request(&body, false).unwrap().1.all().len()
        };
        assert_eq!((deep(RPC_NEST_MAX), deep(100_000)), (1, 0));
    }
}
