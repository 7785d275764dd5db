//! Looking at and changing the text of a message. Changes are queued in `Work::edits`: neither
//! variables nor later searches see them until the message is sent or `msg_apply_changes()` is
//! called (`textopsx`).

mod body;
mod compare;
mod field;
mod glob;
mod part;
mod search;
mod value;
mod walk;

pub use body::{fit_length, set_body_of};
pub use walk::Walks;

use crate::script::RouteKinds;

use super::entry::{join, total};
use super::{Function, Module};

/// The module's table.
pub const MODULE: Module = Module {
    name: "textops",
    doc: "Looking at and changing the text of a message.",
    planned: false,
    functions: &FUNCTIONS,
    variables: &[],
    params: &[],
    ..super::EMPTY
};

/// The table of `textopsx`.
pub const X: Module = Module {
    name: "textopsx",
    doc: "More of textops.",
    planned: false,
    functions: &X_FUNCTIONS,
    variables: &walk::VARIABLES,
    params: &[],
    ..super::EMPTY
};

const ANY: RouteKinds = RouteKinds::ANY;

const PARTS: [&[Function]; 5] = [
    &field::FUNCTIONS,
    &search::FUNCTIONS,
    &body::FUNCTIONS,
    &part::FUNCTIONS,
    &compare::FUNCTIONS,
];
const FUNCTIONS: [Function; total(&PARTS)] = join(&PARTS);

const X_PARTS: [&[Function]; 5] = [
    &body::X_FUNCTIONS,
    &field::X_FUNCTIONS,
    &glob::X_FUNCTIONS,
    &value::FUNCTIONS,
    &walk::FUNCTIONS,
];
const X_FUNCTIONS: [Function; total(&X_PARTS)] = join(&X_PARTS);

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, code, run, value};

    #[test]
    fn questions() {
        let table = [
            ("is_method(\"INVITE|ACK\")", 1),
            ("is_method(\"ACK|BYE\")", -1),
            ("is_method(\"invite\")", 1),
            ("has_body()", 1),
            ("has_body(\"application/sdp\")", 1),
            ("has_body(\"text/plain\")", -1),
            ("is_present_hf(\"user-agent\")", 1),
            ("is_present_hf(\"m\")", 1),
            ("is_present_hf(\"Contact\")", 1),
            ("is_present_hf(\"Nope\")", -1),
            ("is_present_hf_re(\"^X-\")", 1),
            ("search(\"Sample\")", 1),
            ("search(\"^User-Agent: sample\")", 1),
            ("search(\"nothing\")", -1),
            ("search_body(\"active\")", 1),
            ("search_body(\"Sample\")", -1),
            ("search_hf(\"X-Multi\", \"three\", \"f\")", -1),
            ("search_hf(\"X-Multi\", \"three\", \"l\")", 1),
            ("search_hf(\"X-Multi\", \"two\", \"a\")", 1),
            ("starts_with(\"abc\", \"ab\")", 1),
            ("starts_with(\"$rm\", \"INV\")", 1),
            ("ends_with(\"abc\", \"bc\")", 1),
            ("ends_with(\"abc\", \"ab\")", -1),
            ("cmp_str(\"a\", \"A\")", -1),
            ("cmp_istr(\"a\", \"A\")", 1),
            ("str_find(\"abc\", \"bc\")", 2),
            ("str_find(\"abc\", \"x\")", -1),
            ("str_ifind(\"abc\", \"BC\")", 2),
            ("in_list(\"b\", \"a, b,c\", \",\")", 1),
            ("in_list(\"\", \"a,b\", \",\")", -1),
            ("in_list_prefix(\"bcd\", \"a,b\", \",\")", 1),
            ("is_privacy(\"id\")", 1),
            ("is_privacy(\"user\")", -1),
            ("is_audio_on_hold()", -1),
        ];
        for (call, want) in table {
            assert_eq!(code(call, INVITE), want, "{call}");
        }
    }

    #[test]
    fn changes_of_the_header() {
        let table: [(&str, &[&str]); 15] = [
            (
                "remove_hf(\"x-multi\");",
                &["-X-Multi: one", "-x-multi: two", "-X-Multi: three"],
            ),
            ("remove_hf(\"Nope\");", &[]),
            (
                "remove_hf_re(\"^(Refer|Remote)\");",
                &[
                    "-Refer-To: <sip:refer@r.test>",
                    "-Remote-Party-ID: <sip:rpid@r.test>;party=calling",
                ],
            ),
            ("append_hf(\"X: 1\\r\\n\");", &["+X: 1"]),
            ("append_hf(\"X: 1\\r\\n\", \"Nope\");", &["+X: 1"]),
            ("insert_hf(\"Y: $rm\\r\\n\");", &["+Y: INVITE"]),
            ("append_hf(\"bad\");", &[]),
            ("append_hf(\"A: 1\\r\\n\\r\\nB: 2\\r\\n\");", &[]),
            (
                "append_time_to_request();",
                &["+Date: Thu, 29 Feb 2024 23:59:59 GMT"],
            ),
            (
                "subst(\"/Sample/Changed/\");",
                &["-User-Agent: Sample/1", "+User-Agent: Changed/1"],
            ),
            ("subst(\"/nothing/x/\");", &[]),
            (
                "subst_hf(\"X-Multi\", \"/^t(.*)$/T\\1/\", \"a\");",
                &[
                    "-x-multi: two",
                    "-X-Multi: three",
                    "+x-multi: Two",
                    "+X-Multi: Three",
                ],
            ),
            (
                "subst_hf(\"X-Multi\", \"/e$/E/\", \"f\");",
                &["-X-Multi: one", "+X-Multi: onE"],
            ),
            (
                "replace(\"x-multi: t\", \"x-multi: T\");",
                &["-x-multi: two", "+x-multi: Two"],
            ),
            (
                "replace_all(\"^X-Multi:\", \"X-M:\");",
                &[
                    "-X-Multi: one",
                    "-x-multi: two",
                    "-X-Multi: three",
                    "+X-M: one",
                    "+X-M: two",
                    "+X-M: three",
                ],
            ),
        ];
        for (statements, want) in table {
            assert_eq!(
                run(statements, INVITE).difference(INVITE),
                want,
                "{statements}"
            );
        }
    }

    #[test]
    fn where_new_fields_stand() {
        let changed = run(
            "append_hf(\"Last: 1\\r\\n\"); append_hf(\"Last: 2\\r\\n\");
             insert_hf(\"First: 1\\r\\n\");
             append_hf(\"Behind: 1\\r\\n\", \"CSeq\"); insert_hf(\"Before: 1\\r\\n\", \"CSeq\");",
            INVITE,
        )
        .changed();
        let names: Vec<&str> = changed
            .split("\r\n")
            .filter_map(|l| l.split_once(':').map(|(name, _)| name))
            .collect();
        assert_eq!(names[1], "First");
        let cseq = names.iter().position(|n| *n == "CSeq").unwrap();
        assert_eq!((names[cseq - 1], names[cseq + 1]), ("Before", "Behind"));
        assert!(
            changed.contains("Content-Length: 15\r\nLast: 1\r\nLast: 2\r\n\r\nv=0"),
            "{changed}"
        );
    }

    #[test]
    fn the_length_follows_the_body() {
        let table = [
            ("set_body(\"hello\", \"text/plain\");", "hello"),
            ("remove_body();", ""),
            (
                "replace_body(\"active\", \"inactive\");",
                "v=0\r\na=inactive\r\n",
            ),
            ("subst_body(\"/v=0/v=12345/\");", "v=12345\r\na=active\r\n"),
            ("subst(\"/=(.)/==\\1/g\");", "v==0\r\na==active\r\n"),
            (
                "set_body(\"one\", \"a/b\"); set_body(\"three\", \"a/b\");",
                "three",
            ),
        ];
        for (statements, body) in table {
            let changed = run(statements, INVITE).changed();
            let (head, got) = changed.split_once("\r\n\r\n").unwrap();
            assert_eq!(got, body, "{statements}");
            let length = format!("Content-Length: {}", body.len());
            assert!(head.lines().any(|l| l == length), "{statements}: {head}");
        }
    }

    #[test]
    fn a_body_without_length_gets_one() {
        let bare = INVITE.split_once("Content-Length").unwrap().0.to_owned() + "\r\n";
        let changed = run(
            "set_body(\"one\", \"a/b\"); set_body(\"three\", \"a/b\");",
            &bare,
        )
        .changed();
        assert_eq!(
            changed.matches("Content-Length: 5\r\n").count(),
            1,
            "{changed}"
        );
        assert_eq!(changed.matches("Content-Length").count(), 1, "{changed}");
    }

    #[test]
    fn changes_are_seen_when_they_are_applied() {
        let table = [
            ("remove_hf(\"X-Multi\");", "$hdrc(X-Multi)", "3"),
            (
                "remove_hf(\"X-Multi\"); msg_apply_changes();",
                "$hdrc(X-Multi)",
                "0",
            ),
            ("$fU = \"n\"; msg_apply_changes();", "$fU", "n"),
            (
                "$ru = \"sip:n@n.test\"; msg_apply_changes();",
                "$ou",
                "sip:n@n.test",
            ),
            (
                "set_body(\"hello\", \"text/plain\"); msg_apply_changes();",
                "$rb|$cl|$cT",
                "hello|5|text/plain",
            ),
            (
                "t_newtran(); remove_hf(\"X-Multi\"); msg_apply_changes();",
                "$hdrc(X-Multi)",
                "3",
            ),
        ];
        for (statements, format, want) in table {
            let ran = run(&format!("{statements}\nxlog(\"{format}\");"), INVITE);
            assert_eq!(ran.lines, [want], "{statements} {:?}", ran.complaints);
        }
    }

    #[test]
    fn uris_are_substituted() {
        let table = [
            (
                "subst_uri(\"/home/house/\");",
                "sip:bob;x=y@house.test:5061;transport=tcp;p=1",
            ),
            (
                "subst_user(\"/bob/rob/\");",
                "sip:rob;x=y@home.test:5061;transport=tcp;p=1",
            ),
            (
                "subst_uri(\"/sip:/ /\");",
                "sip:bob;x=y@home.test:5061;transport=tcp;p=1",
            ),
        ];
        for (statements, want) in table {
            assert_eq!(value(statements, "$ru", INVITE), want, "{statements}");
        }
    }
}
