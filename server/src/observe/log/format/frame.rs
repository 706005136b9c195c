//! What a line wears where it goes: nothing in a file, a head for syslog, fields beside it for the
//! journal.

use super::super::Record;
use super::{date, escape, number, time_of_day, write};
use crate::config::LogConfig;

/// The end of an entry for the journal. No value holds a line feed.
pub(in crate::observe::log) const ENTRY_END: &[u8] = b"\n\n";

/// How lines are framed.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Line,
    Syslog(Box<Head>),
    Journal,
}

impl Frame {
    pub(super) fn of(config: &LogConfig) -> Self {
        match (&config.file, &config.syslog) {
            (None, Some(_)) => Self::Syslog(Box::new(Head::new(config))),
            (None, None) if config.journal => Self::Journal,
            _ => Self::Line,
        }
    }

    /// What follows a line.
    pub(super) fn end(&self) -> &'static [u8] {
        match self {
            Self::Journal => ENTRY_END,
            Self::Line | Self::Syslog(_) => b"\n",
        }
    }
}

/// The HEADER of syslog messages (RFC 5424 section 6.2), and no structured data.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// The facility, times 8.
    facility: u16,
    second: u64,
    /// The time of that second, `2026-11-21T22:36:36`.
    stamp: Vec<u8>,
    /// `host ringway pid access -`
    source: String,
}

/// Severities (RFC 5424 section 6.2.1): what the server failed at, and all else.
const ERROR: u16 = 3;
const INFORMATIONAL: u16 = 6;

fn severity(record: &Record<'_>) -> u16 {
    if record.status >= 500 { ERROR } else { INFORMATIONAL }
}

impl Head {
    fn new(config: &LogConfig) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        let is_name = (1..=255).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic());
        let host = if is_name { host } else { "-" };
        Self {
            facility: u16::from(config.facility.0) * 8,
            second: u64::MAX,
            stamp: Vec::new(),
            source: format!("{host} ringway {} access -", std::process::id()),
        }
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID - ` in front of the message.
    pub(super) fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let second = record.unix_micros / 1_000_000;
        if second != self.second {
            self.second = second;
            self.stamp.clear();
            let (year, month, day) = date(second);
            let (hour, minute, second) = time_of_day(second);
            write(
                &mut self.stamp,
                format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
            );
        }
        write(out, format_args!("<{}>1 ", self.facility + severity(record)));
        out.extend_from_slice(&self.stamp);
        let micros = record.unix_micros % 1_000_000;
        write(out, format_args!(".{micros:06}Z {} ", self.source));
    }
}

/// The fields of an entry, a line each; the message comes last, so that it is what a cut would
/// shorten.
pub(super) fn journal(record: &Record<'_>, peer: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"SYSLOG_IDENTIFIER=ringway\nPRIORITY=");
    number(out, severity(record).into());
    out.extend_from_slice(b"\nHTTP_STATUS=");
    number(out, record.status.into());
    out.extend_from_slice(b"\nHTTP_BYTES=");
    number(out, record.body_bytes);
    out.extend_from_slice(b"\nHTTP_DURATION_USEC=");
    number(out, u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX));
    for (name, value) in [
        (&b"CLIENT_ADDRESS"[..], peer),
        (b"HTTP_PROTOCOL", record.protocol.as_bytes()),
        (b"HTTP_METHOD", record.method),
        (b"HTTP_TARGET", record.target),
        (b"HTTP_HOST", record.host),
        (b"HTTP_USER", record.user),
    ] {
        if !value.is_empty() {
            out.push(b'\n');
            out.extend_from_slice(name);
            out.push(b'=');
            escape(value, out);
        }
    }
    out.extend_from_slice(b"\nMESSAGE=");
}
