//! What a static service is told once, before it serves: the same for every worker.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::budget::CacheBound;
use super::cache_control::Policy;
use super::compress::Compression;
use super::meta::Meta;
use super::mime;
use super::root::Root;
use super::tags::Tags;
use crate::app::content_coding::{Coding, Codings, compressible};

/// The settings of one static service.
#[derive(Clone, Debug)]
pub(crate) struct SiteSettings {
    /// The directory that is served.
    pub(crate) root: Arc<Root>,
    /// Where it is mounted: `/`, or a path with slashes at both ends.
    pub(crate) prefix: String,
    /// The file that stands for its directory.
    pub(crate) index: String,
    /// Which `Cache-Control` goes with which file.
    pub(crate) policy: Policy,
    /// Whether `Expires` says what `max-age` says.
    pub(crate) expires: bool,
    /// Content types of extensions (lower case), before those of [`mime`].
    pub(crate) types: Vec<(String, &'static str)>,
    /// Fields that every file is sent with.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether a directory without index is listed.
    pub(crate) browse: bool,
    /// What is compressed on the way.
    pub(crate) compression: Option<Compression>,
    /// Whether `.br`, `.zst` and `.gz` files beside a file are served in its place.
    pub(crate) precompressed: bool,
    /// The file that answers for every path that names none, with 200 (single-page applications).
    pub(crate) fallback: Option<Vec<u8>>,
    /// Whether it also answers for paths whose last part has a dot, which mean a file of a type.
    pub(crate) fallback_for_all: bool,
    /// Extensions that a path may leave out, without their dots.
    pub(crate) extensions: Vec<String>,
    /// Files that are the bodies of error responses.
    pub(crate) pages: Vec<(StatusCode, Vec<u8>)>,
    /// How many bytes of files a worker keeps in memory.
    pub(crate) cache: Arc<CacheBound>,
    /// The largest file that is kept in memory; larger ones are streamed from disk.
    pub(crate) cache_file_bytes: u64,
    /// Tags of the content of larger files.
    pub(crate) tags: Arc<Tags>,
    /// How old a look at the disk may be before the next request takes another.
    pub(crate) fresh_for: Duration,
    /// The files of which a warning was given. Locked by loads that find one unusable,
    /// never by an answer from memory.
    warned: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

/// Tags that are kept, and bytes a second that are read for them, unless set.
const TAGS: usize = 16_384;
const TAG_RATE: u64 = 64 << 20;
/// Files that are warned of; a tree with more of them has been noticed by then.
const WARNINGS_MAX: usize = 1000;

impl SiteSettings {
    /// The defaults for a directory mounted at `prefix`.
    pub(crate) fn new(prefix: &str, dir: PathBuf) -> Self {
        Self {
            root: Arc::new(Root::new(dir)),
            prefix: String::new(),
            index: "index.html".to_owned(),
            policy: Policy::default(),
            expires: false,
            types: Vec::new(),
            headers: Vec::new(),
            browse: false,
            compression: None,
            precompressed: true,
            fallback: None,
            fallback_for_all: true,
            extensions: Vec::new(),
            pages: Vec::new(),
            cache: CacheBound::new(64 << 20),
            cache_file_bytes: 2 << 20,
            tags: Arc::new(Tags::new(TAGS, TAG_RATE)),
            fresh_for: Duration::from_millis(100),
            warned: Arc::default(),
        }
        .mounted(prefix)
    }

    /// The same, mounted at `prefix`, which is compared with canonical paths.
    pub(crate) fn mounted(mut self, prefix: &str) -> Self {
        self.prefix = crate::app::router::canonical(&format!("/{}", prefix.trim_matches('/')));
        if !self.prefix.ends_with('/') {
            self.prefix.push('/');
        }
        self
    }

    /// The fingerprint of a file that is not in memory, where it is known.
    pub(crate) fn fingerprint(&self, path: &[u8], coding: Coding, meta: &Meta) -> Option<u128> {
        self.tags.find(meta, || {
            let name = [path, coding.suffix().as_bytes()].concat();
            self.root.dir.join(OsStr::from_bytes(&name))
        })
    }

    /// Whether a service with these settings is one with `other`, down to the memory it uses.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let Self {
            root,
            prefix,
            index,
            policy,
            expires,
            types,
            headers,
            browse,
            compression,
            precompressed,
            fallback,
            fallback_for_all,
            extensions,
            pages,
            cache,
            cache_file_bytes,
            tags,
            fresh_for,
            warned: _,
        } = self;
        root.dir == other.root.dir
            && *prefix == other.prefix
            && *index == other.index
            && *policy == other.policy
            && *expires == other.expires
            && *types == other.types
            && *headers == other.headers
            && *browse == other.browse
            && *compression == other.compression
            && *precompressed == other.precompressed
            && *fallback == other.fallback
            && *fallback_for_all == other.fallback_for_all
            && *extensions == other.extensions
            && *pages == other.pages
            && Arc::ptr_eq(cache, &other.cache)
            && *cache_file_bytes == other.cache_file_bytes
            && Arc::ptr_eq(tags, &other.tags)
            && *fresh_for == other.fresh_for
    }

    /// Opens the root and has what is to be known of its large files found out, both once.
    pub(crate) fn start(&self) {
        self.root.watch();
        self.find_tags();
    }

    /// Has the tags of large files found out, once for each directory that is the root.
    pub(crate) fn find_tags(&self) {
        let above = if self.cache.bytes() == 0 { 0 } else { self.cache_file_bytes };
        if self.root.is_unwalked() {
            self.tags.walk(&self.root.dir, above);
        }
    }

    /// Tells the operator, once, of a compressed file beside `path` that is not sent.
    pub(crate) fn warn(&self, path: &[u8], coding: Coding, why: &str) {
        self.say([path, coding.suffix().as_bytes()].concat(), &format!("{why}: not sent"));
    }

    /// Tells the operator, once, of the symbolic link at `path`.
    pub(crate) fn warn_of_link(&self, path: &[u8]) {
        let why = "is a symbolic link out of the directory that is served: answered with 404";
        self.say(path.to_vec(), why);
    }

    fn say(&self, name: Vec<u8>, what: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < WARNINGS_MAX && !warned.contains(&name) {
            // Names may hold anything, a line is a line.
            let shown = self.root.dir.join(String::from_utf8_lossy(&name).as_ref());
            let shown = shown.display().to_string();
            crate::rt::console::note!("ringway: {} {what}", shown.escape_debug());
            warned.insert(name);
        }
    }

    /// The file that answers for `path`, which names none.
    pub(crate) fn fallback_of(&self, path: &[u8]) -> Option<&[u8]> {
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let answers = self.fallback_for_all || !last.contains(&b'.');
        self.fallback.as_deref().filter(|_| answers)
    }

    /// Into what a file of that type and size is compressed on the way. `no-transform` forbids it
    /// (RFC 9110 section 7.7), and so does a coding that the operator says it has.
    pub(crate) fn compressed(
        &self,
        content_type: &str,
        cache_control: Option<&str>,
        size: usize,
    ) -> Codings {
        let Some(compression) = &self.compression else { return Codings::default() };
        let forbids = |value: &[u8]| {
            let mut directives = value.split(|byte| *byte == b',');
            directives.any(|each| each.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
        };
        let mut headers = self.headers.iter();
        let is_fixed = cache_control.is_some_and(|value| forbids(value.as_bytes()))
            || headers.any(|(name, value)| match *name {
                header::CACHE_CONTROL => forbids(value.as_bytes()),
                header::CONTENT_ENCODING => true,
                _ => false,
            });
        let fits = (compression.min..=compression.max).contains(&(size as u64));
        match fits && !is_fixed && compressible(content_type) {
            true => compression.codings,
            false => Codings::default(),
        }
    }

    /// The content type of the file at `path`.
    pub(crate) fn type_of(&self, path: &[u8]) -> &'static str {
        let own = mime::extension(path).and_then(|extension| {
            self.types.iter().find(|(of, _)| of.as_bytes().eq_ignore_ascii_case(extension))
        });
        own.map_or_else(|| mime::of(path), |(_, content_type)| content_type)
    }

    /// The part of a request's path below the mount point; `None` when it is not below it. The
    /// mount point itself counts with and without its last slash.
    pub(crate) fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let prefix = self.prefix.as_bytes();
        match path.strip_prefix(prefix) {
            Some(below) => Some(below),
            None if path == &prefix[..prefix.len() - 1] => Some(b""),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_once() {
        let settings = SiteSettings::new("/", PathBuf::new());
        for _ in 0..3 {
            settings.warn(b"a.js", Coding::Brotli, "is a test");
        }
        settings.clone().warn(b"a.js", Coding::Gzip, "is a test");
        let warned = settings.warned.lock().unwrap();
        assert_eq!(warned.iter().collect::<Vec<_>>(), [b"a.js.br", b"a.js.gz"]);
    }

    #[test]
    fn prefixes_are_normalised_and_taken_off() {
        for (prefix, path, want) in [
            ("/", "/a/b", Some("a/b")),
            ("", "/a", Some("a")),
            ("/static", "/static/a", Some("a")),
            ("static/", "/static/", Some("")),
            ("/static/", "/static", Some("")),
            ("/static", "/statics", None),
            ("/static", "/", None),
            ("/", "//a", Some("/a")),
            ("/my files/é", "/my%20files/%C3%A9/a", Some("a")),
            ("/a//%62/", "/a/b/c", Some("c")),
        ] {
            let settings = SiteSettings::new(prefix, PathBuf::new());
            let want = want.map(str::as_bytes);
            assert_eq!(settings.below(path.as_bytes()), want, "{prefix} {path}");
        }
    }
}
