//! Files of directives: words, and a block where there is one. What nginx's and Caddy's files have
//! in common, with their bounds; how words are told apart, each says itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Bytes of a file, and of all files together.
const FILE_MAX: u64 = 1024 * 1024;
const ALL_MAX: u64 = 8 * 1024 * 1024;
/// Files that may be included, and how deeply.
const FILES_MAX: usize = 1000;
const INCLUDES_MAX: usize = 8;
/// How deeply blocks may be nested.
pub(super) const NESTING_MAX: usize = 32;

/// A directive with its words, of which the first is its name.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
    pub(super) place: Place,
}

/// Where a directive stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Rc<Path>,
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", one_line(&self.file.to_string_lossy()), self.line)
    }
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) place: Place,
    pub(super) message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Directive {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(super) fn args(&self) -> Vec<&str> {
        self.words.iter().skip(1).map(String::as_str).collect()
    }

    /// The first argument, or nothing.
    pub(super) fn first(&self) -> &str {
        self.words.get(1).map_or("", String::as_str)
    }

    pub(super) fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it was written, in one line and not too long.
    pub(super) fn shown(&self) -> String {
        const SHOWN: usize = 80;
        let text = one_line(&self.words.join(" "));
        match text.char_indices().nth(SHOWN) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    }
}

/// How a server's files are read.
pub(super) struct Grammar {
    /// The directives of a text.
    pub(super) parse: fn(&str, &Rc<Path>) -> Result<Vec<Directive>, Mistake>,
    /// The directive that stands for the content of other files.
    pub(super) include: &'static str,
    /// Whether what is included may also be a snippet of that name, which is none of ours.
    pub(super) has_snippets: bool,
}

/// The directives of a file and of those that it includes.
pub(super) fn read(path: &Path, grammar: &Grammar) -> Result<Vec<Directive>, Mistake> {
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader { grammar, base, files: 0, bytes: 0 };
    let place = Place { file: path.into(), line: 0 };
    let directives = reader.file(path, &place)?;
    reader.expand(directives, 0, 0)
}

struct Reader<'a> {
    grammar: &'a Grammar,
    /// Where relative paths start from.
    base: PathBuf,
    files: usize,
    bytes: u64,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, from: &Place) -> Result<Vec<Directive>, Mistake> {
        let wrong = |message: String| Mistake { place: from.clone(), message };
        let shown = one_line(&path.to_string_lossy());
        let cannot = |error: std::io::Error| wrong(format!("{shown} cannot be read: {error}"));
        let found = std::fs::metadata(path).map_err(cannot)?;
        if !found.is_file() {
            return Err(wrong(format!("{shown} is no file")));
        }
        (self.files, self.bytes) = (self.files + 1, self.bytes + found.len());
        if found.len() > FILE_MAX || self.bytes > ALL_MAX || self.files > FILES_MAX {
            return Err(wrong(format!("{shown} makes too much of a configuration")));
        }
        let bytes = std::fs::read(path).map_err(cannot)?;
        (self.grammar.parse)(&String::from_utf8_lossy(&bytes), &path.into())
    }

    /// Puts the content of included files where they are named.
    fn expand(
        &mut self,
        directives: Vec<Directive>,
        depth: usize,
        nesting: usize,
    ) -> Result<Vec<Directive>, Mistake> {
        let mut out = Vec::new();
        for mut directive in directives {
            let wrong = |message: &str| Mistake {
                place: directive.place.clone(),
                message: message.to_owned(),
            };
            if nesting > NESTING_MAX {
                return Err(wrong("blocks are nested too deeply"));
            }
            let named = directive.name() == self.grammar.include && directive.words.len() == 2;
            // A snippet of Caddy's has a plain name.
            let is_file = !self.grammar.has_snippets || directive.first().contains(['*', '/', '.']);
            if !named || !is_file {
                if let Some(block) = directive.block.take() {
                    directive.block = Some(self.expand(block, depth, nesting + 1)?);
                }
                out.push(directive);
                continue;
            }
            if depth == INCLUDES_MAX {
                return Err(wrong("files include each other too deeply"));
            }
            let pattern = self.base.join(directive.first());
            let is_pattern = directive.first().contains(['*', '?', '[']);
            let found = if is_pattern { glob(&pattern) } else { vec![pattern] };
            for path in found {
                let inner = self.file(&path, &directive.place)?;
                out.extend(self.expand(inner, depth + 1, nesting)?);
            }
        }
        Ok(out)
    }
}

/// The files that a pattern with `*` and `?` names, in order.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let inside = |path: &PathBuf| {
            let entries =
                std::fs::read_dir(if path.as_os_str().is_empty() { Path::new(".") } else { path });
            let names = entries.into_iter().flatten().flatten().take(10_000);
            let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            // As in a shell, what is hidden has to be named.
            let fits = names
                .filter(|name| !name.starts_with('.') && matches(text.as_bytes(), name.as_bytes()));
            fits.map(|name| path.join(name)).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(inside).take(FILES_MAX + 1).collect();
        found.sort();
    }
    found.retain(|path| path.is_file());
    found
}

/// Whether `name` is what the pattern says, in time linear in each.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Text without what would end a comment or command a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
