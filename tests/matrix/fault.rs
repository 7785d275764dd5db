//! Faults that are planted behind the proxy, so that each law is seen to fail.

use dialcore::effect::Destination;

use crate::hop::set_uri;
use crate::sip::{Sip, addr_of, uri_of};

/// What is done to a message that the proxy has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its own requests have a number less.
    RepeatsNumber,
    /// An ACK that it relays has a number more.
    RaisesAck,
    /// So has a CANCEL.
    RaisesCancel,
    /// So has the request in RAck.
    RaisesRack,
    /// So has the `id` of a NOTIFY.
    RaisesRefer,
    /// So has a response.
    RaisesResponse,
    /// An answer comes twice, on a branch that asked nothing.
    LeaksResponse,
    /// A request is sent again with a header more on the same branch.
    ReusesBranch,
    /// Its own requests have no Route, and go where the target is.
    SkipsRoutes,
    /// They have a parameter more in the Request-URI.
    MissesTarget,
    /// They have another tag in From.
    SwapsTag,
    /// They go to another port.
    MissesPort,
    /// They have no Max-Forwards.
    LosesForwards,
    /// A Content-Length that is wrong.
    LiesOfLength,
    /// They are sent twice, as two requests.
    Doubles,
    /// An ACK is lost.
    LosesAck,
    /// No deadline is ever met.
    StopsClock,
}

impl Fault {
    /// Changes what is about to leave.
    pub fn plant(self, copies: &mut Vec<(Destination, Vec<u8>)>) {
        let (to, bytes) = copies[0].clone();
        let Some(mut sip) = Sip::read(&bytes) else {
            return;
        };
        let is_request = sip.status().is_none();
        let is_own = is_request
            && sip.values("Via").count() == 1
            && !matches!(sip.method(), "ACK" | "CANCEL");
        let is_relayed_ack = is_request && sip.method() == "ACK" && sip.values("Via").count() > 1;
        let mut change = |sip: &Sip| copies[0].1 = sip.write();
        match self {
            Fault::RepeatsNumber if is_own => {
                add(&mut sip, "CSeq", 0, -1);
                change(&sip);
            }
            Fault::RaisesAck if is_relayed_ack => {
                add(&mut sip, "CSeq", 0, 1);
                change(&sip);
            }
            Fault::RaisesCancel if is_request && sip.method() == "CANCEL" => {
                add(&mut sip, "CSeq", 0, 1);
                change(&sip);
            }
            Fault::RaisesRack if is_request && sip.method() == "PRACK" => {
                add(&mut sip, "RAck", 1, 1);
                change(&sip);
            }
            Fault::RaisesRefer if is_request && sip.method() == "NOTIFY" => {
                let event = sip.first("Event").replace("id=", "id=1");
                sip.replace("Event", event);
                change(&sip);
            }
            Fault::RaisesResponse if !is_request => {
                add(&mut sip, "CSeq", 0, 1);
                change(&sip);
            }
            Fault::LeaksResponse if !is_request && sip.status() == Some(200) => {
                let via = sip
                    .first("Via")
                    .replace("branch=z9hG4bK", "branch=z9hG4bKx");
                sip.replace("Via", via);
                copies.push((to, sip.write()));
            }
            Fault::ReusesBranch if is_own => {
                copies.push((to, sip.with("X-Again", "1").write()));
            }
            Fault::SkipsRoutes if is_own && sip.lines("Route").count() > 0 => {
                sip.remove("Route");
                change(&sip);
                copies[0].0.remote = addr_of(uri_of(sip.uri())).unwrap_or(to.remote);
            }
            Fault::MissesTarget if is_own => {
                let uri = format!("{};x", sip.uri());
                set_uri(&mut sip, &uri);
                change(&sip);
            }
            Fault::SwapsTag if is_own => {
                let from = sip.first("From").replace(";tag=", ";tag=x");
                sip.replace("From", from);
                change(&sip);
            }
            Fault::MissesPort if is_own => copies[0].0.remote.set_port(9),
            Fault::LosesForwards if is_own => {
                sip.remove("Max-Forwards");
                change(&sip);
            }
            Fault::LiesOfLength if is_own => {
                let text = String::from_utf8_lossy(&bytes);
                copies[0].1 = text
                    .replace("Content-Length: 0", "Content-Length: 7")
                    .into();
            }
            Fault::Doubles if is_own => {
                add(&mut sip, "CSeq", 0, 1);
                let via = sip
                    .first("Via")
                    .replace("branch=z9hG4bK", "branch=z9hG4bKx");
                sip.replace("Via", via);
                copies.push((to, sip.write()));
            }
            Fault::LosesAck if is_relayed_ack => copies.clear(),
            _ => {}
        }
    }
}

/// Adds to the number at this place of a header's words.
fn add(sip: &mut Sip, name: &str, place: usize, what: i64) {
    let mut words: Vec<String> = sip.first(name).split(' ').map(String::from).collect();
    let Some(number) = words.get(place).and_then(|w| w.parse::<i64>().ok()) else {
        return;
    };
    words[place] = (number + what).to_string();
    sip.replace(name, words.join(" "));
}
