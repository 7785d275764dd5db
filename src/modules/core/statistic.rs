//! Statistics of the core: what came in, by kind.

use crate::modules::State;
use crate::modules::counters::{Counters, WATCHED};
use crate::modules::entry;
use crate::modules::rpc::statistic::{Statistic, counter};
use crate::sip::Method;

/// All of them.
pub(super) const STATISTICS: [Statistic; entry::total(&[&SUMS, &REQUESTS, &CLASSES, &BY_METHOD])] =
    entry::join(&[&SUMS, &REQUESTS, &CLASSES, &BY_METHOD]);

const fn of_core(name: &'static str, read: fn(&State) -> u64) -> Statistic {
    counter("core", name, read)
}

const fn watched(state: &State, status: u16) -> u64 {
    let mut at = 0;
    while at < WATCHED.len() {
        if WATCHED[at] == status {
            return state.counters.watched[at];
        }
        at += 1;
    }
    0
}

fn class(state: &State, class: usize) -> u64 {
    state.counters.responses[class].iter().sum()
}

const SUMS: [Statistic; 16] = [
    of_core("rcv_requests", |s| s.counters.requests.iter().sum()),
    of_core("rcv_replies", |s| (1..7).map(|n| class(s, n)).sum()),
    of_core("rcv_replies_18x", |s| s.counters.ringing),
    of_core("rcv_replies_401", |s| watched(s, 401)),
    of_core("rcv_replies_404", |s| watched(s, 404)),
    of_core("rcv_replies_407", |s| watched(s, 407)),
    of_core("rcv_replies_480", |s| watched(s, 480)),
    of_core("rcv_replies_486", |s| watched(s, 486)),
    of_core("bad_URIs_rcvd", |s| s.counters.bad_uris),
    of_core("unsupported_methods", |s| {
        s.counters.requests[Counters::place(Method::Other)]
    }),
    of_core("fwd_requests", |s| s.counters.requests_forwarded),
    of_core("fwd_replies", |s| {
        let c = &s.counters;
        c.responses_relayed.saturating_sub(c.answers_relayed)
    }),
    of_core("bad_msg_hdr", |s| s.counters.violations),
    of_core("err_requests", |s| s.counters.parse_errors),
    of_core("drop_requests", |s| {
        let c = &s.counters;
        c.queue_drops + c.runs_refused + c.transactions_refused + c.drain_refused
    }),
    of_core("drop_replies", |s| s.counters.responses_dropped),
];

/// One row for each method: `name`, method.
macro_rules! requests {
    ($(($name:literal, $method:ident),)*) => {
        [$(of_core(concat!("rcv_requests_", $name), |s| {
            s.counters.requests[Counters::place(Method::$method)]
        }),)*]
    };
}

const REQUESTS: [Statistic; 14] = requests![
    ("ack", Ack),
    ("bye", Bye),
    ("cancel", Cancel),
    ("info", Info),
    ("invite", Invite),
    ("message", Message),
    ("notify", Notify),
    ("options", Options),
    ("prack", Prack),
    ("publish", Publish),
    ("refer", Refer),
    ("register", Register),
    ("subscribe", Subscribe),
    ("update", Update),
];

/// The responses of one class.
macro_rules! classes {
    ($(($name:literal, $class:literal),)*) => {
        [$(of_core(concat!("rcv_replies_", $name), |s| class(s, $class)),)*]
    };
}

const CLASSES: [Statistic; 6] = classes![
    ("1xx", 1),
    ("2xx", 2),
    ("3xx", 3),
    ("4xx", 4),
    ("5xx", 5),
    ("6xx", 6),
];

/// The responses of one class to the methods that are counted each for itself.
macro_rules! by_method {
    ($(($name:literal, $class:literal),)*) => {
        [$(
            of_method!($name, "bye", $class, Bye),
            of_method!($name, "cancel", $class, Cancel),
            of_method!($name, "invite", $class, Invite),
            of_method!($name, "message", $class, Message),
            of_method!($name, "prack", $class, Prack),
            of_method!($name, "refer", $class, Refer),
            of_method!($name, "reg", $class, Register),
            of_method!($name, "update", $class, Update),
        )*]
    };
}

macro_rules! of_method {
    ($class_name:literal, $name:literal, $class:literal, $method:ident) => {
        of_core(concat!("rcv_replies_", $class_name, "_", $name), |s| {
            s.counters.responses[$class][Counters::place(Method::$method)]
        })
    };
}

const BY_METHOD: [Statistic; 48] = by_method![
    ("1xx", 1),
    ("2xx", 2),
    ("3xx", 3),
    ("4xx", 4),
    ("5xx", 5),
    ("6xx", 6),
];
