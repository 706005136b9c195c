//! The hosts of a site, in the form in which requests name them.

use super::super::value::{Typed, Written, Wrong, quote};
use ringway_codec::authority;
use std::net::Ipv6Addr;

/// A host: a name or an address (IPv6 without brackets), or `*.` and a name for all names with one
/// label before it. Lower case, without a last dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(pub String);

impl HostPattern {
    /// The name below which it stands for every label.
    pub fn wildcard(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

/// The host that `text` is, if it is one and nothing else.
fn host(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    let canonical = authority::canonical(text.as_bytes(), None).ok()?;
    let canonical = str::from_utf8(&canonical).ok()?;
    // With a port it would never match.
    let is_bare = canonical.starts_with('[') && canonical.ends_with(']')
        || !canonical.contains([':', '*', '[']);
    (is_bare && !text.ends_with(':')).then(|| authority::host(canonical).to_owned())
}

impl Typed for HostPattern {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("a host like \"www.example.com\"")?;
        if !text.is_ascii() {
            return Err(Wrong::new(format!(
                "\"{text}\" is not ASCII: write the form that begins with xn-- (RFC 5891)"
            )));
        }
        if let Some(name) = text.strip_prefix("*.") {
            let is_name =
                |host: &String| !host.contains(':') && host.parse::<std::net::Ipv4Addr>().is_err();
            if let Some(name) = host(name).filter(is_name) {
                return Ok(Self(format!("*.{name}")));
            }
        } else if let Some(host) = host(text) {
            return Ok(Self(host));
        }
        if text == "*" {
            return Err(Wrong::new(
                "\"*\" is no host: a site without `hosts` answers for all that no other does",
            ));
        }
        let wrong = Wrong::new(format!(
            "expected a host like \"www.example.com\" or \"*.example.com\", found \"{text}\""
        ));
        // A URL, or a host with its port.
        let bare = text.split_once("://").map_or(text, |(_, behind)| behind);
        let bare = bare.split('/').next().unwrap_or(bare);
        let canonical = authority::canonical(bare.as_bytes(), None);
        let canonical = canonical.ok().and_then(|text| String::from_utf8(text.into_owned()).ok());
        let meant = canonical.as_deref().map(authority::host).filter(|meant| !meant.contains('*'));
        Err(match meant {
            Some(meant) => wrong.meant(quote(meant)),
            None => wrong,
        })
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, Option<String>> {
        HostPattern::parse(&Written::loose(text)).map(|host| host.0).map_err(|wrong| wrong.hint)
    }

    #[test]
    fn hosts_have_one_form() {
        for (text, form) in [
            ("Example.COM.", "example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[0::1]", "::1"),
            ("::1", "::1"),
            ("*.Example.com", "*.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(form), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_was_meant() {
        for (text, meant) in [
            ("example.com:443", Some("\"example.com\"")),
            ("https://example.com/a", Some("\"example.com\"")),
            ("[::1]:80", Some("\"::1\"")),
            ("*", None),
            ("*.*.example.com", None),
            ("a.*.example.com", None),
            ("*example.com", None),
            ("*.127.0.0.1", None),
            ("", None),
            ("a..b", None),
            ("a b", None),
            ("bücher.example", None),
        ] {
            assert_eq!(parse(text), Err(meant.map(str::to_owned)), "{text}");
        }
    }
}
