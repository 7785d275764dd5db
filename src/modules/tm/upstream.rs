//! What goes back to the caller: relayed responses, the best of a fork, and errors made here
//! (RFC 3261 §16.7).

use std::rc::Rc;

use crate::modules::dialog::{self, life};
use crate::modules::state::Env;
use crate::modules::work::Bytes;
use crate::sip::param::Values;
use crate::sip::{Edits, HeaderName, Message, Press, Span, status};
use crate::slab::Key;

use super::branch::{self, Which};
use super::fork::{self, Candidate};
use super::serve::{self, Outgoing};
use super::transaction::{Stored, Transaction};

/// Passes a response on: without our Via, with the changes its routes made. False: the
/// transaction may not send it any more.
pub fn relay(env: &mut Env<'_>, key: Key, response: &Message, edits: &Edits) -> bool {
    let number = env.state.tm.get(key).map(|t| t.request.cseq().number);
    let bytes = without_our_via(&mut env.state.press, response, edits, number);
    let sent = serve::send(
        env,
        key,
        Outgoing {
            status: response.status(),
            bytes,
        },
    );
    env.state.counters.responses_relayed += u64::from(sent);
    env.state.counters.answers_relayed += u64::from(sent);
    sent
}

/// §16.7 step 3: the topmost Via value is ours and goes; and the CSeq becomes that of the request
/// as it came in, if a dialog has raised it.
pub fn without_our_via(
    press: &mut Press,
    response: &Message,
    edits: &Edits,
    number: Option<u32>,
) -> Bytes {
    press.clear();
    remove_top_via(response, &mut press.edits);
    if let Some(number) = number.filter(|number| *number != response.cseq().number) {
        dialog::request::restored(response, number, &mut press.edits);
    }
    press.edits.extend_from(edits);
    press.edits.apply(response.bytes(), &mut press.out);
    Bytes::from(&press.out[..])
}

fn remove_top_via(response: &Message, edits: &mut Edits) {
    let Some(header) = response.first(HeaderName::Via) else {
        return;
    };
    // Behind the topmost value stands the end of its field, unless that has several.
    let rest = Span {
        start: response.top_via().value.end,
        end: header.value.end,
    };
    let second = Values::new(response.bytes(), rest).next();
    match second {
        // Several values in one header field: up to the beginning of the next.
        Some(second) => edits.remove(Span {
            start: response.top_via().value.start,
            end: second.start,
        }),
        None => edits.remove(header.line),
    }
}

/// What is to be done when a branch has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Others may still answer, or the caller has been answered already.
    Wait,
    /// All have failed; this branch's failure is the best.
    Failed {
        /// Index of the branch.
        best: u8,
        /// Its status.
        status: u16,
    },
}

/// Looks at the branches after one has failed. A 6xx has the others cancelled (§16.7 step 5).
pub fn decide(env: &mut Env<'_>, key: Key, failed: u8) -> Decision {
    let penalty = env.state.setup.config.tm.faked_reply_prio;
    let says_why = env.state.setup.config.tm.local_cancel_reason;
    let blocks = !env.state.setup.config.tm.disable_6xx_block;
    let Some(t) = env.state.tm.get_mut(key) else {
        return Decision::Wait;
    };
    if t.server.is_final() {
        return Decision::Wait;
    }
    let status = t.branches.get(usize::from(failed)).map_or(0, |b| b.status);
    if t.has_pending() {
        if status >= 600 && blocks && !t.plan.no_6xx_block {
            if says_why {
                t.cancel_reason = format!("Reason: SIP;cause={status}\r\n")
                    .into_bytes()
                    .into();
            }
            let answered = branch::cancel(env, key, Which::Others(failed));
            mark_cancelled(env, key, &answered);
            let is_over = env.state.tm.get(key).is_some_and(|t| !t.has_pending());
            return if is_over {
                decide(env, key, failed)
            } else {
                Decision::Wait
            };
        }
        return Decision::Wait;
    }
    let kept: Vec<usize> = (t.leg_start..t.branches.len())
        .filter(|index| !t.branches[*index].is_forgotten)
        .collect();
    let candidates = kept.iter().map(|index| Candidate {
        status: t.branches[*index].status,
        is_local: t.branches[*index].is_local,
    });
    match fork::best(candidates, penalty) {
        Some(index) => {
            let best = kept[index];
            Decision::Failed {
                best: best as u8,
                status: t.branches[best].status,
            }
        }
        None => Decision::Wait,
    }
}

/// Branches that `cancel_b_method` 0 gave up at once count as answered 487.
pub fn mark_cancelled(env: &mut Env<'_>, key: Key, indexes: &[u8]) {
    for &index in indexes {
        let id = crate::timer::Branch {
            transaction: key,
            index,
        };
        branch::step(env, id, super::client::Event::FinalTimeout, None);
        if let Some(t) = env.state.tm.get_mut(key) {
            t.branches[usize::from(index)].status = 487;
            t.branches[usize::from(index)].is_local = true;
        }
    }
}

/// §9.1, §16.10: gives up every branch that has no final answer; when none has been asked at all,
/// the caller is answered here.
pub fn cancel(env: &mut Env<'_>, key: Key) {
    let answered = branch::cancel(env, key, Which::All);
    mark_cancelled(env, key, &answered);
    let is_over = env.state.tm.get(key).is_some_and(|t| !t.has_pending());
    if is_over {
        serve::reply(env, key, 487, b"Request canceled", &[]);
    }
}

/// The response that [`send_best`] would pass on, and how it would look; `None`: that would be one
/// of our own.
pub fn best_response(env: &mut Env<'_>, key: Key, best: u8) -> Option<(Rc<Message>, Bytes)> {
    let config = &env.state.setup.config.tm;
    let t = env.state.tm.get(key)?;
    let branch = t.branches.get(usize::from(best))?;
    let is_made_here = match branch.status {
        401 | 407 => config.aggregate_challenges && challenged(t) > 1,
        503 => config.remap_503_500,
        _ => false,
    };
    let stored = branch.response.as_ref().filter(|_| !is_made_here)?;
    let number = Some(t.request.cseq().number);
    let press = &mut env.state.press;
    let bytes = without_our_via(press, &stored.message, &stored.edits, number);
    Some((Rc::clone(&stored.message), bytes))
}

/// Sends the failure of this branch upstream: its response, or one of our own when the branch
/// has none or the response must not leave this hop.
pub fn send_best(env: &mut Env<'_>, key: Key, best: u8) {
    let remaps = env.state.setup.config.tm.remap_503_500;
    let aggregates = env.state.setup.config.tm.aggregate_challenges;
    let Some(t) = env.state.tm.get_mut(key) else {
        return;
    };
    let status = t.branches[usize::from(best)].status;
    if aggregates && matches!(status, 401 | 407) && challenged(t) > 1 {
        let challenges = all_challenges(t);
        serve::reply(
            env,
            key,
            status,
            status::reason(status).as_bytes(),
            &challenges,
        );
        return;
    }
    let Some(t) = env.state.tm.get_mut(key) else {
        return;
    };
    match t.branches[usize::from(best)].response.take() {
        // §16.7 step 6: a 503 says that the next hop is overloaded, which is our business.
        Some(_) if status == 503 && remaps => {
            serve::reply(env, key, 500, b"Service Unavailable", &[]);
        }
        Some(Stored { message, edits }) => {
            if relay(env, key, &message, &edits) {
                life::replied(
                    env,
                    key,
                    life::Reply {
                        status,
                        message: Some(&message),
                        flow: None,
                    },
                );
            }
        }
        None => {
            fail(env, key, status);
        }
    }
}

/// Answers with a failure made here. RFC 4320 §4.1: nobody is helped by a 408 to a non-INVITE,
/// which would come when the caller has given up too.
pub fn fail(env: &mut Env<'_>, key: Key, status: u16) {
    let Some(t) = env.state.tm.get(key) else {
        return;
    };
    if status == 408 && !t.is_invite {
        serve::finish_unanswered(env, key);
        return;
    }
    serve::reply(env, key, status, local_reason(status).as_bytes(), &[]);
}

/// The phrases of failures made here; the well-known ones are the original's.
pub fn local_reason(status: u16) -> &'static str {
    match status {
        476 => "Unresolvable destination (476/TM)",
        477 => "Unfortunately error on sending to next hop occurred (477/TM)",
        478 => "Unresolvable destination (478/TM)",
        487 => "Request canceled",
        other => status::reason(other),
    }
}

fn challenged(t: &Transaction) -> usize {
    t.leg()
        .iter()
        .filter(|b| matches!(b.status, 401 | 407) && b.response.is_some())
        .count()
}

/// §16.7 step 7: every challenge of every branch.
fn all_challenges(t: &Transaction) -> Vec<u8> {
    let mut lines = vec![];
    let responses = t.leg().iter().filter(|b| matches!(b.status, 401 | 407));
    for stored in responses.filter_map(|b| b.response.as_ref()) {
        let message: &Rc<Message> = &stored.message;
        for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
            for header in message.all(name) {
                lines.extend_from_slice(header.line.of(message.bytes()));
            }
        }
    }
    lines
}
