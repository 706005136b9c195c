//! Formats a record as a line. In both formats, whatever a peer sends, a record is exactly one line
//! and cannot control a terminal.

use super::{More, Pair, Record, TlsSession};
use crate::config::LogFormat;
use ringway_codec::h1::response::decimal;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// A line format with the time of the current second already written out.
#[derive(Clone, Debug)]
pub struct Format {
    kind: LogFormat,
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
        Self {
            kind,
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
        match self.kind {
            LogFormat::Off => {}
            LogFormat::Combined => self.combined(record, out),
            LogFormat::Json => self.json(record, out),
        }
    }

    /// `ip - user [time] "request" status bytes "referer" "agent"`, byte for byte as nginx writes
    /// it.
    fn combined(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let second = record.unix_micros / 1_000_000;
        if second != self.second {
            self.second = second;
            self.stamp.clear();
            stamp(second, &mut self.stamp);
        }
        self.know_peer(record.remote);
        out.extend_from_slice(&self.peer_text);
        out.extend_from_slice(b" - ");
        or_dash(record.user, out);
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
        number(out, record.body_bytes);
        out.extend_from_slice(b" \"");
        or_dash(record.referer, out);
        out.extend_from_slice(b"\" \"");
        or_dash(record.user_agent, out);
        out.extend_from_slice(b"\"\n");
    }

    /// One object a line, with Caddy's names where Caddy has one.
    fn json(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":");
        seconds(out, record.unix_micros);
        out.extend_from_slice(b",\"request\":{");
        if let Some(remote) = record.remote {
            self.know_peer(record.remote);
            out.extend_from_slice(b"\"remote_ip\":\"");
            out.extend_from_slice(&self.peer_text);
            out.extend_from_slice(b"\",\"remote_port\":\"");
            number(out, u64::from(remote.port()));
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
        fields(out, ",\"headers\":", request_headers(record));
        out.push(b'}');
        if !record.user.is_empty() {
            text(out, "user_id", record.user);
        }
        out.extend_from_slice(b",\"duration\":");
        seconds(out, u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX));
        named(out, "size", record.body_bytes);
        named(out, "status", u64::from(record.status));
        fields(out, ",\"resp_headers\":", record.more.response_headers.iter().copied());
        more(out, &record.more);
        out.extend_from_slice(b"}\n");
    }

    /// Formats the peer's address; an IPv4-mapped address is shown as IPv4.
    fn know_peer(&mut self, remote: Option<SocketAddr>) {
        let peer = remote.map(|remote| remote.ip());
        if peer != self.peer {
            self.peer = peer;
            self.peer_text.clear();
            match peer {
                Some(ip) => write(&mut self.peer_text, format_args!("{}", ip.to_canonical())),
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

/// Day, month and time of a second since 1970, in UTC, as Apache and nginx write it.
fn stamp(second: u64, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, time) = (second / 86_400, second % 86_400);
    // Days are counted from 1 March of year 0, so that the leap day is a year's last: 400 years
    // have 146,097 days, and from March on the months' lengths repeat every 153 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };
    let name = MONTHS[usize::try_from(month).unwrap_or(0) % 12];
    let year = era * 400 + year + turn;
    let (hour, minute) = (time / 3600, time / 60 % 60);
    write(out, format_args!("{day:02}/{name}/{year}:{hour:02}:{minute:02}:{:02} +0000", time % 60));
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
fn fields<'a>(out: &mut Vec<u8>, lead: &str, pairs: impl Iterator<Item = Pair<'a>>) {
    let mut last: &[u8] = b"";
    for (name, value) in pairs {
        let value = if is_credential(name) { b"REDACTED" } else { value };
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

fn is_credential(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"];
    NAMES.iter().any(|secret| secret.eq_ignore_ascii_case(name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn line(kind: LogFormat, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        Format::new(kind).line(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn record() -> Record<'static> {
        Record {
            unix_micros: 1_795_300_596_123_456,
            duration: Duration::from_micros(1_234),
            remote: Some("192.0.2.7:4711".parse().unwrap()),
            method: b"GET",
            target: b"/a?b=c",
            host: b"example.org",
            referer: b"https://example.org/",
            user_agent: b"curl/8.5.0",
            status: 200,
            body_bytes: 612,
            ..Record::default()
        }
    }

    #[test]
    fn combined_is_nginx_byte_for_byte() {
        assert_eq!(
            line(LogFormat::Combined, &record()),
            "192.0.2.7 - - [21/Nov/2026:22:36:36 +0000] \"GET /a?b=c HTTP/1.1\" 200 612 \
             \"https://example.org/\" \"curl/8.5.0\"\n"
        );
        let bare = Record {
            remote: Some("[::ffff:10.0.0.1]:1".parse().unwrap()),
            method: b"HEAD",
            target: b"/",
            protocol: "HTTP/3.0",
            user: b"ann",
            status: 304,
            ..Record::default()
        };
        assert_eq!(
            line(LogFormat::Combined, &bare),
            "10.0.0.1 - ann [01/Jan/1970:00:00:00 +0000] \"HEAD / HTTP/3.0\" 304 0 \"-\" \"-\"\n"
        );
        let unparsed = Record { target: b"\x16\x03\x01", status: 400, ..Record::default() };
        assert_eq!(
            line(LogFormat::Combined, &unparsed),
            "unix: - - [01/Jan/1970:00:00:00 +0000] \"\\x16\\x03\\x01\" 400 0 \"-\" \"-\"\n"
        );
        let silent = Record { status: 408, ..Record::default() };
        assert!(line(LogFormat::Combined, &silent).contains("] \"-\" 408 0"));
    }

    #[test]
    fn days_of_every_kind() {
        for (second, wanted) in [
            (951_782_399, "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000"),
            (951_868_800, "01/Mar/2000:00:00:00 +0000"),
            (1_709_164_800, "29/Feb/2024:00:00:00 +0000"),
            (1_735_689_599, "31/Dec/2024:23:59:59 +0000"),
            (4_107_542_400, "01/Mar/2100:00:00:00 +0000"),
        ] {
            let mut out = Vec::new();
            stamp(second, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn json_has_caddys_names_and_ours() {
        let headers: [Pair<'_>; 4] = [
            (b"user-agent", b"curl"),
            (b"accept", b"a"),
            (b"accept", b"b"),
            (b"authorization", b"Basic c2VjcmV0"),
        ];
        let tls = TlsSession {
            version: "1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            alpn: "h2",
            sni: "example.org",
            resumed: true,
            early_data: false,
        };
        let more = More {
            headers: &headers,
            response_headers: &[(b"Set-Cookie", b"id=1"), (b"ETag", b"\"x\"")],
            tls: Some(tls),
            worker: Some(1),
            connection: Some(42),
            stream: Some(3),
            priority: Some((2, true)),
            rtt_micros: Some(950),
            retransmits: Some(0),
            connection_id: Some(&[0xab, 0x01]),
            wire_bytes: Some(700),
            cache_hit: Some(true),
            encoding: "br",
            abort: "peer reset",
        };
        let record = Record { protocol: "HTTP/2.0", user: b"ann", more, ..record() };
        let line = line(LogFormat::Json, &record);
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["ts"], 1_795_300_596.123_456);
        assert_eq!(json["duration"], 0.001_234);
        let request = &json["request"];
        for (name, wanted) in [
            ("remote_ip", "192.0.2.7"),
            ("remote_port", "4711"),
            ("client_ip", "192.0.2.7"),
            ("proto", "HTTP/2.0"),
            ("method", "GET"),
            ("host", "example.org"),
            ("uri", "/a?b=c"),
        ] {
            assert_eq!(request[name], wanted, "{name}");
        }
        assert_eq!(request["headers"]["User-Agent"][0], "curl");
        assert_eq!(request["headers"]["Accept"], serde_json::json!(["a", "b"]));
        assert_eq!(request["headers"]["Authorization"][0], "REDACTED");
        assert_eq!(json["resp_headers"]["Set-Cookie"][0], "REDACTED");
        assert_eq!(json["resp_headers"]["Etag"][0], "\"x\"");
        assert_eq!((json["status"].as_u64(), json["size"].as_u64()), (Some(200), Some(612)));
        assert_eq!(json["tls"]["sni"], "example.org");
        assert_eq!(json["tls"]["resumed"], true);
        assert_eq!(json["priority"], serde_json::json!({"u": 2, "i": true}));
        assert_eq!((json["cid"].as_str(), json["cache"].as_str()), (Some("ab01"), Some("hit")));
        assert_eq!((json["stream_id"].as_u64(), json["worker"].as_u64()), (Some(3), Some(1)));
        assert_eq!(json["abort_reason"], "peer reset");
    }

    #[test]
    fn attack_31_nothing_that_a_peer_sends_leaves_its_line_or_commands_a_terminal() {
        let nasty: Vec<u8> = (0..=255).chain("\u{9b}31m\u{2028}é\"\\".bytes()).collect();
        let fields: [Pair<'_>; 2] = [(b"x\n", &nasty), (b"\"", b"\x1b[2J")];
        let record = Record {
            method: &nasty,
            target: &nasty,
            host: &nasty,
            user: &nasty,
            referer: &nasty,
            user_agent: b"\x1b]0;owned\x07\r\n127.0.0.1 - - forged",
            more: More { headers: &fields, ..More::default() },
            ..record()
        };
        for kind in [LogFormat::Combined, LogFormat::Json] {
            let line = line(kind, &record);
            assert_eq!(line.matches('\n').count(), 1, "one line");
            let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{2028}' || c == '\u{2029}';
            assert!(!line.contains(bad), "{line}");
        }
        let combined = line(LogFormat::Combined, &record);
        assert_eq!(combined.matches('"').count(), 6, "a quote of the peer's ends no field");
        assert!(combined.is_ascii());
        let json: serde_json::Value =
            serde_json::from_str(&line(LogFormat::Json, &record)).unwrap();
        let back = json["request"]["uri"].as_str().unwrap();
        assert_eq!(back, String::from_utf8_lossy(&nasty), "nothing valid is lost");
    }

    #[test]
    fn any_bytes_are_one_line_and_json_gives_them_back() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..2_000 {
            let mut bytes = Vec::new();
            for _ in 0..state % 40 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Half of them from the corners: what is escaped, and what begins a longer
                // character.
                let corner = b"\"\\\n\x1b\x7f\xc2\x9b\xe2\x80\xa8\xf0\x9f\xed\xff a"
                    [(state >> 40) as usize % 16];
                bytes.push(if state >> 63 == 0 { corner } else { (state >> 32) as u8 });
            }
            state = state.wrapping_add(1);
            let record = Record { target: &bytes, user_agent: &bytes, ..record() };
            assert_eq!(line(LogFormat::Combined, &record).matches('\n').count(), 1);
            let line = line(LogFormat::Json, &record);
            assert_eq!(line.matches('\n').count(), 1);
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(json["request"]["uri"].as_str().unwrap(), String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn off_writes_nothing() {
        assert_eq!(line(LogFormat::Off, &record()), "");
    }
}
