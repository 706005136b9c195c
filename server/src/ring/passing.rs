//! Messages with descriptors over a Unix socket: unix(7), cmsg(3). Called directly: they pass a few
//! times in a process's life, on threads that have no ring.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, Type};

/// Descriptors in a message at most; the kernel's own bound is 253 (SCM_MAX_FD).
pub(crate) const DESCRIPTORS_MAX: usize = 200;

/// Room for as many descriptors as the kernel passes at once, in words that align the headers.
const CONTROL: usize = 128;

/// A received message.
pub(crate) struct Passed {
    /// How many bytes it has; 0 at the end.
    pub(crate) len: usize,
    /// The descriptors that came with it; they are closed on exec.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Something of it did not fit and is lost.
    pub(crate) cut: bool,
}

/// Two connected sockets that keep messages apart. Both are closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socket2::Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
    Ok((one.into(), other.into()))
}

/// Whether a descriptor number is open, and names a socket of [`pair`].
pub(crate) fn is_pair(fd: RawFd) -> bool {
    if fd < 0 {
        return false;
    }
    // SAFETY: only asked what it is; a number that is not open is an error of the kernel.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = socket2::SockRef::from(&socket);
    let domain = socket.domain();
    domain.is_ok_and(|domain| domain == Domain::UNIX)
        && socket.r#type().is_ok_and(|kind| kind == Type::SEQPACKET)
}

/// Takes a descriptor over by its number, under another one that is closed on exec. Of the first
/// three numbers each stays open, on /dev/null.
pub(crate) fn claim(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is open (`is_pair`), and was left to this process to own.
    let theirs = unsafe { OwnedFd::from_raw_fd(fd) };
    let ours = theirs.try_clone()?;
    if fd > libc::STDERR_FILENO {
        return Ok(ours);
    }
    // The number is not closed even for a moment: another thread could be given it.
    std::mem::forget(theirs);
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: both are open; the second is replaced in one step.
    match unsafe { libc::dup2(null.as_raw_fd(), fd) } {
        0.. => Ok(ours),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The user that made the pair of which this is an end (SO_PEERCRED).
pub(crate) fn maker(socket: &OwnedFd) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to the structure, which is plain data.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    if asked == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

/// The user as whom this process acts.
pub(crate) fn user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether every process that holds the other end of a stream pair has ended, or closed it.
pub(crate) fn has_ended(end: &OwnedFd) -> bool {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    let peeked = socket2::SockRef::from(end).recv_with_flags(&mut [MaybeUninit::zeroed()], flags);
    !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

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

/// Waits for a message and takes it into `room`.
pub(crate) fn receive(socket: &OwnedFd, room: &mut [u8]) -> io::Result<Passed> {
    let mut control = [MaybeUninit::<u64>::zeroed(); CONTROL];
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: msghdr is plain old data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let len = loop {
        // SAFETY: the kernel writes into `room` and `control`, whose lengths the message tells.
        let len =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match len {
            0.. => break len as usize,
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    };
    let mut descriptors = Vec::new();
    // SAFETY: the macros walk the control messages that the kernel wrote into `control`, as far as
    // `msg_controllen` says. Each number is a new descriptor of this process that nobody else owns.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header);
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                for at in 0..bytes / size_of::<RawFd>() {
                    let number = data.cast::<RawFd>().add(at).read_unaligned();
                    descriptors.push(OwnedFd::from_raw_fd(number));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    let cut = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Passed { len, descriptors, cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_arrive_with_the_message_they_were_sent_with() {
        let (here, there) = pair().unwrap();
        assert!(is_pair(here.as_raw_fd()) && !is_pair(-1));
        assert_eq!(maker(&there).unwrap(), user());
        let files: Vec<_> = (0..DESCRIPTORS_MAX).map(|_| pair().unwrap().0).collect();
        let lent: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send(&here, b"many", &lent).unwrap();
        send(&here, b"none", &[]).unwrap();
        let mut room = [0; 16];
        let passed = receive(&there, &mut room).unwrap();
        assert_eq!((&room[..passed.len], passed.descriptors.len()), (&b"many"[..], 200));
        assert!(!passed.cut && is_pair(passed.descriptors[199].as_raw_fd()));
        let passed = receive(&there, &mut room[..2]).unwrap();
        assert!(passed.cut && passed.descriptors.is_empty());
        drop(here);
        assert_eq!(receive(&there, &mut room).unwrap().len, 0);
    }

    #[test]
    fn an_end_tells_of_the_other() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let (here, copy) = (OwnedFd::from(here), there.try_clone().unwrap());
        drop(there);
        assert!(!has_ended(&here));
        drop(copy);
        assert!(has_ended(&here));
    }

    #[test]
    fn a_file_is_no_pair() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_pair(file.as_raw_fd()));
    }
}
