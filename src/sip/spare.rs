//! Messages that are done with, kept for the memory that they leave to the next.

use std::rc::Rc;

use super::error::ParseError;
use super::message::Message;
use crate::limits::{SPARE_MESSAGE_COUNT_MAX, SPARE_MESSAGE_SIZE_MAX};

/// Messages that nobody holds any more.
#[derive(Default, Debug)]
pub struct Spare {
    list: Vec<Rc<Message>>,
}

impl Spare {
    /// Reads a message into memory that an earlier one has left.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Rc<Message>, ParseError> {
        let mut message = self.list.pop().unwrap_or_default();
        // What is kept has one owner, see `keep`.
        let slot = Rc::make_mut(&mut message);
        match slot.read(bytes) {
            Ok(()) => Ok(message),
            Err(error) => {
                self.keep(message);
                Err(error)
            }
        }
    }

    /// Gives all of it back.
    pub fn give_back(&mut self) {
        self.list = Vec::new();
    }

    /// Keeps a message, if nobody else holds it and it is of a usual size.
    pub fn keep(&mut self, message: Rc<Message>) {
        let is_free = Rc::strong_count(&message) == 1 && Rc::weak_count(&message) == 0;
        let has_room = self.list.len() < SPARE_MESSAGE_COUNT_MAX;
        if is_free && has_room && message.capacity() <= SPARE_MESSAGE_SIZE_MAX {
            self.list.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[u8] =
        b"OPTIONS sip:b@b.test SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
        From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";

    #[test]
    fn memory_goes_from_one_message_to_the_next() {
        let mut spare = Spare::default();
        let message = spare.read(OPTIONS).expect("a message");
        let place = message.bytes().as_ptr();
        spare.keep(message);
        assert!(spare.read(b"x").is_err());
        let again = spare.read(OPTIONS).expect("a message");
        assert_eq!((again.bytes().as_ptr(), again.bytes()), (place, OPTIONS));
    }

    #[test]
    fn what_others_hold_or_is_large_is_not_kept() {
        let mut spare = Spare::default();
        let message = spare.read(OPTIONS).expect("a message");
        spare.keep(Rc::clone(&message));
        let large = [OPTIONS, &[b'x'; SPARE_MESSAGE_SIZE_MAX]].concat();
        let large = spare.read(&large).expect("a message");
        spare.keep(large);
        assert!(spare.list.is_empty());
        spare.keep(message);
        assert_eq!(spare.list.len(), 1);
    }
}
