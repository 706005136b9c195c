//! The file services of a configuration, from one reload to the next: they share one bound of
//! memory and one table of entity tags, and a service that is as it was is the same service, so
//! that what workers have of its files in memory stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Files;
use super::budget::CacheBound;
use super::tags::Tags;
use crate::config::Limits;

/// The services of a configuration, and what they share.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    bound: Arc<CacheBound>,
    tags: Arc<Tags>,
    file_bytes: usize,
    by_root: HashMap<PathBuf, Vec<Files>>,
}

impl Services {
    /// None yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bound: CacheBound::new(limits.cache_bytes),
            tags: Arc::new(Tags::new(limits.tags, limits.tag_rate)),
            file_bytes: limits.cache_file_bytes,
            by_root: HashMap::new(),
        }
    }

    /// None yet, with what `former` ones share.
    pub(crate) fn after(former: &Self, limits: &Limits) -> Self {
        let (bound, tags) = (Arc::clone(&former.bound), Arc::clone(&former.tags));
        Self { bound, tags, file_bytes: limits.cache_file_bytes, by_root: HashMap::new() }
    }

    /// Has workers hold to this many bytes of files in memory.
    pub(crate) fn bound_cache(&self, bytes: usize) {
        self.bound.set(bytes);
    }

    /// Adds `files`, with what all share; or in its place the one of `former` that is the same.
    pub(crate) fn add(&mut self, files: Files, former: Option<&Self>) -> Files {
        let files = files.with(|settings| {
            settings.cache = Arc::clone(&self.bound);
            settings.tags = Arc::clone(&self.tags);
            settings.cache_file_bytes = self.file_bytes as u64;
        });
        let root = files.settings.root.dir.clone();
        let same = |other: &&Files| other.settings.is_same(&files.settings);
        let known = former.and_then(|former| former.at(&root).iter().find(same)).cloned();
        let files = known.unwrap_or(files);
        self.by_root.entry(root).or_default().push(files.clone());
        files
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_root.values().map(Vec::len).sum()
    }

    /// How many of them `former` has too.
    pub(crate) fn count_same(&self, former: &Self) -> usize {
        let is_known = |files: &&Files| {
            former.at(&files.settings.root.dir).iter().any(|other| other.id == files.id)
        };
        self.by_root.values().flatten().filter(is_known).count()
    }

    fn at(&self, root: &Path) -> &[Files] {
        self.by_root.get(root).map_or(&[], Vec::as_slice)
    }
}
