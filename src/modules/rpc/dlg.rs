//! `dlg.*`: parameters, errors and answers of the dialog module's commands. What a dialog is and
//! what becomes of it, [`dialog::listing`](crate::modules::dialog::listing) knows.
//!
//! Listings take words behind the parameters of the original, in any order, to see less than all:
//! `limit=N`, `state=N`, `profile=NAME` (or `NAME:VALUE`), `older=SECONDS` since the answer, and
//! `after=CALLID` (or `CALLID;H_ID`) to go on behind a dialog that an earlier listing ended with.

use regex::bytes::RegexBuilder;

use crate::effect::rpc::{Cursor, Fault, Name, Part, Value};
use crate::modules::dialog::bye;
use crate::modules::dialog::identity::DialogId;
use crate::modules::dialog::listing::{self, Filter, LegView, MatchKey, View};
use crate::modules::dialog::state::State;
use crate::modules::dialog::transfer::{self, Bridge};
use crate::modules::{Env, Setup};
use crate::slab::Key;

use crate::steer;

use super::args::Args;
use super::command::{Command, Container, Fold, Run, Shards, Slice, Stop, Whom, stop};
use super::desk::Desk;

/// The commands.
pub const DLG: [Command; 16] = [
    listing("dlg.list", LESS, "Print all dialogs.", (every, list)),
    listing(
        "dlg.list_ctx",
        LESS,
        "Print all dialogs with associated context.",
        (every, list_ctx),
    ),
    matching("dlg.list_match", "Print matching dialogs.", list),
    matching(
        "dlg.list_match_ctx",
        "Print matching dialogs with associated context.",
        list_ctx,
    ),
    of_call(
        "dlg.dlg_list",
        "Print dialog based on callid and optionally fromtag.",
        dlg_list,
    ),
    of_call(
        "dlg.dlg_list_ctx",
        "Print dialog with associated context based on callid and optionally fromtag.",
        dlg_list_ctx,
    ),
    listing(
        "dlg.briefing",
        "[LETTERS] [limit=N] [after=CALLID[;H_ID]] [state=N] [profile=NAME[:VALUE]] \
         [older=SECONDS]",
        "List the summary of dialog records in memory.",
        (every, briefing),
    ),
    Command {
        name: "dlg.dump_file",
        help: "Print all dialogs to json file.",
        params: "FILE",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: first_word,
            part: dump,
            fold: Fold::File,
        }),
    },
    Command {
        name: "dlg.stats_active",
        help: "Get stats about active dialogs.",
        params: "[OWN]",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: every,
            part: stats_active,
            fold: Fold::Sum,
        }),
    },
    one(
        "dlg.is_alive",
        "CALLID FROM_TAG TO_TAG",
        "Check whether dialog is alive or not.",
        (|desk, args| owner(desk, args, ALIVE_PARAMS), is_alive),
    ),
    one(
        "dlg.set_state",
        "CALLID FROM_TAG TO_TAG STATE",
        "Set state for a dialog based on callid and tags.",
        (
            |desk, args| {
                let whom = owner(desk, args, STATE_PARAMS)?;
                wanted_state(args)?;
                Ok(whom)
            },
            set_state,
        ),
    ),
    one(
        "dlg.terminate_dlg",
        "CALLID FROM_TAG TO_TAG",
        "End a given dialog based on callid.",
        (|desk, args| owner(desk, args, TERMINATE_PARAMS), terminate),
    ),
    one(
        "dlg.end_dlg",
        "H_ENTRY H_ID [EXTRA_HEADERS]",
        "End a given dialog based on [h_entry] [h_id].",
        (
            |_, args| {
                identifier(args)?;
                extra_headers(args)?;
                Ok(Whom::All)
            },
            end,
        ),
    ),
    Command {
        name: "dlg.profile_get_size",
        help: "Returns the number of dialogs belonging to a profile.",
        params: "PROFILE [VALUE]",
        container: Container::Last,
        run: Run::Shards(Shards {
            whom: profile_there,
            part: profile_size,
            fold: Fold::Sum,
        }),
    },
    listing(
        "dlg.profile_list",
        "PROFILE [VALUE] [limit=N] [after=CALLID[;H_ID]] [state=N] [older=SECONDS]",
        "Lists all the dialogs belonging to a profile.",
        (of_profile, list),
    ),
    one(
        "dlg.bridge_dlg",
        "FROM TO [OUTBOUND_PROXY] [BODY]",
        "Bridge two SIP addresses in a call using INVITE(hold)-REFER-BYE mechanism.",
        (
            |desk, args| {
                let invalid = |_| stop(500, INVALID);
                let from = args.text(0).map_err(invalid)?;
                args.text(1).map_err(invalid)?;
                Ok(Whom::One(owner_of(desk, &from)))
            },
            bridge,
        ),
    ),
];

const LESS: &str = "[limit=N] [after=CALLID[;H_ID]] [state=N] [profile=NAME[:VALUE]] \
                    [older=SECONDS]";
/// Bytes of a compiled regular expression, so that no operator's pattern takes the memory.
const REGEX_SIZE_MAX: usize = 1 << 20;

const INVALID: &str = "Invalid parameters";
const ALIVE_PARAMS: &str = "Too few parameters (required callid, from-tag, to-tag)";
const STATE_PARAMS: &str = "Need the callid, from tag,to tag and state";
const TERMINATE_PARAMS: &str = "Need a Callid ,from tag ,to tag";

/// A listing of every shard.
const fn listing(
    name: &'static str,
    params: &'static str,
    help: &'static str,
    (whom, part): (WhomFn, PartFn),
) -> Command {
    let run = Run::Shards(Shards {
        whom,
        part,
        fold: Fold::List(limit),
    });
    Command {
        name,
        help,
        params,
        container: Container::Array,
        run,
    }
}

/// A listing that must not be empty.
const fn matching(name: &'static str, help: &'static str, part: PartFn) -> Command {
    let params = "ruri|furi|turi|callid|start_ts eq|re|sw|gt|lt VALUE [LIMIT] \
                  [after=CALLID[;H_ID]] [state=N] [profile=NAME[:VALUE]] [older=SECONDS]";
    let fold = Fold::ListOr(match_limit, || Fault::new(404, "Not found"));
    let whom: WhomFn = |desk, args| {
        args.filters(|| matching_and(desk.setup, args))?;
        begin(desk, args)
    };
    let run = Run::Shards(Shards { whom, part, fold });
    Command {
        name,
        help,
        params,
        container: Container::Array,
        run,
    }
}

/// What is known of one call.
const fn of_call(name: &'static str, help: &'static str, part: PartFn) -> Command {
    let whom: WhomFn = |desk, args| Ok(Whom::One(owner_of(desk, &args.word(0)?)));
    let run = Run::Shards(Shards {
        whom,
        part,
        fold: Fold::First,
    });
    Command {
        name,
        help,
        params: "CALLID [FROM_TAG]",
        container: Container::Last,
        run,
    }
}

/// Something about one dialog.
const fn one(
    name: &'static str,
    params: &'static str,
    help: &'static str,
    (whom, part): (WhomFn, PartFn),
) -> Command {
    let run = Run::Shards(Shards {
        whom,
        part,
        fold: Fold::First,
    });
    Command {
        name,
        help,
        params,
        container: Container::Last,
        run,
    }
}

type WhomFn = fn(&Desk<'_>, &Args) -> Result<Whom, Stop>;
type PartFn = fn(&mut Env<'_>, &Args, Slice) -> Part;

fn every(desk: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    args.filters(|| less(desk.setup, args))?;
    begin(desk, args)
}

/// The shard of the dialog that the listing goes on behind, and those that follow.
fn begin(desk: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    let after = after(args)?;
    Ok(after.map_or(Whom::All, |(call_id, _)| {
        Whom::From(owner_of(desk, call_id))
    }))
}

fn first_word(_: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    args.word(0)?;
    Ok(Whom::All)
}

fn owner_of(desk: &Desk<'_>, call_id: &[u8]) -> steer::ShardId {
    steer::owner(call_id, desk.setup.shard_count)
}

/// The shard of the call that the first of three words names.
fn owner(desk: &Desk<'_>, args: &Args, lacking: &'static str) -> Result<Whom, Stop> {
    let [call_id, _, _] = three_words(args).ok_or_else(|| stop(400, lacking))?;
    Ok(Whom::One(owner_of(desk, &call_id)))
}

/// Call-ID and both tags.
fn three_words(args: &Args) -> Option<[std::borrow::Cow<'_, [u8]>; 3]> {
    Some([args.word(0).ok()?, args.word(1).ok()?, args.word(2).ok()?])
}

/// The dialog that three words name.
fn find(env: &Env<'_>, args: &Args) -> Option<Key> {
    let [call_id, from_tag, to_tag] = three_words(args)?;
    listing::find(env.state, &call_id, &from_tag, &to_tag)
}

fn fault(code: i32, text: &'static str) -> Part {
    Part {
        values: Err(Fault::new(code, text)),
        next: None,
    }
}

/// What is asked for besides the parameters of the original.
fn less(setup: &Setup, args: &Args) -> Result<Vec<Filter>, Stop> {
    let mut filters = Vec::new();
    for (name, value) in options(args) {
        match name {
            b"limit" => drop(number(value)?),
            b"state" => filters.push(Filter::InState(number(value)?.into())),
            b"older" => filters.push(Filter::AnsweredFor(number(value)?.into())),
            b"profile" => filters.push(in_profile(setup, value)?),
            _ => {}
        }
    }
    Ok(filters)
}

fn number(digits: &[u8]) -> Result<u32, Stop> {
    let text = std::str::from_utf8(digits).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| stop(500, INVALID))
}

/// Call-ID and number of a dialog; without a number, the last one of the Call-ID.
type Behind<'a> = (&'a [u8], Option<u32>);

/// The dialog that the listing goes on behind.
fn after(args: &Args) -> Result<Option<Behind<'_>>, Stop> {
    let Some((_, text)) = options(args).find(|(name, _)| *name == b"after") else {
        return Ok(None);
    };
    // No Call-ID contains a semicolon (RFC 3261 §25.1).
    Ok(Some(match text.iter().position(|b| *b == b';') {
        Some(at) => (&text[..at], Some(number(&text[at + 1..])?)),
        None => (text, None),
    }))
}

/// Words of the form `name=value`.
fn options(args: &Args) -> impl Iterator<Item = (&[u8], &[u8])> {
    args.all().iter().filter_map(|value| {
        let Value::Text(text) = value else {
            return None;
        };
        let at = text.iter().position(|b| *b == b'=')?;
        Some((&text[..at], &text[at + 1..]))
    })
}

fn in_profile(setup: &Setup, text: &[u8]) -> Result<Filter, Stop> {
    let at = text.iter().position(|b| *b == b':').unwrap_or(text.len());
    let place = profile_place(setup, &text[..at])?;
    Ok(Filter::InProfile(
        place,
        text.get(at + 1..).map(<[u8]>::to_vec),
    ))
}

/// How many are wanted.
fn limit(args: &Args) -> Option<usize> {
    let (_, value) = options(args).find(|(name, _)| *name == b"limit")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// How many matches are wanted; a number of another type is as good as none.
fn match_limit(args: &Args) -> Option<usize> {
    let wanted = args.int(3).ok().and_then(|n| usize::try_from(n).ok());
    wanted.filter(|n| *n > 0).or_else(|| limit(args))
}

/// One slice of the dialogs that the parameters leave.
fn slice(env: &Env<'_>, args: &Args, wanted: Slice, show: impl Fn(&View) -> Value) -> Part {
    let Some(from) = place(env, args, wanted) else {
        return fault(404, "Dialog not found");
    };
    let filters = args.filters(|| less(&env.state.setup, args));
    let filters = filters.unwrap_or_default();
    let counts = (wanted.item_count, wanted.place_count());
    let slice = listing::list(env, from, counts, &filters);
    Part {
        values: Ok(slice.dialogs.iter().map(show).collect()),
        next: slice.next.map(|place| Cursor(place.0 as u64)),
    }
}

/// Where the slice begins; `None`: the dialog that it was to go on behind is gone.
fn place(env: &Env<'_>, args: &Args, wanted: Slice) -> Option<listing::Cursor> {
    let after = after(args).ok().flatten();
    match after.filter(|_| wanted.cursor == Cursor::default()) {
        Some((call_id, h_id)) if env.state.id == owner_here(env, call_id) => {
            listing::behind(env.state, call_id, h_id)
        }
        Some(_) | None => Some(listing::Cursor(wanted.place())),
    }
}

fn owner_here(env: &Env<'_>, call_id: &[u8]) -> steer::ShardId {
    steer::owner(call_id, env.state.setup.shard_count)
}

fn list(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    slice(env, args, wanted, dialog)
}

fn list_ctx(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    slice(env, args, wanted, with_context)
}

/// What `dlg.list_match` asks for, and what is asked for besides.
fn matching_and(setup: &Setup, args: &Args) -> Result<Vec<Filter>, Stop> {
    let mut filters = vec![matched(args)?];
    filters.extend(less(setup, args)?);
    Ok(filters)
}

/// Key, operator and value. The errors stand in the order in which the original finds them.
fn matched(args: &Args) -> Result<Filter, Stop> {
    let word = |index| {
        let text = args.text(index).ok().filter(|text| !text.is_empty());
        text.ok_or_else(|| stop(500, INVALID))
    };
    let (key, operator, value) = (word(0)?, word(1)?, word(2)?);
    let is_time = &*key == b"start_ts";
    let key = match &*key {
        b"ruri" => MatchKey::Ruri,
        b"furi" => MatchKey::FromUri,
        b"turi" => MatchKey::ToUri,
        b"callid" | b"start_ts" => MatchKey::CallId,
        _ => return Err(stop(500, "Invalid matching key parameter")),
    };
    match &*operator {
        b"eq" | b"re" | b"sw" if is_time => Err(stop(
            500,
            "Matching operator not supported with start_ts key",
        )),
        b"eq" => Ok(Filter::Equals(key, value.into_owned())),
        b"sw" => Ok(Filter::StartsWith(key, value.into_owned())),
        b"re" => {
            let text = String::from_utf8_lossy(&value);
            let mut builder = RegexBuilder::new(&text);
            let regex = builder
                .case_insensitive(true)
                .size_limit(REGEX_SIZE_MAX)
                .build();
            let invalid = |_| stop(500, "Invalid matching value parameter");
            regex
                .map(|regex| Filter::Matches(key, regex))
                .map_err(invalid)
        }
        b"gt" if is_time => Ok(Filter::StartedAfter(seconds(&value))),
        b"lt" if is_time => Ok(Filter::StartedBefore(seconds(&value))),
        b"gt" | b"lt" => Err(stop(500, "Matching operator not supported")),
        _ => Err(stop(500, "Invalid matching operator parameter")),
    }
}

/// The digits at the beginning, as the original reads them.
fn seconds(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0u64, |n, b| {
        n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
    })
}

fn dlg_list(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    part_of_call(env, args, dialog)
}

fn dlg_list_ctx(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    part_of_call(env, args, with_context)
}

fn part_of_call(env: &Env<'_>, args: &Args, show: fn(&View) -> Value) -> Part {
    let Ok(call_id) = args.word(0) else {
        return Part::whole(Vec::new());
    };
    let tag = args.word(1).ok();
    let found = listing::of_call(env, &call_id, tag.as_deref());
    Part::whole(found.iter().map(show).collect())
}

fn is_alive(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    match find(env, args) {
        None => fault(404, "Dialog not found"),
        Some(key) if listing::is_alive(env.state, key) => Part::whole(vec![Value::text("Alive")]),
        Some(_) => fault(500, "Dialog not in confirmed state"),
    }
}

fn wanted_state(args: &Args) -> Result<State, Stop> {
    let number = args.int(3).map_err(|_| stop(400, STATE_PARAMS))?;
    State::from_number(number).ok_or_else(|| stop(500, "Invalid state value"))
}

fn set_state(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let (Some(key), Ok(state)) = (find(env, args), wanted_state(args)) else {
        return fault(500, "Dialog not found");
    };
    listing::set_state(env, key, state);
    Part::whole(vec![Value::text("Done")])
}

fn terminate(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    match find(env, args) {
        None => fault(500, "Couldnt find callid in dialog"),
        Some(key) => end_call(env, key, b""),
    }
}

/// Ends a call, by whatever it takes. One that is over already counts as ended.
fn end_call(env: &mut Env<'_>, key: Key, headers: &[u8]) -> Part {
    bye::hang_up(env, key, &bye::ALL, headers);
    Part::whole(Vec::new())
}

fn identifier(args: &Args) -> Result<DialogId, Stop> {
    let number = |index| {
        let n = args.int(index).map_err(|_| stop(500, INVALID))?;
        // What is above 2^31 travels as a negative number.
        Ok::<u32, Stop>(n as u32)
    };
    Ok(DialogId {
        h_entry: number(0)?,
        h_id: number(1)?,
    })
}

fn end(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let found = identifier(args)
        .ok()
        .and_then(|id| listing::find_id(env.state, id));
    match found {
        None => fault(404, "Dialog not found"),
        Some(key) => match extra_headers(args) {
            Ok(headers) => end_call(env, key, &headers),
            Err(_) => fault(500, INVALID),
        },
    }
}

/// Header fields for the BYEs.
fn extra_headers(args: &Args) -> Result<Vec<u8>, Stop> {
    let text = args.word(2).unwrap_or_default();
    bye::header_lines(&text).ok_or_else(|| stop(500, INVALID))
}

fn bridge(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let text = |index| args.text(index).unwrap_or_default();
    let (from, to, proxy) = (text(0), text(1), text(2));
    // kamcmd sends an empty text as the number 0.
    let body = match args.all().get(3) {
        Some(Value::Text(text)) => Some(&text[..]),
        Some(Value::Int(0)) => Some(&b""[..]),
        _ => None,
    };
    let wanted = Bridge {
        from: &from,
        to: &to,
        proxy: &proxy,
        body,
    };
    match transfer::bridge(env, wanted) {
        Ok(()) => Part::whole(Vec::new()),
        Err(refused) => fault(500, refused.text()),
    }
}

fn profile_place(setup: &Setup, name: &[u8]) -> Result<u16, Stop> {
    let profiles = &setup.config.dialog.profiles;
    let place = profiles.iter().position(|p| p.name.as_bytes() == name);
    let unknown = || {
        let name = String::from_utf8_lossy(name);
        Stop::Fault(Fault::new(404, format!("Profile not found: {name}")))
    };
    place.map(|place| place as u16).ok_or_else(unknown)
}

fn profile_there(desk: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    profile_place(desk.setup, &args.word(0)?)?;
    Ok(Whom::All)
}

/// The value of a profile that a parameter names; a further word is none.
fn profile_value(args: &Args) -> Option<std::borrow::Cow<'_, [u8]>> {
    let is_option = matches!(args.all().get(1), Some(Value::Text(t)) if t.contains(&b'='));
    args.word(1).ok().filter(|_| !is_option)
}

fn profile_size(env: &mut Env<'_>, args: &Args, _: Slice) -> Part {
    let Ok(name) = args.word(0) else {
        return Part::whole(Vec::new());
    };
    let size = listing::profile_size(env.state, &name, args.word(1).ok().as_deref());
    Part::whole(vec![Value::count(size.unwrap_or(0) as u64)])
}

/// A profile that is there, and those of its dialogs that are wanted.
fn of_profile(desk: &Desk<'_>, args: &Args) -> Result<Whom, Stop> {
    let place = profile_place(desk.setup, &args.word(0)?)?;
    let value = profile_value(args).map(std::borrow::Cow::into_owned);
    args.filters(|| {
        let mut filters = vec![Filter::InProfile(place, value)];
        filters.extend(less(desk.setup, args)?);
        Ok(filters)
    })?;
    begin(desk, args)
}

fn stats_active(env: &mut Env<'_>, _: &Args, _: Slice) -> Part {
    let active = listing::stats_active(env.state);
    let count = |n: usize| Value::count(n as u64);
    Part::whole(vec![Value::members([
        ("starting", count(active.starting)),
        ("connecting", count(active.connecting)),
        ("answering", count(active.answering)),
        ("ongoing", count(active.ongoing)),
        ("all", count(active.all())),
    ])])
}

/// Text, or nothing when it is not known.
fn text(text: Option<&String>) -> Value {
    text.map_or(Value::Null, Value::text)
}

fn leg(leg: &LegView) -> Value {
    Value::members([
        ("tag", text(leg.tag.as_ref())),
        ("contact", text(leg.contact.as_ref())),
        ("cseq", text(leg.cseq.as_ref())),
        ("route_set", text(leg.route_set.as_ref())),
        ("socket", text(leg.socket.as_ref())),
    ])
}

/// A value under a name that is not known in advance.
fn pair(name: &str, value: &str) -> (Name, Value) {
    (Name::Owned(name.as_bytes().to_vec()), Value::text(value))
}

/// A dialog, and behind it what code built on top of it knows.
fn with_context(view: &View) -> Value {
    let mut shown = dialog(view);
    if let Value::Struct(members) = &mut shown
        && !view.context.is_empty()
    {
        let known = view.context.iter().map(|(name, value)| pair(name, value));
        members.push(("context".as_bytes().into(), Value::Struct(known.collect())));
    }
    shown
}

/// A dialog as the listings show it.
pub(super) fn dialog(view: &View) -> Value {
    let profile = |(name, value): &(String, Option<String>)| match value {
        None => Value::text(name),
        Some(value) => Value::Struct(vec![pair(name, value)]),
    };
    let variable = |(name, value): &(String, String)| Value::Struct(vec![pair(name, value)]);
    Value::members([
        ("h_entry", Value::Int(view.h_entry.into())),
        ("h_id", Value::Int(view.h_id.into())),
        ("ref", Value::Int(view.reference_count)),
        ("call-id", Value::text(&view.call_id)),
        ("from_uri", Value::text(&view.from_uri)),
        ("to_uri", Value::text(&view.to_uri)),
        ("state", Value::Int(view.state)),
        ("start_ts", Value::count(view.start_ts)),
        ("init_ts", Value::count(view.init_ts)),
        ("end_ts", Value::count(view.end_ts)),
        ("duration", Value::count(view.duration)),
        ("timeout", Value::count(view.timeout)),
        ("lifetime", Value::Int(view.lifetime.into())),
        ("dflags", Value::Int(view.dflags.into())),
        ("sflags", Value::Int(view.sflags.into())),
        ("iflags", Value::Int(view.iflags.into())),
        ("caller", leg(&view.caller)),
        ("callee", leg(&view.callee)),
        (
            "profiles",
            Value::Array(view.profiles.iter().map(profile).collect()),
        ),
        (
            "variables",
            Value::Array(view.variables.iter().map(variable).collect()),
        ),
    ])
}

/// A dialog as `dlg.dump_file` writes it: what is not known is empty, and lists are objects.
fn dump(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    slice(env, args, wanted, dumped)
}

fn dumped(view: &View) -> Value {
    let Value::Struct(members) = dialog(view) else {
        return Value::Null;
    };
    let kept = members
        .into_iter()
        .filter(|(name, _)| **name != *b"duration");
    let changed = kept.map(|(name, value)| match &*name {
        b"call-id" => (Name::Borrowed(b"call_id"), value),
        b"profiles" => {
            let profiles = view.profiles.iter();
            let pairs = profiles.map(|(name, value)| pair(name, value.as_deref().unwrap_or("")));
            (name, Value::Struct(pairs.collect()))
        }
        b"variables" => {
            let pairs = view.variables.iter().map(|(name, value)| pair(name, value));
            (name, Value::Struct(pairs.collect()))
        }
        b"caller" | b"callee" => (name, filled(value)),
        _ => (name, value),
    });
    Value::Struct(changed.collect())
}

/// Empty text where nothing is known.
fn filled(value: Value) -> Value {
    match value {
        Value::Null => Value::text(""),
        Value::Struct(members) => Value::Struct(
            members
                .into_iter()
                .map(|(name, value)| (name, filled(value)))
                .collect(),
        ),
        Value::Int(_) | Value::Double(_) | Value::Text(_) | Value::Array(_) => value,
    }
}

fn briefing(env: &mut Env<'_>, args: &Args, wanted: Slice) -> Part {
    let first = args.text(0).ok().filter(|word| !word.contains(&b'='));
    let letters = first.map_or_else(|| b"ftcFT".to_vec(), std::borrow::Cow::into_owned);
    slice(env, args, wanted, |view| brief(view, &letters))
}

/// The original shows the caller's tag as `to_tag`; here it is the callee's.
fn brief(view: &View, letters: &[u8]) -> Value {
    let field = |letter: &u8| {
        Some(match letter {
            b'f' => ("from_uri", Value::text(&view.from_uri)),
            b't' => ("to_uri", Value::text(&view.to_uri)),
            b'c' => ("call-id", Value::text(&view.call_id)),
            b'F' => ("from_tag", text(view.caller.tag.as_ref())),
            b'T' => ("to_tag", text(view.callee.tag.as_ref())),
            b'I' => ("init_ts", Value::count(view.init_ts)),
            b'S' => ("start_ts", Value::count(view.start_ts)),
            b'E' => ("end_ts", Value::count(view.end_ts)),
            b's' => ("state", Value::Int(view.state)),
            _ => return None,
        })
    };
    let identifier = [
        ("h_entry", Value::Int(view.h_entry.into())),
        ("h_id", Value::Int(view.h_id.into())),
    ];
    Value::members(
        identifier
            .into_iter()
            .chain(letters.iter().filter_map(field)),
    )
}
