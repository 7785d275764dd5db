//! Functions that were the core's once: flags of branches and scripts, the destination URI.

use crate::effect::Level;
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::Uri;

use super::entry::{self, NO, YES, function, optional, text_of, truth};
use super::{Call, Function, Module, rpc};

/// The module's table.
pub const MODULE: Module = Module {
    name: "kex",
    doc: "Flags of branches and scripts, the destination URI.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &[],
    params: &[],
    commands: &COMMANDS,
    ..super::EMPTY
};

const COMMANDS: [rpc::Command; entry::total(&[&rpc::stats::STATS, &rpc::memory::MEMORY])] =
    entry::join(&[&rpc::stats::STATS, &rpc::memory::MEMORY]);

const INT: ParamKind = ParamKind::Int;
/// A number or a variable, and no name of a flag.
const FLAG: ParamKind = ParamKind::Int;
const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;

const FUNCTIONS: [Function; 13] = [
    optional(
        function(
            "setbflag",
            &[FLAG, INT],
            ANY,
            (set_branch, "Sets a flag of a branch."),
        ),
        1,
    ),
    optional(
        function(
            "resetbflag",
            &[FLAG, INT],
            ANY,
            (reset_branch, "Clears a flag of a branch."),
        ),
        1,
    ),
    optional(
        function(
            "isbflagset",
            &[FLAG, INT],
            ANY,
            (is_branch, "Whether a branch has the flag."),
        ),
        1,
    ),
    function(
        "setsflag",
        &[FLAG],
        ANY,
        (set_script, "Sets a script flag."),
    ),
    function(
        "resetsflag",
        &[FLAG],
        ANY,
        (reset_script, "Clears a script flag."),
    ),
    function(
        "issflagset",
        &[FLAG],
        ANY,
        (is_script, "Whether the script flag is set."),
    ),
    function(
        "setdsturi",
        &[TEXT],
        ANY,
        (set_destination, "Sets the destination URI."),
    ),
    function(
        "resetdsturi",
        &[],
        ANY,
        (reset_destination, "Takes the destination URI away."),
    ),
    function(
        "isdsturiset",
        &[],
        ANY,
        (is_destination, "Whether there is a destination URI."),
    ),
    function(
        "is_myself",
        &[TEXT],
        ANY,
        (is_myself, "Whether the URI is this proxy."),
    ),
    function(
        "setdebug",
        &[INT],
        ANY,
        (set_debug, "Sets the level of this core's log."),
    ),
    function(
        "resetdebug",
        &[],
        ANY,
        (
            |c, _, _| {
                c.env.state.stores.debug = None;
                YES
            },
            "Takes it back.",
        ),
    ),
    function(
        "pv_printf",
        &[ParamKind::Output, TEXT],
        ANY,
        (print, "Assigns text with variables in it."),
    ),
];

/// A flag's bit; `None` when there is no such flag.
pub(super) fn bit(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<u32> {
    let n = site.int(0, call, heap)?;
    (0..32).contains(&n).then(|| 1 << n)
}

/// The flags of the branch in the second argument: 0 is the first target, the others follow.
fn branch<'a>(call: &'a mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Option<&'a mut u32> {
    let n = usize::try_from(site.int(1, call, heap).unwrap_or(0)).ok()?;
    match n.checked_sub(1) {
        None => Some(&mut call.work.target.flags),
        Some(n) => call.work.appended.get_mut(n).map(|t| &mut t.flags),
    }
}

fn with_branch(
    call: &mut Call<'_>,
    heap: &mut Heap,
    site: &CallSite,
    act: fn(&mut u32, u32) -> bool,
) -> Outcome {
    let Some(bit) = bit(call, heap, site) else {
        return NO;
    };
    truth(branch(call, heap, site).is_some_and(|flags| act(flags, bit)))
}

fn set(flags: &mut u32, bit: u32) -> bool {
    *flags |= bit;
    true
}

fn reset(flags: &mut u32, bit: u32) -> bool {
    *flags &= !bit;
    true
}

fn has(flags: &mut u32, bit: u32) -> bool {
    *flags & bit != 0
}

fn set_branch(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    with_branch(call, heap, site, set)
}

fn reset_branch(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    with_branch(call, heap, site, reset)
}

fn is_branch(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    with_branch(call, heap, site, has)
}

fn set_script(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    truth(bit(call, heap, site).is_some_and(|bit| set(&mut call.work.script_flags, bit)))
}

fn reset_script(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    truth(bit(call, heap, site).is_some_and(|bit| reset(&mut call.work.script_flags, bit)))
}

fn is_script(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    truth(bit(call, heap, site).is_some_and(|bit| has(&mut call.work.script_flags, bit)))
}

fn set_debug(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match site.int(0, call, heap) {
        Some(n) => {
            call.env.state.stores.debug = Some(Level::from_number(n));
            YES
        }
        None => NO,
    }
}

fn set_destination(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text_of(call, heap, site, 0).filter(|t| !t.is_empty()) {
        Some(text) => {
            call.work.target.next_hop = Some(text);
            YES
        }
        None => NO,
    }
}

fn reset_destination(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    call.work.target.next_hop = None;
    YES
}

fn is_destination(call: &mut Call<'_>, _: &mut Heap, _: &CallSite) -> Outcome {
    truth(call.work.target.next_hop.is_some())
}

fn is_myself(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let Some(text) = text_of(call, heap, site, 0) else {
        return NO;
    };
    truth(Uri::parse(&text).is_ok_and(|uri| super::core::is_own_uri(&call.env.state.setup, &uri)))
}

fn print(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let value = site.text(1, call, heap);
    let Some(arg) = site.arg(0) else { return NO };
    match arg.write(call, heap, value) {
        Ok(()) => YES,
        Err(error) => {
            call.env
                .log(Level::Err, format!("pv_printf(): {}", error.reason()));
            NO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{INVITE, value};

    #[test]
    fn flags_and_the_destination() {
        let table = [
            ("setbflag(2);", "isbflagset(2)", "1"),
            ("setbflag(2); resetbflag(2);", "isbflagset(2)", "-1"),
            (
                "append_branch(\"sip:b@b.test\"); setbflag(2, 1);",
                "isbflagset(2, 1)",
                "1",
            ),
            ("setbflag(2);", "isbflagset(2, 1)", "-1"),
            ("$var(n) = 3; setsflag(\"$var(n)\");", "issflagset(3)", "1"),
            ("setbflag(99);", "isbflagset(99)", "-1"),
            ("setsflag(3);", "issflagset(3)", "1"),
            ("setdsturi(\"sip:d\");", "isdsturiset()", "1"),
            (
                "setdsturi(\"sip:d\"); resetdsturi();",
                "isdsturiset()",
                "-1",
            ),
            (
                "pv_printf(\"$var(x)\", \"$rm!\");",
                "cmp_str(\"$var(x)\", \"INVITE!\")",
                "1",
            ),
        ];
        for (statements, call, want) in table {
            let statements = format!("{statements} $var(rc) = {call};");
            assert_eq!(value(&statements, "$var(rc)", INVITE), want, "{statements}");
        }
    }
}
