//! How a router gets the file service.

use std::path::PathBuf;

use super::Files;
use crate::app::router::Router;

impl Router {
    /// Serves the files of a directory under a prefix: `files("/", "site")`.
    ///
    /// # Panics
    /// As [`Self::any`], for the prefix and for all paths below it.
    #[must_use]
    #[track_caller]
    pub fn files(self, prefix: &str, directory: impl Into<PathBuf>) -> Self {
        self.files_with(prefix, Files::new(directory.into()))
    }

    /// As [`Self::files`], with settings of its own.
    ///
    /// ```
    /// use ringway::{Files, Router};
    /// let app = Router::new().files_with("/static", Files::new("site").browse(true));
    /// # let _ = app;
    /// ```
    ///
    /// # Panics
    /// As [`Self::files`].
    #[must_use]
    #[track_caller]
    pub fn files_with(self, prefix: &str, files: Files) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let files = files.prefix(prefix);
        let router = self.any(&format!("{prefix}/*"), files.clone());
        // Without its slash the mount point redirects to the one with it.
        if prefix.is_empty() { router } else { router.any(prefix, files) }
    }
}
