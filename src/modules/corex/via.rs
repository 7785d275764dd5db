//! What a script says of our own Via: further parameters, and what stands for the socket.

use crate::modules::entry::YES;
use crate::modules::pv::avp::{Avps, Stored};
use crate::modules::{Call, config};
use crate::script::{CallSite, Heap, Outcome};

/// What is wanted of one request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ViaWishes {
    /// The fields of an `$xavp` as parameters.
    pub params: bool,
    /// Host and port of an `$xavp`.
    pub fields: bool,
}

pub(super) fn add_params(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    call.work.via_wishes.params = site.int(0, call, heap).unwrap_or(0) & 1 == 1;
    YES
}

pub(super) fn use_fields(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    call.work.via_wishes.fields = site.int(0, call, heap).unwrap_or(0) & 1 == 1;
    YES
}

/// Parameters for our Via, each with its semicolon. What cannot stand in one is left out.
pub fn params(core: &config::Core, wishes: ViaWishes, avps: &Avps) -> String {
    let mut out = String::new();
    if !wishes.params || core.via_params.is_empty() {
        return out;
    }
    for (name, value) in avps.fields(core.via_params.as_bytes()) {
        let value = text(value);
        if !is_token(name)
            || !value
                .iter()
                .all(|b| is_token_byte(*b) || b"[]:".contains(b))
        {
            continue;
        }
        out.push(';');
        out.push_str(&String::from_utf8_lossy(name));
        if !value.is_empty() {
            out.push('=');
            out.push_str(&String::from_utf8_lossy(&value));
        }
    }
    out
}

/// Host and port for our Via instead of the socket's.
pub fn fields(
    core: &config::Core,
    wishes: ViaWishes,
    avps: &Avps,
) -> (Option<String>, Option<u16>) {
    if !wishes.fields || core.via_fields.is_empty() {
        return (None, None);
    }
    let field = |name: &[u8]| avps.field(core.via_fields.as_bytes(), name).map(text);
    let is_host = |b: &u8| b.is_ascii_alphanumeric() || b".-_[]:".contains(b);
    let host = field(b"address").filter(|host| !host.is_empty() && host.iter().all(is_host));
    let host = host.map(|host| String::from_utf8_lossy(&host).into_owned());
    let port = field(b"port").and_then(|port| std::str::from_utf8(&port).ok()?.parse().ok());
    (host, port.filter(|port| *port != 0))
}

fn text(value: &Stored) -> Vec<u8> {
    match value {
        Stored::Int(n) => n.to_string().into_bytes(),
        Stored::Text(text) => text.to_vec(),
    }
}

/// RFC 3261 §25.1.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_token_byte(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> config::Core {
        config::Core {
            via_params: "p".into(),
            via_fields: "f".into(),
            ..config::Core::default()
        }
    }

    #[test]
    fn parameters_of_a_record() {
        let mut avps = Avps::default();
        let text = |text: &str| Stored::Text(text.as_bytes().into());
        let record = [
            ("a", text("1")),
            ("b", text("x y")),
            ("c", Stored::Int(7)),
            ("d e", text("1")),
            ("f", text("")),
        ];
        avps.push_record(b"p", &record);
        let wishes = ViaWishes {
            params: true,
            fields: false,
        };
        assert_eq!(params(&core(), wishes, &avps), ";f;c=7;a=1");
        assert_eq!(params(&core(), ViaWishes::default(), &avps), "");
        assert_eq!(params(&config::Core::default(), wishes, &avps), "");
    }

    #[test]
    fn host_and_port_of_a_record() {
        let text = |text: &str| Stored::Text(text.as_bytes().into());
        let wishes = ViaWishes {
            params: false,
            fields: true,
        };
        let some = |host: &str| Some(host.to_owned());
        let table = [
            (
                text("192.0.2.9"),
                text("5068"),
                (some("192.0.2.9"), Some(5068)),
            ),
            (
                text("[::1]"),
                Stored::Int(5068),
                (some("[::1]"), Some(5068)),
            ),
            (text("a;b"), text("0"), (None, None)),
            (text(""), text("x"), (None, None)),
        ];
        for (address, port, want) in table {
            let mut avps = Avps::default();
            avps.push_record(b"f", &[("address", address), ("port", port)]);
            assert_eq!(fields(&core(), wishes, &avps), want);
            let none = fields(&core(), ViaWishes::default(), &avps);
            assert_eq!(none, (None, None));
        }
    }
}
