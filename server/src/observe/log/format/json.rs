//! A record as one JSON object, with Caddy's names where Caddy has one.

use super::super::{More, Pair, Record, TlsSession};
use super::redact::Redaction;
use super::{Format, number, plain, write};
use ringway_codec::h1::response::decimal;

impl Format {
    /// One object, without a line feed.
    pub(super) fn json(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":");
        seconds(out, record.unix_micros);
        out.extend_from_slice(b",\"request\":{");
        if let Some(remote) = record.remote {
            out.extend_from_slice(b"\"remote_ip\":\"");
            out.extend_from_slice(&self.peer_text);
            if self.redaction.shows_ports() {
                out.extend_from_slice(b"\",\"remote_port\":\"");
                number(out, u64::from(remote.port()));
            }
            out.extend_from_slice(b"\",\"client_ip\":\"");
            out.extend_from_slice(&self.peer_text);
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"proto\":\"");
        out.extend_from_slice(record.protocol.as_bytes());
        out.push(b'"');
        text(out, "method", record.method);
        text(out, "host", record.host);
        text(out, "uri", record.target);
        let redaction = &self.redaction;
        fields(out, ",\"headers\":", request_headers(record), redaction);
        out.push(b'}');
        if !record.user.is_empty() {
            text(out, "user_id", record.user);
        }
        out.extend_from_slice(b",\"duration\":");
        seconds(out, u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX));
        named(out, "size", record.body_bytes);
        named(out, "status", u64::from(record.status));
        let sent = record.more.response_headers.iter().copied();
        fields(out, ",\"resp_headers\":", sent, redaction);
        more(out, &record.more);
        out.push(b'}');
    }
}

/// Microseconds as seconds with six places.
fn seconds(out: &mut Vec<u8>, micros: u64) {
    number(out, micros / 1_000_000);
    let mut digits = [0; 20];
    // The one in front keeps the zeros behind it.
    let part = decimal(1_000_000 + micros % 1_000_000, &mut digits);
    out.push(b'.');
    out.extend_from_slice(&part[1..]);
}

/// `,"name":1`
fn named(out: &mut Vec<u8>, name: &str, value: u64) {
    name_of(out, name);
    number(out, value);
}

/// `,"name":`
fn name_of(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// All header fields if they were kept, else the two that every record has.
fn request_headers<'a>(record: &'a Record<'_>) -> impl Iterator<Item = Pair<'a>> {
    let two: [Pair<'a>; 2] = [(b"User-Agent", record.user_agent), (b"Referer", record.referer)];
    let kept = record.more.headers;
    let two = two.into_iter().filter(move |(_, value)| kept.is_empty() && !value.is_empty());
    kept.iter().copied().chain(two)
}

fn more(out: &mut Vec<u8>, more: &More<'_>) {
    if let Some(tls) = &more.tls {
        session(out, tls);
    }
    let numbers = [
        ("conn_id", more.connection),
        ("stream_id", more.stream),
        ("rtt_us", more.rtt_micros.map(u64::from)),
        ("retrans", more.retransmits.map(u64::from)),
        ("bytes_wire", more.wire_bytes),
        ("worker", more.worker.map(u64::from)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            named(out, name, number);
        }
    }
    if let Some((urgency, incremental)) = more.priority {
        write(out, format_args!(",\"priority\":{{\"u\":{urgency},\"i\":{incremental}}}"));
    }
    if let Some(id) = more.connection_id {
        out.extend_from_slice(b",\"cid\":\"");
        for byte in id {
            write(out, format_args!("{byte:02x}"));
        }
        out.push(b'"');
    }
    if let Some(hit) = more.cache_hit {
        text(out, "cache", if hit { b"hit" } else { b"miss" });
    }
    for (name, value) in [("encoding", more.encoding), ("abort_reason", more.abort)] {
        if !value.is_empty() {
            text(out, name, value.as_bytes());
        }
    }
}

fn session(out: &mut Vec<u8>, tls: &TlsSession<'_>) {
    out.extend_from_slice(b",\"tls\":{\"version\":");
    string(out, tls.version.as_bytes());
    text(out, "cipher", tls.cipher.as_bytes());
    text(out, "alpn", tls.alpn.as_bytes());
    text(out, "sni", tls.sni.as_bytes());
    let (resumed, early) = (tls.resumed, tls.early_data);
    write(out, format_args!(",\"resumed\":{resumed},\"early_data\":{early}}}"));
}

/// `,"name":"value"`
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    name_of(out, name);
    string(out, value);
}

/// An object of lists, as Caddy has it: fields of one name are together where they follow each
/// other. Nothing at all if there are no fields.
fn fields<'a>(
    out: &mut Vec<u8>,
    lead: &str,
    pairs: impl Iterator<Item = Pair<'a>>,
    redaction: &Redaction,
) {
    let mut last: &[u8] = b"";
    for (name, value) in pairs {
        let value = redaction.value(name, value);
        if last.is_empty() {
            out.extend_from_slice(lead.as_bytes());
            out.push(b'{');
        } else if last.eq_ignore_ascii_case(name) {
            out.push(b',');
            string(out, value);
            continue;
        } else {
            out.extend_from_slice(b"],");
        }
        title(out, name);
        out.extend_from_slice(b":[");
        string(out, value);
        last = name;
    }
    if !last.is_empty() {
        out.extend_from_slice(b"]}");
    }
}

/// A field name as Caddy writes it, `User-Agent`, whichever protocol it came over.
fn title(out: &mut Vec<u8>, name: &[u8]) {
    let from = out.len();
    string(out, name);
    let mut first = true;
    for byte in &mut out[from + 1..] {
        *byte = if first { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        first = *byte == b'-';
    }
}

/// A JSON string. Control characters, also the second block that terminals obey (U+0080 to U+009F),
/// and the two line separators are escaped; what is not UTF-8 becomes U+FFFD.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in plain(bytes, out).utf8_chunks() {
        let mut rest = plain(chunk.valid().as_bytes(), out).len();
        while let Some(c) = chunk.valid()[chunk.valid().len() - rest..].chars().next() {
            character(out, c);
            let after = &chunk.valid().as_bytes()[chunk.valid().len() - rest + c.len_utf8()..];
            rest = plain(after, out).len();
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn character(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
            write(out, format_args!("\\u{:04x}", c as u32));
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}
