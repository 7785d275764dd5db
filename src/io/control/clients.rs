//! Who is connected: a bounded number. When it is reached, the one that has been idle longest
//! makes room; when all are at work, the newcomer is refused.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tokio::sync::Notify;

/// Everybody who is connected.
#[derive(Debug)]
pub(crate) struct Clients {
    table: Rc<RefCell<Table>>,
    count_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    all: BTreeMap<u64, Rc<Notify>>,
    /// Those that are idle, since when (in the order of events) and who.
    idle: BTreeSet<(u64, u64)>,
    refused: u64,
}

/// One of them; leaving is dropping this.
#[derive(Debug)]
pub(crate) struct Seat {
    table: Rc<RefCell<Table>>,
    id: u64,
    since: Option<u64>,
    leave: Rc<Notify>,
}

impl Clients {
    pub(crate) fn new(count_max: usize) -> Clients {
        Clients {
            table: Rc::default(),
            count_max,
        }
    }

    /// A seat for a newcomer.
    pub(crate) fn enter(&self) -> Option<Seat> {
        let mut table = self.table.borrow_mut();
        if table.all.len() >= self.count_max {
            let Some((_, id)) = table.idle.pop_first() else {
                table.refused += 1;
                return None;
            };
            if let Some(leave) = table.all.remove(&id) {
                leave.notify_one();
            }
        }
        let id = table.next;
        table.next += 1;
        let leave = Rc::new(Notify::new());
        table.all.insert(id, leave.clone());
        Some(Seat {
            table: self.table.clone(),
            id,
            since: None,
            leave,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.table.borrow().all.len()
    }
}

impl Seat {
    /// From now on this client may have to make room.
    pub(crate) fn rest(&mut self) {
        let mut table = self.table.borrow_mut();
        let since = table.next;
        table.next += 1;
        if table.all.contains_key(&self.id) {
            table.idle.insert((since, self.id));
            self.since = Some(since);
        }
    }

    /// From now on it may stay.
    pub(crate) fn work(&mut self) {
        if let Some(since) = self.since.take() {
            self.table.borrow_mut().idle.remove(&(since, self.id));
        }
    }

    /// Waits until it has to make room.
    pub(crate) async fn evicted(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
        self.table.borrow_mut().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_makes_room_and_work_is_safe() {
        let clients = Clients::new(3);
        let mut seats: Vec<Seat> = (0..3).map(|_| clients.enter().unwrap()).collect();
        assert!(clients.enter().is_none(), "all are at work");
        seats[1].rest();
        seats[0].rest();
        let newcomer = clients.enter().unwrap();
        assert_eq!((clients.count(), newcomer.id > seats[2].id), (3, true));
        assert!(!clients.table.borrow().all.contains_key(&seats[1].id));
        seats[0].work();
        assert!(clients.enter().is_none(), "nobody is idle");
        drop(seats);
        drop(newcomer);
        assert_eq!(clients.count(), 0);
        assert!(clients.table.borrow().idle.is_empty());
        assert_eq!(clients.table.borrow().refused, 2);
    }
}
