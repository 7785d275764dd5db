//! Every name that a configuration may use stands in a script whose outcome is compared: in
//! `tests/script/cases`, in `tests/script`, or in `tests/same`, which Kamailio has run, too.
//!
//! What no script names stands in `tests/script/uncovered.txt`, which can only shrink: a new name
//! needs a script, and a line whose name has one must go. `UPDATE_EXPECT=1` takes such lines out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dialcore::modules::all;
use dialcore::script::transformations;

use super::cases::{directory, files};

/// Statements, operators and words of the language, and how a script that has them reads.
const LANGUAGE: &[(&str, &str)] = &[
    ("if", "if ("),
    ("else", "else "),
    ("while", "while ("),
    ("switch", "switch ("),
    ("case", "case "),
    ("case /", "case /\""),
    ("default", "default:"),
    ("break", "break;"),
    ("return", "return;"),
    ("return N", "return -"),
    ("exit", "exit;"),
    ("drop", "drop;"),
    ("route()", "route("),
    ("request_route", "request_route {"),
    ("route[]", "\nroute["),
    ("failure_route", "failure_route["),
    ("branch_route", "branch_route["),
    ("onreply_route", "onreply_route["),
    ("reply_route", "reply_route {"),
    ("onsend_route", "onsend_route {"),
    ("event_route", "event_route["),
    ("loadmodule", "loadmodule \""),
    ("loadmodulex", "loadmodulex \""),
    ("modparam", "modparam("),
    ("modparamx", "modparamx("),
    ("mpath", "mpath"),
    ("flags", "flags "),
    ("listen", "listen="),
    ("advertise", " advertise "),
    ("name", " name \""),
    ("alias", "alias="),
    ("custom parameter", " desc \""),
    ("#!define", "#!define "),
    ("#!trydef", "#!trydef "),
    ("#!redef", "#!redef "),
    ("#!ifdef", "#!ifdef "),
    ("#!ifndef", "#!ifndef "),
    ("#!else", "#!else"),
    ("#!endif", "#!endif"),
    ("#!subst", "#!subst "),
    ("#!substdef", "#!substdef "),
    ("#!substdefs", "#!substdefs "),
    ("#!defenv", "#!defenv "),
    ("include_file", "include_file \""),
    ("import_file", "import_file \""),
    ("||", " || "),
    ("or", " or "),
    ("&&", " && "),
    ("and", " and "),
    ("|", " | "),
    ("&", " & "),
    ("^", " ^ "),
    ("<<", " << "),
    (">>", " >> "),
    ("==", " == "),
    ("!=", " != "),
    ("=~", " =~ "),
    ("eq", " eq "),
    ("ne", " ne "),
    ("ieq", " ieq "),
    ("ine", " ine "),
    (">", " > "),
    ("<", " < "),
    (">=", " >= "),
    ("<=", " <= "),
    ("+", " + "),
    ("-", " - "),
    ("*", " * "),
    ("/", " / "),
    ("mod", " mod "),
    ("!", "!"),
    ("not", "not "),
    ("unary -", "(-"),
    ("~", "~"),
    ("defined", "defined $"),
    ("(int)", "(int)"),
    ("(str)", "(str)"),
    ("strlen", "strlen("),
    ("strempty", "strempty("),
    ("selval", "selval("),
    ("method", "method =="),
    ("uri", "uri =="),
    ("from_uri", "from_uri =="),
    ("to_uri", "to_uri =="),
    ("status", "status =="),
    ("src_ip", "src_ip =="),
    ("dst_ip", "dst_ip =="),
    ("snd_ip", "snd_ip =="),
    ("to_ip", "to_ip =="),
    ("src_port", "src_port =="),
    ("dst_port", "dst_port =="),
    ("snd_port", "snd_port =="),
    ("to_port", "to_port =="),
    ("msg:len", "msg:len "),
    ("max_len", " max_len"),
    ("proto", "proto =="),
    ("snd_proto", "snd_proto =="),
    ("af", "(af =="),
    ("snd_af", "snd_af =="),
    ("myself", "== myself"),
    ("myself ==", "myself == "),
    ("$rc", "$rc"),
    ("$retcode", "$retcode"),
    ("$?", "$?"),
    ("$null", "$null"),
    ("$true", "$true"),
    ("$def", "$def("),
    ("$defn", "$defn("),
    ("$_s", "$_s("),
    ("@select", "@cfg_get."),
];

/// The text of a configuration without comments.
fn without_comments(text: &str) -> String {
    let is_code = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("#!") || !line.starts_with(['#', '/'])
    };
    let lines: Vec<&str> = text.lines().filter(is_code).collect();
    lines.join("\n")
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Whether `needle` stands in the text with no letter before it, and before what `ends` accepts.
fn has(text: &str, needle: &str, ends: impl Fn(&[u8]) -> bool) -> bool {
    text.match_indices(needle).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| text.as_bytes()[at]);
        let starts = !needle.starts_with(|c: char| c.is_ascii_alphabetic())
            || before.is_none_or(|b| !is_name(b));
        starts && ends(&text.as_bytes()[at + needle.len()..])
    })
}

fn has_function(text: &str, name: &str) -> bool {
    has(text, name, |rest| {
        rest.trim_ascii_start().starts_with(b"(") || rest.starts_with(b";")
    })
}

fn has_variable(text: &str, name: &str) -> bool {
    // In running text a dot may end the sentence.
    let ends = |rest: &[u8]| match rest {
        [b'.', next, ..] => !is_name(*next),
        [next, ..] => !is_name(*next),
        [] => true,
    };
    has(text, &format!("${name}"), ends) || has(text, &format!("$({name}"), ends)
}

fn has_transformation(text: &str, name: &str) -> bool {
    let ends = |rest: &[u8]| matches!(rest.first(), Some(b',' | b'}'));
    has(text, &format!("{{{name}"), ends)
}

/// What no script of the given text names.
fn missing(text: &str) -> BTreeSet<String> {
    let mut missing = missing_language(text);
    let mut check = |is_there: bool, line: String| {
        if !is_there {
            missing.insert(line);
        }
    };
    for module in all().iter().filter(|m| !m.planned) {
        for f in module.functions.iter().filter(|f| !f.sig.planned) {
            let name = f.sig.name;
            let line = format!("function {}: {name}", module.name);
            check(has_function(text, name), line);
        }
        for v in module.variables.iter().filter(|v| !v.sig.planned) {
            let name = v.sig.name;
            let line = format!("variable {}: ${name}", module.name);
            check(has_variable(text, name), line);
        }
    }
    for (name, _) in transformations() {
        check(
            has_transformation(text, name),
            format!("transformation {name}"),
        );
    }
    missing
}

/// What no script of the given text has of statements, operators and words of the language.
fn missing_language(text: &str) -> BTreeSet<String> {
    let missing = LANGUAGE
        .iter()
        .filter(|(_, needle)| !has(text, needle, |_| true));
    missing
        .map(|(name, _)| format!("language {name}"))
        .collect()
}

/// All scripts whose outcome is compared.
fn scripts() -> String {
    texts(&[directory(), directory().join("cases"), same()])
}

/// The scripts that Kamailio has run, too.
fn same() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/same")
}

fn texts(directories: &[PathBuf]) -> String {
    let text = directories
        .iter()
        .flat_map(|directory| files(directory, "cfg"))
        .filter(|path| path.with_extension("err").metadata().is_err())
        .map(|path| fs::read_to_string(path).expect("a configuration"))
        .collect::<Vec<_>>()
        .join("\n");
    without_comments(&text)
}

#[test]
fn every_name_has_a_script() {
    let list = directory().join("uncovered.txt");
    let text = fs::read_to_string(&list).expect("the list");
    let (head, listed): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with('#'));
    let listed: BTreeSet<String> = listed
        .into_iter()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    let missing = missing(&scripts());
    let new: Vec<_> = missing.difference(&listed).collect();
    assert!(
        new.is_empty(),
        "no script in tests/script or tests/same names these: {new:#?}"
    );
    let done: Vec<_> = listed.difference(&missing).collect();
    if !done.is_empty() && std::env::var_os("UPDATE_EXPECT").is_some() {
        let lines: Vec<&str> = head
            .into_iter()
            .chain(missing.iter().map(String::as_str))
            .collect();
        fs::write(&list, lines.join("\n") + "\n").expect("the tree is writable");
        return;
    }
    assert!(
        done.is_empty(),
        "scripts name these; take them out of {}: {done:#?}",
        list.display()
    );
}

/// What of the language and of the core's functions the two programs cannot be compared on.
const NOT_COMPARED: &[(&str, &str)] = &[(
    "language max_len",
    "Kamailio 5.6.3 reads the word and takes it in no comparison",
)];

/// Statements, operators and functions of the core do what they do in Kamailio.
#[test]
fn the_language_is_compared_with_kamailio() {
    let text = texts(&[same()]);
    let mut missing = missing_language(&text);
    for f in all()[0].functions.iter().filter(|f| !f.sig.planned) {
        if !has_function(&text, f.sig.name) {
            missing.insert(format!("function {}", f.sig.name));
        }
    }
    let excused: BTreeSet<String> = NOT_COMPARED.iter().map(|(n, _)| n.to_string()).collect();
    assert_eq!(missing, excused, "tests/same against NOT_COMPARED");
}

#[test]
fn a_name_is_found_as_a_word() {
    let text = "forward_tcp(); append_hf(\"$rU. $(ru{uri.host})\"); force_rport; $xavp(a=>b)";
    assert!(has_function(text, "forward_tcp") && !has_function(text, "forward"));
    assert!(has_function(text, "force_rport") && !has_function(text, "rport"));
    assert!(has_variable(text, "rU") && has_variable(text, "ru"));
    assert!(has_variable(text, "xavp") && !has_variable(text, "r"));
    assert!(has_transformation(text, "uri.host") && !has_transformation(text, "uri.h"));
}
