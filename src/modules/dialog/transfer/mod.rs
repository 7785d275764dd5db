//! Transfers from here (RFC 3515): a party is asked by REFER to call somebody else, and leaves.
//!
//! ```text
//!   dlg_refer   ─────────────────────▶ REFER ─any final response─▶ BYE
//!   dlg_bridge  ─▶ INVITE ─2xx, ACK─▶    "             "            "      NOTIFYs: notify.rs
//! ```
//!
//! `dlg_refer` refers a party of a tracked dialog, in the name of the other. The dialog stays as
//! it is: only that party is told that it is over. `dlg_bridge` makes a call of its own that is no
//! tracked dialog: nobody sees it in listings, and its INVITE offers media that goes nowhere.
//!
//! A party that answers an INVITE too late, or after another of the same fork, is acknowledged and
//! hung up. NOTIFYs of the new call are answered here as long as a phone may ring, because the
//! script knows nothing of it; the BYE does not wait for them.
//!
//! A transfer is one entry of a slab, about 400 bytes and its strings, found by its Call-ID. It has
//! one timer, so that nothing a peer does or leaves undone keeps it.
//!
//! # The grid
//!
//! A cell reads `next stage: what is done`; without a stage the stage stays, `-` absorbs the event.
#![doc = include_str!("grid.md")]

mod notify;
pub mod stage;
mod table;

use std::sync::Arc;

use crate::effect::{Flow, Level};
use crate::limits::{
    MESSAGE_SIZE_MAX, TRANSFER_FORK_COUNT_MAX, TRANSFER_LINGER_TIME, TRANSFER_NOTIFY_TIME,
    TRANSFER_REFER_TIME, TRANSFER_RING_TIME, URI_SIZE_MAX,
};
use crate::modules::state::{Env, State};
use crate::modules::tm::local::{self, Answer, LocalRequest, Owner};
use crate::modules::tm::{self, branch, upstream};
use crate::modules::work::Bytes;
use crate::sip::{Message, NameAddr, Uri};
use crate::slab::Key;
use crate::time::Duration;
use crate::timer::Timer;

use super::leg::Direction;
use super::request::{self, Purpose};
use super::{bye, params};

pub use notify::take;
pub use table::Transfers;

use stage::{Act, Event, Stage};
use table::Transfer;

/// What an INVITE offers when nobody says otherwise: audio that goes nowhere (RFC 3264 §8.4).
const SDP: &[u8] = b"v=0\r\no=kamailio-bridge 0 0 IN IP4 0.0.0.0\r\ns=kamailio\r\n\
    c=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n";

/// Room in a message for everything but the body.
const HEADERS_SIZE_MAX: usize = 4 * URI_SIZE_MAX;

/// A request of a transfer outside of a tracked dialog, as its answer finds it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    transfer: Key,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Invite,
    Refer,
    Bye,
}

/// Whom to call, and to whom to transfer them.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    /// Who is called: a URI.
    pub from: &'a [u8],
    /// To whom they are referred: a URI, or a display name and a URI in angle brackets.
    pub to: &'a [u8],
    /// Where the INVITE goes instead: a URI; empty or `.`: to `from`.
    pub proxy: &'a [u8],
    /// The body of the INVITE; `None` or `.`: an offer that goes nowhere; empty or `_`: none.
    pub body: Option<&'a [u8]>,
}

/// Why a transfer does not begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Not an address.
    Address,
    /// More than a message holds.
    Body,
    /// As many are at work as there may be.
    Full,
}

impl Refused {
    /// For operators and logs.
    pub const fn text(self) -> &'static str {
        match self {
            Refused::Address => "Invalid address",
            Refused::Body => "Body too large",
            Refused::Full => "Too many transfers",
        }
    }
}

/// An address as the value of Refer-To or Referred-By: with angle brackets where it would be read
/// as something else without (§20.10). `None`: it is none.
fn address(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    if text.iter().any(u8::is_ascii_control) {
        return None;
    }
    if text.contains(&b'<') {
        let uri = NameAddr::parse(text).ok()?.uri;
        return is_uri(uri).then(|| text.to_vec());
    }
    let is_ambiguous = text.iter().any(|b| b",;?".contains(b));
    is_uri(text).then(|| match is_ambiguous {
        true => [b"<", text, b">"].concat(),
        false => text.to_vec(),
    })
}

fn is_uri(text: &[u8]) -> bool {
    let is_apart = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || b"<>\"".contains(b);
    !text.iter().any(is_apart) && Uri::parse(text).is_ok()
}

/// `dlg_bridge`, `dlg.bridge_dlg`: calls one party, to refer it to another.
pub fn bridge(env: &mut Env<'_>, wanted: Bridge<'_>) -> Result<(), Refused> {
    let refer_to = address(wanted.to).filter(|_| is_uri(wanted.from));
    let proxy = Some(wanted.proxy).filter(|proxy| !matches!(*proxy, b"" | b"."));
    let refer_to = refer_to.filter(|_| proxy.is_none_or(is_uri));
    let refer_to = refer_to.ok_or(Refused::Address)?;
    let body = match wanted.body {
        None | Some(b".") => SDP,
        Some(b"_") => b"",
        Some(body) => body,
    };
    if body.len() > MESSAGE_SIZE_MAX - HEADERS_SIZE_MAX {
        return Err(Refused::Body);
    }
    if env.state.dialogs.transfers.is_full() {
        return Err(Refused::Full);
    }
    let setup = Arc::clone(&env.state.setup);
    let config = &setup.config.dialog;
    let controller = config.bridge_controller.as_bytes();
    let from = wanted.from;
    let mut invite = LocalRequest::new(env.state, b"INVITE", from, controller, from);
    let mut headers = contact_line(config);
    if !body.is_empty() {
        headers.extend_from_slice(b"Content-Type: application/sdp\r\n");
    }
    invite.headers = headers.into();
    invite.body = body.into();
    invite.next_hop = proxy.map(Bytes::from);
    let own_tag = NameAddr::parse(&invite.from)
        .ok()
        .and_then(|from| from.tag());
    let transfer = Transfer {
        own_tag: own_tag.unwrap_or_default().into(),
        ..Transfer::new(Stage::Calling, &invite, refer_to)
    };
    let key = begin(env, transfer, TRANSFER_RING_TIME);
    let step = Step::Invite;
    invite.owner = Owner::Transfer(Sent {
        transfer: key,
        step,
    });
    if !local::send(env.state, invite) {
        forget(env, key);
        return Err(Refused::Full);
    }
    Ok(())
}

/// `dlg_refer`: refers the party at the end of this way. False: nothing was sent.
pub fn refer(env: &mut Env<'_>, dialog: Key, way: Direction, to: &[u8]) -> bool {
    let Some(refer_to) = address(to) else {
        env.log(Level::Err, "dlg_refer: the address is no SIP URI");
        return false;
    };
    let dialogs = &env.state.dialogs;
    let is_here = dialogs
        .table
        .get(dialog)
        .is_some_and(|d| bye::may_leave(d, way));
    let is_asked = dialogs
        .transfers
        .of_dialog(&dialogs.table, dialog, way)
        .is_some();
    if !is_here || is_asked || dialogs.transfers.is_full() {
        return false;
    }
    let transfer = dialogs.transfers.next_key();
    let purpose = Purpose::Refer(transfer);
    let sent = request::Sent {
        dialog,
        way,
        purpose,
    };
    let Some(mut refer) = request::within(env, sent) else {
        return false;
    };
    refer.headers = refer_lines(&env.state.setup.config.dialog, &refer_to).into();
    let tag_of = |value: &Bytes| {
        let tag = NameAddr::parse(value).ok().and_then(|party| party.tag());
        Bytes::from(tag.unwrap_or_default())
    };
    let entry = Transfer {
        own_tag: tag_of(&refer.from),
        tag: tag_of(&refer.to),
        tracked: Some((dialog, way)),
        number: refer.cseq,
        within: Some(Box::new(refer.clone())),
        ..Transfer::new(Stage::Referring, &refer, refer_to)
    };
    let key = begin(env, entry, TRANSFER_REFER_TIME);
    debug_assert_eq!(key, transfer);
    let is_sent = local::send(env.state, refer);
    if !is_sent {
        forget(env, key);
    }
    is_sent
}

fn contact_line(config: &params::Config) -> Vec<u8> {
    let contact = config.bridge_contact.as_bytes();
    [b"Contact: <", contact, b">\r\n"].concat()
}

/// RFC 3515 §2.1, RFC 3892 §2.1.
fn refer_lines(config: &params::Config, refer_to: &[u8]) -> Vec<u8> {
    let controller = config.bridge_controller.as_bytes();
    let referrer = address(controller).unwrap_or_else(|| controller.to_vec());
    let mut lines = [
        b"Referred-By: ",
        &referrer[..],
        b"\r\nRefer-To: ",
        refer_to,
        b"\r\n",
    ]
    .concat();
    lines.extend(contact_line(config));
    lines
}

fn begin(env: &mut Env<'_>, transfer: Transfer, life: Duration) -> Key {
    let key = env.state.dialogs.transfers.insert(transfer);
    live_for(env, key, life);
    key
}

fn live_for(env: &mut Env<'_>, key: Key, life: Duration) {
    let timer = env.start(life, Timer::Transfer(key));
    let deadline = env.now.mono + life;
    let transfer = env.state.dialogs.transfers.get_mut(key);
    let old = transfer.and_then(|transfer| {
        transfer.deadline = deadline;
        transfer.timer.replace(timer)
    });
    env.stop(old);
}

fn forget(env: &mut Env<'_>, key: Key) {
    if let Some(transfer) = env.state.dialogs.transfers.remove(key) {
        env.stop(transfer.timer);
    }
}

/// The timer of a transfer has fired.
pub fn fired(env: &mut Env<'_>, key: Key) {
    if let Some(transfer) = env.state.dialogs.transfers.get_mut(key) {
        transfer.timer = None;
        happen(env, key, Event::TimeUp);
    }
}

/// An event: the next stage, and what the cell says.
fn happen(env: &mut Env<'_>, key: Key, event: Event) {
    let Some(transfer) = env.state.dialogs.transfers.get_mut(key) else {
        return;
    };
    let cell = stage::step(transfer.stage, event);
    transfer.stage = cell.next;
    let (invite, deadline) = (transfer.invite, transfer.deadline);
    let act = cell.act;
    if act.has(Act::CANCEL) {
        cancel(env, invite);
    }
    if act.has(Act::LISTEN) {
        live_for(env, key, TRANSFER_NOTIFY_TIME);
    }
    let is_far = deadline > env.now.mono + TRANSFER_LINGER_TIME;
    if act.has(Act::LINGER) || (act.has(Act::HURRY) && is_far) {
        live_for(env, key, TRANSFER_LINGER_TIME);
    }
    if act.has(Act::REFER) {
        send_refer(env, key);
    }
    if act.has(Act::BYE) {
        send_bye(env, key);
    }
    if act.has(Act::FORGET) {
        forget(env, key);
    }
}

/// §9.1. Whatever comes of it, the INVITE's transaction tells.
fn cancel(env: &mut Env<'_>, invite: Option<Key>) {
    let pending = invite.and_then(|key| Some((key, env.state.tm.get_mut(key)?)));
    let Some((key, t)) = pending.filter(|(_, t)| t.has_pending()) else {
        return;
    };
    t.is_cancelled = true;
    let given_up = branch::cancel(env, key, branch::Which::All);
    upstream::mark_cancelled(env, key, &given_up);
    tm::reap(env, key);
}

fn send_refer(env: &mut Env<'_>, key: Key) {
    let setup = Arc::clone(&env.state.setup);
    let Some(transfer) = env.state.dialogs.transfers.get_mut(key) else {
        return;
    };
    let Some(within) = &transfer.within else {
        return;
    };
    let step = Step::Refer;
    let refer = LocalRequest {
        method: Bytes::from(&b"REFER"[..]),
        cseq: within.cseq.wrapping_add(1),
        headers: refer_lines(&setup.config.dialog, &transfer.refer_to).into(),
        owner: Owner::Transfer(Sent {
            transfer: key,
            step,
        }),
        ..(**within).clone()
    };
    transfer.within = Some(Box::new(refer.clone()));
    if !local::send(env.state, refer) {
        happen(env, key, Event::Declined);
    }
}

fn send_bye(env: &mut Env<'_>, key: Key) {
    let Some(transfer) = env.state.dialogs.transfers.get(key) else {
        return;
    };
    let (tracked, within) = (transfer.tracked, transfer.within.clone());
    if let Some((dialog, way)) = tracked
        && env.state.dialogs.table.get(dialog).is_some()
    {
        return bye::leave(env, dialog, way, key);
    }
    let step = Step::Bye;
    let owner = Owner::Transfer(Sent {
        transfer: key,
        step,
    });
    if let Some(within) = within {
        send_last(env, *within, owner);
    }
}

/// The BYE behind this request, in its dialog.
fn send_last(env: &mut Env<'_>, behind: LocalRequest, owner: Owner) {
    let bye = LocalRequest {
        method: Bytes::from(&b"BYE"[..]),
        cseq: behind.cseq.wrapping_add(1),
        headers: Bytes::from(&b""[..]),
        body: Bytes::from(&b""[..]),
        attempts: 0,
        owner,
        ..behind
    };
    // Too many wait already: the party's own timers must do.
    let _ = local::send(env.state, bye);
}

/// What has come of a request of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// The request.
    pub request: &'a LocalRequest,
    /// What became of it.
    pub answer: &'a Answer,
    /// Its transaction, if it has one.
    pub transaction: Option<Key>,
}

impl Heard<'_> {
    fn is_provisional(&self) -> bool {
        self.answer.status().is_some_and(|status| status < 200)
    }

    fn is_success(&self) -> bool {
        let status = self.answer.status().unwrap_or(0);
        matches!(self.answer, Answer::Response(..)) && (200..300).contains(&status)
    }
}

/// A request outside of a tracked dialog has been answered, or has failed.
pub fn answered(env: &mut Env<'_>, sent: Sent, heard: Heard<'_>) {
    let key = sent.transfer;
    if sent.step == Step::Invite {
        return invited(env, key, heard);
    }
    if request::goes_again(env, heard.request, heard.answer) || heard.is_provisional() {
        return;
    }
    match sent.step {
        Step::Invite => {}
        Step::Refer => refer_answered(env, key, heard),
        Step::Bye => bye_answered(env, key),
    }
}

/// A REFER goes again with another number: NOTIFYs of it may come before its answer does
/// (RFC 3515 §2.4.4).
pub(super) fn renumbered(shard: &mut State, key: Key, number: u32) {
    if let Some(transfer) = shard.dialogs.transfers.get_mut(key) {
        transfer.number = number;
    }
}

/// A REFER has its final answer, or will never have one.
pub(super) fn refer_answered(env: &mut Env<'_>, key: Key, heard: Heard<'_>) {
    if let Some(transfer) = env.state.dialogs.transfers.get_mut(key) {
        transfer.within = Some(Box::new(heard.request.clone()));
    }
    let event = match heard.is_success() {
        true => Event::Accepted,
        false => Event::Declined,
    };
    happen(env, key, event);
}

/// So has a BYE.
pub(super) fn bye_answered(env: &mut Env<'_>, key: Key) {
    happen(env, key, Event::ByeAnswered);
}

/// The party at the end of this way is told by a BYE of another reason, or has hung up itself.
pub(super) fn party_left(env: &mut Env<'_>, dialog: Key, way: Direction) {
    let dialogs = &env.state.dialogs;
    if let Some(key) = dialogs.transfers.of_dialog(&dialogs.table, dialog, way) {
        happen(env, key, Event::Gone);
    }
}

fn invited(env: &mut Env<'_>, key: Key, heard: Heard<'_>) {
    let transfer = env.state.dialogs.transfers.get_mut(key);
    if heard.is_provisional() {
        if let Some(transfer) = transfer {
            transfer.invite = heard.transaction;
        }
        return;
    }
    let (true, Answer::Response(response, flow)) = (heard.is_success(), heard.answer) else {
        return happen(env, key, Event::Refused);
    };
    let within = made(heard.request, response, *flow);
    let tag = response.to_tag().unwrap_or_default();
    let Some(transfer) = transfer else {
        // It rang on for longer than anybody remembers.
        return send_last(env, within, Owner::Nobody);
    };
    if *transfer.tag == *tag || transfer.forks.iter().any(|fork| **fork == *tag) {
        // §13.2.2.4: a repetition, which has had its ACK.
        return;
    }
    if transfer.tag.is_empty() {
        transfer.tag = tag.into();
        transfer.within = Some(Box::new(within));
        return happen(env, key, Event::Answered);
    }
    if transfer.forks.len() < TRANSFER_FORK_COUNT_MAX {
        transfer.forks.push(tag.into());
        send_last(env, within, Owner::Nobody);
    }
}

/// The dialog that a 2xx has made (§12.1.2): what the next request in it is written from.
fn made(invite: &LocalRequest, response: &Message, flow: Flow) -> LocalRequest {
    LocalRequest {
        body: Bytes::from(&b""[..]),
        attempts: 0,
        ..local::ack(invite, response, flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_is_the_documented_one() {
        assert_eq!(SDP.len(), 147);
        assert!(SDP.ends_with(b"PCMU/8000\r\n"));
    }

    #[test]
    fn addresses_are_written_so_that_they_are_read_the_same() {
        let table = [
            ("sip:a@b", Some("sip:a@b")),
            (" sip:a@b ", Some("sip:a@b")),
            (
                "sips:a@[2001:db8::1]:5061",
                Some("sips:a@[2001:db8::1]:5061"),
            ),
            ("tel:+431234", Some("tel:+431234")),
            ("sip:a@b;transport=tcp", Some("<sip:a@b;transport=tcp>")),
            ("sip:a,c@b", Some("<sip:a,c@b>")),
            (
                "sip:a@b?Replaces=1%3Bto-tag%3D2",
                Some("<sip:a@b?Replaces=1%3Bto-tag%3D2>"),
            ),
            ("<sip:a@b>", Some("<sip:a@b>")),
            ("\"A\" <sip:a@b;x=1>;y=2", Some("\"A\" <sip:a@b;x=1>;y=2")),
            ("", None),
            ("a@b", None),
            ("nobody", None),
            ("<nobody>", None),
            ("<sip:a@b", None),
            ("sip:a@b\r\nX-Injected: 1", None),
            ("<sip:a@b>\r\nX-Injected: 1", None),
            ("sip:a@b c", None),
            ("sip:a@b>", None),
        ];
        for (text, want) in table {
            let found = address(text.as_bytes());
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text:?}");
        }
    }
}
