//! Profiles: which dialogs belong to what, counted from the memberships themselves.
//!
//! ```text
//!   Profile "caller" ── hash(value) ──▶ Value "alice" { members: slab of dialogs,
//!                                                       remote: items of other servers,
//!                                                       others: what other shards count }
//!   Dialog ── memberships: (profile, value, member) ──────────────▲
//! ```
//!
//! The size of a profile is the number of entries in its slabs; nothing is counted up and down.
//! Adding and removing a member are O(1), a size is one look-up and a sum over the shards. What
//! other shards count arrives by [`super::peers`]. An exact limit, asked of the shard that owns
//! (profile, value), would stand beside `others`.

use ahash::RandomState;

use crate::index::Index;
use crate::limits::{PROFILE_REMOTE_COUNT_MAX, PROFILE_VALUE_COUNT_MAX, PROFILE_VALUE_SIZE_MAX};
use crate::slab::{Key, Table};
use crate::steer::ShardId;

/// A profile as the configuration names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileSpec {
    /// Its name.
    pub name: Box<str>,
    /// Whether it counts per value.
    pub has_value: bool,
}

/// A dialog's place in a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    /// The profile.
    pub profile: u16,
    value: Key,
    member: Key,
}

/// An item of another server (`dlg_remote_profile`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Remote {
    uid: Box<[u8]>,
    /// Seconds since 1970; 0: never.
    expires_s: u64,
}

/// What another shard last said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Other {
    shard: ShardId,
    count: u32,
    /// The number of the batch that said it.
    version: u64,
}

/// The items of other servers under one value.
#[derive(Default, Debug)]
struct Remotes {
    list: Vec<Remote>,
}

/// The dialogs under one value. Most values have one at the most, which needs no table.
#[derive(Default, Debug)]
struct Members {
    first: Option<Key>,
    /// Counts who has been first: what makes old keys stale.
    serial: u32,
    others: Option<Box<Table<Key>>>,
}

/// The place of the first member in its key; no table is as large.
const FIRST: u32 = u32::MAX;

impl Members {
    fn len(&self) -> usize {
        let others = self.others.as_ref().map_or(0, |others| others.len());
        usize::from(self.first.is_some()) + others
    }

    fn first_key(&self) -> Key {
        Key::from_u64(u64::from(FIRST) << 32 | u64::from(self.serial))
    }

    fn insert(&mut self, dialog: Key) -> Key {
        if self.first.is_some() {
            return self.others.get_or_insert_default().insert(dialog);
        }
        self.serial = self.serial.wrapping_add(1);
        self.first = Some(dialog);
        self.first_key()
    }

    /// The dialog, unless it has left before.
    fn remove(&mut self, member: Key) -> Option<Key> {
        if member.place() == FIRST as usize {
            return (member == self.first_key()).then(|| self.first.take())?;
        }
        self.others.as_mut()?.remove(member)
    }

    fn iter(&self) -> impl Iterator<Item = Key> {
        let others = self.others.iter().flat_map(|others| others.iter());
        self.first.into_iter().chain(others.map(|(_, key)| *key))
    }
}

#[derive(Debug)]
struct Value {
    hash: u64,
    bytes: Box<[u8]>,
    members: Members,
    /// Items of other servers; most values have none.
    remote: Option<Box<Remotes>>,
    others: Vec<Other>,
    /// The other shards have yet to learn the count.
    is_news: bool,
}

impl Value {
    fn own(&self) -> usize {
        self.members.len() + self.remotes().len()
    }

    fn remotes(&self) -> &[Remote] {
        self.remote.as_ref().map_or(&[], |remote| &remote.list)
    }

    fn remotes_mut(&mut self) -> &mut Vec<Remote> {
        &mut self.remote.get_or_insert_default().list
    }

    fn total(&self) -> usize {
        self.own() + self.others.iter().map(|o| o.count as usize).sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.own() == 0 && self.others.is_empty() && !self.is_news
    }
}

#[derive(Debug)]
struct Profile {
    spec: ProfileSpec,
    values: Table<Value>,
    index: Index,
}

/// A value whose count the other shards have yet to learn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct News {
    profile: u16,
    value: Key,
}

/// All profiles of a shard.
#[derive(Debug)]
pub struct Profiles {
    all: Vec<Profile>,
    hasher: RandomState,
    /// Values with [`Value::is_news`], in the order of change.
    pub(super) news: std::collections::VecDeque<News>,
}

impl Profiles {
    /// No profile; `hasher` is keyed, because peers choose the values.
    pub fn new(hasher: RandomState) -> Self {
        Profiles {
            all: Vec::new(),
            hasher,
            news: std::collections::VecDeque::new(),
        }
    }

    /// Gives memory back that a peak left behind. Values with many members keep what they have
    /// until they are gone.
    pub fn give_back(&mut self) {
        for profile in &mut self.all {
            profile.values.give_back();
            profile.index.give_back(hash_of(&profile.values));
        }
        if self.news.is_empty() {
            self.news = std::collections::VecDeque::new();
        }
    }

    /// Takes over what the configuration names. A profile that it no longer names keeps its
    /// members, so that calls in flight leave it properly; its place is never given away.
    pub fn configure(&mut self, specs: &[ProfileSpec]) {
        for spec in specs {
            if self.find(spec.name.as_bytes()).is_none() {
                let (values, index) = (Table::new(), Index::new());
                self.all.push(Profile {
                    spec: spec.clone(),
                    values,
                    index,
                });
            }
        }
    }

    /// The profile of this name.
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let at = self
            .all
            .iter()
            .position(|p| p.spec.name.as_bytes() == name)?;
        Some(at as u16)
    }

    /// Whether the profile counts per value.
    pub fn has_value(&self, profile: u16) -> bool {
        self.all
            .get(usize::from(profile))
            .is_some_and(|p| p.spec.has_value)
    }

    /// The name of a profile.
    pub fn name(&self, profile: u16) -> &str {
        self.all
            .get(usize::from(profile))
            .map_or("", |p| &p.spec.name)
    }

    fn find_value(&self, profile: u16, bytes: &[u8]) -> Option<Key> {
        let p = self.all.get(usize::from(profile))?;
        p.index.find(self.hasher.hash_one(bytes), |place| {
            let (key, value) = p.values.at(place)?;
            (*value.bytes == *bytes).then_some(key)
        })
    }

    fn value(&self, profile: u16, value: Key) -> Option<&Value> {
        self.all.get(usize::from(profile))?.values.get(value)
    }

    fn value_mut(&mut self, profile: u16, value: Key) -> Option<&mut Value> {
        self.all
            .get_mut(usize::from(profile))?
            .values
            .get_mut(value)
    }

    /// The value, made if it is new. `None`: there are too many, or it is too long.
    fn ensure(&mut self, profile: u16, bytes: &[u8]) -> Option<Key> {
        if let Some(key) = self.find_value(profile, bytes) {
            return Some(key);
        }
        let hash = self.hasher.hash_one(bytes);
        let p = self.all.get_mut(usize::from(profile))?;
        if p.values.len() >= PROFILE_VALUE_COUNT_MAX || bytes.len() > PROFILE_VALUE_SIZE_MAX {
            return None;
        }
        let key = p.values.insert(Value {
            hash,
            bytes: bytes.into(),
            members: Members::default(),
            remote: None,
            others: Vec::new(),
            is_news: false,
        });
        let place = key.place() as u32;
        p.index.insert(hash, place, hash_of(&p.values));
        Some(key)
    }

    /// Forgets a value that nobody has.
    fn tidy(&mut self, profile: u16, value: Key) {
        let Some(p) = self.all.get_mut(usize::from(profile)) else {
            return;
        };
        if !p.values.get(value).is_some_and(Value::is_empty) {
            return;
        }
        let Some(gone) = p.values.remove(value) else {
            return;
        };
        let place = value.place() as u32;
        p.index.remove(gone.hash, place, hash_of(&p.values));
    }

    fn changed(&mut self, profile: u16, value: Key) {
        if let Some(v) = self.value_mut(profile, value)
            && !v.is_news
        {
            v.is_news = true;
            self.news.push_back(News { profile, value });
        }
    }

    /// Makes a dialog a member. Profiles without values leave the value off.
    pub fn add(&mut self, profile: u16, bytes: &[u8], dialog: Key) -> Option<Membership> {
        let bytes = if self.has_value(profile) { bytes } else { b"" };
        let value = self.ensure(profile, bytes)?;
        let member = self.value_mut(profile, value)?.members.insert(dialog);
        self.changed(profile, value);
        Some(Membership {
            profile,
            value,
            member,
        })
    }

    /// Ends a membership.
    pub fn remove(&mut self, membership: Membership) {
        let Membership {
            profile,
            value,
            member,
        } = membership;
        if self
            .value_mut(profile, value)
            .and_then(|v| v.members.remove(member))
            .is_some()
        {
            self.changed(profile, value);
        }
    }

    /// The value of a membership.
    pub fn value_of(&self, membership: Membership) -> &[u8] {
        self.value(membership.profile, membership.value)
            .map_or(&[], |v| &v.bytes)
    }

    /// How many members a profile has, over all shards; with this value, or with any.
    pub fn size(&self, profile: u16, bytes: Option<&[u8]>) -> usize {
        self.sum(profile, bytes, Value::total)
    }

    /// How many of them are of this shard.
    pub fn own_size(&self, profile: u16, bytes: Option<&[u8]>) -> usize {
        self.sum(profile, bytes, Value::own)
    }

    fn sum(&self, profile: u16, bytes: Option<&[u8]>, of: fn(&Value) -> usize) -> usize {
        let Some(p) = self.all.get(usize::from(profile)) else {
            return 0;
        };
        match bytes.filter(|_| p.spec.has_value) {
            Some(bytes) => {
                let value = self.find_value(profile, bytes);
                value.and_then(|key| p.values.get(key)).map_or(0, of)
            }
            None => p.values.iter().map(|(_, v)| of(v)).sum(),
        }
    }

    /// The dialogs of this shard in a profile, with this value or with any. A dialog that was
    /// added twice comes twice.
    pub fn members(&self, profile: u16, bytes: Option<&[u8]>) -> Vec<Key> {
        let Some(p) = self.all.get(usize::from(profile)) else {
            return Vec::new();
        };
        let of = |v: &Value| v.members.iter().collect::<Vec<_>>();
        match bytes.filter(|_| p.spec.has_value) {
            Some(bytes) => {
                let value = self.find_value(profile, bytes);
                value
                    .and_then(|key| p.values.get(key))
                    .map(of)
                    .unwrap_or_default()
            }
            None => p.values.iter().flat_map(|(_, v)| of(v)).collect(),
        }
    }

    /// Adds an item of another server. False: there are too many.
    pub fn add_remote(&mut self, profile: u16, bytes: &[u8], uid: &[u8], expires_s: u64) -> bool {
        let bytes = if self.has_value(profile) { bytes } else { b"" };
        let Some(value) = self.ensure(profile, bytes) else {
            return false;
        };
        let Some(v) = self.value_mut(profile, value) else {
            return false;
        };
        if v.remotes().len() >= PROFILE_REMOTE_COUNT_MAX || uid.len() > PROFILE_VALUE_SIZE_MAX {
            self.tidy(profile, value);
            return false;
        }
        v.remotes_mut().push(Remote {
            uid: uid.into(),
            expires_s,
        });
        self.changed(profile, value);
        true
    }

    /// Removes one item of another server; false: this shard has none of the name.
    pub fn remove_remote(&mut self, profile: u16, bytes: &[u8], uid: &[u8]) -> bool {
        let Some(value) = self.find_value(profile, bytes) else {
            return false;
        };
        let Some(v) = self.value_mut(profile, value) else {
            return false;
        };
        let Some(at) = v.remotes().iter().position(|r| *r.uid == *uid) else {
            return false;
        };
        v.remotes_mut().remove(at);
        self.changed(profile, value);
        true
    }

    /// Removes every item of other servers whose time is over.
    pub fn expire_remotes(&mut self, now_s: u64) {
        let is_over = |r: &Remote| r.expires_s > 0 && r.expires_s < now_s;
        let mut over = Vec::new();
        for (profile, p) in (0u16..).zip(&self.all) {
            let values = p
                .values
                .iter()
                .filter(|(_, v)| v.remotes().iter().any(is_over));
            over.extend(values.map(|(value, _)| (profile, value)));
        }
        for (profile, value) in over {
            if let Some(v) = self.value_mut(profile, value) {
                v.remotes_mut().retain(|r| !is_over(r));
                self.changed(profile, value);
            }
        }
    }

    /// Whether any item of another server is known here.
    pub fn has_remotes(&self) -> bool {
        self.all
            .iter()
            .any(|p| p.values.iter().any(|(_, v)| !v.remotes().is_empty()))
    }

    /// The oldest news: profile, value and how many members it has here.
    pub(super) fn take_news(&mut self) -> Option<(u16, Box<[u8]>, u32)> {
        let News { profile, value } = self.news.pop_front()?;
        let v = self.value_mut(profile, value)?;
        v.is_news = false;
        let news = (profile, v.bytes.clone(), v.own() as u32);
        self.tidy(profile, value);
        Some(news)
    }

    /// Forgets them all: there is nobody to be told.
    pub(super) fn forget_news(&mut self) {
        while let Some(News { profile, value }) = self.news.pop_front() {
            if let Some(v) = self.value_mut(profile, value) {
                v.is_news = false;
            }
            self.tidy(profile, value);
        }
    }

    /// What another shard says. An older word than the last is not heard. True: the count is 0
    /// and remembered only against older words, until [`Profiles::settle`].
    pub(super) fn hear(
        &mut self,
        shard: ShardId,
        version: u64,
        count: &crate::effect::peer::Count,
    ) -> bool {
        let Some(value) = self.ensure(count.profile, &count.value) else {
            return false;
        };
        let Some(v) = self.value_mut(count.profile, value) else {
            return false;
        };
        match v.others.iter_mut().find(|o| o.shard == shard) {
            Some(other) if other.version >= version => return false,
            Some(other) => (other.count, other.version) = (count.count, version),
            None => v.others.push(Other {
                shard,
                count: count.count,
                version,
            }),
        }
        count.count == 0
    }

    /// No word older than `version` can come from this shard any more: a 0 need not be kept.
    pub(super) fn settle(&mut self, shard: ShardId, version: u64, profile: u16, bytes: &[u8]) {
        let Some(value) = self.find_value(profile, bytes) else {
            return;
        };
        if let Some(v) = self.value_mut(profile, value) {
            v.others
                .retain(|o| o.shard != shard || o.count > 0 || o.version >= version);
        }
        self.tidy(profile, value);
    }

    /// How many values are in memory.
    pub fn value_count(&self) -> usize {
        self.all.iter().map(|p| p.values.len()).sum()
    }

    /// Panics when index and slab disagree, or when members are counted that no dialog is.
    pub fn check_invariants(&self, memberships: usize) {
        let mut members = 0;
        for p in &self.all {
            assert_eq!(
                p.index.len(),
                p.values.len(),
                "index and slab are a bijection"
            );
            for (key, v) in p.values.iter() {
                let mut known = p.index.iter_hash(v.hash);
                assert!(known.any(|at| at as usize == key.place()), "a lost value");
                assert!(!v.is_empty(), "a value that nobody has");
                members += v.members.len();
            }
        }
        assert_eq!(
            members, memberships,
            "members and memberships are a bijection"
        );
    }
}

/// The hash under which the value in a place is found.
fn hash_of(values: &Table<Value>) -> impl Fn(u32) -> u64 {
    |place| values.at(place).map_or(0, |(_, value)| value.hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::peer::Count;
    use crate::rng::Rng;

    fn profiles() -> Profiles {
        let mut profiles = Profiles::new(Rng::new(1).hasher());
        let spec = |name: &str, has_value| ProfileSpec {
            name: name.into(),
            has_value,
        };
        profiles.configure(&[spec("inbound", false), spec("caller", true)]);
        profiles
    }

    fn dialogs(n: u64) -> Vec<Key> {
        (0..n).map(Key::from_u64).collect()
    }

    #[test]
    fn the_first_member_is_told_from_those_before_it() {
        let (mut members, d) = (Members::default(), dialogs(3));
        let (first, second) = (members.insert(d[0]), members.insert(d[1]));
        assert_eq!(members.remove(first), Some(d[0]));
        let again = members.insert(d[2]);
        assert_eq!(members.remove(first), None, "it has left before");
        assert!(members.iter().eq([d[2], d[1]]));
        assert_eq!(members.remove(second), Some(d[1]));
        assert_eq!(members.remove(again), Some(d[2]));
        assert_eq!((members.remove(again), members.len()), (None, 0));
    }

    #[test]
    fn sizes_are_the_numbers_of_members() {
        let (mut p, d) = (profiles(), dialogs(3));
        let (inbound, caller) = (p.find(b"inbound").unwrap(), p.find(b"caller").unwrap());
        p.add(inbound, b"left off", d[0]).unwrap();
        p.add(caller, b"x", d[0]).unwrap();
        let twice = p.add(caller, b"x", d[0]).unwrap();
        p.add(caller, b"y", d[1]).unwrap();
        for (profile, value, want) in [
            (inbound, None, 1),
            (inbound, Some(&b"any"[..]), 1),
            (caller, None, 3),
            (caller, Some(b"x"), 2),
            (caller, Some(b"y"), 1),
            (caller, Some(b"z"), 0),
        ] {
            assert_eq!(p.size(profile, value), want, "{profile} {value:?}");
        }
        p.remove(twice);
        p.remove(twice);
        assert_eq!(
            (p.size(caller, Some(b"x")), p.members(caller, Some(b"x"))),
            (1, vec![d[0]])
        );
    }

    #[test]
    fn a_value_that_nobody_has_is_forgotten_once_it_was_told() {
        let (mut p, d) = (profiles(), dialogs(1));
        let membership = p.add(1, b"x", d[0]).unwrap();
        assert_eq!(p.take_news(), Some((1, b"x"[..].into(), 1)));
        p.remove(membership);
        assert_eq!(
            (p.value_count(), p.take_news()),
            (1, Some((1, b"x"[..].into(), 0)))
        );
        assert_eq!((p.value_count(), p.take_news()), (0, None));
        p.check_invariants(0);
    }

    #[test]
    fn words_of_other_shards_count_by_their_version() {
        let mut p = profiles();
        let say = |count| Count {
            profile: 1,
            value: b"x"[..].into(),
            count,
        };
        let one = ShardId(1);
        assert!(!p.hear(one, 5, &say(3)));
        assert!(!p.hear(one, 4, &say(9)));
        assert!(!p.hear(ShardId(2), 1, &say(2)));
        assert_eq!(p.size(1, Some(b"x")), 5);
        assert!(p.hear(one, 6, &say(0)));
        assert!(!p.hear(one, 5, &say(3)), "an older word after the last one");
        assert_eq!(p.size(1, None), 2);
        p.hear(ShardId(2), 2, &say(0));
        p.settle(one, 7, 1, b"x");
        p.settle(ShardId(2), 2, 1, b"x");
        assert_eq!(
            p.value_count(),
            1,
            "the last word could still be overtaken by an older one"
        );
        p.settle(ShardId(2), 3, 1, b"x");
        assert_eq!(p.value_count(), 0);
    }

    #[test]
    fn items_of_other_servers_count_until_they_expire() {
        let mut p = profiles();
        assert!(p.add_remote(1, b"x", b"u1", 100) && p.add_remote(1, b"x", b"u2", 0));
        assert!(p.add_remote(1, b"x", b"u2", 50));
        assert_eq!(p.size(1, Some(b"x")), 3);
        assert!(p.remove_remote(1, b"x", b"u2"));
        assert!(!p.remove_remote(1, b"x", b"nobody"));
        p.expire_remotes(101);
        assert_eq!(p.size(1, Some(b"x")), 0);
        assert!(!p.has_remotes());
    }

    #[test]
    fn profiles_are_those_of_a_naive_count() {
        let (mut rng, mut p, d) = (Rng::new(9), profiles(), dialogs(50));
        let mut held: Vec<(Membership, u16, Vec<u8>)> = vec![];
        for _ in 0..5_000 {
            if rng.chance(1, 2) || held.is_empty() {
                let profile = rng.below(2) as u16;
                let value = format!("v{}", rng.below(7)).into_bytes();
                let m = p.add(profile, &value, d[rng.below(50) as usize]).unwrap();
                held.push((m, profile, value));
            } else {
                let (m, ..) = held.swap_remove(rng.below(held.len() as u32) as usize);
                p.remove(m);
            }
            if rng.chance(1, 10) {
                p.take_news();
            }
            p.check_invariants(held.len());
            let value = format!("v{}", rng.below(7)).into_bytes();
            let naive = held
                .iter()
                .filter(|(_, pr, v)| *pr == 1 && *v == value)
                .count();
            assert_eq!(p.size(1, Some(&value)), naive);
        }
    }
}
