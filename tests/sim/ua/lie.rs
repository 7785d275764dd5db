//! What no user agent should do, and some do.

use std::rc::Rc;

use super::{Act, Agent};
use crate::sip::Sip;

/// One way to break the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Bytes that are no message at all.
    Garbage,
    /// A plausible message with some bytes changed.
    Scrambled,
    /// A 200 to a request that nobody sent.
    StrayResponse,
    /// A second final response that contradicts the first.
    SecondFinal,
    /// Branches without the magic cookie, so that transactions match by other fields
    /// (RFC 3261 §17.2.3).
    BareBranch,
    /// Another To tag in the provisional responses than in the final one.
    ChangingTag,
}

impl Agent {
    /// Says it, if the call has come far enough for this lie.
    pub(super) fn tell_lie(&mut self) {
        let Some((lie, _)) = self.manner.lie else {
            return;
        };
        let Some(to) = self
            .errand
            .as_ref()
            .map(|e| e.next_hop)
            .or_else(|| self.last_via())
        else {
            return;
        };
        let bytes = match lie {
            Lie::Garbage => Some(self.garbage()),
            Lie::Scrambled => self.scrambled(),
            Lie::StrayResponse => self.stray_response(true),
            Lie::SecondFinal => self.stray_response(false),
            Lie::BareBranch | Lie::ChangingTag => None,
        };
        if let Some(bytes) = bytes {
            self.acts.push(Act::Send {
                to,
                is_tcp: false,
                stream: None,
                bytes: Rc::from(bytes),
            });
        }
    }

    fn last_via(&self) -> Option<std::net::SocketAddr> {
        let via = self.asked().last()?.request().values("Via").next()?;
        crate::sip::sent_by(via).0
    }

    fn garbage(&mut self) -> Vec<u8> {
        let size = self.rng.below(600);
        (0..size).map(|_| self.rng.next_u64() as u8).collect()
    }

    /// A message that was good until a few of its bytes changed.
    fn scrambled(&mut self) -> Option<Vec<u8>> {
        let mut bytes = match self.asked().last() {
            Some(server) => Sip::response(server.request(), 183, Some("scrambled")).write(),
            None => {
                let errand = self.errand.as_ref()?;
                let call_id = format!("scrambled-{}", self.call_id);
                Sip::request("OPTIONS", &errand.uri)
                    .with(
                        "Via",
                        format!("SIP/2.0/UDP {};branch=z9hG4bKscr", self.addr),
                    )
                    .with("From", "<sip:x@sim.example>;tag=x")
                    .with("To", "<sip:y@sim.example>")
                    .with("Call-ID", call_id)
                    .with("CSeq", "1 OPTIONS")
                    .with("Max-Forwards", "70")
                    .write()
            }
        };
        for _ in 0..=self.rng.below(4) {
            let at = self.rng.below(bytes.len() as u32) as usize;
            bytes[at] = self.rng.next_u64() as u8;
        }
        Some(bytes)
    }

    fn stray_response(&mut self, of_nothing: bool) -> Option<Vec<u8>> {
        let mut request = self.asked().last()?.request().clone();
        if of_nothing {
            let via = request
                .first("Via")
                .replace("branch=z9hG4bK", "branch=z9hG4bKnone");
            request.replace("Via", via);
        }
        Some(Sip::response(&request, 202, Some("stray")).write())
    }
}
