//! The functions of the module.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::{Effect, Level, Proto, SocketId};
use crate::limits::DESTINATION_RULE_COUNT_MAX;
use crate::modules::entry::{NO, YES, text_of, truth};
use crate::modules::pv::avp::Stored;
use crate::modules::pv::credential_of;
use crate::modules::rewrite;
use crate::modules::work::{Bytes, Target};
use crate::modules::{Call, Setup};
use crate::script::{CallSite, Heap, Outcome, Value, spread};
use crate::sip::uri::Scheme;
use crate::sip::{HeaderName, Message, Method, Uri};

use super::list::flag;
use super::live::Attempt;
use super::named;
use super::names;
use super::select::{self, Start};

/// What is done with the choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// It becomes the next hop.
    NextHop,
    /// It becomes host and port of the Request-URI.
    Domain,
    /// Nothing: the script reads the records.
    Records,
}

/// Algorithm 12: all of them at once.
const PARALLEL: i64 = 12;

/// One set and the algorithm that orders it.
type Rule = (i64, i64);

/// `ds_select_dst`, `ds_select_domain`, `ds_select`.
pub(super) fn choose(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, goal: Goal) -> Outcome {
    let (Some(set), Some(algorithm)) = (number(call, heap, site, 0), number(call, heap, site, 1))
    else {
        call.env.log(
            Level::Err,
            "dispatcher: set and algorithm are to be numbers",
        );
        return NO;
    };
    let limit = limit(call, heap, site);
    distribute(call, heap, &[(set, algorithm)], (goal, limit))
}

/// `ds_select_routes(rules, mode [, limit])`.
pub(super) fn choose_of_several(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let text = text_of(call, heap, site, 0).unwrap_or_default();
    let mode = text_of(call, heap, site, 1).unwrap_or_default();
    let goal = match mode.first() {
        Some(b'0' | b'd' | b'D') => Goal::NextHop,
        Some(b'1' | b'r' | b'R') => Goal::Domain,
        Some(b'2' | b'x' | b'X') => Goal::Records,
        Some(_) | None => {
            let text = "dispatcher: the mode is to be 0, 1, 2, d, r or x";
            call.env.log(Level::Err, text);
            return NO;
        }
    };
    let Some(rules) = rules(&text) else {
        let text = "dispatcher: rules are to be set=algorithm, with semicolons between them";
        call.env.log(Level::Err, text);
        return NO;
    };
    let limit = limit(call, heap, site);
    distribute(call, heap, &rules, (goal, limit))
}

/// `1=4;2=8`. A semicolon may stand at the end, white space nowhere.
fn rules(text: &[u8]) -> Option<Vec<Rule>> {
    let text = std::str::from_utf8(text).ok()?;
    let rules = text.strip_suffix(';').unwrap_or(text).split(';');
    let rule = |rule: &str| {
        let (set, algorithm) = rule.split_once('=')?;
        Some((set.parse().ok()?, algorithm.parse().ok()?))
    };
    let rules: Vec<Rule> = rules
        .take(DESTINATION_RULE_COUNT_MAX + 1)
        .map(rule)
        .collect::<Option<_>>()?;
    (rules.len() <= DESTINATION_RULE_COUNT_MAX).then_some(rules)
}

/// The third argument: how many destinations at most; 0 or none: all.
fn limit(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> usize {
    let limit = site.int(2, call, heap).filter(|n| *n > 0);
    limit
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX)
}

fn distribute(
    call: &mut Call<'_>,
    heap: &mut Heap,
    rules: &[Rule],
    (goal, limit): (Goal, usize),
) -> Outcome {
    let force_dst = call.env.state.setup.config.dispatcher.force_dst;
    if goal == Goal::NextHop && !force_dst && call.work.target.next_hop.is_some() {
        call.env.log(
            Level::Err,
            "dispatcher: there is a next hop already, and force_dst is 0",
        );
        return NO;
    }
    let (mut order, mut first_start) = (Vec::new(), None);
    for (set, algorithm) in rules {
        let (start, places) = ordered(call, heap, *set, *algorithm);
        if !places.is_empty() {
            first_start.get_or_insert(start);
        }
        order.extend(places);
        if order.len() >= limit {
            break;
        }
    }
    order.truncate(limit);
    let Some(first) = order.first().copied() else {
        return NO;
    };
    if let [(_, PARALLEL)] = rules {
        return parallel(call, &order, goal);
    }
    let has_load = first_start == Some(Start::Load) && count_load(call, first);
    remember(call, &order, has_load);
    truth(apply(call, first, goal))
}

/// The usable destinations of a set in the order of an algorithm.
fn ordered(call: &mut Call<'_>, heap: &mut Heap, set: i64, algorithm: i64) -> (Start, Vec<usize>) {
    if call.env.state.dispatcher.sets().set(set).is_none() {
        call.env
            .log(Level::Err, format!("dispatcher: there is no set {set}"));
    }
    let keeps_last = call.env.state.setup.config.dispatcher.use_default;
    let start = start(call, heap, algorithm);
    let state = &mut *call.env.state;
    let live = &mut state.dispatcher;
    let order = select::order(live, &mut state.rng, set, start, keeps_last);
    (start, order)
}

fn number(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite, index: usize) -> Option<i64> {
    let text = text_of(call, heap, site, index)?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

fn start(call: &mut Call<'_>, heap: &mut Heap, algorithm: i64) -> Start {
    let message = Rc::clone(&call.work.message);
    let hash = |texts: &[&[u8]]| Start::Hash(spread(texts));
    let of_uri = |uri: &[u8], user_only| Start::Hash(hash_of_uri(uri, user_only));
    let user_only = call.env.state.setup.config.dispatcher.flags & 1 != 0;
    match algorithm {
        0 => hash(&[message.call_id()]),
        1 => of_uri(message.from().uri, user_only),
        2 => of_uri(message.to().uri, user_only),
        3 => of_uri(call.work.uri(), user_only),
        4 => Start::RoundRobin,
        5 => {
            let user = user_of_credentials(&message);
            user.map_or(Start::RoundRobin, |user| hash(&[&user]))
        }
        6 => Start::Random,
        7 => {
            let pattern = call.env.state.setup.config.dispatcher.hash_pvar.clone();
            hash(&[&named::expand(call, heap, pattern.as_bytes())])
        }
        8 | PARALLEL => Start::First,
        9 => Start::Weight,
        // Only an INVITE makes a call.
        10 if message.method() != Method::Invite => Start::First,
        10 => Start::Load,
        11 => Start::RelativeWeight,
        13 => Start::Latency,
        other => {
            let text = format!("dispatcher: there is no algorithm {other}; the first is taken");
            call.env.log(Level::Warn, text);
            Start::First
        }
    }
}

/// The user of Proxy-Authorization, else of Authorization: without scheme and domain.
fn user_of_credentials(message: &Message) -> Option<Vec<u8>> {
    let names = [HeaderName::ProxyAuthorization, HeaderName::Authorization];
    let header = names.iter().find_map(|name| message.first(*name))?;
    let user = credential_of(message.text(header.value), b"username")?;
    let name = user.strip_prefix(b"sip:").unwrap_or(user);
    let end = name.iter().position(|b| *b == b'@').unwrap_or(name.len());
    Some(name[..end].to_vec())
}

/// What the original takes for a URI without a user when only users count.
const HASH_OF_NOBODY: u32 = 1;

/// The hash of user, host and port, or of the user alone; a port that stands for none does not
/// count. What cannot be read is hashed as it is.
fn hash_of_uri(uri: &[u8], user_only: bool) -> u32 {
    let Ok(parsed) = Uri::parse(uri) else {
        return spread(&[uri]);
    };
    let user = parsed.user.unwrap_or_default();
    match (user_only, user.is_empty()) {
        (true, true) => return HASH_OF_NOBODY,
        (true, false) => return spread(&[user]),
        (false, _) => {}
    }
    let usual = if parsed.scheme == Scheme::Sips {
        5061
    } else {
        5060
    };
    match parsed.port.filter(|port| *port != usual) {
        Some(port) => spread(&[user, &[parsed.host, format!(":{port}").as_bytes()].concat()]),
        None => spread(&[user, parsed.host]),
    }
}

/// A call counts against the destination that it is sent to first.
fn count_load(call: &mut Call<'_>, place: usize) -> bool {
    let has_name = call.env.state.dispatcher.sets().destinations()[place]
        .attrs
        .duid
        .is_some();
    if call.work.message.method() != Method::Invite || !has_name {
        return false;
    }
    let (now, message) = (call.env.now.mono, Rc::clone(&call.work.message));
    let config = &call.env.state.setup.config.dispatcher;
    let (until, every) = (now + config.load_init_expire, config.load_check_interval);
    let live = &mut call.env.state.dispatcher;
    live.sweep_loads(now, every);
    live.add_load(message.call_id(), place, until)
}

/// The records that `ds_next_dst` and a script go by, the first on top.
fn remember(call: &mut Call<'_>, order: &[usize], has_load: bool) {
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.dispatcher;
    if config.flags & 2 == 0 {
        return;
    }
    let sets = Arc::clone(call.env.state.dispatcher.sets());
    let avps = &mut call.work.avps;
    avps.clear_records(config.xavp_dst.as_bytes());
    avps.clear_records(config.xavp_ctx.as_bytes());
    for place in order.iter().rev() {
        let d = &sets.destinations()[*place];
        let mut fields: Vec<(&str, Stored)> = vec![];
        let mut text = |name, value: Option<&[u8]>| {
            fields.extend(value.map(|value| (name, Stored::Text(value.into()))));
        };
        text("uri", Some(&*d.uri));
        let attrs = Some(&*d.attrs.body).filter(|body| !body.is_empty());
        text("attrs", attrs.filter(|_| config.xavp_dst_mode & 1 == 0));
        let socket = d.attrs.socket.as_deref();
        text("sock", socket);
        text("socket", socket.filter(|_| config.xavp_dst_mode & 2 != 0));
        let name = d.attrs.socket_name.as_deref();
        text("sockname", name.filter(|_| config.xavp_dst_mode & 4 != 0));
        if has_load {
            text("dstid", d.attrs.duid.as_deref());
        }
        fields.push(("grp", Stored::Int(d.set)));
        avps.push_record(config.xavp_dst.as_bytes(), &fields);
    }
    let count = Stored::Int(order.len() as i64);
    if config.xavp_ctx_mode & 1 == 0 {
        avps.push_record(config.xavp_ctx.as_bytes(), &[("cnt", count)]);
    }
}

/// Makes the destination the one that the request goes to.
fn apply(call: &mut Call<'_>, place: usize, goal: Goal) -> bool {
    let sets = Arc::clone(call.env.state.dispatcher.sets());
    let d = &sets.destinations()[place];
    let socket = d.socket.or_else(|| default_socket(&call.env.state.setup));
    let target = call.work.target.clone();
    match directed(&target, call.work.message.uri(), &d.uri, goal) {
        Some(mut target) => {
            if goal != Goal::Records {
                target.socket = socket.or(target.socket);
            }
            call.work.target = target;
            true
        }
        None => false,
    }
}

/// `ds_default_sockname`, else `ds_default_socket`.
pub(super) fn default_socket(setup: &Setup) -> Option<SocketId> {
    let config = &setup.config.dispatcher;
    let written = |text: &str| setup.socket_written(text.as_bytes());
    match (&*config.default_socket_name, &*config.default_socket) {
        ("", "") => None,
        ("", text) => written(text),
        (name, _) => setup.socket_called(name.as_bytes()),
    }
}

fn directed(target: &Target, received: &[u8], uri: &[u8], goal: Goal) -> Option<Target> {
    let mut target = target.clone();
    match goal {
        Goal::NextHop => target.next_hop = Some(Bytes::from(uri)),
        Goal::Domain => {
            let old = target.uri.as_deref().unwrap_or(received);
            let place = uri.iter().position(|b| *b == b'@').map_or_else(
                || uri.iter().position(|b| *b == b':').map(|at| at + 1),
                |at| Some(at + 1),
            )?;
            let new = rewrite::changed(old, rewrite::Part::HostPortTransport(&uri[place..]));
            target.uri = Some(new.ok()?.into());
        }
        Goal::Records => {}
    }
    Some(target)
}

fn parallel(call: &mut Call<'_>, order: &[usize], goal: Goal) -> Outcome {
    let room = call
        .env
        .state
        .setup
        .config
        .core
        .max_branches
        .saturating_sub(1);
    let sets = Arc::clone(call.env.state.dispatcher.sets());
    if !apply(call, order[0], goal) {
        return NO;
    }
    for place in order[1..]
        .iter()
        .take(room.saturating_sub(call.work.appended.len()))
    {
        let d = &sets.destinations()[*place];
        let base = call.work.target.clone();
        if let Some(mut target) = directed(&base, call.work.message.uri(), &d.uri, goal) {
            target.socket = d.socket.or_else(|| default_socket(&call.env.state.setup));
            call.work.appended.push(target);
        }
    }
    YES
}

/// `ds_next_dst`, `ds_next_domain`: the record on top has been tried, the next one's turn it is.
pub(super) fn next(call: &mut Call<'_>, goal: Goal) -> Outcome {
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.dispatcher;
    let name = config.xavp_dst.as_bytes();
    if !call.work.avps.pop_record(name) {
        return NO;
    }
    set(call, goal)
}

/// `ds_set_dst`, `ds_set_domain`: the record on top says where to.
pub(super) fn set(call: &mut Call<'_>, goal: Goal) -> Outcome {
    let setup = Arc::clone(&call.env.state.setup);
    let config = &setup.config.dispatcher;
    let name = config.xavp_dst.as_bytes();
    let place = current(call);
    if let Some(place) = place {
        if config.flags & 2 != 0 && call.env.state.dispatcher.remove_load(&call_id(call)) {
            count_load(call, place);
        }
        return truth(apply(call, place, goal));
    }
    // A reload has taken it out of the list; the script still has its URI.
    let Some(Stored::Text(uri)) = call.work.avps.field(name, b"uri").cloned() else {
        return NO;
    };
    match directed(&call.work.target, call.work.message.uri(), &uri, goal) {
        Some(target) => {
            call.work.target = target;
            YES
        }
        None => NO,
    }
}

fn call_id(call: &Call<'_>) -> Vec<u8> {
    call.work.message.call_id().to_vec()
}

/// The place of the destination of the record on top.
fn current(call: &Call<'_>) -> Option<usize> {
    let name = call.env.state.setup.config.dispatcher.xavp_dst.as_bytes();
    match (
        call.work.avps.field(name, b"grp")?,
        call.work.avps.field(name, b"uri")?,
    ) {
        (Stored::Int(set), Stored::Text(uri)) => call.env.state.dispatcher.sets().place(*set, uri),
        _ => None,
    }
}

/// `ds_mark_dst([state])`.
pub(super) fn mark(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let word = text_of(call, heap, site, 0).unwrap_or_default();
    let Some(place) = current(call) else {
        return NO;
    };
    truth(mark_place(call, place, &word))
}

/// `ds_mark_addr(state, set, uri)`.
pub(super) fn mark_address(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (Some(word), Some(set), Some(uri)) = (
        text_of(call, heap, site, 0),
        number(call, heap, site, 1),
        text_of(call, heap, site, 2),
    ) else {
        return NO;
    };
    match call.env.state.dispatcher.sets().place(set, &uri) {
        Some(place) => truth(mark_place(call, place, &word)),
        None => NO,
    }
}

fn mark_place(call: &mut Call<'_>, place: usize, word: &[u8]) -> bool {
    let config = &call.env.state.setup.config.dispatcher;
    let (thresholds, probes_all) = (config.thresholds, config.probing_mode == 1);
    let Some(mut flags) = state_of(word) else {
        return false;
    };
    if word.is_empty() && probes_all {
        flags |= flag::PROBING;
    }
    if flags & flag::TRYING != 0 {
        let probes = flags & flag::PROBING != 0 || probes_all;
        let live = &mut call.env.state.dispatcher;
        let turned = live.tried(place, Attempt::Bad, thresholds, probes);
        super::changed(&mut call.env, place, turned);
        return true;
    }
    let turned = call.env.state.dispatcher.set_flags(place, flags);
    super::changed(&mut call.env, place, turned);
    true
}

/// The flags that letters stand for; none is inactive.
pub(super) fn state_of(letters: &[u8]) -> Option<u32> {
    if letters.is_empty() {
        return Some(flag::INACTIVE);
    }
    let (mut flags, mut has_state) = (0, false);
    for letter in letters {
        match letter.to_ascii_lowercase() {
            b'a' => has_state = true,
            b'i' => (flags, has_state) = (flags | flag::INACTIVE, true),
            b't' => (flags, has_state) = (flags | flag::TRYING, true),
            b'd' => (flags, has_state) = (flags | flag::DISABLED, true),
            b'p' => flags |= flag::PROBING,
            b'x' => {}
            _ => return None,
        }
    }
    (has_state || flags != 0).then_some(flags)
}

/// `ds_list_exists(set)`.
pub(super) fn exists(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let set = number(call, heap, site, 0);
    truth(set.is_some_and(|set| call.env.state.dispatcher.sets().set(set).is_some()))
}

/// `ds_is_active(set [, uri])`.
pub(super) fn is_active(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let (set, uri) = (number(call, heap, site, 0), text_of(call, heap, site, 1));
    let live = &call.env.state.dispatcher;
    let places = set.and_then(|set| live.sets().set(set)).unwrap_or_default();
    let is_it = |at: &usize| {
        uri.as_deref()
            .is_none_or(|uri| *live.sets().destinations()[*at].uri == *uri)
    };
    truth(
        places
            .filter(is_it)
            .any(|at| live.condition(at).is_usable()),
    )
}

/// `ds_is_from_list([set [, mode [, uri]]])`. Mode: 1 the port does not matter, 2 nor the
/// transport, 4 only those that are up; without it 2.
pub(super) fn is_from_list(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let set = number(call, heap, site, 0).filter(|set| *set != -1);
    let mode = number(call, heap, site, 1).unwrap_or(2);
    let uri = text_of(call, heap, site, 2).filter(|uri| !uri.is_empty());
    let (ip, port, proto) = match uri {
        Some(text) => {
            let Some((ip, uri)) = Uri::parse(&text).ok().and_then(|u| Some((u.host_ip()?, u)))
            else {
                return NO;
            };
            let port = uri.port.unwrap_or(Proto::Udp.default_port());
            (ip, port, uri.transport().and_then(Proto::from_name))
        }
        None => {
            let flow = call.work.flow;
            (flow.remote.ip(), flow.remote.port(), Some(flow.proto))
        }
    };
    names::matched(&mut call.env);
    let live = &call.env.state.dispatcher;
    let range = match set {
        Some(set) => live.sets().set(set).unwrap_or_default(),
        None => 0..live.sets().destinations().len(),
    };
    let found = range.into_iter().find(|at| {
        let d = &live.sets().destinations()[*at];
        let is_port = |its: u16| mode & 1 != 0 || its == port;
        let is_named = |a: &SocketAddr| a.ip() == ip && is_port(a.port());
        (d.ip == Some(ip) && is_port(d.port) || live.addresses(*at).iter().any(is_named))
            && (mode & 2 != 0 || d.proto == proto)
            && (mode & 4 == 0 || live.condition(*at).is_usable())
    });
    let Some(found) = found else {
        return NO;
    };
    let sets = Arc::clone(live.sets());
    let (destination, setup) = (
        &sets.destinations()[found],
        Arc::clone(&call.env.state.setup),
    );
    let config = &setup.config.dispatcher;
    if set.is_none() {
        let value = Value::Int(destination.set);
        named::assign(call, heap, &config.setid_pvname, value);
    }
    if !destination.attrs.body.is_empty() {
        let value = heap.string(&destination.attrs.body);
        named::assign(call, heap, &config.attrs_pvname, value);
    }
    YES
}

/// `ds_reload()`: asks for what SIGHUP does. A bad file changes nothing and is logged.
pub(super) fn reload(call: &mut Call<'_>) -> Outcome {
    let delta = call.env.state.setup.config.dispatcher.reload_delta;
    let now = call.env.now.mono;
    let last = &mut call.env.state.dispatcher.reloaded;
    if last.is_some_and(|last| now.since(last) < delta) {
        let text = "dispatcher: the last ds_reload() was less than reload_delta ago";
        call.env.log(Level::Err, text);
        return NO;
    }
    *last = Some(now);
    call.env.out.push(Effect::Reload);
    YES
}

/// `ds_load_update()`: an answer or ACK confirms the call, a BYE or CANCEL ends it.
pub(super) fn load_update(call: &mut Call<'_>) -> Outcome {
    let message = Rc::clone(&call.work.message);
    let until = call.env.now.mono + call.env.state.setup.config.dispatcher.load_expire;
    let live = &mut call.env.state.dispatcher;
    let is_end = message.is_request() && matches!(message.method(), Method::Bye | Method::Cancel);
    if is_end {
        live.remove_load(message.call_id());
    } else {
        live.extend_load(message.call_id(), until);
    }
    YES
}

/// `ds_load_unset()`: false when the call does not count.
pub(super) fn load_unset(call: &mut Call<'_>) -> Outcome {
    let call_id = call_id(call);
    truth(call.env.state.dispatcher.remove_load(&call_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_for_flags() {
        let table = [
            ("", Some(1)),
            ("a", Some(0)),
            ("i", Some(1)),
            ("ip", Some(9)),
            ("AP", Some(8)),
            ("tp", Some(10)),
            ("d", Some(4)),
            ("p", Some(8)),
            ("dx", Some(4)),
            ("z", None),
            ("x", None),
        ];
        for (letters, want) in table {
            assert_eq!(state_of(letters.as_bytes()), want, "{letters}");
        }
    }

    #[test]
    fn rules_name_sets_and_algorithms() {
        let many = "1=4;".repeat(DESTINATION_RULE_COUNT_MAX);
        let table: [(&str, Option<&[Rule]>); 10] = [
            ("1=4", Some(&[(1, 4)])),
            ("1=4;2=8", Some(&[(1, 4), (2, 8)])),
            ("-3=0;", Some(&[(-3, 0)])),
            ("1=4; 2=8", None),
            ("1", None),
            ("1=", None),
            ("", None),
            (";", None),
            ("1=4;;2=8", None),
            ("1=99999999999999999999", None),
        ];
        for (text, want) in table {
            assert_eq!(rules(text.as_bytes()).as_deref(), want, "{text}");
        }
        assert!(rules(many.as_bytes()).is_some());
        assert!(rules(format!("{many}1=4").as_bytes()).is_none());
    }

    #[test]
    fn what_a_uri_is_hashed_by() {
        let table: [(&str, bool, &[&str]); 8] = [
            ("sip:a@H.test", false, &["a", "H.test"]),
            ("sip:a@h.test:5060", false, &["a", "h.test"]),
            ("sip:a@h.test:5070;x=y", false, &["a", "h.test:5070"]),
            ("sips:a@h.test:5061", false, &["a", "h.test"]),
            ("sips:a@h.test:5060", false, &["a", "h.test:5060"]),
            ("sip:a@h.test", true, &["a"]),
            ("sip:h.test", false, &["", "h.test"]),
            ("rubbish", true, &["rubbish"]),
        ];
        for (uri, user_only, texts) in table {
            let texts: Vec<&[u8]> = texts.iter().map(|t| t.as_bytes()).collect();
            let got = hash_of_uri(uri.as_bytes(), user_only);
            assert_eq!(got, spread(&texts), "{uri}");
        }
        assert_eq!(hash_of_uri(b"sip:h.test", true), HASH_OF_NOBODY);
    }
}
