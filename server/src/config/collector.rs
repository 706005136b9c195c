//! Where an OpenTelemetry collector listens: the URL before `/v1/traces` and `/v1/metrics`.

use super::value::{Typed, Written, Wrong, quote};
use std::fmt;

/// The base URL of a collector for OTLP/HTTP, `http://127.0.0.1:4318`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands before `/v1/`: empty, or a path that ends without a slash.
    pub path: String,
}

impl CollectorUrl {
    /// Host and port as `Host` has them.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_at_checked(7)?;
        let is_plain = |c: char| c.is_ascii_graphic() && !"?#@\"<>\\^`{|}".contains(c);
        if !scheme.eq_ignore_ascii_case("http://") || !rest.chars().all(is_plain) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => {
                let (host, port) = literal.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => 80,
            None => return None,
        };
        let host = host.to_ascii_lowercase();
        let path = path.trim_end_matches('/').to_owned();
        (!host.is_empty()).then_some(Self { host, port, path })
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

/// A text is no URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCollectorUrl(String);

impl fmt::Display for BadCollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadCollectorUrl {}

impl std::str::FromStr for CollectorUrl {
    type Err = BadCollectorUrl;

    fn from_str(text: &str) -> Result<Self, BadCollectorUrl> {
        Self::parse(&Written::loose(text)).map_err(|wrong| BadCollectorUrl(wrong.message))
    }
}

impl Typed for CollectorUrl {
    fn parse(written: &Written<'_>) -> Result<Self, Wrong> {
        let text = written.text("a URL like \"http://127.0.0.1:4318\"")?;
        if let Some(url) = Self::of(text) {
            return Ok(url);
        }
        if text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
            return Err(Wrong::new(
                "collectors are spoken to in the clear: run one on this machine, which sends on \
                 over TLS",
            )
            .meant(quote("http://127.0.0.1:4318")));
        }
        let wrong = Wrong::new(format!(
            "expected a collector's URL like \"http://127.0.0.1:4318\", found \"{text}\""
        ));
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        Err(match Self::of(&format!("http://{bare}")) {
            Some(url) => wrong.meant(quote(&url.to_string())),
            None => wrong,
        })
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, Option<String>> {
        let parsed = CollectorUrl::parse(&Written::loose(text));
        parsed.map(|url| url.to_string()).map_err(|wrong| wrong.hint)
    }

    #[test]
    fn urls_of_collectors() {
        for (text, wanted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("HTTP://Collector/", "http://collector:80"),
            ("http://[::1]:4318/otlp/", "http://[::1]:4318/otlp"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(wanted));
        }
        for (text, hint) in [
            ("127.0.0.1:4318", Some("\"http://127.0.0.1:4318\"")),
            ("grpc://c:4317", Some("\"http://c:4317\"")),
            ("https://c:4318", Some("\"http://127.0.0.1:4318\"")),
            ("http://user@c:1", None),
            ("http://c:0", None),
            ("http://c:port", None),
            ("http://[::1", None),
            ("http://", None),
            ("http://c/?x", None),
        ] {
            assert_eq!(parse(text), Err(hint.map(str::to_owned)), "{text}");
        }
    }
}
