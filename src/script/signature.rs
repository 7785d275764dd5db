//! What modules say about their functions, variables and parameters, as constant data.
//!
//! The language knows no module: the checker, the compiler and the virtual machine work from a
//! [`Vocabulary`], which is a list of [`ModuleSig`]s. A [`FunctionId`] or [`VariableId`] is the
//! place of a module in that list and the place of the entry in the module's table, so that a
//! host dispatches with two array look-ups and declares nothing twice.

use std::fmt;

/// A set of kinds of route blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteKinds(u16);

impl RouteKinds {
    /// No kind.
    pub const NONE: RouteKinds = RouteKinds(0);
    /// `request_route` and `route[..]`.
    pub const REQUEST: RouteKinds = RouteKind::Request.only();
    /// `failure_route[..]`.
    pub const FAILURE: RouteKinds = RouteKind::Failure.only();
    /// `branch_route[..]`.
    pub const BRANCH: RouteKinds = RouteKind::Branch.only();
    /// `onreply_route[..]`: replies of a transaction.
    pub const ONREPLY: RouteKinds = RouteKind::Onreply.only();
    /// `reply_route`: every reply.
    pub const REPLY: RouteKinds = RouteKind::Reply.only();
    /// `onsend_route`.
    pub const ONSEND: RouteKinds = RouteKind::Onsend.only();
    /// `event_route[..]`, in which everything may be called that a `request_route` may call.
    pub const EVENT: RouteKinds = RouteKind::Event.only();
    /// Where a request is on its way.
    pub const ON_WAY: RouteKinds = RouteKinds::REQUEST
        .or(RouteKinds::FAILURE)
        .or(RouteKinds::BRANCH);
    /// Where a message has come in.
    pub const RECEIVED: RouteKinds = RouteKinds::REQUEST
        .or(RouteKinds::ONREPLY)
        .or(RouteKinds::REPLY);
    /// Where a request may be answered.
    pub const ANSWERING: RouteKinds = RouteKinds::RECEIVED.or(RouteKinds::FAILURE);
    /// Everywhere but where a message is about to leave.
    pub const NOT_ONSEND: RouteKinds = RouteKinds::ON_WAY.or(RouteKinds::RECEIVED);
    /// Everywhere.
    pub const ANY: RouteKinds = RouteKinds(0x7f);

    /// Both sets together.
    pub const fn or(self, other: RouteKinds) -> RouteKinds {
        RouteKinds(self.0 | other.0)
    }

    /// Whether the kind is in the set. What may be called in a `request_route` may be called in
    /// an event route, as in the original.
    pub const fn contains(self, kind: RouteKind) -> bool {
        let is_request = self.0 & RouteKinds::REQUEST.0 != 0;
        let also = if is_request { RouteKinds::EVENT.0 } else { 0 };
        (self.0 | also) & (1 << kind as u16) != 0
    }
}

/// The kinds of route blocks; names are separate in each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RouteKind {
    /// `request_route` (name `0`) and `route[..]`.
    Request,
    /// `failure_route[..]`.
    Failure,
    /// `branch_route[..]`.
    Branch,
    /// `onreply_route[..]`.
    Onreply,
    /// `reply_route` (name `0`).
    Reply,
    /// `onsend_route` (name `0`).
    Onsend,
    /// `event_route[..]`.
    Event,
}

impl RouteKind {
    /// How many kinds there are.
    pub const COUNT: usize = RouteKind::Event as usize + 1;

    /// The set of this kind alone.
    pub const fn only(self) -> RouteKinds {
        RouteKinds(1 << self as u16)
    }

    /// The keyword that opens such a block.
    pub const fn keyword(self) -> &'static str {
        match self {
            RouteKind::Request => "route",
            RouteKind::Failure => "failure_route",
            RouteKind::Branch => "branch_route",
            RouteKind::Onreply => "onreply_route",
            RouteKind::Reply => "reply_route",
            RouteKind::Onsend => "onsend_route",
            RouteKind::Event => "event_route",
        }
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// What a function takes in one place of its argument list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamKind {
    /// Constant text; a number counts as its digits. Variables in it are not expanded.
    Const,
    /// An integer: a number, its quoted form, or exactly one variable.
    Int,
    /// Text with variables in it, expanded at each call.
    Text,
    /// Text, or a string that is exactly one variable; mixed text is taken as written.
    Single,
    /// The name of a variable that the function writes.
    Output,
    /// The name of a variable that the function reads or writes as it likes.
    Variable,
    /// A POSIX extended regular expression: constant (compiled at load) or exactly one variable.
    Regex,
    /// `/expression/replacement/flags`, constant (compiled at load).
    Subst,
    /// The name of a block of this kind. That it is missing is a warning; `"0"` names none.
    Route(RouteKind),
    /// A flag number 0 to 31, or a name given by `flags`.
    Flag,
    /// Text like `Text`, in quotes or a variable: never a number.
    Quoted,
    /// A number that is not negative, not in quotes, or a variable.
    Count,
    /// A host: a bare name or address, `uri:host`, or text like `Quoted`.
    Host,
    /// A port: a number or the bare `uri:port`.
    Port,
    /// A listening socket, `[proto:]address[:port]`, not in quotes, or a variable.
    Socket,
    /// A bare word.
    Word,
    /// One of these words in quotes, in any case, or a variable.
    OneOf(&'static [&'static str]),
    /// One name, or a list `A|B` of these; or a variable.
    ListOf(&'static [&'static str]),
    /// A level of the log: `L_INFO` and so on, a number, or exactly one variable.
    Level,
}

/// A function of a module. The same name may stand in a table several times with different
/// numbers of parameters.
#[derive(Clone, Copy, Debug)]
pub struct FunctionSig {
    /// The name.
    pub name: &'static str,
    /// What each argument is.
    pub params: &'static [ParamKind],
    /// How many of them must be given.
    pub required: usize,
    /// Where it may be called.
    pub routes: RouteKinds,
    /// Known but not done yet: it loads with a warning.
    pub planned: bool,
    /// One line for the reference.
    pub doc: &'static str,
}

/// What stands between the parentheses of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InnerKind {
    /// Nothing: `$ru`.
    None,
    /// A name or key, in which variables are expanded: `$hdr(X)`, `$sht(t=>$ci)`.
    Name,
    /// Such a name, of an item of a table: `$sht(table=>key)`.
    Item,
    /// Such a name or nothing.
    OptionalName,
    /// One of these words, resolved at load to [`super::Key::Word`].
    OneOf(&'static [&'static str]),
    /// A path whose first word is one of these: `$sel(ruri.user)`.
    PathFrom(&'static [&'static str]),
    /// Another variable: `$cnt($avp(x))`.
    Variable,
    /// A name that this parameter of the module declared: `name=value`.
    Declared(&'static str),
}

/// A variable of a module.
#[derive(Clone, Copy, Debug)]
pub struct VariableSig {
    /// The name without `$`.
    pub name: &'static str,
    /// What its parentheses hold.
    pub inner: InnerKind,
    /// Whether it can be assigned.
    pub writable: bool,
    /// Known but not done yet: it loads with a warning.
    pub planned: bool,
    /// One line for the reference.
    pub doc: &'static str,
}

/// The type of a parameter of a module or of the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamType {
    /// An integer or a boolean word.
    Int,
    /// A quoted string.
    Str,
    /// An integer, or a string that is one.
    IntOrStr,
    /// An integer or a quoted string.
    Any,
    /// A quoted string that may hold variables; [`super::Program::format`] has it ready.
    Format,
}

/// A parameter that `modparam` sets.
#[derive(Clone, Copy, Debug)]
pub struct ParamSig {
    /// The name.
    pub name: &'static str,
    /// Its type.
    pub kind: ParamType,
    /// What holds when it is not set, as it would be written.
    pub default: &'static str,
    /// Known but not done yet: it loads with a warning.
    pub planned: bool,
    /// One line for the reference.
    pub doc: &'static str,
}

/// How the value of a global parameter is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GlobalKind {
    /// A number or a boolean word.
    Int,
    /// A string, a word or an address.
    Str,
    /// Either.
    Any,
}

/// A global parameter. `listen`, `alias` and `flags` are part of the language and not listed.
#[derive(Clone, Copy, Debug)]
pub struct GlobalSig {
    /// The name.
    pub name: &'static str,
    /// Its type.
    pub kind: GlobalKind,
    /// Accepted for the sake of existing files, without effect.
    pub ignored: bool,
    /// One line for the reference.
    pub doc: &'static str,
}

/// A module as the language sees it.
#[derive(Clone, Copy, Debug)]
pub struct ModuleSig {
    /// As in `loadmodule`.
    pub name: &'static str,
    /// Known but not done yet: it loads with a warning.
    pub planned: bool,
    /// The modules that must be loaded before it.
    pub needs: &'static [&'static str],
    /// Its functions.
    pub functions: &'static [FunctionSig],
    /// Its variables.
    pub variables: &'static [VariableSig],
    /// Its parameters.
    pub params: &'static [ParamSig],
    /// One line for the reference.
    pub doc: &'static str,
}

/// The place of a module in the [`Vocabulary`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ModuleId(pub u16);

/// Names one function: its module, and its place in the module's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FunctionId {
    /// The module.
    pub module: ModuleId,
    /// The place in [`ModuleSig::functions`].
    pub index: u16,
}

/// Names one variable: its module, and its place in the module's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VariableId {
    /// The module.
    pub module: ModuleId,
    /// The place in [`ModuleSig::variables`].
    pub index: u16,
}

/// All that a configuration may name. The first module is the core: it is always loaded, and
/// its functions leave `$rc` alone.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// The core and every module that `loadmodule` knows.
    pub modules: &'static [ModuleSig],
    /// The global parameters.
    pub globals: &'static [GlobalSig],
}

impl Vocabulary {
    /// The module of the core.
    pub const CORE: ModuleId = ModuleId(0);

    /// The module with this name.
    pub fn module(&self, name: &str) -> Option<ModuleId> {
        let at = self.modules.iter().position(|m| m.name == name)?;
        Some(ModuleId(at as u16))
    }

    /// The signature of a module.
    pub fn sig(&self, id: ModuleId) -> &'static ModuleSig {
        &self.modules[usize::from(id.0)]
    }

    /// The signature of a function.
    pub fn function(&self, id: FunctionId) -> &'static FunctionSig {
        &self.sig(id.module).functions[usize::from(id.index)]
    }

    /// The signature of a variable.
    pub fn variable(&self, id: VariableId) -> &'static VariableSig {
        &self.sig(id.module).variables[usize::from(id.index)]
    }
}
