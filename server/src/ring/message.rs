//! Messages to a worker from any thread, by `IORING_OP_MSG_RING`.
//!
//! A worker waits only in its ring, so messages from other threads arrive there as completions with
//! a token that the sender chose. There is no eventfd, pipe or lock, except for threads that find
//! no descriptor left for a ring of their own.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use io_uring::{IoUring, opcode, types::Fd};

use super::operations;
use super::token::Token;

/// Where a worker's messages go.
pub(crate) struct Mailbox(To);

enum To {
    // A duplicate: it stays a valid ring, if a dead one, when the worker is gone.
    Ring(OwnedFd),
    Function(Box<dyn Fn(Token) + Send + Sync>),
}

thread_local! {
    /// A sender needs a ring of its own; it is made when a thread first sends.
    static SENDER: RefCell<Option<IoUring>> = const { RefCell::new(None) };
}

/// The sender for threads without a ring of their own: connections may have taken the last
/// descriptor, and signals must still reach the workers.
static SPARE: Mutex<Option<IoUring>> = Mutex::new(None);

fn spare() -> MutexGuard<'static, Option<IoUring>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    pub(super) fn new(ring: RawFd) -> io::Result<Self> {
        let mut spare = spare();
        if spare.is_none() {
            *spare = Some(sender()?);
        }
        // SAFETY: the caller's ring is open for the duration of this call.
        let ring = unsafe { BorrowedFd::borrow_raw(ring) }.try_clone_to_owned()?;
        Ok(Self(To::Ring(ring)))
    }

    /// A mailbox that nobody reads.
    #[cfg(test)]
    pub(crate) fn for_tests(any: RawFd) -> Self {
        Self::new(any).unwrap()
    }

    /// The mailbox of a worker that has no ring: tests of an application.
    pub(crate) fn to(deliver: impl Fn(Token) + Send + Sync + 'static) -> Self {
        Self(To::Function(Box::new(deliver)))
    }

    /// Delivers `token` as a completion with `value` as its result.
    pub(crate) fn post(&self, token: Token, value: i32) -> io::Result<()> {
        let target = match &self.0 {
            To::Ring(ring) => Fd(ring.as_raw_fd()),
            To::Function(deliver) => {
                deliver(token);
                return Ok(());
            }
        };
        SENDER.with_borrow_mut(|sender| {
            if let Some(ring) = sender {
                return post_from(ring, target, token, value);
            }
            match self::sender() {
                Ok(ring) => post_from(sender.insert(ring), target, token, value),
                Err(error) => match spare().as_mut() {
                    Some(ring) => post_from(ring, target, token, value),
                    None => Err(error),
                },
            }
        })
    }
}

/// A small ring that posts and does nothing else.
fn sender() -> io::Result<IoUring> {
    let io = IoUring::builder().setup_r_disabled().build(4)?;
    operations::enable(&io, operations::SENDER)?;
    Ok(io)
}

fn post_from(ring: &mut IoUring, target: Fd, token: Token, value: i32) -> io::Result<()> {
    let entry = opcode::MsgRingData::new(target, value, token.bits(), None).build();
    // SAFETY: the entry holds no pointers.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(0, |done| done.result());
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}
