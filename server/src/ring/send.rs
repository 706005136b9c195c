//! A connection's send under way: its bytes, and how many of them the kernel has taken.

use std::ops::Range;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use io_uring::{opcode, squeue, types};

/// Body bytes that are sent from where they lie.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    owner: Owner,
    at: u32,
    len: u32,
}

/// The owner that keeps the bytes alive until the completion.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// Bytes in the program's image.
    Static(&'static [u8]),
    /// Bytes of this worker, for example a cached file.
    Local(Rc<[u8]>),
    /// Bytes shared with other threads.
    Shared(Arc<[u8]>),
    /// Bytes made for this response alone.
    Owned(Rc<Vec<u8>>),
    /// Bytes that count their owners themselves.
    Buffer(Rc<Bytes>),
}

impl Owner {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Local(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Buffer(bytes) => bytes,
        }
    }
}

impl Pinned {
    /// A part of an owner's bytes.
    pub(crate) fn new(owner: Owner, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= owner.bytes().len());
        assert!(range.end <= u32::MAX as usize, "a body in memory is below 4 GiB");
        Self { owner, at: range.start as u32, len: range.len() as u32 }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.owner.bytes()[self.at as usize..][..self.len as usize]
    }

    /// The owner, and which of its bytes these are.
    pub(crate) fn into_parts(self) -> (Owner, Range<usize>) {
        let at = self.at as usize;
        (self.owner, at..at + self.len as usize)
    }

    /// The bytes as `bytes::Bytes`. Copied only if they are worker-local, or part of them is still
    /// in use.
    pub(crate) fn into_bytes(self) -> Bytes {
        let (owner, range) = self.into_parts();
        match owner {
            Owner::Static(bytes) => Bytes::from_static(bytes).slice(range),
            Owner::Shared(bytes) => Bytes::from_owner(bytes).slice(range),
            Owner::Local(bytes) => Bytes::copy_from_slice(&bytes[range]),
            Owner::Owned(bytes) => match Rc::try_unwrap(bytes) {
                Ok(bytes) => Bytes::from(bytes).slice(range),
                Err(bytes) => Bytes::copy_from_slice(&bytes[range]),
            },
            Owner::Buffer(bytes) => bytes.slice(range),
        }
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Splits off the first `n` bytes.
    pub(crate) fn split_to(&mut self, n: usize) -> Self {
        let n = n.min(self.len()) as u32;
        let front = Self { owner: self.owner.clone(), at: self.at, len: n };
        self.at += n;
        self.len -= n;
        front
    }
}

/// What a slot has under way.
#[derive(Default)]
pub(super) enum Sending {
    #[default]
    Nothing,
    /// Bytes, from their beginning on. The kernel knows where they lie, not the `Vec`.
    Bytes(Vec<u8>),
    /// Bytes and a body, or what is left of a send that was short.
    Parts(Box<Send>),
}

/// A short write is carried on by the kernel (MSG_WAITALL), so that one completion is enough for
/// all of it; MSG_NOSIGNAL because a closed peer is not a SIGPIPE.
const FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// The submission entry for sending bytes.
#[inline]
pub(super) fn bytes(fd: RawFd, bytes: &[u8]) -> squeue::Entry {
    opcode::Send::new(types::Fd(fd), bytes.as_ptr(), bytes.len() as u32).flags(FLAGS).build()
}

/// A send under way. The kernel holds pointers into it, so it stays in its box until it is done.
pub(super) struct Send {
    fd: RawFd,
    head: Vec<u8>,
    body: Option<Pinned>,
    done: usize,
    parts: [libc::iovec; 2],
    message: libc::msghdr,
}

impl Send {
    pub(super) fn empty() -> Box<Self> {
        // SAFETY: iovec and msghdr are plain old data for which all zeroes is a valid value.
        let (parts, message) = unsafe { std::mem::zeroed() };
        Box::new(Self { fd: -1, head: Vec::new(), body: None, done: 0, parts, message })
    }

    pub(super) fn set(&mut self, fd: RawFd, head: Vec<u8>, body: Option<Pinned>, done: usize) {
        (self.fd, self.head, self.body, self.done) = (fd, head, body, done);
    }

    /// Counts what the kernel took; true when nothing is left.
    pub(super) fn advance(&mut self, sent: usize) -> bool {
        self.done += sent;
        self.done >= self.head.len() + self.body.as_ref().map_or(0, Pinned::len)
    }

    /// Gives the buffer back and lets go of the body.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.body = None;
        std::mem::take(&mut self.head)
    }

    /// The submission entry for what is left.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        let head = self.head.get(self.done..).unwrap_or_default();
        let Some(body) = &self.body else { return bytes(self.fd, head) };
        let skip = self.done.saturating_sub(self.head.len());
        let body = body.bytes().get(skip..).unwrap_or_default();
        let part = |bytes: &[u8]| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        self.parts = [part(head), part(body)];
        self.message.msg_iov = self.parts.as_mut_ptr();
        self.message.msg_iovlen = 2;
        opcode::SendMsg::new(types::Fd(self.fd), &raw const self.message)
            .flags(FLAGS as u32)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_send_goes_on_where_it_stopped() {
        let mut send = Send::empty();
        let body = Pinned::new(Owner::Static(b"0123456789"), 2..8);
        send.set(5, b"head".to_vec(), Some(body), 0);
        assert!(!send.advance(3));
        send.entry();
        assert_eq!((send.parts[0].iov_len, send.parts[1].iov_len), (1, 6));
        assert!(!send.advance(3));
        send.entry();
        assert_eq!((send.parts[0].iov_len, send.parts[1].iov_len), (0, 4));
        assert!(send.advance(4));
        assert_eq!(send.take(), b"head");
    }

    #[test]
    fn bytes_are_handed_on_without_a_copy() {
        let whole = b"0123456789".to_vec();
        let at = whole.as_ptr().wrapping_add(2);
        let bytes = Pinned::new(Owner::Owned(Rc::new(whole)), 2..8).into_bytes();
        assert_eq!((&bytes[..], bytes.as_ptr()), (&b"234567"[..], at));
        let again = Pinned::new(Owner::Buffer(Rc::new(bytes)), 1..3).into_bytes();
        assert_eq!((&again[..], again.as_ptr()), (&b"34"[..], at.wrapping_add(1)));
        let shared: Arc<[u8]> = Arc::from(&b"abc"[..]);
        let at = shared.as_ptr();
        assert_eq!(Pinned::new(Owner::Shared(shared), 0..2).into_bytes().as_ptr(), at);
        let kept = Pinned::new(Owner::Local(Rc::from(&b"abc"[..])), 1..2);
        assert_eq!(&kept.into_bytes()[..], b"b");
    }

    #[test]
    fn pinned_bytes_split() {
        let mut rest = Pinned::new(Owner::Local(Rc::from(&b"abcdef"[..])), 1..6);
        assert_eq!(rest.split_to(2).bytes(), b"bc");
        assert_eq!(rest.split_to(9).bytes(), b"def");
        assert_eq!(rest.len(), 0);
    }
}
