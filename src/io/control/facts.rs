//! What the system knows of this process, read from `/proc` when somebody asks.

use std::fs;

use crate::modules::rpc::Facts;

/// Looks.
pub(crate) fn look() -> Facts {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let arguments = fs::read("/proc/self/cmdline").unwrap_or_default();
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(&arguments);
    Facts {
        threads: threads(),
        resident_size: kilobytes(&status, "VmRSS:"),
        resident_size_max: kilobytes(&status, "VmHWM:"),
        memory_size: kilobytes(&machine, "MemTotal:"),
        directory: std::env::current_dir().map_or_else(
            |_| String::new(),
            |path| path.to_string_lossy().into_owned(),
        ),
        command_line: arguments
            .split(|b| *b == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
        build: BUILD,
        ..Facts::default()
    }
}

/// As the original names its target.
const BUILD: &str = if cfg!(target_arch = "x86_64") {
    "x86_64/linux"
} else if cfg!(target_arch = "aarch64") {
    "aarch64/linux"
} else {
    "linux"
};

/// Number and name of each thread, by number.
fn threads() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let mut threads: Vec<_> = entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((id, name.trim_end().to_owned()))
        })
        .collect();
    threads.sort_unstable();
    threads
}

/// The number of a line `Name:  1234 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0u64).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let facts = look();
        assert!(
            facts
                .threads
                .iter()
                .any(|(id, _)| *id == std::process::id())
        );
        assert!(facts.resident_size > 0 && facts.resident_size <= facts.resident_size_max);
        assert!(facts.resident_size < facts.memory_size);
        assert!(!facts.command_line.is_empty());
        assert_eq!(kilobytes("A: 1 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), 12 << 10);
        assert_eq!(kilobytes("VmRSS: many kB\n", "VmRSS:"), 0);
    }
}
