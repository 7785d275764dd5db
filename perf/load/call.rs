//! The calls of a run: a cache line for each, reused when a call is over.

use std::collections::VecDeque;
use std::time::Duration;

use memchr::memmem;
use serde::Serialize;

use super::write::digits;

/// How long a place stays empty, so that whatever is still on its way finds nobody.
const REST: Duration = Duration::from_secs(5);
/// Bytes of a route that may differ from that of other calls.
const ROUTE_OWN_MAX: usize = 22;
/// Routes that differ by more than that; one or two for each proxy.
const ROUTE_SHAPES_MAX: usize = 250;

/// Nanoseconds since the run began.
pub(crate) type Nanos = u64;

/// Where a call stands, as its caller sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Invited,
    Trying,
    Ringing,
    Answered,
    /// The BYE has left.
    Leaving,
    Over,
}

/// How a call goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// INVITE 180 200 ACK BYE 200.
    Plain,
    /// With keep-alive: the proxy asks both ends now and then.
    Kept,
    /// Nobody ends it: the proxy does, when its time is over.
    Abandoned,
    /// The caller loses patience while it rings.
    Cancelled,
    /// The callee says no.
    Refused,
}

/// Percent of all calls that go in another way than the plain one.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Mix {
    pub(crate) kept: u8,
    pub(crate) abandoned: u8,
    pub(crate) cancelled: u8,
    pub(crate) refused: u8,
}

impl Mix {
    /// The way of a call, by its number.
    pub(crate) fn sort(&self, number: u64) -> Sort {
        let mut left = (scatter(number) % 100) as u8;
        let parts = [
            (self.kept, Sort::Kept),
            (self.abandoned, Sort::Abandoned),
            (self.cancelled, Sort::Cancelled),
            (self.refused, Sort::Refused),
        ];
        for (part, sort) in parts {
            if left < part {
                return sort;
            }
            left -= part;
        }
        Sort::Plain
    }
}

/// A number that looks like chance and repeats: the finalizer of SplitMix64.
pub(crate) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Things that happened to a call.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Marks(u16);

impl Marks {
    /// The callee has seen the INVITE, the ACK, the BYE.
    pub(crate) const INVITE_CAME: u16 = 1;
    pub(crate) const ACK_CAME: u16 = 1 << 1;
    pub(crate) const BYE_CAME: u16 = 1 << 2;
    /// The INVITE was sent again, so that what follows may come twice and late.
    pub(crate) const REPEATED: u16 = 1 << 3;
    /// The caller has seen a 180.
    pub(crate) const RINGING_CAME: u16 = 1 << 4;
    /// The answer came later than the caller likes to wait.
    pub(crate) const LATE: u16 = 1 << 5;
    /// The caller has got a BYE.
    pub(crate) const HUNG_UP: u16 = 1 << 6;
    /// A CANCEL has come.
    pub(crate) const CANCEL_CAME: u16 = 1 << 7;
    /// The callee has answered for good.
    pub(crate) const ANSWERED: u16 = 1 << 8;
    /// The ACK was sent, and again, so that one may come behind the BYE.
    pub(crate) const ACK_LEFT: u16 = 1 << 9;
    pub(crate) const ACK_REPEATED: u16 = 1 << 10;

    pub(crate) fn has(self, mark: u16) -> bool {
        self.0 & mark != 0
    }

    /// Sets a mark; whether it was set before.
    pub(crate) fn set(&mut self, mark: u16) -> bool {
        let had = self.has(mark);
        self.0 |= mark;
        had
    }
}

/// One call. Times are those at which a message was due or left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The INVITE, then the BYE.
    pub(crate) request_at: Nanos,
    pub(crate) ack_at: Nanos,
    /// The callee's last answer.
    pub(crate) answer_at: Nanos,
    generation: u32,
    /// Its 200, while the callee may have to send it again.
    pub(crate) kept: Option<std::num::NonZeroU32>,
    pub(crate) marks: Marks,
    pub(crate) phase: Phase,
    pub(crate) sort: Sort,
    route: Route,
}

/// One cache line, so a million calls take 64 MB.
const _: () = assert!(size_of::<Call>() <= 64);

/// A route as what all have in common and what is one call's own.
#[derive(Clone, Copy, Default, Debug)]
struct Route {
    shape: u8,
    size: u8,
    own: [u8; ROUTE_OWN_MAX],
}

/// Calls by number: the place below, how often it was used above.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: Vec<Call>,
    resting: VecDeque<(Nanos, u32)>,
    shapes: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Calls {
    /// A new call.
    pub(crate) fn begin(&mut self, now: Nanos, due: Nanos, mix: &Mix) -> u64 {
        let is_rested = |(since, _): &(Nanos, u32)| since + REST.as_nanos() as Nanos <= now;
        let place = match self.resting.front().filter(|r| is_rested(r)) {
            Some((_, place)) => *place,
            None => self.calls.len() as u32,
        };
        let call = Call {
            request_at: due,
            ack_at: due,
            answer_at: due,
            generation: 0,
            kept: None,
            marks: Marks::default(),
            phase: Phase::Invited,
            sort: Sort::Plain,
            route: Route::default(),
        };
        let generation = match self.calls.get(place as usize) {
            Some(old) => {
                self.resting.pop_front();
                old.generation + 1
            }
            None => {
                self.calls.push(call);
                0
            }
        };
        let number = u64::from(generation) << 32 | u64::from(place);
        self.calls[place as usize] = Call {
            generation,
            sort: mix.sort(number),
            ..call
        };
        number
    }

    /// The call with this number, unless its place has another by now.
    pub(crate) fn get(&mut self, number: u64) -> Option<&mut Call> {
        let call = self.calls.get_mut(number as u32 as usize)?;
        (u64::from(call.generation) == number >> 32).then_some(call)
    }

    /// Whether there has been a call with this number.
    pub(crate) fn has_been(&self, number: u64) -> bool {
        let call = self.calls.get(number as u32 as usize);
        call.is_some_and(|call| number >> 32 <= u64::from(call.generation))
    }

    /// A call that is over gives its place back.
    pub(crate) fn rest(&mut self, now: Nanos, number: u64) {
        self.resting.push_back((now, number as u32));
    }

    /// Bytes that the table takes.
    pub(crate) fn size(&self) -> usize {
        self.calls.capacity() * size_of::<Call>() + self.resting.capacity() * 16
    }

    /// Keeps the route of a call: its tag, which derives from its number, and a cookie are cut
    /// out, so that all calls share the rest. False: it is of a kind that is not known.
    pub(crate) fn set_route(&mut self, number: u64, text: &[u8]) -> bool {
        let (own_start, own_end) = cookie(text);
        let own = &text[own_start..own_end];
        let mut shape = std::mem::take(&mut self.scratch);
        shape.clear();
        for (piece, mark) in [(&text[..own_start], true), (&text[own_end..], false)] {
            let digits = digits(number);
            match memmem::find(piece, &digits) {
                Some(at) => {
                    shape.extend_from_slice(&piece[..at]);
                    shape.push(TAG);
                    shape.extend_from_slice(&piece[at + digits.len()..]);
                }
                None => shape.extend_from_slice(piece),
            }
            shape.extend(mark.then_some(OWN));
        }
        let known = self.shapes.iter().position(|known| *known == shape);
        if known.is_none() && self.shapes.len() < ROUTE_SHAPES_MAX {
            self.shapes.push(shape.clone());
        }
        self.scratch = shape;
        let index = known.unwrap_or(self.shapes.len() - 1);
        if known.is_none() && self.shapes[index] != self.scratch {
            return false;
        }
        let mut route = Route {
            shape: index as u8,
            size: own.len() as u8,
            ..Route::default()
        };
        let Some(place) = route.own.get_mut(..own.len()) else {
            return false;
        };
        place.copy_from_slice(own);
        self.get(number).is_some_and(|call| {
            call.route = route;
            true
        })
    }

    /// Writes the route of a call as it was.
    pub(crate) fn write_route(&mut self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        let Some(route) = self.get(number).map(|call| call.route) else {
            return;
        };
        for byte in self
            .shapes
            .get(usize::from(route.shape))
            .into_iter()
            .flatten()
        {
            match *byte {
                TAG => out.extend_from_slice(&digits(number)),
                OWN => out.extend_from_slice(&route.own[..usize::from(route.size)]),
                byte => out.push(byte),
            }
        }
    }
}

/// Holes in the shape of a route; no such byte stands in a URI.
const TAG: u8 = 1;
const OWN: u8 = 2;

/// Where the value of the parameter `did` stands, by which proxies find their dialog.
fn cookie(text: &[u8]) -> (usize, usize) {
    let Some(at) = memmem::find(text, b";did=") else {
        return (text.len(), text.len());
    };
    let start = at + 5;
    let is_end = |b: &u8| matches!(b, b';' | b'>' | b',');
    let size = text[start..].iter().position(is_end);
    (start, size.map_or(text.len(), |size| start + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_come_back_as_they_were() {
        let mut calls = Calls::default();
        let mut out = Vec::new();
        for n in 0..600 {
            let number = calls.begin(0, 0, &Mix::default());
            let texts = [
                format!("<sip:127.0.0.1:5060;lr;ftag=a{number:016x};did={n:x}.{n}>"),
                format!("<sip:127.0.0.1;lr;did=b{n}a;ftag=a{number:016x}>"),
                "<sip:10.0.0.1;lr>".to_owned(),
            ];
            let text = texts[n % 3].as_bytes();
            assert!(calls.set_route(number, text));
            calls.write_route(number, &mut out);
            assert_eq!(out, text);
        }
        assert_eq!(calls.shapes.len(), 3);
        assert!(!calls.set_route(0, b"<sip:p;did=longer-than-any-cookie-ever-is>"));
    }

    #[test]
    fn places_are_used_again_after_a_rest() {
        let (mut calls, mix) = (Calls::default(), Mix::default());
        let first = calls.begin(0, 0, &mix);
        calls.rest(0, first);
        let second = calls.begin(1, 1, &mix);
        assert_eq!(second, 1);
        let rested = REST.as_nanos() as Nanos;
        let third = calls.begin(rested, rested, &mix);
        assert_eq!(third, 1 << 32);
        assert!(calls.get(first).is_none() && calls.has_been(first));
        assert!(calls.get(third).is_some() && !calls.has_been(2 << 32));
    }

    #[test]
    fn a_mix_comes_out_as_it_was_put_in() {
        let mix = Mix {
            kept: 10,
            abandoned: 5,
            cancelled: 20,
            refused: 15,
        };
        let count = |sort| (0..100_000).filter(|n| mix.sort(*n) == sort).count();
        for (sort, percent) in [
            (Sort::Plain, 50),
            (Sort::Kept, 10),
            (Sort::Abandoned, 5),
            (Sort::Cancelled, 20),
            (Sort::Refused, 15),
        ] {
            let got = count(sort);
            assert!(got.abs_diff(percent * 1_000) < 600, "{sort:?}: {got}");
        }
    }
}
