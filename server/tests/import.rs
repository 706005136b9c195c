//! `ringway import`: what is made of nginx's configuration answers as nginx does, what is made of a
//! Caddyfile says the same, what is left out is named by its line, and no file is too hostile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use harness::process::{Process, RINGWAY};
use harness::{TempDir, eventually, missing};

fn import(server: &str, file: &Path) -> Output {
    Command::new(RINGWAY.unwrap()).args(["import", server]).arg(file).output().unwrap()
}

/// What was made of a file, and what was said of it.
fn made(server: &str, file: &Path) -> (String, String, i32) {
    let Output { status, stdout, stderr } = import(server, file);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The two sites of the manual's page about nginx, with their files and certificates.
fn pair() -> TempDir {
    let dir = TempDir::with(&[
        ("docs/index.html", b"<p>docs"),
        ("docs/a.html", b"<p>a"),
        ("docs/guide/index.html", b"<p>guide"),
        ("docs/404.html", b"<p>not here"),
        ("docs/v2/x.html", b"<p>v2"),
        ("docs/_static/a.css", &[b'a'; 5000]),
        ("docs/_static/a.css.gz", b""),
        ("app/index.html", b"<p>app"),
        ("app/assets/x-3f2a9c1b.js", b"app()"),
        ("app/assets/plain.css", b"p {}"),
    ]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &[b'a'; 5000]).unwrap();
    dir.write("docs/_static/a.css.gz", &gzip.finish().unwrap());
    for host in ["docs", "app"] {
        let names = vec![format!("{host}.example.com")];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        dir.write(&format!("{host}.pem"), made.cert.pem().as_bytes());
        dir.write(&format!("{host}.key"), made.signing_key.serialize_pem().as_bytes());
    }
    dir
}

/// nginx's configuration of that pair.
fn nginx_text(dir: &Path, http: u16, https: u16, quic: bool) -> String {
    let dir = dir.display();
    let quic = if quic { format!("listen {https} quic;") } else { String::new() };
    format!(
        "pid {dir}/nginx.pid;\nerror_log {dir}/error.log;\nevents {{ worker_connections 64; }}\n\
         http {{\ninclude /etc/nginx/mime.types;\ndefault_type application/octet-stream;\n\
         access_log off;\nclient_body_temp_path {dir}/body;\n\
         server {{ listen {http}; server_name docs.example.com app.example.com;\n\
           return 301 https://$host$request_uri; }}\n\
         server {{ listen {https} ssl http2; {quic} server_name docs.example.com; root {dir}/docs;\n\
           gzip_static on; ssl_certificate {dir}/docs.pem; ssl_certificate_key {dir}/docs.key;\n\
           error_page 404 /404.html; rewrite ^/v1/(.*)$ /v2/$1 permanent;\n\
           location / {{ try_files $uri $uri.html $uri/ =404; add_header Cache-Control no-cache; }}\n\
           location /_static/ {{ expires 1y; add_header Cache-Control \"public, immutable\"; }} }}\n\
         server {{ listen {https} ssl http2; {quic} server_name app.example.com; root {dir}/app;\n\
           ssl_certificate {dir}/app.pem; ssl_certificate_key {dir}/app.key;\n\
           location / {{ try_files $uri /index.html; }} location /assets/ {{ expires max; }}\n\
           location = /healthz {{ return 204; }} }} }}\n"
    )
}

/// What a client sees of an answer: status, body, and fields that matter.
#[derive(Debug, PartialEq)]
struct Seen {
    status: String,
    body: String,
    kind: String,
    location: String,
    coding: String,
    cache: BTreeSet<String>,
}

/// Asks with curl; `scheme://host/path`, where the port is that of the server.
fn ask(url: &str, [http, https]: [u16; 2]) -> Seen {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let port = if scheme == "http" { http } else { https };
    let url = format!("{scheme}://{host}:{port}/{path}");
    let done = Command::new("curl")
        .args(["-s", "-i", "-k", "--path-as-is", "-H", "Accept-Encoding: gzip", "--resolve"])
        .args([format!("{host}:{port}:127.0.0.1"), url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{done:?}"));
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let found = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let status = head.split(' ').nth(1).unwrap().trim().to_owned();
    let is_error_of_ours = status.starts_with(['3', '4']) && !body.contains("<p>not here");
    // Standards have moved on: RFC 9239 says text/javascript.
    let kind = field("content-type").split(';').next().unwrap().to_owned();
    let cache = field("cache-control");
    Seen {
        body: if is_error_of_ours { String::new() } else { body.to_owned() },
        kind: if is_error_of_ours {
            String::new()
        } else {
            kind.replace("application/j", "text/j")
        },
        location: field("location")
            .replace(&format!(":{https}"), "")
            .replace(&format!(":{http}"), ""),
        coding: field("content-encoding"),
        cache: cache.split(',').map(|part| part.trim().to_owned()).collect(),
        status,
    }
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

/// nginx with the pair, and where it listens; none if there is no nginx.
fn start_nginx(dir: &Path) -> Option<(Nginx, [u16; 2])> {
    let ports = [free_port(), free_port()];
    std::fs::write(dir.join("nginx.conf"), nginx_text(dir, ports[0], ports[1], false)).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(dir.join("nginx.conf")).args(["-g", "daemon off;"]);
    let nginx = match command.stderr(Stdio::null()).spawn() {
        Ok(child) => Nginx(child),
        Err(error) => {
            missing(&format!("nginx: {error}"));
            return None;
        }
    };
    let up = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    eventually("nginx listens", || up(ports[0]) && up(ports[1]));
    Some((nginx, ports))
}

/// ringway with what is made of nginx's configuration.
fn start_imported(dir: &TempDir) -> (Process, [u16; 2]) {
    let ports = [free_port(), free_port()];
    dir.write("theirs.conf", nginx_text(dir.path(), ports[0], ports[1], true).as_bytes());
    let (text, said, code) = made("nginx", &dir.path().join("theirs.conf"));
    assert_eq!(code, 3, "{said}");
    assert_eq!(said.lines().count(), 1, "only the one that the test needs: {said}");
    assert!(said.contains("theirs.conf:8: `client_body_temp_path"), "{said}");
    dir.write("ringway.toml", text.as_bytes());
    let mut check = Command::new(RINGWAY.unwrap());
    let check = check.arg("check").arg("-c").arg(dir.path().join("ringway.toml")).output().unwrap();
    assert!(check.status.success(), "{check:?}\n{text}");
    let mut serve = Command::new(RINGWAY.unwrap());
    serve.args(["serve", "--workers", "1", "-c"]).arg(dir.path().join("ringway.toml"));
    let server = Process::start(&mut serve);
    server.wait_for("http,https,h3");
    (server, ports)
}

const DOCS: [&str; 22] = [
    "",
    "index.html",
    "a",
    "a.html",
    "guide/",
    "guide/index.html",
    "v1/x.html",
    "v1/",
    "v1/a/b?c=d",
    "v2/x",
    "v2/x.html",
    "absent",
    "absent.css",
    "_static/a.css",
    "_static/absent.css",
    "404.html",
    "?q",
    "a?q=1",
    "%61",
    "a.htm",
    "v1",
    "guide/absent",
];
const APP: [&str; 11] = [
    "",
    "index.html",
    "some/page",
    "deep/er/page?x",
    "healthz",
    "assets/x-3f2a9c1b.js",
    "assets/plain.css",
    "page",
    "%68ealthz",
    "a/b/c/d",
    "?q",
];

/// L28 and L1: the pair, beside the real nginx.
#[test]
fn l28_l1_what_is_made_of_nginx_answers_as_nginx_does() {
    let dir = pair();
    let Some((_nginx, theirs_at)) = start_nginx(dir.path()) else { return };
    let (_server, ours_at) = start_imported(&dir);
    let docs = DOCS.map(|path| format!("docs.example.com/{path}"));
    let app = APP.map(|path| format!("app.example.com/{path}"));
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for path in docs.iter().chain(&app) {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{path}");
            let (mut theirs, mut here) = (ask(&url, theirs_at), ask(&url, ours_at));
            asked += 1;
            // What is listed as different: http is 308, and what nginx leaves to caches is said.
            if scheme == "http" {
                assert_eq!((&*theirs.status, &*here.status), ("301", "308"), "{url}");
                here.status.clone_from(&theirs.status);
            }
            if theirs.cache.iter().all(String::is_empty) || theirs.status != "200" {
                theirs.cache.clone_from(&here.cache);
            }
            // nginx writes a whole URL and keeps its spelling; ringway a path in its one form.
            theirs.location = theirs.location.replace("%61", "a").replace("%68", "h");
            let host = format!("{scheme}://{}", path.split('/').next().unwrap());
            theirs.location = theirs.location.replace(&host, "");
            here.location = here.location.replace(&host, "");
            if theirs != here {
                wrong.push(format!("{url}\n  nginx   {theirs:?}\n  ringway {here:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked >= 60, "{asked}");
}

/// A directory with one file of this text; what is made of it.
fn of_text(server: &str, text: &str) -> (String, String, i32) {
    let dir = TempDir::with(&[("file", text.as_bytes())]);
    let (made, said, code) = made(server, &dir.path().join("file"));
    let place = format!("{}/", dir.path().display());
    (made.replace(&place, ""), said.replace(&place, ""), code)
}

/// The lines of a configuration that are no comments.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(" # ").next().unwrap()).collect()
}

#[test]
fn l28_what_certbot_and_debian_write() {
    let certbot = "server {
    server_name example.com www.example.com;
    root /var/www/html;
    index index.html;
    location / { try_files $uri $uri/ =404; }
    listen [::]:443 ssl ipv6only=on; # managed by Certbot
    listen 443 ssl; # managed by Certbot
    ssl_certificate /etc/letsencrypt/live/example.com/fullchain.pem; # managed by Certbot
    ssl_certificate_key /etc/letsencrypt/live/example.com/privkey.pem; # managed by Certbot
}
server {
    if ($host = www.example.com) {
        return 301 https://$host$request_uri;
    } # managed by Certbot
    if ($host = example.com) {
        return 301 https://$host$request_uri;
    } # managed by Certbot
    listen 80;
    listen [::]:80;
    server_name example.com www.example.com;
    return 404; # managed by Certbot
}
server { listen 80 default_server; listen 443 ssl default_server; ssl_reject_handshake on; return 444; }
";
    let (text, said, code) = of_text("nginx", certbot);
    assert_eq!((said.as_str(), code), ("", 0), "{text}");
    assert_eq!(
        lines(&text),
        [
            "http = [\":80\"]",
            "https = [\":443\"]",
            "unknown_host = \"close\"",
            "[[site]]",
            "hosts = [\"example.com\", \"www.example.com\"]",
            "root = \"/var/www/html\"",
            "certificate = { cert = \"/etc/letsencrypt/live/example.com/fullchain.pem\", key = \
             \"/etc/letsencrypt/live/example.com/privkey.pem\" }",
            "cleartext = \"redirect\"",
        ]
    );
}

#[test]
fn l28_what_is_left_out_has_its_line() {
    let text = "http {
  server {
    listen 8080;
    server_name ~^www\\d+$ a.example;
    root /srv/a;
    location /api/ {
      proxy_pass http://127.0.0.1:3000;
      proxy_set_header Host $host;
    }
    location ~ ^/(a|b)/ { expires 1h; }
    add_header X-Request $request_id;
    return 200 \"hello\";
    rewrite ^/([a-z]+)$ /x last;
    whatever \"forged\n[[site]]\nroot = '/'\";
  }
}
";
    let (toml, said, code) = of_text("nginx", text);
    assert_eq!(code, 3);
    let places: Vec<&str> = said.lines().filter_map(|line| line.split('`').next()).collect();
    for (line, name) in [
        (4, "server_name"),
        (7, "proxy_pass"),
        (8, "proxy_set_header"),
        (10, "location"),
        (11, "add_header"),
        (12, "return"),
        (13, "rewrite"),
        (14, "whatever"),
    ] {
        let wanted = format!("ringway: file:{line}: `{name}");
        assert!(said.lines().any(|line| line.starts_with(&wanted)), "{wanted}\n{said}");
        let comment = format!("#   file:{line}: `{name}");
        assert!(toml.lines().any(|line| line.starts_with(&comment)), "{comment}\n{toml}");
    }
    assert_eq!(places.len(), 8, "{said}");
    assert_eq!(toml.matches("[[site]]").count(), 2, "one, and one in a comment: {toml}");
    assert_eq!(lines(&toml).iter().filter(|line| **line == "[[site]]").count(), 1);
    // Nothing that was proxied becomes a directory.
    let (toml, ..) = of_text("nginx", "server { location / { proxy_pass http://x; } }");
    assert!(toml.contains("answer = [{ path = \"*\", status = 404 }]"), "{toml}");
}

#[test]
fn l28_includes_globs_and_mistakes() {
    let dir = TempDir::with(&[
        ("nginx.conf", b"http { include sites/*.conf; root /srv; include one; }"),
        ("sites/b.conf", b"server { server_name b.example; }"),
        ("sites/a.conf", b"server { server_name a.example; odd; }"),
        ("sites/no", b"server { server_name no.example; }"),
        ("one", b"server { server_name c.example; }"),
        ("loop", b"include loop;"),
    ]);
    let (text, said, code) = made("nginx", &dir.path().join("nginx.conf"));
    assert_eq!(code, 3);
    let hosts: Vec<&str> = text.lines().filter(|line| line.starts_with("hosts")).collect();
    let wanted = ["a", "b", "c"].map(|name| format!("hosts = [\"{name}.example\"]"));
    assert_eq!(hosts, wanted);
    assert!(said.contains("sites/a.conf:1: `odd`"), "{said}");
    for (text, wanted) in [
        ("server {\n listen 80;\n", "file:3: a `}` is missing"),
        ("\n}", "file:2: a `}` too many"),
        ("a\nb\n", "file:1: `a` has no `;`"),
        ("a 'b\nc", "a quote is not closed"),
        ("\n;", "file:2: a `;` without a directive"),
        ("include absent;", "file:1: absent cannot be read"),
    ] {
        let (made, said, code) = of_text("nginx", text);
        assert_eq!((made.as_str(), code), ("", 1), "{text}");
        assert!(said.contains(wanted), "{text}: {said}");
    }
    let (_, said, code) = made("nginx", &dir.path().join("loop"));
    assert_eq!(code, 1);
    assert!(said.contains("include each other too deeply"), "{said}");
    assert_eq!(made("nginx", dir.path()).2, 1, "a directory");
    assert_eq!(made("nginx", Path::new("/dev/zero")).2, 1);
    let status = Command::new(RINGWAY.unwrap()).args(["import", "apache", "x"]).status();
    assert_eq!(status.unwrap().code(), Some(2));
    let status = Command::new(RINGWAY.unwrap()).args(["import", "nginx"]).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

const CADDYFILE: &str = "{
	admin off
}
(common) {
	header X-Frame-Options {args[0]}
	log {
		output file /var/log/web.log
		format json
	}
}
docs.example.com,
www.docs.example.com {
	import common DENY
	root * /srv/docs
	tls docs.pem docs.key
	file_server browse
	try_files {path} {path}.html {path}/ =404
	redir /v1/* /v2{uri} 301
	redir /old https://example.org/new permanent
	@static path /_static/* /img/*
	header @static Cache-Control \"max-age=31536000, immutable\"
	handle_errors {
		rewrite * /404.html
		file_server
	}
	basic_auth /private/* {
		ann $2b$04$abcdefghijklmnopqrstuuDEFGHIJKLMNOPQRSTUVWXYZ01234567
	}
}
http://app.example.com {
	root * /srv/app
	handle /healthz {
		respond 204
	}
	handle {
		try_files {path} /index.html
		file_server
	}
	handle /api/* {
		reverse_proxy localhost:3000
	}
}
";

#[test]
fn l28_a_caddyfile() {
    let (toml, said, code) = of_text("caddy", CADDYFILE);
    assert_eq!(code, 3);
    assert_eq!(said, "ringway: file:40: `reverse_proxy localhost:3000`: ringway is no proxy yet\n");
    assert_eq!(
        lines(&toml),
        [
            "http = [\":80\"]",
            "https = [\":443\"]",
            "[log]",
            "file = \"/var/log/web.log\"",
            "format = \"json\"",
            "[[site]]",
            "hosts = [\"docs.example.com\", \"www.docs.example.com\"]",
            "root = \"/srv/docs\"",
            "certificate = { cert = \"docs.pem\", key = \"docs.key\" }",
            "cleartext = \"redirect\"",
            "browse = true",
            "extensions = [\"html\"]",
            "errors = { \"4xx\" = \"404.html\", \"5xx\" = \"404.html\" }",
            "headers = { \"x-frame-options\" = \"DENY\" }",
            "cache = [{ path = \"/_static/*\", value = \"max-age=31536000, immutable\" }, { path = \
             \"/img/*\", value = \"max-age=31536000, immutable\" }]",
            "redirect = [{ from = \"/v1/*\", to = \"/v2/v1/$1\", status = 301 }, { from = \"/old\", \
             to = \"https://example.org/new\", status = 301 }]",
            "auth = [{ path = \"/private/*\", realm = \"restricted\", users = { \"ann\" = \
             \"$2b$04$abcdefghijklmnopqrstuuDEFGHIJKLMNOPQRSTUVWXYZ01234567\" } }]",
            "[[site]]",
            "hosts = [\"app.example.com\"]",
            "root = \"/srv/app\"",
            "cleartext = \"serve\"",
            "fallback = \"index.html\"",
            "answer = [{ path = \"/healthz\", status = 204 }]",
        ]
    );
}

#[test]
fn l28_a_caddyfile_of_one_site_and_mistakes() {
    let (toml, said, code) = of_text("caddy", "localhost\nroot * /srv\nfile_server\n");
    assert_eq!((said.as_str(), code), ("", 0));
    assert!(toml.contains("hosts = [\"localhost\"]\nroot = \"/srv\""), "{toml}");
    for (text, wanted) in [
        ("a.example {\n file_server\n", "file:1: its block has no `}`"),
        ("a.example {\n}\n}", "file:3: a `}` too many"),
        ("a.example {\n respond \"x\n}", "file:2: a quote is not closed"),
    ] {
        let (_, said, code) = of_text("caddy", text);
        assert_eq!(code, 1, "{text}");
        assert!(said.contains(wanted), "{text}: {said}");
    }
}

/// L28: hostile files are refused or named, in bounded time and memory.
#[test]
fn l28_hostile_files() {
    let deep = "a {".repeat(100_000);
    let snippets: String = (0..20)
        .map(|n| format!("(s{n}) {{\nimport s{m}\nimport s{m}\nimport s{m}\n}}\n", m = n + 1))
        .collect();
    let bomb = format!("{snippets}(s20) {{\nfoo\n}}\na.example {{\nimport s0\n}}\n");
    let grows = "(s) {\nrespond {args[0]}{args[0]}{args[0]}{args[0]}\nimport s \
                 {args[0]}{args[0]}{args[0]}{args[0]}\n}\na.example {\nimport s xxxxxxxxxx\n}\n";
    let large = "a;".repeat(1_000_000);
    for (server, text) in [
        ("nginx", &*deep),
        ("nginx", &large),
        ("caddy", &deep.replace('{', "{\n")),
        ("caddy", &bomb),
        ("caddy", grows),
    ] {
        let (made, said, code) = of_text(server, text);
        assert_ne!(code, 0, "{said:.200}");
        assert!(made.len() + said.len() < 20_000_000);
    }
}

/// Broken pieces of what is usual, thousands of times: no panic, and what is printed is a
/// configuration or said to be none.
#[test]
fn l28_pieces_in_any_order() {
    let nginx = nginx_text(Path::new("/tmp"), 80, 443, true)
        + " location ~* \\.(css|js)$ { expires 30d; } location = /x { return 301 /y; } if ($host = a) { } \
           error_page 404 =200 /x; return 444; server_name _ .x ~y *.z; listen unix:/x; allow all; deny 1; \
           auth_basic \"a\\\"b\"; limit_req zone=a burst=5; limit_req_zone $binary_remote_addr zone=a:1m rate=1r/s; \
           index a.php b.html; client_max_body_size 10m; access_log syslog:server=1.2.3.4,facility=local1; \
           try_files $uri $uri.x /%20 /é; add_header \"a b\" 'c\\'d'; rewrite ^(.*)$ https://h$1;";
    let caddy = "a.b { root * /x\n file_server browse\n redir /a/* https://x{uri} 301\n @m path /a /b*c\n \
                 header @m Cache-Control \"x\"\n respond /x \"y\" 200\n handle_errors 404 { rewrite * /x } \n \
                 tls a b\n log { output file /x } \n encode gzip { } \n try_files {path}.html /x\n }\n :80 , x:y {\n";
    let pieces = |text: &str, ends: &[char]| -> Vec<String> {
        text.split_inclusive(ends).map(str::to_owned).collect()
    };
    let (nginx, caddy) = (pieces(&nginx, &[';', '{', '}']), pieces(caddy, &['\n']));
    let dir = TempDir::new();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let file = dir.path().join("file");
    let (mut printed, mut mistakes) = (0, std::collections::BTreeMap::new());
    for round in 0..600 {
        let (server, pieces) = if round % 2 == 0 { ("nginx", &nginx) } else { ("caddy", &caddy) };
        let mut text = String::new();
        let mut open = 0usize;
        for _ in 0..next(200) {
            // Runs of what stands together, so that more than the beginning is read.
            let at = next(pieces.len());
            for piece in pieces[at..].iter().take(1 + next(12)) {
                if piece.contains('}') && open == 0 {
                    continue;
                }
                // Now and then a word is missing.
                let words = piece.split(' ').count();
                let without = if next(8) == 0 { next(words) } else { words };
                let words: Vec<&str> = piece.split(' ').collect();
                let kept = words.iter().enumerate().filter(|(at, _)| *at != without);
                let piece = &kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
                open = open + piece.matches('{').count() - piece.matches('}').count().min(open);
                text.push_str(piece);
            }
        }
        text.push_str(&"\n}\n".repeat(open));
        std::fs::write(&file, &text).unwrap();
        let (toml, said, code) = made(server, &file);
        assert!([0, 1, 3].contains(&code) && !said.contains("panicked"), "{code}: {said}\n{text}");
        if code == 1 {
            *mistakes.entry(said.rsplit(": ").next().unwrap().to_owned()).or_insert(0) += 1;
        } else {
            printed += 1;
            let is_named = said.contains("the result:");
            let result = ringway::config::load_text(Path::new("it"), &toml);
            assert_eq!(result.is_err(), is_named, "{toml}\n{said}");
        }
    }
    println!("{printed} of 600 were configurations; {mistakes:?}");
    assert!(printed > 60, "{printed} {mistakes:?}");
}
