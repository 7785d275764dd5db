//! `cfgutils.*`: chance, flags of all cores, and the hash of a file.

use crate::effect::peer::Bits;
use crate::effect::rpc::{Part, Value};
use crate::modules::{Env, cfgutils};

use super::args::Args;
use super::command::{Answer, Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop};
use super::desk::Desk;

/// The commands.
pub const COMMANDS: [Command; 9] = [
    Command::here(
        "cfgutils.check_config_hash",
        "Check if the current config file hash differs from the original.",
        check_hash,
    ),
    Command::here(
        "cfgutils.get_config_hash",
        "Get the hash of the config file at start.",
        |desk, _| Ok(vec![Value::text(&*desk.setup.config.cfgutils.hash)]),
    ),
    on_all(
        "cfgutils.rand_set_prob",
        "Set the chance of rand_event, in percent.",
        "PERCENT",
        (percent, |env, args, _| {
            env.state.stores.probability = args.int(0).ok().map(|n| n as u32);
            done()
        }),
    ),
    on_all(
        "cfgutils.rand_reset_prob",
        "Take it back to the parameter.",
        "",
        (nothing, |env, _, _| {
            env.state.stores.probability = None;
            done()
        }),
    ),
    on_all(
        "cfgutils.rand_get_prob",
        "Get the chance of rand_event, in percent.",
        "",
        (nothing, |env, _, _| {
            let percent = cfgutils::probability(env.state);
            let text = format!("actual probability: {percent} percent");
            Part::whole(vec![Value::text(text)])
        }),
    ),
    on_all(
        "cfgutils.set_gflag",
        "Set flags of all cores.",
        "BITS",
        (bits, |env, args, _| {
            change(env, args, |set| Bits { set, clear: 0 })
        }),
    ),
    on_all(
        "cfgutils.reset_gflag",
        "Clear flags of all cores.",
        "BITS",
        (bits, |env, args, _| {
            change(env, args, |clear| Bits { set: 0, clear })
        }),
    ),
    on_all(
        "cfgutils.is_gflag",
        "Whether all of these flags are set.",
        "BITS",
        (bits, |env, args, _| {
            let wanted = wanted(args);
            let has_all = cfgutils::flags(env.state) & wanted == wanted;
            let word = if has_all { "TRUE" } else { "FALSE" };
            Part::whole(vec![Value::text(word)])
        }),
    ),
    on_all(
        "cfgutils.get_gflags",
        "The flags of all cores.",
        "",
        (nothing, |env, _, _| {
            let flags = cfgutils::flags(env.state);
            Part::whole(vec![Value::text(format!("0x{flags:X} ({flags})"))])
        }),
    ),
];

type Check = fn(&Desk<'_>, &Args) -> Result<Whom, Stop>;
type Answers = fn(&mut Env<'_>, &Args, Slice) -> Part;

/// Every core does it; the first one's answer stands for all.
const fn on_all(
    name: &'static str,
    help: &'static str,
    params: &'static str,
    (whom, part): (Check, Answers),
) -> Command {
    Command {
        name,
        help,
        params,
        container: Container::Last,
        run: Run::Shards(Shards {
            whom,
            part,
            fold: Fold::Each,
        }),
    }
}

fn done() -> Part {
    Part::whole(Vec::new())
}

fn nothing(_: &Desk<'_>, _: &Args) -> Result<Whom, Stop> {
    Ok(Whom::All)
}

fn percent(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    match args.int(0) {
        Ok(0..=100) => Ok(Whom::All),
        Ok(_) => Err(stop(500, "Invalid Percent")),
        Err(_) => Err(stop(500, "Invalid Parameters")),
    }
}

fn bits(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    let given = args.int(0).ok().and_then(|n| u32::try_from(n).ok());
    given
        .map(|_| Whom::All)
        .ok_or(stop(500, "Invalid Parameters"))
}

fn wanted(args: &Args) -> u32 {
    args.int(0).map_or(0, |n| n as u32)
}

fn change(env: &mut Env<'_>, args: &Args, change: fn(u32) -> Bits) -> Part {
    cfgutils::change_flags(env.state, change(wanted(args)));
    done()
}

fn check_hash(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let config = &desk.setup.config.cfgutils;
    if config.hash_file.is_empty() {
        return Err(stop(500, "No hash file"));
    }
    match (desk.look)().hash_file {
        Some(text) if cfgutils::hash(&text) == *config.hash => {
            Ok(vec![Value::text("Identical hash")])
        }
        Some(_) => Err(stop(400, "Different hash")),
        None => Err(stop(500, "Failed to hash the file")),
    }
}
