//! `include`: a configuration in several files, seen by `check` and by clients over every protocol.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::{Command, Output};

use harness::TempDir;
use harness::process::RINGWAY;
use harness::site::{every, folder, serve};

fn check(dir: &TempDir, more: &[&str]) -> Output {
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["check", "-c"]).arg(dir.path().join("ringway.toml")).args(more);
    command.output().unwrap()
}

/// What `check` says of mistakes and warnings, without the folder's path.
fn said(dir: &TempDir) -> (bool, String) {
    let output = check(dir, &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), text.replace(&format!("{}/", dir.path().display()), ""))
}

const FILES: &[(&str, &str)] = &[("a/index.html", "site a"), ("sites/b/index.html", "site b")];

/// Sites, hints and certificates of all files are one configuration; paths are relative to the
/// file that they stand in, and the files are read in the order of their names.
#[test]
fn l1_a15_sites_in_files_of_their_own() {
    let dir = folder("include = [\"sites/*.toml\", \"more.toml\"]\n", FILES);
    let site = "hosts = [\"a.test\"]\nroot = \"../a\"\ncleartext = \"serve\"";
    dir.write("sites/20-a.toml", format!("[[site]]\n{site}\n").as_bytes());
    let site = "hosts = [\"b.test\"]\nroot = \"b\"\ncleartext = \"serve\"";
    dir.write("sites/10-b.toml", format!("[[site]]\n{site}\n").as_bytes());
    dir.write("sites/.hidden.toml", b"nothing of this is read");
    dir.write("sites/b.toml~", b"nor of this");
    let more = "[limits]\nbody_bytes = \"2MiB\"\n[[site]]\nroot = \"a\"\ncleartext = \"serve\"\n";
    dir.write("more.toml", more.as_bytes());
    let server = serve(&dir);
    for (authority, body) in [("a.test", "site a"), ("b.test", "site b"), ("localhost", "site a")] {
        for answer in every(&server, authority, "/") {
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (200, body), "{}: {authority}", answer.way);
        }
    }
    let printed = check(&dir, &["--print"]).stdout;
    let text = String::from_utf8_lossy(&printed).into_owned();
    assert!(text.contains("body_bytes = \"2MiB\"") && text.contains("more.toml:2:1"), "{text}");
    let sites = text.lines().find(|line| line.starts_with("site = ")).unwrap();
    let at = |host: &str| sites.find(host).unwrap();
    assert!(at("b.test") < at("a.test"), "{sites}");
    dir.write("ringway.toml", &printed);
    assert!(check(&dir, &[]).status.success(), "what is printed is one whole file");
}

/// Every mistake is named by the file that has it.
#[test]
fn l7_mistakes_of_included_files() {
    let main = "include = [\"one.toml\",\n  \"two.toml\"]\n";
    let whole: &[(&str, &str, &str)] = &[
        ("workers = 2", "", "one.toml:1:1: `workers` is set already, at ringway.toml:3:1"),
        ("[[site]]\nroot = 7", "", "one.toml:2:8: `site`: `root`: expected a path"),
        ("", "[[site]]\nroot = \"no\"", "two.toml:2:8: `root`: "),
        ("", "site = [", "two.toml:1:"),
        ("", "sites = []", "two.toml:1:1: unknown key `sites`; did you mean `site`"),
        (
            "[[site]]\nroot = \"a\"",
            "[[site]]\nroot = \"a\"",
            "two.toml:1:1: two sites without `hosts`",
        ),
        (
            "[[site]]\nroot = \"a\"\nhosts = [\"x.test\"]",
            "[[site]]\nroot = \"a\"\nhosts = [\"x.test\"]",
            "two.toml:3:9: `hosts`: \"x.test\" is a host of the site of ",
        ),
        ("include = \"gone.toml\"", "", "one.toml:1:11: `include`: gone.toml cannot be opened"),
        ("include = \"sites\"", "", "one.toml:1:11: `include`: sites is a directory"),
        ("include = \"\"", "", "one.toml:1:11: `include`: expected a path"),
        ("[tls]\ninclude = \"x\"", "", "one.toml:2:1: unknown key `include` in [tls]"),
        ("", "include = \"one.toml\"", "two.toml:1:11: `include`: one.toml includes "),
        ("include = \"ringway.toml\"", "", "one.toml:1:11: `include`: ringway.toml includes "),
    ];
    for (one, two, wanted) in whole {
        let dir = folder(main, FILES);
        dir.write("one.toml", one.as_bytes());
        dir.write("two.toml", two.as_bytes());
        // `folder` writes the include behind three lines.
        let text = std::fs::read_to_string(dir.path().join("ringway.toml")).unwrap();
        let text = text.replacen(main, "", 1);
        dir.write("ringway.toml", format!("{main}{text}").as_bytes());
        let wanted = wanted.replace("ringway.toml:3:1", "ringway.toml:5:1");
        let (fine, said) = said(&dir);
        assert!(!fine && said.contains(&wanted), "{one} {two}\n{said}{wanted}");
    }
    let dir = folder("", FILES);
    let mut command = Command::new(RINGWAY.unwrap());
    command.args(["check", "--set", "include=x.toml"]).current_dir(dir.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`include` stands in files only"), "{text}");
}

/// A glob that stands for no file is fine, and said; how deep files include each other is bounded.
#[test]
fn l7_empty_globs_and_depth() {
    let dir = folder("include = [\"sites/*.toml\", \"none/*/x.toml\"]\n", FILES);
    let (fine, text) = said(&dir);
    assert!(fine, "{text}");
    for (place, pattern) in [("4:12", "sites/*.toml"), ("4:28", "none/*/x.toml")] {
        let wanted = format!("warning: ringway.toml:{place}: `include`: no file is {pattern}");
        assert!(text.contains(&wanted), "{text}{wanted}");
    }
    let dir = folder("include = \"0.toml\"\n", FILES);
    for at in 0..12 {
        dir.write(&format!("{at}.toml"), format!("include = \"{}.toml\"", at + 1).as_bytes());
    }
    let (fine, text) = said(&dir);
    let wanted = "7.toml:1:11: `include`: 8.toml would be the 9th file within another";
    assert!(!fine && text.contains(wanted), "{text}");
}
