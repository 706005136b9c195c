//! The authority of a request, `uri-host [ ":" port ]` (RFC 3986 section 3.2, RFC 9110 section
//! 7.2), and its one canonical form: a host in lower case without the dot of a fully qualified
//! name, an IPv6 literal as RFC 5952 section 4 writes it, and a port only where it is not the
//! scheme's own (RFC 3986 section 6.2.3, RFC 9110 section 4.2.3). In this form, two authorities of
//! one origin are equal octet by octet. Certificates, logs and handlers see only this form.

use crate::scan::{HOST, PLAIN_HOST};
use alloc::borrow::Cow;
use core::fmt::{self, Write};
use core::net::Ipv6Addr;

/// The longest host name without a trailing dot: the 255 octets of RFC 1035 section 2.3.4 as text.
pub const NAME_MAX: usize = 253;

/// The error for an invalid authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer's authority is not a host with an optional port")
    }
}

impl core::error::Error for Invalid {}

/// The scheme's default port: 80 for `http`, 443 for `https` (RFC 9110 section 4.2).
pub fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"https") {
        return Some(443);
    }
    scheme.eq_ignore_ascii_case(b"http").then_some(80)
}

/// The canonical form of `text`, without the port if that is `default_port`. Copied only if it
/// differs.
///
/// # Errors
/// `text` is not an authority, or its host name is longer than [`NAME_MAX`] or has an
/// empty label.
pub fn canonical(text: &[u8], default_port: Option<u16>) -> Result<Cow<'_, [u8]>, Invalid> {
    if is_plain(text) {
        return Ok(Cow::Borrowed(text));
    }
    let parts = Parts::of(text).ok_or(Invalid)?;
    let mut form = Form { bytes: [0; FORM_MAX], len: 0 };
    let written = match parts.address {
        Some(address) => write!(form, "[{address}]"),
        None => {
            let name = parts.host.strip_suffix(b".").unwrap_or(parts.host);
            if name.len() > NAME_MAX || name.split(|octet| *octet == b'.').any(<[u8]>::is_empty) {
                return Err(Invalid);
            }
            form.append(name)
        }
    };
    let port = parts.port.filter(|port| Some(*port) != default_port);
    let written = written.and_then(|()| port.map_or(Ok(()), |port| write!(form, ":{port}")));
    written.map_err(|_| Invalid)?;
    let form = &mut form.bytes[..form.len];
    form.make_ascii_lowercase();
    Ok(if form == text { Cow::Borrowed(text) } else { Cow::Owned(form.to_vec()) })
}

/// The host of an authority in canonical form: a name, or an address without brackets.
pub fn host(canonical: &str) -> &str {
    if let Some(literal) = canonical.strip_prefix('[') {
        return literal.split_once(']').map_or(literal, |(address, _)| address);
    }
    canonical.split_once(':').map_or(canonical, |(name, _)| name)
}

/// Whether the octets of `text` form an authority.
pub(crate) fn is_wellformed(text: &[u8]) -> bool {
    Parts::of(text).is_some()
}

/// Whether `text` is canonical for every scheme, found in one pass: a name in lower case without
/// empty labels, with or without a port of four or five digits. Nearly every authority is.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let mut after_dot = true;
    let mut end = text.len();
    for (at, octet) in text.iter().enumerate() {
        match *octet {
            b'.' if after_dot => return false,
            b'.' => after_dot = true,
            b':' => {
                end = at;
                break;
            }
            octet if PLAIN_HOST.has(octet) => after_dot = false,
            _ => return false,
        }
    }
    !after_dot && end <= NAME_MAX && (end == text.len() || is_plain_port(&text[end + 1..]))
}

fn is_plain_port(digits: &[u8]) -> bool {
    matches!(digits.len(), 4 | 5) && digits[0] != b'0' && port(digits).is_some()
}

/// The parts of an authority.
struct Parts<'a> {
    /// As received; an IPv6 address has its brackets.
    host: &'a [u8],
    /// The address of an IPv6 literal.
    address: Option<Ipv6Addr>,
    /// `None` if missing or empty (RFC 3986 section 6.2.3).
    port: Option<u16>,
}

impl<'a> Parts<'a> {
    /// A non-empty host, and a port that is empty or a number below 65536.
    fn of(text: &'a [u8]) -> Option<Self> {
        let (end, address) = if text.first() == Some(&b'[') {
            let end = text.iter().position(|octet| *octet == b']')?;
            let address = core::str::from_utf8(&text[1..end]).ok()?;
            (end + 1, Some(address.parse().ok()?))
        } else {
            let end = text.iter().position(|octet| *octet == b':').unwrap_or(text.len());
            (end, None)
        };
        let (host, behind) = text.split_at(end);
        let port = match behind {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        let is_host = address.is_some() || (!host.is_empty() && is_name(host));
        is_host.then_some(Self { host, address, port })
    }
}

/// Parses a number below 65536 of at most five digits.
fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok()
}

/// `reg-name` (RFC 3986 section 3.2.2).
fn is_name(host: &[u8]) -> bool {
    let mut at = 0;
    while at < host.len() {
        if host[at] == b'%' {
            let digits = host.get(at + 1..at + 3).unwrap_or(b"");
            if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return false;
            }
            at += 3;
        } else if HOST.has(host[at]) {
            at += 1;
        } else {
            return false;
        }
    }
    true
}

/// A name, a colon and a port.
const FORM_MAX: usize = NAME_MAX + 6;

/// A canonical form being written.
struct Form {
    bytes: [u8; FORM_MAX],
    len: usize,
}

impl Form {
    fn append(&mut self, octets: &[u8]) -> fmt::Result {
        let place = self.bytes.get_mut(self.len..self.len + octets.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(octets);
        self.len += octets.len();
        Ok(())
    }
}

impl Write for Form {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn of(text: &str, port: u16) -> Option<String> {
        let form = canonical(text.as_bytes(), Some(port)).ok()?;
        Some(core::str::from_utf8(&form).unwrap().to_string())
    }

    /// F8: over https.
    #[test]
    fn f8_equal_authorities_have_one_form() {
        for (text, form) in [
            ("example.org", "example.org"),
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("EXAMPLE.org.:443", "example.org"),
            ("example.org:", "example.org"),
            ("example.org.:", "example.org"),
            ("example.org:00443", "example.org"),
            ("example.org:0443", "example.org"),
            ("example.org:80", "example.org:80"),
            ("example.org.:8443", "example.org:8443"),
            ("example.org:08443", "example.org:8443"),
            ("example.org:0", "example.org:0"),
            ("127.0.0.1.:443", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:443", "[::1]"),
            ("[::1]:", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:8443", "[::1]:8443"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[2001:db8:0:0:1:0:0:1]", "[2001:db8::1:0:0:1]"),
            ("[1::2:3:4:5:6:7]", "[1:0:2:3:4:5:6:7]"),
            ("[::ffff:7f00:1]", "[::ffff:127.0.0.1]"),
            ("x_y", "x_y"),
            ("a%2Fb", "a%2fb"),
        ] {
            assert_eq!(of(text, 443).as_deref(), Some(form), "{text}");
            assert_eq!(of(form, 443).as_deref(), Some(form), "the form of {form} is itself");
        }
        assert_eq!(of("a:443", 80).as_deref(), Some("a:443"));
        assert_eq!(of("a:80", 80).as_deref(), Some("a"));
        assert_eq!(canonical(b"a:443", None), Ok(Cow::Borrowed(&b"a:443"[..])));
    }

    /// F8, and row 101: invalid host names.
    #[test]
    fn f8_invalid_authorities() {
        for text in [
            "",
            ".",
            "..",
            "a..",
            "a..b",
            ".a",
            ":",
            ":80",
            ".:80",
            "a:80:80",
            "a:x",
            "a:65536",
            "a:123456",
            "a:-1",
            "a:+1",
            "a@b",
            "u:p@b",
            "a b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a\0",
            "a,b\t",
            "é",
            "a%",
            "a%2",
            "a%zz",
            "[",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[::1].",
            "[::1]:x",
            "[:::]",
            "[1.2.3.4]",
            "[::1%25lo]",
            "[v1.a]",
            "[12345::]",
            "[::1]]",
        ] {
            assert_eq!(of(text, 443), None, "{text:?}");
        }
        let label = "a".repeat(50);
        let name = [&*label; 5].join(".")[..NAME_MAX].to_string();
        assert_eq!(of(&name, 443).as_ref(), Some(&name));
        assert_eq!(of(&(name.clone() + ".:443"), 443).as_ref(), Some(&name));
        let ported = name.clone() + ":65535";
        assert_eq!(of(&ported, 443).as_ref(), Some(&ported));
        for long in ["a", "a.", "a:8443"] {
            assert_eq!(of(&(name.clone() + long), 443), None, "254 octets: {long}");
        }
        assert_eq!(of(&"x".repeat(70_000), 443), None);
    }

    /// A canonical authority is not copied.
    #[test]
    fn f8_a_canonical_authority_is_borrowed() {
        for text in ["a", "a.b:8080", "a:80", "[::1]", "[::1]:80", "a:1", "127.0.0.1:65535"] {
            let form = canonical(text.as_bytes(), Some(443)).unwrap();
            assert!(matches!(form, Cow::Borrowed(_)), "{text}");
        }
    }

    /// A plain authority has the same form for every scheme.
    #[test]
    fn plain_authorities_are_canonical() {
        let octets = b"aZ.:8043[]%-";
        let mut text = [0u8; 6];
        for number in 0..octets.len().pow(6) {
            let mut rest = number;
            for place in &mut text {
                (*place, rest) = (octets[rest % octets.len()], rest / octets.len());
            }
            for text in [&text[..], &text[..3], b"a:443", b"a:80"] {
                if is_plain(text) {
                    for port in [Some(80), Some(443), None] {
                        let parts = Parts::of(text).unwrap();
                        assert!(parts.port.is_none_or(|of| Some(of) != port));
                        assert!(!parts.host.ends_with(b".") && !parts.host.starts_with(b"."));
                        assert_eq!(text.to_ascii_lowercase(), text);
                    }
                }
            }
        }
    }

    #[test]
    fn hosts_of_authorities() {
        for (authority, name) in [
            ("a.b", "a.b"),
            ("a.b:8443", "a.b"),
            ("[::1]", "::1"),
            ("[::1]:8443", "::1"),
            ("", ""),
            ("[", ""),
        ] {
            assert_eq!(host(authority), name);
        }
    }
}
