//! What the file system says of a file: the little of `statx` that serving needs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::rt::fs::Stat;

/// The kind of a directory entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A regular file: the only kind whose content is served.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A FIFO, socket, device or symbolic link.
    Other,
}

/// A file's identity and version. Equal values mean that a cached copy is still right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Meta {
    /// What it is.
    pub(crate) kind: Kind,
    /// Size in bytes.
    pub(crate) size: u64,
    /// When the content was last modified, in nanoseconds since 1970.
    pub(crate) modified_ns: i128,
    /// When the inode last changed (content, rename, link count), in nanoseconds since 1970.
    pub(crate) changed_ns: i128,
    /// The device that it is on: inode numbers count for one alone.
    pub(crate) device: u64,
    /// Inode number.
    pub(crate) inode: u64,
}

impl From<Stat> for Meta {
    fn from(stat: Stat) -> Self {
        let nanoseconds =
            |(seconds, part): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(part);
        let kind = match stat.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Directory,
            _ => Kind::Other,
        };
        Self {
            kind,
            size: stat.size,
            modified_ns: nanoseconds(stat.modified),
            changed_ns: nanoseconds(stat.changed),
            device: stat.device,
            inode: stat.inode,
        }
    }
}

/// 1980-01-01, where the dates of zip archives begin. Whoever erases times writes this one or an
/// earlier one.
const ERASED: i64 = 315_532_800;

impl From<&Metadata> for Meta {
    fn from(found: &Metadata) -> Self {
        Self::from(Stat {
            mode: found.mode(),
            size: found.size(),
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec() as u32),
            changed: (found.ctime(), found.ctime_nsec() as u32),
        })
    }
}

impl Meta {
    /// When the content was last modified, in whole seconds since 1970.
    pub(crate) fn modified(&self) -> i64 {
        self.modified_ns.div_euclid(1_000_000_000) as i64
    }

    /// [`Self::modified`] where it is a date that tells versions apart: not in the future at `now`
    /// (nanoseconds since 1970), and not one that reproducible images and package stores give to
    /// every file.
    pub(crate) fn dated(&self, now: i128) -> Option<i64> {
        Some(self.modified()).filter(|seconds| *seconds > ERASED && self.modified_ns <= now)
    }

    /// When the inode last changed, in whole seconds since 1970, rounded up.
    pub(crate) fn changed(&self) -> i64 {
        -((-self.changed_ns).div_euclid(1_000_000_000) as i64)
    }
}
