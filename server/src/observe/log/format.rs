//! Formats a record as a line. In both formats, whatever a peer sends, a record is exactly one line
//! and cannot control a terminal.

mod frame;
mod json;
mod redact;
#[cfg(test)]
mod tests;

pub(super) use frame::ENTRY_END;

use super::Record;
use crate::config::{LogConfig, LogFormat};
use frame::Frame;
use redact::Redaction;
use ringway_codec::h1::response::decimal;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// A line format with the time of the current second already written out.
#[derive(Clone, Debug)]
pub struct Format {
    kind: LogFormat,
    frame: Frame,
    redaction: Redaction,
    second: u64,
    /// `21/Nov/2026:22:36:36 +0000`
    stamp: Vec<u8>,
    /// The peer of the last line: requests of one connection follow each other.
    peer: Option<IpAddr>,
    /// The peer's address as text.
    peer_text: Vec<u8>,
}

impl Format {
    /// A format; with [`LogFormat::Off`] every line is empty.
    pub fn new(kind: LogFormat) -> Self {
        Self::of(&LogConfig { format: kind, ..LogConfig::default() })
    }

    /// The format of a configuration: lines as they are sent where it says, without what it
    /// leaves out.
    pub fn of(config: &LogConfig) -> Self {
        Self {
            kind: config.format,
            frame: Frame::of(config),
            redaction: Redaction::of(config),
            second: u64::MAX,
            stamp: Vec::with_capacity(26),
            peer: None,
            peer_text: b"unix:".to_vec(),
        }
    }

    /// Which format it is.
    pub fn kind(&self) -> LogFormat {
        self.kind
    }

    /// Appends the line of `record` with its line feed.
    pub fn line(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.kind == LogFormat::Off {
            return;
        }
        let redacted;
        let record = if self.redaction.is_some() {
            redacted = self.redaction.apply(record);
            &redacted
        } else {
            record
        };
        self.know_peer(record.remote);
        match &mut self.frame {
            Frame::Line => {}
            Frame::Syslog(head) => head.write(record, out),
            Frame::Journal => frame::journal(record, &self.peer_text, out),
        }
        match self.kind {
            LogFormat::Off => {}
            LogFormat::Common => self.common(record, b"-", out),
            LogFormat::Combined => self.combined(record, out),
            LogFormat::Json => self.json(record, out),
        }
        out.extend_from_slice(self.frame.end());
    }

    /// `ip - user [time] "request" status bytes`, as Apache writes it; `none` stands for no bytes.
    fn common(&mut self, record: &Record<'_>, none: &[u8], out: &mut Vec<u8>) {
        let second = record.unix_micros / 1_000_000;
        if second != self.second {
            self.second = second;
            self.stamp.clear();
            stamp(second, &mut self.stamp);
        }
        out.extend_from_slice(&self.peer_text);
        out.extend_from_slice(b" - ");
        user(record.user, out);
        out.extend_from_slice(b" [");
        out.extend_from_slice(&self.stamp);
        out.extend_from_slice(b"] \"");
        if record.method.is_empty() {
            or_dash(record.target, out);
        } else {
            escape(record.method, out);
            out.push(b' ');
            escape(record.target, out);
            out.push(b' ');
            out.extend_from_slice(record.protocol.as_bytes());
        }
        out.extend_from_slice(b"\" ");
        number(out, u64::from(record.status));
        out.push(b' ');
        match record.body_bytes {
            0 => out.extend_from_slice(none),
            bytes => number(out, bytes),
        }
    }

    /// As [`Self::common`] with `"referer" "agent"`, byte for byte as nginx writes it.
    fn combined(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.common(record, b"0", out);
        out.extend_from_slice(b" \"");
        or_dash(record.referer, out);
        out.extend_from_slice(b"\" \"");
        or_dash(record.user_agent, out);
        out.push(b'"');
    }

    /// Formats the peer's address; an IPv4-mapped address is shown as IPv4.
    fn know_peer(&mut self, remote: Option<SocketAddr>) {
        let peer = remote.map(|remote| remote.ip());
        if peer != self.peer {
            self.peer = peer;
            self.peer_text.clear();
            match peer {
                Some(ip) => {
                    let ip = self.redaction.address(ip.to_canonical());
                    write(&mut self.peer_text, format_args!("{ip}"));
                }
                None => self.peer_text.extend_from_slice(b"unix:"),
            }
        }
    }
}

/// Appends formatted text; a `Vec` takes everything.
fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn or_dash(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() { out.push(b'-') } else { escape(bytes, out) }
}

/// A user's name. It stands between spaces, so that those in it are escaped, unlike nginx's.
fn user(name: &[u8], out: &mut Vec<u8>) {
    if name.is_empty() {
        return out.push(b'-');
    }
    for (at, part) in name.split(|byte| *byte == b' ').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\\x20");
        }
        escape(part, out);
    }
}

/// The bytes that stand for themselves in both formats: printable ASCII but for `"` and `\`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

/// Appends the plain bytes that `bytes` begins with; returns the rest.
fn plain<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let run = bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(bytes.len());
    out.extend_from_slice(&bytes[..run]);
    &bytes[run..]
}

/// nginx's default escaping: `"`, `\`, control characters and everything beyond ASCII as `\\xXX`.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = plain(bytes, out);
    while let Some((&byte, after)) = rest.split_first() {
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        out.extend_from_slice(&[b'\\', b'x', high, low]);
        rest = plain(after, out);
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(decimal(value, &mut [0; 20]));
}

/// Day, month and time of a second since 1970, in UTC, as Apache and nginx write it.
fn stamp(second: u64, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = date(second);
    let name = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    let (hour, minute, second) = time_of_day(second);
    write(out, format_args!("{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000"));
}

/// Hour, minute and second of a second since 1970.
fn time_of_day(second: u64) -> (u64, u64, u64) {
    let time = second % 86_400;
    (time / 3600, time / 60 % 60, time % 60)
}

/// Year, month and day, from 1 on, of a second since 1970.
fn date(second: u64) -> (u64, u64, u64) {
    // Days are counted from 1 March of year 0, so that the leap day is a year's last: 400 years
    // have 146,097 days, and from March on the months' lengths repeat every 153 days.
    let days = second / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + turn, month, day)
}
