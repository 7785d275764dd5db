//! The timers a shard keeps, and what it means when one fires.
//!
//! A closed list: no callbacks, no boxed closures. The letters are those of RFC 3261 §17 and
//! its Table 4; the parameter that sets a length is named beside it.

use crate::slab::Key;

/// One armed timer: its kind and whom it is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// A and E: no answer yet, send the request of this branch again
    /// (`tm.retr_timer1`, doubling up to `retr_timer2`). UDP only.
    RetransmitRequest(Branch),
    /// B and F: no final answer within `tm.fr_timer`, or `fr_inv_timer` after a provisional one:
    /// the branch has failed with 408.
    FinalResponse(Branch),
    /// C: the INVITE has rung longer than `tm.max_inv_lifetime` whatever came in (§16.6 step 11);
    /// for other methods `max_noninv_lifetime`.
    Lifetime(Key),
    /// G: the final response to an INVITE is not acknowledged, send it again. UDP only.
    RetransmitResponse(Key),
    /// H: no ACK came within `tm.fr_timer`; stop sending the response.
    AckWait(Key),
    /// D, I, J, K, L and M in one: the transaction has only absorbed what is late
    /// (`tm.wt_timer`), now it goes.
    Wait(Key),
    /// A CANCEL of ours is unanswered, send it again. UDP only.
    RetransmitCancel(Branch),
    /// A CANCEL of ours stays unanswered or did not bring the final response within
    /// `tm.fr_timer` (§9.1): the branch counts as answered 408 or 487.
    CancelWait(Branch),
    /// A dialog has lived as long as it may, or its state has lasted as long as it may
    /// (`dialog.default_timeout` and its kin, `early_timeout`, `noack_timeout`, `end_timeout`).
    Dialog(Key),
    /// A transfer has been in its stage for as long as it may (`limits::TRANSFER_RING_TIME` and its
    /// kin).
    Transfer(Key),
    /// Sizes of profiles have changed: the other shards are to learn it.
    PeerBatch,
    /// Items of other servers in profiles may have expired.
    RemoteItems,
    /// A script has waited too long for an answer from outside, or as long as it wanted to.
    Parked(Key),
    /// The dispatcher's destinations are to be pinged (`dispatcher.ds_ping_interval`).
    Ping,
    /// Names of the dispatcher's destinations are to be looked up (`dispatcher.ds_dns_interval`).
    Names,
    /// A request of our own has waited too long for an address.
    Unresolved(Key),
    /// An item of a table of the script's has lived as long as it may (`htable` autoexpire).
    Item(Item),
}

/// Names one item of one table of the script's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Item {
    /// The table, in the order of first use on its shard.
    pub table: u16,
    /// The item.
    pub place: Key,
}

/// Names one branch of one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Branch {
    /// The transaction.
    pub transaction: Key,
    /// The branch, from 0 in the order of creation.
    pub index: u8,
}
