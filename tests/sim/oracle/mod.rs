//! What must hold for every call, whatever the seed.
//!
//! The oracle knows nothing of the proxy's inside. It hears what each user agent sent and what
//! reached it, and which shard sent it, and compares. Each [`Law`] says when it applies: a call
//! in which somebody lies, or whose datagrams get lost, excuses the proxy from some of them.
//! `request.rs` judges requests on their arrival, `response.rs` responses.

mod request;
mod response;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use dialcore::steer::{ShardId, owner};
use dialcore::time::{Duration, Instant};

use crate::proxy::Proxy;
use crate::scenario::{PROXY, Scenario};
use crate::sip::{self, Sip};
use crate::ua::{Agent, AgentId};

/// How long the proxy remembers a transaction at least after its final response.
const MEMORY: Duration = Duration::from_secs(4);

/// One thing that must hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Law {
    /// A client transaction gets one final response: one status, one To tag. An INVITE may get
    /// several 2xx of different forks, and late ones after a negative response (RFC 3261 §16.7
    /// step 5), never a negative response after a 2xx.
    OneFinal,
    /// A client transaction of a call that nothing disturbs gets a final response.
    Answered,
    /// A response answers a request that its receiver sent; the proxy itself makes neither a
    /// 101 to 199 nor a 2xx to an INVITE.
    BelongsToRequest,
    /// What a proxy must not touch arrives as it was sent: Call-ID, CSeq, tags, From, To,
    /// Contact, unknown headers, body.
    Untouched,
    /// A response arrives with exactly the Vias that the request left with (§16.7 step 3).
    ViaRestored,
    /// A request arrives with one Via more, whose branch no other request has (§16.6 step 8).
    BranchUnique,
    /// Max-Forwards is one less (§16.6 step 3).
    ForwardsCounted,
    /// A request reaches a user agent in one transaction, not in two (§8.2.2.2).
    NotMerged,
    /// From one user agent to another, what was sent first arrives first.
    OrderKept,
    /// The ACK to a negative response stays in its hop; the ACK to a 2xx reaches who sent it.
    AckInItsHop,
    /// No CANCEL before a provisional response (§9.1).
    CancelAfterProvisional,
    /// Nobody is left ringing when the caller has a final response (§16.7 step 10).
    NobodyLeftRinging,
    /// Requests within a dialog keep to the recorded route (§16.6 step 4).
    StaysOnRoute,
    /// The owner of the Call-ID, and no other shard, sends the messages of a call.
    Steered,
    /// The proxy sends messages that can be read.
    Readable,
    /// Every dialog lives on the shard of its Call-ID, starts at most once, fails or ends exactly
    /// once, is over by its deadline, and is counted where it is: statistics and profiles are those
    /// of a recount.
    DialogsAddUp,
    /// When all calls are over, no shard holds, awaits or says anything.
    ComesToRest,
}

impl Law {
    /// The laws that any volume of calls must put to the test. The others are tested by nothing
    /// happening.
    pub const OF_CALLS: [Law; 14] = [
        Law::OneFinal,
        Law::Answered,
        Law::BelongsToRequest,
        Law::Untouched,
        Law::ViaRestored,
        Law::BranchUnique,
        Law::ForwardsCounted,
        Law::NotMerged,
        Law::OrderKept,
        Law::AckInItsHop,
        Law::CancelAfterProvisional,
        Law::NobodyLeftRinging,
        Law::StaysOnRoute,
        Law::Steered,
    ];
}

/// A law that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// In which call; empty when it is the whole run.
    pub call_id: Rc<str>,
    /// When.
    pub at: Instant,
    /// How.
    pub text: String,
}

impl Violation {
    /// Of the run as a whole.
    pub fn of_run(law: Law, at: Instant, text: String) -> Violation {
        Violation {
            law,
            call_id: "".into(),
            at,
            text,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} broken at {:?} in {:?}: {}",
            self.law, self.at, self.call_id, self.text
        )
    }
}

/// A request that a user agent sent, as it was sent first.
struct Asked {
    agent: AgentId,
    sip: Sip,
}

/// A response that a user agent sent, as it was sent first.
struct Answered {
    agent: AgentId,
    sip: Sip,
}

/// A final response that reached a user agent.
struct Final {
    at: Instant,
    agent: AgentId,
    branch: String,
    method: String,
    status: u16,
    to_tag: String,
}

/// What was sent and seen of one call.
struct Call {
    id: Rc<str>,
    is_honest: bool,
    is_strict: bool,
    is_ordered: bool,
    asked: Vec<Asked>,
    answered: Vec<Answered>,
    finals: Vec<Final>,
    /// Branches of requests on their last hop: who received them, and what they are.
    branches: BTreeMap<String, (AgentId, String)>,
    /// Requests that arrived, by receiver: the branch they came with.
    received: BTreeMap<(AgentId, String), String>,
    /// Fingerprints in the order in which each user agent first sent them.
    sent_order: BTreeMap<AgentId, Vec<String>>,
    /// Fingerprints that arrived, and the greatest place of one, for each pair.
    seen: BTreeSet<(AgentId, AgentId, String)>,
    reached: BTreeMap<(AgentId, AgentId), usize>,
}

/// The judge of a run.
pub struct Oracle {
    hop_count: usize,
    shard_count: u16,
    calls: Vec<Call>,
    by_id: BTreeMap<Rc<str>, usize>,
    violation: Option<Violation>,
    checks: BTreeMap<Law, u64>,
}

impl Oracle {
    /// The judge of a scenario; with `is_disturbed` nothing may be expected to get through.
    pub fn new(scenario: &Scenario, proxy: &Proxy, is_disturbed: bool) -> Oracle {
        let calls: Vec<Call> = scenario
            .calls
            .iter()
            .map(|plan| Call {
                id: plan.call_id.clone(),
                is_honest: plan.is_honest(),
                is_strict: plan.is_strict() && !is_disturbed,
                is_ordered: plan.is_strict() && plan.is_all_udp() && !is_disturbed,
                asked: vec![],
                answered: vec![],
                finals: vec![],
                branches: BTreeMap::new(),
                received: BTreeMap::new(),
                sent_order: BTreeMap::new(),
                seen: BTreeSet::new(),
                reached: BTreeMap::new(),
            })
            .collect();
        Oracle {
            hop_count: proxy.hop_count(),
            shard_count: proxy.shard_count(),
            by_id: calls
                .iter()
                .enumerate()
                .map(|(i, c)| (c.id.clone(), i))
                .collect(),
            calls,
            violation: None,
            checks: BTreeMap::new(),
        }
    }

    /// The first violation, if there is one.
    pub fn verdict(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }

    /// How often each law was put to the test.
    pub fn checks(&self) -> &BTreeMap<Law, u64> {
        &self.checks
    }

    /// So many things were judged elsewhere by a law.
    pub fn count(&mut self, law: Law, times: u64) {
        *self.checks.entry(law).or_default() += times;
    }

    /// A user agent sends bytes to an address.
    pub fn sent(&mut self, now: Instant, agent: AgentId, to: SocketAddr, bytes: &[u8]) {
        let Some(sip) = Sip::read(bytes) else {
            return;
        };
        let Some(&index) = self.by_id.get(sip.call_id()) else {
            return;
        };
        if sip.status().is_none() && self.hop_count > 0 && self.calls[index].is_honest {
            self.check(Law::StaysOnRoute, now, index, to == PROXY, || {
                format!("u{agent} sends {} past the proxy, to {to}", sip.label())
            });
        }
        self.calls[index].remember(agent, sip);
    }

    /// A shard sends bytes.
    pub fn emitted(&mut self, now: Instant, shard: ShardId, bytes: &[u8]) {
        let call_id = String::from_utf8_lossy(sip::call_id_of(bytes)).into_owned();
        let Some(&index) = self.by_id.get(&*call_id) else {
            return;
        };
        let owner = owner(call_id.as_bytes(), self.shard_count);
        self.check(Law::Steered, now, index, owner == shard, || {
            format!("shard {shard} sends what belongs to shard {owner}")
        });
    }

    /// A message reaches a user agent.
    pub fn arrived(&mut self, now: Instant, agent: AgentId, sip: &Sip) {
        let Some(&index) = self.by_id.get(sip.call_id()) else {
            return;
        };
        match sip.status() {
            None => self.request_arrived(now, index, agent, sip),
            Some(status) => self.response_arrived(now, index, agent, (sip, status)),
        }
    }

    /// Bytes that are no message reach a user agent.
    pub fn unreadable(&mut self, now: Instant, bytes: &[u8]) {
        let call_id = String::from_utf8_lossy(sip::call_id_of(bytes)).into_owned();
        if let Some(&index) = self.by_id.get(&*call_id) {
            let is_excused = !self.calls[index].is_honest;
            self.check(Law::Readable, now, index, is_excused, || {
                String::from_utf8_lossy(bytes).into_owned()
            });
        }
    }

    /// Everything is over.
    pub fn at_end<'a>(&mut self, now: Instant, agents: impl Iterator<Item = &'a Agent>) {
        let ringing: Vec<bool> = agents.map(|a| a.still_ringing() > 0).collect();
        for index in (0..self.calls.len())
            .filter(|&i| self.calls[i].is_strict)
            .collect::<Vec<_>>()
        {
            self.check_all_answered(now, index);
            self.check_nobody_rings(now, index, &ringing);
        }
    }

    fn check_all_answered(&mut self, now: Instant, index: usize) {
        let call = &self.calls[index];
        let lacks = |a: &&Asked| {
            let is_owed = match a.sip.method() {
                "ACK" => false,
                "INVITE" | "CANCEL" => true,
                // RFC 4320 §4.1: a proxy does not answer for who stays silent.
                _ => call.was_answered(a),
            };
            is_owed && !call.has_final(a)
        };
        let text = call.asked.iter().find(lacks).map(|a| {
            format!(
                "u{} never got a final response to {}",
                a.agent,
                a.sip.label()
            )
        });
        self.check(Law::Answered, now, index, text.is_none(), || {
            text.unwrap_or_default()
        });
    }

    fn check_nobody_rings(&mut self, now: Instant, index: usize, ringing: &[bool]) {
        let agents = self.calls[index].received.keys().map(|(agent, _)| *agent);
        let text = agents
            .into_iter()
            .find(|&a| ringing[a])
            .map(|a| format!("u{a} still rings"));
        self.check(Law::NobodyLeftRinging, now, index, text.is_none(), || {
            text.unwrap_or_default()
        });
    }

    /// Counts a check, and keeps the first that fails.
    fn check(
        &mut self,
        law: Law,
        at: Instant,
        call: usize,
        holds: bool,
        text: impl FnOnce() -> String,
    ) {
        *self.checks.entry(law).or_default() += 1;
        if !holds && self.violation.is_none() {
            let call_id = self.calls[call].id.clone();
            self.violation = Some(Violation {
                law,
                call_id,
                at,
                text: text(),
            });
        }
    }

    /// From one user agent to another: a message that arrives for the first time must have been
    /// sent after all that arrived before it.
    fn check_order(&mut self, now: Instant, index: usize, ends: (AgentId, AgentId), sip: &Sip) {
        let call = &mut self.calls[index];
        if !call.is_ordered {
            return;
        }
        let (from, to) = ends;
        let print = fingerprint(sip);
        let Some(place) = call
            .sent_order
            .get(&from)
            .and_then(|o| o.iter().position(|p| *p == print))
        else {
            return;
        };
        if !call.seen.insert((from, to, print)) {
            return;
        }
        let reached = call.reached.entry(ends).or_default();
        let holds = place >= *reached;
        *reached = place.max(*reached);
        self.check(Law::OrderKept, now, index, holds, || {
            format!(
                "{} of u{from} was overtaken on its way to u{to}",
                sip.label()
            )
        });
    }
}

impl Call {
    fn remember(&mut self, agent: AgentId, sip: Sip) {
        let print = fingerprint(&sip);
        let order = self.sent_order.entry(agent).or_default();
        if order.contains(&print) {
            return;
        }
        order.push(print);
        match sip.status() {
            None => self.asked.push(Asked { agent, sip }),
            Some(_) => self.answered.push(Answered { agent, sip }),
        }
    }

    /// Whether a user agent has sent a final response to it.
    fn was_answered(&self, asked: &Asked) -> bool {
        self.answered.iter().any(|answered| {
            answered.sip.status().is_some_and(|status| status >= 200)
                && answered.sip.method() == asked.sip.method()
                && answered.sip.cseq() == asked.sip.cseq()
        })
    }

    fn has_final(&self, asked: &Asked) -> bool {
        self.finals.iter().any(|f| {
            f.agent == asked.agent
                && f.branch == asked.sip.branch()
                && f.method == asked.sip.method()
        })
    }
}

/// Whether two messages belong to one dialog.
fn same_tags(a: &Sip, b: &Sip) -> bool {
    ["From", "To"]
        .iter()
        .all(|name| a.tag_of(name) == b.tag_of(name))
}

/// What is the same in all copies of a message, and in no other message of its sender.
fn fingerprint(sip: &Sip) -> String {
    let what = match sip.status() {
        None => sip.first("X-Probe").to_string(),
        Some(status) => status.to_string(),
    };
    let [from, to] = ["From", "To"].map(|name| sip.tag_of(name));
    format!("{} {} {what} {from} {to}", sip.method(), sip.cseq())
}
