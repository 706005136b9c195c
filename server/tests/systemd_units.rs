//! The units that are shipped, as systemd itself judges them (row L17 of the feature list).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::process::RINGWAY;
use harness::{TempDir, missing};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/deploy/systemd")
}

const UNITS: [&str; 3] = ["ringway.service", "ringway.socket", "ringway-http.socket"];
const DROP_IN: &str = "ringway.service.d/notify-reload.conf";

/// The units in a folder of their own, with the binary of this build.
fn installed() -> TempDir {
    let dir = TempDir::new();
    for name in UNITS {
        let text = fs::read_to_string(shipped().join(name)).unwrap();
        let text = text.replace("/usr/local/bin/ringway", RINGWAY.unwrap());
        dir.write(name, text.as_bytes());
    }
    dir
}

/// The version of systemd whose tool is here.
fn version() -> Option<u32> {
    let told = Command::new("systemd-analyze").arg("--version").output().ok()?;
    let told = String::from_utf8(told.stdout).unwrap();
    told.split_whitespace().nth(1)?.parse().ok()
}

fn analyze(dir: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).current_dir(dir.path());
    // The folder, and then those of this system.
    let path = format!("{}:", dir.path().display());
    command.env("SYSTEMD_UNIT_PATH", path).output().unwrap()
}

/// L17: the units say nothing that systemd does not know, and expose little.
#[test]
fn l17_units_are_valid_and_expose_little() {
    let Some(version) = version() else { return missing("systemd-analyze") };
    let dir = installed();
    let units = UNITS.map(|name| format!("./{name}"));
    let verify = |dir: &TempDir| {
        let mut arguments = vec!["verify", "--man=no"];
        arguments.extend(units.iter().map(String::as_str));
        let Output { status, stderr, .. } = analyze(dir, &arguments);
        let said = String::from_utf8(stderr).unwrap();
        let ours: Vec<_> = said.lines().filter(|line| line.contains("ringway")).collect();
        assert!(status.success() && ours.is_empty(), "{said}");
    };
    verify(&dir);
    let security = ["security", "--offline=yes", "--threshold=20", "./ringway.service"];
    let Output { status, stdout, .. } = analyze(&dir, &security);
    let said = String::from_utf8(stdout).unwrap();
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(status.success(), "{said}");
    if version >= 253 {
        dir.write(DROP_IN, &fs::read(shipped().join(DROP_IN)).unwrap());
        verify(&dir);
    } else {
        println!("skipped: {DROP_IN} is for systemd 253, and this is {version}");
    }
}

/// L17: what the drop-in changes is the way of reloading and nothing else.
#[test]
fn l17_the_drop_in_changes_the_reload() {
    let text = fs::read_to_string(shipped().join(DROP_IN)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines, ["[Service]", "Type=notify-reload", "ReloadSignal=SIGHUP", "ExecReload="]);
}
