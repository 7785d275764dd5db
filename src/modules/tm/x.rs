//! `tmx`: further functions of transactions, and their variables.

use crate::modules::entry::{
    NO, YES, formatted, function, join, keyed, param, total, truth, variable, word,
};
use crate::modules::{Call, Function, Module, Param, Variable};
use crate::script::{
    Access, CallSite, Heap, InnerKind, Outcome, ParamKind, ParamType, RouteKind, RouteKinds, Text,
    Value,
};
use crate::sip::Method;

use super::branch::{self, Which};
use super::upstream;
use super::{Key, Transaction};

/// The module's table.
pub const MODULE: Module = Module {
    name: "tmx",
    doc: "More of transactions.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    statistics: &super::statistic::STATISTICS,
    ..crate::modules::EMPTY
};

const PARAMS: [Param; 1] = [param(
    "precheck_trans",
    ParamType::Int,
    "1",
    (
        |_, _| Ok(()),
        "No effect: nobody else processes the same request, so t_precheck_trans never finds one.",
    ),
)];

const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;

const FUNCTIONS: [Function; total(&PARTS)] = join(&PARTS);

const PARTS: [&[Function]; 2] = [&OWN, &super::order::FUNCTIONS];

const OWN: [Function; 9] = [
    function(
        "t_precheck_trans",
        &[],
        REQUEST,
        (precheck, "Whether the request is being processed."),
    ),
    function(
        "t_cancel_branches",
        &[ParamKind::Const],
        RouteKinds::ONREPLY.or(RouteKinds::REPLY),
        (cancel, "Cancels all, others or this."),
    ),
    function(
        "t_is_failure_route",
        &[],
        ANY,
        (
            |c, _, _| is(c, RouteKind::Failure),
            "Whether it runs in one.",
        ),
    ),
    function(
        "t_is_branch_route",
        &[],
        ANY,
        (
            |c, _, _| is(c, RouteKind::Branch),
            "Whether it runs in one.",
        ),
    ),
    function(
        "t_is_reply_route",
        &[],
        ANY,
        (is_reply, "Whether it runs in one."),
    ),
    function(
        "t_is_request_route",
        &[],
        ANY,
        (
            |c, _, _| is(c, RouteKind::Request),
            "Whether it runs in one.",
        ),
    ),
    function(
        "t_flush_flags",
        &[],
        ANY,
        (flush_flags, "Gives the flags to the transaction."),
    ),
    function(
        "t_flush_xflags",
        &[],
        ANY,
        (flush_flags, "Gives the flags to the transaction."),
    ),
    function(
        "t_reuse_branch",
        &[],
        RouteKinds::REQUEST,
        (
            reuse_branch,
            "Makes the failed branch the target once more.",
        ),
    ),
];

const VARIABLES: [Variable; 10] = [
    variable(
        "T_branch_idx",
        branch_index,
        "The branch, from 0; in a failure route their number, -1 where there is none.",
    ),
    variable(
        "T_reply_code",
        |c, _, _| reply_code(c),
        "The status: chosen, received or sent.",
    ),
    variable("T_reply_reason", reply_reason, "Its phrase."),
    variable(
        "T_reply_last",
        |c, _, _| last_reply(c),
        "The last status received on a branch.",
    ),
    variable(
        "T_reply_ruid",
        |_, _, _| Value::Str(Text::EMPTY),
        "The binding of the branch: there are none.",
    ),
    keyed(
        "T_req",
        InnerKind::Variable,
        request,
        "A variable of the transaction's request.",
    ),
    keyed(
        "T_rpl",
        InnerKind::Variable,
        response,
        "A variable of the chosen response.",
    ),
    keyed(
        "T_inv",
        InnerKind::Variable,
        invite,
        "A variable of the INVITE that a CANCEL is about.",
    ),
    keyed(
        "T",
        InnerKind::OneOf(&ATTRIBUTES),
        attribute,
        "What the transaction is.",
    ),
    keyed(
        "T_branch",
        InnerKind::OneOf(&["flags", "uri", "ruid"]),
        branch_attribute,
        "What the branch is.",
    ),
];

const ATTRIBUTES: [&str; 11] = [
    "id_index",
    "id_label",
    "id_index_n",
    "id_label_n",
    "reply_code",
    "reply_type",
    "branch_index",
    "method",
    "ruid",
    "id",
    "reply_reason",
];

/// The transaction at work, or the one that the message belongs to.
fn key(call: &Call<'_>) -> Option<Key> {
    let (work, tm) = (&call.work, &call.env.state.tm);
    work.transaction.or_else(|| match work.kind {
        RouteKind::Request => match work.message.method() {
            Method::Ack => tm.find(&work.message, Method::Invite),
            method => tm.find(&work.message, method),
        },
        RouteKind::Reply => Some(tm.find_branch(&work.message)?.branch.transaction),
        _ => None,
    })
}

fn transaction<'a>(call: &'a Call<'_>) -> Option<&'a Transaction> {
    call.env.state.tm.get(key(call)?)
}

fn is(call: &Call<'_>, kind: RouteKind) -> Outcome {
    truth(call.work.kind == kind)
}

fn is_reply(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    truth(matches!(
        call.work.kind,
        RouteKind::Reply | RouteKind::Onreply
    ))
}

/// One core owns the call and works on its messages one after the other: never at the same time.
fn precheck(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let is_ack = call.work.message.method() == crate::sip::Method::Ack;
    Outcome::Return(if is_ack { -2 } else { -1 })
}

fn cancel(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let which = site.text(0, call, heap);
    let here = call.work.branch.unwrap_or(0);
    let which = match heap.str(which) {
        Some(b"all") => Which::All,
        Some(b"others") => Which::Others(here),
        Some(b"this") => Which::One(here),
        _ => return NO,
    };
    let Some(key) = call.work.transaction else {
        return NO;
    };
    let answered = branch::cancel(&mut call.env, key, which);
    upstream::mark_cancelled(&mut call.env, key, &answered);
    YES
}

fn flush_flags(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let flags = call.work.flags;
    let key = call.work.transaction;
    match key.and_then(|key| call.env.state.tm.get_mut(key)) {
        Some(t) => {
            t.saved.flags = flags;
            truth(true)
        }
        None => truth(false),
    }
}

/// The next relay serves what the failed branch was sent for (`tm:branch-failure`).
fn reuse_branch(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    let index = call.work.branch.map(usize::from);
    let target = index.and_then(|i| Some(transaction(call)?.branches.get(i)?.target.clone()));
    match target {
        Some(target) => {
            call.work.target = target;
            YES
        }
        None => NO,
    }
}

fn branch_index(call: &mut Call<'_>, _: &mut Heap, _: &Access<'_>) -> Value {
    let count = transaction(call).map_or(0, |t| t.branches.len() as i64);
    match call.work.kind {
        RouteKind::Branch | RouteKind::Onreply => call
            .work
            .branch
            .map_or(Value::Null, |index| Value::Int(index.into())),
        RouteKind::Failure => Value::Int(count),
        RouteKind::Reply | RouteKind::Onsend => Value::Int(-1),
        RouteKind::Request => Value::Int(0),
        RouteKind::Event => Value::Int(call.work.branch.map_or(0, i64::from)),
    }
}

fn reply_code(call: &Call<'_>) -> Value {
    let status = match call.work.kind {
        RouteKind::Reply | RouteKind::Onreply | RouteKind::Onsend => call.work.message.status(),
        RouteKind::Failure | RouteKind::Event => call.work.reply_status,
        RouteKind::Request | RouteKind::Branch => {
            let sent = transaction(call).and_then(|t| t.last_reply.as_ref());
            sent.map_or(0, |reply| reply.status)
        }
    };
    Value::Int(status.into())
}

fn reply_reason(call: &mut Call<'_>, heap: &mut Heap, _: &Access<'_>) -> Value {
    if !call.work.message.is_request() {
        return heap.string(call.work.message.reason());
    }
    let status = call.work.reply_status;
    match chosen(call) {
        Some(message) => heap.string(message.reason()),
        None if status > 0 => heap.string(upstream::local_reason(status).as_bytes()),
        None => Value::Str(Text::EMPTY),
    }
}

/// The response that a failure route is about, if it came from outside.
fn chosen(call: &Call<'_>) -> Option<std::rc::Rc<crate::sip::Message>> {
    let index = usize::from(call.work.branch?);
    let stored = transaction(call)?.branches.get(index)?.response.as_ref()?;
    Some(std::rc::Rc::clone(&stored.message))
}

fn last_reply(call: &Call<'_>) -> Value {
    let index = call.work.branch.map(usize::from);
    let branch = index.and_then(|i| transaction(call)?.branches.get(i));
    match (branch, call.work.kind) {
        (Some(branch), RouteKind::Onreply) => Value::Int(branch.status.into()),
        _ => Value::Str(Text::EMPTY),
    }
}

/// Reads the inner variable of another message.
fn of_message(
    call: &mut Call<'_>,
    heap: &mut Heap,
    access: &Access<'_>,
    message: Option<std::rc::Rc<crate::sip::Message>>,
) -> Value {
    let (Some(message), crate::script::Key::Variable(inner)) = (message, access.key) else {
        return Value::Null;
    };
    let own = std::mem::replace(&mut call.work.message, message);
    let value = inner.read(call, heap);
    call.work.message = own;
    value
}

/// Of a response: in routes of requests the request is the message itself.
fn request(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let of_response = transaction(call).filter(|_| !call.work.message.is_request());
    let message = of_response.map(|t| std::rc::Rc::clone(&t.request));
    of_message(call, heap, access, message)
}

fn response(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let message = chosen(call);
    of_message(call, heap, access, message)
}

fn invite(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let (tm, message) = (&call.env.state.tm, &call.work.message);
    let is_cancel = message.is_request() && message.method() == Method::Cancel;
    let key = is_cancel
        .then(|| tm.find(message, Method::Invite))
        .flatten();
    let found = key.and_then(|key| call.env.state.tm.get(key));
    let message = found.map(|t| std::rc::Rc::clone(&t.request));
    of_message(call, heap, access, message)
}

fn attribute(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    match word(access) {
        4 => return reply_code(call),
        6 => return branch_index(call, heap, access),
        _ => {}
    }
    let Some(key) = key(call) else {
        return Value::Null;
    };
    let (index, label) = super::script_identity(call.env.state, key);
    match word(access) {
        0 | 2 => Value::Int(index),
        1 | 3 => Value::Int(label),
        5 => {
            // Whether the response that a failure route is about was made here.
            let is_own = call.work.kind == RouteKind::Failure && chosen(call).is_none();
            Value::Int(is_own.into())
        }
        7 => match transaction(call) {
            Some(t) => heap.string(t.request.method_name()),
            None => Value::Null,
        },
        8 => Value::Null,
        9 => formatted(heap, format_args!("{index}:{label}")),
        _ => reply_reason(call, heap, access),
    }
}

fn branch_attribute(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let Some((index, transaction)) = call.work.branch.zip(transaction(call)) else {
        return Value::Null;
    };
    let Some(branch) = transaction.branches.get(usize::from(index)) else {
        return Value::Null;
    };
    match word(access) {
        0 => Value::Int(branch.target.flags.into()),
        // Bindings have none.
        2 => Value::Null,
        _ if call.work.kind == RouteKind::Failure => Value::Null,
        // A target without a URI of its own has the request's.
        _ => heap.string(
            branch
                .target
                .uri
                .as_deref()
                .unwrap_or(transaction.request.uri()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, code, value};

    #[test]
    fn where_it_runs() {
        for (call, want) in [
            ("t_precheck_trans()", -1),
            ("t_is_request_route()", 1),
            ("t_is_failure_route()", -1),
            ("t_is_branch_route()", -1),
            ("t_is_reply_route()", -1),
            ("t_flush_flags()", -1),
        ] {
            assert_eq!(code(call, INVITE), want, "{call}");
        }
    }

    #[test]
    fn what_the_transaction_is() {
        for (statements, format, want) in [
            (
                "",
                "$T(id_index)|$T_req($rm)|$T_rpl($rs)|$T_inv($rm)",
                "<null>|<null>|<null>|<null>",
            ),
            (
                "t_newtran();",
                "$T(method)|$T_req($rU)|$T_branch_idx",
                "INVITE|<null>|0",
            ),
            (
                "t_newtran(); t_reply(180, \"Ringing\");",
                "$T_reply_code|$T(reply_code)",
                "180|180",
            ),
            (
                "$mf = 4; t_newtran(); $mf = 8; $var(r) = t_flush_flags();",
                "$var(r)",
                "1",
            ),
        ] {
            assert_eq!(
                value(statements, format, INVITE),
                want,
                "{statements} {format}"
            );
        }
    }
}
