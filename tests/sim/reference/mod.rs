//! A naive stateful proxy with the door of a shard, to prove the simulator itself.
//!
//! It does what `sim.cfg` says, in the plainest way: whole messages taken apart and put together,
//! every timer found by looking at everything. With it, user agents, network and oracle can be
//! shown to work before and beside the product, and with a [`Fault`] planted in it, each law of
//! the oracle can be shown to be able to fail. It repeats no CANCEL and knows no failure route.
//! `transaction.rs` holds one transaction and its branches.

mod transaction;

use std::collections::BTreeMap;

use dialcore::effect::{Destination, Effect, Flow, Outbox, Proto, Send, SocketId, Token};
use dialcore::rng::Rng;
use dialcore::shard::Input;
use dialcore::slab::Key;
use dialcore::steer::ShardId;
use dialcore::time::{Instant, Now};
use dialcore::timer::Timer;

use crate::scenario::PROXY;
use crate::sip::{self, Sip};
use transaction::Transaction;

/// One way to be wrong, each the counterpart of a law.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A second, other final response behind each one.
    DoublesFinal,
    /// Waits for a silent callee without end, and forgets the transaction.
    NeverTimesOut,
    /// Rings by itself.
    InventsRinging,
    /// Changes the body.
    TouchesBody,
    /// Changes an identifier.
    TouchesFrom,
    /// Leaves its own Via in responses.
    KeepsVia,
    /// Takes all Vias out of responses.
    LosesVias,
    /// One branch for everything.
    ReusesBranch,
    /// Does not count Max-Forwards.
    KeepsForwards,
    /// Takes a retransmission for a new request.
    AbsorbsNothing,
    /// Lets the final response overtake what rings.
    Reorders,
    /// Forwards the ACK to a negative response.
    LeaksAck,
    /// Sends CANCEL on branches that have said nothing.
    CancelsEarly,
    /// Does not cancel the other branches.
    LetsLosersRing,
    /// Does not record the route.
    RecordsNoRoute,
    /// Writes a first line that is none.
    Garbles,
    /// Keeps its transactions for ever.
    KeepsTransactions,
    /// Says something when there is nothing to say.
    SpeaksAtRest,
}

/// One shard of the naive proxy.
pub struct Reference {
    id: ShardId,
    rng: Rng,
    fault: Option<Fault>,
    transactions: BTreeMap<u32, Transaction>,
    next: u32,
    /// What [`Fault::Reorders`] holds back.
    held: Vec<(Destination, Vec<u8>)>,
}

impl Reference {
    /// An empty shard.
    pub fn new(id: ShardId, seed: u64, fault: Option<Fault>) -> Reference {
        Reference {
            id,
            rng: Rng::new(seed),
            fault,
            transactions: BTreeMap::new(),
            next: 0,
            held: vec![],
        }
    }

    /// The only way in.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) {
        let now = now.mono;
        match input {
            Input::Received { flow, bytes } => {
                if let Some(sip) = Sip::read(bytes).filter(|s| !s.branch().is_empty()) {
                    match sip.status() {
                        None => self.on_request(now, flow, sip, out),
                        Some(status) => self.on_response(now, sip, status, out),
                    }
                }
            }
            Input::Resolved(Token::Run(key), hops) => {
                self.on_resolved(now, key, hops.unwrap_or_default(), out)
            }
            Input::SendFailed(Token::Run(key), _) => self.fail_branch(now, key, 477, out),
            Input::Resolved(Token::Branch(_) | Token::Local(_) | Token::Destination(_), _)
            | Input::SendFailed(Token::Branch(_) | Token::Local(_) | Token::Destination(_), _) => {
                unreachable!("the reference names all that it asks as runs")
            }
            Input::Reload(_) | Input::Routed(..) | Input::Executed(..) => {}
            Input::Deadline => self.on_deadline(now, out),
            Input::FlowClosed(_)
            | Input::Peer(..)
            | Input::Rpc(_)
            | Input::Found(..)
            | Input::Http { .. } => {}
            Input::Steered { .. } => unreachable!("the world finds the owners"),
            Input::Refused { .. } => unreachable!("the world is never too busy"),
            Input::Drain => {
                if self.is(Fault::SpeaksAtRest) {
                    let to = Destination::to(SocketId(0), Proto::Udp, PROXY);
                    self.emit(to, b"still here".to_vec(), None, out);
                }
            }
        }
    }

    /// When to come back.
    pub fn next_deadline(&self) -> Option<(Instant, Timer)> {
        let due = |(&id, t): (&u32, &Transaction)| Some((t.deadline()?, id));
        let (at, id) = self.transactions.iter().filter_map(due).min()?;
        Some((at, Timer::Wait(token(id, 0))))
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.transactions.is_empty()
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn on_request(&mut self, now: Instant, flow: Flow, sip: Sip, out: &mut Outbox) {
        let known = match self.is(Fault::AbsorbsNothing) {
            true => None,
            false => self.find_server(&sip),
        };
        match (sip.method(), known) {
            ("ACK", Some(id)) if self.transactions[&id].is_refused() => {
                if self.is(Fault::LeaksAck) {
                    self.leak(id, &sip, out);
                }
                self.transactions
                    .get_mut(&id)
                    .expect("found above")
                    .acknowledge(now);
            }
            ("ACK", _) => self.forward_ack(sip, out),
            ("CANCEL", Some(id)) => self.on_cancel(id, flow, &sip, out),
            ("CANCEL", None) => {}
            (_, Some(id)) => self.say_again(id, out),
            (_, None) => self.on_new_request(now, flow, sip, out),
        }
    }

    /// The server transaction of a request; ACK and CANCEL belong to an INVITE.
    fn find_server(&self, sip: &Sip) -> Option<u32> {
        let method = match sip.method() {
            "ACK" | "CANCEL" => "INVITE",
            method => method,
        };
        let via = |s: &Sip| sip::sent_by(s.first("Via"));
        let is_it = |(_, t): &(&u32, &Transaction)| {
            let r = &t.request;
            r.method() == method
                && r.branch() == sip.branch()
                && r.cseq() == sip.cseq()
                && via(r) == via(sip)
        };
        self.transactions.iter().find(is_it).map(|(&id, _)| id)
    }

    fn on_new_request(&mut self, now: Instant, flow: Flow, sip: Sip, out: &mut Outbox) {
        let id = self.next;
        self.next += 1;
        let mut transaction = Transaction::new(flow, sip);
        if transaction.has_no_target() {
            return self.reply(&mut transaction, 404, Some("nowhere"), out);
        }
        if transaction.request.method() == "INVITE" {
            self.reply(&mut transaction, 100, None, out);
            if self.is(Fault::InventsRinging) {
                self.reply(&mut transaction, 180, Some("invented"), out);
            }
        }
        self.transactions.insert(id, transaction);
        self.try_targets(now, id, out);
    }

    /// Answers by itself.
    fn reply(
        &mut self,
        transaction: &mut Transaction,
        status: u16,
        tag: Option<&str>,
        out: &mut Outbox,
    ) {
        let bytes = Sip::response(&transaction.request, status, tag).write();
        transaction.last = Some(bytes.clone());
        self.emit(Destination::along(transaction.flow), bytes, None, out);
    }

    fn say_again(&mut self, id: u32, out: &mut Outbox) {
        let transaction = &self.transactions[&id];
        let to = Destination::along(transaction.flow);
        if let Some(bytes) = transaction.last.clone() {
            self.emit(to, bytes, None, out);
        }
    }

    fn on_cancel(&mut self, id: u32, flow: Flow, sip: &Sip, out: &mut Outbox) {
        let reply = Sip::response(sip, 200, Some("cancelled")).write();
        self.emit(Destination::along(flow), reply, None, out);
        let transaction = self.transactions.get_mut(&id).expect("found by the caller");
        transaction.is_cancelled = true;
        self.cancel_branches(id, out);
    }

    /// The ACK to a 2xx goes on without a transaction.
    fn forward_ack(&mut self, mut sip: Sip, out: &mut Outbox) {
        if let Some(to) = transaction::next_hop(&mut sip) {
            let branch = self.mint_branch();
            transaction::add_hop(&mut sip, to.proto, &branch, !self.is(Fault::KeepsForwards));
            self.emit(to, sip.write(), None, out);
        }
    }

    /// What [`Fault::LeaksAck`] does: the ACK goes where the INVITE went.
    fn leak(&mut self, id: u32, sip: &Sip, out: &mut Outbox) {
        let to = self.transactions[&id].branches.first().and_then(|b| b.to);
        if let Some(to) = to {
            let mut sip = sip.clone();
            let branch = self.mint_branch();
            transaction::add_hop(&mut sip, to.proto, &branch, true);
            self.emit(to, sip.write(), None, out);
        }
    }

    fn mint_branch(&mut self) -> String {
        match self.is(Fault::ReusesBranch) {
            true => "z9hG4bKalways".into(),
            false => format!("z9hG4bK{}.{:x}", self.id, self.rng.next_u64()),
        }
    }

    fn emit(&mut self, to: Destination, mut bytes: Vec<u8>, token: Option<Key>, out: &mut Outbox) {
        if self.is(Fault::Garbles) && bytes.starts_with(b"SIP/2.0 180") {
            bytes[..11].copy_from_slice(b"SIP/2.0 abc");
        }
        if self.is(Fault::Reorders) && bytes.starts_with(b"SIP/2.0 180") {
            return self.held.push((to, bytes));
        }
        out.push(Effect::Send(Send {
            to,
            bytes: bytes.into(),
            token: token.map(Token::Run),
        }));
        for (_, bytes) in self.held.extract_if(.., |(held_to, _)| *held_to == to) {
            out.push(Effect::Send(Send {
                to,
                bytes: bytes.into(),
                token: None,
            }));
        }
    }
}

fn token(transaction: u32, branch: usize) -> Key {
    Key::from_u64(u64::from(transaction) << 32 | branch as u64)
}
