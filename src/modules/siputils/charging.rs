//! P-Charging-Vector (RFC 7315 §4.6, §5.6).

use crate::modules::entry::{NO, YES, function, keyed, some, text_of, word};
use crate::modules::work::Bytes;
use crate::modules::{Call, Function, Variable};
use crate::script::{Access, CallSite, Heap, InnerKind, Outcome, ParamKind, RouteKinds, Value};

const NAME: &[u8] = b"P-Charging-Vector";

/// What a script has done with the field.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Charging {
    /// It is as it came in.
    #[default]
    Received,
    /// It has been removed.
    Removed,
    /// It has been made here.
    Made(Bytes),
}

pub(super) const FUNCTIONS: [Function; 1] = [function(
    "sip_p_charging_vector",
    &[ParamKind::Text],
    RouteKinds::ANY,
    (
        charging_vector,
        "P-Charging-Vector: r removes it, g makes one unless there is one, f does both.",
    ),
)];

pub(super) const VARIABLES: [Variable; 1] = [keyed(
    "pcv",
    InnerKind::OneOf(&["all", "value", "genaddr", "orig", "term", "status"]),
    read,
    "P-Charging-Vector: the whole of it or a part; status: 0 none, 1 received, 2 made here.",
)];

/// The parameter that each word of `$pcv` shows.
const PARTS: [&[u8]; 5] = [
    b"",
    b"icid-value",
    b"icid-generated-at",
    b"orig-ioi",
    b"term-ioi",
];

/// What the field holds, with what the script has done to it.
fn vector(call: &Call<'_>) -> Option<Vec<u8>> {
    match &call.work.charging {
        Charging::Removed => None,
        Charging::Made(value) => Some(value.to_vec()),
        Charging::Received => {
            let message = &call.work.message;
            let field = message.named(NAME).next()?;
            Some(message.text(field.value).to_vec())
        }
    }
}

fn read(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let vector = vector(call);
    let part = match (word(access), &vector) {
        (5, None) => return Value::Int(0),
        (5, Some(_)) => {
            let is_made = matches!(call.work.charging, Charging::Made(_));
            return Value::Int(if is_made { 2 } else { 1 });
        }
        (0, vector) => vector.as_deref(),
        (part, vector) => vector
            .as_deref()
            .and_then(|v| value_of(v, PARTS.get(part)?)),
    };
    some(heap, part)
}

/// The value of a parameter, without its quotes.
fn value_of<'a>(vector: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut params = vector.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    params.find_map(|param| {
        let at = param.iter().position(|b| *b == b'=')?;
        let (key, value) = (param[..at].trim_ascii(), param[at + 1..].trim_ascii());
        let bare = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""));
        key.eq_ignore_ascii_case(name)
            .then(|| bare.unwrap_or(value))
    })
}

fn charging_vector(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    match text_of(call, heap, site, 0).as_deref() {
        Some(b"r" | b"R") => remove(call),
        Some(b"g" | b"G") if vector(call).is_some() => YES,
        Some(b"g" | b"G") => make(call),
        Some(b"f" | b"F") => match remove(call) {
            YES => make(call),
            // One that was made here a moment ago is as good as another.
            _ => YES,
        },
        Some(_) | None => NO,
    }
}

/// What was made here is written already and stays.
fn remove(call: &mut Call<'_>) -> Outcome {
    if matches!(call.work.charging, Charging::Made(_)) {
        return NO;
    }
    let message = std::rc::Rc::clone(&call.work.message);
    for field in message.named(NAME) {
        call.work.edits.remove(field.line);
    }
    call.work.charging = Charging::Removed;
    YES
}

fn make(call: &mut Call<'_>) -> Outcome {
    let setup = &call.env.state.setup;
    let here = setup.address(call.work.flow.socket).local.ip();
    let rng = &mut call.env.state.rng;
    let (high, low) = (rng.next_u64(), rng.next_u64());
    let value = format!("icid-value={high:016X}{low:016X}; icid-generated-at={here}");
    let line = format!("P-Charging-Vector: {value}\r\n");
    let at = call.work.message.headers_end();
    call.work.edits.insert(at, line.as_bytes());
    call.work.charging = Charging::Made(Bytes::from(value.as_bytes()));
    YES
}

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run, value};

    const FIELD: &str = "P-Charging-Vector: icid-value=\"12\";icid-generated-at=192.0.6.8;\
        orig-ioi=home1.net ; term-ioi=h2\r\n";

    #[test]
    fn what_a_vector_says() {
        let with = INVITE.replace("User-Agent:", &format!("{FIELD}User-Agent:"));
        let format = "$pcv(value) $pcv(genaddr) $pcv(orig) $pcv(term) $pcv(status)";
        assert_eq!(value("", format, &with), "12 192.0.6.8 home1.net h2 1");
        let want = "<null> <null> <null> <null> 0";
        assert_eq!(value("", format, INVITE), want);
        let whole = FIELD.trim_start_matches("P-Charging-Vector: ").trim_end();
        assert_eq!(value("", "$pcv(all)", &with), whole);
    }

    #[test]
    fn vectors_come_and_go() {
        let with = INVITE.replace("User-Agent:", &format!("{FIELD}User-Agent:"));
        // The flags, the message, the codes, how many lines go and come.
        let table = [
            ("g", INVITE, "1", (0, 1)),
            ("g", &with, "1", (0, 0)),
            ("r", INVITE, "1", (0, 0)),
            ("r", &with, "1", (1, 0)),
            ("f", INVITE, "1", (0, 1)),
            ("f", &with, "1", (1, 1)),
            ("x", &with, "-1", (0, 0)),
        ];
        for (flag, message, want, (gone, come)) in table {
            let statements =
                format!("$var(r) = sip_p_charging_vector(\"{flag}\"); xlog(\"$var(r)\");");
            let ran = run(&statements, message);
            assert_eq!(ran.lines, [want], "{flag}");
            let lines = ran.difference(message);
            let count = |sign| lines.iter().filter(|l| l.starts_with(sign)).count();
            assert_eq!((count('-'), count('+')), (gone, come), "{flag} {lines:?}");
        }
        let both = "sip_p_charging_vector(\"f\"); sip_p_charging_vector(\"f\");";
        let ran = run(both, &with);
        assert_eq!(ran.difference(&with).len(), 2);
        let shown = value(both, "$pcv(genaddr) $pcv(status)", &with);
        assert_eq!(shown, "192.0.2.100 2");
    }
}
