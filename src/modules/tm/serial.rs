//! Serial forking (RFC 3261 §16.6: the target set by preference), and what a failure route does
//! with the failures of earlier branches.

use std::sync::Arc;

use crate::effect::Level;
use crate::modules::entry::{NO, YES, function, optional, truth};
use crate::modules::pv::avp::Stored;
use crate::modules::pv::xavp::Record;
use crate::modules::setup::Setup;
use crate::modules::work::{Bytes, Target};
use crate::modules::{Call, Function};
use crate::rng::Rng;
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::Uri;

use super::Config;

/// In the field `q_flag`: what is below it is of another group.
const Q_FLAG: i64 = 4;

const REQUEST_FAILURE: RouteKinds = RouteKinds::REQUEST.or(RouteKinds::FAILURE);

pub(super) const FUNCTIONS: [Function; 4] = [
    optional(
        function(
            "t_load_contacts",
            &[ParamKind::Int],
            REQUEST_FAILURE,
            (
                load,
                "Keeps the targets for t_next_contacts: 0 by q; 1 one by one, drawn by the \
                 weight of q.",
            ),
        ),
        0,
    ),
    function(
        "t_next_contacts",
        &[],
        REQUEST_FAILURE,
        (
            next,
            "Makes the next group of one q the target set; -2: none is left.",
        ),
    ),
    optional(
        function(
            "t_drop_replies",
            &[ParamKind::Const],
            RouteKinds::FAILURE,
            (
                drop_replies,
                "Forgets failures: a of all branches, l of the last leg, n of none.",
            ),
        ),
        0,
    ),
    function(
        "t_set_no_e2e_cancel_reason",
        &[ParamKind::Int],
        REQUEST_FAILURE
            .or(RouteKinds::BRANCH)
            .or(RouteKinds::ONREPLY),
        (
            |c, h, s| {
                let on = s.int(0, c, h).unwrap_or(0) != 0;
                super::functions::plan(c, |p| p.no_cancel_reason = on);
                YES
            },
            "The Reason of a received CANCEL is not passed on.",
        ),
    ),
];

/// Without an XAVP there is nowhere to keep targets.
fn is_wanted(call: &mut Call<'_>) -> bool {
    let is_set = !call.env.state.setup.config.tm.contacts_avp.is_empty();
    if !is_set {
        let text = "t_load_contacts() and t_next_contacts() need the parameter contacts_avp";
        call.env.log(Level::Err, text);
    }
    is_set
}

fn load(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    if !is_wanted(call) {
        return NO;
    }
    if call.work.appended.is_empty() {
        // One target, which is in force already.
        return YES;
    }
    let is_draw = site.int(0, call, heap) == Some(1);
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.tm;
    let mut first = call.work.target.clone();
    first.uri = Some(call.work.uri().into());
    let mut all = vec![first];
    all.append(&mut call.work.appended);
    // What belongs to each of them stands in the order of the set, the newest record first.
    let mut beside = |_: &Target| call.work.avps.take_record(config.xavp_contact.as_bytes());
    let mut all: Vec<_> = all.into_iter().map(|t| (beside(&t), t)).collect();
    if is_draw {
        all = drawn(all, &mut call.env.state.rng);
    } else {
        all.sort_by_key(|(_, target)| rank(target));
    }
    // A stack: what is tried first comes last.
    let mut below = None;
    for (record, target) in all {
        let ends_group = below.is_some_and(|below| is_draw || below != rank(&target));
        below = Some(rank(&target));
        let mut kept = written(config, &setup, (&target, ends_group));
        kept.beside = record.map(Box::new);
        if !call.work.avps.put_record(kept) {
            return NO;
        }
    }
    YES
}

/// Every target a group of its own, in an order that is drawn by the weight of q (mode 1); what
/// has no weight comes last. The first to be tried is the last of the result.
fn drawn<T>(mut all: Vec<(T, Target)>, rng: &mut Rng) -> Vec<(T, Target)> {
    let weight = |(_, target): &(T, Target)| u32::from(target.q.unwrap_or(0));
    let mut order = Vec::with_capacity(all.len());
    loop {
        let total: u32 = all.iter().map(weight).sum();
        if total == 0 {
            break;
        }
        let mut left = rng.below(total);
        let at = all.iter().position(|one| {
            let is_it = left < weight(one);
            left = left.saturating_sub(weight(one));
            is_it
        });
        order.push(all.remove(at.unwrap_or(0)));
    }
    order.append(&mut all);
    order.reverse();
    order
}

fn rank(target: &Target) -> i32 {
    target.q.map_or(-1, i32::from)
}

/// A target as the original keeps it; scripts read and write such records, too.
fn written(config: &Config, setup: &Setup, (target, ends_group): (&Target, bool)) -> Record {
    let text = |bytes: &Bytes| Stored::Text((**bytes).into());
    let mut fields = Vec::with_capacity(6);
    fields.extend(target.uri.as_ref().map(|uri| ("uri", text(uri))));
    fields.extend(target.next_hop.as_ref().map(|uri| ("dst_uri", text(uri))));
    if let Some(socket) = target.socket {
        let name = setup.address(socket).to_string().into_bytes();
        fields.push(("sock", Stored::Text(name.into())));
    }
    fields.extend(target.instance.as_ref().map(|i| ("instance", text(i))));
    fields.push(("flags", Stored::Int(target.flags.into())));
    fields.push(("q_flag", Stored::Int(if ends_group { Q_FLAG } else { 0 })));
    Record::new(config.contacts_avp.as_bytes(), &fields)
}

/// The same read back. `None`: it has no URI.
fn read(setup: &Setup, record: &Record) -> Option<Target> {
    let text = |name: &[u8]| match record.field(name)? {
        Stored::Text(text) => Some(Bytes::from(&text[..])),
        Stored::Int(_) => None,
    };
    let number = |name: &[u8]| match record.field(name) {
        Some(Stored::Int(n)) => *n,
        Some(Stored::Text(_)) | None => 0,
    };
    let uri = text(b"uri").filter(|uri| Uri::parse(uri).is_ok())?;
    Some(Target {
        uri: Some(uri),
        next_hop: text(b"dst_uri"),
        socket: text(b"sock").and_then(|name| setup.socket_written(&name)),
        q: None,
        flags: number(b"flags") as u32,
        instance: text(b"instance"),
    })
}

fn next(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if !is_wanted(call) {
        return NO;
    }
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.tm;
    let (mut group, mut later) = (Vec::new(), Vec::new());
    while let Some(record) = call.work.avps.take_record(config.contacts_avp.as_bytes()) {
        let ends_group = record.field(b"q_flag") == Some(&Stored::Int(Q_FLAG));
        let Some(target) = read(&setup, &record) else {
            let text = "t_next_contacts(): a record without a usable uri is left out";
            call.env.log(Level::Err, text);
            continue;
        };
        let is_again = target.instance.is_some()
            && group
                .iter()
                .any(|(t, _): &(Target, _)| t.instance == target.instance);
        if is_again && !config.contact_flows_avp.is_empty() {
            later.push(record.renamed(config.contact_flows_avp.as_bytes()));
        } else {
            group.push((target, record.beside));
        }
        if ends_group {
            break;
        }
    }
    if group.is_empty() {
        return Outcome::Return(-2);
    }
    let work = &mut *call.work;
    let mut fits = later.into_iter().all(|record| work.avps.put_record(record));
    // As the original: the record of the first comes back, those of the others do not.
    if let Some(record) = group[0].1.take() {
        fits &= work.avps.put_record(*record);
    }
    let mut targets: Vec<Target> = group.into_iter().map(|(target, _)| target).collect();
    work.target = targets.remove(0);
    work.appended = targets;
    work.appended.iter_mut().for_each(|t| t.q = Some(0));
    truth(fits)
}

/// The next contact of the device whose flow has failed (RFC 5626 §5.3).
pub(super) fn next_flow(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let setup = Arc::clone(&call.env.state.setup);
    let name = setup.config.tm.contact_flows_avp.as_bytes();
    if name.is_empty() {
        let text = "t_next_contact_flow() needs the parameter contact_flows_avp";
        call.env.log(Level::Err, text);
        return NO;
    }
    let transaction = call
        .work
        .transaction
        .and_then(|key| call.env.state.tm.get(key));
    let index = call.work.branch.map(usize::from);
    let failed = transaction.and_then(|t| Some(t.branches.get(index?)?.target.instance.clone()));
    let is_it = |record: &Record| match (record.field(b"instance"), failed.as_ref()) {
        (Some(Stored::Text(text)), Some(Some(instance))) => **text == **instance,
        // Outside of a branch-failure route nobody knows which one has failed.
        (Some(_), None) => true,
        (Some(_) | None, _) => false,
    };
    let Some(record) = call.work.avps.take_fitting(name, is_it) else {
        return Outcome::Return(-2);
    };
    let Some(target) = read(&setup, &record) else {
        return NO;
    };
    if let Some(beside) = record.beside {
        call.work.avps.put_record(*beside);
    }
    call.work.target = target;
    YES
}

fn drop_replies(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let mode = site.text(0, call, heap);
    let mode = heap.str(mode).and_then(|m| m.first().copied());
    let key = call.work.transaction;
    let Some(t) = key.and_then(|key| call.env.state.tm.get_mut(key)) else {
        return NO;
    };
    let from = match mode {
        None | Some(b'a') => 0,
        Some(b'l') => t.leg_start,
        Some(_) => t.branches.len(),
    };
    t.branches[from..]
        .iter_mut()
        .for_each(|b| b.is_forgotten = true);
    truth(true)
}
