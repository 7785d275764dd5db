//! All dialogs of a shard, found by Call-ID and tags or by (h_entry, h_id).
//!
//! ```text
//!   hash(Call-ID) ──▶ index ──▶ Key, Key ──▶ slab of dialogs     the tags decide
//!   (h_entry, h_id) ─▶ index ─▶ Key ───────▶      "              the cookie's way
//! ```
//!
//! The indexes keep no copy of what they hash. A dialog is one entry of the slab and one
//! allocation for its strings; variables, memberships and observers come on top where there are
//! any. How many dialogs are in which state is kept where the state changes, which is in one
//! function.

use std::sync::Arc;

use ahash::RandomState;

use crate::index::Index;
use crate::limits::{DIALOG_COUNT_MAX, DIALOG_COUNT_PER_CALL_ID_MAX};
use crate::script::{Program, RouteId};
use crate::slab::{self, Key};
use crate::time::Instant;
use crate::wheel::TimerKey;

use super::event::Registration;
use super::identity::{DialogId, Numbers};
use super::keepalive::KeepAlive;
use super::leg::{Direction, Leg};
use super::numbers::Raised;
use super::profile::Membership;
use super::state::State;
use super::strings::{Field, Strings};
use super::var::Vars;

/// Flags of a dialog that survive it in the database.
pub mod iflag {
    /// Both sides are sent a BYE when the lifetime is over.
    pub const TIMEOUT_BYE: u32 = 1;
    /// The caller is sent keep-alives.
    pub const KA_SRC: u32 = 1 << 1;
    /// The callee is.
    pub const KA_DST: u32 = 1 << 2;
    /// Requests in the dialog leave its lifetime alone.
    pub const TIMER_NORESET: u32 = 1 << 3;
    /// The numbers of the caller's requests are raised on their way.
    pub const CSEQ_DIFF: u32 = 1 << 4;
    /// A PRACK was seen during the set-up.
    pub const PRACK: u32 = 1 << 5;
}

/// Flags of a dialog for listings.
pub mod dflag {
    /// Answered, and not written to a database.
    pub const NEW: u32 = 1;
    /// Changed since it was written.
    pub const CHANGED: u32 = 1 << 1;
    /// A BYE was seen, or the lifetime is over.
    pub const HASBYE: u32 = 1 << 2;
    /// A BYE of our own has gone to the caller.
    pub const BYE_CALLER: u32 = 1 << 4;
    /// One has gone to the callee.
    pub const BYE_CALLEE: u32 = 1 << 5;
    /// A variable was written after the dialog was made.
    pub const CHANGED_VARS: u32 = 1 << 7;
    /// The INVITE has a transaction.
    pub const TM: u32 = 1 << 9;
    /// The lifetime is over; also, in the original, that a profile was set.
    pub const EXPIRED: u32 = 1 << 10;
}

/// One dialog.
#[derive(Debug)]
pub struct Dialog {
    /// What it is called.
    pub id: DialogId,
    state: State,
    /// The hash of the Call-ID under which the index knows it.
    hash: u64,
    /// Counts up with each dialog: the order of creation.
    serial: u64,
    /// The script it began with; a reload does not change it.
    pub program: Arc<Program>,
    /// Its strings.
    pub strings: Strings,
    /// The side that sent the INVITE.
    pub caller: Leg,
    /// The side that answered it.
    pub callee: Leg,
    /// When it was made, seconds since 1970.
    pub init_s: u64,
    /// When it was answered; 0: not yet.
    pub start_s: u64,
    /// When it ended; 0: not yet.
    pub end_s: u64,
    /// How long it may live from the answer, or from the last thing that renews its life.
    pub lifetime_s: u32,
    /// When its life is over; `None` before the answer and after the end.
    pub expires: Option<Instant>,
    /// Until when something else must have happened: a final response, an ACK, rest.
    pub limit: Option<Instant>,
    /// The one timer, for the earlier of the two.
    pub timer: Option<TimerKey>,
    /// Flags of the script.
    pub sflags: u32,
    /// See [`iflag`].
    pub iflags: u32,
    /// See [`dflag`].
    pub dflags: u32,
    /// The route to run when the life is over.
    pub timeout_route: Option<RouteId>,
    /// `$dlg_var`.
    pub vars: Vars,
    /// Its places in profiles, the newest last.
    pub memberships: Vec<Membership>,
    /// Observers of this dialog, the last registered last.
    pub observers: Box<[Registration]>,
    /// The transaction that ends it: when that is gone, so is what could come late.
    pub ended_by: Option<Key>,
    /// The transaction of its INVITE.
    pub invite: Option<Key>,
    /// BYEs of our own that have not been answered.
    pub pending_byes: u8,
    /// By direction: the side has had its BYE because it was referred elsewhere, which has not
    /// ended the dialog.
    pub is_referred: [bool; 2],
    /// Whether requests in it come through here: our own Record-Route was in the answer.
    pub is_in_path: bool,
    /// Its keep-alives, if it has any.
    pub keepalive: Option<Box<KeepAlive>>,
    /// What the numbers of both sides are raised by; most dialogs have none.
    raised: Option<Box<[Raised; 2]>>,
}

/// A confirmed dialog may cost 1 KiB all in: its entry here, two index entries with their slack,
/// a timer, its strings (about 350 bytes), and a membership with its share of the profile.
const ENTRY_SIZE_MAX: usize = 432;

const _: () = assert!(
    std::mem::size_of::<Dialog>() <= ENTRY_SIZE_MAX,
    "a confirmed dialog may cost 1 KiB all in"
);

/// What a new dialog starts with.
#[derive(Debug)]
pub struct Birth {
    /// What it is called.
    pub id: DialogId,
    /// Its script.
    pub program: Arc<Program>,
    /// Its strings, the Call-ID among them.
    pub strings: Strings,
    /// The side that sent the INVITE.
    pub caller: Leg,
    /// Now, seconds since 1970.
    pub init_s: u64,
    /// See [`Dialog::lifetime_s`].
    pub lifetime_s: u32,
}

impl Dialog {
    fn new(birth: Birth, hash: u64, serial: u64) -> Dialog {
        Dialog {
            id: birth.id,
            state: State::Unconfirmed,
            hash,
            serial,
            program: birth.program,
            strings: birth.strings,
            caller: birth.caller,
            callee: Leg::default(),
            init_s: birth.init_s,
            start_s: 0,
            end_s: 0,
            lifetime_s: birth.lifetime_s,
            expires: None,
            limit: None,
            timer: None,
            sflags: 0,
            iflags: 0,
            dflags: 0,
            timeout_route: None,
            vars: Vars::default(),
            memberships: Vec::new(),
            observers: Box::default(),
            ended_by: None,
            invite: None,
            pending_byes: 0,
            is_referred: [false; 2],
            is_in_path: true,
            keepalive: None,
            raised: None,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.strings.get(Field::CallId)
    }

    /// Which way a request with these tags goes; `None`: it is of another dialog. Upstream is
    /// tried first. While the callee's tag is not known, the caller's decides alone.
    pub fn direction(&self, from_tag: &[u8], to_tag: &[u8]) -> Option<Direction> {
        let caller = self.strings.get(Field::CallerTag);
        let callee = self.strings.get(Field::CalleeTag);
        let is_free = callee.is_empty();
        if to_tag == caller && (is_free || from_tag == callee) {
            return Some(Direction::Upstream);
        }
        // An INVITE without a To tag belongs to the dialog until its ACK.
        let is_initial = to_tag.is_empty() && self.state == State::ConfirmedNa;
        let is_down = from_tag == caller && (is_free || to_tag == callee || is_initial);
        is_down.then_some(Direction::Downstream)
    }

    /// The leg that a request of this direction comes from.
    pub fn sender_mut(&mut self, direction: Direction) -> &mut Leg {
        match direction {
            Direction::Downstream => &mut self.caller,
            Direction::Upstream => &mut self.callee,
        }
    }

    /// What the numbers of requests that go this way are raised by; `None`: by nothing.
    pub fn raised(&self, way: Direction) -> Option<&Raised> {
        self.raised.as_ref().map(|raised| &raised[way as usize])
    }

    /// The same, to raise them.
    pub fn raised_mut(&mut self, way: Direction) -> &mut Raised {
        &mut self.raised.get_or_insert_default()[way as usize]
    }

    /// When something has to be done about it.
    pub fn deadline(&self) -> Option<Instant> {
        let ping = self.keepalive.as_ref().and_then(|known| known.at);
        [self.expires, self.limit, ping].into_iter().flatten().min()
    }
}

/// The dialogs of one shard.
#[derive(Debug)]
pub struct Table {
    entries: slab::Table<Dialog>,
    by_call: Index,
    by_id: Index,
    /// How many dialogs are in each state.
    in_state: [usize; 5],
    serial: u64,
    hasher: RandomState,
    /// The numbers of the slots.
    pub numbers: Numbers,
}

impl Table {
    /// An empty table; `hasher` is keyed, because peers choose what is hashed.
    pub fn new(hasher: RandomState) -> Self {
        Table {
            entries: slab::Table::new(),
            by_call: Index::new(),
            by_id: Index::new(),
            in_state: [0; 5],
            serial: 0,
            hasher,
            numbers: Numbers::default(),
        }
    }

    /// Whether another dialog of this Call-ID has no room.
    pub fn is_full(&self, call_id: &[u8]) -> bool {
        self.entries.len() >= DIALOG_COUNT_MAX
            || self.of_call(call_id).count() >= DIALOG_COUNT_PER_CALL_ID_MAX
    }

    /// Stores a dialog and makes it findable.
    pub fn insert(&mut self, birth: Birth) -> Key {
        let hash = self.hasher.hash_one(birth.strings.get(Field::CallId));
        let id = birth.id;
        self.serial += 1;
        let key = self.entries.insert(Dialog::new(birth, hash, self.serial));
        let (place, entries, hasher) = (key.place() as u32, &self.entries, &self.hasher);
        self.by_call.insert(hash, place, by_call(entries));
        let hash = hasher.hash_one(id);
        self.by_id.insert(hash, place, by_id(entries, hasher));
        self.in_state[State::Unconfirmed as usize - 1] += 1;
        key
    }

    /// Gives memory back that a peak left behind.
    pub fn give_back(&mut self) {
        self.entries.give_back();
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_call.give_back(by_call(entries));
        self.by_id.give_back(by_id(entries, hasher));
    }

    /// Takes a dialog out.
    pub fn remove(&mut self, key: Key) -> Option<Dialog> {
        let dialog = self.entries.remove(key)?;
        self.in_state[dialog.state as usize - 1] -= 1;
        let (place, entries, hasher) = (key.place() as u32, &self.entries, &self.hasher);
        self.by_call.remove(dialog.hash, place, by_call(entries));
        let hash = hasher.hash_one(dialog.id);
        self.by_id.remove(hash, place, by_id(entries, hasher));
        Some(dialog)
    }

    /// The only place where a state changes.
    pub fn set_state(&mut self, key: Key, state: State) {
        if let Some(dialog) = self.entries.get_mut(key) {
            self.in_state[dialog.state as usize - 1] -= 1;
            self.in_state[state as usize - 1] += 1;
            dialog.state = state;
        }
    }

    /// The dialog, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&Dialog> {
        self.entries.get(key)
    }

    /// The dialog, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Dialog> {
        self.entries.get_mut(key)
    }

    /// The dialog of this name.
    pub fn find_id(&self, id: DialogId) -> Option<Key> {
        self.by_id.find(self.hasher.hash_one(id), |place| {
            let (key, dialog) = self.entries.at(place)?;
            (dialog.id == id).then_some(key)
        })
    }

    /// The dialogs of a Call-ID, in no order.
    pub fn of_call(&self, call_id: &[u8]) -> impl Iterator<Item = (Key, &Dialog)> {
        let hash = self.hasher.hash_one(call_id);
        let found = self
            .by_call
            .iter_hash(hash)
            .filter_map(|place| self.entries.at(place));
        found.filter(move |(_, d)| d.hash == hash && d.call_id() == call_id)
    }

    /// The dialog that a message with these tags belongs to: the oldest whose callee's tag is
    /// known, else the youngest whose is not.
    pub fn find(&self, call_id: &[u8], from_tag: &[u8], to_tag: &[u8]) -> Option<(Key, Direction)> {
        let mut best: Option<(bool, u64, Key, Direction)> = None;
        for (key, dialog) in self.of_call(call_id) {
            let Some(direction) = dialog.direction(from_tag, to_tag) else {
                continue;
            };
            let is_known = !dialog.strings.get(Field::CalleeTag).is_empty();
            let is_better = best.is_none_or(|(known, serial, ..)| match (known, is_known) {
                (true, true) => dialog.serial < serial,
                (false, false) => dialog.serial > serial,
                (_, is_known) => is_known,
            });
            if is_better {
                best = Some((is_known, dialog.serial, key, direction));
            }
        }
        best.map(|(_, _, key, direction)| (key, direction))
    }

    /// The dialog whose INVITE this one repeats: unanswered or unacknowledged, same caller.
    pub fn find_spiral(&self, call_id: &[u8], from_tag: &[u8]) -> Option<Key> {
        let is_it = |d: &Dialog| {
            d.state <= State::ConfirmedNa && d.strings.get(Field::CallerTag) == from_tag
        };
        let found = self.of_call(call_id).filter(|(_, d)| is_it(d));
        found.max_by_key(|(_, d)| d.serial).map(|(key, _)| key)
    }

    /// How many dialogs there are, ended ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many dialogs are in this state.
    pub fn count(&self, state: State) -> usize {
        self.in_state[state as usize - 1]
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Dialog)> {
        self.entries.iter()
    }

    /// What is in so many places from this one on, for slices of a listing: each with its place;
    /// and the place behind them, unless that was all.
    pub fn window(
        &self,
        from: usize,
        place_count: usize,
    ) -> (impl Iterator<Item = (usize, Key, &Dialog)>, Option<usize>) {
        self.entries.window(from, place_count)
    }

    /// Panics when indexes, slab and counts disagree; for debug builds and the simulator.
    pub fn check_invariants(&self) {
        let len = self.entries.len();
        assert_eq!(
            (self.by_call.len(), self.by_id.len()),
            (len, len),
            "bijections"
        );
        let mut in_state = [0; 5];
        for (key, dialog) in self.entries.iter() {
            assert_eq!(
                self.find_id(dialog.id),
                Some(key),
                "{} is not found",
                dialog.id
            );
            let is_found = self.of_call(dialog.call_id()).any(|(k, _)| k == key);
            assert!(is_found, "{} is not found by its Call-ID", dialog.id);
            assert!(dialog.timer.is_some(), "{} has no deadline", dialog.id);
            in_state[dialog.state as usize - 1] += 1;
        }
        assert_eq!(self.in_state, in_state, "dialogs by state");
    }
}

/// The hash of the Call-ID of the dialog in a place.
fn by_call(entries: &slab::Table<Dialog>) -> impl Fn(u32) -> u64 {
    |place| entries.at(place).map_or(0, |(_, d)| d.hash)
}

/// The hash of its name.
fn by_id(entries: &slab::Table<Dialog>, hasher: &RandomState) -> impl Fn(u32) -> u64 {
    |place| entries.at(place).map_or(0, |(_, d)| hasher.hash_one(d.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn table() -> Table {
        Table::new(Rng::new(1).hasher())
    }

    fn add(table: &mut Table, h_id: u32, tags: (&str, &str), state: State) -> Key {
        let mut strings = Strings::default();
        assert!(strings.set(&[
            (Field::CallId, b"c"),
            (Field::CallerTag, tags.0.as_bytes()),
            (Field::CalleeTag, tags.1.as_bytes()),
        ]));
        let key = table.insert(Birth {
            id: DialogId { h_entry: 1, h_id },
            program: Arc::default(),
            strings,
            caller: Leg::default(),
            init_s: 0,
            lifetime_s: 60,
        });
        table.set_state(key, state);
        key
    }

    #[test]
    fn tags_decide_and_give_the_direction() {
        use Direction::{Downstream, Upstream};
        let table = [
            ("known", State::Confirmed, "a", "b", Some(Downstream)),
            ("known", State::Confirmed, "b", "a", Some(Upstream)),
            ("known", State::Confirmed, "a", "x", None),
            ("known", State::Confirmed, "x", "a", None),
            ("known", State::Confirmed, "A", "b", None),
            ("known", State::Confirmed, "a", "", None),
            ("known", State::ConfirmedNa, "a", "", Some(Downstream)),
            ("known", State::ConfirmedNa, "x", "", None),
            ("", State::Early, "a", "anything", Some(Downstream)),
            ("", State::Early, "a", "", Some(Downstream)),
            ("", State::Early, "anything", "a", Some(Upstream)),
            ("", State::Early, "x", "y", None),
        ];
        for (callee, state, from, to, want) in table {
            let mut dialogs = super::tests::table();
            let callee = if callee == "known" { "b" } else { "" };
            let key = add(&mut dialogs, 1, ("a", callee), state);
            let found = dialogs.find(b"c", from.as_bytes(), to.as_bytes());
            assert_eq!(
                found,
                want.map(|d| (key, d)),
                "{callee:?} {state:?} {from} {to}"
            );
        }
    }

    #[test]
    fn of_several_dialogs_the_known_tag_wins_and_then_the_youngest() {
        let mut t = table();
        let failed = add(&mut t, 1, ("a", ""), State::Deleted);
        let early = add(&mut t, 2, ("a", ""), State::Early);
        assert_eq!(t.find(b"c", b"a", b"b").map(|(k, _)| k), Some(early));
        let known = add(&mut t, 3, ("a", "b"), State::Confirmed);
        assert_eq!(t.find(b"c", b"a", b"b").map(|(k, _)| k), Some(known));
        assert_eq!(t.find_spiral(b"c", b"a"), Some(early));
        t.remove(early);
        assert_eq!(
            (t.find_spiral(b"c", b"a"), t.get(failed).is_some()),
            (None, true)
        );
        assert_eq!(
            t.find_id(DialogId {
                h_entry: 1,
                h_id: 3
            }),
            Some(known)
        );
        assert_eq!(
            (t.count(State::Deleted), t.count(State::Early), t.len()),
            (1, 0, 2)
        );
    }

    #[test]
    fn one_call_id_cannot_fill_the_table() {
        let mut t = table();
        for n in 0..DIALOG_COUNT_PER_CALL_ID_MAX {
            assert!(!t.is_full(b"c"));
            add(&mut t, n as u32 + 1, (&n.to_string(), ""), State::Early);
        }
        assert!(t.is_full(b"c") && !t.is_full(b"d"));
    }
}
