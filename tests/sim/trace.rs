//! What went over the wire: as one hash always, as arrows when a run is recorded.

use dialcore::time::Instant;

use crate::sip::{self, Sip};
use crate::ua::AgentId;

/// One end of an arrow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Node {
    /// A user agent.
    Agent(AgentId),
    /// A shard of the proxy.
    Proxy(u16),
}

/// How an arrow ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It arrived at this moment.
    Arrived,
    /// It was sent at this moment and never arrives.
    Lost,
}

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Arrow {
    /// When.
    pub at: Instant,
    /// Who sent it.
    pub from: Node,
    /// Whom it is for.
    pub to: Node,
    /// What became of it.
    pub fate: Fate,
    /// Whose call it belongs to, as far as the bytes tell.
    pub call_id: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Arrow {
    /// One line for a ladder.
    pub fn label(&self) -> String {
        match Sip::read(&self.bytes) {
            Some(sip) => sip.label(),
            None => format!("{} bytes", self.bytes.len()),
        }
    }
}

/// The memory of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    arrows: Option<Vec<Arrow>>,
}

impl Trace {
    /// An empty trace; it keeps arrows only when told to.
    pub fn new(is_recording: bool) -> Trace {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            arrows: is_recording.then(Vec::new),
        }
    }

    /// Adds one arrow.
    pub fn note(&mut self, at: Instant, ends: (Node, Node), fate: Fate, bytes: &[u8]) {
        let (from, to) = ends;
        self.mix(&at.as_nanos().to_le_bytes());
        self.mix(format!("{from:?}{to:?}{fate:?}").as_bytes());
        self.mix(bytes);
        if let Some(arrows) = &mut self.arrows {
            arrows.push(Arrow {
                at,
                from,
                to,
                fate,
                call_id: String::from_utf8_lossy(sip::call_id_of(bytes)).into_owned(),
                bytes: bytes.to_vec(),
            });
        }
    }

    /// FNV-1a over everything that was noted: equal runs have equal hashes.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The recorded arrows of one call; none when nothing is recorded.
    pub fn arrows_of<'a>(&'a self, call_id: &'a str) -> impl Iterator<Item = &'a Arrow> {
        self.arrows
            .iter()
            .flatten()
            .filter(move |a| a.call_id == call_id)
    }

    /// All recorded arrows.
    pub fn arrows(&self) -> impl DoubleEndedIterator<Item = &Arrow> {
        self.arrows.iter().flatten()
    }

    fn mix(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.hash = (self.hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The text of a message with every minted identifier replaced by the order of its first
/// appearance in the call: branches, tags and
/// cookies. What remains must not depend on which shard minted.
pub fn normalised(bytes: &[u8], minted: &mut Vec<String>) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = next_minted(rest) {
        let (before, after) = rest.split_at(at);
        let end = after
            .find([';', ',', '>', '\r', ' '])
            .unwrap_or(after.len());
        let (value, tail) = after.split_at(end);
        let index = minted.iter().position(|m| m == value).unwrap_or_else(|| {
            minted.push(value.into());
            minted.len() - 1
        });
        out.push_str(before);
        out.push_str(&format!("#{index}"));
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn next_minted(text: &str) -> Option<usize> {
    let places = ["branch=", "tag=", "did="].map(|name| text.find(name).map(|at| at + name.len()));
    places.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_identifiers_become_numbers_in_order() {
        let mut minted = vec![];
        let text =
            b"Via: x;branch=z9a\r\nFrom: <y>;tag=1\r\nTo: <z>;tag=q;x=1\r\nVia: x;branch=z9a\r\n";
        let want =
            "Via: x;branch=#0\r\nFrom: <y>;tag=#1\r\nTo: <z>;tag=#2;x=1\r\nVia: x;branch=#0\r\n";
        assert_eq!(normalised(text, &mut minted), want);
        assert_eq!(minted, ["z9a", "1", "q"]);
    }
}
