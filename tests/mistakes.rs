//! All mistakes of a configuration show at once: in order, each once, and none that only comes of
//! another.
//!
//! `tests/mistakes/*.cfg` are configurations with many mistakes in the names of this proxy, and
//! next to each stands (`.err`) what the loader says; `UPDATE_EXPECT=1` writes those anew.

use std::fs;
use std::path::{Path, PathBuf};

use dialcore::modules::load::{Request, load};
use dialcore::script::{ConfigErrors, Source};

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
    let request = Request {
        path,
        defines: &[],
        listen: &[],
        no_tcp: false,
        shard_count: 1,
        resolve: &|_| Vec::new(),
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
