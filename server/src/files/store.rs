//! A map from paths to values that holds a bounded number of bytes.
//!
//! Eviction is FIFO with a second chance: an entry that was used since it last came to the front
//! moves to the back once more. New entries start unused, so a crawler that walks the whole tree
//! evicts its own entries, not the popular ones. Worker-local: no lock, and a lookup allocates
//! nothing.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::rc::Rc;

use super::hash::PathHasher;

/// What one entry costs beside its bytes: map slot, queue slot, reference counts.
const OVERHEAD: usize = 256;

/// The map. `V` is shared with whoever is sending it: an evicted value lives until it is sent.
#[derive(Debug)]
pub(crate) struct Store<V> {
    entries: HashMap<Rc<[u8]>, Entry<V>, BuildHasherDefault<PathHasher>>,
    /// Every key once, the next candidate for eviction first.
    order: VecDeque<Rc<[u8]>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Rc<V>,
    bytes: usize,
    used: Cell<bool>,
}

impl<V> Store<V> {
    /// An empty store for `bytes_max` bytes; 0 holds nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let entries = HashMap::default();
        Self { entries, order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The value at `path`, which thereby counts as used.
    pub(crate) fn find(&self, path: &[u8]) -> Option<&Rc<V>> {
        let entry = self.entries.get(path)?;
        entry.used.set(true);
        Some(&entry.value)
    }

    /// Puts `value`, which weighs `bytes`, at `path` in place of what was there, and evicts until
    /// the bound holds: `gone` is called with each value that leaves. A value that is larger than
    /// the whole store leaves at once.
    pub(crate) fn insert(
        &mut self,
        path: &[u8],
        value: Rc<V>,
        bytes: usize,
        mut gone: impl FnMut(Rc<V>),
    ) {
        if let Some(old) = self.remove(path) {
            gone(old);
        }
        let bytes = bytes + path.len() + OVERHEAD;
        if bytes > self.bytes_max {
            return gone(value);
        }
        while self.bytes + bytes > self.bytes_max {
            gone(self.evict());
        }
        let key: Rc<[u8]> = Rc::from(path);
        self.order.push_back(Rc::clone(&key));
        self.entries.insert(key, Entry { value, bytes, used: Cell::new(false) });
        self.bytes += bytes;
    }

    /// Counts `bytes` more for a value, if it is still held, and evicts until the bound holds.
    /// Linear in the number of entries: only for files that were compressed.
    pub(crate) fn grow(&mut self, value: &Rc<V>, bytes: usize, mut gone: impl FnMut(Rc<V>)) {
        let held = self.entries.values_mut().find(|entry| Rc::ptr_eq(&entry.value, value));
        let Some(entry) = held else { return };
        entry.bytes += bytes;
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            gone(self.evict());
        }
    }

    /// Forgets what is at `path`. Linear in the number of entries: only for files that changed.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Option<Rc<V>> {
        let entry = self.entries.remove(path)?;
        self.bytes -= entry.bytes;
        self.order.retain(|key| key.as_ref() != path);
        Some(entry.value)
    }

    /// Forgets everything; `gone` is called with each value.
    pub(crate) fn clear(&mut self, mut gone: impl FnMut(Rc<V>)) {
        self.order.clear();
        self.entries.drain().for_each(|(_, entry)| gone(entry.value));
        self.bytes = 0;
    }

    /// Bytes held, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Removes the first entry that was not used recently.
    fn evict(&mut self) -> Rc<V> {
        loop {
            let Some(key) = self.order.pop_front() else {
                unreachable!("{} bytes without entries", self.bytes);
            };
            match self.entries.get(&key) {
                Some(entry) if entry.used.replace(false) => self.order.push_back(key),
                _ => {
                    if let Some(entry) = self.entries.remove(&key) {
                        self.bytes -= entry.bytes;
                        return entry.value;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_bytes(entries: usize) -> usize {
        entries * (100 + 1 + OVERHEAD)
    }

    #[test]
    fn finds_what_was_inserted_until_removed() {
        let mut store = Store::new(entry_bytes(2));
        store.insert(b"a", Rc::new(1), 100, drop);
        store.insert(b"b", Rc::new(2), 100, drop);
        assert_eq!(store.find(b"a").map(|v| **v), Some(1));
        store.insert(b"a", Rc::new(3), 50, drop);
        assert_eq!(store.find(b"a").map(|v| **v), Some(3));
        assert_eq!(store.bytes(), entry_bytes(2) - 50);
        store.remove(b"a");
        store.remove(b"a");
        assert_eq!(store.find(b"a"), None);
        store.remove(b"b");
        assert_eq!((store.bytes(), store.order.len()), (0, 0));
        store.insert(b"c", Rc::new(4), 100, drop);
        let mut gone = Vec::new();
        store.clear(|value| gone.push(*value));
        assert_eq!((gone, store.bytes(), store.order.len()), (vec![4], 0, 0));
        assert_eq!(store.find(b"c"), None);
    }

    #[test]
    fn a_walk_does_not_push_out_what_is_in_use() {
        let mut store = Store::new(entry_bytes(4));
        store.insert(b"hot", Rc::new(0), 98, drop);
        for number in 0..100 {
            assert!(store.find(b"hot").is_some(), "at {number}");
            store.insert(&[number], Rc::new(number), 100, drop);
            assert!(store.bytes() <= entry_bytes(4));
        }
        assert_eq!(store.entries.len(), 4);
        let mut gone = Vec::new();
        store.insert(b"z", Rc::new(9), 100, |value| gone.push(*value));
        assert_eq!(gone, [97], "the oldest that nobody used");
    }

    #[test]
    fn the_bound_holds_even_when_everything_is_in_use() {
        let mut store = Store::new(entry_bytes(3));
        for number in 0..50 {
            store.insert(&[number], Rc::new(()), 100, drop);
            for number in 0..50 {
                store.find(&[number]);
            }
            assert!(store.bytes() <= entry_bytes(3));
            assert_eq!(store.order.len(), store.entries.len());
        }
    }

    #[test]
    fn what_is_larger_than_the_store_is_not_kept() {
        let mut store = Store::new(entry_bytes(1));
        store.insert(b"a", Rc::new(()), 100, drop);
        store.insert(b"b", Rc::new(()), 101, drop);
        assert!(store.find(b"b").is_none() && store.find(b"a").is_some());
        let mut none = Store::new(0);
        none.insert(b"", Rc::new(()), 0, drop);
        assert!(none.find(b"").is_none());
    }
}
