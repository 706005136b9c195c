//! Forwards datagrams of other workers' connections. After a client's address changes, the kernel's
//! hash may pick another worker. Each worker has a bounded queue, announced by a ring message. No
//! lock is taken unless a client has moved.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::ring::message::Mailbox;
use crate::ring::token::{Id, OpKind, Token};

/// A datagram that came to the wrong worker.
pub(super) struct Forwarded {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Box<[u8]>,
}

/// The queues of all workers of a process.
pub(crate) struct Forwarder {
    inboxes: Vec<Inbox>,
    /// Maximum number of datagrams queued for a worker; more are dropped, as by a full socket.
    most: usize,
}

struct Inbox {
    waiting: Mutex<Vec<Forwarded>>,
    /// The worker's mailbox, once it has started.
    mailbox: OnceLock<Arc<Mailbox>>,
}

impl Forwarder {
    /// Queues for `workers` workers, none of which has started.
    pub(crate) fn new(workers: usize, most: usize) -> Arc<Self> {
        let inbox = || Inbox { waiting: Mutex::default(), mailbox: OnceLock::new() };
        Arc::new(Self { inboxes: (0..workers).map(|_| inbox()).collect(), most })
    }

    /// A worker has started.
    pub(crate) fn started(&self, worker: usize, mailbox: &Arc<Mailbox>) {
        if let Some(inbox) = self.inboxes.get(worker) {
            let _ = inbox.mailbox.set(Arc::clone(mailbox));
        }
    }

    /// Queues a datagram for a worker; `false` if its queue is full or it has not started.
    pub(super) fn forward(&self, worker: u8, datagram: Forwarded) -> bool {
        let Some(inbox) = self.inboxes.get(usize::from(worker)) else { return false };
        let Some(mailbox) = inbox.mailbox.get() else { return false };
        let mut waiting = inbox.lock();
        if waiting.len() >= self.most {
            return false;
        }
        waiting.push(datagram);
        // Later datagrams are picked up together with the announced one.
        let is_first = waiting.len() == 1;
        drop(waiting);
        let token = Token::new(OpKind::Forwarded, 0, Id::default());
        let is_announced = !is_first || mailbox.post(token, 0).is_ok();
        if !is_announced {
            // The worker is gone. Later datagrams would never be first, so nothing may stay here.
            inbox.lock().clear();
        }
        is_announced
    }

    /// Swaps a worker's queue with `waiting`, which must be empty.
    pub(super) fn take(&self, worker: u8, waiting: &mut Vec<Forwarded>) {
        if let Some(inbox) = self.inboxes.get(usize::from(worker)) {
            std::mem::swap(&mut *inbox.lock(), waiting);
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Forwarded>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_takes_no_more_until_it_is_emptied() {
        let forwarder = Forwarder::new(2, 3);
        let address = "127.0.0.1:1".parse().unwrap();
        let datagram = || Forwarded { from: address, to: address, bytes: [7; 9].into() };
        assert!(!forwarder.forward(1, datagram()), "it has not started");
        assert!(!forwarder.forward(9, datagram()), "there is none");
        let ring = io_uring::IoUring::new(8).unwrap();
        let mailbox = Mailbox::for_tests(std::os::fd::AsRawFd::as_raw_fd(&ring));
        forwarder.started(1, &Arc::new(mailbox));
        let taken = (0..5).filter(|_| forwarder.forward(1, datagram())).count();
        let mut waiting = Vec::new();
        forwarder.take(1, &mut waiting);
        assert_eq!((taken, waiting.len(), &*waiting[0].bytes), (3, 3, &[7; 9][..]));
        waiting.clear();
        forwarder.take(1, &mut waiting);
        assert!(waiting.is_empty() && forwarder.forward(1, datagram()));
    }

    #[test]
    fn what_cannot_be_announced_is_not_kept() {
        let forwarder = Forwarder::new(1, 3);
        let address = "127.0.0.1:1".parse().unwrap();
        let datagram = || Forwarded { from: address, to: address, bytes: [7; 9].into() };
        // No ring: a message to it fails.
        let file = std::fs::File::open("/dev/null").unwrap();
        let mailbox = Mailbox::for_tests(std::os::fd::AsRawFd::as_raw_fd(&file));
        forwarder.started(0, &Arc::new(mailbox));
        for _ in 0..5 {
            assert!(!forwarder.forward(0, datagram()));
        }
        let mut waiting = Vec::new();
        forwarder.take(0, &mut waiting);
        assert!(waiting.is_empty());
    }
}
