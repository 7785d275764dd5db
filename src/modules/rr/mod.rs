//! Record-routing: RFC 3261 §16.4, §16.6 step 4 and §16.12, RFC 5658.

pub mod loose;
pub mod record;

use crate::effect::Level;
use crate::script::{
    CallSite, FunctionSig, Heap, InnerKind, Outcome, ParamKind, ParamSig, ParamType, RouteKinds,
    Value, VariableSig,
};

use super::entry::{avp_name, param};
use super::work::Bytes;
use super::{Call, Function, Module, Param, Run, Variable};

pub use record::Record;

/// The module's table.
pub const MODULE: Module = Module {
    name: "rr",
    doc: "Record-Route and loose routing.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    ..super::EMPTY
};

/// Parameters of `rr`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `;lr=on` instead of `;lr`.
    pub enable_full_lr: bool,
    /// `;ftag=` with the From tag, which tells the direction of later requests.
    pub append_fromtag: bool,
    /// Two entries when the outgoing socket differs from the incoming one.
    pub enable_double_rr: bool,
    /// The user part of the Request-URI in the entry.
    pub add_username: bool,
    /// `custom_user_avp`: with `add_username`, the AVP that has another user; empty: none.
    pub custom_user_avp: Box<str>,
    /// Follow-up requests leave by the socket that their Route names, also of a single one.
    pub force_send_socket: bool,
    /// `;sn=` with the name of the socket, which tells the socket of later requests.
    pub sockname_mode: bool,
    /// The log hears of a second Route of a double entry that names no socket of ours.
    pub enable_socket_mismatch_warning: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enable_full_lr: false,
            append_fromtag: true,
            enable_double_rr: true,
            add_username: false,
            custom_user_avp: "".into(),
            force_send_socket: false,
            sockname_mode: false,
            enable_socket_mismatch_warning: true,
        }
    }
}

/// What record-routing remembers of one message.
#[derive(Debug, Default)]
pub struct Memory {
    /// What `record_route` asked for; written when the request is sent.
    pub record: Option<Record>,
    /// What `add_rr_param` collected.
    pub params: Vec<u8>,
    /// See [`Memory::route_params`].
    route_params: Vec<u8>,
    has_own_route: bool,
    /// Behind our own Route stood another, which names the next hop.
    pub has_next_route: bool,
}

impl Memory {
    /// The parameters of our own Route that `loose_route` removed; `None`: it has removed none.
    pub fn route_params(&self) -> Option<&[u8]> {
        self.has_own_route.then_some(&self.route_params)
    }

    pub(super) fn set_route_params(&mut self, params: &[u8]) {
        self.has_own_route = true;
        self.route_params.clear();
        self.route_params.extend_from_slice(params);
    }

    /// Takes the memory of another, which is over; this one is new.
    pub fn take_memory(&mut self, other: &mut Memory) {
        self.params = std::mem::take(&mut other.params);
        self.params.clear();
        self.route_params = std::mem::take(&mut other.route_params);
        self.route_params.clear();
    }
}

impl Clone for Memory {
    fn clone(&self) -> Memory {
        let mut new = Memory::default();
        new.clone_from(self);
        new
    }

    /// Copies into the memory that is there.
    fn clone_from(&mut self, other: &Memory) {
        self.record.clone_from(&other.record);
        self.params.clone_from(&other.params);
        self.route_params.clone_from(&other.route_params);
        self.has_own_route = other.has_own_route;
        self.has_next_route = other.has_next_route;
    }
}

const fn f(
    name: &'static str,
    params: &'static [ParamKind],
    required: usize,
    routes: RouteKinds,
    (run, doc): (Run, &'static str),
) -> Function {
    Function {
        sig: FunctionSig {
            name,
            params,
            required,
            routes,
            planned: false,
            doc,
        },
        run,
    }
}

const TEXT: ParamKind = ParamKind::Text;
const ON_WAY: RouteKinds = RouteKinds::REQUEST
    .or(RouteKinds::BRANCH)
    .or(RouteKinds::FAILURE);
const REQUEST: RouteKinds = RouteKinds::REQUEST;

const FUNCTIONS: [Function; 11] = [
    f(
        "record_route",
        &[TEXT],
        0,
        ON_WAY,
        (record_route, "Adds Record-Route, with parameters behind."),
    ),
    f(
        "record_route_preset",
        &[TEXT, TEXT],
        1,
        ON_WAY,
        (preset, "Adds Record-Route with given addresses."),
    ),
    f(
        "record_route_advertised_address",
        &[TEXT],
        1,
        ON_WAY,
        (advertised, "Adds Record-Route with this address."),
    ),
    f(
        "add_rr_param",
        &[TEXT],
        1,
        ON_WAY,
        (add_param, "Adds a parameter to Record-Route."),
    ),
    f(
        "loose_route",
        &[],
        0,
        REQUEST,
        (loose, "Follows the Route header fields."),
    ),
    f(
        "loose_route_mode",
        &[ParamKind::Int],
        1,
        REQUEST,
        (
            loose_mode,
            "The same; 1: a Request-URI of ours does not tell of a strict router.",
        ),
    ),
    f(
        "rr_next_hop_route",
        &[],
        0,
        RouteKinds::ANY,
        (
            has_next_route,
            "Whether the next hop is a Route that stood behind our own.",
        ),
    ),
    f(
        "loose_route_preloaded",
        &[],
        0,
        REQUEST,
        (
            preloaded,
            "Follows the Routes of a request that is not in a dialog.",
        ),
    ),
    f(
        "check_route_param",
        &[ParamKind::Regex],
        1,
        RouteKinds::REQUEST,
        (check_param, "Matches the parameters of our Route."),
    ),
    f(
        "is_direction",
        &[ParamKind::OneOf(&["downstream", "upstream"])],
        1,
        RouteKinds::REQUEST,
        (
            is_direction,
            "Whether the request goes downstream or upstream.",
        ),
    ),
    f(
        "remove_record_route",
        &[],
        0,
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        (remove, "Takes back what record_route and its kin added."),
    ),
];

const VARIABLES: [Variable; 2] = [
    Variable {
        sig: VariableSig {
            name: "route_uri",
            inner: InnerKind::None,
            writable: false,
            planned: false,
            doc: "URI of the first Route; without one an empty text.",
        },
        get: |call, heap, _| {
            let uri = loose::first_uri(&call.work.message);
            heap.string(uri.unwrap_or_default())
        },
        set: None,
    },
    Variable {
        sig: VariableSig {
            name: "rdir",
            inner: InnerKind::OneOf(&["id", "name"]),
            writable: false,
            planned: false,
            doc: "Direction of the request: 1 downstream, 2 upstream, or its name.",
        },
        get: |call, heap, access| {
            let is_up = is_upstream(call);
            match access.key {
                crate::script::Key::Word(1) => {
                    heap.string(if is_up { b"upstream" } else { b"downstream" })
                }
                _ => Value::Int(1 + i64::from(is_up)),
            }
        },
        set: None,
    },
];

type Store = fn(&mut super::Config, bool);

const fn switch(name: &'static str, default: &'static str, doc: &'static str) -> ParamSig {
    ParamSig {
        name,
        kind: ParamType::Int,
        default,
        planned: false,
        doc,
    }
}

macro_rules! on_off {
    ($name:literal, $default:literal, $field:ident, $doc:literal) => {
        Param {
            sig: switch($name, $default, $doc),
            set: |config, setting| {
                let store: Store = |c, on| c.rr.$field = on;
                store(config, setting.int().unwrap_or(0) != 0);
                Ok(())
            },
        }
    };
}

const PARAMS: [Param; 9] = [
    on_off!(
        "enable_full_lr",
        "0",
        enable_full_lr,
        "Write ;lr=on instead of ;lr."
    ),
    on_off!(
        "append_fromtag",
        "1",
        append_fromtag,
        "Write ;ftag= with the From tag."
    ),
    on_off!(
        "enable_double_rr",
        "1",
        enable_double_rr,
        "Two entries when sockets differ."
    ),
    on_off!(
        "add_username",
        "0",
        add_username,
        "The Request-URI's user in the entry."
    ),
    param(
        "custom_user_avp",
        ParamType::Str,
        "",
        (
            |c, v| avp_name(v).map(|name| c.rr.custom_user_avp = name),
            "AVP with the user for add_username, instead of the Request-URI's.",
        ),
    ),
    on_off!(
        "enable_socket_mismatch_warning",
        "1",
        enable_socket_mismatch_warning,
        "Whether the log hears of a second Route (r2) that is no socket of ours."
    ),
    on_off!(
        "sockname_mode",
        "0",
        sockname_mode,
        "Write ;sn= with the socket's name, and find the socket by it."
    ),
    on_off!(
        "force_send_socket",
        "0",
        force_send_socket,
        "Send by the socket that Route names, also when it is a single one."
    ),
    param(
        "ignore_sips",
        ParamType::Int,
        "0",
        (
            |_, _| Ok(()),
            "No effect: the entry is always sip, as nothing leaves by TLS.",
        ),
    ),
];

const YES: Outcome = Outcome::Return(1);
const NO: Outcome = Outcome::Return(-1);

fn text(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, index: usize) -> Option<Bytes> {
    let value = site.text(index, call, heap);
    heap.str(value).map(Bytes::from)
}

fn set_record(call: &mut Call<'_>, record: Record) -> Outcome {
    if call.work.rr.record.is_some() {
        let text = "record_route() was called twice for one request; the second call is ignored";
        call.env.log(crate::effect::Level::Err, text);
        return NO;
    }
    call.work.rr.record = Some(record);
    YES
}

fn record_route(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let params = text(call, heap, site, 0);
    set_record(call, Record::Sockets(params))
}

fn preset(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(first) = text(call, heap, site, 0) else {
        return NO;
    };
    let second = text(call, heap, site, 1);
    set_record(call, Record::Preset(first, second))
}

fn advertised(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text(call, heap, site, 0) {
        Some(address) => set_record(call, Record::Advertised(address)),
        None => NO,
    }
}

fn add_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text(call, heap, site, 0) {
        Some(param) => {
            call.work.rr.params.extend_from_slice(&param);
            YES
        }
        None => NO,
    }
}

fn loose(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    route(call, true)
}

fn loose_mode(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.int(0, call, heap) {
        Some(mode) => route(call, mode == 0),
        None => NO,
    }
}

fn has_next_route(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    if call.work.rr.has_next_route { YES } else { NO }
}

fn route(call: &mut Call<'_>, heeds_strict: bool) -> Outcome {
    let setup = call.env.state.setup.clone();
    let found = loose::loose_route(&setup, call.work, heeds_strict);
    if setup.config.rr.enable_socket_mismatch_warning
        && let Some(uri) = loose::strange_second(&setup, &call.work.message)
    {
        let uri = String::from_utf8_lossy(&uri);
        let text = format!("loose_route(): no socket of ours for the second Route {uri}");
        call.env.log(Level::Warn, text);
    }
    if found == loose::Found::NextHop {
        super::dialog::loose_route(&mut call.env, call.work);
        super::uac::replace::after_loose_route(call);
    }
    Outcome::Return(found.code())
}

fn preloaded(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let is_initial = call.work.message.to_tag().is_none();
    match loose(call, heap, site) {
        Outcome::Return(_) if !is_initial => NO,
        // There were Routes, and all of them were ours.
        Outcome::Return(-3) => YES,
        other => other,
    }
}

fn check_param(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(params) = call.work.rr.route_params() else {
        return NO;
    };
    let params = heap.text(params);
    let is_match = site.arg(0).and_then(|arg| arg.is_match(call, heap, params));
    if is_match == Some(true) { YES } else { NO }
}

/// Whether the request goes from the callee to the caller: its From tag is not the one that the
/// initial request had. Without a memory of that tag everything goes downstream.
pub(super) fn is_upstream(call: &Call<'_>) -> bool {
    let Some(params) = call.work.rr.route_params() else {
        return false;
    };
    let ftag = params
        .split(|b| *b == b';')
        .find_map(|p| p.strip_prefix(b"ftag="));
    ftag.is_some_and(|tag| call.work.message.from_tag() != Some(tag))
}

fn is_direction(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let which = site.text(0, call, heap);
    let wants_up = heap
        .str(which)
        .is_some_and(|w| w.eq_ignore_ascii_case(b"upstream"));
    if is_upstream(call) == wants_up {
        YES
    } else {
        NO
    }
}

fn remove(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    // What was received is the way back through other proxies (RFC 3261 §16.6 item 4): it stays.
    call.work.rr.record = None;
    YES
}
