//! What shards tell each other: the little that is not one call's own business.
//!
//! Everything here is a value and may be lost, repeated or late on its way. Batches are repeated
//! until each shard has confirmed them, counts in them are absolute, and commands are applied
//! once by their number. A question is asked once: lost, it ends with the patience of the script
//! that waits; repeated or overtaken, its number shows it and it is not heard.

use std::sync::Arc;

use super::flow::{Flow, SocketId};
use super::rpc::Value;
use crate::slab::Key;

/// One message between two shards.
#[derive(Clone, PartialEq, Debug)]
pub enum PeerMessage {
    /// News for every shard.
    Batch(Arc<Batch>),
    /// The batch with this number has come.
    Seen(u64),
    /// Every batch below this number has come to all, so what still comes of them is a copy.
    Settled(u64),
    /// A script asks about a dialog of another shard, or wants something done to it.
    Question(Box<Question>),
    /// What came of it.
    Answer(Box<Answer>),
    /// A destination of the dispatcher has this state now.
    Destination {
        /// Its set.
        set: i64,
        /// Its URI.
        uri: Box<[u8]>,
        /// The bits of the state.
        flags: u32,
    },
    /// An item of a table of the script's has changed (`htable`).
    Item(Arc<ItemNews>),
    /// A message of SIP whose Call-ID only a script has shown (`network:msg`).
    Decoded {
        /// What it came in on.
        flow: Flow,
        /// The message.
        bytes: Box<[u8]>,
    },
    /// A script waits for what the shard that made a nonce says of its use.
    Nonce {
        /// The script.
        run: Key,
        /// The number of the nonce.
        number: u32,
        /// The count that came with it.
        count: Option<u32>,
    },
    /// What that shard says.
    NonceUse {
        /// The script.
        run: Key,
        /// Whether it is the first use in this way.
        told: NonceUse,
    },
    /// Something that scripts of all shards share has changed.
    Shared(Arc<SharedNews>),
    /// A request of a script's own that bears a Call-ID of this shard: it is sent here, where its
    /// answers come.
    Request(Box<OwnRequest>),
    /// A script waits until another shard has done something to a transaction of its own.
    Transaction {
        /// The script.
        run: Key,
        /// What is to be done.
        order: Arc<TransactionOrder>,
    },
    /// What came of it.
    Answered {
        /// The script.
        run: Key,
        /// Whether there is such a transaction.
        is_found: bool,
    },
}

impl PeerMessage {
    /// Whether it need not wake a shard that has nothing to do: it says what is so, and the shard
    /// hears of it before it looks at anything else.
    pub fn may_wait(&self) -> bool {
        match self {
            PeerMessage::Batch(batch) => batch.commands.is_empty(),
            PeerMessage::Seen(_)
            | PeerMessage::Settled(_)
            | PeerMessage::Item(_)
            | PeerMessage::Shared(_) => true,
            PeerMessage::Question(_)
            | PeerMessage::Answer(_)
            | PeerMessage::Destination { .. }
            | PeerMessage::Decoded { .. }
            | PeerMessage::Nonce { .. }
            | PeerMessage::NonceUse { .. }
            | PeerMessage::Request(_)
            | PeerMessage::Transaction { .. }
            | PeerMessage::Answered { .. } => false,
        }
    }
}

/// A request that a script has made (`uac_req_send`, `t_uac_send`). Values are as they stand on the
/// wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnRequest {
    /// The method.
    pub method: Box<[u8]>,
    /// The Request-URI.
    pub uri: Box<[u8]>,
    /// Where it goes instead: a URI.
    pub next_hop: Option<Box<[u8]>>,
    /// The socket to send from.
    pub socket: Option<SocketId>,
    /// The value of From.
    pub from: Box<[u8]>,
    /// The value of To.
    pub to: Box<[u8]>,
    /// The Call-ID.
    pub call_id: Box<[u8]>,
    /// The sequence number.
    pub cseq: u32,
    /// Further header fields: complete lines.
    pub headers: Box<[u8]>,
    /// The body.
    pub body: Box<[u8]>,
    /// User, realm and password for a challenge.
    pub credential: Option<[Box<[u8]>; 3]>,
    /// What `$uac_req` holds when `event_route[uac:reply]` runs.
    pub event: Option<OwnEvent>,
}

/// What a script is told of a request of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnEvent {
    /// The texts of `$uac_req`, in the order of its words.
    pub texts: Vec<Option<Box<[u8]>>>,
    /// `evroute`.
    pub wanted: i64,
}

/// What a script wants of a dialog that another shard has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Counts up with each question of the shard.
    pub number: u64,
    /// The script that waits for the answer; `None`: nobody does.
    pub run: Option<Key>,
    /// The dialog.
    pub which: Which,
    /// What is to be done to it.
    pub order: Order,
}

/// How a dialog of another shard is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// By its identifier.
    Id {
        /// The slot of its Call-ID.
        h_entry: u32,
        /// Its number there.
        h_id: u32,
    },
    /// As a message would.
    Tags {
        /// The Call-ID.
        call_id: Box<[u8]>,
        /// The tag of the side that would send.
        from_tag: Box<[u8]>,
        /// The tag of the other.
        to_tag: Box<[u8]>,
    },
}

/// What is to be done to one dialog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Nothing: it is only looked at.
    Look,
    /// Let it live so many seconds.
    SetLifetime(u32),
    /// Hang up on the caller, the callee, or both (`dlg_bye`).
    HangUp {
        /// The caller gets a BYE.
        caller: bool,
        /// The callee does.
        callee: bool,
    },
    /// Refer a party to an address (`dlg_refer`).
    Refer {
        /// The caller is referred, else the callee.
        is_caller: bool,
        /// To whom.
        to: Box<[u8]>,
    },
    /// Give a variable this value, or none.
    SetVariable(Box<[u8]>, Option<Box<[u8]>>),
    /// Change flags of the script.
    ScriptFlags(Bits),
    /// Change flags of the module (`dlg_set_property`).
    Properties(Bits),
    /// Make it a member of a profile, by its place among all.
    Join(u16, Box<[u8]>),
    /// End its newest membership, with this value if there is one.
    Leave(u16, Option<Box<[u8]>>),
}

/// Flags to set and to clear.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bits {
    /// These are set.
    pub set: u32,
    /// Then these are cleared.
    pub clear: u32,
}

impl Bits {
    /// The flags when that is done.
    pub const fn of(self, flags: u32) -> u32 {
        (flags | self.set) & !self.clear
    }
}

/// What came of a question.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The script that waits.
    pub run: Key,
    /// Whether the order was carried out.
    pub is_done: bool,
    /// The dialog as it is now; `None`: there is none.
    pub copy: Option<DialogCopy>,
}

/// A name and a value.
pub type Named = (Box<[u8]>, Box<[u8]>);

/// A dialog as scripts of another shard read it.
#[derive(Clone, PartialEq, Debug)]
pub struct DialogCopy {
    /// The slot of its Call-ID.
    pub h_entry: u32,
    /// Its number there.
    pub h_id: u32,
    /// Whether a message with the tags that were asked for would go to the callee.
    pub is_downstream: Option<bool>,
    /// What `$dlg` shows, in the order of its attributes.
    pub attributes: Box<[Value]>,
    /// `$dlg_var`, names and values, the newest first.
    pub vars: Vec<Named>,
    /// Its profiles, by their place among all, with the values; the newest last.
    pub profiles: Vec<(u16, Box<[u8]>)>,
}

/// The five statistics of dialogs, in the order of the manual.
pub type Figures = [u64; 5];

/// What a script does to a transaction of another call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransactionOrder {
    /// `t_continue`: go on with a suspended request.
    Continue {
        /// The transaction.
        key: Key,
        /// The route that runs.
        route: Box<[u8]>,
    },
    /// `t_cancel_callid`: cancel an INVITE.
    Cancel {
        /// Its Call-ID.
        call_id: Box<[u8]>,
        /// Its sequence number.
        cseq: u32,
        /// The message flag that its later routes see.
        flag: Option<u8>,
        /// The cause in the CANCEL.
        cause: Option<u16>,
    },
    /// `t_reply_callid`: answer a request.
    Reply {
        /// Its Call-ID.
        call_id: Box<[u8]>,
        /// Its sequence number.
        cseq: u32,
        /// The status.
        status: u16,
        /// The phrase.
        reason: Box<[u8]>,
    },
}

/// News of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Counts up with each batch of the shard.
    pub number: u64,
    /// Every batch with a lower number has been confirmed by every shard.
    pub settled: u64,
    /// The statistics of dialogs of the shard, in the order of the manual.
    pub figures: Figures,
    /// Sizes of profiles.
    pub counts: Vec<Count>,
    /// Things to do.
    pub commands: Vec<Command>,
}

/// How many members a value of a profile has in the shard that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// The profile, by its place among all.
    pub profile: u16,
    /// The value; empty in profiles without values.
    pub value: Box<[u8]>,
    /// How many.
    pub count: u32,
}

/// Something that every shard does with what it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Set the lifetime of the dialogs in a profile.
    SetLifetime {
        /// The profile.
        profile: u16,
        /// Only those with this value; `None`: all.
        value: Option<Box<[u8]>>,
        /// Seconds.
        lifetime_s: u32,
    },
    /// Remove one item of another server.
    RemoveRemote {
        /// The profile.
        profile: u16,
        /// Its value.
        value: Box<[u8]>,
        /// Its identifier.
        uid: Box<[u8]>,
    },
}

/// What comes of a use of a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceUse {
    /// It is the first one with this count.
    Fresh,
    /// It was used in this way, or is forgotten.
    Stale,
    /// It is good once, and was used.
    Reused,
}

/// News of what scripts of all shards share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SharedNews {
    /// A variable (`$shv`).
    Variable {
        /// Its name.
        name: Box<[u8]>,
        /// When it changed, in microseconds of the wall clock; of two values the later counts.
        at: u64,
        /// What has become of it.
        change: ItemChange,
    },
    /// The flags of `set_gflag` and `reset_gflag`.
    Flags(Bits),
}

/// News of one item of a table of the script's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ItemNews {
    /// The table.
    pub table: Box<str>,
    /// The item.
    pub key: Box<[u8]>,
    /// When it changed, in microseconds of the wall clock; of two values the later counts.
    pub at: u64,
    /// What has become of it.
    pub change: ItemChange,
}

/// What has become of an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemChange {
    /// It has this number.
    Number(i64),
    /// It has this text.
    Text(Box<[u8]>),
    /// This has been added to its number.
    Add(i64),
    /// It lives so many seconds from now; 0: until it is removed.
    Live(u64),
    /// It is gone.
    Remove,
}
