//! `include`: the further files of a configuration, as the files themselves name them.

use super::error::{Error, ValueOrigin};
use super::value::{Typed, Written, Wrong};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What one `include` of a file asks for.
pub(super) struct Include {
    pattern: PathBuf,
    origin: ValueOrigin,
}

/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 65_536;

impl Include {
    /// The patterns of an `include`; `origin` is where a byte of the file stands.
    pub(super) fn parse(
        written: &Written<'_>,
        origin: impl Fn(usize) -> ValueOrigin,
    ) -> Result<Vec<Self>, Wrong> {
        let items = written.items();
        let parse = |item: &Written<'_>| {
            let pattern = PathBuf::parse(item)
                .map_err(|wrong| Wrong { at: wrong.at.or(Some(item.at)), ..wrong })?;
            Ok(Self { pattern, origin: origin(item.at) })
        };
        items.iter().map(parse).collect()
    }

    /// The files that it stands for, sorted; itself where it has no `*` or `?`.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, Error> {
        matching(&self.pattern).map_err(|error| self.wrong(&format!("cannot be read: {error}")))
    }

    /// That it stands for no file.
    pub(super) fn is_empty(&self) -> String {
        format!("{}: `include`: no file is {}", self.origin, self.pattern.display())
    }

    /// The mistake that it is.
    pub(super) fn wrong(&self, what: &str) -> Error {
        let message = format!("`include`: {} {what}", self.pattern.display());
        Error { origin: self.origin.clone(), message, hint: None }
    }
}

fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let is_open = |part: &[u8]| part.contains(&b'*') || part.contains(&b'?');
    if !is_open(pattern.as_os_str().as_bytes()) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        if !is_open(part.as_os_str().as_bytes()) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for directory in found {
            next.extend(entries(&directory, part.as_os_str().as_bytes())?);
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// The entries of a directory whose names match; none of a directory that is not there.
fn entries(directory: &Path, pattern: &[u8]) -> io::Result<Vec<PathBuf>> {
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let listed = match std::fs::read_dir(here) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        listed => listed?,
    };
    let mut found = Vec::new();
    for (at, entry) in listed.enumerate() {
        let name = entry?.file_name();
        if at == ENTRIES_MAX {
            return Err(io::Error::other(format!("{} has too many entries", here.display())));
        }
        // As in a shell: what editors leave behind is hidden.
        let is_hidden = name.as_bytes().starts_with(b".") && !pattern.starts_with(b".");
        if !is_hidden && is_match(pattern, name.as_bytes()) {
            found.push(directory.join(name));
        }
    }
    Ok(found)
}

/// Whether `*` for any bytes and `?` for one make `pattern` into `name`.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The last `*`, and where in the name what follows it is being tried.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, wanted) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("?.toml", "a.toml", true),
            ("?.toml", "ab.toml", false),
            ("*", "", true),
            ("a", "", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
    }
}
