//! Results as README.md shows them, so that what it says and what was measured cannot differ.
//!
//! ```text
//!   <!-- perf:NAME -->       what stands between the two is printed from
//!   <!-- perf:end -->        perf/results/NAME.json
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::compare::Comparison;
use crate::overload::Overload;
use crate::place::read_json;
use crate::segments::Segments;

const END: &str = "<!-- perf:end -->";

/// What is to be printed, and where.
#[derive(clap::Args, Debug)]
pub(crate) struct Wanted {
    /// Names of results.
    #[arg(default_values = ["compare", "compare-apart"])]
    names: Vec<String>,
    /// The file, in place of standard output: what stands between `<!-- perf:NAME -->` and
    /// `<!-- perf:end -->` is printed anew.
    #[arg(long, conflicts_with = "names")]
    write: Option<PathBuf>,
    /// The folder of the results.
    #[arg(long, default_value = "perf/results")]
    results: PathBuf,
}

/// Prints it.
pub(crate) fn run(wanted: &Wanted) -> io::Result<()> {
    if let Some(file) = &wanted.write {
        return renew(file, &wanted.results);
    }
    for name in &wanted.names {
        println!("{}", table(&wanted.results, name)?);
    }
    Ok(())
}

/// One result as a table.
fn table(folder: &Path, name: &str) -> io::Result<String> {
    // Each command has sizes of its own.
    let result: Json = read_json(folder, name)?;
    let has = |size: &str| !result["sizes"][size].is_null();
    match () {
        () if has("rates") => Ok(read_json::<Comparison>(folder, name)?.markdown()),
        () if has("factors") => Ok(read_json::<Overload>(folder, name)?.markdown()),
        () if has("counts") => Ok(read_json::<Segments>(folder, name)?.markdown()),
        () => {
            let text = format!("{name}: only compare, overload and segments have a table");
            Err(io::Error::other(text))
        }
    }
}

/// The text with each result between its marks, printed anew.
fn renewed(text: &str, folder: &Path) -> io::Result<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("<!-- perf:") {
        let mark_end = rest[start..].find("-->").map(|at| start + at + 3);
        let end = rest[start..].find(END).map(|at| start + at);
        let (Some(mark_end), Some(end)) = (mark_end, end) else {
            return Err(io::Error::other("a mark of a result has no end"));
        };
        let name = rest[start + 10..mark_end - 3].trim();
        out += &rest[..mark_end];
        out.push('\n');
        out += table(folder, name)?.trim_end();
        out.push('\n');
        out += END;
        rest = &rest[end + END.len()..];
    }
    Ok(out + rest)
}

/// Writes them into a file.
fn renew(file: &Path, folder: &Path) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let renewed = renewed(&text, folder)?;
    match renewed == text {
        true => Ok(()),
        false => fs::write(file, renewed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_was_measured() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(root.join("README.md")).expect("README.md");
        assert!(text.contains("<!-- perf:compare -->"));
        let renewed = renewed(&text, &root.join("perf/results")).expect("results");
        assert!(renewed == text, "perf report --write README.md");
    }

    #[test]
    fn marks_need_results_and_ends() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("perf/results");
        assert_eq!(renewed("no marks", &folder).expect("nothing"), "no marks");
        for bad in [
            "<!-- perf:compare -->",
            "<!-- perf:nothing -->\n<!-- perf:end -->",
        ] {
            assert!(renewed(bad, &folder).is_err(), "{bad}");
        }
        let text = format!("a\n<!-- perf:compare -->\nold\n{END}\nb");
        let new = renewed(&text, &folder).expect("a result");
        assert!(
            new.starts_with("a\n<!-- perf:compare -->\n`perf compare"),
            "{new}"
        );
        assert!(
            new.ends_with(&format!("|\n{END}\nb")) && !new.contains("old"),
            "{new}"
        );
    }
}
