//! What a line does not show. Credentials and cookies are never shown.

use super::super::Record;
use crate::config::{Addresses, LogConfig};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands for a value that is not shown.
const REDACTED: &[u8] = b"REDACTED";

/// What `[log]` leaves out of its lines.
#[derive(Clone, Debug)]
pub(super) struct Redaction {
    shows_queries: bool,
    addresses: Addresses,
    /// Names of fields, in lower case.
    fields: Vec<Box<[u8]>>,
}

impl Redaction {
    pub(super) fn of(config: &LogConfig) -> Self {
        let named = config.redact.iter().map(|name| name.0.as_str());
        // Where proxies say what the address is.
        let forwarded: &[&str] = match config.addresses {
            Addresses::Whole => &[],
            Addresses::Network => &["forwarded", "x-forwarded-for", "x-real-ip"],
        };
        Self {
            shows_queries: config.query,
            addresses: config.addresses,
            fields: named
                .chain(forwarded.iter().copied())
                .map(|name| name.as_bytes().into())
                .collect(),
        }
    }

    /// Whether a record has to be changed.
    pub(super) fn is_some(&self) -> bool {
        !self.shows_queries || !self.fields.is_empty()
    }

    /// The record as it may be shown, but for its lists of fields: see [`Self::value`].
    pub(super) fn apply<'a>(&self, record: &Record<'a>) -> Record<'a> {
        let mut record = record.clone();
        if !self.shows_queries {
            record.target = without_query(record.target);
        }
        if self.names(b"authorization") {
            record.user = b"";
        }
        for (name, value) in [
            (&b"referer"[..], &mut record.referer),
            (b"user-agent", &mut record.user_agent),
            (b"host", &mut record.host),
        ] {
            if !value.is_empty() {
                *value = self.value(name, value);
            }
        }
        record
    }

    /// The value of a field as it may be shown.
    pub(super) fn value<'a>(&self, name: &[u8], value: &'a [u8]) -> &'a [u8] {
        const CREDENTIALS: [&[u8]; 4] =
            [b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"];
        const URLS: [&[u8]; 3] = [b"referer", b"location", b"content-location"];
        let is = |other: &&[u8]| other.eq_ignore_ascii_case(name);
        if CREDENTIALS.iter().any(is) || self.names(name) {
            return REDACTED;
        }
        if !self.shows_queries && URLS.iter().any(is) { without_query(value) } else { value }
    }

    fn names(&self, name: &[u8]) -> bool {
        self.fields.iter().any(|field| field.eq_ignore_ascii_case(name))
    }

    /// Whether the port of a client is shown.
    pub(super) fn shows_ports(&self) -> bool {
        self.addresses == Addresses::Whole
    }

    /// An address as it may be shown.
    pub(super) fn address(&self, ip: IpAddr) -> IpAddr {
        match (self.addresses, ip) {
            (Addresses::Whole, ip) => ip,
            (Addresses::Network, IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            (Addresses::Network, IpAddr::V6(ip)) => {
                let [a, b, c, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        }
    }
}

fn without_query(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}
