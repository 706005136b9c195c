//! Processes: waitpid(2), kill(2), prctl(2). For the parent process, which has no ring.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A process that has ended, whose number is free from here on; none where all go on, or where
/// there are none. Any child counts, also one that came to us as an orphan.
pub(crate) fn reap() -> Option<(u32, ExitStatus)> {
    let mut status = 0;
    // SAFETY: the kernel writes an integer to where one is.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        pid @ 1.. => Some((pid as u32, ExitStatus::from_raw(status))),
        _ => None,
    }
}

/// Sends a signal; an error where there is no such process.
pub(crate) fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0) else {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    };
    // SAFETY: it takes two integers; the number is that of one process, not of a group.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether there is such a process, if only one that nobody has reaped yet.
pub(crate) fn is_alive(pid: u32) -> bool {
    signal(pid, 0).map_or_else(|error| error.raw_os_error() != Some(libc::ESRCH), |()| true)
}

/// Has processes below us whose own parent ends become our children, as of process 1.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    let on: libc::c_ulong = 1;
    // SAFETY: it takes integers.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, on, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_signalled_and_no_group_is() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        signal(child.id(), 0).unwrap();
        for wrong in [0, u32::MAX, 1 << 31] {
            assert!(signal(wrong, 0).is_err(), "{wrong}");
        }
        signal(child.id(), libc::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
