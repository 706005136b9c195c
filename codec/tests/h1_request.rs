//! Request heads through the public interface, on every backend that this CPU has.

#![allow(clippy::unwrap_used)]

use ringway_codec::field::{Field, Known};
use ringway_codec::h1::Error;
use ringway_codec::h1::request::{self, Framing, Head, Limits, Method, Resume, Version};
use ringway_codec::scan::{Backend, PAD, Padded};

type Parsed = Result<Option<(Head, Vec<Field>)>, Error>;

fn parse_on(backend: Backend, data: &[u8], limits: &Limits) -> Parsed {
    // The padding holds what would be noticed if it were read as data.
    let mut whole = data.to_vec();
    whole.extend_from_slice(&b"\r\n\r\nX: y\r\n\r\n\0\x7f".repeat(5)[..PAD]);
    let mut fields = vec![];
    let input = Padded::new(&whole, data.len());
    let head = request::parse(backend, input, &mut fields, &mut Resume::default(), limits)?;
    Ok(head.map(|head| (head, fields)))
}

/// Parses on every backend, which have to agree.
fn parse(data: &[u8]) -> Parsed {
    parse_within(data, &Limits::default())
}

fn parse_within(data: &[u8], limits: &Limits) -> Parsed {
    let expected = parse_on(Backend::Scalar, data, limits);
    for backend in Backend::available() {
        let got = parse_on(backend, data, limits);
        assert_eq!(got, expected, "{backend}: {}", data.escape_ascii());
    }
    expected
}

fn head(data: &str) -> (Head, Vec<Field>) {
    parse(data.as_bytes()).unwrap().expect("complete")
}

fn error(data: &str) -> Error {
    parse(data.as_bytes()).unwrap_err()
}

/// A request with these field lines besides Host.
fn with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn an_ordinary_request() {
    let text = "GET /a/b?c=d&e HTTP/1.1\r\nHost: example.org:8080\r\nX-Some:  two words \t\r\n\
                Accept:*/*\r\nEmpty:\r\nEmpty2: \r\n\r\nbody";
    let (head, fields) = head(text);
    let bytes = text.as_bytes();
    assert_eq!(head.len as usize, text.len() - 4);
    assert_eq!((head.line.method, head.version), (Method::Get, Version::H11));
    assert_eq!(head.line.method_span.of(bytes), b"GET");
    assert_eq!(head.line.target.of(bytes), b"/a/b?c=d&e");
    assert_eq!(head.line.path.of(bytes), b"/a/b");
    assert_eq!(head.line.query.unwrap().of(bytes), b"c=d&e");
    assert_eq!(head.line.authority.unwrap().of(bytes), b"example.org:8080");
    assert_eq!(head.framing, Framing::None);
    assert!(!head.close && !head.keep_alive && !head.upgrade && !head.expect_continue);
    let lines: Vec<_> = fields.iter().map(|f| (f.name(bytes), f.value(bytes), f.known)).collect();
    let expected: [(&[u8], &[u8], Known); 5] = [
        (b"Host", b"example.org:8080", Known::Host),
        (b"X-Some", b"two words", Known::Other),
        (b"Accept", b"*/*", Known::Accept),
        (b"Empty", b"", Known::Other),
        (b"Empty2", b"", Known::Other),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn framing() {
    let framing = |lines: &str| head(&with(lines)).0.framing;
    assert_eq!(framing("Content-Length: 5\r\n"), Framing::Length(5));
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    assert_eq!(
        framing("Content-Length: 9223372036854775807\r\n"),
        Framing::Length(i64::MAX as u64)
    );
    for bad in [
        "+5",
        "0x5",
        "5 x",
        "-1",
        "1_0",
        "18446744073709551616",
        "9223372036854775808",
        "",
        "5,5",
        "5, 6",
    ] {
        assert_eq!(error(&with(&format!("Content-Length: {bad}\r\n"))), Error::ContentLength);
    }
    let twice = "Content-Length: 5\r\ncontent-length: 5\r\n";
    assert_eq!(error(&with(twice)), Error::ContentLength);
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(error(&with(both)), Error::LengthAndChunked);
    let codings = [
        ("xchunked", 501),
        ("gzip, chunked", 501),
        ("identity", 501),
        ("chunked, identity", 400),
        ("chunked, chunked", 400),
        ("chunked,", 400),
        ("chunked ", 400),
        ("\x0bchunked", 400),
        ("", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
    ];
    for (value, status) in codings {
        assert_eq!(
            error(&with(&format!("Transfer-Encoding: {value}\r\n"))).status(),
            status,
            "{value}"
        );
    }
    assert_eq!(
        error("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Error::TransferEncodingOld
    );
}

#[test]
fn connection_fields_are_a_list() {
    let (h, _) = head(&with("Connection: foo, CLOSE\r\n"));
    assert!(h.close && !h.keep_alive);
    let (h, _) =
        head(&with("Connection: keep-alive\r\nConnection: bar ,Upgrade\r\nUpgrade: websocket\r\n"));
    assert!(h.keep_alive && h.upgrade && !h.upgrade_h2c && !h.close);
    assert!(!head(&with("Upgrade: websocket\r\n")).0.upgrade);
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    assert!(head(&with(h2c)).0.upgrade_h2c);
    assert!(!head(&with(&format!("{h2c}HTTP2-Settings: x\r\n"))).0.upgrade_h2c);
    assert!(!head(&with(&format!("{h2c}Content-Length: 1\r\n"))).0.upgrade_h2c);
    assert!(head("GET / HTTP/1.0\r\n\r\n").0.close);
    let (h, _) = head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert!(!h.close && h.keep_alive && h.line.authority.is_none());
}

#[test]
fn line_ends() {
    for bad in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(error(bad).status(), 400, "{}", bad.escape_debug());
    }
    assert_eq!(head("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET").0.len, 29);
}

#[test]
fn names_and_values() {
    assert_eq!(error(&with(" folded: x\r\n")), Error::Fold);
    assert_eq!(error(&with("A: b\r\n\tfolded\r\n")), Error::Fold);
    for bad in ["A : b", ": b", "A", "A b: c", "A\0: b", "(A): b", "A\x7f: b", "é: b"] {
        assert_eq!(error(&with(&format!("{bad}\r\n"))).status(), 400, "{bad}");
    }
    for bad in ["a\0b", "\x7f", "\x01", "a\x0bb", "\x1f"] {
        assert_eq!(error(&with(&format!("A: {bad}\r\n"))), Error::Control);
    }
    let (_, fields) = head(&with("A: é\tb\r\n"));
    assert_eq!(fields[1].value_len, 4);
    let long = "x".repeat(500);
    let (_, fields) = head(&with(&format!("{long}: {long}\r\n")));
    assert_eq!((fields[1].name_len, fields[1].value_len), (500, 500));
}

#[test]
fn hosts() {
    assert_eq!(error("GET / HTTP/1.1\r\n\r\n"), Error::HostMissing);
    assert_eq!(error(&with("host: a\r\n")), Error::HostDuplicate);
    assert_eq!(error("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Error::HostDuplicate);
    let host = |value: &str| parse(format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n").as_bytes());
    for good in ["a", "a.b:80", "a:", "[::1]", "[::1]:8080", "a%20b", "127.0.0.1:65535", "x_y"] {
        assert!(host(good).is_ok(), "{good}");
    }
    let bad = [
        "", ":80", "a b", "a/b", "u@a", "a:65536", "a:x", "a%2", "[::1", "[]", "[::1]x", "a:80:80",
        "a\\b", "é",
    ];
    for bad in bad {
        assert_eq!(host(bad), Err(Error::HostInvalid), "{bad}");
    }
    let long = "a".repeat(300);
    assert!(host(&long).is_ok());
    assert!(host(&format!("{long}/")).is_err());
}

/// A Host line that comes first is read by a shorter way, which takes no other line and gives no
/// other answer.
#[test]
fn a_first_host_line_is_as_any_other() {
    let outcome = |lines: &[&[u8]]| {
        let text = [b"GET / HTTP/1.1\r\n", &lines.concat()[..], b"\r\n"].concat();
        let found = parse(&text)?;
        let (head, fields) = found.expect("complete");
        let named = |field: &&Field| field.known == Known::Host;
        let host = fields.iter().find(named).unwrap();
        let name = host.name(&text).to_vec();
        let authority = head.line.authority.unwrap().of(&text).to_vec();
        Ok::<_, Error>((fields.len(), name, host.value(&text).to_vec(), authority))
    };
    let line = b"Host: example.org\r\n";
    let mut lines: Vec<Vec<u8>> =
        vec![line.to_vec(), b"Host:  a \r\n".to_vec(), b"hOST: a\r\n".to_vec()];
    for at in 0..line.len() - 2 {
        for byte in 0..=255 {
            let mut other = line.to_vec();
            other[at] = byte;
            lines.push(other);
        }
    }
    for line in &lines {
        let behind = outcome(&[b"X: y\r\n", line]);
        assert_eq!(outcome(&[line, b"X: y\r\n"]), behind, "{}", line.escape_ascii());
    }
    assert_eq!(outcome(&[line, line]), Err(Error::HostDuplicate));
}

/// F5: the parser says of every path whether it is canonical, wherever in a block it stands and
/// whichever of the two readers takes the line.
#[test]
fn f5_a_path_says_whether_it_is_canonical() {
    let paths = [
        ("/", true),
        ("/a.b/c..d/e.", true),
        ("/a%20b", true),
        ("/%2F", true),
        ("//a", true),
        ("/.a/..b/...", true),
        ("/%2f", false),
        ("/%61", false),
        ("/%", false),
        ("/.", false),
        ("/..", false),
        ("/./a", false),
        ("/a/../b", false),
        ("/a.b/..", false),
    ];
    for (path, want) in paths {
        for pad in [0, 1, 30, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 120] {
            for (method, query) in [("GET", ""), ("GET", "?/../%61"), ("PROPFIND", "")] {
                let path = format!("/{}{path}", "x".repeat(pad));
                let text = format!("{method} {path}{query} HTTP/1.1\r\nHost: a\r\n\r\n");
                let (h, _) = head(&text);
                assert_eq!(h.line.path.of(text.as_bytes()), path.as_bytes());
                assert_eq!(h.line.canonical, want, "{text}");
            }
        }
    }
}

#[test]
fn targets() {
    let text = "GET http://example.org:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n";
    let (h, _) = head(text);
    assert_eq!(h.line.authority.unwrap().of(text.as_bytes()), b"example.org:81");
    assert_eq!(h.line.path.of(text.as_bytes()), b"/p");
    assert_eq!(h.line.query.unwrap().of(text.as_bytes()), b"q");
    let text = "GET HTTPS://a?q HTTP/1.1\r\nHost: other\r\n\r\n";
    let (h, _) = head(text);
    assert_eq!(h.line.path.of(text.as_bytes()), b"/");
    assert_eq!(h.line.query.unwrap().of(text.as_bytes()), b"q");
    let text = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(head(text).0.line.path.of(text.as_bytes()), b"*");
    let text = "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n";
    let (h, _) = head(text);
    assert_eq!(
        (h.line.method, h.line.authority.unwrap().of(text.as_bytes())),
        (Method::Connect, &b"a:443"[..])
    );
    let raw = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    // F5: raw UTF-8 as over HTTP/2; anything else beyond ASCII is not text.
    let text = raw("/é/日?ü".as_bytes());
    let (h, _) = parse(&text).unwrap().unwrap();
    assert_eq!(h.line.path.of(&text), "/é/日".as_bytes());
    assert_eq!(h.line.query.unwrap().of(&text), "ü".as_bytes());
    assert!(!h.line.canonical);
    for bad in
        [&b"/\xe9"[..], b"/\xc0\xaf", b"/\xed\xa0\x80", b"/?\xff", b"http://a/\xff", b"\xc3\xa9"]
    {
        assert_eq!(parse(&raw(bad)), Err(Error::Target), "{}", bad.escape_ascii());
    }
    for bad in [
        "GET *",
        "GET a",
        "GET a:443",
        "CONNECT /",
        "CONNECT a",
        "CONNECT a:",
        "GET ftp://a/",
        "GET http://",
        "GET http:///",
        "GET http://u@a/",
        "GET /\x7f",
        "GET /#f",
        "GET /\t",
        "OPTIONS *x",
        "GET http://a:x/",
    ] {
        assert_eq!(error(&format!("{bad} HTTP/1.1\r\nHost: a\r\n\r\n")), Error::Target, "{bad}");
    }
    for bad in ["GET", "GET  /", "GET / ", " GET /", "GET / x", "", "GET /a b"] {
        assert_eq!(error(&format!("{bad} HTTP/1.1\r\nHost: a\r\n\r\n")).status(), 400, "{bad}");
    }
}

#[test]
fn methods_and_versions() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("TRACE", Method::Trace),
        ("get", Method::Other),
        ("G", Method::Other),
        ("PROPPATCH-LONG", Method::Other),
        ("M#X", Method::Other),
    ] {
        let text = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (h, _) = head(&text);
        assert_eq!(
            (h.line.method, h.line.method_span.of(text.as_bytes())),
            (method, name.as_bytes())
        );
    }
    let version = |v: &str| parse(format!("GET / {v}\r\nHost: a\r\n\r\n").as_bytes());
    for (v, status) in [
        ("HTTP/1.10", 400),
        ("http/1.1", 400),
        ("HTTP/2.0", 505),
        ("HTTP/3.1", 505),
        ("HTTP/0.9", 400),
        ("HTTP/1", 400),
        ("HTTP/1.", 400),
        ("HTTP/11", 400),
        ("HTTP/1.1x", 400),
        ("HTTP/a.b", 400),
        ("HTTP /1.1", 400),
    ] {
        assert_eq!(version(v).unwrap_err().status(), status, "{v}");
    }
    assert_eq!(version("HTTP/1.2").unwrap().unwrap().0.version, Version::H11);
    assert_eq!(error("GET /\r\n\r\n"), Error::RequestLine);
    assert_eq!(error("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Error::VersionUnsupported);
    assert_eq!(error("G@T / HTTP/1.1\r\nHost: a\r\n\r\n"), Error::Method);
    assert_eq!(parse(b"\x16\x03\x01\x02").unwrap_err(), Error::Method);
}

#[test]
fn expectations() {
    assert!(head(&with("Expect: 100-Continue\r\n")).0.expect_continue);
    assert!(!head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").0.expect_continue);
    assert_eq!(error(&with("Expect: y 100-continue\r\n")), Error::Expect);
}

#[test]
fn limits() {
    let limits = Limits { request_line: 40, head: 200, fields: 3 };
    let path = "p".repeat(26);
    let fits = format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(parse_within(fits.as_bytes(), &limits).is_ok());
    let longer = fits.replace("/p", "/pp");
    assert_eq!(parse_within(longer.as_bytes(), &limits), Err(Error::LineTooLong));
    let endless = format!("GET /{}", "p".repeat(100));
    assert_eq!(parse_within(endless.as_bytes(), &limits), Err(Error::LineTooLong));
    // Of a target that never begins there is nothing to say: the method is wrong.
    for end in ["", " / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let method = "M".repeat(100) + end;
        assert_eq!(parse_within(method.as_bytes(), &limits), Err(Error::Method));
    }
    let three = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n";
    assert!(parse_within(format!("{three}\r\n").as_bytes(), &limits).is_ok());
    assert_eq!(
        parse_within(format!("{three}E: f\r\n\r\n").as_bytes(), &limits),
        Err(Error::TooManyFields)
    );
    let fill = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(n));
    assert_eq!(fill(168).len(), 200);
    assert!(parse_within(fill(168).as_bytes(), &limits).is_ok());
    assert_eq!(parse_within(fill(169).as_bytes(), &limits), Err(Error::HeadTooLong));
    let unfinished = &fill(400)[..300];
    assert_eq!(parse_within(unfinished.as_bytes(), &limits), Err(Error::HeadTooLong));
    for error in [Error::LineTooLong, Error::HeadTooLong, Error::TooManyFields] {
        assert!([414, 431].contains(&error.status()));
    }
}

/// Feeds `data` in pieces that end at `cuts` and then whole, as a connection would.
fn resumed(backend: Backend, data: &[u8], cuts: impl Iterator<Item = usize>) -> Parsed {
    let mut whole = data.to_vec();
    whole.extend_from_slice(&[b'\n'; PAD]);
    let (mut fields, mut resume) = (vec![], Resume::default());
    for len in cuts.chain([data.len()]) {
        let input = Padded::new(&whole, len);
        match request::parse(backend, input, &mut fields, &mut resume, &Limits::default())? {
            Some(head) => return Ok(Some((head, fields))),
            None => assert!(fields.is_empty()),
        }
    }
    Ok(None)
}

#[test]
fn every_split_gives_the_same() {
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_string(),
        with(&format!("Content-Length: 7\r\nCookie: {}\r\nA: b\r\n", "c".repeat(150))),
        "\r\nGET http://a/b HTTP/1.0\r\n\r\n".to_string(),
    ];
    for text in &requests {
        let data = text.as_bytes();
        let expected = parse(data);
        assert!(matches!(expected, Ok(Some(_))));
        for backend in Backend::available() {
            for cut in 0..data.len() {
                assert_eq!(parse_on(backend, &data[..cut], &Limits::default()), Ok(None), "{cut}");
                assert_eq!(resumed(backend, data, [cut].into_iter()), expected);
            }
            assert_eq!(resumed(backend, data, 0..data.len()), expected);
            assert_eq!(resumed(backend, data, (0..data.len()).step_by(7)), expected);
        }
    }
}

#[test]
fn an_error_in_a_trickle_is_found_before_the_end() {
    let text = format!("GET / HTTP/1.1\r\nHost : a\r\n{}", "A: b\r\n".repeat(100));
    for backend in Backend::available() {
        let got = resumed(backend, text.as_bytes(), 0..text.len());
        assert_eq!(got, Err(Error::FieldName));
    }
}
