//! The rules of the house that no compiler checks, read off the sources.
//!
//! Each rule is a row of [`RULES`]: what it forbids, what to do instead, and one snippet that
//! breaks it, on which the rule itself is tested. Rules see the code with comments and the insides
//! of literals blanked out, so that a word in a comment is not an offence; rules about product
//! code see it without its tests.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 120;
const COLUMNS_MAX: usize = 100;

/// Functions that are longer than [`FUNCTION_LINES_MAX`]: path, name, lines. An entry may only
/// shrink, and goes when its function fits.
const LONGER_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// What only `io` and the command may touch.
const WORLD: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "UNIX_EPOCH",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "rand",
    "getrandom",
    "fastrand",
    "libc",
    "glommio",
    "tokio",
    "socket2",
    "signal_hook",
    "core_affinity",
    "hickory_resolver",
];

const DEFAULT_HASHERS: &[&str] = &[
    "HashMap::new",
    "HashMap::with_capacity",
    "HashMap::default",
    "HashSet::new",
    "HashSet::with_capacity",
    "HashSet::default",
    "RandomState::new",
    "RandomState::default",
];

struct Rule {
    name: &'static str,
    instead: &'static str,
    /// The numbers of the lines that break the rule, from 1.
    check: fn(&Source, &[String]) -> Vec<usize>,
    /// Path, text, and the lines that the rule must report.
    bad: (&'static str, &'static str, &'static [usize]),
}

const RULES: &[Rule] = &[
    Rule {
        name: "an import points back",
        instead: "a file may use what stands above it in src/lib.rs; move the shared type up, or \
                  pass what is needed as an argument",
        check: imports_that_point_back,
        bad: (
            "src/slab.rs",
            "//! S.\nuse crate::time::Now;\nuse crate::{time, sip::{uri}};\nfn f() -> \
             crate::shard::Shard {}\nuse super::io;\nuse crate::io;",
            &[3, 4, 5, 6],
        ),
    },
    Rule {
        name: "the world is touched outside src/io and the command",
        instead: "take time, bytes and randomness as arguments (`Now`, `Rng`), and ask for the \
                  rest with an `Effect`",
        check: |s, _| match s.is_product() && !s.is_in(&["src/io/", "src/main.rs", "src/command/"])
        {
            true => lines_with_words(&s.product, WORLD),
            false => vec![],
        },
        bad: (
            "src/sip/x.rs",
            "//! X: std::fs.\nlet t = std::time::Instant::now();\nuse std::fs::read;\nlet brand \
             = \"rand\";\nrand::random();",
            &[2, 3, 5],
        ),
    },
    Rule {
        name: "a table with the default hasher",
        instead: "use `ahash` seeded by `Rng::hasher`, so that runs repeat and no peer can choose \
                  its slot; or a `BTreeMap`",
        check: |s, _| match s.is_product() {
            true => lines_with_words(&s.product, DEFAULT_HASHERS),
            false => vec![],
        },
        bad: (
            "src/x.rs",
            "//! X.\nlet m = HashMap::new();\n#[cfg(test)]\nmod tests {\n  fn f() { \
             HashMap::new(); }\n}\nlet s: A = HashSet::default();",
            &[2, 7],
        ),
    },
    Rule {
        name: "unsafe outside src/io",
        instead: "use the safe interface; what the kernel needs stands in src/io and says why it \
                  is sound",
        check: |s, _| match s.is_in(&["src/io/", "bench/", "perf/kernel.rs"]) {
            true => vec![],
            false => lines_with_words(&s.code, &["unsafe"]),
        },
        bad: (
            "src/x.rs",
            "//! unsafe.\nunsafe { f() }\nlet unsafe_code = 1;",
            &[2],
        ),
    },
    Rule {
        name: "unfinished or left over code",
        instead: "finish it or take it out; what is missing stands in README's table of \
                  differences",
        check: unfinished,
        bad: (
            "src/x.rs",
            "//! X.\nfn f() { todo!() }\nlet a = dbg!(b);\n// FIXME: c\nunimplemented!();\n// \
             XXX\nprintln!();\n// TODO d\nlet s = \"\\\"todo!()\";\neprint!(\"x\");",
            &[2, 3, 4, 5, 6, 7, 8, 10],
        ),
    },
    Rule {
        name: "a test is ignored without a reason",
        instead: "write `#[ignore = \"why, and how to run it\"]`, or repair the test",
        check: |s, _| lines_where(&s.code, |line| line.contains("#[ignore]")),
        bad: (
            "tests/x.rs",
            "//! X.\n#[ignore]\n#[ignore = \"slow\"]",
            &[2],
        ),
    },
    Rule {
        name: "a file has no header",
        instead: "begin it with `//!`: what it is, the RFC sections, what it never does, its costs",
        check: |s, _| match s.text.starts_with("//!") {
            true => vec![],
            false => vec![1],
        },
        bad: ("src/x.rs", "use a;\n//! X.", &[1]),
    },
    Rule {
        name: "a line is longer than 100 columns",
        instead: "break it; `cargo fmt` does so for code, text is yours",
        check: |s, _| lines_where(&s.text, |line| line.chars().count() > COLUMNS_MAX),
        bad: (
            "src/x.rs",
            "//! X.\n//\n// 3456789 123456789 123456789 123456789 123456789 123456789 123456789 \
             123456789 123456789 123456789 1",
            &[3],
        ),
    },
    Rule {
        name: "a file is longer than 1000 lines",
        instead: "it is two things: find the seam and give each its file",
        check: |s, _| match s.text.lines().count() > FILE_LINES_MAX {
            true => vec![FILE_LINES_MAX + 1],
            false => vec![],
        },
        bad: ("src/x.rs", "LONG", &[1001]),
    },
    Rule {
        name: "a function is longer than 120 lines",
        instead: "at 70 look for the seam: let the parent keep the control flow and give the \
                  leaves names",
        check: |s, _| long_functions(s, LONGER_FUNCTIONS),
        bad: ("src/x.rs", "LONG FUNCTION", &[2]),
    },
];

/// One file, in the three forms that rules look at; all have the same lines.
struct Source {
    path: String,
    text: String,
    /// Without comments and the insides of literals.
    code: String,
    /// Also without what stands under `#[cfg(test)]`.
    product: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let code = without_comments_and_literals(text);
        let product = without_tests(&code);
        Source {
            path: path.to_string(),
            text: text.to_string(),
            code,
            product,
        }
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|p| self.path.starts_with(p))
    }

    /// Whether the file is built into the program at all.
    fn is_product(&self) -> bool {
        self.is_in(&["src/"]) && !self.path.contains("/tests/") && !self.path.ends_with("/tests.rs")
    }
}

#[test]
fn the_sources_keep_the_rules() {
    let (layers, sources) = (layers(), sources());
    assert!(sources.len() > 10 && layers.len() > 10);
    let mut offences = String::new();
    for rule in RULES {
        let mut places = String::new();
        for source in &sources {
            for line in (rule.check)(source, &layers) {
                let text = source.text.lines().nth(line - 1).unwrap_or("").trim();
                places += &format!("  {}:{line}: {text}\n", source.path);
            }
        }
        if !places.is_empty() {
            offences += &format!("{}\n  instead: {}\n{places}\n", rule.name, rule.instead);
        }
    }
    assert!(offences.is_empty(), "\n{offences}");
}

#[test]
fn each_rule_sees_what_it_forbids() {
    let layers = ["time", "slab", "sip", "shard", "io", "main"].map(String::from);
    for rule in RULES {
        let (path, text, want) = rule.bad;
        let text = match text {
            "LONG" => "//!\n".repeat(FILE_LINES_MAX + 1),
            "LONG FUNCTION" => {
                format!("//! X.\nfn f() {{\n{}}}\nfn g() {{}}", "a();\n".repeat(119))
            }
            text => text.to_string(),
        };
        let source = Source::new(path, &text);
        assert_eq!((rule.check)(&source, &layers), want, "{}", rule.name);
    }
}

#[test]
fn a_longer_function_may_only_shrink() {
    let text = format!("fn f() {{\n{}}}", "a();\n".repeat(130));
    let check = |entry| long_functions(&Source::new("src/x.rs", &text), &[entry]);
    let table = [
        (("src/x.rs", "f", 132), vec![]),
        (("src/x.rs", "f", 133), vec![1]),
        (("src/x.rs", "f", 131), vec![1]),
        (("src/x.rs", "g", 132), vec![1]),
        (("src/y.rs", "f", 132), vec![1]),
    ];
    for (entry, want) in table {
        assert_eq!(check(entry), want, "{entry:?}");
    }
}

#[test]
fn comments_and_literals_are_blanked() {
    let table = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */\n d */ e", "a             \n      e"),
        (r#""a\"b" c"#, r#""      c"#),
        (r##"r#"a"b"# c"##, r##"r#"      c"##),
        ("b'{' '\\'' 'x' &'x y", "b'   '    '   &'x y"),
        (r#"br"\" c"#, r#"br"   c"#),
        ("for r in x", "for r in x"),
    ];
    for (text, want) in table {
        assert_eq!(without_comments_and_literals(text), want, "{text}");
    }
}

/// The modules in the order of `src/lib.rs`, and the command behind them.
fn layers() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .chain(["main"])
        .map(String::from)
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = vec![];
    let mut folders: Vec<PathBuf> = ["src", "tests", "bench", "perf"]
        .iter()
        .map(|name| root().join(name))
        .filter(|folder| folder.exists())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).expect("below the root");
                let text = fs::read_to_string(&path).expect("UTF-8 source");
                found.push(Source::new(&name.to_string_lossy(), &text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn lines_where(text: &str, is_bad: impl Fn(&str) -> bool) -> Vec<usize> {
    let numbered = text.lines().enumerate();
    numbered
        .filter(|(_, line)| is_bad(line))
        .map(|(n, _)| n + 1)
        .collect()
}

fn lines_with_words(text: &str, words: &[&str]) -> Vec<usize> {
    lines_where(text, |line| words.iter().any(|word| has_word(line, word)))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `line` with no part of a name on either side.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name)
    })
}

fn unfinished(source: &Source, _: &[String]) -> Vec<usize> {
    if !source.is_product() {
        return vec![];
    }
    // Only the command speaks to the terminal; the rest logs with an `Effect`.
    let speaks = !source.is_in(&["src/main.rs", "src/command/", "src/io/"]);
    let code = source.product.lines().zip(source.text.lines());
    code.enumerate()
        .filter(|(_, (code, text))| {
            ["todo!", "unimplemented!", "dbg!"]
                .iter()
                .any(|w| has_word(code, w))
                || ["TODO", "FIXME", "XXX"].iter().any(|w| has_word(text, w))
                || speaks
                    && ["print!", "println!", "eprint!", "eprintln!"]
                        .iter()
                        .any(|w| has_word(code, w))
        })
        .map(|(n, _)| n + 1)
        .collect()
}

fn imports_that_point_back(source: &Source, layers: &[String]) -> Vec<usize> {
    let Some(inside) = source.path.strip_prefix("src/") else {
        return vec![];
    };
    let own = inside.split(['/', '.']).next().unwrap_or("");
    let Some(place) = layers.iter().position(|layer| layer == own) else {
        return vec![];
    };
    // In the first file of a module, `super` is the crate.
    let is_first = !inside.contains('/') || inside.ends_with("/mod.rs") && depth(inside) == 1;
    let roots: &[&str] = if is_first {
        &["crate::", "super::"]
    } else {
        &["crate::"]
    };
    let mut found: Vec<usize> = vec![];
    for root in roots {
        for (at, _) in source.product.match_indices(root) {
            if source.product[..at].ends_with(is_name) {
                continue;
            }
            let names = first_names(&source.product[at + root.len()..]);
            let points_back = |name: &&str| layers[place + 1..].iter().any(|l| l == name);
            if names.iter().any(points_back) {
                found.push(source.product[..at].matches('\n').count() + 1);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn depth(path: &str) -> usize {
    path.matches('/').count()
}

/// The first name of a path, or of each path in `{..}`.
fn first_names(path: &str) -> Vec<&str> {
    let name = |text: &str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else {
        return vec![&path[..name(path)]];
    };
    let (mut names, mut nesting, mut start) = (vec![], 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => nesting += 1,
            ',' | '}' if nesting == 0 => {
                let item = group[start..at].trim_start();
                names.push(&item[..name(item)]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => nesting -= 1,
            _ => {}
        }
    }
    names
}

/// Lines at which a function begins that is too long for the rule and the table of exceptions, or
/// shorter than the table says. Unit tests are left out: a table of cases is as long as it must be.
fn long_functions(source: &Source, longer: &[(&str, &str, usize)]) -> Vec<usize> {
    let mut found = vec![];
    for (at, _) in source.product.match_indices("fn ") {
        let after = &source.product[at + 3..];
        let name = &after[..after.find(|c| !is_name(c)).unwrap_or(after.len())];
        let is_item = !source.product[..at].ends_with(is_name) && !name.is_empty();
        let Some(open) = after.find(['{', ';']).filter(|_| is_item) else {
            continue;
        };
        if after.as_bytes()[open] == b';' {
            continue;
        }
        let lines = after[..block_end(after, open)].matches('\n').count() + 1;
        let allowed = longer
            .iter()
            .find(|(path, function, _)| source.path == *path && name == *function)
            .map(|(_, _, lines)| *lines);
        if lines > allowed.unwrap_or(FUNCTION_LINES_MAX) || allowed.is_some_and(|a| lines < a) {
            found.push(source.product[..at].matches('\n').count() + 1);
        }
    }
    found
}

/// Where the block ends that opens at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut nesting = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => nesting += 1,
            b'}' => {
                nesting -= 1;
                if nesting == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

fn without_tests(code: &str) -> String {
    let mut out = code.to_string();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let Some(open) = code[at..].find(['{', ';']).map(|n| at + n) else {
            continue;
        };
        if code.as_bytes()[open] == b'{' {
            let end = block_end(code, open);
            out.replace_range(at..end, &blank(&code[at..end]));
        }
    }
    out
}

/// Spaces for all but line ends, byte for byte.
fn blank(text: &str) -> String {
    text.bytes()
        .map(|b| if b == b'\n' { '\n' } else { ' ' })
        .collect()
}

fn without_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let kept = opening(rest, &out);
        let (quote, body) = rest.split_at(kept);
        out += quote;
        let hidden = hidden_size(quote, body);
        out += &blank(&body[..hidden]);
        rest = &body[hidden..];
    }
    out
}

/// How many bytes to keep as they are: up to and with the quote that opens a literal (then the
/// literal's inside follows), none at a comment, else one character.
fn opening(rest: &str, before: &str) -> usize {
    if rest.starts_with("//") || rest.starts_with("/*") {
        return 0;
    }
    if rest.starts_with(['r', 'b', 'c']) && !before.ends_with(is_name) {
        let prefix = rest.find(|c| !"rbc".contains(c)).unwrap_or(rest.len());
        let hashes = rest[prefix..].find(|c| c != '#').unwrap_or(0);
        let is_raw = rest[..prefix].ends_with('r');
        if prefix <= 2 && is_raw && rest[prefix + hashes..].starts_with('"') {
            return prefix + hashes + 1;
        }
    }
    rest.chars().next().map_or(0, char::len_utf8)
}

/// How many bytes after `quote` belong to a comment, or to a literal with its closing quote.
fn hidden_size(quote: &str, body: &str) -> usize {
    match quote.as_bytes() {
        [] => comment_size(body),
        [b'"'] => escaped_size(body, b'"'),
        [b'\''] if is_char_literal(body) => escaped_size(body, b'\''),
        [b'r' | b'b' | b'c', .., b'"'] => {
            let end = format!("\"{}", "#".repeat(quote.matches('#').count()));
            body.find(&end).map_or(body.len(), |at| at + end.len())
        }
        _ => 0,
    }
}

/// A literal, not a lifetime.
fn is_char_literal(body: &str) -> bool {
    body.starts_with('\\') || body.chars().nth(1) == Some('\'')
}

/// Bytes up to and with the closing quote.
fn escaped_size(body: &str, quote: u8) -> usize {
    let mut bytes = body.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == quote {
            return at + 1;
        }
        if byte == b'\\' {
            bytes.next();
        }
    }
    body.len()
}

fn comment_size(body: &str) -> usize {
    if body.starts_with("//") {
        return body.find('\n').unwrap_or(body.len());
    }
    let (mut nesting, mut at) = (0usize, 0);
    while at < body.len() {
        match &body.as_bytes()[at..] {
            [b'/', b'*', ..] => (nesting, at) = (nesting + 1, at + 2),
            [b'*', b'/', ..] => (nesting, at) = (nesting - 1, at + 2),
            _ => at += 1,
        }
        if nesting == 0 {
            break;
        }
    }
    at
}
