//! Event routes that no message has caused: the start, an item that has expired.
//!
//! Such a route sees a request of nobody, as the original's does: `OPTIONS sip:you@kamailio.org`.
//! What it would send goes nowhere that matters; what it sets stays.

use std::sync::Arc;

use crate::modules::htable;
use crate::script::RouteKind;
use crate::steer;
use crate::timer::Item;

use super::run::Then;
use super::{Shard, Step};

impl Shard {
    /// What runs once on each shard, before its first input.
    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.event(step, "htable:mod-init");
        }
    }

    /// The time of an item has come: its route sees it once more.
    pub(super) fn item_expired(&mut self, step: &mut Step<'_>, item: Item) {
        let Some((table, item)) = htable::expire(&mut self.state, item) else {
            return;
        };
        // Each shard has the item and lets it go; one of them says so.
        let owner = steer::owner(&item.key, self.state.setup.shard_count);
        if owner != self.state.id {
            return;
        }
        let tables = &mut self.state.stores.tables;
        tables.set_expired(Some((item.key, item.value)));
        self.event(step, &format!("htable:expired:{table}"));
        self.state.stores.tables.set_expired(None);
    }

    fn event(&mut self, step: &mut Step<'_>, name: &str) {
        let program = Arc::clone(&self.state.setup.program);
        let Some(route) = program.route(RouteKind::Event, name.as_bytes()) else {
            return;
        };
        let work = self.placeholder_work(None);
        let mut run = self.new_run(program, work);
        Shard::enter(&mut run, RouteKind::Event, route, Then::Event);
        self.drive(step, run);
    }
}
