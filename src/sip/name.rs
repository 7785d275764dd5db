//! Names of header fields: one table, long and compact forms (RFC 3261 §7.3.3, §20), any case.
//!
//! A lookup takes the first sixteen bytes of a name as two integers, which choose one place of 256,
//! and compares them with those of the only name that can stand there.

/// The name of a header field that this program knows; [`HeaderName::Other`] for the rest.
macro_rules! header_names {
    ($($variant:ident $long:literal $compact:literal;)*) => {
        /// The name of a header field, whatever its case and form on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $long, "`.")] $variant,)*
            /// A name that is not in the table.
            Other,
        }

        const TABLE: &[Entry] = &[
            $(Entry { name: HeaderName::$variant, long: $long, compact: $compact },)*
        ];
    };
}

struct Entry {
    name: HeaderName,
    long: &'static str,
    /// The letter of the compact form, 0 when there is none.
    compact: u8,
}

header_names! {
    Accept "Accept" 0;
    AcceptContact "Accept-Contact" b'a';
    AcceptEncoding "Accept-Encoding" 0;
    AcceptLanguage "Accept-Language" 0;
    AlertInfo "Alert-Info" 0;
    Allow "Allow" 0;
    AllowEvents "Allow-Events" b'u';
    AuthenticationInfo "Authentication-Info" 0;
    Authorization "Authorization" 0;
    CallId "Call-ID" b'i';
    CallInfo "Call-Info" 0;
    Contact "Contact" b'm';
    ContentDisposition "Content-Disposition" 0;
    ContentEncoding "Content-Encoding" b'e';
    ContentLanguage "Content-Language" 0;
    ContentLength "Content-Length" b'l';
    ContentType "Content-Type" b'c';
    CSeq "CSeq" 0;
    Date "Date" 0;
    Diversion "Diversion" 0;
    ErrorInfo "Error-Info" 0;
    Event "Event" b'o';
    Expires "Expires" 0;
    FlowTimer "Flow-Timer" 0;
    From "From" b'f';
    Geolocation "Geolocation" 0;
    HistoryInfo "History-Info" 0;
    Identity "Identity" b'y';
    IdentityInfo "Identity-Info" b'n';
    InReplyTo "In-Reply-To" 0;
    Join "Join" 0;
    MaxBreadth "Max-Breadth" 0;
    MaxForwards "Max-Forwards" 0;
    MimeVersion "MIME-Version" 0;
    MinExpires "Min-Expires" 0;
    MinSe "Min-SE" 0;
    Organization "Organization" 0;
    PAccessNetworkInfo "P-Access-Network-Info" 0;
    PAssertedIdentity "P-Asserted-Identity" 0;
    PAssociatedUri "P-Associated-URI" 0;
    PCalledPartyId "P-Called-Party-ID" 0;
    PChargingVector "P-Charging-Vector" 0;
    PEarlyMedia "P-Early-Media" 0;
    PPreferredIdentity "P-Preferred-Identity" 0;
    Path "Path" 0;
    Priority "Priority" 0;
    Privacy "Privacy" 0;
    ProxyAuthenticate "Proxy-Authenticate" 0;
    ProxyAuthorization "Proxy-Authorization" 0;
    ProxyRequire "Proxy-Require" 0;
    RAck "RAck" 0;
    Reason "Reason" 0;
    RecordRoute "Record-Route" 0;
    ReferSub "Refer-Sub" 0;
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    RejectContact "Reject-Contact" b'j';
    RemotePartyId "Remote-Party-ID" 0;
    Replaces "Replaces" 0;
    ReplyTo "Reply-To" 0;
    RequestDisposition "Request-Disposition" b'd';
    Require "Require" 0;
    RetryAfter "Retry-After" 0;
    Route "Route" 0;
    RSeq "RSeq" 0;
    Server "Server" 0;
    ServiceRoute "Service-Route" 0;
    SessionExpires "Session-Expires" b'x';
    SipETag "SIP-ETag" 0;
    SipIfMatch "SIP-If-Match" 0;
    Subject "Subject" b's';
    SubscriptionState "Subscription-State" 0;
    Supported "Supported" b'k';
    Timestamp "Timestamp" 0;
    To "To" b't';
    Unsupported "Unsupported" 0;
    UserAgent "User-Agent" 0;
    UserToUser "User-to-User" 0;
    Via "Via" b'v';
    Warning "Warning" 0;
    WwwAuthenticate "WWW-Authenticate" 0;
}

/// How many names the table knows.
const COUNT: usize = TABLE.len();

/// A place of the table.
#[derive(Clone, Copy)]
struct Slot {
    words: Words,
    length: u8,
    name: HeaderName,
}

/// The first and the second eight bytes of a name, folded, the first byte lowest; what is behind
/// its end is zero.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words(u64, u64);

/// Drawn until no two names of the table had the same place; [`slots`] fails to compile when a new
/// name shares one, and then another has to be drawn.
const MULTIPLIER: u64 = 0xbfc2_b467_cb4b_11f7;

static SLOTS: [Slot; 256] = slots();
const COMPACT: [HeaderName; 26] = compact();

const fn slots() -> [Slot; 256] {
    let mut out = [Slot {
        words: Words(0, 0),
        length: 0,
        name: HeaderName::Other,
    }; 256];
    let mut i = 0;
    while i < COUNT {
        let long = TABLE[i].long.as_bytes();
        let words = Words::of(&window(long), long.len());
        let place = words.place();
        assert!(out[place].length == 0, "two names in one place");
        out[place] = Slot {
            words,
            length: long.len() as u8,
            name: TABLE[i].name,
        };
        i += 1;
    }
    out
}

impl Words {
    /// Of the name of `length` bytes with which `window` begins.
    #[inline]
    const fn of(window: &[u8; WINDOW_SIZE], length: usize) -> Words {
        let kept = if length < WINDOW_SIZE {
            length
        } else {
            WINDOW_SIZE
        };
        let both = u128::from_le_bytes(*window) & FIRST_BYTES[kept];
        Words(fold(both as u64), fold((both >> 64) as u64))
    }

    #[inline]
    const fn place(self) -> usize {
        let both = self.0.wrapping_add(self.1.rotate_left(25));
        (both.wrapping_mul(MULTIPLIER) >> 56) as usize
    }
}

/// What keeps so many bytes of a window and makes the rest zero.
const FIRST_BYTES: [u128; WINDOW_SIZE + 1] = {
    let (mut out, mut n) = ([u128::MAX; WINDOW_SIZE + 1], 0);
    while n < WINDOW_SIZE {
        out[n] = (1 << (8 * n)) - 1;
        n += 1;
    }
    out
};

/// How many bytes a lookup looks at.
pub(super) const WINDOW_SIZE: usize = 16;

/// The first sixteen bytes of a name, of a shorter one all with zeros behind.
const fn window(name: &[u8]) -> [u8; WINDOW_SIZE] {
    let (mut out, mut i) = ([0; WINDOW_SIZE], 0);
    while i < name.len() && i < WINDOW_SIZE {
        out[i] = name[i];
        i += 1;
    }
    out
}

const fn compact() -> [HeaderName; 26] {
    let mut out = [HeaderName::Other; 26];
    let mut i = 0;
    while i < COUNT {
        if TABLE[i].compact != 0 {
            out[(TABLE[i].compact - b'a') as usize] = TABLE[i].name;
        }
        i += 1;
    }
    out
}

/// Makes eight letters lower case. It sets bit 5 where bit 6 is set: letters lose their case,
/// the hyphen stays what it is, and nothing else becomes either.
const fn fold(bytes: u64) -> u64 {
    bytes | (bytes & 0x4040_4040_4040_4040) >> 1
}

impl HeaderName {
    /// The name in long or compact form and any case.
    pub fn from_bytes(name: &[u8]) -> HeaderName {
        let size = name.len().min(WINDOW_SIZE);
        let mut window = [0; WINDOW_SIZE];
        window[..size].copy_from_slice(&name[..size]);
        if name.len() <= WINDOW_SIZE {
            return HeaderName::in_window(&window, name.len());
        }
        let words = Words::of(&window, name.len());
        let slot = &SLOTS[words.place()];
        let is_it = slot.words == words && slot.name.as_bytes().eq_ignore_ascii_case(name);
        if is_it { slot.name } else { HeaderName::Other }
    }

    /// The same of the name of `length` bytes, at most sixteen, with which `window` begins.
    #[inline(always)]
    pub(super) fn in_window(window: &[u8; WINDOW_SIZE], length: usize) -> HeaderName {
        if length == 1 && window[0].is_ascii_alphabetic() {
            return COMPACT[usize::from(window[0].to_ascii_lowercase() - b'a')];
        }
        let words = Words::of(window, length);
        let slot = &SLOTS[words.place()];
        let is_it = slot.words == words && usize::from(slot.length) == length;
        if is_it { slot.name } else { HeaderName::Other }
    }

    /// The long form as the RFCs write it; empty for [`HeaderName::Other`].
    pub const fn name(self) -> &'static str {
        if (self as usize) < COUNT {
            TABLE[self as usize].long
        } else {
            ""
        }
    }

    /// The letter of the compact form.
    pub const fn compact(self) -> Option<u8> {
        if (self as usize) < COUNT && TABLE[self as usize].compact != 0 {
            Some(TABLE[self as usize].compact)
        } else {
            None
        }
    }

    /// Its bit in a set of names.
    pub(crate) const fn bit(self) -> u128 {
        1 << self as u8
    }

    const fn as_bytes(self) -> &'static [u8] {
        self.name().as_bytes()
    }
}

const _: () = assert!(COUNT < 128, "a set of names is 128 bits");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The obviously correct lookup.
    fn naive(name: &[u8]) -> HeaderName {
        let same = |e: &&Entry| {
            e.long.as_bytes().eq_ignore_ascii_case(name)
                || name.eq_ignore_ascii_case(&[e.compact]) && e.compact != 0
        };
        TABLE
            .iter()
            .find(same)
            .map_or(HeaderName::Other, |e| e.name)
    }

    #[test]
    fn every_name_is_found_in_every_form() {
        for entry in TABLE {
            let (lower, upper) = (entry.long.to_lowercase(), entry.long.to_uppercase());
            for form in [entry.long, &lower, &upper] {
                assert_eq!(
                    HeaderName::from_bytes(form.as_bytes()),
                    entry.name,
                    "{form}"
                );
            }
            assert_eq!(entry.name.name(), entry.long);
            if let Some(letter) = entry.name.compact() {
                for form in [letter, letter.to_ascii_uppercase()] {
                    assert_eq!(
                        HeaderName::from_bytes(&[form]),
                        entry.name,
                        "{}",
                        entry.long
                    );
                }
            }
        }
    }

    #[test]
    fn near_misses_are_other() {
        let table: [&[u8]; 12] = [
            b"",
            b"X",
            b"Vi",
            b"Via ",
            b"Vias",
            b"Call\rID",
            b"Call_ID",
            b"1",
            b"-",
            b"\r",
            b"P-Access-Network-Info2",
            b"Content-Lengtx",
        ];
        for name in table {
            let want = if name == b"X" {
                HeaderName::SessionExpires
            } else {
                HeaderName::Other
            };
            assert_eq!(HeaderName::from_bytes(name), want, "{name:?}");
        }
    }

    #[test]
    fn the_lookup_agrees_with_a_linear_search() {
        let mut rng = Rng::new(11);
        for _ in 0..20_000 {
            let entry = &TABLE[rng.below(COUNT as u32) as usize];
            let mut name = entry.long.as_bytes().to_vec();
            for _ in 0..rng.below(3) {
                let at = rng.below(name.len() as u32) as usize;
                match rng.below(3) {
                    0 => name[at] ^= 0x20,
                    1 => name[at] = rng.next_u64() as u8,
                    _ => name.truncate(at.max(1)),
                }
            }
            assert_eq!(HeaderName::from_bytes(&name), naive(&name), "{name:?}");
        }
    }
}
