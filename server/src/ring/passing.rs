//! Messages with descriptors over a Unix socket: unix(7), cmsg(3). Called directly: they pass a few
//! times in a process's life, on threads that have no ring.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Descriptors in a message at most; the kernel's own bound is 253 (SCM_MAX_FD).
pub(crate) const DESCRIPTORS_MAX: usize = 200;

/// Room for as many descriptors as the kernel passes at once, in words that align the headers.
const CONTROL: usize = 128;

/// Sends one message, and at most [`DESCRIPTORS_MAX`] descriptors with it.
pub(crate) fn send(
    socket: &OwnedFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    assert!(descriptors.len() <= DESCRIPTORS_MAX, "more descriptors than a message may carry");
    let mut control = [0_u64; CONTROL];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain old data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let len = descriptors.len() * size_of::<RawFd>();
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: the macros compute sizes and places; `control` is zeroed, aligned and has room
        // for the header and DESCRIPTORS_MAX numbers, so header and data lie inside it.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(len as u32) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len as u32) as usize;
            let mut place = libc::CMSG_DATA(header).cast::<RawFd>();
            for descriptor in descriptors {
                place.write_unaligned(descriptor.as_raw_fd());
                place = place.add(1);
            }
        }
    }
    loop {
        // SAFETY: the message points to `part` and `control`, which outlive the call; the bytes are
        // only read.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match sent {
            0.. => return Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
