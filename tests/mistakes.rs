//! All mistakes of a configuration show at once: in order, each once, and none that only comes of
//! another.
//!
//! `tests/mistakes/*.cfg` are configurations with many mistakes in the names of this proxy, and
//! next to each stands (`.err`) what the loader says; `UPDATE_EXPECT=1` writes those anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dialcore::modules::load::{Request, load};
use dialcore::script::{ConfigErrors, ErrorKind, Source};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

struct Files;

impl Source for Files {
    fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        fs::read(directory().join(path)).ok()
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

fn mistakes(path: &str) -> ConfigErrors {
    mistakes_with(path, &[])
}

fn mistakes_with(path: &str, defines: &[(String, String)]) -> ConfigErrors {
    let request = Request {
        path,
        defines,
        listen: &[],
        no_tcp: false,
        shard_count: 1,
        resolve: &|_| Vec::new(),
        name_of: &|_| None,
        auto_aliases: None,
    };
    match load(request, &mut Files) {
        Ok(_) => panic!("{path} loads"),
        Err(errors) => errors,
    }
}

fn configurations() -> Vec<String> {
    let entries = fs::read_dir(directory()).expect("the directory is part of the tree");
    let names = entries.map(|entry| entry.expect("a readable directory").file_name());
    let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(".cfg"));
    names.sort();
    names
}

#[test]
fn all_mistakes_show_as_expected() {
    let mut wrong = String::new();
    for name in configurations() {
        let found = format!("{}\n", mistakes(&name));
        let expected = directory().join(&name).with_extension("err");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &found).expect("the tree is writable");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong += &format!("{name} differs from {}:\n{found}\n", expected.display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn mistakes_come_in_order_and_once() {
    for name in configurations() {
        let ConfigErrors(found) = mistakes(&name);
        for pair in found.windows(2) {
            assert!(
                pair[0].at <= pair[1].at && pair[0] != pair[1],
                "{name}: {}",
                pair[1]
            );
        }
    }
}

/// The configuration that Kamailio's package installs: of its modules only those are refused that
/// are not offered, and what uses them, whatever it switches on.
#[test]
fn the_default_configuration_lacks_only_what_is_not_offered() {
    const PATH: &str = "/etc/kamailio/kamailio.cfg";
    if !Path::new(PATH).exists() {
        eprintln!("{PATH} is not there, and was not looked at");
        return;
    }
    let plain = "usrloc registrar acc save lookup";
    let table = [
        ("WITH_NOTHING", ""),
        ("WITH_DEBUG", " debugger"),
        ("WITH_NAT", " rtpproxy rtpproxy_manage"),
        ("WITH_ANTIFLOOD", ""),
        ("WITH_PSTN", ""),
        ("WITH_VOICEMAIL", ""),
        ("WITH_BLOCK3XX", ""),
        ("WITH_BLOCK401407", ""),
        ("WITH_JSONRPC", ""),
    ];
    for (define, more) in table {
        let defines = [(define.to_string(), String::new())];
        let ConfigErrors(found) = mistakes_with(PATH, &defines);
        let names = found.iter().map(|error| match &error.kind {
            ErrorKind::ModuleUnknown { name, near: None } => name.clone(),
            ErrorKind::FunctionUnknown { name, .. } => name.clone(),
            _ => panic!("{define}: {error}"),
        });
        let names: BTreeSet<String> = names.collect();
        let wanted = format!("{plain}{more}");
        let wanted: BTreeSet<String> = wanted.split(' ').map(String::from).collect();
        assert_eq!(names, wanted, "{define}");
    }
}

/// Two files, syntax, names and values: nothing hides anything else.
#[test]
fn one_run_finds_mistakes_of_every_kind() {
    let ConfigErrors(found) = mistakes("all.cfg");
    let in_file = |file: &str| found.iter().filter(|e| &*e.file == file).count();
    assert!(
        in_file("all.cfg") >= 25 && in_file("all.inc") >= 6,
        "{}",
        found.len()
    );
}
