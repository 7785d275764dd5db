//! `$dlg_var`: named strings that live and die with a dialog. Before the dialog exists they belong
//! to the message, and go over to the dialog that it makes.

use crate::limits::{DIALOG_VARIABLE_COUNT_MAX, DIALOG_VARIABLE_SIZE_MAX};

/// Name and value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// The variables of one dialog. Few dialogs have more than five, so a list is searched.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Vars {
    list: Vec<Entry>,
}

impl Vars {
    /// The value under a name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|(n, _)| **n == *name)
            .map(|(_, value)| &**value)
    }

    /// Sets a value; the place in listings stays. False: there are too many, or it is too long.
    #[must_use]
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        if name.len() + value.len() > DIALOG_VARIABLE_SIZE_MAX {
            return false;
        }
        if let Some((_, old)) = self.list.iter_mut().find(|(n, _)| **n == *name) {
            *old = value.into();
            return true;
        }
        let has_room = self.list.len() < DIALOG_VARIABLE_COUNT_MAX;
        if has_room {
            self.list.reserve_exact(1);
            self.list.push((name.into(), value.into()));
        }
        has_room
    }

    /// Takes a variable away.
    pub fn remove(&mut self, name: &[u8]) {
        self.list.retain(|(n, _)| **n != *name);
    }

    /// All of them, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list
            .iter()
            .rev()
            .map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_listed_newest_first_and_bounded() {
        let mut vars = Vars::default();
        assert!(vars.set(b"a", b"1") && vars.set(b"b", b"") && vars.set(b"a", b"2"));
        let listed: Vec<_> = vars.iter().collect();
        assert_eq!(listed, [(&b"b"[..], &b""[..]), (b"a", b"2")]);
        assert_eq!((vars.get(b"b"), vars.get(b"A")), (Some(&b""[..]), None));
        vars.remove(b"b");
        assert_eq!(vars.get(b"b"), None);
        assert!(!vars.set(b"x", &[0; DIALOG_VARIABLE_SIZE_MAX]));
        for n in 1..DIALOG_VARIABLE_COUNT_MAX {
            assert!(vars.set(n.to_string().as_bytes(), b""));
        }
        assert!(!vars.set(b"one more", b"") && vars.set(b"a", b"3"));
    }
}
