//! Compressed files beside the files of a directory, made before anybody asks for them.
//!
//! What is made is what [`Files`](crate::Files) serves: `app.js.br`, `app.js.zst`, `app.js.gz` for
//! files whose type is worth it, in each coding only if that is smaller. A file is written under
//! another name and renamed when it is whole, with the time of its source: so a server never sees
//! half of one, and a second run finds what is fresh.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{mime, sidecar};
use crate::app::content_coding::{Coding, compressible};

/// Makes the compressed files of a directory: `ringway precompress` as a library function.
///
/// ```no_run
/// let report = ringway::Precompress::new("site").run(|_| {})?;
/// println!("{} written, {} were fresh", report.written, report.fresh);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Precompress {
    root: PathBuf,
    codings: Vec<Coding>,
    min: u64,
    threads: usize,
}

/// The state of a run, and at its end its result. Files and codings are counted in pairs: a file in
/// three codings is three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrecompressReport {
    /// Pairs to look at.
    pub total: usize,
    /// Compressed files that were written.
    pub written: usize,
    /// Compressed files that belong to their source already.
    pub fresh: usize,
    /// Not written because they would not be smaller. An outdated one is removed.
    pub not_smaller: usize,
    /// What could not be done, a line each.
    pub failed: Vec<String>,
    /// Bytes of the sources of what was written.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

impl PrecompressReport {
    /// Pairs that are done.
    pub fn done(&self) -> usize {
        self.written + self.fresh + self.not_smaller + self.failed.len()
    }
}

/// Smaller files fit into the first flight anyway.
const MIN: u64 = 1024;
/// Bytes read at a time.
const PIECE: usize = 128 * 1024;
/// Levels: the smallest output, because each file is compressed once and sent often.
const GZIP_LEVEL: u32 = 9;
const ZSTD_LEVEL: i32 = 19;
const BROTLI_QUALITY: u32 = 11;
/// Brotli's window as a power of two: 4 MiB.
const BROTLI_WINDOW: u32 = 22;
/// zstd's window as a power of two: browsers accept up to 8 MiB (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// A file and a coding for it.
struct Pair {
    source: PathBuf,
    size: u64,
    coding: Coding,
}

/// What has become of a pair.
enum Done {
    Written(u64),
    Fresh,
    NotSmaller,
}

impl Precompress {
    /// All files below `root` of at least 1 KiB, in brotli, zstd and gzip, on every CPU.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let codings = vec![Coding::Brotli, Coding::Zstd, Coding::Gzip];
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { root: root.into(), codings, min: MIN, threads }
    }

    /// The codings by the suffixes of their files: `br`, `zst`, `gz`.
    ///
    /// # Errors
    /// The first that is none of these.
    pub fn codings<'a>(
        mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, &'a str> {
        self.codings.clear();
        for name in names {
            let coding = match name {
                "br" => Coding::Brotli,
                "zst" => Coding::Zstd,
                "gz" => Coding::Gzip,
                other => return Err(other),
            };
            if !self.codings.contains(&coding) {
                self.codings.push(coding);
            }
        }
        Ok(self)
    }

    /// The size in bytes below which a file is left as it is.
    #[must_use]
    pub fn min_size(mut self, bytes: u64) -> Self {
        self.min = bytes;
        self
    }

    /// The number of threads; at least 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Makes what is missing or outdated. `progress` is called after each pair, by any thread.
    ///
    /// # Errors
    /// The directory cannot be read. What fails below it is in the report.
    pub fn run(
        self,
        progress: impl Fn(&PrecompressReport) + Sync,
    ) -> io::Result<PrecompressReport> {
        self.run_until(&AtomicBool::new(false), progress)
    }

    /// Same as [`Self::run`], until `stop` is set. What is half written then is removed.
    ///
    /// # Errors
    /// As those of [`Self::run`].
    pub fn run_until(
        self,
        stop: &AtomicBool,
        progress: impl Fn(&PrecompressReport) + Sync,
    ) -> io::Result<PrecompressReport> {
        let mut report = PrecompressReport::default();
        let mut pairs = self.pairs(&mut report.failed)?;
        // The longest first, so that no thread is left with one at the end.
        pairs.sort_by(|a, b| (b.size, &a.source).cmp(&(a.size, &b.source)));
        report.total = pairs.len() + report.failed.len();
        let (next, report) = (AtomicUsize::new(0), Mutex::new(report));
        std::thread::scope(|scope| {
            for _ in 0..self.threads.min(pairs.len()) {
                scope.spawn(|| {
                    // Each pair is taken once; nothing else depends on the order.
                    while let Some(pair) = pairs.get(next.fetch_add(1, Ordering::Relaxed))
                        && !stop.load(Ordering::Relaxed)
                    {
                        let done = pair.make(stop);
                        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                        report.note(pair, done);
                        progress(&report);
                    }
                });
            }
        });
        Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The files that are worth it, in each coding.
    fn pairs(&self, failed: &mut Vec<String>) -> io::Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        let mut directories = vec![(self.root.clone(), fs::read_dir(&self.root)?)];
        while let Some((path, entries)) = directories.pop() {
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        failed.push(format!("{}: {error}", path.display()));
                        break;
                    }
                };
                let (path, name) = (entry.path(), entry.file_name());
                if is_hidden(name.as_bytes()) {
                    continue;
                }
                // A directory that a link leads to may be one that was seen already.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    match fs::read_dir(&path) {
                        Ok(entries) => directories.push((path, entries)),
                        Err(error) => failed.push(format!("{}: {error}", path.display())),
                    }
                } else if is_worth(name.as_bytes())
                    && let Ok(meta) = fs::metadata(&path)
                    && meta.is_file()
                    && meta.len() >= self.min.max(1)
                {
                    let of = |coding| Pair { source: path.clone(), size: meta.len(), coding };
                    pairs.extend(self.codings.iter().copied().map(of));
                }
            }
        }
        Ok(pairs)
    }
}

/// Whether a name is one that no request can ask for.
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != b".well-known"
}

fn is_worth(name: &[u8]) -> bool {
    compressible(mime::of(name)) && !mime::is_gzipped(name)
}

impl PrecompressReport {
    fn note(&mut self, pair: &Pair, done: io::Result<Done>) {
        match done {
            Ok(Done::Written(bytes)) => {
                self.written += 1;
                self.bytes_in += pair.size;
                self.bytes_out += bytes;
            }
            Ok(Done::Fresh) => self.fresh += 1,
            Ok(Done::NotSmaller) => self.not_smaller += 1,
            Err(error) => self.failed.push(format!("{}: {error}", pair.target().display())),
        }
    }
}

impl Pair {
    /// The compressed file.
    fn target(&self) -> PathBuf {
        let mut name = self.source.as_os_str().to_owned();
        name.push(self.coding.suffix());
        name.into()
    }

    fn make(&self, stop: &AtomicBool) -> io::Result<Done> {
        let target = self.target();
        let mut source = File::open(&self.source)?;
        let before = source.metadata()?;
        match fs::symlink_metadata(&target) {
            Ok(meta) if !meta.is_file() => {
                return Err(io::Error::other("it is there, and is not a file"));
            }
            Ok(meta) if self.is_fresh(&target, &meta, &before)? => return Ok(Done::Fresh),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let draft = Draft::create(&target)?;
        let written = encode(self.coding, &mut source, before.len(), &draft.file, stop)?;
        let after = fs::metadata(&self.source)?;
        if after.len() != before.len() || after.modified()? != before.modified()? {
            return Err(io::Error::other("its source changed while it was read: run it again"));
        }
        if written >= before.len() {
            drop(draft);
            return match fs::remove_file(&target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(Done::NotSmaller),
            };
        }
        draft.file.set_permissions(before.permissions())?;
        draft.file.set_modified(before.modified()?)?;
        draft.rename(&target)?;
        Ok(Done::Written(written))
    }

    /// Whether the compressed file was made from its source as that is now.
    fn is_fresh(&self, target: &Path, meta: &Metadata, source: &Metadata) -> io::Result<bool> {
        if meta.len() == 0 || meta.len() >= source.len() || meta.modified()? < source.modified()? {
            return Ok(false);
        }
        sidecar::belongs_to(self.coding, &File::open(target)?, meta.len(), source.len())
    }
}

/// A file that is being written, under a name that no request can ask for. Dropping it removes it.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default();
        let mut draft = std::ffi::OsString::from(".");
        draft.push(name);
        draft.push(format!(".{}", std::process::id()));
        let path = target.with_file_name(draft);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path })
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.path.clear();
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Counts what passes, and keeps the first error: brotli's writer swallows that of its end.
struct Recorder<'a> {
    file: &'a File,
    bytes: u64,
    error: Option<io::Error>,
}

impl Write for Recorder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(n) => {
                self.bytes += n as u64;
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.error.get_or_insert(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses a source of `size` bytes; the number of bytes written.
fn encode(
    coding: Coding,
    source: &mut File,
    size: u64,
    to: &File,
    stop: &AtomicBool,
) -> io::Result<u64> {
    let out = Recorder { file: to, bytes: 0, error: None };
    let out = match coding {
        Coding::Brotli => {
            let mut encoder =
                brotli::CompressorWriter::new(out, PIECE, BROTLI_QUALITY, BROTLI_WINDOW);
            copy(source, &mut encoder, stop)?;
            encoder.into_inner()
        }
        Coding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
            encoder.window_log(ZSTD_WINDOW)?;
            encoder.include_checksum(true)?;
            // The frame says how long its content is, by which a server sees what belongs to what.
            encoder.set_pledged_src_size(Some(size))?;
            copy(source, &mut encoder, stop)?;
            encoder.finish()?
        }
        Coding::Gzip => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            copy(source, &mut encoder, stop)?;
            encoder.finish()?
        }
        Coding::Identity => out,
    };
    match out.error {
        Some(error) => Err(error),
        None => Ok(out.bytes),
    }
}

fn copy(source: &mut File, encoder: &mut impl Write, stop: &AtomicBool) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => encoder.write_all(&piece[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
