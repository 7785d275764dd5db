//! Responses that reach a user agent.

use dialcore::time::Instant;

use super::request::differing;
use super::{Asked, Final, Law, MEMORY, Oracle};
use crate::sip::{Sip, sent_by};
use crate::ua::AgentId;

impl Oracle {
    pub(super) fn response_arrived(
        &mut self,
        now: Instant,
        index: usize,
        agent: AgentId,
        response: (&Sip, u16),
    ) {
        if !self.calls[index].is_honest {
            return;
        }
        let (sip, status) = response;
        self.check_vias(now, index, agent, sip);
        self.check_asked(now, index, agent, sip);
        self.check_answered(now, index, agent, response);
        if status >= 200 {
            self.check_final(now, index, agent, response);
        }
    }

    fn asked_by(&self, index: usize, agent: AgentId, sip: &Sip) -> Option<&Asked> {
        self.calls[index].asked.iter().find(|a| {
            a.agent == agent && a.sip.branch() == sip.branch() && a.sip.method() == sip.method()
        })
    }

    /// One Via, the receiver's own; `received` and `rport` may have come in (§18.2.1).
    fn check_vias(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let vias: Vec<&str> = sip.values("Via").collect();
        let sent = self
            .asked_by(index, agent, sip)
            .map(|a| sent_by(a.sip.first("Via")));
        let holds = vias.len() == 1 && sent.is_none_or(|sent| sent == sent_by(vias[0]));
        self.check(Law::ViaRestored, now, index, holds, || {
            format!("{} reached u{agent} with {vias:?}", sip.label())
        });
    }

    fn check_asked(&mut self, now: Instant, index: usize, agent: AgentId, sip: &Sip) {
        let asked = self.asked_by(index, agent, sip);
        let is_asked = asked.is_some();
        let touched = asked.and_then(|a| {
            let uri = |s: &Sip| crate::sip::uri_of(s.first("To")).to_string();
            let is_to_kept = uri(&a.sip) == uri(sip)
                && (a.sip.tag_of("To").is_empty() || a.sip.tag_of("To") == sip.tag_of("To"));
            let kept = ["From", "Call-ID", "CSeq"]
                .into_iter()
                .find(|n| a.sip.first(n) != sip.first(n));
            kept.or((!is_to_kept).then_some("To"))
        });
        self.check(Law::BelongsToRequest, now, index, is_asked, || {
            format!("{} reached u{agent}, which did not ask", sip.label())
        });
        self.check(Law::Untouched, now, index, touched.is_none(), || {
            format!(
                "{} reached u{agent} with another {}",
                sip.label(),
                touched.unwrap_or_default()
            )
        });
    }

    /// Some user agent said it, word for word, or it is of the kind that a proxy may say.
    fn check_answered(
        &mut self,
        now: Instant,
        index: usize,
        agent: AgentId,
        response: (&Sip, u16),
    ) {
        let (sip, status) = response;
        let call = &self.calls[index];
        let same_tag = |s: &Sip| !sip.tag_of("To").is_empty() && s.tag_of("To") == sip.tag_of("To");
        let said = call.answered.iter().find(|a| {
            a.sip.status() == Some(status)
                && a.sip.method() == sip.method()
                && a.sip.cseq() == sip.cseq()
                && same_tag(&a.sip)
                && a.sip.tag_of("From") == sip.tag_of("From")
        });
        let is_cancel = sip.method() == "CANCEL";
        let had_tag = self
            .asked_by(index, agent, sip)
            .is_some_and(|a| !a.sip.tag_of("To").is_empty());
        let has_peers_tag = call
            .answered
            .iter()
            .any(|a| a.agent != agent && same_tag(&a.sip));
        let may_be_made = match status {
            100 => true,
            101..=199 => false,
            200..=299 => is_cancel,
            _ => had_tag || !has_peers_tag,
        };
        let from = said.map(|a| a.agent);
        let touched = said.and_then(|a| differing(&a.sip, sip, &["Contact", "To", "CSeq"]));
        let is_known = from.is_some() || may_be_made;
        self.check(Law::BelongsToRequest, now, index, is_known, || {
            format!("{} reached u{agent}, and nobody said it", sip.label())
        });
        if let Some(from) = from {
            self.check(Law::Untouched, now, index, touched.is_none(), || {
                format!(
                    "{} reached u{agent} with another {}",
                    sip.label(),
                    touched.unwrap_or_default()
                )
            });
            self.check_order(now, index, (from, agent), sip);
        }
    }

    fn check_final(&mut self, now: Instant, index: usize, agent: AgentId, response: (&Sip, u16)) {
        let (sip, status) = response;
        let is_success = |status: u16| (200..300).contains(&status);
        let call = &mut self.calls[index];
        let is_invite = sip.method() == "INVITE";
        let is_strict = call.is_strict;
        // Rough weather may bring a response back after the proxy has forgotten the transaction.
        let is_fresh = |f: &Final| is_strict || now.since(f.at) < MEMORY;
        let same = |f: &&Final| {
            let is_it = f.agent == agent && f.branch == sip.branch() && f.method == sip.method();
            is_it && is_fresh(f)
        };
        let contradicts = |f: &&Final| match (is_invite, is_success(f.status), is_success(status)) {
            (true, _, true) => false,
            // Rough weather may turn round the order of a negative response and a late 2xx.
            (true, true, false) => is_strict,
            (true, false, false) | (false, _, _) => {
                (f.status, f.to_tag.as_str()) != (status, sip.tag_of("To"))
            }
        };
        let other = call
            .finals
            .iter()
            .filter(same)
            .find(contradicts)
            .map(|f| f.status);
        let is_repeated = call
            .finals
            .iter()
            .filter(same)
            .any(|f| f.status == status && f.to_tag == sip.tag_of("To"));
        if !is_repeated {
            call.finals.push(Final {
                at: now,
                agent,
                branch: sip.branch().into(),
                method: sip.method().into(),
                status,
                to_tag: sip.tag_of("To").into(),
            });
        }
        self.check(Law::OneFinal, now, index, other.is_none(), || {
            format!(
                "{} reached u{agent} after {}",
                sip.label(),
                other.unwrap_or_default()
            )
        });
    }
}
