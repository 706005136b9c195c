//! The memory for files: one bound that the sites of a configuration share, and on each worker the
//! store and the account that hold to it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::budget::{Budget, CacheBound};
use super::file::{File, FileContent};
use super::store::Store;

/// A worker's memory for the services that share a bound.
pub(crate) struct Memory {
    bound: Arc<CacheBound>,
    pub(crate) store: RefCell<Store<File>>,
    pub(crate) budget: Budget,
}

/// The account's size in sizes of the store: as much again for what is read and what is still sent.
const BUDGET: usize = 2;

thread_local! {
    /// This worker's memories: one, but for services of a library that have bounds of their own.
    static MEMORIES: RefCell<Vec<Weak<Memory>>> = const { RefCell::new(Vec::new()) };
}

impl Memory {
    /// This worker's memory under `bound`.
    pub(crate) fn under(bound: &Arc<CacheBound>) -> Rc<Self> {
        MEMORIES.with_borrow_mut(|memories| {
            memories.retain(|memory| memory.strong_count() > 0);
            let mut there = memories.iter().filter_map(Weak::upgrade);
            if let Some(memory) = there.find(|memory| Arc::ptr_eq(&memory.bound, bound)) {
                return memory;
            }
            let bytes = bound.bytes();
            let memory = Rc::new(Self {
                bound: Arc::clone(bound),
                store: RefCell::new(Store::new(bytes)),
                budget: Budget::new(bytes.saturating_mul(BUDGET)),
            });
            memories.push(Rc::downgrade(&memory));
            memory
        })
    }

    /// Holds to the bound where that was changed.
    pub(crate) fn fit(&self) {
        let bytes = self.bound.bytes();
        if self.store.borrow().bytes_max() != bytes {
            self.store.borrow_mut().resize(bytes, |file| self.let_go(&file));
            self.budget.resize(bytes.saturating_mul(BUDGET));
        }
    }

    /// Adds to the account what leaves the store.
    pub(crate) fn let_go(&self, file: &File) {
        for form in file.forms() {
            if let FileContent::Memory(bytes) = &form.content {
                self.budget.lend(bytes);
            }
        }
    }
}

/// Has this worker's memories hold to bounds that were changed.
pub(crate) fn fit() {
    let memories: Vec<_> =
        MEMORIES.with_borrow(|memories| memories.iter().filter_map(Weak::upgrade).collect());
    memories.iter().for_each(|memory| memory.fit());
}
