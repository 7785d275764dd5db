//! Telephone numbers in the international form, and Remote-Party-ID made of what an AVP holds.

use crate::modules::entry::{NO, YES, function, text_of, truth};
use crate::modules::pv::avp::Stored;
use crate::modules::{Call, Function};
use crate::script::{CallSite, Heap, Outcome, ParamKind, RouteKinds};
use crate::sip::{NameAddr, Uri};

const TEXT: ParamKind = ParamKind::Text;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;
const ON_WAY: RouteKinds = REQUEST.or(RouteKinds::FAILURE).or(RouteKinds::BRANCH);

/// What stands behind the identity unless the configuration says otherwise.
pub(super) const SUFFIX: &str = ";party=calling;id-type=subscriber;screen=yes";

pub(super) const FUNCTIONS: [Function; 5] = [
    function(
        "is_e164",
        &[TEXT],
        RouteKinds::REQUEST.or(RouteKinds::FAILURE),
        (
            |c, h, s| {
                let text = text_of(c, h, s, 0);
                truth(text.is_some_and(|text| is_number(c, &text)))
            },
            "Whether it is a plus sign and 2 to 15 digits.",
        ),
    ),
    function(
        "is_uri_user_e164",
        &[TEXT],
        ANY,
        (
            |c, h, s| {
                let text = text_of(c, h, s, 0);
                truth(text.is_some_and(|text| has_number(c, &text)))
            },
            "Whether the user of the URI is.",
        ),
    ),
    function(
        "is_rpid_user_e164",
        &[],
        REQUEST,
        (
            |c, _, _| truth(identity(c).is_some_and(|text| is_number_of_party(c, &text))),
            "Whether the user of the URI in rpid_avp is.",
        ),
    ),
    function(
        "append_rpid_hf",
        &[],
        ON_WAY,
        (
            |c, _, _| {
                let config = &c.env.state.setup.config.siputils;
                let (before, behind) = (config.rpid_prefix.clone(), config.rpid_suffix.clone());
                append(c, before.as_bytes(), behind.as_bytes())
            },
            "Adds Remote-Party-ID with what rpid_avp holds.",
        ),
    ),
    function(
        "append_rpid_hf",
        &[TEXT, TEXT],
        ON_WAY,
        (
            append_between,
            "The same with this text before and behind it.",
        ),
    ),
];

fn is_number(call: &Call<'_>, text: &[u8]) -> bool {
    let most = call.env.state.setup.config.siputils.e164_length_max;
    text.strip_prefix(b"+").is_some_and(|digits| {
        (2..=most).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
    })
}

fn has_number(call: &Call<'_>, uri: &[u8]) -> bool {
    let uri = Uri::parse(uri).ok();
    let user = uri.filter(|uri| !uri.host.is_empty()).and_then(|u| u.user);
    user.is_some_and(|user| is_number(call, user))
}

/// The identity may be an address with a name.
fn is_number_of_party(call: &Call<'_>, text: &[u8]) -> bool {
    let uri = NameAddr::parse(text).map_or(text, |address| address.uri);
    has_number(call, uri)
}

/// What the AVP holds, if it is text.
fn identity(call: &Call<'_>) -> Option<Vec<u8>> {
    let name = &call.env.state.setup.config.siputils.rpid_avp;
    match call.work.avps.all(name.as_bytes()).next()? {
        Stored::Text(text) if !text.is_empty() => Some(text.to_vec()),
        Stored::Text(_) | Stored::Int(_) => None,
    }
}

fn append_between(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let before = text_of(call, heap, site, 0).unwrap_or_default();
    let behind = text_of(call, heap, site, 1).unwrap_or_default();
    append(call, &before, &behind)
}

fn append(call: &mut Call<'_>, before: &[u8], behind: &[u8]) -> Outcome {
    let Some(identity) = identity(call) else {
        return NO;
    };
    let value = [before, &identity, behind].concat();
    // A line end would forge another field.
    if value.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return NO;
    }
    let line = [b"Remote-Party-ID: ", &value[..], b"\r\n"].concat();
    let at = call.work.message.headers_end();
    call.work.edits.insert(at, &line);
    YES
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run_with, value};

    #[test]
    fn numbers() {
        let table = [
            ("is_e164", "+123456789012345", 1),
            ("is_e164", "+1234567890123456", -1),
            ("is_e164", "+1", -1),
            ("is_e164", "+12", 1),
            ("is_e164", "+", -1),
            ("is_e164", "123", -1),
            ("is_e164", "+12a", -1),
            ("is_e164", "", -1),
            ("is_uri_user_e164", "sip:+1234@h", 1),
            ("is_uri_user_e164", "sip:1234@h", -1),
            ("is_uri_user_e164", "tel:+1234", -1),
            ("is_uri_user_e164", "sip:h", -1),
            ("is_uri_user_e164", "nonsense", -1),
        ];
        for (function, text, want) in table {
            let statements = format!("$var(a) = \"{text}\"; $var(r) = {function}(\"$var(a)\");");
            let got = value(&statements, "$var(r)", INVITE);
            assert_eq!(got, want.to_string(), "{function} {text}");
        }
        let longer = "modparam(\"siputils\", \"e164_max_len\", 16)";
        let statements = "$var(r) = is_e164(\"+1234567890123456\"); xlog(\"$var(r)\");";
        assert_eq!(run_with(longer, statements, INVITE).lines, ["1"]);
    }

    #[test]
    fn identities_of_an_avp() {
        let parameters = "modparam(\"siputils\", \"rpid_prefix\", \"Who <\")
             modparam(\"siputils\", \"rpid_suffix\", \"@h>\")
             modparam(\"siputils\", \"rpid_avp\", \"$avp(rp)\")";
        // What the AVP holds, the two return codes, the line that is added.
        let table = [
            ("", "-1 -1", ""),
            ("$avp(rp) = 17;", "-1 -1", ""),
            ("$avp(rp) = \"+1234\";", "-1 1", "Who <+1234@h>"),
            ("$avp(rp) = \"sip:+1234\";", "-1 1", "Who <sip:+1234@h>"),
            ("$avp(rp) = \"sip:+1234@x\";", "1 1", "Who <sip:+1234@x@h>"),
            (
                "$avp(rp) = \"Name <sip:+1234@x>\";",
                "1 1",
                "Who <Name <sip:+1234@x>@h>",
            ),
            ("$avp(rp) = \"a\\nB: c\";", "-1 -1", ""),
        ];
        for (statement, want, line) in table {
            let statements = format!(
                "{statement} $var(a) = is_rpid_user_e164(); $var(b) = append_rpid_hf();
                 xlog(\"$var(a) $var(b)\");"
            );
            let ran = run_with(parameters, &statements, INVITE);
            assert_eq!(ran.lines, [want], "{statement}");
            let added: Vec<String> = match line {
                "" => vec![],
                line => vec![format!("+Remote-Party-ID: {line}")],
            };
            assert_eq!(ran.difference(INVITE), added, "{statement}");
        }
        let ran = run_with(
            "",
            "$avp(rpid) = \"+12\"; append_rpid_hf(); append_rpid_hf(\"<\", \">\");",
            INVITE,
        );
        let suffix = ";party=calling;id-type=subscriber;screen=yes";
        let lines = [
            format!("+Remote-Party-ID: +12{suffix}"),
            "+Remote-Party-ID: <+12>".to_owned(),
        ];
        assert_eq!(ran.difference(INVITE), lines);
    }
}
