//! Chance, pauses, and questions about the script itself.
//!
//! A pause never blocks a core: the script of this one message waits, others go on. Locks do
//! nothing: a script is not interrupted between two statements that do not wait, and there is no
//! memory that two cores share.

use std::sync::Arc;

use crate::effect::peer::Bits;
use crate::effect::{Level, PeerMessage, SharedNews};
use crate::script::{CallSite, Heap, Outcome, ParamKind, ParamType, RouteKind, RouteKinds, Value};
use crate::time::Duration;

use super::digest::Algorithm;
use super::entry::{NO, YES, function, number, optional, param, text_of, truth, variable, words};
use super::work::Ask;
use super::{Call, EMPTY, Function, Module, Param, State, Variable};

/// The module's table.
pub const MODULE: Module = Module {
    name: "cfgutils",
    doc: "Chance, pauses, questions about the script.",
    functions: &FUNCTIONS,
    variables: &VARIABLES,
    params: &PARAMS,
    commands: &super::rpc::cfgutils::COMMANDS,
    ..EMPTY
};

/// Parameters of `cfgutils`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chance at start, in percent.
    pub probability: u32,
    /// The flags of all cores at start.
    pub flags: u32,
    /// A file whose hash is kept; empty: none.
    pub hash_file: Box<str>,
    /// Its MD5 at start, in hexadecimal.
    pub hash: Box<str>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            probability: 10,
            flags: 0,
            hash_file: Box::default(),
            hash: Box::default(),
        }
    }
}

/// The hash of a file as `hash_file` keeps it.
pub fn hash(text: &[u8]) -> String {
    String::from_utf8_lossy(&Algorithm::Md5.hex(&[text])).into_owned()
}

const INT: ParamKind = ParamKind::Int;
const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;

const FUNCTIONS: [Function; 20] = [
    function(
        "rand_set_prob",
        &[INT],
        ANY,
        (
            set_probability,
            "Sets the chance of rand_event, in percent.",
        ),
    ),
    function(
        "rand_reset_prob",
        &[],
        ANY,
        (
            |c, _, _| {
                c.env.state.stores.probability = None;
                YES
            },
            "Takes it back to the parameter.",
        ),
    ),
    function(
        "rand_get_prob",
        &[],
        ANY,
        (
            |c, _, _| Outcome::Return(probability(c.env.state).into()),
            "The chance; 0 ends the script, as every return code of 0 does.",
        ),
    ),
    function(
        "rand_event",
        &[],
        ANY,
        (
            |c, _, _| {
                let percent = probability(c.env.state);
                truth(c.env.state.rng.chance(percent, 100))
            },
            "True by that chance.",
        ),
    ),
    function(
        "sleep",
        &[INT],
        ANY,
        (
            |c, h, s| pause(c, h, s, 1_000_000),
            "The script waits so many seconds, others go on; 5 at most.",
        ),
    ),
    function(
        "usleep",
        &[INT],
        ANY,
        (
            |c, h, s| pause(c, h, s, 1),
            "The script waits so many microseconds, others go on; 5,000,000 at most.",
        ),
    ),
    function(
        "abort",
        &[],
        ANY,
        (abort, "Refused: no message may end the process."),
    ),
    function(
        "pkg_status",
        &[],
        ANY,
        (
            no_memory,
            "No effect: there is no private memory of that kind.",
        ),
    ),
    function(
        "shm_status",
        &[],
        ANY,
        (no_memory, "No effect: there is no shared memory."),
    ),
    function(
        "pkg_summary",
        &[],
        ANY,
        (
            no_memory,
            "No effect: there is no private memory of that kind.",
        ),
    ),
    function(
        "shm_summary",
        &[],
        ANY,
        (no_memory, "No effect: there is no shared memory."),
    ),
    function(
        "set_gflag",
        &[ParamKind::Flag],
        ANY,
        (
            |c, h, s| flag(c, h, s, |bit| Bits { set: bit, clear: 0 }),
            "Sets a flag of all cores.",
        ),
    ),
    function(
        "reset_gflag",
        &[ParamKind::Flag],
        ANY,
        (
            |c, h, s| flag(c, h, s, |bit| Bits { set: 0, clear: bit }),
            "Clears it.",
        ),
    ),
    function(
        "is_gflag",
        &[ParamKind::Flag],
        ANY,
        (
            |c, h, s| {
                let bit = s.int(0, c, h).map_or(0, |n| 1 << n);
                truth(flags(c.env.state) & bit != 0)
            },
            "Whether it is set.",
        ),
    ),
    function("lock", &[TEXT], ANY, (locked, "No effect: see unlock.")),
    function(
        "unlock",
        &[TEXT],
        ANY,
        (
            locked,
            "No effect: cores share no memory that a lock would guard.",
        ),
    ),
    function("trylock", &[TEXT], ANY, (locked, "No effect: see unlock.")),
    optional(
        function(
            "core_hash",
            &[TEXT, TEXT, INT],
            ANY,
            (
                core_hash,
                "1 to 2^n: a number made of two texts; n up to 31.",
            ),
        ),
        3,
    ),
    function(
        "check_route_exists",
        &[TEXT],
        ANY,
        (
            |c, h, s| truth(route(c, h, s).is_some()),
            "Whether there is a route[..] of this name.",
        ),
    ),
    function(
        "route_if_exists",
        &[TEXT],
        ANY,
        (
            |c, h, s| route(c, h, s).map_or(NO, Outcome::Enter),
            "Runs the route[..] of this name if there is one.",
        ),
    ),
];

const VARIABLES: [Variable; 1] = [variable(
    "RANDOM",
    |c, _, _| Value::Int((c.env.state.rng.next_u64() >> 33) as i64),
    "A number by chance, 0 to 2^31-1.",
)];

const PARAMS: [Param; 4] = [
    param(
        "initial_probability",
        ParamType::Int,
        "10",
        (
            |c, v| number(v, 0, 100, "0 to 100").map(|n| c.cfgutils.probability = n as u32),
            "The chance at start, in percent.",
        ),
    ),
    param(
        "hash_file",
        ParamType::Str,
        "",
        (
            |c, v| {
                c.cfgutils.hash_file = words(v);
                Ok(())
            },
            "A file whose MD5 is kept, to be compared by cfgutils.check_config_hash.",
        ),
    ),
    param(
        "lock_set_size",
        ParamType::Int,
        "0",
        (|_, _| Ok(()), "No effect: locks do nothing."),
    ),
    param(
        "initial_gflags",
        ParamType::Int,
        "0",
        (
            |c, v| {
                let all = i64::from(u32::MAX);
                number(v, 0, all, "a sum of powers of two up to 2^31")
                    .map(|n| c.cfgutils.flags = n as u32)
            },
            "The flags of all cores at start.",
        ),
    ),
];

/// The flags of all cores, as this one knows them.
pub fn flags(state: &State) -> u32 {
    let at_start = state.setup.config.cfgutils.flags;
    state.stores.flags.unwrap_or(at_start)
}

/// Changes flags of all cores, as this one knows them.
pub fn change_flags(state: &mut State, bits: Bits) {
    state.stores.flags = Some(bits.of(flags(state)));
}

/// Changes one here and tells the others.
fn flag(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, change: fn(u32) -> Bits) -> Outcome {
    let Some(number @ 0..=31) = site.int(0, call, heap) else {
        return NO;
    };
    let bits = change(1 << number);
    change_flags(call.env.state, bits);
    let news = Arc::new(SharedNews::Flags(bits));
    call.env.tell_all(|| PeerMessage::Shared(Arc::clone(&news)));
    YES
}

/// The chance of `rand_event`, in percent.
pub fn probability(state: &State) -> u32 {
    let at_start = state.setup.config.cfgutils.probability;
    state.stores.probability.unwrap_or(at_start)
}

fn set_probability(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.int(0, call, heap) {
        Some(percent @ 0..=100) => {
            call.env.state.stores.probability = Some(percent as u32);
            YES
        }
        _ => NO,
    }
}

fn pause(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, micros: u64) -> Outcome {
    let Some(count) = site.int(0, call, heap).filter(|n| *n >= 0) else {
        return NO;
    };
    let wanted = Duration::from_micros(micros.saturating_mul(count as u64));
    call.ask(Ask::Sleep(wanted.min(crate::limits::RESOLVE_TIMEOUT)))
}

fn abort(call: &mut Call<'_>, _: &mut Heap, site: &CallSite) -> Outcome {
    let text = format!(
        "abort() in line {} is refused: no message may end the process",
        site.at.line
    );
    call.env.log(Level::Err, text);
    NO
}

fn no_memory(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    call.env
        .log(Level::Info, "there are no memory pools to report on");
    YES
}

fn locked(_: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    YES
}

/// `site` names a route by its first argument.
fn route(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<crate::script::RouteId> {
    let name = site.text(0, call, heap);
    call.program.route(RouteKind::Request, heap.str(name)?)
}

fn core_hash(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(first), Some(bits)) = (text_of(call, heap, site, 0), site.int(2, call, heap)) else {
        return NO;
    };
    let second = text_of(call, heap, site, 1).unwrap_or_default();
    let mask = match bits {
        0..=31 => (1u32 << bits) - 1,
        _ => 0,
    };
    // One more than the hash, because 0 would end the script.
    Outcome::Return(i64::from(spread(&[&first, &second]) & mask) + 1)
}

/// The hash of the original's `{s.corehash}`: what scripts spread calls by must not change with
/// the server.
pub(crate) use crate::script::spread;

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, code, run, run_with, value};
    use crate::script::End;

    #[test]
    fn flags_of_all_cores() {
        let parameter = "modparam(\"cfgutils\", \"initial_gflags\", 5)";
        let statements = "$var(a) = is_gflag(2); $var(b) = is_gflag(\"1\");
            set_gflag(\"1\"); reset_gflag(2);
            $var(c) = is_gflag(1); $var(d) = is_gflag(2); $var(e) = is_gflag(0);
            xlog(\"$var(a) $var(b) $var(c) $var(d) $var(e)\");";
        let ran = run_with(parameter, statements, INVITE);
        assert_eq!(ran.lines, ["1 -1 1 -1 1"]);
        assert_eq!(super::flags(&ran.state), 3);
    }

    #[test]
    fn chance() {
        let table = [
            ("rand_get_prob()", "10"),
            ("rand_set_prob(\"101\")", "-1"),
            ("rand_set_prob(\"-1\")", "-1"),
            ("rand_set_prob(\"55\")", "1"),
            ("rand_set_prob(\"100\"); $var(r) = rand_event()", "1"),
            ("rand_set_prob(\"0\"); $var(r) = rand_event()", "-1"),
            ("rand_set_prob(\"55\"); $var(r) = rand_get_prob()", "55"),
            (
                "rand_set_prob(\"55\"); rand_reset_prob(); $var(r) = rand_get_prob()",
                "10",
            ),
        ];
        for (call, want) in table {
            let statement = if call.contains("; ") {
                format!("{call};")
            } else {
                format!("$var(r) = {call};")
            };
            assert_eq!(value(&statement, "$var(r)", INVITE), want, "{call}");
        }
        let parameter = "modparam(\"cfgutils\", \"initial_probability\", 77)";
        let ran = run_with(
            parameter,
            "$var(r) = rand_get_prob(); xlog(\"$var(r)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["77"]);
        let (a, b) = (
            value("", "$RANDOM $RANDOM", INVITE),
            value("", "$RANDOM", INVITE),
        );
        assert!(
            a.split(' ')
                .all(|n| n.parse::<u32>().is_ok_and(|n| n < 1 << 31))
        );
        assert_eq!(
            a.split(' ').next(),
            Some(&*b),
            "equal seeds give equal numbers"
        );
    }

    #[test]
    fn numbers_made_of_texts() {
        let table = [
            ("core_hash(\"abc\", \"\", \"8\")", 67),
            ("core_hash(\"abc\", \"def\", \"8\")", 114),
            (
                "core_hash(\"sip:alice@a.test\", \"call-1\", \"16\")",
                44_435,
            ),
            ("core_hash(\"abc\", \"\", \"31\")", 7_167_811),
            ("core_hash(\"\", \"\", \"16\")", 1),
            ("core_hash(\"abc\", \"\", \"0\")", 1),
            ("core_hash(\"abc\", \"\", \"32\")", 1),
            ("core_hash(\"abc\", \"\", \"-1\")", 1),
        ];
        for (call, want) in table {
            assert_eq!(code(call, INVITE), want, "{call}");
        }
    }

    #[test]
    fn routes_by_name() {
        let table = [
            ("check_route_exists(\"A\")", &["1"][..]),
            ("check_route_exists(\"B\")", &["-1"]),
            ("check_route_exists(\"$_s(A)\")", &["1"]),
            ("route_if_exists(\"A\")", &["in A", "5"]),
            ("route_if_exists(\"B\")", &["-1"]),
        ];
        for (call, want) in table {
            let statements = format!("$var(r) = {call}; xlog(\"$var(r)\");");
            let ran = run_with(
                "route[A] { xlog(\"in A\"); return 5; }",
                &statements,
                INVITE,
            );
            assert_eq!(ran.lines, want, "{call}");
        }
        let ends = "route[A] { exit; }";
        let ran = run_with(ends, "route_if_exists(\"A\"); xlog(\"never\");", INVITE);
        assert_eq!((ran.lines.len(), ran.end), (0, Some(End::Exit)));
    }

    #[test]
    fn what_does_nothing_says_so() {
        for (call, want) in [
            ("lock(\"x\")", 1),
            ("trylock(\"x\")", 1),
            ("unlock(\"x\")", 1),
            ("pkg_status()", 1),
            ("shm_status()", 1),
            ("abort()", -1),
            ("usleep(\"-1\")", -1),
        ] {
            assert_eq!(code(call, INVITE), want, "{call}");
        }
        let ran = run("abort();", INVITE);
        assert!(
            ran.complaints[0].contains("abort() in line"),
            "{:?}",
            ran.complaints
        );
    }

    #[test]
    fn a_pause_suspends_the_script() {
        let ran = run("usleep(\"10\"); xlog(\"later\");", INVITE);
        assert_eq!((ran.lines.len(), ran.end), (0, None));
    }
}
