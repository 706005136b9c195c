//! Imports run downwards: the folders of `server/src` are floors, and a floor knows only those
//! below it. Inside a crate no modules need each other, but for circles listed with their reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code_only, files, report, root, shown, without_test_modules};

/// The floors of `server/src`, from the ground up.
const FLOORS: [&str; 13] = [
    "ring", "config", "tls", "rt", "app", "observe", "files", "proto", "conn", "udp", "worker",
    "serve", "cli",
];

/// `server/src` holds no more folders than this: a fourteenth is kept for the gateway.
const ENTRIES_MAX: usize = 14;

/// Imports that run upwards all the same: the file, the folder, and why.
const UPWARDS: &[(&str, &str, &str)] = &[];

#[test]
fn imports_run_downwards() {
    let mut wrong = Vec::new();
    for module in modules("server/src") {
        let Some(own) = module.path.first() else { continue };
        for import in &module.imports {
            let Some(folder) = import.path.first() else { continue };
            let excused = UPWARDS.iter().any(|(file, up, _)| module.file == *file && up == folder);
            if is_upward(own, folder) && !excused {
                wrong.push(format!("{}: `{own}` may not know `{folder}`", module.file));
            }
        }
    }
    report(wrong);
}

#[test]
fn every_folder_has_its_floor() {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("server/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "lib.rs" && name != "main.rs" {
            found.insert(name);
        }
    }
    assert_eq!(found, FLOORS.iter().map(|name| (*name).to_owned()).collect());
    assert!(FLOORS.len() <= ENTRIES_MAX);
}

/// Modules that know each other, and why: each list is a whole circle, sorted.
const CIRCLES: &[(&str, &[&str], &str)] = &[
    (
        "server/src",
        &["app::body", "app::content"],
        "a body may be streamed, in pieces that are bodies",
    ),
    (
        "server/src",
        &[
            "cli",
            "cli::check",
            "cli::completions",
            "cli::doctor",
            "cli::hash_password",
            "cli::health",
            "cli::help",
            "cli::import",
            "cli::options",
            "cli::precompress",
            "cli::serve",
            "cli::tune",
        ],
        "a dispatcher and its verbs, which share one type of ending and one table of options",
    ),
    (
        "server/src",
        &["cli::import::caddy", "cli::import::caddy::rules"],
        "one conversion: a file's blocks, and the rules in them",
    ),
    (
        "server/src",
        &[
            "cli::import::nginx",
            "cli::import::nginx::location",
            "cli::import::nginx::rules",
            "cli::import::nginx::server",
        ],
        "one conversion: servers, their locations and the rules in both",
    ),
    (
        "server/src",
        &["config", "config::load", "config::paths", "config::settings"],
        "one type: the configuration, and the table that fills it",
    ),
    (
        "server/src",
        &[
            "observe::log",
            "observe::log::entry",
            "observe::log::format",
            "observe::log::format::frame",
            "observe::log::format::redact",
            "observe::log::sink",
            "observe::log::writer",
        ],
        "one type: the log, and the entries that it writes",
    ),
    (
        "server/src",
        &[
            "observe::metrics",
            "observe::metrics::endpoint",
            "observe::metrics::events",
            "observe::metrics::exported",
            "observe::metrics::figures",
            "observe::metrics::sum",
            "observe::metrics::text",
        ],
        "one type: the counters, and the texts that show them",
    ),
    (
        "server/src",
        &["proto::context", "proto::output", "proto::tls_io"],
        "the context is lent to the output, whose time to linger bounds its deadlines",
    ),
    ("server/src", &["ring", "ring::udp"], "one type: the ring"),
    ("server/src", &["rt::executor", "rt::thread_state"], "one type: whose task it is"),
    (
        "server/src",
        &["tls", "tls::boring", "tls::certs", "tls::self_signed"],
        "one type: the certificates, which both TLS stacks are given",
    ),
    (
        "server/src",
        &["tls::handshake", "tls::record_layer", "tls::session"],
        "one type: the session, whose states these are",
    ),
    (
        "server/src",
        &["udp", "udp::generations", "udp::leaving", "udp::setup"],
        "one type: QUIC on a worker, how it is made and how it is replaced",
    ),
    (
        "codec/src",
        &["h1::framing", "h1::request", "h1::target"],
        "one parser: the head, its first line and its framing",
    ),
    ("codec/src", &["h2", "h2::conn", "h2::send"], "one type: the connection"),
    (
        "codec/src",
        &["h3", "h3::config", "h3::conn", "h3::control", "h3::frame", "h3::receive", "h3::stream"],
        "one type: the connection, and the constants of its protocol",
    ),
    ("codec/src", &["hpack", "hpack::statics", "hpack::table"], "one type: the table of fields"),
    (
        "codec/src",
        &["huffman", "huffman::avx512", "huffman::decode"],
        "a dispatcher and its kernel",
    ),
    ("codec/src", &["huffman::avx512_encode", "huffman::encode"], "a dispatcher and its kernel"),
    (
        "codec/src",
        &["scan", "scan::avx512", "scan::neon", "scan::scalar", "scan::x86"],
        "a dispatcher and its kernels",
    ),
    ("quic/src", &["conn", "conn::handshake"], "one type: the connection"),
    ("quic/src", &["http", "http::send"], "one type: the HTTP/3 connection"),
    (
        "tuning/src",
        &["doctor", "doctor::kernel", "doctor::network"],
        "one type: the facts that are explained",
    ),
    (
        "tuning/src",
        &["firewall", "firewall::iptables", "firewall::nft"],
        "a dispatcher and its readers",
    ),
    ("tuning/src", &["tune", "tune::plan"], "one type: the options of a plan"),
];

#[test]
fn modules_go_round_in_no_circle_that_is_not_listed() {
    let mut wrong = Vec::new();
    let mut seen = vec![false; CIRCLES.len()];
    for source in ["server/src", "codec/src", "quic/src", "tuning/src"] {
        for circle in circles(&modules(source)) {
            let same = |(of, names, _): &(&str, &[&str], &str)| {
                *of == source
                    && names.iter().map(|name| (*name).to_owned()).eq(circle.iter().cloned())
            };
            match CIRCLES.iter().position(same) {
                Some(at) => seen[at] = true,
                None => wrong.push(format!("{source}: {circle:?} know each other")),
            }
        }
    }
    for ((source, names, _), seen) in CIRCLES.iter().zip(seen) {
        if !seen {
            wrong.push(format!("{source}: {names:?} is listed and no circle any more"));
        }
    }
    report(wrong);
}

fn is_upward(own: &str, other: &str) -> bool {
    let floor = |name: &str| FLOORS.iter().position(|floor| *floor == name);
    match (floor(own), floor(other)) {
        (Some(own), Some(other)) => other > own,
        _ => false,
    }
}

/// A module: a file of a crate.
struct Module {
    file: String,
    /// Its names from the crate's root.
    path: Vec<String>,
    imports: Vec<Import>,
}

/// A path that a module names, from the crate's root as far as it leads through modules.
#[derive(Debug, PartialEq)]
struct Import {
    path: Vec<String>,
}

/// Every module of a crate with what it imports from the others; tests are no part of it.
fn modules(source: &str) -> Vec<Module> {
    let top = root().join(source);
    let mut texts = BTreeMap::new();
    let mut names = BTreeMap::new();
    for file in files(&top, &|name| name.ends_with(".rs")) {
        let Some(path) = module_path(file.strip_prefix(&top).unwrap()) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        texts.insert(path.clone(), without_test_modules(&code_only(&text)));
        names.insert(path, shown(&file));
    }
    let tree = Tree::new(&texts);
    let modules = texts.iter().map(|(path, code)| Module {
        file: names[path].clone(),
        path: path.clone(),
        imports: tree.imports(path, code),
    });
    modules.collect()
}

/// `proto/h1/mod.rs` is `proto::h1`; none for tests, fuzz targets and the program's own `main`.
fn module_path(file: &Path) -> Option<Vec<String>> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.iter().any(|part| matches!(part.as_str(), "tests" | "fuzz" | "main")) {
        return None;
    }
    if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
        path.pop();
    }
    Some(path)
}

/// The modules of a crate, and what each of them hands on under its own name.
struct Tree {
    modules: BTreeSet<Vec<String>>,
    handed_on: BTreeMap<Vec<String>, BTreeMap<String, String>>,
}

impl Tree {
    fn new(texts: &BTreeMap<Vec<String>, String>) -> Self {
        let modules = texts.keys().cloned().collect();
        let mut handed_on = BTreeMap::new();
        for (path, code) in texts {
            let mut names = BTreeMap::new();
            for (public, used) in uses(code) {
                if public && let Some((_, name)) = used.rsplit_once("::") {
                    names.insert(name.to_owned(), used.clone());
                }
            }
            handed_on.insert(path.clone(), names);
        }
        Self { modules, handed_on }
    }

    /// What the code of a module imports. What it hands on it does not need itself.
    fn imports(&self, own: &[String], code: &str) -> Vec<Import> {
        let used = uses(code).into_iter().filter(|(public, _)| !public).map(|(_, used)| used);
        let mut found = Vec::new();
        for named in used.chain(paths(code)) {
            if let Some(path) = self.resolve(own, &named, 0) {
                let import = Import { path };
                if import.path != own && !found.contains(&import) {
                    found.push(import);
                }
            }
        }
        found
    }

    /// The module that a path ends in, through what others hand on; none for other crates.
    fn resolve(&self, from: &[String], named: &str, depth: usize) -> Option<Vec<String>> {
        let mut parts = named.split("::").peekable();
        let mut at = from.to_vec();
        match *parts.peek()? {
            "crate" => at.clear(),
            "super" | "self" => {}
            first => {
                at.push(first.to_owned());
                let known = self.modules.contains(&at);
                at.pop();
                if !known {
                    return None;
                }
            }
        }
        while let Some(part) = parts.next_if(|part| matches!(*part, "crate" | "self" | "super")) {
            if part == "super" {
                at.pop();
            }
        }
        for part in parts {
            at.push(part.to_owned());
            if self.modules.contains(&at) {
                continue;
            }
            at.pop();
            let on = self.handed_on.get(&at).and_then(|names| names.get(part));
            return match on {
                Some(on) if depth < 4 => self.resolve(&at, on, depth + 1).or(Some(at)),
                _ => Some(at),
            };
        }
        Some(at)
    }
}

/// Every `use` of the code: whether it is public, and each path of its tree.
fn uses(code: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].trim_end_matches([' ', '\n']);
        let starts = before.is_empty() || before.ends_with([';', '}', '{', ']', ')']);
        let public = before.ends_with("pub") || before.ends_with(')') && code[..at].ends_with(") ");
        if !starts && !public {
            continue;
        }
        let Some(end) = code[at..].find(';') else { continue };
        let tree: String = code[at + 4..at + end].split_whitespace().collect::<Vec<_>>().join(" ");
        found.extend(branches(&tree).into_iter().map(|path| (public, path)));
    }
    found
}

/// `a::{b, c::{d, self}}` is `a::b`, `a::c::d` and `a::c`.
fn branches(tree: &str) -> Vec<String> {
    let tree = tree.split(" as ").next().unwrap_or_default().trim();
    let Some((stem, rest)) = tree.split_once('{') else {
        return vec![tree.trim_end_matches("::self").to_owned()];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    let whole = format!("{inner},");
    for (at, c) in whole.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = whole[from..at].trim();
                from = at + 1;
                if !part.is_empty() {
                    found.extend(branches(part).into_iter().map(|path| format!("{stem}{path}")));
                }
            }
            _ => {}
        }
    }
    found.into_iter().map(|path| path.trim_end_matches("::self").to_owned()).collect()
}

/// Every path in the code outside `use`: `crate::a::b`, `super::c`, `child::d`.
fn paths(code: &str) -> Vec<String> {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for word in code.split(|c| !part(c)) {
        let word = word.trim_end_matches(':');
        if word.contains("::") && !word.starts_with(':') {
            found.push(word.to_owned());
        }
    }
    found
}

/// The sets of modules that reach each other, each sorted by name.
fn circles(modules: &[Module]) -> Vec<Vec<String>> {
    let reach: BTreeMap<&[String], BTreeSet<&[String]>> =
        modules.iter().map(|module| (&module.path[..], reachable(modules, &module.path))).collect();
    let mut found = BTreeSet::new();
    for (from, reached) in &reach {
        let circle: Vec<String> = reached
            .iter()
            .filter(|other| reach.get(*other).is_some_and(|back| back.contains(from)))
            .map(|other| other.join("::"))
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reachable<'a>(modules: &'a [Module], from: &[String]) -> BTreeSet<&'a [String]> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(path) = next.pop() {
        let Some(module) = modules.iter().find(|module| module.path == path) else { continue };
        for import in &module.imports {
            if let Some(to) = modules.iter().find(|module| module.path == import.path)
                && reached.insert(&to.path[..])
            {
                next.push(&to.path);
            }
        }
    }
    reached
}

/// The check's own tests: it must see what it forbids and let pass what it allows.
mod rules {
    use super::*;

    fn crate_of(sources: &[(&str, &str)]) -> Vec<Module> {
        let path = |name: &str| module_path(Path::new(name)).unwrap();
        let texts: BTreeMap<_, _> = sources
            .iter()
            .map(|(name, text)| (path(name), without_test_modules(&code_only(text))))
            .collect();
        let tree = Tree::new(&texts);
        let modules = texts.iter().map(|(path, code)| Module {
            file: path.join("/"),
            path: path.clone(),
            imports: tree.imports(path, code),
        });
        modules.collect()
    }

    #[test]
    fn an_upward_import_is_seen_and_a_downward_one_is_not() {
        assert!(is_upward("ring", "worker"));
        assert!(is_upward("app", "files"));
        assert!(!is_upward("worker", "ring"));
        assert!(!is_upward("files", "files"));
        let modules = crate_of(&[
            ("ring/mod.rs", "fn f() { crate::worker::turn(); }"),
            ("worker/mod.rs", "use crate::ring::{self, Ring};\n// crate::cli is no import"),
        ]);
        assert_eq!(modules[0].imports, [Import { path: vec!["worker".into()] }]);
        assert_eq!(modules[1].imports, [Import { path: vec!["ring".into()] }]);
    }

    #[test]
    fn what_is_handed_on_leads_to_its_owner() {
        let modules = crate_of(&[
            ("proto/mod.rs", "pub(crate) use context::Context;\nmod context;"),
            ("proto/context.rs", "pub struct Context;"),
            ("conn/mod.rs", "use crate::proto::{Context, Other};"),
        ]);
        let found: Vec<String> =
            modules[0].imports.iter().map(|import| import.path.join("::")).collect();
        assert_eq!(found, ["proto::context", "proto"]);
    }

    #[test]
    fn a_circle_is_found_and_a_chain_is_none() {
        let chain = [("a.rs", "use crate::b::B;"), ("b.rs", "use super::c::C;"), ("c.rs", "")];
        assert!(circles(&crate_of(&chain)).is_empty());
        let ring = [("a.rs", "use crate::b::B;"), ("b.rs", "fn f() { super::a::g(); }")];
        assert_eq!(circles(&crate_of(&ring)), [["a", "b"]]);
        let in_tests = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
        ];
        assert!(circles(&crate_of(&in_tests)).is_empty());
    }

    #[test]
    fn trees_of_imports_are_read() {
        assert_eq!(branches("a::{b, c::{d, self}, e as f}"), ["a::b", "a::c::d", "a::c", "a::e"]);
        let code = "pub(crate) use x::Y;\nuse crate::z;\nfn f() { let reuse = 1; }";
        assert_eq!(uses(code), [(true, "x::Y".into()), (false, "crate::z".into())]);
    }
}
