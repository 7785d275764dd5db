//! A proxy in front of a party, as the standard has it: it records its route and follows others'
//! (RFC 3261 §16.4, §16.6, §16.12), or is a strict router of RFC 2543. Stateless.

use std::net::SocketAddr;

use crate::law::{Broken, Law};
use crate::sip::{Sip, Start, addr_of, sent_by, uri_of};

/// One proxy.
#[derive(Debug)]
pub struct Hop {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it writes into Record-Route, the topmost first.
    pub own: Vec<String>,
    /// Whether it routes loosely.
    is_loose: bool,
    /// Where it sends what begins a dialog, and the Request-URI it writes then.
    pub below: Option<(SocketAddr, Option<String>)>,
    /// The branch of what began a dialog.
    begun: Vec<String>,
}

/// What kind of router a hop is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One entry with `lr`.
    Loose,
    /// One entry without.
    Strict,
    /// Two entries with `lr`, one for each of its sides (RFC 5658).
    Double,
}

impl Hop {
    /// A proxy at this address.
    pub fn new(addr: SocketAddr, kind: Kind) -> Hop {
        let own = match kind {
            Kind::Loose => vec![format!("<sip:{addr};lr;n=1>")],
            Kind::Strict => vec![format!("<sip:{addr}>")],
            Kind::Double => vec![
                format!("<sip:{addr};lr;r2=on;side=in>"),
                format!("<sip:{addr};lr;r2=on;side=out>"),
            ],
        };
        Hop {
            addr,
            own,
            is_loose: kind != Kind::Strict,
            below: None,
            begun: vec![],
        }
    }

    /// A message comes in: what goes out, and where to.
    pub fn handle(&mut self, mut sip: Sip) -> Result<(SocketAddr, Sip), Broken> {
        if sip.status().is_some() {
            pop_value(&mut sip, "Via");
            let via = sip.values("Via").next().unwrap_or_default().to_owned();
            let to = sent_by(&via).0;
            let lost = || Broken::new(Law::ResponseBelongs, "a response without a way back");
            return to.map(|to| (to, sip)).ok_or_else(lost);
        }
        // §16.11: a proxy without state makes its branch from the one that it gets.
        let unique = sip.branch().trim_start_matches("z9hG4bK").to_owned();
        let to = self.route(&mut sip)?;
        self.count_forwards(&mut sip)?;
        let via = format!("SIP/2.0/UDP {0};branch=z9hG4bK-{0}-{unique}", self.addr);
        sip.headers.insert(0, ("Via".into(), via));
        Ok((to, sip))
    }

    fn is_own(&self, uri: &str) -> bool {
        self.own.iter().any(|own| uri_of(own) == uri)
    }

    fn route(&mut self, sip: &mut Sip) -> Result<SocketAddr, Broken> {
        let is_first = sip.tag_of("To").is_empty() && sip.method() == "INVITE";
        // Its ACK and CANCEL go where it went (§9.1, §17.1.1.3).
        if is_first || self.begun.iter().any(|b| b == sip.branch()) {
            return self.begin(sip);
        }
        let mut routes: Vec<String> = sip.values("Route").map(String::from).collect();
        if self.is_own(sip.uri()) {
            // A strict router: the next Route becomes the Request-URI (RFC 2543 §6.29). A loose
            // one behind a strict one finds it at the end (RFC 3261 §16.4).
            let at = if self.is_loose {
                routes.len().checked_sub(1)
            } else {
                (!routes.is_empty()).then_some(0)
            };
            let at = at.ok_or_else(|| self.astray(sip, "has nothing behind the router"))?;
            let next = uri_of(&routes.remove(at)).to_owned();
            set_uri(sip, &next);
        } else if !self.is_loose {
            return Err(self.astray(sip, "has not the strict router as Request-URI"));
        } else if !routes.first().is_some_and(|r| self.is_own(uri_of(r))) {
            return Err(self.astray(sip, "has not this proxy on top of its routes"));
        }
        if self.is_loose {
            while routes.first().is_some_and(|r| self.is_own(uri_of(r))) {
                routes.remove(0);
            }
        }
        if let Some(first) = routes.first().filter(|r| self.is_loose && !is_loose(r)) {
            let strict = uri_of(first).to_owned();
            routes.remove(0);
            routes.push(format!("<{}>", sip.uri()));
            set_uri(sip, &strict);
            set_routes(sip, &routes);
            return self.address(sip, &strict);
        }
        set_routes(sip, &routes);
        let next = routes.first().filter(|_| self.is_loose);
        let next = next.map_or_else(|| sip.uri().to_owned(), |r| uri_of(r).to_owned());
        self.address(sip, &next)
    }

    /// The INVITE of a new dialog: recorded, and sent where this proxy sends all of them.
    fn begin(&mut self, sip: &mut Sip) -> Result<SocketAddr, Broken> {
        if sip.method() == "INVITE" {
            self.begun.push(sip.branch().to_owned());
            for own in self.own.iter().rev() {
                sip.headers.insert(0, ("Record-Route".into(), own.clone()));
            }
        }
        let Some((to, uri)) = self.below.clone() else {
            return Err(self.astray(sip, "begins a dialog where none may begin"));
        };
        if let Some(uri) = uri {
            set_uri(sip, &uri);
        }
        Ok(to)
    }

    fn address(&self, sip: &Sip, uri: &str) -> Result<SocketAddr, Broken> {
        addr_of(uri).ok_or_else(|| self.astray(sip, "goes to no address"))
    }

    fn astray(&self, sip: &Sip, how: &str) -> Broken {
        let routes: Vec<&str> = sip.values("Route").collect();
        let text = format!(
            "{} at {}: {} with Route {routes:?} {how}",
            sip.label(),
            self.addr,
            sip.uri()
        );
        Broken::new(Law::RouteSet, text)
    }

    fn count_forwards(&self, sip: &mut Sip) -> Result<(), Broken> {
        let number = sip.first("Max-Forwards").parse::<u32>();
        let Some(number) = number.ok().and_then(|n| n.checked_sub(1)) else {
            let text = format!("{} without Max-Forwards", sip.label());
            return Err(Broken::new(Law::Headers, text));
        };
        sip.replace("Max-Forwards", number.to_string());
        Ok(())
    }
}

/// Whether a Route is of a loose router.
pub fn is_loose(route: &str) -> bool {
    uri_of(route)
        .split(';')
        .skip(1)
        .any(|p| p == "lr" || p == "lr=on")
}

/// Puts another Request-URI in place.
pub fn set_uri(sip: &mut Sip, new: &str) {
    if let Start::Request { uri, .. } = &mut sip.start {
        *uri = new.to_owned();
    }
}

fn set_routes(sip: &mut Sip, routes: &[String]) {
    sip.remove("Route");
    for route in routes {
        sip.headers.push(("Route".into(), route.clone()));
    }
}

/// Takes the topmost value of a header away.
pub fn pop_value(sip: &mut Sip, name: &str) {
    let Some(at) = sip.headers.iter().position(|(n, _)| n == name) else {
        return;
    };
    match sip.headers[at].1.split_once(',') {
        Some((_, rest)) => sip.headers[at].1 = rest.trim().to_owned(),
        None => drop(sip.headers.remove(at)),
    }
}
