//! Nonces (RFC 7616 §3.3): when and by whom one was made, and a proof that it was made here.
//!
//! ```text
//!   000067428a1f 0003 0000001c 5f0c...e1
//!   |            |    |        128 bits: HMAC-SHA-256, cut off
//!   |            |    32 bits: its number there
//!   |            16 bits: the shard that made it
//!   48 bits: seconds since 1970
//! ```
//!
//! What the proof covers besides binds the nonce to what a request says of itself; every shard can
//! judge it, and every server with the same secret. Shard and number matter only where uses are
//! counted (count.rs).

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::modules::digest;

/// Hexadecimal digits of the time, of shard and number, and of the proof.
const TIME_SIZE: usize = 12;
const SHARD_SIZE: usize = 4;
const NUMBER_SIZE: usize = 8;
const PROOF_SIZE: usize = 32;
const HEAD_SIZE: usize = TIME_SIZE + SHARD_SIZE + NUMBER_SIZE;

/// Who made a nonce: the shard, and the number it has there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Maker {
    pub(super) shard: u16,
    pub(super) number: u32,
}

/// Bytes that SHA-256 takes at a time (RFC 2104 §2).
const BLOCK_SIZE: usize = 64;

/// What a nonce proves about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It was made here, by whom it says, and is still good.
    Good(Maker),
    /// It is too old, not made here, or for somebody else.
    Stale,
}

/// A nonce made now for a request of which these parts are bound to it.
pub(super) fn make(secret: &[u8], (now_s, maker): (u64, Maker), bound: &[&[u8]]) -> String {
    let Maker { shard, number } = maker;
    let mut nonce = format!("{now_s:0TIME_SIZE$x}{shard:0SHARD_SIZE$x}{number:0NUMBER_SIZE$x}");
    let proof = proof(secret, nonce.as_bytes(), bound);
    nonce.push_str(&proof);
    nonce
}

/// For how long a nonce is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// Seconds after it was made.
    pub(super) age_s: u64,
    /// Seconds by which the clock that made it may be ahead.
    pub(super) drift_s: u64,
}

/// Judges a nonce that somebody has sent.
pub(super) fn judge(
    secret: &[u8],
    nonce: &[u8],
    (now_s, limits): (u64, Limits),
    bound: &[&[u8]],
) -> Verdict {
    if nonce.len() != HEAD_SIZE + PROOF_SIZE {
        return Verdict::Stale;
    }
    let (head, given) = nonce.split_at(HEAD_SIZE);
    let is_own = digest::is_equal(given, proof(secret, head, bound).as_bytes());
    let number = |from: usize, size: usize| {
        let digits = std::str::from_utf8(&head[from..from + size]).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let is_in_time = number(0, TIME_SIZE).is_some_and(|made_s| {
        now_s.saturating_sub(made_s) <= limits.age_s
            && made_s.saturating_sub(now_s) <= limits.drift_s
    });
    let shard = number(TIME_SIZE, SHARD_SIZE);
    match (shard, number(TIME_SIZE + SHARD_SIZE, NUMBER_SIZE)) {
        (Some(shard), Some(number)) if is_own && is_in_time => Verdict::Good(Maker {
            shard: shard as u16,
            number: number as u32,
        }),
        _ => Verdict::Stale,
    }
}

fn proof(secret: &[u8], head: &[u8], bound: &[&[u8]]) -> String {
    let mut text = head.to_vec();
    for part in bound {
        // Each with its length, so that no two lists of parts make one text.
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    let code = hmac(secret, &text);
    let mut out = String::with_capacity(PROOF_SIZE);
    for b in &code[..PROOF_SIZE / 2] {
        // Writing to a string cannot fail.
        let _ = write!(out, "{b:02x}");
    }
    out
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_SIZE];
    if key.len() > BLOCK_SIZE {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|b| b ^ 0x36))
        .chain_update(text);
    let outer = Sha256::new().chain_update(block.map(|b| b ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// RFC 4231 §4.2, §4.3, §4.7.
    #[test]
    fn the_examples_of_the_standard() {
        let table: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, text, want) in table {
            assert_eq!(hex(&hmac(key, text)), want);
        }
    }

    /// Secret, nonce, time, what is bound, what is found.
    type Row<'a> = (&'a [u8], &'a str, u64, &'a [&'a [u8]], Verdict);

    #[test]
    fn a_nonce_is_good_for_its_time_and_its_request_only() {
        let limits = Limits {
            age_s: 300,
            drift_s: 3,
        };
        let maker = Maker {
            shard: 3,
            number: 28,
        };
        let good = Verdict::Good(maker);
        let nonce = make(b"secret", (1_000, maker), &[b"sip:a@b", b"c1"]);
        let judged = |secret: &[u8], nonce: &str, now_s, bound: &[&[u8]]| {
            judge(secret, nonce.as_bytes(), (now_s, limits), bound)
        };
        let bound: [&[u8]; 2] = [b"sip:a@b", b"c1"];
        let later = format!("{}{}", "0000000003e9", &nonce[TIME_SIZE..]);
        let other = format!(
            "{}0004{}",
            &nonce[..TIME_SIZE],
            &nonce[TIME_SIZE + SHARD_SIZE..]
        );
        let table: [Row<'_>; 11] = [
            (b"secret", &other, 1_000, &bound, Verdict::Stale),
            (b"secret", &nonce, 1_000, &bound, good),
            (b"secret", &nonce, 1_300, &bound, good),
            (b"secret", &nonce, 1_301, &bound, Verdict::Stale),
            (b"secret", &nonce, 997, &bound, good),
            (b"secret", &nonce, 996, &bound, Verdict::Stale),
            (b"other", &nonce, 1_000, &bound, Verdict::Stale),
            (
                b"secret",
                &nonce,
                1_000,
                &[b"sip:a@bc", b"1"],
                Verdict::Stale,
            ),
            (b"secret", &later, 1_001, &bound, Verdict::Stale),
            (b"secret", "", 1_000, &bound, Verdict::Stale),
            (b"secret", &nonce[1..], 1_000, &bound, Verdict::Stale),
        ];
        for (secret, nonce, now_s, bound, want) in table {
            assert_eq!(
                judged(secret, nonce, now_s, bound),
                want,
                "{nonce} at {now_s}"
            );
        }
    }
}
