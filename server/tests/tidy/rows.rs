//! Which test shows what: rows of attacks and features stand in `rows.txt`, tests name the rows
//! that they show, and the manual's two tables are made from both.
//!
//! A test names its rows at the beginning of its name (`row_25_slowloris`, `c27_c28_push`,
//! `rows_40_to_45_every_budget_has_its_counter`), or at the beginning of its comment (`/// Rows B8
//! and 38.`, `/// E4: where the UDP port …`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use super::{each_source, report, root, shown};

const ROWS: &str = include_str!("rows.txt");

/// The letters that features begin with.
const CLASSES: &str = "abcdefglp";

const ATTACKS_HEAD: &str = "# Attacks that ringway withstands

What hostile clients have sent to servers in the field, what ringway answers, and the tests that show
it. Most run against a real server over real sockets, while a second client is served and memory is
watched. Where an RFC allows two readings the strict one is chosen.
";

const FEATURES_HEAD: &str = "# What ringway does

Each feature with the tests that show it. \"No test\" is said where there is none: it is not built, or
it is measured by the command named.
";

/// What both pages say of themselves.
const MADE: &str = "
This page is made from `server/tests/tidy/rows.txt` and the tests that name its rows:
`RINGWAY_WRITE=1 cargo test -p ringway --test tidy` writes it anew.
";

#[test]
fn the_tables_of_attacks_and_features_are_those_of_the_tests() {
    let tests = tests_by_row();
    let mut wrong = Vec::new();
    for (name, text) in [("attacks.md", attacks(&tests)), ("features.md", features(&tests))] {
        let path = root().join("server/manual").join(name);
        if std::env::var_os("RINGWAY_WRITE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(format!(
                "{} is stale: RINGWAY_WRITE=1 cargo test -p ringway --test tidy",
                shown(&path)
            ));
        }
    }
    report(wrong);
}

#[test]
fn tests_name_rows_that_there_are() {
    let known: Vec<&str> = sections().iter().flat_map(|(_, rows)| rows).map(|r| r.id).collect();
    let mut wrong = Vec::new();
    for (id, tests) in tests_by_row() {
        if !known.contains(&id.as_str()) {
            wrong.push(format!("{id} is not in rows.txt, and named by {tests:?}"));
        }
    }
    for (at, id) in known.iter().enumerate() {
        if known[..at].contains(id) {
            wrong.push(format!("{id} stands twice in rows.txt"));
        }
    }
    report(wrong);
}

/// A row: of an attack what comes and what it gets, of a feature what there is.
struct Row {
    id: &'static str,
    cells: Vec<&'static str>,
}

impl Row {
    fn is_attack(&self) -> bool {
        self.id.starts_with(|c: char| c.is_ascii_digit())
    }
}

/// The rows under their headings, in the order of the file.
fn sections() -> Vec<(&'static str, Vec<Row>)> {
    let mut sections: Vec<(&str, Vec<Row>)> = Vec::new();
    for line in ROWS.lines().filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_prefix("# ") {
            sections.push((heading, Vec::new()));
            continue;
        }
        let mut parts = line.split(" | ");
        let row = Row { id: parts.next().unwrap(), cells: parts.collect() };
        let cells = if row.is_attack() { 2 } else { 1 };
        assert_eq!(row.cells.len(), cells, "{line}");
        sections.last_mut().unwrap().1.push(row);
    }
    sections
}

/// The files and names of the tests of each row.
type Tests = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn attacks(tests: &Tests) -> String {
    let head = "| row | what comes | what it gets | tests |\n|---|---|---|---|\n";
    page(ATTACKS_HEAD, head, Row::is_attack, tests)
}

fn features(tests: &Tests) -> String {
    page(FEATURES_HEAD, "| row | feature | tests |\n|---|---|---|\n", |row| !row.is_attack(), tests)
}

fn page(head: &str, columns: &str, wanted: impl Fn(&Row) -> bool, tests: &Tests) -> String {
    let mut text = format!("{head}{MADE}");
    for (heading, rows) in sections() {
        if !rows.iter().all(&wanted) {
            continue;
        }
        write!(text, "\n## {heading}\n\n{columns}").unwrap();
        for row in rows {
            let shown_by = match tests.get(row.id) {
                None => "no test".to_owned(),
                Some(of) => of
                    .iter()
                    .map(|(file, names)| format!("{file}: {}", names.join(", ")))
                    .collect::<Vec<_>>()
                    .join("; "),
            };
            writeln!(text, "| {} | {} | {shown_by} |", row.id, row.cells.join(" | ")).unwrap();
        }
    }
    text
}

fn tests_by_row() -> Tests {
    let mut found = Tests::new();
    each_source(|file| {
        for (comment, name) in test_functions(&file.text) {
            for id in rows_of(comment, name) {
                let of = found.entry(id).or_default().entry(format!("`{}`", file.name));
                of.or_default().push(format!("`{name}`"));
            }
        }
        Vec::new()
    });
    found
}

/// The first line of the comment above each test, and its name.
fn test_functions(text: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == "#[test]") {
        let mut below = lines[at + 1..].iter().skip_while(|line| line.starts_with("#["));
        let Some(name) = below.next().and_then(|line| line.strip_prefix("fn ")) else { continue };
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///"));
        let comment = above.last().map_or("", |line| line.trim_start_matches('/').trim());
        found.push((comment, name.split('(').next().unwrap()));
    }
    found
}

/// The rows that a test's comment and name begin with, each once.
fn rows_of(comment: &str, name: &str) -> Vec<String> {
    let mut found = leading_rows(name.trim_start_matches("alone_").split('_'));
    let words = comment.split(' ').map(|word| word.trim_end_matches([',', '.', ':']));
    for id in leading_rows(words) {
        if !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

/// The rows that words begin with: `row 32`, `rows 40 to 45`, `E3 E14`, `f4 and f12`.
fn leading_rows<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let (mut found, mut numbers, mut range) = (Vec::<String>::new(), false, false);
    for word in words {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let is_feature = word.len() == digits.len() + 1 && (1..=2).contains(&digits.len());
        match word.to_ascii_lowercase().as_str() {
            "row" | "rows" | "attack" => numbers = true,
            "and" => {}
            "to" if !found.is_empty() => range = true,
            word if is_feature && digits.parse::<u32>().is_ok() && CLASSES.contains(&word[..1]) => {
                found.push(word.to_ascii_uppercase());
            }
            word if numbers && let Ok(number) = word.parse::<u32>() => {
                let first = found.last().filter(|_| range).and_then(|last| last.parse().ok());
                found.extend(
                    (first.map_or(number, |last: u32| last + 1)..=number).map(|n| n.to_string()),
                );
                range = false;
            }
            _ => break,
        }
    }
    found
}

/// The check's own tests.
mod rules {
    use super::*;

    #[test]
    fn rows_are_read_from_names_and_comments() {
        for (comment, name, expected) in [
            ("", "row_04_transfer_encoding", "4"),
            ("", "alone_f2_row_74_transport_parameters", "F2 74"),
            ("", "rows_40_to_45_every_budget_has_its_counter", "40 41 42 43 44 45"),
            ("", "row_b8_38_and_39_compressed_files", "B8 38 39"),
            ("", "row_53_enable_push_2", "53"),
            ("", "h2load_loses_no_request", ""),
            ("", "h1_request", ""),
            ("Rows B8 and 38.", "compressed", "B8 38"),
            ("E3, E14: Alt-Svc stands", "f1_x", "F1 E3 E14"),
            ("10 clients ask for 3 files", "many", ""),
            ("A connection", "x", ""),
        ] {
            assert_eq!(rows_of(comment, name).join(" "), expected, "{comment} {name}");
        }
    }

    #[test]
    fn tests_are_found_with_the_beginning_of_their_comment() {
        let text = "/// Row 1: a\n/// b\n#[test]\n#[cfg(x)]\nfn one() {}\n\n\
                    #[test]\nfn two() {}\nfn three() {}";
        assert_eq!(test_functions(text), [("Row 1: a", "one"), ("", "two")]);
    }
}
