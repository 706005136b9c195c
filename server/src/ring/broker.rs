//! Files that this process may not open any more, by the process that may: the broker, which opens
//! what stands in the configuration and nothing else. What this process may open it opens itself.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::passing;

/// The longest path that is asked for (PATH_MAX).
pub(crate) const PATH_BYTES: usize = 4096;

/// The end of a pair of sockets that keep messages apart, of which the broker has the other.
static BROKER: OnceLock<Mutex<OwnedFd>> = OnceLock::new();

/// How a file is opened: the first byte of a request, before the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Read = b'r' as isize,
    /// For appending; it is made if it is missing.
    Append = b'a' as isize,
}

/// From here on `broker` is asked for what this process may not open.
pub(crate) fn engage(broker: OwnedFd) {
    let _ = BROKER.set(Mutex::new(broker));
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path).or_else(|error| ask(How::Read, path, error))
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file for appending, made if it is missing.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let opened = File::options().append(true).create(true).open(path);
    opened.or_else(|error| ask(How::Append, path, error))
}

/// Asks the broker, if there is one and it may help; otherwise `refused` stays the answer.
fn ask(how: How, path: &Path, refused: io::Error) -> io::Result<File> {
    let Some(broker) = BROKER.get().filter(|_| refused.kind() == ErrorKind::PermissionDenied)
    else {
        return Err(refused);
    };
    let path = std::path::absolute(path)?;
    let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
    match asked(&broker, how, &path)? {
        Some(file) => Ok(file),
        None => Err(refused),
    }
}

/// The broker's answer: a file, none where it has refused, or the kernel's error.
pub(crate) fn asked(broker: &OwnedFd, how: How, path: &Path) -> io::Result<Option<File>> {
    let path = path.as_os_str().as_bytes();
    if path.len() > PATH_BYTES {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    let mut request = vec![how as u8];
    request.extend_from_slice(path);
    passing::send(broker, &request, &[])?;
    let mut answer = [0; 4];
    let mut passed = passing::receive(broker, &mut answer)?;
    match (passed.len, passed.descriptors.pop()) {
        (4, Some(file)) => Ok(Some(file.into())),
        (4, None) => match i32::from_ne_bytes(answer) {
            0 => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        // It is gone.
        _ => Ok(None),
    }
}

impl How {
    /// The request of this first byte.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::Read, Self::Append].into_iter().find(|how| *how as u8 == byte)
    }
}
