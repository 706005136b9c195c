//! The few facts of an X.509 certificate that a server needs: names, validity, public key
//! (RFC 5280 §4.1). It judges nothing else: trust is the client's business.

use std::net::IpAddr;
use std::ops::Range;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Seconds since 1970 from which the certificate is valid.
    pub(super) not_before: i64,
    /// Seconds since 1970 of the last valid moment.
    pub(super) not_after: i64,
    /// DNS names, lower case, wildcards as they stand.
    pub(super) names: Vec<String>,
    /// IP addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Where the SubjectPublicKeyInfo stands.
    pub(super) spki: Range<usize>,
}

/// Reads the DER of a certificate; `None` if it is none.
pub(super) fn read(der: &[u8]) -> Option<Facts> {
    let mut outer = Reader { der, at: 0, end: der.len() };
    let mut certificate = outer.enter(SEQUENCE)?;
    let mut body = certificate.enter(SEQUENCE)?;
    body.skip_if(VERSION)?;
    body.next(INTEGER)?;
    body.next(SEQUENCE)?; // signature algorithm
    body.next(SEQUENCE)?; // issuer
    let mut validity = body.enter(SEQUENCE)?;
    let not_before = validity.time()?;
    let not_after = validity.time()?;
    body.next(SEQUENCE)?; // subject
    let start = body.at;
    body.next(SEQUENCE)?;
    let spki = start..body.at;
    let mut facts = Facts { not_before, not_after, names: Vec::new(), addresses: Vec::new(), spki };
    while !body.is_empty() {
        match body.peek()? {
            EXTENSIONS => extensions(body.enter(EXTENSIONS)?.enter(SEQUENCE)?, &mut facts)?,
            other => {
                body.next(other)?;
            }
        }
    }
    Some(facts)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

fn extensions(mut list: Reader<'_>, facts: &mut Facts) -> Option<()> {
    while !list.is_empty() {
        let mut extension = list.enter(SEQUENCE)?;
        let object = extension.next(OBJECT)?;
        extension.skip_if(BOOLEAN)?;
        if &list.der[object] != SUBJECT_ALT_NAME {
            continue;
        }
        let mut names = extension.enter(OCTET_STRING)?.enter(SEQUENCE)?;
        while !names.is_empty() {
            let tag = names.peek()?;
            let value = &list.der[names.next(tag)?];
            match tag {
                DNS_NAME => facts.names.push(std::str::from_utf8(value).ok()?.to_ascii_lowercase()),
                IP_ADDRESS => facts.addresses.extend(address(value)),
                _ => {}
            }
        }
    }
    Some(())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

/// A cursor over DER elements; ranges are into the whole.
struct Reader<'a> {
    der: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.at == self.end
    }

    fn peek(&self) -> Option<u8> {
        (self.at < self.end).then(|| self.der[self.at])
    }

    /// Steps over the next element, which must have this tag: where its content stands.
    fn next(&mut self, tag: u8) -> Option<Range<usize>> {
        if self.peek()? != tag {
            return None;
        }
        let first = *self.der[..self.end].get(self.at + 1)?;
        let mut start = self.at + 2;
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let bytes = self.der[..self.end].get(start..start + count)?;
            start += count;
            bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte))
        };
        let end = start.checked_add(len).filter(|&end| end <= self.end)?;
        self.at = end;
        Some(start..end)
    }

    fn enter(&mut self, tag: u8) -> Option<Self> {
        let content = self.next(tag)?;
        Some(Self { der: self.der, at: content.start, end: content.end })
    }

    fn skip_if(&mut self, tag: u8) -> Option<()> {
        if self.peek()? == tag {
            self.next(tag)?;
        }
        Some(())
    }

    /// UTCTime or GeneralizedTime as seconds since 1970 (RFC 5280 §4.1.2.5).
    fn time(&mut self) -> Option<i64> {
        let tag = self.peek()?;
        let text = self.next(tag)?;
        let text = std::str::from_utf8(&self.der[text]).ok()?.strip_suffix('Z')?;
        let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
        let (year, rest) = match tag {
            UTC_TIME => (if two(0)? < 50 { 2000 + two(0)? } else { 1900 + two(0)? }, 2),
            GENERALIZED_TIME => (two(0)? * 100 + two(2)?, 4),
            _ => return None,
        };
        let day = days(year, two(rest)?, two(rest + 2)?)?;
        let seconds = two(rest + 4)? * 3600 + two(rest + 6)? * 60 + two(rest + 8)?;
        (text.len() == rest + 10).then_some(day * 86_400 + seconds)
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, counted from March so that the leap
/// day is a year's last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The day of the Gregorian calendar (year, month, day) that begins `days` after 1970-01-01.
pub(super) fn date(days: i64) -> (i32, u8, u8) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year as i32, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(2026, 11, 21), Some(20_778));
        for day in (-30_000..60_000).step_by(17) {
            let (year, month, dom) = date(day);
            assert_eq!(days(year.into(), month.into(), dom.into()), Some(day));
        }
    }

    #[test]
    fn reads_what_rcgen_writes() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["Example.org", "*.example.org", "192.0.2.1", "2001:db8::1"];
        let mut params = rcgen::CertificateParams::new(names.map(String::from)).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 2, 29);
        params.not_after = rcgen::date_time_ymd(2057, 1, 1); // GeneralizedTime
        let certificate = params.self_signed(&key).unwrap();
        let facts = read(certificate.der()).unwrap();
        assert_eq!(facts.names, ["example.org", "*.example.org"]);
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!(facts.addresses, addresses);
        assert_eq!(facts.not_before, days(2020, 2, 29).unwrap() * 86_400);
        assert_eq!(facts.not_after, days(2057, 1, 1).unwrap() * 86_400);
        use rcgen::PublicKeyData;
        assert_eq!(certificate.der()[facts.spki], key.subject_public_key_info());
    }

    #[test]
    fn no_prefix_and_no_bit_flip_panics() {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = signed.cert.der();
        for end in 0..der.len() {
            assert_eq!(read(&der[..end]), None);
            let mut broken = der.to_vec();
            for bit in 0..8 {
                broken[end] ^= 1 << bit;
                let _ = read(&broken);
                broken[end] ^= 1 << bit;
            }
        }
    }
}
