//! Loads a [`File`] from disk through the worker's ring: checks, decides what is usable, reads.
//!
//! Nothing blocks the worker: every open, stat and read is an operation of the ring. The kernel
//! keeps paths below the root (`RESOLVE_BENEATH`). Check and read use the same descriptor, so they
//! see the same file.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::file::{File, FileContent, Metas};
use super::meta::{Kind, Meta};
use super::mime;
use super::root::is_exhausted;
use super::settings::SiteSettings;
use super::sidecar;
use crate::app::content_coding::{Coding, compressible};
use crate::rt::fs;
use crate::rt::sleep::sleep;
use crate::rt::thread_state;

/// What is at a path.
pub(crate) enum Seen {
    /// A file.
    File(Box<Look>),
    /// A directory.
    Directory(Rc<OwnedFd>),
}

/// A check of the disk: the file and its compressed siblings, open, with their metadata.
pub(crate) struct Look {
    /// What was found, by [`Coding`].
    pub(crate) metas: Metas,
    open: [Option<Rc<OwnedFd>>; 4],
    now: i128,
}

/// Looks at `path` below `root`. Fails with `PermissionDenied` for what is neither file nor
/// directory, and with whatever the kernel says.
pub(crate) async fn look(
    root: &Arc<OwnedFd>,
    path: &[u8],
    settings: &SiteSettings,
) -> io::Result<Seen> {
    let now = unix_ns();
    let (file, meta) = open(root, path, settings).await?;
    match meta.kind {
        Kind::File => {}
        Kind::Directory => return Ok(Seen::Directory(file)),
        // Reading a FIFO or a device could wait for ever, or have effects.
        Kind::Other => return Err(io::ErrorKind::PermissionDenied.into()),
    }
    let mut seen = Look { metas: [None; 4], open: [const { None }; 4], now };
    seen.metas[Coding::Identity as usize] = Some(meta);
    seen.open[Coding::Identity as usize] = Some(file);
    let is_worth = compressible(settings.type_of(path)) && !mime::is_gzipped(path);
    if settings.precompressed && is_worth {
        for coding in [Coding::Brotli, Coding::Zstd, Coding::Gzip] {
            let mut name = path.to_vec();
            name.extend_from_slice(coding.suffix().as_bytes());
            match open(root, &name, settings).await {
                Ok((file, meta)) if meta.kind == Kind::File => {
                    seen.metas[coding as usize] = Some(meta);
                    seen.open[coding as usize] = Some(file);
                }
                // It may exist: without a descriptor we cannot know.
                Err(error) if is_exhausted(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(Seen::File(Box::new(seen)))
}

impl Look {
    /// Bytes that keeping all forms in memory takes; `None` when that is too much for it.
    pub(crate) fn weight(&self, settings: &SiteSettings) -> Option<usize> {
        let metas = || self.metas.iter().flatten();
        let keep = settings.cache.bytes() > 0
            && metas().all(|meta| meta.size <= settings.cache_file_bytes);
        let bytes = metas().map(|meta| meta.size as usize).sum();
        (keep && bytes < settings.cache.bytes()).then_some(bytes)
    }

    /// Makes the file, its content read if it is to be `kept` and left on disk otherwise. `path` is
    /// that of the look.
    pub(crate) async fn read(
        self,
        path: &[u8],
        settings: &SiteSettings,
        kept: bool,
    ) -> io::Result<File> {
        let source = self.metas[Coding::Identity as usize].unwrap_or_default();
        let mut contents = [const { None }; 4];
        for coding in Coding::ALL {
            let at = coding as usize;
            let (Some(meta), Some(file)) = (self.metas[at], &self.open[at]) else { continue };
            if coding != Coding::Identity && !current(&meta, &source) {
                if is_older(&meta, &source) {
                    settings.warn(path, coding, "is older than the file it was made from");
                }
                continue;
            }
            let content = match kept {
                true => FileContent::Memory(whole(file, meta.size).await?),
                false => FileContent::Disk(Rc::clone(file), meta.size),
            };
            if sidecar::belongs(coding, &content, source.size).await {
                contents[at] = Some(content);
            } else {
                settings.warn(path, coding, "is damaged or was made from another version");
            }
        }
        Ok(File::new(path, self.metas, contents, settings, self.now))
    }
}

/// Whether a compressed file belongs to the current version of its source: an older one was made
/// from something else, and an empty or larger one is broken or pointless (row 38).
fn current(meta: &Meta, source: &Meta) -> bool {
    !is_older(meta, source) && meta.size > 0 && meta.size < source.size
}

/// Whether a file is older than its source by more than tools lose of a time: `brotli -k`, `tar`
/// and `cp` keep whole seconds, FAT and zip even ones.
fn is_older(meta: &Meta, source: &Meta) -> bool {
    meta.modified_ns + TIME_LOST_NS < source.modified_ns
}

const TIME_LOST_NS: i128 = 2_000_000_000;

/// How long, and how often, an open without a free descriptor waits for idle connections to close.
const WAIT: Duration = Duration::from_millis(20);
const WAITS: u32 = 5;

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

async fn open(
    root: &Arc<OwnedFd>,
    path: &[u8],
    settings: &SiteSettings,
) -> io::Result<(Rc<OwnedFd>, Meta)> {
    let name = if path.is_empty() { b"." } else { path };
    let name = CString::new(name).map_err(|_| io::ErrorKind::NotFound)?;
    let (mut tries, mut waits) = (0, 0);
    let file = loop {
        match fs::open_beneath(root, &name).await {
            // openat2(2): a rename raced with the check that the path stays below the root.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < 3 => tries += 1,
            Err(error) if is_out_of_descriptors(&error) && waits < WAITS => {
                waits += 1;
                thread_state::with(|thread| thread.starved.set(true));
                sleep(WAIT).await;
            }
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                break Rc::new(through_links(root, &name, settings).await?);
            }
            other => break Rc::new(other?),
        }
    };
    let meta = Meta::from(fs::stat(&file).await?);
    Ok((file, meta))
}

/// Opens what a path leads to by symbolic links that are absolute or leave the root and come back
/// (F19). The kernel follows them, without opening what is there; if that is below the root, its
/// own name is opened as any other, with all checks.
async fn through_links(
    root: &Arc<OwnedFd>,
    path: &CStr,
    settings: &SiteSettings,
) -> io::Result<OwnedFd> {
    let target = fs::locate(root, path).await?;
    let top = fs::name_of(root)?;
    let Ok(below) = target.strip_prefix(&top) else {
        warn_of_link(root, path.to_bytes(), settings).await;
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    };
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let name = CString::new(below.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::NotFound)?;
    fs::open_beneath(root, &name).await
}

/// Warns about the link by which `path` leaves the root: its first part that does.
async fn warn_of_link(root: &Arc<OwnedFd>, path: &[u8], settings: &SiteSettings) {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let Ok(name) = CString::new(&path[..end]) else { return };
        let opened = fs::open_beneath(root, &name).await;
        if opened.is_err_and(|error| error.raw_os_error() == Some(libc::EXDEV)) {
            return settings.warn_of_link(&path[..end]);
        }
    }
}

/// Reads a file that should have `size` bytes; an error if it has become shorter.
async fn whole(file: &Rc<OwnedFd>, size: u64) -> io::Result<Rc<[u8]>> {
    let size = size as usize;
    let mut content = fs::read_at(file, 0, Vec::with_capacity(size)).await?;
    content.truncate(size);
    while content.len() < size {
        let room = Vec::with_capacity(size - content.len());
        let mut more = fs::read_at(file, content.len() as u64, room).await?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        more.truncate(size - content.len());
        content.append(&mut more);
    }
    Ok(Rc::from(content))
}

fn unix_ns() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(size: u64, modified_ns: i128) -> Meta {
        Meta { size, modified_ns, ..Meta::default() }
    }

    /// Row 38.
    #[test]
    fn a_compressed_file_must_be_current_and_smaller() {
        const SECOND: i128 = 1_000_000_000;
        let source = meta(1000, 5 * SECOND + 1);
        assert!(current(&meta(10, 5 * SECOND + 1), &source));
        assert!(current(&meta(999, 6 * SECOND), &source));
        // F4: whole and even seconds.
        assert!(current(&meta(10, 5 * SECOND), &source));
        assert!(current(&meta(10, 3 * SECOND + 1), &source));
        assert!(!current(&meta(10, 3 * SECOND), &source));
        assert!(!current(&meta(0, 6 * SECOND), &source));
        assert!(!current(&meta(1000, 6 * SECOND), &source));
    }
}
