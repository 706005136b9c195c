//! The memory that files may use beside the store: while they are read, and after they left the
//! store while slow clients still receive them.
//!
//! Without it, clients that ask for many different files and read slowly would keep each of them
//! in memory, whatever the store's bound. Files that find no room are read from disk as they are
//! sent, which costs a client's output buffer and no more.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of files each worker keeps. Services that share it share the memory too.
#[derive(Debug)]
pub(crate) struct CacheBound(AtomicUsize);

impl CacheBound {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> usize {
        // Nothing else is published by this number.
        self.0.load(Ordering::Relaxed)
    }

    /// Another bound: workers hold to it from their next look at the disk on.
    pub(crate) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// The account. Worker-local.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: Cell<usize>,
    loading: Cell<usize>,
    /// Contents that left the store while being sent. Freed when nobody else holds them, which is
    /// checked before each load.
    lent: RefCell<Vec<Rc<[u8]>>>,
}

impl Budget {
    /// An account for `bytes_max` bytes, the store's included.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max: Cell::new(bytes_max), loading: Cell::new(0), lent: RefCell::default() }
    }

    /// Changes the bound.
    pub(crate) fn resize(&self, bytes_max: usize) {
        self.bytes_max.set(bytes_max);
    }

    /// Reserves `bytes` while the store holds `stored`, until the result is dropped.
    pub(crate) fn reserve(&self, bytes: usize, stored: usize) -> Option<Reserved<'_>> {
        let mut lent = self.lent.borrow_mut();
        lent.retain(|bytes| Rc::strong_count(bytes) > 1);
        let lent: usize = lent.iter().map(|bytes| bytes.len()).sum();
        let held = stored + lent + self.loading.get();
        if held.saturating_add(bytes) > self.bytes_max.get() {
            return None;
        }
        self.loading.set(self.loading.get() + bytes);
        Some(Reserved { budget: self, bytes })
    }

    /// Records content that leaves the store.
    pub(crate) fn lend(&self, bytes: &Rc<[u8]>) {
        if Rc::strong_count(bytes) > 1 {
            self.lent.borrow_mut().push(Rc::clone(bytes));
        }
    }
}

/// Room that is taken.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.budget.loading.set(self.budget.loading.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let budget = Budget::new(100);
        let one = budget.reserve(40, 20);
        assert!(one.is_some());
        assert!(budget.reserve(41, 20).is_none());
        let two = budget.reserve(40, 20);
        assert!(two.is_some() && budget.reserve(1, 20).is_none());
        drop(one);
        assert!(budget.reserve(40, 20).is_some());
        assert!(budget.reserve(usize::MAX, 20).is_none());
    }

    #[test]
    fn what_is_still_being_sent_counts() {
        let budget = Budget::new(100);
        let sending: Rc<[u8]> = Rc::from([0; 60]);
        let idle: Rc<[u8]> = Rc::from([0; 60]);
        budget.lend(&idle);
        assert!(budget.reserve(100, 0).is_some(), "nobody else holds it");
        let client = Rc::clone(&sending);
        budget.lend(&sending);
        drop(sending);
        assert!(budget.reserve(41, 0).is_none() && budget.reserve(40, 0).is_some());
        drop(client);
        assert!(budget.reserve(100, 0).is_some());
    }
}
