//! The papers of the house: README and the architecture's sections are short, every link leads
//! somewhere, the manual's pages are in rustdoc too, and commits have short subjects.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{files, report, root, shown};

const README_WORDS_MAX: usize = 800;
const SECTION_LINES_MAX: usize = 30;
const SUBJECT_CHARS_MAX: usize = 72;

/// Commits after this one keep to that bound.
const SUBJECTS_SINCE: &str = "cc3e865d";

#[test]
fn the_readme_is_short() {
    let words = fs::read_to_string(root().join("README.md")).unwrap().split_whitespace().count();
    assert!(words <= README_WORDS_MAX, "{words} words");
}

/// Nobody reads a wall: the architecture has a heading every so many lines.
#[test]
fn sections_of_the_architecture_are_short() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sections =
        text.split("\n#").map(|section| (section.lines().next(), section.lines().count()));
    let long = sections.filter(|(_, lines)| *lines > SECTION_LINES_MAX);
    report(long.map(|(heading, lines)| format!("{heading:?} has {lines} lines")).collect());
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let pages = files(&root(), &|name| name.ends_with(".md"));
    assert!(pages.len() > 10, "the walk finds the papers");
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (line, link) in links(&text) {
            if let Err(why) = followed(&page, &link) {
                wrong.push(format!("{}:{line}: {link}: {why}", shown(&page)));
            }
        }
    }
    report(wrong);
}

/// A page of the manual is a module of `manual/mod.rs`. Links between pages are written with a
/// definition at the end (`[tls.md]: tls.md`), which the module's own definitions outrank: so they
/// lead to a file in the repository and to a module in rustdoc.
#[test]
fn pages_of_the_manual_are_in_rustdoc() {
    let manual = root().join("server/manual");
    let modules = fs::read_to_string(manual.join("mod.rs")).unwrap();
    let mut wrong = Vec::new();
    for page in files(&manual, &|name| name.ends_with(".md")) {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let module = name.trim_end_matches(".md").replace('-', "_");
        for wanted in
            [format!("    {module} \"{name}\"\n"), format!("[{name}]: crate::manual::{module}\n")]
        {
            if !modules.contains(&wanted) {
                wrong.push(format!("manual/mod.rs lacks {}", wanted.trim()));
            }
        }
        let text = fs::read_to_string(&page).unwrap();
        let definitions: BTreeSet<String> = definitions(&text).map(str::to_owned).collect();
        for (line, link) in links(&text).into_iter().filter(|(_, link)| !is_outside(link)) {
            if !definitions.contains(&link) || !modules.contains(&format!("[{link}]: crate::")) {
                wrong.push(format!("{name}:{line}: {link} has no definition here and in mod.rs"));
            }
        }
    }
    report(wrong);
}

/// Keys, metrics and options of the command line that the papers name are there.
#[test]
fn papers_name_keys_metrics_and_options_that_there_are() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let keys = read("server/CONFIGURATION.md");
    let blocks = ["files.", "tls.", "http2.", "http3.", "log.", "engine.", "limits.", "lifecycle."];
    let mut known = String::new();
    for file in files(&root().join("server/src"), &|name| name.ends_with(".rs")) {
        known.push_str(&fs::read_to_string(file).unwrap());
    }
    let mut wrong = Vec::new();
    for page in papers_for_users() {
        for word in code_spans(&fs::read_to_string(&page).unwrap()) {
            let name = word.split([' ', '=']).next().unwrap();
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
            let is_key = is_name && blocks.iter().any(|block| name.starts_with(block));
            if is_key && !keys.contains(&format!("| `{name}` |")) {
                wrong.push(format!("{}: no key {name}", shown(&page)));
            }
            let is_metric = name.starts_with("ringway_") || name.starts_with("http_server_");
            // The names of reloads are put together.
            let is_made = name.starts_with("ringway_reload_");
            if is_metric && !is_made && !known.contains(&format!("\"{name}")) {
                wrong.push(format!("{}: no metric {name}", shown(&page)));
            }
            let option = name.strip_prefix("--").filter(|option| !option.is_empty());
            if let Some(option) = option
                && !known.contains(&format!("\"{option}\""))
            {
                wrong.push(format!("{}: no option --{option}", shown(&page)));
            }
        }
    }
    report(wrong);
}

fn papers_for_users() -> Vec<PathBuf> {
    let mut pages = files(&root().join("server/manual"), &|name| name.ends_with(".md"));
    pages.push(root().join("README.md"));
    pages
}

/// What stands between backquotes in the prose of a page.
fn code_spans(text: &str) -> Vec<&str> {
    prose(text).flat_map(|(_, line)| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn commits_have_short_subjects() {
    let range = format!("{SUBJECTS_SINCE}..HEAD");
    let log = Command::new("git").current_dir(root()).args(["log", "--format=%s", &range]).output();
    let Some(log) = log.ok().filter(|log| log.status.success()) else {
        println!("skipped: no history of commits here");
        return;
    };
    let subjects = String::from_utf8(log.stdout).unwrap();
    let long = subjects.lines().filter(|subject| subject.chars().count() > SUBJECT_CHARS_MAX);
    report(long.map(|subject| format!("over {SUBJECT_CHARS_MAX} characters: {subject}")).collect());
}

fn is_outside(link: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

/// Whether a relative link's file is there, and has the heading that it names.
fn followed(page: &Path, link: &str) -> Result<(), String> {
    if is_outside(link) {
        return Ok(());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to: PathBuf =
        if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
    if !to.exists() {
        return Err("no such file".into());
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(&to).map_err(|error| error.to_string())?;
    if anchors(&text).contains(anchor) { Ok(()) } else { Err("no such heading".into()) }
}

/// The lines of a page outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence && !line.starts_with("    ")).then_some((at + 1, line))
    })
}

/// The targets of `[text](target)`, of `[text][target]` and of definitions, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Code spans hold no links: every second piece between backquotes.
        let plain: String = line.split('`').step_by(2).collect();
        for (open, close) in [("](", ')'), ("][", ']')] {
            for (at, _) in plain.match_indices(open) {
                let rest = &plain[at + open.len()..];
                found.extend(rest.split_once(close).map(|(to, _)| (number, to.to_owned())));
            }
        }
    }
    found
}

/// What is defined at the end of a page: `[tls.md]: tls.md`.
fn definitions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (name, to) = line.strip_prefix('[')?.split_once("]: ")?;
        (name == to || is_outside(to)).then_some(name)
    })
}

/// The anchors of a page's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let twice = (1..).map(|n| format!("{anchor}-{n}")).find(|next| !found.contains(next));
        found.insert(if found.contains(&anchor) { twice.unwrap() } else { anchor });
    }
    found
}

/// The checks' own tests.
mod rules {
    use super::*;

    #[test]
    fn links_and_headings_are_found() {
        let text = "# A b: `c`\n## A b c\n[x](y.md#z) `[no](no)` [t][u.md]\n```\n[no](no)\n```\n\n\
                    [u.md]: u.md\n[v]: https://example.com\n";
        let found = links(text).into_iter().map(|(_, to)| to).collect::<Vec<_>>();
        assert_eq!(found, ["y.md#z", "u.md"]);
        assert_eq!(definitions(text).collect::<Vec<_>>(), ["u.md", "v"]);
        assert!(anchors(text).contains("a-b-c") && anchors(text).contains("a-b-c-1"));
    }

    #[test]
    fn a_link_to_nothing_is_seen() {
        let page = root().join("README.md");
        assert_eq!(followed(&page, "ARCHITECTURE.md"), Ok(()));
        assert!(followed(&page, "NO_SUCH.md").is_err());
        assert!(followed(&page, "ARCHITECTURE.md#no-such-heading").is_err());
        assert_eq!(followed(&page, "https://example.com"), Ok(()));
    }
}
