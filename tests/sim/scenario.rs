//! What is going to happen in a run, drawn from its seed: who calls whom through which route of
//! the script, how each one behaves, and in what weather.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use dialcore::effect::{Hop, Proto};
use dialcore::rng::Rng;
use dialcore::time::{Duration, Instant};

use crate::names::{Answer as NameAnswer, Zone};
use crate::network::Weather;
use crate::ua::{self, Agent, AgentId, Answer, Errand, Lie, Manner, OnCancel};

/// Where the proxy listens, on UDP and TCP.
pub const PROXY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 255, 0, 1), 5060));
/// An address at which nobody lives.
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 250, 0, 1), 5060));

/// Seconds of a day: how far the wall clock may jump.
const DAY_S: u32 = 86_400;

/// The methods of first requests, as often as they stand here.
const METHODS: [&str; 6] = ["INVITE", "INVITE", "INVITE", "INVITE", "OPTIONS", "MESSAGE"];

/// Which way the script sends the first request of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// To one address.
    Single,
    /// To all callees at once.
    Parallel,
    /// To one callee after the other.
    Serial,
    /// To a name that has an address, or several of which the first is dead.
    Named,
    /// To a name that has none.
    Unresolvable,
    /// Past the proxy, straight to the callee.
    Direct,
}

impl Routing {
    fn word(self) -> &'static str {
        match self {
            Routing::Parallel => "parallel",
            Routing::Serial => "serial",
            Routing::Single | Routing::Named | Routing::Unresolvable | Routing::Direct => "single",
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its Call-ID.
    pub call_id: Rc<str>,
    /// INVITE, or a method of one transaction.
    pub method: &'static str,
    /// How it is routed.
    pub routing: Routing,
    /// When it starts.
    pub start: Instant,
    /// What the network does to it.
    pub weather: Weather,
    /// The caller's name; the callees follow.
    pub first_agent: AgentId,
    /// How they behave, the caller first.
    pub manners: Vec<Manner>,
    /// The seed of its own luck.
    luck: u64,
}

impl Plan {
    /// A call between user agents of these manners, in calm weather.
    pub fn of(index: usize, routing: Routing, manners: Vec<Manner>) -> Plan {
        Plan {
            call_id: format!("call-{index}@sim.example").into(),
            method: "INVITE",
            routing,
            start: Instant::ZERO,
            weather: Weather::calm(Duration::from_millis(2)),
            first_agent: 0,
            manners,
            luck: index as u64,
        }
    }

    /// Whether everybody keeps to the protocol.
    pub fn is_honest(&self) -> bool {
        self.manners.iter().all(Manner::is_honest)
    }

    /// Whether nothing is lost, doubled or overtaken, nobody lies, forgets or dies: then nothing
    /// excuses the proxy.
    pub fn is_strict(&self) -> bool {
        let is_good = |m: &Manner| m.is_honest() && m.is_lasting() && !m.forgets_ack;
        self.weather.is_calm() && self.manners.iter().all(is_good)
    }

    /// Whether nobody uses a stream.
    pub fn is_all_udp(&self) -> bool {
        self.manners.iter().all(|m| !m.is_tcp)
    }

    fn errand(&self) -> Errand {
        let is_direct = self.routing == Routing::Direct;
        let callee = self.first_agent + 1;
        let mut headers = vec![];
        if !is_direct {
            headers.push(("X-Plan".to_string(), self.routing.word().to_string()));
            let targets = (1..self.manners.len()).map(|i| self.target(i));
            headers.extend(
                targets
                    .enumerate()
                    .map(|(i, t)| (format!("X-Target-{}", i + 1), t)),
            );
        }
        Errand {
            method: self.method,
            uri: match is_direct {
                true => ua::contact(callee, false),
                false => "sip:service@sim.example".into(),
            },
            is_tcp: self.manners[0].is_tcp,
            next_hop: if is_direct {
                ua::address(callee)
            } else {
                PROXY
            },
            headers,
            start: self.start,
        }
    }

    fn target(&self, index: usize) -> String {
        let agent = self.first_agent + index;
        let is_tcp = self.manners[index].is_tcp;
        let transport = if is_tcp { ";transport=tcp" } else { "" };
        match self.routing {
            Routing::Named | Routing::Unresolvable => {
                format!("sip:u{agent}@{}{transport}", self.name())
            }
            Routing::Single | Routing::Parallel | Routing::Serial | Routing::Direct => {
                ua::contact(agent, is_tcp)
            }
        }
    }

    fn name(&self) -> String {
        format!("c{}.example", self.first_agent)
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its calls.
    pub calls: Vec<Plan>,
    /// What DNS knows.
    pub zone: Zone,
    /// When somebody sets the wall clock, and by how many seconds.
    pub clock_jumps: Vec<(Instant, i64)>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn draw(seed: u64, call_count: usize) -> Scenario {
        let mut rng = Rng::new(seed);
        let calls = (0..call_count).map(|index| draw_call(&mut rng.fork(), index));
        let mut scenario = Scenario::of(calls.collect());
        scenario.clock_jumps = (0..rng.below(4))
            .map(|_| {
                let at = Instant::ZERO + millis(&mut rng, 0, 60_000);
                (at, i64::from(rng.below(2 * DAY_S)) - i64::from(DAY_S))
            })
            .collect();
        for call in &scenario.calls {
            if call.routing == Routing::Named {
                scenario.zone.insert(call.name(), draw_name(&mut rng, call));
            }
        }
        scenario
    }

    /// These calls, with names that are found after 30 ms.
    pub fn of(mut calls: Vec<Plan>) -> Scenario {
        let mut first_agent = 0;
        let mut zone = Zone::default();
        for call in &mut calls {
            call.first_agent = first_agent;
            first_agent += call.manners.len();
            if call.routing == Routing::Named {
                let delay = Duration::from_millis(30);
                zone.insert(
                    call.name(),
                    NameAnswer {
                        delay,
                        hops: vec![hop(call)],
                    },
                );
            }
        }
        Scenario {
            calls,
            zone,
            clock_jumps: vec![],
        }
    }

    /// All user agents in the order of their names, each with its weather and its luck.
    pub fn agents(&self) -> impl Iterator<Item = (Agent, Weather, Rng)> {
        self.calls.iter().flat_map(|call| {
            let mut luck = Rng::new(call.luck);
            call.manners.iter().enumerate().map(move |(index, manner)| {
                let errand = (index == 0).then(|| call.errand());
                let id = call.first_agent + index;
                let agent = Agent::new(
                    id,
                    call.call_id.clone(),
                    manner.clone(),
                    errand,
                    luck.fork(),
                );
                (agent, call.weather, luck.fork())
            })
        })
    }
}

fn hop(call: &Plan) -> Hop {
    let proto = if call.manners[1].is_tcp {
        Proto::Tcp
    } else {
        Proto::Udp
    };
    Hop {
        proto,
        addr: ua::address(call.first_agent + 1),
    }
}

fn draw_name(rng: &mut Rng, call: &Plan) -> NameAnswer {
    let good = hop(call);
    let dead = Hop {
        addr: NOBODY,
        ..good
    };
    NameAnswer {
        delay: millis(rng, 0, 7_000),
        hops: match rng.below(4) {
            0 => vec![dead, good],
            1 => vec![good, dead],
            _ => vec![good],
        },
    }
}

fn draw_call(rng: &mut Rng, index: usize) -> Plan {
    let routing = match rng.below(20) {
        0..=8 => Routing::Single,
        9..=13 => Routing::Parallel,
        14..=16 => Routing::Serial,
        17..=18 => Routing::Named,
        _ => Routing::Unresolvable,
    };
    let callee_count = match routing {
        Routing::Parallel | Routing::Serial => 2 + rng.below(2),
        Routing::Single | Routing::Named | Routing::Unresolvable | Routing::Direct => 1,
    };
    let mut manners = vec![draw_caller(rng)];
    manners.extend((0..callee_count).map(|_| draw_callee(rng)));
    Plan {
        call_id: format!("{index}-{:x}@sim.example", rng.next_u64()).into(),
        method: pick(rng, &METHODS),
        start: Instant::ZERO + millis(rng, 0, 20_000),
        weather: Weather::draw(rng),
        luck: rng.next_u64(),
        ..Plan::of(index, routing, manners)
    }
}

fn draw_caller(rng: &mut Rng) -> Manner {
    let mut manner = draw_either(rng);
    manner.cancel_after = sometimes(rng, 6, 1_500);
    manner.forgets_ack = rng.chance(1, 25);
    if rng.chance(3, 5) {
        manner.hang_up_after = Some(millis(rng, 0, 6_000));
    }
    manner
}

fn draw_callee(rng: &mut Rng) -> Manner {
    let mut manner = draw_either(rng);
    manner.answer = match rng.below(20) {
        0..=12 => Answer::Accept,
        13..=16 => Answer::Reject(pick(rng, &[302, 404, 480, 486, 500, 503, 603])),
        17..=18 => Answer::RingForEver,
        _ => Answer::Silent,
    };
    manner.ring_after = rng.chance(4, 5).then(|| millis(rng, 0, 300));
    manner.ring_count = 1 + rng.below(3);
    manner.answer_after = millis(rng, 0, 2_000);
    if manner.answer == Answer::RingForEver {
        manner.ring_after = Some(millis(rng, 0, 300));
    }
    if rng.chance(1, 5) {
        manner.on_cancel = OnCancel::AnswerAnyway;
    }
    manner.hang_up_after = sometimes(rng, 4, 6_000);
    manner
}

/// What callers and callees have in common.
fn draw_either(rng: &mut Rng) -> Manner {
    let mut manner = Manner::plain();
    manner.is_tcp = rng.chance(1, 6);
    manner.reinvite_after = sometimes(rng, 6, 4_000);
    manner.info_after = sometimes(rng, 6, 4_000);
    manner.die_after = sometimes(rng, 40, 4_000);
    if rng.chance(1, 20) {
        manner.repeats = 1 + rng.below(3);
    }
    if manner.is_tcp {
        manner.cut_after = sometimes(rng, 5, 4_000);
    }
    if rng.chance(1, 25) {
        let lie = pick(
            rng,
            &[
                Lie::Garbage,
                Lie::Scrambled,
                Lie::StrayResponse,
                Lie::SecondFinal,
                Lie::BareBranch,
                Lie::ChangingTag,
            ],
        );
        manner.lie = Some((lie, millis(rng, 0, 3_000)));
    }
    manner
}

fn sometimes(rng: &mut Rng, one_in: u32, up_to_millis: u32) -> Option<Duration> {
    rng.chance(1, one_in).then(|| millis(rng, 0, up_to_millis))
}

fn millis(rng: &mut Rng, from: u32, to: u32) -> Duration {
    Duration::from_millis(u64::from(from + rng.below(to - from + 1)))
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u32) as usize]
}
