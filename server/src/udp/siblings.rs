//! Datagrams for another worker's connections: a client that has moved comes to the worker that the
//! kernel's hash of its new address picks. They go through a bounded queue for each worker, which a
//! ring message announces; no lock is touched unless a client has moved.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::ring::message::Mailbox;
use crate::ring::token::{Id, OpKind, Token};

/// A datagram that came to the wrong worker.
pub(super) struct Stray {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Box<[u8]>,
}

/// The workers of a process, as each of them sees the others.
pub(crate) struct Siblings {
    inboxes: Vec<Inbox>,
    /// Datagrams that may wait for a worker; more are dropped, as a full socket would.
    most: usize,
}

struct Inbox {
    strays: Mutex<Vec<Stray>>,
    /// Where the worker is told of them, once it has started.
    mailbox: OnceLock<Arc<Mailbox>>,
}

impl Siblings {
    /// The workers of a process, of whom none has started.
    pub(crate) fn new(workers: usize, most: usize) -> Arc<Self> {
        let inbox = || Inbox { strays: Mutex::default(), mailbox: OnceLock::new() };
        Arc::new(Self { inboxes: (0..workers).map(|_| inbox()).collect(), most })
    }

    /// A worker has started.
    pub(crate) fn started(&self, worker: usize, mailbox: &Arc<Mailbox>) {
        if let Some(inbox) = self.inboxes.get(worker) {
            let _ = inbox.mailbox.set(Arc::clone(mailbox));
        }
    }

    /// Hands a datagram on; `false` when that worker takes no more.
    pub(super) fn forward(&self, worker: u8, stray: Stray) -> bool {
        let Some(inbox) = self.inboxes.get(usize::from(worker)) else { return false };
        let Some(mailbox) = inbox.mailbox.get() else { return false };
        let mut strays = inbox.lock();
        if strays.len() >= self.most {
            return false;
        }
        strays.push(stray);
        // Those that follow are found by whoever answers the first call.
        let is_first = strays.len() == 1;
        drop(strays);
        let token = Token::new(OpKind::Strays, 0, Id::default());
        let is_announced = !is_first || mailbox.post(token, 0).is_ok();
        if !is_announced {
            // Nobody will come for these, and those that follow them would never be first.
            inbox.lock().clear();
        }
        is_announced
    }

    /// Takes what has been handed to a worker; `strays` is empty and comes to lie in its stead.
    pub(super) fn take(&self, worker: u8, strays: &mut Vec<Stray>) {
        if let Some(inbox) = self.inboxes.get(usize::from(worker)) {
            std::mem::swap(&mut *inbox.lock(), strays);
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Stray>> {
        self.strays.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_takes_no_more_until_it_is_emptied() {
        let siblings = Siblings::new(2, 3);
        let address = "127.0.0.1:1".parse().unwrap();
        let stray = || Stray { from: address, to: address, bytes: [7; 9].into() };
        assert!(!siblings.forward(1, stray()), "it has not started");
        assert!(!siblings.forward(9, stray()), "there is none");
        let ring = io_uring::IoUring::new(8).unwrap();
        let mailbox = Mailbox::for_tests(std::os::fd::AsRawFd::as_raw_fd(&ring));
        siblings.started(1, &Arc::new(mailbox));
        let taken = (0..5).filter(|_| siblings.forward(1, stray())).count();
        let mut strays = Vec::new();
        siblings.take(1, &mut strays);
        assert_eq!((taken, strays.len(), &*strays[0].bytes), (3, 3, &[7; 9][..]));
        strays.clear();
        siblings.take(1, &mut strays);
        assert!(strays.is_empty() && siblings.forward(1, stray()));
    }

    #[test]
    fn what_cannot_be_announced_is_not_kept() {
        let siblings = Siblings::new(1, 3);
        let address = "127.0.0.1:1".parse().unwrap();
        let stray = || Stray { from: address, to: address, bytes: [7; 9].into() };
        // No ring: a message to it fails.
        let file = std::fs::File::open("/dev/null").unwrap();
        let mailbox = Mailbox::for_tests(std::os::fd::AsRawFd::as_raw_fd(&file));
        siblings.started(0, &Arc::new(mailbox));
        for _ in 0..5 {
            assert!(!siblings.forward(0, stray()));
        }
        let mut strays = Vec::new();
        siblings.take(0, &mut strays);
        assert!(strays.is_empty());
    }
}
