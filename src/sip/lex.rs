//! Byte classes of RFC 3261 §25.1 and a cursor that reads tokens and skips folded white space.

use super::span::Span;

/// A byte of a token: a method, a header name, a parameter name.
const TOKEN: u8 = 1;
/// A byte that no URI may hold in any place: blanks, controls, angle brackets, the double quote.
const NOT_URI: u8 = 2;
/// Linear white space.
const BLANK: u8 = 8;
/// A byte of a host name. The underscore is in no grammar and in many networks.
const HOST: u8 = 4;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut out = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric() {
            out[i] = TOKEN | HOST;
        }
        if matches!(
            b,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        ) {
            out[i] |= TOKEN;
        }
        if matches!(b, b'-' | b'.' | b'_') {
            out[i] |= HOST;
        }
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
            out[i] |= BLANK;
        }
        if b <= b' ' || matches!(b, 0x7f | b'<' | b'>' | b'"') {
            out[i] |= NOT_URI;
        }
        i += 1;
    }
    out
}

pub(super) const fn is_token(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

pub(super) const fn is_uri(b: u8) -> bool {
    CLASS[b as usize] & NOT_URI == 0
}

pub(super) const fn is_host(b: u8) -> bool {
    CLASS[b as usize] & HOST != 0
}

/// A byte of linear white space, line ends of folds included (§25.1 LWS).
pub(super) const fn is_blank(b: u8) -> bool {
    CLASS[b as usize] & BLANK != 0
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Eight times the same byte.
const fn eight(b: u8) -> u64 {
    ONES * b as u64
}

/// The high bit of each byte that is zero. Above the lowest such byte some that are one may be
/// marked, too.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH_BITS
}

/// The first byte of eight whose high bit is set.
const fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Where the first byte stands for which `is` holds; `marks` says the same of eight bytes at once,
/// in the first byte that it marks without error.
#[inline(always)]
fn find_by(text: &[u8], marks: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(8 * n + first(found));
        }
    }
    match text.last_chunk::<8>() {
        _ if rest.is_empty() => None,
        // It begins with bytes among which there is none, as has been seen.
        Some(last) => {
            let found = marks(u64::from_le_bytes(*last));
            (found != 0).then(|| text.len() - 8 + first(found))
        }
        None => rest.iter().position(|b| is(*b)),
    }
}

/// Where the first `wanted` stands. For the short texts between separators, in which `memchr`
/// takes longer to begin than to search.
#[inline]
pub(super) fn find(text: &[u8], wanted: u8) -> Option<usize> {
    find_by(text, |word| zeros(word ^ eight(wanted)), |b| b == wanted)
}

/// Where the first line feed stands at or behind `at`. Of the finders the one for lines: it asks
/// sixteen bytes at once whether there is one, in a form that compilers make one comparison of.
#[inline(always)]
pub(super) fn find_line_feed(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let (blocks, tail) = rest.as_chunks::<16>();
    for (n, block) in blocks.iter().enumerate() {
        if block.iter().fold(false, |has, b| has | (*b == b'\n')) {
            return find_in_window(block, b'\n').map(|found| at + 16 * n + found);
        }
    }
    find(tail, b'\n').map(|found| bytes.len() - tail.len() + found)
}

/// [`find`] in sixteen bytes.
#[inline]
pub(super) fn find_in_window(window: &[u8; 16], wanted: u8) -> Option<usize> {
    let both = u128::from_le_bytes(*window);
    let head = zeros(both as u64 ^ eight(wanted));
    if head != 0 {
        return Some(first(head));
    }
    let tail = zeros((both >> 64) as u64 ^ eight(wanted));
    (tail != 0).then(|| 8 + first(tail))
}

/// Where the first of either stands.
#[inline]
pub(super) fn find_either(text: &[u8], one: u8, other: u8) -> Option<usize> {
    let marks = |word| zeros(word ^ eight(one)) | zeros(word ^ eight(other));
    find_by(text, marks, |b| b == one || b == other)
}

/// Whether all bytes may stand in a URI, see [`is_uri`].
#[inline]
pub(super) fn is_uri_text(text: &[u8]) -> bool {
    const BIT_1: u64 = eight(b'<' ^ b'>');
    const _: () = assert!(b'<' | BIT_1 as u8 == b'>');
    let marks = |word: u64| {
        let is_control = word.wrapping_sub(eight(b' ' + 1)) & !word & HIGH_BITS;
        let is_bracket = zeros((word | BIT_1) ^ eight(b'>'));
        is_control | is_bracket | zeros(word ^ eight(b'"')) | zeros(word ^ eight(0x7f))
    };
    find_by(text, marks, |b| !is_uri(b)).is_none()
}

/// The bytes without white space around them. The result is always a part of `bytes`.
#[inline]
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    match bytes {
        [first, .., last] if *first > b' ' && *last > b' ' => bytes,
        _ => trim_blanks(bytes),
    }
}

fn trim_blanks(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|b| !is_blank(*b))
        .map_or(0, |last| last + 1);
    let start = bytes[..end].iter().position(|b| !is_blank(*b)).unwrap_or(0);
    &bytes[start..end]
}

/// [`trim`] on offsets.
#[inline]
pub(super) fn trim_span(bytes: &[u8], start: usize, end: usize) -> Span {
    match bytes[start..end] {
        [first, .., last] if first > b' ' && last > b' ' => Span::new(start, end),
        [only] if only > b' ' => Span::new(start, end),
        _ => trim_blank_span(bytes, start, end),
    }
}

fn trim_blank_span(bytes: &[u8], start: usize, end: usize) -> Span {
    let part = &bytes[start..end];
    let kept = trim_blanks(part);
    let start = Span::within(part, kept).map_or(start, |span| start + usize::from(span.start));
    Span::new(start, start + kept.len())
}

/// The decimal number that `digits` are, all of them.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    let mut n = 0u64;
    for &b in digits {
        let digit = b.wrapping_sub(b'0');
        n = 10 * n + u64::from(digit);
        if digit > 9 || n > u64::from(u32::MAX) {
            return None;
        }
    }
    (!digits.is_empty()).then_some(n as u32)
}

/// [`number`] of a port.
pub(super) fn port(digits: &[u8]) -> Option<u16> {
    number(digits).and_then(|n| u16::try_from(n).ok())
}

/// Reads through a part of a message; offsets are those of the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `span`, which ends the reading.
    pub(super) fn new(bytes: &'a [u8], span: Span) -> Cursor<'a> {
        let end = usize::from(span.end).min(bytes.len());
        Cursor {
            bytes: &bytes[..end],
            at: usize::from(span.start).min(end),
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Steps over `wanted` if it is next.
    pub(super) fn eat(&mut self, wanted: u8) -> bool {
        let hit = self.peek() == Some(wanted);
        self.at += usize::from(hit);
        hit
    }

    /// Steps over `wanted` if all of it is next.
    #[inline]
    pub(super) fn eat_all(&mut self, wanted: &[u8]) -> bool {
        let hit = self.bytes[self.at..].starts_with(wanted);
        self.at += if hit { wanted.len() } else { 0 };
        hit
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        self.take_while(is_blank);
    }

    /// The run of bytes from here for which `is` holds; may be empty.
    #[inline]
    pub(super) fn take_while(&mut self, is: impl Fn(u8) -> bool) -> Span {
        let rest = &self.bytes[self.at..];
        let size = rest.iter().position(|b| !is(*b)).unwrap_or(rest.len());
        let start = self.at;
        self.at += size;
        Span::new(start, self.at)
    }

    /// What is left, without white space around it.
    pub(super) fn rest(&self) -> Span {
        trim_span(self.bytes, self.at, self.bytes.len())
    }
}

/// The index of the first byte from `at` on that `stop` names and that stands outside of quoted
/// strings (§25.1 quoted-string, with its backslash pairs); the length when there is none.
/// `None`: a quoted string does not end.
pub(super) fn find_unquoted(bytes: &[u8], at: usize, stop: impl Fn(u8) -> bool) -> Option<usize> {
    let mut i = at;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => i = quote_end(bytes, i)?,
            b if stop(b) => return Some(i),
            _ => i += 1,
        }
    }
    Some(bytes.len())
}

/// One past the quote that closes the quoted string which begins at `at`.
pub(super) fn quote_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        let table: [(&[u8], Option<u32>); 8] = [
            (b"0", Some(0)),
            (b"0068", Some(68)),
            (b"4294967295", Some(u32::MAX)),
            (b"4294967296", None),
            (b"", None),
            (b"-1", None),
            (b"+1", None),
            (b"1 ", None),
        ];
        for (digits, want) in table {
            assert_eq!(number(digits), want, "{digits:?}");
        }
        assert_eq!((port(b"65535"), port(b"65536")), (Some(u16::MAX), None));
    }

    #[test]
    fn eight_bytes_at_a_time_are_as_one_by_one() {
        let mut rng = crate::rng::Rng::new(7);
        let near = b"\n\x00\x01 !\"#:;<=>?@\x7e\x7f\x80\xff\t\ra";
        for _ in 0..20_000 {
            let is_near = rng.below(2) == 0;
            let text: Vec<u8> = (0..rng.below(60))
                .map(|_| match is_near {
                    true => near[rng.below(near.len() as u32) as usize],
                    false => rng.next_u64() as u8 | 0x20,
                })
                .collect();
            let [a, b] = [(); 2].map(|()| near[rng.below(near.len() as u32) as usize]);
            let place = |is: &dyn Fn(u8) -> bool| text.iter().position(|b| is(*b));
            assert_eq!(find(&text, a), place(&|x| x == a), "{text:?} {a}");
            if let Some(window) = text.first_chunk() {
                let found = find_in_window(window, a);
                assert_eq!(
                    found,
                    place(&|x| x == a).filter(|at| *at < 16),
                    "{text:?} {a}"
                );
            }
            for at in 0..text.len() + 2 {
                let rest = text.iter().skip(at).position(|b| *b == b'\n');
                let want = rest.map(|found| at + found);
                assert_eq!(find_line_feed(&text, at), want, "{text:?} {at}");
            }
            let either = find_either(&text, a, b);
            assert_eq!(either, place(&|x| x == a || x == b), "{text:?} {a} {b}");
            let is_uri_text = is_uri_text(&text);
            assert_eq!(is_uri_text, text.iter().all(|b| is_uri(*b)), "{text:?}");
        }
    }

    #[test]
    fn quotes_hide_what_they_hold() {
        let table: [(&[u8], Option<usize>); 7] = [
            (b"a;b", Some(1)),
            (b"\";\";", Some(3)),
            (b"\"\\\";\";", Some(5)),
            (b"abc", Some(3)),
            (b"\"abc", None),
            (b"\"abc\\", None),
            (b"", Some(0)),
        ];
        for (bytes, want) in table {
            assert_eq!(find_unquoted(bytes, 0, |b| b == b';'), want, "{bytes:?}");
        }
    }

    #[test]
    fn trimming_leaves_a_part() {
        for (bytes, want) in [(" \r\n\ta b ", "a b"), ("", ""), (" \r\n ", ""), ("a", "a")] {
            let whole = bytes.as_bytes();
            assert_eq!(trim(whole), want.as_bytes(), "{bytes:?}");
            assert_eq!(
                trim_span(whole, 0, whole.len()).of(whole),
                want.as_bytes(),
                "{bytes:?}"
            );
            assert!(Span::within(whole, trim(whole)).is_some());
        }
    }
}
