//! File operations, and the memory that the kernel uses while one is under way.
//!
//! A job owns its path, buffer and descriptor until its completion has arrived, so a future that is
//! dropped half-way leaves nothing dangling: the result is thrown away when it comes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use io_uring::{opcode, squeue, types};

/// A file operation.
#[derive(Debug)]
pub(crate) enum JobRequest {
    /// openat2(2) below a root directory that no path may leave.
    OpenBeneath { root: Arc<OwnedFd>, path: CString },
    /// openat2(2) with `O_PATH`, wherever symbolic links lead: tells where that is, and neither
    /// reads nor touches it.
    Locate { root: Arc<OwnedFd>, path: CString },
    /// statx(2) of an open descriptor.
    Stat { file: Rc<OwnedFd> },
    /// pread(2): fills `buffer` up to its capacity from `offset` on.
    Read { file: Rc<OwnedFd>, offset: u64, buffer: Vec<u8> },
}

/// The result of a file operation.
#[derive(Debug)]
pub(crate) enum JobResponse {
    /// The opened descriptor.
    Opened(OwnedFd),
    /// What the file is.
    Stat(Stat),
    /// The buffer with as many bytes as were read; empty at the end of the file.
    Read(Vec<u8>),
}

/// The parts of statx(2) that serving files needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// File type and permission bits (`S_IFMT` and below).
    pub(crate) mode: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// The device that the file is on (`st_dev`).
    pub(crate) device: u64,
    /// Inode number.
    pub(crate) inode: u64,
    /// Last modification: seconds since 1970 and nanoseconds.
    pub(crate) modified: (i64, u32),
    /// Last change of content or inode: seconds since 1970 and nanoseconds.
    pub(crate) changed: (i64, u32),
}

/// A job under way: the kernel holds pointers into it.
pub(super) struct Job {
    request: JobRequest,
    how: types::OpenHow,
    statx: libc::statx,
}

/// No magic links (/proc/…), nothing above the root.
const RESOLVE: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
const OPEN_FLAGS: i32 = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
/// Longest single read; larger buffers come back partly filled, as read(2) may always do.
const READ_MAX: usize = 1 << 30;

impl Job {
    pub(super) fn new(request: JobRequest) -> Box<Self> {
        // SAFETY: `statx` is plain old data for which all zeroes is a valid value.
        let statx = unsafe { std::mem::zeroed() };
        let how = match request {
            JobRequest::Locate { .. } => types::OpenHow::new()
                .flags((libc::O_PATH | libc::O_CLOEXEC) as u64)
                .resolve(libc::RESOLVE_NO_MAGICLINKS),
            _ => types::OpenHow::new().flags(OPEN_FLAGS as u64).resolve(RESOLVE),
        };
        Box::new(Self { request, how, statx })
    }

    /// The submission entry. Its pointers go into `self`, which must stay in its box until done.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        match &mut self.request {
            JobRequest::OpenBeneath { root, path } | JobRequest::Locate { root, path } => {
                let root = types::Fd(root.as_raw_fd());
                opcode::OpenAt2::new(root, path.as_ptr(), &raw const self.how).build()
            }
            JobRequest::Stat { file } => opcode::Statx::new(
                types::Fd(file.as_raw_fd()),
                c"".as_ptr(),
                (&raw mut self.statx).cast(),
            )
            .flags(libc::AT_EMPTY_PATH)
            .mask(libc::STATX_BASIC_STATS)
            .build(),
            JobRequest::Read { file, offset, buffer } => {
                buffer.clear();
                let room = buffer.capacity().min(READ_MAX) as u32;
                opcode::Read::new(types::Fd(file.as_raw_fd()), buffer.as_mut_ptr(), room)
                    .offset(*offset)
                    .build()
            }
        }
    }

    /// Takes the kernel's answer.
    pub(super) fn finish(self: Box<Self>, result: i32) -> io::Result<JobResponse> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(match self.request {
            JobRequest::OpenBeneath { .. } | JobRequest::Locate { .. } => {
                // SAFETY: openat2 returned this descriptor to us and to nobody else.
                JobResponse::Opened(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
            }
            JobRequest::Stat { .. } => JobResponse::Stat(Stat::from(&self.statx)),
            JobRequest::Read { mut buffer, .. } => {
                assert!(result as usize <= buffer.capacity());
                // SAFETY: the kernel wrote `result` bytes, no more than the capacity.
                unsafe { buffer.set_len(result as usize) };
                JobResponse::Read(buffer)
            }
        })
    }
}

/// Does it on the calling thread, which waits: where there is no ring, in tests of an application.
pub(crate) fn run(request: JobRequest) -> io::Result<JobResponse> {
    let mut job = Job::new(request);
    let empty = c"".as_ptr();
    // SAFETY: what each call is given pointers to lives in `job` until it returns, and is as large
    // as it says.
    let result = unsafe {
        match &mut job.request {
            JobRequest::OpenBeneath { root, path } | JobRequest::Locate { root, path } => {
                libc::syscall(
                    libc::SYS_openat2,
                    root.as_raw_fd(),
                    path.as_ptr(),
                    &raw const job.how,
                    size_of::<types::OpenHow>(),
                )
            }
            JobRequest::Stat { file } => {
                let (flags, mask) = (libc::AT_EMPTY_PATH, libc::STATX_BASIC_STATS);
                libc::statx(file.as_raw_fd(), empty, flags, mask, &raw mut job.statx).into()
            }
            JobRequest::Read { file, offset, buffer } => {
                buffer.clear();
                let (at, room) = (buffer.as_mut_ptr().cast(), buffer.capacity().min(READ_MAX));
                libc::pread64(file.as_raw_fd(), at, room, *offset as i64) as i64
            }
        }
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    job.finish(result as i32)
}

impl From<&libc::statx> for Stat {
    fn from(found: &libc::statx) -> Self {
        Self {
            mode: u32::from(found.stx_mode),
            size: found.stx_size,
            device: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        }
    }
}
