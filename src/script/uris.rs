//! URIs that were read lately, so that a script which looks at one URI ten times has it read once.
//!
//! Reading a URI costs some hundred instructions, and a script asks for `$rU`, `$rd`, `$fU` again
//! and again. Entries are found by their text alone: what is remembered of a text holds for every
//! message, and nothing has to be forgotten when a URI changes. The memory is bounded and kept.

use crate::sip::{Scheme, Uri};

/// The Request-URI as received and as rewritten, From, To, the destination, and some more.
const ENTRY_COUNT: usize = 8;

/// What is longer is read anew each time.
const TEXT_SIZE_MAX: usize = 256;

/// Where the parts of a URI stand in its text.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    scheme: Scheme,
    scheme_end: u16,
    user: Option<Place>,
    password: Option<Place>,
    host: Place,
    port: Option<u16>,
    params: Place,
    headers: Place,
}

/// From and to; at most [`crate::limits::URI_SIZE_MAX`].
type Place = (u16, u16);

impl Shape {
    /// The shape of a text, if it is a URI.
    fn of(text: &[u8]) -> Option<Shape> {
        let uri = Uri::parse(text).ok()?;
        let place = |part: &[u8]| -> Place {
            // The distance of two pointers into one slice, without looking at either.
            let from = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
            match from + part.len() <= text.len() {
                true => (from as u16, (from + part.len()) as u16),
                // An empty part may stand nowhere.
                false => (0, 0),
            }
        };
        Some(Shape {
            scheme: uri.scheme,
            scheme_end: uri.scheme_text.len() as u16,
            user: uri.user.map(place),
            password: uri.password.map(place),
            host: place(uri.host),
            port: uri.port,
            params: place(uri.params),
            headers: place(uri.headers),
        })
    }

    /// The user of the URI that has this shape in this text.
    pub fn user<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        self.user.and_then(|place| part(text, place))
    }

    /// Its host, brackets kept.
    pub fn host<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        part(text, self.host).unwrap_or_default()
    }

    /// The whole URI.
    pub fn uri<'a>(&self, text: &'a [u8]) -> Uri<'a> {
        let part = |place| part(text, place).unwrap_or_default();
        let colon = usize::from(self.scheme_end);
        Uri {
            scheme: self.scheme,
            user: self.user.map(part),
            password: self.password.map(part),
            host: part(self.host),
            port: self.port,
            params: part(self.params),
            headers: part(self.headers),
            scheme_text: &text[..colon],
            rest: &text[colon + 1..],
        }
    }
}

fn part(text: &[u8], (from, to): Place) -> Option<&[u8]> {
    text.get(usize::from(from)..usize::from(to))
}

#[derive(Debug, Default)]
struct Entry {
    text: Vec<u8>,
    /// `None`: the text is no URI.
    shape: Option<Shape>,
}

/// The URIs that were read last.
#[derive(Debug, Default)]
pub(super) struct Uris {
    entries: [Entry; ENTRY_COUNT],
    /// The one that is replaced next.
    oldest: usize,
}

impl Uris {
    /// The shape of a text, if it is a URI.
    pub(super) fn shape(&mut self, text: &[u8]) -> Option<Shape> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.text == text) {
            return entry.shape;
        }
        let shape = Shape::of(text);
        if text.len() <= TEXT_SIZE_MAX {
            let entry = &mut self.entries[self.oldest];
            self.oldest = (self.oldest + 1) % ENTRY_COUNT;
            entry.text.clear();
            entry.text.extend_from_slice(text);
            entry.shape = shape;
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_reads_as_what_is_read() {
        let texts: [&[u8]; 14] = [
            b"",
            b"sip:",
            b"sip:h",
            b"sip:u@h",
            b"sips:u:p@h:5061;lr;x=y?a=b",
            b"sip:u:@[2001:db8::1]:5060",
            b"SIP:u;p=1@h.test;transport=tcp",
            b"tel:+1-201-555-0123;phone-context=x",
            b"tel:1",
            b"mailto:a@b",
            b"sip:u@h:99999",
            b"sip:h?subject=x",
            b"sip:u@h;",
            b"no uri at all",
        ];
        let mut uris = Uris::default();
        // Forwards and backwards: found, and pushed out in between.
        for text in texts.iter().chain(texts.iter().rev()).chain(&texts[3..6]) {
            let shape = uris.shape(text);
            assert_eq!(
                shape.map(|shape| shape.uri(text)),
                Uri::parse(text).ok(),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }
}
