//! Requests of our own, credentials, other names.
//!
//! `request.rs` is what a script sends by itself, `auth.rs` answers challenges of what it relays,
//! `replace.rs` lets the two sides of a call see different names. Registrations of our own are
//! known and not done.

mod auth;
pub mod peer;
pub mod replace;
mod request;

pub use replace::Names;
pub use request::{Request, Sent};
pub(in crate::modules) use request::{as_message, start, t_uac_send};

use crate::modules::digest::Credential;
use crate::modules::entry::{
    avp_name, function, is_on, keyed, optional, param, planned_function, planned_param, words,
    writable,
};
use crate::modules::{Function, Module, Param, ParamError, Variable};
use crate::script::{InnerKind, ParamKind, ParamType, RouteKinds, Setting};

use replace::Side;

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const OUTPUT: ParamKind = ParamKind::Output;
const ANY: RouteKinds = RouteKinds::ANY;
const FAILURE: RouteKinds = RouteKinds::FAILURE;

/// Whether replaced names come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restore {
    /// They do not.
    None,
    /// In requests of the dialog when the script says so, in responses always.
    Manual,
    /// Whenever a Route is followed.
    Auto,
}

/// Parameters that mean something here.
#[derive(Clone, Debug)]
pub struct Config {
    /// `credential`.
    pub credentials: Vec<Credential>,
    /// `auth_username_avp`: the name of the AVP.
    pub user_avp: Option<Box<str>>,
    /// `auth_realm_avp`.
    pub realm_avp: Option<Box<str>>,
    /// `auth_password_avp`.
    pub password_avp: Option<Box<str>>,
    /// `restore_mode`.
    pub restore: Restore,
    /// `rr_from_store_param`.
    pub from_param: Box<str>,
    /// `rr_to_store_param`.
    pub to_param: Box<str>,
    /// `restore_dlg`: the dialog keeps the names, not the parameter.
    pub by_dialog: bool,
    /// `restore_passwd`: what the parameters are obscured with; empty: they are not.
    pub password: Box<str>,
    /// `restore_from_avp`, `restore_to_avp`: AVPs with the URIs that responses get back.
    pub avps: [Box<str>; 2],
    /// `default_socket`: where requests of `uac_req_send` leave; empty: as the next hop wants it.
    pub default_socket: Box<str>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            credentials: Vec::new(),
            user_avp: None,
            realm_avp: None,
            password_avp: None,
            restore: Restore::Auto,
            from_param: "vsf".into(),
            to_param: "vst".into(),
            by_dialog: false,
            password: Box::default(),
            avps: Default::default(),
            default_socket: Box::default(),
        }
    }
}

/// `user:realm:password`; the password may contain colons.
fn credential(setting: &Setting) -> Result<Credential, ParamError> {
    let text = words(setting);
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(user), Some(realm), Some(password)) if !user.is_empty() => Ok(Credential {
            user: user.as_bytes().into(),
            realm: realm.as_bytes().into(),
            password: password.as_bytes().into(),
            is_hash: false,
        }),
        _ => Err(ParamError("a credential: user:realm:password")),
    }
}

/// `$avp(name)`: the name.
fn avp(setting: &Setting) -> Result<Option<Box<str>>, ParamError> {
    let text = words(setting);
    if text.is_empty() {
        return Ok(None);
    }
    let inner = text.strip_prefix("$avp(").and_then(|t| t.strip_suffix(')'));
    inner
        .map(|name| Some(name.into()))
        .ok_or(ParamError("an AVP: $avp(name)"))
}

fn restore_mode(setting: &Setting) -> Result<Restore, ParamError> {
    match &*words(setting) {
        "none" => Ok(Restore::None),
        "manual" => Ok(Restore::Manual),
        "auto" => Ok(Restore::Auto),
        _ => Err(ParamError("none, manual or auto")),
    }
}

/// The module's table.
pub const MODULE: Module = Module {
    name: "uac",
    doc: "Requests of our own, credentials, other names.",
    functions: &UAC_FUNCTIONS,
    variables: &UAC_VARIABLES,
    params: &UAC_PARAMS,
    planned: false,
    ..super::EMPTY
};

const UAC_FUNCTIONS: [Function; 16] = [
    optional(
        function(
            "uac_auth",
            &[NUM],
            FAILURE,
            (auth::uac_auth, "Answers a challenge."),
        ),
        0,
    ),
    function(
        "uac_auth_mode",
        &[NUM],
        FAILURE,
        (auth::uac_auth, "The same; 1: passwords are hashes."),
    ),
    function(
        "uac_replace_from",
        &[TEXT],
        RouteKinds::REQUEST.or(RouteKinds::BRANCH),
        (
            |c, h, s| replace::replace(c, h, s, Side::From),
            "Another URI for From.",
        ),
    ),
    function(
        "uac_replace_from",
        &[TEXT, TEXT],
        RouteKinds::REQUEST.or(RouteKinds::BRANCH),
        (
            |c, h, s| replace::replace(c, h, s, Side::From),
            "Another name and URI for From.",
        ),
    ),
    function(
        "uac_replace_to",
        &[TEXT],
        RouteKinds::REQUEST.or(RouteKinds::BRANCH),
        (
            |c, h, s| replace::replace(c, h, s, Side::To),
            "Another URI for To.",
        ),
    ),
    function(
        "uac_replace_to",
        &[TEXT, TEXT],
        RouteKinds::REQUEST.or(RouteKinds::BRANCH),
        (
            |c, h, s| replace::replace(c, h, s, Side::To),
            "Another name and URI for To.",
        ),
    ),
    function(
        "uac_restore_from",
        &[],
        RouteKinds::REQUEST,
        (
            |c, _, _| replace::uac_restore(c, Side::From),
            "Takes that back.",
        ),
    ),
    function(
        "uac_restore_to",
        &[],
        RouteKinds::REQUEST,
        (
            |c, _, _| replace::uac_restore(c, Side::To),
            "Takes that back.",
        ),
    ),
    function(
        "uac_req_send",
        &[],
        ANY,
        (request::req_send, "Sends the request of $uac_req."),
    ),
    planned_function(
        "uac_reg_lookup",
        &[TEXT, OUTPUT],
        2,
        (ANY, "A registration of ours."),
    ),
    planned_function(
        "uac_reg_lookup_uri",
        &[TEXT, OUTPUT],
        2,
        (ANY, "The same by the URI."),
    ),
    planned_function(
        "uac_reg_status",
        &[TEXT],
        1,
        (ANY, "Whether it is registered."),
    ),
    planned_function(
        "uac_reg_request_to",
        &[TEXT, NUM],
        2,
        (RouteKinds::ON_WAY, "Sends a request as a registered user."),
    ),
    planned_function(
        "uac_reg_enable",
        &[TEXT, TEXT],
        2,
        (ANY, "Registers again."),
    ),
    planned_function(
        "uac_reg_disable",
        &[TEXT, TEXT],
        2,
        (ANY, "Registers no longer."),
    ),
    planned_function(
        "uac_reg_refresh",
        &[TEXT],
        1,
        (ANY, "Reads it from the database again."),
    ),
];

const UAC_VARIABLES: [Variable; 1] = [writable(
    keyed(
        "uac_req",
        InnerKind::OneOf(&request::WORDS),
        request::get,
        "The request of uac_req_send, or what its answer belongs to.",
    ),
    request::set,
)];

const UAC_PARAMS: [Param; 24] = [
    param(
        "credential",
        STR,
        "",
        (
            |c, s| credential(s).map(|one| c.uac.credentials.push(one)),
            "user:realm:password.",
        ),
    ),
    param(
        "auth_username_avp",
        STR,
        "",
        (
            |c, s| avp(s).map(|name| c.uac.user_avp = name),
            "AVP with a user.",
        ),
    ),
    param(
        "auth_realm_avp",
        STR,
        "",
        (
            |c, s| avp(s).map(|name| c.uac.realm_avp = name),
            "AVP with a realm.",
        ),
    ),
    param(
        "auth_password_avp",
        STR,
        "",
        (
            |c, s| avp(s).map(|name| c.uac.password_avp = name),
            "AVP with a password.",
        ),
    ),
    param(
        "restore_mode",
        STR,
        "auto",
        (
            |c, s| restore_mode(s).map(|mode| c.uac.restore = mode),
            "none, manual or auto.",
        ),
    ),
    param(
        "restore_dlg",
        INT,
        "0",
        (
            |c, s| {
                c.uac.by_dialog = is_on(s);
                Ok(())
            },
            "Whether variables of the dialog keep the names, instead of the parameter.",
        ),
    ),
    param(
        "restore_passwd",
        STR,
        "",
        (
            |c, s| {
                c.uac.password = words(s);
                Ok(())
            },
            "What the parameter is obscured with.",
        ),
    ),
    param(
        "rr_from_store_param",
        STR,
        "vsf",
        (
            |c, s| {
                c.uac.from_param = words(s);
                Ok(())
            },
            "Parameter of Record-Route.",
        ),
    ),
    param(
        "rr_to_store_param",
        STR,
        "vst",
        (
            |c, s| {
                c.uac.to_param = words(s);
                Ok(())
            },
            "Parameter of Record-Route.",
        ),
    ),
    param(
        "restore_from_avp",
        STR,
        "",
        (
            |c, s| avp_name(s).map(|name| c.uac.avps[0] = name),
            "AVP that keeps the URI which responses get back in From.",
        ),
    ),
    param(
        "restore_to_avp",
        STR,
        "",
        (
            |c, s| avp_name(s).map(|name| c.uac.avps[1] = name),
            "The same for To.",
        ),
    ),
    planned_param("reg_db_url", STR, "", "The database of registrations."),
    planned_param("reg_db_table", STR, "uacreg", "Its table."),
    planned_param("reg_contact_addr", STR, "", "Contact of registrations."),
    planned_param(
        "reg_timer_interval",
        INT,
        "90",
        "Seconds between two looks.",
    ),
    planned_param(
        "reg_retry_interval",
        INT,
        "0",
        "Seconds until the next attempt.",
    ),
    planned_param("reg_keep_callid", INT, "0", "Whether the Call-ID stays."),
    planned_param("reg_random_delay", INT, "0", "Seconds to begin within."),
    planned_param("reg_hash_size", INT, "1", "Slots of the table."),
    planned_param("reg_active", INT, "1", "Whether registrations are made."),
    planned_param(
        "reg_gc_interval",
        INT,
        "150",
        "Seconds between two cleanings.",
    ),
    planned_param(
        "reg_use_domain",
        INT,
        "0",
        "Whether users are told apart by domain.",
    ),
    param(
        "default_socket",
        STR,
        "",
        (
            |c, s| {
                c.uac.default_socket = words(s);
                Ok(())
            },
            "proto:ip:port that uac_req_send sends from unless $uac_req(sock) says otherwise.",
        ),
    ),
    planned_param(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
];
