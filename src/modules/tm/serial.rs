//! Serial forking (RFC 3261 §16.6: the target set by preference), and what a failure route does
//! with the failures of earlier branches.

use crate::effect::Level;
use crate::modules::entry::{NO, YES, function, optional, truth};
use crate::modules::work::Target;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};

const REQUEST_FAILURE: RouteKinds = RouteKinds::REQUEST.or(RouteKinds::FAILURE);

pub(super) const FUNCTIONS: [Function; 4] = [
    optional(
        function(
            "t_load_contacts",
            &[ParamKind::Int],
            REQUEST_FAILURE,
            (
                load,
                "Keeps the target set for t_next_contacts, the highest q first.",
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

/// The original needs an AVP to keep the targets in; here its name says only that it is wanted.
fn is_wanted(call: &mut Call<'_>) -> bool {
    let is_set = !call.env.state.setup.config.tm.contacts_avp.is_empty();
    if !is_set {
        let text = "t_load_contacts() and t_next_contacts() need the parameter contacts_avp";
        call.env.log(Level::Err, text);
    }
    is_set
}

fn load(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if !is_wanted(call) {
        return NO;
    }
    if call.work.appended.is_empty() {
        // One target, which is in force already.
        return YES;
    }
    let mut first = call.work.target.clone();
    first.uri = Some(call.work.uri().into());
    let mut all = vec![first];
    all.append(&mut call.work.appended);
    // A stack with the highest q on top; without q is lowest, and among equals the order of the
    // set stays.
    all.reverse();
    all.sort_by_key(rank);
    call.work.avps.contacts = all;
    YES
}

fn rank(target: &Target) -> i32 {
    target.q.map_or(-1, i32::from)
}

fn next(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if !is_wanted(call) {
        return NO;
    }
    let work = &mut *call.work;
    let Some(first) = work.avps.contacts.pop() else {
        return Outcome::Return(-2);
    };
    work.appended.clear();
    while work.avps.contacts.last().is_some_and(|t| t.q == first.q) {
        work.appended.extend(work.avps.contacts.pop());
    }
    work.target = first;
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
