//! Every bound of the product, with its reason, what happens at it, and the counter that shows it.
//!
//! Nothing in this program grows because a peer wants it to. A bound that an operator can choose
//! is a parameter of a module; what stands here is the ceiling above it.

use crate::time::Duration;

/// Bytes of one SIP message. UDP cannot carry more; streams are cut off there, and offsets into
/// a message fit 16 bits. Above: streams are closed, counted `stream_too_large`.
pub const MESSAGE_SIZE_MAX: usize = 65_535;

/// Messages that are done with and kept for their memory, in one shard: as many as may end between
/// two that come in, when timers that may be late fire together ([`LATE_TIMER_GRAIN`]). Above: the
/// memory is given back.
pub const SPARE_MESSAGE_COUNT_MAX: usize = 256;

/// Bytes of the memory of one of them: a message of 2,000 bytes and its index fit. Above: the same.
pub const SPARE_MESSAGE_SIZE_MAX: usize = 4_096;

/// Transactions whose memory is kept for the next, in one shard, for the same reason.
pub const SPARE_TRANSACTION_COUNT_MAX: usize = 256;

/// Entries of a table in one piece that may be moved or looked at to give memory back while it is
/// in use; no message is to wait for more. Larger tables are in pieces, which give theirs back one
/// by one.
pub const GIVE_BACK_COUNT_MAX: usize = 1 << 13;

/// Header fields of one message. RFC 3261 sets no bound; calls in the field carry 20 to 40.
/// Above: 400, counted `parse_errors`.
pub const HEADER_COUNT_MAX: usize = 256;

/// Bytes of one URI. RFC 4475 §3.1.1.7 carries about 100 in a header; the database columns of
/// the `dialog` table hold 255, so this leaves room. Above: 414 for a Request-URI, else 400.
pub const URI_SIZE_MAX: usize = 8_192;

/// Values of Via in one message, the bound on proxy hops a message may have passed.
pub const VIA_COUNT_MAX: usize = 128;

/// Branches of one transaction. Kamailio's hard limit; `max_branches` chooses below it.
/// Above: `append_branch` fails with an error in the log.
pub const BRANCH_COUNT_MAX: usize = 32;

/// Transactions of one shard. At about 4 KiB each this is 4 GiB: a flood must meet a wall before
/// the machine does. Above: 503 with Retry-After, counted `transactions_refused`.
pub const TRANSACTION_COUNT_MAX: usize = 1 << 20;

/// Routes that run inside a function of another script (`t_continue`, `sl:local-response`), one
/// within the other. Above: the inner route does not run, logged. Each level is a few frames of
/// the stack.
pub const INNER_DEPTH_MAX: usize = 8;

/// Scripts of one shard that wait for an answer from outside (DNS, later a database).
/// Above: the function that would have waited fails, `t_relay` with 503; counted `runs_refused`.
pub const PARKED_RUN_COUNT_MAX: usize = 1 << 16;

/// Messages of one call that queue behind a script that waits. More than a peer's
/// retransmissions would ever be. Above: the newest is dropped, counted `queue_drops`.
pub const CALL_QUEUE_MAX: usize = 64;

/// Effects that one input may cause: a reply and a CANCEL or request for each branch, and as many
/// log records again. The outbox grows to this once and stays.
pub const EFFECT_COUNT_HINT: usize = 2 * (BRANCH_COUNT_MAX + 2);

/// Statements that one run of a script may execute, loops and calls included. An ordinary route
/// runs about 100. Above: the script ends with an error that names the place.
pub const SCRIPT_STEP_MAX: u32 = 1_000_000;

/// Nested route calls. Kamailio's `max_recursive_level` default counts blocks too.
pub const SCRIPT_DEPTH_MAX: usize = 256;

/// Bytes of strings that one run of a script may make. Above: the expression gives NULL and an
/// error is logged.
pub const SCRIPT_HEAP_SIZE_MAX: usize = 1 << 20;

/// Bytes of a text that base58 takes: 1 ms of work, an identifier has 64. Above: an empty string.
pub const BASE58_SIZE_MAX: usize = 1_024;

/// Characters to which a format of strftime(3) may fill one field. Above: this many.
pub const TIME_FIELD_WIDTH_MAX: usize = 256;

/// Attribute-value pairs of one transaction, fields of records included. A script that loops over
/// what a peer sent must not fill the memory. Above: the assignment fails and is logged.
pub const AVP_COUNT_MAX: usize = 4_096;

/// Script variables (`$var`, `$shv` and their kin) of one shard. Their names may be made from
/// messages. Above: the assignment fails and is logged.
pub const SCRIPT_VARIABLE_COUNT_MAX: usize = 65_536;

/// Items of one table (`htable`) of one shard. Their keys may be made from messages, and a table
/// without `autoexpire` forgets none. Above: the assignment fails and is logged.
pub const TABLE_ITEM_COUNT_MAX: usize = 1 << 20;

/// Walks through tables (`sht_iterator_start`) of one shard at a time. Their names may be made
/// from messages. Above: the walk does not begin, and that is logged.
pub const TABLE_WALK_COUNT_MAX: usize = 64;

/// Walks over header fields, and as many over lines of the body, that may be open at a time for
/// one message (the original's bound). Above: the walk does not begin, and that is logged.
pub const ITERATOR_COUNT_MAX: usize = 4;

/// Bytes of one configuration file, and depth of inclusion (the original's bound).
pub const CONFIG_SIZE_MAX: usize = 16 << 20;

/// See [`CONFIG_SIZE_MAX`].
pub const INCLUDE_DEPTH_MAX: usize = 10;

/// Files of one configuration, each inclusion counted: files that include each other twice would
/// otherwise be read 2^10 times. Above: an error.
pub const CONFIG_FILE_COUNT_MAX: usize = 1_024;

/// Mistakes reported of one configuration; nobody reads more at once.
pub const CONFIG_ERROR_COUNT_MAX: usize = 200;

/// Nested blocks, parentheses and inner names of a configuration. The parser recurses, and the
/// stack must hold whatever a file contains.
pub const CONFIG_NEST_MAX: usize = 100;

/// Tokens that all files and definitions of a configuration may come to. Above: an error; a chain
/// of definitions could otherwise double at each link.
pub const CONFIG_TOKEN_COUNT_MAX: usize = 1 << 20;

/// Addresses tried for one branch, the ceiling of DNS failover (RFC 3263 §4.3).
pub const HOP_COUNT_MAX: usize = 16;

/// Results of `dns_query` and its kin that one core keeps, by name and kind. Scripts name them in
/// constants; one that makes names up overwrites the first.
pub const LOOKUP_RESULT_COUNT_MAX: usize = 256;

/// Records of one answer that a script sees.
pub const LOOKUP_RECORD_COUNT_MAX: usize = 64;

/// How long a name may take to resolve before the branch fails with 478.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a core may sleep by the clock while datagrams come, unless `--round` says otherwise,
/// and the most that may be said. A wake-up costs 15 us and more on virtual machines; 1,250 in a
/// second are 2 % of a CPU. What comes meanwhile waits for so long, and less than the millisecond
/// by which a timer may be late.
pub const ROUND_TIME_MAX: Duration = Duration::from_micros(800);

/// By how much the end of a transaction that only absorbs what is late may be late itself. Two of
/// these timers belong to each call; on their own each would wake its core.
pub const LATE_TIMER_GRAIN: Duration = Duration::from_millis(50);

/// INVITEs of new calls that wait in one core while it has other things to do: what comes in 50 ms
/// at 10,000 calls/s, for which the core may have been taken away. Above: 503, counted
/// `calls_refused`, or dropped, counted `calls_dropped`.
pub const WAITING_COUNT_MAX: usize = 512;

/// As many of one source wait before those of sources with more.
pub const WAITING_FIRST_COUNT: usize = 8;

/// Timers that one input handles: thousands end together where calls do
/// ([`LATE_TIMER_GRAIN`]), and messages have their turn in between. The rest is due still.
pub const TIMER_TURN_COUNT: usize = 32;

/// 503s to new calls that one core sends in a second when more is offered than it can do; INVITEs
/// beyond are dropped, counted `calls_dropped`. At 2 us for a datagram they are 1 % of its time.
pub const REFUSAL_RATE_MAX: u64 = 2_000;

/// How many of them may be sent at once.
pub const REFUSAL_BURST_COUNT: u64 = 100;

/// Seconds after which who was refused may try again: drawn from 1 to this, so that they do not
/// all come back together.
pub const RETRY_AFTER_S_MAX: u32 = 10;

/// Destinations whose way out of this machine is remembered (`mhomed`). Above: those that are too
/// old go, then all of them.
pub const SOURCE_COUNT_MAX: usize = 4_096;

/// How long it is remembered. An interface that comes or goes is noticed as late as that.
pub const SOURCE_TIME: Duration = Duration::from_secs(5);

/// Ports of its peer under which one connection may be found besides its own (RFC 5923). Above:
/// `force_tcp_alias` has no effect.
pub const STREAM_ALIAS_COUNT_MAX: u8 = 4;

/// How long a stopping process lets transactions finish after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes waiting to be written to one stream. A peer that does not read loses its own connection,
/// counted `stream_stuck`.
pub const STREAM_QUEUE_SIZE_MAX: usize = 1 << 20;

/// Datagrams of one socket that wait because the kernel takes no more. A full send buffer empties
/// in milliseconds; what waits longer is of no use to anyone. Above: dropped, counted
/// `udp_send_drops`.
pub const DATAGRAM_QUEUE_MAX: usize = 4_096;

/// Requests of our own that wait to be sent, for an address or for their turn. Above: the request
/// fails as if nobody had answered, counted `local_drops`.
pub const LOCAL_QUEUE_MAX: usize = 1 << 16;

/// How many requests of our own may follow from one another within one input: each answer made
/// here, and each run of `event_route[tm:local-request]`, may cause the next. Above: as
/// [`LOCAL_QUEUE_MAX`].
pub const LOCAL_CHAIN_MAX: u8 = 4;

/// Destinations in the dispatcher's list; carriers have hundreds. Above: further lines are left
/// out with a warning.
pub const DESTINATION_COUNT_MAX: usize = 1 << 16;

/// Sets that one `ds_select_routes` may join. Above: it fails with a log line.
pub const DESTINATION_RULE_COUNT_MAX: usize = 64;

/// Calls of one shard that count as load of a destination. Above: a call is sent and not counted.
pub const CALL_LOAD_COUNT_MAX: usize = 1 << 20;

/// Names that are being resolved for one core at a time. Above: the branch fails at once as if
/// nobody had answered, counted `resolve_drops`.
pub const RESOLVE_COUNT_MAX: usize = 1_024;

/// Items in one direction between two cores. Above: handed-over bytes are dropped, counted
/// `mesh_drops`.
pub const MESH_QUEUE_MAX: usize = 8_192;

/// How long a core may sleep through what was posted to it quietly.
pub const QUIET_TIME_MAX: Duration = Duration::from_millis(10);

/// Records waiting for the log writer. Above: dropped, counted `log_drops`.
pub const LOG_QUEUE_MAX: usize = 16_384;

/// Dialogs of one shard: at 1 KiB each 8 GiB; two cores hold ten million. Above: `dlg_manage`
/// fails and the call goes on untracked, counted `dialogs_refused`.
pub const DIALOG_COUNT_MAX: usize = 1 << 23;

/// Dialogs of one Call-ID. One caller that sends ever new From tags under one Call-ID must not
/// make every look-up long. Above: as [`DIALOG_COUNT_MAX`].
pub const DIALOG_COUNT_PER_CALL_ID_MAX: usize = 64;

/// Transfers at work in one shard, each about 400 bytes and its strings. Above: `dlg_refer` and
/// `dlg_bridge` fail.
pub const TRANSFER_COUNT_MAX: usize = 1 << 14;

/// Dialogs that the INVITE of one transfer may make when it forks. Above: acknowledged, and left to
/// the far end's own timers.
pub const TRANSFER_FORK_COUNT_MAX: usize = BRANCH_COUNT_MAX;

/// How long the INVITE of a transfer may ring, the original's longest. Above: cancelled.
pub const TRANSFER_RING_TIME: Duration = Duration::from_secs(180);

/// How long a REFER may be unanswered: twice what its transaction lasts. Above: the BYE follows.
pub const TRANSFER_REFER_TIME: Duration = Duration::from_secs(64);

/// How long NOTIFYs of a transfer are answered once the BYE has left: as long as the new call may
/// ring. Above: they are the script's.
pub const TRANSFER_NOTIFY_TIME: Duration = TRANSFER_RING_TIME;

/// How long messages may be repeated that end a transfer: 64 × T1. Above: they are the script's.
pub const TRANSFER_LINGER_TIME: Duration = Duration::from_secs(32);

/// Variables of one dialog. Above: the assignment fails and is logged.
pub const DIALOG_VARIABLE_COUNT_MAX: usize = 64;

/// Bytes of one variable of a dialog, name and value. Above: the assignment fails and is logged.
pub const DIALOG_VARIABLE_SIZE_MAX: usize = 16_384;

/// Memberships of one dialog in profiles. Above: `set_dlg_profile` fails.
pub const DIALOG_PROFILE_COUNT_MAX: usize = 32;

/// Values of one profile in one shard. They come from messages. Above: `set_dlg_profile` fails.
pub const PROFILE_VALUE_COUNT_MAX: usize = 1 << 20;

/// Bytes of one value of a profile. Above: `set_dlg_profile` fails.
pub const PROFILE_VALUE_SIZE_MAX: usize = 1_024;

/// Items of other servers under one value of a profile. Above: `dlg_remote_profile` fails.
pub const PROFILE_REMOTE_COUNT_MAX: usize = 1 << 16;

/// How old what a shard knows of the others' profiles may be: the time of one batch.
pub const PEER_BATCH_TIME: Duration = Duration::from_millis(10);

/// How much earlier than its time a batch may leave: twenty at once after a quiet time. A limit
/// that is looked up right after a call has begun elsewhere should see it; only what changes more
/// than a hundred times a second has to wait for its batch.
pub const PEER_BURST_TIME: Duration = Duration::from_millis(200);

/// How much earlier than its time a batch leaves when the shard is at work anyway, so that no timer
/// has to wake the core for it.
pub const PEER_EARLY_TIME: Duration = Duration::from_micros(2_500);

/// When a batch that a shard has not confirmed is sent to it again.
pub const PEER_REPEAT_TIME: Duration = Duration::from_millis(100);

/// Entries of one batch, so that taking one in stays well below a millisecond.
pub const PEER_BATCH_SIZE_MAX: usize = 512;

/// Batches that not every shard has confirmed. Above: changes wait, which makes them no older
/// than the shard that does not answer is slow.
pub const PEER_BATCH_COUNT_MAX: usize = 256;

/// Events of one core that are kept to explain a call: 64 bytes each, so 4 MiB. Above: the oldest
/// make room.
pub const JOURNAL_ENTRY_COUNT_MAX: usize = 1 << 16;

/// Bytes of one command for operators, the original's bound. Above: refused, and a stream is
/// closed.
pub const RPC_REQUEST_SIZE_MAX: usize = 65_535;

/// Bytes of one command through a pipe, the original's bound. Above: forgotten.
pub const RPC_PIPE_REQUEST_SIZE_MAX: usize = 8_192;

/// How long the configuration may take to be read anew before an operator is told to wait.
pub const RPC_RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Structures inside of structures in a command's parameters; no command knows more than two.
pub const RPC_NEST_MAX: usize = 16;

/// Operators connected at a time, over all sockets; descriptors are for calls. Above: the one that
/// has said nothing for longest is closed.
pub const RPC_CLIENT_COUNT_MAX: usize = 512;

/// Commands at work at a time. Above: a command waits until another one is done.
pub const RPC_COMMAND_COUNT_MAX: usize = 32;

/// How long an operator may say nothing, the original's time. Then the stream is closed.
pub const RPC_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long an operator may take no byte of an answer. Then the stream is closed.
pub const RPC_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one shard may take for one slice before the command fails.
pub const RPC_SHARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are kept in memory. What is beyond goes through a nameless file.
pub const RPC_ANSWER_MEMORY_MAX: usize = 1 << 20;

/// Bytes of an answer in JSON that leave together, on a stream, before the rest is there.
pub const RPC_CHUNK_SIZE: u64 = 64 << 10;

/// Bytes of one answer; binary RPC cannot say more. Above: the command fails.
pub const RPC_ANSWER_SIZE_MAX: u64 = u32::MAX as u64;

/// Items of a listing that a shard gives at once at the most. How many it is, the time of the last
/// slice says: no call is to wait behind an operator for longer than a millisecond.
pub const RPC_SLICE_ITEM_COUNT_MAX: usize = 128;

/// Items of the first slice, while nobody knows yet how long one takes.
pub const RPC_SLICE_ITEM_COUNT_FIRST: usize = 16;

/// How long a slice should take; one that finds its memory cold takes three times as long.
pub const RPC_SLICE_TIME: Duration = Duration::from_micros(300);

/// Things looked at in place of one item, when most of them are only looked at.
pub const RPC_LOOKS_PER_ITEM: usize = 16;

const _: () = {
    assert!(
        MESSAGE_SIZE_MAX <= u16::MAX as usize,
        "offsets into a message are 16 bits"
    );
    assert!(
        URI_SIZE_MAX < MESSAGE_SIZE_MAX,
        "a URI stands inside a message"
    );
    assert!(
        EFFECT_COUNT_HINT >= BRANCH_COUNT_MAX + 2,
        "a reply and a CANCEL for each branch"
    );
    assert!(
        RESOLVE_COUNT_MAX < MESH_QUEUE_MAX,
        "every answer fits into the queue that brings it"
    );
    assert!(
        PARKED_RUN_COUNT_MAX <= TRANSACTION_COUNT_MAX,
        "what waits is a transaction's work"
    );
};
