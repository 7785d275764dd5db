//! What a confirmed dialog keeps of the memory: all blocks of the allocator that are alive when
//! its transactions are gone, table, indexes, timer, strings and membership with their slack.

use std::net::SocketAddr;

use dialcore::effect::{Effect, Flow, Outbox, Proto, SocketId};
use dialcore::limits::JOURNAL_ENTRY_COUNT_MAX;
use dialcore::modules::dialog::state::State;
use dialcore::modules::journal::Entry;
use dialcore::shard::{Input, Setup, Shard};
use dialcore::steer::ShardId;
use dialcore::time::{Duration, Instant, Now, WallTime};

use crate::allocations;
use crate::path::respond;

/// At most this much, however many dialogs there are.
const BYTES_MAX: u64 = 1_024;
/// Dialogs of the quick check: enough that what a shard has without any does not count.
const FEW: u64 = 3_000;
/// Dialogs of the measurement, each with how many dialogs share one value of the profile. Powers
/// of two and one more are where memory that grows by doubling would be largest.
const MEASURED: [(u64, u64); 4] = [(100_000, 10), (100_000, 1), (131_073, 1), (1_000_000, 10)];

/// All calls begin within this time: before the first has lived as long as it may, and so slowly
/// that transactions, which leave their memory behind, are few at a time.
const FILLING: Duration = Duration::from_secs(10_000);

const CFG: &str = r#"
listen=udp:192.0.2.10:5060
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "dialog.so"
modparam("dialog", "dlg_match_mode", 1)
modparam("dialog", "profiles_with_value", "caller")
request_route {
    if (has_totag()) { loose_route(); t_relay(); exit; }
    record_route();
    dlg_manage();
    set_dlg_profile("caller", "$fU");
    t_relay();
}
"#;

const CALLER: ([u8; 4], u16) = ([192, 0, 2, 45], 5060);
const CALLEE: ([u8; 4], u16) = ([203, 0, 113, 7], 5060);

/// A request of a call as carriers send them: numbers in full, hosts by name.
fn request(method: &str, call: u64, user: u64, more: &str) -> Vec<u8> {
    let uri = "sip:+4989123456789@203.0.113.7:5060;user=phone";
    let text = format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.45:5060;branch=z9hG4bK{method}{call}\r\n{more}\
         From: <sip:+4930{user:09}@customer.example.com>;tag=as7f3c9a1e\r\n\
         Call-ID: {call:010}-4242-0123456789@198.51.100.17\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:+4930{user:09}@192.0.2.45:5060>\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    text.into_bytes()
}

const TO: &str = "To: <sip:+4989123456789@carrier.example.net;user=phone>";

/// A shard that is filled with calls.
pub(crate) struct Filling {
    shard: Shard,
    out: Outbox,
    now: Instant,
    /// Bytes of the blocks that one input gave up, at the most.
    pub(crate) left_max: u64,
    /// Bytes that one input allocated, at the most.
    pub(crate) allocated_max: u64,
}

impl Filling {
    fn new() -> Filling {
        let setup = Setup::from_text(CFG, 1).expect("a good configuration");
        Filling {
            shard: Shard::new(ShardId(0), setup.into(), 1),
            out: Outbox::new(),
            now: Instant::ZERO,
            left_max: 0,
            allocated_max: 0,
        }
    }

    /// A shard in which this many calls are up, `sharing` of them for each value of a profile;
    /// they have begun within `length`.
    pub(crate) fn filled(count: u64, sharing: u64, length: Duration) -> Filling {
        let mut filling = Filling::new();
        let between = Duration::from_nanos(length.as_nanos() / count);
        for call in 0..count {
            filling.begin(call, call / sharing);
            filling.wait(between);
        }
        filling.wait(Duration::from_secs(60));
        let table = &filling.shard.state().dialogs.table;
        let up = table.count(State::Confirmed) as u64;
        assert_eq!(up, count, "every call is up");
        assert!(filling.shard.is_idle(), "no transaction is left");
        filling
    }

    /// INVITE, 200 and ACK of a call.
    fn begin(&mut self, call: u64, user: u64) {
        let invite = request("INVITE", call, user, &format!("{TO}\r\n"));
        self.receive(CALLER, &invite);
        let relayed = self.out.drain().find_map(|effect| match effect {
            Effect::Send(send) if send.bytes.starts_with(b"INVITE") => Some(send.bytes),
            _ => None,
        });
        let (relayed, mut bytes) = (relayed.expect("the INVITE goes on to the callee"), vec![]);
        respond(&relayed, "200 OK", &mut bytes);
        self.receive(CALLEE, &bytes);
        let route = "Route: <sip:192.0.2.10;lr;ftag=as7f3c9a1e>\r\n";
        // The cookie is the shard's own business: dialogs are found here by their tags.
        let more = format!("{route}{TO};tag=callee\r\n");
        self.receive(CALLER, &request("ACK", call, user, &more));
        self.out.drain();
    }

    fn receive(&mut self, from: ([u8; 4], u16), bytes: &[u8]) {
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote: SocketAddr::from(from),
            conn: None,
        };
        self.input(self.now, Input::Received { flow, bytes });
    }

    fn wait(&mut self, length: Duration) {
        self.now += length;
        while let Some((at, _)) = self.shard.next_deadline().filter(|(at, _)| *at <= self.now) {
            self.input(at, Input::Deadline);
            self.out.drain();
        }
    }

    fn input(&mut self, now: Instant, input: Input<'_>) {
        let (left, (_, allocated)) = (allocations::left(), allocations::so_far());
        self.shard.handle(clock(now), input, &mut self.out);
        self.left_max = self.left_max.max(allocations::left() - left);
        let allocated = allocations::so_far().1 - allocated;
        self.allocated_max = self.allocated_max.max(allocated);
    }
}

fn clock(now: Instant) -> Now {
    Now {
        mono: now,
        wall: WallTime::from_micros(1_700_000_000_000_000),
    }
}

/// Bytes of the journal, which a core reserves once and whatever it holds.
const JOURNAL: u64 = (JOURNAL_ENTRY_COUNT_MAX * size_of::<Entry>()) as u64;

/// Bytes per dialog.
fn kept(count: u64, sharing: u64) -> u64 {
    let before = allocations::alive();
    let filling = Filling::filled(count, sharing, FILLING);
    let bytes = allocations::alive() - before;
    drop(filling);
    bytes.saturating_sub(JOURNAL) / count
}

/// Whether a dialog keeps at most a KiB.
pub(crate) fn check() -> Result<(), String> {
    let bytes = kept(FEW, 1);
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    Err(format!("a dialog keeps {bytes} bytes, not {BYTES_MAX}"))
}

/// A line for each measurement.
pub(crate) fn report() -> String {
    let line = |(count, sharing): (u64, u64)| {
        let bytes = kept(count, sharing);
        format!(
            "{count:>9} dialogs, {sharing:>2} for each value of a profile: {bytes:>5} bytes each\n"
        )
    };
    MEASURED.into_iter().map(line).collect()
}
