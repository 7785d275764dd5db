//! The life of a dialog: made by an INVITE, moved by what its grid says, removed when it is over.
//!
//! Every change of state goes through [`happen`]. What scripts are to see of it is left in
//! [`Dialogs::happenings`](super::Dialogs), which the shard works off before it goes on; observers
//! are told on the spot.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Flow, Level};
use crate::modules::journal::What;
use crate::modules::state::Env;
use crate::modules::work::Work;
use crate::script::Program;
use crate::sip::{Message, Method};
use crate::slab::Key;
use crate::steer;
use crate::time::Duration;

use super::event::{Kind, Told};
use super::identity::{DialogId, Numbering};
use super::leg::{self, Direction, Leg};
use super::scope::{Link, Role};
use super::state::{self, Act, Event, State};
use super::strings::{Field, Strings};
use super::table::{Birth, dflag, iflag};
use super::{Happening, Route, bye, cookie, keepalive, timeout, transfer};

/// The message behind an event.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cause<'a> {
    /// The message; `None`: a timer, or a response made here.
    pub message: Option<&'a Rc<Message>>,
    /// The INVITE, when the message is a response to it.
    pub request: Option<&'a Rc<Message>>,
    /// What it came in on.
    pub flow: Option<Flow>,
    /// Which way a request goes.
    pub direction: Option<Direction>,
    /// A lifetime that the script asks for (`timeout_avp`).
    pub lifetime_s: Option<u32>,
}

impl Cause<'_> {
    fn told(&self) -> Told<'_> {
        let message = self.message.map(|m| &**m);
        Told {
            request: self
                .request
                .map(|m| &**m)
                .or(message.filter(|m| m.is_request())),
            response: message.filter(|m| !m.is_request()),
            direction: self.direction,
        }
    }
}

/// Seconds since 1970.
pub(super) fn now_s(env: &Env<'_>) -> u64 {
    env.now.wall.as_secs()
}

/// Makes the dialog of an initial INVITE, or finds the one that it comes to again. False: there
/// is none, and the call goes on without.
pub fn create(env: &mut Env<'_>, work: &mut Work, program: &Arc<Program>) -> bool {
    let message = Rc::clone(&work.message);
    let Some(from_tag) = message.from_tag().filter(|tag| !tag.is_empty()) else {
        return false;
    };
    let config = &env.state.setup.config.dialog;
    if config.detect_spirals
        && let Some(key) = env
            .state
            .dialogs
            .table
            .find_spiral(message.call_id(), from_tag)
    {
        work.dialog.current = Some(key);
        tell(
            env,
            key,
            Kind::Spiraled,
            Cause {
                message: Some(&message),
                ..Cause::default()
            },
        );
        return true;
    }
    let Some(key) = store(env, work, &message, program) else {
        return false;
    };
    env.state.dialogs.counts.processed += 1;
    work.dialog.current = Some(key);
    work.dialog.role = Some(Role::Initial);
    take_over(env, work, key);
    announce(env, work, key);
    write_cookie(env, work, key);
    timeout::arm(env, key);
    if let Some(transaction) = work.transaction {
        transaction_made(env, work, transaction);
    }
    true
}

/// A record with what the INVITE says.
fn store(env: &mut Env<'_>, work: &Work, message: &Message, program: &Arc<Program>) -> Option<Key> {
    let call_id = message.call_id();
    // §12.1.1: without one target there is nothing that a request in the dialog could go to.
    let Some(contact) = leg::contact(message) else {
        env.log(
            Level::Err,
            "an INVITE without exactly one Contact makes no dialog",
        );
        return None;
    };
    let mut strings = Strings::default();
    let fits = strings.set(&[
        (Field::CallId, call_id),
        (Field::FromUri, message.from().uri),
        (Field::ToUri, message.to().uri),
        (Field::Ruri, work.uri()),
        (Field::CallerTag, message.from_tag().unwrap_or_default()),
        (Field::CallerContact, contact),
        (Field::CallerRoutes, &leg::routes_of_request(message)),
    ]);
    if !fits || env.state.dialogs.table.is_full(call_id) {
        env.state.dialogs.counts.refused += 1;
        env.log(
            Level::Err,
            "no room for another dialog: a call goes on without",
        );
        return None;
    }
    let asked = timeout::asked_for(&env.state.setup, &work.avps);
    let lifetime_s = asked.unwrap_or(env.state.setup.config.dialog.default_timeout_s);
    let id = name(env, call_id);
    let caller = Leg {
        cseq: Some(message.cseq().number),
        flow: Some(work.flow),
    };
    let birth = Birth {
        id,
        program: Arc::clone(program),
        strings,
        caller,
        init_s: now_s(env),
        lifetime_s,
    };
    Some(env.state.dialogs.table.insert(birth))
}

/// How this shard numbers.
pub(super) fn numbering(env: &Env<'_>) -> Numbering {
    let setup = &env.state.setup;
    let config = &setup.config.dialog;
    let start = match config.h_id_start {
        -1 => setup.config.core.server_id as u32,
        n => n.max(0) as u32,
    };
    Numbering {
        slot_count: config.hash_size,
        start,
        step: config.h_id_step,
        shard: env.state.id,
        shard_count: setup.shard_count,
    }
}

fn name(env: &mut Env<'_>, call_id: &[u8]) -> DialogId {
    let numbering = numbering(env);
    let h_entry = numbering.slot(call_id);
    let crate::modules::State { dialogs, rng, .. } = &mut *env.state;
    let mut numbers = std::mem::take(&mut dialogs.table.numbers);
    let is_taken = |h_id| dialogs.table.find_id(DialogId { h_entry, h_id }).is_some();
    let h_id = numbers.draw(&numbering, h_entry, rng, is_taken);
    dialogs.table.numbers = numbers;
    DialogId { h_entry, h_id }
}

/// What the message had ready for its dialog.
fn take_over(env: &mut Env<'_>, work: &mut Work, key: Key) {
    let config = &env.state.setup.config.dialog;
    let (send_bye, early) = (config.send_bye, config.early_timeout);
    let limit = env.now.mono + early;
    let context = &mut work.dialog;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.vars = std::mem::take(&mut context.vars);
    dialog.sflags = context.sflags;
    dialog.iflags = context.iflags;
    if send_bye || context.timeout_bye != 0 {
        dialog.iflags |= iflag::TIMEOUT_BYE;
    }
    dialog.limit = Some(limit);
    if let Some((name, route)) = &context.timeout_route {
        // A name that does not fit is of no use to anybody.
        let _ = dialog.strings.set(&[(Field::TimeoutRoute, name)]);
        dialog.timeout_route = *route;
    }
    for (profile, value) in std::mem::take(&mut context.profiles) {
        join(env, key, profile, &value);
    }
}

/// Makes the dialog a member of a profile. False: there is no room.
pub fn join(env: &mut Env<'_>, key: Key, profile: u16, value: &[u8]) -> bool {
    let dialogs = &mut env.state.dialogs;
    let Some(dialog) = dialogs.table.get_mut(key) else {
        return false;
    };
    let has_room = dialog.memberships.len() < crate::limits::DIALOG_PROFILE_COUNT_MAX;
    if dialog.state() == State::Deleted || !has_room {
        return false;
    }
    let Some(membership) = dialogs.profiles.add(profile, value, key) else {
        return false;
    };
    dialog.memberships.reserve_exact(1);
    dialog.memberships.push(membership);
    dialog.dflags |= dflag::EXPIRED;
    super::peers::tell_soon(env);
    true
}

/// The newest membership of a dialog in this profile, with this value if it has one.
pub(super) fn membership(
    dialogs: &super::Dialogs,
    key: Key,
    profile: u16,
    value: Option<&[u8]>,
) -> Option<usize> {
    let value = value.filter(|_| dialogs.profiles.has_value(profile));
    dialogs.table.get(key)?.memberships.iter().rposition(|m| {
        m.profile == profile && value.is_none_or(|v| dialogs.profiles.value_of(*m) == v)
    })
}

/// Ends it. False: there is none.
pub(super) fn leave(env: &mut Env<'_>, key: Key, profile: u16, value: Option<&[u8]>) -> bool {
    let dialogs = &mut env.state.dialogs;
    let Some(at) = membership(dialogs, key, profile, value) else {
        return false;
    };
    if let Some(dialog) = dialogs.table.get_mut(key) {
        let membership = dialog.memberships.remove(at);
        dialogs.profiles.remove(membership);
    }
    super::peers::tell_soon(env);
    true
}

/// Observers learn of a new dialog: now, or with its transaction.
fn announce(env: &mut Env<'_>, work: &mut Work, key: Key) {
    let is_now = env.state.setup.config.dialog.initial_cbs_inscript || work.transaction.is_some();
    work.dialog.is_unannounced = !is_now;
    if is_now {
        let message = Rc::clone(&work.message);
        tell(
            env,
            key,
            Kind::Created,
            Cause {
                message: Some(&message),
                ..Cause::default()
            },
        );
    }
}

/// The cookie goes into the Record-Route of this request, if it gets one.
pub(super) fn write_cookie(env: &Env<'_>, work: &mut Work, key: Key) {
    let config = &env.state.setup.config.dialog;
    let Some(dialog) = env.state.dialogs.table.get(key) else {
        return;
    };
    // Match mode 2 is there to hide dialogs from the peers, in every request.
    let is_hidden = config.match_mode == super::matching::Mode::Sip;
    if !is_hidden {
        cookie::write(&config.rr_param, dialog.id, &mut work.rr.params);
    }
}

/// A message is about to get its transaction: `dlg_flag` may want a dialog first.
pub fn before_transaction(env: &mut Env<'_>, work: &mut Work, program: &Arc<Program>) {
    let Some(flag) = env.state.setup.config.dialog.dlg_flag else {
        return;
    };
    let is_wanted = work.flags >> flag & 1 == 1;
    let message = &work.message;
    let is_initial = message.method() == Method::Invite && message.to_tag().is_none();
    if is_wanted && is_initial && !work.dialog.is_set() {
        create(env, work, program);
    }
}

/// A message has its transaction, which from now on belongs to the dialog.
pub fn transaction_made(env: &mut Env<'_>, work: &mut Work, transaction: Key) {
    let (Some(key), Some(role)) = (work.dialog.current, work.dialog.role) else {
        return;
    };
    if let Some(t) = env.state.tm.get_mut(transaction) {
        t.dialog = Some(Link { dialog: key, role });
    }
    if let Some(dialog) = env.state.dialogs.table.get_mut(key) {
        match role {
            Role::Initial => {
                dialog.dflags |= dflag::TM;
                dialog.invite = Some(transaction);
            }
            Role::Bye(_) => dialog.ended_by = dialog.ended_by.or(Some(transaction)),
            Role::Within(_) => {}
        }
    }
    if std::mem::take(&mut work.dialog.is_unannounced) {
        let message = Rc::clone(&work.message);
        tell(
            env,
            key,
            Kind::Created,
            Cause {
                message: Some(&message),
                ..Cause::default()
            },
        );
    }
}

/// A transaction is gone: what it might still have brought cannot come any more.
pub fn transaction_gone(env: &mut Env<'_>, transaction: Key, link: Link) {
    let dialog = env.state.dialogs.table.get(link.dialog);
    if dialog.is_some_and(|d| d.ended_by == Some(transaction)) {
        happen(env, link.dialog, Event::Rest, Cause::default());
    }
}

/// The script of a request is over. A dialog without a transaction has no future: nothing will
/// ever be answered.
pub fn script_over(env: &mut Env<'_>, work: &Work) {
    let (Some(key), Some(role), None) = (work.dialog.current, work.dialog.role, work.transaction)
    else {
        return;
    };
    let Some(dialog) = env.state.dialogs.table.get(key) else {
        return;
    };
    let is_lonely = match role {
        Role::Initial => dialog.state().is_setup(),
        Role::Bye(_) => dialog.ended_by.is_none(),
        Role::Within(_) => false,
    };
    if is_lonely {
        env.state
            .dialogs
            .happenings
            .push_back(Happening::Remove(key));
    }
}

/// A response goes to the caller.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Its status.
    pub status: u16,
    /// The response that is passed on; `None`: it was made here.
    pub message: Option<&'a Rc<Message>>,
    /// What it came in on.
    pub flow: Option<Flow>,
}

/// A response of a transaction has gone upstream.
pub fn replied(env: &mut Env<'_>, transaction: Key, reply: Reply<'_>) {
    let Some(t) = env.state.tm.get(transaction) else {
        return;
    };
    let Some(Link { dialog, role }) = t.dialog else {
        return;
    };
    let request = Rc::clone(&t.request);
    let Reply {
        status,
        message,
        flow,
    } = reply;
    let cause = Cause {
        message,
        request: Some(&request),
        flow,
        direction: None,
        lifetime_s: None,
    };
    match role {
        Role::Initial => answered(env, dialog, transaction, status, cause),
        Role::Within(direction) if status < 300 => {
            let direction = Some(direction.reversed());
            tell(
                env,
                dialog,
                Kind::ResponseWithin,
                Cause { direction, ..cause },
            );
            refresh_targets(env, dialog, status, Cause { direction, ..cause });
        }
        Role::Bye(direction) => {
            let direction = Some(direction.reversed());
            tell(
                env,
                dialog,
                Kind::TerminatedConfirmed,
                Cause { direction, ..cause },
            );
        }
        Role::Within(_) => {}
    }
}

fn answered(env: &mut Env<'_>, key: Key, transaction: Key, status: u16, cause: Cause<'_>) {
    let cause = Cause {
        direction: Some(Direction::Upstream),
        ..cause
    };
    let event = match status {
        // A provisional response made here says nothing of the far end.
        ..=199 if cause.message.is_none() => return,
        ..=199 => Event::Provisional,
        200..=299 => Event::Success,
        300.. => Event::Failure,
    };
    if status < 300 && cause.message.is_some() {
        tell(env, key, Kind::ResponseFwded, cause);
    }
    happen(env, key, event, cause);
    let waits = env.state.setup.config.dialog.wait_ack;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    if event == Event::Failure && dialog.state() == State::Deleted && dialog.ended_by.is_none() {
        dialog.ended_by = Some(transaction);
        if !waits {
            happen(env, key, Event::Rest, cause);
        }
    }
}

/// Tells observers of a dialog.
pub(super) fn tell(env: &mut Env<'_>, key: Key, kind: Kind, cause: Cause<'_>) {
    let dialogs = &mut env.state.dialogs;
    if let Some(dialog) = dialogs.table.get_mut(key) {
        dialogs.observers.tell(kind, dialog, cause.told());
    }
}

/// An event: the next state, and what the cell says. Gives what was done.
pub fn happen(env: &mut Env<'_>, key: Key, event: Event, cause: Cause<'_>) -> Act {
    let Some(dialog) = env.state.dialogs.table.get(key) else {
        return Act::NOTHING;
    };
    let (old, id) = (dialog.state(), dialog.id);
    let cell = state::step(old, event);
    if cell.next != old {
        let call = match cause.message {
            Some(message) => message.call(),
            None => steer::hash(dialog.call_id()),
        };
        env.state.dialogs.table.set_state(key, cell.next);
        env.note(call, What::Dialog(id.h_id, old, cell.next));
    }
    let act = cell.act;
    if act.has(Act::ODD) {
        env.log(
            Level::Notice,
            format!("dialog {id}: {event:?} is out of place in {old:?}"),
        );
    }
    if act.has(Act::RING) {
        tell(env, key, Kind::Early, cause);
    }
    if act.has(Act::START) {
        start(env, key, cause);
    }
    if act.has(Act::CONFIRM) {
        confirm(env, key, cause);
    }
    if act.has(Act::PRACKED)
        && let Some(dialog) = env.state.dialogs.table.get_mut(key)
    {
        dialog.iflags |= iflag::PRACK;
    }
    if act.has(Act::FOLLOW) {
        follow(env, key, cause);
    }
    if act.has(Act::SHORTEN) {
        timeout::shorten(env, key);
    }
    if act.has(Act::FAIL) || act.has(Act::END) {
        end(env, key, event, cause);
    }
    if act.has(Act::REMOVE) {
        env.state
            .dialogs
            .happenings
            .push_back(Happening::Remove(key));
    }
    timeout::arm(env, key);
    act
}

fn push_route(env: &mut Env<'_>, key: Key, route: Route, cause: Cause<'_>) {
    let message = cause.message.cloned();
    let happening = Happening::Route {
        dialog: key,
        route,
        message,
    };
    env.state.dialogs.happenings.push_back(happening);
}

/// The callee has answered: its leg is known (§12.1.2), and the dialog begins to live.
fn start(env: &mut Env<'_>, key: Key, cause: Cause<'_>) {
    let noack = env.state.setup.config.dialog.noack_timeout;
    let (now, limit) = (now_s(env), env.now.mono + noack);
    if let (Some(message), Some(request)) = (cause.message, cause.request) {
        fill_callee(env, key, message, request);
    }
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.start_s = now;
    dialog.dflags |= dflag::NEW;
    dialog.callee.cseq = dialog.callee.cseq.or(Some(0));
    dialog.callee.flow = cause.flow;
    dialog.expires = Some(env.now.mono + Duration::from_secs(dialog.lifetime_s.into()));
    dialog.limit = Some(limit);
    push_route(env, key, Route::Start, cause);
    tell(env, key, Kind::ConfirmedNa, cause);
}

fn fill_callee(env: &mut Env<'_>, key: Key, message: &Message, request: &Message) {
    let setup = Arc::clone(&env.state.setup);
    let keeps = setup.config.dialog.keep_proxy_rr;
    let below = leg::route_count(request);
    let keeps_own = (keeps & 1 != 0, keeps & 2 != 0);
    let routes = leg::routes_of_response(&setup, message, below, keeps_own);
    let contact = leg::contact(message);
    if contact.is_none() {
        env.log(
            Level::Warn,
            "a 2xx without exactly one Contact: the callee cannot be reached",
        );
    }
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    let changes = [
        (Field::CalleeTag, message.to_tag().unwrap_or_default()),
        (Field::CalleeContact, contact.unwrap_or_default()),
        (Field::CalleeRoutes, &routes.callee[..]),
        (
            Field::CallerRoutes,
            routes.caller.as_deref().unwrap_or_default(),
        ),
    ];
    let count = changes.len() - usize::from(routes.caller.is_none());
    dialog.is_in_path = routes.has_own;
    if !dialog.strings.set(&changes[..count]) {
        env.log(
            Level::Err,
            "the callee's side of a dialog is too long to be kept",
        );
    }
}

fn confirm(env: &mut Env<'_>, key: Key, cause: Cause<'_>) {
    let now = env.now.mono;
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.limit = None;
    dialog.dflags |= dflag::CHANGED;
    if let Some(asked) = cause.lifetime_s {
        dialog.lifetime_s = asked;
    }
    dialog.expires = Some(now + Duration::from_secs(dialog.lifetime_s.into()));
    keepalive::begin(env, key);
    tell(env, key, Kind::Confirmed, cause);
}

/// A request in the dialog has used up its number (§12.2.1.1), whatever state the dialog is in. One
/// that was overtaken on its way must not turn the count back: the next request made here would be
/// refused as too old.
pub(super) fn count_number(env: &mut Env<'_>, key: Key, message: &Message, way: Direction) {
    // These bear the number of their INVITE.
    if matches!(message.method(), Method::Ack | Method::Cancel) {
        return;
    }
    let number = message.cseq().number;
    if let Some(dialog) = env.state.dialogs.table.get_mut(key) {
        let leg = dialog.sender_mut(way);
        leg.cseq = Some(leg.cseq.map_or(number, |known| known.max(number)));
    }
}

/// A request in the dialog: its lifetime follows it, and where its sender speaks from. The target
/// waits for the answer, see [`refresh_targets`].
fn follow(env: &mut Env<'_>, key: Key, cause: Cause<'_>) {
    let (Some(message), Some(direction)) = (cause.message, cause.direction) else {
        return;
    };
    keepalive::heard(env, key, direction);
    timeout::renew(env, key, cause.lifetime_s);
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.dflags |= dflag::CHANGED;
    if message.method() != Method::Ack {
        let leg = dialog.sender_mut(direction);
        leg.flow = cause.flow.or(leg.flow);
    }
    tell(env, key, Kind::ReqWithin, cause);
}

/// §12.2.2 for INVITE, RFC 3311 §5.1 for UPDATE.
fn is_target_refresh(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

fn refresh_target(env: &mut Env<'_>, key: Key, message: &Message, direction: Direction) {
    let field = match direction {
        Direction::Downstream => Field::CallerContact,
        Direction::Upstream => Field::CalleeContact,
    };
    let (Some(contact), Some(dialog)) =
        (leg::contact(message), env.state.dialogs.table.get_mut(key))
    else {
        return;
    };
    if dialog.strings.get(field) != contact && !dialog.strings.set(&[(field, contact)]) {
        env.log(
            Level::Err,
            "a new Contact in a dialog is too long to be kept",
        );
    }
}

/// A 2xx to a target refresh request refreshes the target of its sender (§12.2.2), and the answer's
/// own Contact that of the other side (§12.2.1.2). A request that is refused changes nothing
/// (RFC 6141 §4).
fn refresh_targets(env: &mut Env<'_>, key: Key, status: u16, cause: Cause<'_>) {
    let (Some(request), Some(direction)) = (cause.request, cause.direction) else {
        return;
    };
    let is_live = env
        .state
        .dialogs
        .table
        .get(key)
        .is_some_and(|d| matches!(d.state(), State::Early) || d.state().is_active());
    if !is_live || status < 200 || !is_target_refresh(request.method()) {
        return;
    }
    refresh_target(env, key, request, direction.reversed());
    if let Some(message) = cause.message {
        refresh_target(env, key, message, direction);
    }
}

/// The call is over: it leaves its profiles, and scripts and observers are told.
fn end(env: &mut Env<'_>, key: Key, event: Event, cause: Cause<'_>) {
    let limit = env.now.mono + env.state.setup.config.dialog.end_timeout;
    let now = now_s(env);
    leave_all(env, key);
    if event == Event::Bye {
        bye::ALL
            .iter()
            .for_each(|way| transfer::party_left(env, key, *way));
    }
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    dialog.end_s = now;
    dialog.expires = None;
    dialog.limit = Some(limit);
    let has_failed = matches!(event, Event::Failure | Event::EarlyTimeout)
        || (event == Event::Expiry && dialog.start_s == 0);
    if has_failed {
        env.state.dialogs.counts.failed += 1;
        push_route(env, key, Route::Failed, cause);
        return tell(env, key, Kind::Failed, cause);
    }
    dialog.dflags |= dflag::HASBYE;
    push_route(env, key, Route::End, cause);
    if event == Event::Expiry {
        env.state.dialogs.counts.expired += 1;
        tell(env, key, Kind::Expired, cause);
    } else {
        tell(env, key, Kind::Terminated, cause);
    }
}

/// Ends all memberships of a dialog.
fn leave_all(env: &mut Env<'_>, key: Key) {
    let dialogs = &mut env.state.dialogs;
    let Some(dialog) = dialogs.table.get_mut(key) else {
        return;
    };
    let memberships = std::mem::take(&mut dialog.memberships);
    for membership in memberships {
        dialogs.profiles.remove(membership);
    }
    super::peers::tell_soon(env);
}

/// The record goes, whatever the reason.
pub fn remove(env: &mut Env<'_>, key: Key) {
    tell(env, key, Kind::Destroy, Cause::default());
    leave_all(env, key);
    if let Some(dialog) = env.state.dialogs.table.remove(key) {
        env.stop(dialog.timer);
    }
}

/// `dlg.set_state`: the state and nothing else, except that an ended dialog is removed in time.
pub fn force_state(env: &mut Env<'_>, key: Key, state: State) {
    let limit = env.now.mono + env.state.setup.config.dialog.end_timeout;
    let now = now_s(env);
    if let Some(dialog) = env.state.dialogs.table.get(key) {
        let what = What::Dialog(dialog.id.h_id, dialog.state(), state);
        let call = steer::hash(dialog.call_id());
        env.note(call, what);
    }
    env.state.dialogs.table.set_state(key, state);
    let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
        return;
    };
    if state == State::Deleted {
        (dialog.init_s, dialog.end_s) = (now, now);
        dialog.expires = None;
    }
    dialog.limit = Some(limit);
    timeout::arm(env, key);
}
