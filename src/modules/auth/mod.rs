//! Challenging callers and judging their answers: RFC 3261 §22 with the parameters, functions and
//! return codes of Kamailio's `auth` module.
//!
//! The script knows the password, or its hash; where it has it from is its own business. Nonces
//! carry their own proof (see nonce.rs), so any core can judge one. Where uses are counted
//! (`nonce_count`, `one_time_nonce`), the core that made a nonce keeps the count, and a script on
//! another core waits for its word:
//!
//! ```text
//!   password, proof, time: here ─▶ made here? ─ yes ─▶ count.rs ─▶ return code
//!                                       └ no ─▶ the shard in the nonce ─▶ count.rs ─▶ answer
//! ```

pub mod count;
mod functions;
mod nonce;

pub use functions::{Pending, asked, judged};

use crate::modules::digest::Algorithm;
use crate::modules::entry::{is_on, number, param, words};
use crate::modules::{Module, Param, ParamError};
use crate::script::{ParamType, Setting};
use crate::sip::Span;

/// The module's table.
pub const MODULE: Module = Module {
    name: "auth",
    doc: "Digest authentication: challenges, and judging what answers them.",
    functions: &functions::FUNCTIONS,
    params: &PARAMS,
    ..super::EMPTY
};

/// Parameters of `auth`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What binds the nonces of REGISTER requests: 1 the Request-URI, 2 the Call-ID, 4 the From
    /// tag, 8 the source address.
    pub checks_register: u8,
    /// The same for other requests outside of a dialog.
    pub checks_no_dlg: u8,
    /// The same for requests in one.
    pub checks_in_dlg: u8,
    /// The quality of protection to be offered when the script does not say: 1 auth, 2 auth-int.
    pub qop: u8,
    /// What nonces are proved with; empty: a secret of this process.
    pub secret: Box<str>,
    /// For how many seconds a nonce is good.
    pub nonce_expire_s: u32,
    /// By how many seconds the clock that made it may be ahead.
    pub drift_s: u32,
    /// Whether challenges are sent without the transaction.
    pub is_stateless: bool,
    /// What is taken off the front of realms.
    pub realm_prefix: Box<str>,
    /// Whether the identity check looks at domains too.
    pub use_domain: bool,
    /// The algorithm, and whether challenges name it.
    pub algorithm: Option<Algorithm>,
    /// `nonce_count`: counts must rise.
    pub counts: bool,
    /// `one_time_nonce`: a nonce without a count is good once.
    pub is_one_time: bool,
    /// `nc_array_size`: for how many nonces each core keeps the count.
    pub count_size: usize,
    /// `otn_in_flight_no`: for how many it keeps whether they were used.
    pub one_time_size: usize,
    /// `add_authinfo_hdr`: whether Authentication-Info goes with the answer.
    pub adds_info: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            checks_register: 0,
            checks_no_dlg: 0,
            checks_in_dlg: 0,
            qop: 0,
            secret: Box::default(),
            nonce_expire_s: 300,
            drift_s: 3,
            is_stateless: false,
            realm_prefix: Box::default(),
            use_domain: false,
            algorithm: None,
            counts: false,
            is_one_time: false,
            count_size: 1 << 20,
            one_time_size: 1 << 20,
            adds_info: false,
        }
    }
}

/// What the script has learned of the credentials of a message.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// The header field with those that were judged last.
    judged: Option<Span>,
    /// They were right but for the nonce: a challenge says so.
    is_stale: bool,
    /// Whose they are, when they were right.
    user: Option<Box<[u8]>>,
}

impl Seen {
    /// The user of credentials that were judged and right.
    pub fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }
}

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;

/// A byte for each of so many nonces is the most that a core keeps.
const ORDER_MAX: u32 = 26;

type Stored = Result<(), ParamError>;

const PARAMS: [Param; 19] = [
    param(
        "auth_checks_register",
        INT,
        "0",
        (
            |c, v| checks(v, &mut c.auth.checks_register),
            "What binds a nonce of a REGISTER: 1 R-URI, 2 Call-ID, 4 From tag, 8 source address.",
        ),
    ),
    param(
        "auth_checks_no_dlg",
        INT,
        "0",
        (
            |c, v| checks(v, &mut c.auth.checks_no_dlg),
            "The same for other requests outside of a dialog.",
        ),
    ),
    param(
        "auth_checks_in_dlg",
        INT,
        "0",
        (
            |c, v| checks(v, &mut c.auth.checks_in_dlg),
            "The same for requests in a dialog.",
        ),
    ),
    param(
        "qop",
        STR,
        "",
        (qop, "The quality of protection to offer: auth or auth-int."),
    ),
    param(
        "algorithm",
        STR,
        "",
        (algorithm, "MD5 or SHA-256; named in challenges if set."),
    ),
    param(
        "nonce_count",
        INT,
        "0",
        (
            |c, v| {
                c.auth.counts = is_on(v);
                Ok(())
            },
            "Whether the count of each use of a nonce must rise.",
        ),
    ),
    param(
        "one_time_nonce",
        INT,
        "0",
        (
            |c, v| {
                c.auth.is_one_time = is_on(v);
                Ok(())
            },
            "Whether a nonce that comes without a count is good once.",
        ),
    ),
    param(
        "nid_pool_no",
        INT,
        "1",
        (
            |_, v| number(v, 1, 64, "1 to 64").map(|_| ()),
            "No effect: each core keeps what it has made.",
        ),
    ),
    param(
        "nc_array_size",
        INT,
        "1048576",
        (
            |c, v| size(v, &mut c.auth.count_size),
            "For how many nonces each core keeps the count, rounded down to a power of two.",
        ),
    ),
    param(
        "nc_array_order",
        INT,
        "20",
        (
            |c, v| order(v, &mut c.auth.count_size),
            "The same as a power of two.",
        ),
    ),
    param(
        "otn_in_flight_no",
        INT,
        "1048576",
        (
            |c, v| size(v, &mut c.auth.one_time_size),
            "For how many it keeps whether they were used.",
        ),
    ),
    param(
        "otn_in_flight_order",
        INT,
        "20",
        (
            |c, v| order(v, &mut c.auth.one_time_size),
            "The same as a power of two.",
        ),
    ),
    param(
        "secret",
        STR,
        "",
        (
            |c, v| {
                c.auth.secret = words(v);
                Ok(())
            },
            "What nonces are proved with; unset: drawn at start.",
        ),
    ),
    param(
        "nonce_expire",
        INT,
        "300",
        (
            |c, v| seconds(v, &mut c.auth.nonce_expire_s),
            "For how many seconds a nonce is good.",
        ),
    ),
    param(
        "nonce_auth_max_drift",
        INT,
        "3",
        (
            |c, v| seconds(v, &mut c.auth.drift_s),
            "By how many seconds it may come from the future.",
        ),
    ),
    param(
        "force_stateless_reply",
        INT,
        "0",
        (
            |c, v| {
                c.auth.is_stateless = is_on(v);
                Ok(())
            },
            "Whether challenges are sent without the transaction.",
        ),
    ),
    param(
        "realm_prefix",
        STR,
        "",
        (
            |c, v| {
                c.auth.realm_prefix = words(v);
                Ok(())
            },
            "Taken off the front of realms when they are compared.",
        ),
    ),
    param(
        "use_domain",
        INT,
        "0",
        (
            |c, v| {
                c.auth.use_domain = is_on(v);
                Ok(())
            },
            "Whether pv_auth_check compares domains too.",
        ),
    ),
    param(
        "add_authinfo_hdr",
        INT,
        "0",
        (
            |c, v| {
                c.auth.adds_info = is_on(v);
                Ok(())
            },
            "Whether the reply to right credentials carries Authentication-Info.",
        ),
    ),
];

fn size(setting: &Setting, to: &mut usize) -> Stored {
    let given = number(setting, 1, 1 << ORDER_MAX, "1 to 2^26")?;
    *to = 1 << given.ilog2();
    Ok(())
}

fn order(setting: &Setting, to: &mut usize) -> Stored {
    *to = 1 << number(setting, 0, ORDER_MAX.into(), "0 to 26")?;
    Ok(())
}

fn checks(setting: &Setting, to: &mut u8) -> Stored {
    *to = number(setting, 0, 15, "a sum of 1, 2, 4 and 8")? as u8;
    Ok(())
}

fn seconds(setting: &Setting, to: &mut u32) -> Stored {
    *to = number(setting, 0, i32::MAX.into(), "seconds")? as u32;
    Ok(())
}

fn qop(config: &mut super::Config, setting: &Setting) -> Stored {
    config.auth.qop = match &*words(setting) {
        "" => 0,
        "auth" => 1,
        "auth-int" => 2,
        "auth,auth-int" | "auth-int,auth" => 3,
        _ => return Err(ParamError("auth or auth-int")),
    };
    Ok(())
}

fn algorithm(config: &mut super::Config, setting: &Setting) -> Stored {
    config.auth.algorithm = match &*words(setting) {
        "" => None,
        "MD5" => Some(Algorithm::Md5),
        "SHA-256" => Some(Algorithm::Sha256),
        _ => return Err(ParamError("MD5 or SHA-256")),
    };
    Ok(())
}
