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

/// The map, in shelves: one for each service. `V` is shared with whoever is sending it: an evicted
/// value lives until it is sent.
#[derive(Debug)]
pub(crate) struct Store<V> {
    shelves: Vec<Shelf<V>>,
    /// Numbers of shelves that were taken down.
    free: Vec<ShelfNumber>,
    /// Every key once, the next candidate for eviction first; and keys of entries that were removed
    /// otherwise, which are passed over.
    order: VecDeque<(ShelfNumber, Rc<[u8]>)>,
    entries: usize,
    bytes: usize,
    bytes_max: usize,
}

type Shelf<V> = HashMap<Rc<[u8]>, Entry<V>, BuildHasherDefault<PathHasher>>;

/// The number of a service's shelf.
pub(crate) type ShelfNumber = u32;

#[derive(Debug)]
struct Entry<V> {
    value: Rc<V>,
    bytes: usize,
    used: Cell<bool>,
}

impl<V> Store<V> {
    /// An empty store for `bytes_max` bytes; 0 holds nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (shelves, free, order) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { shelves, free, order, entries: 0, bytes: 0, bytes_max }
    }

    /// An empty shelf.
    pub(crate) fn put_up(&mut self) -> ShelfNumber {
        self.free.pop().unwrap_or_else(|| {
            self.shelves.push(HashMap::default());
            self.shelves.len() as ShelfNumber - 1
        })
    }

    /// Removes a shelf with what is on it; `gone` is called with each value.
    pub(crate) fn take_down(&mut self, shelf: ShelfNumber, gone: impl FnMut(Rc<V>)) {
        self.clear(shelf, gone);
        self.shelves[shelf as usize] = HashMap::default();
        self.free.push(shelf);
    }

    /// The value at `path`, which thereby counts as used.
    #[inline]
    pub(crate) fn find(&self, shelf: ShelfNumber, path: &[u8]) -> Option<&Rc<V>> {
        let entry = self.shelves.get(shelf as usize)?.get(path)?;
        entry.used.set(true);
        Some(&entry.value)
    }

    /// Puts `value`, which weighs `bytes`, at `path` in place of what was there, and evicts until
    /// the bound holds: `gone` is called with each value that leaves. A value that is larger than
    /// the whole store leaves at once.
    pub(crate) fn insert(
        &mut self,
        (shelf, path): (ShelfNumber, &[u8]),
        value: Rc<V>,
        bytes: usize,
        mut gone: impl FnMut(Rc<V>),
    ) {
        if let Some(old) = self.remove(shelf, path) {
            gone(old);
        }
        let bytes = bytes + path.len() + OVERHEAD;
        if bytes > self.bytes_max {
            return gone(value);
        }
        self.evict_to(self.bytes_max - bytes, gone);
        let key: Rc<[u8]> = Rc::from(path);
        self.order.push_back((shelf, Rc::clone(&key)));
        self.shelves[shelf as usize].insert(key, Entry { value, bytes, used: Cell::new(false) });
        self.entries += 1;
        self.bytes += bytes;
    }

    /// Counts `bytes` more for a value, if it is still on the shelf, and evicts until the bound
    /// holds. Linear in the shelf's entries: only for files that were compressed.
    pub(crate) fn grow(
        &mut self,
        shelf: ShelfNumber,
        value: &Rc<V>,
        bytes: usize,
        gone: impl FnMut(Rc<V>),
    ) {
        let mut entries = self.shelves[shelf as usize].values_mut();
        let Some(entry) = entries.find(|entry| Rc::ptr_eq(&entry.value, value)) else { return };
        entry.bytes += bytes;
        self.bytes += bytes;
        self.evict_to(self.bytes_max, gone);
    }

    /// Forgets what is at `path`.
    pub(crate) fn remove(&mut self, shelf: ShelfNumber, path: &[u8]) -> Option<Rc<V>> {
        let entry = self.shelves[shelf as usize].remove(path)?;
        self.entries -= 1;
        self.bytes -= entry.bytes;
        self.tidy();
        Some(entry.value)
    }

    /// Forgets everything on a shelf; `gone` is called with each value.
    pub(crate) fn clear(&mut self, shelf: ShelfNumber, mut gone: impl FnMut(Rc<V>)) {
        for (_, entry) in self.shelves[shelf as usize].drain() {
            self.entries -= 1;
            self.bytes -= entry.bytes;
            gone(entry.value);
        }
        self.tidy();
    }

    /// Changes the bound, and evicts until it holds.
    pub(crate) fn resize(&mut self, bytes_max: usize, gone: impl FnMut(Rc<V>)) {
        self.bytes_max = bytes_max;
        self.evict_to(bytes_max, gone);
    }

    /// Bytes held, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bound.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Drops the keys of removed entries from the queue once they are the most of it.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.entries + IDLE_KEYS {
            let shelves = &self.shelves;
            self.order.retain(|(shelf, key)| is_current(&shelves[*shelf as usize], key));
        }
    }

    /// Removes entries until `bytes` or fewer are held: each the first that was not used recently.
    fn evict_to(&mut self, bytes: usize, mut gone: impl FnMut(Rc<V>)) {
        while self.bytes > bytes {
            let Some((shelf, key)) = self.order.pop_front() else {
                unreachable!("{} bytes without entries", self.bytes);
            };
            let on = &mut self.shelves[shelf as usize];
            if !is_current(on, &key) {
                continue;
            }
            match on.get(&key) {
                Some(entry) if entry.used.replace(false) => self.order.push_back((shelf, key)),
                _ => {
                    if let Some(entry) = on.remove(&key) {
                        self.entries -= 1;
                        self.bytes -= entry.bytes;
                        gone(entry.value);
                    }
                }
            }
        }
    }
}

/// Keys of removed entries that the queue may hold beside as many as there are entries.
const IDLE_KEYS: usize = 64;

/// Whether this very key is on the shelf: an equal one belongs to a later entry.
fn is_current<V>(shelf: &Shelf<V>, key: &Rc<[u8]>) -> bool {
    shelf.get_key_value(key).is_some_and(|(there, _)| Rc::ptr_eq(there, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_shelf<V>(bytes_max: usize) -> Store<V> {
        let mut store = Store::new(bytes_max);
        assert_eq!(store.put_up(), 0);
        store
    }

    fn entry_bytes(entries: usize) -> usize {
        entries * (100 + 1 + OVERHEAD)
    }

    #[test]
    fn finds_what_was_inserted_until_removed() {
        let mut store = one_shelf(entry_bytes(2));
        store.insert((0, b"a"), Rc::new(1), 100, drop);
        store.insert((0, b"b"), Rc::new(2), 100, drop);
        assert_eq!(store.find(0, b"a").map(|v| **v), Some(1));
        store.insert((0, b"a"), Rc::new(3), 50, drop);
        assert_eq!(store.find(0, b"a").map(|v| **v), Some(3));
        assert_eq!(store.bytes(), entry_bytes(2) - 50);
        store.remove(0, b"a");
        store.remove(0, b"a");
        assert_eq!(store.find(0, b"a"), None);
        store.remove(0, b"b");
        assert_eq!((store.bytes(), store.entries), (0, 0));
        store.insert((0, b"c"), Rc::new(4), 100, drop);
        let mut gone = Vec::new();
        store.clear(0, |value| gone.push(*value));
        assert_eq!((gone, store.bytes(), store.entries), (vec![4], 0, 0));
        assert_eq!(store.find(0, b"c"), None);
    }

    #[test]
    fn a_walk_does_not_push_out_what_is_in_use() {
        let mut store = one_shelf(entry_bytes(4));
        store.insert((0, b"hot"), Rc::new(0), 98, drop);
        for number in 0..100 {
            assert!(store.find(0, b"hot").is_some(), "at {number}");
            store.insert((0, &[number]), Rc::new(number), 100, drop);
            assert!(store.bytes() <= entry_bytes(4));
        }
        assert_eq!(store.entries, 4);
        let mut gone = Vec::new();
        store.insert((0, b"z"), Rc::new(9), 100, |value| gone.push(*value));
        assert_eq!(gone, [97], "the oldest that nobody used");
    }

    #[test]
    fn the_bound_holds_even_when_everything_is_in_use() {
        let mut store = one_shelf(entry_bytes(3));
        for number in 0..50 {
            store.insert((0, &[number]), Rc::new(()), 100, drop);
            for number in 0..50 {
                store.find(0, &[number]);
            }
            assert!(store.bytes() <= entry_bytes(3));
            assert_eq!(store.order.len(), store.entries);
        }
    }

    #[test]
    fn what_is_larger_than_the_store_is_not_kept() {
        let mut store = one_shelf(entry_bytes(1));
        store.insert((0, b"a"), Rc::new(()), 100, drop);
        store.insert((0, b"b"), Rc::new(()), 101, drop);
        assert!(store.find(0, b"b").is_none() && store.find(0, b"a").is_some());
        let mut none = one_shelf(0);
        none.insert((0, b""), Rc::new(()), 0, drop);
        assert!(none.find(0, b"").is_none());
    }

    #[test]
    fn shelves_share_the_bound_and_nothing_else() {
        let mut store = one_shelf(entry_bytes(3));
        let other = store.put_up();
        store.insert((0, b"a"), Rc::new(1), 100, drop);
        store.insert((other, b"a"), Rc::new(2), 100, drop);
        store.insert((other, b"b"), Rc::new(3), 100, drop);
        let found =
            [(0, b"a"), (other, b"a")].map(|(shelf, path)| **store.find(shelf, path).unwrap());
        assert_eq!((found, store.find(0, b"b")), ([1, 2], None));
        let mut gone = Vec::new();
        store.insert((0, b"c"), Rc::new(4), 100, |value| gone.push(*value));
        assert_eq!(gone, [3], "what nobody used, on whichever shelf");
        store.take_down(other, |value| gone.push(*value));
        assert_eq!((gone, store.bytes()), (vec![3, 2], entry_bytes(2)));
        assert_eq!(store.put_up(), other);
        assert!(store.find(other, b"a").is_none(), "nothing is left for the next");
        store.insert((other, b"a"), Rc::new(5), 100, drop);
        let mut gone = Vec::new();
        store.resize(entry_bytes(1), |value| gone.push(*value));
        assert_eq!((store.entries, gone.len()), (1, 2));
    }

    #[test]
    fn files_that_change_all_the_time_leave_no_keys_behind() {
        let mut store = one_shelf(entry_bytes(8));
        for number in 0..10_000 {
            store.insert((0, b"a"), Rc::new(number), 100, drop);
            store.insert((0, b"b"), Rc::new(number), 100, drop);
            assert!(store.order.len() <= 2 * store.entries + IDLE_KEYS + 1);
        }
        assert_eq!((store.entries, store.bytes()), (2, entry_bytes(2)));
    }
}
