//! A server and the processes that replace it, one after the other.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::process::Command;

use super::harness::process::{Process, RINGWAY};
use super::harness::{TempDir, eventually};

/// The first process; its successors write to the same pipes.
pub struct Generations {
    pub first: Process,
    told: usize,
    /// What the command line of each holds.
    mark: String,
}

impl Generations {
    /// `ringway serve DIR` with the directory's `ringway.toml`, and these variables.
    pub fn start(dir: &TempDir, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(RINGWAY.unwrap());
        command.args(["serve", "-c"]).arg(dir.path().join("ringway.toml"));
        command.envs(variables.iter().copied());
        let mark = dir.path().display().to_string();
        Self { first: Process::start(&mut command), told: 0, mark }
    }

    /// The application of [`harness::app`](super::harness::app), which runs as programs run that
    /// embed the server.
    pub fn app(bounds: &str) -> Self {
        let mark = "harness::app::serve".to_owned();
        Self { first: Process::app(bounds), told: 0, mark }
    }

    fn processes(&self, before: &str, behind: &str) -> Vec<u32> {
        let output = self.first.output();
        let named = output.lines().filter_map(|line| line.split_once(before)?.1.split_once(behind));
        named.filter_map(|(pid, _)| pid.parse().ok()).collect()
    }

    /// The process that serves.
    pub fn newest(&self) -> u32 {
        let replaced = self.processes("replaced: process ", " serves");
        let back = self.processes("not replaced: process ", ": it ended while it was on probation");
        let mut alive: Vec<u32> = vec![self.first.pid()];
        alive.extend(replaced.into_iter().filter(|pid| !back.contains(pid)));
        *alive.last().unwrap()
    }

    pub fn signal(&self, pid: u32, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        assert!(kill.unwrap().success(), "{}", self.first.output());
    }

    /// USR2, and what came of it: the new process, or why there is none.
    pub fn replace(&mut self) -> Result<u32, String> {
        self.signal(self.newest(), "USR2");
        self.verdict()
    }

    /// What comes of the last USR2.
    pub fn verdict(&mut self) -> Result<u32, String> {
        let mut verdict = None;
        eventually("it says whether it was replaced", || {
            let output = self.first.output();
            let lines = output.lines().filter_map(|line| line.split_once("replaced: "));
            let mut fresh = lines.skip(self.told);
            verdict = fresh.next().map(|(not, what)| (not.ends_with("not "), what.to_owned()));
            verdict.is_some()
        });
        self.told += 1;
        match verdict.unwrap() {
            (true, why) => Err(why),
            (false, what) => {
                let pid = what.strip_prefix("process ").and_then(|rest| rest.split_once(' '));
                Ok(pid.unwrap().0.parse().unwrap())
            }
        }
    }

    /// Whether a process of these runs.
    pub fn runs(&self, pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    }

    pub fn ends(&self, pid: u32) {
        eventually(&format!("process {pid} ends"), || !self.runs(pid));
    }
}

impl Drop for Generations {
    fn drop(&mut self) {
        for pid in self.processes("replacing: process ", " starts") {
            // Only those that are still this server: a number may be another's by now.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&self.mark) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
    }
}
