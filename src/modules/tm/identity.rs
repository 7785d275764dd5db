//! What makes two messages belong to one transaction: RFC 3261 §17.2.3 for requests, and the
//! branch values we put into our own Via for responses.
//!
//! A branch of ours reads
//!
//! ```text
//! z9hG4bK 5f0e…16 hex…  .  1a2b3c4d  .  300000007  .  0
//!         nonce            loop         key           branch
//! ```
//!
//! The key names the transaction in this shard's table and makes matching a response one array
//! access. The nonce is drawn for each transaction: a response to a process that ran before, or
//! a forged one, has another and matches nothing. The loop part is a hash of what decides the
//! routing of the request (§16.6 step 8), so that a request that comes back unchanged is known.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use crate::sip::{HeaderName, Message, Method, Uri};
use crate::slab::Key;
use crate::text;
use crate::timer::Branch;

/// The cookie every branch of RFC 3261 starts with.
pub const COOKIE: &[u8] = b"z9hG4bK";

/// What a branch of ours says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnBranch {
    /// Drawn for the transaction.
    pub nonce: u64,
    /// See [`loop_hash`].
    pub loop_hash: u32,
    /// The branch of the transaction.
    pub branch: Branch,
}

impl OwnBranch {
    /// Appends the branch value.
    pub fn write(&self, out: &mut Vec<u8>) {
        // `z9hG4bK`, 16 digits, a full stop, 8 digits, a full stop.
        let mut head = [b'.'; 33];
        head[..7].copy_from_slice(COOKIE);
        head[7..23].copy_from_slice(&text::hex_digits(self.nonce));
        head[24..32].copy_from_slice(&text::hex_digits(self.loop_hash.into())[8..]);
        out.extend_from_slice(&head);
        text::push_hex(out, self.branch.transaction.to_u64(), 1);
        out.push(b'.');
        text::push_hex(out, self.branch.index.into(), 1);
    }

    /// Reads a branch value; `None` when it was not written by [`OwnBranch::write`].
    pub fn parse(value: &[u8]) -> Option<OwnBranch> {
        let (nonce, rest) = value.strip_prefix(COOKIE)?.split_at_checked(16)?;
        let (loop_hash, rest) = rest.strip_prefix(b".")?.split_at_checked(8)?;
        let rest = rest.strip_prefix(b".")?;
        let dot = rest.iter().position(|b| *b == b'.')?;
        let key = text::read_hex(&rest[..dot])?;
        let index = u8::try_from(text::read_hex(&rest[dot + 1..])?).ok()?;
        Some(OwnBranch {
            nonce: text::read_hex(nonce)?,
            loop_hash: text::read_hex(loop_hash)? as u32,
            branch: Branch {
                transaction: Key::from_u64(key),
                index,
            },
        })
    }
}

/// Hash of what §17.2.3 compares. An ACK and a CANCEL hash as the INVITE they are about.
pub fn hash(hasher: &RandomState, request: &Message, method: Method) -> u64 {
    let mut h = hasher.build_hasher();
    let via = request.top_via();
    let class = u32::from(method_class(method) as u8);
    match via.branch().filter(|b| is_unique(b)) {
        Some(branch) => {
            h.write_u32(class << 16 | u32::from(via.port.unwrap_or(0)));
            h.write(branch);
            write_folded(&mut h, via.host);
        }
        // Before RFC 3261: by what identifies the request itself.
        None => {
            h.write_u32(class);
            h.write(request.call_id());
            h.write(request.from_tag().unwrap_or_default());
            h.write_u32(request.cseq().number);
        }
    }
    h.finish()
}

/// Hashes a host such that the case of its letters does not count. Eight bytes at a time, the rest
/// filled up with zeros, which stand in no host; setting bit 5 makes letters lower case, and what
/// else it makes equal is told apart by [`is_same`].
fn write_folded(h: &mut impl Hasher, host: &[u8]) {
    const BIT_5: u64 = 0x2020_2020_2020_2020;
    let (words, rest) = host.as_chunks::<8>();
    for word in words {
        h.write_u64(u64::from_le_bytes(*word) | BIT_5);
    }
    let last = rest.iter().rfold(0, |last, b| last << 8 | u64::from(*b));
    h.write_u64(last | BIT_5);
}

/// Whether `later` belongs to the transaction that `first` began, taken as a request of `method`
/// (the method of the transaction for retransmissions, ACK and CANCEL alike).
pub fn is_same(first: &Message, later: &Message, method: Method) -> bool {
    if method_class(first.method()) != method_class(method) {
        return false;
    }
    let (a, b) = (first.top_via(), later.top_via());
    let sent_by = a.host.eq_ignore_ascii_case(b.host) && a.port == b.port;
    match (
        a.branch().filter(|x| is_unique(x)),
        b.branch().filter(|x| is_unique(x)),
    ) {
        (Some(x), Some(y)) => x == y && sent_by,
        (None, None) => is_same_without_cookie(first, later) && sent_by,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// §17.2.3 for requests without the cookie. The To tag is left out for an ACK, whose tag is that
/// of the response.
fn is_same_without_cookie(first: &Message, later: &Message) -> bool {
    let same_uri = match (Uri::parse(first.uri()), Uri::parse(later.uri())) {
        (Ok(a), Ok(b)) => a.equals(&b),
        _ => first.uri() == later.uri(),
    };
    same_uri
        && first.call_id() == later.call_id()
        && first.cseq().number == later.cseq().number
        && first.from_tag() == later.from_tag()
        && (later.method() == Method::Ack || first.to_tag() == later.to_tag())
        && first.top_via().branch() == later.top_via().branch()
}

/// A branch that identifies: the cookie and something behind it. RFC 4475 §3.2.1 sends the cookie
/// alone.
fn is_unique(branch: &[u8]) -> bool {
    branch.len() > COOKIE.len() && branch[..COOKIE.len()].eq_ignore_ascii_case(COOKIE)
}

fn method_class(method: Method) -> Method {
    if method == Method::Ack {
        Method::Invite
    } else {
        method
    }
}

fn write_lower(h: &mut impl Hasher, text: &[u8]) {
    for b in text {
        h.write_u8(b.to_ascii_lowercase());
    }
}

/// Hash of all that decides where a request goes (§16.6 step 8): not of the Via headers, which
/// grow, nor of Max-Forwards, which shrinks.
pub fn loop_hash(request: &Message) -> u32 {
    // Fixed seeds: the value travels and comes back, perhaps to a process started since.
    let mut h = RandomState::with_seeds(1, 2, 3, 4).build_hasher();
    h.write(request.uri());
    h.write(request.call_id());
    h.write(request.from_tag().unwrap_or_default());
    h.write(request.to_tag().unwrap_or_default());
    h.write_u32(request.cseq().number);
    h.write(request.method_name());
    for name in [
        HeaderName::Route,
        HeaderName::ProxyRequire,
        HeaderName::ProxyAuthorization,
    ] {
        for header in request.all(name) {
            h.write(header.value.of(request.bytes()));
            h.write_u8(b'\n');
        }
    }
    h.finish() as u32
}

/// Appends the branch for a request that is forwarded without a transaction (§16.11): the same for
/// every retransmission, and for the CANCEL of the same INVITE.
pub fn write_stateless(request: &Message, out: &mut Vec<u8>) {
    let mut h = RandomState::with_seeds(5, 6, 7, 8).build_hasher();
    let via = request.top_via();
    match via.branch().filter(|b| is_unique(b)) {
        Some(branch) => h.write(branch),
        None => {
            h.write(request.call_id());
            h.write(request.from_tag().unwrap_or_default());
            h.write(request.to_tag().unwrap_or_default());
            h.write_u32(request.cseq().number);
            h.write(request.uri());
        }
    }
    write_lower(&mut h, via.host);
    h.write_u16(via.port.unwrap_or(0));
    let is_ack = request.method() == Method::Ack;
    out.extend_from_slice(COOKIE);
    text::push_hex(out, h.finish(), 16);
    out.push(b'.');
    text::push_hex(out, loop_hash(request).into(), 8);
    out.extend_from_slice(if is_ack { b".s1" } else { b".s0" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_reads_back_as_written() {
        let key = Key::from_u64(0x0000_0003_0000_0007);
        let branch = Branch {
            transaction: key,
            index: 11,
        };
        let own = OwnBranch {
            nonce: 0x5f0e,
            loop_hash: 0x1a2b,
            branch,
        };
        let mut text = vec![];
        own.write(&mut text);
        assert_eq!(text, b"z9hG4bK0000000000005f0e.00001a2b.300000007.b");
        assert_eq!(OwnBranch::parse(&text), Some(own));
    }

    #[test]
    fn a_foreign_branch_is_not_ours() {
        for value in [
            "",
            "z9hG4bK",
            "z9hG4bK776asdhds",
            "z9hG4bK0000000000005f0e.00001a2b.300000007",
            "z9hG4bK0000000000005f0e.00001a2b.300000007.b.c",
            "z9hG4bK0000000000005f0e.00001a2b.300000007.100",
            "0000000000005f0e.00001a2b.300000007.b",
        ] {
            assert_eq!(OwnBranch::parse(value.as_bytes()), None, "{value}");
        }
    }
}
