//! The layers together, from whole files: what loads, what is refused, and in which words.

use super::*;
use std::path::Path;
use std::time::Duration;

/// A configuration file in a directory of its own, removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("ringway-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let scratch = Self(directory);
        std::fs::write(scratch.file(), text).unwrap();
        scratch
    }

    fn file(&self) -> PathBuf {
        self.0.join("ringway.toml")
    }

    fn sources(&self) -> Sources {
        Sources { file: Some(self.file()), ..Sources::default() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The one-line errors of a file's text, without the directory.
fn errors(name: &str, text: &str) -> Vec<String> {
    let scratch = Scratch::new(name, text);
    let prefix = format!("{}/", scratch.0.display());
    let errors = load(&scratch.sources()).unwrap_err();
    errors.0.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
}

fn given(option: &str, key: &str, value: &str) -> GivenOption {
    GivenOption { key: key.into(), value: value.into(), option: option.into() }
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn without_a_word_the_documented_listeners() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config.http[0].to_string(), "127.0.0.1:8080");
    assert_eq!(loaded.config.https[0].to_string(), "127.0.0.1:8443");
    assert_eq!(loaded.config.limits, Limits::default());
    assert_eq!(loaded.origin("http"), &ValueOrigin::Default);
}

#[test]
fn a_listener_that_is_named_is_the_only_one() {
    let sources = Sources {
        command_line: vec![given("--http", "http", "127.0.0.1:0")],
        ..Sources::default()
    };
    let config = load(&sources).unwrap().config;
    assert_eq!(config.http.len(), 1);
    assert!(config.https.is_empty() && config.h2c.is_empty());
}

#[test]
fn a_whole_file() {
    let scratch = Scratch::new(
        "whole",
        r#"
http = [":8080", "unix:/run/ringway.sock"]
https = "[::]:443"
workers = 2
cpus = [1, 0]
[files]
root = "site"
browse = true
[tls]
cert = "/etc/cert.pem"
key = "key.pem"
[http3]
enabled = false
[log]
format = "json"
[limits]
header_bytes = "16KiB"
body_bytes = 0
idle_timeout = "1m30s"
"#,
    );
    let loaded = load(&scratch.sources()).unwrap();
    let config = &loaded.config;
    assert_eq!(config.http, [Address::Any(8080), Address::Unix("/run/ringway.sock".into())]);
    assert_eq!(config.cpus, Some(Cpus(vec![1, 0])));
    assert_eq!(config.files.root, scratch.0.join("site"), "relative to the file");
    assert_eq!(config.tls.cert.as_deref(), Some(Path::new("/etc/cert.pem")));
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(!config.http3.enabled);
    assert_eq!(config.limits.header_bytes, 16 * 1024);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(90));
    let ValueOrigin::File { line, column, .. } = loaded.origin("limits.header_bytes") else {
        panic!()
    };
    assert_eq!((*line, *column), (17, 1));
}

#[test]
fn layers_in_their_order() {
    let scratch = Scratch::new(
        "layers",
        "workers = 2\nmetrics = \"127.0.0.1:1\"\n[log]\nformat = \"json\"\n",
    );
    let sources = Sources {
        environment: vec![
            variable("RINGWAY_WORKERS", "3"),
            variable("RINGWAY_LOG", "combined"),
            variable("UNRELATED", "x"),
        ],
        command_line: vec![given("--workers", "workers", "4")],
        ..scratch.sources()
    };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.workers, Some(4));
    assert_eq!(loaded.origin("workers"), &ValueOrigin::CommandLine("--workers".into()));
    assert_eq!(loaded.config.log.format, LogFormat::Combined);
    assert_eq!(loaded.origin("log.format"), &ValueOrigin::Environment("RINGWAY_LOG".into()));
    assert!(matches!(loaded.origin("metrics"), ValueOrigin::File { line: 2, .. }));
}

#[test]
fn a_list_on_the_command_line_replaces_the_files() {
    let scratch = Scratch::new("lists", "http = [\":1\", \":2\"]\n");
    let sources = Sources {
        command_line: vec![given("--http", "http", ":3"), given("--http", "http", ":4,:5")],
        ..scratch.sources()
    };
    let config = load(&sources).unwrap().config;
    assert_eq!(config.http, [Address::Any(3), Address::Any(4), Address::Any(5)]);
}

#[test]
fn unknown_keys_are_named_with_their_place_and_the_nearest_name() {
    assert_eq!(
        errors("unknown", "[limits]\nbody_bytes = 1\n  haeder_bytes = \"1KiB\"\n"),
        ["ringway.toml:3:3: unknown key `haeder_bytes` in [limits]; did you mean `header_bytes`"]
    );
    assert_eq!(
        errors("block", "[limit]\nx = 1\n"),
        ["ringway.toml:1:2: unknown block `limit`; did you mean `limits`"]
    );
    assert_eq!(
        errors("misplaced", "header_bytes = \"1KiB\"\n[log]\nworkers = 1\n"),
        [
            "ringway.toml:1:1: unknown key `header_bytes`; did you mean `limits.header_bytes`",
            "ringway.toml:3:1: unknown key `workers` in [log]; did you mean the top-level \
             `workers`, before the first block",
        ]
    );
    assert_eq!(errors("far", "colour = 1\n"), ["ringway.toml:1:1: unknown key `colour`"]);
    assert_eq!(
        errors("deep", "[limits.header_bytes]\nx = 1\n"),
        ["ringway.toml:1:9: `limits.header_bytes`: expected a size like \"64KiB\", found a block"]
    );
}

#[test]
fn wrong_values_are_named_with_their_place_and_what_was_meant() {
    let text = "http = [\":80\", 8080]\nworkers = \"4\"\n[limits]\nidle_timeout = 10\n\
                header_bytes = \"64k\"\nheader_fields = 5\n[log]\nformat = \"jsno\"\n";
    assert_eq!(
        errors("values", text),
        [
            "ringway.toml:1:16: `http`: expected an address like \"127.0.0.1:8080\", \
             found an integer",
            "ringway.toml:2:11: `workers`: expected a whole number, found a string; did you mean 4",
            "ringway.toml:4:16: `limits.idle_timeout`: expected a duration like \"10s\", found \
             a number without a unit; did you mean \"10s\"",
            "ringway.toml:5:16: `limits.header_bytes`: expected a size like \"64KiB\", found \
             \"64k\"; did you mean \"64KiB\"",
            "ringway.toml:6:17: `limits.header_fields`: 5 is out of range: 8 to 4096",
            "ringway.toml:8:10: `log.format`: expected one of off, common, combined, json, found \"jsno\"; \
             did you mean \"json\"",
        ]
    );
}

#[test]
fn columns_count_characters() {
    let found = errors("columns", "# é\nqlog = \"é\" # é\n\"é\" = 1\n");
    assert_eq!(found, ["ringway.toml:3:1: unknown key `é`"]);
    let found = errors("tabs", "[log]\n\t\"é\" . x = 1\n");
    assert_eq!(found, ["ringway.toml:2:2: unknown block `é` in [log]"]);
}

#[test]
fn broken_files_never_panic_and_name_a_line() {
    for (name, text) in [
        ("open", "http = ["),
        ("twice", "workers = 1\nworkers = 2\n"),
        ("bare", "workers\n"),
        ("nul", "workers = \0"),
        ("huge", "workers = 999999999999999999999999999999999999999999999999"),
    ] {
        let found = errors(name, text);
        assert!(found[0].starts_with("ringway.toml:") && !found[0].contains('\n'), "{found:?}");
    }
    let scratch = Scratch::new("binary", "");
    std::fs::write(scratch.file(), b"workers = 1\n# \xff").unwrap();
    let found = load(&scratch.sources()).unwrap_err().to_string();
    assert!(found.ends_with("ringway.toml:2:3: the file is not UTF-8 from here on"), "{found}");
    let missing = Sources { file: Some("/nonexistent/ringway.toml".into()), ..Sources::default() };
    let found = load(&missing).unwrap_err().to_string();
    assert!(found.starts_with("/nonexistent/ringway.toml: cannot be read: "), "{found}");
}

#[test]
fn no_damage_to_a_file_makes_it_panic_or_lose_its_place() {
    let whole = "http = [\":80\"]\nworkers = 2\n[limits]\nbody_bytes = \"1MiB\"\n\
                 idle_timeout = \"1m\"\n[log]\nformat = \"json\" # é\n";
    let mut damaged: Vec<Vec<u8>> =
        (0..whole.len()).map(|at| whole[..].as_bytes()[..at].to_vec()).collect();
    for at in 0..whole.len() {
        for byte in *b"\"[]=.#\n\0\xff9" {
            let mut file = whole.as_bytes().to_vec();
            file[at] = byte;
            damaged.push(file);
        }
    }
    let scratch = Scratch::new("damage", "");
    for file in damaged {
        std::fs::write(scratch.file(), &file).unwrap();
        let Err(errors) = load(&scratch.sources()) else { continue };
        for error in &errors.0 {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line}");
            let ValueOrigin::File { line, column, .. } = error.origin else { panic!("{error}") };
            let lines = file.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&line) && column >= 1, "{error}");
        }
    }
}

#[test]
fn contradictions() {
    for (name, text, wanted) in [
        (
            "taken",
            "http = \":80\"\nhttps = \"127.0.0.1:80\"",
            "ringway.toml:2:1: `https` 127.0.0.1:80 is taken by `http` :80",
        ),
        (
            "nothing",
            "http = []",
            "ringway.toml:1:1: nothing to listen on: no http, https or h2c address",
        ),
        (
            "cert",
            "[tls]\ncert = \"x\"",
            "ringway.toml:2:1: a certificate without its key: `tls.key` is missing",
        ),
        (
            "metrics",
            "metrics = \":9\"",
            "ringway.toml:1:1: metrics on :9 could be read from outside: use loopback",
        ),
        (
            "pin",
            "workers = 3\ncpus = \"0-1\"",
            "ringway.toml:1:1: 3 workers cannot be pinned to 2 CPUs",
        ),
        (
            "log",
            "[log]\nfile = \"a.log\"",
            "ringway.toml:2:1: nothing is logged: set `log.format` to common, combined or json",
        ),
        (
            "h3",
            "[http3]\nrequired = true\nenabled = false",
            "ringway.toml:2:1: `http3.enabled` is false",
        ),
        (
            "header",
            "[limits]\nheader_bytes = \"128KiB\"",
            "ringway.toml:2:1: `limits.spill_bytes` is smaller than `limits.header_bytes`, \
             which it has to hold",
        ),
        (
            "spill",
            "[limits]\nspill_bytes = \"4KiB\"",
            "ringway.toml:2:1: `limits.spill_bytes` is smaller than \
             `limits.header_bytes`, which it has to hold",
        ),
    ] {
        assert_eq!(errors(name, text), [wanted]);
    }
}

#[test]
fn the_environment_and_the_command_line_name_themselves() {
    let sources = Sources {
        environment: vec![
            variable("RINGWAY_WORKERS", "many"),
            variable("RINGWAY_PORT", "tcp://1.2.3.4:80"),
        ],
        command_line: vec![
            given("--set limits.body_byte", "limits.body_byte", "1"),
            given("--log", "log.format", "xml"),
        ],
        ..Sources::default()
    };
    let found = load(&sources).unwrap_err();
    let found: Vec<_> = found.0.iter().map(Error::to_string).collect();
    assert_eq!(
        found,
        [
            "RINGWAY_WORKERS: expected a whole number, found `many`",
            "--set limits.body_byte: unknown key `body_byte` in [limits]; \
             did you mean `body_bytes`",
            "--log: expected one of off, common, combined, json, found \"xml\"",
        ]
    );
    let sources =
        Sources { environment: vec![variable("RINGWAY_WORKER", "1")], ..Sources::default() };
    let loaded = load(&sources).unwrap();
    assert_eq!(
        loaded.warnings,
        ["RINGWAY_WORKER is not a variable of ringway; did you mean RINGWAY_WORKERS"]
    );
}

#[test]
fn what_is_printed_loads_to_the_same() {
    let scratch = Scratch::new(
        "printed",
        "h2c = [\"127.0.0.1:1\"]\ncpus = \"2,0-1\"\nsimd = \"scalar\"\ntrace = [\"h2\", \"tls\"]\n\
         [files]\nroot = \"/srv/a \\\"b\\\"\"\n[limits]\nbody_rate = 1000\n\
         rate_grace = \"1500ms\"\n",
    );
    let first = load(&scratch.sources()).unwrap();
    let printed = print(&first);
    let again = Scratch::new("again", &printed);
    assert_eq!(load(&again.sources()).unwrap().config, first.config, "{printed}");
    assert!(printed.contains("rate_grace = \"1500ms\""), "{printed}");
    assert!(printed.contains("# default, 8 to 4096"), "{printed}");
}

/// The committed reference is the table; `RINGWAY_WRITE=1 cargo test the_committed_reference`
/// renews it.
#[test]
fn the_committed_reference_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIGURATION.md");
    let text = format!("{REFERENCE_HEAD}{}", reference());
    if std::env::var_os("RINGWAY_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text, "it is out of date");
}

const REFERENCE_HEAD: &str = "# Configuration

Every key of the configuration file, its default and range, the option of the command line and the
variable that set it too. The command line wins over the environment, the environment over the file,
the file over the default; any key can be given as `--set KEY=VALUE`.

A key stands in the block before its dot: `limits.header_bytes` is `header_bytes` in `[limits]`.
Durations are strings such as `\"10s\"`, sizes such as `\"64KiB\"` (or a number of bytes), addresses
such as `\":8080\"`, `\"[::]:443\"`, `\"unix:/run/ringway.sock\"` or `\"fd:3\"`. `:8080` is every
address of the machine, IPv6 and IPv4; `[::]:8080` is IPv6 only, `0.0.0.0:8080` IPv4 only; the line
`listening …` at start says which it is. Relative paths start from the directory of the file.
`ringway check -c FILE` finds what is wrong and says where; `ringway check --print` shows every value
with where it comes from.

This page is made from the tables in `src/config/`: `RINGWAY_WRITE=1 cargo test -p ringway
the_committed_reference` writes it anew.

";

/// Row E15.
#[test]
fn every_setting_is_documented_and_in_the_reference() {
    let reference = reference();
    for setting in SETTINGS.iter() {
        assert!(!setting.doc.is_empty() && !setting.doc.contains('|'), "{}", setting.key);
        assert!(reference.contains(&format!("| `{}` |", setting.key)));
    }
}

/// Every block of TOML in the manual is a configuration without a mistake.
#[test]
fn the_examples_of_the_manual_load() {
    let mut seen = 0;
    for page in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("manual")).unwrap() {
        let path = page.unwrap().path();
        if path.is_dir() {
            continue; // whole files, which tests serve
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let example = block.split("```").next().unwrap();
            if example.starts_with("[dependencies]") {
                continue; // a program's manifest
            }
            let scratch = Scratch::new("manual", example);
            let loaded = load(&scratch.sources());
            assert!(loaded.is_ok(), "{}: {:?}", path.display(), loaded.err());
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} examples");
}

#[test]
fn tables_in_lists() {
    let scratch = Scratch::new(
        "tables",
        r#"
http = "127.0.0.1:0"
https = "127.0.0.1:0"
push = [{ path = "/", push = ["/a.css", "/b.js"] }]
[[hints]]
path = "/"
links = ["</a.css>; rel=preload; as=style"]
[[hints]]
path = "/b%20c/"
links = "</b.js>; rel=preload; as=script"
[files]
root = "site"
[tls]
cert = "a.pem"
key = "a.key"
ocsp = "a.ocsp"
ticket_key = "tickets"
min_version = "1.3"
client_ca = "ca.pem"
hsts = "max-age=31536000; includeSubDomains; preload"
key_log = "env"
[[tls.certificates]]
cert = "b.pem"
key = "/etc/b.key"
[http2]
pushes = 10
[http3]
enabled = false
"#,
    );
    let loaded = load(&scratch.sources()).unwrap();
    let config = &loaded.config;
    assert_eq!(config.hints.len(), 2);
    assert_eq!(config.hints[1].path, UrlPath("/b%20c/".into()));
    assert_eq!(config.push[0].push, [UrlPath("/a.css".into()), UrlPath("/b.js".into())]);
    let further = &config.tls.certificates[0];
    assert_eq!(further.cert, scratch.0.join("b.pem"), "relative to the file");
    assert_eq!((&*further.key, &further.ocsp), (Path::new("/etc/b.key"), &None));
    assert_eq!(config.tls.min_version, TlsVersion::Tls13);
    assert_eq!(config.tls.key_log, KeyLogMode::Env);
    // What is printed is a file that says the same.
    let again = Scratch::new("tables-again", &print(&loaded));
    assert_eq!(load(&again.sources()).unwrap().config, *config);
}

/// F15: in a file, as a variable and as an option.
#[test]
fn f15_content_types_of_extensions() {
    let text = "http = \":0\"\n[files.types]\n\"c++\" = \"text/x-c\"\n\
                odd = \"application/x-odd; v=\\\"1\\\"\"";
    let scratch = Scratch::new("types", text);
    let loaded = load(&scratch.sources()).unwrap();
    let types = |loaded: &Loaded| {
        let types = loaded.config.files.types.0.iter();
        types.map(|(of, to)| format!("{of}={}", to.to_str().unwrap())).collect::<Vec<_>>()
    };
    let mut seen = types(&loaded);
    seen.sort();
    assert_eq!(seen, ["c++=text/x-c", "odd=application/x-odd; v=\"1\""]);
    let again = Scratch::new("types-again", &print(&loaded));
    assert_eq!(load(&again.sources()).unwrap().config.files.types, loaded.config.files.types);
    let mut sources = scratch.sources();
    sources.environment = vec![("RINGWAY_FILES_TYPES".into(), "A=b/c, d=e/f;g=h".into())];
    assert_eq!(types(&load(&sources).unwrap()), ["a=b/c", "d=e/f;g=h"]);
}

#[test]
fn mistakes_inside_tables_have_their_place() {
    for (text, wanted) in [
        (
            "[files.types]\n\".odd\" = \"a/b\"",
            "2:1: `files.types`: expected an extension like cjs, which stands behind a name's last dot, found \".odd\"; did you mean `odd`",
        ),
        (
            "[files.types]\nx = \"html\"",
            "2:1: `files.types`: expected a content type like \"text/javascript; charset=utf-8\", found \"html\"",
        ),
        ("[files.types]\nx = 1", "2:1: `files.types`: expected a content type, found an integer"),
        ("[files.types]\nx = \"a/b\"\nX = \"a/b\"", "2:1: `files.types`: `x` is there twice"),
        (
            "[files]\ntypes = true",
            "2:9: `files.types`: expected a block of content types by extension, found a boolean",
        ),
        (
            "[[hints]]\npath = \"/\"\nlink = []",
            "3:1: `hints`: unknown key `link`; did you mean `links`",
        ),
        (
            "[[hints]]\npath = \"a.html\"\nlinks = []",
            "2:8: `hints`: `path`: expected a path like \"/index.html\", found \"a.html\"; did you mean \"/a.html\"",
        ),
        ("[[hints]]\npath = \"/\"", "1:1: `hints`: `links` is missing"),
        (
            "[[hints]]\npath = \"/\"\nlinks = [\"/a.css\"]",
            "3:10: `hints`: `links`: expected a link like \"</style.css>; rel=preload; as=style\", found \"/a.css\"",
        ),
        ("push = 1", "1:8: `push`: expected a block of a file with path, push, found an integer"),
        (
            "[[push]]\npath = \"/\"\npush = \"/a\"",
            "1:3: nothing is pushed while `http2.pushes` is 0",
        ),
        (
            "[tls]\nhsts = \"1 year\"",
            "2:8: `tls.hsts`: expected a policy like \"max-age=31536000; includeSubDomains\", found \"1 year\"",
        ),
        (
            "[tls]\nmin_version = \"1.1\"",
            "2:15: `tls.min_version`: expected one of 1.2, 1.3, found \"1.1\"; did you mean \"1.2\"",
        ),
        (
            "[tls]\nocsp = \"x\"",
            "2:1: an OCSP response without its certificate: `tls.cert` is missing",
        ),
        (
            "[[tls.certificates]]\ncert = \"x\"\nkey = \"y\"",
            "1:7: further certificates, but none for all other names: `tls.cert` is missing",
        ),
        (
            "[tls]\ncert = \"x\"\nkey = \"y\"\nclient_ca = \"z\"",
            "4:1: clients are not asked for certificates over HTTP/3: set `http3.enabled` to false",
        ),
    ] {
        let found = errors("inside-tables", text);
        assert_eq!(found, [format!("ringway.toml:{wanted}")], "{text}");
    }
}
