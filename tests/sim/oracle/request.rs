//! Requests that reach a user agent.

use dialcore::time::Instant;

use super::{Asked, Law, MEMORY, Oracle, fingerprint, same_tags};
use crate::sip::Sip;
use crate::ua::AgentId;

/// What the proxy must pass on as it is.
const SACRED: [&str; 6] = ["From", "To", "Call-ID", "CSeq", "Contact", "X-Probe"];
/// What a request that the proxy makes for one hop takes from the INVITE (RFC 3261 §9.1,
/// §17.1.1.3).
const SACRED_IN_HOP: [&str; 2] = ["From", "Call-ID"];

impl Oracle {
    pub(super) fn request_arrived(
        &mut self,
        now: Instant,
        index: usize,
        agent: AgentId,
        sip: &Sip,
    ) {
        if !self.calls[index].is_honest {
            return;
        }
        let via_count = sip.values("Via").count();
        let has_accepted = self.calls[index].answered.iter().any(|a| {
            let is_2xx = a.sip.status().is_some_and(|s| (200..300).contains(&s));
            is_2xx
                && (a.agent, a.sip.method(), a.sip.cseq()) == (agent, "INVITE", sip.cseq())
                && same_tags(&a.sip, sip)
        });
        match sip.method() {
            "ACK" if !has_accepted => self.hop_ack_arrived(now, index, agent, sip),
            "CANCEL" => self.cancel_arrived(now, index, agent, sip),
            _ => {
                let want = 1 + self.hop_count;
                self.check(Law::BranchUnique, now, index, via_count == want, || {
                    format!("{} reached u{agent} with {via_count} Vias", sip.label())
                });
                self.check_whole(now, index, agent, sip);
                self.check_branch(now, index, agent, sip);
            }
        }
    }

    /// The sender's request, by the Via that it wrote.
    fn original(&self, index: usize, sip: &Sip) -> Option<usize> {
        let branch = sip
            .values("Via")
            .last()
            .and_then(|v| crate::sip::param(v, "branch"));
        let is_it = |a: &Asked| Some(a.sip.branch()) == branch && a.sip.method() == sip.method();
        self.calls[index].asked.iter().position(is_it)
    }

    fn check_whole(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let Some(original) = self.original(index, sip) else {
            return self.check(Law::BelongsToRequest, now, index, false, || {
                format!("{} reached u{agent} and nobody sent it", sip.label())
            });
        };
        let asked = &self.calls[index].asked[original];
        let (from, hops) = (asked.agent, self.hop_count as u32);
        let differing = differing(&asked.sip, sip, &SACRED);
        let has_forwards = forwards(&asked.sip) == forwards(sip).map(|n| n + hops);
        self.check(Law::Untouched, now, index, differing.is_none(), || {
            format!(
                "{} reached u{agent} with another {}",
                sip.label(),
                differing.unwrap_or_default()
            )
        });
        self.check(Law::ForwardsCounted, now, index, has_forwards, || {
            format!(
                "{} reached u{agent} with Max-Forwards {:?}",
                sip.label(),
                forwards(sip)
            )
        });
        self.check_order(now, index, (from, agent), sip);
    }

    fn check_branch(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let print = fingerprint(sip);
        let branch = sip.branch().to_string();
        let is_ack = sip.method() == "ACK";
        let call = &mut self.calls[index];
        let holds = match call.branches.get(&branch) {
            // The ACK to a 2xx may be sent on statelessly, with one branch for all of them, but
            // not with that of the INVITE (§17.1.1.3).
            Some((_, other)) if is_ack => other.starts_with("ACK"),
            Some((who, other)) => (*who, other) == (agent, &print),
            None => true,
        };
        let is_magic = branch.starts_with("z9hG4bK");
        call.branches.insert(branch.clone(), (agent, print.clone()));
        let first = call
            .received
            .entry((agent, print))
            .or_insert_with(|| branch.clone())
            .clone();
        let (is_strict, is_same) = (call.is_strict, first == branch);
        self.check(Law::BranchUnique, now, index, holds && is_magic, || {
            format!(
                "{} reached u{agent} with a branch that is taken: {branch}",
                sip.label()
            )
        });
        if is_strict && !is_ack {
            self.check(Law::NotMerged, now, index, is_same, || {
                format!(
                    "{} reached u{agent} on two branches: {first}, {branch}",
                    sip.label()
                )
            });
        }
    }

    /// An ACK that answers no 2xx of its receiver must be the proxy's own, for the INVITE that
    /// this receiver refused.
    fn hop_ack_arrived(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let call = &self.calls[index];
        let has_refused = call.answered.iter().any(|a| {
            let is_final = a.sip.status().is_some_and(|s| s >= 300);
            a.agent == agent
                && is_final
                && a.sip.branch() == sip.branch()
                && a.sip.tag_of("To") == sip.tag_of("To")
        });
        // Rough weather may bring an ACK back after the proxy has forgotten what it is for.
        let sender = sip
            .values("Via")
            .last()
            .and_then(|v| crate::sip::param(v, "branch"));
        let is_late = !call.is_strict
            && call.finals.iter().any(|f| {
                Some(f.branch.as_str()) == sender && f.status >= 300 && now.since(f.at) >= MEMORY
            });
        if is_late {
            return;
        }
        let is_own = sip.values("Via").count() == 1;
        self.check(Law::AckInItsHop, now, index, has_refused && is_own, || {
            format!(
                "{} reached u{agent}, which has not refused that INVITE",
                sip.label()
            )
        });
        self.check_hop(now, index, agent, sip);
    }

    fn cancel_arrived(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let call = &self.calls[index];
        let has_answered = call.answered.iter().any(|a| {
            a.agent == agent && a.sip.method() == "INVITE" && a.sip.branch() == sip.branch()
        });
        self.check(
            Law::CancelAfterProvisional,
            now,
            index,
            has_answered,
            || format!("CANCEL reached u{agent} before it said anything"),
        );
        let is_own = sip.values("Via").count() == 1;
        self.check(Law::BranchUnique, now, index, is_own, || {
            format!("CANCEL reached u{agent} with more than the proxy's Via")
        });
        self.check_hop(now, index, agent, sip);
    }

    /// What the proxy makes for one hop bears the marks of the INVITE.
    fn check_hop(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let is_marked = self.calls[index].asked.iter().any(|a| {
            let is_invite = a.sip.method() == "INVITE" && a.sip.cseq() == sip.cseq();
            is_invite && differing_headers(&a.sip, sip, &SACRED_IN_HOP).is_none()
        });
        self.check(Law::Untouched, now, index, is_marked, || {
            format!(
                "{} reached u{agent} with the marks of no INVITE",
                sip.label()
            )
        });
    }
}

/// The first of these headers, or the body, in which two messages differ.
pub(super) fn differing(sent: &Sip, arrived: &Sip, names: &[&str]) -> Option<String> {
    let size = arrived.first("Content-Length").parse();
    if sent.body != arrived.body || size != Ok(arrived.body.len()) {
        return Some("body".into());
    }
    differing_headers(sent, arrived, names)
}

fn differing_headers(sent: &Sip, arrived: &Sip, names: &[&str]) -> Option<String> {
    let differs = |name: &&&str| sent.first(name) != arrived.first(name);
    names.iter().find(differs).map(|name| name.to_string())
}

fn forwards(sip: &Sip) -> Option<u32> {
    sip.first("Max-Forwards").parse().ok()
}
