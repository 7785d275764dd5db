//! One transaction: the server side, its branches, and what is kept to repeat and to decide.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Destination, Flow, Hop, Proto};
use crate::modules::corex;
use crate::modules::pv::avp::Avps;
use crate::modules::work::{Bytes, StreamWishes, Target, Work};
use crate::modules::{dialog, rr, uac};
use crate::script::Program;
use crate::sip::{Edits, Message};
use crate::time::Duration;
use crate::wheel::TimerKey;

use super::local::Local;
use super::plan::{Plan, Times};
use super::{client, server};

/// A final or provisional response that has gone upstream.
#[derive(Clone, Debug)]
pub struct SentReply {
    /// Its status code.
    pub status: u16,
    /// The whole message.
    pub bytes: Bytes,
}

/// A server transaction and the client transactions it has opened.
#[derive(Debug)]
pub struct Transaction {
    /// The script it began with; a reload does not change it.
    pub program: Arc<Program>,
    /// The request as received.
    pub request: Rc<Message>,
    /// What the request came in on.
    pub flow: Flow,
    /// Where responses go.
    pub reply_to: Destination,
    /// Hash of its identity, under which the index knows it.
    pub hash: u64,
    /// Drawn at creation; stands in the branches and in the local To tag.
    pub nonce: u64,
    /// See `identity::loop_hash`.
    pub loop_hash: u32,
    /// Whether the INVITE machines apply.
    pub is_invite: bool,
    /// The state of the server side.
    pub server: server::State,
    /// A request of our own: who wants the answer instead of the server side.
    pub local: Option<Box<Local>>,
    /// The last response sent, repeated when the request comes again.
    pub last_reply: Option<SentReply>,
    /// All branches, in the order of creation.
    pub branches: Vec<Branch>,
    /// Where the branches of the current leg begin: a failure route starts a new leg.
    pub leg_start: usize,
    /// What the script asked.
    pub plan: Plan,
    /// The times that apply.
    pub times: Times,
    /// Whether the caller has cancelled.
    pub is_cancelled: bool,
    /// Whether it waits for `t_continue`.
    pub is_suspended: bool,
    /// Whether its branches are copies whose answers nobody wants (`t_replicate`).
    pub is_replica: bool,
    /// The Reason header lines of the CANCEL, passed on to the branches.
    pub cancel_reason: Cow<'static, [u8]>,
    /// What the script had decided at the first `t_relay`: the ground on which a failure route
    /// stands.
    pub saved: Saved,
    /// The dialog that the request made or belongs to.
    pub dialog: Option<dialog::Link>,
    /// Timer G.
    pub repeat_timer: Option<TimerKey>,
    /// The next interval of timer G.
    pub repeat_after: Duration,
    /// Timers H, and I, J, L: which of them is known by the state.
    pub end_timer: Option<TimerKey>,
    /// Timer C and the ceiling of everything: `max_inv_lifetime`, `max_noninv_lifetime`.
    pub life_timer: Option<TimerKey>,
}

/// The state of the script's work on a request that later routes see.
#[derive(Debug, Default)]
pub struct Saved {
    /// The first target.
    pub target: Target,
    /// Changes to the request.
    pub edits: Edits,
    /// Header lines for replies of our own.
    pub reply_headers: Vec<u8>,
    /// Type and text of their body.
    pub reply_body: Option<(Bytes, Bytes)>,
    /// Message flags.
    pub flags: u32,
    /// `force_rport`.
    pub force_rport: bool,
    /// `add_local_rport`.
    pub local_rport: bool,
    /// `via_add_srvid`.
    pub server_id: bool,
    /// What of `$xavp` goes into our Via.
    pub via_wishes: corex::ViaWishes,
    /// `set_advertised_address` and `_port`.
    pub advertised: (Option<Bytes>, Option<u16>),
    /// Stream behaviour.
    pub stream: StreamWishes,
    /// `udp_mtu_try_proto`.
    pub mtu_proto: Option<Proto>,
    /// Record-routing.
    pub rr: rr::Memory,
    /// Names that a branch left with and the request had not come in with.
    pub names: uac::Names,
    /// Attribute-value pairs.
    pub avps: Avps,
}

/// The memory that a transaction leaves to the next.
#[derive(Default, Debug)]
pub struct Leftover {
    branches: Vec<Branch>,
    edits: Edits,
    rr: rr::Memory,
}

impl Leftover {
    /// The memory of a transaction that is over. What forked widely has more than others need.
    pub fn of(mut transaction: Transaction) -> Leftover {
        let saved = &mut transaction.saved;
        let (mut branches, mut edits) = (transaction.branches, std::mem::take(&mut saved.edits));
        let mut rr = rr::Memory::default();
        rr.take_memory(&mut saved.rr);
        branches.clear();
        branches.shrink_to(1);
        edits.clear();
        Leftover {
            branches,
            edits,
            rr,
        }
    }

    /// As a new transaction begins: without branches, and with nothing saved.
    pub fn into_parts(self) -> (Vec<Branch>, Saved) {
        let saved = Saved {
            edits: self.edits,
            rr: self.rr,
            ..Saved::default()
        };
        (self.branches, saved)
    }
}

/// One client transaction.
#[derive(Debug)]
pub struct Branch {
    /// The state of the client side.
    pub state: client::State,
    /// The target it was opened for.
    pub target: Target,
    /// Where the request went.
    pub to: Destination,
    /// The request as sent, to be repeated, cancelled and acknowledged from.
    pub sent: Bytes,
    /// Addresses still to be tried when this one does not answer.
    pub hops: VecDeque<Hop>,
    /// The last status received or made up for it; 0: none.
    pub status: u16,
    /// Whether a provisional response came.
    pub is_ringing: bool,
    /// Whether the status was made here.
    pub is_local: bool,
    /// Whether a failure route wants to hear no more of its failure (`t_drop_replies`).
    pub is_forgotten: bool,
    /// The final failure response, until one is chosen.
    pub response: Option<Stored>,
    /// Whether and how far it has been cancelled.
    pub cancel: Cancel,
    /// Until when a cancelled branch must have brought its final response (§9.1).
    pub cancel_timer: Option<TimerKey>,
    /// Timer B, F or C.
    pub final_timer: Option<TimerKey>,
    /// Timer A or E.
    pub repeat_timer: Option<TimerKey>,
    /// The next interval of timer A or E.
    pub repeat_after: Duration,
}

/// A response kept for later, with the changes its reply route made.
#[derive(Debug)]
pub struct Stored {
    /// The response as received.
    pub message: Rc<Message>,
    /// The changes.
    pub edits: Edits,
}

/// How far the cancelling of a branch has come.
#[derive(Debug, Default)]
pub enum Cancel {
    /// Nobody wants it.
    #[default]
    No,
    /// It is to be sent as soon as a provisional response shows that the far end has the INVITE
    /// (§9.1).
    Wanted,
    /// Sent, and repeated until it is answered.
    Sent {
        /// The CANCEL.
        bytes: Bytes,
        /// Timer E of the CANCEL.
        repeat_timer: Option<TimerKey>,
        /// Its next interval.
        repeat_after: Duration,
    },
    /// Answered, or given up repeating.
    Done,
}

impl Branch {
    /// A branch that has not been sent yet.
    pub fn new(target: Target, to: Destination, sent: Bytes, hops: VecDeque<Hop>) -> Self {
        Branch {
            state: client::State::Calling,
            target,
            to,
            sent,
            hops,
            status: 0,
            is_ringing: false,
            is_local: false,
            is_forgotten: false,
            response: None,
            cancel: Cancel::No,
            cancel_timer: None,
            final_timer: None,
            repeat_timer: None,
            repeat_after: Duration::ZERO,
        }
    }
}

impl Saved {
    /// Keeps what a script has decided about its request.
    pub fn keep(&mut self, work: &Work) {
        self.target = work.target.clone();
        self.edits.clone_from(&work.edits);
        self.reply_headers.clone_from(&work.reply_headers);
        self.reply_body.clone_from(&work.reply_body);
        self.flags = work.flags;
        self.force_rport = work.force_rport;
        self.local_rport = work.local_rport;
        self.server_id = work.server_id;
        self.via_wishes = work.via_wishes;
        self.advertised = work.advertised.clone();
        self.stream = work.stream;
        self.mtu_proto = work.mtu_proto;
        self.rr.clone_from(&work.rr);
    }
}

impl Transaction {
    /// The branches of the current leg.
    pub fn leg(&self) -> &[Branch] {
        &self.branches[self.leg_start..]
    }

    /// Whether a branch may still bring a final response.
    pub fn has_pending(&self) -> bool {
        self.branches.iter().any(|b| b.state.is_pending())
    }

    /// Whether the one who waits for the final response has it.
    pub fn is_answered(&self) -> bool {
        self.local.is_none() && self.server.is_final()
    }

    /// Whether nothing keeps the transaction: late messages have had their time, and no far end
    /// still owes an answer.
    pub fn is_over(&self) -> bool {
        let is_open = |b: &Branch| b.state.is_pending() || b.state == client::State::Abandoned;
        self.server == server::State::Terminated
            && self.end_timer.is_none()
            && !self.branches.iter().any(is_open)
    }

    /// Our tag for replies made here: one per transaction, the same for every retransmission.
    pub fn to_tag(&self) -> [u8; 21] {
        super::to_tag(self.nonce)
    }
}
