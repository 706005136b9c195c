//! File operations for futures that run on a worker. They go through its ring.

use std::ffi::CStr;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use crate::ring::job::Stat;
use crate::ring::job::{JobRequest, JobResponse};
use crate::ring::token::Id;
use crate::rt::thread_state::{self, ThreadState};

/// Opens a file for reading below `root`, which neither `..` nor a symbolic link can leave.
pub(crate) async fn open_beneath(root: &Arc<OwnedFd>, path: &CStr) -> io::Result<OwnedFd> {
    let request = JobRequest::OpenBeneath { root: Arc::clone(root), path: path.to_owned() };
    match run(request).await? {
        JobResponse::Opened(file) => Ok(file),
        other => Err(unexpected(&other)),
    }
}

/// The real path of `path` below `root`, with symbolic links followed. The file is not opened for
/// reading.
pub(crate) async fn locate(root: &Arc<OwnedFd>, path: &CStr) -> io::Result<PathBuf> {
    let request = JobRequest::Locate { root: Arc::clone(root), path: path.to_owned() };
    match run(request).await? {
        JobResponse::Opened(file) => name_of(&file),
        other => Err(unexpected(&other)),
    }
}

/// The path of an open file, from the kernel; does not touch the disk.
pub(crate) fn name_of(file: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Asks what an open file is.
pub(crate) async fn stat(file: &Rc<OwnedFd>) -> io::Result<Stat> {
    match run(JobRequest::Stat { file: Rc::clone(file) }).await? {
        JobResponse::Stat(stat) => Ok(stat),
        other => Err(unexpected(&other)),
    }
}

/// Reads from `offset` into `buffer`, up to its capacity. The result may be shorter; it is empty at
/// the end of the file.
pub(crate) async fn read_at(
    file: &Rc<OwnedFd>,
    offset: u64,
    buffer: Vec<u8>,
) -> io::Result<Vec<u8>> {
    match run(JobRequest::Read { file: Rc::clone(file), offset, buffer }).await? {
        JobResponse::Read(buffer) => Ok(buffer),
        other => Err(unexpected(&other)),
    }
}

async fn run(request: JobRequest) -> io::Result<JobResponse> {
    let thread = thread_state::current();
    let mut job = Job { id: thread.start_job(request), thread, done: false };
    poll_fn(|context| {
        let polled = job.thread.poll_job(job.id, context.waker());
        job.done = polled.is_ready();
        polled
    })
    .await
}

/// Abandons the operation when its future is dropped half-way.
struct Job {
    thread: Rc<ThreadState>,
    id: Id,
    done: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.done {
            self.thread.abandon_job(self.id);
        }
    }
}

fn unexpected(response: &JobResponse) -> io::Error {
    io::Error::other(format!("the ring answered a different question: {response:?}"))
}
