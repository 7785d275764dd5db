//! What the product says of its dialogs, and whether it can be true.
//!
//! An observer sits in every shard and writes down each event of each dialog. What shards say at
//! the end (statistics, tables, profiles) must be what a recount of the events gives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dialcore::modules::dialog::event::{Event, Kind, Observer};
use dialcore::modules::dialog::identity::DialogId;
use dialcore::modules::dialog::peers;
use dialcore::modules::dialog::stats::STATISTICS;
use dialcore::modules::dialog::table::Dialog;
use dialcore::shard::Shard;
use dialcore::steer::{ShardId, owner};
use dialcore::time::{Duration, Instant};

/// What may be wrong with a proxy, planted around the product: what it says of its dialogs is lost
/// or doubled, or it is not served as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// No end by BYE is told.
    HidesEnd,
    /// Each is told twice.
    DoublesEnd,
    /// No answer is told.
    HidesAnswer,
    /// Nobody learns that a record is gone.
    HidesDestruction,
    /// No timer ever fires.
    NeverWakes,
    /// Counts of other shards arrive one too high.
    Miscounts,
}

impl Sabotage {
    /// How often an event is told.
    fn tells(self, kind: Kind) -> u32 {
        match (self, kind) {
            (Sabotage::HidesEnd, Kind::Terminated)
            | (Sabotage::HidesAnswer, Kind::ConfirmedNa)
            | (Sabotage::HidesDestruction, Kind::Destroy) => 0,
            (Sabotage::DoublesEnd, Kind::Terminated) => 2,
            _ => 1,
        }
    }
}

/// How long a timer may wait behind a script of the same call that waits for DNS.
const SLACK: Duration = Duration::from_secs(6);

/// One dialog, by what was told of it.
#[derive(Clone, Copy, Default, Debug)]
struct Life {
    answers: u32,
    confirmations: u32,
    failures: u32,
    ends: u32,
    is_gone: bool,
}

/// Everything that was told.
#[derive(Debug, Default)]
pub struct Census {
    lives: BTreeMap<DialogId, Life>,
    created: u64,
    failed: u64,
    expired: u64,
    events: u64,
    wrong: Vec<String>,
    /// What is planted.
    pub sabotage: Option<Sabotage>,
}

/// A census that the observers of all shards write.
pub type Shared = Rc<RefCell<Census>>;

#[derive(Debug)]
struct Scribe {
    shard: ShardId,
    shard_count: u16,
    census: Shared,
}

impl Observer for Scribe {
    fn observe(&mut self, event: &Event<'_>, dialog: &mut Dialog) {
        let mut census = self.census.borrow_mut();
        if event.kind == Kind::Created {
            let of_one = Kind::ALL
                .into_iter()
                .filter(|k| !matches!(k, Kind::Created | Kind::Loaded));
            for kind in of_one {
                let registered = dialog.register_dlgcb(event.observer, kind.only(), 0);
                registered.expect("a kind of one dialog");
            }
        }
        if owner(dialog.call_id(), self.shard_count) != self.shard {
            census
                .wrong
                .push(format!("{} is on shard {}", dialog.id, self.shard));
        }
        for _ in 0..census.sabotage.map_or(1, |s| s.tells(event.kind)) {
            census.note(event.kind, dialog.id);
        }
    }
}

impl Census {
    /// Watches a shard.
    pub fn watch(census: &Shared, shard: &mut Shard, id: ShardId, shard_count: u16) {
        let scribe = Scribe {
            shard: id,
            shard_count,
            census: Rc::clone(census),
        };
        let observer = shard.observe(Box::new(scribe));
        let registered = shard.register_dlgcb(observer, Kind::Created.only(), 0);
        registered.expect("a kind of all dialogs, alone");
    }

    fn note(&mut self, kind: Kind, id: DialogId) {
        self.events += 1;
        if kind == Kind::Created {
            self.created += 1;
            let old = self.lives.insert(id, Life::default());
            if old.is_some_and(|life| !life.is_gone) {
                self.wrong.push(format!("{id} was given twice"));
            }
            return;
        }
        let Some(life) = self.lives.get_mut(&id) else {
            return self
                .wrong
                .push(format!("{kind:?} of {id}, which was never made"));
        };
        if life.is_gone {
            self.wrong.push(format!("{kind:?} of {id}, which is gone"));
        }
        match kind {
            Kind::ConfirmedNa => life.answers += 1,
            Kind::Confirmed => life.confirmations += 1,
            Kind::Failed => {
                life.failures += 1;
                self.failed += 1;
            }
            Kind::Terminated => life.ends += 1,
            Kind::Expired => {
                life.ends += 1;
                self.expired += 1;
            }
            Kind::Destroy => life.is_gone = true,
            _ => {}
        }
        let Life {
            answers,
            confirmations,
            failures,
            ends,
            ..
        } = *life;
        let is_possible =
            answers <= 1 && confirmations <= answers && ends <= answers && failures + answers <= 1;
        if !is_possible {
            self.wrong.push(format!("{kind:?} makes {id} {life:?}"));
        }
    }

    /// How many events were told.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// While calls go on: nothing impossible was told, and no deadline has passed unnoticed.
    pub fn verdict(&self, shards: &[Shard], now: Instant) -> Result<(), String> {
        if let Some(wrong) = self.wrong.first() {
            return Err(wrong.clone());
        }
        for shard in shards {
            shard.check_invariants();
            for (_, dialog) in shard.state().dialogs.table.iter() {
                let is_late = dialog.deadline().is_none_or(|at| at + SLACK < now);
                if is_late {
                    return Err(format!("{} should be over: {dialog:?}", dialog.id));
                }
            }
        }
        self.recount(shards)
    }

    /// The statistics of all shards are those of the events.
    fn recount(&self, shards: &[Shard]) -> Result<(), String> {
        let sum = |n: usize| {
            shards
                .iter()
                .map(|s| (STATISTICS[n].read)(s.state()))
                .sum::<u64>()
        };
        let active = self.lives.values().filter(|l| l.answers > l.ends).count() as u64;
        let found = [sum(0), sum(2), sum(3), sum(4)];
        let want = [active, self.created, self.expired, self.failed];
        if found != want {
            return Err(format!(
                "active, processed, expired, failed: {found:?}, not {want:?}"
            ));
        }
        Ok(())
    }

    /// At rest every dialog that was ever made is gone, and has ended or failed once.
    pub fn at_rest(&self, shards: &[Shard], now: Instant) -> Result<(), String> {
        self.verdict(shards, now)?;
        let still_there = self.lives.iter().find(|(_, life)| !life.is_gone);
        if let Some((id, life)) = still_there {
            return Err(format!("{id} is still there: {life:?}"));
        }
        let is_over_once = |l: &Life| l.answers == l.ends && l.ends + l.failures == 1;
        let other = self.lives.iter().find(|(_, life)| !is_over_once(life));
        if let Some((id, life)) = other {
            return Err(format!("{id} neither ended nor failed once: {life:?}"));
        }
        for shard in shards {
            let dialogs = &shard.state().dialogs;
            if !dialogs.table.is_empty() || !peers::is_told(shard.state()) {
                return Err("a shard remembers what is over".into());
            }
            for name in [&b"caller"[..], b"all"] {
                let profile = dialogs
                    .profiles
                    .find(name)
                    .ok_or("sim.cfg has this profile")?;
                let size = dialogs.profiles.size(profile, None);
                if size > 0 {
                    return Err(format!(
                        "profile {} has {size} members",
                        name.escape_ascii()
                    ));
                }
            }
        }
        Ok(())
    }
}
