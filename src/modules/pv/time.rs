//! Time as scripts see it: `$Ts`, `$time(..)`, `$timef(..)`. Local time is UTC plus
//! `Config::utc_offset`, because a shard reads no time zone file.

use crate::modules::entry::{alias, filled, formatted, keyed, variable, word};
use crate::modules::{Call, Variable};
use crate::script::{Access, Heap, InnerKind, Value};

/// A moment in parts, as `struct tm` has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Civil {
    /// Full year.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// Sunday is 0.
    pub weekday: i64,
    /// From 0.
    pub yearday: i64,
}

impl Civil {
    /// The parts of so many seconds since 1970.
    pub(crate) fn of(seconds: i64) -> Civil {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Howard Hinnant's days-to-civil algorithm: eras of 400 years that begin in March.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let january = if month <= 2 {
            day_of_year - 306
        } else {
            day_of_year + 59
        };
        Civil {
            year,
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7),
            yearday: january + i64::from(month > 2 && is_leap),
        }
    }

    /// The text that a format of strftime(3) gives.
    pub(crate) fn format(&self, format: &str, out: &mut String) {
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some(directive) => self.directive(directive, out),
                None => out.push('%'),
            }
        }
    }

    fn directive(&self, directive: char, out: &mut String) {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
            weekday,
            yearday,
        } = *self;
        let (day_name, month_name) = (DAYS[weekday as usize], MONTHS[month as usize - 1]);
        let text = match directive {
            'Y' => year.to_string(),
            'y' => format!("{:02}", year.rem_euclid(100)),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'j' => format!("{:03}", yearday + 1),
            'w' => weekday.to_string(),
            'u' => (if weekday == 0 { 7 } else { weekday }).to_string(),
            'a' => day_name[..3].to_owned(),
            'A' => day_name.to_owned(),
            'b' | 'h' => month_name[..3].to_owned(),
            'B' => month_name.to_owned(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'D' => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'R' => format!("{hour:02}:{minute:02}"),
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            other => format!("%{other}"),
        };
        out.push_str(&text);
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

const PARTS: [&str; 9] = [
    "sec", "min", "hour", "mday", "mon", "year", "wday", "yday", "isdst",
];
const EXACT: [&str; 5] = ["s", "u", "sn", "un", "Sn"];

const SECONDS: Variable = variable(
    "Ts",
    |c, _, _| Value::Int(seconds(c)),
    "Seconds since 1970.",
);

pub(super) const VARIABLES: [Variable; 11] = [
    SECONDS,
    alias(SECONDS, "TS"),
    variable(
        "mts",
        |c, _, _| Value::Int(seconds(c)),
        "When the message was received.",
    ),
    variable(
        "Tb",
        |c, _, _| Value::Int(c.env.state.setup.started.as_secs() as i64),
        "When the process started.",
    ),
    variable(
        "Tf",
        |c, h, _| written(h, local(c), "%a %b %e %H:%M:%S %Y"),
        "The local time as text.",
    ),
    variable(
        "TF",
        |c, h, _| written(h, local(c), "%a %b %e %H:%M:%S %Y"),
        "The same.",
    ),
    keyed(
        "TV",
        InnerKind::OneOf(&EXACT),
        exact,
        "Seconds, microseconds, or both as text.",
    ),
    keyed(
        "time",
        InnerKind::OneOf(&PARTS),
        |c, _, a| part(local(c), a),
        "A part of the local time.",
    ),
    keyed(
        "utime",
        InnerKind::OneOf(&PARTS),
        |c, _, a| part(seconds(c), a),
        "A part of UTC.",
    ),
    keyed(
        "timef",
        InnerKind::Name,
        |c, h, a| custom(h, local(c), a),
        "The local time, as strftime(3).",
    ),
    keyed(
        "utimef",
        InnerKind::Name,
        |c, h, a| custom(h, seconds(c), a),
        "UTC, as strftime(3).",
    ),
];

fn seconds(call: &Call<'_>) -> i64 {
    call.env.now.wall.as_secs() as i64
}

fn local(call: &Call<'_>) -> i64 {
    seconds(call) + call.env.state.setup.config.utc_offset
}

fn written(heap: &mut Heap, seconds: i64, format: &str) -> Value {
    let mut out = String::new();
    Civil::of(seconds).format(format, &mut out);
    heap.string(out.as_bytes())
}

fn custom(heap: &mut Heap, seconds: i64, access: &Access<'_>) -> Value {
    let format = String::from_utf8_lossy(heap.bytes(access.key.text())).into_owned();
    let mut out = String::new();
    Civil::of(seconds).format(&format, &mut out);
    filled(heap, out.as_bytes())
}

fn exact(call: &mut Call<'_>, heap: &mut Heap, access: &Access<'_>) -> Value {
    let micros = call.env.now.wall.as_micros();
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    match EXACT.get(word(access)) {
        Some(&"s" | &"sn") => Value::Int(whole as i64),
        Some(&"u" | &"un") => Value::Int(rest as i64),
        _ => formatted(heap, format_args!("{whole}.{rest:06}")),
    }
}

fn part(seconds: i64, access: &Access<'_>) -> Value {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        weekday,
        yearday,
    } = Civil::of(seconds);
    let parts = [
        second,
        minute,
        hour,
        day,
        month,
        year,
        weekday + 1,
        yearday + 1,
        0,
    ];
    parts
        .get(word(access))
        .map_or(Value::Null, |n| Value::Int(*n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text() {
        for (seconds, format, want) in [
            (0, "%F %T %a %j", "1970-01-01 00:00:00 Thu 001"),
            (951_782_400, "%F %A %j", "2000-02-29 Tuesday 060"),
            (1_709_251_199, "%F %T %j", "2024-02-29 23:59:59 060"),
            (1_735_689_599, "%F %j %p %I", "2024-12-31 366 PM 11"),
            (1_772_323_200, "%F %j", "2026-03-01 060"),
            (4_107_542_400, "%F %j %u", "2100-03-01 060 1"),
            (-1, "%F %T", "1969-12-31 23:59:59"),
            (0, "%Q%", "%Q%"),
        ] {
            let mut out = String::new();
            Civil::of(seconds).format(format, &mut out);
            assert_eq!(out, want, "{seconds} {format}");
        }
    }
}
