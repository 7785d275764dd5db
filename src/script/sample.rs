//! A small world for scripts: what tests, fuzzing and benchmarks of the language run against.
//!
//! Its names are a subset of the original's, so that the same files can be given to it. The
//! module `sample` is its own: functions that return what they are told.

use std::collections::BTreeMap;
use std::fmt;

use super::{
    Access, CallSite, End, FunctionSig, GlobalKind, GlobalSig, Heap, Host, Index, InnerKind, Key,
    Keyword, ModuleSig, Outcome, ParamKind, ParamSig, ParamType, Pause, Program, RouteKind,
    RouteKinds, Source, Value, VariableSig, Vm, Vocabulary, WriteError, load,
};
use crate::effect::Level;

const fn function(
    name: &'static str,
    params: &'static [ParamKind],
    required: usize,
    routes: RouteKinds,
) -> FunctionSig {
    FunctionSig {
        name,
        params,
        required,
        routes,
        planned: false,
        doc: "",
    }
}

const fn variable(name: &'static str, inner: InnerKind, writable: bool) -> VariableSig {
    VariableSig {
        name,
        inner,
        writable,
        planned: false,
        doc: "",
    }
}

const fn param(name: &'static str, kind: ParamType, planned: bool) -> ParamSig {
    ParamSig {
        name,
        kind,
        default: "",
        planned,
        doc: "",
    }
}

const fn global(name: &'static str, kind: GlobalKind) -> GlobalSig {
    GlobalSig {
        name,
        kind,
        ignored: false,
        doc: "",
    }
}

const fn module(
    name: &'static str,
    functions: &'static [FunctionSig],
    variables: &'static [VariableSig],
    params: &'static [ParamSig],
) -> ModuleSig {
    ModuleSig {
        name,
        planned: false,
        needs: &[],
        functions,
        variables,
        params,
        doc: "",
    }
}

const CORE: ModuleSig = module(
    "core",
    &[
        function("log", &[ParamKind::Const], 1, RouteKinds::ANY),
        function(
            "log",
            &[ParamKind::Level, ParamKind::Const],
            2,
            RouteKinds::ANY,
        ),
        function("setflag", &[ParamKind::Flag], 1, RouteKinds::ANY),
        function("isflagset", &[ParamKind::Flag], 1, RouteKinds::ANY),
        function("force_rport", &[], 0, RouteKinds::ANY),
        function(
            "force_send_socket",
            &[ParamKind::Socket],
            1,
            RouteKinds::ANY,
        ),
        function("strip", &[ParamKind::Count], 1, RouteKinds::ANY),
        function("sethost", &[ParamKind::Quoted], 1, RouteKinds::ANY),
        function(
            "forward",
            &[ParamKind::Host, ParamKind::Port],
            0,
            RouteKinds::ANY,
        ),
        function("try_proto", &[ParamKind::Word], 1, RouteKinds::ANY),
        function(
            "is_direction",
            &[ParamKind::OneOf(&["upstream", "downstream"])],
            1,
            RouteKinds::ANY,
        ),
        function(
            "is_listed",
            &[ParamKind::ListOf(&["INVITE", "BYE"])],
            1,
            RouteKinds::ANY,
        ),
    ],
    &[],
    &[],
);

const XLOG: ModuleSig = module(
    "xlog",
    &[
        function("xlog", &[ParamKind::Text], 1, RouteKinds::ANY),
        function(
            "xlog",
            &[ParamKind::Level, ParamKind::Text],
            2,
            RouteKinds::ANY,
        ),
    ],
    &[],
    &[param("buf_size", ParamType::Int, false)],
);

const PV: ModuleSig = module(
    "pv",
    &[],
    &[
        variable("var", InnerKind::Name, true),
        variable("vn", InnerKind::Name, true),
        variable("avp", InnerKind::Name, true),
        variable("cnt", InnerKind::Variable, false),
        variable("hdr", InnerKind::Name, false),
        variable("ru", InnerKind::None, true),
        variable("rU", InnerKind::None, true),
        variable("rm", InnerKind::None, false),
        variable("ci", InnerKind::None, false),
        variable("from.user", InnerKind::None, false),
        variable("sht", InnerKind::Name, true),
        variable("sel", InnerKind::Name, false),
        variable("shv", InnerKind::Declared("shvset"), true),
        variable("af", InnerKind::OneOf(&["id", "name"]), false),
    ],
    &[
        param("varset", ParamType::Str, false),
        param("shvset", ParamType::Str, true),
    ],
);

const TM: ModuleSig = module(
    "tm",
    &[
        function(
            "t_on_failure",
            &[ParamKind::Route(RouteKind::Failure)],
            1,
            RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        ),
        function(
            "t_relay",
            &[],
            0,
            RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        ),
    ],
    &[],
    &[
        param("fr_timer", ParamType::Int, false),
        param("xavp_contact", ParamType::Str, false),
    ],
);

const TEXTOPS: ModuleSig = module(
    "textops",
    &[
        function("is_method", &[ParamKind::Const], 1, RouteKinds::ANY),
        function("search", &[ParamKind::Regex], 1, RouteKinds::ANY),
        function("subst_user", &[ParamKind::Subst], 1, RouteKinds::ANY),
    ],
    &[],
    &[],
);

const NEEDY: ModuleSig = ModuleSig {
    needs: &["tm"],
    ..module("needy", &[], &[], &[])
};

const SAMPLE: ModuleSig = module(
    "sample",
    &[
        function("give", &[ParamKind::Int], 1, RouteKinds::ANY),
        function("wait", &[ParamKind::Int], 1, RouteKinds::ANY),
        function("quit", &[], 0, RouteKinds::ANY),
        function("discard", &[], 0, RouteKinds::ANY),
        function(
            "put",
            &[ParamKind::Output, ParamKind::Text],
            2,
            RouteKinds::ANY,
        ),
        function("single", &[ParamKind::Single], 1, RouteKinds::ANY),
        FunctionSig {
            planned: true,
            ..function("later", &[], 0, RouteKinds::ANY)
        },
    ],
    &[variable("fixed", InnerKind::None, false)],
    &[],
);

/// The names of this world.
pub const VOCABULARY: Vocabulary = Vocabulary {
    modules: &[CORE, XLOG, PV, TM, TEXTOPS, SAMPLE, NEEDY],
    globals: &[
        global("debug", GlobalKind::Int),
        global("log_stderror", GlobalKind::Int),
        global("log_facility", GlobalKind::Str),
        global("children", GlobalKind::Int),
        global("disable_tcp", GlobalKind::Int),
        global("max_while_loops", GlobalKind::Int),
        global("max_recursive_level", GlobalKind::Int),
        global("server_header", GlobalKind::Str),
    ],
};

/// A value that outlives a run.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kept {
    Int(i64),
    Text(Vec<u8>),
}

impl Kept {
    fn of(value: Value, heap: &Heap) -> Option<Kept> {
        match value {
            Value::Null => None,
            Value::Int(n) => Some(Kept::Int(n)),
            Value::Str(text) => Some(Kept::Text(heap.bytes(text).to_vec())),
        }
    }

    fn value(kept: Option<&Kept>, heap: &mut Heap) -> Value {
        match kept {
            None => Value::Null,
            Some(Kept::Int(n)) => Value::Int(*n),
            Some(Kept::Text(text)) => heap.string(text),
        }
    }
}

/// How many values the world keeps; fuzzing must not fill the memory.
const KEPT_COUNT_MAX: usize = 256;

/// The world: an INVITE, variables, and a log.
#[derive(Debug, Default)]
pub struct World {
    kept: BTreeMap<(u16, Vec<u8>), Vec<Kept>>,
    flags: u32,
    waits: Option<i64>,
    /// What was logged, one line each.
    pub lines: Vec<String>,
    /// Runs after which a world stops logging.
    quiet: bool,
}

impl World {
    /// Runs a block to its end. What waits is resumed with the code it asked for, after the
    /// first `branch_route` has run inside of it, if there is one.
    pub fn run(&mut self, vm: &mut Vm, program: &Program, kind: RouteKind) -> Option<End> {
        let main = program.main(kind)?;
        vm.enter(program, main);
        let mut branch_running = false;
        loop {
            match vm.run(program, self) {
                Pause::Ended(end) if branch_running => {
                    self.line(format!("branch {end:?}"));
                    branch_running = false;
                    vm.resume(self.waits.take().unwrap_or(-1));
                }
                Pause::Ended(end) => return Some(end),
                Pause::Wait => match program.route(RouteKind::Branch, b"b") {
                    Some(branch) if !branch_running => {
                        branch_running = true;
                        vm.enter(program, branch);
                    }
                    _ => vm.resume(self.waits.take().unwrap_or(-1)),
                },
            }
        }
    }

    fn line(&mut self, line: String) {
        if !self.quiet {
            self.lines.push(line);
        }
    }

    fn name(access: &Access<'_>) -> &'static str {
        VOCABULARY.variable(access.variable).name
    }

    fn slot(access: &Access<'_>, heap: &Heap) -> (u16, Vec<u8>) {
        (
            access.variable.index,
            heap.bytes(access.key.text()).to_vec(),
        )
    }
}

impl Host for World {
    fn read(&mut self, heap: &mut Heap, access: &Access<'_>) -> Value {
        let fixed: &[u8] = match (World::name(access), access.key) {
            ("ru", _) => b"sip:alice@example.com:5070;transport=tcp",
            ("rm", _) => b"INVITE",
            ("ci", _) => b"call-1@host",
            ("from.user", _) => b"bob",
            ("af", Key::Word(0)) => return Value::Int(2),
            ("af", _) => b"IPv4",
            ("fixed", _) => return Value::Int(5),
            ("cnt", Key::Variable(inner)) => {
                let count = inner.resolve(self, heap).map_or(0, |inner| {
                    self.kept
                        .get(&World::slot(&inner, heap))
                        .map_or(0, Vec::len)
                });
                return Value::Int(count as i64);
            }
            ("hdr", _) => return self.header(heap, access),
            ("sel", _) => return Value::Str(access.key.text()),
            (name, _) => {
                let values = self.kept.get(&World::slot(access, heap));
                let newest = values.and_then(|v| match access.index {
                    Index::At(n) => v.iter().rev().nth(usize::try_from(n).ok()?),
                    Index::None | Index::All => v.last(),
                });
                let value = Kept::value(newest, heap);
                return match (name, value) {
                    ("var", Value::Null) => Value::Int(0),
                    (_, value) => value,
                };
            }
        };
        heap.string(fixed)
    }

    fn write(
        &mut self,
        heap: &mut Heap,
        access: &Access<'_>,
        value: Value,
    ) -> Result<(), WriteError> {
        let name = World::name(access);
        if name == "ru" {
            return Err(WriteError::NotHere);
        }
        let slot = World::slot(access, heap);
        let count = self.kept.len();
        let values = self.kept.entry(slot).or_default();
        match Kept::of(value, heap) {
            None => {
                values.pop();
            }
            Some(_) if count >= KEPT_COUNT_MAX || values.len() >= KEPT_COUNT_MAX => {
                return Err(WriteError::Full);
            }
            // Assignment to an AVP pushes, to anything else it replaces.
            Some(kept) if name == "avp" => values.push(kept),
            Some(kept) => *values = vec![kept],
        }
        Ok(())
    }

    fn call(&mut self, heap: &mut Heap, site: &CallSite) -> Outcome {
        match VOCABULARY.function(site.function).name {
            "xlog" | "log" => self.xlog(heap, site),
            "setflag" => {
                self.flags |= 1 << (site.int(0, self, heap).unwrap_or(0) & 31);
                Outcome::Return(1)
            }
            "isflagset" => {
                let bit = 1 << (site.int(0, self, heap).unwrap_or(0) & 31);
                Outcome::Return(if self.flags & bit == 0 { -1 } else { 1 })
            }
            "is_method" => {
                let method = site.text(0, self, heap);
                let is = heap.str(method) == Some(b"INVITE");
                Outcome::Return(if is { 1 } else { -1 })
            }
            "search" => {
                let text = heap.text(b"INVITE sip:alice@example.com SIP/2.0");
                let found = site.arg(0).and_then(|arg| arg.is_match(self, heap, text));
                Outcome::Return(if found == Some(true) { 1 } else { -1 })
            }
            "give" => Outcome::Return(site.int(0, self, heap).unwrap_or(-99)),
            "wait" => {
                self.waits = site.int(0, self, heap);
                Outcome::Wait
            }
            "quit" => Outcome::Exit,
            "discard" => Outcome::Drop,
            "put" => {
                let value = site.text(1, self, heap);
                let put = site.arg(0).map(|arg| arg.write(self, heap, value));
                Outcome::Return(if put == Some(Ok(())) { 1 } else { -1 })
            }
            "single" => {
                let value = site.text(0, self, heap);
                let text = heap.str(value).unwrap_or(b"<null>");
                let text = String::from_utf8_lossy(text).into_owned();
                self.line(format!("single {text}"));
                Outcome::Return(1)
            }
            _ => Outcome::Return(1),
        }
    }

    fn keyword(&mut self, heap: &mut Heap, keyword: Keyword) -> Value {
        let text: &[u8] = match keyword {
            Keyword::Method => b"INVITE",
            Keyword::Uri | Keyword::ToUri => b"sip:alice@example.com:5070;transport=tcp",
            Keyword::FromUri => b"sip:bob@example.org",
            Keyword::SrcIp | Keyword::ToIp => b"10.1.2.3",
            Keyword::DstIp | Keyword::SndIp => b"2001:db8::1",
            Keyword::SrcPort | Keyword::ToPort => return Value::Int(5070),
            Keyword::DstPort | Keyword::SndPort => return Value::Int(5060),
            Keyword::Proto | Keyword::SndProto => b"udp",
            Keyword::Af | Keyword::SndAf => b"INET",
            Keyword::MsgLen => return Value::Int(700),
        };
        heap.string(text)
    }

    fn is_myself(&mut self, _heap: &mut Heap, subject: Keyword) -> bool {
        matches!(subject, Keyword::Uri | Keyword::DstIp)
    }

    fn log(&mut self, level: Level, text: fmt::Arguments<'_>) {
        self.line(format!("{}: {text}", level.word()));
    }
}

impl World {
    fn header(&self, heap: &mut Heap, access: &Access<'_>) -> Value {
        let values: &[&[u8]] = match heap.bytes(access.key.text()) {
            b"X" => &[b"x0", b"x1", b"x2"],
            b"N" => &[b"7"],
            _ => &[],
        };
        let n = match access.index {
            Index::None => 0,
            Index::At(n) if n < 0 => n + values.len() as i64,
            Index::At(n) => n,
            Index::All => return heap.string(&values.join(&b","[..])),
        };
        match usize::try_from(n).ok().and_then(|n| values.get(n)) {
            Some(value) => heap.string(value),
            None => Value::Null,
        }
    }

    fn xlog(&mut self, heap: &mut Heap, site: &CallSite) -> Outcome {
        let last = site.args.len() - 1;
        let value = site.text(last, self, heap);
        let text = heap.str(value).unwrap_or(b"<null>");
        let text = String::from_utf8_lossy(text).trim_end().to_string();
        let line = match (last, site.int(0, self, heap)) {
            (1, Some(level)) => format!("{} {text}", Level::from_number(level).word()),
            _ => text,
        };
        self.line(line);
        Outcome::Return(1)
    }
}

/// A configuration that is one text and includes nothing but itself.
struct Only<'a> {
    text: &'a [u8],
    reads: usize,
}

impl Source for Only<'_> {
    fn read(&mut self, _path: &str) -> Option<Vec<u8>> {
        self.reads += 1;
        // A text that includes itself twice would otherwise be read 2^10 times.
        (self.reads <= crate::limits::INCLUDE_DEPTH_MAX + 2).then(|| self.text.to_vec())
    }

    fn env(&self, name: &str) -> Option<String> {
        (name == "SET").then(|| "value".to_string())
    }

    fn addresses(&self, host: &str) -> Vec<std::net::IpAddr> {
        let twin = ["192.0.2.1", "10.1.2.3"].map(|a| a.parse().expect("an address"));
        if host == "twin" {
            twin.to_vec()
        } else {
            Default::default()
        }
    }
}

/// Loads a text as a configuration of this world.
pub fn load_text(text: &[u8]) -> Result<Program, super::ConfigErrors> {
    load("test.cfg", &mut Only { text, reads: 0 }, &[], &VOCABULARY)
}

/// Loads and runs whatever `data` is; neither may panic, and both end soon.
pub fn fuzz_config(data: &[u8]) {
    let Ok(program) = load_text(data) else {
        return;
    };
    let mut world = World {
        quiet: true,
        ..World::default()
    };
    let mut vm = Vm::new();
    vm.limit_steps(10_000);
    for kind in [RouteKind::Request, RouteKind::Reply, RouteKind::Onsend] {
        world.run(&mut vm, &program, kind);
        assert!(vm.is_idle(), "a run ends with nothing left over");
    }
}
