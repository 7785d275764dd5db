//! The configuration language from text to log.
//!
//! Rows: one expression or statement, and what it logs. Files: `tests/script/*.cfg` with what
//! they log (`.log`) or what is wrong with them (`.err`) next to them; `UPDATE_EXPECT=1` writes
//! those anew. Expectations are what the original shows, except where the reference says so.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use dialcore::rng::Rng;
use dialcore::script::sample::{VOCABULARY, World, fuzz_config, load_text};
use dialcore::script::{Program, RouteKind, Source, Vm, load};

const MODULES: &str = "loadmodule \"xlog\" loadmodule \"pv.so\" loadmodule \"tm\"
loadmodule \"textops\" loadmodule \"sample\"\n";

/// What a body of `request_route` logs, lines joined by `|`, and how it ends unless by its end.
fn log_of(body: &str) -> String {
    let text = format!("{MODULES}request_route {{ {body} }}\n{BLOCKS}");
    let program = match load_text(text.as_bytes()) {
        Ok(program) => program,
        Err(errors) => return format!("error: {}", errors.0[0].kind),
    };
    let mut world = World::default();
    let end = world.run(&mut Vm::new(), &program, RouteKind::Request);
    let end = format!("{:?}", end.expect("the block is there"));
    if end != "Return(1)" {
        world.lines.push(end);
    }
    world.lines.join("|")
}

/// Blocks that the rows call.
const BLOCKS: &str = r#"
route[ONE] { xlog("one"); }
route[NEG] { return -3; }
route[TWO] { return 2; }
route[ZERO] { return 0; }
route[EXIT] { exit; }
route[DROP] { drop; }
route[BREAK] { if ($var(zero) == 0) { break; } xlog("not reached"); }
route[DEEP] { $var(d) = $var(d) + 1; route(DEEP); }
route[5] { xlog("five"); }
branch_route[b] { xlog("branch $rc"); return 4; }
failure_route[f] { xlog("failure"); }
"#;

fn check_rows(rows: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (body, expected) in rows {
        let found = log_of(body);
        if found != *expected {
            let _ = writeln!(wrong, "{body}\n  expected {expected}\n  found    {found}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn expressions_have_their_values() {
    let rows = [
        // Precedence.
        ("5 & 4 == 4", "1"),
        ("1|6&3", "3"),
        ("6 & 3 ^ 1", "2"),
        ("1 + 2 * 3", "7"),
        ("10 - 4 - 3", "3"),
        ("1 << 2 > 3", "1"),
        ("(1 + 2) * 3", "9"),
        ("7 mod 4 + 1", "4"),
        ("!$var(zero) + 1", "2"),
        ("2 == 2 && 3 == 3", "1"),
        ("1 or 0 and 0", "1"),
        ("-7/2", "-3"),
        ("-7 mod 3", "-1"),
        ("~0", "-1"),
        ("1 << 3", "8"),
        ("-8 >> 1", "-4"),
        ("- $var(seven)", "-7"),
        ("9223372036854775807 + $var(one)", "-9223372036854775808"),
        // Numbers.
        ("0x1F", "31"),
        ("010", "8"),
        ("101b", "5"),
        ("yes + on", "2"),
        ("off", "0"),
        // `+` is decided by its left side.
        (r#""5" + $var(seven)"#, "57"),
        (r#"$var(seven) + $ci"#, "7"),
        (r#"$var(seven) + $hdr(N)"#, "14"),
        ("$hdr(N) + 1", "71"),
        ("$avp(none) + 5", "5"),
        (r#""a" + "b" + $rm"#, "abINVITE"),
        (r#""5" + 7"#, "57"),
        (r#""10" == 10"#, "1"),
        (r#""010" == 10"#, "0"),
        // Comparisons.
        (r#""10" == $var(ten)"#, "1"),
        (r#"$rm == "invite""#, "0"),
        (r#"$rm =~ "^inv""#, "1"),
        (r#"$rm =~ $hdr(X)"#, "0"),
        ("$avp(none) == 0", "1"),
        (r#"$avp(none) == """#, "1"),
        ("$avp(none) == $null", "1"),
        ("$null != $ci", "1"),
        ("$var(new) == $null", "0"),
        ("$hdr(N) ieq 7", "1"),
        (r#""007" eq "7""#, "0"),
        (r#"$var(seven) eq "7""#, "1"),
        ("$hdr(N) ine 6", "1"),
        ("$var(seven) > $hdr(X)", "1"),
        // Truth.
        ("$var(minus) && $var(one)", "1"),
        ("$var(minus) || $var(zero)", "1"),
        ("!$var(minus)", "0"),
        ("!$rm", "1"),
        ("not 0", "1"),
        ("defined $avp(none)", "0"),
        ("defined $ci", "1"),
        // Functions of the language.
        ("strlen($rm)", "6"),
        ("strlen($avp(none))", "0"),
        ("strempty($avp(none))", "1"),
        (r#"strempty("x")"#, "0"),
        (r#"selval($var(ten) > 3, "big", "small")"#, "big"),
        ("(int)$hdr(N) + 1", "8"),
        ("(str)$var(ten) + 1", "101"),
        (r#"(int)"12abc""#, "0"),
        ("($var(z) = 4)", "1"),
        // Calls as operands are 1 or 0.
        ("give(5) + 1", "2"),
        ("give(-3) == -3", "0"),
        ("!give(-3)", "1"),
        ("route(NEG) == -3", "0"),
        ("route(TWO) + 0", "1"),
        // Strings do not expand variables.
        (r#""sip:$rU@h""#, "sip:$rU@h"),
        ("$_s(sip:$rm@h)", "sip:INVITE@h"),
        ("'a\\n' + \"\\x41\\101\"", "a\\nAA"),
        // Keywords.
        ("method == invite", "1"),
        ("!method == INVITE", "0"),
        ("uri == myself", "1"),
        ("!uri == myself", "0"),
        ("from_uri != myself", "1"),
        ("myself == dst_ip", "1"),
        ("uri =~ \"ALICE\"", "1"),
        ("uri == \"SIP:alice@example.com:5070;transport=tcp\"", "1"),
        ("src_ip == 10.0.0.0/8", "1"),
        ("src_ip == 10.1.0.0/255.255.255.0", "0"),
        ("src_ip != 10.1.2.3", "0"),
        ("dst_ip == [2001:db8::1]", "1"),
        ("src_ip == \"10.1.2.3\"", "1"),
        ("src_port >= 5070", "1"),
        ("msg:len > max_len", "0"),
        ("proto == UDP", "1"),
        ("af == INET6", "0"),
        // Variables.
        ("$(hdr(X)[1])", "x1"),
        ("$(hdr(X)[-1])", "x2"),
        ("$(hdr(X)[$var(one)])", "x1"),
        ("$(hdr(X)[*])", "x0,x1,x2"),
        ("$hdr($hdr(none))", "<null>"),
        ("$af(id)", "2"),
        ("$(from.user)", "bob"),
        ("@cfg_get.a.b", "cfg_get.a.b"),
        ("$def(NONE)", "<null>"),
    ];
    let setup = "$var(seven) = 7; $var(ten) = 10; $var(one) = 1; $var(minus) = -2;";
    let mut wrong = String::new();
    for (expression, expected) in rows {
        let body = format!("{setup} $vn(r) = {expression}; xlog(\"$vn(r)\");");
        let found = log_of(&body);
        if found != expected {
            let _ = writeln!(wrong, "{expression}: expected {expected}, found {found}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const STATEMENTS: &[(&str, &str)] = &[
    // `if` holds for what is more than 0.
    ("if ($var(x) - 1) xlog(\"yes\"); else xlog(\"no\");", "no"),
    ("if ($rm) xlog(\"yes\"); else xlog(\"no\");", "no"),
    ("if ($hdr(N)) { xlog(\"yes\"); }", "yes"),
    ("if $var(x) == 0 { xlog(\"yes\"); }", "yes"),
    (
        "if (give(-1)) xlog(\"a\"); else if (give(2)) xlog(\"b\"); else xlog(\"c\");",
        "b",
    ),
    ("if (1 == 2) ; else { ; } xlog(\"z\");", "z"),
    // `while` goes on for what is not 0.
    (
        "$var(i) = -2; while ($var(i)) { $var(i) = $var(i) + 1; xlog(\"$var(i)\"); }",
        "-1|0",
    ),
    (
        "while (1) { $var(i) = $var(i) + 1; if ($var(i) == 3) break; } xlog(\"$var(i)\");",
        "3",
    ),
    (
        "while (1) { $var(i) = $var(i) + 1; } xlog(\"$var(i)\");",
        "ERROR: test.cfg:3: runaway while, left after 100 rounds|100",
    ),
    // `switch` falls through.
    (
        "switch (2) { case 1: xlog(\"1\"); case 2: xlog(\"2\"); case 3: xlog(\"3\"); break; \
             default: xlog(\"d\"); }",
        "2|3",
    ),
    (
        "switch ($rm) { case \"invite\": xlog(\"a\"); break; case \"INVITE\": xlog(\"b\"); }",
        "b",
    ),
    (
        "switch ($rm) { case /\"^inv\": xlog(\"a\"); break; default: xlog(\"d\"); }",
        "d",
    ),
    ("switch ($rm) { case /\"^INV\": xlog(\"a\"); }", "a"),
    (
        "switch ($avp(n)) { case \"x\": xlog(\"x\"); break; default: xlog(\"d\"); }",
        "d",
    ),
    (
        "switch ($avp(n)) { case 0: xlog(\"0\"); break; default: xlog(\"d\"); }",
        "0",
    ),
    (
        "switch ($var(x)) { default: xlog(\"d\"); case -1: xlog(\"-1\"); }",
        "d|-1",
    ),
    ("switch (5) { case 1: xlog(\"1\"); } xlog(\"z\");", "z"),
    (
        "switch (give(3)) { case 1: xlog(\"1\"); break; case 3: xlog(\"3\"); }",
        "1",
    ),
    // Ends of blocks.
    ("route(ONE); xlog(\"$rc\");", "one|1"),
    ("route(NEG); xlog(\"$rc $retcode $?\");", "-3 -3 -3"),
    ("$var(r) = route(NEG); xlog(\"$var(r)\");", "-3"),
    ("$var(r) = give(-478); xlog(\"$var(r) $rc\");", "-478 -478"),
    ("route(BREAK); xlog(\"$rc\");", "0"),
    ("if (route(BREAK)) xlog(\"yes\"); else xlog(\"no\");", "no"),
    (
        "if (route(ZERO)) { xlog(\"no\"); } xlog(\"no\");",
        "Return(0)",
    ),
    ("$var(r) = route(EXIT); xlog(\"no\");", "Exit"),
    ("if (1 + route(DROP)) xlog(\"no\");", "Drop"),
    ("if (give(0)) xlog(\"no\"); xlog(\"no\");", "Exit"),
    ("quit(); xlog(\"no\");", "Exit"),
    ("discard(); xlog(\"no\");", "Drop"),
    ("return 2 + 3;", "Return(5)"),
    ("return;", ""),
    ("return(-1);", "Return(-1)"),
    ("return give(-5);", "Return(0)"),
    ("exit; xlog(\"no\");", "Exit"),
    ("drop();", "Drop"),
    (
        "while (1) { switch (1) { case 1: return 3; } }",
        "Return(3)",
    ),
    // Names of routes.
    ("route(5); route(\"ONE\");", "five|one"),
    ("$var(n) = \"ONE\"; route($var(n));", "one"),
    ("route(\"O\" + \"NE\");", "one"),
    (
        "route(\"A_\" + $rm); xlog(\"on\");",
        "ERROR: test.cfg:3: there is no route[A_INVITE]|on",
    ),
    (
        "route(DEEP); xlog(\"$var(d)\");",
        "ERROR: test.cfg:12: too many nested route calls|255",
    ),
    // `$rc` is what modules and routes returned.
    (
        "give(7); setflag(3); force_rport; $var(x) = 5; xlog(\"$rc\");",
        "7",
    ),
    ("give(7); xlog(\"a\"); xlog(\"$rc\");", "a|1"),
    // What cannot be computed changes nothing.
    (
        "$var(x) = 7; $var(x) = 5 / $var(z); xlog(\"$var(x)\");",
        "ERROR: test.cfg:3: division by zero|7",
    ),
    (
        "if (5 mod $var(z)) xlog(\"yes\"); else xlog(\"no\");",
        "ERROR: test.cfg:3: division by zero|no",
    ),
    (
        "$ru = \"x\"; xlog(\"on\");",
        "ERROR: test.cfg:3: assignment failed: it cannot be assigned here|on",
    ),
    // Variables.
    (
        "$avp(a) = 1; $avp(a) = 2; xlog(\"$avp(a) $(avp(a)[1]) $cnt($avp(a))\");",
        "2 1 2",
    ),
    (
        "$avp(a) = 1; $avp(a) = 2; $avp(a) = $null; xlog(\"$avp(a)\");",
        "1",
    ),
    (
        "$vn(x) = $vn(x) + 1; $vn(x) = $vn(x) + 1; xlog(\"$vn(x)\");",
        "11",
    ),
    ("$sht(t=>$ci) = 4; xlog(\"$sht(t=>call-1@host)\");", "4"),
    ("$avp($rm) = 3; xlog(\"$avp(INVITE)\");", "3"),
    // Arguments.
    (
        "xlog(\"R $rm at $(ru{uri.host}) for 5$$ [$avp(none)] [$(avp(none){s.len})]\");",
        "R INVITE at example.com for 5$ [<null>] []",
    ),
    (
        "xlog(\"L_INFO\", \"a\" + $rm); xlog(2, \"b\"); xlog(\"$var(x)\", \"c\");",
        "INFO aINVITE|INFO b|WARNING c",
    ),
    (
        "single(\"Busy $rm\"); single(\"$rm\"); single($rm);",
        "single Busy $rm|single INVITE|single INVITE",
    ),
    (
        "put(\"$avp(o)\", \"v $rm\"); xlog(\"$avp(o)\");",
        "v INVITE",
    ),
    (
        "$var(r) = give(\"3\"); $var(s) = give($hdr(N)); xlog(\"$var(r) $var(s)\");",
        "3 7",
    ),
    (
        "setflag(4); if (isflagset(4) && !isflagset(\"5\")) xlog(\"set\");",
        "set",
    ),
    ("if (search(\"SIP/2\\.0$\")) xlog(\"found\");", "found"),
    ("if ({ $var(x) = 5; }) xlog(\"block $var(x)\");", "block 5"),
    ("if (src_ip == twin) xlog(\"in\");", "in"),
    (
        "if (dst_ip == \"twin\") xlog(\"in\"); else xlog(\"out\");",
        "out",
    ),
    ("if (af == ipv4 && proto == UDP) xlog(\"known\");", "known"),
    (
        "forward(uri:host, uri:port); forward(a.test, 5060); forward(); strip(2); xlog(\"on\");",
        "on",
    ),
    (
        "is_listed(\"FOO\"); is_direction(\"Upstream\"); xlog(\"on\");",
        "on",
    ),
    ("force_send_socket(udp:127.0.0.1:5060); xlog(\"on\");", "on"),
    ("log(1, \"a\"); log(\"b\");", "NOTICE a|b"),
    ("xlog(\"End of $rm.\");", "End of INVITE."),
    // A function that waits; a branch_route runs meanwhile.
    (
        "give(9); $var(r) = wait(-4); xlog(\"$var(r) $rc\");",
        "branch 9|branch Return(4)|-4 -4",
    ),
    (
        "if (wait(2)) { xlog(\"yes\"); }",
        "branch 0|branch Return(4)|yes",
    ),
    ("wait(0); xlog(\"no\");", "branch 0|branch Return(4)|Exit"),
];

#[test]
fn statements_do_what_they_do() {
    check_rows(STATEMENTS);
}

/// What is known at load is not converted, as in the original.
#[test]
fn types_that_are_known_must_fit() {
    let fits = [
        "$var(x) eq 7",
        "\"a\" eq 7",
        "(\"a\" + $var(x)) == 5",
        "strlen($var(x) + 1)",
        "$var(x) ieq $ci",
        "$(rm{s.len}) && 1",
        "$ci =~ \"5\"",
        "(int)\"5\" + 2",
    ];
    let clashes = [
        ("\"007\" ieq \"7\"", "ieq"),
        ("$var(x) ine \"7\"", "ine"),
        ("$var(x) ieq (str)$var(y)", "ieq"),
        ("7 eq \"7\"", "eq"),
        ("(1 + $var(x)) ne \"a\"", "ne"),
        ("$var(x) && \"a\"", "&&"),
        ("\"a\" || 1", "||"),
        ("!$var(x) and (\"a\" + $var(y))", "&&"),
        ("!\"a\"", "!"),
        ("not (str)$var(x)", "!"),
        ("-\"5\"", "-"),
        ("~\"5\"", "~"),
        ("strlen(5)", "strlen"),
        ("strlen((int)$var(x))", "strlen"),
        ("strempty(1 + $var(x))", "strempty"),
        ("5 =~ \"5\"", "=~"),
    ];
    for expression in fits {
        let found = log_of(&format!("if ({expression}) {{ ; }} $vn(r) = {expression};"));
        assert!(!found.starts_with("error"), "{expression}: {found}");
    }
    for (expression, operator) in clashes {
        let expected =
            format!("error: type mismatch: \"{operator}\" between a number and a string");
        for body in ["if (@) { ; }", "$vn(r) = @;"] {
            let found = log_of(&body.replace('@', expression));
            assert_eq!(found, expected, "{expression}");
        }
    }
}

#[test]
fn transformations_transform() {
    let rows = [
        ("$(rm{s.len})", "6"),
        ("$(rm{s.tolower})", "invite"),
        ("$(hdr(X){s.toupper})", "X0"),
        ("$(hdr(N){s.int}) + 1", "8"),
        ("$(rm{s.substr,2,3})", "VIT"),
        ("$(rm{s.substr,-1,1})", "E"),
        ("$(rm{s.substr,2,0})", "VITE"),
        ("$(rm{s.substr,9,1})", "<null>"),
        ("$(ci{s.select,1,@})", "host"),
        ("$(ci{s.select,-1,@})", "host"),
        ("$(ci{s.select,5,@})", ""),
        ("$(rm{s.strip,2})", "VITE"),
        ("$(rm{s.striptail,2})", "INVI"),
        ("$(ci{s.stripto,-})", "-1@host"),
        ("$(rm{s.prefixes,3})", "I,IN,INV"),
        ("$(ci{s.numeric})", "1"),
        ("$(ci{s.replace,call,x})", "x-1@host"),
        ("$(ci{s.rm,-})", "call1@host"),
        ("$(ci{s.before,@})", "call-1"),
        ("$(ci{s.after,@})", "host"),
        ("$(var(w){s.corehash})", "542446911"),
        ("$(var(w){s.corehash,16})", "15"),
        ("$(rm{s.md5})", "43bf6e1f59df3c3b5b1eb06af6ce515f"),
        ("$(rm{s.encode.hexa})", "494e56495445"),
        ("$(rm{s.encode.hexa}{s.decode.hexa})", "INVITE"),
        ("$(rm{s.encode.base64})", "SU5WSVRF"),
        ("$(rm{s.encode.base64}{s.decode.base64})", "INVITE"),
        ("$(ci{s.escape.user})", "call-1%40host"),
        ("$(ci{s.escape.param}{s.unescape.param})", "call-1@host"),
        (
            "$(var(t){s.ftime,%Y-%m-%d %H:%M:%S})",
            "2023-11-14 22:13:20",
        ),
        ("$(rm{s.encode.base64url}{s.decode.base64url})", "INVITE"),
        ("$(ci{s.encode.base64t})", "Y2FsbC0xQGhvc3Q"),
        (
            "$(ci{s.encode.base64urlt}{s.decode.base64urlt})",
            "call-1@host",
        ),
        ("$(var(w){s.encode.base58})", "72k1xXWE6pgmLCU5Rq"),
        (
            "$(var(w){s.encode.base58}{s.decode.base58})",
            "Hello World x",
        ),
        ("$(var(z){s.encode.base58})", "2pv4ZhZZhj"),
        ("$(var(z){s.decode.base58})", "<null>"),
        ("$(var(w){s.encode.7bit})", "C8329BFD065DDF7236198407"),
        ("$(var(w){s.encode.7bit}{s.decode.7bit})", "Hello World x"),
        ("$(rm{s.encode.7bit}{s.decode.7bit})", "INVITE"),
        (
            "$(var(w){s.fmtlines,5,2}{s.escape.crlf})",
            "Hello\\r\\n   Worl\\r\\n  d x",
        ),
        (
            "$(var(w){s.fmtlinet,9,1}{s.escape.crlf})",
            "Hello Wor\\r\\n\tld x",
        ),
        ("$(var(w){s.crc32})", "3657759884"),
        ("$(var(w){s.urlencode.param})", "Hello%20World%20x"),
        ("$(var(w){s.rafter,o})", "rld x"),
        ("$(var(w){s.rbefore,o})", "Hello W"),
        ("$(ru{uri.rmparam,transport})", "sip:alice@example.com:5070"),
        ("$(var(u){uri.rmparam,b})", "sip:a@h;a=1;c?x=y"),
        ("$(avp(none){val.n0}) + 1", "1"),
        ("$(var(t){val.n0}) + 1", "1700000001"),
        ("$(avp(none){val.ne}) + \"x\"", "x"),
        (
            "$(var(a){val.json})",
            "\\\"Bob B\\\" <sip:bob@example.org;x=1>;tag=abc",
        ),
        ("$(avp(none){val.jsonqe})", "null"),
        ("$(rm{val.jsonqe})", "\"INVITE\""),
        ("$(ru{uri.user})", "alice"),
        ("$(ru{uri.host}{s.toupper})", "EXAMPLE.COM"),
        ("$(ru{uri.port})", "5070"),
        ("$(ru{uri.param,transport})", "tcp"),
        ("$(ru{uri.transport})", "tcp"),
        ("$(ru{uri.params})", "transport=tcp"),
        ("$(ru{uri.scheme})", "sip"),
        ("$(ru{uri.duri})", "sip:example.com:5070;transport=tcp"),
        ("$(var(a){nameaddr.uri})", "sip:bob@example.org;x=1"),
        ("$(var(a){tobody.uri})", "sip:bob@example.org;x=1"),
        ("$(var(a){tobody.tag})", "abc"),
        ("$(var(a){tobody.user})", "bob"),
        ("$(var(a){tobody.host})", "example.org"),
        ("$(var(a){tobody.display})", "\"Bob B\""),
        ("$(var(p){param.value,b})", "2"),
        ("$(var(p){param.value,none})", ""),
        ("$(var(p){param.in,a})", "1"),
        ("$(var(p){param.name,1})", "b"),
        ("$(var(p){param.valueat,0})", "1"),
        ("$(var(p){param.count})", "3"),
        ("$(var(l){line.count})", "2"),
        ("$(var(l){line.at,1})", "second"),
        ("$(var(l){line.sw,sec})", "second"),
        ("$(var(s){sock.port})", "5060"),
        ("$(ci{re.subst,/^([a-z]+)-(.*)$/\\2.\\1/})", "1@host.call"),
        ("$(ci{s.select,$var(one),@})", "host"),
        ("$(avp(none){s.len})", "<null>"),
    ];
    let setup = r#"$var(one) = 1; $var(t) = 1700000000; $var(p) = "a=1;b=\"2\";c";
        $var(a) = "\"Bob B\" <sip:bob@example.org;x=1>;tag=abc"; $var(l) = "first\r\nsecond\n";
        $var(s) = "udp:127.0.0.1:5060"; $var(w) = "Hello World x"; $var(z) = "0000Xyz";
        $var(u) = "sip:a@h;a=1;b=2;c?x=y";"#;
    let mut wrong = String::new();
    for (expression, expected) in rows {
        let body = format!("{setup} $vn(r) = {expression}; xlog(\"$vn(r)\");");
        let found = log_of(&body);
        if found != expected {
            let _ = writeln!(wrong, "{expression}: expected {expected}, found {found}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The directory of the files.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script")
}

struct Files;

impl Source for Files {
    fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        fs::read(directory().join(path)).ok()
    }

    fn env(&self, name: &str) -> Option<String> {
        (name == "SET").then(|| "value".to_string())
    }
}

fn run_file(program: &Program) -> String {
    let mut out = String::new();
    for warning in &program.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let mut world = World::default();
    let mut vm = Vm::new();
    for kind in [RouteKind::Request, RouteKind::Reply] {
        if let Some(end) = world.run(&mut vm, program, kind) {
            world.lines.push(format!("{kind} ended: {end:?}"));
        }
    }
    for line in world.lines {
        let _ = writeln!(out, "{line}");
    }
    out
}

#[test]
fn files_log_or_fail_as_expected() {
    let mut names: Vec<_> = fs::read_dir(directory())
        .expect("the directory is part of the tree")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cfg"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "only {} files", names.len());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    for path in names {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let (found, extension) = match load(&name, &mut Files, &[("GIVEN", "5")], &VOCABULARY) {
            Ok(program) => (run_file(&program), "log"),
            Err(errors) => (format!("{errors}\n"), "err"),
        };
        let expected = path.with_extension(extension);
        if update {
            fs::write(&expected, &found).expect("the tree is writable");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            let _ = writeln!(
                wrong,
                "{name} differs from {}:\n{found}",
                expected.display()
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Files with single bytes and stretches changed: nothing may panic, everything ends. `SEED=..`
/// takes another run, `ROUNDS=..` lengthens it.
#[test]
fn changed_files_do_not_panic() {
    let number = |name: &str, otherwise| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let mut rng = Rng::new(number("SEED", 11));
    let mut seeds: Vec<Vec<u8>> = fs::read_dir(directory())
        .expect("the directory is part of the tree")
        .filter_map(|entry| fs::read(entry.ok()?.path()).ok())
        .collect();
    seeds.push(format!("{MODULES}{BLOCKS}").into_bytes());
    let bytes = b"{}()[]$\"';=,#!/\\@:0aZ \n\xff";
    for _ in 0..number("ROUNDS", 1_500) {
        let mut text = seeds[rng.below(seeds.len() as u32) as usize].clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(text.len() as u32 + 1) as usize;
            let byte = bytes[rng.below(bytes.len() as u32) as usize];
            match rng.below(3) {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ => text.truncate(at.max(1)),
            }
        }
        fuzz_config(&text);
    }
}

/// As `--cfg-print` shows it.
#[test]
fn a_listing_has_what_counts() {
    struct Two;
    impl Source for Two {
        fn read(&mut self, path: &str) -> Option<Vec<u8>> {
            let text: &str = match path {
                "main" => {
                    "#!KAMAILIO\n#!define WITH_A\n#!define LIMIT 7\n#!ifdef WITH_A\n\
                     debug=2 # kept\n\
                     #!else\ndebug=3\n#!endif\n/* kept */\nimport_file \"part\"\n#!ifndef WITH_A\n\
                     not ' tokens\n#!endif\ninclude_file \"part\" import_file \"none\"\n\
                     request_route { $var(x) = LIMIT; }\n"
                }
                "part" => "x.y=5\n",
                _ => return None,
            };
            Some(text.into())
        }

        fn env(&self, _: &str) -> Option<String> {
            None
        }
    }
    let text = dialcore::script::listing("main", &mut Two, &[]).expect("a configuration");
    let lines: Vec<_> = text
        .split(|b| *b == b'\n')
        .map(|line| String::from_utf8_lossy(line).trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let want = [
        "#!KAMAILIO",
        "#!define WITH_A",
        "#!define LIMIT 7",
        "debug=2 # kept",
        "/* kept */",
        "x.y=5",
        "x.y=5",
        "request_route { $var(x) = LIMIT; }",
    ];
    assert_eq!(lines, want);
}

/// A script that does not end is ended, and the log says where it was.
#[test]
fn an_endless_script_meets_its_budget() {
    let text = format!(
        "{MODULES}max_while_loops = 1000000\nrequest_route {{\n route(OUTER);\n}}\n\
         route[OUTER] {{\n while (1) {{\n  while (1) {{\n   $var(x) = 1;\n  }}\n }}\n}}\n"
    );
    let program = load_text(text.as_bytes()).expect("a configuration");
    let (mut world, mut vm) = (World::default(), Vm::new());
    let end = world.run(&mut vm, &program, RouteKind::Request);
    assert_eq!(end, Some(dialcore::script::End::Exit));
    let line = world.lines.last().expect("a line");
    let place = line.strip_prefix("ERROR: test.cfg:").expect("the place");
    let (number, rest) = place.split_once(':').expect("a line number");
    // The lines of the inner loop.
    let number: u32 = number.parse().expect("a number");
    assert!((8..=10).contains(&number), "{line}");
    assert_eq!(rest, " the script ran 1000000 steps and was ended");
    assert!(vm.is_idle());
}

/// What nests or doubles meets a bound.
#[test]
fn bounds_hold() {
    let deep = "(".repeat(100_000);
    let doubling: String = (0..40)
        .map(|n| format!("#!define A{} A{n} A{n}\n", n + 1))
        .collect();
    for text in [
        format!("request_route {{ $var(x) = {deep}1; }}"),
        format!("request_route {{ if {} }}", "if 1 ".repeat(100_000)),
        format!("request_route {{ $var(x) = 1{}; }}", "+1".repeat(100_000)),
        format!("request_route {{ $var(x) = {}1; }}", "!".repeat(100_000)),
        format!(
            "request_route {{ $var(x) = {}; }}",
            "$(hdr(".repeat(100_000)
        ),
        format!(
            "{MODULES}request_route {{ $var(x) = {}a{}; }}",
            "$hdr(".repeat(5_000),
            ")".repeat(5_000)
        ),
        format!("request_route {{ {} }}", "{".repeat(100_000)),
        format!("#!define A0 x\n{doubling}A30"),
        "#!define A A\nA".to_string(),
        "include_file \"itself.cfg\"".to_string(),
    ] {
        assert!(load_text(text.as_bytes()).is_err(), "{:.60}", text);
    }
    let growing = "$var(s) = \"x\"; while (1) { $var(s) = $var(s) + $var(s); \
                   if (strlen($var(s)) == 0) break; }";
    let first = "ERROR: test.cfg:3: the script made more than 1048576 bytes of strings";
    assert!(log_of(growing).starts_with(first));
    let nested = "while (1) { while (1) { while (1) { while (1) { $var(x) = 1; } } } }";
    let last = log_of(nested);
    assert!(last.ends_with("the script ran 1000000 steps and was ended|Exit"));
}
