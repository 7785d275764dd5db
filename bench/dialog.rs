//! Dialogs: what making, finding and ending one costs, alone and among a million.

use std::sync::Arc;

use crate::bodies::fold;
use dialcore::modules::dialog::identity::DialogId;
use dialcore::modules::dialog::leg::Leg;
use dialcore::modules::dialog::state::State;
use dialcore::modules::dialog::strings::{Field, Strings};
use dialcore::modules::dialog::table::{Birth, Table};
use dialcore::rng::Rng;
use dialcore::slab::Key;

/// Dialogs beside the others.
const OWN: u32 = 1_000;

/// The Call-ID of the n-th dialog, written without an allocation: looking up is what is measured.
fn call_id(n: u32) -> [u8; 40] {
    let mut id = *b"0000000000-4242-0123456789@198.51.100.17";
    let mut rest = n;
    for digit in id[..10].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    id
}

fn id(n: u32) -> DialogId {
    DialogId {
        h_entry: n & 4095,
        h_id: n + 1,
    }
}

/// A confirmed dialog with strings as long as they are in the field.
pub(crate) fn add(table: &mut Table, n: u32) -> Key {
    let mut strings = Strings::default();
    let fits = strings.set(&[
        (Field::CallId, &call_id(n)),
        (Field::FromUri, b"sip:+4930123456789@customer.example.com"),
        (
            Field::ToUri,
            b"sip:+4989123456789@carrier.example.net;user=phone",
        ),
        (
            Field::Ruri,
            b"sip:+4989123456789@203.0.113.7:5060;user=phone",
        ),
        (Field::CallerTag, b"as7f3c9a1e"),
        (Field::CalleeTag, b"gK0c8d1f2a"),
        (Field::CallerContact, b"sip:+4930123456789@192.0.2.45:5060"),
        (
            Field::CalleeContact,
            b"sip:+4989123456789@203.0.113.9:5060;transport=udp",
        ),
        (Field::CallerRoutes, b"<sip:192.0.2.10;lr;ftag=as7f3c9a1e>"),
    ]);
    assert!(fits, "strings of a usual length");
    let key = table.insert(Birth {
        id: id(n),
        program: Arc::default(),
        strings,
        caller: Leg::default(),
        init_s: 1,
        lifetime_s: 43_200,
    });
    table.set_state(key, State::Confirmed);
    key
}

/// No dialog.
pub(crate) fn empty() -> Table {
    Table::new(Rng::new(1).hasher())
}

fn filled(count: u32) -> (Table, Vec<Key>) {
    let mut table = empty();
    let keys = (0..count).map(|n| add(&mut table, n)).collect();
    (table, keys)
}

/// Makes dialogs.
pub(crate) fn make(iterations: u64) -> u64 {
    let (table, keys) = filled(iterations as u32);
    keys.into_iter().fold(0, |hash, key| {
        fold(hash, table.get(key).map_or(0, |d| d.id.h_id.into()))
    })
}

/// Makes a dialog and ends the oldest of its own.
pub(crate) fn churn(iterations: u64) -> u64 {
    let (mut table, mut keys) = filled(OWN);
    (0..iterations as u32).fold(0, |hash, n| {
        let place = (n % OWN) as usize;
        let gone = table.remove(keys[place]).map_or(0, |d| d.id.h_id);
        keys[place] = add(&mut table, OWN + n);
        fold(hash, gone.into())
    })
}

/// Finds a dialog by the cookie of its request.
pub(crate) fn by_cookie(iterations: u64, others: u32) -> u64 {
    let (table, _) = filled(OWN + others);
    (0..iterations as u32).fold(0, |hash, n| {
        let n = n.wrapping_mul(7_919) % (OWN + others);
        let found = table.find_id(id(n)).and_then(|key| table.get(key));
        fold(hash, found.map_or(0, |d| d.call_id().len() as u64))
    })
}

/// Finds it by Call-ID and tags.
pub(crate) fn by_tags(iterations: u64, others: u32) -> u64 {
    let (table, _) = filled(OWN + others);
    (0..iterations as u32).fold(0, |hash, n| {
        let n = n.wrapping_mul(7_919) % (OWN + others);
        let found = table.find(&call_id(n), b"gK0c8d1f2a", b"as7f3c9a1e");
        fold(
            hash,
            found.map_or(0, |(_, direction)| direction.number() as u64),
        )
    })
}
