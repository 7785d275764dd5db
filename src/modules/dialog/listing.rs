//! Dialogs as operators see them: plain data, for the commands that print it.
//!
//! A listing is taken in slices: [`list`] goes on where it ended, however many dialogs came and
//! went between. A dialog that lives through the whole listing is shown exactly once.

use crate::modules::State as Shard;
use crate::modules::state::Env;
use crate::slab::Key;

use super::identity::DialogId;
use super::leg::Leg;
use super::life;
use super::state::State;
use super::strings::Field;
use super::table::Dialog;

/// One side in a listing; `None`: not known yet.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LegView {
    /// Its tag.
    pub tag: Option<String>,
    /// Its remote target.
    pub contact: Option<String>,
    /// Its CSeq.
    pub cseq: Option<String>,
    /// The way to it.
    pub route_set: Option<String>,
    /// The socket that it speaks to, `proto:ip:port`.
    pub socket: Option<String>,
}

/// A dialog in a listing, its fields in the order in which they are printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The slot of its Call-ID.
    pub h_entry: u32,
    /// Its number there.
    pub h_id: u32,
    /// What the original would count as references.
    pub reference_count: i64,
    /// The Call-ID.
    pub call_id: String,
    /// The URI of From.
    pub from_uri: String,
    /// The URI of To.
    pub to_uri: String,
    /// The number of its state.
    pub state: i64,
    /// When it was answered, seconds since 1970, or 0.
    pub start_ts: u64,
    /// When it was made.
    pub init_ts: u64,
    /// When it ended, or 0.
    pub end_ts: u64,
    /// Seconds from answer to end or until now.
    pub duration: u64,
    /// When its life will be over, or 0.
    pub timeout: u64,
    /// Seconds of life from the last thing that renews it.
    pub lifetime: u32,
    /// Flags of the module.
    pub dflags: u32,
    /// Flags of the script.
    pub sflags: u32,
    /// Flags that survive in the database.
    pub iflags: u32,
    /// The caller.
    pub caller: LegView,
    /// The callee.
    pub callee: LegView,
    /// Profiles, the newest first; without a value where the profile has none. Empty once it is
    /// over.
    pub profiles: Vec<(String, Option<String>)>,
    /// Variables, the newest first. Empty once it is over.
    pub variables: Vec<(String, String)>,
    /// What observers know of it.
    pub context: Vec<(String, String)>,
    /// The Request-URI it was made with; matched by `dlg.list_match`, not printed.
    pub ruri: String,
}

/// What the original would show as `ref`: one for the list, one for the timer.
pub fn reference_count(dialog: &Dialog) -> i64 {
    1 + i64::from(dialog.expires.is_some())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The dialog as it is now.
pub fn view(env: &Env<'_>, dialog: &Dialog) -> View {
    let now_s = env.now.wall.as_secs();
    let field = |field| text(dialog.strings.get(field));
    let is_over = dialog.state() == State::Deleted;
    View {
        h_entry: dialog.id.h_entry,
        h_id: dialog.id.h_id,
        reference_count: reference_count(dialog),
        call_id: field(Field::CallId),
        from_uri: field(Field::FromUri),
        to_uri: field(Field::ToUri),
        state: dialog.state().number(),
        start_ts: dialog.start_s,
        init_ts: dialog.init_s,
        end_ts: dialog.end_s,
        duration: duration_s(dialog, now_s),
        timeout: super::timeout::expiry_s(env, dialog),
        lifetime: dialog.lifetime_s,
        dflags: dialog.dflags,
        sflags: dialog.sflags,
        iflags: dialog.iflags,
        caller: leg_view(env, dialog, dialog.caller, CALLER),
        callee: leg_view(env, dialog, dialog.callee, CALLEE),
        profiles: if is_over {
            Vec::new()
        } else {
            profiles_of(env.state, dialog)
        },
        variables: if is_over {
            Vec::new()
        } else {
            variables_of(dialog)
        },
        context: env.state.dialogs.observers.list_ctx(dialog),
        ruri: field(Field::Ruri),
    }
}

fn duration_s(dialog: &Dialog, now_s: u64) -> u64 {
    match (dialog.start_s, dialog.end_s) {
        (0, _) => 0,
        (start, 0) => now_s.saturating_sub(start),
        (start, end) => end.saturating_sub(start),
    }
}

const CALLER: [Field; 3] = [Field::CallerTag, Field::CallerContact, Field::CallerRoutes];
const CALLEE: [Field; 3] = [Field::CalleeTag, Field::CalleeContact, Field::CalleeRoutes];

fn leg_view(env: &Env<'_>, dialog: &Dialog, leg: Leg, fields: [Field; 3]) -> LegView {
    // A leg is known from its first message on.
    if leg.flow.is_none() && leg.cseq.is_none() {
        return LegView::default();
    }
    let [tag, contact, routes] = fields.map(|field| text(dialog.strings.get(field)));
    let filled = |text: String| Some(text).filter(|t| !t.is_empty());
    LegView {
        tag: filled(tag),
        contact: filled(contact),
        cseq: leg.cseq.map(|n| n.to_string()),
        route_set: Some(routes),
        socket: leg
            .flow
            .map(|flow| env.state.setup.address(flow.socket).to_string()),
    }
}

fn profiles_of(shard: &Shard, dialog: &Dialog) -> Vec<(String, Option<String>)> {
    let profiles = &shard.dialogs.profiles;
    let of = |membership: &super::profile::Membership| {
        let has_value = profiles.has_value(membership.profile);
        let value = has_value.then(|| text(profiles.value_of(*membership)));
        (profiles.name(membership.profile).to_owned(), value)
    };
    dialog.memberships.iter().rev().map(of).collect()
}

fn variables_of(dialog: &Dialog) -> Vec<(String, String)> {
    dialog
        .vars
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Where a listing goes on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cursor(pub usize);

/// A part of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Dialogs.
    pub dialogs: Vec<View>,
    /// Where the rest is; `None`: this was the last.
    pub next: Option<Cursor>,
}

/// What `dlg.list_match` compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MatchKey {
    /// `ruri`.
    Ruri,
    /// `furi`.
    FromUri,
    /// `turi`.
    ToUri,
    /// `callid`.
    CallId,
}

/// What a dialog is matched by.
#[derive(Debug)]
pub enum Filter {
    /// The string is this.
    Equals(MatchKey, Vec<u8>),
    /// It begins so.
    StartsWith(MatchKey, Vec<u8>),
    /// It is matched by this.
    Matches(MatchKey, regex::bytes::Regex),
    /// Answered after this moment.
    StartedAfter(u64),
    /// Answered before it.
    StartedBefore(u64),
    /// A member of this profile.
    InProfile(u16, Option<Vec<u8>>),
    /// In the state of this number.
    InState(i64),
    /// Answered at least so many seconds ago.
    AnsweredFor(u64),
}

impl Filter {
    fn accepts(&self, env: &Env<'_>, dialog: &Dialog) -> bool {
        let field = |key: &MatchKey| {
            dialog.strings.get(match key {
                MatchKey::Ruri => Field::Ruri,
                MatchKey::FromUri => Field::FromUri,
                MatchKey::ToUri => Field::ToUri,
                MatchKey::CallId => Field::CallId,
            })
        };
        match self {
            Filter::Equals(key, want) => field(key) == want,
            Filter::StartsWith(key, want) => field(key).starts_with(want),
            Filter::Matches(key, regex) => regex.is_match(field(key)),
            Filter::StartedAfter(at) => dialog.start_s > *at,
            Filter::StartedBefore(at) => dialog.start_s < *at,
            Filter::InProfile(profile, value) => {
                is_member(env.state, dialog, *profile, value.as_deref())
            }
            Filter::InState(state) => dialog.state().number() == *state,
            Filter::AnsweredFor(seconds) => {
                dialog.start_s > 0 && duration_s(dialog, env.now.wall.as_secs()) >= *seconds
            }
        }
    }
}

fn is_member(shard: &Shard, dialog: &Dialog, profile: u16, value: Option<&[u8]>) -> bool {
    let profiles = &shard.dialogs.profiles;
    let value = value.filter(|_| profiles.has_value(profile));
    dialog
        .memberships
        .iter()
        .any(|m| m.profile == profile && value.is_none_or(|v| profiles.value_of(*m) == v))
}

/// The next dialogs that all filters accept, `item_count` at the most. Looks at no more than
/// `place_count` places of the table, so that a slice has a bounded cost whatever the filters are
/// and however many dialogs are gone.
pub fn list(
    env: &Env<'_>,
    from: Cursor,
    (item_count, place_count): (usize, usize),
    filters: &[Filter],
) -> Slice {
    let (found, next) = env.state.dialogs.table.window(from.0, place_count);
    let mut slice = Slice {
        dialogs: Vec::new(),
        next: next.map(Cursor),
    };
    for (place, _, dialog) in found {
        if slice.dialogs.len() == item_count {
            slice.next = Some(Cursor(place));
            return slice;
        }
        if filters.iter().all(|filter| filter.accepts(env, dialog)) {
            slice.dialogs.push(view(env, dialog));
        }
    }
    slice
}

/// Where a listing goes on behind a dialog: the one of this Call-ID and number, or the last one of
/// this Call-ID. `None`: it is gone.
pub fn behind(shard: &Shard, call_id: &[u8], h_id: Option<u32>) -> Option<Cursor> {
    let found = shard.dialogs.table.of_call(call_id);
    let is_it = |d: &Dialog| h_id.is_none_or(|h_id| d.id.h_id == h_id);
    let places = found.filter(|(_, d)| is_it(d)).map(|(key, _)| key.place());
    places.max().map(|place| Cursor(place + 1))
}

/// The dialogs of a Call-ID, with the caller's tag if one is given (`dlg.dlg_list`).
pub fn of_call(env: &Env<'_>, call_id: &[u8], caller_tag: Option<&[u8]>) -> Vec<View> {
    let found = env.state.dialogs.table.of_call(call_id);
    let is_it = |d: &Dialog| caller_tag.is_none_or(|tag| d.strings.get(Field::CallerTag) == tag);
    found
        .filter(|(_, d)| is_it(d))
        .map(|(_, d)| view(env, d))
        .collect()
}

/// The dialog of these tags, in either order.
pub fn find(shard: &Shard, call_id: &[u8], from_tag: &[u8], to_tag: &[u8]) -> Option<Key> {
    shard
        .dialogs
        .table
        .find(call_id, from_tag, to_tag)
        .map(|(key, _)| key)
}

/// The dialog of this identifier.
pub fn find_id(shard: &Shard, id: DialogId) -> Option<Key> {
    shard.dialogs.table.find_id(id)
}

/// `dlg.stats_active`: dialogs by state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Active {
    /// Nothing has been heard of the callee.
    pub starting: usize,
    /// It rings.
    pub connecting: usize,
    /// Answered, not acknowledged.
    pub answering: usize,
    /// Up.
    pub ongoing: usize,
}

impl Active {
    /// The sum.
    pub fn all(&self) -> usize {
        self.starting + self.connecting + self.answering + self.ongoing
    }

    /// The sum of two shards.
    pub fn and(self, other: Active) -> Active {
        Active {
            starting: self.starting + other.starting,
            connecting: self.connecting + other.connecting,
            answering: self.answering + other.answering,
            ongoing: self.ongoing + other.ongoing,
        }
    }
}

/// The dialogs of this shard by state.
pub fn stats_active(shard: &Shard) -> Active {
    let table = &shard.dialogs.table;
    Active {
        starting: table.count(State::Unconfirmed),
        connecting: table.count(State::Early),
        answering: table.count(State::ConfirmedNa),
        ongoing: table.count(State::Confirmed),
    }
}

/// The fields of `dlg.briefing` for the letters that were asked for (default `ftcFT`), in their
/// order; they are printed behind h_entry and h_id.
pub fn briefing(view: &View, letters: &str) -> Vec<(&'static str, String)> {
    let tag = |leg: &LegView| leg.tag.clone().unwrap_or_default();
    let field = |letter| {
        Some(match letter {
            'f' => ("from_uri", view.from_uri.clone()),
            't' => ("to_uri", view.to_uri.clone()),
            'c' => ("call-id", view.call_id.clone()),
            'F' => ("from_tag", tag(&view.caller)),
            'T' => ("to_tag", tag(&view.callee)),
            'I' => ("init_ts", view.init_ts.to_string()),
            'S' => ("start_ts", view.start_ts.to_string()),
            'E' => ("end_ts", view.end_ts.to_string()),
            's' => ("state", view.state.to_string()),
            _ => return None,
        })
    };
    letters.chars().filter_map(field).collect()
}

/// The size of a profile in this shard; summed over shards it is what `dlg.profile_get_size`
/// shows. `None`: there is no such profile.
pub fn profile_size(shard: &Shard, name: &[u8], value: Option<&[u8]>) -> Option<usize> {
    let profile = shard.dialogs.profiles.find(name)?;
    Some(shard.dialogs.profiles.own_size(profile, value))
}

/// `dlg.is_alive`: whether the call is up.
pub fn is_alive(shard: &Shard, key: Key) -> bool {
    shard
        .dialogs
        .table
        .get(key)
        .is_some_and(|d| d.state() == State::Confirmed)
}

/// `dlg.set_state`. False: the dialog is gone.
pub fn set_state(env: &mut Env<'_>, key: Key, state: State) -> bool {
    let is_there = env.state.dialogs.table.get(key).is_some();
    if is_there {
        life::force_state(env, key, state);
    }
    is_there
}
