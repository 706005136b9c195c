//! The journal of what was changed: one JSON file, of this boot and this network namespace, gone
//! when everything is back as it was.

use super::target::Target;
use crate::Host;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A setting, what it was and what it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) target: Target,
    pub(super) before: String,
    pub(super) after: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The boot that the changes were made in; the next one starts from the kernel's own defaults.
    boot: String,
    /// The network namespace that they were made in.
    namespace: String,
    pub(super) entries: Vec<Entry>,
}

/// Where the journal is: `named`, or `/run/ringway/tune.json` for root (gone with the boot, like
/// the settings), or the user's state directory.
pub(super) fn path(host: &Host, named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let directory = host.path("run/ringway");
    if fs::DirBuilder::new().recursive(true).mode(0o755).create(&directory).is_ok() {
        return Ok(directory.join("tune.json"));
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let state =
        state.or_else(home).ok_or("there is no place for a journal: name one with --journal")?;
    let directory = state.join("ringway");
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory.join("tune.json"))
}

impl Journal {
    /// The journal at `path`, or an empty one. One of an earlier boot is empty: the kernel has
    /// forgotten those changes.
    pub(super) fn open(host: &Host, path: &Path) -> Result<Self, String> {
        let boot = host.read("proc/sys/kernel/random/boot_id").unwrap_or_default();
        let link = host.link("proc/self/ns/net");
        let namespace = link.map(|link| link.display().to_string()).unwrap_or_default();
        let new = Self { boot, namespace, entries: Vec::new() };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(new),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let old: Self = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not a journal: {error}", path.display()))?;
        if old.boot != new.boot {
            return Ok(new);
        }
        if old.namespace != new.namespace {
            let (theirs, path) = (old.namespace, path.display());
            return Err(format!("{path} belongs to another network namespace, {theirs}"));
        }
        Ok(old)
    }

    /// Records a change. The first value of a setting is kept.
    pub(super) fn note(&mut self, target: &Target, before: &str, after: &str) {
        match self.entries.iter_mut().find(|entry| entry.target == *target) {
            Some(entry) => entry.after = after.to_owned(),
            None => self.entries.push(Entry {
                target: target.clone(),
                before: before.to_owned(),
                after: after.to_owned(),
            }),
        }
    }

    /// Removes the record of a change that failed; `now` is the setting's value.
    pub(super) fn forget(&mut self, target: &Target, now: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.target == *target) {
            entry.after = now.to_owned();
        }
        self.entries.retain(|entry| entry.before != entry.after);
    }

    /// Writes it, whole or not at all.
    pub(super) fn save(&self, path: &Path) -> Result<(), String> {
        if self.entries.is_empty() {
            return self.remove(path);
        }
        let failed = |error: std::io::Error| format!("journal {}: {error}", path.display());
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        let partial = path.with_extension("partial");
        let _ = fs::remove_file(&partial);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&partial);
        std::io::Write::write_all(&mut file.map_err(failed)?, text.as_bytes()).map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)
    }

    /// Removes it: nothing is left to restore.
    pub(super) fn remove(&self, path: &Path) -> Result<(), String> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("journal {}: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }
}
