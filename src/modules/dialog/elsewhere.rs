//! The current dialog of a script when another shard has it, as `dlg_get` may find.
//!
//! ```text
//!   dlg_get ─▶ the script waits ── question ──▶ the shard of the Call-ID looks and obeys
//!   $dlg, $dlg_var ◀─ copy ◀────── answer ◀──── and tells how the dialog is then
//! ```
//!
//! The script reads a copy. What it wants done travels as an order to the shard that has the
//! dialog, and the answer brings the next copy; only `$dlg_var(x) = ..`, which cannot wait, goes
//! unanswered. Orders of one shard are obeyed in the order in which they were given. Costs: a
//! message to the other shard and back, and a copy of the strings, for each function.

use crate::effect::Effect;
use crate::effect::peer::{Answer, DialogCopy, Order, PeerMessage, Question, Which};
use crate::effect::rpc::Value;
use crate::modules::Call;
use crate::modules::state::Env;
use crate::modules::work::Ask;
use crate::script::Outcome;
use crate::slab::Key;
use crate::steer::ShardId;

use super::identity::DialogId;
use super::leg::Direction;
use super::scope::Context;
use super::table::dflag;
use super::var::Vars;
use super::{bye, functions, life, timeout, transfer, variables};

/// A dialog of another shard.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// Who has it.
    pub shard: ShardId,
    /// How it was when the last answer was given.
    pub copy: DialogCopy,
    /// Its variables, with what has been assigned since.
    pub vars: Vars,
}

impl Elsewhere {
    fn which(&self) -> Which {
        let (h_entry, h_id) = (self.copy.h_entry, self.copy.h_id);
        Which::Id { h_entry, h_id }
    }

    /// What `$dlg` shows, by the place among its attributes.
    pub(super) fn attribute(&self, index: usize) -> &Value {
        self.copy.attributes.get(index).unwrap_or(&Value::Null)
    }

    /// The flags of the script.
    pub(super) fn sflags(&self) -> Option<u32> {
        match self.attribute(variables::SFLAGS) {
            Value::Int(n) => u32::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The Contact that a request of this direction goes to.
    pub(super) fn target(&self, direction: Option<Direction>) -> Option<&[u8]> {
        let contact = match direction? {
            Direction::Downstream => variables::TO_CONTACT,
            Direction::Upstream => variables::FROM_CONTACT,
        };
        match self.attribute(contact) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is in a profile, with this value or with any.
    pub(super) fn is_member(&self, profile: u16, value: Option<&[u8]>) -> bool {
        let mut all = self.copy.profiles.iter();
        all.any(|(p, v)| *p == profile && value.is_none_or(|value| **v == *value))
    }
}

/// The script waits until the shard that has its current dialog has obeyed. `None`: no other
/// shard has it.
pub(super) fn order(call: &mut Call<'_>, order: impl FnOnce() -> Order) -> Option<Outcome> {
    let elsewhere = call.work.dialog.elsewhere.as_ref()?;
    let (shard, which) = (elsewhere.shard, elsewhere.which());
    Some(call.ask(Ask::Elsewhere(shard, which, order())))
}

/// Assigns a variable of a dialog of another shard; the copy has it at once. False: there is no
/// such dialog, or no room.
pub(super) fn set_var(call: &mut Call<'_>, name: &[u8], value: Option<&[u8]>) -> bool {
    let Some(elsewhere) = &mut call.work.dialog.elsewhere else {
        return false;
    };
    let vars = &mut elsewhere.vars;
    match value {
        Some(value) if !vars.set(name, value) => return false,
        Some(_) => {}
        None => vars.remove(name),
    }
    let (shard, which) = (elsewhere.shard, elsewhere.which());
    let order = Order::SetVariable(name.into(), value.map(Box::from));
    ask(&mut call.env, shard, None, (which, order));
    true
}

/// Sends a question; `run` waits for the answer.
pub fn ask(env: &mut Env<'_>, to: ShardId, run: Option<Key>, (which, order): (Which, Order)) {
    let question = Question {
        number: env.state.dialogs.peers.draw_question(),
        run,
        which,
        order,
    };
    let message = PeerMessage::Question(Box::new(question));
    env.out.push(Effect::Peer(to, message));
}

/// Another shard asks.
pub fn asked(env: &mut Env<'_>, from: ShardId, question: &Question) {
    let dialogs = &mut env.state.dialogs;
    if !dialogs.peers.is_new_question(from, question.number) {
        return;
    }
    let found = match &question.which {
        Which::Id { h_entry, h_id } => {
            let (h_entry, h_id) = (*h_entry, *h_id);
            let found = dialogs.table.find_id(DialogId { h_entry, h_id });
            found.map(|key| (key, None))
        }
        Which::Tags {
            call_id,
            from_tag,
            to_tag,
        } => {
            let found = dialogs.table.find(call_id, from_tag, to_tag);
            found.map(|(key, direction)| (key, Some(direction)))
        }
    };
    let is_done = found.is_some_and(|(key, _)| obey(env, key, &question.order));
    if let Some(run) = question.run {
        let copy = found.and_then(|(key, direction)| copy(env, key, direction));
        let answer = PeerMessage::Answer(Box::new(Answer { run, is_done, copy }));
        env.out.push(Effect::Peer(from, answer));
    }
}

/// False: it cannot be done to this dialog.
fn obey(env: &mut Env<'_>, key: Key, order: &Order) -> bool {
    match order {
        Order::Look => true,
        Order::SetLifetime(lifetime_s) => timeout::set(env, key, *lifetime_s),
        Order::HangUp { caller, callee } => {
            let wanted = |way: &Direction| match way {
                Direction::Upstream => *caller,
                Direction::Downstream => *callee,
            };
            let ways: Vec<_> = bye::ALL.into_iter().filter(wanted).collect();
            bye::hang_up(env, key, &ways, b"")
        }
        Order::Refer { is_caller, to } => {
            let way = match is_caller {
                true => Direction::Upstream,
                false => Direction::Downstream,
            };
            transfer::refer(env, key, way, to)
        }
        Order::Join(profile, value) => life::join(env, key, *profile, value),
        Order::Leave(profile, value) => life::leave(env, key, *profile, value.as_deref()),
        Order::SetVariable(name, value) => {
            let Some(dialog) = env.state.dialogs.table.get_mut(key) else {
                return false;
            };
            dialog.dflags |= dflag::CHANGED_VARS;
            match value {
                Some(value) => dialog.vars.set(name, value),
                None => {
                    dialog.vars.remove(name);
                    true
                }
            }
        }
        Order::ScriptFlags(bits) => {
            let dialog = env.state.dialogs.table.get_mut(key);
            dialog.is_some_and(|d| {
                (d.sflags, d.dflags) = (bits.of(d.sflags), d.dflags | dflag::CHANGED);
                true
            })
        }
        Order::Properties(bits) => functions::set_properties(env, key, *bits),
    }
}

fn copy(env: &Env<'_>, key: Key, direction: Option<Direction>) -> Option<DialogCopy> {
    let dialogs = &env.state.dialogs;
    let dialog = dialogs.table.get(key)?;
    let vars = dialog.vars.iter();
    let memberships = dialog.memberships.iter();
    Some(DialogCopy {
        h_entry: dialog.id.h_entry,
        h_id: dialog.id.h_id,
        is_downstream: direction.map(|d| d == Direction::Downstream),
        attributes: variables::attributes(&env.state.setup, dialog),
        vars: vars.map(|(n, v)| (n.into(), v.into())).collect(),
        profiles: memberships
            .map(|m| (m.profile, dialogs.profiles.value_of(*m).into()))
            .collect(),
    })
}

/// The answer: a dialog that was asked for as a message would is the current one from now on; one
/// that is the current one is newly known.
pub fn answered(context: &mut Context, shard: ShardId, which: &Which, copy: DialogCopy) {
    let is_current = context
        .elsewhere
        .as_ref()
        .is_some_and(|e| (e.copy.h_entry, e.copy.h_id) == (copy.h_entry, copy.h_id));
    match which {
        Which::Tags { .. } => {
            (context.current, context.role) = (None, None);
            context.direction = copy.is_downstream.map(|is_down| match is_down {
                true => Direction::Downstream,
                false => Direction::Upstream,
            });
        }
        Which::Id { .. } if is_current => {}
        Which::Id { .. } => return,
    }
    let mut vars = Vars::default();
    for (name, value) in copy.vars.iter().rev() {
        // They have had room where they come from.
        let _ = vars.set(name, value);
    }
    context.elsewhere = Some(Box::new(Elsewhere { shard, copy, vars }));
}
