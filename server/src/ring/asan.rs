//! Tells AddressSanitizer about the kernel's memory accesses, which it cannot see. The memory of
//! each operation is checked at submission and at completion, so memory freed in between is
//! reported with both stacks. A receive buffer must not be touched while the kernel owns it, nor
//! past its padding. Only in builds of `scripts/harden.sh asan-server`.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};

use io_uring::opcode::{OpenAt2, Read, RecvMsgMulti, Send, SendMsg, Statx};
use io_uring::squeue::Entry;
use io_uring::types::OpenHow;

// The interface of the compiler and of <sanitizer/asan_interface.h>.
unsafe extern "C" {
    /// Reports and ends the process where the range is not all addressable.
    fn __asan_loadN(at: *const c_void, len: usize);
    fn __asan_poison_memory_region(at: *const c_void, len: usize);
    fn __asan_unpoison_memory_region(at: *const c_void, len: usize);
}

/// Addresses and lengths: a msghdr, its two iovecs, what these point to, a name, control messages.
type Ranges = [(u64, usize); 6];

/// What the kernel has been lent, by the operation's `user_data`.
#[derive(Default)]
pub(super) struct Lent(HashMap<u64, Ranges>);

impl Lent {
    /// An operation is handed over.
    pub(super) fn lend(&mut self, entry: &Entry, user_data: u64) {
        let ranges = ranges(entry);
        check(&ranges);
        if ranges != Ranges::default() {
            let before = self.0.insert(user_data, ranges);
            assert!(before.is_none(), "{user_data:#x} has two operations with memory under way");
        }
    }

    /// An operation is complete.
    pub(super) fn give_back(&mut self, user_data: u64) {
        check(&self.0.remove(&user_data).unwrap_or_default());
    }
}

/// The kernel alone may touch this.
pub(super) fn hide(at: *const u8, len: usize) {
    // SAFETY: changes only what the sanitizer reports.
    unsafe { __asan_poison_memory_region(at.cast(), len) }
}

/// This is ours again.
pub(super) fn show(at: *const u8, len: usize) {
    // SAFETY: changes only what the sanitizer reports.
    unsafe { __asan_unpoison_memory_region(at.cast(), len) }
}

fn check(ranges: &[(u64, usize)]) {
    for &(at, len) in ranges {
        // SAFETY: reads the sanitizer's notes of this memory, not the memory.
        unsafe { __asan_loadN(at as *const c_void, len) }
    }
}

/// The memory that the kernel reads or writes for an operation.
fn ranges(entry: &Entry) -> Ranges {
    // SAFETY: an entry is the kernel's struct io_uring_sqe of 64 bytes, plain old data.
    let words: [u64; 8] = unsafe { std::mem::transmute(entry.clone()) };
    // io_uring_sqe: opcode at 0, off or addr2 at 8, addr at 16, len at 24.
    let (opcode, second, first, len) = (words[0] as u8, words[1], words[2], words[3] as u32);
    let mut ranges = Ranges::default();
    match opcode {
        Send::CODE | Read::CODE => ranges[0] = (first, len as usize),
        SendMsg::CODE | RecvMsgMulti::CODE => ranges = message(first),
        Statx::CODE => ranges[0] = (second, size_of::<libc::statx>()),
        OpenAt2::CODE => {
            // SAFETY: the job made the path of a `CString`.
            let path = unsafe { CStr::from_ptr(first as *const c_char) };
            ranges[..2].copy_from_slice(&[
                (first, path.count_bytes() + 1),
                (second, size_of::<OpenHow>()),
            ]);
        }
        _ => {}
    }
    ranges
}

fn message(at: u64) -> Ranges {
    let mut ranges = Ranges::default();
    ranges[0] = (at, size_of::<libc::msghdr>());
    check(&ranges);
    // SAFETY: it has just been checked that this memory is there; the entry says what it is.
    let header = unsafe { &*(at as *const libc::msghdr) };
    if header.msg_iovlen > 0 {
        ranges[1] = (header.msg_iov as u64, header.msg_iovlen * size_of::<libc::iovec>());
        check(&ranges);
        // SAFETY: as above.
        let parts = unsafe { std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen) };
        assert!(parts.len() <= 2, "a head and a body");
        for (range, part) in ranges[2..].iter_mut().zip(parts) {
            *range = (part.iov_base as u64, part.iov_len);
        }
    }
    // Where they are null, the lengths say how much room a receive leaves in its buffer.
    if !header.msg_name.is_null() {
        ranges[4] = (header.msg_name as u64, header.msg_namelen as usize);
    }
    if !header.msg_control.is_null() {
        ranges[5] = (header.msg_control as u64, header.msg_controllen);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::time::Duration;

    use super::super::token::{Id, OpKind, Token};
    use super::super::{Ring, RingSettings, send};

    /// Each fault, made in a process of its own, is reported.
    #[test]
    fn faults_under_the_kernel_are_reported() {
        let faults = [
            ("frees_what_is_being_sent", "heap-use-after-free"),
            ("reads_behind_the_pad", "use-after-poison"),
            ("reads_what_was_given_back", "use-after-poison"),
        ];
        for (fault, report) in faults {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([&format!("ring::asan::tests::{fault}"), "--exact", "--ignored"]);
            let output = command.env("ASAN_OPTIONS", "detect_odr_violation=0").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(report), "{fault}: {said}");
        }
    }

    #[test]
    #[ignore = "not a test: a fault that is to be reported"]
    fn frees_what_is_being_sent() {
        let mut ring = Ring::new(&RingSettings::default()).unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let head = vec![b'x'; 100];
        let entry = send::bytes(ours.as_raw_fd(), &head);
        ring.push(entry, Token::new(OpKind::Send, 0, Id::default()));
        drop(head);
        ring.enter(Some(Duration::ZERO)).unwrap();
        ring.completions();
    }

    #[test]
    #[ignore = "not a test: a fault that is to be reported"]
    fn reads_behind_the_pad() {
        let (mut ring, buffer) = received();
        let bytes = ring.received(buffer, 5).as_ptr_range();
        // SAFETY: none, this is the fault.
        assert_ne!(unsafe { bytes.end.read_volatile() }, 1);
    }

    #[test]
    #[ignore = "not a test: a fault that is to be reported"]
    fn reads_what_was_given_back() {
        let (mut ring, buffer) = received();
        let bytes = ring.received(buffer, 5).as_ptr();
        ring.recycle(buffer);
        // SAFETY: none, this is the fault.
        assert_ne!(unsafe { bytes.read_volatile() }, 1);
    }

    /// A ring that has received five bytes, and the buffer in which they are.
    fn received() -> (Ring, u16) {
        let mut ring = Ring::new(&RingSettings::default()).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"hello").unwrap();
        ring.recv(Id::default(), ours.as_raw_fd());
        ring.enter(Some(Duration::from_secs(60))).unwrap();
        let buffer = ring.completions()[0].buffer().unwrap();
        (ring, buffer)
    }
}
