//! The worker's slab of connections: index, generation, operations in flight.
//!
//! A slot's generation grows when its tenant leaves, so an [`Id`] kept by a completion, timer or
//! task never reaches the next tenant.

use crate::ring::reserve::{grow, room};
use crate::ring::token::{INDEX_BITS, Id};

/// Entries addressed by index and generation.
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// A slab for about `most` entries. Entries do not move if [`room`] could reserve the address
    /// space.
    pub(crate) fn with_room(most: usize) -> Self {
        Self { entries: room(most), free: room(most), len: 0 }
    }

    /// How many entries are in use.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a value into a free slot.
    pub(crate) fn insert(&mut self, value: T) -> Id {
        self.insert_with(|_| value)
    }

    /// Puts a value that knows its own identity into a free slot.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Id) -> T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            assert!(self.entries.len() < 1 << INDEX_BITS, "a slab's indices are 24 bits");
            grow(&mut self.entries);
            self.entries.push(Entry { generation: 0, value: None });
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        let id = Id { index, generation: entry.generation };
        entry.value = Some(make(id));
        self.len += 1;
        id
    }

    /// The live tenant that `id` means.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        entry.value.as_mut()
    }

    /// The live tenant of an index, and the identity it has now.
    pub(crate) fn at(&mut self, index: u32) -> Option<(Id, &mut T)> {
        let entry = self.entries.get_mut(index as usize)?;
        let id = Id { index, generation: entry.generation };
        entry.value.as_mut().map(|value| (id, value))
    }

    /// Takes the tenant out; from now on its identity is stale.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & ((1 << INDEX_BITS) - 1);
        grow(&mut self.free);
        self.free.push(id.index);
        self.len -= 1;
        Some(value)
    }

    /// All live tenants.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.entries.iter().enumerate().filter_map(|(n, entry)| {
            let id = Id { index: n as u32, generation: entry.generation };
            Some((id, entry.value.as_ref()?))
        })
    }

    /// The identities of all live tenants.
    pub(crate) fn ids(&self) -> Vec<Id> {
        self.iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_identity_finds_nobody() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index);
        assert_ne!(second.generation, first.generation);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second).copied(), Some("second"));
        assert_eq!(slab.at(second.index).map(|(id, _)| id), Some(second));
        assert_eq!((slab.len(), slab.ids()), (1, vec![second]));
    }

    #[test]
    fn generations_wrap() {
        let mut slab = Slab::default();
        let id = slab.insert(0);
        slab.entries[0].generation = (1 << INDEX_BITS) - 1;
        assert_eq!(slab.remove(id), None);
        let last = Id { index: 0, generation: (1 << INDEX_BITS) - 1 };
        assert_eq!(slab.remove(last), Some(0));
        assert_eq!(slab.insert(1), Id { index: 0, generation: 0 });
    }
}
