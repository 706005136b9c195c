//! Which file or route a path names, over every protocol: HTTP/1.1, HTTP/2 with and without TLS,
//! HTTP/3.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::Path;

use harness::TempDir;
use harness::client::Client;
use harness::h2::H2;
use harness::process::Process;
use harness::quic::H3;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    text: String,
    fields: Vec<Option<String>>,
}

/// Fields that are compared.
const FIELDS: [&str; 4] = ["location", "content-type", "content-encoding", "last-modified"];

/// One client for each protocol.
struct Clients {
    h1: std::net::SocketAddr,
    h2: H2,
    h2_tls: H2,
    h3: H3,
}

impl Clients {
    fn of(server: &Process) -> Self {
        server.wait_for("http,https,h2c,h3");
        Self {
            h1: server.http(),
            h2: H2::connect(server.at("h2c")),
            h2_tls: H2::tls(server.at("https")),
            h3: H3::connect(server.at("h3")),
        }
    }

    /// The answer to GET, which must be equal over all protocols.
    fn get(&mut self, target: &str) -> Answer {
        self.ask(target, &[])
    }

    fn ask(&mut self, target: &str, more: &[(&str, &str)]) -> Answer {
        let lines: String =
            more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let own = |value: Option<&str>| value.map(str::to_owned);
        let one = Client::connect(self.h1).request("GET", target, &lines, b"");
        let text = String::from_utf8_lossy(&one.body).into_owned();
        let fields = FIELDS.map(|name| own(one.field(name))).into();
        let one = Answer { status: one.status, text, fields };
        for (name, client) in [("h2", &mut self.h2), ("h2 over TLS", &mut self.h2_tls)] {
            let id = client.ask("GET", target, more, b"");
            let two = client.answer(id);
            let text = String::from_utf8_lossy(&two.body).into_owned();
            let fields = FIELDS.map(|name| own(two.field(name))).into();
            one.agrees(&Answer { status: two.status(), text, fields }, name, target);
        }
        let id = self.h3.ask("GET", target, more, b"");
        let three = self.h3.answer(id);
        let fields = FIELDS.map(|name| own(three.field(name))).into();
        let three = Answer { status: three.status(), text: three.text(), fields };
        one.agrees(&three, "h3", target);
        one
    }
}

impl Answer {
    /// The text of a refusal may differ.
    fn agrees(&self, other: &Self, over: &str, target: &str) {
        assert_eq!((self.status, &self.fields), (other.status, &other.fields), "{over}: {target}");
        assert!(self.status != 200 || self.text == other.text, "{over}: {target}");
    }

    fn field(&self, name: &str) -> Option<&str> {
        let at = FIELDS.iter().position(|field| *field == name).unwrap();
        self.fields[at].as_deref()
    }
}

fn serve(dir: &Path, options: &[&str]) -> Process {
    let all = ["--h2c", "127.0.0.1:0", "--https", "127.0.0.1:0"];
    Process::serve(dir, &[&all[..], options].concat())
}

/// F5: dot segments, escaped unreserved characters, repeated slashes and raw UTF-8 are spellings of
/// one path. A path above the root gets 400.
#[test]
fn f5_every_spelling_of_a_path_names_its_file() {
    let site = TempDir::with(&[
        ("deb/Packages", b"packages"),
        ("deb/sub/x", b"x"),
        ("index.html", b"home"),
        ("é ü.txt", "accents".as_bytes()),
        ("~user/a-b_c.d", b"tilde"),
        ("private/x", b"private"),
    ]);
    let server = serve(site.path(), &[]);
    let mut clients = Clients::of(&server);
    for (target, text) in [
        ("/deb/./Packages", "packages"),
        ("/deb/sub/../Packages", "packages"),
        ("/./deb/Packages", "packages"),
        ("/deb/%2e/%2E/Packages", "packages"),
        ("/deb/sub/%2e%2E/Packages?q=/../..", "packages"),
        ("/nothing/.%2e/deb/Packages", "packages"),
        ("/d%65b/%50ackages", "packages"),
        ("//deb///Packages", "packages"),
        ("/deb//sub/..//./Packages", "packages"),
        ("/deb/..", "home"),
        ("/deb/sub/../../", "home"),
        ("/.", "home"),
        ("//", "home"),
        ("/é%20ü.txt", "accents"),
        ("/%c3%a9%20%C3%BC.txt", "accents"),
        ("/%c3%a9%20ü.txt?é", "accents"),
        ("/%7Euser/a%2Db%5fc%2ed", "tilde"),
        ("/private/%2e%2e/private/x", "private"),
    ] {
        let answer = clients.get(target);
        assert_eq!((answer.status, &*answer.text), (200, text), "{target}");
    }
    for target in ["/deb", "//deb", "/x/../deb", "/deb/./../d%65b", "///x//../..//deb"] {
        let answer = clients.get(target);
        assert_eq!((answer.status, answer.field("location")), (308, Some("/deb/")), "{target}");
    }
    // A directory was requested: no redirect, and no index to send.
    assert_eq!(clients.get("/deb/.").status, 404);
    for target in [
        "/..",
        "/../deb/Packages",
        "/deb/../../deb/Packages",
        "/%2e%2e/deb/Packages",
        "//../deb/Packages",
        "/deb//../../..",
        "/%",
        "/deb/%zz",
        "/deb/Packages%00",
    ] {
        assert_eq!(clients.get(target).status, 400, "{target}");
    }
    for target in ["/deb%2fPackages", "/deb/sub%2F..%2fPackages", "/deb\\Packages", "/.%67it/x"] {
        assert_eq!(clients.get(target).status, 404, "{target}");
    }
}

/// F5: routes see the same path as files, an encoded slash is part of a parameter, and a guarded
/// route cannot be bypassed.
#[test]
fn f5_routes_are_compared_in_canonical_form() {
    let server = Process::app_on("http,https,h2c", "");
    let mut clients = Clients::of(&server);
    for (target, text) in [
        ("/hell%6F", "hello"),
        ("/./hello", "hello"),
        ("/user/../hello", "hello"),
        ("/%75ser/../%68ello", "hello"),
        ("//hello", "hello"),
        ("/user/%61da", "ada"),
        ("/user//ada", "ada"),
        ("/user/a%2fb", "a%2Fb"),
        ("/user/..%2Fhello", "..%2Fhello"),
        ("/user/é", "%C3%A9"),
        ("/user/%c3%a9", "%C3%A9"),
        ("/user/x/../ada", "ada"),
    ] {
        let answer = clients.get(target);
        assert_eq!((answer.status, &*answer.text), (200, text), "{target}");
    }
    for target in ["/hello/", "/hello%2f", "/user/", "/user//", "/Hello", "/user/a/b"] {
        assert_eq!(clients.get(target).status, 404, "{target}");
    }
    for target in ["/../hello", "/user/../../hello", "/%2E%2E", "/user/%f"] {
        assert_eq!(clients.get(target).status, 400, "{target}");
    }
    // A body and a path that needs canonicalisation work together.
    let mut client = Client::connect(server.http());
    let length = "Content-Length: 4\r\n";
    assert_eq!(client.request("POST", "/x/../echo", length, b"body").body, b"body");
    client
        .send("POST /./echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(client.response("POST").body, b"abc");
    assert_eq!(client.get("http://other/x/../target?a").body, b"/target a other");
}

/// F14: if a directory has more names than a page shows, the first by name are listed, with the
/// number of the others.
#[test]
fn f14_a_large_directory_says_what_it_leaves_out() {
    let site = TempDir::with(&[("many/z-folder/x", b"x")]);
    for number in 0..10_050 {
        site.write(&format!("many/{:05}", 99_999 - number), b"");
    }
    let server = serve(site.path(), &["--browse"]);
    let mut clients = Clients::of(&server);
    let page = clients.get("/many/").text;
    assert!(page.contains("The first 10000 names; 51 others are left out."));
    assert_eq!(page.matches("<tr>").count(), 10_001);
    let place = |name: &str| page.find(&format!("href=\"{name}\""));
    assert!(place("z-folder/") < place("89950") && place("89950") < place("89951"));
    assert!(place("99948").is_some() && place("99949").is_none());
    let json = clients.ask("/many/", &[("accept", "application/json")]);
    assert_eq!(json.field("content-type"), Some("application/json"));
    assert!(json.text.starts_with("{\"path\":\"/many\",\"left_out\":51,\"uncounted\":false,"));
}

/// F15: codings and types, those of the configuration too.
#[test]
fn f15_types_and_codings() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let site = TempDir::with(&[
        ("x.svgz", &gzip),
        ("x.svgz.br", b"BR"),
        ("plain.svgz", b"<svg/>"),
        ("x.cjs", b"1"),
        ("x.topojson", b"{}"),
        ("x.odd", b"1"),
        ("x.css", b"p{}"),
    ]);
    let own = ["--set", "files.types=odd=application/x-odd; v=1,css=text/x-own"];
    let server = serve(site.path(), &own);
    let mut clients = Clients::of(&server);
    for (target, content_type, coding) in [
        ("/x.svgz", "image/svg+xml", Some("gzip")),
        ("/plain.svgz", "image/svg+xml", None),
        ("/x.cjs", "text/javascript; charset=utf-8", None),
        ("/x.topojson", "application/json", None),
        ("/x.odd", "application/x-odd; v=1", None),
        ("/x.css", "text/x-own", None),
    ] {
        for accept in ["br", "identity"] {
            let answer = clients.ask(target, &[("accept-encoding", accept)]);
            let seen = (answer.field("content-type"), answer.field("content-encoding"));
            assert_eq!(seen, (Some(content_type), coding), "{target}");
        }
    }
}

/// F4 and F12: a compressed file whose time was truncated is sent; files whose times were erased
/// differ in their tags alone.
#[test]
fn f4_and_f12_times_that_tools_cut_or_erase() {
    let long = "x".repeat(3 << 20);
    let site = TempDir::with(&[
        ("cut.js", "x".repeat(99).as_bytes()),
        ("cut.js.br", b"BR"),
        ("large.js", long.as_bytes()),
        (
            "large.js.gz",
            &[&[0x1f, 0x8b, 8, 0][..], &[0; 14], &(3_u32 << 20).to_le_bytes()].concat(),
        ),
        ("other.js", long.as_bytes()),
        ("other.js.gz", &[&[0x1f, 0x8b, 8, 0][..], &[0; 14], &[9, 0, 0, 0]].concat()),
        ("epoch.css", b"old"),
    ]);
    let time = |name: &str, nanoseconds: u64| {
        let file = std::fs::File::options().append(true).open(site.path().join(name)).unwrap();
        let since = std::time::Duration::from_nanos(nanoseconds);
        file.set_modified(std::time::UNIX_EPOCH + since).unwrap();
    };
    time("cut.js", 1_700_000_001_999_999_999);
    time("cut.js.br", 1_700_000_000_000_000_000);
    time("epoch.css", 1_000_000_000);
    let server = serve(site.path(), &[]);
    let mut clients = Clients::of(&server);
    let coding = |clients: &mut Clients, target: &str, accept: &str| {
        let answer = clients.ask(target, &[("accept-encoding", accept)]);
        answer.field("content-encoding").map(str::to_owned)
    };
    assert_eq!(coding(&mut clients, "/cut.js", "br").as_deref(), Some("br"));
    assert_eq!(coding(&mut clients, "/large.js", "gzip").as_deref(), Some("gzip"));
    assert_eq!(coding(&mut clients, "/other.js", "gzip"), None);
    assert_eq!(clients.get("/epoch.css").field("last-modified"), None);
    let date = [("if-modified-since", "Thu, 01 Jan 1970 00:00:01 GMT")];
    assert_eq!(clients.ask("/epoch.css", &date).status, 200);
}
