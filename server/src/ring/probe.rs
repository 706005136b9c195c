//! One probe at start: can this process have the ring that ringway needs?

use std::io;

use io_uring::{IoUring, Probe, cqueue, squeue};

use super::operations::{SENDER, WORKER};

/// The oldest kernel that has all that ringway uses: deferred task work, multishot receives,
/// provided buffer rings, SENDMSG_ZC.
pub const KERNEL_FLOOR: (u32, u32) = (6, 1);

/// What the probe found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The flags of the C1 set were accepted (SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL, CQSIZE).
    pub defer_taskrun: bool,
    /// NO_SQARRAY (Linux 6.6) was accepted.
    pub no_sqarray: bool,
    /// Waiting is not counted as I/O wait (Linux 6.15).
    pub no_iowait: bool,
    /// Waits may gather a batch for a minimum time (Linux 6.12).
    pub min_wait: bool,
    /// Every operation that ringway submits is known.
    pub operations: bool,
}

/// Makes a small ring as the workers do and asks what it can do.
pub fn probe() -> io::Result<Found> {
    let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
    builder.setup_clamp().setup_cqsize(64).setup_submit_all();
    builder.setup_single_issuer().setup_defer_taskrun();
    let (io, no_sqarray) = match builder.clone().setup_no_sqarray().build(8) {
        Ok(io) => (io, true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (builder.build(8)?, false),
        Err(error) => return Err(error),
    };
    let mut operations = Probe::new();
    io.submitter().register_probe(&mut operations)?;
    let mut wanted = WORKER.iter().chain(SENDER);
    Ok(Found {
        defer_taskrun: true,
        no_sqarray,
        no_iowait: io.params().is_feature_no_iowait(),
        min_wait: io.params().is_feature_min_timeout(),
        operations: wanted.all(|code| operations.is_supported(*code)),
    })
}
