//! Rules of style and structure that a machine can check, over every source file of the repository.
//! Rules that the compiler or clippy enforces are not repeated here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_WARN: usize = 500;
const FILE_LINES_MAX: usize = 700;

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/rows.rs"]
mod rows;
#[path = "tidy/walks.rs"]
mod walks;

/// The only places where `unsafe` may stand (a prefix of the path), and why.
const UNSAFE_ALLOWED: &[(&str, &str)] = &[
    ("codec/src/scan/", "vector instructions"),
    ("codec/src/huffman", "speculative stores into reserved space"),
    ("server/src/ring/", "the kernel's shared memory"),
    ("server/src/tls/boring", "BoringSSL's ticket callback"),
    ("bench/src/bin/donothing.rs", "a bare ring, the ceiling that measurements compare with"),
    ("server/tests/alloc.rs", "a global allocator that counts"),
    ("bench/peers/", "C libraries to compare with"),
    ("bench/benches/", "C libraries to compare with"),
    ("bench/icount/", "instruction-count harness"),
];

/// Which of our own crates each crate may depend on. `bench` may use all.
const DEPENDENCIES: [(&str, &[&str]); 4] = [
    ("codec", &[]),
    ("tuning", &[]),
    ("quic", &["ringway-codec"]),
    ("server", &["ringway-codec", "ringway-quic", "ringway-tuning"]),
];

/// Other HTTP implementations: allowed as peers in tests and benchmarks, never in what ships.
/// (Tokio is for the feature `tower`, whose services expect it.)
const RIVAL_CRATES: [&str; 3] = ["httparse", "h2", "hyper"];
const RIVAL_MODULES: [&str; 1] = ["quiche::h3"];

#[test]
fn lines_fit_in_100_columns() {
    report(each_source(|file| {
        let mut found = Vec::new();
        for (index, (line, code)) in file.text.lines().zip(file.code.lines()).enumerate() {
            let width = line.chars().count();
            // A literal that fills its line cannot be broken, nor can an address.
            let literal = !line.trim_start().starts_with("//") && code.trim().len() < 4;
            if width > COLUMNS_MAX && !literal && !line.contains("://") {
                found.push(file.at(index, format!("{width} columns")));
            }
        }
        found
    }));
}

#[test]
fn functions_fit_in_70_lines() {
    report(each_source(|file| {
        functions(&file.code)
            .into_iter()
            .filter(|f| f.lines > FUNCTION_LINES_MAX)
            .map(|f| file.at(f.line, format!("`{}` has {} lines", f.name, f.lines)))
            .collect()
    }));
}

#[test]
fn files_stay_short() {
    report(each_source(|file| {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_WARN {
            println!("{}: {lines} lines, split it before {FILE_LINES_MAX}", file.name);
        }
        let long = lines > FILE_LINES_MAX;
        long.then(|| file.at(0, format!("{lines} lines"))).into_iter().collect()
    }));
}

#[test]
fn unsafe_stands_only_where_it_may_and_says_why_it_is_safe() {
    report(each_source(|file| {
        let allowed = UNSAFE_ALLOWED.iter().any(|(prefix, _)| file.name.starts_with(prefix));
        let mut found = Vec::new();
        for index in unsafe_lines(&file.code) {
            if !allowed {
                found.push(file.at(index, "`unsafe` is not allowed in this file".into()));
            } else if !explained(&file.text, index) {
                found.push(file.at(index, "`unsafe` without a `SAFETY:` comment".into()));
            }
        }
        found
    }));
}

#[test]
fn nothing_unwraps_outside_tests() {
    report(each_source(|file| {
        if file.is_test() || file.name.starts_with("bench/") {
            return Vec::new();
        }
        let code = without_test_modules(&file.code);
        let mut found = Vec::new();
        for (index, line) in code.lines().enumerate() {
            for call in [".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("] {
                if line.contains(call) {
                    found.push(file.at(index, format!("`{call}` outside tests")));
                }
            }
        }
        found
    }));
}

#[test]
fn rivals_stay_in_tests_and_benchmarks() {
    let mut wrong = each_source(|file| {
        if file.is_test() || file.name.starts_with("bench/") {
            return Vec::new();
        }
        let code = without_test_modules(&file.code);
        let hit = |line: &str| RIVAL_MODULES.iter().any(|rival| line.contains(rival));
        let lines = code.lines().enumerate().filter(|(_, line)| hit(line));
        lines
            .map(|(index, line)| file.at(index, format!("`{}` in what ships", line.trim())))
            .collect()
    });
    for (name, _) in DEPENDENCIES {
        for (section, dependency) in manifest_dependencies(name) {
            if section == "dependencies" && RIVAL_CRATES.contains(&dependency.as_str()) {
                wrong.push(format!("{name}/Cargo.toml: `{dependency}` in what ships"));
            }
        }
    }
    report(wrong);
}

#[test]
fn crates_depend_one_way() {
    let mut wrong = Vec::new();
    for (name, allowed) in DEPENDENCIES {
        for (section, dependency) in manifest_dependencies(name) {
            let ours = dependency.starts_with("ringway");
            if ours && section == "dependencies" && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name}/Cargo.toml: must not depend on {dependency}"));
            }
            if ours && dependency == "ringway-bench" {
                wrong.push(format!("{name}/Cargo.toml: nothing depends on the benchmarks"));
            }
        }
    }
    report(wrong);
}

#[test]
fn modules_open_with_what_they_are_for() {
    report(each_source(|file| {
        if file.name.ends_with("/tests.rs") {
            return Vec::new(); // a module's own tests, named by the module
        }
        let opens = file.text.lines().find(|line| !line.trim().is_empty());
        let documented =
            opens.is_some_and(|line| line.starts_with("//!") || line.starts_with("#!"));
        let missing = !documented;
        missing.then(|| file.at(0, "no `//!` paragraph".into())).into_iter().collect()
    }));
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    // Put together here so that this file does not accuse itself.
    let needles = ["/wo!rk/", "/ro!ot/", "/ho!me/", ".lib!rary"].map(|n| n.replace('!', ""));
    let mut wrong = Vec::new();
    for path in files(&root(), &|name| name != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for needle in needles.iter().filter(|needle| line.contains(needle.as_str())) {
                wrong.push(format!("{}:{}: names {needle}", shown(&path), index + 1));
            }
        }
    }
    report(wrong);
}

fn report(wrong: Vec<String>) {
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} found:\n{}", wrong.join("\n"));
}

/// A Rust source file: as written, and with comments and literals blanked out.
struct Source {
    name: String,
    text: String,
    code: String,
}

impl Source {
    fn at(&self, line_index: usize, what: String) -> String {
        format!("{}:{}: {what}", self.name, line_index + 1)
    }

    fn is_test(&self) -> bool {
        let name = &self.name;
        name.contains("/tests/")
            || name.contains("/benches/")
            || name.ends_with("/tests.rs")
            || name.contains("/fuzz/")
            || name.contains("/examples/")
    }
}

fn each_source(mut check: impl FnMut(&Source) -> Vec<String>) -> Vec<String> {
    let paths = files(&root(), &|name| name.ends_with(".rs"));
    assert!(paths.len() >= 5, "the walk finds the repository's sources");
    let mut found = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let code = code_only(&text);
        found.extend(check(&Source { name: shown(&path), text, code }));
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// All files below `dir` whose name is wanted, but for build output and version control.
fn files(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !matches!(name.as_str(), "target" | ".git" | "corpus" | "artifacts") {
            found.extend(files(&entry.path(), wanted));
        } else if kind.is_file() && name != ".git" && wanted(&name) {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The text with every comment, string and character literal blanked, line ends and columns kept.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            out.push(if bytes[at].is_ascii() { bytes[at] as char } else { ' ' });
            at += 1;
            continue;
        }
        for &byte in &bytes[at..end] {
            out.push(if byte == b'\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_end(bytes, at),
        [b'"', ..] => quoted_end(bytes, at + 1, b'"'),
        [b'b' | b'c', b'"', ..] if !after_word => quoted_end(bytes, at + 2, b'"'),
        [b'r', b'"' | b'#', ..] if !after_word => raw_end(bytes, at, at + 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_word => raw_end(bytes, at, at + 2),
        [b'b', b'\'', ..] if !after_word => quoted_end(bytes, at + 2, b'\''),
        [b'\'', b'\\', ..] => quoted_end(bytes, at + 1, b'\''),
        // A lifetime has no closing quote one character on.
        [b'\'', ..] => {
            let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]);
            let width = text.chars().next().map_or(0, char::len_utf8);
            if rest.get(1 + width) == Some(&b'\'') { at + width + 2 } else { at }
        }
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    while end < bytes.len() {
        match &bytes[end..] {
            [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
            [b'*', b'/', ..] if depth == 1 => return end + 2,
            [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
    }
    end
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], start: usize, hashes_at: usize) -> usize {
    let hashes = bytes[hashes_at..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(hashes_at + hashes) != Some(&b'"') {
        return start; // a raw identifier
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = hashes_at + hashes + 1;
    let found = bytes[body..].windows(close.len()).position(|window| window == close);
    found.map_or(bytes.len(), |offset| body + offset + close.len())
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Every function with a body, from its `fn` to its closing brace.
fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String =
            code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(end) = body_end(&code[at..]) else { continue };
        if name.is_empty() {
            continue; // a function pointer's type
        }
        let line = code[..at].matches('\n').count();
        found.push(Function { name, line, lines: code[at..at + end].matches('\n').count() + 1 });
    }
    found
}

/// The end of the first braced block, unless a `;` outside brackets comes before it.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at + 1),
            '}' if braces == 0 => return None,
            '}' => braces -= 1,
            '(' | '[' if braces == 0 => others += 1,
            ')' | ']' if braces == 0 => others -= 1,
            ';' if braces == 0 && others <= 0 => return None,
            _ => {}
        }
    }
    None
}

/// Lines on which an `unsafe` block, function, trait or implementation starts.
fn unsafe_lines(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        // Attributes, and foreign declarations, whose calls have their own blocks.
        let attribute = line.contains("unsafe(") || line.trim_start().starts_with("#!");
        let declares = line.contains("unsafe extern");
        let hit = line.match_indices("unsafe").any(|(at, word)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !part(before) && !part(after)
        });
        if hit && !attribute && !declares && !line.trim_start().starts_with("type ") {
            found.push(index);
        }
    }
    found
}

/// A `SAFETY:` comment (or a `# Safety` section) on the line or in the lines close above it:
/// comments and attributes, and the statement that the block is part of.
fn explained(text: &str, line_index: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let says = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    if says(lines[line_index]) {
        return true;
    }
    let mut code_lines = 0;
    for line in lines[..line_index].iter().rev() {
        if says(line) {
            return true;
        }
        let trimmed = line.trim_start();
        let aside = trimmed.starts_with("//") || trimmed.starts_with("#[");
        code_lines += usize::from(!aside);
        if code_lines > 3 || trimmed.is_empty() {
            return false;
        }
    }
    false
}

/// The code with the bodies of `#[cfg(test)]` items blanked, lines kept.
fn without_test_modules(code: &str) -> String {
    let mut out = code.to_string();
    for (at, marker) in code.match_indices("#[cfg(test)]") {
        let Some(end) = body_end(&code[at + marker.len()..]) else { continue };
        let range = at..at + marker.len() + end;
        let blank: String =
            code[range.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(range, &blank);
    }
    out
}

fn manifest_dependencies(crate_dir: &str) -> Vec<(String, String)> {
    dependencies(&fs::read_to_string(root().join(crate_dir).join("Cargo.toml")).unwrap())
}

/// (section, name) of every dependency in a manifest.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_string();
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if !name.is_empty() {
                found.push((section.clone(), name.to_string()));
            }
        }
    }
    found
}

/// The rules' own tests: each must see what it forbids and let pass what it allows.
mod rules {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let text = "a(\"unsafe {\\\"\"); // unsafe\n/* fn /* x */ */ let c = '{'; r#\"}\"# b'\\''";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert!(code.starts_with("a("));
        assert!(!code.contains("unsafe") && !code.contains(['{', '}', '\'']));
        assert!(code.contains("let c ="));
        assert_eq!(code_only("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn functions_are_measured() {
        let mut text = String::from("fn long(x: [u8; 3]) -> u8 {\n");
        for _ in 0..70 {
            writeln!(text, "    step();").unwrap();
        }
        text.push_str("}\ntrait T { fn none(&self); fn short() {} }\n");
        let found: BTreeMap<String, usize> =
            functions(&text).into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(found, BTreeMap::from([("long".into(), 72), ("short".into(), 1)]));
    }

    #[test]
    fn unsafe_needs_its_reason() {
        let text = "// SAFETY: checked above.\nlet x = unsafe { f() };\n\nunsafe fn g() {}\n";
        assert_eq!(unsafe_lines(&code_only(text)), [1, 3]);
        assert!(explained(text, 1));
        assert!(!explained(text, 3));
        assert!(unsafe_lines("#[unsafe(no_mangle)]\n#![forbid(unsafe_code)]").is_empty());
    }

    #[test]
    fn test_modules_may_unwrap() {
        let code = "fn a() { b.unwrap() }\n#[cfg(test)]\nmod tests { fn c() { d.unwrap() } }\n";
        let kept = without_test_modules(code);
        assert_eq!(kept.matches("unwrap").count(), 1);
        assert_eq!(kept.lines().count(), code.lines().count());
    }

    #[test]
    fn manifests_are_read() {
        let manifest = "[dependencies]\na.workspace = true\n[dev-dependencies]\nb = \"1\"\n";
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        let expected = [pair("dependencies", "a"), pair("dev-dependencies", "b")];
        assert_eq!(dependencies(manifest), expected);
    }
}
