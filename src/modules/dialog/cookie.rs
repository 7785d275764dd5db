//! The Record-Route parameter by which a request in a dialog names its dialog: `did=E.I`, both
//! numbers in hexadecimal, the least significant digit first.

use super::identity::DialogId;

/// What a Route says about the dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie {
    /// There is none, or an empty one.
    Absent,
    /// It cannot be read.
    Malformed,
    /// It names a dialog, which may exist.
    Of(DialogId),
}

/// Appends `;name=E.I`.
pub fn write(name: &str, id: DialogId, out: &mut Vec<u8>) {
    out.push(b';');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    write_number(id.h_entry, out);
    out.push(b'.');
    write_number(id.h_id, out);
}

fn write_number(mut n: u32, out: &mut Vec<u8>) {
    loop {
        out.push(b"0123456789abcdef"[(n & 15) as usize]);
        n >>= 4;
        if n == 0 {
            return;
        }
    }
}

/// Reads the value of the parameter; `None`: the Route has none.
pub fn read(value: Option<&[u8]>) -> Cookie {
    let Some(value) = value.filter(|v| !v.is_empty()) else {
        return Cookie::Absent;
    };
    let Some(dot) = value.iter().position(|b| *b == b'.') else {
        return Cookie::Malformed;
    };
    match (read_number(&value[..dot]), read_number(&value[dot + 1..])) {
        (Some(h_entry), Some(h_id)) => Cookie::Of(DialogId { h_entry, h_id }),
        _ => Cookie::Malformed,
    }
}

/// Both cases of digits and zeros at the end are accepted; digits beyond 32 bits fall away.
fn read_number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().rev().try_fold(0u32, |n, b| {
        let digit = (*b as char).to_digit(16)?;
        Some(n << 4 | digit)
    })
}

/// Whatever stands in a Route, reading it does not panic, and what it names reads the same again.
pub fn fuzz_cookie(data: &[u8]) {
    if let Cookie::Of(id) = read(Some(data)) {
        let mut out = vec![];
        write("did", id, &mut out);
        assert_eq!(read(Some(&out[5..])), Cookie::Of(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_written_as_the_original_writes_them() {
        for (h_entry, h_id, want) in [
            (3568, 8410, ";did=0fd.ad02"),
            (109, 1, ";did=d6.1"),
            (0, 0, ";did=0.0"),
            (4095, u32::MAX, ";did=fff.ffffffff"),
        ] {
            let mut out = vec![];
            write("did", DialogId { h_entry, h_id }, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn cookies_are_read() {
        let of = |h_entry, h_id| Cookie::Of(DialogId { h_entry, h_id });
        let table: [(Option<&str>, Cookie); 15] = [
            (None, Cookie::Absent),
            (Some(""), Cookie::Absent),
            (Some("0fd.ad02"), of(3568, 8410)),
            (Some("0FD.AD02"), of(3568, 8410)),
            (Some("0fd00.ad0200"), of(3568, 8410)),
            (Some("0.0"), of(0, 0)),
            (Some("1.ffffffffffffffffff"), of(1, u32::MAX)),
            (Some("abc"), Cookie::Malformed),
            (Some("zz.1"), Cookie::Malformed),
            (Some("1.zz"), Cookie::Malformed),
            (Some("."), Cookie::Malformed),
            (Some("1."), Cookie::Malformed),
            (Some(".1"), Cookie::Malformed),
            (Some("a.b.c"), Cookie::Malformed),
            (Some("0fd.ad02 "), Cookie::Malformed),
        ];
        for (value, want) in table {
            assert_eq!(read(value.map(str::as_bytes)), want, "{value:?}");
        }
    }
}
