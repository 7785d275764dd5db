//! The moment of a Date header field (RFC 3261 §20.17).

/// Seconds since 1970; `None`: it is none. `Sat, 13 Nov 2010 23:29:00 GMT`
pub(super) fn seconds(text: &[u8]) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(',')?;
    let mut words = rest.split_ascii_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month))? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|n| n.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_gmt = words.next()?.eq_ignore_ascii_case("GMT");
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
    let is_date = (1..=31).contains(&day) && (1..=9999).contains(&year);
    if !is_gmt || !is_time || !is_date || clock.next().is_some() || words.next().is_some() {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days since 1970 in the Gregorian calendar. Years are counted from March, so that the leap day
/// is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let before_month = (153 * since_march + 2) / 5;
    let before_year = 365 * year + year / 4 - year / 100 + year / 400;
    before_year + before_month + day - 1 - DAYS_TO_1970
}

/// Days from 1 March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn moments() {
        let table = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sat, 13 Nov 2010 23:29:00 GMT", Some(1_289_690_940)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 1 Mar 2024 00:00:00 gmt", Some(1_709_251_200)),
            ("Sat, 13 Nov 2010 23:29:00 CET", None),
            ("Sat, 13 Nov 2010 24:29:00 GMT", None),
            ("Sat, 13 Nov 2010 23:29 GMT", None),
            ("Sat, 13 Nov 99999999999999999999 23:29:00 GMT", None),
            ("13 Nov 2010 23:29:00 GMT", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(seconds(text.as_bytes()), want, "{text}");
        }
    }
}
