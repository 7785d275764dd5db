//! `s.ftime`: seconds since 1970 as a date, in UTC.

use std::io::Write;

use super::{ParamKind, TransformSig, with};
use crate::script::value::{Heap, Text, Value, parse_int};

/// The transformations of this file.
pub(super) const TABLE: &[TransformSig] = &[with(
    "s.ftime",
    &[ParamKind::Text],
    1,
    "a format",
    |heap, input, params| {
        let format = params.text(0, heap);
        let Some(seconds) = parse_int(heap.bytes(input)) else {
            return Value::Str(Text::EMPTY);
        };
        ftime(heap, seconds, format)
    },
)];

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

/// A moment taken apart.
struct Date {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    yearday: i64,
    second_of_day: i64,
    seconds: i64,
}

impl Date {
    fn of(seconds: i64) -> Date {
        let days = seconds.div_euclid(86_400);
        // Years begin in March here, so that the leap day comes last; eras are 400 years.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12;
        let year = year_of_era + era * 400 + i64::from(month < 2);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let yearday = (day_of_year + 59 + i64::from(is_leap && month >= 2))
            % if month < 2 { 365 } else { 1_000 };
        Date {
            year,
            month: month as usize,
            day,
            weekday: (days + 4).rem_euclid(7) as usize,
            yearday,
            second_of_day: seconds.rem_euclid(86_400),
            seconds,
        }
    }

    fn write(&self, specifier: u8, out: &mut Vec<u8>) {
        let s = self.second_of_day;
        let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
        let twelve = (hour + 11) % 12 + 1;
        let half = if hour < 12 { "AM" } else { "PM" };
        // Writing into memory does not fail.
        let _ = match specifier {
            b'Y' => write!(out, "{}", self.year),
            b'y' => write!(out, "{:02}", self.year.rem_euclid(100)),
            b'm' => write!(out, "{:02}", self.month + 1),
            b'd' => write!(out, "{:02}", self.day),
            b'e' => write!(out, "{:2}", self.day),
            b'H' => write!(out, "{hour:02}"),
            b'I' => write!(out, "{twelve:02}"),
            b'p' => write!(out, "{half}"),
            b'M' => write!(out, "{minute:02}"),
            b'S' => write!(out, "{second:02}"),
            b'j' => write!(out, "{:03}", self.yearday + 1),
            b's' => write!(out, "{}", self.seconds),
            b'a' => write!(out, "{}", &DAYS[self.weekday][..3]),
            b'A' => write!(out, "{}", DAYS[self.weekday]),
            b'b' | b'h' => write!(out, "{}", &MONTHS[self.month][..3]),
            b'B' => write!(out, "{}", MONTHS[self.month]),
            b'u' => write!(out, "{}", (self.weekday + 6) % 7 + 1),
            b'w' => write!(out, "{}", self.weekday),
            b'z' => write!(out, "+0000"),
            b'Z' => write!(out, "GMT"),
            b'n' => out.write_all(b"\n"),
            b't' => out.write_all(b"\t"),
            b'%' => out.write_all(b"%"),
            other => out.write_all(&[b'%', other]),
        };
    }
}

fn ftime(heap: &mut Heap, seconds: i64, format: Text) -> Value {
    // Beyond these years the arithmetic of days could overflow; nobody prints them.
    let date = Date::of(seconds.clamp(-1 << 50, 1 << 50));
    heap.build(|heap, out| {
        let mut bytes = heap.bytes(format).iter().copied();
        while let Some(b) = bytes.next() {
            match (b, if b == b'%' { bytes.next() } else { None }) {
                (b'%', Some(b'F')) => expand(&date, b"%Y-%m-%d", out),
                (b'%', Some(b'T')) => expand(&date, b"%H:%M:%S", out),
                (b'%', Some(b'R')) => expand(&date, b"%H:%M", out),
                (b'%', Some(b'D')) => expand(&date, b"%m/%d/%y", out),
                (b'%', Some(b'c')) => expand(&date, b"%a %b %e %H:%M:%S %Y", out),
                (b'%', Some(specifier)) => date.write(specifier, out),
                (b, _) => out.push(b),
            }
        }
    })
}

fn expand(date: &Date, format: &[u8], out: &mut Vec<u8>) {
    let mut bytes = format.iter().copied();
    while let Some(b) = bytes.next() {
        match (b, if b == b'%' { bytes.next() } else { None }) {
            (b'%', Some(specifier)) => date.write(specifier, out),
            (b, _) => out.push(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 Thu 001"),
            (951_782_400, "2000-02-29 00:00:00 Tue 060"),
            (951_868_800, "2000-03-01 00:00:00 Wed 061"),
            (1_709_251_199, "2024-02-29 23:59:59 Thu 060"),
            (1_735_689_599, "2024-12-31 23:59:59 Tue 366"),
            (1_700_000_000, "2023-11-14 22:13:20 Tue 318"),
            (-1, "1969-12-31 23:59:59 Wed 365"),
        ] {
            let mut heap = Heap::default();
            let format = heap.text(b"%F %T %a %j");
            let value = ftime(&mut heap, seconds, format);
            assert_eq!(heap.str(value), Some(expected.as_bytes()), "{seconds}");
        }
    }
}
