//! `tm.reply` and its kin: an operator answers a transaction, or sends a request.

use std::borrow::Cow;

use crate::effect::rpc::{Fault, Part};
use crate::modules::tm::{self, Said};
use crate::modules::work::Bytes;
use crate::modules::{Env, uac};
use crate::sip::{HeaderName, Message, Uri};
use crate::slab::Key;
use crate::steer::{self, ShardId};

use super::args::Args;
use super::command::{Answer, Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop};
use super::desk::Desk;

/// The commands.
pub const TRANSACTION: [Command; 7] = [
    shards(
        ("tm.reply", "Reply to a transaction."),
        "CODE REASON INDEX:LABEL TOTAG HEADERS [BODY]",
        Shards {
            whom: |desk, args| {
                Wanted::of(args, 3)?;
                let (shard, _) = identity(args)?;
                match shard.0 < desk.setup.shard_count {
                    true => Ok(Whom::One(shard)),
                    false => Err(stop(481, NONE)),
                }
            },
            part: reply,
            fold: Fold::List(|_| None),
        },
    ),
    shards(
        ("tm.reply_callid", "Reply to a transaction by its Call-ID."),
        "CODE REASON CALLID CSEQ TOTAG HEADERS [BODY]",
        Shards {
            whom: |desk, args| {
                Wanted::of(args, 4)?;
                let (call_id, _) = call(args)?;
                Ok(Whom::One(steer::owner(&call_id, desk.setup.shard_count)))
            },
            part: reply_by_call_id,
            fold: Fold::List(|_| None),
        },
    ),
    shards(
        ("tm.t_uac_start", "Send a request of our own."),
        "METHOD URI NEXTHOP SOCKET HEADERS [BODY]",
        Shards {
            whom: |desk, args| {
                let texts = request(args)?;
                let owner = |message: Message| {
                    let call_id = message.first(HeaderName::CallId)?;
                    let call_id = call_id.value.of(message.bytes());
                    Some(steer::owner(call_id, desk.setup.shard_count))
                };
                let owner = uac::as_message(&texts[4]).and_then(owner);
                Ok(Whom::One(owner.unwrap_or(ShardId(0))))
            },
            part: start,
            fold: Fold::List(|_| None),
        },
    ),
    Command::here(
        "tm.t_uac_wait",
        "Send a request and answer with its response: not supported.",
        unsupported,
    ),
    Command::here(
        "tm.t_uac_wait_block",
        "Send a request and wait for its response: not supported.",
        unsupported,
    ),
    Command::here(
        "tm.hash_stats",
        "The load of the hash table: there is none of a fixed size.",
        |_, _| Err(stop(500, "Hash statistics not supported")),
    ),
    Command::here(
        "tm.clean",
        "Trigger a clean of expired transactions: they end in time anyhow.",
        |_, _| Ok(Vec::new()),
    ),
];

const NONE: &str = "No such transaction";

const fn shards(
    (name, help): (&'static str, &'static str),
    params: &'static str,
    run: Shards,
) -> Command {
    Command {
        name,
        help,
        params,
        container: Container::Last,
        run: Run::Shards(run),
    }
}

/// No operator waits for a response of SIP.
fn unsupported(_: &mut Desk<'_>, _: &Args) -> Answer {
    let text = "Reply wait/async mode not supported by this rpc transport";
    Err(stop(600, text))
}

/// What is common to both ways of naming a transaction.
struct Wanted<'a> {
    status: u16,
    reason: Cow<'a, [u8]>,
    tag: Cow<'a, [u8]>,
    /// Without Content-Type and Content-Length.
    headers: Vec<u8>,
    kind: Vec<u8>,
    body: Option<Cow<'a, [u8]>>,
}

impl<'a> Wanted<'a> {
    /// Of these parameters, the tag at this place.
    fn of(args: &'a Args, tag: usize) -> Result<Wanted<'a>, Stop> {
        let status = args.int(0).map_err(|_| stop(400, "Reply code expected"))?;
        let reason = args
            .text(1)
            .map_err(|_| stop(400, "Reason phrase expected"))?;
        let to_tag = args.text(tag).map_err(|_| stop(400, "To tag expected"))?;
        let lines = args
            .text(tag + 1)
            .map_err(|_| stop(400, "New headers expected"))?;
        let body = args.optional(tag + 2, Args::text);
        let body = body.map_err(|_| stop(400, "Body expected"))?;
        let status = u16::try_from(status)
            .ok()
            .filter(|s| (100..700).contains(s));
        let status = status.ok_or_else(|| stop(400, "Reply code expected"))?;
        let is_line = |text: &[u8]| text.iter().any(|b| matches!(b, b'\r' | b'\n'));
        if is_line(&reason)
            || to_tag
                .iter()
                .any(|b| !b.is_ascii_graphic() || b";,<>".contains(b))
        {
            return Err(stop(400, "Reason or To tag cannot stand in a message"));
        }
        let (headers, kind) = split(&lines).ok_or_else(|| stop(400, "New headers expected"))?;
        if body.is_some() && kind.is_empty() {
            return Err(stop(400, "Content-Type missing"));
        }
        Ok(Wanted {
            status,
            reason,
            tag: to_tag,
            headers,
            kind,
            body,
        })
    }

    fn said(&self) -> Said<'_> {
        Said {
            status: self.status,
            reason: &self.reason,
            tag: &self.tag,
            headers: &self.headers,
            body: self.body.as_deref().map(|body| (&self.kind[..], body)),
        }
    }
}

/// Header lines without those about the body, and the type of the body. A dot is no line.
fn split(lines: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if matches!(lines, b"." | b"") {
        return Some((Vec::new(), Vec::new()));
    }
    let message = uac::as_message(lines)?;
    let (mut headers, mut kind) = (Vec::new(), Vec::new());
    // The Via that makes a message of them is not theirs.
    for header in message.headers().skip(1) {
        match header.name {
            HeaderName::ContentType => kind = header.value.of(message.bytes()).to_vec(),
            HeaderName::ContentLength => {}
            _ => headers.extend_from_slice(header.line.of(message.bytes())),
        }
    }
    Some((headers, kind))
}

/// `index:label`, as `tm.list` and `$T` show them.
fn identity(args: &Args) -> Result<(ShardId, Key), Stop> {
    let text = args
        .text(2)
        .map_err(|_| stop(400, "Transaction ID expected"))?;
    let parts = || {
        let (index, label) = std::str::from_utf8(&text).ok()?.split_once(':')?;
        Some((index.parse().ok()?, label.parse().ok()?))
    };
    let (index, label) = parts().ok_or_else(|| stop(400, "Invalid transaction ID"))?;
    tm::named(index, label).ok_or_else(|| stop(481, NONE))
}

/// Call-ID and number.
fn call(args: &Args) -> Result<(Cow<'_, [u8]>, u32), Stop> {
    let call_id = args.text(2).map_err(|_| stop(400, "Call-ID expected"))?;
    let cseq = args.word(3).map_err(|_| stop(400, "CSeq expected"))?;
    let number = std::str::from_utf8(&cseq)
        .ok()
        .and_then(|n| n.trim().parse().ok());
    Ok((call_id, number.ok_or_else(|| stop(400, "CSeq expected"))?))
}

fn reply(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let key = identity(args).ok().map(|(_, key)| key);
    answered(env, key, Wanted::of(args, 3))
}

fn reply_by_call_id(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let key = match call(args) {
        Ok((call_id, cseq)) => tm::pending(env.state, &call_id, cseq),
        Err(_) => None,
    };
    answered(env, key, Wanted::of(args, 4))
}

fn answered(env: &mut Env<'_>, key: Option<Key>, wanted: Result<Wanted<'_>, Stop>) -> Part {
    // The parameters were looked at before the shard was asked.
    let Ok(wanted) = wanted else {
        return Part::whole(Vec::new());
    };
    match key.filter(|key| env.state.tm.get(*key).is_some()) {
        None => fault(481, NONE),
        Some(key) if tm::answer_for(env, key, wanted.said()) => Part::whole(Vec::new()),
        Some(_) => fault(500, "Reply failed"),
    }
}

fn fault(code: i32, text: impl Into<Cow<'static, str>>) -> Part {
    Part {
        values: Err(Fault {
            code,
            text: text.into(),
        }),
        next: None,
    }
}

/// Method, URI, next hop, socket, headers, body; a dot is nothing.
fn request(args: &Args) -> Result<[Bytes; 6], Stop> {
    let mut texts: [Bytes; 6] = std::array::from_fn(|_| Bytes::from(&b""[..]));
    for (at, text) in texts.iter_mut().enumerate() {
        let given = match at {
            5 => args.optional(at, Args::text)?,
            _ => Some(args.text(at)?),
        };
        if let Some(given) = given.filter(|given| **given != *b".") {
            *text = Bytes::from(&*given);
        }
    }
    if Uri::parse(&texts[1]).is_err() {
        let uri = String::from_utf8_lossy(&texts[1]);
        let text = format!("Invalid request uri \"{uri}\"");
        return Err(Stop::Fault(Fault::new(400, text)));
    }
    Ok(texts)
}

fn start(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let Ok(texts) = request(args) else {
        return Part::whole(Vec::new());
    };
    match uac::start(env.state, &texts) {
        Ok(()) => Part::whole(Vec::new()),
        Err(what) => fault(400, what),
    }
}
