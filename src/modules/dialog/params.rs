//! The parameters of `dialog`.

use crate::modules::entry::{number, param, planned_param};
use crate::modules::{Config as Modules, Param, ParamError};
use crate::script::{ErrorKind, ParamType, Position, Program, Setting};
use crate::time::Duration;

use super::bye;
use super::matching::Mode;
use super::profile::ProfileSpec;

/// Parameters of `dialog` that mean something here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Whether the five statistics are shown.
    pub enable_stats: bool,
    /// The number of slots of `h_entry`, a power of two.
    pub hash_size: u32,
    /// The name of the cookie.
    pub rr_param: Box<str>,
    /// The message flag that has a dialog made.
    pub dlg_flag: Option<u8>,
    /// The AVP with the lifetime, by its name.
    pub timeout_avp: Option<Box<[u8]>>,
    /// The lifetime, seconds.
    pub default_timeout_s: u32,
    /// From the INVITE to its final response.
    pub early_timeout: Duration,
    /// From the 2xx to its ACK.
    pub noack_timeout: Duration,
    /// How long an ended dialog is kept when nothing else removes it.
    pub end_timeout: Duration,
    /// How requests find their dialog.
    pub match_mode: Mode,
    /// Whether an INVITE that comes again belongs to the dialog it has made.
    pub detect_spirals: bool,
    /// The profiles, in the order of their indexes.
    pub profiles: Vec<ProfileSpec>,
    /// Whether observers learn of a new dialog at once, or with its transaction.
    pub initial_cbs_inscript: bool,
    /// Whether every dialog that expires is hung up.
    pub send_bye: bool,
    /// Whether a failed dialog is kept until its transaction is gone.
    pub wait_ack: bool,
    /// Whether requests in a dialog leave its lifetime alone.
    pub timeout_noreset: bool,
    /// See `identity.rs`; -1: `server_id`.
    pub h_id_start: i64,
    /// See `identity.rs`.
    pub h_id_step: u32,
    /// Whether our own Record-Route stays in the route set: 1 callee's, 2 caller's.
    pub keep_proxy_rr: u8,
    /// Header lines of every BYE made here.
    pub dlg_extra_hdrs: Box<[u8]>,
    /// Header lines of every request made here to a callee.
    pub lreq_callee_headers: Box<[u8]>,
    /// Whether a request that goes again with credentials gets a number of its own.
    pub track_cseq_updates: bool,
    /// Over how many seconds pings of calls are spread that were answered together; 0: no pings.
    pub ka_timer_s: u32,
    /// Seconds between two pings; 0: no pings.
    pub ka_interval_s: u32,
    /// How many pings in a row may fail.
    pub ka_failed_limit: u32,
    /// The URI of From in calls that this server makes, and of Referred-By.
    pub bridge_controller: Box<str>,
    /// The URI of Contact in calls that this server makes.
    pub bridge_contact: Box<str>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enable_stats: true,
            hash_size: 4_096,
            rr_param: "did".into(),
            dlg_flag: None,
            timeout_avp: None,
            default_timeout_s: 43_200,
            early_timeout: Duration::from_secs(300),
            noack_timeout: Duration::from_secs(60),
            end_timeout: Duration::from_secs(300),
            match_mode: Mode::Cookie,
            detect_spirals: true,
            profiles: Vec::new(),
            initial_cbs_inscript: true,
            send_bye: false,
            wait_ack: true,
            timeout_noreset: false,
            h_id_start: 0,
            h_id_step: 1,
            keep_proxy_rr: 0,
            dlg_extra_hdrs: Box::default(),
            lreq_callee_headers: Box::default(),
            track_cseq_updates: false,
            ka_timer_s: 0,
            ka_interval_s: 0,
            ka_failed_limit: 1,
            bridge_controller: "sip:controller@kamailio.org".into(),
            bridge_contact: "sip:controller@kamailio.org:5060".into(),
        }
    }
}

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
// Documented as a string, given as a number.
const EITHER: ParamType = ParamType::IntOrStr;

type Stored = Result<(), ParamError>;

/// A planned parameter whose value is checked all the same.
const fn checked(
    name: &'static str,
    kind: ParamType,
    default: &'static str,
    (set, doc): (fn(&mut Modules, &Setting) -> Stored, &'static str),
) -> Param {
    let mut param = param(name, kind, default, (set, doc));
    param.sig.planned = true;
    param
}

pub(super) const PARAMS: [Param; 62] = [
    param(
        "enable_stats",
        INT,
        "1",
        (
            |c, v| flag(v, &mut c.dialog.enable_stats),
            "Whether statistics are kept.",
        ),
    ),
    param(
        "hash_size",
        INT,
        "4096",
        (hash_size, "Size of the dialog table."),
    ),
    param(
        "rr_param",
        STR,
        "did",
        (
            rr_param,
            "Parameter of Record-Route that carries the identity.",
        ),
    ),
    param(
        "dlg_flag",
        INT,
        "-1",
        (dlg_flag, "Message flag that has a dialog made."),
    ),
    param(
        "timeout_avp",
        STR,
        "",
        (timeout_avp, "AVP with the lifetime of a dialog."),
    ),
    param(
        "default_timeout",
        INT,
        "43200",
        (
            |c, v| seconds(v, 1, &mut c.dialog.default_timeout_s),
            "Lifetime of a dialog, seconds.",
        ),
    ),
    param(
        "early_timeout",
        INT,
        "300",
        (
            |c, v| duration(v, &mut c.dialog.early_timeout),
            "Until an unanswered dialog is dropped, seconds.",
        ),
    ),
    param(
        "noack_timeout",
        INT,
        "60",
        (
            |c, v| duration(v, &mut c.dialog.noack_timeout),
            "Until an unacknowledged dialog is dropped, seconds.",
        ),
    ),
    param(
        "end_timeout",
        INT,
        "300",
        (
            |c, v| duration(v, &mut c.dialog.end_timeout),
            "Until an ended dialog is dropped, seconds.",
        ),
    ),
    param(
        "dlg_extra_hdrs",
        STR,
        "",
        (
            |c, v| lines(v, &mut c.dialog.dlg_extra_hdrs),
            "Headers of a BYE made here.",
        ),
    ),
    param(
        "dlg_match_mode",
        INT,
        "0",
        (
            match_mode,
            "0 by identity, 1 by identity then by SIP, 2 by SIP.",
        ),
    ),
    param(
        "detect_spirals",
        INT,
        "1",
        (
            |c, v| switch(v, &mut c.dialog.detect_spirals),
            "Whether a request that comes back belongs to its dialog.",
        ),
    ),
    planned_param(
        "db_url",
        STR,
        "mysql://kamailio:kamailiorw@localhost/kamailio",
        "The database.",
    ),
    checked(
        "db_mode",
        INT,
        "0",
        (
            |_, v| number(v, 0, 3, "0 to 3").map(drop),
            "0 none, 1 at once, 2 by timer, 3 at the end.",
        ),
    ),
    planned_param(
        "db_update_period",
        INT,
        "60",
        "Seconds between two writes in mode 2.",
    ),
    planned_param("db_fetch_rows", INT, "200", "Rows read at once."),
    planned_param(
        "db_skip_load",
        INT,
        "0",
        "Whether nothing is read at start.",
    ),
    planned_param("table_name", STR, "dialog", "Table of dialogs."),
    planned_param("call_id_column", STR, "callid", "Column of that name."),
    planned_param("from_uri_column", STR, "from_uri", "Column of that name."),
    planned_param("from_tag_column", STR, "from_tag", "Column of that name."),
    planned_param("to_uri_column", STR, "to_uri", "Column of that name."),
    planned_param("to_tag_column", STR, "to_tag", "Column of that name."),
    planned_param(
        "from_cseq_column",
        STR,
        "caller_cseq",
        "Column of that name.",
    ),
    planned_param("to_cseq_column", STR, "callee_cseq", "Column of that name."),
    planned_param(
        "from_route_column",
        STR,
        "caller_route_set",
        "Column of that name.",
    ),
    planned_param(
        "to_route_column",
        STR,
        "callee_route_set",
        "Column of that name.",
    ),
    planned_param(
        "from_contact_column",
        STR,
        "caller_contact",
        "Column of that name.",
    ),
    planned_param(
        "to_contact_column",
        STR,
        "callee_contact",
        "Column of that name.",
    ),
    planned_param(
        "from_sock_column",
        STR,
        "caller_sock",
        "Column of that name.",
    ),
    planned_param("to_sock_column", STR, "callee_sock", "Column of that name."),
    planned_param("h_id_column", STR, "hash_id", "Column of that name."),
    planned_param("h_entry_column", STR, "hash_entry", "Column of that name."),
    planned_param("state_column", STR, "state", "Column of that name."),
    planned_param(
        "start_time_column",
        STR,
        "start_time",
        "Column of that name.",
    ),
    planned_param("timeout_column", STR, "timeout", "Column of that name."),
    planned_param("sflags_column", STR, "sflags", "Column of that name."),
    planned_param(
        "toroute_name_column",
        STR,
        "toroute_name",
        "Column of that name.",
    ),
    planned_param(
        "vars_table_name",
        STR,
        "dialog_vars",
        "Table of dialog variables.",
    ),
    planned_param("vars_h_id_column", STR, "hash_id", "Column of that name."),
    planned_param(
        "vars_h_entry_column",
        STR,
        "hash_entry",
        "Column of that name.",
    ),
    planned_param("vars_key_column", STR, "dialog_key", "Column of that name."),
    planned_param(
        "vars_value_column",
        STR,
        "dialog_value",
        "Column of that name.",
    ),
    param(
        "profiles_with_value",
        STR,
        "",
        (
            |c, v| profiles(c, v, true),
            "Profiles that count per value.",
        ),
    ),
    param(
        "profiles_no_value",
        STR,
        "",
        (
            |c, v| profiles(c, v, false),
            "Profiles that count everything.",
        ),
    ),
    param(
        "bridge_controller",
        STR,
        "sip:controller@kamailio.org",
        (
            |c, v| sip_address(v, &mut c.dialog.bridge_controller),
            "From of the INVITE of dlg_bridge, and Referred-By.",
        ),
    ),
    param(
        "bridge_contact",
        STR,
        "sip:controller@kamailio.org:5060",
        (
            |c, v| sip_address(v, &mut c.dialog.bridge_contact),
            "Contact of the requests of dlg_bridge and dlg_refer.",
        ),
    ),
    param(
        "initial_cbs_inscript",
        INT,
        "1",
        (
            |c, v| switch(v, &mut c.dialog.initial_cbs_inscript),
            "Whether callbacks of a new dialog run inside the script.",
        ),
    ),
    param(
        "send_bye",
        INT,
        "0",
        (
            |c, v| flag(v, &mut c.dialog.send_bye),
            "Whether a dialog that expires is hung up.",
        ),
    ),
    param(
        "wait_ack",
        INT,
        "1",
        (
            |c, v| {
                let _: () = c.dialog.wait_ack = v.int() == Some(1);
                Ok(())
            },
            "1: a failed dialog stays until its transaction is gone.",
        ),
    ),
    param(
        "ka_timer",
        INT,
        "0",
        (
            |c, v| whole(v, 0, &mut c.dialog.ka_timer_s),
            "Keep-alives are on; those of calls answered together are spread over so many seconds.",
        ),
    ),
    param(
        "ka_interval",
        INT,
        "0",
        (ka_interval, "Seconds between two keep-alives, 30 at least."),
    ),
    param(
        "ka_failed_limit",
        INT,
        "1",
        (
            |c, v| whole(v, 1, &mut c.dialog.ka_failed_limit),
            "After so many keep-alives without answer a call has ten seconds left.",
        ),
    ),
    param(
        "timeout_noreset",
        INT,
        "0",
        (
            |c, v| switch(v, &mut c.dialog.timeout_noreset),
            "Whether requests in the dialog leave its lifetime.",
        ),
    ),
    param(
        "timer_procs",
        INT,
        "0",
        (
            |_, _| Ok(()),
            "Accepted: each core keeps the timers of its own dialogs.",
        ),
    ),
    planned_param("enable_dmq", INT, "0", "Whether dialogs are replicated."),
    param(
        "track_cseq_updates",
        INT,
        "0",
        (
            |c, v| flag(v, &mut c.dialog.track_cseq_updates),
            "Whether a request that goes again with credentials gets the next CSeq.",
        ),
    ),
    param(
        "lreq_callee_headers",
        STR,
        "",
        (
            |c, v| lines(v, &mut c.dialog.lreq_callee_headers),
            "Headers of requests made here to the callee.",
        ),
    ),
    planned_param(
        "event_callback",
        STR,
        "",
        "Function of an embedded language for events.",
    ),
    param(
        "h_id_start",
        INT,
        "0",
        (
            |c, v| {
                let _: () = c.dialog.h_id_start = v.int().unwrap_or(0).max(-1);
                Ok(())
            },
            "The first h_id, -1 for server_id.",
        ),
    ),
    param(
        "h_id_step",
        INT,
        "1",
        (
            |c, v| {
                let _: () = c.dialog.h_id_step = v.int().unwrap_or(1).clamp(1, 1 << 16) as u32;
                Ok(())
            },
            "The distance of two.",
        ),
    ),
    param(
        "keep_proxy_rr",
        EITHER,
        "0",
        (
            keep_proxy_rr,
            "Whether our own Record-Route is kept in route sets.",
        ),
    ),
];

/// A SIP address of the operator's. It is read once, so by the slower and stricter reader.
fn sip_address(setting: &Setting, to: &mut Box<str>) -> Stored {
    let text = std::str::from_utf8(setting.text().unwrap_or_default()).unwrap_or_default();
    match rsip::Uri::try_from(text) {
        Ok(uri) if uri.scheme.is_some() => {
            *to = text.into();
            Ok(())
        }
        Ok(_) | Err(_) => Err(ParamError("a SIP URI such as sip:controller@example.com")),
    }
}

fn lines(setting: &Setting, to: &mut Box<[u8]>) -> Stored {
    const WANTED: ParamError = ParamError("header fields such as \"Hint: credit expired\\r\\n\"");
    let text = setting.text().unwrap_or_default();
    *to = bye::header_lines(text).ok_or(WANTED)?.into();
    Ok(())
}

fn flag(setting: &Setting, to: &mut bool) -> Stored {
    *to = setting.int().unwrap_or(0) != 0;
    Ok(())
}

fn switch(setting: &Setting, to: &mut bool) -> Stored {
    *to = number(setting, 0, 1, "0 or 1")? == 1;
    Ok(())
}

fn seconds(setting: &Setting, least: i64, to: &mut u32) -> Stored {
    *to = number(setting, least, i32::MAX.into(), "seconds, more than 0")? as u32;
    Ok(())
}

fn duration(setting: &Setting, to: &mut Duration) -> Stored {
    let mut n = 0;
    seconds(setting, 0, &mut n)?;
    *to = Duration::from_secs(n.into());
    Ok(())
}

/// What is no power of two is refused: the original rounds it until its memory is used up.
fn hash_size(config: &mut Modules, setting: &Setting) -> Stored {
    const MAX: i64 = 1 << 20;
    const WANTED: &str = "a power of two up to 1048576 (such as 1024 or 4096)";
    let size = number(setting, i64::MIN, MAX, WANTED)?.max(1) as u32;
    if !size.is_power_of_two() {
        return Err(ParamError(WANTED));
    }
    config.dialog.hash_size = size;
    Ok(())
}

fn rr_param(config: &mut Modules, setting: &Setting) -> Stored {
    const WANTED: ParamError = ParamError("1 to 32 characters of a parameter's name");
    let text = setting
        .text()
        .filter(|t| (1..=32).contains(&t.len()))
        .ok_or(WANTED)?;
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"-_.!%*+`'~".contains(b);
    if !text.iter().all(is_token) {
        return Err(WANTED);
    }
    config.dialog.rr_param = String::from_utf8_lossy(text).into();
    Ok(())
}

fn dlg_flag(config: &mut Modules, setting: &Setting) -> Stored {
    let flag = number(setting, -1, 31, "-1 to 31")?;
    config.dialog.dlg_flag = u8::try_from(flag).ok();
    Ok(())
}

fn timeout_avp(config: &mut Modules, setting: &Setting) -> Stored {
    const WANTED: ParamError = ParamError("an AVP: $avp(name)");
    let text = setting.text().unwrap_or_default().trim_ascii();
    let name = text
        .strip_prefix(b"$avp(")
        .and_then(|rest| rest.strip_suffix(b")"));
    let name = name
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .ok_or(WANTED)?;
    config.dialog.timeout_avp = Some(name.into());
    Ok(())
}

fn match_mode(config: &mut Modules, setting: &Setting) -> Stored {
    config.dialog.match_mode = match number(setting, 0, 2, "0, 1 or 2")? {
        0 => Mode::Cookie,
        1 => Mode::Fallback,
        _ => Mode::Sip,
    };
    Ok(())
}

fn keep_proxy_rr(config: &mut Modules, setting: &Setting) -> Stored {
    config.dialog.keep_proxy_rr = number(setting, 0, 3, "0 to 3")? as u8;
    Ok(())
}

/// A number that is taken to be at least `least`, as the original does silently.
fn whole(setting: &Setting, least: u32, to: &mut u32) -> Stored {
    let value = setting.int().unwrap_or(0).max(0);
    *to = u32::try_from(value).unwrap_or(u32::MAX).max(least);
    Ok(())
}

fn ka_interval(config: &mut Modules, setting: &Setting) -> Stored {
    const DAY_S: i64 = 86_400;
    match setting.int() {
        Some(n @ (0 | 30..=DAY_S)) => {
            config.dialog.ka_interval_s = n as u32;
            Ok(())
        }
        _ => Err(ParamError("0, or 30 seconds up to a day")),
    }
}

fn profiles(config: &mut Modules, setting: &Setting, has_value: bool) -> Stored {
    let list = &mut config.dialog.profiles;
    for name in setting.text().unwrap_or_default().split(|b| *b == b';') {
        let name = name.trim_ascii();
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        if name.is_empty() {
            continue;
        }
        if !name.iter().all(is_name) {
            return Err(ParamError("names of letters, digits and _, separated by ;"));
        }
        let name: Box<str> = String::from_utf8_lossy(name).into();
        if list.iter().any(|p| p.name == name) {
            return Err(ParamError("each profile once"));
        }
        list.push(ProfileSpec { name, has_value });
    }
    Ok(())
}

/// What only the whole configuration shows: calls whose first word names a profile, or a side of
/// a dialog, that there is not. Profiles are let pass when a mistake may hide some.
pub fn check(
    config: &Config,
    program: &Program,
    has_all_profiles: bool,
) -> Vec<(Position, ErrorKind)> {
    let mut wrong = Vec::new();
    for site in program.sites() {
        let name = crate::modules::function(site.function).sig.name;
        let Some(crate::script::Arg::Text(word)) = site.arg(0) else {
            continue;
        };
        let word = program.constant(*word);
        let known: Vec<&str> = match name {
            "set_dlg_profile"
            | "unset_dlg_profile"
            | "is_in_profile"
            | "get_profile_size"
            | "dlg_set_timeout_by_profile" => {
                if !has_all_profiles {
                    continue;
                }
                config.profiles.iter().map(|p| &*p.name).collect()
            }
            // `dlg_refer` takes one side; with `all` it loads, and fails when it runs.
            "dlg_bye" | "dlg_refer" => vec!["caller", "callee", "all"],
            _ => continue,
        };
        if !known.iter().any(|name| name.as_bytes() == word) {
            let what = match name {
                "dlg_bye" | "dlg_refer" => "side of a dialog (caller, callee or all)",
                _ => "profile",
            };
            let word = String::from_utf8_lossy(word);
            wrong.push((site.at, ErrorKind::unknown(what, &word, known)));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use crate::modules::Setup;

    fn load(param: &str, value: &str) -> Result<Setup, String> {
        let text = format!(
            "loadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"dialog.so\"\n\
             modparam(\"dialog\", \"{param}\", {value})\nrequest_route {{ dlg_manage(); }}\n"
        );
        Setup::from_text(&text, 1).map_err(|errors| errors.to_string())
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let table = [
            ("hash_size", "0", true),
            ("hash_size", "1000", false),
            ("hash_size", "10000000", false),
            ("bridge_controller", "\"sip:ctd@kamailio.org\"", true),
            ("bridge_contact", "\"sip:ctd@127.0.0.1:5060\"", true),
            ("bridge_contact", "\"nobody\"", false),
            ("rr_param", "\"xyz\"", true),
            ("rr_param", "\"\"", false),
            ("rr_param", "\"a;b\"", false),
            ("rr_param", "\"123456789012345678901234567890123\"", false),
            ("dlg_flag", "31", true),
            ("dlg_flag", "32", false),
            ("default_timeout", "0", false),
            ("default_timeout", "-5", false),
            ("timeout_avp", "\"$avp(i:10)\"", true),
            ("timeout_avp", "\"nonsense\"", false),
            ("dlg_match_mode", "3", false),
            ("detect_spirals", "2", false),
            ("timeout_noreset", "2", false),
            ("initial_cbs_inscript", "2", false),
            ("wait_ack", "7", true),
            ("keep_proxy_rr", "\"3\"", true),
            ("keep_proxy_rr", "4", false),
            ("db_mode", "4", false),
            ("ka_interval", "29", false),
            ("ka_interval", "30", true),
            ("timer_procs", "1", true),
            ("profiles_with_value", "\" caller ; ;b_2 \"", true),
            ("profiles_with_value", "\"a b\"", false),
            ("profiles_no_value", "\"a;a\"", false),
        ];
        for (param, value, is_good) in table {
            let loaded = load(param, value);
            assert_eq!(loaded.is_ok(), is_good, "{param} {value}: {loaded:?}");
        }
        assert_eq!(
            load("hash_size", "512").unwrap().config.dialog.hash_size,
            512
        );
        let profiles = load("profiles_with_value", "\"b;a\"")
            .unwrap()
            .config
            .dialog
            .profiles;
        assert_eq!(
            profiles.iter().map(|p| &*p.name).collect::<Vec<_>>(),
            ["b", "a"]
        );
    }

    #[test]
    fn a_profile_that_there_is_not_is_found_at_load() {
        let calls = [
            "set_dlg_profile(\"@\", \"x\")",
            "unset_dlg_profile(\"@\", \"x\")",
            "is_in_profile(\"@\")",
            "get_profile_size(\"@\", \"$var(n)\")",
            "get_profile_size(\"@\", \"x\", \"$var(n)\")",
            "dlg_set_timeout_by_profile(\"@\", \"60\")",
            "dlg_set_timeout_by_profile(\"@\", \"x\", \"60\")",
        ];
        for call in calls {
            let load = |name: &str| {
                let text = format!(
                    "loadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\n\
                     loadmodule \"dialog.so\"\n\
                     modparam(\"dialog\", \"profiles_with_value\", \"caller\")\n\
                     request_route {{ {}; }}\n",
                    call.replace('@', name)
                );
                Setup::from_text(&text, 1).map_err(|errors| errors.to_string())
            };
            assert!(load("caller").is_ok(), "{call}: {:?}", load("caller"));
            let errors = load("nosuch").unwrap_err();
            assert!(errors.contains("unknown profile \"nosuch\""), "{errors}");
        }
    }
}
