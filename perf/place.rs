//! Where and of what a result is.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What every result says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The command line.
    pub(crate) command: String,
    /// The commit of the tree; `+` behind it when files differ from that.
    pub(crate) commit: String,
    /// Processor, cores, memory.
    pub(crate) machine: String,
    /// The kernel's release.
    pub(crate) kernel: String,
}

impl Place {
    /// Here and now.
    pub(crate) fn here() -> Place {
        let args: Vec<String> = std::env::args().skip(1).collect();
        Place {
            command: format!("perf {}", args.join(" ")),
            commit: commit(),
            machine: machine(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// The sentence above a table of README.md.
    pub(crate) fn origin(&self) -> String {
        let (command, commit, where_it_was) = (&self.command, &self.commit, self.computer());
        format!("`{command}` at commit {commit},\non {where_it_was}:")
    }

    /// The lines above a table.
    pub(crate) fn head(&self) -> String {
        let (command, commit, where_it_was) = (&self.command, &self.commit, self.computer());
        format!("{command}\ncommit {commit}, {where_it_was}\n")
    }

    fn computer(&self) -> String {
        format!("{}, Linux {}", self.machine, self.kernel)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".into();
    };
    // What is measured stands in these.
    const WHAT: [&str; 4] = ["src", "perf", "Cargo.toml", ":(exclude)perf/results"];
    let changed = git(&[&["status", "--porcelain", "--"], &WHAT[..]].concat());
    let mark = if changed.is_none_or(|c| c.is_empty()) {
        ""
    } else {
        "+"
    };
    commit + mark
}

fn machine() -> String {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find(|l| l.starts_with("model name"));
    let model = model
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or("unknown");
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    format!(
        "{cores} cores, {model}, {} GiB",
        memory_kib("MemTotal") >> 20
    )
}

/// A line of `/proc/meminfo`, in KiB.
pub(crate) fn memory_kib(name: &str) -> u64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find(|l| l.starts_with(name));
    let value = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
    value.unwrap_or(0)
}

/// Writes a result for programs: `NAME.json` in a folder.
pub(crate) fn write_json(folder: &Path, name: &str, result: &impl Serialize) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(result).map_err(io::Error::other)?;
    fs::write(folder.join(format!("{name}.json")), json + "\n")
}

/// Reads such a result back.
pub(crate) fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> io::Result<T> {
    let file = folder.join(format!("{name}.json"));
    let failed =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(&file).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known() {
        let place = Place::here();
        for text in [&place.command, &place.commit, &place.machine, &place.kernel] {
            assert!(!text.is_empty() && !text.contains("unknown"), "{place:?}");
        }
        assert!(memory_kib("MemTotal") > 0);
    }
}
