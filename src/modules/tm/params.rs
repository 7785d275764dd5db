//! The parameters of `tm`.

use crate::modules::entry::{avp_name, is_on, param};
use crate::modules::{Config, Param, ParamError};
use crate::script::{ParamSig, ParamType, Setting};
use crate::time::Duration;

type Set = fn(&mut Config, &Setting) -> Result<(), ParamError>;

const fn int(name: &'static str, default: &'static str, set: Set, doc: &'static str) -> Param {
    Param {
        sig: ParamSig {
            name,
            kind: ParamType::Int,
            default,
            planned: false,
            doc,
        },
        set,
    }
}

const fn text(name: &'static str, default: &'static str, set: Set, doc: &'static str) -> Param {
    Param {
        sig: ParamSig {
            name,
            kind: ParamType::Str,
            default,
            planned: false,
            doc,
        },
        set,
    }
}

const fn planned(name: &'static str, kind: ParamType, doc: &'static str) -> Param {
    let sig = ParamSig {
        name,
        kind,
        default: "",
        planned: true,
        doc,
    };
    Param {
        sig,
        set: |_, _| Ok(()),
    }
}

/// For what means nothing here: the file hears of it.
fn idle(config: &mut Config, _: &Setting) -> Result<(), ParamError> {
    config.is_idle = true;
    Ok(())
}

fn millis(setting: &Setting) -> Result<Duration, ParamError> {
    match setting.int() {
        Some(n @ 1..=86_400_000) => Ok(Duration::from_millis(n as u64)),
        _ => Err(ParamError("a number of milliseconds from 1 to 86400000")),
    }
}

fn flag(setting: &Setting) -> bool {
    setting.int().unwrap_or(0) != 0
}

fn within(setting: &Setting, low: i64, high: i64, error: ParamError) -> Result<i64, ParamError> {
    setting
        .int()
        .filter(|n| (low..=high).contains(n))
        .ok_or(error)
}

fn words(setting: &Setting) -> Box<str> {
    String::from_utf8_lossy(setting.text().unwrap_or_default()).into()
}

/// The table.
pub(super) const PARAMS: [Param; 57] = [
    int(
        "fr_timer",
        "30000",
        |c, v| millis(v).map(|d| c.tm.fr_timer = d),
        "Milliseconds until a request must be answered at all, and a failure acknowledged.",
    ),
    int(
        "fr_inv_timer",
        "120000",
        |c, v| millis(v).map(|d| c.tm.fr_inv_timer = d),
        "Milliseconds from a provisional response to the final one of an INVITE.",
    ),
    int(
        "max_inv_lifetime",
        "180000",
        |c, v| millis(v).map(|d| c.tm.max_inv_lifetime = d),
        "Milliseconds an INVITE transaction may live unanswered.",
    ),
    int(
        "max_noninv_lifetime",
        "32000",
        |c, v| millis(v).map(|d| c.tm.max_noninv_lifetime = d),
        "Milliseconds any other transaction may live unanswered.",
    ),
    int(
        "wt_timer",
        "5000",
        |c, v| millis(v).map(|d| c.tm.wt_timer = d),
        "Milliseconds a finished transaction absorbs what is late.",
    ),
    int(
        "retr_timer1",
        "500",
        |c, v| millis(v).map(|d| c.tm.retr_timer1 = d),
        "T1: milliseconds until the first repetition over UDP.",
    ),
    int(
        "retr_timer2",
        "4000",
        |c, v| millis(v).map(|d| c.tm.retr_timer2 = d),
        "T2: milliseconds between repetitions at most.",
    ),
    int(
        "restart_fr_on_each_reply",
        "1",
        |c, v| {
            c.tm.restart_fr_on_each_reply = flag(v);
            Ok(())
        },
        "Whether each provisional response restarts fr_inv_timer.",
    ),
    int(
        "auto_inv_100",
        "1",
        |c, v| {
            c.tm.auto_inv_100 = flag(v);
            Ok(())
        },
        "Whether t_relay answers an INVITE with 100.",
    ),
    text(
        "auto_inv_100_reason",
        "trying -- your call is important to us",
        |c, v| {
            c.tm.auto_inv_100_reason = words(v);
            Ok(())
        },
        "The phrase of that 100.",
    ),
    int(
        "failure_reply_mode",
        "3",
        |c, v| within(v, 0, 3, ParamError("0, 1, 2 or 3")).map(|n| c.tm.failure_reply_mode = n),
        "Replies of earlier legs once a failure route adds branches: 0 keep, 1 drop all, \
         2 drop the last leg's, 3 drop the earlier legs'.",
    ),
    int(
        "faked_reply_prio",
        "0",
        |c, v| {
            c.tm.faked_reply_prio = v.int().unwrap_or(0);
            Ok(())
        },
        "Penalty of failures made here when the best response is chosen.",
    ),
    int(
        "remap_503_500",
        "1",
        |c, v| {
            c.tm.remap_503_500 = flag(v);
            Ok(())
        },
        "Whether a chosen 503 goes to the caller as 500.",
    ),
    int(
        "aggregate_challenges",
        "1",
        |c, v| {
            c.tm.aggregate_challenges = flag(v);
            Ok(())
        },
        "Whether all challenges of a fork go to the caller in one response.",
    ),
    int(
        "unmatched_cancel",
        "0",
        |c, v| within(v, 0, 2, ParamError("0, 1 or 2")).map(|n| c.tm.unmatched_cancel = n),
        "t_relay of a CANCEL without INVITE: 0 stateful, 1 stateless, 2 drop.",
    ),
    int(
        "cancel_b_method",
        "1",
        |c, v| within(v, 0, 2, ParamError("0, 1 or 2")).map(|n| c.tm.cancel_b_method = n),
        "Cancelling a branch that has not rung: 0 count as 487, 1 wait for it to ring, 2 at once.",
    ),
    int(
        "disable_6xx_block",
        "0",
        |c, v| {
            c.tm.disable_6xx_block = flag(v);
            Ok(())
        },
        "Whether a 6xx leaves the other branches alone.",
    ),
    int(
        "default_code",
        "500",
        |c, v| within(v, 100, 699, ParamError("a status code")).map(|n| c.tm.default_code = n),
        "The status of t_reply when its own is unusable.",
    ),
    text(
        "default_reason",
        "Server Internal Error",
        |c, v| {
            c.tm.default_reason = words(v);
            Ok(())
        },
        "The phrase for default_code.",
    ),
    int(
        "failure_exec_mode",
        "0",
        idle,
        "No effect: a request that could not be sent is always a failed branch.",
    ),
    int(
        "reparse_invite",
        "1",
        |_, _| Ok(()),
        "No effect: CANCEL and ACK are always made from the request sent.",
    ),
    text(
        "ac_extra_hdrs",
        "",
        |c, v| {
            c.tm.ac_extra_hdrs = words(v);
            Ok(())
        },
        "Header fields whose names begin so go from the INVITE into its CANCEL and negative ACK.",
    ),
    param(
        "local_cancel_reason",
        ParamType::Int,
        "1",
        (
            |c, v| {
                c.tm.local_cancel_reason = is_on(v);
                Ok(())
            },
            "Whether a CANCEL made here says why.",
        ),
    ),
    param(
        "e2e_cancel_reason",
        ParamType::Int,
        "1",
        (
            |c, v| {
                c.tm.e2e_cancel_reason = is_on(v);
                Ok(())
            },
            "Whether the Reason of a received CANCEL is passed on.",
        ),
    ),
    int(
        "relay_100",
        "0",
        |_, _| Ok(()),
        "No effect: a received 100 never goes further (RFC 3261 §16.7).",
    ),
    param(
        "contacts_avp",
        ParamType::Str,
        "",
        (
            |c, v| {
                c.tm.contacts_avp = words(v);
                Ok(())
            },
            "XAVP in which t_load_contacts keeps the targets.",
        ),
    ),
    text(
        "contact_flows_avp",
        "",
        |c, v| {
            c.tm.contact_flows_avp = words(v);
            Ok(())
        },
        "XAVP for contacts of an instance that is tried already, see t_next_contact_flow.",
    ),
    int(
        "noisy_ctimer",
        "1",
        |_, _| Ok(()),
        "No effect: the caller of an INVITE always hears when nobody answers.",
    ),
    text(
        "fr_timer_avp",
        "",
        |c, v| avp_name(v).map(|name| c.tm.fr_timer_avp = name),
        "AVP with seconds that replace fr_timer when the transaction is made.",
    ),
    text(
        "fr_inv_timer_avp",
        "",
        |c, v| avp_name(v).map(|name| c.tm.fr_inv_timer_avp = name),
        "AVP with seconds that replace fr_inv_timer when the transaction is made.",
    ),
    int(
        "pass_provisional_replies",
        "0",
        |_, _| Ok(()),
        "No effect: there are no callbacks that would be told.",
    ),
    text(
        "xavp_contact",
        "",
        |c, v| {
            c.tm.xavp_contact = words(v);
            Ok(())
        },
        "XAVP that goes with its contact through t_load_contacts and back.",
    ),
    int(
        "headers_mode",
        "0",
        idle,
        "No effect: 5.6 has no such parameter.",
    ),
    int(
        "local_ack_mode",
        "0",
        |c, v| within(v, 0, 2, ParamError("0, 1 or 2")).map(|n| c.tm.local_ack_mode = n),
        "Where the ACK to a 2xx of a request made here goes: 0 by route set and Contact, 1 where \
         the INVITE went, 2 where the 2xx came from.",
    ),
    text(
        "on_sl_reply",
        "",
        |c, v| {
            c.tm.on_sl_reply = words(v);
            Ok(())
        },
        "The onreply_route for replies without a transaction; drop and return 0 end them.",
    ),
    planned(
        "event_callback",
        ParamType::Str,
        "Function of an embedded language for events.",
    ),
    int(
        "ruri_matching",
        "1",
        |_, _| Ok(()),
        "No effect: without the cookie the Request-URI is always compared (RFC 3261 §17.2.3).",
    ),
    int(
        "via1_matching",
        "1",
        |_, _| Ok(()),
        "No effect: without the cookie the top Via is always compared (RFC 3261 §17.2.3).",
    ),
    int(
        "callid_matching",
        "0",
        |c, v| {
            c.tm.callid_matching = flag(v);
            Ok(())
        },
        "Whether what belongs to a transaction must also bear its Call-ID.",
    ),
    int(
        "reply_relay_mode",
        "1",
        idle,
        "No effect: replies are never suspended.",
    ),
    int(
        "delayed_reply",
        "1",
        |c, v| {
            c.tm.delayed_reply = flag(v);
            Ok(())
        },
        "Whether a failed t_relay is answered at the end of the script, or at once.",
    ),
    text(
        "tw_append",
        "",
        idle,
        "No effect: there is no t_write_unix.",
    ),
    int(
        "evlreq_mode",
        "0",
        idle,
        "No effect: 5.6 has no such parameter.",
    ),
    int(
        "blst_503",
        "0",
        idle,
        "No effect: there is no list of blocked destinations.",
    ),
    int(
        "blst_503_def_timeout",
        "0",
        idle,
        "No effect: there is no list of blocked destinations.",
    ),
    int(
        "blst_503_min_timeout",
        "0",
        idle,
        "No effect: there is no list of blocked destinations.",
    ),
    int(
        "blst_503_max_timeout",
        "3600",
        idle,
        "No effect: there is no list of blocked destinations.",
    ),
    int(
        "blst_methods_add",
        "1",
        idle,
        "No effect: there is no list of blocked destinations.",
    ),
    int(
        "blst_methods_lookup",
        "4294967287",
        idle,
        "No effect: there is no list of blocked destinations.",
    ),
    int(
        "callid_cseq_matching",
        "0",
        idle,
        "No effect: the branch of the Via is what matches (RFC 3261 §17.1.3).",
    ),
    int(
        "dns_reuse_rcv_socket",
        "0",
        idle,
        "No effect: every address of a name is reached from the socket that suits it.",
    ),
    int(
        "reparse_on_dns_failover",
        "1",
        idle,
        "No effect: the next address gets what the branch has sent.",
    ),
    int(
        "unix_tx_timeout",
        "500",
        idle,
        "No effect: there is no t_write_unix.",
    ),
    int(
        "exec_time_check",
        "5000",
        idle,
        "No effect: a route keeps its transaction however long it takes.",
    ),
    int(
        "rich_redirect",
        "0",
        |c, v| within(v, 0, 3, ParamError("0 to 3")).map(|n| c.tm.rich_redirect = n),
        "What Contact of a 3xx of t_reply says besides: 1 flags of branches; 2 paths, of which \
         there are none.",
    ),
    int(
        "enable_uac_fr",
        "0",
        |c, v| {
            c.tm.enable_uac_fr = flag(v);
            Ok(())
        },
        "Whether uac:reply hears of failures by $uac_req(evroute) 2.",
    ),
    planned(
        "event_callback_lres_sent",
        ParamType::Str,
        "The same for tm:local-response.",
    ),
];
