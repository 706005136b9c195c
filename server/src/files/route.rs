//! How a router gets the file service.

use std::path::PathBuf;

use super::Files;
use crate::app::router::Router;

impl Router {
    /// Serves the files of a directory under a prefix: `files("/", "site")`.
    #[must_use]
    pub fn files(self, prefix: &str, directory: impl Into<PathBuf>) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let files = Files::new(directory.into()).prefix(prefix);
        let router = self.any(&format!("{prefix}/*"), files.clone());
        // Without its slash the mount point redirects to the one with it.
        if prefix.is_empty() { router } else { router.any(prefix, files) }
    }
}
