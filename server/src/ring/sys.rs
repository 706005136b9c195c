//! The few system calls outside the ring, behind safe functions.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use ringway_quic::steering::Instruction;
use socket2::SockRef;

/// The address of the peer of a connected socket.
pub(crate) fn peer(fd: RawFd) -> io::Result<SocketAddr> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the descriptor belongs to a live slot and is not closed during the call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let address = SockRef::from(&fd).peer_addr()?;
    address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

/// Sends FIN; what was received can still be read. Called directly because the ring would take it
/// to a worker thread of the kernel.
pub(crate) fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: as above.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    SockRef::from(&fd).shutdown(std::net::Shutdown::Write)
}

/// Makes the following close a reset (SO_LINGER 0), because the peer did not get everything.
pub(crate) fn close_by_reset(fd: RawFd) -> io::Result<()> {
    // SAFETY: as above.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    SockRef::from(&fd).set_linger(Some(Duration::ZERO))
}

/// What TCP knows about a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// Bytes that the peer has acknowledged, modulo 2^32.
    pub(crate) acknowledged: u32,
    /// Smoothed round-trip time in microseconds.
    pub(crate) rtt: u32,
    /// Segments sent again, over the connection's life.
    pub(crate) retransmissions: u32,
}

/// Reads TCP_INFO; zeroes where the socket has none (for example a Unix socket).
pub(crate) fn tcp_info(fd: RawFd) -> TcpInfo {
    // The kernel's struct tcp_info, of which libc carries only a part: 8 bytes of small fields,
    // 24 u32 (rtt is the 16th, total_retrans the last), then u64 pacing_rate, max_pacing_rate,
    // bytes_acked.
    let mut words = MaybeUninit::<[u32; 32]>::zeroed();
    let mut length = 128 as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the array, every bit pattern of which is
    // valid.
    let words = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            words.as_mut_ptr().cast(),
            &mut length,
        );
        words.assume_init()
    };
    TcpInfo { acknowledged: words[30], rtt: words[17], retransmissions: words[25] }
}

/// Sets an option of a socket that is a C int.
pub(crate) fn set_option(fd: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads an int from where one is.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Attaches a filter that picks the socket for each datagram among those that share a port
/// (SO_ATTACH_REUSEPORT_CBPF, socket(7)).
pub(crate) fn steer(fd: &OwnedFd, program: &[Instruction]) -> io::Result<()> {
    let program =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `Instruction` has the layout of struct sock_filter; the kernel copies the program.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A new descriptor for the same open file; an error where the number is not open.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: borrowed for this call only, which asks the kernel whether the number is open.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// Takes over a descriptor that whoever started this process has left to it.
pub(crate) fn own(fd: RawFd) -> io::Result<OwnedFd> {
    close_on_exec(fd)?;
    // SAFETY: the number is open, and was left to this process, which takes each once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Microseconds of CLOCK_MONOTONIC.
pub(crate) fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a timespec to where one is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Has a descriptor closed when this process starts another program.
pub(crate) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    set_flags(fd, libc::FD_CLOEXEC)
}

/// Leaves a descriptor to the programs that this process starts.
pub(crate) fn leave_open(fd: RawFd) -> io::Result<()> {
    set_flags(fd, 0)
}

fn set_flags(fd: RawFd, flags: i32) -> io::Result<()> {
    // SAFETY: integers go in; a number that is not open is an error.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Removes variables from the environment, so that no child takes them for its own. In a process
/// that has threads already they stay: one of them could be reading.
pub(crate) fn forget_variables(names: &[&str]) {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads == 1 {
        for name in names {
            // SAFETY: there is no other thread that could read or write the environment.
            unsafe { std::env::remove_var(name) };
        }
    }
}
