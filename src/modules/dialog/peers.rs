//! What shards tell each other of profiles and of dialogs: absolute counts in numbered batches.
//!
//! ```text
//!   a count changes ─▶ news ─(10 ms)─▶ batch n ──▶ every other shard ──▶ seen n
//!                                         └──(100 ms, until all have seen it)──▶ again
//!                                         └──(100 ms, all have, no batch n + 1)─▶ settled n + 1
//! ```
//!
//! A batch says for each changed (profile, value) how many members it has now, and the statistics
//! of dialogs as they are. While there is little to say it leaves at once. Lost, it comes again;
//! repeated or late, its number shows that something newer was heard. A count of 0 must be
//! remembered as long as an older word can still come; each batch says up to which number all are
//! settled, and a message of its own says it of the last, so the memory is short. Commands in a
//! batch are obeyed once, by its number.
//! Costs: no message between shards for a call but these; one batch in 10 ms at most, to each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::effect::peer::{Batch, Command, Count, Figures, PeerMessage};
use crate::effect::{Effect, Level};
use crate::limits::{
    PEER_BATCH_COUNT_MAX, PEER_BATCH_SIZE_MAX, PEER_BATCH_TIME, PEER_BURST_TIME, PEER_EARLY_TIME,
    PEER_REPEAT_TIME,
};
use crate::modules::state::{Env, State};
use crate::steer::ShardId;
use crate::time::{Duration, Instant};
use crate::timer::Timer;
use crate::wheel::TimerKey;

use super::{stats, timeout};

/// How often items of other servers are looked at.
const REMOTE_LOOK_TIME: Duration = Duration::from_secs(1);

/// A batch that is on its way.
#[derive(Debug)]
struct Unseen {
    batch: Arc<Batch>,
    waits_for: BTreeSet<ShardId>,
    repeat_at: Instant,
}

/// A count of 0 that was heard, until it is settled.
#[derive(Debug)]
struct Grave {
    number: u64,
    profile: u16,
    value: Box<[u8]>,
}

/// What is remembered of another shard.
#[derive(Debug, Default)]
struct Peer {
    /// Below this, every batch is settled.
    settled: u64,
    /// The batches above it that have come.
    seen: BTreeSet<u64>,
    graves: VecDeque<Grave>,
    /// Its statistics, and the number of the batch that said so.
    figures: (u64, Figures),
    /// The lowest number that its next question may have.
    next_question: u64,
}

/// The exchange with the other shards.
#[derive(Debug, Default)]
pub struct Peers {
    next_number: u64,
    /// Below this, the others know that every batch is settled.
    settled_told: u64,
    next_question: u64,
    /// The statistics that the others have been told.
    told: Figures,
    unseen: BTreeMap<u64, Unseen>,
    commands: Vec<Command>,
    others: BTreeMap<ShardId, Peer>,
    /// The timer of the next batch, and when it fires.
    timer: Option<(TimerKey, Instant)>,
    /// When the next batch of news would be due if they left one by one in their time; it may
    /// leave earlier by [`PEER_BURST_TIME`].
    free_at: Instant,
    remote_timer: Option<TimerKey>,
}

impl Peers {
    /// How many timers are armed.
    pub fn timer_count(&self) -> usize {
        usize::from(self.timer.is_some()) + usize::from(self.remote_timer.is_some())
    }

    /// What the other shards have said of the statistic in this place, added up.
    pub fn figures(&self, place: usize) -> u64 {
        self.others.values().map(|p| p.figures.1[place]).sum()
    }

    /// The number of the next question.
    pub(super) fn draw_question(&mut self) -> u64 {
        self.next_question += 1;
        self.next_question
    }

    /// Whether a question of another shard is newer than all that it has asked.
    pub(super) fn is_new_question(&mut self, from: ShardId, number: u64) -> bool {
        let peer = self.others.entry(from).or_default();
        let is_new = number >= peer.next_question;
        if is_new {
            peer.next_question = number + 1;
        }
        is_new
    }
}

/// Something has changed: a batch is due soon.
pub fn tell_soon(env: &mut Env<'_>) {
    let has_peers = env.state.setup.shard_count > 1;
    if !has_peers {
        return env.state.dialogs.profiles.forget_news();
    }
    if has_news(env.state) {
        let free_at = env.state.dialogs.peers.free_at;
        let wait = free_at.since(env.now.mono + PEER_BURST_TIME);
        arm(
            env,
            if wait < PEER_EARLY_TIME {
                Duration::ZERO
            } else {
                wait
            },
        );
    }
}

fn has_news(shard: &State) -> bool {
    let dialogs = &shard.dialogs;
    let has_more = !dialogs.profiles.news.is_empty() || !dialogs.peers.commands.is_empty();
    let are_figures_told = stats::figures(shard) == dialogs.peers.told;
    has_more || (shard.setup.config.dialog.enable_stats && !are_figures_told)
}

/// Whether every other shard has heard all there is to say.
pub fn is_told(shard: &State) -> bool {
    let has_peers = shard.setup.shard_count > 1;
    !has_peers || (shard.dialogs.peers.unseen.is_empty() && !has_news(shard))
}

/// Has every other shard obey a command once.
pub(super) fn command(env: &mut Env<'_>, command: Command) {
    if env.state.setup.shard_count > 1 {
        env.state.dialogs.peers.commands.push(command);
        tell_soon(env);
    }
}

/// Arms the timer, unless it fires earlier anyway: a repetition that is due later must not hold
/// news up.
fn arm(env: &mut Env<'_>, after: Duration) {
    let at = env.now.mono + after;
    match env.state.dialogs.peers.timer {
        Some((_, armed)) if armed <= at => return,
        Some((key, _)) => env.stop(Some(key)),
        None => {}
    }
    let key = env.start(after, Timer::PeerBatch);
    env.state.dialogs.peers.timer = Some((key, at));
}

/// The time of a batch is over: news go out, what was not seen goes out again; when there is
/// neither, the others hear that all is settled.
pub fn fired(env: &mut Env<'_>) {
    env.state.dialogs.peers.timer = None;
    repeat(env);
    if env.state.dialogs.peers.unseen.len() < PEER_BATCH_COUNT_MAX {
        send_news(env);
    }
    if has_news(env.state) {
        arm(env, PEER_BATCH_TIME);
    } else if !env.state.dialogs.peers.unseen.is_empty() {
        arm(env, PEER_REPEAT_TIME);
    } else {
        tell_settled(env);
    }
}

/// There is no further batch to say that the last one is settled, and the others remember counts
/// of 0 until they hear it; if this is lost, until the next batch.
fn tell_settled(env: &mut Env<'_>) {
    let peers = &mut env.state.dialogs.peers;
    let number = peers.next_number;
    if peers.settled_told < number {
        peers.settled_told = number;
        for shard in others(env) {
            env.out
                .push(Effect::Peer(shard, PeerMessage::Settled(number)));
        }
    }
}

/// Every shard but this one.
fn others(env: &Env<'_>) -> impl Iterator<Item = ShardId> + use<> {
    let own = env.state.id;
    let all = (0..env.state.setup.shard_count).map(ShardId);
    all.filter(move |id| *id != own)
}

fn repeat(env: &mut Env<'_>) {
    let now = env.now.mono;
    for unseen in env.state.dialogs.peers.unseen.values_mut() {
        if unseen.repeat_at > now {
            continue;
        }
        unseen.repeat_at = now + PEER_REPEAT_TIME;
        for shard in &unseen.waits_for {
            let message = PeerMessage::Batch(Arc::clone(&unseen.batch));
            env.out.push(Effect::Peer(*shard, message));
        }
    }
}

fn send_news(env: &mut Env<'_>) {
    if !has_news(env.state) {
        return;
    }
    let figures = stats::figures(env.state);
    let dialogs = &mut env.state.dialogs;
    let mut counts = Vec::new();
    while counts.len() < PEER_BATCH_SIZE_MAX
        && let Some((profile, value, count)) = dialogs.profiles.take_news()
    {
        counts.push(Count {
            profile,
            value,
            count,
        });
    }
    let commands = std::mem::take(&mut dialogs.peers.commands);
    let peers = &mut dialogs.peers;
    peers.free_at = peers.free_at.max(env.now.mono) + PEER_BATCH_TIME;
    peers.told = figures;
    let number = peers.next_number;
    peers.next_number += 1;
    let settled = peers.unseen.keys().next().copied().unwrap_or(number);
    peers.settled_told = settled;
    let batch = Arc::new(Batch {
        number,
        settled,
        figures,
        counts,
        commands,
    });
    let waits_for: BTreeSet<ShardId> = others(env).collect();
    for shard in &waits_for {
        env.out
            .push(Effect::Peer(*shard, PeerMessage::Batch(Arc::clone(&batch))));
    }
    let repeat_at = env.now.mono + PEER_REPEAT_TIME;
    env.state.dialogs.peers.unseen.insert(
        number,
        Unseen {
            batch,
            waits_for,
            repeat_at,
        },
    );
}

/// A batch has come.
pub fn heard(env: &mut Env<'_>, from: ShardId, batch: &Batch) {
    env.out
        .push(Effect::Peer(from, PeerMessage::Seen(batch.number)));
    let dialogs = &mut env.state.dialogs;
    let peer = dialogs.peers.others.entry(from).or_default();
    if batch.number < peer.settled || !peer.seen.insert(batch.number) {
        return;
    }
    if batch.number >= peer.figures.0 {
        peer.figures = (batch.number, batch.figures);
    }
    for count in &batch.counts {
        if dialogs.profiles.hear(from, batch.number, count) {
            let (number, profile) = (batch.number, count.profile);
            peer.graves.push_back(Grave {
                number,
                profile,
                value: count.value.clone(),
            });
        }
    }
    settle(env, from, batch.settled);
    for command in &batch.commands {
        obey(env, command);
    }
}

/// Every batch of this shard below `settled` has been seen by all: what comes of them is a copy.
pub fn settle(env: &mut Env<'_>, from: ShardId, settled: u64) {
    let dialogs = &mut env.state.dialogs;
    let Some(peer) = dialogs.peers.others.get_mut(&from) else {
        return;
    };
    if settled <= peer.settled {
        return;
    }
    peer.settled = settled;
    peer.seen = peer.seen.split_off(&settled);
    let over = |grave: &Grave| grave.number < settled;
    let (gone, kept): (Vec<_>, Vec<_>) = peer.graves.drain(..).partition(over);
    peer.graves = kept.into();
    for grave in gone {
        dialogs
            .profiles
            .settle(from, settled, grave.profile, &grave.value);
    }
}

fn obey(env: &mut Env<'_>, command: &Command) {
    match command {
        Command::SetLifetime {
            profile,
            value,
            lifetime_s,
        } => {
            timeout::set_by_profile(env, *profile, value.as_deref(), *lifetime_s);
        }
        Command::RemoveRemote {
            profile,
            value,
            uid,
        } => {
            env.state
                .dialogs
                .profiles
                .remove_remote(*profile, value, uid);
            tell_soon(env);
        }
    }
}

/// A shard has seen a batch.
pub fn seen(env: &mut Env<'_>, from: ShardId, number: u64) {
    let peers = &mut env.state.dialogs.peers;
    let Some(unseen) = peers.unseen.get_mut(&number) else {
        return;
    };
    unseen.waits_for.remove(&from);
    if unseen.waits_for.is_empty() {
        peers.unseen.remove(&number);
    }
}

/// Looks at items of other servers again later, as long as there are any.
pub(super) fn watch_remotes(env: &mut Env<'_>) {
    let has_any = env.state.dialogs.profiles.has_remotes();
    if has_any && env.state.dialogs.peers.remote_timer.is_none() {
        let timer = env.start(REMOTE_LOOK_TIME, Timer::RemoteItems);
        env.state.dialogs.peers.remote_timer = Some(timer);
    }
}

/// It is time to look at them.
pub fn look_at_remotes(env: &mut Env<'_>) {
    env.state.dialogs.peers.remote_timer = None;
    let now_s = env.now.wall.as_secs();
    env.state.dialogs.profiles.expire_remotes(now_s);
    tell_soon(env);
    watch_remotes(env);
    if !env.state.dialogs.profiles.has_remotes() {
        env.log(Level::Dbg, "the last item of other servers has expired");
    }
}
