//! Reading a file of the configuration: bounded, and at a reload only once it is whole.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ring::broker;

/// A larger file is not a configuration.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// A file that has changed within this time may be half written.
const REST: Duration = Duration::from_millis(100);

/// How often a file that changes is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// The bytes of what is at `path` now: a file, or a pipe that the start was given.
pub(super) fn now(path: &Path) -> io::Result<Vec<u8>> {
    bounded(&mut broker::open(path)?)
}

/// The bytes of the file at `path` once it has been at rest, before `until`: half of a
/// configuration may be a valid one.
pub(super) fn at_rest(path: &Path, until: Instant) -> io::Result<Vec<u8>> {
    at_rest_for(path, REST, until)
}

fn at_rest_for(path: &Path, rest: Duration, until: Instant) -> io::Result<Vec<u8>> {
    loop {
        // Opening a pipe must not wait for its writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => broker::open(path)?,
            opened => opened?,
        };
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if age(&before) >= rest {
            let bytes = bounded(&mut file)?;
            // The name may stand for another file by now.
            let after = match std::fs::metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => file.metadata()?,
                after => after?,
            };
            if version(&before) == version(&after) {
                return Ok(bytes);
            }
        }
        if Instant::now() >= until {
            return Err(io::Error::other("it changes all the time: it is being written"));
        }
        std::thread::sleep(LOOK);
    }
}

fn bounded(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other("more than 4 MiB are no configuration"));
    }
    Ok(bytes)
}

/// How long ago the file was changed, or came to stand here. One from the future rests: its next
/// change brings the time back.
fn age(found: &Metadata) -> Duration {
    let changed = Duration::new(found.ctime().max(0) as u64, found.ctime_nsec() as u32);
    SystemTime::now().duration_since(UNIX_EPOCH + changed).unwrap_or(Duration::MAX)
}

/// What tells a file and its content from others.
fn version(found: &Metadata) -> [i128; 4] {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    [
        found.dev().into(),
        found.ino().into(),
        found.size().into(),
        nanos(found.mtime(), found.mtime_nsec()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    /// Row 104: half a file, a pipe, an endless device, too large a file.
    #[test]
    fn row_104_a_file_is_read_whole_and_bounded() {
        let name = format!("ringway-text-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "half").unwrap();
        let writer = path.clone();
        let writing = std::thread::spawn(move || {
            for n in 0..10 {
                std::fs::write(&writer, format!("half {n}")).unwrap();
                std::thread::sleep(REST / 4);
            }
            std::fs::write(&writer, "whole").unwrap();
        });
        // Long enough for a writer that has to wait for its CPU.
        let rest = Duration::from_secs(2);
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(at_rest_for(&path, rest, until).unwrap(), b"whole");
        writing.join().unwrap();
        std::fs::write(&path, "new").unwrap();
        let error = at_rest(&path, Instant::now()).unwrap_err();
        assert!(error.to_string().contains("being written"), "{error}");
        std::fs::write(&path, vec![b'#'; 5 << 20]).unwrap();
        assert!(now(&path).unwrap_err().to_string().contains("4 MiB"));
        assert!(at_rest(&path, soon()).unwrap_err().to_string().contains("4 MiB"));
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(at_rest(&path, soon()).unwrap_err().to_string().contains("no regular file"));
        std::fs::remove_file(&path).unwrap();
        let zero = Path::new("/dev/zero");
        assert!(now(zero).unwrap_err().to_string().contains("4 MiB"));
        assert!(at_rest(zero, soon()).unwrap_err().to_string().contains("no regular file"));
        assert!(at_rest(&path, soon()).unwrap_err().kind() == io::ErrorKind::NotFound);
    }
}
