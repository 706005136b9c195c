use super::super::{More, Pair, TlsSession};
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
    let json: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, &record)).unwrap();
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
