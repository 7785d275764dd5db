//! Moments as people write them: years, months, time zones, and the formats of strftime(3).
//!
//! `chrono` knows the calendar. A [`Zone`] is a value, made by whoever may read the machine's
//! time zone, so that the shards stay a function of their input. The formats are glibc's in the
//! C locale: every directive, its flags `_ - 0 ^ #` and its width; what is no directive stays as
//! it is written. Formatting allocates nothing beyond the text.

use std::io::Write;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

use crate::limits;

/// What a zone's clocks show from one moment on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Seconds since 1970.
    pub since: i64,
    /// Seconds that the clocks are ahead of UTC.
    pub offset: i64,
    /// Whether it is summer time.
    pub is_summer: bool,
    /// What people call it there: `CET`.
    pub name: Box<str>,
}

/// A time zone: its changes in the order of time. Before the first one, the first one holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Zone(Vec<Change>);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(vec![]);

    /// The zone with these changes, in the order of time.
    pub fn new(changes: Vec<Change>) -> Zone {
        assert!(
            changes.is_sorted_by_key(|change| change.since),
            "the changes of a zone stand in the order of time: {changes:?}"
        );
        Zone(changes)
    }

    fn at(&self, seconds: i64) -> Option<&Change> {
        let behind = self.0.partition_point(|change| change.since <= seconds);
        self.0.get(behind.saturating_sub(1))
    }
}

/// A moment in a time zone.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    seconds: i64,
    local: NaiveDateTime,
    change: Option<&'a Change>,
}

impl<'a> Moment<'a> {
    /// The moment so many seconds after 1970. What `chrono` cannot count, about 262,000 years
    /// to both sides, becomes the beginning or the end of what it can.
    pub fn of(seconds: i64, zone: &'a Zone) -> Moment<'a> {
        let change = zone.at(seconds);
        let shown = seconds.saturating_add(change.map_or(0, |c| c.offset));
        let (first, last) = (
            DateTime::<chrono::Utc>::MIN_UTC,
            DateTime::<chrono::Utc>::MAX_UTC,
        );
        let shown = shown.clamp(first.timestamp(), last.timestamp());
        Moment {
            seconds,
            local: DateTime::from_timestamp(shown, 0)
                .map_or(last, |t| t)
                .naive_utc(),
            change,
        }
    }

    /// The same moment in UTC.
    pub fn utc(seconds: i64) -> Moment<'static> {
        Moment::of(seconds, const { &Zone::UTC })
    }

    /// Second, minute, hour, day, month from 1, year, day of the week from Sunday = 1, day of the
    /// year from 1, and whether it is summer time.
    pub fn parts(&self) -> [i64; 9] {
        let t = &self.local;
        [
            t.second().into(),
            t.minute().into(),
            t.hour().into(),
            t.day().into(),
            t.month().into(),
            t.year().into(),
            i64::from(t.weekday().num_days_from_sunday()) + 1,
            t.ordinal().into(),
            self.change.is_some_and(|c| c.is_summer).into(),
        ]
    }

    /// Writes what a format of strftime(3) gives.
    pub fn format(&self, format: &[u8], out: &mut Vec<u8>) {
        let mut rest = format;
        while let Some(percent) = memchr::memchr(b'%', rest) {
            out.extend_from_slice(&rest[..percent]);
            rest = &rest[percent..];
            let (directive, len) = Directive::parse(rest);
            if !directive.is_some_and(|directive| self.write(&directive, out)) {
                out.extend_from_slice(&rest[..len]);
            }
            rest = &rest[len..];
        }
        out.extend_from_slice(rest);
    }

    /// Writes one directive; says whether there is such a one.
    fn write(&self, directive: &Directive, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let fill = match directive.letter {
            b'n' => literal(out, b"\n"),
            b't' => literal(out, b"\t"),
            b'%' => literal(out, b"%"),
            letter => {
                if let Some(format) = composite(letter) {
                    self.format(format, out);
                    WORD
                } else if let Some((number, width, fill)) = self.number(letter) {
                    // Writing into memory does not fail.
                    let _ = write!(out, "{}", number.unsigned_abs());
                    directive.pad((width, fill), start, out);
                    if number < 0 {
                        out.insert(start, b'-');
                    }
                    return true;
                } else if self.word(letter, out) {
                    WORD
                } else {
                    return false;
                }
            }
        };
        directive.change_case(&mut out[start..]);
        directive.pad(fill, start, out);
        true
    }

    /// A directive that is a number, its width and what fills it.
    fn number(&self, letter: u8) -> Option<(i64, usize, u8)> {
        let t = &self.local;
        let (year, week_year) = (i64::from(t.year()), i64::from(t.iso_week().year()));
        let (hour, yearday) = (i64::from(t.hour()), i64::from(t.ordinal0()));
        let (sunday, monday) = (
            i64::from(t.weekday().num_days_from_sunday()),
            i64::from(t.weekday().num_days_from_monday()),
        );
        let twelve = (hour + 11) % 12 + 1;
        Some(match letter {
            b'C' => (year.div_euclid(100), 2, b'0'),
            b'd' => (t.day().into(), 2, b'0'),
            b'e' => (t.day().into(), 2, b' '),
            b'G' => (week_year, 1, b'0'),
            b'g' => (week_year.rem_euclid(100), 2, b'0'),
            b'H' => (hour, 2, b'0'),
            b'I' => (twelve, 2, b'0'),
            b'j' => (yearday + 1, 3, b'0'),
            b'k' => (hour, 2, b' '),
            b'l' => (twelve, 2, b' '),
            b'M' => (t.minute().into(), 2, b'0'),
            b'm' => (t.month().into(), 2, b'0'),
            b'S' => (t.second().into(), 2, b'0'),
            b's' => (self.seconds, 1, b'0'),
            b'U' => ((yearday + 7 - sunday) / 7, 2, b'0'),
            b'u' => (monday + 1, 1, b'0'),
            b'V' => (t.iso_week().week().into(), 2, b'0'),
            b'W' => ((yearday + 7 - monday) / 7, 2, b'0'),
            b'w' => (sunday, 1, b'0'),
            b'Y' => (year, 1, b'0'),
            b'y' => (year.rem_euclid(100), 2, b'0'),
            _ => return None,
        })
    }

    /// A directive that is a word; says whether there is such a one.
    fn word(&self, letter: u8, out: &mut Vec<u8>) -> bool {
        let day = DAYS[self.local.weekday().num_days_from_sunday() as usize];
        let month = MONTHS[self.local.month0() as usize];
        let is_morning = self.local.hour() < 12;
        let word = match letter {
            b'a' => &day[..3],
            b'A' => day,
            b'b' | b'h' => &month[..3],
            b'B' => month,
            b'p' if is_morning => "AM",
            b'p' => "PM",
            b'P' if is_morning => "am",
            b'P' => "pm",
            b'Z' => self.change.map_or("GMT", |c| &c.name),
            b'z' => {
                let minutes = self.change.map_or(0, |c| c.offset) / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.abs();
                let _ = write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60);
                return true;
            }
            _ => return false,
        };
        out.extend_from_slice(word.as_bytes());
        true
    }
}

/// Width and what fills it.
type Fill = (usize, u8);

/// Words are as long as they are.
const WORD: Fill = (0, b' ');

fn literal(out: &mut Vec<u8>, text: &[u8]) -> Fill {
    out.extend_from_slice(text);
    WORD
}

/// Directives that stand for several.
fn composite(letter: u8) -> Option<&'static [u8]> {
    Some(match letter {
        b'c' => b"%a %b %e %H:%M:%S %Y",
        b'D' | b'x' => b"%m/%d/%y",
        b'F' => b"%Y-%m-%d",
        b'R' => b"%H:%M",
        b'r' => b"%I:%M:%S %p",
        b'T' | b'X' => b"%H:%M:%S",
        _ => return None,
    })
}

/// `%`, flags, a width, `E` or `O`, and the letter.
struct Directive {
    letter: u8,
    fill: Option<u8>,
    upper: bool,
    /// The opposite of the usual case.
    swap: bool,
    width: usize,
}

impl Directive {
    /// The directive at the beginning of `text`, and its length; no directive if the text ends.
    fn parse(text: &[u8]) -> (Option<Directive>, usize) {
        let mut directive = Directive {
            letter: 0,
            fill: None,
            upper: false,
            swap: false,
            width: 0,
        };
        let mut at = 1;
        while let Some(&flag) = text.get(at) {
            match flag {
                b'_' => directive.fill = Some(b' '),
                b'0' => directive.fill = Some(b'0'),
                b'-' => directive.fill = Some(b'-'),
                b'^' => directive.upper = true,
                b'#' => directive.swap = true,
                _ => break,
            }
            at += 1;
        }
        while let Some(digit) = text.get(at).filter(|b| b.is_ascii_digit()) {
            let width = directive.width * 10 + usize::from(digit - b'0');
            directive.width = width.min(limits::TIME_FIELD_WIDTH_MAX);
            at += 1;
        }
        // Other ways to write numbers and eras, which the C locale does not have.
        if matches!(text.get(at), Some(b'E' | b'O')) {
            at += 1;
        }
        match text.get(at) {
            Some(&letter) => (
                Some(Directive {
                    letter,
                    ..directive
                }),
                at + 1,
            ),
            None => (None, at),
        }
    }

    fn change_case(&self, text: &mut [u8]) {
        match self.letter {
            b'p' | b'Z' if self.swap => text.make_ascii_lowercase(),
            _ if self.upper || self.swap => text.make_ascii_uppercase(),
            _ => {}
        }
    }

    /// Fills what was written from `start` on up to the width.
    fn pad(&self, (width, fill): Fill, start: usize, out: &mut Vec<u8>) {
        let fill = self.fill.unwrap_or(fill);
        if fill == b'-' {
            return;
        }
        let width = if self.width > 0 { self.width } else { width };
        let missing = width.saturating_sub(out.len() - start);
        out.splice(start..start, std::iter::repeat_n(fill, missing));
    }
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(moment: Moment<'_>, format: &str) -> String {
        let mut out = vec![];
        moment.format(format.as_bytes(), &mut out);
        String::from_utf8(out).expect("what is written is ASCII")
    }

    #[test]
    fn moments_in_utc() {
        for (seconds, format, want) in [
            (0, "%F %T %a %j", "1970-01-01 00:00:00 Thu 001"),
            (951_782_400, "%F %A %j", "2000-02-29 Tuesday 060"),
            (951_868_800, "%F %T %a %j", "2000-03-01 00:00:00 Wed 061"),
            (1_709_251_199, "%F %T %j", "2024-02-29 23:59:59 060"),
            (1_735_689_599, "%F %j %p %I", "2024-12-31 366 PM 11"),
            (1_772_323_200, "%F %j", "2026-03-01 060"),
            (4_107_542_400, "%F %j %u", "2100-03-01 060 1"),
            (-1, "%F %T %s", "1969-12-31 23:59:59 -1"),
            (0, "%Z %z", "GMT +0000"),
            (
                1_700_000_000,
                "%C %G %g %V %U %W %k %l %P %r",
                "20 2023 23 46 46 46 22 10 pm 10:13:20 PM",
            ),
            (
                1_700_000_000,
                "%c|%x|%X|%h|%D|%R|%n|%t|%%",
                "Tue Nov 14 22:13:20 2023|11/14/23|22:13:20|Nov|11/14/23|22:13|\n|\t|%",
            ),
            (
                1_700_000_000,
                "%-d|%_d|%5d|%^a|%#a|%10A|%Ey|%Od",
                "14|14|00014|TUE|TUE|   Tuesday|23|14",
            ),
            (
                0,
                "%-d|%_d|%_5H|%-j|%#p|%#Z|%010B|%-5d|%^B",
                "1| 1|    0|1|am|gmt|000January|1|JANUARY",
            ),
            (0, "%v|%E |%f|%q|%N|%+ |%Q%", "%v|%E |%f|%q|%N|%+ |%Q%"),
            (1_609_459_200, "%G-W%V %U %W %u %w", "2020-W53 00 00 5 5"),
        ] {
            assert_eq!(
                shown(Moment::utc(seconds), format),
                want,
                "{seconds} {format}"
            );
        }
    }

    #[test]
    fn a_zone_changes_its_clocks() {
        let change = |since, offset, is_summer, name: &str| Change {
            since,
            offset,
            is_summer,
            name: name.into(),
        };
        let zone = Zone::new(vec![
            change(0, 3_600, false, "CET"),
            change(1_774_746_000, 7_200, true, "CEST"),
            change(1_792_890_000, -12_600, false, "XST"),
        ]);
        for (seconds, want) in [
            (-1, "1970-01-01 00:59:59 CET +0100"),
            (1_774_745_999, "2026-03-29 01:59:59 CET +0100"),
            (1_774_746_000, "2026-03-29 03:00:00 CEST +0200"),
            (1_792_890_000, "2026-10-24 21:30:00 XST -0330"),
        ] {
            assert_eq!(shown(Moment::of(seconds, &zone), "%F %T %Z %z"), want);
        }
        let parts = Moment::of(1_774_746_000, &zone).parts();
        assert_eq!(parts, [0, 0, 3, 29, 3, 2026, 1, 88, 1]);
    }

    #[test]
    fn no_moment_and_no_format_is_too_much() {
        let zone = Zone::new(vec![Change {
            since: 0,
            offset: 3_600,
            is_summer: false,
            name: "CET".into(),
        }]);
        for seconds in [i64::MIN, -1 << 50, 1 << 50, i64::MAX] {
            let moment = Moment::of(seconds, &zone);
            assert!(!shown(moment, "%c %G %s %U").is_empty());
        }
        let wide = shown(Moment::utc(0), "%99999999999999999999d");
        assert_eq!(wide.len(), limits::TIME_FIELD_WIDTH_MAX);
    }
}
