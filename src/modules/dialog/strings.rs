//! All strings of a dialog in one allocation.
//!
//! ```text
//!   ends:  | 12    | 34       | 52     | ...
//!   bytes: | Call-ID | From URI | To URI | ...   the n-th string lies between two ends
//! ```
//!
//! Most dialogs change their strings twice: when the callee answers and at their end. Changing
//! one copies all, about 500 bytes.

/// Which string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Field {
    /// The Call-ID.
    CallId,
    /// The URI of From in the INVITE.
    FromUri,
    /// The URI of To in the INVITE.
    ToUri,
    /// The Request-URI when the dialog was made.
    Ruri,
    /// The caller's tag.
    CallerTag,
    /// The callee's tag.
    CalleeTag,
    /// The caller's remote target (RFC 3261 §12.1.1).
    CallerContact,
    /// The callee's remote target.
    CalleeContact,
    /// The route set towards the caller, comma-separated.
    CallerRoutes,
    /// The route set towards the callee.
    CalleeRoutes,
    /// The name of the timeout route.
    TimeoutRoute,
}

const COUNT: usize = Field::TimeoutRoute as usize + 1;

/// The strings; one that was never set is empty.
#[derive(Clone, Default, Debug)]
pub struct Strings {
    bytes: Box<[u8]>,
    ends: [u16; COUNT],
}

impl Strings {
    /// One of them.
    pub fn get(&self, field: Field) -> &[u8] {
        let index = field as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[usize::from(start)..usize::from(self.ends[index])]
    }

    /// Sets some of them. False: together they would exceed 65,535 bytes, and nothing is changed.
    #[must_use]
    pub fn set(&mut self, changes: &[(Field, &[u8])]) -> bool {
        let mut parts: [&[u8]; COUNT] = [&[]; COUNT];
        let mut start = 0;
        for (part, end) in parts.iter_mut().zip(self.ends) {
            *part = &self.bytes[start..usize::from(end)];
            start = usize::from(end);
        }
        for (field, text) in changes {
            parts[*field as usize] = text;
        }
        let size = parts.iter().map(|part| part.len()).sum();
        if size > usize::from(u16::MAX) {
            return false;
        }
        let (mut bytes, mut ends) = (Vec::with_capacity(size), [0; COUNT]);
        for (part, end) in parts.iter().zip(&mut ends) {
            bytes.extend_from_slice(part);
            *end = bytes.len() as u16;
        }
        *self = Strings {
            bytes: bytes.into(),
            ends,
        };
        true
    }

    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_apart() {
        let mut strings = Strings::default();
        assert!(strings.set(&[(Field::CallId, b"c1"), (Field::TimeoutRoute, b"T")]));
        assert!(strings.set(&[(Field::CalleeTag, b"t2"), (Field::FromUri, b"sip:a")]));
        assert!(strings.set(&[(Field::CalleeTag, b"longer")]));
        for (field, want) in [
            (Field::CallId, "c1"),
            (Field::FromUri, "sip:a"),
            (Field::ToUri, ""),
            (Field::CalleeTag, "longer"),
            (Field::TimeoutRoute, "T"),
        ] {
            assert_eq!(strings.get(field), want.as_bytes(), "{field:?}");
        }
        assert_eq!(strings.size(), 14);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut strings = Strings::default();
        assert!(strings.set(&[(Field::CallId, b"c1")]));
        assert!(!strings.set(&[(Field::ToUri, &[b'x'; 65_534])]));
        assert_eq!(
            (strings.get(Field::CallId), strings.get(Field::ToUri)),
            (&b"c1"[..], &b""[..])
        );
        assert!(strings.set(&[(Field::ToUri, &[b'x'; 65_533])]));
    }
}
