//! One message on its way through a script.

use std::rc::Rc;
use std::sync::Arc;

use crate::effect::peer::{Order, Which};
use crate::effect::{Destination, Flow, Lookup, Proto, SocketId, TransactionOrder};
use crate::script::{RouteId, RouteKind};
use crate::sip::{Edits, Message};
use crate::slab::Key;
use crate::time::Duration;

use super::pv::avp::Avps;
use crate::steer::ShardId;

use super::{auth, corex, dialog, ipops, rr, sanity, siputils, textops, tm, uac};

/// Bytes that several owners keep.
pub type Bytes = Rc<[u8]>;

/// One entry of the target set (RFC 3261 §16.5).
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The Request-URI; `None`: as received.
    pub uri: Option<Bytes>,
    /// The destination URI (`$du`): the next hop when it is not the Request-URI.
    pub next_hop: Option<Bytes>,
    /// The socket to send from (`$fs`); `None`: chosen by the next hop.
    pub socket: Option<SocketId>,
    /// Preference in thousandths, as in Contact; `None`: lowest.
    pub q: Option<u16>,
    /// Branch flags (`$bf`).
    pub flags: u32,
    /// The device that it is a contact of (RFC 5626 §4.1), as `t_next_contacts` has found it.
    pub instance: Option<Bytes>,
}

/// What an asynchronous function wants done before the script goes on. The shard does it; the
/// function's return code is what comes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// `t_relay` and its kin: forward statefully to the target set.
    Relay(RelayOptions),
    /// `forward`: forward statelessly to the first target.
    Forward,
    /// `sleep`, `usleep`: nothing, for so long.
    Sleep(Duration),
    /// Ask the shard that made a nonce whether it may be used.
    Nonce(Box<auth::Pending>),
    /// Ask the name servers, and do this with what they answer.
    Lookup(Box<Lookup>, ipops::Purpose),
    /// Run what dialogs have left to be done; then the function returns this.
    Dialogs(i64),
    /// Look at a dialog of another shard, or have something done to it.
    Elsewhere(ShardId, Which, Order),
    /// Have a command of JSON-RPC answered.
    Exec(Box<[u8]>),
    /// Requests of our own have been queued: send them now.
    SendLocals,
    /// Have another shard do something to a transaction of its own.
    Order(ShardId, Arc<TransactionOrder>),
    /// `t_continue`: run the route for a suspended transaction of this shard.
    Continue(Key, RouteId),
    /// A reply has been sent: run `event_route[sl:local-response]` for it.
    Replied(RouteId, Destination, Bytes),
    /// Forward the reply at work statelessly, with this status and phrase if they are given.
    ForwardReply(Option<(u16, Bytes)>),
}

/// How `t_relay` was called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RelayOptions {
    /// No automatic 100.
    pub no_100: bool,
    /// No error response of our own at the end of the script.
    pub no_error_reply: bool,
    /// Try the first address only.
    pub no_failover: bool,
    /// `t_replicate`: the answers are nobody's.
    pub is_replica: bool,
}

/// Bytes between the wire and the proxy (`event_route[network:msg]`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    /// The bytes.
    pub bytes: Bytes,
    /// They have come in; else they are about to leave.
    pub is_incoming: bool,
}

/// The message that a script runs for, and what the script has decided about it so far.
#[derive(Debug)]
pub struct Work {
    /// The kind of route that runs.
    pub kind: RouteKind,
    /// The message the script looks at: the request, or in reply routes the response.
    pub message: Rc<Message>,
    /// Bytes that are no message yet, or none any more; the message is a placeholder then.
    pub raw: Option<Raw>,
    /// What it came in on.
    pub flow: Flow,
    /// The first target.
    pub target: Target,
    /// The targets that `append_branch` added.
    pub appended: Vec<Target>,
    /// Changes to the message, applied when it is sent.
    pub edits: Edits,
    /// Complete header lines for replies of our own (`append_to_reply`).
    pub reply_headers: Vec<u8>,
    /// Type and text of the body of replies of our own (`set_reply_body`).
    pub reply_body: Option<(Bytes, Bytes)>,
    /// Message flags (`setflag`).
    pub flags: u32,
    /// Script flags (`setsflag`).
    pub script_flags: u32,
    /// Extended flags (`setxflag`).
    pub extended_flags: u64,
    /// Flags of the program's own (`msg_iflag_set`).
    pub internal_flags: u64,
    /// Max-Forwards as counted down by the script; `None`: as received.
    pub max_forwards: Option<u32>,
    /// Answer to the source port whatever the Via says (`force_rport`).
    pub force_rport: bool,
    /// Write an empty `rport` into our own Via (`add_local_rport`).
    pub local_rport: bool,
    /// Write `server_id` into our own Via (`via_add_srvid`).
    pub server_id: bool,
    /// What of `$xavp` goes into our own Via.
    pub via_wishes: corex::ViaWishes,
    /// Host and port for our own Via instead of the socket's (`set_advertised_address`, `_port`).
    pub advertised: (Option<Bytes>, Option<u16>),
    /// Stream behaviour asked for by `set_forward_no_connect` and its kin.
    pub stream: StreamWishes,
    /// Record-routing.
    pub rr: rr::Memory,
    /// Names that were changed in From and To and come back in responses.
    pub names: uac::Names,
    /// Names that were changed at all.
    pub replaced: uac::Names,
    /// Attribute-value pairs; they belong to the transaction between runs.
    pub avps: Avps,
    /// The instances of groups of custom parameters that are selected (`cfg_select`).
    pub instances: Vec<(Box<[u8]>, i64)>,
    /// The transport for a request that is too long for datagrams; `None`: the global parameter's.
    pub mtu_proto: Option<Proto>,
    /// What the script asked of the transaction, before or after it exists.
    pub plan: tm::Plan,
    /// The dialog, and what is wanted of it.
    pub dialog: dialog::Context,
    /// The transaction, once there is one.
    pub transaction: Option<Key>,
    /// The branch that a branch, reply or branch-failure route is about.
    pub branch: Option<u8>,
    /// The status that a route has given the reply (`change_reply_status`).
    pub status: Option<u16>,
    /// The status that a failure route is about, or that the last reply had.
    pub reply_status: u16,
    /// In an onsend_route: where the request goes, and the request.
    pub sending: Option<(Destination, Bytes)>,
    /// What a suspended function waits for.
    pub ask: Option<Ask>,
    /// The return code of a failed `t_relay`, answered at the end of the script if the script
    /// does not answer itself; 0: none.
    pub relay_error: i64,
    /// The script wants to answer it itself (flag 2 of `t_relay_to`).
    pub is_error_kept: bool,
    /// What is known of the message's credentials.
    pub auth: auth::Seen,
    /// What has become of P-Charging-Vector.
    pub charging: siputils::Charging,
    /// Walks over header fields and lines of the body.
    pub walks: textops::Walks,
    /// What `sanity_check` found and `sanity_reply` is to answer.
    pub finding: Option<Box<sanity::Finding>>,
    /// Whether a reply or forwarding has been sent for the message.
    pub is_answered: bool,
    /// `log_prefix` as it was when the message came; `None`: not asked for yet.
    pub log_prefix: Option<Box<str>>,
    /// `drop` was called where it matters, or `set_drop`.
    pub is_dropped: bool,
}

/// What a script wants of the streams that a message travels on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StreamWishes {
    /// Never open a connection to forward the request.
    pub forward_no_connect: bool,
    /// Never open a connection to send the response.
    pub reply_no_connect: bool,
    /// Close the connection after forwarding.
    pub forward_close: bool,
    /// Close the connection after the response.
    pub reply_close: bool,
}

impl Work {
    /// A message that has just come in, for a route of this kind.
    pub fn new(kind: RouteKind, message: Rc<Message>, flow: Flow) -> Self {
        Work {
            kind,
            message,
            raw: None,
            flow,
            target: Target::default(),
            appended: Vec::new(),
            edits: Edits::new(),
            reply_headers: Vec::new(),
            reply_body: None,
            flags: 0,
            script_flags: 0,
            extended_flags: 0,
            internal_flags: 0,
            max_forwards: None,
            force_rport: false,
            local_rport: false,
            server_id: false,
            via_wishes: corex::ViaWishes::default(),
            advertised: (None, None),
            stream: StreamWishes::default(),
            rr: rr::Memory::default(),
            names: uac::Names::default(),
            replaced: uac::Names::default(),
            avps: Avps::default(),
            instances: Vec::new(),
            mtu_proto: None,
            plan: tm::Plan::default(),
            dialog: dialog::Context::default(),
            transaction: None,
            branch: None,
            status: None,
            reply_status: 0,
            sending: None,
            ask: None,
            relay_error: 0,
            is_error_kept: false,
            auth: auth::Seen::default(),
            charging: siputils::Charging::default(),
            walks: textops::Walks::default(),
            finding: None,
            is_answered: false,
            log_prefix: None,
            is_dropped: false,
        }
    }

    /// Makes this the work on a message that has just come in, as [`Work::new`] does, in the
    /// memory that the work before has left: what scripts usually do then allocates nothing. Gives
    /// the message of the work before.
    pub fn renew(&mut self, kind: RouteKind, message: Rc<Message>, flow: Flow) -> Rc<Message> {
        let mut new = Work::new(kind, message, flow);
        std::mem::swap(&mut new.edits, &mut self.edits);
        new.edits.clear();
        std::mem::swap(&mut new.appended, &mut self.appended);
        new.appended.clear();
        std::mem::swap(&mut new.reply_headers, &mut self.reply_headers);
        new.reply_headers.clear();
        new.rr.take_memory(&mut self.rr);
        let old = std::mem::replace(&mut self.message, Rc::clone(&new.message));
        *self = new;
        old
    }

    /// The whole message as it came, or the bytes that a script sees in its place.
    pub fn bytes(&self) -> &[u8] {
        let raw = self.raw.as_ref().map(|raw| &*raw.bytes);
        raw.unwrap_or_else(|| self.message.bytes())
    }

    /// The working Request-URI.
    pub fn uri(&self) -> &[u8] {
        self.target
            .uri
            .as_deref()
            .unwrap_or_else(|| self.message.uri())
    }

    /// The status of the reply at work, as routes see it.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or_else(|| self.message.status())
    }

    /// Where the next hop's address comes from: the destination URI, else the Request-URI.
    pub fn next_hop(&self) -> &[u8] {
        self.target
            .next_hop
            .as_deref()
            .unwrap_or_else(|| self.uri())
    }
}
