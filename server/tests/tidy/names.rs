//! One name for one thing: no two public types of a crate share a name, but for the twins that are
//! listed; and comments and papers refer to files and modules that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code_only, files, report, root, shown, without_test_modules};

const CRATES: [&str; 5] = ["bench", "codec", "quic", "server", "tuning"];

/// Names that stand more than once in a crate, and why.
const TWINS: &[(&str, &[&str], &str)] = &[
    (
        "codec",
        &["Code", "Config", "Conn", "Event", "Request", "Shared"],
        "twins of `h2` and `h3`, used as `h2::Conn` and `h3::Conn`",
    ),
    ("codec", &["Decoder", "Encoder"], "twins of `hpack` and `qpack`, used by their module"),
    ("codec", &["Error"], "each module's own, used as `io::Error` is"),
    ("server", &["Error"], "of the root, of `config` and of `tls`, used as `io::Error` is"),
];

/// Papers that tell of former times: measurements, and what was tried.
const HISTORY: &[&str] = &["bench/results/", "server/CHANGELOG.md"];

#[test]
fn a_public_type_has_its_name_alone() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let mut homes = BTreeMap::<String, Vec<String>>::new();
        for path in files(&root().join(name).join("src"), &|file| file.ends_with(".rs")) {
            let file = shown(&path);
            if file.contains("/tests/") || file.ends_with("/tests.rs") {
                continue;
            }
            let code = without_test_modules(&code_only(&std::fs::read_to_string(&path).unwrap()));
            for found in public_types(&code) {
                homes.entry(found.to_owned()).or_default().push(file.clone());
            }
        }
        homes.retain(|_, files| files.len() > 1);
        let excused: BTreeSet<&str> = TWINS
            .iter()
            .filter(|(of, ..)| *of == name)
            .flat_map(|(_, names, _)| *names)
            .copied()
            .collect();
        for (found, files) in &homes {
            if !excused.contains(found.as_str()) {
                wrong.push(format!("{name}: `{found}` is in {}", files.join(" and in ")));
            }
        }
        for unneeded in excused.iter().filter(|found| !homes.contains_key(**found)) {
            wrong.push(format!("{name}: `{unneeded}` is listed and stands once"));
        }
    }
    report(wrong);
}

/// Names of the types that a file declares `pub` or `pub(crate)`.
fn public_types(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in code.lines() {
        let line = line.trim_start();
        let Some(rest) = ["pub ", "pub(crate) "].iter().find_map(|start| line.strip_prefix(start))
        else {
            continue;
        };
        let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
        let kinds = ["struct ", "enum ", "union ", "trait ", "type "];
        let Some(rest) = kinds.iter().find_map(|kind| rest.strip_prefix(kind)) else { continue };
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        found.push(&rest[..end]);
    }
    found
}

#[test]
fn comments_and_papers_refer_to_what_is_there() {
    let tree = Tree::of_the_repository();
    let mut wrong = Vec::new();
    for path in files(&root(), &|name| name.ends_with(".rs") || name.ends_with(".md")) {
        let name = shown(&path);
        if HISTORY.iter().any(|history| name.starts_with(history)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, reference) in references(&name, &text) {
            if let Some(why) = tree.lacks(&name, reference) {
                wrong.push(format!("{name}:{line}: `{reference}` {why}"));
            }
        }
    }
    report(wrong);
}

/// What stands between backticks in comments, or in a paper outside its listings.
fn references<'a>(name: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    let (mut found, mut listing) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let prose = if name.ends_with(".md") {
            line
        } else if let Some(at) = line.find("//").filter(|at| is_comment(&line[..*at])) {
            line[at..].trim_start_matches(['/', '!'])
        } else {
            listing = false;
            continue;
        };
        if prose.trim_start().starts_with("```") {
            listing = !listing;
        } else if !listing {
            found.extend(prose.split('`').skip(1).step_by(2).map(|quoted| (index + 1, quoted)));
        }
    }
    found
}

/// Whether `//` behind this begins a comment, and is not part of a literal.
fn is_comment(before: &str) -> bool {
    before.matches('"').count().is_multiple_of(2) && !before.ends_with(':')
}

/// The files and folders of a repository.
struct Tree {
    /// Paths from the root, and every folder on the way.
    paths: BTreeSet<String>,
    /// Code and comments by path.
    sources: BTreeMap<String, String>,
}

impl Tree {
    fn of_the_repository() -> Self {
        let all = files(&root(), &|_| true);
        let paths = all.iter().map(|path| shown(path)).collect::<Vec<_>>();
        let sources = paths.iter().filter(|path| path.ends_with(".rs"));
        let sources = sources.map(|path| (path.clone(), read(path))).collect();
        Self::new(&paths, sources)
    }

    fn new(files: &[String], sources: BTreeMap<String, String>) -> Self {
        let mut paths = BTreeSet::new();
        for file in files {
            paths.extend(Path::new(file).ancestors().map(|path| path.display().to_string()));
        }
        paths.remove("");
        Self { paths, sources }
    }

    /// Why a reference in `file` leads nowhere; nothing where it is none, or leads somewhere.
    fn lacks(&self, file: &str, reference: &str) -> Option<&'static str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:{},".contains(c);
        if reference.is_empty() || !reference.chars().all(is_plain) {
            return None;
        }
        let (path, item) = reference.split_once("::").unwrap_or((reference, ""));
        if path.contains('/') || has_extension(path) {
            let there = braced(path).iter().all(|path| !self.is_ours(path) || self.has(path));
            return (!there).then_some("is no file or folder here");
        }
        if item.is_empty() || path.contains(['.', ':', '-', '{']) {
            return None;
        }
        self.lacks_item(file.split('/').next()?, path, item).then_some("is not in that module")
    }

    /// Whether a path is one of the repository's, from its root or from any folder.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/').trim_start_matches("./");
        // The walk leaves out folders that are called `corpus`.
        root().join(path).exists()
            || ["", ".rs", "/mod.rs"].iter().any(|end| {
                let whole = format!("{path}{end}");
                let tail = format!("/{whole}");
                self.paths.iter().any(|ours| *ours == whole || ours.ends_with(&tail))
            })
    }

    /// Whether something that looks like a path means one of the repository: its first part is a
    /// folder here, or it is a source file's or a script's name. `http/1.1` is none.
    fn is_ours(&self, path: &str) -> bool {
        let Some((first, _)) = path.split_once('/') else { return true };
        if path.ends_with(|c: char| c.is_ascii_digit()) && path.contains('.') {
            return false;
        }
        let tail = format!("/{first}");
        let is_folder = |ours: &String| ours == first || ours.ends_with(&tail);
        !first.is_empty() && !first.contains('.') && self.paths.iter().any(is_folder)
    }

    /// Whether `module::item` of a crate names a module that does not know the word `item`.
    fn lacks_item(&self, name: &str, module: &str, item: &str) -> bool {
        let mut at = format!("{name}/src/{module}");
        let mut rest = item.split("::");
        let mut next = rest.next();
        while let Some(part) = next.filter(|part| self.module(&format!("{at}/{part}")).is_some()) {
            at = format!("{at}/{part}");
            next = rest.next();
        }
        match (self.module(&at), next) {
            (Some(code), Some(item)) => !has_word(code, item.trim_end_matches("()")),
            _ => false,
        }
    }

    fn module(&self, path: &str) -> Option<&String> {
        let file = self.sources.get(&format!("{path}.rs"));
        file.or_else(|| self.sources.get(&format!("{path}/mod.rs")))
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// A file that only a repository of sources has.
fn has_extension(path: &str) -> bool {
    [".rs", ".sh", ".py"]
        .iter()
        .any(|end| path.strip_suffix(end).is_some_and(|stem| !stem.is_empty()))
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

/// `h1/{mod,requests}` as the paths that it stands for.
fn braced(path: &str) -> Vec<String> {
    let Some((head, (inner, tail))) =
        path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?)))
    else {
        return vec![path.to_owned()];
    };
    inner.split(',').map(|part| format!("{head}{part}{tail}")).collect()
}

#[test]
fn second_names_are_found() {
    let code = "pub struct Conn {\n  pub(crate) enum Event<T> {\nstruct Own;\npub type Alias = u8;";
    assert_eq!(public_types(code), ["Conn", "Event", "Alias"]);
}

#[test]
fn references_that_lead_nowhere_are_found() {
    let files = ["server/src/conn/mod.rs", "server/src/h1/requests.rs", "scripts/test.sh"];
    let sources = [("server/src/conn/mod.rs".to_owned(), "pub fn flush() {}".to_owned())];
    let tree = Tree::new(&files.map(str::to_owned), sources.into());
    let text = "//! `conn/mod.rs`, `conn/head.rs`\nlet a = 1; // `conn::flush`, `conn::gone`\n\
                /// ```\n/// `conn/listed`\n/// ```\n/// `scripts/test.sh` and `scripts/none.sh`";
    let wrong = |name: &str, text: &str| -> Vec<String> {
        let found = references(name, text);
        let lacking = found.iter().filter(|(_, it)| tree.lacks("server/src/lib.rs", it).is_some());
        lacking.map(|(line, it)| format!("{line} {it}")).collect()
    };
    assert_eq!(wrong("a.rs", text), ["1 conn/head.rs", "2 conn::gone", "6 scripts/none.sh"]);
    let paper = "`h1/{requests,answers}` `text/plain` `server/src/h1` `/conn/x` `gone.sh` `h1/new`";
    let expected = ["1 h1/{requests,answers}", "1 gone.sh", "1 h1/new"];
    assert_eq!(wrong("a.md", paper), expected);
}
