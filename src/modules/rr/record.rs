//! Adding Record-Route (RFC 3261 §16.6 step 4, with the double entries of RFC 5658).
//!
//! The header fields are written when the request is sent, because only then the outgoing socket
//! is known: a request that leaves by another address, port or transport than it came in by gets
//! two, the outgoing side on top, so that each neighbour sees an address it can reach.

use crate::effect::{Address, Proto};
use crate::modules::work::Bytes;
use crate::text;

use super::Config;

/// What `record_route` and its kin asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// `record_route(params)`: the addresses of the sockets, with these parameters behind.
    Sockets(Option<Bytes>),
    /// `record_route_preset(a[, b])`: these texts instead of addresses.
    Preset(Bytes, Option<Bytes>),
    /// `record_route_advertised_address(address)`: this address instead of the sockets'.
    Advertised(Bytes),
}

/// All that goes into the header fields besides the addresses.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    /// Module parameters.
    pub config: &'a Config,
    /// The user part, when `add_username` wants one.
    pub user: Option<&'a [u8]>,
    /// The From tag, when there is one.
    pub from_tag: Option<&'a [u8]>,
    /// What `add_rr_param` and the dialog's cookie added, each with its `;`.
    pub params: &'a [u8],
}

/// Appends the header lines for a request that came in by `source` and leaves by `target`.
pub fn write(
    record: &Record,
    ingredients: Ingredients<'_>,
    (source, target): (&Address, &Address),
    out: &mut Vec<u8>,
) {
    let line = Line { ingredients, out };
    match record {
        Record::Preset(first, second) => write_preset(line, first, second.as_deref()),
        Record::Sockets(custom) => {
            let custom = custom.as_deref().unwrap_or_default();
            write_double(line, source, target, None, custom);
        }
        Record::Advertised(address) => write_double(line, source, target, Some(address), &[]),
    }
}

fn write_double(
    mut line: Line<'_>,
    source: &Address,
    target: &Address,
    advertised: Option<&Bytes>,
    custom: &[u8],
) {
    let is_same = source.proto == target.proto && source.local == target.local;
    let is_double = line.ingredients.config.enable_double_rr && !is_same;
    let sides: &[&Address] = if is_double {
        &[target, source]
    } else {
        &[source]
    };
    for side in sides {
        line.begin();
        match advertised {
            Some(address) => line.out.extend_from_slice(address),
            None => line.host_port(side),
        }
        if side.proto != Proto::Udp {
            line.text(";transport=").text(side.proto.lower());
        }
        line.socket_name(side, advertised.is_some());
        if is_double {
            line.text(";r2=on");
        }
        match advertised {
            // The original's order here: the tag, then `lr`.
            Some(_) => {
                line.tag();
                line.loose();
                line.finish(custom);
            }
            None => line.end(custom),
        }
    }
}

fn write_preset(mut line: Line<'_>, first: &[u8], second: Option<&[u8]>) {
    for address in [Some(first), second].into_iter().flatten() {
        line.begin();
        line.out.extend_from_slice(address);
        // The original's order here: the tag, then `lr`.
        line.tag();
        line.loose();
        line.finish(&[]);
    }
}

struct Line<'a> {
    ingredients: Ingredients<'a>,
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn text(&mut self, text: &str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    fn begin(&mut self) {
        self.text("Record-Route: <sip:");
        if let Some(user) = self.ingredients.user {
            self.out.extend_from_slice(user);
            self.out.push(b'@');
        }
    }

    fn host_port(&mut self, side: &Address) {
        side.push_sent_by_host(self.out);
        let port = side.sent_by_port();
        if port != side.proto.default_port() {
            self.out.push(b':');
            text::push_number(self.out, port.into());
        }
    }

    fn end(&mut self, custom: &[u8]) {
        self.loose();
        self.tag();
        self.finish(custom);
    }

    /// `sockname_mode`: the name of the socket, but not beside an address that is given.
    fn socket_name(&mut self, side: &Address, is_given: bool) {
        if let Some(name) = &side.name
            && self.ingredients.config.sockname_mode
            && !is_given
        {
            self.text(";sn=").text(name);
        }
    }

    fn loose(&mut self) {
        let is_full = self.ingredients.config.enable_full_lr;
        self.text(if is_full { ";lr=on" } else { ";lr" });
    }

    fn tag(&mut self) {
        let Ingredients {
            config, from_tag, ..
        } = self.ingredients;
        if let Some(tag) = from_tag.filter(|_| config.append_fromtag) {
            self.text(";ftag=");
            self.out.extend_from_slice(tag);
        }
    }

    fn finish(&mut self, custom: &[u8]) {
        self.out.extend_from_slice(custom);
        self.out.extend_from_slice(self.ingredients.params);
        self.text(">\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(proto: Proto, text: &str) -> Address {
        Address {
            proto,
            local: text.parse().unwrap(),
            advertised: None,
            name: None,
        }
    }

    fn written(record: Record, config: &Config, target: &Address) -> String {
        let ingredients = Ingredients {
            config,
            user: None,
            from_tag: Some(b"77"),
            params: b";did=1.2",
        };
        let mut out = vec![];
        let source = address(Proto::Udp, "192.0.2.1:5080");
        write(&record, ingredients, (&source, target), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_entry_or_two() {
        let plain = Config::default();
        let full = Config {
            enable_full_lr: true,
            append_fromtag: false,
            ..Config::default()
        };
        let single = Config {
            enable_double_rr: false,
            ..Config::default()
        };
        let same = address(Proto::Udp, "192.0.2.1:5080");
        let tcp = address(Proto::Tcp, "192.0.2.1:5060");
        let v6 = address(Proto::Udp, "[2001:db8::1]:5060");
        let sockets = || Record::Sockets(Some(b";x=1"[..].into()));
        let table = [
            (
                written(sockets(), &plain, &same),
                "Record-Route: <sip:192.0.2.1:5080;lr;ftag=77;x=1;did=1.2>\r\n",
            ),
            (
                written(sockets(), &full, &same),
                "Record-Route: <sip:192.0.2.1:5080;lr=on;x=1;did=1.2>\r\n",
            ),
            (
                written(sockets(), &plain, &tcp),
                "Record-Route: <sip:192.0.2.1;transport=tcp;r2=on;lr;ftag=77;x=1;did=1.2>\r\n\
                 Record-Route: <sip:192.0.2.1:5080;r2=on;lr;ftag=77;x=1;did=1.2>\r\n",
            ),
            (
                written(sockets(), &single, &tcp),
                "Record-Route: <sip:192.0.2.1:5080;lr;ftag=77;x=1;did=1.2>\r\n",
            ),
            (
                written(sockets(), &plain, &v6),
                "Record-Route: <sip:[2001:db8::1];r2=on;lr;ftag=77;x=1;did=1.2>\r\n\
                 Record-Route: <sip:192.0.2.1:5080;r2=on;lr;ftag=77;x=1;did=1.2>\r\n",
            ),
            (
                written(Record::Preset(b"p.test;a"[..].into(), None), &plain, &tcp),
                "Record-Route: <sip:p.test;a;ftag=77;lr;did=1.2>\r\n",
            ),
            (
                written(Record::Advertised(b"p.test:7"[..].into()), &plain, &same),
                "Record-Route: <sip:p.test:7;ftag=77;lr;did=1.2>\r\n",
            ),
        ];
        for (got, want) in table {
            assert_eq!(got, want);
        }
    }
}
