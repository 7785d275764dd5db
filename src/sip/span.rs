//! Where something stands in a message: two 16-bit offsets instead of a borrow.
//!
//! `limits::MESSAGE_SIZE_MAX` keeps every offset within 16 bits, which makes an index entry of
//! three spans and a name 14 bytes.

/// A range of bytes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Span {
    /// The first byte.
    pub start: u16,
    /// One past the last byte.
    pub end: u16,
}

impl Span {
    /// The span from `start` to `end`. Both are offsets into a message, hence below 2^16.
    pub(crate) const fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u16::MAX as usize);
        Span {
            start: start as u16,
            end: end as u16,
        }
    }

    /// An empty span, the place of an insertion.
    pub const fn at(offset: u16) -> Span {
        Span {
            start: offset,
            end: offset,
        }
    }

    /// The bytes it names. Total: what does not lie within `bytes` is empty.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or_default()
    }

    /// How many bytes.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it names no byte.
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether all of `other` lies within.
    pub const fn contains(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Where `inner` stands in `outer`, of which it must be a part; `None` when it is not, which
    /// is how the empty value of something absent shows.
    pub fn within(outer: &[u8], inner: &[u8]) -> Option<Span> {
        let start = (inner.as_ptr().addr()).checked_sub(outer.as_ptr().addr())?;
        let end = start.checked_add(inner.len())?;
        (end <= outer.len() && end <= usize::from(u16::MAX)).then(|| Span::new(start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_where_it_stands() {
        let outer = b"INVITE sip:a@b SIP/2.0".as_slice();
        let cases: [(&[u8], Option<Span>); 5] = [
            (&outer[7..14], Some(Span { start: 7, end: 14 })),
            (outer, Some(Span { start: 0, end: 22 })),
            (&outer[22..], Some(Span::at(22))),
            (&outer[..0], Some(Span::at(0))),
            (b"sip:a@b", None),
        ];
        for (inner, want) in cases {
            assert_eq!(Span::within(outer, inner), want);
            if let Some(span) = want {
                assert_eq!(span.of(outer), inner);
            }
        }
        assert_eq!(Span::within(&outer[7..14], outer), None);
    }

    #[test]
    fn a_span_beyond_the_bytes_is_empty() {
        for span in [Span { start: 3, end: 9 }, Span { start: 5, end: 2 }] {
            assert_eq!(span.of(b"abc"), b"");
        }
        assert_eq!(Span { start: 5, end: 2 }.len(), 0);
        assert!(Span { start: 5, end: 2 }.is_empty());
    }
}
