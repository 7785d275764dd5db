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

/// A shard in which this many calls are up, `sharing` of them for each value of a profile.
fn filled(count: u64, sharing: u64) -> Shard {
    let setup = Setup::from_text(CFG, 1).expect("a good configuration");
    let mut shard = Shard::new(ShardId(0), setup.into(), 1);
    let (mut out, mut now, mut bytes) = (Outbox::new(), Instant::ZERO, vec![]);
    let between = Duration::from_micros(FILLING.as_micros() / count);
    for call in 0..count {
        let user = call / sharing;
        let invite = request("INVITE", call, user, &format!("{TO}\r\n"));
        receive(&mut shard, now, CALLER, &invite, &mut out);
        let relayed = out.drain().find_map(|effect| match effect {
            Effect::Send(send) if send.bytes.starts_with(b"INVITE") => Some(send.bytes),
            _ => None,
        });
        let relayed = relayed.expect("the INVITE goes on to the callee");
        respond(&relayed, "200 OK", &mut bytes);
        receive(&mut shard, now, CALLEE, &bytes, &mut out);
        let route = "Route: <sip:192.0.2.10;lr;ftag=as7f3c9a1e>\r\n";
        // The cookie is the shard's own business: dialogs are found here by their tags.
        let more = format!("{route}{TO};tag=callee\r\n");
        let ack = request("ACK", call, user, &more);
        receive(&mut shard, now, CALLER, &ack, &mut out);
        out.drain();
        now = wait(&mut shard, now, between, &mut out);
    }
    wait(&mut shard, now, Duration::from_secs(60), &mut out);
    let table = &shard.state().dialogs.table;
    assert_eq!(
        table.count(State::Confirmed) as u64,
        count,
        "every call is up"
    );
    assert!(shard.is_idle(), "no transaction is left");
    shard
}

fn receive(shard: &mut Shard, now: Instant, from: ([u8; 4], u16), bytes: &[u8], out: &mut Outbox) {
    let flow = Flow {
        socket: SocketId(0),
        proto: Proto::Udp,
        remote: SocketAddr::from(from),
        conn: None,
    };
    shard.handle(clock(now), Input::Received { flow, bytes }, out);
}

fn wait(shard: &mut Shard, now: Instant, length: Duration, out: &mut Outbox) -> Instant {
    let end = now + length;
    while let Some((at, _)) = shard.next_deadline().filter(|(at, _)| *at <= end) {
        shard.handle(clock(at), Input::Deadline, out);
        out.drain();
    }
    end
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
    let shard = filled(count, sharing);
    let bytes = allocations::alive() - before;
    drop(shard);
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
