//! A checked configuration, ready to run: shared by all shards, never changed.

use std::sync::Arc;

use regex::bytes::Regex;

use super::error::{ConfigError, Position};
use super::format::Format;
use super::host::{CallSite, Host};
use super::signature::{ModuleId, RouteKind};
use super::value::{Heap, Text, Value};
use super::variable::Variable;
use super::vm::Op;
use crate::effect::Proto;

/// Names one block of statements of a [`Program`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteId(pub(super) u32);

impl RouteId {
    /// Its number, from 1.
    pub fn index(self) -> u32 {
        self.0 + 1
    }
}

/// A block of statements.
#[derive(Debug)]
pub struct Route {
    /// Its kind.
    pub kind: RouteKind,
    /// Its name; `0` for the unnamed one.
    pub name: Box<str>,
    /// Where it stands.
    pub at: Position,
    pub(super) start: u32,
}

/// A value that the configuration gives to a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    /// A number; boolean words are 1 and 0.
    Int(i64),
    /// A string or a word.
    Text(Box<[u8]>),
}

impl Setting {
    /// The number, also of a string that is one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Setting::Int(n) => Some(*n),
            Setting::Text(text) => super::value::parse_int(text),
        }
    }

    /// The text; a number has none.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Setting::Int(_) => None,
            Setting::Text(text) => Some(text),
        }
    }
}

/// A global parameter that is set. Later ones of the same name win.
#[derive(Debug)]
pub struct Global {
    /// The name, one of the vocabulary's.
    pub name: &'static str,
    /// The value.
    pub value: Setting,
    /// Where.
    pub at: Position,
}

/// A custom parameter: `group.name = value desc "text"`, or `group[5].name = value` for those who
/// select this instance of the group.
#[derive(Debug)]
pub struct Custom {
    /// The group.
    pub group: Box<str>,
    /// The instance; `None`: what everybody sees who has selected none.
    pub instance: Option<i64>,
    /// The name in the group.
    pub name: Box<str>,
    /// The value at start.
    pub value: Setting,
    /// What it is for.
    pub description: Option<Box<str>>,
    /// Where.
    pub at: Position,
}

/// A parameter of a module that is set; one entry for each module that `modparam` matched.
#[derive(Debug)]
pub struct ModParam {
    /// The module.
    pub module: ModuleId,
    /// The parameter, one of the module's.
    pub name: &'static str,
    /// The value.
    pub value: Setting,
    /// Where.
    pub at: Position,
}

/// A `listen` address, one for each address of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// `None`: UDP and TCP.
    pub proto: Option<Proto>,
    /// An address, a host, or the name of an interface; IPv6 without brackets.
    pub host: Box<str>,
    /// `None`: the `port` parameter.
    pub port: Option<u16>,
    /// What the world is told instead.
    pub advertise: Option<(Box<str>, Option<u16>)>,
    /// The name of the socket.
    pub name: Option<Box<str>>,
    /// Whether the address may be absent.
    pub is_virtual: bool,
    /// Where.
    pub at: Position,
}

/// A host name that is this proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alias {
    /// `None`: every protocol.
    pub proto: Option<Proto>,
    /// The name.
    pub host: Box<str>,
    /// `None`: every port.
    pub port: Option<u16>,
}

/// Where a `switch` goes.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) cases: Box<[(Label, u32)]>,
    pub(super) default: u32,
}

/// What a `case` compares with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    Int(i64),
    Text(Text),
    Regex(u32),
}

/// A set of addresses: `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Net {
    pub(super) address: std::net::IpAddr,
    pub(super) bits: u8,
}

impl Net {
    /// Whether the address is in the set; IPv4 and IPv6 never meet.
    pub(super) fn contains(self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        let (mine, other, width) = match (self.address, address) {
            (V4(a), V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (V6(a), V6(b)) => (a.to_bits(), b.to_bits(), 128),
            (V4(_), V6(_)) | (V6(_), V4(_)) => return false,
        };
        let host_bits = width - u32::from(self.bits).min(width);
        mine.checked_shr(host_bits) == other.checked_shr(host_bits)
    }
}

/// A checked configuration.
#[derive(Debug, Default)]
pub struct Program {
    pub(super) ops: Vec<Op>,
    /// The place of each op, for the log.
    pub(super) places: Vec<Position>,
    pub(super) constants: Arc<[u8]>,
    /// Constants on the right of operators.
    pub(super) literals: Vec<Value>,
    pub(super) sites: Vec<CallSite>,
    pub(super) variables: Vec<Variable>,
    pub(super) regexes: Vec<Regex>,
    /// Each a set of addresses: one network, or all addresses of a host.
    pub(super) nets: Vec<Box<[Net]>>,
    pub(super) switches: Vec<Switch>,
    /// Sorted by kind and name.
    pub(super) routes: Vec<Route>,
    /// Where the blocks of each kind begin, and where those of the last end.
    pub(super) kinds: [u32; RouteKind::COUNT + 1],
    pub(super) loop_max: u32,
    pub(super) depth_max: usize,
    /// The global parameter `log_prefix`, which may hold variables.
    pub(super) log_prefix: Option<Format>,
    /// Parameters that may hold variables, by module and name.
    pub(super) formats: Vec<(&'static str, &'static str, Format)>,
    /// The modules in the order of `loadmodule`, behind the core.
    pub modules: Vec<ModuleId>,
    /// Global parameters in the order of the file.
    pub globals: Vec<Global>,
    /// Custom parameters in the order of the file.
    pub customs: Vec<Custom>,
    /// Parameters of modules in the order of the file.
    pub params: Vec<ModParam>,
    /// Addresses to listen on.
    pub listens: Vec<Listen>,
    /// Names that are this proxy.
    pub aliases: Vec<Alias>,
    /// Sockets that functions name, as written; they must be among those listened on.
    pub sockets: Vec<(Box<str>, Position)>,
    /// Named flags.
    pub flags: Vec<(Box<str>, u8)>,
    /// The `cfgengine`, when the native one is not wanted.
    pub engine: Option<Box<str>>,
    /// The files, in the order of inclusion.
    pub files: Vec<Box<str>>,
    /// What is odd but not wrong.
    pub warnings: Vec<ConfigError>,
}

impl Program {
    /// The block of this kind and name. The unnamed blocks have the name `0`.
    pub fn route(&self, kind: RouteKind, name: &[u8]) -> Option<RouteId> {
        let first = self.kinds[kind as usize] as usize;
        let end = self.kinds[kind as usize + 1] as usize;
        let at = self.routes[first..end].binary_search_by(|r| r.name.as_bytes().cmp(name));
        Some(RouteId((first + at.ok()?) as u32))
    }

    /// Takes the blocks, sorted by kind and name.
    pub(super) fn set_routes(&mut self, routes: Vec<Route>) {
        self.kinds = std::array::from_fn(|kind| {
            routes.partition_point(|route| (route.kind as usize) < kind) as u32
        });
        self.routes = routes;
    }

    /// The unnamed block of this kind: `request_route`, `reply_route`, `onsend_route`.
    pub fn main(&self, kind: RouteKind) -> Option<RouteId> {
        self.route(kind, b"0")
    }

    /// The block with this id.
    pub fn block(&self, id: RouteId) -> &Route {
        &self.routes[id.0 as usize]
    }

    /// All calls of functions.
    pub fn sites(&self) -> &[CallSite] {
        &self.sites
    }

    /// All blocks, by kind and name.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The value of a global parameter that the file set.
    pub fn global(&self, name: &str) -> Option<&Setting> {
        let set = self.globals.iter().rev().find(|g| g.name == name)?;
        Some(&set.value)
    }

    /// Whether lines of the log have a prefix.
    pub fn has_log_prefix(&self) -> bool {
        self.log_prefix.is_some()
    }

    /// The text that `log_prefix` gives now, in a run of this program.
    pub fn log_prefix<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Option<Box<str>> {
        let text = self.log_prefix.as_ref()?.text(host, heap);
        Some(String::from_utf8_lossy(heap.str(text)?).into())
    }

    /// A parameter of a module that may hold variables; `None`: it is not set, or it holds what
    /// is no variable.
    pub fn format(&self, module: &str, param: &str) -> Option<&Format> {
        let mut all = self.formats.iter();
        let found = all.find(|(m, p, _)| (*m, *p) == (module, param));
        found.map(|(_, _, format)| format)
    }

    /// The bytes of a constant.
    pub fn constant(&self, text: Text) -> &[u8] {
        text.of_constants(&self.constants)
    }

    /// The name of the file of a place.
    pub fn file(&self, at: Position) -> &str {
        self.files.get(usize::from(at.file)).map_or("", |name| name)
    }

    pub(super) fn op(&self, pc: u32) -> Op {
        self.ops[pc as usize]
    }

    pub(super) fn place(&self, pc: u32) -> Position {
        self.places.get(pc as usize).copied().unwrap_or_default()
    }
}

const _: () = assert!(std::mem::size_of::<Op>() == 16, "ops are copied one by one");

const _: () = assert!(
    std::mem::size_of::<Value>() == 16,
    "values are copied on the stack"
);
