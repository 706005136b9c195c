//! HTTP dates (RFC 9110 section 5.6.7): one form is written, all three are read.
//!
//! [`Date`] caches the `Date` field's value: the server's loop ticks it once per turn and a
//! response copies 29 bytes. No time zones (HTTP dates are GMT) and no years outside 1..=9999.

/// The current second as an IMF-fixdate, for example `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Debug)]
pub struct Date {
    unix: i64,
    text: [u8; LEN],
}

/// Bytes of an IMF-fixdate.
pub const LEN: usize = 29;

impl Date {
    /// The date of `unix_seconds` (seconds since 1970-01-01T00:00:00Z), clamped to the years
    /// 1..=9999.
    pub fn new(unix_seconds: i64) -> Self {
        let unix = unix_seconds.clamp(FIRST, LAST);
        Self { unix, text: write(unix) }
    }

    /// Moves to `unix_seconds`. Costs a comparison if the second is the same. Returns whether the
    /// text changed.
    pub fn tick(&mut self, unix_seconds: i64) -> bool {
        if unix_seconds == self.unix {
            return false;
        }
        *self = Self::new(unix_seconds);
        true
    }

    /// The 29 bytes of the IMF-fixdate.
    pub fn imf(&self) -> &[u8; LEN] {
        &self.text
    }

    /// Seconds since the epoch.
    pub fn unix(&self) -> i64 {
        self.unix
    }
}

/// Reads an IMF-fixdate, an RFC 850 date or an asctime date; seconds since the epoch.
///
/// As strict as the grammar (case-sensitive names, two digits, one space), except that any weekday
/// is accepted: RFC 9110 does not require that it fits the date. A two-digit year reads as
/// 1970..=2069, a fixed window in place of the RFC's "more than 50 years in the future", because
/// this crate has no clock. A leap second (`:60`) reads as the first second of the next minute.
/// `None` for everything else.
pub fn parse(text: &[u8]) -> Option<i64> {
    match text.len() {
        LEN => imf(text),
        24 => asctime(text),
        _ => rfc850(text),
    }
}

fn imf(t: &[u8]) -> Option<i64> {
    let shape = t[3] == b',' && t[4] == b' ' && t[7] == b' ' && t[11] == b' ' && t[16] == b' ';
    if !shape || &t[25..] != b" GMT" || !short_day(&t[..3]) {
        return None;
    }
    let year = two(&t[12..14])? * 100 + two(&t[14..16])?;
    seconds(year, month(&t[8..11])?, two(&t[5..7])?, clock(&t[17..25])?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(t: &[u8]) -> Option<i64> {
    let comma = t.iter().take(10).position(|&b| b == b',')?;
    if !DAYS.iter().any(|day| day.as_bytes() == &t[..comma]) || t.len() != comma + 24 {
        return None;
    }
    let t = &t[comma..];
    let shape = t[1] == b' ' && t[4] == b'-' && t[8] == b'-' && t[11] == b' ';
    if !shape || &t[20..] != b" GMT" {
        return None;
    }
    let short = two(&t[9..11])?;
    let year = if short < 70 { 2000 + short } else { 1900 + short };
    seconds(year, month(&t[5..8])?, two(&t[2..4])?, clock(&t[12..20])?)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(t: &[u8]) -> Option<i64> {
    let shape = t[3] == b' ' && t[7] == b' ' && t[10] == b' ' && t[19] == b' ';
    if !shape || !short_day(&t[..3]) {
        return None;
    }
    let day = if t[8] == b' ' { two(&[b'0', t[9]])? } else { two(&t[8..10])? };
    let year = two(&t[20..22])? * 100 + two(&t[22..24])?;
    seconds(year, month(&t[4..7])?, day, clock(&t[11..19])?)
}

fn short_day(name: &[u8]) -> bool {
    DAYS.iter().any(|day| &day.as_bytes()[..3] == name)
}

fn month(name: &[u8]) -> Option<i64> {
    (1..).zip(MONTHS.as_bytes().chunks(3)).find(|(_, m)| *m == name).map(|(number, _)| number)
}

fn two(digits: &[u8]) -> Option<i64> {
    let (tens, ones) = (digits[0].wrapping_sub(b'0'), digits[1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// `08:49:37` as a second of the day.
fn clock(t: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (two(&t[..2])?, two(&t[3..5])?, two(&t[6..8])?);
    let fits = t[2] == b':' && t[5] == b':' && hour < 24 && minute < 60 && second <= 60;
    fits.then_some(hour * 3600 + minute * 60 + second)
}

fn seconds(year: i64, month: i64, day: i64, second_of_day: i64) -> Option<i64> {
    if year == 0 || day == 0 || day > days_in(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400 + second_of_day)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. The year is taken to begin in March,
/// so that the leap day is its last and the days before a month are a straight line: (153 m + 2) /
/// 5.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`]: (year, month, day).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn write(unix: i64) -> [u8; LEN] {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1970-01-01 was a Thursday, number 4 when Sunday is 0.
    let weekday = (days + 4).rem_euclid(7) as usize;
    text[..3].copy_from_slice(&DAYS[weekday].as_bytes()[..3]);
    let at = (month as usize - 1) * 3;
    text[8..11].copy_from_slice(&MONTHS.as_bytes()[at..at + 3]);
    let pairs = [
        (5, day),
        (12, year / 100),
        (14, year % 100),
        (17, second / 3600),
        (20, second / 60 % 60),
        (23, second % 60),
    ];
    for (at, value) in pairs {
        text[at] = b'0' + (value / 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    }
    text
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: i64 = 784_111_777;

    #[test]
    fn rfc_9110_examples() {
        assert_eq!(Date::new(EXAMPLE).imf(), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(EXAMPLE));
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(EXAMPLE));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994"), Some(EXAMPLE));
        assert_eq!(parse(b"Sun Nov 16 08:49:37 1994"), Some(EXAMPLE + 10 * 86_400));
    }

    #[test]
    fn every_day_round_trips() {
        // Every day of the 800 years around now and every 29th of 8000, at a second that differs
        // from day to day.
        let near = -146_097..146_097i64;
        for days in near.chain((-719_000..2_200_000).step_by(29)) {
            let unix = days * 86_400 + (days * 7919).rem_euclid(86_400);
            assert_eq!(parse(&write(unix)), Some(unix));
        }
        assert_eq!(Date::new(i64::MIN).imf(), b"Mon, 01 Jan 0001 00:00:00 GMT");
        assert_eq!(Date::new(i64::MAX).imf(), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(Date::new(951_782_400).imf(), b"Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn tick_rewrites_only_on_a_new_second() {
        let mut date = Date::new(EXAMPLE);
        assert!(!date.tick(EXAMPLE));
        assert!(date.tick(EXAMPLE + 23));
        assert_eq!(date.imf(), b"Sun, 06 Nov 1994 08:50:00 GMT");
        assert_eq!(date.unix(), EXAMPLE + 23);
    }

    #[test]
    fn malformed_dates_are_none() {
        let bad: [&[u8]; 16] = [
            b"",
            b"Sun",
            b"Sun, 06 Nov 1994 08:49:37 UTC",
            b"Sun, 06 nov 1994 08:49:37 GMT",
            b"Sun, 6 Nov 1994 08:49:37 GMT",
            b"Sun, 00 Nov 1994 08:49:37 GMT",
            b"Sun, 31 Nov 1994 08:49:37 GMT",
            b"Sun, 29 Feb 1900 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:49:37 GMT",
            b"Sun, 06 Nov 1994 08:60:37 GMT",
            b"Sun, 06 Nov 1994 08:49:61 GMT",
            b"Sux, 06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06-Nov-1994 08:49:37 GMT",
            b"Someday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 199x",
            b"Sun, 06 Nov 1994 08:49:37 GMT ",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{}", core::str::from_utf8(text).unwrap());
        }
        assert_eq!(parse(b"Sunday, 06-Nov-69 08:49:37 GMT").map(|t| t > 3_000_000_000), Some(true));
        assert_eq!(parse(b"Sunday, 06-Nov-70 08:49:37 GMT").map(|t| t < 86_400 * 366), Some(true));
    }

    #[test]
    fn every_truncation_and_bit_flip_is_survived() {
        for form in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"] {
            for cut in 0..form.len() {
                assert_eq!(parse(&form.as_bytes()[..cut]), None);
            }
            for bit in 0..form.len() * 8 {
                let mut text = form.as_bytes().to_vec();
                text[bit / 8] ^= 1 << (bit % 8);
                parse(&text);
            }
        }
    }
}
